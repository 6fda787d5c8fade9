"""How far the trained encoder carries without further training: to the benchmark's stickers, to unseen art."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from intra.data.schema import SPLITS, Sticker
from intra.encoders.text import TextEncoder
from intra.encoders.vision import OpenClipVisionEncoder
from intra.generation.tagger import VOCABULARIES
from intra.pretraining.art import Emoji, name_of, rendered
from intra.pretraining.drawings import FIELDS, describe_key
from intra.pretraining.texts import Described, text_vectors, unit

LANGUAGES = {"chinese": True, "english": False}
RANKS = (1, 5, 10)


def zero_shot(vectors: np.ndarray, stickers: Sequence[Sticker], encoder: TextEncoder, cache: Path) -> list[dict]:
    """Accuracy of the nearest key's text, by attribute and split.

    For each attribute, every key of its vocabulary is a text of the form of the pretraining descriptions; a
    sticker is given the key whose text has the greatest cosine with its picture.

    Args:
        vectors: Pooled picture vectors, shape (S, c), of any length.
        stickers: The S stickers, with their drawing specifications.
        encoder: The text encoder of the pretraining.
        cache: Folder of what can be computed again.

    Returns:
        One row an attribute and split: the number of `stickers`, the share that is right with `chinese` and with
        `english` texts, `chance`, and `majority`, the share of the key that is commonest in the split.
    """
    rows = []
    for attribute, keys in VOCABULARIES.items():
        drawn = np.array([sticker.specification[FIELDS[attribute]] for sticker in stickers])
        right = {}
        for language, chinese in LANGUAGES.items():
            described = [Described(describe_key(attribute, key, chinese), chinese) for key in keys]
            nearest = (vectors @ text_vectors(described, encoder, cache).T).argmax(axis=1)
            right[language] = np.array(list(keys))[nearest] == drawn
        for split in SPLITS:
            own = np.array([split in sticker.splits for sticker in stickers])
            row = {"attribute": attribute, "split": split, "stickers": int(own.sum())}
            shares = {language: float(hits[own].mean()) for language, hits in right.items()}
            commonest = Counter(drawn[own]).most_common(1)[0][1]
            rows.append(row | shares | {"chance": 1 / len(keys), "majority": commonest / row["stickers"]})
    return rows


def retrieval(vectors: np.ndarray, art: Sequence[Emoji], encoder: TextEncoder, cache: Path) -> list[dict]:
    """How well names find their pictures among all pictures of one set of emoji art.

    Args:
        vectors: Pooled picture vectors, shape (N, c), of any length.
        art: The N pictures, each with a name of its own.
        encoder: The text encoder of the pretraining.
        cache: Folder of what can be computed again.

    Returns:
        One row for `chinese` and `english` names and one for `chance`, a random order: the set, its number of
        `pictures`, the share of names whose picture is among the first 1, 5 and 10, and the median rank.
    """
    from open_clip_train.train import get_clip_metrics

    pictures, count = torch.from_numpy(unit(vectors)), len(art)
    found = {}
    for language, chinese in LANGUAGES.items():
        texts = text_vectors([Described(name_of(emoji, chinese), chinese) for emoji in art], encoder, cache)
        metrics = get_clip_metrics(pictures, torch.from_numpy(texts), 1.0)
        found[language] = {f"recall@{rank}": float(metrics[f"text_to_image_R@{rank}"]) for rank in RANKS}
        found[language]["median rank"] = float(metrics["text_to_image_median_rank"])
    found["chance"] = {f"recall@{rank}": min(1.0, rank / count) for rank in RANKS} | {"median rank": (count + 1) / 2}
    return [{"set": art[0].collection, "names": names, "pictures": count} | row for names, row in found.items()]


def picture_vectors(vision: OpenClipVisionEncoder, art: Sequence[Emoji], size: int) -> np.ndarray:
    """Pooled vectors of emoji art, shape (N, c), float32."""
    with torch.inference_mode():
        pixels = torch.from_numpy(rendered(art, size)).permute(0, 3, 1, 2)
        return torch.cat([vision.model()(batch.float() / 127.5 - 1)[0] for batch in pixels.split(128)]).numpy()
