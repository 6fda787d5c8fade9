"""What notebook 04 prints of the model."""

import pytest

from intra.config import RunConfig
from intra.models.summary import constant_relation_change, parameter_table

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
