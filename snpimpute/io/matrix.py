"""Genotype matrices built from streams of records: sites that pass the filter, and counts of left-out records."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import MISSING, SITE_COLUMNS, GenotypeMatrix
from snpimpute.io.filters import CALLS_PER_BLOCK, REASONS, SiteFilter, genotype_reasons, left_out_table, shortened
from snpimpute.io.haploid import HaploidCalls
from snpimpute.io.records import HAPLOID, PHASED, POLYPLOID, UNSTATED, Record, Site, Stream, is_allele, split
from snpimpute.io.stream import streamed

logger = logging.getLogger(__name__)

CALLS_FILE, HAPLOTYPES_FILE = "calls.i8", "haplotypes.i8"  # files of a spool: int8, site after site
RECORDS_FILE = "records.tsv"  # of a spool: all sites that pass, those that do not vary included
MIN_SITES = 10
MIN_SAMPLES = 2
# What changes a filter that leaves too few sites, by the reason that it counts.
ADVICE = {
    "call rate": "--min-call-rate, or filter.min_call_rate of an experiment, keeps sites where fewer samples have a call",
    "MAF": "filter.min_maf of the experiment keeps rarer ones",
    "FILTER": "bcftools annotate -x FILTER takes the marks away, filter.pass_only = false of an experiment uses them so",
}


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
    """Read the sites of a VCF, BCF or PLINK file; the end of its name decides the format.

    A record with several ALTs is a site for each, at which the calls count the copies of that ALT. A haploid call is
    the homozygote of its allele, and a half call (`0/.`) is missing. The matrix has haplotypes if every kept call is phased, not within sets (PS) alone, and none is missing.

    Args:
        path: a file ending in .vcf, .vcf.gz, .bcf, .bed or .pgen, the latter two with PLINK's other files beside them.
        region, samples: see `stream.streamed`.
        site_filter: conditions that a site must meet; None keeps every site.
        max_sites: most sites to keep; more are refused. None = any number.
        min_samples: least number of samples.
        spool: an empty folder to keep the calls in, for files larger than memory; None = in memory.

    Returns:
        The matrix, with the sample table that the format gives, and the counts of left-out records (columns `reason`,
        `n`; see filters.left_out_table).

    Raises:
        InputError: see `stream.streamed`; also if a call has more than two alleles, is haploid where its sample is diploid
            (see `haploid.HaploidCalls.odd`), or there are too many sites or too few samples.
    """
    path = Path(path)
    collector = SiteCollector(path.name, site_filter, max_sites, spool)
    with streamed(path, region=region, samples=samples, accept=collector.accepts) as (stream,):
        require_enough_samples(stream, min_samples)
        return collector.collect(stream)


def read_genotypes(
    path: Path,
    *,
    region: str | None = None,
    samples: Sequence[str] | None = None,
    site_filter: SiteFilter | None = None,
    max_sites: int | None = 500,
    spool: Path | None = None,
) -> tuple[GenotypeMatrix, pd.DataFrame]:
    """Read the genotypes for a comparison: at least two samples and ten sites, and only sites that pass a filter.

    Args:
        path, region, samples, spool: see `read_matrix`.
        site_filter: conditions that a site must meet; None = SiteFilter().
        max_sites: most sites that may remain after filtering; None = any number.

    Raises:
        InputError: see `read_matrix`; also if fewer than two samples or fewer than ten sites remain.
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


def require_enough_samples(stream: Stream, least: int = MIN_SAMPLES) -> None:
    """Raise InputError if a file has fewer samples."""
    if len(stream.samples) < least:
        raise InputError(f"{stream.name} gives {len(stream.samples)} sample: at least {least} are needed")


