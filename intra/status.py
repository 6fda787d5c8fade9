"""The status page of the book: what the reference was made with, and whether a fresh run agrees with it."""

from collections.abc import Sequence

import pandas as pd

from intra.agreement import agreement
from intra.records import Record, code_digest, environment
from intra.tables import SYSTEM_NAMES, to_myst

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

## Parts

{parts}

## Software

{software}
"""


def status_page(reference: Sequence[Record], fresh: Sequence[Record]) -> str:
    """Markdown of the status page.

    Args:
        reference: Records that the book shows; empty before the first `make accept`.
        fresh: Records of this build.
    """
    shown = reference or fresh
    software = {"reference": shown[0].content["environment"], "this build": environment()}
    digests = {"reference": shown[0].content["inputs"]["code"], "this build": code_digest()}
    return _PAGE.format(
        agreement=_agreement(reference, fresh),
        seconds=to_myst(
            _seconds(shown), "Seconds to train and to score one run of the reference, median", "tab-seconds", "system"
        ),
        parts=to_myst(
            pd.DataFrame({"name and revision": shown[0].content["inputs"]["components"]}),
            "Parts of the reference run",
            "tab-parts",
            "part",
        ),
        software=to_myst(
            pd.DataFrame(software).fillna("").T.assign(**{"code digest": pd.Series(digests)}).T,
            "Versions and digest of the code that results depend on",
            "tab-software",
            "software",
        ),
    )


def _seconds(records: Sequence[Record]) -> pd.DataFrame:
    frame = pd.DataFrame([{"system": SYSTEM_NAMES[r.system], **r.content["seconds"]} for r in records])
    return frame.groupby("system", sort=False).median().map("{:.2f}".format)


def _agreement(reference: Sequence[Record], fresh: Sequence[Record]) -> str:
    if not reference:
        return "There is no reference yet: everything in this book comes from the fresh run."
    caption = "mAP in percent (intention match, test), reference with its deviation over seeds, and fresh"
    return to_myst(agreement(reference, fresh), caption, "tab-agreement", "system")
