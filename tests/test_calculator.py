"""The calculator's functions against `intra.audit.granularity`, decimal fractions and scipy; then the page itself.

They run where readers run them: in a browser, from a file.
"""

import random
from fractions import Fraction

import pytest
from browser import watched

from intra import widgets
from intra.audit import granularity, sampling
from intra.paper import printed
from intra.paths import BOOK

pytest_plugins = ["browser"]

STATIC = BOOK / "_static"
INT_RA = ["18.13", "37.50", "40.62"]


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    """The calculator on a page of its own, and what went wrong on it."""
    scripts = "".join(f'<script src="{(STATIC / name).as_uri()}"></script>' for name in ("widgets.js", "calculator.js"))
    file = tmp_path_factory.mktemp("calculator") / "page.html"
    body = widgets.calculator()._repr_html_()
    file.write_text(f'<!doctype html><meta charset="utf-8">{scripts}<body>{body}</body>', encoding="utf-8")
    context = browser.new_context(offline=True)
    wrong: list[str] = []
    opened = watched(context, wrong)
    opened.goto(file.as_uri())
    yield opened
    assert wrong == []
    context.close()


@pytest.fixture
def fresh(page):
    """The page as it was when it was opened."""
    page.reload()
    return page


def drawn_shares(draw, decimals):
    """A size, a rule and printed shares of it, or of nothing."""
    n = draw.choice([draw.randint(1, 60), draw.randint(1, 400), draw.randint(1, 30_000)])
    rule = draw.choice(granularity.RULES)
    share = granularity.printed_as(draw.randint(0, n), n, rule, decimals)
    units = draw.randint(0, 10 ** (decimals + 2))
    other = f"{units // 10**decimals}.{units % 10**decimals:0{decimals}d}"
    return n, rule, draw.choice([share, share, other])


def test_shares_print_as_in_python(page):
    draw, cases = random.Random(0), []
    for decimals in (1, 2, 3, 5):
        for n in (1, 3, 7, 8, 160, 399, draw.randint(400, 90_000)):
            cases += [(draw.randint(0, n), n, rule, decimals) for rule in granularity.RULES for _ in range(6)]
    found = page.evaluate("cases => cases.map((one) => intra.audit.printedAs(...one))", cases)
    assert found == [granularity.printed_as(*case) for case in cases]


def test_counts_are_those_of_python(page):
    draw = random.Random(1)
    cases = [drawn_shares(draw, decimals) for decimals in (1, 2, 3) for _ in range(200)]
    cases += [
        (n, rule, value)
        for n in (8, 16, 160, 20_001)
        for rule in granularity.RULES
        for value in ("0.0", "100.00", "0.00", "12.5", "13.12", "13.13", "0.62", "0.63", "99.99", "3.1")
    ]
    script = "cases => cases.map(([n, rule, value]) => intra.audit.counts(intra.audit.parse(value), n, rule))"
    found = page.evaluate(script, cases)
    expected = [granularity.counts(value, n, rule) for n, rule, value in cases]
    assert found == expected
    assert {len(ks) for ks in expected} >= {0, 1, 2, 3}


@pytest.mark.parametrize("choice", ["one", "mixed"])
def test_sizes_are_those_of_python_for_every_printed_row(page, choice):
    rows = [row[list(granularity.SHARES)].tolist() for _, row in printed().iterrows()]
    rows += [["50.00"], ["12.5", "37.50"], ["33.3", "66.7", "0.0"], ["0.00", "100.00"]]
    script = "([rows, choice]) => rows.map((row) => intra.audit.denominators(row.map(intra.audit.parse), 400, choice))"
    found = page.evaluate(script, [rows, choice])
    assert found == [granularity.denominators(row, 400, choice == "mixed") for row in rows]


def test_one_rule_alone_is_what_python_says_of_it(page):
    script = "([row, n]) => intra.audit.fittingRules(row.map(intra.audit.parse), n)"
    for row, n in ((["5.71", "9.52", "14.28"], 105), (INT_RA, 160), (["13.12"], 160), (["13.13"], 160), (["50.0"], 2)):
        assert page.evaluate(script, [row, n]) == granularity.fitting_rules(row, n)
    alone = "([row, rule]) => intra.audit.denominators(row.map(intra.audit.parse), 400, rule)"
    row = ["5.71", "9.52", "14.28"]
    for rule in granularity.RULES:
        sizes = [n for n in range(1, 401) if rule in granularity.fitting_rules(row, n)]
        assert page.evaluate(alone, [row, rule]) == sizes


def test_whole_percentages_are_searched_too(page):
    """Python prints one decimal at least; the truth is a plain comparison of fractions."""
    script = "([value, n]) => intra.audit.counts(intra.audit.parse(value), n, 'half-up')"
    for value, n in (("38", 8), ("37", 8), ("0", 300), ("100", 7), ("3", 400)):
        near = [k for k in range(n + 1) if -Fraction(1, 2) <= Fraction(100 * k, n) - int(value) < Fraction(1, 2)]
        assert page.evaluate(script, [value, n]) == near


