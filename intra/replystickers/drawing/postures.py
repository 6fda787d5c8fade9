"""Postures: where head, torso and shoulders are, how the legs lie, and the ground or table round them.

Everything is in the coordinates of the figure: 240 wide, y downwards, the ground at about y = 216.
"""

from collections.abc import Callable
from dataclasses import dataclass

from intra.replystickers.drawing.gestures import REST, Arm
from intra.replystickers.drawing.styles import Pen, mix
from intra.replystickers.drawing.svg import Box, Frame, Point, curve, ellipse, rectangle


@dataclass(frozen=True)
class Clothes:
    """Colours of the lower body."""

    leg: str
    foot: str
    pad: str
    """Soles of the feet."""
    trim: str


Draw = Callable[[Pen, Clothes], str]
Toe = tuple[float, float, float]
"""Offset of a foot from its ankle, and its angle."""


def _nothing(pen: Pen, clothes: Clothes) -> str:
    return ""


@dataclass(frozen=True)
class Posture:
    """How a figure holds its body."""

    head: Frame
    torso: Frame
    chest: Frame
    """Frame of the hands that work in front of the body."""
    shoulders: tuple[Point, Point]
    """Where the left and the right arm start."""
    box: Box
    """Box round torso, legs and scenery."""
    back: Draw = _nothing
    """Behind the torso: legs, shadow, pillow."""
    front: Draw = _nothing
    """In front of the torso and behind the head: bent legs, table."""
    rest: tuple[Arm, Arm] = (REST, REST)
    """The left and the right arm when they make no gesture."""
    holds: bool = True
    """Whether a free hand can hold something up."""
    ground: Point = (188.0, 216.0)
    """Where something can stand beside the figure."""


def _leg(pen: Pen, clothes: Clothes, hip: Point, knee: Point, ankle: Point, toe: Toe) -> str:
    """A leg bent at the knee."""
    (hx, hy), (kx, ky), (ax, ay) = hip, knee, ankle
    dx, dy, degrees = toe
    foot = Frame.place(ax + dx, ay + dy, degrees).group(pen.merged([(ellipse(0, 0, 14, 9), 0)], clothes.foot))
    return pen.limb(f"M {hx} {hy} Q {kx} {ky} {ax} {ay}", 17, clothes.leg) + foot


def _standing_legs(pen: Pen, clothes: Clothes) -> str:
    left = _leg(pen, clothes, (107, 184), (106, 196), (106, 206), (-3, 3, 0))
    return left + _leg(pen, clothes, (133, 184), (134, 196), (134, 206), (3, 3, 0))


def _sitting_legs(pen: Pen, clothes: Clothes) -> str:
    def sole(x: float) -> str:
        toes = ellipse(x - 7, 190, 2.6) + ellipse(x, 187, 2.8) + ellipse(x + 7, 190, 2.6)
        pad = pen.spot(ellipse(x, 202, 8, 7) + toes, clothes.pad)
        return pen.merged([(ellipse(x, 198, 15, 18), 0)], clothes.foot) + pad

    left = pen.limb("M 108 194 Q 98 204 84 204", 19, clothes.leg)
    right = pen.limb("M 132 194 Q 142 204 156 204", 19, clothes.leg)
    seam = pen.patch(ellipse(110, 192, 10) + ellipse(130, 192, 10), clothes.leg)
    return left + right + seam + sole(78) + sole(162)


def _pillow(pen: Pen, clothes: Clothes) -> str:
    outline = [(14, 178), (60, 174), (118, 180), (122, 208), (60, 214), (10, 208)]
    pillow = pen.shape(curve(outline, tension=0.12), "#f4f1ff")
    mat = pen.shape(rectangle(122, 211, 216, 12, 6), mix(clothes.trim, "#ffffff", 0.35))
    legs = _leg(pen, clothes, (168, 192), (190, 196), (204, 196), (6, -6, 80))
    return mat + pillow + legs + _leg(pen, clothes, (168, 168), (190, 166), (200, 170), (6, -6, 80))


