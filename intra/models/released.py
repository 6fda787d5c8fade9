r"""Int-RA as its released code behaves, so that what the paper says and what the code does share one table.

Restated from a reading of the public snapshot (HITSZ-HLT/Int-RA, commit 34a8d50, which does not run as published);
nothing is copied from it, and nothing is claimed of the program behind the paper's tables.

Kept, because scores or weights depend on it:

- A picture is one pooled vector, the class token's; contexts and attributes share one projection.
- The query is the context. The predicted intention is never matched with a sticker (Eq. 13 is absent).
- A sticker's vector comes from four chained attentions with one key each and with new random layers at every call
  (`cross_attention`), so that it is a random map of the last attribute, the verbal one; nothing else of the sticker
  reaches a score. Neither is there a division by \sqrt{d_k}, nor are there heads, Eq. 12 or a maximum.
- What is learned is a symmetric contrastive loss between contexts and plain picture vectors, which the paper does
  not have and the scores do not read.
- The intention classifier stays at its random start, and its softmax is given to a cross-entropy that takes another
  one (`twice_softmax_loss`). Its gradient does reach the context.
- The loss is a quarter of four terms.

Left out:

- The fourth term, `MultiLabelMarginLoss`, computed from similarities that were rebuilt from NumPy: it has no gradient
  and so changes no weight. It would cost a whole gallery of random layers at every step, to log a number without
  meaning: its targets are zeros and ones, read as class numbers, so that stickers 0 and 1 are the positives.
- Its data code: contexts cut before the knowledge and their last piece dropped, training augmentation of the pictures
  that are ranked, one intention a sticker, of whose number only the first character is compared. These belong
  to queries, pictures and evaluator, which are the same for all systems here.
- AdamW with a schedule and without a rule of selection: Adam and early stopping on validation, as for all systems.
"""

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from intra.config import RunConfig
from intra.features import Features, Gallery, Partition, Queries
from intra.losses import FIRST_SCALE, LARGEST_SCALE
from intra.models.context import ContextModel, context_model
from intra.models.trained import TrainedSystem, seeded
from intra.training import Batch, Fit, fit

TERMS = 4
"""The release's loss is the mean of so many terms, of which three have a gradient."""


def fresh_layer(vector: Tensor, rng: np.random.Generator) -> Tensor:
    r"""A linear layer that exists for this call only: U x + u, entries uniform in \pm 1 / \sqrt{d} (torch's default).

    Args:
        vector: x, shape (d,).
        rng: Where its weights come from.

    Returns:
        Shape (d,).
    """
    width = len(vector)
    drawn = (2 * rng.random((width, width + 1), dtype=np.float32) - 1) / math.sqrt(width)
    layer = torch.from_numpy(drawn).to(vector.device)
    return layer[:, :width] @ vector + layer[:, width]


def cross_attention(query: Tensor, attribute: Tensor, rng: np.random.Generator) -> Tensor:
    """softmax(q k) v with the attribute as the only key and value, through three fresh layers.

    The softmax over one key is exactly 1: whatever the query, v is what comes out.

    Args:
        query: Shape (d,).
        attribute: Shape (d,).
        rng: Draws the layers of query, key and value, in this order.

    Returns:
        Shape (d,).
    """
    q, k, v = (fresh_layer(vector, rng) for vector in (query, attribute, attribute))
    weights = (k[None] @ q).softmax(dim=0)  # (1,)
    return weights @ v[None]


def sticker_vector(image: Tensor, attributes: Tensor, rng: np.random.Generator) -> Tensor:
    """The picture's vector through one attention an attribute, each asking with what the one before gave.

    Args:
        image: Shape (d,).
        attributes: Shape (A, d).
        rng: Draws every layer anew.

    Returns:
        Shape (d,); a random map of the last attribute.
    """
    for attribute in attributes:
        image = cross_attention(image, attribute, rng)
    return image


def contrastive_loss(logits: Tensor) -> Tensor:
    """Cross-entropy of each context's picture among the batch's plus that of each picture's context.

    Args:
        logits: Scaled cosines of contexts (rows) and the pictures sent (columns), shape (B, B).

    Returns:
        Scalar. A picture that was sent twice in a batch is a wrong answer to its other context.
    """
    own = torch.arange(len(logits), device=logits.device)
    return functional.cross_entropy(logits.T, own) + functional.cross_entropy(logits, own)


def twice_softmax_loss(probabilities: Tensor, intentions: Tensor) -> Tensor:
    r"""A cross-entropy for logits that is given probabilities.

    Args:
        probabilities: Shape (B, C).
        intentions: True ones, shape (B,), int64.

    Returns:
        Scalar from \log(1 + (C - 1) / e), all on the right one, to \log(e + C - 1), all on a wrong one.
    """
    return functional.cross_entropy(probabilities, intentions)


