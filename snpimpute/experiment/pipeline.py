"""The steps of an experiment as plain functions, and the order between them: prepare, tune, train, evaluate, compare."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar

import numpy as np
import pandas as pd

from snpimpute import imputers
from snpimpute.base.digests import digest, file_digest
from snpimpute.base.errors import InputError
from snpimpute.base.processes import StepFailed, run_step
from snpimpute.base.programs import (
    git_revision,
    peak_memory_mb,
    tell,
    versions,
    write_text,
    written_beside,
)
from snpimpute.base.progress import Watch
from snpimpute.base.sources import source_digest
from snpimpute.dataset.prepared import PreparedDataset, dataset_in, read_about, save_dataset
from snpimpute.experiment.rows import Done, Outcome, Row, Tuned, on_data, plan, wanted_on
from snpimpute.experiment.settings import SIMULATED, DataSettings, ExperimentSettings
from snpimpute.imputers.contract import Imputer, Report
from snpimpute.io.read import files_of
from snpimpute.scoring.fits import MaskPolicy, fit_on, offsets_by_level, validate, validate_in_folder
from snpimpute.scoring.table import impute_scenarios, load_posteriors, save_posteriors, score_table
from snpimpute.tuning.study import (
    StudyResult,
    StudySettings,
    TrialOutcome,
    TrialRecord,
    given_params,
    read_params,
    run_study,
    write_params,
)

TRIALS_PER_PROCESS = 10  # Keras keeps some 55 MB of every network it has fitted

P = ParamSpec("P")
T = TypeVar("T")


# ---------------------------------------------------------------------- prepare


def prepare(settings: ExperimentSettings, name: str, runs: Path, watch: Watch | None = None) -> Path:
    """Make the prepared dataset `name` of the settings, or find it already made; returns its folder."""
    from snpimpute.dataset.prepare import build_dataset

    data = settings.data[name]
    seed = settings.seed if data.seed is None else data.seed
    wanted = digest(
        [
            source_digest("snpimpute.dataset.prepare"),
            data.model_dump(mode="json", exclude={"params", "imputers", "seed", "offsets"}),
            seed,
            settings.scoring.headline_level,
            [file_digest(path) if path.is_file() else "" for path in _input_files(data)],
        ]
    )
    for folder in sorted((runs / "datasets").glob(f"{name}-*")):
        if read_about(folder)["settings"].get("made_from") == wanted:
            return folder
    (watch or Watch()).stage(f"prepare {name}")
    dataset = build_dataset(name, data, seed, settings.scoring.headline_level)
    dataset.settings["made_from"] = wanted
    return save_dataset(dataset, runs / "datasets")


def _input_files(data: DataSettings) -> list[Path]:
    named = [data.train, data.test, data.samples, data.pedigree, data.scenarios.masks, data.scenarios.typed]
    if data.source != SIMULATED:
        named += files_of(Path(data.source))
    return [path for path in named if path is not None]


# ---------------------------------------------------------------------- tune


def study_name(dataset: PreparedDataset, row: Row, seed: int) -> str:
    """Name of a row's study: all that changes a score is in it, budgets and threads are not."""
    decides = digest([row.params, row.mask, seed, imputers.decided_by(imputers.load(row.imputer)), _source()])
    return f"{dataset.name}-{dataset.digest[:12]}-{row.imputer}-{row.variant}-{decides[:8]}"


def _source() -> str:
    """Digest of the source that fits and imputes for an experiment, whatever the imputer."""
    return source_digest("snpimpute.scoring.fits", "snpimpute.scoring.table", without=imputers.DISCOVERY)


