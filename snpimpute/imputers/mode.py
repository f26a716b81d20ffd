"""The panel's genotype frequencies: what any imputer must beat."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snpimpute.dataset.training_masks import TrainingMask
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.imputers.contract import Imputer, Report, Validation


class Mode(Imputer):
    """Gives every missing call the genotype frequencies of its site in the panel; the call is the most frequent genotype."""

    description = "most frequent genotype of the panel at each site"

    def _fit(
        self, panel: GenotypeMatrix, validation: Validation | None, mask: TrainingMask, report: Report | None
    ) -> None:
        """The wrapper keeps the frequencies: there is nothing more to learn."""

    def _posterior(self, target: GenotypeMatrix) -> np.ndarray:
        return np.broadcast_to(self.frequencies, (*target.calls.shape, 3))

    def _save(self, folder: Path) -> None:
        """The frequencies are saved by the wrapper."""

    def _load(self, folder: Path) -> None:
        """The frequencies are loaded by the wrapper."""
