"""Mosaic: contract, algorithm against the sum over all paths, draws, windows, contigs, what `fit` chooses, the real panels."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from snpimpute.base.checksums import write_checksums
from snpimpute.base.errors import InputError
from snpimpute.dataset.site_lists import read_masked_sites
from snpimpute.dataset.splits import split_samples
from snpimpute.dataset.training_masks import TrainingMask
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.imputers import _drawing, _recursions
from snpimpute.imputers._copying import LIKELIHOODS, Blocks, Copying, Haplotypes, _highest, voted
from snpimpute.imputers.beagle import Beagle
from snpimpute.imputers.contract import Imputer
from snpimpute.imputers.mosaic import SWITCHES, USUAL_SWITCH, Mosaic, Stretch, log_loss, middle, places
from snpimpute.imputers.softmax_regression import SoftmaxRegression
from snpimpute.imputers.testing import ImputerContract, small_panel
from snpimpute.io.maps import GeneticMap
from snpimpute.io.matrix import read_matrix
from snpimpute.metrics.scores import f1_macro

QUICK = {"states": 12, "first_states": 8, "switch": 0.02, "error": 0.01}
PHASING = {"iterations": 1, "burnin": 1, "memory_mb": 512}


def phased(n_samples: int = 60, n_sites: int = 40, seed: int = 3) -> GenotypeMatrix:
    """A panel whose haplotypes are known: any two halves of its calls will do for what is tested here."""
    rng = np.random.default_rng(seed)
    founders = rng.random((8, n_sites)) < rng.uniform(0.1, 0.6, n_sites)
    switch = rng.random((2 * n_samples, n_sites)) < 0.04
    switch[:, 0] = True
    drawn = rng.integers(0, 8, switch.shape)
    last = np.maximum.accumulate(np.where(switch, np.arange(n_sites), 0), axis=1)
    alleles = founders[np.take_along_axis(drawn, last, axis=1), np.arange(n_sites)].astype(np.int8)
    haplotypes = alleles.reshape(n_samples, 2, n_sites).transpose(0, 2, 1)
    like = small_panel(n_samples, n_sites)
    return GenotypeMatrix(haplotypes.sum(axis=2, dtype=np.int8), like.samples, like.sites, haplotypes)


class TestMosaic(ImputerContract):
    imputer = Mosaic
    params = QUICK

    @pytest.fixture
    def panel(self) -> GenotypeMatrix:
        return phased()

    @pytest.fixture
    def target(self) -> GenotypeMatrix:
        return replace(phased(70).take_samples(np.arange(60, 70)), haplotypes=None)

    def test_a_sample_is_imputed_as_by_itself(self, model: Imputer, target: GenotypeMatrix) -> None:
        masked = target.hide(np.random.default_rng(1).random(target.calls.shape) < 0.4)
        together = model.posterior(masked)
        for i in range(target.n_samples):
            np.testing.assert_allclose(model.posterior(masked.take_samples([i]))[0], together[i], atol=1e-5)


class TestUnphasedPanel(ImputerContract):
    imputer = Mosaic
    params = QUICK | {"phasing": PHASING}


class TestPanelPhasedByItself(ImputerContract):
    imputer = Mosaic
    params = QUICK | {"phased_by": "itself", "rounds": 2}


def whole(alleles: np.ndarray) -> Haplotypes:
    """Haplotypes of one contig."""
    return Haplotypes.of(alleles, [slice(0, alleles.shape[1])])


def alleles_of(model: Mosaic) -> np.ndarray:
    """The alleles of a model's haplotypes, (n_haplotypes, n_sites)."""
    return model._haplotypes.alleles(np.arange(model._haplotypes.n_haplotypes)).T.astype(np.int8)


def path_chances(start: np.ndarray, switch: float, n_sites: int) -> dict[tuple[int, ...], float]:
    """Each path through the haplotypes, with its probability."""
    chances = {}
    for path in itertools.product(range(len(start)), repeat=n_sites):
        p = float(start[path[0]])
        for before, now in itertools.pairwise(path):
            p *= (1 - switch) * (before == now) + switch * float(start[now])
        chances[path] = p
    return chances


def pairs_of_paths(
    haplotypes: np.ndarray, calls: np.ndarray, start: np.ndarray, switch: float, error: float
) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """The alleles of each pair of paths, and the probability of both and of the calls."""
    chances = path_chances(start, switch, len(calls))
    sites = np.arange(len(calls))
    for one, other in itertools.product(chances, chances):
        p = chances[one] * chances[other]
        first, second = haplotypes[one, sites], haplotypes[other, sites]
        for j in np.flatnonzero(calls >= 0):
            a, b = (1 - error if allele else error for allele in (first[j], second[j]))
            p *= ((1 - a) * (1 - b), a * (1 - b) + b * (1 - a), a * b)[calls[j]]
        yield first, second, p


