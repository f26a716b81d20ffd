"""Genotype files read record by record, so that memory does not grow with their length."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import MISSING
from snpimpute.io.filters import CALLS_PER_BLOCK, chosen_rows
from snpimpute.io.plink import BED_MISSING, BIM_COLUMNS, FAM_COLUMNS, plink_table, require_bed
from snpimpute.io.read import VCF_SUFFIXES
from snpimpute.io.vcf import htslib_messages, open_vcf, require_whole, vcf_records

# What a call is, the codes of StreamedRecord.kinds.
NO_CALL, HALF, HAPLOID, POLYPLOID, UNPHASED, PHASED = range(6)
N_KINDS = 6
PLINK_CALLS = np.array(["0/0", "0/1", "1/1", "./."])  # by the number of alternate alleles; -1 is the last
# Names under which programs keep their own estimate of r², the first that is there is taken: Beagle, minimac, IMPUTE.
QUALITY_KEYS = ("DR2", "R2", "INFO")


@dataclass(frozen=True, eq=False, slots=True)
class StreamedRecord:
    """One record with the calls of all samples.

    Attributes:
        contig, pos, id, ref: as in the file; pos 1-based, id empty where it is `.`, ref in upper case.
        alts: alternate alleles in upper case, none where the file has `.`.
        passed: whether FILTER is PASS or `.`.
        calls: int8 (n_samples,), copies of alternate alleles; -1 unless the call has exactly two known alleles.
        kinds: int8 (n_samples,), NO_CALL, HALF (`0/.`), HAPLOID, POLYPLOID, UNPHASED or PHASED.
        dosage: float32 (n_samples,) FORMAT/DS, NaN = missing; None where the record has none or none was asked for.
        posterior: float32 (n_samples, 3) FORMAT/GP, NaN = missing; None likewise, or where it is not of three genotypes.
        quality: INFO/DR2 (or R2, or INFO), NaN where there is none.
        line: the VCF line, without its end; empty where none was asked for. A bed's is made up, with GT alone.
    """

    contig: str
    pos: int
    id: str
    ref: str
    alts: tuple[str, ...]
    passed: bool
    calls: np.ndarray
    kinds: np.ndarray
    dosage: np.ndarray | None = None
    posterior: np.ndarray | None = None
    quality: float = np.nan
    line: str = ""


@dataclass(frozen=True, eq=False)
class Stream:
    """An open genotype file.

    Attributes:
        name: of the file, without its folder.
        path: of the file.
        samples: sample names, in order.
        contig_lengths: contig → length in bases, where the header gives it.
        header: of a VCF or BCF; empty for a bed.
        records: in order of position, the records of a contig together.
    """

    name: str
    path: Path
    samples: list[str]
    contig_lengths: dict[str, int]
    header: str
    records: Iterator[StreamedRecord]


@contextmanager
def streamed(*paths: Path, dosages: bool = False, lines: bool = False) -> Iterator[tuple[Stream, ...]]:
    """Open genotype files (VCF, BCF, or PLINK 1 by its .bed) to be read side by side, record by record.

    Args:
        paths: the files.
        dosages: whether to read DS, GP and the estimated r² as well.
        lines: whether records come with their line of text.

    Raises:
        InputError: when opening, a file is missing, broken, of another kind, or names no samples or one twice; while
            reading, it is broken, not in order of position, has no records or no genotypes.
    """
    with ExitStack() as opened, warnings.catch_warnings():
        messages = opened.enter_context(htslib_messages())
        yield tuple(_stream(Path(path), dosages, lines, messages) for path in paths)


def contigs_in_order(path: Path) -> list[str]:
    """The contigs that a file has records of, in their order; the records are passed over without reading their calls."""
    path = Path(path)
    if path.name.lower().endswith(".bed"):
        return list(dict.fromkeys(plink_table(path.with_suffix(".bim"), BIM_COLUMNS).contig))
    with htslib_messages() as messages:
        require_whole(path)
        vcf = open_vcf(path, messages)
        vcf.set_samples([])
        return list(dict.fromkeys(record.CHROM for record in vcf_records(vcf, path, None, messages)))


def _stream(path: Path, dosages: bool, lines: bool, messages: Callable[[], list[str]]) -> Stream:
    if path.name.lower().endswith(VCF_SUFFIXES):
        return _vcf_stream(path, dosages, lines, messages)
    if path.name.lower().endswith(".bed"):
        return _plink_stream(path, lines)
    raise InputError(
        f"{path} is not a file that can be read: give one ending in .vcf, .vcf.gz, .bcf or .bed (PLINK 1, with .bim and .fam)"
    )


def _vcf_stream(path: Path, dosages: bool, lines: bool, messages: Callable[[], list[str]]) -> Stream:
    require_whole(path)
    vcf = open_vcf(path, messages)
    names = list(vcf.samples)
    chosen_rows(names, None, path.name)
    lengths = re.findall(r"##contig=<ID=([^,>]+),(?:[^>\n]*,)?length=(\d+)", vcf.raw_header)
    records = _decoded_records(vcf_records(vcf, path, None, messages), len(names), dosages, lines, path.name)
    by_contig = {contig: int(n) for contig, n in lengths}
    return Stream(path.name, path, names, by_contig, vcf.raw_header, _ordered(records, path.name))


def _decoded_records(
    records: Iterator[Any], n_samples: int, dosages: bool, lines: bool, source: str
) -> Iterator[StreamedRecord]:
    any_calls = False
    for record in records:
        formats = record.FORMAT
        any_calls |= "GT" in formats
        calls, kinds = _decoded(record, n_samples, source) if "GT" in formats else _no_calls(n_samples)
        dosage = posterior = None
        quality = np.nan
        if dosages:
            if "DS" in formats:
                dosage = np.array(record.format("DS")[:, 0], dtype=np.float32)
            if "GP" in formats:
                table = np.array(record.format("GP"), dtype=np.float32)
                posterior = table if table.shape == (n_samples, 3) else None
            quality = next(
                (value for key in QUALITY_KEYS if (value := _number(record.INFO.get(key))) is not None), quality
            )
        alts = tuple(alt.upper() for alt in record.ALT)
        yield StreamedRecord(
            record.CHROM, record.POS, record.ID or "", record.REF.upper(), alts, record.FILTER is None,
            calls, kinds, dosage, posterior, quality, str(record).rstrip("\n") if lines else "",
        )  # fmt: skip
    if not any_calls:
        raise InputError(f"{source} has no genotypes: its records have no GT")


def _number(value: Any) -> float | None:
    """An INFO value as a number, the first of several, as it was spelled and not as single precision has it; None where it is none."""
    if isinstance(value, tuple):
        value = value[0] if value else None
    return round(float(value), 6) if isinstance(value, int | float) else None


def _no_calls(n_samples: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full(n_samples, MISSING, dtype=np.int8), np.full(n_samples, NO_CALL, dtype=np.int8)


def _decoded(record: Any, n_samples: int, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Calls and kinds, int8 (n_samples,), of a record that has GT; InputError at a call of an allele that it has not."""
    # Owns its data. Columns: the alleles (-1 = missing, -2 = the call has fewer than the longest one), then the phase.
    table = record.genotype.array()
    if table[:, :-1].max() > len(record.ALT):
        raise InputError(
            f"{source} is broken: {record.CHROM}:{record.POS} has calls of alternate allele {table[:, :-1].max()}, and "
            f"{len(record.ALT)} in ALT"
        )
    calls, kinds = _no_calls(n_samples)
    if table.shape[1] == 2:
        kinds[table[:, 0] >= 0] = HAPLOID
        return calls, kinds
    first, second, phase = table[:, 0], table[:, 1], table[:, -1]
    diploid = (first >= 0) & (second >= 0)
    if table.shape[1] > 3:
        longer = table[:, 2] != -2
        diploid &= ~longer
        kinds[longer & (table[:, :-1] >= 0).any(axis=1)] = POLYPLOID
    calls[diploid] = (first[diploid] > 0).astype(np.int8) + (second[diploid] > 0)
    kinds[diploid] = np.where(phase[diploid] == 1, PHASED, UNPHASED)
    odd = (kinds == NO_CALL) & ((first >= 0) | (second >= 0))
    if odd.any():
        kinds[odd] = np.where(second[odd] == -2, HAPLOID, HALF)
    return calls, kinds


