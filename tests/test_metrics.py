"""Metrics against cases worked by hand, plain loops, ir-measures, and the laws they must obey."""

import itertools
import math

import ir_measures
import numpy as np
import pytest
from ir_measures import AP, RR, P, Success, nDCG

from intra.evaluation import evaluate, make_run
from intra.metrics import (
    METRICS,
    average_precision,
    expected_by_chance,
    hit_at,
    ndcg_at,
    precision_at,
    rank_candidates,
    reciprocal_rank,
)

# Q1 has relevant stickers at ranks 2 and 4 of five, Q2 at rank 1 only, Q3 at ranks 4 and 5
HAND = np.array([[0, 1, 0, 1, 0], [1, 0, 0, 0, 0], [0, 0, 0, 1, 1]], dtype=bool)


def test_metrics_worked_by_hand():
    assert hit_at(HAND, 1).tolist() == [0, 1, 0]
    assert hit_at(HAND, 3).tolist() == [1, 1, 0]
    assert precision_at(HAND, 3) == pytest.approx([1 / 3, 1 / 3, 0])
    assert precision_at(HAND, 5) == pytest.approx([2 / 5, 1 / 5, 2 / 5])
    assert reciprocal_rank(HAND) == pytest.approx([1 / 2, 1, 1 / 4])
    # AP: Q1 (1/2 + 2/4) / 2 = 1/2, Q2 1, Q3 (1/4 + 2/5) / 2 = 13/40
    assert average_precision(HAND) == pytest.approx([1 / 2, 1, 13 / 40])
    # DCG: Q1 1/log2(3) + 1/log2(5), ideal 1/log2(2) + 1/log2(3)
    ideal = 1 + 1 / math.log2(3)
    first = (1 / math.log2(3) + 1 / math.log2(5)) / ideal
    third = (1 / math.log2(5) + 1 / math.log2(6)) / ideal
    assert ndcg_at(HAND, 10) == pytest.approx([first, 1, third])
    # cut at 4: rank 5 of Q3 gives nothing, but the ideal still has both
    assert ndcg_at(HAND, 4) == pytest.approx([first, 1, 1 / math.log2(5) / ideal])


def test_ranks_past_the_gallery_are_no_hits_but_count_in_precision():
    both = np.ones((1, 2), dtype=bool)
    assert precision_at(both, 5).tolist() == [2 / 5]
    assert hit_at(np.zeros((1, 2), dtype=bool), 5).tolist() == [0]
    assert ndcg_at(both, 10).tolist() == [1]


def test_queries_with_nothing_relevant():
    nothing = np.zeros((1, 4), dtype=bool)
    assert [hit_at(nothing, 3)[0], reciprocal_rank(nothing)[0], ndcg_at(nothing, 3)[0]] == [0, 0, 0]
    with pytest.raises(ValueError, match="query 1 has no relevant sticker"):
        average_precision(np.array([[1, 0], [0, 0]], dtype=bool))


def by_loops(row):
    """Every metric of one query, by counting rank by rank."""
    relevant = sum(row)
    found, precisions, first, gain = 0, [], 0.0, 0.0
    for rank, right in enumerate(row, 1):
        if right:
            found += 1
            precisions.append(found / rank)
            first = first or 1 / rank
            gain += 1 / math.log2(rank + 1) if rank <= 10 else 0
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(relevant, 10) + 1))
    return {
        "hit@1": float(any(row[:1])),
        "hit@3": float(any(row[:3])),
        "hit@5": float(any(row[:5])),
        "precision@3": sum(row[:3]) / 3,
        "precision@5": sum(row[:5]) / 5,
        "mAP": sum(precisions) / relevant,
        "MRR": first,
        "nDCG@10": gain / ideal,
    }


def random_relevance(rng, queries, gallery):
    relevance = rng.random((queries, gallery)) < rng.uniform(0.02, 0.6)
    relevance[np.arange(queries), rng.integers(gallery, size=queries)] = True
    return relevance


def test_metrics_agree_with_loops():
    rng = np.random.default_rng(0)
    for gallery in (1, 2, 3, 4, 9, 10, 11, 40):
        relevance = random_relevance(rng, 25, gallery)
        truth = [by_loops(row.tolist()) for row in relevance]
        for name, metric in METRICS.items():
            assert metric(relevance) == pytest.approx([t[name] for t in truth], abs=1e-12), (name, gallery)