def tune(
    settings: ExperimentSettings, folder: Path, row: Row, runs: Path, tracker: Any = None, watch: Watch | None = None
) -> Tuned:
    """Find a row's parameters: by its study (taken up where it stands), another row's, a file's, or as they are.

    Args:
        settings: of the experiment.
        folder: of the prepared dataset.
        row: what to tune.
        runs: where studies are kept.
        tracker: tracking.Tracker that trials are logged to, or None.
        watch: told of the progress.
    """
    if row.params_file is not None:
        return Tuned(params={**row.params, **given_params(row.params_file)})
    if row.params_from is not None:
        found_there = tune(settings, folder, row.params_from, runs, tracker, watch)
        return Tuned(params={**found_there.params_of(row.params_from), **row.params})
    if not row.tune:
        return Tuned()
    dataset = dataset_in(folder)
    committed = settings.tuning.parameters and settings.tuning.parameters / parameters_file(dataset, row)
    if committed and committed.exists() and not settings.tuning.retune:
        return _read_tuned(committed, dataset, row)
    budget = settings.budget(row.imputer)
    name = study_name(dataset, row, settings.seed)
    kept = runs / "studies" / f"{name}.json"
    if kept.exists():
        before = json.loads(kept.read_text())
        if before["budget"] == budget.model_dump(mode="json"):
            tuned = Tuned(**before["tuned"])
            if committed:
                _write_tuned(committed, tuned, dataset, row)
            return tuned
    watch = watch or Watch()
    watch.stage(f"tune {row.label} on {dataset.name}")
    cls = imputers.load(row.imputer)
    threads = max(1, settings.n_threads() // settings.tuning.workers)
    (runs / "studies").mkdir(parents=True, exist_ok=True)
    defaults = cls.parse_params(row.params).model_dump(mode="json")
    published = {key: value for key, value in defaults.items() if key not in row.params}
    found = run_study(
        name,
        suggest=functools.partial(suggested, cls, row.params),
        first=published,
        starts=[{**published, **start} for start in cls.starts],
        evaluate=functools.partial(_evaluate_trial, folder, row.imputer, row.mask, settings.seed, threads),
        settings=StudySettings(
            n_trials=budget.trials,
            seconds=budget.seconds,
            workers=settings.tuning.workers,
            threads=threads,
            seed=settings.seed,
            storage=settings.tuning.storage or str(runs / "studies" / f"{name}.journal"),
            trials_per_process=TRIALS_PER_PROCESS,
        ),
        on_trial=functools.partial(_log_trial, tracker, dataset.name, name, row),
        on_progress=lambda counted, wanted, best: watch.progress(counted, wanted),
    )
    tuned = _tuned(found, name)
    about = {"imputer": row.imputer, "variant": row.variant, "dataset": dataset.name, "study": name}
    write_params(runs / "studies" / f"{name}.toml", found.best.params, about)
    write_text(kept, json.dumps({"budget": budget.model_dump(mode="json"), "tuned": vars(tuned)}, indent=1) + "\n")
    if committed:
        _write_tuned(committed, tuned, dataset, row)
    if tracker is not None:
        tracker.finish_study(
            dataset=dataset.name,
            study=name,
            best=vars(found.best),
            n_trials=len(found.trials),
            ended_by=found.ended_by,
            n_counted=tuned.trials,
        )
    return tuned


def suggested(cls: type[Imputer], fixed: dict[str, Any], trial: Any) -> dict[str, Any]:
    """Parameters (JSON-able) that a trial of an imputer's study suggests, those in `fixed` as they are."""
    suggested = cls.search_space(trial).model_dump(mode="json")  # type: ignore[attr-defined]
    return cls.parse_params({**suggested, **fixed}).model_dump(mode="json")


def _evaluate_trial(
    folder: Path, imputer: str, policy: MaskPolicy, seed: int, threads: int, params: dict[str, Any], report: Report
) -> TrialOutcome:
    found = validate_in_folder(folder, imputer, policy, seed, threads, params, report)
    return TrialOutcome(found.score, {"refit_params": found.refit_params, "levels_score": found.levels_score})


def _log_trial(tracker: Any, dataset: str, study: str, row: Row, record: TrialRecord) -> None:
    if tracker is not None:
        tracker.log_trial(dataset=dataset, study=study, imputer=row.imputer, variant=row.variant, record=vars(record))


def _tuned(found: StudyResult, name: str) -> Tuned:
    counted = [t for t in found.trials if t.state in ("complete", "pruned")]
    return Tuned(
        params=found.best.params,
        refit_params=found.best.attributes["refit_params"],
        levels_score=found.best.attributes["levels_score"],
        trials=len(counted),
        failed=len(found.trials) - len(counted),
        seconds=sum(t.seconds for t in found.trials),
        ended_by=found.ended_by,
        study=name,
    )


def parameters_file(dataset: PreparedDataset, row: Row) -> str:
    """Name of the file of a study's findings in the folder that the settings name."""
    return f"{dataset.name}-{row.imputer}-{row.variant}.toml"


def _write_tuned(path: Path, tuned: Tuned, dataset: PreparedDataset, row: Row) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"found": f"for {row.label} on {dataset.name}, by its study"}
    write_params(path, {"dataset": dataset.digest, **vars(tuned)}, about)


