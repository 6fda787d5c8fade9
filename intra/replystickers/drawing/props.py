"""Props: things beside the figure and signs that float round it."""

from collections.abc import Callable
from dataclasses import dataclass

from intra.replystickers.drawing.styles import Pen, mix
from intra.replystickers.drawing.svg import (
    Box,
    Frame,
    Point,
    curve,
    drop,
    ellipse,
    heart,
    path,
    polyline,
    rectangle,
    star,
    star_points,
    union,
)

Draw = Callable[[Pen], str]


@dataclass(frozen=True)
class Prop:
    """One kind of prop.

    A `thing` is drawn with its base at the origin and is held in a free hand or stands beside the figure.
    A `sign` is drawn round the origin, once for every place. A `backdrop` is a sign behind the figure.
    """

    role: str
    draw: Draw
    box: Box
    """Box of one drawing in its own frame."""
    places: tuple[tuple[float, float, float, float], ...] = ()
    """Offset from the middle of the head, clockwise angle and scale of every copy of a sign."""
    heavy: bool = False
    """A thing that is never held."""


def _heart(pen: Pen) -> str:
    return pen.detail(heart(0, 0, 40), "#ff4d6d", 3.4) + pen.spot(ellipse(-9, -9, 5, 4), "#ffffff", 0.8)


def _question(pen: Pen) -> str:
    hook = "M -11 -16 C -11 -34 13 -34 12 -17 C 11 -6 0 -6 0 6"
    return pen.merged([(hook, 9), (ellipse(0, 20, 5.8), 0)], "#4a86f0")


def _exclamation(pen: Pen) -> str:
    bar = path("M -8 -28 Q 0 -33 8 -28 L 4.5 6 Q 0 9 -4.5 6 Z")
    return pen.merged([(bar, 0), (ellipse(0, 19, 6.2), 0)], "#f0382f")


def _bulb(pen: Pen) -> str:
    glass = curve([(0, -30), (18, -20), (19, -2), (9, 12), (8, 18), (-8, 18), (-9, 12), (-19, -2), (-18, -20)])
    rays = "M 0 -40 L 0 -50 M 27 -29 L 35 -37 M -27 -29 L -35 -37 M 31 -6 L 42 -6 M -31 -6 L -42 -6"
    base = pen.detail(rectangle(0, 24, 17, 13, 3), "#9a9aa8", 3)
    filament = pen.line("M -6 2 L -3 -8 L 3 -8 L 6 2", 2.4, "#b87800")
    return base + pen.detail(glass, "#ffe04a", 3.4) + filament + pen.line(rays, 4, "#f5b400")


def _flower(pen: Pen) -> str:
    stem = pen.limb("M 0 -2 Q 3 -20 0 -40", 4.5, "#4fa352")
    leaf = pen.detail(curve([(2, -14), (14, -26), (24, -24), (14, -12)]), "#4fa352")
    petals = "".join(ellipse(x, y - 52, 11) for x, y in star_points(0, 0, 14, 0, 5)[::2])
    return stem + leaf + pen.merged([(petals, 0)], "#ff6f91") + pen.detail(ellipse(0, -52, 8), "#ffd84d")


def _trophy(pen: Pen) -> str:
    handles = pen.line("M -19 -54 C -38 -54 -34 -30 -14 -30 M 19 -54 C 38 -54 34 -30 14 -30", 6, "#e09a10")
    cup = curve([(-22, -62), (0, -60), (22, -62), (17, -34), (5, -22), (-5, -22), (-17, -34)], tension=0.12)
    foot = pen.detail(polyline([(-4, -24), (4, -24), (7, -12), (-7, -12)], True), "#f5b921", 3)
    base = pen.detail(rectangle(0, -6, 34, 12, 3), "#8a5436", 3)
    return handles + foot + base + pen.detail(cup, "#ffc928", 3.4) + pen.spot(star(0, -45, 9, 4), "#fff6c8")


