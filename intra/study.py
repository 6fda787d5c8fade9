"""Named studies: a base config and what varies. Runs that are on record are not made again."""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from intra.components import components
from intra.config import RunConfig, unknown
from intra.data.schema import Dataset
from intra.errors import IntraError
from intra.evaluation import MATCHES, Run, evaluate, make_qrels, make_run, write_qrels, write_run
from intra.features import Features, build_features, data_attributes, data_knowledge, profile_dataset
from intra.generation.attributes import StickerAttributes
from intra.generation.knowledge import Knowledge
from intra.models import SYSTEMS
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
    written_whole,
)

FRESH_RECORDS = BUILD / "records"
"""Where runs go that are not the reference."""
SEEDS = (0, 1, 2, 3, 4)

STUDIES: dict[str, list[dict]] = {
    "main": [{"system": name} for name in SYSTEMS],
}
"""Name to the changes of the base config, one entry a configuration."""


def study_configs(name: str, profile: str = "mini", seeds: Sequence[int] = SEEDS) -> list[RunConfig]:
    """The configs of a study: every configuration with every seed.

    Raises:
        IntraError: If the study, the profile or a setting is unknown, or a seed is no whole number.
    """
    if name not in STUDIES:
        raise IntraError(unknown("study", name, STUDIES))
    if not seeds or any(not isinstance(seed, int) or isinstance(seed, bool) or seed < 0 for seed in seeds):
        raise IntraError(f"seeds are {list(seeds)!r}, expected at least one whole number from 0 up")
    base = RunConfig(profile=profile)
    return [base.with_changes(**changes, seed=seed) for changes in STUDIES[name] for seed in dict.fromkeys(seeds)]


def load_study(name: str, profile: str = "mini", seeds: Sequence[int] = SEEDS) -> list[Record]:
    """Records of a study: from the reference, else from earlier fresh runs, else made now.

    Raises:
        IntraError: See `study_configs`.
    """
    records = []
    for config in study_configs(name, profile, seeds):
        reference = RECORDS / profile / name / run_name(config)
        records.append(read_record(reference) if reference.exists() else run_one(name, config, FRESH_RECORDS))
    return records


def reference_records(name: str, profile: str = "mini") -> list[Record]:
    """The records of a study in the reference; none before the first `make accept`."""
    folder = RECORDS / profile / name
    return [read_record(path) for path in sorted(folder.iterdir())] if folder.exists() else []


def accept_records(name: str, report: Callable[[str], None], profile: str = "mini") -> None:
    """Make the fresh records of a study the reference: everything but the weights.

    Raises:
        IntraError: If a run is missing or was made by other code.
    """
    for config in study_configs(name, profile):
        path = FRESH_RECORDS / profile / name / run_name(config)
        if read_record(path).content["code"] != code_digest():
            raise IntraError(f"{path}: was made by other code; run `make reproduce` first")
    with written_whole(RECORDS / profile) as folder:
        shutil.copytree(
            FRESH_RECORDS / profile, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(WEIGHTS, ".*", "train")
        )
        wanted = {run_name(config) for config in study_configs(name, profile)}
        for run in (folder / name).iterdir():
            if run.name not in wanted:
                shutil.rmtree(run)
    report(f"{len(wanted)} records accepted")


def run_study(
    name: str,
    profile: str = "mini",
    seeds: Sequence[int] = SEEDS,
    root: Path = FRESH_RECORDS,
    report: Callable[[str], None] = lambda line: None,
) -> list[Record]:
    """Make every run of a study that `root` lacks.

    Args:
        name: Of the study.
        profile: Of its parts.
        seeds: One run a configuration and seed.
        root: Folder of records.
        report: Told one line a run.
    """
    records = []
    for config in (configs := study_configs(name, profile, seeds)):
        start = time.perf_counter()
        records.append(run_one(name, config, root))
        value = records[-1].metrics["intention"]["mAP"]
        place = f"{len(records)}/{len(configs)}"
        report(f"{place} {run_name(config)}: test mAP {value:.4f} ({time.perf_counter() - start:.1f} s)")
    return records


