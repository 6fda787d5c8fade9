"""Int-RA: predict an intention, represent each sticker, rank by cosine (paper, Section IV)."""

import numpy as np
import torch
from torch import Tensor, nn

from intra.config import RunConfig
from intra.features import Features, Gallery, Partition, Queries
from intra.losses import NEGATIVES, RETRIEVAL_LOSSES, intention_loss
from intra.models.context import ContextModel, FrozenContext, context_model
from intra.models.intention import QUERIES, IntentionPredictor
from intra.models.relation import sticker_model
from intra.models.trained import TrainedSystem, gallery_tensors, seeded
from intra.training import Batch, Fit, fit


class IntRA(nn.Module):
    r"""The paper's model in the reading that a config names.

    What Eq. 8 and 9 encode comes from `features`, H^T from a context model.

    Args:
        label_features: Encoded intention names, shape (C, e).
        region_width: w, width of the region features.
        config: Reading, common width d of Eq. 10, heads h of Eq. 11, margin of Eq. 14.
        context: Turns what its `take` gives into H^T (Eq. 3); by default that is H^T already.
    """

    def __init__(
        self, label_features: Tensor, region_width: int, config: RunConfig, context: ContextModel | None = None
    ):
        super().__init__()
        intentions, text_width = label_features.shape
        self.intention = IntentionPredictor(text_width, intentions)  # Eq. 4-5
        self.query = QUERIES[config.query](label_features, config.width)
        self.sticker = sticker_model(text_width, region_width, config)  # Eq. 10-12
        self.context = context or FrozenContext()  # Eq. 3
        self.retrieval = RETRIEVAL_LOSSES[config.retrieval_loss](config)  # Eq. 14

    def forward(
        self,
        contexts: Tensor,
        descriptions: Tensor,
        described: Tensor,
        regions: Tensor,
        intentions: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        r"""CA = \cos(H^Y, H^R) for every query and sticker (Eq. 13).

        Args:
            contexts: What the context model turns into H^T, shape (B, ...).
            descriptions: H^A, shape (S, A, e).
            described: Shape (S, A), bool.
            regions: H^I, shape (S, P, w).
            intentions: y, shape (B,), int64, for the queries that read it (`models.intention`).

        Returns:
            Cosines CA, shape (B, S), and intention logits z, shape (B, C).
        """
        return self.match(self.context(contexts), descriptions, described, regions, intentions)

    def match(
        self,
        text_features: Tensor,
        descriptions: Tensor,
        described: Tensor,
        regions: Tensor,
        intentions: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """`forward` from H^T on, shape (B, e)."""
        logits = self.intention(text_features)
        stickers = self.sticker(descriptions, described, regions)
        return self.query(text_features, logits, intentions) @ stickers.T, logits


class IntRASystem(TrainedSystem):
    """Int-RA behind the interface of every system (`models.system.Trained`)."""

    def __init__(self, config: RunConfig, features: Features):
        """Build the model with weights drawn from the config's seed."""
        region_width = features.train.gallery.region_features.shape[2]
        labels = torch.from_numpy(features.label_features)
        with seeded(config.seed):
            super().__init__(config, IntRA(labels, region_width, config, context_model(config, features)))

    def fit(self, train: Partition, valid: Partition) -> Fit:
        """Minimise lambda_1 L_ret + lambda_2 L_int (Section IV-C)."""
        intentions, positives, relevant = (
            torch.from_numpy(array) for array in (train.queries.intentions, train.queries.stickers, train.relevant)
        )
        gallery = gallery_tensors(train.gallery)
        negatives_of = NEGATIVES[self.config.negatives]

        def losses(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
            rows, columns = batch["queries"], batch["stickers"]
            contexts = self.model.context.take(train.queries, rows)
            own = torch.searchsorted(columns, positives[rows])
            negatives = negatives_of(relevant[rows].index_select(1, columns), own)
            own, negatives, labels = self.moved(own, negatives, intentions[rows])
            stickers = (part.index_select(0, columns) for part in gallery)
            similarity, logits = model(*self.moved(contexts, *stickers), labels)
            return {
                "retrieval": self.config.weight_retrieval * self.model.retrieval(similarity, own, negatives),
                "intention": self.config.weight_intention * intention_loss(logits, labels),
            }

        return fit(self.model, losses, self.score, train, valid, self.config, self.model.context.parameters())

    @torch.inference_mode()
    def score(self, queries: Queries, gallery: Gallery) -> np.ndarray:
        """CA of Eq. 13, shape (Q, G), float32. Only with the query `gold`, an upper bound, true intentions are read."""
        tensors = self.moved(*gallery_tensors(gallery), torch.from_numpy(queries.intentions))
        similarity, _ = self.model.match(self.text_features(queries), *tensors)
        return similarity.cpu().numpy()

    @torch.inference_mode()
    def details(self, queries: Queries, gallery: Gallery) -> dict[str, np.ndarray]:
        r"""Intention probabilities (Q, C), and what Eq. 11 shows.

        Where M weighs regions, that is attention M (G, A, P; 0 without description) and relation scores (G, P).
        """
        logits = self.model.intention(self.text_features(queries))
        maps = self.model.sticker.maps(*self.moved(*gallery_tensors(gallery)))
        named = {"intention_probabilities": logits.softmax(dim=1), **maps}
        return {name: tensor.cpu().numpy() for name, tensor in named.items()}
