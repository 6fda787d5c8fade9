"""One page with the whole book, to print or to save as PDF: `book/print.html`.

It is put together from the bodies of the finished pages, so that its numbers, figures and equations are theirs and
pictures are shared. Sphinx's `singlehtml` would read and write the book a second time, and its footnotes, equations and
like-named sections of different pages get the same anchors.
"""

import posixpath
import re
from functools import partial
from html import escape

from bs4 import BeautifulSoup

NAME = "book/print"
TITLE = "The whole book on one page"
OF_IDS = ("aria-describedby", "aria-labelledby", "for")
"""Attributes that name the anchor of another element."""


def keep_body(bodies, app, pagename, templatename, context, doctree):
    """Keep the body of a page of the book."""
    if doctree is not None:
        bodies[pagename] = context["body"]


def print_page(bodies, app):
    """Yield the page as Sphinx wants it: name, values of the template, template."""
    order = [name for name in app.env.collect_relations() if name in bodies]
    chapters = {name: chapter(bodies[name], name, order) for name in order}
    contents = "".join(
        f'<li><a href="#{anchor(name)}">{escape(app.env.titles[name].astext())}</a></li>' for name in order
    )
    parts = "".join(f'<div class="chapter" id="{anchor(name)}">{body}</div>' for name, body in chapters.items())
    start = (
        f'<h1>{escape(app.config.html_title)}</h1><nav class="chapters" aria-label="Chapters"><ol>{contents}</ol></nav>'
    )
    app.env.get_domain("math").data["has_equations"][NAME] = True  # or Sphinx leaves MathJax out
    yield NAME, {"title": TITLE, "body": f'<div class="whole-book">{start}{parts}</div>'}, "page.html"


def chapter(body, name, order):
    """Return the body of a page with anchors of its own, and links to other pages of the book as links within one.

    Args:
        body: HTML.
        name: Page that it comes from, a path without suffix.
        order: All pages of the book.
    """
    soup = BeautifulSoup(body, "html.parser")
    for element in soup.select("script, .toctree-wrapper"):
        element.decompose()
    for element in soup.select("[data-widget]"):  # without its script the sentence beside it says it all
        del element["data-widget"], element["class"]
    for element in soup.select("[id]"):
        element["id"] = anchor(name, element["id"])
    for key in OF_IDS:
        for element in soup.select(f"[{key}]"):
            element[key] = " ".join(anchor(name, part) for part in element[key].split())
    for element in soup.select("[href]"):
        element["href"] = link(element["href"], name, order)
    for element in soup.select("[src]"):
        element["src"] = moved(element["src"], name)
    return str(soup)


def anchor(name, inner=""):
    """Return the anchor of a page, or of something in it, that no other page has."""
    return "-".join([name.replace("/", "-"), *([inner] if inner else [])])


def link(address, name, order):
    """Return where a link of the page `name` leads from the printed page."""
    path, _, inner = address.partition("#")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)).removesuffix(".html") if path else name
    return f"#{anchor(target, inner)}" if target in order else moved(address, name)


def moved(address, name):
    """Return an address relative to the page `name` as one relative to the printed page."""
    if re.match(r"[a-z]+:|[/#]", address):
        return address
    return posixpath.relpath(posixpath.join(posixpath.dirname(name), address), posixpath.dirname(NAME))


def setup(app):
    """Register with Sphinx."""
    bodies = {}
    app.connect("html-page-context", partial(keep_body, bodies))
    app.connect("html-collect-pages", partial(print_page, bodies))
    return {"parallel_read_safe": True, "parallel_write_safe": False}
