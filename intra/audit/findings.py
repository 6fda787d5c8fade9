"""Sentences and claims of the audit, made from its frames: no number of a page is typed."""

from collections.abc import Iterable

import pandas as pd

from intra import paper
from intra.audit import bounds, chance, feasible, galleries, granularity, sampling, text
from intra.claims import INCONSISTENT, UNTESTABLE, Claim

CONSISTENT = "consistent in print"
BASELINE = "ChatGLM3"
"""A baseline with the most hits at 1 of those with a known denominator; Llama3 has as many."""
SEARCHED = 2000
"""Denominators that are searched for rows that fit none up to `granularity.LARGEST`."""
MOST_RUNS = 12
"""Runs over which a printed value is allowed to be a mean."""
NEAR = 10
"""Denominators this near to the size of the test split are tried in such means."""


def _named(labels: Iterable) -> str:
    return ", ".join(str(label).replace("_", " ") for label in labels) or "none"


def totals() -> list[str]:
    """What the totals and averages of Table I come from."""
    sums, averages, splits = text.sums(), text.averages(), text.split_averages()
    off = sums[sums["difference"] != 0]
    wrong = splits[splits["verdict"] == text.DIFFERS]
    uses = text.uses_per_sticker()
    return [
        f"The totals of the text are the sums of the splits but for {_named(off.index)}, where the text has "
        f"{_named(off['difference'])} more; there are {sums.at['conversations', 'text']} conversations, so that one "
        "more utterance in each, the sticker's turn, would explain it.",
        f"The averages follow {averages['printed as'].nunique()} conventions: "
        + "; ".join(
            f"{name.replace('_', ' ')} is {row['text']}, {row['printed as']}" for name, row in averages.iterrows()
        )
        + ".",
        f"Of {len(splits)} averages of splits that counts can be divided for, {len(wrong)} "
        f"print{'s' if len(wrong) == 1 else ''} otherwise: "
        + "; ".join(
            f"{' '.join(i).replace('_', ' ')} {r['printed']} for {r['from the counts']}" for i, r in wrong.iterrows()
        )
        + ".",
        "A sticker is used " + ", ".join(f"{value:.2f} times in {split}" for split, value in uses.items()) + ".",
    ]


def denominators(reading: pd.DataFrame) -> list[str]:
    """What the granularity of the printed shares says.

    Args:
        reading: Answer of `granularity.reading`.
    """
    family = granularity.family_values()
    sizes = granularity.denominators(family, mixed=True)
    ties = granularity.ties(family, sizes[0])
    known = sorted({int(n) for n in reading["n"].dropna()})
    return [
        f"All {len(family)} printed shares of Int-RA and its variants are shares of {' or '.join(map(str, sizes))} "
        f"queries, and of no other number up to {granularity.LARGEST}.",
        f"{len(ties)} of them are exact ties at n = {sizes[0]}: {ties['up'].sum()} went up and {(~ties['up']).sum()} "
        f"down, {ties['even'].sum()} to an even digit, so that no one rule explains all.",
        f"The rows of both tables, read at the fitting number nearest to the test split, rest on {len(known)} "
        f"denominators: {_named(known)}.",
        *_larger_than_the_split(reading),
        f"Three random values would fit a given n with a chance of "
        f"{float(granularity.fit_probability(sizes[0])):.1e} at n = {sizes[0]}, and "
        f"{float(sum(map(granularity.fit_probability, range(1, granularity.LARGEST + 1)))):.3f} of the numbers up to "
        f"{granularity.LARGEST} on average.",
    ]


def _larger_than_the_split(reading: pd.DataFrame) -> list[str]:
    """Rows whose denominator is at least twice the test split: what means over runs would print the same."""
    test, rows = int(paper.table_one().at["conversations", "test"]), paper.printed()
    sentences = []
    for label in reading.index[reading["n"].fillna(0) >= 2 * test]:
        values = rows.loc[label, list(granularity.SHARES)].tolist()
        runs = [runs for runs, _ in granularity.averaged_runs(values, [test], MOST_RUNS)]
        means = f"a mean over {min(runs)} runs" if runs else "no mean over runs"
        sentences.append(f"{label} fits no number near the split of {test}; {means} of it would print so.")
    return sentences


def without_denominator(reading: pd.DataFrame) -> list[str]:
    """What the rows say that fit no number of queries."""
    table = paper.table_one().loc["conversations"]
    test = int(table["test"])
    read = {int(n) for n in reading["n"].dropna() if abs(n - test) <= NEAR}
    sizes = sorted({test, int(table["valid"]), *read})
    rows, sentences = paper.printed(), []
    for label in reading.index[~reading["hits"].map(bool)]:
        values = rows.loc[label, list(granularity.SHARES)].tolist()
        smallest = granularity.smallest(values, SEARCHED)
        means = granularity.averaged_runs(values, sizes, MOST_RUNS)
        shown = f"means over runs that fit: {means}" if means else "no mean over runs fits either"
        sentences.append(f"{label} fits no number below {smallest}; {shown}.")
    return [*sentences, f"Tried were means of up to {MOST_RUNS} runs over {_named(sizes)} queries."]


