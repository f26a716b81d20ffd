"""Flow `traits`, which compares predictors of a trait, and fits and registers the one that is recommended."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from prefect import State, flow
from prefect.artifacts import create_table_artifact
from prefect.states import Completed, Failed

from flows._steps import RunLog, artifact_key, as_task
from snpimpute.base.errors import InputError
from snpimpute.base.processes import QUIET
from snpimpute.report.text import slug_of
from snpimpute.tracking.connect import tracking_uri
from snpimpute.tracking.writer import Tracker
from snpimpute.traits.evaluate import EvaluationSettings
from snpimpute.traits.evaluation_page import FILES, verdict
from snpimpute.traits.given import checked
from snpimpute.traits.recorded import compare_predictors, fit_recommended


@flow(name="traits", persist_result=False)
def traits(
    genotypes: str,
    table: str,
    trait: str,
    predictors: list[str] | None = None,
    covariates: list[str] | None = None,
    scheme: str = "random",
    folds: int = 5,
    repeats: int = 1,
    runs: str = "runs",
    seed: int = 1,
    pcs: int = 0,
    params: dict[str, dict[str, Any]] | None = None,
) -> State[None]:
    """Compare predictors of a trait; fit the recommended one, register it, and make it the champion if it is better.

    Args:
        genotypes: path of the genotypes, imputed or not, or of a table of markers.
        table: path of the table of traits and covariates.
        trait: its column.
        predictors: names of the predictors; none = all but the networks and bslmm.
        covariates: columns of covariates; none = none.
        scheme: of the folds: random, family, group, environment or youngest.
        folds: number of folds.
        repeats: number of times that folds are drawn.
        runs: folder of all results; the report is in its `reports`.
        seed: seed of every random choice.
        pcs: number of principal components of the genotypes to add, found in the samples learned from.
        params: predictor → parameters that are not its defaults.
    """
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    log, folder = RunLog(), Path(runs)
    report = folder / "reports" / f"traits-{slug_of(trait)}"
    try:
        settings = EvaluationSettings(
            Path(genotypes), Path(table), trait, tuple(predictors or ()), params=checked(params or {}),
            covariates=tuple(covariates or ()), components=pcs, scheme=scheme, folds=folds, repeats=repeats, seed=seed,
            threads=len(os.sched_getaffinity(0)),
        )  # fmt: skip
        tracker = Tracker(tracking_uri(None, folder), folder, log)
        found = as_task(f"compare {trait}", compare_predictors, settings, report, tracker, log)
        rows = json.loads(found.table.to_json(orient="records"))
        create_table_artifact(key=artifact_key("predictors", trait), table=rows, description=verdict(found))
        told = as_task(f"fit {found.recommended()} to {trait}", fit_recommended, found, folder, tracker, log)
    except InputError as error:
        return Failed(message=str(error))
    return Completed(message=f"{verdict(found)} {told}; report: {(report / FILES[0]).absolute()}")
