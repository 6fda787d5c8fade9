"""Every row of the main study on toy data whose labels can be changed: what two test modules ask about all systems."""

from dataclasses import dataclass, replace

import numpy as np
from helpers import toy_features

from intra.config import RunConfig
from intra.data.reader import config_dataset
from intra.data.schema import Utterance
from intra.features import Features, Partition, build_features
from intra.generation.attributes import StickerAttributes
from intra.identity import NOTHING, Card, card
from intra.models import SYSTEMS
from intra.study import STUDIES

RELEASED = "as released"
ROWS = STUDIES["main"].configurations | {RELEASED: STUDIES["release"].configurations[RELEASED]}
"""Label to what is asked of `RunConfig.of_profile`; every system is among them."""
SMALL = {"width": 16, "heads": 2, "batch_size": 16, "epochs": 2, "patience": 2}
KEYWORDS = "挥手 点头 微笑 大哭 鼓掌 发呆 跳舞 睡觉".split()


def row_config(label: str) -> RunConfig:
    """A row that fits the toy features: small, and two epochs."""
    return RunConfig.of_profile("smoke", **ROWS[label]).with_changes(**SMALL)


def row_card(label: str) -> Card:
    """The card of a row; the released Int-RA, which no table of systems shows, is told nothing and learns from both."""
    if label == RELEASED:
        return replace(card("Int-RA", row_config("Int-RA")), told=NOTHING)
    return card(label, row_config(label))


def row_features(config: RunConfig, store) -> Features:
    """Toy features with all intentions of the packaged data, words that stickers share, and a second reader.

    Tuned layers need the states of real, if tiny, encoders: those rows get the smoke profile's features.
    """
    if config.tuned_layers:
        return build_features(config, store)
    names = config_dataset(config).intentions
    made = toy_features(intentions=len(names), queries=60, stickers=2 * len(names))
    rng = np.random.default_rng(5)

    def with_texts(partition: Partition) -> Partition:
        said = rng.choice(KEYWORDS, size=(len(partition.queries.ids), 2))
        told = rng.choice(KEYWORDS, size=(len(partition.gallery.ids), 2))
        conversations = tuple(
            replace(
                conversation,
                utterances=(Utterance("ann", first), Utterance("bob", second)),
                sticker=partition.gallery.ids[sent],
                intention=names[meant],
                second_reading=str(rng.choice(names)),
                neighbour=str(rng.choice(names)),
                cue=1,
            )
            for conversation, (first, second), sent, meant in zip(
                partition.queries.conversations,
                said.tolist(),
                partition.queries.stickers,
                partition.queries.intentions,
                strict=True,
            )
        )
        return replace(
            partition,
            queries=replace(partition.queries, conversations=conversations),
            gallery=replace(
                partition.gallery, attributes=tuple(StickerAttributes(gesture=tuple(own)) for own in told.tolist())
            ),
        )

    return replace(made, **{split: with_texts(getattr(made, split)) for split in ("train", "valid", "test")})


@dataclass(frozen=True)
class Outcome:
    """What is left of a run."""

    scores: np.ndarray
    """Of the test split, shape (Q, G)."""
    weights: dict[str, np.ndarray]
    """None where nothing is learned by gradient."""


def outcome(config: RunConfig, features: Features) -> Outcome:
    """Make a system, fit it and score the test split."""
    system = SYSTEMS[config.system](config, features)
    system.fit(features.train, features.valid)
    scores = system.score(features.test.queries, features.test.gallery)
    state = system.model.state_dict() if hasattr(system, "save") else {}
    return Outcome(scores, {name: tensor.cpu().numpy().copy() for name, tensor in state.items()})
