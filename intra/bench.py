"""What things cost: time as ratios within one run, and the memory of a default run. `python -m intra.bench`.

Seconds belong to a machine, ratios hardly. What is compared is therefore measured in turns (A B A B ...), so that
whatever else the machine does meets both, and the median over the turns is kept. All on processors, one thread each.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from intra.components import Components
from intra.config import PROFILES, RunConfig
from intra.data.context import context_text
from intra.data.intentions import INTENTIONS
from intra.data.pictures import open_picture
from intra.data.reader import load_dataset
from intra.data.schema import ATTRIBUTES, Dataset
from intra.encoders.vision import TINY_VIT, as_pixels
from intra.engines import Engine, opened, processors
from intra.features import Features, Gallery, Partition, Queries, data_attributes, data_knowledge
from intra.models import SYSTEMS
from intra.models.system import System
from intra.records import environment
from intra.running import PREPARATIONS, make_run_files, prepare
from intra.status import BENCH, costs
from intra.training import batches

TURNS = 5
SIZES = (1, 4, 16)
"""How many times as many conversations and stickers as the packaged data set trains on."""
RUNS = 16
"""Runs that one process or two processes make in a turn."""
TEXT_WIDTH, REGIONS, REGION_WIDTH = 384, 49, 192
"""Shapes that the default profile's encoders give."""
CONVERSATIONS = 24
"""Of each split, in the run whose memory is measured."""


# The measure


def compare(measured: Mapping[str, Callable[[], object]], turns: int = TURNS) -> dict:
    """Time functions in turns; a first one, which loads and starts things, does not count. Answers as `summary`."""
    seconds = {name: [] for name in measured}
    for _ in range(turns + 1):
        for name, call in measured.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return summary({name: own[1:] for name, own in seconds.items()})


def summary(seconds: Mapping[str, Sequence[float]]) -> dict[str, dict]:
    """Medians of what was timed.

    Args:
        seconds: Name to seconds, one a turn; the others are compared with the first name.

    Returns:
        `seconds`: name to median; `ratio`: name to the median over turns of its seconds in units of the first name's
        in the same turn; `range`: name to the smallest and the largest of these.
    """
    first = np.array(next(iter(seconds.values())))
    ratios = {name: np.array(own) / first for name, own in seconds.items()}
    return {
        "seconds": {name: _rounded(np.median(own)) for name, own in seconds.items()},
        "ratio": {name: _rounded(np.median(own)) for name, own in ratios.items()},
        "range": {name: [_rounded(own.min()), _rounded(own.max())] for name, own in ratios.items()},
    }


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


# Encoding once against encoding again and again, as the released code does


