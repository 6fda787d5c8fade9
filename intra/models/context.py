"""Three ways to the text representation H^T of Eq. 3: frozen, with tuned layers, or joined from utterances."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from intra.components import Components
from intra.config import RunConfig
from intra.errors import IntraError
from intra.features import Features, Queries
from intra.models.trained import seeded
from intra.vectors import Standardiser


class ContextModel(nn.Module, ABC):
    """Takes what it needs of some queries, and turns that into H^T, shape (B, e)."""

    @abstractmethod
    def take(self, queries: Queries, rows: Tensor) -> Tensor:
        """What `forward` reads of the queries with numbers `rows` (B,), shape (B, ...), on the CPU."""


class FrozenContext(ContextModel):
    """H^T as the frozen encoder gave it: nothing to compute, nothing to learn."""

    def take(self, queries: Queries, rows: Tensor) -> Tensor:
        """H^T, shape (B, e)."""
        return torch.from_numpy(queries.text_features)[rows]

    def forward(self, text_features: Tensor) -> Tensor:
        """The same."""
        return text_features


class _FromParts(ContextModel):
    """A context model that reads `Queries.parts`."""

    def take(self, queries: Queries, rows: Tensor) -> Tensor:
        """Parts of the queries, shape (B, T, e), without columns that are empty in all of them at the end."""
        parts = torch.from_numpy(queries.parts)[rows]
        used = parts.any(dim=2).any(dim=0).nonzero()
        return parts[:, : int(used.max()) + 1].float()


class TunedContext(_FromParts):
    r"""H^T = std(enc(T \oplus C_know)), of which the encoder's last layers learn.

    Before any training this is the frozen H^T. Everything below the tuned layers, in any case the embedding
    table, stays frozen and is computed once (`Queries.parts`).

    Args:
        layers: The last layers of the text encoder (`encoders.layers.LastLayers`).
        scale: Standardises by the frozen features, which keeps the widths that the classifier starts from.
    """

    def __init__(self, layers: nn.Module, scale: Standardiser):
        super().__init__()
        self.layers = layers
        self.register_buffer("mean", torch.as_tensor(scale.mean))
        self.register_buffer("deviation", torch.as_tensor(scale.deviation))

    def forward(self, states: Tensor) -> Tensor:
        """H^T, shape (B, e), of token vectors, shape (B, T, e)."""
        return (self.layers(states, states.any(dim=2)) - self.mean) / self.deviation


class JoinedContext(_FromParts):
    r"""H^T = [\sum_t a_{t1} v_{t1}, ..., \sum_t a_{th} v_{th}]: every head weighs the segments in its own way.

    Segments u_t that are there: knowledge u_0, utterances u_1 (newest), u_2, ...; v_t = gelu(W u_t + b), cut into h
    pieces; a_{\cdot n} = softmax_t(w_n u_t + p_{tn}), where p tells places apart.

    Args:
        text_width: e, width of the segments.
        window: Most utterances.
        heads: h; e is a multiple.

    Raises:
        IntraError: If it is not.
    """

    def __init__(self, text_width: int, window: int, heads: int):
        super().__init__()
        if text_width % heads:
            raise IntraError(f"heads is {heads}, but text vectors of width {text_width} are no multiple of it")
        self.heads = heads
        self.weight = nn.Linear(text_width, heads, bias=False)
        self.place = nn.Parameter(torch.zeros(window + 1, heads))
        self.value = nn.Linear(text_width, text_width)
        # strong, since a thousand conversations are few: chosen by cross-validation on training and validation
        self.dropout_in, self.dropout_out = nn.Dropout(0.3), nn.Dropout(0.5)
        nn.init.zeros_(self.weight.weight)  # at first a mean

    def forward(self, segments: Tensor) -> Tensor:
        """H^T, shape (B, e), of segments, shape (B, at most window + 1, e); zeros where nothing is there at all."""
        absent = ~segments.any(dim=2, keepdim=True)
        weights = self.weight(segments) + self.place[: segments.shape[1]]  # (B, T, h)
        weights = weights.masked_fill(absent, torch.finfo(weights.dtype).min).softmax(dim=1)
        values = functional.gelu(self.value(self.dropout_in(segments))).masked_fill(absent, 0)
        heads = values.unflatten(2, (self.heads, -1))  # (B, T, h, e / h)
        return self.dropout_out((weights[..., None] * heads).sum(dim=1).flatten(1))


def context_model(config: RunConfig, features: Features) -> ContextModel:
    """The context model that a config names, with weights drawn from the config's seed.

    It leaves the random state as it was, so that other weights do not depend on it.

    Raises:
        IntraError: If the text encoder has not so many layers, or its width does not fit the heads.
    """
    with seeded(config.seed):
        if joined := joined_context(config, features.label_features.shape[1]):
            return joined
    if config.tuned_layers:
        layers = Components(config.profile).text.last_layers(config.tuned_layers)
        return TunedContext(layers, features.context_scale)
    return FrozenContext()


def joined_context(config: RunConfig, text_width: int) -> JoinedContext | None:
    """The layer that joins utterances, where the config wants one."""
    if config.context_encoding == "utterances":
        return JoinedContext(text_width, config.window, config.heads)
    return None
