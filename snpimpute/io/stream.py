"""Streams of records from genotype files of any format, read so that memory does not grow with their length."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from snpimpute.base.digests import file_digest
from snpimpute.base.errors import InputError
from snpimpute.io.apart import require_blocks
from snpimpute.io.filters import NoRecords
from snpimpute.io.pgen import pgen_contigs, pgen_stream
from snpimpute.io.plink import BED_MAGIC, BIM_COLUMNS, plink_stream, plink_table
from snpimpute.io.records import Accept, Record, Stream
from snpimpute.io.vcf import VCF_SUFFIXES, htslib_messages, open_vcf, require_whole, vcf_records, vcf_stream
from snpimpute.io.vcz import SUFFIX, is_vcz, vcz_contigs, vcz_digest, vcz_stream

GENOTYPE_SUFFIXES = (*VCF_SUFFIXES, SUFFIX, ".bed", ".pgen")


@contextmanager
def streamed(
    *paths: Path,
    region: str | None = None,
    samples: Sequence[str] | None = None,
    accept: Accept | None = None,
    dosages: bool = False,
    lines: bool = False,
    likelihoods: str | None = None,
    observed: bool = False,
    at: Sequence[str | None] | None = None,
) -> Iterator[tuple[Stream, ...]]:
    """Open genotype files (VCF, BCF, VCF Zarr, PLINK 1 by its .bed, or PLINK 2 by its .pgen) to read side by side, record by record.

    Args:
        paths: the files.
        region: `CONTIG` or `CONTIG:START-END` (1-based, both ends included), or several joined by `;` in the file's
            order; a VCF or BCF needs an index beside the file. None = all.
        samples: names of the samples to read, in the order wanted; None = all.
        accept: tells whether a record's calls are wanted; other records are skipped without decoding their calls.
        dosages: whether to read DS, GP and the estimated r² too.
        lines: whether records have their line of text.
        likelihoods: FORMAT field (PL, GL or GP) to read in place of GT; a VCF, BCF or VCF Zarr has them. None = GT.
        observed: whether calls that a VCF, BCF or VCF Zarr marks as imputed (`marks.ImputedMarks`) are missing;
            `Stream.notes` count them.
        at: for each file a region, in place of `region`, where it may have no records; None where it has none for sure.

    Raises:
        InputError: on opening, a file is missing, broken, of another kind, lacks what is asked of it, or names no
            sample or one twice; while reading, it is broken, not in order of position, has no records or no genotypes.
    """
    with ExitStack() as opened, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="no intervals found")  # an InputError says the same
        messages = opened.enter_context(htslib_messages())

        def open_stream(path: Path, region: str | None) -> Stream:
            options: dict[str, Any] = {"region": region, "samples": samples, "accept": accept, "lines": lines}
            if path.name.lower().endswith(VCF_SUFFIXES):
                if region is not None:
                    require_blocks(path, region)
                return vcf_stream(
                    path, messages, dosages=dosages, likelihoods=likelihoods, observed=observed, **options
                )
            if is_vcz(path):
                return vcz_stream(path, dosages=dosages, likelihoods=likelihoods, observed=observed, **options)
            if likelihoods is not None:
                raise InputError(f"{path} is no VCF, BCF or VCF Zarr: only these have {likelihoods}")
            if path.name.lower().endswith(".bed"):
                return plink_stream(path, **options)
            if path.name.lower().endswith(".pgen"):
                return pgen_stream(path, messages, dosages=dosages, **options)
            raise InputError(
                f"{path} is not a file that can be read: give one ending in .vcf, .vcf.gz, .bcf, .vcz (VCF Zarr), .bed (PLINK 1, with "
                ".bim and .fam) or .pgen (PLINK 2, with .pvar and .psam)"
            )

        def open_part(path: Path, part: str | None) -> Stream:
            if part is not None:
                with suppress(NoRecords):
                    stream = open_stream(path, part)
                    return replace(stream, records=_some(stream.records))
            return replace(open_stream(path, None), records=iter(()))

        if at is None:
            yield tuple(open_stream(Path(path), region) for path in paths)
        else:
            yield tuple(open_part(Path(path), part) for path, part in zip(paths, at, strict=True))


def _some(records: Iterator[Record]) -> Iterator[Record]:
    """Pass on the records of a region, of which there may be none."""
    with suppress(NoRecords):
        yield from records


def files_of(path: Path) -> list[Path]:
    """Return the files that hold a genotype file's content: itself and, of PLINK, those beside it (a .pvar by both its names)."""
    beside = {".bed": (".bim", ".fam"), ".pgen": (".pvar", ".pvar.zst", ".psam")}.get(path.suffix.lower(), ())
    return [path, *(path.with_suffix(suffix) for suffix in beside)]


def contents_of(path: Path, region: str | None = None) -> list[str]:
    """Return the digests of the files that hold a genotype file's content, see `files_of`; "" where one is not there.

    Of a VCF Zarr store it is one, of what a region (None = all) needs; InputError if it is none.
    """
    if is_vcz(path):
        return [vcz_digest(path, region)]
    return [file_digest(file) if file.is_file() else "" for file in files_of(path)]


def stem(path: Path) -> str:
    """Return the name of a genotype file without the suffix of its format."""
    for suffix in sorted(GENOTYPE_SUFFIXES, key=len, reverse=True):
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.name


def contigs_in_order(path: Path) -> list[str]:
    """Return the contigs that a file has records of, in its order; the calls are not read."""
    path = Path(path)
    if path.name.lower().endswith(".bed"):
        return list(dict.fromkeys(plink_table(path.with_suffix(".bim"), BIM_COLUMNS).contig))
    if path.name.lower().endswith(".pgen"):
        return pgen_contigs(path)
    if is_vcz(path):
        return vcz_contigs(path)
    with htslib_messages() as messages:
        require_whole(path)
        vcf = open_vcf(path, messages)
        vcf.set_samples([])
        return list(dict.fromkeys(record.CHROM for record in vcf_records(vcf, path, None, messages)))


def holds_genotypes(path: Path) -> bool:
    """Return whether a file is one of genotypes: by its name, but a PLINK 1 .bed (and not one of stretches) by its start."""
    if path.name.lower().endswith(".bed"):
        with suppress(OSError), path.open("rb") as file:
            return file.read(len(BED_MAGIC)) == BED_MAGIC
    return path.name.lower().endswith(GENOTYPE_SUFFIXES)
