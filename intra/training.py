"""The one training loop: Adam on shuffled queries, the epoch chosen on validation."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from intra.config import RunConfig
from intra.errors import IntraError
from intra.features import Gallery, Partition, Queries
from intra.metrics import average_precision, rank_candidates

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Fit:
    """What a training left behind besides the model."""

    history: list[dict[str, float]]
    """One entry an epoch: mean losses on train, mAP (intention match) on valid."""
    best_epoch: int
    """Counted from 1; the model holds its weights."""

    @property
    def validation(self) -> float:
        """The mAP on valid at the best epoch: what the epoch was selected by."""
        return self.history[self.best_epoch - 1]["valid_mAP"]


def fit(
    model: nn.Module,
    losses: Callable[[Batch], dict[str, Tensor]],
    score: Callable[[Queries, Gallery], np.ndarray],
    train: Partition,
    valid: Partition,
    config: RunConfig,
) -> Fit:
    """Train a model, and leave it with the weights of its best epoch on validation.

    Args:
        model: Whose trainable parameters are learned.
        losses: Named losses of a batch {"queries": numbers (B,), "stickers": rising numbers (S,)}, int64, in which
            every query's own sticker is among the stickers; their sum is minimised.
        score: Scores of a partition by the model as it stands, shape (Q, G).
        train: Queries and gallery to learn from.
        valid: Queries and gallery to select on.
        config: Learning rate, batch size, other stickers in a batch, most epochs, patience and seed.
    """
    shuffle = torch.Generator().manual_seed(config.seed)
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=config.learning_rate)
    history, best, best_state = [], 0, None
    for epoch in tqdm(range(1, config.epochs + 1), desc="epochs", delay=2, disable=None, leave=False):
        model.train()
        means = _epoch(losses, optimiser, batches(train, config, shuffle))
        model.eval()
        history.append({"epoch": epoch, **means, "valid_mAP": partition_map(score, valid)})
        if not best or history[-1]["valid_mAP"] > history[best - 1]["valid_mAP"]:
            best, best_state = epoch, deepcopy(model.state_dict())
        if epoch - best >= config.patience:
            break
    model.load_state_dict(best_state)
    return Fit(history, best)


def partition_map(score: Callable[[Queries, Gallery], np.ndarray], partition: Partition) -> float:
    """Mean average precision (intention match) of a scorer on a partition.

    Raises:
        IntraError: If a score is not finite.
    """
    scores = score(partition.queries, partition.gallery)
    if not np.isfinite(scores).all():
        raise IntraError("scores are not finite: the training diverged, a smaller learning_rate may help")
    order = rank_candidates(scores, partition.gallery.ids)
    return float(average_precision(np.take_along_axis(partition.relevant, order, axis=1)).mean())


def batches(train: Partition, config: RunConfig, shuffle: torch.Generator) -> Iterator[Batch]:
    """One pass over the training queries in random order, each batch with its stickers and some random others."""
    own = torch.from_numpy(train.queries.stickers)
    for rows in torch.randperm(len(own), generator=shuffle).split(config.batch_size):
        others = torch.randperm(len(train.gallery.ids), generator=shuffle)[: config.other_stickers]
        yield {"queries": rows, "stickers": torch.cat([own[rows], others]).unique()}


def _epoch(losses, optimiser, batches: Iterator[Batch]) -> dict[str, float]:
    """One pass over the training queries; mean of each loss, weighted by batch size."""
    sums: dict[str, float] = {}
    count = 0
    for batch in batches:
        named, rows = losses(batch), len(batch["queries"])
        count += rows
        optimiser.zero_grad()
        sum(named.values()).backward()
        optimiser.step()
        for name, value in named.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach()) * rows
    return {name: total / count for name, total in sums.items()}