def test_uniform_says_how_much_copying_may_begin_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where copying begins is for large weights the same for all states, for small ones by what the sample resembles."""
    panel, target = phased(), phased(70).take_samples([65])
    calls = target.hide(np.arange(40) % 3 > 0).calls[0]
    assert panel.haplotypes is not None
    haplotypes = panel.haplotypes.transpose(0, 2, 1).reshape(-1, panel.n_sites)
    starts = []
    own = Copying._sum_over_pairs

    def noted(self: Copying, given: np.ndarray, seen: np.ndarray, alleles: np.ndarray, start: np.ndarray) -> np.ndarray:
        starts.append(start[start > 0])  # without what fills up to a multiple of eight
        return own(self, given, seen, alleles, start)

    monkeypatch.setattr(Copying, "_sum_over_pairs", noted)
    found = [
        Copying(whole(haplotypes), np.arange(40.0), 0.02, Mosaic.Params(**QUICK, uniform=uniform), seed=1).posterior(
            calls
        )
        for uniform in (1e-3, 1e6)
    ]
    by_resemblance, anywhere = starts
    np.testing.assert_allclose(anywhere, 1 / len(anywhere), rtol=1e-3)
    assert by_resemblance.max() > 3 * by_resemblance.min() and by_resemblance.sum() == pytest.approx(1)
    assert np.abs(found[0] - found[1]).max() > 0.01


def summed(copying: Copying, calls: list[int], haplotypes: np.ndarray, start: list[float]) -> np.ndarray:
    """The posterior of a sample by forward-backward over pairs of these haplotypes."""
    seen = np.flatnonzero(np.array(calls) >= 0)
    return copying._sum_over_pairs(
        LIKELIHOODS[np.array(calls)[seen]],
        seen,
        haplotypes.T.astype(np.uint8, order="C"),
        np.array(start, dtype=np.float32),
    )


def test_posterior_is_the_sum_over_all_paths() -> None:
    """Three haplotypes, four sites: all 9^4 pairs of paths, weighed one by one; observed calls stay as they are."""
    haplotypes = np.array([[0, 1, 1, 0], [1, 1, 0, 0], [0, 0, 1, 1]], dtype=np.int8)
    copying = Copying(whole(haplotypes), np.arange(4.0), 0.1, Mosaic.Params(error=0.05), seed=1)
    cases = [([1, -1, 2, -1], [0.5, 0.3, 0.2]), ([-1, 1, -1, -1], [0.2, 0.2, 0.6]), ([-1, 0, 1, -1], [0.4, 0.3, 0.3])]
    for calls, start in cases:
        expected = np.zeros((4, 3))
        for first, second, p in pairs_of_paths(haplotypes, np.array(calls), np.array(start), 0.1, 0.05):
            expected[np.arange(4), first + second] += p
        found = summed(copying, calls, haplotypes, start)
        expected /= expected.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(found, np.where(np.array(calls)[:, None] < 0, expected, np.eye(3)[calls]), atol=1e-5)


def test_posterior_of_likelihoods_is_the_sum_over_all_paths_and_genotypes() -> None:
    """Each pair of paths is weighed by the likelihoods of the genotypes that it may be seen as, at sites of every kind."""
    haplotypes = np.array([[0, 1, 1, 0, 1], [1, 1, 0, 0, 0], [0, 0, 1, 1, 1]], dtype=np.int8)
    error, start = 0.05, np.array([0.5, 0.3, 0.2], dtype=np.float32)
    copying = Copying(whole(haplotypes), np.arange(5.0), 0.1, Mosaic.Params(error=error), seed=1)
    given = np.array([[1, 0.5, 0.01], [1, 1, 1], [0.2, 0.9, 1], [0, 1, 0], [0.4, 0, 1]], dtype=np.float32)
    expected = np.zeros((5, 3))
    for first, second, p in pairs_of_paths(haplotypes, np.full(5, -1), start, 0.1, error):
        seen = np.zeros((5, 3))
        for j in range(5):
            a, b = (1 - error if allele else error for allele in (first[j], second[j]))
            seen[j] = np.array([(1 - a) * (1 - b), a * (1 - b) + b * (1 - a), a * b]) * given[j]
        weight = p * seen.sum(axis=1)[[0, 2, 3, 4]].prod()
        seen /= seen.sum(axis=1, keepdims=True)
        seen[1] = np.eye(3)[first[1] + second[1]]  # nothing known: what is copied, without errors
        expected += weight * seen
    expected /= expected.sum(axis=1, keepdims=True)
    observed = np.array([0, 2, 3, 4])
    found = copying._sum_over_pairs(given[observed], observed, haplotypes.T.astype(np.uint8, order="C"), start)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def of_genotypes(first: np.ndarray, second: np.ndarray, error: float) -> np.ndarray:
    """The chances of genotypes 0, 1, 2, (n, 3), where two alleles are copied with errors."""
    a, b = (np.where(alleles, 1 - error, error) for alleles in (first, second))
    return np.stack([(1 - a) * (1 - b), a * (1 - b) + b * (1 - a), a * b], axis=1)


def by_matrices(
    haplotypes: np.ndarray, given: np.ndarray, seen: np.ndarray, start: np.ndarray, stays: np.ndarray, error: float
) -> np.ndarray:
    """The posterior of genotypes by plain products of matrices over all pairs of haplotypes at all sites."""
    n_states, n_sites = haplotypes.shape
    first, second = (part.ravel() for part in np.divmod(np.arange(n_states**2), n_states))
    chance = [of_genotypes(haplotypes[first, j], haplotypes[second, j], error) * given[j] for j in range(n_sites)]
    weigh = [c.sum(axis=1) if j in seen else np.ones(n_states**2) for j, c in enumerate(chance)]
    square = n_states, n_states
    steps = [stay * np.eye(n_states) + (1 - stay) * start for stay in stays]  # of one of the two copies
    ahead = [np.kron(start, start)]
    for j in range(n_sites - 1):
        ahead.append((steps[j].T @ (ahead[j] * weigh[j]).reshape(square) @ steps[j]).ravel())
    behind = [np.ones(n_states**2)]
    for j in range(n_sites - 1, 0, -1):
        behind.insert(0, (steps[j - 1] @ (behind[0] * weigh[j]).reshape(square) @ steps[j - 1].T).ravel())
    out = np.zeros((n_sites, 3))
    for j in range(n_sites):
        of_pair = ahead[j] * behind[j]
        if j in seen:
            out[j] = of_pair @ chance[j]
        else:
            np.add.at(out[j], haplotypes[first, j] + haplotypes[second, j], of_pair)
    return out / out.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("n_states", "n_observed"), [(5, 1), (5, 2), (5, 9), (5, 12), (42, 9)])
def test_posterior_over_unequal_gaps_is_that_of_all_pairs(n_states: int, n_observed: int) -> None:
    """Forty sites of every frequency; calls, likelihoods, more observed sites than a kept block holds, and more carriers than FEW."""
    rng = np.random.default_rng(n_observed)
    haplotypes = (rng.random((n_states, 40)) < rng.choice([0.1, 0.5], 40)).astype(np.int8)
    haplotypes[:, 3], haplotypes[:, 37] = 0, 1
    place = np.cumsum(rng.choice([0.0, 0.2, 1.0, 3.0], 40))
    observed = np.sort(rng.choice(np.arange(2, 38), n_observed, replace=False))
    given = np.ones((40, 3), dtype=np.float32)
    given[observed] = LIKELIHOODS[rng.integers(0, 3, n_observed)]
    given[observed[::2]] = rng.random((len(observed[::2]), 3))
    start, error, switch = rng.dirichlet(np.ones(n_states)).astype(np.float32), 0.02, 0.08
    copying = Copying(whole(haplotypes), place, switch, Mosaic.Params(error=error), seed=1)
    found = copying._sum_over_pairs(given[observed], observed, haplotypes.T.astype(np.uint8, order="C"), start)
    expected = by_matrices(haplotypes, given, observed, start, (1 - switch) ** np.diff(place), error)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("n_alike", [3, 8])
def test_calls_where_the_haplotypes_are_alike_are_passed_over_and_still_answered(
    n_alike: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls and likelihoods at eight sites of twelve, at some or all of which the haplotypes have one allele, either one."""
    rng = np.random.default_rng(2)
    haplotypes, observed = (rng.random((4, 12)) < 0.5).astype(np.int8), np.array([0, 2, 3, 5, 6, 8, 9, 11])
    haplotypes[0, observed], haplotypes[1, observed] = 0, 1
    alike = rng.permutation(observed)[:n_alike]
    haplotypes[:, alike] = np.arange(n_alike) % 2
    given = np.ones((12, 3), dtype=np.float32)
    given[observed] = LIKELIHOODS[rng.integers(0, 3, 8)]
    given[observed[::2]] = rng.random((4, 3))
    start, place = np.array([0.1, 0.3, 0.2, 0.4], dtype=np.float32), np.cumsum(rng.choice([0.2, 1.0, 3.0], 12))
    told, own = [], _recursions.posterior

    def noted(alleles: np.ndarray, sites: np.ndarray, *more: object) -> np.ndarray:
        told.append(sites.tolist())
        return own(alleles, sites, *more)

    monkeypatch.setattr(_recursions, "posterior", noted)
    copying = Copying(whole(haplotypes), place, 0.08, Mosaic.Params(error=0.02), seed=1)
    found = copying._sum_over_pairs(given[observed], observed, haplotypes.T.astype(np.uint8, order="C"), start)
    assert told == [[site for site in observed if site not in alike] or [0]]
    np.testing.assert_allclose(
        found, by_matrices(haplotypes, given, observed, start, 0.92 ** np.diff(place), 0.02), atol=1e-5
    )


