"""Frames of the page on all systems against plain loops, other libraries, closed forms and cases worked by hand."""

import itertools
import math
import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp
from sklearn.metrics import auc, precision_recall_curve

from intra import main_results, paper
from intra.config import RunConfig
from intra.data import load_dataset
from intra.errors import IntraError
from intra.evaluation import bootstrap_interval, evaluate, make_run, write_run
from intra.metrics import METRICS, average_precision, hit_at
from intra.records import RUN, Record, write_relevance
from intra.study import STUDIES
from intra.tables import differences, results

QUERIES, STICKERS = 8, 12


def make_record(folder, scores, seed=0, with_run=False, right=3):
    """A record of a ranking by scores (Q, G); stickers whose number has the query's remainder by `right` are right."""
    folder.mkdir(parents=True)
    queries, stickers = (
        [f"{kind}{n:02}" for n in range(count)] for kind, count in zip("qs", scores.shape, strict=True)
    )
    run = make_run(scores, queries, stickers)
    intention = {q: {s for m, s in enumerate(stickers) if m % right == n % right} for n, q in enumerate(queries)}
    exact = {q: {min(own)} for q, own in intention.items()}
    write_relevance(folder / "relevance.npz", run, {"intention": intention, "exact": exact})
    if with_run:
        write_run(folder / RUN, run, "test")
    return Record(folder, {"config": RunConfig(seed=seed).as_dict()})


@pytest.fixture
def study(tmp_path):
    """Four systems of the page with two seeds of random rankings."""
    rng = np.random.default_rng(0)
    return {
        label: [make_record(tmp_path / label / str(s), rng.random((QUERIES, STICKERS)), s) for s in (0, 1)]
        for label in ("Int-RA", "Random", "SRS + intention", "CLIP zero-shot")
    }


# Precision and recall


def curve_by_loop(row, recall):
    """Largest precision over all ranks at which the recall has been reached, rank by rank."""
    best, total = 0, sum(row)
    for rank in range(1, len(row) + 1):
        found = sum(row[:rank])
        if found / total >= recall - 1e-12:
            best = max(best, found / rank)
    return best


def test_interpolated_precision_against_a_plain_loop():
    rng = np.random.default_rng(1)
    relevance = rng.random((20, 30)) < 0.3
    relevance[:, 7] = True
    found = main_results.interpolated_precision(relevance)
    assert found.shape == (20, 101)
    assert found == pytest.approx(np.array([[curve_by_loop(r, x) for x in main_results.RECALLS] for r in relevance]))


def test_interpolated_precision_worked_by_hand():
    # right at ranks 2, 3 and 6: precision 1/2, 2/3, 3/6; the first step takes the second's 2/3
    relevance = np.array([[0, 1, 1, 0, 0, 1]], bool)
    recalls = [0, 1 / 3, 0.34, 2 / 3, 0.67, 1]
    expected = [2 / 3, 2 / 3, 2 / 3, 2 / 3, 1 / 2, 1 / 2]
    assert main_results.interpolated_precision(relevance, recalls)[0] == pytest.approx(expected)
    assert main_results.area_under_curve(relevance) == pytest.approx([(2 / 3 + 2 / 3 + 1 / 2) / 3])


def test_the_area_is_that_of_the_curve_of_another_library():
    rng = np.random.default_rng(2)
    relevance = rng.random((10, 25)) < 0.3
    relevance[:, 20] = True
    for row, area in zip(relevance, main_results.area_under_curve(relevance), strict=True):
        precision, recall, _ = precision_recall_curve(row, -np.arange(25))
        stairs = np.maximum.accumulate(precision[:-1])  # from the whole recall down; the last point is a convention
        assert area == pytest.approx(-np.sum(np.diff(recall) * stairs))
    assert (main_results.area_under_curve(relevance) >= average_precision(relevance) - 1e-12).all()


def test_the_area_lies_under_the_mean_curve(study):
    fine = np.linspace(0, 1, 5001)
    curves = main_results.precision_recall(study, recalls=fine, draws=1)
    areas = main_results.curve_areas(study)
    for label, records in study.items():
        assert areas.at[label, "mean"] == pytest.approx(auc(fine, curves[label]), abs=0.05)
        values = [main_results.area_under_curve(record.relevance("intention")) for record in records]
        assert areas.loc[label, ["low", "high"]].tolist() == pytest.approx(
            [100 * e for e in bootstrap_interval(values)]
        )


