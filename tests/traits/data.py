"""Genotypes and traits that the tests of this room share: unrelated samples with dosages, and families of full sibs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.traits.dosages import Dosages
from snpimpute.traits.phenotypes import Trait

GRID = 16_384  # of dosages in plink2


def sites_of(contigs: list[str], n: int) -> pd.DataFrame:
    """A table of n sites on each contig, a thousand bases apart."""
    rows = [(contig, 1000 * (j + 1), f"rs{i}_{j}", "A", "C") for i, contig in enumerate(contigs) for j in range(n)]
    return pd.DataFrame(rows, columns=["contig", "pos", "id", "ref", "alt"])


def dosages_of(values: np.ndarray, sites: pd.DataFrame, quality: np.ndarray | None = None) -> Dosages:
    names = [f"s{i}" for i in range(len(values))]
    quality = np.full(len(sites), np.nan) if quality is None else quality
    return Dosages(values.astype(np.float32), names, sites, quality, "genotypes", "DS")


def unrelated(
    n: int = 300, per_contig: int = 30, contigs: tuple[str, ...] = ("23", "chrUn_1"), seed: int = 1
) -> Dosages:
    """Unrelated samples: half of the dosages are imputed (not whole), some missing."""
    rng = np.random.default_rng(seed)
    p = per_contig * len(contigs)
    values = rng.binomial(2, rng.uniform(0.05, 0.5, p), (n, p)).astype(float)
    soft = np.clip(values + rng.normal(0, 0.3, values.shape), 0, 2)
    values = np.where(rng.random(values.shape) < 0.5, np.rint(soft * GRID) / GRID, values)
    values[rng.random(values.shape) < 0.03] = np.nan
    return dosages_of(values, sites_of(list(contigs), per_contig))


def families(rng: np.random.Generator, n_families: int = 50, size: int = 4, p: int = 400) -> tuple[Dosages, np.ndarray]:
    """Full sibs at unlinked sites of four contigs, and breeding values of variance 1 of loci that are not among them."""
    frequency = rng.uniform(0.1, 0.5, p)
    parents = rng.random((2, n_families, 2, p)) < frequency  # sex, family, haplotype, site
    values, breeding = [], []
    of_parents = rng.normal(size=(2, n_families))
    for family in range(n_families):
        for _ in range(size):
            handed = [np.where(rng.random(p) < 0.5, *parents[sex, family]) for sex in range(2)]
            values.append(handed[0].astype(float) + handed[1])
            breeding.append(of_parents[:, family].mean() + rng.normal() * np.sqrt(0.5))
    return dosages_of(np.array(values), sites_of(list("1234"), p // 4)), np.array(breeding)


def trait_with(
    dosages: Dosages, values: np.ndarray, covariates: np.ndarray | None = None, binary: bool = False
) -> Trait:
    n = dosages.n_samples
    columns = np.empty((n, 0)) if covariates is None else covariates
    names = tuple(f"c{k}" for k in range(columns.shape[1]))
    return Trait("y", dosages.samples, np.arange(n), np.asarray(values, dtype=float), binary, columns, names)


def ld_calls(n: int, p: int, seed: int, switch: float = 0.05, n_founders: int = 12) -> np.ndarray:
    """Calls int8 (n, p) of haplotypes that are mosaics of a few founders: neighbours are in LD."""
    rng = np.random.default_rng(seed)
    founders = rng.random((n_founders, p)) < rng.uniform(0.1, 0.5, p)
    founders[0] = ~founders[1]  # every site varies
    switches = rng.random((2 * n, p)) < switch
    switches[:, 0] = True
    drawn = rng.integers(n_founders, size=(2 * n, p))
    last = np.maximum.accumulate(np.where(switches, np.arange(p), 0), axis=1)
    chosen = np.take_along_axis(drawn, last, axis=1)
    alleles = founders[chosen, np.arange(p)]
    return (alleles[:n].astype(np.int8) + alleles[n:]).astype(np.int8)


def matrix_of(calls: np.ndarray, contig: str = "1") -> GenotypeMatrix:
    samples = pd.DataFrame({"sample": [f"s{i}" for i in range(len(calls))]})
    return GenotypeMatrix(calls, samples, sites_of([contig], calls.shape[1]))


def write_traits(path: Path, **columns: np.ndarray) -> Path:
    n = len(next(iter(columns.values())))
    table = pd.DataFrame({"sample": [f"s{i}" for i in range(n)], **columns})
    table.to_csv(path, sep="\t", index=False, na_rep="NA")
    return path
