"""Runs, models and reports of an experiment, written from its files into an MLflow store."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from filelock import FileLock

from snpimpute.base.digests import digest
from snpimpute.base.errors import InputError
from snpimpute.base.files import written_beside
from snpimpute.tracking.connect import (
    ARTIFACTS,
    DATABASE,
    ROOT_TAG,
    follow_moved_artifacts,
    one_line,
    open_client,
    require_store,
    require_writable_database,
    sqlite_file,
    unreachable,
)
from snpimpute.tracking.curves import (
    Point,
    confusion_counts,
    confusion_figure,
    curves,
    headline,
    headline_points,
    robustness_figure,
)
from snpimpute.tracking.models import CARD, model_card, registered_name, safe_name, save_model_files
from snpimpute.tracking.runs import (
    CHAMPION,
    DECIDES,
    KEY_TAG,
    MOVE_TAG,
    PANEL_VARIANT,
    Move,
    RegisteredModel,
    moves_in,
    reason_to_move,
    training_run,
    training_tag,
)

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

SCORES_TAG = "snpimpute.scores"  # digest of the scores that a run holds
KIND_TAG, KIND = (
    "mlflow.experimentKind",
    "custom_model_development",
)  # else MLflow's pages open on language-model traces
STATUS = {
    "complete": "FINISHED",
    "pruned": "FINISHED",
    "failed": "FAILED",
    "stopped": "KILLED",
}  # of a trial → of its run


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
        self.uri = uri
        self.runs = runs.absolute()
        try:
            self.runs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make the folder {self.runs}: {error.strerror}") from None
        require_store(uri, require_writable_database)
        with self._lock():
            if sqlite_file(uri) == self.runs / DATABASE:
                follow_moved_artifacts(self.runs)
            try:
                self.client = open_client(uri)
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

        name = registered_name(dataset)
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
            save_model_files(Path(folder) / "model", description, model_folder, example)
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
        for version in self.client.search_model_versions(f"name = '{registered_name(dataset)}'"):
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
        mechanism, level = headline(mine)
        cost = [(name, value, 0) for name, value in (metrics or {}).items()]
        self._log(run, points=curves(mine, mechanism) + headline_points(mine, mechanism, level) + cost, again=True)
        self._log_artifacts(run_id, artifacts)
        self.client.log_figure(run_id, robustness_figure(mine), "figures/robustness.png")
        if (counts := confusion_counts(mine)) is not None:
            self.client.log_figure(run_id, confusion_figure(counts, level), "figures/confusion.png")
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

    @property
    def ui(self) -> str:
        """Where the MLflow UI of the store answers: a server's own address, or where `mlflow ui` listens unless told otherwise."""
        return f"{self.uri.rstrip('/')}/" if self.uri.startswith("http") else "http://127.0.0.1:5000/"

    @one_line
    def run_link(self, run_id: str) -> str:
        """Address of a run's page in the MLflow UI."""
        return f"{self.ui}#/experiments/{self.client.get_run(run_id).info.experiment_id}/runs/{run_id}"

    def comparison_link(self, dataset: str, run_ids: Sequence[str]) -> str:
        """Address of the page that compares training runs in the MLflow UI."""
        experiment = self._experiment(f"snpimpute/{safe_name(dataset)}/train")
        return f"{self.ui}#/compare-runs?runs={_in_url(run_ids)}&experiments={_in_url([experiment])}"

    # ------------------------------------------------------------------ what all of them use

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Held by one process at a time: creating a database, an experiment or a run, and moving an alias, race."""
        database = sqlite_file(self.uri)
        path = self.runs / ".mlflow.lock" if database is None else database.with_name(f".{database.name}.lock")
        with FileLock(path):
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


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as containers have them
        return f"user {os.getuid()}"


def _numbers_and_texts(attributes: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, str]]:
    """Attributes that are numbers, and the others as text."""
    numbers = {k: float(v) for k, v in attributes.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return numbers, {k: str(v) for k, v in attributes.items() if k not in numbers}


def _in_url(values: Sequence[str]) -> str:
    return quote(json.dumps(list(values), separators=(",", ":")))
