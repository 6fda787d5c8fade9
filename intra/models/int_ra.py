"""Int-RA: predict an intention, represent each sticker, rank by cosine (paper, Section IV)."""

from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from intra.config import RunConfig
from intra.errors import IntraError
from intra.features import Features, Gallery, Partition, Queries
from intra.losses import hinge_retrieval_loss, intention_loss
from intra.models.intention import IntentionPredictor, LabelQuery
from intra.models.relation import RelationAwareSticker
from intra.training import Batch, Fit, fit


class IntRA(nn.Module):
    r"""The default reading of the paper on frozen features; what Eq. 3, 8 and 9 encode comes from `features`.

    Args:
        label_features: Encoded intention names, shape (C, e).
        region_width: w, width of the region features.
        width: d, the common width of Eq. 10.
        heads: h of Eq. 11.
    """

    def __init__(self, label_features: Tensor, region_width: int, width: int, heads: int):
        super().__init__()
        intentions, text_width = label_features.shape
        self.intention = IntentionPredictor(text_width, intentions)  # Eq. 4-5
        self.query = LabelQuery(label_features, width)
        self.sticker = RelationAwareSticker(text_width, region_width, width, heads)  # Eq. 10-12

    def forward(
        self, text_features: Tensor, descriptions: Tensor, described: Tensor, regions: Tensor
    ) -> tuple[Tensor, Tensor]:
        r"""CA = \cos(H^Y, H^R) for every query and sticker (Eq. 13).

        Args:
            text_features: H^T, shape (B, e).
            descriptions: H^A, shape (S, A, e).
            described: Shape (S, A), bool.
            regions: H^I, shape (S, P, w).

        Returns:
            Cosines CA, shape (B, S), and intention logits z, shape (B, C).
        """
        logits = self.intention(text_features)
        stickers, _ = self.sticker(descriptions, described, regions)
        return self.query(logits) @ stickers.T, logits


class IntRASystem:
    """Int-RA behind the interface of every system (`models.system.Trained`)."""

    def __init__(self, config: RunConfig, features: Features):
        """Build the model with weights drawn from the config's seed."""
        self.config = config
        region_width = features.train.gallery.region_features.shape[2]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            labels = torch.from_numpy(features.label_features)
            self.model = IntRA(labels, region_width, config.width, config.heads)

    def fit(self, train: Partition, valid: Partition) -> Fit:
        """Minimise lambda_1 L_ret + lambda_2 L_int (Section IV-C)."""
        text_features, intentions, positives, negatives = (
            torch.from_numpy(array)
            for array in (
                train.queries.text_features,
                train.queries.intentions,
                train.queries.stickers,
                ~train.relevant,
            )
        )
        gallery = _tensors(train.gallery)

        def losses(batch: Batch) -> dict[str, Tensor]:
            rows, columns = batch["queries"], batch["stickers"]
            similarity, logits = self.model(text_features[rows], *(part[columns] for part in gallery))
            own = torch.searchsorted(columns, positives[rows])
            retrieval = hinge_retrieval_loss(similarity, own, negatives[rows][:, columns], self.config.margin)
            return {
                "retrieval": self.config.weight_retrieval * retrieval,
                "intention": self.config.weight_intention * intention_loss(logits, intentions[rows]),
            }

        return fit(self.model, losses, self.score, train, valid, self.config)

    @torch.inference_mode()
    def score(self, queries: Queries, gallery: Gallery) -> np.ndarray:
        """CA of Eq. 13, shape (Q, G), float32."""
        similarity, _ = self.model(torch.from_numpy(queries.text_features), *_tensors(gallery))
        return similarity.numpy()

    @torch.inference_mode()
    def details(self, queries: Queries, gallery: Gallery) -> dict[str, np.ndarray]:
        r"""Intention probabilities (Q, C), attention M (G, A, P; 0 without description), relation scores (G, P)."""
        logits = self.model.intention(torch.from_numpy(queries.text_features))
        descriptions, described, regions = _tensors(gallery)
        sticker = self.model.sticker
        attention = sticker.attention(sticker.f_des(descriptions), sticker.f_vis(regions))
        return {
            "intention_probabilities": logits.softmax(dim=1).numpy(),
            "attention": attention.masked_fill(~described[..., None], 0).numpy(),
            "relation_scores": sticker.relation_scores(attention, described).numpy(),
        }

    def save(self, path: Path) -> None:
        """Write the weights."""
        save_file(self.model.state_dict(), path)

    def load(self, path: Path) -> None:
        """Read weights that `save` wrote.

        Raises:
            IntraError: If they do not fit the config.
        """
        try:
            self.model.load_state_dict(load_file(path))
        except (RuntimeError, SafetensorError, OSError) as error:
            why = str(error).splitlines()[-1].strip()  # torch names the tensor in the last line
            raise IntraError(f"{path}: is not the weights of this config: {why}") from None


def _tensors(gallery: Gallery) -> tuple[Tensor, Tensor, Tensor]:
    arrays = (gallery.description_features, gallery.described, gallery.region_features)
    return tuple(torch.from_numpy(array) for array in arrays)