def require_enough_sites(matrix: GenotypeMatrix, left_out: pd.DataFrame, source: str) -> None:
    """Raise InputError that gives the counts of left-out sites if fewer than ten sites remain."""
    if matrix.n_sites >= MIN_SITES:
        return
    n = dict(zip(left_out.reason, left_out.n, strict=True))
    if n["monomorphic"] == n["read"]:
        raise InputError(
            f"{source} has nothing to impute: all of its {n['read']} sites are monomorphic among the {matrix.n_samples} samples"
        )
    most = max(REASONS, key=lambda reason: n[reason])
    advice = f"; {ADVICE[most]}" if most in ADVICE else ""
    gone = ", ".join(f"{reason} {n[reason]}" for reason in REASONS if n[reason]) or "nothing"
    raise InputError(
        f"{source} leaves {matrix.n_sites} sites of {n['read']} read, and at least {MIN_SITES} are needed (left out: {gone}{advice})"
    )


class _Row(NamedTuple):
    """A site that passes the filter, or would if it varied.

    Attributes:
        site: the site.
        varies: whether its calls vary.
        frequency: of a site that does not vary, the alternate allele's frequency, 0 or 1.
        record: number of its record among those accepted.
        haploid: whether a sample has a haploid call.
    """

    site: Site
    varies: bool
    frequency: float
    record: int
    haploid: bool


