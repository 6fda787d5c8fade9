"""What every system is given: features of queries, galleries and labels, cached by content."""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from intra.components import Components
from intra.config import ATTRIBUTE_KEYS, RunConfig
from intra.data.context import context_text, utterance_texts
from intra.data.intentions import INTENTIONS
from intra.data.reader import config_dataset, profile_dataset
from intra.data.schema import ATTRIBUTES, SPLITS, Conversation, Dataset, Sticker
from intra.errors import IntraError
from intra.files import sha256
from intra.generation.attributes import StickerAttributes, describe
from intra.generation.knowledge import Knowledge, know
from intra.generation.store import GenerationStore
from intra.vectors import STATE_TYPE, Standardiser, cached
from intra.words import WORDS, masked_words, vocabulary, window_words

DECIDING = (
    "dataset",
    "profile",
    "window",
    "context_encoding",
    "tuned_layers",
    "knowledge",
    "attributes",
    "description_units",
    "regions",
    "label_policy",
    "gallery",
    "train_fraction",
)
"""Settings that features depend on, besides those of tuned layers; the seed is one more where a share of the training
split is drawn."""


TUNES_PICTURES = ("clip",)
"""Systems whose tuned layers are those of the vision encoder, too."""


@dataclass(frozen=True)
class Queries:
    """The conversations of one split."""

    ids: tuple[str, ...]
    text_features: np.ndarray | None
    """H^T of Eq. 3 from the frozen encoder: context and knowledge in one sequence, shape (Q, e), float32,
    standardised. None with `utterances`, where nothing reads it."""
    intentions: np.ndarray
    """Number of each query's intention, shape (Q,), int64."""
    stickers: np.ndarray
    """Column in the gallery of the sticker that was sent, shape (Q,), int64."""
    parts: np.ndarray | None = None
    """What a trained context model (`models.context`) makes H^T from, shape (Q, T, e); zeros where there is nothing.
    With tuned layers: the token vectors that enter them, float16. With `utterances`: knowledge, then the utterances
    of the window from the newest to the oldest, float32, standardised. With `words`: token vectors of utterances that
    were encoded one by one, from the oldest of the window to the newest, shape (Q, U, W, e), float16, standardised.
    None while H^T is frozen."""
    words: np.ndarray | None = None
    """With `words`: number of each token in the vocabulary, 0 where there is none, shape (Q, U, W), int32."""
    speakers: np.ndarray | None = None
    """With `words`: who wrote each utterance, 0 for the sender of the sticker, 1 and so on for the others, -1 where
    there is none, shape (Q, U), int64."""
    masked: np.ndarray | None = None
    """With `masked words`, in training: V variants of `parts`, in each of which some tokens were hidden from the
    encoder, shape (V, Q, U, W, e), float16."""
    masked_places: np.ndarray | None = None
    """Which, shape (V, Q, U, W), bool."""
    conversations: tuple[Conversation, ...] = ()
    """As in the data, for systems that read texts."""


@dataclass(frozen=True)
class Gallery:
    """The stickers of one split."""

    ids: tuple[str, ...]
    region_features: np.ndarray
    """H^I of Eq. 9: patch tokens row by row, the class token or both (it is last), shape (G, P, w), float32."""
    description_features: np.ndarray
    """H^A of Eq. 8: one vector an attribute, shape (G, A, e), float32, standardised; zeros where nothing is told. With
    the unit `token`, T vectors for each of the four attributes: A = 4 T."""
    described: np.ndarray
    """Where something is told, shape (G, A), bool."""
    intentions: np.ndarray
    """Which intentions each sticker has, shape (G, C), bool; none for a sticker that no conversation uses."""
    class_features: np.ndarray
    """The class token, one vector a sticker, shape (G, w), float32."""
    joint_features: np.ndarray
    """The vector in the joint space of picture and text, shape (G, c), float32, not normalised."""
    states: np.ndarray | None = None
    """With tuned layers of `TUNES_PICTURES`: the token vectors that enter the last layers of the vision encoder, shape
    (G, P + 1, w), float32."""
    attributes: tuple[StickerAttributes, ...] = ()
    """What is told of each sticker, for systems that read texts."""


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
    context_scale: Standardiser | None = None
    """What standardised the text features; tuned layers keep to it. None where there are none."""
    word_embeddings: np.ndarray | None = None
    """With `words`: what the text encoder starts from for each word of the vocabulary, shape (V, e), float32,
    standardised, the first zeros."""


