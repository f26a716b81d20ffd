"""Runs, models and reports of an experiment, written from its files into an MLflow store."""

from __future__ import annotations

import ast
import fcntl
import functools
import getpass
import hashlib
import json
import logging
import os
import re
import shutil
import socket
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast
from urllib.parse import quote, urlsplit

import numpy as np
import pandas as pd

from snpimpute import imputers
from snpimpute.base.digests import digest
from snpimpute.base.errors import InputError
from snpimpute.base.programs import QUIET, written_beside

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

PACKAGE = Path(__file__).parents[1]
DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"
SECONDS_TO_ANSWER = 5.0
DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}

KEY_TAG = "snpimpute.key"  # what a run is found again by
SCORES_TAG = "snpimpute.scores"  # digest of the scores that a run holds
KIND_TAG, KIND = (
    "mlflow.experimentKind",
    "custom_model_development",
)  # else MLflow's pages open on language-model traces
ROOT_TAG = "snpimpute.artifacts"  # where an experiment's artifacts were when it was made, so that they can be moved
CHAMPION = "champion"
PANEL_VARIANT = "panel"  # of the versions that `snpimpute fit` makes
MOVE_TAG = "snpimpute.move."  # and a number: a move of an alias, on the registered model
CARD = "model-card.md"
DECIDES = "val_f1_macro"

SUBSETS = {"all": "", "rare": "rare_", "rare_minor": "rare_minor_"}  # subset of the score table → prefix of the key
HEADLINE_METRICS = ("f1_macro", "f1_micro", "f1_0", "f1_1", "f1_2", "dosage_r2")
HEADLINE_LEVEL = 60.0
STATUS = {
    "complete": "FINISHED",
    "pruned": "FINISHED",
    "failed": "FAILED",
    "stopped": "KILLED",
}  # of a trial → of its run

P = ParamSpec("P")
T = TypeVar("T")
Point = tuple[str, float, int]  # metric key, value, step


@dataclass(frozen=True)
class TrainingRun:
    """What the training run of an imputer says.

    Attributes:
        run_id, experiment_id: in MLflow.
        imputer, variant: the row of the report.
        dataset, dataset_digest: the prepared dataset that it was fitted on.
        started: UTC.
        revision: of the code that fitted it; empty if it was not known.
        key_tag: equal to `training_tag` of what was trained, the name of the model's folder.
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
class RegisteredModel(TrainingRun):
    """A version of a dataset's registered model, and what its training run says.

    Attributes:
        name, version: in the registry.
        place: URI of the model's files.
    """

    name: str
    version: str
    place: str

    @property
    def label(self) -> str:
        return f"{self.imputer}/{self.variant} (version {self.version})"


@dataclass(frozen=True)
class Move:
    """A move of an alias of a registered model, as it was noted when it happened.

    Attributes:
        alias: `champion`, or the name of an imputer.
        when: UTC.
        who: name of the user whose process moved it.
        before, to: versions; `before` is empty if the alias was nowhere.
        why: in a few words.
    """

    alias: str
    when: datetime
    who: str
    before: str
    to: str
    why: str


def tracking_uri(configured: str | None, runs: Path) -> str:
    """The store to write to: MLFLOW_TRACKING_URI, else `configured`, else the SQLite file in the folder `runs`.

    `mlflow run` sets the variable for what it starts even where nobody did; that is nobody's choice, and left aside.
    """
    chosen = os.environ.get("MLFLOW_TRACKING_URI")
    if chosen and _filled_in_by_mlflow_run(chosen):
        chosen = None
    return chosen or configured or f"sqlite:///{runs.absolute() / DATABASE}"


def _filled_in_by_mlflow_run(uri: str) -> bool:
    """Whether `uri` is MLflow's own default, set by the `mlflow run` above this process and not by anybody before it."""
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


def training_tag(key: str) -> str:
    """The tag by which the run of what was trained is found again."""
    return digest(["training", key])


