"""Places of sites for networks with attention: contig and distance, as waves of several lengths."""

from __future__ import annotations

import numpy as np
import pandas as pd

SHORTEST, LONGEST = 1e3, 1e8  # wavelengths, in base pairs


def waves(sites: pd.DataFrame, n_values: int) -> np.ndarray:
    """Return sines and cosines of the sites' positions, float32 (n_sites, n_values), a phase of its own for each contig.

    Wavelengths grow evenly in the logarithm from SHORTEST to LONGEST, so that near and far sites are told apart by distance and
    not by their number (after Vaswani et al. 2017).

    Args:
        sites: columns contig and pos.
        n_values: even.
    """
    contig = pd.factorize(sites["contig"])[0]
    lengths = np.logspace(np.log10(SHORTEST), np.log10(LONGEST), n_values // 2)
    phase = 2 * np.pi * sites["pos"].to_numpy(np.float64)[:, None] / lengths + 2.4 * contig[:, None]
    return np.concatenate([np.sin(phase), np.cos(phase)], axis=1).astype(np.float32)
