"""The random draw: contract, and whether draws follow the frequencies."""

from __future__ import annotations

import numpy as np
import pytest

from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.imputers.contract import Imputer, impute
from snpimpute.imputers.random_draw import RandomDraw
from snpimpute.imputers.testing import ImputerContract, small_panel


class TestRandomDraw(ImputerContract):
    imputer = RandomDraw

    def test_everything_missing(self, model: Imputer, panel: GenotypeMatrix, target: GenotypeMatrix) -> None:
        """A sample without calls gets draws like any other."""
        posterior = model.posterior(target.hide(np.ones(target.n_sites, dtype=bool)))
        np.testing.assert_allclose(np.sort(posterior, axis=2), np.broadcast_to([0.01, 0.01, 0.98], posterior.shape))


@pytest.mark.parametrize("use_panel", [True, False])
def test_draws_follow_the_frequencies(use_panel: bool) -> None:
    everyone = small_panel(3000, 4, missing=0.0)
    panel, target = everyone.take_samples(np.arange(1000)), everyone.take_samples(np.arange(1000, 3000))
    target.calls[:, 3] = 2
    masked = target.hide(np.arange(2000)[:, None] < 1500)
    learned_from = np.concatenate([masked.calls, panel.calls]) if use_panel else masked.calls
    model = RandomDraw(RandomDraw.Params(use_panel=use_panel)).fit(panel)
    assert not model.gives_posterior(masked)
    drawn = impute(model, masked).calls[:1500]
    for g in (0, 1, 2):
        expected = (learned_from == g).sum(axis=0) / (learned_from >= 0).sum(axis=0)
        np.testing.assert_allclose((drawn == g).mean(axis=0), expected, atol=0.04)
    assert use_panel or (drawn[:, 3] == 2).all()


def test_another_seed_draws_anew() -> None:
    target = small_panel(40, missing=0.3)
    one, two = (impute(RandomDraw(seed=seed).fit(target.take_samples([])), target).calls for seed in (1, 2))
    assert 0.2 < (one != two)[target.calls < 0].mean() < 0.9
