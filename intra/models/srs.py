r"""SRS: every utterance meets every sticker's regions (Gao et al., WWW 2020).

Words and regions attend to each other utterance by utterance; a GRU and a Transformer read what comes of it turn by
turn, and a GRU over both gives one number. A classifier of stickers is learned beside that, for a while alone.

Departures. Words and regions come from frozen trunks and one linear layer each. Padded words have no weight and do not
count in means. Negatives are drawn anew from all training stickers, for there are no packs; classes are clusters of
pictures or, with the supervision `intention`, intentions, for there are no emojis. The learning rate is constant.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from intra.config import RunConfig
from intra.errors import IntraError
from intra.features import Features, Gallery, Partition, Queries
from intra.losses import NEGATIVES
from intra.models.trained import TrainedSystem, seeded, word_vectors
from intra.training import Batch, Fit, fit

CANDIDATES = 5
"""Stickers that a training conversation is scored with, its own among them; SRS takes 10."""
MARGIN = 1.0
"""By how much the own sticker is to be ahead. This and what follows are of SRS's released code, unless said."""
SMOOTHING = 0.1
"""Of the labels of the classifiers."""
REGIONS_SHARE = 0.4
"""Weight of the classifier that reads the regions, beside the one that reads the pooled vector."""
DROPOUT = 0.2
"""Of the pooled vector; nowhere else."""
LAYERS, HEADS = 2, 4
"""Of the Transformer over turns."""
CLUSTERS = 25
"""Classes of stickers without labels. Our choice: near the number of intentions."""
WARM_UP = 1
"""Passes over the training split in which only the classifiers learn. Our choice; the release takes 1,000 batches."""
STICKERS_AT_ONCE = 128
"""Scored together with one conversation; bounds the memory, changes nothing."""
FEATURES = 5
"""Vectors that tell how a turn and a sticker match."""
ABSENT = -1e4
"""Logit of a word that is not there: no weight in the softmax, and finite in half precision."""
UNKNOWN = -100
"""Class of a sticker that has none; cross-entropy leaves it out."""


class Layout(NamedTuple):
    """Where the words of B conversations stand in rows of L, utterances from the longest to the shortest.

    One column of utterances is as wide as its longest, so that short ones need little padding. Order is nothing to
    the attention.
    """

    places: Tensor
    """Places of the words among U W, shape (B, L), int64."""
    widths: list[int]
    """Of the U columns of utterances, L in all."""
    turns: Tensor
    """Which place has each utterance in this order, shape (B, U), int64."""

    @classmethod
    def of(cls, present: Tensor) -> "Layout":
        """The layout of words that stand where `present` (B, U, W) is true, at the beginning of each utterance."""
        lengths, order = present.sum(dim=2).sort(dim=1, descending=True, stable=True)
        widths = lengths.amax(dim=0).clamp(min=1).tolist()
        first = order * present.shape[2]
        places = [first[:, [turn]] + torch.arange(width, device=first.device) for turn, width in enumerate(widths)]
        return cls(torch.cat(places, dim=1), widths, order.argsort(dim=1))

    def take(self, array: Tensor) -> Tensor:
        """What an array (B, U, W, ...) holds of the words, shape (B, L, ...)."""
        return array.flatten(1, 2)[torch.arange(len(array), device=array.device)[:, None], self.places]


