"""Shapes of heads, ears, markings, muzzles, accessories, torsos and tails.

A head is drawn round the origin of its own frame and reaches about `HALF_WIDTH` to the sides and
`HALF_HEIGHT` up and down; a torso is drawn round the origin of its frame and is about 62 wide and 64 high.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from intra.replystickers.drawing.styles import Pen, mix
from intra.replystickers.drawing.svg import Box, curve, ellipse, path, polyline, rectangle, star_points

if TYPE_CHECKING:
    from intra.replystickers.drawing.characters import Character, Palette

HALF_WIDTH = 54.0
HALF_HEIGHT = 46.0

Outline = list[tuple[float, float]]
"""Points of a smooth closed curve, in units of half the head's width and height."""


def _scallops(lobes: int) -> Outline:
    """A round outline of bumps that meet in notches."""
    points = []
    for step in range(5 * lobes):
        angle = 2 * math.pi * step / (5 * lobes) - math.pi / 2
        radius = 0.9 + 0.2 * abs(math.sin(math.pi * step / 5 + math.pi / 2))
        points.append((1.04 * radius * math.cos(angle), radius * math.sin(angle)))
    return points


HEADS: dict[str, Outline] = {
    "round": [(-1, 0.08), (-0.78, -0.68), (0, -1), (0.78, -0.68), (1, 0.08), (0.72, 0.78), (0, 1), (-0.72, 0.78)],
    "wide": [(-1.08, 0.22), (-0.8, -0.6), (0, -0.93), (0.8, -0.6), (1.08, 0.22), (0.7, 0.82), (0, 1), (-0.7, 0.82)],
    "egg": [
        (-0.98, 0.22),
        (-0.66, -0.72),
        (0, -1.08),
        (0.66, -0.72),
        (0.98, 0.22),
        (0.62, 0.86),
        (0, 1),
        (-0.62, 0.86),
    ],
    "heart": [(-1.1, 0.1), (-0.72, -0.72), (0, -0.92), (0.72, -0.72), (1.1, 0.1), (0.55, 0.76), (0, 1), (-0.55, 0.76)],
    "square": [
        (-0.98, -0.55),
        (-0.9, -0.92),
        (-0.55, -0.97),
        (0.55, -0.97),
        (0.9, -0.92),
        (0.98, -0.55),
        (0.98, 0.6),
        (0.9, 0.95),
        (0.55, 1),
        (-0.55, 1),
        (-0.9, 0.95),
        (-0.98, 0.6),
    ],
    "cloud": _scallops(9),
    "ghost": [
        (-0.94, 0.45),
        (-0.84, -0.5),
        (-0.4, -1.0),
        (0.4, -1.0),
        (0.84, -0.5),
        (0.94, 0.45),
        (0.7, 0.95),
        (0, 1.02),
        (-0.7, 0.95),
    ],
    "dumpling": [
        (-1.12, 0.5),
        (-1.0, -0.1),
        (-0.62, -0.72),
        (0, -0.98),
        (0.62, -0.72),
        (1.0, -0.1),
        (1.12, 0.5),
        (0.7, 0.9),
        (0, 0.98),
        (-0.7, 0.9),
    ],
    "bun": [
        (-1.06, 0.42),
        (-0.84, -0.35),
        (-0.3, -0.82),
        (-0.08, -1.08),
        (0.08, -1.08),
        (0.3, -0.82),
        (0.84, -0.35),
        (1.06, 0.42),
        (0.78, 0.94),
        (0, 1),
        (-0.78, 0.94),
    ],
    "turnip": [
        (-1.02, -0.05),
        (-0.72, -0.76),
        (0, -0.94),
        (0.72, -0.76),
        (1.02, -0.05),
        (0.7, 0.66),
        (0.14, 1.05),
        (-0.14, 1.05),
        (-0.7, 0.66),
    ],
    "stem": [(-0.82, -0.5), (0, -0.7), (0.82, -0.5), (0.92, 0.3), (0.74, 0.88), (0, 1), (-0.74, 0.88), (-0.92, 0.3)],
    "capsule": [
        (-0.84, 0.1),
        (-0.8, -0.62),
        (-0.45, -1.06),
        (0, -1.14),
        (0.45, -1.06),
        (0.8, -0.62),
        (0.84, 0.1),
        (0.78, 0.74),
        (0.4, 1),
        (-0.4, 1),
        (-0.78, 0.74),
    ],
    "star": star_points(0, 0.06, 1.22, 0.8),
    "dome": [
        (-0.98, -0.1),
        (-0.7, -0.82),
        (0, -1.1),
        (0.7, -0.82),
        (0.98, -0.1),
        (0.8, 0.5),
        (0.86, 0.82),
        (0.5, 1),
        (-0.5, 1),
        (-0.86, 0.82),
        (-0.8, 0.5),
    ],
    "loaf": [
        (-0.96, 0.3),
        (-0.9, -0.5),
        (-0.62, -0.9),
        (0.62, -0.9),
        (0.9, -0.5),
        (0.96, 0.3),
        (0.88, 0.84),
        (0.4, 1),
        (-0.4, 1),
        (-0.88, 0.84),
    ],
    "pear": [
        (-1, 0.36),
        (-0.7, -0.3),
        (-0.52, -0.9),
        (0, -1.16),
        (0.52, -0.9),
        (0.7, -0.3),
        (1, 0.36),
        (0.68, 0.88),
        (0, 1.04),
        (-0.68, 0.88),
    ],
}


