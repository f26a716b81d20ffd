"""Pipeline of an experiment: its steps in their order (prepare, tune, train, evaluate, compare)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

import pandas as pd

from snpimpute import imputers
from snpimpute.base.alone import made_alone
from snpimpute.base.digests import digest
from snpimpute.base.errors import InputError, WorkEnds
from snpimpute.base.extras import require_package
from snpimpute.base.files import require_writable
from snpimpute.base.processes import HERE, Engine
from snpimpute.base.progress import NotingWatch, Watch
from snpimpute.base.provenance import git_revision
from snpimpute.base.sources import source_digest
from snpimpute.base.steps import StepFailed, side_by_side
from snpimpute.base.words import lasting, numbered
from snpimpute.dataset.prepared import dataset_in, read_about, save_dataset
from snpimpute.dataset.settings import SIMULATED, DataSettings
from snpimpute.experiment.conclude import conclude_and_log
from snpimpute.experiment.rows import Done, Outcome, Row, Tuned, on_data, plan, wanted_on
from snpimpute.experiment.score import read_scores, score_and_log
from snpimpute.experiment.settings import ExperimentSettings
from snpimpute.experiment.train import choose_offsets, evaluate, log_training, model_folder, train
from snpimpute.experiment.tune import adopt, has_study, study_ahead, tune
from snpimpute.experiment.workspace import Workspace
from snpimpute.io.stream import contents_of
from snpimpute.tuning.adopt import readable_journal, studies_in

SHORT = 1.0  # seconds; a row that took less was there already, or is not worth a line

P = ParamSpec("P")
T = TypeVar("T")


def prepare(settings: ExperimentSettings, name: str, work: Workspace) -> Path:
    """Make the prepared dataset `name` of the settings, or find the existing one; return its folder."""
    from snpimpute.dataset.prepare import build_dataset

    data = settings.data[name]
    seed = settings.seed if data.seed is None else data.seed
    wanted = digest(
        [
            source_digest("snpimpute.dataset.prepare"),
            data.model_dump(mode="json", exclude={"params", "imputers", "seed", "offsets"}),
            seed,
            settings.scoring.headline_level,
            _input_contents(data),
        ]
    )
    with made_alone(work.runs / "datasets" / name, work.watch):
        for folder in sorted((work.runs / "datasets").glob(f"{name}-*")):
            if read_about(folder)["settings"].get("made_from") == wanted:
                return folder
        work.watch.stage(f"prepare {name}")
        dataset = build_dataset(name, data, seed, settings.scoring.headline_level, work.watch)
        dataset.settings["made_from"] = wanted
        return save_dataset(dataset, work.runs / "datasets")


def _input_contents(data: DataSettings) -> list[str]:
    """Return the digests of all files that a dataset is made from."""
    tables = [data.samples, data.pedigree, data.scenarios.masks, data.scenarios.typed]
    sources = [None if data.source == SIMULATED else Path(data.source), data.train, data.test]
    found = [(path, None) for path in tables] + [(path, data.region) for path in sources]
    return [each for path, region in found if path is not None for each in contents_of(path, region)]


class Perform(Protocol):
    """Function that runs a named step ("tune bert/fixed on kg15-500"), and returns its result or raises its error."""

    def __call__(self, step: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...


def call(step: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a step by a plain call."""
    return function(*args, **kwargs)


