"""The book put together and rendered: data and code behind figures, launch buttons, footer, one page to print."""

import re

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from intra import __version__
from intra.errors import IntraError
from intra.paths import PACKAGE, RECORDS, ROOT
from intra.site import REPOSITORY, digest, pages, render_book, stage_site

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
CSV = "epoch,loss\n1,0.5\n"
ADDRESS = "https://github.com/owner/name"

INDEX = """# Start

See {doc}`../notebooks/01_a`, {ref}`fig-loss`, {eq}`eq-one` and [the widget](../notebooks/01_a.ipynb).

## Results

Text {cite}`one2024`.

```{margin}
$x$: a number.
```

```{math}
:label: eq-one
x = 1
```

```{bibliography}
```
"""


def figure_cell(name, **data):
    """A cell that shows a picture with a caption, as `report.show_figure` leaves it."""
    settings = {"figure": {"name": name, "caption": "The *loss*."}, "image": {"alt": "A falling line."}}
    output = new_output("display_data", data={"image/png": PIXEL, **data})
    return new_code_cell("report.show_figure(figure, losses)", metadata={"mystnb": settings}, outputs=[output])


def write_notebook(path, *cells):
    path.parent.mkdir(parents=True, exist_ok=True)
    notebook = new_notebook(cells=[new_markdown_cell("# Does it learn?\n\n## Results\n\nText."), *cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A book of one page and one notebook with two figures, with the settings and extensions of the real one."""
    root = tmp_path_factory.mktemp("study")
    (root / "book").mkdir()
    (root / "_config.yml").write_text((ROOT / "_config.yml").read_text(encoding="utf-8"), encoding="utf-8")
    for part in ("_ext", "_static"):
        (root / "book" / part).symlink_to(ROOT / "book" / part)
    bibliography = "@article{one2024, title={One}, author={A, B}, journal={J}, year={2024}}"
    (root / "book" / "references.bib").write_text(bibliography)
    toc = "format: jb-book\nroot: book/index\nparts:\n  - chapters:\n      - file: notebooks/01_a\n"
    (root / "book" / "_toc.yml").write_text(toc + "      - file: book/status\n")
    (root / "book" / "index.md").write_text(INDEX)
    widget = {"text/html": '<div class="intra-widget" data-widget="a"><script>1</script><p id="p">Instead.</p></div>'}
    cells = [
        figure_cell("fig-loss", **{"text/csv": CSV}),
        figure_cell("fig-faces"),
        new_code_cell("widget", outputs=[new_output("display_data", data=widget)]),
    ]
    write_notebook(root / "run" / "notebooks" / "01_a.ipynb", *cells)
    return root


def staged(root, folder, monkeypatch, repository=""):
    """Stage the small book, without or with a repository."""
    monkeypatch.setenv(REPOSITORY, repository)
    stage_site(root / "run", folder, "# Status\n\nText.\n", root=root)
    return yaml.safe_load((folder / "_config.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def html(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rendered")
    with pytest.MonkeyPatch.context() as patch:
        staged(root, folder / "site", patch, ADDRESS)
    assert render_book(folder / "site", folder / "html")
    return folder / "html"


@pytest.fixture(scope="module")
def read(html):
    return lambda name: BeautifulSoup((html / f"{name}.html").read_text(encoding="utf-8"), "html.parser")


def targets(html, page, soup):
    """Addresses that a page links or loads inside the book, with the files and anchors that they mean."""
    for element in soup.select("[href], [src]"):
        address = element.get("href") or element.get("src")
        path, _, anchor = address.partition("#")
        if address and not re.match(r"[a-z]+:|//", address):
            file = (html / page).parent / path.partition("?")[0] if path else html / f"{page}.html"
            yield address, file, anchor


@pytest.mark.parametrize("page", ["notebooks/01_a", "book/print"])
def test_each_figure_links_its_data_and_its_code(page, html, read):
    first, second = read(page).select("figure")
    links = [{a.text: a["href"] for a in figure.select(".legend a[download]")} for figure in (first, second)]
    assert links == [
        {"Data (CSV)": "../data/fig-loss.csv", "Code (notebook)": "../_sources/notebooks/01_a.ipynb"},
        {"Code (notebook)": "../_sources/notebooks/01_a.ipynb"},
    ]
    assert (html / page / ".." / links[0]["Data (CSV)"]).resolve().read_text() == CSV
    code = (html / page / ".." / links[0]["Code (notebook)"]).resolve()
    assert "report.show_figure(figure, losses)" in [cell.source for cell in nbformat.read(code, as_version=4).cells]
    assert first.select_one("figcaption").text.split("#")[0].strip() == "Fig. 1 The loss."


def test_the_data_are_in_one_place(html):
    assert [path.name for path in html.rglob("*.csv")] == ["fig-loss.csv"]


@pytest.mark.parametrize("page", ["book/index", "notebooks/01_a", "book/print"])
def test_pictures_are_described(page, read):
    assert [image for image in read(page).select("img") if not image.get("alt", "").strip()] == []


@pytest.mark.parametrize("page", ["book/index", "notebooks/01_a", "book/status", "book/print"])
def test_links_lead_to_files_and_anchors_of_the_book(page, html, read):
    found = list(targets(html, page, read(page)))
    assert len(found) > 10
    assert [address for address, file, _ in found if not file.exists()] == []
    asked = [(file, anchor) for _, file, anchor in found if anchor and file.suffix == ".html"]
    anchors = {
        file: {element["id"] for element in read(file.relative_to(html).with_suffix("")).select("[id]")}
        for file in {file.resolve() for file, _ in asked}
        if file.is_relative_to(html)
    }
    assert [anchor for file, anchor in asked if anchor not in anchors[file.resolve()]] == []


def test_the_page_to_print_holds_every_page_in_order(read):
    book = read("book/print").select_one(".whole-book")
    assert [part["id"] for part in book.select(".chapter")] == ["book-index", "notebooks-01_a", "book-status"]
    titles = [title.text.rstrip("#") for title in book.select(".chapter h1")]
    assert titles == ["Start", "Does it learn?", "Status"] == [link.text for link in book.select("nav.chapters a")]
    assert "Instead." in book.text
    assert book.select("script, [data-widget]") == []


def test_anchors_of_like_named_sections_stay_apart(read):
    anchors = [element["id"] for element in read("book/print").select("[id]")]
    assert len(set(anchors)) == len(anchors)
    assert {"book-index-results", "notebooks-01_a-results"} <= set(anchors)


def test_links_between_pages_become_links_within_the_page_to_print(read):
    (paragraph, *_) = read("book/print").select("#book-index p")
    links = [link["href"] for link in paragraph.select("a")]
    assert links == ["#notebooks-01_a", "#notebooks-01_a-fig-loss", "#book-index-equation-eq-one", "#notebooks-01_a"]


def test_the_page_to_print_draws_equations_and_shares_pictures(read):
    page = read("book/print")
    assert [script["src"] for script in page.select("script[src*=mathjax]")] == ["../_static/mathjax/tex-svg.js"]
    own, printed = (
        {image["src"] for image in read(name).select("figure img")} for name in ("notebooks/01_a", "book/print")
    )
    assert own == printed
    assert all(address.startswith("../_images/") for address in printed)


def test_a_repository_turns_on_its_buttons(read):
    page = read("notebooks/01_a")
    links = [link["href"] for link in page.select(".article-header-buttons a")]
    path = "owner/name"
    assert f"https://mybinder.org/v2/gh/{path}/main?urlpath=lab/tree/notebooks/01_a.ipynb" in links
    assert f"https://colab.research.google.com/github/{path}/blob/main/notebooks/01_a.ipynb" in links
    assert ADDRESS in links
    assert [link for link in links if link.startswith(f"{ADDRESS}/issues/new")]
    assert f"!git clone --depth 1 --branch main {ADDRESS} study" in page.select_one(".extra_footer").text


def test_without_a_repository_nothing_leads_to_one(root, tmp_path, monkeypatch):
    settings = staged(root, tmp_path / "site", monkeypatch)
    assert "repository" not in settings
    assert settings["launch_buttons"] == {"thebe": False}
    assert not settings["html"]["use_repository_button"] and not settings["html"]["use_issues_button"]
    assert "make lab" in settings["html"]["extra_footer"] and "Colab" not in settings["html"]["extra_footer"]


@pytest.mark.parametrize(
    ("address", "url", "branch", "colab"),
    [
        ("https://github.com/owner/name.git", ADDRESS, "main", True),
        ("https://github.com/owner/name/", ADDRESS, "main", True),
        ("https://github.com/owner/name/tree/try/this", ADDRESS, "try/this", True),
        ("https://gitlab.com/owner/name", "https://gitlab.com/owner/name", "main", False),
    ],
)
def test_the_address_may_name_a_branch(address, url, branch, colab, root, tmp_path, monkeypatch):
    settings = staged(root, tmp_path / "site", monkeypatch, address)
    assert settings["repository"] == {"url": url, "branch": branch}
    assert ("colab_url" in settings["launch_buttons"]) == colab


@pytest.mark.parametrize("address", ["owner/name", "https://github.com/owner", "https://example.org/a/b", "http:"])
def test_what_is_no_address_is_refused(address, root, tmp_path, monkeypatch):
    with pytest.raises(IntraError, match=rf"^{REPOSITORY}={address}: not the address of a repository; give one[^\n]+$"):
        staged(root, tmp_path / "site", monkeypatch, address)


def test_the_footer_tells_version_and_contents_and_nothing_of_the_day(root, tmp_path, monkeypatch):
    footers = [staged(root, tmp_path / name, monkeypatch)["html"]["extra_footer"] for name in "ab"]
    assert footers[0] == footers[1]
    assert f"intra {__version__}" in footers[0]
    assert [digest([top])[:12] for top in (PACKAGE, RECORDS)] == re.findall("<code>([0-9a-f]{12})</code>", footers[0])


def test_a_page_without_a_file_stops_the_build(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "_config.yml").write_text("title: t\n")
    toc = "format: jb-book\nroot: book/index\nparts:\n  - chapters:\n      - file: notebooks/01_a\n"
    (tmp_path / "book" / "_toc.yml").write_text(toc)
    (tmp_path / "book" / "index.md").write_text("# Start\n")
    with pytest.raises(IntraError, match="notebooks/01_a: the table of contents names this page"):
        stage_site(tmp_path / "run", tmp_path / "site", "# Status\n", root=tmp_path)
    write_notebook(tmp_path / "run" / "notebooks" / "01_a.ipynb")
    stage_site(tmp_path / "run", tmp_path / "site", "# Status\n", root=tmp_path)
    assert (tmp_path / "site" / "book" / "status.md").read_text() == "# Status\n"


@pytest.mark.parametrize("content", ["", "- a", "root: [", "root: a\nparts:\n  - chapters:\n      - url: b\n"])
def test_a_malformed_table_of_contents_is_told_in_one_line(content, tmp_path):
    toc = tmp_path / "_toc.yml"
    toc.write_text(content)
    with pytest.raises(IntraError, match=r"_toc\.yml: not a table of contents[^\n]+$"):
        pages(toc)


def test_the_digest_sees_names_and_contents(tmp_path):
    digests = set()
    for name, content in [("a", "1"), ("a", "2"), ("b", "2")]:
        folder = tmp_path / f"{name}{content}"
        folder.mkdir()
        (folder / name).write_text(content)
        digests.add(digest([folder]))
    assert len(digests) == 3
    assert digest([tmp_path / "none"]) not in digests
