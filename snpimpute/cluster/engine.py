"""Engine of a Dask cluster: hands calls to its workers, hears of them, and fetches what they made."""

from __future__ import annotations

import os
import pickle
import re
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from snpimpute.base.digests import digest
from snpimpute.base.errors import InputError, WorkEnds
from snpimpute.base.files import is_alive, written_beside
from snpimpute.base.folders import EVERYTHING, Folder, with_folders
from snpimpute.base.processes import Able, Carrier, Engine
from snpimpute.base.progress import Watch
from snpimpute.base.words import lasting, numbered
from snpimpute.cluster.exchange import Content, Exchange, files_below
from snpimpute.cluster.identity import Identity, equip
from snpimpute.cluster.orders import Copied, Ended, Order, Placed, answer, carry_out

if TYPE_CHECKING:
    from distributed import Client, Future

TICK = 0.5  # seconds between looks at the workers
ATTEMPTS = 3  # at an order whose process was killed
VARIABLES = "SNPIMPUTE_IMPUTERS"  # begins the names of environment variables that calls need
KEPT = "what is done is kept: run the same command again to go on"


class Cluster(Engine):
    """Engine that carries out calls on the workers of a Dask cluster.

    Args:
        client: connected to the scheduler.
        address: what the user called the cluster.
        exchange: where contents are exchanged with the workers.
        seconds: longest time that a worker is waited for.
        watch: receives what happens to the workers.
        ended_by: returns why the workers cannot come back; empty as long as they can.

    Raises:
        InputError: every worker is another than this machine (names the difference), or the exchange cannot be written.
    """

    def __init__(
        self,
        client: Client,
        address: str,
        exchange: Exchange,
        seconds: float,
        watch: Watch,
        ended_by: Callable[[], str] = str,
    ) -> None:
        self.client = client
        self.address = address
        self.exchange = exchange
        self.folder = f"{os.uname().nodename}-{os.getpid()}-{uuid.uuid4().hex[:8]}"  # of this start, in the exchange
        self.topic = f"snpimpute-{self.folder}"
        self.identity = Identity.here()
        self._seconds, self._watch, self._ended_by = seconds, watch, ended_by
        self._able: dict[str, Able] = {}
        self._threads: dict[str, int] = {}  # worker that can be used → threads
        self._refused: dict[str, str] = {}  # worker that cannot be used → why
        self._lacking: dict[str, dict[str, str]] = {}  # worker → resource → why it does not have it
        self._calls: dict[str, RemoteWorker] = {}  # order → what waits for it
        self._puts: dict[tuple[Any, ...], Content] = {}
        self._none_since: float | None = None
        self._lock = threading.Lock()
        self._gone = ""  # why no order can be carried out any more
        self._closing = threading.Event()
        self._clear()
        client.subscribe_topic(self.topic, self._hear)
        self._look(self._nthreads())
        if self._refused and not self._threads:
            raise InputError(f"{next(iter(self._refused.values()))}: install the same there")
        self._thread = threading.Thread(target=self._keep_looking, daemon=True)
        self._thread.start()

    def worker(self, name: str, threads: int, log: IO[Any] | None = None, able: Able | None = None) -> Carrier:
        return RemoteWorker(self, name, threads, log, self._resource_of(able))

    def at_once(self, here: int) -> int:
        """Return the number of calls that the workers carry out at a time."""
        with self._lock:
            return max(1, sum(self._threads.values()))

    def under_way(self, at_once: int) -> int:
        """Return twice the number of calls that go on, so that no worker waits for its next one."""
        return 2 * at_once

    def close(self) -> None:
        """Forget all orders, and remove what was exchanged for them."""
        self._closing.set()
        self._thread.join()
        self.exchange.remove(self.folder)

    def _clear(self) -> None:
        """Remove what killed commands of this machine have left in the exchange; other machines' are not judged."""
        ours = re.compile(rf"{re.escape(os.uname().nodename)}-(\d+)-[0-9a-f]{{8}}")
        for name in self.exchange.folders():
            if (found := ours.fullmatch(name)) and not is_alive(int(found[1])):
                self.exchange.remove(name)

    # ------------------------------------------------------------------ workers

    def _nthreads(self) -> dict[str, int]:
        return dict(self.client.nthreads())

    def _keep_looking(self) -> None:
        """Look at the workers again and again, and end all calls when there is nothing more to wait for."""
        while not self._closing.wait(TICK):
            try:
                if self.client.status != "running":
                    raise OSError
                self._look(self._nthreads())
            except Exception:  # of a connection that breaks, Dask raises many kinds
                if not self._closing.is_set():
                    self._end_calls(f"the scheduler of {self.address} is gone; {KEPT}")
                return
            if reason := self._ended_by():
                self._end_calls(f"{reason}; {KEPT}")
                return
            if self._threads:
                self._none_since = None
            elif self._none_since is None:
                self._none_since = time.monotonic()
                self._watch.warn(
                    f"no worker of {self.address} is there: waiting for one, {lasting(self._seconds)} at most (--timeout)"
                )
            elif time.monotonic() - self._none_since > self._seconds:
                self._end_calls(f"no worker of {self.address} came within {lasting(self._seconds)}; {KEPT}")
                return

    def _look(self, now: dict[str, int]) -> None:
        """Equip workers that are new, and say how many there are if that has changed."""
        with self._lock:
            before = len(self._threads)
            new = [worker for worker in now if worker not in self._threads and worker not in self._refused]
            for known in (self._threads, self._refused, self._lacking):
                for worker in set(known) - set(now):
                    del known[worker]
            if new:
                self._equip(new, now)
        if len(self._threads) != before:
            self._watch.note(f"{numbered(len(self._threads), 'worker')} of {self.address}")

    def _equip(self, workers: list[str], threads: dict[str, int]) -> None:
        answers = self.client.run(equip, dict(self._able), workers=workers, on_error="return")
        for worker, found in answers.items():
            if isinstance(found, OSError):
                continue  # it has gone meanwhile
            if isinstance(found, Exception):
                different = f"does not have this snpimpute ({type(found).__name__}: {found})"
            else:
                identity, self._lacking[worker] = found
                different = self.identity.difference(identity)
            if different:
                self._refused[worker] = f"the worker {worker} {different}"
                self._watch.warn(f"{self._refused[worker]}: it is not used")
            else:
                self._threads[worker] = threads[worker]

    def _resource_of(self, able: Able | None) -> str | None:
        """Return the resource of workers that have what calls need, which workers get once it is asked for first.

        Raises:
            InputError: workers are there, and none has it.
        """
        if able is None:
            return None
        name = f"{self.identity.resource}-{digest(pickle.dumps(able).hex())[:8]}"
        with self._lock:
            if name not in self._able:
                self._able[name] = able
                if self._threads:
                    self._equip(list(self._threads), dict(self._threads))
            reasons = [self._lacking.get(worker, {}).get(name, "") for worker in self._threads]
        if reasons and all(reasons):
            raise InputError(f"no worker of {self.address} can do this: {reasons[0]}")
        return name

    # ------------------------------------------------------------------ orders

    def send(self, order: Order, resource: str | None, caller: RemoteWorker) -> Future:
        """Hand an order to Dask; `caller` is told what comes of it.

        Raises:
            WorkEnds: the scheduler or all workers are gone.
        """
        if self._gone:
            raise WorkEnds(self._gone)
        self._calls[order.name] = caller
        names = [self.identity.resource] + ([resource] if resource else [])
        future = self.client.submit(carry_out, order, key=order.name, pure=False, resources=dict.fromkeys(names, 1))
        future.add_done_callback(lambda _: caller.tell(("future",)))
        return future

    def answer(self, order: str, worker: str, message: Any) -> None:
        """Send the process of an order an answer."""
        with suppress(Exception):  # a worker that is gone needs none
            self.client.run(answer, order, message, workers=[worker], on_error="ignore")

    def forget(self, order: str) -> None:
        """Let no one be told of an order any more."""
        self._calls.pop(order, None)

    def put(self, path: Path, start: int, stop: int | None) -> Content:
        """Put a file or a part of it into the exchange, once in this start."""
        about = path.stat()
        key = (path, start, stop, about.st_mtime_ns, about.st_size)
        if key not in self._puts:
            content = self.exchange.put(path, start, stop, under=f"{self.folder}/read")
            if stop is not None:
                return content  # of each of many windows once or twice: these are not kept in mind
            self._puts[key] = content
        return self._puts[key]

    def _hear(self, event: Any) -> None:
        """Pass what an order's process says on to its caller."""
        order, worker, message = event[1]
        if (caller := self._calls.get(order)) is not None:
            caller.told_by = worker
            caller.tell(tuple(message))

    def gone(self) -> str:
        """Return why orders cannot be carried out any more."""
        return self._gone or f"the scheduler of {self.address} is gone; {KEPT}"

    def _end_calls(self, reason: str) -> None:
        self._gone = reason
        for caller in list(self._calls.values()):
            caller.tell(("failed", reason, WorkEnds))


