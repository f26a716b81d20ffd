"""Quality of each sample of an imputation, as its posteriors state it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from snpimpute.genotypes.matrix import MISSING

LOWEST = 3  # samples that are named


class SampleQuality:
    """Expected r² of each sample's imputed dosages, summed up while the sites pass.

    A dosage differs from the mean of its site over the samples, and its genotype varies around it as the posterior says. The
    expected squared correlation over sites is the first part's share in both: how much of what makes the sample differ from
    all others was imputed, if posteriors are calibrated (`fit` measures whether they are).

    Args:
        samples: names.
    """

    def __init__(self, samples: Sequence[str]) -> None:
        self._samples, n_samples = samples, len(samples)
        self._explained = np.zeros(n_samples)
        self._unknown = np.zeros(n_samples)

    def add(self, posterior: np.ndarray, calls: np.ndarray) -> None:
        """Add sites; calls that are observed do not count.

        Args:
            posterior: float32 (2, n_sites, n_samples), probabilities of genotypes 1 and 2.
            calls: int8 (n_sites, n_samples), the target's own, -1 = missing.
        """
        imputed = calls == MISSING
        dosage = posterior[0] + 2 * posterior[1]
        variance = posterior[0] + 4 * posterior[1] - dosage**2
        mean = np.where(imputed, dosage, calls).mean(axis=1, keepdims=True)
        self._explained += np.where(imputed, (dosage - mean) ** 2, 0).sum(axis=0, dtype=np.float64)
        self._unknown += np.where(imputed, np.maximum(variance, 0), 0).sum(axis=0, dtype=np.float64)

    def by_sample(self) -> dict[str, float | None]:
        """Return sample → expected r², with four decimals; None where none of its calls was imputed."""
        both = self._explained + self._unknown
        r2 = np.divide(self._explained, both, out=np.full(len(both), np.nan), where=both > 0).tolist()
        return {name: round(own, 4) if np.isfinite(own) else None for name, own in zip(self._samples, r2, strict=True)}


def quality_lines(expected_r2: Mapping[str, float | None]) -> list[str]:
    """Return what is said of the samples' quality: mean, and the lowest; no line where nothing was imputed."""
    known = sorted((r2, name) for name, r2 in expected_r2.items() if r2 is not None)
    if not known:
        return []
    mean = sum(r2 for r2, _ in known) / len(known)
    lowest = ", ".join(f"{name} {r2:.3f}" for r2, name in known[:LOWEST])
    return [f"expected r² of a sample's imputed dosages: {mean:.3f} on average; lowest: {lowest}"]
