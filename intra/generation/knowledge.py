r"""Commonsense knowledge about a conversation (Eq. 1-2).

    C_r = COMET(T, r),   C_know = \bigoplus_{r \in R} C_r,   R = {xIntent, xNeed, xWant, xEffect, xReact}

A source answers one event with inferences for the five relations of ATOMIC-2020. The offline default looks
the event up in a knowledge base written for this project and stays silent when nothing there is near.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from intra.data.schema import Conversation
from intra.generation.store import GenerationStore

RELATIONS = {
    "xIntent": "意图",
    "xNeed": "需要",
    "xWant": "想要",
    "xEffect": "结果",
    "xReact": "感受",
}
"""The five relations of Eq. 1, with the Chinese tag that each gets in C_know."""

KNOWLEDGE_BASE = Path(__file__).with_name("knowledge_base.jsonl")
EVENT_UTTERANCES = 3
"""Utterances that are looked up: COMET was trained on short events, not on whole conversations."""


@dataclass(frozen=True)
class Knowledge:
    """Inferences about one conversation."""

    event: str = ""
    """What was found (or asked) about; empty if the source stays silent."""
    score: float = 0.0
    """How near the event is to the conversation, as the source measures it."""
    inferences: dict[str, list[str]] = field(default_factory=dict)
    """Relation to its inferences; without keys if the source stays silent."""
    given: str = ""
    """Text that came with the data; it stands instead of inferences."""

    @property
    def text(self) -> str:
        """C_know of Eq. 2: the inferences, each relation tagged; empty if there are none."""
        return self.given or " ".join(
            f"[{tag}] {'，'.join(self.inferences[relation])}"
            for relation, tag in RELATIONS.items()
            if self.inferences.get(relation)
        )


class KnowledgeSource(Protocol):
    """Anything that infers commonsense knowledge."""

    name: str
    """With the revision of whatever decides the answers; goes into store keys and records."""

    def infer(self, utterances: Sequence[Sequence[str]]) -> Iterable[Knowledge]:
        """Yield knowledge about each of several conversations, given the texts of their last utterances."""


def event_utterances(conversation: Conversation) -> list[str]:
    """The texts that are looked up, newest last."""
    return [utterance.text for utterance in conversation.utterances[-EVENT_UTTERANCES:]]


def know(conversations: Sequence[Conversation], source: KnowledgeSource, store: GenerationStore) -> list[Knowledge]:
    """Knowledge about each conversation: what came with the data, else the source's, through the store."""
    asked = [c for c in conversations if not c.knowledge]
    requests = [{"task": "knowledge", "source": source.name, "utterances": event_utterances(c)} for c in asked]

    def produce(missing: list[dict]):
        for knowledge in source.infer([request["utterances"] for request in missing]):
            yield {name: getattr(knowledge, name) for name in ("event", "score", "inferences")}

    said = iter(store.fetch(requests, produce))
    return [Knowledge(given=c.knowledge) if c.knowledge else Knowledge(**next(said)) for c in conversations]


class RetrievedKnowledge:
    """The offline default: the nearest event of a knowledge base, by sentence embedding.

    Sentence embeddings of one language share a large common part, so cosines are taken after the mean event
    is subtracted. Each utterance is compared by itself, and the best pair of utterance and event counts.
    """

    threshold = 0.40
    """Below this cosine the source stays silent. Set by reading matches of training conversations, where
    farther matches rarely share more than a word with the event."""

    def __init__(self, encoder, base: Path = KNOWLEDGE_BASE):
        """Keep the encoder (`encoders.text.TextEncoder`) and the base's path; both are used at the first call."""
        self.encoder = encoder
        self.base = base
        revision = hashlib.sha256(base.read_bytes()).hexdigest()[:8]
        self.name = f"retrieved@{revision}/{encoder.name}/threshold={self.threshold}"

    def infer(self, utterances: Sequence[Sequence[str]]) -> Iterable[Knowledge]:
        """See `KnowledgeSource.infer`."""
        base = read_knowledge_base(self.base)
        events = self.encoder.encode([entry["event"]["zh"] for entry in base])  # (E, e)
        mean = events.mean(axis=0)
        texts = [text for group in utterances for text in group]
        similarity = _unit(self.encoder.encode(texts) - mean) @ _unit(events - mean).T  # (texts, E)
        start = 0
        for group in utterances:
            best = similarity[start : start + len(group)].max(axis=0)  # (E,)
            start += len(group)
            place = int(best.argmax())
            yield self._answer(base[place], float(best[place]))

    def _answer(self, entry: dict, score: float) -> Knowledge:
        score = round(score, 4)
        if score < self.threshold:
            return Knowledge(score=score)
        inferences = {relation: [text["zh"] for text in entry[relation]] for relation in RELATIONS}
        return Knowledge(entry["event"]["zh"], score, inferences)


def read_knowledge_base(path: Path = KNOWLEDGE_BASE) -> list[dict]:
    """Entries {event: {zh, en}, relation: [{zh, en}, ...] for each of the five relations}."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
