"""Encodings of genotypes for predictors: a table with a row per genotype, and its expectation under the posterior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Encoding = Literal["additive", "standardised", "onehot", "eight"]

# A row per genotype 0, 1, 2. "eight" has three indicators, the counts of both alleles, an indicator of heterozygotes, and the
# presence of either allele: of rank 3, it spans what "onehot" does. "standardised" is "additive", scaled by site.
TABLES = {
    "additive": np.array([[0], [1], [2]], dtype=np.float32),
    "standardised": np.array([[0], [1], [2]], dtype=np.float32),
    "onehot": np.eye(3, dtype=np.float32),
    "eight": np.array([[1, 0, 0, 2, 0, 0, 1, 0], [0, 1, 0, 1, 1, 1, 1, 1], [0, 0, 1, 0, 2, 0, 0, 1]], dtype=np.float32),
}


@dataclass(frozen=True, eq=False)
class FittedEncoding:
    """An encoding with what it took from the samples that were learned from.

    Attributes:
        name: of the encoding, see TABLES.
        frequencies: float32 (n_sites, 3), of the genotypes, which stand in for what is missing.
        center, scale: float32 (n_sites, n_values), subtracted and divided by; 0 and 1 but for "standardised".
    """

    name: str
    frequencies: np.ndarray
    center: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, name: str, posterior: np.ndarray) -> FittedEncoding:
        """Return the encoding fitted to genotypes, float32 (n_samples, n_sites, 3), NaN = missing."""
        known = np.isfinite(posterior).all(axis=2)
        counts = np.where(known[:, :, None], posterior, 0).sum(axis=0, dtype=np.float64)
        total = counts.sum(axis=1, keepdims=True)
        frequencies = np.divide(counts, total, out=np.full_like(counts, 1 / 3), where=total > 0).astype(np.float32)
        width = TABLES[name].shape[1]
        center = np.zeros((len(frequencies), width), dtype=np.float32)
        scale = np.ones_like(center)
        if name == "standardised":
            values = _filled(posterior, frequencies) @ TABLES[name]
            center, spread = values.mean(axis=0), values.std(axis=0)
            scale = np.where(spread > 1e-6, spread, np.float32(np.inf))  # a site that does not vary says nothing
        return cls(name, frequencies, center.astype(np.float32), scale.astype(np.float32))

    def encode(self, posterior: np.ndarray) -> np.ndarray:
        """Return the expected encoding of genotypes, float32 (n_samples, n_sites, n_values).

        A missing genotype (NaN) has the frequencies of the samples that were learned from.
        """
        expected = _filled(posterior, self.frequencies) @ TABLES[self.name]
        return (expected - self.center) / self.scale

    def mean(self) -> np.ndarray:
        """Return the encoding of the mean genotypes of the samples that were learned from, float32 (n_sites, n_values)."""
        return self.encode(self.frequencies[None])[0]


def _filled(posterior: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    missing = ~np.isfinite(posterior).all(axis=2)
    return np.where(missing[:, :, None], frequencies, posterior).astype(np.float32)
