"""How much chance is in the printed counts: intervals, tests, and the differences that the sample could resolve.

Rows with other denominators have no pairs that could be known, so tests are unpaired, or for the kindest pairing.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import binomtest, norm, ttest_1samp

from intra.audit.granularity import SHARES
from intra.errors import IntraError

FULL = "Int-RA"
"""The row that others are compared with."""


def wilson(count: int, n: int) -> tuple[float, float]:
    """95 % Wilson interval of a share, in percent."""
    interval = binomtest(count, n).proportion_ci(method="wilson")
    return 100 * float(interval.low), 100 * float(interval.high)


def unpaired_p(count: int, n: int, other: int, other_n: int) -> float:
    """Two-sided p of the z-test of two independent shares with their pooled variance; 1 if all or none are hits."""
    pooled = (count + other) / (n + other_n)
    error = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / other_n))
    return 1.0 if error == 0 else float(2 * norm.sf(abs(count / n - other / other_n) / error))


def kindest_p(difference: int, n: int) -> dict[str, float]:
    """Smallest two-sided p of paired tests, if the better system is right wherever the other is.

    Then only `difference` of the n queries differ, all in one direction.

    Args:
        difference: Hits more, 1 to n.
        n: Queries of both.

    Returns:
        `McNemar`, exact, and the paired `t`-test.

    Raises:
        IntraError: If the difference is not from 1 to n.
    """
    if not 1 <= difference <= n:
        raise IntraError(f"{difference} of {n} queries differ: expected 1 to all")
    values = np.zeros(n)
    values[:difference] = 1
    t = ttest_1samp(values, 0).pvalue if difference < n else 0.0
    return {"McNemar": float(binomtest(difference, difference).pvalue), "t": float(t)}


def least_significant(n: int, level: float) -> int:
    """Fewest queries by which the kindest pairing has an exact McNemar p below a level."""
    return next(k for k in range(1, n + 1) if kindest_p(k, n)["McNemar"] < level)


def detectable(base: float, n: int, other_n: int, level: float = 0.05, power: float = 0.8) -> float:
    r"""Difference, in points above a base, that an unpaired test finds with a given probability.

    Solves \Delta = z_{1 - level/2} \sqrt{\bar p (1 - \bar p) (1/n + 1/m)} + z_{power} \sqrt{p (1 - p)/n + q (1 - q)/m}
    for p = q + \Delta, where q is the base and \bar p the pooled share.

    Args:
        base: q, percent.
        n: Queries of the better system.
        other_n: m, of the base.
        level: Of the two-sided test.
        power: Probability of finding it.

    Raises:
        IntraError: If no difference is large enough.
    """
    q = base / 100
    z_level, z_power = norm.ppf(1 - level / 2), norm.ppf(power)

    def short(difference: float) -> float:
        p = q + difference
        pooled = (n * p + other_n * q) / (n + other_n)
        null = z_level * np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / other_n))
        return null + z_power * np.sqrt(p * (1 - p) / n + q * (1 - q) / other_n) - difference

    if short(1 - q) > 0:
        raise IntraError(f"no difference from {base} % with {n} and {other_n} queries is found so often")
    return 100 * float(brentq(short, 0, 1 - q))


def intervals(reading: pd.DataFrame) -> pd.DataFrame:
    """Counts of each row with their share and Wilson interval, as text: one row a label, one column a hit rate.

    Args:
        reading: Answer of `granularity.reading`; rows without a denominator are left out.
    """
    rows = {}
    for label, row in reading[reading["hits"].map(bool)].iterrows():
        n = int(row["n"])
        cells = [f"{k}/{n}: {100 * k / n:.1f} [{{:.1f}}, {{:.1f}}]".format(*wilson(k, n)) for k in row["hits"]]
        rows[label] = dict(zip(SHARES, cells, strict=True))
    return pd.DataFrame.from_dict(rows, orient="index")


def against_full(reading: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Int-RA minus other rows: points, queries where both have one denominator, and p-values.

    Args:
        reading: Answer of `granularity.reading`.
        labels: Rows with counts.

    Returns:
        One row a (label, metric): `points`; `queries`, missing where denominators differ; `unpaired p`; `kindest p`,
        exact McNemar, and `kindest t`, for the difference in counts where Int-RA has more.
    """
    full, n = reading.at[FULL, "hits"], int(reading.at[FULL, "n"])
    rows = {}
    for label in labels:
        other, other_n = reading.at[label, "hits"], int(reading.at[label, "n"])
        for metric, mine, theirs in zip(SHARES, full, other, strict=True):
            kind = kindest_p(mine - theirs, min(n, other_n)) if mine > theirs else {"McNemar": np.nan, "t": np.nan}
            rows[label, metric] = {
                "points": 100 * (mine / n - theirs / other_n),
                "queries": mine - theirs if n == other_n else pd.NA,
                "unpaired p": unpaired_p(mine, n, theirs, other_n),
                "kindest p": kind["McNemar"],
                "kindest t": kind["t"],
            }
    return pd.DataFrame.from_dict(rows, orient="index").astype({"queries": "Int64"})
