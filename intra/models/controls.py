"""Control systems: what chance, the commonest intention and perfect knowledge of the intention reach."""

import numpy as np

from intra.config import RunConfig
from intra.features import Features, Gallery, Partition, Queries


class Random:
    """Scores drawn uniformly: its expectation is `metrics.expected_by_chance`."""

    def __init__(self, config: RunConfig, features: Features):
        self.seed = config.seed

    def fit(self, train: Partition, valid: Partition) -> None:
        """Nothing to learn."""

    def score(self, queries: Queries, gallery: Gallery) -> np.ndarray:
        """See `System.score`."""
        return np.random.default_rng(self.seed).random((len(queries.ids), len(gallery.ids)))


class Majority:
    """Stickers of the commonest training intention first. It is told each sticker's intention."""

    def __init__(self, config: RunConfig, features: Features):
        self.intention = -1

    def fit(self, train: Partition, valid: Partition) -> None:
        """Count the training intentions; the first of equally common ones counts."""
        self.intention = int(np.bincount(train.queries.intentions).argmax())

    def score(self, queries: Queries, gallery: Gallery) -> np.ndarray:
        """See `System.score`."""
        row = gallery.intentions[:, self.intention].astype(float)
        return np.tile(row, (len(queries.ids), 1))


class Oracle:
    """Stickers of the query's true intention first: the ceiling of whatever only predicts intentions."""

    def __init__(self, config: RunConfig, features: Features):
        pass

    def fit(self, train: Partition, valid: Partition) -> None:
        """Nothing to learn."""

    def score(self, queries: Queries, gallery: Gallery) -> np.ndarray:
        """See `System.score`."""
        return gallery.intentions[:, queries.intentions].T.astype(float)
