"""Haploid calls of a file (X in males, Y, mitochondria): where they are, and which cannot be right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from snpimpute.io.builds import plain_contig
from snpimpute.io.records import HAPLOID, UNPHASED, Record

SEX_CONTIGS = frozenset({"X", "Y", "XY", "MT", "Z", "W"})  # in plain spelling


@dataclass(eq=False)
class HaploidRun:
    """Neighbouring sites of a file at which some samples have haploid calls.

    Attributes:
        contig, first, last: contig, and positions of the first and the last site.
        n_sites: number of the sites.
        samples: bool (n_samples,), whether a sample has a haploid call at one of them.
    """

    contig: str
    first: int
    last: int
    n_sites: int
    samples: np.ndarray

    def __str__(self) -> str:
        n = int(self.samples.sum())
        counted = f"{self.n_sites:,} site{'s' * (self.n_sites != 1)}, {n:,} sample{'s' * (n != 1)}"
        return f"{self.contig}:{self.first}-{self.last} ({counted})"


@dataclass(eq=False)
class HaploidCalls:
    """Counts of haploid and diploid calls by contig, collected over the records of a file.

    Attributes:
        runs: where there are haploid calls, in order.
    """

    runs: list[HaploidRun] = field(default_factory=list)
    _counts: dict[str, np.ndarray] = field(default_factory=dict)  # contig → int64 (2, n_samples), haploid and diploid
    _first: dict[str, dict[int, int]] = field(
        default_factory=dict
    )  # contig → sample → position of its first haploid call
    _begins: bool | None = None  # whether the first record has a haploid call; None without records
    _goes_on: bool = False  # whether the last one has

    def add(self, record: Record) -> None:
        """Count the calls of a record."""
        contig, pos, haploid, diploid = record.contig, record.pos, record.kinds == HAPLOID, record.kinds >= UNPHASED
        counts = self._counts.setdefault(contig, np.zeros((2, len(haploid)), dtype=np.int64))
        counts[1] += diploid
        there = haploid.any()
        if there:
            counts[0] += haploid
            first = self._first.setdefault(contig, {})
            for sample in np.flatnonzero(haploid & (counts[0] == 1)).tolist():
                first[sample] = pos
            if self._goes_on and self.runs[-1].contig == contig:
                run = self.runs[-1]
                run.last, run.n_sites, run.samples = pos, run.n_sites + 1, run.samples | haploid
            else:
                self.runs.append(HaploidRun(contig, pos, pos, 1, haploid.copy()))
        self._goes_on = bool(there)
        self._begins = self._goes_on if self._begins is None else self._begins

    def join(self, later: HaploidCalls) -> None:
        """Add the counts of records that follow those counted here."""
        if later._begins is None:
            return
        for contig, counts in later._counts.items():
            self._counts[contig] = self._counts[contig] + counts if contig in self._counts else counts
        for contig, first in later._first.items():
            self._first[contig] = first | self._first.get(contig, {})
        runs = list(later.runs)
        if self._goes_on and later._begins and self.runs[-1].contig == runs[0].contig:
            run, more = self.runs[-1], runs.pop(0)
            run.last, run.n_sites, run.samples = more.last, run.n_sites + more.n_sites, run.samples | more.samples
        self.runs += runs
        self._begins = later._begins if self._begins is None else self._begins
        self._goes_on = later._goes_on

    def odd(self, names: Sequence[str]) -> str:
        """Return what is wrong with a haploid call of a sample that is diploid on that contig, in words; empty if nothing is.

        On a contig that is not named as a sex chromosome or mitochondria, a sample with haploid calls has more of them than of
        diploid ones.

        Args:
            names: the samples.
        """
        for contig, (haploid, diploid) in self._counts.items():
            found = np.flatnonzero((haploid > 0) & (haploid <= diploid)).tolist()
            if found and plain_contig(contig) not in SEX_CONTIGS:
                pos, sample = min((self._first[contig][row], row) for row in found)
                return (
                    f"sample {names[sample]} has a haploid call at {contig}:{pos}, and is diploid on {contig}: bcftools +setGT "
                    f"or +fixploidy mends it"
                )
        return ""
