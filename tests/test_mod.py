"""MOD: one causal sequence, words, flags and the sticker's vector predicted from it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from intra.config import RunConfig
from intra.errors import IntraError
from intra.features import Queries
from intra.models.mod import MARKS, MOD, MODSystem, last_places, padded, token_rows
from intra.planted import planted_features, planted_result

CONFIG = RunConfig(system="mod", negatives="batch", width=32, learning_rate=3e-3, epochs=10)
END, START, TAG, SENDER, OTHER = range(9, 14)
"""Marks and writers behind a vocabulary of 9."""


@pytest.fixture(scope="module")
def planted():
    return planted_features()


@pytest.fixture(scope="module")
def few(planted):
    """The first 32 training conversations, against their own stickers."""
    queries, gallery = planted.train.queries, planted.train.gallery
    columns, own = np.unique(queries.stickers[:32], return_inverse=True)
    return replace(
        planted.train,
        queries=replace(
            queries,
            ids=queries.ids[:32],
            intentions=queries.intentions[:32],
            stickers=own,
            words=queries.words[:32],
            speakers=queries.speakers[:32],
        ),
        gallery=replace(
            gallery,
            ids=tuple(gallery.ids[column] for column in columns),
            joint_features=gallery.joint_features[columns],
        ),
        relevant=own[:, None] == np.arange(len(columns)),
    )


def conversations(*turns) -> Queries:
    """Conversations of (speaker, words) turns, two words an utterance at most."""
    words = np.zeros((len(turns), 3, 2), np.int32)
    speakers = np.full((len(turns), 3), -1)
    for row, own in enumerate(turns):
        for turn, (speaker, spoken_words) in enumerate(own):
            words[row, turn, : len(spoken_words)] = spoken_words
            speakers[row, turn] = speaker
    none = np.zeros(len(turns), np.int64)
    return Queries(tuple(map(str, none)), None, none, none, None, words, speakers)


@pytest.fixture
def model():
    torch.manual_seed(0)
    embeddings = torch.cat([torch.zeros(1, 6), torch.randn(8, 6)])
    return MOD(embeddings, speakers=2, sticker_width=5, width=8, intentions=3).eval()


@pytest.fixture
def tokens():
    return padded(token_rows(conversations([(1, [3, 5]), (0, [4])], [(1, [6])]), 9))


def test_a_sticker_supplements_the_senders_own_last_turn_or_is_a_turn_without_words():
    own, other = token_rows(conversations([(1, [3, 5]), (0, [4])], [(0, [2]), (1, [6])]), 9)
    first, reply = [OTHER, START, 3, 5, END, TAG], [SENDER, START, 4, END, TAG]
    assert own[:, 0].tolist() == first + reply
    assert own[:, 1].tolist() == [OTHER] * 5 + [0] + [SENDER] * 4 + [0]
    assert other[:, 0].tolist() == [SENDER, START, 2, END, TAG, OTHER, START, 6, END, TAG, SENDER, START, END, TAG]


def test_of_a_long_conversation_the_newest_tokens_are_read(monkeypatch):
    whole = token_rows(conversations([(1, [3, 5]), (0, [4])]), 9)[0]
    monkeypatch.setattr("intra.models.mod.POSITIONS", 7)
    assert torch.equal(token_rows(conversations([(1, [3, 5]), (0, [4])]), 9)[0], whole[-7:])


def test_no_state_depends_on_a_later_token(model, tokens):
    """And each does on its own one."""
    before, _ = model.states(tokens)
    for place in range(tokens.shape[1]):
        edited = tokens.clone()
        edited[:, place] = torch.tensor([7, OTHER])
        after, _ = model.states(edited)
        assert torch.equal(after[:, :place], before[:, :place])
        assert not torch.isclose(after[:, place], before[:, place]).all(dim=1).any()


def test_a_state_predicts_the_next_token_of_the_answer_and_the_next_alone(model, tokens):
    """A plain loop over the last turns; MOD's released code asks for the one after it."""
    states, table = model.states(tokens)
    logits, *_ = model(tokens)
    loop, targets = [], []
    for row, last_turn in enumerate((6, 5)):
        for place in range(last_turn, tokens.shape[1] - 1):
            if 1 <= tokens[row, place + 1, 0] <= END:
                loop.append(torch.stack([table[n] @ states[row, place] for n in range(END + 1)]))
                targets.append(tokens[row, place + 1, 0])
    assert targets == [4, END, END]
    assert torch.equal(model.next_words(tokens), torch.stack(targets))
    torch.testing.assert_close(logits, torch.stack(loop))


def test_the_last_tag_alone_goes_with_a_sticker(model, tokens):
    states, _ = model.states(tokens)
    _, flags, stickers, intentions = model(tokens)
    assert model.flags(tokens).tolist() == [0, 1, 0, 1]
    tags = torch.stack([states[0, 5], states[0, 10], states[1, 4], states[1, 8]])
    torch.testing.assert_close(flags, model.flag(tags))
    torch.testing.assert_close(stickers, model.sticker(tags[[1, 3]]))
    torch.testing.assert_close(intentions, model.intention(tags[[1, 3]]))


def test_a_turn_without_a_sticker_is_not_regressed(model, tokens):
    """The regression reaches the decoder through the last token's state and through no other."""
    seen = []
    model.decoder.register_forward_hook(lambda *call: seen.append(call[-1].last_hidden_state))
    _, _, stickers, _ = model(tokens)
    (gradient,) = torch.autograd.grad(functional.mse_loss(stickers, torch.randn(2, 5)), seen)
    reached = gradient.abs().sum(dim=2) > 0
    assert reached.nonzero().tolist() == [[0, 10], [1, 8]] == [*map(list, enumerate(last_places(tokens).tolist()))]


