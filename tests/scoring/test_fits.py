"""Validation of a fit: under which masks it is scored."""

from __future__ import annotations

import pytest

from snpimpute import imputers
from snpimpute.dataset.prepare import build_dataset
from snpimpute.dataset.settings import DataSettings, ScenarioSettings
from snpimpute.imputers.contract import Validation
from snpimpute.scoring.fits import validate


@pytest.mark.parametrize("policy", ["fixed", "random"])
def test_studies_judge_by_the_masks_of_training_and_levels_by_random_ones(policy: str) -> None:
    data = DataSettings(
        simulation={"n_samples": 100, "n_sites": 40}, scenarios=ScenarioSettings(levels=(60,), repeats=1)
    )
    dataset = build_dataset("calves", data, seed=1, headline_level=60)
    found = validate(dataset, "mode", {}, policy, seed=1, threads=1)
    model = imputers.load("mode")().fit(dataset.fit_panel)
    by_masks = {
        masks: Validation(dataset.validation, dataset.validation_masks(masks)).score(model.posterior)
        for masks in ("fixed", "random")
    }
    assert by_masks["fixed"] != by_masks["random"]
    assert (found.score, found.levels_score) == (by_masks[policy], by_masks["random"])
