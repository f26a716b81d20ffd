"""Parameters of a row: from its study, from another row, from a file, or as given."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from snpimpute import imputers
from snpimpute.base.alone import made_alone
from snpimpute.base.digests import digest
from snpimpute.base.errors import InputError
from snpimpute.base.files import write_text
from snpimpute.base.folders import whole
from snpimpute.base.words import lasting, numbered
from snpimpute.dataset.prepared import PreparedDataset, dataset_in
from snpimpute.experiment.rows import Row, Tuned
from snpimpute.experiment.settings import Budget, ExperimentSettings
from snpimpute.experiment.workspace import Workspace
from snpimpute.imputers.contract import Report
from snpimpute.scoring.fits import MaskPolicy, fits_source, validate_in_folder
from snpimpute.tuning.adopt import adopt_study
from snpimpute.tuning.imputers import TRIALS_PER_PROCESS, tune_imputer
from snpimpute.tuning.names import StudyName
from snpimpute.tuning.parameters import given_params, read_params, write_params
from snpimpute.tuning.study import NO_TRIAL, StudyResult, StudySettings, TrialOutcome, TrialRecord


def study_name(dataset: PreparedDataset, row: Row, seed: int, threads: int) -> str:
    """Return the name of a row's study; it identifies all that changes a score, also a trial's threads, not budgets."""
    decides = digest(
        [row.params, row.mask, seed, threads, imputers.decided_by(imputers.load(row.imputer)), fits_source()]
    )
    return str(StudyName(dataset.name, dataset.digest[:12], row.imputer, row.variant, decides[:8]))


def tune(settings: ExperimentSettings, folder: Path, row: Row, work: Workspace) -> Tuned:
    """Find a row's parameters: from its study (resumed if it was stopped), another row, a file, or as given.

    Args:
        settings: settings of the experiment.
        folder: folder of the prepared dataset.
        row: row to tune.
        work: folder of studies, store for the trials, and receiver of the progress.
    """
    if row.params_file is not None:
        return Tuned(params={**row.params, **given_params(row.params_file)})
    if row.params_from is not None:
        found_there = tune(settings, folder, row.params_from, work)
        return Tuned(params={**found_there.params_of(row.params_from), **row.params})
    if not row.tune:
        return Tuned()
    dataset = dataset_in(folder)
    committed = settings.tuning.parameters and settings.tuning.parameters / parameters_file(dataset, row)
    if committed and not has_study(settings, dataset, row):
        return _read_tuned(committed, dataset, row)
    budget = settings.budget(row.imputer)
    threads = _threads(settings)
    name = study_name(dataset, row, settings.seed, threads)
    kept = work.studies / f"{name}.json"
    with made_alone(kept, work.watch):
        if kept.exists():
            before = json.loads(kept.read_text())
            if before["budget"] == budget.model_dump(mode="json"):
                tuned = Tuned(**before["tuned"])
                if committed and tuned.trials:
                    _write_tuned(committed, tuned, dataset, row)
                return tuned
        work.watch.stage(f"tune {row.label} on {dataset.name}, % of its budget", budget.seconds)
        cls = imputers.load(row.imputer)
        files = cls.files_in(row.params)
        in_worker: Any = replace(whole(folder), files=files)  # a worker gets its path, or that of a copy
        found = tune_imputer(
            name,
            cls,
            row.params,
            evaluate=functools.partial(_evaluate_trial, in_worker, row.imputer, row.mask, settings.seed, threads),
            settings=StudySettings(
                n_trials=budget.trials,
                seconds=budget.seconds,
                workers=settings.tuning.workers,
                threads=threads,
                seed=settings.seed,
                storage=_storage(settings, work, name),
                trials_per_process=TRIALS_PER_PROCESS,
            ),
            on_trial=functools.partial(_log_trial, work, dataset.name, name, row),
            on_progress=lambda percent, best: work.watch.progress(math.floor(percent), 100),
            engine=work.engine,
        )
        if found.best is None:
            work.watch.warn(f"{row.label} on {dataset.name}: {NO_TRIAL}")
        tuned = _tuned_by_study(found, name)
        complete = [trial.seconds for trial in found.trials if trial.state == "complete"]
        if complete:
            each = lasting(sum(complete) / len(complete))
            work.watch.note(
                f"{row.label} on {dataset.name}: a whole trial took {each}, and the fit takes about as long"
            )
        about = {"imputer": row.imputer, "variant": row.variant, "dataset": dataset.name, "study": name}
        write_params(work.studies / f"{name}.toml", found.params, about)
        write_text(kept, json.dumps({"budget": budget.model_dump(mode="json"), "tuned": vars(tuned)}, indent=1) + "\n")
        if committed and found.best is not None:
            _write_tuned(committed, tuned, dataset, row)
        if work.tracker is not None:
            work.tracker.finish_study(
                dataset=dataset.name,
                study=name,
                best=vars(found.best or found.trials[0]),
                n_trials=len(found.trials),
                ended_by=found.ended_by,
                n_counted=tuned.trials,
            )
        return tuned


def adopt(settings: ExperimentSettings, folder: Path, row: Row, journal: Path, work: Workspace) -> bool:
    """Take up a row's study from a journal of another machine or of earlier code; return False if it holds none.

    The study goes on from there: it runs the trials that are still wanting, if any.

    Args:
        settings, folder, row, work: see `tune`.
        journal: see `tuning.adopt.readable_journal`.
    """
    if row.params_from is not None or not has_study(settings, dataset_in(folder), row):
        return False
    name = study_name(dataset_in(folder), row, settings.seed, _threads(settings))
    found = adopt_study(journal, _storage(settings, work, name), name)
    if found is not None:
        work.watch.note(f"{row.label}: {numbered(found.trials, 'trial')} of study {found.name} adopted as {name}")
    return found is not None


def has_study(settings: ExperimentSettings, dataset: PreparedDataset, row: Row) -> bool:
    """Tell whether a study finds a row's parameters: not if they are given, kept in a file, or another row's without one."""
    if row.params_file is not None:
        return False
    if row.params_from is not None:
        return has_study(settings, dataset, row.params_from)
    folder = settings.tuning.parameters
    kept = folder is not None and (folder / parameters_file(dataset, row)).exists() and not settings.tuning.retune
    return row.tune and not kept


def study_ahead(settings: ExperimentSettings, dataset: PreparedDataset, row: Row, work: Workspace) -> Budget | None:
    """Return the budget of a row's own study; None if it has none, or one that was ended with this budget."""
    if row.params_from is not None or not has_study(settings, dataset, row):
        return None
    budget = settings.budget(row.imputer)
    kept = work.studies / f"{study_name(dataset, row, settings.seed, _threads(settings))}.json"
    ended = kept.exists() and json.loads(kept.read_text())["budget"] == budget.model_dump(mode="json")
    return None if ended else budget


