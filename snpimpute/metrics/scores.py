"""Scores of imputed genotypes against the truth, all derived from sums that can be added over samples and sites."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from snpimpute.genotypes.matrix import MISSING

LABELS = (0, 1, 2)
MAF_BINS = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
RARE_MAF = 0.05
N_CALIBRATION_BINS = 10
LOG_FLOOR = 1e-4  # posteriors with two decimals hold zeros: a log-loss clips them here, for every imputer alike

# where each kind of sum lies in the last axis of `site_sums`
_HARD = slice(0, 9)  # calls by truth (row) and hard call (column)
_SOFT = slice(9, 18)  # posterior mass by truth (row) and genotype (column)
_DOSE = slice(18, 23)  # sums of d, d², t, t², d·t (d dosage, t truth)
_LOG = 23  # sum of -log posterior of the truth
_CALIBRATION = slice(24, 24 + 3 * N_CALIBRATION_BINS)  # calls, sum of confidence, correct calls, by bin of confidence
N_SUMS = 24 + 3 * N_CALIBRATION_BINS


def confusion(truth: np.ndarray, calls: np.ndarray) -> np.ndarray:
    """int64 (3, 3): calls counted by true genotype (row) and called genotype (column); missing truth (-1) is left out."""
    known = truth != MISSING
    return np.bincount(3 * truth[known].astype(int) + calls[known], minlength=9).reshape(3, 3)


def f1_macro(truth: np.ndarray, calls: np.ndarray) -> float:
    """Mean of the F1 of genotypes 0, 1 and 2, each 0 where it is neither true nor called (zero division)."""
    return float(f1_per_genotype(confusion(truth, calls)).mean())


def f1_per_genotype(counts: np.ndarray) -> np.ndarray:
    """float64 (..., 3) F1 of each genotype from confusions (..., 3, 3); 0 on zero division."""
    hit = np.diagonal(counts, axis1=-2, axis2=-1)
    total = counts.sum(axis=-1) + counts.sum(axis=-2)
    return np.divide(2.0 * hit, total, out=np.zeros(hit.shape), where=total > 0)


def minor_coding(truth: np.ndarray, posterior: np.ndarray, alt_is_major: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same truth and posterior counted in copies of the rarer allele.

    Args:
        truth: int8 (n_samples, n_sites), -1 = missing.
        posterior: float (n_samples, n_sites, 3).
        alt_is_major: bool (n_sites,).
    """
    flipped = np.where(alt_is_major & (truth != MISSING), 2 - truth, truth).astype(np.int8)
    return flipped, np.where(alt_is_major[None, :, None], posterior[:, :, ::-1], posterior)


def site_sums(
    truth: np.ndarray, posterior: np.ndarray, calls: np.ndarray | None = None, dosage: np.ndarray | None = None
) -> np.ndarray:
    """float32 (n_samples, n_sites, N_SUMS): for every call what `scores` needs once summed; 0 where the truth is missing.

    Args:
        truth: int8 (n_samples, n_sites), -1 = missing.
        posterior: float (n_samples, n_sites, 3); rows sum to 1.
        calls: int (n_samples, n_sites) hard calls, where they are given beside the posterior; None = its largest.
        dosage: float (n_samples, n_sites), where it is given beside the posterior; None = its mean.
    """
    known = truth != MISSING
    t = np.where(known, truth, 0)
    calls = posterior.argmax(axis=2) if calls is None else np.where(known, calls, 0)
    dosage = posterior @ np.array([0.0, 1.0, 2.0]) if dosage is None else np.where(known, dosage, 0.0)
    confidence = posterior.max(axis=2)
    right = np.take_along_axis(posterior, t[:, :, None], axis=2)[:, :, 0]
    sums = np.zeros((*truth.shape, N_SUMS), dtype=np.float32)
    np.put_along_axis(sums, (3 * t + calls)[:, :, None], 1.0, axis=2)
    for g in LABELS:
        np.put_along_axis(sums, (9 + 3 * t + g)[:, :, None], posterior[:, :, g : g + 1].astype(np.float32), axis=2)
    sums[:, :, _DOSE] = np.stack([dosage, dosage**2, t, t**2, dosage * t], axis=2)
    sums[:, :, _LOG] = -np.log(np.clip(right, LOG_FLOOR, 1.0))
    bins = np.minimum((confidence * N_CALIBRATION_BINS).astype(int), N_CALIBRATION_BINS - 1)
    for k, value in enumerate((np.ones_like(confidence), confidence, (calls == t).astype(float))):
        np.put_along_axis(sums, (24 + k * N_CALIBRATION_BINS + bins)[:, :, None], value[:, :, None], axis=2)
    sums[~known] = 0.0
    return sums


