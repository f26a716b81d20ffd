"""What goes wrong with a cluster, with real processes: what is done is kept, nothing is done twice, and one line says what it is."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from snpimpute import imputers
from snpimpute.base.errors import InputError, WorkEnds
from snpimpute.base.steps import in_shares
from snpimpute.cluster.connect import opened
from tests.cluster.workers import (
    ROOT,
    Told,
    be_killed,
    kill_worker,
    laid_out,
    made,
    need_memory,
    pieces,
    scheduler,
    wait_until,
    worker,
    write_byte,
    write_much,
)

NO_PROGRAMS = "/nowhere"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A scheduler that all tests but one use; the workers are each test's own."""
    with scheduler(DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="1") as (_, found):  # Dask's own default is 3
        yield found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return laid_out(tmp_path / "home", tmp_path / "notes")


class Running:
    """Pieces that are done in a thread."""

    def __init__(self, home: Path, numbers: list[int], engine: Any, watch: Told) -> None:
        self.error: BaseException | None = None

        def work() -> None:
            try:
                in_shares(write_byte, home, numbers, pieces(home), 1, watch, engine)
            except BaseException as error:
                self.error = error

        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()

    def join(self) -> None:
        self.thread.join(60)
        assert not self.thread.is_alive()


@contextmanager
def engine_of(address: str, tmp_path: Path, watch: Told, n: int = 1, seconds: float = 60.0) -> Iterator[Any]:
    """The engine of n workers that have just been started, and the workers' processes."""
    with ExitStack() as stack:
        workers = [stack.enter_context(worker(address, tmp_path / f"worker{i}")) for i in range(n)]
        engine = stack.enter_context(opened(address, None, tmp_path, watch, seconds))
        wait_until(lambda: engine.at_once(0) == n and any(line.startswith(f"{n} ") for line in watch.lines))
        yield engine, workers


def notes_of(home: Path, number: int) -> list[Path]:
    return list((home.parent / "notes").glob(f"{number}-*"))


def go(home: Path) -> None:
    (home.parent / "notes" / "go").write_text("")


def test_a_worker_that_is_killed_has_its_pieces_done_elsewhere(address: str, home: Path, tmp_path: Path) -> None:
    watch = Told()
    with engine_of(address, tmp_path, watch, n=2) as (engine, workers):
        running = Running(home, [0, 1, 2, 3], engine, watch)
        wait_until(lambda: len(list((tmp_path / "notes").iterdir())) == 2)
        begun = {path: int(path.read_text()) for path in (tmp_path / "notes").iterdir()}
        assert set(begun.values()) == {process.pid for process in workers}
        lost = next(path for path, pid in begun.items() if pid == workers[0].pid)
        workers[0].kill()
        wait_until(lambda: not psutil.pid_exists(int(lost.name.split("-")[1])))
        go(home)
        running.join()
    assert running.error is None
    assert [made(home, number).read_text() for number in range(4)] == ["100", "101", "102", "103"]
    assert sorted(len(notes_of(home, number)) for number in range(4)) == [1, 1, 1, 2]
    assert len(notes_of(home, int(lost.name.split("-")[0]))) == 2
    assert "1 worker of " + address in watch.lines
    assert not (tmp_path / "exchange").exists()
    assert (home / "logs" / "write_byte-00000.txt").read_text() == "wrote 0\n"


def test_without_any_worker_it_waits_says_so_and_goes_on(address: str, home: Path, tmp_path: Path) -> None:
    watch = Told()
    with engine_of(address, tmp_path, watch) as (engine, workers):
        running = Running(home, [0, 1], engine, watch)
        wait_until(lambda: len(list((tmp_path / "notes").iterdir())) == 1)
        workers[0].kill()
        waiting = f"no worker of {address} is there: waiting for one, 60 s at most (--timeout)"
        wait_until(lambda: waiting in watch.lines)
        go(home)
        with worker(address, tmp_path / "another"):
            running.join()
    assert running.error is None and made(home, 1).read_text() == "101"


def test_it_does_not_wait_longer_than_it_is_told_and_clears_what_was_left(
    address: str, home: Path, tmp_path: Path
) -> None:
    node, here = os.uname().nodename, tmp_path / "exchange"
    ended = subprocess.Popen(["true"])
    ended.wait()
    left = [here / f"{node}-{pid}-0123abcd" for pid in (ended.pid, os.getpid())]
    for folder in left:
        folder.mkdir(parents=True)
    with opened(address, None, tmp_path, Told(), 1.0) as engine:
        assert [folder.exists() for folder in left] == [False, True], "what a killed command left is removed"
        running = Running(home, [0], engine, Told())
        running.join()
    assert isinstance(running.error, WorkEnds)
    assert str(running.error).startswith(f"no worker of {address} came within 1 s; what is done is kept")


def test_a_scheduler_that_is_gone_is_one_line_and_what_is_done_is_kept(home: Path, tmp_path: Path) -> None:
    watch = Told()
    with scheduler() as (process, address), engine_of(address, tmp_path, watch) as (engine, _):
        go(home)
        in_shares(write_byte, home, [0, 1], pieces(home), 1, watch, engine)
        (home.parent / "notes" / "go").unlink()
        running = Running(home, [0, 1, 2, 3], engine, watch)
        wait_until(lambda: notes_of(home, 2) or notes_of(home, 3))
        process.kill()
        running.join()
    assert isinstance(running.error, WorkEnds)
    assert str(running.error).startswith(f"the scheduler of {address} is gone; what is done is kept")
    go(home)
    in_shares(write_byte, home, [0, 1, 2, 3], pieces(home), 1, watch)  # any engine takes it up
    assert [len(notes_of(home, number)) for number in range(2)] == [1, 1]
    assert made(home, 3).read_text() == "103"


