"""The prompt of language models and how their answers are read: written-out cases, and a server on loopback."""

import json
import threading
import time

import numpy as np
import pytest
from answer_server import Refused, answering

from intra.data.schema import Conversation, Utterance
from intra.errors import IntraError
from intra.generation.answers import (
    NOT_NAMED,
    OUT_OF_LIST,
    PARSE_STATES,
    Answer,
    answer_rates,
    answered_intentions,
    ask,
    attribute_texts,
    choose_shots,
    instructions,
    parse,
    question,
    shot,
    sticker_text,
)
from intra.generation.attributes import StickerAttributes
from intra.generation.language_models import ServedModel

WHOLE = {
    "intention": "感激",
    "gesture": "双手比心，点头",
    "posture": "坐着",
    "facial_expression": "微笑",
    "verbal": "带把伞哦",
    "description": "笑着比心的小猫",
}
CHAT = Conversation(
    "c7",
    "train",
    (Utterance("老马", "太早了"), Utterance("阿勇", "下雨了"), Utterance("小白", "带把伞")),
    "阿勇",
    "reply",
    "s42",
    "gratitude",
)


def fields(answer):
    return {name: getattr(answer, name) for name in WHOLE}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.mark.parametrize(
    ("text", "state", "changes"),
    [
        (json.dumps(WHOLE, ensure_ascii=False), "object", {}),
        (json.dumps(WHOLE, indent=2), "object", {}),
        (json.dumps({name.upper(): text for name, text in WHOLE.items()}), "object", {}),
        (json.dumps(WHOLE | {"gesture": ["双手比心", "点头"], "mood": 3}), "object", {}),
        (
            json.dumps(WHOLE | {"gesture": "无", "posture": None, "verbal": " None "}),
            "object",
            dict.fromkeys(("gesture", "posture", "verbal"), ""),
        ),
        (json.dumps(WHOLE | {"verbal": "带把\n伞哦"}), "object", {"verbal": "带把 伞哦"}),
        (f"```json\n{json.dumps(WHOLE)}\n```", "block", {}),
        (f"好的：{json.dumps(WHOLE)}\n希望{{对你}}有帮助！", "block", {}),
        (f'先想想 {{"a": 1}} 那么 {json.dumps(WHOLE)}', "block", {}),
        (
            "{“intention”：“感激”，“gesture”：“双手比心，点头”，“posture”：“坐着”，“facial_expression”：“微笑”，"
            "“verbal”：“带把伞哦”，“description”：“笑着比心的小猫”}",
            "pairs",
            {},
        ),
        ("意图：感激；手势：双手比心，点头；姿势：坐着\n表情：微笑\n文字：带把伞哦\n描述：笑着比心的小猫", "pairs", {}),
        ("意图：感激，手势：双手比心，点头，姿态：坐着，表情：微笑，文字：带把伞哦，描述：笑着比心的小猫", "pairs", {}),
        (
            "intent: 感激\ngesture: 双手比心，点头\nposture: 坐着\nfacial: 微笑\nverbal: 带把伞哦\n"
            "description: 笑着比心的小猫",
            "pairs",
            {},
        ),
    ],
)
def test_an_answer_is_read_down_the_ladder(text, state, changes):
    answer = parse(text)
    assert (answer.state, fields(answer)) == (state, WHOLE | changes)


def test_an_object_that_was_cut_keeps_what_was_said():
    whole = json.dumps(WHOLE, ensure_ascii=False)
    for end in range(whole.index("双"), len(whole)):
        answer = parse(whole[:end])
        assert answer.state == "pairs" and answer.intention == "感激"
        assert all(WHOLE[name].startswith(said) for name, said in fields(answer).items()), whole[:end]
    assert parse(whole[: whole.index('", "verbal')]).facial_expression == "微笑"


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_answer_says_nothing(text):
    assert parse(text) == Answer(state="empty") and parse(text).text() == ""


@pytest.mark.parametrize("text", ["一只比心的猫", "{}", "[1, 2]", "{" * 3000, '{"cat": "比心"}', "3", "[" * 100_000])
def test_an_answer_without_fields_is_kept_as_it_is(text):
    answer = parse(text)
    assert (answer.state, answer.description) == ("text", text[:200]) and answer.text(True) == text[:200]


def test_one_template_makes_the_text_of_answers_and_stickers():
    attributes = StickerAttributes(("双手比心", "点头"), ("坐着",), (), ("带把伞哦",))
    expected = "手势：双手比心，点头；姿势：坐着；文字：带把伞哦"
    assert sticker_text(attribute_texts(attributes)) == expected
    assert sticker_text(attribute_texts(attributes), "感激") == f"意图：感激；{expected}"
    assert Answer("感激", "双手比心，点头", "坐着", "", "带把伞哦", "猫").text() == expected
    assert Answer("感激", "双手比心，点头", "坐着", "", "带把伞哦", "猫").text(True) == f"意图：感激；{expected}"
    assert Answer("感激", description="猫").text() == "猫"
    assert sticker_text(attribute_texts(StickerAttributes())) == ""


