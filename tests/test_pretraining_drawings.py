"""The drawings that the vision encoder learns from, and how they are described."""

import dataclasses
import json

import numpy as np
from pretraining_toys import CAPTIONS

from intra.data.pictures import on_white
from intra.pretraining import drawings
from intra.replystickers import vocabulary
from intra.replystickers.drawing.characters import CHARACTERS, silhouette
from intra.replystickers.drawing.sticker import draw, rasterise

pytest_plugins = ["pretraining_helpers"]


def test_examples_are_held_out_and_of_every_kind():
    examples = drawings.draw_examples(300, 4, CAPTIONS)
    known = {silhouette(character.parts) for character in CHARACTERS.values()}
    assert not known & {silhouette(example.character.parts) for example in examples}
    seen = [example.specification for example in examples]
    assert {specification.expression for specification in seen} == set(vocabulary.EXPRESSIONS)
    assert {specification.gesture for specification in seen} == set(vocabulary.GESTURES)
    assert {specification.posture for specification in seen} == set(vocabulary.POSTURES)
    assert {specification.caption for specification in seen} == {"", *CAPTIONS}
    assert seen == [example.specification for example in drawings.draw_examples(300, 4, CAPTIONS)]


def test_training_and_validation_share_no_character():
    casts = [
        {example.character.key for example in drawings.draw_examples(1000, seed, CAPTIONS)}
        for seed in (drawings.TRAINING_CHARACTERS, drawings.VALIDATION_CHARACTERS)
    ]
    assert not casts[0] & casts[1]


def test_captions_of_the_training_are_not_those_of_the_benchmark():
    captions = drawings.read_captions()
    table = json.loads((drawings.CAPTIONS.parent / "captions.json").read_text(encoding="utf-8"))
    assert len(set(captions)) == len(captions) > 100
    assert not set(captions) & {caption for own in table.values() for caption in own}


def test_a_description_says_all_that_is_drawn():
    specification = dataclasses.replace(
        drawings.draw_examples(1, 5, CAPTIONS)[0].specification,
        style="flat",
        expression="wink",
        gesture="clap",
        posture="lying",
        prop="sun",
        caption="早",
    )
    chinese = drawings.describe(specification, chinese=True)
    assert all(word in chinese for word in ("无线色块", "眨眼", "鼓掌", "躺平", "太阳", "「早」"))
    english = drawings.describe(specification, chinese=False)
    assert all(word in english for word in ("flat shapes", "winking", "clapping", "lying", "sun", '"早"'))
    bare = dataclasses.replace(specification, prop="none", caption="")
    assert "画着" not in drawings.describe(bare, chinese=True)
    assert "with" not in drawings.describe(bare, chinese=False).split("outline")[1]


def test_drawings_are_the_same_from_one_and_from_two_processes(tmp_path, drawn_data):
    examples = drawings.draw_examples(16, 3, CAPTIONS)[:3]
    pixels, boxes = drawings.pictures(examples, 32, tmp_path, processes=2)
    np.testing.assert_array_equal(pixels, drawn_data.pixels[:3])
    np.testing.assert_array_equal(boxes, drawn_data.boxes[:3])


def test_drawings_come_from_the_cache_until_something_changes(tmp_path, monkeypatch):
    examples = drawings.draw_examples(2, 6, CAPTIONS)
    first, _ = drawings.pictures(examples, 16, tmp_path, processes=1)
    monkeypatch.setattr(drawings, "picture", lambda example, size: (np.zeros((size, size, 3)), np.zeros((2, 4))))
    np.testing.assert_array_equal(drawings.pictures(examples, 16, tmp_path, processes=1)[0], first)
    monkeypatch.setattr(drawings, "drawing_digest", lambda: "another")
    assert not drawings.pictures(examples, 16, tmp_path, processes=1)[0].any()


def test_boxes_are_where_the_faces_are():
    example = drawings.draw_examples(1, 8, CAPTIONS)[0]
    bare = dataclasses.replace(example.specification, expression="calm", style="outline", posture="standing")
    _, boxes = drawings.picture(dataclasses.replace(example, specification=bare), 240)
    winking = dataclasses.replace(bare, expression="wink")
    pictures = [np.asarray(on_white(rasterise(draw(s, example.character))), float) for s in (bare, winking)]
    rows, columns = np.nonzero(np.abs(pictures[0] - pictures[1]).sum(2) > 60)
    left, top, right, bottom = (boxes[list(drawings.GUIDED).index("facial_expression")] + 1) * 120
    inside = (columns > left - 5) & (columns < right + 5) & (rows > top - 5) & (rows < bottom + 5)
    assert inside.mean() > 0.8


def test_a_key_is_described_in_the_words_of_a_description():
    example = drawings.draw_examples(1, 9, CAPTIONS)[0]
    for chinese, joint in ((True, "，"), (False, ", ")):
        whole = drawings.describe(example.specification, chinese).replace(": ", joint).split(joint)
        for attribute, field in drawings.FIELDS.items():
            key = getattr(example.specification, field)
            text = drawings.describe_key(attribute, key, chinese)
            opening, part = text.split("，" if chinese else ": ", 1)
            assert opening in ("表情包", "a sticker")
            assert all(word in whole for word in part.split(joint))
    assert drawings.describe_key("gesture", "wave", chinese=True) == "表情包，手势挥手"
    assert drawings.describe_key("facial_expression", "wink", chinese=False) == "a sticker: winking"