def test_a_genotype_is_sure_only_where_no_other_is_possible() -> None:
    """Likelihoods of 0, 0.5 and 1 in every order, two of which may add up to the largest."""
    given = np.array([*itertools.permutations([0, 0.5, 1]), [0.5, 1, 0.5], [0, 0, 0.5]], dtype=np.float32)
    haplotypes = (np.random.default_rng(1).random((4, 8)) < 0.5).astype(np.int8)
    start, sites = np.array([0.1, 0.2, 0.3, 0.4], dtype=np.float32), np.arange(8)
    copying = Copying(whole(haplotypes), np.arange(8.0), 0.1, Mosaic.Params(error=0.05), seed=1)
    found = copying._sum_over_pairs(given, sites, haplotypes.T.astype(np.uint8, order="C"), start)
    np.testing.assert_allclose(found, by_matrices(haplotypes, given, sites, start, np.full(7, 0.9), 0.05), atol=1e-5)
    assert found[7].tolist() == [0, 0, 1]


@pytest.mark.parametrize("n_haplotypes", [37, 120])
def test_numbers_are_the_same_wherever_arrays_lie_in_memory(n_haplotypes: int) -> None:
    """A hundred passes over one panel, between which memory of other sizes is taken and given back."""
    rng = np.random.default_rng(1)
    alleles = rng.integers(0, 256, (5, n_haplotypes)).astype(np.uint8)
    likelihoods, stays = rng.random((5, 8, 2)).astype(np.float32), np.full(4, 0.9, dtype=np.float32)
    blocks = np.array([0, 1, 1, 2, 3])
    first = _recursions.usage(alleles, blocks, likelihoods, stays)
    taken = []
    for _ in range(100):
        taken = [*taken[-20:], np.ones(rng.integers(1, 5000), dtype=np.uint8)]
        again = _recursions.usage(alleles.copy(), blocks.copy(), likelihoods.copy(), stays.copy())
        assert all((one == other).all() for one, other in zip(first, again, strict=True))


def test_draws_over_unequal_gaps_are_as_frequent_as_the_model_says() -> None:
    """Two sites and three haplotypes: each of the 81 pairs of paths, from a start that is not even."""
    haplotypes = np.array([[0, 0], [1, 0], [1, 1]], dtype=np.int8)
    start, switches = np.array([0.6, 0.3, 0.1], dtype=np.float32), np.array([0, 0.4], dtype=np.float32)
    given = np.array([[0.2, 1, 0.5], [1, 0.6, 0.3]], dtype=np.float32)
    alleles, chances = haplotypes.T.astype(np.uint8, order="C"), np.random.default_rng(1).random((40_000, 2, 2))
    drawn = _drawing.draw_pairs(alleles, np.arange(2), given, np.float32(0.1), switches, start, chances)
    shares = np.bincount((drawn[:, :, 0] * 3 + drawn[:, :, 1]) @ [9, 1], minlength=81) / len(drawn)
    expected = np.zeros(81)
    paths = path_chances(start, 0.4, 2)
    for number, (one, other) in enumerate(itertools.product(paths, paths)):
        like = of_genotypes(*(haplotypes[list(path), [0, 1]] for path in (one, other)), 0.1)
        expected[number] = paths[one] * paths[other] * (like * given).sum(axis=1).prod()
    np.testing.assert_allclose(shares, expected / expected.sum(), atol=0.004)


def test_a_random_number_of_one_takes_the_last_pair() -> None:
    """A sum rounded down may be no larger than the number that is looked up in it."""
    forward, switches = np.full((3, 3), 0.1, dtype=np.float32), np.array([0, 0.5], dtype=np.float32)
    start, drawn = np.full(3, 1 / 3, dtype=np.float32), np.zeros((1, 2, 2), dtype=np.int64)
    for site in (1, 0):
        _drawing.draw_site(site, forward, forward.sum(axis=1), switches, start, np.ones((1, 2, 2)), drawn)
    assert drawn.tolist() == [[[2, 2], [2, 2]]]


def test_one_copy_of_a_call_leaves_the_other_allele_to_the_frequencies() -> None:
    """Alternate allele in two of three haplotypes, one observed call: Bayes' rule by hand."""
    panel, sites = whole(np.array([[0], [1], [1]])), np.array([0])
    copying, blocks = (
        Copying(panel, np.zeros(1), 0.1, Mosaic.Params(error=0.1), 1),
        Blocks.of(panel, sites, np.zeros(1)),
    )
    for call, of_0, of_1 in ((0, 0.9 / 3, 0.1 / 3), (1, 0.9 * 2 / 3 + 0.1 / 3, 0.1 * 2 / 3 + 0.9 / 3), (2, 0.1, 0.9)):
        expected = np.array([of_0, of_1, of_1]) / (of_0 + 2 * of_1)
        found = copying._copied_share(LIKELIHOODS[[call]], sites, blocks)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    likelihoods = np.array([[1, 0.5, 0]], dtype=np.float32)
    of_0, of_1 = 0.9 / 3 + 0.5 * (0.9 * 2 / 3 + 0.1 / 3), 0.1 / 3 + 0.5 * (0.1 * 2 / 3 + 0.9 / 3)
    found = copying._copied_share(likelihoods, sites, blocks)
    np.testing.assert_allclose(found, np.array([of_0, of_1, of_1]) / (of_0 + 2 * of_1), atol=1e-6)


def test_a_drawn_haplotype_is_resembled_by_the_mean_and_the_largest_share_of_blocks() -> None:
    """Two haplotypes, two blocks that are far apart: the first is like both in one block, like the other in the second."""
    alleles = np.zeros((2, 16), dtype=np.int8)
    alleles[1, 8] = 1
    copying = Copying(whole(alleles), np.arange(16.0) * 1000, 0.4, Mosaic.Params(error=0.1), seed=1)
    blocks = Blocks.of(copying.haplotypes, np.array([0, 8]), copying.place)
    found = copying._resemblance(np.array([0, 1], dtype=np.int8), blocks)
    np.testing.assert_allclose(found, [(0.5 + 0.1) / 2 + 0.5, (0.5 + 0.9) / 2 + 0.9], atol=1e-5)


def test_the_best_of_each_ranking_are_taken_in_turn_and_once() -> None:
    copying = Copying(whole(np.zeros((4, 1), dtype=np.int8)), np.zeros(1), 0.1, Mosaic.Params(states=3), seed=1)
    assert copying._best_in_turn(np.array([[4, 1, 3, 2], [4, 2, 1, 3]])).tolist() == [0, 2, 3]
    assert copying._best_in_turn(np.array([[1, 2, 3, 4], [2, 1, 3, 4], [4, 3, 2, 1]])).tolist() == [3, 0, 2]


def test_the_highest_come_first_and_of_equal_ones_the_first() -> None:
    assert _highest(np.array([1, 3, 3, 2, 3]), 2).tolist() == [1, 2]
    assert _highest(np.array([1, 3, 3, 2, 3]), 4).tolist() == [1, 2, 4, 3]
    assert _highest(np.array([2, 2, 3]), 2).tolist() == [2, 0]
    assert _highest(np.array([2, 3, 2]), 3).tolist() == _highest(np.array([2, 3, 2]), 9).tolist() == [1, 0, 2]


