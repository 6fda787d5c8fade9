r"""What a language model is asked about a conversation, and how its answer becomes a description of a sticker.

For the rows of language models in Table II the paper says that a prompt with examples has a model describe a fitting
sticker, and that descriptions are compared as text. Wording, examples and form of the answer are decided here.
"""

import fcntl
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from intra.data.context import SELF, context_text
from intra.data.schema import ATTRIBUTES
from intra.data.schema import Conversation as Chat
from intra.generation.attributes import StickerAttributes
from intra.generation.language_models import LanguageModel
from intra.generation.prompts import Conversation
from intra.generation.store import GenerationStore

SHOTS = 4
"""Conversations with their answers that stand in each prompt."""
LONGEST_RAW = 200
"""Most characters of an answer that holds no fields."""
LONGEST_FIELD, LONGEST_DESCRIPTION = 12, 40
"""Characters that are asked for."""
INTENTION, DESCRIPTION = "意图", "描述"
NOTHING = "无"
SYSTEM = f"""你要替聊天的人选表情包。先想清楚“{SELF}”这时候想表达什么意图，再设想一张最能表达它的表情包。
回答只写一个JSON对象，前后都不加别的话。键依次是intention、gesture、posture、facial_expression、verbal、description。
intention（意图）只能是这些词里的一个：{{intentions}}。
gesture（手势）、posture（姿势）、facial_expression（表情）、verbal（图上的文字）都不超过{LONGEST_FIELD}个字，没有的写“{NOTHING}”。
description用不超过{LONGEST_DESCRIPTION}个字说出整张图的样子。"""
"""Instructions, before the intentions are filled in."""
QUESTION = f"对话：\n{{context}}\n接下来“{SELF}”发哪一张表情包？"

KEYS = {
    "intention": ("intention", "intent", INTENTION),
    "gesture": ("gesture", "手势"),
    "posture": ("posture", "姿势", "姿态"),
    "facial_expression": ("facial_expression", "facial expression", "facial", "表情"),
    "verbal": ("verbal", "文字"),
    "description": ("description", DESCRIPTION),
}
"""Field of an answer to what models call it."""
PARSE_STATES = ("object", "block", "pairs", "text", "empty")
"""How an answer was read: it is a JSON object; it holds one; it holds keys with values; it was taken as it is, cut; it
says nothing."""
PARSE_FAILURES = ("text", "empty")
"""The states of answers that were not what was asked for."""
OUT_OF_LIST, NOT_NAMED = -1, -2
"""In the place of an intention's number: an answer names another one than was offered, or none."""

_FIELD = {name.casefold(): field for field, names in KEYS.items() for name in names}
_KEY = f"(?:{'|'.join(sorted(_FIELD, key=len, reverse=True))})"
_QUOTE = "[\"'“”‘’「」]"
_PAIR = re.compile(
    rf"{_QUOTE}?(?<![a-z_])(?P<key>{_KEY}){_QUOTE}?\s*[:：]\s*"
    rf"(?:[\"“「](?P<quoted>[^\"”」\n]*)|(?P<bare>.*?)(?=[\s,，;；。]*{_QUOTE}?{_KEY}{_QUOTE}?\s*[:：]|[\n;；}}]|$))",
    re.I,
)


@dataclass(frozen=True)
class Answer:
    """What a language model says of the sticker that it would send; empty fields where it says nothing."""

    intention: str = ""
    gesture: str = ""
    posture: str = ""
    facial_expression: str = ""
    verbal: str = ""
    description: str = ""
    state: str = "object"
    """How it was read, one of `PARSE_STATES`."""

    def text(self, with_intention: bool = False) -> str:
        """The answer as the text of a sticker, see `sticker_text`; its description where it names no attribute."""
        attributes = {name: getattr(self, name) for name in ATTRIBUTES}
        return sticker_text(attributes, self.intention * with_intention) or self.description


def sticker_text(attributes: Mapping[str, str], intention: str = "") -> str:
    """A sticker as one text: what is told of it, each behind its Chinese name; empty fields are left out."""
    named = {INTENTION: intention} | {ATTRIBUTES[name]: attributes[name] for name in ATTRIBUTES}
    return "；".join(f"{name}：{said}" for name, said in named.items() if said)


def attribute_texts(attributes: StickerAttributes) -> dict[str, str]:
    """Attribute to its keywords as one text."""
    return {name: "，".join(getattr(attributes, name)) for name in ATTRIBUTES}


def choose_shots(intentions: np.ndarray, seed: int) -> np.ndarray:
    """Rows of the conversations that stand in prompts: a random one of each of the commonest intentions.

    Args:
        intentions: Of the training conversations, shape (Q,).
        seed: Of the draw.

    Returns:
        At most `SHOTS` rows, that of the commonest intention first; of equally common ones the first number counts.
    """
    counts = np.bincount(intentions)
    commonest = np.argsort(-counts, kind="stable")[:SHOTS]
    rng = np.random.default_rng(seed)
    return np.array([rng.choice(np.flatnonzero(intentions == number)) for number in commonest if counts[number]])


