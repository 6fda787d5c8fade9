"""Relation-aware sticker representation (Eq. 10-12): descriptions attend to image regions."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from intra.config import ATTRIBUTE_KEYS, RunConfig
from intra.errors import IntraError

SMALLEST_GAP = -40
"""Of a logit to the largest. Weights of e^-40 are lost in any sum with 1; far smaller ones, as trained attention gives
them, are subnormal numbers, which take processors many times as long."""


class PooledSticker(nn.Module):
    r"""R = unit(mean_p h^I_p): no attribute is told, all regions count alike.

    Args:
        text_width: e, width of the description features.
        region_width: w, width of the region features.
        config: Common width d, heads h, regions, and the two reductions of Eq. 11.
    """

    def __init__(self, text_width: int, region_width: int, config: RunConfig):
        super().__init__()
        self.f_vis = nn.Linear(region_width, config.width)

    def forward(self, descriptions: Tensor, described: Tensor, regions: Tensor) -> Tensor:
        """Unit sticker vectors r, shape (S, d).

        Args:
            descriptions: H^A, shape (S, A, e).
            described: Which of them there are, shape (S, A), bool.
            regions: H^I, shape (S, P, w).
        """
        return functional.normalize(self.pooled(descriptions, described, regions), dim=1)

    def pooled(self, descriptions: Tensor, described: Tensor, regions: Tensor) -> Tensor:
        """H^R of Eq. 12, shape (S, d)."""
        return self.f_vis(regions.mean(dim=1))

    def maps(self, descriptions: Tensor, described: Tensor, regions: Tensor) -> dict[str, Tensor]:
        """What a reader can see of Eq. 11, by name; empty where it weighs no regions."""
        return {}


class AttendingSticker(PooledSticker):
    """What the readings of Eq. 11 share: descriptions attend to regions, and the attributes become one."""

    def __init__(self, text_width: int, region_width: int, config: RunConfig):
        super().__init__(text_width, region_width, config)
        self.heads = config.heads
        self.over_heads = HEAD_REDUCTIONS[config.head_reduction]
        self.over_attributes = ATTRIBUTE_REDUCTIONS[config.attribute_reduction]
        self.f_des = nn.Linear(text_width, config.width)
        self.query = nn.Linear(config.width, config.width, bias=False)
        self.key = nn.Linear(config.width, config.width, bias=False)
        if config.regions == "class":  # the weight of the only region is 1, whatever is described
            self.freeze_attention()

    def freeze_attention(self) -> None:
        """Let nothing learn that attention alone depends on."""
        for part in (self.f_des, self.query, self.key):
            part.requires_grad_(False)

    def attention(self, descriptions: Tensor, regions: Tensor) -> Tensor:
        r"""softmax((h_j^A W^Q)(h^I W^K)^T / \sqrt{d_k}) of Eq. 11 with h^A = f_des(H^A), h^I = f_vis(H^I).

        Args:
            descriptions: H^A, shape (S, A, e).
            regions: H^I, shape (S, P, w).

        Returns:
            Shape (S, h, A, P); each row sums to 1.
        """
        # W^K f_vis is one matrix, applied to whichever side of the product is smaller, for speed alone. The bias of
        # f_vis adds the same to all regions, which softmax cancels.
        query = self.queries(descriptions)
        key = self._split(self.key.weight @ self.f_vis.weight, dim=0)  # (h, k, w)
        if descriptions.shape[1] * self.heads < regions.shape[1]:
            probes = torch.einsum("sahk,hkw->shaw", query, key)
            logits = torch.einsum("shaw,spw->shap", probes, regions)
        else:
            keys = torch.einsum("spw,hkw->shpk", regions, key)
            logits = torch.einsum("sahk,shpk->shap", query, keys)
        logits = logits / query.shape[-1] ** 0.5
        gaps = logits - logits.detach().amax(dim=-1, keepdim=True)
        return gaps.clamp(min=SMALLEST_GAP).softmax(dim=-1)

    def queries(self, descriptions: Tensor) -> Tensor:
        """h^A W^Q, shape (S, A, h, k), of H^A, shape (S, A, e)."""
        return self._split(self.query(self.f_des(descriptions)), dim=2)

    def joined(self, values: Tensor, described: Tensor) -> Tensor:
        """Values of the attributes that a sticker has, shape (S, A, N), as one, (S, N); 1 without any."""
        return torch.where(described.any(dim=1, keepdim=True), self.over_attributes(values, described), 1.0)

    def _split(self, vectors: Tensor, dim: int) -> Tensor:
        return vectors.unflatten(dim, (self.heads, -1))


class RelationAwareSticker(AttendingSticker):
    r"""M_j of Eq. 11 is attention weights, one a region: H^R = \sum_p \mathcal{M}_p h^I_p.

    \mathcal{M} is what the attributes' weights become together, scaled to sum 1.
    """

    def weights(self, descriptions: Tensor, regions: Tensor) -> Tensor:
        """M of Eq. 11: the heads' weights as one, shape (S, A, P)."""
        return self.over_heads(self.attention(descriptions, regions))

    def relation_scores(self, weights: Tensor, described: Tensor) -> Tensor:
        r"""\mathcal{M} of Eq. 11.

        Args:
            weights: M, shape (S, A, P).
            described: Which attributes count, shape (S, A), bool.

        Returns:
            Shape (S, P); rows sum to 1. A sticker without any description weighs its regions equally.
        """
        scores = self.joined(weights, described)
        return scores / scores.sum(dim=1, keepdim=True)

    def pooled(self, descriptions: Tensor, described: Tensor, regions: Tensor) -> Tensor:
        """See `PooledSticker.pooled`."""
        scores = self.relation_scores(self.weights(descriptions, regions), described)
        # the scores sum to 1, so that f_vis may follow the sum over regions
        return self.f_vis(torch.einsum("sp,spw->sw", scores, regions))

    def maps(self, descriptions: Tensor, described: Tensor, regions: Tensor) -> dict[str, Tensor]:
        """`attention`, M (S, A, P; 0 without description), and `relation_scores`, (S, P)."""
        weights = self.weights(descriptions, regions)
        return {
            "attention": weights.masked_fill(~described[..., None], 0),
            "relation_scores": self.relation_scores(weights, described),
        }


