"""How hard a data set is, and whether a shortcut gives the label away.

Simple classifiers and controls guess the intention of validation and test conversations; a second reader, where
there is one, tells what a person reaches from the same text. Near repetitions across splits are looked for. Where
stickers have a drawing specification, their intentions are guessed from it.
"""

import json
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from intra.components import Components
from intra.config import RunConfig
from intra.data.context import context_text
from intra.data.reader import profile_dataset
from intra.data.schema import SPLITS, Conversation, Dataset
from intra.evaluation import bootstrap_interval
from intra.vectors import Standardiser, cached

STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
"""Inverse regularisation of the logistic regressions; the best on validation is taken."""
LOOKS = {"face": ("expression",), "face, gesture, posture and prop": ("expression", "gesture", "posture", "prop")}
"""Fields of the drawing specification from which the intention of a sticker is guessed."""
WHOLE = 100
"""Utterances of context: all."""


def run_checks(config: RunConfig) -> dict:
    """Every check of a data set, ready for `checks.json`.

    Returns:
        `guesses`: name to split to accuracy (with its 95 % interval over conversations) and macro F1, in
        percent; `stickers`: the same of `sticker_guesses`; `readers`: split to raw agreement, kappa and macro F1 of
        the second reading, in percent (kappa times 100); `nearest`: the two conversations of different splits that
        are most alike, and their cosine.
    """
    dataset, parts = profile_dataset(config.dataset, config.profile), Components(config.profile)
    texts = {split: [context_text(c, WHOLE) for c in dataset.split(split).conversations] for split in SPLITS}
    vectors = {
        split: cached([parts.text.name, "whole", *own], lambda own=own: parts.text.encode(own))
        for split, own in texts.items()
    }
    labels = {split: np.array([c.intention for c in dataset.split(split).conversations]) for split in SPLITS}
    guesses = {
        "majority": _majority(labels),
        "layout, without text": _classifier(_standardised(_layout(dataset)), labels),
        "shuffled contexts": _shuffled(vectors, labels),
        "character n-grams": _classifier(_character_ngrams(texts), labels),
        "sentence embedding": _classifier(_standardised(vectors), labels),
    }
    return {
        "guesses": _scored(guesses, labels),
        "stickers": sticker_guesses(dataset),
        "readers": {split: reader_agreement(dataset.split(split)) for split in ("valid", "test")},
        "nearest": nearest_across_splits(dataset, vectors),
    }


def write_checks(path: Path, config: RunConfig, inputs: dict) -> None:
    """Write `checks.json` unless it was made with the same inputs (see `running.inputs`)."""
    if path.exists() and json.loads(path.read_text(encoding="utf-8"))["inputs"] == inputs:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"inputs": inputs, **run_checks(config)}
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def reader_agreement(part: Dataset) -> dict[str, float]:
    """How far the second reading agrees with the first label.

    Returns:
        `agreement`, with its 95 % interval `low` and `high`; `kappa` (Cohen's); `macro_f1` over the intentions of
        the first labels; `agreement_or_neighbour`, where the intention that the writer meant to be nearly as
        sensible counts too. All times 100; empty if there is no second reading.
    """
    from sklearn.metrics import cohen_kappa_score

    read = [c for c in part.conversations if c.second_reading]
    if not read:
        return {}
    first, second = [c.intention for c in read], [c.second_reading for c in read]
    either = np.mean([c.second_reading in (c.intention, c.neighbour) for c in read])
    score = _score(np.array(second), np.array(first))
    return {
        "conversations": len(read),
        "agreement": score["accuracy"],
        "low": score["low"],
        "high": score["high"],
        "kappa": round(100 * cohen_kappa_score(first, second), 4),
        "macro_f1": score["macro_f1"],
        "agreement_or_neighbour": round(100 * float(either), 4),
    }


