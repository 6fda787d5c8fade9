"""Studies end to end with the smoke profile: records, going on after an interruption, determinism."""

import contextlib
import gzip
import itertools
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import SMOKE_ROWS
from safetensors.numpy import load_file

from intra import running, study
from intra.config import CHOICES, RunConfig
from intra.data.reader import config_dataset, profile_dataset
from intra.data.schema import SPLITS
from intra.errors import IntraError
from intra.evaluation import evaluate, make_qrels, match_metrics, read_qrels
from intra.generation.attributes import ATTRIBUTES
from intra.generation.knowledge import event_utterances
from intra.generation.language_models import LANGUAGE_MODELS
from intra.generation.store import GenerationStore
from intra.metrics import METRICS
from intra.models import SYSTEMS
from intra.paths import REPLYSTICKERS
from intra.records import read_record, run_name
from intra.running import inputs, run_one, score_record
from intra.study import (
    ELSEWHERE,
    STUDIES,
    TUNED,
    WHOLE,
    Study,
    accept_records,
    by_label,
    distinct_configs,
    load_study,
    reference_records,
    run_study,
    study_configs,
)

pytest_plugins = ["helpers"]
CONTROLS = {"random", "majority", "oracle"}
TRAINED = {
    "SRS": "srs",
    "MOD": "mod",
    "LGUR": "lgur",
    "IRRA": "irra",
    "PCME": "pcme",
    "CLIP adapters": "clip",
    "CLIP fine-tuned": "clip",
}
"""Trained systems of Table II, as the rows of the study `main` call them."""


@pytest.fixture
def fresh(smoke, cache, tmp_path):
    """An empty folder of records, which holds the generated text of the smoke study already."""
    root = tmp_path / "records"
    shutil.copytree(smoke[0].root / "generated", root / "smoke" / "generated")
    return root


def runs(root):
    """Names of what lies in the folder of runs, unfinished ones included."""
    folder = root / "smoke" / "runs"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def fits(monkeypatch):
    """The configs that systems are fitted with from now on."""
    fitted = []

    def counting(system):
        class Counting(system):
            __module__ = system.__module__  # by which a record knows the code

            def __init__(self, config, features):
                super().__init__(config, features)
                self.own = config

            def fit(self, train, valid):
                fitted.append(self.own)
                return super().fit(train, valid)

        return Counting

    for name, system in SYSTEMS.items():
        monkeypatch.setitem(SYSTEMS, name, counting(system))
    return fitted


# Which runs


def test_a_study_is_every_configuration_with_every_seed():
    configs = study_configs("main", "smoke", (3, 0, 3))
    trained = [(row, name) for label, name in TRAINED.items() for row in (label, f"{label} + intention")]
    rows = [
        ("Random", "random"),
        ("Majority intention", "majority"),
        ("Intention prior", "prior"),
        ("BM25", "bm25"),
        ("e5 cosine, last utterance", "text_retrieval"),
        ("e5 cosine, context", "text_retrieval"),
        ("e5 cosine, context, intentions told", "text_retrieval"),
        ("Intention classifier", "intention_classifier"),
        ("Intention classifier, intentions told", "told_classifier"),
        ("CLIP zero-shot", "clip_zero_shot"),
        *trained,
        ("Int-RA", "int_ra"),
        ("Int-RA+", "int_ra_plus"),
        ("Blind reader", "blind_reader"),
        ("Oracle attributes", "text_retrieval"),
        ("Oracle intention", "oracle"),
    ]
    assert len(rows) == 29
    found = [(label, [(c.system, c.seed) for c in each]) for label, each in configs.items()]
    assert found == [(label, [(name, 3), (name, 0)]) for label, name in rows]
    every = distinct_configs(["main"], "smoke", (3, 0))
    assert {c.profile for c in every} == {"smoke"}
    assert {c.dataset for c in every} == {"replystickers"}
    paper = distinct_configs(
        ["main"], "paper", dataset="a/folder", labels=[label for label in configs if label not in TUNED]
    )
    assert {(c.dataset, c.batch_size, c.learning_rate) for c in paper} == {("a/folder", 4, 1e-4)}
    assert len({run_name(c) for c in distinct_configs(["main"])}) == len(rows) * 5


def test_rows_with_intentions_in_training_differ_in_nothing_else():
    found = changes("main")
    for label in TRAINED:
        own, more = found[label], found[f"{label} + intention"]
        for each, row in ((own, label), (more, f"{label} + intention")):
            if row in TUNED:
                assert each.pop("learning_rate", RunConfig.learning_rate) == TUNED[row]
                each.pop("encoder_learning_rate", None)
        assert more == own | {"supervision": "intention"} and "supervision" not in own


def test_rows_of_texts_say_what_is_compared():
    found = changes("main")
    texts = {label: changed for label, changed in found.items() if changed.pop("system", "") == "text_retrieval"}
    assert texts == {
        "e5 cosine, last utterance": {"query_text": "last utterance"},
        "e5 cosine, context": {},
        "e5 cosine, context, intentions told": {"gallery_text": "attributes+intention"},
        "Oracle attributes": {"query_text": "attributes"},
    }


