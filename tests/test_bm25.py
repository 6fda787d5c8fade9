"""BM25 against its formula."""

import math
from dataclasses import replace

import numpy as np
import pytest

from intra.data.schema import Conversation, Utterance
from intra.generation.attributes import StickerAttributes
from intra.models.bm25 import BM25, words

pytest_plugins = ["helpers"]


def by_formula(query: list[str], texts: list[list[str]], k=1.5, b=0.75) -> list[float]:
    """Sum over words of idf tf / (tf + k (1 - b + b length / mean length)), idf = ln(1 + (N - n + .5)/(n + .5))."""
    mean = sum(map(len, texts)) / len(texts)
    scores = []
    for text in texts:
        score = 0.0
        for word in query:
            n, tf = sum(word in other for other in texts), text.count(word)
            idf = math.log(1 + (len(texts) - n + 0.5) / (n + 0.5))
            score += idf * tf / (tf + k * (1 - b + b * len(text) / mean))
        scores.append(score)
    return scores


def test_scores_follow_the_formula(toy, toy_config):
    told = [
        StickerAttributes(gesture=("挥手",)),
        StickerAttributes(posture=("站着",), facial_expression=("大笑", "开心")),
    ]
    told += [StickerAttributes()] * (len(toy.test.gallery.ids) - 2)
    said = ("今天很开心", "我挥手")
    conversations = tuple(
        Conversation(str(n), "test", (Utterance("a", text),), "b", "reply", "s", "joy") for n, text in enumerate(said)
    )
    queries = replace(toy.test.queries, ids=("0", "1"), conversations=conversations)
    gallery = replace(toy.test.gallery, attributes=tuple(told))
    texts = [words(" ".join(each.description(name) for name in vars(each) if name != "text")) for each in told]
    scores = BM25(toy_config, toy).score(queries, gallery)
    known = {word for text in texts for word in text}
    for row, text in enumerate(said):
        expected = by_formula([word for word in words(text) if word in known], texts)
        assert scores[row] == pytest.approx(np.array(expected), abs=1e-5)
    assert scores[1].argmax() == 0


def test_words_leave_out_marks():
    assert words("我,OK！ 好") == ["我", "ok", "好"]