class PeakWeights(torch.autograd.Function):
    r"""Weights of words and of regions, each the largest of its softmaxes.

    a_w = \max_p softmax_w(A_{pw}) over the words of one utterance, and a_{pu} = \max_w softmax_p(A_{pw}) over its
    words that are there. The gradient is that of these formulas, softmax and maximum in one: autograd would spend most
    of the time on entries that have none from the maximum.
    """

    @staticmethod
    def forward(ctx, logits: Tensor, present: Tensor, widths: list[int]) -> tuple[Tensor, Tensor]:
        """Of A, shape (B, L, C, P), `ABSENT` where `present` (B, L) is false: (B, L, C) and (B, U, C, P)."""
        over_words = torch.cat([utterance.softmax(dim=1) for utterance in logits.split(widths, dim=1)], dim=1)
        over_regions = logits.softmax(dim=3).mul_(present[:, :, None, None])
        words, peak_regions = over_words.max(dim=3)
        peaks = [utterance.max(dim=1) for utterance in over_regions.split(widths, dim=1)]
        starts = itertools.accumulate(widths[:-1], initial=0)
        regions = torch.stack([peak.values for peak in peaks], dim=1)
        peak_words = torch.stack([peak.indices + start for peak, start in zip(peaks, starts, strict=True)], dim=1)
        ctx.save_for_backward(over_words, over_regions, words, peak_regions, regions, peak_words)
        ctx.widths = widths
        return words, regions

    @staticmethod
    def backward(ctx, words_gradient: Tensor, regions_gradient: Tensor) -> tuple[Tensor, None, None]:
        r"""By dS_i / dA_j = S_i (\delta_{ij} - S_j) of a softmax S, from the entries that hold a maximum."""
        over_words, over_regions, words, peak_regions, regions, peak_words = ctx.saved_tensors
        words, regions = words * words_gradient, regions * regions_gradient
        by_word = peak_words.mT.flatten(1, 2), regions.mT.flatten(1, 2)
        gradient = over_regions * -torch.zeros_like(words).scatter_add_(1, *by_word)[..., None]
        utterances = (tensor.split(ctx.widths, dim=1) for tensor in (gradient, over_words, peak_regions, words))
        for own, softmax, peaks, peak_gradient in zip(*utterances, strict=True):
            by_region = torch.zeros_like(regions[:, 0]).scatter_add_(2, peaks.mT, peak_gradient.mT)
            own.addcmul_(softmax, by_region[:, None], value=-1)
        gradient.scatter_add_(3, peak_regions[..., None], words[..., None])
        gradient.scatter_add_(1, peak_words, regions)
        return gradient, None, None


class Turns(nn.Module):
    """One score of the turns of a conversation, each given by how it matches a sticker.

    Args:
        features: Width of what tells that.
        width: h.
    """

    def __init__(self, features: int, width: int):
        super().__init__()
        self.short = nn.GRU(features, width, batch_first=True)
        self.entry = nn.Linear(features, width)
        layer = nn.TransformerEncoderLayer(width, HEADS, 2 * width, dropout=0.0, batch_first=True)
        self.long = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.bilinear = nn.Linear(width, width, bias=False)
        self.merge = nn.Linear(2 * width, width)
        self.last = nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(width, 1)

    def forward(self, features: Tensor, present: Tensor) -> Tensor:
        """Scores, shape (N,), of turns (N, U, features), of which there are those `present` (N, U), the first ones."""
        short, _ = self.short(features)
        long = self.long(self.entry(features), src_key_padding_mask=~present)
        recalled = self.recall(short, long, present)
        merged = torch.relu(self.merge(torch.cat([recalled * long, recalled - long], dim=2)))
        states, _ = self.last(merged)
        return self.out(states[torch.arange(len(states)), present.sum(dim=1) - 1])[:, 0]

    def recall(self, short: Tensor, long: Tensor, present: Tensor) -> Tensor:
        """R = softmax(T (S W)^T) S over the turns that there are; short S and long T, shape (N, U, h)."""
        mask = present[:, None]
        return functional.scaled_dot_product_attention(long, self.bilinear(short), short, mask, scale=1.0)