def test_draws_that_a_sure_call_contradicts_are_replaced_by_the_call() -> None:
    """No haplotype has the alternate allele; a heterozygote then has it on either, and a call that is missing is as copied."""
    copying = Copying(whole(np.zeros((3, 6), dtype=np.int8)), np.arange(6.0), 0.1, Mosaic.Params(draws=60), seed=1)
    drawn = copying.pairs(np.array([0, 1, 2, 1, 2, -1], dtype=np.int8))
    assert drawn.shape == (60, 2, 6) and drawn.dtype == np.int8
    assert (drawn.sum(axis=1) == [0, 1, 2, 1, 2, 0]).all()
    assert (drawn[:, :, [0, 2, 4, 5]] == [0, 1, 1, 0]).all()
    assert all(0.25 < drawn[:, 0, site].mean() < 0.75 for site in (1, 3))
    assert (drawn[:, 0, 1] != drawn[:, 0, 3]).any()
    unsure = np.repeat(np.array([[0.1, 0.2, 0]], dtype=np.float32), 6, axis=0)
    assert not copying._draw_pairs(unsure, np.arange(6), np.arange(3), key=1, draws=4).any()


def test_a_heterozygote_is_phased_like_the_haplotypes_that_it_is_made_of() -> None:
    """Half of the panel is 0 at all sites, half 1: imputed heterozygotes, between observed ones or alone, are on one haplotype."""
    copying = Copying(whole(np.repeat([[0] * 8, [1] * 8], 5, axis=0)), np.arange(8.0), 0.01, Mosaic.Params(), seed=1)
    calls = np.array([1, -1, 1, -1, -1, 1, -1, -1], dtype=np.int8)
    imputed = np.array([1, 1, 1, 0, 2, 1, 1, 1], dtype=np.int8)
    found = copying.phased(calls, None, imputed, 5)
    assert found.dtype == np.int8 and (found.sum(axis=0) == imputed).all()
    assert len(set(found[0, imputed == 1].tolist())) == 1
    nothing = copying.phased(np.full(8, -1, dtype=np.int8), None, imputed, 5)
    assert (nothing.sum(axis=0) == imputed).all()
    sure = copying.phased(calls, None, np.array([0, 0, 0, 0, 2, 2, 2, 2], dtype=np.int8), 5)
    assert sure.tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]] * 2


def test_haplotypes_are_kept_by_bits_and_contigs_share_no_byte() -> None:
    alleles = (np.random.default_rng(1).random((5, 18)) < 0.4).astype(np.int8)
    kept = Haplotypes.of(alleles, [slice(0, 13), slice(13, 18)])
    assert kept.bits.shape == (3, 5) and kept.n_haplotypes == 5
    np.testing.assert_array_equal(kept.alleles(np.array([3, 0])), alleles[[3, 0]].T)
    for begin, end in ((0, 13), (9, 12), (13, 18), (15, 16)):
        part = kept.between(begin, end)
        np.testing.assert_array_equal(part.alleles(np.arange(5)), alleles[:, begin:end].T)
        np.testing.assert_array_equal(part.alleles(np.array([4]), np.array([end - begin - 1])), alleles[4:, [end - 1]])
        np.testing.assert_allclose(part.frequencies, alleles[:, begin:end].mean(axis=0))


