r"""What rankings that know nothing reach, if the labels are skewed in a stated way; mAP of rankings that know a little.

Everything here depends on how often each intention occurs, which the paper shows only as a picture (its Figure 2).
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy.stats import binomtest, hypergeom

from intra import paper
from intra.audit import galleries, granularity
from intra.audit.bounds import CLASSES
from intra.errors import IntraError
from intra.metrics import expected_by_chance

LEVELS = tuple(int(metric.removeprefix("hit@")) for metric in granularity.SHARES)
"""N of the hit rates."""
STANDARD_ERRORS = 2.0
"""How far, in standard errors, simulated hit rates may lie from printed ones to count as agreeing."""


def expected_hits(counts: np.ndarray) -> dict[str, float]:
    """Expected hit rates and mAP, in percent, of random order, the queries' intentions as frequent as the stickers'.

    Args:
        counts: R of each intention, shape (C,).
    """
    expected = expected_by_chance(np.repeat(counts, counts), int(counts.sum()))  # one query a sticker
    return {metric: 100 * expected[metric] for metric in (*granularity.SHARES, "mAP")}


def majority_hits(counts: np.ndarray) -> float:
    """Hit rate, in percent, of a ranking that opens with the commonest intention, at 1 as at every later rank."""
    return 100 * float(counts.max() / counts.sum())


def chance_table() -> pd.DataFrame:
    """Expected hit rates and mAP for each skew and gallery, and the majority's hit rate, in percent.

    The last rows are those where only the sticker that was sent is right, as if each had an intention of its own.
    """
    assumed = galleries.assumed(galleries.SKEWS)
    assumed |= {f"{size}, only the sent one": np.ones(size, int) for size in galleries.sizes().values()}
    rows = {name: expected_hits(r) | {"majority hit@1": majority_hits(r)} for name, r in assumed.items()}
    return pd.DataFrame.from_dict(rows, orient="index")


def below_chance(reading: pd.DataFrame, expected: float, metric: str = "hit@5") -> pd.Series:
    """One-sided exact binomial p that so few hits come from chance, for each row with counts.

    Args:
        reading: Answer of `granularity.reading`.
        expected: Chance in percent.
        metric: One of `granularity.SHARES`.
    """
    known = reading[reading["hits"].map(bool)]
    place = granularity.SHARES.index(metric)
    p = [binomtest(row["hits"][place], int(row["n"]), expected / 100, "less").pvalue for _, row in known.iterrows()]
    return pd.Series(p, known.index)


def first_hit_chances(relevant: int, gallery: int) -> np.ndarray:
    """Probability of each of `bounds.CLASSES` in random order, shape (4,), float64."""
    misses = [hypergeom.pmf(0, gallery, relevant, min(n, gallery)) for n in LEVELS]
    return -np.diff([1.0, *misses, 0.0])


def best_of_random(
    counts: np.ndarray, rankings: int, queries: int, repeats: int = 200, seed: int = 0
) -> dict[str, float]:
    """Expected hit rates, in percent, of the best of E random rankings by hit@1, each query ranked independently.

    Of several with the same hit@1 the first is taken. A query's random order is drawn as the class of its first hit,
    which is all that hit rates see.

    Args:
        counts: R of each intention, shape (C,).
        rankings: E.
        queries: Q; their intentions are apportioned as the stickers'.
        repeats: Of the whole choice.
        seed: Of the draws.

    Returns:
        Means over the repeats, and `sd hit@1` between them.
    """
    rng = np.random.default_rng(seed)
    gallery = int(counts.sum())
    asked = galleries.apportioned(queries, counts)
    chances = [first_hit_chances(int(count), gallery) for count in counts]
    best = np.empty((repeats, len(LEVELS)))
    for repeat in range(repeats):
        classes = sum(rng.multinomial(n, p, size=rankings) for n, p in zip(asked, chances, strict=True))  # (E, 4)
        found = classes[:, : len(LEVELS)].cumsum(axis=1) / queries
        best[repeat] = found[found[:, 0].argmax()]
    return _percent(best)


def best_of_alike(
    counts: np.ndarray, rankings: int, queries: int, cosine: float, repeats: int = 5, seed: int = 0
) -> dict[str, float]:
    r"""As `best_of_random` when the queries of one ranking point in similar directions, and so rank alike.

    Stickers are independent random directions; of two queries with cosine c, scores are
    \sqrt{c} a_s + \sqrt{1 - c} b_{q,s} with independent standard normal a and b.

    Args:
        counts: R of each intention, shape (C,).
        rankings: E.
        queries: Q.
        cosine: c, 0 to 1, between any two queries.
        repeats: Of the whole choice.
        seed: Of the draws.

    Raises:
        IntraError: If the cosine is not from 0 to 1.
    """
    if not 0 <= cosine <= 1:
        raise IntraError(f"cosine {cosine}: expected 0 to 1")
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    asked = np.repeat(np.arange(len(counts)), galleries.apportioned(queries, counts))
    shared, own = np.float32(cosine**0.5), np.float32((1 - cosine) ** 0.5)
    best = np.empty((repeats, len(LEVELS)))
    for repeat in range(repeats):
        found = np.empty((rankings, len(LEVELS)))
        for number in range(rankings):
            scores = own * rng.standard_normal((queries, len(labels)), dtype=np.float32)
            scores += shared * rng.standard_normal(len(labels), dtype=np.float32)
            right = labels[_top(scores, max(LEVELS))] == asked[:, None]  # (Q, 5)
            found[number] = [right[:, :n].any(axis=1).mean() for n in LEVELS]
        best[repeat] = found[found[:, 0].argmax()]
    return _percent(best)


def _top(scores: np.ndarray, count: int) -> np.ndarray:
    """Columns of the highest scores of each row, best first, shape (Q, count)."""
    top = np.argpartition(-scores, count, axis=1)[:, :count]
    return np.take_along_axis(top, np.argsort(-np.take_along_axis(scores, top, 1), axis=1), 1)


def _percent(best: np.ndarray) -> dict[str, float]:
    means = dict(zip(granularity.SHARES, (100 * best.mean(axis=0)).tolist(), strict=True))
    return means | {"sd hit@1": 100 * float(best[:, 0].std(ddof=1))}


def score_model(
    counts: np.ndarray, means: Sequence[float], spreads: Sequence[float], queries: int = 400, seed: int = 0
) -> pd.DataFrame:
    r"""Hit rates and mAP, in percent, of rankings by noisy scores: a model with two parameters.

    Scores of relevant stickers are N(d_q, 1) and of all others N(0, 1), with d_q ~ N(mu, tau^2) of the query. The same
    noise serves all parameters, and queries are as frequent as stickers.

    Args:
        counts: R of each intention, shape (C,).
        means: Values of mu.
        spreads: Values of tau.
        queries: Drawn for each pair.
        seed: Of the draws.

    Returns:
        One row a pair (mu, tau); columns the hit rates and mAP.
    """
    rng = np.random.default_rng(seed)
    gallery = int(counts.sum())
    sizes = rng.choice(counts, queries, p=counts / gallery)
    ease = rng.standard_normal(queries)
    drawn = [(np.sort(rng.standard_normal(gallery - size)), rng.standard_normal(size)) for size in sizes]
    rows = {}
    for mu in means:
        for tau in spreads:
            first, ap = zip(*_ranked(drawn, mu + tau * ease), strict=True)
            found = {f"hit@{n}": 100 * float(np.mean(np.array(first) <= n)) for n in LEVELS}
            rows[mu, tau] = found | {"mAP": 100 * float(np.mean(ap))}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["mu", "tau"])


def _ranked(drawn: Sequence[tuple[np.ndarray, np.ndarray]], shifts: np.ndarray) -> Iterator[tuple[int, float]]:
    """Rank of the first relevant sticker and AP of each query, from sorted scores of the others and relevant noise."""
    for (others, noise), shift in zip(drawn, shifts, strict=True):
        order = np.arange(1, len(noise) + 1)
        ranks = len(others) - np.searchsorted(others, np.sort(noise + shift)[::-1]) + order
        yield ranks[0], float(np.mean(order / ranks))


def model_range(model: pd.DataFrame, shares: Sequence[float], n: int) -> tuple[float, float]:
    """Lowest and highest mAP of the models whose three hit rates agree with a row; NaN if none does.

    Args:
        model: Answer of `score_model`.
        shares: Of `bounds.CLASSES`, shape (4,).
        n: Queries behind the row, for its standard errors.
    """
    rates = np.cumsum(shares[: len(CLASSES) - 1])
    errors = 100 * np.sqrt(rates * (1 - rates) / n)
    near = np.abs(model[list(granularity.SHARES)] - 100 * rates) <= STANDARD_ERRORS * errors
    agreeing = model.loc[near.all(axis=1), "mAP"]
    return float(agreeing.min()), float(agreeing.max())


def best_of_table(queries: int, rankings: Sequence[int], cosines: Sequence[float]) -> pd.DataFrame:
    """The best of so many random rankings, in percent: one row a gallery, number of rankings and likeness of queries.

    Args:
        queries: Q.
        rankings: Values of E for queries that are ranked independently.
        cosines: Between queries that rank alike, for the first of these E in Zipf's galleries.
    """
    rows = {}
    for name, counts in galleries.assumed(galleries.SKEWS).items():
        rows |= {f"{name}, best of {e}": best_of_random(counts, e, queries) for e in rankings}
        if name.endswith("Zipf(1)"):
            for cosine in cosines:
                row = best_of_alike(counts, rankings[0], queries, cosine)
                rows[f"{name}, best of {rankings[0]}, cosine {cosine:g}"] = row
    return pd.DataFrame.from_dict(rows, orient="index")


def training_steps() -> int:
    """Optimiser steps of one pass through the training split at the printed batch size."""
    conversations = int(paper.table_one().at["conversations", "train"])
    return -(-conversations // int(paper.settings()["batch_size"]))
