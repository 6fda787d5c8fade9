r"""Which counts of n queries print as a given percentage, in whole numbers only.

A share of k of n queries prints, with d decimals, as one of two neighbours of 100 k / n. So a printed value rules out
every n of which no share rounds to it, and three values that share n rule out most (the GRIM test of Brown and
Heathers, 2017).
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import combinations

import pandas as pd

from intra import paper
from intra.errors import IntraError

RULES = ("half-up", "half-even", "truncated")
"""How the digits after the last printed one may have been dropped."""
SHARES = ("hit@1", "hit@3", "hit@5")
"""Printed columns that are shares of queries."""
FAMILY = ("Ablation study", "Table III")
"""Groups of the rows that print Int-RA and its variants."""
LARGEST = 400
"""Denominators that are searched: the test split has fewer than half as many conversations."""


def printed_as(count: int, n: int, rule: str, decimals: int = 2) -> str:
    """How 100 count / n prints.

    Args:
        count: k, 0 to n.
        n: Denominator, at least 1.
        rule: One of `RULES`.
        decimals: Printed places after the point, at least 1.

    Raises:
        IntraError: If the rule is unknown or the count is no share.
    """
    if rule not in RULES or not 0 <= count <= n or n < 1:
        raise IntraError(f"{count} of {n}, {rule!r}: expected 0 to n of at least 1, and one of {', '.join(RULES)}")
    kept, rest = divmod(10 ** (decimals + 2) * count, n)
    up = 2 * rest >= n if rule == "half-up" else 2 * rest > n or (2 * rest == n and kept % 2)
    kept += int(rule != "truncated" and up)
    whole, fraction = divmod(kept, 10**decimals)
    return f"{whole}.{fraction:0{decimals}d}"


def counts(printed: str, n: int, rule: str) -> list[int]:
    """All k for which k of n prints as a percentage, rising; mostly one or none."""
    decimals = len(printed.partition(".")[2])
    steps = int(printed.replace(".", ""))  # the value in units of its last place
    low, high = (n * max(0, steps - 1) // 10 ** (decimals + 2), -(-n * (steps + 1) // 10 ** (decimals + 2)))
    return [k for k in range(low, min(n, high) + 1) if printed_as(k, n, rule, decimals) == printed]


def fitting_rules(printed: Iterable[str], n: int) -> list[str]:
    """The rules under each of which every value is a share of n."""
    values = list(printed)
    return [rule for rule in RULES if all(counts(value, n, rule) for value in values)]


def fits_mixed(printed: Iterable[str], n: int) -> bool:
    """Whether every value is a share of n, each under a rule of its own."""
    return all(any(counts(value, n, rule) for rule in RULES) for value in printed)


def denominators(printed: Sequence[str], largest: int = LARGEST, mixed: bool = False) -> list[int]:
    """All n, 1 to `largest`, of which every value is a share: under one rule for all, or `mixed`."""
    fits = fits_mixed if mixed else fitting_rules
    return [n for n in range(1, largest + 1) if fits(printed, n)]


def hits(printed: Iterable[str], n: int) -> list[int]:
    """The count of n behind each value, under any rule.

    Raises:
        IntraError: If a value has no count, or several.
    """
    found = [sorted({k for rule in RULES for k in counts(value, n, rule)}) for value in printed]
    if any(len(ks) != 1 for ks in found):
        raise IntraError(f"counts of {n} are {found}, expected one for each printed value")
    return [k for (k,) in found]


def averaged_runs(printed: Sequence[str], sizes: Iterable[int], most: int) -> list[tuple[int, int]]:
    """Pairs (runs, size), up to `most` runs, whose mean over runs of `size` queries each can print so."""
    return [(runs, size) for size in sizes for runs in range(1, most + 1) if fitting_rules(printed, runs * size)]


def fit_probability(n: int, values: int = 3, decimals: int = 2) -> Fraction:
    """Chance that independent uniform values, 0 to 100 with so many decimals, are shares of n under one rule for all.

    By inclusion and exclusion over the rules: for each, the strings that it prints are a set.
    """
    prints = [{printed_as(k, n, rule, decimals) for k in range(n + 1)} for rule in RULES]
    total = Fraction(10 ** (decimals + 2) + 1)
    return sum(
        (-1) ** (size + 1) * Fraction(len(set.intersection(*chosen)), total) ** values
        for size in range(1, len(RULES) + 1)
        for chosen in combinations(prints, size)
    )


def padding_batches(items: int, padded: int) -> list[int]:
    """Batch sizes b for which b ceil(items / b) is `padded`."""
    return [b for b in range(1, padded + 1) if b * -(-items // b) == padded]


def ties(printed: Iterable[str], n: int) -> pd.DataFrame:
    """Values exactly between two printable ones: `count`, whether it went `up`, and whether to an `even` digit.

    Raises:
        IntraError: See `hits`.
    """
    rows = []
    for value, count in zip(values := list(printed), hits(values, n), strict=True):
        rest = 10 ** (len(value.partition(".")[2]) + 2) * count % n
        if 2 * rest == n:
            up = printed_as(count, n, "half-up") == value
            rows.append({"printed": value, "count": count, "up": up, "even": int(value[-1]) % 2 == 0})
    return pd.DataFrame(rows, columns=["printed", "count", "up", "even"])


def family_values() -> list[str]:
    """The printed shares of Int-RA and its variants, row by row, Table III included."""
    rows = paper.printed()
    return rows[rows["group"].isin(FAMILY)][list(SHARES)].to_numpy().ravel().tolist()


def reading() -> pd.DataFrame:
    """For each row of Tables II and III the denominators up to `LARGEST`, and the counts behind one of them.

    Returns:
        Columns `one rule`: denominators under one rule for the row, with `rule`; `mixed`: those under a rule a value;
        `n`: the one read here, which is `read_size`'s, missing where nothing fits; `hits`: its counts.
    """
    rows = {}
    for label, row in paper.printed().iterrows():
        values = row[list(SHARES)].tolist()
        single, mixed = denominators(values), denominators(values, mixed=True)
        n = read_size(single, mixed)
        rows[label] = {
            "one rule": single,
            "rule": " or ".join(fitting_rules(values, n)) if n in single else "mixed" if n else "",
            "mixed": mixed,
            "n": n,
            "hits": hits(values, n) if n else [],
        }
    return pd.DataFrame.from_dict(rows, orient="index").astype({"n": "Int64"})


def read_size(single: Sequence[int], mixed: Sequence[int]) -> int | None:
    """The denominator that is nearest to the printed test split: under one rule if there is any, else under several.

    Multiples of a denominator fit as well; the nearest to the size of the split is the reading that adds least.
    """
    test = int(paper.table_one().at["conversations", "test"])
    candidates = list(single) or list(mixed)
    return min(candidates, key=lambda n: abs(n - test), default=None)


def reading_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """The answer of `reading` as text, with the printed values in front."""
    cells = paper.printed()[list(SHARES)].copy()
    cells["one rule"] = frame["one rule"].map(listed)
    cells["mixed rules"] = frame["mixed"].map(listed)
    cells["read as"] = [f"{row['n']}, {row['rule']}" if row["hits"] else "" for _, row in frame.iterrows()]
    cells["hits"] = [", ".join(map(str, found)) for found in frame["hits"]]
    return cells


def listed(found: Sequence, most: int = 3) -> str:
    """The first things of a list as text, and how many more there are."""
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return (", ".join(map(str, found[:most])) or "none") + more


def smallest(printed: Sequence[str], largest: int) -> int | None:
    """The smallest denominator under one rule, up to a largest; None if there is none."""
    return next((n for n in range(1, largest + 1) if fitting_rules(printed, n)), None)
