"""The plan of ReplyStickers: drawn again it is the same, it has the sizes of Table I, and it keeps its own rules."""

import csv
import itertools
from collections import Counter

import numpy as np
import pytest

from intra.data import INTENTIONS, SPLITS
from intra.paper import table_one
from intra.replystickers import design
from intra.replystickers.design import FOLDER, apportion, draw_design, drawn_to_total, stream, table
from intra.replystickers.drawing.characters import CHARACTERS
from intra.replystickers.specification import StickerSpecification


@pytest.fixture(scope="module")
def drawn():
    return draw_design()


def test_the_plan_drawn_again_is_the_committed_one(drawn, tmp_path):
    names = ("quota.csv", "stickers.csv")
    for name, columns, rows in zip(names, (design.COLUMNS, design.STICKER_COLUMNS), drawn, strict=True):
        with (FOLDER / name).open(encoding="utf-8", newline="") as file:
            committed = list(csv.DictReader(file))
        assert [{column: str(row[column]) for column in columns} for row in rows] == committed
        design.write_table(tmp_path / name, columns, rows)
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()


def test_the_plan_has_the_sizes_of_table_one(drawn):
    conversations, stickers = drawn
    printed = table_one()
    for split in SPLITS:
        rows = [row for row in conversations if row["split"] == split]
        people = [row["users"].split("|") for row in rows]
        names = {name for users in people for name in users}
        assert len(rows) == printed.loc["conversations", split]
        assert sum(s["split"] == split for s in stickers) == printed.loc["stickers", split]
        assert sum(row["utterances"] for row in rows) == printed.loc["utterances", split]
        assert len(names) == printed.loc["users", split]
        average = sum(map(len, people)) / len(rows)
        assert average == pytest.approx(printed.loc["avg_users_per_conversation", split], abs=0.05)


def test_shares_are_those_of_the_rules(drawn):
    for split in SPLITS:
        rows = [row for row in drawn[0] if row["split"] == split]
        counts = Counter(row["intention"] for row in rows)
        assert counts.keys() == INTENTIONS.keys()
        assert 0.07 <= max(counts.values()) / len(rows) <= 0.09
        assert min(counts.values()) / len(rows) >= 0.01 and min(counts.values()) >= 2
        ordered = [counts[intention] for intention in design.COMMONEST_FIRST]
        assert ordered == sorted(ordered, reverse=True)
        for place, share in {"last": 0.45, "2-3 back": 0.30, "4-6 back": 0.20, "earlier": 0.05}.items():
            assert sum(row["cue"] == place for row in rows) / len(rows) == pytest.approx(share, abs=0.01)
    # drawn one by one over all splits: within four standard errors of the share (1/4 is met only nearly, since
    # not every conversation is long enough for a second thread)
    total = len(drawn[0])
    for share, seen in {
        1 / 2: sum(row["usage"] == "reply" for row in drawn[0]),
        1 / 6: sum(row["neighbour"] != "" for row in drawn[0]),
        1 / 4: sum(row["thread"] != "" for row in drawn[0]),
    }.items():
        assert abs(seen - share * total) < 4 * (share * (1 - share) * total) ** 0.5


def test_every_row_can_be_written(drawn):
    neighbours = table("neighbours")
    topics = (FOLDER / "topics.txt").read_text(encoding="utf-8").split()
    assert len(set(topics)) == len(topics) >= 80
    for row in drawn[0]:
        users = row["users"].split("|")
        assert 2 <= row["utterances"] <= 16
        assert len(set(users)) == len(users) >= 2
        # all others need an utterance; in a reply the sender needs none, in a supplement the last is the sender's
        assert len(users) <= row["utterances"] + (row["usage"] == "reply")
        assert row["utterances"] >= {"last": 1, "2-3 back": 2, "4-6 back": 4, "earlier": 7}[row["cue"]]
        assert row["neighbour"] in ("", *neighbours[row["intention"]])
        assert row["topic"] in topics and row["thread"] in ("", *topics) and row["thread"] != row["topic"]
    assert all(intention not in near and len(near) >= 2 for intention, near in neighbours.items())


