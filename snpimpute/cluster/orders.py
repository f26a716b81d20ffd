"""Orders: a call with what it reads, carried out on a worker in a process of its own, and what comes back."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any

from snpimpute.base.errors import InputError
from snpimpute.base.files import out_of_room
from snpimpute.base.folders import use_copies, with_folders
from snpimpute.base.processes import Worker, end_workers
from snpimpute.cluster.exchange import Cache, Content, Exchange, files_below, put_copy

TICK = 0.2  # seconds between looks whether the order is still wanted
LOG_BYTES = 100_000  # most bytes of a process's output that come back, the last ones
_answers: dict[str, SimpleQueue[Any]] = {}  # on a worker: order → answers to its process


@dataclass(frozen=True)
class Placed:
    """Content to be placed in a folder: name, content, its first byte in the file, and the file's length."""

    name: str
    content: Content
    start: int
    total: int


@dataclass(frozen=True)
class Copied:
    """Folder of a call as a worker makes it anew: what is placed in it, and the names of what the call makes there.

    `number` tells the folders of a call apart.
    """

    number: int
    placed: tuple[Placed, ...]
    makes: tuple[str, ...]
    files: tuple[tuple[Path, Content], ...]


@dataclass(frozen=True)
class Order:
    """Call that a worker is to carry out.

    Attributes:
        name: name of the order, used once.
        step: what it does, shown in lists of processes.
        function, args, kwargs: the call, with a Copied for each folder.
        threads: processor threads of its process.
        exchange: place of the exchange.
        under: folder of the exchange for what the call makes.
        topic: of events that tell of the order's progress.
        variables: environment variables that the call needs.
    """

    name: str
    step: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    threads: int
    exchange: str
    under: str
    topic: str
    variables: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """File or folder that a call made in one of its folders: number of the folder, name there, and contents by name within."""

    folder: int
    name: str
    files: tuple[tuple[str, Content], ...]


@dataclass(frozen=True)
class Ended:
    """End of an order.

    Attributes:
        message: the last message of the process, see `Worker.receive`; or ("lost", how the process died).
        made: what it made.
        log: what it printed.
        worker: address of the worker.
    """

    message: tuple[Any, ...]
    made: tuple[Made, ...]
    log: str
    worker: str


def carry_out(order: Order) -> Ended:
    """Carry out an order on this worker, in a process of its own; this is the task that Dask runs.

    The process ends when the order is cancelled, or its sender or the scheduler is gone.
    """
    from distributed import get_worker
    from distributed.worker import thread_state

    dask = get_worker()
    task = thread_state.key
    scratch = Path(dask.local_directory)
    home = Path(tempfile.mkdtemp(prefix="snpimpute-order-", dir=scratch))
    _answers[order.name] = SimpleQueue()
    made: tuple[Made, ...] = ()
    with (home / "log.txt").open("w+b") as log:
        try:
            exchange = Exchange(order.exchange)
            cache = Cache(scratch / "snpimpute-contents")
            cache.make_room()  # once for an order, as it looks at every file that is kept
            copies = {path: cache.file(content, exchange) for each in _folders(order) for path, content in each.files}

            def place(folder: Copied) -> Path:
                return home / str(folder.number)

            for folder in _folders(order):
                place(folder).mkdir()
                for part in folder.placed:
                    put_copy(cache.file(part.content, exchange), place(folder) / part.name, part.start, part.total)
            call = with_folders(place, order.function, order.args, order.kwargs, kind=Copied)

            def tell(*message: Any) -> None:
                dask.log_event(order.topic, [order.name, dask.address, list(message)])

            def is_wanted() -> bool:
                state = dask.state.tasks.get(task)
                return state is not None and state.state in ("executing", "long-running")

            message = _followed(order, call, copies, log, tell, is_wanted)
            if message[0] == "done":
                made = tuple(
                    Made(
                        folder.number,
                        name,
                        tuple((n, exchange.put(f, under=order.under, keep=False)) for n, f in found),
                    )
                    for folder in _folders(order)
                    for name in folder.makes
                    if (found := files_below(place(folder) / name))
                )
        except (InputError, OSError) as error:
            told = out_of_room(error) or error
            message = ("failed", str(told), type(told) if isinstance(told, InputError) else RuntimeError)
        finally:
            del _answers[order.name]
            log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_BYTES))
            printed = log.read().decode(errors="replace")
            shutil.rmtree(home, ignore_errors=True)
    return Ended(message, made, printed, dask.address)


def _folders(order: Order) -> list[Copied]:
    """Return the folders of an order's call."""
    found: list[Copied] = []

    def note(folder: Copied) -> Path:
        found.append(folder)
        return Path()

    with_folders(note, order.function, order.args, order.kwargs, kind=Copied)
    return found


def _followed(
    order: Order,
    call: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]],
    copies: dict[Path, Path],
    log: IO[bytes],
    tell: Callable[..., None],
    is_wanted: Callable[[], bool],
) -> tuple[Any, ...]:
    """Carry out a call in a process of its own, pass on what it says, and return its last message."""
    worker = Worker(order.step, order.threads, os.fdopen(os.dup(log.fileno()), "r+b"))
    try:
        worker.call(call_with, copies, order.variables, *call)
        while True:
            while not worker.pipe.poll(TICK):
                if not is_wanted():
                    return ("ended",)
            try:
                message = worker.receive()
            except (EOFError, OSError):
                return ("lost", worker.last_words())
            if message[0] not in ("progress", "report"):
                return message
            tell(*message)
            if message[0] == "report" and not _answered(order, worker, is_wanted):
                return ("ended",)
    finally:
        end_workers([worker])


def _answered(order: Order, worker: Worker, is_wanted: Callable[[], bool]) -> bool:
    """Pass the answer to a report on to the process; return False if the order is not wanted any more."""
    while True:
        try:
            worker.send(_answers[order.name].get(timeout=TICK))
            return True
        except Empty:
            if not is_wanted():
                return False


def answer(order: str, message: Any) -> None:
    """Give an order's process an answer; this runs on the worker, out of turn."""
    if order in _answers:
        _answers[order].put(message)


def call_with(
    copies: dict[Path, Path],
    variables: dict[str, str],
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Make a call in a process that works on copies of files, and with further environment variables."""
    os.environ.update(variables)
    use_copies(copies)
    return function(*args, **kwargs)
