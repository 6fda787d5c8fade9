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
    return Conversation(identifier, split, utterances, "a", "reply", "s1", intention, neighbour=neighbour)


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


def rate_by_loops(events, intentions):
    """Share of the pairs of one event that have one intention."""
    pairs = list(itertools.combinations(zip(events, intentions, strict=True), 2))
    same = [a[1] == b[1] for a, b in pairs if a[0] == b[0]]
    return sum(same) / len(same)


def test_the_rate_of_one_intention_is_counted_over_all_pairs_of_an_event():
    rng = np.random.default_rng(0)
    for _ in range(20):
        spoken = pd.DataFrame({"event": rng.choice(list("uvwxy"), 14), "intention": rng.choice(list("abc"), 14)})
        rates = analysis.same_intention_rate(spoken, resamples=3)
        assert list(rates.index) == ["same event", "low", "high"]
        assert rates["same event"] == pytest.approx(rate_by_loops(spoken["event"], spoken["intention"]))


def test_the_band_is_that_of_all_orders_of_the_events():
    events, intentions = "uuuvvvw", "aabbaca"
    rates = sorted(rate_by_loops(order, intentions) for order in itertools.permutations(events))
    found = analysis.same_intention_rate(pd.DataFrame({"event": list(events), "intention": list(intentions)}), 4000)
    # 5040 orders: the rates at 2.5 % and 97.5 % of them are the ends, and stand far enough from the next steps
    for name, share in (("low", 0.025), ("high", 0.975)):
        near = {rates[round((share + d) * len(rates))] for d in (-0.01, 0, 0.01)}
        assert len(near) == 1 and found[name] == pytest.approx(near.pop())


def test_events_that_tell_the_intention_lie_above_the_band_and_others_inside():
    rng = np.random.default_rng(3)
    intentions = rng.choice(list("abcd"), 60)
    told = analysis.same_intention_rate(pd.DataFrame({"event": intentions, "intention": intentions}), 200)
    assert told["same event"] == 1 and told["high"] < 1
    low, high = told["low"], told["high"]
    pairs = list(itertools.combinations(intentions, 2))
    assert low < np.mean([a == b for a, b in pairs]) < high  # what an event without information gives
    inside = 0
    for _ in range(40):
        spoken = pd.DataFrame({"event": rng.permutation(intentions), "intention": intentions})
        inside += low <= analysis.same_intention_rate(spoken, 1)["same event"] <= high
    assert inside >= 34  # 38 expected


def test_the_band_is_the_same_every_time():
    spoken = pd.DataFrame({"event": list("uuvvwwxx"), "intention": list("abcaabbc")})
    assert analysis.same_intention_rate(spoken, 50).equals(analysis.same_intention_rate(spoken, 50))


def test_there_is_no_rate_without_pairs():
    rates = analysis.same_intention_rate(pd.DataFrame({"event": ["u", "v"], "intention": ["a", "a"]}), 10)
    assert rates.isna().all()


# --- attributes -----------------------------------------------------------------------------------------------


def sticker(gesture="wave", posture="standing", expression="smile", caption="", splits=("train",)):
    drawn = {"gesture": gesture, "posture": posture, "expression": expression, "caption": caption}
    return Sticker("s", splits, Path("s.webp"), specification=drawn)


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
        sticker(splits=("valid",)),
        sticker(splits=("test",), posture="lying"),
    ]
    found = [seen(verbal=["好"]), seen(verbal=["噪"]), seen(), seen()]
    frame = analysis.attribute_accuracy(stickers, found)
    assert frame.loc["gesture", ["train", "valid", "test"]].tolist() == [50, 100, 100]
    assert frame.loc["posture", ["train", "valid", "test"]].tolist() == [100, 100, 0]
    assert frame.loc["verbal", ["train", "valid", "test"]].tolist() == [50, 100, 100]
    # wave thrice, standing thrice, smile four times, and no text thrice
    expected = {"gesture": 75, "posture": 75, "facial_expression": 100, "verbal": 75}
    assert frame["commonest"].to_dict() == pytest.approx(expected)
    assert list(frame.columns) == ["train", "valid", "test", "commonest"]


