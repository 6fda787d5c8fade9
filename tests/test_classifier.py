"""Intention classifiers: against probabilities taken apart, and told labels against guessed ones."""

from dataclasses import replace

import numpy as np
import pytest

from intra.models.classifier import IntentionClassifier, ToldClassifier
from intra.training import partition_map

pytest_plugins = ["helpers"]


def fitted(kind, config, toy):
    system = kind(config, toy)
    system.fit(toy.train, toy.valid)
    return system


def test_both_learn_the_planted_rule(toy, toy_config):
    assert partition_map(fitted(ToldClassifier, toy_config, toy).score, toy.test) > 0.9
    assert partition_map(fitted(IntentionClassifier, toy_config, toy).score, toy.test) > 0.4


def test_scores_are_sums_over_intentions(toy, toy_config):
    system = fitted(ToldClassifier, toy_config, toy)
    scores = system.score(toy.test.queries, toy.test.gallery)
    shares = system.contexts.predict_proba(toy.test.queries.text_features)
    for query in range(3):
        for sticker, own in enumerate(toy.test.gallery.intentions):
            total = sum(shares[query, list(system.contexts.classes_).index(c)] for c in np.flatnonzero(own))
            assert scores[query, sticker] == pytest.approx(total)


def test_an_intention_without_training_examples_has_no_share(toy, toy_config):
    queries = toy.train.queries
    keep = queries.intentions != 3
    train = replace(
        toy.train,
        queries=replace(queries, text_features=queries.text_features[keep], intentions=queries.intentions[keep]),
    )
    system = ToldClassifier(toy_config, toy)
    system.fit(train, toy.valid)
    scores = system.score(toy.test.queries, toy.test.gallery)
    assert not scores[:, toy.test.gallery.intentions[:, 3]].any()


def test_only_the_told_one_reads_the_labels_of_the_gallery(toy, toy_config):
    gallery = toy.test.gallery
    other = replace(gallery, intentions=gallery.intentions[:, ::-1].copy())
    for kind, same in ((IntentionClassifier, True), (ToldClassifier, False)):
        system = fitted(kind, toy_config, toy)
        assert np.array_equal(system.score(toy.test.queries, gallery), system.score(toy.test.queries, other)) == same
