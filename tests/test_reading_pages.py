"""What the pages on readings and on Int-RA+ compute, against values worked by hand and against the settings."""

import matplotlib as mpl

mpl.use("agg")

import itertools

import numpy as np
import pandas as pd
import pytest

from intra import figures, readings
from intra.claims import FAILS, HOLDS, UNDECIDED
from intra.config import CHOICES, RunConfig
from intra.evaluation import bootstrap_interval, make_run
from intra.records import Record, write_relevance
from intra.study import STUDIES
from intra.tables import differences, results

QRELS = {"c1": {"s1"}, "c2": {"s2"}, "c3": {"s1", "s3"}, "c4": {"s4"}}
EXACT = {"c1": {"s1"}, "c2": {"s2"}, "c3": {"s3"}, "c4": {"s4"}}


def make_records(folder, label, runs, **changes):
    """One record a run, as seeds 0, 1, ..."""
    records = []
    for seed, run in enumerate(runs):
        path = folder / f"{label}-{seed}".replace("/", "")
        path.mkdir()
        write_relevance(path / "relevance.npz", run, {"intention": QRELS, "exact": EXACT})
        records.append(Record(path, {"config": RunConfig(seed=seed, **changes).as_dict()}))
    return records


def ranked(scores, stickers=("s1", "s2", "s3", "s4")):
    return make_run(np.array(scores, float), list(QRELS), list(stickers))


FORWARDS, BACKWARDS = ranked([[4, 3, 2, 1]] * 4), ranked([[1, 2, 3, 4]] * 4)
RIGHT = ranked([[4, 3, 2, 1], [3, 4, 2, 1], [4, 1, 3, 2], [1, 2, 3, 4]])  # every relevant sticker first


def test_words_are_there_for_every_reading_that_is_run():
    run = {name for asked in STUDIES["readings"].configurations.values() for name in asked}
    assert set(readings.READINGS) == run
    other_systems = {"words", "masked words"}  # encodings that Int-RA does not read
    assert other_systems < set(CHOICES["context_encoding"])
    for name, reading in readings.READINGS.items():
        assert set(reading.options) == set(CHOICES[name]) - other_systems
        assert next(iter(reading.options)) == getattr(RunConfig.of_profile("mini"), name)
    assert {readings.LITERAL, *readings.APART} < set(STUDIES["readings"].configurations)


def test_the_table_of_readings_says_what_the_paper_says_and_what_is_done():
    table = readings.reading_table()
    assert table.index.unique(0).tolist() == list(readings.READINGS)
    rows = table.loc["head_reduction", "in words"]
    assert rows.to_dict() == {
        "the paper, Eq. 11": readings.READINGS["head_reduction"].paper,
        "mean (default)": "their mean",
        "max": "the largest",
    }


def test_what_is_no_reading_of_one_task_is_marked():
    labels = dict.fromkeys(STUDIES["readings"].configurations, ())
    changed = {new: old for new, old in zip(readings.marked(labels), labels, strict=True) if new != old}
    assert changed == {"query: gold (upper bound)": "query: gold", "gallery: all (another task)": "gallery: all"}


def test_same_ranks_counts_queries_whose_right_stickers_stand_alike(tmp_path):
    # s2 and s4 change places: c2 and c4 see it, c1 and c3 do not
    swapped = ranked([[4, 1, 2, 3]] * 4)
    one = make_records(tmp_path, "one", [FORWARDS, FORWARDS])
    other = make_records(tmp_path, "other", [FORWARDS, swapped])
    frame = readings.same_ranks(one, other)
    assert frame.index.tolist() == ["seed 0", "seed 1"]
    assert frame["queries"].tolist() == [4, 4] and frame["same"].tolist() == [4, 2]
    # c2 falls from rank 2 to 4, c4 rises from 4 to 2
    assert frame["largest difference in AP"].tolist() == [0, pytest.approx(25)]


def test_same_ranks_sees_the_sticker_that_was_sent(tmp_path):
    # c3 has s1 and s3 as right ones at ranks 1 and 3 in both, but s3 was sent
    other = ranked([[4, 3, 2, 1], [4, 3, 2, 1], [2, 3, 4, 1], [4, 3, 2, 1]])
    pair = (make_records(tmp_path, name, [run]) for name, run in (("one", FORWARDS), ("other", other)))
    frame = readings.same_ranks(*pair)
    assert frame["same"].tolist() == [3] and frame["largest difference in AP"].tolist() == [0]


