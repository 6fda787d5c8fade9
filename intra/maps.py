r"""Maps over the regions of stickers against the parts that were drawn: mass and the pointing game. No torch here.

Mass tells what share of a map falls on a part. The pointing game looks at the highest region alone: it hits a part if
the region's centre lies in the part's box. Which attribute should point where (`POINTS_AT`) was fixed before any map
was measured, and so was this rule.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from intra.arrays import read_arrays
from intra.data.schema import ATTRIBUTES, Sticker
from intra.errors import IntraError
from intra.evaluation import bootstrap_interval
from intra.paths import RECORDS
from intra.records import Record

RELEASED_MAPS = RECORDS / "released_maps.npz"
"""What `python -m intra.released_maps` writes."""
INPUTS = ("picture", *ATTRIBUTES)
"""What a sticker brings to the release-faithful model."""
POINTS_AT = {"gesture": "hand", "posture": "body", "facial_expression": "face", "verbal": "caption"}
"""Attribute to the part that its map should point at."""
PARTS = ("face", "hand", "body", "caption", "prop")
MAXIMUM = "maximum"
LEARNED, RANKED = "released, learned", "released, ranked by"
SIZE = 240
"""Side of the drawn stickers in pixels, to which their boxes refer."""

Maps = Mapping[str, np.ndarray]
"""Name to maps of N seeds, shape (N, S, P); a sticker's rows are 0 where it has no such map."""


def relation_maps(records: Sequence[Record]) -> dict[str, np.ndarray]:
    r"""M of each attribute and their maximum \mathcal{M} (Eq. 11), one entry a record: shapes (N, S, P)."""
    details = [record.details() for record in records]
    attention = np.stack([each["attention"] for each in details]).astype(float)  # (N, S, A, P)
    maximum = np.stack([each["relation_scores"] for each in details]).astype(float)
    return {name: attention[:, :, number] for number, name in enumerate(ATTRIBUTES)} | {MAXIMUM: maximum}


def released_record(stickers: Sequence[Sticker], path: Path | None = None) -> dict[str, np.ndarray]:
    """The arrays of `released_maps.main`.

    Args:
        stickers: Those that the maps must be of, in order.
        path: Of the record; `RELEASED_MAPS` by default.

    Raises:
        IntraError: If the record is missing, damaged, or of other stickers.
    """
    path, command = path or RELEASED_MAPS, "python -m intra.released_maps"
    found = read_arrays(path, ("runs", "stickers", "ranked", "exchanged", "learned"), command)
    if found["stickers"].tolist() != [sticker.id for sticker in stickers]:
        raise IntraError(f"{path}: holds maps of other stickers; {command} writes them anew")
    return found


