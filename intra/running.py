"""One run: features, fit, scores, record."""

import functools
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState

from intra.components import Components
from intra.config import CHOICES, RunConfig, unknown
from intra.data.reader import PACKAGED, config_dataset, dataset_digest
from intra.data.schema import Dataset
from intra.errors import IntraError
from intra.evaluation import MATCHES, Run, make_qrels, make_run, match_metrics, write_qrels, write_run
from intra.features import DECIDING, build_features, prepare_conversations, prepare_stickers, prepare_words
from intra.files import written_whole
from intra.models import SYSTEMS
from intra.models.system import System
from intra.paths import BUILD, RECORDS
from intra.records import (
    DETAILS,
    RECORD,
    RELEVANCE,
    RUN,
    RUNS,
    WEIGHTS,
    Record,
    code_digest,
    environment,
    read_record,
    run_name,
    system_code,
    write_relevance,
)
from intra.training import Fit

PREPARATIONS = {"stickers": prepare_stickers, "conversations": prepare_conversations, "words": prepare_words}
"""What computes the features of stickers and of conversations: pieces of work that can go on side by side."""


def run_one(config: RunConfig, root: Path) -> Record:
    """Train and evaluate one config, or read its record if `root` holds one made by this very code.

    Raises:
        IntraError: If the system is unknown.
    """
    if record := on_record(config, root):
        return record
    state = PartialState()  # of the processes that `accelerate launch` started; else of the only one
    store = config_root(config, root) / "generated"
    with state.main_process_first():
        build_features(config, store)
    files = make_run_files(config, store)
    if state.is_main_process:
        keep_run_files(config, files, root)
    state.wait_for_everyone()
    return read_record(_path(config, root))


def config_root(config: RunConfig, root: Path) -> Path:
    """Folder of the profile's records. Qrels lie in it, so that another data set needs another one."""
    own = "" if config.dataset in PACKAGED else f"-{dataset_digest(config.dataset)}"
    return root / f"{config.profile}{own}"


def _path(config: RunConfig, root: Path) -> Path:
    return config_root(config, root) / RUNS / run_name(config)


def on_record(config: RunConfig, root: Path) -> Record | None:
    """The record of a config if `root` holds one made by this very code.

    Raises:
        IntraError: If the system is unknown, or the record is broken.
    """
    if config.system not in SYSTEMS:
        raise IntraError(unknown("system", config.system, SYSTEMS))
    path = _path(config, root)
    if not path.exists():
        return None
    record = read_record(path)
    return record if record.content.get("inputs") == inputs(config) else None


def prepare(job: tuple[str, list[RunConfig]], store: Path) -> None:
    """Compute the features that are not in the cache yet.

    Args:
        job: Key of `PREPARATIONS`, and configs.
        store: Folder of the generation stores.
    """
    _few_threads()
    kind, configs = job
    distinct = {tuple(getattr(config, name) for name in DECIDING): config for config in configs}
    for config in distinct.values():
        PREPARATIONS[kind](config, store)