def build_features(config: RunConfig, store: Path) -> Features:
    """Features of a run; decided by the settings in `DECIDING`.

    Args:
        config: Of the run.
        store: Folder of the generation stores `knowledge.jsonl` and `attributes.jsonl`.

    Returns:
        Text is standardised by mean and deviation of the training split as far as it is learned from (labels by
        their own): sentence embeddings share a large common part that small layers would first have to unlearn.
        Descriptions are by all four attributes, so that those told are the same vectors whatever else is told.

    Raises:
        IntraError: If a split of the data set holds no conversation, or the config asks for tuned layers of
            what is not one sequence.
    """
    if config.context_encoding != "sequence" and config.tuned_layers:
        raise IntraError(
            f"tuned_layers is {config.tuned_layers}, expected 0 with context_encoding {config.context_encoding!r}"
        )
    chosen = {name: getattr(config, name) for name in DECIDING}
    if config.train_fraction < 1:
        chosen["seed"] = config.seed
    features = _build(RunConfig(**chosen), store)
    if not config.tuned_layers:
        return features
    # read again for each run: too much to be kept in memory beside what other runs share
    components = Components(config.profile)
    tuned = {}
    for split, part in _parts(config).items():
        partition, states = getattr(features, split), _token_states(config, split, part, components, store)
        tuned[split] = replace(partition, queries=replace(partition.queries, parts=states))
        if config.system in TUNES_PICTURES:
            seen = _picture_states(config.dataset, config.profile, config.tuned_layers)
            own = _of(part.stickers, config_dataset(config).stickers, seen)
            tuned[split] = replace(tuned[split], gallery=replace(partition.gallery, states=own))
    return replace(features, **tuned)


def prepare_stickers(config: RunConfig, store: Path) -> None:
    """Describe and encode all stickers, as far as store and cache do not hold that.

    Together with `prepare_conversations`, which may run at the same time in another process, this is all that takes
    long about `build_features`.
    """
    _picture_tokens(config.dataset, config.profile)
    if config.tuned_layers and config.system in TUNES_PICTURES:
        _picture_states(config.dataset, config.profile, config.tuned_layers)
    _descriptions(config.dataset, config.profile, config.description_units, store)


def prepare_conversations(config: RunConfig, store: Path) -> None:
    """Infer knowledge and encode all texts but descriptions; see `prepare_stickers`."""
    components = Components(config.profile)
    _label_features(config, components)
    if config.context_encoding in WORDS:
        return
    for split, part in _parts(config).items():
        _raw_contexts(config, split, part, components, store)
        if config.tuned_layers:
            _token_states(config, split, part, components, store)


def prepare_words(config: RunConfig, store: Path) -> None:
    """Encode contexts word by word, where a run reads them so; see `prepare_stickers`."""
    if config.context_encoding in WORDS:
        vocabulary(config.dataset, config.profile, config.window)
    if config.context_encoding == "masked words":
        masked_words(config, _parts(config)["train"])


@functools.lru_cache(maxsize=2)
def _build(config: RunConfig, store: Path) -> Features:
    parts, components = _parts(config), Components(config.profile)
    galleries = _galleries(config, parts, store)
    labels = _label_features(config, components)
    labels = Standardiser(labels)(labels)
    if config.context_encoding in WORDS:
        return Features(labels, **_word_partitions(config, parts, galleries), word_embeddings=_embeddings(config))
    contexts = {split: _raw_contexts(config, split, part, components, store) for split, part in parts.items()}
    scale = Standardiser(contexts["train"][contexts["train"].any(axis=-1)])
    partitions = {}
    for split, part in parts.items():
        scaled = scale(contexts[split])
        scaled[~contexts[split].any(axis=-1)] = 0
        queries = _queries(part, config, scaled, galleries[split])
        partitions[split] = Partition(queries, galleries[split], _relevant(queries, galleries[split]))
    context_scale = scale if config.context_encoding == "sequence" else None
    return Features(labels, **partitions, context_scale=context_scale)


