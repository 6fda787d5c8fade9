"""Features: what systems are given, and the cache that keeps them."""

import dataclasses
import functools
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from intra import config, features, vectors, words
from intra.components import Components
from intra.config import RunConfig
from intra.data import reader
from intra.data.context import context_text, utterance_texts
from intra.data.intentions import INTENTIONS
from intra.data.reader import config_dataset, load_dataset, profile_dataset
from intra.data.schema import ATTRIBUTES, SPLITS
from intra.encoders import text, vision
from intra.encoders.tiny import tiny_bert
from intra.errors import IntraError
from intra.evaluation import make_qrels
from intra.features import (
    DECIDING,
    build_features,
    data_attributes,
    data_knowledge,
    prepare_conversations,
    prepare_stickers,
    training_share,
)
from intra.paths import PACKAGE
from intra.running import PREPARATIONS
from intra.vectors import Standardiser, cached

pytest_plugins = ["helpers"]
CONFIG = RunConfig(profile="smoke")
UTTERANCES = CONFIG.with_changes(context_encoding="utterances")


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """Folder of generated text, for the whole session."""
    return tmp_path_factory.mktemp("features") / "generated"


@pytest.fixture
def smoke_features(cache, store):
    return build_features(CONFIG, store)


@pytest.fixture
def forgotten():
    """A function that makes this process forget what it has read and encoded."""

    def forget():
        for module in (features, reader, words):
            for made in vars(module).values():
                if isinstance(made, functools._lru_cache_wrapper):
                    made.cache_clear()

    forget()
    yield forget
    forget()


# Scaling


def test_standardiser_by_hand():
    # Dimension 0: 1, 3 have mean 2 and deviation 1; dimension 1: 0, 4 have mean 2 and deviation 2.
    scale = Standardiser(np.array([[1.0, 0.0], [3.0, 4.0]]))
    scaled = scale(np.array([[[1.0, 0.0]], [[2.5, 8.0]]]))
    assert scaled.tolist() == [[[-1.0, -1.0]], [[0.5, 3.0]]]
    assert scaled.dtype == np.float32


def test_standardised_sample_has_mean_0_and_deviation_1():
    sample = np.random.default_rng(0).normal(3, 5, size=(40, 6))
    scaled = Standardiser(sample)(sample)
    assert scaled.mean(axis=0) == pytest.approx(0, abs=1e-5)
    assert scaled.std(axis=0) == pytest.approx(1, abs=1e-5)


def test_a_dimension_that_never_changes_becomes_zero():
    assert Standardiser(np.full((3, 2), 7.0))(np.full((4, 2), 7.0)).tolist() == [[0.0, 0.0]] * 4


@pytest.mark.filterwarnings("error")
def test_without_a_sample_nothing_is_scaled():
    """No training sticker has a description: a source that stays silent."""
    vectors = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(Standardiser(np.zeros((0, 3), np.float32))(vectors), vectors)


# The cache


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INTRA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


def forbidden():
    pytest.fail("computed again")


def test_computes_once(own_cache):
    array = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    first = cached(["a", "b"], lambda: array)
    second = cached(["a", "b"], forbidden)
    assert np.array_equal(first, array) and np.array_equal(second, array)
    assert second.dtype == np.float32
    assert [path.suffix for path in own_cache.iterdir()] == [".npy"]


def test_any_other_key_is_another_array(own_cache):
    keys = [["a", "b"], ["b", "a"], ["ab"], ["a", "b", ""], ["a"], [], ["甲"]]
    for number, key in enumerate(keys):
        assert cached(key, lambda number=number: np.array([number])).tolist() == [number]
    assert [int(cached(key, forbidden)[0]) for key in keys] == list(range(len(keys)))


def test_other_code_of_the_encoders_is_another_array(own_cache, monkeypatch):
    asked = []

    def digest_of(digest):
        monkeypatch.setattr(vectors, "code_digest", lambda patterns: asked.append(patterns) or digest)

    for number, digest in enumerate(["one", "two"]):
        digest_of(digest)
        assert cached(["a"], lambda number=number: np.array([number])).tolist() == [number]
    for number, digest in enumerate(["one", "two"]):  # both are kept
        digest_of(digest)
        assert cached(["a"], forbidden).tolist() == [number]
    assert set(asked) == {vectors.ENCODING_CODE}


def test_the_code_of_the_encoders_is_all_that_encodes():
    named = {path.relative_to(PACKAGE).as_posix() for glob in vectors.ENCODING_CODE for path in PACKAGE.glob(glob)}
    encoders = {f"encoders/{path.name}" for path in (PACKAGE / "encoders").glob("*.py")}
    assert named == encoders | {"data/pictures.py"}


def test_what_a_killed_process_left_is_no_harm(own_cache):
    cached(["a"], lambda: np.ones(2))
    (whole,) = own_cache.iterdir()
    whole.rename(whole.with_name(f"{whole.name}.4711.tmp"))
    (own_cache / f"{whole.name}.4711.tmp").write_bytes(b"half")
    assert cached(["a"], lambda: np.zeros(2)).tolist() == [0.0, 0.0]
    assert cached(["a"], forbidden).tolist() == [0.0, 0.0]


