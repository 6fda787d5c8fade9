"""Figures of maps show the numbers they were given: overlays, outlines, points and marks read back off the axes."""

import matplotlib as mpl

mpl.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from intra import map_figures
from intra.data import Sticker


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def stickers(tmp_path):
    """Two stickers of 240 pixels; the second has no caption."""
    boxes = {"face": (10.0, 20.0, 60.0, 50.0), "hand": (0.0, 100.0, 40.0, 140.0), "body": (0.0, 0.0, 200.0, 180.0)}
    made = []
    for name, more in (("s1", {"caption": (20.0, 190.0, 220.0, 230.0)}), ("s2", {})):
        Image.new("RGB", (240, 240), (255, 0, 0)).save(tmp_path / f"{name}.png")
        made.append(Sticker(name, ("test",), tmp_path / f"{name}.png", regions=boxes | more))
    return made


def outlines(axes):
    """Colour and corners of the boxes that are drawn."""
    found = [box for box in axes.patches if isinstance(box, mpl.patches.Rectangle)]
    return {mpl.colors.to_hex(box.get_edgecolor()): box.get_bbox().extents.tolist() for box in found}


def test_every_sticker_has_a_row_and_every_map_a_column(stickers):
    gesture = np.array([[0.1, 0.2, 0.3, 0.4], [0.0, 0.0, 0.0, 0.0]])
    maximum = np.array([[0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25]])
    figure = map_figures.map_rows(stickers, {"gesture": gesture, "maximum": maximum})
    cells = np.array(figure.axes[:6]).reshape(2, 3)
    assert [axes.get_title() for axes in cells[0]] == ["parts", "gesture", "maximum"]
    assert [axes.get_ylabel() for axes in cells[:, 0]] == ["s1", "s2"]
    assert [[len(axes.images) for axes in row] for row in cells] == [[1, 2, 2], [1, 1, 1]], "no map, no overlay"
    for axes, score in ((cells[0, 1], gesture[0]), (cells[0, 2], maximum[0])):
        picture, overlay = axes.images
        assert overlay.get_extent() == picture.get_extent()  # the corners of the regions are those of the picture
        assert np.asarray(overlay.get_array()) == pytest.approx(4 * score.reshape(2, 2))
        assert axes.yaxis_inverted()  # the first region is the upper left one
    dots = [axes.lines[0].get_xydata()[0].tolist() for axes in (cells[0, 1], cells[0, 2])]
    assert dots == [[179.5, 179.5], [59.5, 59.5]]  # lower right, upper left


def test_an_attribute_has_the_outline_of_its_part_and_other_maps_those_of_all(stickers):
    maps = {"verbal": np.eye(4)[:2], "maximum": np.eye(4)[:2]}
    figure = map_figures.map_rows(stickers, maps)
    cells = np.array(figure.axes[:6]).reshape(2, 3)
    for row, sticker in zip(cells, stickers, strict=True):
        every = {map_figures.BOXES[part]: list(box) for part, box in sticker.regions.items()}
        purple = map_figures.BOXES["caption"]
        own = {purple: every[purple]} if purple in every else {}
        assert [outlines(axes) for axes in row] == [every, own, every]
    assert {text.get_text() for text in figure.legends[0].get_texts()} == set(map_figures.BOXES)


def test_the_overlay_is_clear_up_to_a_uniform_map():
    colours = map_figures.HEAT(np.array([0.0, 1.0]))
    assert colours[0, 3] == 0 and colours[1, 3] > 0.85


INDEX = pd.MultiIndex.from_product([["gesture", "maximum"], ["face", "hand", "body", "caption", "prop"]])
EXCESS = pd.DataFrame({"excess": np.arange(10) / 10}, INDEX.set_names(["map", "part"]))
EXCESS["low"], EXCESS["high"] = EXCESS["excess"] - 0.05, EXCESS["excess"] + 0.2


def drawn(axes):
    """Points by what their marks are called: label to pairs of value and row."""
    lines = [line for line in axes.lines if not line.get_label().startswith("_")]
    return {line.get_label(): [tuple(point) for point in line.get_xydata().tolist()] for line in lines}


def ends(axes):
    return [segment[:, 0].tolist() for segment in axes.containers[0][2][0].get_segments()]


def test_excess_has_a_panel_a_part_and_a_row_a_map():
    figure = map_figures.excess_panels(EXCESS)
    assert [axes.get_title() for axes in figure.axes] == ["face", "hand", "body", "caption", "prop"]
    face, hand, *_ = figure.axes
    assert [text.get_text() for text in face.get_yticklabels()] == ["gesture", "maximum"] and face.yaxis_inverted()
    assert drawn(face) == {"map": [(0, 0), (0.5, 1)], "map that should point here": []}
    assert drawn(hand) == {"map": [(0.6, 1)], "map that should point here": [(0.1, 0)]}
    assert ends(hand) == [pytest.approx([0.05, 0.3]), pytest.approx([0.55, 0.8])]
    assert [line.get_xdata() for line in hand.lines if line.get_linestyle() == "--"] == [[0, 0]]


def test_the_pointing_game_stands_beside_its_yardsticks():
    table = 100 * EXCESS.rename(columns={"excess": "hit"}).drop(index="prop", level="part")
    table = table.assign(random=9.0, centre=[76.0, 50, 100, 0] * 2, figure=21.0).drop(index=("maximum", "caption"))
    figure = map_figures.pointing_panels(table)
    assert [axes.get_title() for axes in figure.axes] == ["face", "hand", "body", "caption"]
    _, hand, _, caption = figure.axes
    assert drawn(hand) == {
        "map": [(pytest.approx(60), 1)],
        "map that should point here": [(pytest.approx(10), 0)],
        "random region": [(9, 0), (9, 1)],
        "centre region": [(50, 0), (50, 1)],
        "random point of the figure": [(21, 0), (21, 1)],
    }
    assert drawn(caption)["map"] == [(pytest.approx(30), 0)], "a map that no sticker has is left out"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(drawn(hand))
