"""From scores to a run, and from a run and qrels to metrics with intervals. The evaluator sees scores and ids only."""

import gzip
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from intra.data.schema import Dataset
from intra.errors import IntraError
from intra.metrics import METRICS, rank_candidates

Run = dict[str, dict[str, float]]
"""Query id to {sticker id: score}, best first."""
Qrels = dict[str, set[str]]
"""Query id to the ids of its relevant stickers."""
MATCHES = ("intention", "exact")
"""`intention`: a sticker with the query's intention is right (the paper's rule); `exact`: only the one sent."""


def make_run(
    scores: np.ndarray, query_ids: Sequence[str], sticker_ids: Sequence[str], dataset: Dataset | None = None
) -> Run:
    """Rank the gallery for every query, or its candidates where the data set gives it some.

    Args:
        scores: Shape (Q, G), higher is better.
        query_ids: Q ids.
        sticker_ids: G unique ids.
        dataset: Whose conversations may name candidates.
    """
    order = rank_candidates(scores, sticker_ids)
    candidates, gallery = _candidates(dataset), set(sticker_ids)
    return {
        query: {
            sticker_ids[column]: float(scores[row, column])
            for column in order[row]
            if sticker_ids[column] in candidates.get(query, gallery)
        }
        for row, query in enumerate(query_ids)
    }


def _candidates(dataset: Dataset | None) -> dict[str, set[str]]:
    """Query id to candidate ids, for the queries that have candidates of their own."""
    return {c.id: set(c.candidates) for c in dataset.conversations if c.candidates} if dataset else {}


def make_qrels(dataset: Dataset, split: str, match: str) -> Qrels:
    """Which stickers of a split's gallery are right for each of its conversations.

    Under intention match a sticker is right if one of its intentions is the query's (by the label policy, from
    its conversations in the split, or from all where the gallery is all stickers); the sticker that was sent is
    always right. Where a query has candidates of its own, only they count.

    Raises:
        ValueError: If `match` is neither `intention` nor `exact`.
    """
    if match not in MATCHES:
        raise ValueError(f"match {match!r} is not one of {', '.join(MATCHES)}")
    part = dataset.split(split)
    qrels = {c.id: {c.sticker} for c in part.conversations}
    if match == "intention":
        labels = part.sticker_intentions()
        for conversation in part.conversations:
            qrels[conversation.id] |= {s for s, own in labels.items() if conversation.intention in own}
    candidates = _candidates(part)
    return {query: right & candidates.get(query, right) for query, right in qrels.items()}


def evaluate(run: Run, qrels: Qrels) -> pd.DataFrame:
    """Every metric for every query.

    Returns:
        One row a query of `qrels`, one column a metric of `metrics.METRICS`.

    Raises:
        IntraError: If a query has nothing relevant, or the run misses a query of the qrels, holds one that they
            do not, or leaves out a relevant sticker: a partial run would flatter or punish a system silently.
    """
    if run.keys() != qrels.keys():
        odd = sorted(run.keys() ^ qrels.keys())[0]
        raise IntraError(f"query {odd} is only in the {'run' if odd in run else 'qrels'}")
    for query, relevant in qrels.items():
        if not relevant:
            raise IntraError(f"query {query}: the qrels name no relevant sticker")
        if left_out := relevant - run[query].keys():
            raise IntraError(f"query {query}: the run leaves out the relevant sticker {min(left_out)}")
    relevance = np.zeros(
        (len(qrels), max(map(len, run.values()), default=0)), bool
    )  # past a short ranking: not relevant
    for row, query in enumerate(qrels):
        relevance[row, : len(run[query])] = [sticker in qrels[query] for sticker in run[query]]
    return pd.DataFrame({name: metric(relevance) for name, metric in METRICS.items()}, index=list(qrels))