def run(
    settings: ExperimentSettings,
    runs: Path,
    until: str = "compare",
    only: list[str] | None = None,
    watch: Watch | None = None,
    perform: Perform = call,
    adopt_from: Path | None = None,
    engine: Engine = HERE,
) -> Outcome:
    """Run an experiment's steps in their order, up to one of them; results that exist are used, not computed again.

    An imputer that fails does not stop the others; its row has the reason. A full disk or a store that is gone stops all.

    Args:
        settings: settings of the experiment.
        runs: folder for all results.
        until: the last step: "prepare", "tune", "train", "evaluate" or "compare".
        only: names of the imputers to run; None = all of the experiment.
        watch: receives the progress.
        perform: runs each step, by default by a plain call; Prefect flows run it as a task.
        adopt_from: journal whose studies are taken up; rows without a study there are left out.
        engine: where trials, fits and imputations are computed.

    Raises:
        InputError: an error that the user can correct, found before a long step begins.
        WorkEnds: a disk is full, or the store is gone for longer than it is waited for.
    """
    if until != "prepare":
        for package in ("mlflow", "optuna"):
            require_package(package, "an experiment")
    if settings.consequence:
        for package in ("pysusie", "tstrait"):
            require_package(package, "consequence")
    require_writable(runs)
    work = Workspace(runs, watch or Watch(), engine=engine)
    rows = [row for row in plan(settings) if only is None or row.imputer in only]
    for name in only or []:
        imputers.load(name)
    outcome = Outcome()
    wanted = {name: wanted_on(rows, data) for name, data in settings.data.items()}
    outcome.datasets = {
        name: perform(f"prepare {name}", prepare, settings, name, work) for name, rows in wanted.items() if rows
    }
    if until == "prepare":
        return outcome
    tracker = work.with_store(settings)
    outcome.mlflow_uri = tracker.uri
    for folder in outcome.datasets.values():
        name = dataset_in(folder).name
        rows = [on_data(row, settings.data[name]) for row in wanted[name]]
        if adopt_from is not None:
            rows = _adopted(settings, folder, rows, adopt_from, work)
        work.watch.note(f"{numbered(len(rows), 'row')} on {name}; {_studies_ahead(settings, folder, rows, work)}")
        outcome.rows[name] = _run_rows(settings, folder, rows, work, until, perform)
        scored = [done for done in outcome.rows[name] if not done.failed]
        if until in ("evaluate", "compare") and scored:
            outcome.scores[name] = perform(f"score {name}", score_and_log, settings, folder, scored, work)
            if settings.consequence:
                outcome.conclusions[name] = perform(
                    f"consequence {name}", conclude_and_log, settings, folder, scored, work
                )
            outcome.comparison_links[name] = tracker.comparison_link(name, [done.run_id for done in scored])
    if adopt_from is not None and not any(outcome.rows.values()):
        with readable_journal(adopt_from) as journal:
            held = ", ".join(studies_in(journal)) or "none"
        raise InputError(f"{adopt_from} has no study of these rows and data: it has {held}")
    if until == "compare":
        perform("compare", compare, settings, outcome, work)
    return outcome


def _adopted(settings: ExperimentSettings, folder: Path, rows: list[Row], journal: Path, work: Workspace) -> list[Row]:
    """Take up the studies of rows on a dataset from a journal, and return these rows."""
    with readable_journal(journal) as readable:
        return [row for row in rows if adopt(settings, folder, row, readable, work)]


def _run_rows(
    settings: ExperimentSettings, folder: Path, rows: list[Row], work: Workspace, until: str, perform: Perform
) -> list[Done]:
    """Run the rows of a dataset, one after another; on a cluster as many at a time as it has workers."""
    found: dict[int, Done] = {}
    at_once = work.engine.at_once(1) if perform is call else 1
    if at_once > 1:
        work = replace(work, watch=NotingWatch(work.watch))

    def run_row(number: int) -> None:
        row, started = rows[number], work.watch.clock()
        found[number] = _run_row(settings, folder, row, work, until, perform)
        left = [other for other in range(len(rows)) if other not in found]
        if (took := work.watch.clock() - started) >= SHORT and left:
            ahead = _studies_ahead(settings, folder, [rows[other] for other in left], work)
            where = f"{row.label} on {dataset_in(folder).name}"
            work.watch.note(f"{where} took {lasting(took)}; {numbered(len(left), 'row')} left, {ahead}")

    if at_once > 1:
        side_by_side([partial(run_row, number) for number in range(len(rows))], at_once)
    else:
        for number in range(len(rows)):
            run_row(number)
    return [found[number] for number in range(len(rows))]


