"""LD-weighted nearest neighbours: a missing call from the samples most alike at linked sites."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from pydantic import Field

from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.imputers._target import TargetLearner, TargetParams, frequencies_in
from snpimpute.imputers.contract import Trial, Variant

BLOCK = 64  # sites whose linkage is computed at once
PAIRS_AT_ONCE = 2_000_000  # pairs of samples whose distance is computed at once
FREQUENCIES = 0.01  # weight of the site's genotype frequencies beside the votes


class LdKnnParams(TargetParams):
    """LinkImpute's parameters, and the reach of its search.

    Attributes:
        k: number of samples that vote; samples as near as the last of them vote too.
        linked: number of sites, the most linked ones, at which samples are compared (LinkImpute's l).
        reach: sites on either side, on the same contig, that may be linked; LinkImpute considers all.
        use_panel: whether the panel's samples are learned from and vote beside the target's.
    """

    k: int = Field(5, ge=1)
    linked: int = Field(20, ge=1)
    reach: int = Field(200, ge=1)


class LdKnn(TargetLearner):
    """LD-kNNi (Money et al. 2015, "LinkImpute: fast and accurate genotype imputation for nonmodel organisms").

    The distance of two samples is 1 plus the sum of differences of their calls at the linked sites, scaled from the
    sites called in both to all; a vote has the inverse distance as its weight. LinkImpute fills one sample after the
    other, twice. Here only observed calls count, so that the order of samples does not matter; and r² is weighted by
    the share of the samples with the call missing that have a call at the other site, so that whole sites may be
    missing. Without linked sites, or samples to compare with, the site's genotype frequencies decide.
    """

    description = "votes of the samples most alike at the most linked sites, with or without a reference panel"
    Params = LdKnnParams
    variants: ClassVar = {"default": Variant(), "tuned": Variant(tune=True)}

    @staticmethod
    def search_space(trial: Trial) -> LdKnnParams:
        return LdKnnParams(
            k=trial.suggest_int("k", 1, 50, log=True), linked=trial.suggest_int("linked", 3, 100, log=True)
        )

    def _posterior(self, target: GenotypeMatrix) -> np.ndarray:
        from threadpoolctl import threadpool_limits

        calls = self._training_calls(target)
        frequencies = frequencies_in(calls, self.frequencies)
        out = np.broadcast_to(frequencies.astype(np.float32), (*target.calls.shape, 3)).copy()
        holes = target.calls == MISSING
        contigs = target.sites["contig"].to_numpy()
        with threadpool_limits(1):  # the order of sums must not depend on the number of threads
            for contig in _contiguous(contigs):
                for sites in np.array_split(contig, -(-len(contig) // BLOCK)):
                    for site, linked in self._linked(calls, holes, sites, contig):
                        rows = np.flatnonzero(holes[:, site])
                        votes = self._votes(calls[np.ix_(rows, linked)], calls[:, linked], calls[:, site])
                        total = votes.sum(axis=1, keepdims=True)
                        shares = np.divide(votes, total, out=np.zeros_like(votes), where=total > 0)
                        mixed = shares + FREQUENCIES * frequencies[site]
                        out[rows, site] = mixed / mixed.sum(axis=1, keepdims=True)
        return out

    def _linked(
        self, calls: np.ndarray, holes: np.ndarray, sites: np.ndarray, contig: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each of `sites` with missing calls, and the sites of its contig at which samples are compared (int)."""
        sites = sites[holes[:, sites].any(axis=0)]
        if len(sites) == 0:
            return
        reach = self.params.reach
        near = contig[(contig >= sites[0] - reach) & (contig <= sites[-1] + reach)]
        window = slice(near[0], near[-1] + 1)
        rank = linkage(calls[:, window], calls[:, sites]) * share(~holes[:, window], holes[:, sites])
        distance = np.abs(near[:, None] - sites)
        rank[(distance == 0) | (distance > reach)] = 0
        best = np.argsort(-rank, axis=0, kind="stable")[: self.params.linked]
        for column, site in enumerate(sites):
            order = best[:, column]
            yield int(site), near[order[rank[order, column] > 0]]

    def _votes(self, receivers: np.ndarray, donors: np.ndarray, given: np.ndarray) -> np.ndarray:
        """Return the weight of the votes for each genotype, float64 (n_receivers, 3); 0 without comparable samples.

        Args:
            receivers: int8 (n_receivers, n_linked), calls at the linked sites of the samples to impute.
            donors: int8 (n_donors, n_linked), calls of all samples there.
            given: int8 (n_donors,), calls of all samples at the site to impute.
        """
        donors, given = donors[given != MISSING], given[given != MISSING]
        votes = np.zeros((len(receivers), 3))
        if len(given) == 0:
            return votes
        k = min(self.params.k, len(given))
        ballot = np.eye(3)[given]
        step = max(PAIRS_AT_ONCE // len(given), 1)
        for begin in range(0, len(receivers), step):
            block = slice(begin, begin + step)
            d = distances(receivers[block], donors)
            nearest = np.partition(d, k - 1, axis=1)[:, k - 1 : k]
            votes[block] = np.where(d <= nearest, 1 / d, 0) @ ballot
        return votes


def _contiguous(contigs: np.ndarray) -> list[np.ndarray]:
    """Return the sites (int) of each contig."""
    return np.split(np.arange(len(contigs)), np.flatnonzero(contigs[1:] != contigs[:-1]) + 1)


def linkage(calls: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the squared correlation of genotypes, over the samples that have both calls.

    Args:
        calls: int8 (n, n_sites), -1 = missing.
        others: int8 (n, n_others), -1 = missing.

    Returns:
        float64 (n_sites, n_others); 0 where one of the two sites does not vary.
    """
    x, y = np.maximum(calls, 0).astype(np.float32), np.maximum(others, 0).astype(np.float32)
    in_x, in_y = (calls != MISSING).astype(np.float32), (others != MISSING).astype(np.float32)
    # whole numbers below 2^24 (four million samples): these products are exact
    pairs = (in_x, in_y), (x, in_y), (in_x, y), (x * x, in_y), (in_x, y * y), (x, y)
    n, sx, sy, sxx, syy, sxy = ((a.T @ b).astype(np.float64) for a, b in pairs)
    spread = (n * sxx - sx**2) * (n * syy - sy**2)
    return np.divide((n * sxy - sx * sy) ** 2, spread, out=np.zeros_like(spread), where=spread > 0)


def share(seen: np.ndarray, holes: np.ndarray) -> np.ndarray:
    """Return the share of the samples with a missing call at one site that have a call at another.

    Args:
        seen: bool (n, n_sites), calls there are.
        holes: bool (n, n_others), missing calls.

    Returns:
        float64 (n_sites, n_others).
    """
    both = (seen.astype(np.float32).T @ holes.astype(np.float32)).astype(np.float64)
    return both / holes.sum(axis=0)


def distances(receivers: np.ndarray, donors: np.ndarray) -> np.ndarray:
    """Return 1 + the sum of |differences| of calls, scaled to all linked sites, float64 (n_receivers, n_donors).

    It is infinite between samples that share no called site.

    Args:
        receivers: int8 (n_receivers, n_linked), -1 = missing.
        donors: int8 (n_donors, n_linked), -1 = missing.
    """
    seen, there = (receivers != MISSING).astype(np.float32), (donors != MISSING).astype(np.float32)
    a, b = np.maximum(receivers, 0).astype(np.float32), np.maximum(donors, 0).astype(np.float32)
    # |a - b| = a + b - 2 min(a, b), and min counts the thresholds 1 and 2 that both reach: a matrix product
    left = np.concatenate([a, seen, -2.0 * (a >= 1), -2.0 * (a >= 2)], axis=1, dtype=np.float32)
    right = np.concatenate([there, b, b >= 1, b >= 2], axis=1, dtype=np.float32)
    total, shared = (left @ right.T).astype(np.float64), (seen @ there.T).astype(np.float64)
    return np.divide(total * receivers.shape[1], shared, out=np.full_like(total, np.inf), where=shared > 0) + 1