def head_path(character: Character) -> str:
    """Outline of a character's head before its proportions are applied."""
    return curve([(x * HALF_WIDTH, y * HALF_HEIGHT) for x, y in HEADS[character.parts.head]])


def _mirrored(draw: Callable[[int], str]) -> str:
    """Join what `draw` makes for the left (-1) and the right (1)."""
    return draw(-1) + draw(1)


# Ears and everything else that grows on a head.

DrawEars = Callable[["Pen", "Palette"], tuple[str, str]]
"""Returns what lies behind the head and what lies in front of it."""


def _pointed(base: float, tip: tuple[float, float], inner: str = "accent") -> DrawEars:
    def draw(pen: Pen, palette: Palette) -> tuple[str, str]:
        def side(s: int) -> str:
            x, y = tip
            outer = curve(
                [
                    (s * (base - 22), -38),
                    (s * (x - 6), y + 4),
                    (s * x, y),
                    (s * (x + 4), y + 7),
                    (s * (base + 11), -12),
                ],
                tension=0.09,
            )
            hollow = polyline([(s * (base - 9), -38), (s * (x - 3), y + 14), (s * (base + 5), -22)], closed=True)
            return pen.shape(outer, palette.body) + pen.spot(hollow, getattr(palette, inner), 0.9)

        return _mirrored(side), ""

    return draw


def _round_ears(x: float, y: float, size: float, colour: str = "body") -> DrawEars:
    def draw(pen: Pen, palette: Palette) -> tuple[str, str]:
        def side(s: int) -> str:
            outer = pen.shape(ellipse(s * x, y, size), getattr(palette, colour))
            inner = pen.spot(ellipse(s * x, y + 1, size * 0.55), palette.accent, 0.9)
            return outer + (inner if colour == "body" else "")

        return _mirrored(side), ""

    return draw


def _floppy(pen: Pen, palette: Palette) -> tuple[str, str]:
    def side(s: int) -> str:
        points = [(30, -40), (50, -42), (66, -18), (66, 14), (54, 22), (44, 4), (40, -20)]
        return pen.shape(curve([(s * x, y) for x, y in points]), palette.accent)

    return "", _mirrored(side)


def _long(pen: Pen, palette: Palette) -> tuple[str, str]:
    def side(s: int) -> str:
        outer = [(8, -38), (10, -72), (22, -92), (34, -80), (34, -56), (30, -34)]
        inner = [(15, -44), (17, -68), (23, -80), (28, -70), (27, -46)]
        return pen.shape(curve([(s * x, y) for x, y in outer]), palette.body) + pen.spot(
            curve([(s * x, y) for x, y in inner]), palette.accent, 0.85
        )

    return _mirrored(side), ""


def _frog_eyes(pen: Pen, palette: Palette) -> tuple[str, str]:
    def side(s: int) -> str:
        lid = pen.spot(ellipse(s * 27, -43, 9, 7), palette.accent)
        return pen.shape(ellipse(s * 27, -38, 19), palette.body) + lid

    return _mirrored(side), ""


def _tuft(pen: Pen, palette: Palette) -> tuple[str, str]:
    strands = "M -2 -42 Q -16 -60 -6 -66 M 0 -42 Q 4 -58 14 -62 M 0 -42 Q -2 -56 4 -70"
    return pen.limb(strands, 4, palette.body), ""


def _comb(pen: Pen, palette: Palette) -> tuple[str, str]:
    lobes = [(-12, -46), (-13, -58), (-5, -60), (0, -66), (6, -61), (14, -58), (13, -46)]
    return pen.shape(curve(lobes), palette.trim), ""


def _pig_ears(pen: Pen, palette: Palette) -> tuple[str, str]:
    def side(s: int) -> str:
        points = [(14, -42), (30, -58), (50, -54), (52, -34), (44, -22)]
        fold = polyline([(s * 27, -42), (s * 46, -48), (s * 45, -26)], closed=True)
        return pen.shape(curve([(s * x, y) for x, y in points], tension=0.12), palette.body) + pen.spot(
            fold, palette.accent, 0.85
        )

    return "", _mirrored(side)


