"""Named studies: configurations, each with several seeds. Runs that are on record are not made again.

Reading records needs no torch; it is imported with `running` when a run has to be made.
"""

import itertools
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from intra.components import Components
from intra.config import ATTRIBUTE_KEYS, RunConfig, unknown
from intra.data.reader import PACKAGED, profile_dataset
from intra.engines import Engine, opened
from intra.errors import IntraError
from intra.evaluation import MATCHES
from intra.features import data_attributes, data_knowledge
from intra.files import written_whole
from intra.generation.attributes import StickerAttributes
from intra.generation.knowledge import Knowledge
from intra.generation.language_models import LANGUAGE_MODELS
from intra.generation.store import GenerationStore
from intra.paths import BUILD, RECORDS
from intra.records import CHECKS, DETAILS, RECORD, RELEVANCE, RUN, RUNS, Record, code_digest, read_record, run_name

FRESH_RECORDS = BUILD / "records"
"""Where runs go that are not the reference."""
Seeds = Sequence[int] | int | str | None
"""Whole numbers, or their text as in `read_seeds`: papermill hands lists on as text. None: the study's own."""
Report = Callable[[str], None]


@dataclass(frozen=True)
class Study:
    """A selection of configs."""

    configurations: dict[str, dict]
    """Label, as tables print it, to what is asked of `RunConfig.of_profile`."""
    seeds: tuple[int, ...] = field(default=(0, 1, 2, 3, 4))
    in_every_build: bool = True
    """Not so where runs only chose settings, or repeat the dearest ones: a build with other seeds leaves them out."""


INT_RA = "Int-RA"
"""Label of the default configuration, in whatever study."""
_REMOVED = {
    "attribute": {"attributes": ""},
    "intention": {"query": "context", "weight_intention": 0.0},
    "knowledge": {"knowledge": False},
}
"""The parts of Int-RA that Table II takes away."""
_READINGS = {
    "context_encoding": ("sequence",),
    "query": ("straight-through", "teacher", "mixture", "context", "concat", "gold"),
    "relation": ("value", "scalar"),
    "head_reduction": ("max",),
    "attribute_reduction": ("mean",),
    "description_units": ("token",),
    "regions": ("patches+class", "class"),
    "retrieval_loss": ("hardest", "literal", "infonce"),
    "negatives": ("batch", "all"),
    "negative_reduction": ("sum",),
    "gallery": ("all",),
}
"""Other readings of the paper than the default one. The label policy is not among them: no sticker of the packaged
data has conversations with different intentions."""


def _without() -> Iterator[tuple[str, dict]]:
    for count in range(1, len(_REMOVED) + 1):
        for parts in itertools.combinations(_REMOVED, count):
            yield f"w/o {', '.join(parts)}", {name: v for part in parts for name, v in _REMOVED[part].items()}


def _attribute_sets() -> Iterator[tuple[str, dict]]:
    yield "none", {"attributes": ""}
    for count in range(1, len(ATTRIBUTE_KEYS) + 1):
        for keys in map("".join, itertools.combinations(ATTRIBUTE_KEYS, count)):
            yield keys, {"attributes": keys}


def _steps_to_plus() -> dict[str, dict]:
    """Int-RA, Int-RA+, that without each of its parts, and Int-RA with one of them."""
    plus, both = {"system": "int_ra_plus"}, "regions+descriptions"
    return {
        INT_RA: {},
        "Int-RA+": plus,
        "w/o mixture": plus | {"query": "label"},
        "w/o descriptions": plus | {"sticker_evidence": "regions"},
        "w/o regions": plus | {"sticker_evidence": "descriptions"},
        "w/o probabilities": {"query": "mixture", "sticker_evidence": both},
        "Int-RA with descriptions": {"sticker_evidence": both},
    }


