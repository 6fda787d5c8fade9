"""Execute the notebooks with papermill, and lead a build from the studies to the rendered book.

A build never writes to `notebooks/`: executed copies go to a run directory, `intra.site` puts the book together from
them, and only `accept` carries outputs back.
"""

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from intra import notebooks as files
from intra.config import unknown
from intra.errors import IntraError
from intra.paths import BUILD, PACKAGE, RECORDS, ROOT
from intra.site import LOCK, book_notebooks, digest, first_line, render_book, short, stage_runs, stage_site

Report = Callable[[str], None]

KERNEL_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # the same sums in the same order on any number of cores, and faster on few
    "OMP_WAIT_POLICY": "passive",
    "HF_HUB_OFFLINE": "1",
    "PYTHONHASHSEED": "0",
    "TQDM_DISABLE": "1",  # progress bars of cells would end up in the book
}
"""Defaults for the kernels; what the caller's environment already sets wins."""
READ_OTHERS = ("17_findings",)
"""Notebooks that count what those before them found, and are executed again when one of these was."""


def _say(line: str) -> None:
    print(line, flush=True)


class Stopwatch:
    """Wall time of the stages of a build.

    Args:
        environment_seconds: File in which make left the seconds that the environment took, if it was built
            just now. It is removed, so that the next build does not count them again.
    """

    def __init__(self, environment_seconds: Path | None = None) -> None:
        self.seconds: dict[str, float] = {}
        if environment_seconds and environment_seconds.is_file():
            with contextlib.suppress(ValueError):
                self.seconds["environment"] = float(environment_seconds.read_text())
            environment_seconds.unlink()

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside the `with` block to the stage `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def table(self) -> str:
        """Return one line per stage and a total, as plain text."""
        rows = [*self.seconds.items(), ("total", sum(self.seconds.values()))]
        width = max(len("stage"), *(len(name) for name, _ in rows))
        lines = [f"{'stage':<{width}}  {'seconds':>8}"]
        return "\n".join(lines + [f"{name:<{width}}  {seconds:>8.1f}" for name, seconds in rows])


def known_parameters(notebook: Path) -> list[str]:
    """Return the names in the `parameters` cell of a notebook."""
    import papermill

    return list(papermill.inspect_notebook(str(notebook)))


def assign_parameters(notebooks: Iterable[Path], parameters: Mapping[str, Any]) -> dict[Path, dict[str, Any]]:
    """Give each notebook the parameters meant for it.

    A plain name (`seeds`) goes to every notebook that has this parameter. A name with the notebook in front
    (`06_main_results.seeds`) goes to that one alone and wins over the plain name.

    Args:
        notebooks: Notebook files; their stems are the names in front of the dot.
        parameters: Values by name.

    Returns:
        The parameters of each notebook, in the order of `notebooks`.

    Raises:
        IntraError: If a notebook is not valid, or a name belongs to no notebook.
    """
    known = {}
    for path in notebooks:
        files.read(path)
        known[path] = known_parameters(path)
    everywhere = sorted({name for names in known.values() for name in names})
    assigned: dict[Path, dict[str, Any]] = {path: {} for path in known}
    for key, value in sorted(parameters.items(), key=lambda item: "." in item[0]):
        stem, _, name = key.rpartition(".")
        if stem and stem not in {path.stem for path in known}:
            raise IntraError(unknown("notebook", stem, [path.stem for path in known]))
        targets = [path for path in known if path.stem == stem or not stem]
        owners = [path for path in targets if name in known[path]]
        if not owners:
            where = f"{stem}.ipynb" if stem else ", ".join(path.name for path in known)
            names = known[targets[0]] if stem else everywhere
            raise IntraError(f"{where}: {unknown('parameter', name, names)}")
        for path in owners:
            assigned[path][name] = value
    return assigned


def execute_notebooks(
    run_directory: Path,
    parameters: Mapping[str, Any] | None = None,
    force: bool = False,
    *,
    inputs: Iterable[Path] = (RECORDS,),
    notebooks: Iterable[Path] | None = None,
    report: Report = _say,
) -> list[Path]:
    """Execute the notebooks of the book in order, each into `run_directory/notebooks/`.

    A notebook is skipped when it was executed before with the same source, parameters, package, lock and
    inputs, so that a build that was stopped goes on where it ended.

    Args:
        run_directory: Folder for executed copies; created if missing.
        parameters: Values as in `assign_parameters`.
        force: Execute even what has not changed.
        inputs: Files and folders that the notebooks read, besides the package itself.
        notebooks: Other notebooks than those of the table of contents.
        report: Called with one line per notebook.

    Returns:
        The executed copies, in order.

    Raises:
        IntraError: Before anything runs, if a notebook or a parameter is not valid; later, if a cell or the
            kernel fails. The message names the cell and the partly executed copy.
        KeyboardInterrupt: If stopped by the user. No unfinished copy is left behind.
    """
    sources = list(book_notebooks() if notebooks is None else notebooks)
    assigned = assign_parameters(sources, parameters or {})
    surroundings = digest([PACKAGE, LOCK, *inputs])
    copies: list[Path] = []
    for source, values in assigned.items():
        output = run_directory / "notebooks" / source.name
        stamp = run_directory / "stamps" / source.stem
        others = copies if source.stem in READ_OTHERS else []
        wanted = digest(others, files.source_digest(files.read(source)), repr(sorted(values.items())), surroundings)
        copies.append(output)
        if not force and output.is_file() and stamp.is_file() and stamp.read_text() == wanted:
            report(f"{source.stem:<32} unchanged")
            continue
        start = time.perf_counter()
        stamp.unlink(missing_ok=True)
        files.write(_execute(source, values, run_directory), output)
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(wanted)
        report(f"{source.stem:<32} {time.perf_counter() - start:6.1f} s")
    return copies


def _execute(source: Path, values: Mapping[str, Any], run_directory: Path) -> Any:
    """Run one notebook and return the cleaned result; on failure leave the part that ran in `failed/`."""
    import logging

    import papermill
    from papermill.exceptions import PapermillExecutionError

    logging.getLogger("papermill").setLevel(logging.ERROR)
    copies = run_directory / "notebooks"
    copies.mkdir(parents=True, exist_ok=True)
    partial = copies / f".{os.getpid()}-{source.name}"
    failed = run_directory / "failed" / source.name
    failed.unlink(missing_ok=True)
    try:
        with _kernel_environment():
            notebook = papermill.execute_notebook(
                source,
                partial,
                parameters=dict(values),
                kernel_name="python3",
                cwd=run_directory,  # not the notebooks' folder, which stays as it is
                progress_bar=False,
                coalesce_streams=True,
                record_timing=False,
                # or each kernel warns that it talks over plain TCP, and writes a traceback when interrupted
                extra_arguments=["--IPKernelApp.log_level=50"],
            )
    except KeyboardInterrupt:
        message = f"interrupted in {source.name}; start again to go on from this notebook"
        raise KeyboardInterrupt(message) from None
    except Exception as error:
        if isinstance(error, PapermillExecutionError):
            place = f"cell {error.exec_count}: {error.ename}: {first_line(error.evalue)}"
        else:  # the kernel did not start, or died
            place = f"{type(error).__name__}: {first_line(error)}"
        if partial.is_file():
            failed.parent.mkdir(exist_ok=True)
            os.replace(partial, failed)
            place += f" (what ran is in {short(failed)})"
        raise IntraError(f"{source.name}: {place}") from error
    finally:
        partial.unlink(missing_ok=True)
    return files.clean(notebook)


@contextlib.contextmanager
def _kernel_environment() -> Iterator[None]:
    added = {name: value for name, value in KERNEL_ENVIRONMENT.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def accept(
    run_directory: Path,
    notebooks: Iterable[Path] | None = None,
    *,
    report: Report = _say,
) -> list[Path]:
    """Carry the outputs of the executed copies back to the notebooks that are committed.

    Args:
        run_directory: Folder that `execute_notebooks` filled.
        notebooks: Other notebooks than those of the table of contents.
        report: Called with one line per changed notebook.

    Returns:
        The notebooks that changed.

    Raises:
        IntraError: Before anything is written, if a copy is missing or was made from another source.
    """
    accepted = {}
    for source in book_notebooks() if notebooks is None else notebooks:
        executed = files.read(run_directory / "notebooks" / source.name)
        if files.source_digest(executed) != files.source_digest(files.read(source)):
            raise IntraError(f"{source.name}: changed since it was executed; execute it again first")
        accepted[source] = files.clean(files.without_injected(executed))
    changed = []
    for source, notebook in accepted.items():
        before = source.read_bytes()
        files.write(notebook, source)
        if source.read_bytes() != before:
            changed.append(source)
            report(f"{source.name}: outputs accepted")
    return changed


def reproduce(
    seeds: Sequence[int] | None = None,
    parameters: Mapping[str, Any] | None = None,
    workers: int = 1,
    report: Report = _say,
) -> None:
    """Run all studies afresh, execute the notebooks and render the book to `_build/html/index.html`.

    What an earlier, even interrupted, build left behind and nothing has changed since is not made again.

    Args:
        seeds: Of the fresh runs; those of each study by default. With other ones, studies that are not `in_every_build`
            are left out, and generated text is the reference's, as far as there is any.
        parameters: Of notebooks, as in `assign_parameters`.
        workers: Processes that make runs.
        report: Called with one line per run and notebook, and with the seconds of each stage at the end.
    """
    from intra.status import status_page
    from intra.study import FRESH_RECORDS, STUDIES, by_label, generated, reference_records, run_study

    watch = Stopwatch(ROOT / ".venv" / ".seconds")
    assign_parameters(book_notebooks(), parameters or {})
    with watch.stage("study"):
        names = list(STUDIES)
        if seeds is not None:
            names = [name for name in names if STUDIES[name].in_every_build]
            generated("mini")
        records = run_study(names, seeds=seeds, report=report, workers=workers)
        fresh = {name: by_label(records, name, seeds=seeds) for name in names}
    with watch.stage("notebooks"):
        inputs = (RECORDS,) if RECORDS.exists() else (FRESH_RECORDS,)
        copies = execute_notebooks(BUILD / "run", parameters, inputs=inputs, report=report)
    with watch.stage("book"):
        report("rendering the book ...")
        reference = {name: reference_records(name) for name in STUDIES}
        stage_site(BUILD / "run", BUILD / "site", status_page(reference, fresh, copies))
        stage_runs(fresh["main"], BUILD / "site" / "downloads" / "runs")
        render_book(BUILD / "site", BUILD / "html")
    report(f"\n{watch.table()}\n\n{short(BUILD / 'html' / 'index.html')}")


def accept_run(report: Report = _say) -> None:
    """Make the fresh records the reference, and the outputs of the executed notebooks those that are committed.

    The notebooks are executed again on the new reference first, with their own parameters.

    Raises:
        IntraError: If there is no complete fresh run of all studies.
    """
    from intra.study import STUDIES, accept_records

    accept_records(list(STUDIES), report)
    execute_notebooks(BUILD / "run", report=report)
    accept(BUILD / "run", report=report)
    write_results(ROOT / "README.md")


IN_README = ("Random", "Majority intention", "Intention classifier", "Int-RA", "Int-RA+", "Oracle intention")
"""Rows of the main study in the README, beside the trained systems of Table II with intentions in training."""
RESULTS = re.compile(r"(<!-- results: begin.*?-->\n).*?(<!-- results: end -->)", re.DOTALL)
"""The block of the README that `write_results` owns."""


def write_results(readme: Path) -> None:
    """Write the table of the reference run into the README.

    Raises:
        IntraError: If the README has no place for it.
    """
    text = readme.read_text(encoding="utf-8")
    if not RESULTS.search(text):
        raise IntraError(f"{readme}: has no block between '<!-- results: begin -->' and '<!-- results: end -->'")
    written = RESULTS.sub(lambda block: f"{block[1]}\n{results_table()}\n\n{block[2]}", text)
    unfinished = readme.with_suffix(".tmp")
    unfinished.write_text(written, encoding="utf-8")
    os.replace(unfinished, readme)


def results_table() -> str:
    """Markdown table of the main results of the reference run."""
    from intra.identity import WITH_INTENTION
    from intra.study import reference_records
    from intra.tables import results, to_markdown, with_intervals

    study = reference_records("main")
    if not study:
        raise IntraError("there is no reference yet: make reproduce, then make accept")
    shown = {label: runs for label, runs in study.items() if label in IN_README or label.endswith(WITH_INTENTION)}
    return to_markdown(with_intervals(results(shown, metrics=["hit@1", "hit@5", "mAP"])), "system")