def test_layers_that_were_pretrained_are_tuned_a_tenth_as_fast():
    for label, (config,) in study_configs("tuning").items():
        expected = config.learning_rate / (10 if label.startswith("CLIP fine-tuned") else 1)
        assert config.encoder_learning_rate == pytest.approx(expected)


def test_the_gallery_study_is_the_quick_rows_of_the_main_one_against_all_stickers():
    main, found = study_configs("main", seeds=0), study_configs("gallery")
    slow = [row for label in ("SRS", "MOD", "LGUR", "CLIP fine-tuned") for row in (label, f"{label} + intention")]
    assert found == {
        label: [config.with_changes(gallery="all") for config in configs]
        for label, configs in main.items()
        if label not in slow
    }


def test_language_models_are_only_asked_by_name():
    assert not STUDIES.keys() & ELSEWHERE.keys()
    found = study_configs("language_models")
    assert len(found) == 2 * len(LANGUAGE_MODELS) == len(distinct_configs(["language_models"]))
    for name in LANGUAGE_MODELS:
        (plain,), (told,) = found[name], found[f"{name}, intentions told"]
        assert (plain.system, plain.query_text, plain.language_model) == ("text_retrieval", "answer", name)
        assert told == plain.with_changes(gallery_text="attributes+intention") != plain


def test_some_rows_of_studies_can_be_asked_for():
    """In the order of the studies, whatever the order that is asked in."""
    some = distinct_configs(["main", "plus"], "smoke", 0, labels=["Int-RA+", "w/o mixture", "Random"])
    assert list(some.values()) == ["main Random seed 0", "main Int-RA+ seed 0", "plus w/o mixture seed 0"]
    with pytest.raises(IntraError, match=r"^unknown configuration 'Randm' \(did you mean 'Random'\?\); known are "):
        distinct_configs(["main", "plus"], "smoke", 0, labels=["Random", "Randm"])
    with pytest.raises(IntraError, match="unknown configuration 'w/o mixture'"):
        distinct_configs(["main"], "smoke", 0, labels=["w/o mixture"])


@pytest.mark.parametrize("seed", [0, 3])
def test_seeds_may_be_one_number(seed):
    assert study_configs("main", "smoke", seed) == study_configs("main", "smoke", [seed])
    assert [c.seed for c in distinct_configs(["main"], "smoke", seed)] == [seed] * len(STUDIES["main"].configurations)


def test_without_seeds_a_study_has_its_own():
    others = {"plus": 10, "tuning": 1, "gallery": 1, "language_models": 1}
    for name in STUDIES | ELSEWHERE:
        expected = list(range(others.get(name, 5)))
        assert all([c.seed for c in configs] == expected for configs in study_configs(name, "smoke").values())


def changes(name):
    """Label to what differs from the profile's config, of every configuration of a study."""
    base = RunConfig.of_profile("mini").as_dict()
    (configs,) = zip(*study_configs(name, "mini", 0).values(), strict=True)
    return {
        label: {field: value for field, value in config.as_dict().items() if value != base[field]}
        for label, config in zip(STUDIES[name].configurations, configs, strict=True)
    }


def test_ablations_take_away_every_set_of_parts():
    parts = {
        "attribute": {"attributes": ""},
        "intention": {"query": "context", "weight_intention": 0.0},
        "knowledge": {"knowledge": False},
    }
    found = changes("ablations")
    for label, changed in found.items():
        removed = [part for part in parts if part in label]
        assert label == (f"w/o {', '.join(removed)}" if removed else "Int-RA")
        assert changed == {field: value for part in removed for field, value in parts[part].items()}
    assert len(found) == 2**3 == len({json.dumps(changed) for changed in found.values()})


def test_attributes_are_all_subsets():
    found = changes("attributes")
    subsets = {"".join(keys) for keys in itertools.product(*(("", key) for key in "GPFV"))}
    assert {label.removeprefix("none") for label in found} == subsets
    for label, changed in found.items():
        assert changed == ({} if label == "GPFV" else {"attributes": label.removeprefix("none")})


def test_windows_have_two_to_ten_utterances():
    assert changes("window") == {str(n): {"window": n} if n != 6 else {} for n in range(2, 11)}


def test_every_other_reading_of_the_paper_is_one_change():
    """What `CHOICES` allows, all of it: a new reading must not be forgotten here."""
    found = changes("readings")
    assert next(iter(found.items())) == ("Int-RA", {})
    others = [next(iter(changed.items())) for changed in list(found.values())[1:]]
    assert all(len(changed) == 1 for changed in list(found.values())[1:])
    assert list(found)[1:] == [f"{field}: {value}" for field, value in others]
    left_out = {"label_policy", "sticker_evidence"}  # without effect on the packaged data; no reading of the paper
    left_out |= {"supervision", "query_text", "gallery_text"}  # Int-RA does not know them
    unread = {("context_encoding", "words"), ("context_encoding", "masked words")}  # for other systems
    default = RunConfig.of_profile("mini")
    allowed = {(field, v) for field, values in CHOICES.items() for v in values if v != getattr(default, field)}
    assert left_out < set(CHOICES) and unread < allowed
    assert set(others) == {(field, value) for field, value in allowed - unread if field not in left_out}


