"""One way in: whatever file holds somebody's genotypes, checked to be enough for a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.io.filters import REASONS, SiteFilter
from snpimpute.io.plink import read_plink
from snpimpute.io.vcf import read_vcf

VCF_SUFFIXES = (".vcf", ".vcf.gz", ".vcf.bgz", ".bcf")
MIN_SITES = 10
MIN_SAMPLES = 2


def files_of(path: Path) -> list[Path]:
    """The files that the content of a genotype file lies in: itself and, of a .bed, its .bim and .fam."""
    return [path, path.with_suffix(".bim"), path.with_suffix(".fam")] if path.suffix == ".bed" else [path]


def read_genotypes(
    path: Path,
    *,
    region: str | None = None,
    samples: Sequence[str] | None = None,
    site_filter: SiteFilter | None = None,
    max_sites: int | None = 500,
    spool: Path | None = None,
) -> tuple[GenotypeMatrix, pd.DataFrame]:
    """Read the genotypes for a comparison from a VCF, BCF or PLINK 1 file, by the end of its name.

    Args:
        path: a file ending in .vcf, .vcf.gz, .bcf, or .bed with .bim and .fam beside it.
        region: `CONTIG` or `CONTIG:START-END` (1-based, both ends within), or several joined by `;`; None = all.
        samples: names of the samples to read, in the order wanted; None = all.
        site_filter: what a site must have to be kept; None = SiteFilter().
        max_sites: most sites that may remain after filtering; None = any number.
        spool: an empty folder to keep the calls in, for files larger than memory; None = in memory.

    Returns:
        The matrix, and the table of what was left out (columns `reason`, `n`; see filters.left_out_table).

    Raises:
        InputError: also where fewer than two samples, or fewer than ten sites, would remain.
    """
    path = Path(path)
    site_filter = site_filter or SiteFilter()
    if path.name.lower().endswith(VCF_SUFFIXES):
        read = read_vcf
    elif path.name.lower().endswith(".bed"):
        read = read_plink
    else:
        raise InputError(
            f"{path} is not a file that can be read: give one ending in .vcf, .vcf.gz, .bcf or .bed (PLINK 1, with .bim and .fam)"
        )
    matrix, left_out = read(
        path,
        region=region,
        samples=samples,
        site_filter=site_filter,
        max_sites=max_sites,
        min_samples=MIN_SAMPLES,
        spool=spool,
    )
    require_enough_sites(matrix, left_out, path.name)
    return matrix, left_out


def stem(path: Path) -> str:
    """The name of a genotype file without what says its format."""
    for suffix in sorted((*VCF_SUFFIXES, ".bed"), key=len, reverse=True):
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.name


def require_enough_sites(matrix: GenotypeMatrix, left_out: pd.DataFrame, source: str) -> None:
    """Raise InputError that says what was left out if fewer than ten sites remain."""
    if matrix.n_sites >= MIN_SITES:
        return
    n = dict(zip(left_out.reason, left_out.n, strict=True))
    if n["monomorphic"] == n["read"]:
        raise InputError(
            f"{source} has nothing to impute: all of its {n['read']} sites are monomorphic among the {matrix.n_samples} samples"
        )
    gone = ", ".join(f"{reason} {n[reason]}" for reason in REASONS if n[reason]) or "nothing"
    raise InputError(
        f"{source} leaves {matrix.n_sites} sites of {n['read']} read, and at least {MIN_SITES} are needed (left out: {gone})"
    )
