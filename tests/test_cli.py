"""The command line: help, one-line errors, status, and numbers that are those of the records."""

import json
import shutil
import subprocess
import sys

import pytest
from helpers import SMOKE_ROWS

from intra import __version__, reproduce, study
from intra.cli import _assignments, _seeds, main
from intra.config import RunConfig
from intra.engines import processors
from intra.errors import IntraError
from intra.paths import ROOT
from intra.study import distinct_configs

pytest_plugins = ["helpers"]
ROWS = [word for label in SMOKE_ROWS for word in ("--label", label)]


@pytest.fixture
def fail(capsys):
    """Run a command that must fail: its status and its one line on stderr."""

    def run(*arguments, status=1):
        assert main(list(map(str, arguments))) == status
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith("intra: ") and printed.err.count("\n") == 1
        return printed.err

    return run


@pytest.fixture
def printed(capsys):
    """Run a command that must succeed: what it prints, parsed where it is asked for JSON."""

    def run(*arguments):
        assert main(list(map(str, arguments))) == 0
        out = capsys.readouterr().out
        return json.loads(out) if "--json" in arguments else out

    return run


@pytest.fixture
def records(smoke, cache):
    """Folder of the smoke study's records."""
    return smoke[0].root.parent


# Help


@pytest.mark.parametrize(
    ("command", "mentioned"),
    [
        ([], ["data", "train", "evaluate", "study", "reproduce", "--version"]),
        (["data"], ["stats", "validate", "import", "export"]),
        (["data", "stats"], ["--json", "--figure", "dataset"]),
        (
            ["data", "import"],
            "stickerint mod stickerchat source --out --labels majority last all --gallery --own-words".split(),
        ),
        (["data", "export"], ["dataset", "--format", "parquet", "imagefolder", "--out"]),
        (["data", "validate"], ["--json", "dataset"]),
        (
            ["train"],
            ["--system", "--seed", "--set", "--profile", "--out", "--json", *RunConfig.__dataclass_fields__],
        ),
        (["evaluate"], ["path", "--dataset", "--split", "--profile", "--json"]),
        (
            ["study"],
            "NAME all --dataset --seeds --label --profile --out --workers --engine local ray --address --json".split(),
        ),
        (["reproduce"], ["--seeds", "-p", "--workers", "--accept"]),
    ],
    ids=lambda value: " ".join(value) or "intra",
)
def test_help_mentions_every_option(command, mentioned, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--help"])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    for name in mentioned:
        assert name in printed
    assert "smoke" in printed or "--profile" not in mentioned


def test_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"intra {__version__}\n"


def test_help_needs_no_torch():
    code = "import sys; from intra.cli import main\ntry: main(['study', '--help'])\nexcept SystemExit: pass\n"
    code += "print(sorted({'torch', 'numpy', 'pandas', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "words", ["", "data", "data export", "data import mod", "trian", "train --sed 1", "evaluate", "study"]
)
def test_a_command_that_is_none_prints_usage(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words.split())
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("usage: intra")


# Arguments


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("0-4", [0, 1, 2, 3, 4]),
        ("0,2,7", [0, 2, 7]),
        ("3", [3]),
        ("5-6,1", [5, 6, 1]),
        ("2-2", [2]),
        ("[0, 1]", [0, 1]),
    ],
)
def test_lists_of_seeds(text, seeds):
    assert _seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "4-0", "1-", "-1", "0,", "0-1-2", "1.5"])
def test_what_is_no_list_of_seeds_is_refused(text, capsys):
    """`4-0` is empty, and must not quietly mean the default of five seeds."""
    with pytest.raises(SystemExit) as stopped:
        main(["study", "main", f"--seeds={text}"])
    assert stopped.value.code == 2
    assert f"{text!r} is no list of seeds such as 0-4 or 0,2,7" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", ""])
def test_what_is_no_number_of_processes_is_refused(text, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["study", "main", f"--workers={text}"])
    assert stopped.value.code == 2
    assert f"{text!r} is no number of processes from 1 up" in capsys.readouterr().err


