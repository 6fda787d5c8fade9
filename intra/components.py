"""The parts that a profile names: each key to a function that makes the part. New parts are one line here."""

from intra.config import PROFILES, Profile
from intra.encoders.text import TextEncoder, offline_e5
from intra.encoders.tiny import tiny_bert
from intra.encoders.vision import (
    STICKER_VIT,
    STICKER_VIT_WEIGHTS,
    TINY_VIT,
    OpenClipVisionEncoder,
    VisionEncoder,
)
from intra.generation.attributes import AttributeSource
from intra.generation.knowledge import KnowledgeSource, RetrievedKnowledge
from intra.generation.ocr import CaptionReader
from intra.generation.tagger import TAGGER_WEIGHTS, TaggedAttributes
from intra.paths import cache_directory

TEXT_ENCODERS = {
    "multilingual-e5-small": lambda: offline_e5(cache_directory()),
    "tiny-bert": lambda: tiny_bert(cache_directory()),
}
VISION_ENCODERS = {
    "sticker-vit": lambda: OpenClipVisionEncoder(STICKER_VIT, STICKER_VIT_WEIGHTS),
    "tiny-vit": lambda: OpenClipVisionEncoder(TINY_VIT),
}
KNOWLEDGE_SOURCES = {
    "retrieved": lambda text, vision: RetrievedKnowledge(text),
}
ATTRIBUTE_SOURCES = {
    "tagger-and-ocr": lambda text, vision: TaggedAttributes(vision, TAGGER_WEIGHTS, CaptionReader()),
    "tiny-tagger": lambda text, vision: TaggedAttributes(vision),
}


class Components:
    """The four parts of one profile. Making them is cheap: weights are loaded when first used."""

    text: TextEncoder
    vision: VisionEncoder
    knowledge: KnowledgeSource
    attributes: AttributeSource

    def __init__(self, profile: Profile):
        """Look the profile's names up."""
        self.text = TEXT_ENCODERS[profile.text]()
        self.vision = VISION_ENCODERS[profile.vision]()
        self.knowledge = KNOWLEDGE_SOURCES[profile.knowledge](self.text, self.vision)
        self.attributes = ATTRIBUTE_SOURCES[profile.attributes](self.text, self.vision)

    def names(self) -> dict[str, str]:
        """What each part is, with its revision: the inputs that a record keeps."""
        return {part: getattr(self, part).name for part in ("text", "vision", "knowledge", "attributes")}


def components(profile: str) -> Components:
    """The parts of a profile in `config.PROFILES`."""
    return Components(PROFILES[profile])
