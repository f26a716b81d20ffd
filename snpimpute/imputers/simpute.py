"""Simpute: a missing call from two neighbouring sites of the same target, without a reference panel."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement, product
from typing import ClassVar, Literal

import numpy as np

from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.imputers._target import TargetLearner, TargetParams, frequencies_in
from snpimpute.imputers.contract import Variant

ITERATIONS = 10  # of the two-locus EM, which is not run to convergence
FLOOR = 1e-6  # least r², haplotype proportion, and share of a genotype pair
UNKNOWN = 3  # a missing call, -1, in two bits
STRIDES = np.array([16, 4, 1])  # steps of the three sites in a window's flat table
CALLS_AT_ONCE = 1_000_000  # calls counted at once


class SimputeParams(TargetParams):
    """Reading of the paper's weights, and choice of the samples that are counted.

    Attributes:
        weights: reading of the paper's weights. "factor": a haplotype's score is the product of its three pairs'
            proportions p, times the sum of the three genotype pairs' weights; "exponent": the product of the p^r²,
            times the product of these weights.
        use_panel: whether the panel's samples are counted with the target's; the paper has no panel.
    """

    weights: Literal["factor", "exponent"] = "exponent"
    use_panel: bool = False


class Simpute(TargetLearner):
    """Simpute (Lin, Chang, Tang & Hsieh 2013, "Simpute: an efficient solution for dense genotypic data").

    A window is three successive sites of a contig, counted over the samples complete at all three. A missing call
    between two calls is the middle of its window. A run of missing calls is filled from its complete sides inwards,
    each call from the two sites before it on that side, including calls imputed earlier; if the second of these is
    missing too, any genotype is possible there. Sites without any call are skipped: they get the panel's genotype
    frequencies, or a third each without a panel. Without a neighbour, or without a complete sample in the window, the
    site's genotype frequencies decide.

    The posterior is the best score of each genotype, normalised: the call is the paper's, but the posterior is a ratio
    of maxima.
    """

    description = "two neighbouring sites of the target itself, no reference panel"
    Params = SimputeParams
    variants: ClassVar = {"default": Variant(), "panel": Variant(params={"use_panel": True})}

    def _posterior(self, target: GenotypeMatrix) -> np.ndarray:
        training_calls = self._training_calls(target)
        frequencies = frequencies_in(training_calls, self.frequencies)
        track = Track.of(target.sites["contig"].to_numpy(), (training_calls != MISSING).any(axis=0))
        calls = track.lay(training_calls)
        rows, columns = np.nonzero(calls[: target.n_samples] == UNKNOWN)
        start, turn = track.windows(rows, columns)
        windows, which = np.unique(start[turn >= 0], return_inverse=True)
        counts = count_windows(calls, windows)
        tables = score_tables(counts, self.params.weights).reshape(-1, 64)
        counted = counts.sum(axis=(1, 2, 3)) > 0

        out = np.broadcast_to(frequencies.astype(np.float32), (*target.calls.shape, 3)).copy()
        number = np.full(len(turn), -1)
        number[turn >= 0] = which
        for now in _by_turn(turn):
            row, column, window = rows[now], columns[now], number[now]
            place = STRIDES[column - start[now]]
            around = calls[row[:, None], start[now][:, None] + np.arange(3)] @ STRIDES - UNKNOWN * place
            scores = tables[window[:, None], around[:, None] + place[:, None] * np.arange(3)]
            site = track.sites[column]
            scores = np.where(counted[window, None], scores, frequencies[site])
            out[row, site] = scores / np.sum(scores, axis=1, keepdims=True)
            calls[row, column] = out[row, site].argmax(axis=1)
        return out


def _by_turn(turn: np.ndarray) -> list[np.ndarray]:
    """Return the indices (int) of the calls of each turn, from turn 0 on."""
    order = np.argsort(turn, kind="stable")[np.count_nonzero(turn < 0) :]
    return np.split(order, np.flatnonzero(np.diff(turn[order])) + 1)


@dataclass(frozen=True, eq=False)
class Track:
    """The sites that have calls, side by side as columns.

    A contig with two such sites gets a third column, where all samples have the same genotype.

    Attributes:
        sites: int (n_columns,), number of each column's site; an added column has the number of sites.
        first, last: int (n_columns,), first and last column of each column's contig.
    """

    sites: np.ndarray
    first: np.ndarray
    last: np.ndarray

    @classmethod
    def of(cls, contigs: np.ndarray, known: np.ndarray) -> Track:
        """Make the track of sites with these contigs; `known` (bool) tells which sites have any call."""
        sites = np.flatnonzero(known)
        contig = contigs[sites]
        block = np.cumsum(np.append(False, contig[1:] != contig[:-1])[: len(sites)])
        sizes = np.bincount(block)
        pairs = np.flatnonzero(sizes == 2)
        ends = np.cumsum(sizes)[pairs]
        block = np.insert(block, ends, pairs)
        first = np.searchsorted(block, block)
        return cls(np.insert(sites, ends, len(contigs)), first, first + sizes[block] - 1)

    def lay(self, calls: np.ndarray) -> np.ndarray:
        """Return calls by column, uint8 (n, n_columns): 0, 1, 2, or 3 where missing.

        Args:
            calls: int8 (n, n_sites), -1 = missing.
        """
        return np.append(calls, np.zeros((len(calls), 1), dtype=np.int8), axis=1)[:, self.sites].view(np.uint8) & 3

    def windows(self, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the window of each missing call, and the order of imputing.

        Args:
            rows, columns: int (n,), places of the missing calls, sorted by row, then column.

        Returns:
            int (n,) each: first column of the window, and the turn, from 0 on, at which the call's neighbours are
            known; -1 for a call without neighbours on its contig.
        """
        n = len(rows)
        joined = (np.diff(rows) == 0) & (np.diff(columns) == 1) & (np.diff(self.first[columns]) == 0)
        run = np.cumsum(np.append(False, ~joined)[:n])
        begin = columns[np.append(True, ~joined)[:n]][run]
        end = columns[np.append(~joined, True)[:n]][run]
        left, right = columns - begin, end - columns
        has_left, has_right = begin > self.first[columns], end < self.last[columns]
        by_left = has_left & (~has_right | (left <= right))
        turn = np.where(by_left, left, np.where(has_right, right, -1))
        between = has_left & has_right & (left == right)
        start = columns - np.where(between, 1, np.where(by_left, 2, 0))
        first, last = self.first[columns], self.last[columns]
        return np.clip(start, first, np.maximum(last - 2, first)), turn


