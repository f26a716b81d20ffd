"""The study of an imputer's parameters: what it begins with, and what its search space suggests."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from snpimpute.imputers.contract import Imputer, Trial
from snpimpute.tuning.study import Evaluate, StudyResult, StudySettings, TrialRecord, run_study

TRIALS_PER_PROCESS = 10  # Keras keeps some 55 MB of every network it has fitted


def tune_imputer(
    name: str,
    cls: type[Imputer],
    fixed: Mapping[str, Any],
    evaluate: Evaluate,
    settings: StudySettings,
    on_trial: Callable[[TrialRecord], None] | None = None,
    on_progress: Callable[[int, int, float], None] | None = None,
) -> StudyResult:
    """Run the study of an imputer's parameters, or go on with it.

    It begins with the imputer's defaults (the published values, where there are any), and with the settings that the
    imputer knows to do well somewhere (`starts`).

    Args:
        name: of the study in its storage.
        cls: the imputer.
        fixed: parameters that stay as they are.
        evaluate, settings, on_trial, on_progress: see `run_study`.
    """
    defaults = cls.parse_params(fixed).model_dump(mode="json")
    published = {key: value for key, value in defaults.items() if key not in fixed}
    return run_study(
        name,
        suggest=functools.partial(_suggested, cls, fixed),
        first=published,
        starts=[{**published, **start} for start in cls.starts],
        evaluate=evaluate,
        settings=settings,
        on_trial=on_trial,
        on_progress=on_progress,
    )


def _suggested(cls: type[Imputer], fixed: Mapping[str, Any], trial: Trial) -> dict[str, Any]:
    """Parameters (JSON-able) that a trial suggests, those in `fixed` as they are."""
    suggested = cls.search_space(trial).model_dump(mode="json")  # type: ignore[attr-defined]
    return cls.parse_params({**suggested, **fixed}).model_dump(mode="json")
