"""Locks and work folders of one process: others wait for what it makes, and what it leaves when killed is cleared."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from snpimpute.base.files import remove
from snpimpute.base.progress import Watch

TICK = 0.1  # seconds between attempts to get a lock
SECONDS_UNSAID = 2.0  # that are waited before it is said
WORK = "snpimpute-work-"  # begins the names of work folders, which lie in the folder of temporary files


@contextmanager
def made_alone(path: Path, watch: Watch) -> Iterator[None]:
    """Let one process at a time make `path`; the others wait, and say so.

    The lock is a file beside `path` while it is held. It ends with its process, however that ends.

    Args:
        path: file or folder to make; look whether it is there after the lock is taken.
        watch: receives the notice that another process is waited for.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    started, said = time.monotonic(), False
    while (descriptor := _lock_file(lock)) is None:
        if not said and time.monotonic() - started > SECONDS_UNSAID:
            watch.warn(f"another process makes {path}: waiting for it")
            said = True
        time.sleep(TICK)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)  # while it is held: who waits for it finds that it is gone, and makes its own
        os.close(descriptor)


def _lock_file(path: Path) -> int | None:
    """Lock a file, which is made if it is not there, and return its descriptor; None if another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    if _lock(descriptor):
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
    os.close(descriptor)
    return None


@contextmanager
def work_folder(name: str) -> Iterator[Path]:
    """Give an empty folder for files of one process, removed at the end (or by `clear_work_folders`, if it is killed).

    Args:
        name: what the folder is for, part of its name.
    """
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{WORK}{name}-{os.getpid()}-"))
        descriptor = os.open(folder, os.O_RDONLY)
        if _lock(descriptor):
            break
        os.close(descriptor)  # a process that clears saw it before it was locked, and removes it
    try:
        yield folder
    finally:
        remove(folder)
        os.close(descriptor)


def clear_work_folders() -> None:
    """Remove this user's work folders whose process has ended: nobody holds their lock."""
    with os.scandir(tempfile.gettempdir()) as entries:
        left = [Path(entry.path) for entry in entries if entry.name.startswith(WORK)]
    for path in left:
        with suppress(OSError):  # its own process, or another that clears, has removed it meanwhile
            if path.stat().st_uid != os.getuid():
                continue
            descriptor = os.open(path, os.O_RDONLY)
            try:
                if _lock(descriptor):
                    remove(path)
            finally:
                os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Lock an open folder for this process; return False if another process holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
