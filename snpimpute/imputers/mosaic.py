"""Mosaic: every sample as two mosaics of panel haplotypes, whose phase is never decided."""

from __future__ import annotations

import itertools
import json
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
from snpimpute.imputers._copying import Copying
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
class Stretch:
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
            for stretch in self._stretches():
                at, inner = slice(stretch.begin, stretch.end), slice(stretch.first, stretch.last)
                seen = (target.calls[:, at] != MISSING).sum(axis=1)
                asked = np.flatnonzero((target.calls[:, inner] == MISSING).any(axis=1) & (seen >= MIN_SEEN))
                copying = Copying(self._haplotypes[:, at], self.switch, self.params, self.seed)
                for row, answer in zip(asked, pool.map(copying.posterior, target.calls[asked, at]), strict=True):
                    out[row, inner] = answer[stretch.first - stretch.begin : stretch.last - stretch.begin]
        return out

    def _stretches(self) -> Iterator[Stretch]:
        """Cut each contig into stretches of about equal length."""
        contigs = self.sites["contig"].to_numpy()
        borders = np.flatnonzero(contigs[1:] != contigs[:-1]) + 1
        for begin, end in itertools.pairwise([0, *borders.tolist(), len(contigs)]):
            cuts = np.linspace(begin, end, -(-(end - begin) // self.params.window) + 1).round().astype(int)
            for first, last in itertools.pairwise(cuts.tolist()):
                overlap = self.params.overlap
                yield Stretch(max(begin, first - overlap), min(end, last + overlap), first, last)

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
