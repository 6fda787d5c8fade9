"""What the systems with weights share: a model on its device, H^T of queries, saved weights."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from intra.config import RunConfig
from intra.features import Gallery, Queries
from intra.weights import load_weights


class TrainedSystem:
    """Holds a model that has a context model `context`.

    Args:
        config: Of the run.
        model: As drawn from the config's seed.
    """

    def __init__(self, config: RunConfig, model: nn.Module):
        self.config = config
        self.model = model.eval()

    def text_features(self, queries: Queries) -> Tensor:
        """H^T of all queries, shape (Q, e), made batch by batch."""
        context = self.model.context
        batches = torch.arange(len(queries.ids)).split(self.config.batch_size)
        return torch.cat([context(*self.moved(context.take(queries, rows))) for rows in batches])

    def moved(self, *tensors: Tensor) -> list[Tensor]:
        """Tensors on the model's device."""
        device = next(self.model.parameters()).device
        return [tensor.to(device) for tensor in tensors]

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
