"""Genetic maps: positions in centimorgans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError

BASES_PER_CM = 1_000_000  # if there is no map


class GeneticMap:
    """Genetic map: centimorgans of positions, interpolated in a table, or 1 cM per Mb without one.

    Args:
        table: columns contig (str), cm and pos (numbers), in order of position within a contig; None = no map.
    """

    def __init__(self, table: pd.DataFrame | None = None) -> None:
        self._contigs = None
        if table is not None:
            self._contigs = {
                str(contig): (rows["pos"].to_numpy(float), rows["cm"].to_numpy(float))
                for contig, rows in table.groupby("contig", sort=False)
            }

    @classmethod
    def read(cls, path: Path) -> GeneticMap:
        """Read a map in the form of PLINK and Beagle: contig, id, cM, position (1-based) in four columns, no header.

        Raises:
            InputError: no such file, a line without four columns, a value that is not a number, cM or positions that
                decrease.
        """
        try:
            lines = path.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read the genetic map {path}: {error}") from None
        rows = []
        for number, line in enumerate(lines, start=1):
            parts = line.split()
            if not parts:
                continue
            try:
                contig, _, cm, pos = parts
                rows.append((contig, float(cm), int(pos)))
            except ValueError:
                raise InputError(
                    f"{path}, line {number}, is not of a PLINK map (contig, id, cM, position): {line.strip()[:60]}"
                ) from None
        if not rows:
            raise InputError(f"the genetic map {path} is empty")
        table = pd.DataFrame(rows, columns=["contig", "cm", "pos"])
        for contig, rows_of_contig in table.groupby("contig", sort=False):
            if (rows_of_contig[["cm", "pos"]].diff().dropna() < 0).any(axis=None):
                raise InputError(f"{path}: on contig {contig} cM or positions fall: sort the map by position")
        return cls(table)

    def centimorgans(self, contig: str, pos: np.ndarray) -> np.ndarray:
        """Return the cM of 1-based positions, float64; beyond the ends of the map, 1 cM per Mb is added.

        Raises:
            InputError: the map does not have the contig.
        """
        pos = np.asarray(pos, dtype=float)
        if self._contigs is None:
            return pos / BASES_PER_CM
        if contig not in self._contigs:
            raise InputError(f"the genetic map has no contig {contig!r}; it has {', '.join(self._contigs)}")
        known, cm = self._contigs[contig]
        beyond = np.maximum(pos - known[-1], 0) - np.maximum(known[0] - pos, 0)
        return np.interp(pos, known, cm) + beyond / BASES_PER_CM
