r"""Attribute-aware sticker descriptions (Eq. 7).

    {A_G, A_P, A_F, A_V} = MLLM({L_G, L_P, L_F, L_V})

A source describes each sticker by keywords for its gesture, posture, facial expression and verbal content.
The offline default is a tagger on the vision encoder's features, and optical character recognition.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from intra.data.schema import ATTRIBUTES, Sticker
from intra.files import sha256
from intra.generation.store import GenerationStore


@dataclass(frozen=True)
class StickerAttributes:
    """Keywords for each attribute; empty where the source saw nothing."""

    gesture: tuple[str, ...] = ()
    posture: tuple[str, ...] = ()
    facial_expression: tuple[str, ...] = ()
    verbal: tuple[str, ...] = ()

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
        for attributes in source.describe([by_digest[request["image"]] for request in missing]):
            yield {name: list(getattr(attributes, name)) for name in ATTRIBUTES}

    said = iter(store.fetch(requests, produce))
    results = [sticker.attributes or next(said) for sticker in stickers]
    return [StickerAttributes(**{name: tuple(words) for name, words in r.items()}) for r in results]
