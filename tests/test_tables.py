"""Frames from records, and the text of tables, against values worked by hand."""

import ast
import itertools
import json
import re

import numpy as np
import pandas as pd
import pytest

from intra.config import RunConfig
from intra.evaluation import bootstrap_interval, evaluate, make_run, write_run
from intra.metrics import METRICS
from intra.paths import PACKAGE
from intra.records import Record
from intra.tables import (
    SYSTEM_NAMES,
    beside_paper,
    control_differences,
    per_query,
    results,
    to_markdown,
    to_myst,
    with_intervals,
)

QRELS = {"c1": {"s1"}, "c2": {"s2"}, "c3": {"s1", "s3"}, "c4": {"s4"}}


def make_record(folder, system, seed, scores):
    folder = folder / f"{system}-{seed}"
    folder.mkdir()
    write_run(folder / "test.run.gz", make_run(np.array(scores, float), list(QRELS), ["s1", "s2", "s3", "s4"]), "x")
    return Record(folder, {"config": RunConfig(system=system, seed=seed).as_dict()})


@pytest.fixture
def records(tmp_path):
    right = [[4, 3, 2, 1], [3, 4, 2, 1], [4, 1, 3, 2], [1, 2, 3, 4]]  # every relevant sticker first
    rng = np.random.default_rng(0)
    return [
        make_record(tmp_path, "oracle", 0, right),
        make_record(tmp_path, "int_ra", 0, [[4, 3, 2, 1]] * 4),
        make_record(tmp_path, "int_ra", 1, [[1, 2, 3, 4]] * 4),
        make_record(tmp_path, "random", 0, rng.random((4, 4))),
    ]


def test_results_worked_by_hand(records):
    # int_ra, seed 0 ranks s1 s2 s3 s4: hit@1 of c1 and c3; AP 1, 1/2, (1 + 2/3) / 2, 1/4
    # seed 1 ranks s4 s3 s2 s1: hit@1 of c4; AP 1/4, 1/3, (1/2 + 2/4) / 2, 1
    frame = results(records, QRELS, ["hit@1", "mAP"])
    assert frame.loc["Int-RA", ("hit@1", "mean")] == pytest.approx(100 * 3 / 8)
    ap = [1, 1 / 2, 5 / 6, 1 / 4, 1 / 4, 1 / 3, 1 / 2, 1]
    assert frame.loc["Int-RA", ("mAP", "mean")] == pytest.approx(100 * sum(ap) / 8)
    assert frame.loc["Oracle intention"].tolist() == [100] * 6
    assert list(frame.index) == ["Random", "Int-RA", "Oracle intention"]  # the order of print, not of records
    low, high = bootstrap_interval([np.array([1, 0, 1, 0]), np.array([0, 0, 0, 1])])
    assert frame.loc["Int-RA", ("hit@1", "low")] == pytest.approx(100 * low)
    assert frame.loc["Int-RA", ("hit@1", "high")] == pytest.approx(100 * high)


def test_per_query_frames_hold_one_run_each(records):
    frames = per_query(records[::-1], QRELS)
    assert {system: len(runs) for system, runs in frames.items()} == {"random": 1, "int_ra": 2, "oracle": 1}
    assert frames["int_ra"][1].equals(evaluate(records[1].run(), QRELS))
    assert list(frames["oracle"][0].columns) == list(METRICS)


