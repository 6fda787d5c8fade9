"""What the paper's text says, against what its tables print; and the arithmetic of its Table I."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

import numpy as np
import pandas as pd

from intra import paper
from intra.audit import granularity
from intra.audit.sampling import FULL
from intra.comparisons import steps
from intra.config import ATTRIBUTE_KEYS

AGREES = "agrees"
PARTLY = "in part"
DIFFERS = "differs"
AVERAGES = {
    "avg_utterances_per_conversation": ("utterances", "conversations"),
    "avg_tokens_per_utterance": ("tokens", "utterances"),
}
"""Averages of Table I that are a quotient of two of its rows."""
LLM = "Large language models"
TEXT_TO_IMAGE = "Text-to-image retrieval"
RETRIEVAL = "Sticker retrieval methods"


def rounded(value: Fraction, decimals: int = 2) -> str:
    """A number as text, rounded half-up from the exact fraction; not negative."""
    last = (value * 10**decimals + Fraction(1, 2)).__floor__()
    whole, rest = divmod(last, 10**decimals)
    return f"{whole}.{rest:0{decimals}d}"


def sums() -> pd.DataFrame:
    """Totals of Table I over its splits beside those of the text, and what would make up the difference."""
    table, totals = paper.table_one(), paper.text_totals()
    rows = {}
    for name in ("conversations", "utterances", "tokens", "stickers"):
        total, stated = int(table.loc[name].sum()), int(totals[name])
        rows[name] = {"sum of the splits": total, "text": stated, "difference": stated - total}
    return pd.DataFrame.from_dict(rows, orient="index")


def averages() -> pd.DataFrame:
    """Averages that the text states, under each way to average; `printed as` names those that print the same.

    Pooled: a quotient of totals. With the sticker: each conversation has one more utterance. Macro: the mean of the
    splits, from their counts or of what is printed for them. Users are pooled with conversations as weights.
    """
    table, totals = paper.table_one(), paper.text_totals()
    exact = {name: [Fraction(str(value)) for value in table.loc[name]] for name in table.index}
    conversations = exact["conversations"]
    extended = {**exact, "utterances": [u + c for u, c in zip(exact["utterances"], conversations, strict=True)]}
    rows = {}
    for name, (top, bottom) in AVERAGES.items():
        rows[name] = {
            "pooled": sum(exact[top]) / sum(exact[bottom]),
            "pooled, with the sticker": sum(extended[top]) / sum(extended[bottom]),
            "macro": sum(a / b for a, b in zip(exact[top], exact[bottom], strict=True)) / len(table.columns),
        }
    users = exact["avg_users_per_conversation"]
    weighted = sum(a * b for a, b in zip(users, conversations, strict=True)) / sum(conversations)
    rows["avg_users_per_conversation"] = {"pooled": weighted}
    cells = {}
    for name, ways in rows.items():
        ways["macro of the printed"] = sum(exact[name]) / len(table.columns)
        text = {way: rounded(value) for way, value in ways.items()}
        stated = rounded(Fraction(str(totals[name])))
        cells[name] = text | {"text": stated, "printed as": " or ".join(w for w, v in text.items() if v == stated)}
    columns = ["pooled", "pooled, with the sticker", "macro", "macro of the printed", "text", "printed as"]
    return pd.DataFrame.from_dict(cells, orient="index", columns=columns).fillna("not defined")


def split_averages() -> pd.DataFrame:
    """Averages of each split recomputed from the counts of Table I, beside the printed ones, as text."""
    table = paper.table_one()
    cells = {}
    for name, (top, bottom) in AVERAGES.items():
        for split in table:
            exact = Fraction(int(table.at[top, split]), int(table.at[bottom, split]))
            stated = rounded(Fraction(str(table.at[name, split])))
            cells[name, split] = {"from the counts": rounded(exact), "printed": stated}
    frame = pd.DataFrame.from_dict(cells, orient="index")
    return frame.assign(verdict=np.where(frame["from the counts"] == frame["printed"], AGREES, DIFFERS))


def uses_per_sticker() -> pd.Series:
    """Conversations of each split for one of its stickers."""
    table = paper.table_one()
    return table.loc["conversations"] / table.loc["stickers"]


@dataclass(frozen=True)
class Check:
    """One statement of the paper, in our words, and how to hold it against its tables."""

    where: str
    """Section or table that makes it."""
    statement: str
    look: Callable[[], tuple[str, str]]
    """Verdict, `AGREES`, `PARTLY` or `DIFFERS`, and what the tables print."""


@dataclass(frozen=True)
class Note:
    """Something that the tables print and the text does not speak of."""

    where: str
    look: Callable[[], str]


def checks() -> pd.DataFrame:
    """Every entry of `CHECKS`: one row each, `statement`, `tables` and `verdict`; the index says where it stands."""
    found = [check.look() for check in CHECKS]
    rows = [
        {"statement": c.statement, "tables": said, "verdict": v} for c, (v, said) in zip(CHECKS, found, strict=True)
    ]
    return pd.DataFrame(rows, index=[check.where for check in CHECKS])


def notes() -> pd.DataFrame:
    """Every entry of `NOTES`: where it stands, and what the tables print."""
    return pd.DataFrame({"tables": [note.look() for note in NOTES]}, index=[note.where for note in NOTES])


def verdict_of(right: bool) -> str:
    """`AGREES` or `DIFFERS`."""
    return AGREES if right else DIFFERS


def _signed(changes: pd.Series | Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:+.2f}" for name, value in changes.items())


def _changes() -> pd.DataFrame:
    """Ablation minus full model, in points: one row an ablation, one column a metric."""
    printed = paper.ablations()
    return (printed.drop(FULL) - printed.loc[FULL]).round(2)


def _of_group(*groups: str) -> pd.DataFrame:
    systems = paper.systems()
    return systems[systems["group"].isin(groups)].drop(columns="group")


def _beats_baselines() -> tuple[str, str]:
    leads = paper.ablations().loc[FULL] - _of_group(RETRIEVAL, TEXT_TO_IMAGE, LLM).max()
    return verdict_of((leads > 0).all()), f"over the best baseline: {_signed(leads)}"


def _group_beats(better: str, worse: Sequence[str], overall: bool) -> tuple[str, str]:
    """Whether each row of a group is above each row of others; said of them overall, whether their means are."""
    upper, lower = _of_group(better), _of_group(*worse)
    below = [
        f"{one} below {other} at {metric}"
        for metric in upper
        for one in upper.index
        for other in lower.index
        if upper.at[one, metric] < lower.at[other, metric]
    ]
    verdict = verdict_of(not below)
    if below and overall and (upper.mean() > lower.mean()).all():
        verdict = PARTLY
    return verdict, f"not so in {len(below)} of {upper.size * len(lower)} comparisons: {granularity.listed(below, 4)}"


def _best_language_models() -> tuple[str, str]:
    models, named = _of_group(LLM), {"ChatGLM3", "Llama3"}
    best = {metric: models.index[models[metric] == models[metric].max()] for metric in granularity.SHARES}
    place = models["hit@3"].rank(ascending=False, method="min").astype(int)["Llama3"]
    shown = "; ".join(f"{metric}: {' and '.join(names)}" for metric, names in best.items())
    right = [set(names) == named for names in best.values()]
    verdict = AGREES if all(right) else PARTLY if any(right) else DIFFERS
    return verdict, f"best are {shown}; Llama3 is number {place} of {len(models)} at hit@3"


def _precision() -> tuple[str, str]:
    (n, *_) = granularity.denominators(granularity.family_values(), mixed=True)
    own = paper.distinct()
    values = own[own["group"].isin(granularity.FAMILY)][["hit@3", "hit@5"]].to_numpy().ravel()
    whole = sum(granularity.fits_mixed([value], n) for value in values)
    said = f"{whole} of {len(values)} values of P@3 and P@5 of Int-RA's rows are shares of {n} whole queries"
    return verdict_of(whole < len(values)), said + "; precisions would mostly be thirds and fifths of one"


def _one_level() -> tuple[str, str]:
    levels = paper.levels()
    return verdict_of(len(set(levels.values())) == 1), "; ".join(f"{where}: {p:g}" for where, p in levels.items())


def _all_ablations_are_worse() -> tuple[str, str]:
    changes = _changes().stack()
    others = [f"{label} {metric} {value:+.2f}" for (label, metric), value in changes[changes >= 0].items()]
    return verdict_of(
        not others
    ), f"{(changes < 0).sum()} of {len(changes)} changes are falls; not: {', '.join(others)}"


def _attributes_matter_less_at_five() -> tuple[str, str]:
    changes = _changes().loc["w/o attribute", list(granularity.SHARES)]
    return verdict_of(changes.abs().idxmin() == "hit@5"), f"without attributes: {_signed(changes)}"


def said_without_intention() -> str:
    """The points that the text gives for the removal of the intention."""
    return _signed({metric: -points for metric, points in paper.without_intention().items()})


def _without_intention() -> tuple[str, str]:
    changes, stated = _changes(), paper.without_intention()
    own = changes.loc["w/o intention", list(stated)]
    owners = [f"{label} in {metric}" for (label, metric), v in changes.stack().items() if -v in stated.values()]
    said = f"{_signed(own)}; the text's points, {said_without_intention()},"
    agrees = all(own[name] == -points for name, points in stated.items())
    return verdict_of(agrees), f"{said} are in the table those of {' and '.join(owners)}"


def _intention_costs_most() -> tuple[str, str]:
    changes = _changes().loc[["w/o intention", "w/o knowledge"]]
    worse = changes.loc["w/o intention"] < changes.loc["w/o knowledge"]
    verdict = AGREES if worse.all() else PARTLY if worse["mAP"] else DIFFERS
    return verdict, "; ".join(f"{label}: {_signed(row)}" for label, row in changes.iterrows())


def _attributes_add_up() -> tuple[str, str]:
    frame = paper.table_three()
    sizes = frame.index.str.len()
    rises = frame.groupby(sizes).mean().diff().iloc[1:] > 0
    found = steps(frame, {label: tuple(label) for label in frame.index})
    falls = ", ".join(f"{metric} {row['fall']} of {row['pairs']}" for metric, row in found.iterrows())
    verdict = AGREES if rises.all(axis=None) else PARTLY if rises.mean(axis=None) > 1 / 2 else DIFFERS
    said = f"the mean over sets of one size rises in {rises.sum(axis=None)} of {rises.size} steps"
    return verdict, f"{said}; single steps that fall: {falls}"


def _one_attribute_is_worse() -> tuple[str, str]:
    frame = paper.table_three()
    singles, full = frame[frame.index.str.len() == 1], frame.loc[ATTRIBUTE_KEYS]
    return verdict_of((singles < full).all(axis=None)), f"one at best, less all four: {_signed(singles.max() - full)}"


def _no_attribute() -> str:
    none, subsets = paper.ablations().loc["w/o attribute"], paper.table_three().drop(ATTRIBUTE_KEYS)
    below, ties = (subsets < none).sum(), (subsets == none).sum()
    cells = [
        f"{metric} {below[metric]}" + (f" and {ties[metric]} equal" if ties[metric] else "") for metric in none.index
    ]
    return f"of {len(subsets)} proper subsets of the attributes, below no attribute at all: {', '.join(cells)}"


def _one_against_three() -> str:
    frame = paper.table_three()["mAP"]
    singles, triples = (frame[frame.index.str.len() == size] for size in (1, 3))
    return f"mAP of {singles.idxmax()} alone is {singles.max():.2f}, of the best three {triples.max():.2f}"


def _missing_sets() -> str:
    sets = {"".join(keys) for size in range(1, 5) for keys in combinations(ATTRIBUTE_KEYS, size)}
    missing = sorted(sets - set(paper.table_three().index))
    return f"{len(sets) - len(missing)} of {len(sets)} sets of attributes; not printed: {', '.join(missing)}"


def _below_a_baseline() -> str:
    rows, models = paper.printed(), _of_group(LLM)["mAP"]
    own = rows[rows["group"].isin(granularity.FAMILY)]["mAP"].astype(float)
    below, equal = own.index[own < models.max()], own.index[own == models.max()]
    return f"{models.idxmax()} has mAP {models.max():.2f}; below it: {', '.join(below)}; the same: {', '.join(equal)}"


def _asterisks() -> str:
    marks, leads = paper.starred(), paper.ablations().loc[FULL] - _of_group(RETRIEVAL, TEXT_TO_IMAGE, LLM).max()
    others = ", ".join(f"{label} {metric}" for label, metrics in marks.items() if label != FULL for metric in metrics)
    unmarked = _signed(leads.drop(marks[FULL]))
    return f"asterisks outside {FULL}: {others}; {FULL} has none at {unmarked} over the best baseline"


def _window() -> str:
    best, mean = paper.best_window(), paper.table_one().at["avg_utterances_per_conversation", "test"]
    return f"{best} utterances are best; the main setting is not stated, and test conversations have {mean:.2f}"


CHECKS = (
    Check("V-A", "P@N is the precision of the first N", _precision),
    Check("V-C", "Int-RA outperforms all baselines", _beats_baselines),
    Check(
        "V-C",
        "text-to-image retrieval is better overall than sticker retrieval",
        lambda: _group_beats(TEXT_TO_IMAGE, (RETRIEVAL,), overall=True),
    ),
    Check(
        "V-C",
        "language models are better than sticker and text-to-image retrieval",
        lambda: _group_beats(LLM, (RETRIEVAL, TEXT_TO_IMAGE), overall=False),
    ),
    Check("V-C", "ChatGLM3 and Llama3 are the best language models at each P@N", _best_language_models),
    Check("V-C, Table II", "an asterisk stands for one level of significance", _one_level),
    Check("V-D", "every ablation is worse under all metrics", _all_ablations_are_worse),
    Check("V-D", "attributes matter less when more stickers are recalled", _attributes_matter_less_at_five),
    Check("V-D", "points by which mAP and P@5 fall without the intention", _without_intention),
    Check("V-D", "the intention costs more than the knowledge", _intention_costs_most),
    Check("V-F", "results improve overall with the number of attributes", _attributes_add_up),
    Check("V-F", "one attribute is worse than all", _one_attribute_is_worse),
)
"""What the text says, in the order of the paper."""

NOTES = (
    Note("Table II", _asterisks),
    Note("Table II, III", _below_a_baseline),
    Note("Table II, III", _no_attribute),
    Note("Table III", _one_against_three),
    Note("Table III", _missing_sets),
    Note("V-E, Table I", _window),
)
"""What the text does not speak of."""