class SiteCollector:
    """Collects the sites that pass while a file is read, and ends the reading when there are too many.

    A record is counted under the first reason that holds, in the order of REASONS. Of records with the same alleles at the
    same position the first that varies is kept; the others are duplicates.

    With a folder `spool`, calls and haplotypes are written there, site after site, and the matrix consists of arrays
    mapped from these files: only the parts in use are in memory. Beside them a table has all sites that pass, those that do
    not vary included (see `spool.spooled_records`).
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
        self._number = -1  # of the last accepted record
        self._place: tuple[str, int] = ("", 0)
        self._here: dict[tuple[str, str], _Row] = {}  # the sites used at this place, by REF and ALT
        self._rows: list[_Row] = []
        self._sites: list[Site] = []
        self._records: list[int] = []  # their records' numbers
        self._calls: list[np.ndarray] = []
        self._haplotypes: list[np.ndarray] | None = []
        self._haploid = HaploidCalls()
        self._contigs: dict[str, None] = {}  # that have records
        self._in_sets = False  # whether phased calls are phased within sets alone

    def accepts(self, contig: str, pos: int, ref: str, alts: Sequence[str], passed: bool) -> bool:
        """Count the sites of a record, one for each ALT, and tell whether its calls are to be read.

        Args:
            contig, pos, ref, alts: of the record; `alts` is empty if it has no alternate allele.
            passed: whether its FILTER is PASS or `.`.
        """
        self._contigs[contig] = None
        named = [alt for alt in alts if alt not in UNSTATED]
        self._read += max(len(named), 1)
        reason = self._record_reason(ref, named, passed)
        if reason:
            self._left_out[reason] += max(len(named), 1)
        return not reason

    def _record_reason(self, ref: str, alts: Sequence[str], passed: bool) -> str:
        """Return the reason for leaving out a record, judged without its calls; empty if there is none."""
        if not alts:
            return "monomorphic"
        if not all(map(is_allele, (ref, *alts))):
            return "unknown alleles"
        if not passed and self._filter is not None and self._filter.pass_only:
            return "FILTER"
        return ""

    def collect(self, stream: Stream) -> tuple[GenotypeMatrix, pd.DataFrame]:
        """Read a stream to its end; return the matrix of the kept sites, and the counts of left-out records."""
        self.read(stream)
        return self.finish(stream)

    def read(self, stream: Stream) -> None:
        """Add the records of a stream."""
        self.n_samples = len(stream.samples)
        size = max(1, CALLS_PER_BLOCK // self.n_samples)
        block: list[Record] = []
        for record in stream.records:
            _require_no_polyploid(record, stream)
            self._haploid.add(record)
            block.append(record)
            if len(block) == size:
                self._add_block(block)
                block = []
        if block:
            self._add_block(block)

    def finish(self, stream: Stream) -> tuple[GenotypeMatrix, pd.DataFrame]:
        """Return the matrix of the kept sites, and the counts of left-out records; `stream` names its source and samples."""
        if odd := self._haploid.odd(stream.names):
            raise InputError(f"{stream.name}: {odd}")
        return self._finish(stream.samples)

    def _add_block(self, records: list[Record]) -> None:
        """Add the calls of accepted records."""
        numbers = []
        parts = []
        for record in records:
            self._number += 1
            named = [part for part in split(record) if part.alts[0] not in UNSTATED]
            parts += named
            numbers += [self._number] * len(named)
        records = parts
        sites = [Site(record.contig, record.pos, record.id, record.ref, record.alts[0]) for record in records]
        calls, haplotypes, haploid = calls_of(records)
        sets = (record for record in records if record.phase_sets)
        self._in_sets |= any(bool((record.kinds == PHASED).any()) for record in sets)
        self._add_passing(sites, numbers, calls, haplotypes, haploid)

    def _add_passing(
        self,
        sites: list[Site],
        records: list[int],
        calls: np.ndarray,
        haplotypes: np.ndarray | None,
        haploid: np.ndarray,
    ) -> None:
        """Add the calls of accepted sites that pass the filter.

        Args:
            sites: the n sites.
            records: the numbers of their records.
            calls: int8 (n_samples, n), -1 = missing.
            haplotypes: int8 (n_samples, n, 2), alleles 0/1, below 0 where a call is missing or not phased; None if no
                call is phased.
            haploid: bool (n,), whether a sample has a haploid call.
        """
        constant = np.zeros(len(sites), dtype=bool)
        if self._filter is None:
            kept = np.ones(len(sites), dtype=bool)
        else:
            reasons = genotype_reasons(calls, self._filter)
            kept = reasons == ""
            self._left_out.update(reasons[~kept].tolist())
            if self._spool is not None:
                constant = reasons == "monomorphic"
                called = (calls[:, constant] != MISSING).sum(axis=0)
                constant[constant] = (called > 0) & (called >= self._filter.min_call_rate * len(calls) - 1e-9)
        for number in np.flatnonzero(kept | constant):
            frequency = np.nan if kept[number] else float(calls[:, number].max() > 0)
            row = _Row(sites[number], bool(kept[number]), frequency, records[number], bool(haploid[number]))
            kept[number] &= self._is_first(row)
        self._sites += [site for site, keep in zip(sites, kept, strict=True) if keep]
        self._records += [number for number, keep in zip(records, kept, strict=True) if keep]
        self._store(self._calls, CALLS_FILE, calls[:, kept])
        if haplotypes is None or (haplotypes[:, kept] < 0).any():
            self._haplotypes = None
        elif self._haplotypes is not None:
            self._store(self._haplotypes, HAPLOTYPES_FILE, haplotypes[:, kept])
        if self._max_sites is not None:
            self._require_at_most(self._max_sites)

    def _is_first(self, row: _Row) -> bool:
        """Return whether a site that passes is the first of its place and alleles, or the first of them that varies."""
        if (row.site.contig, row.site.pos) != self._place:
            self._place, self._here = (row.site.contig, row.site.pos), {}
        alleles = (row.site.ref, row.site.alt)
        before = self._here.get(alleles)
        if before is not None and (before.varies or not row.varies):
            self._left_out["duplicate"] += row.varies
            return False
        if before is not None:
            del self._rows[self._rows.index(before, len(self._rows) - len(self._here))]
        self._here[alleles] = row
        self._rows.append(row)
        return True

    def _store(self, blocks: list[np.ndarray], name: str, block: np.ndarray) -> None:
        """Store a block (n_samples, n, ...) in memory, or append it to a file of the spool."""
        if self._spool is None:
            blocks.append(block)
            return
        blocks.append(block[:, :0])
        with (self._spool / name).open("ab") as file:
            file.write(np.ascontiguousarray(block.swapaxes(0, 1), dtype=np.int8).tobytes())

    def _joined(self, blocks: list[np.ndarray], name: str) -> np.ndarray:
        """Return all stored blocks as one int8 array (n_samples, n_sites, ...)."""
        if self._spool is None or not self._sites:
            return np.concatenate(blocks, axis=1)
        shape = (len(self._sites), self.n_samples, *blocks[0].shape[2:])
        return np.memmap(self._spool / name, dtype=np.int8, mode="r", shape=shape).swapaxes(0, 1)

    def _require_at_most(self, max_sites: int) -> None:
        """Raise InputError that tells how to select sites if more than `max_sites` are kept."""
        if len(self._sites) > max_sites:
            ends: dict[str, list[int]] = {}
            for site in self._sites[:max_sites]:
                ends.setdefault(site.contig, [site.pos, site.pos])[1] = site.pos
            first = ";".join(f"{contig}:{start}-{end}" for contig, (start, end) in ends.items())
            more = "with --max-sites N" if len(ends) == 1 else "with --max-sites N, which counts all contigs together"
            raise InputError(
                f"{self._source} holds more than {max_sites} sites: select a part with --region CONTIG:START-END "
                f"(the first {max_sites} are {first if len(ends) == 1 else repr(first)}), or take more {more}"
            )

    def _finish(self, samples: pd.DataFrame) -> tuple[GenotypeMatrix, pd.DataFrame]:
        """Return the matrix of the kept sites, and the counts of left-out records."""
        if self._in_sets:
            logger.warning("%s is phased within sets (PS) alone: its calls are taken as unphased", self._source)
        sites = pd.DataFrame(self._sites, columns=list(SITE_COLUMNS)).astype({"pos": np.int64})
        if len(sites) and (gone := [contig for contig in self._contigs if contig not in set(sites["contig"])]):
            logger.warning(
                "%s: no site of these contigs is kept: %s; where samples lack calls, --min-call-rate keeps more",
                self._source,
                shortened(gone),
            )
        calls = self._joined([np.empty((self.n_samples, 0), dtype=np.int8), *self._calls], CALLS_FILE)
        haplotypes = self._joined(self._haplotypes, HAPLOTYPES_FILE) if self._haplotypes else None
        table = left_out_table(self._read, self._left_out, len(sites))
        if self._spool is not None:
            rows = [(*row.site, row.frequency, int(row.varies), row.record, int(row.haploid)) for row in self._rows]
            columns = [*SITE_COLUMNS, "alt_frequency", "varies", "record", "haploid"]
            pd.DataFrame(rows, columns=columns).to_csv(self._spool / RECORDS_FILE, sep="\t", index=False)
        return GenotypeMatrix(calls, samples, sites, haplotypes), table


def calls_of(records: Sequence[Record]) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Return calls, haplotypes and haploid sites of records of one ALT each, as `SiteCollector` takes them.

    Returns:
        int8 (n_samples, n), -1 = missing; int8 (n_samples, n, 2), alleles 0/1, below 0 where a call is missing or not phased,
        None if no call is phased; bool (n,), whether a sample has a haploid call.
    """
    alleles = np.stack([record.alleles for record in records], axis=1)
    kinds = np.stack([record.kinds for record in records], axis=1)
    calls = np.stack([record.calls for record in records], axis=1)
    haploid = kinds == HAPLOID
    alleles[haploid, 1] = alleles[haploid, 0]
    in_sets = np.array([record.phase_sets for record in records])
    phased = ((kinds == PHASED) & ~in_sets) | haploid
    haplotypes = np.where(phased[:, :, None], alleles, np.int8(MISSING)) if phased.any() else None
    return calls, haplotypes, haploid.any(axis=0)


def _require_no_polyploid(record: Record, stream: Stream) -> None:
    """Raise InputError that names the first sample whose call has more than two alleles."""
    odd = np.flatnonzero(record.kinds == POLYPLOID)
    if len(odd):
        raise InputError(
            f"{stream.name}: sample {stream.names[odd[0]]} has a call of more than two alleles at {record.contig}:{record.pos}; "
            "only haploid and diploid calls can be used: choose another region or other samples"
        )
