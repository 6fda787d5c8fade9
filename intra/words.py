"""Contexts word by word, for the systems that look at single words: vectors, vocabulary, hidden words."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from intra.components import Components
from intra.config import RunConfig
from intra.data.context import utterance_texts, writers
from intra.data.reader import profile_dataset
from intra.data.schema import Conversation, Dataset
from intra.encoders.text import TextEncoder
from intra.vectors import STATE_TYPE, Standardiser, cached

WORDS = ("words", "masked words")
"""Values of `context_encoding` with which contexts are kept word by word."""
LONGEST = 32
"""Words (tokens of the encoder) of an utterance that are kept; what comes later is left out."""
VARIANTS = 2
"""How often the training conversations are encoded with other words hidden. Each is one more pass of the encoder."""
CHOSEN, MASKED, EXCHANGED = 0.15, 0.8, 0.1
"""Share of words that are chosen, and of these the shares that the encoder sees as a mask and as a random word; the
others it sees as they are (Devlin et al., BERT, 2019)."""


@dataclass(frozen=True)
class Words:
    """The utterances of some windows, from the oldest to the newest; see the fields of `features.Queries`."""

    vectors: np.ndarray
    numbers: np.ndarray
    speakers: np.ndarray


@dataclass(frozen=True)
class Vocabulary:
    """Distinct utterances of a data set."""

    row: dict[str, int]
    """Text to row; the last row is empty, for utterances that are not there."""
    vectors: np.ndarray
    """As they were encoded, shape (N, W, e), float16."""
    numbers: np.ndarray
    """Shape (N, W), int32."""
    ids: np.ndarray
    """What the encoder calls word 1, 2, ..., shape (V - 1,)."""
    embeddings: np.ndarray
    """What the encoder starts from, shape (V, e), float32, standardised, zeros for no word."""


def window_words(config: RunConfig, parts: dict[str, Dataset]) -> dict[str, Words]:
    """The words of each split, standardised by those of the training split."""
    found = vocabulary(config.dataset, config.profile, config.window)
    rows = {split: _rows(part.conversations, config.window, found.row) for split, part in parts.items()}
    scale = _scale(found, rows["train"])
    scaled = _scaled(found.vectors, found.numbers > 0, scale)
    return {
        split: Words(scaled[own], found.numbers[own], _speakers(parts[split].conversations, config.window))
        for split, own in rows.items()
    }


def masked_words(config: RunConfig, part: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The training split with hidden words: vectors (V, Q, U, W, e), float16, and places that were chosen."""
    found = vocabulary(config.dataset, config.profile, config.window)
    whole = profile_dataset(config.dataset, config.profile).split("train").conversations
    row = {conversation.id: number for number, conversation in enumerate(whole)}
    kept = [row[conversation.id] for conversation in part.conversations]
    rows = _rows(whole, config.window, found.row)
    places, changed = hidden(found.numbers[rows], len(found.ids))
    texts = [text for conversation in whole for text in utterance_texts(conversation)[-config.window :]]
    present = (found.numbers[rows] > 0)[None].repeat(VARIANTS, axis=0)
    encoder = Components(config.profile).text
    spoken = changed[:, rows != found.row[""]].reshape(-1, LONGEST)
    replaced = [_ids(found, encoder, numbers) for numbers in spoken]
    vectors = np.zeros((*present.shape, found.vectors.shape[-1]), STATE_TYPE)
    vectors[present] = _packed(encoder, "masked words", texts * VARIANTS, replaced)
    scale = _scale(found, rows[kept])
    return _scaled(vectors[:, kept], present[:, kept], scale), places[:, kept]


