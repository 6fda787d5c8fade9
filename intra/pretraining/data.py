"""Drawings and emoji art as arrays to learn from."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from intra.encoders.text import TextEncoder
from intra.generation.tagger import VOCABULARIES
from intra.pretraining.art import Emoji, name_of, rendered
from intra.pretraining.drawings import FIELDS, GUIDED, Example, pictures
from intra.pretraining.texts import Described, text_vectors

UNKNOWN = -100
"""Label of what nobody knows; torch's cross-entropy leaves it out."""


@dataclass(frozen=True)
class Data:
    """N pictures as arrays."""

    pixels: np.ndarray
    """Shape (N, size, size, 3), uint8."""
    boxes: np.ndarray
    """Left, top, right and bottom of the parts of `GUIDED`, the picture being [-1, 1]; (N, parts, 4), float32."""
    labels: dict[str, np.ndarray]
    """Place of each attribute's key in its vocabulary, shape (N,), int64; `UNKNOWN` for emoji art."""
    texts: np.ndarray
    """Unit vectors of the descriptions, shape (N, c), float32."""
    groups: np.ndarray
    """The same number for the same description, shape (N,), int64."""


def prepare(examples: Sequence[Example], size: int, encoder: TextEncoder, cache: Path, processes: int = 2) -> Data:
    """Everything the training reads of some examples; arguments as in `pictures` and `text_vectors`."""
    labels = {}
    for name, keys in VOCABULARIES.items():
        places = {key: place for place, key in enumerate(keys)}
        labels[name] = np.array([places[getattr(e.specification, FIELDS[name])] for e in examples])
    pixels, boxes = pictures(examples, size, cache, processes)
    return Data(pixels, boxes, labels, text_vectors(examples, encoder, cache), _groups(examples))


def prepare_art(art: Sequence[Emoji], size: int, encoder: TextEncoder, cache: Path, seed: int) -> Data:
    """Emoji art as data without labels and boxes, each picture with its Chinese or its English name."""
    rng = random.Random(f"emoji {seed}")
    languages = [rng.random() < 0.5 for _ in art]
    described = [Described(name_of(emoji, chinese), chinese) for emoji, chinese in zip(art, languages, strict=True)]
    return Data(
        pixels=rendered(art, size),
        boxes=np.zeros((len(art), len(GUIDED), 4), np.float32),
        labels={name: np.full(len(art), UNKNOWN) for name in VOCABULARIES},
        texts=text_vectors(described, encoder, cache),
        groups=_groups(described),
    )


def _groups(described: Sequence[Example | Described]) -> np.ndarray:
    return np.unique([each.description for each in described], return_inverse=True)[1]


def joined(one: Data, other: Data) -> Data:
    """Two data sets as one, with groups kept apart."""
    return Data(
        pixels=np.concatenate([one.pixels, other.pixels]),
        boxes=np.concatenate([one.boxes, other.boxes]),
        labels={name: np.concatenate([one.labels[name], other.labels[name]]) for name in VOCABULARIES},
        texts=np.concatenate([one.texts, other.texts]),
        groups=np.concatenate([one.groups, other.groups + one.groups.max() + 1]),
    )
