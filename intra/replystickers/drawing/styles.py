"""Drawing styles: how a pen turns plain shapes into contours, fills, gradients and hatching."""

import colorsys
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from intra.replystickers.drawing.svg import ellipse, number

_COORDINATE = re.compile(r"-?\d+(?:\.\d+)?")


def mix(colour: str, other: str, share: float) -> str:
    """Blend `share` of `other` into `colour`."""
    pairs = zip(_channels(colour), _channels(other), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def saturate(colour: str, factor: float) -> str:
    """Multiply the saturation of a colour."""
    red, green, blue = (channel / 255 for channel in _channels(colour))
    hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
    return from_hls(hue, lightness, min(1.0, saturation * factor))


def from_hls(hue: float, lightness: float, saturation: float) -> str:
    """Make a #rrggbb colour from hue, lightness and saturation in 0..1."""
    channels = colorsys.hls_to_rgb(hue, lightness, saturation)
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in channels)


def luminance(colour: str) -> float:
    """Perceived brightness in 0..1."""
    red, green, blue = _channels(colour)
    return (0.299 * red + 0.587 * green + 0.114 * blue) / 255


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


class Pen:
    """Draws shapes in one style. This base is the `outline` style: black contour, flat colour."""

    contour = 4.2
    """Width of the contour round a shape."""
    boldness = 1.0
    """Factor on the width of lines."""
    border = 9.0
    """Space that contours need at the edge of the canvas."""

    def __init__(self, rng: random.Random):
        """Start with no shared definitions.

        Args:
            rng: Source of line wobble.
        """
        self.rng = rng
        self.definitions: dict[str, str] = {}
        self.zoom = 1.0
        self.ink = "#2b2328"

    @contextmanager
    def zoomed(self, scale: float) -> Iterator[None]:
        """Keep contours and lines at their width while something is drawn to be enlarged by `scale`."""
        self.zoom = scale
        yield
        self.zoom = 1.0

    def tone(self, colour: str) -> str:
        """The style's version of a palette colour."""
        return colour

    def edge(self, fill: str) -> str:
        """Colour of the contour round a shape filled with `fill`."""
        return self.ink

    def paint(self, fill: str) -> str:
        """Value of the `fill` attribute for a large shape."""
        return self.tone(fill)

    def shape(self, d: str, fill: str) -> str:
        """A large closed shape with the style's contour and shading."""
        return (
            f'<path d="{d}" fill="{self.paint(fill)}" stroke="{self.edge(fill)}" '
            f'stroke-width="{number(self.contour)}" stroke-linejoin="round"/>'
        )

    def merged(self, parts: list[tuple[str, float]], fill: str) -> str:
        """Strokes and filled shapes that share one contour, such as a palm with its fingers.

        Args:
            parts: Path and stroke width of each part; width 0 fills the path.
            fill: Colour inside the common contour.
        """
        contour = self._layer(parts, self.edge(fill), 1.7 * self.contour / self.zoom)
        return contour + self._layer(parts, self.tone(fill), 0)

    def limb(self, d: str, width: float, fill: str) -> str:
        """A thick rounded stroke with a contour."""
        return self.merged([(d, width)], fill)

    def patch(self, d: str, fill: str) -> str:
        """An area without contour in the colour of limbs, to hide a seam."""
        return f'<path d="{d}" fill="{self.tone(fill)}"/>'

    def spot(self, d: str, fill: str, opacity: float = 1.0) -> str:
        """A small or flat area without contour."""
        alpha = "" if opacity == 1 else f' fill-opacity="{number(opacity)}"'
        paint = fill if fill == self.ink else self.tone(fill)
        return f'<path d="{d}" fill="{paint}"{alpha}/>'

    def detail(self, d: str, fill: str, width: float = 2.6) -> str:
        """A small closed feature with a thin contour."""
        return (
            f'<path d="{d}" fill="{self.tone(fill)}" stroke="{self.edge(fill)}" '
            f'stroke-width="{number(width * self.weight)}" stroke-linejoin="round"/>'
        )

    def line(self, d: str, width: float = 4.0, colour: str | None = None) -> str:
        """An open stroke, in ink unless a colour is given."""
        paint = self.tone(colour) if colour else self.ink
        return (
            f'<path d="{d}" fill="none" stroke="{paint}" stroke-width="{number(width * self.weight)}" '
            'stroke-linecap="round" stroke-linejoin="round"/>'
        )

    def fade(self, d: str, colour: str, strength: float = 0.75) -> str:
        """Fill a shape with a colour that fades out downwards."""
        name = self._define(
            f"fade{colour[1:]}",
            '<linearGradient id="{name}" x1="0" y1="0" x2="0" y2="1">'
            f'<stop offset="0.05" stop-color="{colour}" stop-opacity="{strength}"/>'
            f'<stop offset="0.62" stop-color="{colour}" stop-opacity="0"/></linearGradient>',
        )
        return f'<path d="{d}" fill="url(#{name})"/>'

    @property
    def weight(self) -> float:
        """Factor on the width of lines."""
        return self.boldness / self.zoom

    def _layer(self, parts: list[tuple[str, float]], colour: str, extra: float) -> str:
        pieces = []
        for d, width in parts:
            fill, stroke = ("none", width + extra) if width else (colour, extra)
            outline = f' stroke="{colour}" stroke-width="{number(stroke)}"' if stroke else ""
            pieces.append(f'<path d="{d}" fill="{fill}"{outline}/>')
        return f'<g stroke-linecap="round" stroke-linejoin="round">{"".join(pieces)}</g>'

    def _define(self, name: str, template: str) -> str:
        self.definitions.setdefault(name, template.replace("{name}", name))
        return name


