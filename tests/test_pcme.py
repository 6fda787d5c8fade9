"""PCME: Gaussians of conversations and stickers, the loss of all pairs, and the log-odds that rank."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence
from torch.nn import functional

from intra.config import RunConfig
from intra.errors import IntraError
from intra.features import Partition
from intra.metrics import rank_candidates
from intra.models.pcme import (
    EPSILON,
    FIRST_LOG_DEVIATION,
    PCME,
    SAMPLES,
    LocalAttention,
    PCMESystem,
    divergence,
    log_probability,
    samples,
    squared_distances,
    uniformity,
)
from intra.planted import planted_features, planted_result

CONFIG = RunConfig.of_profile("smoke", system="pcme", width=64)


@pytest.fixture(scope="module")
def features():
    return planted_features()


@pytest.fixture(scope="module")
def system(features):
    return PCMESystem(CONFIG, features)


@pytest.fixture
def model():
    """With wide Gaussians, in double precision."""
    torch.manual_seed(0)
    made = PCME(5, 4, CONFIG.with_changes(width=16)).double().eval()
    for head in (made.conversation, made.sticker):
        torch.nn.init.constant_(head.deviation_local.bias, -1.0)
    return made


def drawn(model, *counts, number=SAMPLES):
    """Samples of so many unit means each."""
    means = [functional.normalize(torch.randn(count, 16, dtype=torch.float64), dim=1) for count in counts]
    deviations = [torch.randn(count, 16, dtype=torch.float64) - 1 for count in counts]
    draws = torch.randn(2, number, 16, dtype=torch.float64)
    return [samples(each, draws[side]) for side, each in enumerate(zip(means, deviations, strict=True))]


def chance(model, one, other):
    """Probability that two items match, from its definition, sample by sample."""
    total = 0.0
    for z, w in itertools.product(one.tolist(), other.tolist()):
        s = model.shift.item() - model.scale.item() * math.sqrt(math.dist(z, w) ** 2 + 1e-6)
        total += math.exp(s) / (math.exp(s) + math.exp(-s))
    return total / (len(one) * len(other))


def test_probabilities_of_all_pairs_by_hand(model):
    with torch.no_grad():
        model.scale.fill_(1.5)
        model.shift.fill_(3.0)
        spoken, shown = drawn(model, 3, 2)
        closeness, odds = model.closeness(spoken, shown), model.log_odds(spoken, shown)
    for query, sticker in itertools.product(range(3), range(2)):
        p = chance(model, spoken[query], shown[sticker])
        assert log_probability(closeness, 1.0)[query, sticker].exp().item() == pytest.approx(p, rel=1e-9)
        assert log_probability(closeness, -1.0)[query, sticker].exp().item() == pytest.approx(1 - p, rel=1e-9)
        assert odds[query, sticker].item() == pytest.approx(math.log(p / (1 - p)), rel=1e-9)


def test_the_loss_is_the_sum_over_all_pairs_in_both_directions(model):
    with torch.no_grad():
        model.scale.fill_(1.5)
        model.shift.fill_(3.0)
        spoken, shown = drawn(model, 3, 3)
        matches = torch.tensor([[True, False, True], [False, True, False], [True, False, True]])
        loss = model.match_loss(spoken, shown, matches)
    expected = 0.0
    for left, right, table in ((spoken, shown, matches), (shown, spoken, matches.T)):
        for i, j in itertools.product(range(3), range(3)):
            p = chance(model, left[i], right[j])
            expected -= math.log(p if table[i, j] else 1 - p)
    assert loss.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("number", [1, 3, SAMPLES])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_without_deviation_the_number_of_samples_does_not_matter(model, number, sign):
    """The closed form softplus(-2 m (b - a sqrt(d^2 + epsilon)))."""
    means = functional.normalize(torch.randn(2, 4, 16, dtype=torch.float64), dim=2)
    spoken, shown = (mean[:, None].expand(-1, number, -1) for mean in means)
    distances = ((means[0][:, None] - means[1]) ** 2).sum(dim=2) + EPSILON
    expected = functional.softplus(-2 * sign * (model.shift - model.scale * distances.sqrt()))
    made = -log_probability(model.closeness(spoken, shown), sign)
    assert torch.allclose(made, expected, rtol=1e-9, atol=1e-12)


def test_scores_are_the_same_from_either_side(model):
    spoken, shown = drawn(model, 4, 6)
    assert torch.allclose(model.log_odds(spoken, shown), model.log_odds(shown, spoken).T, rtol=1e-10, atol=0)


def test_tiny_deviations_rank_by_the_distance_of_means(features):
    made = PCMESystem(CONFIG, features)
    for head in (made.model.conversation, made.model.sticker):
        torch.nn.init.constant_(head.deviation_local.bias, -30.0)
    queries, gallery = features.test.queries, features.test.gallery
    with torch.inference_mode():
        vectors = torch.from_numpy(queries.parts).float()
        spoken, _ = made.model.conversations(vectors, torch.from_numpy(queries.words) > 0)
        shown, _ = made.model.stickers(
            torch.from_numpy(gallery.region_features), torch.from_numpy(gallery.class_features)
        )
    distances = np.linalg.norm(spoken.numpy()[:, None] - shown.numpy()[None], axis=2)
    order = rank_candidates(made.score(queries, gallery), gallery.ids)
    assert (np.diff(np.take_along_axis(distances, order, axis=1), axis=1) > -1e-5).all()


def test_near_stickers_are_told_apart_where_probabilities_round_to_1():
    model, near = PCME(5, 4, CONFIG), torch.tensor([0.0, 0.01, 0.02])[:, None, None]
    with torch.no_grad():
        odds = model.log_odds(torch.zeros(1, 1, 1), near)[0]
    assert torch.sigmoid(odds).tolist() == [1, 1, 1]
    assert odds[0] > odds[1] > odds[2]


def test_samples_have_the_mean_and_the_deviation(model):
    mean, log_deviation = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    made = samples((mean, log_deviation), torch.randn(2, 200_000, 3, dtype=torch.float64))
    assert torch.allclose(made.mean(dim=1), mean, atol=0.03)
    assert torch.allclose(made.std(dim=1), log_deviation.exp(), rtol=0.02)
    alike = samples((mean, log_deviation), torch.ones(4, 3, dtype=torch.float64))
    assert torch.allclose(alike, (mean + log_deviation.exp())[:, None].expand(-1, 4, -1))


def test_the_divergence_is_that_of_torch():
    torch.manual_seed(0)
    mean, log_deviation = torch.randn(2, 5, 8, dtype=torch.float64)
    unit = Independent(Normal(torch.zeros_like(mean), torch.ones_like(mean)), 1)
    expected = kl_divergence(Independent(Normal(mean, log_deviation.exp()), 1), unit).sum()
    assert divergence((mean, log_deviation)).item() == pytest.approx(expected.item(), rel=1e-12)


def test_uniformity_is_the_log_of_the_mean_potential_of_pairs():
    torch.manual_seed(0)
    points = torch.randn(9, 3, dtype=torch.float64) / 2
    pairs = [math.exp(-2 * math.dist(x, y) ** 2) for x, y in itertools.combinations(points.tolist(), 2)]
    assert uniformity(points).item() == pytest.approx(math.log(sum(pairs) / len(pairs)), rel=1e-9)


def test_squared_distances_are_those_of_torch():
    torch.manual_seed(0)
    left, right = torch.randn(4, 6, dtype=torch.float64), torch.randn(5, 6, dtype=torch.float64)
    assert torch.allclose(squared_distances(left, right), torch.cdist(left, right) ** 2)
    assert (squared_distances(left.float(), left.float()) >= 0).all()


def test_attention_by_hand():
    torch.manual_seed(0)
    attention = LocalAttention(6)
    vectors, present = torch.randn(2, 4, 6), torch.tensor([[True, False, True, True], [False, True, False, False]])
    first, last = attention.logits[0].weight, attention.logits[2].weight
    assert first.shape == (3, 6)
    with torch.no_grad():
        for vector, there, made in zip(vectors, present, attention(vectors, present), strict=True):
            weights = [
                math.exp((last @ torch.tanh(first @ x)).item()) if t else 0.0
                for x, t in zip(vector, there, strict=True)
            ]
            expected = sum(w * x for w, x in zip(weights, vector, strict=True)) / sum(weights)
            assert torch.allclose(made, expected, atol=1e-6)


def test_gaussians_of_conversations_by_hand(model):
    """One by one, without padding, as the two formulas say."""
    words = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    present = torch.zeros(2, 3, 4, dtype=torch.bool)
    for query, counts in enumerate([(2, 4, 1), (3, 0, 0)]):
        for turn, count in enumerate(counts):
            present[query, turn, :count] = True
    words[~present] = 0
    head = model.conversation
    with torch.no_grad():
        means, log_deviations = model.conversations(words, present)
        for query, turns in enumerate([3, 1]):
            said = words[query][present[query]][None]
            everywhere = torch.ones(said.shape[:2], dtype=torch.bool)
            utterances = torch.stack([words[query, turn][present[query, turn]].mean(dim=0) for turn in range(turns)])
            states, other = (base.gru(utterances[None])[1].flatten() for base in (head.mean_base, head.deviation_base))
            mean = head.norm(states + torch.sigmoid(head.mean_local(head.mean_attention(said, everywhere)[0])))
            assert torch.allclose(means[query], mean / mean.norm())
            attended = head.deviation_local(head.deviation_attention(said, everywhere)[0])
            assert torch.allclose(log_deviations[query], other + attended)


def test_means_have_unit_length_and_deviations_start_small(system, features):
    gallery = features.train.gallery
    with torch.no_grad():
        mean, log_deviation = system.model.stickers(
            torch.from_numpy(gallery.region_features), torch.from_numpy(gallery.class_features)
        )
    assert torch.allclose(mean.norm(dim=1), torch.ones(len(mean)), atol=1e-5)
    assert log_deviation.mean().item() == pytest.approx(FIRST_LOG_DEVIATION, abs=0.5)


@pytest.mark.parametrize("supervision", ["sticker", "intention"])
def test_gradients_reach_every_parameter(supervision, features):
    made = PCMESystem(CONFIG.with_changes(supervision=supervision, epochs=1), features)
    before = {name: parameter.clone() for name, parameter in made.model.named_parameters()}
    draws = made.model.draws.clone()
    made.fit(first_of(features.train, 16), first_of(features.valid, 16))
    assert all(not torch.equal(parameter, before[name]) for name, parameter in made.model.named_parameters())
    assert torch.equal(made.model.draws, draws)


def test_an_odd_width_is_one_line():
    with pytest.raises(IntraError, match=r"width is 7, expected an even number \(system pcme\)"):
        PCME(5, 4, CONFIG.with_changes(width=7, heads=1))


def first_of(partition, count) -> Partition:
    """The first queries, and the stickers that they were answered with: these alone are right."""
    rows, columns = slice(count), np.unique(partition.queries.stickers[:count])
    queries, gallery = partition.queries, partition.gallery
    own = np.searchsorted(columns, queries.stickers[rows])
    few = replace(
        queries,
        ids=queries.ids[rows],
        intentions=queries.intentions[rows],
        stickers=own,
        parts=queries.parts[rows],
        words=queries.words[rows],
        speakers=queries.speakers[rows],
    )
    return Partition(few, some_stickers(gallery, columns), own[:, None] == np.arange(len(columns)))


def some_stickers(gallery, columns):
    names = ("region_features", "description_features", "described", "intentions", "class_features", "joint_features")
    arrays = {name: getattr(gallery, name)[columns] for name in names}
    return replace(gallery, ids=tuple(gallery.ids[column] for column in columns), **arrays)


def test_no_score_depends_on_the_order_or_choice_of_stickers(system, features):
    queries, gallery = features.test.queries, features.test.gallery
    scores = system.score(queries, gallery)
    assert scores.shape == (150, 400) and scores.dtype == np.float32
    shuffled = np.random.default_rng(0).permutation(400)
    for columns in (shuffled, shuffled[:3]):
        assert system.score(queries, some_stickers(gallery, columns)) == pytest.approx(scores[:, columns], abs=1e-3)


def test_no_score_depends_on_batches_or_padding(system, features):
    queries, gallery = features.test.queries, features.test.gallery
    words, parts = queries.words.copy(), queries.parts.copy()
    for query in range(0, 150, 2):  # conversations of unequal length
        words[query, 2:], words[query, 1, 3:] = 0, 0
    parts[words == 0] = 0
    ragged = replace(queries, words=words, parts=parts)
    scores = system.score(ragged, gallery)
    one_by_one = PCMESystem(CONFIG.with_changes(batch_size=1), features)
    assert one_by_one.score(ragged, gallery) == pytest.approx(scores, abs=1e-3)
    more = replace(
        ragged,
        words=np.pad(words, ((0, 0), (0, 2), (0, 5))),
        parts=np.pad(parts, ((0, 0), (0, 2), (0, 5), (0, 0))),
    )
    assert system.score(more, gallery) == pytest.approx(scores, abs=1e-3)
    assert np.abs(scores - system.score(queries, gallery)).max() > 0.1  # the words do count


def test_it_learns_32_conversations_by_heart(features):
    few = first_of(features.train, 32)
    made = PCMESystem(CONFIG.with_changes(batch_size=32, epochs=40, patience=40), features)
    made.fit(few, few)
    best = made.score(few.queries, few.gallery).argmax(axis=1)
    assert (best == few.queries.stickers).mean() >= 0.95


def test_the_same_seed_gives_the_same_scores_and_weights_are_kept(features, tmp_path):
    few, valid = first_of(features.train, 64), first_of(features.valid, 32)
    config = CONFIG.with_changes(epochs=2)
    made = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(made))  # the state outside does not matter
        system = PCMESystem(config.with_changes(seed=seed), features)
        system.fit(few, valid)
        made.append(system)
    one, same, other = (system.score(valid.queries, valid.gallery) for system in made)
    assert np.array_equal(one, same)
    assert not np.allclose(one, other, atol=0.1)
    made[0].save(tmp_path / "weights.safetensors")
    made[2].load(tmp_path / "weights.safetensors")  # with the draws that it ranked with
    assert np.array_equal(made[2].score(valid.queries, valid.gallery), one)


@pytest.mark.parametrize(("supervision", "hit1", "precision"), [("sticker", 97, 88), ("intention", 100, 98)])
def test_it_learns_the_planted_rule(supervision, hit1, precision, features):
    result = planted_result(PCMESystem, CONFIG.with_changes(supervision=supervision, epochs=6), features)
    assert result["hit1"] >= hit1
    assert result["mAP"] >= precision
