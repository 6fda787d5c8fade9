"""The rendered book: every page is there, shows the values of the notebooks, and needs no network.

The book is rendered here from the committed notebooks and their stored outputs, so what the tests see does
not depend on what an earlier build left behind.
"""

import ast
import json
import pkgutil
import re
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest

from intra.errors import IntraError
from intra.paths import BOOK, NOTEBOOKS, ROOT
from intra.site import book_notebooks, pages, render_book

pytest_plugins = ["helpers"]

# Prose page: the notebook and the glue key of a number that the page must show.
HEADLINES = {"book/index": ("06_main_results", "int_ra_hit1")}

NOTEBOOK_PAGES = [f"notebooks/{path.stem}" for path in book_notebooks()]
PROSE_PAGES = [page for page in pages() if page not in NOTEBOOK_PAGES and page != "book/status"]

GLUED_TEXT = re.compile(r"\{glue:text\}`(?P<path>[^`:]+)::(?P<key>[^`:]+)(?::(?P<format>[^`]*))?`")
# Decimals that are no version number, and percentages but for the usual level of an interval.
TYPED_RESULT = re.compile(r"(?<![\w.])(?!95\s?%)[-+]?\d+(?:\.\d+)?\s?%|(?<![\w.])[-+]?\d+\.\d+(?!\w|\.\d)(?!\s?%)")
NO_PROSE = [
    r"(?s)\A---$.*?^---$",  # front matter
    r"(?s)^(?P<fence>[`:~]{3,})(?:\{(?:math|code-cell|code|bibliography)\}|\w).*?^(?P=fence)",  # not the end of another
    r"^[`:]{3,}\{.*$|^:[\w-]+:.*$",  # the first line and the options of another directive; its body is prose
    r"^%.*$",
    r"(?s)<!--.*?-->",
    r"(?s)\$\$.*?\$\$",
    r"`[^`]*`",  # code and roles
    r"(?<![\\$])\$[^$\n]+\$",
    r"\]\([^)]*\)",
    r"https?://\S+",
]
ALLOWED_BY = "<!-- typed:"


LOADED_BY = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


class Page(HTMLParser):
    """What the tests ask of a page.

    Attributes:
        requests: Everything that the browser would load by itself.
        glued: Text of each pasted value, in order.
        text: All visible text.
        scripts: All inline scripts.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.requests: list[str] = []
        self.glued: list[str] = []
        self._parts: list[str] = []
        self.scripts = ""
        self._hidden = ""
        self._pasted = False
        self.feed(html)
        self.text = " ".join("".join(self._parts).split())

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        address = attributes.get(LOADED_BY.get(tag, ""))
        # a canonical or search link is for other programs; the browser loads only these
        if address and (tag != "link" or {"stylesheet", "preload", "icon"} & set(attributes["rel"].split())):
            self.requests.append(address)
        self._hidden = tag if tag in ("script", "style") else ""
        if tag == "span" and "pasted-text" in (attributes.get("class") or ""):
            self._pasted = True
            self.glued.append("")

    def handle_endtag(self, tag):
        self._hidden = ""
        self._pasted = self._pasted and tag != "span"

    def handle_data(self, data):
        if self._pasted:
            self.glued[-1] += data
        if self._hidden == "script":
            self.scripts += data
        elif not self._hidden:
            self._parts.append(data)


def outside(requests: list[str]) -> list[str]:
    """Return the addresses that lie on another machine."""
    return [address for address in requests if re.match(r"(?:[a-z]+:)?//", address)]


def empty_glue(page: Page) -> list[str]:
    """Return the pasted values that show nothing."""
    return [text for text in page.glued if text.strip() in ("", "nan", "None") or "??" in text]


def stored_glue(notebook) -> dict[str, object]:
    """Return the glued values that a notebook stores, by key."""
    values = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            key = output.get("metadata", {}).get("scrapbook", {}).get("name")
            text = output.get("data", {}).get("application/papermill.record/text/plain")
            if key and text is not None:
                try:
                    values[key] = ast.literal_eval(text)
                except (ValueError, SyntaxError):
                    values[key] = text
    return values


def expected_glue(source: str, folder: Path) -> list[str]:
    """Return what the `{glue:text}` roles of a page must show, in order, by the notebooks' stored outputs."""
    shown = []
    for role in GLUED_TEXT.finditer(source):
        notebook = nbformat.read((folder / role["path"]).resolve(), as_version=4)
        shown.append(format(stored_glue(notebook)[role["key"]], role["format"] or ""))
    return shown