def _confetti(pen: Pen) -> str:
    colours = ["#ff4f6d", "#ffc21f", "#34b6f0", "#58c95b", "#a56bf0"]
    places = [
        (-90, -46),
        (-70, -66),
        (-38, -64),
        (-8, -74),
        (28, -66),
        (60, -68),
        (88, -48),
        (-98, -4),
        (100, -2),
        (-84, 30),
        (88, 36),
        (-100, 66),
        (104, 74),
        (-74, 86),
        (80, 96),
    ]
    pieces = []
    for index, (x, y) in enumerate(places):
        colour = colours[index % 5]
        strip = rectangle(0, 0, 10, 18, 1.5) if index % 3 else ellipse(0, 0, 7)
        pieces.append(Frame.place(x, y, 47 * index).group(pen.spot(strip, colour)))
    left = pen.line("M -112 -24 Q -104 -34 -96 -24 Q -88 -14 -80 -24", 4.5, "#ff8a3d")
    return "".join(pieces) + left + pen.line("M 78 -22 Q 86 -32 94 -22 Q 102 -12 110 -22", 4.5, "#34b6a0")


def _rain(pen: Pen) -> str:
    cloud = curve(
        [(-44, 14), (-54, 0), (-42, -14), (-26, -16), (-12, -30), (12, -28), (24, -16), (44, -14), (54, 0), (44, 14)]
    )
    streaks = "M -38 24 L -44 40 M -14 26 L -19 44 M 12 26 L 7 44 M 38 24 L 32 40"
    return pen.line(streaks, 5, "#4a9ae8") + pen.shape(cloud, "#8b93a8")


def _flames(pen: Pen) -> str:
    tongues = [
        (-60, 116),
        (-96, 92),
        (-104, 44),
        (-88, 8),
        (-80, 26),
        (-72, -28),
        (-58, -60),
        (-48, -32),
        (-28, -80),
        (-6, -56),
        (8, -98),
        (28, -58),
        (46, -80),
        (58, -36),
        (74, -58),
        (80, -8),
        (94, 4),
        (92, 34),
        (104, 58),
        (92, 98),
        (56, 118),
        (0, 122),
    ]
    inner = [(x * 0.8, 30 + (y - 30) * 0.8) for x, y in tongues]
    return pen.shape(curve(tongues, tension=0.1), "#ff5a1f") + pen.spot(curve(inner, tension=0.1), "#ffc02e")


def _anger(pen: Pen) -> str:
    veins = "M -6 -20 Q -4 -5 -20 -6 M 6 -20 Q 4 -5 20 -6 M -6 20 Q -4 5 -20 6 M 6 20 Q 4 5 20 6"
    return pen.merged([(veins, 7.5)], "#ee2230")


def _sparkle(pen: Pen) -> str:
    return pen.detail(curve(star_points(0, 0, 24, 6, 4), tension=0.02), "#ffd12e", 3)


def _milk_tea(pen: Pen) -> str:
    straw = pen.limb("M 4 -56 L 10 -82", 6, "#ff6f91")
    cup = pen.detail(polyline([(-20, -56), (20, -56), (15, 0), (-15, 0)], True), "#e8c49a", 3.6)
    places = [(-9, -6), (0, -8), (9, -6), (-6, -16), (6, -17), (-11, -24), (1, -25)]
    pearls = "".join(ellipse(x, y, 4.4) for x, y in places)
    lid = pen.detail(rectangle(0, -58, 46, 10, 4), "#fff7ee", 3.4)
    label = pen.spot(heart(0, -40, 15), "#ff5d7e")
    return straw + cup + pen.spot(pearls, "#4a2c22") + label + lid


def _magnifier(pen: Pen) -> str:
    handle = pen.limb("M 0 -4 L 0 -30", 9, "#b5713a")
    glass = pen.spot(ellipse(0, -54, 22), "#cdeeff", 0.85)
    glint = pen.line("M -10 -60 Q -8 -66 -2 -67", 4, "#ffffff")
    return handle + glass + pen.limb(ellipse(0, -54, 22), 6, "#5a6478") + glint


