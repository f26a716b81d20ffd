"""Mendelian conflicts: calls of children compared with those of their parents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from snpimpute.genotypes.matrix import MISSING


def _conflict_table() -> np.ndarray:
    """Return the table of conflicts by genotype of sire, dam and child, bool (4, 4, 4); index 3 (or -1) is missing."""
    gametes = ({0}, {0, 1}, {1}, {0, 1})
    table = np.zeros((4, 4, 4), dtype=bool)
    for sire in range(4):
        for dam in range(4):
            possible = {a + b for a in gametes[sire] for b in gametes[dam]}
            for child in range(3):
                table[sire, dam, child] = child not in possible
    return table


CONFLICTS = _conflict_table()


class Trios:
    """Counts of Mendelian conflicts of the samples that have genotyped parents."""

    def __init__(self, names: Sequence[str], children: np.ndarray, sires: np.ndarray, dams: np.ndarray) -> None:
        self._names = np.array([*names, ""], dtype=object)
        self._rows = (children, sires, dams)  # an absent parent has the last row, where no call is
        self._counts = np.zeros((4, len(children)), dtype=np.int64)

    @classmethod
    def of(cls, names: Sequence[str], table: pd.DataFrame | None) -> Trios:
        """Collect the samples of `table` (columns sample, sire, dam) that are in `names` and have a parent there."""
        row = {name: i for i, name in enumerate(names)}
        trios: list[tuple[int, int, int]] = []
        if table is not None and ("sire" in table or "dam" in table):
            empty = [""] * len(table)
            for name, sire, dam in zip(table["sample"], table.get("sire", empty), table.get("dam", empty), strict=True):
                if name in row and (sire in row or dam in row):
                    trios.append((row[name], row.get(sire, len(names)), row.get(dam, len(names))))
        children, sires, dams = np.array(trios, dtype=np.intp).reshape(-1, 3).T
        return cls(names, children, sires, dams)

    def add(self, calls: np.ndarray) -> tuple[int, int]:
        """Count the calls at one site, int8 (n_samples,), -1 = missing.

        Returns:
            Number of trios (or pairs of a child and one parent) compared there, and of those in conflict.
        """
        if not self._counts.shape[1]:
            return 0, 0
        child, sire, dam = (np.append(calls, np.int8(MISSING))[rows] for rows in self._rows)
        compared = (child != MISSING) & ((sire != MISSING) | (dam != MISSING))
        conflict = compared & CONFLICTS[sire, dam, child]
        unknown = np.int8(MISSING)
        self._counts += [compared, conflict, CONFLICTS[sire, unknown, child], CONFLICTS[unknown, dam, child]]
        return int(compared.sum()), int(conflict.sum())

    def join(self, others: Trios) -> None:
        """Add the counts at other sites, of the same samples."""
        self._counts += others._counts

    def table(self) -> pd.DataFrame:
        """Return the counts of each child, summed over sites.

        Returns:
            Columns sample, sire, dam (empty = not among the names), sites, conflicts, sire_conflicts, dam_conflicts.
        """
        children, sires, dams = (self._names[rows] for rows in self._rows)
        counts = dict(zip(("sites", "conflicts", "sire_conflicts", "dam_conflicts"), self._counts, strict=True))
        return pd.DataFrame({"sample": children, "sire": sires, "dam": dams, **counts})