def run_one(study: str, config: RunConfig, root: Path) -> Record:
    """Train and evaluate one config, or read its record if `root` holds one made by this very code.

    Raises:
        IntraError: If the system is unknown.
    """
    if config.system not in SYSTEMS:
        raise IntraError(unknown("system", config.system, SYSTEMS))
    root = root / config.profile
    path = root / study / run_name(config)
    if path.exists():
        record = read_record(path)
        if record.content["code"] == code_digest():
            return record
    dataset = profile_dataset(config.dataset, config.profile)
    features = build_features(config, root / "generated")
    write_all_qrels(dataset, root)
    start = time.perf_counter()
    system = SYSTEMS[config.system](config, features)
    fit = system.fit(features.train, features.valid)
    trained = time.perf_counter()
    scores = system.score(features.test.queries, features.test.gallery)
    with written_whole(path) as folder:
        content = _content(config, dataset, features, fit, scores)
        content["seconds"] = {
            "fit": round(trained - start, 2),
            "score": round(time.perf_counter() - trained, 3),
        }
        run = make_run(scores, features.test.queries.ids, features.test.gallery.ids)
        write_run(folder / RUN, run, run_name(config))
        if hasattr(system, "save"):
            system.save(folder / WEIGHTS)
            details = system.details(features.test.queries, features.test.gallery)
            np.savez_compressed(folder / DETAILS, **{k: v.astype(np.float16) for k, v in details.items()})
        (folder / RECORD).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return read_record(path)


def score_record(record: Record, split: str) -> tuple[Dataset, Run]:
    """Rank a split anew with the weights of a record.

    Raises:
        IntraError: If the system has weights and the record's folder does not hold them.
    """
    config = record.config
    features = build_features(config, record.root / "generated")
    system = SYSTEMS[config.system](config, features)
    if hasattr(system, "load"):
        system.load(record.path / WEIGHTS)
    else:
        system.fit(features.train, features.valid)
    part = getattr(features, split)
    scores = system.score(part.queries, part.gallery)
    return profile_dataset(config.dataset, config.profile), make_run(scores, part.queries.ids, part.gallery.ids)


def match_metrics(run: Run, dataset: Dataset, split: str) -> dict[str, dict[str, float]]:
    """Mean of every metric over a split's queries, under both matches, to six decimals."""
    return {match: evaluate(run, make_qrels(dataset, split, match)).mean().round(6).to_dict() for match in MATCHES}


def write_all_qrels(dataset: Dataset, root: Path) -> None:
    """Write the qrels of the test split under both matches."""
    for match in MATCHES:
        path = root / "qrels" / f"{match}.qrels"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_qrels(path, make_qrels(dataset, "test", match))


def _content(config: RunConfig, dataset: Dataset, features: Features, fit, scores: np.ndarray) -> dict:
    """What `record.json` says of a run."""
    test = features.test
    run = make_run(scores, test.queries.ids, test.gallery.ids)
    return {
        "config": config.as_dict(),
        "digest": config.digest(),
        "code": code_digest(),
        "dataset": {
            "name": dataset.name,
            "version": dataset.version,
            "queries": len(test.queries.ids),
            "gallery": len(test.gallery.ids),
        },
        "components": components(config.profile).names(),
        "selection": fit and {"split": "valid", "metric": "mAP", "value": fit.validation, "epoch": fit.best_epoch},
        "history": fit.history if fit else [],
        "metrics": match_metrics(run, dataset, "test"),
        "environment": environment(),
    }


def study_root(profile: str) -> Path:
    """Folder of a profile's records: the reference where there is one, else that of fresh runs."""
    reference = RECORDS / profile
    return reference if reference.exists() else FRESH_RECORDS / profile


def load_knowledge(profile: str = "mini", dataset: str = "replystickers") -> list[Knowledge]:
    """What the profile's knowledge source says of every conversation of the data set, from the store."""
    part = profile_dataset(dataset, profile)
    return data_knowledge(part, components(profile), study_root(profile) / "generated")


def load_attributes(profile: str = "mini", dataset: str = "replystickers") -> list[StickerAttributes]:
    """What the profile's attribute source says of every sticker of the data set, from the store."""
    part = profile_dataset(dataset, profile)
    return data_attributes(part, components(profile), study_root(profile) / "generated")
