"""The control systems: chance, the commonest intention, and perfect knowledge of the intention."""

from dataclasses import replace

import numpy as np
import pytest

from intra.config import RunConfig
from intra.data.reader import config_dataset
from intra.features import build_features
from intra.metrics import METRICS, expected_by_chance, rank_candidates
from intra.models.controls import BlindReader, Majority, Oracle, Prior, Random
from intra.training import partition_map

pytest_plugins = ["helpers"]


def with_intentions(partition, queries=None, gallery=None):
    """A partition with other intentions of its queries, or of its stickers (a set each)."""
    if queries is not None:
        partition = replace(partition, queries=replace(partition.queries, intentions=np.array(queries)))
    if gallery is not None:
        count = partition.gallery.intentions.shape[1]
        table = np.array([[number in own for number in range(count)] for own in gallery])
        partition = replace(partition, gallery=replace(partition.gallery, intentions=table))
    return partition


def test_oracle_is_never_wrong(toy, toy_config):
    assert partition_map(Oracle(toy_config, toy).score, toy.test) == 1.0


def test_oracle_misses_a_sticker_that_was_sent_against_its_label(toy_config, toy_features):
    # Stickers 0 to 3 are labelled 0 to 3. The only query means intention 1 but was answered with sticker 3,
    # so stickers 1 and 3 are relevant. The oracle ranks 1, then the rest by id (0, 2, 3): precision 1 at
    # rank 1 and 2/4 at rank 4, AP = (1 + 1/2) / 2.
    toy = toy_features(stickers=4, queries=1)
    test = with_intentions(toy.test, queries=[1])
    test = replace(test, relevant=np.array([[False, True, False, True]]))
    assert partition_map(Oracle(toy_config, toy).score, test) == pytest.approx(0.75)


def test_majority_by_hand(toy_config, toy_features):
    # Training intentions 2 0 2 1: the commonest is 2. Stickers are labelled 0 2 2 1, so 1 and 2 come first and
    # then 0 and 3 by id. A query that means 2 has its two at ranks 1 and 2 (AP 1), one that means 1 has its
    # only one at rank 4 (AP 1/4).
    toy = toy_features(stickers=4, queries=4)
    system = Majority(toy_config, toy)
    system.fit(with_intentions(toy.train, queries=[2, 0, 2, 1]), toy.valid)
    test = with_intentions(toy.test, queries=[2, 1, 2, 1], gallery=[{0}, {2}, {2}, {1}])
    scores = system.score(test.queries, test.gallery)
    assert scores.tolist() == [[0, 1, 1, 0]] * 4
    assert rank_candidates(scores, test.gallery.ids)[0].tolist() == [1, 2, 0, 3]
    relevant = np.array([[False, True, True, False], [False, False, False, True]] * 2)
    assert partition_map(system.score, replace(test, relevant=relevant)) == pytest.approx((1 + 1 / 4) / 2)


def test_majority_of_equally_common_intentions_is_the_first(toy_config, toy_features):
    toy = toy_features(queries=4)
    system = Majority(toy_config, toy)
    system.fit(with_intentions(toy.train, queries=[3, 1, 1, 3]), toy.valid)
    assert system.intention == 1


def test_unused_stickers_come_last(toy, toy_config):
    """A sticker that no conversation uses has no intention and belongs to no one's answer."""
    test = with_intentions(toy.test, gallery=[set(), *({number % 4} for number in range(1, 12))])
    majority = Majority(toy_config, toy)
    majority.fit(toy.train, toy.valid)
    for system in (majority, Oracle(toy_config, toy)):
        assert not system.score(test.queries, test.gallery)[:, 0].any()


def test_a_sticker_of_several_intentions_answers_each_of_them(toy_config, toy_features):
    # Training means 3 most often. Sticker 0 has intentions 0 and 3, sticker 1 all four, sticker 2 has 1, and
    # sticker 3 has none.
    toy = toy_features(stickers=4, queries=4)
    test = with_intentions(toy.test, queries=[0, 1, 2, 3], gallery=[{0, 3}, {0, 1, 2, 3}, {1}, set()])
    scores = Oracle(toy_config, toy).score(test.queries, test.gallery)
    assert scores.tolist() == [[1, 1, 0, 0], [0, 1, 1, 0], [0, 1, 0, 0], [1, 1, 0, 0]]
    majority = Majority(toy_config, toy)
    majority.fit(with_intentions(toy.train, queries=[3, 3, 0, 1]), toy.valid)
    assert majority.score(test.queries, test.gallery).tolist() == [[1, 1, 0, 0]] * 4
    assert scores.dtype == float


def test_random_has_the_mean_that_the_formula_promises(toy, toy_config):
    """400 seeds on galleries where queries have 1 to 6 relevant stickers; 4 standard errors of the mean."""
    rng = np.random.default_rng(0)
    relevant = np.zeros((24, 12), bool)
    for row, count in zip(relevant, rng.integers(1, 7, size=24), strict=True):
        row[rng.choice(12, size=count, replace=False)] = True
    queries, gallery = toy.test.queries, toy.test.gallery
    found = {name: [] for name in METRICS}
    for seed in range(400):
        scores = Random(toy_config.with_changes(seed=seed), toy).score(queries, gallery)
        ranked = np.take_along_axis(relevant, rank_candidates(scores, gallery.ids), axis=1)
        for name, metric in METRICS.items():
            found[name].append(metric(ranked).mean())
    expected = expected_by_chance(relevant.sum(axis=1), 12)
    assert {"mAP", "hit@1", "hit@3", "hit@5", "precision@3", "precision@5"} <= expected.keys()
    for name, value in expected.items():
        error = np.std(found[name], ddof=1) / np.sqrt(400)
        assert abs(np.mean(found[name]) - value) < 4 * error, name


def test_random_is_decided_by_its_seed(toy, toy_config):
    queries, gallery = toy.test.queries, toy.test.gallery
    one = Random(toy_config, toy).score(queries, gallery)
    assert np.array_equal(one, Random(toy_config, toy).score(queries, gallery))
    assert not np.array_equal(one, Random(toy_config.with_changes(seed=1), toy).score(queries, gallery))
    assert len(np.unique(one)) == one.size


def test_prior_orders_by_the_shares_of_training(toy, toy_config):
    train = with_intentions(toy.train, queries=[2, 2, 2, 0, 0, 1])
    prior = Prior(toy_config, toy)
    prior.fit(replace(train, queries=replace(train.queries, ids=train.queries.ids[:6])), toy.valid)
    test = with_intentions(toy.test, gallery=[{0}, {1}, {2}, {3}, {0, 1}, *[set()] * 7])
    scores = prior.score(test.queries, test.gallery)
    assert scores[0, :6] == pytest.approx(np.array([2, 1, 3, 0, 3, 0]) / 6)
    assert (scores == scores[0]).all()


def test_blind_reader_follows_the_second_reading(cache, tmp_path):
    config = RunConfig.of_profile("smoke", system="blind_reader")
    features = build_features(config, tmp_path)
    queries, gallery = features.test.queries, features.test.gallery
    scores = BlindReader(config, features).score(queries, gallery)
    intentions = config_dataset(config).intentions
    for row, conversation in enumerate(queries.conversations):
        assert conversation.second_reading
        column = intentions.index(conversation.second_reading)
        assert (scores[row] == gallery.intentions[:, column]).all()
