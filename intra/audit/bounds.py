r"""Which mAP is possible beside printed hit rates.

Let r_1 < ... < r_R be the ranks of the R relevant of G stickers, so that AP = (1/R) \sum_i i / r_i. Hit rates at 1, 3
and 5 say which share of the queries has r_1 = 1, r_1 in 2-3, in 4-5 and r_1 >= 6. Within a class AP is largest when the
relevant stickers follow each other from its first rank, and smallest when r_1 is its last rank and all others are at
the bottom, since every term falls with its rank. Which intentions meet which class is not printed, so the mean is
bounded over all assignments: a transportation problem.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pandas as pd
from scipy.optimize import brentq, linprog

from intra.audit import galleries, granularity
from intra.errors import IntraError

CLASSES = ((1, 1), (2, 3), (4, 5), (6, None))
"""Classes of the first relevant rank that the hit rates tell apart: first and last, None is the last of all."""
ROUNDING = 0.005
"""Points by which a printed mAP may lie above the true one; a truncated one lies below."""


def class_shares(row: pd.Series, reading: pd.Series) -> np.ndarray:
    """Share of the queries in each of `CLASSES`: from counts where a denominator is known, else from the print.

    Args:
        row: Of `paper.printed`.
        reading: The same row of `granularity.reading`.

    Returns:
        Shape (4,), float64, sum 1.
    """
    if reading["hits"]:
        at = [Fraction(count, int(reading["n"])) for count in reading["hits"]]
    else:
        at = [Fraction(row[metric]) / 100 for metric in granularity.SHARES]
    return np.array([float(share) for share in (at[0], at[1] - at[0], at[2] - at[1], 1 - at[2])])


def ap_bounds(relevant: int, gallery: int) -> np.ndarray:
    r"""Smallest and largest AP in each class.

    With f the first rank of a class and l its last, or the last possible one:
    largest (1/R) \sum_{i=1}^{R} i / (f + i - 1); smallest (1/R) (1/l + \sum_{i=2}^{R} i / (G - R + i)).

    Args:
        relevant: R, 1 to G.
        gallery: G.

    Returns:
        Shape (2, 4), float64; NaN where so many relevant stickers cannot begin so late.

    Raises:
        IntraError: If R is not from 1 to G.
    """
    if not 1 <= relevant <= gallery:
        raise IntraError(f"{relevant} relevant of {gallery} stickers: expected 1 to all")
    latest = gallery - relevant + 1
    order = np.arange(1, relevant + 1)
    tail = np.sum(order[1:] / (latest + order[1:] - 1))
    bounds = np.full((2, len(CLASSES)), np.nan)
    for number, (first, last) in enumerate(CLASSES):
        if first <= latest:
            bounds[0, number] = (1 / min(last or latest, latest) + tail) / relevant
            bounds[1, number] = np.mean(order / (first + order - 1))
    return bounds


def optimum(values: np.ndarray, supply: np.ndarray, demand: np.ndarray, largest: bool) -> float:
    r"""Optimal \sum_{c,k} x_{c,k} v_{c,k} with rows of x that sum to the supply and columns to the demand, x >= 0.

    Args:
        values: v, shape (C, K); NaN forbids a cell.
        supply: Shape (C,), not negative, with the sum of the demand.
        demand: Shape (K,).
        largest: The maximum, or the minimum.

    Raises:
        IntraError: If no x exists.
    """
    rows, columns = values.shape
    sums = np.vstack([np.kron(np.eye(rows), np.ones(columns)), np.kron(np.ones(rows), np.eye(columns))])
    cost = np.nan_to_num(values).ravel() * (-1 if largest else 1)
    limits = [(0, 0) if np.isnan(value) else (0, None) for value in values.ravel()]
    # the last condition follows from the others, and rounding could make it contradict them
    found = linprog(cost, A_eq=sums[:-1], b_eq=np.concatenate([supply, demand])[:-1], bounds=limits, method="highs")
    if not found.success:
        raise IntraError(f"no assignment of intentions to classes: {found.message}")
    return float(-found.fun if largest else found.fun)


def map_bounds(shares: Sequence[float], counts: np.ndarray, queries: np.ndarray | None = None) -> tuple[float, float]:
    """Smallest and largest mAP, in percent, over all assignments of intentions to classes.

    Args:
        shares: Of the classes, shape (4,).
        counts: R of each intention, shape (C,); G is their sum.
        queries: Share of each intention among the queries, shape (C,); that among the stickers by default.
    """
    sizes, supply = _grouped(counts, queries)
    bounds = np.array([ap_bounds(size, int(counts.sum())) for size in sizes])
    demand = np.asarray(shares)
    low, high = (optimum(bounds[:, end], supply, demand, largest=bool(end)) for end in (0, 1))
    return 100 * low, 100 * high


def any_queries_bound(shares: Sequence[float], counts: np.ndarray) -> float:
    """Largest mAP, in percent, in a gallery of given counts if the queries may have any intentions."""
    most = np.array([ap_bounds(size, int(counts.sum()))[1] for size in np.unique(counts)])
    return 100 * float(np.dot(shares, np.nanmax(most, axis=0)))


def share_needed(shares: Sequence[float], value: float, counts: np.ndarray) -> tuple[float, float]:
    """Of a gallery with two sizes of intentions: the share of stickers in the larger, and that of queries a mAP needs.

    Args:
        shares: Of the classes, shape (4,).
        value: mAP in percent.
        counts: R of each intention, shape (C,), of two values.

    Returns:
        Both shares; the second is NaN if no share is enough.
    """
    small, large = np.unique(counts)
    most = np.array([ap_bounds(size, int(counts.sum()))[1] for size in (small, large)])

    def excess(share: float) -> float:
        return 100 * optimum(most, np.array([1 - share, share]), np.asarray(shares), largest=True) - value + ROUNDING

    stickers = large * (counts == large).sum() / counts.sum()
    if excess(1) < 0:
        return float(stickers), np.nan
    return float(stickers), 0.0 if excess(0) >= 0 else float(brentq(excess, 0, 1))


def _grouped(counts: np.ndarray, queries: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Intentions with equally many stickers as one: the numbers of stickers, and the shares of the queries."""
    queries = galleries.shares_of_queries(counts) if queries is None else queries
    sizes, group = np.unique(counts, return_inverse=True)
    return sizes, np.bincount(group, queries)


