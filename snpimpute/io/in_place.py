"""Panels of a VCF Zarr store that are used in place: what passes the filter is found by stretches, and a window is read when it is taken."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from snpimpute.base.errors import InputError
from snpimpute.base.files import remove
from snpimpute.base.folders import Part
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.io.filters import CALLS_PER_BLOCK, NoGenotypes, SiteFilter
from snpimpute.io.matrix import CALLS_FILE, SiteCollector, calls_of
from snpimpute.io.records import split
from snpimpute.io.vcz import Stretch, vcz_files_of, vcz_stream

STORE = "store"  # folder of a spool with a link to the store in which its calls are
ROWS_FILE, FREQUENCY_FILE = (
    "rows.npy",
    "frequency.npy",
)  # of a spool: site of the store, and ALT's frequency, of each site


def store_in(folder: Path) -> Path | None:
    """Return the store in which the calls of a spool are; None where they are in the spool."""
    return next((folder / STORE).glob("*"), None)


def link_store(folder: Path, store: Path) -> None:
    """Link a store to a spool in which it is used, in place of what was linked there before."""
    remove(folder / STORE)
    (folder / STORE).mkdir(parents=True)
    (folder / STORE / store.name).symlink_to(store.absolute())


class SiteScan(SiteCollector):
    """Sites of stretches of a store that pass a filter, without their calls.

    Attributes:
        frequencies: of ALT at the kept sites, float64 arrays.
        lacking: what the records lack; empty if nothing, None if there were none.
    """

    def __init__(self, source: str, site_filter: SiteFilter, folder: Path) -> None:
        super().__init__(source, site_filter, None, folder)
        self.frequencies: list[np.ndarray] = []
        self.lacking: str | None = None
        self._row = -1
        self._rows_accepted: list[int] = []

    def scan(self, path: Path, stretch: Stretch) -> None:
        """Add the sites of a stretch; InputError: see `matrix.read_matrix`."""
        self._row = stretch[0] - 1
        try:
            self.read(vcz_stream(path, rows=[stretch], accept=self.accepts))
            self.lacking = "" if self._rows_accepted else None
        except NoGenotypes as error:
            self.lacking = str(error)

    def accepts(self, contig: str, pos: int, ref: str, alts: Sequence[str], passed: bool) -> bool:
        accepted = super().accepts(contig, pos, ref, alts, passed)
        self._row += 1
        if accepted:
            self._rows_accepted.append(self._row)
        return accepted

    @property
    def rows(self) -> np.ndarray:
        """Sites of the store that the kept sites are, int64 (n_sites,)."""
        return np.array(self._rows_accepted, dtype=np.int64)[self._records]

    def join(self, later: SiteScan) -> None:
        """Add the sites of stretches that follow those added here."""
        n = self._number + 1
        self.n_samples = max(self.n_samples, later.n_samples)
        self._read += later._read
        self._left_out.update(later._left_out)
        self._rows += [row._replace(record=row.record + n) for row in later._rows]
        self._sites += later._sites
        self._records += [number + n for number in later._records]
        self._rows_accepted += later._rows_accepted
        self._number += later._number + 1
        self.frequencies += later.frequencies
        both = None not in (self._haplotypes, later._haplotypes)
        self._haplotypes = [*(self._haplotypes or []), *(later._haplotypes or [])] if both else None
        self._haploid.join(later._haploid)
        self._contigs |= later._contigs
        self._in_sets |= later._in_sets
        if self.lacking != "" and later.lacking is not None:
            self.lacking = later.lacking

    def _store(self, blocks: list[np.ndarray], name: str, block: np.ndarray) -> None:
        blocks.append(block[:, :0])
        if name == CALLS_FILE:
            called = block != MISSING
            with np.errstate(invalid="ignore"):
                self.frequencies.append(np.where(called, block, 0).sum(axis=0) / (2.0 * called.sum(axis=0)))

    def _joined(self, blocks: list[np.ndarray], name: str) -> np.ndarray:
        return not_read((self.n_samples, len(self._sites), *blocks[0].shape[2:]))


def not_read(shape: tuple[int, ...]) -> np.ndarray:
    """Return missing calls of a shape, int8, which take no memory."""
    return np.broadcast_to(np.int8(MISSING), shape)


@dataclass(frozen=True, eq=False)
class StoredPanel(GenotypeMatrix):
    """Genotypes that are in a store: sites are read when they are taken, and before that all calls are missing.

    Attributes:
        store: the store.
        rows: int64 (n_sites,), the sites of the store.
    """

    store: Path = Path()
    rows: np.ndarray | None = None

    def take_samples(self, index: Any) -> GenotypeMatrix:
        raise TypeError("take sites first: the calls of a whole store are not read at once")

    def take_sites(self, index: Any) -> GenotypeMatrix:
        """Return the genotypes of the sites at `index` (integers or booleans), in the store's order, read from it.

        Raises:
            InputError: the store is broken.
        """
        assert self.rows is not None
        sites = self.sites.iloc[np.arange(self.n_sites)[index]].reset_index(drop=True)
        rows = self.rows[index]
        wanted = [set[str]() for _ in np.unique(rows)]
        places = np.unique(rows, return_inverse=True)[1]
        for place, alt in zip(places.tolist(), sites["alt"], strict=True):
            wanted[place].add(alt)
        blocks, block = [], []
        n = max(1, CALLS_PER_BLOCK // self.n_samples)
        with suppress(NoGenotypes):  # of these sites, where others have calls
            for alts, record in zip(wanted, vcz_stream(self.store, rows=stretches_of(rows)).records, strict=True):
                for part in split(record):
                    if part.alts and part.alts[0] in alts:
                        alts.discard(part.alts[0])
                        block.append(part)
                if len(block) >= n:
                    blocks.append(calls_of(block))
                    block = []
        blocks += [calls_of(block)] if block else []
        calls = np.concatenate([np.empty((self.n_samples, 0), dtype=np.int8), *(each[0] for each in blocks)], axis=1)
        if calls.shape[1] != len(sites):
            raise InputError(f"{self.store.name} has changed since it was read: run the command again")
        haplotypes = None
        if self.haplotypes is not None:
            haplotypes = np.concatenate([each[1] for each in blocks if each[1] is not None], axis=1)
            haplotypes = np.ascontiguousarray(haplotypes.swapaxes(0, 1)).swapaxes(0, 1)
        # in memory as parts of a spool are, so that models are the same to the last byte
        whole = GenotypeMatrix(np.ascontiguousarray(calls.T).T, self.samples, sites, haplotypes)
        return whole.take_sites(slice(None))


def stretches_of(rows: np.ndarray) -> list[Stretch]:
    """Return the stretches of sites that some rows, in order, come to."""
    once = np.unique(rows)
    parts = np.split(once, np.flatnonzero(np.diff(once) > 1) + 1)
    return [(int(part[0]), int(part[-1]) + 1) for part in parts if len(part)]


def parts_in_place(name: str, folder: Path, stretches: Sequence[Stretch]) -> list[Part]:
    """Return the parts of a spool, whose calls are in a store, that hold some of its sites; see `spool.parts_of`."""
    store = store_in(folder)
    assert store is not None
    rows = np.load(folder / ROWS_FILE, allow_pickle=False)
    wanted = [stretch for start, stop in stretches for stretch in stretches_of(rows[start:stop])]
    files = [f"{STORE}/{store.name}/{file}" for file in vcz_files_of(store, wanted)]
    return [Part(f"{name}/{file}") for file in (ROWS_FILE, *files)]
