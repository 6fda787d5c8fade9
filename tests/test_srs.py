"""SRS: what words and regions weigh, turns, negatives, classes, and planted data."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from intra.config import RunConfig
from intra.errors import IntraError
from intra.features import Partition
from intra.models.srs import (
    ABSENT,
    SRS,
    UNKNOWN,
    Layout,
    PeakWeights,
    SRSSystem,
    Turns,
    class_loss,
    negatives,
    ranking_loss,
    sticker_labels,
)
from intra.planted import planted_features, planted_result


def config(**changes):
    return RunConfig.of_profile("mini", system="srs", **{"epochs": 8, "width": 128, **changes})


def few(partition, queries=6, stickers=None) -> Partition:
    """The first queries of a partition, as they are, against the first stickers."""
    told, shown = partition.queries, partition.gallery
    kept = {name: getattr(told, name)[:queries] for name in ("ids", "intentions", "stickers", "parts", "words")}
    gallery = replace(
        shown,
        **{
            name: getattr(shown, name)[:stickers]
            for name in ("ids", "region_features", "class_features", "joint_features", "intentions")
        },
    )
    return Partition(replace(told, **kept), gallery, partition.relevant[:queries, :stickers])


def model(seed=0, labels=3) -> SRS:
    torch.manual_seed(seed)
    return SRS(6, 5, 7, labels, 8).eval()


def conversations(lengths, stickers=4, seed=0):
    """Words of given numbers an utterance, 0 for none, and stickers of one gallery for all: what `SRS` reads."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor(lengths)
    present = torch.arange(int(lengths.max())) < lengths[..., None]
    words = torch.randn(*present.shape, 6, generator=generator) * present[..., None]
    regions, pooled = (torch.randn(stickers, *shape, generator=generator) for shape in ((3, 5), (7,)))
    return words, present, regions.expand(len(lengths), -1, -1, -1), pooled.expand(len(lengths), -1, -1)


def plain_features(srs, words, present, regions, vectors):
    """What `SRS.interact` says it makes, one sticker, utterance, word and region after the other."""
    made = torch.zeros(*regions.shape[:2], present.shape[1], 5 * 16)
    for b, c, u in np.ndindex(*made.shape[:3]):
        said = srs.words(words[b, u][present[b, u]])
        if not len(said):
            continue
        shown, g = srs.regions(regions[b, c]), vectors[b, c]
        logits = shown @ said.T / math.sqrt(16)
        context = sum(logits.softmax(1)[:, w].max() * said[w] for w in range(len(said))) / len(said)
        seen = sum(logits.softmax(0)[p].max() * shown[p] for p in range(len(shown))) / len(shown)
        made[b, c, u] = torch.cat([context + g, context * g, context, g, seen])
    return made


def test_the_layout_holds_every_word_once_and_little_else():
    _, present, _, _ = conversations([[2, 5, 0], [1, 1, 4]])
    numbers = torch.arange(present.numel()).view(present.shape)
    layout = Layout.of(present)
    taken = layout.take(numbers)
    assert layout.widths == [5, 2, 1]
    assert taken.shape == (2, 8)
    for own, there, whole, which in zip(taken, layout.take(present), numbers, present, strict=True):
        assert sorted(own[there].tolist()) == whole[which].tolist()
    assert layout.turns.tolist() == [[1, 0, 2], [1, 2, 0]]


def test_what_a_turn_and_a_sticker_make_equals_a_plain_loop():
    srs = model()
    words, present, regions, pooled = conversations([[2, 5, 3], [4, 1, 0]])
    vectors = srs.pooled(pooled)
    made = srs.interact(words, present, regions, vectors)
    there = present.any(dim=2)[:, None].expand(made.shape[:3])
    assert torch.allclose(made[there], plain_features(srs, words, present, regions, vectors)[there], atol=1e-6)


def test_gradients_of_the_weights_are_those_of_autograd():
    torch.manual_seed(0)
    widths, present = [3, 2], torch.tensor([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]], dtype=torch.bool)
    logits = torch.randn(2, 5, 4, 6, dtype=torch.float64).masked_fill(~present[..., None, None], ABSENT)
    logits.requires_grad_()
    parts = logits.split(widths, dim=1)
    words = torch.cat([part.softmax(1).amax(3) for part in parts], dim=1)
    masked = (logits.softmax(3) * present[..., None, None]).split(widths, dim=1)
    regions = torch.stack([part.amax(1) for part in masked], dim=1)
    weights = torch.randn_like(words) * present[..., None], torch.randn_like(regions)
    made = PeakWeights.apply(logits, present, widths)
    assert torch.allclose(made[0], words) and torch.allclose(made[1], regions)
    (expected,) = torch.autograd.grad((words * weights[0]).sum() + (regions * weights[1]).sum(), logits)
    (given,) = torch.autograd.grad((made[0] * weights[0]).sum() + (made[1] * weights[1]).sum(), logits)
    assert torch.allclose(given, expected, atol=1e-12)
    assert expected.abs().max() > 0.05


