"""What a genotype file says of traits whose causal sites are known: measures per trait, their means, and paired intervals.

A measure is a ratio of sums over traits, so that each trait has a numerator and a denominator. The interval of simulated traits
has two parts that add up: traits are resampled (bootstrap), and blocks of samples left out (jackknife) where that was done. Each
trait has noise of its own, which both see: what the jackknife sees of single traits is taken off it (as in Owen 2007). Real
traits are those that there are: theirs is from samples alone. Files share resamples and blocks, so differences are paired.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

GENOME_WIDE = 5e-8
FALSE_DISCOVERIES = 0.05
N_RESAMPLES = 1000
LEVEL = 1.959964  # standard errors to either side


PerTrait = dict[str, tuple[np.ndarray, np.ndarray]]  # measure → numerator and denominator, float64 (n_traits,) each


def association_measures(
    chi2: np.ndarray, at: np.ndarray, causal: np.ndarray, true_chi2: np.ndarray, r2: np.ndarray, n_samples: int
) -> PerTrait:
    """Return the measures of ASSOCIATION per trait.

    Args:
        chi2: float64 (n, n_traits), of the n sites that the file has.
        at: int (n,), their numbers among all sites.
        causal: int (n_traits, n_causal), numbers of causal sites.
        true_chi2: float64 (n_sites, n_traits), of true genotypes at all sites.
        r2: float64 (n_traits, n_causal, n_sites), of each causal site with all, in true genotypes.
        n_samples: number of samples.
    """
    from scipy.special import stdtr

    traits = np.arange(chi2.shape[1])
    one = np.ones(len(traits))
    everywhere = np.zeros_like(true_chi2)
    everywhere[at] = chi2
    picked = everywhere[causal, traits[:, None]].sum(axis=1)
    of_truth = true_chi2[causal, traits[:, None]].sum(axis=1)
    p = 2 * stdtr(n_samples - 2, -np.sqrt(chi2))
    ordered = np.sort(p, axis=0)
    bounds = FALSE_DISCOVERIES * np.arange(1, len(p) + 1)[:, None] / len(p)
    lead = at[chi2.argmax(axis=0)]
    return {
        "chi2": (picked, of_truth),
        "power": ((ordered[0] < GENOME_WIDE).astype(float), one),
        "power_fdr": ((ordered <= bounds).any(axis=0).astype(float), one),
        "lead": ((causal == lead[:, None]).any(axis=1).astype(float), one),
        "lead_r2": (r2[traits, :, lead].max(axis=1), one),
    }


def prediction_measures(predicted: np.ndarray, by_truth: np.ndarray, wanted: np.ndarray) -> PerTrait:
    """Return the measures of PREDICTION per trait.

    Args:
        predicted, by_truth: float64 (n_samples, n_traits), breeding values by the file and by true genotypes.
        wanted: float64 (n_samples, n_traits), true breeding values, or the trait.
    """
    u, g = predicted - predicted.mean(axis=0), wanted - wanted.mean(axis=0)
    spread = (u**2).sum(axis=0)
    cross = (u * g).sum(axis=0)
    varies = spread > 1e-12
    correlation = np.divide(cross, np.sqrt(spread * (g**2).sum(axis=0)), out=np.zeros_like(cross), where=varies)
    n_best = max(1, round(0.1 * len(u)))
    best = [np.argsort(-values, axis=0, kind="stable")[:n_best] for values in (predicted, by_truth)]
    kept = [len(np.intersect1d(a, b)) / n_best for a, b in zip(best[0].T, best[1].T, strict=True)]
    return {
        "correlation": (correlation, np.ones_like(cross)),
        # Σ of products over Σ of squares: traits whose breeding values are all alike have no slope, and no weight
        "slope": (np.where(varies, cross, 0.0), np.where(varies, spread, 0.0)),
        "top": (np.array(kept), np.ones_like(cross)),
    }


@dataclass(frozen=True, eq=False)
class Estimate:
    """A measure with what its interval is from.

    Attributes:
        value: the measure; NaN where its denominator is 0.
        resampled: float64 (N_RESAMPLES,), of resampled traits; empty of real traits.
        left_out: float64 (n_blocks, n_traits), what each trait adds to the change without each block of samples; without rows
            where that was not done.
        n: number of traits.
    """

    value: float
    resampled: np.ndarray
    left_out: np.ndarray
    n: int

    def minus(self, other: Estimate) -> Estimate:
        """Return the difference to another estimate of the same traits and blocks."""
        return Estimate(
            self.value - other.value, self.resampled - other.resampled, self.left_out - other.left_out, self.n
        )

    def interval(self) -> tuple[float, float]:
        """Return the 95% interval; NaN where it is not known."""
        known = self.resampled[np.isfinite(self.resampled)]
        k = len(self.left_out)
        if not np.isfinite(self.value) or len(known) < len(self.resampled) / 2 or not (k or len(self.resampled)):
            return np.nan, np.nan
        variance = known.var() if len(known) else 0.0
        if k:
            of_traits = (k - 1) * self.left_out.var(axis=0).sum()
            of_all = (k - 1) * self.left_out.sum(axis=1).var()
            variance += max(of_all - of_traits, 0.0) if len(known) else of_all
        wide = LEVEL * np.sqrt(variance)
        return float(self.value - wide), float(self.value + wide)


def trait_weights(n_traits: int, seed: int) -> np.ndarray:
    """Return how often each trait is drawn in each resample, float64 (N_RESAMPLES, n_traits)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_traits, np.full(n_traits, 1 / n_traits), size=N_RESAMPLES).astype(float)


def estimates(
    measured: Mapping[str, tuple[np.ndarray, np.ndarray]],
    left_out: list[PerTrait],
    weights: np.ndarray | None,
    chosen: np.ndarray,
) -> dict[str, Estimate]:
    """Return the estimate of each measure over chosen traits.

    Args:
        measured: numerators and denominators, (n_traits,) each; NaN for traits that were not looked at.
        left_out: the same without each block of samples; a measure that they lack has no part from samples.
        weights: as `trait_weights` gives them; None = the traits are not resampled.
        chosen: bool (n_traits,).
    """
    found = {}
    for key, (top, bottom) in measured.items():
        looked_at = chosen & np.isfinite(top) & np.isfinite(bottom)
        t, b = top[looked_at], bottom[looked_at]
        value = float(t.sum() / b.sum()) if b.sum() > 1e-12 else np.nan
        resampled = np.empty(0)
        if weights is not None:
            drawn = weights[:, looked_at] @ np.column_stack([t, b])
            resampled = np.divide(drawn[:, 0], drawn[:, 1], out=np.full(len(drawn), np.nan), where=drawn[:, 1] > 1e-12)
        rows = []
        for part in left_out:
            if key in part and np.isfinite(value):
                u, v = part[key][0][looked_at], part[key][1][looked_at]
                rows.append((u - value * v) / v.sum())
        found[key] = Estimate(
            value, resampled, np.array(rows).reshape(len(rows), int(looked_at.sum())), int(looked_at.sum())
        )
    return found
