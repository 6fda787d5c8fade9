"""Module boundaries, read off the source: what may import what, and what `import intra` costs."""

import ast
import functools
import graphlib
import subprocess
import sys

import pytest

import intra
from intra.paths import PACKAGE, ROOT
from intra.records import NO_RESULT_CODE, RESULT_CODE, system_code

HEAVY = {"torch", "torchvision", "transformers", "open_clip", "safetensors"}
LIGHT = (
    "agreement analysis arrays audit.findings audit.released case_pages cases checks claims comparisons config "
    "data.export data.importers data.importers.mod data.importers.stickerchat data.importers.stickerint data.reader "
    "evaluation figures files findings identity main_results maps metrics notebooks paper paths pretraining readings "
    "records replystickers.design reproduce site status study tables widgets"
).split()
"""Modules that the results pages, the data commands and the book driver need, on a machine that trains nothing."""


def module_name(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


def target(module, alias, level, importer):
    """Names of the modules that one `from module import alias` loads, relative imports resolved."""
    if level:
        base = importer if FILES[importer].name == "__init__.py" else importer.rpartition(".")[0]
        base = base.rsplit(".", level - 1)[0] if level > 1 else base
        module = f"{base}.{module}" if module else base
    return {module, f"{module}.{alias}"} if f"{module}.{alias}" in FILES else {module}


@functools.cache
def imports(name, lazy=False):
    """Modules that a module imports when it is loaded; with `lazy`, also those that its functions import."""
    found = set()

    def visit(node):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                for alias in child.names:
                    found.update(target(child.module, alias.name, child.level, name))
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            elif lazy or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                visit(child)

    visit(ast.parse(FILES[name].read_text(encoding="utf-8")))
    return frozenset(found)


def with_parents(name):
    """A module and the packages it lies in, which Python loads first."""
    parts = name.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts) + 1)}


def closure(name, lazy=False, registries=()):
    """Everything that loading a module loads, inside the package and directly outside it.

    What registries import, of which a run needs only one entry, is left out.
    """
    seen, todo = set(), [name]
    while todo:
        for module in with_parents(todo.pop()) - seen:
            seen.add(module)
            if module in FILES and module not in registries:
                todo += imports(module, lazy)
    return seen


def outside(modules):
    return {module.split(".")[0] for module in modules} - {"intra"}


def test_the_reading_of_imports_is_right():
    # modules known to import what is looked for below, so that an empty answer means something
    assert {"intra.encoders.text", "intra.errors"} <= closure("intra.encoders.tiny")
    assert "torch" in outside(closure("intra.models.int_ra")) and "IPython" in outside(imports("intra.report"))
    assert "intra.data.reader" in imports("intra", lazy=True) - imports("intra")
    assert "intra.running" in closure("intra.study", lazy=True) - closure("intra.study")


@pytest.mark.parametrize("name", LIGHT)
def test_light_modules_load_no_deep_learning(name):
    loaded = closure(f"intra.{name}")
    assert not outside(loaded) & HEAVY, sorted(m for m in loaded if m in FILES and outside(imports(m)) & HEAVY)


def test_nothing_that_python_loads_slips_through():
    # what the source says, asked of Python itself; figures is left to the test above, since matplotlib takes seconds
    names = [f"intra.{name}" for name in LIGHT if name != "figures"]
    code = f"import sys, {', '.join(names)}; print(*sorted(set(sys.modules) & {HEAVY | {'IPython', 'pytest'}!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")


