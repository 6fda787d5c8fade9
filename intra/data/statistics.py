"""Table I of the paper, and the distribution of intentions (Figure 2), for any data set."""

import logging

import jieba
import pandas as pd

from intra.data.schema import SPLITS, Conversation, Dataset

jieba.setLogLevel(logging.WARNING)  # it reports on stderr where its dictionary is cached


def count_tokens(text: str) -> int:
    """Words of a text as `jieba` cuts it, marks and emoji counted, white space not.

    The paper does not name its tokenizer; its 5.4 tokens an utterance fit words, not characters.
    """
    return sum(not word.isspace() for word in jieba.cut(text))


def split_statistics(dataset: Dataset, split: str) -> dict[str, float]:
    """The rows of Table I for one split."""
    part = dataset.split(split)
    utterances = [utterance for c in part.conversations for utterance in c.utterances]
    tokens = sum(count_tokens(utterance.text) for utterance in utterances)
    conversations = len(part.conversations)
    return {
        "conversations": conversations,
        "utterances": len(utterances),
        "tokens": tokens,
        "stickers": len(part.stickers),
        "users": len(set().union(*(c.users for c in part.conversations))),
        "avg_utterances_per_conversation": len(utterances) / max(1, conversations),
        "avg_users_per_conversation": sum(len(c.users) for c in part.conversations) / max(1, conversations),
        "avg_tokens_per_utterance": tokens / max(1, len(utterances)),
    }


def table_one(dataset: Dataset) -> pd.DataFrame:
    """Table I: one row a quantity, one column a split."""
    return pd.DataFrame({split: split_statistics(dataset, split) for split in SPLITS})


def intention_distribution(dataset: Dataset) -> pd.DataFrame:
    """Figure 2: conversations of each intention (rows, commonest first) in each split (columns)."""
    frame = pd.DataFrame(
        {
            split: pd.Series([c.intention for c in dataset.split(split).conversations], dtype=object)
            .value_counts()
            .reindex(dataset.intentions, fill_value=0)
            for split in SPLITS
        }
    )
    return frame.loc[frame.sum(axis=1).sort_values(ascending=False, kind="stable").index]


CUE_PLACES = {"last": 1, "2-3 back": 3, "4-6 back": 6}
"""Place of the cue to its largest distance from the end; farther is `earlier`."""


def cue_places(dataset: Dataset) -> pd.DataFrame:
    """Share of conversations, in percent, by the place of the utterance that gives the reason for the sticker."""
    places = {
        split: pd.Series([cue_place(c) for c in dataset.split(split).conversations], dtype=object).value_counts(
            normalize=True
        )
        for split in SPLITS
    }
    frame = 100 * pd.DataFrame(places).reindex([*CUE_PLACES, "earlier", "unknown"]).fillna(0)
    return frame[frame.any(axis=1)]


def cue_place(conversation: Conversation) -> str:
    """Where a conversation's cue sits, counted from the end."""
    if conversation.cue is None:
        return "unknown"
    back = len(conversation.utterances) - conversation.cue + 1
    return next((place for place, farthest in CUE_PLACES.items() if back <= farthest), "earlier")


def quota_table(dataset: Dataset) -> pd.DataFrame:
    """What the plan of a data set asks for, by intention: conversations of each split, and shares in percent.

    `reply`: the sticker answers alone; `ambiguous`: a second intention was meant to be nearly as sensible;
    `side thread`: an unrelated conversation runs through; `cue last`: the last utterance gives the reason.
    """
    frame = pd.DataFrame(
        {
            "intention": c.intention,
            "reply": c.usage == "reply",
            "ambiguous": bool(c.neighbour),
            "side thread": bool(c.thread),
            "cue last": cue_place(c) == "last",
        }
        for c in dataset.conversations
    )
    counts = intention_distribution(dataset)
    shares = 100 * frame.groupby("intention").mean()
    total = pd.concat([counts.sum(), 100 * frame.drop(columns="intention").mean()])
    return pd.concat([counts, shares.reindex(counts.index)], axis=1).T.assign(all=total).T
