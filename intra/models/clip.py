r"""CLIP: one vector a conversation and one a sticker, pulled together by contrast (Radford et al., ICML 2021).

The towers are those of the profile, whose picture tower was trained by contrast with the vectors of a text encoder.
Three rows: untouched; with small residual layers behind frozen towers (after Gao et al., "CLIP-Adapter", IJCV 2024);
with the last layers of both towers learning.

Departures. Learning rates, epochs and optimiser are those of every system here, without weight decay or warm-up, and
the temperature starts where pretraining does, not where it ended. A sticker that was sent twice in a batch is no
negative. With intentions as labels a row has several positives.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from intra.components import Components
from intra.config import RunConfig
from intra.errors import IntraError
from intra.features import Features, Gallery, Partition, Queries
from intra.losses import FIRST_SCALE, LARGEST_SCALE
from intra.models.context import ContextModel, FrozenContext, context_model
from intra.models.trained import TrainedSystem, positives, seeded
from intra.training import Batch, Fit, fit
from intra.vectors import Standardiser

SHARE = 0.2
"""Of an adapter's layers in what it gives: the residual ratio of CLIP-Adapter."""


class JointTexts(nn.Module):
    """H^T as the text encoder gave it, c of the joint space: the standardisation undone.

    Args:
        scale: What standardised H^T.
        centred: Whether the mean stays subtracted, as from the texts that the joint space was learned with.
    """

    def __init__(self, scale: Standardiser, centred: bool):
        super().__init__()
        # copies: saved weights share no memory
        self.register_buffer("deviation", torch.tensor(scale.deviation, dtype=torch.float32))
        self.register_buffer("mean", torch.tensor(0.0 if centred else scale.mean, dtype=torch.float32))

    def forward(self, text_features: Tensor) -> Tensor:
        """Vectors of the joint space, shape (B, e), of H^T, shape (B, e)."""
        return text_features * self.deviation + self.mean


class Adapter(nn.Module):
    r"""c + 0.2 MLP(c) for unit vectors c; before any training that is c.

    Args:
        joint_width: c, width of the joint space.
        width: Of the hidden layer.
    """

    def __init__(self, joint_width: int, width: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(joint_width, width), nn.ReLU(), nn.Linear(width, joint_width))
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, vectors: Tensor) -> Tensor:
        """Adapted vectors, shape (B, c), of vectors of any length, shape (B, c)."""
        unit = functional.normalize(vectors, dim=1)
        return unit + SHARE * self.layers(unit)


class CLIP(nn.Module):
    """Two towers into one space, and a learned scale of their cosines.

    Args:
        context: Turns what its `take` gives into H^T.
        joint: Turns H^T into vectors of the joint space.
        texts: Changes those.
        pictures: Turns what there is of pictures into vectors of the joint space.
    """

    def __init__(self, context: ContextModel, joint: JointTexts, texts: nn.Module, pictures: nn.Module):
        super().__init__()
        self.logit_scale = nn.Parameter(torch.tensor(FIRST_SCALE))
        self.context, self.joint, self.texts, self.pictures = context, joint, texts, pictures

    def forward(self, contexts: Tensor, pictures: Tensor) -> Tensor:
        """Scaled cosines of every conversation and picture, shape (B, S).

        Args:
            contexts: What the context model turns into H^T, shape (B, ...).
            pictures: Joint vectors (S, c), or token vectors that enter the layers that learn, (S, P + 1, w).
        """
        return self.scale() * self.match(self.context(contexts), self.pictures(pictures))

    def match(self, text_features: Tensor, picture_vectors: Tensor) -> Tensor:
        """Cosines, shape (B, S), of H^T, shape (B, e), and vectors of the joint space, shape (S, c)."""
        texts = self.texts(self.joint(text_features))
        return functional.normalize(texts, dim=1) @ functional.normalize(picture_vectors, dim=1).T

    def scale(self) -> Tensor:
        """The scale, 1 to 100. A logarithm past a bound is set back to it, where a gradient can move it again."""
        with torch.no_grad():
            self.logit_scale.clamp_(0, LARGEST_SCALE)
        return self.logit_scale.exp()


