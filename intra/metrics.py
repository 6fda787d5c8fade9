"""Ranks and what is computed from them. numpy only.

One tie rule, here and nowhere else: higher score first, equal scores by rising sticker id. A constant scorer
therefore gets the value of one fixed, label-free order, not a perfect one.
"""

from collections.abc import Sequence

import numpy as np


def rank_candidates(scores: np.ndarray, candidate_ids: Sequence[str]) -> np.ndarray:
    """Order candidates by falling score; equal scores by rising id.

    Args:
        scores: Similarities, shape (Q, G), any finite range.
        candidate_ids: G unique ids.

    Returns:
        Column indices, best first, shape (Q, G), int64.

    Raises:
        ValueError: If a score is not finite, ids repeat, or shapes disagree.
    """
    scores = np.asarray(scores, dtype=float)
    if scores.ndim != 2 or scores.shape[1] != len(candidate_ids):
        raise ValueError(f"scores have shape {scores.shape}, expected (queries, {len(candidate_ids)})")
    if len(set(candidate_ids)) != len(candidate_ids):
        raise ValueError("candidate ids repeat")
    if not np.isfinite(scores).all():
        query, candidate = np.argwhere(~np.isfinite(scores))[0]
        raise ValueError(f"score of query {query} and candidate {candidate_ids[candidate]} is not finite")
    by_id = np.argsort(np.asarray(candidate_ids), kind="stable")
    return by_id[np.argsort(-scores[:, by_id], axis=1, kind="stable")]


def hit_at(relevance: np.ndarray, n: int) -> np.ndarray:
    """1 for each query with a relevant sticker among the first `n`, else 0. The paper calls its mean P@N.

    Args:
        relevance: Booleans in rank order, shape (Q, G); so in every function below.
        n: How many ranks count.

    Returns:
        Shape (Q,), float64; so in every function below.
    """
    return relevance[:, :n].any(axis=1).astype(float)


def precision_at(relevance: np.ndarray, n: int) -> np.ndarray:
    """Share of relevant stickers among the first `n`; ranks past the end of the gallery count as not relevant."""
    return relevance[:, :n].sum(axis=1) / n


def reciprocal_rank(relevance: np.ndarray) -> np.ndarray:
    """1 / rank of the first relevant sticker; 0 if there is none."""
    first = relevance.argmax(axis=1)
    return np.where(relevance.any(axis=1), 1 / (first + 1), 0.0)


def average_precision(relevance: np.ndarray) -> np.ndarray:
    r"""AP_b = \frac{1}{R_b} \sum_{k:\, rel_b(k)} \mathrm{precision@}k, with R_b the relevant stickers.

    Raises:
        ValueError: If a query has nothing relevant, for then AP does not exist.
    """
    relevant = relevance.sum(axis=1)
    if (relevant == 0).any():
        raise ValueError(f"query {int(np.argmin(relevant))} has no relevant sticker")
    precision = relevance.cumsum(axis=1) / np.arange(1, relevance.shape[1] + 1)
    return (precision * relevance).sum(axis=1) / relevant


def ndcg_at(relevance: np.ndarray, n: int) -> np.ndarray:
    r"""nDCG@n with gain 1 and discount 1/\log_2(rank + 1); 0 for a query with nothing relevant."""
    discounts = 1 / np.log2(np.arange(2, relevance.shape[1] + 2))
    discounts[n:] = 0
    ideal = np.cumsum(discounts)[np.maximum(relevance.sum(axis=1), 1) - 1]
    return relevance @ discounts / ideal


METRICS = {
    "hit@1": lambda relevance: hit_at(relevance, 1),
    "hit@3": lambda relevance: hit_at(relevance, 3),
    "hit@5": lambda relevance: hit_at(relevance, 5),
    "precision@3": lambda relevance: precision_at(relevance, 3),
    "precision@5": lambda relevance: precision_at(relevance, 5),
    "mAP": average_precision,
    "MRR": reciprocal_rank,
    "nDCG@10": lambda relevance: ndcg_at(relevance, 10),
}
"""Name to function, in the order of every table."""


def expected_by_chance(relevant: np.ndarray, gallery: int) -> dict[str, float]:
    """Exact expectation of hit@N, precision@N and mAP when the order is uniformly random.

    hit@N is one minus a hypergeometric zero; the expected AP of R relevant among G in random order is
    (1/G) sum_k [ (R-1)/(G-1) (k-1) + 1 ] / k (each rank k is relevant with chance R/G, and then holds that
    many relevant stickers up to it on average).

    Args:
        relevant: Relevant stickers of each query, shape (Q,), int, each between 1 and `gallery`.
        gallery: Stickers that are ranked.

    Returns:
        Metric name to mean over the queries.

    Raises:
        ValueError: If a query has no relevant sticker, or more than the gallery.
    """
    relevant = np.asarray(relevant, dtype=float)
    if ((relevant < 1) | (relevant > gallery)).any():
        raise ValueError(f"relevant stickers are {relevant.min():g} to {relevant.max():g}, expected 1 to {gallery}")
    ranks = np.arange(1, gallery + 1)
    expected = {f"precision@{n}": float(np.mean(relevant / gallery)) * min(n, gallery) / n for n in (3, 5)}
    for n in (1, 3, 5):
        draws = np.arange(min(n, gallery))
        miss = np.prod(np.clip(gallery - relevant[:, None] - draws, 0, None) / (gallery - draws), axis=1)
        expected[f"hit@{n}"] = float(np.mean(1 - miss))
    others = (relevant - 1) / max(1, gallery - 1)
    expected["mAP"] = float(np.mean([((other * (ranks - 1) + 1) / ranks).mean() for other in others]))
    return expected
