"""Logistic regressions that guess intentions: of contexts and, unless they are told, of stickers."""

import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression

from intra.config import RunConfig
from intra.features import Features, Gallery, Partition, Queries
from intra.vectors import Standardiser

STRENGTHS = (0.001, 0.01, 0.1, 1.0)
"""Inverse regularisation; the best on validation is taken."""


class IntentionClassifier:
    r"""Scores \sum_c p(c | context) p(c | sticker), each from a logistic regression on frozen features."""

    def __init__(self, config: RunConfig, features: Features):
        self.count = len(features.label_features)

    def fit(self, train: Partition, valid: Partition) -> None:
        """Fit both classifiers, and take the regularisations that are most accurate on validation."""
        contexts = ((part.queries.text_features, part.queries.intentions) for part in (train, valid))
        self.contexts = _fitted(*contexts)
        self.scale = Standardiser(_seen(train.gallery))
        self.stickers = _fitted(*map(self._labelled, (train.gallery, valid.gallery)))

    def _labelled(self, gallery: Gallery) -> tuple[np.ndarray, np.ndarray]:
        known = gallery.intentions.any(axis=1)
        return self.scale(_seen(gallery))[known], gallery.intentions[known].argmax(axis=1)

    def score(self, queries: Queries, gallery: Gallery) -> np.ndarray:
        """See `System.score`."""
        return self._shares(self.contexts, queries.text_features) @ self.sticker_shares(gallery).T

    def sticker_shares(self, gallery: Gallery) -> np.ndarray:
        """p(c | sticker), shape (G, C)."""
        return self._shares(self.stickers, self.scale(_seen(gallery)))

    def _shares(self, model: LogisticRegression, vectors: np.ndarray) -> np.ndarray:
        """Probability of each intention, 0 for those that training does not have, shape (N, C)."""
        shares = np.zeros((len(vectors), self.count))
        shares[:, model.classes_] = model.predict_proba(vectors)
        return shares


class ToldClassifier(IntentionClassifier):
    """The same, but told each sticker's true intentions: what guessing intentions well would be worth."""

    def sticker_shares(self, gallery: Gallery) -> np.ndarray:
        """The true intentions, shape (G, C)."""
        return gallery.intentions.astype(float)


def _seen(gallery: Gallery) -> np.ndarray:
    """What is known of each sticker: its class token and its descriptions, shape (G, w + A e)."""
    told = gallery.description_features.reshape(len(gallery.ids), -1)
    return np.concatenate([gallery.class_features, told], axis=1)


def _fitted(train: tuple[np.ndarray, np.ndarray], valid: tuple[np.ndarray, np.ndarray]) -> LogisticRegression:
    """The classifier whose regularisation is the best on validation; the strongest of equally good ones."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes")  # few conversations, as the smoke profile
        models = [LogisticRegression(C=strength, max_iter=2000).fit(*train) for strength in STRENGTHS]
    return max(models, key=lambda model: model.score(*valid))
