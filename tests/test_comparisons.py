"""Effects, verdicts and sentences against plain loops, other libraries and cases worked by hand."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import permutation_test, spearmanr

from intra import comparisons, paper
from intra.claims import FAILS, HOLDS, UNDECIDED
from intra.data import Conversation, Dataset, Utterance
from intra.errors import IntraError
from intra.evaluation import bootstrap_interval
from intra.metrics import METRICS
from intra.records import Record
from intra.study import study_configs
from intra.tables import differences, results

RNG = np.random.default_rng(0)


def make_record(folder, config, relevance, candidates=None):
    """A record of ranked lists that are right where `relevance` is true."""
    folder.mkdir(parents=True)
    queries = np.array([f"c{n}" for n in range(len(relevance))])
    candidates = np.full(len(relevance), relevance.shape[1]) if candidates is None else candidates
    np.savez(folder / "relevance.npz", queries=queries, candidates=candidates, intention=relevance, exact=relevance)
    return Record(folder, {"config": config.as_dict(), "selection": {"value": relevance.mean()}})


def random_relevance(queries=6, gallery=5):
    relevance = RNG.random((queries, gallery)) < 0.4
    relevance[:, -1] |= ~relevance.any(axis=1)
    return relevance


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """The studies of the pages with two seeds of random ranked lists."""
    folder, made = tmp_path_factory.mktemp("records"), {}
    for name in ("main", "ablations", "attributes", "window"):
        configs = study_configs(name, "smoke", [0, 1])
        made[name] = {
            label: [make_record(folder / name / label / str(c.seed), c, random_relevance()) for c in own]
            for label, own in configs.items()
        }
    return made


def values(study, label, metric):
    """Per-query values, one row a seed."""
    return np.array([METRICS[metric](record.relevance("intention")) for record in study[label]])


# Parts of configurations


def test_parts_are_those_that_a_label_does_not_take_away(studies):
    sets = comparisons.component_sets(studies["ablations"])
    parts = ("attribute", "intention", "knowledge")
    assert sets.pop("Int-RA") == parts
    assert len(sets) == 7
    for label, own in sets.items():
        assert own == tuple(part for part in parts if part not in label.removeprefix("w/o ").split(", "))


def test_attributes_are_those_of_the_letters(studies):
    sets = comparisons.attribute_sets(studies["attributes"])
    names = {"G": "gesture", "P": "posture", "F": "facial expression", "V": "verbal"}
    assert sets.pop("none") == ()
    assert sets == {label: tuple(names[letter] for letter in label) for label in sets}
    assert len(sets) == 15


# Beside results


def test_chance_counts_each_query_with_its_own_candidates(tmp_path):
    config = study_configs("main", "smoke", [0])["Int-RA"][0]
    relevance = np.array([[0, 0, 0, 1], [1, 1, 0, 0]], bool)
    study = {"Int-RA": [make_record(tmp_path / "r", config, relevance, np.array([4, 2]))]}
    exact = comparisons.chance(study)
    assert exact["hit@1"] == pytest.approx(100 * (1 / 4 + 1) / 2)
    # one right sticker in four: AP is 1, 1/2, 1/3 or 1/4, each with chance 1/4
    assert exact["mAP"] == pytest.approx(100 * ((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4 + 1) / 2)


def test_yardsticks_close_a_table(studies):
    frame = comparisons.yardsticks(studies["main"], ["hit@1", "mAP"])
    assert list(frame.index) == ["Chance (exact)", "Majority intention", "Oracle intention"]
    assert frame.loc["Chance (exact)", "mAP"] == f"{comparisons.chance(studies['main'])['mAP']:.1f}"
    mean = 100 * values(studies["main"], "Oracle intention", "hit@1").mean()
    assert frame.loc["Oracle intention", "hit@1"].startswith(f"{mean:.1f} [")


def test_ours_stand_beside_what_is_printed():
    columns = pd.MultiIndex.from_product([["hit@1", "mAP"], ["mean", "low", "high"]])
    ours = pd.DataFrame([[31.25, 25, 37, 5, 4, 6], [1, 0, 2, 3.06, 2, 4]], ["b", "a"], columns)
    frame = comparisons.beside_printed(ours, pd.DataFrame({"mAP": [53.4], "hit@1": [18.13]}, ["a"]), ["hit@1", "mAP"])
    assert frame.loc["a"].tolist() == ["1.0", "18.13", "3.1", "53.40"]
    assert frame.loc["b"].tolist() == ["31.2", "not printed", "5.0", "not printed"]
    assert list(frame.columns) == [(m, where) for m in ("hit@1", "mAP") for where in ("here", "paper")]


def test_all_printed_sets_of_attributes_are_ours(studies):
    printed = comparisons.printed_attribute_sets()
    assert set(studies["attributes"]) - set(printed.index) == {"GFV"}
    assert len(printed) == 15
    assert printed.loc["none"].tolist() == paper.systems().loc["w/o attribute"].drop("group").tolist()


# Verdicts


def rows(*cells):
    """A frame of differences in one metric from (difference, low, high, corrected p)."""
    index = pd.MultiIndex.from_tuples([(f"c{n}", "mAP") for n in range(len(cells))], names=["configuration", "metric"])
    return pd.DataFrame(list(cells), index, ["difference", "low", "high", "p_holm"], dtype=float)


ABOVE, BELOW, NONE = (2, 1, 3, 0.01), (-2, -3, -1, 0.01), (0.5, -1, 2, 0.9)
ONLY_INTERVAL, ONLY_P = (2, 1, 3, 0.05), (2, -0.1, 3, 0.01)


def test_found_needs_the_interval_and_the_corrected_p():
    frame = rows(ABOVE, BELOW, NONE, ONLY_INTERVAL, ONLY_P)
    assert comparisons.found(frame).tolist() == ["above", "below", "", "", ""]


@pytest.mark.parametrize(
    ("cells", "above", "below"),
    [
        ([ABOVE], HOLDS, FAILS),
        ([BELOW, BELOW], FAILS, HOLDS),
        ([ABOVE, NONE], UNDECIDED, FAILS),
        ([ABOVE, ONLY_INTERVAL], UNDECIDED, FAILS),
        ([ONLY_INTERVAL], UNDECIDED, UNDECIDED),
        ([ONLY_P], UNDECIDED, UNDECIDED),
        ([ABOVE, BELOW], FAILS, FAILS),
        ([], UNDECIDED, UNDECIDED),
    ],
)
def test_verdicts_worked_by_hand(cells, above, below):
    frame = rows(*cells) if cells else rows(ABOVE).iloc[:0]
    assert comparisons.verdict(frame, "above") == above
    assert comparisons.verdict(frame, "below") == below


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([HOLDS, HOLDS], HOLDS),
        ([HOLDS, UNDECIDED], UNDECIDED),
        ([UNDECIDED, HOLDS, FAILS], FAILS),
        ([], UNDECIDED),
    ],
)
def test_a_claim_of_parts_is_as_good_as_its_worst_part(verdicts, expected):
    assert comparisons.overall(verdicts) == expected


def test_differences_as_text():
    frame = rows(ABOVE, (-0.04, -3.26, 1, 1))
    assert comparisons.difference_cells(frame)["mAP"].to_numpy().tolist() == [
        ["+2.0 [+1.0, +3.0]", "0.010"],
        ["+0.0 [-3.3, +1.0]", "1.000"],
    ]


# Effects


def test_average_effects_are_means_over_all_pairs(studies):
    study, parts = studies["attributes"], ("gesture", "posture", "facial expression", "verbal")
    sets = comparisons.attribute_sets(study)
    frame = comparisons.average_effects(study, sets, ["hit@1", "mAP"])
    labels = {own: label for label, own in sets.items()}
    pooled = []
    for part in parts:
        pairs = [(own, tuple(p for p in own if p != part)) for own in labels if part in own]
        assert len(pairs) == 8
        effect = [values(study, labels[more], "mAP") - values(study, labels[less], "mAP") for more, less in pairs]
        effect = sum(effect) / 8
        pooled.append(effect)
        row = frame.loc[part, "mAP"]
        assert row["difference"] == pytest.approx(100 * effect.mean())
        assert [row["low"], row["high"]] == pytest.approx([100 * end for end in bootstrap_interval(list(effect))])
    low, high = bootstrap_interval(list(sum(pooled) / 4))
    assert frame.loc[comparisons.ONE_MORE, "mAP"][["low", "high"]].tolist() == pytest.approx([100 * low, 100 * high])
    assert list(frame.index.unique("configuration")) == [*parts, comparisons.ONE_MORE]


def test_one_more_part_is_the_slope_on_their_number(studies):
    for study, sets in (
        (studies["attributes"], comparisons.attribute_sets(studies["attributes"])),
        (studies["ablations"], comparisons.component_sets(studies["ablations"])),
    ):
        frame = comparisons.average_effects(study, sets, ["mAP"])
        means = [100 * values(study, label, "mAP").mean() for label in study]
        slope, _ = np.polyfit([len(sets[label]) for label in study], means, 1)
        assert frame.loc[(comparisons.ONE_MORE, "mAP"), "difference"] == pytest.approx(slope)


def test_effects_of_one_pair_are_its_difference(studies):
    pair = {label: studies["ablations"][label] for label in ("Int-RA", "w/o knowledge")}
    sets = {"Int-RA": ("knowledge",), "w/o knowledge": ()}
    effect = comparisons.average_effects(pair, sets).xs("knowledge", drop_level=False)
    plain = differences(pair, "w/o knowledge")
    columns = ["difference", "low", "high", "p"]
    assert effect[columns].to_numpy() == pytest.approx(plain[columns].to_numpy())


def test_a_study_that_lacks_a_set_or_mixes_runs_is_refused(studies, tmp_path):
    study = dict(studies["ablations"])
    sets = comparisons.component_sets(study)
    less = {label: records for label, records in study.items() if label != "w/o intention"}
    with pytest.raises(IntraError, match="7 sets of attribute, intention, knowledge, expected all 8"):
        comparisons.average_effects(less, {label: sets[label] for label in less})
    with pytest.raises(IntraError, match=r"'w/o intention' has the seeds \[0\], 'Int-RA' \[0, 1\]"):
        comparisons.average_effects(study | {"w/o intention": study["w/o intention"][:1]}, sets)
    other = [make_record(tmp_path / str(r.seed), r.config, random_relevance(7)) for r in study["w/o intention"]]
    with pytest.raises(IntraError, match="'w/o intention' was evaluated on other queries than 'Int-RA'"):
        comparisons.average_effects(study | {"w/o intention": other}, sets)


def test_sizes_pool_the_sets_of_equally_many_parts(studies):
    study = studies["attributes"]
    frame = comparisons.by_size(study, comparisons.attribute_sets(study))
    assert list(frame.index) == [0, 1, 2, 3, 4]
    plain = results(study, metrics=["mAP"])
    pd.testing.assert_series_equal(frame.loc[4, "mAP"], plain.loc["GPFV", "mAP"], check_names=False)
    for size, labels in {1: "GPFV", 3: ("GPF", "GPV", "GFV", "PFV")}.items():
        pooled = np.mean([values(study, label, "mAP") for label in labels], axis=0)
        low, high = bootstrap_interval(list(pooled))
        assert frame.loc[size, "mAP"].tolist() == pytest.approx([100 * pooled.mean(), 100 * low, 100 * high])


def test_steps_count_what_one_more_part_does(studies):
    means = pd.DataFrame({"a": [1, 2, 0.5, 2], "b": [1, 1, 1, 0.1 + 0.9]}, ["none", "x", "y", "xy"])
    sets = {"none": (), "x": ("x",), "y": ("y",), "xy": ("x", "y"), "z": ("z",)}
    counted = comparisons.steps(means, sets)
    assert counted.loc["a"].to_dict() == {"pairs": 4, "rise": 2, "equal": 1, "fall": 1}
    assert counted.loc["b"].to_dict() == {"pairs": 4, "rise": 0, "equal": 4, "fall": 0}
    # of the printed table alone, counted before by hand
    found = comparisons.steps(paper.table_three(), comparisons.attribute_sets(studies["attributes"]))
    assert found["pairs"].tolist() == [24] * 4
    assert found["fall"][["hit@3", "hit@5"]].tolist() == [8, 7]


# Orders


def study_of(tmp_path, ranks, seeds=2):
    """Configurations whose only right sticker stands at one rank for all queries."""
    configs = study_configs("attributes", "smoke", range(seeds))
    made = {}
    for label, rank in ranks.items():
        relevance = np.arange(8) == np.full((5, 1), rank - 1)
        made[label] = [make_record(tmp_path / label / str(c.seed), c, relevance) for c in configs[label]]
    return made


def test_the_same_order_correlates_fully(tmp_path):
    study = study_of(tmp_path, {"G": 3, "P": 1, "F": 8, "V": 5, "GFV": 2})
    printed = pd.DataFrame({"mAP": [3, 9, 1, 2], "hit@1": [4, 3, 2, 1]}, ["G", "P", "F", "V"])
    row = comparisons.rank_correlation(study, printed).loc["mAP"]
    assert row.drop("p").tolist() == pytest.approx([4, 1, 1, 1])  # without noise the interval is a point
    assert row["p"] == pytest.approx(2 / 24, abs=0.03)  # of 24 orders one is the same and one the reverse
    # hit@1 is 100 for P alone: three ties and one above
    hit = comparisons.rank_correlation(study, printed).loc["hit@1", "rho"]
    assert hit == pytest.approx(spearmanr([0, 100, 0, 0], [4, 3, 2, 1]).statistic)
    reverse = comparisons.rank_correlation(study, -printed).loc["mAP"]
    assert reverse[["rho", "low", "high"]].tolist() == pytest.approx([-1] * 3)


def test_an_order_without_differences_agrees_with_nothing(tmp_path):
    study = study_of(tmp_path, {"G": 3, "P": 3, "F": 3})
    printed = pd.DataFrame({"mAP": [3, 9, 1]}, ["G", "P", "F"])
    assert comparisons.rank_correlation(study, printed, ["mAP"]).loc["mAP"].tolist() == [3, 0, 0, 0, 1]


def test_rank_correlation_is_that_of_scipy(studies):
    study, printed = studies["attributes"], comparisons.printed_attribute_sets()
    row = comparisons.rank_correlation(study, printed, ["mAP"]).loc["mAP"]
    means = [values(study, label, "mAP").mean() for label in study if label != "GFV"]
    theirs = [printed.loc[label, "mAP"] for label in study if label != "GFV"]
    assert row["sets"] == 15
    assert row["rho"] == pytest.approx(spearmanr(means, theirs).statistic)
    tested = permutation_test(
        (means,), lambda x: spearmanr(x, theirs).statistic, permutation_type="pairings", n_resamples=2000, rng=0
    )
    assert row["p"] == pytest.approx(tested.pvalue, abs=0.04)
    # other draws of seeds and queries, one by one
    rng, drawn = np.random.default_rng(1), []
    per_query = np.array([values(study, label, "mAP") for label in study if label != "GFV"])
    for _ in range(500):
        seeds, queries = rng.integers(2, size=2), rng.integers(6, size=6)
        drawn.append(spearmanr(per_query[:, seeds][:, :, queries].mean(axis=(1, 2)), theirs).statistic)
    assert [row["low"], row["high"]] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.08)


def test_means_that_differ_in_their_last_digits_share_a_rank():
    assert 0.1 + 0.2 != 0.3
    rho = comparisons.spearman(np.array([[0.1 + 0.2, 0.3, 1]]), np.array([1, 2, 3]))
    assert rho == pytest.approx(spearmanr([0.3, 0.3, 1], [1, 2, 3]).statistic)


# Windows


def test_validation_scores_are_those_of_the_selection(studies):
    frame = comparisons.validation_scores(studies["window"])
    assert list(frame.index) == [str(window) for window in range(2, 11)] and list(frame.columns) == [0, 1]
    record = studies["window"]["7"][1]
    assert frame.loc["7", 1] == pytest.approx(100 * record.relevance("intention").mean())


def test_the_reach_of_a_window_worked_by_hand():
    def conversation(number, length, cue, split="test"):
        utterances = (Utterance("a", "x"),) * length
        return Conversation(f"c{number}", split, utterances, "a", "reply", "s1", "joy", cue=cue)

    made = [conversation(1, 2, 2), conversation(2, 4, 1), conversation(3, 6, 5), conversation(4, 3, None)]
    dataset = Dataset("toy", "1", (*made, conversation(5, 9, 9, "train")), (), ("joy",))
    frame = comparisons.window_reach(dataset, [2, 3, 4, 7])
    # the reasons stand 1, 4 and 2 utterances before the sticker
    assert frame.loc[2].tolist() == [0, 1, 3, 2, 3]
    assert frame.loc[3].tolist() == [1, 1, 2, 2, 3]
    assert frame.loc[4].tolist() == [2, 1, 1, 3, 3]
    assert frame.loc[7].tolist() == [4, 0, 0, 3, 3]


# Sentences


def test_sentences_name_what_is_found():
    frame = rows(ABOVE, BELOW, NONE, (-3, -4, -2, 0.001))
    assert comparisons.found_sentences(frame, "Int-RA") == (
        "In mAP, found below Int-RA: 'c1' (-2.0), 'c3' (-3.0); above: 'c0' (+2.0); "
        "1 of 4 cannot be told from it at this size."
    )
    nothing = "In mAP, found below 6 utterances: nothing; above: nothing; 1 of 1 cannot be told"
    assert comparisons.found_sentences(rows(NONE), "6 utterances").startswith(nothing)


def test_the_costliest_part_is_named_here_and_in_the_paper():
    frame = rows(NONE, BELOW, ABOVE, (-9, -10, -8, 0.001))
    labels = ["w/o attribute", "w/o intention", "w/o knowledge", "w/o attribute, knowledge"]
    frame.index = pd.MultiIndex.from_product([labels, ["mAP"]], names=frame.index.names)
    assert comparisons.costliest_sentence(frame) == (
        "Of the parts taken away alone, 'w/o intention' has the lowest mAP here (-2.0 points [-3.0, -1.0]); "
        "in the paper's table it is 'w/o knowledge' (-14.01), by its text 'w/o intention'."
    )


def test_the_paper_is_held_against_itself():
    # the audit of the printed numbers, done by hand before
    assert comparisons.printed_ablation_sentences() == (
        "The text says that every ablation is worse under all metrics. Of the 12 differences in the table, 9 lie below "
        "0, 1 at 0 and 2 above ('w/o attribute' in hit@5 and 'w/o intention' in hit@5). The text says that without "
        "intention the results fall (mAP by 0.62, hit@5 by 14.01); the table prints mAP -9.62, hit@5 +1.25. "
        "The numbers of the text are those of 'w/o knowledge' in hit@5 and 'w/o knowledge' in mAP."
    )


def test_the_choice_of_a_window_is_told_with_what_it_gives_on_test():
    columns = pd.MultiIndex.from_product([["hit@1", "mAP"], ["mean", "low", "high"]])
    ours = pd.DataFrame([[9, 8, 10, 12.25, 11, 13], [9, 8, 10, 14.06, 11, 15]], ["2", "3"], columns)
    validation = pd.DataFrame({0: [20, 19], 1: [18, 18.5]}, ["2", "3"])
    assert comparisons.window_sentences(ours, validation) == (
        "Validation mAP, averaged over seeds, is highest with 2 utterances (19.0 %); seed by seed it is highest with "
        "2, 3. On test, 2 utterances give 12.2 % mAP; the highest, which nobody may choose by, is 14.1 % with 3. "
        "The paper's best is 6."
    )


def test_every_pair_of_printed_sets_is_compared_once(studies):
    sets = comparisons.attribute_sets(studies["attributes"])
    pairs = [
        (one, other)
        for one, other in itertools.permutations(comparisons.printed_attribute_sets().index, 2)
        if set(sets[one]) < set(sets[other]) and len(sets[other]) == len(sets[one]) + 1
    ]
    counted = comparisons.steps(comparisons.printed_attribute_sets(), sets)
    assert set(counted["pairs"]) == {len(pairs)}
    printed = comparisons.printed_attribute_sets()["mAP"]
    assert counted.loc["mAP", "rise"] == sum(printed[other] > printed[one] for one, other in pairs)