def test_metrics_agree_with_ir_measures():
    theirs = {
        "hit@1": Success @ 1,
        "hit@3": Success @ 3,
        "hit@5": Success @ 5,
        "precision@3": P @ 3,
        "precision@5": P @ 5,
        "mAP": AP,
        "MRR": RR,
        "nDCG@10": nDCG @ 10,
    }
    assert theirs.keys() == METRICS.keys()
    rng = np.random.default_rng(1)
    for queries, gallery in [(30, 53), (10, 7)]:
        # distinct whole numbers: no ties, and the same order after the conversion to float32 of trec_eval
        scores = np.array([rng.permutation(gallery) for _ in range(queries)])
        stickers = [f"s{number:04d}" for number in range(gallery)]
        names = [f"q{number}" for number in range(queries)]
        relevance = random_relevance(rng, queries, gallery)
        qrels = {
            q: {s for s, r in zip(stickers, row, strict=True) if r} for q, row in zip(names, relevance, strict=True)
        }
        run = make_run(scores, names, stickers)
        ours = evaluate(run, qrels)
        judged = {q: dict.fromkeys(sorted(relevant), 1) for q, relevant in qrels.items()}
        for value in ir_measures.iter_calc(list(theirs.values()), judged, run):
            name = next(name for name, measure in theirs.items() if measure == value.measure)
            assert ours.loc[value.query_id, name] == pytest.approx(value.value, abs=1e-9), (name, value)


# --- ranks ----------------------------------------------------------------------------------------------------


def test_a_ranking_worked_by_hand():
    scores = np.array([[0.5, 0.9, 0.5, 0.1], [0.0, 0.0, 0.0, 1.0]])
    # first row: s2 (0.9), then the tie of s1 and s4 by id, then s3 (0.1); columns hold s4, s2, s1, s3
    assert rank_candidates(scores, ["s4", "s2", "s1", "s3"]).tolist() == [[1, 2, 0, 3], [3, 2, 1, 0]]


def test_a_constant_scorer_ranks_by_id():
    rng = np.random.default_rng(0)
    ids = [f"s{number:03d}" for number in rng.permutation(60)]
    order = rank_candidates(np.full((2, 60), 0.3), ids)
    assert [ids[column] for column in order[0]] == sorted(ids) == [ids[column] for column in order[1]]


def ranked_by_sorting(row, ids):
    return [ids.index(pair[1]) for pair in sorted(zip((-s for s in row), ids, strict=True))]


def test_the_order_of_candidates_does_not_matter():
    rng = np.random.default_rng(2)
    for _ in range(30):
        gallery = int(rng.integers(1, 12))
        ids = [f"s{number}" for number in rng.choice(99, gallery, replace=False)]
        scores = rng.integers(0, 3, (4, gallery)) / 10  # many ties
        order = rank_candidates(scores, ids)
        assert [row.tolist() for row in order] == [ranked_by_sorting(row.tolist(), ids) for row in scores]
        shuffle = rng.permutation(gallery)
        moved = rank_candidates(scores[:, shuffle], [ids[i] for i in shuffle])
        assert np.array_equal(shuffle[moved], order)


def test_a_rising_transform_of_the_scores_changes_no_rank():
    rng = np.random.default_rng(3)
    scores, ids = rng.normal(size=(5, 20)), [f"s{number:02d}" for number in range(20)]
    assert np.array_equal(rank_candidates(3 * scores - 7, ids), rank_candidates(scores, ids))
    assert np.array_equal(rank_candidates(np.exp(scores), ids), rank_candidates(scores, ids))


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.float16, bool])
def test_ranks_do_not_depend_on_the_type_of_the_scores(kind):
    scores = np.array([[0, 2, 1, 0, -128 if kind is np.int8 else 1]]).astype(kind)
    ids = ["a", "b", "c", "d", "e"]
    assert np.array_equal(rank_candidates(scores, ids), rank_candidates(scores.astype(float), ids))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_refused(bad):
    scores = np.zeros((3, 2))
    scores[1, 0] = bad
    with pytest.raises(ValueError, match="score of query 1 and candidate s2 is not finite"):
        rank_candidates(scores, ["s2", "s1"])


def test_scores_that_do_not_fit_the_candidates_are_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 3\), expected \(queries, 2\)"):
        rank_candidates(np.zeros((2, 3)), ["a", "b"])
    with pytest.raises(ValueError, match="ids repeat"):
        rank_candidates(np.zeros((2, 2)), ["a", "a"])


