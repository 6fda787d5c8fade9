"""What the README tells a newcomer to type does what it says."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import intra
from intra.cli import main
from intra.paths import ROOT
from intra.reproduce import RESULTS, results_table, write_results

README = (ROOT / "README.md").read_text(encoding="utf-8")
LINES = [
    line.split("#")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]
IN_TEXT = re.findall(r"`(intra [^`]+)`", README)


def test_every_make_target_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?m)(?:^|`)make ([a-z]+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("line", [line for line in [*LINES, *IN_TEXT] if line.startswith("intra ")])
def test_every_intra_command_is_understood(line, capsys):
    words = shlex.split(line)[1:]
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--help"])
    assert stopped.value.code == 0
    usage = capsys.readouterr().out
    for option in re.findall(r"(?<!\S)--?[a-z]+", line):
        assert option in usage


def test_the_results_are_those_of_the_reference():
    assert RESULTS.search(README)[0].split("\n", 1)[1].rsplit("\n", 1)[0].strip() == results_table()


def test_write_results_replaces_the_block_and_nothing_else(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- results: begin (x) -->\nold\n<!-- results: end -->\nafter\n", encoding="utf-8")
    write_results(readme)
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- results: begin (x) -->\n") and text.endswith("<!-- results: end -->\nafter\n")
    assert "old" not in text and results_table() in text


def test_papermill_runs_a_notebook_from_any_folder(tmp_path):
    (line,) = [line for line in LINES if line.startswith("papermill ")]
    command = shlex.split(line.replace("notebooks/", f"{ROOT}/notebooks/"))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", *command], cwd=tmp_path, env=environment, check=True, capture_output=True)
    notebook = json.loads((tmp_path / "out.ipynb").read_text(encoding="utf-8"))
    printed = "".join(
        "".join(output.get("text", "")) for cell in notebook["cells"] for output in cell.get("outputs", [])
    )
    assert "{'Int-RA': 2, 'Int-RA+': 2} runs" in printed  # with the two seeds that were asked for


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == intra.__version__
    assert re.search(rf'^version = "{re.escape(intra.__version__)}"$', Path(ROOT / "pyproject.toml").read_text(), re.M)
