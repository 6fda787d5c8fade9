"""Values of the paper, against what its pages print and what was read off them independently."""

import itertools

from intra import paper
from intra.config import ATTRIBUTE_KEYS
from intra.paper import _tables


def test_ablations_are_the_four_rows_of_table_two():
    frame = paper.ablations()
    assert list(frame.index) == ["Int-RA", "w/o attribute", "w/o intention", "w/o knowledge"]
    assert frame.loc["w/o attribute"].to_dict() == {"hit@1": 17.5, "hit@3": 35.0, "hit@5": 46.87, "mAP": 44.85}
    for model in frame.index:
        assert frame.loc[model].tolist() == paper.systems().loc[model].drop("group").tolist()


def test_all_systems_are_the_rows_of_table_two_in_its_groups():
    frame = paper.systems()
    assert list(frame.columns) == ["hit@1", "hit@3", "hit@5", "mAP", "group"]
    assert frame.groupby("group", sort=False).size().to_dict() == {
        "Sticker retrieval methods": 2,
        "Text-to-image retrieval": 4,
        "Large language models": 6,
        "Ablation study": 4,
    }
    assert frame.loc["PCME"].tolist() == [3.84, 11.53, 19.23, 11.4, "Text-to-image retrieval"]
    assert frame.loc[list(paper.ablations().index)].drop(columns="group").equals(paper.ablations())


def test_differences_to_the_full_model_are_those_that_were_noted_by_hand():
    frame = paper.ablations()
    for model, noted in _tables()["text_claims"]["table_differences_full_minus_ablation"].items():
        falls = (frame.loc["Int-RA"] - frame.loc[model]).round(2).to_dict()
        assert falls == {paper.METRIC_NAMES[name]: value for name, value in noted.items()}


def test_table_three_prints_all_sets_of_attributes_but_one():
    frame = paper.table_three()
    sets = {"".join(keys) for count in (1, 2, 3, 4) for keys in itertools.combinations(ATTRIBUTE_KEYS, count)}
    assert len(frame) == 14 and sets - set(frame.index) == {"GFV"}
    assert frame.loc["PF"].to_dict() == {"hit@1": 13.13, "hit@3": 29.38, "hit@5": 42.5, "mAP": 44.82}
    assert frame.loc[ATTRIBUTE_KEYS].equals(paper.ablations().loc["Int-RA"].rename(ATTRIBUTE_KEYS))


def test_values_are_the_printed_ones():
    for table in ("table_II", "table_III"):
        for row in _tables()[table]["rows"]:
            assert {name: float(text) for name, text in row["printed"].items()} == row["value"]


def test_what_the_text_says():
    assert paper.without_intention() == {"mAP": 0.62, "hit@5": 14.01}
    assert paper.best_window() == 6
