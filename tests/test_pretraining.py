import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from intra.encoders import pretraining
from intra.encoders.pretraining import Data, Settings
from intra.encoders.vision import STICKER_VIT, STICKER_VIT_WEIGHTS, TINY_VIT, build_tower
from intra.generation.tagger import TAGGER_WEIGHTS, VOCABULARIES, load_tagger
from intra.replystickers import vocabulary
from intra.replystickers.drawing.characters import CHARACTERS, silhouette
from intra.replystickers.drawing.sticker import draw, rasterise

CAPTIONS = ["收到", "OK"]


class LetterEncoder:
    """A text encoder whose vectors count characters."""

    name = "letters"
    dim = 16

    def encode(self, texts, kind="query"):
        vectors = np.ones((len(texts), self.dim), np.float32)
        for row, text in enumerate(texts):
            for character in text:
                vectors[row, ord(character) % self.dim] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Data:
    examples = pretraining.draw_examples(16, 3, CAPTIONS)
    return pretraining.prepare(examples, 32, LetterEncoder(), tmp_path_factory.mktemp("cache"), processes=1)


def test_examples_are_held_out_and_of_every_kind():
    examples = pretraining.draw_examples(300, 4, CAPTIONS)
    known = {silhouette(character.parts) for character in CHARACTERS.values()}
    assert not known & {silhouette(example.character.parts) for example in examples}
    seen = [example.specification for example in examples]
    assert {specification.expression for specification in seen} == set(vocabulary.EXPRESSIONS)
    assert {specification.gesture for specification in seen} == set(vocabulary.GESTURES)
    assert {specification.posture for specification in seen} == set(vocabulary.POSTURES)
    assert {specification.caption for specification in seen} == {"", *CAPTIONS}
    assert seen == [example.specification for example in pretraining.draw_examples(300, 4, CAPTIONS)]


def test_training_and_validation_share_no_character():
    casts = [
        {example.character.key for example in pretraining.draw_examples(1000, seed, CAPTIONS)}
        for seed in (pretraining.TRAINING_CHARACTERS, pretraining.VALIDATION_CHARACTERS)
    ]
    assert not casts[0] & casts[1]


def test_captions_of_the_training_are_not_those_of_the_benchmark():
    captions = pretraining.CAPTIONS.read_text(encoding="utf-8").split("\n")[:-1]
    table = json.loads((pretraining.CAPTIONS.parent / "captions.json").read_text(encoding="utf-8"))
    assert len(set(captions)) == len(captions) > 100
    assert not set(captions) & {caption for own in table.values() for caption in own}


def test_a_description_says_all_that_is_drawn():
    specification = dataclasses.replace(
        pretraining.draw_examples(1, 5, CAPTIONS)[0].specification,
        style="flat",
        expression="wink",
        gesture="clap",
        posture="lying",
        prop="sun",
        caption="早",
    )
    chinese = pretraining.describe(specification, chinese=True)
    assert all(word in chinese for word in ("无线色块", "眨眼", "鼓掌", "躺平", "太阳", "「早」"))
    english = pretraining.describe(specification, chinese=False)
    assert all(word in english for word in ("flat shapes", "winking", "clapping", "lying", "sun", '"早"'))
    bare = dataclasses.replace(specification, prop="none", caption="")
    assert "画着" not in pretraining.describe(bare, chinese=True)
    assert "with" not in pretraining.describe(bare, chinese=False).split("outline")[1]


def test_prepared_arrays_fit_the_specifications(data):
    examples = pretraining.draw_examples(16, 3, CAPTIONS)
    assert data.pixels.shape == (16, 32, 32, 3)
    assert data.pixels.dtype == np.uint8
    assert data.pixels.std(axis=(1, 2, 3)).min() > 10  # none is blank
    for row, example in enumerate(examples):
        assert list(vocabulary.EXPRESSIONS)[data.labels["facial_expression"][row]] == example.specification.expression
    np.testing.assert_allclose(np.linalg.norm(data.texts, axis=1), 1, atol=1e-5)


def test_drawings_are_the_same_from_one_and_from_two_processes(tmp_path, data):
    examples = pretraining.draw_examples(16, 3, CAPTIONS)[:3]
    pixels, boxes = pretraining.pictures(examples, 32, tmp_path, processes=2)
    np.testing.assert_array_equal(pixels, data.pixels[:3])
    np.testing.assert_array_equal(boxes, data.boxes[:3])


