"""Frames and records to matplotlib figures. Each function returns the figure; no torch here."""

from collections.abc import Mapping, Sequence
from importlib.resources import files

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from intra.data.pictures import open_picture
from intra.data.schema import Sticker

PALETTE = {"train": "#33658a", "valid": "#f6ae2d", "test": "#c8553d"}
INK = "#33658a"
LANGUAGES = {"chinese": "#33658a", "english": "#c8553d", "chance": "#9aa5b1", "majority": "#56616d"}
"""Languages of descriptions, and the yardsticks beside them."""


def use_style() -> None:
    """One look for all figures, with Chinese glyphs from the packaged font."""
    font = files("pylopdf_fonts_zh_cn") / "NotoSansSC-Regular.otf"
    font_manager.fontManager.addfont(str(font))
    # the Chinese family comes first: fallback goes glyph by glyph through font.family only
    rc = {"font.family": ["Noto Sans SC", "DejaVu Sans"], "mathtext.fontset": "dejavusans", "figure.dpi": 110}
    sns.set_theme(style="whitegrid", context="notebook", rc=rc)


def intention_bars(distribution: pd.DataFrame) -> Figure:
    """Figure 2: conversations of each intention, stacked by split.

    Args:
        distribution: Answer of `data.statistics.intention_distribution`.
    """
    figure, axes = plt.subplots(figsize=(8, 6))
    left = np.zeros(len(distribution))
    for split in distribution.columns:
        axes.barh(distribution.index, distribution[split], left=left, color=PALETTE[split], label=split)
        left += distribution[split].to_numpy()
    axes.invert_yaxis()
    axes.set(xlabel="conversations", ylabel="")
    axes.grid(axis="y", visible=False)
    axes.legend(title="split")
    figure.tight_layout()
    return figure


def contact_sheet(stickers: Sequence[Sticker], titles: Sequence[str] | None = None, columns: int = 8) -> Figure:
    """Stickers in a grid, with a title each where given."""
    rows = -(-len(stickers) // columns)
    height = 1.35 if titles else 1.1
    figure, axes = plt.subplots(rows, columns, figsize=(1.15 * columns, height * rows), squeeze=False)
    for place in axes.flat:
        place.axis("off")
    for number, (place, sticker) in enumerate(zip(axes.flat, stickers, strict=False)):
        place.imshow(open_picture(sticker.image))
        if titles:
            place.set_title(titles[number], fontsize=7)
    figure.tight_layout(pad=0.4)
    return figure


def score_histogram(scores: Mapping[str, Sequence[float]], threshold: float, xlabel: str) -> Figure:
    """Distribution of a score in each split, with the threshold below which a source stays silent."""
    figure, axes = plt.subplots(figsize=(7, 3.2))
    lowest = min(0.0, *(min(values) for values in scores.values()))
    bins = np.linspace(lowest, 1, 41)
    for split, values in scores.items():
        axes.hist(values, bins, density=True, histtype="step", linewidth=2, color=PALETTE[split], label=split)
    axes.axvline(threshold, color="black", linestyle="--", linewidth=1)
    axes.text(threshold + 0.01, axes.get_ylim()[1] * 0.9, "threshold", fontsize=9)
    axes.set(xlabel=xlabel, ylabel="density")
    axes.legend(title="split")
    figure.tight_layout()
    return figure


def accuracy_bars(frame: pd.DataFrame, ylabel: str = "accuracy (%)") -> Figure:
    """Grouped bars: one group a row, one bar a column, in percent."""
    figure, axes = plt.subplots(figsize=(7, 3.4))
    colours = [(PALETTE | LANGUAGES).get(column, "#9aa5b1") for column in frame.columns]
    frame.plot.bar(ax=axes, color=colours, width=0.75, rot=0)
    axes.set(ylabel=ylabel, xlabel="", ylim=(0, 100))
    axes.grid(axis="x", visible=False)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(frame.columns), fontsize=9, frameon=False)
    figure.tight_layout()
    return figure


def guess_points(frame: pd.DataFrame, xlabel: str = "accuracy (%)") -> Figure:
    """Accuracies with their intervals, one row each.

    Args:
        frame: Columns `accuracy`, `low` and `high`.
        xlabel: What is measured.
    """
    figure, axes = plt.subplots(figsize=(7, 0.4 * len(frame) + 1.2))
    _intervals(axes, frame, "accuracy")
    axes.set(xlabel=xlabel, xlim=(0, 100))
    axes.margins(y=0.15)
    figure.tight_layout()
    return figure


def _intervals(axes: Axes, frame: pd.DataFrame, value: str) -> None:
    """Points with their ends `low` and `high`, the first row on top."""
    part = frame.iloc[::-1]
    spread = np.abs(part[["low", "high"]].to_numpy().T - part[value].to_numpy())
    axes.errorbar(part[value], part.index, xerr=spread, fmt="o", color=INK, ecolor="#9aa5b1", capsize=3)


