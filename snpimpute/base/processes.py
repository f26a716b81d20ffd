"""Python processes that carry out calls: frameworks do not meet, memory is given back, and all end with their parent."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import IO, Any

from snpimpute.base.errors import InputError
from snpimpute.base.extras import not_installed
from snpimpute.base.progress import Watch

GRACE = 3.0  # seconds that a program is given to end by itself before it is killed
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

# A process that carries out calls, seen from inside: what it says to its parent, and what it is told. None elsewhere.
_parent: Connection | None = None
_inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()


class StepFailed(Exception):
    """A step's process ended badly; the message is the reason in one line, `log` the file of what it printed."""

    def __init__(self, reason: str, log: Path) -> None:
        super().__init__(reason)
        self.log = log


# ---------------------------------------------------------------------- as the parent sees it


class Worker:
    """A Python process that carries out one call after another, in a session of its own.

    It ends, with all that it started, when its pipe closes: that is, however this process ends.

    Args:
        name: of what it does, for whoever looks at the processes.
        threads: processor threads that it may use.
        log: file that what it prints is kept in; None = one that is gone with the worker, for its last words.
    """

    def __init__(self, name: str, threads: int, log: IO[Any] | None = None) -> None:
        self.pipe, theirs = Pipe()
        self.output: IO[Any] = tempfile.TemporaryFile() if log is None else log  # noqa: SIM115 (lives as long as the worker)
        code = f"import sys; sys.path[:] = {sys.path!r}; from snpimpute.base.processes import work; work({theirs.fileno()})"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, f"snpimpute {name}"],
            env=worker_environment(threads),
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=self.output,
            start_new_session=True,
            pass_fds=(theirs.fileno(),),
        )
        theirs.close()

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Let the process carry out a call; the function must be importable by name, or a partial of one that is."""
        self.send((function, args, kwargs))

    def send(self, message: Any) -> None:
        """Send a message; a process that is dead is noticed where it is listened to."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send(message)

    def receive(self) -> tuple[Any, ...]:
        """Wait for the next message.

        Returns:
            ("progress", done, total), ("report", step, score), which waits for an answer (`send`): whether the call goes on;
            at the end of a call ("done", result), ("ended",) where it was told not to go on, or ("failed", reason in one line,
            whether it was an InputError).

        Raises:
            EOFError, OSError: the process is dead.
        """
        return self.pipe.recv()

    def last_words(self) -> str:
        """Tell how the process ended, with the last line that it printed."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE + 2)
        status = self.process.poll()
        how = f"by {signal.Signals(-status).name}" if status and status < 0 else f"with exit status {status}"
        lines: list[str] = []
        if self.output.readable():
            self.output.seek(0)
            lines = self.output.read().decode(errors="replace").strip().splitlines()
        return f"its process ended {how}" + (f": {lines[-1].strip()}" if lines else "")


def end_workers(workers: Sequence[Worker]) -> None:
    """End processes with all that they started: a closed pipe tells them to, what still runs later is killed."""
    for worker in workers:
        worker.pipe.close()
    for worker in workers:
        try:
            worker.process.wait(2 * GRACE + 1)
        except subprocess.TimeoutExpired:
            kill_descendants(worker.process.pid)
            worker.process.kill()
            worker.process.wait()
        worker.output.close()


def run_step(function: Callable[..., None], arguments: dict[str, Any], log: Path, threads: int, watch: Watch) -> None:
    """Carry out a call in a process of its own, so that frameworks do not meet and memory is given back.

    Args:
        function: importable by name.
        arguments: of the call.
        log: file that what it prints is added to.
        threads: processor threads that it may use.
        watch: told of its progress.

    Raises:
        StepFailed: it ended badly.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    worker = Worker(function.__name__, threads, log.open("ab"))
    try:
        worker.call(function, **arguments)
        while True:
            try:
                kind, *content = worker.receive()
            except (EOFError, OSError):
                raise StepFailed(f"{worker.last_words()}; see {log}", log) from None
            if kind == "progress":
                watch.progress(*content)
            elif kind == "failed":
                raise StepFailed(content[0], log)
            else:
                return
    finally:
        end_workers([worker])


