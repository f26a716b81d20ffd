"""Nothing of the test truth reaches a posterior: poisoned at the hidden calls, it changes no imputer's."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snpimpute import imputers
from snpimpute.dataset.prepare import build_dataset
from snpimpute.dataset.prepared import PreparedDataset
from snpimpute.dataset.scenarios import Scenario
from snpimpute.dataset.settings import DataSettings, ScenarioSettings
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.imputers.contract import Imputer
from snpimpute.scoring.fits import fit_on
from snpimpute.scoring.posteriors import Posteriors, impute_scenarios

ROOT = Path(__file__).parents[2]
VARIANTS = tomllib.loads((ROOT / "experiments" / "smoke.toml").read_text())["variants"]


def cheap(name: str) -> dict[str, Any]:
    """The smoke experiment's parameters of an imputer, networks for one epoch; none where it has no entry there."""
    params = next(iter(VARIANTS.get(name, {"": {}}).values())).get("params", {})
    return {**params, "epochs": 1} if "epochs" in params else params


@pytest.fixture
def dataset() -> PreparedDataset:
    """Phased test samples, so that haplotypes could tell the truth too; whole sites hidden, and single calls."""
    data = DataSettings(
        simulation={"n_samples": 60, "n_sites": 30},
        scenarios=ScenarioSettings(levels=(60,), repeats=1, mechanisms=("independent", "entries")),
    )
    made = build_dataset("calves", data, seed=1, headline_level=60)
    calls = np.maximum(made.test.calls, 0)
    haplotypes = np.stack([calls // 2, calls - calls // 2], axis=2).astype(np.int8)
    return replace(made, test=replace(made.test, calls=calls, haplotypes=haplotypes))


def poison(test: GenotypeMatrix, scenario: Scenario) -> None:
    """Change the truth at the calls that a scenario hides, in place: whoever holds it from before sees the change."""
    assert test.haplotypes is not None
    hidden = np.broadcast_to(scenario.hidden, test.calls.shape)
    test.calls[hidden] = (test.calls[hidden] + 1) % 3
    calls = test.calls[hidden]
    test.haplotypes[hidden] = np.stack([calls // 2, calls - calls // 2], axis=1)


def require_blind(imputer: Imputer, dataset: PreparedDataset) -> None:
    """Assert that no posterior of a fitted imputer changes with the truth at the hidden calls."""
    scenarios = dataset.test_scenarios()
    assert len(scenarios) == 2
    for scenario in scenarios:
        alone = replace(dataset, scenarios=(scenario,), headline=scenario.key)
        before = impute_scenarios(imputer, "cheap", alone)
        truth = dataset.test.calls.copy()
        poison(dataset.test, scenario)
        assert (dataset.test.calls != truth).mean() > 0.4
        after: Posteriors = impute_scenarios(imputer, "cheap", alone)
        np.testing.assert_array_equal(after.values[scenario.key], before.values[scenario.key])


# of the networks one in the ordinary suite: all share the code that decides what they see
SLOW = {"bert", "cae", "dense_emb"}
EACH = [pytest.param(name, marks=[pytest.mark.panels] * (name in SLOW)) for name in imputers.names()]


@pytest.mark.parametrize("name", EACH)
def test_the_test_truth_decides_nothing_but_scores(name: str, dataset: PreparedDataset) -> None:
    imputer, _ = fit_on(dataset, dataset.train, name, cheap(name), "fixed", seed=1, threads=1)
    require_blind(imputer, dataset)


def test_an_imputer_that_peeks_is_found(dataset: PreparedDataset) -> None:
    test = dataset.test

    class Peeking(imputers.load("mode")):  # type: ignore[misc]
        """Gives the truth, which it should not have."""

        def _posterior(self, target: GenotypeMatrix) -> np.ndarray:
            return np.eye(3, dtype=np.float32)[test.calls]

    with pytest.raises(AssertionError, match="Arrays are not equal"):
        require_blind(Peeking().fit(dataset.train), dataset)
