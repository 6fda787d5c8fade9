"""Settings for all tests, and how nbval compares the stored outputs of notebooks with new ones."""

import math
import os
import re

# Before anything imports torch or transformers; the kernels of nbval inherit them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import pytest
from nbval.plugin import IPyNbCell

pytest.register_assert_rewrite("browser", "helpers")  # plugins of tests, whose asserts should explain themselves

NUMBER = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?|\bnan\b|\binf\b")
RELATIVE, ABSOLUTE = 1e-4, 1e-6
NOT_COMPARED = ("stderr", "application/papermill.record/image/png")


class Tolerant(str):
    """Text that equals other text if the words are the same and the decimals are close.

    Processors differ in the last digits of a float, so nbval's comparison of strings would fail elsewhere.
    Whole numbers are counts and must be the same.
    """

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        """Compare the words exactly and the decimals with a tolerance."""
        if not isinstance(other, str) or NUMBER.sub("#", self) != NUMBER.sub("#", other):
            return False
        return all(map(close, NUMBER.findall(self), NUMBER.findall(other)))

    def __ne__(self, other: object) -> bool:
        """Negate `==`; the one of `str` would ignore it."""
        return not self == other


def close(left: str, right: str) -> bool:
    """Whether two printed numbers are the same number up to rounding noise."""
    if left == right:
        return True
    if left.lstrip("+-").isdigit() and right.lstrip("+-").isdigit():
        return False
    return math.isclose(float(left), float(right), rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def pytest_collection_modifyitems(items):
    """Give the notebook cells the tolerance, and leave out what differs between machines."""
    for cell in items:
        if isinstance(cell, IPyNbCell) and not isinstance(cell.sanitize, _Sanitize):
            cell.sanitize = _Sanitize(cell.sanitize)
            cell.parent.skip_compare = {*cell.parent.skip_compare, *NOT_COMPARED}


class _Sanitize:
    """nbval's own cleaning of an output, with a tolerant result."""

    def __init__(self, sanitize):
        self.sanitize = sanitize

    def __call__(self, output):
        clean = self.sanitize(output)
        return Tolerant(clean) if isinstance(clean, str) else clean
