"""The copying model of mosaic in one stretch of sites: haplotypes chosen for a sample, pairs drawn and summed over."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snpimpute.genotypes.matrix import MISSING

if TYPE_CHECKING:
    from snpimpute.imputers.mosaic import MosaicParams

# Observed sites of a block, in which a pass over the whole panel copies one haplotype; fewer where few are observed.
BLOCK, LEAST_BLOCKS = 8, 64
# Numbers that the processor adds or multiplies at once: rows of pairs are filled up to a multiple of it.
AT_ONCE = 8
USUAL_ERROR = 0.003  # probability that an allele is not the one copied, where none is given


@dataclass(frozen=True, eq=False)
class Haplotypes:
    """Panel haplotypes, a bit an allele; each contig begins with a byte of its own, so that contigs share nothing.

    Attributes:
        bits: uint8 (n_bytes, R), eight sites a byte, the first of them in the lowest bit.
        frequencies: float32 (n_sites,), frequency of the alternate allele.
        place_of_bit: int (n_sites,), see `places_of_bits`.
    """

    bits: np.ndarray
    frequencies: np.ndarray
    place_of_bit: np.ndarray

    @classmethod
    def of(cls, alleles: np.ndarray, contigs: Iterable[slice]) -> Haplotypes:
        """Pack alleles, int8 (R, n_sites), of which each contig has a slice."""
        contigs = list(contigs)
        packed = [np.packbits(alleles[:, part].astype(bool), axis=1, bitorder="little").T for part in contigs]
        bits = np.ascontiguousarray(np.concatenate(packed))  # a row a byte: passes over the panel read row after row
        return cls(bits, alleles.mean(axis=0, dtype=np.float32), places_of_bits(contigs))

    @property
    def n_haplotypes(self) -> int:
        return self.bits.shape[1]

    def between(self, begin: int, end: int) -> Haplotypes:
        """Return the haplotypes at the sites from `begin` to `end`, of one contig."""
        places = self.place_of_bit[begin:end]
        first, last = places[0] // 8, places[-1] // 8
        return Haplotypes(self.bits[first : last + 1], self.frequencies[begin:end], places - 8 * first)

    def alleles(self, chosen: np.ndarray, sites: np.ndarray | None = None) -> np.ndarray:
        """Return the alleles of the haplotypes `chosen`, int (K,), at all sites or some of them, uint8 (n_sites, K)."""
        from snpimpute.imputers import _recursions

        return _recursions.unpacked(self.bits, self.place_of_bit if sites is None else self.place_of_bit[sites], chosen)


def places_of_bits(contigs: Iterable[slice]) -> np.ndarray:
    """Return the number of each site's bit among those of a haplotype, int (n_sites,): each contig fills its last byte up."""
    sizes = [part.stop - part.start for part in contigs]
    first = 8 * np.cumsum([0, *(-(-size // 8) for size in sizes)])
    return np.concatenate([begin + np.arange(size) for begin, size in zip(first[:-1], sizes, strict=True)])


@dataclass(frozen=True, eq=False)
class Blocks:
    """Observed sites in blocks, in each of which a pass over the whole panel copies one haplotype.

    Attributes:
        alleles: uint8 (n_rows, R), of the panel's haplotypes at the observed sites, up to eight sites a byte.
        block_of_row: int (n_rows,), the block of each of these bytes.
        row, bit: int (n_observed,), where each observed site is among them.
        middle: float64 (n_blocks,), where the blocks stand.
    """

    alleles: np.ndarray
    block_of_row: np.ndarray
    row: np.ndarray
    bit: np.ndarray
    middle: np.ndarray

    @classmethod
    def of(cls, haplotypes: Haplotypes, observed: np.ndarray, place: np.ndarray) -> Blocks:
        """Cut the observed sites, int (n_observed,), into blocks; `place` is that of `Copying`."""
        from snpimpute.imputers import _recursions

        places = haplotypes.place_of_bit[observed]
        used, byte = np.unique(places // 8, return_inverse=True)
        n_before = np.searchsorted(places // 8, used)  # observed sites before each byte
        size = max(1, min(BLOCK, len(observed) // LEAST_BLOCKS))
        block = np.unique(n_before // size, return_inverse=True)[1][byte]  # no byte is divided
        begins = np.searchsorted(block, np.arange(block[-1] + 1))
        in_block = np.arange(len(observed)) - begins[block]
        row = np.cumsum(in_block % 8 == 0) - 1
        alleles = _recursions.gathered(haplotypes.bits, places, row, in_block % 8, row[-1] + 1)
        middle = np.bincount(block, place[observed]) / np.bincount(block)
        return cls(alleles, block[in_block % 8 == 0], row, in_block % 8, middle)


class Copying:
    """Copying model in one stretch of sites, for one sample at a time.

    The blocks of the sites last observed are kept: the samples of an array have most sites in common.

    Args:
        haplotypes: the panel's haplotypes.
        place: float (n_sites,), ascending: where the sites stand, the mean gap between neighbours as the unit.
        switch, params: see MosaicParams.
        seed: seed of the draws; a sample's draws depend on its own calls only, not on other samples.
    """

    def __init__(
        self, haplotypes: Haplotypes, place: np.ndarray, switch: float, params: MosaicParams, seed: int
    ) -> None:
        self.haplotypes = haplotypes
        self.place = place
        self.switch_rate = -np.log1p(-switch)
        self.error = np.float32(params.error or USUAL_ERROR)
        self.params = params
        self.seed = seed
        self._kept: tuple[np.ndarray, Blocks] | None = None

    def posterior(self, calls: np.ndarray, likelihoods: np.ndarray | None = None) -> np.ndarray:
        """Return the posterior of a sample, float32 (n_sites, 3).

        Args:
            calls: int8 (n_sites,), -1 = missing.
            likelihoods: float32 (n_sites, 3) in place of calls, all alike = nothing known; None = calls. Of either at least one
                is observed.
        """
        given, observed, key = _given(calls, likelihoods)
        alleles, start = self._copied_from(given[observed], observed, key)
        return self._sum_over_pairs(given[observed], observed, alleles, start)

    def draws(self, calls: np.ndarray, likelihoods: np.ndarray | None, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw pairs of haplotypes of a sample from its posterior, jointly over all sites, int8 (n, 2, n_sites).

        They add up to what is observed for sure.

        Args:
            calls, likelihoods: see `posterior`.
            n: number of pairs.
            rng: source of random numbers.
        """
        from snpimpute.imputers import _drawing

        given, observed, key = _given(calls, likelihoods)
        alleles, start = self._copied_from(given[observed], observed, key)
        switches = self._switch_probabilities(observed)
        pairs = _drawing.draw_pairs(
            alleles, observed, given[observed], self.error, switches, start, rng.random((n, len(observed), 2))
        )
        chances = rng.random((n, 2, len(calls), 2))
        copied = _drawing.fill_gaps(pairs, observed, self.place, self.switch_rate, start, chances)
        out = alleles[np.arange(len(calls)), copied].astype(np.int8)
        out[:, :, observed] = self._with_errors(out[:, :, observed], given[observed], rng)
        return out

    def _copied_from(self, given: np.ndarray, observed: np.ndarray, key: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what a sample is a mosaic of: alleles, uint8 (n_sites, K), and probabilities where copying begins, float32 (K,).

        The last of the K haplotypes, to a multiple of AT_ONCE, are copies of the first one that nothing is copied from.

        Args:
            given, observed, key: see `_choose_haplotypes`.
        """
        chosen, copied_share = self._choose_haplotypes(given, observed, key)
        weight = copied_share[chosen] + self.params.uniform / len(chosen)
        fill = -len(chosen) % AT_ONCE
        start = np.concatenate([weight / weight.sum(), np.zeros(fill)]).astype(np.float32)
        return self.haplotypes.alleles(np.concatenate([chosen, chosen[:1].repeat(fill)])), start

    def _with_errors(self, copied: np.ndarray, given: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw alleles at observed sites, int8 (n, 2, n_observed), given those copied and the likelihoods of the genotypes.

        Args:
            copied: int8 (n, 2, n_observed).
            given: float32 (n_observed, 3).
            rng: source of random numbers.
        """
        pairs = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.int8)
        right = (copied[:, None] == pairs[None, :, :, None]).sum(
            axis=2
        )  # (n, 4, n_observed): alleles copied without error
        error = float(self.error)
        weights = (1 - error) ** right * error ** (2 - right) * given[:, pairs.sum(axis=1)].T
        upto = weights.cumsum(axis=1)
        chosen = (rng.random((len(copied), 1, len(given))) * upto[:, -1:] >= upto).sum(axis=1)
        return pairs[np.minimum(chosen, 3)].transpose(0, 2, 1)

    def pairs(self, calls: np.ndarray) -> np.ndarray:
        """Draw pairs of haplotypes of a sample, int8 (draws, 2, n_sites); each adds up to its observed calls."""
        sites, observed = np.arange(len(calls)), np.flatnonzero(calls != MISSING)
        chosen = np.arange(min(self.haplotypes.n_haplotypes, self.params.first_states))
        if len(observed):
            key = zlib.crc32(calls[observed].tobytes())
            chosen, _ = self._choose_haplotypes(LIKELIHOODS[calls[observed]], observed, key)
        key = zlib.crc32(calls.tobytes())
        return self._draw_pairs(LIKELIHOODS[calls], sites, chosen[: self.params.first_states], key)

    def phased(self, calls: np.ndarray, likelihoods: np.ndarray | None, imputed: np.ndarray, draws: int) -> np.ndarray:
        """Return the two haplotypes of a sample, int8 (2, n_sites), that add up to its imputed calls.

        Args:
            calls, likelihoods: see `posterior`.
            imputed: int8 (n_sites,), the calls to phase.
            draws: number of pairs of haplotypes drawn, which vote.
        """
        given, observed, key = _given(calls, likelihoods)
        sites = np.union1d(observed, np.flatnonzero(imputed == 1))
        out = np.stack([imputed == 2, imputed == 2]).astype(np.int8)
        if len(observed) and (imputed == 1).any():
            chosen, _ = self._choose_haplotypes(given[observed], observed, key)
            pairs = self._draw_pairs(given[sites], sites, chosen[: self.params.first_states], key, draws)
            mixed = imputed[sites] == 1
            out[0, sites[mixed]] = voted_phase(pairs[:, :, mixed])
        out[1, imputed == 1] = 1 - out[0, imputed == 1]
        return out

    def _choose_haplotypes(self, given: np.ndarray, observed: np.ndarray, key: int) -> tuple[np.ndarray, np.ndarray]:
        """Choose the haplotypes that resemble a sample.

        Args:
            given: float32 (n_observed, 3), the likelihoods of the genotypes at the observed sites.
            observed: int (n_observed,), these sites.
            key: a number made of what was observed, for the draws.

        Returns:
            int (K,), the haplotypes chosen, best first; float32 (R,), see `_copied_share`.
        """
        blocks = self._blocks(observed)
        copied_share = self._copied_share(given, observed, blocks)  # (R,)
        best = np.argsort(-copied_share, kind="stable")[: self.params.first_states]
        drawn = self._draw_pairs(given, observed, best, key).reshape(-1, len(observed))
        rankings = [*(self._resemblance(haplotype, blocks) for haplotype in drawn), copied_share]
        return self._best_in_turn(np.stack(rankings)), copied_share

    def _blocks(self, observed: np.ndarray) -> Blocks:
        """Return the blocks of the observed sites, int (n_observed,)."""
        kept = self._kept
        if kept is None or not np.array_equal(kept[0], observed):
            self._kept = kept = observed, Blocks.of(self.haplotypes, observed, self.place)
        return kept[1]

    # ------------------------------------------------------------------ one copy at a time

    def _copied_share(self, given: np.ndarray, observed: np.ndarray, blocks: Blocks) -> np.ndarray:
        """Return the share of the sample copied from each haplotype, float32 (R,); `given` is that of `_choose_haplotypes`.

        Only one allele of each call is modelled as a copy; the other is drawn from the panel's frequencies.
        """
        other = self.haplotypes.frequencies[observed]  # P(the other allele is the alternate)
        likelihood = []
        for one in (self.error, 1 - self.error):  # P(this allele is the alternate), if 0 or 1 is copied
            likelihood.append((given * _of_genotypes(one, other)).sum(axis=1))
        return self._usage(np.stack(likelihood, axis=1), blocks)[0]

    def _resemblance(self, drawn: np.ndarray, blocks: Blocks) -> np.ndarray:
        """Return how far a drawn haplotype, int8 (n_observed,), is copied from each of the panel, float32 (R,).

        It is the mean plus the largest probability over blocks of sites.
        """
        likelihood = [np.where(drawn == allele, 1 - self.error, self.error) for allele in (0, 1)]
        mean, largest = self._usage(np.stack(likelihood, axis=1), blocks)
        return mean + largest

    def _usage(self, likelihood: np.ndarray, blocks: Blocks) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean and the largest posterior probability, over blocks of sites, that a haplotype is copied.

        Args:
            likelihood: float32 (n_observed, 2), of the observed allele or call if allele 0 or 1 is copied.
            blocks: of the observed sites.

        Returns:
            mean and largest, float32 (R,) each.
        """
        from snpimpute.imputers import _recursions

        by_bit = np.ones((len(blocks.alleles), 8, 2), dtype=np.float32)
        by_bit[blocks.row, blocks.bit] = likelihood
        stays = np.exp(-self.switch_rate * np.diff(blocks.middle, prepend=blocks.middle[:1])).astype(np.float32)
        return _recursions.usage(blocks.alleles, blocks.block_of_row, by_bit, stays)

    def _best_in_turn(self, rankings: np.ndarray) -> np.ndarray:
        """Return the best haplotypes of each ranking, float (n, R), in turn and each once, int (states,)."""
        order = np.stack([_highest(ranking, self.params.states) for ranking in rankings])
        return np.array(list(dict.fromkeys(order.T.ravel().tolist()))[: self.params.states])

    # ------------------------------------------------------------------ pairs

    def _draw_pairs(
        self, given: np.ndarray, sites: np.ndarray, chosen: np.ndarray, key: int, draws: int | None = None
    ) -> np.ndarray:
        """Draw pairs of haplotypes at these sites from the diploid model, int8 (draws, 2, n_sites).

        They add up to genotypes that are sure.

        Args:
            given: float32 (n_sites, 3), likelihoods of the genotypes.
            sites: int (n_sites,).
            chosen: int (K,), the haplotypes that pairs are made of.
            key: seed of the draws, beside the model's.
            draws: number of pairs; None = that of the parameters.
        """
        from snpimpute.imputers import _drawing

        copied = self.haplotypes.alleles(chosen, sites)
        told = _told(copied)
        switches = self._switch_probabilities(sites[told])
        start = np.full(len(chosen), 1 / len(chosen), dtype=np.float32)
        rng = np.random.default_rng([self.seed, key])
        chances = rng.random((draws or self.params.draws, len(sites), 2))[:, told]
        numbers = np.flatnonzero(told)
        states = _drawing.draw_pairs(copied, numbers, given[told], self.error, switches, start, chances)
        out = np.empty((len(chances), 2, len(sites)), dtype=np.int8)
        out[:] = copied[:, 0]
        out[:, :, told] = copied[numbers, states]
        calls = np.where((given > 0).sum(axis=1) == 1, given.argmax(axis=1), MISSING).astype(np.int8)
        for pair in out:
            wrong = (pair.sum(axis=0) != calls) & (calls != MISSING)
            first = np.where(calls == 1, rng.random(len(calls)) < 0.5, calls == 2)
            pair[:, wrong] = np.stack([first, calls - first])[:, wrong]
        return out

    def _sum_over_pairs(
        self, given: np.ndarray, observed: np.ndarray, alleles: np.ndarray, start: np.ndarray
    ) -> np.ndarray:
        """Return the posterior by forward-backward over pairs of haplotypes, float32 (n_sites, 3).

        Steps go from one observed site to the next; the posterior of sites between follows from both ends.

        Args:
            given, observed: see `_choose_haplotypes`.
            alleles: uint8 (n_sites, K), of the haplotypes.
            start: (K,), probabilities of the haplotypes where copying begins or switches.
        """
        from snpimpute.imputers import _recursions

        told = _told(alleles[observed])
        switches = self._switch_probabilities(observed[told])
        out = _recursions.posterior(
            alleles, observed[told], given[told], self.error, switches, self.place, self.switch_rate, start
        )
        out[observed[~told]] = self._given_two_copies(alleles[observed[~told], 0], given[~told])
        return out

    def _given_two_copies(self, allele: np.ndarray, given: np.ndarray) -> np.ndarray:
        """Return the posterior at observed sites where both alleles copied are known and the same, float32 (n, 3).

        Args:
            allele: uint8 (n,), the allele copied.
            given: float32 (n, 3), the likelihoods of the genotypes.
        """
        one = np.where(allele == 1, 1 - self.error, self.error)  # P(an allele is the alternate)
        weights = given * _of_genotypes(one, one)
        return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)

    def _switch_probabilities(self, sites: np.ndarray) -> np.ndarray:
        """Return the probability of a switch between each of these sites and the one before it, float32 (n,)."""
        place = self.place[sites]
        return (-np.expm1(-self.switch_rate * np.diff(place, prepend=place[:1]))).astype(np.float32)


# float32 (4, 3): likelihood of each genotype, by the call: 0, 1, 2 or -1 = missing
LIKELIHOODS = np.concatenate([np.eye(3), np.ones((1, 3))]).astype(np.float32)


def _given(calls: np.ndarray, likelihoods: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the likelihoods of the genotypes, float32 (n_sites, 3), the sites where they differ, and a number made of those.

    Args:
        calls: int8 (n_sites,), -1 = missing.
        likelihoods: float (n_sites, 3) in place of calls, None = calls.
    """
    given = LIKELIHOODS[calls] if likelihoods is None else likelihoods.astype(np.float32)
    observed = np.flatnonzero(given.min(axis=1) < 1)
    return given, observed, zlib.crc32((calls if likelihoods is None else given)[observed].tobytes())


def _told(copied: np.ndarray) -> np.ndarray:
    """Return at which sites, bool (n_sites,), a call tells which haplotypes are copied: where their alleles, (n_sites, K), are not all alike.

    The recursions pass the others over. They need a site to begin at: where no site tells, the first one.
    """
    from snpimpute.imputers import _recursions

    differ = _recursions.differing(copied)
    return differ if differ.any() else np.arange(len(copied)) == 0


def _of_genotypes(one: np.ndarray | np.float32, other: np.ndarray) -> np.ndarray:
    """Return the probabilities of genotypes 0, 1, 2, float (n, 3), where two alleles are the alternate with these probabilities, (n,)."""
    return np.stack([(1 - one) * (1 - other), one * (1 - other) + (1 - one) * other, one * other], axis=1)


def voted_phase(pairs: np.ndarray) -> np.ndarray:
    """Return the first allele of a heterozygous pair at each site by the vote of several pairs, int8 (n_sites,).

    From site to site those pairs vote that are heterozygous here and were at a site before: whether the allele on
    the haplotype that has been first so far is the alternate.

    Args:
        pairs: int8 (n, 2, n_sites), drawn pairs of haplotypes; which is first means nothing.
    """
    side = (
        pairs[:, 0].astype(np.int8) - pairs[:, 1]
    ).T  # (n_sites, n): 1 = alternate first, -1 = second, 0 = homozygous
    first = np.zeros(
        pairs.shape[0], dtype=np.int8
    )  # 1 or -1: whether a pair's first haplotype is the result's; 0 = not known
    out = np.empty(len(side), dtype=np.int8)
    for j, here in enumerate(side):
        sign = 1 if int((first * here).sum()) >= 0 else -1
        out[j] = sign > 0
        first = np.where(here != 0, sign * here, first)
    return out


def voted(pairs: np.ndarray) -> np.ndarray:
    """Return one pair of haplotypes by the vote of several.

    Where they differ in the genotype (at a missing call) the rounded mean is taken; the phase of two successive
    heterozygous sites is that of the majority.

    Args:
        pairs: int8 (n, 2, n_sites).

    Returns:
        int8 (2, n_sites).
    """
    calls = np.rint(pairs.sum(axis=1).mean(axis=0)).astype(np.int8)
    mixed = np.flatnonzero(calls == 1)
    first = pairs[:, 0, mixed]
    known = pairs[:, :, mixed].sum(axis=1) == 1
    differ = (first[:, 1:] != first[:, :-1]) & known[:, 1:] & known[:, :-1]
    both = (known[:, 1:] & known[:, :-1]).sum(axis=0)
    changes = np.concatenate([[0], 2 * differ.sum(axis=0) > both])[: len(mixed)]
    out = np.stack([calls == 2, calls == 2]).astype(np.int8)
    out[0, mixed] = np.cumsum(changes) % 2
    out[1, mixed] = 1 - out[0, mixed]
    return out


def _highest(values: np.ndarray, n: int) -> np.ndarray:
    """Return the places of the n highest values, highest first, the first of equal ones first, int (n,)."""
    if n < len(values):
        least = np.partition(values, len(values) - n)[len(values) - n]
        places = np.concatenate([np.flatnonzero(values > least), np.flatnonzero(values == least)])[:n]
        return places[np.argsort(-values[places], kind="stable")]
    return np.argsort(-values, kind="stable")
