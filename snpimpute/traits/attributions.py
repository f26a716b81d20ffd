"""What each site adds to a predictor's predictions: effects, SHAP of trees, gradients and attention of networks.

None of it is causal: linked sites share what one of them does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from snpimpute.base.errors import InputError
from snpimpute.base.extras import require_package
from snpimpute.traits.predictors.cohort import Cohort
from snpimpute.traits.predictors.contract import Predictor

if TYPE_CHECKING:
    import torch

STEPS = 50  # of integrated gradients; doubled as long as they do not add up
MOST_STEPS = 1600
COMPLETE = 1e-3  # largest gap, in standardised score, between a sample's attributions and what they must add up to
DRAWS = 20  # of SmoothGrad and GradientShap, for each sample
NOISE = 0.15  # of SmoothGrad, times the inputs' standard deviation
BASELINES = 32  # samples that GradientShap draws from
BATCH = 16
GRADIENTS = ("integrated_gradients", "saliency", "smoothgrad", "gradient_shap")
MEANING = {
    "effects": "effect of a site, times how far the sample is from the mean genotype",
    "shap": "exact SHAP values of the trees",
    "integrated_gradients": "gradients along the way from mean genotypes (Sundararajan et al. 2017)",
    "saliency": "absolute gradient at the sample (Simonyan et al. 2014)",
    "smoothgrad": "absolute mean of gradients around the sample (Smilkov et al. 2017)",
    "gradient_shap": "gradients between the sample and others (Lundberg and Lee 2017)",
    "attention": "attention, rolled out over layers (Abnar and Zuidema 2020) or multiplied over levels",
}


def methods_of(predictor: Predictor) -> tuple[str, ...]:
    """Return the methods that explain a fitted predictor, the best first.

    Raises:
        InputError: there is none.
    """
    if hasattr(predictor, "effects"):
        return ("effects",)
    if hasattr(predictor, "contributions"):
        return ("shap",)
    if predictor.framework == "torch":
        return (*GRADIENTS, *(("attention",) if getattr(predictor, "attends", False) else ()))
    raise InputError(f"predictor {predictor.name} has no effects of sites: explain another, as gblup or lightgbm")


def attributions(predictor: Predictor, target: Cohort, method: str, seed: int = 1) -> np.ndarray:
    """Return what each chosen site adds, float64 (n_samples, n_chosen); saliency, SmoothGrad and attention have no sign.

    Of networks, in their standardised score (of a binary trait log-odds before calibration); else in units of the trait, of
    boosted trees on a binary trait in log-odds.

    Args:
        predictor: fitted.
        target: samples at its sites.
        method: one of `methods_of`.
        seed: of what SmoothGrad and GradientShap draw.

    Raises:
        InputError: an unknown method, or one that does not go with the predictor; captum is missing.
    """
    if method not in methods_of(predictor):
        raise InputError(
            f"method {method!r} does not explain predictor {predictor.name}: give one of {', '.join(methods_of(predictor))}"
        )
    fitted: Any = predictor
    if method == "shap":
        return fitted.contributions(target)
    x = predictor.encoding.encode(target.take_sites(predictor.chosen).posterior)
    if method == "effects":
        return ((x - predictor.encoding.mean()).astype(np.float64) * fitted.effects()).sum(axis=2)
    if method == "attention":
        return np.concatenate([fitted.attention(x[i : i + BATCH]) for i in range(0, len(x), BATCH)]).astype(np.float64)
    require_package("captum", "traits explain")
    return _gradients(fitted.network_alone(), x, predictor.encoding.mean(), method, seed)


def completeness_gap(predictor: Predictor, target: Cohort, found: np.ndarray) -> float:
    """Return the largest gap between a sample's attributions and its score less that of mean genotypes, of a network."""
    import torch

    x = predictor.encoding.encode(target.take_sites(predictor.chosen).posterior)
    fitted: Any = predictor
    network = fitted.network_alone()
    with torch.no_grad():
        score = network(torch.from_numpy(x)).numpy()
        base = network(torch.from_numpy(predictor.encoding.mean()[None])).numpy()
    return float(np.abs(found.sum(axis=1) - (score - base)).max())


def ensemble(importances: dict[str, np.ndarray]) -> np.ndarray:
    """Return the mean over methods of a site's rank, 0 for the least to 1 for the most important, float64 (n_sites,)."""
    from scipy.stats import rankdata

    ranks = [(rankdata(found) - 1) / max(len(found) - 1, 1) for found in importances.values()]
    return np.mean(ranks, axis=0)


def _gradients(network: torch.nn.Module, x: np.ndarray, mean: np.ndarray, method: str, seed: int) -> np.ndarray:
    import torch

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    others = torch.from_numpy(x[rng.permutation(len(x))[:BASELINES]])
    noise = NOISE * float(x.std())
    found = []
    for start in range(0, len(x), BATCH):
        batch = torch.from_numpy(np.ascontiguousarray(x[start : start + BATCH])).requires_grad_()
        if method == "integrated_gradients":
            found.append(_integrated(network, batch, torch.from_numpy(mean[None])))
        else:
            found.append(_by_captum(network, batch, method, others, noise, seed + start))
    return np.concatenate(found).astype(np.float64)


def _by_captum(
    network: torch.nn.Module, batch: torch.Tensor, method: str, others: torch.Tensor, noise: float, seed: int
) -> np.ndarray:
    from captum.attr import GradientShap, NoiseTunnel, Saliency

    if method == "gradient_shap":
        # captum draws from numpy's own generator
        before = np.random.get_state()  # noqa: NPY002
        np.random.seed(seed)  # noqa: NPY002
        try:
            given = GradientShap(network).attribute(batch, baselines=others, n_samples=DRAWS, stdevs=0.0)
        finally:
            np.random.set_state(before)  # noqa: NPY002
        return given.detach().numpy().sum(axis=2)
    if method == "saliency":
        given = Saliency(network).attribute(batch)
    else:
        tunnel = NoiseTunnel(Saliency(network))
        given = tunnel.attribute(
            batch, nt_type="smoothgrad", nt_samples=DRAWS, nt_samples_batch_size=1, stdevs=noise, abs=False
        )
    return np.abs(given.detach().numpy()).sum(axis=2)


def _integrated(network: torch.nn.Module, batch: torch.Tensor, baseline: torch.Tensor) -> np.ndarray:
    """Return integrated gradients with as many steps as it takes to add up; networks with kinks need more of them."""
    from captum.attr import IntegratedGradients

    steps = STEPS
    while True:
        given, gap = IntegratedGradients(network).attribute(
            batch, baselines=baseline, n_steps=steps, return_convergence_delta=True, internal_batch_size=16 * BATCH
        )
        if float(gap.abs().max()) <= COMPLETE or 2 * steps > MOST_STEPS:
            return given.detach().numpy().sum(axis=2)
        steps *= 2