def safe_name(name: str) -> str:
    """`name` with letters, digits, `._-` only, as experiments and the registry need it.

    Where that changes it, a short digest of the name is added, so that different names stay different.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80]
    return name if name and plain == name else f"{plain or 'dataset'}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def one_line(method: Callable[P, T]) -> Callable[P, T]:
    """Let a store that fails while it is written to (full, gone, refusing) be told in one line."""

    @functools.wraps(method)
    def told(*args: P.args, **kwargs: P.kwargs) -> T:
        from mlflow.exceptions import MlflowException

        try:
            return method(*args, **kwargs)
        except (MlflowException, OSError) as error:
            raise unreachable(cast(Tracker, args[0]).uri, error) from error

    return told


class Tracker:
    """Writes what an experiment's steps left in files to one MLflow store.

    Whatever is written twice is there once: runs are found again by a tag, so that an experiment that is taken up
    again goes on with its runs. Several processes may write to one store.

    Args:
        uri: of the store: a database URL or the address of an MLflow server.
        runs: folder of the experiment's results; artifacts go to its `mlartifacts` unless a server decides.

    Raises:
        InputError: the store cannot be reached or written.
    """

    def __init__(self, uri: str, runs: Path) -> None:
        os.environ.update({name: QUIET[name] for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK")})
        os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
        os.environ["MLFLOW_UV_AUTO_DETECT"] = "false"  # else a lock file in the working directory goes into each model
        self.uri = uri
        self.runs = runs.absolute()
        try:
            self.runs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make the folder {self.runs}: {error.strerror}") from None
        _require_reachable(uri)

        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        with self._lock():
            if sqlite_file(uri) == self.runs / DATABASE:
                _follow_moved_artifacts(self.runs)
            try:
                self.client = MlflowClient(uri, uri)
                self.client.search_experiments(max_results=1)
            except Exception as error:  # whatever a driver or a server may raise
                raise unreachable(uri, error) from None

    # ------------------------------------------------------------------ studies

    @one_line
    def log_trial(self, *, dataset: str, study: str, imputer: str, variant: str, record: Mapping[str, Any]) -> None:
        """Write one trial of a study: a run below the study's run, one per trial number however often this is called.

        Args:
            dataset: its name.
            study: name of the study.
            imputer, variant: what is studied.
            record: `number`, `state` ("complete", "pruned", "failed", "stopped"; any other: not ended), `score` (or
                None), `params`, `intermediate` (step → validation macro-F1), `attributes`, `seconds`, `reason`.
        """
        parent = self._study(dataset, study, imputer, variant)
        number, state, seconds = record["number"], str(record["state"]), record.get("seconds") or 0.0
        run = self._run(
            f"snpimpute/{safe_name(dataset)}/tune",
            digest(["trial", study, number]),
            f"trial {number}",
            {"mlflow.parentRunId": parent.info.run_id, "imputer": imputer, "variant": variant, "study": study},
            seconds_ago=seconds,
        )
        if run.info.status in STATUS.values():
            return
        numbers, texts = _numbers_and_texts(record.get("attributes") or {})
        points: list[Point] = [(DECIDES, float(v), int(s)) for s, v in (record.get("intermediate") or {}).items()]
        points += [(key, value, 0) for key, value in {**numbers, "seconds": seconds}.items()]
        if record.get("score") is not None:
            points.append(("score", float(record["score"]), 0))
        if record.get("reason"):
            texts["reason"] = str(record["reason"])
        self._log(run, params={**record["params"], "trial": number}, points=points, tags={**texts, "state": state})
        if state in STATUS:
            end = run.info.start_time + round(seconds * 1000)
            self.client.set_terminated(run.info.run_id, STATUS[state], end_time=end)

    @one_line
    def finish_study(
        self, *, dataset: str, study: str, best: Mapping[str, Any], n_trials: int, ended_by: str, n_counted: int
    ) -> str:
        """Write a study's outcome to its run and return the run's id.

        The best parameters are tags (`best.NAME`) and an artifact, because a study that goes on may find better ones
        and parameters of a run never change.

        Args:
            dataset, study: as in `log_trial`.
            best: the best trial: `number`, `score`, `params`.
            n_trials: trials in all.
            ended_by: "trials", "time" or whatever else ended it.
            n_counted: trials that were complete or pruned.
        """
        run = self._study(dataset, study)
        self._log(
            run,
            points=[("n_trials", n_trials, n_trials), ("n_counted", n_counted, n_trials)]
            + ([("score", float(best["score"]), n_trials)] if best.get("score") is not None else []),
            tags={
                "ended_by": ended_by,
                "best_trial": str(best.get("number", "")),
                **{f"best.{name}": str(value) for name, value in best.get("params", {}).items()},
            },
        )
        text = json.dumps(dict(best), indent=1, default=str)
        self.client.log_text(run.info.run_id, text, "best.json")
        self.client.set_terminated(run.info.run_id, "FINISHED")
        return run.info.run_id

    def _study(self, dataset: str, study: str, imputer: str = "", variant: str = "") -> Run:
        name = f"{imputer} {variant}" if imputer else study
        tags = {"study": study, "imputer": imputer, "variant": variant}
        return self._run(f"snpimpute/{safe_name(dataset)}/tune", digest(["study", study]), name, tags)

    # ------------------------------------------------------------------ trained imputers

    @one_line
    def log_training(
        self,
        *,
        key: str,
        dataset: str,
        dataset_folder: Path,
        dataset_digest: str,
        imputer: str,
        variant: str,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        artifacts: Sequence[Path],
        model_folder: Path,
        example_target: pd.DataFrame,
        champion_moves: bool = True,
    ) -> str:
        """Write a trained imputer as a run, register it as a version of `snpimpute-<dataset>`, and return the run's id.

        The alias of the imputer's name and `champion` move to this version if its `val_f1_macro` is higher than that
        of the version they are at. Only scores on the same prepared dataset compare: a version of another digest gives
        way to the first one of this digest. Moves are noted (`moves`).

        Args:
            key: what was trained; the same key again finds the same run, and does nothing if that is complete.
            dataset, dataset_folder, dataset_digest: the prepared dataset.
            imputer, variant: the row of the report.
            params, metrics, tags: of the run; `val_f1_macro` among the metrics decides about the aliases.
            artifacts: files and folders to keep with the run.
            model_folder: what `Imputer.save` wrote.
            example_target: a few samples as the model takes them (see serving.py): a row per sample, an integer column
                per site (`contig:pos:ref:alt`), -1 = missing.
            champion_moves: whether `champion` may move here; if not, it is set where there is none, and moved by
                `move_champion` alone.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        run = self._run(
            f"snpimpute/{safe_name(dataset)}/train",
            training_tag(key),
            f"{imputer} {variant}",
            {"imputer": imputer, "variant": variant, "dataset": dataset, "dataset_digest": dataset_digest},
        )
        run_id = run.info.run_id
        if run.info.status == "FINISHED":
            return run_id
        self._log(run, params=params, points=[(name, value, 0) for name, value in metrics.items()], tags=tags)
        source = json.dumps({"uri": str(dataset_folder)})
        data = Dataset(safe_name(dataset), dataset_digest[:36], "local", source)  # longer digests are refused
        self.client.log_inputs(run_id, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])
        self._log_artifacts(run_id, artifacts)
        version_tags = {
            "imputer": imputer,
            "variant": variant,
            "run_id": run_id,
            "dataset_digest": dataset_digest,
            DECIDES: repr(float(metrics.get(DECIDES, -np.inf))),
        }
        n_sites = example_target.shape[1]
        card = model_card(dataset, dataset_digest, imputer, variant, n_sites, params, metrics)
        version = self._register(dataset, run, model_folder, example_target, version_tags, card)
        with self._lock():
            self._promote(imputer, version, version_tags)
            if champion_moves or not self._at_alias(version.name, CHAMPION):
                self._promote(CHAMPION, version, version_tags)
        self.client.set_terminated(run_id, "FINISHED")
        return run_id

    def _register(
        self, dataset: str, run: Run, model_folder: Path, example: pd.DataFrame, tags: dict[str, str], card: str
    ) -> ModelVersion:
        """Log the model of a run with its card and register it, unless a version of that run is there."""
        from mlflow.entities import LoggedModelOutput
        from mlflow.exceptions import MlflowException
        from mlflow.models import Model

        name = _registered_name(dataset)
        if there := self.client.search_model_versions(f"run_id = '{run.info.run_id}'"):
            return there[0]
        params = self.client.get_run(run.info.run_id).data.params
        logged = self.client.create_logged_model(
            run.info.experiment_id, "model", run.info.run_id, tags=tags, params=params, model_type="imputer"
        )
        description = Model(
            artifact_path=logged.artifact_location,
            run_id=run.info.run_id,
            model_uuid=logged.model_id,
            model_id=logged.model_id,
        )
        with tempfile.TemporaryDirectory() as folder:
            _save_model(Path(folder) / "model", description, model_folder, example)
            (Path(folder) / "model" / CARD).write_text(card)
            self.client.log_model_artifacts(logged.model_id, str(Path(folder) / "model"))
        self.client.finalize_logged_model(logged.model_id, "READY")
        self.client.log_outputs(run.info.run_id, [LoggedModelOutput(logged.model_id, step=0)])
        try:
            self.client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        # the place, not "models:/ID": the registry would look an id up in the store of the process, which may be another
        source = logged.artifact_location
        return self.client.create_model_version(
            name, source, run.info.run_id, tags, description=card, model_id=logged.model_id
        )

    def _promote(self, alias: str, version: ModelVersion, tags: Mapping[str, str]) -> None:
        """Move an alias to a version, unless the one it is at is as good on the same prepared dataset."""
        if why := reason_to_move(self._at_alias(version.name, alias), tags):
            self._move(version.name, alias, str(version.version), why)

    def _at_alias(self, name: str, alias: str) -> dict[str, str]:
        """Tags of the version that an alias is at; none if it is nowhere."""
        if alias not in self.client.get_registered_model(name).aliases:
            return {}
        return self.client.get_model_version_by_alias(name, alias).tags

    def _move(self, name: str, alias: str, version: str, why: str) -> None:
        """Move an alias, and note it with the registered model. Only to be called under the lock."""
        model = self.client.get_registered_model(name)
        move = {
            "alias": alias,
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "who": _user(),
            "from": str(model.aliases.get(alias, "")),
            "to": version,
            "why": why,
        }
        number = 1 + sum(key.startswith(MOVE_TAG) for key in model.tags)
        self.client.set_registered_model_tag(name, f"{MOVE_TAG}{number:04d}", json.dumps(move))
        self.client.set_registered_model_alias(name, alias, version)

    @one_line
    def registered_models(self, dataset: str) -> list[RegisteredModel]:
        """Every version of a dataset's registered model whose training is complete, oldest first.

        Versions that `log_training` did not write are passed over.
        """
        found = []
        for version in self.client.search_model_versions(f"name = '{_registered_name(dataset)}'"):
            if not (version.run_id and version.source and "dataset_digest" in version.tags):
                continue
            run = self.client.get_run(version.run_id)
            if run.info.status != "FINISHED":
                continue
            trained = training_run(run)
            found.append(
                RegisteredModel(**vars(trained), name=version.name, version=str(version.version), place=version.source)
            )
        return sorted(found, key=lambda model: int(model.version))

    @one_line
    def panel_models(self) -> list[RegisteredModel]:
        """Every registered version that `snpimpute fit` made, oldest first within its name."""
        names = [name.name.removeprefix("snpimpute-") for name in self.client.search_registered_models()]
        return [model for name in names for model in self.registered_models(name) if model.variant == PANEL_VARIANT]

    @one_line
    def aliases(self, name: str) -> dict[str, str]:
        """Alias → version of a registered model."""
        return {alias: str(version) for alias, version in self.client.get_registered_model(name).aliases.items()}

    @one_line
    def move_champion(self, name: str, version: str, why: str) -> None:
        """Move `champion` of a registered model to a version, and note who did it, when, from what and why."""
        with self._lock():
            self._move(name, CHAMPION, version, why)

    @one_line
    def moves(self, name: str) -> list[Move]:
        """The moves of a registered model's champion, oldest first."""
        noted = moves_in(self.client.get_registered_model(name).tags)
        return [move for move in noted if move.alias == CHAMPION]

    @one_line
    def fetch_model(self, model: RegisteredModel, folder: Path) -> None:
        """Write the saved imputer of a registered model to `folder`, as `Imputer.save` wrote it."""
        from mlflow.artifacts import download_artifacts
        from mlflow.models import Model

        with tempfile.TemporaryDirectory() as there, written_beside(folder) as beside:
            got = Path(download_artifacts(model.place, dst_path=there, tracking_uri=self.uri))
            saved = Model.load(str(got)).flavors["python_function"]["artifacts"]["imputer"]["path"]
            shutil.copytree(got / saved, beside)

    @one_line
    def log_scores(
        self,
        run_id: str,
        scores: pd.DataFrame,
        metrics: Mapping[str, float] | None = None,
        artifacts: Sequence[Path] = (),
    ) -> None:
        """Write the scores of a trained imputer to its run: curves over the levels, headline figures, pictures.

        A curve is a metric whose step is the percentage missing (per mille, and `_permille` in the key, where
        a mechanism has levels that are not whole percentages). The mechanism of the headline has plain keys, others
        their name as a prefix; rare sites have `rare_`. At the headline's level (that of the confusion matrix, else
        the nearest to 60) values stand without a step under keys such as `f1_macro_60`.

        Args:
            run_id: what `log_training` returned.
            scores: the tidy table; rows of other imputers or variants, of single masks, of differences and of calls by offsets
                are left out.
            metrics: what imputing cost.
            artifacts: files to keep with the run.
        """
        run = self.client.get_run(run_id)
        mine = scores[
            (scores["imputer"] == run.data.tags["imputer"])
            & (scores["variant"] == run.data.tags["variant"])
            & (scores["split"] == "test")
            & (scores["repeat"].astype(str) == "all")
            & (scores["versus"] == "")
            & (scores["decision"] == "argmax")
        ]
        content = hashlib.sha256(mine.to_csv(index=False).encode()).hexdigest()
        if mine.empty or run.data.tags.get(SCORES_TAG) == content:
            return
        mechanism, level = _headline(mine)
        cost = [(name, value, 0) for name, value in (metrics or {}).items()]
        self._log(run, points=_curves(mine, mechanism) + _headline_points(mine, mechanism, level) + cost, again=True)
        self._log_artifacts(run_id, artifacts)
        self.client.log_figure(run_id, _robustness_figure(mine), "figures/robustness.png")
        if (counts := _confusion_counts(mine)) is not None:
            self.client.log_figure(run_id, _confusion_figure(counts, level), "figures/confusion.png")
        self.client.set_tag(run_id, SCORES_TAG, content)

    # ------------------------------------------------------------------ comparisons

    @one_line
    def log_comparison(
        self,
        *,
        key: str,
        dataset_names: Sequence[str],
        report_folder: Path,
        table: pd.DataFrame,
        tags: Mapping[str, str],
    ) -> str:
        """Write a report as a run and return the run's id; the same key again renews it.

        Args:
            key: what was compared.
            dataset_names: the datasets of the report.
            report_folder: kept as the artifact folder `report`.
            table: the comparison table, kept as `comparison.csv`.
            tags: of the run.
        """
        experiment = f"snpimpute/{'+'.join(safe_name(name) for name in dataset_names)}/compare"
        run = self._run(experiment, digest(["comparison", key]), "comparison", {})
        self._log(run, tags={**tags, "datasets": ", ".join(dataset_names)})
        self.client.log_artifacts(run.info.run_id, str(report_folder), "report")
        self.client.log_text(run.info.run_id, table.to_csv(index=False), "comparison.csv")
        self.client.set_terminated(run.info.run_id, "FINISHED")
        return run.info.run_id

    @one_line
    def run_link(self, run_id: str) -> str:
        """The MLflow UI's page of a run, relative to the address of the UI."""
        return f"#/experiments/{self.client.get_run(run_id).info.experiment_id}/runs/{run_id}"

    def comparison_link(self, dataset: str, run_ids: Sequence[str]) -> str:
        """The MLflow UI's page that compares training runs, relative to the address of the UI."""
        experiment = self._experiment(f"snpimpute/{safe_name(dataset)}/train")
        return f"#/compare-runs?runs={_in_url(run_ids)}&experiments={_in_url([experiment])}"

    # ------------------------------------------------------------------ what all of them use

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Held by one process at a time: creating a database, an experiment or a run, and moving an alias, race."""
        database = sqlite_file(self.uri)
        path = self.runs / ".mlflow.lock" if database is None else database.with_name(f".{database.name}.lock")
        with path.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _experiment(self, name: str) -> str:
        """Id of the experiment of that name, made if it is not there."""
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
            found = self.client.get_experiment_by_name(name)  # made elsewhere since we looked
            if found is None:
                raise error
            return found.experiment_id

    def _run(self, experiment: str, key: str, name: str, tags: Mapping[str, str], seconds_ago: float = 0.0) -> Run:
        """The run with that key, made if it is not there."""
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
        """Write to a run, in pieces that MLflow takes.

        A point has the time at which the run started, so that the same point written twice is one; with `again` it has
        the present time, and replaces an earlier value of the same key and step.
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