def _plink_stream(path: Path, lines: bool) -> Stream:
    bim = plink_table(path.with_suffix(".bim"), BIM_COLUMNS)
    fam = plink_table(path.with_suffix(".fam"), FAM_COLUMNS)
    require_bed(path, len(fam), len(bim))
    names = fam["sample"].tolist()
    chosen_rows(names, None, path.name)
    return Stream(path.name, path, names, {}, "", _ordered(_plink_records(path, bim, len(fam), lines), path.name))


def _plink_records(path: Path, bim: pd.DataFrame, n_samples: int, lines: bool) -> Iterator[StreamedRecord]:
    """The records of a bed; A1 is the alternate allele, as in io.plink."""
    from bed_reader import open_bed

    size = max(1, CALLS_PER_BLOCK // n_samples)
    with open_bed(path, iid_count=n_samples, sid_count=len(bim), properties={}) as bed:
        for start in range(0, len(bim), size):
            block = bim.iloc[start : start + size]
            calls = bed.read(index=np.s_[:, start : start + len(block)], dtype="int8", order="F", num_threads=1)
            calls[calls == BED_MISSING] = MISSING
            for column, row in enumerate(block.itertuples(index=False)):
                alt = str(row.a1).upper()
                here = calls[:, column].copy()
                kinds = np.where(here == MISSING, NO_CALL, UNPHASED).astype(np.int8)
                name = "" if row.id == "." else str(row.id)
                alts = () if alt in {"0", "."} else (alt,)
                pos, ref = _position(row.pos, path), str(row.a2).upper()
                fixed = [str(row.contig), str(pos), name or ".", ref, ",".join(alts) or ".", ".", "PASS", ".", "GT"]
                line = "\t".join([*fixed, *PLINK_CALLS[here]]) if lines else ""
                yield StreamedRecord(str(row.contig), pos, name, ref, alts, True, here, kinds, line=line)


def _position(text: Any, path: Path) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"{path.stem}.bim gives {text!r} as a position, which is not a number") from None


def _ordered(records: Iterator[StreamedRecord], source: str) -> Iterator[StreamedRecord]:
    """The records; InputError at the first that is not in order of position within its contig."""
    contig, pos, done = "", 0, set()
    for record in records:
        if record.contig != contig:
            done.add(contig)
            contig, pos = record.contig, 0
        if record.contig in done or record.pos < pos:
            raise InputError(
                f"{source} is not in order of position at {record.contig}:{record.pos}: sort it (bcftools sort; plink1.9 --make-bed)"
            )
        pos = record.pos
        yield record
