"""Kernel regression: samples are alike by a Gaussian of their genetic distance, so that sites may act together."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from snpimpute.imputers.contract import Trial
from snpimpute.traits.predictors._kernel import KernelPredictor
from snpimpute.traits.predictors.contract import PredictorParams


class RkhsParams(PredictorParams):
    """Parameters.

    Attributes:
        bandwidth: of the Gaussian, exp(−bandwidth · d²/median(d²)).
    """

    bandwidth: float = Field(1.0, gt=0)


class Rkhs(KernelPredictor):
    """Reproducing kernel Hilbert space regression with a Gaussian kernel (Gianola and van Kaam 2008; de los Campos et al. 2010)."""

    description = "RKHS: Gaussian kernel of genetic distance (REML)"
    Params = RkhsParams

    @classmethod
    def search_space(cls, trial: Trial) -> Any:
        return cls.Params(
            bandwidth=trial.suggest_float("bandwidth", 0.1, 5.0, log=True),
            min_maf=trial.suggest_categorical("min_maf", (0.0, 0.01, 0.05)),
        )

    def _prepare(self, x: np.ndarray) -> None:
        distance = _squared_distance(x, x)
        self._median = float(np.median(distance[np.triu_indices(len(x), 1)])) or 1.0

    def _likeness(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.exp(-self.params.bandwidth * _squared_distance(x, y) / self._median)


def _squared_distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return squared Euclidean distances, float64 (len(x), len(y))."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    squares = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1)[None, :] - 2 * x @ y.T
    return np.clip(squares, 0, None)