def _studies_ahead(settings: ExperimentSettings, folder: Path, rows: list[Row], work: Workspace) -> str:
    """Say which rows have a study still to run, and how long these are at most: all that is known before a row is fitted."""
    found = [(row.label, study_ahead(settings, dataset_in(folder), row, work)) for row in rows]
    budgets = {label: budget for label, budget in found if budget is not None}
    if not budgets:
        return "no study to run"
    each = [f"{label} ({_bound(budget.seconds, budget.trials)})" for label, budget in budgets.items()]
    seconds = [budget.seconds for budget in budgets.values() if budget.seconds is not None]
    in_all = f", {lasting(sum(seconds))} at most in all" if len(seconds) == len(each) else ""
    return f"studies to run: {', '.join(each)}{in_all}; fits and scoring come on top"


def _bound(seconds: float | None, trials: int) -> str:
    return numbered(trials, "trial") + ("" if seconds is None else f" or {lasting(seconds)}")


def _run_row(
    settings: ExperimentSettings, folder: Path, row: Row, work: Workspace, until: str, perform: Perform
) -> Done:
    """Run the steps of one row on one dataset: tune, train, evaluate, offsets; record a failure, do not raise it.

    WorkEnds, which no other row would escape, is raised.
    """
    done = Done(row)
    dataset = dataset_in(folder)
    row_on_dataset = f"{row.label} on {dataset.name}"
    try:
        perform_tuning = (
            perform if has_study(settings, dataset, row) else call
        )  # a step without a study would show nothing
        done.tuned = perform_tuning(f"tune {row_on_dataset}", tune, settings, folder, row, work)
        if until == "tune":
            return done
        done.home, done.run_id, done.run_link = perform(
            f"train {row_on_dataset}", _train_and_log, settings, folder, row, done.tuned, work, until != "train"
        )
        if until == "train":
            return done
        perform(f"evaluate {row_on_dataset}", evaluate, settings, folder, row, done.home, work)
        if settings.offsets_on(dataset.name):
            perform(f"offsets {row_on_dataset}", choose_offsets, settings, folder, row, done.home, work)
    except WorkEnds:
        raise
    except (StepFailed, InputError, RuntimeError) as error:
        done.failed = str(error)
        work.watch.warn(f"{row.label} failed: {error}")
    return done


def _train_and_log(
    settings: ExperimentSettings, folder: Path, row: Row, tuned: Tuned, work: Workspace, then_impute: bool
) -> tuple[Path, str, str]:
    """Train a row and log it; return the model's folder, the id of its MLflow run and the run's address in the UI."""
    with made_alone(model_folder(settings, dataset_in(folder), row, tuned, work), work.watch):
        home = train(settings, folder, row, tuned, work, then_impute)
        tracker = work.tracker or work.with_store(settings)
        with work.logging:
            run_id = log_training(settings, folder, row, tuned, home, tracker)
    return home, run_id, tracker.run_link(run_id)


def compare(settings: ExperimentSettings, outcome: Outcome, work: Workspace) -> None:
    """Write the report from the tables of scores, and log it."""
    from snpimpute.experiment.compare import draw_report

    work.watch.stage("compare")
    folder = work.runs / "reports" / settings.name
    with made_alone(folder, work.watch):
        draw_report(settings, outcome, [read_scores(path) for path in outcome.scores.values()], folder)
        (work.tracker or work.with_store(settings)).log_comparison(
            dataset_names=list(outcome.scores),
            report_folder=folder,
            table=pd.concat([table.assign(dataset=name) for name, table in outcome.tables.items()], ignore_index=True),
            tags={"experiment": settings.name, "revision": git_revision()},
            key=digest([settings.name, sorted(p.name for p in outcome.scores.values())])[:16],
        )
