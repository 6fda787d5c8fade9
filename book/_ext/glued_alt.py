"""Figures that a page pastes from a notebook are described by the notebook's words for the same picture.

MyST-NB gives a pasted picture no alternative text, and has no option for one where the notebook is another page.
"""

from functools import partial
from pathlib import PurePosixPath

from docutils import nodes


def keep_words(words, app, doctree):
    """Keep the alternative text of every described picture by file name, which is a digest of its content."""
    for image in doctree.findall(nodes.image):
        if image.get("alt"):
            words[PurePosixPath(image["uri"]).name] = image["alt"]


def describe(words, app, doctree, docname):
    """Give the pictures of a page that nothing describes the words for the same file on another page."""
    for image in doctree.findall(nodes.image):
        name = PurePosixPath(image["uri"]).name
        if not image.get("alt") and name in words:
            image["alt"] = words[name]


def setup(app):
    """Register with Sphinx."""
    words = {}
    app.connect("doctree-read", partial(keep_words, words))
    app.connect("doctree-resolved", partial(describe, words))
    return {"parallel_read_safe": False, "parallel_write_safe": True}
