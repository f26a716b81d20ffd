"""Draws of mosaic's haplotypes: jointly as frequent as the model says, at sites between observed ones and beyond them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from snpimpute.genotypes.matrix import MISSING
from snpimpute.imputers import _drawing
from snpimpute.imputers._copying import LIKELIHOODS, Copying
from snpimpute.imputers.mosaic import Mosaic
from tests.imputers.test_mosaic import QUICK, of_genotypes, path_chances, phased, whole

N_DRAWS = 40_000


@pytest.mark.parametrize("sure", [True, False])
def test_genotypes_of_all_sites_together_are_as_frequent_as_the_model_says(sure: bool) -> None:
    """Five sites of three haplotypes, the second and the fourth observed: the 243 joint genotypes, from all pairs of paths."""
    haplotypes = np.array([[0, 0, 1, 0, 1], [1, 0, 0, 1, 1], [1, 1, 1, 1, 0]], dtype=np.int8)
    calls = np.array([MISSING, 1, MISSING, 2, MISSING], dtype=np.int8)
    likelihoods = None
    if not sure:
        likelihoods = np.array([[1, 1, 1], [0.3, 1, 0.2], [1, 1, 1], [0.1, 0.7, 1], [1, 1, 1]], dtype=np.float32)
    given = LIKELIHOODS[calls] if likelihoods is None else likelihoods
    copying = Copying(
        whole(haplotypes), np.arange(5.0), 0.3, Mosaic.Params(error=0.1, states=3, first_states=3), seed=1
    )
    drawn = copying.draws(calls, likelihoods, N_DRAWS, np.random.default_rng(1))
    assert drawn.dtype == np.int8 and drawn.shape == (N_DRAWS, 2, 5)
    digits = 3 ** np.arange(5)
    shares = np.bincount(drawn.sum(axis=1) @ digits, minlength=243) / N_DRAWS

    from snpimpute.imputers._copying import _given

    of_calls, observed, key = _given(calls, likelihoods)
    alleles, start = copying._copied_from(of_calls[observed], observed, key)
    alleles, start = alleles[:, start > 0], start[start > 0]  # without what fills up to a multiple of eight
    paths = path_chances(start, 0.3, 5)
    expected = np.zeros(243)
    kept = {path: alleles[np.arange(5), list(path)] for path in paths}
    for one, other in itertools.product(paths, paths):
        chance = paths[one] * paths[other]
        by_site = np.zeros((5, 3))
        by_site[np.arange(5), kept[one] + kept[other]] = 1  # beyond observed sites alleles are the copied ones
        seen = of_genotypes(kept[one][observed], kept[other][observed], 0.1) * given[observed]
        by_site[observed] = seen
        joint = np.array([1.0])
        for site in range(5):
            joint = (by_site[site][:, None] * joint[None]).ravel()
        expected += chance * joint
    expected /= expected.sum()
    assert abs(shares - expected).max() < 5 * np.sqrt(expected.max() / N_DRAWS)
    posterior = copying.posterior(calls, likelihoods)
    marginal = np.stack([(drawn.sum(axis=1) == genotype).mean(axis=0) for genotype in range(3)], axis=1)
    np.testing.assert_allclose(marginal, posterior, atol=0.012)


def forward_of(
    alleles: np.ndarray, given: np.ndarray, error: float, switches: np.ndarray, start: np.ndarray
) -> np.ndarray:
    """The forward recursion over pairs by whole matrices, float32 (n_observed, K, K)."""
    right = np.array([[1 - error, error], [error, 1 - error]])  # allele copied, allele there
    out = np.empty((len(given), len(start), len(start)), dtype=np.float32)
    before = np.outer(start, start).astype(float)
    for j, like in enumerate(given.astype(float)):
        move = (1 - switches[j]) * np.eye(len(start)) + switches[j] * start  # from a row to a column
        of_pair = np.array([[like[a + b] for b in (0, 1)] for a in (0, 1)])
        by_alleles = right @ of_pair @ right.T
        before = move.T @ before @ move * by_alleles[np.ix_(alleles[j], alleles[j])]
        before /= before.sum()
        out[j] = before
    return out


def test_draws_in_blocks_are_those_of_the_whole_recursion() -> None:
    rng = np.random.default_rng(3)
    alleles = rng.integers(0, 2, (30, 7)).astype(np.uint8)
    observed = np.sort(rng.choice(30, 19, replace=False))
    given = rng.uniform(0.05, 1, (19, 3)).astype(np.float32)
    switches = rng.uniform(0.01, 0.4, 19).astype(np.float32)
    start = rng.dirichlet(np.ones(7)).astype(np.float32)
    chances, error = rng.random((50, 19, 2)), np.float32(0.05)
    at_once = np.zeros((50, 2, 19), dtype=np.int64)
    forward = forward_of(alleles[observed], given, 0.05, switches, start)
    for j in range(18, -1, -1):
        _drawing.draw_site(j, forward[j], forward[j].sum(axis=1), switches, start, chances, at_once)
    in_blocks = _drawing.draw_pairs(alleles, observed, given, error, switches, start, chances)
    assert (at_once == in_blocks).mean() > 0.999  # the last digit of a sum may tip a number


def test_a_sample_of_another_row_has_draws_of_its_own_and_stretches_are_joined() -> None:
    panel, target = phased(60, 120), phased(70, 120).take_samples(np.arange(60, 64))
    rows = np.array([0, 0, 1, 2])
    hidden = np.arange(120) % 3 > 0
    twice = target.take_samples(rows).hide(hidden)
    params = Mosaic.Params(**QUICK, window=20, dense_window=20, overlap=8)
    model = Mosaic(params, seed=1, threads=1).fit(panel)
    assert len(list(model._stretches(~hidden))) > 1
    drawn = model.draw(twice, 40, seed=1)
    calls = drawn.sum(axis=2)
    assert (calls[:, 0] != calls[:, 1]).any()  # the same calls, another row
    assert (calls[:, :, ~hidden] == twice.calls[:, ~hidden]).all()
    shares = np.stack([(calls == genotype).mean(axis=0) for genotype in range(3)], axis=2)
    np.testing.assert_allclose(shares, model.posterior(twice), atol=5 * np.sqrt(0.25 / 40))