def needed_of_missed(shares: Sequence[float], value: float, counts: np.ndarray) -> float:
    """Mean AP, in percent, that the queries without a hit among five need at least, the others being perfect below it.

    Zero where the others alone can reach the mAP, infinite where they cannot and no query misses. The assignment is the
    one that gives the others most.

    Args:
        shares: Of the classes, shape (4,).
        value: mAP in percent.
        counts: R of each intention, shape (C,).
    """
    sizes, supply = _grouped(counts, None)
    most = np.array([ap_bounds(size, int(counts.sum()))[1] for size in sizes])
    most[:, -1] = np.where(np.isnan(most[:, -1]), np.nan, 0)
    others = 100 * optimum(most, supply, np.asarray(shares), largest=True)
    if value <= others:
        return 0.0
    return (value - others) / shares[-1] if shares[-1] else np.inf


def largest_missed(counts: np.ndarray) -> float:
    """Largest mean AP, in percent, of queries without a hit among five, intentions as frequent as their stickers."""
    most = np.array([ap_bounds(count, int(counts.sum()))[1, -1] for count in counts])
    return 100 * float(most @ galleries.shares_of_queries(counts))


def one_relevant_bound(shares: Sequence[float]) -> float:
    """Largest mAP in percent if one sticker is relevant; also that of the mean reciprocal rank, however many are."""
    return 100 * float(np.dot(shares, [1 / first for first, _ in CLASSES]))


def smallest_constant(shares: Sequence[float], value: float, gallery: int) -> int | None:
    """Smallest R, the same for every query, with which a mAP in percent is possible; None if no R is."""
    for relevant in range(1, gallery - CLASSES[-1][0] + 2):
        if 100 * np.dot(shares, ap_bounds(relevant, gallery)[1]) >= value - ROUNDING:
            return relevant
    return None


def truncated_bounds(shares: Sequence[float]) -> tuple[float, float]:
    """Smallest and largest mAP in percent if AP looks at five ranks, divides by what it finds, and leaves misses out.

    All 31 patterns of relevant ranks are tried; AP of a pattern is the mean of precision at its ranks.
    """
    values: dict[int, list[float]] = {}
    for pattern in range(1, 32):
        ranks = [rank for rank in range(1, 6) if pattern >> (rank - 1) & 1]
        values.setdefault(ranks[0], []).append(np.mean([n / rank for n, rank in enumerate(ranks, start=1)]))
    ends = []
    for pick in (min, max):
        best = [pick(pick(values[rank]) for rank in range(first, last + 1)) for first, last in CLASSES[:-1]]
        ends.append(100 * float(np.dot(shares[:-1], best) / sum(shares[:-1])))
    return ends[0], ends[1]