def make_run_files(config: RunConfig, store: Path) -> dict[str, bytes]:
    """Train and evaluate one config.

    Args:
        config: Of the run.
        store: Folder of the generation stores.

    Returns:
        File name to content of the run's record; of several processes that train together, the main one's alone.
    """
    _few_threads()
    features, dataset = build_features(config, store), config_dataset(config)
    start = time.perf_counter()
    system = SYSTEMS[config.system](config, features)
    fit = system.fit(features.train, features.valid)
    fitted = time.perf_counter()
    if not PartialState().is_main_process:
        return {}
    queries, gallery = features.test.queries, features.test.gallery
    run = make_run(system.score(queries, gallery), queries.ids, gallery.ids, dataset)
    seconds = {"fit": round(fitted - start, 2), "score": round(time.perf_counter() - fitted, 3)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_run(folder / RUN, run, run_name(config))
        write_relevance(folder / RELEVANCE, run, {match: make_qrels(dataset, "test", match) for match in MATCHES})
        if hasattr(system, "save"):
            system.save(folder / WEIGHTS)
        if details := system.details(queries, gallery) if hasattr(system, "details") else {}:
            np.savez_compressed(folder / DETAILS, **{k: v.astype(np.float16) for k, v in details.items()})
        content = _content(config, dataset, run, fit) | {"parameters": _parameters(system), "seconds": seconds}
        (folder / RECORD).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def keep_run_files(config: RunConfig, files: dict[str, bytes], root: Path) -> Record:
    """Write the record of a run, whole.

    Raises:
        IntraError: If it was made by other code or data, on another machine or since this process started.
    """
    if json.loads(files[RECORD])["inputs"] != inputs(config):
        raise IntraError(f"{run_name(config)}: made by other code or data: start again, with one version on every node")
    write_all_qrels(config, config_root(config, root))
    path = _path(config, root)
    with written_whole(path) as folder:
        for name, data in files.items():
            (folder / name).write_bytes(data)
    return read_record(path)


def _parameters(system: System) -> int:
    """How many numbers a system learns by gradient."""
    if not hasattr(system, "save"):
        return 0
    return sum(each.numel() for each in system.model.parameters() if each.requires_grad)


def _few_threads() -> None:
    """The same sums in the same order, whatever process a run is made in."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))


def score_record(record: Record, split: str) -> tuple[Dataset, Run]:
    """Rank a split anew with the weights of a record.

    Raises:
        IntraError: If the system has weights and the record's folder does not hold them.
    """
    config = record.config
    has_weights = hasattr(SYSTEMS[config.system], "load")
    if has_weights and not (record.path / WEIGHTS).exists():
        raise IntraError(f"{record.path}: holds no weights to rank with; its metrics are in {record.path / RECORD}")
    # the reference is read only: what is missing there goes where fresh runs go
    root = BUILD / "records" / record.root.name if record.root.is_relative_to(RECORDS) else record.root
    features = build_features(config, root / "generated")
    system = SYSTEMS[config.system](config, features)
    if has_weights:
        system.load(record.path / WEIGHTS)
    else:
        system.fit(features.train, features.valid)
    part = getattr(features, split)
    scores = system.score(part.queries, part.gallery)
    dataset = config_dataset(config)
    return dataset, make_run(scores, part.queries.ids, part.gallery.ids, dataset)


def write_all_qrels(config: RunConfig, root: Path) -> None:
    """Write the qrels of the test split under both matches, where `config` decides which stickers are right."""
    for match in MATCHES:
        path = root / "qrels" / qrels_name(config, match)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_qrels(path, make_qrels(config_dataset(config), "test", match))


def qrels_name(config: RunConfig, match: str) -> str:
    """File name of the qrels of a run, such as `exact.qrels` or `exact-gallery-all.qrels`."""
    values = {name: getattr(config, name) for name in ("label_policy", "gallery")}
    others = [f"-{name}-{value}" for name, value in values.items() if value != CHOICES[name][0]]
    return f"{match}{''.join(others)}.qrels"


@functools.cache
def _part_names(profile: str) -> dict[str, str]:
    return Components(profile).names()


def inputs(config: RunConfig) -> dict:
    """Digests of everything besides the config that decides a run: code, data and pretrained parts."""
    return {
        "code": code_digest(system_code(SYSTEMS[config.system].__module__)),
        "dataset": dataset_digest(config.dataset),
        "components": _part_names(config.profile),
    }


def _content(config: RunConfig, dataset: Dataset, run: Run, fit: Fit | None) -> dict:
    """What `record.json` says of a run."""
    test = dataset.split("test")
    return {
        "config": config.as_dict(),
        "digest": config.digest(),
        "inputs": inputs(config),
        "dataset": {
            "name": dataset.name,
            "version": dataset.version,
            "queries": len(test.conversations),
            "gallery": len(test.stickers),
        },
        "selection": fit and {"split": "valid", "metric": "mAP", "value": fit.validation, "epoch": fit.best_epoch},
        "history": fit.history if fit else [],
        "metrics": match_metrics(run, dataset, "test"),
        "environment": environment(),
    }
