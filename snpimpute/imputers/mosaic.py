"""Mosaic: every sample as two mosaics of panel haplotypes, whose phase is never decided."""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from snpimpute.base.errors import InputError
from snpimpute.dataset.masks import site_masks
from snpimpute.dataset.scenarios import at_hidden
from snpimpute.dataset.splits import split_samples, unit_labels
from snpimpute.dataset.training_masks import TrainingMask
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.imputers.beagle import Beagle
from snpimpute.imputers.contract import MIN_SEEN, Imputer, Params, Report, Validation

SWITCHES = (0.001, 0.003, 0.01, 0.03)  # that `fit` chooses among where none is given
USUAL_SWITCH = 0.003
CHOSEN_AT = (60.0, 90.0)  # percent of the sites hidden
CHOSEN_ON = 40  # samples of the panel at most, set aside
CHOSEN_SITES = 500  # in the middle of the panel, at most
CHOSEN_STATES = 100  # at most: with much fewer, more switches look better than they are
FIRST_SWITCH = 0.03  # while a panel that phases itself is not phased at all yet
ROUNDS, VOTING_ROUNDS = 9, 4  # in which a panel phases itself, and of which the draws decide
PARTS = 5  # of its samples: each is phased by the others
LEAST_PANEL = 20  # samples: of fewer, none is set aside, and the usual value is taken


class MosaicParams(Params):
    """What the model is made of.

    Attributes:
        switch: probability that a haplotype copies another one from the next site on; None = chosen among SWITCHES.
        error: probability that an allele is not the one that is copied.
        phased_by: who phases a panel that is not phased: "beagle", or the model "itself", which needs no program.
        phasing: parameters of Beagle where it phases, over its defaults.
        rounds: times that each sample is phased by the others, where the model phases.
        states: panel haplotypes that a sample is a mosaic of; time and memory grow with their square.
        first_states: the same while its haplotypes are drawn.
        draws: pairs of haplotypes drawn for each sample, to find the panel haplotypes that they resemble.
        uniform: weight of "any of the states" against "one that resembles the sample" where copying begins or switches.
        window: sites worked on at a time.
        overlap: sites by which a window reaches into its neighbours.
    """

    switch: float | None = Field(None, gt=0, lt=0.5)
    error: float = Field(0.003, gt=0, lt=0.5)
    phased_by: Literal["beagle", "itself"] = "beagle"
    phasing: dict[str, Any] = Field(default_factory=dict)
    rounds: int = Field(ROUNDS, ge=1)
    states: int = Field(150, ge=2)
    first_states: int = Field(60, ge=2)
    draws: int = Field(3, ge=1)
    uniform: float = Field(10.0, gt=0)
    window: int = Field(500, ge=20)
    overlap: int = Field(50, ge=0)


@dataclass(frozen=True, eq=False)
class Window:
    """Sites `begin` to `end` are worked on for the answers at `first` to `last` (ends not within)."""

    begin: int
    end: int
    first: int
    last: int