def sticker_guesses(dataset: Dataset) -> dict:
    """How far the drawing specification of sent stickers, which no model reads, tells their intention (see `LOOKS`).

    Returns:
        Name to split to accuracy and macro F1; empty if a sticker has no specification.
    """
    from sklearn.feature_extraction import DictVectorizer

    if not all(sticker.specification for sticker in dataset.stickers):
        return {}
    intentions = {split: dataset.split(split).sticker_intentions() for split in SPLITS}
    sent = {split: [s for s in dataset.split(split).stickers if s.id in intentions[split]] for split in SPLITS}
    labels = {split: np.array([intentions[split][s.id][0] for s in own]) for split, own in sent.items()}
    guesses = {"majority": _majority(labels)}
    for name, fields in LOOKS.items():
        drawn = {
            split: [{field: str(s.specification[field]) for field in fields} for s in own]
            for split, own in sent.items()
        }
        vectorizer = DictVectorizer().fit(drawn["train"])
        features = {split: vectorizer.transform(own) for split, own in drawn.items()}
        guesses[name] = _classifier(features, labels)
    return _scored(guesses, labels)


def nearest_across_splits(dataset: Dataset, vectors: dict[str, np.ndarray]) -> dict:
    """The most alike conversations of two splits by the cosine of their embeddings.

    Args:
        dataset: With conversations in every split.
        vectors: Split to unit vectors of its conversations, shape (Q, e).
    """
    best = {"cosine": -1.0, "conversations": []}
    for number, one in enumerate(SPLITS):
        for other in SPLITS[number + 1 :]:
            cosine = vectors[one] @ vectors[other].T
            row, column = np.unravel_index(cosine.argmax(), cosine.shape)
            if cosine[row, column] > best["cosine"]:
                pair = dataset.split(one).conversations[row].id, dataset.split(other).conversations[column].id
                best = {"cosine": round(float(cosine[row, column]), 4), "conversations": list(pair)}
    return best


def _scored(guesses: dict[str, dict[str, np.ndarray]], labels: dict[str, np.ndarray]) -> dict:
    return {name: {split: _score(guess[split], labels[split]) for split in guess} for name, guess in guesses.items()}


def _score(guessed: np.ndarray, true: np.ndarray) -> dict[str, float]:
    from sklearn.metrics import f1_score

    right = (guessed == true).astype(float)
    low, high = bootstrap_interval([right])
    macro_f1 = f1_score(true, guessed, labels=np.unique(true), average="macro", zero_division=0)
    values = {"accuracy": right.mean(), "low": low, "high": high, "macro_f1": macro_f1}
    return {name: round(100 * float(value), 4) for name, value in values.items()}


def _majority(labels: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    commonest = Counter(labels["train"].tolist()).most_common(1)[0][0]
    return {split: np.full(len(labels[split]), commonest) for split in ("valid", "test")}


def _classifier(features: dict, labels: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a logistic regression on the training split guesses; its strength is chosen on validation."""
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes")  # few conversations, as the smoke profile
        models = [LogisticRegression(C=c, max_iter=1000).fit(features["train"], labels["train"]) for c in STRENGTHS]
    best = max(models, key=lambda model: model.score(features["valid"], labels["valid"]))
    return {split: best.predict(features[split]) for split in ("valid", "test")}


def _shuffled(vectors: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The embedding classifier, trained on contexts that were dealt out to other labels."""
    rng = np.random.default_rng(0)
    return _classifier(_standardised(vectors | {"train": rng.permutation(vectors["train"])}), labels)


def _standardised(features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    scale = Standardiser(features["train"])
    return {split: scale(own) for split, own in features.items()}


def _character_ngrams(texts: dict[str, list[str]]) -> dict:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True, min_df=2)
    vectorizer.fit(texts["train"])
    return {split: vectorizer.transform(own) for split, own in texts.items()}


def _layout(dataset: Dataset) -> dict[str, np.ndarray]:
    """What a conversation looks like without a word of it: a shortcut, if the plan had one."""
    return {split: np.array([_shape(c) for c in dataset.split(split).conversations], float) for split in SPLITS}


def _shape(conversation: Conversation) -> list[float]:
    lengths = [len(utterance.text) for utterance in conversation.utterances]
    return [
        len(lengths),
        len(conversation.users),
        conversation.usage == "reply",
        np.mean(lengths),
        max(lengths),
        lengths[-1],
        bool(conversation.thread),
        sum(utterance.user == conversation.sender for utterance in conversation.utterances),
    ]
