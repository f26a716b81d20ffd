"""Genomic best linear unbiased prediction: every site has a small effect, all of one variance."""

from __future__ import annotations

import numpy as np

from snpimpute.traits.predictors._kernel import KernelPredictor


class Gblup(KernelPredictor):
    """GBLUP with the relationship xx'/m of standardised genotypes (VanRaden 2008, second method, if they are "standardised").

    The share of the variance that it gives to genotypes is found by REML.
    """

    description = "GBLUP: all sites have small effects of one variance (REML)"

    def _likeness(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T).astype(np.float64) / x.shape[1]

    def effects(self) -> np.ndarray:
        """Return the effects of encoded values that give the same predictions, float64 (n_chosen, n_values)."""
        weights = self._x.T.astype(np.float64) @ self._weights / self._x.shape[1]
        return weights.reshape(len(self.chosen), -1)
