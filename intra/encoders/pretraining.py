r"""Train the packaged vision encoder and tagger on drawings: `python -m intra.encoders.pretraining`.

No picture encoder can be had without a network, so a small ViT learns what stickers show from stickers that
are in no benchmark: composed characters, and expressions, gestures, postures, props, styles and captions
drawn independently of each other, so that nothing about intentions can be learnt. The loss is

    L = sum_a CE(tagger_a(regions), key_a) + C(pooled, text) + 1/2 sum_b -log sum_{p in box_b} alpha_bp

with the tagger's cross-entropy for each attribute a, the symmetric contrastive loss C of CLIP against the
frozen text encoder's vectors of a description in Chinese or English, and the share of the tagger's attention
that falls on the face (expression) and on the hands (gesture), which the drawing code knows.
"""

import argparse
import dataclasses
import hashlib
import io
import json
import logging
import math
import multiprocessing
import os
import random
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from intra.data.pictures import on_white
from intra.encoders.pretraining_art import SEEN, Emoji, read_art, rendered
from intra.encoders.text import TextEncoder, offline_e5
from intra.encoders.vision import STICKER_VIT, STICKER_VIT_WEIGHTS, as_pixels, build_tower
from intra.generation.tagger import TAGGER_WEIGHTS, VOCABULARIES, StickerTagger
from intra.paths import cache_directory
from intra.replystickers import drawing, vocabulary
from intra.replystickers.drawing.characters import Character, held_out_characters
from intra.replystickers.drawing.sticker import draw, rasterise
from intra.replystickers.specification import VOCABULARIES as SPECIFIED
from intra.replystickers.specification import StickerSpecification

RECORD = Path(__file__).parent / "pretraining.json"
CAPTIONS = Path(vocabulary.__file__).parent / "design" / "pretraining_captions.txt"
"""Captions that no sticker of the benchmark has, one a line."""
FIELDS = {"gesture": "gesture", "posture": "posture", "facial_expression": "expression"}
"""Each attribute of the tagger to the field of the specification that holds its key."""
GUIDED = {"gesture": "hand", "facial_expression": "face"}
"""Each attribute that is looked for in one part of the drawing, with the name of that part."""
CANVAS = 240
"""Side of the square that the drawing code gives boxes in."""
TRAINING_CHARACTERS, VALIDATION_CHARACTERS = 1, 2
"""Seeds of the two casts; neither has a benchmark character."""
CAPTIONED, WITHOUT_PROP, TRANSPARENT = 0.55, 0.4, 0.5
UNKNOWN = -100
"""Label of what nobody knows; torch's cross-entropy leaves it out."""
LARGEST_SCALE = 100.0
"""Clamp of the contrastive loss's factor, as in CLIP."""

logger = logging.getLogger("intra.pretraining")


@dataclass(frozen=True)
class Settings:
    """What decides the weights, beside the data."""

    epochs: int = 11
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    """Share of all steps in which the learning rate rises."""
    seed: int = 0
    bfloat16: bool = False


@dataclass(frozen=True)
class Example:
    """One drawing to learn from."""

    character: Character
    specification: StickerSpecification
    description: str
    chinese: bool


@dataclass(frozen=True)
class Described:
    """A text and its language; an `Example` is one, too."""

    description: str
    chinese: bool


@dataclass(frozen=True)
class Data:
    """N drawings as arrays."""

    pixels: np.ndarray
    """Shape (N, size, size, 3), uint8."""
    boxes: np.ndarray
    """Left, top, right and bottom of the parts of `GUIDED`, the picture being [-1, 1]; (N, parts, 4), float32."""
    labels: dict[str, np.ndarray]
    """Place of each attribute's key in its vocabulary, shape (N,), int64; `UNKNOWN` for emoji art."""
    texts: np.ndarray
    """Unit vectors of the descriptions, shape (N, c), float32."""
    groups: np.ndarray
    """The same number for the same description, shape (N,), int64."""


