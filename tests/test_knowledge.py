"""Knowledge is the nearest event of the base, or silence; the packaged base is well-formed."""

import hashlib
import json
import math

import numpy as np
import pytest

from intra.data import Conversation, Utterance
from intra.generation.knowledge import (
    KNOWLEDGE_BASE,
    RELATIONS,
    Knowledge,
    RetrievedKnowledge,
    event_utterances,
    know,
    read_knowledge_base,
)
from intra.generation.store import GenerationStore

# All vectors share the part (5, -7), as sentence embeddings do. Without it the events lie at 0, 90, 180 and 270
# degrees with mean (0, 0), so the mean that the source subtracts is just that part.
COMMON = np.array([5.0, -7.0])
EVENTS = {"考试过了": (2.0, 0.0), "丢了钱包": (0.0, 1.5), "下雨了": (-2.0, 0.0), "睡着了": (0.0, -1.5)}


class TwoDimensions:
    """A text encoder over a table of vectors; other texts are angles in degrees."""

    name = "two-dimensions"

    def __init__(self):
        self.read = []

    def encode(self, texts, kind="query"):
        self.read += texts
        rows = [EVENTS.get(t) or (math.cos(math.radians(float(t))), math.sin(math.radians(float(t)))) for t in texts]
        return COMMON + np.array(rows)


def write_base(path, events=tuple(EVENTS)):
    entry = {
        relation: [{"zh": f"{relation}一", "en": "a"}, {"zh": f"{relation}二", "en": "b"}] for relation in RELATIONS
    }
    lines = [json.dumps({"event": {"zh": event, "en": "e"}, **entry}, ensure_ascii=False) for event in events]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def base(tmp_path):
    return write_base(tmp_path / "base.jsonl")


def test_the_nearest_event_answers(base):
    # 20 degrees: cos 20 = 0.9397 to the first event, cos 70 = 0.3420 to the second
    # 100 degrees: cos 10 = 0.9848 to the second; in the pair (40, 100) it wins over cos 40 = 0.7660 to the first
    source = RetrievedKnowledge(TwoDimensions(), base)
    one, two, last = source.infer([["20"], ["40", "100"], ["179", "178", "95"]])
    assert (one.event, one.score) == ("考试过了", 0.9397)
    assert (two.event, two.score) == ("丢了钱包", 0.9848)
    assert (last.event, last.score) == ("下雨了", pytest.approx(math.cos(math.radians(1)), abs=5e-5))
    assert one.inferences == {relation: [f"{relation}一", f"{relation}二"] for relation in RELATIONS}


def test_below_the_threshold_the_source_is_silent(tmp_path):
    # two opposite events: a direction within 90 degrees of the first is beyond 90 degrees of the second, so
    # only the first can be found, and is found just inside the angle whose cosine is the threshold
    base = write_base(tmp_path / "base.jsonl", ("考试过了", "下雨了"))
    source = RetrievedKnowledge(TwoDimensions(), base)
    edge = math.degrees(math.acos(source.threshold))
    silent, spoken = source.infer([[str(edge + 0.1)], [str(edge - 0.1)]])
    assert silent == Knowledge("", pytest.approx(math.cos(math.radians(edge + 0.1)), abs=5e-5), {})
    assert silent.text == ""
    assert spoken.event == "考试过了" and spoken.inferences
    assert silent.score < source.threshold < spoken.score


def test_the_common_part_is_taken_out(base):
    # with it left in, every pair would be near: (5, -7) + a unit vector, cosines above 0.9, and no silence
    raw = TwoDimensions().encode(["75", "考试过了"])
    assert raw[0] @ raw[1] / np.linalg.norm(raw[0]) / np.linalg.norm(raw[1]) > 0.9
    (found,) = RetrievedKnowledge(TwoDimensions(), base).infer([["250"]])
    assert (found.event, found.score) == ("睡着了", pytest.approx(math.cos(math.radians(20)), abs=5e-5))


def test_the_name_tells_base_encoder_and_threshold(base):
    digest = hashlib.sha256(base.read_bytes()).hexdigest()[:8]
    source = RetrievedKnowledge(TwoDimensions(), base)
    assert source.name == f"retrieved@{digest}/two-dimensions/threshold={source.threshold}"


