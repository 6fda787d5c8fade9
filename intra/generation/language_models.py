"""Language models that answer conversations: the paper's six, behind a server or here (Table II)."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

from intra.checkpoints import MODELS, find_checkpoint
from intra.config import unknown
from intra.encoders.text import DIGEST_CHARACTERS, folder_digest
from intra.errors import IntraError
from intra.files import sha256
from intra.generation.endpoint import ADDRESS, MODEL, Endpoint, RefusedError
from intra.generation.prompts import Conversation

LANGUAGE_MODELS = {
    "LLaVA": "llava-hf/llava-1.5-7b-hf",
    "Qwen-VL": "Qwen/Qwen-VL-Chat",
    "Qwen2": "Qwen/Qwen2-7B-Instruct",
    "Baichuan2": "baichuan-inc/Baichuan2-7B-Chat",
    "Llama 3": "meta-llama/Meta-Llama-3-8B-Instruct",
    "ChatGLM3": "zai-org/chatglm3-6b",
}
"""Name in Table II to checkpoint. The paper gives no sizes: these are the common ones of their time. Qwen-VL, Baichuan2
and ChatGLM3 bring code of their own, which is not run here: they need a server."""
ANSWER_TOKENS = 160
"""Most tokens of an answer."""
DECODING = f"greedy-{ANSWER_TOKENS}"
WORKERS = 4
"""Questions that a server is asked at once."""


class LanguageModel(Protocol):
    """Anything that answers conversations of {role, content} messages, whose first role may be `system`."""

    @property
    def name(self) -> str:
        """Model with its revision and decoding: with the messages, all that decides an answer."""

    def answer(self, conversations: Sequence[Conversation]) -> Iterator[str]:
        """Yield the next answer in each conversation, in order."""


def language_model(name: str) -> LanguageModel:
    """One of `LANGUAGE_MODELS`: behind the endpoint where the environment names one, else here.

    Raises:
        IntraError: If the name is unknown, or the endpoint is asked for another model.
    """
    if name not in LANGUAGE_MODELS:
        raise IntraError(unknown("language model", name, LANGUAGE_MODELS))
    checkpoint = LANGUAGE_MODELS[name]
    if not os.environ.get(ADDRESS):
        return LocalModel(find_checkpoint(checkpoint))
    model = ServedModel.from_environment()
    if Path(model.model).name != Path(checkpoint).name:  # a row is called after the model that was run
        raise IntraError(
            f"{MODEL} is {model.model!r}, but {name} is {checkpoint}; serve that, under a name that ends in "
            f"{Path(checkpoint).name}"
        )
    return model


def command(name: str) -> str:
    """The shell command that makes the row of one of `LANGUAGE_MODELS` where a server has its checkpoint."""
    settings = f"{ADDRESS}=http://HOST:PORT/v1 {MODEL}={LANGUAGE_MODELS[name]}"
    return f'{settings} .venv/bin/intra study language_models --label "{name}"'


class ServedModel(Endpoint):
    """A language model behind a server, which is asked several questions at once."""

    _folds = False

    @property
    def name(self) -> str:
        """See `LanguageModel.name`; the revision is not known."""
        return f"{self.label}/{DECODING}"

    def answer(self, conversations: Sequence[Conversation]) -> Iterator[str]:
        """See `LanguageModel.answer`.

        Raises:
            IntraError: If the server gives no answer.
        """
        pool = ThreadPoolExecutor(WORKERS)
        try:
            yield from pool.map(self._answer, conversations)
        finally:
            pool.shutdown(cancel_futures=True)

    def _answer(self, conversation: Conversation) -> str:
        if self._folds:
            return self._reply(folded(conversation))
        try:
            return self._reply(conversation)
        except RefusedError:
            if folded(conversation) == conversation:
                raise
            text = self._reply(folded(conversation))
            self._folds = True
            return text

    def _reply(self, conversation: Conversation) -> str:
        return self.reply(conversation, ANSWER_TOKENS, top_p=1, seed=0)


class LocalModel:
    """A language model that runs here, greedily decoded: any chat checkpoint of `transformers` without own code.

    `accelerate` spreads the model over the devices that there are, in the precision of the checkpoint. Below float32 an
    answer may depend on the conversations that share its batch.
    """

    def __init__(self, checkpoint: str | Path, batch_size: int = 4):
        """Keep the arguments; nothing is loaded yet.

        Args:
            checkpoint: A folder, or a name on the hub, of a model with a chat template.
            batch_size: Conversations that are answered side by side.
        """
        self.checkpoint, self.batch_size = checkpoint, batch_size

    @cached_property
    def name(self) -> str:
        """See `LanguageModel.name`.

        Raises:
            IntraError: If the checkpoint cannot be found.
        """
        folder = Path(self.checkpoint)
        label = folder.resolve().name if folder.is_dir() else self.checkpoint
        revision = (self._revision or _folder_revision(folder))[:DIGEST_CHARACTERS]
        return f"{label}@{revision}/{DECODING}"

    def answer(self, conversations: Sequence[Conversation]) -> Iterator[str]:
        """See `LanguageModel.answer`.

        Raises:
            IntraError: If the checkpoint cannot be loaded, or has no chat template for these messages.
        """
        render = partial(self._processor.apply_chat_template, add_generation_prompt=True, tokenize=False)
        for start in range(0, len(conversations), self.batch_size):
            batch = conversations[start : start + self.batch_size]
            yield from self._continued([rendered(conversation, render) for conversation in batch])

    def _continued(self, prompts: list[str]) -> list[str]:
        """What the model says after each text."""
        import torch

        # the template has written the control tokens
        inputs = self._tokenizer(prompts, add_special_tokens=False, padding=True, return_tensors="pt")
        with torch.inference_mode():
            tokens = self._model.generate(**inputs.to(self._model.device))
        return self._tokenizer.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

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
        """The tokenizer or, where the model also sees, what holds it: its chat template may differ."""
        from transformers import AutoProcessor

        return self._load(AutoProcessor)

    @cached_property
    def _tokenizer(self):
        tokenizer = getattr(self._processor, "tokenizer", self._processor)
        tokenizer.padding_side = "left"  # answers go on where the questions end
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer

    @cached_property
    def _model(self):
        from transformers import (
            MODEL_FOR_CAUSAL_LM_MAPPING,
            AutoConfig,
            AutoModelForCausalLM,
            AutoModelForImageTextToText,
            GenerationConfig,
        )

        only_reads = type(self._load(AutoConfig)) in MODEL_FOR_CAUSAL_LM_MAPPING
        kind = AutoModelForCausalLM if only_reads else AutoModelForImageTextToText
        model = self._load(kind, dtype="auto", device_map="auto").eval()
        # in place of the checkpoint's own settings, which may sample or punish repetition
        model.generation_config = GenerationConfig(
            max_new_tokens=ANSWER_TOKENS,
            eos_token_id=model.generation_config.eos_token_id,
            pad_token_id=self._tokenizer.pad_token_id,
        )
        return model

    def _load(self, kind, **arguments):
        revision = self._revision
        with self._explained():
            return kind.from_pretrained(self.checkpoint, revision=revision, trust_remote_code=False, **arguments)

    @contextmanager
    def _explained(self):
        try:
            yield
        except Exception as error:  # the hub's errors depend on its HTTP library, safetensors' derive from Exception
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise IntraError(
                f"the language model {self.checkpoint} cannot be loaded ({why}); fetch it with "
                f"`hf download {self.checkpoint}`, put its folder below ${MODELS}, or set {ADDRESS} and {MODEL} to a "
                "server that has it"
            ) from error


def _folder_revision(folder: Path) -> str:
    """Digest of a checkpoint folder with its chat templates, hexadecimal."""
    digests = [folder_digest(folder), *map(sha256, sorted(folder.glob("*.jinja")))]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def folded(conversation: Conversation) -> Conversation:
    """The conversation with the system's message at the head of the first user's."""
    first, *others = conversation
    if first["role"] != "system":
        return conversation
    return [others[0] | {"content": f"{first['content']}\n\n{others[0]['content']}"}, *others[1:]]


def rendered(conversation: Conversation, render: Callable[[Conversation], str]) -> str:
    """A conversation as the text that a chat template makes of it.

    Templates differ in whether they take a system's message and whether contents are texts or lists of parts; some
    refuse what they do not take, others leave it out. So the first form counts of which every message is in the text.

    Raises:
        IntraError: If there is none.
    """
    forms = [conversation, as_parts(conversation), folded(conversation), as_parts(folded(conversation))]
    for form, plain in zip(forms, [conversation] * 2 + [folded(conversation)] * 2, strict=True):
        try:
            text = render(form)
        except Exception as error:  # whatever a template raises
            why = str(error)
            continue
        if all(message["content"].strip() in text for message in plain):
            return text
        why = "it leaves messages out"
    raise IntraError(f"the chat template does not take the conversation ({why}); name a checkpoint that can chat")


def as_parts(conversation: Conversation) -> Conversation:
    """The conversation with each content as a list of one part."""
    return [message | {"content": [{"type": "text", "text": message["content"]}]} for message in conversation]
