"""Folds of samples for cross-validation of predictors: random, by family or group, by environment, the youngest last."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.dataset.splits import unit_labels

COLUMN_OF = {"family": "family", "group": "group", "environment": "environment", "youngest": "birth_order"}
SCHEMES = ("random", *COLUMN_OF)


@dataclass(frozen=True, eq=False)
class Fold:
    """Samples that are predicted, and those that are learned from.

    Attributes:
        train, test: int, numbers of samples.
    """

    train: np.ndarray
    test: np.ndarray


def folds_of(samples: pd.DataFrame, scheme: str, n_folds: int, n_repeats: int, seed: int) -> list[Fold]:
    """Return the folds, repeat by repeat.

    Args:
        samples: a row per sample; all schemes but "random" need their column of COLUMN_OF.
        scheme: "random"; "family" or "group" (whole ones, a sample without one by itself); "environment" (each is predicted
            from all others, whatever n_folds says); "youngest" (samples in the order of their birth are cut into n_folds + 1
            parts, each but the first is predicted from those before it).
        n_folds: at least 2.
        n_repeats: draws of the folds; 1 of schemes that draw nothing.
        seed: of the draws.

    Raises:
        InputError: an unknown scheme, its column is missing or says too little, more folds than samples, families or groups.
    """
    if scheme not in SCHEMES:
        raise InputError(f"unknown scheme {scheme!r}: give one of {', '.join(SCHEMES)}")
    column = COLUMN_OF.get(scheme)
    if column is not None and (column not in samples or (samples[column] == "").all()):
        raise InputError(f"scheme {scheme!r} needs the column {column!r} in the trait table")
    if scheme in ("youngest", "environment") and n_repeats > 1:
        raise InputError(f"scheme {scheme!r} draws nothing: --repeats does not go with it")
    if scheme == "youngest":
        return _youngest_last(samples["birth_order"], n_folds)
    if scheme == "environment":
        if (samples["environment"] == "").any():
            raise InputError("the trait table has samples without an environment: give each one, or leave them out")
        return _folds(pd.factorize(samples["environment"])[0], "environment")
    rng = np.random.default_rng(seed)
    unit = np.arange(len(samples)) if column is None else unit_labels(samples, column)
    found: list[Fold] = []
    for _ in range(n_repeats):
        found += _folds(_dealt(unit, n_folds, rng, column or "sample"), scheme)
    return found


def _dealt(unit: np.ndarray, n_folds: int, rng: np.random.Generator, what: str) -> np.ndarray:
    """Return the fold of each sample, int (n_samples,): units go at random, the largest first, to the fold with the fewest samples."""
    sizes = np.bincount(unit)
    if len(sizes) < n_folds:
        raise InputError(f"{n_folds} folds need as many of the column {what!r}, and there are {len(sizes)}: --folds")
    fold_of, filled = np.empty(len(sizes), dtype=int), np.zeros(n_folds, dtype=int)
    order = rng.permutation(len(sizes))
    for one in order[np.argsort(-sizes[order], kind="stable")]:
        fold_of[one] = filled.argmin()
        filled[fold_of[one]] += sizes[one]
    return fold_of[unit]


def _folds(number: np.ndarray, scheme: str) -> list[Fold]:
    if (n := int(number.max()) + 1) < 2:
        raise InputError(f"scheme {scheme!r} needs at least two values in its column")
    return [Fold(np.flatnonzero(number != k), np.flatnonzero(number == k)) for k in range(n)]


def _youngest_last(birth_order: pd.Series, n_folds: int) -> list[Fold]:
    age = pd.to_numeric(birth_order, errors="coerce").to_numpy(np.float64)
    if np.isnan(age).any():
        raise InputError(
            f"birth_order of row {int(np.isnan(age).argmax()) + 1} of the samples used is {birth_order.iloc[int(np.isnan(age).argmax())]!r}, "
            "which is not a number"
        )
    levels = np.searchsorted(np.sort(age), age, side="left")  # of one age, all are on the same side
    part = np.minimum(levels * (n_folds + 1) // len(age), n_folds)
    folds = [Fold(np.flatnonzero(part < k), np.flatnonzero(part == k)) for k in range(1, n_folds + 1)]
    if any(not len(fold.test) or not len(fold.train) for fold in folds):
        raise InputError(f"birth_order has too few values for {n_folds} folds: give fewer by --folds")
    return folds