def reason_to_move(present: Mapping[str, str], new: Mapping[str, str]) -> str:
    """Why an alias moves to a new version; empty if it stays, because the present one is as good on the same dataset.

    Args:
        present: tags of the version that the alias is at; empty if it is nowhere.
        new: tags of the new version.
    """
    if not present:
        return "the first"
    if present.get("dataset_digest") != new["dataset_digest"]:
        return "the first on this prepared dataset"
    before, after = float(present[DECIDES]), float(new[DECIDES])
    return f"validation macro-F1 {after:.4f}, before {before:.4f}" if after > before else ""


def moves_in(tags: Mapping[str, str]) -> list[Move]:
    """The moves that are noted in the tags of a registered model, oldest first."""
    noted = [json.loads(tags[key]) for key in sorted(tags) if key.startswith(MOVE_TAG)]
    return [
        Move(
            alias=move.get("alias", CHAMPION),  # which was once the only one whose moves were noted
            when=datetime.fromisoformat(move["when"]),
            who=move["who"],
            before=move["from"],
            to=move["to"],
            why=move["why"],
        )
        for move in noted
    ]


def training_run(run: Run) -> TrainingRun:
    """What a training run says; KeyError if it was not written by `Tracker.log_training`."""
    tags = run.data.tags
    return TrainingRun(
        run_id=run.info.run_id,
        experiment_id=run.info.experiment_id,
        imputer=tags["imputer"],
        variant=tags["variant"],
        dataset=tags["dataset"],
        dataset_digest=tags["dataset_digest"],
        started=utc(run.info.start_time),
        revision=tags.get("revision", ""),
        key_tag=tags[KEY_TAG],
        params=run.data.params,
        metrics=run.data.metrics,
        tags=tags,
    )


