"""Genotypes as predictors take them: posteriors of a genotype file, or a table of markers, at a predictor's sites."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.base.words import numbered
from snpimpute.genotypes.matrix import SITE_COLUMNS, site_keys
from snpimpute.io.builds import plain_contig
from snpimpute.io.records import Record
from snpimpute.io.samples import named_once, read_table, with_sample_column
from snpimpute.io.stream import stem
from snpimpute.traits.dosages import read_columns
from snpimpute.traits.phenotypes import UNKNOWN, Trait
from snpimpute.traits.predictors.cohort import Cohort, posterior_of_calls, posterior_of_dosages

TABLES = {".tsv": "\t", ".txt": "\t", ".csv": ","}  # ending of a table of markers, which may be compressed → separator
UNPLACED = "unplaced"  # contig of markers without positions, which are numbered in its place


def stem_of(path: Path) -> str:
    """Return the name of a genotype file, or of a table of markers, without the ending of its format."""
    plain = path.name.removesuffix(".gz")
    return Path(plain).stem if Path(plain).suffix in TABLES else stem(path)


@dataclass(frozen=True, eq=False)
class Genotypes:
    """Genotypes of samples, as probabilities.

    Attributes:
        posterior: float32 (n_samples, n_sites, 3), NaN = missing.
        samples: names, (n_samples,).
        sites: a row per site, columns as those of a matrix (genotypes.matrix.SITE_COLUMNS).
        name: of the file.
        fields: what the probabilities were taken from, as "GP" or "DS, GT".
        notes: what was noticed.
    """

    posterior: np.ndarray
    samples: list[str]
    sites: pd.DataFrame
    name: str
    fields: str
    notes: tuple[str, ...] = ()

    def with_trait(self, trait: Trait) -> Cohort:
        """Return the samples of a trait, with its values and covariates."""
        return Cohort(self.posterior[trait.rows], self.sites, trait.values, trait.covariates, trait.binary)

    def at_sites(self, sites: pd.DataFrame) -> Genotypes:
        """Return the genotypes at other sites in their order, exchanged alleles turned, NaN where the file lacks a site.

        Raises:
            InputError: the file has none of the sites.
        """
        row = {key: i for i, key in enumerate(_keys(self.sites))}
        at = np.array([row.get(key, -1) for key in _keys(sites)])
        turned_at = np.array([row.get((c, p, a, r), -1) for c, p, r, a in _keys(sites)])
        turned = (at < 0) & (turned_at >= 0)
        at = np.where(turned, turned_at, at)
        absent = at < 0
        if absent.all():
            raise InputError(
                f"{self.name} has none of the {numbered(len(sites), 'site')} that were learned from: contig, position and both "
                f"alleles must agree (the first are {site_keys(self.sites[:1])[0]} and {site_keys(sites[:1])[0]})"
            )
        posterior = self.posterior[:, at]
        posterior[:, turned] = posterior[:, turned, ::-1]
        posterior[:, absent] = np.nan
        notes = list(self.notes)
        if absent.any():
            notes.append(
                f"{self.name} lacks {numbered(int(absent.sum()), 'site')} of {len(sites):,} that were learned from: "
                "mean genotypes stand in"
            )
        return replace(self, posterior=posterior, sites=sites, notes=tuple(notes))


def read_genotypes(path: Path, region: str | None = None) -> Genotypes:
    """Read a genotype file, or a table of markers.

    A call is GP, else DS, else GT. A table (.tsv or .csv, compressed or not) has a row per sample and a column per marker: the
    number of copies of an allele, 0 to 2, or its presence, 0 or 1. Its markers have no positions: they are numbered.

    Args:
        path: VCF, BCF, PLINK file, or table.
        region: sites that are read of a genotype file; None = all.

    Raises:
        InputError: see `dosages.read_columns`; a table that is none, a region of a table.
    """
    path = Path(path)
    ending = next((end for end in path.suffixes[::-1] if end != ".gz"), "").lower()
    if ending not in TABLES:
        read = read_columns(path, _posterior, region=region)
        return Genotypes(read.values, read.samples, read.sites, path.name, read.fields, read.notes)
    if region is not None:
        raise InputError(f"{path.name} is a table of markers without positions: --region does not go with it")
    return _read_markers(path, TABLES[ending])


def _read_markers(path: Path, separator: str) -> Genotypes:
    table = with_sample_column(read_table(path, separator))
    if "sample" not in table or len(table.columns) < 2:
        raise InputError(f"{path.name} is no table of markers: it needs a column sample (or id), and one per marker")
    table = named_once(table, path)
    cells = table.drop(columns="sample")
    unknown = cells.isin(UNKNOWN).to_numpy()
    values = cells.apply(pd.to_numeric, errors="coerce").to_numpy(np.float32)
    wrong = ~unknown & ~((values >= 0) & (values <= 2))
    if wrong.any():
        i, j = (int(k) for k in np.argwhere(wrong)[0])
        raise InputError(
            f"{path.name}: marker {cells.columns[j]} of sample {table['sample'][i]} is {cells.iat[i, j]!r}: it must be between "
            "0 and 2, an unknown one empty or NA"
        )
    n = len(cells.columns)
    sites = pd.DataFrame(
        {"contig": UNPLACED, "pos": np.arange(1, n + 1), "id": list(cells.columns), "ref": "A", "alt": "B"}
    )
    notes = (f"{path.name} is a table of {numbered(n, 'marker')} without positions: they are numbered",)
    return Genotypes(
        posterior_of_dosages(values), table["sample"].tolist(), sites[list(SITE_COLUMNS)], path.name, "markers", notes
    )


def _posterior(record: Record) -> tuple[np.ndarray, str]:
    """Return the genotypes of a record with one ALT, float32 (n_samples, 3), NaN = missing, and the field they are from."""
    found, field = posterior_of_calls(record.calls[:, None])[:, 0], "GT"
    if record.dosage is not None:
        found, field = _first_known(posterior_of_dosages(record.dosage[:, None])[:, 0], found), "DS"
    if record.posterior is not None:
        total = record.posterior.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):  # GP is rounded; one of zeros says nothing
            found, field = _first_known((record.posterior / total).astype(np.float32), found), "GP"
    return found, field


def _first_known(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(first).all(axis=1, keepdims=True), first, second)


def _keys(sites: pd.DataFrame) -> list[tuple[Any, ...]]:
    """Return contig (in one spelling), position and alleles of each site."""
    return [
        (plain_contig(c), p, r, a) for c, p, r, a in zip(sites.contig, sites.pos, sites.ref, sites.alt, strict=True)
    ]
