"""`intra data`: what it prints, its status, and that a mistake is told in one line."""

import json
import subprocess
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from PIL import Image
from test_data import CONVERSATIONS, REMOVED, STICKERS, changed, problems, write_dataset

from intra.cli import main
from intra.paths import ROOT


@pytest.fixture
def folder(tmp_path):
    return write_dataset(tmp_path / "small")


def break_twice(folder):
    changed(CONVERSATIONS, 3, usage="answer")(folder)
    changed(STICKERS, 2, image=REMOVED)(folder)
    return [
        "stickers.jsonl:2: image: is missing",
        "conversations.jsonl:3: usage: 'answer' is not one of reply, supplement",
    ]


def test_a_sound_data_set_passes(folder, capsys):
    assert main(["data", "validate", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder}: sound\n"
    assert main(["data", "validate", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_every_problem_is_printed_on_its_line_with_status_1(folder, capsys):
    lines = break_twice(folder)
    assert main(["data", "validate", str(folder)]) == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines() == lines == problems(folder)
    assert printed.err == ""


def test_problems_as_json_hold_the_same_as_the_lines(folder, capsys):
    lines = break_twice(folder)
    (folder / "images/s4.png").write_bytes(b"")
    assert main(["data", "validate", str(folder), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [set(problem) for problem in found] == [{"file", "line", "field", "message"}] * 4
    assert [(p["file"], p["line"], p["field"]) for p in found] == [
        ("stickers.jsonl", 2, "image"),
        ("conversations.jsonl", 3, "usage"),
        ("images/s4.png", 0, "sha256"),
        ("images/s4.png", 0, "image"),
    ]
    assert [f"{p['file']}:{p['line']}: {p['field']}: {p['message']}" for p in found[:2]] == lines


def test_the_command_ends_with_status_1_and_the_lines(folder, tmp_path):
    lines = break_twice(folder)
    command = [sys.executable, "-m", "intra.cli", "data", "validate", str(folder)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""}, check=False
    )
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (1, lines, "")


@pytest.mark.parametrize("command", ["validate", "stats"])
def test_a_folder_that_is_none_is_told_in_one_line(tmp_path, capsys, command):
    assert main(["data", command, str(tmp_path / "none")]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"intra: {tmp_path}/none: no such data set; name a folder or one of replystickers\n"


def test_statistics_of_a_broken_data_set_are_refused_in_one_line(folder, capsys):
    lines = break_twice(folder)
    assert main(["data", "stats", str(folder)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"intra: {folder}/{lines[0]} (and 1 more: intra data validate {folder})\n"


def test_statistics_are_those_of_the_data(folder, capsys):
    # write_dataset: train c1 ... c4 with s1 and s2, valid c5 with s3, test c6 with s4; two utterances and three
    # users (two who write, one who only sends the sticker) in each; odd conversations joy, even ones anger
    assert main(["data", "stats", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {split: part["conversations"] for split, part in found["table_one"].items()} == {
        "train": 4,
        "valid": 1,
        "test": 1,
    }
    train = found["table_one"]["train"]
    assert (train["utterances"], train["stickers"], train["users"]) == (8, 2, 3)
    assert (train["avg_utterances_per_conversation"], train["avg_users_per_conversation"]) == (2, 3)
    assert found["intentions"]["train"] == {**dict.fromkeys(found["intentions"]["train"], 0), "joy": 2, "anger": 2}
    assert len(found["intentions"]["test"]) == 28 and found["intentions"]["test"]["anger"] == 1

    assert main(["data", "stats", str(folder)]) == 0
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line}
    assert rows["Small"] == ["1"]
    assert rows["conversations"] == ["4", "1", "1"]
    assert rows["avg_users_per_conversation"] == ["3", "3", "3"]
    assert rows["anger"] == ["2", "0", "1"]


@pytest.mark.parametrize("name", ["bars.png", "bars.svg"])
def test_statistics_are_drawn_into_a_file_as_well(folder, tmp_path, capsys, name):
    assert main(["data", "stats", str(folder)]) == 0
    printed = capsys.readouterr().out
    with mpl.rc_context():
        mpl.use("agg")
        assert main(["data", "stats", str(folder), "--figure", str(tmp_path / name)]) == 0
        plt.close("all")
    assert capsys.readouterr().out == printed
    if name.endswith("png"):
        with Image.open(tmp_path / name) as image:
            assert min(image.size) > 100 and len(image.convert("RGB").getcolors(1 << 24)) > 3
    else:
        assert (tmp_path / name).read_text(encoding="utf-8").count("<path") > 10
