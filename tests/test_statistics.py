"""Table I and Figure 2, against counts worked by hand and plain loops over the packaged data."""

from dataclasses import replace

import pytest

from intra.data import Conversation, Dataset, Sticker, Utterance, load_dataset
from intra.data.reader import profile_dataset
from intra.data.statistics import count_tokens, cue_place, cue_places, intention_distribution, table_one


def chat(identifier, split, users, sender="我", intention="joy", cue=None):
    utterances = tuple(Utterance(user, "你好") for user in users)
    return Conversation(identifier, split, utterances, sender, "reply", "s1", intention, cue=cue)


SMALL = Dataset(
    "small",
    "1",
    (
        chat("c1", "train", "ab", intention="fear", cue=2),
        chat("c2", "train", "aabc", sender="a", intention="joy", cue=2),
        chat("c3", "train", "dd", sender="e", intention="joy"),
        chat("c4", "test", "x", sender="x", intention="fear", cue=1),
    ),
    tuple(Sticker(f"s{n}", (split,), None) for n, split in enumerate(["train", "train", "test"])),
    ("joy", "anger", "fear"),
)


def test_table_one_worked_by_hand():
    # train: 2 + 4 + 2 utterances of one word; users {a, b, 我}, {a, b, c}, {d, e}: 3 + 3 + 2, six names in all
    table = table_one(SMALL)
    assert table["train"].to_dict() == {
        "conversations": 3,
        "utterances": 8,
        "tokens": 8,
        "stickers": 2,
        "users": 6,
        "avg_utterances_per_conversation": 8 / 3,
        "avg_users_per_conversation": 8 / 3,
        "avg_tokens_per_utterance": 1,
    }
    assert table["test"][["conversations", "utterances", "stickers", "users"]].tolist() == [1, 1, 1, 1]
    assert (table["valid"] == 0).all()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("你好", 1),
        ("你好 世界", 2),  # white space is no token
        ("你好，世界！", 4),  # marks are
        ("哈哈\u3000\n😂", 2),
        ("  ", 0),
    ],
)
def test_tokens_are_words_and_marks(text, tokens):
    assert count_tokens(text) == tokens


def test_a_sticker_of_two_splits_is_counted_in_both():
    shared = replace(SMALL, stickers=(*SMALL.stickers, Sticker("s4", ("valid", "test"), None)))
    assert table_one(shared).loc["stickers"].to_dict() == {"train": 2, "valid": 1, "test": 2}


def test_table_one_of_replystickers_agrees_with_a_loop():
    dataset = load_dataset()
    table = table_one(dataset)
    for split in ("train", "valid", "test"):
        conversations = utterances = people = 0
        names, stickers = [], 0
        for c in dataset.conversations:
            if c.split == split:
                here = []
                for user in [c.sender, *(u.user for u in c.utterances)]:
                    here += [] if user in here else [user]
                    names += [] if user in names else [user]
                conversations, people = conversations + 1, people + len(here)
                utterances += len(c.utterances)
        for s in dataset.stickers:
            stickers += split in s.splits
        column = table[split]
        assert column[["conversations", "utterances", "stickers", "users"]].tolist() == [
            conversations,
            utterances,
            stickers,
            len(names),
        ]
        assert column["avg_users_per_conversation"] == pytest.approx(people / conversations, rel=1e-12)
        assert column["avg_tokens_per_utterance"] == pytest.approx(column["tokens"] / utterances, rel=1e-12)


def test_intentions_are_listed_commonest_first_with_those_that_never_occur():
    # fear and joy occur twice each: joy is earlier in the list of intentions
    distribution = intention_distribution(SMALL)
    assert list(distribution.index) == ["joy", "fear", "anger"]
    assert distribution.to_numpy().tolist() == [[2, 0, 0], [1, 0, 1], [0, 0, 0]]
    assert list(distribution.columns) == ["train", "valid", "test"]
    dataset = load_dataset()
    counts = {name: sum(c.intention == name for c in dataset.conversations) for name in dataset.intentions}
    assert list(intention_distribution(dataset).index) == sorted(counts, key=lambda name: -counts[name])
    short = profile_dataset("replystickers", "smoke")
    counts = {name: sum(c.intention == name for c in short.conversations) for name in short.intentions}
    assert len(set(counts.values())) < 28  # there are ties
    assert list(intention_distribution(short).index) == sorted(counts, key=lambda name: -counts[name])


def test_the_place_of_a_cue_is_counted_from_the_end():
    # of ten utterances the tenth is the last; 9 and 8 lie two and three back, 7 to 5 four to six back
    places = {cue: cue_place(chat("c", "train", "a" * 10, cue=cue)) for cue in range(1, 11)}
    assert places == {
        10: "last",
        9: "2-3 back",
        8: "2-3 back",
        7: "4-6 back",
        6: "4-6 back",
        5: "4-6 back",
        4: "earlier",
        3: "earlier",
        2: "earlier",
        1: "earlier",
    }


def test_cue_places_are_shares_of_each_split():
    # train: the last of two, two back of four, unknown: a third each; valid is empty; test: the last of one
    places = cue_places(SMALL)
    assert list(places.index) == ["last", "2-3 back", "unknown"]
    assert places["train"].tolist() == pytest.approx([100 / 3] * 3)
    assert places["test"].tolist() == [100, 0, 0]
    assert places["valid"].tolist() == [0, 0, 0]
