"""Levels of chance against enumeration and simulation with the package's metrics."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom

from intra.audit import chance, galleries, granularity
from intra.errors import IntraError
from intra.metrics import average_precision, hit_at

COUNTS = np.array([4, 2, 1])


def test_expected_hits_are_those_of_all_orders():
    labels, values = np.repeat([0, 1, 2], COUNTS), []
    for label in labels:
        marks = np.array(list(set(itertools.permutations((labels == label).tolist()))))
        values.append([*(hit_at(marks, n).mean() for n in (1, 3, 5)), average_precision(marks).mean()])
    expected = dict(zip(("hit@1", "hit@3", "hit@5", "mAP"), 100 * np.mean(values, axis=0), strict=True))
    assert chance.expected_hits(COUNTS) == pytest.approx(expected)


def test_chance_at_one_is_the_sum_of_squares_and_least_for_balanced_labels():
    table = chance.chance_table()
    for name, counts in galleries.assumed(galleries.SKEWS).items():
        shares = counts / counts.sum()
        assert table.at[name, "hit@1"] == pytest.approx(100 * (shares**2).sum())
        assert table.at[name, "majority hit@1"] == pytest.approx(100 * shares.max())
    assert table["hit@1"].iloc[:6].min() == table.at["1025 balanced", "hit@1"] == pytest.approx(100 / 28, abs=0.01)
    assert table.loc["124, only the sent one", ["hit@1", "hit@3", "hit@5"]].tolist() == pytest.approx(
        [100 * n / 124 for n in (1, 3, 5)]
    )


def test_balanced_chance_does_not_depend_on_the_gallery():
    table = chance.chance_table()[list(granularity.SHARES)]
    assert table.loc["124 balanced"].tolist() == pytest.approx([3.6, 10.4, 16.8], abs=0.3)
    assert table.loc["1025 balanced"].tolist() == pytest.approx([3.6, 10.4, 16.8], abs=0.2)


def test_first_hit_classes_are_those_of_all_orders():
    for relevant in (1, 3, 7):
        marks = np.array(list(itertools.combinations(range(1, 8), relevant)))
        classes = np.searchsorted([1, 3, 5], marks[:, 0])
        assert chance.first_hit_chances(relevant, 7) == pytest.approx(np.bincount(classes, minlength=4) / len(marks))


def test_the_best_of_one_is_chance():
    best = chance.best_of_random(COUNTS, 1, 7, repeats=4000)
    expected = chance.expected_hits(COUNTS)
    for metric in granularity.SHARES:
        assert best[metric] == pytest.approx(expected[metric], abs=1.5)


def test_the_best_of_many_is_that_of_independent_binomials():
    """With one intention size, hits at 1 are binomial, and the largest of E has a known expectation."""
    counts, queries, rankings = np.full(5, 4), 30, 20
    below = binom.cdf(np.arange(queries), queries, 1 / 5) ** rankings
    expected = 100 * (queries - below.sum()) / queries
    best = chance.best_of_random(counts, rankings, queries, repeats=3000)
    assert best["hit@1"] == pytest.approx(expected, abs=0.4)
    assert best["hit@1"] < best["hit@3"] < best["hit@5"]


def test_queries_that_share_nothing_rank_independently_and_alike_ones_spread_more():
    counts = galleries.label_counts(60, 1.0, labels=6)
    free = chance.best_of_random(counts, 40, 50, repeats=400)
    none = chance.best_of_alike(counts, 40, 50, 0.0, repeats=25)
    alike = chance.best_of_alike(counts, 40, 50, 0.9, repeats=25)
    assert none["hit@1"] == pytest.approx(free["hit@1"], abs=2.5)
    assert alike["hit@1"] > none["hit@1"] + 2
    with pytest.raises(IntraError, match=r"cosine 1\.5"):
        chance.best_of_alike(counts, 1, 10, 1.5)


def test_draws_are_repeatable():
    assert chance.best_of_random(COUNTS, 5, 7, 10) == chance.best_of_random(COUNTS, 5, 7, 10)
    assert chance.best_of_random(COUNTS, 5, 7, 10) != chance.best_of_random(COUNTS, 5, 7, 10, seed=1)


def test_top_columns_are_those_of_a_full_sort():
    scores = np.random.default_rng(0).standard_normal((20, 30))
    assert (chance._top(scores, 5) == np.argsort(-scores, axis=1)[:, :5]).all()


def test_ranks_of_the_score_model_are_those_of_a_plain_sort():
    rng = np.random.default_rng(2)
    for shift in (-1.0, 0.0, 2.0):
        others, noise = rng.standard_normal(12), rng.standard_normal(4)
        scores = np.concatenate([others, noise + shift])
        marks = (np.argsort(-scores) >= 12)[None]
        ((first, ap),) = chance._ranked([(np.sort(others), noise)], np.array([shift]))
        assert first == marks.argmax() + 1 and ap == pytest.approx(average_precision(marks)[0])


def test_the_score_model_without_signal_is_chance_and_rises_with_it():
    counts = galleries.label_counts(40, 1.0, labels=6)
    model = chance.score_model(counts, [0.0, 1.0, 6.0], [0.0], queries=1500)
    expected = chance.expected_hits(counts)
    for metric, value in expected.items():
        assert model.at[(0.0, 0.0), metric] == pytest.approx(value, abs=4)
    assert model["mAP"].is_monotonic_increasing and model.at[(6.0, 0.0), "mAP"] > 99


def test_the_range_is_that_of_the_agreeing_models():
    model = chance.score_model(COUNTS, [0.0, 5.0], [0.0], queries=50)
    row = model.loc[(0.0, 0.0)]
    shares = np.diff([0, row["hit@1"] / 100, row["hit@3"] / 100, row["hit@5"] / 100, 1])
    assert chance.model_range(model, shares, 1000) == (row["mAP"], row["mAP"])
    assert np.isnan(chance.model_range(model, np.array([0.5, 0, 0, 0.5]), 10_000)).all()


def test_so_few_hits_as_srs_has_are_rare_by_chance():
    p = chance.below_chance(granularity.reading(), 16.8)
    assert p["SRS"] == pytest.approx(binom.cdf(10, 150, 0.168)) and p["SRS"] < 0.0005
    assert "IRRA" not in p and p.drop("SRS").min() > 0.05


def test_a_pass_has_as_many_steps_as_batches():
    assert chance.training_steps() == 318
