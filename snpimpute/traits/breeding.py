"""Breeding values by GBLUP: of samples whose trait is not looked at, from those whose trait is."""

from __future__ import annotations

import numpy as np

HERITABILITIES = np.linspace(0.01, 0.99, 50)  # of which the likeliest is taken for each trait


def breeding_values(relationship: np.ndarray, values: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return breeding values of the samples that are not trained on, float64 (n_others, n_traits), by GBLUP.

    The heritability is the one of HERITABILITIES with the highest restricted likelihood (REML), for each trait by itself.

    Args:
        relationship: float64 (n_samples, n_samples), genomic.
        values: float64 (n_samples, n_traits); those of the others are not read.
        train: bool (n_samples,).
    """
    own, beside = relationship[np.ix_(train, train)], relationship[np.ix_(~train, train)]
    spectrum, vectors = np.linalg.eigh(own)
    spectrum = np.maximum(spectrum, 0.0)
    y, one = vectors.T @ values[train], vectors.T @ np.ones(int(train.sum()))
    n = len(one)
    best = np.full(values.shape[1], -np.inf)
    weights = np.zeros((n, values.shape[1]))
    for h2 in HERITABILITIES:
        variance = h2 * spectrum + 1 - h2
        information = (one**2 / variance).sum()
        rest = y - np.outer(one, (one / variance) @ y / information)
        sigma2 = (rest**2 / variance[:, None]).sum(axis=0) / (n - 1)
        likelihood = -0.5 * ((n - 1) * np.log(sigma2) + np.log(variance).sum() + np.log(information))
        better = likelihood > best
        best = np.where(better, likelihood, best)
        weights[:, better] = h2 * rest[:, better] / variance[:, None]
    return beside @ (vectors @ weights)
