"""Calls of children held against those of their parents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from snpimpute.genotypes.matrix import MISSING


def _conflicts_of_trios() -> np.ndarray:
    """bool (4, 4, 4): whether the genotypes of sire, dam and child contradict inheritance; index 3 (or -1) is missing."""
    gametes = ({0}, {0, 1}, {1}, {0, 1})
    table = np.zeros((4, 4, 4), dtype=bool)
    for sire in range(4):
        for dam in range(4):
            possible = {a + b for a in gametes[sire] for b in gametes[dam]}
            for child in range(3):
                table[sire, dam, child] = child not in possible
    return table


CONFLICTS = _conflicts_of_trios()


class Trios:
    """Samples with genotyped parents, and how often their calls contradict inheritance."""

    def __init__(self, names: Sequence[str], children: np.ndarray, sires: np.ndarray, dams: np.ndarray) -> None:
        self._names = np.array([*names, ""], dtype=object)
        self._of = (children, sires, dams)  # rows; that of a parent who is not there is the last one, never called
        self._sums = np.zeros((4, len(children)), dtype=np.int64)

    @classmethod
    def of(cls, names: Sequence[str], table: pd.DataFrame | None) -> Trios:
        """The samples of `table` (columns sample, sire, dam) that have a parent among `names`, both taken from there."""
        row = {name: i for i, name in enumerate(names)}
        found: list[tuple[int, int, int]] = []
        if table is not None and ("sire" in table or "dam" in table):
            empty = [""] * len(table)
            for name, sire, dam in zip(table["sample"], table.get("sire", empty), table.get("dam", empty), strict=True):
                if name in row and (sire in row or dam in row):
                    found.append((row[name], row.get(sire, len(names)), row.get(dam, len(names))))
        children, sires, dams = np.array(found, dtype=np.intp).reshape(-1, 3).T
        return cls(names, children, sires, dams)

    def add(self, calls: np.ndarray) -> tuple[int, int]:
        """Take in the calls at a site, int8 (n_samples,), -1 = missing.

        Returns:
            How many trios, or pairs of child and one parent, were compared there, and how many contradict inheritance.
        """
        if not self._sums.shape[1]:
            return 0, 0
        child, sire, dam = (np.append(calls, np.int8(MISSING))[rows] for rows in self._of)
        compared = (child != MISSING) & ((sire != MISSING) | (dam != MISSING))
        conflict = compared & CONFLICTS[sire, dam, child]
        nobody = np.int8(MISSING)
        self._sums += [compared, conflict, CONFLICTS[sire, nobody, child], CONFLICTS[nobody, dam, child]]
        return int(compared.sum()), int(conflict.sum())

    def table(self) -> pd.DataFrame:
        """Columns sample, sire, dam (empty = not among the names), sites, conflicts, sire_conflicts, dam_conflicts."""
        children, sires, dams = (self._names[rows] for rows in self._of)
        sums = dict(zip(("sites", "conflicts", "sire_conflicts", "dam_conflicts"), self._sums, strict=True))
        return pd.DataFrame({"sample": children, "sire": sires, "dam": dams, **sums})
