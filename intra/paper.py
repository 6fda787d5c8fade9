"""The paper's printed numbers, from one data file: `paper_tables.json`."""

import functools
import json

import pandas as pd

from intra.data.schema import SPLITS
from intra.paths import PACKAGE

METRIC_NAMES = {"P@1": "hit@1", "P@3": "hit@3", "P@5": "hit@5", "mAP": "mAP"}
"""The paper's name of a metric to ours: its values of P@N are shares of whole queries, as hit rates are."""


@functools.cache
def _tables() -> dict:
    return json.loads((PACKAGE / "paper_tables.json").read_text(encoding="utf-8"))


def table_one() -> pd.DataFrame:
    """Table I as printed: one row a quantity, one column a split."""
    return pd.DataFrame.from_dict(_tables()["table_I"]["rows"], orient="index", columns=list(SPLITS))


def text_totals() -> dict[str, float]:
    """The totals that Section III-C of the paper states."""
    return _tables()["table_I"]["text_totals"]


def settings() -> dict[str, str]:
    """What Section V-A and V-E print for the settings of a run, `not given` where they are silent."""
    return _tables()["settings"]


def ablations() -> pd.DataFrame:
    """Int-RA and its ablations as Table II prints them, in percent: one row a model, one column a metric of ours."""
    rows = [row for row in _tables()["table_II"]["rows"] if row["group"] == "Ablation study"]
    return _printed({row["model"]: row["value"] for row in rows})


def systems() -> pd.DataFrame:
    """Every row of Table II, in percent: one row a model, one column a metric of ours, and the `group` it stands in."""
    rows = _tables()["table_II"]["rows"]
    groups = {row["model"]: row["group"] for row in rows}
    return _printed({row["model"]: row["value"] for row in rows}).assign(group=groups)


def table_three() -> pd.DataFrame:
    """Table III as `ablations` gives Table II: one row a set of attributes, as letters of `config.ATTRIBUTE_KEYS`."""
    return _printed({row["key"]: row["value"] for row in _tables()["table_III"]["rows"]})


def printed() -> pd.DataFrame:
    """Every row of Tables II and III as printed text, such as `37.50`: one row a label, one column a metric of ours.

    The column `group` holds that of Table II, or `Table III`, whose labels are those of `table_three`.
    """
    rows = {row["model"]: row["printed"] | {"group": row["group"]} for row in _tables()["table_II"]["rows"]}
    sets = {row["key"]: row["printed"] | {"group": "Table III"} for row in _tables()["table_III"]["rows"]}
    return _printed(rows | sets)


def distinct() -> pd.DataFrame:
    """The answer of `printed` without rows that repeat another: Int-RA stands in both tables."""
    rows = printed()
    return rows[~rows.drop(columns="group").duplicated()]


def starred() -> dict[str, list[str]]:
    """Cells of Table II with an asterisk: model to our names of the metrics, for the models that have any."""
    rows = _tables()["table_II"]["rows"]
    return {row["model"]: [METRIC_NAMES[name] for name in row["starred"]] for row in rows if row["starred"]}


def levels() -> dict[str, float]:
    """Level of significance that an asterisk stands for, by the `text` of Section V-C and by the `caption`."""
    claims = _tables()["text_claims"]
    return {"text": claims["alpha_text"], "caption": claims["p_caption"]}


def _printed(rows: dict[str, dict]) -> pd.DataFrame:
    return pd.DataFrame.from_dict(rows, orient="index").rename(columns=METRIC_NAMES)


def without_intention() -> dict[str, float]:
    """Points that Section V-D says two metrics lose without the intention, by our names of the metrics."""
    stated = _tables()["text_claims"]["without_intention_decrease_text"]
    return {METRIC_NAMES[name]: points for name, points in stated.items()}


def best_window() -> int:
    """Utterances with which Figure 5 finds the best results; it prints no values."""
    return _tables()["text_claims"]["figure_5"]["best"]
