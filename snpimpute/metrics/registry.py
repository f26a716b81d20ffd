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


def _site_dosage_r2(sums: Sums) -> np.ndarray:
    """Return the mean over sites of r² within the site; NaN if no site varies in the truth."""
    return np.where(sums.varied > 0, sums.r2 / sums.varied, np.nan)


def _centred_dosage_r2(sums: Sums) -> np.ndarray:
    """Return r² of dosage and true genotype, both less their site's mean; NaN if the truth does not vary, 0 if dosages do not."""
    covariance = sums.n_soft * sums.dt - sums.d * sums.t
    of_truth, of_dosage = sums.n_soft * sums.t2 - sums.t**2, sums.n_soft * sums.d2 - sums.d**2
    r2 = np.where(of_dosage > 1e-9, covariance**2 / (of_truth * of_dosage), 0.0)
    return np.where(of_truth > 1e-9, r2, np.nan)


def centred_correlation(sums: Sums) -> np.ndarray:
    """Return the signed root of centred dosage r²; over few calls it is 0 on average for who knows nothing, r² is not."""
    covariance = sums.n_soft * sums.dt - sums.d * sums.t
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sign(covariance) * np.sqrt(_centred_dosage_r2(sums))


def _centred_iqs(sums: Sums) -> np.ndarray:
    """Return the imputation quality score, chance agreement taken site by site; NaN where it is complete."""
    observed = np.trace(sums.soft, axis1=-2, axis2=-1)
    return np.where(
        sums.n_soft - sums.chance > 1e-4 * sums.n_soft, (observed - sums.chance) / (sums.n_soft - sums.chance), np.nan
    )


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
        "concordance",
        (0, 1),
        higher_is_better=True,
        needs_posterior=False,
        compared=True,
        of_calls=True,
        compute=lambda sums: sums.right / sums.n,
        meaning="Share of correct calls. Every call has one label, so that it is micro-F1 too.",
    ),
    *(_f1_of(genotype) for genotype in (0, 1, 2)),
    Metric(
        "site_dosage_r2",
        "dosage r² within sites",
        (0, 1),
        higher_is_better=True,
        needs_posterior=False,
        compared=True,
        of_calls=False,
        compute=_site_dosage_r2,
        meaning=(
            "Squared correlation of dosage and true genotype within each site, the mean over sites. Sites that do not vary in the "
            "truth are left out; where dosages do not vary it is 0. Not defined where single calls are hidden."
        ),
    ),
    Metric(
        "centred_dosage_r2",
        "centred dosage r²",
        (0, 1),
        higher_is_better=True,
        needs_posterior=False,
        compared=True,
        of_calls=False,
        compute=_centred_dosage_r2,
        meaning=(
            "Squared correlation of dosage and true genotype, pooled over calls after the mean of the truth at the site was taken "
            "off both: a difference between sites counts for nothing."
        ),
    ),
    Metric(
        "centred_iqs",
        "IQS",
        (None, 1),
        higher_is_better=True,
        needs_posterior=False,
        compared=False,
        of_calls=False,
        compute=_centred_iqs,
        meaning=(
            "Imputation quality score: agreement of posterior and truth beyond chance (Lin et al. 2010), pooled over calls; chance "
            "goes by the genotype frequencies of each site."
        ),
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
