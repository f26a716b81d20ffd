"""Validation of a fit: under which masks it is scored, and how far the choice of offsets has come."""

from __future__ import annotations

import pytest

from snpimpute import imputers
from snpimpute.dataset.prepare import build_dataset
from snpimpute.dataset.settings import DataSettings, ScenarioSettings
from snpimpute.imputers.contract import Validation
from snpimpute.scoring.fits import offsets_by_level, validate


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


def test_the_choice_of_offsets_counts_the_fit_and_every_mask_of_validation() -> None:
    data = DataSettings(
        simulation={"n_samples": 100, "n_sites": 40}, scenarios=ScenarioSettings(levels=(60,), repeats=1)
    )
    dataset = build_dataset("calves", data, seed=1, headline_level=60)
    told: list[tuple[int, int]] = []
    found = offsets_by_level(dataset, imputers.load("mode")().fit(dataset.fit_panel), lambda *step: told.append(step))
    masks = [scenario for scenario in dataset.scenarios if scenario.split == "validation"]
    n = len(masks) + 1
    assert told == [(done, n) for done in range(1, n + 1)]
    assert [level["level"] for level in found] == sorted({mask.level for mask in masks})
