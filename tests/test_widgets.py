"""Islands hold the numbers of the frames, and the page shows those of the chosen set, window or gallery."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from browser import watched

from intra import paper, widgets
from intra.errors import IntraError
from intra.paths import BOOK

pytest_plugins = ["browser"]

METRICS = ["hit@1", "mAP"]
CHANCE = {"hit@1": 4.0, "mAP": 7.46, "MRR": 1.0}
PARTS = {"none": (), "A": ("gesture",), "B": ("facial expression",), "AB": ("gesture", "facial expression")}


def intervals(labels, start=10.0, metrics=METRICS):
    """Means that tell label and metric, with ends one below and two above."""
    columns = pd.MultiIndex.from_product([metrics, ["mean", "low", "high"]])
    means = start + np.arange(len(labels) * len(metrics)).reshape(len(labels), len(metrics)) + 0.04
    return pd.DataFrame(np.stack([means, means - 1, means + 2], axis=2).reshape(len(labels), -1), labels, columns)


def attribute_sets(labels=tuple(PARTS)):
    """A widget of sets, without the rows of other labels."""
    ours = intervals(list(PARTS)).loc[list(labels)]
    index = pd.MultiIndex.from_product([[label for label in PARTS if label != "AB"], METRICS])
    differences = pd.DataFrame({"difference": -0.04, "low": -1.5, "high": 2.0}, index)
    printed = pd.DataFrame({"hit@1": [17.5, 9.38, 18.13], "mAP": [44.85, 38.0, 53.37]}, ["none", "A", "AB"])
    return widgets.subsets(ours, differences, PARTS, printed, CHANCE)


def context_windows():
    validation = pd.DataFrame({0: [10.0, 14.0, 12.0], 1: [20.0, 12.0, 13.0]}, ["2", "3", "4"])
    reach = pd.DataFrame({"shorter": [0, 1, 4], "exactly": [1, 3, 2], "cut": [9, 6, 4]}, [2, 3, 4])
    return widgets.windows(intervals(["2", "3", "4"]), validation, reach, CHANCE, 3)


def drawn_galleries():
    index = pd.MultiIndex.from_product([["One", "Two & more"], [50, 1025]], names=["configuration", "size"])
    chance = pd.DataFrame({"hit@1": [6.0, 4.0], "mAP": [12.0, 5.0]}, [50, 1025])
    return widgets.galleries(intervals(index), chance, ["One"])


def island(widget):
    """The content as a browser reads it."""
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', widget._repr_html_())[1])


MADE = [attribute_sets, context_windows, drawn_galleries, widgets.calculator]


@pytest.mark.parametrize("make", MADE)
def test_html_is_an_island_and_a_sentence(make):
    widget, html = make(), make()._repr_html_()
    assert island(widget) == widget.content
    assert re.sub(r"<script.*?</script>|<[^>]+>", "", html).replace("&#x27;", "'") == widget.instead == repr(widget)
    assert f'href="{widget.link}"' in html and f'data-widget="{widget.kind}"' in html
    assert "\n" not in html and make()._repr_html_() == html


def test_content_cannot_end_its_script():
    widget = widgets.Widget("subsets", {"label": "</script><b>表情"}, "a < b", "#x")
    assert widget._repr_html_().count("</script>") == 1
    assert island(widget) == {"label": "</script><b>表情"}
    assert "a &lt; b" in widget._repr_html_()


def test_sets_hold_results_differences_and_printed_values():
    content = island(attribute_sets())
    assert content["attributes"] == ["gesture", "facial expression"] and content["chance"] == {"hit@1": 4.0, "mAP": 7.5}
    none, one, other, both = content["sets"]
    assert [row["has"] for row in content["sets"]] == [list(parts) for parts in PARTS.values()]
    assert one["here"] == {"hit@1": [12.0, 11.0, 14.0], "mAP": [13.0, 12.0, 15.0]}
    assert one["difference"]["mAP"] == [0.0, -1.5, 2.0] and both["difference"] is None
    assert "-0.0" not in attribute_sets()._repr_html_()
    assert none["paper"] == {"hit@1": "17.50", "mAP": "44.85"} and other["paper"] is None


def test_windows_hold_validation_and_reach():
    content = island(context_windows())
    assert content["chosen"] == 2 and content["paper"] == 3 and content["conversations"] == 10
    assert content["windows"][1] == {
        "window": 3,
        "here": {"hit@1": [12.0, 11.0, 14.0], "mAP": [13.0, 12.0, 15.0]},
        "validation": 13.0,
        "shorter": 1,
        "cut": 6,
    }


def test_windows_and_reach_must_agree():
    reach = pd.DataFrame({"shorter": [0], "exactly": [1], "cut": [9]}, [2])
    with pytest.raises(IntraError, match="expected the same"):
        widgets.windows(intervals(["2", "3"]), pd.DataFrame({0: [1.0, 2.0]}, ["2", "3"]), reach, CHANCE, 3)


def test_galleries_hold_every_system_and_size():
    content = island(drawn_galleries())
    assert content["sizes"] == [50, 1025] and content["chosen"] == ["One"]
    assert content["chance"] == [{"hit@1": 6.0, "mAP": 12.0}, {"hit@1": 4.0, "mAP": 5.0}]
    assert content["systems"]["Two & more"][1]["hit@1"] == [16.0, 15.0, 18.0]


def test_the_calculator_starts_with_what_the_paper_prints():
    content, printed = island(widgets.calculator()), paper.printed()
    assert [row["label"] for row in content["rows"]] == list(printed.index)
    (row,) = [row for row in content["rows"] if row["label"] == content["first"]]
    assert row == {
        "label": "Int-RA",
        "table": "II",
        "values": printed.loc["Int-RA", ["hit@1", "hit@3", "hit@5"]].tolist(),
    }
    assert content["n"] == 154


@pytest.fixture(scope="module")
def opened(browser, tmp_path_factory):
    """Opens a page with one widget, the book's scripts and style; nothing may go wrong on it."""
    context, wrong = browser.new_context(offline=True), []

    def load(widget):
        static = BOOK / "_static"
        scripts = "".join(
            f'<script src="{(static / name).as_uri()}"></script>' for name in ("widgets.js", "calculator.js")
        )
        style = f'<link rel="stylesheet" href="{(static / "widgets.css").as_uri()}">'
        file = tmp_path_factory.mktemp("widget") / "page.html"
        page = f'<!doctype html><html lang="en"><meta charset="utf-8">{style}{scripts}<body>{widget._repr_html_()}'
        file.write_text(page, encoding="utf-8")
        tab = watched(context, wrong)
        tab.goto(file.as_uri())
        return tab

    yield load
    assert wrong == []
    context.close()


