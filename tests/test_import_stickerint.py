"""StickerInt into the native layout: what the released loaders read, and every fault told in the report."""

import base64
import importlib
import io
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import lmdb
import numpy as np
import pytest
from PIL import Image

from intra.cli import main
from intra.data import Conversation, Utterance, load_dataset, validate
from intra.data.importers import import_dataset
from intra.data.importers.native import ImportOptions
from intra.data.importers.report import REPORT
from intra.errors import IntraError
from intra.evaluation import make_qrels

# --- small source folders, written by the specification --------------------------------------------------------

LABELS = "0\tjoy\t开心\n1\tanger\t生气\n2\tconfusion\t困惑\n"
TEXT = "User3\t今天的雨好大[SEP]User5\t我没带伞[SEP]User3\t那等会儿一起走[SEP]"
LINE = {
    "textid": 7,
    "text": TEXT,
    "image_ids": ["grpa_12"],
    "style": "cartoon",
    "form": "static",
    "coarse_intent": "positive",
    "fined_intent": "Joy",
    "intent_zh": "开心",
    "keyword": "双手比心,站立,微笑,谢谢",
    "speaker": "User5",
    "comet": "想要表示感谢",
    "response": "",
}
TUPLE = "image_id textid text style form coarse_intent fined_intent intent_zh keyword speaker comet".split()
UTTERANCES = (
    Utterance("User3", "今天的雨好大"),
    Utterance("User5", "我没带伞"),
    Utterance("User3", "那等会儿一起走"),
)
FIRST = Conversation(
    "train-7-grpa_12", "train", UTTERANCES, "User5", "reply", "grpa_12", "joy", knowledge="想要表示感谢"
)
EXPECTED_NOISE = ("other size than Table I", "there is no such split")
"""What every data set gives that is smaller than StickerInt."""


