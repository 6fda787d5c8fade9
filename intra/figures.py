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
PRINTED = "#c8553d"
"""Colour of what the paper prints."""
CHANCE_LINE = {"color": "#56616d", "linestyle": "--", "linewidth": 1.2, "zorder": 1}
HIGHLIGHTS = (INK, PRINTED, "#5b8e7d", "#b07d12", "#7b4b94", "#2b2d42")
"""Colours of the few curves among many that carry their names."""
SEEDS_A_LINE = 5
"""Most entries of a line of the legend below training curves."""
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
    named = frame.rename(index=lambda name: name.replace("_", " "))
    named.plot.bar(ax=axes, color=colours, width=0.75, rot=0)
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
    style = {"fmt": "o", "color": INK, "ecolor": "#9aa5b1", "capsize": 3, "label": "here, 95 % interval"}
    axes.errorbar(part[value], part.index, xerr=spread, **style)


def heat_map(matrix: pd.DataFrame, xlabel: str, ylabel: str) -> Figure:
    """A matrix of shares (rows sum to 1) as colours, such as a confusion matrix."""
    figure, axes = plt.subplots(figsize=(0.32 * len(matrix.columns) + 2.2, 0.28 * len(matrix) + 1.8))
    sns.heatmap(matrix, ax=axes, cmap="Blues", vmin=0, vmax=1, square=True, cbar_kws={"shrink": 0.6})
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.tick_params(labelsize=8)
    figure.tight_layout()
    return figure


