"""Pedigree relationship of samples, and its rank correlation with accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError

# Bins of a test sample's closest relationship to train: half sibs have 0.25, full sibs or parent and offspring 0.5.
RELATION_BINS = (0.0, 0.125, 0.25, 0.5, 2.0)
MAX_ANIMALS = 20_000  # their matrix takes 3.2 GB


def closest_relationship(pedigree: pd.DataFrame, samples: Sequence[str], train: Sequence[str]) -> np.ndarray:
    """Return the largest additive relationship of each sample to any train sample.

    Args:
        pedigree: a row per animal, as io.samples.read_pedigree gives it.
        samples, train: names; no name is in both.

    Returns:
        float64 (len(samples),), twice the coefficient of kinship: 0 unrelated, 0.25 half sibs, 0.5 full sibs or parent
        and offspring (if the parents are not inbred). NaN for samples that the pedigree does not name.

    Raises:
        InputError: as `additive_relationship`; or the pedigree names no train sample.
    """
    listed = set(pedigree["sample"])
    known_train = [name for name in train if name in listed]
    known = [name for name in samples if name in listed]
    if not known_train or not known:
        raise InputError("the pedigree names no train sample or no test sample: give the names that the genotypes have")
    matrix = additive_relationship(pedigree, [*known, *known_train])
    closest = dict(zip(known, matrix[: len(known), len(known) :].max(axis=1), strict=True))
    return np.array([closest.get(name, np.nan) for name in samples])


def additive_relationship(pedigree: pd.DataFrame, names: Sequence[str]) -> np.ndarray:
    """Return the numerator relationship matrix, by the tabular method (Emik & Terrill 1949; Henderson 1976).

    Args:
        pedigree: a row per animal in any order: `sample`, `sire`, `dam` (strings; empty = unknown). Parents without a
            row of their own are founders.
        names: the animals of the matrix; each has a row in the pedigree.

    Returns:
        float64 (len(names), len(names)): 1 + inbreeding on the diagonal, twice the coefficient of kinship elsewhere.

    Raises:
        InputError: an animal is its own ancestor, or the names have more than MAX_ANIMALS ancestors.
    """
    parents = {row[0]: row[1:] for row in pedigree[["sample", "sire", "dam"]].itertuples(index=False, name=None)}
    ordered = _ancestors_first(parents, names)
    if len(ordered) > MAX_ANIMALS:
        raise InputError(f"the samples have {len(ordered)} animals in their pedigree, more than {MAX_ANIMALS}: cut it")
    row_of = {name: i for i, name in enumerate(ordered)}
    matrix = np.zeros((len(ordered) + 1, len(ordered) + 1))  # last row: unknown parents, related to no animal
    for i, name in enumerate(ordered):
        sire, dam = (row_of.get(parent, -1) for parent in parents.get(name, ("", "")))
        matrix[i, :i] = matrix[:i, i] = (matrix[sire, :i] + matrix[dam, :i]) / 2
        matrix[i, i] = 1 + matrix[sire, dam] / 2
    chosen = [row_of[name] for name in names]
    return matrix[np.ix_(chosen, chosen)]


def _ancestors_first(parents: dict[str, tuple[str, ...]], names: Sequence[str]) -> list[str]:
    """List the named animals and all their ancestors, every parent before its offspring."""
    graph: dict[str, list[str]] = {}
    to_visit = list(names)
    while to_visit:
        name = to_visit.pop()
        if name not in graph:
            graph[name] = [parent for parent in parents.get(name, ()) if parent]
            to_visit += graph[name]
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise InputError(
            f"the pedigree makes {error.args[1][0]} its own ancestor: mend the rows of its parents"
        ) from None


def rank_correlations(closest: np.ndarray, accuracy: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlation of relationship and accuracy in each bootstrap sample.

    Args:
        closest: float (n_samples,), closest relationship to train.
        accuracy: float (n_resamples, n_samples).
        weights: int (n_resamples, n_samples), times each sample was drawn.

    Returns:
        float64 (n_resamples,); NaN where all samples drawn are equal in relationship or in accuracy.
    """
    from scipy.stats import rankdata

    correlations = np.full(len(weights), np.nan)
    for i, (values, times) in enumerate(zip(accuracy, weights, strict=True)):
        drawn = np.repeat(np.arange(len(closest)), times)
        pairs = np.stack([closest[drawn], values[drawn]])
        if drawn.size and (np.ptp(pairs, axis=1) > 0).all():
            correlations[i] = np.corrcoef(rankdata(pairs, axis=1))[0, 1]
    return correlations
