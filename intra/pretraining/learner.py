"""What is trained: the vision tower, the tagger on its regions, and the terms of their loss."""

import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from intra.encoders.vision import build_tower
from intra.generation.tagger import VOCABULARIES, StickerTagger
from intra.pretraining.data import UNKNOWN, Data
from intra.pretraining.drawings import GUIDED
from intra.pretraining.losses import contrastive_loss, guidance_loss

LARGEST_SCALE = 100.0
"""Clamp of the contrastive loss's factor, as in CLIP."""


class Learner(nn.Module):
    """The vision tower, the tagger on its regions, and the factor of the contrastive loss."""

    def __init__(self, configuration: Path, seed: int, bfloat16: bool = False):
        """Initialise at random.

        Args:
            configuration: open_clip model configuration of the tower.
            seed: Initialises the tagger; the tower has an initialisation of its own.
            bfloat16: Compute the tower in bfloat16, the weights staying float32.
        """
        super().__init__()
        self.bfloat16 = bfloat16
        self.tower = build_tower(configuration, None)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.tagger = StickerTagger(json.loads(configuration.read_text())["vision_cfg"]["width"])
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pooled vectors (B, c) and regions (B, P, w), float32, of pixels (B, 3, size, size)."""
        # the fused attention of torch is slower here: its backward pass in bfloat16 takes most of a step
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16), sdpa_kernel(SDPBackend.MATH):
            pooled, regions = self.tower(pixels)
        return pooled.float(), regions.float()

    def losses(self, batch: Data) -> dict[str, torch.Tensor]:
        """Each term of the loss, a scalar; `batch` holds tensors, its pixels as `forward` wants them."""
        pooled, regions = self(batch.pixels)
        logits, attention = self.tagger(regions), self.tagger.attention(regions)
        scale = self.log_scale.exp().clamp(max=LARGEST_SCALE)
        known = {name: batch.labels[name] != UNKNOWN for name in VOCABULARIES}
        terms = {
            name: F.cross_entropy(logits[name], batch.labels[name], reduction="sum") / known[name].sum().clamp(min=1)
            for name in VOCABULARIES
        }
        terms["contrastive"] = contrastive_loss(pooled, batch.texts, scale, batch.groups)
        for part, name in enumerate(GUIDED):
            own = attention[known[name], list(VOCABULARIES).index(name)]
            terms[f"guidance of {name}"] = guidance_loss(own, batch.boxes[known[name], part]) / 2
        return terms


def accuracies(learner: Learner, data: Data, batch_size: int = 128) -> dict[str, float]:
    """Share of drawings, not augmented, whose likeliest key is the true one, by attribute."""
    right = dict.fromkeys(VOCABULARIES, 0)
    learner.eval()
    with torch.inference_mode():
        for start in range(0, len(data.pixels), batch_size):
            pixels = torch.from_numpy(data.pixels[start : start + batch_size]).permute(0, 3, 1, 2)
            _, regions = learner(pixels.float() / 127.5 - 1)
            logits = learner.tagger(regions)
            for name in VOCABULARIES:
                labels = data.labels[name][start : start + batch_size]
                right[name] += int((logits[name].argmax(1).numpy() == labels).sum())
    return {name: count / len(data.pixels) for name, count in right.items()}


def rounded(learner: Learner) -> Learner:
    """Round a model's weights to half precision in place, as the files hold them, and compute in float32."""
    learner.half().float()
    learner.bfloat16 = False
    return learner
