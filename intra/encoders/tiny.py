"""A tiny BERT with random weights: the real architecture and the real loading code, in a second (profile `smoke`)."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from intra.data.intentions import INTENTIONS
from intra.encoders.text import TransformerTextEncoder
from intra.generation.knowledge import KNOWLEDGE_BASE

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def tiny_bert(cache: Path) -> TransformerTextEncoder:
    """An encoder of width 32 over single characters, saved below `cache` and loaded like any other checkpoint."""
    vocabulary = _vocabulary()
    directory = cache / f"tiny-bert-{hashlib.sha256(''.join(vocabulary).encode()).hexdigest()[:8]}"
    if not directory.exists():
        cache.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=cache))
        _save(unfinished, vocabulary)
        try:
            os.replace(unfinished, directory)
        except OSError:  # another process was faster
            shutil.rmtree(unfinished)
    return TransformerTextEncoder(directory, pooling="mean", max_tokens=128)


def _vocabulary() -> list[str]:
    characters = set(KNOWLEDGE_BASE.read_text(encoding="utf-8")) | set("".join(INTENTIONS.values()))
    return _SPECIAL + sorted(c for c in characters if not c.isspace())


def _save(directory: Path, vocabulary: list[str]) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers import BertConfig, BertModel, BertTokenizer

    tokenizer = BertTokenizer(
        vocab={token: number for number, token in enumerate(vocabulary)},
        do_lower_case=False,
        model_max_length=128,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertModel(
            BertConfig(
                vocab_size=len(vocabulary),
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=64,
                max_position_embeddings=128,
            ),
            add_pooling_layer=False,
        )
    # not model.save_pretrained, which draws a progress bar for a file of 100 kB
    save_file(model.state_dict(), directory / "model.safetensors", metadata={"format": "pt"})
    model.config.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
