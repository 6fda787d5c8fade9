"""The mechanical rules for everything in `notebooks/`; each rule is shown to fail on a broken notebook."""

import ast
import copy
import re
import sys
from collections.abc import Callable, Iterator

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from intra.notebooks import is_injected
from intra.paths import NOTEBOOKS
from intra.site import book_notebooks

ALLOWED_IMPORTS = {*sys.stdlib_module_names, "intra", "pandas", "matplotlib"}
LONGEST_CELL = 15
LONGEST_FUNCTION = 5
UNCHECKED_OUTPUTS = 2
ABSOLUTE_PATH = re.compile(r"(?<![\w.:/~<*])/(?:[\w.-]+/)+[\w.-]+|\b[A-Z]:\\\w|site-packages|ipykernel_\d")

Rule = Callable[[nbformat.NotebookNode], list[str]]
RULES: list[Rule] = []


def rule(function: Rule) -> Rule:
    RULES.append(function)
    return function


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def outputs(notebook) -> Iterator:
    for cell in code_cells(notebook):
        yield from cell.outputs


def nodes(notebook) -> Iterator[ast.AST]:
    """All syntax nodes of all cells; what is no Python is the business of `only_python`."""
    for cell in code_cells(notebook):
        try:
            yield from ast.walk(ast.parse(cell.source))
        except SyntaxError:
            continue


@rule
def ran_from_top_to_bottom(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    return [] if counts == list(range(1, len(counts) + 1)) else [f"execution counts are {counts}"]


@rule
def outputs_are_stored(notebook):
    """nbval compares nothing in a notebook without counts, and a stripped output would go unseen."""
    speaking = re.compile(r"\bprint\(|\bshow(?:_\w+)?\(|\bdisplay\(")
    silent = [cell for cell in code_cells(notebook) if speaking.search(cell.source) and not cell.outputs]
    return [f"no stored output: {cell.source[:40]!r}" for cell in silent]


@rule
def no_cell_failed(notebook):
    return [f"stored error: {out.ename}" for out in outputs(notebook) if out.output_type == "error"]


@rule
def nothing_on_stderr(notebook):
    return [f"stderr: {out.text[:40]!r}" for out in outputs(notebook) if out.get("name") == "stderr"]


@rule
def pictures_are_png(notebook):
    return ["an SVG output differs on every run" for out in outputs(notebook) if "image/svg+xml" in out.get("data", {})]


@rule
def one_cell_of_literal_parameters(notebook):
    """papermill overrides the names of this cell, so a value computed from another would go stale."""
    tagged = [index for index, cell in enumerate(notebook.cells) if "parameters" in tags(cell)]
    if tagged != [1] or notebook.cells[1].cell_type != "code":
        return [f"cells tagged 'parameters' are {tagged}, not the second cell alone"]
    names, problems = set(), []
    for statement in ast.parse(notebook.cells[1].source).body:
        try:
            (target,) = statement.targets
            names.add(target.id)
            ast.literal_eval(statement.value)
        except (AttributeError, ValueError):
            problems.append(f"no literal parameter: {ast.unparse(statement)}")
    return problems + ([] if "profile" in names else ["no parameter 'profile'"])


@rule
def cells_are_short(notebook):
    problems = []
    for cell in code_cells(notebook):
        lines = [line for line in cell.source.splitlines() if re.match(r"\s*[^\s#]", line)]
        if len(lines) > LONGEST_CELL:
            problems.append(f"a cell of {len(lines)} lines: {lines[0]!r}")
    return problems


@rule
def functions_live_in_the_package(notebook):
    problems = []
    for node in nodes(notebook):
        if isinstance(node, ast.ClassDef):
            problems.append(f"class {node.name}")
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = node.end_lineno - node.lineno + 1
            if length > LONGEST_FUNCTION:
                problems.append(f"def {node.name} of {length} lines")
    return problems


@rule
def only_python(notebook):
    """No shell, no magic: `!pip install` would make the environment differ from the lock."""
    problems = []
    for cell in code_cells(notebook):
        try:
            ast.parse(cell.source)
        except SyntaxError as error:
            problems.append(f"no Python: {(error.text or '').strip()!r}")
    return problems


@rule
def errors_and_warnings_are_not_hidden(notebook):
    problems = []
    for node in nodes(notebook):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            problems.append("a bare except")
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("filterwarnings", "simplefilter")):
            problems.append("a filter on warnings")
    return problems


