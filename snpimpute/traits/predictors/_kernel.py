"""Base of the predictors that weigh samples by their likeness: restricted likelihood, prediction, saving."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

import numpy as np

from snpimpute.base.files import save_array
from snpimpute.imputers.contract import Report, Trial
from snpimpute.traits.predictors.cohort import Cohort
from snpimpute.traits.predictors.contract import Predictor


class KernelPredictor(Predictor):
    """Mixed model y = Xb + g + e with g ~ N(0, K·s_g), of which REML finds the share h² = s_g / (s_g + s_e).

    One eigendecomposition of K makes the likelihood a sum over samples (Kang et al. 2008). A binary trait is treated as the
    number that it is.
    """

    @abstractmethod
    def _likeness(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the likeness of samples, float64 (len(x), len(y)), from their inputs (n_samples, n_inputs)."""

    def _prepare(self, x: np.ndarray) -> None:
        """Take from the panel's inputs what `_likeness` needs; nothing by default."""

    @classmethod
    def search_space(cls, trial: Trial) -> object:
        return cls.Params(min_maf=trial.suggest_categorical("min_maf", (0.0, 0.01, 0.05)))

    def _fit(
        self, x: np.ndarray, panel: Cohort, validation: tuple[np.ndarray, Cohort] | None, report: Report | None
    ) -> None:
        self._x = x.reshape(len(x), -1)
        self._prepare(self._x)
        design = np.column_stack([np.ones(panel.n_samples), panel.covariates])
        spectrum, vectors = np.linalg.eigh(self._likeness(self._x, self._x))
        spectrum = np.clip(spectrum, 0, None)
        self.heritability = reml(spectrum, vectors.T @ panel.values, vectors.T @ design)
        variance = self.heritability * spectrum + 1 - self.heritability
        rotated, fixed = vectors.T @ panel.values, vectors.T @ design
        self._fixed = np.linalg.lstsq(fixed / np.sqrt(variance)[:, None], rotated / np.sqrt(variance), rcond=None)[0]
        self._weights = self.heritability * (vectors @ ((rotated - fixed @ self._fixed) / variance))

    def _predict(self, x: np.ndarray, target: Cohort) -> np.ndarray:
        design = np.column_stack([np.ones(target.n_samples), target.covariates])
        return design @ self._fixed + self._likeness(x.reshape(len(x), -1), self._x) @ self._weights

    def _save(self, folder: Path) -> None:
        save_array(folder / "x.npy", self._x)
        save_array(folder / "fixed.npy", self._fixed)
        save_array(folder / "weights.npy", self._weights)
        save_array(folder / "heritability.npy", np.array(self.heritability))

    def _load(self, folder: Path) -> None:
        self._x, self._fixed, self._weights, heritability = (
            np.load(folder / f"{part}.npy", allow_pickle=False) for part in ("x", "fixed", "weights", "heritability")
        )
        self.heritability = float(heritability)
        self._prepare(self._x)

    def n_parameters(self) -> None:
        return None


def reml(spectrum: np.ndarray, values: np.ndarray, design: np.ndarray) -> float:
    """Return the share h² in (0, 1) with the highest restricted likelihood.

    Args:
        spectrum: float64 (n,), eigenvalues of the samples' likeness, not negative.
        values: float64 (n,), the trait, rotated by the eigenvectors.
        design: float64 (n, n_fixed), constant and covariates, rotated likewise.
    """
    from scipy.optimize import minimize_scalar

    n, n_fixed = design.shape

    def loss(h2: float) -> float:
        variance = h2 * spectrum + 1 - h2
        scaled = design / np.sqrt(variance)[:, None]
        left = values / np.sqrt(variance)
        left = left - scaled @ np.linalg.lstsq(scaled, left, rcond=None)[0]
        information = np.linalg.slogdet(scaled.T @ scaled)[1]
        return float((n - n_fixed) * np.log(left @ left) + np.log(variance).sum() + information)

    grid = np.linspace(0.01, 0.99, 25)  # the likelihood may have several maxima: look from the best of a grid
    start = grid[np.argmin([loss(h2) for h2 in grid])]
    found = minimize_scalar(loss, bounds=(max(start - 0.045, 1e-4), min(start + 0.045, 1 - 1e-4)), method="bounded")
    return float(found.x)
