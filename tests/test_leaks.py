"""No label of the test split reaches a score, except those that a system's card says it is told."""

from dataclasses import replace

import numpy as np
import pytest
from system_rows import ROWS, outcome, row_card, row_config, row_features

from intra.config import RunConfig
from intra.features import Features
from intra.identity import NOTHING, TRUE_INTENTION, card
from intra.models import SYSTEMS
from intra.models.text_retrieval import TextRetrieval
from intra.study import ELSEWHERE

pytest_plugins = ["helpers"]

ORACLES = ["Oracle attributes", "Oracle intention"]
"""Rows that are told the truth about the query."""
HONEST = [label for label in ROWS if label not in ORACLES]
TOLD = [label for label in HONEST if row_card(label).told.startswith(TRUE_INTENTION)]
READER = "Blind reader"
"""A control made of the second reading, which is a label of the conversation but not the right one."""
BLANK = {"second_reading": "", "neighbour": "", "cue": None, "intention": "", "sticker": ""}
LANGUAGE_MODELS = ELSEWHERE["language_models"].configurations


def relabelled(features: Features, *, told: str = NOTHING, kept: tuple[str, ...] = ()) -> Features:
    """The same with other labels of the test split.

    Args:
        features: Of which everything else stays.
        told: What a system is told: `TRUE_INTENTION` leaves the intentions of stickers as they are.
        kept: Fields of conversations that stay.
    """
    test, rng = features.test, np.random.default_rng(8)
    queries, gallery = test.queries, test.gallery
    blank = {name: value for name, value in BLANK.items() if name not in kept}
    changed = replace(
        queries,
        intentions=rng.permutation(queries.intentions),
        stickers=rng.permutation(queries.stickers),
        conversations=tuple(replace(conversation, **blank) for conversation in queries.conversations),
    )
    assert (changed.intentions != queries.intentions).any() and (changed.stickers != queries.stickers).any()
    if told == NOTHING:
        gallery = with_other_intentions(features).test.gallery
    return replace(features, test=replace(test, queries=changed, gallery=gallery, relevant=~test.relevant))


def with_other_intentions(features: Features) -> Features:
    """The same, but the test stickers have each other's intentions."""
    gallery = features.test.gallery
    rows = np.random.default_rng(9).permutation(gallery.intentions)
    assert (rows != gallery.intentions).any()
    return replace(features, test=replace(features.test, gallery=replace(gallery, intentions=rows)))


def test_every_system_is_a_row():
    assert {row_config(label).system for label in ROWS} == set(SYSTEMS)
    assert all(row_card(label).told == NOTHING for label in set(HONEST) - set(TOLD))
    assert all(row_card(label).told != NOTHING for label in ORACLES)
    assert READER in TOLD and len(TOLD) < len(HONEST)


@pytest.mark.parametrize("label", HONEST)
def test_labels_of_test_reach_no_score(label, cache, tmp_path):
    config = row_config(label)
    features = row_features(config, tmp_path / "generated")
    kept = ("second_reading",) if label == READER else ()
    other = relabelled(features, told=row_card(label).told, kept=kept)
    found = outcome(config, features).scores
    assert np.array_equal(outcome(config, other).scores, found)
    constant = label in ("Majority intention", "Intention prior")  # for all queries, by what stickers are told
    assert found.std(axis=0 if not constant else 1).max() > 0, "nothing could have been seen to change"


@pytest.mark.parametrize("label", ORACLES)
def test_oracles_do_read_the_labels_of_queries(label, cache, tmp_path):
    config = row_config(label)
    features = row_features(config, tmp_path / "generated")
    other = relabelled(features, told=TRUE_INTENTION)
    assert not np.array_equal(outcome(config, other).scores, outcome(config, features).scores)


@pytest.mark.parametrize("label", TOLD)
def test_who_is_told_the_intentions_of_stickers_reads_them(label, cache, tmp_path):
    config = row_config(label)
    features = row_features(config, tmp_path / "generated")
    other = with_other_intentions(features)
    assert not np.array_equal(outcome(config, other).scores, outcome(config, features).scores)


def test_the_blind_reader_reads_the_second_reading(tmp_path):
    config = row_config(READER)
    features = row_features(config, tmp_path / "generated")
    assert not outcome(config, relabelled(features, told=TRUE_INTENTION)).scores.any()
    assert outcome(config, features).scores.any()


@pytest.mark.parametrize("label", LANGUAGE_MODELS)
def test_labels_of_test_reach_no_prompt(label, tmp_path):
    config = RunConfig.of_profile("smoke", **LANGUAGE_MODELS[label])
    told = card(label, config).told
    features = row_features(config, tmp_path / "generated")
    system = TextRetrieval(config, features)
    system.fit(features.train, features.valid)
    queries, gallery = features.test.queries, features.test.gallery
    other = relabelled(features, told=told).test
    assert system.prompts(other.queries) == system.prompts(queries)
    assert system.texts(other.gallery) == system.texts(gallery)
    shown = with_other_intentions(features).test.gallery
    assert (system.texts(shown) != system.texts(gallery)) == (told == TRUE_INTENTION)
