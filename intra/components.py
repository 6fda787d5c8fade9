"""The parts that a profile names: each key to a function that makes the part. New parts are one function here.

The functions import what they make, so that naming parts costs nothing.
"""

from functools import cached_property

from intra.config import PROFILES, unknown
from intra.encoders.text import TextEncoder
from intra.encoders.vision import VisionEncoder
from intra.errors import IntraError
from intra.generation.attributes import AttributeSource
from intra.generation.knowledge import KnowledgeSource, RetrievedKnowledge
from intra.paths import cache_directory


def _multilingual_e5_small() -> TextEncoder:
    from intra.encoders.text import offline_e5

    return offline_e5(cache_directory())


def _tiny_bert() -> TextEncoder:
    from intra.encoders.tiny import tiny_bert

    return tiny_bert(cache_directory())


def _sticker_vit() -> VisionEncoder:
    from intra.encoders.vision import STICKER_VIT, STICKER_VIT_WEIGHTS, OpenClipVisionEncoder

    return OpenClipVisionEncoder(STICKER_VIT, STICKER_VIT_WEIGHTS)


def _tiny_vit() -> VisionEncoder:
    from intra.encoders.vision import TINY_VIT, OpenClipVisionEncoder

    return OpenClipVisionEncoder(TINY_VIT)


def _tagger_and_ocr(vision: VisionEncoder) -> AttributeSource:
    from intra.generation.ocr import CaptionReader
    from intra.generation.tagger import TAGGER_WEIGHTS, TaggedAttributes

    return TaggedAttributes(vision, TAGGER_WEIGHTS, CaptionReader())


def _tiny_tagger(vision: VisionEncoder) -> AttributeSource:
    from intra.generation.tagger import TaggedAttributes

    return TaggedAttributes(vision)


TEXT_ENCODERS = {"multilingual-e5-small": _multilingual_e5_small, "tiny-bert": _tiny_bert}
VISION_ENCODERS = {"sticker-vit": _sticker_vit, "tiny-vit": _tiny_vit}
KNOWLEDGE_SOURCES = {"retrieved": RetrievedKnowledge}
"""Made from the profile's text encoder."""
ATTRIBUTE_SOURCES = {"tagger-and-ocr": _tagger_and_ocr, "tiny-tagger": _tiny_tagger}
"""Made from the profile's vision encoder."""


class Components:
    """The four parts of one profile in `config.PROFILES`, made when first asked for."""

    def __init__(self, profile: str):
        if profile not in PROFILES:
            raise IntraError(unknown("profile", profile, PROFILES))
        self._profile = PROFILES[profile]

    @cached_property
    def text(self) -> TextEncoder:
        """Sentences to vectors (Eq. 3, 8)."""
        return TEXT_ENCODERS[self._profile.text]()

    @cached_property
    def vision(self) -> VisionEncoder:
        """Pictures to regions (Eq. 9)."""
        return VISION_ENCODERS[self._profile.vision]()

    @cached_property
    def knowledge(self) -> KnowledgeSource:
        """Conversations to commonsense inferences (Eq. 1-2)."""
        return KNOWLEDGE_SOURCES[self._profile.knowledge](self.text)

    @cached_property
    def attributes(self) -> AttributeSource:
        """Stickers to descriptions (Eq. 7)."""
        return ATTRIBUTE_SOURCES[self._profile.attributes](self.vision)

    def names(self) -> dict[str, str]:
        """What each part is, with its revision: the inputs that a record keeps."""
        return {part: getattr(self, part).name for part in ("text", "vision", "knowledge", "attributes")}
