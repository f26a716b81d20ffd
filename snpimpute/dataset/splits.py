"""Splits of the samples, and units of samples (families, groups) that are held out or resampled as one."""

from __future__ import annotations

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError

SPLIT_SCHEMES = ("random", "family", "group", "youngest")


def split_samples(samples: pd.DataFrame, n_held: int, scheme: str, seed: int) -> np.ndarray:
    """Choose the samples to hold out.

    Args:
        samples: sample table; the schemes "family", "group" and "youngest" need its column `family`, `group` or
            `birth_order`.
        n_held: number of samples to hold out. "random" and "youngest" hold out exactly so many; whole families or
            groups are taken while they fit into it (at least one is taken).
        scheme: "random"; "family" or "group" (whole ones held out together, drawn at random; a sample without one is
            its own); "youngest" (highest birth_order).
        seed: seed of the draw.

    Returns:
        bool (n_samples,), true for the samples held out.

    Raises:
        InputError: no sample would be left on one side, an unknown scheme, or the scheme's column is missing or has one
            value only.
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
    """Return the family or group of each sample, str (n_samples,), as `family 12`; its own name where it has none."""
    names = samples["sample"].astype(str).to_numpy()
    if column not in samples:
        return names
    labels = samples[column].fillna("").astype(str).to_numpy()
    return np.where(labels == "", names, f"{column} " + labels.astype(object)).astype(str)


def unit_labels(samples: pd.DataFrame, column: str) -> np.ndarray:
    """Return the number of each sample's family or group, int (n_samples,); a sample without one is its own unit."""
    return pd.factorize(unit_names(samples, column))[0]
