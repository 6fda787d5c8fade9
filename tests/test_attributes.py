"""Attributes of stickers: those that came with the data, else a source's, asked once a picture."""

import pytest
from PIL import Image

from intra.data import Sticker
from intra.data.schema import ATTRIBUTES
from intra.files import sha256
from intra.generation.attributes import StickerAttributes, describe, parse_states
from intra.generation.store import GenerationStore


class Namer:
    """A source that reads the colour of a picture, and keeps what it was asked."""

    name = "namer-1"

    def __init__(self):
        self.asked = []

    def describe(self, stickers):
        for sticker in stickers:
            self.asked.append(sticker.id)
            red, *_ = Image.open(sticker.image).getpixel((0, 0))
            yield StickerAttributes(gesture=(f"红{red}", "挥手"), verbal=(f"{red}",))


@pytest.fixture
def stickers(tmp_path):
    """A function that makes stickers: the red of each, and attributes where they came with the data."""

    def make(*reds, given=None):
        made = []
        for number, red in enumerate(reds):
            path = tmp_path / f"{number}.png"
            Image.new("RGB", (4, 4), (red, 0, 0)).save(path)
            made.append(Sticker(f"s{number}", ("train",), path, (given or {}).get(number, {})))
        return made

    return make


@pytest.fixture
def store(tmp_path):
    return tmp_path / "attributes.jsonl"


def seen(red):
    return StickerAttributes(gesture=(f"红{red}", "挥手"), verbal=(f"{red}",))


def test_every_picture_is_described_once(stickers, store):
    source = Namer()
    made = stickers(10, 20, 10)
    assert describe(made, source, GenerationStore(store)) == [seen(10), seen(20), seen(10)]
    assert len(source.asked) == 2
    assert describe(made[::-1], source, GenerationStore(store)) == [seen(10), seen(20), seen(10)]
    assert len(source.asked) == 2  # the second answer came from the store
    requests = [entry["request"] for entry in GenerationStore(store).entries()]
    assert requests == [{"task": "attributes", "source": "namer-1", "image": sha256(made[n].image)} for n in (0, 1)]


def test_attributes_that_came_with_the_data_are_used_as_they_are(stickers, store):
    given = {"gesture": ["点头"], "posture": ["坐着", "歪着"], "facial_expression": [], "verbal": ["好 的！"]}
    source = Namer()
    found = describe(stickers(1, 2, 3, 2, given={0: given, 3: {"verbal": ["累"]}}), source, GenerationStore(store))
    assert found[0] == StickerAttributes(("点头",), ("坐着", "歪着"), (), ("好 的！",))
    assert found[3] == StickerAttributes(verbal=("累",))  # and nothing of the source for what it leaves out
    assert found[1:3] == [seen(2), seen(3)]
    assert source.asked == ["s1", "s2"]
    assert len(GenerationStore(store).entries()) == 2
    texts = [found[0].description(name) for name in ATTRIBUTES]
    assert texts == ["手势：点头", "姿势：坐着，歪着", "", "文字：好 的！"]


def test_what_came_with_the_data_may_be_that_there_is_nothing(stickers, store):
    source = Namer()
    assert describe(stickers(1, given={0: {"gesture": []}}), source, GenerationStore(store)) == [StickerAttributes()]
    assert source.asked == [] and not store.exists()


class Answering(Namer):
    """A source that keeps what a model said."""

    def describe(self, stickers):
        for sticker in stickers:
            self.asked.append(sticker.id)
            said = {"gesture": "1. 挥手 2. 点头", "posture": "The cat is sitting.", "verbal": "None"}
            yield StickerAttributes.read(said | {"facial_expression": f"\ufffd{sticker.id}"})


def test_what_a_model_said_is_kept_beside_the_keywords(stickers, store):
    source = Answering()
    (said,) = describe(stickers(1), source, GenerationStore(store))
    assert said.gesture == ("挥手", "点头") and said.posture == said.facial_expression == said.verbal == ()
    (entry,) = GenerationStore(store).entries()
    assert entry["result"] == {
        "gesture": ["挥手", "点头"],
        "posture": [],
        "facial_expression": [],
        "verbal": [],
        "answers": {
            "gesture": "1. 挥手 2. 点头",
            "posture": "The cat is sitting.",
            "verbal": "None",
            "facial_expression": "\ufffds0",
        },
        "states": {
            "gesture": "keywords",
            "posture": "sentence",
            "verbal": "nothing",
            "facial_expression": "unreadable",
        },
    }
    assert describe(stickers(1), source, GenerationStore(store)) == [said] and source.asked == ["s0"]


def test_keywords_without_answers_are_stored_as_ever(stickers, store):
    describe(stickers(7), Namer(), GenerationStore(store))
    (entry,) = GenerationStore(store).entries()
    assert entry["result"] == {
        "gesture": ["红7", "挥手"],
        "posture": [],
        "facial_expression": [],
        "verbal": ["7"],
    }


def test_the_share_of_failures_is_counted_by_source_and_attribute(store):
    def entries(source, *states):
        requests = [{"task": "attributes", "source": source, "image": str(n)} for n in range(len(states))]
        GenerationStore(store).fetch(requests, lambda _: [{"states": {"verbal": state}} for state in states])

    entries("a", "keywords", "nothing", "sentence", "unreadable", "sentence")
    entries("b", "keywords", "keywords")
    GenerationStore(store).fetch(
        [{"task": "attributes", "source": "tagger", "image": "0"}], lambda _: [{"gesture": []}]
    )
    rates = parse_states(GenerationStore(store))
    assert rates.to_dict("records") == [
        dict(
            source="a",
            attribute="verbal",
            answers=5,
            keywords=0.2,
            nothing=0.2,
            sentence=0.4,
            unreadable=0.2,
            failed=0.6,
        ),
        dict(
            source="b",
            attribute="verbal",
            answers=2,
            keywords=1.0,
            nothing=0.0,
            sentence=0.0,
            unreadable=0.0,
            failed=0.0,
        ),
    ]