def _jumping_legs(pen: Pen, clothes: Clothes) -> str:
    shadow = pen.spot(ellipse(120, 224, 42, 6), "#8d86a0", 0.45)
    lines = pen.line("M 96 204 L 94 214 M 120 200 L 120 216 M 144 204 L 146 214", 3.6, "#8d86a0")
    left = _leg(pen, clothes, (106, 162), (78, 166), (86, 188), (-5, 4, -25))
    return shadow + lines + left + _leg(pen, clothes, (134, 162), (162, 166), (154, 188), (5, 4, 25))


def _running_legs(pen: Pen, clothes: Clothes) -> str:
    lines = pen.line("M 34 96 L 62 96 M 18 126 L 56 126 M 30 154 L 58 154", 4, "#8d86a0")
    puff = [(30, 214), (26, 204), (36, 200), (42, 194), (52, 198), (58, 206), (54, 214)]
    dust = pen.detail(curve(puff, tension=0.2), "#ece6de")
    rear = _leg(pen, clothes, (104, 178), (88, 200), (66, 186), (-5, -4, 70))
    return lines + dust + rear + _leg(pen, clothes, (124, 178), (158, 178), (158, 204), (6, 3, -8))


def _far_kneel(pen: Pen, clothes: Clothes) -> str:
    return pen.merged([("M 130 172 L 116 202 L 168 204", 18), (ellipse(176, 202, 9, 13), 0)], clothes.leg)


def _near_kneel(pen: Pen, clothes: Clothes) -> str:
    foot = pen.merged([(ellipse(160, 204, 9, 13), 0)], clothes.foot)
    seam = pen.patch(ellipse(114, 173, 11, 10), clothes.leg)
    return foot + pen.limb("M 112 176 L 92 206 L 148 209", 19, clothes.leg) + seam


def _bowing_legs(pen: Pen, clothes: Clothes) -> str:
    arc = pen.line("M 132 76 Q 148 84 154 100 M 146 64 Q 166 76 172 94", 3.6, "#8d86a0")
    rear = _leg(pen, clothes, (168, 150), (184, 180), (180, 206), (-4, 3, 0))
    return arc + rear + _leg(pen, clothes, (158, 154), (160, 184), (156, 206), (-4, 3, 0))


def _leaning_legs(pen: Pen, clothes: Clothes) -> str:
    rear = _leg(pen, clothes, (168, 184), (184, 192), (188, 204), (2, 3, 0))
    return rear + _leg(pen, clothes, (152, 186), (154, 196), (150, 206), (-3, 3, 0))


def _folded_legs(pen: Pen, clothes: Clothes) -> str:
    def side(s: int) -> str:
        foot = pen.merged([(ellipse(120 + s * 24, 213, 17, 8.5), 0)], clothes.foot)
        return foot + pen.merged([(ellipse(120 + s * 20, 188, 19, 24), 0)], clothes.leg)

    return side(-1) + side(1)


def _desk(pen: Pen, clothes: Clothes) -> str:
    panel = pen.shape(rectangle(120, 208, 190, 30, 4), "#b98252")
    return panel + pen.shape(rectangle(120, 184, 224, 22, 8), "#d9a66f")


def _dancing_legs(pen: Pen, clothes: Clothes) -> str:
    left = "M 74 142 Q 66 156 72 170 M 62 136 Q 50 156 60 176"
    right = "M 168 130 Q 176 142 172 154 M 180 124 Q 192 142 186 160"
    raised = _leg(pen, clothes, (130, 176), (170, 172), (152, 196), (6, 4, 30))
    return (
        pen.line(f"{left} {right}", 3.6, "#8d86a0")
        + _notes(pen)
        + raised
        + _leg(pen, clothes, (108, 178), (102, 194), (110, 207), (-3, 3, 0))
    )


def _notes(pen: Pen) -> str:
    single = pen.merged([(ellipse(20, 122, 6.5, 5), 0), ("M 25 121 L 25 98 Q 28 106 34 108", 3.4)], "#4a4458")
    double = ellipse(204, 112, 6, 4.6) + ellipse(222, 108, 6, 4.6)
    return single + pen.merged([(double, 0), ("M 209 111 L 209 90 L 227 86 L 227 107", 3.4)], "#4a4458")


_RUN_RIGHT = Arm("chest", 50, -6, "fist", 35, elbow=(46, 12))
_RUN_LEFT = Arm("chest", 46, 12, "fist", 120, elbow=(44, -14))
_WRAP = Arm("chest", 11, 20, "paw", -80, elbow=(58, 18))
_SPRAWL = Arm("chest", 82, -2, "paw", 96, elbow=(56, -6))

