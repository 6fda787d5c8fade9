"""Descriptions as vectors: what pictures are pulled towards, and compared with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from intra.encoders.text import TextEncoder
from intra.pretraining.cache import digest, write_whole
from intra.pretraining.drawings import Example


@dataclass(frozen=True)
class Described:
    """A text and its language; an `Example` is one, too."""

    description: str
    chinese: bool


def text_vectors(examples: Sequence[Example | Described], encoder: TextEncoder, cache: Path) -> np.ndarray:
    """Vectors of the descriptions, centred by language, for a picture cannot tell in which one it is described.

    Args:
        examples: What is described; the centre of a language is the mean over those of them that are in it.
        encoder: Stays as it is.
        cache: Folder of what can be computed again.

    Returns:
        Unit vectors, shape (N, c), float32.
    """
    texts = [example.description for example in examples]
    path = cache / f"descriptions-{digest(encoder.name, texts)}.npy"
    if path.exists():
        vectors = np.load(path)
    else:
        # targets of a training need no more digits, and it is three times as fast
        with torch.autocast("cpu", torch.bfloat16, enabled=fast_bfloat16()):
            vectors = encoder.encode(texts, "passage")
        write_whole(path, lambda file: np.save(file, vectors))
    chinese = np.array([example.chinese for example in examples])
    for language in (chinese, ~chinese):
        if language.any():
            vectors[language] -= vectors[language].mean(axis=0)
    return unit(vectors)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors scaled to length one, shape (N, c)."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def fast_bfloat16() -> bool:
    """Whether the processor has units for bfloat16; without them it is no faster."""
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))
