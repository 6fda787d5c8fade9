"""Figures show the numbers they were given: bars, points, lines and colours read back off the axes."""

import matplotlib as mpl

mpl.use("agg")

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib import font_manager
from PIL import Image
from scipy.optimize import minimize

from intra import figures
from intra.data import Sticker, load_dataset
from intra.data.statistics import intention_distribution


@pytest.fixture(autouse=True)
def closed():
    before = mpl.rcParams.copy()
    yield
    plt.close("all")
    mpl.rcParams.update(before)


@pytest.fixture
def stickers(tmp_path):
    """Three stickers of 20 pixels with a transparent ground and a red left half."""
    made = []
    for name in ("s1", "s2", "s3"):
        image = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
        image.paste((255, 0, 0, 255), (0, 0, 10, 20))
        image.save(tmp_path / f"{name}.png")
        made.append(Sticker(name, ("train",), tmp_path / f"{name}.png"))
    return made


def widths(axes):
    return [[round(bar.get_width()) for bar in bars] for bars in axes.containers]


def test_intention_bars_stack_the_splits():
    distribution = intention_distribution(load_dataset())
    (axes,) = figures.intention_bars(distribution).axes
    assert widths(axes) == [distribution[split].tolist() for split in ("train", "valid", "test")]
    starts = [[round(bar.get_x()) for bar in bars] for bars in axes.containers]
    assert starts[2] == (distribution["train"] + distribution["valid"]).tolist()
    assert [label.get_text() for label in axes.get_yticklabels()] == list(distribution.index)
    assert axes.yaxis_inverted()  # the commonest on top


def test_a_contact_sheet_shows_each_sticker_on_white(stickers):
    figure = figures.contact_sheet(stickers, ["a", "b", "c"], columns=2)
    shown = [axes for axes in figure.axes if axes.images]
    assert (len(figure.axes), len(shown), [axes.get_title() for axes in shown]) == (4, 3, ["a", "b", "c"])
    pixels = np.asarray(shown[0].images[0].get_array())
    assert pixels.shape == (20, 20, 3)
    assert pixels[5, 2].tolist() == [255, 0, 0] and pixels[5, 15].tolist() == [255, 255, 255]
    assert len(figures.contact_sheet(stickers, columns=3).axes) == 3


def test_a_score_histogram_has_a_line_at_the_threshold():
    scores = {"train": [0.1, 0.5, 0.5, 0.9], "test": [0.3]}
    (axes,) = figures.score_histogram(scores, 0.42, "cosine").axes
    (line,) = axes.lines
    assert line.get_xdata() == [0.42, 0.42]
    assert axes.get_xlabel() == "cosine"
    assert {text.get_text() for text in axes.get_legend().get_texts()} == {"train", "test"}
    # density over bins of 1/40: a half of the four scores lies in the bin of 0.5
    top = max(
        patch.get_xy()[:, 1].max() for patch in axes.patches if len(patch.get_xy()) and patch.get_xy()[:, 1].max() < 30
    )
    assert top == pytest.approx(0.5 * 40)


def test_accuracy_bars_have_one_group_a_row():
    frame = pd.DataFrame({"train": [50.0, 60.0], "chance": [5.0, 6.0]}, index=["gesture", "posture"])
    (axes,) = figures.accuracy_bars(frame).axes
    assert [[bar.get_height() for bar in bars] for bars in axes.containers] == [[50, 60], [5, 6]]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["gesture", "posture"]


def test_a_heat_map_shows_its_matrix():
    matrix = pd.DataFrame([[0.25, 0.75], [0.0, 1.0]], index=["a", "b"], columns=["c", "d"])
    axes = figures.heat_map(matrix, "tagged", "drawn").axes[0]
    assert np.asarray(axes.collections[0].get_array()).ravel().tolist() == [0.25, 0.75, 0, 1]
    assert axes.collections[0].get_clim() == (0, 1)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("tagged", "drawn")


def test_training_curves_mark_the_selected_epoch():
    histories = {
        seed: [{"epoch": e, "retrieval": 1 / e, "intention": 2 / e, "valid_mAP": 0.1 * e + seed} for e in (1, 2, 3)]
        for seed in (0, 4)
    }
    figure = figures.training_curves(histories, {0: 2, 4: 3})
    assert [axes.get_title() for axes in figure.axes] == [
        "retrieval loss, train",
        "intention loss, train",
        "mAP, valid",
    ]
    curves = figure.axes[2].lines[::2]
    assert [line.get_ydata().tolist() for line in curves] == [[0.1, 0.2, 0.1 * 3], [4.1, 4.2, 0.1 * 3 + 4]]
    dots = [(line.get_xdata()[0], line.get_ydata()[0]) for line in figure.axes[2].lines[1::2]]
    assert dots == [(2, 0.2), (3, 0.1 * 3 + 4)]


