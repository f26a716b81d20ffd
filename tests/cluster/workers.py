"""Schedulers and workers of Dask as processes of their own, and pieces of work to hand to them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from snpimpute.base.files import write_text
from snpimpute.base.folders import Part
from snpimpute.base.processes import end_group, say_progress
from snpimpute.base.progress import Watch
from snpimpute.base.steps import Pieces
from tests import waiting

ROOT = Path(__file__).parents[2]


class Told(Watch):
    """Watch that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.lines.append(text)


wait_until = partial(waiting.wait_until, seconds=600.0)  # schedulers and workers begin slowly on a busy machine


@contextmanager
def scheduler(**variables: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A scheduler and its address; `variables` are set for it."""
    port = free_port()
    options = ["--host", "127.0.0.1", "--port", str(port), "--dashboard-address", "127.0.0.1:0"]
    with started("distributed.cli.dask_scheduler", options, **variables) as process:
        wait_until(lambda: answers(port))
        yield process, f"tcp://127.0.0.1:{port}"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def worker(
    address: str, folder: Path, source: Path = ROOT, before: str = "", hidden: Path | None = None, **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of one thread, which works in a folder.

    `source` has the package that it imports, `before` is shell that runs before it, `hidden` is a folder that looks empty
    to it, `variables` are set for it.
    """
    folder.mkdir()
    options = [address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0"]
    options += ["--local-directory", str(folder), "--host", "127.0.0.1"]
    apart: list[str] = []
    if hidden is not None:
        apart, before = ["unshare", "-rm"], f"mount -t tmpfs none {hidden}"
    with started("distributed.cli.dask_worker", options, source, before, apart, **variables) as process:
        yield process


@contextmanager
def started(
    module: str,
    options: list[str],
    source: Path = ROOT,
    before: str = "",
    apart: Sequence[str] = (),
    **variables: str,
) -> Iterator[subprocess.Popen[bytes]]:
    code = f"import sys; sys.path[:0] = [{str(source)!r}, {str(ROOT)!r}]; from {module} import main; main()"
    process = subprocess.Popen(
        [*apart, "/bin/bash", "-c", f'{before or ":"}; exec "$@"', "bash", sys.executable, "-c", code, *options],
        env={**os.environ, "OMP_NUM_THREADS": "1", **variables}, cwd=source, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        end_group(process, 1.0)


# ---------------------------------------------------------------------- pieces of work


def pieces(home: Path) -> Pieces:
    """Pieces that read a file and make a file each."""
    return Pieces(
        is_done=lambda number: made(home, number).exists(),
        reads=lambda numbers: [Part("plan.txt"), *(Part("data.bin", number, number + 1) for number in numbers)],
        makes=lambda number: [made(Path(), number).as_posix()],
        most=1,
    )


def made(home: Path, number: int) -> Path:
    return home / "made" / f"{number}.txt"


def laid_out(home: Path, notes: Path) -> Path:
    """A folder for the pieces below, which leave notes in another one."""
    home.mkdir()
    notes.mkdir()
    (home / "plan.txt").write_text(str(notes))
    (home / "data.bin").write_bytes(bytes(range(100, 120)))
    return home


def write_byte(home: Path, numbers: list[int]) -> None:
    """Write the byte of each number, once there is a note `go`; leave a note with the numbers of process and worker."""
    notes = Path((home / "plan.txt").read_text())
    for number in numbers:
        leave_note(notes, number, str(parent_of_source()))
        wait_until(lambda: (notes / "go").exists())
        held = (home / "data.bin").read_bytes()
        if home != notes.parent / "home":  # a copy
            assert sum(map(bool, held)) == len(numbers), "there is more than was asked for"
        write_text(made(home, number), str(held[number]))
        print(f"wrote {number}")
        say_progress(1, 1)


def leave_note(notes: Path, number: int, text: str) -> None:
    """Leave a note that a number was begun by this process; whoever lists the folder never sees an unfinished one."""
    beside = notes.parent / f"note-{os.getpid()}"
    beside.write_text(text)
    beside.rename(notes / f"{number}-{os.getpid()}")


def parent_of_source() -> int:
    """The Dask worker: processes of calls are forked from a process that it has started."""
    import psutil

    return psutil.Process(os.getppid()).ppid()


def be_killed(home: Path, numbers: list[int]) -> None:
    """Die as a process does for which there is no memory; where there is a note `once`, the first time alone."""
    notes = Path((home / "plan.txt").read_text())
    for number in numbers:
        if not ((notes / "once").exists() and list(notes.glob(f"{number}-*"))):
            leave_note(notes, number, "")
            os.kill(os.getpid(), signal.SIGKILL)
        write_text(made(home, number), "alive")


def kill_worker(home: Path, numbers: list[int]) -> None:
    """Let the Dask worker be killed, as a system without memory may do it."""
    os.kill(parent_of_source(), signal.SIGKILL)
    wait_until(lambda: False)


def need_memory(home: Path, numbers: list[int]) -> None:
    """Ask for more memory than there can be."""
    bytearray(1 << 62)


def write_much(home: Path, numbers: list[int]) -> None:
    """Make large files."""
    for number in numbers:
        write_text(made(home, number), "x" * 3_000_000)
