"""pyproject.toml, requirements.lock, environment.yml and the Makefile describe one environment."""

import re
import shutil
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError, version

import pytest
import yaml
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from intra.paths import ROOT

LOCK = ROOT / "requirements.lock"
NEEDED = {
    "ipykernel",
    "jupyter-book",
    "jupyterlab",
    "nbval",
    "open-clip-torch",
    "pandas",
    "papermill",
    "pytest",
    "seaborn",
    "setuptools",
    "sphinx-mathjax-offline",
    "torch",
    "transformers",
    "uv",
}


def pins(text: str) -> dict[str, Requirement]:
    """Read a lock.

    Raises:
        ValueError: For a line that is no exact pin: a range, an option, an address, a folder or a digest.
    """
    found: dict[str, Requirement] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            pin = Requirement(line)
        except InvalidRequirement as error:
            raise ValueError(f"line {number}: {line!r} is no requirement") from error
        exact = re.fullmatch(r"==[^*,]+", str(pin.specifier))
        name = canonicalize_name(pin.name)
        if pin.url or pin.extras or not exact or name in found:
            raise ValueError(f"line {number}: {line!r} is no single exact pin")
        found[name] = pin
    return found


def unsatisfied(declared: list[str], locked: dict[str, Requirement]) -> list[str]:
    """Return the declared requirements that the pins do not satisfy."""
    problems = []
    for text in declared:
        wanted = Requirement(text)
        pin = locked.get(canonicalize_name(wanted.name))
        if pin is None or not wanted.specifier.contains(str(pin.specifier)[2:], prereleases=True):
            problems.append(text)
    return problems


@pytest.fixture(scope="module")
def locked():
    return pins(LOCK.read_text())


@pytest.fixture(scope="module")
def declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project["dependencies"] + project["optional-dependencies"]["test"]


@pytest.mark.parametrize(
    "line",
    [
        "numpy>=2",
        "numpy",
        "numpy==2.*",
        "numpy==2.1,<3",
        "--index-url https://example.org/index",
        "numpy @ https://example.org/numpy.zip",
        "numpy @ file:///opt/numpy.whl",
        "./wheels/numpy.whl",
        "-e .",
        "numpy==2.1 --hash=sha256:00",
        "numpy==2.1\nnumpy==2.2",
    ],
)
def test_a_lock_with_anything_but_exact_pins_is_refused(line):
    with pytest.raises(ValueError, match="line"):
        pins(line)


def test_a_pin_that_does_not_satisfy_the_project_is_found():
    locked = pins("torch==2.12.0\nuv==0.9")
    assert unsatisfied(["torch>=2.13", "uv", "seaborn"], locked) == ["torch>=2.13", "seaborn"]


def test_the_lock_satisfies_the_project(locked, declared):
    assert unsatisfied(declared, locked) == []


def test_the_lock_names_no_host_and_no_place():
    assert not re.search(r"://|/|\\|--", LOCK.read_text())


def test_the_tools_of_the_study_are_locked(locked):
    assert set(locked) >= NEEDED
    assert int(str(locked["jupyter-book"].specifier)[2:].split(".")[0]) == 1


def test_this_environment_is_the_locked_one(locked):
    """What runs the tests is what the lock says, so that a result can be traced to it."""
    different = []
    for name, pin in locked.items():
        if pin.marker and not pin.marker.evaluate():
            continue
        try:
            installed = version(name)
        except PackageNotFoundError:
            installed = "missing"
        if installed != str(pin.specifier)[2:]:
            different.append(f"{pin}: {installed}")
    assert different == []


def test_conda_installs_this_lock_and_this_package():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == "intra"
    *conda, pip = environment["dependencies"]
    assert conda == ["python=3.11", "pip"]  # every other package comes from the lock
    assert pip == {"pip": ["-r requirements.lock", "-e ."]}


def test_make_takes_uv_from_the_lock(locked):
    printed = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "--always-make", "env"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f'pip install --quiet --disable-pip-version-check "uv{locked["uv"].specifier}"' in printed
    assert not re.search(r"https?://|index-url", printed)


def test_make_refuses_an_old_python_in_one_line(tmp_path):
    old = tmp_path / "python3"
    pretend = "import sys; sys.version_info = (3, 10); exec(sys.argv[1])"
    old.write_text(f'#!/bin/sh\n[ "$1" = -c ] || exit 99\nexec python3 -c "{pretend}" "$2"\n')
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "--always-make", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}", "env"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr.splitlines()[0].startswith("Python 3.11 or later is needed, this is 3.10")
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize("browser", ["chromium", "google-chrome", None])
def test_the_continuous_integration_installs_a_browser_if_there_is_none_and_calls_make_test(browser, tmp_path):
    tools, called = tmp_path / "tools", tmp_path / "called"
    tools.mkdir()
    for name in filter(None, ("make", "apt-get", browser)):
        (tools / name).write_text(f'#!/bin/sh\necho "{name} $*" >>{called}\n')
        (tools / name).chmod(0o755)
    for name in ("bash", "dirname"):
        (tools / name).symlink_to(shutil.which(name))
    (tools / "id").write_text("#!/bin/sh\necho 0\n")
    (tools / "id").chmod(0o755)
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    subprocess.run([script], env={"PATH": str(tools)}, check=True)
    installs = ["apt-get update", "apt-get install --yes --no-install-recommends chromium"]
    assert called.read_text().splitlines() == [*([] if browser else installs), "make test"]
