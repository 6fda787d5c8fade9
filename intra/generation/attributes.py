r"""Attribute-aware sticker descriptions (Eq. 7).

    {A_G, A_P, A_F, A_V} = MLLM({L_G, L_P, L_F, L_V})

A source describes each sticker by keywords for its gesture, posture, facial expression and verbal content.
The offline default is a tagger on the vision encoder's features, and optical character recognition; the paper's
way is to ask a vision-language model (`vlm`, `endpoint`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pandas as pd

from intra.data.schema import ATTRIBUTES, Sticker
from intra.files import sha256
from intra.generation.prompts import FAILURES, PARSE_STATES, parse
from intra.generation.store import GenerationStore


@dataclass(frozen=True)
class StickerAttributes:
    """Keywords for each attribute; empty where the source saw nothing."""

    gesture: tuple[str, ...] = ()
    posture: tuple[str, ...] = ()
    facial_expression: tuple[str, ...] = ()
    verbal: tuple[str, ...] = ()
    answers: Mapping[str, str] = field(default_factory=dict)
    """Attribute to what a model answered, unread; empty if none was asked."""
    states: Mapping[str, str] = field(default_factory=dict)
    """Attribute to the state of its answer, one of `prompts.PARSE_STATES`; empty if no model was asked."""

    @classmethod
    def read(cls, answers: Mapping[str, str]) -> "StickerAttributes":
        """Read the keywords out of a model's answers, one for each attribute."""
        parsed = {name: parse(answer) for name, answer in answers.items()}
        keywords = {name: words for name, (words, _) in parsed.items()}
        return cls(**keywords, answers=answers, states={name: state for name, (_, state) in parsed.items()})

    def description(self, attribute: str) -> str:
        """The text that is encoded for one attribute (Eq. 8); empty where the source saw nothing."""
        keywords = getattr(self, attribute)
        return f"{ATTRIBUTES[attribute]}：{'，'.join(keywords)}" if keywords else ""


class AttributeSource(Protocol):
    """Anything that describes stickers."""

    name: str
    """With the revision of whatever decides the answers; goes into store keys and records."""

    def describe(self, stickers: Sequence[Sticker]) -> Iterable[StickerAttributes]:
        """Yield the attributes of each sticker, in order, seen from its picture alone."""


def describe(stickers: Sequence[Sticker], source: AttributeSource, store: GenerationStore) -> list[StickerAttributes]:
    """Attributes of each sticker: those that came with the data, else the source's.

    The source is asked once for each picture; what it said before comes from the store.
    """
    asked = [sticker for sticker in stickers if not sticker.attributes]
    digests = [sha256(sticker.image) for sticker in asked]
    by_digest = dict(zip(digests, asked, strict=True))
    requests = [{"task": "attributes", "source": source.name, "image": digest} for digest in digests]

    def produce(missing: list[dict]):
        yield from map(_as_result, source.describe([by_digest[request["image"]] for request in missing]))

    said = iter(store.fetch(requests, produce))
    return [_from_result(sticker.attributes or next(said)) for sticker in stickers]


def parse_states(store: GenerationStore) -> pd.DataFrame:
    """How the answers in the store could be read, for each model that was asked.

    Returns:
        Columns source, attribute, answers (their number), then the share of each of `prompts.PARSE_STATES`, and
        failed, the share of `prompts.FAILURES`. No rows if no model was asked.
    """
    states = [
        (entry["request"]["source"], attribute, state)
        for entry in store.entries()
        for attribute, state in entry["result"].get("states", {}).items()
    ]
    groups = pd.DataFrame(states, columns=["source", "attribute", "state"]).groupby(["source", "attribute"], sort=False)
    rows = []
    for (source, attribute), group in groups["state"]:
        shares = {state: float((group == state).mean()) for state in PARSE_STATES}
        failed = float(group.isin(FAILURES).mean())
        rows.append({"source": source, "attribute": attribute, "answers": len(group), **shares, "failed": failed})
    return pd.DataFrame(rows, columns=["source", "attribute", "answers", *PARSE_STATES, "failed"])


def _as_result(attributes: StickerAttributes) -> dict:
    """What the store keeps: keywords by attribute, and what a model answered where one was asked."""
    keywords = {name: list(getattr(attributes, name)) for name in ATTRIBUTES}
    asked = {"answers": dict(attributes.answers), "states": dict(attributes.states)} if attributes.answers else {}
    return keywords | asked


def _from_result(result: dict) -> StickerAttributes:
    keywords = {name: tuple(result.get(name, ())) for name in ATTRIBUTES}
    return StickerAttributes(**keywords, answers=result.get("answers", {}), states=result.get("states", {}))