class RemoteWorker:
    """What carries out one call after another on a cluster, each as a task of its own."""

    def __init__(self, cluster: Cluster, step: str, threads: int, log: IO[Any] | None, resource: str | None) -> None:
        self.pipe, self._told = Pipe(duplex=False)
        self.told_by = ""  # worker that spoke last
        self._cluster, self._step, self._threads, self._log, self._resource = cluster, step, threads, log, resource
        self._lock = threading.Lock()
        self._future: Future | None = None
        self._attempts = 0

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Hand a call to the cluster; see `Worker.call`."""
        self._folders: list[Folder] = []
        name = f"{self._step}-{uuid.uuid4().hex}"
        function, args, kwargs = with_folders(self._copied, function, args, kwargs)
        variables = {key: value for key, value in os.environ.items() if key.startswith(VARIABLES)}
        under = f"{self._cluster.folder}/{name}"
        self._order = Order(
            name, self._step, function, args, kwargs, self._threads, self._cluster.exchange.place, under,
            self._cluster.topic, variables,
        )  # fmt: skip
        self._attempts = 0
        self._send(self._order)

    def send(self, message: Any) -> None:
        """Answer a report."""
        self._cluster.answer(self._order.name, self.told_by, message)

    def tell(self, message: tuple[Any, ...]) -> None:
        """Let `receive` return a message, or look at what has become of the order."""
        with self._lock, suppress(OSError):  # the pipe is closed once nobody listens
            self._told.send(message)

    def receive(self) -> tuple[Any, ...]:
        """Wait for the next message; see `Worker.receive`. A process that was killed is started again, on any worker."""
        message = self.pipe.recv()
        if message != ("future",):
            return message
        ended = self._result()
        if isinstance(ended, tuple):
            return ended
        kind, *content = ended.message
        if self._log is not None:
            self._log.write(ended.log.encode())
            self._log.flush()
        if kind == "lost":
            if self._attempts < ATTEMPTS:
                self._cluster.forget(self._order.name)
                self._send(replace(self._order, name=f"{self._step}-{uuid.uuid4().hex}"))
                return ("progress", 0, 1)
            why = f"{content[0]}, {ATTEMPTS} times, the last time on {ended.worker}: is there memory enough?"
            return ("failed", why, RuntimeError)
        if kind == "failed":
            reason, error = content
            return ("failed", reason if error is WorkEnds else f"{reason} (worker {ended.worker})", error)
        if kind == "done":
            try:
                self._fetch(ended)
            except InputError as error:
                return ("failed", str(error), type(error))
        return ended.message

    def last_words(self) -> str:
        """Return how the process ended: `receive` says it of a worker of a cluster."""
        return "its connection was closed"

    def is_dead(self) -> bool:
        """Return False: each call has a process of its own."""
        return False

    def leave(self) -> None:
        """Cancel the call, upon which its process ends on the worker."""
        if self._future is not None:
            self._cluster.forget(self._order.name)
            if not self._future.done():
                with suppress(Exception):  # where the scheduler is gone, there is nothing to cancel
                    self._future.cancel()
            self._future = None

    def end(self) -> None:
        """Close what is open here."""
        with self._lock:
            self._told.close()
        self.pipe.close()
        if self._log is not None:
            self._log.close()

    # ------------------------------------------------------------------ contents

    def _send(self, order: Order) -> None:
        self._order = order
        self._attempts += 1
        self._future = self._cluster.send(order, self._resource, self)

    def _result(self) -> Ended | tuple[Any, ...]:
        """Return the end of the order, or a message on why it has none."""
        from distributed.client import FutureCancelledError
        from distributed.scheduler import KilledWorker

        assert self._future is not None
        try:
            return self._future.result()
        except KilledWorker as error:
            killed = (
                f"{error.allowed_failures + 1} workers were killed with it, the last one {error.last_worker.address}"
            )
            return ("failed", f"{killed}: is there memory enough?", RuntimeError)
        except FutureCancelledError:
            return ("failed", self._cluster.gone(), WorkEnds)
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            return ("failed", f"{type(error).__name__}: {lines[0]}", RuntimeError)

    def _copied(self, folder: Folder) -> Copied:
        """Put what a call reads in a folder into the exchange."""
        placed = []
        for part in folder.reads:
            path = folder.path / part.name
            if not path.exists():
                continue
            if part.stop is not None:
                content = self._cluster.put(path, part.start, part.stop)
                placed.append(Placed(part.name, content, part.start, path.stat().st_size))
                continue
            for name, file in files_below(path):
                content = self._cluster.put(file, 0, None)
                within = name if part.name == EVERYTHING else f"{part.name}/{name}".rstrip("/")
                placed.append(Placed(within, content, 0, content.size))
        files = tuple((path, self._cluster.put(path, 0, None)) for path in folder.files)
        self._folders.append(folder)
        return Copied(len(self._folders) - 1, tuple(placed), folder.makes, files)

    def _fetch(self, ended: Ended) -> None:
        """Fetch what a call made to where it would have made it here."""
        for made in ended.made:
            with written_beside(self._folders[made.folder].path / made.name) as beside:
                for name, content in made.files:
                    to = beside / name if name else beside
                    to.parent.mkdir(parents=True, exist_ok=True)
                    self._cluster.exchange.get(content, to)
        self._cluster.exchange.remove(self._order.under)
