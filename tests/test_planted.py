"""Synthetic features: the rule is where it is said to be, nowhere else, and the record holds what the book reads."""

import json

import numpy as np
import pytest

from intra import main_results, planted
from intra.config import RunConfig
from intra.main_results import planted_results
from intra.models import SYSTEMS
from intra.planted import INTENTIONS, PATCHES, STICKERS, WIDTH, planted_features, planted_result, shuffled

SPLITS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def features():
    return planted_features()


def means(vectors, labels):
    """Mean vector of each intention, shape (C, d), by a plain loop."""
    return np.array([vectors[labels == number].astype(float).mean(axis=0) for number in range(INTENTIONS)])


def agreement(vectors, labels, others, other_labels):
    """Mean product of two samples' mean vectors, divided by their width: of one intention, and of different ones."""
    products = means(vectors, labels) @ means(others, other_labels).T / WIDTH
    return np.diag(products).mean(), products[~np.eye(INTENTIONS, dtype=bool)].mean()


def guessed(vectors, labels, centres):
    """Share of vectors whose projection is largest on their own intention's centre."""
    return ((vectors.astype(float) @ centres.T).argmax(axis=1) == labels).mean()


def shown(features, split):
    """Patches (G, P, d) and intentions (G,) of the stickers of a split that training has, or has not."""
    gallery = getattr(features, split).gallery
    unseen = ~np.isin(gallery.ids, features.train.gallery.ids)
    rows = unseen if split != "train" else slice(None)
    return gallery.region_features[rows], gallery.intentions.argmax(axis=1)[rows]


# Prototypes are unit Gaussian, so the product of 0.7 and 0.7 prototypes is 0.49 of 1 with a deviation of
# sqrt(2 / 64 / 12), 0.05, over twelve of them; that of different ones is 0. So with 0.9.


def test_the_last_utterance_tells_the_intention(features):
    train, test = features.train.queries, features.test.queries
    assert train.parts.shape == (975, 4, 6, WIDTH) and train.parts.dtype == np.float16
    own, different = agreement(train.parts[:, -1].mean(1), train.intentions, test.parts[:, -1].mean(1), test.intentions)
    assert own == pytest.approx(0.49, abs=0.11) and different == pytest.approx(0, abs=0.06)
    centres = means(train.parts[:, -1].mean(axis=1), train.intentions)
    assert guessed(test.parts[:, -1].mean(axis=1), test.intentions, centres) > 0.95


@pytest.mark.parametrize("turn", [0, 1, 2])
def test_earlier_utterances_tell_nothing(turn, features):
    train, test = (getattr(features, split).queries for split in ("train", "test"))
    centres = means(train.parts[:, turn].mean(axis=1), train.intentions)
    assert guessed(test.parts[:, turn].mean(axis=1), test.intentions, centres) < 0.2  # 1 / 12 by chance
    assert np.abs(centres).mean() < 0.05  # 480 words each: noise of 0.05, its mean size 0.04


def test_the_words_of_the_last_utterance_are_those_of_the_intention(features):
    for split in SPLITS:
        queries = getattr(features, split).queries
        for numbers, intention in zip(queries.words, queries.intentions, strict=True):
            assert set(numbers[-1].tolist()) <= {1 + 4 * intention + own for own in range(4)}
        assert queries.words.min() >= 1 and queries.words.max() < len(features.word_embeddings)
    words, meant = features.train.queries.words, features.train.queries.intentions
    earlier = [np.unique(words[meant == number, :-1]) for number in range(INTENTIONS)]
    assert min(map(len, earlier)) > 45, "of 50 words; elsewhere they tell nothing"
    assert not features.word_embeddings[0].any() and features.word_embeddings[1:].any(axis=1).all()


def test_the_first_four_patches_show_it_and_the_others_nothing(features):
    seen, meant = shown(features, "train")
    unseen, also_meant = shown(features, "test")
    assert (len(seen), len(unseen)) == (300, 100) and seen.shape[1] == PATCHES
    own, different = agreement(seen[:, :4].mean(1), meant, unseen[:, :4].mean(1), also_meant)
    assert own == pytest.approx(0.81, abs=0.18) and different == pytest.approx(0, abs=0.08)
    assert guessed(unseen[:, :4].mean(axis=1), also_meant, means(seen[:, :4].mean(axis=1), meant)) > 0.95
    own, different = agreement(seen[:, 4:].mean(1), meant, unseen[:, 4:].mean(1), also_meant)
    assert own == pytest.approx(0, abs=0.01) and different == pytest.approx(0, abs=0.01)
    assert guessed(unseen[:, 4:].mean(axis=1), also_meant, means(seen[:, 4:].mean(axis=1), meant)) < 0.25


def test_text_and_pictures_have_prototypes_of_their_own(features):
    """Or a cosine of untrained vectors would do."""
    queries, (patches, meant) = features.train.queries, shown(features, "train")
    own, _ = agreement(queries.parts[:, -1].mean(axis=1), queries.intentions, patches[:, :4].mean(axis=1), meant)
    assert abs(own) < 0.15


