"""Learning rates: every trained row may choose from as many, and has the one that validation prefers."""

import re

import pytest

from intra.config import RunConfig
from intra.models import SYSTEMS
from intra.study import LEARNING_RATES, STUDIES, TUNED, reference_records, study_configs

DEFAULT = RunConfig().learning_rate
TRIED = STUDIES["tuning"].configurations
TRAINED = [
    label
    for label, changes in STUDIES["main"].configurations.items()
    if hasattr(SYSTEMS[changes.get("system", "int_ra")], "save")
]
"""Rows of the main study with weights."""


def chosen(values: dict[float, float]) -> float:
    """The rate with the best value, the lower one of equally good ones."""
    return min(values, key=lambda rate: (-values[rate], rate))


def rate_of(label: str) -> float:
    """The rate at which a row of the main study learns."""
    (config,) = study_configs("main", seeds=0)[label]
    return config.learning_rate


def test_every_trained_row_may_choose_from_the_same_rates():
    assert len(LEARNING_RATES) == len(set(LEARNING_RATES)) >= 3 and DEFAULT in LEARNING_RATES
    tried = {label: [] for label in TRAINED}
    for name, (config, *_) in study_configs("tuning").items():
        label, rate = re.fullmatch(r"(.+), ([\d.e-]+)", name).groups()
        assert config.learning_rate == float(rate)
        tried[label].append(config.learning_rate)
    assert tried == {label: list(LEARNING_RATES) for label in TRAINED}


@pytest.mark.parametrize("name", TRIED)
def test_a_row_of_tuning_is_that_of_the_main_study_at_another_rate(name):
    (tried, *_), (row,) = (
        study_configs("tuning", seeds=0)[name],
        study_configs("main", seeds=0)[name.rsplit(", ", 1)[0]],
    )
    rates = ("learning_rate", "encoder_learning_rate")
    assert tried.with_changes(**{field: getattr(row, field) for field in rates}) == row


def test_rates_are_named_for_rows_that_learn():
    assert set(TUNED) <= set(TRAINED)
    assert set(TUNED.values()) <= set(LEARNING_RATES)
    assert {label: rate_of(label) for label in TRAINED} == {label: TUNED.get(label, DEFAULT) for label in TRAINED}


def test_of_equally_good_rates_the_lower_one_is_chosen():
    assert chosen({3e-3: 0.2, 3e-4: 0.2, 1e-3: 0.1}) == 3e-4
    assert chosen({3e-4: 0.1, 1e-3: 0.2, 3e-3: 0.15}) == 1e-3


@pytest.fixture(scope="module")
def tuning():
    """Label to rate to the mean mAP on validation of the reference."""
    records = reference_records("tuning")
    if not records:
        pytest.skip("the reference has no runs of the study tuning yet")
    seeds = STUDIES["tuning"].seeds
    assert {name: len(runs) for name, runs in records.items()} == dict.fromkeys(TRIED, len(seeds))
    found = {}
    for name, runs in records.items():
        values = [run.content["selection"]["value"] for run in runs]
        label, rate = name.rsplit(", ", 1)
        found.setdefault(label, {})[float(rate)] = sum(values) / len(values)
    return found


@pytest.mark.parametrize("label", TRAINED)
def test_every_trained_row_has_the_rate_that_validation_prefers(label, tuning):
    assert TUNED.get(label, DEFAULT) == chosen(tuning[label])


@pytest.mark.parametrize("label", TRAINED)
def test_what_the_main_study_runs_was_tried(label, tuning):
    tried = {config for configs in study_configs("tuning", seeds=0).values() for config in configs}
    assert study_configs("main", seeds=0)[label][0] in tried
