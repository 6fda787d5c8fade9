"""The parts that a profile names: each key to a function that makes the part. New parts are one function here.

The functions import what they make, so that naming parts costs nothing.
"""

from functools import cached_property, partial

from intra.checkpoints import find_checkpoint
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


def _multilingual_e5_small_full() -> TextEncoder:
    from intra.encoders.text import E5_PREFIXES, TransformerTextEncoder

    return TransformerTextEncoder(find_checkpoint("intfloat/multilingual-e5-small"), prefixes=E5_PREFIXES)


def _m_bert() -> TextEncoder:
    from intra.encoders.text import TransformerTextEncoder

    return TransformerTextEncoder(find_checkpoint("google-bert/bert-base-multilingual-cased"), pooling="cls")


def _tiny_bert() -> TextEncoder:
    from intra.encoders.tiny import tiny_bert

    return tiny_bert(cache_directory())


def _sticker_vit() -> VisionEncoder:
    from intra.encoders.vision import STICKER_VIT, STICKER_VIT_WEIGHTS, OpenClipVisionEncoder

    return OpenClipVisionEncoder(STICKER_VIT, STICKER_VIT_WEIGHTS)


def _tiny_vit() -> VisionEncoder:
    from intra.encoders.vision import TINY_VIT, OpenClipVisionEncoder

    return OpenClipVisionEncoder(TINY_VIT)


def _comet(_text: TextEncoder) -> KnowledgeSource:
    from intra.generation.comet import CometKnowledge
    from intra.generation.translation import MarianTranslator

    translator = MarianTranslator(find_checkpoint("Helsinki-NLP/opus-mt-zh-en"))
    return CometKnowledge(find_checkpoint("mismayil/comet-bart-ai2"), translator)


def _clip(checkpoint: str) -> VisionEncoder:
    from intra.encoders.clip import ClipEncoder

    return ClipEncoder(checkpoint)


def _tagger_and_ocr(vision: VisionEncoder) -> AttributeSource:
    from intra.generation.ocr import CaptionReader
    from intra.generation.tagger import TAGGER_WEIGHTS, TaggedAttributes

    return TaggedAttributes(vision, TAGGER_WEIGHTS, CaptionReader())


def _tiny_tagger(vision: VisionEncoder) -> AttributeSource:
    from intra.generation.tagger import TaggedAttributes

    return TaggedAttributes(vision)


def _qwen_vl(_: VisionEncoder) -> AttributeSource:
    from intra.generation.vlm import VisionLanguageAttributes

    return VisionLanguageAttributes(find_checkpoint("Qwen/Qwen2-VL-2B-Instruct"))


def _endpoint(_: VisionEncoder) -> AttributeSource:
    from intra.generation.endpoint import EndpointAttributes

    return EndpointAttributes.from_environment()


def _clip_texts(checkpoint: str) -> TextEncoder:
    from intra.encoders.clip import ClipEncoder, ClipTextEncoder

    return ClipTextEncoder(ClipEncoder(checkpoint))


CLIP_MULTILINGUAL = "laion/CLIP-ViT-B-32-xlm-roberta-base-laion5B-s13B-b90k"

TEXT_ENCODERS = {
    "multilingual-e5-small": _multilingual_e5_small,
    "multilingual-e5-small-full": _multilingual_e5_small_full,
    "m-bert": _m_bert,
    "clip-multilingual": partial(_clip_texts, CLIP_MULTILINGUAL),
    "tiny-bert": _tiny_bert,
}
VISION_ENCODERS = {
    "sticker-vit": _sticker_vit,
    "clip-vit-b-32": partial(_clip, "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
    "clip-vit-b-16": partial(_clip, "laion/CLIP-ViT-B-16-laion2B-s34B-b88K"),
    "clip-multilingual": partial(_clip, CLIP_MULTILINGUAL),
    "tiny-vit": _tiny_vit,
}
KNOWLEDGE_SOURCES = {"retrieved": RetrievedKnowledge, "comet": _comet}
"""Made from the profile's text encoder."""
ATTRIBUTE_SOURCES = {
    "tagger-and-ocr": _tagger_and_ocr,
    "tiny-tagger": _tiny_tagger,
    "qwen-vl": _qwen_vl,
    "endpoint": _endpoint,
}
"""Made from the profile's vision encoder; the last two look at the pictures themselves."""


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