def picture(number=0, format="PNG"):
    """An image file whose pixels are noise, so that its base64 text has every letter."""
    pixels = np.random.default_rng(number).integers(0, 255, (9, 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format)
    return file.getvalue()


def line(**changes):
    return json.dumps(LINE | changes, ensure_ascii=False)


def write_source(folder, *, pictures=None, labels=LABELS, **lines):
    """Write the text layout; `lines` are those of each split, `pictures` id to bytes, or to base64 text."""
    folder.mkdir()
    (folder / "intent_label.txt").write_text(labels, encoding="utf-8")
    for split, content in lines.items():
        text = "".join(f"{each}\n" for each in content)
        (folder / f"{split}_contexts_total_key.jsonl").write_text(text, encoding="utf-8")
    rows = {"grpa_12": picture()} if pictures is None else pictures
    text = "".join(
        f"{name}\t{base64.b64encode(data).decode() if isinstance(data, bytes) else data}\n"
        for name, data in rows.items()
    )
    (folder / "train_imgs.tsv").write_text(text, encoding="utf-8")
    return folder


def write_lmdb(path, entries):
    path.mkdir(parents=True)
    with lmdb.open(str(path)) as database, database.begin(write=True) as transaction:
        for key, value in entries.items():
            transaction.put(str(key).encode(), value)


def pairs(*records):
    """Entries of an LMDB `pairs`; a record that is no dict is a value as it is."""
    values = [
        pickle.dumps(tuple(r[name] for name in TUPLE)) if isinstance(r, dict) else r
        for r in ({**each, "image_id": each["image_ids"][0]} if isinstance(each, dict) else each for each in records)
    ]
    return dict(enumerate(values)) | {"num_samples": str(len(values)).encode()}


def images(**pictures):
    encoded = {name: base64.urlsafe_b64encode(data) for name, data in pictures.items()}
    return encoded | {"num_images": str(len(encoded)).encode()}


def write_lmdb_source(folder, layout="common", **splits):
    """Write the LMDB layout: `imgs` beside the `pairs` of each split, or one for all."""
    folder.mkdir()
    (folder / "intent_label.txt").write_text(LABELS, encoding="utf-8")
    root = folder / "lmdb_grpa"
    for split, entries in splits.items():
        write_lmdb(root / split / "pairs", entries)
        if layout == "beside":
            write_lmdb(root / split / "imgs", images(grpa_12=picture()))
    if layout == "common":
        write_lmdb(root / "imgs", images(grpa_12=picture()))
    return folder


# --- what every import is held to; the tests of other formats use it too --------------------------------------


def load_import(out):
    """The data set of an import, once it is sound."""
    assert [str(problem) for problem in validate(out)] == []
    return load_dataset(out)


def remarks(out, *noise):
    """Lines of the report as `kind place: what: detail`, without those that every small data set gives."""
    lines = (out / REPORT).read_text(encoding="utf-8").splitlines()
    return [each.replace("\t", " ", 1) for each in lines if not any(word in each for word in noise)]


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


def refuse(format, source, out, **options):
    """The one line that an import is refused with, after which nothing is left of it."""
    before = left_in(out.parent)
    with pytest.raises(IntraError) as error:
        import_dataset(format, source, out, ImportOptions(**options))
    assert left_in(out.parent) == before
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def do_import(tmp_path, out):
    def run(folder, **options):
        import_dataset("stickerint", folder, out, ImportOptions(**options))
        return load_import(out), remarks(out, *EXPECTED_NOISE)

    return run


@pytest.fixture
def import_lines(tmp_path, do_import):
    """Import lines of the training split."""

    def run(*lines, pictures=None, **options):
        return do_import(write_source(tmp_path / "source", train=lines, pictures=pictures), **options)

    return run


def test_the_example_of_the_specification_gives_exactly_its_conversation(import_lines):
    dataset, remarks = import_lines(line())
    assert remarks == []
    assert dataset.conversations == (FIRST,)
    assert dataset.conversations[0].users == {"User3", "User5"}
    assert dataset.intentions == ("joy", "anger", "confusion")
    assert dataset.label_texts == {"joy": "开心", "anger": "生气", "confusion": "困惑"}
    assert (dataset.name, dataset.label_policy) == ("StickerInt", "majority")
    (sticker,) = dataset.stickers
    assert (sticker.id, sticker.splits, sticker.image.name) == ("grpa_12", ("train",), "grpa_12.png")
    assert sticker.image.read_bytes() == picture()
    assert sticker.attributes == {
        "gesture": ["双手比心"],
        "posture": ["站立"],
        "facial_expression": ["微笑"],
        "verbal": ["谢谢"],
    }


def test_the_order_of_labels_is_that_of_their_ids(tmp_path, do_import):
    labels = "\ufeff2\tconfusion\t\n\n0\tJoy\t开心\r\n1\tanger\t生气\n"
    dataset, _ = do_import(write_source(tmp_path / "source", labels=labels, train=[line()]))
    assert dataset.intentions == ("joy", "anger", "confusion")
    assert dataset.label_texts == {"joy": "开心", "anger": "生气"}


def test_a_gap_between_the_ids_of_labels_is_noted(tmp_path, do_import):
    _, remarks = do_import(write_source(tmp_path / "source", labels="0\tjoy\t开心\n2\tanger\t生气\n", train=[line()]))
    assert remarks == ["noted intent_label.txt: ids do not run from 0 without a gap: [0, 2]"]


@pytest.mark.parametrize(
    "labels", ["0\tjoy\n", "x\tjoy\t开心\n", "0\tjoy\t开心\n0\tanger\t生气\n", "0\tjoy\t开心\n1\tJOY\t乐\n", "1" * 5000]
)
def test_a_broken_list_of_labels_is_refused_with_its_line(tmp_path, out, labels):
    message = refuse("stickerint", write_source(tmp_path / "source", labels=labels, train=[line()]), out)
    assert f"intent_label.txt:{labels.count(chr(10)) or 1}: " in message


# --- text ------------------------------------------------------------------------------------------------------

OWN_WORDS = {"with the user": "User5\t谢谢你", "alone": "谢谢你"}


@pytest.mark.parametrize("own", OWN_WORDS.values(), ids=OWN_WORDS)
def test_what_follows_the_last_separator_is_kept_as_the_senders_words(import_lines, own):
    dataset, remarks = import_lines(line(text=TEXT + own))
    assert remarks == []
    assert dataset.conversations[0].utterances == (*UTTERANCES, Utterance("User5", "谢谢你"))
    assert dataset.conversations[0].usage == "supplement"


@pytest.mark.parametrize("own", OWN_WORDS.values(), ids=OWN_WORDS)
def test_what_follows_the_last_separator_is_dropped_on_request(import_lines, own):
    dataset, remarks = import_lines(line(text=TEXT + own), own_words="drop")
    assert dataset.conversations == (FIRST,)
    (remark,) = remarks
    assert remark.startswith("skipped train_contexts_total_key.jsonl:1: text: what follows the last [SEP]")
    assert remark.endswith("谢谢你")


def test_the_usage_is_told_by_who_has_the_last_word_that_is_none_empty(import_lines):
    dataset, remarks = import_lines(
        line(text="User3\t早[SEP]User5\t早[SEP]"),
        line(textid=8, text="User3\t早[SEP]User5\t  [SEP]"),
        line(textid=9, text=TEXT + "User5\t"),
    )
    assert [c.usage for c in dataset.conversations] == ["supplement", "reply", "reply"]
    assert remarks == [f"skipped train_contexts_total_key.jsonl:{n}: empty utterance" for n in (2, 3)]


def test_a_turn_without_a_tab_is_given_to_the_user_before(import_lines):
    dataset, remarks = import_lines(line(text="真的[SEP]User3\t今天[SEP]的雨好大[SEP]"))
    assert dataset.conversations[0].utterances == (
        Utterance("User", "真的"),
        Utterance("User3", "今天"),
        Utterance("User3", "的雨好大"),
    )
    place = "repaired train_contexts_total_key.jsonl:1: text: turn without a user given to the one before"
    assert remarks == [f"{place}: 真的", f"{place}: 的雨好大"]


def test_half_a_surrogate_pair_is_replaced_and_reported(import_lines):
    changes = {"text": "User\ud83d\t好\ud83d[SEP]", "comet": "\ud83d", "speaker": "User\ud83d", "keyword": "\ud83d,,,"}
    dataset, remarks = import_lines(json.dumps(LINE | changes))
    (conversation,) = dataset.conversations
    assert conversation.utterances == (Utterance("User?", "好?"),)
    assert (conversation.sender, conversation.knowledge, conversation.usage) == ("User?", "?", "supplement")
    assert dataset.stickers[0].attributes == {"gesture": ["?"]}
    place = "repaired train_contexts_total_key.jsonl:1: half a surrogate pair replaced"
    assert sorted(remarks) == sorted([f"{place}: {said}" for said in ("User?", "好?", "User?", "?", "?")])


def test_marks_that_end_lines_elsewhere_stay_in_the_text(import_lines):
    dataset, _ = import_lines(line(text="User3\t早\u2028好\x85😀[SEP]"))
    assert dataset.conversations[0].utterances == (Utterance("User3", "早\u2028好\x85😀"),)


# --- lines -----------------------------------------------------------------------------------------------------


def test_a_python_literal_is_read_and_reported(import_lines):
    dataset, remarks = import_lines(str(LINE), "  " + repr(LINE | {"textid": "8"}))
    assert [c.id for c in dataset.conversations] == ["train-7-grpa_12", "train-8-grpa_12"]
    assert dataset.conversations[0] == FIRST
    place = "repaired train_contexts_total_key.jsonl"
    assert remarks == [f"{place}:{n}: Python literal read instead of JSON" for n in (1, 2)]


def test_each_image_id_of_a_line_gives_one_sample(import_lines):
    dataset, remarks = import_lines(
        line(image_ids=["grpa_12", "grpa_13", "grpa_12"]), pictures={"grpa_12": picture(), "grpa_13": picture(1)}
    )
    assert [c.id for c in dataset.conversations] == ["train-7-grpa_12", "train-7-grpa_13"]
    assert remarks == ["refused train_contexts_total_key.jsonl:1: repeated id: train-7-grpa_12"]


def test_the_same_text_id_in_two_splits_is_no_repetition(tmp_path, do_import):
    dataset, remarks = do_import(write_source(tmp_path / "source", train=[line()], test=[line()]))
    assert [c.id for c in dataset.conversations] == ["train-7-grpa_12", "test-7-grpa_12"]
    assert dataset.stickers[0].splits == ("train", "test")
    assert remarks == ["noted stickers.jsonl: sticker in several splits: grpa_12: test, train"]


FILE = "refused train_contexts_total_key.jsonl:2"
NO_JSON = f"{FILE}: line is neither JSON nor a Python literal"
FAULTY_LINES = {
    "bad JSON": ('{"textid": 7,', NO_JSON),
    "a call": ("__import__('os').getcwd()", NO_JSON),
    "a key that cannot be one": ("{[1]: 2}", NO_JSON),
    "a deep list": ("[" * 100_000, NO_JSON),
    "a long number": ("1" * 5000, NO_JSON),
    "a list": ("[1]", f"{FILE}: line lacks a field: an object"),
    "null": ("null", f"{FILE}: line lacks a field: an object"),
    "missing fields": ('{"textid": 7}', f"{FILE}: line lacks a field: coarse_intent, comet, fined_intent, form, "),
    "a text that is none": (line(text=None), f"{FILE}: text: is no text: NoneType"),
    "a label that is no text": (line(fined_intent=3), f"{FILE}: fined_intent: is no text: int"),
    "a sender that is no text": (line(speaker=["User5"]), f"{FILE}: speaker: is no text: list"),
    "keywords in a list": (line(keyword=["a"] * 4), f"{FILE}: keyword: is no text: list"),
    "knowledge that is no text": (line(comet={}), f"{FILE}: comet: is no text: dict"),
    "one image id": (line(image_ids="grpa_12"), f"{FILE}: image_ids: is empty, or no list of ids"),
    "no image id": (line(image_ids=[]), f"{FILE}: image_ids: is empty, or no list of ids"),
    "an image id that is none": (line(image_ids=[None]), f"{FILE}: image_ids: is no id"),
    "an empty image id": (line(image_ids=[" "]), f"{FILE}: image_ids: is no id"),
    "a text id that is none": (line(textid=None), f"{FILE}: textid: is no id"),
    "white space in a text id": (line(textid="a b"), f"{FILE}: id is empty or holds white space: 'train-a b-grpa_12'"),
    "half a character in a text id": (
        json.dumps(LINE | {"textid": "\ud83d"}),
        f"{FILE}: id is empty or holds white space: 'train-\\ud83d-grpa_12'",
    ),
    "no utterance": (line(textid=8, text=""), f"{FILE}: no utterance before the sticker"),
    "no sender": (line(textid=8, speaker=" "), f"{FILE}: no sender"),
    "a repeated id": (line(), f"{FILE}: repeated id: train-7-grpa_12"),
    "an unknown label": (line(textid=8, fined_intent="Entertain"), f"{FILE}: unknown label: 'entertain'"),
    "a label without a letter": (line(textid=8, fined_intent=" "), f"{FILE}: unknown label: ''"),
    "half a character as label": (
        json.dumps(LINE | {"textid": 8, "fined_intent": "\ud83d"}),
        f"{FILE}: unknown label: '\\ud83d'",
    ),
    "a missing picture": (line(image_ids=["grpa_99"]), f"{FILE}: sticker without a picture: grpa_99"),
    "a copy in another style": (
        line(image_ids=["grpa_12+real.jpg"]),
        "skipped train_contexts_total_key.jsonl:2: copy in another style: grpa_12+real.jpg",
    ),
}


@pytest.mark.parametrize("fault", FAULTY_LINES)
def test_a_faulty_line_is_left_out_with_its_place_and_reason(import_lines, fault):
    faulty, expected = FAULTY_LINES[fault]
    dataset, remarks = import_lines(line(), faulty, line(textid=70), "")
    assert [c.id for c in dataset.conversations] == ["train-7-grpa_12", "train-70-grpa_12"]
    assert any(remark.startswith(expected) for remark in remarks), remarks
    assert all(remark.startswith(expected.split(": ")[0]) or remark == expected for remark in remarks), remarks


def test_a_line_that_is_not_utf_8_is_left_out(tmp_path, do_import):
    folder = write_source(tmp_path / "source", train=[line()])
    with (folder / "train_contexts_total_key.jsonl").open("ab") as file:
        file.write("你".encode("gbk") + b"\n")
    dataset, remarks = do_import(folder)
    assert dataset.conversations == (FIRST,)
    assert len(remarks) == 1 and remarks[0].startswith(NO_JSON)


# --- keywords --------------------------------------------------------------------------------------------------

NAMES = ("gesture", "posture", "facial_expression", "verbal")
KEYWORDS = {
    "比心,站立,微笑,谢谢": (["比心", "站立", "微笑", "谢谢"], None),
    "比心,,微笑,": (["比心", "", "微笑", ""], None),
    "比心, 站立 ,微笑,好，谢谢": (["比心", "站立", "微笑", "好，谢谢"], None),
    "比心,站立,微笑": (None, "refused {}: fewer than four keywords; the sticker is kept: {}"),
    "": (None, "refused {}: fewer than four keywords; the sticker is kept"),
    "比心，站立,微笑，谢谢": (
        ["比心", "站立", "微笑", "谢谢"],
        "repaired {}: full-width comma read as a separator: {}",
    ),
    "比心,站立,微笑,好,谢谢": (
        ["比心", "站立", "微笑", "好，谢谢"],
        "repaired {}: more than four keywords; the surplus is verbal: {}",
    ),
}


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_keywords_other_than_four_are_repaired_or_refused(import_lines, keyword):
    expected, remark = KEYWORDS[keyword]
    dataset, remarks = import_lines(line(keyword=keyword))
    found = dataset.stickers[0].attributes
    assert found == ({name: [word] for name, word in zip(NAMES, expected, strict=True) if word} if expected else {})
    place = "train_contexts_total_key.jsonl:1: keyword"
    assert remarks == ([remark.format(place, keyword)] if remark else [])


def test_the_first_keywords_of_a_sticker_count(import_lines):
    dataset, remarks = import_lines(
        line(keyword="a"), line(textid=8, keyword="a,b,c,d"), line(textid=9, keyword="a,b,c,e")
    )
    assert dataset.stickers[0].attributes["verbal"] == ["d"]
    assert [remark.split(": ", 1)[1] for remark in remarks] == [
        "keyword: fewer than four keywords; the sticker is kept: a",
        "other attributes than before; the first count: grpa_12",
    ]


# --- pictures --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode], ids=["standard", "URL-safe"])
@pytest.mark.parametrize("padding", [True, False], ids=["padded", "unpadded"])
def test_both_alphabets_of_base64_are_read(import_lines, encode, padding):
    data = next(
        data for number in range(99) if {*b"+/="} <= {*base64.b64encode(data := picture(number))}
    )  # has every letter that differs
    text = encode(data).decode()
    dataset, remarks = import_lines(line(), pictures={"grpa_12": text if padding else text.rstrip("=")})
    assert remarks == []
    assert dataset.stickers[0].image.read_bytes() == data


@pytest.mark.parametrize(
    ("format", "suffix"),
    {"PNG": "png", "GIF": "gif", "WEBP": "webp", "JPEG": "jpg", "BMP": "bmp", "TIFF": "tif"}.items(),
)
def test_a_picture_keeps_its_bytes_and_gets_the_suffix_of_its_format(import_lines, format, suffix):
    dataset, _ = import_lines(line(), pictures={"grpa_12": picture(format=format)})
    assert dataset.stickers[0].image.name == f"grpa_12.{suffix}"
    assert dataset.stickers[0].image.read_bytes() == picture(format=format)


BROKEN_PICTURES = {
    "none": (None, "picture is missing: grpa_13"),
    "cut off": (picture()[:-90], "picture cannot be read: grpa_13: "),
    "no picture": (b"<svg/>", "picture cannot be read: grpa_13: no image file"),
    "empty": (b"", "picture cannot be read: grpa_13: no image file"),
    "no base64": ("***", "picture cannot be read: grpa_13: no base64 text: "),
    "of another format": (picture(format="PPM"), "picture of a format that is not supported: grpa_13: PPM"),
}


@pytest.mark.parametrize("fault", BROKEN_PICTURES)
def test_a_sticker_without_a_usable_picture_is_left_out(import_lines, out, fault):
    data, expected = BROKEN_PICTURES[fault]
    pictures = {"grpa_12": picture()} | ({} if data is None else {"grpa_13": data})
    dataset, remarks = import_lines(line(), line(image_ids=["grpa_13"]), pictures=pictures)
    assert dataset.conversations == (FIRST,)
    assert left_in(out / "images") == ["grpa_12.png"]
    first, second = remarks
    assert first.startswith(f"{FILE}: {expected}")
    assert second == f"{FILE}: sticker without a picture: grpa_13"


def test_copies_in_another_style_are_skipped_by_their_suffix_only(import_lines):
    kept = ["real_1", "people", "grpa_2+real", "grpa_3+other.jpg", "cartoon+real.jpg_4"]
    copies = [f"grpa_12+{style}.jpg" for style in ("real", "people", "animal", "cartoon")]
    dataset, remarks = import_lines(
        line(image_ids=["grpa_12", *kept]), pictures=dict.fromkeys(["grpa_12", *kept, *copies], picture())
    )
    assert [s.id for s in dataset.stickers] == ["grpa_12", *kept]
    assert remarks == [
        f"skipped train_imgs.tsv:{number}: copy in another style: {copy}" for number, copy in enumerate(copies, 7)
    ]


def test_rows_of_pictures_that_are_none_are_reported_and_the_first_of_two_counts(tmp_path, do_import):
    folder = write_source(tmp_path / "source", train=[line()])
    row = (folder / "train_imgs.tsv").read_text()
    other = f"grpa_12\t{base64.b64encode(picture(1)).decode()}\n"
    (folder / "train_imgs.tsv").write_text(f"\ufeff{row}\ngrpa_13\n\tabc\n{other}", encoding="utf-8")
    (folder / "test_imgs.tsv").write_text(row.replace("\n", "\r\n"))
    dataset, remarks = do_import(folder)
    assert dataset.stickers[0].image.read_bytes() == picture()
    no_row = "line is no image id, tab and base64 text"
    assert remarks == [
        f"refused train_imgs.tsv:3: {no_row}",
        f"refused train_imgs.tsv:4: {no_row}",
        "noted train_imgs.tsv:5: repeated; the first counts: grpa_12",
    ]


def test_ids_that_look_like_paths_never_lead_out_of_the_folder(tmp_path, import_lines, out):
    outside = {tmp_path / "source"}
    names = ["../x", "../../x", "/tmp/x", "a/b", "..", ".", ".hidden", "~", "a\\b", "x" * 300, "表情_1", "a.b", "x\x00"]
    dataset, remarks = import_lines(line(image_ids=names), pictures={n: picture(k) for k, n in enumerate(names)})
    assert remarks == []
    assert {s.id: s.image.read_bytes() for s in dataset.stickers} == {n: picture(k) for k, n in enumerate(names)}
    assert {s.image.resolve().parent for s in dataset.stickers} == {(out / "images").resolve()}
    assert len({s.image for s in dataset.stickers}) == len(names)
    assert set(tmp_path.iterdir()) == {*outside, out}


# --- LMDB ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["beside", "common"])
def test_both_places_of_lmdb_pictures_give_the_same_conversations(tmp_path, do_import, layout):
    dataset, remarks = do_import(
        write_lmdb_source(tmp_path / "source", layout, train=pairs(LINE), valid=pairs(LINE | {"textid": "8"}))
    )
    second = {**vars(FIRST), "id": "valid-8-grpa_12", "split": "valid"}
    assert dataset.conversations == (FIRST, Conversation(**second))
    assert dataset.stickers[0].image.read_bytes() == picture()
    assert dataset.stickers[0].attributes["gesture"] == ["双手比心"]
    assert remarks == ["noted stickers.jsonl: sticker in several splits: grpa_12: train, valid"]


def test_the_folders_of_several_groups_are_all_imported(tmp_path, do_import):
    folder = write_lmdb_source(tmp_path / "source", "beside", train=pairs(LINE))
    other = LINE | {"image_ids": ["grpb_1"]}
    write_lmdb(folder / "lmdb_grpb_1" / "train" / "pairs", pairs(other))
    write_lmdb(folder / "lmdb_grpb_1" / "train" / "imgs", images(grpb_1=picture(1)))
    dataset, _ = do_import(folder)
    assert [c.sticker for c in dataset.conversations] == ["grpa_12", "grpb_1"]


def test_a_folder_of_pictures_that_is_called_imgs_is_no_database(tmp_path, do_import):
    folder = write_source(tmp_path / "source", train=[line()])
    (folder / "imgs").mkdir()
    (folder / "imgs" / "grpa_12.gif").write_bytes(picture(format="GIF"))
    assert do_import(folder)[0].conversations == (FIRST,)


class Bomb:
    """Something whose pickle runs a command when it is read."""

    def __init__(self, function, argument):
        self.call = function, (argument,)

    def __reduce__(self):
        return self.call


class Persistent(pickle.Pickler):
    def persistent_id(self, value):
        return "id" if value == "grpa_12" else None


def persistent():
    file = io.BytesIO()
    Persistent(file).dump(("grpa_12",) * 11)
    return file.getvalue()


@pytest.mark.parametrize("function", [os.system, subprocess.getoutput, exec, importlib.import_module])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path, do_import, function, protocol):
    marker = tmp_path / "source" / "run"
    argument = f"open({str(marker)!r}, 'w')" if function is exec else f"touch {marker}"
    if function is importlib.import_module:
        argument = "this"
    bomb = pickle.dumps((Bomb(function, argument), *[LINE[name] for name in TUPLE[1:]]), protocol)
    dataset, remarks = do_import(write_lmdb_source(tmp_path / "source", train=pairs(bomb, LINE)))
    assert dataset.conversations == (FIRST,)
    (remark,) = remarks
    assert remark.startswith("refused lmdb_grpa/train/pairs:0: pickle is refused or broken: ")
    assert remark.endswith(" is not allowed")
    assert not marker.exists() and "this" not in sys.modules


