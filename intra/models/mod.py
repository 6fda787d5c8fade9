"""MOD: read a conversation as one causal sequence, and predict the reply, that a sticker goes with it, and which."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from intra.config import RunConfig
from intra.errors import IntraError
from intra.features import Features, Gallery, Partition, Queries
from intra.losses import intention_loss
from intra.models.trained import TrainedSystem, seeded
from intra.training import Batch, Fit, fit
from intra.vectors import Standardiser

LAYERS = 1
"""MOD has the 12 of a pretrained Chinese GPT-2. Untrained, more learn planted data no better, and take longer."""
HEADS = 4
POSITIONS = 512
"""Tokens of a conversation that are read, the newest: about as many as in MOD."""
MARKS = 3
"""[EOS], [BOS] and [TAG] are numbered behind the words, in this order, and speakers 0, 1, ... behind them."""


class MOD(nn.Module):
    r"""A causal decoder with heads for the next word, the flag, the sticker's vector and, where wanted, its intention.

    Words enter as frozen embeddings e_n of the text encoder, projected: t_n = W e_n. The same t_n score the next word
    (tied weights): P(n) = softmax_n(t_n^T h). Marks and speakers have learned t_n.

    Args:
        embeddings: e, row 0 for no word, shape (V, e).
        speakers: How many numbers of writers there are.
        sticker_width: c, width of the joint space.
        width: d, that of the decoder.
        intentions: C, how many the emotion head tells apart; None: there is none.

    Raises:
        IntraError: If the width is no multiple of the decoder's heads.
    """

    def __init__(
        self, embeddings: Tensor, speakers: int, sticker_width: int, width: int, intentions: int | None = None
    ):
        super().__init__()
        if width % HEADS:
            raise IntraError(f"width is {width}, expected a multiple of {HEADS} (system mod)")
        self.register_buffer("embeddings", embeddings, persistent=False)
        self.end, self.tag = len(embeddings), len(embeddings) + MARKS - 1
        self.decoder = _decoder(MARKS + speakers, width)
        self.word_in = nn.Linear(embeddings.shape[1], width, bias=False)
        nn.init.normal_(self.word_in.weight, std=0.02 / embeddings.shape[1] ** 0.5)  # t_n as small as GPT-2's
        self.flag = nn.Linear(width, 2)
        self.sticker = nn.Linear(width, sticker_width)
        self.intention = None if intentions is None else nn.Linear(width, intentions)
        # set by `learn_from`: 0 for what training can ask for, else -inf; what standardises stickers
        self.register_buffer("word_bias", torch.zeros(self.end + 1))
        self.register_buffer("sticker_mean", torch.zeros(sticker_width))
        self.register_buffer("sticker_deviation", torch.ones(sticker_width))

    def learn_from(self, train: Partition) -> None:
        """Take from the training split which words can come next, and how its stickers lie in the joint space."""
        allowed = torch.zeros(len(self.word_bias), dtype=torch.bool)
        allowed[torch.from_numpy(train.queries.words).long().unique()] = True
        allowed[0], allowed[self.end] = False, True
        self.word_bias.copy_(torch.where(allowed, 0.0, -torch.inf))
        scale = Standardiser(train.gallery.joint_features)
        self.sticker_mean.copy_(torch.from_numpy(scale.mean))
        self.sticker_deviation.copy_(torch.from_numpy(scale.deviation))

    def standardised(self, stickers: Tensor) -> Tensor:
        """Sticker vectors f in the space that is regressed to and ranked in, shape (..., c)."""
        return (stickers - self.sticker_mean) / self.sticker_deviation

    def states(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Run the decoder.

        Args:
            tokens: Number of each token and of who says it, 0 where there is none, shape (B, T, 2), int64.

        Returns:
            State of each token, which depends on no later one, shape (B, T, d), and t_n of all numbers n, (V + ..., d).
        """
        table = torch.cat([self.word_in(self.embeddings), self.decoder.wte.weight])
        inputs = functional.embedding(tokens, table).sum(dim=2)
        # padding comes last, where a causal model never looks, so no mask is needed
        return self.decoder(inputs_embeds=inputs).last_hidden_state, table

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """What the four heads say of conversations (see `states`).

        Returns:
            Logits of the next word wherever the answer goes on, in the order of `next_words`, shape (N, V + 1);
            flag logits at each [TAG], in the order of `flags`, (M, 2); at the last [TAG] of each conversation the
            sticker's vector, (B, c), and its intention logits, (B, C), or None.
        """
        states, table = self.states(tokens)
        before = states[:, :-1][self.is_answer(tokens)[:, 1:]]
        words = functional.linear(before, table[: self.end + 1], self.word_bias)
        flags = self.flag(states[tokens[..., 0] == self.tag])
        answers = _answers(states, tokens)
        return words, flags, self.sticker(answers), self.intention and self.intention(answers)

    def predicted(self, tokens: Tensor) -> Tensor:
        """The sticker's vector alone, standardised, shape (B, c)."""
        states, _ = self.states(tokens)
        return self.sticker(_answers(states, tokens))

    def is_answer(self, tokens: Tensor) -> Tensor:
        """Whether a token is a word or the [EOS] of the last turn: what is learned to be predicted, (B, T), bool."""
        numbers = tokens[..., 0]
        turns = (numbers == self.tag).cumsum(dim=1)
        return (turns == turns[:, -1:] - 1) & (numbers > 0) & (numbers <= self.end)

    def next_words(self, tokens: Tensor) -> Tensor:
        """Words and [EOS]s of the answers, shape (N,), each the target of the state one token before."""
        return tokens[..., 0][:, 1:][self.is_answer(tokens)[:, 1:]]

    def flags(self, tokens: Tensor) -> Tensor:
        """Whether a sticker goes with a turn, for each [TAG] of conversations: the last turns alone, shape (M,)."""
        is_tag = tokens[..., 0] == self.tag
        places = torch.arange(tokens.shape[1], device=tokens.device)
        return (places == last_places(tokens)[:, None])[is_tag].long()


