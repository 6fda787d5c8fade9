import ast
import base64
import io
import re

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest

from intra import report
from intra.claims import HOLDS, Claim
from intra.errors import IntraError
from intra.paths import NOTEBOOKS
from intra.report import check_parameters

PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))


def fresh_namespace(**parameters):
    """What a kernel's globals hold before the first import of a notebook."""
    return {"In": [], "Out": {}, "get_ipython": None, "_i1": "", "__name__": "__main__", **parameters}


@pytest.fixture(autouse=True)
def nothing_checked(monkeypatch):
    """Namespaces are told apart by their addresses, which tests give to several."""
    monkeypatch.setattr(report, "_checked", set())


def test_known_parameters_pass():
    check_parameters(fresh_namespace(profile="mini", seeds=[0]), "profile", "seeds")


def test_a_misspelt_parameter_is_named_with_the_nearest_known_one():
    with pytest.raises(IntraError, match=r"unknown parameter 'seds' \(did you mean 'seeds'\?\)"):
        check_parameters(fresh_namespace(profile="mini", seeds=[0], seds=[1]), "profile", "seeds")


def test_a_cell_that_is_run_again_passes():
    """By then its imports lie beside the parameters."""
    namespace = fresh_namespace(profile="mini")
    check_parameters(namespace, "profile")
    namespace |= {"load_study": None, "np": np}
    check_parameters(namespace, "profile")
    with pytest.raises(IntraError, match="unknown parameter 'load_study'"):
        check_parameters(dict(namespace), "profile")  # another namespace


def test_a_misspelt_parameter_is_refused_every_time():
    namespace = fresh_namespace(profile="mini", seds=[1])
    for _ in range(2):
        with pytest.raises(IntraError, match="unknown parameter 'seds'"):
            check_parameters(namespace, "profile", "seeds")
    del namespace["seds"]
    check_parameters(namespace, "profile", "seeds")


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_notebook_checks_exactly_its_parameters(path):
    code = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    assigned = [target.id for node in ast.parse(code[0].source).body for target in node.targets]
    assert re.findall(r'"(\w+)"', code[1].source.split("check_parameters(globals(), ")[1]) == assigned


def test_an_error_is_one_line_in_a_notebook():
    assert IntraError("no such thing")._render_traceback_() == ["IntraError: no such thing"]


@pytest.fixture
def glued(monkeypatch):
    kept = {}
    monkeypatch.setattr(report, "glue", lambda name, value, display: kept.update({name: value}))
    monkeypatch.setattr(report, "display", lambda shown: kept.setdefault("shown", []).append(shown))
    return kept


def test_glued_numbers_are_plain_python(glued, capsys):
    report.glue_numbers({"a": np.float64(0.123456), "b": 3, "c": np.float32(2)})
    assert {name: type(value) for name, value in glued.items()} == {"a": float, "b": int, "c": float}
    assert capsys.readouterr().out == "a = 0.1235\nb = 3\nc = 2.0\n"


def test_a_claim_is_shown_as_one_row_and_its_verdict_printed_and_glued(glued, capsys):
    report.show_claim(Claim("C9", "it works", "yes", "yes, 3.0", HOLDS))
    (frame,) = glued["shown"]
    assert glued["verdict_C9"] == HOLDS
    assert capsys.readouterr().out == f"C9: {HOLDS}\n"
    pd.testing.assert_index_equal(frame.index, pd.Index(["C9"]))
    assert frame.loc["C9", "ours"] == "yes, 3.0"


def test_sentences_become_one_paragraph(monkeypatch):
    shown = []
    monkeypatch.setattr(report, "display", lambda one: shown.append(one.data))
    report.show_text("Mean 8.5.")
    report.show_text(["It rises.", "It falls."])
    assert shown == ["Mean 8.5.", "It rises. It falls."]


@pytest.fixture
def bundles(monkeypatch):
    """What a figure shows, as the notebook stores it."""
    shown = []
    monkeypatch.setattr(report, "display", lambda bundle, raw: shown.append(bundle))
    return shown


def test_a_figure_and_its_data_are_one_output_and_the_figure_is_closed(bundles):
    figure, _ = plt.subplots()
    columns = pd.MultiIndex.from_tuples([("hit@1", "mean"), ("hit@1", "low"), ("printed", "")])
    data = pd.DataFrame([[12.34567, 8.0, np.nan]], index=pd.Index(["Int-RA"], name="system"), columns=columns)
    report.show_figure(figure, data)
    (bundle,) = bundles
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert bundle["text/csv"] == "system,hit@1 mean,hit@1 low,printed\nInt-RA,12.346,8.0,\n"
    assert set(bundle) == {"image/png", "text/csv"}
    assert not plt.fignum_exists(figure.number)


def test_a_figure_of_pictures_has_no_data(bundles):
    report.show_figure(plt.figure(), None)
    assert set(bundles[0]) == {"image/png"}


def test_the_csv_reads_back_as_what_was_drawn(bundles):
    index = pd.MultiIndex.from_product([["a, b", "c"], [1, 2]], names=["system", "epoch"])
    data = pd.DataFrame({"loss": [0.5, 0.25, 1.5, 1e-3], "chosen": [True, False, False, True]}, index=index)
    report.show_figure(plt.figure(), data)
    read = pd.read_csv(io.StringIO(bundles[0]["text/csv"]), index_col=["system", "epoch"])
    pd.testing.assert_frame_equal(read, data)


def test_chance_and_printed_values_stand_beside_results():
    columns = pd.MultiIndex.from_product([["hit@1", "mAP"], ["mean", "low", "high"]])
    results = pd.DataFrame(np.arange(12.0).reshape(2, 6), index=["ours", "theirs"], columns=columns)
    printed = pd.DataFrame({"hit@1": [50.0], "mAP": [60.0]}, index=["theirs"])
    drawn = report.drawn(results, {"hit@1": 4.0, "mAP": 7.0, "MRR": 9.0}, printed)
    assert list(drawn["mAP"].columns) == ["mean", "low", "high", "chance", "paper"]
    assert drawn.loc["theirs", "mAP"].to_list() == [9, 10, 11, 7, 60]
    assert drawn.loc["ours", "hit@1"].to_list()[:4] == [0, 1, 2, 4] and np.isnan(drawn.at["ours", ("hit@1", "paper")])
    pd.testing.assert_frame_equal(report.drawn(results), results)


def test_chance_may_differ_between_rows():
    index = pd.MultiIndex.from_tuples([("a", 50), ("a", 9), ("b", 50)], names=["system", "size"])
    results = pd.DataFrame([[1.0], [2.0], [3.0]], index=index, columns=pd.MultiIndex.from_tuples([("mAP", "mean")]))
    chance = pd.DataFrame({"mAP": [0.5, 0.25]}, index=pd.Index([9, 50], name="size"))
    assert report.drawn(results, chance)["mAP", "chance"].to_list() == [0.25, 0.5, 0.25]


def test_labels_of_a_table_are_words_and_its_cells_are_left(monkeypatch):
    shown = []
    monkeypatch.setattr(report, "display", shown.append)
    index = pd.MultiIndex.from_tuples([("facial_expression", 1), ("all", 2)])
    frame = pd.DataFrame({"valid_mAP": [0.126, 0.5], "where": ["get_loss", "-"]}, index=index)
    report.show_table(frame, 2)
    assert list(shown[0].columns) == ["valid mAP", "where"] and shown[0].index[0] == ("facial expression", 1)
    assert shown[0].to_numpy().tolist() == [[0.13, "get_loss"], [0.5, "-"]]
    assert list(frame.columns) == ["valid_mAP", "where"]