def test_the_ranking_loss_equals_a_triple_loop():
    torch.manual_seed(0)
    scores = torch.randn(4, 5)
    terms = [max(0.0, 1 - float(row[0] - row[other])) for row in scores for other in range(1, 5)]
    assert ranking_loss(scores).item() == pytest.approx(sum(terms) / len(terms), abs=1e-6)
    assert 0 in terms and max(terms) > 1


def test_the_loss_of_classes_by_hand():
    """One of two classes with odds of e to 1, labels smoothed to 0.95 and 0.05; the second sticker has no class."""
    logits, labels = torch.tensor([[[1.0, 0.0], [5.0, 0.0]]]), torch.tensor([[0, UNKNOWN]])
    shares = [math.e / (math.e + 1), 1 / (math.e + 1)]
    assert class_loss(logits, labels).item() == pytest.approx(
        -0.95 * math.log(shares[0]) - 0.05 * math.log(shares[1]), abs=1e-6
    )


def test_scores_follow_the_candidates_and_not_the_padding():
    srs = model()
    words, present, regions, pooled = conversations([[2, 5, 3], [4, 1, 0]])
    with torch.no_grad():
        scores = srs(words, present, regions, pooled)[0]
        order = torch.tensor([2, 0, 3, 1])
        turned = srs(words, present, regions[:, order], pooled[:, order])[0]
        padding = (0, 0, 0, 3, 0, 2)
        longer, there = functional.pad(words, padding, value=9.0), functional.pad(present, padding[2:])
        padded = srs(longer, there, regions, pooled)[0]
        alone = srs(words[1:, :2, :4], present[1:, :2, :4], regions[1:], pooled[1:])[0]
        same = srs(words, present, regions[:, [0, 0]], pooled[:, [0, 0]])[0]
    assert scores.std() > 1e-3
    assert torch.allclose(turned, scores[:, order], atol=1e-6)
    assert torch.allclose(padded, scores, atol=1e-6)
    assert torch.allclose(alone, scores[1:], atol=1e-6)
    assert torch.allclose(same[:, 0], same[:, 1], atol=1e-6)


def test_the_order_of_utterances_counts():
    srs = model()
    words, present, regions, pooled = conversations([[3, 3, 3]])
    with torch.no_grad():
        one, other = (srs(words[:, order], present, regions, pooled)[0] for order in ([0, 1, 2], [2, 1, 0]))
    assert (one - other).abs().max() > 1e-4


def test_one_turn_recalls_itself_and_more_are_weighed():
    torch.manual_seed(0)
    turns = Turns(5, 8).eval()
    short, long = torch.randn(2, 2, 3, 8)
    with torch.no_grad():
        one = turns.recall(short, long, torch.tensor([[True, False, False]] * 2))
        assert torch.allclose(one, short[:, :1].expand(-1, 3, -1), atol=1e-6)
        two = turns.recall(short, long, torch.tensor([[True, True, False]] * 2))
        logits = long @ (short[:, :2] @ turns.bilinear.weight.T).mT
    assert torch.allclose(two, logits.softmax(dim=2) @ short[:, :2], atol=1e-6)


@pytest.mark.parametrize("supervision", ["sticker", "intention"])
def test_negatives_are_what_the_supervision_allows(supervision):
    train = few(planted_features().train, 30)
    sent, meant = train.queries.stickers, train.gallery.intentions.argmax(axis=1)
    wrong = negatives(train, supervision)
    for query, sticker in np.ndindex(*wrong.shape):
        expected = sticker != sent[query]
        if supervision == "intention":
            expected = meant[sticker] != train.queries.intentions[query]
        assert wrong[query, sticker] == expected


