"""What notebooks ask of records and stores, as frames. No torch here."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from intra.data.schema import Dataset, Sticker
from intra.evaluation import bootstrap_interval
from intra.generation.attributes import ATTRIBUTES, StickerAttributes
from intra.generation.knowledge import RELATIONS, Knowledge
from intra.records import Record
from intra.replystickers.vocabulary import EXPRESSIONS, GESTURES, POSTURES

DRAWN = {
    "gesture": ("gesture", GESTURES),
    "posture": ("posture", POSTURES),
    "facial_expression": ("expression", EXPRESSIONS),
}
"""Attribute to its field in the drawing specification and that field's vocabulary."""


def knowledge_frame(dataset: Dataset, knowledge: Sequence[Knowledge]) -> pd.DataFrame:
    """One row a conversation: its last utterance, the event that was found, how near it is, and the inferences."""
    rows = {}
    for conversation, found in zip(dataset.conversations, knowledge, strict=True):
        inferences = {relation: "，".join(found.inferences.get(relation, [])) for relation in RELATIONS}
        rows[conversation.id] = {
            "split": conversation.split,
            "intention": conversation.intention,
            "last utterance": conversation.utterances[-1].text,
            "event": found.event,
            "score": found.score,
            **inferences,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def attribute_accuracy(stickers: Sequence[Sticker], attributes: Sequence[StickerAttributes]) -> pd.DataFrame:
    """Share of stickers whose attribute is the drawn one, in percent, by split, beside chance.

    Gesture, posture and expression are right when the first keyword is the one of the drawing specification;
    verbal is right when the text read is the caption, or both are empty (marks and white space ignored).
    Chance is the share of the commonest answer for verbal (no text) and one over the vocabulary for others.
    """
    right = pd.DataFrame(
        [[is_right(name, s, a) for name in ATTRIBUTES] for s, a in zip(stickers, attributes, strict=True)],
        columns=list(ATTRIBUTES),
    )
    frame = 100 * right.groupby([s.split for s in stickers]).mean().T
    silent = np.mean([not s.specification["caption"] for s in stickers])
    chance = {name: 1 / len(DRAWN[name][1]) if name in DRAWN else silent for name in ATTRIBUTES}
    return frame[["train", "valid", "test"]].assign(chance=100 * pd.Series(chance))


def is_right(attribute: str, sticker: Sticker, attributes: StickerAttributes) -> bool:
    """Whether one attribute of one sticker is what was drawn."""
    keywords = getattr(attributes, attribute)
    if attribute == "verbal":
        return bare("".join(keywords)) == bare(sticker.specification["caption"])
    field, vocabulary = DRAWN[attribute]
    return bool(keywords) and keywords[0] == vocabulary[sticker.specification[field]][0]


def bare(text: str) -> str:
    """Letters and digits of a text, in lower case: marks are where character recognition differs most."""
    return "".join(c for c in text.lower() if c.isalnum())


def attribute_confusion(
    attribute: str, stickers: Sequence[Sticker], attributes: Sequence[StickerAttributes]
) -> pd.DataFrame:
    """How often each drawn key (rows) was tagged as each key (columns); rows sum to 1."""
    field, vocabulary = DRAWN[attribute]
    keys = {chinese: key for key, (chinese, _) in vocabulary.items()}
    drawn = pd.Series([s.specification[field] for s in stickers], name="drawn")
    tagged = pd.Series([keys[getattr(a, attribute)[0]] for a in attributes], name="tagged")
    table = pd.crosstab(drawn, tagged, normalize="index")
    return table.reindex(index=list(vocabulary), columns=list(vocabulary), fill_value=0.0)


def intention_predictions(records: Sequence[Record], dataset: Dataset) -> pd.DataFrame:
    """True and predicted intention of every test query, one row a query and seed."""
    names = np.array(dataset.intentions)
    test = dataset.split("test").conversations
    frames = []
    for record in records:
        predicted = names[record.details()["intention_probabilities"].argmax(axis=1)]
        frames.append(
            pd.DataFrame(
                {
                    "query": [c.id for c in test],
                    "seed": record.seed,
                    "true": [c.intention for c in test],
                    "neighbour": [c.neighbour for c in test],
                    "predicted": predicted,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def relation_mass(scores: np.ndarray, stickers: Sequence[Sticker], size: float = 240) -> pd.DataFrame:
    r"""How much of a sticker's relation score falls into the box of a part, over the share of the area it covers.

    Args:
        scores: \mathcal{M}, shape (S, P), rows sum to 1, P a square number of regions.
        stickers: The S stickers, whose `regions` are boxes in pixels of a `size` square.
        size: Side of the picture.

    Returns:
        One row a sticker and part: `mass`, `area` (what uniform scores give) and their ratio `lift`.
    """
    side = round(scores.shape[1] ** 0.5)
    rows = []
    for number, (score, sticker) in enumerate(zip(scores, stickers, strict=True)):
        for part, box in sticker.regions.items():
            covered = region_cover(box, side, size)
            mass, area = float(score @ covered / score.sum()), float(covered.mean())
            rows.append({"sticker": number, "part": part, "mass": mass, "area": area, "lift": mass / area})
    return pd.DataFrame(rows)


def region_cover(box: Sequence[float], side: int, size: float) -> np.ndarray:
    """Share of each region that a box covers, shape (side * side,), row by row from the top."""
    edges = np.linspace(0, size, side + 1)
    x0, y0, x1, y1 = box
    across = np.clip(np.minimum(edges[1:], x1) - np.maximum(edges[:-1], x0), 0, None)
    down = np.clip(np.minimum(edges[1:], y1) - np.maximum(edges[:-1], y0), 0, None)
    return np.outer(down, across).ravel() / (size / side) ** 2


def lift_by_part(mass: pd.DataFrame) -> pd.DataFrame:
    """Mean mass, area and lift of each part, with a 95 % bootstrap interval of lift over stickers."""
    rows = {}
    for part, group in mass.groupby("part"):
        lift = group["lift"].to_numpy()
        low, high = bootstrap_interval([lift])
        means = {"stickers": len(group), "mass": group["mass"].mean(), "area": group["area"].mean()}
        rows[part] = means | {"lift": lift.mean(), "low": low, "high": high}
    return pd.DataFrame.from_dict(rows, orient="index")


def same_intention_rate(spoken: pd.DataFrame) -> pd.Series:
    """Share of pairs of conversations with one intention: among all pairs, and among those with one event.

    Args:
        spoken: Rows of `knowledge_frame` with an event.
    """

    def rate(counts: pd.Series, groups: pd.Series) -> float:
        pairs = (groups * (groups - 1)).sum()
        return float((counts * (counts - 1)).sum() / pairs) if pairs else float("nan")

    any_pair = rate(spoken.intention.value_counts(), pd.Series([len(spoken)]))
    same_event = rate(spoken.groupby(["event", "intention"]).size(), spoken.groupby("event").size())
    return pd.Series({"any pair": any_pair, "same event": same_event})


def intention_accuracy(predictions: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
    """Accuracy of the intention predictor and of the commonest training intention, in percent.

    Args:
        predictions: Answer of `intention_predictions`.
        dataset: For the commonest training intention.

    Returns:
        Columns `accuracy`, `low`, `high` (95 % bootstrap interval over seeds and queries) and
        `or neighbour`: right, or the neighbour that the writer meant to be nearly as sensible.
    """
    train = [c.intention for c in dataset.split("train").conversations]
    commonest = max(dataset.intentions, key=train.count)  # the first of equally common ones, as in `Majority`
    guesses = {"Int-RA": predictions, "Majority": predictions.assign(predicted=commonest)}
    rows = {}
    for name, frame in guesses.items():
        right = (frame.predicted == frame.true).astype(float)
        near = right.astype(bool) | (frame.predicted == frame.neighbour)
        low, high = bootstrap_interval([values.to_numpy() for _, values in right.groupby(frame.seed)])
        ends = {"accuracy": right.mean(), "low": low, "high": high, "or neighbour": near.mean()}
        rows[name] = {column: 100 * value for column, value in ends.items()}
    return pd.DataFrame.from_dict(rows, orient="index")