def _sheep_ears(pen: Pen, palette: Palette) -> tuple[str, str]:
    def side(s: int) -> str:
        return pen.shape(curve([(s * 46, -14), (s * 68, -18), (s * 74, -4), (s * 62, 8), (s * 46, 2)]), palette.accent)

    wool = [(-30, -36), (-28, -50), (-14, -54), (0, -60), (14, -54), (28, -50), (30, -36), (12, -30), (-12, -30)]
    return _mirrored(side), pen.shape(curve(wool, tension=0.22), palette.body)


def _steam(pen: Pen, palette: Palette) -> tuple[str, str]:
    wisps = "M -16 -54 Q -24 -62 -16 -69 Q -8 -76 -16 -84 M 16 -54 Q 8 -62 16 -69 Q 24 -76 16 -84"
    return pen.line(wisps, 3.4, mix(palette.accent, "#9a8fa0", 0.3)), ""


def _leaves(pen: Pen, palette: Palette) -> tuple[str, str]:
    def leaf(tip: tuple[float, float], side: float) -> str:
        x, y = tip
        return pen.shape(
            curve([(0, -36), (x / 2 - side, y / 2 - 24), (x, y), (x / 2 + side, y / 2 - 14)]), palette.accent
        )

    return leaf((-34, -70), 9) + leaf((34, -70), 9) + leaf((0, -84), 11), ""


def _mushroom(pen: Pen, palette: Palette) -> tuple[str, str]:
    cap = [
        (-74, -16),
        (-66, -46),
        (-34, -74),
        (0, -80),
        (34, -74),
        (66, -46),
        (74, -16),
        (40, -12),
        (0, -18),
        (-40, -12),
    ]
    dots = ellipse(0, -56, 14, 11) + ellipse(-42, -38, 11, 9) + ellipse(44, -40, 10, 9)
    return "", pen.shape(curve(cap), palette.accent) + pen.spot(dots, "#fffaf0")


def _blossom(pen: Pen, palette: Palette) -> tuple[str, str]:
    petals = "".join(ellipse(x, y, 9) for x, y in [(-10, -56), (10, -56), (-6, -68), (6, -68), (0, -50)])
    return "", pen.merged([(petals, 0)], palette.accent) + pen.spot(ellipse(0, -60, 5), "#ffe066")


def _short_hair(pen: Pen, palette: Palette) -> tuple[str, str]:
    fringe = [
        (-56, 6),
        (-57, -26),
        (-34, -54),
        (4, -60),
        (40, -50),
        (57, -22),
        (56, 6),
        (49, -10),
        (34, -20),
        (22, -30),
        (6, -16),
        (-12, -30),
        (-24, -14),
        (-38, -24),
        (-48, -8),
    ]
    return "", _side_ears(pen, palette) + pen.shape(curve(fringe, tension=0.1), palette.accent)


def _side_ears(pen: Pen, palette: Palette) -> str:
    return _mirrored(lambda s: pen.detail(ellipse(s * 53, 8, 8, 10), palette.body, pen.contour))


def _twin_tails(pen: Pen, palette: Palette) -> tuple[str, str]:
    def tail(s: int) -> str:
        points = [(44, -34), (70, -40), (82, -6), (76, 34), (66, 42), (62, 14), (50, -6)]
        return pen.shape(curve([(s * x, y) for x, y in points]), palette.accent)

    ties = _mirrored(lambda s: pen.detail(ellipse(s * 52, -28, 8), palette.trim, 3))
    return _mirrored(tail), _fringe(pen, palette) + ties


def _fringe(pen: Pen, palette: Palette) -> str:
    fringe = [
        (-56, 10),
        (-58, -24),
        (-36, -52),
        (0, -58),
        (36, -52),
        (58, -24),
        (56, 10),
        (46, -10),
        (30, -22),
        (0, -24),
        (-30, -22),
        (-46, -10),
    ]
    return pen.shape(curve(fringe, tension=0.12), palette.accent)


def _hair_bun(pen: Pen, palette: Palette) -> tuple[str, str]:
    parted = [
        (-56, 6),
        (-58, -24),
        (-36, -50),
        (0, -55),
        (36, -50),
        (58, -24),
        (56, 6),
        (44, -14),
        (20, -30),
        (0, -38),
        (-20, -30),
        (-44, -14),
    ]
    knot = pen.shape(ellipse(0, -60, 21, 18), palette.accent)
    strand = pen.line("M -8 -64 Q 2 -70 10 -62", 2.4)
    return knot, pen.shape(curve(parted, tension=0.12), palette.accent) + strand


def _antenna(pen: Pen, palette: Palette) -> tuple[str, str]:
    bolts = _mirrored(lambda s: pen.shape(rectangle(s * 58, 4, 16, 28, 6), palette.feet))
    lamp = pen.shape(ellipse(0, -68, 9), palette.trim)
    return pen.limb("M 0 -42 L 0 -64", 4, palette.feet) + lamp + bolts, ""


