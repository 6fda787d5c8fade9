"""What the page on all systems shows: curves, groups of queries, larger galleries, power, the full table.

All is computed from records. No torch here.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np
import pandas as pd

from intra.comparisons import JUDGED_BY, LEVEL, NOT_PRINTED, difference_cells, found
from intra.data.schema import Dataset
from intra.errors import IntraError
from intra.evaluation import MATCHES, bootstrap_interval
from intra.identity import WITH_INTENTION, in_groups
from intra.metrics import METRICS, expected_by_chance
from intra.paths import RECORDS
from intra.records import RUN, Record
from intra.tables import Labelled, by_chance, per_query, results, with_intervals

PLANTED = RECORDS / "planted.json"
RECALLS = np.linspace(0, 1, 101)
CHANCE = "chance"
SIZES = (50, 124, 500, 1025)
"""Galleries of the curve: a small one, those of the test split and of all splits, and one between."""
POWER = 0.8
HERE, PAPER = "here", "paper, another data set"
NOT_RUN = "not run here"
ABLATIONS = "Ablation study"
"""The group of Table II that has a page of its own, except for its first row, the whole model."""
PRINTED_GROUPS = {
    "Sticker retrieval methods": "retrieval systems",
    "Text-to-image retrieval": "retrieval systems",
    "Large language models": "language models",
    ABLATIONS: "ours",
}
"""Group of Table II to that of the page."""


def _ends(values: Sequence[np.ndarray]) -> dict[str, float]:
    """Mean over seeds and queries and its 95 % bootstrap interval, in percent."""
    low, high = bootstrap_interval(values)
    return {"mean": 100 * float(np.mean(values)), "low": 100 * low, "high": 100 * high}


# Precision and recall


def interpolated_precision(relevance: np.ndarray, recalls: Sequence[float] = RECALLS) -> np.ndarray:
    """The largest precision at any rank at which at least a share of the right stickers has been found.

    Args:
        relevance: Booleans in rank order, shape (Q, G), at least one right sticker a query.
        recalls: R shares from 0 to 1.

    Returns:
        Shape (Q, R), float64.
    """
    rows = []
    for stairs in map(_stairs, relevance):
        needed = np.ceil(np.asarray(recalls) * len(stairs) - 1e-9).astype(int)  # 0.1 * 30 lies a little above 3
        rows.append(stairs[np.maximum(needed, 1) - 1])
    return np.array(rows)


def area_under_curve(relevance: np.ndarray) -> np.ndarray:
    """Area under each query's interpolated curve, exactly, shape (Q,).

    The curve of a query with R right stickers is a staircase of R steps, all 1 / R wide, so its area is their mean
    height. It is at least the average precision, which takes the precision at the same ranks as it is.
    """
    return np.array([_stairs(row).mean() for row in relevance])


def _stairs(row: np.ndarray) -> np.ndarray:
    """Interpolated precision once 1, 2, ... of one query's right stickers have been found."""
    ranks = np.flatnonzero(row) + 1
    precision = np.arange(1, len(ranks) + 1) / ranks
    return np.maximum.accumulate(precision[::-1])[::-1]


def precision_recall(
    study: Labelled, match: str = "intention", recalls: Sequence[float] = RECALLS, draws: int = 100, seed: int = 0
) -> pd.DataFrame:
    """Interpolated precision at each recall, the mean over queries and seeds, in percent.

    Args:
        study: See `study.load_study`.
        match: `intention` or `exact`.
        recalls: Rows.
        draws: Random orders of each query's candidates whose mean is the column `chance`. Interpolation takes the
            best of many ranks, so by chance too it lies above the share of right stickers.
        seed: Of these orders.

    Returns:
        One row a recall, in percent; one column a configuration, and `chance`.
    """
    lists = {label: [record.relevance(match) for record in records] for label, records in study.items()}
    lists[CHANCE] = _random_orders(next(iter(study.values()))[0], match, draws, seed)
    curves = {
        label: np.mean([interpolated_precision(relevance, recalls).mean(axis=0) for relevance in own], axis=0)
        for label, own in lists.items()
    }
    return 100 * pd.DataFrame(curves, pd.Index(recalls, name="recall")).rename(index=lambda recall: 100 * recall)


def _random_orders(record: Record, match: str, draws: int, seed: int) -> list[np.ndarray]:
    """Relevance when each query's candidates are ranked at random."""
    rng, relevance = np.random.default_rng(seed), record.relevance(match)
    past = np.arange(relevance.shape[1]) >= record.candidates()[:, None]
    orders = (np.argsort(rng.random(relevance.shape) + past, axis=1) for _ in range(draws))
    return [np.take_along_axis(relevance, order, axis=1) for order in orders]


