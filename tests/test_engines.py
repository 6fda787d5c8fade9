"""Engines: every piece of work is done once, whatever dies or is interrupted meanwhile."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from engine_jobs import adding, dying, endless, failing, marked, slept, squared, wait_for
from helpers import SMOKE_ROWS

from intra import engines, running
from intra.engines import opened, processors
from intra.errors import IntraError
from intra.paths import ROOT
from intra.records import run_name
from intra.study import distinct_configs, run_study

pytest_plugins = ["helpers"]
HERE = Path(__file__).parent


def ended(pid):
    """Whether a process is gone, or is a zombie that only its parent has not asked about."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


# This machine


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_every_item_is_done_once(workers, tmp_path):
    with opened("local", workers) as engine:
        done = list(engine.run(squared, range(7), tmp_path))
        again = list(engine.run(squared, [9], tmp_path))
        assert list(engine.run(squared, [], tmp_path)) == []
    assert sorted((item, answer) for item, (answer, _) in done) == [(n, n**2) for n in range(7)]
    pids = {pid for _, (_, pid) in done}
    if workers == 1:
        assert pids == {os.getpid()}
    else:
        assert os.getpid() not in pids and 1 <= len(pids) <= workers
        (_, (answer, pid)) = again[0]
        assert answer == 81 and (pid in pids or len(pids) < workers)  # no new process for what comes later
        assert all(map(ended, pids))


def test_what_is_finished_first_comes_first(tmp_path):
    with opened("local", 2) as engine:
        start = time.perf_counter()
        assert [item for item, _ in engine.run(slept, [1.5, 0.1, 0.2], tmp_path)] == [0.1, 0.2, 1.5]
        assert time.perf_counter() - start < 30


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("item", "error", "message"),
    [
        ("ours", IntraError, "^no such sticker$"),
        ("system", PermissionError, "denied"),
        ("bug", (KeyError, RuntimeError), "x"),
    ],
)
def test_an_error_ends_all_and_is_that_of_the_job(item, error, message, workers, tmp_path):
    with pytest.raises(error, match=message) as caught, opened("local", workers) as engine:
        list(engine.run(failing, [item, item], tmp_path))
    if (item, workers) == ("bug", 2):  # tells where it was raised
        assert 'in failing\n    raise {"ours"' in "".join(caught.value.__notes__)


def test_a_process_that_dies_is_told_in_one_line(tmp_path):
    line = r"^a worker process ended with status -9, perhaps for want of memory: start again to go on, with fewer"
    with pytest.raises(IntraError, match=line) as caught, opened("local", 2) as engine:
        list(engine.run(dying, [1, 2, 3], tmp_path))
    assert "\n" not in str(caught.value)


def started(folder):
    """Process and temporary folder of each endless piece of work, once two have begun."""
    wait_for(lambda: len(list(folder.glob("started-*"))) == 2)
    time.sleep(0.2)  # until the files are whole
    found = [json.loads(path.read_text()) for path in folder.glob("started-*")]
    assert not any(ended(pid) for pid, _ in found) and all(os.path.isdir(made) for _, made in found)
    return found


def test_leaving_gives_up_what_goes_on(tmp_path):
    with opened("local", 3) as engine:
        assert next(engine.run(endless, [0, 1, 2], tmp_path)) == (0, None)
        going_on = started(tmp_path)
    assert all(ended(pid) for pid, _ in going_on)
    assert not any(os.path.exists(made) for _, made in going_on)


INTERRUPTED = """
import signal, sys
from pathlib import Path
from intra.engines import opened
from engine_jobs import endless
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has those in the background ignore it
try:
    with opened("local", 2) as engine:
        list(engine.run(endless, [1, 2, 3], Path(sys.argv[1])))
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture
def driver(tmp_path):
    """A process that does endless work in two others, in a group of its own as one that a terminal started."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}"}
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    yield process, started(tmp_path)
    process.kill()
    process.wait()


def test_ctrl_c_ends_all_at_once_without_a_word_of_the_workers(driver):
    process, going_on = driver
    start = time.perf_counter()
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert (process.returncode, told) == (130, "")
    assert time.perf_counter() - start < 10
    assert all(ended(pid) for pid, _ in going_on)
    assert not any(os.path.exists(made) for _, made in going_on)


def test_processes_end_when_their_driver_is_gone():
    """Killed, it can end nothing itself: they go when they have nothing to do."""
    code = (
        "import os; from pathlib import Path\n"
        "from engine_jobs import squared; from intra.engines import opened\n"
        "with opened('local', 2) as engine:\n"
        "    pids = {pid for _, (_, pid) in engine.run(squared, range(4), Path())}\n"
        "    print(*pids, flush=True)\n"
        "    os.kill(os.getpid(), 9)"
    )
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-9, "")
    wait_for(lambda: all(map(ended, done.stdout.split())))


def test_processors_are_those_that_may_be_used():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from intra.engines import processors; print(processors())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    assert processors() == len(os.sched_getaffinity(0))