def _decoder(marks: int, width: int) -> nn.Module:
    """A small untrained GPT-2 that knows marks as tokens of its own."""
    from transformers import GPT2Config, GPT2Model

    config = GPT2Config(
        vocab_size=marks,
        n_positions=POSITIONS,
        n_embd=width,
        n_layer=LAYERS,
        n_head=HEADS,
        activation_function="gelu_pytorch_tanh",  # GPT-2's own function, computed in one step
        attn_pdrop=0.0,  # with dropout inside it attention is several times as slow
        use_cache=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    return GPT2Model(config)


def last_places(tokens: Tensor) -> Tensor:
    """Place of the last token of each conversation, shape (B,)."""
    return (tokens[..., 0] > 0).sum(dim=1) - 1


def _answers(states: Tensor, tokens: Tensor) -> Tensor:
    """State of the last token of each conversation, shape (B, d)."""
    return states.take_along_dim(last_places(tokens)[:, None, None], dim=1).squeeze(1)


def token_rows(queries: Queries, vocabulary: int) -> list[Tensor]:
    """Conversations as token sequences, a turn as [speaker] [BOS] words [EOS] [TAG], oldest first.

    The sticker belongs to the last turn where its sender wrote that, else to a turn of the sender without words.

    Args:
        queries: With words.
        vocabulary: V; words are below.

    Returns:
        For each query the newest tokens, at most `POSITIONS`: number and writer's number, shape (T, 2), int64. A [TAG]
        has no writer.
    """
    end, start, tag = range(vocabulary, vocabulary + MARKS)
    rows = []
    for words, speakers in zip(queries.words, queries.speakers, strict=True):
        turns = [(speaker, own[own > 0]) for speaker, own in zip(speakers, words, strict=True) if speaker >= 0]
        if not turns or turns[-1][0] != 0:
            turns.append((0, ()))
        pairs = []
        for speaker, own in turns:
            writer = vocabulary + MARKS + speaker
            pairs += [(token, writer) for token in (writer, start, *own, end)] + [(tag, 0)]
        rows.append(torch.from_numpy(np.array(pairs[-POSITIONS:], np.int64)))
    return rows


def padded(rows: list[Tensor]) -> Tensor:
    """Sequences with zeros behind the shorter ones, shape (B, T, 2)."""
    return pad_sequence(rows, batch_first=True)


class MODSystem(TrainedSystem):
    """MOD (Fei et al., Towards Expressive Communication with Internet Memes, arXiv, 2021): the unified model.

    The decoder is small and untrained over frozen embeddings, every turn ends in a [TAG], no earlier turn has a
    sticker, and stickers' vectors are standardised. Supervision `intention` adds the emotion head.
    """

    score_function = "negative distance of predicted and true vector"

    def __init__(self, config: RunConfig, features: Features):
        """Build the model with weights drawn from the config's seed."""
        intentions = len(features.label_features) if config.supervision == "intention" else None
        embeddings = torch.from_numpy(features.word_embeddings)
        width = features.train.gallery.joint_features.shape[1]
        with seeded(config.seed):
            super().__init__(config, MOD(embeddings, config.window + 1, width, config.width, intentions))

    def fit(self, train: Partition, valid: Partition) -> Fit:
        """Minimise the cross-entropies of words, flags and, where wanted, intentions, plus the regression's square."""
        self.model.learn_from(train)
        rows = token_rows(train.queries, self.model.end)
        wanted = self.model.standardised(torch.from_numpy(train.gallery.joint_features)[train.queries.stickers])
        intentions = torch.from_numpy(train.queries.intentions)

        def losses(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
            numbers = batch["queries"]
            (tokens,) = self.moved(padded([rows[number] for number in numbers]))
            words, flags, stickers, logits = model(tokens)
            vectors, labels = self.moved(wanted[numbers], intentions[numbers])
            named = {
                "words": functional.cross_entropy(words, self.model.next_words(tokens)),
                "flag": functional.cross_entropy(flags, self.model.flags(tokens)),
                "sticker": functional.mse_loss(stickers, vectors),
            }
            return named if logits is None else named | {"intention": intention_loss(logits, labels)}

        return fit(self.model, losses, self.score, train, valid, self.config)

    @torch.inference_mode()
    def score(self, queries: Queries, gallery: Gallery) -> np.ndarray:
        """-|f' - f| between predicted and standardised vectors, shape (Q, G), float32."""
        (joint,) = self.moved(torch.from_numpy(gallery.joint_features))
        stickers = self.model.standardised(joint)
        predicted = torch.cat([self.model.predicted(tokens) for tokens in self._batches(queries)])
        distances = torch.cdist(predicted, stickers, compute_mode="donot_use_mm_for_euclid_dist")
        return -distances.cpu().numpy()

    def _batches(self, queries: Queries) -> Iterator[Tensor]:
        """All conversations, some at a time, shapes (B, T, 2)."""
        rows = token_rows(queries, self.model.end)
        for start in range(0, len(rows), self.config.batch_size):
            yield self.moved(padded(rows[start : start + self.config.batch_size]))[0]
