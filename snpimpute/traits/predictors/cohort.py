"""Samples with genotypes, a trait and covariates, as predictors take them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from snpimpute.genotypes.matrix import GENOTYPES, MISSING


@dataclass(frozen=True, eq=False)
class Cohort:
    """Samples with their genotypes, and their trait where it is known.

    Attributes:
        posterior: float32 (n_samples, n_sites, 3), probabilities of genotypes 0, 1, 2; NaN where nothing is known. A call is
            certain: it has all its weight on itself.
        sites: a row per site, columns as those of a matrix (genotypes.matrix.SITE_COLUMNS).
        values: float64 (n_samples,), the trait; of a binary one 0 or 1. Empty of samples to predict.
        covariates: float64 (n_samples, n_covariates), without a constant.
        binary: whether the trait is binary.
    """

    posterior: np.ndarray
    sites: pd.DataFrame
    values: np.ndarray
    covariates: np.ndarray
    binary: bool = False

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return self.posterior.shape[0]

    @property
    def n_sites(self) -> int:
        """Number of sites."""
        return self.posterior.shape[1]

    def take_samples(self, index: Any) -> Cohort:
        """Return the samples at `index` (integers or booleans), in that order."""
        values = self.values[index] if len(self.values) else self.values
        return replace(self, posterior=self.posterior[index], values=values, covariates=self.covariates[index])

    def take_sites(self, index: Any) -> Cohort:
        """Return the sites at `index` (integers or booleans), in that order."""
        sites = self.sites.iloc[np.arange(self.n_sites)[index]].reset_index(drop=True)
        return replace(self, posterior=self.posterior[:, index], sites=sites)

    def without_trait(self) -> Cohort:
        """Return the samples as they come to be predicted: without the trait's values."""
        return replace(self, values=np.empty(0))


def posterior_of_calls(calls: np.ndarray) -> np.ndarray:
    """Return calls, int8 (n_samples, n_sites), -1 = missing, as probabilities, float32 (n_samples, n_sites, 3)."""
    posterior = (calls[:, :, None] == np.array(GENOTYPES, dtype=np.int8)).astype(np.float32)
    posterior[calls == MISSING] = np.nan
    return posterior


def posterior_of_dosages(dosages: np.ndarray) -> np.ndarray:
    """Return dosages, float (n_samples, n_sites), 0 to 2, NaN = missing, as probabilities of the two nearest genotypes.

    Files that have DS and no GP say no more: the expected number of alleles is kept, its uncertainty is not.
    """
    distance = np.abs(dosages[:, :, None].astype(np.float32) - np.array(GENOTYPES, dtype=np.float32))
    return np.clip(1 - distance, 0, None).astype(np.float32)
