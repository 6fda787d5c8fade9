"""Claims on retrieval judged again when only the sticker that was sent is right, and all verdicts of the book counted.

The rules are those of the claims' own notebooks, through the same functions; only the rule of relevance differs. No
torch here.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from intra import notebooks, paper
from intra.claims import FAILS, HOLDS, INCONSISTENT, UNDECIDED, UNTESTABLE, judged
from intra.comparisons import (
    JUDGED_BY,
    ONE_MORE,
    attribute_sets,
    average_effects,
    chance,
    found,
    overall,
    spearman,
    verdict,
)
from intra.errors import IntraError
from intra.evaluation import MATCHES
from intra.identity import NOTHING, WITH_INTENTION, card, in_groups
from intra.main_results import detectable
from intra.readings import APART, LITERAL, beside_chance, verdict_on_bar
from intra.study import INT_RA
from intra.tables import Labelled, control_differences, differences, per_query, results, with_intervals

STUDIES = ("main", "ablations", "window", "attributes", "readings", "release", "plus")
"""What the claims on retrieval are judged by."""
WORDS = (HOLDS, FAILS, UNDECIDED, UNTESTABLE, INCONSISTENT)
"""The verdicts, in the order in which they are counted."""
ORACLE = "Oracle intention"


@dataclass(frozen=True)
class Judgement:
    """A verdict and what it was read off."""

    differences: pd.DataFrame
    """One row a (configuration, metric): `difference` in points, `low` and `high` end of its 95 % interval."""
    verdict: str


def judge(studies: Mapping[str, Labelled], match: str = "intention") -> dict[str, Judgement]:
    """Every claim on retrieval, by the rule of its notebook.

    Args:
        studies: Name of each of `STUDIES` to its records.
        match: `intention` or `exact`.
    """
    above = beside_chance(studies["release"] | {LITERAL: studies["readings"][LITERAL]}, match=match)
    above = above.rename(columns={"above": "difference"})
    return {
        "C6": _against_controls(studies["main"], match),
        "C7": _parts_alone(studies["ablations"], match),
        "C8": _windows(studies["window"], match),
        "C9": _attributes(studies["attributes"], match),
        "C11": _published_systems(studies["main"], match),
        "R1": _readings(studies["readings"], match),
        "R2": _by_intervals(above.loc[[LITERAL]]),
        "R3": _by_intervals(above.loc[["as released"]]),
        "B1": _bar(studies["plus"], match),
    }


def _by_intervals(rows: pd.DataFrame) -> Judgement:
    ends = ["difference", "low", "high"]
    return Judgement(rows[ends], judged(*rows[ends[1:]].itertuples(index=False, name=None)))


def _against_controls(main: Labelled, match: str) -> Judgement:
    rows = control_differences(main, match)
    pairs = [tuple(reversed(name.split(" against "))) for name in rows.index]
    rows.index = pd.MultiIndex.from_tuples(pairs, names=["configuration", "metric"])
    return _by_intervals(rows.rename(columns={"mean": "difference"}))


def _parts_alone(ablations: Labelled, match: str) -> Judgement:
    alone = differences(ablations, INT_RA, match=match).loc[list(paper.ablations().index.drop(INT_RA))]
    return Judgement(alone, verdict(alone, "below"))


def _windows(window: Labelled, match: str) -> Judgement:
    others = differences(window, str(paper.best_window()), match=match)
    return Judgement(others, verdict(others, "below"))


def _attributes(attributes: Labelled, match: str) -> Judgement:
    sets = attribute_sets(attributes)
    whole = max(sets, key=lambda label: len(sets[label]))
    more = average_effects(attributes, sets, match=match).loc[[ONE_MORE]]
    others = differences(attributes, whole, match=match)
    single = others.loc[[label for label in attributes if len(sets[label]) == 1]]
    verdicts = [verdict(more, "above"), verdict(others, "below"), verdict(single, "below")]
    return Judgement(pd.concat([more, others]), overall(verdicts))


def _published_systems(main: Labelled, match: str) -> Judgement:
    published = [label for label in in_groups(main)["retrieval systems"] if WITH_INTENTION not in label]
    systems = differences(main, INT_RA, match=match).loc[published]
    return Judgement(systems, verdict(systems, "below"))


def _readings(study: Labelled, match: str) -> Judgement:
    compared = {label: records for label, records in study.items() if label not in APART}
    others = differences(compared, INT_RA, match=match).drop(index=LITERAL, level="configuration")
    return Judgement(others, HOLDS if (found(others) != "").any() else UNDECIDED)


def _bar(plus: Labelled, match: str) -> Judgement:
    rows = differences({label: plus[label] for label in (INT_RA, "Int-RA+")}, INT_RA, match=match)
    return Judgement(rows, verdict_on_bar(rows))


def both_verdicts(judgements: Mapping[str, Mapping[str, Judgement]]) -> pd.DataFrame:
    """Verdicts side by side, one row a claim.

    Args:
        judgements: Rule of relevance to the answer of `judge`.

    Returns:
        `differences` that the claim is judged by; for each rule the `verdict` and how many intervals `leave out 0`.
    """
    cells = {("judged by", "differences"): {}}
    for match, own in judgements.items():
        for claim, one in own.items():
            away = (one.differences["low"] > 0) | (one.differences["high"] < 0)
            cells["judged by", "differences"][claim] = len(one.differences)
            cells.setdefault((f"{match} match", "leave out 0"), {})[claim] = int(away.sum())
            cells.setdefault((f"{match} match", "verdict"), {})[claim] = one.verdict
    return pd.DataFrame(cells)


def paired_differences(judgements: Mapping[str, Mapping[str, Judgement]]) -> pd.DataFrame:
    """Every judged difference under each rule of relevance.

    Returns:
        One row a (claim, configuration, metric); columns (rule, `difference` | `low` | `high`), in points.
    """
    ends, names = ["difference", "low", "high"], ["claim", "configuration", "metric"]
    return pd.concat(
        {
            match: pd.concat({claim: one.differences[ends] for claim, one in own.items()}, names=names)
            for match, own in judgements.items()
        },
        axis=1,
    )


def signs(paired: pd.DataFrame) -> pd.DataFrame:
    """How many judged differences have one sign under both rules of relevance.

    Args:
        paired: Answer of `paired_differences`.

    Returns:
        One row a metric: `differences`, of `same sign`; `sure`, those whose interval leaves out 0 under intention
        match, with `sure, same sign`, and `sure, against`: those whose interval lies on the other side of 0 under
        exact match.
    """
    ours, exact = paired["intention"], paired["exact"]
    same = np.sign(ours["difference"]) == np.sign(exact["difference"])
    side, other = (np.where(rows["low"] > 0, 1, np.where(rows["high"] < 0, -1, 0)) for rows in (ours, exact))
    counts = {
        "differences": np.ones(len(paired), bool),
        "same sign": same,
        "sure": side != 0,
        "sure, same sign": same & (side != 0),
        "sure, against": side * other < 0,
    }
    return pd.DataFrame(counts, paired.index).groupby("metric", sort=False).sum()


def one_verdict(verdicts: pd.DataFrame) -> str:
    """Verdict on the claim that the rule of relevance changes no verdict.

    Args:
        verdicts: One row a claim, one column a rule.

    Returns:
        `FAILS` if a claim holds under one rule and fails under the other; `HOLDS` if each has one verdict under both
        and some are decided; else `UNDECIDED`.
    """
    together = [set(row) for row in verdicts.to_numpy()]
    if any({HOLDS, FAILS} <= own for own in together):
        return FAILS
    decided = any(own != {UNDECIDED} for own in together)
    return HOLDS if decided and all(len(own) == 1 for own in together) else UNDECIDED


# Systems


def told_nothing(main: Labelled) -> Labelled:
    """The systems of the study `main` that know nothing of test stickers and queries, in groups."""
    labels = [label for own in in_groups(main).values() for label in own]
    return {label: main[label] for label in labels if card(label, main[label][0].config).told == NOTHING}


def under_both(study: Labelled, metrics: Sequence[str] = JUDGED_BY) -> pd.DataFrame:
    """What `tables.results` gives, one row a (group, configuration), where the group is the rule of relevance."""
    frames = {f"{match} match": results(study, match, metrics) for match in MATCHES}
    return pd.concat(frames, names=["group", "configuration"])


def both_chances(study: Labelled, metrics: Sequence[str] = JUDGED_BY) -> pd.DataFrame:
    """Exact chance in percent: one row a rule of relevance."""
    frame = pd.DataFrame({f"{match} match": chance(study, match) for match in MATCHES}).T
    return frame[list(metrics)].rename_axis("group")


def places(both: pd.DataFrame) -> pd.DataFrame:
    """The answer of `under_both` as text, with the place that each rule gives a configuration, 1 the best.

    Returns:
        One row a configuration in the order of the frame, columns (metric, rule), cells like `31.2 [25.0, 37.9] (2)`.
    """
    cells, order = {}, both.index.unique("configuration")
    for metric in both.columns.unique(0):
        for group, part in both[[metric]].groupby("group", sort=False):
            own = part.droplevel("group")
            place = own[metric, "mean"].round(9).rank(ascending=False, method="min").astype(int)
            cells[metric, group] = with_intervals(own)[metric] + place.map(" ({})".format)
    return pd.DataFrame(cells).loc[order].rename_axis(None)


def order_agreement(
    study: Labelled, metrics: Sequence[str] = JUDGED_BY, draws: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Spearman's correlation between the orders in which the two rules of relevance put the configurations.

    Args:
        study: Configurations over the same seeds and queries.
        metrics: One row each.
        draws: Of seeds and queries, the same under both rules.
        seed: Of the draws.

    Returns:
        `systems`, `rho`, and the ends `low` and `high` of its 95 % bootstrap interval over seeds and queries.
    """
    frames, rows = [per_query(study, match) for match in MATCHES], {}
    for metric in metrics:
        one, other = (np.array([[frame[metric] for frame in seeds] for seeds in own.values()]) for own in frames)
        rng, drawn = np.random.default_rng(seed), ([], [])
        for _ in range(draws):
            seeds, queries = (rng.integers(size, size=size) for size in one.shape[1:])
            for values, means in zip((one, other), drawn, strict=True):
                means.append(values[:, seeds].mean(axis=1)[:, queries].mean(axis=1))
        (rho,) = spearman(one.mean(axis=(1, 2)), other.mean(axis=(1, 2)))
        low, high = np.quantile(spearman(*map(np.array, drawn)), [0.025, 0.975])
        rows[metric] = {"systems": len(study), "rho": rho, "low": low, "high": high}
    return pd.DataFrame.from_dict(rows, orient="index").astype({"systems": int})


