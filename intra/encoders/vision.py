r"""Vision encoders: a picture to region features and one pooled vector (Eq. 9, H^I = ViT(v))."""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image
from tqdm import tqdm

from intra.data.pictures import open_picture
from intra.errors import IntraError
from intra.weights import load_weights

FOLDER = Path(__file__).parent
STICKER_VIT = FOLDER / "sticker-vit.json"
STICKER_VIT_WEIGHTS = FOLDER / "sticker-vit.safetensors"
TINY_VIT = FOLDER / "tiny-vit.json"
HALF = (0.5, 0.5, 0.5)
"""Mean and deviation of the channels that bring pixels to [-1, 1]."""
Pixels = Callable[[list[Image.Image]], np.ndarray]
"""From N RGB pictures to what a tower reads, shape (N, 3, H, W), float32."""


@dataclass(frozen=True)
class ImageFeatures:
    """What a vision encoder sees in N pictures."""

    regions: np.ndarray
    """Patch tokens after the last layer norm, without the class token, shape (N, P, w), float32."""
    class_tokens: np.ndarray
    """The class token after the last layer norm, as the patch tokens before any projection, shape (N, w), float32."""
    pooled: np.ndarray
    """One vector a picture in the joint space of picture and text, shape (N, c), float32, not normalised."""


class VisionEncoder(Protocol):
    """Anything that turns pictures into region features."""

    name: str
    """With the digest of the weights; goes into cache keys and records."""
    centred_texts: bool
    """Whether the mean was subtracted from the text vectors that the joint space was learned with."""

    def encode(self, images: Sequence[Path]) -> ImageFeatures:
        """Features of each picture, in order."""

    def token_states(self, images: Sequence[Path], layers: int) -> np.ndarray:
        """Token vectors that enter the last so many layers, class token first: shape (N, P + 1, w), float32.

        Raises:
            IntraError: If there are not so many layers, here as below.
        """

    def last_layers(self, count: int):
        """A copy of these layers, to be trained: from such token vectors to `ImageFeatures.pooled`."""


class OpenClipVisionEncoder:
    """A ViT of an open_clip model configuration, with weights from a local file."""

    centred_texts = True  # see `pretraining.texts`

    def __init__(self, configuration: Path, weights: Path | None = None, batch_size: int = 32):
        """Keep the paths; the model is built at the first call.

        Args:
            configuration: open_clip model configuration (JSON); its file name names the architecture.
            weights: safetensors of the visual tower, keys without the `visual.` prefix; None leaves the
                random initialisation of seed 0 (tests).
            batch_size: Pictures a forward pass.
        """
        self.configuration, self.weights, self.batch_size = configuration, weights, batch_size
        digest = hashlib.sha256(configuration.read_bytes())
        if weights is not None:
            if not weights.is_file():
                raise IntraError(f"{weights}: the weights of {configuration.stem} are missing")
            digest.update(weights.read_bytes())
        self.name = f"{configuration.stem}@{digest.hexdigest()[:8]}"
        self._model = None

    def model(self):
        """The visual tower (an `open_clip` VisionTransformer that also returns tokens), built once."""
        if self._model is None:
            self._model = build_tower(self.configuration, self.weights)
        return self._model

    def encode(self, images: Sequence[Path]) -> ImageFeatures:
        """See `VisionEncoder.encode`."""
        return encode_pictures(self.model(), self._pixels, images, self.batch_size, self.name)

    def token_states(self, images: Sequence[Path], layers: int) -> np.ndarray:
        """See `VisionEncoder.token_states`."""
        blocks = last_blocks(self.model(), layers, self.name)
        return encode_states(self.model(), blocks[0], self._pixels, images, self.batch_size, self.name)

    def last_layers(self, count: int):
        """See `VisionEncoder.last_layers`."""
        from intra.encoders.blocks import LastBlocks

        return LastBlocks(last_blocks(self.model(), count, self.name), self.model())

    def _pixels(self, pictures: list[Image.Image]) -> np.ndarray:
        return as_pixels(pictures, self.model().image_size[0])


def encode_pictures(tower, pixels: Pixels, images: Sequence[Path], batch_size: int, name: str) -> ImageFeatures:
    """Run a visual tower over picture files.

    Args:
        tower: From pixels to (pooled (N, c), tokens (N, P, w)), an `open_clip` VisionTransformer; its first
            parameter tells the device.
        pixels: From RGB pictures to an array (N, 3, H, W).
        images: Picture files.
        batch_size: Pictures a forward pass.
        name: Shown beside the progress.

    Returns:
        Features in the order of the files.
    """
    import torch

    regions, classes, pooled = [], [], []
    with torch.inference_mode(), _class_tokens(tower) as seen:
        for batch in _batches(tower, pixels, images, batch_size, name):
            one, tokens = tower(batch)
            pooled.append(one.float().cpu().numpy())
            regions.append(tokens.float().cpu().numpy())
            classes.append(seen.pop().float().cpu().numpy())
    return ImageFeatures(np.concatenate(regions), np.concatenate(classes), np.concatenate(pooled))