def test_a_pass_over_the_panel_sums_over_all_paths_of_one_copy() -> None:
    """Three observed sites in bytes of their own, which are blocks of their own: all 27 paths, weighed one by one."""
    alleles = (np.random.default_rng(2).random((3, 24)) < 0.5).astype(np.int8)
    observed, switch = np.array([0, 9, 17]), 0.05
    likelihood = np.array([[0.9, 0.2], [0.3, 0.8], [0.6, 0.1]], dtype=np.float32)
    copying = Copying(whole(alleles), np.arange(24.0), switch, Mosaic.Params(), seed=1)
    chance = np.zeros((3, 3))  # of each haplotype at each observed site
    for path in itertools.product(range(3), repeat=3):
        p = 1 / 3
        for j, (haplotype, site) in enumerate(zip(path, observed, strict=True)):
            p *= likelihood[j, alleles[haplotype, site]]
            if j:
                stays = (1 - switch) ** (site - observed[j - 1])
                p *= stays * (haplotype == path[j - 1]) + (1 - stays) / 3
        chance[path, range(3)] += p
    chance /= chance.sum(axis=0)
    mean, largest = copying._usage(likelihood, Blocks.of(copying.haplotypes, observed, copying.place))
    np.testing.assert_allclose(mean, chance.mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(largest, chance.max(axis=1), atol=1e-6)


def test_blocks_of_a_pass_hold_eight_observed_sites_where_many_are_observed() -> None:
    """A haplotype that differs at one site of a block is copied nowhere in it, however many sites fit beside that one."""
    alleles = np.zeros((2, 1024), dtype=np.int8)
    alleles[1, 100] = 1
    copying = Copying(whole(alleles), np.arange(1024.0), 0.4, Mosaic.Params(), seed=1)
    likelihood = np.repeat(np.array([[0.999, 0.001]], dtype=np.float32), 1024, axis=0)
    mean, largest = copying._usage(likelihood, Blocks.of(copying.haplotypes, np.arange(1024), copying.place))
    blocks = 1024 / 8
    assert mean[1] == pytest.approx((0.5 * (blocks - 1) + 0.001) / blocks, abs=1e-3) and largest[1] < 0.51
    assert mean.sum() == pytest.approx(1, abs=1e-5)


def test_drawn_haplotypes_add_up_to_the_calls_and_are_as_frequent_as_the_model_says() -> None:
    haplotypes = np.array([[0, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 1]], dtype=np.int8)
    calls = np.array([1, 1, 1, 1], dtype=np.int8)
    copying = Copying(whole(haplotypes), np.arange(4.0), 0.3, Mosaic.Params(error=1e-4, draws=4000), seed=1)
    drawn = copying._draw_pairs(LIKELIHOODS[calls], np.arange(4), np.arange(3), key=0).reshape(4000, 2, 4)
    assert (drawn.sum(axis=1) == calls).all()
    shares = np.bincount(drawn[:, 0] @ [8, 4, 2, 1], minlength=16) / len(drawn)
    expected = np.zeros(16)
    for first, second, p in pairs_of_paths(haplotypes, calls, np.full(3, 1 / 3), 0.3, 1e-4):
        if (first + second == calls).all():
            expected[first @ [8, 4, 2, 1]] += p
    np.testing.assert_allclose(shares, expected / expected.sum(), atol=0.03)


def test_it_beats_the_regression_and_needs_no_program_where_the_panel_is_phased(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Beagle, "_run", None)
    whole = phased(160, 60)
    panel, test = whole.take_samples(np.arange(100)), whole.take_samples(np.arange(100, 160))
    mosaic, regression = Mosaic(Mosaic.Params(states=60)).fit(panel), SoftmaxRegression().fit(panel)
    for share in (2, 5):
        hidden = np.arange(60) % share > 0
        scores = [
            f1_macro(test.calls[:, hidden], model.posterior(test.hide(hidden))[:, hidden].argmax(axis=2))
            for model in (mosaic, regression)
        ]
        assert scores[0] > scores[1] + 0.02, (share, scores)


def test_a_panel_that_is_not_phased_can_phase_itself_without_any_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine of ten neighbouring heterozygous sites come out in the right phase; the calls stay; imputing loses little."""
    monkeypatch.setattr(Beagle, "_run", None)
    truth = phased(150, 40)
    panel, test = truth.take_samples(np.arange(120)), truth.take_samples(np.arange(120, 150))
    holes = panel.hide(np.random.default_rng(5).random(panel.calls.shape) < 0.01)
    unphased = replace(holes, haplotypes=None)
    params = Mosaic.Params(states=40, first_states=30, switch=0.03, phased_by="itself", rounds=6)
    model = Mosaic(params).fit(unphased)
    found = alleles_of(model).reshape(120, 2, 40)
    seen = unphased.calls >= 0
    np.testing.assert_array_equal(found.sum(axis=1)[seen], unphased.calls[seen])
    assert (found.sum(axis=1) == panel.calls)[~seen].mean() > 0.8
    right, in_all = 0, 0
    for known, pair in zip(panel.haplotypes, found, strict=True):
        mixed = np.flatnonzero((known.sum(axis=1) == 1) & (pair.sum(axis=0) == 1))
        right += (np.diff(known[mixed, 0]) % 2 == np.diff(pair[0, mixed]) % 2).sum()
        in_all += len(mixed) - 1
    assert right / in_all > 0.9, right / in_all
    again = Mosaic(params).fit(unphased)
    np.testing.assert_array_equal(again._haplotypes.bits, model._haplotypes.bits)
    hidden = np.arange(40) % 2 == 0
    scores = [
        f1_macro(test.calls[:, hidden], m.posterior(test.hide(hidden))[:, hidden].argmax(axis=2))
        for m in (model, Mosaic(params).fit(panel))
    ]
    assert scores[0] > scores[1] - 0.06, scores


def test_a_panel_of_one_or_two_can_phase_itself() -> None:
    for n_samples in (1, 2):
        panel = small_panel(60).take_samples(slice(0, n_samples))
        model = Mosaic(Mosaic.parse_params(QUICK | {"phased_by": "itself", "rounds": 5})).fit(panel)
        seen = panel.calls >= 0
        np.testing.assert_array_equal(alleles_of(model).reshape(n_samples, 2, -1).sum(axis=1)[seen], panel.calls[seen])


def test_votes_are_for_the_phase_of_neighbours() -> None:
    """Two of three draws agree at each step, though no two agree everywhere; haplotypes may be swapped as a whole."""
    pairs = np.array(
        [
            [[0, 1, 0, 1, 0], [1, 0, 1, 1, 0]],
            [[1, 0, 1, 1, 0], [0, 1, 0, 1, 1]],
            [[0, 0, 1, 1, 0], [1, 1, 0, 1, 0]],
        ],
        dtype=np.int8,
    )
    np.testing.assert_array_equal(voted(pairs), [[0, 1, 0, 1, 0], [1, 0, 1, 1, 0]])


def test_votes_keep_homozygotes_and_round_what_is_not_known() -> None:
    """Genotypes 2, 1, 2 and 0, of which the third is 2 in two of three draws, and the fourth 0 in two."""
    pairs = np.array(
        [[[1, 0, 1, 0], [1, 1, 1, 0]], [[1, 0, 1, 0], [1, 1, 1, 0]], [[1, 0, 1, 1], [1, 1, 0, 0]]], dtype=np.int8
    )
    assert voted(pairs).tolist() == [[1, 0, 1, 0], [1, 1, 1, 0]]
    assert voted(pairs[:, :, [0, 2]]).tolist() == [[1, 1], [1, 1]]


def test_two_draws_that_disagree_leave_neighbours_on_one_haplotype() -> None:
    pairs = np.array([[[0, 0], [1, 1]], [[0, 1], [1, 0]]], dtype=np.int8)
    assert voted(pairs).tolist() == [[0, 0], [1, 1]]


def test_contigs_are_imputed_as_each_by_itself() -> None:
    panel = phased(40, 30)
    calls = phased(50, 30).take_samples(np.arange(40, 50))
    sites = panel.sites.assign(contig=["1"] * 14 + ["2"] * 16)
    both = replace(panel, sites=sites)
    target = replace(calls, sites=sites, haplotypes=None).hide(np.arange(30) % 3 == 0)
    whole = Mosaic(Mosaic.parse_params(QUICK)).fit(both).posterior(target)
    for part in (slice(0, 14), slice(14, 30)):
        alone = Mosaic(Mosaic.parse_params(QUICK)).fit(both.take_sites(part)).posterior(target.take_sites(part))
        np.testing.assert_allclose(whole[:, part], alone, atol=1e-6)


def test_stretches_cover_every_site_hold_as_many_calls_and_change_little() -> None:
    panel = phased(60, 90)
    hidden = np.arange(90) % 2 == 0
    test = replace(phased(80, 90).take_samples(np.arange(60, 80)), haplotypes=None)
    whole = Mosaic(Mosaic.parse_params(QUICK)).fit(panel)
    cut = Mosaic(Mosaic.parse_params(QUICK | {"window": 20, "dense_window": 20, "overlap": 4})).fit(panel)
    stretches = list(cut._stretches(~hidden))
    assert [site for stretch in stretches for site in range(stretch.first, stretch.last)] == list(range(90))
    assert [int((~hidden[s.first : s.last]).sum()) for s in stretches] == [22, 23]
    assert [int((~hidden[s.begin : s.end]).sum()) for s in stretches] == [27, 28]
    scores = [
        f1_macro(test.calls[:, hidden], model.posterior(test.hide(hidden))[:, hidden].argmax(axis=2))
        for model in (whole, cut)
    ]
    assert abs(scores[0] - scores[1]) < 0.03, scores


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        (100, 4),  # 40 kb: as few as 100 calls at most allow
        (5_000, 4),  # 2 Mb: two of 1 Mb would have 200 calls
        (20_000, 8),  # 8 Mb: one for each
        (100_000, 10),  # 40 Mb: 40 calls at most
    ],
)
def test_stretches_hold_more_calls_where_sites_are_dense(gap: int, expected: int) -> None:
    panel = phased(30, 400)
    panel = replace(panel, sites=panel.sites.assign(pos=np.arange(1, 401) * gap))
    model = Mosaic(Mosaic.parse_params(QUICK | {"window": 40, "dense_window": 100, "overlap": 10})).fit(panel)
    stretches = list(model._stretches(np.ones(400, dtype=bool)))
    assert len(stretches) == expected
    reach = stretches[0].end - stretches[0].last
    assert reach == pytest.approx(10 * (400 / 40) / expected, abs=1)  # a quarter of a stretch, as it is of `window`


def far_apart(n_sites: int, contigs: list[str], **params: int) -> Mosaic:
    """A model of sites that are far apart, which `window` alone cuts into stretches."""
    panel = phased(30, n_sites)
    panel = replace(panel, sites=panel.sites.assign(contig=contigs, pos=np.arange(1, n_sites + 1) * 1_000_000))
    return Mosaic(Mosaic.parse_params(QUICK | params)).fit(panel)


def test_stretches_reach_into_their_neighbours_by_observed_calls_and_not_over_contigs() -> None:
    model = far_apart(60, ["1"] * 40 + ["2"] * 20, window=20, dense_window=20, overlap=4)
    expected = [(0, 24, 0, 20), (16, 40, 20, 40), (40, 60, 40, 60)]
    assert [astuple(s) for s in model._stretches(np.ones(60, dtype=bool))] == expected
    sparse = np.arange(60) % 2 == 0  # 20 observed calls on contig 1: one stretch
    assert [astuple(s) for s in model._stretches(sparse)] == [(0, 40, 0, 40), (40, 60, 40, 60)]
    model = far_apart(100, ["1"] * 100, window=25, dense_window=25, overlap=4)
    sparse = np.arange(100) % 2 == 0
    # the first stretch ends behind its 25th call, at 48; four more are up to 56, and four before it from 42 on
    assert [astuple(s) for s in model._stretches(sparse)] == [(0, 57, 0, 49), (42, 100, 49, 100)]


def test_a_stretch_holds_less_than_half_as_many_calls_more_than_asked_for() -> None:
    model = far_apart(30, ["1"] * 30, window=20, dense_window=20, overlap=0)
    for n_seen, expected in ((29, [(0, 30)]), (30, [(0, 15), (15, 30)])):
        seen = np.arange(30) >= 30 - n_seen
        assert [(s.first, s.last) for s in model._stretches(seen)] == expected


def test_stretches_that_do_not_overlap_hold_every_site() -> None:
    """Though no call is observed before or behind a border, or at the end."""
    model = far_apart(100, ["1"] * 100, window=25, dense_window=25, overlap=0)
    sparse = np.arange(100) % 2 == 0
    assert [astuple(s) for s in model._stretches(sparse)] == [(0, 49, 0, 49), (49, 100, 49, 100)]
    target = phased(31, 100).take_samples([30]).hide(~sparse)
    target = replace(target, sites=model.sites, haplotypes=None)
    posterior = model.posterior(target)
    assert posterior.shape == (1, 100, 3) and model.haplotypes(target, posterior.argmax(axis=2)).shape == (1, 2, 100)


def test_samples_that_lack_other_sites_of_one_stretch_are_imputed_as_if_alone() -> None:
    """What is kept of the sites last observed is not that of the sample before."""
    panel = phased(40, 60)
    model = Mosaic(Mosaic.Params(**QUICK), seed=1, threads=1).fit(panel.take_samples(np.arange(36)))
    target = replace(panel.take_samples(np.arange(36, 40)), haplotypes=None)
    calls = np.where((np.arange(60) + np.array([[0], [0], [1], [0]])) % 3 == 0, target.calls, -1).astype(np.int8)
    target = replace(target, calls=calls)
    alone = np.concatenate([model.posterior(target.take_samples([row])) for row in range(4)])
    np.testing.assert_array_equal(model.posterior(target), alone)


def joined_phase(
    model: Mosaic, monkeypatch: pytest.MonkeyPatch, found: list[np.ndarray], **given: object
) -> np.ndarray:
    """What a model makes of one sample's phase where its stretches are phased so: first alleles, or -1 for homozygotes."""
    stretches = iter(found)

    def phased(self: Copying, calls: np.ndarray, likelihoods: object, imputed: np.ndarray, draws: int) -> np.ndarray:
        first = next(stretches)
        assert len(first) == len(imputed) == len(calls) == len(self.place)
        return np.stack([np.where(imputed == 1, first, imputed == 2), np.where(imputed == 1, 1 - first, imputed == 2)])

    monkeypatch.setattr(Copying, "phased", phased)
    n_sites = len(model.sites)
    imputed = np.ones(n_sites, dtype=np.int8) if "imputed" not in given else given["imputed"]
    calls, seen = np.ones(n_sites, dtype=np.int8), np.ones(n_sites, dtype=bool)
    out = model._haplotypes_of_sample(calls, seen, None, model._copyings(), imputed)
    assert (out.sum(axis=0) == imputed).all()
    return np.where(imputed == 1, out[0], -1)


def test_which_haplotype_is_first_goes_on_from_stretch_to_stretch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three stretches, each with either of its haplotypes first: the first one's choice holds for all."""
    model = far_apart(60, ["1"] * 60, window=20, dense_window=20, overlap=4)
    stretches = [Stretch(0, 24, 0, 20), Stretch(16, 44, 20, 40), Stretch(36, 60, 40, 60)]
    truth = (np.random.default_rng(1).random(60) < 0.5).astype(np.int8)
    for turns in itertools.product((False, True), repeat=3):
        parts = [truth[s.begin : s.end] for s in stretches]
        found = [1 - part if turned else part for part, turned in zip(parts, turns, strict=True)]
        expected = 1 - truth if turns[0] else truth
        assert joined_phase(model, monkeypatch, found).tolist() == expected.tolist(), turns


def test_of_what_two_stretches_share_each_says_its_own_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """They share the sites from 16 to 23, and the border is 20; half of the heterozygotes there turn nothing."""
    model = far_apart(60, ["1"] * 60, window=20, dense_window=20, overlap=4)
    for differ, turned in (([], False), ([17, 22], False), ([16, 17, 21, 22], False), ([16, 17, 18, 21, 22], True)):
        second = np.zeros(28, dtype=np.int8)
        second[np.array(differ, dtype=int) - 16] = 1
        found = joined_phase(
            model, monkeypatch, [np.zeros(24, dtype=np.int8), second, np.full(24, int(turned), dtype=np.int8)]
        )
        expected = np.zeros(60, dtype=int)
        expected[20:44] = (1 - second if turned else second)[4:]
        assert found[:40].tolist() == expected[:40].tolist(), differ
    imputed = np.ones(60, dtype=np.int8)
    imputed[16:24] = [0, 2, 0, 2, 0, 2, 0, 2]  # nothing that they share says which is first
    parts = [np.zeros(24, dtype=np.int8), np.ones(28, dtype=np.int8), np.ones(24, dtype=np.int8)]
    found = joined_phase(model, monkeypatch, parts, imputed=imputed)
    assert found.tolist() == [0] * 16 + [-1] * 8 + [1] * 36


def test_contigs_choose_their_first_haplotype_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    model = far_apart(60, ["1"] * 30 + ["2"] * 30, window=40, dense_window=40, overlap=4)
    parts = [np.zeros(30, dtype=np.int8), np.ones(30, dtype=np.int8)]
    assert joined_phase(model, monkeypatch, parts).tolist() == [0] * 30 + [1] * 30


def test_a_sparse_array_is_one_stretch_however_many_sites_lie_between() -> None:
    """Forty observed calls among 400 sites: the sites between them do not cut the sample into pieces."""
    model = Mosaic(Mosaic.parse_params(QUICK | {"window": 40})).fit(phased(30, 400))
    assert [(s.begin, s.end) for s in model._stretches(np.arange(400) % 10 == 0)] == [(0, 400)]
    assert [astuple(s) for s in model._stretches(np.zeros(400, dtype=bool))] == [(0, 400, 0, 400)]


def test_places_go_by_number_and_by_position_half_each() -> None:
    sites = phased(30, 5).sites.assign(contig=["1", "1", "1", "2", "2"], pos=[100, 100, 500, 7, 7])
    np.testing.assert_allclose(places(sites), [0, 0.5, 2, 3, 4])


def test_a_genetic_map_takes_the_place_of_base_pairs_and_stays_with_the_model(tmp_path: Path) -> None:
    """All of the map's length lies behind the first ten sites, as in a hot spot."""
    panel = phased()
    pos = panel.sites["pos"].to_numpy()
    path = tmp_path / "genetic.map"
    path.write_text(f"1 . 0 {pos[0]}\n1 . 0 {pos[9]}\n1 . 2.5 {pos[10]}\n1 . 2.5 {pos[-1]}\n")
    place = places(panel.sites, GeneticMap.read(path))
    np.testing.assert_allclose(np.diff(place)[[0, 8, 10, -1]], 0.5)
    assert np.diff(place)[9] == pytest.approx(0.5 + 0.5 * (len(pos) - 1)) and place[-1] == pytest.approx(len(pos) - 1)
    target = phased(70).take_samples(slice(60, 70)).hide(np.arange(len(pos)) % 3 > 0)
    mapped = Mosaic(Mosaic.parse_params(QUICK | {"switch": 0.02, "map": str(path)})).fit(panel)
    plain = Mosaic(Mosaic.parse_params(QUICK | {"switch": 0.02})).fit(panel)
    expected = mapped.posterior(target)
    assert np.abs(expected - plain.posterior(target)).max() > 0.05
    mapped.save(tmp_path / "model")
    path.unlink()
    np.testing.assert_array_equal(Mosaic.load(tmp_path / "model").posterior(target), expected)


def test_a_map_of_other_contigs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.map").write_text("2 . 0 1\n2 . 1 100000\n")
    with pytest.raises(InputError, match="the genetic map has no contig '1'"):
        Mosaic(Mosaic.parse_params(QUICK | {"map": str(tmp_path / "other.map")})).fit(small_panel())


def test_switches_are_rarer_where_sites_stand_closer() -> None:
    """A founder's haplotype goes on to the near one of two equally numbered hidden sites, at a gap of positions."""
    haplotypes = np.array([[0, 0, 0, 0], [1, 1, 1, 1]], dtype=np.int8)
    params = Mosaic.Params(error=0.001)
    near = Copying(whole(haplotypes), np.array([0.0, 0.1, 2.9, 3.0]), 0.1, params, seed=1)
    found = summed(near, [0, -1, -1, -1], haplotypes, [0.5, 0.5])
    assert found[1, 0] > 0.98 > 0.9 > found[2, 0] > found[3, 0]


def test_a_contig_without_calls_gets_the_frequencies() -> None:
    sites = phased().sites.assign(contig=["1"] * 20 + ["2"] * 20)
    panel = replace(phased(), sites=sites)
    hidden = np.arange(40) >= 20
    posterior = Mosaic(Mosaic.parse_params(QUICK)).fit(panel).posterior(panel.take_samples(slice(0, 3)).hide(hidden))
    np.testing.assert_allclose(
        posterior[:, 20:], np.broadcast_to(panel.genotype_frequencies()[20:], (3, 20, 3)), atol=1e-6
    )


def test_fit_chooses_what_predicts_best_and_says_it() -> None:
    """Haplotypes that switch at every fourth site or so ask for more switches than those that never do."""
    panel = phased(60)
    still = replace(panel, haplotypes=np.repeat(panel.haplotypes[:6], 10, axis=0))
    still = replace(still, calls=still.haplotypes.sum(axis=2, dtype=np.int8))
    chosen = [Mosaic(Mosaic.Params(states=30)).fit(matrix) for matrix in (panel, still)]
    assert all(model.switch in SWITCHES for model in chosen)
    assert chosen[0].switch > chosen[1].switch
    refit = chosen[0].refit_params()
    assert refit.switch == chosen[0].switch
    assert Mosaic(refit).fit(panel).switch == chosen[0].switch


@pytest.mark.parametrize("families", [["a"] * 60, ["a", "b", "c", "d"] * 15, [""] * 60])
def test_fit_chooses_whatever_families_there_are(families: list[str]) -> None:
    panel = phased(60, 20)
    panel = replace(panel, samples=panel.samples.assign(family=families))
    assert Mosaic(Mosaic.Params(states=10)).fit(panel).switch in SWITCHES


def test_the_switch_is_chosen_where_targets_lack_calls_if_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search goes from the usual switch downhill on both sides, and ends where the loss rises; then through the errors."""
    panel, asked = phased(60, 90), []

    def noted(model: Mosaic, matrix: GenotypeMatrix, hidden: np.ndarray) -> float:
        asked.append(((model.switch, model.error), hidden))
        return abs(np.log(model.switch / 0.0011))

    monkeypatch.setattr("snpimpute.imputers.mosaic.log_loss", noted)
    lacking = np.arange(90) % 4 > 0
    model = Mosaic(Mosaic.Params(states=10)).fit(panel, mask=TrainingMask("fixed", sites=lacking))
    assert (model.switch, model.error) == (0.001, 0.003)
    switches = [0.003, 0.002, 0.001, 0.0006, 0.006]
    assert [tried for tried, _ in asked] == [(s, 0.003) for s in switches] + [(0.001, e) for e in (0.01, 0.03, 0.06)]
    for _, hidden in asked:
        np.testing.assert_array_equal(hidden, lacking)
    asked.clear()
    Mosaic(Mosaic.Params(states=10)).fit(panel)
    assert sorted({int(100 * hidden.mean()) for _, hidden in asked}) == [60, 90]


@pytest.mark.parametrize(("given", "gain", "expected"), [
    ({}, 0.009, (0.002, 0.003)), ({}, 0.011, (0.006, 0.03)), ({"error": 0.01}, 0.5, (0.002, 0.01)),
    ({"switch": 0.02}, 0.5, (0.02, 0.003)), ({"switch": 0.02, "error": 0.2}, 0.5, (0.02, 0.2)),
])  # fmt: skip
def test_another_error_is_taken_if_it_lowers_the_loss_by_a_hundredth_and_the_switch_is_chosen_with_it(
    given: dict[str, float], gain: float, expected: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss is lowest at .002 with every error but .03, which is better by `gain` there, and best at .006."""

    def loss(model: Mosaic, matrix: GenotypeMatrix, hidden: np.ndarray) -> float:
        noisy = model.error == 0.03
        return 10 + abs(np.log(model.switch / (0.006 if noisy else 0.002))) - noisy * (10 * gain + np.log(3))

    monkeypatch.setattr("snpimpute.imputers.mosaic.log_loss", loss)
    model = Mosaic(Mosaic.Params(states=10, **given)).fit(phased(60, 20))
    assert (model.switch, model.error) == expected
    assert (model.refit_params().switch, model.refit_params().error) == expected


def test_wrong_calls_of_the_panel_ask_for_a_larger_error_which_imputes_better(tmp_path: Path) -> None:
    """Founders' haplotypes with one allele in twelve wrong: the log-loss is lower than with the usual error; the model keeps it."""
    panel = phased(90, 120)
    assert panel.haplotypes is not None
    wrong = np.random.default_rng(1).random(panel.haplotypes.shape) < 1 / 12
    noisy = replace(panel, haplotypes=panel.haplotypes ^ wrong)
    noisy = replace(noisy, calls=noisy.haplotypes.sum(axis=2, dtype=np.int8))
    train, test, hidden = noisy.take_samples(slice(0, 60)), noisy.take_samples(slice(60, 90)), np.arange(120) % 5 > 1
    model = Mosaic(Mosaic.Params(states=30)).fit(train)
    assert model.error >= 0.03
    usual = Mosaic(Mosaic.Params(states=30, switch=model.switch)).fit(train)
    losses = [log_loss(one, test, hidden) for one in (model, usual)]
    assert losses[0] < 0.97 * losses[1]
    model.save(tmp_path / "model")
    assert (Mosaic.load(tmp_path / "model").posterior(test.hide(hidden)) == model.posterior(test.hide(hidden))).all()


def test_a_model_that_was_saved_before_errors_were_chosen_has_the_usual_one(tmp_path: Path) -> None:
    model = Mosaic(Mosaic.Params(states=10, switch=0.01)).fit(phased(20, 20))
    model.save(tmp_path / "model")
    (tmp_path / "model" / "chosen.json").write_text('{"switch": 0.01}\n')
    write_checksums(tmp_path / "model")
    loaded = Mosaic.load(tmp_path / "model")
    assert (loaded.switch, loaded.error) == (0.01, 0.003)


def test_the_switch_is_chosen_on_few_samples_sites_and_states(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifth of the samples is set aside, and at most forty; of many sites those in the middle are used."""
    seen: list[tuple[Mosaic, GenotypeMatrix, np.ndarray]] = []

    def noted(model: Mosaic, matrix: GenotypeMatrix, hidden: np.ndarray) -> float:
        seen.append((model, matrix, hidden))
        return 0.0

    monkeypatch.setattr("snpimpute.imputers.mosaic.log_loss", noted)
    for n_samples, n_aside in ((30, 6), (240, 40)):
        panel = phased(n_samples, 530)
        panel = replace(panel, samples=panel.samples.assign(family=""))
        Mosaic(Mosaic.Params(states=140)).fit(panel)
        model, matrix, hidden = seen.pop()
        assert matrix.calls.shape == (n_aside, 500) and hidden.shape == (500,)
        assert matrix.sites["id"].tolist() == panel.sites["id"].tolist()[15:515]
        assert model._haplotypes.n_haplotypes == 2 * (n_samples - n_aside)
        assert (model.params.states, model.params.first_states) == (100, 60)
    seen.clear()
    assert Mosaic(Mosaic.Params()).fit(phased(19)).switch == USUAL_SWITCH and not seen
    Mosaic(Mosaic.Params()).fit(phased(20))
    assert seen


def test_families_are_set_aside_whole_where_they_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    own = split_samples

    def noted(samples: pd.DataFrame, n: int, by: str, seed: int) -> np.ndarray:
        asked.append(by)
        return own(samples, n, by, seed)

    monkeypatch.setattr("snpimpute.imputers.mosaic.split_samples", noted)
    monkeypatch.setattr("snpimpute.imputers.mosaic.log_loss", lambda *_: 0.0)
    panel = phased(40, 20)
    for families in (["a"] * 40, ["a", "b", "c", "d"] * 10, [""] * 40, ["", "a"] * 20):
        Mosaic(Mosaic.Params()).fit(replace(panel, samples=panel.samples.assign(family=families)))
    assert asked == ["random", "family", "random", "family"]


@pytest.mark.parametrize("lacking", [[], list(range(40))])
def test_levels_are_hidden_where_targets_lack_none_or_all_of_the_sites(
    lacking: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr("snpimpute.imputers.mosaic.log_loss", lambda *given: asked.append(given[2].mean()) or 0.0)
    sites = np.isin(np.arange(40), lacking)
    Mosaic(Mosaic.Params()).fit(phased(40), mask=TrainingMask("fixed", sites=sites))
    assert set(asked) == {0.6, 0.9}


def test_defaults_are_those_that_the_project_has_measured() -> None:
    """Another default is another model: the documentation's tables are then made anew."""
    assert Mosaic.Params().model_dump() == {
        "switch": None, "error": None, "map": None, "learn_rates": True, "phased_by": "beagle", "phasing": {}, "rounds": 9, "states": 150,
        "first_states": 60, "draws": 3, "uniform": 2.0, "window": 1000, "dense_window": 2000, "overlap": 100,
    }  # fmt: skip


def test_the_middle_of_a_panel_holds_so_many_of_the_sites_that_count() -> None:
    typed = np.arange(30) % 3 == 0
    assert middle(typed, 4) == slice(9, 19) and middle(typed, 10) == slice(0, 30)


def test_a_wrong_phasing_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="imputer beagle: parameter 'no_such'"):
        Mosaic(Mosaic.parse_params(QUICK | {"phasing": {"no_such": 1}})).fit(small_panel(30))


def test_without_beagle_the_line_says_how_to_do_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        InputError, match=r'^Java is missing: .*; without it mosaic phases the panel with phased_by = "itself"$'
    ):
        Mosaic(Mosaic.parse_params(QUICK)).fit(small_panel(30))


