"""The questions of Fig. 4, and how answers become keywords."""

import itertools

import pytest

from intra.data.schema import ATTRIBUTES
from intra.generation.prompts import FAILURES, PARSE_STATES, QUESTION, SEVERAL, interview, parse

PAPER = "This is a sticker used in conversation, please provide several keywords to describe the "


def test_the_conversation_is_that_of_the_figure():
    seen = []

    def reply(conversations):
        seen.append([[dict(message) for message in conversation] for conversation in conversations])
        return [f"answer {len(seen)} about {conversation[0]['content'][0]['of']}" for conversation in conversations]

    answers = interview([{"of": "a"}, {"of": "b"}], reply)
    assert [list(said) for said in answers] == [list(ATTRIBUTES)] * 2
    assert answers[1] == {name: f"answer {turn} about b" for turn, name in enumerate(ATTRIBUTES, 1)}
    first, *_, last = seen
    assert [len(turn[0]) for turn in seen] == [1, 3, 5, 7]
    assert first[0][0]["content"] == [{"of": "a"}, {"type": "text", "text": f"{PAPER}gesture."}]
    assert [message["role"] for message in last[1]] == ["user", "assistant"] * 3 + ["user"]
    parts = list(itertools.chain.from_iterable(message["content"] for message in last[1]))
    texts = ["gesture", "answer 1 about b", "posture", "answer 2 about b", "facial expression", "answer 3 about b"]
    expected = [f"{PAPER}{text}." if place % 2 == 0 else text for place, text in enumerate([*texts, "verbal"])]
    assert parts == [{"of": "b"}, *({"type": "text", "text": text} for text in expected)]


def test_a_model_that_loses_an_answer_is_noticed():
    with pytest.raises(ValueError, match="shorter"):
        interview([{}, {}], lambda conversations: ["one"])
    assert interview([], lambda conversations: []) == []


@pytest.mark.parametrize(
    ("answer", "keywords"),
    [
        ("waving, smiling, thumbs up", ["waving", "smiling", "thumbs up"]),
        ("1. Waving\n2. Thumbs up\n3. Smile", ["Waving", "Thumbs up", "Smile"]),
        ("1、挥手 2、点头 3.笑", ["挥手", "点头", "笑"]),
        ("Keywords: waving; smile / happy", ["waving", "smile", "happy"]),
        ("**Keywords:**\n- waving\n* *smile*\n• jump", ["waving", "smile", "jump"]),
        ("Gesture: Thumbs up", ["Thumbs up"]),
        ("Sure! Here are several keywords to describe the facial expression: happy, and joyful.", ["happy", "joyful"]),
        ("Here you go:\n\nwaving\nbow", ["waving", "bow"]),
        ("关键词：挥手、微笑，点赞。", ["挥手", "微笑", "点赞"]),
        ("<think>keywords: maybe a, b</think>\nwave, bow", ["wave", "bow"]),
        ("maybe a, b</think>wave, bow", ["wave", "bow"]),
        ('```json\n{"keywords": ["wave", "bow"]}\n```', ["wave", "bow"]),
        ("<|vision_start|>wave, bow<|im_end|>", ["wave", "bow"]),
        ("Wave, wave, bow, WAVE", ["Wave", "bow"]),
        ("Thumbs up. Smile. Big eyes.", ["Thumbs up", "Smile", "Big eyes"]),
        ("Smiling, none, bow", ["Smiling", "bow"]),
        ("没有文字，看着前方", ["看着前方"]),
        ("无表情", ["无表情"]),
        ("standing, and besides with both arms raised high above the head", ["standing"]),
        # captions are sentences of their own
        ("“加油！”", ["加油！"]),
        ("I love you", ["I love you"]),
        ("对不起", ["对不起"]),
        ("No way!", ["No way!"]),
        ("this is fine", ["this is fine"]),
    ],
)
def test_keywords_are_found_in_any_list(answer, keywords):
    assert parse(answer) == (tuple(keywords), "keywords")


NO_LISTS = {
    "nothing": """None | none, none. | N/A | No text. | There is no text in the sticker. | No visible gesture |
        The sticker does not contain any text. | 无 | 没有文字 | 图中没有文字。 | Verbal: none | 无明显手势""",
    "sentence": """The sticker shows a cat waving. | The gesture is a thumbs up, with a smile. | The cat is\nhappy, so |
        I'm sorry, I cannot see the image. | As an AI language model, I cannot | it looks like a cat, somehow |
        a small round cat with both arms raised high above its head | 图中的小猫在挥手 | 抱歉，我无法查看图片 |
        这个表情包里的人物在挥手，看起来很高兴。""",
    "unreadable": " | \n | !!! | \ufffd\ufffd, a\ufffd | <think>it never ends, and | - \n- | 👍 | Keywords:",
}


@pytest.mark.parametrize("state", NO_LISTS)
def test_what_is_no_list_has_a_state(state):
    answers = [answer.strip(" ") for answer in NO_LISTS[state].split("|")]
    assert {answer: parse(answer) for answer in answers} == {answer: ((), state) for answer in answers}


def test_several_is_not_many():
    keywords, _ = parse(", ".join(f"word {number}" for number in range(40)))
    assert keywords == tuple(f"word {number}" for number in range(SEVERAL))


def test_the_width_that_is_still_a_keyword_is_the_same_in_both_scripts():
    assert parse("a" * 40)[1] == parse("好" * 20)[1] == "keywords"
    assert parse("a" * 41)[1] == parse("好" * 21)[1] == "sentence"


def test_any_text_has_one_of_the_states():
    pieces = [
        "",
        "无",
        "none",
        "Keywords:",
        "1. ",
        "- ",
        "wave",
        "，",
        ".",
        "\n",
        "<think>",
        "</think>",
        "The cat is",
        "“",
    ]
    for chosen in itertools.product(pieces, repeat=3):
        keywords, state = parse("".join(chosen))
        assert state in PARSE_STATES and bool(keywords) == (state == "keywords"), chosen
    assert set(FAILURES) < set(PARSE_STATES) and QUESTION.format("gesture") == f"{PAPER}gesture."