def test_the_bomb_of_these_tests_is_a_real_one(tmp_path):
    pickle.loads(pickle.dumps(Bomb(os.system, f"touch {tmp_path / 'run'}")))
    assert (tmp_path / "run").exists()


REFUSED_VALUES = {
    "a class": (pickle.dumps(Path("x")), "pickle is refused or broken: pathlib."),
    "a persistent id": (persistent(), "pickle is refused or broken: persistent ids are not allowed"),
    "cut off": (pickle.dumps(tuple(range(11)))[:-2], "pickle is refused or broken: "),
    "empty": (b"", "pickle is refused or broken: "),
    "no pickle": (b"\xff" * 40, "pickle is refused or broken: "),
    "ten values": (pickle.dumps(("x",) * 10), "is no tuple of 11 values"),
    "a number": (pickle.dumps(3), "is no tuple of 11 values"),
    "numbers": (pickle.dumps((3,) * 11), "text: is no text: int"),
    "a long number": (pickle.dumps(("grpa_12", 10**9999, *["User1\ta[SEP]"] * 9)), "textid: is no id"),
    "a long number as text": (pickle.dumps(("grpa_12", 7, 10**9999, *["a"] * 8)), "text: is no text: int"),
    "an id that is a list": (pickle.dumps((["grpa_12"], 7, *["User1\ta[SEP]"] * 9)), "image_ids: is no id"),
    "a long id": (pickle.dumps(("x" * 600, *[LINE[n] for n in TUPLE[1:]])), "sticker without a picture: xxx"),
}


