"""VCF and BCF as a stream of records, read by htslib, whose messages are caught and checked."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import MISSING
from snpimpute.io.bgzf import has_end_block, is_bgzipped
from snpimpute.io.filters import NoGenotypes, NoRecords, Region, chosen_rows, parse_regions, require_contig
from snpimpute.io.likelihoods import likeliest_calls, likelihoods_of
from snpimpute.io.marks import ImputedMarks
from snpimpute.io.records import (
    HALF,
    HAPLOID,
    NO_CALL,
    PHASED,
    POLYPLOID,
    UNPHASED,
    UNSTATED,
    Accept,
    Record,
    Stream,
    homozygous,
    in_order,
    require_position,
    spelled_allele,
)

VCF_SUFFIXES = (".vcf", ".vcf.gz", ".vcf.bgz", ".bcf")
# Names under which programs keep their own estimate of r², the first that is there is taken: Beagle, minimac, IMPUTE.
QUALITY_KEYS = ("DR2", "R2", "INFO", "INFO_SCORE")
NO_INTEGER = -(2**31) + 1  # htslib's numbers for a missing integer and for one behind the last
CONTIG_ID = re.compile(r"(##contig=<ID=)([^,>]+)")

logger = logging.getLogger(__name__)

MOST_ALTS = 127  # alleles are int8


def vcf_stream(
    path: Path,
    messages: Messages,
    *,
    region: str | None = None,
    samples: Sequence[str] | None = None,
    accept: Accept | None = None,
    dosages: bool = False,
    lines: bool = False,
    likelihoods: str | None = None,
    observed: bool = False,
    contigs: Mapping[str, str] | None = None,
) -> Stream:
    """Open a VCF (plain, gzipped or bgzipped) or BCF as a stream.

    Args:
        path: the file.
        messages: returns what htslib has printed so far (see `htslib_messages`).
        region, samples, accept, dosages, lines, likelihoods, observed: see `stream.streamed`.
        contigs: contig in the file → the name that it has in records and header; others keep theirs.

    Raises:
        InputError: see `stream.streamed`.
    """
    require_whole(path)
    vcf = open_vcf(path, messages)
    try:
        own_names, header = list(vcf.samples), vcf.raw_header
    except UnicodeDecodeError:
        raise InputError(f"{path.name} is broken (its header is no UTF-8 text): make or fetch it again") from None
    renamed = contigs or {}
    header = CONTIG_ID.sub(lambda found: found[1] + renamed.get(found[2], found[2]), header)
    rows = chosen_rows(own_names, samples, path.name)
    names = [own_names[row] for row in rows]
    where = [] if region is None else parse_regions(region)
    if where:
        _require_index(path)
    for part in where:
        require_contig(part, vcf.seqnames, path.name)
    if samples is not None:
        vcf.set_samples(names)
        rows = np.argsort(np.argsort(rows))
    notes: set[str] = set()
    lengths = re.findall(r"##contig=<ID=([^,>]+),(?:[^>\n]*,)?length=(\d+)", header)
    found = chain.from_iterable(vcf_records(vcf, path, part, messages) for part in (where or (None,)))
    marks = ImputedMarks(header) if observed else None
    records = decoded_records(
        found,
        None if samples is None else rows,
        len(names),
        accept,
        dosages,
        lines,
        path.name,
        notes,
        renamed,
        likelihoods,
        marks,
    )
    by_contig = {contig: int(n) for contig, n in lengths}
    table = pd.DataFrame({"sample": names})
    return Stream(path.name, path, table, by_contig, header, in_order(records, path.name), notes, marks=marks)


def decoded_records(
    records: Iterator[Any],
    rows: np.ndarray | None,
    n_samples: int,
    accept: Accept | None,
    dosages: bool,
    lines: bool,
    source: str,
    notes: set[str],
    contigs: Mapping[str, str],
    use: str | None,
    marks: ImputedMarks | None,
) -> Iterator[Record]:
    """Yield htslib's records, or others of the same form (see vcz_records), decoded, with the samples at `rows` in that order (None = all).

    With `use`, a FORMAT field of likelihoods, calls are the likeliest by it; else those that `marks` tell are missing.
    """
    any_calls = any_record = False
    for record in records:
        try:
            contig, pos, ref = contigs.get(record.CHROM, record.CHROM), record.start + 1, (record.REF or "").upper()
            alts = tuple(map(spelled_allele, record.ALT))
            unnamed = bool(alts) and UNSTATED.issuperset(alts)
            alts = () if unnamed else alts
            passed, formats, name = record.FILTER is None, record.FORMAT, record.ID or ""
        except InputError:
            raise
        except Exception as error:  # text that is no text, or a record that lacks a column
            raise InputError(f"{source} is broken ({error}): make or fetch it again") from None
        if not ref or pos < 1:
            raise InputError(
                f"{source} is broken at {contig}:{pos}: it has {'no REF' if not ref else 'no position'} there"
            )
        require_position(contig, pos, source)
        if accept is not None and not accept(contig, pos, ref, alts, passed):
            continue
        if len(alts) > MOST_ALTS:
            raise InputError(
                f"{source} has {len(alts)} ALTs at {contig}:{pos}, more than the {MOST_ALTS} that can be told apart: split "
                "that record (bcftools norm -m -any), or leave it out"
            )
        if not formats and n_samples and str(record).count("\t") < 9:
            raise InputError(f"{source} is broken at {contig}:{pos}: the record ends before its calls")
        any_record = True
        any_calls |= (use or "GT") in formats or (dosages and ("DS" in formats or "GP" in formats))
        try:
            alleles, kinds = _decoded_calls(record, source) if "GT" in formats else _no_calls(n_samples)
            likelihoods = None
            if use is not None:
                table = _numbers(record, use, n_samples, source) if use in formats else None
                place = f"{source} is broken at {contig}:{pos}"
                likelihoods, one_copy = likelihoods_of(table, use, n_samples, len(alts), place)
                alleles, kinds = likeliest_calls(likelihoods, one_copy, alts)
            elif marks is not None:
                marks.clear(record, alleles, kinds)
            if unnamed and (of_none := (alleles > 0).any(axis=1)).any():
                alleles[of_none], kinds[of_none] = MISSING, NO_CALL
                notes.add("calls of an ALT that names no allele (<NON_REF>, <*>) are taken as missing")
            haploid = kinds == HAPLOID
            dosage = _dosage(record, haploid, source) if dosages and "DS" in formats else None
            posterior = _posterior(record, haploid, source, notes) if dosages and "GP" in formats else None
            quality, quality_key, qualities = _quality(record) if dosages else (np.nan, "", ())
            line = "\t".join([contig, str(record).rstrip("\n").split("\t", 1)[1]]) if lines else ""
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{source} is broken at {contig}:{pos} ({error}): make or fetch it again") from None
        if rows is not None:
            alleles, kinds = alleles[rows], kinds[rows]
            likelihoods = None if likelihoods is None else likelihoods[rows]
        yield Record(
            contig,
            pos,
            name,
            ref,
            alts,
            passed,
            alleles,
            kinds,
            dosage,
            posterior,
            quality,
            line,
            has_calls="GT" in formats,
            quality_key=quality_key,
            qualities=qualities,
            phase_sets="PS" in formats,
            likelihoods=likelihoods,
        )
    if marks is not None:
        notes |= marks.notes()
    if any_record and not any_calls:
        raise NoGenotypes(f"{source} has no genotypes: its records have no {use or 'GT'}")


def _quality(record: Any) -> tuple[float, str, tuple[float, ...]]:
    """The program's own estimate of r², the INFO key that it stands under, and that of each ALT; NaN, "" and () where there is none."""
    for key in QUALITY_KEYS:
        found = record.INFO.get(key)
        if (value := _first_number(found)) is not None:
            several = [_first_number(part) for part in found] if isinstance(found, tuple) else []
            return value, key, tuple(np.nan if part is None else part for part in several)
    return np.nan, "", ()


