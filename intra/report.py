"""The only module that touches IPython and glue: numbers, tables and claims on their way to the book's pages."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from IPython.core.pylabtools import print_figure
from IPython.display import Markdown, display
from matplotlib.figure import Figure
from myst_nb import glue

from intra.claims import Claim
from intra.config import unknown
from intra.errors import IntraError

_checked: set[int] = set()
_OF_IPYTHON = {"In", "Out", "exit", "get_ipython", "open", "quit"}


def check_parameters(namespace: Mapping[str, object], *known: str) -> None:
    """Refuse parameters that a notebook does not have; papermill itself only warns of them.

    Args:
        namespace: `globals()` of a notebook in which nothing but its parameters has been set.
        known: Names in its `parameters` cell.

    Raises:
        IntraError: Naming the parameter and the nearest known one.
    """
    if id(namespace) in _checked:  # the cell is run again, when imports have been added
        return
    for name in namespace:
        if not name.startswith("_") and name not in _OF_IPYTHON and name not in known and name != "check_parameters":
            raise IntraError(unknown("parameter", name, known))
    _checked.add(id(namespace))


def glue_numbers(numbers: Mapping[str, float | int | str]) -> None:
    """Make numbers available to prose pages, and print them.

    numpy scalars are cast, because a format in `{glue:text}` turns them into blank text.
    """
    for name, value in numbers.items():
        plain = value if isinstance(value, (str, int)) else float(value)
        glue(name, plain, display=False)
        print(f"{name} = {plain if not isinstance(plain, float) else round(plain, 4)}")


def show_table(frame: pd.DataFrame, decimals: int = 1, name: str = "") -> None:
    """Show a frame with its floats rounded and its labels in words; under `name`, other pages can show it too."""
    shown = frame.round(decimals).rename(index=_words, columns=_words)
    with pd.option_context("display.max_colwidth", None, "display.max_rows", None):
        display(shown)
        if name:
            glue(name, shown, display=False)


def _words(label: object) -> object:
    """A label that was a field's name, such as `facial_expression`, as words."""
    return label.replace("_", " ") if isinstance(label, str) else label


def show_text(sentences: str | Sequence[str]) -> None:
    """Show sentences that were made from numbers, as one paragraph of the page."""
    display(Markdown(sentences if isinstance(sentences, str) else " ".join(sentences)))


def glue_figure(name: str, figure: Figure) -> None:
    """Make a figure available to other pages."""
    glue(name, figure, display=False)


def show_claim(claim: Claim) -> None:
    """Show the closing claim row, print its verdict, and glue its parts as `verdict_<id>`, `ours_<id>` etc."""
    print(f"{claim.id}: {claim.verdict}")
    for name in ("verdict", "claim", "paper", "ours"):
        glue(f"{name}_{claim.id}", getattr(claim, name), display=False)
    show_table(claim.frame())


def show_figure(figure: Figure, data: pd.DataFrame | None, decimals: int = 3) -> None:
    """Show a figure together with the numbers behind it, which its page offers as CSV.

    Both are one output, so that a picture and its numbers cannot come from different runs.

    Args:
        figure: To show; it is closed.
        data: What is drawn; levels of its columns are joined, as `hit@1 mean`. None where the figure shows pictures.
        decimals: Of the floats in the CSV, few enough to be the same on other machines.
    """
    bundle = {"image/png": print_figure(figure, base64=True, bbox_inches="tight")}
    if data is not None:
        joined = [" ".join(map(str, name)).strip() if isinstance(name, tuple) else name for name in data.columns]
        bundle["text/csv"] = data.set_axis(joined, axis=1).round(decimals).to_csv(lineterminator="\n")
    plt.close(figure)
    display(bundle, raw=True)


def drawn(
    results: pd.DataFrame,
    chance: Mapping[str, float] | pd.DataFrame | None = None,
    paper: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Results with what a figure draws beside them, as further columns (metric, `chance`) and (metric, `paper`).

    Args:
        results: Answer of `tables.results`.
        chance: Metric to percent; or a frame with a column a metric, whose index is named as a level of the results'.
        paper: Printed values in percent, one column a metric, for some of the rows.
    """
    parts = {metric: results[metric] for metric in results.columns.unique(0)}
    for metric, part in parts.items():
        if isinstance(chance, pd.DataFrame):
            part = part.assign(chance=part.index.get_level_values(chance.index.name).map(chance[metric]))
        elif chance:
            part = part.assign(chance=chance[metric])
        parts[metric] = part if paper is None else part.assign(paper=paper[metric])
    return pd.concat(parts, axis=1)
