"""What the imputers that learn from the target share: what they learn from, and frequencies where that says nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snpimpute.dataset.training_masks import TrainingMask
from snpimpute.genotypes.matrix import GENOTYPES, GenotypeMatrix
from snpimpute.imputers.contract import Imputer, Params, Report, Validation


class TargetParams(Params):
    """Attributes:
    use_panel: learn from the panel's samples too, where there are any.
    """

    use_panel: bool = True


class TargetLearner(Imputer):
    """An imputer that needs no panel: it learns from the target's own calls, and from the panel's if `use_panel` says so."""

    needs_panel = False

    _panel: np.ndarray  # int8 (n_samples, n_sites); no samples where the target alone is learned from

    def _fit(
        self, panel: GenotypeMatrix, validation: Validation | None, mask: TrainingMask, report: Report | None
    ) -> None:
        self._panel = panel.calls if self.params.use_panel else panel.calls[:0]

    def _learned_from(self, target: GenotypeMatrix) -> np.ndarray:
        """int8 (n, n_sites): the calls of the target's samples, in order, and after them those of the panel."""
        return np.concatenate([target.calls, self._panel])

    def _save(self, folder: Path) -> None:
        np.save(folder / "panel.npy", self._panel, allow_pickle=False)

    def _load(self, folder: Path) -> None:
        self._panel = np.load(folder / "panel.npy", allow_pickle=False)


def frequencies_in(calls: np.ndarray, otherwise: np.ndarray, pseudo_count: float = 0.5) -> np.ndarray:
    """float64 (n_sites, 3): genotype frequencies in `calls` int8 (n, n_sites), -1 = missing.

    Args:
        calls: of whatever is learned from.
        otherwise: (n_sites, 3), what they are at a site without any call: those of the panel, be it learned from or not.
            Without a panel these are a third each: Hardy-Weinberg proportions where every allele frequency is as likely
            as any other.
        pseudo_count: added to the count of each genotype.
    """
    counts = np.stack([(calls == g).sum(axis=0) for g in GENOTYPES], axis=1)
    n = counts.sum(axis=1, keepdims=True)
    return np.where(n > 0, (counts + pseudo_count) / np.maximum(n + 3 * pseudo_count, 1), otherwise)
