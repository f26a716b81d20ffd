"""A genotype drawn by its frequency at the site: the simplest baseline."""

from __future__ import annotations

from zlib import crc32

import numpy as np

from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.imputers._target import TargetLearner, TargetParams, frequencies_in

HARD_CALL = 0.98  # weight of the drawn genotype; the other two share the rest


class RandomDraw(TargetLearner):
    """Imputer that draws every missing call by its site's genotype frequencies in the target (and the panel).

    A draw is a hard call: it weighs .98 and the other genotypes .01 each, and `gives_posterior` returns False (the
    frequencies themselves are the posterior of `mode`). A sample's draws depend only on the seed and the sample's name.
    """

    description = "genotype drawn at random by its frequency at the site"
    Params = TargetParams

    def gives_posterior(self, target: GenotypeMatrix) -> bool:
        return False

    def _posterior(self, target: GenotypeMatrix) -> np.ndarray:
        frequencies = frequencies_in(self._training_calls(target), self.frequencies, pseudo_count=0)
        steps = frequencies.cumsum(axis=1)[:, :2]
        out = np.full((*target.calls.shape, 3), (1 - HARD_CALL) / 2, dtype=np.float32)
        for row, name in zip(out, target.names, strict=True):
            drawn = np.random.default_rng([self.seed, crc32(name.encode())]).random((target.n_sites, 1))
            np.put_along_axis(row, (drawn > steps).sum(axis=1, keepdims=True), HARD_CALL, axis=1)
        return out