def released_maps(found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The two maps of the release-faithful model, scaled to sum 1 where there is anything; one entry a run.

    Args:
        found: Answer of `released_record`.

    Returns:
        `LEARNED`, how far hiding a region moves what is learned, and `RANKED`, what is ranked by (mean over draws).
    """
    maps = {LEARNED: found["learned"].astype(float), RANKED: found["ranked"].astype(float).mean(axis=1)}
    sums = {name: each.sum(axis=-1, keepdims=True) for name, each in maps.items()}
    return {name: np.divide(each, sums[name], where=sums[name] > 0, out=each) for name, each in maps.items()}


def exchanges(found: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """How far the vector that the release-faithful model ranks by moves when an input is another sticker's.

    Args:
        found: Answer of `released_record`.

    Returns:
        One row an input: mean and largest of 1 minus the cosine, over runs, draws and stickers.
    """
    values = found["exchanged"].astype(float).reshape(-1, len(INPUTS))
    return pd.DataFrame({"mean": values.mean(axis=0), "largest": values.max(axis=0)}, index=list(INPUTS))


def region_cover(box: Sequence[float], side: int, size: float) -> np.ndarray:
    """Share of each region that a box covers, shape (side * side,), row by row from the top."""
    edges = np.linspace(0, size, side + 1)
    x0, y0, x1, y1 = box
    across = np.clip(np.minimum(edges[1:], x1) - np.maximum(edges[:-1], x0), 0, None)
    down = np.clip(np.minimum(edges[1:], y1) - np.maximum(edges[:-1], y0), 0, None)
    return np.outer(down, across).ravel() / (size / side) ** 2


def region_inside(box: Sequence[float], side: int, size: float) -> np.ndarray:
    """Whether the centre of each region lies in a box, shape (side * side,), bool."""
    centres = (np.arange(side) + 0.5) * size / side
    x0, y0, x1, y1 = box
    return np.outer((y0 <= centres) & (centres <= y1), (x0 <= centres) & (centres <= x1)).ravel()


def relation_mass(scores: np.ndarray, stickers: Sequence[Sticker], size: float = SIZE) -> pd.DataFrame:
    r"""How much of a sticker's relation score falls into the box of a part.

    Args:
        scores: \mathcal{M}, shape (S, P), P a square number of regions.
        stickers: The S stickers, whose `regions` are boxes in pixels of a `size` square.
        size: Side of the picture.

    Returns:
        One row a sticker and part: `mass`, the share of the score inside the part; `picture` and `figure`, the
        share that a score would have there which is uniform over the whole picture or over the box of the
        drawn figure.
    """
    side = round(scores.shape[1] ** 0.5)
    rows = []
    for number, (score, sticker) in enumerate(zip(scores, stickers, strict=True)):
        figure = region_cover(sticker.regions["body"], side, size)
        for part, box in sticker.regions.items():
            covered = region_cover(box, side, size)
            mass, over_figure = (float(weights @ covered / weights.sum()) for weights in (score, figure))
            row = {"sticker": number, "part": part, "mass": mass}
            rows.append(row | {"picture": float(covered.mean()), "figure": over_figure})
    return pd.DataFrame(rows)


def mass_by_part(masses: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Mean of the columns of `relation_mass` for each part, and how far mass exceeds a uniform figure.

    Args:
        masses: One answer of `relation_mass` a seed, of the same stickers.

    Returns:
        One row a part; `excess` is the mean of mass minus figure, `low` and `high` its 95 % bootstrap interval
        over seeds and stickers.
    """
    rows = {}
    for part, group in pd.concat(masses, keys=range(len(masses)), names=["seed"]).groupby("part"):
        excess = group["mass"] - group["figure"]
        low, high = bootstrap_interval(_by_seed(excess))
        means = {"stickers": group["sticker"].nunique()} | group[["mass", "picture", "figure"]].mean().to_dict()
        rows[part] = means | {"excess": excess.mean(), "low": low, "high": high}
    return pd.DataFrame.from_dict(rows, orient="index")


def _by_seed(values: pd.Series) -> list[np.ndarray]:
    return [own.to_numpy() for _, own in values.groupby(level="seed")]


def mass_by_map(maps: Maps, stickers: Sequence[Sticker], size: float = SIZE) -> pd.DataFrame:
    """`mass_by_part` of each kind of map, in the order of `PARTS`.

    Args:
        maps: Stickers without a map, and kinds that none has, are left out.
        stickers: The S stickers.
        size: Side of the picture.

    Returns:
        One row a kind of map and part.
    """
    frames = {}
    for name, each in maps.items():
        has = each.any(axis=(0, 2))
        if has.any():
            own = [sticker for sticker, kept in zip(stickers, has, strict=True) if kept]
            by_part = mass_by_part([relation_mass(scores[has], own, size) for scores in each])
            frames[name] = by_part.loc[[part for part in PARTS if part in by_part.index]]
    return pd.concat(frames, names=["map", "part"])


def pointing_hits(scores: np.ndarray, inside: np.ndarray) -> float:
    """Whether the region with the highest score is inside; of several highest ones, the share that is.

    Args:
        scores: Shape (P,).
        inside: Shape (P,), bool.
    """
    return float(inside[scores == scores.max()].mean())


def pointing_game(maps: Maps, stickers: Sequence[Sticker], size: float = SIZE) -> pd.DataFrame:
    """The pointing game for every sticker, kind of map and part of `POINTS_AT` that the sticker has.

    Args:
        maps: A kind of which no sticker has any points nowhere: it is played as a uniform map.
        stickers: The S stickers.
        size: Side of the picture.

    Returns:
        One row a kind of map, sticker, part and seed, the last as index: `hit`, whether the map hits; what is expected
        of a `random` region and of the region of a random point of the drawn `figure`'s box; whether the `centre`
        region hits; and whether `any` region could. All from 0 to 1.
    """
    rows = []
    side = round(next(iter(maps.values())).shape[-1] ** 0.5)
    for number, sticker in enumerate(stickers):
        figure = region_cover(sticker.regions["body"], side, size)
        for part in filter(sticker.regions.__contains__, POINTS_AT.values()):
            inside = region_inside(sticker.regions[part], side, size)
            chance = {
                "random": inside.mean(),
                "centre": float(inside[(side + 1) * (side // 2)]),
                "figure": figure @ inside / figure.sum(),
                "any": float(inside.any()),
            }
            for name, each in maps.items():
                if each[:, number].any() or not each.any():
                    for seed, scores in enumerate(each[:, number]):
                        hit = {"hit": pointing_hits(scores, inside)}
                        rows.append({"seed": seed, "map": name, "sticker": number, "part": part} | hit | chance)
    return pd.DataFrame(rows).set_index("seed")


def pointing_by_part(hits: pd.DataFrame) -> pd.DataFrame:
    """Means of `pointing_game` over seeds and stickers, in percent.

    Returns:
        One row a kind of map and part, in the order of the maps and of `PARTS`: `stickers`, `hit` with its 95 %
        bootstrap interval over both (`low`, `high`), the yardsticks, and `gain`, hit minus the higher one of
        random region and random point of the figure, with its interval (`gain low`, `gain high`).
    """
    rows = {}
    for key, group in hits.groupby(["map", "part"], sort=False):
        means = 100 * group[["hit", "random", "centre", "figure", "any"]].mean()
        gain = group["hit"] - group[means[["random", "figure"]].idxmax()]
        low, high = bootstrap_interval(_by_seed(group["hit"]))
        ends = dict(zip(("gain low", "gain high"), bootstrap_interval(_by_seed(gain)), strict=True))
        interval = {
            name: 100 * value for name, value in ({"low": low, "high": high, "gain": gain.mean()} | ends).items()
        }
        rows[key] = {"stickers": group["sticker"].nunique()} | means.to_dict() | interval
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis(["map", "part"])
    columns = ["stickers", "hit", "low", "high", "random", "centre", "figure", "any", "gain", "gain low", "gain high"]
    wanted = [(name, part) for name in hits["map"].unique() for part in PARTS if (name, part) in frame.index]
    return frame.loc[wanted, columns]


def expected_pairs(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table by map and part in which an attribute is asked for the part that it should point at."""
    return table.loc[[(name, part) for name, part in POINTS_AT.items() if (name, part) in table.index]]


def pointing_numbers(table: pd.DataFrame) -> dict[str, float]:
    """Numbers of `pointing_by_part` under the names that prose uses: attributes at their parts, the others at all.

    Names are such as `pointing_gesture_hand` and `pointing_maximum_face`; the yardsticks of a part follow its
    attribute: `pointing_gesture_hand_random`.
    """
    numbers = {}
    for (name, part), row in table.iterrows():
        key = f"pointing_{name.replace(', ', '_').replace(' ', '_')}_{part}"
        if POINTS_AT.get(name) == part:
            numbers |= {key: row["hit"]} | {f"{key}_{one}": row[one] for one in ("random", "centre", "figure")}
        elif name not in POINTS_AT:
            numbers[key] = row["hit"]
    return numbers


def pointing_sentences(table: pd.DataFrame) -> list[str]:
    """Say of each attribute how often its map points where it should, beside the yardsticks of `pointing_by_part`."""
    return [
        f"The {name.replace('_', ' ')} map points at the {part} of {row['hit']:.1f} % [{row['low']:.1f}, "
        f"{row['high']:.1f}] of {row['stickers']:.0f} stickers; a random region would of {row['random']:.1f} %, the "
        f"centre region of {row['centre']:.1f} %, a random point of the figure of {row['figure']:.1f} %."
        for (name, part), row in expected_pairs(table).iterrows()
    ]


def sharpness(maps: Maps) -> pd.DataFrame:
    r"""How sharp each attribute's map is, and how much of the maximum it decides.

    Returns:
        One row an attribute, means over seeds and the stickers that have it: `regions`, 2 to the entropy of the map in
        bits, P for a uniform one and 1 for a single region; `decides`, the share of all stickers' \mathcal{M}, in
        percent, that lies on regions where this attribute's weight is the largest.
    """
    attention = np.stack([maps[name] for name in ATTRIBUTES])  # (A, N, S, P)
    leading = attention.argmax(axis=0)
    rows = {}
    for number, name in enumerate(ATTRIBUTES):
        own = attention[number][attention[number].any(axis=-1)]
        shares = own / own.sum(axis=-1, keepdims=True)
        bits = -(shares * np.log2(shares, where=shares > 0, out=np.zeros_like(shares))).sum(axis=-1)
        decided = (maps[MAXIMUM] * (leading == number)).sum() / maps[MAXIMUM].sum()
        rows[name] = {"regions": (2**bits).mean(), "decides": 100 * decided}
    return pd.DataFrame.from_dict(rows, orient="index")
