"""Counts behind printed percentages, against decimal arithmetic and plain enumeration."""

import itertools
import random
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, localcontext

import pytest

from intra import paper
from intra.audit import granularity
from intra.errors import IntraError
from intra.paper import _tables

DECIMAL_RULES = {"half-up": ROUND_HALF_UP, "half-even": ROUND_HALF_EVEN, "truncated": ROUND_DOWN}


def by_decimal(count, n, rule):
    with localcontext(prec=60):
        return str((Decimal(100 * count) / n).quantize(Decimal("0.01"), DECIMAL_RULES[rule]))


@pytest.mark.parametrize("rule", granularity.RULES)
def test_shares_print_as_decimal_arithmetic_prints_them(rule):
    for n in (1, 3, 7, 8, 154, 160, 399):
        printed = [granularity.printed_as(count, n, rule) for count in range(n + 1)]
        assert printed == [by_decimal(count, n, rule) for count in range(n + 1)]


def test_the_ties_that_tell_the_rules_apart():
    assert [granularity.printed_as(21, 160, rule) for rule in granularity.RULES] == ["13.13", "13.12", "13.12"]
    assert [granularity.printed_as(47, 160, rule) for rule in granularity.RULES] == ["29.38", "29.38", "29.37"]
    assert granularity.printed_as(1, 8, "half-even", decimals=1) == "12.5"


@pytest.mark.parametrize(
    ("count", "n", "rule"), [(1, 2, "up"), (3, 2, "half-up"), (-1, 2, "half-up"), (0, 0, "half-up")]
)
def test_what_is_no_share_is_refused(count, n, rule):
    with pytest.raises(IntraError, match="expected 0 to n"):
        granularity.printed_as(count, n, rule)


@pytest.mark.parametrize("rule", granularity.RULES)
def test_counts_are_those_of_enumeration(rule):
    drawn = random.Random(0).sample(range(10001), 60)
    values = [f"{k // 100}.{k % 100:02d}" for k in (*drawn, 0, 9999, 10000)]
    for n in (1, 33, 160, 20_001):
        table = {}
        for count in range(n + 1):
            table.setdefault(granularity.printed_as(count, n, rule), []).append(count)
        assert [granularity.counts(value, n, rule) for value in values] == [table.get(value, []) for value in values]


def test_denominators_are_those_of_enumeration():
    values, largest = ["18.13", "37.50", "40.62"], 170
    fits = {
        (rule, n): {granularity.printed_as(count, n, rule) for count in range(n + 1)}
        for rule in granularity.RULES
        for n in range(1, largest + 1)
    }
    for chosen in (values, values[:2], ["5.71", "9.52", "14.28"], ["50.00"]):
        sizes = range(1, largest + 1)
        single = [n for n in sizes if any(set(chosen) <= fits[rule, n] for rule in granularity.RULES)]
        mixed = [n for n in sizes if all(any(v in fits[rule, n] for rule in granularity.RULES) for v in chosen)]
        assert granularity.denominators(chosen, largest) == single
        assert granularity.denominators(chosen, largest, mixed=True) == mixed


def test_a_share_fits_its_own_denominator_and_every_multiple():
    draw = random.Random(1)
    for _ in range(50):
        n = draw.randint(1, 400)
        rule, factor = draw.choice(granularity.RULES), draw.randint(2, 5)
        values = [granularity.printed_as(draw.randint(0, n), n, rule) for _ in range(3)]
        assert rule in granularity.fitting_rules(values, n)
        assert rule in granularity.fitting_rules(values, factor * n)


def test_hits_need_one_count_each():
    assert granularity.hits(["18.13", "37.50", "40.62"], 160) == [29, 60, 65]
    with pytest.raises(IntraError, match="expected one for each"):
        granularity.hits(["18.13"], 154)


def test_means_over_runs_are_shares_of_all_their_queries():
    values = ["50.00", "66.66"]  # 3 runs of 2 queries: 3 and 4 of 6
    assert granularity.averaged_runs(values, [2], 3) == [(3, 2)]


def test_the_chance_of_a_fit_is_that_of_counting_triples():
    strings = [f"{k // 10}.{k % 10}" for k in range(1001)]
    n = 7
    single = [{granularity.printed_as(count, n, rule, 1) for count in range(n + 1)} for rule in granularity.RULES]
    pairs = sum(
        any(a in s and b in s for s in single)
        for a, b in itertools.product(strings, repeat=2)
        if a in set().union(*single)
    )
    assert granularity.fit_probability(n, values=2, decimals=1) == pytest.approx(pairs / 1001**2)


def test_padding_is_to_whole_batches():
    assert granularity.padding_batches(154, 160) == granularity.padding_batches(155, 160)
    assert granularity.padding_batches(154, 160) == [8, 10, 16, 20, 32, 40, 80, 160]
    assert 4 in granularity.padding_batches(154, 156)


def test_every_row_is_read_as_it_was_by_hand():
    """The data file holds denominators and counts that were found independently."""
    reading = granularity.reading()
    noted = {
        row.get("model", row.get("key")): row["inferred"]
        for name in ("table_II", "table_III")
        for row in _tables()[name]["rows"]
    }
    assert set(noted) == set(reading.index)
    for label, row in reading.iterrows():
        assert (row["hits"] or None) == noted[label]["hits"]
        if row["hits"]:
            assert row["n"] == noted[label]["n"]


def test_rows_of_note():
    reading = granularity.reading()
    assert reading.at["MOD", "one rule"] == [105, 210, 315] and reading.at["MOD", "rule"] == "truncated"
    assert reading.at["Qwen-VL", "one rule"] == [154, 308]
    assert reading.at["SRS", "one rule"] == [150, 300]
    assert reading.at["LLaVA", "one rule"] == [308]
    assert reading.at["PCME", "one rule"] == list(range(26, 400, 26))
    assert reading.at["Int-RA", "one rule"] == [] and reading.at["Int-RA", "mixed"] == [160, 320]
    assert [label for label, row in reading.iterrows() if row["rule"] == "mixed"] == [
        "Int-RA",
        "w/o knowledge",
        "G",
        "GPFV",
    ]


def test_the_family_shares_one_denominator_and_no_rule():
    values = granularity.family_values()
    assert len(values) == 54 and granularity.denominators(values, mixed=True) == [160, 320]
    assert granularity.denominators(values) == []
    ties = granularity.ties(values, 160)
    assert (len(ties), ties["up"].sum(), ties["even"].sum()) == (27, 17, 13)


@pytest.mark.parametrize(("label", "smallest"), [("IRRA", 1912), ("LGUR", 1337), ("CLIP", 742)])
def test_rows_without_a_denominator(label, smallest):
    values = paper.printed().loc[label, list(granularity.SHARES)].tolist()
    assert granularity.smallest(values, 2000) == smallest
    assert granularity.averaged_runs(values, (154, 155, 156, 160), 12) == []


def test_cells_print_every_row():
    cells = granularity.reading_cells(granularity.reading())
    assert cells.at["PCME", "one rule"] == "26, 52, 78 and 12 more" and cells.at["CLIP", "mixed rules"] == "none"
    assert cells.at["Int-RA", "read as"] == "160, mixed" and cells.at["Int-RA", "hits"] == "29, 60, 65"
