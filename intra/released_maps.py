"""What the release-faithful model has in the place of relation maps: what moves its sticker vector, and by how much.

`python -m intra.released_maps` writes the record that the book shows.

Each of its attentions has one key, an attribute, so that there are no weights over regions that could be laid over a
sticker. Asked instead is how far a vector moves when something is taken from the sticker: a region, which is painted
over, or a whole input, which is exchanged for another sticker's. Two vectors are asked:

- the sticker vector that is ranked by, with the same random layers before and after, for several draws of them;
- the plain picture vector, which the contrastive loss teaches and no score reads: the nearest thing to a learned map.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from intra.components import Components
from intra.config import RunConfig
from intra.data.reader import config_dataset
from intra.encoders.vision import as_pixels, encode_pictures
from intra.features import build_features
from intra.files import replaced
from intra.maps import INPUTS, RELEASED_MAPS
from intra.models.released import ReleasedIntRA, sticker_vector
from intra.paths import BUILD
from intra.records import WEIGHTS, Record
from intra.running import run_one
from intra.study import study_configs

DRAWS = 4
"""Draws of the random layers for each run."""


def with_hidden_regions(pixels: np.ndarray, side: int) -> np.ndarray:
    """A picture, and the same with one region after the other painted over with its median colour.

    Args:
        pixels: Shape (3, H, H).
        side: Regions a row; H is a multiple.

    Returns:
        Shape (1 + side * side, 3, H, H), regions row by row from the top.
    """
    block = pixels.shape[1] // side
    colour = np.median(pixels, axis=(1, 2))[:, None, None]
    pictures = np.repeat(pixels[None], 1 + side * side, axis=0)
    for region in range(side * side):
        y, x = (block * place for place in divmod(region, side))
        pictures[1 + region, :, y : y + block, x : x + block] = colour
    return pictures


def hidden_class_tokens(config: RunConfig) -> np.ndarray:
    """Class tokens of the test stickers, whole and with each region hidden, shape (S, 1 + P, w), float32."""
    vision = Components(config.profile).vision
    tower = vision.model()
    size, side = tower.image_size[0], tower.grid_size[0]

    def pixels(pictures: list[Image.Image]) -> np.ndarray:
        return np.concatenate([with_hidden_regions(one, side) for one in as_pixels(pictures, size)])

    images = [sticker.image for sticker in config_dataset(config).split("test").stickers]
    tokens = encode_pictures(tower, pixels, images, 1, vision.name).class_tokens
    return tokens.reshape(len(images), 1 + side * side, -1)


def variants(pictures: Tensor, descriptions: Tensor, sticker: int) -> Iterator[tuple[Tensor, Tensor]]:
    """A sticker's inputs: as they are, with each region hidden, and with each of `INPUTS` from the next sticker.

    Args:
        pictures: Projected class tokens, whole and with each region hidden, shape (S, 1 + P, d).
        descriptions: Projected descriptions, shape (S, A, d).
        sticker: Row of the sticker; after the last one comes the first.

    Yields:
        A picture, shape (d,), and descriptions, shape (A, d); 1 + P + 1 + A such pairs.
    """
    own, told, other = pictures[sticker], descriptions[sticker], (sticker + 1) % len(pictures)
    for picture in own:
        yield picture, told
    yield pictures[other, 0], told
    for attribute in range(len(told)):
        exchanged = told.clone()
        exchanged[attribute] = descriptions[other, attribute]
        yield own[0], exchanged


def moved(vectors: Tensor) -> Tensor:
    """How far each vector but the first is from the first: 1 minus their cosine, exactly 0 for equal ones.

    Args:
        vectors: Shape (N, d).

    Returns:
        Shape (N - 1,).
    """
    first, others = vectors[0], vectors[1:]
    distance = (1 - functional.cosine_similarity(first[None], others)).clamp(min=0)
    return distance.masked_fill((others == first).all(dim=1), 0)  # rounding alone would leave some 1e-7


def moves(pictures: Tensor, descriptions: Tensor, sticker: int, seed: tuple[int, ...]) -> Tensor:
    """How far each of the other `variants` moves the vector that a sticker is ranked by, shape (P + 1 + A,).

    Args:
        pictures: See `variants`, as the next two.
        descriptions: Shape (S, A, d).
        sticker: Row of the sticker.
        seed: Of the layers, which are the same for all variants.
    """
    pairs = variants(pictures, descriptions, sticker)
    return moved(torch.stack([sticker_vector(*pair, np.random.default_rng(seed)) for pair in pairs]))


@torch.inference_mode()
def maps_of_run(record: Record, tokens: np.ndarray) -> dict[str, np.ndarray]:
    """The maps of one run.

    Args:
        record: Of the system `released`, with its weights.
        tokens: Answer of `hidden_class_tokens`.

    Returns:
        `ranked`, shape (DRAWS, S, P), `exchanged`, shape (DRAWS, S, 1 + A), and `learned`, shape (S, P): see `moved`.
    """
    config = record.config
    features = build_features(config, record.root / "generated")
    system = ReleasedIntRA(config, features)
    system.load(record.path / WEIGHTS)
    pictures = system.model.image_projection(torch.from_numpy(tokens))
    descriptions = system.model.text_projection(torch.from_numpy(features.test.gallery.description_features))
    stickers, regions = len(pictures), pictures.shape[1] - 1
    found = np.empty((DRAWS, stickers, regions + len(INPUTS)), np.float32)
    for draw in range(DRAWS):
        for sticker in range(stickers):
            found[draw, sticker] = moves(pictures, descriptions, sticker, (config.seed, draw, sticker))
    learned = torch.stack([moved(own) for own in pictures]).numpy()
    return {"ranked": found[..., :regions], "exchanged": found[..., regions:], "learned": learned}


def main(path: Path = RELEASED_MAPS, profile: str = "mini", root: Path = BUILD / "records") -> None:
    """Write the record; runs that `root` lacks are made.

    The arrays of `maps_of_run` get a first axis, one entry a run; beside them lie the `runs` and the `stickers`.
    """
    configs = study_configs("release", profile)["as released"]
    records = [run_one(config, root) for config in configs]
    tokens = hidden_class_tokens(configs[0])
    found = [maps_of_run(record, tokens) for record in records]
    arrays = {name: np.stack([maps[name] for maps in found]).astype(np.float16) for name in found[0]}
    stickers = [sticker.id for sticker in config_dataset(configs[0]).split("test").stickers]
    with replaced(path) as unfinished:
        np.savez_compressed(unfinished, runs=[record.path.name for record in records], stickers=stickers, **arrays)


if __name__ == "__main__":
    main()
