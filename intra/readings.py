"""What pages on the readings of the paper and on Int-RA+ show: readings in words, chance, the bar, growth with data.

No torch here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from intra.claims import FAILS, HOLDS, UNDECIDED, Claim, judged
from intra.comparisons import JUDGED_BY
from intra.evaluation import bootstrap_interval
from intra.records import Record
from intra.tables import Labelled, by_chance, differences, holm, per_query, results, sign_flip_p


@dataclass(frozen=True)
class Reading:
    """One place where the paper leaves something open."""

    equation: str
    paper: str
    """What it says."""
    options: Mapping[str, str]
    """Value of the setting to what is done; the default first."""


READINGS = {
    "context_encoding": Reading(
        "Eq. 3",
        "context and knowledge are encoded as one text; whether the encoder learns is not said",
        {
            "utterances": "each utterance and the knowledge alone; heads that learn join them",
            "sequence": "as one text, by an encoder that is frozen here",
        },
    ),
    "query": Reading(
        "Eq. 3-5, 13",
        "H^Y = M-BERT(predicted intention) is matched with stickers; how the argmax is learned through is not said",
        {
            "label": "the encoded name of the predicted intention; no gradient passes the argmax",
            "straight-through": "the same, and the gradient of the mixture passes",
            "teacher": "the name of the true intention while it learns",
            "mixture": "the names of all intentions, mixed by their probability",
            "context": "H^T in the place of H^Y",
            "concat": "H^T beside H^Y",
            "gold": "the name of the true intention, always",
        },
    ),
    "relation": Reading(
        "Eq. 11-12",
        "by the text M_j is a number, by the formula it is attention times values, a vector",
        {
            "attention": "attention weights, one a region",
            "value": "the attended value, which gates the mean region",
            "scalar": "one number above 0, as the text says",
        },
    ),
    "head_reduction": Reading(
        "Eq. 11",
        "there are h heads; how their weights become one is not said",
        {"mean": "their mean", "max": "the largest"},
    ),
    "attribute_reduction": Reading(
        "Eq. 11-12",
        "max pooling over the attributes",
        {"max": "the largest", "mean": "their mean, against the print"},
    ),
    "description_units": Reading(
        "Eq. 8",
        "M-BERT of a description, which is a vector a token; no pooling is named",
        {"attribute": "one vector an attribute", "token": "one vector a token"},
    ),
    "regions": Reading(
        "Eq. 9",
        "ViT(v), called regions",
        {
            "patches": "one vector a patch",
            "patches+class": "also the class token",
            "class": "the class token alone, so that nothing is left to weigh",
        },
    ),
    "retrieval_loss": Reading(
        "Eq. 14",
        "max of one argument, which falls when the right sticker moves away",
        {
            "hinge": "the other sign, and nothing below 0",
            "hardest": "the same with the hardest negative alone",
            "literal": "as printed",
            "infonce": "cross-entropy of scaled cosines",
        },
    ),
    "negatives": Reading(
        "Eq. 14",
        "non-true stickers; which and how many is not said",
        {
            "other": "those of another intention, in the batch and drawn beside it",
            "batch": "those in the batch alone",
            "all": "all that were not sent, also of the same intention",
        },
    ),
    "negative_reduction": Reading(
        "Eq. 14",
        "a sum over N, which is not explained",
        {"mean": "mean over the negatives", "sum": "sum over the negatives"},
    ),
    "gallery": Reading(
        "Section IV",
        "a sticker set V; whether it holds the stickers of other splits is not said",
        {"split": "the stickers of the split", "all": "those of all splits"},
    ),
}
"""Field of `RunConfig` to what the paper says of it and what it can be."""

LITERAL = "retrieval_loss: literal"
APART = {"query: gold": "upper bound", "gallery: all": "another task"}
"""Labels of the study `readings` that are no readings of one task, with what they are."""


def reading_table() -> pd.DataFrame:
    """What the paper says of each setting and what can be done, the default first: rows (setting, who), one column."""
    rows = {}
    for name, reading in READINGS.items():
        rows[name, f"the paper, {reading.equation}"] = reading.paper
        for number, (value, words) in enumerate(reading.options.items()):
            rows[name, value if number else f"{value} (default)"] = words
    return pd.Series(rows).to_frame("in words")


def marked(study: Labelled) -> Labelled:
    """The study with what `APART` says in its labels."""
    return {f"{label} ({APART[label]})" if label in APART else label: records for label, records in study.items()}


def same_ranks(one: Sequence[Record], other: Sequence[Record]) -> pd.DataFrame:
    """Whether two configurations put right stickers at the same ranks, one row a seed.

    Args:
        one: Records of a configuration over seeds.
        other: Those of the other one, over the same seeds.

    Returns:
        Columns `queries`; `same`, those whose right stickers, by intention and the one sent, have the same ranks in
        both; and `largest difference in AP`, in points, under intention match.
    """
    rows = {}
    for pair in zip(one, other, strict=True):
        alike = [np.equal(*(r.relevance(match) for r in pair)).all(axis=1) for match in ("intention", "exact")]
        gap = np.subtract(*(r.per_query("intention")["mAP"].to_numpy() for r in pair))
        same = int(np.logical_and(*alike).sum())
        row = {"queries": len(gap), "same": same, "largest difference in AP": 100 * float(np.abs(gap).max())}
        rows[f"seed {pair[0].seed}"] = row
    return pd.DataFrame.from_dict(rows, orient="index")


def beside_chance(study: Labelled, metrics: Sequence[str] = JUDGED_BY, match: str = "intention") -> pd.DataFrame:
    """How far each configuration lies above exact chance for its queries and candidates, in percent and points.

    Returns:
        One row a (configuration, metric): `mean`, `chance`, `above`, their difference, and the ends `low` and `high`
        of its 95 % bootstrap interval over seeds and queries.
    """
    rows = {}
    for label, frames in per_query(study, match).items():
        expected = by_chance(study[label][0], match)
        for metric in metrics:
            values = np.stack([frame[metric].to_numpy() for frame in frames])
            above = values - expected[metric].to_numpy()
            means = {"mean": values.mean(), "chance": expected[metric].mean(), "above": above.mean()}
            ends = dict(zip(("low", "high"), bootstrap_interval(above), strict=True))
            rows[label, metric] = {name: 100 * float(value) for name, value in (means | ends).items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["configuration", "metric"])


def with_chance(above: pd.DataFrame) -> pd.DataFrame:
    """The answer of `beside_chance` as text, one row a configuration, columns (metric, `%` | `chance` | `above it`)."""
    cells = {}
    for metric in above.index.unique("metric"):
        rows = above.xs(metric, level="metric")
        cells[metric, "%"] = rows["mean"].map("{:.1f}".format)
        cells[metric, "chance"] = rows["chance"].map("{:.1f}".format)
        cells[metric, "above it"] = _above(rows)
    return pd.DataFrame(cells).rename_axis(None)


def _above(rows: pd.DataFrame) -> list[str]:
    ends = rows[["above", "low", "high"]].itertuples(index=False)
    return [f"{above:+z.1f} [{low:+z.1f}, {high:+z.1f}]" for above, low, high in ends]


def claim_above_chance(name: str, claim: str, paper: str, above: pd.DataFrame) -> Claim:
    """The claim that a configuration ranks better than chance, judged by the intervals of all its metrics.

    Args:
        name: Id of the claim.
        claim: In words.
        paper: What the paper says of it.
        above: Rows of the answer of `beside_chance`.
    """
    texts = zip(above.index.get_level_values("metric"), _above(above), strict=True)
    ours = ", ".join(f"{metric} {text}" for metric, text in texts)
    verdict = judged(*above[["low", "high"]].itertuples(index=False, name=None))
    return Claim(name, claim, paper, f"against chance: {ours}", verdict)


def over_seeds(
    study: Labelled, label: str, base: str, metrics: Sequence[str] = JUDGED_BY, match: str = "intention"
) -> pd.DataFrame:
    """Paired test of two configurations whose sample is training seeds, not queries.

    Args:
        study: Label to records over seeds, the same in both configurations.
        label: Configuration that is compared.
        base: What it is compared with.
        metrics: Rows.
        match: `intention` or `exact`.

    Returns:
        One row a metric: `seeds`, on how many the configuration is `better`, mean `difference` in points, its
        `deviation` over seeds, and `p` of random signs (`tables.sign_flip_p`).
    """
    frames = per_query({name: study[name] for name in (label, base)}, match)
    means = {name: pd.DataFrame([frame[list(metrics)].mean() for frame in own]) for name, own in frames.items()}
    gaps = 100 * (means[label] - means[base]).round(9)  # equal means may differ in their last digits
    counts = {"seeds": len(gaps), "better": (gaps > 0).sum()}
    return pd.DataFrame(
        counts | {"difference": gaps.mean(), "deviation": gaps.std(), "p": sign_flip_p(gaps.to_numpy())}
    )


def verdict_on_bar(found: pd.DataFrame, level: float = 0.01) -> str:
    """Verdict on a bar that was set beforehand: every difference is above 0 with a corrected p below a level.

    Args:
        found: Answer of `tables.differences` for the metrics of the bar.
        level: Of p.

    Returns:
        As `claims.judged`: `FAILS` if a whole interval lies below 0, `UNDECIDED` if the bar is missed otherwise.
    """
    if judged(*found[["low", "high"]].itertuples(index=False, name=None)) == FAILS:
        return FAILS
    return HOLDS if ((found["difference"] > 0) & (found["p_holm"] < level)).all() else UNDECIDED


def growth(study: Labelled, metrics: Sequence[str] = JUDGED_BY) -> pd.DataFrame:
    """Results of each system by the share of the training conversations that it learned from.

    Args:
        study: The study `data_size`, with labels such as `Int-RA, 50 %`.
        metrics: Columns.

    Returns:
        As `tables.results`, with rows (`system`, `share` in percent).
    """
    frame = results(study, metrics=metrics)
    shares = [100 * records[0].config.train_fraction for records in study.values()]
    frame.index = pd.MultiIndex.from_arrays(
        [[label.rpartition(", ")[0] for label in study], shares], names=["system", "share"]
    )
    return frame


def growth_differences(study: Labelled, label: str, base: str, metrics: Sequence[str] = JUDGED_BY) -> pd.DataFrame:
    """How far one system lies above another at each share of the training conversations.

    Args:
        study: The study `data_size`.
        label: System that is compared.
        base: System that it is compared with.
        metrics: Of the differences.

    Returns:
        As `tables.differences`, with the share in the place of the configuration, corrected for all rows together.
    """
    shares = [share for system, _, share in (name.rpartition(", ") for name in study) if system == base]
    pairs = [{system: study[f"{system}, {share}"] for system in (label, base)} for share in shares]
    found = [differences(pair, base, metrics).droplevel("configuration") for pair in pairs]
    frame = pd.concat(dict(zip(shares, found, strict=True)), names=["configuration"])
    return frame.assign(p_holm=holm(frame["p"]))