def test_what_a_shot_says_is_read_back_as_its_sticker():
    attributes = StickerAttributes(("双手比心",), (), ("微笑", "眨眼"), ('他说"好"，走了',))
    asked, said = shot(CHAT, 6, attributes, "感激")
    assert asked == question(CHAT, 6) and said["role"] == "assistant"
    answer = parse(said["content"])
    assert answer.state == "object" and answer.text() == sticker_text(attribute_texts(attributes))
    assert (answer.intention, answer.description) == ("感激", '双手比心，微笑，眨眼，他说"好"，走了')
    assert parse(shot(CHAT, 6, StickerAttributes(), "感激")[1]["content"]) == Answer("感激")


def test_a_question_tells_the_window_and_no_more():
    told = question(CHAT, 2)
    assert told["role"] == "user" and told["content"].split("\n")[1:3] == ["我：下雨了", "A：带把伞"]
    assert not any(
        word in told["content"] for word in ("太早", "老马", "小白", "阿勇", "s42", "c7", "感激", "gratitude")
    )


def test_instructions_offer_the_intentions_in_their_order():
    told = instructions(["感激", "愤怒", "中性"])
    assert told["role"] == "system" and "：感激、愤怒、中性。" in told["content"]
    assert all(name in told["content"] for name in WHOLE)


def test_shots_are_of_the_commonest_intentions():
    intentions = np.repeat([5, 2, 0, 3, 1], [9, 9, 4, 7, 1])
    for seed in range(20):
        assert intentions[choose_shots(intentions, seed)].tolist() == [2, 5, 3, 0]
    assert len({tuple(choose_shots(intentions, seed)) for seed in range(20)}) > 10
    assert choose_shots(intentions, 3).tolist() == choose_shots(intentions, 3).tolist()
    assert choose_shots(np.array([1, 1]), 0).shape == (1,)


def test_rates_by_hand():
    said = [Answer("感激"), Answer("愤怒", state="pairs"), Answer("开心", state="block"), Answer(state="empty")]
    labels = ["愤怒", "感激"]
    assert answered_intentions(said, labels).tolist() == [1, 0, OUT_OF_LIST, NOT_NAMED]
    rates = answer_rates(said, labels, np.array([1, 1, 0, 0]))
    assert rates == {
        "object": 0.25,
        "block": 0.25,
        "pairs": 0.25,
        "text": 0,
        "empty": 0.25,
        "failed": 0.25,
        "out of list": 0.25,
        "accuracy": 0.25,
    }
    assert set(PARSE_STATES) < set(rates)


PROMPTS = [[{"role": "user", "content": f"问{number}"}] for number in range(12)]


def test_no_question_is_asked_twice(tmp_path):
    asked = []

    def reply(body):
        asked.append(body["messages"])
        return json.dumps(WHOLE | {"verbal": body["messages"][0]["content"]})

    with answering(reply) as address:
        first = ask(ServedModel(address, "m"), PROMPTS, tmp_path / "answers" / "m.jsonl")
        assert [answer.verbal for answer in first] == [prompt[0]["content"] for prompt in PROMPTS]
        assert ask(ServedModel(address, "m"), PROMPTS, tmp_path / "answers" / "m.jsonl") == first
        assert len(asked) == len(PROMPTS)
        ask(ServedModel(address, "other"), PROMPTS[:1], tmp_path / "answers" / "m.jsonl")
        assert len(asked) == len(PROMPTS) + 1
    assert ask(ServedModel(address, "m"), PROMPTS, tmp_path / "answers" / "m.jsonl") == first  # the server is gone


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path):
    asked, path, refusing = [], tmp_path / "answers.jsonl", True

    def reply(body):
        asked.append(body["messages"][0]["content"])
        if refusing and len(asked) > 6:
            raise Refused("no more")
        return asked[-1]

    with answering(reply) as address:
        with pytest.raises(IntraError, match="no more"):
            ask(ServedModel(address, "m"), PROMPTS, path)
        kept = [json.loads(line)["result"]["answer"] for line in path.read_text(encoding="utf-8").splitlines()]
        assert 1 <= len(kept) <= 6 and kept == [prompt[0]["content"] for prompt in PROMPTS][: len(kept)]
        asked.clear()
        refusing = False
        said = ask(ServedModel(address, "m"), PROMPTS, path)
    assert sorted(asked) == sorted(prompt[0]["content"] for prompt in PROMPTS[len(kept) :])
    assert [answer.description for answer in said] == [prompt[0]["content"] for prompt in PROMPTS]


def test_two_runs_at_once_ask_each_question_once(tmp_path):
    asked = []

    def reply(body):
        asked.append(body["messages"][0]["content"])
        time.sleep(0.02)
        return asked[-1]

    with answering(reply) as address:
        runs = [
            threading.Thread(target=ask, args=(ServedModel(address, "m"), PROMPTS, tmp_path / "answers.jsonl"))
            for _ in range(3)
        ]
        for run in runs:
            run.start()
        for run in runs:
            run.join()
    assert sorted(asked) == sorted(prompt[0]["content"] for prompt in PROMPTS)


def test_an_entry_tells_what_was_asked_of_whom(tmp_path):
    with answering(lambda body: "猫") as address:
        ask(ServedModel(address, "m"), PROMPTS[:1], tmp_path / "answers.jsonl")
    (entry,) = map(json.loads, (tmp_path / "answers.jsonl").read_text(encoding="utf-8").splitlines())
    assert entry["request"] == {"task": "answer", "source": "m@endpoint/greedy-160", "messages": PROMPTS[0]}
    assert entry["result"] == {"answer": "猫"}
