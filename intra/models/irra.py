r"""IRRA: the similarities of a batch are to be distributed as its labels are (Jiang and Ye, CVPR 2023).

One global vector a conversation and one a sticker are compared by their cosine. In training only, words hidden from
the text are read off the picture by a cross-modal encoder, and one classifier tells identities from either vector. All
three losses learn the projections that make the global vectors.

Departures. The trunks are frozen: words were hidden from them beforehand, in a few variants, and what learns starts
with one linear layer a modality. Utterances were encoded one by one, so their turns are learned here, and learned
weights pool the words, for no last token has seen them all.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from intra.config import RunConfig
from intra.errors import IntraError
from intra.features import Features, Gallery, Partition, Queries
from intra.models.trained import TrainedSystem, classes, positives, seeded
from intra.training import Batch, Fit, fit

TEMPERATURE = 0.02
"""tau of the distribution of similarities; fixed. This and what follows: IRRA's released code."""
EPSILON = 1e-8
"""Keeps the logarithm of a label that is zero finite."""
SAME_INTENTION = 0.3
"""Label of a sticker that was not sent but has the intention; in the released code an option for one person's other
pictures."""
LAYERS = 2
"""Transformer layers of the cross-modal encoder; the release has 4."""
READ = 8
"""Conversations of a batch, in random order, whose hidden words are asked for. The release asks all of them: the mean
is the same, and the cross-modal encoder would take nine tenths of the time."""


class Words(NamedTuple):
    """The words of B conversations in one row each, without the padding between utterances; L is the longest row."""

    vectors: Tensor
    """Shape (B, L, e), float32."""
    present: Tensor
    """Where there is a word, shape (B, L), bool."""
    turns: Tensor
    """Utterances that came after the word's own, shape (B, L), int64; 0 where there is no word."""


class Layout:
    """Where the words of some queries are.

    Args:
        queries: Of a split.
        rows: Numbers of B of them, int64.
    """

    def __init__(self, queries: Queries, rows: Tensor):
        there = torch.from_numpy(queries.words)[rows] > 0
        flat = there.flatten(1)
        order = flat.byte().argsort(dim=1, descending=True, stable=True)[:, : int(flat.sum(dim=1).max())]
        newest = there.any(dim=2).sum(dim=1, keepdim=True) - 1
        self.at = rows[:, None], order
        self.present = flat.gather(1, order)
        self.turns = (newest - order // there.shape[2]).clamp(min=0)

    def take(self, array: np.ndarray) -> Tensor:
        """What an array (Q, U, W, ...) holds of the words, shape (B, L, ...)."""
        return torch.from_numpy(array).flatten(1, 2)[self.at]

    def words(self, parts: np.ndarray) -> Words:
        """The words with their vectors in an array (Q, U, W, e)."""
        return Words(self.take(parts).float(), self.present, self.turns)


class IRRA(nn.Module):
    """Global vectors of conversations and stickers, and the two heads that only training needs.

    Args:
        text_width: e, width of word vectors.
        image_width: w, width of the class token and the regions.
        words: V, how many words can be asked for.
        identities: I, how many identities the classifier tells apart.
        config: Common width d, attention heads, and most utterances.
    """

    def __init__(self, text_width: int, image_width: int, words: int, identities: int, config: RunConfig):
        super().__init__()
        self.text = nn.Linear(text_width, config.width)
        self.turn = nn.Embedding(config.window, config.width)
        self.weight = nn.Linear(config.width, 1, bias=False)
        self.image = nn.Linear(image_width, config.width)
        self.identity = nn.Linear(config.width, identities)
        self.cross = CrossEncoder(config.width, config.heads, words)
        nn.init.normal_(self.turn.weight, std=0.01)
        nn.init.zeros_(self.weight.weight)  # the mean of the words
        nn.init.normal_(self.identity.weight, std=0.001)
        nn.init.zeros_(self.identity.bias)

    def forward(
        self, words: Words, classes: Tensor, masked: Words, places: Tensor, regions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """What the losses read.

        Args:
            words: Of B conversations.
            classes: Class tokens of the stickers that were sent, shape (B, w).
            masked: Words of the first N of these conversations, some of them hidden.
            places: Which, shape (N, L), bool; M in all.
            regions: Of the first N stickers, shape (N, P, w).

        Returns:
            Global vectors of conversations and stickers, shape (B, d); their identity logits, shape (B, I); logits of
            the hidden words, shape (M, V).
        """
        texts, stickers = self.conversation(words), self.image(classes)
        tokens = torch.cat([stickers[: len(regions), None], self.image(regions)], dim=1)
        hidden = self.cross(self.projected(masked), masked.present, tokens, places)
        return texts, stickers, self.identity(texts), self.identity(stickers), hidden

    def projected(self, words: Words) -> Tensor:
        """Words in the common space, which tell their turn, shape (B, L, d)."""
        return self.text(words.vectors) + self.turn(words.turns)

    def conversation(self, words: Words) -> Tensor:
        r"""\sum_l a_l x_l of projected words x, with a = softmax_l(w \cdot x_l), shape (B, d)."""
        projected = self.projected(words)
        shares = self.weight(projected).masked_fill(~words.present[..., None], -torch.inf).softmax(dim=1)
        return (shares * projected).sum(dim=1)


class CrossEncoder(nn.Module):
    """Tells hidden words: text attends to the picture, then to itself.

    Args:
        width: d.
        heads: Attention heads.
        words: V, how many words can be asked for.
    """

    def __init__(self, width: int, heads: int, words: int):
        super().__init__()
        self.text_norm, self.image_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width), nn.Linear(width, words))

    def forward(self, texts: Tensor, present: Tensor, images: Tensor, places: Tensor) -> Tensor:
        """Logits of the words at some places, shape (M, V).

        Args:
            texts: Projected words, shape (B, L, d).
            present: Where there is a word, shape (B, L), bool.
            images: Projected class token and regions, shape (B, 1 + P, d).
            places: Shape (B, L), bool; M in all.
        """
        shown = self.image_norm(images)
        # nothing is added to what attention gives, as released: words only choose what they see of the picture
        seen, _ = self.attention(self.text_norm(texts), shown, shown, need_weights=False)
        return self.head(self.layers(seen, src_key_padding_mask=~present)[places])