class SRS(nn.Module):
    """Scores of conversations and stickers, and the classifiers that only training needs.

    Args:
        text_width: e, width of word vectors.
        region_width: w, width of the region features.
        pooled_width: c, width of a sticker's pooled vector.
        labels: K, how many classes of stickers there are.
        width: h, a multiple of `HEADS`; words and regions have 2 h.

    Raises:
        IntraError: If it is not.
    """

    def __init__(self, text_width: int, region_width: int, pooled_width: int, labels: int, width: int):
        super().__init__()
        if width % HEADS:
            raise IntraError(f"width is {4 * width}, expected a multiple of {4 * HEADS} with the system srs")
        self.words = nn.Linear(text_width, 2 * width)
        self.regions = nn.Linear(region_width, 2 * width, bias=False)
        self.pooled = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(pooled_width, 2 * width, bias=False))
        self.turns = Turns(FEATURES * 2 * width, width)
        self.label = nn.Linear(2 * width, labels)
        self.regions_label = nn.Linear(2 * width, labels)

    def forward(self, words: Tensor, present: Tensor, regions: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the losses read.

        Args:
            words: Word vectors, shape (B, U, W, e).
            present: Where there is a word, shape (B, U, W), bool.
            regions: Of C stickers a conversation, shape (B, C, P, w).
            pooled: Their pooled vectors, shape (B, C, c).

        Returns:
            Scores, shape (B, C), and logits of the stickers' classes by pooled vectors and by regions, (B, C, K).
        """
        vectors = self.pooled(pooled)
        seen = self.regions(regions.mean(dim=2))
        return self.match(words, present, regions, vectors), self.label(vectors), self.regions_label(seen)

    def match(self, words: Tensor, present: Tensor, regions: Tensor, vectors: Tensor) -> Tensor:
        """Scores as of `forward`, with the pooled vectors already projected, shape (B, C, 2 h)."""
        features = self.interact(words, present, regions, vectors)
        turns = present.any(dim=2)[:, None].expand(features.shape[:3])
        return self.turns(features.flatten(0, 1), turns.flatten(0, 1)).view(features.shape[:2])

    def interact(self, words: Tensor, present: Tensor, regions: Tensor, vectors: Tensor) -> Tensor:
        r"""[c_u + g; c_u \odot g; c_u; g; x_u] of utterance u and sticker g, shape (B, C, U, 10 h).

        c_u = mean_w(a_w e_w) and x_u = mean_p(a_p x_p), with `PeakWeights` of A = x e^T / \sqrt{2 h}. The regions'
        linear layer is applied to words and means, which are fewer than regions: A = r (e V)^T for x = r V^T.
        """
        layout = Layout.of(present)
        present = layout.take(present)
        words = self.words(layout.take(words)) * present[..., None]
        keys = words @ self.regions.weight
        mask = torch.zeros_like(present, dtype=words.dtype).masked_fill(~present, ABSENT)[..., None]
        logits = torch.baddbmm(mask, keys, regions.flatten(1, 2).mT, alpha=1 / math.sqrt(words.shape[2]))
        logits = logits.unflatten(2, regions.shape[1:3])
        word_weights, region_weights = PeakWeights.apply(logits, present, layout.widths)
        utterances = (tensor.split(layout.widths, dim=1) for tensor in (word_weights, words, present))
        contexts = [
            weights.mT @ own / there.sum(dim=1).clamp(min=1)[:, None, None]
            for weights, own, there in zip(*utterances, strict=True)
        ]
        contexts = torch.stack(contexts, dim=2)
        seen = self.regions(region_weights.transpose(1, 2) @ regions) / regions.shape[2]
        vectors = vectors[:, :, None].expand_as(contexts)
        features = torch.cat([contexts + vectors, contexts * vectors, contexts, vectors, seen], dim=3)
        return features.gather(2, layout.turns[:, None, :, None].expand_as(features))


class SRSSystem(TrainedSystem):
    """SRS behind the interface of every system (`models.system.Trained`)."""

    score_function = "recurrent network over utterances matched with regions"

    def __init__(self, config: RunConfig, features: Features):
        """Build the model with weights drawn from the config's seed.

        Raises:
            IntraError: If there are no word vectors, or the width does not fit the heads.
        """
        queries, gallery = features.train.queries, features.train.gallery
        if queries.words is None:
            raise IntraError("conversations have no word vectors: srs needs context_encoding 'words'")
        widths = [array.shape[-1] for array in (queries.parts, gallery.region_features, gallery.joint_features)]
        labels = {"sticker": min(CLUSTERS, len(gallery.ids)), "intention": gallery.intentions.shape[1]}
        with seeded(config.seed):
            super().__init__(config, SRS(*widths, labels[config.supervision], config.width // 4))

    def fit(self, train: Partition, valid: Partition) -> Fit:
        """Minimise the ranking loss of `CANDIDATES` stickers and the loss of their classes, first the latter alone.

        Raises:
            IntraError: If a training conversation has no negative.
        """
        own, wrong = torch.from_numpy(train.queries.stickers), negatives(train, self.config.supervision)
        count, drawn = min(CANDIDATES - 1, int(wrong.sum(dim=1).min())), torch.Generator().manual_seed(self.config.seed)
        regions, pooled = (
            torch.from_numpy(array) for array in (train.gallery.region_features, train.gallery.joint_features)
        )
        labels = sticker_labels(train, self.config.supervision, self.config.seed)
        first, steps = WARM_UP * math.ceil(len(own) / self.config.batch_size), itertools.count()

        def losses(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
            rows = batch["queries"]
            others = torch.multinomial(wrong[rows].float(), count, generator=drawn)
            columns = torch.cat([own[rows, None], others], dim=1)
            words, present = word_vectors(train.queries, rows)
            read = self.moved(words, present, regions[columns], pooled[columns], labels[columns])
            scores, by_pooled, by_regions = model(*read[:4])
            is_trained = float(next(steps) >= first)  # a factor: every parameter has a gradient in every step
            return {
                "ranking": is_trained * ranking_loss(scores),
                "class": class_loss(by_pooled, read[4]),
                "class of regions": REGIONS_SHARE * class_loss(by_regions, read[4]),
            }

        return fit(self.model, losses, self.score, train, valid, self.config)

    @torch.inference_mode()
    def score(self, queries: Queries, gallery: Gallery) -> np.ndarray:
        """Scores of conversations, one after the other, and stickers, shape (Q, G), float32."""
        tensors = self.moved(torch.from_numpy(gallery.region_features), torch.from_numpy(gallery.joint_features))
        regions, vectors = tensors[0], self.model.pooled(tensors[1])
        stickers = [
            (some[None], own[None])
            for some, own in zip(regions.split(STICKERS_AT_ONCE), vectors.split(STICKERS_AT_ONCE), strict=True)
        ]
        scores = []
        for row in torch.arange(len(queries.ids)).split(1):
            said = self.moved(*word_vectors(queries, row))
            scores.append(torch.cat([self.model.match(*said, *some) for some in stickers], dim=1))
        return torch.cat(scores).cpu().numpy()


def negatives(train: Partition, supervision: str) -> Tensor:
    """Stickers that may stand beside a training conversation's own, shape (Q, G), bool.

    All others or, under the supervision `intention`, those without the conversation's intention.

    Raises:
        IntraError: If there are none for some conversation.
    """
    chosen = NEGATIVES[{"sticker": "all", "intention": "other"}[supervision]]
    wrong = chosen(torch.from_numpy(train.relevant), torch.from_numpy(train.queries.stickers))
    if not wrong.any(dim=1).all():
        query = train.queries.ids[int(wrong.any(dim=1).int().argmin())]
        raise IntraError(f"{query}: no training sticker is wrong for it: supervision {supervision!r} needs one")
    return wrong


def sticker_labels(train: Partition, supervision: str, seed: int) -> Tensor:
    """Classes of the training stickers, shape (G,), int64.

    Clusters of their pooled vectors (k-means) or, under the supervision `intention`, what most training conversations
    say with them, `UNKNOWN` if none does.
    """
    if supervision == "intention":
        counts = np.zeros(train.gallery.intentions.shape, np.int64)
        np.add.at(counts, (train.queries.stickers, train.queries.intentions), 1)
        return torch.from_numpy(np.where(counts.any(axis=1), counts.argmax(axis=1), UNKNOWN))
    from sklearn.cluster import KMeans

    vectors = train.gallery.joint_features
    clusters = KMeans(min(CLUSTERS, len(vectors)), random_state=seed).fit_predict(vectors)
    return torch.from_numpy(clusters.astype(np.int64))


def ranking_loss(scores: Tensor) -> Tensor:
    r"""Mean of \max(0, 1 - s_{own} + s_{other}) over conversations and their other candidates.

    Args:
        scores: Shape (B, C), the own sticker's first.

    Returns:
        Scalar.
    """
    return torch.relu(MARGIN - scores[:, :1] + scores[:, 1:]).mean()


def class_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with smoothed labels (B, C) of logits (B, C, K); stickers of the class `UNKNOWN` do not count."""
    return functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=UNKNOWN, label_smoothing=SMOOTHING
    )