_CONTROLS = {
    "Random": {"system": "random"},
    "Majority intention": {"system": "majority"},
    "Intention prior": {"system": "prior"},
    "BM25": {"system": "bm25"},
    "e5 cosine, last utterance": {"system": "text_retrieval", "query_text": "last utterance"},
    "e5 cosine, context": {"system": "text_retrieval"},
    "e5 cosine, context, intentions told": {"system": "text_retrieval", "gallery_text": "attributes+intention"},
    "Intention classifier": {"system": "intention_classifier"},
    "Intention classifier, intentions told": {"system": "told_classifier"},
}
_BOUNDS = {
    "Blind reader": {"system": "blind_reader"},
    "Oracle attributes": {"system": "text_retrieval", "query_text": "attributes"},
    "Oracle intention": {"system": "oracle"},
}
_RETRIEVAL = {
    "SRS": {"system": "srs"},
    "MOD": {"system": "mod"},
    "LGUR": {"system": "lgur"},
    "IRRA": {"system": "irra"},
    "PCME": {"system": "pcme"},
    "CLIP adapters": {"system": "clip"},
    # as few passes as in published recipes: each takes as long as all of another system's
    "CLIP fine-tuned": {"system": "clip", "tuned_layers": 1, "epochs": 4},
}
"""The trained systems of Table II."""
LEARNING_RATES = (3e-4, 1e-3, 3e-3)
"""What every trained system may choose from, on validation (study `tuning`). With 20 batches an epoch, slower ones
would end by patience before they have learned anything."""
TUNED = {
    "SRS": 3e-4,
    "SRS + intention": 3e-4,
    "MOD": 1e-3,
    "MOD + intention": 3e-4,
    "LGUR": 3e-3,
    "LGUR + intention": 1e-3,
    "IRRA": 3e-3,
    "IRRA + intention": 1e-3,
    "PCME": 3e-4,
    "PCME + intention": 3e-3,
    "CLIP adapters": 3e-4,
    "CLIP adapters + intention": 1e-3,
    "CLIP fine-tuned": 3e-3,
    "CLIP fine-tuned + intention": 3e-3,
}
"""Row to the learning rate whose runs of the study `tuning` have the best mean mAP on validation; rows that are not
named here have the default."""


def _with_intention() -> dict[str, dict]:
    """The trained systems of Table II as published and, each behind that, with intentions in training."""
    rows = {}
    for label, changes in _RETRIEVAL.items():
        rows |= {label: changes, f"{label} + intention": changes | {"supervision": "intention"}}
    return rows


def _trained() -> dict[str, dict]:
    return _with_intention() | {INT_RA: {}, "Int-RA+": {"system": "int_ra_plus"}}


def tuned(label: str, rate: float) -> dict:
    """A trained row with another learning rate, wherever it learns."""
    changes = _trained()[label] | {"learning_rate": rate}
    # the layer that joins utterances learns as the rest does, layers that were pretrained a tenth as fast
    return changes | {"encoder_learning_rate": rate / 10 if "tuned_layers" in changes else rate}


def _main() -> dict[str, dict]:
    trained = {label: tuned(label, TUNED[label]) if label in TUNED else own for label, own in _trained().items()}
    return _CONTROLS | {"CLIP zero-shot": {"system": "clip_zero_shot"}} | trained | _BOUNDS


def _on_all_stickers() -> dict[str, dict]:
    """The rows of the main study, without the systems that train longest."""
    slow = {row for label in ("SRS", "MOD", "LGUR", "CLIP fine-tuned") for row in (label, f"{label} + intention")}
    return {label: changes | {"gallery": "all"} for label, changes in _main().items() if label not in slow}


STUDIES: dict[str, Study] = {
    "main": Study(_main()),
    "tuning": Study(
        {f"{label}, {rate:g}": tuned(label, rate) for label in _trained() for rate in LEARNING_RATES},
        seeds=(0,),
        in_every_build=False,
    ),
    "gallery": Study(_on_all_stickers(), seeds=(0,), in_every_build=False),
    "ablations": Study({INT_RA: {}, **dict(_without())}),
    "window": Study({str(window): {"window": window} for window in range(2, 11)}),
    "attributes": Study(dict(_attribute_sets())),
    "readings": Study(
        {INT_RA: {}} | {f"{name}: {value}": {name: value} for name, values in _READINGS.items() for value in values}
    ),
    "release": Study({INT_RA: {}, "as released": {"system": "released"}}),
    "plus": Study(_steps_to_plus(), seeds=tuple(range(10))),
    "data_size": Study(
        {
            f"{label}, {100 * share:g} %": {"system": system, "train_fraction": share}
            for label, system in ((INT_RA, "int_ra"), ("Int-RA+", "int_ra_plus"))
            for share in (0.125, 0.25, 0.5, 1.0)
        }
    ),
}


def _answered() -> dict[str, dict]:
    """The language models of Table II, and behind each the reading in which stickers are told with their intention."""
    rows = {}
    for name in LANGUAGE_MODELS:
        asked = {"system": "text_retrieval", "query_text": "answer", "language_model": name}
        rows |= {name: asked, f"{name}, intentions told": asked | {"gallery_text": "attributes+intention"}}
    return rows


