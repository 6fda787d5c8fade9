"""Records are written whole or not at all, never select on test, and know which code made them."""

import ast
import json
import os

import numpy as np
import pytest

from intra import records
from intra.arrays import read_arrays
from intra.config import RunConfig
from intra.errors import IntraError
from intra.evaluation import evaluate, make_run, write_run
from intra.files import replaced, sha256, written_whole
from intra.metrics import METRICS
from intra.records import read_record, run_name, write_relevance

SELECTED = {"split": "valid", "metric": "mAP", "value": 0.5, "epoch": 3}
CONTENT = {
    "config": RunConfig(system="oracle", seed=4).as_dict(),
    "selection": SELECTED,
    "history": [],
    "metrics": {"intention": {"mAP": 0.25}, "exact": {"mAP": 0.125}},
}


def write_record(path, **changes):
    path.mkdir(parents=True, exist_ok=True)
    content = {name: value for name, value in (CONTENT | changes).items() if value != "removed"}
    (path / "record.json").write_text(json.dumps(content), encoding="utf-8")
    return path


# --- written whole --------------------------------------------------------------------------------------------


def test_a_folder_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "mini" / "runs" / "run"
    with written_whole(path) as folder:
        (folder / "a.txt").write_text("a")
        (folder / "b").mkdir()
        (folder / "b" / "c.txt").write_text("c")
        assert not path.exists()
        assert folder.parent == path.parent  # on one disk, so that it can be moved in one step
    assert sorted(p.relative_to(path).as_posix() for p in path.rglob("*")) == ["a.txt", "b", "b/c.txt"]
    assert os.listdir(path.parent) == ["run"]


