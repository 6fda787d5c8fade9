"""The verdict on a fresh run, against cases worked by hand, and the page that tells it."""

import platform
import re
from pathlib import Path

import nbformat
import pytest

from intra.agreement import OUTSIDE, SAME, WITHIN, agreement
from intra.config import RunConfig
from intra.engines import processors
from intra.records import Record
from intra.status import costs, executed, machine, status_page

MACHINE = {"python": "3.12.1", "processors": "2"}


def record(system, seed, value):
    metrics = {"intention": {"mAP": value}, "exact": {"mAP": 0.9}}  # the exact match is not what is compared
    return Record(Path("run"), {"config": RunConfig(system=system, seed=seed).as_dict(), "metrics": metrics})


# mean 0.30, standard deviation 0.02 (deviations of -0.02, 0, 0.02 and their root mean square 0.01633)
REFERENCE = {"Int-RA": [record("int_ra", seed, value) for seed, value in enumerate([0.28, 0.30, 0.32])]}


def fresh(*values):
    return {"Int-RA": [record("int_ra", seed, value) for seed, value in values]}


def verdict(*values):
    return agreement(REFERENCE, fresh(*values)).loc["Int-RA", "verdict"]


def test_verdicts_worked_by_hand():
    # two deviations around the mean: 0.30 +- 0.03266, so 0.26734 to 0.33266
    assert verdict((0, 0.28)) == SAME
    assert verdict((0, 0.28 + 5e-7)) == SAME
    assert verdict((0, 0.2801)) == WITHIN
    assert verdict((0, 0.268)) == verdict((2, 0.332)) == WITHIN
    assert verdict((0, 0.267)) == verdict((2, 0.333)) == OUTSIDE
    # the value of another seed is no repetition of this one
    assert verdict((0, 0.30)) == WITHIN
    # a seed that the reference lacks
    assert verdict((7, 0.31)) == WITHIN
    assert verdict((7, 0.40)) == OUTSIDE


def test_the_worst_verdict_counts():
    assert verdict((0, 0.28), (1, 0.30)) == SAME
    assert verdict((0, 0.28), (1, 0.31)) == WITHIN
    assert verdict((0, 0.28), (1, 0.31), (2, 0.40)) == OUTSIDE


def test_the_row_tells_means_in_percent():
    row = agreement(REFERENCE, fresh((0, 0.28), (1, 0.31))).loc["Int-RA"]
    assert row["fresh runs"] == 2
    assert row["reference mAP"] == "30.00 ± 1.63"
    assert row["fresh mAP"] == "29.50"


def test_configurations_that_only_one_side_holds_are_left_out():
    both = agreement(
        REFERENCE | {"Oracle intention": [record("oracle", 0, 1.0)]},
        {"Random": [record("random", 0, 0.1)]} | fresh((0, 0.28)),
    )
    assert list(both.index) == ["Int-RA"]
    assert agreement(REFERENCE, {}).empty


def test_configurations_are_told_apart_by_their_label():
    """Those of one system, too: each is compared with itself."""
    windows = {
        f"{window}": [
            Record(
                Path("run"),
                {
                    "config": RunConfig(window=window, seed=seed).as_dict(),
                    "metrics": {"intention": {"mAP": window / 10 + seed / 100}},
                },
            )
            for seed in (0, 1)
        ]
        for window in (2, 3)
    }
    found = agreement(windows, {"3": windows["3"][:1], "2": windows["2"]})
    assert found["reference mAP"].to_dict() == {"2": "20.50 ± 0.50", "3": "30.50 ± 0.50"}
    assert found["fresh mAP"].to_dict() == {"2": "20.50", "3": "30.00"}
    assert set(found["verdict"]) == {SAME}


def test_one_reference_run_leaves_no_room():
    one = {"Oracle intention": [record("oracle", 0, 0.75)]}
    assert agreement(one, one).loc["Oracle intention", "verdict"] == SAME
    other = {"Oracle intention": [record("oracle", 0, 0.7501)]}
    assert agreement(one, other).loc["Oracle intention", "verdict"] == OUTSIDE


