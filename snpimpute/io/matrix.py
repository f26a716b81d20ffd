"""Genotype matrices built from streams of records: the sites that pass, and the count of what is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import MISSING, SITE_COLUMNS, GenotypeMatrix
from snpimpute.io.filters import BASES, CALLS_PER_BLOCK, REASONS, SiteFilter, genotype_reasons, left_out_table
from snpimpute.io.records import HAPLOID, PHASED, POLYPLOID, UNPHASED, Record, Site, Stream
from snpimpute.io.stream import streamed

CALLS_FILE, HAPLOTYPES_FILE = "calls.i8", "haplotypes.i8"  # of a spool: int8, site after site
MIN_SITES = 10
MIN_SAMPLES = 2


def read_matrix(
    path: Path,
    *,
    region: str | None = None,
    samples: Sequence[str] | None = None,
    site_filter: SiteFilter | None = None,
    max_sites: int | None = None,
    min_samples: int = 1,
    spool: Path | None = None,
) -> tuple[GenotypeMatrix, pd.DataFrame]:
    """Read the biallelic SNPs of a VCF, BCF or PLINK 1 file, by the end of its name.

    A half call (`0/.`) is missing. The matrix has haplotypes if every kept call is phased and none is missing.

    Args:
        path: a file ending in .vcf, .vcf.gz, .bcf, or .bed with .bim and .fam beside it.
        region, samples: see `stream.streamed`.
        site_filter: what a site must have to be kept; None keeps every biallelic SNP.
        max_sites: most sites to keep; more are refused. None = any number.
        min_samples: fewest samples that will do.
        spool: an empty folder to keep the calls in, for files larger than memory; None = in memory.

    Returns:
        The matrix, with the sample table that the format gives, and the table of what was left out (columns `reason`,
        `n`; see filters.left_out_table).

    Raises:
        InputError: see `stream.streamed`; also where a call is haploid or polyploid.
    """
    path = Path(path)
    gatherer = _Gatherer(path.name, site_filter, max_sites, spool)
    with streamed(path, region=region, samples=samples, accept=gatherer.accepts) as (stream,):
        if len(stream.samples) < min_samples:
            raise InputError(f"{path.name} gives {len(stream.samples)} sample: at least {min_samples} are needed")
        return gatherer.gather(stream)


def read_genotypes(
    path: Path,
    *,
    region: str | None = None,
    samples: Sequence[str] | None = None,
    site_filter: SiteFilter | None = None,
    max_sites: int | None = 500,
    spool: Path | None = None,
) -> tuple[GenotypeMatrix, pd.DataFrame]:
    """Read the genotypes for a comparison: enough of them, and only sites that pass a filter.

    Args:
        path, region, samples, spool: see `read_matrix`.
        site_filter: what a site must have to be kept; None = SiteFilter().
        max_sites: most sites that may remain after filtering; None = any number.

    Raises:
        InputError: also where fewer than two samples, or fewer than ten sites, would remain.
    """
    matrix, left_out = read_matrix(
        path,
        region=region,
        samples=samples,
        site_filter=site_filter or SiteFilter(),
        max_sites=max_sites,
        min_samples=MIN_SAMPLES,
        spool=spool,
    )
    require_enough_sites(matrix, left_out, Path(path).name)
    return matrix, left_out


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


class _Gatherer:
    """Collects the sites that pass while a file is read, and ends the reading when there are too many.

    A record is counted under the first reason that holds, in the order of REASONS. Among SNPs at the same position
    the first one is kept, the others are duplicates.

    With a folder `spool` calls and haplotypes are written there, site after site, and the matrix is made of arrays that
    are mapped from these files: what is in memory is what is looked at.
    """

    def __init__(
        self,
        source: str,
        site_filter: SiteFilter | None,
        max_sites: int | None,
        spool: Path | None = None,
    ) -> None:
        self.n_samples = 0
        self._spool = spool
        self._source = source
        self._filter = site_filter
        self._max_sites = max_sites
        self._read = 0
        self._left_out: Counter[str] = Counter()
        self._last: tuple[str, int] = ("", 0)
        self._sites: list[Site] = []
        self._calls: list[np.ndarray] = []
        self._haplotypes: list[np.ndarray] | None = []

    def accepts(self, contig: str, pos: int, ref: str, alts: Sequence[str], passed: bool) -> bool:
        """Count a record; whether it is a biallelic SNP whose calls are to be added.

        Args:
            contig, pos, ref, alts: the record; `alts` empty where it has no alternate allele.
            passed: whether its FILTER is PASS or `.`.
        """
        self._read += 1
        reason = self._record_reason(contig, pos, ref, alts, passed)
        if reason:
            self._left_out[reason] += 1
        return not reason

    def _record_reason(self, contig: str, pos: int, ref: str, alts: Sequence[str], passed: bool) -> str:
        if len(alts) > 1:
            return "multi-allelic"
        if not alts:
            return "monomorphic"
        if ref not in BASES or alts[0] not in BASES:
            return "indel"
        if not passed and self._filter is not None and self._filter.pass_only:
            return "FILTER"
        if (contig, pos) == self._last:
            return "duplicate"
        self._last = (contig, pos)
        return ""

    def gather(self, stream: Stream) -> tuple[GenotypeMatrix, pd.DataFrame]:
        """Read a stream to its end; returns the matrix of the kept sites, and the table of what was left out."""
        self.n_samples = len(stream.samples)
        size = max(1, CALLS_PER_BLOCK // self.n_samples)
        block: list[Record] = []
        for record in stream.records:
            _require_diploid(record, stream)
            block.append(record)
            if len(block) == size:
                self._add_block(block)
                block = []
        if block:
            self._add_block(block)
        return self._finish(stream.samples)

    def _add_block(self, records: list[Record]) -> None:
        sites = [Site(record.contig, record.pos, record.id, record.ref, record.alts[0]) for record in records]
        alleles = np.stack([record.alleles for record in records], axis=1)
        kinds = np.stack([record.kinds for record in records], axis=1)
        missing = kinds < UNPHASED
        calls = np.where(missing, np.int8(MISSING), alleles.sum(axis=2, dtype=np.int8))
        phased = kinds == PHASED
        haplotypes = np.where(phased[:, :, None], alleles, np.int8(MISSING)) if phased.any() else None
        self._add(sites, calls, haplotypes)

    def _add(self, sites: list[Site], calls: np.ndarray, haplotypes: np.ndarray | None) -> None:
        """Take in the calls of accepted sites, keeping those that pass the filter.

        Args:
            sites: as many as calls has columns.
            calls: int8 (n_samples, n), -1 = missing.
            haplotypes: int8 (n_samples, n, 2), alleles 0/1, below 0 where a call is missing or not phased; None where
                nothing is phased.
        """
        if self._filter is None:
            kept = np.ones(len(sites), dtype=bool)
        else:
            reasons = genotype_reasons(calls, self._filter)
            kept = reasons == ""
            self._left_out.update(reasons[~kept].tolist())
        self._sites += [site for site, keep in zip(sites, kept, strict=True) if keep]
        self._keep(self._calls, CALLS_FILE, calls[:, kept])
        if haplotypes is None or (haplotypes[:, kept] < 0).any():
            self._haplotypes = None
        elif self._haplotypes is not None:
            self._keep(self._haplotypes, HAPLOTYPES_FILE, haplotypes[:, kept])
        if self._max_sites is not None:
            self._require_selection(self._max_sites)

    def _keep(self, blocks: list[np.ndarray], name: str, block: np.ndarray) -> None:
        """Keep a block (n_samples, n, ...) in memory, or behind the others in the spool."""
        if self._spool is None:
            blocks.append(block)
            return
        blocks.append(block[:, :0])
        with (self._spool / name).open("ab") as file:
            file.write(np.ascontiguousarray(block.swapaxes(0, 1), dtype=np.int8).tobytes())

    def _kept(self, blocks: list[np.ndarray], name: str) -> np.ndarray:
        """All blocks as one int8 array (n_samples, n_sites, ...)."""
        if self._spool is None or not self._sites:
            return np.concatenate(blocks, axis=1)
        shape = (len(self._sites), self.n_samples, *blocks[0].shape[2:])
        return np.memmap(self._spool / name, dtype=np.int8, mode="r", shape=shape).swapaxes(0, 1)

    def _require_selection(self, max_sites: int) -> None:
        if len(self._sites) > max_sites:
            first, last = self._sites[0], self._sites[max_sites - 1]
            end = f"{last.pos}" if first.contig == last.contig else f"{last.contig}:{last.pos}"
            raise InputError(
                f"{self._source} holds more than {max_sites} sites: select a part with --region CONTIG:START-END "
                f"(the first {max_sites} are {first.contig}:{first.pos}-{end}), or take more with --max-sites N"
            )

    def _finish(self, samples: pd.DataFrame) -> tuple[GenotypeMatrix, pd.DataFrame]:
        """The matrix of the kept sites, and the table of what was left out."""
        sites = pd.DataFrame(self._sites, columns=list(SITE_COLUMNS)).astype({"pos": np.int64})
        calls = self._kept([np.empty((self.n_samples, 0), dtype=np.int8), *self._calls], CALLS_FILE)
        haplotypes = self._kept(self._haplotypes, HAPLOTYPES_FILE) if self._haplotypes else None
        table = left_out_table(self._read, self._left_out, len(sites))
        return GenotypeMatrix(calls, samples, sites, haplotypes), table


def _require_diploid(record: Record, stream: Stream) -> None:
    """Raise InputError that names the first sample whose call is haploid or polyploid."""
    odd = np.flatnonzero((record.kinds == HAPLOID) | (record.kinds == POLYPLOID))
    if len(odd):
        kind = "haploid" if record.kinds[odd[0]] == HAPLOID else "polyploid"
        raise InputError(
            f"{stream.name}: sample {stream.names[odd[0]]} has a {kind} call at {record.contig}:{record.pos}; only diploid "
            "calls can be used: choose another region or other samples"
        )
