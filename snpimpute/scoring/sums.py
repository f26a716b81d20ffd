"""Sums of one imputer's scores at one level, by sample and by mask or block of sites.

Scores and bootstrap samples are computed from these sums.
"""

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
from snpimpute.metrics.registry import METRICS, centred_correlation
from snpimpute.metrics.scores import scores
from snpimpute.metrics.sums import (
    N_CALIBRATION_BINS,
    N_SUMS,
    Sums,
    calibration_bins,
    genotype_shares,
    hard_confusion,
    minor_coding,
    site_sums,
)
from snpimpute.scoring.posteriors import Posteriors

ARGMAX = "argmax"  # decision: call the genotype of the largest posterior
POOLED = "all"  # repeat: rows that pool all masks of a level
OF_SINGLE_MASKS = tuple(key for key, metric in METRICS.items() if metric.of_calls)
MAX_SITE_BLOCKS = 10
MAX_CONTIG_BLOCKS = 50
MAX_CONTIGS = 60  # with more, which are scaffolds rather than chromosomes, none is scored by itself
CALLS_AT_A_TIME = 100_000  # each takes 232 bytes as sums, and twice that to add them up


def n_blocks(dataset: PreparedDataset, scenario: Scenario) -> int:
    """Return the number of blocks of sites to resample where there is one mask.

    Blocks are of contigs if there are many contigs, else of sites.
    """
    contigs = int(dataset.test.sites["contig"].nunique())
    return (
        min(MAX_CONTIG_BLOCKS, contigs)
        if contigs > MAX_SITE_BLOCKS
        else min(MAX_SITE_BLOCKS, int(scenario.sites.sum()))
    )


def contigs_of(dataset: PreparedDataset) -> dict[str, np.ndarray]:
    """Map each contig that is scored by itself to its sites, bool (n_sites,).

    Empty if there is one contig, or more than MAX_CONTIGS, or if the contigs are regions that were cut out of the data.
    """
    contigs = dataset.test.sites["contig"].astype(str).to_numpy()
    names = list(dict.fromkeys(contigs))
    if not 1 < len(names) <= MAX_CONTIGS or dataset.settings.get("regions"):
        return {}
    return {name: contigs == name for name in names}


@dataclass(frozen=True, eq=False)
class _CallChunk:
    """Chunk of the hidden calls of one scenario that is scored at a time.

    For whole sites: all samples × some of the hidden sites. For single calls: some of the calls, as one row.
    """

    samples: np.ndarray  # int (n_rows, n_columns)
    sites: np.ndarray  # int (n_columns,)
    posterior: np.ndarray  # float64 (n_rows, n_columns, 3), rows sum to 1


