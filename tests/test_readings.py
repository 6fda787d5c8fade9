"""Every reading of the paper's equations: against plain loops, what learns, what is saved, and the edge cases."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from intra.config import CHOICES, RunConfig
from intra.metrics import average_precision, rank_candidates
from intra.models.context import JoinedContext
from intra.models.int_ra import IntRA, IntRASystem
from intra.models.intention import QUERIES
from intra.models.relation import ATTRIBUTE_REDUCTIONS, HEAD_REDUCTIONS, RELATIONS, sticker_model

pytest_plugins = ["helpers"]

S, A, P, E, W, D, H, C, B = 4, 4, 14, 8, 6, 12, 3, 4, 7
STICKERS = list(itertools.product(RELATIONS, HEAD_REDUCTIONS, ATTRIBUTE_REDUCTIONS))
READINGS = [(name, value) for name, values in CHOICES.items() for value in values]
EVERY_READING = pytest.mark.parametrize(("name", "value"), READINGS)
ATTENTION = {"f_des.weight", "f_des.bias", "query.weight", "key.weight"}


@pytest.fixture
def inputs():
    """Descriptions (S, A, E), which of them count (S, A), none of the last sticker's, and regions (S, P, W)."""
    torch.manual_seed(5)
    described = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]).bool()
    return 2 * torch.randn(S, A, E), described, 2 * torch.randn(S, P, W)


def sticker_of(relation, heads="mean", attributes="max", told="GPFV"):
    torch.manual_seed(3)
    choices = {"relation": relation, "head_reduction": heads, "attribute_reduction": attributes}
    return sticker_model(E, W, RunConfig(width=D, heads=H, attributes=told, **choices))


def unit(vector):
    return vector / np.sqrt((vector * vector).sum())


# Stickers


def reduced(kind, vectors):
    """Mean or largest of some vectors, place by place."""
    together = {"mean": lambda values: sum(values) / len(values), "max": max}[kind]
    return np.array([together(values) for values in zip(*vectors, strict=True)])