def _read_tuned(path: Path, dataset: PreparedDataset, row: Row) -> Tuned:
    """What a study found before; InputError if it looked at other data, whose train samples may be test samples here."""
    table = read_params(path)
    if table.pop("dataset", None) != dataset.digest:
        raise InputError(f"the parameters {path} were not found on this preparation of {dataset.name}: use --retune")
    whole = imputers.load(row.imputer).parse_params  # TOML has no None
    for key in ("params", "refit_params"):
        table[key] = whole(table[key]).model_dump(mode="json")
    return Tuned(**table)


# ---------------------------------------------------------------------- train


def model_folder(settings: ExperimentSettings, dataset: PreparedDataset, row: Row, tuned: Tuned, runs: Path) -> Path:
    """Where a row's fitted imputer is kept: named by all that it depends on."""
    params = tuned.params_of(row)
    about = [dataset.digest, row.imputer, params, row.mask, settings.seed, settings.n_threads()]
    decides = digest([*about, imputers.decided_by(imputers.load(row.imputer)), _source()])
    return runs / "models" / f"{dataset.name}-{row.imputer}-{row.variant}-{decides[:10]}"


def train(
    settings: ExperimentSettings,
    folder: Path,
    row: Row,
    tuned: Tuned,
    runs: Path,
    watch: Watch | None = None,
    then_impute: bool = False,
) -> Path:
    """Fit a row's imputer on all of train, in a process of its own, which may go straight on to fill the scenarios.

    Returns:
        The model's folder: `model/` (what Imputer.save wrote), `fit.json`, `log.txt`.

    Raises:
        StepFailed: the fit ended badly.
    """
    watch = watch or Watch()
    dataset = dataset_in(folder)
    home = model_folder(settings, dataset, row, tuned, runs)
    if not (home / "fit.json").exists():
        watch.stage(f"train {row.label} on {dataset.name}")
        arguments = {
            "folder": str(folder),
            "home": str(home),
            "imputer": row.imputer,
            "policy": row.mask,
            "params": tuned.params_of(row),
            "refit_params": tuned.refit_params,
            "levels_score": tuned.levels_score,
            "seed": settings.seed,
            "threads": settings.n_threads(),
            "impute_as": row.variant if then_impute else None,
        }
        run_step("fit", arguments, home / "log.txt", settings.n_threads(), watch)
    return home


def step_fit(
    folder: str,
    home: str,
    imputer: str,
    policy: MaskPolicy,
    params: dict[str, Any],
    refit_params: dict[str, Any] | None,
    levels_score: float | None,
    seed: int,
    threads: int,
    impute_as: str | None,
) -> None:
    """The step "fit": with validation first where no study has done that, then on all of train; then "impute", if asked."""
    dataset = dataset_in(Path(folder))
    if refit_params is None:
        found = validate(dataset, imputer, params, policy, seed, threads)
        refit_params, levels_score = found.refit_params, found.levels_score
    fitted, seconds = fit_on(dataset, dataset.train, imputer, refit_params, policy, seed, threads)
    with written_beside(Path(home) / "model") as beside:
        fitted.save(beside)
    about = {
        "seconds_fit": seconds,
        "memory_mb": peak_memory_mb(),
        "parameters": fitted.n_parameters(fitted.params, dataset.train.n_sites),
        "val_f1_macro": levels_score,
        "samples_fit": dataset.train.n_samples,
        "params": fitted.params.model_dump(mode="json"),
        "versions": versions(),
        "revision": git_revision(),
    }
    write_text(Path(home) / "fit.json", json.dumps(about, indent=1) + "\n")
    if impute_as is not None:
        step_impute(folder, home, impute_as)