def test_curves_are_means_over_seeds_and_queries_under_either_match(study):
    for match in ("intention", "exact"):
        frame = main_results.precision_recall(study, match, [0.25, 1], draws=1)
        rows = [row for record in study["Random"] for row in record.relevance(match)]
        for recall in (0.25, 1):
            assert frame.at[100 * recall, "Random"] == pytest.approx(
                100 * np.mean([curve_by_loop(row, recall) for row in rows])
            )


def test_the_curve_by_chance_is_the_mean_over_all_orders(tmp_path):
    record = make_record(tmp_path / "r", np.random.default_rng(0).random((2, 5)))
    frame = main_results.precision_recall({"Random": [record]}, recalls=[0, 0.5, 1], draws=4000)
    expected = [
        np.mean(
            [curve_by_loop(o, recall) for row in record.relevance("intention") for o in itertools.permutations(row)]
        )
        for recall in (0, 0.5, 1)
    ]
    assert frame["chance"].tolist() == pytest.approx([100 * value for value in expected], abs=1)


def test_random_orders_keep_right_stickers_among_the_candidates(tmp_path):
    """The second query ranks two stickers only: the right one is first in half of the orders."""
    folder = tmp_path / "short"
    folder.mkdir()
    run = {"q1": dict.fromkeys("abcd", 0.0), "q2": dict.fromkeys("ab", 0.0)}
    qrels = {"q1": {"a"}, "q2": {"a"}}
    write_relevance(folder / "relevance.npz", run, {"intention": qrels, "exact": qrels})
    record = Record(folder, {"config": RunConfig().as_dict()})
    orders = np.array(main_results._random_orders(record, "intention", 2000, 0))
    assert not orders[:, 1, 2:].any()
    assert orders.mean(axis=0)[0].tolist() == pytest.approx([0.25] * 4, abs=0.04)
    assert orders.mean(axis=0)[1, :2].tolist() == pytest.approx([0.5] * 2, abs=0.04)


# Groups of queries


def test_groups_of_the_packaged_data_count_their_conversations():
    dataset = load_dataset()
    test = dataset.split("test").conversations
    for field in ("usage", "intention"):
        groups = main_results.query_groups(dataset, field)
        assert groups.keys() == {c.id for c in test}
        sizes = Counter(groups.values())
        for conversation in test:
            name = groups[conversation.id]
            assert name == f"{getattr(conversation, field)} ({sizes[name]})"
    assert len(set(main_results.query_groups(dataset, "usage").values())) == 2


@pytest.fixture
def groups():
    return {f"q{n:02}": "few" if n in (1, 4, 6) else "many" for n in range(QUERIES)}


def test_a_group_has_the_results_of_its_queries_alone(study, groups):
    frame = main_results.by_group(study, groups, ["hit@1", "mAP"])
    assert list(frame.index) == [(group, label) for group in ("many", "few") for label in study]
    members = [1, 4, 6]
    for label, records in study.items():
        for metric in ("hit@1", "mAP"):
            values = [METRICS[metric](record.relevance("intention")[members]) for record in records]
            row = frame.loc[("few", label), metric]
            assert row["mean"] == pytest.approx(100 * np.mean(values))
            assert row[["low", "high"]].tolist() == pytest.approx([100 * end for end in bootstrap_interval(values)])


def test_all_queries_as_one_group_are_the_results(study):
    one = dict.fromkeys([f"q{n:02}" for n in range(QUERIES)], "all")
    for match in ("intention", "exact"):
        frame = main_results.by_group(study, one, ["hit@3", "MRR"], match).loc["all"]
        pd.testing.assert_frame_equal(frame, results(study, match, ["hit@3", "MRR"]), check_names=False)


def test_means_of_groups_are_those_with_intervals(study, groups):
    frame = main_results.by_group(study, groups, ["mAP"])
    means = main_results.group_means(study, groups, "mAP")
    assert list(means.index) == ["many", "few"]
    for group, label in frame.index:
        assert means.at[group, label] == pytest.approx(frame.at[(group, label), ("mAP", "mean")])