def count_windows(calls: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Count each genotype triple at three columns, over the samples complete at all of them.

    Args:
        calls: uint8 (n, n_columns): 0, 1, 2, or 3 where missing.
        starts: int (n_windows,): first column of each window.

    Returns:
        int (n_windows, 3, 3, 3).
    """
    counts = np.empty((len(starts), 4, 4, 4), dtype=np.int64)
    step = max(CALLS_AT_ONCE // max(len(calls), 1), 1)
    for begin in range(0, len(starts), step):
        block = starts[begin : begin + step]
        triple = calls[:, block] << 4 | calls[:, block + 1] << 2 | calls[:, block + 2]
        numbered = triple + 64 * np.arange(len(block))
        counts[begin : begin + step] = np.bincount(numbered.ravel(), minlength=64 * len(block)).reshape(-1, 4, 4, 4)
    return counts[:, :3, :3, :3]


def haplotype_proportions(counts: np.ndarray) -> np.ndarray:
    """Estimate two-locus haplotype proportions by at most ITERATIONS of EM.

    Args:
        counts: (..., 3, 3), samples by genotype at the first and second site.

    Returns:
        float64 (..., 2, 2): proportion of haplotypes by allele at either site; 0 without samples.
    """
    n = np.asarray(counts, dtype=np.float64)
    both = n[..., 1, 1]
    sure = np.empty((*both.shape, 2, 2))
    for a, b in product((0, 1), repeat=2):
        sure[..., a, b] = 2 * n[..., 2 * a, 2 * b] + n[..., 2 * a, 1] + n[..., 1, 2 * b]
    haplotypes = np.maximum(2 * n.sum(axis=(-2, -1)), 1)[..., None, None]
    coupled = np.eye(2)
    alpha = np.full(both.shape, 0.5)
    for _ in range(ITERATIONS):
        share = np.where(coupled == 1, alpha[..., None, None], 1 - alpha[..., None, None])
        p = (sure + share * both[..., None, None]) / haplotypes
        coupling, repulsion = p[..., 0, 0] * p[..., 1, 1], p[..., 0, 1] * p[..., 1, 0]
        total = coupling + repulsion
        alpha = np.divide(coupling, total, out=alpha, where=total > 0)
    return p


def linkage(p: np.ndarray) -> np.ndarray:
    """Return r², float64 (...,), of two-locus haplotype proportions (..., 2, 2); 0 where a site does not vary."""
    first, second = p[..., 1, :].sum(axis=-1), p[..., :, 1].sum(axis=-1)
    variance = first * (1 - first) * second * (1 - second)
    covariance = p[..., 1, 1] - first * second
    return np.divide(covariance**2, variance, out=np.zeros_like(variance), where=variance > FLOOR**2)


def score_tables(counts: np.ndarray, weights: Literal["factor", "exponent"]) -> np.ndarray:
    """Return the best score of each genotype triple over the pairs of haplotypes that give it.

    Args:
        counts: (n_windows, 3, 3, 3), samples by genotype at the three sites.
        weights: see SimputeParams.

    Returns:
        float64 (n_windows, 4, 4, 4); index 3 = the best of the site's genotypes.
    """
    n = np.maximum(counts.sum(axis=(1, 2, 3)), 1)[:, None, None]
    haplotype = np.ones((len(counts), 2, 2, 2))
    weight = np.zeros((len(counts), 3, 3, 3)) if weights == "factor" else np.ones((len(counts), 3, 3, 3))
    for other in (1, 2, 3):  # axis of the site that is not in the pair
        pair = counts.sum(axis=other)
        p = haplotype_proportions(pair)
        r2 = np.maximum(linkage(p), FLOOR)[:, None, None]
        p = np.maximum(p, FLOOR)
        w = np.expand_dims(r2 * np.maximum(pair / n, FLOOR), other)
        if weights == "factor":  # r² would be the same factor for all haplotypes
            haplotype *= np.expand_dims(p, other)
            weight += w
        else:
            haplotype *= np.expand_dims(p**r2, other)
            weight *= w
    best = np.zeros((len(counts), 4, 4, 4))
    for one, two in combinations_with_replacement(product((0, 1), repeat=3), 2):
        i, j, k = np.add(one, two)
        both = haplotype[:, one[0], one[1], one[2]] * haplotype[:, two[0], two[1], two[2]]
        best[:, i, j, k] = np.maximum(best[:, i, j, k], both)
    best[:, :3, :3, :3] *= weight
    best[:, 3] = best[:, :3].max(axis=1)
    best[:, :, 3] = best[:, :, :3].max(axis=2)
    best[:, :, :, 3] = best[:, :, :, :3].max(axis=3)
    return best
