"""Drift: figures of a batch of samples, and their tests against what held-out samples of the panel show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from snpimpute.genotypes.matrix import MISSING

FEWEST_SAMPLES = 10  # of a batch; with fewer, a rank test cannot reach a corrected p-value below 1%
FREQUENCY, MISSING_RATE, CALL_RATE = "frequency_shift", "missing_rate", "call_rate"
HETEROZYGOSITY, DISTANCE = "heterozygosity", "pc_distance"
ENTROPY, SCORE, ACCURACY = "entropy", "max_posterior", "accuracy"
LOWER, HIGHER, EITHER = "lower", "higher", "either way"


@dataclass(frozen=True)
class Figure:
    """Figure of a batch.

    Attributes:
        name: its name in tables, settings and metrics.
        title: what it is, for the user.
        test: how it is tested.
        worse: the direction that is tested.
        tolerance: default of the difference that is no breach, however sure it is.
    """

    name: str
    title: str
    test: str
    worse: str
    tolerance: float


FIGURES = (
    Figure(FREQUENCY, "allele frequencies' distance from the panel's, beyond sampling", "weighted chi²", HIGHER, 0.02),
    Figure(MISSING_RATE, "missing calls at the sites that targets have", "Wilcoxon", HIGHER, 0.05),
    Figure(CALL_RATE, "calls at the file's own sites", "Wilcoxon", LOWER, 0.05),
    Figure(HETEROZYGOSITY, "heterozygous calls, of those that the panel lets expect", "Mann-Whitney", EITHER, 0.02),
    Figure(DISTANCE, "distance from the panel's middle in its principal components", "Kolmogorov-Smirnov", EITHER, 0.1),
    Figure(ENTROPY, "entropy of the posteriors, nats", "Mann-Whitney", HIGHER, 0.01),
    Figure(SCORE, "largest posterior probability", "Kolmogorov-Smirnov", LOWER, 0.005),
    Figure(ACCURACY, "right among the typed calls hidden on purpose", "Mann-Whitney", LOWER, 0.005),
)
OF_REFERENCE = (HETEROZYGOSITY, DISTANCE, ENTROPY, SCORE, ACCURACY)  # figures that held-out samples of the panel show


@dataclass(frozen=True, eq=False)
class Population:
    """What a panel shows at the sites by which batches are judged, in float64.

    Attributes:
        n_samples: number of samples of the panel.
        mean, variance: (n_sites,), of the number of alternate alleles.
        heterozygosity: (n_sites,), share of heterozygous calls.
        ld: (n_sites,), sum of the r² with all judged sites, without what the number of samples adds to it.
        loadings: (n_sites, n_components), of standardised calls on the principal components.
        spread: (n_components,), standard deviation of the panel's samples on each component.
    """

    n_samples: int
    mean: np.ndarray
    variance: np.ndarray
    heterozygosity: np.ndarray
    ld: np.ndarray
    loadings: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, calls: np.ndarray, learned: np.ndarray, n_components: int) -> Population:
        """Return what a panel shows.

        Args:
            calls: int8 (n_samples, n_sites), -1 = missing; every site varies.
            learned: bool (n_samples,), the samples that the components are learned from.
            n_components: number of components, if so many samples allow it.
        """
        seen = calls != MISSING
        n_seen = seen.sum(axis=0)
        mean = np.where(seen, calls, 0).sum(axis=0) / n_seen
        variance = np.where(seen, (calls - mean) ** 2, 0).sum(axis=0) / (n_seen - 1)
        standardised = np.where(seen, (calls - mean) / np.sqrt(variance), 0)
        n, m = calls.shape
        squares = ((standardised @ standardised.T @ standardised) * standardised).sum(axis=0) / (n - 1) ** 2
        part = standardised[learned]
        values, vectors = np.linalg.eigh(part @ part.T)
        largest = np.argsort(values)[::-1][: min(n_components, max(1, len(part) // 5))]
        spread = np.sqrt(np.maximum(values[largest], 1e-9))
        loadings = part.T @ vectors[:, largest] / spread
        return cls(
            n, mean, variance, (calls == 1).sum(axis=0) / n_seen, squares - (m - squares) / (n - 2), loadings,
            spread / np.sqrt(len(part)),
        )  # fmt: skip


def heterozygosity_of(population: Population, calls: np.ndarray) -> np.ndarray:
    """Return float64 (n_samples,): heterozygous calls over those that the panel lets expect at each sample's called sites."""
    seen = calls != MISSING
    expected = seen @ population.heterozygosity
    return np.divide((calls == 1).sum(axis=1), expected, out=np.full(len(calls), np.nan), where=expected > 0)


