"""Dosages of a genotype file: the expected number of alternate alleles of each sample at each site, with the file's own DR2."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.base.words import numbered
from snpimpute.genotypes.matrix import MISSING, SITE_COLUMNS
from snpimpute.io.records import UNSTATED, Record, Site, split
from snpimpute.io.stream import streamed


@dataclass(frozen=True, eq=False)
class Dosages:
    """Dosages with their samples and sites.

    Attributes:
        values: float32 (n_samples, n_sites), 0 to 2 alternate alleles, NaN = missing.
        samples: names, (n_samples,).
        sites: a row per site, columns as those of a matrix (genotypes.matrix.SITE_COLUMNS).
        quality: float64 (n_sites,), the file's estimate of r² (DR2, R2 or INFO), NaN where it has none.
        name: of the file.
        fields: what the dosages were taken from, as "DS" or "DS, GT".
        notes: what was noticed.
    """

    values: np.ndarray
    samples: list[str]
    sites: pd.DataFrame
    quality: np.ndarray
    name: str = ""
    fields: str = "GT"
    notes: tuple[str, ...] = ()

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return self.values.shape[0]

    @property
    def n_sites(self) -> int:
        """Number of sites."""
        return self.values.shape[1]

    def take_samples(self, index: Any) -> Dosages:
        """Return the dosages of the samples at `index` (integers or booleans), in that order."""
        rows = np.arange(self.n_samples)[index]
        return replace(self, values=self.values[rows], samples=[self.samples[i] for i in rows])

    def take_sites(self, index: Any) -> Dosages:
        """Return the dosages of the sites at `index` (integers or booleans), in that order."""
        columns = np.arange(self.n_sites)[index]
        sites = self.sites.iloc[columns].reset_index(drop=True)
        return replace(self, values=self.values[:, columns], sites=sites, quality=self.quality[columns])

    def frequency(self) -> np.ndarray:
        """Return the alternate allele's frequency at each site, float64 (n_sites,); NaN where nothing is known."""
        known = np.isfinite(self.values).sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.nansum(self.values, axis=0, dtype=np.float64) / (2.0 * known)

    def maf(self) -> np.ndarray:
        """Return the rarer allele's frequency at each site, float64 (n_sites,); NaN where nothing is known."""
        frequency = self.frequency()
        return np.minimum(frequency, 1.0 - frequency)

    def varies(self) -> np.ndarray:
        """Tell of each site whether its dosages vary, bool (n_sites,)."""
        low, high = np.fmin.reduce(self.values, axis=0), np.fmax.reduce(self.values, axis=0)
        return np.nan_to_num(high - low) > 0

    def centred(self) -> np.ndarray:
        """Return the dosages less their site's mean, float64 (n_samples, n_sites); 0 where missing."""
        return np.nan_to_num(self.values - 2.0 * self.frequency(), nan=0.0)

    def standardised(self) -> np.ndarray:
        """Return `centred`, scaled to a mean square of 1 at each site that varies, float64 (n_samples, n_sites)."""
        centred = self.centred()
        spread = np.sqrt((centred**2).mean(axis=0))
        return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)


def read_dosages(path: Path, *, region: str | None = None, samples: Sequence[str] | None = None) -> Dosages:
    """Read a VCF, BCF or PLINK file as dosages.

    A call's dosage is DS, else the mean of GP, else the number of alternate alleles of GT. A record with several ALTs is a site
    for each. Of records with the same place and alleles the first is used.

    Args:
        path, region, samples: see `io.stream.streamed`.

    Raises:
        InputError: see `io.stream.streamed`; also if the region has no site.
    """
    read = read_columns(path, _dosage, region=region, samples=samples)
    return Dosages(read.values, read.samples, read.sites, read.quality, Path(path).name, read.fields, read.notes)


@dataclass(frozen=True, eq=False)
class Columns:
    """What was taken of a file's sites.

    Attributes:
        values: (n_samples, n_sites, …).
        samples: names, (n_samples,).
        sites: a row per site, columns as those of a matrix (genotypes.matrix.SITE_COLUMNS).
        quality: float64 (n_sites,), DR2, R2 or INFO, NaN where there is none.
        fields: what values were taken from, as "DS, GT".
        notes: what was noticed.
    """

    values: np.ndarray
    samples: list[str]
    sites: pd.DataFrame
    quality: np.ndarray
    fields: str
    notes: tuple[str, ...]


def read_columns(
    path: Path,
    taken_of: Callable[[Record], tuple[np.ndarray, str]],
    *,
    region: str | None = None,
    samples: Sequence[str] | None = None,
) -> Columns:
    """Read one thing of every site; a record with several ALTs is a site for each, and of repeated sites the first is used.

    Args:
        path, region, samples: see `io.stream.streamed`.
        taken_of: gives, of a record with one ALT, what is taken, (n_samples, …), and the name of the field that it is from.

    Raises:
        InputError: see `io.stream.streamed`; also if the region has no site.
    """
    path = Path(path)
    sites: list[Site] = []
    columns: list[np.ndarray] = []
    quality: list[float] = []
    fields: Counter[str] = Counter()
    taken: set[Site] = set()
    repeated = 0
    with streamed(path, region=region, samples=samples, dosages=True) as (stream,):
        for record in stream.records:
            for part in split(record):
                if not part.alts or part.alts[0] in UNSTATED:
                    continue
                site = Site(part.contig, part.pos, "", part.ref, part.alts[0])
                repeated += site in taken
                if site in taken:
                    continue
                taken.add(site)
                column, field = taken_of(part)
                fields[field] += 1
                columns.append(column)
                quality.append(part.quality)
                sites.append(site._replace(id=part.id))
        names, notes = stream.names, sorted(stream.notes)
    if not sites:
        raise InputError(f"{path.name} has no site{'' if region is None else f' in {region}'} with an alternate allele")
    if repeated:
        notes.append(f"{path.name}: {numbered(repeated, 'record')} that repeat a site left out")
    table = pd.DataFrame(sites, columns=SITE_COLUMNS).astype({"pos": np.int64})
    used = ", ".join(field for field in ("DS", "GP", "GT") if fields[field])
    values = np.stack(columns, axis=1)
    return Columns(values, names, table, np.array(quality, dtype=np.float64), used, tuple(notes))


def _dosage(record: Record) -> tuple[np.ndarray, str]:
    """Return the dosages of a record with one ALT, float32 (n_samples,), NaN = missing, and the field they are from."""
    calls = np.where(record.calls == MISSING, np.nan, record.calls).astype(np.float32)
    if record.dosage is not None:
        return np.where(np.isfinite(record.dosage), record.dosage, calls).astype(np.float32), "DS"
    if record.posterior is not None:
        mean = (record.posterior @ np.arange(3)).astype(np.float32)
        return np.where(np.isfinite(mean), mean, calls), "GP"
    return calls, "GT"
