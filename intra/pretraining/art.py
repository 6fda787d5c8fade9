r"""Openly licensed emoji art, with names in Chinese and English, from packages of the npm registry.

    npm install --prefix art @iconify-json/noto @iconify-json/fluent-emoji-flat \\
        @iconify-json/openmoji @iconify-json/twemoji emojibase-data

The art is read where it was installed and never copied into this project. Two sets help to train the vision
encoder; two others stay unseen and tell how far it carries to pictures of another hand.
"""

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

from intra.data.pictures import on_white
from intra.errors import IntraError
from intra.pretraining.drawings import as_bytes

SEEN = {"noto": "Apache-2.0", "fluent-emoji-flat": "MIT"}
"""Sets that are learnt from, with their licences."""
UNSEEN = {"openmoji": "CC-BY-SA-4.0", "twemoji": "CC-BY-4.0"}
"""Sets that are measured on alone, with their licences."""
NAMES = "emojibase-data"
"""Package with the names (MIT)."""
_CANVAS = 240
_FLAGS = 9
"""Group of the flags, which one set draws and another leaves out."""
_VARIATION = "fe0f"
"""Code point that asks for a coloured glyph; some packages write it, some do not."""


@dataclass(frozen=True)
class Emoji:
    """One picture."""

    collection: str
    name: str
    svg: str
    chinese: str
    english: str


def name_of(emoji: Emoji, chinese: bool) -> str:
    """What an emoji shows, as a description."""
    return f"表情符号：{emoji.chinese}" if chinese else f"an emoji: {emoji.english}"


def read_art(folder: Path, collections: Iterable[str]) -> list[Emoji]:
    """The pictures of some sets whose emoji has a name in both languages, without skin tones.

    Args:
        folder: Where npm installed the packages (it holds `node_modules`).
        collections: Names of the sets, as in `SEEN`.

    Raises:
        IntraError: If a package is missing, naming the command that installs it.
    """
    names = {language: _labels(folder, language) for language in ("zh", "en")}
    art = []
    for collection in collections:
        package = f"@iconify-json/{collection}"
        icons, characters = _read(folder, package, "icons.json"), _read(folder, package, "chars.json")
        for code, name in sorted(characters.items()):
            key = _key(code)
            if name in icons["icons"] and all(key in labels for labels in names.values()):
                svg = _svg(icons, icons["icons"][name])
                art.append(Emoji(collection, name, svg, names["zh"][key], names["en"][key]))
    return art


def rendered(art: Sequence[Emoji], size: int) -> np.ndarray:
    """Pictures on white as the vision encoder sees them, shape (N, size, size, 3), uint8."""
    pixels = np.empty((len(art), size, size, 3), np.uint8)
    for place, emoji in enumerate(art):
        png = resvg_py.svg_to_bytes(svg_string=emoji.svg, width=_CANVAS, height=_CANVAS)
        with Image.open(io.BytesIO(bytes(png))) as image:
            pixels[place] = as_bytes(on_white(image), size)
    return pixels


def _labels(folder: Path, language: str) -> dict[str, str]:
    entries = _read(folder, NAMES, f"{language}/data.json")
    return {_key(e["hexcode"]): e["label"] for e in entries if e.get("group", _FLAGS) != _FLAGS}


def _key(code: str) -> str:
    """Code points of an emoji in one form."""
    return "-".join(part for part in code.lower().split("-") if part != _VARIATION)


def _svg(icons: dict, icon: dict) -> str:
    width, height = (icon.get(side, icons.get(side, 16)) for side in ("width", "height"))
    left, top = icon.get("left", 0), icon.get("top", 0)
    box = f"{left} {top} {width} {height}"
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {spaces} viewBox="{box}">{icon["body"]}</svg>'


def _read(folder: Path, package: str, file: str):
    path = folder / "node_modules" / package / file
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise IntraError(f"{path} is missing; install it with: npm install --prefix {folder} {package}") from None
