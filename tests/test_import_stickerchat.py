"""StickerChat into the native layout: arrays as pictures, candidates drawn from the pack, and every fault told."""

import io
import json
import pickle

import numpy as np
import pytest
from PIL import Image
from test_import_stickerint import left_in, load_import, refuse, remarks

from intra.cli import main
from intra.data import Conversation, Utterance
from intra.data.importers import import_dataset
from intra.data.importers.native import ImportOptions
from intra.evaluation import make_run, match_metrics

# --- small source folders, written by the specification --------------------------------------------------------

PACK = 556029562811580420
CONTEXT = [
    {"text": "我 正在 用 大 套子 ， 好久 没用 了", "id": 52000, "from_id": 284336329, "reply_to_msg_id": None},
    {"text": "没 想到 还 能 上 TG", "id": 52002, "from_id": 284336330, "reply_to_msg_id": None},
]
CURRENT = {
    "from_id": 271484871,
    "reply_to_msg_id": None,
    "sticker_set_id": PACK,
    "sticker_id": 1,
    "sticker_alt": "😀",
}
LINE = {"context": CONTEXT, "current": CURRENT}
UTTERANCES = (Utterance("284336329", "我正在用大套子，好久没用了"), Utterance("284336330", "没想到还能上TG"))
GOLD = f"{PACK}_1"
SHORT = "pack with fewer than ten stickers"


def line(context=CONTEXT, **current):
    return json.dumps({"context": context, "current": CURRENT | current})


def array(number=0, dtype=np.uint8):
    return np.random.default_rng(number).integers(0, 256, (7, 6, 3)).astype(dtype)


def write_source(folder, *, packs=None, flat=False, **lines):
    """Write `packs`, which are pack to {sticker: array or bytes}, and the lines of each split."""
    for pack, stickers in ({PACK: {n: array(n) for n in range(12)}} if packs is None else packs).items():
        place = folder / "npy_stickers" / ("" if flat else str(pack))
        place.mkdir(parents=True, exist_ok=True)
        for sticker, content in stickers.items():
            if isinstance(content, bytes):
                (place / f"{sticker}.npy").write_bytes(content)
            else:
                np.save(place / f"{sticker}.npy", content)
    for split, content in lines.items():
        text = "".join(f"{each}\n" for each in content)
        (folder / f"release_{split}.json").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def do_import(tmp_path, out):
    def run(*train, **source):
        if train:
            source["train"] = train
        import_dataset("stickerchat", write_source(tmp_path / "source", **source), out, ImportOptions())
        return load_import(out), remarks(out, SHORT)

    return run


def pixels(sticker):
    with Image.open(sticker.image) as image:
        return np.asarray(image)


@pytest.mark.parametrize("flat", [False, True], ids=["nested", "flat"])
def test_the_example_of_the_documentation_gives_exactly_its_conversation(do_import, flat):
    dataset, remarks = do_import(line(), flat=flat)
    (conversation,) = dataset.conversations
    expected = Conversation("train-1", "train", UTTERANCES, "271484871", "reply", GOLD, "😀")
    assert Conversation(**vars(conversation) | {"candidates": ()}) == expected
    assert conversation.users == {"284336329", "284336330", "271484871"}
    assert (dataset.name, dataset.intentions, dataset.label_texts) == ("StickerChat", ("😀",), {})
    assert remarks == []
    images = {s.id: pixels(s) for s in dataset.stickers}
    assert np.array_equal(images[GOLD], array(1))
    assert set(images) == set(conversation.candidates)


def test_a_sender_who_also_wrote_last_supplements(do_import):
    own = {"text": "我 也 是", "id": 1, "from_id": CURRENT["from_id"], "reply_to_msg_id": None}
    empty = own | {"text": " ", "from_id": 5}
    dataset, remarks = do_import(line([*CONTEXT, own]), line([*CONTEXT, own, empty]), line([own, *CONTEXT]))
    assert [c.usage for c in dataset.conversations] == ["supplement", "supplement", "reply"]
    assert remarks == ["skipped release_train.json:2: empty utterance"]


TEXTS = {
    "我 爱 你": "我爱你",
    "他 说 “ 你好 ” 。": "他说“你好”。",
    "this is  fine": "this is  fine",
    "用 Google Play 商店 下载": "用Google Play商店下载",
    "3 点 00 分": "3点00分",
    "𠮷 野家": "𠮷野家",
    "как дела ?": "как дела ?",
    "a\u3000b": "a\u3000b",
    "好 ！ ok": "好！ok",
    " 前后 ": "前后",
}