def _storage(settings: ExperimentSettings, work: Workspace, name: str) -> str:
    """Return where a study's trials are kept, see StudySettings."""
    return settings.tuning.storage or str(work.studies / f"{name}.journal")


def _threads(settings: ExperimentSettings) -> int:
    """Return the processor threads of a trial."""
    return max(1, settings.n_threads() // settings.tuning.workers)


def _evaluate_trial(
    folder: Path, imputer: str, policy: MaskPolicy, seed: int, threads: int, params: dict[str, Any], report: Report
) -> TrialOutcome:
    found = validate_in_folder(folder, imputer, policy, seed, threads, params, report)
    return TrialOutcome(found.score, {"refit_params": found.refit_params, "levels_score": found.levels_score})


def _log_trial(work: Workspace, dataset: str, study: str, row: Row, record: TrialRecord) -> None:
    """Log a trial to MLflow, if a store is open."""
    if work.tracker is not None:
        work.tracker.log_trial(
            dataset=dataset, study=study, imputer=row.imputer, variant=row.variant, record=vars(record)
        )


def _tuned_by_study(found: StudyResult, name: str) -> Tuned:
    counted = [t for t in found.trials if t.state in ("complete", "pruned")]
    handed_in = found.best.attributes if found.best is not None else {}
    return Tuned(
        params=found.params,
        refit_params=handed_in.get("refit_params"),
        levels_score=handed_in.get("levels_score"),
        trials=len(counted),
        failed=len(found.trials) - len(counted),
        seconds=sum(t.seconds for t in found.trials),
        ended_by=found.ended_by,
        study=name,
    )


def parameters_file(dataset: PreparedDataset, row: Row) -> str:
    """Return the name of the file with a study's result, in the folder that the settings name."""
    return f"{dataset.name}-{row.imputer}-{row.variant}.toml"


def _write_tuned(path: Path, tuned: Tuned, dataset: PreparedDataset, row: Row) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"found": f"for {row.label} on {dataset.name}, by its study"}
    write_params(path, {"dataset": dataset.digest, **vars(tuned)}, about)


def _read_tuned(path: Path, dataset: PreparedDataset, row: Row) -> Tuned:
    """Read the result of an earlier study.

    Raises:
        InputError: the study used other data, whose train samples may be test samples here.
    """
    table = read_params(path)
    if table.pop("dataset", None) != dataset.digest:
        raise InputError(f"the parameters {path} were not found on this preparation of {dataset.name}: use --retune")
    parse_params = imputers.load(row.imputer).parse_params  # adds values that are None, which TOML cannot have
    for key in ("params", "refit_params"):
        table[key] = parse_params(table[key]).model_dump(mode="json")
    return Tuned(**table)