class Mosaic(Imputer):
    """The diploid model of Li and Stephens (2003), summed over all phases, over haplotypes chosen for each sample.

    A genotype is the sum of two alleles, each copied, with errors, from a panel haplotype; from one site to the next
    either copy may switch. Programs that impute phase the target first and impute each haplotype by itself, because
    pairs of n panel haplotypes are n² states; what is doubtful in the phase is lost to them. Here the forward-backward
    algorithm runs over pairs (as in fastPHASE and MaCH: Scheet and Stephens 2006; Li et al. 2010), of few haplotypes that
    suit the sample. They are found in three steps: over the whole panel, one copy at a time, the other allele being drawn
    from the panel's frequencies; pairs of haplotypes are drawn from the diploid model over the best of these; over the
    whole panel again, one copy at a time, for each haplotype drawn.

    Nothing is learned for a level or pattern of missing calls. `fit` keeps the panel's haplotypes; a panel that is not
    phased is phased by Beagle or, if asked for, by the model itself. How often copies switch is chosen by the log-loss at
    calls hidden from samples of the panel that are set aside, unless it is given. Contigs share nothing.

    Attributes:
        switch: as given or chosen.
    """

    description = "diploid copying model over panel haplotypes chosen for each sample, without phasing it"
    Params = MosaicParams

    switch: float
    _haplotypes: np.ndarray  # int8 (n_haplotypes, n_sites)

    @classmethod
    def program_files(cls) -> list[Path]:
        return Beagle.program_files()

    # ------------------------------------------------------------------ learning

    def _fit(
        self, panel: GenotypeMatrix, validation: Validation | None, mask: TrainingMask, report: Report | None
    ) -> None:
        self._haplotypes = self._phased(panel)
        self.switch = self.params.switch or self._chosen_switch(panel)
        if validation is not None and report is not None:
            report(0, validation.score(self.posterior))

    def refit_params(self) -> MosaicParams:
        return self.params.model_copy(update={"switch": self.switch})

    def _phased(self, panel: GenotypeMatrix) -> np.ndarray:
        """int8 (2 * n_samples, n_sites): the panel's haplotypes; where they are not known, by Beagle or by the model itself."""
        haplotypes = panel.haplotypes
        if haplotypes is None and self.params.phased_by == "itself":
            haplotypes = self._phased_by_itself(panel)
        elif haplotypes is None:
            beagle = Beagle(Beagle.parse_params(self.params.phasing), seed=self.seed, threads=self.threads)
            try:
                Beagle.require_programs()
            except InputError as error:
                raise InputError(f'{error}; without it mosaic phases the panel with phased_by = "itself"') from None
            haplotypes = beagle.fit(panel).phased_panel()
        return np.ascontiguousarray(haplotypes.transpose(0, 2, 1).reshape(-1, panel.n_sites))

    def _phased_by_itself(self, panel: GenotypeMatrix) -> np.ndarray:
        """int8 (n_samples, n_sites, 2): phase at first at random, then, in each round, drawn from the model over the others.

        So MaCH phases (Li et al. 2010), but it draws the haplotypes to copy from, and here they are chosen. Switches are
        frequent at first, where nothing is known yet. The draws of the last rounds vote.
        """
        from threadpoolctl import threadpool_limits

        rng = np.random.default_rng(self.seed)
        shape = panel.calls.shape
        guessed = (rng.random((2, *shape)) < panel.alt_frequency()).sum(axis=0)
        calls = np.where(panel.calls == MISSING, guessed, panel.calls)
        first = np.where(calls == 1, rng.random(shape) < 0.5, calls == 2)
        haplotypes = np.stack([first, calls - first], axis=1).astype(np.int8)  # (n_samples, 2, n_sites)
        if panel.n_samples == 1:  # there are no others
            return haplotypes.transpose(0, 2, 1)
        contigs = panel.sites["contig"].to_numpy()
        with threadpool_limits(1), ThreadPoolExecutor(self.threads) as pool:
            for contig in dict.fromkeys(contigs):
                here = np.flatnonzero(contigs == contig)
                now, drawn = haplotypes[:, :, here], []
                for number in range(self.params.rounds):
                    drawn.append(self._phased_anew(now, panel.calls[:, here], number, rng, pool))
                    now = drawn[-1][0]
                by_sample = np.concatenate(drawn[-VOTING_ROUNDS:]).swapaxes(0, 1)
                haplotypes[:, :, here] = np.stack([voted(pairs) for pairs in by_sample])
        return haplotypes.transpose(0, 2, 1)

    def _phased_anew(
        self, now: np.ndarray, calls: np.ndarray, number: int, rng: np.random.Generator, pool: ThreadPoolExecutor
    ) -> np.ndarray:
        """int8 (n_draws, n_samples, 2, n_sites): one round of `_phased_by_itself` on a contig, from the haplotypes `now`."""
        votes = number >= self.params.rounds - VOTING_ROUNDS
        params = self.params if votes else self.params.model_copy(update={"draws": 1})
        switch = max(USUAL_SWITCH, FIRST_SWITCH / 2**number)
        parts = min(PARTS, len(calls))
        part_of = rng.permutation(len(calls)) % parts
        now, drawn = now.copy(), np.empty((params.draws, *now.shape), dtype=np.int8)
        for part in range(parts):
            others = now[part_of != part].reshape(-1, now.shape[2])
            copying = Copying(others, switch, params, int(rng.integers(2**31)))
            rows = np.flatnonzero(part_of == part)
            for row, pairs in zip(rows, pool.map(copying.pairs, calls[rows]), strict=True):
                drawn[:, row], now[row] = pairs, pairs[0]
        return drawn

    def _chosen_switch(self, panel: GenotypeMatrix) -> float:
        """The one of SWITCHES that predicts best at calls hidden from samples that are set aside."""
        if panel.n_samples < LEAST_PANEL:
            return USUAL_SWITCH
        p: MosaicParams = self.params
        middle = slice(begin := max(0, (panel.n_sites - CHOSEN_SITES) // 2), begin + CHOSEN_SITES)
        part = panel.take_sites(middle)
        known = "family" in panel.samples and (panel.samples["family"] != "").any()
        by = "family" if known and len(np.unique(unit_labels(panel.samples, "family"))) > 1 else "random"
        aside = split_samples(panel.samples, min(CHOSEN_ON, panel.n_samples // 5), by, self.seed)
        haplotypes = self._haplotypes[np.repeat(~aside, 2), middle]
        masks = list(site_masks(part.n_sites, CHOSEN_AT, 1, "independent", self.seed).values())
        judged = part.take_samples(aside)

        def loss(switch: float) -> float:
            states = {name: min(getattr(p, name), CHOSEN_STATES) for name in ("states", "first_states")}
            model = Mosaic(p.model_copy(update={**states, "switch": switch}), seed=self.seed, threads=self.threads)
            model._haplotypes, model.switch = haplotypes, switch
            model.sites, model.frequencies = part.sites, part.take_samples(~aside).genotype_frequencies()
            return float(np.mean([log_loss(model, judged, mask) for mask in masks]))

        return min(SWITCHES, key=loss)

    # ------------------------------------------------------------------ imputing

    def _posterior(self, target: GenotypeMatrix) -> np.ndarray:
        from threadpoolctl import threadpool_limits

        out = np.broadcast_to(self.frequencies, (*target.calls.shape, 3)).astype(np.float32)
        with threadpool_limits(1), ThreadPoolExecutor(self.threads) as pool:
            for window in self._windows():
                at, inner = slice(window.begin, window.end), slice(window.first, window.last)
                seen = (target.calls[:, at] != MISSING).sum(axis=1)
                asked = np.flatnonzero((target.calls[:, inner] == MISSING).any(axis=1) & (seen >= MIN_SEEN))
                copying = Copying(self._haplotypes[:, at], self.switch, self.params, self.seed)
                for row, answer in zip(asked, pool.map(copying.posterior, target.calls[asked, at]), strict=True):
                    out[row, inner] = answer[window.first - window.begin : window.last - window.begin]
        return out

    def _windows(self) -> Iterator[Window]:
        """Windows of about equal length that cover each contig."""
        contigs = self.sites["contig"].to_numpy()
        borders = np.flatnonzero(contigs[1:] != contigs[:-1]) + 1
        for begin, end in itertools.pairwise([0, *borders.tolist(), len(contigs)]):
            cuts = np.linspace(begin, end, -(-(end - begin) // self.params.window) + 1).round().astype(int)
            for first, last in itertools.pairwise(cuts.tolist()):
                overlap = self.params.overlap
                yield Window(max(begin, first - overlap), min(end, last + overlap), first, last)

    # ------------------------------------------------------------------ keeping

    def _save(self, folder: Path) -> None:
        np.save(folder / "haplotypes.npy", self._haplotypes, allow_pickle=False)
        (folder / "chosen.json").write_text(json.dumps({"switch": self.switch}) + "\n")

    def _load(self, folder: Path) -> None:
        self._haplotypes = np.load(folder / "haplotypes.npy", allow_pickle=False)
        self.switch = json.loads((folder / "chosen.json").read_text())["switch"]


def log_loss(model: Imputer, matrix: GenotypeMatrix, hidden: np.ndarray) -> float:
    """Mean over the hidden calls of -log of the posterior of the true genotype (natural logarithm).

    Args:
        model: a fitted imputer.
        matrix: the true calls; missing ones are not scored.
        hidden: bool (n_sites,), the sites that are hidden.
    """
    truth = at_hidden(matrix.calls, hidden)
    posterior = at_hidden(model.posterior(matrix.hide(hidden)), hidden)
    known = truth != MISSING
    right = np.take_along_axis(posterior[known], truth[known][:, None].astype(int), axis=1)
    return float(-np.log(np.maximum(right, 1e-6)).mean())


def voted(pairs: np.ndarray) -> np.ndarray:
    """One pair of haplotypes by the vote of several.

    Where they differ in the genotype (a call that is missing) the rounded mean is taken; the phase of two heterozygous sites
    that follow each other is that of most.

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
