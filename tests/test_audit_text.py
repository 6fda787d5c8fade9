"""Sums, statements, tests and sentences of the audit, against hand-worked values and scipy."""

import math

import matplotlib as mpl

mpl.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_ind, ttest_rel

from intra import figures, paper
from intra.audit import feasible, findings, granularity, released, sampling, text
from intra.claims import INCONSISTENT, UNTESTABLE
from intra.errors import IntraError


@pytest.fixture(scope="module")
def reading():
    return granularity.reading()


def test_totals_of_table_one():
    sums = text.sums()
    assert sums["difference"].to_dict() == {"conversations": 0, "utterances": 1578, "tokens": 0, "stickers": 0}
    averages = text.averages()
    assert averages["text"].tolist() == ["8.01", "5.21", "2.80"]
    assert averages["printed as"].tolist() == [
        "pooled, with the sticker",
        "macro of the printed",
        "macro of the printed",
    ]
    assert averages.loc["avg_tokens_per_utterance"].tolist()[:4] == ["5.39", "4.72", "5.20", "5.21"]
    assert averages.at["avg_users_per_conversation", "pooled"] == "2.88"


def test_one_average_of_a_split_prints_otherwise():
    frame = text.split_averages()
    wrong = frame[frame["verdict"] == text.DIFFERS]
    assert wrong.index.tolist() == [("avg_tokens_per_utterance", "valid")]
    assert wrong.iloc[0].tolist() == ["5.38", "5.39", text.DIFFERS]
    assert text.uses_per_sticker().round(2).tolist() == [1.64, 1.22, 1.24]


def test_rounding_is_half_up_and_exact():
    assert [text.rounded(text.Fraction(k, 1000)) for k in (5, 15, 994, 995, 1004)] == [
        "0.01",
        "0.02",
        "0.99",
        "1.00",
        "1.00",
    ]


def test_each_statement_has_the_verdict_of_the_tables():
    frame = text.checks().set_index("statement")
    assert {verdict: list(frame.index[frame["verdict"] == verdict]) for verdict in (text.AGREES, text.PARTLY)} == {
        text.AGREES: ["Int-RA outperforms all baselines", "one attribute is worse than all"],
        text.PARTLY: [
            "text-to-image retrieval is better overall than sticker retrieval",
            "ChatGLM3 and Llama3 are the best language models at each P@N",
            "results improve overall with the number of attributes",
        ],
    }
    assert set(frame["verdict"]) == {text.AGREES, text.PARTLY, text.DIFFERS}
    said = frame["tables"]
    assert said["P@N is the precision of the first N"].startswith("34 of 34 values of P@3 and P@5")
    assert "9 of 12 changes are falls" in said["every ablation is worse under all metrics"]
    swapped = said["points by which mAP and P@5 fall without the intention"]
    assert "mAP -9.62, hit@5 +1.25" in swapped and swapped.endswith("w/o knowledge in hit@5 and w/o knowledge in mAP")
    assert "hit@3 8 of 24, hit@5 7 of 24" in said["results improve overall with the number of attributes"]


def test_notes_are_of_the_tables():
    asterisks, below, none, one, missing, window = text.notes()["tables"]
    assert "w/o attribute hit@5" in asterisks and "hit@5 +9.46" in asterisks
    assert below == "Llama3 has mAP 39.76; below it: w/o knowledge, G, GF; the same: F"
    assert "hit@1 13, hit@3 12 and 1 equal, hit@5 13" in none
    assert "P alone is 49.72" in one and "48.66" in one
    assert missing.startswith("14 of 15") and missing.endswith("GFV")
    assert "6 utterances" in window and "7.90" in window


def test_comparisons_of_groups_are_counted_one_by_one():
    systems = paper.systems()
    upper = systems[systems["group"] == text.TEXT_TO_IMAGE].drop(columns="group")
    lower = systems[systems["group"] == text.RETRIEVAL].drop(columns="group")
    below = sum(a < b for metric in upper for a in upper[metric] for b in lower[metric])
    verdict, said = text._group_beats(text.TEXT_TO_IMAGE, (text.RETRIEVAL,), overall=False)
    assert verdict == text.DIFFERS and said.startswith(f"not so in {below} of 32 comparisons")