def typed_results(markdown: str) -> list[str]:
    """Return decimals and percentages typed into prose, where a glued value belongs.

    Code, equations, roles, comments, links and addresses may hold numbers. A line with the comment
    `<!-- typed: reason -->` may too.
    """
    prose = "\n".join(line for line in markdown.splitlines() if ALLOWED_BY not in line)
    for pattern in NO_PROSE:
        prose = re.sub(f"(?m){pattern}", " ", prose)
    return TYPED_RESULT.findall(prose)


def search_index(html_directory: Path) -> dict:
    text = (html_directory / "searchindex.js").read_text(encoding="utf-8")
    return json.loads(text[text.index("(") + 1 : text.rindex(")")])


@pytest.fixture(scope="module")
def page(html):
    read: dict[str, Page] = {}

    def parse(name: str) -> Page:
        if name not in read:
            read[name] = Page((html / f"{name}.html").read_text(encoding="utf-8"))
        return read[name]

    return parse


@pytest.mark.parametrize("name", pages())
def test_every_page_is_there_and_says_something(name, page):
    assert len(page(name).text) > 200


def test_the_first_page_is_the_start(html):
    assert "book/index.html" in (html / "index.html").read_text()


@pytest.mark.parametrize("name", NOTEBOOK_PAGES)
def test_notebook_pages_show_their_claim(name, page):
    notebook = nbformat.read(ROOT / f"{name}.ipynb", as_version=4)
    (claim,) = [cell for cell in notebook.cells if "claim" in cell.metadata.get("tags", [])]
    printed = [" ".join(out.text.split()) for out in claim.outputs if out.get("name") == "stdout"]
    assert printed and all(printed)
    assert [text for text in printed if text not in page(name).text] == []


@pytest.mark.parametrize("name", PROSE_PAGES)
def test_glued_values_are_those_of_the_notebooks(name, page):
    source = ROOT / f"{name}.md"
    roles = expected_glue(source.read_text(encoding="utf-8"), source.parent)
    assert page(name).glued == roles


@pytest.mark.parametrize("name", HEADLINES)
def test_prose_pages_show_their_headline_number(name, page):
    notebook, key = HEADLINES[name]
    roles = GLUED_TEXT.finditer((ROOT / f"{name}.md").read_text(encoding="utf-8"))
    formats = [role["format"] for role in roles if Path(role["path"]).stem == notebook and role["key"] == key]
    value = stored_glue(nbformat.read(NOTEBOOKS / f"{notebook}.ipynb", as_version=4))[key]
    assert formats, f"{name} does not glue {key}"
    assert format(value, formats[0]) in page(name).text


def test_the_opening_page_is_written_with_values_of_the_notebooks(page):
    assert [text for text in page("book/index").glued if re.search(r"\d", text)]


@pytest.mark.parametrize("name", pages())
def test_no_glued_value_is_empty(name, page):
    assert empty_glue(page(name)) == []


@pytest.mark.parametrize("name", [*pages(), "search", "genindex"])
def test_pages_load_nothing_from_another_machine(name, page):
    assert outside(page(name).requests) == []
    assert re.findall(r"https?://[^\s\"']+", page(name).scripts) == []