def _spikes(pen: Pen, palette: Palette) -> tuple[str, str]:
    teeth = [
        (-56, -18),
        (-64, -44),
        (-38, -40),
        (-34, -66),
        (-12, -52),
        (0, -74),
        (12, -52),
        (34, -66),
        (38, -40),
        (64, -44),
        (56, -18),
    ]
    return pen.shape(polyline(teeth, closed=True), palette.accent), ""


def _feelers(pen: Pen, palette: Palette) -> tuple[str, str]:
    return pen.limb("M -12 -44 Q -22 -84 -58 -66 M 12 -44 Q 22 -84 58 -66", 4, palette.feet), ""


def _stalk(pen: Pen, palette: Palette) -> tuple[str, str]:
    leaf = pen.shape(curve([(2, -58), (16, -72), (32, -70), (22, -58)]), mix(palette.body, "#7bd05a", 0.5))
    return pen.limb("M 0 -50 L 2 -62", 6, palette.trim) + leaf, ""


def _nothing(pen: Pen, palette: Palette) -> tuple[str, str]:
    return "", ""


EARS: dict[str, DrawEars] = {
    "none": _nothing,
    "cat": _pointed(36, (48, -66)),
    "upright": _pointed(32, (46, -76), "blush"),
    "fox": _pointed(36, (56, -78), "outline"),
    "floppy": _floppy,
    "rabbit": _long,
    "bear": _round_ears(40, -36, 17),
    "panda": _round_ears(42, -36, 17, "outline"),
    "mouse": _round_ears(38, -38, 12),
    "koala": _round_ears(54, -22, 26),
    "frog": _frog_eyes,
    "tuft": _tuft,
    "comb": _comb,
    "pig": _pig_ears,
    "sheep": _sheep_ears,
    "steam": _steam,
    "leaves": _leaves,
    "mushroom": _mushroom,
    "blossom": _blossom,
    "short_hair": _short_hair,
    "twin_tails": _twin_tails,
    "hair_bun": _hair_bun,
    "antenna": _antenna,
    "spikes": _spikes,
    "feelers": _feelers,
    "stalk": _stalk,
}


EAR_REACH: dict[str, tuple[float, float]] = {
    "rabbit": (58, 94),
    "fox": (62, 80),
    "upright": (58, 78),
    "cat": (58, 68),
    "koala": (82, 52),
    "floppy": (68, 50),
    "mushroom": (78, 82),
    "leaves": (58, 86),
    "steam": (58, 86),
    "antenna": (68, 78),
    "spikes": (66, 76),
    "frog": (58, 60),
    "hair_bun": (60, 80),
    "twin_tails": (84, 62),
    "short_hair": (63, 62),
    "tuft": (58, 74),
    "comb": (58, 68),
    "feelers": (62, 86),
    "stalk": (58, 76),
    "blossom": (58, 80),
    "sheep": (77, 62),
    "pig": (58, 62),
}
"""How far ears reach to the sides and above the middle of the head, where they reach beyond it."""


# Markings, on the head and under the face.


def _stripes(pen: Pen, palette: Palette) -> str:
    crown = "M 0 -40 L 0 -26 M -13 -38 L -11 -28 M 13 -38 L 11 -28"
    cheeks = "M -50 8 L -39 10 M -48 20 L -38 19 M 50 8 L 39 10 M 48 20 L 38 19"
    return pen.line(f"{crown} {cheeks}", 5.5, palette.accent)


def _blaze(pen: Pen, palette: Palette) -> str:
    points = [
        (-7, -42),
        (7, -42),
        (9, -12),
        (26, 12),
        (32, 30),
        (18, 41),
        (0, 43),
        (-18, 41),
        (-32, 30),
        (-26, 12),
        (-9, -12),
    ]
    return pen.spot(curve(points), palette.accent)


def _one_patch(pen: Pen, palette: Palette) -> str:
    return pen.spot(curve([(8, -22), (24, -34), (42, -22), (44, 4), (30, 18), (12, 8)]), palette.accent, 0.85)


def _eye_patches(pen: Pen, palette: Palette) -> str:
    def side(s: int) -> str:
        points = [(14, -8), (26, -14), (38, 0), (40, 16), (30, 22), (17, 14)]
        return pen.spot(curve([(s * x, y) for x, y in points]), palette.outline, 0.85)

    return _mirrored(side)


def _pale_chin(pen: Pen, palette: Palette) -> str:
    points = [(-44, 12), (-20, 8), (0, 12), (20, 8), (44, 12), (32, 32), (0, 40), (-32, 32)]
    return pen.spot(curve(points), palette.accent, 0.8)


def _cheeks(pen: Pen, palette: Palette) -> str:
    return _mirrored(lambda s: pen.spot(ellipse(s * 26, 22, 26, 17), palette.accent)) + pen.spot(
        curve([(0, -44), (6, -20), (0, -8), (-6, -20)]), palette.accent
    )


