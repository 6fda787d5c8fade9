"""How many stickers of a gallery, and how many queries, each intention has: assumptions, for the paper prints neither.

A gallery is an array R of C counts, one an intention; the shares of the queries are an array of C numbers that sum
to one.
"""

from collections.abc import Iterable

import numpy as np

from intra import paper
from intra.data.intentions import INTENTIONS
from intra.errors import IntraError

SKEWS = {"balanced": 0.0, "Zipf(1)": 1.0, "Zipf(1.5)": 1.5}
"""Exponents of the laws that label counts are assumed to follow."""


def sizes() -> dict[str, int]:
    """Stickers of the two galleries that the paper can mean, from its Table I."""
    stickers = paper.table_one().loc["stickers"].astype(int)
    return {"test split": int(stickers["test"]), "all splits": int(stickers.sum())}


def label_counts(stickers: int, exponent: float = 0.0, labels: int = len(INTENTIONS)) -> np.ndarray:
    r"""Counts of the labels by Zipf's law: R_c is about proportional to c^{-exponent}.

    Whole numbers by largest remainders, at least one each.

    Args:
        stickers: G.
        exponent: 0 for labels as even as can be.
        labels: C, at most G.

    Returns:
        Shape (C,), int64, falling, with sum G.

    Raises:
        IntraError: If there are fewer stickers than labels.
    """
    if stickers < labels:
        raise IntraError(f"{stickers} stickers for {labels} labels: expected at least as many")
    law = np.arange(1, labels + 1, dtype=float) ** -exponent
    return apportioned(stickers, law, least=1)


def apportioned(total: int, weights: np.ndarray, least: int = 0) -> np.ndarray:
    """Whole numbers with a given sum, near their shares of it: floors, then one each by largest remainder.

    Args:
        total: Sum.
        weights: Above 0, shape (C,).
        least: What each gets at least.

    Returns:
        Shape (C,), int64.
    """
    fixed = np.zeros(len(weights), bool)
    shares = np.asarray(weights, float)
    while True:  # what is below the least gets it, and the others share what is left
        free = total - least * fixed.sum()
        wanted = np.where(fixed, least, free * shares / shares[~fixed].sum())
        if not (low := (wanted < least) & ~fixed).any():
            break
        fixed |= low
    counts = np.floor(wanted + 1e-9).astype(int)
    order = np.argsort(counts - wanted, kind="stable")  # largest remainders first, ties in the order of the labels
    counts[order[: total - counts.sum()]] += 1
    return counts


def shares_of_queries(counts: np.ndarray, follow: bool = True) -> np.ndarray:
    """Shares of the queries by intention: those of the stickers, or uniform. Shape (C,), float64."""
    return counts / counts.sum() if follow else np.full(len(counts), 1 / len(counts))


def assumed(skews: Iterable[str] = ("balanced", "Zipf(1)")) -> dict[str, np.ndarray]:
    """Galleries by name, such as `124 balanced`: counts of the intentions for each size and skew."""
    return {f"{size} {skew}": label_counts(size, SKEWS[skew]) for size in sizes().values() for skew in skews}
