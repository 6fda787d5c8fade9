"""The rendered book in a real browser, opened from a folder with the network off."""

import functools
import io
import json
import re
from itertools import chain, combinations

import pytest
from browser import PROBLEMS, QUESTIONS, SETTLED, visit, watched
from PIL import Image

from intra import paper
from intra.audit import granularity
from intra.site import pages

pytest_plugins = ["helpers", "browser"]

PAGES = [*pages(), "search", "genindex"]
WIDGETS = {
    "subsets": "notebooks/09_attribute_combinations",
    "windows": "notebooks/08_window",
    "galleries": "notebooks/06_main_results",
    "calculator": "book/calculator",
}

BAD = """<!doctype html><html lang="en" data-theme="dark"><head><title>Bad</title></head><body>
<main><h1>Bad</h1><script>console.error("oh"); setTimeout(() => missing(), 0)</script>
<img src="http://example.invalid/a.png" alt="a picture">
<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=" alt="a.png">
<div style="width: 2000px; height: 100px; background: white; color: black">Wide and pale</div>
<p style="font-size: 10px">Small</p><table><tr><td style="font-size: 8px">Smaller</td></tr></table>
<span class="math">x</span><p style="color: #777; background: #888">Faint</p><button></button></main></body></html>"""


@pytest.fixture(scope="module")
def visited(context, html):
    """Answers what is wrong with a page, which is opened once."""
    return functools.cache(lambda name: visit(context, html / f"{name}.html"))


@pytest.fixture
def tab(context, html):
    """Opens a page of the book; what goes wrong there fails the test."""
    found = []
    page = watched(context, found)

    def open_page(name, query=""):
        page.goto((html / name).as_uri() + query)
        return page

    yield open_page
    page.close()
    assert found == []


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wrong_with_a_page(name, question, visited):
    assert getattr(visited(name), question) == []


def test_what_is_wrong_with_a_page_is_found(context, tmp_path):
    (tmp_path / "bad.html").write_text(BAD)
    seen = visit(context, tmp_path / "bad.html")
    assert {"console: oh", "left: http://example.invalid/a.png"} < set(seen.loading)
    assert [problem for problem in seen.loading if "missing is not defined" in problem]
    everywhere = [f"{theme}, {width}: " for theme in ("light", "dark") for width in (390, 1440)]
    assert [re.match(r".*?: ", problem)[0] for problem in seen.wide if "Wide and pale" in problem] == everywhere
    assert [re.search(r": (\d+)px", problem)[1] for problem in seen.small] == ["10", "8"] * 4
    assert [problem for problem in seen.pale if "Wide and pale" in problem]
    assert {problem.split(": ")[1] for problem in seen.images} == {"not loaded", "not described"}
    assert seen.equations == [f"{place}x" for place in everywhere]
    assert {"color-contrast", "button-name"} <= {part for problem in seen.barriers for part in problem.split(": ")}


def test_nothing_is_missing_from_the_page_for_print(tab):
    page = tab("book/print.html")
    page.evaluate(SETTLED)
    assert {name: problems for name, problems in page.evaluate(PROBLEMS).items() if problems} == {}


@pytest.mark.parametrize("name", [name for name in pages() if name.startswith("notebooks/")])
def test_the_verdict_of_a_claim_is_in_sight(name, tab):
    page = tab(f"{name}.html")
    page.set_viewport_size({"width": 1440, "height": 900})
    found = page.locator("table.dataframe:has(thead th:last-child:text-is('verdict'))").evaluate_all(
        """(tables) => tables.map((one) => {
          const shown = one.closest(".cell_output").getBoundingClientRect();
          return [one.querySelector("td:last-child").innerText, one.getBoundingClientRect().right <= shown.right + 1];
        })"""
    )
    assert found and [verdict for verdict, seen in found if not seen] == []


@pytest.mark.parametrize("name", ["notebooks/06_main_results", "book/data_card"])
def test_figures_are_dimmed_in_the_dark(name, tab):
    page = tab(f"{name}.html")
    page.emulate_media(color_scheme="dark")
    picture = Image.open(io.BytesIO(page.locator(".bd-article img").first.screenshot())).convert("L")
    assert 180 < picture.getextrema()[1] < 230  # the white of its ground


@pytest.mark.parametrize("word", ["表情", "commonsense"])
def test_search_finds_chinese_and_english_words(word, tab):
    page = tab("search.html")
    field = page.locator("#search-documentation input[name=q], .bd-search input[name=q]").locator("visible=true").first
    field.fill(word)
    field.press("Enter")
    page.wait_for_url("**/search.html?q=*")
    result = page.locator("#search-results ul.search li a").first
    title = result.text_content()
    result.click()
    page.wait_for_url(re.compile(r"/(book|notebooks)/"))
    assert title.strip() in page.locator("article").inner_text()
    assert word in page.locator("article").inner_text().lower()


def test_search_says_that_it_found_nothing(tab):
    page = tab("search.html", "?q=zyzzyva")
    page.wait_for_function("document.querySelector('#search-results').innerText.includes('did not match')")
    assert page.locator("#search-results ul.search li").count() == 0


