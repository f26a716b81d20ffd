"""Sums over calls from which every score is computed; they add up over samples, sites and masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snpimpute.genotypes.matrix import MISSING

LABELS = (0, 1, 2)
N_CALIBRATION_BINS = 10
FEWEST_CALLS = (
    10  # of fewer calls of a site r² is mostly chance: the site is left out, unless no more samples are scored
)
LEAST_VARIANCE = 1e-10  # of true genotypes or dosages, below which they count as all alike
LOG_FLOOR = 1e-4  # least posterior in the log-loss, for every imputer: posteriors with two decimals hold zeros

# Places of each kind of sum in the last axis of `site_sums`.
_HARD = slice(0, 9)  # calls by truth (row) and hard call (column)
_SOFT = slice(9, 18)  # posterior mass by truth (row) and genotype (column)
_DOSE = slice(18, 23)  # sums of d, d², t, t², d·t (dosage and truth, both less the mean of the truth at their site)
_LOG = 23  # sum of -log of the posterior of the truth
_CALIBRATION = slice(24, 24 + 3 * N_CALIBRATION_BINS)  # calls, sum of confidence, correct calls, by bin of confidence
_CHANCE = 24 + 3 * N_CALIBRATION_BINS  # agreement of posterior and truth by chance
_SITES = slice(_CHANCE + 1, _CHANCE + 4)  # shares in: r² of the sites that vary, sites that vary, sites that do not
N_SUMS = _CHANCE + 4


@dataclass(frozen=True, eq=False)
class Sums:
    """Summed `site_sums` under their names; the first axes (...) of all arrays are the same.

    Attributes:
        hard: float64 (..., 3, 3): calls by true genotype (row) and called genotype (column).
        soft: float64 (..., 3, 3): posterior mass by true genotype (row) and genotype (column).
        d, d2, t, t2, dt: float64 (...): sums of dosage, truth, their squares and their product, after the mean of the
            truth at the site was taken off both.
        chance: float64 (...): sum of the agreement of the posterior with a truth drawn at random at the site.
        r2, varied, constant: float64 (...): sum of r² within the sites that vary in the truth, number of these sites, number
            of those that do not vary. A call has its part of its site's, so that they add up over samples as well.
        log: float64 (...): sum of the negative logarithm of the posterior of the truth, nats.
        bins: float64 (..., 3, N_CALIBRATION_BINS): calls, sum of confidence, correct calls, by bin of confidence.
    """

    hard: np.ndarray
    soft: np.ndarray
    d: np.ndarray
    d2: np.ndarray
    t: np.ndarray
    t2: np.ndarray
    dt: np.ndarray
    chance: np.ndarray
    r2: np.ndarray
    varied: np.ndarray
    constant: np.ndarray
    log: np.ndarray
    bins: np.ndarray

    @classmethod
    def of(cls, sums: np.ndarray) -> Sums:
        """Split summed `site_sums`, float (..., N_SUMS), by name."""
        sums = np.asarray(sums, dtype=np.float64)
        d, d2, t, t2, dt = np.moveaxis(sums[..., _DOSE], -1, 0)
        r2, varied, constant = np.moveaxis(sums[..., _SITES], -1, 0)
        return cls(
            hard=sums[..., _HARD].reshape(*sums.shape[:-1], 3, 3),
            soft=sums[..., _SOFT].reshape(*sums.shape[:-1], 3, 3),
            d=d,
            d2=d2,
            t=t,
            t2=t2,
            dt=dt,
            chance=sums[..., _CHANCE],
            r2=r2,
            varied=varied,
            constant=constant,
            log=sums[..., _LOG],
            bins=sums[..., _CALIBRATION].reshape(*sums.shape[:-1], 3, N_CALIBRATION_BINS),
        )

    @property
    def n(self) -> np.ndarray:
        """Number of calls, float64 (...)."""
        return self.hard.sum(axis=(-2, -1))

    @property
    def n_soft(self) -> np.ndarray:
        """Number of calls with a posterior, float64 (...); that of `n` unless hard calls are missing where posteriors are not."""
        return np.rint(self.soft.sum(axis=(-2, -1)))

    @property
    def right(self) -> np.ndarray:
        """Number of right calls, float64 (...)."""
        return np.trace(self.hard, axis1=-2, axis2=-1)


def confusion(truth: np.ndarray, calls: np.ndarray) -> np.ndarray:
    """Count calls by true genotype (row) and called genotype (column), int64 (3, 3); missing truth (-1) is left out."""
    known = truth != MISSING
    return np.bincount(3 * truth[known].astype(int) + calls[known], minlength=9).reshape(3, 3)


def minor_coding(truth: np.ndarray, posterior: np.ndarray, alt_is_major: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return truth and posterior recoded to copies of the rarer allele.

    Args:
        truth: int8 (n_samples, n_sites), -1 = missing.
        posterior: float (n_samples, n_sites, 3).
        alt_is_major: bool (n_sites,).
    """
    flipped = np.where(alt_is_major & (truth != MISSING), 2 - truth, truth).astype(np.int8)
    return flipped, np.where(alt_is_major[None, :, None], posterior[:, :, ::-1], posterior)