def log_training(settings: ExperimentSettings, folder: Path, row: Row, tuned: Tuned, home: Path, tracker: Any) -> str:
    """Log and register a trained imputer, unless that is done already; returns the id of its MLflow run."""
    about = json.loads((home / "fit.json").read_text())
    dataset = dataset_in(folder)
    example = pd.DataFrame(
        dataset.test.hide(dataset.headline_scenario.hidden).take_samples(slice(0, 2)).calls,
        index=dataset.test.names[:2],
        columns=dataset.test.site_keys(),
    )
    metrics = {key: about[key] for key in ("seconds_fit", "memory_mb", "val_f1_macro", "parameters", "samples_fit")}
    tags = {**{f"version.{k}": v for k, v in about["versions"].items()}, "revision": about["revision"]}
    if tuned.study:
        metrics |= {"trials": tuned.trials, "trials_failed": tuned.failed, "seconds_tune": tuned.seconds}
        tags["study_ended_by"] = tuned.ended_by
    return tracker.log_training(
        key=home.name,
        dataset=dataset.name,
        dataset_folder=folder,
        dataset_digest=dataset.digest,
        imputer=row.imputer,
        variant=row.variant,
        params={**about["params"], "mask": row.mask, "seed": settings.seed, "threads": settings.n_threads()},
        metrics={key: float(value) for key, value in metrics.items() if value is not None},
        tags=tags,
        artifacts=[
            p
            for p in (home / "log.txt", folder / "left_out.tsv", *(home / "model" / "state").glob("*.log"))
            if p.exists()
        ],
        model_folder=home / "model",
        example_target=example,
    )


# ---------------------------------------------------------------------- evaluate


def evaluate(settings: ExperimentSettings, folder: Path, row: Row, home: Path, watch: Watch | None = None) -> Path:
    """Let a trained imputer fill every test scenario, in a process of its own; returns the file of its posteriors.

    Raises:
        StepFailed: imputing ended badly.
    """
    watch = watch or Watch()
    kept = home / "posteriors.npz"
    if not (home / "impute.json").exists():
        watch.stage(f"evaluate {row.label} on {dataset_in(folder).name}")
        arguments = {"folder": str(folder), "home": str(home), "variant": row.variant}
        run_step("impute", arguments, home / "log.txt", settings.n_threads(), watch)
    return kept


def step_impute(folder: str, home: str, variant: str) -> None:
    """The step "impute": all test scenarios."""
    model = Path(home) / "model"
    fitted = imputers.class_in(model).load(model)
    posteriors = impute_scenarios(
        fitted, variant, dataset_in(Path(folder)), progress=lambda done, total: tell(progress=[done, total])
    )
    save_posteriors(posteriors, Path(home) / "posteriors.npz")
    if logs := getattr(fitted, "logs", []):
        write_text(Path(home) / "impute.log", "\n".join(logs))
    seconds = list(posteriors.seconds.values())
    about = {"seconds_impute": sum(seconds) / len(seconds), "scenarios": len(seconds), "memory_mb": peak_memory_mb()}
    write_text(Path(home) / "impute.json", json.dumps(about, indent=1) + "\n")


def choose_offsets(
    settings: ExperimentSettings, folder: Path, row: Row, home: Path, watch: Watch | None = None
) -> Path:
    """Choose the offsets of a trained row's hard calls on validation, in a process of its own; returns their file.

    The file (`offsets.json`, see `offsets_by_level`) lies beside the model; where it is, nothing is done.

    Raises:
        StepFailed: the fit without the samples held out, or imputing them, ended badly.
    """
    kept = home / "offsets.json"
    if not kept.exists():
        watch = watch or Watch()
        watch.stage(f"offsets {row.label} on {dataset_in(folder).name}")
        about = {"imputer": row.imputer, "policy": row.mask, "seed": settings.seed, "threads": settings.n_threads()}
        arguments = {"folder": str(folder), "home": str(home), **about}
        run_step("offsets", arguments, home / "log.txt", settings.n_threads(), watch)
    return kept


def step_offsets(folder: str, home: str, imputer: str, policy: MaskPolicy, seed: int, threads: int) -> None:
    """The step "offsets": with the parameters of the fit on all of train, on the train samples that are not held out."""
    params = json.loads((Path(home) / "fit.json").read_text())["params"]
    dataset = dataset_in(Path(folder))
    fitted, _ = fit_on(dataset, dataset.fit_panel, imputer, params, policy, seed, threads)
    found = offsets_by_level(dataset, fitted, progress=lambda done, total: tell(progress=[done, total]))
    write_text(Path(home) / "offsets.json", json.dumps(found, indent=1) + "\n")


