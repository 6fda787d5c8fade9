"""The paper's printed numbers, from one data file: `paper_tables.json`."""

import functools
import json

import pandas as pd

from intra.data.schema import SPLITS
from intra.paths import PACKAGE


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


def table_two(model: str) -> dict[str, float]:
    """P@1, P@3, P@5 and mAP of one row of Table II, in percent.

    Raises:
        KeyError: If the table has no such row.
    """
    for row in _tables()["table_II"]["rows"]:
        if row["model"] == model:
            return row["value"]
    raise KeyError(f"Table II has no row {model!r}")
