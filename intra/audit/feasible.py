"""The printed mAP of every row against what its hit rates allow, in galleries that the paper can mean."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from intra import paper
from intra.audit import bounds, chance, galleries

ORDINARY = ("Sticker retrieval methods", "Text-to-image retrieval")
"""Groups of Table II whose mAP goes with their hit rates."""
BALANCED_TEST = "124 balanced"
"""The gallery of the test split with labels as even as can be."""
MEANS = np.linspace(-1, 2, 13)
SPREADS = np.linspace(0, 2.5, 11)
"""Grid of the score model."""


def shares(reading: pd.DataFrame) -> pd.DataFrame:
    """Share of the queries in each class of the first relevant rank: one row a printed row, columns `bounds.CLASSES`.

    Int-RA stands in both tables; its row of Table III is left out.

    Args:
        reading: Answer of `granularity.reading`.
    """
    rows = paper.distinct()
    values = [bounds.class_shares(row, reading.loc[label]) for label, row in rows.iterrows()]
    return pd.DataFrame(values, rows.index, ["1", "2-3", "4-5", "6 or later"])


def printed_map() -> pd.Series:
    """Printed mAP of the distinct rows, as numbers."""
    return paper.distinct()["mAP"].astype(float)


def intervals(shares: pd.DataFrame, follow: bool = True) -> pd.DataFrame:
    """Bounds of mAP in percent for each assumed gallery: columns (gallery, `low` | `high`).

    Args:
        shares: Answer of `shares`.
        follow: Whether intentions are as frequent among queries as among stickers, or all alike.
    """
    columns = {}
    for name, counts in galleries.assumed().items():
        queries = galleries.shares_of_queries(counts, follow)
        found = [bounds.map_bounds(row, counts, queries) for row in shares.to_numpy()]
        columns |= {(name, end): values for end, values in zip(("low", "high"), zip(*found, strict=True), strict=True)}
    frame = pd.DataFrame(columns, index=shares.index)
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame


def outside(frame: pd.DataFrame) -> pd.DataFrame:
    """Where a printed mAP lies, rounding allowed for: `above`, `below` or empty, columns as the galleries.

    Args:
        frame: Answer of `intervals`.
    """
    value = printed_map()
    cells = {}
    for name in frame.columns.unique(0):
        above = value - bounds.ROUNDING > frame[name, "high"]
        below = value + 2 * bounds.ROUNDING < frame[name, "low"]
        cells[name] = np.select([above, below], ["above", "below"], "")
    return pd.DataFrame(cells, index=frame.index)


def table(shares: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """Text for the page: printed mAP, the ceiling with one relevant sticker, and the bounds in each gallery."""
    value = printed_map()
    cells = {"mAP": [f"{v:.2f}" for v in value]}
    cells["one relevant"] = [f"up to {bounds.one_relevant_bound(row):.1f}" for row in shares.to_numpy()]
    for name in frame.columns.unique(0):
        part = frame[name]
        cells[name] = [f"{low:.1f} to {high:.2f}" for low, high in part.itertuples(index=False)]
    return pd.DataFrame(cells, index=shares.index)


def model_ranges(shares: pd.DataFrame, reading: pd.DataFrame, queries: int = 400) -> pd.DataFrame:
    """Range of mAP in the score model over all assumed galleries, for hit rates like a row's: `low`, `high`.

    Args:
        shares: Answer of `shares`.
        reading: Answer of `granularity.reading`; a row without a denominator has that of the test split.
        queries: Simulated for each pair of parameters.
    """
    models = [chance.score_model(counts, MEANS, SPREADS, queries) for counts in galleries.assumed().values()]
    sizes = reading.loc[shares.index, "n"].fillna(int(paper.table_one().at["conversations", "test"]))
    rows = {}
    for label, row, n in zip(shares.index, shares.to_numpy(), sizes, strict=True):
        ends = np.array([chance.model_range(model, row, int(n)) for model in models])
        rows[label] = {"low": np.nanmin(ends[:, 0]), "high": np.nanmax(ends[:, 1])}
    return pd.DataFrame.from_dict(rows, orient="index")


def demands(shares: pd.DataFrame, ranges: pd.DataFrame) -> pd.DataFrame:
    """What a printed mAP asks for: mean AP of missed queries in balanced galleries, and beside the score model.

    Args:
        shares: Answer of `shares`.
        ranges: Answer of `model_ranges`.

    Returns:
        `missed`: share of queries without a hit among five; `needed, G`: mean AP that they need; `mAP / hit@5`;
        `model`: range in the score model as text; `mAP / model`: mAP over the upper end of the range.
    """
    value, rows = printed_map(), paper.distinct()
    frame = pd.DataFrame({"mAP": value, "missed": 100 * shares.iloc[:, -1]})
    for stickers in galleries.sizes().values():
        counts = galleries.label_counts(stickers)
        pairs = zip(shares.to_numpy(), value, strict=True)
        frame[f"needed, {stickers}"] = [bounds.needed_of_missed(row, v, counts) for row, v in pairs]
    frame["mAP / hit@5"] = value / rows["hit@5"].astype(float)
    frame["model"] = [f"{low:.1f} to {high:.1f}" for low, high in ranges.itertuples(index=False)]
    frame["mAP / model"] = value / ranges["high"]
    return frame


def other_definitions(shares: pd.DataFrame) -> pd.DataFrame:
    """Which printed mAP exceed what other definitions allow: columns are definitions, cells booleans.

    Args:
        shares: Answer of `shares`.
    """
    value, rows = printed_map(), shares.to_numpy()
    first = pd.Series([bounds.one_relevant_bound(row) for row in rows], shares.index)
    found = pd.DataFrame([bounds.truncated_bounds(row) for row in rows], shares.index, ["low", "high"])
    low, high = value - bounds.ROUNDING, value + 2 * bounds.ROUNDING
    return pd.DataFrame(
        {
            "one relevant sticker, or reciprocal rank": low > first,
            "AP of the first five": low > 100 * (1 - shares.iloc[:, -1]),
            "AP of the first five, of queries with a hit": (low > found["high"]) | (high < found["low"]),
        }
    )


def ordinary() -> pd.Series:
    """Whether a distinct row belongs to the first two groups of Table II."""
    return paper.distinct()["group"].isin(ORDINARY)


def constants(shares: pd.DataFrame, labels: Sequence[str], sizes: Mapping[str, int]) -> pd.DataFrame:
    """For rows above a bound: how many relevant stickers a query would need, and which queries.

    Args:
        shares: Answer of `shares`.
        labels: Rows.
        sizes: Name of a gallery to its stickers.

    Returns:
        `R, <name>`: the smallest constant R; `mean R`; `any queries`: largest mAP in the balanced gallery of the test
        split whatever the queries; `larger, stickers` and `larger, needed`: shares, in percent, of stickers of its
        larger intentions, and of queries that would have to ask for these.
    """
    value, counts = printed_map(), galleries.label_counts(galleries.sizes()["test split"])
    rows = {}
    for label in labels:
        row = shares.loc[label].to_numpy()
        stickers, needed = bounds.share_needed(row, value[label], counts)
        rows[label] = {f"R, {name}": bounds.smallest_constant(row, value[label], size) for name, size in sizes.items()}
        rows[label] |= {"mean R": counts.mean(), "any queries": bounds.any_queries_bound(row, counts)}
        rows[label] |= {"larger, stickers": 100 * stickers, "larger, needed": 100 * needed}
    return pd.DataFrame.from_dict(rows, orient="index")
