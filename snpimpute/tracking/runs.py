"""Records of an MLflow store: training runs, registered models, moves of their aliases."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snpimpute.base.digests import digest

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run

KEY_TAG = "snpimpute.key"  # the tag by which a run is found again
CHAMPION = "champion"
PANEL_VARIANT = "panel"  # variant of the versions that `snpimpute fit` makes
TRAIT_TAG, PREDICTOR_TAG = "trait", "predictor"  # of runs and versions of predictors of a trait
MEASURED_TAG = (
    "measured_on"  # the same: digest of samples, trait and folds; differences are paired where it is the same
)
MOVE_TAG = "snpimpute.move."  # followed by a number: tag of a registered model that records a move of an alias
DECIDING_METRIC = "val_f1_macro"  # the metric that decides about aliases


@dataclass(frozen=True, eq=False)
class Training:
    """A trained imputer to log and register.

    Attributes:
        key: identifies what was trained; the name of the model's folder.
        dataset, dataset_folder, dataset_digest: the prepared dataset.
        imputer, variant: the row of the report.
        params, metrics, tags: of the run; the metric `val_f1_macro` decides about the aliases.
        artifacts: files and folders to keep with the run.
        model_folder: folder that `Imputer.save` wrote.
        example_target: a few samples as the model takes them (see impute.serving): a row per sample, an integer column
            per site (`contig:pos:ref:alt`), -1 = missing.
        headline: metric that is to come with the scores, such as `f1_macro_60`; it is NaN until then. MLflow's page that compares
            runs draws the metric that was logged first. Empty = none.
        champion_moves: whether `champion` may move to this version. If not, `champion` is set to it only if there is
            none, and otherwise moved by `move_champion` alone.
    """

    key: str
    dataset: str
    dataset_folder: Path
    dataset_digest: str
    imputer: str
    variant: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    artifacts: Sequence[Path]
    model_folder: Path
    example_target: pd.DataFrame
    headline: str = ""
    champion_moves: bool = True


@dataclass(frozen=True)
class TrainingRun:
    """Training run of an imputer, as the store has it.

    Attributes:
        run_id, experiment_id: in MLflow.
        imputer, variant: the row of the report.
        dataset, dataset_digest: the prepared dataset that the imputer was fitted on.
        started: start time, UTC.
        revision: revision of the code that fitted the imputer; empty if it was not known.
        key_tag: `training_tag` of the name of the model's folder.
        params, metrics, tags: of the run; a metric that is a curve has its value at the last level.
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
        """`imputer/variant`."""
        return f"{self.imputer}/{self.variant}"


@dataclass(frozen=True)
class RegisteredModel(TrainingRun):
    """A version of a dataset's registered model, with its training run.

    Attributes:
        name, version: in the registry.
        place: URI of the model's files.
    """

    name: str
    version: str
    place: str

    @property
    def label(self) -> str:
        """`imputer/variant` with the version."""
        return f"{self.imputer}/{self.variant} (version {self.version})"


@dataclass(frozen=True)
class RegisteredPredictor:
    """A version of a trait's registered model.

    Attributes:
        name, version: in the registry.
        place: URI of the model's files.
        run_id: of the run that made it.
        trait, predictor: their names.
        metrics: of the run.
    """

    name: str
    version: str
    place: str
    run_id: str
    trait: str
    predictor: str
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class PredictorRun:
    """Run of a predictor of a trait: a fit, or its part in a comparison.

    Attributes:
        run_id: in MLflow.
        predictor: its name.
        started: start time, UTC.
        params, metrics, tags: of the run; a metric by fold has its value of the last fold.
    """

    run_id: str
    predictor: str
    started: datetime
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class TraitVersion:
    """Version of a trait's registered model.

    Attributes:
        number: version number in the registry.
        predictor: its name.
        created: time of creation, UTC.
        aliases: that point to this version now.
        run: that made it; None if it was deleted.
    """

    number: int
    predictor: str
    created: datetime
    aliases: tuple[str, ...]
    run: PredictorRun | None


@dataclass(frozen=True)
class TraitModel:
    """A trait's registered model: its name, its versions and the recorded moves of its aliases, both oldest first."""

    name: str
    trait: str
    versions: list[TraitVersion]
    moves: list[Move]


@dataclass(frozen=True)
class Comparison:
    """Comparison of predictors of a trait.

    Attributes:
        run_id: in MLflow.
        trait: its name.
        started: start time, UTC.
        note: what was found, in a sentence.
        tags: of the run.
        predictors: name → its run.
    """

    run_id: str
    trait: str
    started: datetime
    note: str
    tags: Mapping[str, str]
    predictors: Mapping[str, PredictorRun]


@dataclass(frozen=True)
class Move:
    """A move of an alias of a registered model, recorded when it happened.

    Attributes:
        alias: `champion`, or the name of an imputer.
        when: time of the move, UTC.
        who: name of the user whose process moved the alias.
        before, to: versions; `before` is empty if the alias was not set.
        why: the reason, in a few words.
    """

    alias: str
    when: datetime
    who: str
    before: str
    to: str
    why: str


def training_tag(key: str) -> str:
    """Return the tag by which a training run is found again.

    Args:
        key: identifies what was trained; the name of the model's folder.
    """
    return digest(["training", key])


def on_other_data(present: Mapping[str, str], new: Mapping[str, str]) -> bool:
    """Return whether a version, by its tags, was fitted on another prepared dataset than a new one: they do not compare."""
    return bool(present) and present.get("dataset_digest") != new["dataset_digest"]


def reason_to_move(present: Mapping[str, str], new: Mapping[str, str]) -> str:
    """Return the reason why an alias moves to a new version; empty if it stays.

    It stays if the present version is as good on the same prepared dataset.

    Args:
        present: tags of the version that the alias points to; empty if the alias is not set.
        new: tags of the new version.
    """
    if not present:
        return "the first"
    if on_other_data(present, new):
        return "the first on this prepared dataset"
    before, after = float(present[DECIDING_METRIC]), float(new[DECIDING_METRIC])
    return f"validation macro-F1 {after:.4f}, before {before:.4f}" if after > before else ""


def moves_in(tags: Mapping[str, str]) -> list[Move]:
    """Return the moves that the tags of a registered model record, oldest first."""
    recorded = [json.loads(tags[key]) for key in sorted(tags) if key.startswith(MOVE_TAG)]
    return [
        Move(
            alias=move.get("alias", CHAMPION),  # earlier versions recorded moves of the champion only
            when=datetime.fromisoformat(move["when"]),
            who=move["who"],
            before=move["from"],
            to=move["to"],
            why=move["why"],
        )
        for move in recorded
    ]


def training_run(run: Run) -> TrainingRun:
    """Return the record of a training run; KeyError if `Tracker.log_training` did not write it."""
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


def predictor_run(run: Run) -> PredictorRun:
    """Return the record of a predictor's run; KeyError if it has no tag PREDICTOR_TAG."""
    data = run.data
    when = utc(run.info.start_time)
    return PredictorRun(run.info.run_id, data.tags[PREDICTOR_TAG], when, data.params, data.metrics, data.tags)


def utc(milliseconds: int) -> datetime:
    """Convert a time of MLflow (milliseconds since 1970) to a datetime in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
