"""Work for the engines that are tested: functions of a module, which other processes import quickly."""

import json
import os
import signal
import tempfile
import time
from pathlib import Path

from intra.errors import IntraError


def squared(item, store):
    return item**2, os.getpid()


def slept(item, store):
    time.sleep(item)


def failing(item, store):
    raise {"ours": IntraError("no such sticker"), "system": PermissionError(13, "denied"), "bug": KeyError("x")}[item]


def dying(item, store):
    os.kill(os.getpid(), signal.SIGKILL)


def endless(item, store):
    """Leave word that it goes on, and temporary files behind; an item of 0 ends at once."""
    if item:
        (store / f"started-{item}").write_text(json.dumps([os.getpid(), tempfile.mkdtemp()]))
        time.sleep(600)


def adding(item, store):
    with (store / f"{item}.jsonl").open("a") as file:
        file.write(f"{item}\n")
    return sorted(path.name for path in store.glob("*.jsonl"))


def marked(config, store):
    """`make_run_files`, which says on which node it is and then waits until it may go on."""
    import ray

    from intra.records import run_name
    from intra.running import make_run_files

    folder, node = Path(os.environ["INTRA_TEST_MARKS"]), ray.get_runtime_context().get_node_id()
    (folder / f"{run_name(config)} {node} {os.getpid()}").touch()
    wait_for((folder / "go").exists)
    return make_run_files(config, store)


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
