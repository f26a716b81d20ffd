"""Rows of an imputed file: the sites of a model that vary, which windows impute, and those that do not vary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from snpimpute.genotypes.matrix import MISSING
from snpimpute.impute.windows import contigs_of

ROWS_AT_ONCE = 200  # that are written


@dataclass(frozen=True, eq=False)
class Rows:
    """Sites to write, in order.

    Attributes:
        sites: contig, pos, id, ref, alt, the sites of a contig together, in order of position.
        varying: int64 (n_varying,), the rows that windows impute, in the order of the windows' sites.
        frequency: float64 (n_rows,), the alternate allele's frequency in the panel.
        n_panel: number of samples of the panel.
    """

    sites: pd.DataFrame
    varying: np.ndarray
    frequency: np.ndarray
    n_panel: int

    def parts(
        self, contig: str, blocks: Iterable[tuple[int, np.ndarray]], n_samples: int
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield the rows of a contig, some at a time, with the posterior of those that vary.

        Args:
            contig: name of the contig.
            blocks: the posterior of the sites that vary, as `run.blend_windows` gives it.
            n_samples: number of samples.

        Yields:
            The rows, never a part of those at one position, and float32 (2, n_varying, n_samples): probabilities of
            genotypes 1 and 2 at the rows that vary.
        """
        at, end = next((first, last) for name, first, last in contigs_of(self.sites) if name == contig)
        pos = self.sites["pos"].to_numpy()[:end]
        first = int(np.searchsorted(self.varying, at))
        last = int(np.searchsorted(self.varying, end))
        held = np.zeros((2, 0, n_samples), dtype=np.float32)
        for number, posterior in blocks if last > first else [(first, held)]:
            held = np.concatenate([held, posterior], axis=1) if held.shape[1] else posterior
            done = number + posterior.shape[1]
            stop = end if done >= last else at + int(np.searchsorted(pos[at:], pos[self.varying[done]]))
            while at < stop:
                to = at + ROWS_AT_ONCE
                if to < stop:
                    to = at + int(np.searchsorted(pos[at:], pos[to]))
                    to = to if to > at else at + int(np.searchsorted(pos[at:], pos[at], side="right"))
                rows = slice(at, min(to, stop))
                n_varying = int(np.searchsorted(self.varying, rows.stop)) - first
                yield rows, held[:, :n_varying]
                held, first, at = held[:, n_varying:], first + n_varying, rows.stop

    def posterior(self, rows: slice, of_varying: np.ndarray, calls: np.ndarray) -> np.ndarray:
        """Return float32 (2, n_rows, n_samples): probabilities of genotypes 1 and 2 at all of the rows.

        Of a site that does not vary in the panel the calls that are missing get the Hardy-Weinberg proportions of panel and
        target together: where the target does not vary either, they are sure.

        Args:
            rows: as `parts` gives them.
            of_varying: float32 (2, n_varying, n_samples), as `parts` gives it.
            calls: int8 (n_rows, n_samples), the target's calls, -1 = missing.
        """
        varies = np.zeros(len(calls), dtype=bool)
        varies[self.varying[slice(*np.searchsorted(self.varying, [rows.start, rows.stop]))] - rows.start] = True
        if varies.all():
            return of_varying
        out = np.empty((2, *calls.shape), dtype=np.float32)
        out[:, varies] = of_varying
        others = calls[~varies]
        seen = others != MISSING
        copies = 2 * self.n_panel * self.frequency[rows][~varies] + np.where(seen, others, 0).sum(axis=1)
        p = copies / (2 * self.n_panel + 2 * seen.sum(axis=1))
        out[:, ~varies] = np.stack([2 * p * (1 - p), p**2])[:, :, None]
        return out
