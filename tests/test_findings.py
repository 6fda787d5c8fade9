"""Claims under both rules of relevance against plain loops and other libraries; verdicts counted; the two pages."""

import re

import numpy as np
import pandas as pd
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_notebook, new_output
from scipy.stats import spearmanr

from intra import __version__, findings, notebooks
from intra.claims import FAILS, HOLDS, INCONSISTENT, UNDECIDED
from intra.errors import IntraError
from intra.evaluation import MATCHES
from intra.metrics import METRICS
from intra.paths import BOOK, NOTEBOOKS, ROOT
from intra.records import Record
from intra.reproduce import book_notebooks
from intra.study import load_study, study_configs
from intra.tables import with_intervals

RNG = np.random.default_rng(0)
QUERIES, GALLERY = 6, 5
BASES = {"C7": ("ablations", "Int-RA"), "C8": ("window", "6"), "C11": ("main", "Int-RA"), "B1": ("plus", "Int-RA")}
RULES = {"06_main_results", "07_ablations", "08_window", "09_attribute_combinations", "13_readings", "14_int_ra_plus"}


def make_record(folder, config, share=0.3):
    """A record of random ranked lists; right are the sticker that was sent and a share of the others."""
    folder.mkdir(parents=True)
    exact = np.eye(GALLERY, dtype=bool)[RNG.integers(GALLERY, size=QUERIES)]
    queries, candidates = np.array([f"c{n}" for n in range(QUERIES)]), np.full(QUERIES, GALLERY)
    intention = exact | (RNG.random(exact.shape) < share)
    np.savez(folder / "relevance.npz", queries=queries, candidates=candidates, intention=intention, exact=exact)
    return Record(folder, {"config": config.as_dict()})


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """All studies that claims are judged by, with two seeds of random ranked lists."""
    folder = tmp_path_factory.mktemp("records")
    return {
        name: {
            label: [make_record(folder / name / label / str(config.seed), config) for config in own]
            for label, own in study_configs(name, "smoke", [0, 1]).items()
        }
        for name in findings.STUDIES
    }


@pytest.fixture(scope="module")
def judged(studies):
    return {match: findings.judge(studies, match) for match in MATCHES}


def mean(study, label, metric, match):
    return 100 * np.mean([METRICS[metric](record.relevance(match)) for record in study[label]])


# Claims


def test_the_rules_are_those_of_the_notebooks():
    """Under intention match every verdict is the one that the claim's own notebook shows."""
    shown = findings.stored_verdicts([path for path in book_notebooks() if path.stem in RULES])
    here = findings.judge({name: load_study(name) for name in findings.STUDIES})
    assert {claim: one.verdict for claim, one in here.items()} == shown


@pytest.mark.parametrize("match", MATCHES)
def test_claims_look_at_the_ranks_of_the_rule_that_is_asked_for(studies, judged, match):
    for claim, (name, base) in BASES.items():
        rows = judged[match][claim].differences["difference"]
        assert len(rows)
        for (label, metric), value in rows.items():
            study = studies[name]
            assert value == pytest.approx(mean(study, label, metric, match) - mean(study, base, metric, match))
    majority = judged[match]["C6"].differences["difference"]["majority", "mAP"]
    main = studies["main"]
    expected = mean(main, "Int-RA", "mAP", match) - mean(main, "Majority intention", "mAP", match)
    assert majority == pytest.approx(expected)


def test_against_chance_exact_match_expects_one_right_sticker(studies, judged):
    rows = judged["exact"]["R3"].differences["difference"]
    expected = mean(studies["release"], "as released", "hit@1", "exact") - 100 / GALLERY
    assert rows["as released", "hit@1"] == pytest.approx(expected)


def test_both_verdicts_count_intervals_on_one_side_of_0(judged):
    table = findings.both_verdicts(judged)
    for match, own in judged.items():
        for claim, one in own.items():
            away = sum(low > 0 or high < 0 for low, high in one.differences[["low", "high"]].to_numpy())
            assert list(table.loc[claim, f"{match} match"]) == [away, one.verdict]
            assert table.at[claim, ("judged by", "differences")] == len(one.differences)


