"""Exports opened by `datasets.load_dataset`: every row is the native one, and every picture pixel for pixel."""

import io
import json

import datasets
import numpy as np
import pytest
import test_import_mod
import test_import_stickerint
from PIL import Image

from intra.cli import main
from intra.data import load_dataset, validate
from intra.data.export import conversation_row, export_dataset
from intra.data.importers import import_dataset
from intra.data.importers.native import ImportOptions
from intra.data.schema import ATTRIBUTES
from intra.errors import IntraError
from intra.files import sha256

SPLITS = {"train": "train", "valid": "validation", "test": "test"}
"""Native name of a split to that of the hub."""
LAYOUTS = ("parquet", "imagefolder")


# --- data sets to export ---------------------------------------------------------------------------------------


def sticker(name, image, *splits, **more):
    return {"id": name, "splits": list(splits), "image": image, **more}


def conversation(name, split, sent, **more):
    said = [{"user": "阿泽", "text": "2020-01-01"}, {"user": "七七", "text": "过了\u2028！", "english": "Passed!"}]
    own = {"id": name, "split": split, "sticker": sent, "usage": "reply", "sender": "小满", "intention": "joy"}
    return own | {"utterances": said} | more


def native(folder, conversations, stickers, **manifest):
    """Write a data set in the native layout; a picture of noise for each name that the stickers give."""
    for number, name in enumerate(sorted({each["image"] for each in stickers})):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(test_import_stickerint.picture(number, "WEBP" if name.endswith("webp") else "PNG"))
    for name, rows in (("conversations", conversations), ("stickers", stickers)):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    files = {p.relative_to(folder).as_posix(): sha256(p) for p in folder.rglob("*") if p.is_file()}
    content = {"name": "Small", "version": "1", "licence": "CC0", "files": files} | manifest
    (folder / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    assert validate(folder) == []
    return folder


@pytest.fixture
def full(tmp_path):
    """All splits; fields that only some rows or some splits have; pictures of one name in two folders."""
    conversations = [
        conversation("c1", "train", "s1"),
        conversation("c2", "train", "s1", intention="anger"),
        conversation("c3", "valid", "s3", cue=2, knowledge="他开心", candidates=["s3", "s2"], topic="考试"),
        conversation("c4", "test", "s4", second_reading="anger", neighbour="love", thread="天气"),
    ]
    stickers = [
        sticker("s1", "images/a/x.png", "train"),
        sticker("s2", "images/b/x.png", "train", "valid"),
        sticker("s3", "images/s3.webp", "valid", attributes={"gesture": ["挥手", "比心"], "verbal": ["好"]}),
        sticker("s4", "images/.s4.png", "test", specification={"face": "微笑"}, regions={"face": [0, 1, 2, 3]}),
        sticker("s5", "images/b/x.png", "test"),
    ]
    return native(tmp_path / "full", conversations, stickers)


@pytest.fixture
def half(tmp_path):
    """An import without a validation split."""
    lines = [test_import_stickerint.line(), test_import_stickerint.line(textid=8, fined_intent="Anger")]
    source = test_import_stickerint.write_source(tmp_path / "source", train=lines, test=lines[:1])
    import_dataset("stickerint", source, tmp_path / "half", ImportOptions(gallery="all", labels="all"))
    return tmp_path / "half"


@pytest.fixture
def with_candidates(tmp_path):
    """An import whose test split alone has candidates."""
    samples = {"c_train": test_import_mod.TRAIN, test_import_mod.TASK: [test_import_mod.SAMPLE]}
    source = test_import_mod.write_source(tmp_path / "source", files=samples)
    import_dataset("mod", source, tmp_path / "with_candidates", ImportOptions())
    return tmp_path / "with_candidates"


@pytest.fixture(params=["full", "half", "with_candidates"])
def folder(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def opened(tmp_path, folder):
    """The native data set, and what `datasets` makes of its export: split of the hub to rows."""

    def open_export(layout, config=None):
        export_dataset(folder, tmp_path / "exported", layout)
        hub = datasets.load_dataset(str(tmp_path / "exported"), config, cache_dir=str(tmp_path / "cache"))
        return load_dataset(folder), hub

    return open_export


def used_splits(native):
    return [split for split in SPLITS if native.split(split).conversations]


def is_same(row, part, sticker):
    """Whether a row is the sticker, as its split labels it, and has its picture."""
    assert row["id"] == sticker.id
    assert row["intentions"] == list(part.sticker_intentions().get(sticker.id, ()))
    assert row["attributes"] == {name: sticker.attributes.get(name, []) for name in ATTRIBUTES}
    assert json.loads(row["specification"]) == sticker.specification
    assert json.loads(row["regions"]) == sticker.regions
    with Image.open(sticker.image) as image:
        assert np.array_equal(np.asarray(row["image"].convert("RGBA")), np.asarray(image.convert("RGBA")))


def test_conversations_in_parquet_are_the_native_ones(opened):
    native, hub = opened("parquet", "conversations")
    assert list(hub) == [SPLITS[split] for split in used_splits(native)]
    for split in used_splits(native):
        rows = list(hub[SPLITS[split]])
        assert rows == [conversation_row(c) for c in native.split(split).conversations]
        for row, own in zip(rows, native.split(split).conversations, strict=True):
            assert [(u["user"], u["text"], u["english"]) for u in row["utterances"]] == [
                (u.user, u.text, u.english) for u in own.utterances
            ]
            assert (row["id"], row["sticker"], row["cue"]) == (own.id, own.sticker, own.cue)
            assert (row["candidates"], row["knowledge"]) == (list(own.candidates), own.knowledge)


def test_stickers_in_parquet_are_the_native_ones_pixel_for_pixel(opened):
    native, hub = opened("parquet", "stickers")
    assert list(hub) == [SPLITS[split] for split in used_splits(native)]
    for split in used_splits(native):
        part = native.split(split)
        for row, own in zip(hub[SPLITS[split]], part.stickers, strict=True):
            is_same(row, part, own)


def test_an_image_folder_holds_every_sticker_with_what_it_answered(opened):
    native, hub = opened("imagefolder")
    assert sorted(hub) == sorted(SPLITS[split] for split in used_splits(native))
    for split in used_splits(native):
        part = native.split(split)
        for row, own in zip(hub[SPLITS[split]], part.stickers, strict=True):
            is_same(row, part, own)
            answered = [conversation_row(c) for c in part.conversations if c.sticker == own.id]
            assert row["conversations"] == answered


def test_pictures_in_parquet_keep_their_bytes(full, tmp_path):
    export_dataset(full, tmp_path / "exported", "parquet")
    table = datasets.Dataset.from_parquet(
        str(tmp_path / "exported/stickers/test.parquet"), cache_dir=str(tmp_path / "cache")
    )
    stored = table.cast_column("image", datasets.Image(decode=False))["image"]
    assert [each["bytes"] for each in stored] == [
        (full / "images/.s4.png").read_bytes(),
        (full / "images/b/x.png").read_bytes(),
    ]
    assert Image.open(io.BytesIO(stored[0]["bytes"])).size == (8, 9)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_names_and_licences_of_any_marks_do_not_break_the_card(tmp_path, layout):
    folder = native(
        tmp_path / "odd",
        [conversation("c1", "test", "s1")],
        [sticker("s1", "images/s1.png", "test")],
        name='My: "data" #1 😀',
        licence="CC BY: 4.0 [x]",
    )
    export_dataset(folder, tmp_path / "exported", layout)
    hub = datasets.load_dataset(str(tmp_path / "exported"), split="test", cache_dir=str(tmp_path / "cache"))
    assert hub["id"] == (["c1"] if layout == "parquet" else ["s1"])
    card = (tmp_path / "exported/README.md").read_text(encoding="utf-8")
    assert '# My: "data" #1 😀 1\n' in card
    assert "(0 train, 0 valid, 1 test) and 1 stickers. Licence: CC BY: 4.0 [x]." in card


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_export_replaces_nothing(full, tmp_path, layout):
    out = tmp_path / "exported"
    out.mkdir()
    with pytest.raises(IntraError, match=r"exported: exists already; name a folder that does not$"):
        export_dataset(full, out, layout)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_broken_data_set_is_not_exported(full, tmp_path, layout):
    (full / "images/s3.webp").unlink()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(IntraError, match=r"stickers.jsonl:3: image: images/s3.webp does not exist$"):
        export_dataset(full, tmp_path / "exported", layout)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_export_that_breaks_off_leaves_nothing(full, tmp_path, layout, monkeypatch):
    def fail(*arguments):
        raise OSError("no room")

    monkeypatch.setattr("intra.data.export._card", fail)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OSError, match="no room"):
        export_dataset(full, tmp_path / "exported", layout)
    assert sorted(tmp_path.iterdir()) == before


def test_layouts_that_are_none_are_refused(full, tmp_path):
    with pytest.raises(IntraError, match=r"csv.*parquet"):
        export_dataset(full, tmp_path / "exported", "csv")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_command_exports_and_tells_mistakes_in_one_line(full, tmp_path, layout, capsys):
    arguments = ["data", "export", str(full), "--format", layout, "--out", str(tmp_path / "exported")]
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"{tmp_path}/exported: written\n"
    assert (tmp_path / "exported/README.md").is_file()
    assert main(arguments) == 1
    message = f"intra: {tmp_path}/exported: exists already; name a folder that does not\n"
    assert capsys.readouterr().err == message
    none = ["data", "export", str(tmp_path / "none"), "--format", layout, "--out", str(tmp_path / "other")]
    assert main(none) == 1
    assert "no such data set" in capsys.readouterr().err
