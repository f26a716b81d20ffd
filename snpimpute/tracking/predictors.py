"""Runs and registered models of the predictors of a trait, in an MLflow store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snpimpute.base.digests import digest
from snpimpute.tracking.connect import report_store_errors
from snpimpute.tracking.curves import Point
from snpimpute.tracking.models import PACKAGE, PREDICTOR, safe_name
from snpimpute.tracking.registry import Registry
from snpimpute.tracking.runs import CHAMPION, PREDICTOR_TAG, TRAIT_TAG, RegisteredPredictor

if TYPE_CHECKING:
    from mlflow.models import Model

SERVING = PACKAGE / "traits" / "serving.py"  # the script that MLflow runs to predict by a model


@dataclass(frozen=True, eq=False)
class FittedPredictor:
    """A predictor that was fitted to a trait, to log and register.

    Attributes:
        trait, predictor: their names.
        key: identifies what was fitted, as the digest of the model's files.
        params: of the run.
        points: metrics of the run: key, value, step.
        tags: of the run and of the version.
        model_folder: folder of the model.
        requirements: pinned distributions that predicting needs.
        card: model card, as Markdown.
    """

    trait: str
    predictor: str
    key: str
    params: Mapping[str, Any]
    points: Sequence[Point]
    tags: Mapping[str, str]
    model_folder: Path
    requirements: Sequence[str]
    card: str


def trait_model_name(trait: str) -> str:
    """Return the name of a trait's registered model."""
    return f"snpimpute-{safe_name(trait)}-trait"


class PredictorWriter(Registry):
    """Writer of predictors of traits: fits, which become versions of the trait's model, and comparisons."""

    @report_store_errors
    def log_predictor(self, fitted: FittedPredictor) -> RegisteredPredictor:
        """Write a predictor as a run, register it as a version of the trait's model, and return the version.

        `champion` is set to it if there is none, and is otherwise moved by `move_champion` alone. The same key finds the same run.
        """
        tags = {TRAIT_TAG: fitted.trait, PREDICTOR_TAG: fitted.predictor}
        experiment = f"snpimpute/traits/{safe_name(fitted.trait)}"
        run = self._run(experiment, digest(["predictor", fitted.key]), fitted.predictor, tags)
        if run.info.status != "FINISHED":
            self._log(run, params=fitted.params, points=fitted.points, tags=fitted.tags)
            self._log_artifacts(run.info.run_id, [fitted.model_folder])

        def write(path: Path, description: Model) -> None:
            _save_model_files(path, description, fitted)

        name = trait_model_name(fitted.trait)
        version = self._register(name, run, write, {**fitted.tags, **tags}, fitted.card, "predictor")
        with self._lock():
            if not self._tags_at_alias(name, CHAMPION):
                self._move(name, CHAMPION, str(version.version), "the first")
        self.client.set_terminated(run.info.run_id, "FINISHED")
        return next(m for m in self.predictor_models() if (m.name, m.version) == (name, str(version.version)))

    @report_store_errors
    def predictor_models(self) -> list[RegisteredPredictor]:
        """Return every registered version that `log_predictor` wrote and that has a run, oldest first within its name."""
        found = []
        for model in self.client.search_registered_models("name LIKE 'snpimpute-%-trait'"):
            versions = self.client.search_model_versions(f"name = '{model.name}'")
            for version in sorted(versions, key=lambda version: int(version.version)):
                if not (version.run_id and version.source and {TRAIT_TAG, PREDICTOR_TAG} <= set(version.tags)):
                    continue
                metrics = self.client.get_run(version.run_id).data.metrics
                trait, predictor = version.tags[TRAIT_TAG], version.tags[PREDICTOR_TAG]
                number = str(version.version)
                found.append(
                    RegisteredPredictor(model.name, number, version.source, version.run_id, trait, predictor, metrics)
                )
        return found

    @report_store_errors
    def log_evaluation(
        self,
        *,
        trait: str,
        key: str,
        note: str,
        tags: Mapping[str, str],
        predictors: Mapping[str, tuple[Mapping[str, Any], Sequence[Point]]],
        report_folder: Path,
    ) -> str:
        """Write a comparison of predictors as a run with a run below it for each, and return its id; the same key replaces it.

        Args:
            trait: its name.
            key: identifies what was compared.
            note: what was found, in a sentence; MLflow shows it as the run's description.
            tags: of all runs.
            predictors: name → parameters, and metrics: key, value, step.
            report_folder: folder of the report, kept as the artifact folder `report`.
        """
        experiment = f"snpimpute/traits/{safe_name(trait)}/compare"
        above = self._run(experiment, digest(["evaluation", key]), "comparison", {TRAIT_TAG: trait})
        for name, (params, points) in predictors.items():
            own = {TRAIT_TAG: trait, PREDICTOR_TAG: name, "mlflow.parentRunId": above.info.run_id}
            run = self._run(experiment, digest(["evaluation", key, name]), name, own)
            self._log(run, params=params, points=points, tags=tags, again=True)
            self.client.set_terminated(run.info.run_id, "FINISHED")
        self._log(above, tags={**tags, "mlflow.note.content": note})
        self.client.log_artifacts(above.info.run_id, str(report_folder), "report")
        self.client.set_terminated(above.info.run_id, "FINISHED")
        return above.info.run_id


def _save_model_files(path: Path, description: Model, fitted: FittedPredictor) -> None:
    """Write an MLflow model that contains a saved predictor and this package's code; see models.save_model_files."""
    from mlflow.pyfunc import save_model

    save_model(
        path,
        mlflow_model=description,
        python_model=str(SERVING),
        artifacts={PREDICTOR: str(fitted.model_folder)},
        code_paths=[str(PACKAGE)],
        pip_requirements=list(fitted.requirements),
    )
