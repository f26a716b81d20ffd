"""Rates of switching that are learned from the panel: against the sum over all paths, hot spots, pieces, contigs, and what they are worth."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from snpimpute.dataset.masks import site_masks
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.imputers import _rates
from snpimpute.imputers._rates import add_switches, learned_places
from snpimpute.imputers.mosaic import Mosaic, log_loss, places
from tests.imputers.test_mosaic import phased


def mosaics(n: int, switches: np.ndarray, seed: int = 1, founders: int = 8) -> np.ndarray:
    """Haplotypes, int8 (n, n_sites), each a mosaic of founders that switches before each site with these probabilities."""
    rng = np.random.default_rng(seed)
    of_founders = (rng.random((founders, len(switches))) < 0.4).astype(np.int8)
    copied = rng.integers(0, founders, n)
    out = np.empty((n, len(switches)), dtype=np.int8)
    for j, switch in enumerate(switches):
        copied = np.where(rng.random(n) < switch, rng.integers(0, founders, n), copied)
        out[:, j] = of_founders[copied, j]
    return out


def test_expected_switches_are_the_sum_over_all_paths() -> None:
    """Four haplotypes of two other samples, four sites: each of the 256 paths, with and without a switch in each gap."""
    rng = np.random.default_rng(3)
    alleles = (rng.random((4, 6)) < 0.5).astype(np.uint8)
    chances, error, copy = np.array([0.0, 0.1, 0.3, 0.05], dtype=np.float32), 0.08, 3
    others = [0, 1, 4, 5]  # 2 is of the same sample
    expected, whole = np.zeros(4), 0.0
    for path in itertools.product(range(4), repeat=4):
        for gaps in itertools.product((False, True), repeat=3):
            p = 0.25
            for j, at in enumerate(path):
                right = alleles[j, others[at]] == alleles[j, copy]
                p *= 1 - error if right else error
                if j and gaps[j - 1]:
                    p *= chances[j] / 4
                elif j:
                    p *= (1 - chances[j]) * (at == path[j - 1])
            whole += p
            expected[1:] += p * np.array(gaps)
    found = np.ones(4)
    add_switches(alleles, copy, chances, np.float32(error), found)
    np.testing.assert_allclose(found - 1, expected / whole, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("piece", [2000, 23])
def test_a_hot_spot_is_a_wide_gap(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sites that stand evenly; forty times as many switches in one gap of either contig."""
    monkeypatch.setattr(_rates, "PIECE", piece)
    switches = np.full(120, 0.01)
    switches[[30, 100]] = 0.4
    contigs = [slice(0, 70), slice(70, 120)]
    even = np.concatenate([np.arange(70.0), np.arange(50.0)])
    found = learned_places(mosaics(200, switches), contigs, even, 0.003, 0.003, 1, 2)
    gaps = np.concatenate([np.diff(found[part]) for part in contigs])
    assert (found[[0, 70]] == 0).all() and (gaps > 0).all() and gaps[:69].mean() == pytest.approx(1)
    wide = np.sort(np.argsort(gaps)[-2:])
    assert abs(wide - [29, 98]).max() <= 1  # the gaps before sites 30 and 100, or their neighbours
    assert gaps[wide].min() > 5 and np.median(gaps) < 1


def test_pieces_count_what_the_whole_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gap once, the same as without pieces where a piece looks far enough beyond its gaps, and about so where it does not."""
    alleles, sites = mosaics(200, np.full(90, 0.03)), [slice(0, 90)]
    whole = np.diff(learned_places(alleles, sites, np.arange(90.0), 0.003, 0.003, 1, 1))
    monkeypatch.setattr(_rates, "PIECE", 20)
    for margin, least in ((90, 1.0), (12, 0.95), (0, 0.0)):
        monkeypatch.setattr(_rates, "MARGIN", margin)
        cut = np.diff(learned_places(alleles, sites, np.arange(90.0), 0.003, 0.003, 1, 1))
        found = np.corrcoef(cut, whole)[0, 1]
        assert found > least - 1e-6 and (margin or found < 0.95), (margin, found)


def test_what_is_known_without_the_panel_counts_for_so_many_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    place, alleles = np.cumsum(np.random.default_rng(2).random(60)), mosaics(120, np.full(60, 0.02))
    found = []
    for prior in (0.1, 5.0, 1e5):
        monkeypatch.setattr(_rates, "PRIOR", prior)
        learned = learned_places(alleles, [slice(0, 60)], place, 0.003, 0.003, 1, 1)
        found.append(np.corrcoef(np.diff(learned), np.diff(place))[0, 1])
    assert found[0] < 0.5 and found == sorted(found) and found[2] > 0.999


def test_nothing_is_learned_of_one_sample_or_one_site() -> None:
    place = np.cumsum(np.random.default_rng(2).random(60))
    alone = learned_places(mosaics(2, np.full(60, 0.02)), [slice(0, 60)], place, 0.003, 0.003, 1, 1)
    np.testing.assert_array_equal(alone, place)
    one = learned_places(mosaics(8, np.full(1, 0.0)), [slice(0, 1)], np.zeros(1), 0.003, 0.003, 1, 1)
    assert one.tolist() == [0.0]


def test_threads_and_seeds_that_are_the_same_give_the_same() -> None:
    alleles = mosaics(120, np.full(80, 0.03))
    first, second = (learned_places(alleles, [slice(0, 80)], np.arange(80.0), 0.003, 0.003, 4, n) for n in (1, 3))
    np.testing.assert_array_equal(first, second)


def test_fit_learns_them_unless_told_not_to() -> None:
    panel = phased(60)
    told_not, learned = (
        Mosaic(Mosaic.parse_params({"switch": 0.01, "learn_rates": learn}), seed=1).fit(panel)
        for learn in (False, True)
    )
    np.testing.assert_array_equal(told_not._place, places(panel.sites))
    assert not np.allclose(learned._place, told_not._place) and learned._place[0] == 0
    few = Mosaic(Mosaic.parse_params({"switch": 0.01}), seed=1).fit(panel.take_samples(slice(0, 19)))
    np.testing.assert_array_equal(few._place, told_not._place)


def test_where_switches_are_uneven_what_is_learned_predicts_better() -> None:
    """Hot spots that neither the number of sites nor base pairs tell: log-loss at hidden calls of other samples."""
    switches = np.full(150, 0.004)
    switches[10::20] = 0.3
    alleles = mosaics(2 * 140, switches, seed=5, founders=12)
    like = phased(140, n_sites=150)
    haplotypes = alleles.reshape(140, 2, 150).transpose(0, 2, 1)
    whole = GenotypeMatrix(haplotypes.sum(axis=2, dtype=np.int8), like.samples, like.sites, haplotypes)
    panel, others = whole.take_samples(slice(0, 100)), whole.take_samples(slice(100, 140))
    losses = []
    for learn in (False, True):
        fitted = Mosaic(Mosaic.parse_params({"learn_rates": learn, "states": 60}), seed=1).fit(panel)
        masks = site_masks(150, (60.0, 80.0), 2, "independent", 1).values()
        losses.append(np.mean([log_loss(fitted, others, hidden) for hidden in masks]))
    assert losses[1] < 0.95 * losses[0]
