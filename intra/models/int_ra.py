"""Int-RA: predict an intention, represent each sticker, rank by cosine (paper, Section IV)."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from intra.config import RunConfig
from intra.features import Features, Gallery, Partition, Queries
from intra.losses import hinge_retrieval_loss, intention_loss
from intra.models.context import ContextModel, FrozenContext, context_model
from intra.models.intention import IntentionPredictor, LabelQuery
from intra.models.relation import RelationAwareSticker
from intra.training import Batch, Fit, fit
from intra.weights import load_weights


class IntRA(nn.Module):
    r"""The default reading of the paper; what Eq. 8 and 9 encode comes from `features`, H^T from a context model.

    Args:
        label_features: Encoded intention names, shape (C, e).
        region_width: w, width of the region features.
        width: d, the common width of Eq. 10.
        heads: h of Eq. 11.
        context: Turns what its `take` gives into H^T (Eq. 3); by default that is H^T already.
    """

    def __init__(
        self,
        label_features: Tensor,
        region_width: int,
        width: int,
        heads: int,
        context: ContextModel | None = None,
    ):
        super().__init__()
        intentions, text_width = label_features.shape
        self.intention = IntentionPredictor(text_width, intentions)  # Eq. 4-5
        self.query = LabelQuery(label_features, width)
        self.sticker = RelationAwareSticker(text_width, region_width, width, heads)  # Eq. 10-12
        self.context = context or FrozenContext()  # Eq. 3

    def forward(
        self, contexts: Tensor, descriptions: Tensor, described: Tensor, regions: Tensor
    ) -> tuple[Tensor, Tensor]:
        r"""CA = \cos(H^Y, H^R) for every query and sticker (Eq. 13).

        Args:
            contexts: What the context model turns into H^T, shape (B, ...).
            descriptions: H^A, shape (S, A, e).
            described: Shape (S, A), bool.
            regions: H^I, shape (S, P, w).

        Returns:
            Cosines CA, shape (B, S), and intention logits z, shape (B, C).
        """
        return self.match(self.context(contexts), descriptions, described, regions)

    def match(
        self, text_features: Tensor, descriptions: Tensor, described: Tensor, regions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """`forward` from H^T on, shape (B, e)."""
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
            context = context_model(config, features)
            torch.manual_seed(config.seed)  # the other weights do not depend on the context model
            self.model = IntRA(labels, region_width, config.width, config.heads, context).eval()

    def fit(self, train: Partition, valid: Partition) -> Fit:
        """Minimise lambda_1 L_ret + lambda_2 L_int (Section IV-C)."""
        intentions, positives, negatives = (
            torch.from_numpy(array) for array in (train.queries.intentions, train.queries.stickers, ~train.relevant)
        )
        gallery = _tensors(train.gallery)

        def losses(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
            rows, columns = batch["queries"], batch["stickers"]
            contexts = self.model.context.take(train.queries, rows)
            similarity, logits = model(*self._moved(contexts, *(part[columns] for part in gallery)))
            own, negative, labels = self._moved(
                torch.searchsorted(columns, positives[rows]), negatives[rows][:, columns], intentions[rows]
            )
            retrieval = hinge_retrieval_loss(similarity, own, negative, self.config.margin)
            return {
                "retrieval": self.config.weight_retrieval * retrieval,
                "intention": self.config.weight_intention * intention_loss(logits, labels),
            }

        return fit(self.model, losses, self.score, train, valid, self.config, self.model.context.parameters())

    @torch.inference_mode()
    def score(self, queries: Queries, gallery: Gallery) -> np.ndarray:
        """CA of Eq. 13, shape (Q, G), float32."""
        similarity, _ = self.model.match(self._text_features(queries), *self._moved(*_tensors(gallery)))
        return similarity.cpu().numpy()

    @torch.inference_mode()
    def details(self, queries: Queries, gallery: Gallery) -> dict[str, np.ndarray]:
        r"""Intention probabilities (Q, C), attention M (G, A, P; 0 without description), relation scores (G, P)."""
        logits = self.model.intention(self._text_features(queries))
        descriptions, described, regions = self._moved(*_tensors(gallery))
        sticker = self.model.sticker
        attention = sticker.attention(sticker.f_des(descriptions), sticker.f_vis(regions))
        named = {
            "intention_probabilities": logits.softmax(dim=1),
            "attention": attention.masked_fill(~described[..., None], 0),
            "relation_scores": sticker.relation_scores(attention, described),
        }
        return {name: tensor.cpu().numpy() for name, tensor in named.items()}

    def _text_features(self, queries: Queries) -> Tensor:
        """H^T of all queries, shape (Q, e), made batch by batch."""
        context = self.model.context
        batches = torch.arange(len(queries.ids)).split(self.config.batch_size)
        return torch.cat([context(*self._moved(context.take(queries, rows))) for rows in batches])

    def _moved(self, *tensors: Tensor) -> list[Tensor]:
        """Tensors on the model's device."""
        device = self.model.query.label_features.device
        return [tensor.to(device) for tensor in tensors]

    def save(self, path: Path) -> None:
        """Write the weights."""
        save_file(self.model.state_dict(), path)

    def load(self, path: Path) -> None:
        """Read weights that `save` wrote.

        Raises:
            IntraError: If they do not fit the config.
        """
        load_weights(self.model, path, "this config")


def _tensors(gallery: Gallery) -> tuple[Tensor, Tensor, Tensor]:
    arrays = (gallery.description_features, gallery.described, gallery.region_features)
    return tuple(torch.from_numpy(array) for array in arrays)