@pytest.mark.parametrize("fault", REFUSED_VALUES)
def test_a_value_that_is_no_sample_is_left_out_with_its_key(tmp_path, do_import, fault):
    value, expected = REFUSED_VALUES[fault]
    dataset, remarks = do_import(write_lmdb_source(tmp_path / "source", train=pairs(LINE, value)))
    assert dataset.conversations == (FIRST,)
    assert remarks[-1].startswith(f"refused lmdb_grpa/train/pairs:1: {expected}")


def test_a_key_that_is_missing_is_reported(tmp_path, do_import):
    dataset, remarks = do_import(write_lmdb_source(tmp_path / "source", train=pairs(LINE) | {"num_samples": b"2"}))
    assert dataset.conversations == (FIRST,)
    assert remarks == ["refused lmdb_grpa/train/pairs:1: key is missing"]


@pytest.mark.parametrize("number", [None, b"", b"many", b"\xff"])
def test_a_missing_number_of_samples_is_told_in_one_line(tmp_path, out, number):
    entries = pairs(LINE) | {"num_samples": number}
    entries = {key: value for key, value in entries.items() if value is not None}
    folder = write_lmdb_source(tmp_path / "source", train=entries)
    message = refuse("stickerint", folder, out)
    assert message == f"{folder}/lmdb_grpa/train/pairs: num_samples is missing or no number"


