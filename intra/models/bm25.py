"""BM25 between the words of a context and those that a sticker is described with."""

import logging

import bm25s
import jieba
import numpy as np

from intra.config import RunConfig
from intra.data.context import context_window
from intra.data.schema import ATTRIBUTES
from intra.features import Features, Gallery, Partition, Queries

jieba.setLogLevel(logging.WARNING)  # it reports on stderr where its dictionary is cached


class BM25:
    """Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009; in Lucene's form, which `bm25s` computes."""

    def __init__(self, config: RunConfig, features: Features):
        self.window = config.window

    def fit(self, train: Partition, valid: Partition) -> None:
        """Nothing to learn."""

    def score(self, queries: Queries, gallery: Gallery) -> np.ndarray:
        """See `System.score`; shape (Q, G), float32. Stickers that share no word with a context have 0."""
        texts = [[each.description(name) for name in ATTRIBUTES] for each in gallery.attributes]
        described = [words(" ".join(told)) for told in texts]
        known = {word for own in described for word in own}
        scores = np.zeros((len(queries.ids), len(gallery.ids)), np.float32)
        if not known:
            return scores
        index = bm25s.BM25()
        index.index(described, show_progress=False)
        for row, conversation in enumerate(queries.conversations):
            said = " ".join(utterance.text for utterance in context_window(conversation, self.window))
            if asked := [word for word in words(said) if word in known]:
                scores[row] = index.get_scores(asked)
        return scores


def words(text: str) -> list[str]:
    """Chinese words of a text, without what has neither letter nor digit."""
    return [word.lower() for word in jieba.lcut(text) if any(map(str.isalnum, word))]
