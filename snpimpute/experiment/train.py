"""Training of a row: fit on all of train, log, impute the test scenarios, choose offsets; each in its own process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from snpimpute import imputers
from snpimpute.base.alone import made_alone
from snpimpute.base.digests import digest
from snpimpute.base.folders import Folder, Part, whole
from snpimpute.base.steps import run_step
from snpimpute.dataset.prepared import PreparedDataset, dataset_in
from snpimpute.experiment.rows import Row, Tuned
from snpimpute.experiment.settings import ExperimentSettings
from snpimpute.experiment.steps import choose_row_offsets, fit_row, impute_row
from snpimpute.experiment.workspace import Workspace
from snpimpute.scoring.fits import fits_source

if TYPE_CHECKING:
    from snpimpute.tracking.writer import Tracker

from snpimpute.tracking.curves import headline_key
from snpimpute.tracking.runs import Training

# What the steps make in the folder of a model, what tells that a step is done last.
FITTED = ("model", "fit.json")
IMPUTED = ("posteriors.npz", "impute.log", "impute.json")


def model_folder(
    settings: ExperimentSettings, dataset: PreparedDataset, row: Row, tuned: Tuned, work: Workspace
) -> Path:
    """Return the folder of a row's fitted imputer; its name identifies all that the fit depends on."""
    params = tuned.params_of(row)
    about = [dataset.digest, row.imputer, params, row.mask, settings.seed, settings.n_threads()]
    decides = digest([*about, imputers.decided_by(imputers.load(row.imputer)), fits_source()])
    return work.models / f"{dataset.name}-{row.imputer}-{row.variant}-{decides[:10]}"


def train(
    settings: ExperimentSettings,
    folder: Path,
    row: Row,
    tuned: Tuned,
    work: Workspace,
    then_impute: bool = False,
) -> Path:
    """Fit a row's imputer on all of train, in a process of its own, and impute the test scenarios there if wanted.

    Returns:
        The model's folder: `model/` (written by Imputer.save), `fit.json`, `log.txt`.

    Raises:
        StepFailed: the fit failed.
    """
    dataset = dataset_in(folder)
    home = model_folder(settings, dataset, row, tuned, work)
    if not (home / "fit.json").exists():
        work.watch.stage(f"train {row.label} on {dataset.name}")
        arguments = {
            "folder": whole(folder),
            "home": Folder(home, (), (*FITTED, *IMPUTED), imputers.load(row.imputer).files_in(tuned.params_of(row))),
            "imputer": row.imputer,
            "policy": row.mask,
            "params": tuned.params_of(row),
            "refit_params": tuned.refit_params,
            "levels_score": tuned.levels_score,
            "seed": settings.seed,
            "threads": settings.n_threads(),
            "impute_as": row.variant if then_impute else None,
        }
        _carry_out(fit_row, arguments, home, row, settings, work)
    return home


def log_training(
    settings: ExperimentSettings, folder: Path, row: Row, tuned: Tuned, home: Path, tracker: Tracker
) -> str:
    """Log and register a trained imputer, unless that is done already; return the id of its MLflow run."""
    about = json.loads((home / "fit.json").read_text())
    dataset = dataset_in(folder)
    example = pd.DataFrame(
        dataset.test.hide(dataset.headline_scenario.hidden).take_samples(slice(0, 2)).calls,
        index=dataset.test.names[:2],
        columns=dataset.test.site_keys(),
    )
    metrics = {key: about[key] for key in ("val_f1_macro", "seconds_fit", "memory_mb", "parameters", "samples_fit")}
    tags = {**{f"version.{k}": v for k, v in about["versions"].items()}, "revision": about["revision"]}
    if tuned.study:
        metrics |= {"trials": tuned.trials, "trials_failed": tuned.failed, "seconds_tune": tuned.seconds}
        tags["study_ended_by"] = tuned.ended_by
    return tracker.log_training(
        Training(
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
            headline=headline_key(dataset.headline_scenario.level),
        )
    )


def evaluate(
    settings: ExperimentSettings, folder: Path, row: Row, home: Path, work: Workspace, trust: bool = False
) -> Path:
    """Impute every test scenario with a trained imputer, in a process of its own; return the file of posteriors.

    `trust` runs the commands of a description that the model alone brings (see `imputers.class_in`).

    Raises:
        StepFailed: imputing failed.
    """
    kept = home / "posteriors.npz"
    with made_alone(home, work.watch):
        if not (home / "impute.json").exists():
            work.watch.stage(f"evaluate {row.label} on {dataset_in(folder).name}")
            own = Folder(home, (Part("model"),), IMPUTED)
            arguments = {"folder": whole(folder), "home": own, "variant": row.variant, "trust": trust}
            _carry_out(impute_row, arguments, home, row, settings, work)
    return kept


def choose_offsets(settings: ExperimentSettings, folder: Path, row: Row, home: Path, work: Workspace) -> Path:
    """Choose the offsets of a trained row's hard calls on validation, in a process of its own; return their file.

    The file (`offsets.json`, see `offsets_by_level`) is beside the model. If it is there, nothing is done.

    Raises:
        StepFailed: the fit without the held-out samples, or imputing them, failed.
    """
    kept = home / "offsets.json"
    with made_alone(home, work.watch):
        if not kept.exists():
            work.watch.stage(f"offsets {row.label} on {dataset_in(folder).name}")
            about = {"imputer": row.imputer, "policy": row.mask, "seed": settings.seed, "threads": settings.n_threads()}
            params = json.loads((home / "fit.json").read_text())["params"]
            files = imputers.load(row.imputer).files_in(params)
            own = Folder(home, (Part("fit.json"),), ("offsets.json",), files)
            _carry_out(choose_row_offsets, {"folder": whole(folder), "home": own, **about}, home, row, settings, work)
    return kept


def _carry_out(
    step: Callable[..., None],
    arguments: dict[str, Any],
    home: Path,
    row: Row,
    settings: ExperimentSettings,
    work: Workspace,
) -> None:
    """Carry out a step of a row in a process of its own, wherever the workspace's engine has it; StepFailed: it failed."""
    able = imputers.needs_of(imputers.load(row.imputer))
    run_step(step, arguments, home / "log.txt", settings.n_threads(), work.watch, work.engine, able)