def draw_examples(count: int, seed: int, captions: Sequence[str]) -> list[Example]:
    """Draw specifications at random, each with a character of its own.

    Args:
        count: How many.
        seed: Chooses the cast and the looks.
        captions: To choose captions from.
    """
    rng = random.Random(f"pretraining {seed}")
    return [_example(character, captions, rng) for character in held_out_characters(seed, count)]


def _example(character: Character, captions: Sequence[str], rng: random.Random) -> Example:
    colour = f"#{rng.randrange(160, 256):02x}{rng.randrange(160, 256):02x}{rng.randrange(160, 256):02x}"
    specification = StickerSpecification(
        character=character.key,
        style=rng.choice(list(vocabulary.STYLES)),
        expression=rng.choice(list(vocabulary.EXPRESSIONS)),
        gesture=rng.choice(list(vocabulary.GESTURES)),
        posture=rng.choice(list(vocabulary.POSTURES)),
        prop="none" if rng.random() < WITHOUT_PROP else rng.choice(list(vocabulary.PROPS)),
        caption=rng.choice(captions) if rng.random() < CAPTIONED else "",
        background="transparent" if rng.random() < TRANSPARENT else colour,
        variation=rng.randrange(10_000),
    )
    chinese = rng.random() < 0.5
    return Example(character, specification, describe(specification, chinese), chinese)


def describe(specification: StickerSpecification, chinese: bool) -> str:
    """Say what a drawing shows, in Chinese or English; the made-up character has no name worth saying."""
    word = {field: known[getattr(specification, field)][0 if chinese else 1] for field, known in SPECIFIED.items()}
    if chinese:
        text = f"{word['style']}的表情包，表情{word['expression']}，手势{word['gesture']}，姿势{word['posture']}"
        text += f"，画着{word['prop']}" if word["prop"] else ""
        return text + (f"，写着「{specification.caption}」" if specification.caption else "")
    text = f"a sticker, {word['style']}: {word['expression']}, {word['gesture']}, {word['posture']}"
    text += f", with {word['prop']}" if word["prop"] else ""
    return text + (f', saying "{specification.caption}"' if specification.caption else "")


