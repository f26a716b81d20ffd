"""Training masks: calls hidden from a network while it learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True, eq=False)
class TrainingMask:
    """Calls hidden from a network while it learns.

    Policy "fixed" (published) hides every call at `sites`, bool (n_sites,), and single calls of genotypes 1 and 2 at
    the other sites, up to `multipliers` times their count at `sites`, capped at the count of genotype 0 there. The same
    mask is used throughout training. Policy "random" draws a mask for each sample of each batch, at a level drawn
    uniformly from `levels` (percent).
    """

    policy: Literal["fixed", "random"]
    sites: np.ndarray | None = None
    levels: tuple[float, float] = (5.0, 97.0)

    def draw_fixed(self, calls: np.ndarray, multipliers: tuple[float, float], seed: int) -> np.ndarray:
        """Draw the fixed mask, bool (n_samples, n_sites).

        Args:
            calls: int8 (n_samples, n_sites), the training calls.
            multipliers: of genotypes 1 and 2; see the class.
            seed: seed of the draw.
        """
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
        """Draw a mask for each sample, bool (n_samples, n_sites), with its level uniform in `levels`.

        At least one site is hidden and one seen.
        """
        low, high = self.levels
        n_hidden = np.clip(np.round(rng.uniform(low, high, n_samples) * n_sites / 100), 1, n_sites - 1)
        rank = rng.random((n_samples, n_sites)).argsort(axis=1).argsort(axis=1)
        return rank < n_hidden[:, None]
