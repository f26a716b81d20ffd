"""Connection to an MLflow store: its address, the check that it answers, and the error if it does not."""

from __future__ import annotations

import functools
import logging
import os
import re
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from urllib.parse import urlsplit

from snpimpute.base.errors import InputError, without_password
from snpimpute.base.processes import QUIET

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"
SECONDS_TO_ANSWER = 5.0
DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
ROOT_TAG = "snpimpute.artifacts"  # folder of an experiment's artifacts when it was made; lets the folder be moved

P = ParamSpec("P")
T = TypeVar("T")


def tracking_uri(configured: str | None, runs: Path) -> str:
    """Return the store to write to: MLFLOW_TRACKING_URI, else `configured`, else the SQLite file in the folder `runs`.

    `mlflow run` sets the variable for the programs that it starts even if the user has not set it; a value that comes
    from there is ignored.
    """
    chosen = os.environ.get("MLFLOW_TRACKING_URI")
    if chosen and _filled_in_by_mlflow_run(chosen):
        chosen = None
    return chosen or configured or f"sqlite:///{runs.absolute() / DATABASE}"


def _filled_in_by_mlflow_run(uri: str) -> bool:
    """Return whether `uri` is MLflow's own default, set by an `mlflow run` above this process and not by the user."""
    import psutil

    project_run = os.environ.get("MLFLOW_RUN_ID")
    database = sqlite_file(uri)
    if project_run is None or database is None or database.name != DATABASE:
        return False
    for process in psutil.Process().parents():
        try:
            environment = process.environ()
        except psutil.Error:
            return False
        if environment.get("MLFLOW_RUN_ID") != project_run:
            return "MLFLOW_TRACKING_URI" not in environment
    return False


def report_store_errors(method: Callable[P, T]) -> Callable[P, T]:
    """Decorate a method so that a store that fails in use (full, gone, refusing) raises InputError with one line.

    The method's object must have an attribute `uri`.
    """

    @functools.wraps(method)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        from mlflow.exceptions import MlflowException

        try:
            return method(*args, **kwargs)
        except (MlflowException, OSError) as error:
            raise store_error(args[0].uri, error) from error  # type: ignore[attr-defined]

    return checked


def open_client(uri: str) -> MlflowClient:
    """Open MLflow's client of a store, with its usage reports, progress bars and log lines switched off."""
    os.environ.update({name: QUIET[name] for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK")})
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    os.environ["MLFLOW_UV_AUTO_DETECT"] = "false"  # else a lock file in the working directory goes into each model
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    return MlflowClient(uri, uri)


def require_store(
    uri: str, check_sqlite: Callable[[Path], None], check_database: Callable[[str], None] | None = None
) -> None:
    """Raise InputError unless the store answers within seconds; MLflow itself would try for an hour.

    Args:
        uri: a database URL, or the address of an MLflow server.
        check_sqlite: further check of an SQLite file.
        check_database: further check of another database, by its URL.
    """
    scheme = urlsplit(uri).scheme
    try:
        if scheme in ("http", "https"):
            _ask_server(uri)
        elif (database := sqlite_file(uri)) is not None:
            check_sqlite(database)
        elif (dialect := scheme.split("+")[0]) in DATABASE_PORTS:
            _connect_to_database(uri, DATABASE_PORTS[dialect])
            if check_database is not None:
                check_database(uri)
        else:
            raise InputError(
                f"MLflow store {uri!r}: give a database URL such as sqlite:////folder/mlflow.db, or a server's address"
            )
    except InputError:
        raise
    except Exception as error:  # whatever a driver may raise
        raise store_error(uri, error) from None


def _ask_server(uri: str) -> None:
    import requests

    # any status will do: the first request to the server's API shows whether it accepts us
    requests.get(f"{uri.rstrip('/')}/health", timeout=SECONDS_TO_ANSWER)


def sqlite_file(uri: str) -> Path | None:
    """Return the file of an SQLite store; None if it is another kind of store or has no file."""
    if not re.match(r"sqlite(\+\w+)?:///(?!:memory:).", uri):
        return None
    return Path(uri.split(":///", 1)[1]).absolute()


def require_writable_database(database: Path) -> None:
    """Raise an error of sqlite3 unless the SQLite file can be written."""
    with closing(sqlite3.connect(database, timeout=SECONDS_TO_ANSWER, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE writable (n)")
        connection.execute("ROLLBACK")


def _connect_to_database(uri: str, port: int) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url

    url = make_url(uri)
    if url.host and not url.host.startswith("/"):
        socket.create_connection((url.host, url.port or port), timeout=SECONDS_TO_ANSWER).close()
    patience = {} if url.drivername.startswith("mssql") else {"connect_timeout": round(SECONDS_TO_ANSWER)}
    engine = create_engine(url, connect_args=patience)
    engine.connect().close()
    engine.dispose()


def store_error(uri: str, error: Exception) -> InputError:
    """Return the InputError that reports a failure of an MLflow store in one line, without its password."""
    reason = " ".join(str(getattr(error, "reason", None) or error).split())[:200] or type(error).__name__
    return InputError(
        f"MLflow store {without_password(uri)} cannot be used: {reason}; mend it, or set MLFLOW_TRACKING_URI or tracking_uri to another store"
    )


def follow_moved_artifacts(runs: Path) -> None:
    """Update the places of artifacts in the folder's own database after the folder was moved.

    MLflow keeps absolute places.
    """
    root = (runs / ARTIFACTS).as_uri()
    places = {
        "experiments": ["artifact_location"],
        "runs": ["artifact_uri"],
        "logged_models": ["artifact_location"],
        "model_versions": ["source", "storage_location"],
        "experiment_tags": ["value"],
    }
    with closing(sqlite3.connect(runs / DATABASE)) as connection, connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiment_tags'").fetchone():
            return
        query = "SELECT DISTINCT value FROM experiment_tags WHERE key = ? AND value != ?"
        for (old,) in connection.execute(query, (ROOT_TAG, root)).fetchall():
            for table, columns in places.items():
                for column in columns:
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (root, len(old) + 1, old, len(old) + 1, f"{old}/"),
                    )
