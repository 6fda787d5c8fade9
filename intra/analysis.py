"""What notebooks ask of records and stores, as frames. No torch here."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from intra.data.schema import ATTRIBUTES, SPLITS, Dataset, Sticker
from intra.evaluation import bootstrap_interval
from intra.generation.attributes import StickerAttributes
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
    """Share of stickers whose attribute is the drawn one, in percent, by split.

    Gesture, posture and expression are right when the first keyword is the one of the drawing specification;
    verbal is right when the text read is the caption, or both are empty (marks and white space ignored).
    `commonest` is what always giving the commonest answer of all stickers would reach.
    """
    right = pd.DataFrame(
        [[is_right(name, s, a) for name in ATTRIBUTES] for s, a in zip(stickers, attributes, strict=True)],
        columns=list(ATTRIBUTES),
    )
    frame = pd.DataFrame({split: 100 * right[[split in s.splits for s in stickers]].mean() for split in SPLITS})
    commonest = {name: _commonest_share(name, stickers) for name in ATTRIBUTES}
    return frame.assign(commonest=100 * pd.Series(commonest))


def _commonest_share(attribute: str, stickers: Sequence[Sticker]) -> float:
    if attribute == "verbal":
        drawn = [bare(s.specification["caption"]) for s in stickers]
    else:
        drawn = [s.specification[DRAWN[attribute][0]] for s in stickers]
    return float(pd.Series(drawn).value_counts(normalize=True).iloc[0])


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


def same_intention_rate(spoken: pd.DataFrame, resamples: int = 1000) -> pd.Series:
    """How often two conversations that retrieve one event share their intention.

    Args:
        spoken: Rows of `knowledge_frame` with an event.
        resamples: Random reassignments of the events to conversations.

    Returns:
        `same event`: the share of such pairs with one intention; `low` and `high`: the middle 95 % of that
        share when events are assigned at random, which is what an event without information gives.
    """
    rng = np.random.default_rng(0)
    events, intentions = (pd.factorize(spoken[column])[0] for column in ("event", "intention"))
    chance = [_same_rate(rng.permutation(events), intentions) for _ in range(resamples)]
    low, high = np.quantile(chance, [0.025, 0.975])
    return pd.Series({"same event": _same_rate(events, intentions), "low": float(low), "high": float(high)})


def _same_rate(events: np.ndarray, intentions: np.ndarray) -> float:
    first, second = np.triu_indices(len(events), 1)
    together = events[first] == events[second]
    return float((intentions[first] == intentions[second])[together].mean()) if together.any() else float("nan")


def right_predictions(predictions: pd.DataFrame) -> list[np.ndarray]:
    """Whether each prediction is right (0 or 1): one array a seed, queries in one order."""
    right = (predictions.predicted == predictions.true).astype(float)
    return [values.to_numpy() for _, values in right.groupby(predictions.seed)]


def difference_interval(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> tuple[float, float]:
    """95 % bootstrap interval, over seeds and queries, of the mean difference on the same queries.

    Args:
        ours: One array of Q values a seed.
        theirs: As many arrays, or a single one for all seeds.
    """
    if len(theirs) == 1:
        theirs = list(theirs) * len(ours)
    return bootstrap_interval([a - b for a, b in zip(ours, theirs, strict=True)])


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


def one_of_each(stickers: Sequence[Sticker], field: str) -> dict[str, Sticker]:
    """The first sticker, by id, for each value of a field of the drawing specification."""
    first: dict[str, Sticker] = {}
    for sticker in sorted(stickers, key=lambda sticker: sticker.id):
        if field in sticker.specification:
            first.setdefault(sticker.specification[field], sticker)
    return dict(sorted(first.items()))


def reader_frame(checks: dict) -> pd.DataFrame:
    """Agreement of the second reading with the labels, in percent (kappa times 100), one column a split."""
    return pd.DataFrame(checks["readers"])


def reader_numbers(readers: pd.DataFrame) -> dict[str, float]:
    """Agreement and kappa of each split, under the names that prose uses; none without a second reading."""
    named = readers.reindex(["agreement", "kappa", "macro_f1"]).dropna(axis="columns")
    return {f"reader_{row}_{split}": float(named.loc[row, split]) for split in named for row in named.index}


def reader_confusion(dataset: Dataset) -> pd.DataFrame:
    """Share of the second reading (columns) for each label (rows), over all conversations that were read twice."""
    read = [c for c in dataset.conversations if c.second_reading]
    counts = pd.crosstab([c.intention for c in read], [c.second_reading for c in read])
    counts = counts.reindex(index=dataset.intentions, columns=dataset.intentions, fill_value=0)
    return counts.div(counts.sum(axis=1).clip(lower=1), axis=0)


def guess_frame(checks: dict, split: str) -> pd.DataFrame:
    """Accuracy with its interval and macro F1 of every classifier and control on a split, and the second reading."""
    frame = _on_split(checks["guesses"], split)
    reader = checks["readers"].get(split)
    if reader:
        frame.loc["second reading"] = {"accuracy": reader["agreement"]} | {k: reader[k] for k in frame.columns[1:]}
    return frame


def sticker_guess_frame(checks: dict, split: str) -> pd.DataFrame:
    """The same for the intentions of stickers, guessed from their drawing specification; empty without one."""
    return _on_split(checks["stickers"], split)


def _on_split(guesses: dict, split: str) -> pd.DataFrame:
    return pd.DataFrame.from_dict({name: by[split] for name, by in guesses.items()}, orient="index")


def guess_numbers(guesses: pd.DataFrame) -> dict[str, float]:
    """Accuracies under the names that prose uses."""
    return {f"guess_{name.split()[0].rstrip(',')}": float(guesses.loc[name, "accuracy"]) for name in guesses.index}


def pretraining_pictures(record: dict) -> pd.DataFrame:
    """The pictures that the small vision encoder was trained and measured on, with their licences."""
    licences = record["transfer"]["licences"]
    unseen = {row["set"]: row["pictures"] for row in record["transfer"]["retrieval"]}
    rows = {
        "drawings": (record["drawings"], "training", "drawn here"),
        **{name: (count, "training", licences[name]) for name, count in record["emoji"].items()},
        "drawings, another cast": (record["validation_drawings"], "validation", "drawn here"),
        **{name: (count, "measured alone", licences[name]) for name, count in unseen.items()},
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["pictures", "use", "licence"])


def pretraining_history(record: dict) -> pd.DataFrame:
    """Mean of each term of the loss and accuracy (in percent) on the validation drawings, one row an epoch.

    Returns:
        Columns (`loss`, term) and (`accuracy`, attribute).
    """
    rows = {}
    for entry in record["epochs"]:
        losses = {("loss", term): value for term, value in entry["losses"].items()}
        rows[entry["epoch"]] = losses | {("accuracy", name): 100 * x for name, x in entry["validation"].items()}
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("epoch")
    return frame.set_axis(pd.MultiIndex.from_tuples(frame.columns), axis=1)


def held_out_accuracy(record: dict) -> pd.DataFrame:
    """Accuracy of the trained tagger on the validation drawings beside chance, in percent, one row an attribute."""
    chance = {name: 1 / len(vocabulary) for name, (_, vocabulary) in DRAWN.items()}
    return 100 * pd.DataFrame({"tagger": record["validation"], "chance": chance})


def zero_shot_accuracy(record: dict) -> pd.DataFrame:
    """Zero-shot accuracy on the benchmark's stickers, in percent, one row an attribute and split.

    Returns:
        Column `stickers`, and in percent `chinese` and `english` (by the language of the keys' texts), `chance`
        and `majority`, the share of the commonest key.
    """
    frame = pd.DataFrame(record["transfer"]["zero_shot"]).set_index(["attribute", "split"])
    return _in_percent(frame, ["chinese", "english", "chance", "majority"])


def art_retrieval(record: dict) -> pd.DataFrame:
    """How well names find their pictures in unseen art, one row a set and language, and one for chance.

    Returns:
        Columns `pictures`, `recall@1`, `recall@5`, `recall@10` (in percent) and `median rank`.
    """
    frame = pd.DataFrame(record["transfer"]["retrieval"]).set_index(["set", "names"])
    return _in_percent(frame, [column for column in frame if column.startswith("recall")])


def _in_percent(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    return frame.assign(**{column: 100 * frame[column] for column in columns})


def share_interval(percent: float, count: int) -> tuple[float, float]:
    """95 % bootstrap interval, in percent, of a share of so many cases."""
    low, high = bootstrap_interval([np.arange(count) < round(percent / 100 * count)])
    return 100 * low, 100 * high


def transfer_differences(zero_shot: pd.DataFrame, retrieved: pd.DataFrame) -> pd.DataFrame:
    """How far an encoder lies above what needs no picture: zero-shot on test above majority, recall@10 above chance.

    Args:
        zero_shot: Answer of `zero_shot_accuracy`.
        retrieved: Answer of `art_retrieval`.

    Returns:
        One row a measure and language: `difference` in points, and `low` and `high`, the ends of its 95 % bootstrap
        interval over stickers or names, with the yardstick taken as fixed.
    """
    rows = {}
    for attribute, row in zero_shot.xs("test", level="split").iterrows():
        for language in ("chinese", "english"):
            rows[f"{attribute}, {language}"] = _difference(row[language], int(row["stickers"]), row["majority"])
    for name, group in retrieved.droplevel("set").groupby(retrieved.index.get_level_values("set"), sort=False):
        chance = group.loc["chance", "recall@10"]
        for language, row in group.drop("chance").iterrows():
            rows[f"{name}, {language}"] = _difference(row["recall@10"], int(row["pictures"]), chance)
    return pd.DataFrame.from_dict(rows, orient="index")


def _difference(percent: float, count: int, yardstick: float) -> dict[str, float]:
    low, high = share_interval(percent, count)
    return {"difference": percent - yardstick, "low": low - yardstick, "high": high - yardstick}
