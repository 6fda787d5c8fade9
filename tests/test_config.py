"""A config decides a run: its digest, and one line for each value that cannot be."""

import dataclasses
import hashlib
import json
import math

import pytest

from intra import components
from intra.config import CHOICES, PROFILES, RunConfig, unknown
from intra.errors import IntraError
from intra.paper import settings


def another(field):
    """A value that is not the field's default."""
    if field.name in ("profile", "attributes"):
        return {"profile": "smoke", "attributes": "GF"}[field.name]
    if field.name in CHOICES:
        return CHOICES[field.name][1]
    if field.type is bool:
        return not field.default
    if field.type is str:
        return f"{field.default}-2"
    return field.default / 2 if field.type is float else 2 * field.default or 1


NO_DATASET = "the profile 'paper' has no data set of its own: give a packaged name or a folder"
OTHER = {field.name: another(field) for field in dataclasses.fields(RunConfig)}


def test_the_digest_is_the_hash_of_the_sorted_fields():
    text = json.dumps(dict(sorted(vars(RunConfig(seed=3)).items())))
    assert RunConfig(seed=3).digest() == hashlib.sha256(text.encode()).hexdigest()[:12]


def test_every_field_changes_the_digest():
    digests = {RunConfig().with_changes(**{name: value}).digest() for name, value in OTHER.items()}
    assert len(digests | {RunConfig().digest()}) == len(OTHER) + 1


def test_neither_order_nor_notation_changes_the_digest():
    backwards = dict(reversed(OTHER.items()))
    assert RunConfig(**backwards).digest() == RunConfig(**OTHER).digest()
    assert RunConfig(weight_retrieval=1).digest() == RunConfig(weight_retrieval=1.0).digest()
    assert RunConfig(**json.loads(json.dumps(RunConfig(**OTHER).as_dict()))) == RunConfig(**OTHER)


def test_changes_leave_the_original_alone():
    base = RunConfig()
    changed = base.with_changes(window=2, seed=7)
    assert (base.window, base.seed, changed.window, changed.seed) == (6, 0, 2, 7)
    assert {k: v for k, v in changed.as_dict().items() if k not in ("window", "seed")} == {
        k: v for k, v in base.as_dict().items() if k not in ("window", "seed")
    }
    with pytest.raises(dataclasses.FrozenInstanceError):
        base.seed = 1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"profile": "mimi"},
            f"unknown profile 'mimi' (did you mean 'mini'?); known are {', '.join(sorted(PROFILES))}",
        ),
        ({"profile": ""}, "profile is '', expected a name"),
        ({"dataset": 3}, "dataset is 3, expected a name"),
        ({"window": 0}, "window is 0, expected a whole number of at least 1"),
        ({"window": 2.0}, "window is 2.0, expected a whole number of at least 1"),
        ({"window": True}, "window is True, expected a whole number of at least 1"),
        ({"epochs": "9"}, "epochs is '9', expected a whole number of at least 1"),
        ({"batch_size": None}, "batch_size is None, expected a whole number of at least 1"),
        ({"seed": -1}, "seed is -1, expected a whole number of at least 0"),
        ({"seed": "a"}, "seed is 'a', expected a whole number of at least 0"),
        ({"margin": "wide"}, "margin is 'wide', expected a number of at least 0"),
        ({"margin": -0.1}, "margin is -0.1, expected a number of at least 0"),
        ({"learning_rate": math.nan}, "learning_rate is nan, expected a number of at least 0"),
        ({"learning_rate": math.inf}, "learning_rate is inf, expected a number of at least 0"),
        ({"weight_intention": False}, "weight_intention is False, expected a number of at least 0"),
        ({"knowledge": 1}, "knowledge is 1, expected true or false"),
        ({"attributes": "PG"}, "attributes is 'PG', expected some letters of GPFV in order"),
        ({"attributes": "GX"}, "attributes is 'GX', expected some letters of GPFV in order"),
        ({"train_fraction": 0}, "train_fraction is 0.0, expected a share above 0 and at most 1"),
        ({"train_fraction": 1.5}, "train_fraction is 1.5, expected a share above 0 and at most 1"),
        (
            {"query": "lable"},
            f"query: unknown value 'lable' (did you mean 'label'?); known are {', '.join(sorted(CHOICES['query']))}",
        ),
        ({"width": 10, "heads": 4}, "width 10 is no multiple of heads 4"),
        ({"hads": 2}, f"unknown setting 'hads' (did you mean 'heads'?); known are {', '.join(sorted(OTHER))}"),
    ],
)
def test_a_value_that_cannot_be_is_told_in_one_line(changes, told):
    with pytest.raises(IntraError) as error:
        RunConfig().with_changes(**changes)
    assert str(error.value) == told


