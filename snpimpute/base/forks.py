"""Processes forked from one that has loaded what they need: numpy, pandas and this package's modules of earlier calls."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import pickle
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

# Forking after Apple's libraries were loaded is not safe there.
CAN_FORK = sys.platform.startswith("linux")
PRELOADED = ("numpy", "pandas", "snpimpute.base.processes")  # half a second that every step would take
PACKAGE = __name__.partition(".")[0]
STATUS = struct.Struct("i")
_sources: dict[tuple[int, int], Source] = {}  # by the process that asks, and the threads
_of_calls: dict[str, None] = {}  # modules of this package, in the order in which calls first named them
_one_at_a_time = threading.Lock()


class Forked:
    """Process that `forked` has started; it has what its users need of subprocess.Popen's interface.

    Attributes:
        pid: number of the process, which leads a session of its own.
        returncode: None while it runs, else its exit status, or minus the signal that ended it.
    """

    def __init__(self, pid: int, status: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._status = status  # file descriptor on which its end is told

    def poll(self) -> int | None:
        """Return the exit status; None while the process runs."""
        return self._ended(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the process and return its exit status.

        Raises:
            subprocess.TimeoutExpired: it runs for more than `timeout` seconds from now.
        """
        status = self._ended(timeout)
        if status is None:
            raise subprocess.TimeoutExpired("snpimpute", timeout or 0.0)
        return status

    def kill(self) -> None:
        """Kill the process, if it runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def _ended(self, timeout: float | None) -> int | None:
        """Return the exit status, or None if the process still runs after some seconds (None: however long)."""
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            told = os.read(self._status, STATUS.size)
            # without a word if the process it was forked from was killed: then this one ends as its pipe closes
            self.returncode = STATUS.unpack(told)[0] if told else -signal.SIGKILL
            os.close(self._status)
        return self.returncode


def forked(descriptor: int, name: str, output: int, environment: Mapping[str, str], threads: int) -> Forked:
    """Start `processes.work` on a pipe in a process of its own, which leads a session.

    Args:
        descriptor: file descriptor of the pipe's other end.
        name: what the process does.
        output: file descriptor that its output goes to.
        environment: its environment.
        threads: the threads of that environment, which numpy reads once: processes with the same number have one source.
    """
    request = pickle.dumps((list(_of_calls), name, str(Path.cwd()), sys.path, dict(environment)))
    key = os.getpid(), threads
    with _one_at_a_time:
        for attempt in (1, 2):
            if key not in _sources:
                _sources[key] = Source(environment)
            try:
                return _sources[key].fork(request, [descriptor, output])
            except OSError:  # it was killed
                del _sources[key]
                if attempt == 2:
                    raise
    raise AssertionError


def load_for_the_next(module: str) -> None:
    """Let processes that are forked from now on have a module of this package loaded; one of another package is not."""
    if module.startswith(f"{PACKAGE}."):
        _of_calls[module] = None


@atexit.register
def end_sources() -> None:
    """End the processes that others are forked from, so that their times count among those of this one's children."""
    for (pid, _), source in _sources.items():
        if pid == os.getpid():
            source.socket.close()
            with suppress(subprocess.TimeoutExpired):
                source.process.wait(1.0)


class Source:
    """Process from which others are forked; it ends with this one.

    Args:
        environment: its environment; those that are forked from it get their own.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        code = f"import sys; sys.path[:] = {sys.path!r}; from snpimpute.base.forks import fork_on_request; fork_on_request({other.fileno()})"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "snpimpute"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(other.fileno(),),
        )
        other.close()

    def fork(self, request: bytes, descriptors: Sequence[int]) -> Forked:
        """Ask for a process; see `forked`."""
        read, write = os.pipe()
        try:
            socket.send_fds(self.socket, [request], [*descriptors, write])
            told = self.socket.recv(STATUS.size)
            if not told:
                raise ConnectionResetError("the process that others are forked from has ended")
        except OSError:
            os.close(read)
            self.socket.close()
            raise
        finally:
            os.close(write)
        return Forked(STATUS.unpack(told)[0], read)


# ---------------------------------------------------------------------- in the process that others are forked from


def fork_on_request(number: int) -> None:
    """Fork a process for each request on a socket, tell of each one's end, and end when the socket closes.

    In a process that was forked this function does the work that was asked for, and then returns: so that it ends as any
    other process does.
    """
    parent = socket.socket(fileno=number)
    load(PRELOADED)
    wake_up, woken = os.pipe()
    for end in (wake_up, woken):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, int] = {}  # pid → file descriptor on which its end is told
    while True:
        if wake_up in (ready := select.select([number, wake_up], [], [])[0]):
            os.read(wake_up, 1024)
            tell_of_ends(running)
        if number not in ready:
            continue
        request, descriptors, _, _ = socket.recv_fds(parent, 1 << 20, 3)
        if not request:
            return
        *given, status = descriptors
        modules, *place = pickle.loads(request)
        load(modules)
        if (pid := os.fork()) == 0:
            for descriptor in (parent.detach(), wake_up, woken, status, *running.values()):
                os.close(descriptor)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            become(*place, *given)
            return
        running[pid] = status
        for descriptor in given:
            os.close(descriptor)
        parent.send(STATUS.pack(pid))


def load(modules: Sequence[str]) -> None:
    """Import the modules that are not loaded; one that cannot be imported here is left to the call that needs it."""
    new = [name for name in modules if name not in sys.modules]
    for name in new:
        with suppress(Exception):
            importlib.import_module(name)
    if new:
        gc.freeze()  # a collection in what is forked would touch, and so copy, all of it


def tell_of_ends(running: dict[int, int]) -> None:
    """Write the exit statuses of processes that have ended where they are waited for, and forget these processes."""
    for pid in list(running):
        if (found := os.waitpid(pid, os.WNOHANG)) != (0, 0):
            with suppress(BrokenPipeError):
                os.write(running[pid], STATUS.pack(os.waitstatus_to_exitcode(found[1])))
            os.close(running.pop(pid))


def become(name: str, folder: str, path: list[str], environment: dict[str, str], descriptor: int, output: int) -> None:
    """Work on a pipe, in a process that has just been forked, as in one that has just been started."""
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)
    os.chdir(folder)
    Path("/proc/self/comm").write_text(name[:15])  # what top and ps show, no longer; the command line is the parent's
    sys.path[:] = path
    sys.argv[:] = ["-c", f"snpimpute {name}"]
    importlib.invalidate_caches()
    import numpy as np

    np.random.seed()  # noqa: NPY002 (else all of them would draw the same)
    from snpimpute.base.processes import work

    work(descriptor)
