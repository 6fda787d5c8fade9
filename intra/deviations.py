"""What departures from the paper and its release are worth here, as short texts that a page can paste. No torch here.

Two things are measured: what changes when a run is made otherwise, and what other rules of scoring say of one ranking.
"""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from intra.comparisons import found
from intra.data.schema import Dataset
from intra.errors import IntraError
from intra.records import Record
from intra.tables import Labelled, by_chance

FILLED = (156, 160)
"""Lengths that a list of queries is filled to: whole batches of four, as stated, and what P@N of Int-RA fits."""
NUMBERINGS = 1000
"""Random ways to number the intentions."""


def glue_name(kind: str, label: str) -> str:
    """Under which a text is pasted: `effect_query_teacher` of `effect` and `query: teacher`."""
    return f"{kind}_{re.sub('[^a-z0-9]+', '_', label.lower()).strip('_')}"


def effects(differences: pd.DataFrame) -> dict[str, str]:
    """Text of how far each configuration lies above a base, such as `hit@1 -3.4 [-8.1, +1.9], mAP +2.5* [+0.7, +4.5]`.

    Args:
        differences: Answer of `tables.differences`, or several, one below the other.

    Returns:
        Name to text. A star marks a difference that is found (`comparisons.found`).

    Raises:
        IntraError: If a configuration and metric stand in two rows.
    """
    if differences.index.has_duplicates:
        raise IntraError(f"{differences.index[differences.index.duplicated()][0]} is compared twice")
    stars = np.where(found(differences) == "", "", "*")
    ends = differences[["difference", "low", "high"]].itertuples(index=False, name=None)
    texts: dict[str, list[str]] = {}
    for (label, metric), star, (middle, low, high) in zip(differences.index, stars, ends, strict=True):
        text = f"{metric} {middle:+z.1f}{star} [{low:+z.1f}, {high:+z.1f}]"
        texts.setdefault(glue_name("effect", label), []).append(text)
    return {name: ", ".join(own) for name, own in texts.items()}


def reached(above: pd.DataFrame) -> dict[str, str]:
    """Text of what each configuration reaches beside chance, such as `hit@1 3.5 (chance 4.1), mAP 7.3 (chance 7.5)`.

    Args:
        above: Answer of `readings.beside_chance`.
    """
    texts: dict[str, list[str]] = {}
    for (label, metric), row in above.iterrows():
        text = f"{metric} {row['mean']:.1f} (chance {row['chance']:.1f})"
        texts.setdefault(glue_name("reached", label), []).append(text)
    return {name: ", ".join(own) for name, own in texts.items()}


def selected_by_rate(tuning: Labelled) -> str:
    """Text of the validation mAP of one system by learning rate, such as `19.2 at 0.0003, 19.5 at 0.001`."""
    means = {
        records[0].config.learning_rate: 100 * np.mean([record.content["selection"]["value"] for record in records])
        for records in tuning.values()
    }
    return ", ".join(f"{means[rate]:.1f} at {rate:g}" for rate in sorted(means))


def scoring_rules(records: Sequence[Record], dataset: Dataset, filled: Sequence[int] = FILLED) -> pd.DataFrame:
    """What one system's test rankings score by this book's rules and by others, in percent.

    The others are what the released code does to labels and lists, and what the paper's words would mean.

    Args:
        records: Runs of a system over seeds, with their ranked lists.
        dataset: That they are of, with one intention a sticker.
        filled: Lengths that the list of queries is filled to, by starting again at its first.

    Returns:
        One row a rule: `queries` that are averaged, `score`, and exact `chance`, means over seeds.
    """
    part, window = dataset.split("test"), records[0].config.window
    right, sent = (np.mean([r.per_query(match)["hit@1"] for r in records], axis=0) for match in ("intention", "exact"))
    chance, alone = (by_chance(records[0], match)["hit@1"].to_numpy() for match in ("intention", "exact"))
    exactly = np.array([len(c.utterances) == window for c in part.conversations])
    rows = {"hit@1": (right, chance)}
    for length in filled:
        again = np.arange(length) % len(right)
        rows[f"hit@1, filled to {length}"] = right[again], chance[again]
    rows[f"hit@1, exactly {window} utterances"] = right[exactly], chance[exactly]
    rows["hit@1, first character"] = first_characters(records, part)
    rows["hit@1, sticker sent"] = sent, alone
    for name in ("hit@5", "precision@5"):
        score = np.mean([record.per_query("intention")[name] for record in records], axis=0)
        rows[name] = score, by_chance(records[0])[name].to_numpy()
    means = {
        rule: {"queries": len(score), "score": 100 * score.mean(), "chance": 100 * expected.mean()}
        for rule, (score, expected) in rows.items()
    }
    return pd.DataFrame.from_dict(means, orient="index")


def first_characters(records: Sequence[Record], part: Dataset, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """hit@1 where only the first character of the number of a sticker's intention is compared, as in the release.

    How the release numbers intentions is not published, so that the mean over random numberings from 0 up is taken.

    Args:
        records: Runs of a system over seeds, with their ranked lists.
        part: Test split, with one intention a sticker.
        seed: Of the numberings.

    Returns:
        Mean score of each query, and its expectation in random order, both of shape (Q,), float64.
    """
    column = {intention: number for number, intention in enumerate(part.intentions)}
    shown = {sticker: column[own[0]] for sticker, own in part.sticker_intentions().items()}
    asked = np.array([column[conversation.intention] for conversation in part.conversations])
    first = np.array([[shown[next(iter(ranking))] for ranking in record.run().values()] for record in records])
    counts = np.bincount(list(shown.values()), minlength=len(column))
    rng, score, chance = np.random.default_rng(seed), np.zeros(len(asked)), np.zeros(len(asked))
    for _ in range(NUMBERINGS):
        numbers = rng.permutation(len(column))
        seen = np.array([int(str(number)[0]) for number in numbers])
        score += (seen[first] == numbers[asked]).mean(axis=0)
        chance += (seen == numbers[asked][:, None]) @ counts / counts.sum()
    return score / NUMBERINGS, chance / NUMBERINGS


def scored(rules: pd.DataFrame) -> dict[str, str]:
    """Text of each rule of `scoring_rules`, such as `13.9 (chance 4.1)`, under names such as `rule_hit_5`."""
    return {glue_name("rule", rule): f"{row.score:.1f} (chance {row.chance:.1f})" for rule, row in rules.iterrows()}