def test_a_system_has_its_own_settings():
    ours, plus, *_ = study_configs("plus", "mini", 0).values()
    assert plus == [RunConfig.of_profile("mini", system="int_ra_plus")] != [ours[0].with_changes(system="int_ra_plus")]


def test_data_sizes_are_shares_of_the_training_split_for_both_systems():
    shares = {config.train_fraction for config in distinct_configs(["data_size"])}
    assert shares == {0.125, 0.25, 0.5, 1}
    assert list(STUDIES["data_size"].configurations)[:4] == [f"Int-RA, {p} %" for p in ("12.5", "25", "50", "100")]
    assert len(changes("data_size")) == 8


def test_a_config_that_several_studies_have_is_one_run():
    names = ["main", "ablations", "readings", "window", "attributes"]
    distinct = distinct_configs(names, "mini", (0, 1))
    every = [c for name in names for configs in study_configs(name, "mini", (0, 1)).values() for c in configs]
    assert set(distinct) == set(every) and len({run_name(c) for c in every}) == len(distinct) < len(every)
    default = RunConfig.of_profile("mini", seed=1)
    assert every.count(default) == 5  # the window of 6 and all four attributes, too
    assert distinct[default] == "main Int-RA seed 1"
    assert distinct[default.with_changes(attributes="")] == "ablations w/o attribute seed 1"  # and `none` in attributes
    assert distinct[default.with_changes(window=2)] == "window 2 seed 1"


def test_records_are_found_by_label(smoke):
    found = by_label(smoke[::-1], "main", "smoke", (1, 0))
    assert {label: [(r.system, r.seed) for r in records] for label, records in found.items()} == {
        label: [(system, 1), (system, 0)]
        for label, system in {
            "Random": "random",
            "Majority intention": "majority",
            "Int-RA": "int_ra",
            "Oracle intention": "oracle",
        }.items()
    }
    assert list(by_label(smoke, "window", "smoke", (0, 1))) == ["6"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mian",), r"unknown study 'mian' \(did you mean 'main'"),
        (("main", "smok"), r"unknown profile 'smok' \(did you mean 'smoke'"),
        (("main", "smoke", ()), r"seeds are \[\]"),
        (("main", "smoke", (0, -1)), r"seeds are \[0, -1\]"),
        (("main", "smoke", (0, 1.5)), r"seeds are \[0, 1.5\]"),
        (("main", "smoke", (True,)), r"seeds are \[True\]"),
        (("main", "smoke", ("0",)), r"seeds are \['0'\]"),
        (("main", "smoke", -1), r"seeds are \[-1\]"),
        (("main", "smoke", True), r"seeds are \[True\]"),
        (("main", "smoke", 1.5), r"seeds are \[1.5\]"),
        (("main", "smoke", "ab"), r"'ab' is no list of seeds such as 0-4 or 0,2,7"),
    ],
)
def test_what_is_no_study_is_one_line(arguments, message, tmp_path):
    for function in (study_configs, load_study):
        with pytest.raises(IntraError, match=message) as caught:
            function(*arguments)
        assert "\n" not in str(caught.value)


def test_an_unknown_system_is_one_line_and_leaves_nothing(tmp_path):
    with pytest.raises(IntraError, match=r"unknown system 'int_r' \(did you mean 'int_ra'"):
        run_one(RunConfig(profile="smoke", system="int_r"), tmp_path / "records")
    assert not (tmp_path / "records").exists()


# What a record holds


def test_records_are_whole(smoke):
    assert [r.config for r in smoke] == list(distinct_configs(["main"], "smoke", (0, 1), labels=SMOKE_ROWS))
    root = smoke[0].root
    assert runs(root.parent) == sorted(r.path.name for r in smoke)
    for record in smoke:
        files = {path.name for path in record.path.iterdir()}
        trained = set() if record.system in CONTROLS else {"weights.safetensors", "details.npz"}
        assert files == {"record.json", "relevance.npz", "test.run.gz"} | trained
    assert {path.name for path in root.iterdir()} == {"runs", "qrels", "generated", "checks.json"}
    assert {path.name for path in (root / "qrels").iterdir()} == {"intention.qrels", "exact.qrels"}
    assert {path.name for path in (root / "generated").iterdir()} == {"knowledge.jsonl", "attributes.jsonl"}


def test_content_of_the_records(smoke, cache):
    dataset = profile_dataset("replystickers", "smoke")
    for record in smoke:
        content, config = record.content, record.config
        assert config == RunConfig(profile="smoke", system=record.system, seed=record.seed)
        assert content["digest"] == config.digest() and record.path.name == run_name(config)
        assert content["inputs"] == inputs(config)
        assert content["dataset"] == {
            "name": dataset.name,
            "version": dataset.version,
            "queries": 24,
            "gallery": len(dataset.split("test").stickers),
        }
        assert content["environment"].keys() >= {"python", "torch", "numpy"}
        weights = record.path / "weights.safetensors"
        kept = load_file(weights) if weights.exists() else {}
        learned = sum(array.size for name, array in kept.items() if not name.endswith("label_features"))
        assert content["parameters"] == learned and bool(learned) == (record.system not in CONTROLS)
        assert all(seconds >= 0 for seconds in content["seconds"].values())
        assert record.metrics.keys() == {"intention", "exact"}
        assert all(metrics.keys() == METRICS.keys() for metrics in record.metrics.values())