class IRRASystem(TrainedSystem):
    """IRRA behind the interface of every system (`models.system.Trained`)."""

    score_function = "cosine of global vectors"

    def __init__(self, config: RunConfig, features: Features):
        """Build the model with weights drawn from the config's seed.

        Raises:
            IntraError: If no words were hidden from the text encoder.
        """
        queries, gallery = features.train.queries, features.train.gallery
        if queries.masked is None:
            raise IntraError("no words are hidden in training: irra needs context_encoding 'masked words'")
        _, identities = classes(features.train, config.supervision)
        widths = queries.parts.shape[-1], gallery.class_features.shape[1]
        with seeded(config.seed):
            super().__init__(config, IRRA(*widths, len(vocabulary(queries)), identities, config))

    def fit(self, train: Partition, valid: Partition) -> Fit:
        """Minimise L_SDM + L_ID + L_MLM; every step draws one of the variants with hidden words."""
        queries, supervision = train.queries, self.config.supervision
        class_features, regions = (
            torch.from_numpy(array) for array in (train.gallery.class_features, train.gallery.region_features)
        )
        sent, (identities, _) = torch.from_numpy(queries.stickers), classes(train, supervision)
        known, variants = vocabulary(queries), torch.Generator().manual_seed(self.config.seed)

        def losses(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
            rows = batch["queries"]
            variant = int(torch.randint(len(queries.masked), (), generator=variants))
            asked = Layout(queries, rows[:READ])
            places = asked.take(queries.masked_places[variant])
            words = Words(*self.moved(*Layout(queries, rows).words(queries.parts)))
            masked = Words(*self.moved(*asked.words(queries.masked[variant])))
            shown = self.moved(class_features[sent[rows]], places, regions[sent[rows[:READ]]])
            texts, stickers, text_logits, sticker_logits, word_logits = model(words, shown[0], masked, *shown[1:])
            labels, own, hidden = self.moved(
                match_labels(train, rows, supervision),
                identities[rows],
                torch.searchsorted(known, asked.take(queries.words)[places]),
            )
            by_text, by_sticker = (functional.cross_entropy(logits, own) for logits in (text_logits, sticker_logits))
            return {
                "similarity": sdm_loss(texts, stickers, labels),
                "identity": (by_text + by_sticker) / 2,
                "words": word_loss(word_logits, hidden),
            }

        return fit(self.model, losses, self.score, train, valid, self.config)

    @torch.inference_mode()
    def score(self, queries: Queries, gallery: Gallery) -> np.ndarray:
        """Cosines of conversations and stickers, shape (Q, G), float32."""
        texts = []
        for rows in torch.arange(len(queries.ids)).split(self.config.batch_size):
            words = Layout(queries, rows).words(queries.parts)
            texts.append(self.model.conversation(Words(*self.moved(*words))))
        stickers = self.model.image(*self.moved(torch.from_numpy(gallery.class_features)))
        return cosines(torch.cat(texts), stickers).cpu().numpy()


def vocabulary(queries: Queries) -> Tensor:
    """Rising numbers of the words that occur, shape (V,), int32: others have no examples to learn from."""
    words = torch.from_numpy(queries.words)
    return words[words > 0].unique()


def match_labels(train: Partition, rows: Tensor, supervision: str) -> Tensor:
    """How well conversations and stickers of a batch match, shape (B, B), float32: the same sticker 1, others 0.

    Under the supervision `intention`, other stickers with the same intention 0.3.
    """
    labels = positives(train, rows, "sticker").float()
    if supervision == "intention":
        labels = labels.maximum(SAME_INTENTION * positives(train, rows, "intention"))
    return labels


def cosines(texts: Tensor, images: Tensor) -> Tensor:
    """Cosine of each text vector, shape (B, d), and each image vector, shape (S, d): shape (B, S)."""
    return functional.normalize(texts, dim=1) @ functional.normalize(images, dim=1).T


def sdm_loss(texts: Tensor, images: Tensor, labels: Tensor) -> Tensor:
    r"""Similarity distribution matching: KL(p || q) from texts to images plus the same from images to texts.

    \frac{1}{B} \sum_{ij} p_{ij} \log \frac{p_{ij}}{q_{ij} + \epsilon} with p_{ij} = softmax_j(\cos_{ij} / \tau) and
    q_{ij} = y_{ij} / \sum_k y_{ik}. The release divides soft labels by the sums of the wrong axis.

    Args:
        texts: Shape (B, d).
        images: Shape (B, d).
        labels: y, shape (B, B), at least 0, none of a row or column all 0.

    Returns:
        Scalar.
    """
    scores = cosines(texts, images) / TEMPERATURE
    return _divergence(scores, labels) + _divergence(scores.T, labels.T)


def _divergence(scores: Tensor, labels: Tensor) -> Tensor:
    log_p, q = scores.log_softmax(dim=1), labels / labels.sum(dim=1, keepdim=True)
    return (log_p.exp() * (log_p - (q + EPSILON).log())).sum(dim=1).mean()


def word_loss(logits: Tensor, words: Tensor) -> Tensor:
    """Mean cross-entropy of hidden words (M,) by logits (M, V); 0 where none is hidden."""
    return functional.cross_entropy(logits, words, reduction="sum") / max(len(words), 1)
