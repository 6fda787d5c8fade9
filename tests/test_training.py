"""The training loop: what it reaches, what it keeps, when it stops, and that it can be repeated."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from intra.config import RunConfig
from intra.errors import IntraError
from intra.features import Gallery, Partition, Queries
from intra.models.int_ra import IntRASystem
from intra.training import batches, fit, partition_map

pytest_plugins = ["helpers"]


def mean_average_precision(scores, relevant, ids):
    """By loops: higher scores first, equal scores by id."""
    values = []
    for row, right in zip(scores.tolist(), relevant.tolist(), strict=True):
        order = sorted(range(len(ids)), key=lambda column: (-row[column], ids[column]))
        found, precisions = 0, []
        for rank, column in enumerate(order, 1):
            if right[column]:
                found += 1
                precisions.append(found / rank)
        values.append(sum(precisions) / found)
    return sum(values) / len(values)


# Scripted trainings: one query, four stickers of which the first is right


def partition(queries=1):
    """`queries` queries, four stickers; only features that the scripts below never read are missing."""
    numbers = np.zeros(queries, int)
    relevant = np.tile([True, False, False, False], (queries, 1))
    ids = tuple(f"q{n}" for n in range(queries))
    nothing = np.zeros((4, 1))
    return Partition(
        Queries(ids, np.zeros((queries, 1)), numbers, numbers),
        Gallery(tuple("abcd"), nothing, nothing, nothing, np.zeros(4, int), nothing, nothing),
        relevant,
    )


class Script:
    """A model of one number whose validation rank is scripted, epoch by epoch."""

    def __init__(self, ranks):
        self.ranks = iter(ranks)
        self.model = nn.Linear(1, 1, bias=False)
        self.weights = []
        self.batches = []

    def losses(self, model, batch):
        assert model is self.model
        self.batches.append(batch["queries"].tolist())
        rows = batch["queries"].float().mean()
        return {"weight": self.model.weight.sum() * 0.5, "rows": rows + 0 * self.model.weight.sum()}

    def score(self, queries, gallery):
        """The right sticker gets the scripted rank, hence an average precision of 1 / rank."""
        self.weights.append(self.model.weight.item())
        rank = next(self.ranks)
        return np.array([[-rank + 0.5, -1, -2, -3]])

    def run(self, queries=5, **changes):
        config = RunConfig(batch_size=2).with_changes(**changes)
        return fit(self.model, self.losses, self.score, partition(queries), partition(), config)


@pytest.mark.parametrize(
    ("ranks", "patience", "epochs", "best"),
    [
        ([3, 2, 2, 4], 2, 60, 2),  # as good as before is not better: two epochs without progress
        ([3, 2, 1, 1, 1], 2, 60, 3),
        ([1, 2], 1, 60, 1),
        ([4, 3, 2, 1], 1, 4, 4),  # the last epoch may be the best
        ([2, 3, 1, 4, 4, 4], 3, 60, 3),
        ([4], 5, 1, 1),
    ],
)
def test_stops_by_patience_with_the_weights_of_the_best_epoch(ranks, patience, epochs, best):
    script = Script([*ranks, 1])  # one more, which nobody asks for
    done = script.run(patience=patience, epochs=epochs)
    assert [entry["epoch"] for entry in done.history] == list(range(1, len(ranks) + 1))
    assert [entry["valid_mAP"] for entry in done.history] == pytest.approx([1 / rank for rank in ranks])
    assert done.best_epoch == best
    assert done.validation == pytest.approx(1 / ranks[best - 1])
    assert len(set(script.weights)) == len(ranks)
    assert script.model.weight.item() == script.weights[best - 1]
    assert not script.model.training


def test_an_epoch_sees_every_query_once_in_a_new_order():
    script = Script([1] * 3)
    done = script.run(queries=7, epochs=3, patience=9)
    assert [len(batch) for batch in script.batches] == [2, 2, 2, 1] * 3
    epochs = [[row for batch in script.batches[4 * n : 4 * n + 4] for row in batch] for n in range(3)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(7))] * 3
    assert epochs[0] != epochs[1] != epochs[2]
    # A loss that is the mean row number of its batch has the mean (0 + ... + 6) / 7 = 3, the short batch included.
    assert [entry["rows"] for entry in done.history] == pytest.approx([3] * 3)


def test_the_order_is_decided_by_the_seed():
    orders = []
    for seed in (0, 0, 1):
        torch.manual_seed(99 * len(orders))
        script = Script([1])
        script.run(queries=40, epochs=1, seed=seed)
        orders.append(script.batches)
    assert orders[0] == orders[1] != orders[2]


def test_a_batch_has_its_own_stickers_and_some_others(toy, toy_config):
    own = toy.train.queries.stickers
    sizes = {}
    for kind in ("other", "batch", "all"):
        config = toy_config.with_changes(negatives=kind, other_stickers=5, batch_size=6)
        made = list(batches(toy.train, config, torch.Generator().manual_seed(0)))
        assert sorted(torch.cat([batch["queries"] for batch in made]).tolist()) == list(range(24))
        for batch in made:
            stickers = batch["stickers"].tolist()
            sent = set(own[batch["queries"]].tolist())
            assert stickers == sorted(set(stickers)) and sent <= set(stickers)
            assert stickers == sorted(sent) if kind == "batch" else len(stickers) <= len(sent) + 5
        sizes[kind] = [len(batch["stickers"]) for batch in made]
    assert sizes["other"] == sizes["all"] and sum(sizes["other"]) > sum(sizes["batch"])


def test_frozen_parameters_stay():
    script = Script([1, 1])
    frozen = nn.Linear(1, 1, bias=False).requires_grad_(False)
    script.model.add_module("frozen", frozen)
    before = frozen.weight.item()
    script.run(epochs=2)
    assert frozen.weight.item() == before
    assert len(set(script.weights)) == 2


def test_partition_map_against_a_loop_with_ties(toy):
    scores = np.random.default_rng(0).integers(3, size=(24, 12)) / 2
    expected = mean_average_precision(scores, toy.test.relevant, toy.test.gallery.ids)
    assert partition_map(lambda queries, gallery: scores, toy.test) == pytest.approx(expected)


# Int-RA on toy features


def trained(toy, config):
    system = IntRASystem(config, toy)
    return system, system.fit(toy.train, toy.valid)


def test_fits_a_planted_rule(toy_features, toy_config):
    toy = toy_features(queries=48, noise=0.2)
    untrained = partition_map(IntRASystem(toy_config, toy).score, toy.valid)
    system, done = trained(toy, toy_config)
    assert untrained < 0.6
    assert done.validation > 0.95
    # selected on valid, and as good on stickers and conversations that nobody has seen
    assert partition_map(system.score, toy.test) > 0.9
    assert done.history[-1]["retrieval"] < done.history[0]["retrieval"]
    assert done.history[-1]["intention"] < done.history[0]["intention"]


def test_keeps_the_best_epoch(toy_features, toy_config):
    toy = toy_features(noise=1.5)  # hard: validation goes up and down
    system, done = trained(toy, toy_config.with_changes(epochs=15))
    values = [entry["valid_mAP"] for entry in done.history]
    assert done.best_epoch == 1 + values.index(max(values)) < len(values)
    scores = system.score(toy.valid.queries, toy.valid.gallery)
    assert done.validation == max(values)
    assert done.validation == pytest.approx(
        mean_average_precision(scores, toy.valid.relevant, toy.valid.gallery.ids), abs=1e-9
    )


def test_weights_of_the_losses_scale_the_losses(toy, toy_config):
    _, plain = trained(toy, toy_config.with_changes(epochs=1, batch_size=64))
    _, scaled = trained(toy, toy_config.with_changes(epochs=1, batch_size=64, weight_retrieval=0.5, weight_intention=3))
    assert scaled.history[0]["retrieval"] == pytest.approx(plain.history[0]["retrieval"] / 2)
    assert scaled.history[0]["intention"] == pytest.approx(plain.history[0]["intention"] * 3)


def test_same_config_same_bits_and_another_seed_others(toy, toy_config):
    runs = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(runs))  # the state of the global generator must not matter
        system, done = trained(toy, toy_config.with_changes(epochs=4, seed=seed))
        runs.append((system.model.state_dict(), system.score(toy.test.queries, toy.test.gallery), done.history))
    (weights, scores, history), (same_weights, same_scores, same_history), (_, other_scores, other_history) = runs
    assert all(torch.equal(weights[name], same_weights[name]) for name in weights)
    assert np.array_equal(scores, same_scores)
    assert history == same_history
    assert not np.array_equal(scores, other_scores)
    assert history != other_history


def test_training_uses_up_nobody_elses_random_numbers(toy, toy_config):
    before = torch.get_rng_state()
    trained(toy, toy_config.with_changes(epochs=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_test_split_is_not_looked_at(toy, toy_config):
    """With nothing but NaN in the test split, training ends with the very same weights."""
    config = toy_config.with_changes(epochs=3)
    system, done = trained(toy, config)

    def poisoned(part):
        spoilt = {
            name: np.full_like(value, np.nan if value.dtype == np.float32 else -1)
            for name, value in vars(part).items()
            if isinstance(value, np.ndarray) and value.dtype != bool
        }
        return replace(part, **spoilt)

    test = replace(toy.test, queries=poisoned(toy.test.queries), gallery=poisoned(toy.test.gallery))
    other, other_done = trained(replace(toy, test=test), config)
    assert other_done == done
    weights = system.model.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in other.model.state_dict().items())


def test_label_features_are_not_trained(toy, toy_config):
    system, _ = trained(toy, toy_config.with_changes(epochs=2))
    assert np.array_equal(system.model.query.label_features.numpy(), toy.label_features)


def test_a_training_that_diverges_is_one_line(toy, toy_config):
    with pytest.raises(IntraError, match=r"not finite.*learning_rate") as caught:
        trained(toy, toy_config.with_changes(learning_rate=1e30))
    assert "\n" not in str(caught.value)


# Learning rates and processes


def test_two_groups_of_parameters_with_their_rates():
    """Adam's first step has the length of its learning rate, whatever the gradient."""
    script = Script([1])
    script.model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    before = [parameter.item() for parameter in script.model.parameters()]

    def losses(model, batch):
        return {"weights": sum(parameter.sum() for parameter in model.parameters())}

    def score(queries, gallery):
        return np.array([[3.0, 2, 1, 0]])

    config = RunConfig(batch_size=8, epochs=1, learning_rate=0.5, encoder_learning_rate=0.25)
    fit(script.model, losses, score, partition(), partition(), config, script.model[1].parameters())
    moved = [old - new.item() for old, new in zip(before, script.model.parameters(), strict=True)]
    assert moved == pytest.approx([0.5, 0.25], abs=1e-6)


