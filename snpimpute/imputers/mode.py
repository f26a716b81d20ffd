"""The panel's genotype frequencies as the posterior: the baseline that any imputer must beat."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snpimpute.dataset.training_masks import TrainingMask
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.imputers.contract import Imputer, Report, Validation


class Mode(Imputer):
    """Imputer that gives every missing call the genotype frequencies of its site in the panel.

    The call is the most frequent genotype.
    """

    description = "most frequent genotype of the panel at each site"

    def _fit(
        self, panel: GenotypeMatrix, validation: Validation | None, mask: TrainingMask, report: Report | None
    ) -> None:
        """Learn nothing: the wrapper keeps the frequencies."""

    def _posterior(self, target: GenotypeMatrix) -> np.ndarray:
        return np.broadcast_to(self.frequencies, (*target.calls.shape, 3))

    def _save(self, folder: Path) -> None:
        """Write nothing: the wrapper saves the frequencies."""

    def _load(self, folder: Path) -> None:
        """Read nothing: the wrapper loads the frequencies."""