def utc(milliseconds: int) -> datetime:
    """A time as MLflow keeps it."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as containers have them
        return f"user {os.getuid()}"


# ---------------------------------------------------------------------- reaching the store


def _require_reachable(uri: str) -> None:
    """Raise InputError unless the store answers within seconds: MLflow itself would try for an hour."""
    scheme = urlsplit(uri).scheme
    try:
        if scheme in ("http", "https"):
            ask_server(uri)
        elif (database := sqlite_file(uri)) is not None:
            _try_to_write(database)
        elif (dialect := scheme.split("+")[0]) in DATABASE_PORTS:
            connect_to_database(uri, DATABASE_PORTS[dialect])
        else:
            raise InputError(
                f"MLflow store {uri!r}: give a database URL such as sqlite:////folder/mlflow.db, or a server's address"
            )
    except InputError:
        raise
    except Exception as error:  # whatever a driver may raise
        raise unreachable(uri, error) from None


def ask_server(uri: str) -> None:
    import requests

    # any answer will do: what the server thinks of us is found out by the first request to its API
    requests.get(f"{uri.rstrip('/')}/health", timeout=SECONDS_TO_ANSWER)


def sqlite_file(uri: str) -> Path | None:
    """The file of an SQLite store; None if the store is none, or has no file."""
    if not re.match(r"sqlite(\+\w+)?:///(?!:memory:).", uri):
        return None
    return Path(uri.split(":///", 1)[1]).absolute()


def _try_to_write(database: Path) -> None:
    with closing(sqlite3.connect(database, timeout=SECONDS_TO_ANSWER, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE writable (n)")
        connection.execute("ROLLBACK")


def connect_to_database(uri: str, port: int) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url

    url = make_url(uri)
    if url.host and not url.host.startswith("/"):
        socket.create_connection((url.host, url.port or port), timeout=SECONDS_TO_ANSWER).close()
    patience = {} if url.drivername.startswith("mssql") else {"connect_timeout": round(SECONDS_TO_ANSWER)}
    engine = create_engine(url, connect_args=patience)
    engine.connect().close()
    engine.dispose()


def unreachable(uri: str, error: Exception) -> InputError:
    shown = re.sub(r"//([^/@:]*):[^/@]*@", r"//\1:***@", uri)
    reason = " ".join(str(getattr(error, "reason", None) or error).split())[:200] or type(error).__name__
    return InputError(
        f"MLflow store {shown} cannot be used: {reason}; mend it, or set MLFLOW_TRACKING_URI or tracking_uri to another"
    )


def _follow_moved_artifacts(runs: Path) -> None:
    """Rewrite the places of artifacts in the folder's own database after the folder was moved: MLflow keeps them absolute."""
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


