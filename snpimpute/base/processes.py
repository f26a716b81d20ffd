"""Worker processes of Python: they keep frameworks apart, give memory back, and end with their parent."""

from __future__ import annotations

import errno
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import IO, Any, Protocol

from snpimpute.base.alone import clear_work_folders
from snpimpute.base.errors import InputError, WorkEnds
from snpimpute.base.extras import not_installed
from snpimpute.base.files import out_of_room
from snpimpute.base.folders import with_folders
from snpimpute.base.forks import CAN_FORK, Forked, forked, load_for_the_next
from snpimpute.base.garbage import collect_seldom

GRACE = 3.0  # seconds that a program gets to end by itself before it is killed
GRACE_AFTER_PARENT = 4.0  # seconds that a worker gets to end and tidy up by itself once its parent is dead
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "NUMEXPR_NUM_THREADS",
)
QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "true",
    "TOKENIZERS_PARALLELISM": "false",
}

# State inside a worker process: the connection to its parent (None in any other process) and the parent's messages.
_parent: Connection | None = None
_inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()


# ---------------------------------------------------------------------- in the parent


class Carrier(Protocol):
    """What carries out one call after another, each in a process apart: a `Worker` here, or an engine's elsewhere."""

    pipe: Connection

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None: ...

    def send(self, message: Any) -> None: ...

    def receive(self) -> tuple[Any, ...]: ...

    def last_words(self) -> str: ...

    def is_dead(self) -> bool: ...

    def leave(self) -> None: ...

    def end(self) -> None: ...


class Engine:
    """Where calls are carried out: in processes of this machine. `snpimpute.cluster` has one that takes them elsewhere."""

    def worker(self, name: str, threads: int, log: IO[Any] | None = None, able: Able | None = None) -> Carrier:
        """Return what carries out calls.

        Args:
            name, threads, log: see Worker.
            able: raises InputError on a machine that lacks what the calls need (`imputers.needs_of`).
        """
        return Worker(name, threads, log)

    def at_once(self, here: int) -> int:
        """Return how many calls go on at a time, of which this machine would have so many."""
        return here

    def under_way(self, at_once: int) -> int:
        """Return how many calls are handed out at a time, of which so many go on: more where the next ones are got ready."""
        return at_once


Able = Callable[[], None]
HERE = Engine()


