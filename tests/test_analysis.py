"""What notebooks read off records and stores, against cases worked by hand and plain loops."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from intra import analysis
from intra.config import RunConfig
from intra.data import Conversation, Dataset, Sticker, Utterance
from intra.generation.attributes import StickerAttributes
from intra.generation.knowledge import Knowledge
from intra.records import Record
from intra.replystickers.vocabulary import EXPRESSIONS, GESTURES, POSTURES


def chat(identifier, intention, split="test", neighbour="", texts=("早",)):
    utterances = tuple(Utterance("a", text) for text in texts)
    return Conversation(identifier, split, utterances, "a", "reply", "s1", intention, neighbour)


def small(*conversations, intentions=("joy", "anger", "fear")):
    return Dataset("small", "1", conversations, (), intentions)


# --- knowledge ------------------------------------------------------------------------------------------------


def test_knowledge_is_shown_beside_its_conversation():
    dataset = small(chat("c1", "joy", texts=("早", "过了")), chat("c2", "fear", "train"))
    found = [Knowledge("考试", 0.5, {"xIntent": ["庆祝", "休息"], "xReact": ["高兴"]}), Knowledge(score=0.1)]
    frame = analysis.knowledge_frame(dataset, found)
    assert frame.loc["c1"].to_dict() == {
        "split": "test",
        "intention": "joy",
        "last utterance": "过了",
        "event": "考试",
        "score": 0.5,
        "xIntent": "庆祝，休息",
        "xNeed": "",
        "xWant": "",
        "xEffect": "",
        "xReact": "高兴",
    }
    assert frame.loc["c2", ["event", "xIntent"]].tolist() == ["", ""]
    with pytest.raises(ValueError, match="shorter"):
        analysis.knowledge_frame(dataset, found[:1])


def test_the_rate_of_one_intention_is_counted_over_all_pairs():
    rng = np.random.default_rng(0)
    for _ in range(20):
        spoken = pd.DataFrame({"event": rng.choice(list("uvwxy"), 14), "intention": rng.choice(list("abc"), 14)})
        pairs = list(itertools.combinations(spoken.to_dict("records"), 2))
        same = [a["intention"] == b["intention"] for a, b in pairs]
        of_one_event = [s for s, (a, b) in zip(same, pairs, strict=True) if a["event"] == b["event"]]
        rates = analysis.same_intention_rate(spoken)
        assert rates["any pair"] == pytest.approx(np.mean(same))
        assert rates["same event"] == pytest.approx(np.mean(of_one_event))


def test_there_is_no_rate_without_pairs():
    rates = analysis.same_intention_rate(pd.DataFrame({"event": ["u", "v"], "intention": ["a", "a"]}))
    assert rates["any pair"] == 1 and np.isnan(rates["same event"])


# --- attributes -----------------------------------------------------------------------------------------------


def sticker(gesture="wave", posture="standing", expression="smile", caption="", split="train"):
    drawn = {"gesture": gesture, "posture": posture, "expression": expression, "caption": caption}
    return Sticker("s", split, Path("s.webp"), drawn)


def seen(gesture="wave", posture="standing", expression="smile", verbal=()):
    return StickerAttributes(
        (GESTURES[gesture][0], "另一个"), (POSTURES[posture][0],), (EXPRESSIONS[expression][0],), tuple(verbal)
    )


def test_an_attribute_is_right_if_its_first_keyword_is_what_was_drawn():
    assert analysis.is_right("gesture", sticker(), seen())
    assert not analysis.is_right("gesture", sticker(gesture="clap"), seen())
    assert not analysis.is_right("gesture", sticker(), StickerAttributes(("另一个", GESTURES["wave"][0])))
    assert not analysis.is_right("posture", sticker(), StickerAttributes())
    assert analysis.is_right("facial_expression", sticker(), seen())


@pytest.mark.parametrize(
    ("read", "caption", "right"),
    [
        (("笑死我了",), "笑死我了", True),
        (("笑死 ", "我了！"), "笑死我了", True),
        (("哼。",), "哼!", True),
        (("OK",), "ok~", True),
        ((), "", True),
        ((), "哼", False),
        (("哼",), "", False),
        (("笑死我",), "笑死我了", False),
    ],
)
def test_read_text_is_right_up_to_marks_and_case(read, caption, right):
    assert analysis.is_right("verbal", sticker(caption=caption), StickerAttributes(verbal=read)) is right


def test_accuracy_worked_by_hand():
    stickers = [
        sticker(caption="好"),
        sticker(gesture="clap"),
        sticker(split="valid"),
        sticker(split="test", posture="lying"),
    ]
    found = [seen(verbal=["好"]), seen(verbal=["噪"]), seen(), seen()]
    frame = analysis.attribute_accuracy(stickers, found)
    assert frame.loc["gesture", ["train", "valid", "test"]].tolist() == [50, 100, 100]
    assert frame.loc["posture", ["train", "valid", "test"]].tolist() == [100, 100, 0]
    assert frame.loc["verbal", ["train", "valid", "test"]].tolist() == [50, 100, 100]
    # one of so many keys; three of four stickers show no text
    assert frame["chance"].to_dict() == pytest.approx(
        {
            "gesture": 100 / len(GESTURES),
            "posture": 100 / len(POSTURES),
            "facial_expression": 100 / len(EXPRESSIONS),
            "verbal": 75,
        }
    )


def test_confusions_worked_by_hand():
    stickers = [sticker(gesture="wave"), sticker(gesture="wave"), sticker(gesture="clap"), sticker(gesture="wave")]
    found = [seen("wave"), seen("clap"), seen("clap"), seen("wave")]
    table = analysis.attribute_confusion("gesture", stickers, found)
    assert list(table.index) == list(table.columns) == list(GESTURES)
    assert table.loc["wave", "wave"] == pytest.approx(2 / 3) and table.loc["wave", "clap"] == pytest.approx(1 / 3)
    assert table.loc["clap", "clap"] == 1
    assert table.to_numpy().sum() == pytest.approx(2)  # two gestures were drawn, and rows sum to 1


# --- intentions -----------------------------------------------------------------------------------------------


def record(tmp_path, seed, probabilities):
    folder = tmp_path / str(seed)
    folder.mkdir()
    np.savez(folder / "details.npz", intention_probabilities=np.array(probabilities))
    return Record(folder, {"config": RunConfig(seed=seed).as_dict()})


TRAIN = [
    chat("t1", "fear", "train"),
    chat("t2", "anger", "train"),
    chat("t3", "fear", "train"),
    chat("t4", "anger", "train"),
]
TEST = [chat("c1", "joy"), chat("c2", "anger", neighbour="fear"), chat("c3", "fear")]


def test_predictions_and_their_accuracy_worked_by_hand(tmp_path):
    dataset = small(*TRAIN, *TEST)
    records = [
        record(tmp_path, 0, [[0.8, 0.1, 0.1], [0.1, 0.2, 0.7], [0.0, 0.4, 0.6]]),  # joy, fear, fear
        record(tmp_path, 3, [[0.1, 0.5, 0.4], [0.1, 0.7, 0.2], [0.9, 0.1, 0.0]]),  # anger, anger, joy
    ]
    predictions = analysis.intention_predictions(records, dataset)
    assert predictions["query"].tolist() == ["c1", "c2", "c3"] * 2
    assert predictions["seed"].tolist() == [0] * 3 + [3] * 3
    assert predictions["true"].tolist() == ["joy", "anger", "fear"] * 2
    assert predictions["predicted"].tolist() == ["joy", "fear", "fear", "anger", "anger", "joy"]
    accuracy = analysis.intention_accuracy(predictions, dataset)
    # right: c1 and c3 of seed 0, c2 of seed 3; c2 of seed 0 got its neighbour
    assert accuracy.loc["Int-RA", "accuracy"] == pytest.approx(50)
    assert accuracy.loc["Int-RA", "or neighbour"] == pytest.approx(100 * 4 / 6)
    # anger and fear are equally common in training, and anger comes first in the list of intentions: c2 is right
    assert accuracy.loc["Majority", "accuracy"] == pytest.approx(100 / 3)
    assert accuracy.loc["Majority", "or neighbour"] == pytest.approx(100 / 3)
    assert (accuracy["low"] <= accuracy["accuracy"]).all() and (accuracy["accuracy"] <= accuracy["high"]).all()


def test_the_majority_of_a_tie_is_the_earlier_intention(tmp_path):
    # fear and anger tie; with fear earlier in the list, c3 is right instead, and c2 gets its neighbour
    dataset = small(*TRAIN, *TEST, intentions=("joy", "fear", "anger"))
    predictions = analysis.intention_predictions([record(tmp_path, 0, np.eye(3))], dataset)
    accuracy = analysis.intention_accuracy(predictions, dataset)
    assert accuracy.loc["Majority", "accuracy"] == pytest.approx(100 / 3)
    assert accuracy.loc["Majority", "or neighbour"] == pytest.approx(200 / 3)


# --- relation scores ------------------------------------------------------------------------------------------


def test_a_box_covers_regions_worked_by_hand():
    # regions of 10 pixels: x 5..25 covers half, all and half of the first three columns; y 0..10 the first row
    assert analysis.region_cover((5, 0, 25, 10), 4, 40).reshape(4, 4).tolist() == [
        [0.5, 1, 0.5, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
    ]
    assert analysis.region_cover((0, 15, 5, 20), 2, 20).tolist() == [0, 0, 0.25, 0]


def test_a_box_covers_regions_as_its_pixels_do():
    rng = np.random.default_rng(0)
    for _ in range(40):
        x0, x1 = sorted(rng.integers(-3, 28, 2))
        y0, y1 = sorted(rng.integers(-3, 28, 2))
        pixels = np.zeros((24, 24))
        pixels[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = 1
        blocks = pixels.reshape(4, 6, 4, 6).mean(axis=(1, 3)).ravel()
        assert analysis.region_cover((x0, y0, x1, y1), 4, 24) == pytest.approx(blocks)


def boxed(*boxes):
    return [Sticker(f"s{n}", "test", Path("s.webp"), regions=box) for n, box in enumerate(boxes)]


def test_relation_mass_worked_by_hand():
    # four regions; the left half holds 0.1 + 0.4 of the score on half of the area, the corner 0.4 on a quarter
    scores = np.array([[0.1, 0.2, 0.4, 0.3], [0.25, 0.25, 0.25, 0.25]])
    boxes = [{"face": (0, 0, 10, 20), "hand": (0, 10, 10, 20)}, {"face": (3, 7, 9, 11)}]
    frame = analysis.relation_mass(scores, boxed(*boxes), size=20)
    assert frame[["sticker", "part"]].to_numpy().tolist() == [[0, "face"], [0, "hand"], [1, "face"]]
    assert frame["mass"].tolist() == pytest.approx([0.5, 0.4, 24 / 400])
    assert frame["area"].tolist() == pytest.approx([0.5, 0.25, 24 / 400])
    assert frame["lift"].tolist() == pytest.approx([1, 1.6, 1])  # a uniform score has lift 1 anywhere
    means = analysis.lift_by_part(frame)
    assert means.loc["face", ["stickers", "mass", "lift"]].tolist() == pytest.approx([2, 0.28, 1])
    assert means.loc["hand", ["low", "lift", "high"]].tolist() == pytest.approx([1.6] * 3)  # one sticker, no spread


def test_the_scale_of_relation_scores_does_not_matter():
    rng = np.random.default_rng(1)
    scores, stickers = rng.random((3, 9)), boxed(*[{"face": (1, 2, 14, 17)}] * 3)
    once, thrice = analysis.relation_mass(scores, stickers, 18), analysis.relation_mass(3 * scores, stickers, 18)
    assert once["lift"].to_numpy() == pytest.approx(thrice["lift"].to_numpy())
