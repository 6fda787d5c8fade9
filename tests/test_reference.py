"""The reference records that the book is computed from."""

import pytest

from intra.data.reader import load_dataset
from intra.evaluation import evaluate, make_qrels, read_qrels
from intra.records import WEIGHTS, code_digest, run_name
from intra.running import inputs
from intra.study import load_checks, reference_records, study_configs

RECORDS = reference_records("main")


def test_the_reference_is_complete():
    assert {r.path.name for r in RECORDS} == {run_name(config) for config in study_configs("main")}


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.path.name)
def test_the_reference_was_made_by_this_code_on_this_data(record):
    assert record.content["inputs"] == inputs(record.config), "run `make reproduce` and `make accept`"


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.path.name)
def test_metrics_follow_from_the_ranked_lists(record):
    for match, metrics in record.metrics.items():
        frame = evaluate(record.run(), make_qrels(load_dataset(), "test", match))
        assert frame.mean().to_dict() == pytest.approx(metrics, abs=1e-6)


def test_committed_qrels_are_those_of_the_data():
    for match in ("intention", "exact"):
        stored = read_qrels(RECORDS[0].root / "qrels" / f"{match}.qrels")
        assert stored == make_qrels(load_dataset(), "test", match)


def test_weights_are_not_committed():
    assert not list(RECORDS[0].root.rglob(WEIGHTS))


def test_every_test_query_is_ranked_once_over_the_whole_gallery():
    test = load_dataset().split("test")
    for record in RECORDS:
        run = record.run()
        assert set(run) == {c.id for c in test.conversations}
        assert all(set(ranking) == {s.id for s in test.stickers} for ranking in run.values())


def test_the_checks_of_the_data_were_made_by_this_code_on_this_data():
    expected = inputs(RECORDS[0].config) | {"checks": code_digest(("checks.py",))}
    assert load_checks()["inputs"] == expected, "run `make reproduce` and `make accept`"
    assert load_checks()["nearest"]["cosine"] < 0.97, "two conversations of different splits are near repetitions"
