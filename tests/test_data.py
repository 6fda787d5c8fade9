"""The reader names every fault of a broken data set, and ReplyStickers keeps the rules it was planned by."""

import csv
import dataclasses
import hashlib
import json
import re
from collections import Counter, defaultdict

import numpy as np
import pytest
from PIL import Image

import intra
from intra.config import PROFILES, RunConfig
from intra.data import INTENTIONS, SPLITS, Conversation, Dataset, Sticker, Utterance, load_dataset, validate
from intra.data.reader import config_dataset, profile_dataset
from intra.errors import IntraError
from intra.paths import REPLYSTICKERS
from intra.replystickers.design import FOLDER, STICKER_COLUMNS

CONVERSATIONS, STICKERS, MANIFEST = "conversations.jsonl", "stickers.jsonl", "manifest.json"
REMOVED = object()


# --- a small sound data set, and ways to break it -------------------------------------------------------------


def write_dataset(folder):
    """A sound data set: conversations c1 ... c6 with two utterances each, stickers s1 ... s4."""
    (folder / "images").mkdir(parents=True)
    splits = {"s1": "train", "s2": "train", "s3": "valid", "s4": "test"}
    stickers = []
    for number, (sticker, split) in enumerate(splits.items()):
        Image.new("RGB", (8, 8), (60 * number, 90, 30)).save(folder / f"images/{sticker}.png")
        stickers.append({"id": sticker, "splits": [split], "image": f"images/{sticker}.png"})
    conversations = []
    for number, sticker in enumerate(["s1", "s2", "s1", "s2", "s3", "s4"], 1):
        conversations.append(
            {
                "id": f"c{number}",
                "split": splits[sticker],
                "intention": "joy" if number % 2 else "anger",
                "usage": "reply",
                "sender": "小满",
                "sticker": sticker,
                "cue": 2,
                "utterances": [
                    {"user": "阿泽", "text": f"第{number}次考试"},
                    {"user": "七七", "text": "过了"},
                ],
            }
        )
    write_lines(folder / STICKERS, stickers)
    write_lines(folder / CONVERSATIONS, conversations)
    seal(folder)
    return folder


def write_lines(path, records):
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), encoding="utf-8")