@pytest.mark.parametrize("text", TEXTS)
def test_chinese_words_are_joined_and_others_keep_their_space(do_import, text):
    dataset, _ = do_import(line([CONTEXT[0] | {"text": text}]))
    expected = TEXTS[text]
    assert dataset.conversations[0].utterances == (Utterance("284336329", expected),)


def test_splits_labels_and_galleries_are_those_of_the_files(do_import):
    lines = {"val": [line(sticker_alt=" 😢 ")], "test": [line(sticker_id=2), "", line(sticker_id=3, sticker_alt="❤️")]}
    dataset, remarks = do_import(line(sticker_alt="😂"), **lines)
    assert [(c.id, c.intention) for c in dataset.conversations] == [
        ("train-1", "😂"),
        ("valid-1", "😢"),
        ("test-1", "😀"),
        ("test-3", "❤️"),
    ]
    assert set(dataset.intentions) == {"😂", "😢", "😀", "❤️"}
    for split in ("train", "valid", "test"):
        part = dataset.split(split)
        assert {s.id for s in part.stickers} == {name for c in part.conversations for name in c.candidates}
    assert f"noted stickers.jsonl: sticker with several intentions; see --labels: {GOLD}: 😂, 😢" in remarks


# --- candidates ------------------------------------------------------------------------------------------------


def test_ten_candidates_of_the_pack_are_drawn_and_always_the_same(tmp_path, out):
    packs = {1: {n: array(n) for n in range(40)}, 2: {n: array(n) for n in range(40)}}
    lines = [line(sticker_set_id=1 + n % 2, sticker_id=n) for n in range(12)]
    folder = write_source(tmp_path / "source", packs=packs, train=lines)
    import_dataset("stickerchat", folder, out, ImportOptions())
    first = load_import(out).conversations
    for number, conversation in enumerate(first):
        assert conversation.sticker == f"{1 + number % 2}_{number}"
        assert len(set(conversation.candidates)) == 10
        assert conversation.sticker in conversation.candidates
        assert {name.split("_")[0] for name in conversation.candidates} == {str(1 + number % 2)}
    assert len({c.candidates for c in first}) == 12
    assert len({c.candidates.index(c.sticker) for c in first}) > 1  # its place does not give it away
    import_dataset("stickerchat", folder, tmp_path / "again", ImportOptions())
    assert load_import(tmp_path / "again").conversations == first
    assert remarks(out) == []


def test_a_line_keeps_its_candidates_when_others_change(tmp_path):
    folder = write_source(tmp_path / "source", train=[line(), line()])
    import_dataset("stickerchat", folder, tmp_path / "one", ImportOptions())
    write_source(folder, train=["{", line()], val=[line()])
    import_dataset("stickerchat", folder, tmp_path / "two", ImportOptions())
    assert load_import(tmp_path / "one").conversations[1] == load_import(tmp_path / "two").conversations[0]


@pytest.mark.parametrize("size", [1, 9, 10])
def test_a_short_pack_gives_all_it_has_and_is_noted(tmp_path, out, size):
    folder = write_source(tmp_path / "source", packs={PACK: {n: array(n) for n in range(1, size + 1)}}, train=[line()])
    import_dataset("stickerchat", folder, out, ImportOptions())
    assert set(load_import(out).conversations[0].candidates) == {f"{PACK}_{n}" for n in range(1, size + 1)}
    expected = [f"noted release_train.json:1: {SHORT}: {PACK}: {size}"] if size < 10 else []
    assert remarks(out) == expected


def test_a_flat_folder_learns_its_packs_from_the_lines(do_import):
    packs = {PACK: {n: array(n) for n in range(30)}}
    lines = [line(sticker_set_id=1, sticker_id=n) for n in range(12)]
    others = [line(sticker_set_id=2, sticker_id=n) for n in range(12, 24)]
    dataset, remarks = do_import(*lines, "{", "[" * 100_000, packs=packs, flat=True, test=others)
    assert len(dataset.conversations) == 24
    for conversation in dataset.conversations:
        pack = conversation.sticker.split("_")[0]
        assert len(conversation.candidates) == 10 and conversation.sticker in conversation.candidates
        assert {name.split("_")[0] for name in conversation.candidates} == {pack}
    assert [remark.split(": ")[:2] for remark in remarks] == [
        [f"refused release_train.json:{number}", "line is no valid JSON"] for number in (13, 14)
    ]


def test_packs_with_a_line_in_their_name_are_found(do_import):
    dataset, remarks = do_import(
        line(sticker_set_id="my_pack", sticker_id="a_1"), packs={"my_pack": {"a_1": array(), "b": array(1)}}
    )
    assert dataset.conversations[0].candidates == ("my_pack_a_1", "my_pack_b")
    assert remarks == []