def match_metrics(run: Run, dataset: Dataset, split: str) -> dict[str, dict[str, float]]:
    """Mean of every metric over a split's queries, under both matches, to six decimals.

    Raises:
        IntraError: As `evaluate`, and if the run ranks other stickers than the split's gallery (or a query's own
            candidates).
    """
    part = dataset.split(split)
    gallery, candidates = {s.id for s in part.stickers}, _candidates(part)
    for query, ranking in run.items():
        if odd := ranking.keys() ^ candidates.get(query, gallery):
            raise IntraError(
                f"query {query}: the run {'ranks' if min(odd) in ranking else 'leaves out'} {min(odd)}, "
                f"which is {'not one' if min(odd) in ranking else 'one'} of its candidates"
            )
    return {match: evaluate(run, make_qrels(dataset, split, match)).mean().round(6).to_dict() for match in MATCHES}


def bootstrap_interval(
    per_query: Sequence[np.ndarray], level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of a metric's mean, drawing both seeds and queries with replacement.

    Args:
        per_query: One array of Q values a training seed, queries in the same order in each.
        level: Coverage.
        resamples: Draws.
        seed: Of the draws.

    Returns:
        Lower and upper end.
    """
    values = np.stack(per_query)
    rng = np.random.default_rng(seed)
    seeds = rng.integers(len(values), size=(resamples, len(values)))
    queries = rng.integers(values.shape[1], size=(resamples, values.shape[1]))
    means = [values[s].mean(axis=0)[q].mean() for s, q in zip(seeds, queries, strict=True)]
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def write_run(path: Path, run: Run, tag: str) -> None:
    """Write a TREC run file, gzipped where the name ends in .gz: query Q0 sticker rank score tag."""
    lines = (
        f"{query} Q0 {sticker} {rank} {score:.6g} {tag}\n"
        for query, ranking in run.items()
        for rank, (sticker, score) in enumerate(ranking.items(), 1)
    )
    _write_lines(path, lines)


def read_run(path: Path) -> Run:
    """Read a TREC run file. The rank column decides the order, so printed ties stay as they were ranked.

    Raises:
        IntraError: Naming file and line, if a line is not six columns, a rank or a score is no finite number,
            or a sticker or a rank repeats.
    """
    ranked: dict[str, dict[int, tuple[str, float]]] = {}
    seen = set()
    for number, (query, _, sticker, rank, score, _) in _read_columns(path, 6):
        try:
            place, value = int(rank), float(score)
        except ValueError:
            place, value = 0, math.nan
        if not math.isfinite(value):
            raise IntraError(f"{path}:{number}: rank or score is no finite number: {rank} {score}")
        places = ranked.setdefault(query, {})
        if place in places:
            raise IntraError(f"{path}:{number}: query {query} has rank {rank} twice")
        if (query, sticker) in seen:
            raise IntraError(f"{path}:{number}: query {query} ranks sticker {sticker} twice")
        places[place] = sticker, value
        seen.add((query, sticker))
    if not ranked:
        raise IntraError(f"{path}: holds no ranking")
    return {query: dict(places[place] for place in sorted(places)) for query, places in ranked.items()}


def write_qrels(path: Path, qrels: Mapping[str, Iterable[str]]) -> None:
    """Write TREC qrels: query 0 sticker 1."""
    _write_lines(path, (f"{query} 0 {sticker} 1\n" for query in qrels for sticker in sorted(qrels[query])))


def read_qrels(path: Path) -> Qrels:
    """Read TREC qrels; a relevance of 0 or less means not relevant.

    Raises:
        IntraError: Naming file and line, if a line is not four columns or a relevance is no whole number.
    """
    qrels: Qrels = {}
    for number, (query, _, sticker, grade) in _read_columns(path, 4):
        relevant = qrels.setdefault(query, set())
        try:
            if int(grade) > 0:
                relevant.add(sticker)
        except ValueError:
            raise IntraError(f"{path}:{number}: relevance is no whole number: {grade}") from None
    return qrels


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    data = "".join(lines).encode()
    # no name and no time in the header: the same run is the same bytes
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def _read_columns(path: Path, count: int) -> Iterable[tuple[int, list[str]]]:
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise IntraError(f"{path}: cannot be read: {error}") from None
    for number, line in enumerate(text.splitlines(), 1):
        columns = line.split()
        if len(columns) != count:
            raise IntraError(f"{path}:{number}: has {len(columns)} columns, expected {count}")
        yield number, columns
