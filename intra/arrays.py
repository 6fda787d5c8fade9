"""Arrays of records, read from `.npz` files."""

import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from intra.errors import IntraError


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
