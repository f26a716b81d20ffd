"""Steps: calls that are carried out in processes of their own, one by one or many side by side."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from snpimpute.base.errors import InputError, WorkEnds
from snpimpute.base.folders import Folder, Part
from snpimpute.base.processes import HERE, Able, Engine, end_workers
from snpimpute.base.progress import Watch


class StepFailed(Exception):
    """Failure of a step's process.

    The message is the reason in one line; `log` is the file with the process's output.
    """

    def __init__(self, reason: str, log: Path) -> None:
        super().__init__(reason)
        self.log = log


def run_step(
    function: Callable[..., None],
    arguments: dict[str, Any],
    log: Path,
    threads: int,
    watch: Watch,
    engine: Engine = HERE,
    able: Able | None = None,
) -> None:
    """Carry out a call in a process of its own, which keeps frameworks apart and gives memory back.

    Args:
        function: importable by name.
        arguments: keyword arguments of the call.
        log: file to which the process's output is appended.
        threads: processor threads that the process may use.
        watch: receives the progress of the call.
        engine, able: where it is carried out, and what is needed there; see Engine.

    Raises:
        StepFailed: the call failed or the process died.
        WorkEnds: the call found a disk full.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    worker = engine.worker(function.__name__, threads, log.open("ab"), able)
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
                reason, error = content
                raise WorkEnds(reason) if error is WorkEnds else StepFailed(reason, log)
            else:
                return
    finally:
        end_workers([worker])


def side_by_side(jobs: Sequence[Callable[[], None]], workers: int) -> None:
    """Run all jobs in threads, `workers` at a time; re-raise the first error once the running jobs have ended.

    After an error no further job is started. An interrupt ends this function at once: the threads are daemons, and
    their processes end with this one.
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


@dataclass(frozen=True)
class Pieces:
    """Numbered pieces of work in a folder.

    Attributes:
        is_done: tells whether a piece is done.
        reads: returns what some pieces read in the folder, see Folder.
        makes: returns what a piece makes there.
        files: files that the pieces find by their own path.
        able: raises InputError where what they need is missing, see Engine.
        most: most pieces per process.
        kept: whether what is done outlasts a failure.
    """

    is_done: Callable[[int], bool]
    reads: Callable[[list[int]], list[Part]]
    makes: Callable[[int], list[str]]
    most: int
    files: tuple[Path, ...] = ()
    able: Able | None = None
    kept: bool = True


def in_shares(
    function: Callable[[Path, list[int]], None],
    home: Path,
    numbers: Sequence[int],
    pieces: Pieces,
    workers: int,
    watch: Watch,
    engine: Engine = HERE,
) -> None:
    """Do the numbered pieces of work that are not done yet, several per process, `workers` processes at a time.

    Args:
        function: called as function(home=…, numbers=…) with the folder and the numbers of its pieces; it reports
            progress after each.
        home: folder of the work; the processes' output goes to its subfolder `logs`.
        numbers: numbers of the pieces.
        pieces: what is known of them.
        workers: processes at a time, of one thread each; another engine has its own number.
        watch: receives the number of pieces done.
        engine: where they are done.

    Raises:
        InputError: a process failed (gives the reason in one line).
    """
    is_done, most, workers = pieces.is_done, pieces.most, engine.at_once(workers)
    remaining = [number for number in numbers if not is_done(number)]
    rounds = -(-len(remaining) // (most * workers))
    size = max(1, -(-len(remaining) // (max(1, rounds) * workers)))
    shares = [remaining[i : i + size] for i in range(0, len(remaining), size)]
    done = set(numbers) - set(remaining)

    class PiecesDone(Watch):
        """Progress in pieces, whatever progress a process reports for its share."""

        def __init__(self, share: list[int]) -> None:
            self.share = share

        def progress(self, _done: float, _total: float) -> None:
            done.update(number for number in self.share if number not in done and is_done(number))
            watch.progress(len(done), len(numbers))

    def do(share: list[int]) -> None:
        log = home / "logs" / f"{function.__name__}-{share[0]:05d}.txt"
        made = tuple(name for number in share for name in pieces.makes(number))
        arguments = {"home": Folder(home, tuple(pieces.reads(share)), made, pieces.files), "numbers": share}
        watching = PiecesDone(share)
        run_step(function, arguments, log, 1, watching, engine, pieces.able)
        watching.progress(1, 1)

    watch.progress(len(done), len(numbers))
    try:
        side_by_side([partial(do, share) for share in shares], engine.under_way(workers))
    except StepFailed as error:
        kept = "; what is done is kept" if pieces.kept else ""
        raise InputError(f"{function.__name__.replace('_', ' ')} failed: {error}{kept}") from None
    watch.progress(len(numbers), len(numbers))