def _mask(pen: Pen, palette: Palette) -> str:
    points = [(0, -16), (18, -30), (38, -22), (44, 6), (30, 32), (0, 42), (-30, 32), (-44, 6), (-38, -22), (-18, -30)]
    return pen.spot(curve(points), palette.accent)


def _king(pen: Pen, palette: Palette) -> str:
    crown = "M -11 -38 L 11 -38 M -9 -31 L 9 -31 M -11 -24 L 11 -24 M 0 -38 L 0 -24"
    sides = "M -52 2 L -41 5 M -52 14 L -41 14 M 52 2 L 41 5 M 52 14 L 41 14"
    cheeks = _mirrored(lambda s: pen.spot(ellipse(s * 13, 27, 17, 13), palette.accent))
    return cheeks + pen.line(f"{crown} {sides}", 4, palette.outline)


def _face_plate(pen: Pen, palette: Palette) -> str:
    points = [(-36, -4), (-24, -26), (0, -32), (24, -26), (36, -4), (36, 20), (22, 38), (0, 42), (-22, 38), (-36, 20)]
    return pen.shape(curve(points), palette.accent)


def _pleats(pen: Pen, palette: Palette) -> str:
    left = "M -40 -18 Q -36 -30 -26 -34 M -22 -28 Q -18 -38 -8 -40"
    right = "M 0 -30 Q 2 -40 8 -42 M 22 -28 Q 20 -36 18 -38 M 42 -16 Q 38 -28 32 -32"
    return pen.line(f"{left} {right}", 3.4, palette.accent)


def _swirl(pen: Pen, palette: Palette) -> str:
    left = "M 0 -46 Q -10 -34 -30 -30 M -2 -44 Q -4 -34 -10 -28"
    return pen.line(f"{left} M 2 -44 Q 4 -34 10 -28 M 0 -46 Q 10 -34 30 -30", 3.2, palette.accent)


def _cube(pen: Pen, palette: Palette) -> str:
    return pen.line("M -48 -30 L 36 -30 L 36 38 M 36 -30 L 48 -38", 3, palette.accent)


def _shell(pen: Pen, palette: Palette) -> str:
    top = [
        (-49, -14),
        (-36, -24),
        (-24, -14),
        (-12, -25),
        (0, -15),
        (12, -25),
        (24, -14),
        (36, -24),
        (49, -14),
        (42, -30),
        (26, -44),
        (0, -50),
        (-26, -44),
        (-42, -30),
    ]
    return pen.detail(polyline(top, closed=True), palette.accent)


def _rings(pen: Pen, palette: Palette) -> str:
    top = "M -44 -20 Q -36 -18 -30 -22 M 30 -22 Q 38 -18 44 -20 M -20 -36 Q 0 -30 20 -36"
    sides = "M -50 14 Q -44 16 -40 13 M 40 13 Q 46 16 50 14"
    return pen.line(f"{top} {sides}", 3.2, mix(palette.body, palette.outline, 0.3))


def _prickles(pen: Pen, palette: Palette) -> str:
    top = "M -34 -26 L -31 -20 M -12 -40 L -10 -34 M 12 -40 L 10 -34 M 34 -26 L 31 -20"
    sides = "M -40 12 L -35 14 M 40 12 L 35 14 M -24 36 L -22 30 M 24 36 L 22 30"
    return pen.line(f"{top} {sides}", 3, mix(palette.body, "#1d4a2c", 0.5))


def _wrinkles(pen: Pen, palette: Palette) -> str:
    lines = "M -42 12 Q -38 14 -37 18 M 42 12 Q 38 14 37 18 M -10 -30 Q 0 -33 10 -30 M -8 -24 Q 0 -27 8 -24"
    return pen.line(lines, 2, mix(palette.body, palette.outline, 0.35))


def _screen(pen: Pen, palette: Palette) -> str:
    return pen.detail(rectangle(0, 4, 88, 66, 18), palette.accent, 3)


def _speckles(pen: Pen, palette: Palette) -> str:
    dots = [(-26, -34, 6), (-10, -40, 4), (28, -32, 5), (40, -14, 4), (-42, -12, 4)]
    return pen.spot("".join(ellipse(*dot) for dot in dots), palette.accent, 0.8)


def _flesh(pen: Pen, palette: Palette) -> str:
    points = [(-44, 16), (-30, -14), (-22, -38), (0, -48), (22, -38), (30, -14), (44, 16), (30, 36), (0, 42), (-30, 36)]
    return pen.spot(curve(points), palette.accent)


MARKINGS: dict[str, Callable[[Pen, Palette], str]] = {
    "none": lambda pen, palette: "",
    "stripes": _stripes,
    "blaze": _blaze,
    "one_patch": _one_patch,
    "eye_patches": _eye_patches,
    "pale_chin": _pale_chin,
    "cheeks": _cheeks,
    "mask": _mask,
    "king": _king,
    "face_plate": _face_plate,
    "pleats": _pleats,
    "swirl": _swirl,
    "cube": _cube,
    "shell": _shell,
    "rings": _rings,
    "prickles": _prickles,
    "wrinkles": _wrinkles,
    "screen": _screen,
    "speckles": _speckles,
    "flesh": _flesh,
}