@pytest.fixture
def study(tmp_path):
    return {
        "Int-RA": make_records(tmp_path, "Int-RA", [FORWARDS, BACKWARDS]),
        "right": make_records(tmp_path, "right", [RIGHT, RIGHT]),
    }


def chance_by_all_orders(right, gallery):
    """hit@1 and AP of one query, averaged over every order of the gallery."""
    hits, precisions = [], []
    for order in itertools.permutations(range(gallery)):
        ranks = sorted(order.index(sticker) + 1 for sticker in range(right))
        hits.append(ranks[0] == 1)
        precisions.append(np.mean([(n + 1) / rank for n, rank in enumerate(ranks)]))
    return np.mean(hits), np.mean(precisions)


def test_beside_chance_is_the_distance_to_all_orders(study):
    above = readings.beside_chance(study)
    by_query = [chance_by_all_orders(len(QRELS[query]), 4) for query in QRELS]
    for column, metric in enumerate(("hit@1", "mAP")):
        expected = np.array([pair[column] for pair in by_query])
        row = above.loc[("right", metric)]
        assert row["mean"] == 100 and row["chance"] == pytest.approx(100 * expected.mean())
        assert row["above"] == pytest.approx(100 - row["chance"])
    # Int-RA: hit@1 of c1 and c3 in seed 0, of c4 in seed 1
    expected = np.array([pair[0] for pair in by_query])
    values = [np.array([1, 0, 1, 0]) - expected, np.array([0, 0, 0, 1]) - expected]
    row = above.loc[("Int-RA", "hit@1")]
    assert row["above"] == pytest.approx(100 * np.mean(values))
    assert (row["low"], row["high"]) == pytest.approx([100 * end for end in bootstrap_interval(values)])


def test_chance_is_that_of_the_own_gallery(tmp_path):
    larger = {"more": make_records(tmp_path, "more", [ranked([[4, 3, 2, 1, 0]] * 4, ["s1", "s2", "s3", "s4", "s5"])])}
    row = readings.beside_chance(larger, ["mAP"]).loc[("more", "mAP")]
    assert row["chance"] == pytest.approx(100 * np.mean([chance_by_all_orders(len(q), 5)[1] for q in QRELS.values()]))


def test_with_chance_has_one_row_a_configuration(study):
    text = readings.with_chance(readings.beside_chance(study))
    assert text.index.tolist() == ["Int-RA", "right"]
    assert text.loc["right", "hit@1"].tolist()[:2] == ["100.0", "31.2"]
    assert text.loc["right", ("hit@1", "above it")].startswith("+68.8 [+")


def frame_of(rows, columns):
    index = pd.MultiIndex.from_tuples(list(rows), names=["configuration", "metric"])
    return pd.DataFrame(list(rows.values()), index, columns)


@pytest.mark.parametrize(
    ("low", "verdict"), [((0.1, 2), HOLDS), ((-0.1, 2), UNDECIDED), ((-3, -1), FAILS)], ids=["above", "around", "below"]
)
def test_a_claim_above_chance_is_judged_by_its_intervals(low, verdict):
    rows = {("x", "hit@1"): (low[0] / 2 + low[1] / 2, *low), ("x", "mAP"): (1.24, 0.5, 2.0)}
    claim = readings.claim_above_chance("R9", "x ranks", "so", frame_of(rows, ["above", "low", "high"]))
    assert (claim.id, claim.claim, claim.paper, claim.verdict) == ("R9", "x ranks", "so", verdict)
    assert claim.ours.endswith("mAP +1.2 [+0.5, +2.0]")


def test_over_seeds_compares_means_of_seeds(study):
    # mAP of Int-RA: (1 + 1/2 + 5/6 + 1/4) / 4 and (1/4 + 1/3 + 1/2 + 1) / 4; hit@1: 1/2 and 1/4
    frame = readings.over_seeds(study, "right", "Int-RA")
    gaps = {"hit@1": [50, 75], "mAP": [100 - 100 * (31 / 12) / 4, 100 - 100 * (25 / 12) / 4]}
    for metric, values in gaps.items():
        row = frame.loc[metric]
        assert (row["seeds"], row["better"]) == (2, 2)
        assert row["difference"] == pytest.approx(np.mean(values))
        assert row["deviation"] == pytest.approx(np.std(values, ddof=1))
        assert row["p"] == pytest.approx(0.5, abs=0.02)  # two of the four sign patterns are as far from 0


