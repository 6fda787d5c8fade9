"""Directive `calculator`: the page's controls, with the paper's printed shares read from the package's data file."""

from docutils import nodes
from docutils.parsers.rst import Directive

from intra import widgets


class Calculator(Directive):
    """What `calculator.js` fills; formats other than HTML leave it out."""

    def run(self):
        """Return the HTML."""
        return [nodes.raw("", widgets.calculator()._repr_html_(), format="html")]


def setup(app):
    """Register with Sphinx."""
    app.add_directive("calculator", Calculator)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
