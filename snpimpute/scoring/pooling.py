"""Differences between two imputers over several splits and datasets, with shared samples resampled as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from snpimpute.dataset.prepared import PreparedDataset
from snpimpute.genotypes.matrix import MISSING
from snpimpute.metrics.intervals import interval, resampling_weights
from snpimpute.metrics.maf import RARE_MAF
from snpimpute.metrics.registry import f1_per_genotype
from snpimpute.scoring.posteriors import Posteriors


@dataclass(frozen=True, eq=False)
class Counted:
    """Hidden calls of two imputers in one dataset at one level, counted by genotype.

    Attributes:
        units: (n_samples,), names of the units that are resampled as one, the same in every split; see
            `dataset.splits.unit_names`.
        first, second: int64 (n_samples, n_masks, 3, 3), calls of each imputer by true (row) and called genotype
            (column).
    """

    units: np.ndarray
    first: np.ndarray
    second: np.ndarray


class Difference(NamedTuple):
    """Score of the first minus that of the second imputer, averaged over datasets and levels, with its 95% interval."""

    value: float
    low: float
    high: float


def confusions(
    dataset: PreparedDataset, posteriors: Posteriors, mechanism: str, level: float, rare_minor: bool = False
) -> np.ndarray:
    """Count hidden calls by true and called genotype, int64 (n_test, n_masks, 3, 3); the call is the largest posterior.

    Args:
        dataset: the prepared dataset.
        posteriors: an imputer's posteriors on it, at least for the masks of this level.
        mechanism, level: mechanism and level of the masks.
        rare_minor: count only sites of a MAF below .05 in the test samples, in copies of the rarer allele.
    """
    test = dataset.test
    rare, alt_is_major = test.maf() < RARE_MAF, test.alt_frequency() > 0.5
    counted = []
    for scenario in dataset.test_scenarios():
        if (scenario.mechanism, scenario.level) != (mechanism, level):
            continue
        samples, sites = np.nonzero(np.broadcast_to(scenario.hidden, test.calls.shape))
        truth, called = test.calls[samples, sites], posteriors.values[scenario.key].argmax(axis=-1).ravel()
        wanted = truth != MISSING
        if rare_minor:
            wanted &= rare[sites]
            truth, called = (np.where(alt_is_major[sites], 2 - calls, calls) for calls in (truth, called))
        codes = 9 * samples + 3 * truth.astype(int) + called
        counted.append(np.bincount(codes[wanted], minlength=9 * test.n_samples).reshape(-1, 3, 3))
    return np.stack(counted, axis=1)


def pooled_difference(
    counted: Sequence[Counted], genotype: int | None = None, n_resamples: int = 1000, seed: int = 1
) -> Difference:
    """Return the macro-F1 of the first imputer minus the second's, averaged over datasets and levels, with an interval.

    Samples (or families) are drawn once from those of all datasets together, so that splits which share samples do not
    count as independent; masks are drawn within each dataset and level.

    Args:
        counted: one for each dataset and level.
        genotype: use the F1 of this genotype in place of macro-F1.
        n_resamples: number of bootstrap samples.
        seed: seed of the resampling.
    """
    names, inverse = np.unique(np.concatenate([part.units for part in counted]), return_inverse=True)
    drawn, _ = resampling_weights(np.arange(len(names)), 1, n_resamples, seed)
    value, resampled, begin = 0.0, np.zeros(n_resamples), 0
    for number, part in enumerate(counted):
        weights = drawn[:, inverse[begin : begin + len(part.units)]]
        begin += len(part.units)
        n_masks = part.first.shape[1]
        _, masks = resampling_weights(np.arange(1), n_masks, n_resamples, seed + 1 + number)
        if n_masks == 1:
            masks = np.ones_like(masks)
        for sign, counts in ((1, part.first), (-1, part.second)):
            value += sign * _f1(counts.sum(axis=(0, 1)), genotype).item() / len(counted)
            by_mask = (weights @ counts.reshape(len(counts), -1)).reshape(n_resamples, n_masks, 3, 3)
            resampled += sign * _f1(np.einsum("bm,bmtc->btc", masks, by_mask), genotype) / len(counted)
    return Difference(value, *interval(resampled))


def _f1(counts: np.ndarray, genotype: int | None) -> np.ndarray:
    """Return macro-F1, or the F1 of a genotype, float64 (...), from counts (..., 3, 3)."""
    f1 = f1_per_genotype(counts)
    return f1.mean(axis=-1) if genotype is None else f1[..., genotype]
