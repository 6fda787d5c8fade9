"""The record of a run: everything a table or a figure may quote, written once and whole.

<root>/<profile>/runs/<run>/record.json     config, digests, selection, history, metrics, environment
                            relevance.npz   which ranks hold a right sticker, for every test query
                            test.run.gz     the ranked gallery of every test query (TREC run file)
                            details.npz     arrays that notebooks show (where the system has any)
                            weights.safetensors   (where the system has any)
<root>/<profile>/qrels/{intention,exact}.qrels    another label policy or gallery is part of the name
<root>/<profile>/checks.json                how hard the data are (`intra.checks`)
<root>/<profile>/generated/{knowledge,attributes}.jsonl

A run is named by its config, and every study that asks for the config shares it. The reference keeps no weights,
and ranked lists and details only of Int-RA in the study `main`.
"""

import ast
import functools
import hashlib
import json
import platform
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from intra.config import RunConfig
from intra.errors import IntraError
from intra.evaluation import Qrels, Run, read_run
from intra.metrics import METRICS
from intra.paths import PACKAGE

RECORD, RELEVANCE, RUN = "record.json", "relevance.npz", "test.run.gz"
DETAILS, WEIGHTS = "details.npz", "weights.safetensors"
RUNS, CHECKS = "runs", "checks.json"
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
    "running.py",
    "training.py",
    "vectors.py",
    "weights.py",
    "words.py",
)
"""The modules that every result depends on, besides those of its system (`system_code`). Weights and texts are named,
with their digests, by a record's components."""
NO_RESULT_CODE = (  # but where a system asks for them by name
    "data/export.py",
    "data/statistics.py",
    "generation/language_models.py",
    "generation/answers.py",
)


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

    def relevance(self, match: str) -> np.ndarray:
        """Whether the sticker at a rank is right, shape (Q, G), bool; past a short ranking it is not.

        Raises:
            IntraError: If the record does not hold it.
        """
        return self._relevance()[match]

    def candidates(self) -> np.ndarray:
        """How many stickers are ranked for each query, shape (Q,), int32."""
        return self._relevance()["candidates"]

    def per_query(self, match: str) -> pd.DataFrame:
        """Every metric (columns) for every test query (index), as `evaluation.evaluate` gives it."""
        relevance, queries = self.relevance(match), self._relevance()["queries"]
        return pd.DataFrame({name: metric(relevance) for name, metric in METRICS.items()}, index=queries.tolist())

    def _relevance(self) -> dict[str, np.ndarray]:
        try:
            with np.load(self.path / RELEVANCE) as arrays:
                return dict(arrays)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise IntraError(f"{self.path / RELEVANCE}: cannot be read: {error}") from None

    def run(self) -> Run:
        """The ranked lists.

        Raises:
            IntraError: If the record does not hold them.
        """
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


def write_relevance(path: Path, run: Run, qrels: Mapping[str, Qrels]) -> None:
    """Keep what every metric can be computed from.

    Args:
        path: Of the file.
        run: Ranked lists of all queries of the qrels.
        qrels: Match to qrels.
    """
    lengths = np.array([len(ranking) for ranking in run.values()], np.int32)
    arrays = {"queries": np.array(list(run)), "candidates": lengths}
    for match, right in qrels.items():
        arrays[match] = np.zeros((len(run), lengths.max()), bool)
        for row, (query, ranking) in zip(arrays[match], run.items(), strict=True):
            row[: len(ranking)] = [sticker in right[query] for sticker in ranking]
    np.savez_compressed(path, **arrays)


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
    left_out = {PACKAGE / name for name in NO_RESULT_CODE}
    paths = {
        path for pattern in patterns for path in PACKAGE.glob(pattern) if path not in left_out or "*" not in pattern
    }
    for path in sorted(paths):
        name = path.relative_to(PACKAGE).as_posix()
        digest.update(name.encode())
        digest.update(_without_docstrings(path.read_text(encoding="utf-8")).encode())
    return digest.hexdigest()[:12]


@functools.cache
def system_code(module: str) -> tuple[str, ...]:
    """The modules that results of one system depend on: `RESULT_CODE`, its own and those of the package it imports.

    Args:
        module: Where the system is defined, such as `intra.models.int_ra`.
    """
    found, waiting = set(), {module}
    while waiting:
        name = waiting.pop()
        found.add(name)
        tree = ast.parse(_source(name).read_text(encoding="utf-8"))
        imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        waiting |= {other for other in imported if other.startswith(("intra.models.", "intra.generation."))} - found
    return (*RESULT_CODE, *sorted(_source(name).relative_to(PACKAGE).as_posix() for name in found))


def _source(module: str) -> Path:
    return PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py")


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
