"""Scoring and comparison of the registered models that were fitted on a prepared dataset."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from snpimpute import imputers
from snpimpute.base.alone import made_alone
from snpimpute.base.checksums import require_checksums
from snpimpute.base.errors import InputError, WorkEnds
from snpimpute.base.files import write_text
from snpimpute.base.names import is_plain
from snpimpute.base.processes import HERE, Engine
from snpimpute.base.progress import Watch
from snpimpute.base.steps import StepFailed
from snpimpute.dataset.prepared import PreparedDataset, dataset_in
from snpimpute.experiment.pipeline import compare, prepare
from snpimpute.experiment.rows import Done, Outcome, Row, Tuned
from snpimpute.experiment.score import score_and_log
from snpimpute.experiment.settings import ExperimentSettings
from snpimpute.experiment.train import evaluate
from snpimpute.experiment.workspace import Workspace
from snpimpute.scoring.posteriors import load_posteriors, save_posteriors
from snpimpute.tracking.runs import RegisteredModel, training_tag
from snpimpute.tracking.writer import Tracker


def evaluate_registered(
    settings: ExperimentSettings,
    runs: Path,
    only: list[str] | None = None,
    watch: Watch | None = None,
    trust: bool = False,
    engine: Engine = HERE,
) -> Outcome:
    """Score the registered models that were fitted on an experiment's datasets, and write their comparison.

    A model whose dataset has another digest is left out with a warning: its split differs, so it may have learned from
    samples that are test samples here. Models that are no longer in the folder `runs` are fetched from the registry. Two
    versions of one row are shown as two rows, with the number of the version after the variant's name.

    Args:
        settings: settings of the experiment; its datasets are prepared if necessary.
        runs: folder for all results.
        only: names of the imputers to score; None = all.
        watch: receives the progress.
        trust: run the commands of descriptions that only the registered models bring.
        engine: where scenarios are imputed.

    Returns:
        The results, as of `pipeline.run`; the report is that of the experiment `NAME-registered`.

    Raises:
        InputError: no registered model was fitted on any of the datasets (names the command to run).
    """
    work = Workspace(runs, watch or Watch(), engine=engine)
    imputers.look_in(settings.imputers_from)
    folders = {name: prepare(settings, name, work) for name in settings.data}
    tracker = work.with_store(settings)
    outcome = Outcome(mlflow_uri=tracker.uri)
    left_out = []
    fitted: dict[str, list[RegisteredModel]] = {}
    for name, folder in folders.items():
        models = [model for model in tracker.registered_models(name) if only is None or model.imputer in only]
        fitted[name] = [model for model in models if model.dataset_digest == dataset_in(folder).digest]
        left_out += [f"{model.label} on {name}" for model in models if model not in fitted[name]]
    if not any(fitted.values()):
        of_others = f" ({len(left_out)} were, on other splits)" if left_out else ""
        raise InputError(
            f"no registered model was fitted on {', '.join(folders)} as prepared here{of_others}: "
            "run snpimpute train (or mlflow run . -e train) with the same experiment first"
        )
    note = settings.note
    if left_out:
        warning = f"Left out, fitted on another split, which may hold these test samples: {', '.join(left_out)}."
        work.watch.warn(warning)
        note = f"{note} {warning}".strip()
    for name, models in fitted.items():
        if models:
            outcome.datasets[name] = folders[name]
            _score_models(settings, folders[name], models, work, outcome, trust)
        else:
            work.watch.warn(f"no registered model was fitted on {name} as prepared here")
    again = settings.model_copy(update={"name": f"{settings.name}-registered", "note": note})
    compare(again, outcome, work)
    return outcome


def _score_models(
    settings: ExperimentSettings,
    folder: Path,
    models: list[RegisteredModel],
    work: Workspace,
    outcome: Outcome,
    trust: bool,
) -> None:
    """Impute a dataset's scenarios with its models, score the models, and log to each its own scores."""
    name = dataset_in(folder).name
    versions = Counter((model.imputer, model.variant) for model in models)
    outcome.rows[name] = [
        _impute_scenarios(settings, folder, model, versions[model.imputer, model.variant] > 1, work, trust)
        for model in models
    ]
    if scored := [done for done in outcome.rows[name] if not done.failed]:
        outcome.scores[name] = score_and_log(settings, folder, scored, work)
        tracker = work.tracker or work.with_store(settings)
        outcome.comparison_links[name] = tracker.comparison_link(name, [model.run_id for model in models])


