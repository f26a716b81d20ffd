"""The SQLite file of a store is there completely or not at all; what earlier versions left half-made is mended or named."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from snpimpute.base.errors import InputError
from snpimpute.tracking.connect import tracking_uri
from snpimpute.tracking.database import make_store, state_of
from snpimpute.tracking.reader import EmptyStoreError, Store
from snpimpute.tracking.writer import Tracker

ROOT = Path(__file__).parents[2]
# One process imports MLflow; its children are killed at the given statements of the first creation, or before the rename.
KILLED = """
import os, signal, sys
from pathlib import Path
import sqlalchemy
from snpimpute.tracking.connect import open_client, tracking_uri
from snpimpute.tracking.writer import Tracker
open_client("sqlite://")
begun = [0]

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

for moment in sys.argv[2:]:
    runs = Path(sys.argv[1]) / moment
    if (child := os.fork()) == 0:
        if moment == "rename":
            Path.replace = die
        else:
            @sqlalchemy.event.listens_for(sqlalchemy.Engine, "after_cursor_execute")
            def count(*_):
                begun[0] += 1
                if begun[0] == int(moment):
                    die()
        Tracker(tracking_uri(None, runs), runs)
        os._exit(0)
    print(moment, os.waitpid(child, 0)[1], flush=True)
"""


def test_a_process_killed_while_it_makes_a_store_leaves_none(tmp_path: Path, fresh_database: Path) -> None:
    moments = ["1", "30", "90", "200", "rename"]
    command = [sys.executable, "-c", KILLED, str(tmp_path), *moments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.stdout.split("\n")[:-1] == [f"{moment} 9" for moment in moments], done
    for moment in moments:
        database = tmp_path / moment / "mlflow.db"
        assert list(database.parent.glob(".mlflow.db.*.part")) and not database.exists()
        make_store(database, lambda beside: shutil.copy(fresh_database, beside))
        assert state_of(database) == "made" and list(database.parent.glob(".*.part*")) == []
    Tracker(tracking_uri(None, database.parent), database.parent)


def half_made(database: Path, fresh: Path, *statements: str) -> None:
    shutil.copy(fresh, database)
    with closing(sqlite3.connect(database)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize(
    "statements",
    [
        None,
        ["DELETE FROM experiments"],
        ["DELETE FROM experiments", "DELETE FROM alembic_version"],
        ["DROP TABLE alembic_version", "DROP TABLE metrics"],
        ["DROP TABLE experiments", "DROP TABLE registered_models", "DROP TABLE runs"],
    ],
    ids=["empty", "migrated", "no version", "first tables", "version alone"],
)
def test_a_half_made_store_is_mended(tmp_path: Path, fresh_database: Path, statements: list[str] | None) -> None:
    database = tmp_path / "mlflow.db"
    if statements is None:
        database.touch()
    else:
        half_made(database, fresh_database, *statements)
        with pytest.raises(EmptyStoreError, match="is half-made: the next run makes it anew"):
            Store(f"sqlite:///{database}")
    make_store(database, lambda beside: shutil.copy(fresh_database, beside))
    tracker = Tracker(tracking_uri(None, tmp_path), tmp_path)
    tracker.log_trial(
        dataset="x", study="s", imputer="mode", variant="tuned",
        record={"number": 0, "state": "complete", "score": 0.5, "params": {}},
    )  # fmt: skip
    assert Store(tracker.uri).training_runs() == []


def test_a_store_that_is_made_stays(tmp_path: Path, fresh_database: Path) -> None:
    database = tmp_path / "mlflow.db"
    shutil.copy(fresh_database, database)
    make_store(database, lambda _: pytest.fail("a store that is there is not made"))
    assert database.read_bytes() == fresh_database.read_bytes()


@pytest.mark.parametrize(
    ("statements", "told"),
    [
        (
            [
                "INSERT INTO registered_models (name, workspace) VALUES ('snpimpute-x', 'default')",
                "DELETE FROM experiments",
            ],
            "is half-made, but holds registered models: restore it from a copy, or move it away",
        ),
        (["CREATE TABLE bulls (n)"], "is a database of another program: it has the table bulls"),
    ],
)
def test_a_half_made_store_with_content_and_a_foreign_database_are_named(
    tmp_path: Path, fresh_database: Path, statements: list[str], told: str
) -> None:
    database = tmp_path / "mlflow.db"
    if "bulls" in statements[0]:
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute(statements[0])
    else:
        half_made(database, fresh_database, *statements)
    before = database.read_bytes()
    with pytest.raises(InputError, match=told) as caught:
        Tracker(tracking_uri(None, tmp_path), tmp_path)
    assert "\n" not in str(caught.value) and database.read_bytes() == before
