"""The copying model of mosaic in one stretch of sites: haplotypes chosen for a sample, pairs drawn and summed over."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

from snpimpute.genotypes.matrix import MISSING

if TYPE_CHECKING:
    from snpimpute.imputers.mosaic import MosaicParams


class Copying:
    """Copying model in one stretch of sites, for one sample at a time.

    Args:
        haplotypes: int8 (n_haplotypes, n_sites), the panel's haplotypes.
        place: float (n_sites,), ascending: where the sites stand, the mean gap between neighbours as the unit.
        switch, params: see MosaicParams.
        seed: seed of the draws; a sample's draws depend on its own calls only, not on other samples.
    """

    def __init__(
        self, haplotypes: np.ndarray, place: np.ndarray, switch: float, params: MosaicParams, seed: int
    ) -> None:
        self.haplotypes = haplotypes
        self.place = place
        self.switch = switch
        self.error = np.float32(params.error)
        self.params = params
        self.seed = seed

    def posterior(self, calls: np.ndarray) -> np.ndarray:
        """Return the posterior of a sample, float32 (n_sites, 3).

        Args:
            calls: int8 (n_sites,), -1 = missing; at least one is observed.
        """
        observed = np.flatnonzero(calls != MISSING)
        chosen, copied_share = self._choose_haplotypes(calls[observed], observed)
        weight = copied_share[chosen] + self.params.uniform / len(self.haplotypes)
        return self._sum_over_pairs(calls, self.haplotypes[chosen], weight / weight.sum())

    def pairs(self, calls: np.ndarray) -> np.ndarray:
        """Draw pairs of haplotypes of a sample, int8 (draws, 2, n_sites); each adds up to its observed calls."""
        sites, observed = np.arange(len(calls)), np.flatnonzero(calls != MISSING)
        chosen = np.arange(min(len(self.haplotypes), self.params.first_states))
        if len(observed):
            chosen, _ = self._choose_haplotypes(calls[observed], observed)
        return self._draw_pairs(calls, sites, chosen[: self.params.first_states]).reshape(-1, 2, len(calls))

    def _choose_haplotypes(self, calls: np.ndarray, observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Choose the haplotypes that resemble a sample.

        Args:
            calls: int8 (n_observed,), the sample's observed calls.
            observed: int (n_observed,), their sites.

        Returns:
            int (K,), the haplotypes chosen, best first; float32 (R,), see `_copied_share`.
        """
        copied_share = self._copied_share(calls, observed)  # (R,)
        best = np.argsort(-copied_share, kind="stable")[: self.params.first_states]
        drawn = self._draw_pairs(calls, observed, best)  # (2 * draws, n_observed)
        resemblance = self._resemblance(drawn, observed)  # (2 * draws, R)
        return self._best_in_turn(np.concatenate([resemblance, copied_share[None]])), copied_share

    # ------------------------------------------------------------------ one copy at a time

    def _copied_share(self, calls: np.ndarray, observed: np.ndarray) -> np.ndarray:
        """Return the share of the sample copied from each haplotype, float32 (R,).

        Only one allele of each call is modelled as a copy; the other is drawn from the panel's frequencies.
        """
        other = self.haplotypes[:, observed].mean(axis=0, dtype=np.float32)  # P(the other allele is the alternate)
        likelihood = []
        for one in (self.error, 1 - self.error):  # P(this allele is the alternate), if 0 or 1 is copied
            genotypes = [(1 - one) * (1 - other), one * (1 - other) + (1 - one) * other, one * other]
            likelihood.append(np.choose(calls, genotypes)[None])
        return self._usage(likelihood[0], likelihood[1], observed)[0][0]

    def _resemblance(self, drawn: np.ndarray, observed: np.ndarray) -> np.ndarray:
        """Return how far each drawn haplotype is copied from each of the panel, float32 (n_drawn, R).

        It is the mean plus the largest probability over the sites.
        """
        likelihood = [np.where(drawn == allele, 1 - self.error, self.error) for allele in (0, 1)]
        mean, largest = self._usage(likelihood[0], likelihood[1], observed)
        return mean + largest

    def _usage(self, if_0: np.ndarray, if_1: np.ndarray, observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean and the largest posterior probability, over the observed sites, that a haplotype is copied.

        Args:
            if_0, if_1: float32 (n, n_observed), likelihood of the observed alleles or calls if allele 0 or 1 is copied.
            observed: int (n_observed,), the sites.

        Returns:
            mean and largest, float32 (n, R) each.
        """
        alleles = np.ascontiguousarray(self.haplotypes[:, observed].T, dtype=np.float32)  # (n_observed, R)
        base, slope = if_0.T[:, :, None], (if_1 - if_0).T[:, :, None]  # (n_observed, n, 1)
        switches = self._switch_probabilities(observed)
        forward = np.empty((len(observed), len(if_0), alleles.shape[1]), dtype=np.float32)
        state = np.full(forward.shape[1:], 1 / alleles.shape[1], dtype=np.float32)
        for j, switch in enumerate(switches):
            state = (1 - switch) * state + switch / alleles.shape[1]
            state *= base[j] + slope[j] * alleles[j]
            state /= state.sum(axis=1, keepdims=True)
            forward[j] = state
        backward = np.ones_like(state)
        mean, largest = np.zeros_like(state), np.zeros_like(state)
        for j in range(len(observed) - 1, -1, -1):
            here = forward[j] * backward
            here /= here.sum(axis=1, keepdims=True)
            mean += here / np.float32(len(observed))
            np.maximum(largest, here, out=largest)
            backward *= base[j] + slope[j] * alleles[j]
            backward = (1 - switches[j]) * backward + switches[j] * backward.mean(axis=1, keepdims=True)
            backward /= backward.mean(axis=1, keepdims=True)
        return mean, largest

    def _best_in_turn(self, rankings: np.ndarray) -> np.ndarray:
        """Return the best haplotypes of each ranking, float (n, R), in turn and each once, int (states,)."""
        order = np.argsort(-rankings, axis=1, kind="stable")[:, : self.params.states]
        return np.array(list(dict.fromkeys(order.T.ravel().tolist()))[: self.params.states])

    def _switch_probabilities(self, sites: np.ndarray) -> np.ndarray:
        """Return the probability of a switch between each of these sites and the one before it, float32 (n,)."""
        place = self.place[sites]
        return self._switch_within(np.diff(place, prepend=place[:1])).astype(np.float32)

    def _switch_within(self, gaps: np.ndarray) -> np.ndarray:
        """Return the probability that a haplotype switches within gaps of so many mean gaps, float64 (n,)."""
        return 1 - (1 - self.switch) ** gaps

    # ------------------------------------------------------------------ pairs

    def _draw_pairs(self, calls: np.ndarray, observed: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Draw pairs of haplotypes at these sites from the diploid model, int8 (2 * draws, n_observed)."""
        switches = self._switch_probabilities(observed)
        copied = self.haplotypes[np.ix_(chosen, observed)]
        n_states = len(chosen)
        forward = Pairs(calls, copied, self.error, np.full(n_states, 1 / n_states)).forward(switches)
        rng = np.random.default_rng([self.seed, zlib.crc32(calls.tobytes())])
        out = np.empty((self.params.draws, 2, len(observed)), dtype=np.int8)
        for pair in out:
            weight = forward[-1]
            for j in range(len(observed) - 1, -1, -1):
                below = weight.ravel().cumsum()
                drawn = int(np.searchsorted(below, rng.random() * below[-1], side="right"))
                one, other = divmod(min(drawn, n_states**2 - 1), n_states)
                pair[:, j] = copied[one, j], copied[other, j]
                if j:
                    stays = np.full((2, n_states), switches[j] / n_states, dtype=np.float32)
                    stays[0, one] += 1 - switches[j]
                    stays[1, other] += 1 - switches[j]
                    weight = forward[j - 1] * stays[0][:, None] * stays[1]
            wrong = (pair.sum(axis=0) != calls) & (calls != MISSING)
            first = np.where(calls == 1, rng.random(len(calls)) < 0.5, calls == 2)
            pair[:, wrong] = np.stack([first, calls - first])[:, wrong]
        return out.reshape(-1, len(observed))

    def _sum_over_pairs(self, calls: np.ndarray, copied: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Return the posterior by forward-backward over pairs of the haplotypes `copied`, float32 (n_sites, 3).

        Steps go from one observed site to the next; the posterior of sites between follows from both ends. An observed
        call has all weight on itself.

        Args:
            calls: int8 (n_sites,), -1 = missing.
            copied: int8 (K, n_sites).
            start: (K,), see Pairs.
        """
        observed = np.flatnonzero(calls != MISSING)
        pairs = Pairs(calls[observed], copied[:, observed], self.error, start)
        forward = pairs.forward(self._switch_probabilities(observed))
        backward = np.ones_like(forward[0])
        alleles = np.ascontiguousarray(copied.T, dtype=np.float32)  # (n_sites, K)
        place = self.place
        out = np.eye(3, dtype=np.float32)[calls]
        for k in range(len(observed) - 1, -2, -1):
            first = observed[k] if k >= 0 else -1
            last = observed[k + 1] if k + 1 < len(observed) else len(calls)
            if last - first > 1:
                sites = np.arange(first + 1, last)
                before = self._switch_within(place[sites] - place[max(first, 0)])
                after = self._switch_within(place[min(last, len(calls) - 1)] - place[sites])
                reached = forward[k] if k >= 0 else np.outer(pairs.start, pairs.start)
                out[sites] = pairs.between(reached, backward, before, after, alleles[sites])
            if k >= 0:
                if k + 1 < len(observed):
                    pairs.go_back(backward, self._switch_within(place[last : last + 1] - place[first]))
                pairs.emit(backward, k)
        return out


class Pairs:
    """Diploid model with pairs of haplotypes as states; arrays (K, K) over pairs are symmetric.

    Args:
        calls: int8 (n_sites,), -1 = missing.
        copied: int8 (K, n_sites), alleles of the haplotypes.
        error: probability that an allele is not the one copied.
        start: (K,), probabilities of the haplotypes where copying begins or switches.
    """

    def __init__(self, calls: np.ndarray, copied: np.ndarray, error: np.float32, start: np.ndarray) -> None:
        self.calls = calls
        self.copied = np.ascontiguousarray(copied.T, dtype=np.float32)  # (n_sites, K)
        self.start = start.astype(np.float32)
        self._alternate = error + (1 - 2 * error) * self.copied  # P(the allele is the alternate)
        self._reference = 1 - self._alternate

    def forward(self, switches: np.ndarray) -> np.ndarray:
        """Return the probabilities of the pairs given the calls up to each site, float32 (n_sites, K, K), sum 1."""
        both = np.outer(self.start, self.start)
        out = np.empty((len(switches), *both.shape), dtype=np.float32)
        out[0] = both
        for j, switch in enumerate(switches):
            if j:
                one = np.outer(out[j - 1].sum(axis=1) * (switch * (1 - switch)), self.start)  # one of the two stays
                np.multiply(out[j - 1], (1 - switch) ** 2, out=out[j])
                out[j] += one
                out[j] += one.T
                out[j] += switch**2 * both
            self.emit(out[j], j)
            out[j] /= out[j].sum()
        return out

    def emit(self, state: np.ndarray, j: int) -> None:
        """Multiply `state`, in place, by the likelihood of the call at site j."""
        reference, alternate = self._reference[j], self._alternate[j]
        if self.calls[j] == 1:
            mixed = np.outer(reference, alternate)
            mixed += mixed.T
            state *= mixed
        elif self.calls[j] != MISSING:
            one = reference if self.calls[j] == 0 else alternate
            state *= one[:, None]
            state *= one

    def go_back(self, state: np.ndarray, switch: np.ndarray) -> None:
        """Take one step of the backward recursion over a gap, in place, scaled to a mean of 1."""
        mean = state @ self.start  # (K,): the other haplotype has switched
        one = (switch * (1 - switch)) * mean
        state *= (1 - switch) ** 2
        state += one[:, None]
        state += one + switch**2 * (mean @ self.start)
        state /= state.mean()

    def between(
        self, reached: np.ndarray, ahead: np.ndarray, before: np.ndarray, after: np.ndarray, alleles: np.ndarray
    ) -> np.ndarray:
        """Return the posterior at sites between two observed ones, or beyond the first or last one.

        Let T be the probability of a switch from the observed site before to a site, U from the site to the observed
        site after, and s the start. Pairs at the site have the probabilities (1-T)² F + T(1-T) (F1 s' + s F1') + T² s
        s', times (1-U)² B + U(1-U) (Bs 1' + 1 Bs') + U² s'Bs. Sums of this product over pairs are taken term by term,
        for all sites at once.

        Args:
            reached: F, float32 (K, K), the `forward` of the observed site before; sums to 1.
            ahead: B, float32 (K, K), likelihood of the calls from the observed site after on.
            before, after: T and U, float (n_sites,).
            alleles: float32 (n_sites, K).

        Returns:
            float32 (n_sites, 3).
        """
        start, rows, mean = self.start, reached.sum(axis=1), ahead @ self.start
        t, u = np.tile(before, 3), np.tile(after, 3)
        t2, t1, t0 = (1 - t) ** 2, t * (1 - t), t**2
        u2, u1, u0 = (1 - u) ** 2, u * (1 - u), u**2 * (mean @ start)
        # Sums x'Gy over all pairs of a site, over those with one given allele alternate, and over those with both.
        ones = np.ones_like(alleles)
        x, y = np.concatenate([ones, alleles, alleles]), np.concatenate([ones, ones, alleles])
        vectors = np.stack([start, rows, start * mean, rows * mean], axis=1)
        (x_s, x_r, x_sm, x_rm), (y_s, y_r, y_sm, y_rm) = (x @ vectors).T, (y @ vectors).T
        f, b_s, y_start = x @ reached, (x * start) @ ahead, y * start
        stayed = (
            u2 * _dot(x @ (reached * ahead), y)
            + u1 * (_dot((x * mean) @ reached, y) + _dot(f, y * mean))
            + u0 * _dot(f, y)
        )
        one = u2 * (_dot((x * rows) @ ahead, y_start) + _dot(b_s, y * rows))
        one += u1 * (x_rm * y_s + x_r * y_sm + x_sm * y_r + x_s * y_rm) + u0 * (x_r * y_s + x_s * y_r)
        both = u2 * _dot(b_s, y_start) + u1 * (x_sm * y_s + x_s * y_sm) + u0 * x_s * y_s
        whole, with_one, with_two = (t2 * stayed + t1 * one + t0 * both).reshape(3, -1)
        return np.stack([whole - 2 * with_one + with_two, 2 * (with_one - with_two), with_two], axis=1) / whole[:, None]


def _dot(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the dot products of the rows of two arrays (n, K), shape (n,)."""
    return np.einsum("ij,ij->i", x, y)