class Worker:
    """Python process that carries out one call after another, in a session of its own.

    The worker and all that it started end when its pipe closes, so they end however the parent process ends.

    Args:
        name: what the worker does, shown in lists of processes (15 letters of it where it is forked).
        threads: processor threads that the worker may use.
        log: file for the worker's output; None = a temporary file, from which only `last_words` reads.
    """

    def __init__(self, name: str, threads: int, log: IO[Any] | None = None) -> None:
        clear_work_folders()
        self.pipe, child_end = Pipe()
        self.output: IO[Any] = tempfile.TemporaryFile() if log is None else log  # noqa: SIM115 (lives as long as the worker)
        place = child_end.fileno(), name, self.output.fileno(), worker_environment(threads)
        self.process: Forked | subprocess.Popen[bytes] = forked(*place, threads) if CAN_FORK else started(*place)
        child_end.close()
        self.guard = Guard(self.process.pid, GRACE_AFTER_PARENT)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Let the worker carry out a call.

        Args:
            function: importable by name, or a partial of such a function.
            args, kwargs: arguments of the call; those that are a Folder go as its path.
        """
        load_for_the_next(getattr(function, "func", function).__module__)  # functools.partial has the function within
        self.send(with_folders(lambda folder: folder.path, function, args, kwargs))

    def send(self, message: Any) -> None:
        """Send a message; a dead worker is noticed by `receive` only."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send(message)

    def receive(self) -> tuple[Any, ...]:
        """Wait for the next message of the worker.

        Returns:
            ("progress", done, total); ("report", step, score), after which the worker waits for `send(True)` to go on
            or `send(False)` to end the call. At the end of a call: ("done", result); ("ended",) if the parent ended it;
            or ("failed", reason in one line, class of the error to raise: WorkEnds, InputError or RuntimeError).

        Raises:
            EOFError, OSError: the worker is dead.
        """
        return self.pipe.recv()

    def last_words(self) -> str:
        """Return how the worker ended, with the last line that it printed."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE + 2)
        status = self.process.poll()
        how = f"by {signal.Signals(-status).name}" if status and status < 0 else f"with exit status {status}"
        lines: list[str] = []
        if self.output.readable():
            self.output.seek(0)
            lines = self.output.read().decode(errors="replace").strip().splitlines()
        return f"its process ended {how}" + (f": {lines[-1].strip()}" if lines else "")

    def is_dead(self) -> bool:
        """Return whether the process has ended."""
        return self.process.poll() is not None

    def leave(self) -> None:
        """Close the pipe, upon which the process ends with all that it started."""
        self.pipe.close()

    def end(self) -> None:
        """Wait for the end of a worker that was left, and kill it if it still runs after a grace period."""
        try:
            self.process.wait(2 * GRACE + 1)
        except subprocess.TimeoutExpired:
            kill_descendants(self.process.pid)
            self.process.kill()
            self.process.wait()
        self.guard.release()
        self.output.close()


def started(descriptor: int, name: str, output: int, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start `work` on a pipe in a process of its own where none can be forked; see `forks.forked`."""
    code = f"import sys; sys.path[:] = {sys.path!r}; from snpimpute.base.processes import work; work({descriptor})"
    return subprocess.Popen(
        [sys.executable, "-c", code, f"snpimpute {name}"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        pass_fds=(descriptor,),
    )


def end_workers(workers: Sequence[Carrier]) -> None:
    """End workers and all that they started, all at the same time."""
    for worker in workers:
        worker.leave()
    for worker in workers:
        worker.end()


# ---------------------------------------------------------------------- in the worker


class CallEnds(BaseException):
    """Signal to leave a call that the parent has ended; a BaseException, so that no `except Exception` stops it."""


def say_progress(done: float, total: float) -> None:
    """Send the parent how much of the call is done; does nothing outside a worker."""
    if _parent is not None:
        _parent.send(("progress", done, total))


def report_score(step: int, score: float) -> None:
    """Send the parent an intermediate score and wait for its answer; does nothing outside a worker.

    Raises:
        CallEnds: the parent ends the call.
    """
    if _parent is not None:
        _parent.send(("report", int(step), float(score)))
        if not _inbox.get():
            raise CallEnds


def work(descriptor: int) -> None:
    """Carry out the calls that come through the pipe of this file descriptor, until it closes.

    This is the main function of a worker process.
    """
    global _parent
    collect_seldom()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _parent = Connection(descriptor)
    threading.Thread(target=_follow_parent, args=(_parent,), daemon=True).start()
    try:
        while True:
            function, args, kwargs = _inbox.get()
            try:
                message: tuple[Any, ...] = ("done", function(*args, **kwargs))
            except CallEnds:
                message = ("ended",)
            except Exception as error:
                with suppress(OSError):  # the log may lie on the disk that is full
                    traceback.print_exc()
                missing_extra = not_installed(error) if isinstance(error, ModuleNotFoundError) else None
                cause = out_of_room(error) or missing_extra or error
                kind = next((k for k in (WorkEnds, InputError) if isinstance(cause, k)), RuntimeError)
                message = ("failed", _one_line(cause), kind)
            _parent.send(message)
    finally:
        kill_descendants(os.getpid())


def _follow_parent(pipe: Connection) -> None:
    """Queue the parent's messages; when the pipe closes, end this process and all that it started."""
    while True:
        try:
            _inbox.put(pipe.recv())
        except (EOFError, OSError):
            end_this_process()
        except Exception as error:  # the function of the call cannot be imported here
            _inbox.put((_raise, (error,), {}))


def _raise(error: Exception) -> None:
    """Raise an error as the call that could not be received."""
    raise error


def _one_line(error: BaseException) -> str:
    """Return an error in one line: an InputError's own words, else its type and its last line."""
    lines = str(error).strip().splitlines()
    if isinstance(error, InputError):
        return " ".join(lines)
    return f"{type(error).__name__}: {lines[-1]}" if lines else type(error).__name__


# ---------------------------------------------------------------------- processes of the system


def worker_environment(threads: int) -> dict[str, str]:
    """Return the environment of a computing process: thread counts set before any import, usage reports off."""
    return {
        **os.environ,
        **QUIET,
        **{name: str(threads) for name in THREAD_VARIABLES},
        "TF_NUM_INTEROP_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",  # spinning at every barrier costs more than it gains on a busy machine
    }


class Guard:
    """Process that kills a program's whole session as soon as this process is dead, however it ended.

    It waits at a pipe that only this process holds: that needs no interpreter that still runs, and is the same on every
    system (a signal at the parent's death exists on Linux alone, and reaches the program but nothing that it started).

    Args:
        leader: number of the program's process, which leads a session of its own.
        grace: seconds that the program gets to end by itself.
    """

    TICK = 0.25
    SCRIPT = (
        "read -r released && exit; ticks=$2; "
        f"while [ $ticks -gt 0 ] && kill -s 0 -- -$1; do sleep {TICK}; ticks=$((ticks-1)); done; kill -s KILL -- -$1"
    )

    def __init__(self, leader: int, grace: float = 0.0) -> None:
        self.process = subprocess.Popen(
            ["sh", "-c", self.SCRIPT, "snpimpute guard", str(leader), str(round(grace / self.TICK))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def release(self) -> None:
        """End the guard: the program has ended by itself."""
        if self.process.returncode is None:
            self.process.communicate(b"released\n")


def start_program(
    command: Sequence[str], cwd: Path | None = None, env: Mapping[str, str] | None = None, *, stderr: int
) -> tuple[subprocess.Popen[str], Guard]:
    """Start a program in a session of its own that does not outlive this process; return it with its guard.

    The program waits at a pipe until its guard is there: this process may be killed between the two.

    Args:
        command: the program and its arguments.
        cwd, env, stderr: see subprocess.Popen; standard output is a pipe, standard input empty.

    Raises:
        FileNotFoundError: there is no such program.
    """
    if shutil.which(command[0], path=(os.environ if env is None else env).get("PATH")) is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command[0])
    gate, opener = os.pipe()
    try:
        process = subprocess.Popen(
            ["sh", "-c", 'read -r _ || exit; exec "$@" < /dev/null', "sh", *command],
            cwd=cwd,
            env=env,
            stdin=gate,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
        guard = Guard(process.pid)
        os.write(opener, b"\n")
    finally:
        os.close(gate)
        os.close(opener)
    return process, guard


def end_group(process: subprocess.Popen[Any], grace: float = GRACE) -> None:
    """End a process that leads a session, and all its children: first with SIGTERM, then with SIGKILL.

    Args:
        process: started with start_new_session=True.
        grace: seconds to wait after each signal.
    """
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, signal_number)
            process.wait(grace)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def end_this_process() -> None:
    """End this process from one of its threads, with all that it started: unwind the main thread, then kill.

    The main thread must end on SIGTERM by raising (`signal.signal(SIGTERM, lambda *_: sys.exit(143))`).
    """
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGTERM)  # the main thread unwinds: it ends its programs and tidies up
    time.sleep(GRACE)
    kill_descendants(os.getpid())
    os._exit(1)


def kill_descendants(pid: int) -> None:
    """Kill all that a process has started, directly or through its children."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                process.kill()
