"""Facial expressions: eyes, brows, mouths and the marks of feeling round them.

A face is drawn in its own frame: eyes at (-21, 0) and (21, 0), mouth round (0, 24),
blush below the outer eyes.
"""

from collections.abc import Callable
from dataclasses import dataclass

from intra.replystickers.drawing.styles import Pen, mix
from intra.replystickers.drawing.svg import Box, curve, drop, ellipse, heart, path, polyline, rectangle, star

EYE = 21.0
"""Distance of an eye from the middle of the face."""
MOUTH = 24.0
"""Height of the mouth below the eyes."""
BOX: Box = (-42.0, -26.0, 42.0, 42.0)
"""What the features of a face cover in its frame."""

_DARK = "#7a2436"
_TONGUE = "#ff7f8e"
_WATER = "#7cc8f7"
_WHITE = "#ffffff"

Draw = Callable[[Pen], str]
EyeDraw = Callable[[Pen, float, int, str], str]
"""(pen, x, side, neutral eye) -> SVG; side is -1 for the left eye."""


# Eyes


def _open_eye(pen: Pen, x: float, side: int, neutral: str) -> str:
    rx, ry = {"oval": (6.5, 8.5), "dot": (5.8, 6.2), "tall": (5.8, 10.5), "shine": (8.5, 9.5)}[neutral]
    glint = pen.spot(ellipse(x - 0.3 * rx, -0.4 * ry, 0.34 * rx, 0.32 * ry), _WHITE)
    second = pen.spot(ellipse(x + 0.3 * rx, 0.45 * ry, 0.2 * rx, 0.18 * ry), _WHITE)
    return pen.spot(ellipse(x, 0, rx, ry), pen.ink) + glint + (second if neutral == "shine" else "")


def _arch(pen: Pen, x: float, side: int, neutral: str) -> str:
    return pen.line(f"M {x - 11} 5 Q {x} -14 {x + 11} 5", 5)


def _lid(pen: Pen, x: float, side: int, neutral: str) -> str:
    lashes = f"M {x - 11} -2 Q {x} 10 {x + 11} -2"
    return pen.line(lashes, 4.6) + pen.line(f"M {x + side * 10} 0 L {x + side * 14} 3", 3)


def _squeezed(pen: Pen, x: float, side: int, neutral: str) -> str:
    return pen.line(polyline([(x + side * 10, -10), (x - side * 9, 0), (x + side * 10, 9)]), 5)


def _heart_eye(pen: Pen, x: float, side: int, neutral: str) -> str:
    return pen.detail(heart(x, 0, 29), "#ff2f52", 2.4) + pen.spot(ellipse(x - 5, -6, 3, 2.4), _WHITE, 0.85)


def _star_eye(pen: Pen, x: float, side: int, neutral: str) -> str:
    ball = pen.spot(ellipse(x, 0, 14.5, 16), mix(pen.ink, "#101020", 0.4))
    return ball + pen.spot(star(x, -1, 13, 5.6), "#ffd83a") + pen.spot(ellipse(x + 7, 10, 2.6), _WHITE)


def _half_lid(pen: Pen, x: float, side: int, neutral: str) -> str:
    bowl = path(f"M {x - 12} -2 L {x + 12} -2 C {x + 12} 14 {x - 12} 14 {x - 12} -2 Z")
    pupil = pen.spot(ellipse(x, 3, 4), pen.ink)
    return pen.detail(bowl, _WHITE, 2.4) + pupil + pen.line(f"M {x - 15} -2 L {x + 15} -2", 5)


def _sly(pen: Pen, x: float, side: int, neutral: str) -> str:
    bowl = path(f"M {x - 12} -3 L {x + 12} -3 C {x + 11} 11 {x - 11} 11 {x - 12} -3 Z")
    return (
        pen.detail(bowl, _WHITE, 2.2)
        + pen.spot(ellipse(x + 6, 2, 4.6), pen.ink)
        + pen.line(f"M {x - 14} {-3 - 2 * side} L {x + 14} {-3 + 2 * side}", 4.6)
    )


def _wide(pen: Pen, x: float, side: int, neutral: str) -> str:
    return pen.detail(ellipse(x, -2, 14.5, 16), _WHITE, 3.2) + pen.spot(ellipse(x, -1, 4.6), pen.ink)


def _blank(pen: Pen, x: float, side: int, neutral: str) -> str:
    rim = curve([(x - 14, -3), (x - 5, -14), (x + 6, -13), (x + 14, -2), (x + 7, 11), (x - 6, 12)])
    return pen.detail(rim, _WHITE, 3) + pen.spot(ellipse(x - side * 1.5, 1, 2.4), pen.ink)