def test_a_sticker_of_two_splits_counts_in_both():
    # both train stickers wave, the second one is in test too; the third one claps, unlike what was seen
    stickers = [sticker(), sticker(splits=("train", "test")), sticker(gesture="clap", splits=("test", "valid"))]
    frame = analysis.attribute_accuracy(stickers, [seen()] * 3)
    assert frame.loc["gesture", ["train", "valid", "test"]].tolist() == [100, 0, 50]
    assert frame.loc["posture", ["train", "valid", "test"]].tolist() == [100, 100, 100]


def test_a_split_without_stickers_has_no_accuracy():
    frame = analysis.attribute_accuracy([sticker(), sticker(splits=("test",))], [seen(), seen()])
    assert frame["valid"].isna().all() and (frame["train"] == 100).all()


def test_the_commonest_answer_reaches_what_is_said_of_it():
    """By giving every answer to every sticker: the best one is right as often as `commonest` says."""
    rng = np.random.default_rng(5)
    captions = ["", "哼", "哼!", "OK", "ok~"]  # read alike: the second and third, the fourth and fifth
    choices = {"gesture": GESTURES, "posture": POSTURES, "expression": EXPRESSIONS, "caption": captions}
    for _ in range(5):
        drawn = [{field: rng.choice(list(keys)[:5]) for field, keys in choices.items()} for _ in range(30)]
        splits = ["train", "valid", "test"] * 10
        stickers = [sticker(**fields, splits=(split,)) for fields, split in zip(drawn, splits, strict=True)]
        found = analysis.attribute_accuracy(stickers, [seen()] * 30)["commonest"]
        answers = {
            "gesture": [seen(gesture=key) for key in GESTURES],
            "posture": [seen(posture=key) for key in POSTURES],
            "facial_expression": [seen(expression=key) for key in EXPRESSIONS],
            "verbal": [seen(verbal=[caption]) for caption in captions],
        }
        for name, given in answers.items():
            reached = [sum(analysis.is_right(name, s, answer) for s in stickers) / 30 for answer in given]
            assert found[name] == pytest.approx(100 * max(reached)), name


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


def test_right_predictions_worked_by_hand():
    predictions = pd.DataFrame(
        [("c1", 3, "joy", "joy"), ("c2", 3, "fear", "joy"), ("c1", 0, "joy", "fear"), ("c2", 0, "fear", "fear")],
        columns=["query", "seed", "true", "predicted"],
    )
    right = analysis.right_predictions(predictions)
    assert [values.tolist() for values in right] == [[0, 1], [1, 0]]  # seed 0 first


def test_an_interval_of_differences_worked_by_hand():
    # one seed, differences 0 and 1: of four draws of two queries one has mean 0, one has mean 1
    assert analysis.difference_interval([np.array([0.0, 1.0])], [np.array([0.0, 0.0])]) == (0, 1)
    # two seeds whose differences are 1 and -1 everywhere: seeds are drawn, too
    ours = [np.array([1.0, 1.0, 1.0]), np.array([0.0, 0.0, 0.0])]
    assert analysis.difference_interval(ours, [np.zeros(3), np.ones(3)]) == (-1, 1)


def test_differences_are_taken_on_the_same_queries():
    """Queries differ far more than systems do; a constant advantage must not drown in them."""
    theirs = list(np.random.default_rng(0).normal(size=(3, 50)))
    found = analysis.difference_interval([values + 0.25 for values in theirs], theirs)
    assert found == pytest.approx((0.25, 0.25))
    low, high = analysis.difference_interval([values + 0.25 for values in theirs], theirs[::-1])
    assert low < 0.2 and high > 0.3


def test_an_interval_of_differences_against_loops():
    rng = np.random.default_rng(2)
    ours, theirs = rng.random((3, 40)), rng.random((3, 40)) - 0.2
    means = []
    for _ in range(4000):
        seeds, queries = rng.integers(3, size=3), rng.integers(40, size=40)
        means.append(np.mean([ours[s][q] - theirs[s][q] for s in seeds for q in queries]))
    expected = sorted(means)[100], sorted(means)[3899]
    assert analysis.difference_interval(list(ours), list(theirs)) == pytest.approx(expected, abs=0.015)


