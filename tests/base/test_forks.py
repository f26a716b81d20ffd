"""Processes forked from one that has libraries loaded: as if each had been started by itself."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
import uuid
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from snpimpute.base import forks, processes
from snpimpute.base.processes import Worker, end_workers

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not forks.CAN_FORK, reason="no process is forked on this system")


def about_this_process() -> dict[str, Any]:
    import numpy as np

    return {
        "pid": os.getpid(),
        "leads": os.getsid(0) == os.getpid(),
        "folder": str(Path.cwd()),
        "name": Path("/proc/self/comm").read_text().strip(),
        "threads": [os.environ[name] for name in processes.THREAD_VARIABLES],
        "said": os.environ.get("SAID"),
        "loaded": {name for name in sys.modules if name in ("pandas", "mlflow", "optuna", "torch", "tensorflow")},
        "drawn": (float(np.random.rand()), random.random(), uuid.uuid4().hex),  # noqa: NPY002
        "open": [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()],
    }


def leave_with(status: int) -> None:
    os._exit(status)


def found_by(worker: Worker) -> dict[str, Any]:
    worker.call(about_this_process)
    kind, found = worker.receive()
    assert kind == "done"
    return found


def test_they_are_as_if_started_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = str(Path.cwd())
    workers = [Worker("one", 1), Worker("two", 1)]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAID", "so")
    workers.append(Worker("elsewhere", 3))
    sources = len(forks._sources)
    workers.append(Worker("later", 1))
    assert len(forks._sources) == sources, "another environment is no reason to load the libraries again"
    first, second, elsewhere, later = map(found_by, workers)
    assert (later["said"], later["folder"], later["threads"]) == ("so", str(tmp_path), ["1"] * 5)
    assert len({first["pid"], second["pid"], elsewhere["pid"], os.getpid()}) == 4
    assert all(found["leads"] and found["loaded"] == {"pandas"} for found in (first, second, elsewhere))
    assert (first["folder"], elsewhere["folder"]) == (here, str(tmp_path))
    assert first["threads"] == ["1"] * 5 and elsewhere["threads"] == ["3"] * 5
    assert [found["name"] for found in (first, second, elsewhere)] == ["one", "two", "elsewhere"]
    assert first["said"] is None and elsewhere["said"] == "so"
    assert all(a != b for a, b in zip(first["drawn"], second["drawn"], strict=True))
    sockets = [name for name in second["open"] if name.startswith("socket:")]
    assert len(sockets) == 1, "a process holds the end of another's pipe, which then never closes"
    end_workers(workers)
    assert [worker.process.poll() for worker in workers] == [143] * 4


def modules_that_are_loaded() -> set[str]:
    return set(sys.modules)


def test_what_a_call_needs_is_loaded_for_the_next_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """The function's module, of this package alone; one that cannot be imported is the matter of the call itself."""
    from snpimpute.metrics.maf import maf_bin_names  # not on top: the processes import this file

    monkeypatch.setattr(forks, "_of_calls", {})
    forks.load_for_the_next("snpimpute.no_such_module")
    forks.load_for_the_next("tests.base.test_alone")
    found = []
    for _ in range(2):
        worker = Worker("test", 7)  # no other test has so many threads: the first process comes from a new one
        worker.call(modules_that_are_loaded)
        found.append(worker.receive()[1])
        worker.call(partial(maf_bin_names))
        assert worker.receive() == ("done", maf_bin_names())
        end_workers([worker])
    first, second = found
    assert maf_bin_names.__module__ not in first and maf_bin_names.__module__ in second
    assert "tests.base.test_alone" not in second


@pytest.mark.parametrize("way", ["forked", "started"])
def test_their_end_is_told(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "CAN_FORK", way == "forked")
    for status, words in ((7, "with exit status 7"), (None, "by SIGKILL")):
        worker = Worker("test", 1)
        assert worker.process.poll() is None
        if status is None:
            worker.process.kill()
        else:
            worker.call(leave_with, status)
        with pytest.raises((EOFError, OSError)):
            worker.receive()
        assert words in worker.last_words()
        worker.process.kill()  # says nothing of a process that has ended
        end_workers([worker])


def test_another_is_there_when_the_one_they_come_from_is_killed() -> None:
    before = Worker("before", 1)
    for source in forks._sources.values():
        os.kill(source.process.pid, signal.SIGKILL)
        source.process.wait()
    after = Worker("after", 1)
    assert found_by(after)["pid"] != found_by(before)["pid"], "what was forked before goes on"
    end_workers([before, after])
    assert before.process.poll() == -signal.SIGKILL  # nobody is left who could tell


def test_their_time_counts_among_that_of_children() -> None:
    code = """
import resource, time
from pathlib import Path
from snpimpute.base.steps import run_step
from snpimpute.base.progress import Watch
from tests.base.test_forks import be_busy
run_step(be_busy, {"seconds": 1.0}, Path("/dev/null"), 1, Watch())
"""
    before = processor_seconds_of_children()
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    assert processor_seconds_of_children() - before > 1.0


def processor_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def be_busy(seconds: float) -> None:
    while time.process_time() < seconds:
        pass
