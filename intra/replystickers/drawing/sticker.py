"""Stickers as pictures: a specification becomes an SVG, pixels and a small WebP file."""

import io
import random
from dataclasses import dataclass
from pathlib import Path

import resvg_py
from PIL import Image

from intra.replystickers.drawing.captions import Caption, caption
from intra.replystickers.drawing.characters import CHARACTERS, Character
from intra.replystickers.drawing.figure import Figure, figure
from intra.replystickers.drawing.styles import PENS, Pen, RimPen
from intra.replystickers.drawing.svg import Box, Frame
from intra.replystickers.specification import StickerSpecification

CANVAS = 240.0
_LARGEST = 1.2
"""Greatest magnification of a small figure."""


@dataclass(frozen=True)
class Drawing:
    """A drawn sticker."""

    svg: str
    """A picture with a 240 x 240 view box."""
    regions: dict[str, Box]
    """Boxes (left, top, right, bottom) inside the view box: `face`, `body`, `hand`, and `caption` and `prop`
    where there is one."""


def draw(specification: StickerSpecification, character: Character | None = None) -> Drawing:
    """Draw a sticker; the same specification always gives the same picture.

    Args:
        specification: What the sticker shows.
        character: Who is drawn, if it is not `CHARACTERS[specification.character]`.

    Raises:
        ValueError: If the character is unknown or the font lacks a character of the caption.
    """
    who = character or _known(specification.character)
    rng = random.Random(f"{who.key} {specification.variation}")
    mirror, tilt = rng.random() < 0.5, rng.uniform(-3, 3)
    words = specification.caption
    text = caption(words, random.Random(specification.variation)) if words else None
    pen = PENS[specification.style](rng)
    drawn = figure(pen, who, specification, mirror)
    turned = Frame.place(120, 150, tilt, mirror=mirror).then(Frame(e=-120, f=-150))
    fitted = _fit(turned.box(drawn.extent), _area(text, pen)).then(turned)
    rim = figure(RimPen(rng), who, specification, mirror).svg if specification.style == "bold" else ""
    svg = _document(specification.background, pen, fitted.group(rim + drawn.svg), text)
    return Drawing(svg, _regions(fitted, drawn, text))


def rasterise(drawing: Drawing, size: int = 240) -> Image.Image:
    """Turn a drawing into a square RGBA image of `size` pixels."""
    png = resvg_py.svg_to_bytes(svg_string=drawing.svg, width=size, height=size, skip_system_fonts=True)
    return Image.open(io.BytesIO(bytes(png))).convert("RGBA")


def save_webp(image: Image.Image, path: str | Path) -> None:
    """Save an image as a small WebP file with an exact alpha channel."""
    image.save(path, "WEBP", quality=70, method=5, alpha_quality=100, exact=True)


def _known(key: str) -> Character:
    if key not in CHARACTERS:
        raise ValueError(f"character: {key!r} is not one of {', '.join(CHARACTERS)}")
    return CHARACTERS[key]


def _area(text: Caption | None, pen: Pen) -> Box:
    """Part of the canvas that the figure may fill."""
    near, far = pen.border, CANVAS - pen.border
    if text is None:
        return near, near, far, far
    if text.at_top:
        return near, text.box[3] + pen.border - 8, far, far
    return near, near, far, text.box[1] - pen.border + 8


def _fit(extent: Box, area: Box) -> Frame:
    """Scale and move a figure so that it fills an area and keeps its shape."""
    left, top, right, bottom = extent
    width, height = area[2] - area[0], area[3] - area[1]
    scale = min(width / (right - left), height / (bottom - top), _LARGEST)
    x = (area[0] + area[2]) / 2 - scale * (left + right) / 2
    y = (area[1] + area[3]) / 2 - scale * (top + bottom) / 2
    return Frame(a=scale, d=scale, e=x, f=y)


def _document(background: str, pen: Pen, content: str, text: Caption | None) -> str:
    fill = "" if background == "transparent" else f'<rect width="240" height="240" fill="{background}"/>'
    definitions = "".join(pen.definitions.values())
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="240" height="240" viewBox="0 0 240 240">'
        f"<defs>{definitions}</defs>{fill}{content}{text.svg if text else ''}</svg>"
    )


def _regions(frame: Frame, drawn: Figure, text: Caption | None) -> dict[str, Box]:
    regions = {name: _inside(frame.box(box)) for name, box in drawn.boxes.items()}
    if text:
        regions["caption"] = _inside(text.box)
    return regions


def _inside(box: Box) -> Box:
    left, top, right, bottom = (min(CANVAS, max(0.0, round(value, 2))) for value in box)
    return left, top, right, bottom
