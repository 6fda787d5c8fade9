"""The plan of ReplyStickers, drawn with a seed before a conversation is written or a sticker is drawn.

`python -m intra.replystickers.design` writes `design/quota.csv` (one row a conversation) and
`design/stickers.csv` (one row a sticker) at the full size of the paper's Table I. Conversations are then
written by hand after their row; stickers are drawn by code from theirs. The rules fix how hard the data
are, and no model has any part in them.
"""

import csv
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from intra.replystickers.drawing.characters import CHARACTERS

FOLDER = Path(__file__).resolve().parent / "design"
SEED = "replystickers-1"

CONVERSATIONS = {"train": 1269, "valid": 155, "test": 154}
STICKERS = {"train": 774, "valid": 127, "test": 124}
UTTERANCES = {"train": 8745, "valid": 1105, "test": 1216}
USERS = {"train": 3693, "valid": 420, "test": 428}
"""Table I: conversations, stickers, utterances, and average users times conversations."""

COMMONEST_FIRST = (
    "amusement joy neutral annoyance gratitude curiosity approval caring love excitement admiration surprise "
    "sadness confusion anger disappointment embarrassment desire optimism nervousness fear disapproval "
    "realization relief remorse pride disgust grief"
).split()
"""Intentions from the commonest (about 8 %) to the rarest (about 1 %), as group chat is skewed."""

LEAST = {"train": 4, "valid": 2, "test": 2}
"""Fewest conversations of one intention."""
CUES = {"last": 0.45, "2-3 back": 0.30, "4-6 back": 0.20, "earlier": 0.05}
"""Share of conversations by the utterance that carries the cue to the intention, counted from the end."""
CUE_REACH = {"last": 1, "2-3 back": 2, "4-6 back": 4, "earlier": 7}
"""Fewest utterances a conversation needs for such a cue."""
AMBIGUOUS, SIDE_THREAD, CAPTIONED = 1 / 6, 1 / 4, 0.56
BACKGROUNDS = ["transparent"] * 4 + ["#fff4d6", "#e3f2fd", "#fde7ef", "#e8f5e9"]

COLUMNS = "id split intention neighbour topic usage utterances users cue thread sticker".split()
STICKER_COLUMNS = (
    "id split intention character style expression gesture posture prop caption background variation".split()
)


def stream(purpose: str) -> random.Random:
    """A generator of its own for each purpose, so that one more draw here changes nothing there."""
    return random.Random(f"{SEED}/{purpose}")


def table(name: str) -> dict:
    """One of the design's JSON tables."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def apportion(weights: list[float], total: int, least: int) -> list[int]:
    """Whole numbers that sum to `total`, in proportion to `weights` (largest remainder), each >= `least`."""
    free = total - least * len(weights)
    shares = [weight * free / sum(weights) for weight in weights]
    counts = [int(share) for share in shares]
    by_remainder = sorted(range(len(weights)), key=lambda i: counts[i] - shares[i])
    for i in by_remainder[: free - sum(counts)]:
        counts[i] += 1
    return [count + least for count in counts]


def intention_counts(split: str) -> dict[str, int]:
    """Conversations of each intention: a geometric fall from about 8 % to about 1 %."""
    ratio = (1 / 9) ** (1 / (len(COMMONEST_FIRST) - 1))
    weights = [ratio**rank for rank in range(len(COMMONEST_FIRST))]
    return dict(zip(COMMONEST_FIRST, apportion(weights, CONVERSATIONS[split], LEAST[split]), strict=True))


def drawn_to_total(rng: random.Random, values: list[int], total: int, low: int, high: list[int]) -> list[int]:
    """Move random entries by one, inside [`low`, their `high`], until the sum is `total`."""
    step = 1 if sum(values) < total else -1
    while sum(values) != total:
        i = rng.randrange(len(values))
        if low <= values[i] + step <= high[i]:
            values[i] += step
    return values


def utterance_counts(split: str) -> list[int]:
    """Utterances before the sticker: 2 to 16, skewed to the right, summing to Table I's total."""
    rng = stream(f"utterances/{split}")
    mean = UTTERANCES[split] / CONVERSATIONS[split]
    values = [min(16, max(2, round(rng.gammavariate(6, mean / 6)))) for _ in range(CONVERSATIONS[split])]
    return drawn_to_total(rng, values, UTTERANCES[split], 2, [16] * len(values))


def user_counts(split: str, utterances: list[int]) -> list[int]:
    """Users in a conversation: 2 to 6, no more than it has utterances and one who only sends the sticker."""
    rng = stream(f"users/{split}")
    high = [min(6, count + 1) for count in utterances]
    drawn = rng.choices([2, 3, 4, 5, 6], [42, 33, 16, 6, 3], k=len(utterances))
    values = [min(a, b) for a, b in zip(drawn, high, strict=True)]
    return drawn_to_total(rng, values, USERS[split], 2, high)


def cue_places(split: str, utterances: list[int]) -> list[str]:
    """Where each conversation's cue sits: the far places first, among conversations long enough for them."""
    rng = stream(f"cues/{split}")
    places = ["last"] * len(utterances)
    free = list(range(len(utterances)))
    rng.shuffle(free)
    for place in ("earlier", "4-6 back", "2-3 back"):
        fitting = [i for i in free if utterances[i] >= CUE_REACH[place]]
        chosen = set(fitting[: round(CUES[place] * len(utterances))])
        for i in chosen:
            places[i] = place
        free = [i for i in free if i not in chosen]
    return places