def test_a_worker_of_another_version_is_refused(address: str, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(ROOT / "snpimpute", other / "snpimpute", ignore=shutil.ignore_patterns("__pycache__"))
    version = other / "snpimpute" / "__init__.py"
    version.write_text(version.read_text().replace("0.1.0", "0.0.9"))
    with worker(address, tmp_path / "worker", source=other):
        wait_until(lambda: there(address, tmp_path) == 1)
        with pytest.raises(InputError) as refused, opened(address, None, tmp_path, Told()):
            pass
    assert "has snpimpute 0.0.9, and here is snpimpute 0.1.0: install the same there" in str(refused.value)


def there(address: str, tmp_path: Path) -> int:
    """Number of workers of a scheduler."""
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        return len(client.nthreads())


def test_beagle_goes_to_a_worker_that_has_java(address: str, home: Path, tmp_path: Path) -> None:
    watch = Told()
    needs = functools.partial(imputers.require_programs, "beagle")
    go(home)
    with ExitStack() as stack:
        without = stack.enter_context(worker(address, tmp_path / "without", PATH=NO_PROGRAMS))
        engine = stack.enter_context(opened(address, None, tmp_path, watch))
        wait_until(lambda: "1 worker of " + address in watch.lines)
        with pytest.raises(InputError, match=f"no worker of {address} can do this: Java is missing"):
            in_shares(write_byte, home, [0], with_needs(home, needs), 1, watch, engine)
        stack.enter_context(worker(address, tmp_path / "with"))
        wait_until(lambda: "2 workers of " + address in watch.lines)
        in_shares(write_byte, home, [0, 1, 2, 3], with_needs(home, needs), 1, watch, engine)
    asked = {int(path.read_text()) for number in range(4) for path in notes_of(home, number)}
    assert len(asked) == 1 and without.pid not in asked


def with_needs(home: Path, needs: Callable[[], None]) -> Any:
    return replace(pieces(home), able=needs)


def test_a_process_without_memory_is_tried_again_and_then_one_line(address: str, home: Path, tmp_path: Path) -> None:
    watch = Told()
    with engine_of(address, tmp_path, watch) as (engine, _):
        with pytest.raises(InputError) as killed:
            in_shares(be_killed, home, [0], pieces(home), 1, watch, engine)
        assert "its process ended by SIGKILL, 3 times" in str(killed.value) and "memory" in str(killed.value)
        assert len(notes_of(home, 0)) == 3
        (tmp_path / "notes" / "once").write_text("")
        in_shares(be_killed, home, [1], pieces(home), 1, watch, engine)
        assert made(home, 1).read_text() == "alive" and len(notes_of(home, 1)) == 1
        with pytest.raises(
            InputError, match=r"need memory failed: MemoryError \(worker tcp://.*\); what is done is kept"
        ):
            in_shares(need_memory, home, [2], pieces(home), 1, watch, engine)
        assert "MemoryError" in (home / "logs" / "need_memory-00002.txt").read_text()


def test_a_share_that_kills_its_workers_is_given_up(address: str, home: Path, tmp_path: Path) -> None:
    watch = Told()
    with engine_of(address, tmp_path, watch, n=3) as (engine, workers):
        with pytest.raises(InputError, match=r"2 workers were killed with it, the last one tcp://.*: is there memory"):
            in_shares(kill_worker, home, [0], pieces(home), 1, watch, engine)
        # The scheduler tells of a lost connection before the killed process can be waited for.
        wait_until(lambda: sum(process.poll() is None for process in workers) == 1)


def test_a_store_that_cannot_be_written_is_one_line(address: str, home: Path, tmp_path: Path) -> None:
    """From here, and from a worker whose files may not be that large."""
    watch = Told()
    (tmp_path / "file").write_text("")
    with worker(address, tmp_path / "worker", before="ulimit -f 1000"):
        with opened(address, str(tmp_path / "file" / "exchange"), tmp_path, watch) as engine:
            wait_until(lambda: "1 worker of " + address in watch.lines)
            with pytest.raises(InputError, match=r"cannot write the exchange .*file/exchange: .*Not a directory"):
                in_shares(write_byte, home, [0], pieces(home), 1, watch, engine)
        large = pytest.raises(InputError, match="File too large")
        with opened(address, None, tmp_path, watch) as engine, large:
            in_shares(write_much, home, [0], pieces(home), 1, watch, engine)
    assert not (tmp_path / "exchange").exists() and not list(home.rglob("*.part"))


def test_a_worker_whose_copies_were_cut_fetches_them_again(address: str, home: Path, tmp_path: Path) -> None:
    go(home)
    with engine_of(address, tmp_path, Told()) as (engine, _):
        for _ in range(2):
            in_shares(write_byte, home, [3], pieces(home), 1, Told(), engine)
            assert made(home, 3).read_text() == "103"
            made(home, 3).unlink()
            copies = list((tmp_path / "worker0").rglob("snpimpute-contents/*"))
            assert len(copies) == 2, "the plan, and a byte"
            for copy in copies:
                copy.chmod(0o644)
                copy.write_bytes(b"")


def test_no_scheduler_and_no_form_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snpimpute.cluster.connect.CONNECTING", 1.0)
    for given, told in (
        ("tcp://127.0.0.1:1", "no scheduler answers at tcp://127.0.0.1:1"),
        ("local:0", "is not known"),
    ):
        with pytest.raises(InputError, match=told), opened(given, None, tmp_path, Told()):
            pass