def test_pretraining_curves_have_a_line_for_each_term_and_attribute():
    columns = pd.MultiIndex.from_tuples([("loss", "contrastive"), ("loss", "gesture"), ("accuracy", "gesture")])
    history = pd.DataFrame([[2.0, 3.0, 10.0], [1.0, 0.5, 80.0]], [1, 2], columns)
    losses, accuracy = figures.pretraining_curves(history).axes
    assert [line.get_ydata().tolist() for line in losses.lines] == [[2, 1], [3, 0.5]]
    assert [line.get_ydata().tolist() for line in accuracy.lines] == [[10, 80]]
    assert [text.get_text() for text in losses.get_legend().get_texts()] == ["contrastive", "gesture"]


def test_recall_curves_have_a_panel_for_each_set_and_a_line_for_each_language():
    index = pd.MultiIndex.from_product([["a", "b"], ["chinese", "chance"]], names=["set", "names"])
    retrieved = pd.DataFrame({"pictures": 9, "recall@1": [1, 2, 3, 4], "recall@10": [5, 6, 7, 8]}, index)
    panels = figures.recall_curves(retrieved).axes
    assert [axes.get_title() for axes in panels] == ["a", "b"]
    assert [line.get_ydata().tolist() for line in panels[1].lines] == [[3, 7], [4, 8]]
    assert [line.get_xdata().tolist() for line in panels[1].lines] == [[1, 10], [1, 10]]


RESULTS = pd.DataFrame(
    [[10, 8, 13, 1, 0, 2], [30, 25, 31, 3, 2, 5]],
    ["Random", "Int-RA"],
    pd.MultiIndex.from_product([["mAP", "hit@1"], ["mean", "low", "high"]]),
    dtype=float,
)


def marks(axes, marker):
    """Labels and values of the marks of one kind."""
    (line,) = [line for line in axes.lines if line.get_marker() == marker]
    return dict(zip(line.get_ydata(orig=True), line.get_xdata(), strict=True))


def test_points_carry_their_intervals():
    figure = figures.points_with_intervals(RESULTS, ["hit@1", "mAP"])
    assert [axes.get_title() for axes in figure.axes] == ["hit@1", "mAP"]
    points, _, (bars,) = figure.axes[1].containers[0]
    assert points.get_xdata().tolist() == [30, 10]  # drawn from below, so the first row stands on top
    assert [segment[:, 0].tolist() for segment in bars.get_segments()] == [[25, 31], [8, 13]]
    assert [axes.get_xlim() for axes in figure.axes] == [pytest.approx((-0.15, 5.25)), pytest.approx((-0.93, 32.55))]
    assert figure.legends == []
    assert len(figures.points_with_intervals(RESULTS, ["mAP"]).axes) == 1


def test_chance_and_the_paper_stand_beside_the_points():
    paper = pd.DataFrame({"mAP": [53.4, 1.0], "hit@1": [4.5, 1.0]}, ["Int-RA", "elsewhere"])
    figure = figures.points_with_intervals(RESULTS, ["hit@1", "mAP"], {"hit@1": 6, "mAP": 7, "hit@3": 9}, paper)
    for axes, chance, printed, highest in zip(figure.axes, (6, 7), (4.5, 53.4), (6, 53.4), strict=True):
        assert [line.get_xdata() for line in axes.lines if line.get_linestyle() == "--"] == [[chance, chance]]
        assert marks(axes, "D") == {"Int-RA": printed}
        assert axes.get_xlim()[1] == pytest.approx(1.05 * highest)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["Int-RA", "Random"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "here, 95 % interval",
        "paper, other data",
        "chance",
    ]


def test_subsets_are_shown_as_a_matrix_of_dots():
    frame = RESULTS.set_axis(["none", "GF"])
    sets = {"none": (), "GF": ("gesture", "facial_expression"), "GPF": ("gesture", "posture", "facial_expression")}
    matrix, *panels = figures.subset_points(frame, sets, ["hit@1", "mAP"], {"hit@1": 6, "mAP": 7}).axes
    assert [axes.get_title() for axes in panels] == ["hit@1", "mAP"]
    assert [text.get_text() for text in matrix.get_xticklabels()] == ["gesture", "posture", "facial\nexpression"]
    dark = {tuple(line.get_ydata(orig=True)): list(line.get_xdata()) for line in matrix.lines[1::2]}
    assert dark == {("GF", "GF"): [0, 2], (): []}
    assert [list(line.get_xdata()) for line in matrix.lines[::2]] == [[0, 1, 2]] * 2
    # rows of the matrix are those of the panels
    heights = dict(zip(matrix.get_yticks(), [text.get_text() for text in matrix.get_yticklabels()], strict=True))
    points, _, _ = panels[1].containers[0]
    assert [heights[y] for y in points.get_ydata(orig=False)] == ["GF", "none"]
    assert points.get_xdata().tolist() == [30, 10]