def test_a_whole_folder_replaces_an_older_one(tmp_path):
    for name in ("old.txt", "new.txt"):
        with written_whole(tmp_path / "run") as folder:
            (folder / name).write_text(name)
    assert os.listdir(tmp_path / "run") == ["new.txt"]
    assert os.listdir(tmp_path) == ["run"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_block_that_fails_leaves_nothing_behind_and_the_older_folder_as_it_was(tmp_path, error):
    with pytest.raises(error), written_whole(tmp_path / "first") as folder:
        (folder / "half.txt").write_text("half")
        raise error
    assert os.listdir(tmp_path) == []
    with written_whole(tmp_path / "run") as folder:
        (folder / "whole.txt").write_text("whole")
    with pytest.raises(error), written_whole(tmp_path / "run") as folder:
        (folder / "half.txt").write_text("half")
        raise error
    assert os.listdir(tmp_path) == ["run"]
    assert os.listdir(tmp_path / "run") == ["whole.txt"]


def test_a_file_is_replaced_only_when_it_is_whole(tmp_path):
    path = tmp_path / "a.npz"
    for value in (1, 2):
        with replaced(path) as unfinished:
            np.savez(unfinished, value=value)  # which adds the ending where it is missing
            assert unfinished.parent == tmp_path  # on one disk, so that it can be moved in one step
            assert path.exists() == (value == 2)
        assert os.listdir(tmp_path) == ["a.npz"]
        assert read_arrays(path, ["value"], "x")["value"] == value


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_file_that_is_not_finished_leaves_the_older_one_as_it_was(tmp_path, error):
    path = tmp_path / "a.txt"
    with pytest.raises(error), replaced(path) as unfinished:
        raise error
    assert os.listdir(tmp_path) == []
    path.write_text("whole")
    with pytest.raises(error), replaced(path) as unfinished:
        unfinished.write_text("half")
        raise error
    assert os.listdir(tmp_path) == ["a.txt"] and path.read_text() == "whole"


def test_arrays_are_read_or_it_is_told_what_writes_them(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(IntraError, match=r"a\.npz: is not there; make it writes it anew"):
        read_arrays(path, ["b"], "make it")
    np.savez_compressed(path, b=np.arange(1000), c=["d"])
    found = read_arrays(path, ["b", "c"], "make it")
    assert found["b"].tolist() == list(range(1000)) and found["c"].tolist() == ["d"]
    with pytest.raises(IntraError, match=r"a\.npz: lacks an array: .*e.*; make it writes it anew"):
        read_arrays(path, ["b", "e"], "make it")
    whole = path.read_bytes()
    flipped = whole[:200] + bytes(byte ^ 0xFF for byte in whole[200:260]) + whole[260:]
    for damaged in (b"", b"PK", b"no arrays", whole[:-40], whole[: len(whole) // 2], flipped):
        path.write_bytes(damaged)
        with pytest.raises(IntraError, match=r"a\.npz: cannot be read: .*; make it writes it anew"):
            read_arrays(path, ["b", "c"], "make it")


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2


# --- reading --------------------------------------------------------------------------------------------------


def test_a_record_is_read_as_it_was_written(tmp_path):
    path = write_record(tmp_path / "mini" / "runs" / "oracle")
    run = {"c1": {"s2": 1.0, "s1": 0.5}}
    write_run(path / "test.run.gz", run, "tag")
    record = read_record(path)
    assert record.config == RunConfig(system="oracle", seed=4)
    assert (record.system, record.seed, record.metrics) == ("oracle", 4, CONTENT["metrics"])
    assert record.run() == run
    assert record.root == tmp_path / "mini"
    assert record.details() == {}
    np.savez_compressed(path / "details.npz", scores=np.arange(3, dtype=np.float16))
    assert record.details()["scores"].tolist() == [0, 1, 2]


RUN = {"c1": {"s2": 3.0, "s1": 2.0, "s3": 1.0}, "对话": {"s3": 2.0, "s1": 1.0}}
QRELS = {
    "intention": {"c1": {"s1", "s3"}, "对话": {"s1"}, "another": {"s1"}},
    "exact": {"c1": {"s3"}, "对话": {"s1"}, "another": {"s1"}},
}


def test_relevance_worked_by_hand(tmp_path):
    """The second query ranks its two candidates only."""
    path = write_record(tmp_path / "run")
    write_relevance(path / "relevance.npz", RUN, QRELS)
    record = read_record(path)
    assert record.relevance("intention").tolist() == [[False, True, True], [False, True, False]]
    assert record.relevance("exact").tolist() == [[False, False, True], [False, True, False]]
    assert record.relevance("exact").dtype == bool
    assert record.candidates().tolist() == [3, 2]
    frame = record.per_query("intention")
    assert list(frame.index) == ["c1", "对话"] and list(frame.columns) == list(METRICS)
    assert frame["mAP"].tolist() == [pytest.approx((1 / 2 + 2 / 3) / 2), 1 / 2]
    assert record.per_query("exact")["MRR"].tolist() == pytest.approx([1 / 3, 1 / 2])


def test_metrics_of_a_record_are_those_of_its_ranked_lists(tmp_path):
    rng = np.random.default_rng(0)
    queries, stickers = [f"q{n}" for n in range(30)], [f"s{n}" for n in range(12)]
    run = make_run(rng.random((30, 12)).round(1), queries, stickers)  # with ties
    run = {query: dict(list(ranking.items())[: 12 - n % 3]) for n, (query, ranking) in enumerate(run.items())}
    qrels = {
        match: {q: set(rng.choice(list(run[q])[:9], size)) for q in queries}
        for match, size in (("intention", 5), ("exact", 1))
    }
    path = write_record(tmp_path / "run")
    write_relevance(path / "relevance.npz", run, qrels)
    for match, right in qrels.items():
        assert read_record(path).per_query(match).equals(evaluate(run, right))


def test_the_same_relevance_is_the_same_bytes(tmp_path):
    for name in ("one", "other"):
        write_relevance(tmp_path / f"{name}.npz", RUN, QRELS)
        os.utime(tmp_path / f"{name}.npz", (0, 0))
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "other.npz").read_bytes()


@pytest.mark.parametrize("data", [None, b"", b"PK\x03\x04 and no more", "cut"])
def test_relevance_that_is_not_there_or_broken_is_one_line(tmp_path, data):
    path = write_record(tmp_path / "run")
    write_relevance(path / "relevance.npz", RUN, QRELS)
    whole = (path / "relevance.npz").read_bytes()
    (path / "relevance.npz").unlink()
    if data is not None:
        (path / "relevance.npz").write_bytes(whole[: len(whole) // 2] if data == "cut" else data)
    with pytest.raises(IntraError, match=r"run/relevance\.npz: cannot be read: ") as error:
        read_record(path).per_query("exact")
    assert "\n" not in str(error.value)


def test_a_control_selects_nothing(tmp_path):
    assert read_record(write_record(tmp_path / "random", selection=None)).content["selection"] is None


def test_a_record_that_selected_on_test_is_refused(tmp_path):
    path = write_record(tmp_path / "run", selection=SELECTED | {"split": "test"})
    with pytest.raises(IntraError) as error:
        read_record(path)
    assert str(error.value) == f"{path}/record.json: selection.split: 'test', expected 'valid'"


@pytest.mark.parametrize("part", CONTENT)
def test_an_incomplete_record_is_refused(tmp_path, part):
    path = write_record(tmp_path / "run", **{part: "removed"})
    with pytest.raises(IntraError) as error:
        read_record(path)
    assert str(error.value) == f"{path}/record.json: {part}: is missing"


@pytest.mark.parametrize("data", [b'{"config": ', b"\xff\xfe", b"[]"])
def test_a_broken_record_is_told_in_one_line(tmp_path, data):
    (tmp_path / "record.json").write_bytes(data)
    with pytest.raises(IntraError, match=r"record\.json: ") as error:
        read_record(tmp_path)
    assert "\n" not in str(error.value)


def test_a_folder_without_record_is_told_in_one_line(tmp_path):
    with pytest.raises(IntraError, match=r"none: holds no record\.json$"):
        read_record(tmp_path / "none")


def test_different_configs_have_different_names():
    configs = [RunConfig(system=s, seed=n, window=w) for s in ("random", "oracle") for n in (0, 1) for w in (5, 6)]
    assert len({run_name(config) for config in configs}) == 8
    assert run_name(configs[0]) == f"random-seed0-{configs[0].digest()}"


# --- the digest of the code -----------------------------------------------------------------------------------

CODE = {
    "encoders/net.py": '"""A net."""\n\n\ndef forward(x):\n    """Add one."""\n    # really\n    return x + 1\n',
    "losses.py": "MARGIN = 0.2\n",
    "figures.py": "COLOUR = 'red'\n",
    "replystickers/design.py": "SEED = 1\n",
}


@pytest.fixture
def digest(tmp_path, monkeypatch):
    """Digest of the small package above, some files changed, added or (None) removed."""
    monkeypatch.setattr(records, "PACKAGE", tmp_path / "intra")
    made = []

    def measure(*patterns, **changes):
        package = tmp_path / f"{len(made)}" / "intra"
        monkeypatch.setattr(records, "PACKAGE", package)
        for name, source in (CODE | {name.replace("__", "/") + ".py": text for name, text in changes.items()}).items():
            if source is not None:
                (package / name).parent.mkdir(parents=True, exist_ok=True)
                (package / name).write_text(source, encoding="utf-8")
        records.code_digest.cache_clear()
        made.append(records.code_digest(patterns) if patterns else records.code_digest())
        return made[-1]

    yield measure
    records.code_digest.cache_clear()  # the next test asks about the real package


@pytest.mark.parametrize(
    "changes",
    [
        {"encoders__net": "def forward(x):\n    return x + 1\n"},
        {
            "encoders__net": '"""Other words."""\ndef forward( x ):\n'
            '    """Over\n    lines."""\n    return (x\n        + 1)  # so\n'
        },
        {"losses": '# a comment\n\nMARGIN = .2\n"""What the margin is."""\n'},
        {"figures": "COLOUR = 'blue'\n"},
        {"replystickers__design": "SEED = 2\n"},
        {"tables": "new = True\n"},
        {"data__statistics": "shown = True\n"},
        {"generation__answers": "asked = True\n"},
        {"models__srs": "x = 1\n"},  # a system's own modules count for it alone
    ],
)
def test_the_digest_ignores_words_and_what_is_only_shown(digest, changes):
    assert digest() == digest(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"encoders__net": "def forward(x):\n    return x + 2\n"},
        {"encoders__net": "def forward(x, y=1):\n    return x + 1\n"},
        {"losses": "MARGIN = 0.3\n"},
        {"losses": 'MARGIN = 0.2\nNAME = "margin"\n'},
        {"losses": None},
        {"encoders__net": None, "encoders__network": CODE["encoders/net.py"]},
        {"encoders__figures": "COLOUR = 'red'\n"},
        {"encoders__new": ""},
    ],
)
def test_the_digest_changes_with_the_code(digest, changes):
    assert digest() != digest(**changes)


def test_a_string_that_is_used_is_code(digest):
    assert digest(losses='NAME = "a"\n') != digest(losses='NAME = "b"\n')
    assert digest(losses='def f():\n    return "a"\n') != digest(losses='def f():\n    return "b"\n')


def test_a_digest_of_some_modules_follows_these_alone(digest):
    some = ("losses.py", "encoders/[!p]*.py")
    assert digest(*some) == digest(*some, figures="COLOUR = 1\n", encoders__pretraining="x = 1\n", features="x = 1\n")
    assert digest(*some) != digest(*some, losses="MARGIN = 0.3\n")
    assert digest(*some) != digest(*some, encoders__new="x = 1\n")
    assert digest(*some) != digest("losses.py")
    assert digest("losses.py", "losses.py") == digest("losses.py")
    assert digest("losses.py", "figures.py") == digest("figures.py", "losses.py")
    assert digest(*records.RESULT_CODE) == digest()


@pytest.mark.parametrize(
    ("statement", "is_one"),
    [
        ('"words"', True),
        ('"""words\n    over lines"""', True),
        ('"two " "parts"', True),
        ('b"bytes"', False),
        ("...", False),
        ("1", False),
        ('f"{x}"', False),
        ('x = "words"', False),
        ('print("words")', False),
        ('return_("words")', False),
    ],
)
def test_a_docstring_is_a_string_that_nothing_uses(statement, is_one):
    (node,) = ast.parse(statement).body
    assert records._is_docstring(node) is is_one