def _watery(pen: Pen, x: float, side: int, neutral: str) -> str:
    ball = pen.spot(ellipse(x, 1, 14, 16), mix(pen.ink, "#101020", 0.3))
    surface = f"M {x - 12} 7 Q {x - 6} 3 {x} 7 Q {x + 6} 11 {x + 12} 7"
    pool = pen.spot(path(surface, f"Q {x + 8} 17 {x} 17 Q {x - 8} 17 {x - 12} 7 Z"), _WATER)
    glints = pen.spot(ellipse(x - 4.5, -6, 5.4) + ellipse(x + 5.5, 1, 3), _WHITE)
    bead = pen.detail(drop(x + side * 13, 19, 6), _WATER, 2)
    return ball + pool + glints + bead


def _glare(pen: Pen, x: float, side: int, neutral: str) -> str:
    bowl = polyline(
        [(x - side * 13, 3), (x + side * 13, -9), (x + side * 12, 6), (x, 11), (x - side * 10, 9)], closed=True
    )
    return pen.detail(bowl, _WHITE, 2.4) + pen.spot(ellipse(x - side * 2, 4, 4), pen.ink)


def _away(pen: Pen, x: float, side: int, neutral: str) -> str:
    ball = pen.spot(ellipse(x + 3, 3, 6.5, 7.5), pen.ink)
    lid = pen.line(f"M {x - 9} -3 Q {x + 1} -10 {x + 12} -3", 3.6)
    return ball + pen.spot(ellipse(x + 5, 6, 2.4), _WHITE) + lid


def _puzzled(pen: Pen, x: float, side: int, neutral: str) -> str:
    size = 12.5 if side > 0 else 8.5
    return pen.detail(ellipse(x, 0, size), _WHITE, 3) + pen.spot(ellipse(x + 2, -2, 4), pen.ink)


def _winking(pen: Pen, x: float, side: int, neutral: str) -> str:
    return _squeezed(pen, x, side, neutral) if side > 0 else _open_eye(pen, x, side, "shine")


def _narrow(pen: Pen, x: float, side: int, neutral: str) -> str:
    return pen.line(f"M {x - 11} {2 - side} L {x + 11} {2 + side} M {x - 7} 9 L {x + 7} 9", 4.4)


# Brows: (height at the inner end, height at the outer end) on the left and on the right.


def _brows(left: tuple[float, float], right: tuple[float, float], width: float = 4.6) -> Draw:
    def draw(pen: Pen) -> str:
        (li, lo), (ri, ro) = left, right
        return pen.line(f"M -31 {lo} L -12 {li} M 12 {ri} L 31 {ro}", width)

    return draw


# Mouths


def _line_mouth(d: str, width: float = 4.2) -> Draw:
    return lambda pen: pen.line(d, width)


def _grin(pen: Pen) -> str:
    return _jaw(pen, 21, 22)


def _guffaw(pen: Pen) -> str:
    return _jaw(pen, 25, 26)


def _jaw(pen: Pen, width: float, depth: float) -> str:
    low = 18 + depth
    outer = path(f"M {-width} 16 Q 0 21 {width} 16 C {width} {low} {-width} {low} {-width} 16 Z")
    tongue = ellipse(0, 13 + depth * 0.72, width * 0.5, depth * 0.2)
    teeth = path(f"M {-width + 4} 18 Q 0 21 {width - 4} 18 L {width - 6} 22 Q 0 26 {-width + 6} 22 Z")
    return pen.detail(outer, _DARK, 3) + pen.spot(tongue, _TONGUE) + pen.spot(teeth, _WHITE)


def _smirk(pen: Pen) -> str:
    return pen.line("M -10 26 Q 8 32 19 17", 4.6) + pen.line("M 15 14 Q 20 15 22 19", 3)


def _gasp(pen: Pen) -> str:
    return pen.detail(ellipse(0, 28, 10.5, 13.5), _DARK, 3) + pen.spot(ellipse(0, 36, 6, 4), _TONGUE)


def _trembling(pen: Pen) -> str:
    outer = [
        (-22, 27),
        (-15, 20),
        (-8, 24),
        (0, 19),
        (8, 24),
        (15, 20),
        (22, 27),
        (15, 35),
        (8, 31),
        (0, 36),
        (-8, 31),
        (-15, 35),
    ]
    teeth = "M -14 22 L -14 33 M -5 22 L -5 33 M 5 22 L 5 33 M 14 22 L 14 33"
    return pen.detail(curve(outer), _WHITE, 3) + pen.line(teeth, 1.8)