def test_differences_to_the_controls_over_rankings_of_different_lengths(tmp_path):
    # q1 ranks two stickers, q2 four: what chance reaches depends on how many each query ranks
    qrels = {"q1": {"a"}, "q2": {"a", "d"}}
    ranked = {
        ("int_ra", 0): {"q1": "ab", "q2": "abcd"},
        ("int_ra", 1): {"q1": "ba", "q2": "dabc"},
        ("majority", 0): {"q1": "ba", "q2": "bacd"},
    }
    records = []
    for (system, seed), orders in ranked.items():
        folder = tmp_path / f"{system}-{seed}"
        folder.mkdir()
        run = {query: {sticker: -float(n) for n, sticker in enumerate(order)} for query, order in orders.items()}
        write_run(folder / "test.run.gz", run, "x")
        records.append(Record(folder, {"config": RunConfig(system=system, seed=seed).as_dict()}))
    frame = control_differences(records, qrels)

    def precision(query, order):
        right = [sticker in qrels[query] for sticker in order]
        return sum(sum(right[: k + 1]) / (k + 1) for k, hit in enumerate(right) if hit) / sum(right)

    chance = {q: np.mean([precision(q, order) for order in itertools.permutations(s)]) for q, s in orders.items()}
    assert chance["q1"] == 0.75
    ours = [precision(q, order) for key in list(ranked)[:2] for q, order in ranked[key].items()]
    theirs = [precision(q, order) for q, order in ranked["majority", 0].items()]
    # hit@1: three of four; the majority has none, and chance one in two for either query
    assert frame["difference"].to_dict() == pytest.approx(
        {
            "hit@1 against majority": 75,
            "mAP against majority": 100 * (np.mean(ours) - np.mean(theirs)),
            "hit@1 against chance": 25,
            "mAP against chance": 100 * (np.mean(ours) - np.mean(list(chance.values()))),
        }
    )
    assert (frame["low"] <= frame["difference"]).all() and (frame["difference"] <= frame["high"]).all()


def test_every_system_has_a_name_in_print():
    # read off the source, since importing the systems takes seconds: a system without name would be left out silently
    tree = ast.parse((PACKAGE / "models" / "__init__.py").read_text(encoding="utf-8"))
    (registry,) = [
        node.value for node in ast.walk(tree) if isinstance(node, ast.Assign) and node.targets[0].id == "SYSTEMS"
    ]
    assert {key.value for key in registry.keys} == SYSTEM_NAMES.keys()


def test_intervals_stand_beside_their_mean():
    columns = pd.MultiIndex.from_product([["hit@1", "mAP"], ["mean", "low", "high"]])
    frame = pd.DataFrame([[31.25, 25, 37.96, 5, 4.04, 100]], ["Int-RA"], columns)
    assert with_intervals(frame).loc["Int-RA"].tolist() == ["31.2 [25.0, 38.0]", "5.0 [4.0, 100.0]"]


def test_a_myst_table_is_read_back_by_its_rules():
    frame = pd.DataFrame({"hit@1": ["1.0", "2.5"], "mAP": [7, 8]}, index=["a", "b"])
    text = to_myst(frame, "What it shows.", "tab-x", corner="system")
    fence, *options, blank, body = re.fullmatch(
        r"```\{list-table\} (.+)\n:name: (.+)\n:header-rows: (\d)\n:stub-columns: (\d)\n(\n)(.+)\n```", text, re.DOTALL
    ).groups()
    assert (fence, options, blank) == ("What it shows.", ["tab-x", "1", "1"], "\n")
    rows = [[cell.strip()[2:] for cell in row.split("\n")] for row in body[2:].split("\n* ")]
    assert rows == [["system", "hit@1", "mAP"], ["a", "1.0", "7"], ["b", "2.5", "8"]]


def test_a_markdown_table():
    frame = pd.DataFrame({"x": [1, 2], "y": ["a", "b"]}, index=["r1", "r2"])
    assert to_markdown(frame, "k").split("\n") == [
        "| k | x | y |",
        "| --- | --- | --- |",
        "| r1 | 1 | a |",
        "| r2 | 2 | b |",
    ]


def test_ours_stands_beside_the_row_of_the_paper(records):
    ours = results(records, QRELS)
    chance = {"hit@1": 0.1, "hit@3": 0.25, "hit@5": 0.5, "mAP": 0.125, "precision@3": 9}
    frame = beside_paper(ours, chance)
    tables = json.loads((PACKAGE / "paper_tables.json").read_text(encoding="utf-8"))
    (printed,) = [row["value"] for row in tables["table_II"]["rows"] if row["model"] == "Int-RA"]
    assert frame["paper, StickerInt"].to_dict() == printed
    assert frame["chance here"].to_dict() == {"P@1": 10, "P@3": 25, "P@5": 50, "mAP": 12.5}
    assert frame.loc["P@1", "here, ReplyStickers"] == pytest.approx(37.5)
    assert frame.loc["P@5", "here, ReplyStickers"] == 100  # a gallery of four