class FlatPen(Pen):
    """No contour; every large shape has a lit and a shaded side."""

    contour = 0.0

    def __init__(self, rng: random.Random):
        """Use a dark plum instead of black."""
        super().__init__(rng)
        self.ink = "#44303f"

    def tone(self, colour: str) -> str:
        """Keep very light colours visible on white."""
        return mix(colour, "#8a7fb0", 0.2) if luminance(colour) > 0.9 else colour

    def paint(self, fill: str) -> str:
        """A hard-edged gradient."""
        light = self.tone(fill)
        name = self._define(
            f"flat{fill[1:]}",
            '<linearGradient id="{name}" x1="0.2" y1="0" x2="0.75" y2="1">'
            f'<stop offset="0.7" stop-color="{light}"/>'
            f'<stop offset="0.705" stop-color="{mix(light, "#6a2a60", 0.15)}"/></linearGradient>',
        )
        return f"url(#{name})"

    def shape(self, d: str, fill: str) -> str:
        """Fill only."""
        return f'<path d="{d}" fill="{self.paint(fill)}"/>'

    def merged(self, parts: list[tuple[str, float]], fill: str) -> str:
        """A darker edge on one side sets a limb off from the body behind it."""
        light = self.tone(fill)
        shadow = self._layer(parts, mix(light, "#3a2560", 0.34), 3.8 / self.zoom)
        return shadow + self._layer(parts, mix(light, "#ffffff", 0.1), 0)

    def patch(self, d: str, fill: str) -> str:
        """Limbs are never joined to the body: the shade shows where they start."""
        return ""

    def detail(self, d: str, fill: str, width: float = 2.6) -> str:
        """Light features keep a soft edge."""
        edge = f'stroke="{self.ink}" stroke-opacity="0.55" stroke-width="1.6"'
        return f'<path d="{d}" fill="{self.tone(fill)}" {edge}/>'


class SketchPen(Pen):
    """Wobbly double pencil strokes over an almost white fill."""

    contour = 2.2

    def __init__(self, rng: random.Random):
        """Use graphite."""
        super().__init__(rng)
        self.ink = "#45434d"

    def tone(self, colour: str) -> str:
        """Colours are only hinted at; dark ones stay grey."""
        grey = f"{round(255 * (0.35 + 0.65 * luminance(colour))):02x}"
        return mix(mix(colour, f"#{grey * 3}", 0.3), "#fffefb", 0.52)

    def shape(self, d: str, fill: str) -> str:
        """Fill, hatching and two strokes that do not quite agree."""
        body = f'<path d="{d}" fill="{self.paint(fill)}"/><path d="{d}" fill="{self._hatch(fill)}"/>'
        return body + self._strokes(d, 2.3)

    def merged(self, parts: list[tuple[str, float]], fill: str) -> str:
        """Contour of wobbling width."""
        faint = mix(self.ink, "#ffffff", 0.35)
        outer = self._layer([(self._wobble(d, 1.6), width) for d, width in parts], faint, 3.4 / self.zoom)
        second = self._layer([(self._wobble(d, 1.0), width) for d, width in parts], self.ink, 4.2 / self.zoom)
        return outer + second + self._layer(parts, self.tone(fill), 0)

    def detail(self, d: str, fill: str, width: float = 2.6) -> str:
        """Fill and one stroke."""
        return f'<path d="{d}" fill="{self.tone(fill)}"/>' + self._strokes(d, 1.8)

    def line(self, d: str, width: float = 4.0, colour: str | None = None) -> str:
        """Two thin strokes."""
        paint = self.ink if colour is None else mix(colour, self.ink, 0.3)
        return self._strokes(d, width * 0.62 / self.zoom, paint)

    def spot(self, d: str, fill: str, opacity: float = 1.0) -> str:
        """Dark areas are hatched, others only tinted."""
        if fill == self.ink:
            return f'<path d="{d}" fill="{self.ink}"/>'
        tint = f'<path d="{d}" fill="{self.tone(fill)}" fill-opacity="{number(opacity)}"/>'
        return tint + (f'<path d="{d}" fill="{self._hatch(fill, 0.75)}"/>' if luminance(fill) < 0.75 else "")

    def _strokes(self, d: str, width: float, colour: str | None = None) -> str:
        first = f'<path d="{self._wobble(d, 0.7)}" stroke-width="{number(width)}"/>'
        thin = f'stroke-width="{number(width * 0.6)}" stroke-opacity="0.65"'
        second = f'<path d="{self._wobble(d, 1.5)}" {thin}/>'
        paint = f'fill="none" stroke="{colour or self.ink}"'
        return f'<g {paint} stroke-linecap="round" stroke-linejoin="round">{first}{second}</g>'

    def _wobble(self, d: str, size: float) -> str:
        return _COORDINATE.sub(lambda match: number(float(match[0]) + self.rng.uniform(-size, size)), d)

    def _hatch(self, fill: str, strength: float = 0.4) -> str:
        name = self._define(
            f"hatch{fill[1:]}{round(100 * strength)}",
            '<pattern id="{name}" width="7" height="7" patternUnits="userSpaceOnUse" '
            'patternTransform="rotate(38)">'
            f'<path d="M 0 3 L 7 3" stroke="{mix(fill, self.ink, 0.35)}" stroke-opacity="{strength}" '
            'stroke-width="1.5"/></pattern>',
        )
        return f"url(#{name})"