def test_stickers_of_validation_and_test_are_unseen_in_training(features):
    known = set(features.train.gallery.ids)
    assert len(known) == 300
    for split in SPLITS:
        part = getattr(features, split)
        sent = {part.gallery.ids[column] for column in part.queries.stickers}
        assert sent <= known if split == "train" else not sent & known
        assert len(set(part.gallery.ids)) == (300 if split == "train" else STICKERS)
    whole = features.test.gallery
    assert np.array_equal(whole.region_features[:300], features.train.gallery.region_features)
    assert np.array_equal(whole.intentions[:300], features.train.gallery.intentions)


@pytest.mark.parametrize("encoding", ["words", "masked words", "sequence"])
def test_labels_agree(encoding):
    features = planted_features(encoding)
    for split in SPLITS:
        part = getattr(features, split)
        assert part.gallery.intentions.sum(axis=1).tolist() == [1] * len(part.gallery.ids)
        meant = part.gallery.intentions.argmax(axis=1)
        assert part.queries.intentions.tolist() == [meant[column] for column in part.queries.stickers]
        for row, intention in zip(part.relevant, part.queries.intentions, strict=True):
            assert row.tolist() == [own == intention for own in meant]


def test_whole_contexts_tell_it_too():
    features = planted_features("sequence")
    train, test = features.train.queries, features.test.queries
    assert train.parts is None and train.text_features.shape == (975, WIDTH)
    centres = means(train.text_features, train.intentions)
    assert guessed(test.text_features, test.intentions, centres) > 0.6  # one word in four does


def test_hidden_words_are_noise_and_all_others_stay():
    features = planted_features("masked words")
    queries = features.train.queries
    hidden = queries.masked_places
    assert queries.masked.shape == (2, *queries.parts.shape) and hidden.any(axis=(2, 3)).all()
    assert hidden.mean() == pytest.approx(0.15, abs=0.01)
    for variant, places in zip(queries.masked, hidden, strict=True):
        assert np.array_equal(variant[~places], queries.parts[~places])
    last = hidden[0][:, -1]
    noise = [queries.masked[0][:, -1][last & (queries.intentions == c)[:, None]].mean(axis=0) for c in range(12)]
    # some 75 words each: noise of 0.12, where prototypes would give 0.7
    assert np.std(noise) < 0.2
    assert features.test.queries.masked is None


def test_one_seed_gives_the_same_features(features):
    again, other = planted_features(), planted_features(seed=1)
    assert np.array_equal(again.test.queries.parts, features.test.queries.parts)
    assert not np.array_equal(other.test.queries.parts, features.test.queries.parts)


def test_shuffled_answers_keep_their_shares_and_lose_their_conversations(features):
    mixed = shuffled(features)
    before, after = features.train, mixed.train
    for part in (before, after):
        assert part.gallery.intentions[part.queries.stickers, part.queries.intentions].all()
        own = part.relevant[np.arange(len(part.relevant)), part.queries.stickers]
        assert own.all() and np.array_equal(part.relevant, part.gallery.intentions[:, part.queries.intentions].T)
    for name in ("stickers", "intentions"):
        assert sorted(getattr(after.queries, name)) == sorted(getattr(before.queries, name))
    alike = (after.queries.intentions == before.queries.intentions).mean()
    assert alike == pytest.approx(1 / 12, abs=0.04)  # 4.5 deviations of 975 draws
    assert after.queries.parts is before.queries.parts and after.gallery is before.gallery
    assert mixed.test is features.test
    assert sorted(mixed.valid.queries.stickers) == sorted(features.valid.queries.stickers)


def test_chance_matches_intentions_at_random(features):
    """A scorer that knows the intention of all: by chance it finds the right one as often as a random match does."""
    found = planted_result(SYSTEMS["oracle"], RunConfig(system="oracle"), features)
    assert (found["hit1"], found["mAP"]) == (100, 100)
    right = np.bincount(features.test.gallery.intentions.argmax(axis=1))
    ranked_behind = [right[c] / STICKERS for c in range(INTENTIONS)]  # at least that precise, being in one block
    assert np.mean(ranked_behind) * 100 < found["chance"] < 50
    assert found["deviation"] > 2


def test_the_record_is_what_the_book_reads(tmp_path, monkeypatch):
    path = tmp_path / "planted.json"
    monkeypatch.setattr(planted, "TRAINED", ("clip",))
    monkeypatch.setitem(planted.SETTINGS, "epochs", 6)
    monkeypatch.setattr(main_results, "PLANTED", path)
    planted.main(path)
    table = planted_results()
    assert table.index.tolist() == [("CLIP", "sticker"), ("CLIP", "intention")]
    assert table.columns.tolist() == ["hit@1", "mAP", "mAP, shuffled", "chance", "deviation"]
    assert (table[["hit@1", "mAP"]] > 70).all(axis=None), "the rule is learned"
    away = (table["mAP, shuffled"] - table["chance"]).abs() / table["deviation"]
    assert (away < 3).all(), "nothing is learned where there is nothing"
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["settings"] == planted.SETTINGS
    assert record["rows"]["clip, sticker"]["planted"]["mAP"] == table.loc[("CLIP", "sticker"), "mAP"]
