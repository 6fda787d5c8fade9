"""Control systems: what chance, common intentions, a second reader and perfect knowledge of the intention reach."""

import numpy as np

from intra.config import RunConfig
from intra.data.reader import config_dataset
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


class Prior:
    """Stickers in the order of how common their intention is in training. It is told each sticker's intentions."""

    def __init__(self, config: RunConfig, features: Features):
        self.shares = np.zeros(len(features.label_features))

    def fit(self, train: Partition, valid: Partition) -> None:
        """Count the training intentions."""
        self.shares = np.bincount(train.queries.intentions, minlength=len(self.shares)) / len(train.queries.ids)

    def score(self, queries: Queries, gallery: Gallery) -> np.ndarray:
        """See `System.score`."""
        return np.tile(gallery.intentions @ self.shares, (len(queries.ids), 1))


class BlindReader:
    """Stickers of the intention that a second reader saw in the context first: what a person reaches.

    It is told each sticker's intentions; where nobody read a query all stickers count alike.
    """

    def __init__(self, config: RunConfig, features: Features):
        intentions = config_dataset(config).intentions
        self.number = {intention: number for number, intention in enumerate(intentions)}

    def fit(self, train: Partition, valid: Partition) -> None:
        """Nothing to learn."""

    def score(self, queries: Queries, gallery: Gallery) -> np.ndarray:
        """See `System.score`."""
        read = np.zeros((len(queries.ids), gallery.intentions.shape[1]))
        for row, conversation in enumerate(queries.conversations):
            if conversation.second_reading in self.number:
                read[row, self.number[conversation.second_reading]] = 1
        return read @ gallery.intentions.T


class Oracle:
    """Stickers of the query's true intention first: the ceiling of whatever only predicts intentions."""

    def __init__(self, config: RunConfig, features: Features):
        pass

    def fit(self, train: Partition, valid: Partition) -> None:
        """Nothing to learn."""

    def score(self, queries: Queries, gallery: Gallery) -> np.ndarray:
        """See `System.score`."""
        return gallery.intentions[:, queries.intentions].T.astype(float)