def _gritted(pen: Pen) -> str:
    teeth = "M -20 27 L 20 27 M -10 20 L -10 34 M 0 20 L 0 34 M 10 20 L 10 34"
    return pen.detail(rectangle(0, 27, 42, 16, 6), _WHITE, 3.4) + pen.line(teeth, 2)


def _roar(pen: Pen) -> str:
    outer = curve([(-17, 13), (0, 10), (17, 13), (26, 37), (0, 41), (-26, 37)], tension=0.11)
    upper = polyline([(-15, 14), (15, 14), (12, 20), (7, 16), (0, 21), (-7, 16), (-12, 20)], closed=True)
    return pen.detail(outer, _DARK, 3.4) + pen.spot(ellipse(0, 37, 14, 5), _TONGUE) + pen.spot(upper, _WHITE)


def _wail(pen: Pen) -> str:
    outer = path("M -22 38 C -22 10 22 10 22 38 Q 11 33 0 38 Q -11 33 -22 38 Z")
    return pen.detail(outer, _DARK, 3.2) + pen.spot(ellipse(0, 33, 10, 4), _TONGUE)


def _tongue(pen: Pen) -> str:
    tongue = curve([(-9, 25), (9, 25), (10, 38), (0, 46), (-10, 38)])
    lips = "M -20 22 Q -12 30 -5 24 Q 2 19 9 25 Q 14 29 20 20"
    return pen.detail(tongue, _TONGUE, 3) + pen.line("M 0 28 L 0 38", 2, "#c84860") + pen.line(lips, 4.4)


def _sigh(pen: Pen) -> str:
    cloud = curve([(16, 30), (24, 22), (33, 26), (42, 23), (44, 33), (36, 40), (26, 38)], tension=0.22)
    return pen.detail(ellipse(2, 26, 5, 6), _DARK, 2.6) + pen.detail(cloud, _WHITE, 2.2)


def _wobbly(pen: Pen) -> str:
    return pen.line("M -15 25 Q -10 18 -5 25 Q 0 31 5 25 Q 10 18 15 25", 4.2)


# Marks of feeling


def _blush(pen: Pen, colour: str, size: float = 1.0) -> str:
    ovals = ellipse(-33, 15, 9.5 * size, 6 * size) + ellipse(33, 15, 9.5 * size, 6 * size)
    return pen.spot(ovals, colour, 0.6)


def _deep_blush(pen: Pen, colour: str) -> str:
    left = "M -40 18 L -36 10 M -33 19 L -29 11 M -26 19 L -22 11"
    right = "M 22 19 L 26 11 M 29 19 L 33 11 M 36 18 L 40 10"
    return _blush(pen, "#ff5f78", 1.5) + pen.line(f"{left} {right}", 2.4, "#e0354f")


def _joy_tears(pen: Pen, colour: str) -> str:
    beads = drop(0, 0, 10)
    sides = f'<g transform="translate(-42 8) rotate(28)">{pen.detail(beads, _WATER, 2.2)}</g>'
    return sides + f'<g transform="translate(42 8) rotate(-28)">{pen.detail(beads, _WATER, 2.2)}</g>'


def _streams(pen: Pen, colour: str) -> str:
    def side(s: int) -> str:
        left, right = s * EYE - 9, s * EYE + 9
        flow = path(
            f"M {left} 4 L {right} 4 C {right + 1} 24 {right + 5 + s * 2} 36 {right + 4 + s * 3} 46",
            f"L {left - 4 + s * 3} 46 C {left - 5 + s * 2} 36 {left - 1} 24 {left} 4 Z",
        )
        return pen.detail(flow, _WATER, 2.2) + pen.line(f"M {s * EYE} 12 L {s * (EYE + 1)} 38", 2.6, _WHITE)

    return side(-1) + side(1)


def _sweat_drop(pen: Pen, colour: str) -> str:
    return pen.detail(drop(41, -17, 11), _WATER, 2.4) + pen.spot(ellipse(38, -13, 2, 3), _WHITE, 0.9)


def _gloom(pen: Pen, colour: str) -> str:
    lines = "M 2 -34 L 2 -18 M 11 -33 L 11 -20 M 20 -31 L 20 -19 M 29 -28 L 29 -19 M -7 -34 L -7 -21"
    return pen.line(lines, 2.4, "#5a6fb0")


