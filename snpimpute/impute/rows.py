"""Rows of an imputed file: sites of a model that vary, which windows impute, sites that do not, and the records that they make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from snpimpute.genotypes.matrix import MISSING, SITE_COLUMNS
from snpimpute.impute.findings import TargetCheck
from snpimpute.impute.matching import PanelSites
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
        of_panel: int64, the row of each of the panel's sites.
        of_target: int64, the row of each site of the target (see `TargetCheck.sites`), -1 = none.
        group: int64 (n_rows,), the record with several ALTs that a row is a part of, -1 = it is a record of its own.
        groups: of each such record the rows of its ALTs, in order.
        group_of: number of the target's record → the group that it is.
        haploid: bool (n_rows,), whether the panel has haploid calls at the site, or at the one before where it lacks it.
    """

    sites: pd.DataFrame
    varying: np.ndarray
    frequency: np.ndarray
    n_panel: int
    of_panel: np.ndarray
    of_target: np.ndarray
    group: np.ndarray
    groups: list[list[int]]
    group_of: dict[int, int]
    haploid: np.ndarray

    @classmethod
    def of(cls, panel: PanelSites, check: TargetCheck, varying: np.ndarray, n_panel: int) -> Rows:
        """Return the rows for a target.

        A record of the target comes back with its ALTs in their order, also those that the panel lacks, followed by ALTs that
        the panel's record alone has. ALTs that stand in one record of the panel and in several of the target stay apart.

        Args:
            panel: the sites that the target was compared with.
            check: that comparison.
            varying: int64, the panel's sites that windows impute.
            n_panel: number of samples of the panel.
        """
        own = check.sites
        panel_row, number = own["panel_index"].to_numpy(), own["record"].to_numpy()
        used = np.isin(number, number[panel_row >= 0])
        extra = np.flatnonzero(used & (panel_row < 0))
        contigs = {name: (first, last) for name, first, last in contigs_of(panel.sites)}
        pos = panel.sites["pos"].to_numpy()
        spans = [contigs[check.contigs[contig]] for contig in own["contig"].iloc[extra]]
        after = [
            first + int(np.searchsorted(pos[first:last], at, side="right"))
            for (first, last), at in zip(spans, own["pos"].iloc[extra], strict=True)
        ]
        order = np.argsort(np.concatenate([np.arange(len(pos)), np.array(after) - 0.5]), kind="stable")
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        sites, frequency = panel.sites, panel.alt_frequency
        haploid = np.zeros(len(pos), dtype=bool) if panel.haploid is None else panel.haploid
        if len(extra):
            added = own.iloc[extra][list(SITE_COLUMNS)].assign(id="")
            added["contig"] = added["contig"].map(check.contigs)
            sites = pd.concat([sites, added]).iloc[order].reset_index(drop=True)
            frequency = np.concatenate([frequency, np.zeros(len(extra))])[order]
            haploid = np.concatenate([haploid, haploid[np.maximum(np.array(after) - 1, 0)]])[order]
        of_target = np.where(panel_row >= 0, place[panel_row], -1)
        of_target[extra] = place[len(pos) :]
        record = np.arange(len(pos)) if panel.record is None else panel.record
        groups, group_of = _joined(own, panel_row, of_target, place, record)
        group = np.full(len(sites), -1, dtype=np.int64)
        for each, rows in enumerate(groups):
            group[rows] = each
        return cls(sites, place[varying], frequency, n_panel, place, of_target, group, groups, group_of, haploid)

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

    def haploid_calls(self, rows: slice, ploidy: np.ndarray | None) -> np.ndarray | None:
        """Return bool (n_rows, n_samples), the haploid calls of some rows, alike at all sites of a record; None if there are none.

        Args:
            rows: as `parts` gives them.
            ploidy: int8 (all rows, n_samples), 1 = haploid; None = there are none anywhere.
        """
        if ploidy is None or not (haploid := ploidy[rows] == 1).any():
            return None
        for group in set(self.group[rows].tolist()) - {-1}:
            members = np.array(self.groups[group]) - rows.start
            haploid[members] = haploid[members].any(axis=0)
        return haploid

    def joined(
        self, rows: slice, wanted: np.ndarray, haploid: np.ndarray | None
    ) -> tuple[list[tuple[np.ndarray, int]], np.ndarray]:
        """Return the rows to join to records, and those that are records of SNPs or the like without haploid calls.

        Args:
            rows: as `parts` gives them.
            wanted: bool (n_rows,), those to write.
            haploid: see `haploid_calls`.

        Returns:
            Of each record with several ALTs or haploid calls the numbers of its rows among these, and its group or -1; int64,
            the numbers of the other rows.
        """
        group = self.group[rows]
        single = wanted & (group < 0)
        with_haploid = single & (False if haploid is None else haploid.any(axis=1))
        found = [
            (np.array(self.groups[each]) - rows.start, each)
            for each in dict.fromkeys(group[wanted & (group >= 0)].tolist())
        ]
        found += [(np.array([row]), -1) for row in np.flatnonzero(with_haploid).tolist()]
        return found, np.flatnonzero(single & ~with_haploid)

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
        p = copies / np.maximum(2 * self.n_panel + 2 * seen.sum(axis=1), 1)
        out[:, ~varies] = np.stack([2 * p * (1 - p), p**2])[:, :, None]
        return out


def _joined(
    own: pd.DataFrame, panel_row: np.ndarray, of_target: np.ndarray, place: np.ndarray, record: np.ndarray
) -> tuple[list[list[int]], dict[int, int]]:
    """Return `groups` and `group_of` of Rows.

    Args:
        own: the target's sites.
        panel_row, of_target: of each of them the panel's site and the row, -1 = none.
        place: the row of each of the panel's sites.
        record: the number of the record of each of the panel's sites.
    """
    _, numbers, sizes = np.unique(record, return_inverse=True, return_counts=True)
    several = sizes[numbers] > 1
    members: dict[int, list[int]] = {}  # of the panel's records with several ALTs, the sites
    for site in np.flatnonzero(several).tolist():
        members.setdefault(int(numbers[site]), []).append(site)
    n_alts, target_record = own["n_alts"].to_numpy(), own["record"].to_numpy()
    concerned = (of_target >= 0) & ((n_alts > 1) | ((panel_row >= 0) & several[panel_row]))
    parts: dict[int, list[int]] = {}  # of the target's records that are groups, the sites
    for site in np.flatnonzero((of_target >= 0) & np.isin(target_record, target_record[concerned])).tolist():
        parts.setdefault(int(target_record[site]), []).append(site)
    claims: dict[int, set[int]] = {}
    for each, sites in parts.items():
        for site in sites:
            if panel_row[site] >= 0:
                claims.setdefault(int(numbers[panel_row[site]]), set()).add(each)
    claimed = {int(panel_row[site]) for sites in parts.values() for site in sites}
    groups: list[list[int]] = []
    group_of: dict[int, int] = {}
    for each, sites in parts.items():
        rows = [int(of_target[site]) for site in sites]
        for site in sites:
            of_panel = int(numbers[panel_row[site]]) if panel_row[site] >= 0 else -1
            if claims.get(of_panel) == {each}:
                rows += [int(place[m]) for m in members.get(of_panel, []) if m not in claimed and place[m] not in rows]
        group_of[each] = len(groups)
        groups.append(rows)
    for of_panel, sites in members.items():
        left = [int(place[site]) for site in sites if site not in claimed]
        if len(claims.get(of_panel, ())) != 1 and len(left) > 1:
            groups.append(left)
    return groups, group_of
