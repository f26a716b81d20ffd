"""Which calls are hidden: sample splits, masks for scoring, masks for training. Everything is seeded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from snpimpute.errors import InputError

DEFAULT_LEVELS = (10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0)
VALIDATION_LEVELS = (10.0, 30.0, 60.0, 80.0, 90.0)
SPLIT_SCHEMES = ("random", "family", "group", "youngest")


@dataclass(frozen=True, eq=False)
class Scenario:
    """One way of hiding calls.

    Attributes:
        split: "test" or "validation": whose calls are hidden.
        mechanism: "independent", "nested" (whole sites) or "file".
        level: percent of the sites hidden.
        repeat: number of the mask among those of the same mechanism and level, from 0.
        hidden: bool (n_sites,): sites hidden for every sample of the split.
    """

    split: str
    mechanism: str
    level: float
    repeat: int
    hidden: np.ndarray

    @property
    def key(self) -> str:
        return f"{self.split}-{self.mechanism}-{self.level:g}-{self.repeat}"


def site_masks(
    n_sites: int,
    levels: Sequence[float],
    repeats: int,
    mechanism: Literal["independent", "nested"],
    seed: int,
    through: np.ndarray | None = None,
) -> dict[tuple[float, int], np.ndarray]:
    """Whole-site masks: (level, repeat) → bool (n_sites,), round(level · n_sites / 100) sites hidden, at least one seen.

    `independent` draws each mask anew; `nested` draws one order of the sites per repeat and hides its first ones, so
    that the mask of a lower level lies within that of a higher one. A nested mask that came out before at its level
    (that of `through`) is given once only.

    Args:
        n_sites: number of sites.
        levels: percent of sites hidden.
        repeats: masks per level.
        mechanism: "independent" or "nested".
        seed: of the draw.
        through: bool (n_sites,), a mask that all nested orders run through: its sites are hidden before all others.
    """
    masks: dict[tuple[float, int], np.ndarray] = {}
    for repeat in range(repeats):
        order = np.random.default_rng([seed, repeat, 0]).permutation(n_sites)
        if mechanism == "nested" and through is not None:
            order = order[np.argsort(~through[order], kind="stable")]
        for level in levels:
            n_hidden = min(max(round(level * n_sites / 100), 1), n_sites - 1)
            if mechanism == "independent":
                order = np.random.default_rng([seed, repeat, 1 + round(level * 1000)]).permutation(n_sites)
            hidden = np.zeros(n_sites, dtype=bool)
            hidden[order[:n_hidden]] = True
            known = (masks[before] for before in masks if before[0] == level)
            if mechanism == "independent" or not any(np.array_equal(hidden, mask) for mask in known):
                masks[level, repeat] = hidden
    return masks


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


def unit_labels(samples: pd.DataFrame, column: str) -> np.ndarray:
    """int (n_samples,): number of the family or group of each sample; a sample without one is a unit of its own."""
    names = samples["sample"].astype(str)
    if column not in samples:
        return np.arange(len(samples))
    labels = samples[column].fillna("").astype(str)
    return pd.factorize(np.where(labels == "", "\0" + names, labels))[0]


@dataclass(frozen=True, eq=False)
class TrainingMask:
    """What a network has hidden from it while it learns.

    policy "fixed" (published): every call of the columns `sites`, plus single calls of genotypes 1 and 2 outside these
    columns, up to `multipliers` times their count inside, capped at the count of genotype 0 inside. The same mask is
    used throughout training. policy "random": drawn anew for each sample of each batch, at a level drawn uniformly
    from `levels` (percent).
    """

    policy: Literal["fixed", "random"]
    sites: np.ndarray | None = None
    levels: tuple[float, float] = (5.0, 97.0)

    def draw_fixed(self, calls: np.ndarray, multipliers: tuple[float, float], seed: int) -> np.ndarray:
        """bool (n_samples, n_sites): the fixed mask for training calls int8 (n_samples, n_sites); multipliers for 1, 2."""
        if self.sites is None:
            raise ValueError("a fixed training mask needs its sites")
        rng = np.random.default_rng(seed)
        inside = np.broadcast_to(self.sites, calls.shape)
        hidden = inside.copy()
        cap = int(((calls == 0) & inside).sum())
        for genotype, multiplier in zip((1, 2), multipliers, strict=True):
            count = int(((calls == genotype) & inside).sum())
            wanted = max(min(round(multiplier * count), cap) - count, 0)
            outside = np.flatnonzero((calls == genotype) & ~inside)
            hidden.flat[rng.permutation(outside)[:wanted]] = True
        return hidden

    def draw_random(self, n_samples: int, n_sites: int, rng: np.random.Generator) -> np.ndarray:
        """bool (n_samples, n_sites): a mask of its own for each sample, its level uniform in `levels`, at least one hidden."""
        low, high = self.levels
        n_hidden = np.clip(np.round(rng.uniform(low, high, n_samples) * n_sites / 100), 1, n_sites - 1)
        rank = rng.random((n_samples, n_sites)).argsort(axis=1).argsort(axis=1)
        return rank < n_hidden[:, None]
