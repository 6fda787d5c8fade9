"""The papermill driver: strict parameters, one-line failures, and builds that go on where they ended."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from intra import notebooks as files
from intra import reproduce, study
from intra.errors import IntraError
from intra.paths import ROOT
from intra.records import Record, run_name
from intra.reproduce import Stopwatch

COUNTING = 'import sys\nprint(f"{profile} {seeds}")\nprint("warning", file=sys.stderr)'


def make_notebook(path, *sources, parameters='profile = "mini"\nseeds = [0]'):
    """Write a notebook that has not run, as an author's editor would."""
    cells = [new_markdown_cell("# Title"), new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    notebook = new_notebook(cells=cells + [new_code_cell(source) for source in sources])
    notebook.metadata["kernelspec"] = {"name": "someone-elses", "display_name": "Other", "language": "python"}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def printed(path):
    cells = nbformat.read(path, as_version=4).cells
    return "".join(out.get("text", "") for cell in cells for out in cell.get("outputs", []))


@pytest.fixture
def inputs(tmp_path):
    """A stand-in for the records; the package is left out of the digest, since others edit it."""
    folder = tmp_path / "records"
    folder.mkdir()
    (folder / "a.json").write_text("{}")
    return folder


@pytest.fixture
def run(tmp_path, inputs, monkeypatch):
    """Execute notebooks into the folder `run` and return what was reported, as stem: outcome."""
    monkeypatch.setattr(reproduce, "PACKAGE", ROOT / ".ci")

    def execute(notebooks, parameters=None, **options):
        lines: list[str] = []
        reproduce.execute_notebooks(
            tmp_path / "run",
            parameters,
            notebooks=notebooks,
            inputs=[inputs],
            report=lines.append,
            **options,
        )
        return {line.split()[0]: "unchanged" if "unchanged" in line else "executed" for line in lines}

    return execute


def test_a_notebook_is_executed_once_and_again_when_something_changed(tmp_path, run, inputs):
    source = make_notebook(tmp_path / "01_a.ipynb", COUNTING)
    before = source.read_bytes()
    copy = tmp_path / "run" / "notebooks" / "01_a.ipynb"
    assert run([source]) == {"01_a": "executed"}
    assert source.read_bytes() == before
    assert printed(copy) == "mini [0]\n"
    assert "papermill" not in copy.read_text()
    assert "stderr" not in copy.read_text().replace("sys.stderr", "")
    assert nbformat.read(copy, as_version=4).metadata.kernelspec.name == "python3"
    assert not list((tmp_path / "run").rglob(".*"))
    assert run([source]) == {"01_a": "unchanged"}

    reproduce.accept(tmp_path / "run", [source], report=str)  # outputs are no change
    assert run([source]) == {"01_a": "unchanged"}
    assert run([source], force=True) == {"01_a": "executed"}
    (inputs / "a.json").write_text('{"new": 1}')
    assert run([source]) == {"01_a": "executed"}
    assert run([source], {"seeds": [0, 1]}) == {"01_a": "executed"}
    assert printed(copy) == "mini [0, 1]\n"
    assert [files.is_injected(cell) for cell in nbformat.read(copy, as_version=4).cells].count(True) == 1
    make_notebook(source, COUNTING.replace("print(f", "print(1, f"))
    assert run([source], {"seeds": [0, 1]}) == {"01_a": "executed"}


def test_a_notebook_that_reads_others_is_executed_again_after_one_of_them(tmp_path, run, monkeypatch):
    monkeypatch.setattr(reproduce, "READ_OTHERS", ("17_c",))
    names = ("01_a", "02_b", "17_c")
    sources = [make_notebook(tmp_path / f"{name}.ipynb", f"print('{name}')") for name in names]
    run(sources)
    assert run(sources) == dict.fromkeys(names, "unchanged")
    make_notebook(sources[0], "print('other')")
    assert run(sources) == {"01_a": "executed", "02_b": "unchanged", "17_c": "executed"}


def test_a_failing_cell_ends_in_one_line_and_the_next_run_goes_on_there(tmp_path, run):
    first = make_notebook(tmp_path / "01_a.ipynb", "print(profile)")
    second = make_notebook(tmp_path / "02_b.ipynb", "print(1)", 'raise ValueError("no such sticker\\nmore")')
    with pytest.raises(IntraError) as failure:
        run([first, second])
    message = str(failure.value)
    partial = tmp_path / "run" / "failed" / "02_b.ipynb"
    assert message == f"02_b.ipynb: cell 3: ValueError: no such sticker (what ran is in {partial})"
    assert printed(partial) == "1\n"
    assert not (tmp_path / "run" / "notebooks" / "02_b.ipynb").exists()
    make_notebook(second, "print(1)")
    assert run([first, second]) == {"01_a": "unchanged", "02_b": "executed"}
    assert not partial.exists()


def test_a_kernel_that_dies_ends_in_one_line(tmp_path, run):
    source = make_notebook(tmp_path / "01_a.ipynb", "import os\nos._exit(1)")
    with pytest.raises(IntraError, match=r"^01_a\.ipynb: DeadKernelError: [^\n]+$"):
        run([source])


def test_an_earlier_copy_is_not_taken_for_the_result_of_a_failed_run(tmp_path, run):
    source = make_notebook(tmp_path / "01_a.ipynb", "print(seeds[0])")
    run([source])
    with pytest.raises(IntraError, match="IndexError"):
        run([source], {"seeds": []})
    assert run([source]) == {"01_a": "executed"}


def test_an_interrupt_leaves_no_half_written_file(tmp_path):
    first = make_notebook(tmp_path / "01_a.ipynb", "print(profile)")
    second = make_notebook(tmp_path / "02_b.ipynb", "print('before')", "import time\ntime.sleep(60)")
    code = (
        "import signal, sys; from pathlib import Path; from intra.reproduce import execute_notebooks\n"
        # a shell starts what it runs in the background with interrupts ignored
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "try: execute_notebooks(Path(sys.argv[1]), notebooks=[Path(p) for p in sys.argv[2:]])\n"
        "except KeyboardInterrupt as stop: sys.exit(f'stopped: {stop}')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "run"), str(first), str(second)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not any("before\\n" in path.read_text() for path in (tmp_path / "run").glob("notebooks/.*-02_b.ipynb")):
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 1
    assert told == "stopped: interrupted in 02_b.ipynb; start again to go on from this notebook\n"
    kept = [path.relative_to(tmp_path / "run").as_posix() for path in sorted((tmp_path / "run").rglob("*"))]
    assert kept == ["notebooks", "notebooks/01_a.ipynb", "stamps", "stamps/01_a"]


@pytest.fixture
def two(tmp_path):
    return [
        make_notebook(tmp_path / "05_training.ipynb", parameters='profile = "mini"\nseeds = [0]\nsteps = 5'),
        make_notebook(tmp_path / "06_main.ipynb", parameters='profile = "mini"\nseeds = [0]'),
    ]


def test_parameters_go_to_the_notebooks_that_have_them(two):
    given = {"06_main.seeds": [7], "seeds": [0, 1], "steps": 9}
    training, main = reproduce.assign_parameters(two, given).values()
    assert training == {"seeds": [0, 1], "steps": 9}
    assert main == {"seeds": [7]}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "sedes",
            "05_training.ipynb, 06_main.ipynb: unknown parameter 'sedes' (did you mean 'seeds'?); "
            "known are profile, seeds, steps",
        ),
        ("06_main.window", "06_main.ipynb: unknown parameter 'window'; known are profile, seeds"),
        (
            "06_mian.seeds",
            "unknown notebook '06_mian' (did you mean '06_main'?); known are 05_training, 06_main",
        ),
    ],
)
def test_an_unknown_parameter_is_refused_before_anything_runs(name, told, two, run, tmp_path):
    with pytest.raises(IntraError) as failure:
        run(two, {name: 1})
    assert str(failure.value) == told
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"cells": 3, "nbformat": 4, "nbformat_minor": 5}'])
def test_a_corrupted_notebook_is_refused_before_anything_runs(content, two, run, tmp_path):
    two[1].write_text(content)
    with pytest.raises(IntraError, match=r"06_main\.ipynb: not a valid notebook: [^\n]+$"):
        run(two)
    assert not (tmp_path / "run").exists()


