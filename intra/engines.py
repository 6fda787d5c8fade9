"""Where runs are made: in this process, in some beside it, or on a Ray cluster.

An engine yields every item with what a function makes of it, as soon as that is finished, so in any order. The
function gets an item and the folder of generated text, to read from and to add to; it, the items and what it
returns are picklable.
"""

import contextlib
import hashlib
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from intra.errors import IntraError
from intra.paths import cache_directory

ENGINES = ("local", "ray")
Job = Callable[[Any, Path], Any]


class Engine(Protocol):
    """Something that does pieces of work."""

    def run(self, job: Job, items: Sequence, store: Path) -> Iterator[tuple[Any, Any]]:
        """Yield (item, answer of the job) as each is finished.

        Args:
            job: Function of a module, called with an item and a folder that holds the text of `store`.
            items: To call it with.
            store: Folder of generated text; what jobs add to their files is added here.

        Raises:
            Exception: That of the first job that fails; the others are given up.
        """


@contextlib.contextmanager
def opened(name: str, workers: int = 1, address: str | None = None) -> Iterator[Engine]:
    """Start an engine; when the block ends, whatever it still does is given up.

    Args:
        name: One of `ENGINES`.
        workers: Processes of the local engine; one is this process.
        address: Of a Ray cluster, HOST:PORT; None takes the one of this machine, started if there is none.

    Raises:
        IntraError: If Ray is not installed or cannot be reached.
    """
    if name == "ray":
        with _ray_session(address):
            yield RayEngine()
        return
    if address:
        raise IntraError(f"the local engine has no address such as {address}: add --engine ray")
    if workers == 1:
        yield InProcess()
        return
    with tempfile.TemporaryDirectory(prefix="intra-") as scratch:
        engine = LocalEngine(workers, scratch)
        try:
            yield engine
        finally:
            engine.stop()


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class InProcess:
    """The engine that does one piece of work after another, in this process."""

    def run(self, job: Job, items: Sequence, store: Path) -> Iterator[tuple[Any, Any]]:
        """See `Engine.run`."""
        for item in items:
            yield item, job(item, store)


class LocalEngine:
    """Processes that live until the engine is stopped, so that each imports and loads everything once."""

    def __init__(self, workers: int, scratch: str):
        """Start nothing yet.

        Args:
            workers: Most processes.
            scratch: Folder for their temporary files.
        """
        self.workers = workers
        self.scratch = scratch
        self.processes: dict[Connection, subprocess.Popen] = {}

    def run(self, job: Job, items: Sequence, store: Path) -> Iterator[tuple[Any, Any]]:
        """See `Engine.run`."""
        while len(self.processes) < min(self.workers, len(items)):
            self._start()
        todo, idle, busy = list(items)[::-1], list(self.processes), {}
        while todo or busy:
            while todo and idle:
                connection, item = idle.pop(), todo.pop()
                self._send(connection, (job, item, store))
                busy[connection] = item
            for connection in wait(list(busy)):
                answer = self._receive(connection)
                idle.append(connection)
                yield busy.pop(connection), answer

    def stop(self) -> None:
        """End the processes, whatever they do."""
        for process in self.processes.values():
            process.kill()
        for connection, process in self.processes.items():
            connection.close()
            process.wait()

    def _start(self) -> None:
        ours, theirs = multiprocessing.Pipe()
        self.processes[ours] = subprocess.Popen(
            [sys.executable, "-c", f"from intra.engines import serve; serve({theirs.fileno()})"],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            # bars of several processes would write over each other
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": self.scratch, "TQDM_DISABLE": "1"},
            start_new_session=True,  # Ctrl-C is for this process alone, which ends the others
        )
        theirs.close()

    def _send(self, connection: Connection, message: tuple) -> None:
        try:
            connection.send(message)
        except OSError:
            self._tell_death(connection)

    def _receive(self, connection: Connection) -> Any:
        try:
            answer, error = connection.recv()
        except (EOFError, OSError):
            self._tell_death(connection)
        if error:
            raise error
        return answer

    def _tell_death(self, connection: Connection):
        raise IntraError(
            f"a worker process ended with status {self.processes[connection].wait()}, perhaps for want of memory: "
            f"start again to go on, with fewer --workers than {self.workers}"
        ) from None


def serve(descriptor: int) -> None:
    """What a worker process does: jobs from the connection, answers or errors to it, until the driver is gone."""
    multiprocessing.set_start_method("fork")  # else locks of libraries outlive a process that is killed
    connection = Connection(descriptor)
    with contextlib.suppress(EOFError, OSError):
        while True:
            job, item, store = connection.recv()
            try:
                message = job(item, store), None
            except Exception as error:
                message = None, _portable(error)
            connection.send(message)


def _portable(error: Exception) -> Exception:
    """An exception that can be sent; one that is no user's mistake tells where it was raised."""
    if isinstance(error, IntraError | OSError):
        return error
    portable = RuntimeError(f"{type(error).__name__}: {error}")
    portable.add_note(f"in a worker process:\n{''.join(traceback.format_exception(error))}")
    return portable


class RayEngine:
    """Tasks of the Ray cluster that this process is connected to; what a node takes with it when it dies is redone."""

    def run(self, job: Job, items: Sequence, store: Path) -> Iterator[tuple[Any, Any]]:
        """See `Engine.run`."""
        import ray

        task = ray.remote(num_cpus=1, max_retries=-1)(_on_node)
        texts = ray.put(_texts(store))
        waiting = {task.remote(job, item, texts): item for item in items}
        while waiting:
            (done, *_), _ = ray.wait(list(waiting))
            try:
                answer, added = ray.get(done)
            except ray.exceptions.RayTaskError as error:
                raise error.cause if isinstance(error.cause, IntraError | OSError) else error from None
            _write_texts(added, store)
            yield waiting.pop(done), answer


@contextlib.contextmanager
def _ray_session(address: str | None) -> Iterator[None]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is sent anywhere
    try:
        import ray
    except ModuleNotFoundError:
        raise IntraError("the engine ray needs the package ray: pip install 'intra[cluster]'") from None
    host, _, port = (address or "").rpartition(":")
    if address and not port.isdecimal():
        raise IntraError(f"{address!r} is no address of a Ray cluster such as 10.0.0.1:6379")
    try:
        if address:  # Ray itself tries for minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="error")
    except (ValueError, RuntimeError, OSError) as error:
        first = str(error).strip().splitlines()[0]
        raise IntraError(f"no Ray cluster at {address or 'this machine'}: {first}") from None
    try:
        yield
    finally:
        ray.shutdown()


def _on_node(job: Job, item: Any, texts: dict[str, bytes]) -> tuple[Any, dict[str, bytes]]:
    """Do a piece of work on some machine.

    Returns:
        The answer, and what has become of the texts that changed.
    """
    digest = hashlib.sha256(repr(sorted(texts.items())).encode()).hexdigest()[:12]
    store = cache_directory() / "generated" / digest  # one name each time, by which the process knows its features
    _write_texts({name: data for name, data in texts.items() if not (store / name).exists()}, store)
    answer = job(item, store)
    return answer, {name: data for name, data in _texts(store).items() if data != texts.get(name)}


def _texts(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(store.glob("*.jsonl"))}


def _write_texts(texts: dict[str, bytes], store: Path) -> None:
    store.mkdir(parents=True, exist_ok=True)
    for name, data in texts.items():
        unfinished = store / f".{name}.{os.getpid()}"
        unfinished.write_bytes(data)
        os.replace(unfinished, store / name)