def test_style_sheets_load_nothing_from_another_machine(html):
    loads = re.compile(r"(?:url\(|@import\s*)['\"]?\s*(?:https?:)?//")
    assert [path.name for path in html.rglob("*.css") if loads.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("name", pages())
def test_what_a_page_loads_is_in_the_book(name, html, page):
    own = [address for address in page(name).requests if not re.match(r"[a-z]+:|//", address)]
    files = {link: (html / name).parent / re.sub(r"[?#].*", "", link) for link in own}
    assert own
    assert [link for link, file in files.items() if not file.is_file()] == []


def test_equations_are_drawn_by_a_local_file(html, page):
    assert (html / "_static/mathjax/tex-svg.js").stat().st_size > 1_000_000
    assert any("mathjax/tex-svg.js" in address for address in page("book/method").requests)


def test_equations_of_the_paper_keep_their_numbers():
    """The method page promises that (1) to (14) are the paper's, and only labelled equations are numbered."""
    labels = re.findall(r"^:label: eq-(\S+)", (BOOK / "method.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert labels[:14] == [
        *("comet", "knowledge", "text", "intention", "prediction", "intention-loss", "mllm"),
        *("descriptions", "regions", "common", "attention", "relation", "cosine", "retrieval-loss"),
    ]


def test_chinese_words_are_found(html):
    """The index holds characters and pairs, and the search page cuts its query the same way."""
    index = search_index(html)
    found = index["terms"].get("表情", index["titleterms"].get("表情"))
    assert found is not None
    run = re.compile(r"[\u3400-\u9fff]{3,}")
    assert [term for term in index["terms"] if run.search(term)] == []
    assert "\\u3400-\\u9fff" in (html / "_static/language_data.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(BOOK.glob("*.md")), ids=lambda path: path.name)
def test_prose_types_no_results(path):
    assert typed_results(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name)
def test_notebook_prose_types_no_results(path):
    cells = nbformat.read(path, as_version=4).cells
    assert typed_results("\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")) == []


def test_rendering_again_without_a_change_does_nothing(site, html):
    assert not render_book(site, html)


def test_a_warning_stops_the_build_and_keeps_the_old_pages(site, html, tmp_path):
    broken = tmp_path / "site"
    (broken / "book").mkdir(parents=True)
    (broken / "downloads").mkdir()
    (broken / "_toc.yml").write_text("format: jb-book\nroot: book/index\n")
    (broken / "_config.yml").write_text((site / "_config.yml").read_text())
    for part in ("_ext", "_static"):
        (broken / "book" / part).symlink_to(site / "book" / part)
    (broken / "book" / "references.bib").write_text("")
    (broken / "book" / "index.md").write_text("# Start\n\nSee {ref}`nowhere`.\n")
    before = tmp_path / "html"
    before.mkdir()
    (before / "index.html").write_text("old")
    with pytest.raises(IntraError, match=r"book/index\.md:3: WARNING: undefined label: 'nowhere'") as failure:
        render_book(broken, before)
    assert "\n" not in str(failure.value)
    assert (before / "index.html").read_text() == "old"


def test_values_that_show_nothing_are_found():
    page = Page('<p><span class="pasted-text"></span><span class="pasted-text">0.5</span></p>')
    assert page.glued == ["", "0.5"]
    assert empty_glue(page) == [""]
    assert empty_glue(Page('<span class="pasted-text">nan</span>')) == ["nan"]


def test_requests_to_another_machine_are_found():
    page = Page(
        '<script src="https://cdn.example/a.js"></script><link rel="stylesheet" href="//cdn.example/a.css">'
        '<img src="http://example.org/a.png"><link rel="canonical" href="https://example.org">'
        '<a href="https://example.org">a link</a><img src="../_images/a.png"><img src="data:image/png,aa">'
    )
    assert outside(page.requests) == [
        "https://cdn.example/a.js",
        "//cdn.example/a.css",
        "http://example.org/a.png",
    ]


def test_expected_values_are_read_from_stored_outputs(tmp_path):
    data = {"application/papermill.record/text/plain": "0.12345"}
    output = nbformat.v4.new_output("display_data", data=data, metadata={"scrapbook": {"name": "hit"}})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])])
    nbformat.write(notebook, tmp_path / "a.ipynb")
    assert expected_glue("hit {glue:text}`a.ipynb::hit:.2f`", tmp_path) == ["0.12"]
    with pytest.raises(KeyError):
        expected_glue("{glue:text}`a.ipynb::miss:.2f`", tmp_path)


@pytest.mark.parametrize(
    ("markdown", "found"),
    [
        ("The hit rate is 0.129.", ["0.129"]),
        ("It rose by 12 % to 31.5%.", ["12 %", "31.5%"]),
        ("| Int-RA | 0.25 |", ["0.25"]),
        ("```{note}\nIt is 0.5 here.\n```", ["0.5"]),
        ("-0.5 and (0.25)", ["-0.5", "0.25"]),
        ("As in the paper, 0.3. <!-- typed: setting of the paper -->", []),
        ("It is {glue:text}`../notebooks/a.ipynb::hit:.3f`.", []),
        ("The rate is `0.001`, and $\\tau = 0.07$.", []),
        ("$$\n\\lambda = 0.1\n$$", []),
        ("```{math}\n:label: eq-1\n\\lambda = 0.1\n```", []),
        ("```python\nx = 0.1\n```", []),
        ("jupyter-book 1.0.4, section 4, 2024, 28 labels, [a](https://example.org/1.5)", []),
        ("% a comment with 0.5", []),
        ("The 95 % interval is 5.5 wide", ["5.5"]),
        ("```{glue:} table\n:doc: a.ipynb\n```\n\nIt is 4.5.\n\n```bash\nrun 0.1\n```\n\nAnd 5.5.", ["4.5", "5.5"]),
    ],
)
def test_typed_results_are_found(markdown, found):
    assert typed_results(markdown) == found


@pytest.mark.parametrize("page", sorted(BOOK.glob("*.md")), ids=lambda path: path.stem)
def test_code_that_prose_names_exists(page):
    for name in re.findall(r"`(intra(?:\.\w+)+)`", page.read_text(encoding="utf-8")):
        pkgutil.resolve_name(name)  # raises, naming what is missing
