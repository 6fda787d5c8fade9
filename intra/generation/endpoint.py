"""Models behind an OpenAI-compatible server: vLLM, Ollama, `transformers serve` or a hosted model."""

import base64
import io
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Self

from intra.data.pictures import bounded, open_picture
from intra.data.schema import Sticker
from intra.errors import IntraError
from intra.generation.attributes import StickerAttributes
from intra.generation.prompts import ANSWER_TOKENS, PROMPT_VERSION, Conversation, interview

ADDRESS, MODEL, KEY = "INTRA_ENDPOINT", "INTRA_ENDPOINT_MODEL", "INTRA_ENDPOINT_KEY"
"""Environment variables: base address (it mostly ends in /v1), model as the server names it, and key if it asks one."""


class RefusedError(IntraError):
    """A server that refuses what it is asked."""


class Endpoint:
    """A model that answers in conversations, at temperature 0."""

    def __init__(self, address: str, model: str, key: str = "", timeout: float = 120, retries: int = 6):
        """Keep the arguments; nothing is asked yet.

        Args:
            address: Base address of the server's API.
            model: Name of the model, as the server knows it.
            key: Key of the API; local servers want none.
            timeout: Seconds to wait for one answer.
            retries: Further attempts after a lost connection, a timeout, status 408, 409, 429 or 5xx. The pause
                before each doubles, from half a second to eight, unless the server names one.

        Raises:
            IntraError: If the address or the model is not given.
        """
        if not address.startswith(("http://", "https://")):
            raise IntraError(
                f"{ADDRESS} is {address!r}; set it to the server's base address, such as http://HOST:PORT/v1"
            )
        if not model:
            raise IntraError(f"{MODEL} is not set; set it to the name of a model that {address} serves")
        self.address, self.model, self.key, self.timeout, self.retries = address, model, key, timeout, retries

    @classmethod
    def from_environment(cls) -> Self:
        """The endpoint that the environment names.

        Raises:
            IntraError: If a variable is missing.
        """
        return cls(*(os.environ.get(variable, "") for variable in (ADDRESS, MODEL, KEY)))

    @property
    def label(self) -> str:
        """The model; a server tells neither its revision nor settings of its own."""
        # a server of a local folder wants the folder's path as the model's name
        label = Path(self.model).name if Path(self.model).is_absolute() else self.model
        return f"{label}@endpoint"

    def reply(self, conversation: Conversation, max_tokens: int, **decoding) -> str:
        """The model's next answer.

        Args:
            conversation: Messages so far.
            max_tokens: Most tokens of the answer.
            **decoding: Further fields of the request.

        Raises:
            RefusedError: If the server refuses the request as such (status 400).
            IntraError: If it gives no answer.
        """
        import openai

        try:
            completion = self._client.chat.completions.create(
                model=self.model, messages=conversation, temperature=0, max_tokens=max_tokens, **decoding
            )
            text = completion.choices[0].message.content or ""
            return text.encode("utf-8", "replace").decode()  # a store cannot hold half a surrogate pair
        except openai.OpenAIError as error:
            kind = RefusedError if isinstance(error, openai.BadRequestError) else IntraError
            raise kind(f"{self.address}: {self._explain(error)}; run again to go on from here") from None
        except (ValueError, TypeError, AttributeError, LookupError):  # the client does not check what it is sent
            raise IntraError(
                f"{self.address}: the answer is no chat completion; check that {ADDRESS} is the base address of an "
                "OpenAI-compatible server (it mostly ends in /v1)"
            ) from None

    def _explain(self, error: Exception) -> str:
        """What went wrong and what to do, in one line."""
        import openai

        attempts = f"after {self.retries + 1} attempts"
        if isinstance(error, openai.APITimeoutError):
            return f"no answer within {self.timeout:g} seconds {attempts}; check the load of the server"
        if isinstance(error, openai.APIConnectionError):
            return f"no connection {attempts}; start the server, or correct {ADDRESS}"
        status = getattr(error, "status_code", None)
        why = f"status {status} ({' '.join(str(error).split())[:200]})"
        if status in (401, 403):
            return f"{why}; set {KEY}"
        if status == 429 or (status or 0) >= 500:
            return f"{why} {attempts}; see the log of the server"
        return f"{why}; correct {ADDRESS} or {MODEL}"

    @cached_property
    def _client(self):
        import openai

        # the client refuses to start without a key, even for servers that want none
        return openai.OpenAI(
            base_url=self.address, api_key=self.key or "none", timeout=self.timeout, max_retries=self.retries
        )


class EndpointAttributes(Endpoint):
    """The conversation of Fig. 4 with a model behind a server, pictures as data addresses (Eq. 7).

    Stickers are asked about one after the other, and each is handed on when its four answers are there.
    """

    @property
    def name(self) -> str:
        """Model, prompt and the decoding that is asked for."""
        return f"{self.label}/{PROMPT_VERSION}/greedy-{ANSWER_TOKENS}"

    def describe(self, stickers: Sequence[Sticker]) -> Iterator[StickerAttributes]:
        """See `AttributeSource.describe`.

        Raises:
            IntraError: If a picture cannot be read, or the server gives no answer.
        """
        for sticker in stickers:
            picture = {"type": "image_url", "image_url": {"url": data_address(sticker.image)}}
            (answers,) = interview(
                [picture], lambda conversations: [self.reply(c, ANSWER_TOKENS) for c in conversations]
            )
            yield StickerAttributes.read(answers)


def data_address(path: Path) -> str:
    """A picture file as a `data:` address: PNG, the middle frame, on white.

    Raises:
        IntraError: If the file is missing or no picture.
    """
    buffer = io.BytesIO()
    bounded(open_picture(path)).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
