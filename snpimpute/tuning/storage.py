"""Storage of studies: journals with repair, databases, and a lock that lets one process run a study."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from snpimpute.base.digests import digest
from snpimpute.base.errors import InputError, WorkEnds, without_password
from snpimpute.base.files import GO_ON, no_room

if TYPE_CHECKING:
    import optuna

SECONDS_TO_FORGET = 5.0  # a database may take this long to notice that the process that held a study is dead
SECONDS_TO_MAKE_TABLES = 60.0
TICK = 0.2  # seconds between attempts to get a lock


def open_storage(storage: str) -> optuna.storages.BaseStorage:
    """Open Optuna's storage in a journal file (by path) or a database (by URL); create it if it is not there."""
    return _database_storage(storage) if "://" in storage else _journal_storage(Path(storage).resolve())


def _database_storage(url: str) -> optuna.storages.BaseStorage:
    from optuna.storages import RDBStorage

    if not _is_postgresql(url):
        return RDBStorage(url)
    with _held_in_database(url, "tables", SECONDS_TO_MAKE_TABLES) as held:
        if not held:
            raise OSError("another process is still making its tables")
        return RDBStorage(url, engine_kwargs={"pool_pre_ping": True})  # a trial may outlast an idle connection


def _journal_storage(path: Path) -> optuna.storages.BaseStorage:
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    path.parent.mkdir(parents=True, exist_ok=True)

    class Journal(JournalFileBackend):
        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            try:
                super().append_logs(logs)
            except OSError as error:
                raise storage_error(str(path), error) from None

    return JournalStorage(Journal(str(path), lock_obj=_JournalLock(path)))  # type: ignore[arg-type]


class _JournalLock:
    """Lock that lets one process at a time write to a journal; unlike Optuna's lock files it ends with its process.

    Acquiring the lock also cuts off an unfinished last line, left by a process that was killed while it wrote. Otherwise
    the next line would be appended to it, and the journal could no longer be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def acquire(self) -> bool:
        self.file = self.path.open("rb+")
        fcntl.flock(self.file, fcntl.LOCK_EX)
        size = self.file.seek(0, os.SEEK_END)
        if size > 0:
            self.file.seek(size - 1)
            if self.file.read() != b"\n":
                self._cut_last_line()
        return True

    def _cut_last_line(self) -> None:
        self.file.seek(0)
        content = self.file.read()
        whole = content.rfind(b"\n") + 1
        start = b'{"op_code":'
        if content[whole : whole + len(start)] != start[: len(content) - whole]:
            raise ValueError("it is a file of another kind, not a journal of Optuna")
        self.file.truncate(whole)

    def release(self) -> None:
        self.file.close()


@contextmanager
def held_alone(storage: str, name: str) -> Iterator[None]:
    """Hold a study for this process.

    In PostgreSQL the lock holds for every machine that shares the database. For other storages it is a file and holds on
    this machine only: beside a journal or an SQLite file, else in the folder of temporary files.

    Raises:
        InputError: another process runs the study, or the storage cannot be used.
    """
    if _is_postgresql(storage):
        with _held_in_database(storage, f"study {name}", SECONDS_TO_FORGET) as held:
            if not held:
                raise _running_elsewhere(name)
            yield
        return
    lock = FileLock(_lock_file(storage, name), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise _running_elsewhere(name) from None
    except OSError as error:
        raise storage_error(storage, error) from None
    try:
        yield
    finally:
        lock.release()


def _running_elsewhere(name: str) -> InputError:
    return InputError(f"study {name} is running in another process: wait for it, or end that one")


def _lock_file(storage: str, name: str) -> Path:
    """Return the lock file of a study.

    It is beside a journal or an SQLite file; for other storages, or if that folder does not exist, it is in the folder
    of temporary files.
    """
    study = digest([os.getuid(), storage, name])[:16]
    if "://" not in storage:
        journal = Path(storage).resolve()
        journal.parent.mkdir(parents=True, exist_ok=True)
        return journal.with_name(f".{journal.name}.{study}.lock")
    sqlite = re.fullmatch(r"sqlite(\+\w+)?:///(?!:memory:)(?P<file>.+)", storage)
    beside = Path(sqlite["file"]).absolute().parent if sqlite else None
    folder = beside if beside is not None and beside.is_dir() else Path(tempfile.gettempdir())
    return folder / f".snpimpute-study-{study}.lock"


def _is_postgresql(storage: str) -> bool:
    return re.match(r"postgres(ql)?(\+\w+)?://", storage) is not None


@contextmanager
def _held_in_database(url: str, key: str, patience: float) -> Iterator[bool]:
    """Try to take an advisory lock of a PostgreSQL database, and yield whether this process holds it.

    The lock ends with the connection.

    Args:
        url: URL of the database.
        key: name of the lock.
        patience: seconds to wait for another holder.
    """
    from sqlalchemy import create_engine, func, select
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    number = int(digest(["snpimpute", key])[:15], 16)  # the database takes a signed 64-bit number
    deadline = time.monotonic() + patience
    try:
        connection = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect()
    except (SQLAlchemyError, ImportError) as error:
        raise storage_error(url, error) from None
    with connection:
        while not (held := bool(connection.scalar(select(func.pg_try_advisory_lock(number))))):
            if time.monotonic() > deadline:
                break
            time.sleep(TICK)
        yield held


def storage_error(storage: str, error: BaseException) -> InputError:
    """Return the InputError that reports a failure of a study's storage in one line, without its password."""
    if why := no_room(error):
        return WorkEnds(f"study storage {without_password(storage)} cannot be written: {why}; {GO_ON}")
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return InputError(f"study storage {without_password(storage)} cannot be used: {first}")