def test_wilson_is_its_formula():
    for count, n in ((29, 160), (0, 10), (10, 10)):
        z, p = 1.959963984540054, count / n
        middle, half = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        ends = [100 * (middle + sign * half) / (1 + z**2 / n) for sign in (-1, 1)]
        assert sampling.wilson(count, n) == pytest.approx(ends, abs=1e-9)
    assert [round(end, 1) for end in sampling.wilson(29, 160)] == [12.9, 24.8]


def test_the_unpaired_test_is_near_that_of_means_of_zeros_and_ones():
    for count, n, other, other_n in ((29, 160, 24, 154), (60, 160, 39, 154), (65, 160, 75, 160)):
        samples = [np.repeat([1, 0], [k, m - k]) for k, m in ((count, n), (other, other_n))]
        assert sampling.unpaired_p(count, n, other, other_n) == pytest.approx(ttest_ind(*samples).pvalue, abs=0.003)
    assert sampling.unpaired_p(0, 5, 0, 7) == 1 and round(sampling.unpaired_p(29, 160, 24, 154), 2) == 0.55


def test_no_pairing_has_a_smaller_p_than_the_kindest():
    """All numbers of queries in which only the weaker system is right."""
    for better, worse, n in ((29, 24, 154), (10, 6, 20)):
        kind = sampling.kindest_p(better - worse, n)
        p = {"McNemar": [], "t": []}
        for other_way in range(min(worse, n - better) + 1):
            discordant = better - worse + 2 * other_way
            up = better - worse + other_way
            p["McNemar"].append(
                min(1, 2 * sum(math.comb(discordant, k) for k in range(up, discordant + 1)) / 2**discordant)
            )
            values = np.repeat([1, -1, 0], [up, other_way, n - discordant])
            p["t"].append(ttest_rel(values, np.zeros(n)).pvalue)
        assert kind == pytest.approx({name: min(values) for name, values in p.items()})
        assert kind == pytest.approx({name: values[0] for name, values in p.items()})
    assert sampling.kindest_p(5, 154)["McNemar"] == 0.0625
    with pytest.raises(IntraError, match="0 of 10 queries"):
        sampling.kindest_p(0, 10)


def test_the_fewest_queries_are_the_first_with_a_small_p():
    assert [sampling.least_significant(160, level) for level in (0.05, 0.01)] == [6, 8]
    assert 2 * 0.5**6 < 0.05 < 2 * 0.5**5 and 2 * 0.5**8 < 0.01 < 2 * 0.5**7


def test_the_detectable_difference_is_found_so_often():
    base, n, m = 15.6, 160, 154
    points = sampling.detectable(base, n, m)
    rng = np.random.default_rng(0)
    hits = rng.binomial(n, (base + points) / 100, 3000), rng.binomial(m, base / 100, 3000)
    found = np.mean([sampling.unpaired_p(a, n, b, m) < 0.05 for a, b in zip(*hits, strict=True)])
    assert found == pytest.approx(0.8, abs=0.04) and points == pytest.approx(13.1, abs=0.1)
    with pytest.raises(IntraError, match="found so often"):
        sampling.detectable(90, 5, 5)


def test_ablations_differ_by_a_few_queries(reading):
    frame = sampling.against_full(reading, ["w/o attribute", "w/o intention", "w/o knowledge", "ChatGLM3"])
    assert frame["queries"].iloc[:9].tolist() == [1, 4, -10, 1, 3, -2, 0, 13, 1]
    assert frame["queries"].iloc[9:].isna().all()
    assert frame["unpaired p"].iloc[:9].min() > 0.12
    assert sampling.intervals(reading).at["Int-RA", "hit@1"] == "29/160: 18.1 [12.9, 24.8]"
    assert "IRRA" not in sampling.intervals(reading).index