def conversation_rows(split: str) -> list[dict]:
    """The quota of one split, rows of one intention together, without ids."""
    utterances = utterance_counts(split)
    users = user_counts(split, utterances)
    cues = cue_places(split, utterances)
    rng = stream(f"rows/{split}")
    names, neighbours = table("names")[split], table("neighbours")
    topics = (FOLDER / "topics.txt").read_text(encoding="utf-8").split()
    order = list(range(CONVERSATIONS[split]))
    rng.shuffle(order)
    rows = []
    for intention, count in intention_counts(split).items():
        for _ in range(count):
            i = order.pop()
            topic, other = rng.sample(topics, 2)
            threaded = utterances[i] >= 5 and users[i] >= 3
            neighbour = rng.choice(neighbours[intention]) if rng.random() < AMBIGUOUS else ""
            usage = rng.choice(["reply", "supplement"])
            people = rng.sample(names, users[i])
            if usage == "supplement":  # its last utterance is the sender's: one place less for the others
                people = people[: utterances[i]]
            rows.append(
                {
                    "split": split,
                    "intention": intention,
                    "neighbour": neighbour,
                    "topic": topic,
                    "usage": usage,
                    "utterances": utterances[i],
                    "users": "|".join(people),
                    "cue": cues[i],
                    # 43 % of the rows are long enough, and carry the side threads of the others too
                    "thread": other if threaded and rng.random() < SIDE_THREAD / 0.43 else "",
                }
            )
    return rows


def dealt(rng: random.Random, captions: list[str]) -> Iterator[str]:
    """Captions in random order, all of them before any comes again."""
    while True:
        yield from rng.sample(captions, len(captions))


def look(rng: random.Random, intention: str, captions: Iterator[str]) -> dict:
    """Draw how a sticker of an intention looks; looks serve several intentions (`looks.json`)."""
    drawn = {field: rng.choice(keys) for field, keys in table("looks")[intention].items()}
    drawn["caption"] = next(captions) if rng.random() < CAPTIONED else ""
    drawn["background"] = rng.choice(BACKGROUNDS)
    drawn["variation"] = rng.randrange(10_000)
    return drawn


def cast(stickers: list[dict]) -> None:
    """Give every sticker a character: none shows one look twice, or, across splits, differs by its face alone."""
    rng, used, split_of = stream("characters"), set(), {}
    for sticker in stickers:
        split, body = sticker["split"], (sticker["gesture"], sticker["posture"])
        look = (sticker["expression"], *body)
        free = [k for k in CHARACTERS if (k, *look) not in used and split_of.get((k, *body), split) == split]
        character = rng.choice(free)
        used.add((character, *look))
        split_of[character, *body] = split
        sticker["character"] = character
        sticker["style"] = CHARACTERS[character].default_style


def sticker_rows(split: str, rows: list[dict]) -> list[dict]:
    """Stickers of one split, and in each conversation row the number of its sticker in that list."""
    counts = Counter(row["intention"] for row in rows)
    intentions = list(counts)
    shares = dict(zip(intentions, apportion([counts[i] for i in intentions], STICKERS[split], 1), strict=True))
    rng = stream(f"stickers/{split}")
    stickers = []
    for intention, share in shares.items():
        first = len(stickers)
        own = [row for row in rows if row["intention"] == intention]
        for number, row in enumerate(own):
            row["sticker"] = first + number * share // len(own)
        # not shared between splits: an unseen sticker has unseen words
        captions = dealt(rng, table("captions")[intention][split])
        stickers += [{"split": split, "intention": intention} | look(rng, intention, captions) for _ in range(share)]
    return stickers


def shuffled_ids(purpose: str, prefix: str, count: int) -> list[str]:
    """Ids in random order: neither an id nor the place in a file tells the label."""
    ids = [f"{prefix}{number:04d}" for number in range(1, count + 1)]
    stream(purpose).shuffle(ids)
    return ids


def draw_design() -> tuple[list[dict], list[dict]]:
    """All conversation rows and all sticker rows, sorted by id."""
    conversations, stickers = [], []
    for split in CONVERSATIONS:
        rows = conversation_rows(split)
        own = sticker_rows(split, rows)
        for row in rows:
            row["sticker"] = own[row["sticker"]]
        conversations += rows
        stickers += own
    cast(stickers)
    for rows, prefix in ((conversations, "c"), (stickers, "s")):
        for row, identifier in zip(rows, shuffled_ids(f"ids/{prefix}", prefix, len(rows)), strict=True):
            row["id"] = identifier
    for row in conversations:
        row["sticker"] = row["sticker"]["id"]
    return sorted(conversations, key=lambda row: row["id"]), sorted(stickers, key=lambda row: row["id"])


def write_table(path: Path, columns: list[str], rows: list[dict]) -> None:
    """Write rows as CSV with the given columns."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Write both tables of the design."""
    conversations, stickers = draw_design()
    write_table(FOLDER / "quota.csv", COLUMNS, conversations)
    write_table(FOLDER / "stickers.csv", STICKER_COLUMNS, stickers)


if __name__ == "__main__":
    main()
