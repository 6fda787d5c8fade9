"""What notebook 04 prints of the model."""

import pytest

from intra.config import CHOICES, RunConfig
from intra.models.summary import blank_model, constant_relation_change, parameter_table

pytest_plugins = ["helpers"]


@pytest.mark.usefixtures("cache")
def test_parameter_table_counts_by_hand():
    # The smoke profile: e = 32 (text), w = 32 (regions), C = 28; here d = 24.
    table = parameter_table(RunConfig(profile="smoke", width=24, heads=3))
    assert table["parameters"].to_dict() == {
        "intention.classifier": 28 * 32 + 28,
        "query.projection": 24 * 32,
        "sticker.f_vis": 24 * 32 + 24,
        "sticker.f_des": 24 * 32 + 24,
        "sticker.query": 24 * 24,
        "sticker.key": 24 * 24,
    }
    assert table["equation"].str.startswith("Eq. ").all()


@pytest.mark.usefixtures("cache")
def test_a_constant_relation_score_changes_no_cosine():
    assert 0 <= constant_relation_change(RunConfig(profile="smoke"), stickers=16) < 1e-5


SMALL = RunConfig(profile="smoke", width=24, heads=4)


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(("name", "value"), [(name, value) for name in CHOICES for value in CHOICES[name]])
def test_the_parts_of_every_reading_are_known(name, value):
    config = SMALL.with_changes(**{name: value})
    table = parameter_table(config)
    learned = [p.numel() for p in blank_model(config).parameters() if p.requires_grad]
    assert table["parameters"].sum() == sum(learned)
    assert (table["parameters"] > 0).all()
    assert table["equation"].str.contains(r"Eq. \d").all()


@pytest.mark.usefixtures("cache")
def test_parts_of_other_readings_by_hand():
    """e = 32, w = 32, d = 24; C = 28."""

    def parts(**changes):
        return parameter_table(SMALL.with_changes(**changes))["parameters"].to_dict()

    default = parts()
    assert parts(relation="value") == default | {"sticker.value": 24 * 24, "sticker.output": 24 * 24}
    assert parts(retrieval_loss="infonce") == default | {"retrieval": 1}
    assert parts(sticker_evidence="regions+descriptions") == default | {"sticker.described": 24 * 4 * 32 + 24}
    assert parts(query="concat") == default | {"query.projection": 24 * 64}
    frozen = {"sticker.f_des", "sticker.query", "sticker.key"}
    without = {name: count for name, count in default.items() if name not in frozen}
    assert parts(relation="scalar") == parts(regions="class") == parts(attributes="") == without


@pytest.mark.usefixtures("cache")
def test_tuned_layers_are_one_part():
    config = SMALL.with_changes(tuned_layers=1)
    table = parameter_table(config)
    tuned = blank_model(config).context.layers
    assert table.loc["context.layers", "parameters"] == sum(p.numel() for p in tuned.parameters()) > 0
    assert list(table.index.drop("context.layers")) == list(parameter_table(SMALL).index)
