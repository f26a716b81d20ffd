"""Fit one imputer on a prepared dataset: with validation for a study, and on all of train for the comparison."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from snpimpute import imputers
from snpimpute.imputers._base import Imputer, Report, Validation
from snpimpute.io.dataset import PreparedDataset, dataset_in

MaskPolicy = Literal["fixed", "random"]


@dataclass(frozen=True)
class Validated:
    """What a fit on 80% of train, judged on the other 20%, found.

    Attributes:
        score: macro-F1 under the masks that the study validates on.
        levels_score: macro-F1 averaged over the validation masks of all levels: comparable between imputers.
        refit_params: parameters for the fit on all of train (epochs and calibration found are among them).
        seconds: of the fit.
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
    """Fit an imputer on the train samples that are not held out and score it on those that are.

    Args:
        dataset: the prepared dataset.
        name: of the imputer.
        params: table of its parameters.
        policy: of the training masks; decides the validation masks too (a fixed one is judged on the same columns).
        seed: of the fit.
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
    """`validate` for a process that is given the dataset's folder."""
    return validate(dataset_in(folder), name, params, policy, seed, threads, report)


def fit_on_all(
    dataset: PreparedDataset, name: str, params: dict[str, Any], policy: MaskPolicy, seed: int, threads: int
) -> tuple[Imputer, float]:
    """Fit an imputer on all of train; returns it and the seconds that took."""
    cls = imputers.load(name)
    imputer = cls(cls.parse_params(params), seed=seed, threads=threads)
    started = time.monotonic()
    imputer.fit(dataset.train, None, dataset.training_mask(policy))
    return imputer, time.monotonic() - started
