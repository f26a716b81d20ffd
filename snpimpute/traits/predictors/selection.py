"""Choice of sites within the samples that are learned from: rarity, linkage, association. Outside of them it would leak."""

from __future__ import annotations

import numpy as np

from snpimpute.traits.phenotypes import without_covariates
from snpimpute.traits.predictors.cohort import Cohort

LEAST_SPREAD = 1e-6  # standard deviation of the dosages of a site that varies
WINDOW = 50  # sites to either side within which linkage is looked at


def chosen_sites(panel: Cohort, min_maf: float, max_r2: float | None, n_best: int | None) -> np.ndarray:
    """Return the numbers of the sites to learn from, int (n_chosen,), ascending; at least one.

    Args:
        panel: samples that are learned from; nothing else is looked at.
        min_maf: least MAF.
        max_r2: sites whose r² with an earlier chosen one within WINDOW sites is above are left out; None = all stay.
        n_best: number of sites with the strongest association with the trait, its covariates taken out; None = all stay.
    """
    dosages = expected_alleles(panel.posterior)
    frequency = dosages.mean(axis=0) / 2
    maf = np.minimum(frequency, 1 - frequency)
    sites = np.flatnonzero((maf >= min_maf) & (dosages.std(axis=0) > LEAST_SPREAD))
    if not len(sites):
        return np.array([int(np.argmax(maf))])
    if max_r2 is None and n_best is None:
        return sites
    z = standardised(dosages[:, sites])
    if max_r2 is not None:
        kept = _unlinked(z, max_r2)
        sites, z = sites[kept], z[:, kept]
    if n_best is not None and n_best < len(sites):
        strength = np.abs(z.T @ without_covariates(panel.values, panel.covariates))
        sites = np.sort(sites[np.argsort(-strength, kind="stable")[:n_best]])
    return sites


def expected_alleles(posterior: np.ndarray) -> np.ndarray:
    """Return dosages, float64 (n_samples, n_sites), of genotypes; a missing one has its site's mean."""
    dosages = (posterior @ np.arange(3, dtype=np.float32)).astype(np.float64)
    known = np.isfinite(dosages)
    mean = np.divide(np.where(known, dosages, 0).sum(axis=0), np.maximum(known.sum(axis=0), 1))
    return np.where(known, dosages, mean)


def standardised(dosages: np.ndarray) -> np.ndarray:
    """Return dosages, float64 (n_samples, n_sites), at mean 0 and standard deviation 1; 0 where a site does not vary."""
    spread = dosages.std(axis=0)
    return (dosages - dosages.mean(axis=0)) / np.where(spread > LEAST_SPREAD, spread, np.inf)


def _unlinked(z: np.ndarray, max_r2: float) -> np.ndarray:
    """Return the sites, of standardised dosages, that no earlier one of those returned is linked with."""
    kept: list[int] = []
    for site in range(z.shape[1]):
        near = [other for other in kept[-WINDOW:] if site - other <= WINDOW]
        r = z[:, near].T @ z[:, site] / len(z)
        if not (r**2 > max_r2).any():
            kept.append(site)
    return np.array(kept)