# Muzzles, in the frame of the face: the eyes are at the height of the origin, the mouth lies at about y = 24.


def _cat_nose(pen: Pen, palette: Palette) -> str:
    whiskers = "M -38 12 L -54 9 M -38 18 L -53 20 M 38 12 L 54 9 M 38 18 L 53 20"
    return pen.spot("M -5 8 Q 0 6 5 8 Q 3 13 0 14 Q -3 13 -5 8 Z", "#f2788a") + pen.line(whiskers, 2)


def _dog_nose(pen: Pen, palette: Palette) -> str:
    glint = pen.spot(ellipse(-2, 8, 2.4, 1.5), "#ffffff", 0.8)
    return pen.spot(ellipse(0, 10, 8, 5.5), palette.outline) + glint


def _bear_nose(pen: Pen, palette: Palette) -> str:
    pale = mix(palette.body, "#ffffff", 0.6)
    return pen.spot(ellipse(0, 20, 23, 16), pale) + pen.spot(ellipse(0, 10, 7, 5), palette.outline)


def _rabbit_nose(pen: Pen, palette: Palette) -> str:
    return pen.line("M -4 8 L 0 12 L 4 8", 2.8, mix(palette.accent, palette.outline, 0.45))


def _bill(pen: Pen, palette: Palette) -> str:
    return pen.detail(curve([(-17, 10), (0, 4), (17, 10), (10, 16), (0, 17), (-10, 16)]), palette.accent)


def _beak(pen: Pen, palette: Palette) -> str:
    return pen.detail(polyline([(-8, 7), (8, 7), (0, 16)], closed=True), "#ffa033")


def _snout(pen: Pen, palette: Palette) -> str:
    nostrils = pen.spot(ellipse(-4.5, 10, 2.2, 3.4) + ellipse(4.5, 10, 2.2, 3.4), palette.outline)
    return pen.detail(ellipse(0, 10, 14, 9), palette.accent) + nostrils


def _koala_nose(pen: Pen, palette: Palette) -> str:
    return pen.detail(curve([(-8, 0), (0, -5), (8, 0), (9, 12), (0, 16), (-9, 12)]), "#5b5266")


def _capybara_nose(pen: Pen, palette: Palette) -> str:
    nostrils = pen.spot(ellipse(-7, 9, 2.4, 3) + ellipse(7, 9, 2.4, 3), palette.outline)
    muzzle = curve([(-20, 8), (0, 2), (20, 8), (23, 24), (0, 34), (-23, 24)])
    return pen.spot(muzzle, mix(palette.body, "#fff0dc", 0.35)) + nostrils


def _nostrils(pen: Pen, palette: Palette) -> str:
    return pen.spot(ellipse(-5, 10, 2, 2.6) + ellipse(5, 10, 2, 2.6), mix(palette.body, palette.outline, 0.6))


def _pout(pen: Pen, palette: Palette) -> str:
    return pen.line("M -3 11 Q 0 8 3 11", 2.8, mix(palette.accent, palette.outline, 0.3))


MUZZLES: dict[str, Callable[[Pen, Palette], str]] = {
    "none": lambda pen, palette: "",
    "cat": _cat_nose,
    "dog": _dog_nose,
    "bear": _bear_nose,
    "rabbit": _rabbit_nose,
    "bill": _bill,
    "beak": _beak,
    "snout": _snout,
    "koala": _koala_nose,
    "capybara": _capybara_nose,
    "nostrils": _nostrils,
    "pout": _pout,
}


# Accessories: the layer says where they belong and in whose frame they are drawn.


def _bell(pen: Pen, palette: Palette) -> str:
    collar = pen.limb("M -20 -23 Q 0 -12 20 -23", 6, palette.trim)
    return collar + pen.detail(ellipse(0, -12, 8), "#ffd23d") + pen.line("M 0 -12 L 0 -6", 2.4)


def _scarf(pen: Pen, palette: Palette) -> str:
    end = pen.limb("M 13 -16 L 17 8", 11, palette.trim)
    return end + pen.limb("M -22 -23 Q 0 -9 22 -23", 12, palette.trim)


def _tie(pen: Pen, palette: Palette) -> str:
    wings = polyline([(-16, -26), (0, -18), (16, -26), (16, -8), (0, -16), (-16, -8)], closed=True)
    return pen.detail(wings, palette.trim, 3.2) + pen.detail(ellipse(0, -17, 5), palette.trim)


def _cape(pen: Pen, palette: Palette) -> str:
    outline = [(-18, -26), (18, -26), (46, 28), (20, 36), (0, 30), (-20, 36), (-46, 28)]
    return pen.shape(curve(outline, tension=0.1), palette.trim)


