r"""Int-RA+: rank stickers by the probability that they mean what the reply would mean. Not in the paper.

Int-RA keeps one intention a conversation, so that conversations with one predicted intention get one ranking, and it
learns with a margin between cosines. Here a conversation has the probabilities \rho of all intentions (Eq. 4), a
sticker has such probabilities \sigma too, and if neither tells more than that of the other, the chance that they agree
is \sum_c \rho_{bc} \sigma_{sc}. Both are learned by cross-entropy; the score has no weight of its own.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from intra.config import RunConfig, unknown
from intra.errors import IntraError
from intra.features import Features, Gallery, Partition, Queries
from intra.losses import intention_loss
from intra.models.context import ContextModel, FrozenContext, context_model
from intra.models.intention import IntentionPredictor
from intra.models.relation import sticker_model
from intra.models.trained import TrainedSystem, gallery_tensors, seeded
from intra.training import Batch, Fit, fit

SHARES = {
    "mixture": lambda logits: logits.softmax(dim=1),
    "label": lambda logits: functional.one_hot(logits.argmax(dim=1), logits.shape[1]).to(logits.dtype),
}
"""Setting `query` to \rho, shape (B, C), of intention logits z."""


class IntRAPlus(nn.Module):
    """Intention probabilities of conversations and of stickers.

    Args:
        text_width: e, width of H^T and H^A.
        region_width: w, width of the region features.
        intentions: C, how many intentions there are.
        config: Width and heads, the evidence and reading of a sticker, and how many intentions a query keeps.
        context: Turns what its `take` gives into H^T (Eq. 3); by default that is H^T already.

    Raises:
        IntraError: If `query` is none of `SHARES`.
    """

    def __init__(
        self,
        text_width: int,
        region_width: int,
        intentions: int,
        config: RunConfig,
        context: ContextModel | None = None,
    ):
        super().__init__()
        if config.query not in SHARES:
            raise IntraError(f"query: {unknown('value', config.query, SHARES)} (system int_ra_plus)")
        self.shares = SHARES[config.query]
        self.intention = IntentionPredictor(text_width, intentions)  # Eq. 4
        self.sticker = sticker_model(text_width, region_width, config)  # Eq. 10-12
        self.sticker_intention = IntentionPredictor(config.width, intentions)
        self.context = context or FrozenContext()  # Eq. 3

    def forward(
        self, contexts: Tensor, descriptions: Tensor, described: Tensor, regions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Intention logits of queries, shape (B, C), and of stickers, shape (S, C).

        Args:
            contexts: What the context model turns into H^T, shape (B, ...).
            descriptions: H^A, shape (S, A, e).
            described: Which of them there are, shape (S, A), bool.
            regions: H^I, shape (S, P, w).
        """
        return self.intention(self.context(contexts)), self.sticker_logits(descriptions, described, regions)

    def sticker_logits(self, descriptions: Tensor, described: Tensor, regions: Tensor) -> Tensor:
        """Intention logits of stickers, shape (S, C)."""
        return self.sticker_intention(self.sticker.pooled(descriptions, described, regions))

    def match(self, logits: Tensor, sticker_logits: Tensor) -> Tensor:
        r"""\sum_c \rho_{bc} \sigma_{sc}, shape (B, S)."""
        return self.shares(logits) @ sticker_logits.softmax(dim=1).T


class IntRAPlusSystem(TrainedSystem):
    """Int-RA+ behind the interface of every system (`models.system.Trained`)."""

    def __init__(self, config: RunConfig, features: Features):
        """Build the model with weights drawn from the config's seed."""
        intentions, text_width = features.label_features.shape
        region_width = features.train.gallery.region_features.shape[2]
        with seeded(config.seed):
            context = context_model(config, features)
            super().__init__(config, IntRAPlus(text_width, region_width, intentions, config, context))

    def fit(self, train: Partition, valid: Partition) -> Fit:
        """Minimise L_int of the conversations plus the same of the stickers, with the labels that training tells."""
        intentions, told = torch.from_numpy(train.queries.intentions), torch.from_numpy(train.gallery.intentions)
        gallery = gallery_tensors(train.gallery)

        def losses(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
            rows, columns = batch["queries"], batch["stickers"]
            contexts = self.model.context.take(train.queries, rows)
            stickers = (part.index_select(0, columns) for part in gallery)
            logits, sticker_logits = model(*self.moved(contexts, *stickers))
            labels, sticker_labels = self.moved(intentions[rows], told[columns])
            return {
                "intention": intention_loss(logits, labels),
                "sticker": sticker_loss(sticker_logits, sticker_labels),
            }

        return fit(self.model, losses, self.score, train, valid, self.config, self.model.context.parameters())

    @torch.inference_mode()
    def score(self, queries: Queries, gallery: Gallery) -> np.ndarray:
        """Probability that sticker and reply have the same intention, shape (Q, G), float32."""
        logits = self.model.intention(self.text_features(queries))
        sticker_logits = self.model.sticker_logits(*self.moved(*gallery_tensors(gallery)))
        return self.model.match(logits, sticker_logits).cpu().numpy()

    @torch.inference_mode()
    def details(self, queries: Queries, gallery: Gallery) -> dict[str, np.ndarray]:
        """Intention probabilities of queries (Q, C) and stickers (G, C), and the maps of Eq. 11."""
        tensors = self.moved(*gallery_tensors(gallery))
        named = {
            "intention_probabilities": self.model.intention(self.text_features(queries)).softmax(dim=1),
            "sticker_probabilities": self.model.sticker_logits(*tensors).softmax(dim=1),
            **self.model.sticker.maps(*tensors),
        }
        return {name: tensor.cpu().numpy() for name, tensor in named.items()}


def sticker_loss(logits: Tensor, told: Tensor) -> Tensor:
    r"""Cross-entropy of the stickers' intentions.

    -\frac{1}{S} \sum_s \frac{1}{|I(s)|} \sum_{c \in I(s)} \log \sigma_{sc}

    Args:
        logits: Shape (S, C).
        told: Which intentions each sticker has, I(s), shape (S, C), bool; a sticker without any does not count.

    Returns:
        Scalar.
    """
    known = told.any(dim=1)
    shares = told[known].to(logits.dtype)
    return functional.cross_entropy(logits[known], shares / shares.sum(dim=1, keepdim=True))
