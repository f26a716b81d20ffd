"""Steps of an experiment that run in processes of their own: fit a row, impute the test scenarios, choose offsets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from snpimpute import imputers
from snpimpute.base.checksums import require_checksums
from snpimpute.base.files import write_text, written_beside
from snpimpute.base.processes import say_progress
from snpimpute.base.provenance import git_revision, peak_memory_mb, versions
from snpimpute.dataset.prepared import dataset_in
from snpimpute.scoring.fits import MaskPolicy, fit_on, offsets_by_level, validate
from snpimpute.scoring.posteriors import impute_scenarios, save_posteriors


def fit_row(
    folder: Path,
    home: Path,
    imputer: str,
    policy: MaskPolicy,
    params: dict[str, Any],
    refit_params: dict[str, Any] | None,
    levels_score: float | None,
    seed: int,
    threads: int,
    impute_as: str | None,
) -> None:
    """Fit a row's imputer on all of train, after validation if no study has done that; then impute, if wanted.

    Args:
        folder: folder of the prepared dataset.
        home: folder of the model.
        imputer, policy, params, seed, threads: of the row.
        refit_params, levels_score: results of a study; None without a study.
        impute_as: variant of the row, to impute the test scenarios too; None = only fit.
    """
    dataset = dataset_in(folder)
    if refit_params is None:
        found = validate(dataset, imputer, params, policy, seed, threads)
        refit_params, levels_score = found.refit_params, found.levels_score
    fitted, seconds = fit_on(dataset, dataset.train, imputer, refit_params, policy, seed, threads)
    with written_beside(home / "model") as beside:
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
    write_text(home / "fit.json", json.dumps(about, indent=1) + "\n")
    if impute_as is not None:
        impute_row(folder, home, impute_as)


def impute_row(folder: Path, home: Path, variant: str, trust: bool = False) -> None:
    """Impute all test scenarios of a dataset with the fitted imputer in `home`, and save its posteriors there.

    `trust` runs the commands of a description that the model alone brings (see `imputers.class_in`).
    """
    model = home / "model"
    require_checksums(model)
    fitted = imputers.class_in(model, trust).load(model)
    posteriors = impute_scenarios(fitted, variant, dataset_in(folder), progress=say_progress)
    save_posteriors(posteriors, home / "posteriors.npz")
    if logs := getattr(fitted, "logs", []):
        write_text(home / "impute.log", "\n".join(logs))
    seconds = list(posteriors.seconds.values())
    about = {"seconds_impute": sum(seconds) / len(seconds), "scenarios": len(seconds), "memory_mb": peak_memory_mb()}
    write_text(home / "impute.json", json.dumps(about, indent=1) + "\n")


def choose_row_offsets(folder: Path, home: Path, imputer: str, policy: MaskPolicy, seed: int, threads: int) -> None:
    """Choose offsets of hard calls on validation.

    This takes a fit on the train samples that are not held out, with the parameters of the fit on all of train.
    """
    params = json.loads((home / "fit.json").read_text())["params"]
    dataset = dataset_in(folder)
    fitted, _ = fit_on(dataset, dataset.fit_panel, imputer, params, policy, seed, threads)
    found = offsets_by_level(dataset, fitted, progress=say_progress)
    write_text(home / "offsets.json", json.dumps(found, indent=1) + "\n")