def distance_of(population: Population, calls: np.ndarray) -> np.ndarray:
    """Return float64 (n_samples,): root mean square over the components of each sample's place, in standard deviations.

    Missing calls are put at the mean, and what is seen stands for all sites.
    """
    seen = calls != MISSING
    standardised = np.where(seen, (calls - population.mean) / np.sqrt(population.variance), 0)
    share = seen.mean(axis=1, keepdims=True)
    place = standardised @ population.loadings / population.spread
    scaled = np.divide(place, share, out=np.full_like(place, np.nan), where=share > 0)
    return np.sqrt((scaled**2).mean(axis=1))


def frequency_shift(population: Population, calls: np.ndarray) -> tuple[float, float]:
    """Return how far a batch's allele frequencies are from the panel's, and the p-value.

    The distance is the root of the mean square over sites, less what sampling gives. Sites in linkage disequilibrium are not
    independent: the sum of squared standard scores is referred to a chi² scaled so that it has the mean and variance that the
    correlations of the sites give (Satterthwaite 1946).

    Args:
        population: see Population.
        calls: int8 (n_samples, n_sites) of the batch at its sites; sites without calls are left out.
    """
    from scipy.stats import chi2

    seen = calls != MISSING
    n = seen.sum(axis=0)
    usable = n > 0
    m = int(usable.sum())
    if not m:
        return np.nan, np.nan
    mean = np.where(seen, calls, 0).sum(axis=0)[usable] / n[usable]
    square = (mean - population.mean[usable]) ** 2
    noise = population.variance[usable] * (1 / n[usable] + 1 / population.n_samples)
    among_usable = (m - 1) / max(
        len(usable) - 1, 1
    )  # the part of a site's correlations that is with sites of the batch
    squares = max(m + float((population.ld[usable] - 1).sum()) * among_usable, m)
    scale, freedom = squares / m, m**2 / squares
    value = np.sqrt(max(float((square - noise).mean()), 0)) / 2
    return value, float(chi2.sf((square / noise).sum() / scale, freedom))


def sample_figures(
    population: Population, judged: np.ndarray, presented: np.ndarray, truth: np.ndarray, posterior: np.ndarray
) -> pd.DataFrame:
    """Return a row per sample with the figures of OF_REFERENCE; NaN where a sample has no such call.

    Args:
        population: see Population.
        judged: int8 (n_samples, n_judged), the calls at the judged sites, -1 = missing.
        presented: int8 (n_samples, n_sites), the calls that were imputed from, -1 = missing.
        truth: int8, the same before some were hidden, -1 = missing.
        posterior: float32 (n_samples, n_sites, 3).
    """
    missing = presented == MISSING
    hidden = missing & (truth != MISSING)
    probability = posterior.astype(np.float64).clip(1e-12)
    entropy = -(probability * np.log(probability)).sum(axis=2)
    return pd.DataFrame(
        {
            HETEROZYGOSITY: heterozygosity_of(population, judged),
            DISTANCE: distance_of(population, judged),
            ENTROPY: _mean_where(entropy, missing),
            SCORE: _mean_where(posterior.max(axis=2), missing),
            ACCURACY: _mean_where(posterior.argmax(axis=2) == truth, hidden),
        }
    )


