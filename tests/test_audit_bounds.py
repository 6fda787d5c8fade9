"""Bounds of mAP against all rankings of small galleries, and against all assignments of a few queries."""

import itertools

import numpy as np
import pytest

from intra.audit import bounds, chance, feasible, galleries, granularity
from intra.errors import IntraError
from intra.metrics import average_precision, hit_at


def class_of(first):
    return next(k for k, (low, high) in enumerate(bounds.CLASSES) if low <= first and (high is None or first <= high))


@pytest.mark.parametrize(("relevant", "gallery"), [(1, 1), (1, 9), (2, 9), (3, 9), (5, 9), (8, 9), (9, 9), (3, 6)])
def test_ap_bounds_are_those_of_all_rankings(relevant, gallery):
    low, high = np.full(4, np.inf), np.full(4, -np.inf)
    for ranks in itertools.combinations(range(1, gallery + 1), relevant):
        marks = np.zeros((1, gallery), bool)
        marks[0, np.array(ranks) - 1] = True
        (ap,), k = average_precision(marks), class_of(ranks[0])
        low[k], high[k] = min(low[k], ap), max(high[k], ap)
    found = bounds.ap_bounds(relevant, gallery)
    assert np.isnan(found[0]).tolist() == np.isinf(low).tolist()
    assert found[0][~np.isnan(found[0])] == pytest.approx(low[np.isfinite(low)])
    assert found[1][~np.isnan(found[1])] == pytest.approx(high[np.isfinite(high)])


def test_ap_bounds_of_a_hand_worked_case():
    low, high = bounds.ap_bounds(2, 10)
    assert high == pytest.approx([1, (1 / 2 + 2 / 3) / 2, (1 / 4 + 2 / 5) / 2, (1 / 6 + 2 / 7) / 2])
    assert low == pytest.approx([(1 + 2 / 10) / 2, (1 / 3 + 2 / 10) / 2, (1 / 5 + 2 / 10) / 2, (1 / 9 + 2 / 10) / 2])
    with pytest.raises(IntraError, match="11 relevant of 10"):
        bounds.ap_bounds(11, 10)


@pytest.mark.parametrize("largest", [False, True])
def test_the_optimum_is_that_of_all_assignments_of_whole_queries(largest):
    """With whole supplies and demands a transportation problem has a whole optimum."""
    rng = np.random.default_rng(3)
    for _ in range(5):
        values, supply, demand = rng.random((3, 3)), [3, 2, 2], [1, 4, 2]
        classes = [k for k, count in enumerate(demand) for _ in range(count)]
        owners = [c for c, count in enumerate(supply) for _ in range(count)]
        sums = {
            sum(values[c, k] for c, k in zip(owners, order, strict=True))
            for order in set(itertools.permutations(classes))
        }
        expected = max(sums) if largest else min(sums)
        assert bounds.optimum(values, np.array(supply), np.array(demand), largest) == pytest.approx(expected)


def test_a_forbidden_cell_stays_empty_and_may_leave_nothing():
    values = np.array([[5.0, np.nan], [1.0, 2.0]])
    assert bounds.optimum(values, np.array([0.5, 0.5]), np.array([0.5, 0.5]), largest=True) == pytest.approx(3.5)
    with pytest.raises(IntraError, match="no assignment"):
        bounds.optimum(values, np.array([0.9, 0.1]), np.array([0.5, 0.5]), largest=True)


def test_map_bounds_are_those_of_every_ranking_of_every_query():
    """Two intentions, three queries, a gallery of seven: all triples of rankings with the hit rates of the row."""
    counts, asked = np.array([2, 5]), [0, 0, 1]
    options = {}
    for c in (0, 1):
        for ranks in itertools.combinations(range(1, 8), int(counts[c])):
            marks = np.zeros((1, 7), bool)
            marks[0, np.array(ranks) - 1] = True
            options.setdefault(c, set()).add((class_of(ranks[0]), average_precision(marks)[0]))
    shares = np.array([1, 1, 0, 1]) / 3
    values = [
        np.mean([ap for _, ap in chosen])
        for chosen in itertools.product(*(options[c] for c in asked))
        if sorted(k for k, _ in chosen) == [0, 1, 3]
    ]
    found = bounds.map_bounds(shares, counts, np.array([2, 1]) / 3)
    assert found == pytest.approx((100 * min(values), 100 * max(values)))


