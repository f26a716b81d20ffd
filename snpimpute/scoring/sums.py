"""Sums of scores of one imputer at one level, by sample and by mask or block of sites: what scores and resamples are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from snpimpute.dataset.prepared import PreparedDataset
from snpimpute.dataset.scenarios import Scenario
from snpimpute.genotypes.relationship import RELATION_BINS, rank_correlations
from snpimpute.metrics.intervals import interval
from snpimpute.metrics.maf import RARE_MAF, maf_subsets
from snpimpute.metrics.offsets import reweighted
from snpimpute.metrics.registry import METRICS
from snpimpute.metrics.scores import scores
from snpimpute.metrics.sums import N_CALIBRATION_BINS, N_SUMS, calibration_bins, hard_confusion, minor_coding, site_sums
from snpimpute.scoring.posteriors import Posteriors

ARGMAX = "argmax"  # the decision for the genotype of the largest posterior
POOLED = "all"  # the repeat of rows that pool all masks of a level
OF_SINGLE_MASKS = tuple(key for key, metric in METRICS.items() if metric.of_calls)
MAX_SITE_BLOCKS = 10
MAX_CONTIG_BLOCKS = 50
CALLS_AT_A_TIME = 100_000  # 216 bytes each as sums, twice that to add them up


def n_blocks(dataset: PreparedDataset, scenario: Scenario) -> int:
    """How many blocks of sites are resampled where there is one mask: of contigs where there are many, else of sites."""
    contigs = int(dataset.test.sites["contig"].nunique())
    return (
        min(MAX_CONTIG_BLOCKS, contigs)
        if contigs > MAX_SITE_BLOCKS
        else min(MAX_SITE_BLOCKS, int(scenario.sites.sum()))
    )


@dataclass(frozen=True)
class _Piece:
    """Hidden calls of one scenario, as many as are worked on at a time.

    Of whole sites: some of the samples × the hidden sites. Of single calls: some of them, as one row.
    """

    samples: np.ndarray  # int (n_rows, n_columns)
    sites: np.ndarray  # int (n_columns,)
    posterior: np.ndarray  # float64 (n_rows, n_columns, 3), rows sum to 1


def _pieces(scenario: Scenario, values: np.ndarray, offsets: np.ndarray | None) -> Iterator[_Piece]:
    """The hidden calls of a scenario, in order, with what an imputer gave for them (see Posteriors), moved by offsets."""
    if scenario.by_call:
        samples, sites = np.nonzero(scenario.hidden)
        for at in range(0, len(sites), CALLS_AT_A_TIME):
            part = slice(at, at + CALLS_AT_A_TIME)
            yield _Piece(samples[None, part], sites[part], _normalised(values[None, part], offsets))
    else:
        sites = np.flatnonzero(scenario.hidden)
        n_rows = max(1, CALLS_AT_A_TIME // len(sites))
        for at in range(0, len(values), n_rows):
            posterior = _normalised(values[at : at + n_rows], offsets)
            samples = np.broadcast_to(np.arange(at, at + len(posterior))[:, None], posterior.shape[:2])
            yield _Piece(samples, sites, posterior)


def _normalised(values: np.ndarray, offsets: np.ndarray | None) -> np.ndarray:
    posterior = values.astype(np.float64)
    if offsets is not None:
        return reweighted(posterior, offsets)
    posterior /= posterior.sum(axis=2, keepdims=True)
    return posterior


def _added_up(sums: np.ndarray, into: np.ndarray, n: int, chosen: np.ndarray | None = None) -> np.ndarray:
    """float64 (n, N_SUMS): rows of sums float64 (n_calls, N_SUMS) added up, in order, where their number in `into` says."""
    rows = np.arange(len(sums)) if chosen is None else np.flatnonzero(chosen)
    return csr_array((np.ones(len(rows)), (into[rows], rows)), shape=(n, len(sums))) @ sums


class LevelSums:
    """The additive sums of one imputer over all masks of a mechanism and level.

    They are kept by sample and cell: a cell is a mask or, where there is one mask only, a block of its sites. With
    offsets, float64 (3,), only the sums of hard calls mean anything.
    """

    def __init__(
        self,
        dataset: PreparedDataset,
        posteriors: Posteriors,
        scenarios: list[Scenario],
        n_cells: int,
        offsets: np.ndarray | None = None,
    ) -> None:
        self.dataset = dataset
        self.scenarios = scenarios
        self.n_cells = n_cells
        self.offsets = offsets
        self.n_blocks = n_cells if len(scenarios) == 1 else 1
        maf = dataset.test.maf()
        without_pedigree = np.full(dataset.test.n_samples, np.nan)
        self.relationship = np.asarray(dataset.test.samples.get("relationship", without_pedigree), dtype=float)
        self.alt_is_major = dataset.test.alt_frequency() > 0.5
        self.rare = maf < RARE_MAF
        self.bins = maf_subsets(maf)
        self.by_sample = np.zeros((dataset.test.n_samples, N_SUMS))
        self.by_site = np.zeros((dataset.test.n_sites, N_SUMS))
        self.sums = {subset: self._nothing() for subset in ("all", "rare", "rare_minor")}
        for number, scenario in enumerate(scenarios):
            self._take_in(scenario, number, posteriors.values[scenario.key])

    def _nothing(self) -> np.ndarray:
        return np.zeros((self.dataset.test.n_samples, self.n_cells, N_SUMS))

    def _take_in(self, scenario: Scenario, number: int, values: np.ndarray) -> None:
        """Add up the hidden calls of a scenario, the `number`-th of the level."""
        everywhere = np.ones(len(self.rare), dtype=bool)
        blocks, rare_blocks = self._blocks(scenario.sites), self._blocks(scenario.sites & self.rare)
        test, true_test = self.dataset.test, self.dataset.true_test
        for piece in _pieces(scenario, values, self.offsets):
            truth = test.calls[piece.samples, piece.sites]
            samples, sites = piece.samples.ravel(), np.broadcast_to(piece.sites, truth.shape).ravel()
            sums = site_sums(truth, piece.posterior).reshape(-1, N_SUMS).astype(np.float64)
            self.by_sample += _added_up(sums, samples, len(self.by_sample))
            self.by_site += _added_up(sums, sites, len(self.by_site))
            for subset, within in {"all": everywhere, "rare": self.rare, **self.bins}.items():
                self._add(subset, number, sums, samples, sites, blocks, within)
            rare = self.rare[piece.sites]
            flipped = minor_coding(truth[:, rare], piece.posterior[:, rare], self.alt_is_major[piece.sites[rare]])
            sums = site_sums(*flipped).reshape(-1, N_SUMS).astype(np.float64)
            rare = self.rare[sites]
            self._add("rare_minor", number, sums, samples[rare], sites[rare], rare_blocks, everywhere)
            if true_test is not None:
                true = true_test.calls[piece.samples, piece.sites]
                sums = site_sums(true, piece.posterior).reshape(-1, N_SUMS).astype(np.float64)
                self._add("true:all", number, sums, samples, sites, blocks, everywhere)
                self._add("true:rare", number, sums, samples, sites, blocks, self.rare)

    def _blocks(self, sites: np.ndarray) -> np.ndarray:
        """int (n_sites,): the block of each of these sites (bool), as evenly cut as can be; 0 for all others.

        Where there are more contigs than blocks of sites, contigs are not cut.
        """
        contigs = pd.factorize(self.dataset.test.sites["contig"])[0]
        if (n_contigs := contigs.max() + 1) > MAX_SITE_BLOCKS:
            return contigs * self.n_blocks // n_contigs
        blocks = np.zeros(len(sites), dtype=int)
        for block, members in enumerate(np.array_split(np.flatnonzero(sites), self.n_blocks)):
            blocks[members] = block
        return blocks

    def _add(
        self,
        subset: str,
        number: int,
        sums: np.ndarray,
        samples: np.ndarray,
        sites: np.ndarray,
        blocks: np.ndarray,
        within: np.ndarray,
    ) -> None:
        """Add the sums of the calls that lie `within` (bool (n_sites,)) to those of a subset."""
        chosen = within[sites]
        if not chosen.any():
            return
        total = self.sums.setdefault(subset, self._nothing())
        into = samples * self.n_blocks + blocks[sites]
        added = _added_up(sums, into, len(total) * self.n_blocks, chosen).reshape(len(total), self.n_blocks, N_SUMS)
        total[:, self._cells(number)] += added

    def _cells(self, number: int) -> slice:
        """The cells of the `number`-th scenario: its own, or all blocks of the only one."""
        return slice(number, number + self.n_blocks)

    def subsets(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """subset → sums float64 (n, n_cells, N_SUMS), and which test samples (bool) these n are."""
        everyone = np.ones(self.dataset.test.n_samples, dtype=bool)
        total = self.sums["all"]
        by_sites = ["all", "rare", "rare_minor", *(name for name in self.bins if name in self.sums)]
        found = {name: (self.sums[name], everyone) for name in by_sites}
        if "group" in self.dataset.test.samples:
            groups = self.dataset.test.samples["group"].fillna("").astype(str).to_numpy()
            for group in sorted(set(groups) - {""}):
                found[f"group:{group}"] = (total[groups == group], groups == group)
        for low, high in pairwise(RELATION_BINS):
            related = (self.relationship >= low) & (self.relationship < high)
            if related.any():
                found[f"relation:{low:.3f}-{high:.3f}"] = (total[related], related)
        found |= {name: (sums, everyone) for name, sums in self.sums.items() if name.startswith("true:")}
        return {name: (sums, who) for name, (sums, who) in found.items() if hard_confusion(sums.sum(axis=(0, 1))).any()}

    def single_masks(self, seed: int) -> list[tuple]:
        """Rows of each mask by itself, without intervals."""
        rows = []
        for number, scenario in enumerate(self.scenarios):
            for subset in ("all", "rare"):
                total = self.sums[subset][:, self._cells(number)].sum(axis=(0, 1))
                n = int(hard_confusion(total).sum())
                for metric in OF_SINGLE_MASKS:
                    value = float(scores(total)[metric])
                    end = (subset, ARGMAX, metric, "", value, np.nan, np.nan, n)
                    rows.append((str(scenario.repeat), seed, *end))
        return rows

    def relations(self, seed: int, weights: tuple[np.ndarray, np.ndarray]) -> list[tuple]:
        """Rows of each test sample's closest relationship to train, and of its rank correlation with correct calls."""
        found = scores(self.sums["all"])
        calls = np.nan_to_num(found["truth_0"] + found["truth_1"] + found["truth_2"])
        right = calls - np.nan_to_num(found["wrong"])
        scored = np.flatnonzero(np.isfinite(self.relationship) & (calls.sum(axis=1) > 0))
        if not len(scored):
            return []
        closest, right, calls = self.relationship[scored], right[scored], calls[scored]
        names = np.array(self.dataset.test.names)[scored]
        rows: list[tuple] = [
            (POOLED, seed, f"sample:{name}", ARGMAX, "relationship", "", value, np.nan, np.nan, 1)
            for name, value in zip(names, closest, strict=True)
        ]
        drawn = weights[0][:, scored].astype(int)
        point = rank_correlations(closest, (right.sum(axis=1) / calls.sum(axis=1))[None], np.ones_like(drawn[:1]))
        with np.errstate(invalid="ignore"):
            resampled = rank_correlations(closest, (weights[1] @ right.T) / (weights[1] @ calls.T), drawn)
        key = (POOLED, seed, "all", ARGMAX, "relationship_rho", "")
        return [*rows, (*key, float(point[0]), *interval(resampled), len(scored))]

    def details(self, seed: int, smoothed: bool) -> list[tuple]:
        """Rows for a closer look at the headline scenario: confusion, sites, samples, calibration."""
        pooled = self.by_sample.sum(axis=0)
        rows: list[tuple] = []

        def add(subset: str, metric: str, value: float, n: float) -> None:
            rows.append((POOLED, seed, subset, ARGMAX, metric, "", value, np.nan, np.nan, int(n)))

        counts = hard_confusion(pooled)
        for true, called in np.ndindex(3, 3):
            add("all", f"confusion_{true}{called}", float(counts[true, called]), counts.sum())
        if not smoothed:
            for i, (n, confidence, accuracy) in enumerate(calibration_bins(pooled)):
                if n:
                    bounds = f"confidence:{i / N_CALIBRATION_BINS:.1f}-{(i + 1) / N_CALIBRATION_BINS:.1f}"
                    add(bounds, "confidence", confidence, n)
                    add(bounds, "accuracy", accuracy, n)
        for kind, labels, table in (
            ("site", self.dataset.test.site_keys(), self.by_site),
            ("sample", self.dataset.test.names, self.by_sample),
        ):
            result = scores(table)
            for i, label in enumerate(labels):
                n = hard_confusion(table[i]).sum()
                if n:
                    add(f"{kind}:{label}", "f1_micro", result["f1_micro"][i], n)
                    if kind == "sample":
                        add(f"{kind}:{label}", "f1_macro", result["f1_macro"][i], n)
        return rows
