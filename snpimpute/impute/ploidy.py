"""Ploidy of the calls to write: haploid where a sample's own calls near by are."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.impute.windows import contigs_of
from snpimpute.io.records import HAPLOID, UNPHASED, Record

PLOIDY_FILE = "ploidy.i8"  # beside a target's spool: int8, site after site; only where the target has haploid calls
NOT_TOLD = -1
SAMPLES_AT_ONCE = 500
NEAR = 10  # sites; fewer without haploid calls between others with them are taken as those


def ploidy_of_calls(record: Record) -> np.ndarray:
    """Return what the calls of a record tell, int8 (n_samples,): 1 = haploid, 0 = diploid, -1 = nothing."""
    return np.where(record.kinds == HAPLOID, 1, np.where(record.kinds >= UNPHASED, 0, NOT_TOLD)).astype(np.int8)


def fill_ploidy(told: np.memmap, sites: pd.DataFrame, of_panel: np.ndarray) -> None:
    """Fill in the ploidy of all calls, in place; the arguments are those of `filled`, for all contigs."""
    for _, first, last in contigs_of(sites):
        here, pos = slice(first, last), sites["pos"].to_numpy()[first:last]
        in_panel = closed(of_panel[here])
        parts = [slice(at, at + SAMPLES_AT_ONCE) for at in range(0, told.shape[1], SAMPLES_AT_ONCE)]
        kinds = np.any([told_kinds(told[here, samples], in_panel) for samples in parts], axis=0)
        for samples in parts:
            told[here, samples] = filled(told[here, samples], pos, in_panel, kinds)
    told.flush()


def haploid_calls(folder: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return where calls are haploid, int8 (n_sites, n_samples), from a folder that `fill_ploidy` filled; None = nowhere."""
    file = folder / PLOIDY_FILE
    return np.memmap(file, dtype=np.int8, mode="r", shape=shape) if file.exists() else None


def as_haploid(posterior: np.ndarray, haploid: np.ndarray) -> np.ndarray:
    """Return a posterior whose haploid calls have probabilities of the homozygotes alone.

    An allele's probability is half its expected number of copies.

    Args:
        posterior: float32 (2, n_sites, n_samples), probabilities of genotypes 1 and 2.
        haploid: bool (n_sites, n_samples).
    """
    out = np.where(haploid, 0, posterior)
    out[1] = np.where(haploid, posterior[1] + posterior[0] / 2, posterior[1])
    return out


def told_kinds(told: np.ndarray, of_panel: np.ndarray) -> np.ndarray:
    """Return whether calls tell diploid or haploid, bool (2, 2), where the panel has no haploid calls and where it has some.

    Args:
        told, of_panel: see `filled`.
    """
    return np.array([[(told[of_panel == in_panel] == kind).any() for kind in (0, 1)] for in_panel in (False, True)])


def filled(told: np.ndarray, pos: np.ndarray, of_panel: np.ndarray, kinds: np.ndarray | None = None) -> np.ndarray:
    """Return where samples are haploid on a contig, bool (n_sites, n_samples), from the sites whose calls tell.

    A site is as the sample's nearest site that tells, among those at which the panel has haploid calls, or among the others:
    so the pseudo-autosomal regions end where they do in the panel. A sample without such a site is haploid if others are
    haploid there and none is diploid.

    Args:
        told: int8 (n_sites, n_samples), 1 = haploid, 0 = diploid, -1 = not told.
        pos: int64 (n_sites,), ascending.
        of_panel: bool (n_sites,), whether the panel has haploid calls at a site (see `closed`).
        kinds: the `told_kinds` of all samples, where these are some of them; None = these are all.
    """
    out = np.zeros(told.shape, dtype=bool)
    kinds = told_kinds(told, of_panel) if kinds is None else kinds
    for in_panel, (diploid, haploid) in zip((False, True), kinds, strict=True):
        rows = np.flatnonzero(of_panel == in_panel)
        if len(rows):
            here = told[rows]
            nearest = nearest_known(here != -1, pos[rows])
            as_nearest = np.take_along_axis(here, np.maximum(nearest, 0), axis=0) == 1
            out[rows] = np.where(nearest >= 0, as_nearest, haploid and not diploid)
    return out


def nearest_known(known: np.ndarray, pos: np.ndarray) -> np.ndarray:
    """Return the row nearest to each that is known, int64 (n_rows, n_samples), -1 = none; of two equally near the first."""
    n = len(pos)
    row = np.arange(n)[:, None]
    before = np.maximum.accumulate(np.where(known, row, -1), axis=0)
    after = np.minimum.accumulate(np.where(known, row, n)[::-1], axis=0)[::-1]
    far = np.iinfo(np.int64).max
    to_before = np.where(before >= 0, pos[:, None] - pos[np.maximum(before, 0)], far)
    to_after = np.where(after < n, pos[np.minimum(after, n - 1)] - pos[:, None], far)
    return np.where((before < 0) & (after == n), -1, np.where(to_before <= to_after, before, after))


def closed(flags: np.ndarray) -> np.ndarray:
    """Return bool (n,) with fewer than NEAR false ones between two true ones made true."""
    out = flags.copy()
    true = np.flatnonzero(flags)
    for one, other in itertools.pairwise(true):
        if other - one <= NEAR:
            out[one:other] = True
    return out
