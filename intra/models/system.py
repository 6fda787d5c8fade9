"""The one interface of every system that is compared."""

from pathlib import Path
from typing import Protocol

import numpy as np

from intra.config import RunConfig
from intra.features import Features, Gallery, Partition, Queries
from intra.training import Fit


class System(Protocol):
    """Something that learns from one split and ranks the stickers of another.

    Made as `System(config, features)`, with `features` for widths and label texts only.
    """

    def __init__(self, config: RunConfig, features: Features): ...

    def fit(self, train: Partition, valid: Partition) -> Fit | None:
        """Learn from `train`, select on `valid`; None where nothing is learned by gradient."""

    def score(self, queries: Queries, gallery: Gallery) -> np.ndarray:
        """Scores, shape (Q, G), float; higher is better."""


class Trained(System, Protocol):
    """A system with weights, and with more to show than scores."""

    def save(self, path: Path) -> None:
        """Write the weights (safetensors)."""

    def load(self, path: Path) -> None:
        """Read weights that `save` wrote."""

    def details(self, queries: Queries, gallery: Gallery) -> dict[str, np.ndarray]:
        """Named arrays that notebooks show, for a record to keep."""