class Source:
    """Texts and pictures of one split in memory, and the encoders of a profile that see them.

    Args:
        part: The split.
        components: Encoders with pictures of the size of `TINY_VIT`, knowledge and attributes.
        store: Folder of generated text.
        window: Utterances of context.
    """

    def __init__(self, part: Dataset, components: Components, store: Path, window: int):
        self.part, self.text, self.tower = part, components.text, components.vision.model()
        self.contexts = [context_text(conversation, window) for conversation in part.conversations]
        self.knowledge = [known.text for known in data_knowledge(part, components, store)]
        attributes = data_attributes(part, components, store)
        self.descriptions = [[each.description(name) for name in ATTRIBUTES] for each in attributes]
        size = json.loads(TINY_VIT.read_text())["vision_cfg"]["image_size"]
        self.pixels = torch.from_numpy(as_pixels([open_picture(sticker.image) for sticker in part.stickers], size))

    def conversations(self, rows: Sequence[int]) -> np.ndarray:
        """Encode some conversations: H^T, shape (B, e)."""
        return self.text.encode_pairs([self.contexts[row] for row in rows], [self.knowledge[row] for row in rows])

    def stickers(self, rows: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Encode some stickers: four texts, shape (S, 4, e), which of them say something, and regions (S, P, w)."""
        texts = [text for row in rows for text in self.descriptions[row]]
        described = np.array([bool(text) for text in texts]).reshape(len(rows), -1)
        with torch.inference_mode():
            _, regions = self.tower(self.pixels[rows])
        return self.text.encode(texts, "passage").reshape(*described.shape, -1), described, regions.numpy()

    def partition(self) -> Partition:
        """Everything encoded once."""
        column = {sticker.id: number for number, sticker in enumerate(self.part.stickers)}
        sent = np.array([column[c.sticker] for c in self.part.conversations])
        intentions = np.array([self.part.intentions.index(c.intention) for c in self.part.conversations])
        labels = self.part.sticker_intentions()
        shown = np.array([[name in labels.get(id, ()) for name in self.part.intentions] for id in column])
        return _partition(
            self.conversations(range(len(sent))), None, sent, intentions, shown, self.stickers(range(len(column)))
        )


def _partition(
    text_features: np.ndarray | None,
    parts: np.ndarray | None,
    sent: np.ndarray,
    intentions: np.ndarray,
    shown: np.ndarray,
    stickers: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> Partition:
    descriptions, described, regions = stickers
    queries = Queries(tuple(f"q{n}" for n in range(len(sent))), text_features, intentions, sent, parts)
    ids, classes = tuple(f"s{n}" for n in range(len(shown))), regions.mean(axis=1)  # Int-RA reads no class token
    gallery = Gallery(ids, regions, descriptions, described, shown, classes, classes)
    relevant = shown[:, intentions].T.copy()
    relevant[np.arange(len(sent)), sent] = True
    return Partition(queries, gallery, relevant)


@torch.inference_mode()
def released_scores(system: System, queries: Queries, source: Source) -> np.ndarray:
    """Score as the release does: each sticker encoded anew and alone, each cosine taken alone, in NumPy.

    The release takes every cosine twice; here that is left out.

    Args:
        system: Int-RA.
        queries: With H^T, which the release encodes in batches, too.
        source: Of the gallery.

    Returns:
        Shape (Q, G), as `System.score` gives it from cached features.
    """
    contexts = torch.from_numpy(queries.text_features)
    asked = system.model.query(contexts, system.model.intention(contexts), None).numpy()
    scores = np.empty((len(asked), len(source.pixels)), np.float32)
    for column in range(len(source.pixels)):
        (sticker,) = system.model.sticker(*map(torch.from_numpy, source.stickers([column]))).numpy()
        for row, query in enumerate(asked):
            scores[row, column] = query @ sticker / (np.linalg.norm(query) * np.linalg.norm(sticker))
    return scores


def encode_batches(source: Source, train: Partition, config: RunConfig) -> None:
    """Encode what the steps of one epoch read, batch by batch, as the release does: texts, and pictures sent.

    There is no gradient through the encoders, which would make it slower still.
    """
    for batch in batches(train, config, torch.Generator().manual_seed(config.seed)):
        source.conversations(batch["queries"].tolist())
        source.stickers(batch["stickers"].tolist())


def strategy(train: Dataset, gallery: Dataset, turns: int = TURNS) -> dict:
    """Cost of an evaluation and of a training epoch with cached features, and as the release does them.

    Args:
        train: To learn from.
        gallery: To evaluate on.
        turns: See `compare`.

    Returns:
        Numbers of conversations and stickers; comparisons `evaluation` (with seconds a sticker) and `epoch`. In
        the evaluation called `encoded first` nothing is cached yet: the gallery is encoded once, in batches.
    """
    config = RunConfig.of_profile("smoke", negatives="batch", epochs=1)  # the release has no others
    components = Components(config.profile)
    with tempfile.TemporaryDirectory() as store:
        learned, ranked = (Source(part, components, Path(store), config.window) for part in (train, gallery))
    cached_train, cached = learned.partition(), ranked.partition()
    labels = components.text.encode([INTENTIONS.get(name, name) for name in train.intentions])
    system = SYSTEMS["int_ra"](config, Features(labels, cached_train, cached, cached))
    rows = range(len(gallery.stickers))

    def encode_and_score() -> None:
        ranked.stickers(rows)
        system.score(cached.queries, cached.gallery)

    def encode_and_fit() -> None:
        encode_batches(learned, cached_train, config)
        system.fit(cached_train, _one_query(cached))

    evaluation = compare(
        {
            "cached": lambda: system.score(cached.queries, cached.gallery),
            "encoded first": encode_and_score,
            "as released": lambda: released_scores(system, cached.queries, ranked),
        },
        turns,
    )
    seconds = {name: _rounded(own / len(rows)) for name, own in evaluation["seconds"].items()}
    return {
        "train": {"conversations": len(train.conversations), "stickers": len(train.stickers)},
        "gallery": {"conversations": len(gallery.conversations), "stickers": len(gallery.stickers)},
        "evaluation": evaluation | {"seconds_a_sticker": seconds},
        "epoch": compare(
            {"cached": lambda: system.fit(cached_train, _one_query(cached)), "as released": encode_and_fit}, turns
        ),
    }


def _one_query(partition: Partition) -> Partition:
    """A validation split that costs next to nothing."""
    queries, gallery = partition.queries, partition.gallery
    column = queries.stickers[0]
    return _partition(
        *(array if array is None else array[:1] for array in (queries.text_features, queries.parts)),
        np.zeros(1, np.int64),
        queries.intentions[:1],
        gallery.intentions[[column]],
        (gallery.description_features[[column]], gallery.described[[column]], gallery.region_features[[column]]),
    )


# More data


def random_partition(conversations: int, stickers: int, intentions: int, config: RunConfig) -> Partition:
    """A split with random features of the default profile's shapes."""
    rng = np.random.default_rng(0)

    def some(*shape: int) -> np.ndarray:
        return rng.random(shape, np.float32)

    meant, sent = rng.integers(intentions, size=stickers), rng.integers(stickers, size=conversations)
    parts = some(conversations, config.window + 1, TEXT_WIDTH)
    told = np.ones((stickers, len(ATTRIBUTES)), bool)
    gallery = some(*told.shape, TEXT_WIDTH), told, some(stickers, REGIONS, REGION_WIDTH)
    return _partition(None, parts, sent, meant[sent], np.eye(intentions, dtype=bool)[meant], gallery)


def data_size(train: Dataset, sizes: Sequence[int] = SIZES, turns: int = TURNS) -> dict:
    """Seconds of a training epoch of Int-RA in the default profile, with more and more data.

    Args:
        train: Of which the numbers of conversations, stickers and intentions count.
        sizes: How many times as many conversations and stickers.
        turns: See `compare`.

    Returns:
        Comparison `epoch` of the sizes (`1x`, ...), and the numbers at 1x.
    """
    config = RunConfig.of_profile("mini", epochs=1)
    counts = len(train.conversations), len(train.stickers)
    epochs = {}
    for size in sizes:
        part = random_partition(*(size * count for count in counts), len(train.intentions), config)
        valid = _one_query(part)
        labels = np.random.default_rng(0).random((len(train.intentions), TEXT_WIDTH), np.float32)
        system = SYSTEMS["int_ra"](config, Features(labels, part, valid, valid))
        epochs[f"{size}x"] = lambda system=system, part=part, valid=valid: system.fit(part, valid)
    return {"conversations": counts[0], "stickers": counts[1], "epoch": compare(epochs, turns)}


# More processes


def workers(runs: int = RUNS, turns: int = TURNS) -> dict:
    """Seconds that one process and two take to make the same runs of the profile `smoke`.

    Args:
        runs: How many.
        turns: See `compare`.

    Returns:
        Comparison `runs` of `1 worker` and `2 workers`, with everything loaded; `start`: seconds that two workers
        take to start and make a first run each.
    """
    configs = [RunConfig.of_profile("smoke", seed=seed) for seed in range(runs)]
    with tempfile.TemporaryDirectory() as folder, opened("local", 1) as one, opened("local", 2) as two:
        store = Path(folder)
        for kind in PREPARATIONS:
            prepare((kind, configs[:1]), store)
        start = time.perf_counter()
        list(two.run(make_run_files, configs[:2], store))
        started = time.perf_counter() - start

        def make(engine: Engine) -> Callable[[], object]:
            return lambda: list(engine.run(make_run_files, configs, store))

        compared = compare({"1 worker": make(one), "2 workers": make(two)}, turns)
        return {"number": runs, "start": _rounded(started), "runs": compared}


# Memory


def memory(profile: str = "mini", conversations: int = CONVERSATIONS) -> dict:
    """Peak memory of a process that makes the features of a profile from nothing and trains on them for an epoch.

    Linux counts the memory of the process that starts another one to that other one's peak, so this comes before
    anything that needs much.

    Args:
        profile: Of the run.
        conversations: How many of each split; what is encoded needs little beside the encoders, but minutes.

    Returns:
        The arguments, `peak_mib`, and the `seconds` of the whole process.
    """
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        call = f"run_alone({profile!r}, {conversations}, {folder!r})"
        done = subprocess.run(
            [sys.executable, "-c", f"from intra.bench import run_alone; {call}"],
            env=os.environ | {"INTRA_CACHE": folder, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        seconds = _rounded(time.perf_counter() - start)
    peak = int(done.stdout)
    return {"profile": profile, "conversations_per_split": conversations, "peak_mib": peak, "seconds": seconds}


def run_alone(profile: str, conversations: int, folder: str) -> None:
    """Make a run of one epoch in a process of its own, and print the peak memory of that process in MiB."""
    PROFILES["bench"] = replace(PROFILES[profile], conversations_per_split=conversations)
    make_run_files(RunConfig.of_profile("bench", epochs=1), Path(folder, "generated"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(peak // (2**20 if sys.platform == "darwin" else 2**10))


# All of it


def main(arguments: list[str] | None = None) -> None:
    """Measure everything, print a table, and write the record."""
    parser = argparse.ArgumentParser(prog="python -m intra.bench", description="Measure what things cost.")
    parser.add_argument("--out", type=Path, default=BENCH, help="record to write (default: %(default)s)")
    out = parser.parse_args(arguments).out
    os.environ |= {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}  # before anything is made; for workers too
    torch.set_num_threads(1)
    data = load_dataset()
    found = {
        "memory": memory(),  # before the others, see there
        "strategy": strategy(data.split("train"), data.split("test")),
        "data_size": data_size(data.split("train"), turns=3),
        "workers": workers(),
        "environment": environment() | {"processors": processors()},
    }
    print(costs(found).to_string())
    print(f"memory of a run from nothing: {found['memory']['peak_mib']} MiB")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