@rule
def imports_are_of_the_package_and_for_display(notebook):
    imported = set()
    for node in nodes(notebook):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            imported.add(node.module or ".")
    return [f"imports {name}" for name in sorted(imported) if name.split(".")[0] not in ALLOWED_IMPORTS]


@rule
def no_machine_paths(notebook):
    plain = copy.deepcopy(notebook)
    for output in outputs(plain):
        for kind in [kind for kind in output.get("data", {}) if "image/" in kind]:
            del output["data"][kind]  # base64 is full of slashes
    found = [match for text in leaves(plain) for match in ABSOLUTE_PATH.findall(text)]
    return [f"machine path: {path}" for path in found]


def leaves(value) -> Iterator[str]:
    """All strings in nested lists and dictionaries."""
    if isinstance(value, str):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from leaves(part)


@rule
def no_traces_of_papermill(notebook):
    problems = ["papermill metadata"] if "papermill" in notebook.metadata else []
    for cell in notebook.cells:
        problems += [f"cell metadata {key!r}" for key in ("papermill", "execution") if key in cell.metadata]
        problems += ["injected parameters"] if is_injected(cell) else []
    return problems


@rule
def figures_have_caption_name_and_alternative_text(notebook):
    problems, names = [], []
    for cell in code_cells(notebook):
        if not draws(cell):
            continue
        settings = cell.metadata.get("mystnb", {})
        figure, alt = settings.get("figure", {}), settings.get("image", {}).get("alt", "")
        names.append(figure.get("name"))
        texts = {"name": names[-1], "caption": figure.get("caption"), "alternative text": alt}
        for what, text in texts.items():
            if not (text or "").strip():
                problems.append(f"a figure without {what}: {cell.source[:40]!r}")
    return problems + ([] if len(set(names)) == len(names) else [f"figure names are not unique: {names}"])


@rule
def figures_come_with_their_data(notebook):
    """Each is shown by one `report.show_figure`, told its data or `None`, and stores the data as CSV beside it."""
    problems = []
    for cell in filter(draws, code_cells(notebook)):
        calls = [
            node
            for node in ast.walk(ast.parse(cell.source))
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "report.show_figure" and len(node.args) > 1
        ]
        if len(calls) != 1:
            problems.append(f"{len(calls)} figures shown with data or None: {cell.source[:40]!r}")
            continue
        pictures = [output.data for output in cell.outputs if "image/png" in output.get("data", {})]
        expected = ast.unparse(calls[0].args[1]) != "None"
        if [bool(data.get("text/csv")) for data in pictures] != [expected]:
            problems.append(f"data {'missing' if expected else 'unexpected'}: {cell.source[:40]!r}")
    return problems


def draws(cell) -> bool:
    """Whether a cell shows a picture, by its output or by its source."""
    drawn = any("image/png" in output.get("data", {}) for output in cell.get("outputs", []))
    return drawn or bool(re.search(r"\.show\(|\bshow_figure\(", cell.source))


@rule
def opens_with_one_question(notebook):
    first = notebook.cells[0]
    if first.cell_type != "markdown" or not re.match(r"# \S", first.source):
        return ["the first cell has no title"]
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    titles = re.findall("(?m)^# ", "\n".join(prose))
    problems = [] if len(titles) == 1 else [f"{len(titles)} titles"]
    return problems if "?" in first.source else [*problems, "the first cell asks no question"]


@rule
def closes_with_a_claim(notebook):
    tagged = [cell for cell in code_cells(notebook) if "claim" in tags(cell)]
    if tagged != code_cells(notebook)[-1:]:
        return ["the cell tagged 'claim' is not the last code cell alone"]
    printed = "".join(out.text for out in tagged[0].outputs if out.get("name") == "stdout")
    return [] if printed.strip() else ["the claim is not printed"]