def sticker_by_loops(sticker, reading, descriptions, described, regions):
    """Eq. 10-12 for one sticker in the order of the paper: every region is projected first."""
    relation, heads, attributes = reading
    part = {name: parameter.detach().double().numpy() for name, parameter in sticker.named_parameters()}
    h_regions = [part["f_vis.weight"] @ region + part["f_vis.bias"] for region in regions]
    mean_region = sum(h_regions) / len(h_regions)
    keys = [part["key.weight"] @ region for region in h_regions]
    per_attribute = []
    for description, counts in zip(descriptions, described, strict=True):
        if not counts:
            continue
        query = part["query.weight"] @ (part["f_des.weight"] @ description + part["f_des.bias"])
        rows, values, numbers = [], [], []
        for head in np.split(np.arange(D), H):
            logits = [query[head] @ key[head] / np.sqrt(D // H) for key in keys]
            rows.append([np.exp(logit) / sum(np.exp(other) for other in logits) for logit in logits])
            numbers.append([sum(logits) / len(logits)])
            if relation == "value":
                spoken = [(part["value.weight"] @ region)[head] for region in h_regions]
                values += list(sum(weight * value for weight, value in zip(rows[-1], spoken, strict=True)))
        if relation == "attention":
            per_attribute.append(reduced(heads, rows))
        elif relation == "value":
            per_attribute.append(part["output.weight"] @ np.array(values))
        else:
            per_attribute.append(1 / (1 + np.exp(-reduced(heads, numbers))))
    if not per_attribute:
        return unit(mean_region)
    score = reduced(attributes, per_attribute)
    if relation == "attention":
        return unit(sum(m * region for m, region in zip(score / score.sum(), h_regions, strict=True)))
    return unit(sum(score * region for region in h_regions) / len(h_regions))


@pytest.mark.parametrize("reading", STICKERS)
def test_stickers_against_loops(reading, inputs):
    sticker = sticker_of(*reading)
    found = sticker(*inputs).detach().numpy()
    for vector, *one in zip(found, *(part.numpy() for part in inputs), strict=True):
        assert vector == pytest.approx(sticker_by_loops(sticker, reading, *one), abs=1e-5)


def test_readings_differ(inputs):
    """Otherwise agreement with the loops could mean that an option is not read. A scalar is one with any reduction."""
    found = {reading: sticker_of(*reading)(*inputs).detach() for reading in STICKERS}
    # the third and fourth sticker have less than two attributes
    several = {reading: vectors[:2] for reading, vectors in found.items()}
    for one, other in itertools.combinations(STICKERS, 2):
        same = one[0] == other[0] and (one[0] == "scalar" or (one[0] == "value" and one[2] == other[2]))
        assert torch.allclose(several[one], several[other], atol=1e-5) == same, (one, other)


@pytest.mark.parametrize("heads", HEAD_REDUCTIONS)
@pytest.mark.parametrize("attributes", ATTRIBUTE_REDUCTIONS)
def test_a_scalar_is_no_attribute_at_all(heads, attributes, inputs):
    """Eq. 11 as printed: a positive number cancels in the cosine, so that no ranking changes."""
    descriptions, described, regions = inputs
    sticker = sticker_of("scalar", heads, attributes)
    numbers = sticker.numbers(descriptions, regions)
    assert (numbers > 0).all() and numbers.std() > 0.01
    scalar, none = sticker(*inputs).detach(), sticker(descriptions, torch.zeros_like(described), regions).detach()
    assert scalar.numpy() == pytest.approx(none.numpy(), abs=1e-6)
    queries = torch.randn(50, D)
    ids = [f"s{n}" for n in range(S)]
    assert np.array_equal(rank_candidates(queries @ scalar.T, ids), rank_candidates(queries @ none.T, ids))


def test_sharp_attention_has_no_subnormal_weights(inputs):
    """They would slow a training down; for what is summed with them they are as good as nothing."""
    descriptions, regions = 200 * inputs[0], inputs[2]
    sticker = sticker_of("attention")
    with torch.no_grad():
        attention = sticker.attention(descriptions, regions)
        sticker.double()
        query = sticker.query(sticker.f_des(descriptions.double())).unflatten(2, (H, D // H))
        key = sticker.key(sticker.f_vis(regions.double())).unflatten(2, (H, D // H))
        exact = (torch.einsum("sahk,sphk->shap", query, key) / (D // H) ** 0.5).softmax(dim=-1)
    assert 0 < exact.min() < torch.finfo(torch.float32).smallest_normal < attention.min()
    assert attention.numpy() == pytest.approx(exact.numpy(), abs=1e-4)


def test_a_gate_by_hand():
    # One head, d = 2, every matrix the identity, no bias. Equal logits, so that the attended value is the mean
    # region (2, 1); it gates the mean region: (4, 1). Without a description the mean region is left alone.
    sticker = sticker_model(2, 2, RunConfig(width=2, heads=1, relation="value"))
    with torch.no_grad():
        for part in sticker.children():
            part.weight.copy_(torch.eye(2))
            if part.bias is not None:
                part.bias.zero_()
    regions = torch.tensor([[[1.0, 1.0], [3.0, 1.0]]]).expand(2, 2, 2)
    found = sticker(torch.zeros(2, 1, 2), torch.tensor([[True], [False]]), regions)
    assert found[0].tolist() == pytest.approx([4 / 17**0.5, 1 / 17**0.5])
    assert found[1].tolist() == pytest.approx([2 / 5**0.5, 1 / 5**0.5])


@pytest.mark.parametrize("reading", STICKERS)
def test_without_attributes_regions_count_equally(reading, inputs):
    descriptions, described, regions = inputs
    sticker = sticker_of(*reading)
    mean = torch.nn.functional.normalize(sticker.f_vis(regions).mean(dim=1), dim=1).detach().numpy()
    nobody = torch.zeros_like(described)
    assert sticker(descriptions, nobody, regions).detach().numpy() == pytest.approx(mean, abs=1e-6)
    plain = sticker_of(*reading, told="")
    assert {name for name, _ in plain.named_parameters()} == {"f_vis.weight", "f_vis.bias"}
    plain.load_state_dict(sticker.state_dict(), strict=False)
    assert plain(*inputs).detach().numpy() == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("reading", STICKERS)
def test_one_region(reading, inputs):
    """Its weight is 1: what is described cannot matter. Nor can it for a gate, which is the value of that region."""
    descriptions, described, regions = inputs
    sticker = sticker_of(*reading)
    found = sticker(descriptions[:3], described[:3], regions[:3, :1]).detach().numpy()
    others = sticker(torch.randn(3, A, E), torch.ones(3, A, dtype=torch.bool), regions[:3, :1]).detach().numpy()
    assert found == pytest.approx(others, abs=1e-5)


@pytest.mark.parametrize("reading", STICKERS)
def test_any_number_of_descriptions(reading, inputs):
    """Tokens in the place of attributes: those that do not count change nothing, repeated ones neither."""
    descriptions, described, regions = inputs
    sticker = sticker_of(*reading)
    many = torch.cat([descriptions, 9 * torch.randn(S, 3, E), descriptions], dim=1)
    counts = torch.cat([described, torch.zeros(S, 3, dtype=torch.bool), described], dim=1)
    found = sticker(many, counts, regions).detach().numpy()
    assert found == pytest.approx(sticker(*inputs).detach().numpy(), abs=1e-6)


@pytest.mark.parametrize("reading", STICKERS)
def test_gradients_are_finite_without_descriptions(reading, inputs):
    descriptions, described, regions = inputs
    sticker = sticker_of(*reading)
    sticker(descriptions, torch.zeros_like(described), regions)[:, 0].sum().backward()
    assert sticker.f_vis.weight.grad.abs().max() > 1e-4
    assert all(torch.isfinite(p.grad).all() for p in sticker.parameters() if p.grad is not None)


def test_only_weights_of_regions_are_shown(inputs):
    for relation in RELATIONS:
        shown = sticker_of(relation, "max", "mean").maps(*inputs)
        assert shown.keys() == ({"attention", "relation_scores"} if relation == "attention" else set())
    assert sticker_of("attention", told="").maps(*inputs) == {}
    shown = sticker_of("attention", "max", "mean").maps(*inputs)
    assert shown["relation_scores"].sum(dim=1).detach().numpy() == pytest.approx(1, abs=1e-6)
    assert torch.equal(shown["attention"].any(dim=2), inputs[1])


# Queries


def matched_by_loops(kind, training, labels, text, logits, truth):
    """What one query projects."""
    likeliest = labels[max(range(C), key=lambda n: logits[n])]
    powers = [np.exp(logit) for logit in logits]
    return {
        "label": likeliest,
        "straight-through": likeliest,
        "teacher": labels[truth] if training else likeliest,
        "mixture": sum(power / sum(powers) * label for power, label in zip(powers, labels, strict=True)),
        "context": text,
        "concat": np.concatenate([likeliest, text]),
        "gold": labels[truth],
    }[kind]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", QUERIES)
def test_queries_against_loops(kind, training):
    torch.manual_seed(6)
    labels, texts, logits = torch.randn(C, E), torch.randn(B, E), torch.randn(B, C)
    truth = torch.arange(B) % C
    assert not torch.equal(truth, logits.argmax(dim=1))
    query = QUERIES[kind](labels, D).train(training)
    found = query(texts, logits, truth)
    weight = query.projection.weight.detach().double().numpy()
    assert weight.shape == (D, 2 * E if kind == "concat" else E)
    for vector, *one in zip(found, texts.numpy(), logits.numpy(), truth.tolist(), strict=True):
        matched = matched_by_loops(kind, training, labels.numpy(), *one)
        assert vector.tolist() == pytest.approx(list(unit(weight @ matched)), abs=1e-5)


@pytest.mark.parametrize("kind", QUERIES)
def test_the_truth_is_read_only_where_it_is_said_to_be(kind):
    torch.manual_seed(6)
    query = QUERIES[kind](torch.randn(C, E), D)
    given = torch.randn(B, E), torch.randn(B, C)
    truths = torch.zeros(B, dtype=torch.int64), torch.ones(B, dtype=torch.int64)
    for training in (False, True):
        one, other = (query.train(training)(*given, truth) for truth in truths)
        assert torch.equal(one, other) == (kind != "gold" and not (kind == "teacher" and training))


@pytest.mark.parametrize("kind", QUERIES)
def test_which_queries_teach_the_classifier(kind):
    torch.manual_seed(6)
    texts, logits = torch.randn(B, E, requires_grad=True), torch.randn(B, C, requires_grad=True)
    QUERIES[kind](torch.randn(C, E), D)(texts, logits, torch.arange(B) % C)[:, 0].sum().backward()
    assert (logits.grad is not None) == (kind in ("straight-through", "mixture"))
    assert (texts.grad is not None) == (kind in ("context", "concat"))


def test_the_gradient_of_straight_through_is_that_of_the_mixture():
    """For the projected vector before its length is made 1, where the two start from different points."""
    torch.manual_seed(6)
    labels, texts, logits = torch.randn(C, E), torch.randn(B, E), torch.randn(B, C)
    gradients = []
    for kind in ("straight-through", "mixture"):
        given = logits.clone().requires_grad_()
        QUERIES[kind](labels, D).matched(texts, given, None).pow(1).sum().backward()
        gradients.append(given.grad)
    assert gradients[0].numpy() == pytest.approx(gradients[1].numpy(), abs=1e-6)
    assert gradients[0].abs().max() > 0.01


# Whole models of every reading


def features_of(config, toy_features):
    """Toy features in the shapes that a config asks for."""
    toy = toy_features(regions={"patches": 5, "patches+class": 6, "class": 1}[config.regions])
    rng = np.random.default_rng(1)

    def changed(partition):
        queries, gallery = partition.queries, partition.gallery
        if config.context_encoding == "utterances":
            parts = rng.normal(size=(len(queries.ids), config.window + 1, 8)).astype(np.float32)
            queries = dataclasses.replace(queries, parts=parts)
        if config.description_units == "token":
            tokens = rng.normal(size=(len(gallery.ids), 4 * 3, 8)).astype(np.float32)
            described = np.repeat(gallery.described, 3, axis=1) & (rng.random(tokens.shape[:2]) < 0.8)
            gallery = dataclasses.replace(gallery, description_features=tokens, described=described)
        return dataclasses.replace(partition, queries=queries, gallery=gallery)

    return dataclasses.replace(toy, **{split: changed(getattr(toy, split)) for split in ("train", "valid", "test")})


@pytest.fixture
def made(name, value, toy_config, toy_features):
    """Config and features of a reading."""
    config = toy_config.with_changes(epochs=2, window=2, **{name: value})
    return config, features_of(config, toy_features)


def learned_by(config):
    """Names of the parameters that a reading is said to learn."""
    names = {"intention.classifier.weight", "intention.classifier.bias", "query.projection.weight"}
    weighing = {"f_vis.weight", "f_vis.bias"}
    if config.relation != "scalar" and config.regions != "class":
        weighing |= ATTENTION
    if config.relation == "value":
        weighing |= {"value.weight", "output.weight"}
    if config.sticker_evidence != "descriptions":
        names |= {f"sticker.{'regions.' * (config.sticker_evidence != 'regions')}{name}" for name in weighing}
    if config.sticker_evidence != "regions":
        names |= {"sticker.described.weight", "sticker.described.bias"}
    if config.retrieval_loss == "infonce":
        names |= {"retrieval.logit_scale"}
    if config.context_encoding == "utterances":
        names |= {f"context.{name}" for name, _ in JoinedContext(8, config.window, config.heads).named_parameters()}
    return names


def losses_of(system, partition):
    """Both losses of a whole split in one batch, as `fit` asks for them."""
    found = {}

    def keep(model, losses, *_):
        numbers = {"queries": torch.arange(len(partition.queries.ids)), "stickers": torch.arange(12)}
        found.update(losses(model, numbers))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("intra.models.int_ra.fit", keep)
        system.fit(partition, partition)
    return found


@EVERY_READING
def test_gradients_reach_every_learned_parameter_and_no_other(made):
    config, features = made
    system = IntRASystem(config, features)
    sum(losses_of(system, features.train).values()).backward()
    reached = {name for name, p in system.model.named_parameters() if p.grad is not None and p.grad.abs().max() > 1e-6}
    assert reached == learned_by(config)
    assert reached == {name for name, p in system.model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("retrieval_loss", CHOICES["retrieval_loss"])
@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("query", QUERIES)
def test_gradients_of_readings_together(query, relation, retrieval_loss, toy_config, toy_features):
    config = toy_config.with_changes(query=query, relation=relation, retrieval_loss=retrieval_loss)
    features = features_of(config, toy_features)
    system = IntRASystem(config, features)
    sum(losses_of(system, features.train).values()).backward()
    found = {name for name, p in system.model.named_parameters() if p.grad is not None and p.grad.abs().max() > 1e-7}
    assert found == learned_by(config)


@EVERY_READING
def test_a_training_moves_what_is_said_to_learn(made):
    config, features = made
    system = IntRASystem(config, features)
    before = {name: tensor.clone() for name, tensor in system.model.state_dict().items()}
    done = system.fit(features.train, features.valid)
    assert 1 <= done.best_epoch <= 2 and 0 < done.validation <= 1
    after = system.model.state_dict()
    assert {name for name in before if not torch.equal(before[name], after[name])} == learned_by(config)


def average_precision_bounds(first, relevant, gallery):
    """Least and largest AP of a query whose first relevant sticker has rank `first`: the others last, or at once."""
    last = [first, *range(gallery - relevant + 2, gallery + 1)]
    packed = range(first, first + relevant)
    return tuple(sum(k / rank for k, rank in enumerate(ranks, 1)) / relevant for ranks in (last, packed))


def test_average_precision_bounds_by_brute_force():
    for relevant in range(1, 5):
        for first in range(1, 7 - relevant + 1):
            found = [
                sum(k / rank for k, rank in enumerate(ranks, 1)) / relevant
                for ranks in itertools.combinations(range(1, 7), relevant)
                if ranks[0] == first
            ]
            assert average_precision_bounds(first, relevant, 6) == pytest.approx((min(found), max(found)))


@EVERY_READING
def test_saved_weights_rank_the_same_within_the_bounds_of_average_precision(made, tmp_path):
    config, features = made
    system = IntRASystem(config, features)
    system.fit(features.train, features.valid)
    system.save(tmp_path / "weights.safetensors")
    other = IntRASystem(config.with_changes(seed=9), features)
    queries, gallery, right = features.test.queries, features.test.gallery, features.test.relevant
    scores = system.score(queries, gallery)
    assert not np.array_equal(other.score(queries, gallery), scores)
    other.load(tmp_path / "weights.safetensors")
    assert np.array_equal(other.score(queries, gallery), scores)
    details, others = system.details(queries, gallery), other.details(queries, gallery)
    assert all(np.array_equal(details[name], others[name]) for name in details)
    assert ("relation_scores" in details) == (config.relation == "attention" and "regions" in config.sticker_evidence)
    relevance = np.take_along_axis(right, rank_candidates(scores, gallery.ids), axis=1)
    for row, value in zip(relevance, average_precision(relevance), strict=True):
        least, largest = average_precision_bounds(1 + int(row.argmax()), int(row.sum()), len(row))
        assert least - 1e-9 <= value <= largest + 1e-9


@EVERY_READING
def test_one_query_and_one_sticker_in_a_batch(made):
    """Batches of one conversation with at most one sticker that it was not answered with; a gallery of one."""
    config, features = made
    system = IntRASystem(config.with_changes(batch_size=1, other_stickers=1, epochs=1), features)
    system.fit(features.train, features.valid)
    one = {
        name: type(part)(**{key: value[:1] for key, value in vars(part).items() if value is not None})
        for name, part in (("queries", features.test.queries), ("gallery", features.test.gallery))
    }
    scores = system.score(**one)
    assert scores.shape == (1, 1) and np.isfinite(scores).all()
    whole = system.score(features.test.queries, features.test.gallery)
    assert scores == pytest.approx(whole[:1, :1], abs=1e-6)
    found = system.score(one["queries"], features.test.gallery)
    assert found == pytest.approx(whole[:1], abs=1e-6)


@EVERY_READING
def test_a_data_set_without_any_description(made):
    config, features = made

    def bare(partition):
        nothing = np.zeros_like(partition.gallery.described)
        return dataclasses.replace(partition, gallery=dataclasses.replace(partition.gallery, described=nothing))

    features = dataclasses.replace(features, train=bare(features.train), valid=bare(features.valid))
    system = IntRASystem(config, features)
    system.fit(features.train, features.valid)
    scores = system.score(features.valid.queries, features.valid.gallery)
    plain = IntRASystem(config.with_changes(attributes=""), features)
    names = [name.removeprefix("sticker.") for name, _ in plain.model.named_parameters()]
    assert ATTENTION.isdisjoint(name.removeprefix("regions.") for name in names)
    plain.model.load_state_dict(system.model.state_dict(), strict=False)
    assert plain.score(features.valid.queries, features.valid.gallery) == pytest.approx(scores, abs=1e-6)


def test_gold_reads_the_intentions_of_the_queries(toy, toy_config):
    system = IntRASystem(toy_config.with_changes(query="gold"), toy)
    queries, gallery = toy.test.queries, toy.test.gallery
    scores = system.score(queries, gallery)
    shifted = dataclasses.replace(queries, intentions=(queries.intentions + 1) % 4)
    assert np.abs(system.score(shifted, gallery) - scores).max() > 0.01
    for intention in range(4):
        assert len(np.unique(scores[queries.intentions == intention], axis=0)) == 1


def test_the_default_is_the_first_of_all_choices(toy, toy_config):
    """So that a config that names no reading and one that names the defaults are one model."""
    named = {name: values[0] for name, values in CHOICES.items()}
    one, other = (IntRASystem(config, toy).model for config in (toy_config, toy_config.with_changes(**named)))
    assert one.state_dict().keys() == other.state_dict().keys()
    assert all(torch.equal(one.state_dict()[name], value) for name, value in other.state_dict().items())


def test_readings_share_the_weights_that_they_share(toy, toy_config):
    """A seed draws the same first weights whatever the reading, as far as shapes agree."""
    default = IntRASystem(toy_config, toy).model.state_dict()
    for name, value in READINGS:
        if name in ("query", "relation", "retrieval_loss") and value != "concat":
            other = IntRASystem(toy_config.with_changes(**{name: value}), toy).model.state_dict()
            shared = default.keys() & other.keys()
            assert len(shared) >= 9 and all(torch.equal(default[name], other[name]) for name in shared)


def test_registries_are_the_choices():
    assert tuple(QUERIES) == CHOICES["query"]
    assert tuple(RELATIONS) == CHOICES["relation"]
    assert tuple(HEAD_REDUCTIONS) == CHOICES["head_reduction"]
    assert set(ATTRIBUTE_REDUCTIONS) == set(CHOICES["attribute_reduction"])


def test_the_scale_reaches_its_bound_and_no_further_in_a_training(toy_features, toy_config):
    toy = toy_features(noise=0.05)  # where all positives lie ahead, a larger scale is always better
    config = toy_config.with_changes(retrieval_loss="infonce", query="gold", learning_rate=0.3, epochs=20, patience=20)
    system, used = IntRASystem(config, toy), []
    system.model.retrieval.register_forward_hook(lambda loss, *_: used.append(loss.logit_scale.exp().item()))
    system.fit(toy.train, toy.valid)
    assert used[0] == pytest.approx(1 / 0.07)
    assert max(used) == pytest.approx(100, rel=1e-5)


def test_a_model_needs_no_truth_to_score(inputs):
    torch.manual_seed(2)
    for query in ("label", "straight-through", "teacher", "mixture", "context", "concat"):
        model = IntRA(torch.randn(C, E), W, RunConfig(width=D, heads=H, query=query)).eval()
        cosines, logits = model(torch.randn(B, E), *inputs)
        assert cosines.shape == (B, S) and logits.shape == (B, C)
        assert cosines.abs().max() <= 1 + 1e-6
