"""Training losses, one function each."""

import torch
from torch import Tensor
from torch.nn import functional


def intention_loss(logits: Tensor, intentions: Tensor) -> Tensor:
    r"""Cross-entropy of the intention classifier (Eq. 6): -\frac{1}{B} \sum_b \log \rho_{b, y_b}.

    Args:
        logits: z of Eq. 4, shape (B, C).
        intentions: y, shape (B,), int64.

    Returns:
        Scalar. The paper sums over samples; the mean keeps lambda_2 independent of the batch size.
    """
    return functional.cross_entropy(logits, intentions)


def hinge_retrieval_loss(similarity: Tensor, positives: Tensor, negatives: Tensor, margin: float) -> Tensor:
    r"""Margin loss of retrieval (Eq. 14, with the sign that makes positives come nearer).

    L_{ret} = \frac{1}{B} \sum_b \frac{1}{|Neg(b)|} \sum_{s \in Neg(b)} \max(0, margin - CA_{b, g_b} + CA_{b, s})

    As printed, \rho_{neg} - (1 - \rho_{pos}) + margin falls when the positive moves *away*, and without a
    zero as second argument of max nothing is clipped.

    Args:
        similarity: CA of Eq. 13, shape (B, S).
        positives: Column of each query's own sticker, shape (B,), int64.
        negatives: Which stickers are wrong for a query, shape (B, S), bool.
        margin: Distance to keep, in cosine.

    Returns:
        Scalar. A query without negatives counts 0.
    """
    positive = similarity.gather(1, positives[:, None])  # (B, 1)
    violation = torch.relu(margin - positive + similarity) * negatives  # (B, S)
    return (violation.sum(dim=1) / negatives.sum(dim=1).clamp(min=1)).mean()