def test_a_candidate_whose_picture_is_broken_is_left_out(do_import):
    dataset, remarks = do_import(line(), packs={PACK: {1: array(), 2: b"broken", 3: array(3)}})
    assert dataset.conversations[0].candidates == (GOLD, f"{PACK}_3")
    assert remarks[0].startswith(f"refused release_train.json:1: picture cannot be read: {PACK}_2: ")
    assert remarks[1] == f"repaired release_train.json:1: candidate without a picture left out: {PACK}_2"


def test_the_protocol_ranks_the_candidates_only(do_import):
    whole = do_import(test=[line(), line(sticker_id=2)], packs={PACK: {n: array(n) for n in range(30)}})[0]
    dataset = whole.split("test")
    ids, stickers = [c.id for c in dataset.conversations], [s.id for s in dataset.stickers]
    assert len(stickers) > 10
    sent = np.array([[name == c.sticker for name in stickers] for c in dataset.conversations], float)
    best, worst = make_run(sent, ids, stickers, whole), make_run(-sent, ids, stickers, whole)
    assert {len(ranking) for ranking in [*best.values(), *worst.values()]} == {10}
    assert match_metrics(best, whole, "test")["exact"]["hit@1"] == 1
    assert match_metrics(worst, whole, "test")["exact"]["MRR"] == 0.1


# --- arrays ----------------------------------------------------------------------------------------------------

RANGES = {
    "uint8": array(),
    "int64": array(dtype=np.int64),
    "0 to 255": array(dtype=np.float32),
    "0 to 1": array() / 255,
    "0 to 1 in half precision": (array() / 255).astype(np.float16),
    "-1 to 1": array() / 127.5 - 1,
    "Fortran order": np.asfortranarray(array()),
}


@pytest.mark.parametrize("name", RANGES)
def test_an_array_is_a_picture_whatever_its_range(do_import, name):
    dataset, remarks = do_import(line(), packs={PACK: {1: RANGES[name]}})
    assert remarks == []
    assert np.array_equal(pixels(dataset.stickers[0]), array())


def test_a_picture_with_transparency_keeps_it(do_import):
    content = np.dstack([array(), array()[..., :1]])
    dataset, _ = do_import(line(), packs={PACK: {1: content}})
    assert np.array_equal(pixels(dataset.stickers[0]), content)


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit",)


def saved(content, **options):
    file = io.BytesIO()
    np.save(file, content, **options)
    return file.getvalue()


BROKEN_ARRAYS = {
    "grey": array()[..., 0],
    "five channels": np.zeros((4, 4, 5), np.uint8),
    "empty": np.zeros((0, 4, 3), np.uint8),
    "a batch": array()[None],
    "no numbers": np.full((4, 4, 3), np.nan),
    "too large": array() * 2.0,
    "too small": array() / -100.0,
    "two ranges at once": np.linspace(-0.5, 200, 48).reshape(4, 4, 3),
    "texts": np.full((4, 4, 3), "a"),
    "objects": saved(np.array([[["a"] * 3]], dtype=object), allow_pickle=True),
    "a pickle": pickle.dumps(Bomb()),
    "cut off": saved(array())[:-9],
    "no file at all": b"",
    "text": b"<svg/>",
}


@pytest.mark.parametrize("fault", BROKEN_ARRAYS)
def test_an_array_that_is_no_picture_is_reported_and_never_run(do_import, fault):
    packs = {PACK: {1: array(), 2: BROKEN_ARRAYS[fault]}}
    dataset, remarks = do_import(line(), line(sticker_id=2), packs=packs)
    assert [c.id for c in dataset.conversations] == ["train-1"]
    assert remarks[0].startswith(f"refused release_train.json:1: picture cannot be read: {PACK}_2: ")
    assert remarks[-1] == f"refused release_train.json:2: sticker without a picture: {PACK}_2"


# --- faults of lines -------------------------------------------------------------------------------------------


def text_of(value):
    return line([CONTEXT[0] | {"text": value}])


def less(record, name):
    return {key: value for key, value in record.items() if key != name}