_UPRIGHT = ((98.0, 142.0), (142.0, 142.0))

POSTURES: dict[str, Posture] = {
    "standing": Posture(
        Frame.place(120, 86),
        Frame.place(120, 160),
        Frame.place(120, 160),
        _UPRIGHT,
        (86, 126, 154, 219),
        back=_standing_legs,
    ),
    "sitting": Posture(
        Frame.place(120, 98),
        Frame.place(120, 172),
        Frame.place(120, 170),
        ((98, 154), (142, 154)),
        (60, 138, 180, 219),
        front=_sitting_legs,
        ground=(206, 216),
    ),
    "lying": Posture(
        Frame.place(74, 160, -52),
        Frame.place(142, 180, -90, 0.92),
        Frame.place(164, 182, -90, 0.8),
        ((126, 196), (126, 162)),
        (8, 148, 230, 219),
        back=_pillow,
        holds=False,
        ground=(206, 158),
        rest=(Arm("chest", 28, 0, "paw", 100, elbow=(30, -20)), Arm("chest", 34, 0, "paw", 90, elbow=(36, -20))),
    ),
    "jumping": Posture(
        Frame.place(120, 66),
        Frame.place(120, 140),
        Frame.place(120, 140),
        ((98, 122), (142, 122)),
        (68, 106, 172, 231),
        back=_jumping_legs,
        ground=(196, 222),
        rest=(Arm("chest", 52, -4, "paw", 110, elbow=(42, -14)),) * 2,
    ),
    "running": Posture(
        Frame.place(128, 80, 9),
        Frame.place(115, 152, 13),
        Frame.place(116, 152, 6),
        ((98, 134), (140, 138)),
        (18, 92, 178, 219),
        back=_running_legs,
        rest=(_RUN_LEFT, _RUN_RIGHT),
        ground=(206, 216),
    ),
    "kneeling": Posture(
        Frame.place(114, 80),
        Frame.place(118, 154),
        Frame.place(118, 154),
        ((96, 136), (140, 136)),
        (80, 120, 190, 221),
        back=_far_kneel,
        front=_near_kneel,
        ground=(212, 216),
    ),
    "bowing": Posture(
        Frame.place(82, 142, -46),
        Frame.place(140, 142, -66),
        Frame.place(128, 182),
        ((114, 152), (138, 156)),
        (100, 62, 198, 219),
        back=_bowing_legs,
        holds=False,
        ground=(224, 216),
        rest=(Arm("chest", 2, 18, "paw", 180, elbow=(2, -4)), Arm("chest", 22, 12, "paw", 170, elbow=(20, -6))),
    ),
    "leaning": Posture(
        Frame.place(104, 104, -9, 1.16),
        Frame.place(148, 166, -34, 0.94),
        Frame.place(126, 182, -6, 0.9),
        ((112, 158), (148, 154)),
        (96, 134, 208, 219),
        back=_leaning_legs,
        ground=(222, 216),
        rest=(Arm("chest", 44, 4, "paw", 170, elbow=(40, -10)), Arm("chest", 34, 12, "paw", 170, elbow=(36, -4))),
    ),
    "crouching": Posture(
        Frame.place(120, 122),
        Frame.place(120, 182, 0, 0.9),
        Frame.place(120, 182),
        ((94, 168), (146, 168)),
        (74, 150, 166, 222),
        front=_folded_legs,
        rest=(_WRAP, _WRAP),
    ),
    "slumped": Posture(
        Frame.place(98, 140, -24),
        Frame.place(158, 158, -64),
        Frame.place(118, 192, 0, 0.85),
        ((66, 176), (142, 174)),
        (6, 124, 234, 224),
        front=_desk,
        rest=(_SPRAWL, _SPRAWL),
        holds=False,
        ground=(206, 186),
    ),
    "dancing": Posture(
        Frame.place(126, 80, 11),
        Frame.place(118, 152, -9),
        Frame.place(119, 152),
        ((98, 136), (142, 134)),
        (12, 66, 230, 219),
        back=_dancing_legs,
        ground=(200, 216),
    ),
}
