"""The context window: which utterances are read, and how their writers are called."""

import numpy as np
import pytest

from intra.data import Conversation, Utterance, load_dataset
from intra.data.context import context_text, context_window


def said(*lines, sender="小满"):
    utterances = tuple(Utterance(user, text) for user, text in lines)
    return Conversation("c1", "train", utterances, sender, "reply", "s1", "joy")


CHAT = said(("阿泽", "考完了"), ("小满", "咋样"), ("七七", "别问"), ("阿泽", "过了"), ("小满", "请客"))


def test_a_context_worked_by_hand():
    # 小满 sends the sticker, so she is 我; 阿泽 appears first (A), 七七 second (B)
    assert context_text(CHAT, 5) == "A：考完了\n我：咋样\nB：别问\nA：过了\n我：请客"
    # in the last three utterances 七七 appears first, so she is A there
    assert context_text(CHAT, 3) == "A：别问\nB：过了\n我：请客"
    assert context_text(CHAT, 1) == "我：请客"


def test_the_window_holds_the_newest_utterances_oldest_first():
    for window in range(1, 9):
        expected = [CHAT.utterances[i] for i in range(5) if i >= 5 - window]
        assert list(context_window(CHAT, window)) == expected


@pytest.mark.parametrize("window", [0, -2])
def test_a_window_without_utterances_is_refused(window):
    with pytest.raises(ValueError, match=f"window is {window}, expected at least 1"):
        context_text(CHAT, window)


def test_names_leave_no_trace_in_the_text():
    rng = np.random.default_rng(0)
    names = ["阿泽", "小满", "七七", "momo", "A", "我"]
    for conversation in load_dataset().split("test").conversations[:20]:
        users = sorted(conversation.users)
        renamed = dict(zip(users, rng.permutation(names)[: len(users)], strict=True))
        other = said(*((renamed[u.user], u.text) for u in conversation.utterances), sender=renamed[conversation.sender])
        assert context_text(other, 6) == context_text(conversation, 6)
        assert context_text(conversation, 6) == plain_text(conversation, 6)


def plain_text(conversation, window):
    """The same text by a loop that asks for each utterance who wrote before."""
    recent = conversation.utterances[max(0, len(conversation.utterances) - window) :]
    lines = []
    for utterance in recent:
        others = []
        for earlier in recent:
            if earlier.user != conversation.sender and earlier.user not in others:
                others.append(earlier.user)
        mine = utterance.user == conversation.sender
        lines.append(("我" if mine else "ABCDEFGHIJ"[others.index(utterance.user)]) + "：" + utterance.text)
    return "\n".join(lines)