def test_differences_stand_around_a_line_at_0():
    index = pd.MultiIndex.from_product([["a", "b"], ["hit@1", "mAP"]], names=["configuration", "metric"])
    frame = pd.DataFrame({"difference": [1, 2, -3, 4], "low": [-1, 1, -4, 3], "high": [2, 3, -1, 6]}, index)
    figure = figures.difference_points(frame, pd.DataFrame({"hit@1": [-0.6], "mAP": [-14.0]}, ["b"]))
    assert [axes.get_title() for axes in figure.axes] == ["hit@1", "mAP"]
    for axes, values, printed in zip(figure.axes, ([-3, 1], [4, 2]), (-0.6, -14), strict=True):
        points, _, (bars,) = axes.containers[0]
        assert points.get_xdata().tolist() == values
        assert [line.get_xdata() for line in axes.lines if line.get_linestyle() == "--"] == [[0, 0]]
        assert marks(axes, "D") == {"b": printed}
    assert [segment[:, 0].tolist() for segment in bars.get_segments()] == [[3, 6], [1, 3]]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["b", "a"]
    assert figures.difference_points(frame).legends == []


def test_window_curves_mark_what_validation_chooses():
    frame = RESULTS.set_axis(["2", "10"])
    validation = pd.DataFrame({0: [20, 10], 1: [10, 18]}, ["2", "10"], dtype=float)
    first, second, chosen = figures.window_curves(frame, validation, ["hit@1", "mAP"], {"hit@1": 6, "mAP": 7}, 6).axes
    for axes, values, chance in ((first, [1, 3], 6), (second, [10, 30], 7)):
        points, _, (bars,) = axes.containers[0]
        assert (points.get_xdata().tolist(), points.get_ydata().tolist()) == ([2, 10], values)
        assert [line.get_ydata() for line in axes.lines if line.get_linestyle() == "--"] == [[chance, chance]]
    assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [[8, 13], [25, 31]]
    assert [line.get_ydata().tolist() for line in chosen.lines[:3]] == [[20, 10], [10, 18], [15, 14]]
    ring = [line for line in chosen.lines if line.get_markerfacecolor() == "none"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in ring] == [(2, 15)]
    for axes in (first, second, chosen):
        assert [line.get_xdata() for line in axes.lines if line.get_linestyle() == ":"] == [[6, 6]]
        assert axes.get_ylim()[0] == 0


def test_guess_points_carry_their_intervals():
    frame = pd.DataFrame({"accuracy": [40, 8], "low": [31, 5.5], "high": [52, 9]}, index=["n-grams", "majority"])
    (axes,) = figures.guess_points(frame, "right (%)").axes
    points, _, (bars,) = axes.containers[0]
    assert points.get_xdata().tolist() == [8, 40]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["majority", "n-grams"]
    found = np.array([segment[:, 0] for segment in bars.get_segments()])
    assert found == pytest.approx(np.array([[5.5, 9], [31, 52]]))
    assert (axes.get_xlabel(), axes.get_xlim()) == ("right (%)", (0, 100))


def test_the_style_has_chinese_glyphs():
    figures.use_style()
    assert mpl.rcParams["font.family"][0] == "Noto Sans SC"
    path = Path(font_manager.findfont("Noto Sans SC", fallback_to_default=False))
    font = font_manager.get_font(str(path))
    assert all(font.get_char_index(ord(c)) for c in "悲痛如释重负，！Aé1")


def named_ends(axes):
    """Text of each name beside the axes, and the height in data that its line starts from."""
    low, high = axes.get_ylim()
    return {text.get_text(): pytest.approx(low + (high - low) * text.xy[1]) for text in axes.texts}


def test_precision_recall_curves_name_few_and_show_all():
    curves = pd.DataFrame(
        {"a": [40, 20], "b": [39, 10], "c": [30, 30], "chance": [10, 5]}, pd.Index([0, 100], name="recall")
    )
    (axes,) = figures.precision_recall_curves(curves, ["a", "b"]).axes
    drawn = [(line.get_ydata().tolist(), line.get_color(), line.get_linestyle()) for line in axes.lines]
    grey, first, second, chance = drawn
    assert [own[0] for own in drawn] == [[30, 30], [40, 20], [39, 10], [10, 5]]
    assert (first[1], second[1], chance[2]) == (*figures.HIGHLIGHTS[:2], "--") and grey[1] not in figures.HIGHLIGHTS
    assert named_ends(axes) == {"a": 40, "b": 39, "chance": 10}
    assert [text.get_color() for text in axes.texts] == [first[1], second[1], chance[1]]
    assert axes.texts[0].xyann[1] - axes.texts[1].xyann[1] == pytest.approx(0.05)  # the names do not touch
    assert all(text.xyann[0] < 0 for text in axes.texts)
    assert axes.get_ylim() == (0, pytest.approx(42))


