"""Bins of minor allele frequency (MAF), and the threshold of rare sites."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

MAF_BINS = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
RARE_MAF = 0.05


def maf_bin_names() -> list[str]:
    """Name the bins between MAF_BINS, as `0.01-0.05`."""
    return [f"{low:.2f}-{high:.2f}" for low, high in pairwise(MAF_BINS)]


def maf_subsets(maf: np.ndarray) -> dict[str, np.ndarray]:
    """Map each subset (`maf:0.01-0.05`, in order) to its sites, bool (n_sites,), from their MAF, float64 (n_sites,)."""
    bins = maf_bin(maf)
    return {f"maf:{name}": bins == number for number, name in enumerate(maf_bin_names())}


def maf_bin(maf: np.ndarray) -> np.ndarray:
    """Return the number of each MAF's bin, int64; the last bin includes its upper bound; -1 for NaN."""
    bins = np.clip(np.searchsorted(MAF_BINS, maf, side="right") - 1, 0, len(MAF_BINS) - 2)
    return np.where(np.isnan(maf), -1, bins)
