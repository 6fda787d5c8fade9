"""The verdict on one claim of the paper: the closing row of a notebook. Rules are written before results are seen."""

from dataclasses import dataclass

import pandas as pd

HOLDS = "holds on the stand-in"
FAILS = "does not hold on the stand-in"
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


def judged(passes: bool) -> str:
    """`HOLDS` or `FAILS`."""
    return HOLDS if passes else FAILS