def test_assignments_are_json_where_they_can_be():
    pairs = ["epochs=2", "margin=0.5", "system=oracle", "dataset=a=b", "x=[1, 2]", "y=", "z=true"]
    assert _assignments(pairs) == {
        "epochs": 2,
        "margin": 0.5,
        "system": "oracle",
        "dataset": "a=b",
        "x": [1, 2],
        "y": "",
        "z": True,
    }
    with pytest.raises(IntraError, match="'epochs' is not NAME=VALUE"):
        _assignments(["epochs"])


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--profile", "smoek"], "unknown profile 'smoek' (did you mean 'smoke'?)"),
        (["train", "--profile", "smoke", "--system", "int-ra"], "unknown system 'int-ra' (did you mean 'int_ra'?)"),
        (["train", "--set", "epoch=3"], "unknown setting 'epoch' (did you mean 'epochs'?)"),
        (["train", "--set", "epochs"], "'epochs' is not NAME=VALUE"),
        (["train", "--set", "epochs=0"], "epochs is 0"),
        (["train", "--set", "learning_rate=fast"], "learning_rate is 'fast'"),
        (["train", "--set", "width=30"], "width 30 is no multiple of heads"),
        (["train", "--seed", "-1"], "seed is -1"),
        (["train", "--profile", "smoke", "--set", "dataset=replysticker"], "replysticker: no such data set"),
        (["study", "mian"], "unknown study 'mian' (did you mean 'main'?)"),
        (["study", "main", "windw"], "unknown study 'windw' (did you mean 'window'?)"),
        (["study", "main", "--label", "Int-R"], "unknown configuration 'Int-R' (did you mean 'Int-RA'?)"),
        (["study", "main", "--label", "Int-RA", "--label", "w/o mixture"], "unknown configuration 'w/o mixture'"),
        (["study", "main", "--profile", "smoke", "--address", "a:1"], "the local engine has no address such as a:1"),
        (
            ["study", "main", "--profile", "smoke", "--engine", "ray", "--address", "here"],
            "'here' is no address of a Ray cluster such as 10.0.0.1:6379",
        ),
        (["study", "main", "--profile", "Smoke"], "unknown profile 'Smoke' (did you mean 'smoke'?)"),
        *(
            ([*command, "--profile", "paper"], "the profile 'paper' has no data set of its own")
            for command in (["knowledge"], ["attributes"], ["features"], ["train"], ["study", "main"])
        ),
        (["study", "main", "--profile", "paper", "--dataset", "elsewhere"], "elsewhere: no such data set"),
        (["evaluate", "nowhere.run"], "nowhere.run: cannot be read"),
        (["evaluate", "."], "holds no record.json"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(arguments, message, fail, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(study, "FRESH_RECORDS", tmp_path / "records")
    assert message in fail(*arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("more", [["--seeds", "1"], ["--seeds", "0"], ["-p", "profile=smoke"]], ids=" ".join)
def test_accepting_takes_the_run_as_it_is(more, fail, monkeypatch):
    for name in ("accept_run", "reproduce"):
        monkeypatch.setattr(reproduce, name, lambda *arguments: pytest.fail("something is made"))
    assert fail("reproduce", "--accept", *more) == (
        "intra: --accept takes the run as it is: neither --seeds nor -p go with it\n"
    )


def test_reproduce_passes_on_what_it_is_given(printed, monkeypatch):
    called = []
    monkeypatch.setattr(reproduce, "accept_run", lambda: called.append("accept"))
    monkeypatch.setattr(reproduce, "reproduce", lambda *arguments: called.append(arguments))
    for arguments in (["--accept"], [], ["--seeds", "1-2", "-p", "profile=smoke", "--workers", "3"]):
        printed("reproduce", *arguments)
    assert called == ["accept", (None, {}, processors()), ([1, 2], {"profile": "smoke"}, 3)]


RUN_LINE = "c1 Q0 s1 1 0.5 tag\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (RUN_LINE + "c1 Q0 s2\n", r"bad.run:2: has 3 columns, expected 6"),
        (RUN_LINE + "c1 Q0 s2 second 0.4 tag\n", r"bad.run:2: "),
        (RUN_LINE + RUN_LINE.replace(" 1 ", " 2 "), "bad.run"),
        ("", "bad.run: holds no ranking"),
        (RUN_LINE, "query"),
    ],
    ids=["columns", "rank", "twice", "empty", "other queries"],
)
def test_a_bad_run_file_is_told_with_its_line(content, message, fail, tmp_path):
    (tmp_path / "bad.run").write_text(content)
    assert message in fail("evaluate", tmp_path / "bad.run", "--profile", "smoke")


def test_a_folder_that_cannot_be_written_is_one_line(fail, cache, tmp_path):
    (tmp_path / "file").write_text("")
    assert "Not a directory" in fail("train", "--profile", "smoke", "--system", "random", "--out", tmp_path / "file")


@pytest.mark.parametrize("word", ["", "interrupted in 05_training.ipynb; start again"])
def test_ctrl_c_ends_with_130(word, fail, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt(*[word] if word else [])

    monkeypatch.setattr(study, "run_study", interrupted)
    line = fail("study", "main", "--profile", "smoke", status=130)
    assert line == f"intra: {word or 'interrupted; start again to go on'}\n"


# Commands that do something


def test_train_prints_its_record_as_json(printed, cache, smoke, tmp_path):
    arguments = ["train", "--profile", "smoke", "--seed", 3, "--set", "epochs=2", "--set", "margin=0.3"]
    found = printed(*arguments, "--out", tmp_path, "--json")
    assert found["config"] == RunConfig(profile="smoke", seed=3, epochs=2, margin=0.3).as_dict()
    assert [entry["epoch"] for entry in found["history"]] == [1, 2]
    path = tmp_path / "smoke" / "runs" / f"int_ra-seed3-{found['digest']}"
    assert found.pop("path") == str(path)
    assert json.loads((path / "record.json").read_text()) == found


def test_train_prints_what_was_selected_and_nothing_of_the_test_split(printed, cache, smoke, tmp_path):
    arguments = ["train", "--profile", "smoke", "--set", "epochs=1", "--out", tmp_path]
    found = printed(*arguments, "--json")
    assert printed(*arguments).splitlines() == [  # read from the record
        found["path"],
        f"epoch 1, mAP on valid {found['selection']['value']:.4f}",
        f"the test split: intra evaluate {found['path']}",
    ]
    assert printed("evaluate", found["path"], "--json") == found["metrics"]  # as told


def test_train_of_a_control_selects_nothing(printed, cache, smoke, tmp_path):
    arguments = ["train", "--profile", "smoke", "--system", "majority", "--out", tmp_path]
    found = printed(*arguments, "--json")
    assert found["selection"] is None and found["metrics"].keys() == {"intention", "exact"}
    assert printed(*arguments).splitlines() == [found["path"], f"the test split: intra evaluate {found['path']}"]


def test_evaluate_scores_a_record_anew(printed, records, smoke, monkeypatch):
    for record in smoke:
        assert printed("evaluate", record.path, "--json") == record.metrics
    monkeypatch.chdir(record.path)
    assert printed("evaluate", ".", "--json") == record.metrics
    monkeypatch.chdir(record.path.parent)
    assert printed("evaluate", record.path.name, "--json") == record.metrics


def test_evaluate_on_valid_gives_what_was_selected_by(printed, records, smoke):
    record = next(r for r in smoke if r.system == "int_ra")
    found = printed("evaluate", record.path, "--split", "valid", "--json")
    assert found["intention"]["mAP"] == pytest.approx(record.content["selection"]["value"], abs=1e-6)


def test_evaluate_reads_a_run_file(printed, smoke):
    for record in smoke:
        found = printed("evaluate", record.path / "test.run.gz", "--profile", "smoke", "--json")
        assert found == record.metrics
    heads, intention, _ = printed("evaluate", record.path / "test.run.gz", "--profile", "smoke").splitlines()
    assert heads.split() == list(record.metrics["intention"])
    assert intention.split()[1:] == [f"{value:.4f}" for value in record.metrics["intention"].values()]


def test_study_prints_every_record_as_json(records, smoke, capsys):
    arguments = ["study", "main", *ROWS, "--profile", "smoke", "--seeds", "0-1", "--out", str(records), "--json"]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == [record.content for record in smoke]
    told = printed.err.splitlines()
    names = distinct_configs(["main"], "smoke", (0, 1), labels=SMOKE_ROWS)
    assert [line.split(":")[0] for line in told] == [f"{n}/8 {names[r.config]}" for n, r in enumerate(smoke, 1)]
    for line, record in zip(told, smoke, strict=True):
        selected = record.content["selection"]
        assert (f"valid mAP {selected['value']:.4f}" if selected else "nothing to select") in line
        assert "test" not in line


def test_study_prints_tables(printed, records, smoke):
    arguments = ["--profile", "smoke", "--seeds", "0-1", "--workers", "1", "--out", records]
    lines = printed("study", "main", *ROWS, *arguments).splitlines()
    assert [line for line in lines if line.endswith("interval]")] == [
        "main: intention match, percent [95 % interval]",
        "main: exact match, percent [95 % interval]",
    ]
    (first,) = [line for line in lines[: len(lines) // 2] if line.startswith("Random")]
    hit = 100 * sum(r.metrics["intention"]["hit@1"] for r in smoke if r.system == "random") / 2
    assert first.removeprefix("Random").split()[0] == f"{hit:.1f}"
    assert sum(line.startswith("Int-RA") for line in lines) == 2


def test_some_rows_of_studies_are_printed_alone(printed, records, smoke, cache):
    arguments = ["--profile", "smoke", "--seeds", "0", "--workers", "1", "--out", records]
    lines = printed("study", "main", "window", "--label", "Oracle intention", *arguments).splitlines()
    assert [line for line in lines if line.endswith("interval]")] == [  # no row of the study `window`
        "main: intention match, percent [95 % interval]",
        "main: exact match, percent [95 % interval]",
    ]
    assert sum(line.startswith("Oracle intention") for line in lines) == 2
    assert not [line for line in lines if line.startswith(("Random", "Int-RA"))]


def test_several_studies_are_made_at_once_and_each_is_printed(printed, records, cache, tmp_path, monkeypatch):
    labels = {"first": {"A": {"system": "random"}, "B": {"system": "oracle"}}, "second": {"C": {"system": "oracle"}}}
    monkeypatch.setattr(study, "STUDIES", {name: study.Study(own, seeds=(0,)) for name, own in labels.items()})
    shutil.copytree(records / "smoke" / "generated", tmp_path / "smoke" / "generated")
    arguments = ["--profile", "smoke", "--workers", "1", "--out", tmp_path]
    tables = printed("study", "second", "first", "second", *arguments)
    heads = [line for line in tables.splitlines() if line.endswith("interval]")]
    assert [head.split(",")[0] for head in heads] == [
        f"{name}: {match} match" for name in ("second", "first") for match in ("intention", "exact")
    ]
    assert len(list((tmp_path / "smoke" / "runs").iterdir())) == 2
    everything = printed("study", "all", *arguments)
    for name, own in labels.items():
        table = everything.split(f"{name}: intention match")[1].split("\n\n")[0]
        assert [line.split()[0] for line in table.splitlines()[2:]] == list(own)
    contents = printed("study", "all", *arguments, "--json")
    assert [content["config"]["system"] for content in contents] == ["random", "oracle"]


def test_the_module_runs_as_a_command(elsewhere, smoke):
    """In another process, with nothing cached: JSON on stdout, one line a run on stderr and nothing else there."""
    found = json.loads((elsewhere / "stdout").read_text())
    seed_0 = [record for record in smoke if record.seed == 0]
    assert [content["metrics"] for content in found] == [record.metrics for record in seed_0]
    told = (elsewhere / "stderr").read_text().splitlines()
    assert [line.split()[0] for line in told] == [f"{n}/4" for n in range(1, 5)]  # runs in whatever order
    names = distinct_configs(["main"], "smoke", 0, labels=SMOKE_ROWS)
    assert sorted(line.split(":")[0][4:] for line in told) == sorted(names.values())
