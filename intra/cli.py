"""The command line, `intra ...`: reads arguments, calls the package, prints. Errors are one line and a status."""

import argparse
import json
import os
import sys
from pathlib import Path

from intra import __version__
from intra.errors import IntraError

_PROFILE_DATASET = "default: the profile's"


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        0; 1 for a mistake told in one line, or a data set with problems; 130 when interrupted.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: the same sums in the same order on any machine
    options = _parser().parse_args(arguments)
    try:
        return options.command(options) or 0
    except IntraError as error:
        print(f"intra: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        print(f"intra: {str(interrupt) or 'interrupted; start again to go on'}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has seen enough
        sys.stderr.close()
        return 0
    except OSError as error:  # no room, no permission: the message names the file
        print(f"intra: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="intra", description="Int-RA: replying to a conversation with a sticker.")
    parser.add_argument("--version", action="version", version=f"intra {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _data_commands(_command(commands, "data", "look at and check data sets").add_subparsers(required=True))
    _generation_commands(commands)
    _run_commands(commands)
    return parser


def _command(commands, name: str, text: str, run=None, prints_json: bool = False) -> argparse.ArgumentParser:
    """Add one command with its help, and `--json` where it prints results."""
    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    if run is not None:
        parser.set_defaults(command=run)
    if prints_json:
        parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    return parser


def _data_commands(commands) -> None:
    for name, run, text in (
        ("stats", _data_stats, "print Table I and the intention distribution of a data set"),
        ("validate", _data_validate, "list everything wrong with a data set, as file:line: field: message"),
    ):
        parser = _command(commands, name, text, run, prints_json=True)
        parser.add_argument("dataset", nargs="?", default="replystickers", help="packaged name or folder")
        if name == "stats":
            parser.add_argument("--figure", type=Path, help="also draw the distribution of intentions into this file")
    _data_import_command(commands)
    export = _command(commands, "export", "write a data set so that datasets.load_dataset opens it", _data_export)
    export.add_argument("dataset", nargs="?", default="replystickers", help="packaged name or folder")
    export.add_argument("--format", required=True, choices=["parquet", "imagefolder"])
    export.add_argument("--out", type=Path, required=True, help="folder to make")


def _data_import_command(commands) -> None:
    from intra.data.importers.native import GALLERIES, LANGUAGES, OWN_WORDS, ImportOptions
    from intra.data.schema import LABEL_POLICIES

    parser = _command(commands, "import", "write another data set in the native layout", _data_import)
    parser.add_argument("format", choices=["stickerint", "mod", "stickerchat"])
    parser.add_argument("source", type=Path, help="folder of the data set, as its authors give it")
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    for name, choices, text in (
        ("labels", LABEL_POLICIES, "intention of a sticker whose conversations differ"),
        ("gallery", GALLERIES, "stickers that a split is ranked against: its own, or all"),
        ("own_words", OWN_WORDS, "what the sender writes with the sticker: last utterance, or left out"),
        ("language", LANGUAGES, "version of MOD"),
    ):
        default = getattr(ImportOptions, name)
        parser.add_argument(
            f"--{name.replace('_', '-')}", choices=choices, default=default, help=f"{text} (default: %(default)s)"
        )


def _generation_commands(commands) -> None:
    for name, run, text in (
        ("knowledge", _knowledge, "infer commonsense knowledge about every conversation that has none yet"),
        ("attributes", _attributes, "describe every sticker that has no description yet"),
        ("features", _features, "compute the features of every split that are not in the cache yet"),
    ):
        parser = _command(commands, name, f"{text}; can be stopped and started again", run, prints_json=True)
        parser.add_argument("--dataset", default=None, help=f"packaged name or folder ({_PROFILE_DATASET})")
        parser.add_argument("--profile", default="mini", help="names the parts that do it (default: %(default)s)")


def _run_commands(commands) -> None:
    from intra.config import PROFILES, RunConfig
    from intra.engines import ENGINES, processors

    train = _command(commands, "train", "train and evaluate one system, and keep the record", _train, prints_json=True)
    train.add_argument("--system", default="int_ra", help="which system (default: %(default)s)")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"another value for a setting; settings: {', '.join(RunConfig.__dataclass_fields__)}",
    )
    evaluate = _command(
        commands,
        "evaluate",
        "print the metrics of a kept record, or of a TREC run file",
        _evaluate,
        prints_json=True,
    )
    evaluate.add_argument("path", type=Path, help="folder of a record (it is scored anew), or a run file")
    evaluate.add_argument("--dataset", default=None, help=f"of a run file ({_PROFILE_DATASET})")
    evaluate.add_argument("--split", default="test", choices=["valid", "test"])
    study = _command(commands, "study", "make every run of named studies", _study, prints_json=True)
    study.add_argument("names", nargs="+", metavar="NAME", help="such as main, ablations, window; or all")
    study.add_argument("--dataset", default=None, help=f"packaged name or folder ({_PROFILE_DATASET})")
    study.add_argument("--seeds", type=_seeds, default=None, help="such as 0-4 or 0,2,7 (default: each study's own)")
    study.add_argument(
        "--label", action="append", default=[], dest="labels", help="only this configuration, such as Qwen2; repeatable"
    )
    study.add_argument("--engine", choices=ENGINES, default="local", help="where runs are made (default: %(default)s)")
    study.add_argument(
        "--address", default=None, help="HOST:PORT of a Ray cluster with this version of intra on every node"
    )
    for parser, of in ((train, ""), (evaluate, "of a run file: "), (study, "")):
        profiles = ", ".join(PROFILES)
        parser.add_argument("--profile", default="mini", help=f"{of}one of {profiles} (default: %(default)s)")
    for parser in (train, study):
        parser.add_argument("--out", type=Path, default=None, help="folder of records (default: _build/records)")
    reproduce = _command(commands, "reproduce", "run all studies and the notebooks, and render the book", _reproduce)
    reproduce.add_argument("--seeds", type=_seeds, default=None, help="of the runs (default: each study's own)")
    for parser in (study, reproduce):
        parser.add_argument(
            "--workers",
            type=_workers,
            default=processors(),
            help="processes that make runs here (default: %(default)s)",
        )
    reproduce.add_argument(
        "-p",
        action="append",
        default=[],
        dest="parameters",
        metavar="NAME=VALUE",
        help="a notebook parameter",
    )
    reproduce.add_argument("--accept", action="store_true", help="make the fresh run and its notebooks the reference")


def _seeds(text: str) -> list[int]:
    from intra.study import read_seeds

    try:
        return read_seeds(text)
    except IntraError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _workers(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes from 1 up")
    return int(text)


def _assignments(pairs: list[str]) -> dict:
    """NAME=VALUE pairs; a value is read as JSON where it is JSON."""
    values = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise IntraError(f"{pair!r} is not NAME=VALUE")
        try:
            values[name] = json.loads(text)
        except json.JSONDecodeError:
            values[name] = text
    return values


def _data_stats(options) -> None:
    from intra.data.reader import load_dataset
    from intra.data.statistics import intention_distribution, table_one

    dataset = load_dataset(options.dataset)
    table, distribution = table_one(dataset), intention_distribution(dataset)
    if options.figure:
        from intra import figures

        figures.use_style()
        try:
            figures.intention_bars(distribution).figure.savefig(options.figure)
        except ValueError as error:  # a suffix of no known format
            raise IntraError(f"{options.figure}: {error}") from None
    if options.json:
        _print_json({"table_one": table.to_dict(), "intentions": distribution.to_dict()})
        return
    print(f"{dataset.name} {dataset.version}\n")
    print(table.map(lambda value: f"{value:.2f}".removesuffix(".00")).to_string(), end="\n\n")
    print(distribution.to_string())


def _data_import(options) -> None:
    from intra.data.importers import import_dataset
    from intra.data.importers.native import ImportOptions
    from intra.data.importers.report import REPORT

    names = ("labels", "gallery", "own_words", "language")
    choices = ImportOptions(**{name: getattr(options, name) for name in names})
    print(import_dataset(options.format, options.source, options.out, choices))
    print(f"{options.out}: imported; every remark: {options.out / REPORT}; sizes: intra data stats {options.out}")


def _data_export(options) -> None:
    from intra.data.export import export_dataset

    export_dataset(options.dataset, options.out, options.format)
    print(f"{options.out}: written")


def _data_validate(options) -> int:
    from intra.data.reader import validate

    problems = validate(options.dataset)
    if options.json:
        _print_json([vars(problem) for problem in problems])
    else:
        print("\n".join(map(str, problems)) or f"{options.dataset}: sound")
    return 1 if problems else 0


def _config(options):
    from intra.config import RunConfig

    return RunConfig.of_profile(options.profile, dataset=options.dataset)


def _knowledge(options) -> None:
    from intra.data.reader import profile_dataset
    from intra.study import load_knowledge

    config = _config(options)
    conversations = profile_dataset(config.dataset, config.profile).conversations
    found = load_knowledge(config.profile, config.dataset)
    if options.json:
        _print_json([{"id": c.id, **vars(k)} for c, k in zip(conversations, found, strict=True)])
        return
    spoken = sum(bool(knowledge.text) for knowledge in found)
    print(f"{len(found)} conversations, {spoken} with knowledge ({100 * spoken / len(found):.1f} %)")


def _attributes(options) -> None:
    from intra.data.reader import profile_dataset
    from intra.data.schema import ATTRIBUTES
    from intra.study import load_attributes

    config = _config(options)
    stickers = profile_dataset(config.dataset, config.profile).stickers
    found = load_attributes(config.profile, config.dataset)
    if options.json:
        _print_json([{"id": s.id, **vars(a)} for s, a in zip(stickers, found, strict=True)])
        return
    print(f"{len(found)} stickers")
    for name in ATTRIBUTES:
        print(f"{name:18}{sum(bool(getattr(each, name)) for each in found):6} described")


def _contexts(queries):
    """What H^T of queries is made from."""
    return queries.text_features if queries.parts is None else queries.parts


def _features(options) -> None:
    import time

    from intra.data.schema import SPLITS
    from intra.features import build_features
    from intra.study import generated

    start = time.perf_counter()
    config = _config(options)
    features = build_features(config, generated(config.profile))
    seconds = round(time.perf_counter() - start, 2)
    shapes = {
        split: {
            "text_features": _contexts(part.queries).shape,
            "region_features": part.gallery.region_features.shape,
            "description_features": part.gallery.description_features.shape,
        }
        for split, part in ((split, getattr(features, split)) for split in SPLITS)
    }
    if options.json:
        _print_json({"seconds": seconds, "shapes": shapes})
        return
    for split, arrays in shapes.items():
        print(split, *(f"{name} {shape}" for name, shape in arrays.items()), sep="  ")
    print(f"{seconds} s")


def _train(options) -> None:
    from intra.config import RunConfig
    from intra.running import run_one
    from intra.study import FRESH_RECORDS

    changes = {"profile": options.profile, "system": options.system, "seed": options.seed} | _assignments(options.set)
    config = RunConfig.of_profile(changes.pop("profile"), **changes)
    _print_record(run_one(config, options.out or FRESH_RECORDS), options)


def _evaluate(options) -> None:
    from intra.data.reader import config_dataset
    from intra.evaluation import match_metrics, read_run
    from intra.records import read_record
    from intra.running import score_record

    if options.path.is_dir():
        dataset, run = score_record(read_record(options.path.resolve()), options.split)
    else:
        config = _config(options)
        dataset, run = config_dataset(config), read_run(options.path)
    _print_metrics(match_metrics(run, dataset, options.split), options)


def _study(options) -> None:
    from intra.study import FRESH_RECORDS, STUDIES, by_label, run_study

    def report(line: str) -> None:
        print(line, file=sys.stderr)

    names = list(STUDIES) if "all" in options.names else list(dict.fromkeys(options.names))
    chosen = {"profile": options.profile, "seeds": options.seeds, "dataset": options.dataset}
    place = {"workers": options.workers, "engine": options.engine, "address": options.address}
    chosen_runs = chosen | {"labels": options.labels}
    records = run_study(names, root=options.out or FRESH_RECORDS, report=report, **chosen_runs, **place)
    if options.json:
        _print_json([record.content for record in records])
        return
    from intra.tables import results, with_intervals

    for name in names:
        made = by_label(records, name, **chosen)
        for match in ("intention", "exact") if made else ():  # the labels asked for may all be of other studies
            print(f"\n{name}: {match} match, percent [95 % interval]")
            print(with_intervals(results(made, match)).to_string())


def _reproduce(options) -> None:
    from intra import reproduce

    if options.accept and (options.seeds or options.parameters):
        raise IntraError("--accept takes the run as it is: neither --seeds nor -p go with it")
    if options.accept:
        reproduce.accept_run()
    else:
        reproduce.reproduce(options.seeds, _assignments(options.parameters), options.workers)


def _print_record(record, options) -> None:
    if options.json:
        _print_json({"path": str(record.path), **record.content})
        return
    print(record.path)
    if selection := record.content["selection"]:
        print(f"epoch {selection['epoch']}, {selection['metric']} on {selection['split']} {selection['value']:.4f}")
    print("the test split: intra evaluate", record.path)


def _print_metrics(metrics: dict[str, dict[str, float]], options) -> None:
    if options.json:
        _print_json(metrics)
        return
    import pandas as pd

    print(pd.DataFrame(metrics).T.map(lambda value: f"{value:.4f}").to_string())


def _print_json(value) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    sys.exit(main())
