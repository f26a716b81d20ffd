"""Reads an MLflow store and changes nothing in it: training runs, registered models, the moves of their aliases."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snpimpute.base.errors import InputError
from snpimpute.tracking.connect import SECONDS_TO_ANSWER, open_client, require_store, sqlite_file, unreachable
from snpimpute.tracking.runs import DECIDES, KEY_TAG, Move, TrainingRun, moves_in, training_run, utc

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import RegisteredModel

PAGE = 1000  # runs, or versions, that a store is asked for at once


class EmptyStoreError(InputError):
    """There is no store yet, or nothing is in it."""


@dataclass(frozen=True)
class Version:
    """A version of a registered model, whether or not its training run is still there.

    Attributes:
        number: in the registry.
        imputer, variant, dataset_digest, run_id: of the training run that made it; empty where the version does not say.
        created: UTC.
        score: macro-F1 on the validation masks, which decides about the aliases; NaN where the version does not say.
        aliases: those that are at this version now.
    """

    number: int
    imputer: str
    variant: str
    dataset_digest: str
    run_id: str
    created: datetime
    score: float
    aliases: tuple[str, ...]

    @property
    def label(self) -> str:
        return f"{self.imputer}/{self.variant}" if self.imputer else "not trained here"


@dataclass(frozen=True)
class Registered:
    """A registered model: its name, its versions and the noted moves of its aliases, both oldest first."""

    name: str
    versions: list[Version]
    moves: list[Move]


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
        require_store(uri, _require_tables, _require_tables_of_server)  # MLflow itself would make one
        try:
            self.client = open_client(read_only(uri))
        except Exception as error:  # whatever a driver or a server may raise
            raise unreachable(uri, error) from None

    def training_runs(self) -> list[TrainingRun]:
        """The complete training runs of all datasets, newest first; runs that were deleted are not among them."""
        return [training_run(run) for run in self._search("/train", "attributes.status = 'FINISHED'") if _is_whole(run)]

    def registered(self) -> list[Registered]:
        """The models that are registered under this package's names."""
        found = self._all(self.client.search_registered_models, filter_string="name LIKE 'snpimpute-%'")
        return [Registered(model.name, self._versions(model), moves_in(model.tags)) for model in found]

    def _versions(self, model: RegisteredModel) -> list[Version]:
        versions = []
        for version in self._all(self.client.search_model_versions, filter_string=f"name = '{model.name}'"):
            tags = version.tags
            score = float(tags.get(DECIDES, "nan"))
            versions.append(
                Version(
                    number=int(version.version),
                    imputer=tags.get("imputer", ""),
                    variant=tags.get("variant", ""),
                    dataset_digest=tags.get("dataset_digest", ""),
                    run_id=version.run_id or "",
                    created=utc(version.creation_timestamp),
                    score=score if math.isfinite(score) else math.nan,
                    aliases=tuple(sorted(a for a, at in model.aliases.items() if str(at) == str(version.version))),
                )
            )
        return sorted(versions, key=lambda version: version.number)

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


def _is_whole(run: Run) -> bool:
    """Whether a training run says enough to be one of this package."""
    return {"imputer", "variant", "dataset", "dataset_digest", KEY_TAG} <= set(run.data.tags)


def read_only(uri: str) -> str:
    """The URI by which an SQLite store is opened so that nothing can be written; that of any other store as it is.

    It names the driver, because of a plain `sqlite:///file:` MLflow makes a folder, and the file's inode, which SQLite
    ignores: MLflow keeps connections by URI, and a file that was removed and made again needs new ones.
    """
    database = sqlite_file(uri)
    if database is None:
        return uri
    return f"sqlite+pysqlite:///{database.as_uri()}?mode=ro&uri=true&inode={database.stat().st_ino}"


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
