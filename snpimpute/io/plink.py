"""PLINK 1: reading bed, bim and fam into a GenotypeMatrix, and writing them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.io.filters import Gatherer, Site, SiteFilter, chosen_rows, parse_regions, require_contig

BED_MISSING = -127
BED_MAGIC = b"\x6c\x1b\x01"
BIM_COLUMNS = ("contig", "id", "cm", "pos", "a1", "a2")
FAM_COLUMNS = ("family", "sample", "father", "mother", "sex", "phenotype")
SEXES = {"1": "male", "2": "female"}


def read_plink(
    path: Path,
    *,
    region: str | None = None,
    samples: Sequence[str] | None = None,
    site_filter: SiteFilter | None = None,
    max_sites: int | None = None,
    min_samples: int = 1,
    spool: Path | None = None,
) -> tuple[GenotypeMatrix, pd.DataFrame]:
    """Read the biallelic SNPs of a PLINK 1 file set.

    A1 is taken as the alternate allele and A2 as the reference, as plink2 writes them; PLINK 1.9 makes A1 the rarer
    allele unless told to keep the order, which turns 0 into 2 but changes nothing else. A bed is never phased.

    Args:
        path: the .bed file; .bim and .fam stand beside it.
        region: `CONTIG` or `CONTIG:START-END` (1-based, both ends within), or several joined by `;`.
        samples: names (individual ids) of the samples to read, in the order wanted; None = all.
        site_filter: what a site must have to be kept; None keeps every biallelic SNP.
        max_sites: most sites to keep; more are refused. None = any number.
        min_samples: fewest samples that will do.
        spool: an empty folder to keep the calls in, for files larger than memory; None = in memory.

    Returns:
        The matrix, and the table of what was left out (filters.left_out_table). The samples table has `sample` (the
        individual id), `sex` ("male", "female" or empty) and `family`: the family id or, where that is 0 or the
        individual id again, the father's id.

    Raises:
        InputError: a file is missing, broken or not PLINK's, not in order, or without what was asked of it.
    """
    from bed_reader import open_bed

    path = Path(path)
    where = None if region is None else parse_regions(region)
    bim = plink_table(path.with_suffix(".bim"), BIM_COLUMNS)
    fam = plink_table(path.with_suffix(".fam"), FAM_COLUMNS)
    require_bed(path, len(fam), len(bim))
    rows = chosen_rows(fam["sample"].tolist(), samples, path.name)
    if len(rows) < min_samples:
        raise InputError(f"{path.name} gives {len(rows)} sample: at least {min_samples} are needed")
    pos = pd.to_numeric(bim.pos, errors="coerce")
    if pos.isna().any():
        raise InputError(f"{path.stem}.bim gives {bim.pos[pos.isna()].iloc[0]!r} as a position, which is not a number")
    bim["pos"] = pos.astype(np.int64)
    n_sites = len(bim)
    if where is not None:
        contigs = bim.contig.unique().tolist()
        wanted = np.zeros(len(bim), dtype=bool)
        for part in where:
            require_contig(part, contigs, path.name)
            within = (bim.contig == part.contig) & bim.pos.between(part.start, part.end)
            if not within.any():
                raise InputError(f"{path.name} has no records in {part.contig}:{part.start}-{part.end}")
            wanted |= within.to_numpy()
        bim = bim[wanted]
    gatherer = Gatherer(path.name, len(rows), site_filter, max_sites, spool)
    with open_bed(path, iid_count=len(fam), sid_count=n_sites, properties={}) as bed:
        _gather(gatherer, bed, bim, rows)
    return gatherer.finish(_sample_table(fam.iloc[rows]))


def _gather(gatherer: Gatherer, bed: Any, bim: pd.DataFrame, rows: np.ndarray) -> None:
    """Feed the records of `bim` to the gatherer, and the calls of the accepted ones, a block of sites at a time."""
    for start in range(0, len(bim), gatherer.block_size):
        block = bim.iloc[start : start + gatherer.block_size]
        sites, columns = [], []
        for column, contig, name, pos, a1, a2 in zip(
            block.index, block.contig, block.id, block.pos, block.a1.str.upper(), block.a2.str.upper(), strict=True
        ):
            if gatherer.accepts(contig, pos, a2, [] if a1 in {"0", "."} else [a1], passed=True):
                sites.append(Site(contig, pos, "" if name == "." else name, a2, a1))
                columns.append(column)
        if sites:
            calls = bed.read(index=(rows, columns), dtype="int8", order="C", num_threads=1)
            gatherer.add(sites, np.where(calls == BED_MISSING, np.int8(MISSING), calls), None)


def _sample_table(fam: pd.DataFrame) -> pd.DataFrame:
    sire = fam.father.where(fam.father != "0", "")
    own_family = (fam.family != "0") & (fam.family != fam["sample"])
    table = {
        "sample": fam["sample"],
        "family": fam.family.where(own_family, sire),
        "sex": fam.sex.map(SEXES).fillna(""),
    }
    return pd.DataFrame(table).reset_index(drop=True)


def plink_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A .bim or .fam as strings."""
    if not path.is_file():
        raise InputError(f"{path} is not there: a PLINK 1 file set is .bed, .bim and .fam side by side")
    rows = [line.split() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    for number, row in enumerate(rows, start=1):
        if len(row) != len(columns):
            raise InputError(
                f"{path.name} is not a PLINK 1 file: line {number} has {len(row)} columns, not {len(columns)}"
            )
    if not rows:
        raise InputError(f"{path.name} is empty")
    return pd.DataFrame(rows, columns=list(columns))


def require_bed(path: Path, n_samples: int, n_sites: int) -> None:
    if not path.is_file():
        raise InputError(f"{path} is not there")
    with path.open("rb") as handle:
        if handle.read(len(BED_MAGIC)) != BED_MAGIC:
            raise InputError(
                f"{path.name} is not a PLINK 1 bed (one row of bytes per site): plink1.9 --make-bed makes one"
            )
    expected = len(BED_MAGIC) + n_sites * -(-n_samples // 4)
    if path.stat().st_size != expected:
        raise InputError(
            f"{path.name} has {path.stat().st_size} bytes where {n_samples} samples × {n_sites} sites take {expected}: "
            f"it is truncated, or .bim and .fam are of another file set"
        )


def write_bed(
    path: Path,
    matrix: GenotypeMatrix,
    *,
    site_names: Sequence[str] | None = None,
    contigs: Sequence[str] | None = None,
    phenotypes: Sequence[str] | None = None,
) -> None:
    """Write calls as a PLINK 1 file set; A1 is the alternate allele.

    Args:
        path: the .bed file; .bim and .fam are written beside it. Families are the samples themselves.
        matrix: the calls.
        site_names: names of the sites; the sites' ids (`.` where empty) if None.
        contigs: what the sites' contigs are called; their own names if None.
        phenotypes: of the samples; missing (-9) if None.
    """
    from bed_reader import to_bed

    sites = matrix.sites
    calls = np.where(matrix.calls == MISSING, np.int8(BED_MISSING), matrix.calls)
    properties = {
        "fid": matrix.names,
        "iid": matrix.names,
        "pheno": ["-9"] * matrix.n_samples if phenotypes is None else list(phenotypes),
        "chromosome": sites["contig"].tolist() if contigs is None else list(contigs),
        "sid": [name or "." for name in sites["id"]] if site_names is None else list(site_names),
        "bp_position": sites["pos"].tolist(),
        "allele_1": sites["alt"].tolist(),
        "allele_2": sites["ref"].tolist(),
    }
    to_bed(path, calls, properties=properties, count_A1=True, num_threads=1)
