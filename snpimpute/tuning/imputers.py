"""Study of one imputer's parameters: its first trials and the parameters that its search space suggests."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from snpimpute.base.processes import HERE, Engine
from snpimpute.imputers import needs_of
from snpimpute.imputers.contract import Imputer, Trial
from snpimpute.tuning.study import Evaluate, StudyResult, StudySettings, TrialRecord, run_study

TRIALS_PER_PROCESS = 10  # Keras keeps about 55 MB of every network that it has fitted


def tune_imputer(
    name: str,
    cls: type[Imputer],
    fixed: Mapping[str, Any],
    evaluate: Evaluate,
    settings: StudySettings,
    on_trial: Callable[[TrialRecord], None] | None = None,
    on_progress: Callable[[float, float], None] | None = None,
    engine: Engine = HERE,
) -> StudyResult:
    """Run the study of an imputer's parameters, or resume it.

    The first trial takes the imputer's defaults (the published values, if there are any). The next trials take the
    settings that are known to do well on some data (the imputer's `starts`).

    Args:
        name: name of the study in its storage.
        cls: class of the imputer.
        fixed: parameters that keep the given value in every trial.
        evaluate, settings, on_trial, on_progress, engine: see `run_study`.
    """
    defaults = cls.parse_params(fixed).model_dump(mode="json")
    published = {key: value for key, value in defaults.items() if key not in fixed}
    return run_study(
        name,
        suggest=functools.partial(_suggest_params, cls, fixed),
        first=published,
        starts=[{**published, **start} for start in cls.starts],
        evaluate=evaluate,
        settings=settings,
        on_trial=on_trial,
        on_progress=on_progress,
        engine=engine,
        able=needs_of(cls),
    )


def _suggest_params(cls: type[Imputer], fixed: Mapping[str, Any], trial: Trial) -> dict[str, Any]:
    """Return the parameters (JSON-able) that a trial suggests; those in `fixed` keep their value."""
    suggested = cls.search_space(trial).model_dump(mode="json")  # type: ignore[attr-defined]
    return cls.parse_params({**suggested, **fixed}).model_dump(mode="json")
