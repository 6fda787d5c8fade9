"""Put the book together from executed notebooks and prose pages, and render it.

Both work on a site directory of their own; neither writes to `book/` or `notebooks/`.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from intra import __version__
from intra import notebooks as files
from intra.errors import IntraError
from intra.evaluation import MATCHES
from intra.main_results import run_file
from intra.paths import BOOK, NOTEBOOKS, PACKAGE, RECORDS, ROOT

LOCK = ROOT / "requirements.lock"
TOC = BOOK / "_toc.yml"

REPOSITORY = "INTRA_REPOSITORY"
"""Environment variable: address of the public repository of this copy, which turns on launch buttons."""
_ADDRESS = re.compile(
    r"(?P<url>https://[\w.-]*(?:github|gitlab)[\w.-]*/[\w.-]+/[\w.-]+?)(?:\.git)?(?:/tree/(?P<branch>[\w./-]+?))?/?"
)


def pages(toc: Path = TOC) -> list[str]:
    """Return the pages of a `jb-book` table of contents in reading order, as paths without suffix.

    Raises:
        IntraError: If the file is missing or is no table of contents.
    """
    import yaml

    try:
        content = yaml.safe_load(toc.read_text(encoding="utf-8"))
        entries = [content["root"]]
        for part in content.get("parts", [content]):
            entries += [chapter["file"] for chapter in part["chapters"]]
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise IntraError(f"{toc}: not a table of contents of format jb-book: {first_line(error)}") from error
    return entries


def book_notebooks(toc: Path = TOC, folder: Path = NOTEBOOKS) -> list[Path]:
    """Return the notebooks of the book in reading order."""
    return [folder / f"{Path(page).name}.ipynb" for page in pages(toc) if page.startswith("notebooks/")]


def digest(paths: Iterable[Path], *more: str) -> str:
    """Digest of the names and bytes of files and of all files below folders; missing paths count as empty.

    Args:
        paths: Files or folders.
        more: Further text that the digest depends on.
    """
    total = hashlib.sha256("\0".join(more).encode())
    for top in paths:
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and "__pycache__" not in path.parts:
                total.update(f"\0{path.relative_to(top)}\0".encode())
                total.update(hashlib.sha256(path.read_bytes()).digest())
        total.update(b"\0\0")
    return total.hexdigest()


def stage_runs(main: Mapping[str, Sequence[Any]], folder: Path) -> None:
    """Copy the ranked lists of one fresh run of each row, and what is right, to where the book finds them.

    Args:
        main: Row to its fresh records.
        folder: To create.
    """
    folder.mkdir(parents=True)
    for label, records in main.items():
        shutil.copy(records[0].path / "test.run.gz", folder / run_file(label))
    for match in MATCHES:
        shutil.copy(next(iter(main.values()))[0].root / "qrels" / f"{match}.qrels", folder)


def stage_site(run_directory: Path, site_directory: Path, status_markdown: str, *, root: Path = ROOT) -> None:
    """Put the sources of the book together: settings, prose pages, executed notebooks, status page.

    The data of each figure become `downloads/data/<figure name>.csv`, and the figure links them and its notebook.

    Args:
        run_directory: Folder whose `notebooks/` holds the executed copies.
        site_directory: Folder to create; what it held before is removed.
        status_markdown: Text of `book/status.md`, the page on how this book was made.
        root: Folder with `_config.yml` and `book/`.

    Raises:
        IntraError: If a page of the table of contents is missing, or `INTRA_REPOSITORY` is no address.
    """
    shutil.rmtree(site_directory, ignore_errors=True)
    ignore = shutil.ignore_patterns("records", "_toc.yml", "__pycache__", ".*")
    shutil.copytree(root / "book", site_directory / "book", ignore=ignore)
    settings = _settings(root / "_config.yml", os.environ.get(REPOSITORY, ""))
    (site_directory / "_config.yml").write_text(settings, encoding="utf-8")
    shutil.copy(root / "book" / "_toc.yml", site_directory)
    (site_directory / "book" / "status.md").write_text(status_markdown, encoding="utf-8")
    (site_directory / "notebooks").mkdir()
    (site_directory / "downloads" / "data").mkdir(parents=True)  # what the settings name must be there, if only empty
    for page in pages(root / "book" / "_toc.yml"):
        executed = run_directory / f"{page}.ipynb"
        if page.startswith("notebooks/") and executed.is_file():
            notebook = files.read(executed)
            offer_figures(notebook, executed.name, site_directory / "downloads" / "data")
            files.write(notebook, site_directory / "notebooks" / executed.name)
        if not any((site_directory / f"{page}{suffix}").is_file() for suffix in (".md", ".ipynb")):
            raise IntraError(f"{page}: the table of contents names this page, but there is none")


def offer_figures(notebook: Any, name: str, folder: Path) -> None:
    """Write the data behind the figures of a notebook as CSV, and end their captions with links to data and code.

    Args:
        notebook: Executed; its captions are changed, and the CSV, which no page could show, is taken out.
        name: File name of the notebook, whose copy beside the pages is the code.
        folder: Of the CSV files, served as `data/`.
    """
    code = f'<a href="../_sources/notebooks/{name}" download>Code (notebook)</a>'
    for cell in notebook.cells:
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        if not {"name", "caption"} <= figure.keys():
            continue
        links = [code]
        for data in (output["data"] for output in cell.outputs if "text/csv" in output.get("data", {})):
            (folder / f"{figure['name']}.csv").write_text(data.pop("text/csv"), encoding="utf-8")
            links.insert(0, f'<a href="../{folder.name}/{figure["name"]}.csv" download>Data (CSV)</a>')
        # a second paragraph becomes the legend
        figure["caption"] += "\n\n" + " · ".join(links)


def _settings(path: Path, repository: str) -> str:
    """The settings of the book with its footer, and with the buttons that need a repository if there is one."""
    import yaml

    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    html = settings.setdefault("html", {})
    html["extra_footer"] = f"<p>{_made_from()}. To run a notebook: <code>make lab</code> in a copy of the study.</p>\n"
    if repository:
        match = _ADDRESS.fullmatch(repository)
        if not match:
            raise IntraError(
                f"{REPOSITORY}={repository}: not the address of a repository; "
                "give one such as https://github.com/owner/name or https://github.com/owner/name/tree/branch"
            )
        url, branch = match["url"], match["branch"] or "main"
        settings["repository"] = {"url": url, "branch": branch}
        html |= {"use_repository_button": True, "use_issues_button": True}
        launch = {"binderhub_url": "https://mybinder.org", "notebook_interface": "jupyterlab"}
        if url.startswith("https://github.com/"):
            launch["colab_url"] = "https://colab.research.google.com"
            html["extra_footer"] += f"<p>In Colab run this first: {_install(url, branch)}.</p>\n"
        settings["launch_buttons"] = settings.get("launch_buttons", {}) | launch
    return yaml.safe_dump(settings, allow_unicode=True, sort_keys=False)


def _made_from() -> str:
    """Version, and digests of contents, so that the footer changes only when they do."""
    parts = {"package": PACKAGE, "records": RECORDS}
    return f"intra {__version__}" + "".join(
        f", {name} <code>{digest([top])[:12]}</code>" for name, top in parts.items()
    )


def _install(url: str, branch: str) -> str:
    """What brings the package and the records to a machine that opens one notebook alone."""
    clone = f"!git clone --depth 1 --branch {branch} {url} study"
    return f"<code>{clone}</code>, <code>!pip install --quiet -e study</code>, <code>%cd study</code>"


def render_book(site_directory: Path, html_directory: Path) -> bool:
    """Render a staged site; warnings are errors. The old pages stay until the new ones are complete.

    Args:
        site_directory: What `stage_site` made.
        html_directory: Where the pages go, `index.html` first.

    Returns:
        Whether it rendered; False when the pages were already those of this site.

    Raises:
        IntraError: With the first warning and the place of the log.
    """
    stamp = html_directory.with_name(html_directory.name + ".digest")
    log = html_directory.with_name(html_directory.name + ".log")
    built = site_directory / "_build"
    shutil.rmtree(built, ignore_errors=True)
    wanted = digest([site_directory, LOCK])
    if stamp.is_file() and stamp.read_text() == wanted and (html_directory / "index.html").is_file():
        return False
    # --all: otherwise a page keeps the numbers that it took from another page's old outputs
    command = [sys.executable, "-c", "import sys; from jupyter_book.cli.main import main; sys.exit(main())"]
    command += ["build", str(site_directory), "--all", "-W", "-n", "--keep-going", "-q"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    output = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(output, encoding="utf-8")
    if done.returncode or not (built / "html" / "index.html").is_file():
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        told = [line for line in lines if re.search(r"WARNING|ERROR|Error:", line)] or lines[-1:]
        first = told[0].replace(f"{site_directory}{os.sep}", "") if told else f"status {done.returncode}"
        raise IntraError(f"the book did not render: {first} (log: {short(log)})")
    stamp.unlink(missing_ok=True)
    shutil.rmtree(html_directory, ignore_errors=True)
    os.replace(built / "html", html_directory)
    shutil.rmtree(built, ignore_errors=True)
    stamp.write_text(wanted)
    return True


def first_line(error: object) -> str:
    """Return the first line of a message, since a one-line error has room for no more."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def short(path: Path) -> Path:
    """Return a path as a reader of messages needs it: from the root of the study, where it lies below it."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
