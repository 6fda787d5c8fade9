r"""Training losses: the intention's (Eq. 6), and the readings of the retrieval loss (Eq. 14)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from intra.config import RunConfig

FIRST_SCALE, LARGEST_SCALE = math.log(1 / 0.07), math.log(100)
"""Where the logarithm of InfoNCE's scale starts, and its bound."""


def intention_loss(logits: Tensor, intentions: Tensor) -> Tensor:
    r"""Cross-entropy of the intention classifier (Eq. 6): -\frac{1}{B} \sum_b \log \rho_{b, y_b}.

    Args:
        logits: z of Eq. 4, shape (B, C).
        intentions: y, shape (B,), int64.

    Returns:
        Scalar. The paper sums over samples; the mean keeps lambda_2 independent of the batch size.
    """
    return functional.cross_entropy(logits, intentions)


class HingeLoss(nn.Module):
    r"""Margin loss of retrieval (Eq. 14, with the sign that makes positives come nearer).

    L_{ret} = \frac{1}{B} \sum_b \frac{1}{|Neg(b)|} \sum_{s \in Neg(b)} \max(0, margin - CA_{b, g_b} + CA_{b, s})

    Args:
        config: Margin, and whether a query's negatives are summed or their mean is taken.
    """

    def __init__(self, config: RunConfig):
        super().__init__()
        self.margin = config.margin
        self.over_negatives = NEGATIVE_REDUCTIONS[config.negative_reduction]

    def forward(self, similarity: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """The loss of a batch; so in every loss below.

        Args:
            similarity: CA of Eq. 13, shape (B, S).
            positives: Column of each query's own sticker, shape (B,), int64.
            negatives: Which stickers are wrong for a query, shape (B, S), bool; never its own.

        Returns:
            Scalar, the mean over the queries. A query without negatives counts 0.
        """
        terms = self.terms(similarity.gather(1, positives[:, None]), similarity)
        return self.over_negatives(terms * negatives, negatives).mean()

    def terms(self, positive: Tensor, negative: Tensor) -> Tensor:
        """What each negative, of shape (B, S), adds beside a query's positive, shape (B, 1)."""
        return torch.relu(self.margin - positive + negative)


class HardestLoss(HingeLoss):
    """Hinge with the most similar negative alone, so that there is nothing to sum."""

    def __init__(self, config: RunConfig):
        super().__init__(config)
        self.over_negatives = _largest


class LiteralLoss(HingeLoss):
    r"""Eq. 14 as printed, \rho_{neg} - (1 - \rho_{pos}) + margin.

    Its max has one argument, so nothing is clipped; and it falls when the positive moves *away*.
    """

    def terms(self, positive: Tensor, negative: Tensor) -> Tensor:
        """See `HingeLoss.terms`."""
        return negative - (1 - positive) + self.margin


class InfoNCELoss(nn.Module):
    """Cross-entropy of the own sticker among the negatives, cosines times a learned scale of at most 100."""

    def __init__(self, config: RunConfig):
        super().__init__()
        self.logit_scale = nn.Parameter(torch.tensor(FIRST_SCALE))

    def forward(self, similarity: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """See `HingeLoss.forward`."""
        compared = negatives.scatter(1, positives[:, None], True)
        logits = (self.scale() * similarity).masked_fill(~compared, -torch.inf)
        return functional.cross_entropy(logits, positives)

    def scale(self) -> Tensor:
        """The scale. A logarithm past its bound is set back to it, where a gradient can lower it again."""
        with torch.no_grad():
            self.logit_scale.clamp_(max=LARGEST_SCALE)
        return self.logit_scale.exp()


def _mean(terms: Tensor, negatives: Tensor) -> Tensor:
    return terms.sum(dim=1) / negatives.sum(dim=1).clamp(min=1)


def _sum(terms: Tensor, negatives: Tensor) -> Tensor:
    return terms.sum(dim=1)


def _largest(terms: Tensor, negatives: Tensor) -> Tensor:
    return terms.amax(dim=1)


NEGATIVE_REDUCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mean": _mean, "sum": _sum}
"""Terms, 0 where there is no negative, and what is a negative, both (B, S), to one number a query."""
RETRIEVAL_LOSSES = {"hinge": HingeLoss, "hardest": HardestLoss, "literal": LiteralLoss, "infonce": InfoNCELoss}


def _of_another_intention(relevant: Tensor, positives: Tensor) -> Tensor:
    return ~relevant


def _not_sent(relevant: Tensor, positives: Tensor) -> Tensor:
    return torch.ones_like(relevant).scatter(1, positives[:, None], False)


NEGATIVES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "other": _of_another_intention,
    "batch": _of_another_intention,  # of fewer stickers, see `training.batches`
    "all": _not_sent,
}
"""Which stickers are right for a query (B, S) and which was sent (B,), to those that are pushed away (B, S)."""