def test_another_config_is_not_the_same_run():
    other = RunConfig(system="int_ra", seed=0, window=3)
    one = Record(Path("run"), {"config": other.as_dict(), "metrics": {"intention": {"mAP": 0.28}}})
    assert agreement(REFERENCE, {"Int-RA": [one]}).loc["Int-RA", "verdict"] == WITHIN


# --- the status page ------------------------------------------------------------------------------------------


def timed(system, seed, seconds, code="0123456789ab", **changes):
    content = record(system, seed, 0.5).content | {"seconds": {"fit": seconds, "score": 0.25}}
    config = RunConfig(system=system, seed=seed, **changes)
    made_with = {
        "inputs": {"code": code, "dataset": "d1", "components": {"text": "an encoder@1"}},
        "dataset": {"name": "Toy", "version": "1.0"},
        "environment": {"python": "3.11.0"},
    }
    return Record(Path(f"{config.digest()}"), content | {"config": config.as_dict()} | made_with)


def rows(page, name):
    """Cells of a table of the page, row by row."""
    (body,) = re.findall(rf":name: {name}\n.*?\n\n(.*?)\n```", page, re.DOTALL)
    return [[cell.strip()[2:] for cell in row.split("\n")] for row in body[2:].split("\n* ")]


def test_the_status_page_compares_studies_by_label():
    ours = [timed("int_ra", seed, seconds) for seed, seconds in enumerate((4, 6, 11))]
    wide = [timed("int_ra", 0, 9, window=2)]
    control = [timed("random", 0, 0)]
    reference = {"main": {"Random": control, "Int-RA": ours}, "window": {"2": wide, "6": ours}, "plus": {}}
    now = [timed("int_ra", 0, 4, code="ba9876543210")]
    fresh = {"main": {"Int-RA": now}, "window": {"6": now}, "plus": {}}
    page = status_page(reference, fresh, made_with=MACHINE)
    head, *agreed = rows(page, "tab-agreement")
    assert head == ["study", "configuration", "fresh runs", "reference mAP", "fresh mAP", "verdict"]
    assert agreed == [
        ["main", "Int-RA", "1", "50.00 ± 0.00", "50.00", "same"],
        ["window", "6", "1", "50.00 ± 0.00", "50.00", "same"],
    ]
    # a run counts once, in however many studies it is: the median of 4, 6, 9 and 11
    assert rows(page, "tab-seconds") == [
        ["system", "fit", "score", "all together", "runs"],
        ["random", "0.00", "0.25", "0", "1"],
        ["int_ra", "7.50", "0.25", "31", "4"],  # 4 + 6 + 9 + 11 and four times a quarter
    ]
    assert "5 runs of 2 systems in 2 studies, with up to 3 seeds, on Toy 1.0;" in page
    assert rows(page, "tab-parts")[1:] == [["text", "an encoder@1"]]
    assert rows(page, "tab-digests") == [
        ["system", "reference", "this build"],
        ["(data)", "d1", "d1"],
        ["int_ra", "0123456789ab", "ba9876543210"],
        ["random", "0123456789ab", "not run"],
    ]
    assert rows(page, "tab-software")[1:] == [["python", "3.11.0", "3.12.1"], ["processors", "not on record", "2"]]
    # a backtick in the line that opens a table would end it
    assert not [line for line in page.splitlines() if line.startswith("```") and "`" in line[3:]]


@pytest.mark.parametrize("reference", [{}, {"main": {}}])
def test_without_a_reference_the_status_page_says_so(reference):
    page = status_page(reference, {"main": {"Int-RA": [timed("int_ra", 0, 4)]}}, made_with=MACHINE)
    assert "There is no reference yet" in page and "tab-agreement" not in page
    assert rows(page, "tab-seconds")[1:] == [["int_ra", "4.00", "0.25", "4", "1"]]


