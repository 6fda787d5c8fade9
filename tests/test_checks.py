"""Classifiers and controls that check a data set, and the agreement of two readers."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from intra import checks
from intra.checks import _classifier, _majority, _shuffled, nearest_across_splits, reader_agreement, write_checks
from intra.config import RunConfig
from intra.data import SPLITS, Conversation, Dataset, Sticker, Utterance, load_dataset
from intra.data.statistics import quota_table

LABELS = ("joy", "anger", "fear")


def conversation(name, split="valid", intention="joy", **fields):
    return Conversation(name, split, (Utterance("a", "text"),), "b", "reply", "s1", intention, **fields)


def dataset(*conversations):
    return Dataset("toy", "1", conversations, (), LABELS)


def test_agreement_of_readers_by_hand():
    part = dataset(
        conversation("c1", intention="joy", second_reading="joy"),
        conversation("c2", intention="joy", second_reading="anger", neighbour="anger"),
        conversation("c3", intention="anger", second_reading="anger"),
        conversation("c4", intention="fear", second_reading="joy", neighbour="anger"),
        conversation("c5", intention="fear"),
    )
    found = reader_agreement(part)
    assert found["conversations"] == 4
    assert found["agreement"] == 50
    assert found["agreement_or_neighbour"] == 75
    # agreement by chance: joy 2/4 * 2/4, anger 1/4 * 2/4, fear 1/4 * 0
    assert found["kappa"] == pytest.approx(100 * (0.5 - 0.375) / (1 - 0.375), abs=1e-3)
    # F1: joy 1/2, anger 2/3, fear 0
    assert found["macro_f1"] == pytest.approx(100 * (1 / 2 + 2 / 3 + 0) / 3, abs=1e-3)
    assert found["low"] < 50 < found["high"]


def test_without_a_second_reading_there_is_no_agreement():
    assert reader_agreement(dataset(conversation("c1"))) == {}


def test_a_planted_repetition_across_splits_is_found():
    rng = np.random.default_rng(0)
    data = dataset(*(conversation(f"{split}{n}", split) for split in SPLITS for n in range(5)))
    vectors = {split: rng.normal(size=(5, 16)) for split in SPLITS}
    vectors["test"][3] = vectors["train"][1] + 0.01
    vectors["valid"][0] = vectors["valid"][1]  # inside one split, which is nobody's concern here
    unit = {split: v / np.linalg.norm(v, axis=1, keepdims=True) for split, v in vectors.items()}
    found = nearest_across_splits(data, unit)
    assert found["conversations"] == ["train1", "test3"]
    assert found["cosine"] == pytest.approx(unit["train"][1] @ unit["test"][3], abs=1e-4)


@pytest.fixture(name="planted")
def planted_features():
    """Vectors that tell the label, for 60 conversations a split."""
    rng = np.random.default_rng(1)
    labels = {split: np.array(LABELS)[rng.integers(3, size=60)] for split in SPLITS}
    vectors = {
        split: np.eye(3)[[LABELS.index(label) for label in own]] + 0.1 * rng.normal(size=(60, 3))
        for split, own in labels.items()
    }
    return vectors, labels


def test_a_classifier_finds_a_planted_label_and_the_shuffled_control_does_not(planted):
    vectors, labels = planted
    right = _classifier(vectors, labels)
    shuffled = _shuffled(vectors, labels)
    for split in ("valid", "test"):
        assert (right[split] == labels[split]).mean() > 0.95
        assert (shuffled[split] == labels[split]).mean() < 0.7


def test_the_majority_is_that_of_training():
    labels = {"train": np.array(["joy", "fear", "fear"]), "valid": np.array(["joy"] * 2), "test": np.array(["joy"])}
    assert {split: guess.tolist() for split, guess in _majority(labels).items()} == {
        "valid": ["fear", "fear"],
        "test": ["fear"],
    }


def drawn(name, split, expression, gesture):
    looks = {"expression": expression, "gesture": gesture, "posture": "standing", "prop": "none"}
    return Sticker(name, (split,), Path(f"{name}.webp"), specification=looks)


def test_looks_tell_a_planted_intention_and_one_field_tells_half_of_it():
    """Joy and anger share a face, anger and fear a gesture."""
    looks = {"joy": ("smile", "wave"), "anger": ("smile", "fist"), "fear": ("wide", "fist")}
    stickers = [
        drawn(f"{split}-{label}-{n}", split, *looks[label]) for split in SPLITS for label in LABELS for n in "ab"
    ]
    conversations = tuple(
        dataclasses.replace(conversation(s.id, s.splits[0], s.id.split("-")[1]), sticker=s.id) for s in stickers
    )
    never_sent = drawn("never", "test", "wide", "wave")
    found = checks.sticker_guesses(Dataset("toy", "1", conversations, (*stickers, never_sent), LABELS))
    accuracy = {name: by["test"]["accuracy"] for name, by in found.items()}
    assert list(accuracy) == ["majority", *checks.LOOKS]
    assert [round(value, 2) for value in accuracy.values()] == [33.33, 66.67, 100]
    plain = dataclasses.replace(stickers[0], specification={})
    assert checks.sticker_guesses(Dataset("toy", "1", conversations, (plain, *stickers[1:]), LABELS)) == {}


def test_checks_are_made_once_for_the_same_inputs(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(checks, "run_checks", lambda config: made.append(config) or {"guesses": {}})
    path = tmp_path / "profile" / "checks.json"
    for inputs in ({"code": "1"}, {"code": "1"}, {"code": "2"}):
        write_checks(path, RunConfig(), inputs)
        assert json.loads(path.read_text(encoding="utf-8")) == {"inputs": inputs, "guesses": {}}
    assert len(made) == 2


def test_the_quota_table_agrees_with_a_loop():
    data = load_dataset()
    table = quota_table(data)
    for intention in ("joy", "grief"):
        own = [c for c in data.conversations if c.intention == intention]
        assert table.loc[intention, "train"] == sum(c.split == "train" for c in own)
        assert table.loc[intention, "reply"] == pytest.approx(100 * sum(c.usage == "reply" for c in own) / len(own))
        assert table.loc[intention, "ambiguous"] == pytest.approx(100 * sum(c.neighbour != "" for c in own) / len(own))
        last = sum(c.cue == len(c.utterances) for c in own)
        assert table.loc[intention, "cue last"] == pytest.approx(100 * last / len(own))
    assert table.loc["all", list(SPLITS)].tolist() == [len(data.split(s).conversations) for s in SPLITS]


def test_the_second_reader_read_all_of_valid_and_test():
    data = load_dataset()
    for split in SPLITS:
        read = [c for c in data.split(split).conversations if c.second_reading]
        assert len(read) == (0 if split == "train" else len(data.split(split).conversations))
    blanked = tuple(dataclasses.replace(c, second_reading="") for c in data.conversations)
    assert reader_agreement(dataclasses.replace(data, conversations=blanked)) == {}
