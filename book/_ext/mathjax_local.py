"""Equations without the network: one file of MathJax, copied from an installed package.

Sphinx loads MathJax from a public server by default. `sphinx-mathjax-offline` holds a copy; of its 24 MB the
file that draws equations as SVG is enough.
"""

import shutil
from importlib.metadata import distribution
from pathlib import Path

FILE = "sphinx-mathjax-offline/static/mathjax/tex-svg.js"


def copy_mathjax(app, error):
    """Copy MathJax to where `mathjax_path` in `_config.yml` points."""
    if error is None and app.builder.format == "html":
        target = Path(app.outdir, "_static", app.config.mathjax_path)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(distribution("sphinx-mathjax-offline").locate_file(FILE), target)


def setup(app):
    """Register with Sphinx."""
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