def test_inputs_name_code_data_and_parts(cache):
    found = inputs(RunConfig(profile="smoke"))
    assert found.keys() == {"code", "dataset", "components"}
    names = found["components"]
    assert names.keys() == {"text", "vision", "knowledge", "attributes"}
    assert names["text"].startswith("tiny-bert") and names["vision"].startswith("tiny-vit@")
    assert names["text"] in names["knowledge"] and names["vision"] in names["attributes"]


def test_selection_is_on_validation(smoke):
    for record in smoke:
        selection, history = record.content["selection"], record.content["history"]
        if record.system in CONTROLS:
            assert selection is None and history == []
            continue
        assert (selection["split"], selection["metric"]) == ("valid", "mAP")
        values = [entry["valid_mAP"] for entry in history]
        assert selection["value"] == max(values)
        assert selection["epoch"] == 1 + values.index(max(values))


def by_loops(path, qrels_path):
    """Every metric from the files of a record, with plain Python alone."""
    relevant, ranked = {}, {}
    for line in qrels_path.read_text().splitlines():
        query, _, sticker, _ = line.split()
        relevant.setdefault(query, set()).add(sticker)
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        query, _, sticker, rank, _, _ = line.split()
        ranked.setdefault(query, []).append(sticker)
        assert len(ranked[query]) == int(rank)
    assert relevant.keys() == ranked.keys()
    sums = dict.fromkeys(METRICS, 0.0)
    for query, ranking in ranked.items():
        right = [sticker in relevant[query] for sticker in ranking]
        assert sum(right) == len(relevant[query])  # the whole gallery is ranked
        for n in (1, 3, 5):
            sums[f"hit@{n}"] += any(right[:n])
        for n in (3, 5):
            sums[f"precision@{n}"] += sum(right[:n]) / n
        ranks = [rank for rank, r in enumerate(right, 1) if r]
        sums["mAP"] += sum(place / rank for place, rank in enumerate(ranks, 1)) / len(ranks)
        sums["MRR"] += 1 / ranks[0]
        gain = sum(1 / math.log2(rank + 1) for rank in ranks if rank <= 10)
        sums["nDCG@10"] += gain / sum(1 / math.log2(rank + 1) for rank in range(1, min(10, len(ranks)) + 1))
    return {name: total / len(ranked) for name, total in sums.items()}


def test_metrics_follow_from_the_ranked_lists(smoke):
    for record in smoke:
        for match, metrics in record.metrics.items():
            expected = by_loops(record.path / "test.run.gz", record.root / "qrels" / f"{match}.qrels")
            assert metrics == pytest.approx(expected, abs=1e-6), (record.path.name, match)


def test_relevance_holds_all_that_the_ranked_lists_and_the_qrels_say(smoke):
    for record in smoke:
        assert record.candidates().tolist() == [len(ranking) for ranking in record.run().values()]
        for match in ("intention", "exact"):
            qrels = read_qrels(record.root / "qrels" / f"{match}.qrels")
            expected = [[sticker in qrels[query] for sticker in ranking] for query, ranking in record.run().items()]
            assert record.relevance(match).tolist() == expected
            assert record.per_query(match).equals(evaluate(record.run(), qrels))


def test_qrels_are_those_of_the_data(smoke):
    test = profile_dataset("replystickers", "smoke").split("test")
    labels = {}
    for sticker in test.stickers:
        meant = [c.intention for c in test.conversations if c.sticker == sticker.id]
        labels[sticker.id] = min(set(meant), key=lambda i: (-meant.count(i), test.intentions.index(i)))
    for match in ("intention", "exact"):
        expected = []
        for c in test.conversations:
            right = {c.sticker}
            if match == "intention":
                right |= {sticker for sticker, label in labels.items() if label == c.intention}
            expected += [f"{c.id} 0 {sticker} 1" for sticker in sorted(right)]
        assert (smoke[0].root / "qrels" / f"{match}.qrels").read_text().splitlines() == expected


def test_the_systems_stand_where_they_must(smoke):
    value = {(r.system, r.seed): r.metrics["intention"]["mAP"] for r in smoke}
    assert value["oracle", 0] == value["oracle", 1] == max(value.values())
    assert value["majority", 0] == value["majority", 1]
    assert value["random", 0] != value["random", 1]


def test_details_are_those_of_the_test_split(smoke):
    for record in smoke:
        details = record.details()
        if record.system in CONTROLS:
            assert details == {}
            continue
        gallery = record.content["dataset"]["gallery"]
        shapes = {name: array.shape for name, array in details.items()}
        assert shapes == {
            "intention_probabilities": (24, 28),
            "attention": (gallery, 4, 16),
            "relation_scores": (gallery, 16),
        }
        assert all(array.dtype == np.float16 and np.isfinite(array).all() for array in details.values())


# Going on


