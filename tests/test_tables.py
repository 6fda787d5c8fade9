"""Frames from records, and the text of tables, against values worked by hand."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest
from scipy.stats import permutation_test

from intra.config import RunConfig
from intra.errors import IntraError
from intra.evaluation import bootstrap_interval, evaluate, make_run
from intra.metrics import METRICS
from intra.records import Record, write_relevance
from intra.tables import (
    control_differences,
    differences,
    holm,
    per_query,
    results,
    sign_flip_p,
    to_markdown,
    to_myst,
    with_intervals,
)

QRELS = {"c1": {"s1"}, "c2": {"s2"}, "c3": {"s1", "s3"}, "c4": {"s4"}}
EXACT = {"c1": {"s1"}, "c2": {"s2"}, "c3": {"s3"}, "c4": {"s4"}}


def make_record(folder, label, seed, run, qrels=QRELS, exact=None):
    folder = folder / f"{label}-{seed}"
    folder.mkdir()
    write_relevance(folder / "relevance.npz", run, {"intention": qrels, "exact": exact or qrels})
    return Record(folder, {"config": RunConfig(seed=seed).as_dict()})


def ranked(scores):
    return make_run(np.array(scores, float), list(QRELS), ["s1", "s2", "s3", "s4"])


FORWARDS, BACKWARDS = ranked([[4, 3, 2, 1]] * 4), ranked([[1, 2, 3, 4]] * 4)


@pytest.fixture
def study(tmp_path):
    right = ranked([[4, 3, 2, 1], [3, 4, 2, 1], [4, 1, 3, 2], [1, 2, 3, 4]])  # every relevant sticker first
    runs = {
        "Random": [ranked(np.random.default_rng(0).random((4, 4)))],
        "Int-RA": [FORWARDS, BACKWARDS],
        "Oracle intention": [right],
    }
    return {
        label: [make_record(tmp_path, label, seed, run, exact=EXACT) for seed, run in enumerate(own)]
        for label, own in runs.items()
    }


def test_results_worked_by_hand(study):
    # Int-RA, seed 0 ranks s1 s2 s3 s4: hit@1 of c1 and c3; AP 1, 1/2, (1 + 2/3) / 2, 1/4
    # seed 1 ranks s4 s3 s2 s1: hit@1 of c4; AP 1/4, 1/3, (1/2 + 2/4) / 2, 1
    frame = results(study, metrics=["hit@1", "mAP"])
    assert frame.loc["Int-RA", ("hit@1", "mean")] == pytest.approx(100 * 3 / 8)
    ap = [1, 1 / 2, 5 / 6, 1 / 4, 1 / 4, 1 / 3, 1 / 2, 1]
    assert frame.loc["Int-RA", ("mAP", "mean")] == pytest.approx(100 * sum(ap) / 8)
    assert frame.loc["Oracle intention"].tolist() == [100] * 6
    assert list(frame.index) == list(study)
    low, high = bootstrap_interval([np.array([1, 0, 1, 0]), np.array([0, 0, 0, 1])])
    assert frame.loc["Int-RA", ("hit@1", "low")] == pytest.approx(100 * low)
    assert frame.loc["Int-RA", ("hit@1", "high")] == pytest.approx(100 * high)


def test_results_under_exact_match(study):
    # only c3 differs: s3 is third in seed 0, second in seed 1
    frame = results(study, "exact", ["MRR"])
    reciprocal = [1, 1 / 2, 1 / 3, 1 / 4, 1 / 4, 1 / 3, 1 / 2, 1]
    assert frame.loc["Int-RA", ("MRR", "mean")] == pytest.approx(100 * sum(reciprocal) / 8)
    assert frame.loc["Oracle intention", ("MRR", "mean")] == pytest.approx(100 * (3 + 1 / 2) / 4)


def test_per_query_frames_hold_one_run_each(study):
    frames = per_query(study)
    assert {label: len(own) for label, own in frames.items()} == {"Random": 1, "Int-RA": 2, "Oracle intention": 1}
    assert frames["Int-RA"][1].equals(evaluate(BACKWARDS, QRELS))
    assert per_query(study, "exact")["Int-RA"][0].equals(evaluate(FORWARDS, EXACT))
    assert list(frames["Oracle intention"][0].columns) == list(METRICS)


def test_differences_to_the_controls_over_rankings_of_different_lengths(tmp_path):
    # q1 ranks two stickers, q2 four: what chance reaches depends on how many each query ranks
    qrels = {"q1": {"a"}, "q2": {"a", "d"}}
    orders_of = {
        ("Int-RA", 0): {"q1": "ab", "q2": "abcd"},
        ("Int-RA", 1): {"q1": "ba", "q2": "dabc"},
        ("Majority intention", 0): {"q1": "ba", "q2": "bacd"},
    }
    study = {}
    for (label, seed), orders in orders_of.items():
        run = {query: {sticker: -float(n) for n, sticker in enumerate(order)} for query, order in orders.items()}
        study.setdefault(label, []).append(make_record(tmp_path, label, seed, run, qrels))
    frame = control_differences(study)

    def precision(query, order):
        right = [sticker in qrels[query] for sticker in order]
        return sum(sum(right[: k + 1]) / (k + 1) for k, hit in enumerate(right) if hit) / sum(right)

    chance = {q: np.mean([precision(q, order) for order in itertools.permutations(s)]) for q, s in orders.items()}
    assert chance["q1"] == 0.75
    ours = [precision(q, order) for key in list(orders_of)[:2] for q, order in orders_of[key].items()]
    theirs = [precision(q, order) for q, order in orders_of["Majority intention", 0].items()]
    # hit@1: three of four; the majority has none, and chance one in two for either query
    assert frame["difference"].to_dict() == pytest.approx(
        {
            "hit@1 against majority": 75,
            "mAP against majority": 100 * (np.mean(ours) - np.mean(theirs)),
            "hit@1 against chance": 25,
            "mAP against chance": 100 * (np.mean(ours) - np.mean(list(chance.values()))),
        }
    )
    assert (frame["low"] <= frame["difference"]).all() and (frame["difference"] <= frame["high"]).all()


# Paired comparisons


def planted(tmp_path, label, chances, seeds=(0, 1, 2), queries=40):
    """Records whose one right sticker of three is first with a chance of its own for each seed."""
    rng = np.random.default_rng(sum(label.encode()))
    qrels = {f"q{n}": {"a"} for n in range(queries)}
    records = []
    for seed, chance in zip(seeds, chances, strict=True):
        scores = np.stack([rng.random(queries) < chance, np.full(queries, 0.5), np.zeros(queries)], axis=1)
        run = make_run(scores.astype(float), list(qrels), ["a", "b", "c"])
        records.append(make_record(tmp_path, label, seed, run, qrels))
    return records


@pytest.fixture
def compared(tmp_path):
    chances = {"base": (0.4, 0.5, 0.4), "much better": (0.9, 0.9, 0.8), "hardly better": (0.5, 0.5, 0.5)}
    return {label: planted(tmp_path, label, own) for label, own in chances.items()}


def hits(study, label):
    return np.stack([record.relevance("intention")[:, 0] for record in study[label]]).astype(float)


def test_differences_are_paired_by_seed_and_query(compared):
    frame = differences(compared, "base")
    assert list(frame.index) == [(label, m) for label in ("much better", "hardly better") for m in ("hit@1", "mAP")]
    for label in ("much better", "hardly better"):
        difference = hits(compared, label) - hits(compared, "base")
        row = frame.loc[label, "hit@1"]
        assert row["difference"] == pytest.approx(100 * difference.mean())
        assert [row["low"], row["high"]] == pytest.approx([100 * end for end in bootstrap_interval(difference)])
        # the right sticker is first or second: half a point of AP for each point of hit@1
        assert frame.loc[(label, "mAP"), "difference"] == pytest.approx(50 * difference.mean())
    assert frame.loc["much better", "hit@1"]["p_holm"] < 0.01 < 0.05 < frame.loc["hardly better", "hit@1"]["p"]
    assert frame["p_holm"].tolist() == holm(frame["p"]).tolist()


def test_the_p_of_differences_is_that_of_an_independent_implementation(compared):
    frame = differences(compared, "base", ["hit@1"])
    for label in ("much better", "hardly better"):
        averaged = (hits(compared, label) - hits(compared, "base")).mean(axis=0)
        expected = permutation_test(
            (averaged,), np.sum, permutation_type="samples", n_resamples=20_000, vectorized=False, rng=5
        ).pvalue
        assert frame.loc[label, "hit@1"]["p"] == pytest.approx(expected, abs=0.012)


def test_an_equal_configuration_differs_by_nothing(compared):
    row = differences({**compared, "again": compared["base"]}, "base", ["mAP"]).loc["again", "mAP"]
    assert row.tolist() == [0, 0, 0, 1, 1]


def test_differences_know_the_match(study):
    two = {"a": study["Int-RA"][:1], "b": study["Oracle intention"]}
    assert differences(two, "a", ["hit@1"]).loc["b", "hit@1"]["difference"] == pytest.approx(50)  # c2, c4
    exact = differences(two, "a", ["MRR"], "exact").loc["b", "MRR"]["difference"]
    assert exact == pytest.approx(100 * (1 / 2 + (1 / 2 - 1 / 3) + 3 / 4) / 4)


def test_what_cannot_be_paired_is_refused(compared, tmp_path):
    with pytest.raises(IntraError, match=r"^unknown configuration 'bas' \(did you mean 'base'\?\)"):
        differences(compared, "bas")
    with pytest.raises(IntraError, match=r"^'base' has the seeds \[0, 1, 2\], 'few' \[0, 1\]: expected the same$"):
        differences({"few": planted(tmp_path, "few", (0.5, 0.5), (0, 1)), "base": compared["base"]}, "few")
    other = {"other": planted(tmp_path, "other", (0.5,) * 3, queries=39), "base": compared["base"]}
    with pytest.raises(IntraError, match=r"^'other' was evaluated on other queries than 'base'$"):
        differences(other, "base")


def test_sign_flips_against_all_that_there_are():
    """Of 2^8 assignments of signs, the share whose sum lies as far from 0 as that of the true ones."""
    rng = np.random.default_rng(3)
    sample = np.stack([rng.normal(0.5, 1, 8), rng.normal(0, 1, 8), rng.choice([-1, 0, 1], 8), np.ones(8)], axis=1)
    signs = np.array(list(itertools.product((-1, 1), repeat=8)))
    exact = (np.abs(signs @ sample) >= np.abs(sample.sum(axis=0)) - 1e-9).mean(axis=0)
    assert exact[3] == 2 / 2**8
    assert sign_flip_p(sample, flips=20_000) == pytest.approx(exact, abs=0.015)
    assert sign_flip_p(sample).tolist() == sign_flip_p(sample).tolist()
    assert sign_flip_p(sample).tolist() != sign_flip_p(sample, seed=1).tolist()


def test_a_p_value_is_never_zero():
    assert sign_flip_p(np.ones((60, 1)), flips=99).tolist() == [1 / 100]


def test_p_values_of_equal_systems_are_uniform():
    p = sign_flip_p(np.random.default_rng(0).normal(size=(30, 400)), flips=500)
    assert [(p < level).mean() for level in (0.05, 0.25, 0.5)] == pytest.approx([0.05, 0.25, 0.5], abs=0.06)


def test_holm_worked_by_hand():
    # 4 x 0.005; 3 x 0.01; 2 x 0.03; 1 x 0.04, which may not lie below the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]).tolist() == [1, 1]
    assert holm([0.02]).tolist() == [0.02]


def test_holm_rejects_what_its_steps_reject():
    """The procedure in its own words: from the smallest p on, as long as it is at most level / (how many are left)."""
    rng = np.random.default_rng(1)
    for _ in range(200):
        p = rng.random(6) ** 3
        rejected = set()
        for step, row in enumerate(np.argsort(p)):
            if p[row] > 0.05 / (6 - step):
                break
            rejected.add(row)
        assert set(np.flatnonzero(holm(p) <= 0.05)) == rejected


# Text


def test_intervals_stand_beside_their_mean():
    columns = pd.MultiIndex.from_product([["hit@1", "mAP"], ["mean", "low", "high"]])
    frame = pd.DataFrame([[31.25, 25, 37.96, 5, 4.04, 100]], ["Int-RA"], columns)
    assert with_intervals(frame).loc["Int-RA"].tolist() == ["31.2 [25.0, 38.0]", "5.0 [4.0, 100.0]"]


def test_a_myst_table_is_read_back_by_its_rules():
    frame = pd.DataFrame({"hit@1": ["1.0", "2.5"], "mAP": [7, 8]}, index=["a", "b"])
    text = to_myst(frame, "What it shows.", "tab-x", corner="system")
    fence, *options, blank, body = re.fullmatch(
        r"```\{list-table\} (.+)\n:name: (.+)\n:header-rows: (\d)\n:stub-columns: (\d)\n(\n)(.+)\n```", text, re.DOTALL
    ).groups()
    assert (fence, options, blank) == ("What it shows.", ["tab-x", "1", "1"], "\n")
    rows = [[cell.strip()[2:] for cell in row.split("\n")] for row in body[2:].split("\n* ")]
    assert rows == [["system", "hit@1", "mAP"], ["a", "1.0", "7"], ["b", "2.5", "8"]]


def test_a_markdown_table():
    frame = pd.DataFrame({"x": [1, 2], "y": ["a", "b"]}, index=["r1", "r2"])
    assert to_markdown(frame, "k").split("\n") == [
        "| k | x | y |",
        "| --- | --- | --- |",
        "| r1 | 1 | a |",
        "| r2 | 2 | b |",
    ]