def curve_areas(study: Labelled, match: str = "intention") -> pd.DataFrame:
    """Area under the mean interpolated curve with its 95 % bootstrap interval, in percent: one row a configuration.

    It is the mean of the areas under the queries' curves, so it needs no grid of recalls.
    """
    rows = {
        label: _ends([area_under_curve(record.relevance(match)) for record in records])
        for label, records in study.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


# Groups of queries


def query_groups(dataset: Dataset, field: str) -> dict[str, str]:
    """Test conversation to its `usage` or `intention`, with how many share it: `reply (80)`."""
    values = {c.id: getattr(c, field) for c in dataset.split("test").conversations}
    counts = Counter(values.values())
    return {query: f"{value} ({counts[value]})" for query, value in values.items()}


def by_group(
    study: Labelled, groups: Mapping[str, str], metrics: Sequence[str] = JUDGED_BY, match: str = "intention"
) -> pd.DataFrame:
    """What `tables.results` gives, apart for groups of queries.

    Args:
        study: See `study.load_study`.
        groups: Query to its group.
        metrics: Names of `metrics.METRICS`.
        match: `intention` or `exact`.

    Returns:
        One row a (group, configuration), the largest group first; columns (metric, `mean` | `low` | `high`).

    Raises:
        IntraError: If a query has no group.
    """
    frames = per_query(study, match)
    members = _members(groups, next(iter(frames.values()))[0].index)
    rows = {
        (group, label): {
            (metric, end): value
            for metric in metrics
            for end, value in _ends([frame.loc[own, metric].to_numpy() for frame in frames[label]]).items()
        }
        for group, own in members.items()
        for label in study
    }
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis(["group", "configuration"])
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame


def _members(groups: Mapping[str, str], queries: Sequence[str]) -> dict[str, list[str]]:
    """Group to its queries, the largest first."""
    members: dict[str, list[str]] = {}
    for query in queries:
        if query not in groups:
            raise IntraError(f"query {query} is in no group")
        members.setdefault(groups[query], []).append(query)
    return dict(sorted(members.items(), key=lambda item: (-len(item[1]), item[0])))


def group_means(study: Labelled, groups: Mapping[str, str], metric: str, match: str = "intention") -> pd.DataFrame:
    """Mean of one metric in percent: one row a group of queries, the largest first, one column a configuration."""
    frames = per_query(study, match)
    members = _members(groups, next(iter(frames.values()))[0].index)
    means = {label: sum(frame[metric] for frame in own) / len(own) for label, own in frames.items()}
    columns = {label: [100 * mean[own].mean() for own in members.values()] for label, mean in means.items()}
    return pd.DataFrame(columns, index=list(members))


def group_chance(record: Record, groups: Mapping[str, str], match: str = "intention") -> pd.DataFrame:
    """Exact expectation of each metric in percent when candidates are ranked at random: one row a group."""
    queries = record.per_query(match).index
    expected = by_chance(record, match).set_index(queries)
    means = {group: expected.loc[own].mean() for group, own in _members(groups, queries).items()}
    return 100 * pd.DataFrame.from_dict(means, orient="index")


# Galleries of other sizes


def gallery_curve(
    study: Labelled,
    sizes: Sequence[int] = SIZES,
    metrics: Sequence[str] = JUDGED_BY,
    match: str = "intention",
    draws: int = 100,
    seed: int = 0,
) -> pd.DataFrame:
    """Results when each query's gallery is the sticker that was sent and others, drawn from all that were ranked.

    A scorer gives a sticker the same score whatever else is in the gallery, so the smaller ranking is the long one
    without the stickers that were not drawn. Where a run's ranked lists are on record, stickers are drawn by name,
    so that every system and seed answers the same galleries, and differences between them hold no luck of the draw.
    Else ranks are drawn: the galleries are random in the same way, and means the same on average, but each system
    has its own. Smaller galleries are parts of the larger ones.

    Args:
        study: Configurations that rank the same number of stickers for every query.
        sizes: Of the galleries, the sent sticker included.
        metrics: Names of `metrics.METRICS`.
        match: `intention` or `exact`.
        draws: Galleries of each size for each query; their mean is the query's value.
        seed: Of the draws.

    Returns:
        One row a (configuration, size); columns (metric, `mean` | `low` | `high`), in percent, with the 95 % bootstrap
        interval over seeds and queries.

    Raises:
        IntraError: If queries rank different numbers of stickers, or fewer than the largest size.
    """
    rows = {}
    for label, records in study.items():
        values = np.stack([_drawn(record, sizes, metrics, match, draws, seed) for record in records], axis=2)
        for size, own in zip(sizes, values, strict=True):
            ends = {metric: _ends(part) for metric, part in zip(metrics, own, strict=True)}
            rows[label, size] = {(m, end): value for m, part in ends.items() for end, value in part.items()}
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis(["configuration", "size"])
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame


def _drawn(
    record: Record, sizes: Sequence[int], metrics: Sequence[str], match: str, draws: int, seed: int
) -> np.ndarray:
    """Mean over drawn galleries of each size, metric and query, shape (S, M, Q)."""
    relevance, sent = record.relevance(match), record.relevance("exact").argmax(axis=1)[:, None]
    queries, ranked = relevance.shape
    if set(record.candidates()) != {ranked} or max(sizes) > ranked:
        least = record.candidates().min()
        raise IntraError(f"{record.path}: ranks {least} to {ranked} stickers, expected {max(sizes)} or more for all")
    rng, columns = np.random.default_rng(seed), _columns(record, ranked)
    numbers = np.tile(np.arange(ranked), (queries, 1))
    total = np.zeros((len(sizes), len(metrics), queries))
    for _ in range(draws):
        order = np.take_along_axis(rng.permuted(numbers, axis=1), columns, axis=1)
        order += order < np.take_along_axis(order, sent, axis=1)  # the sent one is drawn first, the others move back
        np.put_along_axis(order, sent, 0, axis=1)
        for place, size in enumerate(sizes):
            kept = relevance[order < size].reshape(queries, size)
            total[place] += [METRICS[metric](kept) for metric in metrics]
    return total / draws


def _columns(record: Record, ranked: int) -> np.ndarray:
    """Which sticker stands at each rank, by its number among the sorted ids; the ranks themselves without a run."""
    if not (record.path / RUN).exists():
        return np.arange(ranked)[None]
    return np.array([np.argsort(np.argsort(list(ranking))) for ranking in record.run().values()])


def gallery_chance(
    record: Record, sizes: Sequence[int] = SIZES, metrics: Sequence[str] = JUDGED_BY, match: str = "intention"
) -> pd.DataFrame:
    """Exact expectation when the galleries of `gallery_curve` are ranked at random, in percent: one row a size.

    Args:
        record: Of any system that ranks what the galleries are drawn from.
        sizes: Of the galleries.
        metrics: Of those whose expectation is linear in how many stickers are right, so that it follows from the
            expected number of them: `hit@1`, `precision@3`, `precision@5`, `mAP`.
        match: `intention` or `exact`.
    """
    relevance = record.relevance(match)
    others, ranked = relevance.sum(axis=1) - 1, relevance.shape[1]
    expected = {size: expected_by_chance(1 + others * (size - 1) / (ranked - 1), size) for size in sizes}
    return 100 * pd.DataFrame.from_dict(expected, orient="index").rename_axis("size")[list(metrics)]


# Power


def smallest_detectable(deviation: float, queries: int, level: float = LEVEL, power: float = POWER) -> float:
    """True mean of paired differences that a two-sided test finds with a given chance, by the normal approximation.

    Args:
        deviation: Standard deviation of the differences over queries.
        queries: How many there are.
        level: Of the test.
        power: The chance.
    """
    quantile = NormalDist().inv_cdf
    return (quantile(1 - level / 2) + quantile(power)) * deviation / queries**0.5


def detectable(
    study: Labelled, base: str, metrics: Sequence[str] = JUDGED_BY, match: str = "intention"
) -> pd.DataFrame:
    """How small a true difference to one configuration these queries would still show, in points.

    Args:
        study: Configurations that answer the same queries.
        base: Label of the one that the others are compared with.
        metrics: Names of `metrics.METRICS`.
        match: `intention` or `exact`.

    Returns:
        One row a (configuration, metric): `queries`; `deviation` over queries of the differences, averaged over
        seeds; `detectable`, see `smallest_detectable`; and `first of Holm`, the same for the strictest step of Holm's
        correction for all rows.
    """
    means = {label: sum(frames) / len(frames) for label, frames in per_query(study, match).items()}
    others = [label for label in study if label != base]
    strictest, rows = LEVEL / (len(others) * len(metrics)), {}
    for label in others:
        for metric in metrics:
            values = means[label][metric] - means[base][metric]
            deviation = 100 * float(values.std(ddof=1))
            ends = [smallest_detectable(deviation, len(values), level) for level in (LEVEL, strictest)]
            rows[label, metric] = [len(values), deviation, *ends]
    columns = ["queries", "deviation", "detectable", "first of Holm"]
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    frame.index = pd.MultiIndex.from_tuples(frame.index, names=["configuration", "metric"])
    return frame


def power_sentences(power: pd.DataFrame, base: str) -> str:
    """What the answer of `detectable` says of this test split."""
    count, tests, parts = len(power.index.unique("configuration")), len(power), []
    for metric, part in power.groupby("metric", sort=False):
        least, most, middle = part["detectable"].agg(["min", "max", "median"])
        strictest = part["first of Holm"].median()
        parts.append(
            f"in {metric} {least:.1f} to {most:.1f} points, depending on the other system (median {middle:.1f} over "
            f"{count}; {strictest:.1f} where Holm's correction for {tests} tests is strictest)"
        )
    return (
        f"With {power['queries'].iloc[0]} queries a two-sided test at {100 * LEVEL:g} % has a chance of "
        f"{100 * POWER:g} % to find a true difference to {base} of this size: {'; '.join(parts)}. "
        "Those below about seven tenths of it will mostly go unseen."
    )


# The table


def printed_row(label: str, printed: pd.DataFrame) -> str | None:
    """The model of Table II that a configuration stands beside, if any.

    The paper does not say how its CLIP was trained, nor what its systems were told of intentions: all variants of a
    system stand beside one row.
    """
    name = "CLIP" if label.startswith("CLIP ") else label.removesuffix(WITH_INTENTION).replace(" ", "")
    return name if name in printed.index else None


def full_table(
    study: Labelled,
    printed: pd.DataFrame,
    metrics: Sequence[str] = tuple(METRICS),
    match: str = "intention",
) -> pd.DataFrame:
    """Every system, in groups, with its intervals and what the paper prints of it, as text.

    Args:
        study: The study `main`.
        printed: Answer of `paper.systems`.
        metrics: Which to show.
        match: `intention`, or `exact`, which the paper does not print.

    Returns:
        One row a (group, system); systems of the paper that are not in the study stand at the end of their group.
        Columns (metric, `here` | `paper, another data set`), the second where the paper prints the metric.
    """
    groups = in_groups(study)
    rows = {label: printed_row(label, printed) for own in groups.values() for label in own}
    theirs = printed[(printed["group"] != ABLATIONS) | (printed.index == "Int-RA")] if match == "intention" else None
    if theirs is not None:
        for model, group in theirs["group"].items():
            groups[PRINTED_GROUPS[group]] += [] if model in rows.values() else [model]
    order = [(group, label) for group, own in groups.items() for label in own]
    ours = with_intervals(results(study, match, metrics)).reindex([label for _, label in order]).fillna(NOT_RUN)
    cells = {}
    for metric in metrics:
        cells[metric, HERE] = ours[metric].tolist()
        if theirs is not None and metric in theirs:
            models = [rows.get(label, label) for _, label in order]
            cells[metric, PAPER] = [f"{theirs.at[m, metric]:.2f}" if m else NOT_PRINTED for m in models]
    return pd.DataFrame(cells, index=pd.MultiIndex.from_tuples(order, names=["group", "system"]))


def versus(differences: pd.DataFrame) -> pd.DataFrame:
    """Text of the differences to one configuration: for each metric the points, the corrected p and what was found.

    Args:
        differences: Answer of `tables.differences`, whose Holm correction is for all its rows.
    """
    cells, sides = difference_cells(differences), found(differences).unstack("metric")
    for metric in sides:
        cells[metric, "found"] = sides.loc[cells.index, metric]
    return cells[list(differences.index.unique("metric"))]


def run_links(study: Labelled) -> str:
    """A Markdown list of the ranked lists that a build puts beside its pages, as seen from a notebook's page."""
    names = {label: run_file(label) for label in study} | {f"{match} qrels": f"{match}.qrels" for match in MATCHES}
    # as HTML: the files are there when the pages are, not when they are rendered
    return "\n".join(f'- <a href="../runs/{name}" download>{label}</a>' for label, name in names.items())


def run_file(label: str) -> str:
    """File name of the ranked lists of a row, as it can stand in an address."""
    return re.sub(r"[^a-z0-9]+", "-", label.lower().replace("+", " plus ")).strip("-") + ".run.gz"


# Synthetic data


def planted_results() -> pd.DataFrame:
    """What `python -m intra.planted` found, in percent.

    Returns:
        One row a system and kind of supervision: hit@1 and mAP where a rule is planted; mAP where answers are shuffled,
        and that of chance with its deviation (see `planted.planted_result`).
    """
    found = json.loads(PLANTED.read_text(encoding="utf-8"))
    rows = {}
    for label, both in found["rows"].items():
        system, supervision = label.split(", ")
        rows[system.upper(), supervision] = {
            "hit@1": both["planted"]["hit1"],
            "mAP": both["planted"]["mAP"],
            "mAP, shuffled": both["shuffled"]["mAP"],
            "chance": both["shuffled"]["chance"],
            "deviation": both["shuffled"]["deviation"],
        }
    return pd.DataFrame.from_dict(rows, orient="index")
