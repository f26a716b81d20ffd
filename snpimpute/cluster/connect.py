"""Connection to a Dask cluster that is named, or to workers that are started on this machine."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from snpimpute.base.alone import work_folder
from snpimpute.base.errors import InputError
from snpimpute.base.extras import is_installed, require_package
from snpimpute.base.processes import HERE, Engine, Guard, end_group, worker_environment
from snpimpute.base.progress import Watch
from snpimpute.cluster.exchange import Exchange

if TYPE_CHECKING:
    import subprocess

    from distributed import Client

CLUSTER = "DASK_SCHEDULER_ADDRESS"  # environment variable that names a cluster
LOCAL = re.compile(r"local:([1-9]\d{0,3})")
REMOTE = re.compile(r"(tcp|tls|ws|wss)://[^\s/]+:\d+")
FORMS = "give tcp://HOST:PORT of its scheduler, or local:N for N workers on this machine"
# A worker does little but wait for the processes of its calls: it need not be profiled a hundred times a second.
UNHURRIED = {
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "5s",
}
# Of each connection Dask keeps the last messages, and of the scheduler the last steps, for its developers: 1,000 unless told.
# Each holds an order or its answer, with which the memory of a long command would grow.
BRIEF = {"distributed.admin.low-level-log-length": 50}
SECONDS = 600.0  # that a worker is waited for, where nothing else is said
CONNECTING = 10.0  # seconds within which a scheduler is to answer


@contextmanager
def opened(
    cluster: str | None, exchange: str | None, runs: Path, watch: Watch, seconds: float = SECONDS
) -> Iterator[Engine]:
    """Give the engine that is asked for: of a cluster, or without one that of this machine.

    Args:
        cluster: `tcp://HOST:PORT` of a scheduler, or `local:N` for N workers on this machine; None = the one that the
            environment variable DASK_SCHEDULER_ADDRESS names, or none.
        exchange: folder or URL that this machine and all workers reach; None = a folder in `runs`.
        runs: folder of all results.
        watch: receives what happens to the workers.
        seconds: longest time that a worker is waited for.

    Raises:
        InputError: no such form, no scheduler answers, Dask is not installed, or the workers cannot be used.
    """
    cluster = cluster or os.environ.get(CLUSTER)
    if not cluster:
        yield HERE
        return
    if not (LOCAL.fullmatch(cluster) or REMOTE.fullmatch(cluster)):
        raise InputError(f"the cluster {cluster!r} is not known: {FORMS}")
    for package in ("distributed", "fsspec"):
        require_package(package, "a cluster")
    import dask
    import distributed  # noqa: F401 (or what it sets as it is imported would be taken back with BRIEF)

    from snpimpute.cluster.engine import Cluster

    _be_quiet()
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(BRIEF))
        if found := LOCAL.fullmatch(cluster):
            client, workers = stack.enter_context(_local(int(found[1])))
        else:
            client, workers = stack.enter_context(_remote(cluster)), []

        def ended_by() -> str:
            return (
                f"all workers of {cluster} have ended" if workers and all(w.poll() is not None for w in workers) else ""
            )

        engine = Cluster(
            client, cluster, Exchange(exchange or str(runs.absolute() / "exchange")), seconds, watch, ended_by
        )
        stack.callback(engine.close)
        if REMOTE.fullmatch(cluster) or is_installed("bokeh"):
            watch.note(f"dashboard of {cluster}: {client.dashboard_link}")
        yield engine


@contextmanager
def _remote(address: str) -> Iterator[Client]:
    """Connect to a scheduler."""
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECTING, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"no scheduler answers at {address} ({type(error).__name__}): start one with `dask scheduler`, or name another (--cluster)"
        ) from None
    try:
        yield client
    finally:
        with suppress(Exception):  # of a scheduler that is gone
            client.close(timeout=2)


@contextmanager
def _local(n: int) -> Iterator[tuple[Client, list[subprocess.Popen[bytes]]]]:
    """Start a scheduler in this process, and workers in processes that end with it; connect to them."""
    import dask
    from distributed import Client, LocalCluster

    with ExitStack() as stack:
        stack.enter_context(dask.config.set({"distributed.worker.profile.enabled": False}))
        folder = stack.enter_context(work_folder("cluster"))
        local = stack.enter_context(
            LocalCluster(
                n_workers=0,
                processes=False,
                host="127.0.0.1",
                protocol="tcp",
                dashboard_address="127.0.0.1:0",
                silence_logs=50,
            )
        )
        client = stack.enter_context(Client(local, set_as_default=False))
        workers = [stack.enter_context(_worker(local.scheduler_address, folder / str(i))) for i in range(n)]
        while len(client.nthreads()) < n:
            with suppress(TimeoutError):
                client.wait_for_workers(n, timeout=1)
            if any(worker.poll() is not None for worker in workers):
                raise InputError("a worker of this machine ended as soon as it was started: is there memory enough?")
        yield client, workers


@contextmanager
def _worker(scheduler: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a worker of one thread that works in a folder, and end it."""
    import subprocess

    folder.mkdir()
    code = f"import sys; sys.path[:] = {sys.path!r}; from distributed.cli.dask_worker import main; main()"
    options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0", "--host", "127.0.0.1"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-c", code, scheduler, *options, "--local-directory", str(folder)],
            env={**worker_environment(1), **UNHURRIED, "TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        guard = Guard(process.pid)
        try:
            yield process
        finally:
            end_group(process)
            guard.release()


def _be_quiet() -> None:
    """Keep Dask's own log from standard error: what a user needs is said by the engine."""
    import logging

    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("distributed", "tornado", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
