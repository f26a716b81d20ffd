"""Measures of a predictor by fold, kept with its model, so that models that were measured on the same folds can be compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from snpimpute.base.errors import InputError
from snpimpute.base.files import write_text
from snpimpute.metrics.prediction import fold_interval, measure_interval
from snpimpute.report.text import Score
from snpimpute.traits.folds import Fold

FILE = "measured.json"  # in a model's folder, beside trait.json


@dataclass(frozen=True, eq=False)
class Measured:
    """What a predictor reached on each fold.

    Attributes:
        on: digest of the samples, their trait and the folds: differences are paired where it is the same.
        scheme: of the folds.
        test_to_train: see metrics.prediction.fold_interval.
        values: measure → float (n_folds,), NaN where it is not defined.
    """

    on: str
    scheme: str
    test_to_train: float
    values: Mapping[str, np.ndarray]

    @property
    def n_folds(self) -> int:
        """Number of folds."""
        return max((len(values) for values in self.values.values()), default=0)

    def score(self, measure: str) -> Score:
        """Return the mean over folds, with its interval."""
        values = self.values[measure]
        return Score(*measure_interval(measure, values, self.test_to_train), int(np.isfinite(values).sum()))

    def minus(self, other: Measured, measure: str) -> Score:
        """Return the paired difference to another predictor, with its interval.

        Raises:
            InputError: the two were not measured on the same samples, trait and folds.
        """
        if self.on != other.on:
            raise InputError(
                "they were not measured on the same samples, values of the trait and folds: fit both from the same table and "
                "samples, with the same --folds, --scheme and --seed"
            )
        apart = self.values[measure] - other.values[measure]
        return Score(*fold_interval(apart, self.test_to_train), int(np.isfinite(apart).sum()))


def digest_of(samples: list[str], values: np.ndarray, folds: list[Fold]) -> str:
    """Return the digest (SHA-256, hex) of samples, their trait, float64 (n_samples,), and folds; genotypes and covariates may differ."""
    state = hashlib.sha256(json.dumps(samples).encode())
    state.update(np.ascontiguousarray(values, dtype=np.float64).tobytes())
    for fold in folds:
        for part in (fold.train, fold.test):
            state.update(np.array([len(part), *part], dtype=np.int64).tobytes())
    return state.hexdigest()


def write_measured(folder: Path, measured: Measured) -> None:
    """Write FILE into a model's folder."""
    values = {
        key: [float(value) if np.isfinite(value) else None for value in each] for key, each in measured.values.items()
    }
    write_text(folder / FILE, json.dumps({**vars(measured), "values": values}, indent=1) + "\n")


def read_measured(folder: Path) -> Measured | None:
    """Read what `write_measured` wrote; None of a model that was not measured."""
    if not (folder / FILE).is_file():
        return None
    about: dict[str, Any] = json.loads((folder / FILE).read_text())
    values = {key: np.array(each, dtype=np.float64) for key, each in about["values"].items()}  # null becomes NaN
    return Measured(about["on"], about["scheme"], about["test_to_train"], values)