def test_what_is_on_record_is_not_made_again(smoke, cache, fits):
    times = {path: path.stat().st_mtime_ns for path in smoke[0].root.rglob("runs/*/*")}
    lines = []
    again = run_study("main", "smoke", (0, 1), smoke[0].root.parent, lines.append, labels=SMOKE_ROWS)
    assert fits == []
    assert [r.content for r in again] == [r.content for r in smoke]
    assert {path: path.stat().st_mtime_ns for path in smoke[0].root.rglob("runs/*/*")} == times
    names = distinct_configs(["main"], "smoke", (0, 1), labels=SMOKE_ROWS)
    assert [line.split(":")[0] for line in lines] == [f"{n}/8 {names[r.config]}" for n, r in enumerate(smoke, 1)]
    for line, record in zip(lines, smoke, strict=True):
        found = "nothing to select"
        if record.system not in CONTROLS:
            found = f"valid mAP {max(entry['valid_mAP'] for entry in record.content['history']):.4f}"
        assert line.endswith(f": {found} (on record)")  # and no word of the test split


def test_a_line_tells_every_run_when_it_is_made(fresh):
    lines = []
    rows = [*STUDIES["window"].configurations, *SMOKE_ROWS]
    records = run_study(["window", "main"], "smoke", 0, fresh, lines.append, labels=rows)
    assert len(lines) == len(records) == 9 + 3
    for line in lines:
        assert re.fullmatch(r"\d+/12 \w+ [\w -]+ seed 0: (valid mAP 0\.\d{4}|nothing to select) \(\d+\.\d s\)", line)
    assert [line.split("/")[0] for line in lines] == [str(n) for n in range(1, 13)]
    assert any(" window 6 seed 0: " in line for line in lines)  # the default configuration, under its first name
    again = []
    more = run_study(["main", "window"], "smoke", 0, fresh, again.append, labels=rows)
    assert {r.path for r in more} == {r.path for r in records}
    assert all(line.endswith("(on record)") for line in again)


@pytest.mark.parametrize("moment", ["fit", "write"])
def test_an_interrupted_study_goes_on_from_the_run_it_was_in(moment, fresh, fits, monkeypatch):
    """Ctrl-C in the third of four runs, while it is fitted or while its record is written."""
    names = [run_name(c) for c in distinct_configs(["main"], "smoke", 0, labels=SMOKE_ROWS)]
    written_whole, written = running.written_whole, []

    def interrupted(*arguments):
        raise KeyboardInterrupt

    @contextlib.contextmanager
    def interrupted_third(path):
        with written_whole(path) as folder:
            written.append(path)
            if len(written) == 3:
                (folder / "half").write_text("ha")
                raise KeyboardInterrupt
            yield folder

    with monkeypatch.context() as patch:
        if moment == "fit":
            patch.setattr(SYSTEMS["int_ra"], "fit", interrupted)
        else:
            patch.setattr(running, "written_whole", interrupted_third)
        with pytest.raises(KeyboardInterrupt):
            run_study("main", "smoke", 0, fresh, labels=SMOKE_ROWS)
    assert runs(fresh) == sorted(names[:2])  # no third one, not even an unfinished folder
    for name in names[:2]:
        read_record(fresh / "smoke" / "runs" / name)
    fits.clear()
    records = run_study("main", "smoke", 0, fresh, labels=SMOKE_ROWS)
    assert [c.system for c in fits] == ["int_ra", "oracle"]
    assert runs(fresh) == sorted(names) == sorted(r.path.name for r in records)