def test_a_missing_notebook_is_refused(tmp_path, run):
    with pytest.raises(IntraError, match=r"07_none\.ipynb: there is no such notebook"):
        run([tmp_path / "07_none.ipynb"])


def test_accept_carries_outputs_back_without_the_parameters_of_the_run(tmp_path, run):
    source = make_notebook(tmp_path / "01_a.ipynb", COUNTING)
    run([source], {"profile": "smoke"})
    assert reproduce.accept(tmp_path / "run", [source], report=str) == [source]
    notebook = nbformat.read(source, as_version=4)
    assert [cell.get("execution_count") for cell in notebook.cells] == [None, 1, 2]
    assert printed(source) == "smoke [0]\n"
    assert not any(files.is_injected(cell) for cell in notebook.cells)
    assert reproduce.accept(tmp_path / "run", [source], report=str) == []


def test_accept_does_not_overwrite_a_newer_notebook(tmp_path, run):
    first, second = (make_notebook(tmp_path / name, "print(1)") for name in ("01_a.ipynb", "02_b.ipynb"))
    run([first, second])
    make_notebook(second, "print(2)")
    before = first.read_bytes(), second.read_bytes()
    with pytest.raises(IntraError, match=r"02_b\.ipynb: changed since it was executed"):
        reproduce.accept(tmp_path / "run", [first, second])
    assert (first.read_bytes(), second.read_bytes()) == before


