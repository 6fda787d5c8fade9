r"""LGUR: words and picture regions are rewritten by one learned dictionary, then summed up by the same few queries.

Z. Shao, X. Zhang, M. Fang, Z. Lin, J. Wang and C. Ding, "Learning Granularity-Unified Representations for Text-to-Image
Person Re-identification", ACM Multimedia, 2022. Departures: the picture trunk is frozen too; a linear layer stands for
the recurrent one over words, whose vectors have seen their utterance already; layers, heads and dictionary are smaller;
one learning rate for all; an identity is a sticker or, with the supervision `intention`, what it was sent for.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from intra.config import RunConfig
from intra.errors import IntraError
from intra.features import Features, Gallery, Partition, Queries
from intra.models.trained import TrainedSystem, classes, seeded, word_vectors
from intra.training import Batch, Fit, fit

PARTS = 6
"""K, vectors of a conversation or a sticker, as in the article."""
HEADS = 4
"""Of every attention; the article has 6."""
DICTIONARY = 100
"""N, vectors of the dictionary; the article has 400."""
UNIFYING_BLOCKS = 2
"""As in the article."""
MARGIN = 0.3
"""Of the ranking loss, as in the article."""
CLASSIFIER_DEVIATION = 1e-3
"""Of the first weights that tell identities, as in the article."""
GUIDED, STICKER, WORDS, TEXT = range(4)
"""The branches: regions rewritten by the words or by the dictionary; words as they are or rewritten by it."""
RANKED = ((GUIDED, WORDS), (STICKER, TEXT), (WORDS, TEXT), (GUIDED, STICKER))
"""Pairs of branches that the ranking loss compares; the first two are of a picture and a text."""


class CrossBlock(nn.Module):
    r"""X(q, c) = z + W_2 relu(W_1 norm'(z)) where z = q + W_O attention(norm(q), norm(c)).

    Args:
        width: d, also between W_1 and W_2.
    """

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.query, self.key, self.value, self.output = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )

    def forward(self, targets: Tensor, sources: Tensor, present: Tensor | None = None) -> Tensor:
        """X(q, c), shape (B, T, d).

        Args:
            targets: q, shape (B, T, d).
            sources: c, shape (B, S, d).
            present: Which of them there are, shape (B, S), bool; all by default.
        """
        attended = targets + self.output(self.attention(self.norm(targets), self.norm(sources), present))
        return attended + self.feed_forward(attended)

    def attention(self, targets: Tensor, sources: Tensor, present: Tensor | None) -> Tensor:
        """What the heads read, side by side, shape (B, T, d)."""
        queries = _heads(self.query(targets)) / (targets.shape[2] // HEADS) ** 0.5
        present = None if present is None else present[:, None, None]
        if targets.shape[1] < queries.shape[3]:
            # few targets take the matrices of keys and values, for speed alone
            key, value = (layer.weight.unflatten(0, (HEADS, -1)) for layer in (self.key, self.value))
            probes = torch.einsum("bhtk,hkd->bhtd", queries, key)
            weights = _weights(torch.einsum("bhtd,bsd->bhts", probes, sources), present)
            heads = torch.einsum("bhtd,hkd->bhtk", torch.einsum("bhts,bsd->bhtd", weights, sources), value)
        else:
            weights = _weights(queries @ _heads(self.key(sources)).mT, present)
            heads = weights @ _heads(self.value(sources))
        return heads.transpose(1, 2).flatten(2)


def _weights(logits: Tensor, present: Tensor | None) -> Tensor:
    """Softmax over the sources that there are, 0 for others: logits (B, ..., S), `present` (B, ..., S)."""
    if present is None:
        return logits.softmax(dim=-1)
    return logits.masked_fill(~present, torch.finfo(logits.dtype).min).softmax(dim=-1) * present


def _heads(vectors: Tensor) -> Tensor:
    """Shape (B, T, d) to (B, h, T, d / h)."""
    return vectors.unflatten(2, (HEADS, -1)).transpose(1, 2)


class LGUR(nn.Module):
    """K vectors a conversation and a sticker, from words and from regions.

    Args:
        text_width: e, width of the word vectors.
        region_width: w, width of the region features.
        identities: How many there are to be told apart.
        width: d, of words and regions in common, and of the K vectors.

    Raises:
        IntraError: If the width is no multiple of the heads.
    """

    def __init__(self, text_width: int, region_width: int, identities: int, width: int):
        super().__init__()
        if width % HEADS:
            raise IntraError(f"width is {2 * width}, expected a multiple of {2 * HEADS} for the system lgur")
        self.word = nn.Linear(text_width, width)
        self.region = nn.Linear(region_width, width)
        self.dictionary = nn.Parameter(torch.randn(DICTIONARY, width))
        self.align = CrossBlock(width)
        self.gate = nn.Linear(width, 1)
        self.prototypes = nn.Parameter(torch.randn(PARTS, width))
        self.unify = nn.ModuleList(CrossBlock(width) for _ in range(UNIFYING_BLOCKS))
        self.part = nn.Parameter(torch.randn(PARTS, width, width) / width**0.5)
        self.classifier = nn.Parameter(CLASSIFIER_DEVIATION * torch.randn(PARTS, width, identities))
        self.bias = nn.Parameter(torch.zeros(PARTS, identities))

    def forward(self, vectors: Tensor, present: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
        """The four branches of conversations and their own stickers, in the order `GUIDED`, `STICKER`, `WORDS`, `TEXT`.

        Args:
            vectors: Of words, shape (B, L, e).
            present: Where there is a word, shape (B, L), bool.
            regions: Shape (B, P, w).

        Returns:
            Part vectors, shape (4, B, K, d), and the logits of identities, shape (4, B, K, number of them).
        """
        words, regions = self.word(vectors), self.region(regions)
        branches = torch.stack(
            [
                self.unified(self.gated(self.align(regions, words, present))),
                self.unified(self.gated(self.aligned(regions))),
                self.unified(words, present),
                self.unified(self.aligned(words), present),
            ]
        )
        return branches, torch.einsum("nbkd,kdc->nbkc", branches, self.classifier) + self.bias

    def text(self, vectors: Tensor, present: Tensor) -> Tensor:
        """The branch `TEXT` alone, shape (B, K, d); arguments as of `forward`."""
        return self.unified(self.aligned(self.word(vectors)), present)

    def sticker(self, regions: Tensor) -> Tensor:
        """The branch `STICKER` alone, shape (G, K, d), of regions (G, P, w)."""
        return self.unified(self.gated(self.aligned(self.region(regions))))

    def aligned(self, tokens: Tensor) -> Tensor:
        """Words or regions, shape (B, T, d), with what they read from the dictionary."""
        return self.align(tokens.flatten(0, 1)[None], self.dictionary[None]).view_as(tokens)

    def gated(self, regions: Tensor) -> Tensor:
        """Regions times a number between 0 and 1. As published; the norm that comes next all but cancels it."""
        return self.gate(regions).sigmoid() * regions

    def unified(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        """The K vectors, shape (B, K, d), that the prototypes read from tokens (B, T, d)."""
        parts = self.prototypes.expand(len(tokens), -1, -1)
        for block in self.unify:
            parts = block(parts, tokens, present)
        return torch.einsum("bkd,kdp->bkp", parts, self.part)


class LGURSystem(TrainedSystem):
    """LGUR behind the interface of every system (`models.system.Trained`)."""

    score_function = "cosine of joined part vectors"

    def __init__(self, config: RunConfig, features: Features):
        """Build the model with weights drawn from the config's seed."""
        text_width = features.train.queries.parts.shape[3]
        region_width = features.train.gallery.region_features.shape[2]
        _, identities = classes(features.train, config.supervision)
        with seeded(config.seed):
            super().__init__(config, LGUR(text_width, region_width, identities, config.width // 2))

    def fit(self, train: Partition, valid: Partition) -> Fit:
        """Minimise the two identity losses and the four ranking losses, all with weight 1."""
        identities, _ = classes(train, self.config.supervision)
        sent, regions = torch.from_numpy(train.queries.stickers), torch.from_numpy(train.gallery.region_features)

        def losses(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
            rows = batch["queries"]
            words = one_row(*word_vectors(train.queries, rows))
            *inputs, labels = self.moved(*words, regions[sent[rows]], identities[rows])
            branches, logits = model(*inputs)
            units = joined(branches)
            pairs = [ranking_loss(units[one] @ units[other].T, labels) for one, other in RANKED]
            return {"identity": identity_loss(logits, labels), "ranking": sum(pairs)}

        return fit(self.model, losses, self.score, train, valid, self.config)

    @torch.inference_mode()
    def score(self, queries: Queries, gallery: Gallery) -> np.ndarray:
        """Cosines of the branches `TEXT` and `STICKER`, shape (Q, G), float32."""
        rows = torch.arange(len(queries.ids)).split(self.config.batch_size)
        texts = [self.model.text(*self.moved(*one_row(*word_vectors(queries, some)))) for some in rows]
        regions = torch.from_numpy(gallery.region_features).split(self.config.batch_size)
        stickers = [self.model.sticker(*self.moved(some)) for some in regions]
        return (joined(torch.cat(texts)) @ joined(torch.cat(stickers)).T).cpu().numpy()


def one_row(vectors: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Words of all utterances of a conversation in one row, the padding behind them.

    Args:
        vectors: Shape (B, U, W, e).
        present: Where there is a word, shape (B, U, W), bool.

    Returns:
        The same for rows of the longest conversation's length: shapes (B, L, e) and (B, L).
    """
    counts = present.sum(dim=(1, 2))
    kept = torch.arange(int(counts.max())) < counts[:, None]
    row = vectors.new_zeros(*kept.shape, vectors.shape[3])
    row[kept] = vectors[present]
    return row, kept


def joined(parts: Tensor) -> Tensor:
    """Part vectors side by side as one unit vector, shape (..., K, d) to (..., K d)."""
    return functional.normalize(parts.flatten(-2), dim=-1)


def identity_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the identities, the mean over batch and parts, summed over the branches.

    Args:
        logits: Shape (4, B, K, C).
        labels: Number of each pair's identity, shape (B,), int64.

    Returns:
        Scalar.
    """
    branches, _, parts, _ = logits.shape
    targets = labels[None, :, None].expand(branches, -1, parts)
    return branches * functional.cross_entropy(logits.flatten(0, 2), targets.flatten())


def ranking_loss(cosines: Tensor, labels: Tensor) -> Tensor:
    r"""\sum_i \max(0, m - s_{ii} + s_{ij}), then the same of columns, with a j drawn for each i.

    Args:
        cosines: s, shape (B, B); pairs belong together on its diagonal.
        labels: Number of each pair's identity, shape (B,), int64.

    Returns:
        Scalar. The sum is as published; a mean would weigh it less beside the identity losses, by the batch size.
    """
    others = labels[:, None] != labels[None]
    terms = [MARGIN - one.diagonal()[:, None] + one for one in (cosines, cosines.T)]
    return sum(one[drawn(semi_hard(one, others))].relu().sum() for one in terms)


def semi_hard(terms: Tensor, others: Tensor) -> Tensor:
    """Negatives within the margin below the positive; if no anchor of the batch has any, the first negative there is.

    Args:
        terms: m - s_ii + s_ij, shape (B, B).
        others: Which have another identity, shape (B, B), bool.

    Returns:
        Shape (B, B), bool.
    """
    chosen = others & (terms > 0) & (terms < MARGIN)
    if not chosen.any():
        anchor, negative = others.nonzero()[:1].T
        chosen[anchor, negative] = True
    return chosen


def drawn(candidates: Tensor) -> Tensor:
    """One random candidate of each row that has any, shape (B, B), bool."""
    draws = torch.rand(candidates.shape).to(candidates.device).masked_fill(~candidates, -1)
    only = functional.one_hot(draws.argmax(dim=1), candidates.shape[1]).bool()
    return only & candidates
