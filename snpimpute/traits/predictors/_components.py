"""Principal components of genotypes as covariates: found in the samples that are learned from, projected for others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from snpimpute.base.errors import InputError
from snpimpute.base.files import save_array
from snpimpute.traits.predictors.cohort import Cohort
from snpimpute.traits.predictors.selection import LEAST_SPREAD, expected_alleles, standardised
from snpimpute.traits.relatedness import LEAST_MAF, components

PARTS = ("sites", "center", "loadings")
LEAST_SHARE = 1e-6  # of the first component's variance, that a component has


@dataclass(frozen=True, eq=False)
class FittedComponents:
    """Principal components with what it takes to project samples on them.

    Attributes:
        sites: int (n,), numbers of the sites that they are of: all with a MAF of 1% or more, whatever a predictor chooses.
        center: float64 (n,), mean dosages of the samples that were learned from; a missing genotype has its site's.
        loadings: float64 (n, n_components): centred dosages times these are the components, of variance 1 in the samples that
            were learned from.
    """

    sites: np.ndarray
    center: np.ndarray
    loadings: np.ndarray

    @classmethod
    def of(cls, panel: Cohort, n: int) -> Self:
        """Return the first n components of the samples that are learned from; nothing else is looked at.

        Raises:
            InputError: the samples or their sites are too few for them.
        """
        left = panel.n_samples - panel.covariates.shape[1] - 3  # a constant, a site, and one degree of freedom
        if n > left:
            raise InputError(
                f"--pcs {n} is too many for the {panel.n_samples} samples that are learned from: at most {max(left, 0)}"
            )
        dosages = expected_alleles(panel.posterior)
        frequency = dosages.mean(axis=0) / 2
        common = np.minimum(frequency, 1 - frequency) >= LEAST_MAF
        sites = np.flatnonzero(common & (dosages.std(axis=0) > LEAST_SPREAD))
        z = standardised(dosages[:, sites])
        scores = components(z @ z.T / max(len(sites), 1), n)
        loadings = z.T @ scores  # as long as the component's singular value
        squares = (loadings**2).sum(axis=0)
        if not len(sites) or squares.min() <= LEAST_SHARE * squares.max():
            raise InputError(f"--pcs {n} is too many for {len(sites)} sites with a MAF of {LEAST_MAF:.0%} or more")
        spread = dosages[:, sites].std(axis=0)
        return cls(sites, dosages[:, sites].mean(axis=0), np.sqrt(len(z)) * loadings / squares / spread[:, None])

    def beside(self, cohort: Cohort) -> Cohort:
        """Return samples with their components after their covariates."""
        posterior = cohort.posterior[:, self.sites]
        dosages = (posterior @ np.arange(3, dtype=np.float32)).astype(np.float64)
        away = np.where(np.isfinite(dosages), dosages - self.center, 0)
        return replace(cohort, covariates=np.concatenate([cohort.covariates, away @ self.loadings], axis=1))

    def save(self, folder: Path) -> None:
        """Write the components into a new folder."""
        folder.mkdir()
        for part in PARTS:
            save_array(folder / f"{part}.npy", getattr(self, part))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        return cls(*(np.load(folder / f"{part}.npy", allow_pickle=False) for part in PARTS))
