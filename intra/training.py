"""The one training loop: Adam on shuffled queries, the epoch chosen on validation."""

from collections.abc import Callable, Iterable, Iterator
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
    losses: Callable[[nn.Module, Batch], dict[str, Tensor]],
    score: Callable[[Queries, Gallery], np.ndarray],
    train: Partition,
    valid: Partition,
    config: RunConfig,
    encoder: Iterable[nn.Parameter] = (),
) -> Fit:
    """Train a model, and leave it with the weights of its best epoch on validation.

    `accelerate` decides on device and precision, and shares a batch among the processes that its launcher started.

    Args:
        model: Whose trainable parameters are learned; it is moved to the device and stays there.
        losses: Named losses of the model, as prepared for the device, on a batch {"queries": numbers (B,), "stickers":
            rising numbers (S,)}, int64, in which every query's own sticker is among the stickers; their sum is
            minimised.
        score: Scores of a partition by the model as it stands, shape (Q, G).
        train: Queries and gallery to learn from.
        valid: Queries and gallery to select on.
        config: Learning rates, batch size, other stickers in a batch, most epochs, patience and seed.
        encoder: Parameters that learn at `encoder_learning_rate`; all others at `learning_rate`.
    """
    from accelerate import Accelerator

    shuffle = torch.Generator().manual_seed(config.seed)
    accelerator = Accelerator()
    optimiser = torch.optim.Adam(_groups(model, encoder, config), fused=True)
    prepared, optimiser = accelerator.prepare(model, optimiser)
    history, best, best_state = [], 0, None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)  # for dropout
        for epoch in tqdm(range(1, config.epochs + 1), desc="epochs", delay=2, disable=None, leave=False):
            prepared.train()
            means = _epoch(accelerator, prepared, losses, optimiser, batches(train, config, shuffle))
            prepared.eval()
            history.append({"epoch": epoch, **means, "valid_mAP": partition_map(score, valid)})
            if not best or history[-1]["valid_mAP"] > history[best - 1]["valid_mAP"]:
                best, best_state = epoch, deepcopy(model.state_dict())
            if epoch - best >= config.patience:
                break
    accelerator.unwrap_model(prepared, keep_fp32_wrapper=False)  # from here on in full precision
    model.load_state_dict(best_state)
    return Fit(history, best)


def _groups(model: nn.Module, encoder: Iterable[nn.Parameter], config: RunConfig) -> list[dict]:
    """Trainable parameters with their learning rates."""
    slow = {id(parameter) for parameter in encoder}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if id(p) not in slow], "lr": config.learning_rate},
        {"params": [p for p in trained if id(p) in slow], "lr": config.encoder_learning_rate},
    ]
    return [group for group in groups if group["params"]]


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
    """One pass over the training queries in random order, each batch with its stickers and some random others.

    With negatives from the `batch` there are no others.
    """
    own = torch.from_numpy(train.queries.stickers)
    count = 0 if config.negatives == "batch" else config.other_stickers
    for rows in torch.randperm(len(own), generator=shuffle).split(config.batch_size):
        others = torch.randperm(len(train.gallery.ids), generator=shuffle)[:count]
        yield {"queries": rows, "stickers": torch.cat([own[rows], others]).unique()}


def _epoch(accelerator, model, losses, optimiser, batches: Iterator[Batch]) -> dict[str, float]:
    """One pass over the training queries; mean of each loss, weighted by batch size."""
    sums: dict[str, Tensor] = {}
    count = 0
    for batch in batches:
        rows = len(batch["queries"])
        # a batch smaller than the number of processes is filled up, so that each has something to do
        with accelerator.split_between_processes(batch["queries"], apply_padding=True) as share:
            named = losses(model, batch | {"queries": share})
        count += rows
        optimiser.zero_grad()
        accelerator.backward(sum(named.values()))
        optimiser.step()
        for name, value in named.items():
            sums[name] = sums.get(name, 0) + value.detach() * rows
    # once an epoch: reading a value waits for the device, and for every process
    return {name: float(accelerator.reduce(total, "mean")) / count for name, total in sums.items()}