def test_import_intra_takes_less_than_a_second_and_loads_nothing_large():
    code = (
        "import sys, time; before = set(sys.modules); start = time.perf_counter(); import intra; "
        "seconds = time.perf_counter() - start; "
        "print(seconds, *sorted({m.split('.')[0] for m in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, *loaded = done.stdout.split()
    assert float(seconds) < 1
    assert loaded == ["intra"]


def test_the_package_offers_what_it_names():
    assert intra.load_dataset.__module__ == "intra.data.reader"
    with pytest.raises(AttributeError, match="module 'intra' has no attribute 'load_datasets'"):
        intra.load_datasets  # noqa: B018


def test_modules_import_in_one_direction():
    for lazy in (False, True):
        graph = {
            name: {module for module in imports(name, lazy) if module in FILES and module != "intra"}
            for name in FILES
            if name != "intra"  # its lazy import of the reader is the public name, and nothing imports it back
        }
        list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError with the cycle


def test_only_the_command_line_stands_above_the_book_driver():
    above = {name for name in FILES if "intra.reproduce" in imports(name, lazy=True)}
    assert above <= {"intra.cli"}
    assert not {name for name in FILES if "intra.cli" in imports(name, lazy=True)}


@pytest.mark.parametrize(
    ("packages", "allowed"),
    [
        ({"IPython", "myst_nb"}, {"intra.report"}),
        ({"papermill"}, {"intra.reproduce"}),
        ({"nbformat"}, {"intra.notebooks", "intra.reproduce"}),
        ({"pytest", "nbval", "ir_measures"}, set()),
        ({"matplotlib", "seaborn"}, {"intra.figures", "intra.map_figures", "intra.report"}),
        ({"datasets"}, {"intra.data.export"}),
        ({"lmdb"}, {"intra.data.importers.stickerint"}),
        ({"ray"}, {"intra.engines"}),
        ({"sklearn"}, {"intra.checks", "intra.models.classifier", "intra.models.srs"}),
        ({"open_clip_train"}, {"intra.pretraining.training", "intra.pretraining.transfer"}),
    ],
)
def test_packages_are_touched_in_one_place(packages, allowed):
    assert {name for name in FILES if outside(imports(name, lazy=True)) & packages} <= allowed


SYSTEM_MODULES = sorted(imports("intra.models") & FILES.keys())


def test_the_registry_of_systems_names_their_modules():
    assert {"intra.models.controls", "intra.models.int_ra", "intra.models.text_retrieval"} <= set(SYSTEM_MODULES)


@pytest.mark.parametrize("system", SYSTEM_MODULES)
def test_whatever_a_run_imports_is_in_the_digest_of_the_code(system):
    patterns = system_code(system)
    assert all(list(PACKAGE.glob(pattern)) for pattern in (*patterns, *NO_RESULT_CODE)), "a pattern fits no file"
    assert set(RESULT_CODE) <= set(patterns)
    left_out = {PACKAGE / name for name in NO_RESULT_CODE}
    digested = {
        module_name(path)
        for pattern in patterns
        for path in PACKAGE.glob(pattern)
        if "*" not in pattern or path not in left_out
    }
    loaded = set().union(*(closure(name, lazy=True, registries={"intra.models"}) for name in ("intra.running", system)))
    harmless = {
        "intra",  # the version
        "intra.checkpoints",  # finds weights, whose digests a record keeps
        "intra.errors",
        "intra.files",  # digests, and folders that appear whole
        "intra.models",  # names systems
        "intra.models.system",  # says what a system is, and computes nothing
        "intra.paths",
        "intra.records",  # keeps what a run has found
        "intra.replystickers",
        "intra.replystickers.vocabulary",  # in the name of the tagger, which a record keeps
    }
    assert system in loaded & digested
    assert {module for module in loaded if module in FILES} - digested <= harmless


def test_only_the_pretraining_itself_needs_its_parts():
    """Everything else reads its record and its weights, but runs none of its code."""
    own = {name for name in FILES if name.startswith("intra.pretraining.")}
    assert own
    assert not [name for name in set(FILES) - own if imports(name, lazy=True) & own]


def test_modules_that_compute_do_not_ask_for_the_time_or_the_machine():
    asked = {"time", "datetime", "platform", "os", "random", "subprocess"}
    for name in (
        "metrics",
        "losses",
        "evaluation",
        "tables",
        "agreement",
        "analysis",
        "claims",
        "comparisons",
        "readings",
        "data.context",
    ):
        assert not outside(imports(f"intra.{name}", lazy=True)) & asked, name
    for name in FILES:
        if name.startswith("intra.models."):
            assert not outside(imports(name, lazy=True)) & asked, name
