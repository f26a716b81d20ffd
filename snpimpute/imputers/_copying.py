"""The copying model of mosaic in one stretch of sites: haplotypes chosen for a sample, pairs of them drawn and summed over."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

from snpimpute.genotypes.matrix import MISSING

if TYPE_CHECKING:
    from snpimpute.imputers.mosaic import MosaicParams


class Copying:
    """The model in one window, one sample at a time.

    Args:
        haplotypes: int8 (n_haplotypes, n_sites), the panel's.
        switch, params: see MosaicParams.
        seed: of the draws; a sample's draws depend on its calls alone, not on the samples beside it.
    """

    def __init__(self, haplotypes: np.ndarray, switch: float, params: MosaicParams, seed: int) -> None:
        self.haplotypes = haplotypes
        self.switch = switch
        self.error = np.float32(params.error)
        self.params = params
        self.seed = seed

    def posterior(self, calls: np.ndarray) -> np.ndarray:
        """float32 (n_sites, 3) of a sample's int8 calls (n_sites,), some of them observed."""
        observed = np.flatnonzero(calls != MISSING)
        chosen, alike = self._suited(calls[observed], observed)
        weight = alike[chosen] + self.params.uniform / len(self.haplotypes)
        return self._summed(calls, self.haplotypes[chosen], weight / weight.sum())

    def pairs(self, calls: np.ndarray) -> np.ndarray:
        """int8 (draws, 2, n_sites): haplotypes of a sample, drawn; they add up to its calls where it has any."""
        sites, observed = np.arange(len(calls)), np.flatnonzero(calls != MISSING)
        chosen = np.arange(min(len(self.haplotypes), self.params.first_states))
        if len(observed):
            chosen, _ = self._suited(calls[observed], observed)
        return self._drawn(calls, sites, chosen[: self.params.first_states]).reshape(-1, 2, len(calls))

    def _suited(self, calls: np.ndarray, observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """int (K,), haplotypes that suit a sample, best first; float32 (R,), how much it is like each of the panel."""
        alike = self._alike(calls, observed)  # (R,)
        best = np.argsort(-alike, kind="stable")[: self.params.first_states]
        drawn = self._drawn(calls, observed, best)  # (2 * draws, n_observed)
        resembling = self._resembling(drawn, observed)  # (2 * draws, R)
        return self._chosen(np.concatenate([resembling, alike[None]])), alike

    # ------------------------------------------------------------------ one copy at a time

    def _alike(self, calls: np.ndarray, observed: np.ndarray) -> np.ndarray:
        """float32 (R,): how much of the sample is copied from each haplotype, the other allele being anyone's."""
        other = self.haplotypes[:, observed].mean(axis=0, dtype=np.float32)  # that the other allele is the alternate
        likelihood = []
        for one in (self.error, 1 - self.error):  # that this allele is the alternate, if 0 or 1 is copied
            genotypes = [(1 - one) * (1 - other), one * (1 - other) + (1 - one) * other, one * other]
            likelihood.append(np.choose(calls, genotypes)[None])
        return self._usage(likelihood[0], likelihood[1], observed)[0][0]

    def _resembling(self, drawn: np.ndarray, observed: np.ndarray) -> np.ndarray:
        """float32 (n_drawn, R): how much, and how surely anywhere, each drawn haplotype is copied from each."""
        likelihood = [np.where(drawn == allele, 1 - self.error, self.error) for allele in (0, 1)]
        usage, surest = self._usage(likelihood[0], likelihood[1], observed)
        return usage + surest

    def _usage(self, if_0: np.ndarray, if_1: np.ndarray, observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and largest posterior probability, over the observed sites, that a haplotype is copied.

        Args:
            if_0, if_1: float32 (n, n_observed), likelihood of what was observed if allele 0 or 1 is copied.
            observed: int (n_observed,), the sites.

        Returns:
            float32 (n, R) twice.
        """
        alleles = np.ascontiguousarray(self.haplotypes[:, observed].T, dtype=np.float32)  # (n_observed, R)
        base, slope = if_0.T[:, :, None], (if_1 - if_0).T[:, :, None]  # (n_observed, n, 1)
        switches = self._switches(observed)
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

    def _chosen(self, rankings: np.ndarray) -> np.ndarray:
        """int (states,): the best haplotypes of each ranking, float (n, R), in turn, each once."""
        order = np.argsort(-rankings, axis=1, kind="stable")[:, : self.params.states]
        return np.array(list(dict.fromkeys(order.T.ravel().tolist()))[: self.params.states])

    def _switches(self, sites: np.ndarray) -> np.ndarray:
        """float32 (n,): probability of a switch before each of these sites, since the one before it."""
        return self._switched(np.diff(sites, prepend=sites[:1])).astype(np.float32)

    def _switched(self, gaps: np.ndarray) -> np.ndarray:
        """float64 (n,): probability that a haplotype has switched over so many sites."""
        return 1 - (1 - self.switch) ** gaps

    # ------------------------------------------------------------------ pairs

    def _drawn(self, calls: np.ndarray, observed: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """int8 (2 * draws, n_observed): pairs of haplotypes at these sites, drawn from the diploid model."""
        switches = self._switches(observed)
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

    def _summed(self, calls: np.ndarray, copied: np.ndarray, start: np.ndarray) -> np.ndarray:
        """float32 (n_sites, 3): forward and backward over pairs of the haplotypes `copied`, int8 (K, n_sites).

        Steps are taken from one observed site to the next; what lies between comes of the two ends. Observed calls are taken
        as they are.
        """
        observed = np.flatnonzero(calls != MISSING)
        pairs = Pairs(calls[observed], copied[:, observed], self.error, start)
        forward = pairs.forward(self._switches(observed))
        backward = np.ones_like(forward[0])
        alleles = np.ascontiguousarray(copied.T, dtype=np.float32)  # (n_sites, K)
        out = np.eye(3, dtype=np.float32)[calls]
        for k in range(len(observed) - 1, -2, -1):
            first = observed[k] if k >= 0 else -1
            last = observed[k + 1] if k + 1 < len(observed) else len(calls)
            if last - first > 1:
                sites = np.arange(first + 1, last)
                before, after = (self._switched(gap) for gap in (sites - max(first, 0), last - sites))
                reached = forward[k] if k >= 0 else np.outer(pairs.start, pairs.start)
                out[sites] = pairs.between(reached, backward, before, after, alleles[sites])
            if k >= 0:
                if k + 1 < len(observed):
                    pairs.go_back(backward, self._switched(np.array([last - first])))
                pairs.emit(backward, k)
        return out


class Pairs:
    """Pairs of haplotypes as states; arrays (K, K) of them are symmetric.

    Args:
        calls: int8 (n_sites,).
        copied: int8 (K, n_sites), alleles of the haplotypes.
        error: that an allele is not the one copied.
        start: (K,), probabilities of the haplotypes where copying begins or switches.
    """

    def __init__(self, calls: np.ndarray, copied: np.ndarray, error: np.float32, start: np.ndarray) -> None:
        self.calls = calls
        self.copied = np.ascontiguousarray(copied.T, dtype=np.float32)  # (n_sites, K)
        self.start = start.astype(np.float32)
        self._alternate = error + (1 - 2 * error) * self.copied  # that the allele is the alternate one
        self._reference = 1 - self._alternate

    def forward(self, switches: np.ndarray) -> np.ndarray:
        """float32 (n_sites, K, K): probabilities of the pairs given the calls up to each site; sums are 1."""
        both = np.outer(self.start, self.start)
        out = np.empty((len(switches), *both.shape), dtype=np.float32)
        out[0] = both
        for j, switch in enumerate(switches):
            if j:
                one = np.outer(
                    out[j - 1].sum(axis=1) * (switch * (1 - switch)), self.start
                )  # this one of the two stays
                np.multiply(out[j - 1], (1 - switch) ** 2, out=out[j])
                out[j] += one
                out[j] += one.T
                out[j] += switch**2 * both
            self.emit(out[j], j)
            out[j] /= out[j].sum()
        return out

    def emit(self, state: np.ndarray, j: int) -> None:
        """Multiply `state` by the likelihood of the call at site j."""
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
        """One step of the backward recursion over a gap, scaled to a mean of 1."""
        mean = state @ self.start  # (K,): the other one has switched
        one = (switch * (1 - switch)) * mean
        state *= (1 - switch) ** 2
        state += one[:, None]
        state += one + switch**2 * (mean @ self.start)
        state /= state.mean()

    def between(
        self, reached: np.ndarray, ahead: np.ndarray, before: np.ndarray, after: np.ndarray, alleles: np.ndarray
    ) -> np.ndarray:
        """Posterior at sites between two that are looked at, or beyond the last one.

        With T the switches from the one before to a site, U those from it to the one after, and s the start: pairs at the
        site have the probabilities (1-T)² F + T(1-T) (F1 s' + s F1') + T² s s', times (1-U)² B + U(1-U) (Bs 1' + 1 Bs') +
        U² s'Bs. Sums of this product over pairs are taken term by term, for all sites at once.

        Args:
            reached: F, float32 (K, K), what `forward` has at the one before; sums to 1.
            ahead: B, float32 (K, K), likelihood of the calls from the one after on.
            before, after: T and U, float (n_sites,).
            alleles: float32 (n_sites, K).

        Returns:
            float32 (n_sites, 3).
        """
        start, rows, mean = self.start, reached.sum(axis=1), ahead @ self.start
        t, u = np.tile(before, 3), np.tile(after, 3)
        t2, t1, t0 = (1 - t) ** 2, t * (1 - t), t**2
        u2, u1, u0 = (1 - u) ** 2, u * (1 - u), u**2 * (mean @ start)
        # sums x'Gy over all pairs of a site, those with one given allele alternate, and those with both
        anyone = np.ones_like(alleles)
        x, y = np.concatenate([anyone, alleles, alleles]), np.concatenate([anyone, anyone, alleles])
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
    """(n,): products of the rows of two (n, K)."""
    return np.einsum("ij,ij->i", x, y)