def test_words_that_training_lacks_are_never_expected(planted, model, tokens):
    train = planted.train
    model = MOD(torch.from_numpy(planted.word_embeddings), 7, 64, 8).eval()
    queries = replace(train.queries, words=np.where(train.queries.words > 40, 7, train.queries.words))
    model.learn_from(replace(train, queries=queries))
    logits, *_ = model(padded(token_rows(train.queries, model.end)[:3]))
    chances = logits.softmax(dim=1)
    possible = [*range(1, 41), model.end]
    assert (chances[:, possible] > 0).all()
    torch.testing.assert_close(chances[:, possible].sum(dim=1), torch.ones(len(chances)))


def test_stickers_are_standardised_by_those_of_training(planted):
    model = MOD(torch.from_numpy(planted.word_embeddings), 7, 64, 8)
    model.learn_from(planted.train)
    vectors = model.standardised(torch.from_numpy(planted.train.gallery.joint_features))
    torch.testing.assert_close(vectors.mean(dim=0), torch.zeros(64), atol=1e-5, rtol=0)
    torch.testing.assert_close(vectors.std(dim=0, correction=0), torch.ones(64))


def test_the_sticker_that_was_predicted_exactly_comes_first(planted):
    system = MODSystem(CONFIG, planted)
    system.model.learn_from(planted.train)
    test = planted.test
    rows = padded(token_rows(test.queries, system.model.end))
    with torch.inference_mode():
        predicted = system.model.predicted(rows)
    joint = test.gallery.joint_features.copy()
    joint[7] = predicted[3] * system.model.sticker_deviation + system.model.sticker_mean
    scores = system.score(test.queries, replace(test.gallery, joint_features=joint))
    assert scores[3].argmax() == 7
    assert scores[3, 7] == pytest.approx(0, abs=1e-4)
    by_numpy = -np.linalg.norm(
        predicted[5].numpy() - system.model.standardised(torch.from_numpy(joint)).numpy(), axis=1
    )
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores[5], by_numpy, rtol=1e-4)


def test_scores_depend_on_neither_padding_nor_order_nor_batches(planted):
    system = MODSystem(CONFIG, planted)
    system.model.learn_from(planted.train)
    queries, gallery = planted.test.queries, planted.test.gallery
    scores = system.score(queries, gallery)
    more = replace(
        queries,
        words=np.pad(queries.words, ((0, 0), (0, 2), (0, 3))),
        speakers=np.pad(queries.speakers, ((0, 0), (0, 2)), constant_values=-1),
    )
    np.testing.assert_allclose(system.score(more, gallery), scores, atol=1e-5)
    order, columns = np.random.default_rng(0).permutation(150), np.random.default_rng(1).permutation(400)
    turned = replace(queries, words=queries.words[order], speakers=queries.speakers[order])
    shuffled = system.score(turned, replace(gallery, joint_features=gallery.joint_features[columns]))
    np.testing.assert_allclose(shuffled, scores[order][:, columns], atol=1e-5)
    # short conversations beside long ones, which are then padded
    cut = replace(
        queries, speakers=np.where(np.arange(150)[:, None] % 2 * np.array([0, 1, 1, 1]), -1, queries.speakers)
    )
    alone = MODSystem(CONFIG.with_changes(batch_size=1), planted)
    alone.model.load_state_dict(system.model.state_dict())
    np.testing.assert_allclose(alone.score(cut, gallery), system.score(cut, gallery), atol=1e-5)


def test_it_learns_a_few_conversations_by_heart(planted, few):
    """Most of them share words; which sticker was sent is told by the other utterances."""
    system = MODSystem(CONFIG.with_changes(batch_size=32, epochs=200, patience=200), planted)
    system.fit(few, few)
    scores = system.score(few.queries, few.gallery)
    assert (scores.argmax(axis=1) == few.queries.stickers).mean() >= 0.8


@pytest.mark.parametrize("supervision", ["sticker", "intention"])
def test_it_finds_what_is_planted_in_words(planted, supervision):
    result = planted_result(MODSystem, CONFIG.with_changes(supervision=supervision), planted)
    assert result["hit1"] >= 98
    assert result["mAP"] >= 95


def test_one_seed_gives_one_result_and_weights_can_be_kept(planted, few, tmp_path):
    config = CONFIG.with_changes(epochs=2, supervision="intention")
    first, second = MODSystem(config, planted), MODSystem(config, planted)
    history = [system.fit(few, few).history for system in (first, second)]
    assert history[0] == history[1]
    assert set(history[0][0]) == {"epoch", "words", "flag", "sticker", "intention", "valid_mAP"}
    scores = first.score(few.queries, few.gallery)
    np.testing.assert_array_equal(scores, second.score(few.queries, few.gallery))
    other = MODSystem(config.with_changes(seed=1), planted)
    assert not np.allclose(other.score(few.queries, few.gallery), scores)
    first.save(tmp_path / "mod.safetensors")
    other.load(tmp_path / "mod.safetensors")
    np.testing.assert_array_equal(other.score(few.queries, few.gallery), scores)


def test_a_width_that_heads_cannot_share_is_one_line():
    with pytest.raises(IntraError, match=r"width is 6, expected a multiple of 4 \(system mod\)"):
        MOD(torch.zeros(3, 4), 2, 5, 6)


def test_marks_come_behind_the_words(model):
    assert (model.end, model.tag, MARKS) == (END, TAG, 3)
