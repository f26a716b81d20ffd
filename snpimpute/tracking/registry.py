"""Registered models in an MLflow store: versions, aliases and moves of aliases."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from snpimpute.base.errors import InputError
from snpimpute.base.files import written_beside
from snpimpute.tracking.connect import (
    report_store_errors,
)
from snpimpute.tracking.models import CARD, IMPUTER, registered_name
from snpimpute.tracking.runs import (
    CHAMPION,
    MOVE_TAG,
    PANEL_VARIANT,
    Move,
    RegisteredModel,
    RegisteredPredictor,
    moves_in,
    reason_to_move,
    training_run,
)
from snpimpute.tracking.store import StoreWriter

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import Model


class Registry(StoreWriter):
    """Registry of trained imputers and predictors: versions of a model, and aliases that move between versions."""

    @report_store_errors
    def registered_models(self, dataset: str) -> list[RegisteredModel]:
        """Return every version of a dataset's registered model whose training is complete, oldest first.

        Versions that `log_training` did not write are left out.
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

    @report_store_errors
    def panel_models(self) -> list[RegisteredModel]:
        """Return every registered version that `snpimpute fit` made, oldest first within its name."""
        names = [name.name.removeprefix("snpimpute-") for name in self.client.search_registered_models()]
        return [model for name in names for model in self.registered_models(name) if model.variant == PANEL_VARIANT]

    @report_store_errors
    def aliases(self, name: str) -> dict[str, str]:
        """Return a mapping of alias → version of a registered model."""
        return {alias: str(version) for alias, version in self.client.get_registered_model(name).aliases.items()}

    @report_store_errors
    def move_champion(self, name: str, version: str, why: str) -> None:
        """Move `champion` of a registered model to a version, and record user, time, previous version and reason."""
        with self._lock():
            self._move(name, CHAMPION, version, why)

    @report_store_errors
    def moves(self, name: str) -> list[Move]:
        """Return the moves of a registered model's champion, oldest first."""
        recorded = moves_in(self.client.get_registered_model(name).tags)
        return [move for move in recorded if move.alias == CHAMPION]

    @report_store_errors
    def fetch_model(self, model: RegisteredModel | RegisteredPredictor, folder: Path, artifact: str = IMPUTER) -> None:
        """Write the saved imputer of a registered model, or what else is its artifact of that name, to `folder`, as it was saved."""
        from mlflow.artifacts import download_artifacts
        from mlflow.models import Model

        with tempfile.TemporaryDirectory() as there, written_beside(folder) as beside:
            got = Path(download_artifacts(model.place, dst_path=there, tracking_uri=self.uri))
            saved = (got / Model.load(str(got)).flavors["python_function"]["artifacts"][artifact]["path"]).resolve()
            if not saved.is_relative_to(got.resolve()):
                raise InputError(f"{model.place} names files outside itself: do not use this model")
            shutil.copytree(saved, beside, symlinks=True)  # a link stays one, and the table of checksums has none

    def _register(
        self, name: str, run: Run, write: Callable[[Path, Model], None], tags: dict[str, str], card: str, kind: str
    ) -> ModelVersion:
        """Log the model of a run with its card and register it, unless the run has a version already.

        Args:
            name: of the registered model.
            run: that the model comes from.
            write: writes an MLflow model to a path, from its description.
            tags, card: of the version.
            kind: of the model, as MLflow shows it.
        """
        from mlflow.entities import LoggedModelOutput
        from mlflow.exceptions import MlflowException
        from mlflow.models import Model

        if there := self.client.search_model_versions(f"run_id = '{run.info.run_id}'"):
            return there[0]
        params = self.client.get_run(run.info.run_id).data.params
        logged = self.client.create_logged_model(
            run.info.experiment_id, "model", run.info.run_id, tags=tags, params=params, model_type=kind
        )
        description = Model(
            artifact_path=logged.artifact_location,
            run_id=run.info.run_id,
            model_uuid=logged.model_id,
            model_id=logged.model_id,
        )
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder) / "model", description)
            (Path(folder) / "model" / CARD).write_text(card)
            self.client.log_model_artifacts(logged.model_id, str(Path(folder) / "model"))
        self.client.finalize_logged_model(logged.model_id, "READY")
        self.client.log_outputs(run.info.run_id, [LoggedModelOutput(logged.model_id, step=0)])
        try:
            self.client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        # the place, not "models:/ID": the registry would look up an id in the process's own store, perhaps another one
        source = logged.artifact_location
        return self.client.create_model_version(
            name, source, run.info.run_id, tags, description=card, model_id=logged.model_id
        )

    def _promote(self, alias: str, version: ModelVersion, tags: Mapping[str, str]) -> None:
        """Move an alias to a version, unless its present version is as good on the same prepared dataset."""
        if why := reason_to_move(self._tags_at_alias(version.name, alias), tags):
            self._move(version.name, alias, str(version.version), why)

    def _tags_at_alias(self, name: str, alias: str) -> dict[str, str]:
        """Return the tags of the version that an alias points to; empty if the alias is not set."""
        if alias not in self.client.get_registered_model(name).aliases:
            return {}
        return self.client.get_model_version_by_alias(name, alias).tags

    def _move(self, name: str, alias: str, version: str, why: str) -> None:
        """Move an alias, and record the move with the registered model; call this only under the lock."""
        model = self.client.get_registered_model(name)
        move = {
            "alias": alias,
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "who": _user_name(),
            "from": str(model.aliases.get(alias, "")),
            "to": version,
            "why": why,
        }
        number = 1 + sum(key.startswith(MOVE_TAG) for key in model.tags)
        self.client.set_registered_model_tag(name, f"{MOVE_TAG}{number:04d}", json.dumps(move))
        self.client.set_registered_model_alias(name, alias, version)


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in containers
        return f"user {os.getuid()}"