class ReleasedModel(nn.Module):
    """Contexts and plain pictures in one space, beside a classifier that is not trained.

    Args:
        text_width: e, width of H^T and H^A.
        image_width: w, width of a picture's class token.
        intentions: C, how many intentions there are.
        width: d, the common width.
        context: Turns what its `take` gives into H^T.
    """

    def __init__(self, text_width: int, image_width: int, intentions: int, width: int, context: ContextModel):
        super().__init__()
        self.text_projection = nn.Linear(text_width, width, bias=False)
        self.image_projection = nn.Linear(image_width, width, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(FIRST_SCALE))
        self.classifier = nn.Linear(width, intentions).requires_grad_(False)  # the optimiser is not given it
        self.context = context

    def forward(self, contexts: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """What the losses read; no sticker vector is among it.

        Args:
            contexts: What the context model turns into H^T, shape (B, ...).
            images: Class tokens of the stickers sent, shape (B, w).

        Returns:
            Logits of `contrastive_loss`, shape (B, B), and intention probabilities, shape (B, C).
        """
        with torch.no_grad():
            self.logit_scale.clamp_(0, LARGEST_SCALE)  # as CLIP does, which the release is built on
        projected = self.text_projection(self.context(contexts))
        plain = functional.normalize(self.image_projection(images), dim=1)
        logits = self.logit_scale.exp() * functional.normalize(projected, dim=1) @ plain.T
        return logits, self.intention_probabilities(projected)

    def intention_probabilities(self, projected: Tensor) -> Tensor:
        """Shape (B, C), of projected contexts, shape (B, d), before they get the length 1 (this place is ours)."""
        return self.classifier(projected).softmax(dim=1)

    def stickers(self, images: Tensor, descriptions: Tensor, rng: np.random.Generator) -> Tensor:
        """Unit sticker vectors, shape (S, d).

        Args:
            images: Class tokens, shape (S, w).
            descriptions: H^A, one vector an attribute, shape (S, A, e); without a verbal one, which is last, only a
                random bias is left of the sticker.
            rng: Draws the layers, other ones for each sticker.
        """
        pairs = zip(self.image_projection(images), self.text_projection(descriptions), strict=True)
        return functional.normalize(torch.stack([sticker_vector(*pair, rng) for pair in pairs]), dim=1)


class ReleasedIntRA(TrainedSystem):
    """The released behaviour behind the interface of every system (`models.system.Trained`).

    Each call of `score` ranks by new random layers, as the release does. The release seeds none of them; here they
    follow from the config's seed and the number of the call, so that a run can be repeated. The calls of a training
    count from 0; the first one after `fit` or `load` has the number `config.epochs`, which no training reaches:
    loaded weights give the ranking that was recorded when they were learnt, and the next call another one.

    An epoch's mAP on validation is thus that of a random ranking, whatever was learnt. The best epoch is the luckiest
    one, its mAP lies above chance by selection alone, and training ends by patience. The test ranking, drawn anew,
    has nothing of that luck.

    Of the config only what features and context depend on, width, size of batches, learning rates, epochs, patience
    and seed matter: the release has no switch for a reading of the paper or the weight of a loss.
    """

    def __init__(self, config: RunConfig, features: Features):
        """Build the model with weights drawn from the config's seed."""
        self.calls = 0
        intentions, text_width = features.label_features.shape
        image_width = features.train.gallery.class_features.shape[1]
        with seeded(config.seed):
            context = context_model(config, features)
            super().__init__(config, ReleasedModel(text_width, image_width, intentions, config.width, context))

    def fit(self, train: Partition, valid: Partition) -> Fit:
        """Minimise (picture CE + text CE + intention CE) / 4 on conversations and the stickers sent.

        Wrong answers are those of the batch, or of a process's share of it; other stickers are not looked at.
        """
        sent = torch.from_numpy(train.gallery.class_features[train.queries.stickers])  # (Q, w)
        intentions = torch.from_numpy(train.queries.intentions)

        def losses(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
            rows = batch["queries"]
            contexts = self.model.context.take(train.queries, rows)
            moved_contexts, images, labels = self.moved(contexts, sent[rows], intentions[rows])
            logits, probabilities = model(moved_contexts, images)
            return {
                "retrieval": contrastive_loss(logits) / TERMS,
                "intention": twice_softmax_loss(probabilities, labels) / TERMS,
            }

        self.calls = 0
        done = fit(self.model, losses, self.score, train, valid, self.config, self.model.context.parameters())
        self.calls = self.config.epochs
        return done

    @torch.inference_mode()
    def score(self, queries: Queries, gallery: Gallery) -> np.ndarray:
        """Cosines of contexts and stickers, shape (Q, G), float32; others at every call."""
        rng = np.random.default_rng((self.config.seed, self.calls))
        self.calls += 1
        images, descriptions = self.moved(
            torch.from_numpy(gallery.class_features), torch.from_numpy(gallery.description_features)
        )
        contexts = functional.normalize(self._projected(queries), dim=1)
        return (contexts @ self.model.stickers(images, descriptions, rng).T).cpu().numpy()

    @torch.inference_mode()
    def details(self, queries: Queries, gallery: Gallery) -> dict[str, np.ndarray]:
        """Intention probabilities, shape (Q, C), of the classifier that was not trained; no ranking reads them."""
        probabilities = self.model.intention_probabilities(self._projected(queries))
        return {"intention_probabilities": probabilities.cpu().numpy()}

    def _projected(self, queries: Queries) -> Tensor:
        """Contexts in the common space, shape (Q, d)."""
        return self.model.text_projection(self.text_features(queries))

    def load(self, path: Path) -> None:
        """Read weights that `save` wrote; the next call of `score` is the first one after a training.

        Raises:
            IntraError: If they do not fit the config.
        """
        super().load(path)
        self.calls = self.config.epochs
