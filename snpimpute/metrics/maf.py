"""Bins of minor allele frequency, and which sites are rare."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

MAF_BINS = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
RARE_MAF = 0.05


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
