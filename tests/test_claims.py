"""Verdicts follow from the ends of intervals alone, by a rule that is written before results are seen."""

import itertools

import pandas as pd
import pytest

from intra.claims import FAILS, HOLDS, UNDECIDED, Claim, judged

ABOVE, BELOW, AROUND = (0.1, 0.4), (-0.4, -0.1), (-0.1, 0.2)
NAN = float("nan")


@pytest.mark.parametrize(
    ("intervals", "verdict"),
    [
        ([ABOVE], HOLDS),
        ([AROUND], UNDECIDED),
        ([BELOW], FAILS),
        ([ABOVE, (0.001, 5)], HOLDS),
        ([ABOVE, AROUND], UNDECIDED),
        ([ABOVE, BELOW], FAILS),
        ([AROUND, BELOW], FAILS),
        ([(0, 0.4)], UNDECIDED),  # an end on 0 decides nothing
        ([(-0.4, 0)], UNDECIDED),
        ([(0, 0)], UNDECIDED),
        ([(NAN, NAN)], UNDECIDED),
        ([ABOVE, (NAN, NAN)], UNDECIDED),
        ([BELOW, (NAN, NAN)], FAILS),
        ([], UNDECIDED),  # nothing was measured
    ],
)
def test_verdicts_worked_by_hand(intervals, verdict):
    assert judged(*intervals) == verdict


def test_one_interval_below_0_is_enough_and_order_does_not_matter():
    for intervals in itertools.product([ABOVE, AROUND, BELOW], repeat=3):
        worst = max(intervals, key=[ABOVE, AROUND, BELOW].index)
        assert judged(*intervals) == {ABOVE: HOLDS, AROUND: UNDECIDED, BELOW: FAILS}[worst]


def test_a_claim_is_one_row():
    frame = Claim("C9", "it works", "yes", "yes, 3.0", HOLDS).frame()
    expected = {"claim": "it works", "paper": "yes", "ours": "yes, 3.0", "verdict": HOLDS}
    pd.testing.assert_frame_equal(frame, pd.DataFrame(expected, index=["C9"]))