# --- bounds and chance ----------------------------------------------------------------------------------------


def test_average_precision_lies_within_the_bounds_that_hits_give():
    rng = np.random.default_rng(4)
    seen = []
    for _ in range(200):
        gallery = int(rng.integers(2, 30))
        relevance = random_relevance(rng, 8, gallery)
        relevant = relevance.sum(axis=1)
        ap, hit, first = average_precision(relevance), hit_at(relevance, 1), reciprocal_rank(relevance)
        # all relevant last is the worst order: AP >= mean of k / (G - R + k)
        worst = np.array([np.mean([k / (gallery - r + k) for k in range(1, r + 1)]) for r in relevant])
        assert (ap >= worst - 1e-12).all() and (ap <= 1 + 1e-12).all()
        # the first relevant sticker alone gives 1 / (R rank); a miss at rank 1 costs every term at least one rank
        missed = np.array([np.mean([k / (k + 1) for k in range(1, r + 1)]) for r in relevant])
        assert (ap >= first / relevant - 1e-12).all()
        assert (ap <= np.where(hit == 1, 1, missed) + 1e-12).all()
        # precision at 3 is at most hit at 3, and at least a third of it
        precise, hit3 = precision_at(relevance, 3), hit_at(relevance, 3)
        assert (precise <= hit3).all() and (3 * precise >= hit3 - 1e-12).all()
        seen += [(ap == worst).any(), np.isclose(ap, missed).any()]
    assert any(seen)  # both bounds are reached somewhere


def test_moving_a_relevant_sticker_up_never_lowers_a_metric():
    rng = np.random.default_rng(5)
    for _ in range(100):
        row = random_relevance(rng, 1, 12)
        places = np.flatnonzero(row[0, 1:] & ~row[0, :-1]) + 1  # relevant, right below one that is not
        for place in places:
            better = row.copy()
            better[0, [place - 1, place]] = [True, False]
            for name, metric in METRICS.items():
                assert metric(better)[0] >= metric(row)[0] - 1e-12, name
            assert average_precision(better)[0] > average_precision(row)[0]


@pytest.mark.parametrize("gallery", [1, 2, 3, 4, 5, 6, 7])
def test_chance_is_the_mean_over_all_orders(gallery):
    relevant = list(range(1, gallery + 1))
    expected = {relevant_here: expected_by_chance([relevant_here], gallery) for relevant_here in relevant}
    for count in relevant:
        orders = [
            [place in chosen for place in range(gallery)]
            for chosen in itertools.combinations(range(gallery), count)  # each stands for equally many orders
        ]
        for name, value in expected[count].items():
            assert value == pytest.approx(METRICS[name](np.array(orders)).mean(), abs=1e-12), (name, count)
    everything = expected_by_chance(relevant, gallery)
    for name, value in everything.items():
        assert value == pytest.approx(np.mean([expected[count][name] for count in relevant]))
    assert {"hit@1", "hit@3", "hit@5", "precision@3", "precision@5", "mAP"} <= everything.keys()


def test_orders_are_as_frequent_as_combinations():
    # the step taken above, checked once by all 4! orders of two relevant stickers among four
    rows = [[s in (0, 1) for s in order] for order in itertools.permutations(range(4))]
    value = expected_by_chance([2], 4)
    for name in value:
        assert value[name] == pytest.approx(METRICS[name](np.array(rows)).mean())


def test_chance_agrees_with_random_orders_of_a_large_gallery():
    rng = np.random.default_rng(6)
    relevant, gallery, draws = np.array([1, 3, 8, 20]), 124, 4000
    first = np.arange(gallery) < relevant[:, None]
    values = {name: [] for name in expected_by_chance(relevant, gallery)}
    for _ in range(draws):
        relevance = rng.permuted(first, axis=1)
        for name, means in values.items():
            means.append(METRICS[name](relevance).mean())
    for name, value in expected_by_chance(relevant, gallery).items():
        error = np.std(values[name]) / math.sqrt(draws)
        assert abs(np.mean(values[name]) - value) < 4 * error, name


@pytest.mark.parametrize("relevant", [[0, 2], [3, 6]])
def test_chance_of_impossible_counts_is_refused(relevant):
    with pytest.raises(ValueError, match="expected 1 to 5"):
        expected_by_chance(relevant, 5)