def picture(example: Example, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw an example as the vision encoder sees it; every third one has been through a lossy file.

    Returns:
        Pixels, shape (size, size, 3), uint8, and boxes as in `Data`, shape (parts, 4), float32.
    """
    drawing = draw(example.specification, example.character)
    image = on_white(rasterise(drawing))
    rng = random.Random(f"{example.specification.variation} {example.description}")
    if rng.random() < 1 / 3:
        file = io.BytesIO()
        image.save(file, "WEBP", quality=rng.randrange(40, 95), method=0)
        image = Image.open(file).convert("RGB")
    pixels = as_pixels([image], size)[0].transpose(1, 2, 0)
    boxes = np.array([drawing.regions[part] for part in GUIDED.values()], np.float32) * 2 / CANVAS - 1
    return np.rint((pixels + 1) * 127.5).astype(np.uint8), boxes


def pictures(examples: Sequence[Example], size: int, cache: Path, processes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Draw all examples, or load them from the cache.

    Args:
        examples: What to draw.
        size: Side in pixels.
        cache: Folder of what can be computed again.
        processes: How many draw at the same time.

    Returns:
        Pixels, shape (N, size, size, 3), uint8, and boxes as in `Data`.
    """
    key = digest(drawing_digest(), examples, size)
    paths = cache / f"drawings-{key}.npy", cache / f"boxes-{key}.npy"
    if all(path.exists() for path in paths):
        return np.load(paths[0]), np.load(paths[1])
    jobs = [(example, size) for example in examples]
    # a forked child of a process whose torch has threads can hang
    with multiprocessing.get_context("spawn").Pool(processes) if processes > 1 else nullcontext() as pool:
        drawn = pool.imap(_draw_job, jobs, chunksize=32) if pool else map(_draw_job, jobs)
        pixels, boxes = zip(*tqdm(drawn, total=len(jobs), desc="drawing", delay=2, disable=None), strict=True)
    arrays = np.stack(pixels), np.stack(boxes)
    for path, array in zip(paths, arrays, strict=True):
        _replace(path, lambda file, array=array: np.save(file, array))
    return arrays


def _draw_job(job: tuple[Example, int]) -> tuple[np.ndarray, np.ndarray]:
    return picture(*job)


def text_vectors(examples: Sequence[Example | Described], encoder: TextEncoder, cache: Path) -> np.ndarray:
    """Vectors of the descriptions, centred by language, for a picture cannot tell in which one it is described.

    Returns:
        Unit vectors, shape (N, c), float32.
    """
    texts = [example.description for example in examples]
    path = cache / f"descriptions-{digest(encoder.name, texts)}.npy"
    if path.exists():
        vectors = np.load(path)
    else:
        # targets of a training need no more digits, and it is three times as fast
        with torch.autocast("cpu", torch.bfloat16, enabled=fast_bfloat16()):
            vectors = encoder.encode(texts, "passage")
        _replace(path, lambda file: np.save(file, vectors))
    chinese = np.array([example.chinese for example in examples])
    for language in (chinese, ~chinese):
        if language.any():
            vectors[language] -= vectors[language].mean(axis=0)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def prepare(examples: Sequence[Example], size: int, encoder: TextEncoder, cache: Path, processes: int = 2) -> Data:
    """Everything the training reads of some examples; arguments as in `pictures` and `text_vectors`."""
    labels = {}
    for name, keys in VOCABULARIES.items():
        places = {key: place for place, key in enumerate(keys)}
        labels[name] = np.array([places[getattr(e.specification, FIELDS[name])] for e in examples])
    _, groups = np.unique([example.description for example in examples], return_inverse=True)
    pixels, boxes = pictures(examples, size, cache, processes)
    return Data(pixels, boxes, labels, text_vectors(examples, encoder, cache), groups)


def prepare_art(art: Sequence[Emoji], size: int, encoder: TextEncoder, cache: Path, seed: int) -> Data:
    """Emoji art as data without labels and boxes, each picture with its Chinese or its English name."""
    rng = random.Random(f"emoji {seed}")
    chinese = [rng.random() < 0.5 for _ in art]
    texts = [name_of(emoji, zh) for emoji, zh in zip(art, chinese, strict=True)]
    described = [Described(text, zh) for text, zh in zip(texts, chinese, strict=True)]
    _, groups = np.unique(texts, return_inverse=True)
    return Data(
        pixels=rendered(art, size),
        boxes=np.zeros((len(art), len(GUIDED), 4), np.float32),
        labels={name: np.full(len(art), UNKNOWN) for name in VOCABULARIES},
        texts=text_vectors(described, encoder, cache),
        groups=groups,
    )


def name_of(emoji: Emoji, chinese: bool) -> str:
    """What an emoji shows, as a description."""
    return f"表情符号：{emoji.chinese}" if chinese else f"an emoji: {emoji.english}"


def joined(one: Data, other: Data) -> Data:
    """Two data sets as one, with groups kept apart."""
    return Data(
        pixels=np.concatenate([one.pixels, other.pixels]),
        boxes=np.concatenate([one.boxes, other.boxes]),
        labels={name: np.concatenate([one.labels[name], other.labels[name]]) for name in VOCABULARIES},
        texts=np.concatenate([one.texts, other.texts]),
        groups=np.concatenate([one.groups, other.groups + one.groups.max() + 1]),
    )


def contrastive_loss(
    images: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor, groups: torch.Tensor
) -> torch.Tensor:
    r"""Symmetric contrastive loss in which a pair with the same text is no negative.

    With s_ij = scale * cos(image_i, text_j), and without the j != i that have i's group:

        C = 1/2B sum_i (-log exp(s_ii) / sum_j exp(s_ij) - log exp(s_ii) / sum_j exp(s_ji))

    Args:
        images: Shape (B, c), float32, of any length.
        texts: Unit vectors, shape (B, c), float32.
        scale: Positive factor, a scalar.
        groups: Shape (B,), int64.

    Returns:
        A scalar.
    """
    similar = scale * F.normalize(images, dim=1) @ texts.T
    same = groups[:, None] == groups[None, :]
    same.fill_diagonal_(False)
    similar = similar.masked_fill(same, -math.inf)
    own = torch.arange(len(images))
    return (F.cross_entropy(similar, own) + F.cross_entropy(similar.T, own)) / 2


def guidance_loss(attention: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    r"""How little attention falls on the cells that a box touches: mean of -log sum_{p in box} alpha_p.

    Args:
        attention: Shares of the P cells of a square grid, row by row, shape (B, P), float32.
        boxes: Left, top, right, bottom, the picture being [-1, 1], shape (B, 4).

    Returns:
        A scalar.
    """
    side = math.isqrt(attention.shape[1])
    centres = (2 * torch.arange(side) + 1) / side - 1
    # the middle of a box is kept, for a box that was shifted out of the picture touches no cell
    middle = ((boxes[:, :2] + boxes[:, 2:]) / 2).clamp(-1, 1)
    reach = (boxes[:, 2:] - boxes[:, :2]) / 2 + 1 / side
    x, y = ((centres - middle[:, axis, None]).abs() <= reach[:, axis, None] for axis in (0, 1))
    touched = (y[:, :, None] & x[:, None, :]).flatten(1)
    return -(attention * touched).sum(1).clamp(min=1e-6).log().sum() / max(1, len(attention))


def augment(pixels: torch.Tensor, boxes: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Change pictures a little: shift, scale, turn, contrast, colour, blur or noise; nothing is mirrored.

    Args:
        pixels: Shape (B, size, size, 3), uint8.
        boxes: As in `Data`, shape (B, parts, 4).
        generator: Source of all chance.

    Returns:
        Pixels, shape (B, 3, size, size), float32, about [-1, 1], and the boxes, moved along.
    """

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(len(pixels), *shape, generator=generator)

    darkness = 1 - pixels.permute(0, 3, 1, 2).float() / 255  # what is sampled from outside is white
    turn, zoom, shifts = uniform(-0.07, 0.07), uniform(0.92, 1.15), uniform(-0.08, 0.08, 2)
    cosine, sine = turn.cos() * zoom, turn.sin() * zoom
    # each new place to the old place that it shows
    maps = torch.stack([cosine, -sine, shifts[:, 0], sine, cosine, shifts[:, 1]], 1).reshape(-1, 2, 3)
    grid = F.affine_grid(maps, darkness.shape, align_corners=False)
    darkness = F.grid_sample(darkness, grid, align_corners=False)
    darkness = darkness * uniform(0.75, 1.2, 1, 1, 1) * uniform(0.85, 1.15, 3, 1, 1)
    blurred = uniform(0, 1) < 0.15
    darkness[blurred] = F.avg_pool2d(darkness[blurred], 3, stride=1, padding=1)
    noise = torch.randn(darkness.shape, generator=generator) * uniform(-0.06, 0.04, 1, 1, 1).clamp(min=0)
    # the turn of at most four degrees hardly moves a box
    return 1 - 2 * (darkness + noise), (boxes - shifts.repeat(1, 2)[:, None]) / zoom[:, None, None]


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
        vision = json.loads(configuration.read_text())["vision_cfg"]
        self.size, self.bfloat16 = vision["image_size"], bfloat16
        self.tower = build_tower(configuration, None)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.tagger = StickerTagger(vision["width"])
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


def take(data: Data, rows: torch.Tensor, generator: torch.Generator) -> Data:
    """A batch of augmented drawings, as tensors."""
    index = rows.numpy()
    pixels, boxes = augment(torch.from_numpy(data.pixels[index]), torch.from_numpy(data.boxes[index]), generator)
    return Data(
        pixels=pixels,
        boxes=boxes,
        labels={name: torch.from_numpy(places[index]) for name, places in data.labels.items()},
        texts=torch.from_numpy(data.texts[index]),
        groups=torch.from_numpy(data.groups[index]),
    )


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


def rate(step: int, steps: int, settings: Settings) -> float:
    """Learning rate of a step: a linear rise, then half a cosine down to nothing."""
    rise = max(1, round(settings.warmup * steps))
    if step < rise:
        return settings.learning_rate * (step + 1) / rise
    return settings.learning_rate * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise))) / 2


def train(
    configuration: Path, settings: Settings, data: Data, validation: Data, checkpoint: Path
) -> tuple[Learner, list[dict]]:
    """Train, going on after the last whole epoch if a training of these settings was cut off.

    Args:
        configuration: open_clip model configuration of the tower.
        settings: What decides the weights.
        data: To learn from.
        validation: Scored after every epoch; nothing is chosen by it.
        checkpoint: File that is written after every epoch.

    Returns:
        The trained model, and for each epoch its number, mean losses, validation accuracies and seconds.
    """
    learner = Learner(configuration, settings.seed, settings.bfloat16)
    decayed = [p for p in learner.parameters() if p.ndim >= 2]
    others = [p for p in learner.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed}, {"params": others, "weight_decay": 0.0}],
        weight_decay=settings.weight_decay,
        betas=(0.9, 0.98),
        fused=True,
    )
    history = []
    if checkpoint.exists():
        state = torch.load(checkpoint)
        learner.load_state_dict(state["learner"])
        optimizer.load_state_dict(state["optimizer"])
        history = state["history"]
    for epoch in range(len(history), settings.epochs):
        start = time.perf_counter()
        losses = _epoch(learner, optimizer, data, epoch, settings)
        entry = {"epoch": epoch + 1, "losses": losses, "validation": accuracies(learner, validation)}
        history.append(entry | {"seconds": round(time.perf_counter() - start, 1)})
        logger.info(json.dumps(history[-1]))
        state = {"learner": learner.state_dict(), "optimizer": optimizer.state_dict(), "history": history}
        save_checkpoint(checkpoint, state)
    return learner, history


def _epoch(learner: Learner, optimizer, data: Data, epoch: int, settings: Settings) -> dict[str, float]:
    """One pass over the data: the mean of each term of the loss."""
    learner.train()
    # a generator for each epoch: one that is repeated after a crash sees the same pictures
    generator = torch.Generator().manual_seed(1000 * settings.seed + epoch)
    batches = torch.randperm(len(data.pixels), generator=generator).split(settings.batch_size)
    sums: dict[str, float] = {}
    for number, rows in enumerate(tqdm(batches, desc=f"epoch {epoch + 1}", delay=2, disable=None)):
        for group in optimizer.param_groups:
            group["lr"] = rate(epoch * len(batches) + number, settings.epochs * len(batches), settings)
        terms = learner.losses(take(data, rows, generator))
        optimizer.zero_grad()
        sum(terms.values()).backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()
        for name, term in terms.items():
            sums[name] = sums.get(name, 0.0) + term.item() * len(rows) / len(data.pixels)
    return {name: round(value, 4) for name, value in sums.items()}


def save_checkpoint(path: Path, state: dict) -> None:
    """Write a checkpoint whole or not at all."""
    _replace(path, lambda file: torch.save(state, file))


def _replace(path: Path, write) -> None:
    """Let `write` fill a file beside `path`, then put it in its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    with unfinished.open("wb") as file:
        write(file)
    os.replace(unfinished, path)


def save_weights(module: nn.Module, path: Path) -> None:
    """Write a module's weights as safetensors in half precision, whole or not at all."""
    state = {name: tensor.detach().contiguous() for name, tensor in module.state_dict().items()}
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    _replace(path, lambda file: file.write(save(half)))


def rounded(learner: Learner) -> Learner:
    """Round a model's weights to half precision in place, as the files hold them, and compute in float32."""
    learner.half().float()
    learner.bfloat16 = False
    return learner


def drawing_digest() -> str:
    """Hash the code that draws: 8 hexadecimal digits."""
    files = [Path(vocabulary.__file__), *sorted(Path(drawing.__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:8]


def fast_bfloat16() -> bool:
    """Whether the processor has units for bfloat16; without them it is no faster."""
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


def digest(*parts) -> str:
    """Hash anything with a telling `repr`: 16 hexadecimal digits."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def run(settings: Settings, drawings: int, validations: int, art: Path, folder: Path | None) -> dict:
    """Draw, train and write weights and record.

    Args:
        settings: What decides the weights, beside the data.
        drawings: How many to learn from.
        validations: How many, of another cast, to measure on.
        art: Where npm installed the emoji art.
        folder: Where the three files go; None replaces those of the package.

    Returns:
        The record.
    """
    start = time.perf_counter()
    cache = cache_directory() / "pretraining"
    encoder = offline_e5(cache_directory(), max_tokens=96)
    captions = CAPTIONS.read_text(encoding="utf-8").split("\n")[:-1]
    size = json.loads(STICKER_VIT.read_text())["vision_cfg"]["image_size"]
    logger.info("drawing code %s, text encoder %s", drawing_digest(), encoder.name)
    emoji = read_art(art, SEEN)
    data = prepare(draw_examples(drawings, TRAINING_CHARACTERS, captions), size, encoder, cache)
    data = joined(data, prepare_art(emoji, size, encoder, cache, settings.seed))
    validation = prepare(draw_examples(validations, VALIDATION_CHARACTERS, captions), size, encoder, cache)
    logger.info("drawn after %.0f s", time.perf_counter() - start)
    key = digest(settings, STICKER_VIT.read_text(), data.pixels.tobytes(), data.texts.tobytes())
    learner, history = train(STICKER_VIT, settings, data, validation, cache / f"training-{key}.pt")
    record = {
        "settings": dataclasses.asdict(settings),
        "drawings": drawings,
        "validation_drawings": validations,
        "emoji": {collection: sum(e.collection == collection for e in emoji) for collection in SEEN},
        "drawing_code": drawing_digest(),
        "text_encoder": encoder.name,
        "seconds": round(sum(entry["seconds"] for entry in history)),
        "validation": accuracies(rounded(learner), validation),
        "epochs": history,
    }
    _write(learner, record, folder)
    return record


def _write(learner: Learner, record: dict, folder: Path | None) -> None:
    paths = [folder / path.name if folder else path for path in (STICKER_VIT_WEIGHTS, TAGGER_WEIGHTS, RECORD)]
    save_weights(learner.tower, paths[0])
    save_weights(learner.tagger, paths[1])
    _replace(paths[2], lambda file: file.write((json.dumps(record, indent=1) + "\n").encode()))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m intra.encoders.pretraining",
        description="Train the packaged vision encoder and tagger on drawings. A training that was cut off goes on.",
    )
    parser.add_argument("--art", type=Path, required=True, help="folder where npm installed the emoji art")
    parser.add_argument("--drawings", type=int, default=20000, help="to learn from (default: %(default)s)")
    parser.add_argument("--validation", type=int, default=600, help="to measure on (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=11, help="passes over them (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of batches and augmentation (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="folder for the files (default: replace the package's)")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    torch.set_num_threads(chosen.threads)
    settings = Settings(epochs=chosen.epochs, seed=chosen.seed, bfloat16=fast_bfloat16())
    record = run(settings, chosen.drawings, chosen.validation, chosen.art, chosen.output)
    print(json.dumps(record["validation"]))


if __name__ == "__main__":
    main()