def test_a_failure_leaves_nothing(own_cache):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(["a"], interrupted)
    assert not list(own_cache.parent.rglob("*.npy*"))
    assert cached(["a"], lambda: np.ones(1)).tolist() == [1.0]


def test_tiny_bert_follows_its_vocabulary(own_cache, tmp_path, monkeypatch):
    """A character that is new in the knowledge base must not meet an encoder that was saved before."""
    from intra.encoders import tiny

    base = tmp_path / "base.jsonl"
    base.write_text("甲乙", encoding="utf-8")
    monkeypatch.setattr(tiny, "KNOWLEDGE_BASE", base)
    first = tiny_bert(tmp_path / "cache")
    assert tiny_bert(tmp_path / "cache").name == first.name
    base.write_text("甲乙丙", encoding="utf-8")
    second = tiny_bert(tmp_path / "cache")
    assert second.name != first.name
    assert np.array_equal(*first.encode(["丙", "丁"]))  # both unknown
    assert not np.array_equal(*second.encode(["丙", "丁"]))


def test_parts_of_an_unknown_profile_are_one_line_with_the_nearest_one():
    with pytest.raises(IntraError) as error:
        Components("smok")
    known = "base, clip, mini, paper, served, smoke"
    assert str(error.value) == f"unknown profile 'smok' (did you mean 'smoke'?); known are {known}"


# Smoke features


@pytest.mark.parametrize("split", SPLITS)
def test_partitions_agree_with_the_data(split, smoke_features):
    dataset = profile_dataset("replystickers", "smoke")
    part, partition = dataset.split(split), getattr(smoke_features, split)
    queries, gallery = partition.queries, partition.gallery
    assert queries.ids == tuple(c.id for c in part.conversations)
    assert gallery.ids == tuple(s.id for s in part.stickers)
    assert [part.intentions[n] for n in queries.intentions] == [c.intention for c in part.conversations]
    assert [gallery.ids[n] for n in queries.stickers] == [c.sticker for c in part.conversations]
    labels = part.sticker_intentions()
    count, stickers = len(queries.ids), len(gallery.ids)
    assert gallery.intentions.shape == (stickers, 28) and gallery.intentions.dtype == bool
    for sticker, row in zip(gallery.ids, gallery.intentions, strict=True):
        assert tuple(np.array(part.intentions)[row]) == labels[sticker]
    assert queries.text_features.shape == (count, 32)
    assert gallery.region_features.shape == (stickers, 16, 32)
    assert gallery.description_features.shape == (stickers, 4, 32)
    assert gallery.described.shape == (stickers, 4)
    assert gallery.class_features.shape == (stickers, 32)
    arrays = (queries.text_features, gallery.region_features, gallery.description_features, gallery.class_features)
    for array in arrays:
        assert array.dtype == np.float32 and np.isfinite(array).all()
    for array in (queries.intentions, queries.stickers):
        assert array.dtype == np.int64
    assert not gallery.description_features[~gallery.described].any()
    assert gallery.description_features[gallery.described].any(axis=1).all()


@pytest.mark.parametrize("split", SPLITS)
def test_relevance_is_that_of_the_qrels(split, smoke_features):
    partition = getattr(smoke_features, split)
    qrels = make_qrels(profile_dataset("replystickers", "smoke"), split, "intention")
    assert partition.relevant.shape == (len(partition.queries.ids), len(partition.gallery.ids))
    for row, query in zip(partition.relevant, partition.queries.ids, strict=True):
        found = {sticker for sticker, right in zip(partition.gallery.ids, row, strict=True) if right}
        assert found == qrels[query]
    assert partition.relevant[np.arange(len(partition.queries.ids)), partition.queries.stickers].all()


def test_scales_come_from_the_training_split(smoke_features):
    assert smoke_features.train.queries.text_features.mean(axis=0) == pytest.approx(0, abs=1e-4)
    assert smoke_features.train.queries.text_features.std(axis=0) == pytest.approx(1, abs=1e-3)
    train = smoke_features.train.gallery
    assert train.description_features[train.described].mean(axis=0) == pytest.approx(0, abs=1e-4)
    assert np.abs(smoke_features.test.queries.text_features.mean(axis=0)).max() > 1e-2
    assert smoke_features.label_features.shape == (28, 32)
    assert smoke_features.label_features.mean(axis=0) == pytest.approx(0, abs=1e-4)


def test_profile_keeps_the_first_conversations_and_their_stickers():
    whole, cut = load_dataset(), profile_dataset("replystickers", "smoke")
    for split in SPLITS:
        assert cut.split(split).conversations == whole.split(split).conversations[:24]
        assert {s.id for s in cut.split(split).stickers} == {c.sticker for c in cut.split(split).conversations}
    assert profile_dataset("replystickers", "mini") == whole