ELSEWHERE: dict[str, Study] = {"language_models": Study(_answered(), seeds=(0,))}
"""Studies that need what the default profile does not have; only asked for by name."""
WHOLE = ("main", INT_RA)
"""Study and configuration whose runs the reference keeps with their ranked lists and details."""


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
    name: str, profile: str = "mini", seeds: Seeds = None, dataset: str | None = None
) -> dict[str, list[RunConfig]]:
    """The configs of a study: label to one config a seed.

    Args:
        name: Of the study.
        profile: Of its parts.
        seeds: One config a configuration and seed.
        dataset: A packaged data set or a folder; None takes the profile's.

    Raises:
        IntraError: If the study, the profile or a setting is unknown, a seed is no whole number, or the profile
            has no data set and none is given.
    """
    known = STUDIES | ELSEWHERE
    if name not in known:
        raise IntraError(unknown("study", name, known))
    study = known[name]
    if seeds is None:
        seeds = study.seeds
    elif isinstance(seeds, str):
        seeds = read_seeds(seeds)
    elif not isinstance(seeds, Sequence):
        seeds = [seeds]
    if not seeds or any(not isinstance(seed, int) or isinstance(seed, bool) or seed < 0 for seed in seeds):
        raise IntraError(f"seeds are {list(seeds)!r}, expected at least one whole number from 0 up")
    seeds = list(dict.fromkeys(seeds))
    return {
        label: [RunConfig.of_profile(profile, dataset=dataset, seed=seed, **changes) for seed in seeds]
        for label, changes in study.configurations.items()
    }


def distinct_configs(
    names: Sequence[str],
    profile: str = "mini",
    seeds: Seeds = None,
    dataset: str | None = None,
    labels: Sequence[str] = (),
) -> dict[RunConfig, str]:
    """The configs of several studies, each once, with what it is called in the first study that has it.

    Raises:
        IntraError: See `study_configs`; or if none of the studies has a configuration of `labels`.
    """
    studies = {name: study_configs(name, profile, seeds, dataset) for name in names}
    every = {label for study in studies.values() for label in study}
    for label in labels:
        if label not in every:
            raise IntraError(unknown("configuration", label, every))
    distinct: dict[RunConfig, str] = {}
    for name, study in studies.items():
        for label, configs in study.items():
            for config in configs if label in labels or not labels else ():
                distinct.setdefault(config, f"{name} {label} seed {config.seed}")
    return distinct


def by_label(
    records: Sequence[Record], name: str, profile: str = "mini", seeds: Seeds = None, dataset: str | None = None
) -> dict[str, list[Record]]:
    """Those of some records that belong to a study: label to its records over seeds; labels without any are left out.

    Args:
        records: In any order.
        name: Of the study; see `study_configs` for the others.
        profile: Of its parts.
        seeds: Of its runs.
        dataset: Of its runs.
    """
    known = {record.config: record for record in records}
    study = study_configs(name, profile, seeds, dataset)
    found = {label: [known[config] for config in configs if config in known] for label, configs in study.items()}
    return {label: records for label, records in found.items() if records}


def load_study(
    name: str, profile: str = "mini", seeds: Seeds = None, labels: Sequence[str] = ()
) -> dict[str, list[Record]]:
    """Records of a study, label to one record a seed: from the reference, else from earlier fresh runs, else made now.

    Args:
        name: Of the study; see `study_configs` for profile and seeds.
        profile: Of its parts.
        seeds: Of its runs.
        labels: Only these configurations, in this order; all by default.

    Raises:
        IntraError: See `study_configs`; or if the study has no such configuration.
    """
    study = study_configs(name, profile, seeds)
    for label in labels:
        if label not in study:
            raise IntraError(f"study {name!r}: {unknown('configuration', label, study)}")
    return {label: list(map(_load, study[label])) for label in labels or study}


def _load(config: RunConfig) -> Record:
    reference = RECORDS / config.profile / RUNS / run_name(config)
    if reference.exists():
        return read_record(reference)
    from intra.running import run_one  # torch takes seconds to import, and notebooks that only read need none

    return run_one(config, FRESH_RECORDS)


def reference_records(name: str, profile: str = "mini") -> dict[str, list[Record]]:
    """The records of a study in the reference, label to records over seeds; none before the first `make accept`."""
    paths = [RECORDS / profile / RUNS / run_name(config) for config in distinct_configs([name], profile)]
    return by_label([read_record(path) for path in paths if path.exists()], name, profile)


