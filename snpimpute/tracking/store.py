"""Writer of experiments and runs to one MLflow store; it finds existing runs by their keys."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
from filelock import FileLock

from snpimpute.base.errors import InputError
from snpimpute.base.progress import Watch
from snpimpute.tracking.connect import (
    ARTIFACTS,
    DATABASE,
    ROOT_TAG,
    WAIT,
    follow_moved_artifacts,
    open_client,
    report_store_errors,
    require_store,
    store_error,
)
from snpimpute.tracking.curves import (
    Point,
)
from snpimpute.tracking.database import make_store, require_writable_database, sqlite_file
from snpimpute.tracking.models import safe_name
from snpimpute.tracking.runs import (
    KEY_TAG,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

KIND_TAG, KIND = "mlflow.experimentKind", "custom_model_development"  # MLflow lists such experiments by their runs
# Without it, a page opened by its address shows traces of language models.
WORKFLOW = "workflowType=machine_learning"


class StoreWriter:
    """Writer of experiments and runs to one MLflow store.

    Writing the same thing twice leaves one copy: runs are found again by a tag. Several processes may write to one store.

    Args:
        uri: a database URL or the address of an MLflow server.
        runs: folder of the experiment's results; artifacts go to its `mlartifacts` unless a server decides.
        watch: receives the notice that a store that was reached does not answer any more.
        wait: seconds to wait for it.

    Raises:
        InputError: the store cannot be reached or written.
    """

    def __init__(self, uri: str, runs: Path, watch: Watch | None = None, wait: float = WAIT) -> None:
        self.uri = uri
        self.runs = runs.absolute()
        self.watch = watch or Watch()
        self.wait = wait
        self._told_of: set[str] = set()  # registered models whose champion was said to stay
        try:
            self.runs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make the folder {self.runs}: {error.strerror}") from None
        require_store(uri, require_writable_database)
        with self._lock():
            try:
                if (database := sqlite_file(uri)) is not None:
                    make_store(database, _make_without_syncs)
                    if database == self.runs / DATABASE:
                        follow_moved_artifacts(self.runs)
                self.client = _first_opened(uri)
            except InputError:
                raise
            except Exception as error:  # whatever a driver or a server may raise
                raise store_error(uri, error) from None

    @property
    def ui(self) -> str:
        """Address of the store's MLflow UI: that of the server, or the default address of `mlflow ui`."""
        return f"{self.uri.rstrip('/')}/" if self.uri.startswith("http") else "http://127.0.0.1:5000/"

    @report_store_errors
    def run_link(self, run_id: str) -> str:
        """Return the address of a run's page in the MLflow UI."""
        return f"{self.ui}#/experiments/{self.client.get_run(run_id).info.experiment_id}/runs/{run_id}?{WORKFLOW}"

    @report_store_errors
    def comparison_link(self, dataset: str, run_ids: Sequence[str]) -> str:
        """Return the address of the page that compares training runs in the MLflow UI."""
        experiment = self._experiment(f"snpimpute/{safe_name(dataset)}/train")
        return f"{self.ui}#/compare-runs?runs={_url_list(run_ids)}&experiments={_url_list([experiment])}&{WORKFLOW}"

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the store's lock.

        Two processes that create a database, an experiment or a run, or that move an alias, would race.
        """
        database = sqlite_file(self.uri)
        path = self.runs / ".mlflow.lock" if database is None else database.with_name(f".{database.name}.lock")
        with FileLock(path):
            yield

    def _experiment(self, name: str) -> str:
        """Return the id of the experiment of that name; create it if it is not there."""
        from mlflow.exceptions import MlflowException

        if (found := self.client.get_experiment_by_name(name)) is not None:
            if KIND_TAG not in found.tags:  # made by an earlier version
                self.client.set_experiment_tag(found.experiment_id, KIND_TAG, KIND)
            return found.experiment_id
        root = self.runs / ARTIFACTS
        by_server = self.uri.startswith("http")
        try:
            return self.client.create_experiment(
                name,
                artifact_location=None if by_server else (root / name.removeprefix("snpimpute/")).as_uri(),
                tags={KIND_TAG: KIND} if by_server else {KIND_TAG: KIND, ROOT_TAG: root.as_uri()},
            )
        except MlflowException as error:
            found = self.client.get_experiment_by_name(name)  # another process may have made it meanwhile
            if found is None:
                raise error
            return found.experiment_id

    def _run(self, experiment: str, key: str, name: str, tags: Mapping[str, str], seconds_ago: float = 0.0) -> Run:
        """Return the run with that key; create it if it is not there."""
        with self._lock():
            experiment_id = self._experiment(experiment)
            found = self.client.search_runs([experiment_id], f"tags.`{KEY_TAG}` = '{key}'", max_results=1)
            if found:
                return found[0]
            return self.client.create_run(
                experiment_id,
                start_time=round((time.time() - seconds_ago) * 1000),
                tags={**tags, KEY_TAG: key, "mlflow.source.name": "snpimpute"},
                run_name=name,
            )

    def _log(
        self,
        run: Run,
        *,
        params: Mapping[str, Any] | None = None,
        points: Iterable[Point] = (),
        tags: Mapping[str, str] | None = None,
        again: bool = False,
    ) -> None:
        """Write parameters, points and tags to a run, in batches that MLflow accepts.

        A point has the start time of the run, so that a point written twice is kept once. With `again` it has the
        present time and replaces an earlier value of the same key and step.
        """
        from mlflow.entities import Metric, Param, RunTag

        stamp = round(time.time() * 1000) if again else run.info.start_time
        metrics = [Metric(key, value, stamp, step) for key, value, step in points if np.isfinite(value)]
        new_params = [Param(k, str(v)) for k, v in (params or {}).items() if k not in run.data.params]
        new_tags = [RunTag(k, str(v)) for k, v in (tags or {}).items()]
        for start in range(0, max(len(metrics), len(new_params), len(new_tags)), 100):
            piece = slice(start, start + 100)
            self.client.log_batch(run.info.run_id, metrics[piece], new_params[piece], new_tags[piece])

    def _log_artifacts(self, run_id: str, paths: Sequence[Path]) -> None:
        for path in paths:
            if path.is_dir():
                self.client.log_artifacts(run_id, str(path), path.name)
            else:
                self.client.log_artifact(run_id, str(path))


def _first_opened(uri: str) -> MlflowClient:
    """Open a store, in which MLflow makes its tables and its first experiment if they are not there."""
    client = open_client(uri)
    client.search_experiments(max_results=1)
    return client


def _make_without_syncs(database: Path) -> None:
    """Make the SQLite file of a store; it is written to the disk once, not after each of MLflow's migrations (seconds)."""
    from sqlalchemy import Engine, event

    def spare_syncs(connection: Any, _: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            file = connection.execute("PRAGMA database_list").fetchone()[2]
            if file == str(database):
                connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", spare_syncs)
    try:
        _first_opened(f"sqlite:///{database}")
    finally:
        event.remove(Engine, "connect", spare_syncs)
    with database.open("rb") as file:
        os.fsync(file.fileno())


def _url_list(values: Sequence[str]) -> str:
    """Return a list as part of a URL."""
    return quote(json.dumps(list(values), separators=(",", ":")))
