"""Records to frames, and frames to the text of MyST tables. No torch here."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from intra.evaluation import Qrels, bootstrap_interval, evaluate
from intra.metrics import METRICS, expected_by_chance
from intra.paper import table_two
from intra.records import Record

SYSTEM_NAMES = {
    "random": "Random",
    "majority": "Majority intention",
    "int_ra": "Int-RA",
    "oracle": "Oracle intention",
}
"""Key of `models.SYSTEMS` to the name in print, in the order of the tables."""


def per_query(records: Sequence[Record], qrels: Qrels) -> dict[str, list[pd.DataFrame]]:
    """System to one frame of per-query metrics for each seed."""
    frames: dict[str, list[pd.DataFrame]] = {}
    for record in records:
        frames.setdefault(record.system, []).append(evaluate(record.run(), qrels))
    return {system: frames[system] for system in SYSTEM_NAMES if system in frames}


def results(records: Sequence[Record], qrels: Qrels, metrics: Sequence[str] = tuple(METRICS)) -> pd.DataFrame:
    """Mean of each metric over seeds and queries, in percent, with the ends of its 95 % bootstrap interval.

    Returns:
        One row a system; columns (metric, `mean` | `low` | `high`).
    """
    rows = {}
    for system, frames in per_query(records, qrels).items():
        rows[SYSTEM_NAMES[system]] = {}
        for metric in metrics:
            values = [frame[metric].to_numpy() for frame in frames]
            low, high = bootstrap_interval(values)
            ends = {"mean": float(np.mean(values)), "low": low, "high": high}
            rows[SYSTEM_NAMES[system]] |= {(metric, end): 100 * value for end, value in ends.items()}
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame


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


def control_differences(records: Sequence[Record], qrels: Qrels) -> pd.DataFrame:
    """How far Int-RA lies above the majority control and above exact chance on the same queries, in points.

    Returns:
        One row a control and metric (hit@1, mAP): mean difference, and its 95 % bootstrap interval over seeds
        and queries.
    """
    frames = per_query(records, qrels)
    run = records[0].run()
    chance = pd.DataFrame([expected_by_chance([len(right)], len(run[query])) for query, right in qrels.items()])
    rows = {}
    for control, theirs in {"majority": frames["majority"], "chance": [chance]}.items():
        for metric in ("hit@1", "mAP"):
            ours = [frame[metric].to_numpy() for frame in frames["int_ra"]]
            others = [frame[metric].to_numpy() for frame in theirs]
            difference = [a - others[n % len(others)] for n, a in enumerate(ours)]
            low, high = bootstrap_interval(difference)
            ends = {"difference": float(np.mean(difference)), "low": low, "high": high}
            rows[f"{metric} against {control}"] = {name: 100 * value for name, value in ends.items()}
    return pd.DataFrame.from_dict(rows, orient="index")


def beside_paper(ours: pd.DataFrame, chance: dict[str, float]) -> pd.DataFrame:
    """Int-RA's row of Table II, ours, and exact chance on our test split, in percent.

    Args:
        ours: Answer of `results` under intention match.
        chance: Answer of `metrics.expected_by_chance`.
    """
    printed = table_two("Int-RA")
    names = {"P@1": "hit@1", "P@3": "hit@3", "P@5": "hit@5", "mAP": "mAP"}
    return pd.DataFrame(
        {
            "paper, StickerInt": printed,
            "here, ReplyStickers": {p: ours.loc["Int-RA", (m, "mean")] for p, m in names.items()},
            "chance here": {p: 100 * chance[m] for p, m in names.items()},
        }
    )
