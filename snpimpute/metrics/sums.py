"""Sums over calls from which every score is computed; they add up over samples, sites and masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snpimpute.genotypes.matrix import MISSING

LABELS = (0, 1, 2)
N_CALIBRATION_BINS = 10
LOG_FLOOR = 1e-4  # least posterior in the log-loss, for every imputer: posteriors with two decimals hold zeros

# Places of each kind of sum in the last axis of `site_sums`.
_HARD = slice(0, 9)  # calls by truth (row) and hard call (column)
_SOFT = slice(9, 18)  # posterior mass by truth (row) and genotype (column)
_DOSE = slice(18, 23)  # sums of d, d², t, t², d·t (d = dosage, t = truth)
_LOG = 23  # sum of -log of the posterior of the truth
_CALIBRATION = slice(24, 24 + 3 * N_CALIBRATION_BINS)  # calls, sum of confidence, correct calls, by bin of confidence
N_SUMS = 24 + 3 * N_CALIBRATION_BINS


@dataclass(frozen=True, eq=False)
class Sums:
    """Summed `site_sums` under their names; the first axes (...) of all arrays are the same.

    Attributes:
        hard: float64 (..., 3, 3): calls by true genotype (row) and called genotype (column).
        soft: float64 (..., 3, 3): posterior mass by true genotype (row) and genotype (column).
        d, d2, t, t2, dt: float64 (...): sums of dosage, truth, their squares and their product.
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
    log: np.ndarray
    bins: np.ndarray

    @classmethod
    def of(cls, sums: np.ndarray) -> Sums:
        """Split summed `site_sums`, float (..., N_SUMS), by name."""
        sums = np.asarray(sums, dtype=np.float64)
        d, d2, t, t2, dt = np.moveaxis(sums[..., _DOSE], -1, 0)
        return cls(
            hard=sums[..., _HARD].reshape(*sums.shape[:-1], 3, 3),
            soft=sums[..., _SOFT].reshape(*sums.shape[:-1], 3, 3),
            d=d,
            d2=d2,
            t=t,
            t2=t2,
            dt=dt,
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


def site_sums(
    truth: np.ndarray, posterior: np.ndarray, calls: np.ndarray | None = None, dosage: np.ndarray | None = None
) -> np.ndarray:
    """Return the sums of every call for `scores`, float32 (n_samples, n_sites, N_SUMS); 0 where the truth is missing.

    Args:
        truth: int8 (n_samples, n_sites), -1 = missing.
        posterior: float (n_samples, n_sites, 3); rows sum to 1.
        calls: int (n_samples, n_sites), hard calls; None = the genotype of the largest posterior.
        dosage: float (n_samples, n_sites); None = the posterior's mean.
    """
    known = truth != MISSING
    t = np.where(known, truth, 0)
    calls = posterior.argmax(axis=2) if calls is None else np.where(known, calls, 0)
    dosage = posterior @ np.array([0.0, 1.0, 2.0]) if dosage is None else dosage
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