def test_one_array_stands_for_every_seed():
    rng = np.random.default_rng(1)
    ours, control = list(rng.random((3, 20))), rng.random(20)
    assert analysis.difference_interval(ours, [control]) == analysis.difference_interval(ours, [control] * 3)
    with pytest.raises(ValueError, match="shorter"):
        analysis.difference_interval(ours, [control] * 2)


# --- pretraining ----------------------------------------------------------------------------------------------


@pytest.fixture
def pretraining_record():
    """A record of two epochs, one seen and one unseen set."""
    attributes = ("gesture", "posture", "facial_expression")
    epochs = [
        {"epoch": n, "losses": {"contrastive": 2 / n}, "validation": dict.fromkeys(attributes, n / 4)} for n in (1, 2)
    ]
    shares = {"chinese": 0.5, "english": 0.25, "chance": 0.1, "majority": 0.4}
    recalls = {"chinese": 0.2, "english": 0.02, "chance": 0.05}
    return {
        "drawings": 30,
        "validation_drawings": 10,
        "emoji": {"seen": 20},
        "validation": {"gesture": 0.9, "posture": 0.8, "facial_expression": 0.7},
        "epochs": epochs,
        "transfer": {
            "licences": {"seen": "MIT", "unseen": "CC-BY-4.0"},
            "zero_shot": [
                {"attribute": a, "split": s, "stickers": 40} | shares for a in attributes for s in ("train", "test")
            ],
            "retrieval": [
                {"set": "unseen", "names": names, "pictures": 200, "recall@1": 0.01, "recall@10": x, "median rank": 9.0}
                for names, x in recalls.items()
            ],
        },
    }


def test_pretraining_pictures_name_their_licences(pretraining_record):
    frame = analysis.pretraining_pictures(pretraining_record)
    assert frame.loc["seen"].tolist() == [20, "training", "MIT"]
    assert frame.loc["unseen"].tolist() == [200, "measured alone", "CC-BY-4.0"]
    assert frame["pictures"].tolist() == [30, 20, 10, 200]


def test_pretraining_numbers_are_those_of_the_record_in_percent(pretraining_record):
    history = analysis.pretraining_history(pretraining_record)
    assert history["loss", "contrastive"].to_dict() == {1: 2.0, 2: 1.0}
    assert history["accuracy", "posture"].to_dict() == {1: 25.0, 2: 50.0}
    held_out = analysis.held_out_accuracy(pretraining_record)
    assert held_out.loc["gesture"].tolist() == pytest.approx([90, 100 / len(GESTURES)])
    zero_shot = analysis.zero_shot_accuracy(pretraining_record)
    assert zero_shot.loc[("posture", "test")].tolist() == pytest.approx([40, 50, 25, 10, 40])
    retrieved = analysis.art_retrieval(pretraining_record)
    assert retrieved.loc[("unseen", "chinese")].tolist() == pytest.approx([200, 1, 20, 9])


def test_transfer_differences_have_the_interval_of_a_share(pretraining_record):
    zero_shot = analysis.zero_shot_accuracy(pretraining_record)
    frame = analysis.transfer_differences(zero_shot, analysis.art_retrieval(pretraining_record))
    assert list(frame.index[[0, 1, -2, -1]]) == [
        "gesture, chinese",
        "gesture, english",
        "unseen, chinese",
        "unseen, english",
    ]
    assert frame["difference"].iloc[[0, 1, -2, -1]].tolist() == pytest.approx([10, -15, 15, -3])
    spread = 1.96 * 100 * np.sqrt(0.2 * 0.8 / 200)  # the normal interval of 40 in 200
    assert frame.loc["unseen, chinese", ["low", "high"]].tolist() == pytest.approx([15 - spread, 15 + spread], abs=0.8)