def resolution(main: Labelled, metrics: Sequence[str] = JUDGED_BY) -> pd.DataFrame:
    """What each rule of relevance lets this test split resolve, in percent and points.

    Args:
        main: The study `main`.
        metrics: Rows.

    Returns:
        One row a (metric, rule): exact `chance`, `Int-RA`, how far it lies `above chance`, and `detectable`, the
        median over the other systems that are told nothing of the smallest true difference to Int-RA that would mostly
        be found (`main_results.detectable`); last the oracle of intentions.
    """
    rows, own = {}, {label: main[label] for label in (INT_RA, ORACLE)}
    for match in MATCHES:
        levels = beside_chance(own, metrics, match)
        power = detectable(told_nothing(main), INT_RA, metrics, match)["detectable"].groupby("metric").median()
        for metric in metrics:
            mean, expected, above = levels.loc[(INT_RA, metric), ["mean", "chance", "above"]]
            cells = {"chance": expected, INT_RA: mean, "above chance": above, "detectable": power[metric]}
            rows[metric, f"{match} match"] = cells | {ORACLE: levels.at[(ORACLE, metric), "mean"]}
    order = [(metric, f"{match} match") for metric in metrics for match in MATCHES]
    return pd.DataFrame.from_dict(rows, orient="index").loc[order]