def _dots(pen: Pen, colour: str) -> str:
    return pen.spot(ellipse(26, -24, 3.2) + ellipse(36, -22, 3.2) + ellipse(46, -20, 3.2), pen.ink)


def _wink_star(pen: Pen, colour: str) -> str:
    return pen.detail(star(46, -14, 11, 5), "#ffd23d", 2.2)


def _shout_lines(pen: Pen, colour: str) -> str:
    return pen.line("M -32 20 L -42 17 M -33 29 L -44 31 M 32 20 L 42 17 M 33 29 L 44 31", 3.4)


def _no_mark(pen: Pen, colour: str) -> str:
    return ""


@dataclass(frozen=True)
class Expression:
    """The parts of one expression."""

    eyes: EyeDraw
    mouth: Draw
    brows: Draw = lambda pen: ""
    mark: Callable[[Pen, str], str] = _no_mark
    blush: float = 0.0
    """Size of the ordinary blush; 0 for none."""
    tint: str = ""
    """Colour that comes down over the forehead."""


_SMILE = _line_mouth("M -12 21 Q 0 34 12 21", 4.6)
_FLAT_MOUTH = _line_mouth("M -13 26 L 13 26", 4.6)

FACES: dict[str, Expression] = {
    "smile": Expression(_open_eye, _SMILE, blush=1.0),
    "grin": Expression(_arch, _grin, blush=1.0),
    "laughing_tears": Expression(_squeezed, _guffaw, mark=_joy_tears, blush=1.0),
    "wink": Expression(_winking, _grin, mark=_wink_star, blush=1.0),
    "smirk": Expression(_sly, _smirk, _brows((-12, -17), (-18, -26))),
    "heart_eyes": Expression(_heart_eye, _grin, blush=1.2),
    "star_eyes": Expression(_star_eye, _grin, _brows((-24, -24), (-24, -24), 3.6)),
    "shy": Expression(_away, _wobbly, _brows((-19, -14), (-19, -14), 3.4), _deep_blush, tint="#ff8fa0"),
    "calm": Expression(_open_eye, _line_mouth("M -7 25 L 7 25")),
    "speechless": Expression(_half_lid, _FLAT_MOUTH, mark=_dots),
    "awkward": Expression(_arch, _wobbly, _brows((-21, -15), (-21, -15), 3.6), _sweat_drop),
    "confused": Expression(_puzzled, _line_mouth("M -12 28 Q -4 18 2 25 Q 6 30 12 23"), _brows((-13, -17), (-22, -27))),
    "surprised": Expression(_wide, _gasp, _brows((-25, -23), (-25, -23))),
    "scared": Expression(_blank, _trembling, _brows((-24, -17), (-24, -17)), _gloom, tint="#6d86dc"),
    "teary": Expression(_watery, _line_mouth("M -9 29 Q 0 20 9 29"), _brows((-25, -18), (-25, -18))),
    "crying": Expression(_squeezed, _wail, _brows((-22, -15), (-22, -15)), _streams),
    "angry": Expression(_glare, _gritted, _brows((-4, -19), (-4, -19), 7), tint="#ff5a3d"),
    "shouting": Expression(_squeezed, _roar, _brows((-11, -25), (-11, -25), 7), _shout_lines, tint="#ff2d1f"),
    "disgusted": Expression(_narrow, _tongue, _brows((-9, -13), (-9, -13), 4.6), tint="#7fae3a"),
    "relieved": Expression(_lid, _sigh, _brows((-16, -13), (-16, -13), 3.2), blush=0.9),
}


def face(pen: Pen, expression: str, neutral_eye: str, blush: str) -> str:
    """Draw an expression in the frame of the face.

    Args:
        pen: The style.
        expression: Key of the vocabulary.
        neutral_eye: How the character's open eyes look.
        blush: Colour of its cheeks.
    """
    parts = FACES[expression]
    cheeks = _blush(pen, blush, parts.blush) if parts.blush else ""
    behind = parts.mark(pen, blush) if parts.mark is _deep_blush else ""
    eyes = "".join(parts.eyes(pen, side * EYE, side, neutral_eye) for side in (-1, 1))
    ahead = "" if behind else parts.mark(pen, blush)
    over_mouth = parts.mark is not _streams
    mouth = parts.mouth(pen)
    return cheeks + behind + (mouth + ahead if over_mouth else ahead + mouth) + eyes + parts.brows(pen)


def tint(expression: str) -> str:
    """Colour that an expression gives the forehead; empty for none."""
    return FACES[expression].tint
