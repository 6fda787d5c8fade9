"""The verdict on a fresh run, against cases worked by hand."""

from pathlib import Path

from intra.agreement import OUTSIDE, SAME, WITHIN, agreement
from intra.config import RunConfig
from intra.records import Record


def record(system, seed, value):
    metrics = {"intention": {"mAP": value}, "exact": {"mAP": 0.9}}  # the exact match is not what is compared
    return Record(Path("run"), {"config": RunConfig(system=system, seed=seed).as_dict(), "metrics": metrics})


# mean 0.30, standard deviation 0.02 (deviations of -0.02, 0, 0.02 and their root mean square 0.01633)
REFERENCE = [record("int_ra", seed, value) for seed, value in enumerate([0.28, 0.30, 0.32])]


def verdict(*fresh):
    return agreement(REFERENCE, [record("int_ra", seed, value) for seed, value in fresh]).loc["Int-RA", "verdict"]


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
    row = agreement(REFERENCE, [record("int_ra", 0, 0.28), record("int_ra", 1, 0.31)]).loc["Int-RA"]
    assert row["fresh runs"] == 2
    assert row["reference mAP"] == "30.00 ± 1.63"
    assert row["fresh mAP"] == "29.50"


def test_systems_that_only_one_side_holds_are_left_out():
    both = agreement([*REFERENCE, record("oracle", 0, 1.0)], [record("random", 0, 0.1), record("int_ra", 0, 0.28)])
    assert list(both.index) == ["Int-RA"]
    assert agreement(REFERENCE, []).empty


def test_one_reference_run_leaves_no_room():
    one = [record("oracle", 0, 0.75)]
    assert agreement(one, [record("oracle", 0, 0.75)]).loc["Oracle intention", "verdict"] == SAME
    assert agreement(one, [record("oracle", 0, 0.7501)]).loc["Oracle intention", "verdict"] == OUTSIDE


def test_another_config_is_not_the_same_run():
    other = RunConfig(system="int_ra", seed=0, window=3)
    fresh = Record(Path("run"), {"config": other.as_dict(), "metrics": {"intention": {"mAP": 0.28}}})
    assert agreement(REFERENCE, [fresh]).loc["Int-RA", "verdict"] == WITHIN