class GatedSticker(AttendingSticker):
    r"""M_j of Eq. 11 is the attended value, a vector: M_j = concat_n(softmax(...)_n h^I W^V_n) W^O.

    What the attributes' values become together gates every region's features, and the mean is taken: H^R =
    mean_p(\mathcal{M} h^I_p) = \mathcal{M} mean_p(h^I_p). Heads are concatenated, so that no reduction applies to them.
    """

    def __init__(self, text_width: int, region_width: int, config: RunConfig):
        super().__init__(text_width, region_width, config)
        self.value = nn.Linear(config.width, config.width, bias=False)
        self.output = nn.Linear(config.width, config.width, bias=False)

    def values(self, descriptions: Tensor, regions: Tensor) -> Tensor:
        """M of Eq. 11, shape (S, A, d)."""
        # as in `attention`: weights sum to 1, so that f_vis and W^V may follow the sum over regions
        attended = torch.einsum("shap,spw->shaw", self.attention(descriptions, regions), regions)
        value = self._split(self.value.weight @ self.f_vis.weight, dim=0)  # (h, k, w)
        heads = torch.einsum("shaw,hkw->sahk", attended, value).flatten(2)
        return self.output(heads + self.value(self.f_vis.bias))

    def pooled(self, descriptions: Tensor, described: Tensor, regions: Tensor) -> Tensor:
        """See `PooledSticker.pooled`."""
        return self.joined(self.values(descriptions, regions), described) * self.f_vis(regions.mean(dim=1))


