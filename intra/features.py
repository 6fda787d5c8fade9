"""What every system is given: features of queries, galleries and labels, cached by content."""

import functools
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from intra.components import Components
from intra.config import RunConfig
from intra.data.context import context_text, utterance_texts
from intra.data.intentions import INTENTIONS
from intra.data.reader import profile_dataset
from intra.data.schema import ATTRIBUTES, SPLITS, Dataset
from intra.errors import IntraError
from intra.files import sha256
from intra.generation.attributes import StickerAttributes, describe
from intra.generation.knowledge import Knowledge, know
from intra.generation.store import GenerationStore
from intra.paths import cache_directory
from intra.records import code_digest

ENCODING_CODE = ("data/pictures.py", "encoders/*.py")
"""The modules that features depend on."""

STATE_TYPE = np.float16
"""Of cached token vectors, which are many."""


@dataclass(frozen=True)
class Queries:
    """The conversations of one split."""

    ids: tuple[str, ...]
    text_features: np.ndarray
    """H^T of Eq. 3: context and knowledge in one sequence, shape (Q, e), float32."""
    intentions: np.ndarray
    """Number of each query's intention, shape (Q,), int64."""
    stickers: np.ndarray
    """Column in the gallery of the sticker that was sent, shape (Q,), int64."""
    parts: np.ndarray | None = None
    """What a trained context model (`models.context`) makes H^T from, shape (Q, T, e); zeros where there is nothing.
    With tuned layers: the token vectors that enter them, float16. With `utterances`: knowledge, then the utterances
    of the window from the newest to the oldest, float32, standardised. None while H^T is frozen."""


@dataclass(frozen=True)
class Gallery:
    """The stickers of one split."""

    ids: tuple[str, ...]
    region_features: np.ndarray
    """H^I of Eq. 9: patch tokens, shape (G, P, w), float32."""
    description_features: np.ndarray
    """H^A of Eq. 8: one vector an attribute, shape (G, A, e), float32; zeros where there is no description."""
    described: np.ndarray
    """Whether there is a description, shape (G, A), bool."""
    intentions: np.ndarray
    """Which intentions each sticker has, shape (G, C), bool; none for a sticker that no conversation uses."""


@dataclass(frozen=True)
class Partition:
    """One split, ready for a system."""

    queries: Queries
    gallery: Gallery
    relevant: np.ndarray
    """Which stickers are right for a query under intention match, shape (Q, G), bool."""


@dataclass(frozen=True)
class Features:
    """Everything that systems are trained and evaluated on."""

    label_features: np.ndarray
    """Encoded intention names (E of the label query), shape (C, e), float32."""
    train: Partition
    valid: Partition
    test: Partition
    context_scale: "Standardiser | None" = None
    """What standardised the text features; tuned layers keep to it."""


def build_features(config: RunConfig, store: Path) -> Features:
    """Features of a run; decided by the config's data set, profile, window and the two settings of the context.

    Args:
        config: Of the run.
        store: Folder of the generation stores `knowledge.jsonl` and `attributes.jsonl`.

    Returns:
        Text features are standardised by mean and deviation of the training split (labels by their own):
        sentence embeddings share a large common part that small layers would first have to unlearn.

    Raises:
        IntraError: If a split of the data set holds no conversation, or the config asks for tuned layers of
            utterances.
    """
    features = _build(config.dataset, config.profile, config.window, store)
    if config.context_encoding == "sequence" and not config.tuned_layers:
        return features
    if config.context_encoding == "utterances" and config.tuned_layers:
        raise IntraError(f"tuned_layers is {config.tuned_layers}, expected 0 with context_encoding 'utterances'")
    parts = _context_parts(config, store)
    return replace(features, **{split: _with_parts(getattr(features, split), parts[split]) for split in SPLITS})