def heat_map(matrix: pd.DataFrame, xlabel: str, ylabel: str) -> Figure:
    """A matrix of shares (rows sum to 1) as colours, such as a confusion matrix."""
    figure, axes = plt.subplots(figsize=(0.32 * len(matrix.columns) + 2.2, 0.28 * len(matrix) + 1.8))
    sns.heatmap(matrix, ax=axes, cmap="Blues", vmin=0, vmax=1, square=True, cbar_kws={"shrink": 0.6})
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.tick_params(labelsize=8)
    figure.tight_layout()
    return figure


def training_curves(histories: Mapping[int, Sequence[Mapping[str, float]]], best: Mapping[int, int]) -> Figure:
    """Losses on train and mAP on valid by epoch, one line a seed; a dot marks the epoch that was selected.

    Args:
        histories: Seed to `training.Fit.history`.
        best: Seed to the selected epoch.
    """
    panels = ("retrieval", "intention", "valid_mAP")
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.2))
    for seed, history in histories.items():
        frame = pd.DataFrame(history).set_index("epoch")
        for place, panel in zip(axes, panels, strict=True):
            (line,) = place.plot(frame.index, frame[panel], linewidth=1.3, label=f"seed {seed}")
            place.plot(best[seed], frame[panel][best[seed]], "o", color=line.get_color(), markersize=5)
    for place, title in zip(axes, ("retrieval loss, train", "intention loss, train", "mAP, valid"), strict=True):
        place.set(title=title, xlabel="epoch")
    axes[-1].legend(fontsize=8)
    figure.tight_layout()
    return figure


def results_points(frame: pd.DataFrame, metrics: Sequence[str]) -> Figure:
    """Each metric with its interval, one row a system.

    Args:
        frame: Answer of `tables.results`.
        metrics: Panels.
    """
    figure, axes = plt.subplots(1, len(metrics), figsize=(3.0 * len(metrics), 0.5 * len(frame) + 1.2), sharey=True)
    for place, metric in zip(np.atleast_1d(axes), metrics, strict=True):
        _intervals(place, frame[metric], "mean")
        place.set(title=metric, xlabel="%", xlim=(-3, 103))
    figure.tight_layout()
    return figure


def relation_overlays(
    stickers: Sequence[Sticker], scores: Sequence[np.ndarray], titles: Sequence[str], columns: int = 6
) -> Figure:
    r"""Stickers with their relation scores laid over them; darker red is a higher score.

    Args:
        stickers: To show.
        scores: For each, \mathcal{M} over the regions, shape (P,), P a square number, row by row from the top.
        titles: One each.
        columns: In the grid.
    """
    figure = contact_sheet(stickers, titles, columns)
    for place, score in zip(figure.axes, scores, strict=False):
        side = round(len(score) ** 0.5)
        place.imshow(
            score.reshape(side, side),
            extent=(*place.get_xlim(), *place.get_ylim()),
            cmap="Reds",
            alpha=0.75 * (score / score.max()).reshape(side, side),
            interpolation="nearest",
        )
    return figure


def excess_points(frame: pd.DataFrame) -> Figure:
    """How far the relation mass of each part exceeds a uniform figure, with intervals.

    Args:
        frame: Answer of `analysis.mass_by_part`.
    """
    figure, axes = plt.subplots(figsize=(6, 0.4 * len(frame) + 1.2))
    _intervals(axes, frame, "excess")
    axes.axvline(0, color="black", linestyle="--", linewidth=1)
    axes.set(xlabel="share of the relation score, minus that of a score uniform over the figure")
    axes.margins(y=0.2)
    figure.tight_layout()
    return figure


def pretraining_curves(history: pd.DataFrame) -> Figure:
    """Terms of the loss on the training pictures and accuracy on the validation drawings by epoch.

    Args:
        history: Answer of `analysis.pretraining_history`.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2))
    titles = {"loss": "terms of the loss, training", "accuracy": "accuracy (%), validation"}
    for place, (part, title) in zip(axes, titles.items(), strict=True):
        for name, values in history[part].items():
            place.plot(history.index, values, linewidth=1.3, label=name)
        place.set(title=title, xlabel="epoch")
        place.legend(fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.2), frameon=False)
    axes[0].set_yscale("log")
    axes[1].set_ylim(0, 100)
    figure.tight_layout()
    return figure


def recall_curves(retrieved: pd.DataFrame) -> Figure:
    """Recall by rank, a panel for each set of pictures and a line for each language and for chance.

    Args:
        retrieved: Answer of `analysis.art_retrieval`.
    """
    sets = retrieved.index.unique("set")
    figure, axes = plt.subplots(1, len(sets), figsize=(4 * len(sets), 3.2), sharey=True, squeeze=False)
    recalls = retrieved.filter(like="recall")
    ranks = [int(column.removeprefix("recall@")) for column in recalls]
    for place, name in zip(axes.flat, sets, strict=True):
        for names, values in recalls.loc[name].iterrows():
            place.plot(ranks, values, "o-", color=LANGUAGES[names], markersize=4, label=names)
        place.set(title=name, xlabel="rank", xticks=ranks)
    axes.flat[0].set(ylabel="recall (%)", ylim=(0, None))
    axes.flat[-1].legend(fontsize=8)
    figure.tight_layout()
    return figure