def test_stickers_serve_conversations_of_their_intention_and_split(drawn):
    conversations, stickers = drawn
    by_id = {sticker["id"]: sticker for sticker in stickers}
    assert {row["sticker"] for row in conversations} == by_id.keys()
    for row in conversations:
        sticker = by_id[row["sticker"]]
        assert (sticker["split"], sticker["intention"]) == (row["split"], row["intention"])


def test_no_two_stickers_show_one_character_in_one_look_or_share_words_between_splits(drawn):
    shown = Counter((s["character"], s["expression"], s["gesture"], s["posture"]) for s in drawn[1])
    assert max(shown.values()) == 1
    words = {split: {s["caption"] for s in drawn[1] if s["split"] == split} - {""} for split in SPLITS}
    pretraining = set((FOLDER / "pretraining_captions.txt").read_text(encoding="utf-8").split("\n")) - {""}
    for one, other in [("train", "valid"), ("train", "test"), ("valid", "test")]:
        assert words[one] and words[other] and not words[one] & words[other]
    assert pretraining and not pretraining & set().union(*words.values())


def test_looks_are_drawable_and_shared_between_intentions(drawn):
    looks = table("looks")
    for row in drawn[1]:
        assert row["character"] in CHARACTERS
        StickerSpecification(**{f: row[f] for f in StickerSpecification.__dataclass_fields__})  # refuses unknown keys
        assert all(row[f] in looks[row["intention"]][f] for f in ("expression", "gesture", "posture", "prop"))
    # many to many: no look gives its intention away, at least not by one field alone
    for field in ("expression", "gesture", "posture"):
        serves = Counter(key for look in looks.values() for key in look[field])
        assert all(len(look[field]) >= 2 for look in looks.values())
        assert sum(count >= 2 for count in serves.values()) / len(serves) > 0.8, field


def test_ids_are_a_shuffle(drawn):
    for rows, prefix in zip(drawn, "cs", strict=True):
        assert [row["id"] for row in rows] == [f"{prefix}{number:04d}" for number in range(1, len(rows) + 1)]
        # before the shuffle rows stand split by split and intention by intention: 3 x 28 runs; now nearly every
        # row begins a new run
        runs = 1 + sum(a["intention"] != b["intention"] for a, b in itertools.pairwise(rows))
        assert runs > 0.9 * len(rows)


def test_one_more_draw_for_one_purpose_changes_no_other():
    before = stream("b").random()
    stream("a").random()
    assert stream("b").random() == before != stream("a").random()


def test_apportioning_worked_by_hand():
    # 10 to share as 5 : 3 : 2 after one each, so 7 free: 3.5, 2.1, 1.4; the largest remainder gets the last one
    assert apportion([5, 3, 2], 10, 1) == [5, 3, 2]
    # 4 free as 1 : 1 : 2 is 1, 1, 2
    assert apportion([1, 1, 2], 10, 2) == [3, 3, 4]


def test_apportioning_keeps_the_total_and_stays_within_one_of_the_share():
    rng = np.random.default_rng(0)
    for _ in range(200):
        weights = rng.random(rng.integers(1, 30)).tolist()
        least = int(rng.integers(0, 4))
        total = least * len(weights) + int(rng.integers(0, 300))
        counts = apportion(weights, total, least)
        free = total - least * len(weights)
        assert sum(counts) == total
        for count, weight in zip(counts, weights, strict=True):
            assert abs(count - least - free * weight / sum(weights)) < 1


def test_moving_to_a_total_stays_within_the_bounds():
    rng = np.random.default_rng(1)
    for seed in range(50):
        high = rng.integers(3, 8, 20).tolist()
        values = [int(rng.integers(2, h + 1)) for h in high]
        total = int(rng.integers(2 * 20, sum(high) + 1))
        moved = drawn_to_total(stream(f"test/{seed}"), list(values), total, 2, high)
        assert sum(moved) == total
        assert all(2 <= value <= h for value, h in zip(moved, high, strict=True))
        # it only ever moves one way
        steps = [after - before for after, before in zip(moved, values, strict=True)]
        assert min(steps) >= 0 or max(steps) <= 0
