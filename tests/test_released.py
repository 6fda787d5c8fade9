"""The released behaviour: what reaches a sticker's vector, what learns, what the losses are, and that a run repeats."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from intra.errors import IntraError
from intra.losses import LARGEST_SCALE, intention_loss
from intra.metrics import average_precision, expected_by_chance, rank_candidates
from intra.models import SYSTEMS
from intra.models.context import FrozenContext
from intra.models.released import (
    ReleasedIntRA,
    ReleasedModel,
    contrastive_loss,
    cross_attention,
    fresh_layer,
    sticker_vector,
    twice_softmax_loss,
)

pytest_plugins = ["helpers"]

D = 16
LEARNED = {"text_projection.weight", "image_projection.weight", "logit_scale"}
FROZEN = {"classifier.weight", "classifier.bias"}
VERBAL = 3  # its place among the attributes


def generator(seed=0):
    return np.random.default_rng(seed)


def with_class_tokens(part):
    """A split whose pictures have a class token each: the mean of their regions."""
    means = part.gallery.region_features.mean(axis=1)
    return replace(part, gallery=replace(part.gallery, class_features=means))


@pytest.fixture(name="toy_features")
def _toy_features(toy_features):
    def made(seed=0, **sizes):
        features = toy_features(seed, **sizes)
        parts = {name: with_class_tokens(getattr(features, name)) for name in ("train", "valid", "test")}
        return replace(features, **parts)

    return made


@pytest.fixture
def toy(toy_features):
    return toy_features()


@pytest.fixture
def system(toy, toy_config):
    return ReleasedIntRA(toy_config, toy)


@pytest.fixture
def vectors():
    """A picture (D,) and its four attributes (4, D)."""
    torch.manual_seed(1)
    return torch.randn(D), torch.randn(4, D)


def tokens(part):
    """Class tokens and descriptions of a gallery as tensors."""
    return torch.from_numpy(part.gallery.class_features), torch.from_numpy(part.gallery.description_features)


def unit(values):
    norm = math.sqrt(sum(v * v for v in values))
    return [v / norm for v in values]


def dot(left, right):
    return sum(x * y for x, y in zip(left, right, strict=True))


def cross_entropy(logits, label):
    return math.log(sum(math.exp(z) for z in logits)) - logits[label]


# Fresh layers and attention over one key


def test_a_fresh_layer_is_drawn_as_torch_draws_a_linear_one():
    rng, zero, one = generator(), torch.zeros(D), torch.eye(D)[0]
    biases = torch.stack([fresh_layer(zero, rng) for _ in range(300)])
    columns = torch.stack([fresh_layer(one, rng) for _ in range(300)])
    bound = 1 / math.sqrt(D)  # of nn.Linear(D, D), weights and bias
    for values in (nn.Linear(D, D).weight, nn.Linear(D, D).bias, biases):
        assert values.abs().max() <= bound
    assert biases.abs().max() > 0.999 * bound
    assert biases.mean().item() == pytest.approx(0, abs=0.01)
    assert biases.var().item() == pytest.approx(bound**2 / 3, rel=0.05)
    assert columns.var().item() == pytest.approx(2 * bound**2 / 3, rel=0.05)  # a weight and a bias


def test_a_fresh_layer_is_affine_and_new_at_every_call(vectors):
    x, y = vectors[1][:2]
    at = lambda vector: fresh_layer(vector, generator())  # noqa: E731 - the same layer each time
    mixed = 2 * at(x) - 3 * at(y) + 2 * at(torch.zeros(D))
    assert at(2 * x - 3 * y).numpy() == pytest.approx(mixed.numpy(), abs=1e-5)
    rng = generator()
    assert (fresh_layer(x, rng) - fresh_layer(x, rng)).abs().max() > 0.1


@pytest.mark.parametrize("size", [0, 1, 1e4])
def test_softmax_over_one_key_is_exactly_one(size, vectors):
    """Bit by bit what the third layer makes of the attribute, however near or far query and key are."""
    query, attribute = size * vectors[0], vectors[1][0]
    rng = generator()
    for vector in (query, attribute):
        fresh_layer(vector, rng)
    value = fresh_layer(attribute, rng)
    assert torch.equal(cross_attention(query, attribute, generator()), value)


def test_a_sticker_is_a_random_layer_of_its_last_attribute(vectors):
    image, attributes = vectors
    rng = generator()
    rng.random((4 * 3 - 1, D, D + 1), dtype=np.float32)  # three layers a call, of which only the last one is left
    expected = fresh_layer(attributes[-1], rng)
    assert torch.equal(sticker_vector(image, attributes, generator()), expected)


def test_only_the_verbal_attribute_reaches_a_sticker(system, toy):
    images, descriptions = tokens(toy.test)
    before = system.model.stickers(images, descriptions, generator())
    assert before.shape == (12, 16)
    assert before.norm(dim=1).detach().numpy() == pytest.approx(1, abs=1e-6)
    assert torch.equal(system.model.stickers(50 * torch.randn_like(images), descriptions, generator()), before)
    for number in range(4):
        changed = descriptions.clone()
        changed[:, number] += 1
        after = system.model.stickers(images, changed, generator())
        assert torch.equal(after, before) == (number != VERBAL)
    assert ((after - before).norm(dim=1) > 0.05).all()


def test_stickers_with_the_same_text_get_other_layers(system, toy):
    images, descriptions = tokens(toy.test)
    same = system.model.stickers(images, descriptions[:1].expand_as(descriptions), generator())
    cosines = (same @ same.T).detach().numpy()[np.triu_indices(12, 1)]
    assert np.abs(cosines).max() < 0.95 and abs(cosines.mean()) < 0.15


# Scores


def test_scores_are_cosines_of_contexts_and_sticker_vectors(system, toy):
    scores = system.score(toy.test.queries, toy.test.gallery)
    assert scores.shape == (24, 12) and scores.dtype == np.float32
    rng, model = np.random.default_rng((0, 0)), system.model  # seed 0, call 0
    projected = toy.test.queries.text_features @ model.text_projection.weight.detach().numpy().T
    for s, descriptions in enumerate(toy.test.gallery.description_features):
        verbal = torch.from_numpy(descriptions[VERBAL]) @ model.text_projection.weight.detach().T
        rng.random((11, 16, 17), dtype=np.float32)
        sticker = unit(fresh_layer(verbal, rng).tolist())
        expected = [dot(unit(context), sticker) for context in projected.tolist()]
        assert scores[:, s] == pytest.approx(np.array(expected), abs=1e-5)


def test_two_calls_of_score_give_unrelated_rankings(toy_features, toy_config):
    """Mean Spearman correlation over 20 pairs of calls: within 4 standard errors of 0, and far from 1."""
    toy = toy_features(stickers=60, queries=40)
    system = ReleasedIntRA(toy_config, toy)
    means = []
    for _ in range(20):
        pair = [system.score(toy.test.queries, toy.test.gallery) for _ in range(2)]
        means.append(np.mean([spearmanr(*rows).statistic for rows in zip(*pair, strict=True)]))
    assert abs(np.mean(means)) < 4 * np.std(means, ddof=1) / math.sqrt(20) < 0.15


def test_a_trained_system_ranks_by_chance(toy_features, toy_config):
    """Over 40 calls, within 4 standard errors of the exact expectation of a random ranking."""
    toy = toy_features(stickers=40, queries=40)
    system = ReleasedIntRA(toy_config, toy)
    system.fit(toy.train, toy.valid)
    found = []
    for _ in range(40):
        order = rank_candidates(system.score(toy.test.queries, toy.test.gallery), toy.test.gallery.ids)
        found.append(average_precision(np.take_along_axis(toy.test.relevant, order, axis=1)).mean())
    chance = np.mean(expected_by_chance(toy.test.relevant.sum(axis=1), 40)["mAP"])
    assert abs(np.mean(found) - chance) < 4 * np.std(found, ddof=1) / math.sqrt(40) < 0.05


# Losses


def test_contrastive_loss_by_hand():
    # Rows: log(e^2 + 1) - 2 and log(2) - 0; columns: log(e^2 + 1) - 2 and log(2) - 0. Each is a mean of two.
    rows = (math.log(math.exp(2) + 1) - 2 + math.log(2)) / 2
    assert contrastive_loss(torch.tensor([[2.0, 0.0], [0.0, 0.0]])).item() == pytest.approx(2 * rows)
    # Rows log(2) twice, columns log(e + 1) - 1 and log(e + 1): both directions count.
    both = [math.log(2), math.log(2), math.log(math.e + 1) - 1, math.log(math.e + 1)]
    assert contrastive_loss(torch.tensor([[1.0, 1.0], [0.0, 0.0]])).item() == pytest.approx(sum(both) / 2)


def test_contrastive_loss_of_equal_vectors_is_twice_the_logarithm():
    assert contrastive_loss(torch.full((7, 7), 3.0)).item() == pytest.approx(2 * math.log(7))


def test_softmax_twice_keeps_the_loss_between_two_bounds():
    """With 28 intentions between 2.39 and 3.39, however sure the classifier is; one softmax has no such bounds."""
    least, most = math.log(1 + 27 / math.e), math.log(math.e + 27)
    assert (least, most) == (pytest.approx(2.3918, abs=1e-4), pytest.approx(3.3918, abs=1e-4))
    torch.manual_seed(2)
    logits, labels = 30 * torch.randn(500, 28), torch.randint(28, (500,))
    pairs = zip(logits.softmax(dim=1).split(1), labels.split(1), strict=True)
    losses = [twice_softmax_loss(*pair).item() for pair in pairs]
    assert least - 1e-5 <= min(losses) and max(losses) <= most + 1e-5
    assert intention_loss(logits, labels) > most
    sure = torch.eye(28)
    assert twice_softmax_loss(sure, torch.arange(28)).item() == pytest.approx(least)
    assert twice_softmax_loss(sure, (torch.arange(28) + 1) % 28).item() == pytest.approx(most)
    assert twice_softmax_loss(torch.full((1, 28), 1 / 28), torch.tensor([5])).item() == pytest.approx(math.log(28))


def losses_by_loops(model, toy, rows):
    """Both entries of the history for one batch of training rows, from the weights alone."""
    weight = {name: value.tolist() for name, value in model.state_dict().items()}
    texts = [toy.train.queries.text_features[row].tolist() for row in rows]
    sent = [toy.train.gallery.class_features[toy.train.queries.stickers[row]].tolist() for row in rows]
    contexts = [[dot(line, text) for line in weight["text_projection.weight"]] for text in texts]
    images = [[dot(line, image) for line in weight["image_projection.weight"]] for image in sent]
    scale = math.exp(weight["logit_scale"])
    logits = [[scale * dot(unit(context), unit(image)) for image in images] for context in contexts]
    text = sum(cross_entropy(row, n) for n, row in enumerate(logits)) / len(rows)
    image = sum(cross_entropy(list(column), n) for n, column in enumerate(zip(*logits, strict=True))) / len(rows)
    intention = 0
    for row, context in zip(rows, contexts, strict=True):
        z = [dot(line, context) for line in weight["classifier.weight"]]
        z = [value + bias for value, bias in zip(z, weight["classifier.bias"], strict=True)]
        rho = [math.exp(value) / sum(math.exp(other) for other in z) for value in z]
        intention += cross_entropy(rho, toy.train.queries.intentions[row]) / len(rows)
    return {"retrieval": (image + text) / 4, "intention": intention / 4}


def test_losses_against_loops(system, toy, toy_config):
    """The first history entry of a training in one batch is the loss of the first weights."""
    expected = losses_by_loops(system.model, toy, range(24))
    whole = ReleasedIntRA(toy_config.with_changes(epochs=1, batch_size=64), toy)
    (entry,) = whole.fit(toy.train, toy.valid).history
    assert {name: entry[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    assert entry.keys() == {"epoch", "retrieval", "intention", "valid_mAP"}


# What learns


def gradients(model, part, retrieval=True, intention=True):
    model.zero_grad()
    sent = torch.from_numpy(part.gallery.class_features[part.queries.stickers])
    logits, probabilities = model(torch.from_numpy(part.queries.text_features), sent)
    loss = 0 * logits.sum()
    if retrieval:
        loss = contrastive_loss(logits)
    if intention:
        loss = loss + twice_softmax_loss(probabilities, torch.from_numpy(part.queries.intentions))
    loss.backward()
    return {n for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 1e-6}


def test_gradients_reach_all_but_the_classifier(system, toy):
    assert {name for name, _ in system.model.named_parameters()} == LEARNED | FROZEN
    assert gradients(system.model, toy.train) == LEARNED
    assert gradients(system.model, toy.train, intention=False) == LEARNED


def test_the_intention_loss_reaches_the_context_through_the_untrained_classifier(toy):
    torch.manual_seed(3)
    model = ReleasedModel(8, 6, 4, D, nn.Linear(8, 8))
    assert gradients(model, toy.train, retrieval=False) == {"context.weight", "context.bias", "text_projection.weight"}


def test_training_moves_all_but_the_classifier(system, toy):
    before = {name: value.clone() for name, value in system.model.state_dict().items()}
    system.fit(toy.train, toy.valid)
    after = system.model.state_dict()
    assert {name for name in before if not torch.equal(before[name], after[name])} == LEARNED


def test_the_contrastive_part_learns(toy, toy_config):
    system = ReleasedIntRA(toy_config.with_changes(epochs=15, patience=15), toy)
    history = system.fit(toy.train, toy.valid).history
    assert len(history) == 15
    assert history[-1]["retrieval"] < 0.7 * history[0]["retrieval"]


def test_the_context_model_learns_with_the_rest(toy, toy_config):
    config = toy_config.with_changes(context_encoding="utterances", window=2, epochs=2)
    rng = generator()

    def with_parts(part):
        parts = rng.normal(size=(24, 3, 8)).astype(np.float32)
        return replace(part, queries=replace(part.queries, parts=parts))

    system = ReleasedIntRA(config, toy)
    before = {name: value.clone() for name, value in system.model.context.state_dict().items()}
    system.fit(with_parts(toy.train), with_parts(toy.valid))
    after = system.model.context.state_dict()
    assert before and not any(torch.equal(before[name], after[name]) for name in before)


def test_the_scale_stays_within_its_bounds(toy):
    model = ReleasedModel(8, 6, 4, D, FrozenContext())
    for start, kept in ((9.0, LARGEST_SCALE), (-1.0, 0.0), (2.0, 2.0)):
        with torch.no_grad():
            model.logit_scale.fill_(start)
        gradients(model, toy.train)
        assert model.logit_scale.item() == pytest.approx(kept)


# Runs that repeat


def test_same_config_same_scores_call_by_call(toy, toy_config):
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(found))  # the global generators must not matter
        np.random.seed(len(found))  # noqa: NPY002
        system = ReleasedIntRA(toy_config.with_changes(epochs=3, seed=seed), toy)
        history = system.fit(toy.train, toy.valid).history
        found.append((history, [system.score(toy.test.queries, toy.test.gallery) for _ in range(3)]))
    (history, scores), (same_history, same_scores), (other_history, other_scores) = found
    assert history == same_history != other_history
    assert np.array_equal(scores, same_scores)
    assert all(not np.array_equal(one, other) for one, other in zip(scores, other_scores, strict=True))
    assert len({array.tobytes() for array in scores}) == 3


def test_every_call_of_a_training_and_after_it_has_a_number_of_its_own(toy, toy_config, monkeypatch):
    system = ReleasedIntRA(toy_config.with_changes(epochs=4, patience=4), toy)
    seeds, default_rng = [], np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda seed: seeds.append(seed) or default_rng(seed))
    for _ in range(2):  # a second training counts as the first
        seeds.clear()
        system.fit(toy.train, toy.valid)
        for _ in range(2):
            system.score(toy.test.queries, toy.test.gallery)
        assert seeds == [(0, number) for number in range(6)]


def test_loaded_weights_rank_as_after_the_training(toy, toy_config, tmp_path):
    system = ReleasedIntRA(toy_config, toy)
    system.fit(toy.train, toy.valid)
    first, second = (system.score(toy.test.queries, toy.test.gallery) for _ in range(2))
    system.save(tmp_path / "weights.safetensors")  # whenever it is saved
    other = ReleasedIntRA(toy_config, toy)
    before = other.score(toy.test.queries, toy.test.gallery)
    other.load(tmp_path / "weights.safetensors")
    assert np.array_equal(other.score(toy.test.queries, toy.test.gallery), first)
    assert np.array_equal(other.score(toy.test.queries, toy.test.gallery), second)
    assert not np.array_equal(first, second) and not np.array_equal(before, first)
    found = other.details(toy.test.queries, toy.test.gallery)
    for name, array in system.details(toy.test.queries, toy.test.gallery).items():
        assert np.array_equal(found[name], array)


def test_weights_of_another_config_are_one_line(system, toy, toy_config, tmp_path):
    ReleasedIntRA(toy_config.with_changes(width=32), toy).save(tmp_path / "weights.safetensors")
    with pytest.raises(IntraError, match=r"weights.safetensors: does not fit this config: .*size mismatch") as caught:
        system.load(tmp_path / "weights.safetensors")
    assert "\n" not in str(caught.value)


def test_details_are_the_probabilities_and_count_as_no_call(system, toy):
    details = system.details(toy.test.queries, toy.test.gallery)
    assert system.calls == 0
    model = system.model
    projected = model.text_projection(torch.from_numpy(toy.test.queries.text_features))
    expected = (projected @ model.classifier.weight.T + model.classifier.bias).softmax(dim=1)
    assert {name: array.shape for name, array in details.items()} == {"intention_probabilities": (24, 4)}
    assert details["intention_probabilities"] == pytest.approx(expected.detach().numpy(), abs=1e-6)


def test_labels_are_not_read_in_scoring(toy, toy_config):
    queries, gallery = toy.test.queries, toy.test.gallery
    other_queries = replace(queries, intentions=queries.intentions[::-1], stickers=queries.stickers[::-1])
    other_gallery = replace(gallery, intentions=~gallery.intentions)
    scores = ReleasedIntRA(toy_config, toy).score(queries, gallery)
    assert np.array_equal(ReleasedIntRA(toy_config, toy).score(other_queries, other_gallery), scores)


def test_it_is_a_system_that_is_compared():
    assert SYSTEMS["released"] is ReleasedIntRA
