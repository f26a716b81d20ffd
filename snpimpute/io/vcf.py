"""VCF and BCF as a stream of records, read by htslib, whose messages are caught and checked."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import MISSING
from snpimpute.io.bgzf import has_end_block, is_bgzipped
from snpimpute.io.filters import Region, chosen_rows, parse_regions, require_contig
from snpimpute.io.records import HALF, HAPLOID, NO_CALL, PHASED, POLYPLOID, UNPHASED, Accept, Record, Stream, in_order

VCF_SUFFIXES = (".vcf", ".vcf.gz", ".vcf.bgz", ".bcf")
# INFO keys of programs' own estimates of r² (Beagle, minimac, IMPUTE); the first one present is taken.
QUALITY_KEYS = ("DR2", "R2", "INFO")

logger = logging.getLogger(__name__)


def vcf_stream(
    path: Path,
    messages: Callable[[], list[str]],
    *,
    region: str | None = None,
    samples: Sequence[str] | None = None,
    accept: Accept | None = None,
    dosages: bool = False,
    lines: bool = False,
) -> Stream:
    """Open a VCF (plain, gzipped or bgzipped) or BCF as a stream.

    Args:
        path: the file.
        messages: returns what htslib has printed so far (see `htslib_messages`).
        region, samples, accept, dosages, lines: see `stream.streamed`.

    Raises:
        InputError: see `stream.streamed`.
    """
    require_whole(path)
    vcf = open_vcf(path, messages)
    rows = chosen_rows(vcf.samples, samples, path.name)
    names = [vcf.samples[row] for row in rows]
    regions = [] if region is None else parse_regions(region)
    if regions:
        _require_index(path)
    for part in regions:
        require_contig(part, vcf.seqnames, path.name)
    if samples is not None:
        vcf.set_samples(names)
        rows = np.argsort(np.argsort(rows))
    lengths = re.findall(r"##contig=<ID=([^,>]+),(?:[^>\n]*,)?length=(\d+)", vcf.raw_header)
    raw = chain.from_iterable(vcf_records(vcf, path, part, messages) for part in (regions or (None,)))
    records = _decoded_records(raw, None if samples is None else rows, len(names), accept, dosages, lines, path.name)
    by_contig = {contig: int(n) for contig, n in lengths}
    return Stream(
        path.name, path, pd.DataFrame({"sample": names}), by_contig, vcf.raw_header, in_order(records, path.name)
    )


def _decoded_records(
    records: Iterator[Any],
    rows: np.ndarray | None,
    n_samples: int,
    accept: Accept | None,
    dosages: bool,
    lines: bool,
    source: str,
) -> Iterator[Record]:
    """Yield htslib's records decoded, with the samples at `rows` in that order (None = all in the file's order)."""
    any_calls = any_record = False
    for record in records:
        ref, alts = record.REF.upper(), tuple(alt.upper() for alt in record.ALT)
        passed = record.FILTER is None
        if accept is not None and not accept(record.CHROM, record.POS, ref, alts, passed):
            continue
        formats = record.FORMAT
        any_record = True
        any_calls |= "GT" in formats
        alleles, kinds = _decoded_calls(record, source) if "GT" in formats else _no_calls(n_samples)
        if rows is not None:
            alleles, kinds = alleles[rows], kinds[rows]
        dosage = posterior = None
        quality = np.nan
        if dosages:
            if "DS" in formats:
                dosage = np.array(record.format("DS")[:, 0], dtype=np.float32)
            if "GP" in formats:
                table = np.array(record.format("GP"), dtype=np.float32)
                posterior = table if table.shape == (n_samples, 3) else None
            quality = next(
                (value for key in QUALITY_KEYS if (value := _first_number(record.INFO.get(key))) is not None), quality
            )
        line = str(record).rstrip("\n") if lines else ""
        yield Record(
            record.CHROM,
            record.POS,
            record.ID or "",
            ref,
            alts,
            passed,
            alleles,
            kinds,
            dosage,
            posterior,
            quality,
            line,
        )
    if any_record and not any_calls:
        raise InputError(f"{source} has no genotypes: its records have no GT")


def _first_number(value: Any) -> float | None:
    """Return the first number of an INFO value, rounded to the digits that were written; None if it is no number."""
    if isinstance(value, tuple):
        value = value[0] if value else None
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
    if table[:, :-1].max() > len(record.ALT):
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


def open_vcf(path: Path, messages: Callable[[], list[str]]) -> Any:
    """Return the open cyvcf2.VCF; InputError if the file is none or repeats a sample name."""
    from cyvcf2 import VCF

    try:
        return VCF(str(path))
    except Exception:
        if complaints := [line for line in messages() if "Duplicated sample name" in line]:
            name = complaints[0].rsplit("name", 1)[1].strip()
            raise InputError(f"{path.name} names samples more than once: {name}; give each a name of its own") from None
        raise InputError(f"{path.name} is not a VCF or BCF") from None


def vcf_records(vcf: Any, path: Path, region: Region | None, messages: Callable[[], list[str]]) -> Iterator[Any]:
    """Yield the records of the file or region; InputError if htslib stops or complains, or if there are none."""
    wanted = vcf if region is None else vcf(f"{region.contig}:{region.start}-{region.end}")
    n_records = 0
    try:
        for record in wanted:
            if region is None or region.start <= record.POS <= region.end:
                n_records += 1
                yield record
    except Exception as error:
        raise InputError(f"{path.name} is broken ({_cause(messages(), error)}): make or fetch it again") from None
    # Reading by region, htslib stops at a place that it cannot read as if the region ended there, and only prints an
    # error.
    if any(line.startswith("[E::") for line in messages()):
        raise InputError(f"{path.name} is broken ({_cause(messages(), None)}): make or fetch it again")
    if not n_records:
        what = "records" if region is None else f"records in {region.contig}:{region.start}-{region.end}"
        raise InputError(f"{path.name} has no {what}")


def _cause(messages: list[str], error: Exception | None) -> str:
    """Return htslib's first error message, without its function's name; cyvcf2's if there is none."""
    errors = [line.split("]", 1)[1].strip() for line in messages if line.startswith("[E::")]
    return errors[0] if errors else str(error)


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


@contextmanager
def htslib_messages() -> Iterator[Callable[[], list[str]]]:
    """Keep htslib's messages off the terminal; give a function that returns its lines so far.

    htslib writes to file descriptor 2 from C, so this descriptor is redirected. At the end its lines are logged (an
    index older than its file as a warning, since records could be missed), and other output is passed on.
    """
    with tempfile.TemporaryFile() as caught:

        def lines() -> list[str]:
            return os.pread(caught.fileno(), 1_000_000, 0).decode(errors="replace").splitlines()

        sys.stderr.flush()
        terminal = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield lines
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
            for line in lines():
                if line.startswith(("[W::", "[E::")):
                    stale_index = "index file is older" in line
                    logger.log(logging.WARNING if stale_index else logging.INFO, "htslib: %s", line)
                else:
                    print(line, file=sys.stderr)