def _word_partitions(
    config: RunConfig, parts: dict[str, Dataset], galleries: dict[str, Gallery]
) -> dict[str, Partition]:
    partitions = {}
    for split, words in window_words(config, parts).items():
        queries = _queries(parts[split], config, words.vectors, galleries[split])
        queries = replace(queries, words=words.numbers, speakers=words.speakers)
        if split == "train" and config.context_encoding == "masked words":
            masked, places = masked_words(config, parts[split])
            queries = replace(queries, masked=masked, masked_places=places)
        partitions[split] = Partition(queries, galleries[split], _relevant(queries, galleries[split]))
    return partitions


def _embeddings(config: RunConfig) -> np.ndarray:
    return vocabulary(config.dataset, config.profile, config.window).embeddings


def _parts(config: RunConfig) -> dict[str, Dataset]:
    """The splits of a run, training as far as it is learned from."""
    dataset = config_dataset(config)
    parts = {split: dataset.split(split) for split in SPLITS}
    for split, part in parts.items():
        if not part.conversations:
            raise IntraError(f"{config.dataset}: holds no conversation of the split {split!r}")
    return parts | {"train": training_share(parts["train"], config.train_fraction, config.seed)}


def training_share(part: Dataset, fraction: float, seed: int) -> Dataset:
    """A random share of a split's conversations, at least one, and the stickers that they were answered with.

    With one seed, a smaller share is part of every larger one. The whole split keeps its unused stickers too.
    """
    if fraction == 1:
        return part
    count = len(part.conversations)
    rows = np.random.default_rng(seed).permutation(count)[: max(1, round(fraction * count))]
    kept = tuple(part.conversations[row] for row in sorted(rows))
    sent = {conversation.sticker for conversation in kept}
    return replace(part, conversations=kept, stickers=tuple(s for s in part.stickers if s.id in sent))


def data_knowledge(part: Dataset, parts: Components, store: Path) -> list[Knowledge]:
    """Knowledge about each conversation, through the store."""
    return know(part.conversations, parts.knowledge, GenerationStore(store / "knowledge.jsonl"))


def data_attributes(part: Dataset, parts: Components, store: Path) -> list[StickerAttributes]:
    """Attributes of each sticker, through the store."""
    return describe(part.stickers, parts.attributes, GenerationStore(store / "attributes.jsonl"))


def _galleries(config: RunConfig, parts: dict[str, Dataset], store: Path) -> dict[str, Gallery]:
    stickers = config_dataset(config).stickers
    tokens, joint = _picture_tokens(config.dataset, config.profile)
    regions = {"patches": tokens[:, :-1], "patches+class": tokens, "class": tokens[:, -1:]}[config.regions]
    descriptions = _descriptions(config.dataset, config.profile, config.description_units, store)
    train = _of(parts["train"].stickers, stickers, descriptions)
    scale = Standardiser(train[train.any(axis=-1)].astype(np.float32))
    attributes = _attributes(config.dataset, config.profile, store)
    known = {sticker.id: each for sticker, each in zip(stickers, attributes, strict=True)}
    told = np.array([key in config.attributes for key in ATTRIBUTE_KEYS])
    galleries = {}
    for split, part in parts.items():
        own = _of(part.stickers, stickers, descriptions)
        described = own.any(axis=-1) & told[:, None]
        scaled = np.zeros(own.shape, np.float32)
        scaled[described] = scale(own[described])
        galleries[split] = Gallery(
            tuple(sticker.id for sticker in part.stickers),
            _of(part.stickers, stickers, regions),
            scaled.reshape(len(own), -1, own.shape[-1]),
            described.reshape(len(own), -1),
            _sticker_intentions(part),
            _of(part.stickers, stickers, tokens[:, -1]),
            _of(part.stickers, stickers, joint),
            attributes=tuple(known[sticker.id] for sticker in part.stickers),
        )
    return galleries


def _raw_contexts(config: RunConfig, split: str, part: Dataset, components: Components, store: Path) -> np.ndarray:
    """What H^T is made of: encoded sequences (Q, e) or segments (Q, window + 1, e)."""
    if config.context_encoding == "utterances":
        return _segments(config, part, store)
    return _sequences(config, split, part, ["pairs"], lambda *pairs: components.text.encode_pairs(*pairs), store)


