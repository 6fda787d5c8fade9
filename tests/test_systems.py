"""What every system learns from, on toy data: the labels of training that its card names and no others."""

from dataclasses import replace

import numpy as np
import pytest
from system_rows import ROWS, Outcome, outcome, row_card, row_config, row_features

from intra.features import Features
from intra.identity import INTENTION, NOTHING, STICKER, WITH_INTENTION

pytest_plugins = ["helpers"]

PUBLISHED = [label.removesuffix(WITH_INTENTION) for label in ROWS if label.endswith(WITH_INTENTION)]


def with_other_intentions(features: Features) -> Features:
    """The same, but the training stickers mean each other's intentions, and so do the conversations they were sent in.

    Validation, by which the epoch is selected, stays.
    """
    train, names = features.train, np.random.default_rng(7).permutation(features.train.gallery.intentions)
    meant = names[train.queries.stickers].argmax(axis=1)
    assert (meant != train.queries.intentions).mean() > 0.5
    changed = replace(
        train,
        queries=replace(train.queries, intentions=meant),
        gallery=replace(train.gallery, intentions=names),
        relevant=names[:, meant].T,
    )
    return replace(features, train=changed)


def with_other_stickers(features: Features) -> Features:
    """The same, but training conversations were answered with each other's stickers, whatever they mean."""
    train = features.train
    sent = np.random.default_rng(7).permutation(train.queries.stickers)
    assert (sent != train.queries.stickers).mean() > 0.5
    return replace(features, train=replace(train, queries=replace(train.queries, stickers=sent)))


def same(one: Outcome, other: Outcome) -> bool:
    """Whether scores and weights are the same to the last bit."""
    weights = [np.array_equal(one.weights[name], other.weights[name]) for name in one.weights | other.weights]
    return np.array_equal(one.scores, other.scores) and all(weights)


def test_every_trained_system_of_others_has_both_rows():
    assert {"SRS", "MOD", "LGUR", "IRRA", "PCME", "CLIP adapters", "CLIP fine-tuned"} == set(PUBLISHED)
    for label in PUBLISHED:
        assert (row_config(label).supervision, row_card(label).labels) == ("sticker", STICKER)
        assert row_config(label + WITH_INTENTION).supervision == "intention"
        assert INTENTION in row_card(label + WITH_INTENTION).labels


@pytest.mark.parametrize("label", ROWS)
def test_a_row_learns_from_intentions_if_its_card_says_so(label, cache, tmp_path):
    config = row_config(label)
    features = row_features(config, tmp_path / "generated")
    made, other = (outcome(config, each) for each in (features, with_other_intentions(features)))
    if INTENTION in row_card(label).labels:
        assert not np.array_equal(made.scores, other.scores)
    else:
        assert same(made, other)


@pytest.mark.parametrize("label", [label for label in ROWS if row_card(label).labels != INTENTION])
def test_a_row_learns_from_the_stickers_sent_if_its_card_says_so(label, cache, tmp_path):
    config = row_config(label)
    features = row_features(config, tmp_path / "generated")
    made, other = (outcome(config, each) for each in (features, with_other_stickers(features)))
    if row_card(label).labels == NOTHING:
        assert same(made, other)
    else:
        assert not np.array_equal(made.scores, other.scores)
