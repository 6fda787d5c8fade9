"""Captions: text turned into glyph outlines, so that a drawing needs no installed font."""

import random
from dataclasses import dataclass
from functools import cache
from importlib import resources

from fontTools.pens.svgPathPen import SVGPathPen
from fontTools.pens.transformPen import TransformPen
from fontTools.ttLib import TTFont

from intra.replystickers.drawing.svg import Box, Frame, number

_FONT_PACKAGE, _FONT_FILE = "pylopdf_fonts_zh_cn", "NotoSansSC-Regular.otf"
_BREAKS = "，。！？、；：～…,.!?;:~ "

_CANVAS = 240.0
_WIDTH = 222.0
"""Widest line."""
_MARGIN = 7.0

COLOURS: list[tuple[str, str]] = [
    ("#1f1a20", "#ffffff"),
    ("#d81e3f", "#ffffff"),
    ("#1c4fc4", "#ffffff"),
    ("#7a2bb5", "#ffffff"),
    ("#a83c00", "#ffffff"),
    ("#0b6b3a", "#ffffff"),
    ("#1f1a20", "#ffe14a"),
    ("#ffffff", "#c2183c"),
    ("#ffffff", "#2a2140"),
    ("#fff3a0", "#5a1f7a"),
]
"""Text and halo."""


@dataclass(frozen=True)
class Caption:
    """A drawn caption."""

    svg: str
    box: Box
    at_top: bool


@dataclass(frozen=True)
class _Glyph:
    path: str
    advance: float
    """In units of the font size."""


def caption(text: str, rng: random.Random) -> Caption:
    """Draw text at the top or the bottom of the canvas.

    Args:
        text: One to about sixteen characters.
        rng: Chooses place, colours and the tilt of every glyph.

    Returns:
        The drawing and the box it fills.

    Raises:
        ValueError: Naming a character that the font lacks.
    """
    lines = break_lines(text)
    widths = [sum(_glyph(character).advance for character in line) for line in lines]
    size = min(40.0 if len(lines) == 1 else 33.0, *(_WIDTH / (width + 0.2) for width in widths))
    pitch = size * 1.1
    height = pitch * len(lines)
    at_top = rng.random() < 0.4
    top = _MARGIN if at_top else _CANVAS - _MARGIN - height
    ink, halo = rng.choice(COLOURS)
    placed = []
    for index, (line, width) in enumerate(zip(lines, widths, strict=True)):
        placed += _place(line, (_CANVAS - width * size) / 2, top + pitch * (index + 0.5), size, rng)
    half = min(_CANVAS / 2 - 1, max(widths) * size / 2 + 5)
    box = _CANVAS / 2 - half, top - 4, _CANVAS / 2 + half, top + height + 4
    return Caption(_layers(placed, ink, halo), box, at_top)


def break_lines(text: str) -> list[str]:
    """Split text in two lines over 6 and in more over 20 characters, after punctuation where possible."""
    if len(text) <= 6:
        return [text]
    if len(text) > 20:
        head = text[: len(text) // 3]
        return [head, *break_lines(text[len(head) :])]
    middle = len(text) / 2
    near = [index for index in range(2, len(text) - 1) if abs(index - middle) <= len(text) / 4]
    cuts = [index for index in near if text[index - 1] in _BREAKS and text[index] not in _BREAKS]
    cut = min(cuts, key=lambda index: abs(index - middle)) if cuts else _plain_cut(text)
    return [text[:cut].strip(), text[cut:].strip()]


def _plain_cut(text: str) -> int:
    cut = (len(text) + 1) // 2
    while cut < len(text) and text[cut] in _BREAKS:
        cut += 1
    return cut if cut < len(text) else (len(text) + 1) // 2


def _place(line: str, left: float, middle: float, size: float, rng: random.Random) -> list[tuple[Frame, str]]:
    placed = []
    for character in line:
        glyph = _glyph(character)
        width = glyph.advance * size
        frame = Frame.place(left + width / 2, middle + rng.uniform(-1.2, 1.2), rng.uniform(-5, 5), size / 100)
        if glyph.path:
            placed.append((frame.then(Frame(e=-glyph.advance * 50, f=38)), glyph.path))
        left += width
    return placed


def _layers(placed: list[tuple[Frame, str]], ink: str, halo: str) -> str:
    glyphs = "".join(frame.group(f'<path d="{d}"/>') for frame, d in placed)
    attributes = 'stroke-linejoin="bevel"'
    back = f'<g fill="{halo}" stroke="{halo}" stroke-width="23" {attributes}>{glyphs}</g>'
    return back + f'<g fill="{ink}" stroke="{ink}" stroke-width="3.6" {attributes}>{glyphs}</g>'


@cache
def _font() -> TTFont:
    file = resources.files(_FONT_PACKAGE) / _FONT_FILE
    return TTFont(str(file), lazy=True)


@cache
def _glyph(character: str) -> _Glyph:
    """Outline of one character, 100 units to the em, y downwards from the baseline."""
    font = _font()
    name = font.getBestCmap().get(ord(character))
    if name is None:
        raise ValueError(f"caption: the font has no glyph for {character!r} (U+{ord(character):04X})")
    glyphs = font.getGlyphSet()
    scale = 100 / font["head"].unitsPerEm
    pen = SVGPathPen(glyphs, ntos=number)
    glyphs[name].draw(TransformPen(pen, (scale, 0, 0, -scale, 0, 0)))
    return _Glyph(pen.getCommands(), glyphs[name].width / font["head"].unitsPerEm)