def _mean_where(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    n = where.sum(axis=1)
    total = np.where(where, values, 0).sum(axis=1, dtype=np.float64)
    return np.divide(total, n, out=np.full(len(values), np.nan), where=n > 0)


# ---------------------------------------------------------------------- the tests


def judge(
    samples: pd.DataFrame,
    shift: tuple[float, float],
    reference: pd.DataFrame,
    missing: float,
    alpha: float,
    tolerance: dict[str, float],
) -> pd.DataFrame:
    """Test the figures of a batch; p-values are corrected by Holm's method, which holds however figures depend on each other.

    Args:
        samples: a row per sample of the batch, a column per figure but the frequencies.
        shift: what `frequency_shift` returned.
        reference: a row per held-out sample of the panel, with the columns OF_REFERENCE.
        missing: share of missing calls that is expected at the sites that targets have.
        alpha: probability of a false alarm in a batch without drift, all figures together.
        tolerance: figure → difference that is no breach.

    Returns:
        A row per figure: figure, value, expected, difference, p, p_corrected (NaN: not tested, for want of calls), breach (bool).
    """
    rows = []
    for figure in FIGURES:
        within = tolerance[figure.name]
        if figure.name == FREQUENCY:
            (value, p), expected = shift, 0.0
        elif figure.name in OF_REFERENCE:
            own, theirs = (table[figure.name].dropna().to_numpy(float) for table in (samples, reference))
            value, expected = (float(each.mean()) if len(each) else np.nan for each in (own, theirs))
            p = _TESTS[figure.test](own, theirs, figure.worse) if len(own) and len(theirs) else np.nan
        else:
            expected = missing if figure.name == MISSING_RATE else 1 - missing
            own = samples[figure.name].dropna().to_numpy(float)
            value = float(own.mean())
            beyond = own - (expected + within) if figure.worse == HIGHER else (expected - within) - own
            p = _signed_ranks(beyond)
        rows.append((figure.name, value, expected, value - expected, p))
    table = pd.DataFrame(rows, columns=["figure", "value", "expected", "difference", "p"])
    table["p_corrected"] = holm(table["p"].to_numpy())
    worse = table["difference"] * [{HIGHER: 1, LOWER: -1}.get(figure.worse, 0) for figure in FIGURES]
    either = np.array([figure.worse == EITHER for figure in FIGURES])
    apart = np.where(either, table["difference"].abs(), worse) >= [tolerance[figure.name] for figure in FIGURES]
    table["breach"] = (table["p_corrected"] < alpha) & apart
    return table


def holm(p: np.ndarray) -> np.ndarray:
    """Return p-values corrected for their number by Holm's method (1979); NaN stays, and does not count."""
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known])]
    out = np.full(len(p), np.nan)
    out[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return out


def _signed_ranks(beyond: np.ndarray) -> float:
    from scipy.stats import wilcoxon

    return float(wilcoxon(beyond, alternative="greater").pvalue) if (beyond > 0).any() else 1.0


def _ranks(own: np.ndarray, theirs: np.ndarray, worse: str) -> float:
    from scipy.stats import mannwhitneyu

    way = {HIGHER: "greater", LOWER: "less"}.get(worse, "two-sided")
    return float(mannwhitneyu(own, theirs, alternative=way).pvalue)


def _distributions(own: np.ndarray, theirs: np.ndarray, worse: str) -> float:
    from scipy.stats import ks_2samp

    way = {HIGHER: "less", LOWER: "greater"}.get(worse, "two-sided")  # of the distribution function, not of the values
    return float(ks_2samp(own, theirs, alternative=way).pvalue)


_TESTS: dict[str, Callable[[Any, Any, str], float]] = {"Mann-Whitney": _ranks, "Kolmogorov-Smirnov": _distributions}
