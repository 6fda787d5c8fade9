"""Synthetic features with a planted rule, on which every baseline has to do well before its numbers count."""

import numpy as np

from intra.features import Features, Gallery, Partition, Queries, Standardiser
from intra.metrics import METRICS, rank_candidates

WIDTH, INTENTIONS, STICKERS, TURNS, PLACES, PATCHES = 64, 12, 400, 4, 6, 16


def planted_features(encoding="words", seed=0) -> Features:
    """Noise, and one prototype an intention in each modality: in the last six words and in the first four patches.

    Three quarters of the stickers are trained on; test and validation queries were answered with the others, and
    rank all of them.
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


def planted_result(system_class, config, features) -> dict[str, float]:
    """hit@1 and mAP in percent, under intention match, of a system fitted to the data and scored on its test queries."""
    system = system_class(config, features)
    system.fit(features.train, features.valid)
    test = features.test
    order = rank_candidates(system.score(test.queries, test.gallery), test.gallery.ids)
    right = np.take_along_axis(test.relevant, order, axis=1)
    return {name: 100 * float(METRICS[key](right).mean()) for name, key in (("hit1", "hit@1"), ("mAP", "mAP"))}
