"""Registry of the metrics that compare imputers, read by scores, report, dashboard, MLflow and documentation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from snpimpute.metrics.sums import Sums


@dataclass(frozen=True)
class Metric:
    """Entry of the registry: a score of imputed genotypes.

    Attributes:
        key: name in tables and, with prefixes, in MLflow.
        label: name in words, as in "dosage r²".
        range: lowest and highest value; None where there is no bound.
        higher_is_better: whether a higher value is better.
        needs_posterior: whether the metric is meaningless for smoothed hard calls.
        compared: whether imputers get paired differences to the best in this metric.
        of_calls: whether it depends on the hard calls alone, so that offsets can change it.
        compute: maps Sums to float64 (...); NaN where it is not defined. Division by zero raises no warning.
        meaning: one sentence for the documentation.
    """

    key: str
    label: str
    range: tuple[float | None, float | None]
    higher_is_better: bool
    needs_posterior: bool
    compared: bool
    of_calls: bool
    compute: Callable[[Sums], np.ndarray]
    meaning: str


def f1_per_genotype(counts: np.ndarray) -> np.ndarray:
    """Return the F1 of each genotype, float64 (..., 3), from confusion counts (..., 3, 3); 0 on zero division."""
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    total = counts.sum(axis=-1) + counts.sum(axis=-2)
    return np.divide(2.0 * right, total, out=np.zeros(right.shape), where=total > 0)


def _f1_of(genotype: int) -> Metric:
    """Return the entry of one genotype's F1."""
    return Metric(
        f"f1_{genotype}",
        "F1 of heterozygotes" if genotype == 1 else f"F1 of genotype {genotype}",
        (0, 1),
        higher_is_better=True,
        needs_posterior=False,
        compared=genotype == 1,
        of_calls=True,
        compute=lambda sums: f1_per_genotype(sums.hard)[..., genotype],
        meaning=f"F1 of calls with {genotype} alternate alleles.",
    )


def _dosage_r2(sums: Sums) -> np.ndarray:
    """Return the squared correlation of dosage and true genotype; NaN without variation."""
    covariance = sums.n_soft * sums.dt - sums.d * sums.t
    spread = (sums.n_soft * sums.d2 - sums.d**2) * (sums.n_soft * sums.t2 - sums.t**2)
    return np.where(spread > 1e-9, covariance**2 / spread, np.nan)


def _iqs(sums: Sums) -> np.ndarray:
    """Return the imputation quality score (Lin et al. 2010); NaN where chance agreement is complete."""
    observed = np.trace(sums.soft, axis1=-2, axis2=-1) / sums.n_soft
    chance = (sums.soft.sum(axis=-1) * sums.soft.sum(axis=-2)).sum(axis=-1) / sums.n_soft**2
    return np.where(1 - chance > 1e-9, (observed - chance) / (1 - chance), np.nan)


def _calibration_error(sums: Sums) -> np.ndarray:
    """Return the mean distance of confidence and accuracy over the bins of confidence."""
    return np.abs(sums.bins[..., 1, :] - sums.bins[..., 2, :]).sum(axis=-1) / sums.n


_ALL = (
    Metric(
        "f1_macro",
        "macro-F1",
        (0, 1),
        higher_is_better=True,
        needs_posterior=False,
        compared=True,
        of_calls=True,
        compute=lambda sums: f1_per_genotype(sums.hard).mean(axis=-1),
        meaning="Mean of the F1 of genotypes 0, 1 and 2; a genotype that is neither true nor called counts as 0.",
    ),
    Metric(
        "f1_micro",
        "share of correct calls",
        (0, 1),
        higher_is_better=True,
        needs_posterior=False,
        compared=True,
        of_calls=True,
        compute=lambda sums: sums.right / sums.n,
        meaning="Concordance: every call has one label, so that micro-F1 is the share of correct calls.",
    ),
    *(_f1_of(genotype) for genotype in (0, 1, 2)),
    Metric(
        "dosage_r2",
        "dosage r²",
        (0, 1),
        higher_is_better=True,
        needs_posterior=False,
        compared=True,
        of_calls=False,
        compute=_dosage_r2,
        meaning="Squared correlation of dosage and true genotype, pooled over calls; not defined without variation.",
    ),
    Metric(
        "iqs",
        "IQS",
        (None, 1),
        higher_is_better=True,
        needs_posterior=False,
        compared=False,
        of_calls=False,
        compute=_iqs,
        meaning="Imputation quality score: agreement of posterior and truth beyond chance (Lin et al. 2010).",
    ),
    Metric(
        "log_loss",
        "log-loss (nats)",
        (0, None),
        higher_is_better=False,
        needs_posterior=True,
        compared=False,
        of_calls=False,
        compute=lambda sums: sums.log / sums.n_soft,
        meaning="Mean negative logarithm of the posterior of the true genotype, which is taken as at least 0.0001.",
    ),
    Metric(
        "ece",
        "calibration error",
        (0, 1),
        higher_is_better=False,
        needs_posterior=True,
        compared=False,
        of_calls=False,
        compute=_calibration_error,
        meaning="Expected calibration error: mean distance of confidence and accuracy over ten bins of confidence.",
    ),
)
METRICS = {metric.key: metric for metric in _ALL}