def padding(reading: pd.DataFrame) -> str:
    """Which batch sizes would pad the test and the validation split to the family's denominator."""
    n, table = int(reading.at[sampling.FULL, "n"]), paper.table_one().loc["conversations"]
    batches = {split: granularity.padding_batches(int(table[split]), n) for split in ("test", "valid")}
    stated = int(paper.settings()["batch_size"])
    padded = stated * -(-int(table["test"]) // stated)
    return (
        f"Padding to whole batches turns {table['test']:.0f} test conversations into {n} with batches of "
        f"{_named(batches['test'])}, and {table['valid']:.0f} of validation with batches of "
        f"{_named(batches['valid'])}; the stated batch of {stated} would give {padded}."
    )


def by_chance(reading: pd.DataFrame) -> list[str]:
    """What the levels of chance say about the printed rows."""
    table = chance.chance_table()
    uniform = table.loc[feasible.BALANCED_TEST]
    p = chance.below_chance(reading, uniform["hit@5"]).sort_values()
    shares = paper.printed()[list(granularity.SHARES)].astype(float)
    below = shares.index[shares["hit@5"] < uniform["hit@5"]]
    skewed, steeper = table.loc["124 Zipf(1)"], table.loc["124 Zipf(1.5)"]
    reached = [label for label, row in shares.iterrows() if (row <= steeper[row.index]).all()]
    return [
        f"With balanced labels these rows are below chance at P@5: {_named(below)}; for {p.index[0]} "
        f"that so few hits come from chance has p = {p.iloc[0]:.1g}, for all others with counts at least "
        f"{p.iloc[1]:.2f}. Were only the sent sticker right, chance would be {table['hit@5'].iloc[-2]:.1f} % there.",
        f"With labels by Zipf's law chance is {skewed['hit@1']:.1f}, {skewed['hit@3']:.1f} and {skewed['hit@5']:.1f} % "
        f"in the test gallery; with the steeper law it is {steeper['hit@1']:.1f}, {steeper['hit@3']:.1f} and "
        f"{steeper['hit@5']:.1f} %, and {len(reached)} of {len(shares)} printed rows are not above it in any P@N.",
    ]


def map_bounds(shares: pd.DataFrame, frame: pd.DataFrame, outside: pd.DataFrame, uniform: pd.DataFrame) -> list[str]:
    """Which printed mAP are impossible, and where.

    Args:
        shares: Answer of `feasible.shares`.
        frame: Answer of `feasible.intervals`.
        outside: Answer of `feasible.outside`, for queries that follow the stickers.
        uniform: The same for uniform queries.
    """
    value = paper.printed()["mAP"].astype(float)
    sentences = []
    for name in frame.columns.unique(0):
        parts = [
            f"{label} ({value[label]:.2f}, bound {frame.at[label, (name, 'high' if side == 'above' else 'low')]:.2f})"
            for side in ("above", "below")
            for label in outside.index[outside[name] == side]
        ]
        more = (uniform[name] != "").sum()
        sentences.append(f"{name}: impossible are {_named(parts)}; with uniform queries, {more} rows.")
    return sentences


def constants(frame: pd.DataFrame) -> list[str]:
    """How firmly the rows above the bound of the balanced test gallery are there.

    Args:
        frame: Answer of `feasible.constants`.
    """
    value = paper.printed()["mAP"].astype(float)
    firm = frame.index[frame["larger, needed"].isna()]
    loose = frame.drop(firm)
    cells = [f"{label} if {row['larger, needed']:.1f} %" for label, row in loose.iterrows()]
    return [
        f"{_named(firm)} stay impossible whatever the queries ask for: the largest mAP is "
        + _named(f"{frame.at[label, 'any queries']:.2f} against {value[label]:.2f}" for label in firm)
        + ".",
        f"The others hang on the mix of queries. {frame['larger, stickers'].iloc[0]:.1f} % of the stickers belong to "
        f"intentions with the larger count; possible becomes {_named(cells)} of the queries ask for these.",
    ]


def ordinary_and_others(demands: pd.DataFrame, ordinary: pd.Series) -> list[str]:
    """How the two blocks of rows differ in the relation of mAP and hit rates.

    Args:
        demands: Answer of `feasible.demands`.
        ordinary: Answer of `feasible.ordinary`.
    """
    first, rest = demands[ordinary], demands[~ordinary]
    full = demands.loc[sampling.FULL]
    counts = {stickers: galleries.label_counts(stickers) for stickers in galleries.sizes().values()}
    by_chance = ", ".join(f"{chance.expected_hits(c)['mAP']:.1f} with {n} stickers" for n, c in counts.items())
    at_most = ", ".join(f"{bounds.largest_missed(c):.1f} with {n}" for n, c in counts.items())
    return [
        f"mAP divided by hit@5 is {first['mAP / hit@5'].min():.2f} to {first['mAP / hit@5'].max():.2f} in the first "
        f"{len(first)} rows and {rest['mAP / hit@5'].min():.2f} to {rest['mAP / hit@5'].max():.2f} in the other "
        f"{len(rest)}.",
        f"mAP is at most {first['mAP / model'].max():.2f} times the upper end of the score model in the first, and "
        f"at least {rest['mAP / model'].min():.2f} times in the others.",
        f"{sampling.FULL} needs a mean AP of {full['needed, 124']:.1f} % with 124 stickers, {full['needed, 1025']:.1f} "
        f"% with 1025, on the {full['missed']:.0f} % of its queries whose first five stickers are all wrong; chance "
        f"is {by_chance}, and the largest possible {at_most}.",
    ]


def differences(reading: pd.DataFrame) -> list[str]:
    """What the counts allow to be said about differences."""
    full, n = reading.at[sampling.FULL, "hits"], int(reading.at[sampling.FULL, "n"])
    other, other_n = reading.at[BASELINE, "hits"], int(reading.at[BASELINE, "n"])
    kind = sampling.kindest_p(full[0] - other[0], other_n)
    seen = 100 * other[0] / other_n
    needs = sampling.detectable(seen, n, other_n)
    levels = paper.levels()
    fewest = _named(f"{sampling.least_significant(n, p)} below {p:g}" for p in sorted(levels.values(), reverse=True))
    return [
        f"At P@1 {sampling.FULL} has {full[0]} of {n}, the best baselines {other[0]} of {other_n}: unpaired "
        f"p = {sampling.unpaired_p(full[0], n, other[0], other_n):.2f}. In the kindest pairing {full[0] - other[0]} "
        f"queries differ, all in favour: exact McNemar p = {kind['McNemar']:.4f}, paired t-test p = {kind['t']:.3f}, "
        f"against the level {levels['text']:g} of the text and {levels['caption']:g} of the caption.",
        f"Between samples of {n} and {other_n}, a system {needs:.1f} points above {seen:.1f} % would be found four "
        f"times in five. In the kindest pairing, fewest queries for an exact p: {fewest}.",
    ]


def claims(reading: pd.DataFrame, outside: pd.DataFrame) -> list[Claim]:
    """The claims P1 to P6, each with the verdict that the numbers give.

    Args:
        reading: Answer of `granularity.reading`.
        outside: Answer of `feasible.outside`.
    """
    checks = text.checks().set_index("statement")
    n, test = int(reading.at[sampling.FULL, "n"]), int(paper.table_one().at["conversations", "test"])
    sizes = sorted({int(size) for size in reading["n"].dropna()})
    missing = _named(reading.index[reading["n"].isna()])
    other, other_n = reading.at[BASELINE, "hits"][0], int(reading.at[BASELINE, "n"])
    kind = sampling.kindest_p(reading.at[sampling.FULL, "hits"][0] - other, other_n)
    level = paper.levels()["text"]
    impossible = {name: _named(outside.index[outside[name] != ""]) for name in outside}
    everywhere = (outside != "").all(axis=1).any()
    found = [
        (
            "P1",
            "P@N is the precision of the first N",
            "Section V-A",
            *_of(checks, "P@N is the precision of the first N"),
        ),
        (
            "P2",
            "One test split stands behind all rows",
            f"{test} test conversations",
            f"{sampling.FULL}: {n}; all rows: {_named(sizes)}, and no number fits {missing}",
            _verdict(sizes == [test]),
        ),
        (
            "P3",
            "Every ablation is worse under all metrics",
            "Section V-D",
            *_of(checks, "every ablation is worse under all metrics"),
        ),
        (
            "P4",
            "Without intention mAP and P@5 fall by the stated points",
            text.said_without_intention(),
            *_of(checks, "points by which mAP and P@5 fall without the intention"),
        ),
        (
            "P5",
            "At P@1 Int-RA is significantly above the baselines at the level of the text",
            f"asterisk, paired t-test, level {level:g}",
            f"kindest pairing: McNemar p = {kind['McNemar']:.4f}, t-test p = {kind['t']:.3f}",
            _verdict(kind["t"] < level),
        ),
        (
            "P6",
            "mAP and P@N describe the same rankings",
            "one table",
            "impossible in: " + "; ".join(f"{name}, {rows}" for name, rows in impossible.items()),
            INCONSISTENT if everywhere else UNTESTABLE,
        ),
    ]
    return [Claim(*row) for row in found]


def _of(checks: pd.DataFrame, statement: str) -> tuple[str, str]:
    row = checks.loc[statement]
    return row["tables"], _verdict(row["verdict"] == text.AGREES)


def _verdict(right: bool) -> str:
    return CONSISTENT if right else INCONSISTENT
