"""Maps over the regions of stickers, and what is measured on them, as figures. Each function returns the figure."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from intra.data.pictures import open_picture
from intra.data.schema import Sticker
from intra.figures import INK, PRINTED
from intra.maps import PARTS, POINTS_AT

BOXES = {"face": "#0072b2", "hand": "#009e73", "body": "#2b2d42", "caption": "#7b4b94", "prop": "#b07d12"}
"""Colour of each part's outline."""
STRONGEST = 16
"""A region's score as a multiple of a uniform map's, from which on the overlay is opaque."""
HEAT = LinearSegmentedColormap.from_list("heat", ["#c8553d00", "#c8553de6"])
"""From clear to opaque red, for multiples of a uniform map from 1 to `STRONGEST`."""
YARDSTICKS = {
    "random": ("|", "random region"),
    "centre": ("x", "centre region"),
    "figure": ("D", "random point of the figure"),
}
"""Column of `maps.pointing_by_part` to its mark and what it is."""


def map_rows(stickers: Sequence[Sticker], maps: Mapping[str, np.ndarray]) -> Figure:
    """One row a sticker: the picture with its parts, then each map laid over it; a dot is the highest region.

    A map of an attribute has the outline of the part that it should point at, other maps those of all parts. A map that
    the sticker does not have, or that is the same everywhere, leaves the picture bare.

    Args:
        stickers: To show.
        maps: Title to one map for each sticker, shape (S, P), P a square number, row by row from the top.
    """
    size = (1.32 * (1 + len(maps)), 1.32 * len(stickers) + 1.1)
    figure, axes = plt.subplots(len(stickers), 1 + len(maps), figsize=size, squeeze=False, layout="constrained")
    for number, (places, sticker) in enumerate(zip(axes, stickers, strict=True)):
        picture = open_picture(sticker.image)
        places[0].imshow(picture)
        _outlines(places[0], sticker, PARTS)
        places[0].set_ylabel(sticker.id, fontsize=10)
        for place, (name, each) in zip(places[1:], maps.items(), strict=True):
            place.imshow(picture.convert("L"), cmap="gray", vmin=-255, vmax=255)  # pale, so that red stands out
            _overlay(place, each[number])
            _outlines(place, sticker, [POINTS_AT[name]] if name in POINTS_AT else PARTS)
    for place in axes.flat:
        place.set(xticks=[], yticks=[])
    for place, name in zip(axes[0], ["parts", *maps], strict=True):
        place.set_title(name.replace("_", " ").replace(", ", "\n"), fontsize=10)
    colours = plt.cm.ScalarMappable(LogNorm(1, STRONGEST), HEAT)
    bar = figure.colorbar(colours, ax=axes, location="bottom", shrink=0.4, aspect=40, ticks=[1, 2, 4, 8, 16])
    bar.set_label("score, as a multiple of a uniform map's", fontsize=10)
    bar.ax.set_xticklabels(["1", "2", "4", "8", "16"], fontsize=10)
    bar.ax.minorticks_off()
    handles = [Patch(facecolor="none", edgecolor=colour, label=part) for part, colour in BOXES.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(BOXES), fontsize=10, frameon=False)
    return figure


def _overlay(axes: Axes, score: np.ndarray) -> None:
    """Lay a map over the picture that the axes show, and mark its highest region."""
    if score.min() == score.max():
        return
    side = round(len(score) ** 0.5)
    multiples = (score / score.mean()).reshape(side, side)
    extent = (*axes.get_xlim(), *axes.get_ylim())
    norm = LogNorm(1, STRONGEST, clip=True)
    axes.imshow(multiples, extent=extent, cmap=HEAT, norm=norm, interpolation="nearest")
    row, column = divmod(int(score.argmax()), side)
    left, right, bottom, top = extent
    x, y = left + (right - left) * (column + 0.5) / side, top + (bottom - top) * (row + 0.5) / side
    axes.plot(x, y, "o", color="white", markeredgecolor="black", markersize=4)


def _outlines(axes: Axes, sticker: Sticker, parts: Sequence[str]) -> None:
    """Draw the boxes of those parts that the sticker has."""
    for part in parts:
        if part in sticker.regions:
            x0, y0, x1, y1 = sticker.regions[part]
            style = {"fill": False, "edgecolor": BOXES[part], "linewidth": 1.3}
            axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, **style))


def excess_panels(table: pd.DataFrame) -> Figure:
    """How far the mass on each part exceeds a uniform figure, with intervals: a panel a part, a row a kind of map.

    Args:
        table: Answer of `maps.mass_by_map`.
    """
    figure, panels = _panels(table, PARTS)
    for part, place in panels.items():
        _points(place, table, part, "excess")
        place.axvline(0, color="black", linestyle="--", linewidth=1, zorder=1)
        place.set_xlabel("share of the map", fontsize=10)
    _explain(figure, panels["face"])
    return figure


def pointing_panels(table: pd.DataFrame) -> Figure:
    """The pointing game with intervals beside its yardsticks: a panel a part of `maps.POINTS_AT`, a row a kind of map.

    Args:
        table: Answer of `maps.pointing_by_part`.
    """
    figure, panels = _panels(table, [part for part in PARTS if part in POINTS_AT.values()])
    for part, place in panels.items():
        _points(place, table, part, "hit")
        own = table.xs(part, level="part")
        for column, (mark, label) in YARDSTICKS.items():
            style = {"markerfacecolor": "none", "markersize": 7, "zorder": 2, "color": PRINTED}
            place.plot(own[column], _rows(table, own), mark, label=label, linestyle="none", **style)
        place.set_xlim(-5, 105)
        place.set_xlabel("% of stickers", fontsize=10)
    _explain(figure, panels["face"])
    return figure


def _panels(table: pd.DataFrame, parts: Sequence[str]) -> tuple[Figure, dict[str, Axes]]:
    """A panel for each part, by its name; they share their rows, the first kind of map on top."""
    kinds = table.index.unique("map")
    size = (1.65 * len(parts) + 1.7, 0.34 * len(kinds) + 1.7)
    figure, axes = plt.subplots(1, len(parts), figsize=size, sharey=True, layout="constrained")
    for place, part in zip(axes, parts, strict=True):
        place.set_title(part)
        place.locator_params(axis="x", nbins=4)
    axes[0].set_yticks(range(len(kinds)), [name.replace("_", " ") for name in kinds])
    axes[0].set_ylim(len(kinds) - 0.5, -0.5)
    return figure, dict(zip(parts, axes, strict=True))


def _rows(table: pd.DataFrame, own: pd.DataFrame) -> list[int]:
    """On which rows of a panel the kinds of map of one part stand."""
    return [list(table.index.unique("map")).index(name) for name in own.index]


def _points(axes: Axes, table: pd.DataFrame, part: str, value: str) -> None:
    """Draw one part's points with their ends; that of the attribute which should point there is filled."""
    own = table.xs(part, level="part")
    ends = np.abs(own[["low", "high"]].to_numpy().T - own[value].to_numpy())
    axes.errorbar(own[value], _rows(table, own), xerr=ends, fmt="none", ecolor="#7b8794", capsize=3)
    meant = np.array([POINTS_AT.get(name) == part for name in own.index])
    for shown, colour, label in ((~meant, "white", "map"), (meant, INK, "map that should point here")):
        style = {"color": INK, "markerfacecolor": colour, "linestyle": "none", "zorder": 4}
        axes.plot(own.loc[shown, value], np.array(_rows(table, own))[shown], "o", label=label, **style)


def _explain(figure: Figure, axes: Axes) -> None:
    """Say below the panels what the marks of one of them mean."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=9, frameon=False)
