"""Where things are. The only module that knows folders."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE.parent
BOOK = ROOT / "book"
NOTEBOOKS = ROOT / "notebooks"
BUILD = ROOT / "_build"
RECORDS = BOOK / "records"
"""The reference run: configs, ranked lists and metrics that the book's tables are computed from."""
REPLYSTICKERS = PACKAGE / "replystickers" / "data"


def cache_directory() -> Path:
    """Folder of what can be computed again: unpacked weights and encoded features.

    `INTRA_CACHE` names another one.
    """
    named = os.environ.get("INTRA_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "intra"