def same(one, other):
    """Whether two `Features` hold the same bits."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if hasattr(one, "__dict__"):
        return all(same(value, vars(other)[name]) for name, value in vars(one).items())
    return one == other


@pytest.fixture
def no_models(monkeypatch):
    """A function after whose call no encoder can be so much as opened."""

    def broken(*arguments, **named):
        pytest.fail("a model is loaded")

    def forbid():
        monkeypatch.setattr(text.TransformerTextEncoder, "_load", broken)
        monkeypatch.setattr(vision, "build_tower", broken)
        monkeypatch.setattr(vision.OpenClipVisionEncoder, "encode", broken)

    return forbid


def test_second_build_loads_no_model(smoke_features, store, forgotten, no_models):
    """With features in the cache and generated text in the store, neither encoder is so much as opened."""
    no_models()
    again = build_features(CONFIG, store)
    assert again is not smoke_features and same(again, smoke_features)


def test_same_features_in_another_process(smoke, elsewhere, session_cache):
    """Every array that another process computed from nothing equals the one of this process, bit for bit."""
    theirs = sorted((elsewhere / "cache" / "features").iterdir())
    # contexts of each split with knowledge, and whole for the checks; all pictures, all descriptions, the labels
    assert len(theirs) >= 3 + 3 + 1 + 1 + 1
    for path in theirs:
        assert path.read_bytes() == (session_cache / "features" / path.name).read_bytes(), path.name


def test_window_changes_the_contexts_alone(smoke_features, store):
    narrow = build_features(CONFIG.with_changes(window=1), store)
    for split in SPLITS:
        one, other = getattr(narrow, split), getattr(smoke_features, split)
        assert not np.allclose(one.queries.text_features, other.queries.text_features)
        assert same(one.gallery, other.gallery) and same(one.relevant, other.relevant)


def test_other_settings_share_the_features(smoke_features, store):
    """Same object: a study of hundreds of runs builds features once for each reading of the data."""
    for changes in ({"seed": 7}, {"system": "oracle"}, {"width": 32, "margin": 0.5}):
        assert build_features(CONFIG.with_changes(**changes), store) is smoke_features


OTHER = {
    "window": 2,
    "context_encoding": "utterances",
    "tuned_layers": 1,
    "knowledge": False,
    "attributes": "GF",
    "description_units": "token",
    "regions": "class",
    "label_policy": "all",
    "gallery": "all",
    "train_fraction": 0.5,
}


def test_every_setting_that_decides_features_makes_others(smoke_features, store):
    assert set(DECIDING) == {*OTHER, "dataset", "profile"}
    for name, value in OTHER.items():
        other = build_features(CONFIG.with_changes(**{name: value}), store)
        # no smoke sticker was sent for two intentions, so that the label policy changes nothing here
        assert same(other, smoke_features) == (name == "label_policy"), name


def test_another_config_reads_and_encodes_nothing_again(smoke_features, store, no_models, monkeypatch):
    """What takes long is done once in a process, and shared by all configs that need it."""
    needed = ({}, {"knowledge": False}, {"context_encoding": "utterances"}, {"description_units": "token"})
    for changes in needed:
        build_features(CONFIG.with_changes(**changes), store)
    no_models()
    for place, name in ((features, "profile_dataset"), (reader, "load_dataset"), (features, "GenerationStore")):
        monkeypatch.setattr(place, name, lambda *arguments: pytest.fail("read again"))
    monkeypatch.setattr(features, "sha256", lambda path: pytest.fail("a picture is read again"))
    for name in OTHER.keys() - {"window", "tuned_layers", "description_units"}:
        build_features(CONFIG.with_changes(**{name: OTHER[name]}), store)
    for changes in ({"window": 1}, {"window": 30}, {"knowledge": False}, {"train_fraction": 0.2, "seed": 5}):
        build_features(UTTERANCES.with_changes(**changes), store)


# The settings of a run


def standardised(raw, sample):
    """Raw vectors on the scale of a sample."""
    return (raw - np.mean(sample, axis=0)) / np.std(sample, axis=0)


@pytest.mark.parametrize("split", SPLITS)
def test_regions_are_patches_and_class_token_of_each_picture(split, smoke_features, store):
    stickers = profile_dataset("replystickers", "smoke").split(split).stickers
    made = {
        kind: getattr(build_features(CONFIG.with_changes(regions=kind), store), split).gallery
        for kind in ("patches", "patches+class", "class")
    }
    assert same(made["patches"], getattr(smoke_features, split).gallery)
    encoder = Components("smoke").vision
    for row, sticker in enumerate(stickers):
        alone = encoder.encode([sticker.image])
        class_token = alone.class_tokens[0]
        assert made["patches"].region_features[row] == pytest.approx(alone.regions[0], abs=1e-4)
        assert made["class"].region_features[row] == pytest.approx(class_token[None], abs=1e-4)
        both = made["patches+class"].region_features[row]
        assert both == pytest.approx(np.vstack([alone.regions[0], class_token]), abs=1e-4)
        for gallery in made.values():
            assert gallery.class_features[row] == pytest.approx(class_token, abs=1e-4)
    for gallery in made.values():
        assert gallery.region_features.dtype == gallery.class_features.dtype == np.float32


@pytest.fixture
def descriptions(cache, store):
    """Split to each sticker's four descriptions, empty where there is none."""
    dataset, parts = profile_dataset("replystickers", "smoke"), Components("smoke")
    return {
        split: [
            [attributes.description(name) for name in ATTRIBUTES]
            for attributes in data_attributes(dataset.split(split), parts, store)
        ]
        for split in SPLITS
    }