def _impute_scenarios(
    settings: ExperimentSettings,
    folder: Path,
    model: RegisteredModel,
    one_of_several: bool,
    work: Workspace,
    trust: bool,
) -> Done:
    """Impute all test scenarios of a dataset with a model; record a failure and do not raise it."""
    row = Row(model.imputer, model.variant, tune=False, mask=_mask_policy(model), params={})
    done = Done(row, _study_record(model), run_id=model.run_id, run_variant=model.variant)
    try:
        home = _model_home(dataset_in(folder), model, work.runs, work.tracker or work.with_store(settings))
        evaluate(settings, folder, row, home, work, trust)
        done.home = home
        if one_of_several:
            done.row = replace(row, variant=f"{model.variant}-v{model.version}")
            done.home = _copy_as_variant(home, done.row.variant)
    except WorkEnds:
        raise
    except (StepFailed, InputError) as error:
        done.failed = str(error)
        work.watch.warn(f"{model.label} failed: {error}")
    return done


def _model_home(dataset: PreparedDataset, model: RegisteredModel, runs: Path, tracker: Tracker) -> Path:
    """Return the folder of a model, with the files that `train` writes: made by training, or from the registry."""
    for name in (model.imputer, model.variant, model.run_id):  # as the store has them, which others may write to
        if not is_plain(name):
            raise InputError(
                f"the store names a model {name!r}, which cannot be part of a folder's name: it is left out"
            )
    for home in sorted((runs / "models").glob(f"{dataset.name}-{model.imputer}-*")):
        if training_tag(home.name) == model.key_tag and (home / "model").is_dir():
            return home
    home = runs / "models" / f"{dataset.name}-{model.imputer}-{model.variant}-{model.run_id[:10]}"
    with made_alone(home, tracker.watch):
        if not (home / "fit.json").exists():
            tracker.fetch_model(model, home / "model")
            require_checksums(home / "model")
            write_text(home / "fit.json", json.dumps(_fit_record(model, home / "model"), indent=1) + "\n")
    return home


def _fit_record(model: RegisteredModel, saved: Path) -> dict[str, Any]:
    """Return the content of `fit.json`, from the training run that logged the fit."""
    return {
        "seconds_fit": model.metrics["seconds_fit"],
        "memory_mb": model.metrics["memory_mb"],
        "parameters": _rounded(model.metrics.get("parameters")),
        "val_f1_macro": model.metrics.get("val_f1_macro"),
        "samples_fit": _rounded(model.metrics["samples_fit"]),
        "params": json.loads((saved / "imputer.json").read_text())["params"],
        "versions": {k.removeprefix("version."): v for k, v in model.tags.items() if k.startswith("version.")},
        "revision": model.tags.get("revision", ""),
    }


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)


def _mask_policy(model: RegisteredModel) -> Any:
    return model.params.get("mask", "random")


def _study_record(model: RegisteredModel) -> Tuned | None:
    """Return the training run's record of its study; None if there was no study."""
    if "study_ended_by" not in model.tags:
        return None
    return Tuned(
        trials=round(model.metrics["trials"]),
        failed=round(model.metrics.get("trials_failed", 0)),
        seconds=model.metrics.get("seconds_tune", 0.0),
        ended_by=model.tags["study_ended_by"],
        study=model.label,
    )


def _copy_as_variant(home: Path, variant: str) -> Path:
    """Copy the files of `home` that scoring and the report read to a new folder, under another variant's name."""
    other = home.with_name(f"{home.name}-as-{variant}")
    if not (other / "impute.json").exists():
        save_posteriors(replace(load_posteriors(home / "posteriors.npz"), variant=variant), other / "posteriors.npz")
        for file in ("fit.json", "impute.json", "offsets.json"):
            if (home / file).exists():
                shutil.copy(home / file, other / file)
    return other
