"""Int-RA: every part against plain loops, the properties the specification promises, and the system interface."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from intra.config import RunConfig
from intra.errors import IntraError
from intra.losses import intention_loss
from intra.metrics import rank_candidates
from intra.models import SYSTEMS
from intra.models.int_ra import IntRA, IntRASystem
from intra.models.intention import IntentionPredictor, LabelQuery
from intra.models.relation import RelationAwareSticker

pytest_plugins = ["helpers"]

S, A, P, E, W, D, H, C = 3, 4, 5, 8, 6, 12, 3, 4  # stickers, attributes, regions, widths e, w and d, heads, intentions
READING = RunConfig(width=D, heads=H)
LEARNED = {
    "intention.classifier.weight",
    "intention.classifier.bias",
    "query.projection.weight",
    "sticker.f_vis.weight",
    "sticker.f_vis.bias",
    "sticker.f_des.weight",
    "sticker.f_des.bias",
    "sticker.query.weight",
    "sticker.key.weight",
}


@pytest.fixture
def sticker():
    torch.manual_seed(3)
    return RelationAwareSticker(E, W, READING)


@pytest.fixture
def model():
    torch.manual_seed(4)
    return IntRA(torch.randn(C, E), W, READING)


@pytest.fixture
def inputs():
    """Descriptions (S, A, E), which of them count (S, A), and regions (S, P, W)."""
    torch.manual_seed(5)
    described = torch.tensor([[True, True, True, True], [True, False, True, False], [False, False, False, True]])
    return torch.randn(S, A, E), described, torch.randn(S, P, W)


@pytest.fixture
def texts():
    torch.manual_seed(6)
    return torch.randn(7, E)


def matvec(matrix, vector, bias=None):
    """Matrix times vector (plus bias) by loops."""
    rows = [sum(m * v for m, v in zip(row, vector, strict=True)) for row in matrix.tolist()]
    return rows if bias is None else [r + b for r, b in zip(rows, bias.tolist(), strict=True)]


def attention_by_loops(sticker, descriptions, regions):
    """Eq. 10-11 for one sticker, H^A (A, e) and H^I (P, w) given: one row of weights an attribute."""
    k = D // H
    h_descriptions = [matvec(sticker.f_des.weight, v, sticker.f_des.bias) for v in descriptions.tolist()]
    h_regions = [matvec(sticker.f_vis.weight, v, sticker.f_vis.bias) for v in regions.tolist()]
    queries = [matvec(sticker.query.weight, vector) for vector in h_descriptions]
    keys = [matvec(sticker.key.weight, vector) for vector in h_regions]
    rows = []
    for query in queries:
        mean = [0.0] * len(keys)
        for head in range(H):
            part = slice(head * k, (head + 1) * k)
            logits = [sum(q * x for q, x in zip(query[part], key[part], strict=True)) / math.sqrt(k) for key in keys]
            powers = [math.exp(logit) for logit in logits]
            for p, power in enumerate(powers):
                mean[p] += power / sum(powers) / H
        rows.append(mean)
    return rows


def scores_by_loops(rows, described):
    """The largest weight over the attributes that a sticker has, scaled to sum 1."""
    if not any(described):
        return [1 / len(rows[0])] * len(rows[0])
    largest = [max(row[p] for row, counts in zip(rows, described, strict=True) if counts) for p in range(len(rows[0]))]
    return [value / sum(largest) for value in largest]


def sticker_by_loops(sticker, descriptions, described, regions):
    """Unit vector and relation scores of one sticker (Eq. 10-12)."""
    h_regions = [matvec(sticker.f_vis.weight, v, sticker.f_vis.bias) for v in regions.tolist()]
    rows = attention_by_loops(sticker, descriptions, regions)
    scores = scores_by_loops(rows, described.tolist())
    pooled = [sum(m * region[i] for m, region in zip(scores, h_regions, strict=True)) for i in range(D)]
    norm = math.sqrt(sum(x * x for x in pooled))
    return [x / norm for x in pooled], scores


def seen(sticker, inputs):
    """Unit vectors and relation scores."""
    return sticker(*inputs), sticker.maps(*inputs)["relation_scores"]


# Relation-aware stickers


def test_attention_against_loops(sticker, inputs):
    """The code projects descriptions to the regions, the loops regions to the common space, bias included."""
    descriptions, _, regions = inputs
    attention = sticker.weights(descriptions, regions)
    expected = [attention_by_loops(sticker, d, r) for d, r in zip(descriptions, regions, strict=True)]
    assert attention.shape == (S, A, P)
    assert attention.detach().numpy() == pytest.approx(np.array(expected), abs=1e-5)
    assert attention.sum(dim=2).detach().numpy() == pytest.approx(1, abs=1e-6)


def test_attention_by_hand():
    # d = 2, one head, all matrices the identity; description (sqrt 2 * log 3, 0), regions (1, 0) and (0, 1):
    # logits (log 3, 0) after the division by sqrt 2, so the weights are (3/4, 1/4). A bias of f_vis changes nothing.
    sticker = RelationAwareSticker(2, 2, RunConfig(width=2, heads=1))
    with torch.no_grad():
        for part in (sticker.query, sticker.key, sticker.f_des, sticker.f_vis):
            part.weight.copy_(torch.eye(2))
        sticker.f_des.bias.zero_()
        sticker.f_vis.bias.copy_(torch.tensor([5.0, -3.0]))
    descriptions = torch.tensor([[[math.sqrt(2) * math.log(3), 0.0]]])
    attention = sticker.weights(descriptions, torch.eye(2)[None])
    assert attention.flatten().tolist() == pytest.approx([0.75, 0.25])


def test_relation_scores_by_hand(sticker):
    attention = torch.tensor([[[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]]] * 2 + [[[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]] * 2)
    described = torch.tensor([[True, True], [True, False], [True, False], [False, False]])
    # Both attributes: the maxima are 0.6, 0.3, 0.6, which sum to 1.5. The first alone: its row as it is.
    expected = np.array([[0.4, 0.2, 0.4], [0.6, 0.3, 0.1], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    assert sticker.relation_scores(attention, described).numpy() == pytest.approx(expected)


def test_relation_scores_against_loops(sticker, inputs):
    torch.manual_seed(8)
    attention = torch.randn(S, A, P).softmax(dim=2)
    scores = sticker.relation_scores(attention, inputs[1])
    expected = [scores_by_loops(rows.tolist(), d.tolist()) for rows, d in zip(attention, inputs[1], strict=True)]
    assert scores.numpy() == pytest.approx(np.array(expected), abs=1e-5)
    assert scores.sum(dim=1).numpy() == pytest.approx(1, abs=1e-6)


def test_sticker_against_loops(sticker, inputs):
    descriptions, described, regions = inputs
    vectors, scores = seen(sticker, inputs)
    for s in range(S):
        vector, relation = sticker_by_loops(sticker, descriptions[s], described[s], regions[s])
        assert vectors[s].tolist() == pytest.approx(vector, abs=1e-5)
        assert scores[s].tolist() == pytest.approx(relation, abs=1e-5)


def test_without_any_description_regions_count_equally(sticker, inputs):
    descriptions, _, regions = inputs
    vectors, scores = seen(sticker, (descriptions, torch.zeros(S, A, dtype=torch.bool), regions))
    assert scores.detach().numpy() == pytest.approx(1 / P)
    mean = nn.functional.normalize(sticker.f_vis(regions).mean(dim=1), dim=1)
    assert vectors.detach().numpy() == pytest.approx(mean.detach().numpy(), abs=1e-6)


def test_one_region_makes_attributes_irrelevant(sticker, inputs):
    descriptions, described, regions = inputs
    vectors, scores = seen(sticker, (descriptions, described, regions[:, :1]))
    others = sticker(100 * torch.randn_like(descriptions), ~described, regions[:, :1])
    assert torch.equal(scores, torch.ones(S, 1))
    assert vectors.detach().numpy() == pytest.approx(others.detach().numpy(), abs=1e-6)


def test_descriptions_do_matter(sticker, inputs):
    """Without this, the tests of irrelevance would pass for a model that reads no description."""
    descriptions, described, regions = inputs
    others = sticker(descriptions.flip(-1), described, regions)
    assert (sticker(*inputs) - others).abs().amax(dim=1).min() > 1e-3


def test_undescribed_attributes_have_no_influence(sticker, inputs):
    descriptions, described, regions = inputs
    descriptions.requires_grad_()
    vectors, scores = seen(sticker, inputs)
    vectors[:, 0].sum().backward()
    assert torch.equal(descriptions.grad.any(dim=2), described)
    changed = torch.where(described[..., None], descriptions, 50 * torch.randn_like(descriptions))
    others = seen(sticker, (changed, described, regions))
    assert torch.equal(vectors, others[0]) and torch.equal(scores, others[1])


def test_order_of_attributes_and_of_stickers_does_not_matter(sticker, inputs):
    descriptions, described, regions = inputs
    vectors = sticker(*inputs)
    others = sticker(descriptions.flip(1), described.flip(1), regions)
    assert others.detach().numpy() == pytest.approx(vectors.detach().numpy(), abs=1e-6)
    alone = torch.cat([sticker(descriptions[s : s + 1], described[s : s + 1], regions[s : s + 1]) for s in range(S)])
    assert alone.detach().numpy() == pytest.approx(vectors.detach().numpy(), abs=1e-6)


# Intentions and queries


def test_intention_logits_against_loops(texts):
    torch.manual_seed(9)
    predictor = IntentionPredictor(E, C)
    weight, bias = predictor.classifier.weight, predictor.classifier.bias
    expected = np.array([matvec(weight, text, bias) for text in texts.tolist()])
    assert predictor(texts).detach().numpy() == pytest.approx(expected, abs=1e-5)


def test_label_query_is_the_projected_label_of_the_likeliest_intention():
    torch.manual_seed(10)
    labels = torch.randn(C, E)
    query = LabelQuery(labels, D)
    vectors = query(torch.zeros(2, E), torch.tensor([[0.1, 0.9, 0.2, 0.0], [2.0, -1.0, 1.9, 0.0]]), None)
    for vector, likeliest in zip(vectors, (1, 0), strict=True):
        projected = matvec(query.projection.weight, labels[likeliest].tolist())
        norm = math.sqrt(sum(x * x for x in projected))
        assert vector.tolist() == pytest.approx([x / norm for x in projected], abs=1e-5)


def test_label_query_gives_at_most_one_ranking_an_intention(model, inputs):
    torch.manual_seed(11)
    cosines, logits = model(torch.randn(200, E), *inputs)
    orders = rank_candidates(cosines.detach().numpy(), [f"s{n}" for n in range(S)])
    assert len(np.unique(orders, axis=0)) <= C
    assert len(logits.unique(dim=0)) == 200
    for intention in logits.argmax(dim=1).unique():
        assert len(cosines[logits.argmax(dim=1) == intention].unique(dim=0)) == 1


# The whole model


def test_forward_is_the_explicit_cosine(model, inputs, texts):
    cosines, logits = model(texts, *inputs)
    assert cosines.shape == (7, S) and logits.shape == (7, C)
    assert cosines.abs().max() <= 1 + 1e-6
    stickers = [sticker_by_loops(model.sticker, *one)[0] for one in zip(*inputs, strict=True)]
    for b, text in enumerate(texts.tolist()):
        z = matvec(model.intention.classifier.weight, text, model.intention.classifier.bias)
        label = model.query.label_features[z.index(max(z))].tolist()
        query = matvec(model.query.projection.weight, label)
        norm = math.sqrt(sum(x * x for x in query))
        expected = [sum(q * r for q, r in zip(query, sticker, strict=True)) / norm for sticker in stickers]
        assert cosines[b].tolist() == pytest.approx(expected, abs=1e-5)


def gradients(model, toy, retrieval=True, intention=True):
    """Gradient of the loss on the toy training split, by parameter name."""
    model.zero_grad()
    train = toy.train
    gallery = (train.gallery.description_features, train.gallery.described, train.gallery.region_features)
    cosines, logits = model(torch.from_numpy(train.queries.text_features), *map(torch.from_numpy, gallery))
    positives, negatives = torch.from_numpy(train.queries.stickers), torch.from_numpy(~train.relevant)
    loss = 0
    if retrieval:
        loss = loss + model.retrieval(cosines, positives, negatives)
    if intention:
        loss = loss + intention_loss(logits, torch.from_numpy(train.queries.intentions))
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters()}


def test_gradients_reach_every_learned_parameter(toy):
    torch.manual_seed(0)
    model = IntRA(torch.from_numpy(toy.label_features), 6, READING)
    found = gradients(model, toy)
    assert found.keys() == LEARNED
    assert all(gradient.abs().max() > 1e-6 for gradient in found.values())
    assert not model.query.label_features.requires_grad and model.query.label_features.grad is None


def test_each_loss_reaches_its_own_half(toy):
    torch.manual_seed(0)
    model = IntRA(torch.from_numpy(toy.label_features), 6, READING)
    classifier = {"intention.classifier.weight", "intention.classifier.bias"}
    by_retrieval = gradients(model, toy, intention=False)
    assert {name for name, gradient in by_retrieval.items() if gradient is not None} == LEARNED - classifier
    by_intention = gradients(model, toy, retrieval=False)
    assert {name for name, gradient in by_intention.items() if gradient is not None} == classifier


# The system


def taken(part, rows):
    """Some queries or stickers."""
    kept = {name: value for name, value in vars(part).items() if value is not None and not name.startswith("masked")}
    return type(part)(**{name: value[rows] for name, value in kept.items()})


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize(("queries", "stickers"), [(24, 12), (1, 12), (24, 1), (1, 1)])
def test_every_system_scores_any_number(name, queries, stickers, toy, toy_config, toy_features):
    system = SYSTEMS[name](toy_config.with_changes(system=name, epochs=1, heads=2), toy)
    system.fit(toy.train, toy.valid)
    other = toy_features(1, queries=queries, stickers=max(2, stickers)).test
    gallery = other.gallery
    if stickers == 1:
        gallery = taken(gallery, slice(0, 1))
    scores = system.score(other.queries, gallery)
    assert scores.shape == (queries, stickers)
    assert np.isfinite(scores).all()
    if name != "released":  # which ranks in random directions, other ones at every call
        assert np.array_equal(scores, system.score(other.queries, gallery))


def test_scores_do_not_depend_on_company(toy, toy_config):
    """A query's scores are the same alone, and a sticker's are the same in a smaller gallery."""
    system = IntRASystem(toy_config, toy)
    queries, gallery = toy.test.queries, toy.test.gallery
    whole = system.score(queries, gallery)
    one, few = taken(queries, slice(3, 4)), taken(gallery, slice(2, 5))
    assert system.score(one, few) == pytest.approx(whole[3:4, 2:5], abs=1e-6)


@pytest.mark.parametrize("trained", [False, True])
def test_labels_are_not_read_in_scoring(trained, toy, toy_config):
    """What a query meant, what was sent and what stickers are sent for: none of it can reach a score."""
    system = IntRASystem(toy_config, toy)
    if trained:
        system.fit(toy.train, toy.valid)
    queries, gallery = toy.test.queries, toy.test.gallery
    scores, details = system.score(queries, gallery), system.details(queries, gallery)
    rng = np.random.default_rng(0)
    scrambled = dataclasses.replace(
        queries, intentions=rng.permutation(queries.intentions), stickers=rng.permutation(queries.stickers)
    )
    relabelled = dataclasses.replace(gallery, intentions=rng.random(gallery.intentions.shape) < 0.5)
    assert not np.array_equal(scrambled.intentions, queries.intentions)
    assert not np.array_equal(scrambled.stickers, queries.stickers)
    assert not np.array_equal(relabelled.intentions, gallery.intentions)
    assert np.array_equal(system.score(scrambled, relabelled), scores)
    found = system.details(scrambled, relabelled)
    assert found.keys() == details.keys()
    assert all(np.array_equal(found[name], details[name]) for name in details)


def test_saved_weights_give_identical_scores(toy, toy_config, tmp_path):
    system = IntRASystem(toy_config, toy)
    system.fit(toy.train, toy.valid)
    system.save(tmp_path / "weights.safetensors")
    other = IntRASystem(toy_config.with_changes(seed=9), toy)
    before = other.score(toy.test.queries, toy.test.gallery)
    other.load(tmp_path / "weights.safetensors")
    expected = system.score(toy.test.queries, toy.test.gallery)
    assert not np.array_equal(before, expected)
    assert np.array_equal(other.score(toy.test.queries, toy.test.gallery), expected)
    for name, array in system.details(toy.test.queries, toy.test.gallery).items():
        assert np.array_equal(other.details(toy.test.queries, toy.test.gallery)[name], array)


@pytest.mark.parametrize("fault", ["missing", "junk", "cut", "a folder", "other width", "other parts"])
def test_weights_that_do_not_fit_are_one_line(fault, toy, toy_config, tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "weights.safetensors"
    system = IntRASystem(toy_config, toy)
    expected = "weights.safetensors: does not fit this config: "
    if fault == "junk":
        path.write_bytes(b"no weights at all")
    elif fault == "cut":
        system.save(path)
        path.write_bytes(path.read_bytes()[:-40])
    elif fault == "a folder":
        path.mkdir()
    elif fault == "other width":
        IntRASystem(toy_config.with_changes(width=32), toy).save(path)
        expected += ".*size mismatch for sticker"
    elif fault == "other parts":
        save_file({"elsewhere": torch.zeros(2)}, path)
        expected += ".*elsewhere"
    with pytest.raises(IntraError, match=expected) as caught:
        system.load(path)
    assert "\n" not in str(caught.value)


def test_details_are_what_the_scores_come_from(toy, toy_config):
    system = IntRASystem(toy_config, toy)
    system.fit(toy.train, toy.valid)
    gallery = toy.test.gallery
    details = system.details(toy.test.queries, gallery)
    assert {name: array.shape for name, array in details.items()} == {
        "intention_probabilities": (24, 4),
        "attention": (12, 4, 5),
        "relation_scores": (12, 5),
    }
    assert details["intention_probabilities"].sum(axis=-1) == pytest.approx(1, abs=1e-5)
    assert details["relation_scores"].sum(axis=-1) == pytest.approx(1, abs=1e-5)
    assert details["attention"].sum(axis=-1) == pytest.approx(gallery.described.astype(float), abs=1e-5)
    for s in range(12):
        expected = scores_by_loops(details["attention"][s].tolist(), gallery.described[s].tolist())
        assert details["relation_scores"][s].tolist() == pytest.approx(expected, abs=1e-5)
    # relation scores and label queries give back the ranking
    model = system.model
    regions = model.sticker.f_vis(torch.from_numpy(gallery.region_features)).detach().numpy()
    stickers = np.stack([scores @ r for scores, r in zip(details["relation_scores"], regions, strict=True)])
    stickers /= np.linalg.norm(stickers, axis=1, keepdims=True)
    labels = toy.label_features[details["intention_probabilities"].argmax(axis=1)]
    queries = labels @ model.query.projection.weight.detach().numpy().T
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    assert system.score(toy.test.queries, gallery) == pytest.approx(queries @ stickers.T, abs=1e-5)


def test_first_weights_depend_on_the_seed_alone(toy, toy_config):
    torch.manual_seed(1)
    one = IntRASystem(toy_config, toy).model.state_dict()
    torch.manual_seed(2)
    before = torch.get_rng_state()
    two = IntRASystem(toy_config, toy).model.state_dict()
    assert torch.equal(before, torch.get_rng_state())  # nobody else's random numbers are used up
    other = IntRASystem(toy_config.with_changes(seed=1), toy).model.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in LEARNED)
