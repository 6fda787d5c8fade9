"""Int-RA+: the probability that sticker and reply have one intention."""

import math

import numpy as np
import pytest
import torch

from intra.config import RunConfig
from intra.errors import IntraError
from intra.models.int_ra_plus import IntRAPlus, IntRAPlusSystem, sticker_loss
from intra.models.relation import DescribedSticker, PooledSticker, sticker_model

pytest_plugins = ["helpers"]
EVIDENCE = ("regions", "regions+descriptions", "descriptions")


@pytest.fixture
def plus_config(toy_config):
    return toy_config.with_changes(system="int_ra_plus", query="mixture", sticker_evidence="regions+descriptions")


def test_the_score_is_the_chance_of_one_intention():
    """Intentions drawn for a conversation and for a sticker agree as often as the score says."""
    torch.manual_seed(0)
    model = IntRAPlus(8, 6, 3, RunConfig(width=4, heads=2, query="mixture"))
    logits, sticker_logits = torch.randn(1, 3), torch.randn(1, 3)
    drawn, of_sticker = (
        torch.distributions.Categorical(logits=one[0]).sample((200_000,)) for one in (logits, sticker_logits)
    )
    agree = (drawn == of_sticker).float().mean().item()
    assert model.match(logits, sticker_logits).item() == pytest.approx(agree, abs=0.005)


def test_the_label_alone_takes_the_column_of_the_likeliest_intention():
    model = IntRAPlus(8, 6, 3, RunConfig(width=4, heads=2, query="label"))
    logits, sticker_logits = torch.tensor([[0.1, 2.0, 0.3]]), torch.randn(5, 3)
    assert torch.equal(model.match(logits, sticker_logits)[0], sticker_logits.softmax(dim=1)[:, 1])


def test_a_query_that_it_does_not_know_is_one_line():
    with pytest.raises(IntraError, match=r"query: unknown value 'concat'; known are label, mixture \(system int_ra_pl"):
        IntRAPlus(8, 6, 3, RunConfig(query="concat"))


def test_the_stickers_loss_by_hand():
    """One sticker has intention 0, one has 1 and 2, one has none."""
    logits = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 1.0], [9.0, 9.0, 0.0]])
    told = torch.tensor([[True, False, False], [False, True, True], [False, False, False]])
    first = -math.log(math.e / (math.e + 2))
    total = 1 + math.e**2 + math.e
    second = -(math.log(math.e**2 / total) + math.log(math.e / total)) / 2
    assert sticker_loss(logits, told).item() == pytest.approx((first + second) / 2, abs=1e-6)


def test_what_the_descriptions_say_is_added_to_the_regions():
    torch.manual_seed(0)
    config = RunConfig(width=4, heads=2, sticker_evidence="regions+descriptions")
    model = sticker_model(8, 6, config).eval()
    descriptions, regions = torch.randn(3, 4, 8), torch.randn(3, 5, 6)
    described = torch.tensor([[True] * 4, [False] * 4, [True, False, True, False]])
    descriptions[~described] = 0
    with torch.no_grad():
        made = model.pooled(descriptions, described, regions)
        for sticker in range(3):
            told = model.described.bias + sum(
                model.described.weight[:, 8 * j : 8 * j + 8] @ descriptions[sticker, j] for j in range(4)
            )
            seen = model.regions.pooled(descriptions, described, regions)[sticker]
            assert made[sticker].tolist() == pytest.approx((told + seen).tolist(), abs=1e-5)
        unit = model(descriptions, described, regions)
    assert unit.norm(dim=1).tolist() == pytest.approx([1, 1, 1])


def test_descriptions_alone_do_not_look_at_the_picture():
    config = RunConfig(width=4, heads=2, sticker_evidence="descriptions")
    model = sticker_model(8, 6, config).eval()
    descriptions, described = torch.randn(3, 4, 8), torch.ones(3, 4, dtype=torch.bool)
    one, other = (model(descriptions, described, torch.randn(3, 5, 6)) for _ in range(2))
    assert torch.equal(one, other)
    assert model.maps(descriptions, described, torch.randn(3, 5, 6)) == {}
    assert {name for name, _ in model.named_parameters()} == {"described.weight", "described.bias"}


def test_evidence_names_the_model():
    made = [sticker_model(8, 6, RunConfig(width=4, heads=2, sticker_evidence=name)) for name in EVIDENCE]
    assert [isinstance(model, DescribedSticker) for model in made] == [False, True, True]
    without = sticker_model(8, 6, RunConfig(width=4, heads=2, sticker_evidence=EVIDENCE[1], attributes=""))
    assert type(without.regions) is PooledSticker
    with pytest.raises(IntraError, match="description_units is 'token', expected 'attribute' with sticker_evidence"):
        sticker_model(8, 6, RunConfig(sticker_evidence="descriptions", description_units="token"))


@pytest.mark.parametrize("evidence", EVIDENCE)
def test_gradients_reach_every_parameter(evidence, toy_features, plus_config):
    config = plus_config.with_changes(sticker_evidence=evidence, epochs=2)
    made = toy_features()
    system = IntRAPlusSystem(config, made)
    before = {name: value.clone() for name, value in system.model.state_dict().items()}
    system.fit(made.train, made.valid)
    after = system.model.state_dict()
    learned = {name for name, parameter in system.model.named_parameters()}
    assert {name for name in before if not torch.equal(before[name], after[name])} == learned


def test_it_learns_and_keeps_what_it_learned(toy_features, plus_config, tmp_path):
    made = toy_features(queries=64, noise=0.2)
    config = plus_config.with_changes(epochs=20, learning_rate=1e-2)
    system = IntRAPlusSystem(config, made)
    assert system.fit(made.train, made.valid).validation > 0.8  # a random order reaches about 0.4
    scores = system.score(made.test.queries, made.test.gallery)
    assert scores.shape == (len(made.test.queries.ids), len(made.test.gallery.ids))
    assert ((scores >= 0) & (scores <= 1)).all()
    system.save(tmp_path / "weights.safetensors")
    again = IntRAPlusSystem(config, made)
    again.load(tmp_path / "weights.safetensors")
    assert np.array_equal(again.score(made.test.queries, made.test.gallery), scores)
    details = system.details(made.test.queries, made.test.gallery)
    mixed = details["intention_probabilities"] @ details["sticker_probabilities"].T
    assert scores == pytest.approx(mixed, abs=1e-6)


def test_a_profile_takes_the_settings_of_the_system():
    config = RunConfig.of_profile("smoke", system="int_ra_plus")
    assert (config.query, config.sticker_evidence) == ("mixture", "regions+descriptions")
    assert RunConfig.of_profile("smoke", system="int_ra_plus", query="label").query == "label"
    assert RunConfig.of_profile("smoke").query == "label"
