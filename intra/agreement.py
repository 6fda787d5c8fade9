"""Does a fresh run agree with the reference?"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from intra.records import Record

SAME, WITHIN, OUTSIDE = "same", "within seed spread", "outside seed spread"
SPREAD = 2.0
"""Standard deviations over the reference's seeds that still count as agreement."""


def agreement(reference: Mapping[str, Sequence[Record]], fresh: Mapping[str, Sequence[Record]]) -> pd.DataFrame:
    """Compare mAP (intention match, test) of two times the runs of one study.

    Args:
        reference: Label of a configuration to its records.
        fresh: The same, of other runs.

    Returns:
        One row a configuration that both hold: how many runs, the reference's mean and spread over seeds, the fresh
        mean, and the worst verdict over the fresh runs. Floating point differs between machines, so equality
        is expected on the machine that made the reference and agreement within spread elsewhere.
    """
    rows = {}
    for label in reference:
        if label not in fresh:
            continue
        known = {record.config: _value(record) for record in reference[label]}
        theirs = list(known.values())
        ours = {record.config: _value(record) for record in fresh[label]}
        verdicts = [_verdict(value, known.get(config), theirs) for config, value in ours.items()]
        rows[label] = {
            "fresh runs": len(ours),
            "reference mAP": f"{100 * np.mean(theirs):.2f} ± {100 * np.std(theirs):.2f}",
            "fresh mAP": f"{100 * np.mean(list(ours.values())):.2f}",
            "verdict": max(verdicts, key=[SAME, WITHIN, OUTSIDE].index),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _value(record: Record) -> float:
    return record.metrics["intention"]["mAP"]


def _verdict(fresh: float, same_config: float | None, reference: Sequence[float]) -> str:
    if same_config is not None and abs(fresh - same_config) < 1e-6:
        return SAME
    return WITHIN if abs(fresh - np.mean(reference)) <= SPREAD * np.std(reference) else OUTSIDE