def share_of_a_training(toy, config, folder, precision="no"):
    """What one of several processes does."""
    from accelerate.state import AcceleratorState, PartialState

    AcceleratorState._reset_state(reset_partial_state=True)  # of the process that this one was forked from
    os.environ["ACCELERATE_MIXED_PRECISION"] = precision
    system, done = trained(toy, config)
    state = PartialState()
    scores = system.score(toy.test.queries, toy.test.gallery)
    left = {"processes": state.num_processes, "history": done.history, "scores": scores, "model": system.model}
    torch.save(left, folder / f"{state.process_index}.pt")
    if state.use_distributed:
        state.destroy_process_group()


def shares(folder):
    return [torch.load(path, weights_only=False) for path in sorted(folder.glob("*.pt"))]


@pytest.mark.parametrize("reading", [{}, {"retrieval_loss": "infonce", "relation": "value", "query": "teacher"}])
def test_two_processes_share_the_batches(reading, toy, toy_config, tmp_path):
    """A process sees half of each batch, and all end with the weights that one alone would have learnt."""
    from accelerate import debug_launcher

    config = toy_config.with_changes(epochs=2, **reading)
    debug_launcher(share_of_a_training, (toy, config, tmp_path), num_processes=2)
    system, done = trained(toy, config)
    assert [share["processes"] for share in shares(tmp_path)] == [2, 2]
    for share in shares(tmp_path):
        weights = share["model"].state_dict()
        for name, value in system.model.state_dict().items():
            assert weights[name].numpy() == pytest.approx(value.numpy(), abs=1e-4), name
        for entry, expected in zip(share["history"], done.history, strict=True):
            assert entry == pytest.approx(expected, abs=1e-4)


def test_mixed_precision_ends_with_the_training(toy, toy_config, tmp_path):
    """Half precision changes what is learnt a little; the model that it leaves ranks in full precision."""
    from accelerate import debug_launcher

    config = toy_config.with_changes(epochs=2)
    debug_launcher(share_of_a_training, (toy, config, tmp_path, "bf16"), num_processes=1)
    (share,) = shares(tmp_path)
    system, done = trained(toy, config)
    losses, expected = share["history"][-1]["retrieval"], done.history[-1]["retrieval"]
    assert losses != expected and losses == pytest.approx(expected, rel=0.05)
    assert all(parameter.dtype == torch.float32 for parameter in share["model"].parameters())
    system.model.load_state_dict(share["model"].state_dict())
    assert np.array_equal(system.score(toy.test.queries, toy.test.gallery), share["scores"])
