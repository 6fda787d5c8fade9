"""What pages on ablations, windows and attributes compare: effects, printed values beside ours, verdicts, sentences.

No torch here.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from intra import paper
from intra.claims import FAILS, HOLDS, UNDECIDED, judged
from intra.config import ATTRIBUTE_KEYS, RunConfig
from intra.data.schema import ATTRIBUTES, Dataset
from intra.errors import IntraError
from intra.evaluation import bootstrap_interval
from intra.tables import Labelled, by_chance, holm, per_query, results, sign_flip_p, with_intervals

Sets = Mapping[str, tuple[str, ...]]
"""Label of a configuration to the parts that it has, in one order for all."""
JUDGED_BY = ("hit@1", "mAP")
"""The metrics that verdicts look at, because hit@3 and hit@5 reward variety."""
LEVEL = 0.05
"""What Holm's corrected p has to be below for a difference to count as found."""
ONE_MORE = "one more, on average"
"""Label of the mean over the parts of a study."""
NOT_PRINTED = "not printed"


def component_sets(study: Labelled) -> Sets:
    """Which of the parts that Table II takes away each configuration of `ablations` has."""
    return _sets(study, _components)


def attribute_sets(study: Labelled) -> Sets:
    """Which attributes each configuration of `attributes` is told."""
    return _sets(study, _attributes)


def _sets(study: Labelled, parts: Callable[[RunConfig], Mapping[str, bool]]) -> Sets:
    has = {label: parts(records[0].config) for label, records in study.items()}
    return {label: tuple(name for name, there in own.items() if there) for label, own in has.items()}


def _components(config: RunConfig) -> dict[str, bool]:
    return {
        "attribute": bool(config.attributes),
        "intention": config.query != "context",
        "knowledge": config.knowledge,
    }


def _attributes(config: RunConfig) -> dict[str, bool]:
    names = (name.replace("_", " ") for name in ATTRIBUTES)
    return {name: key in config.attributes for name, key in zip(names, ATTRIBUTE_KEYS, strict=True)}


def chance(study: Labelled, match: str = "intention") -> dict[str, float]:
    """Exact expectation of each metric, in percent, when the candidates of the test queries are ranked at random."""
    return (100 * by_chance(next(iter(study.values()))[0], match).mean()).to_dict()


def yardsticks(main: Labelled, metrics: Sequence[str], match: str = "intention") -> pd.DataFrame:
    """Rows for the end of a table: exact chance, and majority and oracle with their intervals.

    Args:
        main: The study `main`.
        metrics: Columns, among those that `expected_by_chance` knows.
        match: `intention` or `exact`.
    """
    exact = chance(main, match)
    cells = pd.DataFrame({metric: [f"{exact[metric]:.1f}"] for metric in metrics}, ["Chance (exact)"])
    controls = {label: main[label] for label in ("Majority intention", "Oracle intention")}
    return pd.concat([cells, with_intervals(results(controls, match, metrics))])


