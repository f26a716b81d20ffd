"""Scores of imputed genotypes against the truth, computed from sums over calls."""

from __future__ import annotations

import numpy as np

from snpimpute.genotypes.matrix import MISSING
from snpimpute.metrics.registry import METRICS, f1_per_genotype
from snpimpute.metrics.sums import LABELS, Sums, confusion

SITE_COUNTS = (
    "sites_varied",
    "sites_constant",
)  # sites whose r² is averaged; those left out, where the truth does not vary


def f1_macro(truth: np.ndarray, calls: np.ndarray) -> float:
    """Return the mean of the F1 of genotypes 0, 1 and 2; a genotype that is neither true nor called counts as 0.

    Args:
        truth: int (...), -1 = missing, not counted.
        calls: int (...), genotypes 0, 1, 2.
    """
    return float(f1_per_genotype(confusion(truth, calls)).mean())


def scores(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Compute every registered metric from summed `site_sums`.

    Args:
        sums: float (..., N_SUMS).

    Returns:
        metric → float64 (...), NaN without calls: those in METRICS, and the counts `wrong`, `truth_0|1|2`, and of the sites
        whose r² is averaged `sites_varied`, of those left out since all true genotypes are alike `sites_constant`.
    """
    named = Sums.of(sums)
    n, n_soft = named.n, named.n_soft
    with np.errstate(divide="ignore", invalid="ignore"):
        result = {key: metric.compute(named) for key, metric in METRICS.items()}
    result["wrong"] = n - named.right
    for genotype in LABELS:
        result[f"truth_{genotype}"] = named.hard.sum(axis=-1)[..., genotype]
    result |= dict(zip(SITE_COUNTS, (np.rint(named.varied), np.rint(named.constant)), strict=True))
    soft = {key for key, metric in METRICS.items() if not metric.of_calls}
    return {metric: np.where((n_soft if metric in soft else n) > 0, value, np.nan) for metric, value in result.items()}


def non_reference_concordance(sums: np.ndarray) -> np.ndarray:
    """Return the share of right calls, float64 (...), where truth or call is not 0; NaN without such calls.

    This is one minus the non-reference discordance of `bcftools stats`.

    Args:
        sums: float (..., N_SUMS), summed `site_sums`.
    """
    hard = Sums.of(sums).hard
    right, both_reference = np.trace(hard, axis1=-2, axis2=-1), hard[..., 0, 0]
    n = hard.sum(axis=(-2, -1)) - both_reference
    return np.divide(right - both_reference, n, out=np.full(n.shape, np.nan), where=n > 0)


def centred_sums(truth: np.ndarray, dosage: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """Return each sample's sums for `correlation`, float64 (n_samples, 6), of deviations from the expected dosage.

    Args:
        truth: int8 (n_samples, n_sites), -1 = missing.
        dosage: float (n_samples, n_sites).
        frequency: float (n_sites,), of the alternate allele; sites where it is NaN are left out.
    """
    known = (truth != MISSING) & np.isfinite(frequency)
    expected = np.where(np.isfinite(frequency), 2 * frequency, 0.0)
    t = np.where(known, truth - expected, 0.0)
    d = np.where(known, dosage - expected, 0.0)
    return np.stack([part.sum(axis=1) for part in (known, t, d, t * t, d * d, t * d)], axis=1)


def correlation(sums: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation, float64 (...), from `centred_sums` (..., 6); NaN without variation.

    It correlates deviations from the expected dosage, because over sites of different frequency any guess by frequency
    alone correlates with the truth (Calus et al. 2014, doi:10.1017/S1751731114001803).
    """
    n, t, d, t2, d2, td = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    spread = (n * t2 - t**2) * (n * d2 - d**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread > 1e-9, (n * td - t * d) / np.sqrt(spread), np.nan)
