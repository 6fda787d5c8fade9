"""Stickers to learn from: drawn at random, described in words, and as pixels."""

import hashlib
import io
import multiprocessing
import random
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from intra.data.pictures import on_white
from intra.data.schema import ATTRIBUTES
from intra.encoders.vision import as_pixels
from intra.pretraining.cache import digest, write_whole
from intra.replystickers import drawing, vocabulary
from intra.replystickers.drawing.characters import Character, held_out_characters
from intra.replystickers.drawing.sticker import CANVAS, draw, rasterise
from intra.replystickers.specification import VOCABULARIES, StickerSpecification

CAPTIONS = Path(vocabulary.__file__).parent / "design" / "pretraining_captions.txt"
"""Captions that no sticker of the benchmark has, one a line."""
FIELDS = {"gesture": "gesture", "posture": "posture", "facial_expression": "expression"}
"""Each attribute of the tagger to the field of the specification that holds its key."""
GUIDED = {"gesture": "hand", "facial_expression": "face"}
"""Each attribute that is looked for in one part of the drawing, with the name of that part."""
TRAINING_CHARACTERS, VALIDATION_CHARACTERS = 1, 2
"""Seeds of the two casts; neither has a benchmark character."""
CAPTIONED, WITHOUT_PROP, TRANSPARENT = 0.55, 0.4, 0.5


@dataclass(frozen=True)
class Example:
    """One drawing to learn from."""

    character: Character
    specification: StickerSpecification
    description: str
    chinese: bool


def read_captions() -> list[str]:
    """The captions that examples choose from."""
    return CAPTIONS.read_text(encoding="utf-8").split("\n")[:-1]


def draw_examples(count: int, seed: int, captions: Sequence[str]) -> list[Example]:
    """Draw specifications at random, each with a character of its own.

    Args:
        count: How many.
        seed: Chooses the cast and the looks.
        captions: To choose captions from.
    """
    rng = random.Random(f"pretraining {seed}")
    return [_example(character, captions, rng) for character in held_out_characters(seed, count)]


def _example(character: Character, captions: Sequence[str], rng: random.Random) -> Example:
    colour = f"#{rng.randrange(160, 256):02x}{rng.randrange(160, 256):02x}{rng.randrange(160, 256):02x}"
    specification = StickerSpecification(
        character=character.key,
        style=rng.choice(list(vocabulary.STYLES)),
        expression=rng.choice(list(vocabulary.EXPRESSIONS)),
        gesture=rng.choice(list(vocabulary.GESTURES)),
        posture=rng.choice(list(vocabulary.POSTURES)),
        prop="none" if rng.random() < WITHOUT_PROP else rng.choice(list(vocabulary.PROPS)),
        caption=rng.choice(captions) if rng.random() < CAPTIONED else "",
        background="transparent" if rng.random() < TRANSPARENT else colour,
        variation=rng.randrange(10_000),
    )
    chinese = rng.random() < 0.5
    return Example(character, specification, describe(specification, chinese), chinese)


def describe(specification: StickerSpecification, chinese: bool) -> str:
    """Say what a drawing shows, in Chinese or English; the made-up character has no name worth saying."""
    word = {field: known[getattr(specification, field)][0 if chinese else 1] for field, known in VOCABULARIES.items()}
    if chinese:
        text = f"{word['style']}的表情包，表情{word['expression']}，手势{word['gesture']}，姿势{word['posture']}"
        text += f"，画着{word['prop']}" if word["prop"] else ""
        return text + (f"，写着「{specification.caption}」" if specification.caption else "")
    text = f"a sticker, {word['style']}: {word['expression']}, {word['gesture']}, {word['posture']}"
    text += f", with {word['prop']}" if word["prop"] else ""
    return text + (f', saying "{specification.caption}"' if specification.caption else "")


def describe_key(attribute: str, key: str, chinese: bool) -> str:
    """What `describe` would say if one attribute were all that is known."""
    in_chinese, in_english = VOCABULARIES[FIELDS[attribute]][key]
    return f"表情包，{ATTRIBUTES[attribute]}{in_chinese}" if chinese else f"a sticker: {in_english}"


def picture(example: Example, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw an example as the vision encoder sees it; every third one has been through a lossy file.

    Returns:
        Pixels, shape (size, size, 3), uint8, and the boxes (left, top, right, bottom) of the parts of `GUIDED`,
        the picture being [-1, 1], shape (parts, 4), float32.
    """
    drawing = draw(example.specification, example.character)
    image = on_white(rasterise(drawing))
    rng = random.Random(f"{example.specification.variation} {example.description}")
    if rng.random() < 1 / 3:
        file = io.BytesIO()
        image.save(file, "WEBP", quality=rng.randrange(40, 95), method=0)
        image = Image.open(file).convert("RGB")
    boxes = np.array([drawing.regions[part] for part in GUIDED.values()], np.float32) * 2 / CANVAS - 1
    return as_bytes(image, size), boxes


def as_bytes(image: Image.Image, size: int) -> np.ndarray:
    """What the vision encoder sees of an RGB picture, kept small: shape (size, size, 3), uint8."""
    pixels = as_pixels([image], size)[0].transpose(1, 2, 0)
    return np.rint((pixels + 1) * 127.5).astype(np.uint8)


def pictures(examples: Sequence[Example], size: int, cache: Path, processes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Draw all examples, or load them from the cache.

    Args:
        examples: What to draw.
        size: Side in pixels.
        cache: Folder of what can be computed again.
        processes: How many draw at the same time.

    Returns:
        Pixels, shape (N, size, size, 3), uint8, and boxes as from `picture`, shape (N, parts, 4), float32.
    """
    key = digest(drawing_digest(), examples, size)
    paths = cache / f"drawings-{key}.npy", cache / f"boxes-{key}.npy"
    if all(path.exists() for path in paths):
        return np.load(paths[0]), np.load(paths[1])
    jobs = [(example, size) for example in examples]
    # a forked child of a process whose torch has threads can hang
    with multiprocessing.get_context("spawn").Pool(processes) if processes > 1 else nullcontext() as pool:
        drawn = pool.imap(_draw_job, jobs, chunksize=32) if pool else map(_draw_job, jobs)
        pixels, boxes = zip(*tqdm(drawn, total=len(jobs), desc="drawing", delay=2, disable=None), strict=True)
    arrays = np.stack(pixels), np.stack(boxes)
    for path, array in zip(paths, arrays, strict=True):
        write_whole(path, lambda file, array=array: np.save(file, array))
    return arrays


def _draw_job(job: tuple[Example, int]) -> tuple[np.ndarray, np.ndarray]:
    return picture(*job)


def drawing_digest() -> str:
    """Hash the code that draws: 8 hexadecimal digits."""
    files = [Path(vocabulary.__file__), *sorted(Path(drawing.__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:8]
