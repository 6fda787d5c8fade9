"""Weights from a file into a model: all of them or none, and faults told in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from intra.errors import IntraError


def load_weights(module, path: Path, what: str) -> None:
    """Load safetensors into a torch module, strictly.

    Args:
        module: Takes every tensor of the file and lacks none.
        path: A safetensors file.
        what: Names the module in a message.

    Raises:
        IntraError: If the file cannot be read or does not fit.
    """
    from safetensors.torch import load_file

    with fitting(path, what):
        module.load_state_dict(load_file(path))


@contextmanager
def fitting(path: Path, what: str) -> Iterator[None]:
    """Tell in one line why a file cannot be loaded.

    Raises:
        IntraError: For whatever goes wrong inside.
    """
    try:
        yield
    except Exception as error:  # safetensors, pickle, zip files and torch raise kinds of their own
        why = (str(error).strip() or type(error).__name__).splitlines()[-1].strip()  # torch's last line names a tensor
        raise IntraError(f"{path}: does not fit {what}: {why}") from None
