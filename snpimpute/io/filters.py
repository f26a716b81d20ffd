"""Which sites are read: the region, the filters, and the count of what is left out and why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import MISSING, SITE_COLUMNS, GenotypeMatrix

REASONS = ("multi-allelic", "indel", "FILTER", "duplicate", "monomorphic", "call rate", "MAF")
BASES = frozenset("ACGT")
CALLS_PER_BLOCK = 2_000_000
CALLS_FILE, HAPLOTYPES_FILE = "calls.i8", "haplotypes.i8"  # of a spool: int8, site after site


@dataclass(frozen=True)
class SiteFilter:
    """What a site must have to be kept.

    Attributes:
        min_call_rate: least share (0 to 1) of the samples that have a call.
        min_maf: least frequency (0 to 0.5) of the rarer allele; at 0.0 only monomorphic sites go.
        pass_only: whether a record whose FILTER is neither PASS nor `.` goes.
    """

    min_call_rate: float = 0.9
    min_maf: float = 0.0
    pass_only: bool = True


class Region(NamedTuple):
    """A stretch of one contig: positions 1-based, both ends within."""

    contig: str
    start: int = 1
    end: int = 2**31 - 1


class Site(NamedTuple):
    """One row of a matrix's sites table."""

    contig: str
    pos: int
    id: str
    ref: str
    alt: str


def parse_regions(text: str) -> list[Region]:
    """The regions that `CONTIG` or `CONTIG:START-END`, or several joined by `;`, name; InputError if spelled otherwise."""
    return [_parse_region(part) for part in text.split(";")]


def _parse_region(text: str) -> Region:
    ranged = re.fullmatch(r"(.+):([\d,]*\d[\d,]*)-([\d,]*\d[\d,]*)", text)
    if ranged is None:
        if not text or ":" in text or re.search(r"\s", text):
            raise InputError(f"region {text!r} is malformed: write CONTIG or CONTIG:START-END, as in 28:1-2000000")
        return Region(text)
    contig, start, end = ranged[1], int(ranged[2].replace(",", "")), int(ranged[3].replace(",", ""))
    if not 1 <= start <= end < 2**31:
        raise InputError(f"region {text!r} is malformed: positions count from 1, and START is not above END")
    return Region(contig, start, end)


def require_contig(region: Region, contigs: Sequence[str], source: str) -> None:
    """Raise InputError that lists the contigs of `source` unless the region's is one of them."""
    if region.contig not in contigs:
        raise InputError(f"{source} has no contig {region.contig!r}; it has {shortened(contigs)}")


def chosen_rows(names: Sequence[str], wanted: Sequence[str] | None, source: str) -> np.ndarray:
    """Rows of the samples `wanted` (None = all) among `names`, in the order wanted.

    InputError if `source` has no sample or names one twice, or if one that is wanted is not there or wanted twice.
    """
    if not names:
        raise InputError(f"{source} has no genotypes: it names no samples")
    require_unique(names, source)
    if wanted is None:
        return np.arange(len(names))
    require_unique(wanted, "the choice of samples")
    row_of = {name: i for i, name in enumerate(names)}
    if unknown := [name for name in wanted if name not in row_of]:
        raise InputError(f"{source} has no sample named {shortened(unknown)}; it has {shortened(names)}")
    return np.array([row_of[name] for name in wanted], dtype=np.intp)


def require_unique(names: Sequence[str], source: str) -> None:
    """Raise InputError that lists the sample names that `source` has more than once."""
    if twice := [name for name, n in Counter(names).items() if n > 1]:
        raise InputError(f"{source} names samples more than once: {shortened(twice)}; give each a name of its own")


