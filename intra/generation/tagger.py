"""Gesture, posture and facial expression read off region features: the offline source of attributes (Eq. 7)."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from intra.data.schema import Sticker
from intra.encoders.vision import VisionEncoder
from intra.errors import IntraError
from intra.generation.attributes import StickerAttributes
from intra.generation.ocr import CaptionReader
from intra.replystickers import vocabulary
from intra.weights import load_weights

TAGGER_WEIGHTS = Path(__file__).parent / "tagger.safetensors"
VOCABULARIES = {
    "gesture": vocabulary.GESTURES,
    "posture": vocabulary.POSTURES,
    "facial_expression": vocabulary.EXPRESSIONS,
}
"""The attributes that are seen, each with the keys it is told apart by."""
SECOND = 0.5
"""Share of the first class's probability from which the second class is named too."""


class StickerTagger(nn.Module):
    r"""One attention query and one linear layer for each attribute.

    For region features x_1 .. x_P of width w, attribute a with query q_a, weights W_a and bias b_a:

        alpha_p = softmax_p(q_a . x_p / sqrt(w))
        y_a = W_a (sum_p alpha_p x_p) + b_a
    """

    def __init__(self, width: int):
        """Initialise at random, from torch's global generator.

        Args:
            width: Width w of a region.
        """
        super().__init__()
        self.queries = nn.Parameter(torch.randn(len(VOCABULARIES), width))
        self.heads = nn.ModuleDict({name: nn.Linear(width, len(keys)) for name, keys in VOCABULARIES.items()})

    def attention(self, regions: torch.Tensor) -> torch.Tensor:
        """Where each attribute is looked for: alpha, shape (N, attributes, P), of regions (N, P, w)."""
        scores = torch.einsum("aw,npw->nap", self.queries, regions) / regions.shape[-1] ** 0.5
        return scores.softmax(-1)

    def forward(self, regions: torch.Tensor) -> dict[str, torch.Tensor]:
        """Score the keys of each vocabulary.

        Args:
            regions: Shape (N, P, w), float32.

        Returns:
            Logits of each attribute, shape (N, keys), in the order of its vocabulary.
        """
        attended = self.attention(regions) @ regions
        return {name: head(attended[:, place]) for place, (name, head) in enumerate(self.heads.items())}


class TaggedAttributes:
    """Attributes from a tagger on the vision encoder's regions, and the caption from a reader."""

    def __init__(self, vision: VisionEncoder, weights: Path | None = None, reader: CaptionReader | None = None):
        """Keep the parts; nothing is loaded yet.

        Args:
            vision: Encoder whose regions the tagger was trained on.
            weights: safetensors of a `StickerTagger`; None leaves the random initialisation of seed 0 (tests).
            reader: Reads captions; None leaves the verbal attribute empty.

        Raises:
            IntraError: If the weights are missing.
        """
        if weights is not None and not weights.is_file():
            raise IntraError(f"{weights}: the weights of the tagger are missing")
        self.vision, self.weights, self.reader = vision, weights, reader

    @cached_property
    def name(self) -> str:
        """Digest of the tagger's weights and words, the reader and the encoder: all that decides an answer."""
        digest = hashlib.sha256(json.dumps([VOCABULARIES, SECOND], ensure_ascii=False).encode())
        if self.weights is not None:
            digest.update(self.weights.read_bytes())
        reader = f"+{self.reader.name}" if self.reader else ""
        return f"tagger@{digest.hexdigest()[:8]}{reader}({self.vision.name})"

    def describe(self, stickers: Sequence[Sticker]) -> Iterator[StickerAttributes]:
        """See `AttributeSource.describe`."""
        regions = self.vision.encode([sticker.image for sticker in stickers]).regions
        probabilities = self._probabilities(regions)
        for row, sticker in enumerate(tqdm(stickers, desc="describing stickers", delay=2, disable=None)):
            seen = {name: keywords(name, table[row]) for name, table in probabilities.items()}
            yield StickerAttributes(**seen, verbal=self._caption(sticker.image))

    def _caption(self, image: Path) -> tuple[str, ...]:
        text = self.reader.read(image) if self.reader else ""
        return (text,) if text else ()

    def _probabilities(self, regions: np.ndarray) -> dict[str, np.ndarray]:
        """Class probabilities of each attribute, shape (N, keys), float32."""
        tagger = load_tagger(self.weights, regions.shape[-1])
        with torch.inference_mode():
            logits = tagger(torch.from_numpy(regions))
        return {name: scores.softmax(-1).numpy() for name, scores in logits.items()}


def load_tagger(weights: Path | None, width: int) -> StickerTagger:
    """Build a tagger in evaluation mode.

    Args:
        weights: See `TaggedAttributes`.
        width: Width of a region.

    Raises:
        IntraError: If the weights do not fit the width or the vocabularies.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tagger = StickerTagger(width)
    if weights is not None:
        load_weights(tagger, weights, "the tagger")
    return tagger.eval()


def keywords(attribute: str, probabilities: np.ndarray) -> tuple[str, ...]:
    """Chinese descriptions of the likeliest class, and of the second where it is nearly as likely.

    Args:
        attribute: A key of `VOCABULARIES`.
        probabilities: Of each key of its vocabulary, shape (keys,).
    """
    words = [chinese for chinese, _ in VOCABULARIES[attribute].values()]
    second, first = np.argsort(probabilities, kind="stable")[-2:]
    if probabilities[second] >= SECOND * probabilities[first]:
        return words[first], words[second]
    return (words[first],)
