"""What notebook 04 prints of Int-RA: parts, equations, shapes, and why Eq. 11 needs a reading."""

import json

import numpy as np
import pandas as pd
import torch

from intra.components import Components
from intra.config import RunConfig
from intra.data.intentions import INTENTIONS
from intra.models.context import joined_context
from intra.models.int_ra import IntRA

_PARTS = {
    "context": ("places of knowledge and utterances", "Eq. 3", "(B, window + 1, e), added"),
    "context.layer.self_attn": ("attention among knowledge and utterances", "Eq. 3", "(B, window + 1, e), kept"),
    "context.layer.self_attn.out_proj": ("its output", "Eq. 3", "(B, window + 1, e), kept"),
    "context.layer.linear1": ("feed-forward, in", "Eq. 3", "(B, window + 1, e), kept"),
    "context.layer.linear2": ("feed-forward, out", "Eq. 3", "(B, window + 1, e), kept"),
    "context.layer.norm1": ("layer norm before attention", "Eq. 3", "(B, window + 1, e), kept"),
    "context.layer.norm2": ("layer norm before feed-forward", "Eq. 3", "(B, window + 1, e), kept"),
    "intention.classifier": ("intention logits z", "Eq. 4", "(B, e) -> (B, C)"),
    "query.projection": ("query q of the predicted intention", "Eq. 5, 13", "(B, e) -> (B, d)"),
    "sticker.f_vis": ("regions in the common space", "Eq. 10", "(S, P, w) -> (S, P, d)"),
    "sticker.f_des": ("descriptions in the common space", "Eq. 10", "(S, A, e) -> (S, A, d)"),
    "sticker.query": ("attention queries W^Q", "Eq. 11", "(S, A, d) -> (S, h, A, d/h)"),
    "sticker.key": ("attention keys W^K", "Eq. 11", "(S, P, d) -> (S, h, P, d/h)"),
}
"""Module to what it computes, where the paper defines it, and its shapes."""


def blank_model(config: RunConfig) -> IntRA:
    """Int-RA at the widths of a profile, untrained (seed of the config)."""
    parts = Components(config.profile)
    region_width = json.loads(parts.vision.configuration.read_text())["vision_cfg"]["width"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        labels = torch.randn(len(INTENTIONS), parts.text.dim)
        context = joined_context(config, parts.text.dim)
        return IntRA(labels, region_width, config.width, config.heads, context).eval()


def parameter_table(config: RunConfig) -> pd.DataFrame:
    """Every module with trained parameters: what it computes, its equation, its shapes, how many they are."""
    model = blank_model(config)
    rows = {}
    for name, module in model.named_modules():
        count = sum(p.numel() for p in module.parameters(recurse=False) if p.requires_grad)
        if count:
            computes, equation, shapes = _PARTS[name]
            rows[name] = {"computes": computes, "equation": equation, "shapes": shapes, "parameters": count}
    return pd.DataFrame.from_dict(rows, orient="index")


@torch.inference_mode()
def constant_relation_change(config: RunConfig, stickers: int = 64) -> float:
    r"""Largest change of a cosine when every sticker's relation scores are scaled by a positive number.

    That number is what is left of M_j when Eq. 11 is read as printed, M_j \in R.

    Args:
        config: Profile, widths and seed.
        stickers: Random stickers that are scored.
    """
    model = blank_model(config)
    rng = np.random.default_rng(config.seed)
    regions = torch.from_numpy(rng.normal(size=(stickers, 49, model.sticker.f_vis.in_features)).astype(np.float32))
    query = model.query(torch.eye(model.intention.classifier.out_features))  # (C, d)
    h_regions = model.sticker.f_vis(regions)  # (S, P, d)
    factor = torch.from_numpy(rng.uniform(0.01, 100, size=(stickers, 1)).astype(np.float32))

    def cosine(vectors: torch.Tensor) -> torch.Tensor:
        return query @ torch.nn.functional.normalize(vectors, dim=1).T

    plain = h_regions.mean(dim=1)
    return float((cosine(plain * factor) - cosine(plain)).abs().max())
