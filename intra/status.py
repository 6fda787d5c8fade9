"""The status page of the book: what it was made with, and whether a fresh run agrees with the reference."""

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from intra import notebooks
from intra.agreement import agreement
from intra.engines import processors
from intra.paths import RECORDS
from intra.records import Record, environment
from intra.tables import to_myst

Studies = Mapping[str, Mapping[str, Sequence[Record]]]
"""Name of a study to label of a configuration to its records."""
BENCH = RECORDS / "bench.json"
"""What `make bench` found."""
DIGITS = 12
"""Of a digest that is shown, as records keep them."""
UNKNOWN = "not on record"

_PAGE = """# Status

What this copy of the book was made with. It is written anew by every `make book`.

## Does a fresh run agree with the reference?

The tables and figures of this book are computed from the *reference records* in `book/records`. Building the book
trains configurations again, but for those that only chose settings or repeat the dearest runs; this table compares
the two. *Same* means equal to six decimals, as is expected on the machine that made the reference; elsewhere floating
point differs, and agreement means that the fresh value lies within two standard deviations over the reference's
seeds.

{agreement}

## The reference run

{runs}

Two records with the same digests were made by the same code from the same data. A digest of code is that of the syntax
trees, without comments and docstrings, of all modules that a system's results depend on.

{digests}

{parts}

## Notebooks

{notebooks}

## Seconds and costs

{seconds}

{costs}

## Machine and software

{machine}
"""


def status_page(
    reference: Studies,
    fresh: Studies,
    copies: Sequence[Path] = (),
    made_with: Mapping[str, str] | None = None,
) -> str:
    """Markdown of the status page.

    Args:
        reference: Records that the book shows; without any before the first `make accept`.
        fresh: Records of this build.
        copies: Executed notebooks, in the order of the book.
        made_with: Answer of `machine` for this build; asked for by default.
    """
    shown = reference if any(_records(reference)) else fresh
    runs = _runs(shown)
    parts = pd.DataFrame({"name and revision": runs[0].content["inputs"]["components"]})
    took = "Seconds to train and to score one run of the reference, median over runs, and of all of them together"
    digests = "Digests of the code that each system depends on, and of the data, of the reference and of this build"
    return _PAGE.format(
        agreement=_agreement(reference, fresh),
        runs=_sentence(shown, runs),
        digests=to_myst(_digests(runs, _runs(fresh)), digests, "tab-digests", "system"),
        parts=to_myst(parts, "Pretrained parts and sources of the reference run", "tab-parts", "part"),
        notebooks=_notebooks(copies),
        seconds=to_myst(_seconds(runs), took, "tab-seconds", "system"),
        costs=_costs(),
        machine=_machine(runs[0].content["environment"], made_with or machine()),
    )


def machine() -> dict[str, str]:
    """Versions, architecture, number of processors, and threads of torch: no name of a machine."""
    import torch

    return environment() | {"processors": str(processors()), "threads of torch": str(torch.get_num_threads())}


def _records(studies: Studies) -> Iterator[Record]:
    return (record for study in studies.values() for records in study.values() for record in records)


def _runs(studies: Studies) -> list[Record]:
    """Each run once, in however many studies it is."""
    return list({record.path: record for record in _records(studies)}.values())


def _sentence(studies: Studies, runs: Sequence[Record]) -> str:
    systems, seeds = ({getattr(run, name) for run in runs} for name in ("system", "seed"))
    data = sorted({f"{own['name']} {own['version']}" for own in (run.content["dataset"] for run in runs)})
    asked = [name for name, study in studies.items() if study]
    return (
        f"{len(runs)} runs of {len(systems)} systems in {len(asked)} studies, with up to {len(seeds)} seeds, on "
        f"{', '.join(data)}; whatever studies ask for a run, it is made once."
    )


def _digests(runs: Sequence[Record], fresh: Sequence[Record]) -> pd.DataFrame:
    """Digests of code, a row a system, and of the data; several where runs differ, nothing where there is no run."""

    def found(records: Sequence[Record]) -> pd.Series:
        told: dict[str, set[str]] = {}
        for record in records:
            told.setdefault(record.system, set()).add(record.content["inputs"]["code"])
            told.setdefault("(data)", set()).add(record.content["inputs"]["dataset"])
        return pd.Series({name: ", ".join(sorted(own)) for name, own in told.items()}, dtype=object)

    frame = pd.DataFrame({"reference": found(runs), "this build": found(fresh)}).fillna("not run")
    return frame.sort_index()


