"""How often copies switch in each gap between two sites, learned from the panel's own haplotypes by expectation-maximisation."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from snpimpute.imputers._recursions import compiled

COPIED, COPIES = 1000, 400  # most haplotypes that are copied from, and that are seen as mosaics of the others
ROUNDS = 3
# Expected switches in a mean gap that what is known of the gap without the panel counts for.
PRIOR = 0.5
PIECE, MARGIN = 2000, 100  # gaps that are counted at a time, and sites that are looked at beyond them on either side
SHARE = 50  # haplotypes that a thread sees at a time


def learned_places(
    alleles: np.ndarray,
    contigs: Iterable[slice],
    place: np.ndarray,
    switch: float,
    error: float,
    seed: int,
    threads: int,
) -> np.ndarray:
    """Return where sites stand by how often the panel's haplotypes switch between them, the mean gap as the unit.

    Each haplotype of some samples is seen as a mosaic of those of other samples (Li and Stephens 2003). Switches expected in a
    gap are added to those of the prior, which are few: that is the rate of the gap in the next round.

    Args:
        alleles: int8 (R, n_sites), of the panel's haplotypes, two successive ones a sample.
        contigs: the sites of each contig.
        place: float64 (n_sites,), where the sites stand by what is known without the panel, see `mosaic.places`.
        switch: probability of a switch in a mean gap, to begin with.
        error: probability that an allele is not the one copied.
        seed: seed of the choice of samples.
        threads: processor threads.

    Returns:
        float64 (n_sites,), from 0 on each contig. `place` itself, if there are fewer than two samples, or no gaps.
    """
    samples = np.random.default_rng(seed).permutation(len(alleles) // 2)[: COPIED // 2]
    if len(samples) < 2:
        return place
    panel = np.ascontiguousarray(alleles[np.repeat(2 * samples, 2) + np.tile([0, 1], len(samples))].T.astype(np.uint8))
    with ThreadPoolExecutor(threads) as pool:
        return np.concatenate([_of_contig(panel[part], place[part], switch, error, pool) for part in contigs])


def _of_contig(
    alleles: np.ndarray, place: np.ndarray, switch: float, error: float, pool: ThreadPoolExecutor
) -> np.ndarray:
    """Return the `learned_places` of one contig; alleles are uint8 (n_sites, R) here."""
    gaps, n_copies = np.diff(place, prepend=place[:1]), min(COPIES, alleles.shape[1])
    if gaps.sum() == 0:
        return place
    gaps /= gaps[1:].mean()
    borders = [*range(1, len(place), PIECE), len(place)]
    rates = -np.log1p(-switch) * gaps
    for _ in range(ROUNDS):
        chances = (-np.expm1(-rates)).astype(np.float32)

        def expected_of(first: int, chances: np.ndarray = chances) -> np.ndarray:
            out = np.zeros(len(place))
            for begin, end in itertools.pairwise(borders):
                seen = slice(max(0, begin - 1 - MARGIN), end + MARGIN)
                found = np.zeros(len(place[seen]))
                for copy in range(first, min(first + SHARE, n_copies)):
                    add_switches(alleles[seen], copy, chances[seen], np.float32(error), found)
                out[begin:end] = found[begin - seen.start : end - seen.start]
            return out

        expected = np.sum(list(pool.map(expected_of, range(0, n_copies, SHARE))), axis=0)
        mean = max(expected[1:].mean() / n_copies, 1e-9)  # switches of a haplotype in a mean gap
        rates = (expected + PRIOR * gaps) / (n_copies + PRIOR / mean)
    return np.cumsum(rates / rates[1:].mean())


@compiled
def add_switches(alleles, copy, chances, error, out):  # type: ignore[no-untyped-def]
    """Add the switches that are expected in each gap of one haplotype, as a mosaic of those of other samples.

    Args:
        alleles: uint8 (n_sites, R), of the haplotypes, two successive ones a sample.
        copy: number of the haplotype.
        chances: (n_sites,), probability of a switch between each site and the one before it; the first is not used.
        error: probability that an allele is not the one copied.
        out: float64 (n_sites,), to which is added.
    """
    n_sites, n_haplotypes = alleles.shape
    own = copy - copy % 2
    share = np.float32(1) / np.float32(n_haplotypes - 2)
    right = np.float32(1) - error
    forward = np.empty((n_sites, n_haplotypes), dtype=np.float32)
    totals = np.empty(n_sites, dtype=np.float32)
    for j in range(n_sites):
        here, now = alleles[j], forward[j]
        of_0 = error if here[copy] else right
        more = np.float32(1) - of_0 - of_0  # likelihood of allele 1 less that of allele 0
        total = np.float32(0)
        if j == 0:
            for r in range(n_haplotypes):
                now[r] = of_0 + more * np.float32(here[r])
                total += now[r]
        else:
            before = forward[j - 1]
            stay, moved = (np.float32(1) - chances[j]) / totals[j - 1], chances[j] * share
            for r in range(n_haplotypes):
                now[r] = (before[r] * stay + moved) * (of_0 + more * np.float32(here[r]))
                total += now[r]
        totals[j] = total - now[own] - now[own + 1]
        now[own] = now[own + 1] = 0
    backward = np.ones(n_haplotypes, dtype=np.float32)
    for j in range(n_sites - 1, 0, -1):
        here, before = alleles[j], forward[j - 1]
        of_0 = error if here[copy] else right
        more = np.float32(1) - of_0 - of_0
        backward[own] = backward[own + 1] = 0
        total = kept = np.float32(0)
        for r in range(n_haplotypes):
            backward[r] *= of_0 + more * np.float32(here[r])
            total += backward[r]
            kept += backward[r] * before[r]
        switched = chances[j] * share * total * totals[j - 1]
        stayed = (np.float32(1) - chances[j]) * kept
        out[j] += switched / (switched + stayed)
        scale = np.float32(1) / (total * share)
        stay, moved = (np.float32(1) - chances[j]) * scale, chances[j]
        for r in range(n_haplotypes):
            backward[r] = backward[r] * stay + moved
