"""Workspace of an experiment: folder of runs, MLflow store, and receiver of the progress."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from snpimpute.base.progress import Watch

if TYPE_CHECKING:
    from snpimpute.experiment.settings import ExperimentSettings
    from snpimpute.tracking.writer import Tracker


@dataclass
class Workspace:
    """Folder, store and progress that every step of an experiment uses beside the settings.

    Attributes:
        runs: folder for all results.
        watch: receives the progress.
        tracker: writer to the MLflow store; None if nothing is logged.
    """

    runs: Path
    watch: Watch = field(default_factory=Watch)
    tracker: Tracker | None = None

    @property
    def studies(self) -> Path:
        """Folder of the studies."""
        return self.runs / "studies"

    @property
    def models(self) -> Path:
        """Folder of the fitted models."""
        return self.runs / "models"

    @property
    def scores(self) -> Path:
        """Folder of the tables of scores."""
        return self.runs / "scores"

    @property
    def conclusions(self) -> Path:
        """Folder of the tables of what imputers change in the conclusion."""
        return self.runs / "conclusions"

    def with_store(self, settings: ExperimentSettings) -> Tracker:
        """Open the MLflow store that the settings or the environment name, and log to it from now on.

        Raises:
            InputError: the store cannot be reached or written.
        """
        from snpimpute.tracking.connect import tracking_uri
        from snpimpute.tracking.writer import Tracker

        self.tracker = Tracker(
            tracking_uri(settings.tracking_uri, self.runs), self.runs, self.watch, settings.tracking_wait
        )
        return self.tracker
