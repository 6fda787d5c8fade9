"""Maps over the regions of stickers: mass and the pointing game against cases worked by hand, pixels and loops."""

import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from intra import maps
from intra.config import RunConfig
from intra.data import Sticker
from intra.data.reader import load_dataset
from intra.data.schema import ATTRIBUTES
from intra.errors import IntraError
from intra.records import Record
from intra.study import reference_records


def boxed(*boxes):
    return [Sticker(f"s{n}", ("test",), Path("s.webp"), regions=box) for n, box in enumerate(boxes)]


# --- mass ------------------------------------------------------------------------------------------


def test_a_box_covers_regions_worked_by_hand():
    # regions of 10 pixels: x 5..25 covers half, all and half of the first three columns; y 0..10 the first row
    assert maps.region_cover((5, 0, 25, 10), 4, 40).reshape(4, 4).tolist() == [
        [0.5, 1, 0.5, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
    ]
    assert maps.region_cover((0, 15, 5, 20), 2, 20).tolist() == [0, 0, 0.25, 0]


def test_a_box_covers_regions_as_its_pixels_do():
    rng = np.random.default_rng(0)
    for _ in range(40):
        x0, x1 = sorted(rng.integers(-3, 28, 2))
        y0, y1 = sorted(rng.integers(-3, 28, 2))
        pixels = np.zeros((24, 24))
        pixels[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = 1
        blocks = pixels.reshape(4, 6, 4, 6).mean(axis=(1, 3)).ravel()
        assert maps.region_cover((x0, y0, x1, y1), 4, 24) == pytest.approx(blocks)


def test_relation_mass_worked_by_hand():
    # four regions; the figure is the upper half of the first sticker, and the left half of the second
    scores = np.array([[0.1, 0.2, 0.4, 0.3], [0.25, 0.25, 0.25, 0.25]])
    upper = {"body": (0, 0, 20, 10), "face": (0, 0, 10, 20), "hand": (0, 10, 10, 20)}
    left = {"face": (3, 7, 9, 11), "body": (0, 0, 10, 20)}
    frame = maps.relation_mass(scores, boxed(upper, left), size=20)
    assert list(frame.columns) == ["sticker", "part", "mass", "picture", "figure"]
    assert frame[["sticker", "part"]].to_numpy().tolist() == [
        [0, "body"],
        [0, "face"],
        [0, "hand"],
        [1, "face"],
        [1, "body"],
    ]
    assert frame["mass"].tolist() == pytest.approx([0.3, 0.5, 0.4, 24 / 400, 0.5])
    assert frame["picture"].tolist() == pytest.approx([0.5, 0.5, 0.25, 24 / 400, 0.5])
    # the hand lies outside its figure; the second face has 24 of the 200 pixels of its figure
    assert frame["figure"].tolist() == pytest.approx([1, 0.5, 0, 24 / 200, 1])
    means = maps.mass_by_part([frame])
    assert list(means.columns) == ["stickers", "mass", "picture", "figure", "excess", "low", "high"]
    face = [2, 0.28, (0.5 + 0.06) / 2, (0.5 + 0.12) / 2, -0.03]
    assert means.loc["face", ["stickers", "mass", "picture", "figure", "excess"]].tolist() == pytest.approx(face)
    # of two stickers, one draw in four takes the first twice and one the second twice
    assert means.loc["face", ["low", "high"]].tolist() == pytest.approx([-0.06, 0])
    assert means.loc["body", ["excess", "low", "high"]].tolist() == pytest.approx([-0.6, -0.7, -0.5])
    assert means.loc["hand", ["low", "excess", "high"]].tolist() == pytest.approx([0.4] * 3)  # one sticker, no spread


def test_relation_mass_against_pixels():
    """Every region's score is spread evenly over its pixels, and counted inside the part pixel by pixel."""
    rng = np.random.default_rng(4)
    side, block = 3, 5
    for _ in range(10):
        boxes = {}
        for part in ("body", "face", "hand"):
            (x0, y0), (x1, y1) = rng.integers(0, 8, 2), rng.integers(8, 16, 2)
            boxes[part] = (int(x0), int(y0), int(x1), int(y1))
        score = rng.random(side * side)

        def inside(box, weights):
            x0, y0, x1, y1 = box
            found = 0.0
            for y in range(y0, min(y1, side * block)):
                for x in range(x0, min(x1, side * block)):
                    found += weights[y // block * side + x // block] / block**2
            return found / sum(weights)

        x0, y0, x1, y1 = boxes["body"]
        figure = [0] * side**2
        for y in range(y0, min(y1, side * block)):
            for x in range(x0, min(x1, side * block)):
                figure[y // block * side + x // block] += 1
        frame = maps.relation_mass(score[None], boxed(boxes), side * block).set_index("part")
        for part, box in boxes.items():
            expected = [inside(box, weights) for weights in (score, [1] * side**2, figure)]
            assert frame.loc[part, ["mass", "picture", "figure"]].tolist() == pytest.approx(expected), part


def test_a_uniform_score_exceeds_nothing():
    boxes = boxed({"body": (0, 3, 18, 18), "face": (1, 2, 14, 17)})
    (face,) = (row for row in maps.relation_mass(np.ones((1, 9)), boxes, 18).itertuples() if row.part == "face")
    assert face.mass == pytest.approx(face.picture)
    figure = maps.region_cover((0, 3, 18, 18), 3, 18)
    frame = maps.relation_mass(figure[None], boxes, 18)
    assert frame["mass"].tolist() == pytest.approx(frame["figure"].tolist())
    assert maps.mass_by_part([frame])["excess"].to_numpy() == pytest.approx(0)


def test_a_sticker_without_a_figure_is_noticed():
    with pytest.raises(KeyError, match="body"):
        maps.relation_mass(np.ones((1, 4)), boxed({"face": (0, 0, 5, 5)}), 20)


def test_the_scale_of_relation_scores_does_not_matter():
    rng = np.random.default_rng(1)
    scores, stickers = rng.random((3, 9)), boxed(*[{"face": (1, 2, 14, 17), "body": (0, 0, 18, 9)}] * 3)
    once, thrice = maps.relation_mass(scores, stickers, 18), maps.relation_mass(3 * scores, stickers, 18)
    pd.testing.assert_frame_equal(once, thrice)


def test_mass_is_the_mean_over_seeds_of_the_stickers_that_have_the_map():
    left, right = {"body": (0, 0, 20, 20), "face": (0, 0, 10, 20)}, {"face": (10, 0, 20, 20), "body": (0, 0, 20, 20)}
    first = np.array([[[1, 0, 0, 0], [0, 1, 0, 0]], [[0.5, 0, 0, 0.5], [0, 1, 0, 0]]])  # two seeds, two stickers
    second = first * np.array([1, 0])[:, None]  # the second sticker has no such map
    table = maps.mass_by_map({"one": first, "two": second, "none": 0 * first}, boxed(left, right), 20)
    assert table.index.tolist() == [("one", "face"), ("one", "body"), ("two", "face"), ("two", "body")]
    assert table.loc[("one", "face"), ["stickers", "mass", "excess"]].tolist() == pytest.approx([2, 0.875, 0.375])
    assert table.loc[("two", "face"), ["stickers", "mass", "excess"]].tolist() == pytest.approx([1, 0.75, 0.25])


# --- pointing game --------------------------------------------------------------------------------------------


def test_a_region_is_inside_if_its_centre_is():
    # centres at 5, 15 and 25
    assert maps.region_inside((0, 0, 15, 10), 3, 30).reshape(3, 3).tolist() == [
        [True, True, False],
        [False, False, False],
        [False, False, False],
    ]
    assert not maps.region_inside((6, 6, 14, 14), 3, 30).any()  # as large as a region, but between centres
    rng = np.random.default_rng(0)
    for _ in range(20):
        (x0, x1), (y0, y1) = np.sort(28 * rng.random((2, 2)))
        places = itertools.product((2, 6, 10, 14, 18, 22, 26), repeat=2)  # down, then across
        expected = [x0 <= x <= x1 and y0 <= y <= y1 for y, x in places]
        assert maps.region_inside((x0, y0, x1, y1), 7, 28).tolist() == expected


def test_several_highest_regions_share_the_hit():
    inside = np.array([True, False, False, True])
    assert maps.pointing_hits(np.array([0.4, 0.3, 0.2, 0.1]), inside) == 1
    assert maps.pointing_hits(np.array([0.3, 0.4, 0.2, 0.1]), inside) == 0
    assert maps.pointing_hits(np.array([0.4, 0.4, 0.1, 0.1]), inside) == 0.5
    assert maps.pointing_hits(np.array([0.3, 0.3, 0.1, 0.3]), inside) == pytest.approx(2 / 3)


def test_the_pointing_game_worked_by_hand():
    # nine regions of 10 pixels; the figure is the two left columns, the face the upper left region
    regions = {"body": (0, 0, 20, 30), "face": (0, 0, 10, 10), "prop": (0, 0, 30, 30)}
    eye = np.eye(9)
    maps_of = {
        "facial_expression": np.array([[eye[0], eye[8]], [eye[4], eye[8]]]),  # hits with one seed of two
        "verbal": np.array([[eye[0], 0 * eye[0]]] * 2),  # the second sticker has none
        "nothing": np.zeros((2, 2, 9)),
    }
    frame = maps.pointing_game(maps_of, boxed(regions, regions), 30)
    assert frame.loc[0, "hit"].sum() != frame.loc[1, "hit"].sum()
    table = frame.groupby(["map", "part", "sticker"]).mean()  # over the two seeds
    assert set(frame["part"]) == {"face", "body"}, "no attribute should point at a prop, and there is no caption"
    assert table.loc[("facial_expression", "face"), "hit"].tolist() == [0.5, 0]
    assert table.loc[("facial_expression", "body"), "hit"].tolist() == [1, 0]
    assert table.loc[("verbal", "face"), "hit"].to_dict() == {0: 1}
    assert table.loc[("nothing", "face"), "hit"].tolist() == pytest.approx([1 / 9] * 2)
    yardsticks = table.loc[("verbal", "face", 0), ["random", "centre", "figure", "any"]]
    assert yardsticks.tolist() == pytest.approx([1 / 9, 0, 1 / 6, 1])
    assert table.loc[("verbal", "body", 0), ["random", "centre", "figure"]].tolist() == pytest.approx([6 / 9, 1, 1])


def test_the_yardsticks_are_what_drawing_regions_and_points_gives():
    """By every pixel of the figure's box: its region, and whether that region's centre lies in the part."""
    rng = np.random.default_rng(6)
    side, block = 7, 4
    for _ in range(10):
        boxes = {}
        for part in ("body", "hand"):
            (x0, y0), (x1, y1) = rng.integers(0, 12, 2), rng.integers(14, 28, 2)
            boxes[part] = (int(x0), int(y0), int(x1), int(y1))

        def hits(row, column, box=boxes["hand"]):
            return box[0] <= block * (column + 0.5) <= box[2] and box[1] <= block * (row + 0.5) <= box[3]

        x0, y0, x1, y1 = boxes["body"]
        points = [hits(y // block, x // block) for y in range(y0, y1) for x in range(x0, x1)]
        everywhere = [hits(row, column) for row in range(side) for column in range(side)]
        frame = maps.pointing_game({"m": rng.random((1, 1, side**2))}, boxed(boxes), side * block)
        found = frame.set_index("part").loc["hand", ["random", "centre", "figure", "any"]]
        expected = [np.mean(everywhere), float(hits(3, 3)), np.mean(points), float(any(everywhere))]
        assert found.tolist() == pytest.approx(expected)


def test_a_map_without_preference_points_like_a_random_region():
    regions = {"body": (30, 20, 200, 220), "face": (80, 60, 150, 120), "hand": (10, 100, 90, 190)}
    flat = np.full((3, 1, 49), 1 / 49)
    frame = maps.pointing_game({"flat": flat, "none": 0 * flat}, boxed(regions))
    assert frame["hit"].tolist() == pytest.approx(frame["random"].tolist())


GAME = pd.DataFrame(
    {
        "map": ["gesture"] * 4 + ["maximum"] * 4,
        "sticker": [0, 1, 0, 1] * 2,
        "part": ["hand", "hand", "face", "face"] * 2,
        "hit": [1, 0.5, 0, 0, 1, 1, 0.25, 0.75],
        "random": [0.1, 0.3, 0.5, 0.5] * 2,
        "centre": [1, 0, 1, 1] * 2,
        "figure": [0.2, 0.6, 0.1, 0.3] * 2,
        "any": 1.0,
    },
    index=pd.Index([0] * 8, name="seed"),
)


def test_the_pointing_game_by_part_worked_by_hand():
    table = maps.pointing_by_part(GAME)
    assert table.index.tolist() == [
        ("gesture", "face"),
        ("gesture", "hand"),
        ("maximum", "face"),
        ("maximum", "hand"),
    ]
    hand = table.loc["gesture", "hand"]
    assert hand[["stickers", "hit", "random", "centre", "figure"]].tolist() == pytest.approx([2, 75, 20, 50, 40])
    # of two stickers, one draw in four takes the first twice and one the second twice
    assert hand[["low", "high"]].tolist() == pytest.approx([50, 100])
    # the figure is the higher yardstick: 1 - 0.2 and 0.5 - 0.6
    assert hand[["gain", "gain low", "gain high"]].tolist() == pytest.approx([35, -10, 80])
    # here the random region is: 0 - 0.5 twice
    assert table.loc[("gesture", "face"), ["gain", "gain low", "gain high"]].tolist() == pytest.approx([-50] * 3)


def test_intervals_span_seeds_that_disagree():
    """One model always hits and one never does: whatever the stickers, one draw in four takes either twice."""
    regions = {"body": (0, 0, 20, 20), "face": (0, 0, 10, 20)}
    right, wrong = np.eye(4)[[0, 0]], np.eye(4)[[1, 1]]
    kinds = {"facial_expression": np.stack([right, wrong])}
    game = maps.pointing_by_part(maps.pointing_game(kinds, boxed(regions, regions), 20))
    face = game.loc["facial_expression", "face"]
    assert face[["stickers", "hit", "low", "high"]].tolist() == pytest.approx([2, 50, 0, 100])
    mass = maps.mass_by_map(kinds, boxed(regions, regions), 20).loc["facial_expression", "face"]
    assert mass[["stickers", "mass", "excess", "low", "high"]].tolist() == pytest.approx([2, 0.5, 0, -0.5, 0.5])


def test_prose_gets_attributes_where_they_should_point_and_others_everywhere():
    table = maps.pointing_by_part(GAME)
    assert maps.expected_pairs(table).index.tolist() == [("gesture", "hand")]
    assert maps.pointing_numbers(table) == pytest.approx(
        {
            "pointing_gesture_hand": 75,
            "pointing_gesture_hand_random": 20,
            "pointing_gesture_hand_centre": 50,
            "pointing_gesture_hand_figure": 40,
            "pointing_maximum_face": 50,
            "pointing_maximum_hand": 100,
        }
    )
    renamed = maps.pointing_by_part(GAME.replace("maximum", maps.RANKED))
    assert "pointing_released_ranked_by_face" in maps.pointing_numbers(renamed)
    (sentence,) = maps.pointing_sentences(table)
    assert sentence == (
        "The gesture map points at the hand of 75.0 % [50.0, 100.0] of 2 stickers; a random region would of 20.0 %, "
        "the centre region of 50.0 %, a random point of the figure of 40.0 %."
    )


# --- maps of records ------------------------------------------------------------------------------------------


def test_maps_are_those_of_the_records_in_their_order(tmp_path):
    rng = np.random.default_rng(0)
    records, kept = [], []
    for seed in (3, 1):
        folder = tmp_path / str(seed)
        folder.mkdir()
        kept.append({"attention": rng.random((2, 4, 9)), "relation_scores": rng.random((2, 9))})
        np.savez(folder / "details.npz", **{name: each.astype(np.float16) for name, each in kept[-1].items()})
        records.append(Record(folder, {"config": RunConfig(seed=seed).as_dict()}))
    found = maps.relation_maps(records)
    assert list(found) == [*ATTRIBUTES, "maximum"]
    assert all(each.shape == (2, 2, 9) and each.dtype == float for each in found.values())
    assert found["verbal"][1, 0] == pytest.approx(kept[1]["attention"][0, 3], abs=1e-3)
    assert found["maximum"][0, 1] == pytest.approx(kept[0]["relation_scores"][1], abs=1e-3)


def test_sharpness_worked_by_hand():
    flat, first, pair = np.full(4, 0.25), np.eye(4)[0], np.array([0, 0.5, 0.5, 0])
    attention = {"gesture": flat, "posture": first, "facial_expression": pair, "verbal": 0 * flat}
    # largest: posture on the first region, facial expression on the next two, gesture on the last; the second
    # sticker is told nothing but its gesture
    scores = {name: np.stack([each, flat if name == "gesture" else 0 * flat])[None] for name, each in attention.items()}
    scores["maximum"] = np.array([[[4 / 9, 2 / 9, 2 / 9, 1 / 9], flat]])
    found = maps.sharpness(scores | {"verbal": np.stack([np.array([0.25, 0.25, 0.5, 0]) * 0.1, 0 * flat])[None]})
    assert found["regions"].tolist() == pytest.approx([4, 1, 2, 2**1.5])
    assert found["decides"].tolist() == pytest.approx([100 * x for x in (10 / 18, 4 / 18, 4 / 18, 0)])


# --- the release-faithful model -------------------------------------------------------------------------------


@pytest.fixture
def small_record(tmp_path):
    """Two runs, two draws, two stickers and four regions."""
    learned = np.array([[[1, 3, 0, 0], [0, 0, 0, 2]], [[1, 1, 1, 1], [0, 5, 5, 0]]], np.float16)
    exchanged = np.zeros((2, 2, 2, 5), np.float16)
    exchanged[0, 1, 0, 4], exchanged[1, 0, 1, 4] = 1, 0.5
    ranked = np.zeros((2, 2, 2, 4), np.float16)
    path = tmp_path / "released_maps.npz"
    np.savez_compressed(
        path, runs=["a", "b"], stickers=["s0", "s1"], learned=learned, exchanged=exchanged, ranked=ranked
    )
    return path


def test_released_maps_sum_to_1_where_there_is_anything(small_record):
    found = maps.released_record(boxed({}, {}), small_record)
    both = maps.released_maps(found)
    assert both[maps.LEARNED].tolist() == [
        [[0.25, 0.75, 0, 0], [0, 0, 0, 1]],
        [[0.25] * 4, [0, 0.5, 0.5, 0]],
    ]
    assert both[maps.RANKED].shape == (2, 2, 4) and not both[maps.RANKED].any()


def test_exchanges_are_means_over_runs_draws_and_stickers(small_record):
    frame = maps.exchanges(maps.released_record(boxed({}, {}), small_record))
    assert frame["mean"].to_dict() == dict.fromkeys(["picture", *ATTRIBUTES], 0) | {"verbal": 1.5 / 8}
    assert frame["largest"].tolist() == [0, 0, 0, 0, 1]


def test_a_record_of_other_stickers_is_refused(small_record):
    with pytest.raises(IntraError, match=r"released_maps\.npz: holds maps of other stickers; python -m intra"):
        maps.released_record(boxed({}), small_record)


def test_the_committed_record_is_of_the_reference_runs():
    stickers = load_dataset().split("test").stickers
    found = maps.released_record(stickers)
    assert found["runs"].tolist() == [record.path.name for record in reference_records("release")["as released"]]
    runs, regions = len(found["runs"]), found["learned"].shape[-1]
    assert found["learned"].shape == (runs, len(stickers), regions) and math.isqrt(regions) ** 2 == regions
    assert (found["learned"].max(axis=-1) > 0).all(), "every sticker has a region that changes its picture's vector"
    assert not found["ranked"].any() and not found["exchanged"][..., :4].any()
    assert found["exchanged"][..., 4].mean() > 0.1
    assert maps.RELEASED_MAPS.stat().st_size < 200_000
