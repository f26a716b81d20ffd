"""Connection to an MLflow store: its address, the check that it answers, and what is done if it does not."""

from __future__ import annotations

import functools
import logging
import os
import re
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar
from urllib.parse import urlsplit

from snpimpute.base.errors import InputError, WorkEnds, without_password
from snpimpute.base.files import GO_ON, no_room
from snpimpute.base.processes import QUIET
from snpimpute.base.progress import Watch
from snpimpute.tracking.database import SECONDS_TO_ANSWER, sqlite_file

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"
DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
ROOT_TAG = "snpimpute.artifacts"  # folder of an experiment's artifacts when it was made; lets the folder be moved

TICK = 1.0  # seconds between attempts to reach a store that is gone
WAIT = 120.0  # seconds to wait for a store that is gone, unless the user says otherwise
SECONDS_OF_SILENCE = 15.0
# MLflow itself tries a request for minutes, and says nothing; a request that is not answered is tried again here.
REQUESTS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
NO_ANSWER = re.compile(
    r"API request to \S+ failed with (?:timeout )?exception|[Tt]imed out while making|[Cc]onnection (?:refused|aborted|reset)"
    r"|failed with error code (?:429|50[234])|(?:429|50[234]) \w+ Error"
)

P = ParamSpec("P")
S = TypeVar("S", bound="Answering")
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


class Answering(Protocol):
    """Object that speaks to a store: its address, how long it waits for the store in use, and who is told."""

    uri: str
    wait: float
    watch: Watch


def report_store_errors(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Decorate a method so that a store that fails in use (full, gone, refusing) raises InputError with one line.

    A store that does not answer is waited for, which is said; then the whole method is carried out again. It must
    leave one copy of what it writes, however often it begins.
    """

    @functools.wraps(method)
    def checked(self: S, *args: P.args, **kwargs: P.kwargs) -> T:
        from mlflow.exceptions import MlflowException

        until: float | None = None
        while True:
            try:
                with _said_if_silent(self):
                    done = method(self, *args, **kwargs)
            except (MlflowException, OSError) as error:
                if not _is_gone(self.uri, error):
                    raise store_error(self.uri, error) from error
                if until is None:
                    until = time.monotonic() + self.wait
                    self.watch.warn(
                        f"MLflow store {without_password(self.uri)} does not answer: waiting for it, {self.wait:.0f} s at most"
                    )
                if time.monotonic() + TICK > until:
                    raise WorkEnds(
                        f"MLflow store {without_password(self.uri)} has not answered for {self.wait:.0f} s; what is done "
                        "is kept: start the store, and run the same command again to go on"
                    ) from error
            else:
                if until is not None:
                    self.watch.warn(f"MLflow store {without_password(self.uri)} answers again")
                return done
            time.sleep(TICK)

    return checked


@contextmanager
def _said_if_silent(store: Answering) -> Iterator[None]:
    """Say that a store that others keep has not answered, once that has lasted."""
    if sqlite_file(store.uri) is not None:
        yield
        return
    said = threading.Timer(
        SECONDS_OF_SILENCE,
        store.watch.warn,
        [f"MLflow store {without_password(store.uri)} takes more than {SECONDS_OF_SILENCE:.0f} s to answer"],
    )
    said.daemon = True
    said.start()
    try:
        yield
    finally:
        said.cancel()


def _is_gone(uri: str, error: Exception) -> bool:
    """Return whether a failure of a store means that it does not answer, rather than that it refuses or is full."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import ConnectionError as NoConnection
    from requests.exceptions import Timeout

    if no_room(error):
        return False
    if sqlite_file(uri) is not None:
        return "database is locked" in str(error)
    if isinstance(error, MlflowException):  # its words for a request without an answer, whatever the cause
        return error.error_code == "TEMPORARILY_UNAVAILABLE" or bool(NO_ANSWER.search(str(error)))
    return isinstance(error, (NoConnection, Timeout, ConnectionError, TimeoutError)) or bool(
        NO_ANSWER.search(str(error))
    )


def open_client(uri: str) -> MlflowClient:
    """Open MLflow's client of a store, with its usage reports, progress bars and log lines switched off."""
    os.environ.update({name: QUIET[name] for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK")})
    os.environ.update({name: os.environ.get(name, value) for name, value in REQUESTS.items()})
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # a server's runs would stand before our JSON
    os.environ["MLFLOW_UV_AUTO_DETECT"] = "false"  # else a lock file in the working directory goes into each model
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic", "sqlalchemy"):  # they log an error with its traceback before they raise it
        logging.getLogger(name).setLevel(logging.CRITICAL)
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
    if why := no_room(error):
        place = getattr(error, "filename2", None) or getattr(error, "filename", None)
        at = f" at {place}" if place else ""
        return WorkEnds(f"MLflow store {without_password(uri)} cannot be written: {why}{at}; {GO_ON}")
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
