"""Flow `retrain`, which fits a model of a whole panel anew: a breach of `snpimpute models watch` or a schedule starts it."""

from __future__ import annotations

import os
from pathlib import Path

from prefect import State, flow
from prefect.states import Completed, Failed

from flows._steps import RunLog, as_task
from snpimpute.base.errors import InputError
from snpimpute.base.processes import QUIET
from snpimpute.cluster.connect import opened
from snpimpute.impute.panel import FitSettings
from snpimpute.impute.retraining import retrain as fit_and_promote
from snpimpute.tracking.connect import tracking_uri
from snpimpute.tracking.writer import Tracker


@flow(name="retrain", persist_result=False)
def retrain(
    panel: str,
    name: str,
    imputer: str = "auto",
    runs: str = "runs",
    typed_sites: str | None = None,
    samples: str | None = None,
    window: str | None = None,
    holdout: float = 0.1,
    seed: int = 1,
    cluster: str | None = None,
) -> State[None]:
    """Fit a model to a panel as it is now, register it, and make it the champion if it is better on the same samples.

    Args:
        panel: path of the panel, with the samples that have come since.
        name: name of the model.
        imputer: name of the imputer; auto = the better one of two in a short trial.
        runs: folder of all results.
        typed_sites: sites that targets have, a list or a target; none = nine in ten are hidden.
        samples: sample table; none = none.
        window: size of a window, as 500 or 5cM; none = the imputer's own.
        holdout: share of the samples that the model is measured on.
        seed: seed of every random choice.
        cluster: Dask cluster whose workers compute (tcp://HOST:PORT); none = none.
    """
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    log, folder = RunLog(), Path(runs)
    typed, table = (None if path is None else Path(path) for path in (typed_sites, samples))
    try:
        settings = FitSettings(
            Path(panel), name, imputer, samples=table, window=window, holdout=holdout, typed=typed, seed=seed,
            threads=len(os.sched_getaffinity(0)),
        )  # fmt: skip
        with opened(cluster, None, folder, log) as engine:
            tracker = Tracker(tracking_uri(None, folder), folder, log)
            told = as_task(f"retrain {name}", fit_and_promote, settings, folder, tracker, log, engine)
    except InputError as error:
        return Failed(message=str(error))
    return Completed(message=told)
