"""Read, clean and write notebook files, so that one form of them is committed, executed and rendered."""

import copy
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from intra.errors import IntraError

INJECTED = "injected-parameters"
"""Tag that papermill puts on the cell with the parameters of a run."""

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def read(path: Path) -> Any:
    """Read a notebook of format 4.

    Args:
        path: File that ends in `.ipynb`.

    Returns:
        The notebook as an `nbformat.NotebookNode`.

    Raises:
        IntraError: If the file is missing or is no valid notebook.
    """
    import nbformat

    if not path.is_file():
        raise IntraError(f"{path}: there is no such notebook")
    try:
        notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # nbformat leaks the errors of json, jsonschema and its own converters
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise IntraError(f"{path}: not a valid notebook: {reason[0]}") from error
    return notebook


def write(notebook: Any, path: Path) -> None:
    """Write a notebook so that the file is either the old one or the whole new one."""
    import nbformat

    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_text(nbformat.writes(notebook).rstrip("\n") + "\n", encoding="utf-8")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def clean(notebook: Any) -> Any:
    """Return a copy without what differs from run to run: timings, machine paths on stderr, random ids."""
    notebook = copy.deepcopy(notebook)
    notebook.metadata.pop("papermill", None)
    notebook.metadata["kernelspec"] = dict(KERNEL)
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        for key in ("papermill", "execution", "ExecuteTime", "collapsed", "scrolled"):
            cell.metadata.pop(key, None)
        if not cell.metadata.get("tags", True):
            del cell.metadata["tags"]
        if is_injected(cell):
            cell.id = INJECTED
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


def is_injected(cell: Any) -> bool:
    """Whether papermill added this cell."""
    return INJECTED in cell.metadata.get("tags", [])


def without_injected(notebook: Any) -> Any:
    """Return a copy without the cell of run parameters, its execution counts closed up to 1, 2, 3, ..."""
    notebook = copy.deepcopy(notebook)
    notebook.cells = [cell for cell in notebook.cells if not is_injected(cell)]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for count, cell in enumerate(code, start=1):
        cell.execution_count = count
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count
    return notebook


def source_digest(notebook: Any) -> str:
    """Digest of what an author writes: sources, cell types and cell metadata, but no outputs."""
    cells = [[cell.cell_type, cell.source, cell.metadata] for cell in clean(notebook).cells if not is_injected(cell)]
    return hashlib.sha256(json.dumps(cells, sort_keys=True).encode()).hexdigest()