def _bow(pen: Pen, palette: Palette) -> str:
    left = pen.detail(curve([(26, -40), (6, -54), (6, -30)], tension=0.12), palette.trim, 3)
    right = pen.detail(curve([(26, -40), (46, -54), (46, -28)], tension=0.12), palette.trim, 3)
    return left + right + pen.detail(ellipse(26, -41, 6), palette.trim, 3)


def _earmuffs(pen: Pen, palette: Palette) -> str:
    band = pen.line("M -54 -2 C -54 -66 54 -66 54 -2", 5, palette.trim)
    return band + _mirrored(lambda s: pen.shape(ellipse(s * 54, 2, 12, 16), palette.trim))


def _halo(pen: Pen, palette: Palette) -> str:
    return pen.limb(ellipse(0, -60, 24, 6), 5, palette.trim)


def _headband(pen: Pen, palette: Palette) -> str:
    band = pen.detail(path("M -53 -30 Q 0 -38 53 -30 L 53 -17 Q 0 -25 -53 -17 Z"), "#fdfdfb")
    return band + pen.spot(ellipse(0, -28, 6), palette.trim)


def _rainbow(pen: Pen, palette: Palette) -> str:
    def arc(colour: str, radius: float) -> str:
        top = -16 - 1.25 * radius
        return pen.line(f"M {-radius} -16 C {-radius} {top} {radius} {top} {radius} -16", 7, colour)

    return arc("#ff8f8f", 66) + arc("#ffd76a", 59) + arc("#8fd6ff", 52)


def _cap(pen: Pen, palette: Palette) -> str:
    crown = [(-52, -22), (-46, -50), (0, -70), (46, -50), (52, -22), (0, -30)]
    peak = [(-8, -32), (30, -38), (66, -24), (64, -14), (40, -22), (4, -22)]
    shade = mix(palette.trim, "#201020", 0.15)
    return pen.shape(curve(crown, tension=0.14), palette.trim) + pen.shape(curve(peak), shade)


def _clip(pen: Pen, palette: Palette) -> str:
    return pen.detail(polyline(star_points(30, -36, 12, 6), closed=True), palette.trim, 3)


def _glasses(pen: Pen, palette: Palette) -> str:
    rims = _mirrored(lambda s: pen.line(ellipse(s * 22, 4, 17, 15), 2.8, "#7a5a8a"))
    return rims + pen.line("M -6 2 Q 0 -2 6 2 M -39 2 L -52 -2 M 39 2 L 52 -2", 2.8, "#7a5a8a")


def _fruit(pen: Pen, palette: Palette) -> str:
    leaf = pen.detail(curve([(2, -66), (14, -76), (24, -70), (12, -64)]), "#5fae4e")
    return pen.shape(ellipse(0, -54, 16, 14), palette.trim) + leaf


ACCESSORIES: dict[str, tuple[str, Callable[[Pen, Palette], str]]] = {
    "none": ("neck", lambda pen, palette: ""),
    "bell": ("neck", _bell),
    "scarf": ("neck", _scarf),
    "tie": ("neck", _tie),
    "cape": ("back", _cape),
    "rainbow": ("behind_head", _rainbow),
    "bow": ("head", _bow),
    "earmuffs": ("head", _earmuffs),
    "halo": ("head", _halo),
    "headband": ("head", _headband),
    "cap": ("head", _cap),
    "clip": ("head", _clip),
    "glasses": ("head", _glasses),
    "fruit": ("head", _fruit),
}


ACCESSORY_TOP: dict[str, float] = {"rainbow": 104, "halo": 72, "cap": 74, "fruit": 78}
"""How far an accessory reaches above the middle of the head, where it reaches beyond it."""


def head_box(character: Character) -> Box:
    """Box round the head with ears and accessory, before its proportions are applied."""
    side, top = EAR_REACH.get(character.parts.ears, (60.0, 56.0))
    return -side, -max(top, ACCESSORY_TOP.get(character.parts.accessory, 0.0)), side, 50.0


def accessory(pen: Pen, character: Character, layer: str) -> str:
    """Draw a character's accessory if it belongs to `layer`: back, neck, behind_head or head."""
    where, draw = ACCESSORIES[character.parts.accessory]
    return draw(pen, character.palette) if where == layer else ""


# Tails, behind the torso and in its frame.


def _tentacles(pen: Pen, palette: Palette) -> str:
    arms = "M -14 20 Q -44 16 -50 40 Q -50 50 -40 48 M 14 20 Q 44 16 50 40 Q 50 50 40 48"
    return pen.limb(arms, 13, palette.body)


def _fan(pen: Pen, palette: Palette) -> str:
    blades = [(30, 18), (46, 6), (60, 10), (54, 20), (64, 30), (52, 32), (50, 44), (34, 34)]
    return pen.shape(curve(blades), palette.feet)