def _dosage(record: Any, haploid: np.ndarray, source: str) -> np.ndarray | None:
    """DS, float32 (n_samples,) or (n_samples, n_alts), where bool (n_samples,) `haploid` is true twice that of the file."""
    table = _numbers(record, "DS", len(haploid), source)
    n_alts = len(record.ALT)
    if table is None or table.shape[1] != max(n_alts, 1):
        return None if table is None or n_alts > 1 else table[:, 0]
    table[haploid] *= 2
    return table if n_alts > 1 else table[:, 0]


def _posterior(record: Any, haploid: np.ndarray, source: str, notes: set[str]) -> np.ndarray | None:
    """GP as probabilities, float32 (n_samples, n_genotypes), of haploid calls as homozygotes; None where they are none."""
    table = _numbers(record, "GP", len(haploid), source)
    n_alleles = max(len(record.ALT), 1) + 1
    n_genotypes = n_alleles * (n_alleles + 1) // 2
    if table is None or table.shape[1] != (n_alleles if haploid.all() else n_genotypes):
        return None
    if haploid.any():
        whole = np.zeros((len(haploid), n_genotypes), dtype=np.float32)
        whole[~haploid, : table.shape[1]] = table[~haploid]
        whole[np.ix_(haploid, homozygous(n_alleles - 1))] = table[haploid, :n_alleles]
        table = whole
    known = np.isfinite(table).all(axis=1)
    sound = _sum_to_one(table[known])
    if 2 * sound.sum() >= len(sound):
        if not sound.all():
            notes.add("GP does not add up to 1 in some calls: not used there")
            table[np.flatnonzero(known)[~sound]] = np.nan
        return table
    with np.errstate(over="ignore"):
        turned = np.power(10, -table / 10)
    if (table[known] >= 0).all() and not haploid.any() and _sum_to_one(turned[known], 0.1).all():
        notes.add("GP is phred-scaled: turned into probabilities")
        return turned / turned.sum(axis=1, keepdims=True)
    notes.add("GP does not add up to 1 at some sites: not used there")
    return None


