"""What networks have hidden from them while they learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True, eq=False)
class TrainingMask:
    """What a network has hidden from it while it learns.

    policy "fixed" (published): every call of the columns `sites`, plus single calls of genotypes 1 and 2 outside these
    columns, up to `multipliers` times their count inside, capped at the count of genotype 0 inside. The same mask is
    used throughout training. policy "random": drawn anew for each sample of each batch, at a level drawn uniformly
    from `levels` (percent).
    """

    policy: Literal["fixed", "random"]
    sites: np.ndarray | None = None
    levels: tuple[float, float] = (5.0, 97.0)

    def draw_fixed(self, calls: np.ndarray, multipliers: tuple[float, float], seed: int) -> np.ndarray:
        """bool (n_samples, n_sites): the fixed mask for training calls int8 (n_samples, n_sites); multipliers for 1, 2."""
        if self.sites is None:
            raise ValueError("a fixed training mask needs its sites")
        rng = np.random.default_rng(seed)
        inside = np.broadcast_to(self.sites, calls.shape)
        hidden = inside.copy()
        cap = int(((calls == 0) & inside).sum())
        for genotype, multiplier in zip((1, 2), multipliers, strict=True):
            count = int(((calls == genotype) & inside).sum())
            wanted = max(min(round(multiplier * count), cap) - count, 0)
            outside = np.flatnonzero((calls == genotype) & ~inside)
            hidden.flat[rng.permutation(outside)[:wanted]] = True
        return hidden

    def draw_random(self, n_samples: int, n_sites: int, rng: np.random.Generator) -> np.ndarray:
        """bool (n_samples, n_sites): a mask of its own for each sample, its level uniform in `levels`, at least one hidden."""
        low, high = self.levels
        n_hidden = np.clip(np.round(rng.uniform(low, high, n_samples) * n_sites / 100), 1, n_sites - 1)
        rank = rng.random((n_samples, n_sites)).argsort(axis=1).argsort(axis=1)
        return rank < n_hidden[:, None]
