"""The verdict on a fresh run, against cases worked by hand, and the page that tells it."""

import re
from pathlib import Path

import pytest

from intra.agreement import OUTSIDE, SAME, WITHIN, agreement
from intra.config import RunConfig
from intra.records import Record
from intra.status import costs, status_page


def record(system, seed, value):
    metrics = {"intention": {"mAP": value}, "exact": {"mAP": 0.9}}  # the exact match is not what is compared
    return Record(Path("run"), {"config": RunConfig(system=system, seed=seed).as_dict(), "metrics": metrics})


# mean 0.30, standard deviation 0.02 (deviations of -0.02, 0, 0.02 and their root mean square 0.01633)
REFERENCE = {"Int-RA": [record("int_ra", seed, value) for seed, value in enumerate([0.28, 0.30, 0.32])]}


def fresh(*values):
    return {"Int-RA": [record("int_ra", seed, value) for seed, value in values]}


def verdict(*values):
    return agreement(REFERENCE, fresh(*values)).loc["Int-RA", "verdict"]


def test_verdicts_worked_by_hand():
    # two deviations around the mean: 0.30 +- 0.03266, so 0.26734 to 0.33266
    assert verdict((0, 0.28)) == SAME
    assert verdict((0, 0.28 + 5e-7)) == SAME
    assert verdict((0, 0.2801)) == WITHIN
    assert verdict((0, 0.268)) == verdict((2, 0.332)) == WITHIN
    assert verdict((0, 0.267)) == verdict((2, 0.333)) == OUTSIDE
    # the value of another seed is no repetition of this one
    assert verdict((0, 0.30)) == WITHIN
    # a seed that the reference lacks
    assert verdict((7, 0.31)) == WITHIN
    assert verdict((7, 0.40)) == OUTSIDE


def test_the_worst_verdict_counts():
    assert verdict((0, 0.28), (1, 0.30)) == SAME
    assert verdict((0, 0.28), (1, 0.31)) == WITHIN
    assert verdict((0, 0.28), (1, 0.31), (2, 0.40)) == OUTSIDE


def test_the_row_tells_means_in_percent():
    row = agreement(REFERENCE, fresh((0, 0.28), (1, 0.31))).loc["Int-RA"]
    assert row["fresh runs"] == 2
    assert row["reference mAP"] == "30.00 ± 1.63"
    assert row["fresh mAP"] == "29.50"


def test_configurations_that_only_one_side_holds_are_left_out():
    both = agreement(
        REFERENCE | {"Oracle intention": [record("oracle", 0, 1.0)]},
        {"Random": [record("random", 0, 0.1)]} | fresh((0, 0.28)),
    )
    assert list(both.index) == ["Int-RA"]
    assert agreement(REFERENCE, {}).empty


def test_configurations_are_told_apart_by_their_label():
    """Those of one system, too: each is compared with itself."""
    windows = {
        f"{window}": [
            Record(
                Path("run"),
                {
                    "config": RunConfig(window=window, seed=seed).as_dict(),
                    "metrics": {"intention": {"mAP": window / 10 + seed / 100}},
                },
            )
            for seed in (0, 1)
        ]
        for window in (2, 3)
    }
    found = agreement(windows, {"3": windows["3"][:1], "2": windows["2"]})
    assert found["reference mAP"].to_dict() == {"2": "20.50 ± 0.50", "3": "30.50 ± 0.50"}
    assert found["fresh mAP"].to_dict() == {"2": "20.50", "3": "30.00"}
    assert set(found["verdict"]) == {SAME}


def test_one_reference_run_leaves_no_room():
    one = {"Oracle intention": [record("oracle", 0, 0.75)]}
    assert agreement(one, one).loc["Oracle intention", "verdict"] == SAME
    other = {"Oracle intention": [record("oracle", 0, 0.7501)]}
    assert agreement(one, other).loc["Oracle intention", "verdict"] == OUTSIDE