@pytest.mark.parametrize("file", ["manifest.json", "conversations.jsonl", "stickers.jsonl"])
def test_any_change_of_the_data_is_another_input(file, cache, tmp_path):
    """Also where the checksums of the manifest were not brought up to date."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("manifest.json", "conversations.jsonl", "stickers.jsonl"):
        shutil.copy(REPLYSTICKERS / name, folder)
    config = RunConfig(profile="smoke", dataset=str(folder))
    before = inputs(config)
    assert before["dataset"] == inputs(RunConfig(profile="smoke"))["dataset"]
    (folder / file).write_bytes((folder / file).read_bytes() + b"\n")
    after = inputs(config)
    assert after["dataset"] != before["dataset"]
    assert after | {"dataset": ""} == before | {"dataset": ""}


@pytest.mark.parametrize("part", ["code", "dataset", "components"])
def test_a_record_made_from_something_else_is_made_again(part, fresh, fits):
    config = RunConfig(profile="smoke", system="majority")
    record = run_one(config, fresh)
    path = record.path / "record.json"
    older = json.loads(path.read_text())
    older["inputs"][part] = "older"
    path.write_text(json.dumps(older))
    fits.clear()
    assert run_one(config, fresh).content["inputs"] == record.content["inputs"]
    assert fits == [config]
    assert read_record(record.path).content["inputs"] == record.content["inputs"]
    run_one(config, fresh)
    assert fits == [config]


def test_another_data_set_leaves_the_study_alone(fresh, tmp_path):
    """Qrels belong to one data set: a run on another one must not replace those of the study beside it."""
    record = run_one(RunConfig(profile="smoke", system="random"), fresh)
    before = {path.name: path.read_bytes() for path in (record.root / "qrels").iterdir()}
    shutil.copytree(REPLYSTICKERS, tmp_path / "data")
    path = tmp_path / "data" / "conversations.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    swapped = [line | {"intention": "anger" if line["intention"] == "joy" else "joy"} for line in lines]
    path.write_text("".join(json.dumps(line) + "\n" for line in swapped))
    other = run_one(RunConfig(profile="smoke", system="random", dataset=str(tmp_path / "data")), fresh)
    assert {path.name: path.read_bytes() for path in (record.root / "qrels").iterdir()} == before
    assert (other.root / "qrels" / "intention.qrels").read_bytes() != before["intention.qrels"]
    assert other.metrics["intention"] == pytest.approx(
        by_loops(other.path / "test.run.gz", other.root / "qrels" / "intention.qrels"), abs=1e-6
    )


def test_another_gallery_has_qrels_of_its_own(fresh):
    """What is right for a query depends on the gallery: neither run may take the qrels of the other."""
    config = RunConfig(profile="smoke", system="random")
    records = {gallery: run_one(config.with_changes(gallery=gallery), fresh) for gallery in ("split", "all", "split")}
    files = {"split": "{}.qrels", "all": "{}-gallery-all.qrels"}
    root = records["all"].root
    assert {path.name for path in (root / "qrels").iterdir()} == {
        name.format(match) for name in files.values() for match in ("intention", "exact")
    }
    for gallery, record in records.items():
        dataset = config_dataset(config.with_changes(gallery=gallery))
        assert set(record.candidates()) == {len(dataset.split("test").stickers)}
        for match, metrics in record.metrics.items():
            path = root / "qrels" / files[gallery].format(match)
            assert read_qrels(path) == make_qrels(dataset, "test", match)
            assert metrics == pytest.approx(by_loops(record.path / "test.run.gz", path), abs=1e-6)
            assert metrics == pytest.approx(record.per_query(match).mean().to_dict(), abs=1e-6)
    assert records["all"].candidates()[0] > records["split"].candidates()[0]


def test_a_run_of_other_code_is_not_kept(fresh, monkeypatch):
    """A worker or a node may have imported another version of the package than the process that writes."""
    config = RunConfig(profile="smoke", system="majority")
    files = running.make_run_files(config, fresh / "smoke" / "generated")
    monkeypatch.setattr(running, "code_digest", lambda *_: "another")
    with pytest.raises(IntraError, match=r"majority-seed0-\w+: made by other code or data: start again"):
        running.keep_run_files(config, files, fresh)
    assert runs(fresh) == []


def test_a_broken_record_is_told_and_kept(fresh):
    config = RunConfig(profile="smoke", system="majority")
    path = run_one(config, fresh).path / "record.json"
    path.write_text("{")
    with pytest.raises(IntraError, match=r"record\.json: is no valid JSON"):
        run_one(config, fresh)
    assert path.read_text() == "{"


# The reference


@pytest.fixture
def places(fresh, tmp_path, monkeypatch):
    """Folders of reference and fresh records that are this test's own."""
    monkeypatch.setattr(study, "RECORDS", tmp_path / "reference")
    monkeypatch.setattr(study, "FRESH_RECORDS", fresh)
    return tmp_path / "reference", fresh