def test_the_missing_package_is_told_in_one_line(tmp_path, out, monkeypatch):
    folder = write_lmdb_source(tmp_path / "source", train=pairs(LINE))
    monkeypatch.setitem(sys.modules, "lmdb", None)
    assert refuse("stickerint", folder, out).endswith(": reading LMDB needs the package lmdb: pip install lmdb")


def test_text_files_need_no_lmdb(import_lines, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    assert import_lines(line())[0].conversations == (FIRST,)


def damage(path, keep):
    data = path.read_bytes()
    path.write_bytes(data[:keep] + b"\xff" * (len(data) - keep))


@pytest.mark.parametrize("name", ["imgs", "train/pairs"])
@pytest.mark.parametrize("keep", [0, 8192])
def test_a_damaged_database_is_told_in_one_line_or_its_pictures_are_missed(tmp_path, out, name, keep):
    folder = write_lmdb_source(tmp_path / "source", train=pairs(LINE))
    damage(folder / "lmdb_grpa" / name / "data.mdb", keep)
    message = refuse("stickerint", folder, out)
    assert f"lmdb_grpa/{name}: is no sound LMDB folder: " in message or "nothing could be imported; " in message


def test_a_failed_import_leaves_no_database_open(tmp_path, out):
    folder = write_lmdb_source(tmp_path / "source", train=pairs(LINE | {"fined_intent": "?"}))
    with pytest.raises(IntraError) as first:  # its traceback keeps every variable alive
        import_dataset("stickerint", folder, out, ImportOptions())
    (folder / "intent_label.txt").write_text("0\t?\t\n", encoding="utf-8")
    import_dataset("stickerint", folder, out, ImportOptions())
    assert "nothing could be imported" in str(first.value)
    assert len(load_import(out).conversations) == 1


# --- labels, galleries, notes ----------------------------------------------------------------------------------


@pytest.fixture
def ambiguous(tmp_path):
    """grpa_12 is sent twice for anger, then for joy (once in valid); grpa_13 for joy, grpa_14 for anger."""
    lines = [
        ("grpa_12", "Anger"),
        ("grpa_12", "Anger"),
        ("grpa_12", "Joy"),
        ("grpa_13", "Joy"),
        ("grpa_14", "Anger"),
    ]
    records = [line(textid=n, image_ids=[name], fined_intent=label) for n, (name, label) in enumerate(lines)]
    pictures = {name: picture(number) for number, name in enumerate(("grpa_12", "grpa_13", "grpa_14"))}
    valid = [line(image_ids=["grpa_12"], fined_intent="Joy"), line(image_ids=["grpa_13"], fined_intent="JOY")]
    return write_source(tmp_path / "source", train=records, valid=valid, pictures=pictures)


POLICIES = {"majority": ("anger",), "last": ("joy",), "all": ("joy", "anger")}


@pytest.mark.parametrize("policy", POLICIES)
def test_a_sticker_with_several_labels_has_those_of_the_policy(ambiguous, do_import, policy):
    dataset, remarks = do_import(ambiguous, labels=policy)
    labels = POLICIES[policy]
    assert dataset.label_policy == policy
    found = dataset.split("train").sticker_intentions()
    assert found == {"grpa_12": labels, "grpa_13": ("joy",), "grpa_14": ("anger",)}
    # train-0: grpa_12 for anger, train-2: grpa_12 for joy; what was sent is right whatever its label
    qrels = make_qrels(dataset, "train", "intention")
    assert qrels["train-0-grpa_12"] == {"grpa_12", "grpa_14"}
    assert qrels["train-2-grpa_12"] == {"grpa_12", "grpa_13"}
    assert qrels["train-3-grpa_13"] == {"grpa_13"} | ({"grpa_12"} if "joy" in labels else set())
    assert qrels["train-4-grpa_14"] == {"grpa_14"} | ({"grpa_12"} if "anger" in labels else set())
    assert make_qrels(dataset, "train", "exact")["train-0-grpa_12"] == {"grpa_12"}
    assert dataset.split("valid").sticker_intentions() == {"grpa_12": ("joy",), "grpa_13": ("joy",)}
    assert remarks == [
        "noted stickers.jsonl: sticker with several intentions; see --labels: grpa_12: anger, joy",
        "noted stickers.jsonl: sticker in several splits: grpa_12: train, valid",
        "noted stickers.jsonl: sticker in several splits: grpa_13: train, valid",
    ]


def test_the_gallery_of_a_split_holds_its_stickers_or_all(ambiguous, tmp_path):
    def galleries(option):
        out = tmp_path / option
        import_dataset("stickerint", ambiguous, out, ImportOptions(gallery=option))
        dataset = load_import(out)
        return [{s.id for s in dataset.split(split).stickers} for split in ("train", "valid", "test")]

    every = {"grpa_12", "grpa_13", "grpa_14"}
    assert galleries("split") == [every, {"grpa_12", "grpa_13"}, set()]
    assert galleries("all") == [every] * 3


def test_options_that_are_none_are_refused():
    for name in ("labels", "gallery", "own_words", "language"):
        with pytest.raises(IntraError, match=name.replace("_", " ")):
            ImportOptions(**{name: "other"})


def test_sizes_other_than_those_of_table_one_are_noted(tmp_path, out):
    write_source(tmp_path / "source", train=[line(), line(textid=8)], valid=[line()])
    report = import_dataset("stickerint", tmp_path / "source", out, ImportOptions())
    expected = [
        "noted train: other size than Table I: 2 conversations, printed 1269",
        "noted train: other size than Table I: 6 utterances, printed 8745",
        "noted train: other size than Table I: 1 stickers, printed 774",
        "noted valid: other size than Table I: 1 conversations, printed 155",
        "noted test: there is no such split",
        "noted test: other size than Table I: 0 utterances, printed 1216",
    ]
    assert set(expected) <= set(remarks(out))
    assert report.counts["noted", "other size than Table I"] == 9


RESPONSES = [
    {"split": "----"},
    {"msgtype": "text", "speaker": "User3", "content": "今天的雨好大"},
    {"msgtype": "sticker", "speaker": "User5", "fined_intent": "Joy", "type_info": "imgs/grpa_12.gif"},
    {"msgtype": "sticker", "speaker": "User5", "fined_intent": "Anger", "type_info": "imgs\\a_b_12.gif"},
    {"msgtype": "sticker", "speaker": "User5", "fined_intent": "Anger", "type_info": "imgs/grpa_99.gif"},
    {"msgtype": "sticker"},
    "?",
]


def test_messages_that_label_a_sticker_otherwise_are_noted(tmp_path, do_import):
    folder = write_source(tmp_path / "source", train=[line()])
    (folder / "grpa_response.json").write_text(json.dumps(RESPONSES), encoding="utf-8")
    (folder / "grpb_response.json").write_text("{", encoding="utf-8")
    (folder / "grpc_response.json").write_text('{"split": 1}', encoding="utf-8")
    (folder / "grpd_response.json").write_text("[" * 100_000, encoding="utf-8")
    dataset, remarks = do_import(folder)
    assert dataset.conversations == (FIRST,)
    assert remarks[0] == (
        "noted grpa_response.json: message 4: another label than in the conversations: grpa_12: anger, there joy"
    )
    assert [remark.split(": ")[:2] for remark in remarks[1:]] == [
        ["refused grpb_response.json", "is no valid JSON"],
        ["refused grpc_response.json", "is no array of messages"],
        ["refused grpd_response.json", "is no valid JSON"],
    ]


# --- folders, and the command ----------------------------------------------------------------------------------


def without(name):
    def break_it(folder):
        (folder / name).unlink()

    return break_it


def emptied(name):
    def break_it(folder):
        (folder / name).write_text("")

    return break_it


NOTHING = {
    "no labels": (without("intent_label.txt"), "intent_label.txt: cannot be read: "),
    "no lines": (without("train_contexts_total_key.jsonl"), "holds neither train_contexts_total_key.jsonl nor LMDB"),
    "no pictures": (without("train_imgs.tsv"), "holds neither train_imgs.tsv nor an LMDB folder imgs"),
    "empty labels": (emptied("intent_label.txt"), "nothing could be imported; "),
    "empty lines": (emptied("train_contexts_total_key.jsonl"), "nothing could be imported; "),
}


@pytest.mark.parametrize("fault", NOTHING)
def test_a_folder_without_what_is_needed_is_told_in_one_line(tmp_path, out, fault):
    break_it, expected = NOTHING[fault]
    folder = write_source(tmp_path / "source", train=[line()])
    break_it(folder)
    assert expected in refuse("stickerint", folder, out)


def test_folders_and_formats_that_are_none_are_told_in_one_line(tmp_path, out):
    folder = write_source(tmp_path / "source", train=[line()])
    assert refuse("stickerint", tmp_path / "none", out) == f"{tmp_path}/none: no such folder"
    assert refuse("stickerint", folder / "intent_label.txt", out).endswith(": no such folder")
    assert "format" in refuse("stickerin", folder, out)
    out.mkdir()
    assert refuse("stickerint", folder, out) == f"{out}: exists already; name a folder that does not"
    assert left_in(out) == []


def test_an_import_that_breaks_off_leaves_nothing(tmp_path, out, monkeypatch):
    folder = write_source(tmp_path / "source", train=[line()])

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("intra.data.importers.native._Writer.seal", interrupt)
    with pytest.raises(KeyboardInterrupt):
        import_dataset("stickerint", folder, out, ImportOptions())
    assert left_in(tmp_path) == ["source"]


def test_the_same_source_gives_the_same_bytes(tmp_path, ambiguous):
    def content(out):
        import_dataset("stickerint", ambiguous, out, ImportOptions())
        return {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}

    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_the_command_prints_the_report_and_ends_with_status_0(tmp_path, out, capsys):
    write_source(tmp_path / "source", train=[line(), "{", "{", line(textid=8, text=TEXT + "走")])
    arguments = ["data", "import", "stickerint", str(tmp_path / "source"), "--out", str(out)]
    assert main([*arguments, "--own-words", "drop", "--labels", "all", "--gallery", "all"]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0].split() == "skipped 1 what follows the last [SEP]".split()
    assert lines[2].split() == "refused 2 line is neither JSON nor a Python literal".split()
    assert lines[3].strip().startswith("first: train_contexts_total_key.jsonl:2: line is neither JSON")
    assert lines[-1] == f"{out}: imported; every remark: {out}/{REPORT}; sizes: intra data stats {out}"
    dataset = load_import(out)
    assert dataset.label_policy == "all"
    assert dataset.stickers[0].splits == ("train", "valid", "test")
    assert [len(c.utterances) for c in dataset.conversations] == [3, 3]


def test_the_command_tells_a_mistake_in_one_line_with_status_1(tmp_path, out, capsys):
    assert main(["data", "import", "stickerint", str(tmp_path / "none"), "--out", str(out)]) == 1
    assert capsys.readouterr().err == f"intra: {tmp_path}/none: no such folder\n"
    write_source(tmp_path / "source", train=[line(fined_intent="?")])
    assert main(["data", "import", "stickerint", str(tmp_path / "source"), "--out", str(out)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[-1].startswith("intra: StickerInt: nothing could be imported; ")
    assert "Traceback" not in printed.err


def test_the_command_prints_a_report_with_half_a_surrogate_pair(tmp_path, out, capsys):
    faulty = json.dumps(LINE | {"fined_intent": "\ud83d", "text": "\ud83d\nx[SEP]"})
    write_source(tmp_path / "source", train=[line(), faulty])
    assert main(["data", "import", "stickerint", str(tmp_path / "source"), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    printed.encode()
    assert "turn without a user given to the one before: \\ud83d x" in printed


def test_statistics_of_an_import_with_an_empty_split_are_printed_and_drawn(ambiguous, out, tmp_path, capsys):
    import_dataset("stickerint", ambiguous, out, ImportOptions())
    figure = tmp_path / "intentions.png"
    assert main(["data", "stats", str(out), "--json", "--figure", str(figure)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {split: part["conversations"] for split, part in found["table_one"].items()} == {
        "train": 5,
        "valid": 2,
        "test": 0,
    }
    assert found["intentions"]["train"] == {"anger": 3, "joy": 2, "confusion": 0}
    assert Image.open(figure).size > (100, 100)
    assert main(["data", "stats", str(out)]) == 0
    assert capsys.readouterr().out.startswith("StickerInt imported\n")


def test_a_figure_of_no_known_format_is_told_in_one_line(ambiguous, out, tmp_path, capsys):
    import_dataset("stickerint", ambiguous, out, ImportOptions())
    assert main(["data", "stats", str(out), "--figure", str(tmp_path / "intentions.foo")]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[-1].startswith(f"intra: {tmp_path}/intentions.foo: Format 'foo' is not supported")