def test_no_simulated_system_leaves_its_bounds():
    """Rankings of any quality, scored by the metrics of the package."""
    rng = np.random.default_rng(0)
    counts = galleries.label_counts(40, 1.0, labels=6)
    labels = np.repeat(np.arange(6), counts)
    for strength in (0, 0.5, 1, 2, 5):
        right = labels == labels[:, None]  # one query a sticker
        scores = strength * right + rng.standard_normal(right.shape)
        marks = np.take_along_axis(right, np.argsort(-scores, axis=1), axis=1)
        at = [hit_at(marks, n).mean() for n in (1, 3, 5)]
        shares = np.diff([0, *at, 1])
        low, high = bounds.map_bounds(shares, counts)
        assert low - 1e-9 <= 100 * average_precision(marks).mean() <= high + 1e-9
        assert high <= bounds.any_queries_bound(shares, counts) + 1e-9
        missed = average_precision(marks[at_none]).mean() if (at_none := hit_at(marks, 5) == 0).any() else 0
        assert bounds.needed_of_missed(shares, 100 * average_precision(marks).mean(), counts) <= 100 * missed + 1e-9


def test_what_missed_queries_need():
    shares, counts = np.array([0.5, 0, 0, 0.5]), np.full(4, 3)
    assert bounds.needed_of_missed(shares, 40, counts) == 0
    assert bounds.needed_of_missed(shares, 60, counts) == pytest.approx(20)  # the hits give 50 at most
    assert bounds.needed_of_missed(np.array([0, 0, 1, 0]), 99, counts) == np.inf


def test_one_relevant_sticker_is_the_reciprocal_rank():
    shares = np.array([0.2, 0.3, 0.1, 0.4])
    expected = 100 * (0.2 + 0.3 / 2 + 0.1 / 4 + 0.4 / 6)
    assert bounds.one_relevant_bound(shares) == pytest.approx(expected)
    assert bounds.map_bounds(shares, np.ones(50, int))[1] == pytest.approx(expected)


def test_the_smallest_constant_is_the_first_that_reaches_the_value():
    shares, value = np.array([0.1, 0.2, 0.1, 0.6]), 45.0
    reached = [r for r in range(1, 90) if 100 * shares @ bounds.ap_bounds(r, 124)[1] >= value - 0.005]
    assert bounds.smallest_constant(shares, value, 124) == reached[0] > 1
    assert bounds.smallest_constant(shares, 99.9, 124) is None


def test_the_share_that_is_needed_is_where_the_bound_meets_the_value():
    counts, shares = galleries.label_counts(124), np.array([0.18, 0.2, 0.02, 0.6])
    queries = np.where(counts == 5, 0.6 / 12, 0.4 / 16)
    value = bounds.map_bounds(shares, counts, queries)[1]
    stickers, needed = bounds.share_needed(shares, value + bounds.ROUNDING, counts)
    assert (stickers, needed) == pytest.approx((60 / 124, 0.6))
    assert np.isnan(bounds.share_needed(shares, 90, counts)[1]) and bounds.share_needed(shares, 10, counts)[1] == 0


def test_ap_of_five_ranks_is_bounded_by_hand():
    """Of queries with a hit: first at 1 gives 0.7 to 1, at 2 or 3 1/3 to 13/18 or more, at 4 or 5 1/5 to 13/40."""
    low, high = bounds.truncated_bounds(np.array([0.2, 0.2, 0.1, 0.5]))
    best = {2: max((1 / 2 + 2 / 3 + 3 / 4 + 4 / 5) / 4, (1 / 2 + 2 / 3) / 2), 4: (1 / 4 + 2 / 5) / 2}
    assert low == pytest.approx(100 * (0.2 * 0.7 + 0.2 / 3 + 0.1 / 5) / 0.5)
    assert high == pytest.approx(100 * (0.2 + 0.2 * best[2] + 0.1 * best[4]) / 0.5)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 1.5])
