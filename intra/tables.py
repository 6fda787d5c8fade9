"""Records to frames, and frames to the text of MyST tables. No torch here."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from intra.config import unknown
from intra.errors import IntraError
from intra.evaluation import bootstrap_interval
from intra.metrics import METRICS, expected_by_chance
from intra.records import Record

Labelled = Mapping[str, Sequence[Record]]
"""What `study.load_study` gives: label of a configuration to its records, one a seed."""


def per_query(study: Labelled, match: str = "intention") -> dict[str, list[pd.DataFrame]]:
    """Label to one frame of per-query metrics for each seed."""
    return {label: [record.per_query(match) for record in records] for label, records in study.items()}


def results(study: Labelled, match: str = "intention", metrics: Sequence[str] = tuple(METRICS)) -> pd.DataFrame:
    """Mean of each metric over seeds and queries, in percent, with the ends of its 95 % bootstrap interval.

    Returns:
        One row a configuration; columns (metric, `mean` | `low` | `high`).
    """
    rows = {}
    for label, frames in per_query(study, match).items():
        rows[label] = {}
        for metric in metrics:
            ends = _mean_and_interval([frame[metric].to_numpy() for frame in frames], "mean")
            rows[label] |= {(metric, end): value for end, value in ends.items()}
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame


def _mean_and_interval(values: Sequence[np.ndarray], name: str) -> dict[str, float]:
    """Mean, under the name, and interval over seeds and queries, in percent."""
    low, high = bootstrap_interval(values)
    return {name: 100 * float(np.mean(values)), "low": 100 * low, "high": 100 * high}


def differences(
    study: Labelled, base: str, metrics: Sequence[str] = ("hit@1", "mAP"), match: str = "intention"
) -> pd.DataFrame:
    """How far every other configuration lies above one, paired by seed and query, in points.

    Args:
        study: Label to records over seeds; see `study.load_study`.
        base: Label of the configuration that the others are compared with.
        metrics: Names of `metrics.METRICS`.
        match: `intention` or `exact`.

    Returns:
        One row a (configuration, metric): `difference` of the means, `low` and `high` end of its 95 % bootstrap
        interval over seeds and queries, `p` of `sign_flip_p` for the queries' differences averaged over seeds, and
        `p_holm`, corrected for all rows of the frame.

    Raises:
        IntraError: If the base is unknown, or two configurations have other seeds or other queries.
    """
    if base not in study:
        raise IntraError(unknown("configuration", base, study))
    frames = per_query(study, match)
    seeds = {label: [record.seed for record in records] for label, records in study.items()}
    rows, averaged = {}, []
    for label in study:
        if label == base:
            continue
        if seeds[label] != seeds[base]:
            raise IntraError(f"{label!r} has the seeds {seeds[label]}, {base!r} {seeds[base]}: expected the same")
        for one, other in zip(frames[label], frames[base], strict=True):
            if list(one.index) != list(other.index):
                raise IntraError(f"{label!r} was evaluated on other queries than {base!r}")
        for metric in metrics:
            pairs = zip(frames[label], frames[base], strict=True)
            values = [(one[metric] - other[metric]).to_numpy() for one, other in pairs]
            rows[label, metric] = _mean_and_interval(values, "difference")
            averaged.append(np.mean(values, axis=0))
    frame = pd.DataFrame.from_dict(rows, orient="index")
    p = sign_flip_p(np.stack(averaged, axis=1))
    return frame.assign(p=p, p_holm=holm(p)).rename_axis(["configuration", "metric"])


def sign_flip_p(differences: np.ndarray, flips: int = 10_000, seed: int = 0) -> np.ndarray:
    """Two-sided p of paired randomisation tests: how often random signs give a mean as far from 0 as the true ones.

    Args:
        differences: Of Q pairs in each of K comparisons, shape (Q, K).
        flips: Random draws of Q signs; the true signs count as one more.
        seed: Of the draws.

    Returns:
        Shape (K,), float64, never below 1 / (flips + 1).
    """
    rng = np.random.default_rng(seed)
    least = np.abs(differences.sum(axis=0)) - 1e-9  # equal sums may differ in their last digits
    as_far = np.ones(differences.shape[1])
    for _ in range(flips):
        signs = rng.choice((-1.0, 1.0), size=len(differences))
        as_far += np.abs(signs @ differences) >= least
    return as_far / (flips + 1)


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's step-down correction of K p-values, in their order: the smallest times K, the next times K - 1, ...

    A corrected value is at least that of every smaller p, and at most 1.
    """
    p = np.asarray(p, float)
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.maximum.accumulate(np.minimum(1, p[order] * np.arange(len(p), 0, -1)))
    return corrected


def with_intervals(frame: pd.DataFrame) -> pd.DataFrame:
    """Cells like `31.2 [25.0, 37.9]` from the answer of `results`."""
    cells = {}
    for metric in frame.columns.get_level_values(0).unique():
        part = frame[metric]
        cells[metric] = [f"{r['mean']:.1f} [{r['low']:.1f}, {r['high']:.1f}]" for _, r in part.iterrows()]
    return pd.DataFrame(cells, index=frame.index)


def to_myst(frame: pd.DataFrame, caption: str, name: str, corner: str = "") -> str:
    """A captioned MyST `list-table` that `{numref}` can point to.

    Args:
        frame: Cells are printed with `str`.
        caption: One sentence.
        name: Target of references.
        corner: Heading of the index column.
    """
    heads = [corner, *map(str, frame.columns)]
    rows = [
        heads,
        *([str(index), *map(str, row)] for index, row in zip(frame.index, frame.to_numpy(), strict=True)),
    ]
    body = "\n".join("\n".join(("* - " if n == 0 else "  - ") + cell for n, cell in enumerate(row)) for row in rows)
    return f"```{{list-table}} {caption}\n:name: {name}\n:header-rows: 1\n:stub-columns: 1\n\n{body}\n```"


def to_markdown(frame: pd.DataFrame, corner: str = "") -> str:
    """A plain Markdown table, for the README."""
    lines = [[corner, *map(str, frame.columns)], ["---"] * (len(frame.columns) + 1)]
    lines += [[str(i), *map(str, row)] for i, row in zip(frame.index, frame.to_numpy(), strict=True)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def by_chance(record: Record, match: str = "intention") -> pd.DataFrame:
    """Exact expectations in random order, one row a query of a run, each with its own number of candidates."""
    pairs = zip(record.relevance(match).sum(axis=1), record.candidates(), strict=True)
    return pd.DataFrame([expected_by_chance([right], ranked) for right, ranked in pairs])


def control_differences(study: Labelled, match: str = "intention") -> pd.DataFrame:
    """How far Int-RA lies above the majority control and above exact chance on the same queries, in points.

    Returns:
        One row a control and metric (hit@1, mAP): mean difference, and its 95 % bootstrap interval over seeds
        and queries.
    """
    frames, chance = per_query(study, match), by_chance(study["Int-RA"][0], match)
    rows = {}
    for control, theirs in {"majority": frames["Majority intention"], "chance": [chance]}.items():
        for metric in ("hit@1", "mAP"):
            ours = [frame[metric].to_numpy() for frame in frames["Int-RA"]]
            others = [frame[metric].to_numpy() for frame in theirs]
            values = [a - others[n % len(others)] for n, a in enumerate(ours)]
            rows[f"{metric} against {control}"] = _mean_and_interval(values, "difference")
    return pd.DataFrame.from_dict(rows, orient="index")
