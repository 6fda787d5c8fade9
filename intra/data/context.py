"""The context window: which utterances a model reads, and as what text."""

from intra.data.schema import Conversation

SELF = "我"


def context_window(conversation: Conversation, window: int) -> tuple:
    """The last `window` utterances, oldest first (paper, Section V-E varies it from 2 to 10).

    Raises:
        ValueError: If `window` is below 1.
    """
    if window < 1:
        raise ValueError(f"window is {window}, expected at least 1")
    return conversation.utterances[-window:]


def context_text(conversation: Conversation, window: int) -> str:
    """The context T as one text, a line an utterance.

    User names say nothing about a reply, and no name of a test user occurs in training; who speaks to whom
    does matter. So the sender of the sticker is written 我 and the others A, B, ... as they appear.
    """
    tags = {conversation.sender: SELF}
    lines = []
    for utterance in context_window(conversation, window):
        tag = tags.setdefault(utterance.user, chr(ord("A") + len(tags) - 1))
        lines.append(f"{tag}：{utterance.text}")
    return "\n".join(lines)
