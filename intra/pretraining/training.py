"""The training loop: it goes on where it was cut off, and ends in weights that are written whole."""

import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from open_clip_train.scheduler import cosine_lr
from safetensors.torch import save
from torch import nn
from tqdm import tqdm

from intra.pretraining.augmentation import take
from intra.pretraining.cache import write_whole
from intra.pretraining.data import Data
from intra.pretraining.learner import Learner, accuracies

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What decides the weights, beside the data."""

    epochs: int = 11
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    """Share of all steps in which the learning rate rises, before it falls along half a cosine."""
    seed: int = 0
    bfloat16: bool = False


def train(
    configuration: Path, settings: Settings, data: Data, validation: Data, checkpoint: Path
) -> tuple[Learner, list[dict]]:
    """Train, going on after the last whole epoch if a training of these settings was cut off.

    Args:
        configuration: open_clip model configuration of the tower.
        settings: What decides the weights.
        data: To learn from.
        validation: Scored after every epoch; nothing is chosen by it.
        checkpoint: File that is written after every epoch.

    Returns:
        The trained model, and for each epoch its number, mean losses, validation accuracies and seconds.
    """
    learner = Learner(configuration, settings.seed, settings.bfloat16)
    optimizer = _optimizer(learner, settings)
    history = []
    if checkpoint.exists():
        state = torch.load(checkpoint)
        learner.load_state_dict(state["learner"])
        optimizer.load_state_dict(state["optimizer"])
        history = state["history"]
    for epoch in range(len(history), settings.epochs):
        start = time.perf_counter()
        losses = _epoch(learner, optimizer, data, epoch, settings)
        entry = {"epoch": epoch + 1, "losses": losses, "validation": accuracies(learner, validation)}
        history.append(entry | {"seconds": round(time.perf_counter() - start, 1)})
        logger.info(json.dumps(history[-1]))
        state = {"learner": learner.state_dict(), "optimizer": optimizer.state_dict(), "history": history}
        save_checkpoint(checkpoint, state)
    return learner, history


def _optimizer(learner: Learner, settings: Settings) -> torch.optim.Optimizer:
    decayed = [p for p in learner.parameters() if p.ndim >= 2]
    others = [p for p in learner.parameters() if p.ndim < 2]
    return torch.optim.AdamW(
        [{"params": decayed}, {"params": others, "weight_decay": 0.0}],
        weight_decay=settings.weight_decay,
        betas=(0.9, 0.98),
        fused=True,
    )


def _epoch(
    learner: Learner, optimizer: torch.optim.Optimizer, data: Data, epoch: int, settings: Settings
) -> dict[str, float]:
    """One pass over the data: the mean of each term of the loss."""
    learner.train()
    # a generator for each epoch: one that is repeated after a crash sees the same pictures
    generator = torch.Generator().manual_seed(1000 * settings.seed + epoch)
    batches = torch.randperm(len(data.pixels), generator=generator).split(settings.batch_size)
    steps = settings.epochs * len(batches)
    set_rate = cosine_lr(optimizer, settings.learning_rate, max(1, round(settings.warmup * steps)), steps)
    sums: dict[str, float] = {}
    for number, rows in enumerate(tqdm(batches, desc=f"epoch {epoch + 1}", delay=2, disable=None)):
        set_rate(epoch * len(batches) + number)
        terms = learner.losses(take(data, rows, generator))
        optimizer.zero_grad()
        sum(terms.values()).backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()
        for name, term in terms.items():
            sums[name] = sums.get(name, 0.0) + term.item() * len(rows) / len(data.pixels)
    return {name: round(value, 4) for name, value in sums.items()}


def save_checkpoint(path: Path, state: dict) -> None:
    """Write a checkpoint whole or not at all."""
    write_whole(path, lambda file: torch.save(state, file))


def save_weights(module: nn.Module, path: Path) -> None:
    """Write a module's weights as safetensors in half precision, whole or not at all."""
    state = {name: tensor.detach().contiguous() for name, tensor in module.state_dict().items()}
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    write_whole(path, lambda file: file.write(save(half)))
