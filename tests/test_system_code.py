"""Which modules a system's results depend on, and that its digest follows these alone."""

import ast
import functools
import shutil

import pytest

from intra import records
from intra.models import SYSTEMS
from intra.paths import PACKAGE
from intra.records import NO_RESULT_CODE, RESULT_CODE, code_digest, system_code

FAR = {
    "checkpoints.py",  # opens what a record's components name, with revision or digest
    "encoders/__init__.py",  # words only
    "errors.py",
    "files.py",
    "models/__init__.py",  # the list of systems; the runner finds in it what a config names
    "models/system.py",  # the interface, no code
    "paths.py",
    "records.py",  # keeps what was computed
    "replystickers/__init__.py",  # words only
    "replystickers/vocabulary.py",  # the tagger's name among the components holds its digest
}
"""Imported by code that decides results, but deciding none."""
SYNTAX = functools.cache(records._without_docstrings)
"""As it is, but no source is parsed twice: that takes nearly all the time of a digest."""


def modules(name: str) -> set[str]:
    """The code of a system, patterns written out."""
    patterns = system_code(SYSTEMS[name].__module__)
    return {path.relative_to(PACKAGE).as_posix() for pattern in patterns for path in PACKAGE.glob(pattern)}


def digests() -> dict[str, str]:
    return {name: code_digest(system_code(system.__module__)) for name, system in SYSTEMS.items()}


def clear():
    code_digest.cache_clear()
    system_code.cache_clear()


@functools.cache
def imported(path) -> set[str]:
    """Files of this package that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            place = PACKAGE.parent.joinpath(*name.split("."))
            if name.split(".")[0] == "intra":
                found |= {each for each in (place.with_suffix(".py"), place / "__init__.py") if each.is_file()}
    return {each.relative_to(PACKAGE).as_posix() for each in found} - {"__init__.py"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(records, "_without_docstrings", SYNTAX)


@pytest.fixture
def changed(tmp_path, monkeypatch):
    """Digests of all systems when one file of a copied package reads otherwise."""
    package = tmp_path / "intra"
    for path in PACKAGE.rglob("*.py"):
        copy = package / path.relative_to(PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    monkeypatch.setattr(records, "PACKAGE", package)

    def measure(name=None, change=str):
        if name is not None:
            source = (package / name).read_text(encoding="utf-8")
            assert change(source) != source
            (package / name).write_text(change(source), encoding="utf-8")
        clear()
        made = digests()
        if name is not None:
            (package / name).write_text(source, encoding="utf-8")
        return made

    yield measure
    monkeypatch.undo()
    clear()  # the next test asks about the real package


def test_what_is_imported_is_in_it_and_what_is_not_is_not():
    assert {"models/int_ra_plus.py", "models/intention.py", "models/relation.py"} <= modules("int_ra_plus")
    assert {"models/pcme.py", "models/trained.py"} <= modules("pcme")
    assert {"generation/answers.py", "generation/language_models.py"} <= modules("text_retrieval")
    assert "models/srs.py" not in modules("pcme")
    assert "models/intention.py" not in modules("pcme")
    assert "models/int_ra.py" not in modules("int_ra_plus")
    assert not {"models/trained.py", "models/int_ra.py"} & modules("random")


@pytest.mark.parametrize("name", SYSTEMS)
def test_no_import_is_overlooked(name):
    code = modules(name) - {path for path in NO_RESULT_CODE if path not in system_code(SYSTEMS[name].__module__)}
    assert {other for path in code for other in imported(PACKAGE / path)} <= code | FAR


def test_every_system_has_a_digest_and_modules_of_their_own_others():
    found = digests()
    assert all(len(digest) == 12 and set(digest) <= set("0123456789abcdef") for digest in found.values())
    by_module = {name: system.__module__ for name, system in SYSTEMS.items()}
    assert len(set(found.values())) == len(set(by_module.values()))
    assert found["random"] == found["oracle"] != found["srs"]
    assert code_digest(RESULT_CODE) not in found.values()


@pytest.mark.parametrize(
    ("name", "systems"),
    [
        ("models/srs.py", {"srs"}),
        ("models/pcme.py", {"pcme"}),
        ("models/intention.py", {"int_ra", "int_ra_plus"}),
        ("models/context.py", {"int_ra", "int_ra_plus", "released", "clip", "clip_zero_shot"}),
        ("models/controls.py", {"random", "majority", "prior", "blind_reader", "oracle"}),
        ("generation/language_models.py", {"text_retrieval"}),
        ("generation/answers.py", {"text_retrieval"}),
        ("generation/knowledge.py", set(SYSTEMS)),
        ("data/schema.py", set(SYSTEMS)),
        ("training.py", set(SYSTEMS)),
        ("data/statistics.py", set()),
        ("figures.py", set()),
    ],
)
def test_a_change_reaches_the_systems_that_use_the_module(name, systems, changed):
    before = digests()
    assert changed() == before, "a copy has the digests of the package"
    after = changed(name, lambda source: source + "\nADDED = 1\n")
    assert {system for system in SYSTEMS if after[system] != before[system]} == systems


def test_a_module_that_is_imported_from_now_on_counts_from_now_on(changed):
    before = changed()
    after = changed("models/pcme.py", lambda source: source + "\nfrom intra.models.srs import MARGIN\n")
    assert {system for system in SYSTEMS if after[system] != before[system]} == {"pcme"}


def test_words_about_the_code_do_not_count(changed):
    before = changed()
    module = ast.get_docstring(ast.parse((PACKAGE / "models/srs.py").read_text(encoding="utf-8")), clean=False)
    assert changed("models/srs.py", lambda source: source.replace(module, "Other words.")) == before
    assert changed("models/srs.py", lambda source: source + "\n# A comment.\n") == before
    assert changed("models/srs.py", lambda source: source.replace("import math\n", "import math  # why\n\n")) == before
    assert changed("models/srs.py", lambda source: source.replace("MARGIN = 1.0", "MARGIN = 2.0")) != before