def test_chance_of_a_group_is_that_of_its_queries(tmp_path):
    # stickers 0, 3, 6, 9 are right for q00; the intention of q01 has as many; the exact sticker is one of 12
    record = make_record(tmp_path / "r", np.zeros((2, 10)))
    frame = main_results.group_chance(record, {"q00": "a", "q01": "b"})
    assert frame["hit@1"].to_dict() == pytest.approx({"a": 40, "b": 30})  # 0, 3, 6, 9 and 1, 4, 7 of ten
    exact = main_results.group_chance(record, {"q00": "a", "q01": "b"}, "exact")
    assert exact["hit@5"].to_dict() == pytest.approx({"a": 50, "b": 50})


def test_a_query_without_a_group_is_refused(study, groups):
    del groups["q03"]
    with pytest.raises(IntraError, match=r"^query q03 is in no group$"):
        main_results.by_group(study, groups)


# Galleries


def test_the_whole_gallery_is_the_run_itself(study):
    frame = main_results.gallery_curve(study, [STICKERS], ["hit@1", "mAP"], draws=2)
    expected = results(study, metrics=["hit@1", "mAP"])
    for label in study:
        assert frame.loc[(label, STICKERS)].tolist() == pytest.approx(expected.loc[label].tolist())


def hit_by_closed_form(row, sent, size):
    """Chance that the best of the sent sticker and size - 1 others is right, summed over which right one it is."""
    others, drawn = len(row) - 1, size - 1
    total = math.comb(others - sent, drawn) / math.comb(others, drawn)  # the sent one leads if none above is drawn
    for rank in np.flatnonzero(row[:sent]):  # a better right one, and nothing above that
        total += math.comb(others - rank - 1, drawn - 1) / math.comb(others, drawn) if drawn else 0
    return total


@pytest.mark.parametrize("with_run", [False, True])
@pytest.mark.parametrize("size", [1, 3, 7])
def test_hits_in_drawn_galleries_against_the_closed_form(tmp_path, with_run, size):
    record = make_record(tmp_path / "r", np.random.default_rng(4).random((QUERIES, STICKERS)), with_run=with_run)
    relevance, sent = record.relevance("intention"), record.relevance("exact").argmax(axis=1)
    expected = np.mean([hit_by_closed_form(row, place, size) for row, place in zip(relevance, sent, strict=True)])
    frame = main_results.gallery_curve({"a": [record]}, [size], ["hit@1"], draws=2000)
    assert frame.at[("a", size), ("hit@1", "mean")] == pytest.approx(100 * expected, abs=1.2)


def test_galleries_drawn_by_name_against_rankings_cut_by_hand(tmp_path):
    """One draw: the sent sticker and those others that come first in a random order of the sorted ids."""
    scores = np.random.default_rng(5).random((QUERIES, STICKERS))
    record = make_record(tmp_path / "r", scores, with_run=True)
    numbers = np.tile(np.arange(STICKERS), (QUERIES, 1))
    order = np.random.default_rng(3).permuted(numbers, axis=1)
    run, cut, qrels = record.run(), {}, {}
    for row, (query, ranking) in enumerate(run.items()):
        sent = f"s{row % 3:02}"
        others = sorted((s for s in ranking if s != sent), key=lambda s, row=row: order[row, int(s[1:])])
        cut[query] = {s: score for s, score in ranking.items() if s == sent or s in others[:4]}
        qrels[query] = {s for s in cut[query] if int(s[1:]) % 3 == row % 3}
    expected = evaluate(cut, qrels)
    frame = main_results.gallery_curve({"a": [record]}, [5], ["hit@1", "mAP"], draws=1, seed=3)
    for metric in ("hit@1", "mAP"):
        assert frame.at[("a", 5), (metric, "mean")] == pytest.approx(100 * expected[metric].mean())


def test_by_name_all_systems_answer_the_same_galleries(tmp_path):
    """Of the sent sticker and another one, a ranking and its reverse put the sent one first in turn."""
    scores = np.random.default_rng(6).random((QUERIES, STICKERS))

    def both(with_run):
        name = "named" if with_run else "by rank"
        pair = {
            "there": [make_record(tmp_path / name / "there", scores, with_run=with_run)],
            "back": [make_record(tmp_path / name / "back", -scores, with_run=with_run)],
        }
        return main_results.gallery_curve(pair, [2], ["hit@1"], "exact", draws=25)[("hit@1", "mean")].sum()

    assert both(True) == pytest.approx(100, abs=1e-9)
    by_rank = both(False)
    assert by_rank != pytest.approx(100, abs=1e-9)  # other galleries for each system,
    assert by_rank == pytest.approx(100, abs=15)  # which come to the same on average