def test_equal_seeds_are_not_better(study):
    frame = readings.over_seeds({"a": study["Int-RA"], "b": study["Int-RA"]}, "a", "b")
    assert frame["better"].tolist() == [0, 0] and frame["p"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("hit", "verdict"),
    [
        ((3, 1, 5, 0.004), HOLDS),
        ((3, -1, 5, 0.004), HOLDS),  # the bar is one of p alone
        ((3, 1, 5, 0.01), UNDECIDED),
        ((-3, -7, 1, 0.004), UNDECIDED),
        ((-3, -5, -1, 0.004), FAILS),
    ],
)
def test_the_bar(hit, verdict):
    rows = {("Int-RA+", "hit@1"): hit, ("Int-RA+", "mAP"): (2, 1, 3, 0.0002)}
    assert readings.verdict_on_bar(frame_of(rows, ["difference", "low", "high", "p_holm"])) == verdict


@pytest.fixture
def growing(tmp_path):
    runs = {"Int-RA": {0.125: BACKWARDS, 1.0: FORWARDS}, "Int-RA+": {0.125: FORWARDS, 1.0: RIGHT}}
    return {
        f"{system}, {100 * share:g} %": make_records(tmp_path, f"{system}{share}", [run], train_fraction=share)
        for system, shares in runs.items()
        for share, run in shares.items()
    }


def test_growth_has_a_row_for_each_system_and_share(growing):
    frame = readings.growth(growing)
    assert frame.index.tolist() == [("Int-RA", 12.5), ("Int-RA", 100), ("Int-RA+", 12.5), ("Int-RA+", 100)]
    assert frame["hit@1", "mean"].tolist() == [25, 50, 50, 100]
    pd.testing.assert_series_equal(
        frame.loc[("Int-RA+", 12.5)], results(growing, metrics=["hit@1", "mAP"]).iloc[2], check_names=False
    )


def test_the_labels_of_the_study_are_those_that_growth_reads():
    systems = [label.rpartition(", ")[0] for label in STUDIES["data_size"].configurations]
    assert set(systems) == {"Int-RA", "Int-RA+"} and len(systems) == 8


def test_growth_differences_compare_at_each_share_and_correct_for_all(growing):
    frame = readings.growth_differences(growing, "Int-RA+", "Int-RA")
    assert frame.index.unique("configuration").tolist() == ["12.5 %", "100 %"]
    assert frame.loc[("12.5 %", "hit@1"), "difference"] == 25 and frame.loc[("100 %", "hit@1"), "difference"] == 50
    alone = {label: growing[f"{label}, 100 %"] for label in ("Int-RA", "Int-RA+")}
    single = differences(alone, "Int-RA").loc["Int-RA+"]
    columns = ["difference", "low", "high", "p"]
    pd.testing.assert_frame_equal(frame.loc["100 %", columns], single[columns])
    assert frame["p_holm"].min() == pytest.approx(min(1, 4 * frame["p"].min()))


def test_growth_curves_have_a_line_a_system_with_its_intervals_and_chance(growing):
    frame = readings.growth(growing)
    figure = figures.growth_curves(frame, ["hit@1", "mAP"], {"hit@1": 31.25, "mAP": 60})
    hit, precision = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["hit@1", "mAP"]
    assert [box.get_label() for box in hit.containers] == ["Int-RA", "Int-RA+"]
    for system, box in zip(("Int-RA", "Int-RA+"), precision.containers, strict=True):
        part = frame.loc[system, "mAP"]
        line, _, (bars,) = box.lines
        np.testing.assert_allclose(np.asarray(line.get_ydata(), float), part["mean"])
        np.testing.assert_allclose(np.asarray(line.get_xdata(), float), part.index, rtol=0.05)  # moved aside a little
        ends = np.array([segment[:, 1] for segment in bars.get_segments()])
        np.testing.assert_allclose(ends, part[["low", "high"]])
    (chance,) = [line for line in hit.lines if line.get_label() == "chance"]
    assert set(chance.get_ydata()) == {31.25}
    assert [text.get_text() for text in hit.get_xticklabels()] == ["12.5", "100"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Int-RA", "Int-RA+", "chance"]


def test_training_curves_show_the_losses_that_a_system_has():
    histories = {seed: [{"epoch": 1, "intention": 2.0, "sticker": 1.0 + seed, "valid_mAP": 0.1}] for seed in range(7)}
    figure = figures.training_curves(histories, dict.fromkeys(histories, 1))
    titles = ["intention loss, train", "sticker loss, train", "mAP, valid"]
    assert [axes.get_title() for axes in figure.axes] == titles
    assert [line.get_ydata().tolist() for line in figure.axes[1].lines[::2]] == [[1.0 + seed] for seed in range(7)]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [f"seed {seed}" for seed in range(7)]
