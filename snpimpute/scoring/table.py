"""Table of scores: every score of every imputer, with intervals and paired differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pandas as pd

from snpimpute.dataset.prepared import PreparedDataset
from snpimpute.dataset.scenarios import Scenario
from snpimpute.dataset.splits import unit_labels
from snpimpute.metrics.intervals import interval, resample, resampling_weights
from snpimpute.metrics.offsets import offsets_at
from snpimpute.metrics.registry import METRICS
from snpimpute.metrics.scores import scores
from snpimpute.metrics.sums import hard_confusion
from snpimpute.scoring.posteriors import Posteriors
from snpimpute.scoring.sums import ARGMAX, POOLED, LevelSums, n_blocks

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
COMPARED = tuple(key for key, metric in METRICS.items() if metric.compared)  # metrics with differences to the best
# Subset → metrics in which the variants of an imputer are compared, and, at the headline or wherever single calls are
# hidden, every pair of imputers.
PAIRED = {
    "all": ("f1_macro", "f1_micro", "site_dosage_r2"),
    "rare": ("f1_macro",),
    "rare_minor": ("f1_macro", "f1_1", "site_dosage_r2", "centred_dosage_r2"),
}
BY_OFFSETS = (*(key for key, metric in METRICS.items() if metric.of_calls), "wrong")  # metrics that offsets change
WITH_INTERVALS = ("all", "rare", "rare_minor", "true:all")  # at every level; other subsets only at the headline

# Scores of a subset, the same scores resampled, number of calls.
_Compared = tuple[dict[str, np.ndarray], dict[str, np.ndarray], int]


def score_table(
    dataset: PreparedDataset,
    results: list[Posteriors],
    n_resamples: int = 1000,
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
    offsets: Mapping[str, Mapping[float, np.ndarray]] | None = None,
) -> pd.DataFrame:
    """Return every score of every imputer, with 95% bootstrap intervals and paired differences to the best.

    Samples (families if the sample table names them) are resampled together with masks, or, at a level with one mask
    only, with blocks of neighbouring sites or of whole contigs. The resamples are the same for all imputers, so that
    differences are paired. Differences are taken to the best (the highest value of the metric in that scenario and
    subset); in the subsets and metrics of PAIRED also to the first-listed variant of the same imputer, and at the
    headline scenario, and wherever single calls are hidden, between every two (the later listed minus the earlier).

    These rows have the decision `argmax`, the genotype of the largest posterior. Results with offsets also get rows of
    the decision `offsets` (see metrics.offsets), with the offsets of the nearest validation level: the metrics in
    BY_OFFSETS in the subsets all, rare and rare_minor, differences to the best and to the first-listed variant of that
    decision, and the difference to the same imputer's hard calls without offsets, whose `versus` is `argmax`.

    At the headline scenario each of several contigs is a subset too, `contig:NAME` (see `scoring.sums.contigs_of`).

    The metric `seconds` is the time to impute a mask: the mean over the n masks, and their range.

    Args:
        dataset: the prepared dataset.
        results: posteriors from `impute_scenarios`, one per imputer and variant.
        n_resamples: number of bootstrap samples.
        seed: seed of the resampling.
        progress: called as progress(levels done, levels in all).
        offsets: label of a result → percent missing → float64 (3,), as `metrics.offsets.chosen_offsets` gives them.

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
        n_cells = len(scenarios) if len(scenarios) > 1 else n_blocks(dataset, scenarios[0])
        weights = resampling_weights(units, n_cells, n_resamples, seed)
        compared: dict[str, dict[str, _Compared]] = {}
        compared_by_offsets: dict[str, dict[str, _Compared]] = {}
        for posteriors in results:
            row = (posteriors.imputer, posteriors.variant, dataset.name, "test", mechanism, level)
            sums = LevelSums(dataset, posteriors, scenarios, n_cells, by_contig=at_headline)
            smoothed = any(s.key in posteriors.smoothed for s in scenarios)
            for subset, (by_sample, selected) in sums.subsets().items():
                total = by_sample.sum(axis=(0, 1))
                point = scores(total)
                n = int(hard_confusion(total).sum())
                with_interval = at_headline or subset in WITH_INTERVALS
                drawn = scores(resample(by_sample, (weights[0][:, selected], weights[1]))) if with_interval else {}
                end = (POOLED, posteriors.seed, subset, ARGMAX)
                for metric, value in point.items():
                    if smoothed and metric in METRICS and METRICS[metric].needs_posterior:
                        continue
                    counted = metric == "wrong" or metric.startswith(("truth_", "sites_"))
                    low, high = interval(drawn[metric]) if drawn and not counted else (np.nan, np.nan)
                    rows.append((*row, *end, metric, "", float(value), low, high, n))
                if drawn:
                    compared.setdefault(subset, {})[posteriors.label] = (point, drawn, n)
            if by_level_offsets := (offsets or {}).get(posteriors.label):
                shifted = LevelSums(dataset, posteriors, scenarios, n_cells, offsets_at(by_level_offsets, level))
                for subset, by_offsets in _scores_by_offsets(shifted, weights).items():
                    compared_by_offsets.setdefault(subset, {})[posteriors.label] = by_offsets
                    argmax = compared[subset][posteriors.label]
                    rows += [
                        (*row, POOLED, *rest) for rest in _offset_rows(posteriors.seed, subset, by_offsets, argmax)
                    ]
            rows += [(*row, *rest) for rest in sums.single_masks(posteriors.seed)]
            seconds = [posteriors.seconds[scenario.key] for scenario in scenarios]
            spread = (float(np.mean(seconds)), min(seconds), max(seconds))
            rows.append((*row, POOLED, posteriors.seed, "all", ARGMAX, "seconds", "", *spread, len(seconds)))
            if at_headline:
                rows += [(*row, *rest) for rest in sums.details(posteriors.seed, smoothed)]
                rows += [(*row, *rest) for rest in sums.relations(posteriors.seed, weights)]
        where = (dataset.name, "test", mechanism, level)
        rows += _differences(compared, results, where, ARGMAX, every_pair=at_headline or scenarios[0].by_call)
        rows += _differences(compared_by_offsets, results, where, "offsets", every_pair=False)
        if progress is not None:
            progress(done, len(by_level))
    return pd.DataFrame(rows, columns=COLUMNS)