def test_paired_differences_put_one_comparison_in_one_row(judged):
    paired = findings.paired_differences(judged)
    assert not paired.isna().any(axis=None)
    own = judged["exact"]["C8"].differences["low"]
    assert paired.loc["C8"]["exact", "low"].to_dict() == own.to_dict()


def test_signs_by_hand():
    """Of three: one alike and sure, one that turns but for nothing sure, one that turns with its whole interval."""
    intention, exact = [(2, 1, 3), (1, -1, 3), (4, 2, 6)], [(1, 0, 2), (-1, -2, 1), (-3, -4, -2)]
    index = pd.MultiIndex.from_tuples([("C", n, "mAP") for n in range(3)], names=["claim", "configuration", "metric"])
    frames = {
        m: pd.DataFrame(r, index, ["difference", "low", "high"])
        for m, r in zip(MATCHES, (intention, exact), strict=True)
    }
    counts = findings.signs(pd.concat(frames, axis=1))
    expected = {"differences": 3, "same sign": 1, "sure": 2, "sure, same sign": 1, "sure, against": 1}
    assert counts.loc["mAP"].to_dict() == expected
    said = findings.sign_sentences(counts)
    assert "1 of 3 judged" in said and "1 of the 2 whose" in said and "1 lie" in said


@pytest.mark.parametrize(
    ("verdicts", "found"),
    [
        ([(HOLDS, HOLDS), (UNDECIDED, UNDECIDED)], HOLDS),
        ([(FAILS, FAILS)], HOLDS),
        ([(UNDECIDED, UNDECIDED)], UNDECIDED),
        ([(HOLDS, UNDECIDED), (HOLDS, HOLDS)], UNDECIDED),
        ([(HOLDS, FAILS), (HOLDS, HOLDS)], FAILS),
        ([(FAILS, HOLDS), (UNDECIDED, HOLDS)], FAILS),
    ],
)
def test_verdicts_of_both_rules_are_compared_claim_by_claim(verdicts, found):
    assert findings.one_verdict(pd.DataFrame(verdicts, columns=["one", "other"])) == found


def test_verdict_sentences_name_the_claims_that_change():
    rows = [(HOLDS, HOLDS), (UNDECIDED, UNDECIDED), (HOLDS, UNDECIDED)]
    said = findings.verdict_sentences(pd.DataFrame(rows, ["C1", "C2", "C3"], ["intention match", "exact match"]))
    assert "Of 3 claims 2 have the same verdict under both rules: 1 decided, 1 undecided." in said
    assert f"C3 ({HOLDS}; {UNDECIDED})" in said and "C1" not in said and "None of them" in said


# Systems


def test_systems_that_are_told_the_truth_are_left_out(studies):
    labels = list(findings.told_nothing(studies["main"]))
    assert {"Random", "SRS", "Int-RA", "Int-RA+"} <= set(labels)
    assert not {"Oracle intention", "Majority intention", "Blind reader"} & set(labels)


def test_places_by_sorting(studies):
    main = {label: studies["main"][label] for label in ("Random", "BM25", "SRS", "Int-RA")}
    both = findings.under_both(main)
    table = findings.places(both)
    for match in MATCHES:
        for metric in ("hit@1", "mAP"):
            means = {label: round(mean(main, label, metric, match), 9) for label in main}
            ranks = {label: 1 + sum(other > means[label] for other in means.values()) for label in main}
            cells = with_intervals(both.loc[f"{match} match"])[metric]
            assert table[metric, f"{match} match"].to_dict() == {n: f"{cells[n]} ({ranks[n]})" for n in main}


def test_order_agreement_is_spearmans(studies):
    main = findings.told_nothing(studies["main"])
    agreement = findings.order_agreement(main, draws=50)
    means = [[round(mean(main, label, "mAP", match), 9) for label in main] for match in MATCHES]
    assert agreement.at["mAP", "rho"] == pytest.approx(spearmanr(*means).statistic)
    assert -1 <= agreement.at["mAP", "low"] < agreement.at["mAP", "high"] <= 1


