"""Shared code of the flows: pipeline steps as Prefect tasks, their logs, and results as artifacts."""

from __future__ import annotations

import inspect
import json
import logging
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from prefect import State, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import FailedRun, MissingContextError
from prefect.states import Completed, Failed

from snpimpute.base.errors import InputError
from snpimpute.base.processes import QUIET
from snpimpute.base.progress import Watch
from snpimpute.cluster.connect import opened
from snpimpute.experiment import pipeline
from snpimpute.experiment.rows import Outcome, Row, Tuned
from snpimpute.experiment.settings import changed, read, seconds_of

LOGGED_TYPES = (str, bool, Path, Row, Tuned)  # arguments of these types are logged when a step begins
SECONDS_BETWEEN_LINES = 20.0  # between lines of progress in the log
LAST_LINES = 30  # number of lines shown from the log of a step that failed

Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]
P = ParamSpec("P")
T = TypeVar("T")


def carry_out(
    until: str,
    config: str,
    runs: str,
    imputers: list[str] | None = None,
    data: list[str] | None = None,
    trials: int | None = None,
    budget: str | float | None = None,
    retune: bool = False,
    cluster: str | None = None,
    consequence: bool = False,
) -> State[None]:
    """Run an experiment's steps up to `until`, each as a task; return the final state of the flow.

    Args:
        until: the last step, as in `snpimpute.experiment.pipeline.run`.
        config: path of the experiment's TOML file.
        runs: folder of all results.
        imputers, data: names of the imputers and datasets to run; None = all of the experiment.
        trials, budget: trials and time per study, instead of those of the experiment.
        retune: run studies again whose parameters were found before.
        cluster: Dask cluster whose workers compute, as `--cluster` takes it; None = that of the experiment, or none.
        consequence: whether to tell what the imputers change in the conclusion, whatever the experiment says.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        seconds = None if budget is None else seconds_of(str(budget))
        settings = changed(
            read(Path(config)), trials=trials, seconds=seconds, retune=retune, only_data=data, consequence=consequence
        )
        log = RunLog()
        with opened(cluster or settings.cluster, settings.exchange, Path(runs), log) as engine:
            outcome = pipeline.run(settings, Path(runs), until, imputers, log, perform=as_task, engine=engine)
    except InputError as error:
        return Failed(message=str(error))
    create_artifacts(settings.name, outcome)
    where = f"report: {outcome.report.absolute()}" if outcome.report else "no report in this flow"
    if outcome.failures:
        n_rows = sum(map(len, outcome.rows.values()))
        failed = f"{len(outcome.failures)} of {n_rows} rows failed: {'; '.join(outcome.failures)}"
        return Failed(message=f"{failed}; {where}")
    return Completed(message=where)


def without_traceback(record: logging.LogRecord) -> bool:
    """Let the worker's log say in a line why a flow failed that ended in `Failed`, in place of Prefect's own traceback."""
    if record.exc_info and isinstance(error := record.exc_info[1], FailedRun):
        record.msg, record.args, record.exc_info = f"{record.getMessage()}: {error}", None, None
    return True


logging.getLogger("prefect.flow_runs").addFilter(without_traceback)


def as_task(step: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run one step as a Prefect task of that name.

    The task is neither cached nor retried, because a step itself uses the results that exist.
    """

    @task(name=step.split()[0], task_run_name=lambda: step, retries=0, cache_policy=NO_CACHE, persist_result=False)
    def run_step() -> T:
        logger = get_run_logger()
        arguments = inspect.signature(function).bind(*args, **kwargs).arguments
        for name, value in arguments.items():
            if isinstance(value, LOGGED_TYPES):
                logger.info("%s: %s", name, value)
        try:
            result = function(*args, **kwargs)
        except pipeline.StepFailed as error:
            lines = error.log.read_text(errors="replace").splitlines()[-LAST_LINES:]
            logger.error("the last lines of %s:\n%s", error.log, "\n".join(lines))
            raise
        if result is not None:
            logger.info("result: %s", result)
        return result

    return run_step()


class RunLog(Watch):
    """Progress in the log of the present task or flow run, with a line now and then."""

    def __init__(self) -> None:
        self._last_line = 0.0
        self._made_in = _logger(logging.getLogger(__name__))

    def stage(self, text: str, at_most: float | None = None) -> None:
        _logger(self._made_in).info(text)
        self._last_line = time.monotonic()

    def note(self, text: str) -> None:
        _logger(self._made_in).info(text)

    def progress(self, done: float, total: float) -> None:
        if time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            _logger(self._made_in).info("%g of %g", done, total)
            self._last_line = time.monotonic()

    def warn(self, text: str) -> None:
        _logger(self._made_in).warning(text)


def _logger(otherwise: Logger) -> Logger:
    """Return the logger of the present task or flow run; `otherwise` in a thread that has none, as a cluster's watcher is."""
    try:
        return get_run_logger()
    except MissingContextError:
        return otherwise


def create_artifacts(experiment: str, outcome: Outcome) -> None:
    """Create artifacts in the Prefect UI: a table per dataset, and the addresses of report and MLflow runs."""
    for name, table in outcome.tables.items():
        create_table_artifact(
            key=artifact_key("comparison", experiment, name),
            table=json.loads(table.to_json(orient="records")),
            description=f"Comparison of imputers on {name}",
        )
    if outcome.rows:
        create_markdown_artifact(key=artifact_key("report", experiment), markdown=_markdown(experiment, outcome))


def artifact_key(*parts: str) -> str:
    """Return a key for an artifact: lower-case letters, digits, hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")


def _markdown(experiment: str, outcome: Outcome) -> str:
    lines = [f"# {experiment}", ""]
    if outcome.report:
        lines += [f"Report: `{outcome.report.absolute()}`", ""]
    lines += [f"MLflow: `mlflow ui --backend-store-uri {outcome.mlflow_uri}`", ""]
    for name, dones in outcome.rows.items():
        lines += [f"## {name}", ""]
        if name in outcome.comparison_links:
            lines += [f"[Compare the runs in MLflow]({outcome.comparison_links[name]})", ""]
        lines += ["| row | | MLflow run |", "| --- | --- | --- |"]
        for done in dones:
            status = " ".join(done.failed.split()).replace("|", "\\|") or "ok"
            lines.append(
                f"| {done.row.label} | {status} | {f'[{done.run_id}]({done.run_link})' if done.run_id else ''} |"
            )
        lines.append("")
    return "\n".join(lines)
