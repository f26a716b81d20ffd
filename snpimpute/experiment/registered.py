"""Scores every registered model that was fitted on a prepared dataset, and compares them."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from snpimpute import imputers
from snpimpute.base.errors import InputError
from snpimpute.base.files import write_text
from snpimpute.base.processes import StepFailed
from snpimpute.base.progress import Watch
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
    settings: ExperimentSettings, runs: Path, only: list[str] | None = None, watch: Watch | None = None
) -> Outcome:
    """Score the registered models that were fitted on an experiment's datasets, and write their comparison.

    A model whose dataset has another digest is left out, and said to be: its split is another one, so it may have seen
    samples that are test samples here. What is gone from the folder `runs` is fetched from the registry. Two versions
    of one row stand side by side, the number of the version behind the variant's name.

    Args:
        settings: of the experiment; its datasets are prepared where that is not done.
        runs: folder that everything is kept in.
        only: names of the imputers to score; None = all.
        watch: told of the progress.

    Returns:
        As of `pipeline.run`; the report is that of the experiment `NAME-registered`.

    Raises:
        InputError: no registered model was fitted on any of the datasets (says what to run).
    """
    work = Workspace(runs, watch or Watch())
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
        said = f"Left out, fitted on another split, which may hold these test samples: {', '.join(left_out)}."
        work.watch.warn(said)
        note = f"{note} {said}".strip()
    for name, models in fitted.items():
        if models:
            outcome.datasets[name] = folders[name]
            _score(settings, folders[name], models, work, outcome)
        else:
            work.watch.warn(f"no registered model was fitted on {name} as prepared here")
    again = settings.model_copy(update={"name": f"{settings.name}-registered", "note": note})
    compare(again, outcome, work)
    return outcome


def _score(
    settings: ExperimentSettings, folder: Path, models: list[RegisteredModel], work: Workspace, outcome: Outcome
) -> None:
    """Let the models of a dataset fill its scenarios, score them, and log to each its own scores."""
    name = dataset_in(folder).name
    versions = Counter((model.imputer, model.variant) for model in models)
    outcome.rows[name] = [
        _impute(settings, folder, model, versions[model.imputer, model.variant] > 1, work) for model in models
    ]
    if scored := [done for done in outcome.rows[name] if not done.failed]:
        outcome.scores[name] = score_and_log(settings, folder, scored, work)
        tracker = work.tracker or work.with_store(settings)
        outcome.comparison_links[name] = tracker.comparison_link(name, [model.run_id for model in models])


def _impute(
    settings: ExperimentSettings, folder: Path, model: RegisteredModel, one_of_several: bool, work: Workspace
) -> Done:
    """Let a model fill all test scenarios of a dataset; a failure is noted, not raised."""
    row = Row(model.imputer, model.variant, tune=False, mask=_mask(model), params={})
    done = Done(row, _tuned(model), run_id=model.run_id, run_variant=model.variant)
    try:
        home = _home(dataset_in(folder), model, work.runs, work.tracker or work.with_store(settings))
        evaluate(settings, folder, row, home, work)
        done.home = home
        if one_of_several:
            done.row = replace(row, variant=f"{model.variant}-v{model.version}")
            done.home = _as_variant(home, done.row.variant)
    except (StepFailed, InputError) as error:
        done.failed = str(error)
        work.watch.warn(f"{model.label} failed: {error}")
    return done


def _home(dataset: PreparedDataset, model: RegisteredModel, runs: Path, tracker: Tracker) -> Path:
    """Folder of a model as `train` leaves it: the one that training made, or one made from the registry."""
    for home in sorted((runs / "models").glob(f"{dataset.name}-{model.imputer}-*")):
        if training_tag(home.name) == model.key_tag and (home / "model").is_dir():
            return home
    home = runs / "models" / f"{dataset.name}-{model.imputer}-{model.variant}-{model.run_id[:10]}"
    if not (home / "fit.json").exists():
        tracker.fetch_model(model, home / "model")
        write_text(home / "fit.json", json.dumps(_fit_record(model, home / "model"), indent=1) + "\n")
    return home


def _fit_record(model: RegisteredModel, saved: Path) -> dict[str, Any]:
    """What `fit.json` says of a fit, from the training run that logged it."""
    return {
        "seconds_fit": model.metrics["seconds_fit"],
        "memory_mb": model.metrics["memory_mb"],
        "parameters": _whole(model.metrics.get("parameters")),
        "val_f1_macro": model.metrics.get("val_f1_macro"),
        "samples_fit": _whole(model.metrics["samples_fit"]),
        "params": json.loads((saved / "imputer.json").read_text())["params"],
        "versions": {k.removeprefix("version."): v for k, v in model.tags.items() if k.startswith("version.")},
        "revision": model.tags.get("revision", ""),
    }


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _mask(model: RegisteredModel) -> Any:
    return model.params.get("mask", "random")


def _tuned(model: RegisteredModel) -> Tuned | None:
    """What the training run says of the study behind it; None if it says nothing."""
    if "study_ended_by" not in model.tags:
        return None
    return Tuned(
        trials=round(model.metrics["trials"]),
        failed=round(model.metrics.get("trials_failed", 0)),
        seconds=model.metrics.get("seconds_tune", 0.0),
        ended_by=model.tags["study_ended_by"],
        study=model.label,
    )


def _as_variant(home: Path, variant: str) -> Path:
    """A folder with what scoring and the report read of `home`, under another variant's name."""
    other = home.with_name(f"{home.name}-as-{variant}")
    if not (other / "impute.json").exists():
        save_posteriors(replace(load_posteriors(home / "posteriors.npz"), variant=variant), other / "posteriors.npz")
        for file in ("fit.json", "impute.json", "offsets.json"):
            if (home / file).exists():
                shutil.copy(home / file, other / file)
    return other