def test_a_name_far_from_all_gets_no_hint():
    assert unknown("study", "xyz", ["main", "window"]) == "unknown study 'xyz'; known are main, window"


@pytest.mark.parametrize("name", PROFILES)
def test_every_part_of_a_profile_is_registered(name):
    profile = PROFILES[name]
    assert profile.text in components.TEXT_ENCODERS
    assert profile.vision in components.VISION_ENCODERS
    assert profile.knowledge in components.KNOWLEDGE_SOURCES
    assert profile.attributes in components.ATTRIBUTE_SOURCES
    assert profile.settings.keys() <= OTHER.keys() - {"profile", "dataset"}


def test_the_profile_of_the_paper_takes_what_the_paper_prints():
    printed = {"weight_retrieval": 1, "weight_intention": 1, "learning_rate": 1e-4, "batch_size": 4}
    config = RunConfig.of_profile("paper", dataset="some/folder")
    fine_tuned = {"tuned_layers": 12, "encoder_learning_rate": 1e-4}  # all layers of M-BERT, with the one rate printed
    assert config == RunConfig(profile="paper", dataset="some/folder").with_changes(**printed, **fine_tuned)
    assert config != RunConfig(profile="paper", dataset="some/folder")
    parts = ("text", "vision", "knowledge", "attributes")
    assert [getattr(PROFILES["paper"], part) for part in parts] == ["m-bert", "clip-vit-b-32", "comet", "qwen-vl"]
    assert [getattr(PROFILES["base"], part) for part in parts] == ["m-bert", "clip-vit-b-32", "comet", "qwen-vl"]


def test_a_given_value_goes_before_that_of_the_profile():
    config = RunConfig.of_profile("paper", dataset="some/folder", batch_size=8, seed=2)
    assert (config.batch_size, config.learning_rate, config.seed) == (8, 1e-4, 2)
    for name in ("smoke", "base"):
        assert RunConfig.of_profile(name) == RunConfig.of_profile(name, dataset=None) == RunConfig(profile=name)
    assert RunConfig.of_profile("mini").context_encoding == "utterances"
    assert RunConfig.of_profile("mini", context_encoding="sequence").context_encoding == "sequence"


@pytest.mark.parametrize(
    ("profile", "changes", "told"),
    [
        ("paper", {}, NO_DATASET),
        ("paper", {"dataset": None}, NO_DATASET),
        ("paper", {"dataset": ""}, "dataset is '', expected a name"),
        ("papre", {}, f"unknown profile 'papre' (did you mean 'paper'?); known are {', '.join(sorted(PROFILES))}"),
        ([], {}, "profile is [], expected a name"),
        ("mini", {"self": 1}, f"unknown setting 'self'; known are {', '.join(sorted(OTHER))}"),
    ],
)
def test_a_profile_that_cannot_be_is_told_in_one_line(profile, changes, told):
    with pytest.raises(IntraError) as error:
        RunConfig.of_profile(profile, **changes)
    assert str(error.value) == told


def test_settings_of_the_paper_are_settings_of_a_run():
    """Sections V-A and V-E print these; about the others the paper is silent."""
    printed = {"weight_retrieval": 1, "weight_intention": 1, "learning_rate": 1e-4, "batch_size": 4}
    found = settings()
    silent = {name for name, value in found.items() if value == "not given"}
    assert silent == {"width", "heads", "margin"}
    assert {name: float(found[name]) for name in found.keys() - silent - {"window"}} == printed
    assert found["window"] == "6 is best (Section V-E)"
    assert found.keys() <= RunConfig().as_dict().keys()
    for name in ("window", "weight_retrieval", "weight_intention"):  # which a run takes over
        assert float(found[name].split()[0]) == getattr(RunConfig(), name)
