"""Index of a folder of runs: its prepared datasets, tables of scores and of conclusions, and posteriors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from snpimpute.base.errors import InputError
from snpimpute.dataset.prepared import read_about
from snpimpute.tracking.runs import training_tag


@dataclass(frozen=True)
class KeptDataset:
    """A prepared dataset: its folder, and the facts that are known without reading genotypes.

    Attributes:
        folder: folder that `save_dataset` made.
        name, digest: of the dataset.
        made: time when it was made, UTC.
        mechanism, level: of the headline scenario.
        settings: settings that it was made with.
    """

    folder: Path
    name: str
    digest: str
    made: datetime
    mechanism: str
    level: float
    settings: dict[str, Any]

    @property
    def label(self) -> str:
        """Name with the first 8 digits of the digest."""
        return f"{self.name} ({self.digest[:8]})"


@dataclass(frozen=True)
class KeptScores:
    """A table of scores, or of conclusions.

    Attributes:
        path: path of the CSV file.
        made: time when it was made, UTC.
        dataset_digest: digest of the prepared dataset.
        models: names of the folders of the scored models; empty for tables of an older version that did not record them.
        revision: revision of the code that scored; empty if it was not known.
    """

    path: Path
    made: datetime
    dataset_digest: str
    models: tuple[str, ...]
    revision: str


def kept_datasets(runs: Path) -> list[KeptDataset]:
    """Return the prepared datasets in a folder of runs, the newest first; other folders are ignored."""
    found = []
    for folder in (runs / "datasets").glob("*"):
        try:
            about = read_about(folder)
        except InputError:
            continue
        _, mechanism, level, _ = about["headline"].rsplit("-", 3)
        made = _time_made(folder / "dataset.json")
        found.append(
            KeptDataset(folder, about["name"], about["digest"], made, mechanism, float(level), about["settings"])
        )
    return sorted(found, key=lambda dataset: dataset.made, reverse=True)


def kept_scores(runs: Path, datasets: Sequence[KeptDataset], name: str) -> list[KeptScores]:
    """Return the tables of scores of all datasets with a name, the newest first.

    Tables of an older version do not record their prepared dataset. Such a table is assigned to the newest dataset of
    its name that is older than the table, or else to the newest dataset.
    """
    named = [dataset for dataset in datasets if dataset.name == name]
    found = []
    for path in (runs / "scores").glob(f"{_glob_escaped(name)}-{'?' * 12}.csv"):
        made, beside = _time_made(path), path.with_suffix(".json")
        origin = json.loads(beside.read_text()) if beside.exists() else {}
        likely = [dataset.digest for dataset in named if dataset.made <= made] + [dataset.digest for dataset in named]
        digest = origin.get("dataset_digest") or next(iter(likely), "")
        found.append(KeptScores(path, made, digest, tuple(origin.get("models", ())), origin.get("revision", "")))
    return sorted(found, key=lambda table: table.made, reverse=True)


def model_folders(runs: Path, name: str, models: Iterable[str]) -> dict[str, Path]:
    """Return a mapping of the row (imputer/variant) of each model of the dataset with this name → its folder."""
    found = {}
    for model in models:
        imputer, variant = model.removeprefix(f"{name}-").rsplit("-", 1)[0].split("-", 1)
        found[f"{imputer}/{variant}"] = runs / "models" / model
    return found


def kept_conclusions(runs: Path, dataset: KeptDataset) -> list[KeptScores]:
    """Return the tables of what imputers change in the conclusion on a prepared dataset, the newest first."""
    found = []
    for path in (runs / "conclusions").glob(f"{_glob_escaped(dataset.name)}-{'?' * 12}.csv"):
        if (beside := path.with_suffix(".json")).exists():
            origin = json.loads(beside.read_text())
            if origin["dataset_digest"] == dataset.digest:
                made = _time_made(path)
                found.append(KeptScores(path, made, dataset.digest, tuple(origin["models"]), origin["revision"]))
    return sorted(found, key=lambda table: table.made, reverse=True)


def kept_posteriors(runs: Path) -> dict[str, Path]:
    """Return a mapping of the tag of a training run (`TrainingRun.key_tag`) → the file of its posteriors."""
    return {training_tag(path.parent.name): path for path in (runs / "models").glob("*/posteriors.npz")}


def _time_made(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _glob_escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
