"""Work in processes of its own: a step there, many side by side. Frameworks do not meet, and memory is given back."""

from __future__ import annotations

import importlib
import json
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from snpimpute.base.errors import InputError
from snpimpute.base.programs import end_group, end_this_process, tell, worker_environment
from snpimpute.base.progress import Watch

# Windows that a process does: starting it costs seconds, and Keras keeps memory of every network, more of those it fits.
WINDOWS_FITTED = 4
WINDOWS_IMPUTED = 40
STEPS = {  # name → module and function, which is imported in the step's own process
    "fit": "snpimpute.experiment.pipeline:step_fit",
    "impute": "snpimpute.experiment.pipeline:step_impute",
    "offsets": "snpimpute.experiment.pipeline:step_offsets",
    "measure_windows": "snpimpute.impute.steps:step_measure_windows",
    "fit_windows": "snpimpute.impute.steps:step_fit_windows",
    "impute_windows": "snpimpute.impute.steps:step_impute_windows",
}
STEP_FAILED = 3  # exit status of a step's process that ended with an InputError, told in its last line


class StepFailed(Exception):
    """A step's process ended badly; the message is the reason in one line, `log` the file of what it printed."""

    def __init__(self, reason: str, log: Path) -> None:
        super().__init__(reason)
        self.log = log


def run_step(name: str, arguments: dict[str, Any], log: Path, threads: int, watch: Watch) -> None:
    """Run one of STEPS in a process of its own, so that frameworks do not meet and memory is given back.

    Args:
        name: of the step.
        arguments: of the step (JSON-able).
        log: file that what it prints is kept in.
        threads: processor threads it may use.
        watch: told of its progress.

    Raises:
        StepFailed: it ended badly.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as handle, log.open("a") as printed:
        json.dump(arguments, handle, default=str)
        handle.flush()
        process = subprocess.Popen(
            [sys.executable, "-m", "snpimpute", "step", name, handle.name, "--attached"],
            stdin=subprocess.PIPE,  # closes when this process ends, however it does: the step then ends too
            stdout=subprocess.PIPE,
            stderr=printed,
            text=True,
            env=worker_environment(threads),
            start_new_session=True,
        )
        reason = ""
        try:
            assert process.stdout is not None
            for line in process.stdout:
                message = _message(line)
                if "progress" in message:
                    watch.progress(*message["progress"])
                elif "reason" in message:
                    reason = message["reason"]
                else:
                    printed.write(line)
            process.wait()
        except BaseException:
            end_group(process)
            raise
    if process.returncode != 0:
        raise StepFailed(reason or f"its process ended with status {process.returncode}; see {log}", log)


def side_by_side(jobs: Sequence[Callable[[], None]], workers: int) -> None:
    """Do all jobs in threads, `workers` at a time; what the first one that fails raises is raised when the others end.

    An interrupt ends this at once: the threads are daemons, and their processes end with this one.
    """
    waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    failed: list[BaseException] = []

    def work() -> None:
        while not failed:
            try:
                job = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                job()
            except BaseException as error:
                failed.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(workers, len(jobs)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def _message(line: str) -> dict[str, Any]:
    """What a step's process says in a line of JSON; empty for anything else it prints."""
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def do_step(name: str, arguments_file: Path, attached: bool = False) -> int:
    """Do a step here, in the process that `run_step` started; returns its exit status.

    Args:
        name: of the step.
        arguments_file: JSON of its arguments.
        attached: end when standard input closes.
    """
    if attached:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        threading.Thread(target=_end_with_parent, daemon=True).start()
    arguments = json.loads(arguments_file.read_text())
    try:
        module, function = STEPS[name].split(":")
        getattr(importlib.import_module(module), function)(**arguments)
    except InputError as error:
        tell(reason=str(error))
        return STEP_FAILED
    except Exception as error:
        tell(reason=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}".strip())
        raise
    return 0


def _end_with_parent() -> None:
    sys.stdin.read()
    end_this_process()


def in_processes(
    step: str,
    home: Path,
    numbers: Sequence[int],
    is_done: Callable[[int], bool],
    workers: int,
    watch: Watch,
    most: int = WINDOWS_FITTED,
) -> None:
    """Do a step for the windows that are not done yet, a few in a process, `workers` processes at a time.

    Args:
        step: its name; it takes `home` and `numbers`.
        home: folder of the work; what the processes print goes to its `logs`.
        numbers: of the windows.
        is_done: whether a window is done.
        workers: processes at a time, of one thread each.
        watch: told of the windows done.
        most: windows that one process does.

    Raises:
        InputError: a process failed (the reason in one line).
    """
    left = [number for number in numbers if not is_done(number)]
    rounds = -(-len(left) // (most * workers))
    size = max(1, -(-len(left) // (max(1, rounds) * workers)))
    shares = [left[i : i + size] for i in range(0, len(left), size)]

    class Told(Watch):
        def progress(self, done: float, total: float) -> None:
            watch.progress(sum(map(is_done, numbers)), len(numbers))

    def job(share: list[int]) -> Callable[[], None]:
        log = home / "logs" / f"{step}-{share[0]:05d}.txt"
        return lambda: run_step(step, {"home": str(home), "numbers": share}, log, 1, Told())

    Told().progress(0, 0)
    try:
        side_by_side([job(share) for share in shares], workers)
    except StepFailed as error:
        raise InputError(f"{step.replace('_', ' ')} failed: {error}; what is done is kept") from None
    watch.progress(len(numbers), len(numbers))
