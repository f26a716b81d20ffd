"""What the runs and models in a store say: training runs, registered models, moves of their aliases."""

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

KEY_TAG = "snpimpute.key"  # what a run is found again by
CHAMPION = "champion"
PANEL_VARIANT = "panel"  # of the versions that `snpimpute fit` makes
MOVE_TAG = "snpimpute.move."  # and a number: a move of an alias, on the registered model
DECIDES = "val_f1_macro"


@dataclass(frozen=True)
class Training:
    """A trained imputer that is to be logged and registered.

    Attributes:
        key: what was trained; the name of the model's folder.
        dataset, dataset_folder, dataset_digest: the prepared dataset.
        imputer, variant: the row of the report.
        params, metrics, tags: of the run; `val_f1_macro` among the metrics decides about the aliases.
        artifacts: files and folders to keep with the run.
        model_folder: what `Imputer.save` wrote.
        example_target: a few samples as the model takes them (see impute.serving): a row per sample, an integer column per
            site (`contig:pos:ref:alt`), -1 = missing.
        champion_moves: whether `champion` may move to it; if not, it is set where there is none, and moved by
            `move_champion` alone.
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
    champion_moves: bool = True


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


def training_tag(key: str) -> str:
    """The tag by which the run of what was trained is found again."""
    return digest(["training", key])


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