@pytest.mark.parametrize("told", ["", "G", "V", "PF", "GPF", "GPFV"])
def test_only_attributes_that_are_told_are_described(told, descriptions, store):
    """Those told are what they are beside the others: all descriptions of the training split set the scale."""
    encoder = Components("smoke").text

    @functools.cache
    def encode(description):
        return encoder.encode([description], kind="passage")[0]

    sample = [encode(d) for own in descriptions["train"] for d in own if d]
    made = build_features(CONFIG.with_changes(attributes=told), store)
    for split in SPLITS:
        gallery = getattr(made, split).gallery
        assert gallery.described.shape == (len(gallery.ids), 4) and gallery.described.dtype == bool
        assert gallery.description_features.dtype == np.float32
        for row, own in enumerate(descriptions[split]):
            for place, description in enumerate(own):
                is_told = "GPFV"[place] in told and bool(description)
                expected = standardised(encode(description), sample) if is_told else np.zeros(32)
                assert gallery.described[row, place] == is_told
                assert gallery.description_features[row, place] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("told", ["GPFV", "F"])
def test_descriptions_by_token(told, descriptions, store):
    """A vector for each token of each description told, one description after the other, places of equal number."""
    encoder = Components("smoke").text

    @functools.cache
    def encode(description):
        return encoder.token_vectors([description], kind="passage")[0]

    sample = np.concatenate([encode(d) for own in descriptions["train"] for d in own if d])
    lengths = {len(encode(d)) for split in SPLITS for own in descriptions[split] for d in own if d}
    most = max(lengths)
    assert min(lengths) < most
    made = build_features(CONFIG.with_changes(description_units="token", attributes=told), store)
    for split in SPLITS:
        gallery = getattr(made, split).gallery
        assert gallery.description_features.shape == (len(gallery.ids), 4 * most, 32)
        assert gallery.described.shape == (len(gallery.ids), 4 * most)
        assert gallery.description_features.dtype == np.float32
        for row, own in enumerate(descriptions[split]):
            expected, there = np.zeros((4 * most, 32)), np.zeros(4 * most, bool)
            for place, description in enumerate(own):
                if "GPFV"[place] in told and description:
                    tokens = standardised(encode(description), sample)
                    expected[place * most : place * most + len(tokens)] = tokens
                    there[place * most : place * most + len(tokens)] = True
            assert gallery.described[row].tolist() == there.tolist()
            assert gallery.description_features[row] == pytest.approx(expected, abs=0.02)  # kept in half precision


def test_sequences_without_knowledge_are_the_contexts_alone(smoke_features, store):
    made = build_features(CONFIG.with_changes(knowledge=False), store)
    dataset, encoder = profile_dataset("replystickers", "smoke"), Components("smoke").text
    raw = {
        split: [encoder.encode([context_text(c, 6)])[0] for c in dataset.split(split).conversations] for split in SPLITS
    }
    for split in SPLITS:
        expected = standardised(np.array(raw[split]), raw["train"])
        assert getattr(made, split).queries.text_features == pytest.approx(expected, abs=1e-3)
        assert same(getattr(made, split).gallery, getattr(smoke_features, split).gallery)
    assert not np.allclose(made.test.queries.text_features, smoke_features.test.queries.text_features, atol=0.1)


@pytest.mark.parametrize("knowledge", [True, False])
@pytest.mark.parametrize("window", [1, 4, 40])
@pytest.mark.usefixtures("cache")
def test_segments_against_a_loop(knowledge, window, store):
    """Knowledge, then the newest utterances, then zeros; the place of knowledge stays where there is none."""
    dataset, parts = profile_dataset("replystickers", "smoke"), Components("smoke")

    @functools.cache
    def encode(line):
        return parts.text.encode([line])[0]

    raw, known_places = {}, 0
    for split in SPLITS:
        part = dataset.split(split)
        raw[split] = np.zeros((len(part.conversations), window + 1, 32))
        known = data_knowledge(part, parts, store)
        for row, (conversation, inferred) in enumerate(zip(part.conversations, known, strict=True)):
            if knowledge and inferred.text:
                raw[split][row, 0] = encode(inferred.text)
                known_places += 1
            for place, line in enumerate(reversed(utterance_texts(conversation)[-window:]), 1):
                raw[split][row, place] = encode(line)
    assert bool(known_places) == knowledge
    sample = np.concatenate([vector[vector.any(axis=1)] for vector in raw["train"]])
    made = build_features(UTTERANCES.with_changes(knowledge=knowledge, window=window), store)
    for split in SPLITS:
        expected = np.where(raw[split].any(axis=2, keepdims=True), standardised(raw[split], sample), 0)
        found = getattr(made, split).queries.parts
        assert found.dtype == np.float32 and found.shape == expected.shape
        assert found == pytest.approx(expected, abs=1e-3)
        assert getattr(made, split).queries.text_features is None
    assert made.context_scale is None