def shortened(names: Sequence[str], most: int = 8) -> str:
    """The names as one phrase, the first `most` of them and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


def genotype_reasons(calls: np.ndarray, site_filter: SiteFilter) -> np.ndarray:
    """Why each site goes, judged by its calls.

    Args:
        calls: int8 (n_samples, n_sites), -1 = missing.
        site_filter: the thresholds.

    Returns:
        str (n_sites,): "monomorphic" (a site without any call too), "call rate", "MAF" (the first that holds), "" = kept.
    """
    n_seen = (calls != MISSING).sum(axis=0)
    n_alt = np.maximum(calls, 0).sum(axis=0, dtype=np.int64)
    n_minor = np.minimum(n_alt, 2 * n_seen - n_alt)
    return np.select(
        [
            n_minor == 0,
            n_seen < site_filter.min_call_rate * len(calls) - 1e-9,
            n_minor < site_filter.min_maf * 2 * n_seen - 1e-9,
        ],
        ["monomorphic", "call rate", "MAF"],
        "",
    )


def left_out_table(read: int, left_out: Counter[str], kept: int) -> pd.DataFrame:
    """Columns `reason`, `n`: the records read, those left out for each reason, and the sites kept; read is the sum of the rest."""
    reasons = ["read", *REASONS, "kept"]
    return pd.DataFrame({"reason": reasons, "n": [read, *(left_out[reason] for reason in REASONS), kept]})


def apply_filter(
    matrix: GenotypeMatrix, site_filter: SiteFilter, left_out: pd.DataFrame | None = None
) -> tuple[GenotypeMatrix, pd.DataFrame]:
    """Keep the sites of a matrix whose calls pass.

    Args:
        matrix: calls at biallelic SNPs.
        site_filter: the thresholds; `pass_only` has no say here.
        left_out: the table so far, whose `kept` are the sites of `matrix`; None where nothing was left out before.

    Returns:
        The matrix of the kept sites, and the table brought up to date.
    """
    reasons = genotype_reasons(matrix.calls, site_filter)
    before = {} if left_out is None else dict(zip(left_out.reason, left_out.n, strict=True))
    counted = Counter({reason: before.get(reason, 0) for reason in REASONS}) + Counter(reasons[reasons != ""].tolist())
    kept = reasons == ""
    return matrix.take_sites(kept), left_out_table(before.get("read", matrix.n_sites), counted, int(kept.sum()))


class Gatherer:
    """Collects the sites that pass while a file is read, and ends the reading when there are too many.

    A record is counted under the first reason that holds, in the order of REASONS. Among SNPs at the same position
    the first one is kept, the others are duplicates.

    With a folder `spool` calls and haplotypes are written there, site after site, and the matrix is made of arrays that
    are mapped from these files: what is in memory is what is looked at.
    """

    def __init__(
        self,
        source: str,
        n_samples: int,
        site_filter: SiteFilter | None,
        max_sites: int | None,
        spool: Path | None = None,
    ) -> None:
        self.n_samples = n_samples
        self._spool = spool
        self.block_size = max(1, CALLS_PER_BLOCK // n_samples)
        self._source = source
        self._filter = site_filter
        self._max_sites = max_sites
        self._read = 0
        self._left_out: Counter[str] = Counter()
        self._last: tuple[str, int] = ("", 0)
        self._contigs: set[str] = set()
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
        last_contig, last_pos = self._last
        if contig in self._contigs and (contig != last_contig or pos < last_pos):
            raise InputError(
                f"{self._source} is not in order of position at {contig}:{pos}: sort it (bcftools sort; plink1.9 --make-bed)"
            )
        self._contigs.add(contig)
        self._last = (contig, pos)
        return ""

    def add(self, sites: list[Site], calls: np.ndarray, haplotypes: np.ndarray | None) -> None:
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

    def finish(self, samples: pd.DataFrame) -> tuple[GenotypeMatrix, pd.DataFrame]:
        """The matrix of the kept sites, and the table of what was left out."""
        sites = pd.DataFrame(self._sites, columns=list(SITE_COLUMNS)).astype({"pos": np.int64})
        calls = self._kept([np.empty((self.n_samples, 0), dtype=np.int8), *self._calls], CALLS_FILE)
        haplotypes = self._kept(self._haplotypes, HAPLOTYPES_FILE) if self._haplotypes else None
        table = left_out_table(self._read, self._left_out, len(sites))
        return GenotypeMatrix(calls, samples, sites, haplotypes), table
