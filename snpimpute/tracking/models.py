"""Trained imputers as MLflow models: name, model card, pinned packages, signature."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute import imputers
from snpimpute.base.sources import imported_packages, versions_of
from snpimpute.tracking.runs import DECIDING_METRIC

PACKAGE = Path(__file__).parents[1]
CARD = "model-card.md"
IMPUTER, PREDICTOR = (
    "imputer",
    "predictor",
)  # artifact of a model that is the saved imputer, or the predictor of a trait
SERVING = "snpimpute.impute.serving"  # the script that MLflow runs to serve a model; this package may not import it


def safe_name(name: str) -> str:
    """Return `name` with letters, digits and `._-` only, as experiments and the registry need it.

    If that changes the name, a short digest of it is added, so that different names stay different.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80]
    return name if name and plain == name else f"{plain or 'dataset'}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def registered_name(dataset: str) -> str:
    """Return the name of a dataset's registered model."""
    return f"snpimpute-{safe_name(dataset)}"


def model_card(
    dataset: str,
    dataset_digest: str,
    imputer: str,
    variant: str,
    n_sites: int,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
) -> str:
    """Return the model card as Markdown: training data, validation score, and the genotypes that the model may contain.

    Args:
        dataset, dataset_digest: the prepared dataset.
        imputer, variant: the row of the report.
        n_sites: number of sites.
        params, metrics: as in `Tracker.log_training`; the card shows `mask`, `samples_fit` and `val_f1_macro`.
    """
    cls = imputers.load(imputer)
    rows = {
        "imputer": f"{imputer}: {cls.description}",
        "variant": variant,
        "dataset": dataset,
        "digest of the dataset": dataset_digest,
        "learned from": f"{metrics['samples_fit']:.0f} samples" if "samples_fit" in metrics else "",
        "sites": n_sites,
        "hidden while it learned": f"{params['mask']} masks"
        if cls.learns_in_epochs and "mask" in params
        else "nothing",
        "validation macro-F1": f"{metrics[DECIDING_METRIC]:.4f}" if DECIDING_METRIC in metrics else "",
    }
    table = "".join(f"| {name} | {value} |\n" for name, value in rows.items())
    return (
        f"# {registered_name(dataset)}: {imputer}/{variant}\n\n| | |\n| --- | --- |\n{table}\n"
        "**This model may contain the genotypes of the samples it learned from.** Softmax regression and imputers that "
        "run another program keep them, a network may memorise them. Treat it like the data: do not give it to people "
        "who may not have the genotypes.\n"
    )


def save_model_files(path: Path, description: Any, model_folder: Path, example: pd.DataFrame) -> None:
    """Write an MLflow model that contains a saved imputer and this package's code.

    MLflow's `log_model` is not used: it loads the model, and a framework with it, in this process to try the example.
    """
    from mlflow.models import ModelSignature
    from mlflow.pyfunc import save_model
    from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

    n_sites = example.shape[1]
    outputs = {
        "site": (np.dtype(str), (n_sites,)),
        "call": (np.dtype(np.int64), (-1, n_sites)),
        "dosage": (np.dtype(float), (-1, n_sites)),
        "posterior": (np.dtype(float), (-1, n_sites, 3)),
    }
    save_model(
        path,
        mlflow_model=description,
        python_model=str(PACKAGE.parent / (SERVING.replace(".", "/") + ".py")),
        artifacts={IMPUTER: str(model_folder)},
        code_paths=[str(PACKAGE)],
        signature=ModelSignature(
            # of the input nothing is said, so that integers and data frames reach the model, which checks them itself
            None,
            Schema([TensorSpec(kind, shape, name) for name, (kind, shape) in outputs.items()]),
            ParamSchema([ParamSpec("sites", "string", [], shape=(-1,))]),
        ),
        input_example=(example.to_numpy(float), {"sites": list(example.columns)}),
        pip_requirements=requirements(model_folder),
    )


def requirements(model_folder: Path) -> list[str]:
    """Return the pinned distributions that serving a saved imputer needs.

    They are found by reading the source of the imputer and of the modules that it imports.
    """
    classes = {imputers.class_in(path.parent, trust=True) for path in model_folder.rglob("imputer.json")}  # just fitted
    packages = imported_packages(SERVING, *(cls.__module__ for cls in classes))
    wanted = packages | {cls.framework for cls in classes if cls.framework}
    return [f"{name}=={version}" for name, version in versions_of(wanted).items()]