# ---------------------------------------------------------------------- the model


def _registered_name(dataset: str) -> str:
    return f"snpimpute-{safe_name(dataset)}"


def model_card(
    dataset: str,
    dataset_digest: str,
    imputer: str,
    variant: str,
    n_sites: int,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
) -> str:
    """What goes with a model wherever it goes, as Markdown: what it learned from, how good it is, and what it may give away.

    Args:
        dataset, dataset_digest: the prepared dataset.
        imputer, variant: the row of the report.
        n_sites: number of sites.
        params, metrics: as `Tracker.log_training` gets them; `mask`, `samples_fit` and `val_f1_macro` are shown.
    """
    cls = imputers.load(imputer)
    rows = {
        "imputer": f"{imputer}: {cls.description}",
        "variant": variant,
        "dataset": dataset,
        "digest of the dataset": dataset_digest,
        "learned from": f"{metrics['samples_fit']:.0f} samples" if "samples_fit" in metrics else "",
        "sites": n_sites,
        "hidden while it learned": f"{params['mask']} masks"
        if cls.learns_in_epochs and "mask" in params
        else "nothing",
        "validation macro-F1": f"{metrics[DECIDES]:.4f}" if DECIDES in metrics else "",
    }
    table = "".join(f"| {name} | {value} |\n" for name, value in rows.items())
    return (
        f"# {_registered_name(dataset)}: {imputer}/{variant}\n\n| | |\n| --- | --- |\n{table}\n"
        "**This model may contain the genotypes of the samples it learned from.** Softmax regression and whatever runs "
        "another program keep them, a network may memorise them. Treat it like the data: whoever may not have the "
        "genotypes may not have the model.\n"
    )


