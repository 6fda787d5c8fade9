r"""PCME: conversations and stickers as Gaussians, ranked by the probability that they match (Chun et al., CVPR 2021).

An item is a mean \mu of unit length and a log-deviation \log\sigma for each dimension. Two points z, z' of the space
match with probability sigmoid(2 s), s = b - a ||z - z'||, and two items with the mean of that over samples of both.

Departures. Words and regions come from frozen trunks, so that none are dropped or erased in training. The recurrent
layers read an utterance, not a word, at a time. Deviations start small. The divergence from the unit Gaussian is the
exact one, and the uniformity takes in all samples. Ranking draws once for all items. The learning rate is constant.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence

from intra.config import RunConfig
from intra.errors import IntraError
from intra.features import Features, Gallery, Partition, Queries
from intra.models.trained import TrainedSystem, positives, seeded, word_vectors
from intra.training import Batch, Fit, fit

SAMPLES = 7
"""K, samples an item, in training and in ranking (released settings)."""
EPSILON = 1e-6
"""Added to squared distances, whose root has no slope at 0 (released code)."""
FIRST_LOG_DEVIATION = -4.0
"""Where log-deviations start. Near 0, as released, samples lie far apart in many dimensions and learning is slow."""


@dataclass(frozen=True)
class Setting:
    """What the released settings of the two published data sets differ in."""

    scale: float
    """a, where it starts."""
    shift: float
    """b, where it starts."""
    divergence: float
    """Weight beta of the divergence from the unit Gaussian."""
    uniformity: float
    """Weight lambda of the uniformity of samples."""


SETTINGS = {"sticker": Setting(15, 15, 1e-5, 0), "intention": Setting(5, 5, 1e-3, 10)}
"""Supervision to the setting of COCO, where a picture matches its own captions, or of CUB, where a class matches."""

Gaussians = tuple[Tensor, Tensor]
"""Means and log-deviations, both of shape (B, d)."""


class LocalAttention(nn.Module):
    r"""Mean of an item's local vectors x, weighted by softmax(w_2^T tanh(W_1 x))."""

    def __init__(self, width: int):
        super().__init__()
        hidden = width // 2
        self.logits = nn.Sequential(nn.Linear(width, hidden, bias=False), nn.Tanh(), nn.Linear(hidden, 1, bias=False))

    def forward(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Shape (B, w), of vectors (B, L, w) where present (B, L), bool; zeros where vectors without any are."""
        logits = vectors.new_full(present.shape, torch.finfo(vectors.dtype).min)
        logits[present] = self.logits(vectors[present]).squeeze(1).to(logits.dtype)  # most places may hold nothing
        return (logits.softmax(dim=1)[:, None] @ vectors).squeeze(1)


class LastStates(nn.Module):
    """Last states of a bidirectional recurrent layer over the utterances of a window."""

    def __init__(self, text_width: int, width: int):
        super().__init__()
        self.gru = nn.GRU(text_width, width // 2, bidirectional=True, batch_first=True)

    def forward(self, utterances: Tensor, lengths: Tensor) -> Tensor:
        """Shape (B, d), of utterances (B, U, e), the first of them as many as lengths (B,), on the CPU."""
        packed = pack_padded_sequence(utterances, lengths, batch_first=True, enforce_sorted=False)
        return self.gru(packed)[1].transpose(0, 1).flatten(1)


class GaussianHead(nn.Module):
    r"""Gaussians of the items of one modality.

    \mu = norm(LN(base(item) + sigmoid(W r))) and \log\sigma = base'(item) + W' r', where r and r' are attended local
    vectors; nothing is shared between the two.

    Args:
        local_width: Width of the local vectors.
        width: d.
        base: Makes a module from whole items to vectors (B, d).
    """

    def __init__(self, local_width: int, width: int, base: Callable[[], nn.Module]):
        super().__init__()
        self.mean_base, self.deviation_base = base(), base()
        self.mean_attention, self.deviation_attention = LocalAttention(local_width), LocalAttention(local_width)
        self.mean_local, self.deviation_local = nn.Linear(local_width, width), nn.Linear(local_width, width)
        self.norm = nn.LayerNorm(width)
        nn.init.constant_(self.deviation_local.bias, FIRST_LOG_DEVIATION)

    def forward(self, vectors: Tensor, present: Tensor, *whole: Tensor) -> Gaussians:
        """Of local vectors (B, L, w), where present (B, L), bool, and what the bases read."""
        local = self.mean_local(self.mean_attention(vectors, present)).sigmoid()
        mean = functional.normalize(self.norm(self.mean_base(*whole) + local), dim=1)
        attended = self.deviation_attention(vectors, present)
        return mean, self.deviation_base(*whole) + self.deviation_local(attended)


class PCME(nn.Module):
    """Gaussians of conversations and of stickers, and how they are compared.

    Args:
        text_width: e, width of word vectors.
        vision_width: w, width of patch and class tokens.
        config: Common width d and supervision.

    Raises:
        IntraError: If the width is odd.
    """

    def __init__(self, text_width: int, vision_width: int, config: RunConfig):
        super().__init__()
        if config.width % 2:
            raise IntraError(f"width is {config.width}, expected an even number (system pcme)")
        width, setting = config.width, SETTINGS[config.supervision]
        self.conversation = GaussianHead(text_width, width, lambda: LastStates(text_width, width))
        self.sticker = GaussianHead(vision_width, width, lambda: nn.Linear(vision_width, width))
        self.scale, self.shift = (nn.Parameter(torch.tensor(float(value))) for value in (setting.scale, setting.shift))
        # for ranking: the same of all items of a modality, so that no score depends on what else is ranked
        self.register_buffer("draws", torch.randn(2, SAMPLES, width))

    def forward(
        self, words: Tensor, present: Tensor, regions: Tensor, class_tokens: Tensor
    ) -> tuple[Gaussians, Gaussians]:
        """Gaussians of conversations and of stickers; see `conversations` and `stickers`."""
        return self.conversations(words, present), self.stickers(regions, class_tokens)

    def conversations(self, words: Tensor, present: Tensor) -> Gaussians:
        """Of word vectors (B, U, W, e), zeros where none is present (B, U, W), bool."""
        counts = present.sum(dim=2)
        utterances = words.sum(dim=2) / counts.clamp(min=1)[:, :, None]
        lengths = (counts > 0).sum(dim=1).clamp(min=1).cpu()
        return self.conversation(words.flatten(1, 2), present.flatten(1), utterances, lengths)

    def stickers(self, regions: Tensor, class_tokens: Tensor) -> Gaussians:
        """Of patch tokens (S, P, w) and class tokens (S, w)."""
        everywhere = torch.ones(regions.shape[:2], dtype=torch.bool, device=regions.device)
        return self.sticker(regions, everywhere, class_tokens)

    def closeness(self, spoken: Tensor, shown: Tensor) -> Tensor:
        r"""s_{kl} = b - a \sqrt{||z_k - z'_l||^2 + \epsilon} of samples (B, K, d) and (S, K, d): (B, S, K K)."""
        squared = squared_distances(spoken.flatten(0, 1), shown.flatten(0, 1))
        distances = (squared + EPSILON).sqrt().view(*spoken.shape[:2], *shown.shape[:2])
        return self.shift - self.scale * distances.transpose(1, 2).flatten(2)

    def log_odds(self, spoken: Tensor, shown: Tensor) -> Tensor:
        """Of a match, shape (B, S): they order as its probability does, and do not round to 1 as it would."""
        closeness = self.closeness(spoken, shown)
        return log_probability(closeness, 1.0) - log_probability(closeness, -1.0)

    def match_loss(self, spoken: Tensor, shown: Tensor, matches: Tensor) -> Tensor:
        """Negative log-likelihood of which pairs match, (B, S), bool: a sum over all, in both directions."""
        signs = torch.where(matches, 1.0, -1.0)[:, :, None]
        return -2 * log_probability(self.closeness(spoken, shown), signs).sum()


def samples(gaussians: Gaussians, draws: Tensor) -> Tensor:
    r"""z_k = \mu + \sigma \epsilon_k, shape (B, K, d), of standard normal draws (B, K, d), or (K, d) for all."""
    mean, log_deviation = gaussians
    return mean[:, None] + log_deviation.exp()[:, None] * draws


def squared_distances(left: Tensor, right: Tensor) -> Tensor:
    """||x - y||^2 of rows (N, d) and (M, d), shape (N, M)."""
    lengths = left.square().sum(dim=1)[:, None] + right.square().sum(dim=1)
    return (lengths - 2 * left @ right.T).clamp(min=0)


def log_probability(closeness: Tensor, signs: Tensor | float) -> Tensor:
    r"""\log \frac{1}{K^2} \sum_{kl} \sigma(2 m s_{kl}).

    Args:
        closeness: s, shape (B, S, K K).
        signs: m, shape (B, S, 1): 1 for the probability that a pair matches, -1 that it does not.

    Returns:
        Shape (B, S).
    """
    return functional.logsigmoid(2 * signs * closeness).logsumexp(dim=2) - np.log(closeness.shape[2])


def divergence(gaussians: Gaussians) -> Tensor:
    r"""KL(N(\mu, \sigma^2) || N(0, 1)), a sum over items and dimensions.

    The released code puts \log\sigma where the article's formula has \log\sigma^2; this is the article's.
    """
    mean, log_deviation = gaussians
    return (mean.square() + (2 * log_deviation).exp() - 2 * log_deviation - 1).sum() / 2


def uniformity(points: Tensor) -> Tensor:
    r"""Logarithm of the mean of \exp(-2 ||x - y||^2) over all pairs of N points (N, d); low where they spread."""
    potentials = (-2 * squared_distances(points, points)).exp()
    others = potentials.sum() - potentials.diagonal().sum()  # every pair twice
    return (others / (len(points) * (len(points) - 1))).log()


class PCMESystem(TrainedSystem):
    """PCME behind the interface of every system (`models.system.Trained`)."""

    score_function = "log-odds of a match over 7 x 7 samples"

    def __init__(self, config: RunConfig, features: Features):
        """Build the model with weights and draws from the config's seed."""
        text_width = features.train.queries.parts.shape[3]
        vision_width = features.train.gallery.class_features.shape[1]
        with seeded(config.seed):
            super().__init__(config, PCME(text_width, vision_width, config))

    def fit(self, train: Partition, valid: Partition) -> Fit:
        """Minimise the loss of all pairs of a batch's conversations and their stickers, and its regularisers."""
        own = torch.from_numpy(train.queries.stickers)
        pictures = _pictures(train.gallery)
        setting = SETTINGS[self.config.supervision]

        def losses(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
            rows = batch["queries"]
            shown = (part[own[rows]] for part in pictures)
            both = model(*self.moved(*word_vectors(train.queries, rows), *shown))
            drawn = [samples(gaussians, _draws(gaussians)) for gaussians in both]
            (matches,) = self.moved(positives(train, rows, self.config.supervision))
            named = {
                "match": self.model.match_loss(*drawn, matches),
                "divergence": setting.divergence * sum(divergence(gaussians) for gaussians in both),
            }
            if setting.uniformity:
                named["uniformity"] = setting.uniformity * uniformity(torch.cat(drawn).flatten(0, 1))
            return named

        return fit(self.model, losses, self.score, train, valid, self.config)

    @torch.inference_mode()
    def score(self, queries: Queries, gallery: Gallery) -> np.ndarray:
        """Log-odds of a match, shape (Q, G), float32."""
        model = self.model
        shown = samples(model.stickers(*self.moved(*_pictures(gallery))), model.draws[1])
        scores = []
        for rows in torch.arange(len(queries.ids)).split(self.config.batch_size):
            conversations = model.conversations(*self.moved(*word_vectors(queries, rows)))
            scores.append(model.log_odds(samples(conversations, model.draws[0]), shown))
        return torch.cat(scores).cpu().numpy()


def _pictures(gallery: Gallery) -> tuple[Tensor, Tensor]:
    """Patch and class tokens of a gallery."""
    return torch.from_numpy(gallery.region_features), torch.from_numpy(gallery.class_features)


def _draws(gaussians: Gaussians) -> Tensor:
    """Standard normal draws for each item, shape (B, K, d)."""
    mean, _ = gaussians
    return torch.randn(len(mean), SAMPLES, mean.shape[1], device=mean.device)
