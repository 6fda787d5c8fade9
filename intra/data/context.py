"""The context window: which utterances a model reads, and as what text."""

from intra.data.schema import Conversation, Utterance

SELF = "我"


def context_window(conversation: Conversation, window: int) -> tuple:
    """The last `window` utterances, oldest first (paper, Section V-E varies it from 2 to 10).

    Raises:
        ValueError: If `window` is below 1.
    """
    if window < 1:
        raise ValueError(f"window is {window}, expected at least 1")
    return conversation.utterances[-window:]


def utterance_texts(conversation: Conversation) -> list[str]:
    """Every utterance as a text of its own, oldest first, with the tag of its writer.

    Tags are given out from the newest utterance backwards, so that a line does not depend on the window.
    """
    tags = {conversation.sender: SELF}
    lines = [_line(utterance, tags) for utterance in reversed(conversation.utterances)]
    return lines[::-1]


def writers(conversation: Conversation) -> list[int]:
    """Who wrote each utterance, oldest first, numbered as the tags are: 0 for the sender, 1 for A, 2 for B, ..."""
    numbers = {conversation.sender: 0}
    backwards = [numbers.setdefault(utterance.user, len(numbers)) for utterance in reversed(conversation.utterances)]
    return backwards[::-1]


def context_text(conversation: Conversation, window: int) -> str:
    """The context T as one text, a line an utterance.

    User names say nothing about a reply, and no name of a test user occurs in training; who speaks to whom
    does matter. So the sender of the sticker is written 我 and the others A, B, ... as they appear.
    """
    tags = {conversation.sender: SELF}
    return "\n".join(_line(utterance, tags) for utterance in context_window(conversation, window))


def _line(utterance: Utterance, tags: dict[str, str]) -> str:
    """An utterance behind its writer's tag; a writer without one gets the next letter."""
    tag = tags.setdefault(utterance.user, chr(ord("A") + len(tags) - 1))
    return f"{tag}：{utterance.text}"
