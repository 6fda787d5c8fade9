"""Hands: each kind is drawn round the origin with the fingers upwards and the wrist below."""

from collections.abc import Callable

from intra.replystickers.drawing.styles import Pen
from intra.replystickers.drawing.svg import curve, ellipse, heart

REACH = 24.0
"""No hand but `pointer` reaches further than this from its origin; see `reach`."""


def _paw(pen: Pen, fill: str) -> str:
    return pen.merged([(ellipse(0, 0, 12.5, 13), 0)], fill) + pen.line("M -4 -6 L -4 -11 M 4 -6 L 4 -11", 2.2)


def _palm(pen: Pen, fill: str) -> str:
    fingers = "M -3 0 L -9 -16 M 0 0 L 0 -19 M 3 0 L 9 -16 M -6 4 L -16 -4"
    return pen.merged([(ellipse(0, 3, 11.5, 12), 0), (fingers, 8.5)], fill)


def _stop(pen: Pen, fill: str) -> str:
    creases = pen.line("M -6 4 Q 0 0 6 3 M -5 10 Q 0 7 5 9", 1.6)
    return _palm(pen, fill) + creases


def _fist(pen: Pen, fill: str) -> str:
    knuckles = "M -6 -10 L -6 -3 M 0 -11 L 0 -4 M 6 -10 L 6 -3"
    return pen.merged([(ellipse(0, 0, 14, 13), 0)], fill) + pen.line(knuckles, 2.2)


def _thumb(pen: Pen, fill: str) -> str:
    fist = curve([(-12, -8), (8, -9), (14, -2), (13, 10), (0, 14), (-12, 11)], tension=0.14)
    folded = "M 5 -3 L 13 -3 M 4 3 L 13 3 M 5 9 L 12 9"
    return pen.merged([(fist, 0), ("M -6 -4 L -4 -21", 11)], fill) + pen.line(folded, 2.2)


def _pointer(pen: Pen, fill: str) -> str:
    folded = "M 1 -4 L 11 -6 M 3 2 L 13 1 M 3 8 L 12 8"
    return pen.merged([(ellipse(1, 2, 13, 12.5), 0), ("M -5 -4 L -5 -27", 9.5)], fill) + pen.line(folded, 2.2)


def _tray(pen: Pen, fill: str) -> str:
    fingers = "M -6 2 L -7 -17 M 1 0 L 1 -19 M 7 3 L 9 -15"
    return pen.merged([(ellipse(0, 6, 11, 9), 0), (fingers, 7.5), ("M -6 6 L -16 0", 7)], fill)


def _praying(pen: Pen, fill: str) -> str:
    outline = curve([(0, -24), (8, -16), (12, 8), (9, 17), (0, 19), (-9, 17), (-12, 8), (-8, -16)])
    return pen.merged([(outline, 0)], fill) + pen.line("M 0 -21 L 0 17", 2.6)


def _mitt(pen: Pen, fill: str) -> str:
    folds = "M -4.5 -9 L -5 -19 M 1 -9 L 1 -21 M 6.5 -9 L 7 -18"
    return pen.merged([(ellipse(0, -3, 12, 20), 0), ("M -6 8 L -15 2", 8)], fill) + pen.line(folds, 2.2)


def _clapping(pen: Pen, fill: str) -> str:
    fingers = pen.line("M 3 -8 L 8 -12 M 4 -2 L 9.5 -5 M 4 4 L 10 2", 2)
    return pen.merged([(ellipse(0, -1, 10.5, 18), 0), ("M -4 -2 L -10 -14", 6.5)], fill) + fingers


def _heart_ring(pen: Pen, fill: str) -> str:
    ring = heart(0, 0, 42)
    fingers = "M -21 -22 L -17 -15 M -29 -12 L -22 -9 M 21 -22 L 17 -15 M 29 -12 L 22 -9"
    lines = pen.line(f"{fingers} M 0 -14 L 0 -6 M 0 17 L 0 25", 2.4)
    return pen.merged([(ring, 13), (ring, 0)], fill) + pen.detail(heart(0, 0, 33), "#ff4d72") + lines


HANDS: dict[str, Callable[[Pen, str], str]] = {
    "paw": _paw,
    "palm": _palm,
    "stop": _stop,
    "fist": _fist,
    "thumb": _thumb,
    "pointer": _pointer,
    "tray": _tray,
    "mitt": _mitt,
    "praying": _praying,
    "clapping": _clapping,
    "heart_ring": _heart_ring,
}


def reach(kind: str) -> float:
    """How far a hand of this kind extends from its origin."""
    return {"paw": 16.0, "fist": 17.0, "pointer": 33.0, "heart_ring": 33.0}.get(kind, REACH)


def wrist(kind: str) -> tuple[float, float]:
    """Where the arm of the right side meets a hand of this kind."""
    return {"heart_ring": (22.0, 8.0), "praying": (5.0, 14.0)}.get(kind, (0.0, 8.0))