def encode_states(tower, block, pixels: Pixels, images: Sequence[Path], batch_size: int, name: str) -> np.ndarray:
    """Run a visual tower over picture files, for what enters one of its blocks.

    Args:
        tower: See `encode_pictures`, also for what follows the block.
        block: One of the tower's blocks.
        pixels: From RGB pictures to an array (N, 3, H, W).
        images: Picture files.
        batch_size: Pictures a forward pass.
        name: Shown beside the progress.

    Returns:
        Token vectors, class token first, shape (N, P + 1, w), float32.
    """
    import torch

    states = []
    hook = block.register_forward_pre_hook(lambda _, inputs: states.append(inputs[0].float().cpu().numpy()))
    try:
        with torch.inference_mode():
            for batch in _batches(tower, pixels, images, batch_size, name):
                tower(batch)
    finally:
        hook.remove()
    return np.concatenate(states)


def last_blocks(tower, count: int, name: str):
    """The last blocks of a visual tower that projects its class token.

    Args:
        tower: An `open_clip` VisionTransformer.
        count: How many.
        name: Of the encoder, for messages.

    Returns:
        A module of these blocks, in order, that shares its weights with the tower.

    Raises:
        IntraError: If it has not so many, or projects something else.
    """
    from torch import nn

    blocks = tower.transformer.resblocks
    if tower.attn_pool is not None or tower.pool_type != "tok":
        raise IntraError(f"tuned_layers: {name} pools its tokens, expected a ViT that projects its class token")
    if count > len(blocks):
        raise IntraError(f"tuned_layers is {count}, but {name} has {len(blocks)} layers")
    return nn.Sequential(*blocks[-count:])


def _batches(tower, pixels: Pixels, images: Sequence[Path], batch_size: int, name: str) -> Iterator:
    """Pixels of the pictures, batch by batch, on the tower's device."""
    import torch

    device = next(tower.parameters()).device
    for start in tqdm(range(0, len(images), batch_size), desc=name, delay=2, disable=None):
        batch = [open_picture(path) for path in images[start : start + batch_size]]
        yield torch.from_numpy(pixels(batch)).to(device)


@contextmanager
def _class_tokens(tower) -> Iterator[list]:
    """Give a list that every forward pass adds its class tokens (N, w) to, which the tower itself only projects."""
    seen = []

    def keep(norm, inputs, output) -> None:
        seen.append(output[:, 0] if output.ndim == 3 else output)  # some towers normalise what they pooled, alone

    hook = tower.ln_post.register_forward_hook(keep)
    try:
        yield seen
    finally:
        hook.remove()


def as_pixels(
    pictures: Sequence[Image.Image], size: int, mean: Sequence[float] = HALF, deviation: Sequence[float] = HALF
) -> np.ndarray:
    """Scale pictures into a white square and normalise them: x = (v / 255 - mean) / deviation.

    Nothing is cropped, for captions sit at the edges of a sticker.

    Args:
        pictures: N RGB pictures.
        size: Side of the square, in pixels.
        mean: Of each channel, in units of its full range; one half, with the deviation, gives [-1, 1].
        deviation: Of each channel, in the same units.

    Returns:
        Shape (N, 3, size, size), float32.
    """
    pixels = np.full((len(pictures), size, size, 3), 255, np.uint8)
    for row, picture in enumerate(pictures):
        scale = size / max(picture.size)
        fitted = picture.resize([max(1, round(side * scale)) for side in picture.size], Image.Resampling.BICUBIC)
        left, top = (size - fitted.width) // 2, (size - fitted.height) // 2
        pixels[row, top : top + fitted.height, left : left + fitted.width] = np.asarray(fitted)
    centre, spread = (255 * np.array(values, np.float32) for values in (mean, deviation))
    return ((pixels - centre) / spread).transpose(0, 3, 1, 2)


def build_tower(configuration: Path, weights: Path | None):
    """Build the visual tower that an open_clip model configuration describes.

    Args:
        configuration: See `OpenClipVisionEncoder`.
        weights: See `OpenClipVisionEncoder`.

    Returns:
        An `open_clip.transformer.VisionTransformer` in evaluation mode; called with pixels (N, 3, H, W) it
        returns (pooled (N, c), tokens (N, P, w)).

    Raises:
        IntraError: If the weights do not fit the configuration.
    """
    import open_clip
    import torch

    described = json.loads(configuration.read_text())
    stem = described.pop("stem", None)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tower = open_clip.CLIP(**described).visual
        if stem == "convolutional":
            tower.conv1 = convolutional_stem(described["vision_cfg"])
    if weights is not None:
        load_weights(tower, weights, configuration.name)
    tower.output_tokens = True
    return tower.eval()


def convolutional_stem(vision: dict):
    """Layers that take the place of a ViT's one linear layer on patches, with the same output.

    Stride-2 convolutions down to the grid of patches. Trained on drawings alone, a transformer with linear
    patches finds eyes, mouths and hands much later.

    Args:
        vision: `vision_cfg` of an open_clip model configuration; its patch size is a power of two.

    Returns:
        A module from pixels (N, 3, H, W) to (N, width, H / patch size, W / patch size).
    """
    from torch import nn

    halvings = vision["patch_size"].bit_length() - 1
    widths = [3, *(vision["width"] >> (halvings - 1 - step) for step in range(halvings))]
    layers = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.GELU()]
    return nn.Sequential(*layers, nn.Conv2d(vision["width"], vision["width"], 1))
