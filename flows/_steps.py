"""What the flows share: a step of the pipeline as a Prefect task, its log, and what came of it as artifacts."""

from __future__ import annotations

import inspect
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from prefect import State, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed

from snpimpute.base.errors import InputError
from snpimpute.base.processes import QUIET
from snpimpute.base.progress import Watch
from snpimpute.experiment import pipeline
from snpimpute.experiment.rows import Outcome, Row, Tuned
from snpimpute.experiment.settings import changed, read, seconds_of

SHOWN = (str, bool, Path, Row, Tuned)  # types of a step's arguments that its log begins with
SECONDS_BETWEEN_LINES = 20.0  # of progress
LAST_LINES = 30  # of the log of a step that failed

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
) -> State[None]:
    """Do an experiment's steps up to `until`, each as a task; returns the state that the flow ends in.

    Args:
        until: the last step, as in `snpimpute.pipeline.run`.
        config: path of the experiment's TOML file.
        runs: folder that everything is kept in.
        imputers, data: names of the imputers and datasets to work on; None = all of the experiment.
        trials, budget: trials and time per study, instead of what the experiment says.
        retune: run the studies whose parameters were found before, too.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        seconds = None if budget is None else seconds_of(str(budget))
        settings = changed(read(Path(config)), trials=trials, seconds=seconds, retune=retune, only_data=data)
        outcome = pipeline.run(settings, Path(runs), until, imputers, RunLog(), perform=as_task)
    except InputError as error:
        return Failed(message=str(error))
    show(settings.name, outcome)
    where = f"report: {outcome.report.absolute()}" if outcome.report else "no report asked for"
    if outcome.failures:
        n_rows = sum(map(len, outcome.rows.values()))
        failed = f"{len(outcome.failures)} of {n_rows} rows failed: {'; '.join(outcome.failures)}"
        return Failed(message=f"{failed}; {where}")
    return Completed(message=where)


def as_task(step: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Carry out one step as a Prefect task of that name: not cached and not tried again, since steps take up what is done."""

    @task(name=step.split()[0], task_run_name=lambda: step, retries=0, cache_policy=NO_CACHE, persist_result=False)
    def carried_out() -> T:
        logger = get_run_logger()
        given = inspect.signature(function).bind(*args, **kwargs).arguments
        for name, value in given.items():
            if isinstance(value, SHOWN):
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

    return carried_out()


class RunLog(Watch):
    """Writes to the log of the task or flow run at hand; of progress, a line now and then."""

    def __init__(self) -> None:
        self._last_line = 0.0

    def stage(self, text: str) -> None:
        get_run_logger().info(text)
        self._last_line = time.monotonic()

    def progress(self, done: float, total: float) -> None:
        if time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            get_run_logger().info("%g of %g", done, total)
            self._last_line = time.monotonic()

    def warn(self, text: str) -> None:
        get_run_logger().warning(text)


def show(experiment: str, outcome: Outcome) -> None:
    """Show in the Prefect UI what came of an experiment: a table per dataset, and where report and MLflow runs are."""
    for name, table in outcome.tables.items():
        create_table_artifact(
            key=_key("comparison", experiment, name),
            table=json.loads(table.to_json(orient="records")),
            description=f"Comparison of imputers on {name}",
        )
    if outcome.rows:
        create_markdown_artifact(key=_key("report", experiment), markdown=_markdown(experiment, outcome))


def _key(*parts: str) -> str:
    """A name as artifacts have it: lower-case letters, digits, hyphens."""
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
