"""Mosaic: each sample as two mosaics of panel haplotypes, without deciding its phase."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from snpimpute.base.errors import InputError
from snpimpute.base.files import save_array
from snpimpute.dataset.masks import site_masks
from snpimpute.dataset.scenarios import at_hidden
from snpimpute.dataset.splits import split_samples, unit_labels
from snpimpute.dataset.training_masks import TrainingMask
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix, contig_slices
from snpimpute.imputers._copying import USUAL_ERROR, Copying, Haplotypes, places_of_bits, voted
from snpimpute.imputers.beagle import Beagle
from snpimpute.imputers.contract import (
    DRAWS,
    HAPLOTYPE_WINDOW,
    LIKELIHOODS,
    MIN_SEEN,
    PHASE,
    Imputer,
    Params,
    Report,
    Validation,
    observed,
)
from snpimpute.io.maps import GeneticMap

SWITCHES = (0.0003, 0.0006, 0.001, 0.002, 0.003, 0.006, 0.01, 0.02, 0.03)  # `fit` chooses from them if none is given
USUAL_SWITCH = 0.003
# `fit` takes another error if it lowers the log-loss by LEAST_GAIN: calls from few reads are wrong more often than those of arrays.
ERRORS = (USUAL_ERROR, 0.01, 0.03, 0.06)
LEAST_GAIN = 0.01  # as a share
BY_POSITION = 0.5  # share of the gap between two sites that goes by base pairs; the rest is the same for all gaps
SHORT = 1_000_000  # base pairs; in a shorter stretch neighbouring sites tell much the same
# How `fit` chooses the switch and the error: by log-loss on samples of the panel that are set aside.
CHOSEN_AT = (60.0, 90.0)  # levels: percent of the sites hidden, if it is not known which ones targets lack
CHOSEN_ON = 40  # most samples set aside
CHOSEN_SITES = 500  # most sites used, from the middle of the panel; of a known array most typed sites
CHOSEN_STATES = 100  # most states; with much fewer, a higher switch looks better than it is
LEAST_PANEL = 20  # samples; of a smaller panel nothing is learned, and it takes USUAL_SWITCH
# How a panel phases itself.
FIRST_SWITCH = 0.03  # switch of the first round, when nothing is phased yet
PHASING_DRAWS = 15  # pairs drawn for a sample whose phase is asked for, which vote
ROUNDS, VOTING_ROUNDS = 9, 4  # all rounds, and the last ones, whose draws vote
PARTS = 5  # parts of the samples; each part is phased by the others
KEPT = 32  # stretches whose copying models are kept while samples are imputed: on an array they are the same for all samples
Copyings = Callable[[int, int], Copying]


class MosaicParams(Params):
    """Parameters of the copying model and of phasing the panel.

    Attributes:
        switch: probability that a haplotype copies another one from the next site on; None = chosen among SWITCHES.
        error: probability that an allele is not the one that is copied; None = chosen among ERRORS with the switch, or USUAL_ERROR
            where the switch is given.
        map: genetic map in PLINK format with cM, by which switches go in place of base pairs, here and in Beagle's phasing.
        learn_rates: whether how often switches lie between two sites is learned from the panel, from base pairs or the map on.
        phased_by: phasing of a panel that is not phased: by "beagle", or by the model "itself", without a program.
        phasing: parameters of Beagle when it phases, which override its defaults.
        rounds: times that each sample is phased by the others, when the model phases.
        states: panel haplotypes that a sample is a mosaic of; time and memory grow with their square.
        first_states: the same while a sample's haplotypes are drawn.
        draws: pairs of haplotypes drawn for each sample, to find the panel haplotypes that they resemble.
        uniform: weight of "any of the states" against "one that resembles the sample" where copying begins or switches.
        window: observed calls of a stretch, which the model works on at a time, if it is SHORT or longer; up to half as many more.
        dense_window: the same of a shorter stretch.
        overlap: observed calls by which a stretch reaches into its neighbours; more in proportion where stretches have more than
            `window`.
    """

    switch: float | None = Field(None, gt=0, lt=0.5)
    error: float | None = Field(None, gt=0, lt=0.5)
    map: Path | None = None
    learn_rates: bool = True
    phased_by: Literal["beagle", "itself"] = "beagle"
    phasing: dict[str, Any] = Field(default_factory=dict)
    rounds: int = Field(ROUNDS, ge=1)
    states: int = Field(150, ge=2)
    first_states: int = Field(60, ge=2)
    draws: int = Field(3, ge=1)
    uniform: float = Field(2.0, gt=0)
    window: int = Field(1000, ge=20)
    dense_window: int = Field(2000, ge=20)
    overlap: int = Field(100, ge=0)


@dataclass(frozen=True, eq=False)
class Stretch:
    """Stretch of sites that the model works on at a time; `end` and `last` are exclusive.

    Attributes:
        begin, end: sites that the model uses.
        first, last: sites among them that it gives the posterior of.
    """

    begin: int
    end: int
    first: int
    last: int


class Mosaic(Imputer):
    """The diploid model of Li and Stephens (2003), summed over all phases, with haplotypes chosen for each sample.

    A genotype is the sum of two alleles, each copied, with errors, from a panel haplotype; from one site to the next
    either copy may switch. Other programs phase the target first and impute each haplotype by itself, because pairs of
    n panel haplotypes are n² states; they lose the uncertainty of the phase. Here the forward-backward algorithm runs
    over pairs (as in fastPHASE and MaCH: Scheet and Stephens 2006; Li et al. 2010) of few haplotypes that resemble the
    sample. Three steps find them: a pass over the whole panel, one copy at a time, with the other allele drawn from the
    panel's frequencies; pairs of haplotypes drawn from the diploid model over the best of these; and a second pass over
    the whole panel, one copy at a time, for each haplotype drawn.

    Nothing is learned for a level or pattern of missing calls. `fit` keeps the panel's haplotypes; Beagle or, if asked
    for, the model itself phases a panel that is not phased. Unless `switch` is given, it and the error are chosen by the
    log-loss at calls hidden from samples of the panel that are set aside. Contigs share nothing.

    Attributes:
        switch, error: those given or chosen.
    """

    description = "diploid copying model over panel haplotypes chosen for each sample, without phasing it"
    fit_window = HAPLOTYPE_WINDOW
    handles = frozenset({LIKELIHOODS, PHASE, DRAWS})
    Params = MosaicParams

    switch: float
    error: float
    _haplotypes: Haplotypes
    _place: np.ndarray  # float64 (n_sites,), see `places`
    _contigs: list[tuple[slice, int]]  # see `extents`

    @classmethod
    def program_files(cls) -> list[Path]:
        return Beagle.program_files()

    # ------------------------------------------------------------------ learning

    def _fit(
        self, panel: GenotypeMatrix, validation: Validation | None, mask: TrainingMask, report: Report | None
    ) -> None:
        genetic_map = None if self.params.map is None else GeneticMap.read(self.params.map)
        self._place, self._contigs = places(panel.sites, genetic_map), extents(panel.sites)
        alleles = self._phased(panel)
        if self.params.learn_rates and panel.n_samples >= LEAST_PANEL:
            self._place = self._learned_places(alleles)
        self.switch, self.error = self._chosen(panel, alleles, mask)
        self._haplotypes = Haplotypes.of(alleles, contig_slices(panel.sites))
        if validation is not None and report is not None:
            report(0, validation.score(self.posterior))

    def refit_params(self) -> MosaicParams:
        return self.params.model_copy(update={"switch": self.switch, "error": self.error})

    def _phased(self, panel: GenotypeMatrix) -> np.ndarray:
        """Return the panel's haplotypes, int8 (2 * n_samples, n_sites), phased by Beagle or by the model if unknown."""
        haplotypes = panel.haplotypes
        if haplotypes is None and self.params.phased_by == "itself":
            haplotypes = self._phased_by_itself(panel)
        elif haplotypes is None:
            phasing = ({} if self.params.map is None else {"map": str(self.params.map)}) | self.params.phasing
            beagle = Beagle(Beagle.parse_params(phasing), seed=self.seed, threads=self.threads)
            try:
                Beagle.require_programs()
            except InputError as error:
                raise InputError(f'{error}; without it mosaic phases the panel with phased_by = "itself"') from None
            haplotypes = beagle.fit(panel).phased_panel()
        return np.ascontiguousarray(haplotypes.transpose(0, 2, 1).reshape(-1, panel.n_sites))

    def _phased_by_itself(self, panel: GenotypeMatrix) -> np.ndarray:
        """Phase the panel by the model: at random first, then drawn anew from the other samples in each round.

        MaCH phases in this way too (Li et al. 2010), but draws the haplotypes to copy from, which are chosen here.
        Switches are frequent at first, when nothing is known yet. The draws of the last rounds vote.

        Returns:
            int8 (n_samples, n_sites, 2).
        """
        from threadpoolctl import threadpool_limits

        rng = np.random.default_rng(self.seed)
        shape = panel.calls.shape
        guessed = (rng.random((2, *shape)) < panel.alt_frequency()).sum(axis=0)
        calls = np.where(panel.calls == MISSING, guessed, panel.calls)
        first = np.where(calls == 1, rng.random(shape) < 0.5, calls == 2)
        haplotypes = np.stack([first, calls - first], axis=1).astype(np.int8)  # (n_samples, 2, n_sites)
        if panel.n_samples == 1:  # there are no other samples
            return haplotypes.transpose(0, 2, 1)
        contigs, place = panel.sites["contig"].to_numpy(), self._place
        with threadpool_limits(1), ThreadPoolExecutor(self.threads) as pool:
            for contig in dict.fromkeys(contigs):
                here = np.flatnonzero(contigs == contig)
                current, drawn = haplotypes[:, :, here], []
                for number in range(self.params.rounds):
                    drawn.append(self._phasing_round(current, panel.calls[:, here], place[here], number, rng, pool))
                    current = drawn[-1][0]
                by_sample = np.concatenate(drawn[-VOTING_ROUNDS:]).swapaxes(0, 1)
                haplotypes[:, :, here] = np.stack([voted(pairs) for pairs in by_sample])
        return haplotypes.transpose(0, 2, 1)

    def _phasing_round(
        self,
        current: np.ndarray,
        calls: np.ndarray,
        place: np.ndarray,
        number: int,
        rng: np.random.Generator,
        pool: ThreadPoolExecutor,
    ) -> np.ndarray:
        """Do one round of `_phased_by_itself` on a contig; return its draws, int8 (n_draws, n_samples, 2, n_sites).

        Args:
            current: int8 (n_samples, 2, n_sites), the haplotypes so far.
            calls: int8 (n_samples, n_sites), -1 = missing.
            place: float (n_sites,), where the sites stand, see `places`.
            number: number of the round, from 0.
            rng: source of random numbers.
            pool: threads to work in.
        """
        votes = number >= self.params.rounds - VOTING_ROUNDS
        params = self.params if votes else self.params.model_copy(update={"draws": 1})
        switch = max(USUAL_SWITCH, FIRST_SWITCH / 2**number)
        parts = min(PARTS, len(calls))
        part_of = rng.permutation(len(calls)) % parts
        current, drawn = current.copy(), np.empty((params.draws, *current.shape), dtype=np.int8)
        for part in range(parts):
            others = current[part_of != part].reshape(-1, current.shape[2])
            copying = Copying(
                Haplotypes.of(others, [slice(0, len(place))]), place, switch, params, int(rng.integers(2**31))
            )
            rows = np.flatnonzero(part_of == part)
            for row, pairs in zip(rows, pool.map(copying.pairs, calls[rows]), strict=True):
                drawn[:, row], current[row] = pairs, pairs[0]
        return drawn

    def _chosen(self, panel: GenotypeMatrix, alleles: np.ndarray, mask: TrainingMask) -> tuple[float, float]:
        """Return the switch and the error: those given, or those with the lowest log-loss at calls hidden from samples set aside.

        From USUAL_SWITCH on the search goes downhill among SWITCHES, to the first value with a higher loss; then through ERRORS,
        and with another error downhill among SWITCHES again.

        Args:
            panel: the panel.
            alleles: int8 (2 * n_samples, n_sites), its haplotypes.
            mask: its sites are hidden, if it has some, else sites at random at the levels CHOSEN_AT.
        """
        given, error = self.params, self.params.error or USUAL_ERROR
        if given.switch is not None or panel.n_samples < LEAST_PANEL:
            return given.switch or USUAL_SWITCH, error
        loss = self._loss_aside(panel, alleles, mask)
        switch = downhill(SWITCHES, USUAL_SWITCH, lambda switch: loss(switch, error))
        if given.error is not None:
            return switch, error
        best = min(ERRORS, key=lambda error: loss(switch, error))
        if loss(switch, best) <= (1 - LEAST_GAIN) * loss(switch, error):
            error = best
        return downhill(SWITCHES, switch, lambda switch: loss(switch, error)), error

    def _loss_aside(
        self, panel: GenotypeMatrix, alleles: np.ndarray, mask: TrainingMask
    ) -> Callable[[float, float], float]:
        """Return what gives the log-loss of a switch and an error at calls hidden from samples set aside; see `_chosen`."""
        p: MosaicParams = self.params
        typed = np.ones(panel.n_sites, dtype=bool) if mask.sites is None else ~mask.sites
        used = middle(typed, CHOSEN_SITES)
        part = panel.take_sites(used)
        known = "family" in panel.samples and (panel.samples["family"] != "").any()
        by = "family" if known and len(np.unique(unit_labels(panel.samples, "family"))) > 1 else "random"
        aside = split_samples(panel.samples, min(CHOSEN_ON, panel.n_samples // 5), by, self.seed)
        haplotypes = Haplotypes.of(alleles[np.repeat(~aside, 2), used], contig_slices(part.sites))
        masks = [mask.sites[used]] if mask.sites is not None else []
        if not any(hidden.any() and not hidden.all() for hidden in masks):
            masks = list(site_masks(part.n_sites, CHOSEN_AT, 1, "independent", self.seed).values())
        scored, contigs = part.take_samples(aside), extents(part.sites)

        @cache
        def loss(switch: float, error: float) -> float:
            states = {name: min(getattr(p, name), CHOSEN_STATES) for name in ("states", "first_states")}
            model = Mosaic(p.model_copy(update=states), seed=self.seed, threads=self.threads)
            model._haplotypes, model._place = haplotypes, self._place[used]
            model.switch, model.error = switch, error
            model._contigs, model.sites = contigs, part.sites
            model.frequencies = part.take_samples(~aside).genotype_frequencies()
            return float(np.mean([log_loss(model, scored, hidden) for hidden in masks]))

        return loss

    def _learned_places(self, alleles: np.ndarray) -> np.ndarray:
        """Return where sites stand by how often these haplotypes, int8 (R, n_sites), switch between them."""
        from snpimpute.imputers._rates import learned_places

        contigs = [part for part, _ in self._contigs]
        switch, error = self.params.switch or USUAL_SWITCH, self.params.error or USUAL_ERROR
        return learned_places(alleles, contigs, self._place, switch, error, self.seed, self.threads)

    # ------------------------------------------------------------------ imputing

    def _posterior(self, target: GenotypeMatrix) -> np.ndarray:
        return np.stack(self._each_sample(self._posterior_of_sample, target))

    def _each_sample(
        self, of_sample: Callable[..., np.ndarray], target: GenotypeMatrix, *more: Iterable[Any]
    ) -> list[np.ndarray]:
        """Return what a function makes of each sample's calls, observed sites, likelihoods, copying models, and what it has `more`."""
        from threadpoolctl import threadpool_limits

        likelihoods = itertools.repeat(None) if target.likelihoods is None else target.likelihoods
        given = target.calls, observed(target), likelihoods, itertools.repeat(self._copyings())
        with threadpool_limits(1), ThreadPoolExecutor(self.threads) as pool:
            each = pool.map if self.threads > 1 else map  # a thread's memory is given back to the system time and again
            return list(each(of_sample, *given, *more))

    def _copyings(self) -> Copyings:
        """Return what gives the copying model of the sites from one to another; it keeps those last asked for."""

        params = self.params.model_copy(update={"error": self.error})

        @lru_cache(KEPT)
        def copying(begin: int, end: int) -> Copying:
            haplotypes, place = self._haplotypes.between(begin, end), self._place[begin:end]
            return Copying(haplotypes, place, self.switch, params, self.seed)

        return copying

    def _posterior_of_sample(
        self, calls: np.ndarray, seen: np.ndarray, likelihoods: np.ndarray | None, copyings: Copyings
    ) -> np.ndarray:
        """Return the posterior of one sample, float32 (n_sites, 3).

        Args:
            calls: int8 (n_sites,), -1 = missing.
            seen: bool (n_sites,), where a call or likelihoods are known.
            likelihoods: float32 (n_sites, 3) in place of calls, None = calls.
            copyings: see `_copyings`.
        """
        out = self.frequencies.astype(np.float32)
        for stretch in self._stretches(seen):
            sites, inner = slice(stretch.begin, stretch.end), slice(stretch.first, stretch.last)
            if (calls[inner] == MISSING).any() and seen[sites].sum() >= MIN_SEEN:
                copying = copyings(stretch.begin, stretch.end)
                posterior = copying.posterior(calls[sites], None if likelihoods is None else likelihoods[sites])
                out[inner] = posterior[stretch.first - stretch.begin : stretch.last - stretch.begin]
        return out

    def haplotypes(self, target: GenotypeMatrix, calls: np.ndarray) -> np.ndarray:
        return np.stack(self._each_sample(self._haplotypes_of_sample, target, calls))

    def _haplotypes_of_sample(
        self,
        calls: np.ndarray,
        seen: np.ndarray,
        likelihoods: np.ndarray | None,
        copyings: Copyings,
        imputed: np.ndarray,
    ) -> np.ndarray:
        """Return the two haplotypes of one sample, int8 (2, n_sites), of its imputed calls, int8 (n_sites,).

        Args:
            calls, seen, likelihoods, copyings: see `_posterior_of_sample`.
            imputed: int8 (n_sites,), the calls to phase.
        """
        out = np.empty((2, len(imputed)), dtype=np.int8)
        done = 0  # site up to which the phase is settled; what a stretch has before it says which haplotype is first
        for stretch in self._stretches(seen):
            sites = slice(stretch.begin, stretch.end)
            copying = copyings(stretch.begin, stretch.end)
            given = None if likelihoods is None else likelihoods[sites]
            found = copying.phased(calls[sites], given, imputed[sites], PHASING_DRAWS)
            both = slice(stretch.begin, max(done, stretch.begin))
            mixed = imputed[both] == 1
            differ = out[0, both][mixed] != found[0, : both.stop - both.start][mixed]
            found = found[::-1] if 2 * differ.sum() > mixed.sum() else found
            middle = stretch.first if done > stretch.first else max(done, stretch.begin)
            out[:, middle : stretch.end] = found[:, middle - stretch.begin :]
            done = stretch.end
        return out

    def draw(self, target: GenotypeMatrix, n: int, seed: int) -> np.ndarray:
        rngs = [np.random.default_rng([seed, row]) for row in range(target.n_samples)]
        return np.stack(self._each_sample(self._draws_of_sample, target, itertools.repeat(n), rngs), axis=1)

    def _draws_of_sample(
        self,
        calls: np.ndarray,
        seen: np.ndarray,
        likelihoods: np.ndarray | None,
        copyings: Copyings,
        n: int,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Return n pairs of haplotypes of one sample, int8 (n, 2, n_sites).

        A stretch is drawn by itself; which haplotype is first follows from what it has in common with the stretch before.

        Args:
            calls, seen, likelihoods, copyings: see `_posterior_of_sample`.
            n: number of draws.
            rng: source of random numbers.
        """
        chances = rng.random((n, 1, len(calls))) >= self.frequencies[:, :2].cumsum(axis=1).T
        genotypes = np.where(calls == MISSING, chances.sum(axis=1), calls)
        first = np.where(genotypes == 1, rng.random(genotypes.shape) < 0.5, genotypes == 2)
        out = np.stack([first, genotypes - first], axis=1).astype(np.int8)
        for stretch in self._stretches(seen):
            sites = slice(stretch.begin, stretch.end)
            if seen[sites].sum() < MIN_SEEN:
                continue
            copying = copyings(stretch.begin, stretch.end)
            found = copying.draws(calls[sites], None if likelihoods is None else likelihoods[sites], n, rng)
            before, common = out[:, :, stretch.begin : stretch.first], found[:, :, : stretch.first - stretch.begin]
            mixed = (before.sum(axis=1) == 1) & (common.sum(axis=1) == 1)
            turned = 2 * (mixed & (before[:, 0] != common[:, 0])).sum(axis=1) > mixed.sum(axis=1)
            found[turned] = found[turned, ::-1]
            out[:, :, stretch.first : stretch.last] = found[
                :, :, stretch.first - stretch.begin : stretch.last - stretch.begin
            ]
        return out

    def _stretches(self, seen: np.ndarray) -> Iterator[Stretch]:
        """Cut each contig into stretches with about as many observed calls each; `seen` is bool (n_sites,)."""
        for part, length in self._contigs:
            begin, end = part.start, part.stop
            n_seen = np.concatenate([[0], np.cumsum(seen[begin:end])])  # before each site, and in all
            wanted = n_seen[-1] / self.params.window
            fewest = max(length / SHORT, n_seen[-1] / self.params.dense_window)
            n_parts = max(1, round(min(wanted, fewest)))
            overlap = self.params.overlap * max(1.0, wanted / n_parts)
            inner = np.searchsorted(n_seen, np.linspace(0, n_seen[-1], n_parts + 1)[1:-1].round())
            for first, last in itertools.pairwise([0, *inner.tolist(), end - begin]):
                before = np.searchsorted(n_seen, n_seen[first] - overlap, side="right") - 1
                after = np.searchsorted(n_seen, n_seen[last] + overlap)
                # without an overlap the call before a border, and that behind it, may lie far from it
                before, after = min(first, max(0, int(before))), max(last, int(after))
                yield Stretch(begin + before, min(end, begin + after), begin + first, begin + last)

    # ------------------------------------------------------------------ keeping

    def _save(self, folder: Path) -> None:
        save_array(folder / "haplotypes.npy", self._haplotypes.bits)
        save_array(folder / "frequencies.npy", self._haplotypes.frequencies)
        save_array(folder / "places.npy", self._place)
        (folder / "chosen.json").write_text(json.dumps({"switch": self.switch, "error": self.error}) + "\n")

    def _load(self, folder: Path) -> None:
        bits = np.load(folder / "haplotypes.npy", allow_pickle=False)
        frequencies = np.load(folder / "frequencies.npy", allow_pickle=False)
        self._place = np.load(folder / "places.npy", allow_pickle=False)
        self._contigs = extents(self.sites)
        self._haplotypes = Haplotypes(bits, frequencies, places_of_bits(contig_slices(self.sites)))
        chosen = {"error": self.params.error or USUAL_ERROR} | json.loads((folder / "chosen.json").read_text())
        self.switch, self.error = chosen["switch"], chosen["error"]


def downhill(values: Sequence[float], start: float, loss: Callable[[float], float]) -> float:
    """Return the value with the lowest loss, of those from `start` on either way to the first one with a higher loss."""
    at = values.index(start)
    tried = [start]
    for side in (values[at - 1 :: -1] if at else (), values[at + 1 :]):
        for before, value in itertools.pairwise((start, *side)):
            tried.append(value)
            if loss(before) < loss(value):
                break
    return min(tried, key=loss)


def middle(counted: np.ndarray, n: int) -> slice:
    """Return the sites in the middle that hold n of those counted, or all sites if they are fewer; bool (n_sites,)."""
    numbers = np.flatnonzero(counted)
    if len(numbers) <= n:
        return slice(0, len(counted))
    first = (len(numbers) - n) // 2
    return slice(int(numbers[first]), int(numbers[first + n - 1]) + 1)


def extents(sites: pd.DataFrame) -> list[tuple[slice, int]]:
    """Return each contig's sites, and the base pairs from the first of them to the last."""
    pos = sites["pos"].to_numpy()
    return [(part, int(pos[part.stop - 1] - pos[part.start])) for part in contig_slices(sites)]


def places(sites: pd.DataFrame, genetic_map: GeneticMap | None = None) -> np.ndarray:
    """Return where sites stand on their contigs, the mean gap between neighbours as the unit, float64 (n_sites,).

    Half of each gap is that of the map in cM, or without one of the positions in base pairs; half is the same for all: where
    sites stand close, they are also more likely to tell apart haplotypes that have switched.

    Raises:
        InputError: the map does not have a contig.
    """
    place = np.arange(len(sites), dtype=float)
    for part in contig_slices(sites):
        along = (genetic_map or GeneticMap()).centimorgans(
            str(sites["contig"].iloc[part.start]), sites["pos"].to_numpy()[part]
        )
        if along[-1] > along[0]:
            number = np.arange(len(along))
            place[part] += BY_POSITION * ((along - along[0]) / (along[-1] - along[0]) * (len(along) - 1) - number)
    return place


def log_loss(model: Imputer, matrix: GenotypeMatrix, hidden: np.ndarray) -> float:
    """Return the mean of -log of the posterior of the true genotype over the hidden calls (natural logarithm).

    Args:
        model: a fitted imputer.
        matrix: the true calls; missing ones (-1) are not scored.
        hidden: bool (n_sites,), the sites to hide.
    """
    truth = at_hidden(matrix.calls, hidden)
    posterior = at_hidden(model.posterior(matrix.hide(hidden)), hidden)
    known = truth != MISSING
    right = np.take_along_axis(posterior[known], truth[known][:, None].astype(int), axis=1)
    return float(-np.log(np.maximum(right, 1e-6)).mean())