def side_by_side(jobs: Sequence[Callable[[], None]], workers: int) -> None:
    """Do all jobs in threads, `workers` at a time; what the first one that fails raises is raised when the others end.

    An interrupt ends this at once: the threads are daemons, and their processes end with this one.
    """
    waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    failed: list[BaseException] = []

    def work_off() -> None:
        while not failed:
            try:
                job = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                job()
            except BaseException as error:
                failed.append(error)

    threads = [threading.Thread(target=work_off, daemon=True) for _ in range(min(workers, len(jobs)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def in_shares(
    function: Callable[[str, list[int]], None],
    home: Path,
    numbers: Sequence[int],
    is_done: Callable[[int], bool],
    workers: int,
    watch: Watch,
    most: int,
) -> None:
    """Do numbered pieces of work that are not done yet, a few in a process, `workers` processes at a time.

    Args:
        function: does pieces; takes the folder of the work, as text, and their numbers, and says progress for each.
        home: folder of the work; what the processes print goes to its `logs`.
        numbers: of the pieces.
        is_done: whether a piece is done.
        workers: processes at a time, of one thread each.
        watch: told of the pieces done.
        most: pieces that one process does.

    Raises:
        InputError: a process failed (the reason in one line).
    """
    left = [number for number in numbers if not is_done(number)]
    rounds = -(-len(left) // (most * workers))
    size = max(1, -(-len(left) // (max(1, rounds) * workers)))
    shares = [left[i : i + size] for i in range(0, len(left), size)]

    class Counted(Watch):
        def progress(self, done: float, total: float) -> None:
            watch.progress(sum(map(is_done, numbers)), len(numbers))

    def job(share: list[int]) -> Callable[[], None]:
        log = home / "logs" / f"{function.__name__}-{share[0]:05d}.txt"
        return lambda: run_step(function, {"home": str(home), "numbers": share}, log, 1, Counted())

    Counted().progress(0, 0)
    try:
        side_by_side([job(share) for share in shares], workers)
    except StepFailed as error:
        raise InputError(f"{function.__name__.replace('_', ' ')} failed: {error}; what is done is kept") from None
    watch.progress(len(numbers), len(numbers))


# ---------------------------------------------------------------------- inside such a process


class CallEnds(BaseException):
    """Leaves a call that the parent has ended; no `except Exception` on the way holds it up."""


def say_progress(done: float, total: float) -> None:
    """Tell the parent, if this process carries out a call for one, how much of it is done."""
    if _parent is not None:
        _parent.send(("progress", done, total))


def report_score(step: int, score: float) -> None:
    """Tell the parent a score on the way; CallEnds if the call is not to go on."""
    if _parent is not None:
        _parent.send(("report", int(step), float(score)))
        if not _inbox.get():
            raise CallEnds


def work(descriptor: int) -> None:
    """Carry out what comes through the pipe of this file descriptor, until it closes: the life of a worker's process."""
    global _parent
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
                traceback.print_exc()
                told = (not_installed(error) if isinstance(error, ModuleNotFoundError) else None) or error
                message = ("failed", _one_line(told), isinstance(told, InputError))
            _parent.send(message)
    finally:
        kill_descendants(os.getpid())


def _follow_parent(pipe: Connection) -> None:
    """Pass on what the parent sends; when it has closed the pipe or died, end this process and all that it started."""
    while True:
        try:
            _inbox.put(pipe.recv())
        except (EOFError, OSError):
            end_this_process()
        except Exception as error:  # what is to be called cannot be imported here
            _inbox.put((_raise, (error,), {}))


def _raise(error: Exception) -> None:
    raise error


def _one_line(error: BaseException) -> str:
    """What went wrong, in one line: an InputError's own words, else the kind and the last line."""
    lines = str(error).strip().splitlines()
    if isinstance(error, InputError):
        return " ".join(lines)
    return f"{type(error).__name__}: {lines[-1]}" if lines else type(error).__name__


# ---------------------------------------------------------------------- the machine's processes


def worker_environment(threads: int) -> dict[str, str]:
    """Environment of a process that computes: thread counts set before any framework is imported, usage reports off."""
    return {
        **os.environ,
        **QUIET,
        **{name: str(threads) for name in THREAD_VARIABLES},
        "TF_NUM_INTEROP_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",  # on a busy machine, threads that spin at every barrier cost more than they gain
    }


def end_group(process: subprocess.Popen[Any], grace: float = GRACE) -> None:
    """End a process started in a session of its own, and all its children: politely, then for good."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            process.wait(grace)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def end_this_process() -> None:
    """End this process, from one of its threads, with all that it started: unwind the main thread first, then kill.

    The main thread must end on SIGTERM by raising (`signal.signal(SIGTERM, lambda *_: sys.exit(143))`).
    """
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGTERM)  # unwinds the work, which ends its programs and tidies up
    time.sleep(GRACE + 2)
    kill_descendants(os.getpid())
    os._exit(1)


def kill_descendants(pid: int) -> None:
    """Kill all that a process has started, and what these have started."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                process.kill()
