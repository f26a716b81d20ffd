"""Search for a predictor's parameters on the samples that it is to learn from, by folds within them; resumable."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute.base.digests import digest
from snpimpute.base.extras import require_package
from snpimpute.base.files import save_array, written_beside
from snpimpute.genotypes.site_table import read_sites, write_sites
from snpimpute.imputers.contract import Report
from snpimpute.metrics.prediction import MEASURES
from snpimpute.traits.folds import folds_of
from snpimpute.traits.predictors import decided_by, load
from snpimpute.traits.predictors.cohort import Cohort
from snpimpute.tuning.imputers import TRIALS_PER_PROCESS
from snpimpute.tuning.study import StudyResult, StudySettings, TrialOutcome, TrialRecord, run_study

FOLDS = 3
ARRAYS = ("posterior", "values", "covariates")


def tune_predictor(
    name: str,
    cohort: Cohort,
    folder: Path,
    n_trials: int,
    *,
    fixed: Mapping[str, Any] | None = None,
    seed: int = 1,
    threads: int = 1,
    on_trial: Callable[[TrialRecord], None] | None = None,
    on_progress: Callable[[float, float], None] | None = None,
) -> StudyResult:
    """Run the study of a predictor's parameters, or resume it; the first trial takes the defaults.

    A trial's score is the mean over three random folds of the samples of the correlation, or of the area under the ROC curve for
    a binary trait. The folds are the same in all trials.

    Args:
        name: of the predictor.
        cohort: samples with their trait; those of a test must not be among them.
        folder: of the study and its data, kept; a study is named by what decides it, so that other data never resume it.
        n_trials: number of trials, over all starts.
        fixed: parameters that are not searched.
        seed, threads: of the sampler, the folds and the predictor.
        on_trial, on_progress: see `run_study`.

    Raises:
        InputError: Optuna is not installed, or see `run_study`.
    """
    require_package("optuna", "traits fit --trials")
    cls = load(name)
    content = [hashlib.sha256(np.ascontiguousarray(getattr(cohort, part)).tobytes()).hexdigest() for part in ARRAYS]
    sites = cohort.sites.to_csv(index=False)
    given = dict(fixed or {})
    key = digest([name, given, decided_by(cls), seed, threads, cohort.binary, sites, *content])[:16]
    data = folder / f"{name}-{key}"
    if not data.is_dir():
        with written_beside(data) as beside:
            beside.mkdir()
            for part in ARRAYS:
                save_array(beside / f"{part}.npy", getattr(cohort, part))
            write_sites(beside / "sites.tsv", cohort.sites)
    settings = StudySettings(
        n_trials=n_trials,
        seconds=None,
        workers=1,
        threads=threads,
        seed=seed,
        storage=str(folder / "studies.journal"),
        trials_per_process=TRIALS_PER_PROCESS,
    )
    return run_study(
        f"{name}-{key}",
        suggest=functools.partial(_suggest, name, given),
        first=cls.parse_params(given).model_dump(mode="json"),
        evaluate=functools.partial(evaluate_trial, name, data, cohort.binary, seed, threads),
        settings=settings,
        on_trial=on_trial,
        on_progress=on_progress,
    )


def evaluate_trial(
    name: str, data: Path, binary: bool, seed: int, threads: int, params: dict[str, Any], report: Report
) -> TrialOutcome:
    """Return the score of parameters; in a worker process, which reads the samples that `tune_predictor` wrote."""
    sites = read_sites(data / "sites.tsv")
    arrays = {part: np.load(data / f"{part}.npy", allow_pickle=False) for part in ARRAYS}
    cohort = Cohort(sites=sites, binary=binary, **arrays)
    cls = load(name)
    measure = MEASURES["auc" if binary else "pcc"]
    samples = pd.DataFrame({"sample": np.arange(cohort.n_samples)})
    scores: list[float] = []
    for step, fold in enumerate(folds_of(samples, "random", FOLDS, 1, seed)):
        predictor = cls(cls.parse_params(params), seed=seed, threads=threads)
        predictor.fit(cohort.take_samples(fold.train))
        predicted = predictor.predict(cohort.take_samples(fold.test).without_trait()).astype(np.float64)
        scores.append(measure.of(cohort.values[fold.test], predicted))
        report(step, float(np.mean(scores)))
    return TrialOutcome(float(np.mean(scores)), {"folds": scores})


def _suggest(name: str, fixed: dict[str, Any], trial: Any) -> dict[str, Any]:
    """Return the parameters (JSON-able) that a trial suggests, with those that are fixed."""
    return {**load(name).search_space(trial).model_dump(mode="json"), **fixed}