def test_runs_of_several_codes_are_all_named():
    runs = [timed("int_ra", 0, 4, "b" * 12), timed("int_ra", 1, 4, "a" * 12)]
    page = status_page({"main": {"Int-RA": runs}}, {"main": {"Int-RA": runs[:1]}}, made_with=MACHINE)
    assert ["int_ra", f"{'a' * 12}, {'b' * 12}", "b" * 12] in rows(page, "tab-digests")


def test_the_machine_is_told_without_its_name():
    told = machine()
    assert told["processors"] == str(processors()) and int(told["threads of torch"]) > 0
    assert told["machine"] == platform.machine() and platform.node() not in told.values()


def notebook(*cells, counts=None):
    made = nbformat.v4.new_notebook(cells=list(cells))
    code = [cell for cell in made.cells if cell.cell_type == "code"]
    for cell, count in zip(code, counts or range(1, len(code) + 1), strict=True):
        cell.execution_count = count
    return made


def injected(source):
    return nbformat.v4.new_code_cell(source, metadata={"tags": ["injected-parameters"]})


def test_a_notebook_that_ran_once_from_the_top_is_in_order():
    text, code = nbformat.v4.new_markdown_cell("# A"), nbformat.v4.new_code_cell
    ran = executed(notebook(text, code("a = 1"), code("b = 2")))
    assert (ran["code cells"], ran["in order"], ran["parameters"]) == ("2", "yes", "its own")
    for counts in ([1, 3], [2, 3], [2, 1], [1, None]):
        assert executed(notebook(text, code("a = 1"), code("b = 2"), counts=counts))["in order"] == "no"


def test_parameters_are_those_that_the_run_was_given():
    own = nbformat.v4.new_code_cell("seeds = [0]")
    given = injected("# Parameters\nseeds = [0, 1]\nprofile = 'mini'\n")
    with_given, without = executed(notebook(own, given)), executed(notebook(own))
    assert with_given["parameters"] == "seeds = [0, 1]; profile = 'mini'"
    assert with_given["source"] == without["source"], "what an author wrote is the same"
    assert executed(notebook(nbformat.v4.new_code_cell("seeds = [1]")))["source"] != without["source"]


def test_the_status_page_lists_the_executed_copies(tmp_path):
    names = ["02_b.ipynb", "01_a.ipynb"]
    for name in names:
        nbformat.write(notebook(nbformat.v4.new_code_cell(f"x = {name!r}")), tmp_path / name)
    studies = {"main": {"Int-RA": [timed("int_ra", 0, 4)]}}
    page = status_page(studies, studies, [tmp_path / name for name in names], made_with=MACHINE)
    told = rows(page, "tab-notebooks")
    assert told[0] == ["notebook", "code cells", "in order", "parameters", "source"]
    assert [row[:4] for row in told[1:]] == [["02_b", "1", "yes", "its own"], ["01_a", "1", "yes", "its own"]]
    assert len({row[4] for row in told[1:]}) == 2 and str(tmp_path) not in page
    assert "None was executed" in status_page(studies, studies, made_with=MACHINE)


def test_costs_are_a_row_a_measurement():
    def compared(*names):
        return {
            "seconds": dict.fromkeys(names, 0.5),
            "ratio": dict.fromkeys(names, 2.0),
            "range": {name: [1.5, 3.0] for name in names},
        }

    found = {
        "strategy": {"evaluation": compared("cached", "as released"), "epoch": compared("cached")},
        "data_size": {"epoch": compared("1x")},
        "workers": {"number": 16, "runs": compared("1 worker")},
    }
    frame = costs(found)
    assert list(frame.index) == [
        "evaluation cached",
        "evaluation as released",
        "training epoch cached",
        "training epoch with data of 1x",
        "16 runs with 1 worker",
    ]
    assert frame.loc["evaluation as released"].tolist() == [0.5, 2, 1.5, 3]
