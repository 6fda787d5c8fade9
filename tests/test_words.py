"""Contexts word by word: the same vectors as the encoder's, in their places, and words that are hidden from it."""

import numpy as np
import pytest

from intra import words
from intra.components import Components
from intra.config import RunConfig
from intra.data.context import utterance_texts, writers
from intra.data.reader import profile_dataset
from intra.data.schema import SPLITS, Conversation, Utterance
from intra.features import build_features

pytest_plugins = ["helpers"]


@pytest.fixture(scope="module")
def config():
    return RunConfig.of_profile("smoke", system="irra", window=3)


@pytest.fixture
def features(cache, config, tmp_path):
    return build_features(config, tmp_path)


@pytest.fixture(scope="module")
def conversations():
    return profile_dataset("replystickers", "smoke").split("train").conversations


def test_words_are_in_the_places_of_their_utterances(features, config, conversations):
    encoder, queries = Components("smoke").text, features.train.queries
    vocabulary = words.vocabulary(config.dataset, "smoke", config.window)
    for row in (0, 5):
        texts = utterance_texts(conversations[row])[-config.window :]
        for turn, ids in enumerate(encoder.token_ids(texts)):
            numbers = queries.words[row, turn]
            assert vocabulary.ids[numbers[numbers > 0] - 1].tolist() == ids[: words.LONGEST].tolist()
        assert not queries.words[row, len(texts) :].any()


def test_vectors_are_those_of_the_encoder_standardised(features, config, conversations):
    encoder, queries = Components("smoke").text, features.train.queries
    raw = [
        vector
        for text in sorted({t for c in conversations for t in utterance_texts(c)[-config.window :]})
        for vector in encoder.token_vectors([text])[0][: words.LONGEST]
        if vector.any()
    ]
    mean, deviation = np.mean(raw, axis=0), np.std(raw, axis=0)
    text = utterance_texts(conversations[2])[-config.window :][0]
    own = encoder.token_vectors([text])[0]
    expected = (own - mean) / deviation
    assert np.allclose(queries.parts[2, 0, : len(own)], expected, atol=2e-2)


def test_nothing_stands_where_there_is_no_word(features):
    for split in SPLITS:
        queries = getattr(features, split).queries
        assert queries.parts.shape[:3] == queries.words.shape
        assert not queries.parts[queries.words == 0].any()
        assert ((queries.words > 0).any(axis=2) == (queries.speakers >= 0)).all()


def test_speakers_are_numbered_as_their_tags():
    said = tuple(Utterance(user, "?") for user in ("ann", "bob", "cy", "bob"))
    conversation = Conversation("1", "test", said, "cy", "reply", "s", "joy")
    assert writers(conversation) == [2, 1, 0, 1]
    assert [line[0] for line in utterance_texts(conversation)] == ["B", "A", "我", "A"]


def test_embeddings_belong_to_the_numbers(features, config):
    encoder = Components("smoke").text
    ids = words.vocabulary(config.dataset, "smoke", config.window).ids
    raw = encoder.embeddings(ids)
    assert not features.word_embeddings[0].any()
    assert np.allclose(features.word_embeddings[1:], (raw - raw.mean(axis=0)) / raw.std(axis=0), atol=1e-4)


def test_hidden_words_by_their_shares():
    numbers = np.random.default_rng(1).integers(1, 1000, size=(300, 3, 30))
    numbers[:, :, 20:] = 0
    chosen, seen = words.hidden(numbers, 1000)
    assert not chosen[:, numbers == 0].any()
    share = chosen.sum() / (words.VARIANTS * (numbers > 0).sum())
    assert share == pytest.approx(words.CHOSEN, abs=0.01)
    assert (seen == np.broadcast_to(numbers, seen.shape))[~chosen].all()
    kept = (seen == np.broadcast_to(numbers, seen.shape))[chosen].mean()
    assert (seen[chosen] == -1).mean() == pytest.approx(words.MASKED, abs=0.02)
    assert kept == pytest.approx(1 - words.MASKED - words.EXCHANGED, abs=0.02)
    assert (chosen[0] != chosen[1]).any()


def test_every_conversation_hides_a_word():
    numbers = np.zeros((50, 2, 4), int)
    numbers[:, 0, 0] = 7
    chosen, _ = words.hidden(numbers, 10)
    assert chosen[:, :, 0, 0].all()


def test_the_encoder_reads_what_replaces_a_word(cache):
    encoder = Components("smoke").text
    (ids,) = encoder.token_ids(["你好吗"])
    changed = ids.copy()
    changed[1] = encoder.mask_id
    plain, hidden = encoder.token_vectors(["你好吗"]), encoder.token_vectors(["你好吗"], ids=[changed])
    assert np.array_equal(encoder.token_vectors(["你好吗"], ids=[ids]), plain)
    assert np.abs(hidden - plain).max(axis=(0, 2)).min() > 0  # its neighbours see the change, too


def test_masked_vectors_differ_only_in_utterances_with_hidden_words(features):
    queries = features.train.queries
    touched = queries.masked_places.any(axis=3)
    for variant, vectors in enumerate(queries.masked):
        same = np.isclose(vectors, queries.parts, atol=5e-2).all(axis=(2, 3))
        assert same[~touched[variant]].all()
        assert (~same[touched[variant]]).mean() > 0.5
    assert features.valid.queries.masked is None and features.test.queries.masked is None
