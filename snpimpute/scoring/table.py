"""Score fitted imputers on test scenarios: posteriors at the hidden calls, and one tidy table of scores."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from snpimpute.base.programs import written_beside
from snpimpute.dataset.prepared import PreparedDataset
from snpimpute.dataset.scenarios import Scenario, at_hidden, unit_labels
from snpimpute.genotypes.relationship import RELATION_BINS, rank_correlations
from snpimpute.imputers.contract import Imputer
from snpimpute.metrics.offsets import offsets_at, reweighted
from snpimpute.metrics.scores import (
    N_CALIBRATION_BINS,
    N_SUMS,
    RARE_MAF,
    calibration_bins,
    hard_confusion,
    interval,
    maf_subsets,
    minor_coding,
    resample,
    resampling_weights,
    scores,
    site_sums,
)

KEY = [
    "imputer",
    "variant",
    "dataset",
    "split",
    "mechanism",
    "level",
    "repeat",
    "seed",
    "subset",
    "decision",
    "metric",
    "versus",
]
COLUMNS = [*KEY, "value", "low", "high", "n"]
POOLED = "all"  # the repeat of rows that pool all masks of a level
COMPARED = ("f1_macro", "f1_micro", "f1_1", "dosage_r2")  # metrics that get differences to the best imputer
# subset → metrics in which the variants of an imputer are compared, and at the headline (of single calls: everywhere) every pair
PAIRED = {"all": ("f1_macro", "f1_micro"), "rare": ("f1_macro",), "rare_minor": ("f1_macro", "f1_1", "dosage_r2")}
NEEDS_POSTERIOR = ("log_loss", "ece")  # metrics that mean nothing for smoothed hard calls
BY_OFFSETS = ("f1_macro", "f1_micro", "f1_0", "f1_1", "f1_2", "wrong")  # metrics that offsets change
ARGMAX = "argmax"  # what a hard call with offsets is compared with: that of the largest posterior
WITH_INTERVALS = ("all", "rare", "rare_minor", "true:all")  # at every level; the other subsets only at the headline's
MAX_SITE_BLOCKS = 10
MAX_CONTIG_BLOCKS = 50
CALLS_AT_A_TIME = 100_000  # 216 bytes each as sums, twice that to add them up


# scores of a subset, the same resampled, number of calls
_Compared = tuple[dict[str, np.ndarray], dict[str, np.ndarray], int]


@dataclass(frozen=True, eq=False)
class Posteriors:
    """What an imputer gave at the hidden calls of each test scenario.

    Attributes:
        imputer, variant, seed: whose.
        values: scenario key → float16 (n_test, n_hidden_sites, 3), or (n_hidden_calls, 3): see `at_hidden`.
        smoothed: keys of scenarios where these are smoothed hard calls.
        seconds: scenario key → seconds to impute.
    """

    imputer: str
    variant: str
    seed: int
    values: Mapping[str, np.ndarray]
    smoothed: frozenset[str]
    seconds: Mapping[str, float]

    @property
    def label(self) -> str:
        return f"{self.imputer}/{self.variant}"


def impute_scenarios(
    imputer: Imputer,
    variant: str,
    dataset: PreparedDataset,
    progress: Callable[[int, int], None] | None = None,
) -> Posteriors:
    """Let an imputer fill every test scenario of a dataset.

    Args:
        imputer: fitted on the dataset's train samples.
        variant: its setting's name.
        dataset: the prepared dataset.
        progress: called as progress(scenarios done, scenarios in all).
    """
    scenarios = dataset.test_scenarios()
    values, smoothed, seconds = {}, set(), {}
    for done, scenario in enumerate(scenarios, start=1):
        hidden = scenario.hidden
        target = dataset.test.hide(hidden)
        started = time.monotonic()
        posterior = imputer.posterior(target)
        seconds[scenario.key] = time.monotonic() - started
        values[scenario.key] = at_hidden(posterior, hidden).astype(np.float16)
        if not imputer.gives_posterior(target.take_sites(hidden if hidden.ndim == 1 else hidden.any(axis=0))):
            smoothed.add(scenario.key)
        if progress is not None:
            progress(done, len(scenarios))
    return Posteriors(imputer.name, variant, imputer.seed, values, frozenset(smoothed), seconds)


def save_posteriors(posteriors: Posteriors, path: Path) -> None:
    """Write posteriors as a compressed .npz (written beside and renamed)."""
    about = {
        "imputer": posteriors.imputer,
        "variant": posteriors.variant,
        "seed": posteriors.seed,
        "smoothed": sorted(posteriors.smoothed),
        "seconds": dict(posteriors.seconds),
    }
    with written_beside(path) as beside, beside.open("wb") as handle:
        arrays: dict[str, Any] = {"about": np.array(json.dumps(about)), **posteriors.values}
        np.savez_compressed(handle, **arrays)


def load_posteriors(path: Path, only: Collection[str] | None = None) -> Posteriors:
    """Read what `save_posteriors` wrote, or of it `only` the scenarios with these keys."""
    with np.load(path, allow_pickle=False) as archive:
        about = json.loads(str(archive["about"]))
        wanted = (key for key in archive.files if key != "about" and (only is None or key in only))
        values = {key: archive[key] for key in wanted}
    return Posteriors(
        about["imputer"], about["variant"], about["seed"], values, frozenset(about["smoothed"]), about["seconds"]
    )


# ---------------------------------------------------------------------- the tidy table


def score_table(
    dataset: PreparedDataset,
    results: list[Posteriors],
    n_resamples: int = 1000,
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
    offsets: Mapping[str, Mapping[float, np.ndarray]] | None = None,
) -> pd.DataFrame:
    """Every score of every imputer, with 95% bootstrap intervals and paired differences to the best.

    Samples (families where the sample table names them) are resampled together with masks, or with blocks of
    neighbouring sites, or of whole contigs, where a level has one mask only; the resamples are the same for all
    imputers, so that differences are paired. Differences are taken to the best (the highest value of the metric in that
    scenario and subset), in the subsets and metrics of PAIRED also to the first-listed variant of the same imputer, and
    there at the headline scenario, and wherever single calls are hidden, between every two (the later listed minus the
    earlier).

    All this is of the decision `argmax`, the genotype of the largest posterior. Results with offsets also get rows of the
    decision `offsets` (see decisions.py), with the offsets of the nearest validation level: the metrics in BY_OFFSETS in
    the subsets all, rare and rare_minor, differences to the best and to the first-listed variant of that decision, and the
    difference to the same imputer's hard calls without offsets, whose `versus` is `argmax`.

    The metric `seconds` is the time to impute a mask: its mean over the masks, n of them, and their range.

    Args:
        dataset: the prepared dataset.
        results: what `impute_scenarios` gave, one per imputer and variant.
        n_resamples: number of bootstrap samples.
        seed: of the resampling.
        progress: called as progress(levels done, levels in all).
        offsets: label of a result → percent missing → float64 (3,), as `decisions.chosen_offsets` gives them.

    Returns:
        One row per key (KEY) with the columns value, low, high (NaN where no interval is made) and n (calls).
    """
    by_level: dict[tuple[str, float], list[Scenario]] = {}
    for scenario in dataset.test_scenarios():
        by_level.setdefault((scenario.mechanism, scenario.level), []).append(scenario)
    headline = dataset.headline_scenario
    units = unit_labels(dataset.test.samples, "family")
    rows: list[tuple] = []
    for done, ((mechanism, level), scenarios) in enumerate(by_level.items(), start=1):
        at_headline = (mechanism, level) == (headline.mechanism, headline.level)
        n_cells = len(scenarios) if len(scenarios) > 1 else _n_blocks(dataset, scenarios[0])
        weights = resampling_weights(units, n_cells, n_resamples, seed)
        compared: dict[str, dict[str, _Compared]] = {}
        decided: dict[str, dict[str, _Compared]] = {}
        for posteriors in results:
            row = (posteriors.imputer, posteriors.variant, dataset.name, "test", mechanism, level)
            sums = _LevelSums(dataset, posteriors, scenarios, n_cells)
            smoothed = any(s.key in posteriors.smoothed for s in scenarios)
            for subset, (by_sample, selected) in sums.subsets().items():
                total = by_sample.sum(axis=(0, 1))
                point = scores(total)
                n = int(hard_confusion(total).sum())
                with_interval = at_headline or subset in WITH_INTERVALS
                drawn = scores(resample(by_sample, (weights[0][:, selected], weights[1]))) if with_interval else {}
                end = (POOLED, posteriors.seed, subset, "argmax")
                for metric, value in point.items():
                    if smoothed and metric in NEEDS_POSTERIOR:
                        continue
                    counted = metric == "wrong" or metric.startswith("truth_")
                    low, high = interval(drawn[metric]) if drawn and not counted else (np.nan, np.nan)
                    rows.append((*row, *end, metric, "", float(value), low, high, n))
                if drawn:
                    compared.setdefault(subset, {})[posteriors.label] = (point, drawn, n)
            if by_level_offsets := (offsets or {}).get(posteriors.label):
                shifted = _LevelSums(dataset, posteriors, scenarios, n_cells, offsets_at(by_level_offsets, level))
                for subset, found in _with_offsets(shifted, weights).items():
                    decided.setdefault(subset, {})[posteriors.label] = found
                    own = compared[subset][posteriors.label]
                    rows += [(*row, POOLED, *rest) for rest in _offset_rows(posteriors.seed, subset, found, own)]
            rows += [(*row, *rest) for rest in sums.single_masks(posteriors.seed)]
            seconds = [posteriors.seconds[scenario.key] for scenario in scenarios]
            spread = (float(np.mean(seconds)), min(seconds), max(seconds))
            rows.append((*row, POOLED, posteriors.seed, "all", "argmax", "seconds", "", *spread, len(seconds)))
            if at_headline:
                rows += [(*row, *rest) for rest in sums.details(posteriors.seed, smoothed)]
                rows += [(*row, *rest) for rest in sums.relations(posteriors.seed, weights)]
        where = (dataset.name, "test", mechanism, level)
        rows += _differences(compared, results, where, ARGMAX, every_pair=at_headline or scenarios[0].by_call)
        rows += _differences(decided, results, where, "offsets", every_pair=False)
        if progress is not None:
            progress(done, len(by_level))
    return pd.DataFrame(rows, columns=COLUMNS)


def _n_blocks(dataset: PreparedDataset, scenario: Scenario) -> int:
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


class _LevelSums:
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
                for metric in ("f1_macro", "f1_micro", "f1_0", "f1_1", "f1_2"):
                    value = float(scores(total)[metric])
                    end = (subset, "argmax", metric, "", value, np.nan, np.nan, n)
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
            (POOLED, seed, f"sample:{name}", "argmax", "relationship", "", value, np.nan, np.nan, 1)
            for name, value in zip(names, closest, strict=True)
        ]
        drawn = weights[0][:, scored].astype(int)
        point = rank_correlations(closest, (right.sum(axis=1) / calls.sum(axis=1))[None], np.ones_like(drawn[:1]))
        with np.errstate(invalid="ignore"):
            resampled = rank_correlations(closest, (weights[1] @ right.T) / (weights[1] @ calls.T), drawn)
        key = (POOLED, seed, "all", "argmax", "relationship_rho", "")
        return [*rows, (*key, float(point[0]), *interval(resampled), len(scored))]

    def details(self, seed: int, smoothed: bool) -> list[tuple]:
        """Rows for a closer look at the headline scenario: confusion, sites, samples, calibration."""
        pooled = self.by_sample.sum(axis=0)
        rows: list[tuple] = []

        def add(subset: str, metric: str, value: float, n: float) -> None:
            rows.append((POOLED, seed, subset, "argmax", metric, "", value, np.nan, np.nan, int(n)))

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


def _with_offsets(sums: _LevelSums, weights: tuple[np.ndarray, np.ndarray]) -> dict[str, _Compared]:
    """Subset → the scores in BY_OFFSETS, resampled too, and the number of calls."""
    found = {}
    for subset, (by_sample, _) in sums.subsets().items():
        if subset in PAIRED:
            total = by_sample.sum(axis=(0, 1))
            both = (scores(total), scores(resample(by_sample, weights)))
            point, drawn = ({metric: values[metric] for metric in BY_OFFSETS} for values in both)
            found[subset] = (point, drawn, int(hard_confusion(total).sum()))
    return found


def _offset_rows(seed: int, subset: str, found: _Compared, argmax: _Compared) -> Iterator[tuple]:
    """Rows of the scores by offsets, and of their differences to those of the same imputer's calls without."""
    point, drawn, n = found
    for metric, value in point.items():
        counted = metric == "wrong"
        spread = (np.nan, np.nan) if counted else interval(drawn[metric])
        yield (seed, subset, "offsets", metric, "", float(value), *spread, n)
        if not counted:
            spread = interval(drawn[metric] - argmax[1][metric])
            yield (seed, subset, "offsets", metric, ARGMAX, float(value - argmax[0][metric]), *spread, n)