def _scores_by_offsets(sums: LevelSums, weights: tuple[np.ndarray, np.ndarray]) -> dict[str, _Compared]:
    """Map each subset to its scores in BY_OFFSETS, these resampled, and the number of calls."""
    by_subset = {}
    for subset, (by_sample, _) in sums.subsets().items():
        if subset in PAIRED:
            total = by_sample.sum(axis=(0, 1))
            both = (scores(total), scores(resample(by_sample, weights)))
            point, drawn = ({metric: values[metric] for metric in BY_OFFSETS} for values in both)
            by_subset[subset] = (point, drawn, int(hard_confusion(total).sum()))
    return by_subset


def _offset_rows(seed: int, subset: str, by_offsets: _Compared, argmax: _Compared) -> Iterator[tuple]:
    """Yield rows of the scores by offsets, and of their differences to the same imputer's calls without offsets."""
    point, drawn, n = by_offsets
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
    """Return rows of the paired differences: to the best for the metrics in COMPARED, and between those of `_pairs`."""
    by_label = {result.label: result for result in results}
    rows = []
    for subset, by_imputer in compared.items():
        for metric in COMPARED:
            values = {label: float(point[metric]) for label, (point, _, _) in by_imputer.items() if metric in point}
            known = [label for label in values if np.isfinite(values[label])]
            if len(known) < 2:
                continue
            best = max(known, key=lambda label: values[label])
            pairs = dict.fromkeys((label, best) for label in known if label != best)
            if metric in PAIRED.get(subset, ()):
                pairs |= dict.fromkeys(_pairs([by_label[label] for label in known], every_pair))
            for label, versus in pairs:
                result, (_, drawn, n) = by_label[label], by_imputer[label]
                low, high = interval(drawn[metric] - by_imputer[versus][1][metric])
                key = (result.imputer, result.variant, *where, POOLED, result.seed, subset, decision, metric, versus)
                rows.append((*key, values[label] - values[versus], low, high, n))
    return rows


def _pairs(results: list[Posteriors], every_pair: bool) -> list[tuple[str, str]]:
    """Return labels to compare: each with its imputer's first-listed variant, or with all that are listed before it."""
    pairs = []
    for i, result in enumerate(results):
        before = results[:i] if every_pair else [r for r in results[:i] if r.imputer == result.imputer][:1]
        pairs += [(result.label, other.label) for other in before]
    return pairs
