"""Records of genotype files, the same for all formats, and streams of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import MISSING

if TYPE_CHECKING:
    from snpimpute.io.marks import ImputedMarks

LAST_POSITION = 2**31 - 1
# Kinds of calls: the codes in Record.kinds.
NO_CALL, HALF, HAPLOID, POLYPLOID, UNPHASED, PHASED = range(6)
N_KINDS = 6
UNSTATED = frozenset({"<NON_REF>", "<*>"})  # ALTs that name no allele
BASES = frozenset("ACGT")
ALLELE = re.compile(
    r"[ACGTN]+|\*|<[^<>\s,]+>|\.[ACGTN]+|[ACGTN]+\.|[ACGTN.]*[\[\]][^\[\]\s,]+[\[\]][ACGTN.]*", re.IGNORECASE
)

# (contig, position, REF, ALTs, True if FILTER is PASS or `.`) → True if the record's calls are wanted; alleles as in
# Record
Accept = Callable[[str, int, str, Sequence[str], bool], bool]


class Site(NamedTuple):
    """One row of a matrix's sites table."""

    contig: str
    pos: int
    id: str
    ref: str
    alt: str


@dataclass(frozen=True, eq=False, slots=True)
class Record:
    """One record with the calls of the wanted samples, in the order wanted.

    Attributes:
        contig, pos, id, ref: as in the file; pos 1-based, id empty if it is `.`, ref in capitals.
        alts: alternate alleles, bases in capitals; none if the file has `.` or only ALTs that name no allele (UNSTATED).
        passed: whether FILTER is PASS or `.`.
        alleles: int8 (n_samples, 2), the first two alleles of each call: 0 = REF, 1 and more = ALTs, below 0 = missing
            or absent.
        kinds: int8 (n_samples,), NO_CALL, HALF (`0/.`), HAPLOID, POLYPLOID, UNPHASED or PHASED.
        dosage: float32 (n_samples, n_alts) FORMAT/DS, (n_samples,) with one ALT, of haploid calls twice that; NaN = missing;
            None where the record has none or none was asked for.
        posterior: float32 (n_samples, n_genotypes) FORMAT/GP, diploid genotypes in VCF's order, haploid ones as homozygotes;
            NaN = missing; None likewise, or where it is of neither.
        likelihoods: float32 (n_samples, n_genotypes), the largest 1, see `likelihoods.likelihoods_of`; the calls are then the
            likeliest. None where none were asked for.
        quality: INFO/DR2 (or R2, or INFO), NaN where there is none; the first, where each ALT has its own.
        line: the VCF line, without its end; empty where none was asked for. A bed's is made up, with GT alone.
        has_calls: whether the record has GT at all.
        quality_key: INFO key that `quality` stands under; empty where there is none.
        qualities: of each ALT, where each has its own.
        phase_sets: whether the record has PS: calls are phased within sets alone.
        allele: number of the ALT among those of the file's record, of a part of a record (see `split`).
    """

    contig: str
    pos: int
    id: str
    ref: str
    alts: tuple[str, ...]
    passed: bool
    alleles: np.ndarray
    kinds: np.ndarray
    dosage: np.ndarray | None = None
    posterior: np.ndarray | None = None
    quality: float = np.nan
    line: str = ""
    has_calls: bool = True
    quality_key: str = ""
    qualities: tuple[float, ...] = ()
    phase_sets: bool = False
    allele: int = 1
    likelihoods: np.ndarray | None = None

    @property
    def calls(self) -> np.ndarray:
        """Number of alternate alleles, int8 (n_samples,), of a haploid call twice that; -1 unless all of the call is known."""
        copies = (self.alleles > 0).sum(axis=1, dtype=np.int8)
        haploid = self.kinds == HAPLOID
        return np.where((self.kinds >= UNPHASED) | haploid, copies << haploid, np.int8(MISSING))


@dataclass(frozen=True, eq=False)
class Stream:
    """Open genotype file.

    Attributes:
        name: name of the file, without its folder.
        path: path of the file.
        samples: table with the column `sample`, in the order wanted, and the columns that the format adds.
        contig_lengths: contig → length in bases, where the header gives it.
        header: of a VCF or BCF, or of the one made of a pgen; empty for a bed.
        records: in order of position, the records of a contig together.
        notes: what the reader noticed and a user should know; complete when all records are read.
        fam: of PLINK files the columns of the .fam or .psam as they stand there (plink.FAM_COLUMNS); None of others.
        marks: by which imputed calls are told, and how many were; None where they are not told.
    """

    name: str
    path: Path
    samples: pd.DataFrame
    contig_lengths: dict[str, int]
    header: str
    records: Iterator[Record]
    notes: set[str] = field(default_factory=set)
    fam: pd.DataFrame | None = None
    marks: ImputedMarks | None = None

    @property
    def names(self) -> list[str]:
        """Sample names, in order."""
        return self.samples["sample"].tolist()


