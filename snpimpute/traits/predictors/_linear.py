"""Base of the linear predictors: effects of encoded genotypes beside unpenalised covariates, and their saving."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

import numpy as np

from snpimpute.base.files import save_array
from snpimpute.imputers.contract import Report
from snpimpute.traits.predictors.cohort import Cohort
from snpimpute.traits.predictors.contract import Predictor


class LinearPredictor(Predictor):
    """Sum of effects of genotypes, on what constant and covariates leave of the trait.

    A binary trait is treated as the number that it is.
    """

    @abstractmethod
    def _effects(self, x: np.ndarray, left: np.ndarray) -> np.ndarray:
        """Return the effects, float (n_inputs,), of inputs float32 (n_samples, n_inputs) on the trait's rest, centred both."""

    def _fit(
        self, x: np.ndarray, panel: Cohort, validation: tuple[np.ndarray, Cohort] | None, report: Report | None
    ) -> None:
        flat = x.reshape(len(x), -1)
        design = np.column_stack([np.ones(panel.n_samples), panel.covariates])
        projected = np.linalg.lstsq(design, np.column_stack([panel.values, flat.astype(np.float64)]), rcond=None)[0]
        rest = flat - design @ projected[:, 1:]
        left = panel.values - design @ projected[:, 0]
        self._weights = np.asarray(self._effects(rest.astype(np.float32), left), dtype=np.float64)
        self._fixed = projected[:, 0] - projected[:, 1:] @ self._weights

    def _predict(self, x: np.ndarray, target: Cohort) -> np.ndarray:
        design = np.column_stack([np.ones(target.n_samples), target.covariates])
        return design @ self._fixed + x.reshape(len(x), -1).astype(np.float64) @ self._weights

    def effects(self) -> np.ndarray:
        """Return the effects, float64 (n_chosen, n_values), of the chosen sites' encoded values."""
        return self._weights.reshape(len(self.chosen), -1)

    def n_parameters(self) -> int:
        return len(self._weights) + len(self._fixed)

    def _save(self, folder: Path) -> None:
        save_array(folder / "weights.npy", self._weights)
        save_array(folder / "fixed.npy", self._fixed)

    def _load(self, folder: Path) -> None:
        self._weights = np.load(folder / "weights.npy", allow_pickle=False)
        self._fixed = np.load(folder / "fixed.npy", allow_pickle=False)