def test_a_conversation_without_negatives_is_one_line():
    features = planted_features()
    train = replace(features.train, relevant=np.ones_like(features.train.relevant))
    system = SRSSystem(config(supervision="intention"), features)
    with pytest.raises(IntraError, match="train-q0000: no training sticker is wrong for it: supervision 'intention'"):
        system.fit(train, features.valid)


def test_classes_are_clusters_or_the_commonest_intention():
    train = planted_features().train
    clusters = sticker_labels(train, "sticker", 0)
    assert clusters.unique().tolist() == list(range(25))
    vectors = torch.from_numpy(train.gallery.joint_features)
    centres = torch.stack([vectors[clusters == number].mean(dim=0) for number in range(25)])
    assert torch.equal(torch.cdist(vectors, centres).argmin(dim=1), clusters)
    queries = replace(train.queries, stickers=np.array([0, 0, 0, 2]), intentions=np.array([3, 5, 5, 1]))
    told = sticker_labels(replace(train, queries=queries), "intention", 0)
    assert told[:4].tolist() == [5, UNKNOWN, 1, UNKNOWN]


def test_at_first_only_the_classifiers_learn():
    features = planted_features()
    features = replace(features, train=few(features.train, 64), valid=few(features.valid, 4))
    system = SRSSystem(config(epochs=1), features)
    before = {name: value.clone() for name, value in system.model.state_dict().items()}
    history = system.fit(features.train, features.valid).history
    changed = {name for name, value in system.model.state_dict().items() if not torch.equal(value, before[name])}
    classifiers = {f"{layer}.{part}" for layer in ("label", "regions_label") for part in ("weight", "bias")}
    assert changed == classifiers | {"pooled.1.weight", "regions.weight"}
    assert history[0]["ranking"] == 0
    system = SRSSystem(config(epochs=2, patience=2), features)
    assert system.fit(features.train, features.valid).history[1]["ranking"] > 0


def test_systems_of_one_seed_are_the_same_and_so_are_saved_ones(tmp_path):
    features = planted_features()
    features = replace(features, train=few(features.train, 128), valid=few(features.valid, 4))
    test = few(features.test, stickers=150)
    first, second, other = (SRSSystem(config(epochs=2, seed=seed), features) for seed in (0, 0, 1))
    for system in (first, second, other):
        system.fit(features.train, features.valid)
    scores = first.score(test.queries, test.gallery)
    assert scores.dtype == np.float32 and scores.shape == (6, 150)
    assert np.array_equal(second.score(test.queries, test.gallery), scores)
    assert not np.allclose(other.score(test.queries, test.gallery), scores)
    first.save(tmp_path / "weights.safetensors")
    again = SRSSystem(config(seed=1), features)
    again.load(tmp_path / "weights.safetensors")
    assert np.array_equal(again.score(test.queries, test.gallery), scores)
    part = few(features.test, queries=2, stickers=140)
    assert np.allclose(again.score(part.queries, part.gallery), scores[:2, :140], atol=1e-6)


def test_it_learns_thirty_two_conversations_by_heart():
    train = few(planted_features().train, 32)
    own, columns = np.unique(train.queries.stickers, return_inverse=True)
    shown = train.gallery
    gallery = replace(
        shown,
        ids=tuple(shown.ids[column] for column in own),
        **{name: getattr(shown, name)[own] for name in ("region_features", "joint_features", "intentions")},
    )
    sent = columns[:, None] == np.arange(len(own))  # the best epoch is to be the one that finds the very sticker
    train = Partition(replace(train.queries, stickers=columns), gallery, sent)
    features = replace(planted_features(), train=train, valid=train)
    system = SRSSystem(config(epochs=60, patience=60, batch_size=16), features)
    system.fit(train, train)
    assert (system.score(train.queries, gallery).argmax(axis=1) == columns).mean() >= 0.95


@pytest.mark.parametrize("supervision", ["sticker", "intention"])
def test_planted_intentions_are_found_for_unseen_stickers(supervision):
    features = planted_features()
    features = replace(features, valid=few(features.valid, 40))
    result = planted_result(SRSSystem, config(supervision=supervision, learning_rate=2e-3, epochs=5), features)
    assert result["hit1"] >= 97
    assert result["mAP"] >= 94


def test_what_it_cannot_work_with_is_one_line():
    with pytest.raises(IntraError, match="srs needs context_encoding 'words'"):
        SRSSystem(config(), planted_features("sequence"))
    with pytest.raises(IntraError, match="width is 20, expected a multiple of 16 with the system srs"):
        SRSSystem(config(width=20, heads=4), planted_features())
