"""Files: folders and files that appear whole or not at all, arrays, and what a file's content is called."""

import hashlib
import os
import shutil
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from intra.errors import IntraError


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


def read_arrays(path: Path, names: Collection[str], command: str) -> dict[str, np.ndarray]:
    """The named arrays of an `.npz` file.

    Args:
        path: Of the file.
        names: Of arrays that it must hold.
        command: What writes it, for the message.

    Raises:
        IntraError: If the file is missing or damaged, or lacks an array.
    """
    try:
        with np.load(path) as arrays:
            return {name: arrays[name] for name in names}
    except FileNotFoundError:
        what = "is not there"
    except KeyError as error:
        what = f"lacks an array: {error.args[0]}"
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        what = f"cannot be read: {error}"
    raise IntraError(f"{path}: {what}; {command} writes it anew")


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