def _seconds(runs: Sequence[Record]) -> pd.DataFrame:
    """Over all runs of a system, whatever else was changed."""
    frame = pd.DataFrame([{"system": record.system, **record.content["seconds"]} for record in runs])
    groups = frame.groupby("system", sort=False)
    total = groups.sum().sum(axis=1).map("{:.0f}".format)
    return groups.median().map("{:.2f}".format).assign(**{"all together": total, "runs": groups.size()})


def _machine(reference: Mapping[str, str], build: Mapping[str, str]) -> str:
    frame = pd.DataFrame({"reference": reference, "this build": build}).reindex(build).fillna(UNKNOWN)
    caption = "Versions and machine; a result may depend on the architecture in its last digits"
    return to_myst(frame, caption, "tab-software", "software")


def _notebooks(copies: Sequence[Path]) -> str:
    if not copies:
        return "None was executed for this copy."
    frame = pd.DataFrame.from_dict({copy.stem: executed(notebooks.read(copy)) for copy in copies}, orient="index")
    caption = "Executed notebooks: parameters other than their own, and digest of what an author wrote, without outputs"
    return to_myst(frame, caption, "tab-notebooks", "notebook")


def executed(notebook: Any) -> dict[str, str]:
    """How a notebook was executed.

    Args:
        notebook: As papermill left it.

    Returns:
        Number of `code cells`, whether they ran `in order` (each once, from 1), `parameters` of the run that are not
        its own, and the `source` digest.
    """
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    in_order = [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    given = "; ".join(line for cell in code if notebooks.is_injected(cell) for line in _assigned(cell.source))
    return {
        "code cells": str(len(code)),
        "in order": "yes" if in_order else "no",
        "parameters": given or "its own",
        "source": notebooks.source_digest(notebook)[:DIGITS],
    }


def _assigned(source: str) -> list[str]:
    """The assignments of a cell, each on one line."""
    return [ast.unparse(node) for node in ast.parse(source).body if isinstance(node, ast.Assign)]


def _costs() -> str:
    if not BENCH.exists():
        return "Not measured yet: `make bench`."
    found = json.loads(BENCH.read_text(encoding="utf-8"))
    caption = (
        "Seconds, and ratio to the first of its kind (median and range over turns), as make bench found them on "
        f"{found['environment']['processors']} processors; a run of a few conversations of the default profile, from "
        f"nothing, needs {found['memory']['peak_mib']} MiB"
    )
    return to_myst(costs(found).map("{:g}".format), caption, "tab-costs", "what")


def costs(found: dict) -> pd.DataFrame:
    """The comparisons of `bench.json`, one row each.

    Args:
        found: Its content.

    Returns:
        Columns `seconds`, `ratio`, `lowest` and `highest` ratio.
    """
    kinds = {
        "evaluation": found["strategy"]["evaluation"],
        "training epoch": found["strategy"]["epoch"],
        "training epoch with data of": found["data_size"]["epoch"],
        f"{found['workers']['number']} runs with": found["workers"]["runs"],
    }
    rows = {}
    for kind, compared in kinds.items():
        for name, seconds in compared["seconds"].items():
            low, high = compared["range"][name]
            row = {"seconds": seconds, "ratio": compared["ratio"][name], "lowest": low, "highest": high}
            rows[f"{kind} {name}"] = row
    return pd.DataFrame.from_dict(rows, orient="index")


def _agreement(reference: Studies, fresh: Studies) -> str:
    if not any(_records(reference)):
        return "There is no reference yet: everything in this book comes from the fresh run."
    compared = {name: agreement(reference[name], fresh[name]) for name in reference if name in fresh}
    frame = pd.concat(
        {name: rows for name, rows in compared.items() if len(rows)}, names=["study", "configuration"]
    ).reset_index(level="configuration")
    caption = "mAP in percent (intention match, test), reference with its deviation over seeds, and fresh"
    return to_myst(frame, caption, "tab-agreement", "study")