def test_values_are_spread_by_as_little_as_possible():
    rng = np.random.default_rng(0)
    assert figures.spread([0.5, 0.1, 0.9], 0.2).tolist() == pytest.approx([0.5, 0.1, 0.9])
    assert figures.spread([0.5, 0.5, 0.9], 0.2).tolist() == pytest.approx([0.4, 0.6, 0.9])
    assert figures.spread([0.5, 0.5, 0.5], 0.2).tolist() == pytest.approx([0.3, 0.5, 0.7])
    for _ in range(20):
        values = rng.random(6)
        found = figures.spread(values, 0.2)
        order = np.argsort(values)
        apart = {"type": "ineq", "fun": lambda places, order=order: np.diff(places[order]) - 0.2}
        least = minimize(lambda p, values=values: ((p - values) ** 2).sum(), values, constraints=apart, method="SLSQP")
        assert found == pytest.approx(least.x, abs=1e-4)


@pytest.fixture
def of_groups():
    index = pd.MultiIndex.from_product([["reply (3)", "supplement (2)"], ["x", "y"]], names=["group", "configuration"])
    columns = pd.MultiIndex.from_product([["hit@1", "mAP"], ["mean", "low", "high"]])
    values = [[10, 8, 13, 20, 15, 21], [30, 25, 31, 40, 39, 45], [50, 45, 52, 60, 58, 66], [70, 60, 75, 80, 78, 81]]
    return pd.DataFrame(values, index, columns)


def test_group_points_show_both_groups_on_one_row(of_groups):
    chance = pd.DataFrame({"hit@1": [4, 5], "mAP": [6, 7]}, ["reply (3)", "supplement (2)"])
    figure = figures.group_points(of_groups, ["hit@1", "mAP"], chance)
    expected = {"hit@1": ([[10, 30], [50, 70]], [4, 5]), "mAP": ([[20, 40], [60, 80]], [6, 7])}
    for axes, (metric, (means, lines)) in zip(figure.axes, expected.items(), strict=True):
        assert axes.get_title() == metric
        shown = [container[0] for container in axes.containers]
        assert [points.get_xdata().tolist() for points in shown] == means
        assert [np.round(points.get_ydata()).tolist() for points in shown] == [[0, 1]] * 2
        assert [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--"] == lines
    (bars,) = figure.axes[0].containers[0][2]
    assert [segment[:, 0].tolist() for segment in bars.get_segments()] == [[8, 13], [25, 31]]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["x", "y"]
    assert figure.axes[0].yaxis_inverted()
    entries = {text.get_text() for text in figure.legends[0].get_texts()}
    assert entries == {name for group in chance.index for name in (group, f"chance, {group}")}


def test_a_group_heat_map_has_a_row_a_group():
    means = pd.DataFrame({"x": [10.0, 20.0, 0.0], "y": [30.0, 40.0, 5.0]}, ["joy (9)", "grief (3)", "fear (2)"])
    axes, colours = figures.group_heat_map(means, "mAP (%)").axes
    (mesh,) = axes.collections
    assert np.asarray(mesh.get_array()).reshape(3, 2).tolist() == means.to_numpy().tolist()
    assert mesh.get_clim() == (0, 40)
    assert [label.get_text() for label in axes.get_yticklabels()] == list(means.index)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["x", "y"]
    assert colours.get_ylabel() == "mAP (%)"


def test_gallery_curves_end_with_their_names(of_groups):
    frame = of_groups.set_axis(pd.MultiIndex.from_product([["x", "y"], [50, 500]], names=["configuration", "size"]))
    chance = pd.DataFrame({"hit@1": [4, 2], "mAP": [6, 3]}, [50, 500])
    figure = figures.gallery_curves(frame, ["hit@1", "mAP"], chance, ["y"])
    expected = {"hit@1": [[10, 30], [50, 70], [4, 2]], "mAP": [[20, 40], [60, 80], [6, 3]]}
    for axes, (metric, lines) in zip(figure.axes, expected.items(), strict=True):
        assert axes.get_title() == metric
        assert [list(line.get_ydata()) for line in axes.lines] == lines
        assert axes.lines[1].get_color() == figures.HIGHLIGHTS[0] != axes.lines[0].get_color()
        assert named_ends(axes) == {"y": lines[1][-1], "chance": lines[2][-1]}
        assert [label.get_text() for label in axes.get_xticklabels()] == ["50", "500"]
    (band,) = figure.axes[0].collections
    heights = set(band.get_paths()[0].vertices[:, 1])
    assert heights == {45, 52, 60, 75}