def test_drawings_come_from_the_cache_until_something_changes(tmp_path, monkeypatch):
    examples = pretraining.draw_examples(2, 6, CAPTIONS)
    first, _ = pretraining.pictures(examples, 16, tmp_path, processes=1)
    monkeypatch.setattr(pretraining, "picture", lambda example, size: (np.zeros((size, size, 3)), np.zeros((2, 4))))
    np.testing.assert_array_equal(pretraining.pictures(examples, 16, tmp_path, processes=1)[0], first)
    monkeypatch.setattr(pretraining, "drawing_digest", lambda: "another")
    assert not pretraining.pictures(examples, 16, tmp_path, processes=1)[0].any()


def test_text_vectors_do_not_tell_the_language(tmp_path):
    examples = pretraining.draw_examples(40, 7, CAPTIONS)
    encoder = LetterEncoder()
    pretraining.text_vectors(examples, encoder, tmp_path)
    raw = encoder.encode([example.description for example in examples])
    vectors = pretraining.text_vectors(examples, encoder, tmp_path)
    chinese = np.array([example.chinese for example in examples])
    expected = raw[3] - raw[chinese == chinese[3]].mean(axis=0)
    np.testing.assert_allclose(vectors[3], expected / np.linalg.norm(expected), atol=1e-5)


def test_the_contrastive_loss_is_its_equation():
    torch.manual_seed(3)
    images, texts = torch.randn(4, 5), torch.nn.functional.normalize(torch.randn(4, 5), dim=1)
    texts[2] = texts[0]
    groups = torch.tensor([0, 1, 0, 2])
    loss = pretraining.contrastive_loss(images, texts, torch.tensor(7.0), groups)

    def score(i, j):
        length = math.sqrt(sum(x * x for x in images[i].tolist()))
        return 7 * sum(x * y for x, y in zip(images[i].tolist(), texts[j].tolist(), strict=True)) / length

    total = 0.0
    for i in range(4):
        others = [j for j in range(4) if j == i or groups[j] != groups[i]]
        total -= score(i, i) - math.log(sum(math.exp(score(i, j)) for j in others))
        total -= score(i, i) - math.log(sum(math.exp(score(j, i)) for j in others))
    assert loss.item() == pytest.approx(total / 8, abs=1e-5)