TAILS: dict[str, Callable[[Pen, Palette], str]] = {
    "none": lambda pen, palette: "",
    "cat": lambda pen, palette: pen.limb("M 20 20 C 48 30 58 8 46 -8", 10, palette.body),
    "fox": lambda pen, palette: pen.shape(
        curve([(18, 22), (42, 26), (58, 6), (54, -20), (66, -4), (70, 22), (50, 40), (24, 36)]), palette.body
    ),
    "round": lambda pen, palette: pen.shape(ellipse(32, 20, 12), palette.body),
    "bird": lambda pen, palette: pen.shape(
        polyline([(22, 8), (46, 2), (40, 14), (48, 20), (24, 26)], closed=True), palette.body
    ),
    "curl": lambda pen, palette: pen.line("M 28 14 Q 44 16 42 4 Q 34 0 36 10 Q 40 18 50 12", 5, palette.accent),
    "dino": lambda pen, palette: pen.shape(
        curve([(14, 10), (34, 16), (58, 4), (62, 12), (44, 32), (16, 32)], tension=0.13), palette.body
    ),
    "fan": _fan,
    "tentacles": _tentacles,
}


TAIL_BOXES: dict[str, Box] = {
    "cat": (-30, -30, 58, 34),
    "fox": (-30, -30, 72, 42),
    "round": (-30, -30, 45, 34),
    "bird": (-30, -30, 50, 34),
    "curl": (-30, -30, 54, 34),
    "dino": (-30, -30, 64, 36),
    "fan": (-30, -30, 66, 46),
    "tentacles": (-58, -30, 58, 57),
}
"""Box round torso and tail, in the frame of the torso."""


# Torsos, in their own frame.

_BEAN = [(-20, -30), (0, -33), (20, -30), (30, 0), (30, 20), (18, 32), (0, 34), (-18, 32), (-30, 20), (-30, 0)]


def _bean(pen: Pen, palette: Palette) -> str:
    belly = mix(palette.cloth, "#ffffff", 0.55)
    return pen.shape(curve(_BEAN), palette.cloth) + pen.spot(ellipse(0, 10, 18, 19), belly, 0.85)


def _tiny(pen: Pen, palette: Palette) -> str:
    return pen.shape(curve([(0.88 * x, 0.94 * y) for x, y in _BEAN]), palette.cloth)


def _wisp(pen: Pen, palette: Palette) -> str:
    hem = [
        (-24, -30),
        (0, -33),
        (24, -30),
        (31, 4),
        (34, 34),
        (22, 27),
        (11, 38),
        (0, 28),
        (-11, 38),
        (-22, 27),
        (-34, 34),
        (-31, 4),
    ]
    return pen.shape(curve(hem, tension=0.13), palette.cloth)


def _pot(pen: Pen, palette: Palette) -> str:
    pot = polyline([(-31, 6), (31, 6), (25, 35), (-25, 35)], closed=True)
    rim = pen.shape(rectangle(0, 8, 68, 13, 5), palette.trim)
    return _tiny(pen, palette) + pen.shape(pot, palette.trim) + rim


def _shirt(pen: Pen, palette: Palette) -> str:
    collar = pen.detail(polyline([(-12, -28), (0, -16), (12, -28)], closed=True), palette.body)
    trousers = [(-31, 14), (31, 14), (30, 26), (18, 34), (0, 35), (-18, 34), (-30, 26)]
    legs = pen.shape(curve(trousers, tension=0.1), palette.feet)
    return pen.shape(curve(_BEAN), palette.cloth) + legs + collar


def _dress(pen: Pen, palette: Palette) -> str:
    skirt = [(-18, -30), (18, -30), (26, 4), (38, 32), (0, 37), (-38, 32), (-26, 4)]
    buttons = pen.spot(ellipse(0, -8, 3) + ellipse(0, 4, 3), mix(palette.cloth, "#ffffff", 0.7))
    return pen.shape(curve(skirt, tension=0.1), palette.cloth) + buttons


def _box(pen: Pen, palette: Palette) -> str:
    panel = (
        pen.detail(rectangle(0, 8, 34, 24, 5), palette.accent)
        + pen.spot(ellipse(-8, 8, 4), palette.trim)
        + pen.spot(ellipse(6, 8, 4), "#ffd24a")
    )
    return pen.shape(rectangle(0, 1, 60, 66, 12), palette.cloth) + panel


def _pit(pen: Pen, palette: Palette) -> str:
    flesh = pen.spot(ellipse(0, 6, 23, 24), palette.accent)
    return pen.shape(curve(_BEAN), palette.cloth) + flesh + pen.detail(ellipse(0, 9, 13), palette.trim, 3)


TORSOS: dict[str, Callable[[Pen, Palette], str]] = {
    "bean": _bean,
    "tiny": _tiny,
    "wisp": _wisp,
    "pot": _pot,
    "shirt": _shirt,
    "dress": _dress,
    "box": _box,
    "pit": _pit,
}
