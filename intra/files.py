"""Files: folders and files that appear whole or not at all, and what a file's content is called."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary folder to fill, which becomes `path` only if the block ends without an exception."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.parent / f".unfinished-{path.name}-{os.getpid()}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        yield unfinished
        if path.exists():
            shutil.rmtree(path)
        os.replace(unfinished, path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give a temporary file's name, with the same ending, which becomes `path` only if the block ends well."""
    unfinished = path.parent / f".unfinished-{os.getpid()}-{path.name}"
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
