"""What each system of the results page is: what it reads, learns from and is told, and by what it ranks.

No torch here. What is the same for all runs of a system stands in `CARDS`; the rest is read off the records.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from intra.config import RunConfig, unknown
from intra.errors import IntraError
from intra.records import Record

GROUPS = ("controls", "retrieval systems", "language models", "ours")
"""What a system of the results page can be, in the order of its tables."""
NOTHING = "none"
STICKER, INTENTION = "sticker", "intention"
BOTH = f"{STICKER}, {INTENTION}"
TRUE_INTENTION = "true intention"
"""Of the test stickers: knowing it gives a part of the answer away."""
WITH_INTENTION = " + intention"
"""How the label of a system ends that learns from intentions too, which its authors did not foresee."""


@dataclass(frozen=True)
class Card:
    """What is the same for all runs of a system."""

    group: str
    """One of `GROUPS`."""
    reads: tuple[str, ...]
    """Keys of `inputs.components` of a record: the trunks and the sources of generated text that it uses."""
    labels: str
    """What it knows of a training conversation besides its text: `none`, the `sticker` that was sent, its
    `intention`."""
    told: str
    """What it is told of test conversations and stickers that nobody would know who has to answer: `none`, or what."""
    score: str
    """By what it ranks."""
    source: str
    """Where it comes from."""


_CONTROL, _SYSTEM, _MODEL, _OURS = GROUPS
_PAIR, _ALL = ("text", "vision"), ("text", "vision", "knowledge", "attributes")
_E5 = Card(_CONTROL, ("text", "attributes"), NOTHING, NOTHING, "cosine of encoded texts", "Wang et al., 2024 (E5)")
_CLIP = Card(_SYSTEM, _PAIR, STICKER, NOTHING, "cosine in the joint space", "Radford et al., ICML 2021")
CARDS = {
    "Random": Card(_CONTROL, (), NOTHING, NOTHING, "random numbers", "control"),
    "Majority intention": Card(_CONTROL, (), INTENTION, TRUE_INTENTION, "commonest training intention", "control"),
    "Intention prior": Card(_CONTROL, (), INTENTION, TRUE_INTENTION, "share of its intention in training", "control"),
    "BM25": Card(
        _CONTROL, ("attributes",), NOTHING, NOTHING, "words of context and description", "Robertson and Zaragoza, 2009"
    ),
    "e5 cosine, last utterance": _E5,
    "e5 cosine, context": _E5,
    "e5 cosine, context, intentions told": replace(_E5, told=TRUE_INTENTION),
    "Intention classifier": Card(
        _CONTROL,
        ("text", "vision", "attributes"),
        INTENTION,
        NOTHING,
        "probability that both have one intention",
        "control",
    ),
    "Intention classifier, intentions told": Card(
        _CONTROL, ("text",), INTENTION, TRUE_INTENTION, "probability of its intention", "control"
    ),
    "Blind reader": Card(
        _CONTROL,
        (),
        NOTHING,
        f"{TRUE_INTENTION}, a second reader's of the query",
        "intention that a second reader saw in the context",
        "control",
    ),
    "Oracle attributes": replace(_E5, told="attributes of the sticker that was sent", source="upper bound"),
    "Oracle intention": Card(
        _CONTROL, (), NOTHING, f"{TRUE_INTENTION}, also the query's", "the query's intention", "upper bound"
    ),
    "SRS": Card(
        _SYSTEM,
        _PAIR,
        STICKER,
        NOTHING,
        "recurrent network over utterances matched with regions",
        "Gao et al., WWW 2020",
    ),
    "MOD": Card(
        _SYSTEM, _PAIR, STICKER, NOTHING, "negative distance of predicted and true vector", "Fei et al., 2021 (DSTC10)"
    ),
    "LGUR": Card(_SYSTEM, _PAIR, STICKER, NOTHING, "cosine of joined part vectors", "Shao et al., ACM MM 2022"),
    "IRRA": Card(_SYSTEM, _PAIR, STICKER, NOTHING, "cosine of global vectors", "Jiang and Ye, CVPR 2023"),
    "PCME": Card(_SYSTEM, _PAIR, STICKER, NOTHING, "log-odds of a match over 7 x 7 samples", "Chun et al., CVPR 2021"),
    "CLIP zero-shot": replace(_CLIP, labels=NOTHING),
    "CLIP adapters": _CLIP,
    "CLIP fine-tuned": _CLIP,
    "Int-RA": Card(_OURS, _ALL, BOTH, NOTHING, "cosine of a predicted label and weighed regions", "the paper"),
    "Int-RA+": Card(_OURS, _ALL, INTENTION, NOTHING, "probability that both have one intention", "this book"),
}
"""Label of a configuration of the study `main` to its card."""


def card(label: str, config: RunConfig) -> Card:
    """The card of a configuration; one that learns from intentions too has that of the published system otherwise.

    Raises:
        IntraError: If there is none.
    """
    if config.language_model:
        told = TRUE_INTENTION if "intention" in config.gallery_text else NOTHING
        return replace(_E5, group=_MODEL, labels=BOTH, told=told, source=config.language_model)
    published = label.removesuffix(WITH_INTENTION)
    if published not in CARDS:
        raise IntraError(unknown("system", published, CARDS))
    return CARDS[published] if label == published else replace(CARDS[published], labels=BOTH)


def in_groups(study: Mapping[str, Sequence[Record]]) -> dict[str, list[str]]:
    """The labels of a study by group, in the order of `GROUPS` and, in each, of the study."""
    found = {label: card(label, records[0].config).group for label, records in study.items()}
    return {group: [label for label in found if found[label] == group] for group in GROUPS}


def identity_cards(study: Mapping[str, Sequence[Record]]) -> pd.DataFrame:
    """One row a configuration, in groups: what it is, and how it was trained, medians over its seeds, as text."""
    labels = [label for own in in_groups(study).values() for label in own]
    rows = {label: _row(card(label, study[label][0].config), study[label]) for label in labels}
    return pd.DataFrame.from_dict(rows, orient="index")


def _row(own: Card, records: Sequence[Record]) -> dict[str, str]:
    names = records[0].content["inputs"]["components"]
    return {
        "trunks": _names(names, own.reads, ("text", "vision")),
        "generated text": _names(names, own.reads, ("knowledge", "attributes")),
        **_training(records),
        "labels in training": own.labels,
        "told at test": own.told,
        "ranked by": own.score,
        "seconds to fit": f"{_median(r.content['seconds']['fit'] for r in records):.1f}",
        "seconds to rank": f"{_median(r.content['seconds']['score'] for r in records):.2f}",
        "source": own.source,
    }


def _names(components: Mapping[str, str], reads: Sequence[str], kinds: Sequence[str]) -> str:
    """Names of the parts that are read, without revisions and settings."""
    return ", ".join(components[kind].split("@")[0] for kind in kinds if kind in reads) or NOTHING


def _training(records: Sequence[Record]) -> dict[str, str]:
    """Weights that are trained, passes over the data and settings; no settings where nothing was selected by epoch."""
    first, parameters = records[0].config, int(records[0].content.get("parameters", 0))
    row = {"trained parameters": f"{parameters:,}", "epochs": NOTHING, "learning rate": NOTHING, "batch": NOTHING}
    if not records[0].content["selection"]:
        return row
    run = _median(len(record.content["history"]) for record in records)
    best = _median(record.content["selection"]["epoch"] for record in records)
    rates = f"{first.learning_rate:g}"
    if first.tuned_layers:
        rates += f", trunks {first.encoder_learning_rate:g}"
    return row | {"epochs": f"{run:g}, best {best:g}", "learning rate": rates, "batch": str(first.batch_size)}


def _median(values) -> float:
    return float(np.median(list(values)))