def training_curves(histories: Mapping[int, Sequence[Mapping[str, float]]], best: Mapping[int, int]) -> Figure:
    """Each loss on train and mAP on valid by epoch, one line a seed; a dot marks the epoch that was selected.

    Args:
        histories: Seed to `training.Fit.history`.
        best: Seed to the selected epoch.
    """
    panels = [name for name in next(iter(histories.values()))[0] if name != "epoch"]
    size = (3.4 * len(panels), 3.2 + 0.25 * -(-len(histories) // SEEDS_A_LINE))
    figure, axes = plt.subplots(1, len(panels), figsize=size, layout="constrained")
    for seed, history in histories.items():
        frame = pd.DataFrame(history).set_index("epoch")
        for place, panel in zip(axes, panels, strict=True):
            (line,) = place.plot(frame.index, frame[panel], linewidth=1.3, label=f"seed {seed}")
            place.plot(best[seed], frame[panel][best[seed]], "o", color=line.get_color(), markersize=5)
    for place, panel in zip(axes, panels, strict=True):
        place.set(title="mAP, valid" if panel == "valid_mAP" else f"{panel} loss, train", xlabel="epoch")
        place.xaxis.get_major_locator().set_params(integer=True)
    columns = min(SEEDS_A_LINE, len(histories))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=columns, frameon=False)
    return figure


def points_with_intervals(
    frame: pd.DataFrame,
    metrics: Sequence[str],
    chance: Mapping[str, float] | None = None,
    paper: pd.DataFrame | None = None,
) -> Figure:
    """Each metric with its interval: a panel a metric, a row a label in the order of the frame.

    Args:
        frame: Answer of `tables.results`.
        metrics: Panels.
        chance: Metric to percent, as a broken line.
        paper: Printed values in percent, one row a label, one column a metric; open diamonds where there are any.
    """
    size = (2.3 * len(metrics) + 0.09 * max(map(len, frame.index)), 0.3 * len(frame) + 1.6)
    figure, axes = plt.subplots(1, len(metrics), figsize=size, sharey=True, squeeze=False, layout="constrained")
    _point_panels(figure, axes[0], frame, metrics, chance, paper)
    return figure


def subset_points(
    frame: pd.DataFrame,
    sets: Mapping[str, Sequence[str]],
    metrics: Sequence[str],
    chance: Mapping[str, float] | None = None,
    paper: pd.DataFrame | None = None,
) -> Figure:
    """As `points_with_intervals`, beside a matrix of dots that shows which parts each label has.

    Args:
        frame: Answer of `tables.results`.
        sets: Label to its parts; the largest set gives the columns.
        metrics: Panels.
        chance: Metric to percent.
        paper: Printed values in percent.
    """
    parts = max(sets.values(), key=len)
    size = (2.6 * len(metrics) + 0.4 * len(parts) + 0.6, 0.28 * len(frame) + 2.2)
    widths = [0.16 * len(parts), *[1] * len(metrics)]
    options = {"sharey": True, "width_ratios": widths, "layout": "constrained"}
    figure, (matrix, *axes) = plt.subplots(1, len(widths), figsize=size, **options)
    for label in frame.index[::-1]:
        own = [n for n, part in enumerate(parts) if part in sets[label]]
        matrix.plot(range(len(parts)), [label] * len(parts), "o", color="#d5dbe1", markersize=7)
        matrix.plot(own, [label] * len(own), "o-", color=INK, markersize=7)
    names = [part.replace("_", "\n") for part in parts]
    matrix.set_xticks(range(len(parts)), names, rotation=90)
    matrix.set_xlim(-0.6, len(parts) - 0.4)
    matrix.grid(visible=False)
    _point_panels(figure, axes, frame, metrics, chance, paper)
    return figure


def _point_panels(
    figure: Figure,
    axes: Sequence[Axes],
    frame: pd.DataFrame,
    metrics: Sequence[str],
    chance: Mapping[str, float] | None,
    paper: pd.DataFrame | None,
) -> None:
    """Fill panels that share their rows, each from 0 to the largest value that it shows, and explain marks below."""
    for place, metric in zip(axes, metrics, strict=True):
        _intervals(place, frame[metric], "mean")
        shown = [frame[metric]["high"].max()]
        if chance:
            place.axvline(chance[metric], label="chance", **CHANCE_LINE)
            shown.append(chance[metric])
        if paper is not None:
            shown.append(_diamonds(place, paper[metric], frame.index))
        place.set(title=metric, xlabel="%", xlim=(-0.03 * max(shown), 1.05 * max(shown)))
        place.margins(y=0.6 / len(frame))
    if chance or paper is not None:
        _explain(figure, axes[0])


def _explain(figure: Figure, axes: Axes) -> None:
    """Say below the panels what the marks of one of them mean, ours first."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=len(labels), frameon=False)


def _diamonds(axes: Axes, printed: pd.Series, labels: pd.Index) -> float:
    """Draw the paper's values on the rows of the labels that it prints; return the largest."""
    part = printed[[label for label in labels if label in printed.index]]
    style = {"color": PRINTED, "markerfacecolor": "none", "markeredgewidth": 1.4, "markersize": 6}
    axes.plot(part, part.index, "D", label="paper, other data", **style)
    return part.max()


def difference_points(differences: pd.DataFrame, paper: pd.DataFrame | None = None) -> Figure:
    """Differences with their intervals around a line at 0: a panel a metric, a row a configuration.

    Args:
        differences: Answer of `tables.differences` or `comparisons.average_effects`.
        paper: Printed differences in points, one row a configuration, one column a metric.
    """
    metrics, labels = differences.index.unique("metric"), differences.index.unique("configuration")
    size = (2.9 * len(metrics) + 0.09 * max(map(len, labels)), 0.3 * len(labels) + 1.5)
    figure, axes = plt.subplots(1, len(metrics), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for place, metric in zip(axes[0], metrics, strict=True):
        _intervals(place, differences.xs(metric, level="metric"), "difference")
        place.axvline(0, color="black", linestyle="--", linewidth=1, zorder=1)
        if paper is not None:
            _diamonds(place, paper[metric], labels)
        place.set(title=metric, xlabel="points")
        place.margins(y=0.6 / len(labels))
    if paper is not None:
        _explain(figure, axes[0, 0])
    return figure


def window_curves(
    frame: pd.DataFrame, validation: pd.DataFrame, metrics: Sequence[str], chance: Mapping[str, float], marked: int
) -> Figure:
    """Test metrics with their intervals by window, and validation mAP beside, where the choice is made.

    Args:
        frame: Answer of `tables.results`, labels are whole numbers.
        validation: Answer of `comparisons.validation_scores`.
        metrics: Panels.
        chance: Metric to percent, as a broken line.
        marked: Window at which a dotted line stands.
    """
    windows, mean = frame.index.astype(int), validation.mean(axis=1)
    figure, axes = plt.subplots(1, len(metrics) + 1, figsize=(3.3 * len(metrics) + 3.3, 3.4), layout="constrained")
    for place, metric in zip(axes, metrics, strict=False):
        part = frame[metric]
        spread = np.abs(part[["low", "high"]].to_numpy().T - part["mean"].to_numpy())
        style = {"fmt": "o-", "color": INK, "ecolor": "#9aa5b1", "capsize": 3, "label": "mean, 95 % interval"}
        place.errorbar(windows, part["mean"], yerr=spread, **style)
        place.axhline(chance[metric], label="chance", **CHANCE_LINE)
        place.set(title=f"{metric}, test")
    axes[-1].plot(windows, validation, color="#9aa5b1", linewidth=1, label="one seed")
    axes[-1].plot(windows, mean, "o-", color=INK)
    ring = {"markersize": 13, "markerfacecolor": "none", "linestyle": "none", "color": PRINTED}
    axes[-1].plot(int(mean.idxmax()), mean.max(), "o", label="chosen by validation", **ring)
    axes[-1].set(title="mAP, valid")
    entries = {}
    for place in axes:
        place.axvline(marked, color="black", linestyle=":", linewidth=1.2, label="best in the paper")
        place.set(xlabel="utterances", ylabel="%", xticks=windows, ylim=(0, None))
        entries |= {label: handle for handle, label in zip(*place.get_legend_handles_labels(), strict=True)}
    figure.legend(entries.values(), entries, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
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


def growth_curves(frame: pd.DataFrame, metrics: Sequence[str], chance: Mapping[str, float]) -> Figure:
    """Metrics with their intervals by the share of the training data: a panel a metric, a line a system.

    Args:
        frame: Answer of `readings.growth`.
        metrics: Panels.
        chance: Metric to percent, as a broken line.
    """
    systems, shares = frame.index.unique("system"), frame.index.unique("share")
    figure, axes = plt.subplots(1, len(metrics), figsize=(3.9 * len(metrics), 3.6), squeeze=False, layout="constrained")
    styles = [{"color": colour, "marker": mark} for colour, mark in zip((INK, PRINTED), "os", strict=True)]
    for place, metric in zip(axes[0], metrics, strict=True):
        for number, (system, style) in enumerate(zip(systems, styles, strict=True)):
            part = frame.loc[system, metric]
            spread = np.abs(part[["low", "high"]].to_numpy().T - part["mean"].to_numpy())
            beside = part.index * 1.04 ** (2 * number - 1)  # side by side, so that no interval hides another
            place.errorbar(beside, part["mean"], yerr=spread, capsize=3, markersize=5, label=system, **style)
        place.axhline(chance[metric], label="chance", **CHANCE_LINE)
        place.set(title=metric, xlabel="training conversations (%)", xscale="log", ylim=(0, None))
        place.set_xticks(shares, [f"{share:g}" for share in shares])
        place.minorticks_off()
    axes[0, 0].set_ylabel("%")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        handles[1:] + handles[:1], labels[1:] + labels[:1], loc="outside lower center", ncols=3, frameon=False
    )
    return figure


def precision_recall_curves(curves: pd.DataFrame, highlighted: Sequence[str]) -> Figure:
    """Precision by recall: a few curves with their names at the left, where they differ most, all others in grey.

    Args:
        curves: Answer of `main_results.precision_recall`, with a column `chance`.
        highlighted: Columns, at most as many as `HIGHLIGHTS`.
    """
    figure, axes = plt.subplots(figsize=(7.5, 4.6), layout="constrained")
    for label in curves.columns.drop(["chance", *highlighted]):
        axes.plot(curves.index, curves[label], color="#cbd2d9", linewidth=1)
    for label, colour in zip(highlighted, HIGHLIGHTS, strict=False):
        axes.plot(curves.index, curves[label], color=colour, linewidth=2)
    axes.plot(curves.index, curves["chance"], **CHANCE_LINE)
    axes.set(xlabel="recall (%)", ylabel="precision (%)", xlim=(0, 100), ylim=(0, 1.05 * curves.max().max()))
    axes.yaxis.set_label_position("right")
    axes.yaxis.tick_right()
    _name_ends(axes, curves.iloc[0][[*highlighted, "chance"]], "left")
    return figure


def _name_ends(axes: Axes, ends: pd.Series, side: str) -> None:
    """Write each curve's name beside the end that it has on one side of the axes, apart where ends are close.

    Args:
        axes: With its final limits.
        ends: Height at which the curve of each label ends: those of `HIGHLIGHTS` in their order, then `chance`.
        side: `left` or `right`.
    """
    place, outwards = (0, -1) if side == "left" else (1, 1)
    line = {"arrowstyle": "-", "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0, "relpos": (1 - place, 0.5)}
    low, high = axes.get_ylim()
    heights = (ends.to_numpy() - low) / (high - low)
    colours = {**dict(zip(ends.index, HIGHLIGHTS, strict=False)), "chance": CHANCE_LINE["color"]}
    for label, height, beside in zip(ends.index, heights, spread(heights, 0.05), strict=True):
        axes.annotate(
            label,
            (place, height),
            (place + 0.04 * outwards, beside),
            "axes fraction",
            color=colours[label],
            fontsize=9,
            ha="right" if side == "left" else "left",
            va="center",
            arrowprops=line | {"color": colours[label]},
        )


def spread(values: Sequence[float], gap: float) -> np.ndarray:
    """The nearest values in the same order that lie at least `gap` apart.

    Without `gap` times its rank, a value may only not fall: that is isotonic regression, whose blocks are means.
    """
    values = np.asarray(values, float)
    order, steps = np.argsort(values, kind="stable"), gap * np.arange(len(values))
    blocks: list[list[float]] = []
    for value in values[order] - steps:
        blocks.append([value])
        while len(blocks) > 1 and np.mean(blocks[-2]) >= np.mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    apart = np.empty(len(values))
    apart[order] = steps + np.concatenate([np.full(len(block), np.mean(block)) for block in blocks])
    return apart


def group_points(frame: pd.DataFrame, metrics: Sequence[str], chance: pd.DataFrame) -> Figure:
    """Metrics with their intervals for two groups of queries: a panel a metric, a row a configuration.

    Args:
        frame: Answer of `main_results.by_group`.
        metrics: Panels.
        chance: Answer of `main_results.group_chance`: broken lines in the groups' colours.
    """
    groups, labels = frame.index.unique("group"), frame.index.unique("configuration")
    size = (3.2 * len(metrics) + 0.09 * max(map(len, labels)), 0.38 * len(labels) + 1.6)
    figure, axes = plt.subplots(1, len(metrics), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for place, metric in zip(axes[0], metrics, strict=True):
        for number, (group, colour, mark) in enumerate(zip(groups, (INK, PRINTED), "os", strict=True)):
            part = frame.loc[group, metric]
            rows = np.arange(len(part)) + 0.3 * number - 0.15  # side by side, so that no interval hides another
            ends = np.abs(part[["low", "high"]].to_numpy().T - part["mean"].to_numpy())
            style = {"fmt": mark, "color": colour, "capsize": 2, "markersize": 5, "elinewidth": 1.2}
            place.errorbar(part["mean"], rows, xerr=ends, label=group, **style)
            place.axvline(chance.at[group, metric], label=f"chance, {group}", **CHANCE_LINE | {"color": colour})
        place.set(title=metric, xlabel="%", xlim=(0, None))
        place.margins(y=0.6 / len(labels))
    axes[0, 0].set_yticks(range(len(labels)), labels)
    axes[0, 0].invert_yaxis()
    handles, names = (entries[2:] + entries[:2] for entries in axes[0, 0].get_legend_handles_labels())
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def group_heat_map(means: pd.DataFrame, label: str) -> Figure:
    """Means of many groups of queries (rows) for many configurations (columns), in percent, as colours.

    Args:
        means: Answer of `main_results.group_means`.
        label: What the colours are.
    """
    size = (0.33 * len(means.columns) + 3.4, 0.25 * len(means) + 0.08 * max(map(len, means.columns)) + 0.8)
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    sns.heatmap(means, ax=axes, cmap="Blues", vmin=0, cbar_kws={"label": label, "shrink": 0.7})
    axes.set_xticks(np.arange(len(means.columns)) + 0.5, means.columns, rotation=90)
    axes.set_yticks(np.arange(len(means)) + 0.5, means.index, rotation=0)
    axes.tick_params(labelsize=8)
    return figure


def gallery_curves(
    frame: pd.DataFrame, metrics: Sequence[str], chance: pd.DataFrame, highlighted: Sequence[str]
) -> Figure:
    """Metrics by the size of the gallery: a panel a metric, a few curves with their names, all others in grey.

    Args:
        frame: Answer of `main_results.gallery_curve`.
        metrics: Panels.
        chance: Answer of `main_results.gallery_chance`.
        highlighted: Configurations, at most as many as `HIGHLIGHTS`; the band is the first one's interval.
    """
    labels = frame.index.unique("configuration")
    figure, axes = plt.subplots(1, len(metrics), figsize=(5.2 * len(metrics), 4), squeeze=False, layout="constrained")
    for place, metric in zip(axes[0], metrics, strict=True):
        for label in labels.drop(list(highlighted)):
            part = frame.loc[label, (metric, "mean")]
            place.plot(part.index, part, color="#cbd2d9", linewidth=1)
        for label, colour in zip(highlighted, HIGHLIGHTS, strict=False):
            part = frame.loc[label, (metric, "mean")]
            place.plot(part.index, part, "o-", color=colour, markersize=4, clip_on=False)
        band = frame.loc[highlighted[0], metric]
        place.fill_between(band.index, band["low"], band["high"], color=HIGHLIGHTS[0], alpha=0.12, linewidth=0)
        place.plot(chance.index, chance[metric], **CHANCE_LINE)
        sizes = list(chance.index)
        place.set(
            title=metric, xlabel="stickers in the gallery", xscale="log", ylim=(0, None), xlim=(sizes[0], sizes[-1])
        )
        place.set_xticks(sizes, [f"{size:,}" for size in sizes])
        place.minorticks_off()
        ends = {label: frame.at[(label, sizes[-1]), (metric, "mean")] for label in highlighted}
        _name_ends(place, pd.Series(ends | {"chance": chance.at[sizes[-1], metric]}), "right")
    axes[0, 0].set_ylabel("%")
    return figure


def denominator_points(reading: pd.DataFrame, marked: Mapping[str, int]) -> Figure:
    """Of how many queries the printed shares of each row can be: filled under one rule, open under several.

    Args:
        reading: Answer of `audit.granularity.reading`.
        marked: Name to a number of queries, as dotted lines.
    """
    figure, axes = plt.subplots(figsize=(8.5, 0.24 * len(reading) + 1.5), layout="constrained")
    for row, (single, mixed) in enumerate(zip(reading["one rule"], reading["mixed"], strict=True)):
        others = sorted(set(mixed) - set(single))
        axes.plot(others, [row] * len(others), "o", color=INK, markerfacecolor="white", markersize=6)
        axes.plot(single, [row] * len(single), "o", color=INK, markersize=6)
        if not mixed:
            axes.text(4, row, "none", color=PRINTED, fontsize=9, va="center")
    for style, (name, n) in zip((":", "--", "-."), marked.items(), strict=False):
        axes.axvline(n, color=CHANCE_LINE["color"], linestyle=style, linewidth=1.2, zorder=1, label=f"{n}, {name}")
    axes.plot([], [], "o", color=INK, label="one rule of rounding")
    axes.plot([], [], "o", color=INK, markerfacecolor="white", label="a rule for each value")
    axes.set_yticks(range(len(reading)), reading.index, fontsize=9)
    axes.invert_yaxis()
    axes.set(xlabel="queries", xlim=(0, None))
    axes.margins(y=0.02)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def feasible_intervals(frame: pd.DataFrame, printed: pd.Series, panels: Mapping[str, Sequence[str]]) -> Figure:
    """Printed values against what is possible: a panel a set of intervals, a row a label.

    Args:
        frame: Answer of `audit.feasible.intervals`.
        printed: Values of the rows.
        panels: Title to the names of its intervals, at most two: the first is the broad bar.
    """
    size = (4.4 * len(panels) + 1.2, 0.25 * len(frame) + 1.5)
    figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False, layout="constrained")
    rows = np.arange(len(frame))
    for place, (title, names) in zip(axes[0], panels.items(), strict=True):
        for name, colour, height in zip(names, ("#9fb8cd", "#3d5a73"), (0.7, 0.16), strict=False):
            part = frame[name]
            label = name.split(maxsplit=1)[1] + " labels"
            place.barh(rows, part["high"] - part["low"], height, part["low"], color=colour, linewidth=0, label=label)
        place.plot(printed.loc[frame.index], rows, "D", color=PRINTED, markersize=5, label="printed")
        place.set(title=title, xlabel="mAP (%)", xlim=(0, 100))
        place.grid(axis="y", visible=False)
        place.margins(y=0.02)
    axes[0, 0].set_yticks(rows, frame.index, fontsize=9)
    axes[0, 0].invert_yaxis()
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure
