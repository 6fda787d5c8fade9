"""CLIP as a system: the contrast of a batch, a start from zero-shot, and what adapters and tuned layers learn."""

import math
from dataclasses import replace

import numpy as np
import open_clip
import pytest
import torch
from torch.nn import functional

from intra.components import Components
from intra.config import RunConfig
from intra.errors import IntraError
from intra.features import Partition, build_features
from intra.models.clip import CLIPSystem, ZeroShotCLIP, contrastive_loss, targets
from intra.planted import planted_features, planted_result
from intra.vectors import Standardiser

pytest_plugins = ["helpers"]
CONFIG = RunConfig.of_profile("smoke", system="clip", width=64)
LAYERS = [1, 2]
TUNED = {"tuned_layers": 1, "encoder_learning_rate": 1e-3}


@pytest.fixture(scope="module")
def features():
    return planted_features("sequence")


@pytest.fixture
def states(cache, tmp_path):
    """From a number of layers to the smoke profile's features, with the states that enter them."""
    return lambda layers: build_features(CONFIG.with_changes(tuned_layers=layers), tmp_path / "generated")


def cosines(texts, pictures):
    return np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in pictures] for a in texts])


def first_of(partition, count) -> Partition:
    """The first queries, and the stickers that they were answered with: these alone are right."""
    columns = np.unique(partition.queries.stickers[:count])
    own = np.searchsorted(columns, partition.queries.stickers[:count])
    queries = some_queries(partition.queries, np.arange(count))
    few = replace(queries, stickers=own)
    return Partition(few, some_stickers(partition.gallery, columns), own[:, None] == np.arange(len(columns)))


def some_queries(queries, rows):
    names = ("text_features", "intentions", "stickers", "parts")
    arrays = {name: getattr(queries, name)[rows] for name in names if getattr(queries, name) is not None}
    return replace(queries, ids=tuple(queries.ids[row] for row in rows), **arrays)


def some_stickers(gallery, columns):
    names = (
        "region_features",
        "description_features",
        "described",
        "intentions",
        "class_features",
        "joint_features",
        "states",
    )
    arrays = {name: getattr(gallery, name)[columns] for name in names if getattr(gallery, name) is not None}
    return replace(gallery, ids=tuple(gallery.ids[column] for column in columns), **arrays)


def distinct(partition):
    """With states drawn at random: to the smoke profile's random towers all pictures look alike."""
    rng = np.random.default_rng(0)
    parts = rng.normal(size=(len(partition.queries.ids), 6, 32)).astype(np.float16)
    states = rng.normal(size=(len(partition.gallery.ids), 17, 32)).astype(np.float32)
    return replace(
        partition,
        queries=replace(partition.queries, parts=parts),
        gallery=replace(partition.gallery, states=states),
    )


# The loss


def test_the_loss_without_duplicates_is_that_of_another_implementation():
    torch.manual_seed(0)
    texts, pictures = (functional.normalize(torch.randn(7, 5), dim=1) for _ in range(2))
    scale, own = torch.tensor(14.0), torch.eye(7, dtype=torch.bool)
    expected = open_clip.ClipLoss()(pictures, texts, scale)
    assert contrastive_loss(scale * texts @ pictures.T, own, ~own & own).item() == pytest.approx(
        expected.item(), abs=1e-5
    )


@pytest.mark.parametrize("size", [1, 2, 9])
def test_identical_embeddings_cost_the_log_of_the_batch(size):
    own = torch.eye(size, dtype=torch.bool)
    assert contrastive_loss(torch.full((size, size), 3.7), own, ~own & own).item() == pytest.approx(math.log(size))


def random_targets(size=8, stickers=5):
    """Logits, and the targets of both kinds, where stickers repeat and some have several intentions."""
    rng = np.random.default_rng(0)
    sent, intentions = rng.integers(stickers, size=size), rng.integers(3, size=size)
    assert len(set(sent)) < size and len(set(zip(sent, intentions, strict=True))) > len(set(sent))
    return torch.randn(size, size, generator=torch.Generator().manual_seed(1)), sent, intentions


def labelled(partition, sent, intentions):
    queries = some_queries(partition.queries, np.arange(len(sent)))
    return replace(partition, queries=replace(queries, stickers=sent, intentions=intentions))


@pytest.mark.parametrize("supervision", ["sticker", "intention"])
def test_the_loss_by_a_plain_loop(supervision, features):
    """Uniform over what matches; what shows the same sticker but does not match is left out of the denominator."""
    logits, sent, intentions = random_targets()
    size, total = len(sent), 0.0
    for z in (logits.tolist(), logits.T.tolist()):
        for i in range(size):
            right = [i] if supervision == "sticker" else [j for j in range(size) if intentions[j] == intentions[i]]
            compared = [k for k in range(size) if k in right or sent[k] != sent[i]]
            below = sum(math.exp(z[i][k]) for k in compared)
            total -= sum(math.log(math.exp(z[i][j]) / below) for j in right) / len(right)
    found = targets(labelled(features.train, sent, intentions), torch.arange(size), supervision)
    assert contrastive_loss(logits, *found).item() == pytest.approx(total / (2 * size), abs=1e-5)


@pytest.mark.parametrize("supervision", ["sticker", "intention"])
def test_the_loss_is_the_same_from_either_side_and_in_any_order(supervision, features):
    logits, sent, intentions = random_targets()
    matching, excluded = targets(labelled(features.train, sent, intentions), torch.arange(len(sent)), supervision)
    loss = contrastive_loss(logits, matching, excluded).item()
    assert contrastive_loss(logits.T, matching.T, excluded.T).item() == pytest.approx(loss, abs=1e-6)
    order = torch.randperm(len(sent), generator=torch.Generator().manual_seed(2))
    moved = (each[order][:, order] for each in (logits, matching, excluded))
    assert contrastive_loss(*moved).item() == pytest.approx(loss, abs=1e-6)


def test_what_is_left_out_has_no_gradient():
    own = torch.eye(3, dtype=torch.bool)
    excluded = torch.zeros(3, 3, dtype=torch.bool)
    excluded[0, 2] = excluded[2, 0] = True
    logits = torch.randn(3, 3, requires_grad=True)
    contrastive_loss(logits, own, excluded).backward()
    assert logits.grad.isfinite().all()
    assert torch.equal(logits.grad == 0, excluded)


# Zero-shot


def test_zero_shot_is_the_cosine_of_centred_texts_and_pictures(features):
    """Where the joint space was learned with centred texts: any scale of H^T is undone, its mean is not."""
    rng = np.random.default_rng(0)
    raw = rng.normal(2, rng.uniform(0.5, 3, 64), size=(40, 64))
    scale = Standardiser(raw)
    queries = replace(some_queries(features.test.queries, np.arange(40)), text_features=scale(raw))
    gallery = some_stickers(features.test.gallery, np.arange(6))
    made = ZeroShotCLIP(CONFIG, replace(features, context_scale=scale))
    found = made.score(queries, gallery)
    assert found.dtype == np.float32
    assert found == pytest.approx(cosines(raw - raw.mean(axis=0), gallery.joint_features), abs=1e-5)
    # the texts of published checkpoints are not centred
    published = ZeroShotCLIP(
        RunConfig.of_profile("clip", system="clip_zero_shot"), replace(features, context_scale=scale)
    )
    assert published.score(queries, gallery) == pytest.approx(cosines(raw, gallery.joint_features), abs=1e-5)


def test_zero_shot_learns_nothing(features):
    made = ZeroShotCLIP(CONFIG, features)
    before = made.score(features.test.queries, features.test.gallery)
    assert made.fit(features.train, features.valid) is None
    assert np.array_equal(made.score(features.test.queries, features.test.gallery), before)


def test_adapters_start_from_zero_shot(features):
    test = features.test
    expected = ZeroShotCLIP(CONFIG, features).score(test.queries, test.gallery)
    assert CLIPSystem(CONFIG, features).score(test.queries, test.gallery) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("layers", LAYERS)