@functools.lru_cache(maxsize=4)
def _build(dataset_name: str, profile: str, window: int, store: Path) -> Features:
    dataset, parts = profile_dataset(dataset_name, profile), Components(profile)
    for split in SPLITS:
        if not dataset.split(split).conversations:
            raise IntraError(f"{dataset_name}: holds no conversation of the split {split!r}")
    contexts = {split: _context_features(dataset.split(split), window, parts, store) for split in SPLITS}
    descriptions = {split: _description_features(dataset.split(split), parts, store) for split in SPLITS}
    scale_context = Standardiser(contexts["train"])
    scale_description = Standardiser(descriptions["train"][0][descriptions["train"][1]])
    labels = _label_features(dataset, parts)
    partitions = {}
    for split in SPLITS:
        vectors, described = descriptions[split]
        part = dataset.split(split)
        gallery = Gallery(
            tuple(sticker.id for sticker in part.stickers),
            _region_features(part, parts),
            np.where(described[..., None], scale_description(vectors), 0).astype(np.float32),
            described,
            _sticker_intentions(part),
        )
        queries = _queries(part, scale_context(contexts[split]), gallery)
        partitions[split] = Partition(queries, gallery, _relevant(queries, gallery))
    return Features(Standardiser(labels)(labels), **partitions, context_scale=scale_context)


def _with_parts(partition: Partition, parts: np.ndarray) -> Partition:
    return replace(partition, queries=replace(partition.queries, parts=parts))


def _context_parts(config: RunConfig, store: Path) -> dict[str, np.ndarray]:
    """`Queries.parts` of each split."""
    dataset, components = profile_dataset(config.dataset, config.profile), Components(config.profile)
    if config.tuned_layers:
        return {
            split: _token_states(dataset.split(split), config.window, config.tuned_layers, components, store)
            for split in SPLITS
        }
    segments = {split: _segments(dataset.split(split), config.window, components, store) for split in SPLITS}
    scale = Standardiser(segments["train"][segments["train"].any(axis=2)])
    return {
        split: np.where(vectors.any(axis=2, keepdims=True), scale(vectors), 0) for split, vectors in segments.items()
    }


def data_knowledge(part: Dataset, parts: Components, store: Path) -> list[Knowledge]:
    """Knowledge about each conversation, through the store."""
    return know(part.conversations, parts.knowledge, GenerationStore(store / "knowledge.jsonl"))


def data_attributes(part: Dataset, parts: Components, store: Path) -> list[StickerAttributes]:
    """Attributes of each sticker, through the store."""
    return describe(part.stickers, parts.attributes, GenerationStore(store / "attributes.jsonl"))