def test_log_loss_is_that_of_the_hidden_calls() -> None:
    panel = phased(30)
    model = Mosaic(Mosaic.parse_params(QUICK)).fit(panel)
    hidden = np.arange(40) % 4 == 1
    test = panel.take_samples(slice(0, 5))
    test.calls[0, 1] = -1
    posterior = model.posterior(test.hide(hidden))
    known = np.broadcast_to(hidden, test.calls.shape) & (test.calls >= 0)
    right = posterior[known][np.arange(known.sum()), test.calls[known]]
    assert log_loss(model, test, hidden) == pytest.approx(-np.log(np.maximum(right, 1e-6)).mean(), rel=1e-5)


@pytest.mark.panels
@pytest.mark.skipif("SNPIMPUTE_PANELS" not in os.environ, reason="SNPIMPUTE_PANELS is not set")
@pytest.mark.parametrize(("panel", "level", "least"), [("kg15-500", 60.0, 0.98), ("cattle-chr1", 90.0, 0.855)])
def test_scores_on_the_real_panels(panel: str, level: float, least: float) -> None:
    """Ahead of Beagle at its best setting in the panels' beagle.json (.951 and .821)."""
    folder = Path(os.environ["SNPIMPUTE_PANELS"]) / panel
    train, _ = read_matrix(folder / "train.vcf.gz")
    test, _ = read_matrix(folder / "test.vcf.gz")
    hidden = read_masked_sites(folder / "masked_sites.tsv", test.sites)[level]
    calls = Mosaic(seed=1, threads=1).fit(train).posterior(test.hide(hidden)).argmax(axis=2)
    assert f1_macro(test.calls[:, hidden], calls[:, hidden]) >= least