def test_the_theme_switch_works_and_is_remembered(browser, html):
    context = browser.new_context(color_scheme="light", offline=True, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto((html / "book/index.html").as_uri())
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    while page.evaluate("document.documentElement.dataset.mode") != "dark":
        page.locator(".theme-switch-button").locator("visible=true").first.click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    dark = page.evaluate(ground)
    page.goto((html / "book/method.html").as_uri())
    assert page.evaluate(ground) == dark != light
    context.close()


@pytest.fixture
def widget(tab):
    """Opens the page of an interactive part: the part, and the data behind it."""

    def open_widget(kind):
        part = tab(f"{WIDGETS[kind]}.html").locator(f'[data-widget="{kind}"]')
        return part, json.loads(part.locator("script").text_content())

    return open_widget


def shown(part) -> list[str]:
    """Return the values beside the bars."""
    return [text.replace("−", "-") for text in part.locator(".intra-value").all_text_contents()]


def written(here: dict[str, list[float]], metrics: list[str]) -> list[str]:
    """Return what the values of a row must read."""
    return ["{:.1f} [{:.1f}, {:.1f}]".format(*here[metric]) for metric in metrics]


def test_every_set_of_attributes_shows_its_results(widget):
    part, content = widget("subsets")
    names = content["attributes"]
    by_set = {frozenset(row["has"]): row["here"] for row in content["sets"]}
    wanted = list(chain.from_iterable(combinations(names, size) for size in range(len(names), 0, -1)))
    assert set(map(frozenset, wanted)) <= set(by_set)
    for told in wanted:
        for name in names:
            part.get_by_label(name).set_checked(name in told)
        assert shown(part) == written(by_set[frozenset(told)], content["metrics"]), told


def test_checkboxes_and_buttons_obey_the_keyboard(widget):
    part, content = widget("subsets")
    first, *others = content["attributes"]
    (rest,) = [row["here"] for row in content["sets"] if row["has"] == others]
    part.get_by_label(first).press("Space")
    assert shown(part) == written(rest, content["metrics"])
    part.get_by_role("button", name="All four").press("Enter")
    (whole,) = [row["here"] for row in content["sets"] if row["has"] == content["attributes"]]
    assert shown(part) == written(whole, content["metrics"])


def test_the_slider_moves_through_the_windows(widget):
    part, content = widget("windows")
    slider = part.get_by_role("slider")
    rows = content["windows"]
    for key, row in [("Home", rows[0]), *(("ArrowRight", row) for row in rows[1:]), ("ArrowLeft", rows[-2])]:
        slider.press(key)
        assert shown(part) == [*written(row["here"], content["metrics"]), f"{row['validation']:.1f}"]
        assert slider.get_attribute("aria-valuetext") == f"{row['window']} utterances"
    part.get_by_role("button", name="paper's best").click()
    (best,) = [row for row in rows if row["window"] == content["paper"]]
    assert shown(part)[:-1] == written(best["here"], content["metrics"])


def test_galleries_show_the_chosen_systems_at_the_chosen_size(widget):
    part, content = widget("galleries")
    part.get_by_role("button", name="None").click()
    assert shown(part) == []
    names = [name for name in content["systems"] if name not in content["chosen"]][:1] + content["chosen"][:1]
    for name in names:
        part.get_by_label(name, exact=True).check()
    drawn = [name for name in content["systems"] if name in names]
    for key, place in (("Home", 0), ("End", -1)):
        part.get_by_role("slider").press(key)
        expected = []
        for metric in content["metrics"]:
            expected += [text for name in drawn for text in written(content["systems"][name][place], [metric])]
            expected.append(f"{content['chance'][place][metric]:.1f}")
        assert shown(part) == expected


def answer(values: list[str], largest: int, mixed: bool) -> str:
    """Return what the calculator must say of printed values."""
    sizes = granularity.denominators(values, largest, mixed)
    if not sizes:
        return f"No n up to {largest:,} can print these values together."
    fit = "size fits" if len(sizes) == 1 else "sizes fit"
    return f"Smallest n: {sizes[0]:,}. Up to {largest:,}, {len(sizes):,} {fit}."


def test_the_calculator_answers_for_rows_of_the_paper(widget):
    part, content = widget("calculator")
    said, one = part.locator("output").nth(0), part.locator("output").nth(1)
    printed = paper.printed()
    values = printed.loc["Int-RA", list(granularity.SHARES)].tolist()
    fields = [part.get_by_label(f"Value {place}") for place in range(1, 4)]
    assert [field.input_value() for field in fields] == values
    assert said.text_content() == answer(values, 1000, mixed=True)
    assert one.text_content().startswith("Yes" if granularity.fits_mixed(values, content["n"]) else "No")
    part.get_by_label("Largest n").fill("400")
    part.get_by_label("Rule of rounding").select_option("one")
    for place, row in enumerate(content["rows"]):
        part.get_by_label("A row of the paper").select_option(str(place))
        assert row["values"] == printed.loc[row["label"], list(granularity.SHARES)].tolist()
        assert said.text_content() == answer(row["values"], 400, mixed=False), row["label"]


def test_the_calculator_answers_while_one_types_and_marks_what_is_no_percentage(widget):
    part, _ = widget("calculator")
    part.get_by_role("button", name="Clear").press("Enter")
    first = part.get_by_label("Value 1")
    part.page.keyboard.type("33.3")  # the field has the focus
    assert part.locator("output").nth(0).text_content() == answer(["33.3"], 1000, mixed=True)
    part.page.keyboard.type("x")
    assert first.get_attribute("aria-invalid") == "true"
    assert "Write each percentage" in part.locator("output").nth(0).text_content()


@pytest.mark.parametrize("kind", WIDGETS)
def test_without_scripts_a_sentence_leads_to_the_same_numbers(kind, browser, html):
    context = browser.new_context(java_script_enabled=False, offline=True)
    context.set_default_timeout(10_000)
    page = context.new_page()
    page.goto((html / f"{WIDGETS[kind]}.html").as_uri())
    link = page.locator(f'[data-widget="{kind}"] a')
    target = link.get_attribute("href").partition("#")[2]
    link.click()
    page.locator(f"#{target}" if target else "article h1").first.wait_for()
    context.close()
