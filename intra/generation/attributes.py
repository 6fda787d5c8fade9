r"""Attribute-aware sticker descriptions (Eq. 7).

    {A_G, A_P, A_F, A_V} = MLLM({L_G, L_P, L_F, L_V})

A source describes each sticker by keywords for its gesture, posture, facial expression and verbal content.
The offline default is a tagger on the vision encoder's features, and optical character recognition.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from intra.data.reader import sha256
from intra.data.schema import Sticker
from intra.generation.store import GenerationStore

ATTRIBUTES = {"gesture": "手势", "posture": "姿势", "facial_expression": "表情", "verbal": "文字"}
"""The four attributes of Eq. 7, with the Chinese name that opens each description."""


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
    """Attributes of each sticker, from the store where its picture has been described before."""
    digests = [sha256(sticker.image) for sticker in stickers]
    by_digest = dict(zip(digests, stickers, strict=True))
    requests = [{"task": "attributes", "source": source.name, "image": digest} for digest in digests]

    def produce(missing: list[dict]):
        for attributes in source.describe([by_digest[request["image"]] for request in missing]):
            yield {name: list(getattr(attributes, name)) for name in ATTRIBUTES}

    results = store.fetch(requests, produce)
    return [StickerAttributes(**{name: tuple(words) for name, words in r.items()}) for r in results]