# Ray


def test_what_a_node_adds_to_the_texts_comes_back(tmp_path, monkeypatch):
    """Twice the same texts are one folder, so that a process knows the features that it has made of them."""
    monkeypatch.setenv("INTRA_CACHE", str(tmp_path / "cache"))
    texts = {"a.jsonl": b"old\n", "b.jsonl": b"b\n"}
    names = ["a.jsonl", "b.jsonl", "c.jsonl"]
    assert engines._on_node(adding, "c", texts) == (names, {"c.jsonl": b"c\n"})
    assert engines._on_node(adding, "a", texts) == (names, {"a.jsonl": b"old\na\n", "c.jsonl": b"c\n"})
    assert len(list((tmp_path / "cache" / "generated").iterdir())) == 1
    engines._on_node(adding, "c", texts | {"b.jsonl": b"other\n"})
    assert len(list((tmp_path / "cache" / "generated").iterdir())) == 2


def test_ray_is_asked_for_where_it_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(IntraError, match=r"^the engine ray needs the package ray: pip install 'intra\[cluster\]'$"):
        with opened("ray"):
            pytest.fail("opened")


@pytest.mark.parametrize(
    ("address", "message"),
    [("here", "'here' is no address of a Ray cluster such as 10.0.0.1:6379"), ("127.0.0.1:9", "no Ray cluster at 127")],
)
def test_a_cluster_that_is_not_there_is_told_at_once(address, message):
    pytest.importorskip("ray")
    with pytest.raises(IntraError, match=message), opened("ray", address=address):
        pytest.fail("opened")


@pytest.fixture(scope="module")
def cluster(session_cache, tmp_path_factory):
    """A Ray cluster of two nodes with one processor each, both of which are real processes on this machine."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    marks = tmp_path_factory.mktemp("marks")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}",
            "INTRA_CACHE": session_cache,
            "INTRA_TEST_MARKS": marks,
            "RAY_USAGE_STATS_ENABLED": "0",
        }.items():
            patch.setenv(name, str(value))
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        second = made.add_node(num_cpus=1)
    yield made, second, marks
    made.shutdown()


def test_ray_tells_errors_and_brings_texts_back(cluster, tmp_path):
    (tmp_path / "a.jsonl").write_text("old\n")
    with opened("ray", address=cluster[0].address) as engine:
        found = dict(engine.run(adding, ["a", "b"], tmp_path))
        assert all("a.jsonl" in names for names in found.values()) and found.keys() == {"a", "b"}
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.jsonl": "old\na\n", "b.jsonl": "b\n"}
        for item, error, message in (
            ("ours", IntraError, "^no such sticker$"),
            ("system", PermissionError, "denied"),
            ("bug", KeyError, "x"),
        ):
            with pytest.raises(error, match=message):
                list(engine.run(failing, [item], tmp_path))


def test_a_study_outlives_a_node(cluster, smoke, cache, tmp_path, monkeypatch):
    """Both nodes are in the midst of a run when one is killed: all records are there, once, and as made elsewhere."""
    made, second, marks = cluster
    log, start = [], time.perf_counter()
    monkeypatch.setattr(running, "make_run_files", marked)

    def tell(line):
        log.append(f"{time.perf_counter() - start:5.1f} s  {line}")

    def begun():
        """Run and node of every beginning."""
        return [path.name.split()[:2] for path in marks.iterdir() if path.name != "go"]

    def kill():
        wait_for(lambda: len({node for _, node in begun()}) == 2)
        tell(f"node {second.node_id[:6]} is killed; begun: {', '.join(f'{run} on {n[:6]}' for run, n in begun())}")
        made.remove_node(second, allow_graceful=False)
        (marks / "go").touch()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    chosen = {"seeds": (0, 1), "labels": SMOKE_ROWS}
    records = run_study(
        "main", "smoke", root=tmp_path / "records", report=tell, engine="ray", address=made.address, **chosen
    )
    killer.join()
    names = [run_name(config) for config in distinct_configs(["main"], "smoke", **chosen)]
    times = Counter(run for run, _ in begun())
    (lost,) = [run for run, node in begun() if node == second.node_id]
    tell(f"{len(records)} records; begun twice: {', '.join(run for run in times if times[run] == 2)}")
    print("\n".join(["", *log]))
    assert [record.path.name for record in records] == names == [record.path.name for record in smoke]
    assert sorted(path.name for path in (records[0].root / "runs").iterdir()) == sorted(names)
    assert times == Counter(names) + Counter([lost])
    assert sorted(re.findall(r"  (\d)/8 main ", "\n".join(log))) == [str(n) for n in range(1, 9)]  # each told once
    for record, ours in zip(records, smoke, strict=True):
        seconds = {"seconds": None}
        assert record.content | seconds == ours.content | seconds
        for file in {path.name for path in ours.path.iterdir()} - {"record.json"}:
            assert (record.path / file).read_bytes() == (ours.path / file).read_bytes()
