"""What a folder of runs keeps, found for whoever looks at it: prepared datasets, tables of scores, posteriors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from snpimpute.base.errors import InputError
from snpimpute.dataset.prepared import read_about
from snpimpute.tracking.runs import training_tag


@dataclass(frozen=True)
class KeptDataset:
    """A prepared dataset: its folder, and what is known of it without reading genotypes.

    Attributes:
        folder: as `save_dataset` made it.
        name, digest: of the dataset.
        made: UTC.
        mechanism, level: of the headline scenario.
        settings: what it was made with.
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
        return f"{self.name} ({self.digest[:8]})"


@dataclass(frozen=True)
class KeptScores:
    """A table of scores.

    Attributes:
        path: of the CSV file.
        made: UTC.
        dataset_digest: of the prepared dataset.
        models: names of the folders of the models scored; empty for tables of a version that did not say.
        revision: of the code that scored; empty if it was not known.
    """

    path: Path
    made: datetime
    dataset_digest: str
    models: tuple[str, ...]
    revision: str


def kept_datasets(runs: Path) -> list[KeptDataset]:
    """The prepared datasets in a folder of runs, the newest first; folders that are none are passed over."""
    found = []
    for folder in (runs / "datasets").glob("*"):
        try:
            about = read_about(folder)
        except InputError:
            continue
        _, mechanism, level, _ = about["headline"].rsplit("-", 3)
        made = _made(folder / "dataset.json")
        found.append(
            KeptDataset(folder, about["name"], about["digest"], made, mechanism, float(level), about["settings"])
        )
    return sorted(found, key=lambda dataset: dataset.made, reverse=True)


def kept_scores(runs: Path, datasets: Sequence[KeptDataset], name: str) -> list[KeptScores]:
    """The tables of scores of the datasets of a name, the newest first.

    A table that does not say which prepared dataset it is of (it was made before tables did) is taken to be of the
    newest one of its name that is older than the table, or else of the newest one.
    """
    named = [dataset for dataset in datasets if dataset.name == name]
    found = []
    for path in (runs / "scores").glob(f"{_escaped(name)}-{'?' * 12}.csv"):
        made, beside = _made(path), path.with_suffix(".json")
        told = json.loads(beside.read_text()) if beside.exists() else {}
        likely = [dataset.digest for dataset in named if dataset.made <= made] + [dataset.digest for dataset in named]
        digest = told.get("dataset_digest") or next(iter(likely), "")
        found.append(KeptScores(path, made, digest, tuple(told.get("models", ())), told.get("revision", "")))
    return sorted(found, key=lambda table: table.made, reverse=True)


def kept_posteriors(runs: Path) -> dict[str, Path]:
    """The tag of a training run (`TrainingRun.key_tag`) → the file of its posteriors."""
    return {training_tag(path.parent.name): path for path in (runs / "models").glob("*/posteriors.npz")}


def _made(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
