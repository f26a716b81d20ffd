"""SQLite file of an MLflow store: made beside its place and renamed; one that was left half-made is told, and mended."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Literal

from snpimpute.base.errors import InputError
from snpimpute.base.files import clear_parts, part_of, remove

SECONDS_TO_ANSWER = 5.0
MADE_FIRST, MADE_LAST = "experiments", "alembic_version"  # tables of MLflow's first schema, and of the migrations after
HOLD_RUNS = ("runs", "registered_models")

State = Literal["absent", "half-made", "made"]


def sqlite_file(uri: str) -> Path | None:
    """Return the file of an SQLite store; None if it is another kind of store or has no file."""
    if not re.match(r"sqlite(\+\w+)?:///(?!:memory:).", uri):
        return None
    return Path(uri.split(":///", 1)[1]).absolute()


def state_of(database: Path, mode: Literal["rw", "ro"] = "rw") -> State:
    """Return whether an SQLite file holds a store, or what a process left that was killed while it made one.

    A store is made where MLflow's migrations have come to their end: each writes its number, the first once all tables
    of the first schema are there. A store of an earlier MLflow, which is complete, is told from a half-made one by its
    experiments: MLflow writes the first, `Default`, after the last migration.

    Raises:
        InputError: the file is a database of another program, or half-made although it holds runs or models.
        sqlite3.Error: the file is no database, or cannot be read.
    """
    if not database.exists() or database.stat().st_size == 0:
        return "absent"
    with closing(_opened(database, mode)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables:
            return "absent"
        if not tables & {MADE_FIRST, MADE_LAST, *HOLD_RUNS}:
            raise InputError(f"{database} is a database of another program: it has the table {min(tables)}")
        if {MADE_FIRST, MADE_LAST} <= tables and _has_rows(connection, MADE_FIRST) and _has_rows(connection, MADE_LAST):
            return "made"
        for table in HOLD_RUNS:
            if table in tables and _has_rows(connection, table):
                raise InputError(
                    f"{database} is half-made, but holds {table.replace('_', ' ')}: restore it from a copy, or move it "
                    "away, and a new one is made"
                )
    return "half-made"


def make_store(database: Path, make: Callable[[Path], object]) -> None:
    """Make the SQLite file of a store unless it is there, complete or not at all; call this only under the store's lock.

    A half-made store, which holds nothing, is replaced.

    Args:
        database: the file.
        make: makes all that a new store has in a file that is not there yet.
    """
    clear_parts(database)
    if state_of(database) == "made":
        return
    beside = part_of(database)
    try:
        make(beside)
        for suffix in ("-journal", "-wal", "-shm"):  # of the file that is replaced
            remove(database.with_name(database.name + suffix))
        beside.replace(database)
    finally:
        remove(beside)
        remove(beside.with_name(f"{beside.name}-journal"))


def require_writable_database(database: Path) -> None:
    """Raise an error of sqlite3 unless the SQLite file, or its folder if there is none, can be written."""
    if not database.exists():
        part = part_of(database)
        try:
            _require_writable(part)
        finally:
            remove(part)
        return
    _require_writable(database)


def _require_writable(database: Path) -> None:
    with closing(_opened(database, "rwc")) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE writable (n)")
        connection.execute("ROLLBACK")


def _opened(database: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{database.as_uri()}?mode={mode}", timeout=SECONDS_TO_ANSWER, isolation_level=None, uri=True
    )


def _has_rows(connection: sqlite3.Connection, table: str) -> bool:
    return connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is not None
