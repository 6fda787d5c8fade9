"""Retrieval by text alone: what a language model, or a simpler reader, says of the sticker that fits (Table II)."""

from functools import cached_property
from pathlib import Path

import numpy as np

from intra.components import Components
from intra.config import RunConfig, unknown
from intra.data.context import context_text
from intra.data.intentions import INTENTIONS
from intra.data.reader import config_dataset
from intra.errors import IntraError
from intra.features import Features, Gallery, Partition, Queries, cached
from intra.generation.answers import (
    PARSE_STATES,
    Answer,
    answered_intentions,
    ask,
    attribute_texts,
    choose_shots,
    instructions,
    question,
    shot,
    sticker_text,
)
from intra.generation.language_models import LANGUAGE_MODELS, language_model
from intra.generation.prompts import Conversation
from intra.paths import cache_directory


class TextRetrieval:
    """Cosine of a query's text and a sticker's text, both from the profile's text encoder; nothing is learned.

    With the query text `answer` it is the paper's comparison with language models: an answer to a prompt with examples
    of the training split. Texts that describe a sticker are encoded alike on both sides, what people say as a query.
    """

    score_function = "cosine of encoded texts"

    def __init__(self, config: RunConfig, features: Features):
        """Keep the config; nothing of the features is needed.

        Raises:
            IntraError: If answers are asked for, and the language model is unknown.
        """
        if config.query_text == "answer" and config.language_model not in LANGUAGE_MODELS:
            raise IntraError(unknown("language model", config.language_model, LANGUAGE_MODELS))
        self.config = config
        self.shots: Conversation = []

    def fit(self, train: Partition, valid: Partition) -> None:
        """Nothing to learn; choose the examples of the prompt."""
        rows = choose_shots(train.queries.intentions, self.config.seed)
        if self.config.query_text == "answer":
            self.shots = [message for row in rows for message in self._shot(train, row)]

    def _shot(self, train: Partition, row: int) -> Conversation:
        attributes = train.gallery.attributes[train.queries.stickers[row]]
        label = self.labels[train.queries.intentions[row]]
        return shot(train.queries.conversations[row], self.config.window, attributes, label)

    def score(self, queries: Queries, gallery: Gallery) -> np.ndarray:
        """See `System.score`; float32. A sticker of which nothing is told scores 0.

        Raises:
            IntraError: If the language model gives no answer; a second attempt goes on from there.
        """
        kind = "passage" if self.config.query_text in ("attributes", "answer") else "query"
        return cosine(self._encoded(self.query_texts(queries, gallery), kind), self._encoded(self.texts(gallery)))

    def details(self, queries: Queries, gallery: Gallery) -> dict[str, np.ndarray]:
        """What the language model made of each query: intention (see `answered_intentions`) and number of the state."""
        if self.config.query_text != "answer":
            return {}
        answers = self.answers(queries)
        states = np.array([PARSE_STATES.index(answer.state) for answer in answers])
        return {"answered_intentions": answered_intentions(answers, self.labels), "parse_states": states}

    def texts(self, gallery: Gallery) -> list[str]:
        """The text of each sticker."""
        intentions = [""] * len(gallery.ids)
        if self.config.gallery_text == "attributes+intention":
            intentions = ["，".join(np.array(self.labels)[own]) for own in gallery.intentions]
        return [
            sticker_text(attribute_texts(attributes), intention)
            for attributes, intention in zip(gallery.attributes, intentions, strict=True)
        ]

    def query_texts(self, queries: Queries, gallery: Gallery) -> list[str]:
        """The text of each query. An answer that says nothing gives way to the last utterance."""
        newest = [conversation.utterances[-1].text for conversation in queries.conversations]
        match self.config.query_text:
            case "last utterance":
                return newest
            case "context":
                return [context_text(conversation, self.config.window) for conversation in queries.conversations]
            case "attributes":
                told = self.texts(gallery)
                return [told[column] for column in queries.stickers]
            case _:
                with_intention = self.config.gallery_text == "attributes+intention"
                said = [answer.text(with_intention) for answer in self.answers(queries)]
                return [text or last for text, last in zip(said, newest, strict=True)]

    def answers(self, queries: Queries) -> list[Answer]:
        """What the language model says of each query, from the store as far as it was asked before."""
        return ask(language_model(self.config.language_model), self.prompts(queries), self.store)

    def prompts(self, queries: Queries) -> list[Conversation]:
        """What it is asked: instructions, examples, the query's conversation."""
        head = [instructions(self.labels), *self.shots]
        return [[*head, question(conversation, self.config.window)] for conversation in queries.conversations]

    @property
    def store(self) -> Path:
        """Where its answers are kept."""
        return cache_directory() / "answers" / f"{self.config.language_model}.jsonl"

    @cached_property
    def labels(self) -> list[str]:
        """Chinese names of the intentions."""
        dataset = config_dataset(self.config)
        texts = INTENTIONS | dataset.label_texts
        return [texts.get(intention, intention) for intention in dataset.intentions]

    def _encoded(self, texts: list[str], kind: str = "passage") -> np.ndarray:
        """Vectors of texts, shape (N, e), zeros for empty ones."""
        encoder = self._encoder
        vectors = cached([encoder.name, "texts", kind, *texts], lambda: encoder.encode(texts, kind))
        return vectors * np.array([[bool(text)] for text in texts], np.float32)

    @cached_property
    def _encoder(self):
        return Components(self.config.profile).text


def cosine(queries: np.ndarray, stickers: np.ndarray) -> np.ndarray:
    """Cosine of each query (Q, e) with each sticker (G, e), shape (Q, G), float32; that of zeros is 0."""
    units = [each / np.maximum(np.linalg.norm(each, axis=1, keepdims=True), 1e-12) for each in (queries, stickers)]
    return (units[0] @ units[1].T).astype(np.float32, copy=False)
