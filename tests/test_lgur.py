"""LGUR: one dictionary for words and regions, and the same queries for both."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from intra.config import RunConfig
from intra.errors import IntraError
from intra.models import lgur
from intra.models.lgur import LGUR, CrossBlock, LGURSystem
from intra.models.trained import word_vectors
from intra.planted import planted_features, planted_result

WIDTH, WORDS, REGIONS, BATCH = 16, 7, 5, 3


@pytest.fixture(scope="module")
def planted():
    return planted_features()


@pytest.fixture
def config():
    return RunConfig.of_profile("mini", system="lgur", width=64, epochs=1)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return LGUR(8, 6, 10, WIDTH)


@pytest.fixture
def inputs():
    """Word vectors, which there are, regions."""
    generator = torch.Generator().manual_seed(1)
    vectors, regions = (torch.randn(BATCH, *shape, generator=generator) for shape in ((WORDS, 8), (REGIONS, 6)))
    return vectors, torch.arange(WORDS) < torch.tensor([[WORDS], [4], [1]]), regions


@pytest.mark.parametrize("targets", [2, 9], ids=["few targets", "many targets"])
def test_attention_is_that_of_torch(targets):
    torch.manual_seed(0)
    block, other = CrossBlock(WIDTH), nn.MultiheadAttention(WIDTH, lgur.HEADS, bias=False, batch_first=True)
    with torch.no_grad():
        other.in_proj_weight.copy_(torch.cat([block.query.weight, block.key.weight, block.value.weight]))
        other.out_proj.weight.copy_(block.output.weight)
    queries, sources = torch.randn(2, targets, WIDTH), torch.randn(2, 6, WIDTH)
    present = torch.tensor([[True] * 6, [True, True, False, False, True, False]])
    for mask in (present, None):
        normed = block.norm(queries), block.norm(sources)
        read, _ = other(*normed, normed[1], key_padding_mask=None if mask is None else ~mask)
        expected = queries + read
        expected = expected + block.feed_forward(expected)
        assert torch.allclose(block(queries, sources, mask), expected, atol=1e-5)


def test_a_conversation_without_words_reads_nothing():
    block = CrossBlock(WIDTH)
    queries, nothing = torch.randn(1, 2, WIDTH), torch.zeros(1, 4, dtype=torch.bool)
    padded = block(queries, torch.randn(1, 4, WIDTH), nothing)
    assert torch.allclose(padded, queries + block.feed_forward(queries), atol=1e-6)


def test_scoring_computes_two_of_the_four_branches(model, inputs):
    vectors, present, regions = inputs
    branches, _ = model(*inputs)
    assert branches.shape == (4, BATCH, lgur.PARTS, WIDTH)
    assert torch.allclose(branches[lgur.TEXT], model.text(vectors, present), atol=1e-6)
    assert torch.allclose(branches[lgur.STICKER], model.sticker(regions), atol=1e-6)


def test_only_the_guided_branch_of_a_sticker_depends_on_words(model, inputs):
    vectors, present, regions = inputs
    (one, _), (other, _) = model(*inputs), model(-vectors, present, regions)
    assert torch.equal(one[lgur.STICKER], other[lgur.STICKER])
    for branch in (lgur.GUIDED, lgur.WORDS, lgur.TEXT):
        assert not torch.allclose(one[branch], other[branch], atol=1e-3)


def test_words_that_are_not_there_change_nothing(model, inputs):
    vectors, present, regions = inputs
    noise, absent = 9 * torch.randn(BATCH, 4, 8), torch.zeros(BATCH, 4, dtype=torch.bool)
    padded, _ = model(torch.cat([vectors, noise], dim=1), torch.cat([present, absent], dim=1), regions)
    assert torch.allclose(padded, model(*inputs)[0], atol=1e-5)


def test_the_order_of_the_dictionary_changes_nothing(model, inputs):
    before, _ = model(*inputs)
    with torch.no_grad():
        model.dictionary.copy_(model.dictionary[torch.randperm(lgur.DICTIONARY)])
    assert torch.allclose(model(*inputs)[0], before, atol=1e-5)


def test_the_norm_that_follows_cancels_the_gate(model, inputs):
    before = model.sticker(inputs[2])
    with torch.no_grad():
        model.gate.bias += 2
    assert torch.allclose(model.sticker(inputs[2]), before, atol=1e-3)
    with torch.no_grad():
        model.gate.bias -= 100  # so near to 0 that the norm's epsilon counts
    assert not torch.allclose(model.sticker(inputs[2]), before, atol=1e-2)


def test_words_and_regions_teach_the_dictionary(model, inputs):
    vectors, present, regions = inputs
    for parts in (model.text(vectors, present), model.sticker(regions)):
        (gradient,) = torch.autograd.grad(parts.square().sum(), model.dictionary)
        assert (gradient.norm(dim=1) > 0).all()


def test_joined_cosine_is_a_mean_of_the_parts_cosines():
    one, other = torch.randn(2, lgur.PARTS, WIDTH)
    lengths = one.norm(dim=1) * other.norm(dim=1)
    cosines = functional.cosine_similarity(one, other, dim=1)
    expected = (lengths * cosines).sum() / (one.norm() * other.norm())
    assert (lgur.joined(one) @ lgur.joined(other)).item() == pytest.approx(expected.item(), abs=1e-6)


def test_utterances_become_one_row(planted):
    queries = planted.train.queries
    words, parts = queries.words[:3].copy(), queries.parts[:3]
    words[0, 1, 4:], words[1, 2:], words[2] = 0, 0, 0
    shortened = replace(queries, words=words, parts=np.where(words[..., None] > 0, parts, 0))
    rows, present = lgur.one_row(*word_vectors(shortened, torch.arange(3)))
    assert present.sum(dim=1).tolist() == [22, 12, 0]
    for query in range(3):
        spoken = [parts[query, turn, place] for turn, place in zip(*words[query].nonzero(), strict=True)]
        assert np.array_equal(rows[query, : len(spoken)].reshape(-1, parts.shape[3]), np.reshape(spoken, (-1, 64)))
        assert present[query, : len(spoken)].all()
        assert not rows[query, len(spoken) :].any()


def test_identity_loss_by_a_loop():
    logits, labels = torch.randn(4, BATCH, lgur.PARTS, 10), torch.tensor([3, 9, 3])
    total = 0.0
    for branch in logits:  # a picture's or a text's
        parts = [functional.cross_entropy(branch[:, part], labels).item() for part in range(lgur.PARTS)]
        total += sum(parts) / lgur.PARTS
    assert lgur.identity_loss(logits, labels).item() == pytest.approx(total, rel=1e-5)


def test_ranking_loss_by_a_loop(monkeypatch):
    """Over all negatives that may be drawn, in both directions."""
    monkeypatch.setattr(lgur, "drawn", lambda candidates: candidates)
    cosines = (torch.randn(12, 12) / 4).fill_diagonal_(0.3)
    labels = torch.arange(12) % 5
    total = 0.0
    for anchor in range(12):
        for negative in range(12):
            for compared in (cosines[anchor, negative], cosines[negative, anchor]):
                term = lgur.MARGIN - cosines[anchor, anchor] + compared
                if labels[anchor] != labels[negative] and 0 < term < lgur.MARGIN:
                    total += term.item()
    assert total > 0
    assert lgur.ranking_loss(cosines, labels).item() == pytest.approx(total, rel=1e-5)


def test_one_negative_is_drawn_of_each_anchor_that_has_any():
    torch.manual_seed(0)
    candidates = torch.rand(40, 40) < 0.1
    candidates[5] = False
    draws = torch.stack([lgur.drawn(candidates) for _ in range(400)])
    assert not (draws & ~candidates).any()
    assert torch.equal(draws.sum(dim=2), candidates.any(dim=1).long().expand(400, -1))
    assert draws.any(dim=0)[candidates].all()  # each candidate has its turn


def test_negatives_are_of_another_identity_and_semi_hard():
    labels = torch.tensor([0, 0, 1, 2])
    others = labels[:, None] != labels[None]
    terms = torch.tensor([[0.3, 0.2, 0.4, 0.1], [0.1, 0.3, 0.0, 0.3], [0.29, -1, 0.3, 0.01], [9, 9, 9, 0.3]])
    assert lgur.semi_hard(terms, others).nonzero().tolist() == [[0, 3], [2, 0], [2, 3]]


def test_where_no_negative_is_semi_hard_one_counts():
    cosines = torch.tensor([[0.1, 0.9, 0.8], [0.8, 0.1, 0.7], [0.9, 0.6, 0.1]])
    labels = torch.tensor([4, 4, 7])
    # the first of another identity: row 0 against column 2, and column 0 against row 2
    expected = (0.3 - 0.1 + 0.8) + (0.3 - 0.1 + 0.9)
    assert lgur.ranking_loss(cosines, labels).item() == pytest.approx(expected, abs=1e-6)
    assert lgur.ranking_loss(cosines, torch.zeros(3)).item() == 0


@pytest.mark.parametrize(("supervision", "identities"), [("sticker", 300), ("intention", 12)])
def test_everything_learns_with_either_supervision(supervision, identities, planted, config):
    system = LGURSystem(config.with_changes(supervision=supervision), planted)
    assert system.model.classifier.shape == (lgur.PARTS, 32, identities)
    before = {name: value.clone() for name, value in system.model.state_dict().items()}
    (entry,) = system.fit(planted.train, planted.valid).history
    assert entry["identity"] < 4 * np.log(identities)
    assert not [name for name, value in system.model.state_dict().items() if torch.equal(before[name], value)]


@pytest.mark.parametrize(("supervision", "hit1", "mAP"), [("sticker", 90, 73), ("intention", 98, 97)])
def test_planted_rule_is_found_for_new_stickers(supervision, hit1, mAP, planted, config):
    made = config.with_changes(width=128, epochs=6, supervision=supervision)
    result = planted_result(LGURSystem, made, planted)
    assert result["hit1"] > hit1  # a random order reaches about 8
    assert result["mAP"] > mAP


def test_it_can_learn_a_few_conversations_by_heart(planted, config):
    _, rows = np.unique(planted.train.queries.stickers, return_index=True)
    rows = rows[:32]
    queries, gallery = planted.train.queries, planted.train.gallery
    few = replace(
        planted.train,
        queries=replace(
            queries,
            ids=tuple(queries.ids[row] for row in rows),
            **{name: getattr(queries, name)[rows] for name in ("intentions", "stickers", "parts", "words")},
        ),
        relevant=queries.stickers[rows][:, None] == np.arange(len(gallery.ids)),
    )
    system = LGURSystem(config.with_changes(width=128, epochs=40, patience=40), planted)
    system.fit(few, few)
    own = queries.stickers[rows]
    ranked = own[system.score(few.queries, gallery)[:, own].argmax(axis=1)]
    assert (ranked == own).mean() >= 0.95


def test_a_score_depends_on_its_query_and_sticker_alone(planted, config):
    system, test = LGURSystem(config.with_changes(batch_size=64), planted), planted.test
    scores = system.score(test.queries, test.gallery)
    assert scores.dtype == np.float32
    assert np.abs(scores).max() <= 1 + 1e-6
    rows, columns = (np.random.default_rng(0).permutation(size) for size in scores.shape)
    padding = ((0, 0), (0, 2), (0, 3))
    queries = replace(
        test.queries,
        ids=tuple(test.queries.ids[row] for row in rows),
        words=np.pad(test.queries.words, padding)[rows],
        parts=np.pad(test.queries.parts, (*padding, (0, 0)))[rows],
    )
    gallery = replace(
        test.gallery,
        ids=tuple(test.gallery.ids[column] for column in columns),
        region_features=test.gallery.region_features[columns],
    )
    system.config = config.with_changes(batch_size=7)
    assert system.score(queries, gallery) == pytest.approx(scores[rows][:, columns], abs=1e-5)


def test_one_seed_gives_the_same_scores_and_they_can_be_kept(planted, config, tmp_path):
    one, other, third = (LGURSystem(config.with_changes(seed=seed), planted) for seed in (3, 3, 4))
    for system in (one, other):
        system.fit(planted.train, planted.valid)
    test = planted.test.queries, planted.test.gallery
    scores = one.score(*test)
    assert np.array_equal(scores, other.score(*test))
    assert not np.allclose(scores, third.score(*test))
    one.save(tmp_path / "weights.safetensors")
    third.load(tmp_path / "weights.safetensors")
    assert np.array_equal(scores, third.score(*test))


def test_a_width_that_the_heads_do_not_divide_is_one_line(planted, config):
    with pytest.raises(IntraError, match="width is 12, expected a multiple of 8 for the system lgur"):
        LGURSystem(config.with_changes(width=12, heads=2), planted)
