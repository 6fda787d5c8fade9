"""Knowledge-enhanced intention predictor (Eq. 4-5) and the intention-fused query."""

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


class LabelQuery(nn.Module):
    r"""q = unit(E_{\hat y} W_q): the encoded name of the predicted intention, in the common space.

    H^Y = M-BERT(\hat y) is a row of the table of encoded labels. W_q is not in the paper, but H^Y and H^R
    have different widths. No gradient passes the argmax, so the classifier learns from Eq. 6 alone.

    Args:
        label_features: E, shape (C, e); kept fixed.
        width: d, the common width.
    """

    def __init__(self, label_features: Tensor, width: int):
        super().__init__()
        self.register_buffer("label_features", label_features)
        self.projection = nn.Linear(label_features.shape[1], width, bias=False)

    def forward(self, logits: Tensor) -> Tensor:
        """Unit queries, shape (B, d), of intention logits, shape (B, C)."""
        fused = self.label_features[logits.argmax(dim=1)]  # H^Y: (B, e)
        return functional.normalize(self.projection(fused), dim=1)