def test_tuned_layers_start_from_zero_shot(layers, states):
    made, config = states(layers), CONFIG.with_changes(tuned_layers=layers)
    test = made.test
    expected = ZeroShotCLIP(config, made).score(test.queries, test.gallery)
    system = CLIPSystem(config, made)
    assert system.score(test.queries, test.gallery) == pytest.approx(expected, abs=2e-3)  # states of texts are float16
    with torch.inference_mode():
        pictures = system.model.pictures(torch.from_numpy(test.gallery.states)).numpy()
    assert pictures == pytest.approx(test.gallery.joint_features, abs=1e-5)
    assert test.gallery.joint_features.std(axis=0).max() > 1e-3


# What learns


def test_the_scale_never_exceeds_100(features):
    model = CLIPSystem(CONFIG, features).model
    texts, pictures = torch.randn(3, 64), torch.randn(4, 64)
    for logarithm, expected in ((math.log(1 / 0.07), 1 / 0.07), (9.0, 100.0), (-1.0, 1.0)):
        with torch.no_grad():
            model.logit_scale.fill_(logarithm)
        logits = model(texts, pictures)
        ratio = (logits / model.match(texts, model.pictures(pictures))).detach()
        assert ratio.numpy() == pytest.approx(np.full((3, 4), expected), rel=1e-4)
        model.zero_grad()
        logits.sum().backward()
        assert model.logit_scale.grad.abs() > 0, "it can come back from its bound"


def test_the_scale_starts_where_pretraining_does(features):
    assert CLIPSystem(CONFIG, features).model.scale().item() == pytest.approx(1 / 0.07, rel=1e-6)


@pytest.mark.parametrize("supervision", ["sticker", "intention"])
def test_adapters_learn_all_their_weights_and_nothing_else(supervision, features):
    made = CLIPSystem(CONFIG.with_changes(supervision=supervision, epochs=2), features)
    before = {name: tensor.clone() for name, tensor in made.model.state_dict().items()}
    made.fit(first_of(features.train, 96), first_of(features.valid, 16))
    after = made.model.state_dict()
    learned = {name for name, _ in made.model.named_parameters()}
    assert {name for name in before if not torch.equal(before[name], after[name])} == learned
    assert learned == {"logit_scale"} | {
        f"{side}.layers.{layer}.{kind}"
        for side in ("texts", "pictures")
        for layer in (0, 2)
        for kind in ("weight", "bias")
    }


def test_tuned_layers_learn_at_their_own_rate_and_leave_the_encoders_alone(states):
    made, config = states(1), CONFIG.with_changes(**TUNED, epochs=1, patience=1)
    still = CLIPSystem(config.with_changes(encoder_learning_rate=0.0), made)
    system = CLIPSystem(config, made)
    before = {name: tensor.clone() for name, tensor in still.model.state_dict().items()}
    for each in (still, system):
        each.fit(made.train, made.valid)
    assert {n for n, t in still.model.state_dict().items() if not torch.equal(t, before[n])} == {"logit_scale"}
    changed = {n for n, t in system.model.state_dict().items() if not torch.equal(t, before[n])}
    # a key's bias moves all attention logits of a token alike
    wanted = {name for name, _ in system.model.named_parameters() if "key.bias" not in name}
    assert wanted <= changed | {"logit_scale"}
    fresh = Components("smoke").vision.last_layers(1).state_dict()
    assert all(torch.equal(tensor, before[f"pictures.{name}"]) for name, tensor in fresh.items())


def test_it_learns_32_conversations_by_heart(features):
    few = first_of(features.train, 32)
    made = CLIPSystem(CONFIG.with_changes(batch_size=32, epochs=120, patience=120), features)
    made.fit(few, few)
    best = made.score(few.queries, few.gallery).argmax(axis=1)
    assert (best == few.queries.stickers).mean() >= 0.95


def test_tuned_layers_learn_24_conversations_by_heart(states):
    made, config = states(1), CONFIG.with_changes(**TUNED, epochs=80, patience=80)
    few = distinct(first_of(made.train, 24))
    system = CLIPSystem(config, made)
    found = []
    for fitted in (False, True):
        if fitted:
            system.fit(few, few)
        found.append((system.score(few.queries, few.gallery).argmax(axis=1) == few.queries.stickers).mean())
    assert found[0] < 0.4 and found[1] >= 0.95