def _token_states(config: RunConfig, split: str, part: Dataset, components: Components, store: Path) -> np.ndarray:
    """Token vectors that enter the tuned layers, shape (Q, T, e)."""
    layers = config.tuned_layers
    key = ["states", str(layers), np.dtype(STATE_TYPE).name]
    return _sequences(
        config, split, part, key, lambda *pairs: components.text.pair_states(*pairs, layers, STATE_TYPE), store
    )


def _sequences(
    config: RunConfig, split: str, part: Dataset, key: list[str], encode: Callable[..., np.ndarray], store: Path
) -> np.ndarray:
    """What `encode` makes of T and C_know of Eq. 3, shape (Q, ...), for some conversations of a split."""
    whole = config_dataset(config).split(split).conversations
    contexts = [context_text(conversation, config.window) for conversation in whole]
    known = _knowledge(config.dataset, config.profile, store) if config.knowledge else {}
    knowledge = [known.get(conversation.id, "") for conversation in whole]
    # the whole split at once, whatever the share: another share finds it in the cache
    encoded = cached([_text_name(config.profile), *key, *contexts, *knowledge], lambda: encode(contexts, knowledge))
    return _of(part.conversations, whole, encoded)


def _segments(config: RunConfig, part: Dataset, store: Path) -> np.ndarray:
    """Knowledge and the utterances of the window, newest first, each encoded alone: (Q, window + 1, e)."""
    some, whole = part.conversations, config_dataset(config).conversations
    vectors, places = _utterances(config.dataset, config.profile)
    newest = _of(some, whole, places)[:, : config.window]
    segments = np.zeros((len(some), config.window + 1, vectors.shape[1]), np.float32)
    segments[:, 1 : newest.shape[1] + 1] = vectors[newest]
    if config.knowledge:
        segments[:, 0] = _of(some, whole, _knowledge_vectors(config.dataset, config.profile, store))
    return segments


def _of(
    some: Sequence[Conversation | Sticker], whole: Sequence[Conversation | Sticker], array: np.ndarray
) -> np.ndarray:
    """Those rows of an array, one a record of the whole, that belong to some of the records."""
    if len(some) == len(whole):
        return array
    row = {record.id: number for number, record in enumerate(whole)}
    return array[[row[record.id] for record in some]]


# What one process encodes once, for all conversations or stickers of a data set in their order


@functools.lru_cache(maxsize=2)
def _picture_tokens(dataset: str, profile: str) -> tuple[np.ndarray, np.ndarray]:
    """Of each sticker: patch tokens and, last, its class token, shape (S, P + 1, w); its joint vector, shape (S, c)."""
    vision = Components(profile).vision
    images = [sticker.image for sticker in profile_dataset(dataset, profile).stickers]
    seen = functools.cache(lambda: vision.encode(images))
    digests = list(map(sha256, images))
    tokens = cached(
        [vision.name, "tokens", *digests],
        lambda: np.concatenate([seen().regions, seen().class_tokens[:, None]], axis=1),
    )
    return tokens, cached([vision.name, "joint", *digests], lambda: seen().pooled)


@functools.lru_cache(maxsize=1)
def _picture_states(dataset: str, profile: str, layers: int) -> np.ndarray:
    """Token vectors that enter the last layers of the vision encoder, shape (S, P + 1, w)."""
    vision = Components(profile).vision
    images = [sticker.image for sticker in profile_dataset(dataset, profile).stickers]
    key = [vision.name, "states", str(layers), *map(sha256, images)]
    return cached(key, lambda: vision.token_states(images, layers))


@functools.lru_cache(maxsize=2)
def _descriptions(dataset: str, profile: str, units: str, store: Path) -> np.ndarray:
    """H^A of all stickers as it is encoded, shape (S, A, T, e), zeros where nothing is told; T is 1 for `attribute`."""
    components = Components(profile)
    texts = [[each.description(name) for name in ATTRIBUTES] for each in _attributes(dataset, profile, store)]
    key, encode = {
        "attribute": (["passages"], lambda distinct: components.text.encode(distinct, "passage")[:, None]),
        "token": (
            ["passage tokens", np.dtype(STATE_TYPE).name],
            lambda distinct: components.text.token_vectors(distinct, "passage", STATE_TYPE),
        ),
    }[units]
    vectors, row = _distinct([_text_name(profile), *key], (text for own in texts for text in own), encode)
    return vectors[[[row[text] for text in own] for own in texts]]


