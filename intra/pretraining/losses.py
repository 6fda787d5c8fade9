"""The two losses beside the tagger's cross-entropy."""

import math

import torch
import torch.nn.functional as F


def contrastive_loss(
    images: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor, groups: torch.Tensor
) -> torch.Tensor:
    r"""Symmetric contrastive loss in which a pair with the same text is no negative.

    With s_ij = scale * cos(image_i, text_j), and without the j != i that have i's group:

        C = 1/2B sum_i (-log exp(s_ii) / sum_j exp(s_ij) - log exp(s_ii) / sum_j exp(s_ji))

    open_clip's `ClipLoss` is this without groups: there the same text would be its own negative.

    Args:
        images: Shape (B, c), float32, of any length.
        texts: Unit vectors, shape (B, c), float32.
        scale: Positive factor, a scalar.
        groups: Shape (B,), int64.

    Returns:
        A scalar.
    """
    similar = scale * F.normalize(images, dim=1) @ texts.T
    same = groups[:, None] == groups[None, :]
    same.fill_diagonal_(False)
    similar = similar.masked_fill(same, -math.inf)
    own = torch.arange(len(images))
    return (F.cross_entropy(similar, own) + F.cross_entropy(similar.T, own)) / 2


def guidance_loss(attention: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    r"""How little attention falls on the cells that a box touches: mean of -log sum_{p in box} alpha_p.

    Args:
        attention: Shares of the P cells of a square grid, row by row, shape (B, P), float32.
        boxes: Left, top, right, bottom, the picture being [-1, 1], shape (B, 4).

    Returns:
        A scalar; 0 for a batch without pictures.
    """
    side = math.isqrt(attention.shape[1])
    centres = (2 * torch.arange(side) + 1) / side - 1
    # the middle of a box is kept, for a box that was shifted out of the picture touches no cell
    middle = ((boxes[:, :2] + boxes[:, 2:]) / 2).clamp(-1, 1)
    reach = (boxes[:, 2:] - boxes[:, :2]) / 2 + 1 / side
    x, y = ((centres - middle[:, axis, None]).abs() <= reach[:, axis, None] for axis in (0, 1))
    touched = (y[:, :, None] & x[:, None, :]).flatten(1)
    return -(attention * touched).sum(1).clamp(min=1e-6).log().sum() / max(1, len(attention))