class CLIPSystem(TrainedSystem):
    """CLIP with adapters, or with `tuned_layers`, behind the interface of every system (`models.system.Trained`).

    Raises:
        IntraError: If text and pictures of the profile have no common space, or the towers not so many layers.
    """

    score_function = "cosine in the joint space"

    def __init__(self, config: RunConfig, features: Features):
        """Build the model with weights drawn from the config's seed."""
        joint = joint_texts(config, features)
        with seeded(config.seed):
            if config.tuned_layers:
                pictures = Components(config.profile).vision.last_layers(config.tuned_layers)
                model = CLIP(context_model(config, features), joint, nn.Identity(), pictures)
            else:
                joint_width = features.train.gallery.joint_features.shape[1]
                adapters = [Adapter(joint_width, config.width) for _ in range(2)]
                model = CLIP(FrozenContext(), joint, *adapters)
        super().__init__(config, model)

    def fit(self, train: Partition, valid: Partition) -> Fit:
        """Minimise the contrast of a batch, texts against pictures and pictures against texts."""
        pictures, sent = self._pictures(train.gallery), torch.from_numpy(train.queries.stickers)

        def losses(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
            rows = batch["queries"]
            contexts = self.model.context.take(train.queries, rows)
            logits = model(*self.moved(contexts, pictures[sent[rows]]))
            return {"contrast": contrastive_loss(logits, *self.moved(*targets(train, rows, self.config.supervision)))}

        tuned = (
            [*self.model.context.parameters(), *self.model.pictures.parameters()] if self.config.tuned_layers else ()
        )
        return fit(self.model, losses, self.score, train, valid, self.config, tuned)

    @torch.inference_mode()
    def score(self, queries: Queries, gallery: Gallery) -> np.ndarray:
        """Cosines, shape (Q, G), float32."""
        batches = self._pictures(gallery).split(self.config.batch_size)
        vectors = torch.cat([self.model.pictures(*self.moved(batch)) for batch in batches])
        return self.model.match(self.text_features(queries), vectors).cpu().numpy()

    def _pictures(self, gallery: Gallery) -> Tensor:
        """What the model's `pictures` reads of all stickers, shape (G, ...), on the CPU."""
        return torch.from_numpy(gallery.states if self.config.tuned_layers else gallery.joint_features)


class ZeroShotCLIP:
    """The towers as they were pretrained, by the cosine of their vectors. It has seen no sticker of the data.

    Raises:
        IntraError: If text and pictures of the profile have no common space.
    """

    score_function = "cosine in the joint space"

    def __init__(self, config: RunConfig, features: Features):
        self.model = CLIP(FrozenContext(), joint_texts(config, features), nn.Identity(), nn.Identity())

    def fit(self, train: Partition, valid: Partition) -> None:
        """Nothing to learn."""

    @torch.inference_mode()
    def score(self, queries: Queries, gallery: Gallery) -> np.ndarray:
        """Cosines, shape (Q, G), float32."""
        arrays = (queries.text_features, gallery.joint_features)
        return self.model.match(*map(torch.from_numpy, arrays)).numpy()


def joint_texts(config: RunConfig, features: Features) -> JointTexts:
    """The way from H^T into the joint space of the profile's towers.

    Raises:
        IntraError: If H^T was not encoded as a sequence, or is of another width than the joint space.
    """
    if features.context_scale is None:
        raise IntraError(f"context_encoding is {config.context_encoding!r}, expected 'sequence' with CLIP")
    texts, pictures = features.label_features.shape[1], features.train.gallery.joint_features.shape[1]
    if texts != pictures:
        raise IntraError(
            f"profile {config.profile!r}: text vectors have width {texts}, its joint space of pictures {pictures};"
            " CLIP needs a profile whose two encoders share a space, such as 'mini' or 'clip'"
        )
    return JointTexts(features.context_scale, Components(config.profile).vision.centred_texts)


def targets(train: Partition, rows: Tensor, supervision: str) -> tuple[Tensor, Tensor]:
    """What is to match in a batch of conversations and the stickers that they were answered with.

    Args:
        train: Holds the labels.
        rows: Numbers of the conversations, shape (B,).
        supervision: With `sticker` each matches its own place alone, with `intention` all of one intention.

    Returns:
        Which pairs match, and which do not count, namely other places of the same sticker; shape (B, B), bool.
    """
    same = positives(train, rows, "sticker")
    own = torch.eye(len(rows), dtype=torch.bool)
    matching = own if supervision == "sticker" else positives(train, rows, supervision)
    return matching, same & ~matching


def contrastive_loss(logits: Tensor, matching: Tensor, excluded: Tensor) -> Tensor:
    r"""Symmetric InfoNCE: the mean of a cross-entropy along rows and one along columns.

    -\frac{1}{B} \sum_i \frac{1}{|P(i)|} \sum_{j \in P(i)} \log \frac{e^{z_{ij}}}{\sum_{k \notin E(i)} e^{z_{ik}}}

    Args:
        logits: z, shape (B, B).
        matching: P, at least one in each row and column, shape (B, B), bool.
        excluded: E, none of them in P, shape (B, B), bool.

    Returns:
        Scalar.
    """
    logits = logits.masked_fill(excluded, -torch.inf)
    return (_cross_entropy(logits, matching) + _cross_entropy(logits.T, matching.T)) / 2


def _cross_entropy(logits: Tensor, matching: Tensor) -> Tensor:
    """Against a distribution that is uniform over what matches."""
    terms = logits.log_softmax(dim=1).where(matching, 0)
    return -(terms.sum(dim=1) / matching.sum(dim=1)).mean()
