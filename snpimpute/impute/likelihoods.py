"""Likelihoods of a target beside its spool: log10 of genotype likelihoods, site after site."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snpimpute.base.folders import Part

LIKELIHOODS_FILE = "likelihoods.f2"  # float16 (n_sites, n_samples, 3); only of a target whose likelihoods are used
LEAST = 1e-12  # a genotype is never ruled out: reads are misplaced now and then


def logarithms(likelihoods: np.ndarray) -> np.ndarray:
    """Return likelihoods, float32 (n_samples, 3), as they are kept."""
    return np.log10(np.maximum(likelihoods, LEAST)).astype(np.float16)


def likelihoods_part(name: str, n_samples: int, start: int, stop: int) -> Part:
    """Return the part of a target's likelihoods from row `start` to row `stop`; `name` is the target's folder."""
    row = n_samples * 3 * np.dtype(np.float16).itemsize
    return Part(f"{name}/{LIKELIHOODS_FILE}", start * row, stop * row)


def likelihoods_at(folder: Path, rows: np.ndarray, n_samples: int) -> np.ndarray | None:
    """Return the likelihoods of some rows, float32 (n_samples, n_rows, 3), the largest 1; None where the folder has none."""
    file = folder / LIKELIHOODS_FILE
    if not file.exists():
        return None
    kept = np.memmap(file, dtype=np.float16, mode="r").reshape(-1, n_samples, 3)
    return np.power(np.float32(10), kept[rows].astype(np.float32)).swapaxes(0, 1)