def _offsets_in(home: Path) -> dict[float, np.ndarray]:
    """Level → offsets float64 (3,) that were chosen for a row; empty if none were."""
    kept = home / "offsets.json"
    found = json.loads(kept.read_text()) if kept.exists() else []
    return {entry["level"]: np.array([0.0, *entry["offsets"]]) for entry in found}


def score(
    settings: ExperimentSettings, folder: Path, homes: list[Path], runs: Path, watch: Watch | None = None
) -> Path:
    """The tidy table of scores of the imputers whose model folders are given; returns the CSV file.

    Where offsets are wanted the hard calls of those that have offsets are scored by these too.
    """
    dataset = dataset_in(folder)
    about = [
        dataset.digest,
        sorted(home.name for home in homes),
        settings.scoring.resamples,
        settings.seed,
        _source(),
    ]
    offsets = [_offsets_in(home) if settings.offsets_on(dataset.name) else {} for home in homes]
    if any(offsets):
        used = {home.name: {k: list(v) for k, v in own.items()} for home, own in zip(homes, offsets, strict=True)}
        about.append(used)
    kept = runs / "scores" / f"{dataset.name}-{digest(about)[:12]}.csv"
    if not kept.exists():
        watch = watch or Watch()
        watch.stage(f"score {len(homes)} imputers on {dataset.name}")
        results = [load_posteriors(home / "posteriors.npz") for home in homes]
        by_label = {result.label: found for result, found in zip(results, offsets, strict=True) if found}
        table = score_table(dataset, results, settings.scoring.resamples, settings.seed, watch.progress, by_label)
        write_text(kept, table.to_csv(index=False))
    if not (beside := kept.with_suffix(".json")).exists():
        told = {"dataset_digest": dataset.digest, "models": [home.name for home in homes], "revision": git_revision()}
        write_text(beside, json.dumps(told, indent=1) + "\n")
    return kept


def read_scores(path: Path) -> pd.DataFrame:
    """A tidy table of scores as `score` wrote it."""
    text = ("imputer", "variant", "dataset", "split", "mechanism", "repeat", "subset", "decision", "metric", "versus")
    return pd.read_csv(
        path,
        dtype=dict.fromkeys(text, str),
        keep_default_na=False,
        na_values={c: [""] for c in ("value", "low", "high")},
    )


# ---------------------------------------------------------------------- compare, and the order of all steps