def _sum_to_one(table: np.ndarray, tolerance: float = 0.02) -> np.ndarray:
    """Return where rows are probabilities that sum to 1, bool (n_rows,)."""
    return (np.abs(table.sum(axis=1) - 1) <= tolerance) & (table >= -1e-6).all(axis=1)


def _numbers(record: Any, key: str, n_samples: int, source: str) -> np.ndarray | None:
    """A FORMAT field as float32 (n_samples, n values), NaN = missing; None where a record has no value.

    A field that the header does not define, or defines as text, is text to htslib: its numbers are read from that.
    """
    found = record.format(key)
    if found is None:
        return None
    if np.issubdtype(np.asarray(found).dtype, np.number):
        table = np.array(found)
        absent = table <= NO_INTEGER if np.issubdtype(table.dtype, np.integer) else np.isnan(table)
        return np.where(absent, np.nan, table).astype(np.float32).reshape(n_samples, -1)
    rows = [[_spelled(part) for part in str(text).split(",")] for text in found]
    if any(part is None for row in rows for part in row):
        raise InputError(
            f"{source}: FORMAT/{key} holds no numbers at {record.CHROM}:{record.POS}, and the header does not say what it is: "
            f"give the header a line ##FORMAT=<ID={key},…>"
        )
    width = max(map(len, rows))
    return np.array([row + [np.nan] * (width - len(row)) for row in rows], dtype=np.float32)


def _spelled(text: str) -> float | None:
    """A number as it is spelled; NaN for a missing one, None for anything else."""
    if text in (".", ""):
        return np.nan
    try:
        return float(text)
    except ValueError:
        return None


def _first_number(value: Any) -> float | None:
    """Return the first number of an INFO value, rounded to the digits that were written; None if it is no number."""
    if isinstance(value, tuple):
        value = value[0] if value else None
    if isinstance(value, str):  # the header does not define it
        value = _spelled(value.split(",")[0])
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return round(float(value), 6) if isinstance(value, int | float) else None


