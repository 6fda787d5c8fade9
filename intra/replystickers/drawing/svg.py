"""Plane geometry and the few SVG primitives that every drawing module shares."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

Point = tuple[float, float]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


class Frame(NamedTuple):
    """An affine map from the coordinates of a part to those of what holds it."""

    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    d: float = 1.0
    e: float = 0.0
    f: float = 0.0

    @classmethod
    def place(cls, x: float, y: float, degrees: float = 0.0, scale: float = 1.0, mirror: bool = False) -> "Frame":
        """Put the origin at (x, y), turned clockwise by `degrees`, scaled, and flipped with `mirror`."""
        cosine, sine = math.cos(math.radians(degrees)) * scale, math.sin(math.radians(degrees)) * scale
        sign = -1.0 if mirror else 1.0
        return cls(sign * cosine, sign * sine, -sine, cosine, x, y)

    def then(self, inner: "Frame") -> "Frame":
        """Map first by `inner`, then by this frame."""
        return Frame(
            self.a * inner.a + self.c * inner.b,
            self.b * inner.a + self.d * inner.b,
            self.a * inner.c + self.c * inner.d,
            self.b * inner.c + self.d * inner.d,
            *self.point(inner.e, inner.f),
        )

    def point(self, x: float, y: float) -> Point:
        """Map one point."""
        return self.a * x + self.c * y + self.e, self.b * x + self.d * y + self.f

    def box(self, box: Box) -> Box:
        """Map a box and return the upright box around the result."""
        left, top, right, bottom = box
        return around(self.point(x, y) for x in (left, right) for y in (top, bottom))

    def group(self, content: str) -> str:
        """Wrap SVG content so that it is drawn in this frame."""
        return f'<g transform="matrix({" ".join(number(value) for value in self)})">{content}</g>'


def number(value: float) -> str:
    """Format a coordinate with at most two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def around(points: Iterable[Point], margin: float = 0.0) -> Box:
    """Return the upright box around points."""
    xs, ys = zip(*points, strict=True)
    return min(xs) - margin, min(ys) - margin, max(xs) + margin, max(ys) + margin


def reach(d: str) -> Box:
    """Return the box round the points of a path, control points included."""
    values = [float(word) for word in d.split() if word not in "MLQCZ"]
    return around(zip(values[::2], values[1::2], strict=True))


def union(boxes: Iterable[Box]) -> Box:
    """Return the box around boxes."""
    return around(corner for box in boxes for corner in (box[:2], box[2:]))


def ellipse(x: float, y: float, rx: float, ry: float | None = None) -> str:
    """Path of an ellipse, or of a circle without `ry`."""
    ry = rx if ry is None else ry
    k = 0.5523
    return path(
        f"M {x - rx} {y}",
        f"C {x - rx} {y - k * ry} {x - k * rx} {y - ry} {x} {y - ry}",
        f"C {x + k * rx} {y - ry} {x + rx} {y - k * ry} {x + rx} {y}",
        f"C {x + rx} {y + k * ry} {x + k * rx} {y + ry} {x} {y + ry}",
        f"C {x - k * rx} {y + ry} {x - rx} {y + k * ry} {x - rx} {y} Z",
    )


def path(*pieces: str) -> str:
    """Join path pieces, shortening their numbers."""
    return " ".join(word if word[0] in "MLQCZ" else number(float(word)) for piece in pieces for word in piece.split())


def polyline(points: Sequence[Point], closed: bool = False) -> str:
    """Path of straight lines through points."""
    lines = " L ".join(f"{number(x)} {number(y)}" for x, y in points)
    return f"M {lines} Z" if closed else f"M {lines}"


def curve(points: Sequence[Point], tension: float = 0.17) -> str:
    """Path of a smooth closed curve through points (Catmull-Rom); a smaller tension makes tighter corners."""
    count = len(points)
    pieces = [f"M {points[0][0]} {points[0][1]}"]
    for index in range(count):
        before, start, end, after = (points[(index + step) % count] for step in (-1, 0, 1, 2))
        first = (start[0] + tension * (end[0] - before[0]), start[1] + tension * (end[1] - before[1]))
        second = (end[0] - tension * (after[0] - start[0]), end[1] - tension * (after[1] - start[1]))
        pieces.append(f"C {first[0]} {first[1]} {second[0]} {second[1]} {end[0]} {end[1]}")
    return path(*pieces, "Z")


def rectangle(x: float, y: float, width: float, height: float, radius: float) -> str:
    """Path of a rectangle with rounded corners whose centre is (x, y)."""
    left, right, top, bottom = x - width / 2, x + width / 2, y - height / 2, y + height / 2
    return path(
        f"M {left + radius} {top} L {right - radius} {top} Q {right} {top} {right} {top + radius}",
        f"L {right} {bottom - radius} Q {right} {bottom} {right - radius} {bottom}",
        f"L {left + radius} {bottom} Q {left} {bottom} {left} {bottom - radius}",
        f"L {left} {top + radius} Q {left} {top} {left + radius} {top} Z",
    )


def heart(x: float, y: float, size: float) -> str:
    """Path of a heart `size` wide around (x, y)."""
    s = size / 2
    return path(
        f"M {x} {y + 0.95 * s}",
        f"C {x - 1.5 * s} {y + 0.1 * s} {x - 1.1 * s} {y - 1.05 * s} {x - 0.45 * s} {y - 0.85 * s}",
        f"Q {x - 0.1 * s} {y - 0.75 * s} {x} {y - 0.35 * s}",
        f"Q {x + 0.1 * s} {y - 0.75 * s} {x + 0.45 * s} {y - 0.85 * s}",
        f"C {x + 1.1 * s} {y - 1.05 * s} {x + 1.5 * s} {y + 0.1 * s} {x} {y + 0.95 * s} Z",
    )


def star(x: float, y: float, outer: float, inner: float, rays: int = 5) -> str:
    """Path of a star with straight edges and its first ray upwards."""
    return polyline(star_points(x, y, outer, inner, rays), closed=True)


def star_points(x: float, y: float, outer: float, inner: float, rays: int = 5) -> list[Point]:
    """Corners of a star, the outer ones at even positions."""
    corners = []
    for index in range(2 * rays):
        radius = inner if index % 2 else outer
        angle = math.pi * index / rays - math.pi / 2
        corners.append((x + radius * math.cos(angle), y + radius * math.sin(angle)))
    return corners


def drop(x: float, y: float, size: float) -> str:
    """Path of a water drop of height 2 * size, tip upwards, around (x, y)."""
    waist = y - 0.2 * size
    return path(
        f"M {x} {y - 1.2 * size}",
        f"C {x + 0.3 * size} {y - 0.5 * size} {x + 0.8 * size} {waist} {x + 0.75 * size} {y + 0.25 * size}",
        f"C {x + 0.7 * size} {y + size} {x - 0.7 * size} {y + size} {x - 0.75 * size} {y + 0.25 * size}",
        f"C {x - 0.8 * size} {waist} {x - 0.3 * size} {y - 0.5 * size} {x} {y - 1.2 * size} Z",
    )