def seal(folder, **changes):
    """Write a manifest that fits the files as they are."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != MANIFEST]
    manifest = {
        "name": "Small",
        "version": "1",
        "licence": "CC0",
        "files": {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest | changes), encoding="utf-8")


def replaced(file, line, text):
    """A fault: another text in one line."""

    def break_it(folder):
        lines = (folder / file).read_text(encoding="utf-8").split("\n")
        lines[line - 1] = text
        (folder / file).write_text("\n".join(lines), encoding="utf-8")
        seal(folder)

    return break_it


def changed(file, line, **changes):
    """A fault: other values in one line."""

    def break_it(folder):
        records = [json.loads(text) for text in (folder / file).read_text(encoding="utf-8").split("\n") if text]
        record = records[line - 1] | changes
        records[line - 1] = {name: value for name, value in record.items() if value is not REMOVED}
        write_lines(folder / file, records)
        seal(folder)

    return break_it


def written(file, data, sealed=True):
    """A fault: other bytes in a file, or no file at all."""

    def break_it(folder):
        if data is None:
            (folder / file).unlink()
        else:
            (folder / file).write_bytes(data)
        if sealed:
            seal(folder)

    return break_it


def cut_in_half(folder):
    path = folder / "images/s1.png"
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    Image.fromarray(noise).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:-500])
    seal(folder)


def outside_images(folder):
    (folder / "s1.png").write_text("no picture")
    changed(STICKERS, 1, image="s1.png")(folder)


def manifest_with(**changes):
    return lambda folder: seal(folder, **changes)


def unlisted(*names):
    def break_it(folder):
        files = json.loads((folder / MANIFEST).read_text())["files"]
        seal(folder, files={name: digest for name, digest in files.items() if name not in names})

    return break_it


SAID = {"user": "阿泽", "text": "好"}
DIGITS = "1" * 5000

ONE_FAULT = {
    "bad JSON": (
        replaced(CONVERSATIONS, 2, '{"id": "c2",'),
        r"conversations.jsonl:2: line: is no valid JSON: Expecting property name .*\(column 13\)",
    ),
    "bad JSON in stickers": (
        replaced(STICKERS, 3, "{'id': 's3'}"),
        r"stickers.jsonl:3: line: is no valid JSON: .*\(column 2\)|conversations.jsonl:5: sticker: 's3' is not in .*",
    ),
    "a number too long": (replaced(CONVERSATIONS, 2, DIGITS), r"conversations.jsonl:2: line: is no valid JSON: .*"),
    "a list": (replaced(CONVERSATIONS, 1, "[1]"), r"conversations.jsonl:1: line: is a JSON list, not an object"),
    "null": (replaced(CONVERSATIONS, 1, "null"), r"conversations.jsonl:1: line: is a JSON NoneType, not an object"),
    "blank line": (replaced(CONVERSATIONS, 4, "  "), r"conversations.jsonl:4: line: is blank"),
    "missing field": (changed(CONVERSATIONS, 2, usage=REMOVED), r"conversations.jsonl:2: usage: is missing"),
    "unknown field": (
        changed(CONVERSATIONS, 3, intent="joy"),
        r"conversations.jsonl:3: intent: unknown field; known are id, split, .*",
    ),
    "a field over two lines": (
        changed(STICKERS, 4, **{"a\nb": 1}),
        r"stickers.jsonl:4: a\\nb: unknown field; .*",
    ),
    "wrong type": (changed(CONVERSATIONS, 1, sender=7), r"conversations.jsonl:1: sender: is int 7, expected str"),
    "true is no number": (
        changed(CONVERSATIONS, 1, cue=True),
        r"conversations.jsonl:1: cue: is bool True, expected int",
    ),
    "a long value": (
        changed(CONVERSATIONS, 1, utterances="啊" * 5000),
        r"conversations.jsonl:1: utterances: is str '啊{1,30}\.\.\.啊{1,30}', expected list",
    ),
    "empty conversation": (
        changed(CONVERSATIONS, 6, utterances=[]),
        r"conversations.jsonl:6: utterances: is empty",
    ),
    "empty text": (
        changed(CONVERSATIONS, 2, utterances=[SAID, {"user": "七七", "text": ""}]),
        r"conversations.jsonl:2: utterances\[2\].text: is empty",
    ),
    "white-space text": (
        changed(CONVERSATIONS, 2, utterances=[{"user": "七七", "text": " \u3000"}, SAID]),
        r"conversations.jsonl:2: utterances\[1\].text: holds only white space",
    ),
    "half a character": (
        replaced(CONVERSATIONS, 2, json.dumps({"id": "\ud83d"})),
        r"conversations.jsonl:2: (id: holds half a surrogate pair, .*|\w+: is missing)",
    ),
    "an utterance without user": (
        changed(CONVERSATIONS, 2, utterances=[{"text": "好"}, SAID]),
        r"conversations.jsonl:2: utterances\[1\].user: is missing",
    ),
    "an utterance that is text": (
        changed(CONVERSATIONS, 2, utterances=[SAID, "好"]),
        r"conversations.jsonl:2: utterances\[2\]: is a JSON str, not an object",
    ),
    "unknown intention": (
        changed(CONVERSATIONS, 3, intention="happiness"),
        r"conversations.jsonl:3: intention: 'happiness' is not one of admiration, .*, neutral",
    ),
    "unknown neighbour": (
        changed(CONVERSATIONS, 3, neighbour="happiness"),
        r"conversations.jsonl:3: neighbour: 'happiness' is not one of admiration, .*, neutral",
    ),
    "unknown split": (
        changed(CONVERSATIONS, 3, split="dev"),
        r"conversations.jsonl:3: split: 'dev' is not one of train, valid, test",
    ),
    "unknown usage": (
        changed(CONVERSATIONS, 3, usage="answer"),
        r"conversations.jsonl:3: usage: 'answer' is not one of reply, supplement",
    ),
    "duplicate id": (
        changed(CONVERSATIONS, 4, id="c1"),
        r"conversations.jsonl:4: id: 'c1' stands already in line 1",
    ),
    "white space in an id": (
        changed(CONVERSATIONS, 4, id="c 4"),
        r"conversations.jsonl:4: id: 'c 4' holds white space, .*",
    ),
    "sticker of another split": (
        changed(CONVERSATIONS, 1, sticker="s4"),
        r"conversations.jsonl:1: sticker: 's4' belongs to test, not to train",
    ),
    "unknown sticker": (
        changed(CONVERSATIONS, 1, sticker="s9"),
        r"conversations.jsonl:1: sticker: 's9' is not in stickers.jsonl",
    ),
    "cue too far": (changed(CONVERSATIONS, 5, cue=3), r"conversations.jsonl:5: cue: 3 is not between 1 and 2"),
    "cue too near": (changed(CONVERSATIONS, 5, cue=0), r"conversations.jsonl:5: cue: 0 is not between 1 and 2"),
    "unknown second reading": (
        changed(CONVERSATIONS, 3, second_reading="happiness"),
        r"conversations.jsonl:3: second_reading: 'happiness' is not one of admiration, .*, neutral",
    ),
    "knowledge that is no text": (
        changed(CONVERSATIONS, 3, knowledge=["他想庆祝"]),
        r"conversations.jsonl:3: knowledge: is list \['他想庆祝'\], expected str",
    ),
    "candidates that are no list": (
        changed(CONVERSATIONS, 1, candidates="s1"),
        r"conversations.jsonl:1: candidates: is str 's1', expected list",
    ),
    "no candidates": (changed(CONVERSATIONS, 1, candidates=[]), r"conversations.jsonl:1: candidates: is empty"),
    "unknown candidate": (
        changed(CONVERSATIONS, 1, candidates=["s1", "s9"]),
        r"conversations.jsonl:1: candidates: 's9' is not in stickers.jsonl",
    ),
    "a candidate that is a number": (
        changed(CONVERSATIONS, 1, candidates=["s1", 2]),
        r"conversations.jsonl:1: candidates: 2 is not in stickers.jsonl",
    ),
    "a candidate that is a list": (
        changed(CONVERSATIONS, 1, candidates=["s1", ["s2"]]),
        r"conversations.jsonl:1: candidates: \['s2'\] is not in stickers.jsonl",
    ),
    "candidate of another split": (
        changed(CONVERSATIONS, 1, candidates=["s1", "s2", "s4"]),
        r"conversations.jsonl:1: candidates: 's4' belongs to test, not to train",
    ),
    "candidates without the sticker": (
        changed(CONVERSATIONS, 1, candidates=["s2"]),
        r"conversations.jsonl:1: candidates: repeat, or leave out the sticker that was sent",
    ),
    "candidates that repeat": (
        changed(CONVERSATIONS, 1, candidates=["s1", "s2", "s2"]),
        r"conversations.jsonl:1: candidates: repeat, or leave out the sticker that was sent",
    ),
    "sticker of no split": (
        changed(STICKERS, 2, splits=["dev"]),
        r"stickers.jsonl:2: splits: \['dev'\] are not different names of train, valid, test",
    ),
    "sticker of an unknown split too": (
        changed(STICKERS, 2, splits=["train", "dev"]),
        r"stickers.jsonl:2: splits: \['train', 'dev'\] are not different names of train, valid, test",
    ),
    "splits that are no list": (
        changed(STICKERS, 2, splits="train"),
        r"stickers.jsonl:2: splits: is str 'train', expected list",
    ),
    "splits that are lists": (
        changed(STICKERS, 2, splits=[["train"]]),
        r"stickers.jsonl:2: splits: \[\['train'\]\] are not different names of train, valid, test",
    ),
    "no splits": (changed(STICKERS, 2, splits=[]), r"stickers.jsonl:2: splits: is empty"),
    "splits left out": (changed(STICKERS, 2, splits=REMOVED), r"stickers.jsonl:2: splits: is missing"),
    "splits that repeat": (
        changed(STICKERS, 2, splits=["train", "train"]),
        r"stickers.jsonl:2: splits: \['train', 'train'\] are not different names of train, valid, test",
    ),
    "sticker of two other splits": (
        changed(STICKERS, 3, splits=["train", "test"]),
        r"conversations.jsonl:5: sticker: 's3' belongs to train, test, not to valid",
    ),
    "unknown attribute": (
        changed(STICKERS, 2, attributes={"gesture": ["挥手"], "mood": ["好"]}),
        r"stickers.jsonl:2: attributes.mood: unknown attribute; "
        r"known are gesture, posture, facial_expression, verbal",
    ),
    "an attribute that is a text": (
        changed(STICKERS, 2, attributes={"gesture": "挥手"}),
        r"stickers.jsonl:2: attributes.gesture: is '挥手', expected a list of words",
    ),
    "an attribute that holds a number": (
        changed(STICKERS, 2, attributes={"gesture": ["挥手", 3]}),
        r"stickers.jsonl:2: attributes.gesture: is \['挥手', 3\], expected a list of words",
    ),
    "an attribute that holds an empty word": (
        changed(STICKERS, 2, attributes={"verbal": [" "]}),
        r"stickers.jsonl:2: attributes.verbal: is \[' '\], expected a list of words",
    ),
    "attributes that are a list": (
        changed(STICKERS, 2, attributes=["挥手"]),
        r"stickers.jsonl:2: attributes: is list \['挥手'\], expected dict",
    ),
    "sticker without image": (changed(STICKERS, 2, image=REMOVED), r"stickers.jsonl:2: image: is missing"),
    "missing image file": (
        written("images/s3.png", None),
        r"stickers.jsonl:3: image: images/s3.png does not exist",
    ),
    "a file that is no picture": (
        written("images/s2.png", b"<svg/>"),
        r"images/s2.png: image: is no readable picture",
    ),
    "a picture cut off": (cut_in_half, r"images/s1.png: image: is no readable picture"),
    "no picture, and not in images": (outside_images, r"s1.png: image: is no readable picture"),
    "changed text": (
        lambda folder: (folder / STICKERS).write_bytes((folder / STICKERS).read_bytes() + b"\n"),
        r"stickers.jsonl: sha256: differs from manifest.json: .*|stickers.jsonl:5: line: is blank",
    ),
    "changed picture": (
        lambda folder: Image.new("RGB", (8, 8), "white").save(folder / "images/s1.png"),
        r"images/s1.png: sha256: differs from manifest.json: the file was changed",
    ),
    "not UTF-8": (
        written(CONVERSATIONS, "你".encode("gbk")),
        r"conversations.jsonl: file: is not UTF-8 at byte 0",
    ),
    "empty file": (written(CONVERSATIONS, b""), r"conversations.jsonl: file: is empty"),
    "empty stickers": (written(STICKERS, b"\n \n"), r"stickers.jsonl: file: is empty"),
    "no conversations": (written(CONVERSATIONS, None), r"conversations.jsonl: file: is missing"),
    "no stickers": (written(STICKERS, None), r"stickers.jsonl: file: is missing"),
    "no manifest": (written(MANIFEST, None, sealed=False), r"manifest.json: file: is missing"),
    "null manifest": (
        written(MANIFEST, b"null", sealed=False),
        r"manifest.json: line: is a JSON NoneType, not an object",
    ),
    "broken manifest": (
        written(MANIFEST, b'{"name":\n"x" "y"}', sealed=False),
        r"manifest.json:2: line: is no valid JSON: .*\(column 5\)",
    ),
    "manifest without licence": (manifest_with(licence=""), r"manifest.json: licence: is empty"),
    "intentions that are no names": (manifest_with(intentions=["joy", 3]), r"manifest.json: intentions: .*"),
    "intentions that repeat": (manifest_with(intentions=["joy", "joy"]), r"manifest.json: intentions: .*"),
    "unknown label policy": (
        manifest_with(label_policy="first"),
        r"manifest.json: label_policy: 'first' is not one of majority, last, all",
    ),
    "label texts that are a list": (
        manifest_with(label_texts=["喜悦"]),
        r"manifest.json: label_texts: is list \['喜悦'\], expected dict",
    ),
    "a label text that is a number": (
        manifest_with(label_texts={"joy": "喜悦", "anger": 3}),
        r"manifest.json: label_texts: holds something else than texts",
    ),
    "a label text that is empty": (
        manifest_with(label_texts={"joy": " "}),
        r"manifest.json: label_texts: holds something else than texts",
    ),
    "unlisted picture": (unlisted("images/s4.png"), r"manifest.json: files: images/s4.png is not listed"),
    "unlisted conversations": (unlisted(CONVERSATIONS), r"manifest.json: files: conversations.jsonl is not listed"),
}
"""Name of a fault to how it is made and what every problem that is reported must look like."""
SECOND_LINE = {"bad JSON in stickers", "half a character", "changed text"}
"""Faults that are rightly told in more than one line."""


@pytest.fixture
def folder(tmp_path):
    return write_dataset(tmp_path / "small")


def problems(folder):
    return [str(problem) for problem in validate(folder)]


def test_the_small_data_set_is_sound(folder):
    assert problems(folder) == []
    dataset = load_dataset(folder)
    assert [c.id for c in dataset.conversations] == ["c1", "c2", "c3", "c4", "c5", "c6"]
    assert dataset.conversations[4] == Conversation(
        "c5",
        "valid",
        (Utterance("阿泽", "第5次考试"), Utterance("七七", "过了")),
        "小满",
        "reply",
        "s3",
        "joy",
        cue=2,
    )
    assert {s.id: s.splits for s in dataset.split("train").stickers} == {"s1": ("train",), "s2": ("train",)}
    assert dataset.intentions == tuple(INTENTIONS)
    assert (dataset.label_policy, dataset.label_texts) == ("majority", {})


def test_everything_that_a_data_set_may_say_is_loaded(folder):
    attributes = {"gesture": ["挥手", "点头"], "facial_expression": [], "verbal": ["过了"]}
    changed(STICKERS, 1, splits=["test", "train"], attributes=attributes)(folder)
    changed(STICKERS, 2, splits=["train"], attributes={})(folder)
    changed(CONVERSATIONS, 1, candidates=["s2", "s1"], knowledge="他想庆祝", second_reading="anger")(folder)
    changed(CONVERSATIONS, 2, second_reading="", neighbour="", knowledge="")(folder)
    changed(CONVERSATIONS, 6, sticker="s1", candidates=["s1"], second_reading="joy", neighbour="fear")(folder)
    texts = {"joy": "喜悦", "anger": "愤怒"}
    seal(folder, intentions=["fear", "joy", "anger"], label_policy="all", label_texts=texts)
    assert problems(folder) == []
    dataset = load_dataset(folder)
    assert dataset.stickers[0] == Sticker("s1", ("test", "train"), folder / "images/s1.png", attributes)
    assert dataset.stickers[1] == Sticker("s2", ("train",), folder / "images/s2.png")
    first, second, *_, last = dataset.conversations
    assert (first.candidates, first.knowledge, first.second_reading) == (("s2", "s1"), "他想庆祝", "anger")
    assert (second.candidates, second.knowledge, second.second_reading, second.neighbour) == ((), "", "", "")
    assert (last.candidates, last.second_reading, last.neighbour) == (("s1",), "joy", "fear")
    assert (dataset.intentions, dataset.label_policy) == (("fear", "joy", "anger"), "all")
    assert dataset.label_texts == texts
    galleries = {split: [s.id for s in dataset.split(split).stickers] for split in SPLITS}
    assert galleries == {"train": ["s1", "s2"], "valid": ["s3"], "test": ["s1", "s4"]}
    for split in SPLITS:
        part = dataset.split(split)
        assert (part.label_policy, part.label_texts, part.intentions) == ("all", texts, dataset.intentions)
    # s1: joy in c1 and c3 and anger in c6, s2: anger in c2 and c4, s3: joy in c5; s4 is sent no more
    assert dataset.sticker_intentions() == {"s1": ("joy", "anger"), "s2": ("anger",), "s3": ("joy",)}
    assert dataset.split("test").sticker_intentions() == {"s1": ("anger",)}


@pytest.mark.parametrize("policy", ["majority", "last", "all"])
def test_every_label_policy_is_loaded(folder, policy):
    seal(folder, label_policy=policy, label_texts={})
    assert problems(folder) == []
    assert load_dataset(folder).label_policy == policy


@pytest.mark.parametrize("fault", ONE_FAULT)
def test_a_fault_is_reported_with_its_file_line_and_field(folder, fault):
    break_it, expected = ONE_FAULT[fault]
    break_it(folder)
    found = problems(folder)
    assert found and "\n" not in "".join(found)
    for line in found:
        assert re.fullmatch(expected, line), line
    assert fault in SECOND_LINE or len(found) == 1, found


def test_all_faults_are_found_in_one_pass(folder):
    # one fault a line: no line hides the fault of another
    changed(CONVERSATIONS, 1, sender=7)(folder)
    changed(CONVERSATIONS, 2, usage="answer", intention="happiness", second_reading="sadly")(folder)
    changed(CONVERSATIONS, 3, zeta=1, beta=1, eta=1, delta=1, alpha=2)(folder)
    changed(CONVERSATIONS, 4, sticker="s3", cue=9, candidates=["s3", "s9", "s2"])(folder)
    changed(CONVERSATIONS, 5, cue=1, utterances=[{"user": "", "text": " "}])(folder)
    changed(STICKERS, 4, splits=["dev"], attributes={"x": [], "verbal": [1]})(folder)
    replaced(CONVERSATIONS, 6, "{")(folder)
    (folder / "images/s1.png").write_bytes(b"")
    assert [line[: line.index(": ", line.index(": ") + 1)] for line in problems(folder)] == [
        "stickers.jsonl:4: splits",
        "stickers.jsonl:4: attributes.x",
        "stickers.jsonl:4: attributes.verbal",
        "conversations.jsonl:1: sender",
        "conversations.jsonl:2: usage",
        "conversations.jsonl:2: intention",
        "conversations.jsonl:2: second_reading",
        "conversations.jsonl:3: alpha",
        "conversations.jsonl:3: beta",
        "conversations.jsonl:3: delta",
        "conversations.jsonl:3: eta",
        "conversations.jsonl:3: zeta",
        "conversations.jsonl:4: sticker",
        "conversations.jsonl:4: candidates",
        "conversations.jsonl:4: candidates",
        "conversations.jsonl:4: cue",
        "conversations.jsonl:5: utterances[1].user",
        "conversations.jsonl:5: utterances[1].text",
        "conversations.jsonl:6: line",
        "images/s1.png: sha256",
        "images/s1.png: image",
    ]


def test_loading_stops_with_one_line_that_counts_the_other_problems(folder):
    changed(CONVERSATIONS, 2, usage=REMOVED)(folder)
    with pytest.raises(IntraError) as one:
        load_dataset(folder)
    assert str(one.value) == f"{folder}/conversations.jsonl:2: usage: is missing"
    changed(CONVERSATIONS, 3, sender="", intention="a//b/../c")(folder)
    changed(CONVERSATIONS, 1, split="a//b/../c")(folder)
    with pytest.raises(IntraError) as several:
        load_dataset(folder)
    first = "conversations.jsonl:1: split: 'a//b/../c' is not one of train, valid, test"
    assert str(several.value) == f"{folder}/{first} (and 3 more: intra data validate {folder})"


@pytest.mark.parametrize(
    "fault", sorted(ONE_FAULT.keys() - {"changed picture", "unlisted picture", "unlisted conversations"})
)
def test_no_fault_of_the_text_is_loaded(folder, fault):
    ONE_FAULT[fault][0](folder)
    if "picture" in fault or fault == "changed text":  # opened, or compared with the manifest, only by validate
        assert problems(folder)
        return
    with pytest.raises(IntraError) as error:
        load_dataset(folder)
    assert "\n" not in str(error.value) and str(error.value).startswith(f"{folder}/")


@pytest.mark.parametrize("mark", ["\u2028", "\x85", "\r", "😀", "\\"])
def test_marks_inside_a_text_do_not_end_its_line(folder, mark):
    said = [{"user": "阿泽", "text": f"早{mark}好"}, SAID]
    changed(CONVERSATIONS, 3, utterances=said)(folder)
    assert problems(folder) == []
    assert load_dataset(folder).conversations[2].utterances[0].text == f"早{mark}好"


@pytest.mark.parametrize("end", ["\r\n", None])
def test_line_ends_do_not_matter(folder, end):
    before = load_dataset(folder)
    text = (folder / CONVERSATIONS).read_text(encoding="utf-8")
    text = text.rstrip("\n") if end is None else text.replace("\n", end)
    (folder / CONVERSATIONS).write_bytes(text.encode())
    seal(folder)
    assert problems(folder) == []
    assert load_dataset(folder) == before


def test_a_name_that_is_no_data_set_is_told_in_one_line(tmp_path):
    for read in (load_dataset, validate):
        with pytest.raises(IntraError, match=r"replysticker: no such data set; .*replystickers$"):
            read("replysticker")
        (tmp_path / "file").write_text("")
        with pytest.raises(IntraError, match="no such data set"):
            read(tmp_path / "file")


def test_a_split_that_does_not_exist_is_refused(folder):
    with pytest.raises(ValueError, match="'dev' is not one of train, valid, test"):
        load_dataset(folder).split("dev")


def test_a_profile_keeps_the_first_conversations_of_each_split_and_their_stickers(monkeypatch, folder):
    short = dataclasses.replace(PROFILES["smoke"], conversations_per_split=1)
    monkeypatch.setitem(PROFILES, "short", short)
    kept = profile_dataset(str(folder), "short")
    assert [c.id for c in kept.conversations] == ["c1", "c5", "c6"]
    assert [s.id for s in kept.stickers] == ["s1", "s3", "s4"]  # s2 was sent in c2 and c4 only
    assert profile_dataset(str(folder), "mini") == load_dataset(folder)


def test_a_profile_keeps_candidates_and_what_the_manifest_says(monkeypatch, folder):
    short = dataclasses.replace(PROFILES["smoke"], conversations_per_split=1)
    monkeypatch.setitem(PROFILES, "short", short)
    changed(STICKERS, 3, splits=["train", "valid"])(folder)
    changed(CONVERSATIONS, 1, candidates=["s2", "s1"])(folder)
    changed(CONVERSATIONS, 3, candidates=["s1", "s3"])(folder)  # not kept
    texts = {"joy": "喜悦"}
    seal(folder, label_policy="last", label_texts=texts)
    kept = profile_dataset(str(folder), "short")
    assert [c.id for c in kept.conversations] == ["c1", "c5", "c6"]
    assert [s.id for s in kept.stickers] == ["s1", "s2", "s3", "s4"]
    assert (kept.label_policy, kept.label_texts) == ("last", texts)


def test_an_unknown_profile_is_one_line_with_the_nearest_one(folder):
    with pytest.raises(IntraError) as error:
        profile_dataset(str(folder), "mimi")
    assert (
        str(error.value)
        == "unknown profile 'mimi' (did you mean 'mini'?); known are base, clip, mini, paper, served, smoke"
    )


# --- the intentions of a sticker ------------------------------------------------------------------------------


def labelled(*pairs, intentions=("joy", "anger", "fear"), policy="majority"):
    conversations = tuple(
        Conversation(f"c{n}", "train", (Utterance("a", "b"),), "a", "reply", sticker, intention)
        for n, (sticker, intention) in enumerate(pairs)
    )
    return Dataset("d", "1", conversations, (), intentions, policy)


SENT = (
    ("s1", "fear"), ("s1", "joy"), ("s1", "fear"),  # fear twice, joy once, fear last
    ("s2", "fear"), ("s2", "anger"), ("s2", "fear"), ("s2", "anger"),  # a tie: anger comes earlier in the list
    ("s3", "joy"), ("s3", "fear"), ("s3", "fear"), ("s3", "joy"), ("s3", "anger"),  # a tie of two of the three
    ("s4", "fear"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "labels"),
    [
        ("majority", {"s1": ("fear",), "s2": ("anger",), "s3": ("joy",), "s4": ("fear",)}),
        ("last", {"s1": ("fear",), "s2": ("anger",), "s3": ("anger",), "s4": ("fear",)}),
        ("all", {"s1": ("joy", "fear"), "s2": ("anger", "fear"), "s3": ("joy", "anger", "fear"), "s4": ("fear",)}),
    ],
)
def test_a_sticker_has_its_intentions_by_the_label_policy(policy, labels):
    assert labelled(*SENT, policy=policy).sticker_intentions() == labels
    assert "s5" not in labelled(*SENT, policy=policy).sticker_intentions()


def test_the_intentions_of_a_sticker_depend_on_the_order_of_conversations_under_last_alone():
    rng = np.random.default_rng(0)
    names = ("a", "b", "c", "d")
    moved = 0
    for _ in range(50):
        pairs = [(f"s{rng.integers(3)}", names[rng.integers(4)]) for _ in range(12)]
        shuffled = [pairs[i] for i in rng.permutation(len(pairs))]
        commonest, every = {}, {}
        for sticker in {s for s, _ in pairs}:
            best = None
            for name in names:  # a strictly larger count wins, so the earlier name keeps a tie
                count = sum(pair == (sticker, name) for pair in pairs)
                if best is None or count > best[1]:
                    best = (name, count)
                if count:
                    every[sticker] = (*every.get(sticker, ()), name)
            commonest[sticker] = (best[0],)
        for order in (pairs, shuffled):
            assert labelled(*order, intentions=names).sticker_intentions() == commonest
            assert labelled(*order, intentions=names, policy="all").sticker_intentions() == every
            last = {sticker: (name,) for sticker, name in order}  # a later entry replaces an earlier one
            assert labelled(*order, intentions=names, policy="last").sticker_intentions() == last
        moved += dict(pairs) != dict(shuffled)
    assert moved > 25


# --- the data set of a run ------------------------------------------------------------------------------------


def test_a_run_has_the_data_of_its_profile_by_default(folder):
    assert config_dataset(RunConfig(dataset=str(folder))) == profile_dataset(str(folder), "mini")
    assert config_dataset(RunConfig(profile="smoke")) == profile_dataset("replystickers", "smoke")


@pytest.mark.parametrize("own", ["majority", "last", "all"])
def test_a_run_may_have_a_label_policy_of_its_own(own, folder):
    seal(folder, label_policy=own)
    # s1 was sent for joy twice, s2 for anger twice; now s1 was last sent for anger
    changed(CONVERSATIONS, 3, intention="anger")(folder)
    seal(folder, label_policy=own)
    expected = {"majority": ("anger",), "last": ("anger",), "all": ("joy", "anger")}
    names = load_dataset(folder).intentions
    expected = {policy: tuple(sorted(labels, key=names.index)) for policy, labels in expected.items()}
    tie = min("joy", "anger", key=names.index)
    expected["majority"] = (tie,)  # once each
    for policy in ("dataset", "majority", "last", "all"):
        labels = config_dataset(RunConfig(dataset=str(folder), label_policy=policy)).sticker_intentions()
        assert labels["s1"] == expected[own if policy == "dataset" else policy]
        assert labels["s4"] == ("anger",)


@pytest.mark.parametrize("policy", ["majority", "last", "all"])
def test_where_the_gallery_is_all_every_conversation_decides_what_a_sticker_means(policy):
    """Validation and test have every sticker; training keeps its own, with the labels of its own conversations."""
    rng, names = np.random.default_rng(0), ("a", "b", "c")
    differs = 0
    for _ in range(30):
        stickers, conversations = {}, []
        for number in range(20):
            split, sticker = rng.choice(SPLITS), f"s{rng.integers(5)}"
            stickers.setdefault(sticker, set()).add(str(split))
            words = (Utterance("u", "w"),)
            conversations.append(
                Conversation(f"c{number}", str(split), words, "u", "reply", sticker, names[rng.integers(3)])
            )
        held = tuple(Sticker(name, tuple(splits), None) for name, splits in stickers.items())
        held += (Sticker("unused", ("valid",), None),)
        dataset = Dataset("d", "1", tuple(conversations), held, names, policy)
        wide = dataclasses.replace(dataset, gallery="all")

        def meant(sent):
            labels = {}
            for sticker in {c.sticker for c in sent}:
                told = [c.intention for c in sent if c.sticker == sticker]
                commonest = max(names, key=lambda name: (told.count(name), -names.index(name)))
                every = tuple(name for name in names if name in told)
                labels[sticker] = {"majority": (commonest,), "last": (told[-1],), "all": every}[policy]
            return labels

        assert wide.split("train") == dataclasses.replace(dataset.split("train"), gallery="all")
        assert wide.split("train").sticker_intentions() == meant([c for c in conversations if c.split == "train"])
        for split in ("valid", "test"):
            assert wide.split(split).conversations == dataset.split(split).conversations
            assert wide.split(split).stickers == held
            assert wide.split(split).sticker_intentions() == meant(conversations)
            differs += meant(conversations) != dataset.split(split).sticker_intentions()
    assert differs > 30


# --- ReplyStickers --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dataset():
    return load_dataset()


def plan(name):
    with (FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def test_replystickers_is_sound(dataset):
    assert problems("replystickers") == []
    assert intra.load_dataset("replystickers") == dataset


SIZES = {
    # conversations, stickers, utterances: Table I
    "train": (1269, 774, 8745),
    "valid": (155, 127, 1105),
    "test": (154, 124, 1216),
}


@pytest.mark.parametrize("split", SPLITS)
def test_replystickers_has_its_full_size(dataset, split):
    part = dataset.split(split)
    utterances = sum(len(c.utterances) for c in part.conversations)
    assert (len(part.conversations), len(part.stickers), utterances) == SIZES[split]


@pytest.mark.parametrize("split", SPLITS)
def test_every_intention_occurs_in_every_split(dataset, split):
    counts = Counter(c.intention for c in dataset.split(split).conversations)
    assert counts.keys() == INTENTIONS.keys() and min(counts.values()) >= 2


def bare(conversation):
    """Letters and digits of the utterances, a text each."""
    return tuple("".join(c for c in u.text if c.isalnum()) for u in conversation.utterances)


def test_no_conversation_is_repeated(dataset):
    texts = defaultdict(list)
    for conversation in dataset.conversations:
        texts[bare(conversation)].append(conversation.id)
    assert [ids for ids in texts.values() if len(ids) > 1] == []


def test_splits_share_neither_stickers_nor_captions(dataset):
    sent, captions = defaultdict(set), defaultdict(set)
    for conversation in dataset.conversations:
        sent[conversation.sticker].add(conversation.split)
    for sticker in dataset.stickers:
        sent[sticker.id] |= set(sticker.splits)
        if caption := sticker.specification["caption"]:
            captions[caption].update(sticker.splits)
    assert all(len(splits) == 1 for splits in [*sent.values(), *captions.values()])
    assert len(captions) > 50


def test_stickers_are_varied(dataset):
    drawn = [sticker.specification for sticker in dataset.stickers]
    least = {"character": 30, "style": 4, "expression": 16, "gesture": 14, "posture": 10}
    found = {field: len({each[field] for each in drawn}) for field in least}
    assert all(found[field] >= count for field, count in least.items()), found
    assert sum(bool(each["caption"].strip()) for each in drawn) > len(drawn) / 2


def test_every_sticker_is_used(dataset):
    assert {s.id for s in dataset.stickers} == {c.sticker for c in dataset.conversations}
    assert dataset.sticker_intentions().keys() == {s.id for s in dataset.stickers}


def place_of_cue(conversation):
    back = len(conversation.utterances) - conversation.cue  # 0 for the last utterance
    if back == 0:
        return "last"
    if back <= 2:
        return "2-3 back"
    return "4-6 back" if back <= 5 else "earlier"


def test_conversations_agree_with_their_row_of_the_plan(dataset):
    rows = plan("quota")
    for c in dataset.conversations:
        row = rows[c.id]
        fields = ("split", "intention", "neighbour", "topic", "usage", "sticker", "thread")
        assert {f: getattr(c, f) for f in fields} == {f: row[f] for f in fields}, c.id
        assert len(c.utterances) == int(row["utterances"]), c.id
        assert sorted(c.users) == sorted(row["users"].split("|")), c.id
        assert c.sender in row["users"].split("|"), c.id
        assert place_of_cue(c) == row["cue"], c.id
        # a supplement follows the sender's own words, a reply does not
        assert (c.utterances[-1].user == c.sender) == (c.usage == "supplement"), c.id
    assert {c.id for c in dataset.conversations} == rows.keys()


def test_stickers_agree_with_their_row_of_the_plan(dataset):
    rows = plan("stickers")
    shown = set(STICKER_COLUMNS) - {"id", "split", "intention"}
    for sticker in dataset.stickers:
        row = rows[sticker.id]
        assert sticker.splits == (row["split"],)
        assert sticker.image == REPLYSTICKERS / "images" / f"{sticker.id}.webp"
        assert {name: str(value) for name, value in sticker.specification.items()} == {f: row[f] for f in shown}
    assert {s.id for s in dataset.stickers} == rows.keys()
    assert dataset.sticker_intentions() == {identifier: (row["intention"],) for identifier, row in rows.items()}


def test_conversations_of_test_alone_are_rendered_in_english(dataset):
    for c in dataset.conversations:
        rendered = [bool(u.english.strip()) for u in c.utterances]
        assert all(rendered) if c.split == "test" else not any(rendered), c.id


def test_long_utterances_are_not_reused(dataset):
    found = defaultdict(set)
    for c in dataset.conversations:
        for u in c.utterances:
            if len(u.text) >= 8:
                found[u.text].add(c.id)
    assert len(found) > 500
    assert {text: ids for text, ids in found.items() if len(ids) > 3} == {}


def test_conversations_do_not_name_their_intention(dataset):
    words = json.loads((FOLDER / "label_words.json").read_text(encoding="utf-8"))
    assert words.keys() == INTENTIONS.keys()
    naming = [
        c.id
        for c in dataset.conversations
        if any(word in u.text for word in [INTENTIONS[c.intention], *words[c.intention]] for u in c.utterances)
    ]
    assert len(naming) <= 0.05 * len(dataset.conversations), naming


def thumbnail(image):
    """12 x 12 colours on white, less their mean, of length one: products of two are correlations."""
    canvas = Image.new("RGBA", image.size, "white")
    canvas.alpha_composite(image.convert("RGBA"))
    small = np.asarray(canvas.convert("RGB").resize((12, 12), Image.Resampling.BOX), dtype=float)
    vector = (small - small.mean(axis=(0, 1))).ravel()
    return vector / np.linalg.norm(vector)


def moved_copy(image):
    """What nobody should find in another split: the same picture, smaller, moved and duller."""
    copy = Image.new("RGBA", image.size, "white")
    copy.paste(image.resize([round(0.97 * side) for side in image.size]), (3, 3))
    return copy.point(lambda value: int(0.9 * value))


def test_no_sticker_is_nearly_one_of_another_split(dataset):
    originals, copies = [], []
    for number, sticker in enumerate(dataset.stickers):
        with Image.open(sticker.image) as image:
            originals.append(thumbnail(image))
            if number % 8 == 0:
                copies.append(thumbnail(moved_copy(image.convert("RGBA"))))
    originals, copies = np.array(originals), np.array(copies)
    nearly = 0.95
    assert ((originals[::8] * copies).sum(axis=1) > nearly).mean() > 0.97  # so the check does find copies
    splits = np.array([s.splits[0] for s in dataset.stickers])
    near = np.triu((originals @ originals.T > nearly) & (splits[:, None] != splits))
    assert [(dataset.stickers[one].id, dataset.stickers[other].id) for one, other in np.argwhere(near)] == []


def chance_of_order(labels, seed):
    """How often a shuffled order tells as much about the labels as this one does (two ways; the rarer counts)."""
    rng = np.random.default_rng(seed)
    _, numbers = np.unique(labels, return_inverse=True)
    counts = np.bincount(numbers)
    ranks = np.arange(len(numbers)) - (len(numbers) - 1) / 2

    def told(order):
        adjacent = (order[1:] == order[:-1]).sum()  # runs of one label
        means = np.bincount(order, weights=ranks) / counts
        return np.array([adjacent, (counts * means**2).sum()])  # labels that gather at one end (Kruskal-Wallis)

    drawn = np.array([told(rng.permutation(numbers)) for _ in range(999)])
    return min((1 + (drawn >= told(numbers)).sum(axis=0)) / 1000)


def test_ids_and_file_order_say_nothing_about_labels(dataset):
    stickers = dataset.sticker_intentions()
    in_file = [stickers[s.id][0] for s in dataset.stickers]
    by_id = [stickers[s][0] for s in sorted(stickers)]
    splits = [s.splits[0] for s in sorted(dataset.stickers, key=lambda s: s.id)]
    for labels in (in_file, by_id, splits, [c.intention for c in dataset.conversations]):
        assert chance_of_order(labels, 0) > 0.005
    # an order that does tell something is caught: sorted labels, and labels that take turns of three
    assert chance_of_order(sorted(by_id), 0) <= 0.002
    turned = sorted(range(len(by_id)), key=lambda i: (sorted(by_id)[i] > "fear", i % 7))
    assert chance_of_order([sorted(by_id)[i] for i in turned], 0) <= 0.002


def test_splits_partition_the_data_set(dataset):
    parts = [dataset.split(split) for split in SPLITS]
    assert sorted(c.id for part in parts for c in part.conversations) == sorted(c.id for c in dataset.conversations)
    assert sorted(s.id for part in parts for s in part.stickers) == sorted(s.id for s in dataset.stickers)
    for part in parts:
        assert {c.sticker for c in part.conversations} <= {s.id for s in part.stickers}
