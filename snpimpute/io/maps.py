"""Genetic maps: positions in centimorgans."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.base.folders import copy_of
from snpimpute.io.builds import plain_contig
from snpimpute.io.filters import shortened

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
            InputError: no such file, a line without four columns, a value that is not a number, positions that fall or repeat,
                cM that fall, a contig whose cM are all the same: what Beagle refuses too.
        """
        try:
            lines = copy_of(path).read_text(encoding="utf-8-sig").splitlines()
        except OSError as error:
            raise InputError(
                f"cannot read the genetic map {path}: {error.strerror}; give a PLINK map file with cM"
            ) from None
        except UnicodeDecodeError:
            raise InputError(
                f"cannot read the genetic map {path}: it is no text; if it is compressed, gunzip it"
            ) from None
        rows = []
        for number, line in enumerate(lines, start=1):
            parts = line.split()
            if not parts:
                continue
            try:
                contig, _, cm, pos = parts
                rows.append((contig, float(cm), int(pos)))
                if not np.isfinite(rows[-1][1]):
                    raise ValueError
            except ValueError:
                raise InputError(
                    f"{path}, line {number}, is not of a PLINK map (contig, id, cM, position): {line.strip()[:60]}"
                ) from None
        if not rows:
            raise InputError(f"the genetic map {path} is empty")
        table = pd.DataFrame(rows, columns=["contig", "cm", "pos"])
        for contig, rows_of_contig in table.groupby("contig", sort=False):
            steps = rows_of_contig[["cm", "pos"]].diff()
            where = f"the genetic map {path} cannot be used: on contig {contig}"
            for what, wrong, advice in (
                ("positions fall", steps.pos < 0, "sort the map by contig and position"),
                ("a position repeats", steps.pos == 0, "keep one line of each position"),
                (
                    "cM fall",
                    steps.cm < 0,
                    "a map's cM never fall along a contig: get another map, or leave this line out",
                ),
            ):
                if wrong.any():
                    raise InputError(f"{where} {what} at {rows_of_contig.pos[wrong].iloc[0]}: {advice}")
            if rows_of_contig.cm.nunique() == 1:
                raise InputError(
                    f"{where} all cM are {rows_of_contig.cm.iloc[0]:g}: give two positions that differ at least"
                )
        return cls(table)

    def require_contigs(self, contigs: Iterable[str]) -> None:
        """Raise InputError unless the map has all of the contigs, by their names letter for letter."""
        for contig in dict.fromkeys(contigs):
            if self._contigs is not None and contig not in self._contigs:
                alike = next((own for own in self._contigs if plain_contig(own) == plain_contig(contig)), None)
                advice = "" if alike is None else f": write {contig} for {alike} in the map"
                raise InputError(
                    f"the genetic map has no contig {contig!r}; it has {shortened(list(self._contigs))}{advice}"
                )

    def rows(self) -> list[tuple[str, int, float]]:
        """Return contig, position and cM of each point of the map, in order; none without a map."""
        return [
            (contig, int(at), float(value))
            for contig, (pos, cm) in (self._contigs or {}).items()
            for at, value in zip(pos, cm, strict=True)
        ]

    def centimorgans(self, contig: str, pos: np.ndarray) -> np.ndarray:
        """Return the cM of 1-based positions, float64; beyond the ends of the map, 1 cM per Mb is added.

        Raises:
            InputError: the map does not have the contig.
        """
        pos = np.asarray(pos, dtype=float)
        if self._contigs is None:
            return pos / BASES_PER_CM
        self.require_contigs([contig])
        known, cm = self._contigs[contig]
        beyond = np.maximum(pos - known[-1], 0) - np.maximum(known[0] - pos, 0)
        return np.interp(pos, known, cm) + beyond / BASES_PER_CM
