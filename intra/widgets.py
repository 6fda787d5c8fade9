"""Interactive parts of the book: numbers as a JSON island in HTML, from which `book/_static` builds the controls.

Where no script runs, a reader sees one sentence that points to a figure instead. No torch here.
"""

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from intra import paper
from intra.audit.granularity import SHARES
from intra.comparisons import Sets
from intra.errors import IntraError

DECIMALS = 1
"""Of percentages and points, as in the tables of the book, so that nbval can compare them."""
FIGURE = "The same numbers without a script: the figure and the tables above."


@dataclass(frozen=True, repr=False)
class Widget:
    """A part of a page that a script fills; notebooks show it as the value of a cell.

    Attributes:
        kind: Name by which the script knows what to build.
        content: What JSON can hold.
        instead: Sentence for readers without the script.
        link: Address to which the sentence leads.
    """

    kind: str
    content: Mapping[str, Any]
    instead: str
    link: str

    def __repr__(self) -> str:
        """The sentence, for notebooks without HTML."""
        return self.instead

    def _repr_html_(self) -> str:
        """HTML with the content as data; a `<` in it cannot end the script."""
        island = json.dumps(self.content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace(
            "<", "\\u003c"
        )
        return (
            f'<div class="intra-widget" data-widget="{self.kind}">'
            f'<script type="application/json">{island}</script>'
            f'<p><a href="{html.escape(self.link)}">{html.escape(self.instead)}</a></p></div>'
        )


def subsets(
    ours: pd.DataFrame,
    differences: pd.DataFrame,
    sets: Sets,
    printed: pd.DataFrame,
    chance: Mapping[str, float],
) -> Widget:
    """Results of every set of attributes, one set at a time.

    Args:
        ours: Answer of `tables.results`, one row a set.
        differences: Answer of `tables.differences` to the whole set, for the same metrics.
        sets: Answer of `comparisons.attribute_sets`.
        printed: Answer of `comparisons.printed_attribute_sets`.
        chance: Metric to percent.
    """
    metrics, parts = list(ours.columns.unique(0)), max(sets.values(), key=len)
    rows = []
    for label in ours.index:
        row = {"has": list(sets[label]), "here": _intervals(ours.loc[label], metrics), "difference": None}
        if len(sets[label]) < len(parts):
            part = differences.loc[label]
            row["difference"] = {metric: _ends(part.loc[metric], "difference") for metric in metrics}
        there = label in printed.index
        row["paper"] = {metric: f"{printed.at[label, metric]:.2f}" for metric in metrics} if there else None
        rows.append(row)
    content = {"metrics": metrics, "attributes": list(parts), "chance": _rounded(chance, metrics), "sets": rows}
    return Widget("subsets", content, FIGURE, "#fig-attribute-sets")


def windows(
    ours: pd.DataFrame,
    validation: pd.DataFrame,
    reach: pd.DataFrame,
    chance: Mapping[str, float],
    best: int,
) -> Widget:
    """Results of every window, one window at a time, and what validation would choose.

    Args:
        ours: Answer of `tables.results`, one row a window.
        validation: Answer of `comparisons.validation_scores`.
        reach: Answer of `comparisons.window_reach` for the same windows.
        chance: Metric to percent.
        best: The paper's window.

    Raises:
        IntraError: If results and reach are of other windows.
    """
    if list(map(int, ours.index)) != list(reach.index):
        raise IntraError(f"results of windows {list(ours.index)}, reach of {list(reach.index)}: expected the same")
    metrics, mean = list(ours.columns.unique(0)), validation.mean(axis=1)
    rows = [
        {
            "window": int(label),
            "here": _intervals(ours.loc[label], metrics),
            "validation": _round(mean[label]),
            "shorter": int(reach.at[int(label), "shorter"]),
            "cut": int(reach.at[int(label), "cut"]),
        }
        for label in ours.index
    ]
    content = {
        "metrics": metrics,
        "chance": _rounded(chance, metrics),
        "conversations": int(reach[["shorter", "exactly", "cut"]].iloc[0].sum()),
        "chosen": int(mean.idxmax()),
        "paper": best,
        "windows": rows,
    }
    return Widget("windows", content, FIGURE, "#fig-window")


def galleries(curve: pd.DataFrame, chance: pd.DataFrame, highlighted: Sequence[str]) -> Widget:
    """Results of chosen systems in galleries of several sizes, one size at a time.

    Args:
        curve: Answer of `main_results.gallery_curve`.
        chance: Answer of `main_results.gallery_chance` for the same sizes.
        highlighted: Systems that are chosen at first.
    """
    metrics = list(curve.columns.unique(0))
    content = {
        "metrics": metrics,
        "sizes": [int(size) for size in chance.index],
        "chance": [_rounded(row, metrics) for _, row in chance.iterrows()],
        "chosen": list(highlighted),
        "systems": {
            label: [_intervals(curve.loc[(label, size)], metrics) for size in chance.index]
            for label in curve.index.unique("configuration")
        },
    }
    return Widget("galleries", content, FIGURE, "#fig-gallery-size")


def calculator() -> Widget:
    """Which sample sizes can print given percentages: the shares that the paper prints, as text, for a start."""
    rows = paper.printed()
    content = {
        "rows": [
            {
                "label": label,
                "table": "III" if row["group"] == "Table III" else "II",
                "values": row[list(SHARES)].tolist(),
            }
            for label, row in rows.iterrows()
        ],
        "first": "Int-RA",
        "n": int(paper.table_one().at["conversations", "test"]),
    }
    instead = "This calculator needs JavaScript; the audit of the paper's numbers shows what it would answer for them."
    return Widget("calculator", content, instead, "../notebooks/12_audit.html")


def _intervals(row: pd.Series, metrics: Sequence[str]) -> dict[str, list[float]]:
    """Metric to mean, low and high end."""
    return {metric: _ends(row[metric], "mean") for metric in metrics}


def _ends(part: pd.Series, middle: str) -> list[float]:
    return [_round(part[end]) for end in (middle, "low", "high")]


def _rounded(values: Mapping[str, float], metrics: Sequence[str]) -> dict[str, float]:
    return {metric: _round(values[metric]) for metric in metrics}


def _round(value: float) -> float:
    return round(float(value), DECIMALS) + 0.0  # no negative zero
