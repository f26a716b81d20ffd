"""The hard call as a decision of its own: offsets on the log-posterior, chosen where the truth is known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snpimpute.genotypes.matrix import MISSING

STEP = 0.05  # of the offsets tried, natural logarithm; F1 hardly moves within it
N_STEPS = 60  # each way: no offset is above 3, a factor of 20
_OFFSETS = STEP * np.arange(-N_STEPS, N_STEPS + 1)
_DIFFERENCES = STEP * np.arange(-2 * N_STEPS, 2 * N_STEPS + 1)  # of two offsets
_FLOOR = 1e-12  # of a posterior in a logarithm


def reweighted(posterior: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """float64 (..., 3): the posterior with these offsets added to its logarithm, rows sum to 1; of use for hard calls alone.

    Args:
        posterior: float (..., 3).
        offsets: float (3,).
    """
    weighted = posterior * np.exp(np.asarray(offsets, dtype=np.float64))
    return weighted / weighted.sum(axis=-1, keepdims=True)


def with_offsets(posterior: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """int64 (...): the genotype of the largest log-posterior plus offset; the lower one at ties. See `reweighted`."""
    return reweighted(posterior, offsets).argmax(axis=-1)


def chosen_offsets(truth: np.ndarray, posterior: np.ndarray) -> np.ndarray:
    """The offsets whose hard calls have the highest macro-F1 (labels 0, 1, 2), that of genotype 0 being 0.

    Every pair of offsets of genotypes 1 and 2 from -3 to 3 in steps of 0.05 is tried; of equally good ones the nearest to
    zero is taken (the sum of their absolute values; then the lowest), so that zero is left for a gain alone. To choose them
    is to put another prior in the posterior's place (Saerens et al. 2002, doi:10.1162/089976602753284446), here the one
    that macro-F1 likes best.

    Args:
        truth: int8 (...), -1 = missing: not counted.
        posterior: float (..., 3).

    Returns:
        float64 (3,), natural logarithm; zeros if no truth is known.
    """
    known = truth != MISSING
    truth, logs = truth[known], np.log(np.maximum(posterior[known], _FLOOR, dtype=np.float64))
    het, hom = logs[:, 1] - logs[:, 0], logs[:, 2] - logs[:, 0]
    # the first offset by which a call is 1 rather than 0, 2 rather than 0, and difference of the two: 2 rather than 1
    first = np.searchsorted(_OFFSETS, -het, side="right")
    second = np.searchsorted(_OFFSETS, -hom, side="right")
    apart = np.searchsorted(_DIFFERENCES, het - hom, side="right")
    n, n_apart = len(_OFFSETS), len(_DIFFERENCES)
    i, j = np.indices((n, n))
    k = j - i + n - 1

    def n_called(genotype: int, of: np.ndarray) -> np.ndarray:
        """int64 (n, n): of these calls (bool) those called so, by offset of genotype 1 (row) and of 2 (column)."""
        if genotype == 0:
            return _n_within(first[of], second[of], (n, n), (True, True))
        if genotype == 1:
            return _n_within(first[of], apart[of], (n, n_apart), (False, True))[i, k]
        return _n_within(second[of], apart[of], (n, n_apart), (False, False))[j, k]

    macro = np.zeros((n, n))
    for genotype in range(3):
        true = truth == genotype
        total = true.sum() + n_called(genotype, np.ones_like(true))
        macro += np.divide(2.0 * n_called(genotype, true), total, out=np.zeros((n, n)), where=total > 0) / 3
    from_zero = np.abs(_OFFSETS)[:, None] + np.abs(_OFFSETS)[None, :]
    at, beside = np.unravel_index(np.where(macro >= macro.max() - 1e-12, from_zero, np.inf).argmin(), (n, n))
    return np.array([0.0, _OFFSETS[at], _OFFSETS[beside]])


def _n_within(a: np.ndarray, b: np.ndarray, size: tuple[int, int], above: tuple[bool, bool]) -> np.ndarray:
    """int64 `size`: how many have a ≤ row (`above`: a > row) and b ≤ column (b > column); a and b are 0 to `size`."""
    rows, columns = size
    counts = np.bincount(a * (columns + 1) + b, minlength=(rows + 1) * (columns + 1)).reshape(rows + 1, columns + 1)
    for axis in (0, 1):
        within = counts.cumsum(axis=axis)
        counts = within.take([-1], axis=axis) - within if above[axis] else within
    return counts[:rows, :columns]


def offsets_at(by_level: Mapping[float, np.ndarray], level: float) -> np.ndarray:
    """The offsets of the level (percent missing) nearest to this one; of two as near, of the lower."""
    return by_level[min(by_level, key=lambda other: (abs(other - level), other))]
