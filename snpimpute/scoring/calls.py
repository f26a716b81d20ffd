"""An imputer's hidden calls compared with the truth: by site, by sample, one by one, and against another imputer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.dataset.prepared import PreparedDataset
from snpimpute.dataset.scenarios import Scenario, at_hidden
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.metrics.registry import f1_per_genotype
from snpimpute.metrics.sums import N_CALIBRATION_BINS, N_SUMS, calibration_bins, confusion, site_sums
from snpimpute.scoring.posteriors import Posteriors


@dataclass(frozen=True, eq=False)
class HiddenCalls:
    """An imputer's posterior at the hidden calls of one mask, with the truth.

    Attributes:
        scenario: the mask.
        truth: int8 (n_test, n_hidden), at the sites where the mask hides any call; -1 = missing or not hidden, not
            scored.
        posterior: float64 (n_test, n_hidden, 3); rows sum to 1.
        smoothed: whether the posterior was made from hard calls, so that it holds no confidence.
    """

    scenario: Scenario
    truth: np.ndarray
    posterior: np.ndarray
    smoothed: bool

    @property
    def calls(self) -> np.ndarray:
        """The most probable genotypes, int8 (n_test, n_hidden)."""
        return self.posterior.argmax(axis=2).astype(np.int8)

    @property
    def scored(self) -> np.ndarray:
        """The calls whose truth is known, bool (n_test, n_hidden)."""
        return self.truth != MISSING

    @property
    def right(self) -> np.ndarray:
        """The scored calls that equal the truth, bool (n_test, n_hidden)."""
        return self.scored & (self.calls == self.truth)


def hidden_calls(dataset: PreparedDataset, posteriors: Posteriors) -> list[HiddenCalls]:
    """Return the hidden calls of each mask that the posteriors hold, in the dataset's order.

    Raises:
        InputError: the posteriors were made on another preparation of the data.
    """
    masks = []
    for scenario in dataset.test_scenarios():
        if scenario.key not in posteriors.values:
            continue
        posterior = posteriors.values[scenario.key].astype(np.float64)
        hidden = scenario.hidden
        expected = (*at_hidden(dataset.test.calls, hidden).shape, 3)
        if posterior.shape != expected:
            raise InputError(
                f"the posteriors of {posteriors.label} were made on another preparation of {dataset.name}: "
                f"{scenario.key} has shape {posterior.shape}, not {expected}"
            )
        posterior /= posterior.sum(axis=-1, keepdims=True)
        truth = dataset.test.calls[:, scenario.sites]
        if scenario.by_call:
            whole = np.full((*hidden.shape, 3), 1 / 3)
            whole[hidden] = posterior
            posterior = whole[:, scenario.sites]
            truth = np.where(hidden[:, scenario.sites], truth, np.int8(MISSING))
        masks.append(HiddenCalls(scenario, truth, posterior, scenario.key in posteriors.smoothed))
    return masks


def by_site(dataset: PreparedDataset, masks: Sequence[HiddenCalls]) -> pd.DataFrame:
    """Return the share of right calls of each site, with properties that make a site hard.

    Args:
        dataset: the prepared dataset.
        masks: hidden calls of one imputer; counts are summed over them.

    Returns:
        A row per site, in file order: `site` (contig:pos:ref:alt), `contig`, `pos` (1-based), `maf_test`, `maf_panel`;
        `masks` (number that hide it), `n` (calls scored), `right` (share of them; NaN without any); and, if exactly one
        mask is given and hides it, `nearest` (the nearest observed site), `distance` (base pairs), `r2` (squared
        correlation of both sites' genotypes in the panel); empty or NaN elsewhere, as in `nearest_observed`.
    """
    hidden_by, n, right = _counts_by_site(dataset, masks)
    table = dataset.test.sites[["contig", "pos"]].copy()
    table.insert(0, "site", dataset.test.site_keys())
    table["maf_test"], table["maf_panel"] = dataset.test.maf(), dataset.train.maf()
    table["masks"], table["n"] = hidden_by, n
    table["right"] = _share(right, n)
    if len(masks) == 1:
        near = nearest_observed(dataset.train, masks[0].scenario.sites)
        return pd.concat([table, near], axis=1)
    return table.assign(nearest="", distance=np.nan, r2=np.nan)


def nearest_observed(panel: GenotypeMatrix, hidden: np.ndarray) -> pd.DataFrame:
    """Return for each hidden site the nearest observed one on its contig, with its distance and r².

    Args:
        panel: genotypes for the correlation, over the samples in which both sites are called.
        hidden: bool (n_sites,).

    Returns:
        A row per site: `nearest` (contig:pos:ref:alt; of two equally near, the first), `distance` (base pairs), `r2`
        (squared correlation of the numbers of alternate alleles, Rogers and Huff 2009; NaN if a site does not vary).
        Empty and NaN at observed sites, and if no site of the contig is observed.
    """
    keys = panel.site_keys()
    contig, pos = panel.sites["contig"].to_numpy(), panel.sites["pos"].to_numpy()
    rows: list[tuple[str, float, float]] = []
    for site in range(panel.n_sites):
        candidates = np.flatnonzero(~hidden & (contig == contig[site])) if hidden[site] else np.array([], dtype=int)
        if not len(candidates):
            rows.append(("", np.nan, np.nan))
            continue
        nearest = candidates[np.abs(pos[candidates] - pos[site]).argmin()]
        r2 = _squared_correlation(panel.calls[:, site], panel.calls[:, nearest])
        rows.append((keys[nearest], float(abs(pos[nearest] - pos[site])), r2))
    return pd.DataFrame(rows, columns=["nearest", "distance", "r2"])


def by_sample(dataset: PreparedDataset, masks: Sequence[HiddenCalls]) -> pd.DataFrame:
    """Return the share of right calls of each test sample, the worst sample first.

    Returns:
        A row per sample with a scored call: `sample`, `group` (empty if there is none), `n` (calls scored), `wrong`,
        `right` (share), `f1_macro`, `row` (its number among the test samples, from 0).
    """
    counts = sum(np.stack([confusion(t, c) for t, c in zip(mask.truth, mask.calls, strict=True)]) for mask in masks)
    assert isinstance(counts, np.ndarray)
    n, right = counts.sum(axis=(1, 2)), np.trace(counts, axis1=1, axis2=2)
    samples = dataset.test.samples
    table = pd.DataFrame(
        {
            "sample": samples["sample"],
            "group": samples["group"].fillna("").astype(str) if "group" in samples else "",
            "n": n,
            "wrong": n - right,
            "right": _share(right, n),
            "f1_macro": f1_per_genotype(counts).mean(axis=1),
            "row": np.arange(len(samples)),
        }
    )
    return table[table["n"] > 0].sort_values(["right", "f1_macro"], kind="stable", ignore_index=True)


def confusion_of(masks: Sequence[HiddenCalls]) -> np.ndarray:
    """Count calls by true genotype (row) and called genotype (column), summed over masks, int64 (3, 3)."""
    return np.sum([confusion(mask.truth, mask.calls) for mask in masks], axis=0)


def calibration_of(masks: Sequence[HiddenCalls]) -> pd.DataFrame:
    """Return bins of confidence with `low`, `high` (bounds), `n` (calls), `confidence` (mean), `right` (share).

    The table is empty if the posteriors are smoothed hard calls.
    """
    columns = ["low", "high", "n", "confidence", "right"]
    if any(mask.smoothed for mask in masks):
        return pd.DataFrame(columns=columns)
    sums = np.zeros(N_SUMS)
    for mask in masks:
        sums += site_sums(mask.truth, mask.posterior).sum(axis=(0, 1), dtype=np.float64)
    edges = np.arange(N_CALIBRATION_BINS + 1) / N_CALIBRATION_BINS
    table = pd.DataFrame(np.column_stack([edges[:-1], edges[1:], calibration_bins(sums)]), columns=columns)
    return table[table["n"] > 0].reset_index(drop=True)


@dataclass(frozen=True, eq=False)
class Cutout:
    """Some samples at some sites; arrays are float64 (n_samples, n_sites), NaN where there is no value.

    Attributes:
        samples, sites: names and keys.
        truth: genotype 0, 1, 2; NaN where unknown.
        calls: called genotype, at hidden sites.
        confidence: posterior of the called genotype, at hidden sites.
    """

    samples: list[str]
    sites: list[str]
    truth: np.ndarray
    calls: np.ndarray
    confidence: np.ndarray


def cutout(dataset: PreparedDataset, mask: HiddenCalls, samples: Sequence[int], sites: Sequence[int]) -> Cutout:
    """Return truth, call and confidence of some test samples at some sites (numbers in the dataset)."""
    rows, columns = np.asarray(samples, dtype=int), np.asarray(sites, dtype=int)
    truth = dataset.test.calls[np.ix_(rows, columns)].astype(float)
    truth[truth == MISSING] = np.nan
    calls, confidence = np.full(truth.shape, np.nan), np.full(truth.shape, np.nan)
    hidden = mask.scenario.sites[columns]
    place = np.cumsum(mask.scenario.sites) - 1  # number of a site among the hidden ones
    chosen = mask.posterior[np.ix_(rows, place[columns[hidden]])]
    calls[:, hidden], confidence[:, hidden] = chosen.argmax(axis=2), chosen.max(axis=2)
    if mask.scenario.by_call:
        observed = ~mask.scenario.hidden[np.ix_(rows, columns)]
        calls[observed] = confidence[observed] = np.nan
    names, keys = dataset.test.names, dataset.test.site_keys()
    return Cutout([names[i] for i in rows], [keys[i] for i in columns], truth, calls, confidence)


def right_and_wrong(
    dataset: PreparedDataset, first: Sequence[HiddenCalls], second: Sequence[HiddenCalls]
) -> pd.DataFrame:
    """Count by site the calls where one imputer is right and another wrong, on the same masks.

    Args:
        dataset: the prepared dataset.
        first, second: hidden calls of the two imputers, of the same masks in the same order.

    Returns:
        A row per site with a scored call, in file order: `site`, `contig`, `pos`, `maf_test`, and counts of calls: `n`,
        `both_right`, `only_first`, `only_second`, `both_wrong`.

    Raises:
        InputError: the masks are not the same.
    """
    if [mask.scenario.key for mask in first] != [mask.scenario.key for mask in second]:
        raise InputError("the two were not scored on the same masks")
    counts = np.zeros((5, dataset.test.n_sites), dtype=int)
    for a, b in zip(first, second, strict=True):
        kinds = (a.scored, a.right & b.right, a.right & ~b.right, ~a.right & b.right, a.scored & ~a.right & ~b.right)
        for kind, chosen in enumerate(kinds):
            counts[kind, a.scenario.sites] += chosen.sum(axis=0)
    table = dataset.test.sites[["contig", "pos"]].copy()
    table.insert(0, "site", dataset.test.site_keys())
    table["maf_test"] = dataset.test.maf()
    for name, values in zip(("n", "both_right", "only_first", "only_second", "both_wrong"), counts, strict=True):
        table[name] = values
    return table[table["n"] > 0].reset_index(drop=True)


def _counts_by_site(
    dataset: PreparedDataset, masks: Sequence[HiddenCalls]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count by site the masks that hide it, its scored calls and its right calls, int (n_sites,) each."""
    hidden_by, n, right = (np.zeros(dataset.test.n_sites, dtype=int) for _ in range(3))
    for mask in masks:
        hidden_by += mask.scenario.sites
        n[mask.scenario.sites] += mask.scored.sum(axis=0)
        right[mask.scenario.sites] += mask.right.sum(axis=0)
    return hidden_by, n, right


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole, NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _squared_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return the squared correlation of the calls at two sites; NaN if one does not vary."""
    both = (first != MISSING) & (second != MISSING)
    a, b = first[both].astype(float), second[both].astype(float)
    if len(a) < 2 or a.std() == 0 or b.std() == 0:
        return np.nan
    return float(np.corrcoef(a, b)[0, 1] ** 2)