def genotype_shares(truth: np.ndarray) -> np.ndarray:
    """Return the share of each genotype at each site, float64 (n_sites, 3), of calls int8 (n_samples, n_sites), -1 = missing.

    0 at a site where all calls are missing.
    """
    counts = np.stack([(truth == g).sum(axis=0) for g in LABELS], axis=1)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def site_sums(
    truth: np.ndarray,
    posterior: np.ndarray,
    calls: np.ndarray | None = None,
    dosage: np.ndarray | None = None,
    *,
    shares: np.ndarray | None = None,
    whole: bool = True,
) -> np.ndarray:
    """Return the sums of every call for `scores`, float32 (n_samples, n_sites, N_SUMS); 0 where the truth is missing.

    Args:
        truth: int8 (n_samples, n_sites), -1 = missing.
        posterior: float (n_samples, n_sites, 3); rows sum to 1.
        calls: int (n_samples, n_sites), hard calls; None = the genotype of the largest posterior.
        dosage: float (n_samples, n_sites); None = the posterior's mean.
        shares: float (n_sites, 3), as `genotype_shares` gives them, where more is known of the sites than `truth`; None =
            those of `truth`. What they tell is no merit of an imputer.
        whole: whether all scored samples of each site are there; if not, nothing is said of r² within sites.
    """
    known = truth != MISSING
    t = np.where(known, truth, 0)
    calls = posterior.argmax(axis=2) if calls is None else np.where(known, calls, 0)
    dosage = posterior @ np.array([0.0, 1.0, 2.0]) if dosage is None else np.where(known, dosage, 0.0)
    shares = genotype_shares(truth) if shares is None else shares
    expected = shares @ np.array([0.0, 1.0, 2.0])
    confidence = posterior.max(axis=2)
    right = np.take_along_axis(posterior, t[:, :, None], axis=2)[:, :, 0]
    sums = np.zeros((*truth.shape, N_SUMS), dtype=np.float32)
    np.put_along_axis(sums, (3 * t + calls)[:, :, None], 1.0, axis=2)
    for g in LABELS:
        np.put_along_axis(sums, (9 + 3 * t + g)[:, :, None], posterior[:, :, g : g + 1].astype(np.float32), axis=2)
    d, o = dosage - expected, t - expected
    sums[:, :, _DOSE] = np.stack([d, d**2, o, o**2, d * o], axis=2)
    sums[:, :, _CHANCE] = sum(posterior[:, :, g] * shares[:, g] for g in LABELS)
    sums[:, :, _LOG] = -np.log(np.clip(right, LOG_FLOOR, 1.0))
    bins = np.minimum((confidence * N_CALIBRATION_BINS).astype(int), N_CALIBRATION_BINS - 1)
    for k, value in enumerate((np.ones_like(confidence), confidence, (calls == t).astype(float))):
        np.put_along_axis(sums, (24 + k * N_CALIBRATION_BINS + bins)[:, :, None], value[:, :, None], axis=2)
    if whole:
        sums[:, :, _SITES] = np.stack(_within_sites(t, dosage, known), axis=2)
    sums[~known] = 0.0
    return sums


def _within_sites(t: np.ndarray, d: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each call's part of its site's r², and of the numbers of sites that vary and that do not, float64 (n_samples, n_sites).

    r² of a site where the truth varies and the dosages do not is 0: who says the same of all samples knows nothing of them. A
    call's part of r² is an nth of it plus its influence (Hampel 1974, doi:10.2307/2285666): over all calls that is r², and over
    calls drawn with replacement what r² comes to, to first order.

    Args:
        t, d: true genotypes and dosages, (n_samples, n_sites).
        known: bool (n_samples, n_sites), the calls that count.
    """
    n = known.sum(axis=0)
    part = known / np.maximum(n, 1)
    deviations = [np.where(known, value - (value * part).sum(axis=0), 0.0) for value in (t, d)]
    variances = [(deviation**2 * part).sum(axis=0) for deviation in deviations]
    counted = (n > 0) & ((n >= FEWEST_CALLS) | (2 * n >= len(known)))
    varied = counted & (variances[0] > LEAST_VARIANCE)
    both = varied & (variances[1] > LEAST_VARIANCE)
    zt, zd = (
        deviation / np.sqrt(np.where(both, variance, 1.0))
        for deviation, variance in zip(deviations, variances, strict=True)
    )
    r = np.where(both, (zt * zd * part).sum(axis=0), 0.0)
    r2 = part * (r**2 + r * (2 * zt * zd - r * (zt**2 + zd**2)))
    return r2, part * varied, part * (counted & ~varied)


def with_hard_calls_of(sums: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return sums in which what counts hard calls (confusion, calibration) is that of others, (..., N_SUMS) each."""
    both = sums.copy()
    both[..., _HARD] = others[..., _HARD]
    both[..., _CALIBRATION] = others[..., _CALIBRATION]
    return both


def hard_confusion(sums: np.ndarray) -> np.ndarray:
    """Return calls by true genotype (row) and called genotype (column), float64 (3, 3), from summed `site_sums`."""
    return np.asarray(sums, dtype=np.float64)[_HARD].reshape(3, 3)


def calibration_bins(sums: np.ndarray) -> np.ndarray:
    """Return the bins of confidence, float64 (N_CALIBRATION_BINS, 3), from summed `site_sums`.

    The columns are: calls, mean confidence, share of correct calls; the last two are NaN in an empty bin.
    """
    n, confidence, correct = np.asarray(sums, dtype=np.float64)[_CALIBRATION].reshape(3, N_CALIBRATION_BINS)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.stack([n, confidence / n, correct / n], axis=1)