def test_rules_with_the_same_answers_agree(tmp_path):
    configs = study_configs("window", "smoke", [0, 1])
    alike = {label: [make_record(tmp_path / label / str(c.seed), c, 0) for c in own] for label, own in configs.items()}
    agreement = findings.order_agreement(alike, draws=20)
    assert np.allclose(agreement[["rho", "low", "high"]], 1)


def test_resolution_has_chance_and_the_oracle_beside_int_ra(studies):
    main = studies["main"]
    table = findings.resolution(main)
    row = table.loc["hit@1", "exact match"]
    assert row["chance"] == pytest.approx(100 / GALLERY)
    assert row["Int-RA"] == pytest.approx(mean(main, "Int-RA", "hit@1", "exact"))
    assert row["above chance"] == pytest.approx(row["Int-RA"] - row["chance"])
    assert row["Oracle intention"] == pytest.approx(mean(main, "Oracle intention", "hit@1", "exact"))
    said = findings.resolution_sentence(table, QUERIES)
    assert f"{QUERIES / GALLERY:.1f} by chance and {row['Int-RA'] * QUERIES / 100:.1f} by Int-RA under exact" in said


# Verdicts of the book


def write_notebook(path, **glued):
    """A notebook that glues some texts."""
    outputs = [
        new_output(
            "display_data",
            data={"application/papermill.record/text/plain": repr(text)},
            metadata={"scrapbook": {"name": name, "mime_prefix": "application/papermill.record/"}},
        )
        for name, text in glued.items()
    ]
    notebooks.write(new_notebook(cells=[new_code_cell("", outputs=outputs)]), path)
    return path


def test_verdicts_are_read_off_notebooks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = write_notebook(tmp_path / "kept" / "01.ipynb", verdict_C1=HOLDS, claim_C1="It works", number="3")
    two = write_notebook(tmp_path / "kept" / "02.ipynb", verdict_P1=INCONSISTENT, verdict_P2=FAILS)
    assert findings.stored_verdicts([one, two]) == {"C1": HOLDS, "P1": INCONSISTENT, "P2": FAILS}
    write_notebook(tmp_path / "notebooks" / "01.ipynb", verdict_C1=UNDECIDED)
    assert findings.stored_verdicts([one, two])["C1"] == UNDECIDED


def test_a_notebook_without_a_verdict_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IntraError, match=r"01\.ipynb: holds no verdict; execute it first"):
        findings.stored_verdicts([write_notebook(tmp_path / "kept" / "01.ipynb", claim_C1="It works")])


def test_verdicts_are_counted():
    said = findings.count_sentence({"C1": HOLDS, "C2": HOLDS, "C3": INCONSISTENT}, "the paper")
    assert "3 claims of the paper" in said
    assert f" {HOLDS} 2" in said and f" {INCONSISTENT} 1" in said and f" {FAILS} 0" in said


# Pages


def glued(page, prefix):
    """Claims whose verdict and the like a page shows, in order."""
    text = (BOOK / page).read_text(encoding="utf-8")
    return re.findall(rf"::{prefix}_([A-Z]\d+):s`", text)


def test_the_page_of_findings_has_every_claim_of_the_book():
    table = glued("findings.md", "ours")
    assert sorted(table) == sorted(findings.stored_verdicts(book_notebooks()))
    assert table == glued("findings.md", "paper") == glued("findings.md", "claim")[: len(table)]


def test_the_page_of_findings_has_every_claim_that_is_judged_twice(judged):
    assert glued("findings.md", "exact") == list(judged["exact"])


def test_the_opening_page_cites_what_the_citation_file_says():
    text = (BOOK / "index.md").read_text(encoding="utf-8")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert f"{{{citation['title']}}}" in text and f"version = {{{citation['version']}}}" in text
    assert citation["version"] == __version__
    (paper,) = re.findall(
        r"(?s)@article\{liang2024reply,.*?\n\}", (BOOK / "references.bib").read_text(encoding="utf-8")
    )
    assert paper in text


def test_all_pages_that_the_findings_point_to_are_notebooks():
    text = (BOOK / "findings.md").read_text(encoding="utf-8")
    names = set(re.findall(r"\.\./notebooks/(\w+)\.ipynb", text))
    assert names <= {path.stem for path in NOTEBOOKS.glob("*.ipynb")}
