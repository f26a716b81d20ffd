"""Which samples are held out, and which are counted as one: families and groups."""

from __future__ import annotations

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError

SPLIT_SCHEMES = ("random", "family", "group", "youngest")


def split_samples(samples: pd.DataFrame, n_held: int, scheme: str, seed: int) -> np.ndarray:
    """Choose the samples that are held out.

    Args:
        samples: sample table; `family`, `group` or `birth_order` are needed by the schemes of these names.
        n_held: how many samples to hold out; whole families or groups come as near to it as they can from below
            (at least one), "random" and "youngest" reach it exactly.
        scheme: "random"; "family", "group" (whole ones held out together, drawn at random; samples without one are
            each their own); "youngest" (highest birth_order).
        seed: of the draw.

    Returns:
        bool (n_samples,): true for the samples held out.
    """
    n = len(samples)
    if not 0 < n_held < n:
        raise InputError(f"cannot hold out {n_held} of {n} samples: the split needs at least one sample on each side")
    rng = np.random.default_rng(seed)
    held = np.zeros(n, dtype=bool)
    if scheme == "random":
        held[rng.permutation(n)[:n_held]] = True
        return held
    column = {"family": "family", "group": "group", "youngest": "birth_order"}.get(scheme)
    if column is None:
        raise InputError(f"unknown split {scheme!r}: give one of {', '.join(SPLIT_SCHEMES)}")
    if column not in samples or samples[column].replace("", np.nan).isna().all():
        raise InputError(f"split {scheme!r} needs the column {column!r} in the sample table")
    if scheme == "youngest":
        age = pd.to_numeric(samples[column], errors="coerce").fillna(-np.inf).to_numpy()
        held[np.lexsort((rng.random(n), age))[-n_held:]] = True
        return held
    unit = unit_labels(samples, column)
    names, sizes = np.unique(unit, return_counts=True)
    for i in rng.permutation(len(names)):
        if held.sum() + sizes[i] <= n_held or not held.any():
            held |= unit == names[i]
    if held.all():
        raise InputError(f"split {scheme!r} needs at least two values in the column {column!r} of the sample table")
    return held


def unit_names(samples: pd.DataFrame, column: str) -> np.ndarray:
    """(n_samples,) the family or group of each sample, as `family 12`; its own name where it has none."""
    names = samples["sample"].astype(str).to_numpy()
    if column not in samples:
        return names
    labels = samples[column].fillna("").astype(str).to_numpy()
    return np.where(labels == "", names, f"{column} " + labels.astype(object)).astype(str)


def unit_labels(samples: pd.DataFrame, column: str) -> np.ndarray:
    """int (n_samples,): number of the family or group of each sample; a sample without one is a unit of its own."""
    return pd.factorize(unit_names(samples, column))[0]