def _save_model(path: Path, description: Any, model_folder: Path, example: pd.DataFrame) -> None:
    """Write an MLflow model that holds a saved imputer and this package's code.

    Not `log_model`: that one loads the model in this process to try the example, and a framework with it.
    """
    from mlflow.models import ModelSignature
    from mlflow.pyfunc import save_model
    from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

    n_sites = example.shape[1]
    outputs = {
        "site": (np.dtype(str), (n_sites,)),
        "call": (np.dtype(np.int64), (-1, n_sites)),
        "dosage": (np.dtype(float), (-1, n_sites)),
        "posterior": (np.dtype(float), (-1, n_sites, 3)),
    }
    save_model(
        path,
        mlflow_model=description,
        python_model=str(PACKAGE / "impute" / "serving.py"),
        artifacts={"imputer": str(model_folder)},
        code_paths=[str(PACKAGE)],
        signature=ModelSignature(
            # any number of columns: the model itself says which sites it does not have
            Schema([TensorSpec(np.dtype(float), (-1, -1))]),
            Schema([TensorSpec(kind, shape, name) for name, (kind, shape) in outputs.items()]),
            ParamSchema([ParamSpec("sites", "string", [], shape=(-1,))]),
        ),
        input_example=(example.to_numpy(float), {"sites": list(example.columns)}),
        pip_requirements=_requirements(model_folder),
    )