def test_the_stopwatch_counts_the_environment_once(tmp_path):
    (tmp_path / ".seconds").write_text("31\n")
    watch = reproduce.Stopwatch(tmp_path / ".seconds")
    for _ in range(2):
        with watch.stage("book"):
            time.sleep(0.05)
    rows = dict(line.rsplit(maxsplit=1) for line in watch.table().splitlines())
    assert rows["environment"] == "31.0"
    assert 0.1 <= float(rows["book"]) < 5
    assert float(rows["total"]) == pytest.approx(31 + float(rows["book"]), abs=0.11)
    assert "environment" not in reproduce.Stopwatch(tmp_path / ".seconds").table()


def test_the_environment_of_kernels_is_put_back(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    before = dict(os.environ)
    with reproduce._kernel_environment():
        assert os.environ["HF_HUB_OFFLINE"] == "0"  # who asks for the hub gets it
        assert set(reproduce.KERNEL_ENVIRONMENT) <= set(os.environ)
    assert dict(os.environ) == before


def test_notebooks_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = make_notebook(tmp_path / "01_a.ipynb", "print(1)")
    before = path.read_bytes()
    monkeypatch.setattr(nbformat, "writes", lambda notebook: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        files.write(nbformat.read(path, as_version=4), path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["01_a.ipynb"]
    assert path.read_bytes() == before


def test_written_notebooks_end_in_a_line_and_differ_little(tmp_path):
    path = make_notebook(tmp_path / "01_a.ipynb", "print('表情')")
    files.write(files.clean(files.read(path)), path)
    text = path.read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert "表情" in text
    assert json.loads(text)["metadata"]["language_info"] == {"name": "python"}
    assert not re.search(r"3\.\d+\.\d+", text)


def test_a_build_runs_all_studies_and_tells_of_each(tmp_path, monkeypatch):
    """Without the trainings, the notebooks and the rendering, which have tests of their own."""
    asked, pages, offered = [], [], []

    def run_study(names, **options):
        asked.append((names, options))
        return [made(config) for config in study.distinct_configs(names, seeds=options["seeds"])]

    def made(config):
        metrics = {"intention": {"mAP": 0.25}}
        inputs = {"code": "0123456789ab", "dataset": "ba9876543210", "components": {"text": "an encoder@1"}}
        content = {"config": config.as_dict(), "metrics": metrics, "inputs": inputs, "environment": {"python": "3"}}
        content["dataset"] = {"name": "ReplyStickers", "version": "1"}
        return Record(tmp_path / run_name(config), content | {"seconds": {"fit": 1.0, "score": 0.5}})

    def reference(name):
        return study.by_label([made(config) for config in study.distinct_configs([name])], name)

    copied = []
    monkeypatch.setattr(study, "generated", copied.append)
    monkeypatch.setattr(study, "run_study", run_study)
    monkeypatch.setattr(study, "reference_records", reference)
    monkeypatch.setattr(reproduce, "execute_notebooks", lambda *arguments, **options: [])
    monkeypatch.setattr(reproduce, "stage_site", lambda run, site, page: pages.append(page))
    monkeypatch.setattr(reproduce, "stage_runs", lambda main, folder: offered.append((list(main), folder)))
    monkeypatch.setattr(reproduce, "render_book", lambda site, html: True)
    monkeypatch.setattr(reproduce, "Stopwatch", lambda seconds: Stopwatch())  # those of the environment stay
    lines = []
    reproduce.reproduce([1], workers=2, report=lines.append)
    names = [name for name, own in study.STUDIES.items() if own.in_every_build]
    assert asked == [(names, {"seeds": [1], "report": lines.append, "workers": 2})]
    assert copied == ["mini"]  # text that was generated for the reference
    assert offered == [(list(study.STUDIES["main"].configurations), reproduce.BUILD / "site" / "downloads" / "runs")]
    (table,) = re.findall(r":name: tab-agreement\n.*?```", pages[0], re.DOTALL)
    compared = re.findall(r"\* - (.*)\n  - (.*)\n  - 1\n  - 25.00 ± 0.00\n  - 25.00\n  - (.*)", table)
    assert compared == [
        (name, label, "same" if 1 in own.seeds else "within seed spread")  # of the seeds that the reference has
        for name, own in study.STUDIES.items()
        if own.in_every_build
        for label in own.configurations
    ]
    assert re.search(r"study +\d", lines[-1]) and "environment" not in lines[-1]