class PastelPen(Pen):
    """Soft gradients inside a contour of the fill's own hue."""

    contour = 3.4

    def __init__(self, rng: random.Random):
        """Use a warm brown."""
        super().__init__(rng)
        self.ink = "#6b3f50"

    def tone(self, colour: str) -> str:
        """Wash a colour out."""
        return mix(colour, "#fff7f4", 0.26)

    def edge(self, fill: str) -> str:
        """A deeper version of the fill."""
        return mix(saturate(fill, 0.8), "#8d4a6b", 0.58)

    def paint(self, fill: str) -> str:
        """Light from the upper left."""
        light = self.tone(fill)
        name = self._define(
            f"soft{fill[1:]}",
            '<radialGradient id="{name}" cx="0.4" cy="0.3" r="0.8">'
            f'<stop offset="0.1" stop-color="{mix(light, "#ffffff", 0.5)}"/>'
            f'<stop offset="1" stop-color="{mix(light, fill, 0.55)}"/></radialGradient>',
        )
        return f"url(#{name})"


class BoldPen(Pen):
    """Very thick contours, saturated colours and halftone dots."""

    contour = 6.4
    boldness = 1.25
    border = 15.0

    def __init__(self, rng: random.Random):
        """Use black."""
        super().__init__(rng)
        self.ink = "#100c14"

    def tone(self, colour: str) -> str:
        """Push the saturation up."""
        return saturate(colour, 1.7)

    def shape(self, d: str, fill: str) -> str:
        """Dots grow towards the lower right."""
        dots = f'<path d="{d}" fill="{self._dots(fill)}"/>'
        line = f'stroke="{self.ink}" stroke-width="{self.contour}" stroke-linejoin="round"'
        return f'<path d="{d}" fill="{self.tone(fill)}"/>{dots}<path d="{d}" fill="none" {line}/>'

    def _dots(self, fill: str) -> str:
        dark = mix(self.tone(fill), "#40106a", 0.3)
        name = self._define(
            f"dots{fill[1:]}",
            '<pattern id="{name}" width="1" height="1" viewBox="0 0 100 100" preserveAspectRatio="none">'
            f'<path d="{_halftone()}" fill="{dark}"/></pattern>',
        )
        return f"url(#{name})"


@cache
def _halftone() -> str:
    """Dots in a square of side 100 that grow towards its lower right corner."""
    cells = [((i + 0.5 * (j % 2)) / 10, j / 9) for i in range(1, 11) for j in range(2, 10)]
    sizes = [(x, y, 1.25 * (x + 1.3 * y - 1.2)) for x, y in cells]
    return "".join(ellipse(100 * x, 100 * y, 4.8 * min(1, size)) for x, y, size in sizes if size > 0.3)


class RimPen(Pen):
    """Draws everything as one white, widened silhouette: the die-cut border under a `bold` figure."""

    contour = 19.0

    def __init__(self, rng: random.Random):
        """Use white for everything."""
        super().__init__(rng)
        self.ink = "#ffffff"

    def tone(self, colour: str) -> str:
        """White."""
        return "#ffffff"

    def merged(self, parts: list[tuple[str, float]], fill: str) -> str:
        """One widened layer."""
        return self._layer(parts, self.ink, self.contour / self.zoom)

    def patch(self, d: str, fill: str) -> str:
        """Nothing: seams are inside."""
        return ""

    def spot(self, d: str, fill: str, opacity: float = 1.0) -> str:
        """Nothing: spots are inside."""
        return ""

    def line(self, d: str, width: float = 4.0, colour: str | None = None) -> str:
        """Nothing: loose lines need no border."""
        return ""

    def fade(self, d: str, colour: str, strength: float = 0.75) -> str:
        """Nothing: a tint adds no silhouette."""
        return ""


PENS: dict[str, type[Pen]] = {
    "outline": Pen,
    "flat": FlatPen,
    "sketch": SketchPen,
    "pastel": PastelPen,
    "bold": BoldPen,
}