@rule
def closes_with_words(notebook):
    return [] if notebook.cells[-1].cell_type == "markdown" else ["the last cell is no Markdown"]


@rule
def few_outputs_go_unchecked(notebook):
    text = [(" ".join(tags(cell)) + cell.source).lower().replace("_", "-") for cell in code_cells(notebook)]
    ignored = sum("nbval-ignore-output" in cell for cell in text)
    problems = [] if ignored <= UNCHECKED_OUTPUTS else [f"{ignored} cells with unchecked output"]
    return problems + ["a cell that nbval skips" for cell in text if "nbval-skip" in cell]


def sound_notebook():
    """A notebook that keeps every rule."""
    printed = [new_output("stream", name="stdout", text="C1: same, see text/html\n")]
    drawn = {"image/png": "iVBO/a/b/c", "text/csv": "epoch,loss\n1,0.5\n"}
    picture = [new_output("display_data", data=drawn)]
    parameters = new_code_cell('profile = "mini"\nseeds = [0, 1]', execution_count=1)
    parameters.metadata["tags"] = ["parameters"]
    shown = "report.show_figure(figure, losses)"
    figure = {"figure": {"name": "fig-loss", "caption": "The loss."}, "image": {"alt": "A falling line."}}
    return new_notebook(
        cells=[
            new_markdown_cell("# A title\n\nDoes it work? See [the method](../book/method.md)."),
            parameters,
            new_code_cell("import pandas as pd\n\nimport intra.tables", execution_count=2),
            new_code_cell(shown, metadata={"mystnb": figure}, outputs=picture, execution_count=3),
            new_code_cell("print(claim)", metadata={"tags": ["claim"]}, outputs=printed, execution_count=4),
            new_markdown_cell("It works."),
        ]
    )


def with_source(index, source):
    def change(notebook):
        notebook.cells[index].source = source

    return change


def with_output(**output):
    def change(notebook):
        notebook.cells[3].outputs.append(new_output(**output))

    return change


def with_metadata(index, **metadata):
    def change(notebook):
        notebook.cells[index].metadata.update(metadata)

    return change


def without(index, *keys):
    """Remove a cell, or an entry of its metadata."""

    def change(notebook):
        if not keys:
            del notebook.cells[index]
            return
        entry = notebook.cells[index].metadata
        for key in keys[:-1]:
            entry = entry[key]
        del entry[keys[-1]]

    return change


def strip(notebook):
    for cell in code_cells(notebook):
        cell.outputs = []


def forget_count(notebook):
    notebook.cells[3].execution_count = None


def swap_counts(notebook):
    notebook.cells[2].execution_count, notebook.cells[3].execution_count = 3, 2


def add_traces(notebook):
    notebook.metadata["papermill"] = {}


def repeat_figure(notebook):
    notebook.cells.insert(4, copy.deepcopy(notebook.cells[3]))


def forget_data(notebook):
    del notebook.cells[3].outputs[0].data["text/csv"]


def ignore_three(notebook):
    for index in (2, 3, 4):
        notebook.cells[index].source += "\n# NBVAL_IGNORE_OUTPUT"