HERE = "refused release_train.json:2"
FAULTY_LINES = {
    "bad JSON": ("{'context': []}", "line is no valid JSON: "),
    "a deep list": ("[" * 100_000, "line is no valid JSON: "),
    "a long number": ("1" * 5000, "line is no valid JSON: "),
    "a list": ("[1]", "line lacks a field: "),
    "null": ("null", "line lacks a field: "),
    "no context": (json.dumps({"current": CURRENT}), "line lacks a field: 'context'"),
    "no current": (json.dumps({"context": CONTEXT}), "line lacks a field: 'current'"),
    "no text": (line([less(CONTEXT[0], "text")]), "line lacks a field: 'text'"),
    "no user": (line([less(CONTEXT[0], "from_id")]), "line lacks a field: 'from_id'"),
    "no sticker": (json.dumps({"context": CONTEXT, "current": less(CURRENT, "sticker_id")}), "line lacks a field: "),
    "no label": (json.dumps({"context": CONTEXT, "current": less(CURRENT, "sticker_alt")}), "line lacks a field: "),
    "a context that is text": (line("早"), "line lacks a field: "),
    "turns that are texts": (line(["早"]), "line lacks a field: "),
    "no context at all": (line(None), "line lacks a field: "),
    "a text that is none": (text_of(None), "text or sticker_alt is no text"),
    "a text that is a number": (text_of(3), "text or sticker_alt is no text"),
    "a label that is none": (line(sticker_alt=None), "text or sticker_alt is no text"),
    "an empty label": (line(sticker_alt=" "), "unknown label: ''"),
    "half a label": (line(sticker_alt="\ud83d"), "unknown label: '\\ud83d'"),
    "an empty context": (line([]), "no utterance before the sticker"),
    "empty texts": (text_of(" "), "no utterance before the sticker"),
    "no sender": (line(from_id=" "), "no sender"),
    "a sticker that is missing": (line(sticker_id=99), f"sticker without a picture: {PACK}_99"),
    "a pack that is missing": (line(sticker_set_id=99), "sticker without a picture: 99_1"),
    "a pack above": (line(sticker_set_id="..", sticker_id="x"), "sticker without a picture: .._x"),
    "a path": (line(sticker_set_id="../..", sticker_id="secret"), "sticker without a picture: ../.._secret"),
    "an absolute path": (line(sticker_set_id="/etc", sticker_id="x"), "sticker without a picture: /etc_x"),
    "a null byte": (line(sticker_id="\0"), f"sticker without a picture: {PACK}_\0"),
    "white space in a pack": (line(sticker_set_id="a b"), "id is empty or holds white space: 'train-2', 'a b_1'"),
    "half a character in a pack": (line(sticker_set_id="\ud83d"), "id is empty or holds white space: 'train-2', "),
}


@pytest.mark.parametrize("fault", FAULTY_LINES)
def test_a_faulty_line_is_left_out_with_its_place_and_reason(tmp_path, do_import, fault):
    faulty, expected = FAULTY_LINES[fault]
    np.save(tmp_path / "secret.npy", array())
    dataset, remarks = do_import(line(), faulty, line())
    assert [c.id for c in dataset.conversations] == ["train-1", "train-3"]
    assert remarks and remarks[-1].startswith(f"{HERE}: {expected}"), remarks
    assert left_in(tmp_path) == ["out", "secret.npy", "source"]


def test_a_line_that_is_not_utf_8_is_left_out(tmp_path, out):
    folder = write_source(tmp_path / "source", train=[line()])
    with (folder / "release_train.json").open("ab") as file:
        file.write("你".encode("gbk") + b"\n")
    import_dataset("stickerchat", folder, out, ImportOptions())
    assert len(load_import(out).conversations) == 1
    assert remarks(out)[0].startswith(f"{HERE}: line is no valid JSON: ")


def test_half_a_surrogate_pair_in_a_text_is_replaced(do_import):
    dataset, remarks = do_import(text_of("早 \ud83d"))
    assert dataset.conversations[0].utterances[0].text == "早?"
    assert remarks == ["repaired release_train.json:1: half a surrogate pair replaced: 早?"]


def test_folders_without_what_is_needed_are_told_in_one_line(tmp_path, out):
    (tmp_path / "source").mkdir()
    names = "release_train.json, release_val.json, release_test.json"
    assert refuse("stickerchat", tmp_path / "source", out) == f"{tmp_path}/source: holds none of {names}"
    folder = write_source(tmp_path / "source", packs={}, train=[line()])
    assert refuse("stickerchat", folder, out) == f"{folder}: holds no folder npy_stickers"
    (folder / "npy_stickers").mkdir()
    assert "nothing could be imported; " in refuse("stickerchat", folder, out)


def test_the_command_imports_and_its_data_set_is_sound(tmp_path, out, capsys):
    folder = write_source(tmp_path / "source", test=[line(), line(sticker_alt="😢")])
    arguments = ["data", "import", "stickerchat", str(folder), "--out", str(out), "--labels", "last"]
    assert main(arguments) == 0
    assert "sticker with several intentions" in capsys.readouterr().out
    assert main(["data", "validate", str(out)]) == 0
    assert main(["data", "stats", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out.split("sound\n")[1])
    assert found["intentions"]["test"] == {"😀": 1, "😢": 1}
    assert main(arguments) == 1
    assert capsys.readouterr().err == f"intra: {out}: exists already; name a folder that does not\n"