def scores(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Every score from summed `site_sums`.

    Args:
        sums: float (..., N_SUMS).

    Returns:
        metric → float64 (...): `f1_macro`, `f1_micro` (equal to concordance: every call has one label), `f1_0|1|2`;
        `dosage_r2` (squared correlation of dosage and true genotype pooled over calls; NaN without variation);
        `iqs` (imputation quality score, Lin et al. 2010: agreement of the posterior beyond chance; NaN without
        variation); `log_loss` (nats); `ece` (expected calibration error, 10 bins); `wrong` and `truth_0|1|2` (counts).
    """
    sums = np.asarray(sums, dtype=np.float64)
    hard = sums[..., _HARD].reshape(*sums.shape[:-1], 3, 3)
    soft = sums[..., _SOFT].reshape(*sums.shape[:-1], 3, 3)
    n = hard.sum(axis=(-2, -1))
    f1 = f1_per_genotype(hard)
    agree = np.trace(hard, axis1=-2, axis2=-1)
    d, d2, t, t2, dt = np.moveaxis(sums[..., _DOSE], -1, 0)
    bins = sums[..., _CALIBRATION].reshape(*sums.shape[:-1], 3, N_CALIBRATION_BINS)
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = n * dt - d * t
        spread = (n * d2 - d**2) * (n * t2 - t**2)
        observed = np.trace(soft, axis1=-2, axis2=-1) / n
        chance = (soft.sum(axis=-1) * soft.sum(axis=-2)).sum(axis=-1) / n**2
        result = {
            "f1_macro": f1.mean(axis=-1),
            "f1_micro": agree / n,
            "f1_0": f1[..., 0],
            "f1_1": f1[..., 1],
            "f1_2": f1[..., 2],
            "dosage_r2": np.where(spread > 1e-9, covariance**2 / spread, np.nan),
            "iqs": np.where(1 - chance > 1e-9, (observed - chance) / (1 - chance), np.nan),
            "log_loss": sums[..., _LOG] / n,
            "ece": np.abs(bins[..., 1, :] - bins[..., 2, :]).sum(axis=-1) / n,
        }
    result["wrong"] = n - agree
    for g in LABELS:
        result[f"truth_{g}"] = hard.sum(axis=-1)[..., g]
    return {metric: np.where(n > 0, value, np.nan) for metric, value in result.items()}


def non_reference_concordance(sums: np.ndarray) -> np.ndarray:
    """float64 (...): share of right calls where truth and call are not both 0, from summed `site_sums`; NaN without such calls.

    One minus the non-reference discordance of `bcftools stats`.
    """
    sums = np.asarray(sums, dtype=np.float64)
    hard = sums[..., _HARD].reshape(*sums.shape[:-1], 3, 3)
    right, both_reference = np.trace(hard, axis1=-2, axis2=-1), hard[..., 0, 0]
    n = hard.sum(axis=(-2, -1)) - both_reference
    return np.divide(right - both_reference, n, out=np.full(n.shape, np.nan), where=n > 0)


def centred_sums(truth: np.ndarray, dosage: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """float64 (n_samples, 6): what `correlation` needs, summed over sites, of deviations from the expected dosage.

    Args:
        truth: int8 (n_samples, n_sites), -1 = missing.
        dosage: float (n_samples, n_sites).
        frequency: float (n_sites,), of the alternate allele; a site where it is NaN is left out.
    """
    known = (truth != MISSING) & np.isfinite(frequency)
    expected = np.where(np.isfinite(frequency), 2 * frequency, 0.0)
    t = np.where(known, truth - expected, 0.0)
    d = np.where(known, dosage - expected, 0.0)
    return np.stack([part.sum(axis=1) for part in (known, t, d, t * t, d * d, t * d)], axis=1)


def correlation(sums: np.ndarray) -> np.ndarray:
    """float64 (...): Pearson's correlation from `centred_sums` (..., 6); NaN without variation.

    Of deviations from the expected dosage, because over sites of different frequency any guess by frequency alone
    correlates with the truth (Calus et al. 2014, doi:10.1017/S1751731114001803).
    """
    n, t, d, t2, d2, td = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    spread = (n * t2 - t**2) * (n * d2 - d**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread > 1e-9, (n * td - t * d) / np.sqrt(spread), np.nan)


def maf_bin_names() -> list[str]:
    """The bins between MAF_BINS as `0.01-0.05`."""
    return [f"{low:.2f}-{high:.2f}" for low, high in pairwise(MAF_BINS)]


def maf_subsets(maf: np.ndarray) -> dict[str, np.ndarray]:
    """Subset (`maf:0.01-0.05`) → bool (n_sites,): the sites of each bin, in order, by their MAF float64 (n_sites,)."""
    place = maf_bin(maf)
    return {f"maf:{name}": place == number for number, name in enumerate(maf_bin_names())}


def maf_bin(maf: np.ndarray) -> np.ndarray:
    """int64: the bin of each MAF, the upper bound of the last one within; -1 where it is NaN."""
    place = np.clip(np.searchsorted(MAF_BINS, maf, side="right") - 1, 0, len(MAF_BINS) - 2)
    return np.where(np.isnan(maf), -1, place)


def calibration_bins(sums: np.ndarray) -> np.ndarray:
    """float64 (N_CALIBRATION_BINS, 3): calls, mean confidence, share of correct calls, by bin of confidence; NaN if empty."""
    n, confidence, correct = np.asarray(sums, dtype=np.float64)[_CALIBRATION].reshape(3, N_CALIBRATION_BINS)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.stack([n, confidence / n, correct / n], axis=1)


def hard_confusion(sums: np.ndarray) -> np.ndarray:
    """float64 (3, 3): calls by true genotype (row) and called genotype (column)."""
    return np.asarray(sums, dtype=np.float64)[_HARD].reshape(3, 3)


def resampling_weights(units: np.ndarray, n_cells: int, n_resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Bootstrap weights of samples and of cells (masks or site blocks), drawn together.

    Args:
        units: int (n_samples,): what is resampled as one (the sample itself, or its family).
        n_cells: number of masks or site blocks; with 1 only samples are resampled.
        n_resamples: number of bootstrap samples.
        seed: same seed, same weights: that is what makes differences between imputers paired.

    Returns:
        float64 (n_resamples, n_samples) and (n_resamples, n_cells): how often each was drawn.
    """
    rng = np.random.default_rng(seed)
    codes, inverse = np.unique(units, return_inverse=True)
    drawn = rng.multinomial(len(codes), np.full(len(codes), 1 / len(codes)), size=n_resamples)
    cells = rng.multinomial(n_cells, np.full(n_cells, 1 / n_cells), size=n_resamples)
    return drawn[:, inverse].astype(float), cells.astype(float)


def resample(sums: np.ndarray, weights: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """float64 (n_resamples, n_sums) from sums (n_samples, n_cells, n_sums) and `resampling_weights`."""
    samples, cells = weights
    n, c, k = sums.shape
    by_cell = (samples @ sums.reshape(n, c * k)).reshape(len(samples), c, k)
    return np.einsum("bck,bc->bk", by_cell, cells)


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of bootstrap values (n_resamples,), NaN ones left out; (NaN, NaN) if none is left."""
    values = values[np.isfinite(values)]
    if not len(values):
        return np.nan, np.nan
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
