"""Where the dashboard finds what it shows: told by the environment, which `serve` sets for the pages."""

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
    """The folder of runs, the MLflow store, and a database of Optuna studies beside the folder's journals, if there is one."""

    runs: Path
    store: str
    studies: str | None


def set_places(runs: Path, store: str | None, studies: str | None) -> None:
    """Tell this process and its children; None leaves what the environment says already."""
    os.environ[RUNS] = str(runs)
    for name, value in ((STORE, store), (STUDIES, studies)):
        if value is not None:
            os.environ[name] = value


def places() -> Places:
    runs = Path(os.environ.get(RUNS, "runs"))
    return Places(runs, tracking_uri(None, runs), os.environ.get(STUDIES))