def test_the_sequence_is_not_encoded_where_utterances_are(tmp_path, forgotten, monkeypatch):
    monkeypatch.setenv("INTRA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(text.TransformerTextEncoder, "encode_pairs", lambda *pairs: pytest.fail("encoded"))
    build_features(UTTERANCES, tmp_path / "generated")


def test_without_knowledge_no_source_is_asked(tmp_path, forgotten, monkeypatch, cache):
    from intra.components import KNOWLEDGE_SOURCES

    monkeypatch.setitem(KNOWLEDGE_SOURCES, "retrieved", lambda *parts: pytest.fail("asked"))
    for base in (CONFIG, UTTERANCES, CONFIG.with_changes(tuned_layers=1)):
        build_features(base.with_changes(knowledge=False), tmp_path / "generated")
    assert not (tmp_path / "generated" / "knowledge.jsonl").exists()


@pytest.mark.parametrize("base", [CONFIG, UTTERANCES], ids=["sequence", "utterances"])
def test_a_share_of_the_training_conversations(base, store, cache):
    """Rows and stickers of the conversations that are kept, their own scale; validation and test stay as they are."""
    config = base.with_changes(train_fraction=0.5, seed=3)
    part, whole = build_features(config, store), build_features(base, store)
    kept = part.train.queries.ids
    assert len(kept) == 12 and set(kept) < set(whole.train.queries.ids)
    conversations = [c for c in profile_dataset("replystickers", "smoke").conversations if c.id in kept]
    assert kept == tuple(c.id for c in conversations)
    assert set(part.train.gallery.ids) == {c.sticker for c in conversations}
    assert [part.train.gallery.ids[n] for n in part.train.queries.stickers] == [c.sticker for c in conversations]
    rows = [whole.train.queries.ids.index(query) for query in kept]
    columns = [whole.train.gallery.ids.index(sticker) for sticker in part.train.gallery.ids]
    assert np.array_equal(part.train.queries.intentions, whole.train.queries.intentions[rows])
    assert np.array_equal(part.train.gallery.region_features, whole.train.gallery.region_features[columns])
    assert np.array_equal(part.train.relevant, whole.train.relevant[rows][:, columns])
    field = "text_features" if base is CONFIG else "parts"
    sample = getattr(whole.train.queries, field)[rows]
    for split in SPLITS:  # on another scale, which the kept ones set
        found, before = (getattr(getattr(made, split).queries, field) for made in (part, whole))
        before = before[rows] if split == "train" else before
        expected = standardised(before, sample[sample.any(axis=-1)])
        assert found == pytest.approx(np.where(before.any(axis=-1, keepdims=True), expected, 0), abs=1e-3)
        assert getattr(part, split).gallery.ids == (
            part.train.gallery.ids if split == "train" else getattr(whole, split).gallery.ids
        )
    described = part.train.gallery.description_features[part.train.gallery.described]
    assert described.mean(axis=0) == pytest.approx(0, abs=1e-4)
    for split in ("valid", "test"):
        assert np.array_equal(getattr(part, split).relevant, getattr(whole, split).relevant)


@pytest.mark.usefixtures("cache")
def test_token_states_of_a_share(store):
    tuned = CONFIG.with_changes(tuned_layers=1)
    part, whole = (build_features(tuned.with_changes(train_fraction=share), store) for share in (0.3, 1.0))
    rows = [whole.train.queries.ids.index(query) for query in part.train.queries.ids]
    assert len(rows) == 7
    assert np.array_equal(part.train.queries.parts, whole.train.queries.parts[rows])
    assert np.array_equal(part.test.queries.parts, whole.test.queries.parts)


def test_shares_are_nested_and_drawn_by_the_seed():
    train = load_dataset().split("train")
    everything = [c.id for c in train.conversations]
    drawn = {}
    for seed in range(3):
        before = set()
        for fraction in (1e-9, 0.01, 0.1, 0.25, 0.5, 0.9, 1.0):
            share = training_share(train, fraction, seed)
            ids = [c.id for c in share.conversations]
            assert len(ids) == max(1, round(fraction * len(everything)))
            assert ids == [name for name in everything if name in set(ids)]  # in their order
            assert before <= set(ids)
            assert {s.id for s in share.stickers} == {c.sticker for c in share.conversations}
            assert [c.id for c in training_share(train, fraction, seed).conversations] == ids
            before, drawn[seed, fraction] = set(ids), set(ids)
    assert len(drawn[0, 0.1] & drawn[1, 0.1]) < 40  # of 127, of which 13 are expected by chance
    # every intention has its chance: nothing like the first rows alone
    assert len({train.conversations[everything.index(name)].intention for name in drawn[0, 0.1]}) > 20


def test_the_whole_split_keeps_its_unused_stickers():
    part = dataclasses.replace(load_dataset().split("train"), conversations=load_dataset().conversations[:3])
    assert training_share(part, 1.0, 0) is part


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("policy", ["dataset", "all"])
def test_the_gallery_of_all_stickers(policy, split, smoke_features, store):
    config = CONFIG.with_changes(gallery="all", label_policy=policy)
    partition, before = (getattr(made, split) for made in (build_features(config, store), smoke_features))
    if split == "train":
        assert same(partition, before)
        return
    whole = profile_dataset("replystickers", "smoke")
    assert partition.gallery.ids == tuple(s.id for s in whole.stickers)
    assert same(dataclasses.replace(partition.queries, stickers=0), dataclasses.replace(before.queries, stickers=0))
    for number, conversation in zip(partition.queries.stickers, whole.split(split).conversations, strict=True):
        assert partition.gallery.ids[number] == conversation.sticker
    for name in ("region_features", "description_features", "described", "class_features"):
        found, own = (getattr(p.gallery, name) for p in (partition, before))
        assert np.array_equal(found[[partition.gallery.ids.index(name) for name in before.gallery.ids]], own)
        assert len(found) == len(whole.stickers) > len(own)
    qrels = make_qrels(config_dataset(config), split, "intention")
    for row, query in zip(partition.relevant, partition.queries.ids, strict=True):
        assert {sticker for sticker, right in zip(partition.gallery.ids, row, strict=True) if right} == qrels[query]
    assert partition.relevant.sum() > before.relevant.sum()


# In several processes


@pytest.mark.parametrize("config", [CONFIG, UTTERANCES, CONFIG.with_changes(tuned_layers=1, description_units="token")])
def test_two_halves_prepare_everything(config, tmp_path, forgotten, no_models, monkeypatch):
    """Either half writes to a store of its own; after both, nothing is left to infer, describe or encode."""
    monkeypatch.setenv("INTRA_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "generated"

    def arrays():
        return {path.name for path in (tmp_path / "cache" / "features").iterdir()}

    prepare_stickers(config, folder)
    assert [path.name for path in folder.iterdir()] == ["attributes.jsonl"]
    stickers = arrays()
    shutil.rmtree(tmp_path / "cache" / "features")
    shutil.move(folder, tmp_path / "aside")
    forgotten()
    prepare_conversations(config, folder)
    assert [path.name for path in folder.iterdir()] == ["knowledge.jsonl"]
    assert not arrays() & stickers
    shutil.move(tmp_path / "aside" / "attributes.jsonl", folder)
    forgotten()
    prepare_stickers(config, folder)
    forgotten()
    no_models()
    build_features(config, folder)


@pytest.mark.parametrize("system", ["mod", "irra"])
def test_three_parts_prepare_everything_where_words_are_read(system, tmp_path, forgotten, monkeypatch):
    """No part makes what another makes, and after all of them nothing is left to describe or encode."""
    config = RunConfig.of_profile("smoke", system=system)
    made = {}
    for part, prepare in PREPARATIONS.items():
        monkeypatch.setenv("INTRA_CACHE", str(tmp_path / part))
        forgotten()
        prepare(config, tmp_path / "generated")
        made[part] = {path.name for path in (tmp_path / part / "features").iterdir()}
    assert made.keys() == {"stickers", "conversations", "words"} and all(made.values())
    assert len(set().union(*made.values())) == sum(map(len, made.values()))
    for part in made:
        shutil.copytree(tmp_path / part, tmp_path / "cache", dirs_exist_ok=True)
    monkeypatch.setenv("INTRA_CACHE", str(tmp_path / "cache"))
    forgotten()
    for module in (features, words):
        monkeypatch.setattr(module, "cached", lambda key, compute: cached(key, lambda: pytest.fail("encoded again")))
    build_features(config, tmp_path / "generated")


# Data sets of the user


@pytest.fixture
def small_data(tmp_path, monkeypatch):
    """A function that writes a data set and gives a config of it.

    A row is (split, sticker, intention) or those and a dictionary of further fields; `stickers` gives the splits of
    each, words of one text. The pictures are colours.
    """
    monkeypatch.setitem(
        config.PROFILES, "smoke", dataclasses.replace(config.PROFILES["smoke"], conversations_per_split=None)
    )

    def write(rows, stickers, name="data", sticker_fields=None, **changes):
        folder = tmp_path / name
        (folder / "images").mkdir(parents=True)
        lines = []
        for number, (split, sticker, intention, *more) in enumerate(rows):
            words = [{"user": "u", "text": f"今天{number}"}, {"user": "v", "text": "好"}]
            line = {"id": f"c{number}", "split": split, "utterances": words, "sender": "v", "usage": "reply"}
            lines.append(line | {"sticker": sticker, "intention": intention} | (more[0] if more else {}))
        (folder / "conversations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        lines = []
        for number, (sticker, splits) in enumerate(stickers.items()):
            Image.new("RGB", (16, 16), (40 * number, 99, 10)).save(folder / "images" / f"{sticker}.png")
            line = {"id": sticker, "splits": splits.split(), "image": f"images/{sticker}.png"}
            lines.append(line | (sticker_fields or {}))
        (folder / "stickers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        manifest = {"name": "small", "version": "1", "licence": "none", "intentions": ["joy", "anger"]} | changes
        (folder / "manifest.json").write_text(json.dumps(manifest | {"files": {"images/a.png": "0"}}))
        return RunConfig(profile="smoke", dataset=str(folder))

    return write


@pytest.mark.usefixtures("cache")
def test_unused_and_ambiguous_stickers(small_data, tmp_path):
    # c is sent twice for anger and once for joy, so its label is anger; still it is right for the third
    # query, which sent it. d is never sent: no label, right for nobody.
    rows = [("train", "a", "joy"), ("valid", "b", "anger")]
    rows += [("test", "c", "anger"), ("test", "c", "anger"), ("test", "c", "joy"), ("test", "e", "joy")]
    small = small_data(rows, {"a": "train", "b": "valid", "c": "test", "d": "test", "e": "test"})
    test = build_features(small, tmp_path / "generated").test
    assert test.gallery.ids == ("c", "d", "e")
    assert test.gallery.intentions.tolist() == [[False, True], [False, False], [True, False]]
    expected = [[True, False, False], [True, False, False], [True, False, True], [False, False, True]]
    assert test.relevant.tolist() == expected


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("policy", "shown", "right"),
    [
        # a was sent for anger, joy, joy and anger; b for anger; joy comes first in the list of intentions
        ("majority", [[True, False], [False, True]], [[1, 1], [1, 0], [1, 0], [1, 1], [0, 1]]),
        ("last", [[False, True], [False, True]], [[1, 1], [1, 0], [1, 0], [1, 1], [1, 1]]),
        ("all", [[True, True], [False, True]], [[1, 1], [1, 0], [1, 0], [1, 1], [1, 1]]),
    ],
)
@pytest.mark.parametrize("says", ["dataset", "config"])
def test_label_policies(says, policy, shown, right, small_data, tmp_path):
    rows = [("test", "a", intention) for intention in ("anger", "joy", "joy", "anger")] + [("test", "b", "anger")]
    rows += [("train", "c", "joy"), ("valid", "d", "joy")]
    own = policy if says == "dataset" else {"majority": "all", "last": "majority", "all": "last"}[policy]
    config = small_data(rows, {"a": "test", "b": "test", "c": "train", "d": "valid"}, label_policy=own)
    config = config if says == "dataset" else config.with_changes(label_policy=policy)
    test = build_features(config, tmp_path / "generated").test
    assert test.gallery.intentions.tolist() == shown
    assert test.relevant.astype(int).tolist() == right


@pytest.mark.usefixtures("cache")
def test_a_sticker_of_several_splits_is_in_each_of_their_galleries(small_data, tmp_path):
    # labels are those of a split's own conversations: a is a joy sticker in train and an anger sticker in test
    rows = [("train", "a", "joy"), ("valid", "b", "joy"), ("test", "a", "anger"), ("test", "c", "joy")]
    config = small_data(rows, {"a": "train test", "b": "valid train", "c": "test"})
    made = build_features(config, tmp_path / "generated")
    assert [getattr(made, split).gallery.ids for split in SPLITS] == [("a", "b"), ("b",), ("a", "c")]
    assert made.train.gallery.intentions.tolist() == [[True, False], [False, False]]
    assert made.test.gallery.intentions.tolist() == [[False, True], [True, False]]
    assert made.test.relevant.tolist() == [[True, False], [False, True]]
    assert np.array_equal(made.train.gallery.region_features[0], made.test.gallery.region_features[0])


@pytest.mark.usefixtures("cache")
def test_all_conversations_decide_the_labels_of_a_gallery_of_all_stickers(small_data, tmp_path):
    # a was sent for joy in train and for anger twice in test, b for joy in valid; training sees its own alone
    rows = [("train", "a", "joy"), ("train", "c", "anger"), ("valid", "b", "joy")]
    rows += [("test", "a", "anger"), ("test", "a", "anger")]
    config = small_data(rows, {"a": "train test", "b": "valid", "c": "train"}).with_changes(gallery="all")
    made = build_features(config, tmp_path / "generated")
    joy, anger = [True, False], [False, True]
    assert [getattr(made, split).gallery.ids for split in SPLITS] == [("a", "c"), ("a", "b", "c"), ("a", "b", "c")]
    assert made.train.gallery.intentions.tolist() == [joy, anger]
    assert made.valid.gallery.intentions.tolist() == made.test.gallery.intentions.tolist() == [anger, joy, anger]
    assert made.valid.relevant.tolist() == [[False, True, False]]
    assert made.test.relevant.tolist() == [[True, False, True]] * 2


@pytest.mark.usefixtures("cache")
def test_a_share_takes_labels_from_the_conversations_that_are_kept(small_data, tmp_path):
    rows = [("train", "a", ("joy", "anger")[n % 2]) for n in range(8)] + [("train", "b", "joy")] * 4
    rows += [("valid", "c", "joy"), ("test", "d", "joy")]
    stickers = {"a": "train", "b": "train", "unused": "train", "c": "valid", "d": "test"}
    config = small_data(rows, stickers, label_policy="all").with_changes(train_fraction=0.25)
    fewer = set()
    for seed in range(12):
        made = build_features(config.with_changes(seed=seed), tmp_path / "generated").train
        kept = [rows[int(query[1:])] for query in made.queries.ids]
        assert len(kept) == 3
        assert made.gallery.ids == tuple(sorted({sticker for _, sticker, _ in kept}))
        for sticker, shown in zip(made.gallery.ids, made.gallery.intentions, strict=True):
            meant = {intention for _, own, intention in kept if own == sticker}
            assert shown.tolist() == ["joy" in meant, "anger" in meant]
            fewer.add((sticker, *shown.tolist()))
    assert {("a", True, False), ("a", True, True), ("b", True, False)} <= fewer
    whole = build_features(config.with_changes(train_fraction=1.0), tmp_path / "generated").train
    assert whole.gallery.ids == ("a", "b", "unused")


@pytest.mark.usefixtures("cache")
def test_candidates_do_not_make_wrong_stickers_of_those_with_the_same_intention(small_data, tmp_path):
    # a, b and c are joy stickers; the first query ranks a and d alone, but b and c are no negatives of it
    rows = [("test", "a", "joy", {"candidates": ["a", "d"]}), ("test", "b", "joy"), ("test", "c", "joy")]
    rows += [("train", "e", "joy"), ("valid", "f", "joy")]
    stickers = dict.fromkeys("abcd", "test") | {"e": "train", "f": "valid"}
    test = build_features(small_data(rows, stickers), tmp_path / "generated").test
    assert test.gallery.ids == ("a", "b", "c", "d")
    assert test.relevant.astype(int).tolist() == [[1, 1, 1, 0]] * 3


@pytest.mark.usefixtures("cache")
def test_the_text_of_a_label_is_that_of_the_data_set(small_data, tmp_path):
    stickers = {"a": "train", "b": "valid", "c": "test"}

    def labels(name, intentions, **changes):
        rows = [(split, sticker, intentions[0]) for sticker, split in stickers.items()]
        config = small_data(rows, stickers, name, intentions=intentions, **changes)
        return build_features(config, tmp_path / "generated").label_features

    usual = labels("usual", ["joy", "anger", "fear"])
    assert len(np.unique(usual, axis=0)) == 3
    # the texts of the first two exchanged; then names that are no intentions of this project
    swapped = labels(
        "swapped",
        ["joy", "anger", "fear"],
        label_texts={"joy": INTENTIONS["anger"], "anger": INTENTIONS["joy"]},
    )
    assert swapped == pytest.approx(usual[[1, 0, 2]], abs=1e-5)
    own = labels("own", ["x", "y", INTENTIONS["fear"]], label_texts={"x": INTENTIONS["joy"], "y": INTENTIONS["anger"]})
    assert own == pytest.approx(usual, abs=1e-5)


@pytest.mark.usefixtures("cache")
def test_knowledge_and_attributes_that_came_with_the_data_are_used(small_data, tmp_path, monkeypatch):
    """No source is asked, nothing goes into the stores, and what is encoded is the given text."""
    from intra.components import ATTRIBUTE_SOURCES, KNOWLEDGE_SOURCES

    class Silent:
        name = "silent"

        def infer(self, utterances):
            assert not utterances, "asked for knowledge"
            return []

        def describe(self, stickers):
            assert not stickers, "asked for attributes"
            return []

    monkeypatch.setitem(ATTRIBUTE_SOURCES, "tiny-tagger", lambda *parts: Silent())
    monkeypatch.setitem(KNOWLEDGE_SOURCES, "retrieved", lambda *parts: Silent())
    asked = []
    monkeypatch.setattr(features, "cached", lambda key, compute: asked.append(key) or compute())
    stickers = {"a": "train", "b": "valid", "c": "test"}
    rows = [(split, sticker, "joy", {"knowledge": f"他{split}"}) for sticker, split in stickers.items()]
    config = small_data(rows, stickers, sticker_fields={"attributes": {"gesture": ["挥手", "点头"], "verbal": []}})
    made = build_features(config, tmp_path / "generated")
    assert not list((tmp_path / "generated").glob("*"))
    for split in SPLITS:
        gallery = getattr(made, split).gallery
        assert gallery.described.tolist() == [[name == "gesture" for name in ATTRIBUTES]]
    assert {key[-1] for key in asked if key[1] == "pairs"} == {"他train", "他valid", "他test"}
    assert {tuple(key[2:]) for key in asked if key[1] == "passages"} == {("手势：挥手，点头",)}


@pytest.mark.usefixtures("cache")
def test_a_split_without_conversations_is_one_line(small_data, tmp_path):
    small = small_data([("train", "a", "joy"), ("test", "c", "joy")], {"a": "train", "c": "test"})
    with pytest.raises(IntraError, match=r"data: holds no conversation of the split 'valid'"):
        build_features(small, tmp_path / "generated")


@pytest.mark.usefixtures("cache")
def test_a_broken_picture_is_one_line(small_data, tmp_path):
    stickers = {"a": "train", "b": "valid", "c": "test"}
    small = small_data([(split, sticker, "joy") for sticker, split in stickers.items()], stickers)
    (tmp_path / "data" / "images" / "b.png").write_bytes(b"no picture")
    with pytest.raises(IntraError, match=r"b\.png: is no readable picture"):
        build_features(small, tmp_path / "generated")


@pytest.mark.filterwarnings("error:Mean of empty slice")
@pytest.mark.parametrize(("units", "places"), [("attribute", 4), ("token", 4)])
def test_a_silent_attribute_source(units, places, cache, store, tmp_path, monkeypatch):
    """No sticker is described: features are zeros, and nothing is said to be described."""
    from intra.components import ATTRIBUTE_SOURCES
    from intra.generation.attributes import StickerAttributes

    class Silent:
        name = "silent"

        def describe(self, stickers):
            return [StickerAttributes() for _ in stickers]

    monkeypatch.setitem(ATTRIBUTE_SOURCES, "tiny-tagger", lambda *parts: Silent())
    made = build_features(CONFIG.with_changes(description_units=units), tmp_path / "generated")
    for split in SPLITS:
        gallery = getattr(made, split).gallery
        assert not gallery.described.any() and not gallery.description_features.any()
        assert gallery.description_features.shape == (len(gallery.ids), places, 32)