@pytest.mark.parametrize(("supervision", "precision"), [("sticker", 95), ("intention", 96)])
def test_it_learns_the_planted_rule(supervision, precision, features):
    result = planted_result(CLIPSystem, CONFIG.with_changes(supervision=supervision, epochs=20), features)
    assert result["hit1"] >= 99 and result["mAP"] >= precision


# What scores do not depend on


def test_no_score_depends_on_order_or_batches(features):
    queries, gallery = features.test.queries, features.test.gallery
    system = CLIPSystem(CONFIG.with_changes(epochs=1), features)
    system.fit(features.train, first_of(features.valid, 16))
    scores = system.score(queries, gallery)
    assert scores.shape == (150, 400) and scores.dtype == np.float32
    order = np.random.default_rng(0).permutation(400)
    for columns in (order, order[:3]):
        assert system.score(queries, some_stickers(gallery, columns)) == pytest.approx(scores[:, columns], abs=1e-5)
    some = some_queries(queries, np.array([7, 3]))
    assert system.score(some, gallery) == pytest.approx(scores[[7, 3]], abs=1e-5)


def test_no_score_of_tuned_layers_depends_on_order_batches_or_padding(states):
    made, config = states(1), CONFIG.with_changes(**TUNED)
    test = distinct(made.test)
    queries, gallery = test.queries, test.gallery
    system = CLIPSystem(config, made)
    scores = system.score(queries, gallery)
    one_by_one = CLIPSystem(config.with_changes(batch_size=1), made)
    assert one_by_one.score(queries, gallery) == pytest.approx(scores, abs=1e-5)
    padded = replace(queries, parts=np.pad(queries.parts, ((0, 0), (0, 9), (0, 0))))
    assert system.score(padded, gallery) == pytest.approx(scores, abs=1e-5)
    back = np.arange(len(gallery.ids))[::-1]
    assert system.score(queries, some_stickers(gallery, back)) == pytest.approx(scores[:, ::-1], abs=1e-5)
    assert scores.std(axis=1).min() > 0.05, "pictures do count"


def test_the_same_seed_gives_the_same_scores(features):
    few, valid = first_of(features.train, 64), first_of(features.valid, 32)
    scores = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(scores))  # the state outside does not matter
        system = CLIPSystem(CONFIG.with_changes(seed=seed, epochs=2), features)
        system.fit(few, valid)
        scores.append(system.score(valid.queries, valid.gallery))
    assert np.array_equal(scores[0], scores[1])
    assert not np.allclose(scores[0], scores[2], atol=1e-3)


@pytest.mark.parametrize("layers", [0, 1])
def test_weights_are_kept(layers, states, tmp_path):
    made, config = states(1), CONFIG.with_changes(tuned_layers=layers, encoder_learning_rate=1e-2, epochs=1)
    fitted, loaded = CLIPSystem(config, made), CLIPSystem(config.with_changes(seed=1), made)
    fitted.fit(made.train, made.valid)
    scores = fitted.score(made.test.queries, made.test.gallery)
    assert not np.allclose(loaded.score(made.test.queries, made.test.gallery), scores, atol=1e-4)
    fitted.save(tmp_path / "weights.safetensors")
    loaded.load(tmp_path / "weights.safetensors")
    assert np.array_equal(loaded.score(made.test.queries, made.test.gallery), scores)


# What it cannot do


@pytest.mark.parametrize("system", [CLIPSystem, ZeroShotCLIP])
def test_contexts_that_are_no_sequence_are_refused(system):
    config = CONFIG.with_changes(context_encoding="words")
    with pytest.raises(IntraError, match="context_encoding is 'words', expected 'sequence' with CLIP") as caught:
        system(config, planted_features("words"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("system", [CLIPSystem, ZeroShotCLIP])
def test_towers_without_a_common_space_are_refused(system, features):
    other = replace(features, label_features=features.label_features[:, :48])
    with pytest.raises(IntraError, match="profile 'smoke': text vectors have width 48, its joint space of pictures 64"):
        system(CONFIG, other)


def test_layers_that_are_not_there_are_one_line(features):
    with pytest.raises(IntraError, match=r"tuned_layers is 3, but tiny-vit@.* has 2 layers") as caught:
        CLIPSystem(CONFIG.with_changes(tuned_layers=3), features)
    assert "\n" not in str(caught.value)
