"""What deviations are worth: texts against rows written by hand, rules of scoring against cases worked by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from intra import deviations
from intra.config import RunConfig
from intra.data import Conversation, Dataset, Sticker, Utterance
from intra.data.intentions import INTENTIONS
from intra.errors import IntraError
from intra.evaluation import make_qrels, write_run
from intra.records import Record, write_relevance


def rows(*cells):
    """Differences as `tables.differences` gives them, of (configuration, metric, difference, low, high, p)."""
    index = pd.MultiIndex.from_tuples([cell[:2] for cell in cells], names=["configuration", "metric"])
    return pd.DataFrame([cell[2:] for cell in cells], index, ["difference", "low", "high", "p_holm"])


def test_effects_say_metric_points_interval_and_what_is_found():
    found = rows(
        ("query: teacher", "hit@1", 3.06, 0.04, 7.0, 0.744),
        ("query: teacher", "mAP", 2.5, 0.7, 4.5, 0.010),
        ("w/o intention", "hit@1", -8.8, -13.5, -4.3, 0.001),
    )
    assert deviations.effects(found) == {
        "effect_query_teacher": "hit@1 +3.1 [+0.0, +7.0], mAP +2.5* [+0.7, +4.5]",
        "effect_w_o_intention": "hit@1 -8.8* [-13.5, -4.3]",
    }


def test_an_effect_has_one_value():
    row = ("as released", "mAP", -8.9, -11.9, -5.8, 0.001)
    with pytest.raises(IntraError, match=r"as released.* is compared twice"):
        deviations.effects(rows(row, row))


def test_what_is_reached_stands_beside_chance():
    above = pd.DataFrame(
        {"mean": [21.36, 22.51], "chance": [4.3, 4.94]},
        pd.MultiIndex.from_product([["gallery: all (another task)"], ["hit@1", "mAP"]]),
    )
    expected = {"reached_gallery_all_another_task": "hit@1 21.4 (chance 4.3), mAP 22.5 (chance 4.9)"}
    assert deviations.reached(above) == expected


def test_learning_rates_are_told_from_the_slowest_with_their_mean():
    def selected(rate, value):
        return Record(Path(), {"config": RunConfig(learning_rate=rate).as_dict(), "selection": {"value": value}})

    tuning = {"b": [selected(0.003, 0.18)], "a": [selected(0.0003, 0.19), selected(0.0003, 0.2)]}
    assert deviations.selected_by_rate(tuning) == "19.5 at 0.0003, 18.0 at 0.003"


# Rules of scoring


def dataset(intentions, stickers, asked):
    """A test split; each query is (intention, sticker that was sent, number of utterances)."""
    said = Utterance("ann", "去吗")
    conversations = tuple(
        Conversation(f"c{n}", "test", (said,) * length, "bob", "reply", sticker, intention)
        for n, (intention, sticker, length) in enumerate(asked)
    )
    pictures = tuple(Sticker(name, ("test",), Path("none.webp")) for name in stickers)
    return Dataset("toy", "1", conversations, pictures, tuple(intentions))


def ranked(folder, data, rankings, **changes):
    """A record of one seed with its ranked lists."""
    folder.mkdir(parents=True)
    run = {f"c{n}": {name: -float(rank) for rank, name in enumerate(order)} for n, order in enumerate(rankings)}
    write_run(folder / "test.run.gz", run, "toy")
    qrels = {match: make_qrels(data, "test", match) for match in ("intention", "exact")}
    write_relevance(folder / "relevance.npz", run, qrels)
    return Record(folder, {"config": RunConfig(**changes).as_dict()})


@pytest.fixture
def three(tmp_path):
    """Three queries of two intentions and four stickers, two seeds, window 2."""
    asked = [("joy", "s1", 2), ("joy", "s2", 3), ("love", "s3", 2), ("love", "s4", 5)]
    data = dataset(["joy", "love"], ["s1", "s2", "s3", "s4"], asked)
    first = [["s1", "s2", "s3", "s4"], ["s1", "s2", "s3", "s4"], ["s1", "s3", "s4", "s2"], ["s3", "s4", "s1", "s2"]]
    second = [["s2", "s1", "s3", "s4"], *first[1:]]
    records = [ranked(tmp_path / str(n), data, own, window=2) for n, own in enumerate((first, second))]
    return records, data


def test_rules_of_scoring_worked_by_hand(three):
    rules = deviations.scoring_rules(*three, filled=(6,))
    # the first stickers show the intention for c0, c1 and c3; the sticker that was sent stands first in c0 of one seed
    assert rules.loc["hit@1"].tolist() == [4, 75, 50]
    # c0 and c1 count twice: 5 of 6
    assert rules.loc["hit@1, filled to 6"].tolist() == pytest.approx([6, 500 / 6, 50])
    # c0 and c2 have two utterances
    assert rules.loc["hit@1, exactly 2 utterances"].tolist() == [2, 50, 50]
    assert rules.loc["hit@1, sticker sent"].tolist() == [4, 12.5, 25]
    # all four stickers are among the first five, two of them right
    assert rules.loc["hit@5"].tolist() == [4, 100, 100]
    assert rules.loc["precision@5"].tolist() == pytest.approx([4, 40, 40])


def test_numbers_of_one_character_are_whole_labels(three):
    """With ten intentions or fewer nothing is cut off, whatever the numbering."""
    rules = deviations.scoring_rules(*three)
    assert rules.loc["hit@1, first character"].tolist() == pytest.approx(rules.loc["hit@1"].tolist())


def test_first_characters_of_28_numbers(tmp_path):
    """Against the exact expectation over numberings.

    A right first sticker still counts if its number is one of 10 below 10. A wrong one counts for 10 + 8 of 28 x 27
    ordered pairs: a query of number 1 with a sticker of 10 to 19, and one of 2 with 20 to 27.
    """
    names = list(INTENTIONS)
    stickers = [f"s{n:02}" for n in range(28)]
    data = dataset(names, stickers, [(name, sticker, 1) for name, sticker in zip(names, stickers, strict=True)])
    right = [[own, *(other for other in stickers if other != own)] for own in stickers]
    wrong = [order[1:] + order[:1] for order in right]
    mixed = ranked(tmp_path / "run", data, right[:14] + wrong[14:])
    score, chance = deviations.first_characters([mixed], data.split("test"))
    kept, taken = 10 / 28, 18 / (28 * 27)
    assert score[:14].mean() == pytest.approx(kept, abs=0.02)
    assert score[14:].mean() == pytest.approx(taken, abs=0.01)
    assert chance.mean() == pytest.approx((kept + 27 * taken) / 28, abs=1e-9)  # the same for every numbering
    again = deviations.first_characters([mixed], replace(data.split("test")))
    assert np.array_equal(score, again[0])


def test_rules_as_text():
    rules = pd.DataFrame({"queries": [160], "score": [13.37], "chance": [4.04]}, ["hit@1, filled to 160"])
    assert deviations.scored(rules) == {"rule_hit_1_filled_to_160": "13.4 (chance 4.0)"}