LONG_FUNCTION = "def f():\n" + "    x = 1\n" * 5
BREAKS = [
    (ran_from_top_to_bottom, forget_count),
    (ran_from_top_to_bottom, swap_counts),
    (outputs_are_stored, strip),
    (no_cell_failed, with_output(output_type="error", ename="ValueError", evalue="", traceback=[])),
    (nothing_on_stderr, with_output(output_type="stream", name="stderr", text="warning")),
    (pictures_are_png, with_output(output_type="display_data", data={"image/svg+xml": "<svg/>"})),
    (one_cell_of_literal_parameters, without(1)),
    (one_cell_of_literal_parameters, with_metadata(2, tags=["parameters"])),
    (one_cell_of_literal_parameters, with_source(1, 'profile = "mini"\nseeds = list(range(3))')),
    (one_cell_of_literal_parameters, with_source(1, 'profile = "mini"\nimport os')),
    (one_cell_of_literal_parameters, with_source(1, "seeds = [0]")),
    (cells_are_short, with_source(2, "x = 1\n\n# why\n" * 16)),
    (functions_live_in_the_package, with_source(2, LONG_FUNCTION)),
    (functions_live_in_the_package, with_source(2, "class Model: ...")),
    (only_python, with_source(2, "!pip install pandas")),
    (only_python, with_source(2, "%pip install pandas")),
    (errors_and_warnings_are_not_hidden, with_source(2, "try:\n    x = 1\nexcept:\n    pass")),
    (
        errors_and_warnings_are_not_hidden,
        with_source(2, 'warnings.filterwarnings("ignore")'),
    ),
    (imports_are_of_the_package_and_for_display, with_source(2, "import torch.nn")),
    (imports_are_of_the_package_and_for_display, with_source(2, "from transformers import pipeline")),
    (no_machine_paths, with_source(2, 'data = "/srv/data/stickers"')),
    (no_machine_paths, with_source(0, "# A title\n\nIs it in /home/someone/study?")),
    (no_machine_paths, with_output(output_type="stream", name="stdout", text="read C:\\study")),
    (no_machine_paths, with_output(output_type="display_data", data={"text/html": "<td>/srv/data/x</td>"})),
    (no_machine_paths, with_metadata(3, source="/srv/data/stickers")),
    (no_traces_of_papermill, add_traces),
    (no_traces_of_papermill, with_metadata(2, execution={})),
    (no_traces_of_papermill, with_metadata(2, tags=["injected-parameters"])),
    (figures_have_caption_name_and_alternative_text, without(3, "mystnb")),
    (figures_have_caption_name_and_alternative_text, without(3, "mystnb", "figure", "name")),
    (figures_have_caption_name_and_alternative_text, without(3, "mystnb", "figure", "caption")),
    (figures_have_caption_name_and_alternative_text, without(3, "mystnb", "image")),
    (figures_have_caption_name_and_alternative_text, repeat_figure),
    (figures_come_with_their_data, with_source(3, "plt.show()")),
    (figures_come_with_their_data, with_source(3, "report.show_figure(figure)")),
    (figures_come_with_their_data, with_source(3, "report.show_figure(figure, None)")),
    (figures_come_with_their_data, with_source(3, "report.show_figure(a, x)\nreport.show_figure(b, y)")),
    (figures_come_with_their_data, forget_data),
    (opens_with_one_question, without(0)),
    (opens_with_one_question, with_source(0, "# A title\n\nIt works.")),
    (opens_with_one_question, with_source(5, "# Another title")),
    (closes_with_a_claim, without(4, "tags")),
    (closes_with_a_claim, with_metadata(3, tags=["claim"])),
    (closes_with_a_claim, strip),
    (closes_with_words, without(5)),
    (few_outputs_go_unchecked, ignore_three),
    (few_outputs_go_unchecked, with_metadata(2, tags=["nbval-skip"])),
]


@pytest.mark.parametrize("kept", RULES, ids=lambda kept: kept.__name__)
def test_a_sound_notebook_keeps_every_rule(kept):
    assert kept(sound_notebook()) == []


@pytest.mark.parametrize(("broken", "change"), BREAKS, ids=lambda part: getattr(part, "__name__", ""))
def test_a_broken_notebook_is_found(broken, change):
    notebook = sound_notebook()
    change(notebook)
    assert broken(notebook)


def test_every_rule_is_shown_to_fail():
    assert {broken for broken, _ in BREAKS} == set(RULES)


@pytest.mark.parametrize("kept", RULES, ids=lambda kept: kept.__name__)
@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_the_notebooks_keep_the_rules(path, kept):
    assert kept(nbformat.read(path, as_version=4)) == []


def test_the_book_holds_every_notebook():
    assert sorted(book_notebooks()) == sorted(NOTEBOOKS.glob("*.ipynb"))