def _melon(pen: Pen) -> str:
    rind = pen.detail(path("M -38 -40 Q 0 -32 38 -40 C 34 6 -34 6 -38 -40 Z"), "#3f9f4a", 3.6)
    flesh = pen.spot(path("M -32 -38 Q 0 -31 32 -38 C 28 -4 -28 -4 -32 -38 Z"), "#fff0e0")
    red = pen.spot(path("M -29 -38 Q 0 -31 29 -38 C 25 -9 -25 -9 -29 -38 Z"), "#ff4a55")
    seeds = "".join(ellipse(x, y, 2, 3) for x, y in [(-17, -30), (-6, -24), (6, -24), (17, -30), (0, -16)])
    return rind + flesh + red + pen.spot(seeds, "#3a1a1e")


def _sweat(pen: Pen) -> str:
    return pen.detail(drop(0, 0, 13), "#5ab9f5", 3) + pen.spot(ellipse(-3.5, 4, 2.4, 4), "#ffffff", 0.9)


def _candle(pen: Pen) -> str:
    wax = pen.detail(polyline([(-11, -46), (11, -46), (11, -2), (-11, -2)], True), "#fff1cf", 3.4)
    drips = pen.spot(curve([(-10, -45), (10, -45), (9, -34), (5, -40), (0, -30), (-5, -40), (-8, -36)]), "#f2d79c")
    flame = pen.detail(drop(0, -64, 13), "#ff9a1f", 3) + pen.spot(drop(0, -61, 7), "#fff2a0")
    glow = pen.spot(ellipse(0, -64, 25), "#ffe27a", 0.4)
    return glow + wax + drips + pen.line("M 0 -47 L 0 -54", 2.6) + flame


def _sun(pen: Pen) -> str:
    return pen.shape(star(0, 0, 50, 35, 12), "#ffa01f") + pen.shape(ellipse(0, 0, 31), "#ffd93a")


def _bin(pen: Pen) -> str:
    can = pen.shape(polyline([(-26, -52), (26, -52), (20, 0), (-20, 0)], True), "#8d9aa8")
    ribs = pen.line("M -11 -42 L -9 -10 M 0 -42 L 0 -10 M 11 -42 L 9 -10", 3.4, "#5a6673")
    lid = Frame.place(0, -56, -7).group(pen.shape(rectangle(0, 0, 60, 10, 4), "#a9b6c4"))
    return can + ribs + lid + pen.limb("M -9 -64 Q 0 -76 9 -66", 4, "#8d9aa8")


def _no_blanket(pen: Pen) -> str:
    return ""


PROPS: dict[str, Prop] = {
    "heart": Prop("sign", _heart, (-21, -20, 21, 21), ((-80, -34, -14, 1.15), (80, -46, 14, 0.9), (-94, 10, -8, 0.65))),
    "question_mark": Prop("sign", _question, (-17, -36, 18, 28), ((82, -34, 12, 1.3), (-82, -30, -12, 0.95))),
    "exclamation": Prop("sign", _exclamation, (-11, -34, 11, 27), ((-72, -38, -12, 1.25), (-94, -26, -22, 1.0))),
    "light_bulb": Prop("sign", _bulb, (-44, -52, 44, 32), ((-86, -34, -14, 1.1),)),
    "flower": Prop("thing", _flower, (-26, -78, 26, 0)),
    "trophy": Prop("thing", _trophy, (-36, -64, 36, 2)),
    "confetti": Prop("sign", _confetti, (-114, -84, 114, 104), ((0, 0, 0, 1.0),)),
    "rain_cloud": Prop("sign", _rain, (-57, -32, 57, 46), ((0, -70, 0, 1.15),)),
    "flames": Prop("backdrop", _flames, (-106, -100, 106, 124), ((0, 18, 0, 1.0),)),
    "anger_mark": Prop("sign", _anger, (-24, -24, 24, 24), ((-44, -46, 8, 1.15),)),
    "sparkles": Prop(
        "sign",
        _sparkle,
        (-24, -24, 24, 24),
        ((-82, -36, 0, 1.15), (82, -40, 0, 0.85), (-92, 14, 0, 0.6), (90, 8, 0, 0.55)),
    ),
    "milk_tea": Prop("thing", _milk_tea, (-25, -86, 25, 2)),
    "blanket": Prop("blanket", _no_blanket, (0, 0, 0, 0)),
    "magnifier": Prop("thing", _magnifier, (-26, -80, 26, 0)),
    "melon": Prop("thing", _melon, (-40, -42, 40, 0)),
    "sweat": Prop(
        "sign",
        _sweat,
        (-10, -16, 10, 12),
        ((-66, -34, -40, 1.2), (-78, -2, -62, 0.95), (66, -40, 40, 1.2), (80, -8, 62, 0.95)),
    ),
    "candle": Prop("thing", _candle, (-25, -90, 25, 0)),
    "sun": Prop("backdrop", _sun, (-50, -50, 50, 50), ((-76, -36, 8, 1.0),)),
    "trash_bin": Prop("thing", _bin, (-31, -74, 31, 2), heavy=True),
}


