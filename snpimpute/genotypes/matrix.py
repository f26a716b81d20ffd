"""GenotypeMatrix: the calls of samples at biallelic sites, and statistics of the calls alone."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError

MISSING = -1
GENOTYPES = (0, 1, 2)
SITE_COLUMNS = ("contig", "pos", "id", "ref", "alt")
SAMPLE_COLUMNS = ("sample", "group", "family", "sex", "birth_order")


@dataclass(frozen=True, eq=False)
class GenotypeMatrix:
    """Genotype calls with their samples and sites.

    Attributes:
        calls: int8 (n_samples, n_sites), number of alternate alleles (0, 1, 2), -1 = missing.
        samples: one row per sample; always `sample` (unique name), and where known `group`, `family`,
            `sex`, `birth_order` (strings; birth_order float; empty string or NaN = unknown).
        sites: one row per site: `contig` (str), `pos` (1-based int), `id`, `ref`, `alt` (str); unique, in file order. Several
            may be at one position, as those of a record with several ALTs.
        haplotypes: int8 (n_samples, n_sites, 2) alleles 0/1 when every call is phased and none is missing, else None.
        likelihoods: float32 (n_samples, n_sites, 3) of genotypes 0, 1, 2, the largest 1, for targets whose calls are not known
            for sure and therefore missing; all 1 = nothing known. None = calls are all there is.
    """

    calls: np.ndarray
    samples: pd.DataFrame
    sites: pd.DataFrame
    haplotypes: np.ndarray | None = None
    likelihoods: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.calls.dtype != np.int8 or self.calls.shape != (len(self.samples), len(self.sites)):
            raise ValueError(
                f"calls must be int8 ({len(self.samples)}, {len(self.sites)}), got {self.calls.dtype} {self.calls.shape}"
            )
        if self.haplotypes is not None and self.haplotypes.shape != (*self.calls.shape, 2):
            raise ValueError(f"haplotypes must be (n_samples, n_sites, 2), got {self.haplotypes.shape}")
        if self.likelihoods is not None and self.likelihoods.shape != (*self.calls.shape, 3):
            raise ValueError(f"likelihoods must be (n_samples, n_sites, 3), got {self.likelihoods.shape}")

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return self.calls.shape[0]

    @property
    def n_sites(self) -> int:
        """Number of sites."""
        return self.calls.shape[1]

    @property
    def names(self) -> list[str]:
        """Sample names, in the order of the rows."""
        return self.samples["sample"].tolist()

    def take_samples(self, index: Any) -> GenotypeMatrix:
        """Return the matrix of the samples at `index` (integers or booleans), in that order."""
        rows = np.arange(self.n_samples)[index]
        return replace(
            self,
            calls=self.calls[rows],
            samples=self.samples.iloc[rows].reset_index(drop=True),
            haplotypes=None if self.haplotypes is None else self.haplotypes[rows],
            likelihoods=None if self.likelihoods is None else self.likelihoods[rows],
        )

    def take_sites(self, index: Any) -> GenotypeMatrix:
        """Return the matrix of the sites at `index` (integers or booleans), in that order."""
        columns = np.arange(self.n_sites)[index]
        return replace(
            self,
            calls=self.calls[:, columns],
            sites=self.sites.iloc[columns].reset_index(drop=True),
            haplotypes=None if self.haplotypes is None else self.haplotypes[:, columns],
            likelihoods=None if self.likelihoods is None else self.likelihoods[:, columns],
        )

    def hide(self, hidden: np.ndarray) -> GenotypeMatrix:
        """Return the matrix with calls set to missing where `hidden` is true, without haplotypes.

        Args:
            hidden: bool, (n_sites,) for whole sites or (n_samples, n_sites).
        """
        calls = np.where(np.broadcast_to(hidden, self.calls.shape), np.int8(MISSING), self.calls)
        return replace(self, calls=calls, haplotypes=None)

    def alt_frequency(self) -> np.ndarray:
        """Return the alternate allele's frequency in the calls of each site, float64 (n_sites,); NaN without calls."""
        called = self.calls != MISSING
        with np.errstate(invalid="ignore"):
            return np.where(called, self.calls, 0).sum(axis=0) / (2.0 * called.sum(axis=0))

    def maf(self) -> np.ndarray:
        """Return the rarer allele's frequency at each site, float64 (n_sites,); NaN without calls."""
        p = self.alt_frequency()
        return np.minimum(p, 1.0 - p)

    def r2_to_next(self) -> np.ndarray:
        """Return the r² of each site and the next, float64 (n_sites - 1,); NaN where the next is on another contig.

        It is the squared correlation of allele counts over the samples that have both calls (Rogers & Huff 2009: no
        phase is needed); 0 where one of the two sites does not vary.
        """
        first, second = self.calls[:, :-1], self.calls[:, 1:]
        both = (first != MISSING) & (second != MISSING)
        x, y = np.where(both, first, 0).astype(np.float64), np.where(both, second, 0).astype(np.float64)
        n = both.sum(axis=0)
        covariance = n * (x * y).sum(axis=0) - x.sum(axis=0) * y.sum(axis=0)
        spread = (n * (x**2).sum(axis=0) - x.sum(axis=0) ** 2) * (n * (y**2).sum(axis=0) - y.sum(axis=0) ** 2)
        r2 = np.divide(covariance**2, spread, out=np.zeros_like(spread), where=spread > 0)
        contigs = self.sites["contig"].to_numpy()
        return np.where(contigs[:-1] == contigs[1:], r2, np.nan)

    def genotype_frequencies(self, pseudo_count: float = 0.5) -> np.ndarray:
        """Return the share of genotypes 0, 1, 2 at each site, float32 (n_sites, 3); rows sum to 1.

        Args:
            pseudo_count: added to the count of each genotype.
        """
        counts = np.stack([(self.calls == g).sum(axis=0) for g in GENOTYPES], axis=1) + pseudo_count
        return (counts / counts.sum(axis=1, keepdims=True)).astype(np.float32)

    def site_keys(self) -> list[str]:
        """Return `contig:pos:ref:alt` of each site: sites with equal keys are the same site."""
        return site_keys(self.sites)

    def digest(self) -> str:
        """Return the SHA-256 (hex) of calls, phase, samples and sites: equal digests mean equal matrices."""
        h = hashlib.sha256(np.ascontiguousarray(self.calls).tobytes())
        if self.haplotypes is not None:
            h.update(np.ascontiguousarray(self.haplotypes, dtype=np.int8).tobytes())
        for table in (self.samples, self.sites):
            h.update(table.to_csv(index=False, sep="\t").encode())
        return h.hexdigest()