def said(page):
    return page.locator("output").inner_text()


def values(page):
    return page.locator(".intra-value").all_inner_texts()


def test_boxes_choose_a_set(opened):
    page = opened(attribute_sets())
    assert values(page) == ["16.0 [15.0, 18.0]", "17.0 [16.0, 19.0]"]
    assert said(page) == "Told: gesture and facial expression. hit@1 16.0 %, mAP 17.0 %."
    widths = page.locator(".intra-fill").evaluate_all("(bars) => bars.map((bar) => bar.style.width)")
    page.get_by_label("gesture").uncheck()
    assert values(page) == ["14.0 [13.0, 16.0]", "15.0 [14.0, 17.0]"]
    assert said(page).endswith(
        "left out: gesture. hit@1 14.0 %, mAP 15.0 %. This is the one set that the paper does not print."
    )
    assert page.locator(".intra-fill").evaluate_all("(bars) => bars.map((bar) => bar.style.width)") != widths
    page.get_by_label("facial expression").uncheck()
    assert said(page).startswith("No attribute, the ablation without attributes. hit@1 10.0 %")
    note = page.locator(".intra-note").first.inner_text()
    assert note == "chance 4.0 · against all four +0.0 [−1.5, +2.0] · paper, another data set: 17.50"
    page.get_by_role("button", name="All four").click()
    assert values(page)[0] == "16.0 [15.0, 18.0]" and page.get_by_label("gesture").is_checked()


def test_without_that_run_one_box_is_needed(opened):
    page = opened(attribute_sets(("A", "B", "AB")))
    for box in page.get_by_role("checkbox").all():
        box.uncheck()
    assert said(page) == "Without attributes there is no run here: choose at least one." and values(page) == []


def test_keys_move_the_window(opened):
    page = opened(context_windows())
    slider = page.get_by_label("Window")
    assert slider.get_attribute("aria-valuetext") == "3 utterances"
    assert said(page).startswith("3 utterances, the paper's best. hit@1 12.0 %, mAP 13.0 %; validation mAP 13.0 %.")
    slider.press("ArrowRight")
    assert values(page) == ["14.0 [13.0, 16.0]", "15.0 [14.0, 17.0]", "12.5"]
    assert said(page).endswith("Of 10 test conversations 4 (40.0 %) are shorter than this window, 4 (40.0 %) are cut.")
    page.get_by_role("button", name="Validation's choice (2)").click()
    assert said(page).startswith("2 utterances, the window that validation chooses.") and slider.input_value() == "0"


def test_sizes_and_systems_change_the_picture(opened):
    page = opened(drawn_galleries())
    assert values(page) == ["12.0 [11.0, 14.0]", "4.0", "13.0 [12.0, 15.0]", "5.0"]
    page.get_by_label("Size").press("Home")
    assert values(page) == ["10.0 [9.0, 12.0]", "6.0", "11.0 [10.0, 13.0]", "12.0"]
    page.get_by_label("Two & more").check()
    assert values(page)[:3] == ["10.0 [9.0, 12.0]", "14.0 [13.0, 16.0]", "6.0"]
    expected = (
        "In a gallery of 50 stickers the highest hit@1 shown is 14.0 % (Two & more), chance 6.0 %; the highest mAP"
    )
    assert said(page).startswith(expected)
    page.get_by_role("button", name="None").click()
    assert said(page) == "50 stickers: choose at least one system." and values(page) == []


@pytest.mark.parametrize("make", MADE)
@pytest.mark.parametrize("width", [390, 1440])
def test_every_control_has_a_name_and_fits(opened, make, width):
    page = opened(make())
    page.set_viewport_size({"width": width, "height": 900})
    unnamed = "(fields) => fields.filter((one) => !one.labels.length || !one.labels[0].textContent.trim()).length"
    assert page.locator("input, select").count() and page.locator("input, select").evaluate_all(unnamed) == 0
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    assert page.evaluate("Object.keys(window).filter((name) => name.startsWith('intra'))") == ["intra"]


def test_without_scripts_the_sentence_stays(browser, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(f'<!doctype html><meta charset="utf-8">{attribute_sets()._repr_html_()}', encoding="utf-8")
    page = browser.new_page(java_script_enabled=False)
    page.goto(file.as_uri())
    assert page.locator("body").inner_text().strip() == widgets.FIGURE
    page.close()
