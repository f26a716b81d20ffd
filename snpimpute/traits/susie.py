"""Fine-mapping by SuSiE (Wang et al. 2020; Zou et al. 2022), through pysusie: posterior inclusion probabilities and credible sets."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

EFFECTS = 10  # most causal sites of a region
COVERAGE = 0.95
LEAST_PURITY = 0.5  # least |r| between two sites of a set, unless told otherwise
LOG_SQRT_2_PI = np.log(np.sqrt(2 * np.pi))
MISMATCH = 0.1  # of estimate_s_rss from which on z and LD do not fit; in the same samples it is 0 to .05
SWITCHED_Z, SWITCHED_RATIO = (
    2.0,
    2.0,
)  # |z| and log likelihood ratio from which on a site's alleles look exchanged (susieR)


@dataclass(frozen=True, eq=False)
class CredibleSet:
    """A credible set.

    Attributes:
        members: numbers of its sites.
        purity: least |r| between two of them.
        coverage: probability that it holds the effect.
        chances: float64 (n_sites,), probability of each site to be the effect.
    """

    members: np.ndarray
    purity: float
    coverage: float
    chances: np.ndarray


@dataclass(frozen=True, eq=False)
class FineMapped:
    """Result of SuSiE.

    Attributes:
        pip: float64 (n_sites,), posterior probability of each site to be causal.
        sets: credible sets, in the order of SuSiE's effects.
        converged: whether the iterations came to an end.
    """

    pip: np.ndarray
    sets: list[CredibleSet]
    converged: bool

    def set_of(self) -> np.ndarray:
        """Return the number of the set of each site from 1, int (n_sites,); 0 = none, the first where it is in several."""
        found = np.zeros(len(self.pip), dtype=int)
        for number, credible in reversed(list(enumerate(self.sets, start=1))):
            found[credible.members] = number
        return found


def from_summary(
    z: np.ndarray,
    correlation: np.ndarray,
    n: float,
    weights: np.ndarray | None = None,
    effects: int = EFFECTS,
    refine: bool = False,
    purity: float = LEAST_PURITY,
) -> FineMapped:
    """Fine-map by z scores and LD (SuSiE-RSS).

    Args:
        z: float (n_sites,), effect over its standard error.
        correlation: float (n_sites, n_sites), of dosages.
        n: number of samples of the z scores.
        weights: float (n_sites,), prior weights of the sites; None = equal.
        effects: most causal sites.
        refine: whether to look beyond the local optimum in which the iterations end: each set is left out once, and what is
            found without it is where they start anew. It finds more of the causal sites and takes about ten times as long.
        purity: least |r| between two sites of a set; what is below it is no set.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = _pysusie().susie_rss(
            z=z, R=correlation, n=int(n), refine=refine, **_options(weights, effects, len(z), purity)
        )
    return _result(fitted)


def from_samples(
    dosages: np.ndarray,
    values: np.ndarray,
    weights: np.ndarray | None = None,
    effects: int = EFFECTS,
    purity: float = LEAST_PURITY,
) -> FineMapped:
    """Fine-map by the dosages and values of the samples themselves.

    Args:
        dosages: float64 (n_samples, n_sites), centred.
        values: float64 (n_samples,), centred.
        weights, effects, purity: see `from_summary`.
    """
    xx, xy, yy = dosages.T @ dosages, dosages.T @ values, float(values @ values)
    return from_products(xx, xy, yy, len(values), weights, effects, purity=purity)


def from_products(
    xx: np.ndarray,
    xy: np.ndarray,
    yy: float,
    n: int,
    weights: np.ndarray | None = None,
    effects: int = EFFECTS,
    refine: bool = False,
    purity: float = LEAST_PURITY,
) -> FineMapped:
    """Fine-map by the products of centred dosages and values, from which SuSiE has the same result as from the samples.

    Args:
        xx: float64 (n_sites, n_sites), dosages with each other.
        xy: float64 (n_sites,), dosages with values.
        yy: values with themselves.
        n: number of samples.
        weights, effects, refine, purity: see `from_summary`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = _pysusie().susie_suff_stat(xx, xy, yy, n, refine=refine, **_options(weights, effects, len(xy), purity))
    return _result(fitted)


def _options(weights: np.ndarray | None, effects: int, n_sites: int, purity: float) -> dict[str, Any]:
    prior = None if weights is None else weights / weights.sum()
    return {
        "L": min(effects, n_sites),
        "prior_weights": prior,
        "coverage": COVERAGE,
        "min_abs_corr": purity,
    }


@functools.cache
def _pysusie() -> Any:
    """Return pysusie, with logarithms of normal densities by numpy: scipy's tests of their arguments are most of its time."""
    import pysusie
    from pysusie import ser

    ser._dnorm_log = log_density
    return pysusie


def log_density(x: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Return the logarithm of the density of a normal of mean 0, float64 of the arguments' common shape.

    Bit for bit that of scipy.stats.norm.logpdf where `sd` is positive.
    """
    return -((np.asarray(x, dtype=float) / sd) ** 2) / 2.0 - LOG_SQRT_2_PI - np.log(sd)


def _result(fitted: Any) -> FineMapped:
    found = fitted.sets or {}
    members = found.get("cs") or []
    purity = found["purity"]["min.abs.corr"] if len(members) else []
    coverage = found["coverage"] if len(members) else []
    numbers = found["cs_index"] if len(members) else []
    sets = [
        CredibleSet(np.asarray(of, dtype=int), float(pure), float(covered), np.asarray(fitted.alpha[effect]))
        for of, pure, covered, effect in zip(members, purity, coverage, numbers, strict=True)
    ]
    return FineMapped(np.asarray(_pysusie().susie_get_pip(fitted), dtype=np.float64), sets, bool(fitted.converged))


def mismatch(z: np.ndarray, correlation: np.ndarray, n: float) -> tuple[float, np.ndarray]:
    """Return how far z scores and LD contradict each other, and which sites look as if their alleles were exchanged.

    Args:
        z, correlation, n: see `from_summary`.

    Returns:
        estimate_s_rss of Zou et al. 2022 (0 = no contradiction, 1 = the LD says nothing), and bool (n_sites,).
    """
    from pysusie import estimate_s_rss, kriging_rss

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        s = float(estimate_s_rss(z, correlation, n=n))
        table = kriging_rss(z, correlation, n=n, s=min(s, 1.0))["conditional_dist"]
    switched = (table["logLR"] > SWITCHED_RATIO) & (table["z"].abs() > SWITCHED_Z)
    return s, switched.to_numpy()


def correlation_of(centred: np.ndarray) -> np.ndarray:
    """Return the correlation of sites, float64 (n_sites, n_sites); each varies.

    Args:
        centred: float64 (n_samples, n_sites).
    """
    scaled = centred / np.sqrt((centred**2).sum(axis=0))
    return scaled.T @ scaled