# Sentences


def resolution_sentence(frame: pd.DataFrame, queries: int) -> str:
    """How many first places chance and Int-RA get under each rule of relevance.

    Args:
        frame: Answer of `resolution`.
        queries: Of the test split.
    """
    counts = frame.loc["hit@1", ["chance", INT_RA]] * queries / 100
    told = [f"{row['chance']:.1f} by chance and {row[INT_RA]:.1f} by Int-RA under {r}" for r, row in counts.iterrows()]
    return f"Of {queries} queries, a right sticker stands first for {', for '.join(told)} (mean over seeds)."


def verdict_sentences(verdicts: pd.DataFrame) -> str:
    """Which claims have one verdict under both rules of relevance, and what becomes of the others.

    Args:
        verdicts: One row a claim, one column a rule.
    """
    first, second = verdicts.columns
    same = verdicts[first] == verdicts[second]
    decided = verdicts.index[same & (verdicts[first] != UNDECIDED)]
    told = [f"{claim} ({row[first]}; {row[second]})" for claim, row in verdicts[~same].iterrows()]
    contradicted = sum({HOLDS, FAILS} <= set(row) for row in verdicts.to_numpy())
    return (
        f"Of {len(verdicts)} claims {same.sum()} have the same verdict under both rules: "
        f"{len(decided)} decided, {same.sum() - len(decided)} undecided. "
        f"Another one under {second}: {', '.join(told) or 'none'}. "
        f"{contradicted or 'None'} of them holds under one rule and fails under the other."
    )