def test_augmentation_is_seeded_small_and_never_a_mirror(data):
    pixels, boxes = torch.from_numpy(data.pixels), torch.from_numpy(data.boxes)
    one, _ = pretraining.augment(pixels, boxes, torch.Generator().manual_seed(1))
    same, _ = pretraining.augment(pixels, boxes, torch.Generator().manual_seed(1))
    other, _ = pretraining.augment(pixels, boxes, torch.Generator().manual_seed(2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.shape == (16, 3, 32, 32)
    plain = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
    assert (one - plain).abs().mean() < (one - plain.flip(3)).abs().mean()


def test_boxes_move_with_what_they_hold():
    pixels = torch.full((40, 64, 64, 3), 255, dtype=torch.uint8)
    pixels[:, 20:36, 10:30] = 0
    boxes = torch.tensor([10, 20, 30, 36]).float().expand(40, 1, 4) / 32 - 1
    changed, moved = pretraining.augment(pixels, boxes, torch.Generator().manual_seed(3))
    for picture, box in zip(changed, moved[:, 0], strict=True):
        rows, columns = torch.nonzero(picture.mean(0) < 0.3, as_tuple=True)
        seen = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / 32 - 1
        torch.testing.assert_close(seen, box, atol=0.1, rtol=0)


def test_the_guidance_loss_counts_the_cells_that_a_box_touches():
    attention = torch.full((2, 9), 1 / 12)
    attention[:, 4] = 4 / 12
    boxes = torch.tensor([[-0.9, -0.9, 0.2, -0.5], [0.5, 0.5, 0.6, 0.6]])  # two cells of the top row; the last cell
    expected = -(math.log(2 / 12) + math.log(1 / 12)) / 2
    assert pretraining.guidance_loss(attention, boxes).item() == pytest.approx(expected, abs=1e-5)
    outside = torch.tensor([[1.2, 1.2, 1.4, 1.4]]).expand(2, 4)
    assert math.isfinite(pretraining.guidance_loss(attention, outside).item())


def test_boxes_are_where_the_faces_are():
    example = pretraining.draw_examples(1, 8, CAPTIONS)[0]
    bare = dataclasses.replace(example.specification, expression="calm", style="outline", posture="standing")
    _, boxes = pretraining.picture(dataclasses.replace(example, specification=bare), 240)
    winking = dataclasses.replace(bare, expression="wink")
    pictures = [np.asarray(pretraining.on_white(rasterise(draw(s, example.character))), float) for s in (bare, winking)]
    rows, columns = np.nonzero(np.abs(pictures[0] - pictures[1]).sum(2) > 60)
    left, top, right, bottom = (boxes[list(pretraining.GUIDED).index("facial_expression")] + 1) * 120
    inside = (columns > left - 5) & (columns < right + 5) & (rows > top - 5) & (rows < bottom + 5)
    assert inside.mean() > 0.8


def test_the_rate_rises_and_falls():
    settings = Settings(learning_rate=1.0, warmup=0.1)
    rates = [pretraining.rate(step, 100, settings) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.001


def test_a_training_that_was_cut_off_ends_as_if_it_had_not_been(tmp_path, monkeypatch, data):
    settings = Settings(epochs=2, batch_size=8)
    whole, history = pretraining.train(TINY_VIT, settings, data, data, tmp_path / "whole.pt")

    save = pretraining.save_checkpoint

    def save_and_die(path, state):
        save(path, state)
        raise KeyboardInterrupt

    monkeypatch.setattr(pretraining, "save_checkpoint", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        pretraining.train(TINY_VIT, settings, data, data, tmp_path / "cut.pt")
    monkeypatch.undo()
    resumed, resumed_history = pretraining.train(TINY_VIT, settings, data, data, tmp_path / "cut.pt")

    untrained = pretraining.Learner(TINY_VIT, settings.seed).state_dict()
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
        assert not torch.equal(tensor, untrained[name]), name
    assert [entry["losses"] for entry in resumed_history] == [entry["losses"] for entry in history]


def test_a_few_drawings_can_be_learnt_by_heart(tmp_path, data):
    settings = Settings(epochs=60, batch_size=16, learning_rate=3e-3)
    learner, history = pretraining.train(TINY_VIT, settings, data, data, tmp_path / "heart.pt")
    assert history[-1]["losses"]["contrastive"] < 0.6 * history[0]["losses"]["contrastive"]
    assert min(history[-1]["validation"].values()) > 0.35  # one answer for all gives 0.2
    assert pretraining.accuracies(learner, data, batch_size=5) == history[-1]["validation"]


def test_saved_weights_load_into_the_parts_that_read_them(tmp_path):
    learner = pretraining.rounded(pretraining.Learner(TINY_VIT, seed=0))
    pretraining.save_weights(learner.tower, tmp_path / "tower.safetensors")
    pretraining.save_weights(learner.tagger, tmp_path / "tagger.safetensors")
    tower = build_tower(TINY_VIT, tmp_path / "tower.safetensors")
    tagger = load_tagger(tmp_path / "tagger.safetensors", 32)
    pixels = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        pooled, regions = learner(pixels)
        logits = learner.tagger(regions)
        pooled_again, regions_again = tower(pixels)
        logits_again = tagger(regions_again)
    torch.testing.assert_close(pooled, pooled_again)
    for name in VOCABULARIES:
        torch.testing.assert_close(logits[name], logits_again[name])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tagger.safetensors", "tower.safetensors"]


def test_the_packaged_weights_fit_the_packaged_configuration():
    width = json.loads(STICKER_VIT.read_text())["vision_cfg"]["width"]
    build_tower(STICKER_VIT, STICKER_VIT_WEIGHTS)
    load_tagger(TAGGER_WEIGHTS, width)
    assert STICKER_VIT_WEIGHTS.stat().st_size + TAGGER_WEIGHTS.stat().st_size < 12e6
    record = json.loads(pretraining.RECORD.read_text())
    assert len(record["epochs"]) == record["settings"]["epochs"]
    assert set(record["validation"]) == set(VOCABULARIES)
