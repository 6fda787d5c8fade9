"""The record of a run: everything a table or a figure may quote, written once and whole.

<root>/<profile>/<study>/<run>/record.json     config, digests, selection, history, metrics, environment
                               test.run.gz     the ranked gallery of every test query (TREC run file)
                               details.npz     arrays that notebooks show (where the system has any)
                               weights.safetensors   (where the system has any; not kept in the reference)
<root>/<profile>/qrels/{intention,exact}.qrels
<root>/<profile>/checks.json                   how hard the data are (`intra.checks`)
<root>/<profile>/generated/{knowledge,attributes}.jsonl
"""

import ast
import functools
import hashlib
import json
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from intra.config import RunConfig
from intra.errors import IntraError
from intra.evaluation import Run, read_run
from intra.paths import PACKAGE

RECORD, RUN, DETAILS, WEIGHTS = "record.json", "test.run.gz", "details.npz", "weights.safetensors"
CHECKS = "checks.json"
RESULT_CODE = (
    "components.py",
    "config.py",
    "data/*.py",
    "encoders/*.py",
    "evaluation.py",
    "features.py",
    "generation/*.py",
    "losses.py",
    "metrics.py",
    "models/*.py",
    "running.py",
    "training.py",
    "weights.py",
)
"""The modules that results depend on. Weights and texts are named, with their digests, by a record's components."""
NO_RESULT_CODE = ("data/export.py", "models/summary.py", "data/statistics.py")


@dataclass(frozen=True)
class Record:
    """One finished run, as it lies in its folder."""

    path: Path
    content: dict

    @property
    def config(self) -> RunConfig:
        """The run's config."""
        return RunConfig(**self.content["config"])

    @property
    def system(self) -> str:
        """Which system was run."""
        return self.content["config"]["system"]

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.content["config"]["seed"]

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Match (`intention`, `exact`) to metric to mean over the test queries."""
        return self.content["metrics"]

    @property
    def root(self) -> Path:
        """Folder of the profile's records, with qrels and generated text."""
        return self.path.parents[1]

    def run(self) -> Run:
        """The ranked lists."""
        return read_run(self.path / RUN)

    def details(self) -> dict[str, np.ndarray]:
        """The arrays of `details.npz`; empty where the system has none."""
        if not (self.path / DETAILS).exists():
            return {}
        with np.load(self.path / DETAILS) as arrays:
            return dict(arrays)


def run_name(config: RunConfig) -> str:
    """Folder name of a run."""
    return f"{config.system}-seed{config.seed}-{config.digest()}"


def read_record(path: Path) -> Record:
    """Read a finished run.

    Raises:
        IntraError: If the folder holds no record, an incomplete one, or one that selected on test.
    """
    try:
        content = json.loads((path / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise IntraError(f"{path}: holds no {RECORD}") from None
    except ValueError as error:
        raise IntraError(f"{path / RECORD}: is no valid JSON: {error}") from None
    for part in ("config", "selection", "history", "metrics"):
        if not isinstance(content, dict) or part not in content:
            raise IntraError(f"{path / RECORD}: {part}: is missing")
    if content["selection"] and content["selection"]["split"] != "valid":
        raise IntraError(f"{path / RECORD}: selection.split: {content['selection']['split']!r}, expected 'valid'")
    return Record(path, content)


@functools.cache
def code_digest(patterns: tuple[str, ...] = RESULT_CODE) -> str:
    """SHA-256 (12 digits) of modules: their syntax trees without comments and docstrings.

    Args:
        patterns: Which modules, as glob patterns; those that results depend on by default.
    """
    digest = hashlib.sha256()
    paths = {path for pattern in patterns for path in PACKAGE.glob(pattern)}
    for path in sorted(paths - {PACKAGE / name for name in NO_RESULT_CODE}):
        name = path.relative_to(PACKAGE).as_posix()
        digest.update(name.encode())
        digest.update(_without_docstrings(path.read_text(encoding="utf-8")).encode())
    return digest.hexdigest()[:12]


def _without_docstrings(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [s for s in body if not _is_docstring(s)] or [ast.Pass()]
    return ast.unparse(tree)


def _is_docstring(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def environment() -> dict[str, str]:
    """What the run was made with; two machines may differ here and agree in everything else."""
    packages = ("numpy", "torch", "transformers", "open_clip_torch")
    return {"python": platform.python_version(), "machine": platform.machine()} | {p: version(p) for p in packages}
