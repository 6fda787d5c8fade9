"""nbval, as `conftest.py` sets it up, fails on what matters and lets pass what differs between machines."""

import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from intra.paths import ROOT


def stdout(text: str) -> list:
    return [new_output("stream", name="stdout", text=text)]


def shown(kind: str, value: str) -> list:
    return [new_output("display_data", data={kind: value, "text/plain": "<object>"})]


def display(kind: str, value: str) -> str:
    bundle = {kind: value, "text/plain": "<object>"}
    return f"from IPython.display import display\ndisplay({bundle!r}, raw=True)"


WARNING = "import sys\nprint('new warning', file=sys.stderr)\nprint('done')"
PICTURE = "application/papermill.record/image/png"
VALUE = "application/papermill.record/text/plain"

# name: (source, stored outputs, whether the comparison passes)
CASES = {
    "the same": ("print('hit@1 0.129, 28 labels')", stdout("hit@1 0.129, 28 labels\n"), True),
    "noise in the sixth digit": ("print(0.123456, 1e-9)", stdout("0.123457 2e-9\n"), True),
    "other stderr": (WARNING, [new_output("stream", name="stderr", text="old\n"), *stdout("done\n")], True),
    "no stderr stored": (WARNING, stdout("done\n"), True),
    "another glued picture": (display(PICTURE, "bmV3"), shown(PICTURE, "b2xk"), True),
    "a wrong number": ("print('hit@1 0.129')", stdout("hit@1 0.139\n"), False),
    "a number off by a thousandth of itself": ("print(0.5005)", stdout("0.5\n"), False),
    "a wrong count": ("print('1000000 labels')", stdout("1000001 labels\n"), False),
    "a number that became nan": ("print('nan')", stdout("0.0\n"), False),
    "a changed word": ("print('verdict: same')", stdout("verdict: differs\n"), False),
    "a wrong number in a table": (
        display("text/html", "<td>1.5</td>"),
        shown("text/html", "<td>1.6</td>"),
        False,
    ),
    "a wrong glued number": (
        display(VALUE, "0.7"),
        shown(VALUE, "0.8"),
        False,
    ),
    "no output stored": ("print('hit@1 0.129')", [], False),
    "no output made": ("pass", stdout("hit@1 0.129\n"), False),
    "an exception": ("1 / 0", [], False),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Outcome of each case by name; each is one cell, so that one kernel serves all."""
    folder = tmp_path_factory.mktemp("nbval")
    shutil.copy(ROOT / "conftest.py", folder)
    cells = [
        new_code_cell(source, outputs=outputs, execution_count=count)
        for count, (source, outputs, _) in enumerate(CASES.values(), start=1)
    ]
    nbformat.write(new_notebook(cells=cells), folder / "cases.ipynb")
    options = ["--nbval", "--nbval-current-env", "-rA", "--tb=no", "--color=no", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(folder), *options],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    found = re.findall(r"^(PASSED|FAILED|ERROR|XFAIL|XPASS) .*Cell (\d+)", done.stdout, flags=re.MULTILINE)
    assert len(found) == len(CASES), done.stdout + done.stderr
    results = {int(number): outcome for outcome, number in found}
    return {name: results[number] for number, name in enumerate(CASES)}


@pytest.mark.parametrize("name", CASES)
def test_the_comparison_of_notebooks(name, outcomes):
    assert outcomes[name] == ("PASSED" if CASES[name][2] else "FAILED")
