"""The reference records that the book is computed from."""

import numpy as np
import pytest

from intra.data.reader import config_dataset, load_dataset
from intra.evaluation import MATCHES, evaluate, make_qrels, read_qrels
from intra.records import DETAILS, RUN, WEIGHTS, code_digest, run_name
from intra.running import inputs
from intra.study import STUDIES, WHOLE, distinct_configs, load_checks, reference_records

LABELLED = {name: reference_records(name) for name in STUDIES}
RECORDS = {r.path.name: r for study in LABELLED.values() for records in study.values() for r in records}
RANKED = {r.path.name: r for r in LABELLED[WHOLE[0]].get(WHOLE[1], [])}
"""Those that hold their ranked lists."""


@pytest.mark.parametrize("name", STUDIES)
def test_the_reference_is_complete(name):
    assert list(LABELLED[name]) == list(STUDIES[name].configurations)
    assert all(tuple(r.seed for r in records) == STUDIES[name].seeds for records in LABELLED[name].values())


def test_the_reference_holds_nothing_else():
    root = next(iter(RECORDS.values())).root
    names = {run_name(config) for config in distinct_configs(list(STUDIES))}
    assert {path.name for path in (root / "runs").iterdir()} == names
    assert {path.name for path in root.iterdir()} == {"runs", "qrels", "generated", "checks.json"}
    assert not list(root.rglob(WEIGHTS))
    assert {path.parent.name for name in (RUN, DETAILS) for path in root.rglob(name)} == RANKED.keys()


@pytest.mark.parametrize("name", RECORDS)
def test_the_reference_was_made_by_this_code_on_this_data(name):
    record = RECORDS[name]
    assert record.content["inputs"] == inputs(record.config), "run `make reproduce` and `make accept`"


@pytest.mark.parametrize("name", RECORDS)
def test_metrics_follow_from_the_relevance(name):
    record = RECORDS[name]
    dataset = config_dataset(record.config)
    test = dataset.split("test")
    assert (record.candidates() == record.content["dataset"]["gallery"]).all()
    for match, metrics in record.metrics.items():
        frame, qrels = record.per_query(match), make_qrels(dataset, "test", match)
        assert frame.mean().to_dict() == pytest.approx(metrics, abs=1e-6)
        assert list(frame.index) == [c.id for c in test.conversations]
        # every right sticker has a rank
        assert record.relevance(match).sum(axis=1).tolist() == [len(qrels[query]) for query in frame.index]


@pytest.mark.parametrize("name", RANKED)
def test_relevance_follows_from_the_ranked_lists(name):
    record, run = RANKED[name], RANKED[name].run()
    for match in MATCHES:
        qrels = make_qrels(load_dataset(), "test", match)
        expected = [[sticker in qrels[query] for sticker in ranking] for query, ranking in run.items()]
        assert np.array_equal(record.relevance(match), expected)
        assert record.per_query(match).equals(evaluate(run, qrels))


def test_committed_qrels_are_those_of_the_data():
    for match in MATCHES:
        stored = read_qrels(next(iter(RECORDS.values())).root / "qrels" / f"{match}.qrels")
        assert stored == make_qrels(load_dataset(), "test", match)


def test_every_test_query_is_ranked_once_over_the_whole_gallery():
    test = load_dataset().split("test")
    for record in RANKED.values():
        run = record.run()
        assert set(run) == {c.id for c in test.conversations}
        assert all(set(ranking) == {s.id for s in test.stickers} for ranking in run.values())


def test_the_checks_of_the_data_were_made_by_this_code_on_this_data():
    expected = inputs(next(iter(RANKED.values())).config) | {"checks": code_digest(("checks.py",))}
    assert load_checks()["inputs"] == expected, "run `make reproduce` and `make accept`"
    assert load_checks()["nearest"]["cosine"] < 0.97, "two conversations of different splits are near repetitions"
