"""Offsets of hard calls: the best of all that are tried, a gain where the prior is wrong, none where nothing is to gain."""

import numpy as np
import pytest

from snpimpute.metrics.offsets import chosen_offsets, offsets_at, reweighted, with_offsets
from snpimpute.metrics.scores import f1_macro


def drawn(n: int, seed: int, prior: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """True genotypes int8 (n,), with genotype shares `prior`, and their calibrated posterior (n, 3) from a noisy signal."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, size=n, p=prior).astype(np.int8)
    signal = truth + rng.normal(0, 0.6, n)
    likelihood = np.exp(-((signal[:, None] - np.arange(3)) ** 2) / (2 * 0.6**2))
    return truth, reweighted(likelihood, np.log(prior))


def test_no_pair_of_offsets_is_better_than_that_chosen():
    truth, posterior = drawn(300, 1, (0.7, 0.2, 0.1))
    posterior = reweighted(posterior, np.array([0, -0.5, 0.8])).round(2)  # two decimals: many ties, and zeros
    grid = 0.05 * np.arange(-60, 61)
    best = max(f1_macro(truth, with_offsets(posterior, np.array([0, one, two]))) for one in grid for two in grid)
    chosen = chosen_offsets(truth, posterior)
    assert f1_macro(truth, with_offsets(posterior, chosen)) == pytest.approx(best, abs=1e-12)
    assert chosen[0] == 0 and np.abs(chosen).max() <= 3


def test_a_posterior_of_a_skewed_prior_gains_macro_f1():
    truth, calibrated = drawn(40_000, 1, (0.75, 0.2, 0.05))
    skew = np.array([0, -0.8, -1.5])
    chosen = chosen_offsets(truth, reweighted(calibrated, skew))
    np.testing.assert_allclose(chosen, chosen_offsets(truth, calibrated) - skew, atol=0.051)
    truth, calibrated = drawn(40_000, 2, (0.75, 0.2, 0.05))
    skewed = reweighted(calibrated, skew)
    with_them, without = (f1_macro(truth, with_offsets(skewed, offsets)) for offsets in (chosen, np.zeros(3)))
    assert with_them > without + 0.08
    assert with_them > f1_macro(truth, calibrated.argmax(axis=1))


def test_where_nothing_is_to_gain_offsets_are_zero():
    truth = np.array([[0, 1, 2, 1], [0, 0, 2, -1]], dtype=np.int8)
    separable = np.where(np.arange(3) == truth[:, :, None], 0.8, 0.1)
    assert chosen_offsets(truth, separable).tolist() == [0, 0, 0]
    assert chosen_offsets(np.full((2, 4), -1, dtype=np.int8), separable).tolist() == [0, 0, 0]


def test_without_offsets_the_call_is_the_largest_posterior_the_lower_genotype_at_ties():
    posterior = np.array([[0.4, 0.4, 0.2], [0.2, 0.4, 0.4], [0, 0, 1], [0.1, 0.5, 0.4]])
    assert with_offsets(posterior, np.zeros(3)).tolist() == posterior.argmax(axis=1).tolist() == [0, 1, 2, 1]
    assert with_offsets(posterior, np.array([0, 0, 0.3])).tolist() == [0, 2, 2, 2]


def test_a_level_takes_the_offsets_of_the_nearest_and_of_two_as_near_of_the_lower():
    by_level = {level: np.array([0, level, 0]) for level in (10.0, 30.0, 60.0)}
    assert [offsets_at(by_level, level)[1] for level in (1, 20, 25, 45, 46, 95)] == [10, 10, 30, 30, 60, 60]
