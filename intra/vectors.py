"""Arrays of vectors: computed once and kept by content, standardised."""

import hashlib
import os
from collections.abc import Callable

import numpy as np

from intra.paths import cache_directory
from intra.records import code_digest

ENCODING_CODE = ("data/pictures.py", "encoders/*.py")
"""The modules that features depend on."""

STATE_TYPE = np.float16
"""Of cached token vectors, which are many."""


class Standardiser:
    """Subtract a mean and divide by a deviation, dimension by dimension."""

    def __init__(self, sample: np.ndarray):
        """Take both from a sample, shape (N, e); without any sample nothing is changed."""
        self.mean = sample.mean(axis=0) if len(sample) else 0.0
        self.deviation = np.maximum(sample.std(axis=0), 1e-6) if len(sample) else 1.0

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Standardise vectors of shape (..., e)."""
        return ((vectors - self.mean) / self.deviation).astype(np.float32, copy=False)


def cached(key: list[str], compute: Callable[[], np.ndarray]) -> np.ndarray:
    """An array from the cache folder, computed and kept if it is not there.

    Args:
        key: Everything that decides the array, besides the code of the encoders.
        compute: Makes it.
    """
    digest = hashlib.sha256("\0".join([code_digest(ENCODING_CODE), *key]).encode()).hexdigest()[:32]
    path = cache_directory() / "features" / f"{digest}.npy"
    try:
        return np.load(path)
    except (OSError, ValueError, EOFError):  # not there, or not whole
        array = compute()
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        with unfinished.open("wb") as file:
            np.save(file, array)
        os.replace(unfinished, path)
        return array
