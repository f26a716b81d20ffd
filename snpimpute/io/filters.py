"""Selection of sites and samples: regions, site filters, and counts of left-out sites by reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix

REASONS = ("unknown alleles", "FILTER", "duplicate", "monomorphic", "call rate", "MAF")
CALLS_PER_BLOCK = 2_000_000


@dataclass(frozen=True)
class SiteFilter:
    """Conditions that a site must meet to be kept.

    Attributes:
        min_call_rate: least share (0 to 1) of the samples that have a call.
        min_maf: least frequency (0 to 0.5) of the rarer allele; 0.0 leaves out monomorphic sites only.
        pass_only: whether records whose FILTER is neither PASS nor `.` are left out.
    """

    min_call_rate: float = 0.9
    min_maf: float = 0.0
    pass_only: bool = True


class NoRecords(InputError):
    """Refusal of a region in which a file has no record."""


class NoGenotypes(InputError):
    """Refusal of records none of which has a call."""


class Region(NamedTuple):
    """Part of one contig; positions are 1-based, both ends included."""

    contig: str
    start: int = 1
    end: int = 2**31 - 1

    def holds(self, contigs: pd.Series, positions: pd.Series) -> np.ndarray:
        """Return which sites are in the region, bool (n_sites,)."""
        return ((contigs == self.contig) & positions.between(self.start, self.end)).to_numpy()


def parse_regions(text: str) -> list[Region]:
    """Return the regions of `CONTIG` or `CONTIG:START-END`, or of several joined by `;`; InputError if malformed.

    Those of a contig stand together, in order; those that overlap are one.
    """
    regions = [_parse_region(part) for part in text.split(";")]
    of_contig: dict[str, list[Region]] = {region.contig: [] for region in regions}
    for region in sorted(regions, key=lambda region: region.start):
        before = of_contig[region.contig]
        if before and region.start <= before[-1].end:
            before[-1] = before[-1]._replace(end=max(before[-1].end, region.end))
        else:
            before.append(region)
    return [region for parts in of_contig.values() for region in parts]


def _parse_region(text: str) -> Region:
    """Return the region of `CONTIG` or `CONTIG:START-END`."""
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
    """Raise InputError that lists the contigs of `source` unless the region's contig is one of them."""
    if region.contig not in contigs:
        raise InputError(f"{source} has no contig {region.contig!r}; it has {shortened(contigs)}")


def chosen_rows(names: Sequence[str], wanted: Sequence[str] | None, source: str) -> np.ndarray:
    """Return the rows of the samples `wanted` (None = all) among `names`, in the order wanted.

    Raises:
        InputError: `source` has no sample or repeats a name, or a wanted sample is missing or repeated.

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
    if repeated := [name for name, n in Counter(names).items() if n > 1]:
        raise InputError(f"{source} names samples more than once: {shortened(repeated)}; give each a name of its own")


def shortened(names: Sequence[str], most: int = 8) -> str:
    """Join the first `most` names into a phrase, with the number of further ones."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


def genotype_reasons(calls: np.ndarray, site_filter: SiteFilter) -> np.ndarray:
    """Return the reason for leaving out each site, judged by its calls.

    Args:
        calls: int8 (n_samples, n_sites), -1 = missing.
        site_filter: the thresholds.

    Returns:
        str (n_sites,): the first that holds of "monomorphic" (also for a site without calls), "call rate", "MAF"; "" =
        kept.
    """
    n_called = (calls != MISSING).sum(axis=0)
    n_alt = np.maximum(calls, 0).sum(axis=0, dtype=np.int64)
    n_minor = np.minimum(n_alt, 2 * n_called - n_alt)
    return np.select(
        [
            n_minor == 0,
            n_called < site_filter.min_call_rate * len(calls) - 1e-9,
            n_minor < site_filter.min_maf * 2 * n_called - 1e-9,
        ],
        ["monomorphic", "call rate", "MAF"],
        "",
    )


def left_out_table(read: int, left_out: Counter[str], kept: int) -> pd.DataFrame:
    """Return the counts of sites: read, left out for each reason, and kept; a record with several ALTs has a site for each.

    Returns:
        Columns `reason`, `n`; the count of "read" is the sum of all others.
    """
    reasons = ["read", *REASONS, "kept"]
    return pd.DataFrame({"reason": reasons, "n": [read, *(left_out[reason] for reason in REASONS), kept]})


def apply_filter(
    matrix: GenotypeMatrix, site_filter: SiteFilter, left_out: pd.DataFrame | None = None
) -> tuple[GenotypeMatrix, pd.DataFrame]:
    """Keep the sites of a matrix whose calls pass the filter.

    Args:
        matrix: calls at biallelic sites.
        site_filter: the thresholds; `pass_only` has no effect here.
        left_out: counts so far, whose `kept` are the sites of `matrix`; None if nothing was left out before.

    Returns:
        The matrix of the kept sites, and the updated counts.
    """
    reasons = genotype_reasons(matrix.calls, site_filter)
    before = {} if left_out is None else dict(zip(left_out.reason, left_out.n, strict=True))
    counted = Counter({reason: before.get(reason, 0) for reason in REASONS}) + Counter(reasons[reasons != ""].tolist())
    kept = reasons == ""
    return matrix.take_sites(kept), left_out_table(before.get("read", matrix.n_sites), counted, int(kept.sum()))