def _call_chunks(scenario: Scenario, values: np.ndarray, offsets: np.ndarray | None) -> Iterator[_CallChunk]:
    """Yield the hidden calls of a scenario, in order, with an imputer's posteriors, reweighted by offsets.

    Args:
        scenario: the mask.
        values: see Posteriors.values.
        offsets: float64 (3,); None = no offsets.
    """
    if scenario.by_call:
        samples, sites = np.nonzero(scenario.hidden)
        for at in range(0, len(sites), CALLS_AT_A_TIME):
            part = slice(at, at + CALLS_AT_A_TIME)
            yield _CallChunk(samples[None, part], sites[part], _normalised(values[None, part], offsets))
    else:
        sites = np.flatnonzero(scenario.hidden)
        n_columns = max(1, CALLS_AT_A_TIME // len(values))
        for at in range(0, len(sites), n_columns):
            part = slice(at, at + n_columns)
            posterior = _normalised(values[:, part], offsets)
            samples = np.broadcast_to(np.arange(len(values))[:, None], posterior.shape[:2])
            yield _CallChunk(samples, sites[part], posterior)


def _normalised(values: np.ndarray, offsets: np.ndarray | None) -> np.ndarray:
    """Return the posterior as float64 with rows that sum to 1, reweighted by offsets if given."""
    posterior = values.astype(np.float64)
    if offsets is not None:
        return reweighted(posterior, offsets)
    posterior /= posterior.sum(axis=2, keepdims=True)
    return posterior


def _sum_by(sums: np.ndarray, into: np.ndarray, n: int, chosen: np.ndarray | None = None) -> np.ndarray:
    """Add up rows of sums, float64 (n_calls, N_SUMS), in order, by their number in `into`; return float64 (n, N_SUMS).

    Args:
        sums: the rows.
        into: int (n_calls,), row of the result that each is added to.
        n: number of rows of the result.
        chosen: bool (n_calls,), the rows to add; None = all.
    """
    rows = np.arange(len(sums)) if chosen is None else np.flatnonzero(chosen)
    return csr_array((np.ones(len(rows)), (into[rows], rows)), shape=(n, len(sums))) @ sums


def _flat_sums(
    truth: np.ndarray, posterior: np.ndarray, shares: np.ndarray | None = None, parts: np.ndarray | None = None
) -> np.ndarray:
    """Return `site_sums` call by call, float64 (n_samples × n_sites, N_SUMS).

    Args:
        truth, posterior: see `site_sums`.
        shares: shares of the genotypes at the sites, if not all of their calls are here; None = all are.
        parts: int (n_samples,), parts of the samples that are scored each by itself: what a site's frequency in the part tells
            is no merit either. None = one part.
    """
    if shares is not None or parts is None:
        sums = site_sums(truth, posterior, shares=shares, whole=shares is None)
    else:
        sums = np.empty((*truth.shape, N_SUMS), dtype=np.float32)
        for part in np.unique(parts):
            sums[parts == part] = site_sums(truth[parts == part], posterior[parts == part])
    return sums.reshape(-1, N_SUMS).astype(np.float64)


def _turned(shares: np.ndarray | None, chosen: np.ndarray, turn: np.ndarray) -> np.ndarray | None:
    """Return the shares of genotypes (n, 3) of the chosen sites, those of the other allele's copies where `turn` is True."""
    if shares is None:
        return None
    return np.where(turn[:, None], shares[chosen, ::-1], shares[chosen])


@dataclass(frozen=True, eq=False)
class _Parts:
    """Parts of the test samples, as groups, which are scored each by itself."""

    names: list[str]
    codes: np.ndarray  # int (n_test,), number of each sample's part, -1 = in none
    shares: np.ndarray  # float64 (n_parts + 1, n_sites, 3), shares of the genotypes in each part; the last: in none

    @classmethod
    def of(cls, names: list[str], codes: np.ndarray, calls: np.ndarray) -> _Parts:
        """Divide the samples with these calls, int8 (n_test, n_sites)."""
        return cls(names, codes, np.stack([genotype_shares(calls[codes == code]) for code in [*range(len(names)), -1]]))

    def shares_of(self, chunk: _CallChunk, scenario: Scenario) -> np.ndarray | None:
        """Return the shares of the genotypes in the part of each call of a chunk, if single calls are hidden, else None."""
        return self.shares[self.codes[chunk.samples[0]], chunk.sites] if scenario.by_call else None


def _parts(dataset: PreparedDataset, relationship: np.ndarray) -> dict[str, _Parts]:
    """Map each way to divide the test samples to its parts: by group, by closest relationship to train.

    Args:
        dataset: the prepared dataset, with the column `group` if its samples have groups.
        relationship: float (n_test,), closest relationship to train, NaN = not known.
    """
    parts, calls = {}, dataset.test.calls
    if "group" in dataset.test.samples:
        groups = dataset.test.samples["group"].fillna("").astype(str)
        names = sorted(set(groups) - {""})
        parts["group"] = _Parts.of(names, pd.Categorical(groups, names).codes.astype(int), calls)
    bins = list(pairwise(RELATION_BINS))
    inside = [(relationship >= low) & (relationship < high) for low, high in bins]
    if there := [number for number, chosen in enumerate(inside) if chosen.any()]:
        codes = np.full(len(relationship), -1)
        for code, number in enumerate(there):
            codes[inside[number]] = code
        parts["relation"] = _Parts.of([f"{bins[n][0]:.3f}-{bins[n][1]:.3f}" for n in there], codes, calls)
    return parts


class LevelSums:
    """Additive sums of one imputer over all masks of a mechanism and level.

    They are kept by sample and cell: a cell is a mask or, if there is only one mask, a block of its sites. With
    offsets, float64 (3,), only the sums of hard calls are valid. With `by_contig`, contigs have sums of their own too (see
    `contigs_of`); where there is one mask, their blocks lie within them.
    """

    def __init__(
        self,
        dataset: PreparedDataset,
        posteriors: Posteriors,
        scenarios: list[Scenario],
        n_cells: int,
        offsets: np.ndarray | None = None,
        by_contig: bool = False,
    ) -> None:
        self.dataset = dataset
        self.scenarios = scenarios
        self.n_cells = n_cells
        self.offsets = offsets
        self.n_blocks = n_cells if len(scenarios) == 1 else 1
        maf = dataset.test.maf()
        without_pedigree = np.full(dataset.test.n_samples, np.nan)
        self.relationship = np.asarray(dataset.test.samples.get("relationship", without_pedigree), dtype=float)
        self.parts = _parts(dataset, self.relationship)
        self.alt_is_major = dataset.test.alt_frequency() > 0.5
        self.shares = genotype_shares(dataset.test.calls)
        self.rare = maf < RARE_MAF
        self.bins = maf_subsets(maf)
        self.contigs = contigs_of(dataset) if by_contig else {}
        self.by_sample = np.zeros((dataset.test.n_samples, N_SUMS))
        self.by_site = np.zeros((dataset.test.n_sites, N_SUMS))
        self.sums = {subset: self._zeros() for subset in ("all", "rare", "rare_minor")}
        for number, scenario in enumerate(scenarios):
            self._add_scenario(scenario, number, posteriors.values[scenario.key])

    def _zeros(self) -> np.ndarray:
        """Return empty sums by sample and cell."""
        return np.zeros((self.dataset.test.n_samples, self.n_cells, N_SUMS))

    def _add_scenario(self, scenario: Scenario, number: int, values: np.ndarray) -> None:
        """Add up the hidden calls of a scenario, the `number`-th of the level."""
        everywhere = np.ones(len(self.rare), dtype=bool)
        blocks, rare_blocks = self._blocks(scenario.sites), self._blocks(scenario.sites & self.rare)
        contig_blocks = np.zeros(len(self.rare), dtype=int)
        for within in self.contigs.values():
            contig_blocks += self._even_blocks(scenario.sites & within)
        test, true_test = self.dataset.test, self.dataset.true_test
        by_sites = {"all": everywhere, "rare": self.rare, **self.bins}
        for chunk in _call_chunks(scenario, values, self.offsets):
            truth = test.calls[chunk.samples, chunk.sites]
            samples, sites = chunk.samples.ravel(), np.broadcast_to(chunk.sites, truth.shape).ravel()
            place = (number, samples, sites, blocks)
            shares = self.shares[chunk.sites] if scenario.by_call else None
            sums = _flat_sums(truth, chunk.posterior, shares)
            self.by_sample += _sum_by(sums, samples, len(self.by_sample))
            self.by_site += _sum_by(sums, sites, len(self.by_site))
            for subset, within in by_sites.items():
                self._add(subset, sums, *place, within)
            for name, within in self.contigs.items():
                self._add(f"contig:{name}", sums, number, samples, sites, contig_blocks, within)
            for kind, part in self.parts.items():
                sums = _flat_sums(truth, chunk.posterior, part.shares_of(chunk, scenario), part.codes)
                for subset in ("all", "rare"):
                    self._add(f"{kind}/{subset}", sums, *place, by_sites[subset])
            rare = self.rare[chunk.sites]
            turn = self.alt_is_major[chunk.sites[rare]]
            flipped = minor_coding(truth[:, rare], chunk.posterior[:, rare], turn)
            chosen = self.rare[sites]
            place = (number, samples[chosen], sites[chosen], rare_blocks)
            sums = _flat_sums(*flipped, _turned(shares, rare, turn))
            for subset, within in {
                "": everywhere,
                **{f"/{name}": within for name, within in self.bins.items()},
            }.items():
                self._add(f"rare_minor{subset}", sums, *place, within)
            for kind, part in self.parts.items():
                turned = _turned(part.shares_of(chunk, scenario), rare, turn)
                self._add(f"{kind}/rare_minor", _flat_sums(*flipped, turned, part.codes), *place, everywhere)
            if true_test is not None:
                place = (number, samples, sites, blocks)
                shares = genotype_shares(true_test.calls)[chunk.sites] if scenario.by_call else None
                sums = _flat_sums(true_test.calls[chunk.samples, chunk.sites], chunk.posterior, shares)
                self._add("true:all", sums, *place, everywhere)
                self._add("true:rare", sums, *place, self.rare)

    def _blocks(self, sites: np.ndarray) -> np.ndarray:
        """Return the block of each of these sites (bool), in even blocks, int (n_sites,); 0 for all other sites.

        If there are more contigs than blocks of sites, contigs are not cut.
        """
        contigs = pd.factorize(self.dataset.test.sites["contig"])[0]
        if (n_contigs := contigs.max() + 1) > MAX_SITE_BLOCKS:
            return contigs * self.n_blocks // n_contigs
        return self._even_blocks(sites)

    def _even_blocks(self, sites: np.ndarray) -> np.ndarray:
        """Return the block of each of these sites (bool), in even blocks, int (n_sites,); 0 for all other sites."""
        blocks = np.zeros(len(sites), dtype=int)
        for block, members in enumerate(np.array_split(np.flatnonzero(sites), self.n_blocks)):
            blocks[members] = block
        return blocks

    def _add(
        self,
        subset: str,
        sums: np.ndarray,
        number: int,
        samples: np.ndarray,
        sites: np.ndarray,
        blocks: np.ndarray,
        within: np.ndarray,
    ) -> None:
        """Add the sums of the calls at sites `within`, bool (n_sites,), to those of a subset."""
        chosen = within[sites]
        if not chosen.any():
            return
        total = self.sums.setdefault(subset, self._zeros())
        into = samples * self.n_blocks + blocks[sites]
        added = _sum_by(sums, into, len(total) * self.n_blocks, chosen).reshape(len(total), self.n_blocks, N_SUMS)
        total[:, self._cells(number)] += added

    def _cells(self, number: int) -> slice:
        """Return the cells of the `number`-th scenario: its own, or all blocks of the only one."""
        return slice(number, number + self.n_blocks)

    def subsets(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Map each subset with calls to its sums and samples.

        Returns:
            subset → float64 (n, n_cells, N_SUMS), and bool (n_test,), the n test samples of the sums.
        """
        all_samples = np.ones(self.dataset.test.n_samples, dtype=bool)
        by_sites = ["all", "rare", "rare_minor"]
        by_sites += [name for bin in self.bins for name in (bin, f"rare_minor/{bin}") if name in self.sums]
        subsets = {name: (self.sums[name], all_samples) for name in by_sites}
        for kind, part in self.parts.items():
            for subset, before in (("all", ""), ("rare", "rare/"), ("rare_minor", "rare_minor/")):
                if (sums := self.sums.get(f"{kind}/{subset}")) is not None:
                    for code, name in enumerate(part.names):
                        subsets[f"{before}{kind}:{name}"] = (sums[part.codes == code], part.codes == code)
        others = ("true:", "contig:")
        subsets |= {name: (sums, all_samples) for name, sums in self.sums.items() if name.startswith(others)}
        return {
            name: (sums, samples)
            for name, (sums, samples) in subsets.items()
            if hard_confusion(sums.sum(axis=(0, 1))).any()
        }

    def single_masks(self, seed: int) -> list[tuple]:
        """Return rows of each mask by itself, without intervals."""
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
        """Return rows of the test samples' closest relationship to train, and of its rank correlation with accuracy."""
        counts = scores(self.sums["all"])
        calls = np.nan_to_num(counts["truth_0"] + counts["truth_1"] + counts["truth_2"])
        right = calls - np.nan_to_num(counts["wrong"])
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
        """Return rows for a closer look at the headline scenario: confusion, sites, samples, calibration."""
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
            result, correlation = scores(table), centred_correlation(Sums.of(table))
            for i, label in enumerate(labels):
                n = hard_confusion(table[i]).sum()
                if n:
                    add(f"{kind}:{label}", "f1_micro", result["f1_micro"][i], n)
                    if np.isfinite(correlation[i]):
                        add(f"{kind}:{label}", "correlation", correlation[i], n)
                    if kind == "sample":
                        add(f"{kind}:{label}", "f1_macro", result["f1_macro"][i], n)
        return rows
