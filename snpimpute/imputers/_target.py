"""Base of the imputers that learn from the target: the calls they learn from, and genotype frequencies."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snpimpute.base.files import save_array
from snpimpute.dataset.training_masks import TrainingMask
from snpimpute.genotypes.matrix import GENOTYPES, GenotypeMatrix
from snpimpute.imputers.contract import Imputer, Params, Report, Validation


class TargetParams(Params):
    """Parameters of every imputer that learns from the target.

    Attributes:
        use_panel: learn from the panel's samples too, where there are any.
    """

    use_panel: bool = True


class TargetLearner(Imputer):
    """Imputer that needs no panel: it learns from the target's own calls, and from the panel's if `use_panel`."""

    needs_panel = False

    _panel: np.ndarray  # int8 (n_samples, n_sites); without samples if it learns from the target alone

    def _fit(
        self, panel: GenotypeMatrix, validation: Validation | None, mask: TrainingMask, report: Report | None
    ) -> None:
        self._panel = panel.calls if self.params.use_panel else panel.calls[:0]

    def _training_calls(self, target: GenotypeMatrix) -> np.ndarray:
        """Return the calls to learn from, int8 (n, n_sites): the target's samples in order, then the panel's."""
        return np.concatenate([target.calls, self._panel])

    def _save(self, folder: Path) -> None:
        save_array(folder / "panel.npy", self._panel)

    def _load(self, folder: Path) -> None:
        self._panel = np.load(folder / "panel.npy", allow_pickle=False)


def frequencies_in(calls: np.ndarray, otherwise: np.ndarray, pseudo_count: float = 0.5) -> np.ndarray:
    """Return the genotype frequencies of each site in `calls`, float64 (n_sites, 3).

    Args:
        calls: int8 (n, n_sites), -1 = missing; the calls that the imputer learns from.
        otherwise: (n_sites, 3), frequencies for sites without any call: those of the panel, even if the imputer does
            not learn from it. Without a panel these are a third each: Hardy-Weinberg proportions averaged over all
            allele frequencies.
        pseudo_count: added to the count of each genotype.
    """
    counts = np.stack([(calls == g).sum(axis=0) for g in GENOTYPES], axis=1)
    n = counts.sum(axis=1, keepdims=True)
    return np.where(n > 0, (counts + pseudo_count) / np.maximum(n + 3 * pseudo_count, 1), otherwise)