def numbered_samples(**counts: int) -> pd.DataFrame:
    """Return a samples table with numbered names: `p=2, t=1` gives p0, p1, t0.

    Such names are unique even where one sample is in both panel and target.
    """
    return pd.DataFrame({"sample": [f"{prefix}{i}" for prefix, n in counts.items() for i in range(n)]})


def site_keys(sites: pd.DataFrame) -> list[str]:
    """Return `contig:pos:ref:alt` of each row of a sites table."""
    return [f"{c}:{p}:{r}:{a}" for c, p, r, a in zip(sites.contig, sites.pos, sites.ref, sites.alt, strict=True)]


def contig_slices(sites: pd.DataFrame) -> Iterator[slice]:
    """Yield the rows of each contig of a sites table in which the sites of a contig stand together."""
    names = sites["contig"].to_numpy()
    borders = np.flatnonzero(names[1:] != names[:-1]) + 1
    for first, last in itertools.pairwise([0, *borders.tolist(), len(names)]):
        if last > first:
            yield slice(first, last)


def require_same_sites(expected: pd.DataFrame, found: pd.DataFrame, what: str) -> None:
    """Raise InputError that names the first difference unless two tables hold the same sites in the same order.

    Args:
        expected: the sites table that a model or panel was made with.
        found: the sites table of the data at hand.
        what: the subject of the message, as in "model bert".
    """
    wanted, present = site_keys(expected), site_keys(found)
    for number, (want, have) in enumerate(zip(wanted, present, strict=False), start=1):
        if want != have:
            raise InputError(
                f"{what} expects site {want} as number {number}, the target has {have}; give it the model's own sites"
            )
    if len(wanted) != len(present):
        if len(present) < len(wanted):
            difference = f"the first one missing is {wanted[len(present)]}"
        else:
            difference = f"the first one too many is {present[len(wanted)]}"
        raise InputError(f"{what} expects {len(wanted)} sites, the target has {len(present)}: {difference}")
