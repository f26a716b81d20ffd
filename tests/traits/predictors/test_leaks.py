"""What predictors must not do: predict noise. Choice of sites, scaling and graphs stay within the folds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from snpimpute.traits.predictors import load, names
from snpimpute.traits.predictors.cohort import Cohort
from snpimpute.traits.predictors.contract import Predictor
from snpimpute.traits.predictors.gblup import Gblup
from snpimpute.traits.predictors.testing import small_cohort

NETWORK = {"epochs": 6, "batch_size": 16, "learning_rate": 3e-3}
# parameters for a quick fit, and permutations: slow predictors get five on a small set
QUICK: dict[str, tuple[dict[str, Any], int]] = {
    "gblup": ({}, 20),
    "rkhs": ({}, 20),
    "ridge": ({}, 20),
    "elastic_net": ({}, 20),
    "lightgbm": ({"trees": 30}, 20),
    "bslmm": ({"burn_in": 50, "steps": 300}, 5),
    "mlp": ({**NETWORK, "hidden_1": 32, "hidden_2": 16}, 5),
    "cnn": ({**NETWORK, "filters_1": 4, "filters_2": 4, "hidden": 8}, 5),
    "cnn_transformer": ({**NETWORK, "pool": 2, "width": 16, "layers": 1, "feed_forward": 16}, 5),
    "transformer": ({**NETWORK, "patch": 2, "width": 16, "layers": 1, "feed_forward": 16}, 5),
    "ld_gnn": ({**NETWORK, "width": 8, "layers": 1, "kept": 2, "hidden": 8}, 5),
    "hierarchical": ({**NETWORK, "width": 8}, 5),
}


def within_folds(cls: type[Predictor], params: dict[str, Any], cohort: Cohort, order: np.ndarray) -> float:
    """Correlation of prediction and trait, the mean over three folds, each predicted by the others; 0 of a constant."""
    found = []
    for fold in range(3):
        out = order % 3 == fold
        fitted = cls(cls.parse_params(params), seed=1).fit(cohort.take_samples(~out))
        predicted = fitted.predict(cohort.take_samples(out).without_trait())
        found.append(np.corrcoef(predicted, cohort.values[out])[0, 1] if np.ptp(predicted) > 1e-6 else 0.0)
    return float(np.mean(found))


def over_permutations(n_sites: int, times: int, score: Callable[[Cohort, np.ndarray], float]) -> list[float]:
    """What `score` makes of 90 samples whose trait was permuted, and of an order of them, each time anew."""
    rng = np.random.default_rng(5)
    cohort = replace(small_cohort(90, n_sites), covariates=np.empty((90, 0)))
    return [score(replace(cohort, values=rng.permutation(cohort.values)), rng.permutation(90)) for _ in range(times)]


@pytest.mark.parametrize("name", sorted(QUICK))
def test_noise_is_not_predicted(name: str) -> None:
    """Sites are chosen by association within the folds; a permuted trait is not predicted."""
    params, permutations = QUICK[name]
    if (tool := load(name).program) is not None and shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    chosen_within = partial(within_folds, load(name), {**params, "n_best": 10})
    found = over_permutations(60, permutations, chosen_within)
    assert abs(np.mean(found)) < 2 * np.std(found, ddof=1) / np.sqrt(len(found))


def test_sites_chosen_with_the_whole_trait_are_caught() -> None:
    """The control: the same selection, made before the split with all values, does predict noise."""

    def leak(permuted: Cohort, order: np.ndarray) -> float:
        leaked = permuted.take_sites(Gblup(Gblup.parse_params({"n_best": 20})).fit(permuted).chosen)
        return within_folds(Gblup, {}, leaked, order)

    found = over_permutations(400, 20, leak)
    assert np.mean(found) > 0.15 and np.mean(found) > 4 * np.std(found, ddof=1) / np.sqrt(len(found))


def test_every_predictor_is_tried() -> None:
    assert set(QUICK) == set(names())
