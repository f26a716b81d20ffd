"""Fits of one imputer on a prepared dataset: with validation for studies and offsets, else on all of train."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from snpimpute import imputers
from snpimpute.base.sources import source_digest
from snpimpute.dataset.prepared import PreparedDataset, dataset_in
from snpimpute.dataset.scenarios import Scenario, at_hidden
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.imputers.contract import Imputer, Report, Validation
from snpimpute.metrics.offsets import chosen_offsets, with_offsets
from snpimpute.metrics.scores import f1_macro

MaskPolicy = Literal["fixed", "random"]


def fits_source() -> str:
    """Return the digest of the source that fits and imputes for an experiment, whatever the imputer."""
    return source_digest("snpimpute.scoring.fits", "snpimpute.scoring.posteriors", without=imputers.DISCOVERY)


@dataclass(frozen=True)
class Validated:
    """Result of a fit on the train samples that are not held out, scored on those that are.

    Attributes:
        score: macro-F1 under the masks that the study validates on.
        levels_score: macro-F1 averaged over the validation masks of all levels, comparable between imputers.
        refit_params: parameters for the fit on all of train, including the epochs and calibration found.
        seconds: duration of the fit.
    """

    score: float
    levels_score: float
    refit_params: dict[str, Any]
    seconds: float


def validate(
    dataset: PreparedDataset,
    name: str,
    params: dict[str, Any],
    policy: MaskPolicy,
    seed: int,
    threads: int,
    report: Report | None = None,
) -> Validated:
    """Fit an imputer on the train samples that are not held out, and score it on those that are.

    Args:
        dataset: the prepared dataset.
        name: name of the imputer.
        params: table of its parameters.
        policy: policy of the training masks; decides the validation masks too ("fixed" is scored on the same sites).
        seed: seed of the fit.
        threads: processor threads.
        report: see Imputer.fit.
    """
    cls = imputers.load(name)
    imputer = cls(cls.parse_params(params), seed=seed, threads=threads)
    validation = Validation(dataset.validation, dataset.validation_masks(policy))
    started = time.monotonic()
    imputer.fit(dataset.fit_panel, validation, dataset.training_mask(policy), report)
    seconds = time.monotonic() - started
    score = validation.score(imputer.posterior)
    levels = score
    if policy == "fixed":
        levels = Validation(dataset.validation, dataset.validation_masks("random")).score(imputer.posterior)
    return Validated(score, levels, imputer.refit_params().model_dump(mode="json"), seconds)


def validate_in_folder(
    folder: Path,
    name: str,
    policy: MaskPolicy,
    seed: int,
    threads: int,
    params: dict[str, Any],
    report: Report | None = None,
) -> Validated:
    """Run `validate` for a process that is given the dataset's folder."""
    return validate(dataset_in(folder), name, params, policy, seed, threads, report)


def fit_on(
    dataset: PreparedDataset,
    panel: GenotypeMatrix,
    name: str,
    params: dict[str, Any],
    policy: MaskPolicy,
    seed: int,
    threads: int,
) -> tuple[Imputer, float]:
    """Fit an imputer on a panel from the dataset, without validation; return it and the seconds it took."""
    cls = imputers.load(name)
    imputer = cls(cls.parse_params(params), seed=seed, threads=threads)
    started = time.monotonic()
    imputer.fit(panel, None, dataset.training_mask(policy))
    return imputer, time.monotonic() - started


def offsets_by_level(
    dataset: PreparedDataset, imputer: Imputer, progress: Callable[[int, int], None]
) -> list[dict[str, Any]]:
    """Choose offsets of an imputer's hard calls on the samples that are held out.

    Args:
        dataset: the prepared dataset.
        imputer: fitted on the train samples that are not held out, with the parameters of the fit on all of train.
        progress: called as progress(done, in all); the fit and each validation mask count as one.

    Returns:
        A dict for each level of the validation masks, with the masks of a level pooled: `level` (percent missing),
        `offsets` (of genotypes 1 and 2, see `chosen_offsets`), and macro-F1 with these offsets (`f1_macro`) and without
        (`f1_macro_argmax`).
    """
    by_level: dict[float, list[Scenario]] = {}
    for scenario in dataset.scenarios:
        if scenario.split == "validation":
            by_level.setdefault(scenario.level, []).append(scenario)
    steps = 1 + sum(map(len, by_level.values()))
    progress(1, steps)
    validation, done, chosen = dataset.validation, 1, []
    for level, scenarios in sorted(by_level.items()):
        truths, posteriors = [], []
        for scenario in scenarios:
            posterior = at_hidden(imputer.posterior(validation.hide(scenario.hidden)), scenario.hidden)
            posteriors.append(posterior.reshape(-1, 3).astype(np.float16))  # as for the test scenarios
            truths.append(at_hidden(validation.calls, scenario.hidden).ravel())
            progress(done := done + 1, steps)
        truth, pooled = np.concatenate(truths), np.concatenate(posteriors).astype(np.float64)
        offsets = chosen_offsets(truth, pooled)
        chosen.append(
            {
                "level": level,
                "offsets": [round(float(offset), 2) for offset in offsets[1:]],
                "f1_macro": f1_macro(truth, with_offsets(pooled, offsets)),
                "f1_macro_argmax": f1_macro(truth, pooled.argmax(axis=1)),
            }
        )
    return chosen