def test_another_config_is_not_the_same_run():
    other = RunConfig(system="int_ra", seed=0, window=3)
    one = Record(Path("run"), {"config": other.as_dict(), "metrics": {"intention": {"mAP": 0.28}}})
    assert agreement(REFERENCE, {"Int-RA": [one]}).loc["Int-RA", "verdict"] == WITHIN


# --- the status page ------------------------------------------------------------------------------------------


def timed(system, seed, seconds, code="0123456789ab", **changes):
    content = record(system, seed, 0.5).content | {"seconds": {"fit": seconds, "score": 0.25}}
    config = RunConfig(system=system, seed=seed, **changes)
    made_with = {
        "inputs": {"code": code, "components": {"text": "an encoder@1"}},
        "environment": {"python": "3.11.0"},
    }
    return Record(Path(f"{config.digest()}"), content | {"config": config.as_dict()} | made_with)


def rows(page, name):
    """Cells of a table of the page, row by row."""
    (body,) = re.findall(rf":name: {name}\n.*?\n\n(.*?)\n```", page, re.DOTALL)
    return [[cell.strip()[2:] for cell in row.split("\n")] for row in body[2:].split("\n* ")]


def test_the_status_page_compares_studies_by_label():
    ours = [timed("int_ra", seed, seconds) for seed, seconds in enumerate((4, 6, 11))]
    wide = [timed("int_ra", 0, 9, window=2)]
    control = [timed("random", 0, 0)]
    reference = {"main": {"Random": control, "Int-RA": ours}, "window": {"2": wide, "6": ours}, "plus": {}}
    now = [timed("int_ra", 0, 4, code="ba9876543210")]
    fresh = {"main": {"Int-RA": now}, "window": {"6": now}, "plus": {}}
    page = status_page(reference, fresh)
    head, *agreed = rows(page, "tab-agreement")
    assert head == ["study", "configuration", "fresh runs", "reference mAP", "fresh mAP", "verdict"]
    assert agreed == [
        ["main", "Int-RA", "1", "50.00 ± 0.00", "50.00", "same"],
        ["window", "6", "1", "50.00 ± 0.00", "50.00", "same"],
    ]
    # a run counts once, in however many studies it is: the median of 4, 6, 9 and 11
    assert rows(page, "tab-seconds")[1:] == [["random", "0.00", "0.25"], ["int_ra", "7.50", "0.25"]]
    assert rows(page, "tab-parts")[1:] == [["text", "an encoder@1"]]
    assert ["code digest", "0123456789ab", "ba9876543210"] in rows(page, "tab-software")
    # a backtick in the line that opens a table would end it
    assert not [line for line in page.splitlines() if line.startswith("```") and "`" in line[3:]]


@pytest.mark.parametrize("reference", [{}, {"main": {}}])
def test_without_a_reference_the_status_page_says_so(reference):
    page = status_page(reference, {"main": {"Int-RA": [timed("int_ra", 0, 4)]}})
    assert "There is no reference yet" in page and "tab-agreement" not in page
    assert rows(page, "tab-seconds")[1:] == [["int_ra", "4.00", "0.25"]]


def test_costs_are_a_row_a_measurement():
    def compared(*names):
        return {
            "seconds": dict.fromkeys(names, 0.5),
            "ratio": dict.fromkeys(names, 2.0),
            "range": {name: [1.5, 3.0] for name in names},
        }

    found = {
        "strategy": {"evaluation": compared("cached", "as released"), "epoch": compared("cached")},
        "data_size": {"epoch": compared("1x")},
        "workers": {"number": 16, "runs": compared("1 worker")},
    }
    frame = costs(found)
    assert list(frame.index) == [
        "evaluation cached",
        "evaluation as released",
        "training epoch cached",
        "training epoch with data of 1x",
        "16 runs with 1 worker",
    ]
    assert frame.loc["evaluation as released"].tolist() == [0.5, 2, 1.5, 3]
