"""What several test modules share: toy features with a planted rule; a smoke study and a book, one a session each."""

import os
import subprocess
import sys

import numpy as np
import pytest

from intra.config import RunConfig
from intra.data.schema import Conversation, Utterance
from intra.features import Features, Gallery, Partition, Queries
from intra.generation.attributes import StickerAttributes
from intra.paths import ROOT
from intra.site import render_book, stage_site
from intra.vectors import Standardiser

SMOKE_SEEDS = (0, 1)
SMOKE_ROWS = ("Random", "Majority intention", "Int-RA", "Oracle intention")
"""Rows of the study `main` that the session makes: two controls, a trained system and a bound."""


def toy_features(
    seed=0, *, intentions=4, queries=24, stickers=12, regions=5, text_width=8, region_width=6, noise=0.3
) -> Features:
    """Conversations whose text tells the intention, and stickers one region of which shows it.

    The stickers of a split take the intentions in turn, so every query has relevant ones; sticker 1 of each
    split has no description at all.
    """
    rng, more = np.random.default_rng(seed), np.random.default_rng((seed, 1))
    looks = 2 * rng.normal(size=(intentions, region_width))
    words = rng.normal(size=(intentions, text_width))

    def partition(split: str) -> Partition:
        shown = np.arange(stickers) % intentions
        vision = noise * rng.normal(size=(stickers, regions, region_width))
        vision[np.arange(stickers), rng.integers(regions, size=stickers)] += looks[shown]
        described = rng.random((stickers, 4)) < 0.7
        described[0], described[1] = True, False
        descriptions = rng.normal(size=(stickers, 4, text_width)) * described[..., None]
        sent = rng.integers(stickers, size=queries)
        text = words[shown[sent]] + noise * rng.normal(size=(queries, text_width))
        relevant = np.array([[shown[own] == shown[s] for s in range(stickers)] for own in sent])
        return Partition(
            Queries(
                tuple(f"{split}-q{n:03}" for n in range(queries)),
                text.astype(np.float32),
                shown[sent],
                sent,
                **told_words(text, more),
            ),
            Gallery(
                tuple(f"{split}-s{n:03}" for n in range(stickers)),
                vision.astype(np.float32),
                descriptions.astype(np.float32),
                described,
                np.eye(intentions, dtype=bool)[shown],
                vision.mean(axis=1).astype(np.float32),
                more.normal(size=(stickers, text_width)).astype(np.float32),
                attributes=tuple(StickerAttributes(gesture=(f"手{number}",)) for number in range(stickers)),
            ),
            relevant,
        )

    labels = rng.normal(size=(intentions, text_width)).astype(np.float32)
    return Features(
        labels,
        partition("train"),
        partition("valid"),
        partition("test"),
        context_scale=Standardiser(np.outer([1.0, -1.0], np.ones(text_width))),
        word_embeddings=(more.normal(size=(21, text_width)) * (np.arange(21) > 0)[:, None]).astype(np.float32),
    )


def told_words(text, rng) -> dict:
    """Two utterances of three noisy words each, for systems that read words or conversations."""
    shape = (len(text), 2, 3)
    vectors = (text[:, None, None] + rng.normal(size=(*shape, text.shape[1]))).astype(np.float16)
    said = (Utterance("ann", "去吗"), Utterance("bob", "好的"))
    return {
        "parts": vectors,
        "words": rng.integers(1, 21, size=shape).astype(np.int32),
        "speakers": np.tile([1, 0], (len(text), 1)),
        "masked": np.stack([vectors, vectors]),
        "masked_places": np.arange(3) == np.zeros((2, *shape)),
        "conversations": tuple(
            Conversation(str(n), "test", said, "bob", "reply", "s", "joy") for n in range(len(text))
        ),
    }


@pytest.fixture(name="toy_features")
def _toy_features():
    return toy_features


@pytest.fixture
def toy():
    """Toy features of seed 0."""
    return toy_features()


@pytest.fixture
def toy_config():
    """A config that fits the toy features: small and quick."""
    return RunConfig(profile="smoke", width=16, heads=4, learning_rate=1e-2, batch_size=8, epochs=30, patience=5)


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory):
    """Cache folder of the whole session, so that the tiny encoders run once."""
    return tmp_path_factory.getbasetemp() / "intra-cache"


@pytest.fixture
def cache(session_cache, monkeypatch):
    """Point INTRA_CACHE at the session's folder."""
    monkeypatch.setenv("INTRA_CACHE", str(session_cache))
    return session_cache


@pytest.fixture(scope="session")
def other_process(tmp_path_factory):
    """Another process that makes the smoke rows with seed 0 and an empty cache, while this one goes on."""
    folder = tmp_path_factory.mktemp("elsewhere")
    study = "study main --profile smoke --seeds 0 --workers 2 --json"
    rows = [word for label in SMOKE_ROWS for word in ("--label", label)]
    command = [sys.executable, "-m", "intra.cli", *study.split(), *rows]
    with (folder / "stdout").open("w") as stdout, (folder / "stderr").open("w") as stderr:
        process = subprocess.Popen(
            [*command, "--out", str(folder / "records")],
            cwd=folder,
            env=os.environ | {"INTRA_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)},
            stdout=stdout,
            stderr=stderr,
        )
    yield folder, process
    process.kill()
    process.wait()


@pytest.fixture(scope="session")
def smoke(session_cache, tmp_path_factory, other_process):
    """Records of `SMOKE_ROWS` of the study `main` with the smoke profile and two seeds.

    It starts the other process first, because both spend most of their time importing torch.
    """
    from intra.study import run_study

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTRA_CACHE", str(session_cache))
        return run_study(
            "main", "smoke", SMOKE_SEEDS, tmp_path_factory.getbasetemp() / "intra-records", labels=SMOKE_ROWS
        )


@pytest.fixture(scope="session")
def elsewhere(other_process):
    """Folder of the other process (`cache`, `records`, `stdout`, `stderr`), when it has ended well."""
    folder, process = other_process
    assert process.wait(timeout=300) == 0, (folder / "stderr").read_text()
    return folder


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The sources of the book with the committed notebooks in the place of executed copies."""
    folder = tmp_path_factory.mktemp("book") / "site"
    stage_site(ROOT, folder, "# How this book was made\n\nFrom the committed notebooks.\n")
    return folder


@pytest.fixture(scope="session")
def html(site):
    """Folder of the rendered book."""
    folder = site.parent / "html"
    assert render_book(site, folder)
    return folder
