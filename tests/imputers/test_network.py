"""The fit of every network, whatever its framework: a study's time that is used up ends it at a batch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.imputers._network import NetworkImputer, NetworkParams
from snpimpute.imputers.contract import Validation
from snpimpute.imputers.testing import small_panel

N_BATCHES = 5


class Counting(NetworkImputer):
    """A network that counts its batches: its weights are their number, and it imputes better with each epoch."""

    description = "counts"
    Params = NetworkParams

    def _build(self, panel: GenotypeMatrix, class_weights: np.ndarray, steps_per_epoch: int) -> None:
        self.panel, self.weights, self.batches, self.scored = panel, 0, 0, 0

    def _train_epoch(self, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        for _ in batches:
            self.batches += 1
        self.weights = self.batches

    def _log_posterior(self, calls: np.ndarray) -> np.ndarray:
        self.scored += 1
        rng = np.random.default_rng(1)
        return np.log(rng.dirichlet([1, 1, 1], calls.shape))

    def _get_weights(self) -> Any:
        return self.weights

    def _set_weights(self, weights: Any) -> None:
        self.weights = weights

    def _save(self, folder: Any) -> None: ...

    def _load(self, folder: Any) -> None: ...


class LateAfter:
    """A report that is late once a network has had so many batches: steps in place of a clock."""

    def __init__(self, imputer: Counting, batches: int) -> None:
        self._imputer, self._batches = imputer, batches
        self.heard: list[int] = []

    def __call__(self, step: int, score: float) -> None:
        self.heard.append(step)

    @property
    def late(self) -> bool:
        return self._imputer.batches >= self._batches


@pytest.mark.parametrize(
    ("late_after", "trained", "heard", "stop_after"),
    [
        (2, 2, [0], 1),  # within the first epoch: what there is of it is scored, so that there is a result
        (N_BATCHES, N_BATCHES, [0], 1),
        (2 * N_BATCHES + 3, 2 * N_BATCHES + 3, [0, 1], 1),  # what is left of the third is not scored any more
    ],
)
def test_a_fit_ends_at_the_batch_where_the_time_is_used_up(
    late_after: int, trained: int, heard: list[int], stop_after: int
) -> None:
    panel = small_panel(10 * N_BATCHES, 12)
    validation = Validation(panel.take_samples(slice(8)), (np.arange(12) % 2 == 0,))
    imputer = Counting(NetworkParams(epochs=9, batch_size=10))
    report = LateAfter(imputer, late_after)
    imputer.batches = 0
    imputer.fit(panel, validation, None, report)
    assert (imputer.batches, report.heard) == (trained, heard)
    refit = imputer.refit_params()
    assert refit.stop_after == stop_after and refit.calibration is not None
    assert imputer.weights == min(trained, N_BATCHES)  # those of the best epoch, here the first of equals


def test_a_report_that_says_nothing_of_time_is_never_late() -> None:
    panel = small_panel(20, 12)
    validation = Validation(panel.take_samples(slice(8)), (np.arange(12) % 2 == 0,))
    heard: list[int] = []
    Counting(NetworkParams(epochs=3, batch_size=10)).fit(
        panel, validation, None, lambda step, score: heard.append(step)
    )
    assert heard == [0, 1, 2]