def sign_sentences(counts: pd.DataFrame) -> str:
    """What the answer of `signs` says."""
    parts = [
        f"in {metric} {row['same sign']} of {row['differences']} judged differences have one sign under both rules, "
        f"{row['sure, same sign']} of the {row['sure']} whose interval leaves out 0 under intention match; of these, "
        f"{row['sure, against']} lie beyond 0 on the other side with their whole interval under exact match"
        for metric, row in counts.iterrows()
    ]
    return f"Signs alone: {'; '.join(parts)}."


# All verdicts


def stored_verdicts(sources: Sequence[Path]) -> dict[str, str]:
    """Every claim that notebooks glue to its verdict.

    Args:
        sources: Notebooks with outputs. Where the working directory has a folder `notebooks` with an executed copy,
            as in a build, that one is read.

    Raises:
        IntraError: If a notebook holds no verdict.
    """
    verdicts = {}
    for source in sources:
        executed = Path("notebooks", source.name)
        own = _glued_verdicts(notebooks.read(executed if executed.is_file() else source))
        if not own:
            raise IntraError(f"{source.name}: holds no verdict; execute it first")
        verdicts |= own
    return verdicts


def _glued_verdicts(notebook) -> dict[str, str]:
    found_here = {}
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        name = output.get("metadata", {}).get("scrapbook", {}).get("name", "")
        if name.startswith("verdict_"):
            text = output.data["application/papermill.record/text/plain"]
            found_here[name.removeprefix("verdict_")] = text.strip("'")
    return found_here


def count_sentence(verdicts: Mapping[str, str], of: str) -> str:
    """How many claims have each verdict.

    Args:
        verdicts: Claim to verdict.
        of: Whose claims they are.
    """
    counts = Counter(verdicts.values())
    told = ", ".join(f"{word} {counts[word]}" for word in WORDS)
    return f"Verdicts on the {len(verdicts)} claims of {of}: {told}."