def test_chance_in_drawn_galleries_is_what_random_rankings_reach(tmp_path):
    rng = np.random.default_rng(7)
    records = [make_record(tmp_path / str(n), rng.random((QUERIES, STICKERS))) for n in range(300)]
    frame = main_results.gallery_curve({"Random": records}, [4, 9], ["hit@1", "mAP"], draws=5)
    chance = main_results.gallery_chance(records[0], [4, 9])
    for size, metric in itertools.product((4, 9), ("hit@1", "mAP")):
        assert frame.at[("Random", size), (metric, "mean")] == pytest.approx(chance.at[size, metric], abs=3)
    # q00 by hand: 4 of 12 are right, the sent one and of three others 3 / 11 each
    one = main_results.gallery_chance(make_record(tmp_path / "one", np.zeros((1, STICKERS))), [4], ["hit@1"])
    assert one.at[4, "hit@1"] == pytest.approx(100 * (1 + 3 * 3 / 11) / 4)


def test_galleries_larger_than_the_ranking_are_refused(study):
    with pytest.raises(IntraError, match=r"ranks 12 to 12 stickers, expected 13 or more for all$"):
        main_results.gallery_curve(study, [5, 13])


# Power


@pytest.mark.parametrize("level", [0.05, 0.05 / 40])
def test_the_smallest_detectable_difference_is_found_as_often_as_said(level):
    rng, queries = np.random.default_rng(8), 154
    mean = main_results.smallest_detectable(1.0, queries, level, 0.8)
    found = ttest_1samp(rng.normal(mean, 1, size=(4000, queries)), 0, axis=1).pvalue < level
    assert found.mean() == pytest.approx(0.8, abs=0.025)


def test_power_holds_for_differences_of_hits():
    """Differences of 1, 0 and -1, as of hit@1 with one seed."""
    rng, queries = np.random.default_rng(9), 154
    mean = main_results.smallest_detectable(0.3**0.5, queries)
    assert mean == pytest.approx(0.1237, abs=1e-4)  # (1.96 + 0.8416) * 0.5477 / 12.41
    better, worse = 0.15 + mean / 2, 0.15 - mean / 2
    values = rng.choice([1.0, 0.0, -1.0], p=[better, 0.7, worse], size=(4000, queries))
    found = ttest_1samp(values, 0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.03)


def test_detectable_differences_come_from_queries_averaged_over_seeds(study):
    frame = main_results.detectable(study, "Int-RA", ["hit@1", "mAP"])
    assert len(frame) == 6
    for label, metric in frame.index:
        one, other = (
            np.mean([METRICS[metric](record.relevance("intention")) for record in study[name]], axis=0)
            for name in (label, "Int-RA")
        )
        row = frame.loc[label, metric]
        assert row["deviation"] == pytest.approx(100 * np.std(one - other, ddof=1))
        assert row["detectable"] == pytest.approx(2.8016 * row["deviation"] / 8**0.5, rel=1e-4)
        # 0.05 / 6, two-sided: 2.638 standard errors
        assert row["first of Holm"] == pytest.approx((2.6383 + 0.8416) * row["deviation"] / 8**0.5, rel=1e-3)


def test_power_in_words():
    index = pd.MultiIndex.from_product([["A", "B", "C"], ["hit@1", "mAP"]], names=["configuration", "metric"])
    values = {"queries": 154, "detectable": [4, 1, 8, 2, 5, 3], "first of Holm": [6, 2, 9, 4, 7, 5]}
    assert main_results.power_sentences(pd.DataFrame(values, index), "X") == (
        "With 154 queries a two-sided test at 5 % has a chance of 80 % to find a true difference to X of this size: "
        "in hit@1 4.0 to 8.0 points, depending on the other system (median 5.0 over 3; 7.0 where Holm's correction for "
        "6 tests is strictest); in mAP 1.0 to 3.0 points, depending on the other system (median 2.0 over 3; 4.0 where "
        "Holm's correction for 6 tests is strictest). Those below about seven tenths of it will mostly go unseen."
    )


# The table


def test_variants_of_a_system_stand_beside_one_row_of_the_paper():
    printed = paper.systems()
    names = {
        "SRS": "SRS",
        "SRS + intention": "SRS",
        "CLIP zero-shot": "CLIP",
        "CLIP adapters + intention": "CLIP",
        "Llama 3": "Llama3",
        "Int-RA": "Int-RA",
        "Int-RA+": None,
        "BM25": None,
    }
    assert {label: main_results.printed_row(label, printed) for label in names} == names