def split(record: Record) -> list[Record]:
    """Return a record of each ALT, in which calls, dosages and posteriors count that ALT's copies.

    A record with one ALT or none is returned as it is. ALTs that name no allele (UNSTATED) are left out unless a call has them.
    """
    if len(record.alts) < 2:
        return [record]
    parts = []
    for number, alt in enumerate(record.alts, start=1):
        copies = record.alleles == number
        if alt in UNSTATED and not copies.any():
            continue
        parts.append(
            replace(
                record,
                alts=(alt,),
                alleles=np.where(record.alleles < 0, record.alleles, copies).astype(np.int8),
                dosage=None if record.dosage is None else record.dosage[:, number - 1],
                posterior=None if record.posterior is None else record.posterior @ copies_of(number, len(record.alts)),
                quality=record.qualities[number - 1] if len(record.qualities) == len(record.alts) else record.quality,
                allele=number,
                likelihoods=None
                if record.likelihoods is None
                else _of_copies(record.likelihoods, number, len(record.alts)),
            )
        )
    return parts


def _of_copies(likelihoods: np.ndarray, allele: int, n_alts: int) -> np.ndarray:
    """Return likelihoods of 0, 1, 2 copies of an allele, float32 (n_samples, 3): of the likeliest genotype with so many."""
    copies = (genotypes_of(n_alts) == allele).sum(axis=1)
    of_copies = np.stack([likelihoods[:, copies == n].max(axis=1) for n in range(3)], axis=1)
    return of_copies / of_copies.max(axis=1, keepdims=True)


def genotypes_of(n_alts: int) -> np.ndarray:
    """Return the diploid genotypes in VCF's order, int64 (n_genotypes, 2): 0/0, 0/1, 1/1, 0/2, 1/2, 2/2, …"""
    return np.array([(first, second) for second in range(n_alts + 1) for first in range(second + 1)])


def homozygous(n_alts: int) -> np.ndarray:
    """Return int64 (n_alts + 1,): the places of the homozygotes of each allele in `genotypes_of`."""
    return np.flatnonzero(np.equal(*genotypes_of(n_alts).T))


def copies_of(allele: int, n_alts: int) -> np.ndarray:
    """Return float32 (n_genotypes, 3): 1 where a genotype has so many copies of an allele."""
    return np.eye(3, dtype=np.float32)[(genotypes_of(n_alts) == allele).sum(axis=1)]


def spelled_allele(text: str) -> str:
    """Return bases in capitals, and other alleles (`<DEL>`, breakends) as they are: names in them may have small letters."""
    return text.upper() if text.isalpha() else text


def is_allele(text: str) -> bool:
    """Return whether an allele is one of VCF: bases, `*`, a name in angle brackets, a breakend; not 1, B, I, D or -."""
    return text in BASES or ALLELE.fullmatch(text) is not None


def require_position(contig: str, pos: int, source: str) -> None:
    """Raise InputError if a position is larger than BCF and PLINK hold, whose readers cut it to another one."""
    if pos > LAST_POSITION:
        raise InputError(f"{source} is broken at {contig}:{pos}: no position is larger than {LAST_POSITION:,}")


def in_order(records: Iterator[Record], source: str) -> Iterator[Record]:
    """Pass records on; InputError at the first that is not in order of position within its contig."""
    contig, pos, done = "", 0, set()
    for record in records:
        if record.contig != contig:
            done.add(contig)
            contig, pos = record.contig, 0
        if record.contig in done or record.pos < pos:
            raise InputError(
                f"{source} is not in order of position at {record.contig}:{record.pos}: sort it (bcftools sort; plink1.9 --make-bed; plink2 --sort-vars)"
            )
        pos = record.pos
        yield record


def ends_in_order(contigs: Sequence[str], positions: np.ndarray) -> dict[str, int] | None:
    """Return the last position of each contig, in order; None where sites are not in order of position, contig by contig.

    Args:
        contigs: contig of each site.
        positions: int (n_sites,).
    """
    ends: dict[str, int] = {}
    steps = np.diff(pd.factorize(np.asarray(contigs, dtype=object))[0])
    if (steps < 0).any() or (np.diff(positions)[steps == 0] < 0).any():
        return None
    for row in np.flatnonzero(np.append(steps != 0, bool(len(contigs)))).tolist():
        ends[contigs[row]] = int(positions[row])
    return ends
