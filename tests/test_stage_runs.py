"""The ranked lists that a build puts beside its pages."""

import re

import numpy as np
import pytest

from intra.evaluation import make_run, read_qrels, read_run, write_qrels, write_run
from intra.main_results import run_file, run_links
from intra.records import Record
from intra.site import stage_runs
from intra.study import STUDIES

LABELS = list(STUDIES["main"].configurations)
RIGHT = {"intention": {"q0": {"s0", "s1"}, "q1": {"s2"}}, "exact": {"q0": {"s0"}, "q1": {"s2"}}}


def ranked(number, seed):
    """Lists that no other row or seed has."""
    scores = np.array([[number, seed + 0.5, -1], [seed + 0.5, -1, number]])
    return make_run(scores, ["q0", "q1"], ["s0", "s1", "s2"])


@pytest.fixture
def main(tmp_path):
    """Fresh records of the main study with two seeds, as a build leaves them."""
    root = tmp_path / "records" / "mini"
    (root / "qrels").mkdir(parents=True)
    for match, right in RIGHT.items():
        write_qrels(root / "qrels" / f"{match}.qrels", right)
    write_qrels(root / "qrels" / "exact-gallery-all.qrels", RIGHT["exact"])
    study = {}
    for number, label in enumerate(LABELS):
        study[label] = []
        for seed in (0, 1):
            path = root / "runs" / f"{number}-{seed}"
            path.mkdir(parents=True)
            write_run(path / "test.run.gz", ranked(number, seed), f"row-{number}-{seed}")
            study[label].append(Record(path, {}))
    return study


@pytest.fixture
def staged(main, tmp_path):
    stage_runs(main, tmp_path / "site" / "downloads" / "runs")
    return tmp_path / "site" / "downloads" / "runs"


def test_there_is_one_file_a_row_and_the_two_qrels(staged):
    assert {path.name for path in staged.iterdir()} == {run_file(label) for label in LABELS} | {
        "intention.qrels",
        "exact.qrels",
    }
    assert len(list(staged.iterdir())) == len(LABELS) + 2


def test_each_file_holds_the_lists_of_the_first_seed_of_its_row(staged):
    for number, label in enumerate(LABELS):
        assert read_run(staged / run_file(label)) == ranked(number, 0)
    assert {match: read_qrels(staged / f"{match}.qrels") for match in RIGHT} == RIGHT


def test_names_can_stand_in_an_address_and_differ_on_every_disk():
    names = [run_file(label) for label in LABELS]
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*\.run\.gz", name) for name in names)
    assert len(set(names)) == len(names)
    assert run_file("Int-RA+") == "int-ra-plus.run.gz" != run_file("Int-RA")
    assert run_file("SRS + intention") == "srs-plus-intention.run.gz"
    assert run_file("e5 cosine, last utterance") == "e5-cosine-last-utterance.run.gz"


def test_the_page_links_what_is_there(main, staged):
    linked = re.findall(r'<a href="\.\./runs/([^"]+)" download>([^<]+)</a>', run_links(main))
    assert {name for name, _ in linked} == {path.name for path in staged.iterdir()}
    assert [label for _, label in linked[: len(LABELS)]] == LABELS