def _requirements(model_folder: Path) -> list[str]:
    """Pins of the distributions that serving a saved imputer imports, found by reading its source and what that imports."""
    installed = metadata.packages_distributions()
    classes = {imputers.class_in(path.parent) for path in model_folder.rglob("imputer.json")}
    wanted = {cls.framework or "" for cls in classes}
    waiting = ["snpimpute.impute.serving", *(cls.__module__ for cls in classes)]
    read: set[str] = set()
    while waiting:
        module = waiting.pop()
        path = PACKAGE.parent / module.replace(".", "/")
        source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if module in read or not source.is_file():
            continue
        read.add(module)
        for imported in _imported(source):
            if imported.startswith("snpimpute"):
                waiting.append(imported)
            else:
                wanted.add(imported.split(".")[0])
    found = {name if name in installed[name] else installed[name][0] for name in wanted if name in installed}
    return sorted(f"{name}=={metadata.version(name).split('+')[0]}" for name in found)


def _imported(source: Path) -> Iterator[str]:
    """Names of the modules that a file imports anywhere (and, after `from`, of what might be modules)."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


# ---------------------------------------------------------------------- scores


def _headline(scores: pd.DataFrame) -> tuple[str, float]:
    """Mechanism and level of the confusion matrix; without one the first mechanism and its level nearest to 60."""
    confusion = scores[scores["metric"].str.startswith("confusion_")]
    if len(confusion):
        return confusion["mechanism"].iloc[0], float(confusion["level"].iloc[0])
    mechanism = scores["mechanism"].iloc[0]
    levels = scores.loc[scores["mechanism"] == mechanism, "level"].unique()
    return mechanism, float(min(levels, key=lambda level: abs(level - HEADLINE_LEVEL)))


def _curve_rows(scores: pd.DataFrame) -> pd.DataFrame:
    """Rows that make curves: scores, not counts, of the subsets that have keys."""
    counts = scores["metric"].str.match("wrong|truth_|confusion_")
    return scores[scores["subset"].isin(SUBSETS) & ~counts]


def _curves(scores: pd.DataFrame, primary: str) -> list[Point]:
    points: list[Point] = []
    for mechanism, rows in _curve_rows(scores).groupby("mechanism", sort=False):
        prefix = "" if mechanism == primary else f"{mechanism}_"
        whole = bool((rows["level"] % 1 == 0).all())
        scale, suffix = (1, "") if whole else (10, "_permille")
        keys = prefix + rows["subset"].map(SUBSETS) + rows["metric"] + suffix
        steps = (rows["level"] * scale).round().astype(int)
        points += list(zip(keys, rows["value"].astype(float), steps, strict=True))
    return points


def _headline_points(scores: pd.DataFrame, mechanism: str, level: float) -> list[Point]:
    rows = _curve_rows(scores)
    rows = rows[(rows["mechanism"] == mechanism) & (rows["level"] == level) & rows["metric"].isin(HEADLINE_METRICS)]
    keys = rows["subset"].map(SUBSETS) + rows["metric"] + f"_{level:g}"
    return [(key, float(value), 0) for key, value in zip(keys, rows["value"], strict=True)]


def _confusion_counts(scores: pd.DataFrame) -> np.ndarray | None:
    """(3, 3) calls by true genotype (row) and called genotype (column); None if the table has none."""
    rows = scores[scores["metric"].str.startswith("confusion_") & (scores["subset"] == "all")]
    if rows.empty:
        return None
    by_metric = rows.set_index("metric")["value"]
    return np.array([[by_metric[f"confusion_{true}{called}"] for called in (0, 1, 2)] for true in (0, 1, 2)])


def _confusion_figure(counts: np.ndarray, level: float) -> Figure:
    from matplotlib.figure import Figure

    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(4.2, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for true, called in np.ndindex(3, 3):
        colour = "white" if share[true, called] > 0.6 else "black"
        text = f"{share[true, called]:.1%}\n{counts[true, called]:.0f}"
        axes.text(called, true, text, ha="center", va="center", color=colour)
    axes.set(
        title=f"Hidden calls at {level:g}% missing",
        xlabel="called genotype",
        ylabel="true genotype",
        xticks=(0, 1, 2),
        yticks=(0, 1, 2),
    )
    return figure


def _robustness_figure(scores: pd.DataFrame) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    rows = scores[(scores["metric"] == "f1_macro") & scores["subset"].isin(("all", "rare"))]
    for (mechanism, subset), curve in rows.groupby(["mechanism", "subset"], sort=False):
        curve = curve.sort_values("level")
        label = f"{mechanism} masks, {'all' if subset == 'all' else 'rare'} sites"
        axes.plot(curve["level"], curve["value"], marker="o", ms=3, label=label)
        axes.fill_between(
            curve["level"].astype(float), curve["low"].astype(float), curve["high"].astype(float), alpha=0.2
        )
    axes.set(xlabel="missing (%)", ylabel="macro-F1", ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure


def _numbers_and_texts(attributes: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, str]]:
    """Attributes that are numbers, and the others as text."""
    numbers = {k: float(v) for k, v in attributes.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return numbers, {k: str(v) for k, v in attributes.items() if k not in numbers}


def _in_url(values: Sequence[str]) -> str:
    return quote(json.dumps(list(values), separators=(",", ":")))
