"""Bootstrap intervals: resampling weights, resampled sums, percentile intervals."""

from __future__ import annotations

import numpy as np


def resampling_weights(units: np.ndarray, n_cells: int, n_resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw bootstrap weights of samples and of cells (masks or site blocks) together.

    Args:
        units: int (n_samples,), number of the unit that is resampled as one (the sample itself, or its family).
        n_cells: number of masks or site blocks; with 1 only samples are resampled.
        n_resamples: number of bootstrap samples.
        seed: equal seeds give equal weights, which makes differences between imputers paired.

    Returns:
        float64 (n_resamples, n_samples) and (n_resamples, n_cells): times each was drawn.
    """
    rng = np.random.default_rng(seed)
    codes, inverse = np.unique(units, return_inverse=True)
    drawn = rng.multinomial(len(codes), np.full(len(codes), 1 / len(codes)), size=n_resamples)
    cells = rng.multinomial(n_cells, np.full(n_cells, 1 / n_cells), size=n_resamples)
    return drawn[:, inverse].astype(float), cells.astype(float)


def resample(sums: np.ndarray, weights: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return resampled sums, float64 (n_resamples, n_sums).

    Args:
        sums: float (n_samples, n_cells, n_sums).
        weights: as `resampling_weights` gives them.
    """
    samples, cells = weights
    n, c, k = sums.shape
    by_cell = (samples @ sums.reshape(n, c * k)).reshape(len(samples), c, k)
    return np.einsum("bck,bc->bk", by_cell, cells)


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of bootstrap values (n_resamples,), without NaN; (NaN, NaN) if none is left."""
    values = values[np.isfinite(values)]
    if not len(values):
        return np.nan, np.nan
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
