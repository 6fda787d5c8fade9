"""Features: what systems are given, and the cache that keeps them."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from intra import config, features
from intra.components import Components
from intra.config import RunConfig
from intra.data.intentions import INTENTIONS
from intra.data.reader import load_dataset
from intra.data.schema import ATTRIBUTES, SPLITS
from intra.encoders import text, vision
from intra.encoders.tiny import tiny_bert
from intra.errors import IntraError
from intra.evaluation import make_qrels
from intra.features import Standardiser, build_features, cached, profile_dataset
from intra.paths import PACKAGE

pytest_plugins = ["helpers"]
CONFIG = RunConfig(profile="smoke")


@pytest.fixture
def smoke_features(smoke, cache):
    """Features that the smoke study was run on."""
    return build_features(CONFIG, smoke[0].root / "generated")


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
        monkeypatch.setattr(features, "code_digest", lambda patterns: asked.append(patterns) or digest)

    for number, digest in enumerate(["one", "two"]):
        digest_of(digest)
        assert cached(["a"], lambda number=number: np.array([number])).tolist() == [number]
    for number, digest in enumerate(["one", "two"]):  # both are kept
        digest_of(digest)
        assert cached(["a"], forbidden).tolist() == [number]
    assert set(asked) == {features.ENCODING_CODE}


def test_the_code_of_the_encoders_is_all_that_encodes():
    named = {path.relative_to(PACKAGE).as_posix() for glob in features.ENCODING_CODE for path in PACKAGE.glob(glob)}
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
    assert (
        str(error.value) == "unknown profile 'smok' (did you mean 'smoke'?); known are base, mini, paper, served, smoke"
    )


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
    for array in (queries.text_features, gallery.region_features, gallery.description_features):
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
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if hasattr(one, "__dict__"):
        return all(same(value, vars(other)[name]) for name, value in vars(one).items())
    return one == other


def test_second_build_loads_no_model(smoke_features, smoke, tmp_path, monkeypatch):
    """With features in the cache and generated text in the store, neither encoder is so much as opened."""

    def broken(*arguments, **named):
        pytest.fail("a model is loaded")

    monkeypatch.setattr(text.TransformerTextEncoder, "_load", broken)
    monkeypatch.setattr(vision, "build_tower", broken)
    monkeypatch.setattr(vision.OpenClipVisionEncoder, "encode", broken)
    shutil.copytree(smoke[0].root / "generated", tmp_path / "generated")  # another key of the memory in _build
    assert same(build_features(CONFIG, tmp_path / "generated"), smoke_features)


def test_same_features_in_another_process(smoke_features, elsewhere, session_cache):
    """Every array that another process computed from nothing equals the one of this process, bit for bit."""
    theirs = sorted((elsewhere / "cache" / "features").iterdir())
    # contexts (with knowledge, and whole for the checks) and regions of each split, the labels, and the distinct
    # descriptions, which splits may have in common
    assert 3 + 3 + 3 + 1 + 1 <= len(theirs) <= 3 + 3 + 3 + 1 + 3
    for path in theirs:
        assert path.read_bytes() == (session_cache / "features" / path.name).read_bytes(), path.name


def test_window_changes_the_contexts_alone(smoke_features, smoke):
    narrow = build_features(CONFIG.with_changes(window=1), smoke[0].root / "generated")
    for split in SPLITS:
        one, other = getattr(narrow, split), getattr(smoke_features, split)
        assert not np.allclose(one.queries.text_features, other.queries.text_features)
        assert same(one.gallery, other.gallery) and same(one.relevant, other.relevant)


def test_other_settings_share_the_features(smoke_features, smoke):
    """Same object: a study of hundreds of runs builds features once for each window."""
    store = smoke[0].root / "generated"
    for changes in ({"seed": 7}, {"system": "oracle"}, {"width": 32, "margin": 0.5}):
        assert build_features(CONFIG.with_changes(**changes), store) is build_features(CONFIG, store)


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
def test_label_policies(policy, shown, right, small_data, tmp_path):
    rows = [("test", "a", intention) for intention in ("anger", "joy", "joy", "anger")] + [("test", "b", "anger")]
    rows += [("train", "c", "joy"), ("valid", "d", "joy")]
    config = small_data(rows, {"a": "test", "b": "test", "c": "train", "d": "valid"}, label_policy=policy)
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
    assert [key[-1] for key in asked if key[1] == "pairs"] == ["他train", "他valid", "他test"]
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
def test_a_silent_attribute_source(smoke, cache, tmp_path, monkeypatch):
    """No sticker is described: features are zeros, and nothing is said to be described."""
    from intra.components import ATTRIBUTE_SOURCES
    from intra.generation.attributes import StickerAttributes

    class Silent:
        name = "silent"

        def describe(self, stickers):
            return [StickerAttributes() for _ in stickers]

    monkeypatch.setitem(ATTRIBUTE_SOURCES, "tiny-tagger", lambda *parts: Silent())
    (tmp_path / "generated").mkdir()
    shutil.copy(smoke[0].root / "generated" / "knowledge.jsonl", tmp_path / "generated")
    made = build_features(CONFIG, tmp_path / "generated")
    for split in SPLITS:
        gallery = getattr(made, split).gallery
        assert not gallery.described.any() and not gallery.description_features.any()
        assert gallery.description_features.shape == (len(gallery.ids), len(ATTRIBUTES), 32)


def test_features_are_kept_in_memory(smoke_features, smoke, monkeypatch):
    monkeypatch.setattr(features, "profile_dataset", lambda *names: pytest.fail("built again"))
    assert build_features(CONFIG, smoke[0].root / "generated") is smoke_features
