"""Simulated traits on any genotypes: additive, with known causal sites; what is not genetic is drawn by tstrait (Tagami et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.base.extras import require_package
from snpimpute.base.words import numbered
from snpimpute.traits.dosages import Dosages


@dataclass(frozen=True)
class TraitModel:
    """How traits are simulated.

    Attributes:
        n_traits: number of traits.
        n_causal: causal sites of each.
        variance: share of a trait's variance that they make together (the heritability).
        min_maf: least MAF of a causal site.
        equal: whether all effects are of one size, before they go by frequency; else they are drawn from a normal distribution, and
            most of a trait's variance is made by a few sites. Signs are drawn.
        frequency_power: effects are divided by sqrt(2p(1 − p)) to this power: 0 = the effect of an allele does not go by its
            frequency, 1 = each site makes the same variance on average.
        seed: of every random choice.
    """

    n_traits: int = 200
    n_causal: int = 1
    variance: float = 0.02
    min_maf: float = 0.01
    equal: bool = False
    frequency_power: float = 1.0
    seed: int = 1


@dataclass(frozen=True, eq=False)
class Traits:
    """Traits of samples.

    Attributes:
        names: of the traits.
        values: float64 (n_samples, n_traits).
        genetic: float64 (n_samples, n_traits), the part that causal sites make; None of real traits.
        causal: int (n_traits, n_causal), numbers of the causal sites; None of real traits.
    """

    names: list[str]
    values: np.ndarray
    genetic: np.ndarray | None = None
    causal: np.ndarray | None = None


def simulated_traits(truth: Dosages, model: TraitModel, candidates: np.ndarray | None = None) -> Traits:
    """Simulate additive traits on true genotypes.

    Args:
        truth: the true genotypes.
        model: number of traits, causal sites, their share of the variance.
        candidates: bool (n_sites,), sites that may be causal; None = all. A causal site varies, and has the model's least MAF.

    Raises:
        InputError: tstrait is missing; a setting is out of its range, or there are fewer candidates than causal sites.
    """
    require_package("tstrait", "simulated traits")
    import tstrait

    if not 0 < model.variance < 1:
        raise InputError(
            f"--variance {model.variance:g} is not between 0 and 1: the share of the variance that causal sites make"
        )
    may = truth.varies() & (np.nan_to_num(truth.maf()) > model.min_maf)
    may &= True if candidates is None else candidates
    at = np.flatnonzero(may)
    if len(at) < model.n_causal:
        raise InputError(
            f"{truth.name} has {numbered(len(at), 'site')} with a MAF above {model.min_maf:g} that may be causal, and "
            f"{model.n_causal} are needed"
        )
    rng = np.random.default_rng(model.seed)
    causal = np.array([rng.choice(at, model.n_causal, replace=False) for _ in range(model.n_traits)])
    centred = truth.centred()
    frequency = truth.frequency()
    spread = np.where(may, 2 * frequency * (1 - frequency), 1.0)
    scale = spread ** (-model.frequency_power / 2)
    genetic = np.empty((truth.n_samples, model.n_traits))
    for t, sites in enumerate(causal):
        drawn = rng.choice([-1.0, 1.0], model.n_causal) if model.equal else rng.normal(size=model.n_causal)
        genetic[:, t] = centred[:, sites] @ (drawn * scale[sites])
    genetic /= genetic.std(axis=0)
    table = pd.DataFrame(
        {
            "trait_id": np.repeat(np.arange(model.n_traits), truth.n_samples),
            "individual_id": np.tile(np.arange(truth.n_samples), model.n_traits),
            "genetic_value": genetic.T.ravel(),
        }
    )
    made = tstrait.sim_env(table, h2=model.variance, random_seed=int(rng.integers(2**31)))
    values = made["phenotype"].to_numpy().reshape(model.n_traits, truth.n_samples).T
    return Traits([f"trait{t + 1}" for t in range(model.n_traits)], values, genetic, causal)
