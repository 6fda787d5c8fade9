"""Named studies: a base config and what varies. Runs that are on record are not made again.

Reading records needs no torch; it is imported with `running` when a run has to be made.
"""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from intra.components import Components
from intra.config import RunConfig, unknown
from intra.data.reader import PACKAGED, profile_dataset
from intra.errors import IntraError
from intra.features import data_attributes, data_knowledge
from intra.files import written_whole
from intra.generation.attributes import StickerAttributes
from intra.generation.knowledge import Knowledge
from intra.generation.store import GenerationStore
from intra.paths import BUILD, RECORDS
from intra.records import CHECKS, WEIGHTS, Record, code_digest, read_record, run_name

FRESH_RECORDS = BUILD / "records"
"""Where runs go that are not the reference."""
SEEDS = (0, 1, 2, 3, 4)
Seeds = Sequence[int] | int | str
"""Whole numbers, or their text as in `read_seeds`: papermill hands lists on as text."""

STUDIES: dict[str, list[dict]] = {
    "main": [{"system": name} for name in ("random", "majority", "int_ra", "oracle")],
}
"""Name to the changes of the base config, one entry a configuration."""


def read_seeds(text: str) -> list[int]:
    """Whole numbers and ranges such as `0-4,7` or `[0, 1]`.

    Raises:
        IntraError: If the text is something else, or a range is empty.
    """
    try:
        seeds = []
        for piece in text.strip().removeprefix("[").removesuffix("]").split(","):
            first, dash, last = piece.partition("-")
            some = range(int(first), int(last if dash else first) + 1)
            if not some:
                raise ValueError(piece)
            seeds += some
        return seeds
    except ValueError:
        raise IntraError(f"{text!r} is no list of seeds such as 0-4 or 0,2,7") from None


def study_configs(
    name: str, profile: str = "mini", seeds: Seeds = SEEDS, dataset: str | None = None
) -> list[RunConfig]:
    """The configs of a study: every configuration with every seed.

    Args:
        name: Of the study.
        profile: Of its parts.
        seeds: One config a configuration and seed.
        dataset: A packaged data set or a folder; None takes the profile's.

    Raises:
        IntraError: If the study, the profile or a setting is unknown, a seed is no whole number, or the profile
            has no data set and none is given.
    """
    if name not in STUDIES:
        raise IntraError(unknown("study", name, STUDIES))
    if isinstance(seeds, str):
        seeds = read_seeds(seeds)
    elif not isinstance(seeds, Sequence):
        seeds = [seeds]
    if not seeds or any(not isinstance(seed, int) or isinstance(seed, bool) or seed < 0 for seed in seeds):
        raise IntraError(f"seeds are {list(seeds)!r}, expected at least one whole number from 0 up")
    base = RunConfig.of_profile(profile, dataset=dataset)
    return [base.with_changes(**changes, seed=seed) for changes in STUDIES[name] for seed in dict.fromkeys(seeds)]


def load_study(name: str, profile: str = "mini", seeds: Seeds = SEEDS) -> list[Record]:
    """Records of a study: from the reference, else from earlier fresh runs, else made now.

    Raises:
        IntraError: See `study_configs`.
    """
    records = []
    for config in study_configs(name, profile, seeds):
        reference = RECORDS / profile / name / run_name(config)
        records.append(read_record(reference) if reference.exists() else _run(name, config, FRESH_RECORDS))
    return records


def reference_records(name: str, profile: str = "mini") -> list[Record]:
    """The records of a study's configs in the reference; none before the first `make accept`."""
    paths = [RECORDS / profile / name / run_name(config) for config in study_configs(name, profile)]
    return [read_record(path) for path in paths if path.exists()]


def accept_records(name: str, report: Callable[[str], None], profile: str = "mini") -> None:
    """Make the fresh records of a study the reference: everything but the weights.

    Raises:
        IntraError: If a run is missing, or was made by other code or data.
    """
    from intra.running import inputs

    for config in study_configs(name, profile):
        path = FRESH_RECORDS / profile / name / run_name(config)
        if read_record(path).content["inputs"] != inputs(config):
            raise IntraError(f"{path}: was made by other code or data; run `make reproduce` first")
    with written_whole(RECORDS / profile) as folder:
        shutil.copytree(
            FRESH_RECORDS / profile, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(WEIGHTS, ".*", "train")
        )
        wanted = {run_name(config) for config in study_configs(name, profile)}
        for run in (folder / name).iterdir():
            if run.name not in wanted:
                shutil.rmtree(run)
        sources = Components(profile).names().values()
        for store in (folder / "generated").iterdir():
            GenerationStore(store).keep(lambda request: request["source"] in sources)
    report(f"{len(wanted)} records accepted")


def run_study(
    name: str,
    profile: str = "mini",
    seeds: Seeds = SEEDS,
    root: Path = FRESH_RECORDS,
    report: Callable[[str], None] = lambda line: None,
    dataset: str | None = None,
) -> list[Record]:
    """Make every run of a study that `root` lacks.

    Args:
        name: Of the study.
        profile: Of its parts.
        seeds: One run a configuration and seed.
        root: Folder of records.
        report: Told one line a run.
        dataset: See `study_configs`.
    """
    records = []
    for config in (configs := study_configs(name, profile, seeds, dataset)):
        start = time.perf_counter()
        records.append(_run(name, config, root))
        selected = records[-1].content["selection"]
        found = f"valid mAP {selected['value']:.4f}" if selected else "nothing to select"
        place = f"{len(records)}/{len(configs)}"
        report(f"{place} {run_name(config)}: {found} ({time.perf_counter() - start:.1f} s)")
    if name == "main":
        _check_data(configs[0], records[0].root / CHECKS)
    return records


def _run(name: str, config: RunConfig, root: Path) -> Record:
    from intra.running import run_one  # torch takes seconds to import, and notebooks that only read need none

    return run_one(name, config, root)


def _check_data(config: RunConfig, path: Path) -> None:
    from intra.checks import write_checks
    from intra.running import inputs

    write_checks(path, config, inputs(config) | {"checks": code_digest(("checks.py",))})


def load_checks(profile: str = "mini", dataset: str = "replystickers") -> dict:
    """The answer of `checks.run_checks`: from the reference, else from an earlier fresh study, else made now."""
    for root in (RECORDS, FRESH_RECORDS) if dataset in PACKAGED else ():
        if (path := root / profile / CHECKS).exists():
            return json.loads(path.read_text(encoding="utf-8"))
    from intra.checks import run_checks

    return run_checks(RunConfig(profile=profile, dataset=dataset))


def load_knowledge(profile: str = "mini", dataset: str = "replystickers") -> list[Knowledge]:
    """What the profile's knowledge source says of every conversation of the data set, from the store."""
    return data_knowledge(profile_dataset(dataset, profile), Components(profile), generated(profile))


def load_attributes(profile: str = "mini", dataset: str = "replystickers") -> list[StickerAttributes]:
    """What the profile's attribute source says of every sticker of the data set, from the store."""
    return data_attributes(profile_dataset(dataset, profile), Components(profile), generated(profile))


def generated(profile: str) -> Path:
    """Folder of generated text to read from and add to: a copy of the reference's, which only `accept` changes."""
    own, reference = FRESH_RECORDS / profile / "generated", RECORDS / profile / "generated"
    if reference.exists() and not own.exists():
        shutil.copytree(reference, own)
    return own