@functools.lru_cache(maxsize=2)
def _attributes(dataset: str, profile: str, store: Path) -> list[StickerAttributes]:
    """What is told of all stickers."""
    return data_attributes(profile_dataset(dataset, profile), Components(profile), store)


@functools.lru_cache(maxsize=2)
def _utterances(dataset: str, profile: str) -> tuple[np.ndarray, np.ndarray]:
    """Vectors (N, e) of distinct utterances, and the rows of each conversation's, newest first, shape (Q, L).

    Whatever the window: another one encodes nothing. The last vector is zeros, for places before the oldest one.
    """
    spoken = [utterance_texts(conversation)[::-1] for conversation in profile_dataset(dataset, profile).conversations]
    vectors, row = _distinct(
        [_text_name(profile), "utterances"],
        (line for lines in spoken for line in lines),
        lambda distinct: Components(profile).text.encode(distinct),
    )
    places = np.full((len(spoken), max(map(len, spoken))), row[""])
    for own, lines in zip(places, spoken, strict=True):
        own[: len(lines)] = [row[line] for line in lines]
    return vectors, places


@functools.lru_cache(maxsize=2)
def _knowledge(dataset: str, profile: str, store: Path) -> dict[str, str]:
    """C_know of each conversation, by its id."""
    whole = profile_dataset(dataset, profile)
    known = data_knowledge(whole, Components(profile), store)
    return {conversation.id: each.text for conversation, each in zip(whole.conversations, known, strict=True)}


@functools.lru_cache(maxsize=2)
def _knowledge_vectors(dataset: str, profile: str, store: Path) -> np.ndarray:
    """Encoded C_know, shape (Q, e), zeros where there is none."""
    texts = list(_knowledge(dataset, profile, store).values())
    name = _text_name(profile)
    vectors, row = _distinct([name, "knowledge"], texts, lambda distinct: Components(profile).text.encode(distinct))
    return vectors[[row[text] for text in texts]]


@functools.cache
def _text_name(profile: str) -> str:
    """Name of the text encoder, for which its weights are read."""
    return Components(profile).text.name


def _distinct(
    key: list[str], texts: Iterable[str], encode: Callable[[list[str]], np.ndarray]
) -> tuple[np.ndarray, dict[str, int]]:
    """Vectors of distinct texts, and the row of each; the last vector is zeros, for the empty text."""
    distinct = sorted(set(texts) - {""})
    vectors = cached([*key, *distinct], lambda: encode(distinct))
    nothing = np.zeros((1, *vectors.shape[1:]), vectors.dtype)
    return np.concatenate([vectors, nothing]), {text: row for row, text in enumerate([*distinct, ""])}


def _label_features(config: RunConfig, components: Components) -> np.ndarray:
    dataset = config_dataset(config)
    texts = INTENTIONS | dataset.label_texts
    names = [texts.get(intention, intention) for intention in dataset.intentions]
    return cached([_text_name(config.profile), "labels", *names], lambda: components.text.encode(names))


def _queries(part: Dataset, config: RunConfig, contexts: np.ndarray, gallery: Gallery) -> Queries:
    column = {sticker: number for number, sticker in enumerate(gallery.ids)}
    number = {intention: n for n, intention in enumerate(part.intentions)}
    is_sequence = config.context_encoding == "sequence"
    return Queries(
        tuple(c.id for c in part.conversations),
        contexts if is_sequence else None,
        np.array([number[c.intention] for c in part.conversations]),
        np.array([column[c.sticker] for c in part.conversations]),
        None if is_sequence else contexts,
        conversations=part.conversations,
    )


def _sticker_intentions(part: Dataset) -> np.ndarray:
    labels = part.sticker_intentions()
    return np.array([[name in labels.get(s.id, ()) for name in part.intentions] for s in part.stickers])


def _relevant(queries: Queries, gallery: Gallery) -> np.ndarray:
    """As `evaluation.make_qrels`, over the whole gallery also for queries with candidates of their own."""
    relevant = gallery.intentions[:, queries.intentions].T.copy()
    relevant[np.arange(len(queries.ids)), queries.stickers] = True
    return relevant
