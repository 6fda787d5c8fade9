"""What notebook 04 prints of Int-RA: parts, equations, shapes, and why Eq. 11 needs a reading."""

import json

import numpy as np
import pandas as pd
import torch

from intra.components import Components
from intra.config import ATTRIBUTE_KEYS, RunConfig
from intra.data.intentions import INTENTIONS
from intra.models.context import ContextModel, TunedContext, joined_context
from intra.models.int_ra import IntRA
from intra.vectors import Standardiser

_PARTS = {
    "context": ("places of knowledge and utterances", "Eq. 3", "(window + 1, h), added to their weights"),
    "context.weight": ("weights of knowledge and utterances", "Eq. 3", "(B, window + 1, e) -> (B, window + 1, h)"),
    "context.value": ("what is summed by these weights", "Eq. 3", "(B, window + 1, e), kept"),
    "context.layers": ("tuned layers of the text encoder", "Eq. 3", "(B, T, e) -> (B, e)"),
    "intention.classifier": ("intention logits z", "Eq. 4", "(B, e) -> (B, C)"),
    "query.projection": ("query q of the predicted intention", "Eq. 5, 13", "(B, e) -> (B, d)"),
    "sticker.f_vis": ("regions in the common space", "Eq. 10", "(S, P, w) -> (S, P, d)"),
    "sticker.f_des": ("descriptions in the common space", "Eq. 10", "(S, A, e) -> (S, A, d)"),
    "sticker.query": ("attention queries W^Q", "Eq. 11", "(S, A, d) -> (S, h, A, d/h)"),
    "sticker.key": ("attention keys W^K", "Eq. 11", "(S, P, d) -> (S, h, P, d/h)"),
    "sticker.value": ("attention values W^V", "Eq. 11", "(S, P, d) -> (S, h, P, d/h)"),
    "sticker.output": ("the heads' values as one, W^O", "Eq. 11", "(S, A, d), kept"),
    "sticker.described": ("what the descriptions say", "beside Eq. 12", "(S, A e) -> (S, d)"),
    "retrieval": ("logarithm of the scale of cosines", "Eq. 14", "a number"),
}
"""Module to what it computes, where the paper defines it, and its shapes."""
_QUERIES = {
    "context": ("query q of the context", "Eq. 13", "(B, e) -> (B, d)"),
    "concat": ("query q of predicted intention and context", "Eq. 5, 13", "(B, 2e) -> (B, d)"),
    "mixture": ("query q of the intentions' mixture", "Eq. 5, 13", "(B, e) -> (B, d)"),
    "gold": ("query q of the true intention", "Eq. 5, 13", "(B, e) -> (B, d)"),
}
"""The same of `query.projection` for the queries that are not of the predicted intention."""


def blank_model(config: RunConfig) -> IntRA:
    """Int-RA at the widths of a profile, untrained (seed of the config)."""
    parts = Components(config.profile)
    region_width = json.loads(parts.vision.configuration.read_text())["vision_cfg"]["width"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        labels = torch.randn(len(INTENTIONS), parts.text.dim)
        return IntRA(labels, region_width, config, _blank_context(config, parts)).eval()


def _blank_context(config: RunConfig, parts: Components) -> ContextModel | None:
    if config.tuned_layers:
        nothing = Standardiser(np.zeros((0, parts.text.dim)))
        return TunedContext(parts.text.last_layers(config.tuned_layers), nothing)
    return joined_context(config, parts.text.dim)


def parameter_table(config: RunConfig) -> pd.DataFrame:
    """Every part with trained parameters: what it computes, its equation, its shapes, how many they are."""
    described = _PARTS | ({"query.projection": _QUERIES[config.query]} if config.query in _QUERIES else {})
    rows = {}
    for name, module in blank_model(config).named_modules():
        count = sum(p.numel() for p in module.parameters(recurse=False) if p.requires_grad)
        if count:
            part = _part(name)
            computes, equation, shapes = described[part]
            row = {"computes": computes, "equation": equation, "shapes": shapes, "parameters": 0}
            rows.setdefault(part, row)["parameters"] += count
    return pd.DataFrame.from_dict(rows, orient="index")


def _part(module: str) -> str:
    """The key of `_PARTS` that a module belongs to."""
    if module.startswith("context.layers."):
        return "context.layers"
    return module.replace("sticker.regions.", "sticker.")


@torch.inference_mode()
def constant_relation_change(config: RunConfig, stickers: int = 64) -> float:
    r"""Largest change of a cosine when Eq. 11 is read as printed, M_j \in R, and the descriptions are taken away.

    Args:
        config: Profile, widths and seed.
        stickers: Random stickers that are scored, by as many random queries as there are intentions.
    """
    printed = config.with_changes(relation="scalar", attributes=ATTRIBUTE_KEYS, sticker_evidence="regions")
    sticker = blank_model(printed).sticker
    rng = np.random.default_rng(config.seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.normal(size=shape).astype(np.float32))

    described = torch.ones(stickers, len(ATTRIBUTE_KEYS), dtype=torch.bool)
    descriptions = normal(*described.shape, sticker.f_des.in_features)
    regions = normal(stickers, 49, sticker.f_vis.in_features)
    queries = torch.nn.functional.normalize(normal(len(INTENTIONS), config.width), dim=1)
    change = sticker(descriptions, described, regions) - sticker(descriptions, ~described, regions)
    return float((queries @ change.T).abs().max())