class ScalarSticker(AttendingSticker):
    r"""M_j \in R as Eq. 11 prints it: the sigmoid of an attribute's mean logit over the regions.

    H^R = mean_p(\mathcal{M} h^I_p), of which a cosine keeps nothing of the positive number \mathcal{M}. Therefore
    what makes it cannot learn, and is kept as it is drawn.
    """

    def __init__(self, text_width: int, region_width: int, config: RunConfig):
        super().__init__(text_width, region_width, config)
        self.freeze_attention()

    def numbers(self, descriptions: Tensor, regions: Tensor) -> Tensor:
        """M of Eq. 11, shape (S, A), all above 0."""
        query = self.queries(descriptions)
        key = self._split(self.key(self.f_vis(regions.mean(dim=1))), dim=1)  # (S, h, k): that of the mean region
        logits = torch.einsum("sahk,shk->sha", query, key) / query.shape[-1] ** 0.5
        return self.over_heads(logits).sigmoid()

    def pooled(self, descriptions: Tensor, described: Tensor, regions: Tensor) -> Tensor:
        """See `PooledSticker.pooled`."""
        score = self.joined(self.numbers(descriptions, regions)[..., None], described)  # (S, 1)
        return score * self.f_vis(regions.mean(dim=1))


def _mean_of_heads(values: Tensor) -> Tensor:
    return values.mean(dim=1)


def _largest_of_heads(values: Tensor) -> Tensor:
    return values.amax(dim=1)


def _largest(values: Tensor, described: Tensor) -> Tensor:
    return values.masked_fill(~described[..., None], -torch.inf).amax(dim=1)


def _mean(values: Tensor, described: Tensor) -> Tensor:
    return (values * described[..., None]).sum(dim=1) / described.sum(dim=1, keepdim=True).clamp(min=1)


HEAD_REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {"mean": _mean_of_heads, "max": _largest_of_heads}
"""Shape (S, h, ...) to (S, ...)."""
ATTRIBUTE_REDUCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"max": _largest, "mean": _mean}
"""Values (S, A, N) and which attributes count (S, A) to (S, N); anything where none does."""
RELATIONS = {"attention": RelationAwareSticker, "value": GatedSticker, "scalar": ScalarSticker}


class DescribedSticker(nn.Module):
    r"""H^R = [H^I-part] + [H_1^A; ...; H_A^A] W: what the descriptions say counts, not only where they look.

    Not in the paper, whose descriptions only weigh regions.

    Args:
        text_width: e, width of the description features.
        regions: Makes a vector of the weighed regions, which is added; None leaves the descriptions alone.
        config: Common width d.
    """

    def __init__(self, text_width: int, regions: PooledSticker | None, config: RunConfig):
        super().__init__()
        self.regions = regions
        self.dropout = nn.Dropout(0.5)  # as in `models.context.JoinedContext`
        self.described = nn.Linear(len(ATTRIBUTE_KEYS) * text_width, config.width)

    def forward(self, descriptions: Tensor, described: Tensor, regions: Tensor) -> Tensor:
        """See `PooledSticker.forward`."""
        return functional.normalize(self.pooled(descriptions, described, regions), dim=1)

    def pooled(self, descriptions: Tensor, described: Tensor, regions: Tensor) -> Tensor:
        """See `PooledSticker.pooled`; descriptions that are not there are zeros."""
        told = self.described(self.dropout(descriptions.flatten(1)))
        return told if self.regions is None else told + self.regions.pooled(descriptions, described, regions)

    def maps(self, descriptions: Tensor, described: Tensor, regions: Tensor) -> dict[str, Tensor]:
        """See `PooledSticker.maps`."""
        return {} if self.regions is None else self.regions.maps(descriptions, described, regions)


def sticker_model(text_width: int, region_width: int, config: RunConfig) -> PooledSticker | DescribedSticker:
    """The reading of Eq. 10-12 that a config names; see `PooledSticker` for the arguments.

    Raises:
        IntraError: If descriptions are to count that come token by token.
    """
    reading = RELATIONS[config.relation] if config.attributes else PooledSticker
    if config.sticker_evidence == "regions":
        return reading(text_width, region_width, config)
    if config.description_units != "attribute":
        raise IntraError(
            f"description_units is {config.description_units!r}, expected 'attribute' with sticker_evidence "
            f"{config.sticker_evidence!r}"
        )
    alone = config.sticker_evidence == "descriptions"
    return DescribedSticker(text_width, None if alone else reading(text_width, region_width, config), config)
