"""Spools: the genotypes of a whole file on disk, site after site, read once and used a window at a time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute.base.files import save_array, written_beside
from snpimpute.base.folders import Part
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.io.filters import NoGenotypes, SiteFilter
from snpimpute.io.in_place import (
    FREQUENCY_FILE,
    ROWS_FILE,
    SiteScan,
    StoredPanel,
    link_store,
    not_read,
    parts_in_place,
    store_in,
)
from snpimpute.io.matrix import CALLS_FILE, HAPLOTYPES_FILE, RECORDS_FILE, read_genotypes, require_enough_sites
from snpimpute.io.records import Stream

SITES_FILE, SAMPLES_FILE, LEFT_OUT_FILE = "sites.tsv", "samples.tsv", "left_out.tsv"
SITES_AT_A_TIME = 1000


def spool_genotypes(
    path: Path, folder: Path, *, region: str | None = None, site_filter: SiteFilter | None = None
) -> GenotypeMatrix:
    """Read a VCF, BCF or PLINK file into a folder, completely or not at all; return `spooled(folder)`.

    Args:
        path: the file.
        folder: the folder to make; used as it is if it is there already.
        region: see read_genotypes.
        site_filter: see read_genotypes.

    Raises:
        InputError: see read_genotypes.
    """
    if not folder.exists():
        with written_beside(folder) as beside:
            beside.mkdir()
            matrix, left_out = read_genotypes(
                path, region=region, site_filter=site_filter, max_sites=None, spool=beside
            )
            if matrix.haplotypes is None:
                (beside / HAPLOTYPES_FILE).unlink(missing_ok=True)
            left_out.to_csv(beside / LEFT_OUT_FILE, sep="\t", index=False)
            _write_tables(beside, matrix.samples, matrix.sites)
    return spooled(folder)


def spooled_records(folder: Path) -> pd.DataFrame:
    """Return all sites that passed the filter when `spool_genotypes` made the folder, those that do not vary included.

    Returns:
        A row per site, in the file's order: contig, pos, id, ref, alt, `alt_frequency` (of sites that do not vary, 0 or 1; NaN
        of others), `varies` (bool), `record` (int, equal for sites of one record), `haploid` (bool, whether a sample has a haploid
        call).
    """
    types = {"contig": str, "id": str, "ref": str, "alt": str}
    table = pd.read_csv(
        folder / RECORDS_FILE, sep="\t", dtype=types, keep_default_na=False, na_values={"alt_frequency": [""]}
    )
    return table.astype({"varies": bool, "haploid": bool})


def empty_spool(folder: Path, samples: pd.DataFrame, sites: pd.DataFrame) -> np.memmap:
    """Make a spool of missing calls to fill in, int8 (n_sites, n_samples), written through to the folder's file.

    Args:
        folder: an existing, empty folder.
        samples: table with the column `sample`.
        sites: the sites table.

    Raises:
        OSError: there is no room for the calls.
    """
    _write_tables(folder, samples, sites)
    return filled_file(folder / CALLS_FILE, (len(sites), len(samples)), np.int8, MISSING)


def filled_file(path: Path, shape: tuple[int, ...], dtype: Any, value: int) -> np.memmap:
    """Make a file of one value, row by row, and return it mapped, to be written through.

    Raises:
        OSError: there is no room for it.
    """
    row = np.full(shape[1:], value, dtype=dtype).tobytes()
    with path.open("wb") as file:  # a full disk raises here; once the file is mapped it would be a SIGBUS
        for _ in range(shape[0]):
            file.write(row)
    return np.memmap(path, dtype=dtype, mode="r+", shape=shape)


def spooled(folder: Path) -> GenotypeMatrix:
    """Return the genotypes of a spool; calls and haplotypes are mapped from its files.

    Take a part before using them: only the parts in use are in memory.
    """
    samples = pd.read_csv(folder / SAMPLES_FILE, sep="\t", dtype=str, keep_default_na=False)
    types = {"contig": str, "id": str, "ref": str, "alt": str}
    sites = pd.read_csv(folder / SITES_FILE, sep="\t", dtype=types, keep_default_na=False)
    shape = (len(sites), len(samples))
    if (store := store_in(folder)) is not None:
        phased = not_read((*shape[::-1], 2)) if (folder / HAPLOTYPES_FILE).exists() else None
        rows = np.load(folder / ROWS_FILE, allow_pickle=False)
        return StoredPanel(not_read(shape[::-1]), samples, sites, phased, store=store, rows=rows)
    calls = np.memmap(folder / CALLS_FILE, dtype=np.int8, mode="r", shape=shape)
    haplotypes = None
    if (folder / HAPLOTYPES_FILE).exists():
        haplotypes = np.memmap(folder / HAPLOTYPES_FILE, dtype=np.int8, mode="r", shape=(*shape, 2)).swapaxes(0, 1)
    return GenotypeMatrix(calls.T, samples, sites, haplotypes)


def hide_in_spool(folder: Path, sites: np.ndarray) -> None:
    """Set all calls of some sites of a spool to missing, in its file.

    Args:
        folder: the spool.
        sites: int64, their numbers.
    """
    calls = np.memmap(folder / CALLS_FILE, dtype=np.int8, mode="r+", shape=spooled(folder).calls.T.shape)
    calls[sites] = MISSING
    calls.flush()


def write_in_place(folder: Path, store: Path, scan: SiteScan, source: Stream) -> None:
    """Make a spool of sites whose calls stay in their store.

    Args:
        folder: an existing folder, in which the scan leaves its table.
        store: the store.
        scan: sites of the whole store, or of its region.
        source: stream that names source and samples.

    Raises:
        InputError: there is no call, too few sites, or a haploid call that cannot be.
    """
    if scan.lacking:
        raise NoGenotypes(scan.lacking)
    matrix, left_out = scan.finish(source)
    require_enough_sites(matrix, left_out, source.name)
    left_out.to_csv(folder / LEFT_OUT_FILE, sep="\t", index=False)
    _write_tables(folder, matrix.samples, matrix.sites)
    save_array(folder / ROWS_FILE, scan.rows)
    save_array(folder / FREQUENCY_FILE, np.concatenate(scan.frequencies))
    if matrix.haplotypes is not None:
        (folder / HAPLOTYPES_FILE).touch()  # that there are some, which are in the store
    link_store(folder, store)


def alt_frequencies(folder: Path) -> np.ndarray:
    """Return the frequency of ALT at each site of a spool, float64 (n_sites,)."""
    if store_in(folder) is not None:
        return np.load(folder / FREQUENCY_FILE, allow_pickle=False)
    matrix = spooled(folder)
    parts = [matrix.take_sites(slice(at, at + SITES_AT_A_TIME)) for at in range(0, matrix.n_sites, SITES_AT_A_TIME)]
    return np.concatenate([part.alt_frequency() for part in parts])


def parts_of(home: Path, name: str, n_samples: int, stretches: Iterable[tuple[int, int]]) -> list[Part]:
    """Return the parts of a spool that hold some of its sites, with its tables, which are whole.

    Args:
        home: the folder whose parts they are.
        name: the spool's folder in it.
        n_samples: its number of samples.
        stretches: numbers of the first site, and of the first after the last, of each stretch.
    """
    parts = [Part(f"{name}/{table}") for table in (SAMPLES_FILE, SITES_FILE)]
    if store_in(home / name) is not None:
        return [*parts, Part(f"{name}/{HAPLOTYPES_FILE}"), *parts_in_place(name, home / name, list(stretches))]
    for start, stop in stretches:
        parts += [
            Part(f"{name}/{file}", start * n_samples * size, stop * n_samples * size)
            for file, size in ((CALLS_FILE, 1), (HAPLOTYPES_FILE, 2))
        ]
    return parts


def _write_tables(folder: Path, samples: pd.DataFrame, sites: pd.DataFrame) -> None:
    """Write the tables of samples and sites into a spool."""
    samples.to_csv(folder / SAMPLES_FILE, sep="\t", index=False)
    sites.to_csv(folder / SITES_FILE, sep="\t", index=False)
