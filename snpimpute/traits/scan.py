"""Linear regression of many traits on all sites at once, over all samples and with each block of samples left out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

N_BLOCKS = 20  # of samples, each left out once for intervals


def chi2_of(dosages: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the squared t statistic of each site for each trait, float64 (n_sites, n_traits); 0 where a site does not vary.

    It is that of a linear regression with a constant and the site.

    Args:
        dosages: float64 (n_samples, n_sites), none missing.
        values: float64 (n_samples, n_traits).
    """
    x, y = dosages - dosages.mean(axis=0), values - values.mean(axis=0)
    return _chi2(x.T @ y, (x**2).sum(axis=0), (y**2).sum(axis=0), len(y))


def left_out_chi2(dosages: np.ndarray, values: np.ndarray, blocks: np.ndarray) -> Iterator[np.ndarray]:
    """Yield `chi2_of` without the samples of each block, for the jackknife.

    Args:
        dosages, values: see `chi2_of`.
        blocks: int (n_samples,), number of each sample's block.
    """
    x, y = dosages - dosages.mean(axis=0), values - values.mean(axis=0)
    sums = (x.T @ y, (x**2).sum(axis=0), (y**2).sum(axis=0), x.sum(axis=0), y.sum(axis=0), len(y))
    for block in np.unique(blocks):
        u, v = x[blocks == block], y[blocks == block]
        xy, xx, yy, x1, y1, n = (
            whole - part
            for whole, part in zip(
                sums,
                (u.T @ v, (u**2).sum(axis=0), (v**2).sum(axis=0), u.sum(axis=0), v.sum(axis=0), len(v)),
                strict=True,
            )
        )
        yield _chi2(xy - np.outer(x1, y1) / n, xx - x1**2 / n, yy - y1**2 / n, n)


def _chi2(xy: np.ndarray, xx: np.ndarray, yy: np.ndarray, n: int) -> np.ndarray:
    spread = np.outer(xx, yy)
    r2 = np.divide(xy**2, spread, out=np.zeros_like(xy), where=spread > 1e-12)
    return (n - 2) * r2 / np.maximum(1 - r2, 1e-12)


def sample_blocks(n_samples: int, seed: int) -> np.ndarray:
    """Return a block of each sample at random, int (n_samples,): N_BLOCKS of nearly equal size."""
    return np.random.default_rng(seed).permutation(n_samples) % min(N_BLOCKS, n_samples)