def chat(identifier, *texts, knowledge=""):
    utterances = tuple(Utterance("a", text) for text in texts)
    return Conversation(identifier, "train", utterances, "a", "reply", "s1", "joy", knowledge=knowledge)


def test_the_last_three_utterances_are_looked_up_once(base, tmp_path):
    encoder = TwoDimensions()
    source, store = RetrievedKnowledge(encoder, base), tmp_path / "knowledge.jsonl"
    chats = [chat("c1", "0", "180", "95", "91"), chat("c2", "269")]
    assert [event_utterances(c) for c in chats] == [["180", "95", "91"], ["269"]]
    found = know(chats, source, GenerationStore(store))
    assert [k.event for k in found] == ["下雨了", "睡着了"]  # the "0" of c1 is too old: cos 0 = 1 would not lose
    assert encoder.read == [*EVENTS, "180", "95", "91", "269"]
    assert know(chats[::-1], source, GenerationStore(store)) == found[::-1]
    assert len(encoder.read) == 8  # the second answer came from the store
    assert [entry["request"]["source"] for entry in GenerationStore(store).entries()] == [source.name] * 2


def test_knowledge_that_came_with_the_data_is_used_as_it_is(base, tmp_path):
    encoder, store = TwoDimensions(), tmp_path / "knowledge.jsonl"
    source = RetrievedKnowledge(encoder, base)
    given = "xIntent 庆祝 [意图]  "  # not touched, whatever it looks like
    chats = [chat("c1", "180", knowledge=given), chat("c2", "269"), chat("c3", "0", knowledge="他累了")]
    found = know(chats, source, GenerationStore(store))
    assert found[0] == Knowledge(given=given) and found[2] == Knowledge(given="他累了")
    assert [found[0].text, found[2].text] == [given, "他累了"]
    assert found[1].event == "睡着了" and found[1].given == ""
    assert encoder.read == [*EVENTS, "269"]
    (entry,) = GenerationStore(store).entries()
    assert entry["request"]["utterances"] == ["269"]
    assert entry["result"].keys() == {"event", "score", "inferences"}
    # what two conversations say alike is given to the one and asked for the other
    twice = know([chat("c4", "269", knowledge="他累了"), chat("c5", "269")], source, GenerationStore(store))
    assert [k.text for k in twice] == ["他累了", found[1].text]


def test_a_source_is_not_asked_about_nothing(tmp_path):
    class Unwilling:
        name = "unwilling"

        def infer(self, utterances):
            raise AssertionError("asked")

    store = tmp_path / "knowledge.jsonl"
    chats = [chat(f"c{n}", "0", knowledge=f"第{n}") for n in range(3)]
    assert [k.text for k in know(chats, Unwilling(), GenerationStore(store))] == ["第0", "第1", "第2"]
    assert not store.exists()


def test_given_text_stands_instead_of_inferences():
    assert Knowledge("e", 0.5, {"xIntent": ["庆祝"]}, "他累了").text == "他累了"


def test_the_text_has_a_tag_for_each_relation_that_says_something():
    inferences = {"xReact": ["高兴", "激动"], "xIntent": ["庆祝"], "xWant": []}
    assert Knowledge("e", 0.5, inferences).text == "[意图] 庆祝 [感受] 高兴，激动"
    assert Knowledge().text == ""


def test_the_packaged_base_is_well_formed():
    base = read_knowledge_base()
    assert list(RELATIONS) == ["xIntent", "xNeed", "xWant", "xEffect", "xReact"]
    for number, entry in enumerate(base, 1):
        assert entry.keys() == {"event", *RELATIONS}, number
        for text in [entry["event"], *(text for relation in RELATIONS for text in entry[relation])]:
            assert text.keys() == {"zh", "en"}, number
            assert all(value == value.strip() != "" for value in text.values()), number
            assert any("\u4e00" <= c <= "\u9fff" for c in text["zh"]), (number, text)
            assert not any("\u4e00" <= c <= "\u9fff" for c in text["en"]), (number, text)
        assert all(entry[relation] for relation in RELATIONS), number
        for relation in RELATIONS:
            said = [text["zh"] for text in entry[relation]]
            assert len(set(said)) == len(said), (number, relation)
    events = [entry["event"]["zh"] for entry in base]
    assert len(events) == len(set(events)) >= 300
    assert len(KNOWLEDGE_BASE.read_bytes().splitlines()) == len(base)