def signs(pen: Pen, key: str, head: Point, mirror: bool) -> tuple[str, Box]:
    """Draw a sign or backdrop round the middle of the head.

    Args:
        pen: The style.
        key: Key of `PROPS`.
        head: Middle of the head.
        mirror: Whether the figure will be mirrored, so that lettering has to be mirrored here.

    Returns:
        SVG and the box round it.
    """
    prop = PROPS[key]
    frames = [Frame.place(head[0] + x, head[1] + y, degrees, scale, mirror) for x, y, degrees, scale in prop.places]
    content = prop.draw(pen)
    return "".join(frame.group(content) for frame in frames), union(frame.box(prop.box) for frame in frames)


def thing(pen: Pen, key: str, base: Point, mirror: bool, degrees: float = 0.0) -> tuple[str, Box]:
    """Draw a thing that stands or is held with its base at a point."""
    frame = Frame.place(*base, degrees, 1.0, mirror)
    return frame.group(PROPS[key].draw(pen)), frame.box(PROPS[key].box)


_BLANKET = "#7f9fe8"


def cloak(pen: Pen) -> tuple[str, Box]:
    """Draw a blanket hung over the back, in the frame of the torso, to go behind it."""
    outline = curve(
        [(-26, -38), (26, -38), (62, 0), (72, 44), (36, 54), (0, 50), (-36, 54), (-72, 44), (-62, 0)], tension=0.12
    )
    return pen.shape(outline, mix(_BLANKET, "#30408a", 0.3)), (-74, -40, 74, 56)


def cloak_edges(pen: Pen) -> str:
    """Draw the two halves of a hung blanket that come over the shoulders."""

    def edge(s: int) -> str:
        points = [(4, -32), (26, -38), (56, -6), (70, 46), (42, 54), (24, 50), (24, 14)]
        hem = f"M {s * 25} 42 Q {s * 44} 48 {s * 67} 38"
        side = pen.shape(curve([(s * x, y) for x, y in points], tension=0.12), _BLANKET)
        return side + pen.line(hem, 4, "#ffffff")

    stars = [(-40, 22), (40, 22), (-28, -8), (28, -8), (-54, 20), (54, 20)]
    return edge(-1) + edge(1) + _checks(pen, stars)


def cover(pen: Pen) -> tuple[str, Box]:
    """Draw a blanket spread over torso and legs, in the frame of the torso."""
    outline = curve([(-38, -8), (0, -14), (38, -8), (42, 30), (40, 70), (0, 76), (-40, 70), (-42, 30)], tension=0.13)
    fold = pen.shape(
        curve([(-40, -10), (0, -17), (40, -10), (41, 2), (0, -4), (-41, 2)], tension=0.13),
        mix(_BLANKET, "#ffffff", 0.6),
    )
    marks = _checks(pen, [(-20, 20), (14, 14), (-4, 42), (26, 44), (-26, 60), (12, 66)])
    return pen.shape(outline, _BLANKET) + marks + fold, (-43, -18, 43, 78)


def _checks(pen: Pen, places: list[Point]) -> str:
    return pen.spot("".join(star(x, y, 7, 3.2) for x, y in places), "#fff3b8")
