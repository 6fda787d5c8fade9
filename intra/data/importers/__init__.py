"""Other data sets into the native layout: one module a format, one way to write what they read."""

import functools
from collections.abc import Callable
from pathlib import Path

from intra.config import unknown
from intra.data.importers.native import ImportOptions, Source, import_source
from intra.data.importers.report import Report
from intra.errors import IntraError


def _stickerint(folder: Path, options: ImportOptions, report: Report) -> Source:
    from intra.data.importers.stickerint import StickerInt

    return StickerInt(folder, options, report)


def _mod(folder: Path, options: ImportOptions, report: Report) -> Source:
    from intra.data.importers.mod import Mod

    return Mod(folder, options, report)


def _stickerchat(folder: Path, options: ImportOptions, report: Report) -> Source:
    from intra.data.importers.stickerchat import StickerChat

    return StickerChat(folder, options, report)


FORMATS: dict[str, Callable[[Path, ImportOptions, Report], Source]] = {
    "stickerint": _stickerint,
    "mod": _mod,
    "stickerchat": _stickerchat,
}
"""Name of a format to what opens a folder in it."""


def import_dataset(name: str, folder: Path, out: Path, options: ImportOptions) -> Report:
    """Read a data set in another format and write it in the native layout.

    Args:
        name: Key of `FORMATS`.
        folder: Of the data set.
        out: Folder to make; it appears only when the import is whole.
        options: What to do where the format leaves a choice.

    Returns:
        What was repaired, skipped, refused and noted; `out`/import_report.tsv lists it line by line.

    Raises:
        IntraError: If the format is unknown, `folder` is no such data set, `out` exists, or nothing could be read.
    """
    if name not in FORMATS:
        raise IntraError(unknown("format", name, FORMATS))
    if not folder.is_dir():
        raise IntraError(f"{folder}: no such folder")
    return import_source(functools.partial(FORMATS[name], folder, options), out, options)
