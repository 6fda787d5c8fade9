"""Knowledge-enhanced intention predictor (Eq. 4-5), and the readings of the intention-fused query."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class IntentionPredictor(nn.Module):
    r"""\rho = softmax(W H^T + b), \hat y = argmax \rho (Eq. 4-5).

    Args:
        text_width: e, width of the text features.
        intentions: C, how many intentions there are.
    """

    def __init__(self, text_width: int, intentions: int):
        super().__init__()
        self.classifier = nn.Linear(text_width, intentions)

    def forward(self, text_features: Tensor) -> Tensor:
        """Logits z, shape (B, C), of text features H^T, shape (B, e)."""
        return self.classifier(text_features)


class ContextQuery(nn.Module):
    r"""q = unit(H^T W_q): the context in the common space, whatever intention is predicted.

    W_q is not in the paper, but its query and H^R have different widths.

    Args:
        label_features: E, encoded intention names, shape (C, e).
        width: d, the common width.
    """

    vectors = 1
    """How many vectors of width e are matched."""

    def __init__(self, label_features: Tensor, width: int):
        super().__init__()
        self.projection = nn.Linear(self.vectors * label_features.shape[1], width, bias=False)

    def forward(self, text_features: Tensor, logits: Tensor, intentions: Tensor | None) -> Tensor:
        """Unit queries, shape (B, d).

        Args:
            text_features: H^T, shape (B, e).
            logits: z of Eq. 4, shape (B, C).
            intentions: y, shape (B,), int64; only `teacher` while it learns and `gold` read it.
        """
        return functional.normalize(self.projection(self.matched(text_features, logits, intentions)), dim=1)

    def matched(self, text_features: Tensor, logits: Tensor, intentions: Tensor | None) -> Tensor:
        """What is projected, shape (B, vectors * e)."""
        return text_features


class LabelQuery(ContextQuery):
    r"""q = unit(H^Y W_q), where H^Y = M-BERT(\hat y) is the encoded name of the predicted intention.

    No gradient passes the argmax, so the classifier learns from Eq. 6 alone. E is kept fixed.
    """

    def __init__(self, label_features: Tensor, width: int):
        super().__init__(label_features, width)
        self.register_buffer("label_features", label_features)

    def matched(self, text_features: Tensor, logits: Tensor, intentions: Tensor | None) -> Tensor:
        """H^Y, shape (B, e)."""
        return self.shares(logits, intentions) @ self.label_features

    def shares(self, logits: Tensor, intentions: Tensor | None) -> Tensor:
        """How much of each label is in H^Y, shape (B, C); rows sum to 1."""
        return self.only(logits.argmax(dim=1))

    def only(self, intentions: Tensor) -> Tensor:
        """All of one label, and nothing of the others."""
        return functional.one_hot(intentions, len(self.label_features)).to(self.label_features.dtype)


class StraightThroughQuery(LabelQuery):
    """As `LabelQuery`, with the gradient that a mixture of the labels would have."""

    def shares(self, logits: Tensor, intentions: Tensor | None) -> Tensor:
        """See `LabelQuery.shares`."""
        soft = logits.softmax(dim=1)
        return super().shares(logits, intentions) + (soft - soft.detach())


class MixtureQuery(LabelQuery):
    r"""H^Y = \rho E: every label by its probability."""

    def shares(self, logits: Tensor, intentions: Tensor | None) -> Tensor:
        """See `LabelQuery.shares`."""
        return logits.softmax(dim=1)


class GoldQuery(LabelQuery):
    """The true intention's label, also in scoring: an upper bound, not a system that could be used."""

    def shares(self, logits: Tensor, intentions: Tensor | None) -> Tensor:
        """See `LabelQuery.shares`."""
        return self.only(intentions)


class TeacherQuery(LabelQuery):
    """The true intention's label while training, the predicted one's in scoring."""

    def shares(self, logits: Tensor, intentions: Tensor | None) -> Tensor:
        """See `LabelQuery.shares`."""
        return self.only(intentions) if self.training else super().shares(logits, intentions)


class ConcatQuery(LabelQuery):
    r"""q = unit([H^Y; H^T] W_q): the predicted label and the context."""

    vectors = 2

    def matched(self, text_features: Tensor, logits: Tensor, intentions: Tensor | None) -> Tensor:
        """[H^Y; H^T], shape (B, 2e)."""
        return torch.cat([super().matched(text_features, logits, intentions), text_features], dim=1)


QUERIES: dict[str, type[ContextQuery]] = {
    "label": LabelQuery,
    "straight-through": StraightThroughQuery,
    "teacher": TeacherQuery,
    "mixture": MixtureQuery,
    "context": ContextQuery,
    "concat": ConcatQuery,
    "gold": GoldQuery,
}
"""What is matched with stickers (Eq. 5, 13)."""
