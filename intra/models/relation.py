"""Relation-aware sticker representation (Eq. 10-12): descriptions attend to image regions."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class RelationAwareSticker(nn.Module):
    r"""Weigh a sticker's regions by how much its descriptions attend to them.

    Args:
        text_width: e, width of the description features.
        region_width: w, width of the region features.
        width: d, the common width of Eq. 10.
        heads: h; each head has d / h dimensions.
    """

    def __init__(self, text_width: int, region_width: int, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.f_vis = nn.Linear(region_width, width)
        self.f_des = nn.Linear(text_width, width)
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)

    def attention(self, descriptions: Tensor, regions: Tensor) -> Tensor:
        r"""M_j of Eq. 11, read as attention weights: softmax((h_j^A W^Q)(h^I W^K)^T / \sqrt{d_k}), mean over heads.

        Args:
            descriptions: h^A = f_des(H^A), shape (S, A, d).
            regions: h^I = f_vis(H^I), shape (S, P, d).

        Returns:
            M, shape (S, A, P); each row sums to 1.
        """
        query = self._split(self.query(descriptions))  # (S, h, A, k)
        key = self._split(self.key(regions))  # (S, h, P, k)
        logits = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5  # (S, h, A, P)
        return logits.softmax(dim=-1).mean(dim=1)

    @staticmethod
    def relation_scores(attention: Tensor, described: Tensor) -> Tensor:
        r"""\mathcal{M} = \max_j M_j over the attributes a sticker has, scaled to sum 1.

        Args:
            attention: M, shape (S, A, P).
            described: Which attributes count, shape (S, A), bool.

        Returns:
            Shape (S, P). A sticker without any description weighs its regions equally.
        """
        active = attention.masked_fill(~described[..., None], 0)
        scores = active.amax(dim=1)  # (S, P)
        uniform = torch.full_like(scores, 1 / scores.shape[1])
        return torch.where(
            described.any(dim=1, keepdim=True), scores / scores.sum(1, keepdim=True).clamp(min=1e-9), uniform
        )

    def forward(self, descriptions: Tensor, described: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
        r"""R = unit(\sum_p \mathcal{M}_p h^I_p) (Eq. 12).

        Args:
            descriptions: H^A, shape (S, A, e).
            described: Shape (S, A), bool.
            regions: H^I, shape (S, P, w).

        Returns:
            Unit sticker vectors r, shape (S, d), and relation scores \mathcal{M}, shape (S, P).
        """
        h_regions = self.f_vis(regions)
        scores = self.relation_scores(self.attention(self.f_des(descriptions), h_regions), described)
        pooled = torch.einsum("sp,spd->sd", scores, h_regions)  # H^R
        return functional.normalize(pooled, dim=1), scores

    def _split(self, vectors: Tensor) -> Tensor:
        rows, items, width = vectors.shape
        return vectors.view(rows, items, self.heads, width // self.heads).transpose(1, 2)