@pytest.mark.parametrize("stickers", [28, 124, 1025])
def test_label_counts_are_whole_falling_and_near_the_law(stickers, exponent):
    counts = galleries.label_counts(stickers, exponent)
    law = np.arange(1, 29.0) ** -exponent
    assert counts.sum() == stickers and counts.min() >= 1 and (np.diff(counts) <= 0).all()
    if (wanted := stickers * law / law.sum()).min() >= 1:
        assert np.abs(counts - wanted).max() < 1
    with pytest.raises(IntraError, match="27 stickers for 28 labels"):
        galleries.label_counts(27)


def test_apportioning_keeps_the_sum_and_the_least():
    assert galleries.apportioned(10, np.array([1, 1, 1])).tolist() == [4, 3, 3]
    assert galleries.apportioned(10, np.array([100, 1, 1]), least=2).tolist() == [6, 2, 2]


@pytest.fixture(scope="module")
def rows():
    reading = granularity.reading()
    shares = feasible.shares(reading)
    return reading, shares, feasible.intervals(shares)


def test_printed_map_above_the_bound_of_a_balanced_test_gallery(rows):
    _, shares, intervals = rows
    outside = feasible.outside(intervals)
    assert list(outside.index[outside["124 balanced"] == "above"]) == ["Int-RA", "P", "V", "FV"]
    assert not (outside["1025 balanced"] != "").any() and not outside.isin(["above"]).iloc[:, 1:].any(axis=None)
    firm = feasible.constants(shares, ["Int-RA", "P", "V", "FV"], {"test": 124, "valid": 127})
    assert firm["R, test"].tolist() == firm["R, valid"].tolist() == [5, 6, 5, 6]
    assert firm["larger, needed"].isna().tolist() == [False, True, False, True]


def test_the_ceilings_are_those_that_were_found_before(rows):
    """With shares of queries in whole numbers, which differ a little from those of the stickers."""
    _, shares, intervals = rows
    noted = {
        "SRS": (18.7, 35.58, 73.2),
        "ChatGLM3": (33.4, 48.53, 79.0),
        "Int-RA": (38.5, 53.34, 81.3),
        "P": (31.7, 47.80, 79.1),
    }
    for label, (one, test, every) in noted.items():
        assert bounds.one_relevant_bound(shares.loc[label]) == pytest.approx(one, abs=0.05)
        assert intervals.at[label, ("124 balanced", "high")] == pytest.approx(test, abs=0.2)
        assert intervals.at[label, ("1025 balanced", "high")] == pytest.approx(every, abs=0.1)


def test_every_table_of_the_page_has_every_distinct_row(rows):
    reading, shares, intervals = rows
    ranges = feasible.model_ranges(shares, reading, queries=60)
    demands = feasible.demands(shares, ranges)
    assert len(shares) == 29 and shares.sum(axis=1).to_numpy() == pytest.approx(1)
    for frame in (feasible.table(shares, intervals), demands, feasible.other_definitions(shares)):
        assert list(frame.index) == list(shares.index)
    assert demands.at["Int-RA", "needed, 1025"] == pytest.approx(25.4, abs=0.1)
    assert demands.at["Int-RA", "mAP / hit@5"] == pytest.approx(53.37 / 40.62)
    assert feasible.other_definitions(shares)[~feasible.ordinary()].sum().tolist()[:2] == [23, 21]
    assert not feasible.other_definitions(shares)[feasible.ordinary()].iloc[:, :2].any(axis=None)


def test_bounds_hold_for_the_score_model(rows):
    counts = galleries.label_counts(124)
    model = chance.score_model(counts, [0.0, 1.0], [0.0, 1.0], queries=100)
    for _, row in model.iterrows():
        shares = np.diff([0, row["hit@1"] / 100, row["hit@3"] / 100, row["hit@5"] / 100, 1])
        most = bounds.any_queries_bound(shares, counts)
        assert row["mAP"] <= most
