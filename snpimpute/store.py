"""Reads an MLflow store and changes nothing in it: training runs, registered models, how their aliases moved."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from snpimpute.errors import InputError
from snpimpute.runtime import QUIET
from snpimpute.tracking import (
    CHAMPION,
    DATABASE_PORTS,
    DECIDES,
    KEY_TAG,
    SECONDS_TO_ANSWER,
    ask_server,
    connect_to_database,
    sqlite_file,
    takes_over,
    unreachable,
)

if TYPE_CHECKING:
    from mlflow.entities import Run

PAGE = 1000  # runs, or versions, that a store is asked for at once


class EmptyStoreError(InputError):
    """There is no store yet, or nothing is in it."""


@dataclass(frozen=True)
class TrainingRun:
    """What the training run of an imputer says.

    Attributes:
        run_id, experiment_id: in MLflow.
        imputer, variant: the row of the report.
        dataset, dataset_digest: the prepared dataset that it was fitted on.
        started: UTC.
        revision: of the code that fitted it; empty if it was not known.
        key_tag: equal to `tracking.training_tag` of the name of the model's folder.
        params, metrics, tags: of the run; of a curve the value at its last level.
    """

    run_id: str
    experiment_id: str
    imputer: str
    variant: str
    dataset: str
    dataset_digest: str
    started: datetime
    revision: str
    key_tag: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    @property
    def label(self) -> str:
        return f"{self.imputer}/{self.variant}"


@dataclass(frozen=True)
class Version:
    """A version of a registered model.

    Attributes:
        name, number: in the registry.
        imputer, variant, dataset_digest, run_id: of the training run that made it; empty where the version does not say.
        created: UTC.
        score: macro-F1 on the validation masks, which decides about the aliases; NaN where the version does not say.
        aliases: those that are at this version now.
        tags: as they are.
    """

    name: str
    number: int
    imputer: str
    variant: str
    dataset_digest: str
    run_id: str
    created: datetime
    score: float
    aliases: tuple[str, ...]
    tags: Mapping[str, str]

    @property
    def label(self) -> str:
        return f"{self.imputer}/{self.variant}" if self.imputer else "not trained here"


@dataclass(frozen=True)
class Promotion:
    """An alias that moved to a version: from another one, or from nowhere (None)."""

    alias: str
    version: Version
    before: Version | None

    @property
    def reason(self) -> str:
        if self.before is None:
            return "the first"
        if self.before.dataset_digest != self.version.dataset_digest:
            return "the first on this prepared dataset"
        return f"validation macro-F1 higher by {self.version.score - self.before.score:.4f}"


class Store:
    """An MLflow store to read from.

    Args:
        uri: a database URL or the address of an MLflow server.

    Raises:
        EmptyStoreError: there is no store at that place yet; none is made.
        InputError: the store cannot be reached or read.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        os.environ.update({name: QUIET[name] for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK")})
        _require_store(uri)
        try:
            from mlflow import MlflowClient

            logging.getLogger("mlflow").setLevel(logging.WARNING)
            logging.getLogger("alembic").setLevel(logging.WARNING)
            opened = read_only(uri)
            self.client = MlflowClient(opened, opened)
        except Exception as error:  # whatever a driver or a server may raise
            raise unreachable(uri, error) from None

    def training_runs(self) -> list[TrainingRun]:
        """The complete training runs of all datasets, newest first; runs that were deleted are not among them."""
        return [found for run in self._search("/train", "attributes.status = 'FINISHED'") if (found := _training(run))]

    def experiments(self) -> list[str]:
        """Names of the experiments that an experiment of this package made."""
        return [
            found.name for found in self._ask(self.client.search_experiments, filter_string="name LIKE 'snpimpute/%'")
        ]

    def versions(self) -> list[Version]:
        """Every version of the models that are registered under this package's names, oldest first."""
        aliases: dict[tuple[str, str], list[str]] = {}
        names = []
        for model in self._ask(self.client.search_registered_models, filter_string="name LIKE 'snpimpute-%'"):
            names.append(model.name)
            for alias, number in model.aliases.items():
                aliases.setdefault((model.name, str(number)), []).append(alias)
        found = []
        for name in names:
            for version in self._all(self.client.search_model_versions, filter_string=f"name = '{name}'"):
                tags = dict(version.tags)
                found.append(
                    Version(
                        name=name,
                        number=int(version.version),
                        imputer=tags.get("imputer", ""),
                        variant=tags.get("variant", ""),
                        dataset_digest=tags.get("dataset_digest", ""),
                        run_id=version.run_id or "",
                        created=_utc(version.creation_timestamp),
                        score=float(tags.get(DECIDES, "nan")),
                        aliases=tuple(sorted(aliases.get((name, str(version.version)), []))),
                        tags=tags,
                    )
                )
        return sorted(found, key=lambda version: (version.name, version.number))

    def _search(self, ending: str, query: str) -> list[Run]:
        experiments = self._ask(self.client.search_experiments, filter_string=f"name LIKE 'snpimpute/%{ending}'")
        ids = [experiment.experiment_id for experiment in experiments]
        if not ids:
            return []
        return self._all(self.client.search_runs, experiment_ids=ids, filter_string=query)

    def _all(self, ask: Any, **question: Any) -> list[Any]:
        """All pages of an answer."""
        found, token = [], None
        while True:
            page = self._ask(ask, **question, max_results=PAGE, page_token=token)
            found += page
            token = page.token
            if not token:
                return found

    def _ask(self, ask: Any, **question: Any) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return ask(**question)
        except (MlflowException, OSError) as error:
            raise unreachable(self.uri, error) from error


def promotions(versions: Sequence[Version]) -> list[Promotion]:
    """How the aliases of one registered model moved, oldest first.

    MLflow keeps only where an alias is now; this follows the rule by which `tracking.Tracker` moves them. Versions that
    it did not register are passed over.

    Args:
        versions: of one registered model, oldest first.
    """
    moves: list[Promotion] = []
    present: dict[str, Version] = {}
    for version in versions:
        if not (version.imputer and version.dataset_digest):
            continue
        for alias in (version.imputer, CHAMPION):
            before = present.get(alias)
            if takes_over(before.tags if before else {}, version.tags):
                moves.append(Promotion(alias, version, before))
                present[alias] = version
    return moves


def _training(run: Run) -> TrainingRun | None:
    """A training run; None if it says too little to be one of this package."""
    tags = run.data.tags
    if not {"imputer", "variant", "dataset", "dataset_digest"} <= set(tags):
        return None
    return TrainingRun(
        run_id=run.info.run_id,
        experiment_id=run.info.experiment_id,
        imputer=tags["imputer"],
        variant=tags["variant"],
        dataset=tags["dataset"],
        dataset_digest=tags["dataset_digest"],
        started=_utc(run.info.start_time),
        revision=tags.get("revision", ""),
        key_tag=tags.get(KEY_TAG, ""),
        params=run.data.params,
        metrics=run.data.metrics,
        tags=tags,
    )


def read_only(uri: str) -> str:
    """The URI by which an SQLite store is opened so that nothing can be written; that of any other store as it is.

    It names the driver, because of a plain `sqlite:///file:` MLflow makes a folder, and the file's inode, which SQLite
    ignores: MLflow keeps connections by URI, and a file that was removed and made again needs new ones.
    """
    database = sqlite_file(uri)
    if database is None:
        return uri
    return f"sqlite+pysqlite:///{database.as_uri()}?mode=ro&uri=true&inode={database.stat().st_ino}"


def _utc(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _require_store(uri: str) -> None:
    """Raise unless there is a store that answers within seconds: MLflow itself would make one, or try for an hour."""
    scheme = urlsplit(uri).scheme
    try:
        if scheme in ("http", "https"):
            ask_server(uri)
        elif (database := sqlite_file(uri)) is not None:
            _require_tables(database)
        elif (dialect := scheme.split("+")[0]) in DATABASE_PORTS:
            connect_to_database(uri, DATABASE_PORTS[dialect])
            _require_tables_of_server(uri)
        else:
            raise InputError(
                f"MLflow store {uri!r}: give a database URL such as sqlite:////folder/mlflow.db, or a server's address"
            )
    except InputError:
        raise
    except Exception as error:  # whatever a driver may raise
        raise unreachable(uri, error) from None


def _require_tables(database: Path) -> None:
    if not database.exists():
        raise EmptyStoreError(f"there is no MLflow store {database} yet")
    place = f"{database.as_uri()}?mode=ro"
    with closing(sqlite3.connect(place, timeout=SECONDS_TO_ANSWER, uri=True)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
            raise EmptyStoreError(f"the MLflow store {database} is empty")


def _require_tables_of_server(uri: str) -> None:
    from sqlalchemy import create_engine, inspect

    engine = create_engine(uri)
    try:
        if not inspect(engine).has_table("experiments"):
            raise EmptyStoreError("the database is reached, but there is no MLflow store in it yet")
    finally:
        engine.dispose()
