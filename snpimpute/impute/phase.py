"""Switch errors: how often the phase of two files disagrees from one heterozygous call to the next."""

from __future__ import annotations

import numpy as np

from snpimpute.impute.pairing import Pair
from snpimpute.io.records import PHASED


class Switches:
    """Counts of switches, sample by sample.

    Compared are calls that are heterozygous and phased in both files, at the first site of each position. Two that follow each
    other on a contig are a pair; it is a switch if the files disagree on which alleles lie on one haplotype. Calls that are
    phased within sets alone (FORMAT/PS) are not compared.

    Args:
        truth_rows, imputed_rows: the rows of the samples compared in the two files.
    """

    def __init__(self, truth_rows: np.ndarray, imputed_rows: np.ndarray) -> None:
        self._rows = truth_rows, imputed_rows
        self._place: tuple[str, int] = ("", 0)
        self._same = np.full(
            len(truth_rows), -1, dtype=np.int8
        )  # order of alleles at the last call compared, -1 = none
        self._first = self._same.copy()  # that at the first one of the first contig
        self.pairs = np.zeros(len(truth_rows), dtype=np.int64)
        self.switches = np.zeros(len(truth_rows), dtype=np.int64)

    def add(self, pair: Pair) -> None:
        """Add a site."""
        contig, pos = pair.truth.contig, pair.truth.pos
        if contig != self._place[0]:
            self._same[:] = -1
        first = (contig, pos) != self._place
        self._place = (contig, pos)
        records = pair.truth, pair.imputed
        if not first or any(record.phase_sets or not (record.kinds == PHASED).any() for record in records):
            return
        alleles = [record.alleles[rows] for record, rows in zip(records, self._rows, strict=True)]
        heterozygous = [
            (record.kinds[rows] == PHASED) & ((own > 0).sum(axis=1) == 1)
            for record, rows, own in zip(records, self._rows, alleles, strict=True)
        ]
        compared = heterozygous[0] & heterozygous[1]
        turned = pair.truth_turned != pair.imputed_turned
        same = ((alleles[0][:, 0] == alleles[1][:, 0]) != turned).astype(np.int8)
        follows = compared & (self._same >= 0)
        self.pairs += follows
        self.switches += follows & (same != self._same)
        self._same[compared] = same[compared]
        begin = compared & (self._first < 0)
        self._first[begin] = same[begin]

    def join(self, later: Switches) -> None:
        """Add the counts of sites that follow those added here, all of one contig."""
        if not later._place[0]:
            return
        if later._place[0] != self._place[0]:
            self._same[:] = -1
        follows = (self._same >= 0) & (later._first >= 0)
        self.pairs += later.pairs + follows
        self.switches += later.switches + (follows & (self._same != later._first))
        self._same = np.where(later._same >= 0, later._same, self._same)
        self._place = later._place

    def rates(self) -> np.ndarray:
        """Return the switch error rate of each sample, float64 (n_samples,), NaN without pairs."""
        with np.errstate(invalid="ignore"):
            return self.switches / self.pairs

    def total(self) -> dict[str, float]:
        """Return `pairs`, `switches` and `switch_error` of all samples together; empty without pairs."""
        n = int(self.pairs.sum())
        return (
            {"pairs": n, "switches": int(self.switches.sum()), "switch_error": float(self.switches.sum() / n)}
            if n
            else {}
        )
