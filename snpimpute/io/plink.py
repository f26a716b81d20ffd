"""PLINK 1 file sets: bed, bim and fam as a stream of records, and written from a matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.io.filters import CALLS_PER_BLOCK, NoRecords, chosen_rows, parse_regions, require_contig
from snpimpute.io.records import NO_CALL, UNPHASED, Accept, Record, Stream, in_order, require_position, spelled_allele

BED_MISSING = -127
BED_MAGIC = b"\x6c\x1b\x01"
BIM_COLUMNS = ("contig", "id", "cm", "pos", "a1", "a2")
FAM_COLUMNS = ("family", "sample", "father", "mother", "sex", "phenotype")
SEXES = {"1": "male", "2": "female"}
SPELLED = np.array(["0/0", "0/1", "1/1", "./."])  # GT by call; -1 (missing) indexes the last one
ALLELES = np.array([[0, 0], [0, 1], [1, 1], [MISSING, MISSING]], dtype=np.int8)  # alleles by call, likewise


def plink_stream(
    path: Path,
    *,
    region: str | None = None,
    samples: Sequence[str] | None = None,
    accept: Accept | None = None,
    lines: bool = False,
) -> Stream:
    """Open a PLINK 1 file set as a stream.

    A1 is taken as the alternate allele and A2 as the reference, as plink2 writes them. PLINK 1.9 makes A1 the rarer
    allele unless told to keep the order, which exchanges 0 and 2 but changes nothing else. A bed is never phased.

    The stream's samples have `sample` (the individual id), `sex` ("male", "female" or empty) and `family`: the family
    id or, if that is 0 or equal to the individual id, the father's id.

    Args:
        path: the .bed file; .bim and .fam stand beside it.
        region, samples, accept, lines: see `stream.streamed`.

    Raises:
        InputError: a file is missing or broken, or lacks what is asked of it.
    """
    bim = plink_table(path.with_suffix(".bim"), BIM_COLUMNS)
    fam = plink_table(path.with_suffix(".fam"), FAM_COLUMNS)
    require_bed(path, len(fam), len(bim))
    names = unique_names(fam)
    rows = chosen_rows(names, samples, path.name)
    pos = pd.to_numeric(bim.pos, errors="coerce")
    if (odd := pos.isna() | (pos % 1 != 0)).any():
        raise InputError(f"{path.stem}.bim gives {bim.pos[odd].iloc[0]!r} as a position, which is not a whole number")
    bim["pos"] = pos.astype(np.int64)
    if len(bim):
        require_position(str(bim.contig[bim.pos.idxmax()]), int(bim.pos.max()), f"{path.stem}.bim")
    placed = bim[bim.pos > 0]  # a negative position says: leave this variant out; 0, that its place is not known
    unplaced = len(bim) - len(placed)
    notes = {f"variants without a place (position 0 or below), not read: {unplaced:,}"} if unplaced else set()
    wanted = placed if region is None else _in_region(placed, region, path.name)
    records = _records(path, bim, wanted, len(fam), None if samples is None else rows, accept, lines)
    own = fam.iloc[rows].reset_index(drop=True)
    table = sample_table(own).assign(sample=[names[row] for row in rows])
    return Stream(path.name, path, table, {}, "", in_order(records, path.name), notes, fam=own)


def unique_names(fam: pd.DataFrame) -> list[str]:
    """Return the individual ids, all as FID_IID if two families use the same one."""
    if fam["sample"].is_unique or fam.duplicated(["family", "sample"]).any():
        return fam["sample"].tolist()
    return [f"{family}_{name}" for family, name in zip(fam.family, fam["sample"], strict=True)]


def _in_region(bim: pd.DataFrame, region: str, source: str) -> pd.DataFrame:
    """Return the rows of the .bim in the regions; InputError if a region has none."""
    contigs = bim.contig.unique().tolist()
    wanted = np.zeros(len(bim), dtype=bool)
    for part in parse_regions(region):
        require_contig(part, contigs, source)
        within = part.holds(bim.contig, bim.pos)
        if not within.any():
            raise NoRecords(f"{source} has no records in {part.contig}:{part.start}-{part.end}")
        wanted |= within
    return bim[wanted]


def _records(
    path: Path,
    bim: pd.DataFrame,
    wanted: pd.DataFrame,
    n_samples: int,
    rows: np.ndarray | None,
    accept: Accept | None,
    lines: bool,
) -> Iterator[Record]:
    """Yield the wanted records of a bed, read in blocks of sites, with samples in the order of `rows` (None = all)."""
    from bed_reader import open_bed

    size = max(1, CALLS_PER_BLOCK // n_samples)
    bed_rows: Any = np.s_[:] if rows is None else rows
    with open_bed(path, iid_count=n_samples, sid_count=len(bim), properties={}) as bed:
        for start in range(0, len(wanted), size):
            sites: list[tuple[int, str, int, str, str, tuple[str, ...]]] = []
            for row in wanted.iloc[start : start + size].itertuples():
                alt, ref = spelled_allele(str(row.a1)), spelled_allele(str(row.a2))
                contig, pos = str(row.contig), int(row.pos)
                alts: tuple[str, ...] = () if alt in {"0", "."} else (alt,)
                if accept is None or accept(contig, pos, ref, alts, True):
                    sites.append((int(row.Index), contig, pos, "" if row.id == "." else str(row.id), ref, alts))
            if not sites:
                continue
            columns = [site[0] for site in sites]
            calls = bed.read(index=(bed_rows, columns), dtype="int8", order="F", num_threads=1)
            calls[calls == BED_MISSING] = MISSING
            for column, (_, contig, pos, name, ref, alts) in enumerate(sites):
                site_calls = calls[:, column]
                kinds = np.where(site_calls == MISSING, NO_CALL, UNPHASED).astype(np.int8)
                line = ""
                if lines:
                    fixed = [contig, str(pos), name or ".", ref, ",".join(alts) or ".", ".", "PASS", ".", "GT"]
                    line = "\t".join([*fixed, *SPELLED[site_calls]])
                yield Record(contig, pos, name, ref, alts, True, ALLELES[site_calls], kinds, line=line)


def sample_table(fam: pd.DataFrame) -> pd.DataFrame:
    """Return the samples table of a .fam; see `plink_stream`."""
    sire = fam.father.where(fam.father != "0", "")
    own_family = (fam.family != "0") & (fam.family != fam["sample"])
    table = {
        "sample": fam["sample"],
        "family": fam.family.where(own_family, sire),
        "sex": fam.sex.map(SEXES).fillna(""),
    }
    return pd.DataFrame(table).reset_index(drop=True)


def plink_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a .bim or .fam as a table of strings; InputError if it is missing, empty or has other columns."""
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
    """Raise InputError unless the file is a bed of so many samples and sites, one row of bytes per site."""
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
        path: the .bed file; .bim and .fam are written beside it. Each sample is a family of its own.
        matrix: the calls.
        site_names: names of the sites; None = their ids (`.` where empty).
        contigs: names of the sites' contigs; None = their own.
        phenotypes: phenotypes of the samples; None = missing (-9).
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