def accept_records(names: Sequence[str], report: Report, profile: str = "mini") -> None:
    """Make the fresh records of some studies the reference, in the place of all that it held.

    Raises:
        IntraError: If a run is missing, or was made by other code or data.
    """
    from intra.running import inputs

    fresh, configs = FRESH_RECORDS / profile, distinct_configs(names, profile)
    for config in configs:
        path = fresh / RUNS / run_name(config)
        if read_record(path).content["inputs"] != inputs(config):
            raise IntraError(f"{path}: was made by other code or data; run `make reproduce` first")
    study, label = WHOLE
    whole = distinct_configs([study], profile, labels=[label])
    with written_whole(RECORDS / profile) as folder:
        for config in configs:
            run = Path(RUNS, run_name(config))
            (folder / run).mkdir(parents=True)
            for name in (RECORD, RELEVANCE, *((RUN, DETAILS) if config in whole else ())):
                if (fresh / run / name).exists():
                    shutil.copy(fresh / run / name, folder / run)
        (folder / "qrels").mkdir()
        for match in MATCHES:
            shutil.copy(fresh / "qrels" / f"{match}.qrels", folder / "qrels")
        shutil.copy(fresh / CHECKS, folder)
        shutil.copytree(fresh / "generated", folder / "generated")
        sources = Components(profile).names().values()
        for store in (folder / "generated").iterdir():
            GenerationStore(store).keep(lambda request: request["source"] in sources)
    report(f"{len(configs)} records accepted")


def run_study(
    names: str | Sequence[str],
    profile: str = "mini",
    seeds: Seeds = None,
    root: Path = FRESH_RECORDS,
    report: Report = lambda line: None,
    dataset: str | None = None,
    workers: int = 1,
    engine: str = "local",
    address: str | None = None,
    labels: Sequence[str] = (),
) -> list[Record]:
    """Make every run of one or several studies that `root` lacks; this process alone writes records.

    Args:
        names: Of the studies.
        profile: Of their parts.
        seeds: One run a configuration and seed.
        root: Folder of records.
        report: Told one line a run, as it is finished.
        dataset: See `study_configs`.
        workers: See `engines.opened`.
        engine: See `engines.opened`.
        address: See `engines.opened`.
        labels: Only these configurations of the studies; all by default.

    Returns:
        One record a config that differs, in the order of the studies.
    """
    from intra.running import config_root, on_record

    names = [names] if isinstance(names, str) else names
    configs = distinct_configs(names, profile, seeds, dataset, labels)
    records: dict[RunConfig, Record] = {}
    for config in configs:
        if record := on_record(config, root):
            records[config] = record
            report(_line(len(records), configs, record, "on record"))
    missing = [config for config in configs if config not in records]
    if missing:
        with opened(engine, workers, address) as opened_engine:
            for config, record in _make(opened_engine, missing, root):
                records[config] = record
                report(_line(len(records), configs, record, f"{sum(record.content['seconds'].values()):.1f} s"))
    first = next(iter(configs))
    if WHOLE[0] in names:
        plain = RunConfig(profile=first.profile, dataset=first.dataset)  # whichever system comes first
        _check_data(plain, config_root(first, root) / CHECKS)
    return [records[config] for config in configs]


def _make(engine: Engine, configs: list[RunConfig], root: Path) -> Iterator[tuple[RunConfig, Record]]:
    """Make runs of one profile and data set, and write each record as its run is finished."""
    from intra.running import PREPARATIONS, config_root, keep_run_files, make_run_files, prepare

    store = config_root(configs[0], root) / "generated"
    needed = {tuple(getattr(config, name) for name in _encoded(config)): config for config in configs}
    for _ in engine.run(prepare, [(kind, list(needed.values())) for kind in PREPARATIONS], store):
        pass
    for config, files in engine.run(make_run_files, configs, store):
        yield config, keep_run_files(config, files, root)


def _encoded(config: RunConfig) -> tuple[str, ...]:
    """The settings that decide what has to be encoded; others only take parts of it."""
    always = ("dataset", "profile", "context_encoding", "tuned_layers", "description_units", "knowledge")
    return always if config.context_encoding == "utterances" else (*always, "window")


def _line(number: int, configs: Mapping[RunConfig, str], record: Record, took: str) -> str:
    selected = record.content["selection"]
    found = f"valid mAP {selected['value']:.4f}" if selected else "nothing to select"
    return f"{number}/{len(configs)} {configs[record.config]}: {found} ({took})"


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
