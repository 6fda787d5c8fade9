"""The bench: ratios by hand, the same work on both sides, and each measurement at a tiny size."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from intra import bench
from intra.components import Components
from intra.config import RunConfig
from intra.data.reader import load_dataset
from intra.encoders.vision import STICKER_VIT
from intra.features import Features
from intra.models import SYSTEMS

pytest_plugins = ["helpers"]


@pytest.fixture(scope="module")
def small():
    """The first twelve test conversations, the stickers sent, and one more."""
    test = load_dataset().split("test")
    conversations = test.conversations[:12]
    sent = {conversation.sticker for conversation in conversations}
    other = next(sticker for sticker in test.stickers if sticker.id not in sent)
    stickers = tuple(sticker for sticker in test.stickers if sticker.id in sent or sticker is other)
    return replace(test, conversations=conversations, stickers=stickers)


@pytest.fixture
def source(small, cache, tmp_path):
    return bench.Source(small, Components("smoke"), tmp_path, window=6)


def test_ratios_are_medians_of_the_ratios_of_each_turn():
    found = bench.summary({"a": [1, 2, 10], "b": [3, 8, 5]})  # 3, 4 and 0.5 times as long
    assert found == {
        "seconds": {"a": 2, "b": 5},
        "ratio": {"a": 1, "b": 3},  # not 5 / 2
        "range": {"a": [1, 1], "b": [0.5, 4]},
    }


def test_functions_are_timed_in_turns_and_the_first_turn_does_not_count(monkeypatch):
    clock, calls, seconds = [0.0], [], {"a": [100, 1, 2], "b": [200, 4, 8]}
    monkeypatch.setattr(bench.time, "perf_counter", lambda: clock[0])

    def take(name):
        calls.append(name)
        clock[0] += seconds[name][calls.count(name) - 1]

    found = bench.compare({name: lambda name=name: take(name) for name in seconds}, turns=2)
    assert "".join(calls) == "ababab"
    assert found == bench.summary({"a": [1, 2], "b": [4, 8]})


def test_both_strategies_give_the_same_scores(source):
    partition = source.partition()
    labels = source.text.encode(list(source.part.intentions))
    config = RunConfig.of_profile("smoke", epochs=5, learning_rate=1e-2)  # so that stickers are told apart
    system = SYSTEMS["int_ra"](config, Features(labels, partition, partition, partition))
    system.fit(partition, partition)
    expected = system.score(partition.queries, partition.gallery)
    assert expected.shape == (12, len(source.part.stickers)) and expected.std(axis=1).min() > 1e-3
    assert bench.released_scores(system, partition.queries, source) == pytest.approx(expected, abs=1e-4)


def test_encoding_again_gives_what_is_cached(source):
    partition, rows = source.partition(), [5, 0, 3]
    assert source.conversations(rows) == pytest.approx(partition.queries.text_features[rows], abs=1e-5)
    descriptions, described, regions = source.stickers(rows)
    assert descriptions == pytest.approx(partition.gallery.description_features[rows], abs=1e-5)
    assert regions == pytest.approx(partition.gallery.region_features[rows], abs=1e-5)
    assert np.array_equal(described, partition.gallery.described[rows])
    seen = source.tower(source.pixels[[3]])[1][0].detach().numpy()
    assert regions[2] == pytest.approx(seen, abs=1e-5)


def test_an_epoch_as_released_encodes_each_conversation_once_and_the_stickers_sent(source):
    asked = []

    class Recorder:
        def conversations(self, rows):
            asked.append((rows, source.conversations(rows).shape))

        def stickers(self, rows):
            asked.append((rows, len(source.stickers(rows)[0])))

    train = source.partition()
    config = RunConfig.of_profile("smoke", negatives="batch", batch_size=5)
    bench.encode_batches(Recorder(), train, config)
    texts, pictures = asked[::2], asked[1::2]
    assert [shape for _, shape in texts] == [(5, 32), (5, 32), (2, 32)]
    assert sorted(row for rows, _ in texts for row in rows) == list(range(12))
    for (rows, _), (columns, count) in zip(texts, pictures, strict=True):
        assert columns == sorted({train.queries.stickers[row] for row in rows}) and count == len(columns)


def test_a_partition_knows_what_is_relevant(source):
    partition = source.partition()
    data, meant = source.part, source.part.sticker_intentions()
    for row, conversation in enumerate(data.conversations):
        relevant = [conversation.intention in meant.get(sticker.id, ()) for sticker in data.stickers]
        assert partition.relevant[row].tolist() == relevant
        assert data.stickers[partition.queries.stickers[row]].id == conversation.sticker
        assert data.intentions[partition.queries.intentions[row]] == conversation.intention


def check_comparison(found, names):
    assert [list(found[part]) for part in ("seconds", "ratio", "range")] == [names] * 3
    assert all(seconds > 0 for seconds in found["seconds"].values())
    assert found["ratio"][names[0]] == 1
    for name, (low, high) in found["range"].items():
        assert low <= found["ratio"][name] <= high


def test_strategies_on_a_few_stickers(small, cache):
    found = bench.strategy(small, small, turns=1)
    sizes = {"conversations": 12, "stickers": len(small.stickers)}
    assert (found["train"], found["gallery"]) == (sizes, sizes)
    check_comparison(found["evaluation"], ["cached", "encoded first", "as released"])
    check_comparison(found["epoch"], ["cached", "as released"])
    assert found["evaluation"]["ratio"]["as released"] > found["evaluation"]["ratio"]["encoded first"] > 1
    for name, seconds in found["evaluation"]["seconds_a_sticker"].items():
        assert seconds == pytest.approx(found["evaluation"]["seconds"][name] / len(small.stickers), rel=0.01)


def test_random_features_have_the_shapes_of_the_default_profile():
    config = RunConfig.of_profile("mini")
    partition = bench.random_partition(6, 5, 3, config)
    assert partition.queries.parts.shape == (6, config.window + 1, 384)
    vision = json.loads(STICKER_VIT.read_text())["vision_cfg"]
    patches = (vision["image_size"] // vision["patch_size"]) ** 2
    assert partition.gallery.region_features.shape == (5, patches, vision["width"])
    assert partition.gallery.description_features.shape == (5, 4, 384)
    assert {array.dtype for array in (partition.queries.parts, partition.gallery.region_features)} == {np.dtype("f4")}
    intentions = partition.gallery.intentions.argmax(axis=1)
    expected = intentions[None] == intentions[partition.queries.stickers][:, None]
    assert np.array_equal(partition.relevant, expected)


def test_an_epoch_on_more_data(small):
    found = bench.data_size(small, sizes=(1, 3), turns=1)
    assert (found["conversations"], found["stickers"]) == (12, len(small.stickers))
    check_comparison(found["epoch"], ["1x", "3x"])


def test_one_worker_and_two(cache):
    found = bench.workers(runs=2, turns=1)
    assert found["number"] == 2 and found["start"] > 0
    check_comparison(found["runs"], ["1 worker", "2 workers"])


def test_memory_of_a_process_of_its_own():
    found = bench.memory("smoke", conversations=3)
    assert (found["profile"], found["conversations_per_split"]) == ("smoke", 3) and found["seconds"] > 0
    assert 100 < found["peak_mib"] < 100_000  # torch alone takes more than the first; bytes or KiB would be more


def test_the_command_writes_a_record_and_prints_it(monkeypatch, tmp_path, capsys):
    compared = bench.summary({"one": [2, 2], "two": [3, 5]})
    made = {
        "memory": {"profile": "mini", "conversations_per_split": 24, "peak_mib": 1234, "seconds": 5},
        "strategy": {"evaluation": compared, "epoch": compared},
        "data_size": {"epoch": compared},
        "workers": {"number": 16, "runs": compared},
    }
    for name, found in made.items():
        monkeypatch.setattr(bench, name, lambda *_, found=found, **__: found)
    for name in ("ACCELERATE_USE_CPU", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # to be put back
    threads = torch.get_num_threads()
    try:
        bench.main(["--out", str(tmp_path / "new" / "bench.json")])
    finally:
        torch.set_num_threads(threads)
    record = json.loads((tmp_path / "new" / "bench.json").read_text())
    environment = record.pop("environment")
    assert record == made and environment["processors"] >= 1 and {"python", "numpy", "torch"} <= set(environment)
    printed = capsys.readouterr().out
    assert len(re.findall(r" two +4\.0 +2\.0 +1\.5 +2\.5$", printed, re.MULTILINE)) == 4 and "1234 MiB" in printed
