"""CITATION.cff: valid as far as a local check goes, and in agreement with package, book and bibliography."""

import re
import tomllib

import pytest
import yaml

import intra
from intra.paths import BOOK, ROOT

CFF = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
(PAPER,) = CFF["references"]

# Of version 1.2.0 of the format, what this file uses: key to the type of its value.
WORK = {"title": str, "type": str, "authors": list, "version": str, "abstract": str, "doi": str, "url": str}
OF_THE_FILE = WORK | {
    "cff-version": str,
    "message": str,
    "license": str,
    "keywords": list,
    "preferred-citation": dict,
    "references": list,
}
OF_A_REFERENCE = WORK | {"year": int, "journal": str, "notes": str, "status": str, "identifiers": list}
PERSON, ENTITY = {"family-names", "given-names"}, {"name"}


@pytest.mark.parametrize(
    ("work", "known", "types"),
    [
        (CFF, OF_THE_FILE, {"software", "dataset"}),
        (CFF["preferred-citation"], OF_A_REFERENCE, {"article", "software"}),
        (PAPER, OF_A_REFERENCE, {"article", "software"}),
    ],
    ids=["file", "preferred", "paper"],
)
def test_keys_and_values_are_those_of_the_format(work, known, types):
    assert {"title", "type", "authors"} <= work.keys()
    assert work["type"] in types
    assert {key: type(value) for key, value in work.items()} == {key: known.get(key) for key in work}
    assert all(work.values())
    assert all(author.keys() in (PERSON, ENTITY) for author in work["authors"])


def test_the_file_says_which_format_it_has_and_what_to_do():
    assert CFF["cff-version"] == "1.2.0"
    assert "cite" in CFF["message"]
    assert re.fullmatch(r"10\.\d{4,9}/[\w:/;.()-]+", PAPER["doi"])
    assert PAPER["url"].startswith("https://")
    assert PAPER["status"] == "preprint"
    assert {(one["type"], one["value"]) for one in PAPER["identifiers"]} == {("other", "arXiv:2403.05427")}


def test_version_and_licence_are_those_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = {CFF["version"], CFF["preferred-citation"]["version"], intra.__version__, project["version"]}
    assert len(versions) == 1
    assert CFF["license"] == project["license"]


def test_the_study_is_cited_as_the_book_calls_itself():
    book = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    preferred = CFF["preferred-citation"]
    assert preferred["title"] == CFF["title"]
    assert CFF["title"].startswith(f"{book['title']}:")
    assert preferred["authors"] == CFF["authors"] == [{"name": book["author"]}]
    assert f"{preferred['year']}" == book["copyright"]


def test_the_paper_is_cited_as_in_the_bibliography():
    (entry,) = re.findall(r"@article\{liang2024reply,(.*?)\n\}", (BOOK / "references.bib").read_text(), re.DOTALL)
    field = dict(re.findall(r"^  (\w+) = \{(.*?)\},?$", entry, re.MULTILINE))
    names = " and ".join(f"{author['family-names']}, {author['given-names']}" for author in PAPER["authors"])
    assert field == {
        "title": PAPER["title"],
        "author": names,
        "journal": PAPER["journal"],
        "year": f"{PAPER['year']}",
        "url": PAPER["url"],
    }
    assert PAPER["doi"].endswith(PAPER["url"].rpartition("/")[2])


def test_the_opening_page_says_the_same():
    page = (BOOK / "index.md").read_text(encoding="utf-8")
    (entry,) = re.findall(r"@software\{intra,\n(.*?)\n\}", page, re.DOTALL)
    preferred = CFF["preferred-citation"]
    assert dict(re.findall(r"(\w+) = \{+(.*?)\}+,?$", entry, re.MULTILINE)) == {
        "title": preferred["title"],
        "author": preferred["authors"][0]["name"],
        "version": preferred["version"],
        "year": f"{preferred['year']}",
    }
    assert f"title = {{{PAPER['title']}}}" in page