def content(folder):
    """Every file of a folder."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_reference_comes_first(smoke, places, fits):
    reference, fresh = places
    kept = reference / "smoke" / "runs" / smoke[0].path.name
    shutil.copytree(smoke[0].path, kept)
    (kept / "record.json").write_text(json.dumps(smoke[0].content | {"inputs": "those of last year"}))
    shutil.copytree(smoke[1].path, fresh / "smoke" / "runs" / smoke[1].path.name)
    shutil.copytree(smoke[2].path, reference / "smoke" / "runs" / "int_ra-seed0-of-another-config")
    before = content(reference)
    study_ = load_study("main", "smoke", (0, 1), SMOKE_ROWS)
    records = [record for own in study_.values() for record in own]
    assert content(reference) == before
    assert records[0].path == kept and records[0].content["inputs"] == "those of last year"
    assert {r.path.parents[2] for r in records[1:]} == {fresh}
    assert [(c.system, c.seed) for c in fits] == [(r.system, r.seed) for r in smoke[2:]]  # neither of the first two
    assert [r.path.name for r in records] == [r.path.name for r in smoke]
    assert list(study_) == list(SMOKE_ROWS)
    assert all([r.seed for r in own] == [0, 1] for own in study_.values())
    assert {label: [r.path for r in own] for label, own in reference_records("main", "smoke").items()} == {
        "Random": [kept]
    }


SHORT = Study({row: STUDIES["main"].configurations[row] for row in SMOKE_ROWS}, seeds=(0, 1))
"""The study `main` as the fixture `smoke` makes it."""


@pytest.fixture
def two_studies(monkeypatch):
    """The only studies: `main` and a small one that shares a configuration with it."""
    small = Study({"Int-RA": {}, "chance, everywhere": {"system": "random", "gallery": "all"}}, seeds=(0, 1))
    monkeypatch.setattr(study, "STUDIES", {"main": SHORT, "small": small})
    return ["main", "small"]


def test_accepting_makes_the_reference(smoke, places, two_studies):
    reference, fresh = places
    assert reference_records("main", "smoke") == {}
    with pytest.raises(IntraError, match=r"holds no record\.json"):
        accept_records(two_studies, print, "smoke")
    assert not reference.exists()
    shutil.copytree(smoke[0].root, fresh / "smoke", dirs_exist_ok=True)
    with pytest.raises(IntraError, match=r"random-seed0-\w+: holds no record\.json"):  # that of the other study
        accept_records(two_studies, print, "smoke")
    made = {r.path.name: r for r in run_study(two_studies, "smoke", root=fresh)}
    assert len(made) == 8 + 2
    shutil.copytree(smoke[0].path, fresh / "smoke" / "runs" / "random-seed9-of-another-day")
    (reference / "smoke" / "runs" / "an-older-run").mkdir(parents=True)
    (reference / "smoke" / "main").mkdir()
    stores = [fresh / "smoke" / "generated" / f"{name}.jsonl" for name in ("knowledge", "attributes")]
    texts = [path.read_bytes() for path in stores]
    for path in stores:  # what another source has once said
        GenerationStore(path).fetch([{"task": "t", "source": "older"}], lambda missing: [{"text": "old"}])
    lines = []
    accept_records(two_studies, lines.append, "smoke")
    assert lines == ["10 records accepted"]
    accepted = [r for name in two_studies for own in reference_records(name, "smoke").values() for r in own]
    assert {r.path.name for r in accepted} == made.keys() == set(runs(reference))
    assert WHOLE == ("main", "Int-RA")
    whole = {r.path.name for r in smoke if r.system == "int_ra"}
    assert len(whole) == 2
    for record in accepted:
        ours = made[record.path.name]
        kept = {path.name: path.read_bytes() for path in record.path.iterdir()}
        assert kept.keys() == {"record.json", "relevance.npz"} | (
            {path.name for path in ours.path.iterdir()} - {"weights.safetensors"}
            if record.path.name in whole
            else set()
        )
        assert all((ours.path / name).read_bytes() == data for name, data in kept.items())
    assert {path.name for path in (reference / "smoke").iterdir()} == {"runs", "qrels", "generated", "checks.json"}
    assert {path.name for path in (reference / "smoke" / "qrels").iterdir()} == {"intention.qrels", "exact.qrels"}
    assert [(reference / "smoke" / "generated" / path.name).read_bytes() for path in stores] == texts
    assert all(b'"older"' in path.read_bytes() for path in stores)
    assert list(fresh.rglob("weights.safetensors"))


def test_records_of_other_inputs_are_not_accepted(smoke, places, monkeypatch):
    reference, fresh = places
    monkeypatch.setattr(study, "STUDIES", {"main": SHORT})
    shutil.copytree(smoke[0].root, fresh / "smoke", dirs_exist_ok=True)
    path = fresh / "smoke" / "runs" / smoke[5].path.name / "record.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"inputs": content["inputs"] | {"code": "older"}}))
    with pytest.raises(IntraError, match=smoke[5].path.name):
        accept_records(["main"], print, "smoke")
    assert not reference.exists()


# Determinism


def same_run(one, other):
    """Whether two records are the same bytes, but for the seconds that they took."""
    first, second = dict(one.content), dict(other.content)
    first.pop("seconds"), second.pop("seconds")
    files = {path.name for path in one.path.iterdir()}
    return (
        first == second
        and files == {path.name for path in other.path.iterdir()}
        and all((one.path / f).read_bytes() == (other.path / f).read_bytes() for f in files - {"record.json"})
    )


def test_another_process_makes_the_same_records(smoke, elsewhere):
    """Two fresh folders, other processes, two caches: records that differ in seconds alone."""
    here = [record for record in smoke if record.seed == 0]
    assert runs(elsewhere / "records") == sorted(r.path.name for r in here)
    others = [read_record(elsewhere / "records" / "smoke" / "runs" / record.path.name) for record in here]
    assert all(map(same_run, here, others))
    for path in [*here[0].root.glob("qrels/*"), *here[0].root.glob("generated/*")]:
        assert path.read_bytes() == (others[0].root / path.parent.name / path.name).read_bytes()


@pytest.mark.parametrize("file", ["record.json", "test.run.gz", "weights.safetensors", "details.npz"])
def test_the_comparison_of_records_sees_a_difference(smoke, tmp_path, file):
    record = next(r for r in smoke if r.system == "int_ra")
    shutil.copytree(record.path, tmp_path / "copy")
    assert same_run(record, read_record(tmp_path / "copy"))
    data = (tmp_path / "copy" / file).read_bytes()
    other = data.replace(b'"epoch": 1,', b'"epoch": 9,') if file == "record.json" else data + b" "
    (tmp_path / "copy" / file).write_bytes(other)
    assert not same_run(record, read_record(tmp_path / "copy"))


def test_two_processes_make_the_same_records_as_one(smoke, cache, tmp_path):
    lines = []
    records = run_study("main", "smoke", (0, 1), tmp_path / "records", lines.append, workers=2, labels=SMOKE_ROWS)
    assert [r.path.name for r in records] == [r.path.name for r in smoke]  # in order, whichever was finished first
    assert all(map(same_run, smoke, records))
    assert sorted(line.split(":")[0].split(" ", 1)[1] for line in lines) == sorted(
        distinct_configs(["main"], "smoke", (0, 1), labels=SMOKE_ROWS).values()
    )
    assert [line.split("/")[0] for line in lines] == [str(n) for n in range(1, 9)]
    for path in [*smoke[0].root.glob("qrels/*"), smoke[0].root / "checks.json"]:
        assert path.read_bytes() == (records[0].root / path.relative_to(smoke[0].root)).read_bytes()
    for path in smoke[0].root.glob("generated/*"):
        assert path.read_bytes() == (records[0].root / "generated" / path.name).read_bytes()


# Scoring records anew


def test_a_record_scored_anew_is_the_record(smoke, cache):
    for record in smoke:
        dataset, run = score_record(record, "test")
        assert match_metrics(run, dataset, "test") == record.metrics
        assert [list(ranking) for ranking in run.values()] == [list(ranking) for ranking in record.run().values()]


def test_scoring_the_validation_split_gives_what_was_selected_by(smoke, cache):
    record = next(r for r in smoke if r.system == "int_ra")
    dataset, run = score_record(record, "valid")
    assert run.keys() == make_qrels(dataset, "valid", "exact").keys()
    found = match_metrics(run, dataset, "valid")["intention"]["mAP"]
    assert found == pytest.approx(record.content["selection"]["value"], abs=1e-6)


def test_a_record_without_its_weights_is_one_line(fresh, smoke):
    record = next(r for r in smoke if r.system == "int_ra")
    path = fresh / "smoke" / "runs" / record.path.name
    shutil.copytree(record.path, path, ignore=shutil.ignore_patterns("weights*"))
    with pytest.raises(IntraError, match=r"holds no weights to rank with; its metrics are in .*record\.json"):
        score_record(read_record(path), "test")


# Generated text


def test_generated_text_of_the_whole_data_set(places):
    dataset = profile_dataset("replystickers", "smoke")
    knowledge, attributes = study.load_knowledge("smoke"), study.load_attributes("smoke")
    assert len(knowledge) == len(dataset.conversations) == 24 * len(SPLITS)
    assert len(attributes) == len(dataset.stickers)
    assert any(k.text for k in knowledge)
    assert all(getattr(a, name) == () for a in attributes for name in ATTRIBUTES if name == "verbal")  # no reader
    assert all(a.gesture and a.posture and a.facial_expression for a in attributes)


def test_generated_text_comes_from_a_copy_of_the_reference(smoke, cache, tmp_path, monkeypatch):
    """What it lacks is added to the copy; the reference stays as it is, an unfinished last line included."""
    reference, fresh = tmp_path / "reference", tmp_path / "records"
    monkeypatch.setattr(study, "RECORDS", reference)
    monkeypatch.setattr(study, "FRESH_RECORDS", fresh)
    store = reference / "smoke" / "generated"
    shutil.copytree(smoke[0].root / "generated", store)
    first, second, *others = (store / "knowledge.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    entry = json.loads(first)
    entry["result"]["event"] = "marked"  # to be told from what would be generated anew
    marked = json.dumps(entry, ensure_ascii=False) + "\n"
    (store / "knowledge.jsonl").write_text(marked + second + others[0][:40], encoding="utf-8")
    (store / "attributes.jsonl").unlink()
    before = content(reference)
    knowledge, attributes = study.load_knowledge("smoke"), study.load_attributes("smoke")
    assert content(reference) == before
    assert content(fresh).keys() == {Path(f"smoke/generated/{name}.jsonl") for name in ("knowledge", "attributes")}
    requested = [entry["request"]["utterances"] == event_utterances(c) for c in dataset_of_smoke().conversations]
    assert any(requested)
    assert [k.event == "marked" for k in knowledge] == requested
    kept = (fresh / "smoke" / "generated" / "knowledge.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    assert kept[:2] == [marked, second] and len(kept) == 2 + len(others)
    assert len(attributes) == len(dataset_of_smoke().stickers)


def test_generated_text_of_fresh_runs_is_not_replaced_by_the_reference(places):
    reference, fresh = places
    before = content(fresh)
    (reference / "smoke" / "generated").mkdir(parents=True)
    (reference / "smoke" / "generated" / "knowledge.jsonl").write_text("{}\n")  # would be told as broken
    study.load_knowledge("smoke"), study.load_attributes("smoke")
    assert content(fresh) == before


@pytest.mark.parametrize("load", [study.load_knowledge, study.load_attributes])
def test_generated_text_of_an_unknown_profile_is_one_line(load, places):
    with pytest.raises(IntraError, match=r"unknown profile 'smok' \(did you mean 'smoke'\?\)"):
        load("smok")


def dataset_of_smoke():
    return profile_dataset("replystickers", "smoke")


def test_some_configurations_of_a_study_can_be_loaded_alone(monkeypatch):
    asked = []
    monkeypatch.setattr("intra.study._load", lambda config: asked.append(config) or config)
    study = load_study("plus", "mini", (3, 4), ["Int-RA+", "Int-RA"])
    assert list(study) == ["Int-RA+", "Int-RA"]
    assert [(c.system, c.seed) for c in asked] == [
        ("int_ra_plus", 3),
        ("int_ra_plus", 4),
        ("int_ra", 3),
        ("int_ra", 4),
    ]
    with pytest.raises(IntraError, match=r"study 'plus': unknown configuration 'Int-RA\+\+' \(did you mean 'Int-RA\+'"):
        load_study("plus", "mini", 0, ["Int-RA++"])