@pytest.mark.parametrize(
    "text", ["", "12,5", "101", "100.01", "-1", "1e1", "012.5", "12.", ".5", "1.1234567", "abc", "5 %"]
)
def test_what_is_no_printed_percentage_is_refused(page, text):
    assert page.evaluate("(text) => intra.audit.parse(text)", text) is None


def test_the_last_zero_counts(page):
    script = "(value) => intra.audit.denominators([intra.audit.parse(value)], 30, 'mixed')"
    assert page.evaluate(script, "18.1") != page.evaluate(script, "18.10") == []


def test_intervals_are_those_of_scipy(page):
    cases = [(k, n) for n in (1, 2, 31, 154, 160, 9999) for k in sorted({0, 1, n // 7, n // 2, n})]
    for (k, n), found in zip(
        cases, page.evaluate("c => c.map((one) => intra.audit.wilson(...one))", cases), strict=True
    ):
        assert found == pytest.approx(sampling.wilson(k, n), abs=1e-6), (k, n)


def test_products_at_the_limits_are_exact(page):
    """Six decimals and a hundred thousand queries."""
    draw = random.Random(2)
    shares = [
        (draw.randint(0, n), n, rule, 6) for n in (99_991, 100_000) for rule in granularity.RULES for _ in range(20)
    ]
    found = page.evaluate("shares => shares.map((one) => intra.audit.printedAs(...one))", shares)
    assert found == [granularity.printed_as(*share) for share in shares]
    cases = [(text, n, rule) for text, (_, n, rule, _) in zip(found, shares, strict=True)]
    script = "cases => cases.map(([text, n, rule]) => intra.audit.counts(intra.audit.parse(text), n, rule))"
    assert page.evaluate(script, cases) == [granularity.counts(*case) for case in cases]


def answers(page):
    return [text.strip() for text in page.locator("output").all_inner_texts()]


def test_the_page_opens_with_the_paper_row(fresh):
    assert [fresh.get_by_label(f"Value {place}").input_value() for place in (1, 2, 3)] == INT_RA
    sizes = granularity.denominators(INT_RA, 1000, mixed=True)
    search, one, interval = answers(fresh)
    assert search == f"Smallest n: {sizes[0]}. Up to 1,000, {len(sizes)} sizes fit."
    assert fresh.locator("tbody th").all_inner_texts() == [str(n) for n in sizes]
    assert fresh.locator("tbody tr").first.locator("td").all_inner_texts() == ["29", "60", "65", "no single rule"]
    assert one == "No: 154 cannot print all of these values."
    low, high = sampling.wilson(29, 160)
    assert interval == f"29 of 160: 95 % interval {low:.1f} to {high:.1f} %."


def test_the_page_answers_what_is_typed(fresh):
    for place, value in enumerate(["5.71", "9.52", "14.28"], start=1):
        fresh.get_by_label(f"Value {place}").fill(value)
    fresh.get_by_label("Rule of rounding").select_option("truncated")
    fresh.get_by_label("Largest n").fill("400")
    fresh.get_by_label("n", exact=True).fill("210")
    search, one, _ = answers(fresh)
    assert search == "Smallest n: 105. Up to 400, 3 sizes fit."
    assert one == "Yes: 210 can print all of these values."
    assert fresh.locator("tbody tr").first.locator("td").all_inner_texts() == ["6", "10", "15", "cut off"]
    fresh.get_by_label("Rule of rounding").select_option("half-up")
    assert answers(fresh)[0] == "No n up to 400 can print these values together."


def test_a_row_of_the_paper_can_be_chosen(fresh):
    fresh.get_by_label("A row of the paper").select_option(label="MOD (Table II)")
    assert fresh.get_by_label("Value 2").input_value() == "9.52"
    assert answers(fresh)[0].startswith("Smallest n: 105.")


def test_the_page_says_what_is_wrong(fresh):
    first = fresh.get_by_label("Value 1")
    first.fill("18,13")
    assert answers(fresh)[0].startswith("Write each percentage as it is printed")
    assert first.get_attribute("aria-invalid") == "true"
    assert fresh.get_by_label("Value 2").get_attribute("aria-invalid") == "false"
    first.fill("18.13")
    fresh.get_by_label("Largest n").fill("0")
    assert answers(fresh)[0] == "n is a whole number from 1 to 100,000."
    fresh.get_by_role("button", name="Clear").click()
    assert first.evaluate("(field) => field === document.activeElement")
    fresh.get_by_label("Largest n").fill("50")
    assert answers(fresh)[0] == "Enter at least one percentage."


def test_an_interval_needs_a_count(fresh):
    fresh.get_by_label("of n", exact=True).fill("154")
    assert answers(fresh)[2] == "18.13 % is no share of 154: 27 of 154 is 17.53 %, 28 of 154 is 18.18 %."
