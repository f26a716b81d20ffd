"""Read-only access to an MLflow store: training runs, registered models, moves of their aliases."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snpimpute.base.errors import InputError
from snpimpute.tracking.connect import open_client, require_store, store_error
from snpimpute.tracking.database import sqlite_file, state_of
from snpimpute.tracking.runs import (
    DECIDING_METRIC,
    KEY_TAG,
    PREDICTOR_TAG,
    TRAIT_TAG,
    Comparison,
    Move,
    PredictorRun,
    TrainingRun,
    TraitModel,
    TraitVersion,
    moves_in,
    predictor_run,
    training_run,
    utc,
)

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import RegisteredModel

FINISHED = "attributes.status = 'FINISHED'"
PARENT, NOTE = "mlflow.parentRunId", "mlflow.note.content"  # tags of MLflow's own
PAGE = 1000  # runs or versions per request to a store


class EmptyStoreError(InputError):
    """Error for a store that does not exist yet, or that is empty."""


@dataclass(frozen=True)
class Version:
    """A version of a registered model; its training run may have been deleted.

    Attributes:
        number: version number in the registry.
        imputer, variant, dataset_digest, run_id: of the training run that made it; empty if the version has no such tag.
        created: time of creation, UTC.
        score: macro-F1 on the validation masks, which decides about the aliases; NaN if the version has no such tag.
        aliases: aliases that point to this version now.
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
        """`imputer/variant`, or a note that the version was not trained here."""
        return f"{self.imputer}/{self.variant}" if self.imputer else "not trained here"


@dataclass(frozen=True)
class Registered:
    """A registered model: its name, its versions and the recorded moves of its aliases, both oldest first."""

    name: str
    versions: list[Version]
    moves: list[Move]