class Standardiser:
    """Subtract a mean and divide by a deviation, dimension by dimension."""

    def __init__(self, sample: np.ndarray):
        """Take both from a sample, shape (N, e); without any sample nothing is changed."""
        self.mean = sample.mean(axis=0) if len(sample) else 0.0
        self.deviation = np.maximum(sample.std(axis=0), 1e-6) if len(sample) else 1.0

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Standardise vectors of shape (..., e)."""
        return ((vectors - self.mean) / self.deviation).astype(np.float32)


def _context_pairs(part: Dataset, window: int, parts: Components, store: Path) -> tuple[list[str], list[str]]:
    """T and C_know of Eq. 3."""
    contexts = [context_text(conversation, window) for conversation in part.conversations]
    return contexts, [k.text for k in data_knowledge(part, parts, store)]


def _context_features(part: Dataset, window: int, parts: Components, store: Path) -> np.ndarray:
    contexts, knowledge = _context_pairs(part, window, parts, store)
    return cached(
        [parts.text.name, "pairs", *contexts, *knowledge],
        lambda: parts.text.encode_pairs(contexts, knowledge),
    )


def _token_states(part: Dataset, window: int, layers: int, parts: Components, store: Path) -> np.ndarray:
    contexts, knowledge = _context_pairs(part, window, parts, store)
    return cached(
        [parts.text.name, "states", str(layers), np.dtype(STATE_TYPE).name, *contexts, *knowledge],
        lambda: parts.text.pair_states(contexts, knowledge, layers, STATE_TYPE),
    )


def _segments(part: Dataset, window: int, parts: Components, store: Path) -> np.ndarray:
    """Knowledge and the utterances of the window, newest first, each encoded alone: (Q, window + 1, e)."""
    spoken = [utterance_texts(conversation) for conversation in part.conversations]
    knowledge = [k.text for k in data_knowledge(part, parts, store)]
    # all utterances at once, whatever the window: another window finds them in the cache
    distinct = sorted({text for text in [*knowledge, *(line for lines in spoken for line in lines)] if text})
    encoded = cached([parts.text.name, "segments", *distinct], lambda: parts.text.encode(distinct))
    vector = dict(zip(distinct, encoded, strict=True))
    segments = np.zeros((len(spoken), window + 1, encoded.shape[1]), np.float32)
    for row, known, lines in zip(segments, knowledge, spoken, strict=True):
        texts = [known, *lines[: -window - 1 : -1]]
        for place, text in enumerate(texts):
            row[place] = vector.get(text, 0)
    return segments


def _description_features(part: Dataset, parts: Components, store: Path) -> tuple[np.ndarray, np.ndarray]:
    attributes = data_attributes(part, parts, store)
    texts = [[each.description(name) for name in ATTRIBUTES] for each in attributes]
    described = np.array([[bool(text) for text in row] for row in texts])
    distinct = sorted({text for row in texts for text in row if text})
    encoded = cached([parts.text.name, "passages", *distinct], lambda: parts.text.encode(distinct, kind="passage"))
    vectors = np.zeros((*described.shape, encoded.shape[1]), np.float32)
    place = {text: number for number, text in enumerate(distinct)}
    vectors[described] = encoded[[place[text] for row in texts for text in row if text]]
    return vectors, described


def _label_features(dataset: Dataset, parts: Components) -> np.ndarray:
    texts = INTENTIONS | dataset.label_texts
    names = [texts.get(intention, intention) for intention in dataset.intentions]
    return cached([parts.text.name, "labels", *names], lambda: parts.text.encode(names))


def _region_features(part: Dataset, parts: Components) -> np.ndarray:
    digests = [sha256(sticker.image) for sticker in part.stickers]
    images = [sticker.image for sticker in part.stickers]
    return cached([parts.vision.name, "regions", *digests], lambda: parts.vision.encode(images).regions)


def _queries(part: Dataset, text_features: np.ndarray, gallery: Gallery) -> Queries:
    column = {sticker: number for number, sticker in enumerate(gallery.ids)}
    number = {intention: n for n, intention in enumerate(part.intentions)}
    return Queries(
        tuple(c.id for c in part.conversations),
        text_features,
        np.array([number[c.intention] for c in part.conversations]),
        np.array([column[c.sticker] for c in part.conversations]),
    )


def _sticker_intentions(part: Dataset) -> np.ndarray:
    labels = part.sticker_intentions()
    return np.array([[name in labels.get(s.id, ()) for name in part.intentions] for s in part.stickers])


def _relevant(queries: Queries, gallery: Gallery) -> np.ndarray:
    """As `evaluation.make_qrels`, over the whole gallery also for queries with candidates of their own."""
    relevant = gallery.intentions[:, queries.intentions].T.copy()
    relevant[np.arange(len(queries.ids)), queries.stickers] = True
    return relevant


def cached(key: list[str], compute: Callable[[], np.ndarray]) -> np.ndarray:
    """An array from the cache folder, computed and kept if it is not there.

    Args:
        key: Everything that decides the array, besides the code of the encoders.
        compute: Makes it.
    """
    digest = hashlib.sha256("\0".join([code_digest(ENCODING_CODE), *key]).encode()).hexdigest()[:32]
    path = cache_directory() / "features" / f"{digest}.npy"
    try:
        return np.load(path)
    except (OSError, ValueError, EOFError):  # not there, or not whole
        array = compute()
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        with unfinished.open("wb") as file:
            np.save(file, array)
        os.replace(unfinished, path)
        return array