def hidden(numbers: np.ndarray, vocabulary_size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Choose words, at least one a conversation, and what the encoder sees in their place.

    Args:
        numbers: Shape (Q, U, W), 0 where there is no word.
        vocabulary_size: Words are numbered from 1 to this.
        seed: Of the choice.

    Returns:
        Which are chosen, shape (V, Q, U, W), bool, and numbers as they are seen, of the same shape: -1 for the mask.
    """
    rng = np.random.default_rng(seed)
    present = (numbers > 0)[None].repeat(VARIANTS, axis=0)
    drawn = np.where(present, rng.random(present.shape), 2)
    least = drawn.min(axis=(2, 3), keepdims=True)
    chosen = present & ((drawn < CHOSEN) | (drawn == least))
    kind = rng.random(present.shape)
    others = rng.integers(1, vocabulary_size + 1, size=present.shape)
    seen = np.where(kind < MASKED, -1, np.where(kind < MASKED + EXCHANGED, others, numbers))
    return chosen, np.where(chosen, seen, numbers)


@functools.lru_cache(maxsize=1)
def vocabulary(dataset: str, profile: str, window: int) -> Vocabulary:
    """Every utterance within a window of the data set, encoded alone."""
    conversations = profile_dataset(dataset, profile).conversations
    texts = sorted({text for own in conversations for text in utterance_texts(own)[-window:]})
    encoder = Components(profile).text
    ids = [own[:LONGEST] for own in encoder.token_ids(texts)]
    known = np.unique(np.concatenate(ids))
    numbers = np.zeros((len(texts) + 1, LONGEST), np.int32)
    for line, own in zip(numbers, ids, strict=False):
        line[: len(own)] = np.searchsorted(known, own) + 1
    vectors = np.zeros((*numbers.shape, encoder.dim), STATE_TYPE)
    vectors[numbers > 0] = _packed(encoder, "words", texts, None)
    embeddings = encoder.embeddings(known)
    embeddings = np.concatenate([np.zeros((1, encoder.dim), np.float32), Standardiser(embeddings)(embeddings)])
    row = {text: number for number, text in enumerate([*texts, ""])}
    return Vocabulary(row, vectors, numbers, known, embeddings)


def _packed(encoder: TextEncoder, key: str, texts: list[str], ids: Sequence[np.ndarray] | None) -> np.ndarray:
    """Vectors of the words of all texts, one after the other, shape (N, e)."""
    told = [] if ids is None else [" ".join(map(str, own)) for own in ids]

    def encode() -> np.ndarray:
        lengths = [min(len(own), LONGEST) for own in encoder.token_ids(texts)]
        vectors = encoder.token_vectors(texts, "query", STATE_TYPE, ids)
        return np.concatenate([own[:length] for own, length in zip(vectors, lengths, strict=True)])

    return cached([encoder.name, key, str(LONGEST), np.dtype(STATE_TYPE).name, *texts, *told], encode)


def _ids(found: Vocabulary, encoder: TextEncoder, numbers: np.ndarray) -> np.ndarray:
    """What the encoder calls words, of which -1 is hidden; shape (W,) without what is no word."""
    numbers = numbers[numbers != 0]
    return np.where(numbers < 0, encoder.mask_id, found.ids[numbers - 1])


def _rows(conversations: Sequence[Conversation], window: int, row: dict[str, int]) -> np.ndarray:
    """Rows of each conversation's utterances, shape (Q, U)."""
    rows = np.full((len(conversations), window), row[""])
    for line, conversation in zip(rows, conversations, strict=True):
        own = [row[text] for text in utterance_texts(conversation)[-window:]]
        line[: len(own)] = own
    return rows


def _speakers(conversations: Sequence[Conversation], window: int) -> np.ndarray:
    speakers = np.full((len(conversations), window), -1)
    for line, conversation in zip(speakers, conversations, strict=True):
        own = writers(conversation)[-window:]
        line[: len(own)] = own
    return speakers


def _scale(found: Vocabulary, rows: np.ndarray) -> Standardiser:
    some = np.unique(rows)
    return Standardiser(found.vectors[some][found.numbers[some] > 0].astype(np.float32))


def _scaled(vectors: np.ndarray, present: np.ndarray, scale: Standardiser) -> np.ndarray:
    scaled = np.zeros_like(vectors)
    scaled[present] = scale(vectors[present].astype(np.float32))
    return scaled
