"""Synthetic features with a planted rule: can a trained system learn it, and nothing where there is nothing to learn?

`python -m intra.planted` writes the record that the book shows.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from intra.config import RunConfig
from intra.features import Features, Gallery, Partition, Queries
from intra.main_results import PLANTED
from intra.metrics import METRICS, rank_candidates
from intra.models import SYSTEMS
from intra.models.system import System
from intra.vectors import Standardiser

TRAINED = ("srs", "mod", "lgur", "irra", "pcme", "clip")
SETTINGS = {"width": 64, "learning_rate": 1e-3, "epochs": 8, "patience": 8}
"""Of the runs on this data. It is small and easy: eight passes are enough."""

WIDTH, INTENTIONS, STICKERS, TURNS, PLACES, PATCHES = 64, 12, 400, 4, 6, 16

DRAWS = 200
"""Random matches of intentions that tell what chance is."""


def planted_features(encoding: str = "words", seed: int = 0) -> Features:
    """Noise, and one prototype an intention in each modality: in the last six words and in the first four patches.

    These words are also drawn from four that their intention alone has. Three quarters of the stickers are trained on;
    test and validation queries were answered with the others, and rank all of them.

    Args:
        encoding: `words`, `masked words` or `sequence`, as `RunConfig.context_encoding`.
        seed: Of all that is drawn.
    """
    rng = np.random.default_rng(seed)
    spoken, shown = rng.normal(size=(2, INTENTIONS, WIDTH))
    own = rng.integers(INTENTIONS, size=STICKERS)
    patches = rng.normal(size=(STICKERS, PATCHES, WIDTH))
    patches[:, :4] += 0.9 * shown[own][:, None]
    embeddings = np.concatenate([np.zeros((1, WIDTH)), rng.normal(size=(50, WIDTH))])
    seen = np.arange(300)

    def gallery(rows):
        pooled = patches[rows].mean(axis=1).astype(np.float32)
        return Gallery(
            tuple(f"s{row:03}" for row in rows),
            patches[rows].astype(np.float32),
            np.zeros((len(rows), 4, WIDTH), np.float32),
            np.zeros((len(rows), 4), bool),
            np.eye(INTENTIONS, dtype=bool)[own[rows]],
            pooled,
            pooled,
        )

    def partition(split, count, sent_from, rows):
        sent = rng.choice(sent_from, size=count)
        numbers = rng.integers(1, 51, size=(count, TURNS, PLACES))
        numbers[:, -1] = 1 + 4 * own[sent][:, None] + numbers[:, -1] % 4
        vectors = rng.normal(size=(count, TURNS, PLACES, WIDTH))
        vectors[:, -1] += 0.7 * spoken[own[sent]][:, None]
        masked, places = None, None
        if encoding == "masked words" and split == "train":
            places = rng.random((2, count, TURNS, PLACES)) < 0.15
            places[:, :, 0, 0] |= ~places.any(axis=(2, 3))
            masked = np.where(places[..., None], rng.normal(size=(2, *vectors.shape)), vectors).astype(np.float16)
        whole = encoding == "sequence"
        queries = Queries(
            tuple(f"{split}-q{n:04}" for n in range(count)),
            vectors.mean(axis=(1, 2)).astype(np.float32) if whole else None,
            own[sent],
            sent,
            None if whole else vectors.astype(np.float16),
            None if whole else numbers.astype(np.int32),
            None if whole else np.tile(np.arange(TURNS)[::-1] % 3, (count, 1)),
            masked,
            places,
        )
        return Partition(queries, gallery(rows), own[sent][:, None] == own[rows][None])

    whole = np.arange(STICKERS)
    return Features(
        rng.normal(size=(INTENTIONS, WIDTH)).astype(np.float32),
        partition("train", 975, seen, seen),
        partition("valid", 150, whole[300:], whole),
        partition("test", 150, whole[300:], whole),
        context_scale=Standardiser(np.outer([1.0, -1.0], np.ones(WIDTH))) if encoding == "sequence" else None,
        word_embeddings=None if encoding == "sequence" else embeddings.astype(np.float32),
    )


def shuffled(features: Features, seed: int = 0) -> Features:
    """The same, but conversations of training and validation were answered with each other's stickers."""
    rng = np.random.default_rng(seed)
    return replace(features, **{name: _shuffled(getattr(features, name), rng) for name in ("train", "valid")})


def _shuffled(part: Partition, rng: np.random.Generator) -> Partition:
    order = rng.permutation(len(part.queries.ids))
    queries = replace(part.queries, stickers=part.queries.stickers[order], intentions=part.queries.intentions[order])
    return replace(part, queries=queries, relevant=part.relevant[order])


def planted_result(system_class: type[System], config: RunConfig, features: Features) -> dict[str, float]:
    """What a system that is made and fitted here reaches on test, under intention match, in percent.

    Returns:
        `hit1` and `mAP`; `chance` and `deviation`, mean and standard deviation of that mAP where it is decided at
        random which intention of stickers belongs to which of queries. Any scorer puts alike stickers together, so
        random orders of single stickers would be too narrow a yardstick.
    """
    system = system_class(config, features)
    system.fit(features.train, features.valid)
    test = features.test
    order = rank_candidates(system.score(test.queries, test.gallery), test.gallery.ids)
    shown = test.gallery.intentions.argmax(axis=1)[order]

    def results(meant: np.ndarray) -> dict[str, float]:
        right = shown == meant[:, None]
        return {name: 100 * float(METRICS[key](right).mean()) for name, key in (("hit1", "hit@1"), ("mAP", "mAP"))}

    rng = np.random.default_rng(0)
    drawn = [results(rng.permutation(INTENTIONS)[test.queries.intentions])["mAP"] for _ in range(DRAWS)]
    by_chance = {"chance": float(np.mean(drawn)), "deviation": float(np.std(drawn))}
    return results(test.queries.intentions) | by_chance


def table() -> dict:
    """Every trained system with both supervisions, on the planted rule and on shuffled answers."""
    rows = {}
    for name in TRAINED:
        for supervision in ("sticker", "intention"):
            config = RunConfig.of_profile("smoke", system=name, supervision=supervision, **SETTINGS)
            features = planted_features(config.context_encoding)
            rows[f"{name}, {supervision}"] = {
                "planted": planted_result(SYSTEMS[name], config, features),
                "shuffled": planted_result(SYSTEMS[name], config, shuffled(features)),
            }
            print(f"{name}, {supervision}: {rows[f'{name}, {supervision}']}", flush=True)
    return {"settings": SETTINGS, "rows": rows}


def main(path: Path = PLANTED) -> None:
    """Write the record."""
    path.write_text(json.dumps(table(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