def _no_calls(n_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Return alleles and kinds of samples without calls, as `_decoded_calls`."""
    return np.full((n_samples, 2), MISSING, dtype=np.int8), np.full(n_samples, NO_CALL, dtype=np.int8)


def _decoded_calls(record: Any, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the alleles, int8 (n_samples, 2), and kinds, int8 (n_samples,), of a record that has GT.

    Raises:
        InputError: a call has an allele that the record's ALT does not have.
    """
    # Columns: the alleles (-1 = missing, -2 = absent, the call being shorter than the longest one), then the phase. The
    # array owns its data.
    table = record.genotype.array()
    if table[:, :-1].max(initial=-1) > len(record.ALT):
        raise InputError(
            f"{source} is broken: {record.CHROM}:{record.POS} has calls of alternate allele {table[:, :-1].max()}, and "
            f"{len(record.ALT)} in ALT"
        )
    alleles, kinds = _no_calls(len(table))
    alleles[:, 0] = np.maximum(table[:, 0], MISSING)
    if table.shape[1] == 2:
        kinds[table[:, 0] >= 0] = HAPLOID
        return alleles, kinds
    alleles[:, 1] = np.maximum(table[:, 1], MISSING)
    first, second, phase = table[:, 0], table[:, 1], table[:, -1]
    diploid = (first >= 0) & (second >= 0)
    if table.shape[1] > 3:
        longer = table[:, 2] != -2
        diploid &= ~longer
        kinds[longer & (table[:, :-1] >= 0).any(axis=1)] = POLYPLOID
    kinds[diploid] = np.where(phase[diploid] == 1, PHASED, UNPHASED)
    odd = (kinds == NO_CALL) & ((first >= 0) | (second >= 0))
    if odd.any():
        kinds[odd] = np.where(second[odd] == -2, HAPLOID, HALF)
    return alleles, kinds


def open_vcf(path: Path, messages: Messages) -> Any:
    """The open cyvcf2.VCF."""
    from cyvcf2 import VCF

    try:
        return VCF(str(path))
    except Exception:
        if duplicated := [line for line in messages.lines() if "Duplicated sample name" in line]:
            name = duplicated[0].rsplit("name", 1)[1].strip()
            raise InputError(f"{path.name} names samples more than once: {name}; give each a name of its own") from None
        raise InputError(f"{path.name} is not a VCF or BCF") from None


def vcf_records(vcf: Any, path: Path, region: Region | None, messages: Messages) -> Iterator[Any]:
    """Give the records of the file or region; InputError where htslib stops, or complains of one of them."""
    wanted = iter(vcf if region is None else vcf(f"{region.contig}:{region.start}-{region.end}"))
    found, last = 0, None
    while True:
        before = messages.size
        try:
            record = next(wanted, None)
        except Exception as error:
            said = messages.errors(before) or [str(error)]
            raise _broken(path, vcf, said[0], last) from None
        # By region, htslib ends a file that it cannot read on as if the region ended there, and only prints an error.
        if messages.size > before:
            said = messages.errors(before)
            if not said and record is not None and not _is_whole(record):
                said = [f"a line that is no record, after {found:,} records"]
            if said:
                raise _broken(path, vcf, said[0], last)
        if record is None:
            break
        last = record
        try:
            wanted_here = region is None or (bool(record.CHROM) and region.start <= record.start + 1 <= region.end)
        except UnicodeDecodeError:
            raise InputError(
                f"{path.name} is broken (a contig's name is no UTF-8 text): make or fetch it again"
            ) from None
        if wanted_here:
            found += 1
            yield record
    if not found:
        what = "records" if region is None else f"records in {region.contig}:{region.start}-{region.end}"
        raise (InputError if region is None else NoRecords)(f"{path.name} has no {what}")


def _broken(path: Path, vcf: Any, said: str, last: Any) -> InputError:
    """Return the error of a file that htslib cannot read on behind a record; of a VCF 4.4 or later, whether it is only newer than htslib."""
    version = re.match(r"##fileformat=VCFv4\.(\d+)", vcf.raw_header)
    if "Couldn't read GT data" in said and version and int(version[1]) >= 4:
        place = said.rsplit(" at ", 1)[-1]
        return InputError(
            f"{path.name} is a VCF 4.{version[1]}, and a call at {place} is not understood: if calls begin with their phase "
            "(|0|1, /0/1), take that away, as VCF 4.3 spells them"
        )
    where = ""
    if last is not None and not re.search(r" at \S+:\d+$", said):
        with suppress(UnicodeDecodeError):
            where = f" after {last.CHROM}:{last.start + 1}"
    return InputError(f"{path.name} is broken{where} ({said}): make or fetch it again")


def _is_whole(record: Any) -> bool:
    """Return whether a record has its eight first columns and a REF; asked where htslib remarked on it.

    On a contig that the header does not define, htslib gives a record even of a line of which it could read nothing, and
    without alleles to look at REF ends the process; to spell the record out does not.
    """
    try:
        columns = str(record).split("\t")
    except UnicodeDecodeError:
        return False
    return len(columns) >= 8 and columns[3] not in ("", ".") and columns[0] != ""


def _require_index(path: Path) -> None:
    """Raise InputError that tells how to make an index if the file has none."""
    if any(path.with_name(path.name + suffix).is_file() for suffix in (".csi", ".tbi")):
        return
    if path.suffix == ".bcf":
        raise InputError(f"{path.name} has no index, which a region needs: bcftools index {path}")
    if not is_bgzipped(path):
        raise InputError(
            f"{path.name} is not bgzipped, so it has no index, which a region needs: "
            f"bcftools view -Oz -o NEW.vcf.gz {path} && tabix -p vcf NEW.vcf.gz"
        )
    raise InputError(f"{path.name} has no index, which a region needs: tabix -p vcf {path}")


def require_whole(path: Path) -> None:
    """Raise InputError if the file cannot be opened, is empty, or is bgzipped and truncated."""
    try:
        bgzipped = is_bgzipped(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    if path.stat().st_size == 0:
        raise InputError(f"{path.name} is not a VCF or BCF: it is empty")
    if bgzipped and not has_end_block(path):
        raise InputError(f"{path.name} is truncated (its end-of-file block is missing): make or fetch it again")


class Messages:
    """The lines that htslib has printed so far, kept in a file.

    What it prints about a file's header does not count against the records; an error that it prints while it reads a record
    does, and is looked at before the record is used: of a record that was not parsed to its end htslib gives what is left of
    it, and to look at that can end the process.
    """

    def __init__(self, caught: IO[bytes]) -> None:
        self._descriptor = caught.fileno()

    @property
    def size(self) -> int:
        """Bytes so far."""
        return os.fstat(self._descriptor).st_size

    def lines(self, since: int = 0) -> list[str]:
        """The lines from a byte on."""
        return os.pread(self._descriptor, 1_000_000, since).decode(errors="replace").splitlines()

    def errors(self, since: int = 0) -> list[str]:
        """The errors from a byte on, without the names of htslib's functions."""
        return [line.split("]", 1)[1].strip() for line in self.lines(since) if line.startswith("[E::")]


@contextmanager
def htslib_messages() -> Iterator[Messages]:
    """Keep off the terminal what htslib prints, for whoever reads through it.

    htslib writes to file descriptor 2 from C, so this descriptor is redirected. At the end its lines are logged (an
    index older than its file as a warning, since records could be missed), and other output is passed on.
    """
    with tempfile.TemporaryFile() as caught:
        messages = Messages(caught)
        sys.stderr.flush()
        terminal = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield messages
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
            for line in messages.lines():
                if line.startswith(("[W::", "[E::")):
                    stale_index = "index file is older" in line
                    logger.log(logging.WARNING if stale_index else logging.INFO, "htslib: %s", line)
                else:
                    print(line, file=sys.stderr)
