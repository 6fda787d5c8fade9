"""A sequence-to-sequence checkpoint, such as BART or Marian: texts in, texts out, every decoding setting stated."""

import warnings
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from intra.encoders.text import DIGEST_CHARACTERS, folder_digest
from intra.errors import IntraError

_TOKEN_SETTINGS = (
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "bad_words_ids",
)
"""What a checkpoint alone can know; every other setting of its own is left out."""


class Seq2Seq:
    """Any checkpoint that `transformers` loads as an encoder and a decoder.

    Device and precision are those of `accelerate` (the graphics processor if there is one, float32 if nothing
    else is configured). Nothing is loaded before it is needed: `name` reads checksums, `generate` the weights.
    """

    def __init__(
        self, checkpoint: str | Path, decoding: Mapping[str, object], *, max_tokens: int, batch_size: int = 32
    ):
        """Describe the model; nothing is read yet.

        Args:
            checkpoint: A checkpoint folder, or the name of a model on the Hugging Face hub.
            decoding: Arguments of `transformers.GenerationConfig`, `num_return_sequences` among them.
            max_tokens: Length that an input is cut to, control tokens included; it loses its start.
            batch_size: Inputs in one pass.
        """
        self.checkpoint = checkpoint
        self.decoding = dict(decoding)
        self.max_tokens = max_tokens
        self.batch_size = batch_size
        self._folder = Path(checkpoint) if Path(checkpoint).is_dir() else None

    @cached_property
    def name(self) -> str:
        """Everything that decides the outputs, such as `comet@1a2b3c4d/num_beams=5,...,precision=no`.

        The revision is the hub's commit or, for a folder, the checksum of its weights and tokenizer.

        Raises:
            IntraError: If the checkpoint cannot be found.
        """
        label = self._folder.resolve().name if self._folder else self.checkpoint
        settings = self.decoding | {"max_tokens": self.max_tokens, "precision": self._accelerator.mixed_precision}
        listed = ",".join(f"{key}={value}" for key, value in settings.items())
        return f"{label}@{self._revision[:DIGEST_CHARACTERS]}/{listed}"

    def generate(self, texts: Sequence[str]) -> list[list[str]]:
        """Continue each text.

        Args:
            texts: N inputs. Inputs of like length share a pass, which spares padding.

        Returns:
            For each text in the order given, its `num_return_sequences` outputs, best first.

        Raises:
            IntraError: If the checkpoint cannot be found or loaded.
        """
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        outputs = {}
        for start in range(0, len(order), self.batch_size):
            places = order[start : start + self.batch_size]
            outputs.update(zip(places, self._generate([texts[place] for place in places]), strict=True))
        return [outputs[place] for place in range(len(texts))]

    def _generate(self, texts: list[str]) -> list[list[str]]:
        import torch

        inputs = self.tokenizer(texts, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt")
        with torch.inference_mode(), self._accelerator.autocast():
            tokens = self._model.generate(**inputs.to(self._accelerator.device))
        said = self.tokenizer.batch_decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        each = self.decoding["num_return_sequences"]
        return [said[start : start + each] for start in range(0, len(said), each)]

    @cached_property
    def tokenizer(self):
        """The checkpoint's tokenizer, which cuts at the start."""
        from transformers import AutoTokenizer

        with warnings.catch_warnings():
            # Marian's tokenizer recommends a normaliser that it never applies
            warnings.filterwarnings("ignore", "Recommended: pip install sacremoses")
            tokenizer = self._load(AutoTokenizer)
        tokenizer.truncation_side = "left"  # as an argument of the call it would be ignored
        return tokenizer

    @cached_property
    def _model(self):
        from transformers import AutoModelForSeq2SeqLM, GenerationConfig

        model = self._load(AutoModelForSeq2SeqLM, dtype="float32")
        # A setting that is not stated would be taken from the checkpoint, even from old keys in its config.json.
        own = {key: getattr(model.generation_config, key) for key in _TOKEN_SETTINGS}
        model.generation_config = GenerationConfig(**own, **self.decoding)
        return model.eval().to(self._accelerator.device)

    @cached_property
    def _accelerator(self):
        from accelerate import Accelerator

        # No precision is asked for here: accelerate refuses a second one in the same process.
        return Accelerator()

    @cached_property
    def _revision(self) -> str:
        if self._folder:
            return folder_digest(self._folder)
        from transformers.utils import cached_file

        with self._explained():
            path = cached_file(str(self.checkpoint), "config.json")
        return Path(path).parent.name  # <cache>/models--<name>/snapshots/<commit>/config.json

    def _load(self, auto_class, **arguments):
        # a branch on the hub may move between two loads, a commit does not
        arguments |= {"local_files_only": True} if self._folder else {"revision": self._revision}
        with self._explained():
            return auto_class.from_pretrained(str(self._folder or self.checkpoint), **arguments)

    @contextmanager
    def _explained(self):
        try:
            yield
        except Exception as error:  # whatever the hub's client, safetensors or a tokenizer raises
            first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
            if self._folder:
                raise IntraError(f"{self._folder}: is no whole checkpoint, download it again: {first_line}") from error
            raise IntraError(
                f"the checkpoint {self.checkpoint} is neither in the folder $INTRA_MODELS nor in the hub's cache, and"
                f" the hub is out of reach; download it with `hf download {self.checkpoint}`: {first_line}"
            ) from error
