"""Offsets of hard calls: numbers added to the log-posterior before the call, chosen where the truth is known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snpimpute.genotypes.matrix import MISSING

STEP = 0.05  # between the offsets tried, natural logarithm; F1 hardly changes within it
N_STEPS = 60  # each way: no offset is above 3, a factor of 20
_OFFSETS = STEP * np.arange(-N_STEPS, N_STEPS + 1)
_DIFFERENCES = STEP * np.arange(-2 * N_STEPS, 2 * N_STEPS + 1)  # between two offsets
_FLOOR = 1e-12  # least posterior whose logarithm is taken


def reweighted(posterior: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the posterior with offsets added to its logarithm, float64 (..., 3); rows sum to 1.

    The result serves hard calls only: it is no probability.

    Args:
        posterior: float (..., 3).
        offsets: float (3,).
    """
    weighted = posterior * np.exp(np.asarray(offsets, dtype=np.float64))
    return weighted / weighted.sum(axis=-1, keepdims=True)


def with_offsets(posterior: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the hard calls, int64 (...): the genotype of the largest log-posterior plus offset; the lower one at ties.

    See `reweighted`.
    """
    return reweighted(posterior, offsets).argmax(axis=-1)


def chosen_offsets(truth: np.ndarray, posterior: np.ndarray) -> np.ndarray:
    """Choose the offsets whose hard calls have the highest macro-F1 (labels 0, 1, 2); that of genotype 0 is 0.

    Every pair of offsets of genotypes 1 and 2 from -3 to 3 in steps of 0.05 is tried. Of equally good pairs the nearest
    to zero is taken (by the sum of absolute values; then the lowest), so that offsets differ from zero only for a gain.
    Offsets replace the prior behind the posterior by another one (Saerens et al. 2002,
    doi:10.1162/089976602753284446), here by the one with the highest macro-F1.

    Args:
        truth: int8 (...), -1 = missing: not counted.
        posterior: float (..., 3).

    Returns:
        float64 (3,), natural logarithm; zeros if no truth is known.
    """
    known = truth != MISSING
    truth, logs = truth[known], np.log(np.maximum(posterior[known], _FLOOR, dtype=np.float64))
    het, hom = logs[:, 1] - logs[:, 0], logs[:, 2] - logs[:, 0]
    # Index of the first offset of 1 that calls 1 rather than 0, of the first offset of 2 that calls 2 rather than 0,
    # and of the first difference of the two that calls 2 rather than 1.
    het_over_ref = np.searchsorted(_OFFSETS, -het, side="right")
    hom_over_ref = np.searchsorted(_OFFSETS, -hom, side="right")
    hom_over_het = np.searchsorted(_DIFFERENCES, het - hom, side="right")
    n, n_differences = len(_OFFSETS), len(_DIFFERENCES)
    i, j = np.indices((n, n))
    k = j - i + n - 1

    def count_called(genotype: int, chosen: np.ndarray) -> np.ndarray:
        """Count the chosen calls (bool) called `genotype`, int64 (n, n), by offset of 1 (row) and of 2 (column)."""
        if genotype == 0:
            return _count_within(het_over_ref[chosen], hom_over_ref[chosen], (n, n), (True, True))
        if genotype == 1:
            return _count_within(het_over_ref[chosen], hom_over_het[chosen], (n, n_differences), (False, True))[i, k]
        return _count_within(hom_over_ref[chosen], hom_over_het[chosen], (n, n_differences), (False, False))[j, k]

    macro = np.zeros((n, n))
    for genotype in range(3):
        true = truth == genotype
        total = true.sum() + count_called(genotype, np.ones_like(true))
        macro += np.divide(2.0 * count_called(genotype, true), total, out=np.zeros((n, n)), where=total > 0) / 3
    from_zero = np.abs(_OFFSETS)[:, None] + np.abs(_OFFSETS)[None, :]
    row, column = np.unravel_index(np.where(macro >= macro.max() - 1e-12, from_zero, np.inf).argmin(), (n, n))
    return np.array([0.0, _OFFSETS[row], _OFFSETS[column]])


def _count_within(a: np.ndarray, b: np.ndarray, size: tuple[int, int], above: tuple[bool, bool]) -> np.ndarray:
    """Count the pairs (a, b) with a ≤ row and b ≤ column, int64 `size`.

    Args:
        a, b: int (n_calls,), from 0 to the number of rows and columns.
        size: rows and columns of the result.
        above: where true, count a > row in place of a ≤ row; likewise b > column.
    """
    rows, columns = size
    counts = np.bincount(a * (columns + 1) + b, minlength=(rows + 1) * (columns + 1)).reshape(rows + 1, columns + 1)
    for axis in (0, 1):
        within = counts.cumsum(axis=axis)
        counts = within.take([-1], axis=axis) - within if above[axis] else within
    return counts[:rows, :columns]


def offsets_at(by_level: Mapping[float, np.ndarray], level: float) -> np.ndarray:
    """Return the offsets of the level (percent missing) nearest to this one; of two equally near, of the lower."""
    return by_level[min(by_level, key=lambda other: (abs(other - level), other))]
