"""The verdict on one claim of the paper: the closing row of a notebook. Rules are written before results are seen."""

from dataclasses import dataclass

import pandas as pd

HOLDS = "holds on the stand-in"
FAILS = "does not hold on the stand-in"
UNDECIDED = "undecided at this size"
UNTESTABLE = "cannot be tested"
INCONSISTENT = "inconsistent in print"


@dataclass(frozen=True)
class Claim:
    """A claim, what the paper says, what is found here, and the verdict."""

    id: str
    claim: str
    paper: str
    ours: str
    verdict: str

    def frame(self) -> pd.DataFrame:
        """The row that a notebook prints last."""
        row = {"claim": self.claim, "paper": self.paper, "ours": self.ours, "verdict": self.verdict}
        return pd.DataFrame([row], index=[self.id])


def judged(*intervals: tuple[float, float]) -> str:
    """Verdict from the intervals of differences that a claim says are positive.

    Args:
        intervals: Lower and upper end of each difference.

    Returns:
        `HOLDS` if all lie above 0, `FAILS` if one lies below 0, else `UNDECIDED`.
    """
    if intervals and all(low > 0 for low, _ in intervals):
        return HOLDS
    return FAILS if any(high < 0 for _, high in intervals) else UNDECIDED