def test_the_full_table_has_every_row_of_the_study_and_of_the_paper(study):
    frame = main_results.full_table(study, paper.systems(), ["hit@1", "MRR"])
    assert list(frame.columns) == [("hit@1", "here"), ("hit@1", "paper, another data set"), ("MRR", "here")]
    groups = frame.index.unique("group")
    assert {group: list(frame.loc[group].index) for group in groups} == {
        "controls": ["Random"],
        "retrieval systems": ["SRS + intention", "CLIP zero-shot", "MOD", "IRRA", "PCME", "LGUR"],
        "language models": ["LLaVA", "Qwen-VL", "Qwen2", "Baichuan2", "Llama3", "ChatGLM3"],
        "ours": ["Int-RA"],
    }
    row = results(study, metrics=["hit@1"]).loc["Int-RA", "hit@1"]
    ours = f"{row['mean']:.1f} [{row['low']:.1f}, {row['high']:.1f}]"
    assert frame.loc[("ours", "Int-RA")].tolist()[:2] == [ours, "18.13"]
    assert frame.loc[("controls", "Random")].iloc[1] == "not printed"
    assert frame.loc[("retrieval systems", "CLIP zero-shot")].iloc[1] == "5.12"
    assert frame.loc[("language models", "Llama3")].tolist() == ["not run here", "15.58", "not run here"]


def test_under_exact_match_nothing_of_the_paper_stands_beside(study):
    frame = main_results.full_table(study, paper.systems(), ["hit@1"], "exact")
    assert list(frame.columns) == [("hit@1", "here")]
    assert set(frame.index.get_level_values("system")) == set(study)


def test_the_ablations_of_the_paper_are_left_to_their_page(study):
    frame = main_results.full_table(study, paper.systems(), ["mAP"])
    assert not [label for label in frame.index.get_level_values("system") if label.startswith("w/o")]


def test_differences_in_words_say_what_was_found():
    index = pd.MultiIndex.from_product([["A", "B"], ["hit@1", "mAP"]], names=["configuration", "metric"])
    values = [[5, 1, 9, 0.001, 0.004], [2, -1, 5, 0.2, 0.4], [-4, -6, -2, 0.01, 0.03], [-3, -5, -1, 0.03, 0.06]]
    frame = main_results.versus(pd.DataFrame(values, index, ["difference", "low", "high", "p", "p_holm"]))
    assert list(frame.columns) == list(itertools.product(["hit@1", "mAP"], ["points", "Holm p", "found"]))
    assert frame.loc["A"].tolist() == ["+5.0 [+1.0, +9.0]", "0.004", "above", "+2.0 [-1.0, +5.0]", "0.400", ""]
    assert frame.loc["B", "hit@1"].tolist() == ["-4.0 [-6.0, -2.0]", "0.030", "below"]
    assert frame.loc["B", ("mAP", "found")] == ""  # its interval leaves out 0, its corrected p is not small


def test_differences_over_all_rows_and_metrics_share_one_correction(study):
    answer = differences(study, "Int-RA")
    frame = main_results.versus(answer)
    assert list(frame.index) == ["Random", "SRS + intention", "CLIP zero-shot"]
    assert frame["mAP", "Holm p"].tolist() == [f"{p:.3f}" for p in answer.xs("mAP", level="metric")["p_holm"]]


def test_links_name_the_files_that_the_build_copies(study):
    lines = main_results.run_links(study).split("\n")
    files = [re.search('href="../runs/([^"]+)"', line)[1] for line in lines]
    assert files[: len(study)] == list(map(main_results.run_file, study))
    assert files[len(study) :] == ["intention.qrels", "exact.qrels"]


def test_names_of_run_files_can_stand_in_addresses():
    assert main_results.run_file("e5 cosine, context") == "e5-cosine-context.run.gz"
    assert main_results.run_file("Int-RA+") == "int-ra-plus.run.gz" != main_results.run_file("Int-RA")
    files = set(map(main_results.run_file, STUDIES["main"].configurations))
    assert len(files) == len(STUDIES["main"].configurations)


def test_ties_go_by_id(tmp_path):
    kept = [make_record(tmp_path / "x", np.zeros((2, 3)))]
    assert hit_at(kept[0].relevance("exact"), 1).tolist() == [1, 0]  # ties go by id
