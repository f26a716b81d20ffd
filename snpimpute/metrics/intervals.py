"""Bootstrap intervals: what is resampled together, resampled sums, percentiles."""

from __future__ import annotations

import numpy as np


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