def beside_printed(ours: pd.DataFrame, printed: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Our means and the paper's values, as text: one row a configuration, columns (metric, `here` | `paper`).

    Args:
        ours: Answer of `tables.results`.
        printed: Percent, one row a label, one column a metric; labels that it lacks are marked as not printed.
        metrics: Which to show.
    """
    cells = {}
    for metric in metrics:
        cells[metric, "here"] = [f"{value:.1f}" for value in ours[metric, "mean"]]
        theirs = printed[metric].reindex(ours.index)
        cells[metric, "paper"] = [NOT_PRINTED if np.isnan(value) else f"{value:.2f}" for value in theirs]
    return pd.DataFrame(cells, index=ours.index)


def difference_cells(differences: pd.DataFrame) -> pd.DataFrame:
    """Text of a frame of differences: one row a configuration, for each metric the difference and the corrected p.

    Args:
        differences: Answer of `tables.differences` or `average_effects`.
    """
    cells = {}
    for metric, part in _by_metric(differences):
        cells[metric, "points"] = [f"{d:+z.1f} [{low:+z.1f}, {high:+z.1f}]" for d, low, high in _ends(part)]
        cells[metric, "Holm p"] = [f"{p:.3f}" for p in part["p_holm"]]
    return pd.DataFrame(cells, index=part.index.rename(None))


def _by_metric(differences: pd.DataFrame):
    for metric in differences.index.unique("metric"):
        yield metric, differences.xs(metric, level="metric")


def _ends(differences: pd.DataFrame):
    return differences[["difference", "low", "high"]].itertuples(index=False, name=None)


def found(differences: pd.DataFrame) -> pd.Series:
    """Of each difference `above`, `below` or empty: found if its interval leaves out 0 and its corrected p is small."""
    sure = differences["p_holm"] < LEVEL
    sides = [sure & (differences["low"] > 0), sure & (differences["high"] < 0)]
    return pd.Series(np.select(sides, ["above", "below"], ""), differences.index)


def verdict(differences: pd.DataFrame, side: str) -> str:
    """Verdict on the claim that all differences lie on one side of 0.

    Args:
        differences: Answer of `tables.differences` or `average_effects`, or rows of it.
        side: `above` or `below`.

    Returns:
        That of `claims.judged`, where what is not found counts as an interval around 0.
    """
    intervals = []
    for (_, low, high), where in zip(_ends(differences), found(differences), strict=True):
        low, high = (low, high) if where else (min(low, 0), max(high, 0))
        intervals.append((low, high) if side == "above" else (-high, -low))
    return judged(*intervals)


def overall(verdicts: Sequence[str]) -> str:
    """Verdict on a claim of several parts: it fails with one of them, and holds if all do."""
    if FAILS in verdicts:
        return FAILS
    return HOLDS if set(verdicts) == {HOLDS} else UNDECIDED


def _values(study: Labelled, metric: str, match: str) -> np.ndarray:
    """Per-query values, shape (configurations, seeds, queries).

    Raises:
        IntraError: If configurations have other seeds or queries.
    """
    frames = per_query(study, match)
    first = next(iter(study))
    seeds = {label: [record.seed for record in records] for label, records in study.items()}
    for label, own in frames.items():
        if seeds[label] != seeds[first]:
            raise IntraError(f"{label!r} has the seeds {seeds[label]}, {first!r} {seeds[first]}: expected the same")
        if any(list(frame.index) != list(frames[first][0].index) for frame in own):
            raise IntraError(f"{label!r} was evaluated on other queries than {first!r}")
    return np.array([[frame[metric] for frame in own] for own in frames.values()])


def average_effects(
    study: Labelled, sets: Sets, metrics: Sequence[str] = JUDGED_BY, match: str = "intention"
) -> pd.DataFrame:
    """What adding a part changes, averaged over all sets of the other parts, paired by seed and query, in points.

    The mean over the parts, `ONE_MORE`, is the least-squares slope of the metric on the number of parts.

    Args:
        study: One configuration for every set of the parts.
        sets: Answer of `component_sets` or `attribute_sets`.
        metrics: Names of `metrics.METRICS`.
        match: `intention` or `exact`.

    Returns:
        One row a (part, metric), columns as `tables.differences`.

    Raises:
        IntraError: If a set of the parts is missing, or configurations have other seeds or queries.
    """
    parts = max(sets.values(), key=len)
    if len(set(sets.values())) != 2 ** len(parts):
        raise IntraError(f"{len(set(sets.values()))} sets of {', '.join(parts)}, expected all {2 ** len(parts)}")
    rows, averaged = {}, []
    for metric in metrics:
        values = _values(study, metric, match)
        effects = {}
        for part in parts:
            has = np.array([part in sets[label] for label in study])
            effects[part] = values[has].mean(axis=0) - values[~has].mean(axis=0)
        effects[ONE_MORE] = np.mean(list(effects.values()), axis=0)
        for part, effect in effects.items():
            low, high = bootstrap_interval(list(effect))
            rows[part, metric] = {"difference": 100 * effect.mean(), "low": 100 * low, "high": 100 * high}
            averaged.append(effect.mean(axis=0))
    frame = pd.DataFrame.from_dict(rows, orient="index")
    p = sign_flip_p(np.stack(averaged, axis=1))
    order = pd.MultiIndex.from_product([[*parts, ONE_MORE], metrics], names=["configuration", "metric"])
    return frame.assign(p=p, p_holm=holm(p)).reindex(order)


def by_size(study: Labelled, sets: Sets, metrics: Sequence[str] = JUDGED_BY, match: str = "intention") -> pd.DataFrame:
    """Mean over the configurations with equally many parts, as `tables.results`, one row a number of parts."""
    sizes = np.array([len(sets[label]) for label in study])
    columns = {}
    for metric in metrics:
        values = _values(study, metric, match)
        for size in np.unique(sizes):
            mean = values[sizes == size].mean(axis=0)
            low, high = bootstrap_interval(list(mean))
            ends = {"mean": mean.mean(), "low": low, "high": high}
            columns[size] = columns.get(size, {}) | {(metric, end): 100 * value for end, value in ends.items()}
    frame = pd.DataFrame.from_dict(columns, orient="index")
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame


def steps(means: pd.DataFrame, sets: Sets) -> pd.DataFrame:
    """How often adding one part raises and lowers a mean, over all pairs of sets that differ by one part.

    Args:
        means: One row a label, one column a metric.
        sets: Parts of each label; those that the means lack are left out.

    Returns:
        One row a metric: `pairs`, `rise`, `equal`, `fall`.
    """
    labels = {frozenset(sets[label]): label for label in means.index}
    pairs = [(labels[own - {part}], label) for own, label in labels.items() for part in own if own - {part} in labels]
    change = np.round([means.loc[more] - means.loc[less] for less, more in pairs], 9)
    counts = {"pairs": len(pairs), "rise": (change > 0).sum(axis=0), "equal": (change == 0).sum(axis=0)}
    return pd.DataFrame(counts | {"fall": (change < 0).sum(axis=0)}, means.columns)


def printed_attribute_sets() -> pd.DataFrame:
    """Table III with `none`, which Table II prints as `w/o attribute`; one set is in neither."""
    return pd.concat([paper.ablations().loc[["w/o attribute"]].set_axis(["none"]), paper.table_three()])


def rank_correlation(
    study: Labelled,
    printed: pd.DataFrame,
    metrics: Sequence[str] = JUDGED_BY,
    match: str = "intention",
    draws: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Spearman's correlation between our order of the configurations and the paper's.

    Args:
        study: See `study.load_study`; labels that the paper does not print are left out.
        printed: See `beside_printed`.
        metrics: One row each.
        match: `intention` or `exact`.
        draws: Of seeds and queries for the interval, and of random orders for p.
        seed: Of the draws.

    Returns:
        `sets` that both have, `rho`, its 95 % bootstrap interval `low` to `high` over our seeds and queries, and the
        two-sided `p` that random orders of the sets agree or disagree as much.
    """
    both = {label: records for label, records in study.items() if label in printed.index}
    rows = {}
    for metric in metrics:
        values, theirs = _values(both, metric, match), printed.loc[list(both), metric].to_numpy()
        rng = np.random.default_rng(seed)
        rho = spearman(values.mean(axis=(1, 2))[None], theirs)[0]
        _, seeds, queries = values.shape
        drawn = [
            values[:, rng.integers(seeds, size=seeds)].mean(axis=1)[:, rng.integers(queries, size=queries)].mean(axis=1)
            for _ in range(draws)
        ]
        low, high = np.quantile(spearman(np.array(drawn), theirs), [0.025, 0.975])
        orders = np.array([rng.permutation(len(both)) for _ in range(draws)])
        as_far = np.abs(spearman(orders, theirs)) >= abs(rho) - 1e-9
        p = (1 + as_far.sum()) / (1 + draws)
        rows[metric] = {"sets": len(both), "rho": rho, "low": low, "high": high, "p": p}
    return pd.DataFrame.from_dict(rows, orient="index").astype({"sets": int})


def spearman(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Correlation of the ranks of each row of `one` with those of the same row, or the only one, of `other`.

    Args:
        one: Shape (D, K).
        other: Shape (D, K) or (K,).

    Returns:
        Shape (D,). Ties share their ranks; 0 for a row of one value.
    """
    # equal means may differ in their last digits
    ranks = [pd.DataFrame(np.atleast_2d(rows)).round(9).rank(axis=1).to_numpy() for rows in (one, other)]
    ours, theirs = (own - own.mean(axis=1, keepdims=True) for own in ranks)
    scale = np.sqrt((ours**2).sum(axis=1) * (theirs**2).sum(axis=1))
    return np.divide((ours * theirs).sum(axis=1), scale, out=np.zeros(len(ours)), where=scale > 0)


def validation_scores(study: Labelled) -> pd.DataFrame:
    """Validation mAP by which each seed's weights were chosen, in percent: one row a configuration, columns seeds."""
    return pd.DataFrame(
        {label: {r.seed: 100 * r.content["selection"]["value"] for r in records} for label, records in study.items()}
    ).T


def window_reach(dataset: Dataset, windows: Sequence[int], split: str = "test") -> pd.DataFrame:
    """What a window means for the conversations of a split, in conversations: one row a window.

    Returns:
        `shorter`: with fewer utterances, so that a larger window changes nothing; `exactly`: with just as many;
        `cut`: with more; `reason inside`: whose utterance with the reason is among those read, of `reason known`.
    """
    conversations = dataset.split(split).conversations
    lengths = np.array([len(c.utterances) for c in conversations])
    back = np.array([len(c.utterances) - c.cue + 1 for c in conversations if c.cue is not None])
    return pd.DataFrame(
        {
            "shorter": [(lengths < window).sum() for window in windows],
            "exactly": [(lengths == window).sum() for window in windows],
            "cut": [(lengths > window).sum() for window in windows],
            "reason inside": [(back <= window).sum() for window in windows],
            "reason known": len(back),
        },
        index=pd.Index(windows, name="window"),
    )


def found_sentences(differences: pd.DataFrame, base: str) -> str:
    """Which configurations are found above and below the base, and of how many that cannot be said."""
    sentences = []
    for metric, part in _by_metric(differences):
        side = found(part)
        low, high = (_named(part["difference"][side == where]) for where in ("below", "above"))
        sentences.append(
            f"In {metric}, found below {base}: {low}; above: {high}; "
            f"{(side == '').sum()} of {len(part)} cannot be told from it at this size."
        )
    return " ".join(sentences)


def _named(values: pd.Series) -> str:
    return ", ".join(f"'{label}' ({value:+z.1f})" for label, value in values.items()) or "nothing"


def costliest_sentence(differences: pd.DataFrame) -> str:
    """Which part's removal has the lowest mAP here, in the paper's table and by its text.

    Args:
        differences: To Int-RA; see `tables.differences`.
    """
    printed = paper.ablations()["mAP"]
    theirs = printed.drop("Int-RA") - printed["Int-RA"]
    ours = differences.xs("mAP", level="metric").loc[theirs.index]
    lowest = ours["difference"].idxmin()
    points, low, high = ours.loc[lowest, ["difference", "low", "high"]]
    return (
        f"Of the parts taken away alone, '{lowest}' has the lowest mAP here ({points:+z.1f} points "
        f"[{low:+z.1f}, {high:+z.1f}]); in the paper's table it is '{theirs.idxmin()}' ({theirs.min():+.2f}), "
        "by its text 'w/o intention'."
    )


def printed_ablation_sentences() -> str:
    """What the paper's text says of its ablations, against what its table prints."""
    printed = paper.ablations()
    changes = (printed.drop("Int-RA") - printed.loc["Int-RA"]).round(2).stack()
    stated = paper.without_intention()
    said = ", ".join(f"{metric} by {points:.2f}" for metric, points in stated.items())
    prints = ", ".join(f"{metric} {changes['w/o intention', metric]:+.2f}" for metric in stated)
    better, owners = (
        " and ".join(f"'{label}' in {metric}" for label, metric in changes.index[chosen])
        for chosen in (changes > 0, changes.isin([-points for points in stated.values()]))
    )
    return (
        "The text says that every ablation is worse under all metrics. "
        f"Of the {len(changes)} differences in the table, {(changes < 0).sum()} lie below 0, "
        f"{(changes == 0).sum()} at 0 and {(changes > 0).sum()} above ({better}). "
        f"The text says that without intention the results fall ({said}); the table prints {prints}. "
        f"The numbers of the text are those of {owners}."
    )


def window_sentences(ours: pd.DataFrame, validation: pd.DataFrame) -> str:
    """Which window validation chooses, and which has the best test mAP.

    Args:
        ours: Answer of `tables.results`.
        validation: Answer of `validation_scores`.
    """
    mean, test = validation.mean(axis=1), ours["mAP", "mean"]
    chosen = mean.idxmax()
    alone = ", ".join(map(str, validation.idxmax()))
    return (
        f"Validation mAP, averaged over seeds, is highest with {chosen} utterances ({mean[chosen]:.1f} %); "
        f"seed by seed it is highest with {alone}. On test, {chosen} utterances give {test[chosen]:.1f} % mAP; the "
        f"highest, which nobody may choose by, is {test.max():.1f} % with {test.idxmax()}. "
        f"The paper's best is {paper.best_window()}."
    )
