"""Where an experiment works: its folder of runs, the MLflow store it logs to, and who watches."""

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
    """What every step of an experiment works with beside its settings.

    Attributes:
        runs: folder that everything is kept in.
        watch: told of the progress.
        tracker: writes to the MLflow store; None where nothing is logged.
    """

    runs: Path
    watch: Watch = field(default_factory=Watch)
    tracker: Tracker | None = None

    @property
    def studies(self) -> Path:
        return self.runs / "studies"

    @property
    def models(self) -> Path:
        return self.runs / "models"

    @property
    def scores(self) -> Path:
        return self.runs / "scores"

    def with_store(self, settings: ExperimentSettings) -> Tracker:
        """Open the MLflow store that the settings or the environment name, and log to it from now on.

        Raises:
            InputError: the store cannot be reached or written.
        """
        from snpimpute.tracking.connect import tracking_uri
        from snpimpute.tracking.writer import Tracker

        self.tracker = Tracker(tracking_uri(settings.tracking_uri, self.runs), self.runs)
        return self.tracker