class Store:
    """An MLflow store to read from.

    Args:
        uri: a database URL or the address of an MLflow server.

    Raises:
        EmptyStoreError: there is no store at that address yet; none is created.
        InputError: the store cannot be reached or read.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        require_store(uri, _require_tables, _require_tables_of_server)  # MLflow itself would create a store
        try:
            self.client = open_client(read_only(uri))
        except Exception as error:  # whatever a driver or a server may raise
            raise store_error(uri, error) from None

    def training_runs(self) -> list[TrainingRun]:
        """Return the complete training runs of all datasets, newest first, without deleted runs."""
        return [training_run(run) for run in self._search("snpimpute/%/train", FINISHED) if _has_tags(run)]

    def registered(self) -> list[Registered]:
        """Return the models that are registered under this package's names; those of traits have no versions here."""
        found = self._all_pages(self.client.search_registered_models, filter_string="name LIKE 'snpimpute-%'")
        return [Registered(model.name, self._versions(model), moves_in(model.tags)) for model in found]

    def trait_models(self) -> list[TraitModel]:
        """Return the registered models of traits."""
        runs = {run.info.run_id: run for run in self._search("snpimpute/traits/%", FINISHED)}
        found = []
        for model in self._all_pages(
            self.client.search_registered_models, filter_string="name LIKE 'snpimpute-%-trait'"
        ):
            versions = []
            trait = ""
            for version in self._all_pages(self.client.search_model_versions, filter_string=f"name = '{model.name}'"):
                if not {TRAIT_TAG, PREDICTOR_TAG} <= set(version.tags):
                    continue
                trait = version.tags[TRAIT_TAG]
                run = runs.get(version.run_id)
                aliases = _aliases_at(model, version.version)
                made = None if run is None else predictor_run(run)
                created = utc(version.creation_timestamp)
                versions.append(TraitVersion(int(version.version), version.tags[PREDICTOR_TAG], created, aliases, made))
            if versions:
                versions.sort(key=lambda version: version.number)
                found.append(TraitModel(model.name, trait, versions, moves_in(model.tags)))
        return found

    def comparisons(self) -> list[Comparison]:
        """Return the complete comparisons of predictors of all traits, newest first."""
        runs = self._search("snpimpute/traits/%/compare", FINISHED)
        below: dict[str, dict[str, PredictorRun]] = {}
        for run in runs:
            if {PREDICTOR_TAG, PARENT} <= set(run.data.tags):
                mine = predictor_run(run)
                below.setdefault(run.data.tags[PARENT], {})[mine.predictor] = mine
        return [
            Comparison(
                run.info.run_id,
                run.data.tags[TRAIT_TAG],
                utc(run.info.start_time),
                run.data.tags.get(NOTE, ""),
                run.data.tags,
                below[run.info.run_id],
            )
            for run in runs
            if run.info.run_id in below and TRAIT_TAG in run.data.tags
        ]

    def by_fold(self, run: PredictorRun, measure: str) -> list[float]:
        """Return the values of a measure of a predictor's run, a value per fold; NaN where it was not defined."""
        points = self._ask(self.client.get_metric_history, run_id=run.run_id, key=f"{measure}_by_fold")
        kept = {point.step: point.value for point in sorted(points, key=lambda point: point.timestamp)}
        n_folds = int(run.metrics.get("folds", max(kept, default=0)))
        return [kept.get(fold, math.nan) for fold in range(1, n_folds + 1)]

    def _versions(self, model: RegisteredModel) -> list[Version]:
        versions = []
        for version in self._all_pages(self.client.search_model_versions, filter_string=f"name = '{model.name}'"):
            tags = version.tags
            if TRAIT_TAG in tags:  # it imputes nothing, and has no macro-F1
                continue
            score = float(tags.get(DECIDING_METRIC, "nan"))
            versions.append(
                Version(
                    number=int(version.version),
                    imputer=tags.get("imputer", ""),
                    variant=tags.get("variant", ""),
                    dataset_digest=tags.get("dataset_digest", ""),
                    run_id=version.run_id or "",
                    created=utc(version.creation_timestamp),
                    score=score if math.isfinite(score) else math.nan,
                    aliases=_aliases_at(model, version.version),
                )
            )
        return sorted(versions, key=lambda version: version.number)

    def _search(self, experiments_like: str, query: str) -> list[Run]:
        experiments = self._ask(self.client.search_experiments, filter_string=f"name LIKE '{experiments_like}'")
        ids = [experiment.experiment_id for experiment in experiments]
        if not ids:
            return []
        return self._all_pages(self.client.search_runs, experiment_ids=ids, filter_string=query)

    def _all_pages(self, search: Any, **query: Any) -> list[Any]:
        """Return all pages of a search's result in one list."""
        found, token = [], None
        while True:
            page = self._ask(search, **query, max_results=PAGE, page_token=token)
            found += page
            token = page.token
            if not token:
                return found

    def _ask(self, search: Any, **query: Any) -> Any:
        """Send one request to the store; InputError if it fails."""
        from mlflow.exceptions import MlflowException

        try:
            return search(**query)
        except (MlflowException, OSError) as error:
            raise store_error(self.uri, error) from error


def _aliases_at(model: RegisteredModel, number: Any) -> tuple[str, ...]:
    """Return the aliases of a registered model that point to a version."""
    return tuple(sorted(alias for alias, at in model.aliases.items() if str(at) == str(number)))


def _has_tags(run: Run) -> bool:
    """Return whether a training run has the tags that this package writes."""
    return {"imputer", "variant", "dataset", "dataset_digest", KEY_TAG} <= set(run.data.tags)


def read_only(uri: str) -> str:
    """Return the URI that opens an SQLite store read-only; the URI of any other store is returned unchanged.

    The URI names the driver, because MLflow takes a plain `sqlite:///file:` for a folder and creates it. It also names
    the file's inode, which SQLite ignores: MLflow keeps connections by URI, and a file that was removed and created
    again needs new ones.
    """
    database = sqlite_file(uri)
    if database is None:
        return uri
    return f"sqlite+pysqlite:///{database.as_uri()}?mode=ro&uri=true&inode={database.stat().st_ino}"


def _require_tables(database: Path) -> None:
    if not database.exists():
        raise EmptyStoreError(f"there is no MLflow store {database} yet")
    state = state_of(database, "ro")
    if state != "made":
        raise EmptyStoreError(
            f"the MLflow store {database} is empty"
            if state == "absent"
            else f"the MLflow store {database} is half-made: the next run makes it anew"
        )


def _require_tables_of_server(uri: str) -> None:
    from sqlalchemy import create_engine, inspect

    engine = create_engine(uri)
    try:
        if not inspect(engine).has_table("experiments"):
            raise EmptyStoreError("the database is reached, but there is no MLflow store in it yet")
    finally:
        engine.dispose()
