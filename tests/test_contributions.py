"""Leaving a description out: against the system's own scores, and the record against the reference's ranked lists."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import toy_features

from intra.cases import CONTRIBUTIONS, DEEP, read_contributions
from intra.config import RunConfig
from intra.contributions import label_scores, leave_out, of_run
from intra.data import load_dataset
from intra.data.schema import ATTRIBUTES
from intra.errors import IntraError
from intra.models.int_ra import IntRASystem
from intra.study import reference_records

CONFIG = RunConfig.of_profile("smoke", width=16, heads=2)


@pytest.fixture(scope="module")
def features():
    return toy_features(noise=1.0)


@pytest.fixture(scope="module")
def system(features):
    return IntRASystem(CONFIG, features)


def told(gallery, *left_out):
    """The gallery with some columns of what is described set to False, by a plain loop."""
    described = gallery.described.copy()
    for row in described:
        for number, name in enumerate(ATTRIBUTES):
            row[number] = row[number] and name not in left_out
    return replace(gallery, described=described)


def predicted(system, queries):
    return system.details(queries, toy_features(noise=1.0).test.gallery)["intention_probabilities"].argmax(axis=1)


@pytest.mark.parametrize("left_out", [(), ("gesture",), ("verbal",), tuple(ATTRIBUTES)])
def test_every_score_of_the_system_is_one_of_the_scores_of_the_labels(left_out, system, features):
    queries, gallery = features.test.queries, features.test.gallery
    ours = label_scores(system.model, gallery, left_out)
    assert ours.shape == (len(features.label_features), len(gallery.ids))
    theirs = system.score(queries, told(gallery, *left_out))
    labels = predicted(system, queries)
    assert len(set(labels.tolist())) > 1, "or nothing is shown of the query"
    for row, label in zip(theirs, labels, strict=True):
        assert row == pytest.approx(ours[label], abs=1e-6)


def test_each_attribute_is_left_out_and_then_all(system, features):
    gallery = features.test.gallery
    found = leave_out(system.model, gallery)
    assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}
    assert found["scores"] == pytest.approx(label_scores(system.model, gallery))
    assert found["without"].shape == (*found["scores"].shape, len(ATTRIBUTES) + 1)
    for number, left_out in enumerate([*((name,) for name in ATTRIBUTES), tuple(ATTRIBUTES)]):
        without = label_scores(system.model, told(gallery, *left_out))
        assert found["without"][..., number] == pytest.approx(without, abs=1e-6)


def test_what_is_not_described_adds_nothing(system, features):
    gallery = features.test.gallery
    found = leave_out(system.model, gallery)
    added = found["scores"][..., None] - found["without"]
    assert not gallery.described[1].any() and np.all(added[:, 1] == 0)
    for sticker, name in zip(*np.nonzero(~gallery.described), strict=True):
        assert np.all(added[:, sticker, name] == 0)
    assert np.abs(added).max(axis=(0, 1)).min() > 1e-3, "what is described adds something"


def test_queries_that_hold_more_than_a_label_are_refused(features):
    model = IntRASystem(replace(CONFIG, query="mixture"), features).model
    with pytest.raises(IntraError, match="MixtureQuery, expected LabelQuery"):
        label_scores(model, features.test.gallery)


def test_a_run_without_weights_is_told(tmp_path):
    with pytest.raises(IntraError, match="is not there; run `make reproduce` first"):
        of_run(CONFIG, tmp_path)


# The record


@pytest.fixture(scope="module")
def reference():
    return reference_records("main")["Int-RA"]


@pytest.fixture(scope="module")
def found():
    return read_contributions(load_dataset().split("test").stickers)


def test_the_record_is_small_and_of_the_reference_runs(reference, found):
    assert found["runs"].tolist() == [record.path.name for record in reference]
    assert CONTRIBUTIONS.stat().st_size < 1_500_000
    intentions = reference[0].details()["intention_probabilities"].shape[1]
    assert found["scores"].shape == (len(reference), intentions, len(found["stickers"]))
    assert found["without"].shape == (*found["scores"].shape, len(ATTRIBUTES) + 1)
    with np.load(CONTRIBUTIONS) as arrays:
        assert arrays["scores"].dtype == arrays["without"].dtype == np.float32


def test_no_order_that_is_counted_is_decided_by_a_tie(found):
    """The first stickers and the next one, with and without descriptions: equal scores would let rounding choose."""
    for scores in (found["scores"], *np.moveaxis(found["without"], -1, 0)):
        first = -np.sort(-scores, axis=2)[..., : DEEP + 1]
        assert (np.diff(first, axis=2) < 0).all()


def test_its_scores_are_those_of_the_ranked_lists(reference, found):
    """Made from other weights or another gallery, they would differ."""
    column = {sticker: number for number, sticker in enumerate(found["stickers"].tolist())}
    for record, scores in zip(reference, found["scores"], strict=True):
        labels = record.details()["intention_probabilities"].argmax(axis=1)
        for label, ranking in zip(labels, record.run().values(), strict=True):
            assert ranking.keys() == column.keys()
            ours = [scores[label, column[sticker]] for sticker in ranking]
            assert ours == pytest.approx(list(ranking.values()), abs=1e-6)  # the lists keep six digits


def test_the_most_probable_intention_is_never_tied(reference):
    """In float16, of which the details are."""
    for record in reference:
        probabilities = record.details()["intention_probabilities"]
        assert ((probabilities == probabilities.max(axis=1, keepdims=True)).sum(axis=1) == 1).all()


def test_scores_without_descriptions_are_cosines(found):
    assert np.abs(found["without"]).max() <= 1 + 1e-6
