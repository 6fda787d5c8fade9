"""Zero-shot accuracy and recall against loops, and the command that trains and measures."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pretraining_toys import LetterEncoder

from intra.config import PROFILES
from intra.data.reader import profile_dataset
from intra.data.schema import Sticker
from intra.encoders.vision import STICKER_VIT, STICKER_VIT_WEIGHTS, OpenClipVisionEncoder
from intra.generation.tagger import VOCABULARIES
from intra.pretraining import __main__ as command
from intra.pretraining import read_record
from intra.pretraining.art import UNSEEN, Emoji, name_of, read_art, rendered
from intra.pretraining.drawings import describe_key
from intra.pretraining.transfer import picture_vectors, retrieval, zero_shot

pytest_plugins = ["pretraining_helpers"]
ENCODER = LetterEncoder(64)
FIELDS = {"gesture": "gesture", "posture": "posture", "facial_expression": "expression"}


def centred(texts):
    vectors = ENCODER.encode(texts)
    return vectors - vectors.mean(axis=0)


def cosine(one, other):
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_zero_shot_gives_the_key_of_the_nearest_text(tmp_path):
    rng = np.random.default_rng(0)
    stickers = []
    for number in range(12):
        looks = {field: rng.choice(list(VOCABULARIES[name])) for name, field in FIELDS.items()}
        splits = ("train", "test") if number == 0 else (("train", "valid", "test")[number % 3],)
        stickers.append(Sticker(str(number), splits, Path("none"), specification=looks))
    gestures = list(VOCABULARIES["gesture"])
    texts = centred([describe_key("gesture", key, True) for key in gestures])
    vectors = np.array([texts[gestures.index(s.specification["gesture"])] for s in stickers]) * 3
    vectors += 0.3 * rng.normal(size=vectors.shape)
    rows = {(row["attribute"], row["split"]): row for row in zero_shot(vectors, stickers, ENCODER, tmp_path)}
    assert len(rows) == 9
    for language, chinese in {"chinese": True, "english": False}.items():
        for name, field in FIELDS.items():
            texts = centred([describe_key(name, key, chinese) for key in VOCABULARIES[name]])
            own = [n for n, s in enumerate(stickers) if "test" in s.splits]
            right = 0
            for n in own:
                cosines = {key: cosine(vectors[n], text) for key, text in zip(VOCABULARIES[name], texts, strict=True)}
                right += max(cosines, key=cosines.get) == stickers[n].specification[field]
            assert rows[name, "test"][language] == pytest.approx(right / len(own))
            assert rows[name, "test"]["stickers"] == len(own) == 5
    assert rows["gesture", "train"]["chance"] == 1 / 18
    drawn = [s.specification["posture"] for s in stickers if "valid" in s.splits]
    assert rows["posture", "valid"]["majority"] == max(map(drawn.count, drawn)) / len(drawn)


def test_recall_counts_the_pictures_that_lie_nearer_than_the_own_one(tmp_path):
    rng = np.random.default_rng(1)
    art = [Emoji("toy", str(n), "", f"名{chr(0x4E00 + 37 * n)}{n}", f"name {n * n} {chr(97 + n)}") for n in range(20)]
    vectors = centred([name_of(emoji, True) for emoji in art]) + 0.1 * rng.normal(size=(20, 64))
    rows = {row["names"]: row for row in retrieval(vectors.astype(np.float32), art, ENCODER, tmp_path)}
    for language, chinese in {"chinese": True, "english": False}.items():
        texts = centred([name_of(emoji, chinese) for emoji in art])
        ranks = []
        for n, text in enumerate(texts):
            cosines = [cosine(vector, text) for vector in vectors]
            ranks.append(1 + sum(other > cosines[n] for other in cosines))
        for k in (1, 5, 10):
            assert rows[language][f"recall@{k}"] == pytest.approx(np.mean([rank <= k for rank in ranks]))
        assert rows[language]["median rank"] == np.floor(np.median(ranks))
        assert 1 < np.mean(ranks) < 20  # neither is trivial
    chance = rows["chance"]
    assert [chance[f"recall@{k}"] for k in (1, 5, 10)] == [1 / 20, 5 / 20, 10 / 20]
    assert chance["median rank"] == np.median(range(1, 21))
    assert {(row["set"], row["pictures"]) for row in rows.values()} == {("toy", 20)}


def test_art_is_encoded_as_the_encoder_would_encode_its_files(art_folder, tmp_path):
    art = read_art(art_folder, UNSEEN)
    vision = OpenClipVisionEncoder(STICKER_VIT, STICKER_VIT_WEIGHTS)
    paths = []
    for number, pixels in enumerate(rendered(art, 112)):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    np.testing.assert_allclose(picture_vectors(vision, art, 112), vision.encode(paths).pooled, atol=1e-4)


@pytest.fixture
def small_world(monkeypatch, tmp_path):
    """The command with a text encoder without weights and the stickers of the profile of the tests."""
    width = json.loads(STICKER_VIT.read_text())["embed_dim"]
    monkeypatch.setenv("INTRA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(command, "text_encoder", lambda: LetterEncoder(width))
    monkeypatch.setattr(command, "load_dataset", lambda: profile_dataset("replystickers", "smoke"))


def test_the_command_trains_measures_and_measures_again(small_world, art_folder, tmp_path, monkeypatch):
    arguments = ["--art", str(art_folder), "--output", str(tmp_path / "out")]
    command.main([*arguments, "--drawings", "6", "--validation", "3", "--epochs", "1"])
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == ["record.json", "sticker-vit.safetensors", "tagger.safetensors"]
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert set(record) == set(read_record())
    assert record["emoji"] == {"noto": 3, "fluent-emoji-flat": 3}
    assert {row["set"] for row in record["transfer"]["retrieval"]} == set(UNSEEN)
    weights = tmp_path / "out" / "sticker-vit.safetensors"
    assert record["transfer"]["vision_encoder"] == OpenClipVisionEncoder(STICKER_VIT, weights).name

    (tmp_path / "out" / "record.json").write_text(json.dumps(record | {"transfer": None}))
    monkeypatch.setattr(command, "run", None)  # nothing is trained again
    command.main([*arguments, "--measure"])
    assert json.loads((tmp_path / "out" / "record.json").read_text()) == record


def test_the_packaged_record_is_of_the_packaged_weights():
    record = read_record()
    assert record["transfer"]["vision_encoder"] == OpenClipVisionEncoder(STICKER_VIT, STICKER_VIT_WEIGHTS).name
    assert len(record["transfer"]["zero_shot"]) == 9 and PROFILES["mini"].vision == STICKER_VIT.stem
