"""Attributes from a vision-language model that runs here: any Qwen-VL-family checkpoint of `transformers` (Eq. 7)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from intra.checkpoints import MODELS
from intra.data.pictures import bounded, open_picture
from intra.data.schema import Sticker
from intra.encoders.text import DIGEST_CHARACTERS, folder_digest
from intra.errors import IntraError
from intra.generation.attributes import StickerAttributes
from intra.generation.prompts import ANSWER_TOKENS, PROMPT_VERSION, Conversation, interview


class VisionLanguageAttributes:
    """The conversation of Fig. 4 with a local model, greedily decoded.

    `accelerate` spreads the model over the devices that there are, in the precision of the checkpoint, which is so
    part of its revision. Below float32 an answer may depend on the stickers that share its batch.
    """

    def __init__(self, checkpoint: str | Path, batch_size: int = 8):
        """Keep the arguments; nothing is loaded yet.

        Args:
            checkpoint: A folder, or a name on the hub, of a model for `AutoModelForImageTextToText`.
            batch_size: Stickers that are described side by side.
        """
        self.checkpoint, self.batch_size = checkpoint, batch_size

    @cached_property
    def name(self) -> str:
        """Model, revision of its weights, prompt and decoding: all that decides an answer.

        Raises:
            IntraError: If the checkpoint cannot be found.
        """
        folder = Path(self.checkpoint)
        label = folder.resolve().name if folder.is_dir() else self.checkpoint
        revision = (self._revision or folder_digest(folder))[:DIGEST_CHARACTERS]
        return f"{label}@{revision}/{PROMPT_VERSION}/greedy-{ANSWER_TOKENS}"

    def describe(self, stickers: Sequence[Sticker]) -> Iterator[StickerAttributes]:
        """See `AttributeSource.describe`.

        Raises:
            IntraError: If a picture cannot be read, or the checkpoint cannot be loaded.
        """
        for start in range(0, len(stickers), self.batch_size):
            images = [bounded(open_picture(sticker.image)) for sticker in stickers[start : start + self.batch_size]]
            pictures = [{"type": "image", "image": image} for image in images]
            yield from map(StickerAttributes.read, interview(pictures, self._reply))

    def _reply(self, conversations: list[Conversation]) -> list[str]:
        """The next answer in each conversation."""
        import torch

        inputs = self._processor.apply_chat_template(
            conversations,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        ).to(self._model.device, self._model.dtype)
        with torch.inference_mode():
            tokens = self._model.generate(**inputs)
        return self._processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

    @cached_property
    def _revision(self) -> str | None:
        """The hub's commit, which the weights are then loaded of; None for a folder."""
        from transformers.utils import cached_file

        if Path(self.checkpoint).is_dir():
            return None
        with self._explained():
            # <cache>/models--<name>/snapshots/<commit>/config.json
            return Path(cached_file(self.checkpoint, "config.json")).parent.name

    @cached_property
    def _processor(self):
        from transformers import AutoProcessor

        processor = self._load(AutoProcessor)
        processor.tokenizer.padding_side = "left"  # answers go on where the questions end
        return processor

    @cached_property
    def _model(self):
        from transformers import AutoModelForImageTextToText, GenerationConfig

        model = self._load(AutoModelForImageTextToText, dtype="auto", device_map="auto").eval()
        # in place of the checkpoint's own settings, which may sample or punish repetition
        model.generation_config = GenerationConfig(
            max_new_tokens=ANSWER_TOKENS,
            eos_token_id=model.generation_config.eos_token_id,
            pad_token_id=self._processor.tokenizer.pad_token_id,
        )
        return model

    def _load(self, kind, **arguments):
        with self._explained():
            return kind.from_pretrained(self.checkpoint, revision=self._revision, **arguments)

    @contextmanager
    def _explained(self):
        try:
            yield
        except Exception as error:  # the hub's errors depend on its HTTP library, safetensors' derive from Exception
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise IntraError(
                f"the vision-language model {self.checkpoint} cannot be loaded ({why}); fetch it with "
                f"`hf download {self.checkpoint}`, or put its folder below ${MODELS}"
            ) from error
