"""The training: its rate, what it learns, that it can be cut off, and the weights it leaves."""

import json
import math

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from intra.encoders.vision import STICKER_VIT, STICKER_VIT_WEIGHTS, TINY_VIT, build_tower
from intra.generation.tagger import TAGGER_WEIGHTS, VOCABULARIES, load_tagger
from intra.pretraining import read_record, training
from intra.pretraining.learner import Learner, accuracies, rounded
from intra.pretraining.training import Settings, save_weights

pytest_plugins = ["pretraining_helpers"]


def test_the_rate_rises_along_a_line_and_falls_along_half_a_cosine(tmp_path, drawn_data):
    rates = []
    hook = register_optimizer_step_pre_hook(
        lambda optimizer, *_: rates.append([g["lr"] for g in optimizer.param_groups])
    )
    settings = Settings(epochs=5, batch_size=4, learning_rate=1e-3, warmup=0.25)
    training.train(TINY_VIT, settings, drawn_data, drawn_data, tmp_path / "rates.pt")
    hook.remove()
    rise = [1e-3 * step / 5 for step in range(1, 6)]
    fall = [1e-3 * math.cos(math.pi * step / 30) ** 2 for step in range(15)]  # (1 + cos 2x) / 2 = cos^2 x
    assert rates == [pytest.approx([rate, rate]) for rate in rise + fall]


def test_a_training_that_was_cut_off_ends_as_if_it_had_not_been(tmp_path, monkeypatch, drawn_data):
    settings = Settings(epochs=2, batch_size=8)
    whole, history = training.train(TINY_VIT, settings, drawn_data, drawn_data, tmp_path / "whole.pt")

    save = training.save_checkpoint

    def save_and_die(path, state):
        save(path, state)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "save_checkpoint", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        training.train(TINY_VIT, settings, drawn_data, drawn_data, tmp_path / "cut.pt")
    monkeypatch.undo()
    resumed, resumed_history = training.train(TINY_VIT, settings, drawn_data, drawn_data, tmp_path / "cut.pt")

    untrained = Learner(TINY_VIT, settings.seed).state_dict()
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
        assert not torch.equal(tensor, untrained[name]), name
    assert [entry["losses"] for entry in resumed_history] == [entry["losses"] for entry in history]


def test_a_few_drawings_can_be_learnt_by_heart(tmp_path, drawn_data):
    settings = Settings(epochs=60, batch_size=16, learning_rate=3e-3)
    learner, history = training.train(TINY_VIT, settings, drawn_data, drawn_data, tmp_path / "heart.pt")
    assert history[-1]["losses"]["contrastive"] < 0.6 * history[0]["losses"]["contrastive"]
    assert min(history[-1]["validation"].values()) > 0.35  # one answer for all gives 0.2
    assert accuracies(learner, drawn_data, batch_size=5) == history[-1]["validation"]


def test_saved_weights_load_into_the_parts_that_read_them(tmp_path):
    learner = rounded(Learner(TINY_VIT, seed=0))
    save_weights(learner.tower, tmp_path / "tower.safetensors")
    save_weights(learner.tagger, tmp_path / "tagger.safetensors")
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
    record = read_record()
    assert len(record["epochs"]) == record["settings"]["epochs"]
    assert set(record["validation"]) == set(VOCABULARIES)
