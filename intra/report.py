"""The only module that touches IPython and glue: numbers, tables and claims on their way to the book's pages."""

from collections.abc import Mapping

import pandas as pd
from IPython.display import Markdown, display
from myst_nb import glue

from intra.claims import Claim


def glue_numbers(numbers: Mapping[str, float | int | str]) -> None:
    """Make numbers available to prose pages, and print them.

    numpy scalars are cast, because a format in `{glue:text}` turns them into blank text.
    """
    for name, value in numbers.items():
        plain = value if isinstance(value, (str, int)) else float(value)
        glue(name, plain, display=False)
        print(f"{name} = {plain if not isinstance(plain, float) else round(plain, 4)}")


def show_table(frame: pd.DataFrame, decimals: int = 1) -> None:
    """Show a frame with its floats rounded."""
    with pd.option_context("display.max_colwidth", None, "display.max_rows", None):
        display(frame.round(decimals))


def show_markdown(text: str) -> None:
    """Show Markdown that a function of the package wrote."""
    display(Markdown(text))


def show_claim(claim: Claim) -> None:
    """Show the closing claim row, and glue its verdict."""
    glue(f"verdict_{claim.id}", claim.verdict, display=False)
    show_table(claim.frame())