def _differences(
    compared: dict[str, dict[str, _Compared]],
    results: list[Posteriors],
    where: tuple,
    decision: str,
    every_pair: bool,
) -> list[tuple]:
    """Rows of the paired differences: to the best for the metrics in COMPARED, and between those `_pairs` names."""
    by_label = {result.label: result for result in results}
    rows = []
    for subset, found in compared.items():
        for metric in COMPARED:
            values = {label: float(point[metric]) for label, (point, _, _) in found.items() if metric in point}
            known = [label for label in values if np.isfinite(values[label])]
            if len(known) < 2:
                continue
            best = max(known, key=lambda label: values[label])
            pairs = dict.fromkeys((label, best) for label in known if label != best)
            if metric in PAIRED.get(subset, ()):
                pairs |= dict.fromkeys(_pairs([by_label[label] for label in known], every_pair))
            for label, versus in pairs:
                result, (_, drawn, n) = by_label[label], found[label]
                low, high = interval(drawn[metric] - found[versus][1][metric])
                key = (result.imputer, result.variant, *where, POOLED, result.seed, subset, decision, metric, versus)
                rows.append((*key, values[label] - values[versus], low, high, n))
    return rows


def _pairs(results: list[Posteriors], every_pair: bool) -> list[tuple[str, str]]:
    """Labels to compare: each with its imputer's first-listed variant, or with all that are listed before it."""
    pairs = []
    for i, result in enumerate(results):
        before = results[:i] if every_pair else [r for r in results[:i] if r.imputer == result.imputer][:1]
        pairs += [(result.label, other.label) for other in before]
    return pairs