class Perform(Protocol):
    """Carries out a named step ("tune bert/fixed on kg15-500") and returns what it returns, raises what it raises."""

    def __call__(self, step: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...


def call(step: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Carry out a step by a plain call."""
    return function(*args, **kwargs)


def run(
    settings: ExperimentSettings,
    runs: Path,
    until: str = "compare",
    only: list[str] | None = None,
    watch: Watch | None = None,
    perform: Perform = call,
) -> Outcome:
    """Do an experiment's steps in their order, up to one of them; what is done already is taken up, not done again.

    An imputer that fails does not take the others down: its row has the reason.

    Args:
        settings: of the experiment.
        runs: folder that everything is kept in.
        until: the last step: "prepare", "tune", "train", "evaluate" or "compare".
        only: names of the imputers to work on; None = all of the experiment.
        watch: told of the progress.
        perform: carries out each step, for whoever wants more around a step than a plain call.

    Raises:
        InputError: what the user can mend, found before anything long begins.
    """
    watch = watch or Watch()
    rows = [row for row in plan(settings) if only is None or row.imputer in only]
    for name in only or []:
        imputers.load(name)
    outcome = Outcome()
    wanted = {name: wanted_on(rows, data) for name, data in settings.data.items()}
    outcome.datasets = {
        name: perform(f"prepare {name}", prepare, settings, name, runs, watch) for name, rows in wanted.items() if rows
    }
    if until == "prepare":
        return outcome
    tracker = _tracker(settings, runs)
    outcome.mlflow_uri = tracker.uri
    for folder in outcome.datasets.values():
        name = dataset_in(folder).name
        outcome.rows[name] = [
            _advance(settings, folder, on_data(row, settings.data[name]), runs, until, tracker, watch, perform)
            for row in wanted[name]
        ]
        if until in ("evaluate", "compare"):
            scored = [done for done in outcome.rows[name] if not done.failed]
            if scored:
                outcome.scores[name] = perform(
                    f"score {name}", _score_and_log, settings, folder, scored, runs, tracker, watch
                )
                link = tracker.comparison_link(name, [d.run_id for d in scored])
                outcome.comparison_links[name] = f"{ui_address(tracker.uri)}{link}"
    if until == "compare":
        perform("compare", compare, settings, outcome, runs, tracker, watch)
    return outcome


def _tracker(settings: ExperimentSettings, runs: Path) -> Any:
    from snpimpute.tracking.writer import Tracker, tracking_uri

    return Tracker(tracking_uri(settings.tracking_uri, runs), runs)


def _advance(
    settings: ExperimentSettings,
    folder: Path,
    row: Row,
    runs: Path,
    until: str,
    tracker: Any,
    watch: Watch,
    perform: Perform,
) -> Done:
    """One row on one dataset: tune, train, evaluate, choose offsets where they are wanted; a failure is noted, not raised."""
    done = Done(row)
    what = f"{row.label} on {dataset_in(folder).name}"
    try:
        done.tuned = perform(f"tune {what}", tune, settings, folder, row, runs, tracker, watch)
        if until == "tune":
            return done
        done.home, done.run_id, done.run_link = perform(
            f"train {what}", _train_and_log, settings, folder, row, done.tuned, runs, tracker, watch, until != "train"
        )
        if until == "train":
            return done
        perform(f"evaluate {what}", evaluate, settings, folder, row, done.home, watch)
        if settings.offsets_on(dataset_in(folder).name):
            perform(f"offsets {what}", choose_offsets, settings, folder, row, done.home, watch)
    except (StepFailed, InputError, RuntimeError) as error:
        done.failed = str(error)
        watch.warn(f"{row.label} failed: {error}")
    return done


def _train_and_log(
    settings: ExperimentSettings,
    folder: Path,
    row: Row,
    tuned: Tuned,
    runs: Path,
    tracker: Any,
    watch: Watch,
    then_impute: bool,
) -> tuple[Path, str, str]:
    """Train a row and log it; returns the model's folder, and the id of its MLflow run and its address in the UI."""
    home = train(settings, folder, row, tuned, runs, watch, then_impute)
    run_id = log_training(settings, folder, row, tuned, home, tracker)
    return home, run_id, f"{ui_address(tracker.uri)}{tracker.run_link(run_id)}"


def _score_and_log(
    settings: ExperimentSettings, folder: Path, scored: list[Done], runs: Path, tracker: Any, watch: Watch
) -> Path:
    """Score the rows that were evaluated, and log to each its own scores; returns the file of the table."""
    path = score(settings, folder, [done.home for done in scored if done.home], runs, watch)
    table = read_scores(path)
    for done in scored:
        own = (table.imputer == done.row.imputer) & (table.variant == done.row.variant)
        tracker.log_scores(done.run_id, table[own], *_cost_and_logs(done))
    return path


def _cost_and_logs(done: Done) -> tuple[dict[str, float], list[Path]]:
    """Metrics of what imputing cost, and the files that tell how it went."""
    assert done.home is not None
    about = json.loads((done.home / "impute.json").read_text())
    cost = {"seconds_impute": about["seconds_impute"], "memory_impute_mb": about["memory_mb"]}
    return cost, [path for path in (done.home / "impute.log",) if path.exists()]


def compare(
    settings: ExperimentSettings, outcome: Outcome, runs: Path, tracker: Any, watch: Watch | None = None
) -> None:
    """Draw the report from the tables of scores, and log it."""
    from snpimpute.experiment.compare import draw

    (watch or Watch()).stage("compare")
    folder = runs / "reports" / settings.name
    draw(settings, outcome, [read_scores(path) for path in outcome.scores.values()], folder)
    tracker.log_comparison(
        dataset_names=list(outcome.scores),
        report_folder=folder,
        table=pd.concat([table.assign(dataset=name) for name, table in outcome.tables.items()], ignore_index=True),
        tags={"experiment": settings.name, "revision": git_revision()},
        key=digest([settings.name, sorted(p.name for p in outcome.scores.values())])[:16],
    )


def ui_address(uri: str) -> str:
    """Where the MLflow UI of a store answers: a server's own address, or where `mlflow ui` listens unless told otherwise."""
    return f"{uri.rstrip('/')}/" if uri.startswith("http") else "http://127.0.0.1:5000/"
