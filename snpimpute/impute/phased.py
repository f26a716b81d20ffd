"""Phase of imputed calls: that of each window, joined along contigs, and turned to the phase that the target has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.files import save_array, written_beside
from snpimpute.impute.ploidy import NOT_TOLD, nearest_known
from snpimpute.impute.windows import Window, contigs_of
from snpimpute.io.records import PHASED, Record
from snpimpute.io.spool import filled_file

TARGET_FILE, JOINED_FILE = (
    "phase.i8",
    "joined.i8",
)  # int8, site after site: the first allele of a heterozygote, or NOT_TOLD


def phase_file(work: Path, number: int) -> Path:
    """Return the file of a window's phase, int8 (n_sites, n_samples)."""
    return work / "phase" / f"{number:05d}.npy"


def save_window_phase(file: Path, haplotypes: np.ndarray) -> None:
    """Write the first alleles of heterozygotes; `haplotypes` is int8 (n_samples, 2, n_sites)."""
    first = np.where(haplotypes[:, 0] != haplotypes[:, 1], haplotypes[:, 0], NOT_TOLD).T.astype(np.int8)
    with written_beside(file) as beside, beside.open("wb") as handle:
        save_array(handle, np.ascontiguousarray(first))


def phase_of_calls(record: Record, swapped: bool) -> np.ndarray:
    """Return the first alleles of phased heterozygotes of a site, int8 (n_samples,), by the panel's REF and ALT."""
    phased = (record.kinds == PHASED) & (record.calls == 1) & (not record.phase_sets)
    first = (record.alleles[:, 0] > 0) ^ swapped
    return np.where(phased, first, NOT_TOLD).astype(np.int8)


def join_windows(windows: list[Window], work: Path, sites: pd.DataFrame, rows: np.ndarray, n_samples: int) -> np.memmap:
    """Join the phase of windows; return the first alleles of heterozygotes, int8 (n_sites, n_samples).

    Of two windows that overlap the second is turned to agree with the first at most heterozygotes of the overlap, of which
    each has a half. Where the target has phased calls, each call is turned as its nearest phased heterozygote is.

    Args:
        windows: the windows, those that were imputed having a `phase_file`.
        work: the working folder.
        sites: the sites to write.
        rows: int64, the rows of `sites` that windows impute.
        n_samples: number of samples.
    """
    joined = filled_file(work / JOINED_FILE, (len(sites), n_samples), np.int8, NOT_TOLD)
    before: Window | None = None
    held = np.empty((0, n_samples), dtype=np.int8)
    for number, window in enumerate(windows):
        if not phase_file(work, number).exists():
            continue
        found = np.load(phase_file(work, number), allow_pickle=False)
        start = window.start
        if before is not None and before.contig == window.contig and before.stop > window.start:
            n = before.stop - window.start
            one, other = held[-n:], found[:n]
            told = (one != NOT_TOLD) & (other != NOT_TOLD)
            turned = 2 * (told & (one != other)).sum(axis=0) > told.sum(axis=0)
            found = np.where((found != NOT_TOLD) & turned, 1 - found, found)
            start += n // 2
        joined[rows[start : window.stop]] = found[start - window.start :]
        before, held = window, found
    told_by_target = work / "target" / TARGET_FILE
    if told_by_target.exists():
        told = np.memmap(told_by_target, dtype=np.int8, mode="r", shape=joined.shape)
        for _, first, last in contigs_of(sites):
            joined[first:last] = turned_to(joined[first:last], told[first:last])
    return joined


def turned_to(first: np.ndarray, told: np.ndarray) -> np.ndarray:
    """Return first alleles turned, each as the nearest heterozygote whose phase is told; both int8 (n_sites, n_samples)."""
    known = (told != NOT_TOLD) & (first != NOT_TOLD)
    nearest = np.maximum(nearest_known(known, np.arange(len(first))), 0)  # where none is known, none differs
    differs = np.take_along_axis(known & (told != first), nearest, axis=0)
    turned = np.where((first != NOT_TOLD) & differs, 1 - first, first)
    return np.where(told != NOT_TOLD, told, turned)
