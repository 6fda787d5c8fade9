"""Chinese to English, for a knowledge source that reads English alone."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from intra.generation.seq2seq import Seq2Seq

DECODING = {
    "num_beams": 4,
    "num_return_sequences": 1,
    "do_sample": False,
    "early_stopping": True,
    "max_new_tokens": 128,
    "min_length": 0,
    "no_repeat_ngram_size": 0,
    "repetition_penalty": 1.0,
    "length_penalty": 1.0,
    "renormalize_logits": True,  # Marian forbids its padding token, whose share goes to the others
}
MAX_TOKENS = 128
"""Of one utterance; Marian itself reads 512, but was trained on sentences."""
_CJK = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]")


class Translator(Protocol):
    """Anything that brings Chinese into English."""

    name: str
    """With the revision of whatever decides the translations; part of the name of the source that uses it."""

    def translate(self, texts: Sequence[str]) -> list[str]:
        """Each text in English, in order."""


class MarianTranslator:
    """A Marian checkpoint, such as OPUS-MT from Chinese to English."""

    def __init__(self, checkpoint: str | Path, *, batch_size: int = 32):
        """Describe the translator by a checkpoint folder or hub name, and the texts in one pass; nothing is read."""
        self._model = Seq2Seq(checkpoint, DECODING, max_tokens=MAX_TOKENS, batch_size=batch_size)

    @property
    def name(self) -> str:
        """Checkpoint, revision and decoding (see `Seq2Seq.name`)."""
        return self._model.name

    def translate(self, texts: Sequence[str]) -> list[str]:
        """See `Translator.translate`.

        Raises:
            IntraError: If the checkpoint cannot be found or loaded.
        """
        return [" ".join(best.split()) for (best,) in self._model.generate(texts)]


def has_cjk(text: str) -> bool:
    """Whether a text holds a Chinese, Japanese or Korean character; punctuation does not count."""
    return bool(_CJK.search(text))
