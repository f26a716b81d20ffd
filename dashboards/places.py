"""Places that the dashboard reads from, passed to the pages in environment variables, which `serve` sets."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from snpimpute.tracking.connect import tracking_uri

RUNS = "SNPIMPUTE_RUNS"
STORE = "MLFLOW_TRACKING_URI"
STUDIES = "SNPIMPUTE_STUDIES"


@dataclass(frozen=True)
class Places:
    """Folder of runs, MLflow store, and database of Optuna studies beside the folder's journals (None: no database)."""

    runs: Path
    store: str
    studies: str | None


def set_places(runs: Path, store: str | None, studies: str | None) -> None:
    """Set the places for this process and its children; None keeps the value of the environment."""
    os.environ[RUNS] = str(runs)
    for name, value in ((STORE, store), (STUDIES, studies)):
        if value is not None:
            os.environ[name] = value


def places() -> Places:
    """Return the places that the environment names."""
    runs = Path(os.environ.get(RUNS, "runs"))
    return Places(runs, tracking_uri(None, runs), os.environ.get(STUDIES))