def test_a_softmax_taken_twice_cannot_be_certain():
    for classes in (2, 28):
        sure = np.eye(classes)[0]
        assert released.twice_softmax_floor(classes) == pytest.approx(-math.log(math.e / np.exp(sure).sum()))
    assert round(released.twice_softmax_floor(28), 2) == 2.39


def test_points_about_the_code_say_how_they_are_known():
    frame = released.points()
    assert len(frame) == len(released.POINTS) and set(frame["known by"]) == {released.READ, released.RESTATED}
    assert not frame.eq("").any(axis=None) and frame.index.is_unique


def test_claims_have_the_verdicts_of_the_numbers(reading):
    outside = feasible.outside(feasible.intervals(feasible.shares(reading)))
    claims = findings.claims(reading, outside)
    assert [claim.id for claim in claims] == ["P1", "P2", "P3", "P4", "P5", "P6"]
    assert [claim.verdict for claim in claims] == [INCONSISTENT] * 5 + [UNTESTABLE]
    assert findings.claims(reading, outside.replace("", "above"))[5].verdict == INCONSISTENT


def test_sentences_hold_the_numbers_of_their_frames(reading):
    shares = feasible.shares(reading)
    intervals = feasible.intervals(shares)
    outside = feasible.outside(intervals)
    bounded = findings.map_bounds(shares, intervals, outside, outside)
    assert len(bounded) == 4 and "Int-RA (53.37, bound 53.28)" in bounded[0] and "none" in bounded[2]
    assert "1578 more" in findings.totals()[0] and "5.39 for 5.38" in findings.totals()[2]
    told = findings.denominators(reading)
    assert "160 or 320" in told[0] and "17 went up and 10 down" in told[1]
    assert [line for line in told if line.startswith("LLaVA fits no number near the split of 154; a mean over 2 runs")]
    assert "IRRA fits no number below 1912; no mean" in findings.without_denominator(reading)[0]
    assert "turns 154 test conversations into 160" in findings.padding(reading)
    assert "SRS, MOD, IRRA, LGUR, LLaVA" in findings.by_chance(reading)[0]
    assert "29 of 160, the best baselines 24 of 154" in findings.differences(reading)[0]
    firm = feasible.constants(shares, ["Int-RA", "P"], {"test": 124})
    assert (
        findings.constants(firm)[0].startswith("P stay impossible")
        and "Int-RA if 50.8 %" in findings.constants(firm)[1]
    )
    ranges = pd.DataFrame({"low": 1.0, "high": 10.0}, index=shares.index)
    told = findings.ordinary_and_others(feasible.demands(shares, ranges), feasible.ordinary())
    assert "0.55 to 0.76 in the first 6 rows and 0.96 to 2.31 in the other 23" in told[0]


def test_figures_show_the_denominators_and_the_bounds(reading):
    axes = figures.denominator_points(reading, {"test": 154, "Int-RA": 160}).axes[0]
    points = {(x, y) for line in axes.lines if line.get_marker() == "o" for x, y in zip(*line.get_data(), strict=True)}
    expected = {(n, row) for row, found in enumerate(reading["mixed"]) for n in found}
    assert points == expected and [note.get_text() for note in axes.texts] == ["none"] * 3
    intervals = feasible.intervals(feasible.shares(reading))
    panels = {"small": ["124 balanced", "124 Zipf(1)"], "large": ["1025 balanced"]}
    drawn = figures.feasible_intervals(intervals, feasible.printed_map(), panels).axes
    assert [len(place.containers) for place in drawn] == [2, 1]
    bars = drawn[0].containers[0]
    assert [bar.get_x() + bar.get_width() for bar in bars] == pytest.approx(intervals["124 balanced", "high"].tolist())
    assert drawn[0].lines[0].get_xdata().tolist() == feasible.printed_map().tolist()
    plt.close("all")
