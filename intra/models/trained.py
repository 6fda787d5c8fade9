"""What the systems with weights share: a model on its device, its inputs as tensors, saved weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from intra.config import RunConfig
from intra.features import Gallery, Partition, Queries
from intra.weights import load_weights


class TrainedSystem:
    """Holds a model.

    Args:
        config: Of the run.
        model: As drawn from the config's seed.
    """

    def __init__(self, config: RunConfig, model: nn.Module):
        self.config = config
        self.model = model.cpu().eval()  # parts of encoders may lie elsewhere; training moves it

    def text_features(self, queries: Queries) -> Tensor:
        """H^T of all queries, shape (Q, e), made batch by batch by the model's `context`."""
        context = self.model.context
        batches = torch.arange(len(queries.ids)).split(self.config.batch_size)
        return torch.cat([context(*self.moved(context.take(queries, rows))) for rows in batches])

    def moved(self, *tensors: Tensor) -> list[Tensor]:
        """Tensors on the model's device."""
        device = next(self.model.parameters()).device
        return [tensor.to(device) for tensor in tensors]

    def details(self, queries: Queries, gallery: Gallery) -> dict[str, np.ndarray]:
        """Nothing but scores."""
        return {}

    def save(self, path: Path) -> None:
        """Write the weights (safetensors)."""
        save_file(self.model.state_dict(), path)

    def load(self, path: Path) -> None:
        """Read weights that `save` wrote.

        Raises:
            IntraError: If they do not fit the config.
        """
        load_weights(self.model, path, "this config")


def gallery_tensors(gallery: Gallery) -> tuple[Tensor, Tensor, Tensor]:
    """Descriptions H^A, what is described, and regions H^I of a gallery."""
    arrays = (gallery.description_features, gallery.described, gallery.region_features)
    return tuple(torch.from_numpy(array) for array in arrays)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw weights from a seed, and leave torch's random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def word_vectors(queries: Queries, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Word vectors of some queries, of all by default, without padding that is common to them.

    Returns:
        Shape (B, U, W, e), float32, and where there is a word, shape (B, U, W), bool.
    """
    words = torch.from_numpy(queries.words)
    present = (words if rows is None else words[rows]) > 0
    turns, places = (int(present.any(dim=0).any(dim=axis).sum()) for axis in (1, 0))
    parts = torch.from_numpy(queries.parts)[:, :turns, :places]
    return (parts if rows is None else parts[rows]).float(), present[:, :turns, :places]


def classes(train: Partition, supervision: str) -> tuple[Tensor, int]:
    """What a training query is to be told from: the number of its sticker or of its intention, and how many there are.

    Returns:
        Shape (Q,), int64, and a count.
    """
    if supervision == "intention":
        return torch.from_numpy(train.queries.intentions), train.gallery.intentions.shape[1]
    return torch.from_numpy(train.queries.stickers), len(train.gallery.ids)


def positives(train: Partition, rows: Tensor, supervision: str) -> Tensor:
    """Which conversations of a batch match whose stickers, shape (B, B), bool; the diagonal does."""
    labels, _ = classes(train, supervision)
    return labels[rows][:, None] == labels[rows][None]