def shot(conversation: Chat, window: int, attributes: StickerAttributes, intention: str) -> Conversation:
    """A conversation and the answer that describes the sticker that was sent: two messages."""
    told = attribute_texts(attributes)
    fields = {"intention": intention} | {name: said or NOTHING for name, said in told.items()}
    fields["description"] = "，".join(filter(None, told.values()))[:LONGEST_DESCRIPTION] or NOTHING
    return [question(conversation, window), {"role": "assistant", "content": json.dumps(fields, ensure_ascii=False)}]


def question(conversation: Chat, window: int) -> dict:
    """The message that asks about a conversation; nothing of it but its utterances is told."""
    return {"role": "user", "content": QUESTION.format(context=context_text(conversation, window))}


def instructions(intentions: Sequence[str]) -> dict:
    """The message that says what to answer."""
    return {"role": "system", "content": SYSTEM.format(intentions="、".join(intentions))}


def ask(model: LanguageModel, prompts: Sequence[Conversation], path: Path) -> list[Answer]:
    """Answers to some prompts, from the store at a path as far as it holds them.

    Of several processes that ask into one store, one asks at a time.

    Raises:
        IntraError: If the model gives no answer; those before it are kept.
    """
    requests = [{"task": "answer", "source": model.name, "messages": prompt} for prompt in prompts]
    with _alone(path):
        said = GenerationStore(path).fetch(
            requests, lambda missing: ({"answer": text} for text in model.answer([r["messages"] for r in missing]))
        )
    return [parse(each["answer"]) for each in said]


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed, however the process ends
        yield


def parse(answer: str) -> Answer:
    """Read an answer: as a JSON object, else the first in it, else keys with values, else as it is, cut."""
    text = answer.strip()
    if not text:
        return Answer(state="empty")
    readers = {"object": _read_object, "block": _read_block, "pairs": _read_pairs}
    for state, read in readers.items():
        if fields := read(text):
            return Answer(**fields, state=state)
    return Answer(description=text[:LONGEST_RAW], state="text")


def _read_object(text: str) -> dict[str, str]:
    try:
        return _fields(json.loads(text))
    except (ValueError, RecursionError):
        return {}


def _read_block(text: str) -> dict[str, str]:
    """The first object in the text that has one of the fields."""
    for brace in re.finditer("{", text):
        try:
            value, _ = json.JSONDecoder().raw_decode(text, brace.start())
        except (ValueError, RecursionError):
            continue
        if fields := _fields(value):
            return fields
    return {}


def _read_pairs(text: str) -> dict[str, str]:
    """Each key's first value; a value without its end, as in an object that was cut, goes to the end of its line."""
    pairs: dict[str, str] = {}
    for match in _PAIR.finditer(text):
        pairs.setdefault(match["key"], match["quoted"] if match["quoted"] is not None else match["bare"])
    return _fields(pairs)


def _fields(value: object) -> dict[str, str]:
    """Fields of an answer by name; nothing if the value has none of them."""
    pairs = value.items() if isinstance(value, dict) else ()
    return {_FIELD[name.casefold()]: _clean(said) for name, said in pairs if name.casefold() in _FIELD}


def _clean(said: object) -> str:
    """A value as one line; the word for nothing is nothing."""
    text = "，".join(map(str, said)) if isinstance(said, list) else "" if said is None else str(said)
    text = " ".join(text.split())
    return "" if text.casefold() in (NOTHING, "none") else text


def answer_rates(answers: Sequence[Answer], labels: Sequence[str], intentions: np.ndarray) -> dict[str, float]:
    """How well answers could be read, and how often they name the true intention.

    Args:
        answers: Q of them, at least one.
        labels: Intentions that were offered.
        intentions: The true ones, numbers in `labels`, shape (Q,).

    Returns:
        Share of each of `PARSE_STATES`; `failed`, of `PARSE_FAILURES`; `out of list`, that name another intention
        than was offered; `accuracy`, that name the true one.
    """
    count, states = len(answers), Counter(answer.state for answer in answers)
    named = answered_intentions(answers, labels)
    shares = {state: states[state] / count for state in PARSE_STATES}
    return shares | {
        "failed": sum(shares[state] for state in PARSE_FAILURES),
        "out of list": float(np.mean(named == OUT_OF_LIST)),
        "accuracy": float(np.mean(named == intentions)),
    }


def answered_intentions(answers: Sequence[Answer], labels: Sequence[str]) -> np.ndarray:
    """Number of the intention that each answer names, `OUT_OF_LIST` or `NOT_NAMED`, shape (Q,), int64."""
    number = {label: n for n, label in enumerate(labels)} | {"": NOT_NAMED}
    return np.array([number.get(answer.intention, OUT_OF_LIST) for answer in answers], dtype=np.int64)
