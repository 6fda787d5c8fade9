"""One run: features, fit, scores, record."""

import functools
import json
import time
from pathlib import Path

import numpy as np
from accelerate import PartialState

from intra.components import Components
from intra.config import RunConfig, unknown
from intra.data.reader import PACKAGED, dataset_digest, profile_dataset
from intra.data.schema import Dataset
from intra.errors import IntraError
from intra.evaluation import MATCHES, Run, make_qrels, make_run, match_metrics, write_qrels, write_run
from intra.features import Features, build_features
from intra.files import written_whole
from intra.models import SYSTEMS
from intra.models.system import System
from intra.paths import BUILD, RECORDS
from intra.records import (
    DETAILS,
    RECORD,
    RUN,
    WEIGHTS,
    Record,
    code_digest,
    environment,
    read_record,
    run_name,
)
from intra.training import Fit


def run_one(study: str, config: RunConfig, root: Path) -> Record:
    """Train and evaluate one config, or read its record if `root` holds one made by this very code.

    Raises:
        IntraError: If the system is unknown.
    """
    if config.system not in SYSTEMS:
        raise IntraError(unknown("system", config.system, SYSTEMS))
    # qrels lie in this folder, so that another data set needs another one
    own = "" if config.dataset in PACKAGED else f"-{dataset_digest(config.dataset)}"
    root = root / f"{config.profile}{own}"
    path = root / study / run_name(config)
    if path.exists():
        record = read_record(path)
        if record.content.get("inputs") == inputs(config):
            return record
    state = PartialState()  # of the processes that `accelerate launch` started; else of the only one
    with state.main_process_first():
        features = build_features(config, root / "generated")
    start = time.perf_counter()
    system = SYSTEMS[config.system](config, features)
    fit = system.fit(features.train, features.valid)
    if state.is_main_process:
        _write(path, config, features, system, fit, time.perf_counter() - start)
    state.wait_for_everyone()
    return read_record(path)


def _write(path: Path, config: RunConfig, features: Features, system: System, fit: Fit | None, seconds: float) -> None:
    """Score the test split and write the record of a run."""
    dataset = profile_dataset(config.dataset, config.profile)
    write_all_qrels(dataset, path.parents[1])
    start = time.perf_counter()
    scores = system.score(features.test.queries, features.test.gallery)
    taken = {"fit": round(seconds, 2), "score": round(time.perf_counter() - start, 3)}
    run = make_run(scores, features.test.queries.ids, features.test.gallery.ids, dataset)
    with written_whole(path) as folder:
        write_run(folder / RUN, run, run_name(config))
        if hasattr(system, "save"):
            system.save(folder / WEIGHTS)
            details = system.details(features.test.queries, features.test.gallery)
            np.savez_compressed(folder / DETAILS, **{k: v.astype(np.float16) for k, v in details.items()})
        content = _content(config, dataset, run, fit) | {"seconds": taken}
        (folder / RECORD).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def score_record(record: Record, split: str) -> tuple[Dataset, Run]:
    """Rank a split anew with the weights of a record.

    Raises:
        IntraError: If the system has weights and the record's folder does not hold them.
    """
    config = record.config
    has_weights = hasattr(SYSTEMS[config.system], "load")
    if has_weights and not (record.path / WEIGHTS).exists():
        raise IntraError(f"{record.path}: holds no weights; its ranked lists can be evaluated: {record.path / RUN}")
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
    dataset = profile_dataset(config.dataset, config.profile)
    return dataset, make_run(scores, part.queries.ids, part.gallery.ids, dataset)


def write_all_qrels(dataset: Dataset, root: Path) -> None:
    """Write the qrels of the test split under both matches."""
    for match in MATCHES:
        path = root / "qrels" / f"{match}.qrels"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_qrels(path, make_qrels(dataset, "test", match))


@functools.cache
def _part_names(profile: str) -> dict[str, str]:
    return Components(profile).names()


def inputs(config: RunConfig) -> dict:
    """Digests of everything besides the config that decides a run: code, data and pretrained parts."""
    return {
        "code": code_digest(),
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
