"""The status page of the book: what the reference was made with, and whether a fresh run agrees with it."""

import json
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from intra.agreement import agreement
from intra.paths import RECORDS
from intra.records import Record, environment
from intra.tables import to_myst

Studies = Mapping[str, Mapping[str, Sequence[Record]]]
"""Name of a study to label of a configuration to its records."""
BENCH = RECORDS / "bench.json"
"""What `make bench` found."""

_PAGE = """# Status

What this copy of the book was made with. It is written anew by every `make book`.

## Does a fresh run agree with the reference?

The tables and figures of this book are computed from the *reference records* in `book/records`. Building the
book trains every configuration again; this table compares the two. *Same* means equal to six decimals, as is
expected on the machine that made the reference; elsewhere floating point differs, and agreement means that the
fresh value lies within two standard deviations over the reference's seeds.

{agreement}

## Seconds

{seconds}

## Costs

{costs}

## Parts

{parts}

## Software

{software}
"""


def status_page(reference: Studies, fresh: Studies) -> str:
    """Markdown of the status page.

    Args:
        reference: Records that the book shows; without any before the first `make accept`.
        fresh: Records of this build.
    """
    shown = reference if any(_records(reference)) else fresh
    first, now = (next(_records(studies)).content for studies in (shown, fresh))
    software = {"reference": first["environment"], "this build": environment()}
    digests = {"reference": first["inputs"]["code"], "this build": now["inputs"]["code"]}
    return _PAGE.format(
        agreement=_agreement(reference, fresh),
        seconds=to_myst(
            _seconds(shown), "Seconds to train and to score one run of the reference, median", "tab-seconds", "system"
        ),
        costs=_costs(),
        parts=to_myst(
            pd.DataFrame({"name and revision": first["inputs"]["components"]}),
            "Parts of the reference run",
            "tab-parts",
            "part",
        ),
        software=to_myst(
            pd.DataFrame(software).fillna("").T.assign(**{"code digest": pd.Series(digests)}).T,
            "Versions, and digest of the code that the first run of the first study depends on",
            "tab-software",
            "software",
        ),
    )


def _records(studies: Studies) -> Iterator[Record]:
    return (record for study in studies.values() for records in study.values() for record in records)


def _seconds(studies: Studies) -> pd.DataFrame:
    """Medians over all runs of a system, whatever else was changed."""
    runs = {record.path: record for record in _records(studies)}  # a run may be in several studies
    frame = pd.DataFrame([{"system": record.system, **record.content["seconds"]} for record in runs.values()])
    return frame.groupby("system", sort=False).median().map("{:.2f}".format)


def _costs() -> str:
    if not BENCH.exists():
        return "Not measured yet: `make bench`."
    found = json.loads(BENCH.read_text(encoding="utf-8"))
    caption = (
        "Seconds, and ratio to the first of its kind (median and range over turns), as make bench found them; "
        f"a run of a few conversations of the default profile, from nothing, needs {found['memory']['peak_mib']} MiB"
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
