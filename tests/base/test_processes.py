"""Workers and programs end with the process that started them, however that ended and whatever they do."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import time
from pathlib import Path

import pytest

from snpimpute.base.errors import InputError, WorkEnds
from snpimpute.base.processes import Worker, end_workers
from snpimpute.base.programs import run_program
from snpimpute.base.progress import Watch
from snpimpute.base.steps import StepFailed, run_step
from tests.waiting import alive, wait_until

ROOT = Path(__file__).parents[2]
PARENT = """
import time
from snpimpute.base.processes import Worker
from tests.base import test_processes
worker = Worker("stuck", 1)
worker.call(test_processes.{call}, {note!r})
print(worker.process.pid, flush=True)
time.sleep(300)
"""


KILLED_BEFORE_THE_GUARD = """
import os, signal, sys
from snpimpute.base import processes
processes.Guard = lambda leader: os.kill(os.getpid(), signal.SIGKILL)
processes.start_program(["sh", "-c", "echo began > {note}"], stderr=2)
"""


def hold_the_interpreter(note: str) -> None:
    """Call C that never returns and never lets another thread of Python run."""
    Path(note).write_text("holding")
    ctypes.PyDLL(None).sleep(300)


def run_a_tree(note: str) -> None:
    """Run a program that starts another one, both deaf to polite requests; note their numbers."""
    run_program(
        ["sh", "-c", f"trap '' TERM; sleep 300 & echo $$ $! > {note}.part; mv {note}.part {note}; wait; sleep 300"]
    )


def fill_the_disk(how: str) -> None:
    """Raise what a full disk makes of a step."""
    if how == "wrapped":
        try:
            raise OSError(28, "No space left on device", "/runs/x")
        except OSError as error:
            raise RuntimeError("cannot save the network") from error
    raise {"system": OSError(28, "No space left on device", "/runs/x"), "input": InputError("not so many sites")}[how]


def wait_for(note: Path) -> str:
    for _ in range(3000):
        if note.exists() and (text := note.read_text()):
            return text
        time.sleep(0.01)
    raise TimeoutError(note)


@pytest.mark.parametrize("call", ["hold_the_interpreter", "run_a_tree"])
def test_a_worker_ends_with_a_parent_that_is_killed(tmp_path: Path, call: str) -> None:
    """Even one that runs no Python any more, and programs that it started."""
    note = tmp_path / "note"
    code = PARENT.format(call=call, note=str(note))
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(parent.stdout.readline())]
    pids += [int(number) for number in wait_for(note).split() if number.isdigit()]
    assert len(pids) == (3 if call == "run_a_tree" else 1) and all(map(alive, pids))
    parent.kill()
    parent.wait()
    wait_until(lambda: not any(map(alive, pids)))


def test_programs_end_with_a_worker_that_is_killed_itself(tmp_path: Path) -> None:
    worker = Worker("test", 1)
    worker.call(run_a_tree, str(tmp_path / "note"))
    pids = [int(number) for number in wait_for(tmp_path / "note").split()]
    worker.process.kill()
    wait_until(lambda: not any(map(alive, pids)))
    assert "SIGKILL" in worker.last_words()
    end_workers([worker])


def test_a_program_does_not_begin_before_its_guard_is_there(tmp_path: Path) -> None:
    """This process may be killed between the two: nobody would end the program."""
    code = KILLED_BEFORE_THE_GUARD.format(note=tmp_path / "note")
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, check=False)
    assert ended.returncode == -9, ended.stderr  # and the program has ended too: standard error is closed
    assert not (tmp_path / "note").exists()


def test_a_program_that_is_not_there_is_told_at_its_start() -> None:
    with pytest.raises(FileNotFoundError, match="no_such_program"):
        run_program(["no_such_program"])
    assert run_program(["cat"]).stdout == ""


@pytest.mark.parametrize(
    ("how", "error", "told"),
    [
        (
            "system",
            WorkEnds,
            "cannot write /runs/x: No space left on device; make room, and run the same command again",
        ),
        ("wrapped", WorkEnds, "No space left on device; make room, and run the same command again to go on"),
        ("input", StepFailed, "not so many sites"),
    ],
)
def test_a_full_disk_in_a_worker_ends_all_work(tmp_path: Path, how: str, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        run_step(fill_the_disk, {"how": how}, tmp_path / "log", 1, Watch())
