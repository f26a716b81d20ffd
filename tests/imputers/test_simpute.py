"""Simpute: contract, the formulas against their slow reading, runs, borders, and sites or windows that say nothing."""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from snpimpute.dataset.masks import call_masks
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.imputers import simpute
from snpimpute.imputers.contract import impute
from snpimpute.imputers.simpute import Simpute, haplotype_proportions, linkage
from snpimpute.imputers.testing import ImputerContract, small_panel
from snpimpute.io.matrix import read_matrix

PAIRS = ((0, 1), (1, 2), (0, 2))


class TestSimpute(ImputerContract):
    imputer = Simpute


class TestSimputeWithPanel(ImputerContract):
    imputer = Simpute
    params = {"use_panel": True, "weights": "factor"}


def matrix(calls: Any, contigs: list[str] | None = None) -> GenotypeMatrix:
    calls = np.array(calls, dtype=np.int8)
    n = calls.shape[1]
    sites = pd.DataFrame({"contig": contigs or ["1"] * n, "pos": np.arange(n) + 1, "id": "", "ref": "A", "alt": "C"})
    return GenotypeMatrix(calls, pd.DataFrame({"sample": [f"s{i}" for i in range(len(calls))]}), sites)


def alone(target: GenotypeMatrix, **params: Any) -> np.ndarray:
    """The posterior without any panel."""
    return Simpute(Simpute.parse_params(params)).fit(target.take_samples([])).posterior(target)


def linked(n_samples: int, n_sites: int, contigs: list[str] | None = None, seed: int = 1) -> GenotypeMatrix:
    """All sites of a contig tell the same: each sample has one genotype throughout it."""
    names = np.array(contigs or ["1"] * n_sites)
    rng = np.random.default_rng(seed)
    calls = np.zeros((n_samples, n_sites), dtype=np.int8)
    for name in dict.fromkeys(names):
        calls[:, names == name] = rng.permutation(np.arange(n_samples) % 3)[:, None]
    return matrix(calls, contigs)


def slow_proportions(n: np.ndarray) -> dict[tuple[int, int], float]:
    alpha = 0.5
    for _ in range(10):
        p = {}
        for a, b in product((0, 1), repeat=2):
            sure = 2 * n[2 * a, 2 * b] + n[2 * a, 1] + n[1, 2 * b]
            p[a, b] = (sure + (alpha if a == b else 1 - alpha) * n[1, 1]) / (2 * n.sum())
        alpha = p[0, 0] * p[1, 1] / (p[0, 0] * p[1, 1] + p[0, 1] * p[1, 0])
    return p


def slow_scores(complete: np.ndarray, left: int, right: int, weights: str) -> list[float]:
    """The score of each genotype between two calls, one haplotype pair after the other."""
    n, p, r2 = {}, {}, {}
    for x, y in PAIRS:
        n[x, y] = np.zeros((3, 3))
        np.add.at(n[x, y], (complete[:, x], complete[:, y]), 1)
        p[x, y] = slow_proportions(n[x, y])
        first, second = p[x, y][1, 0] + p[x, y][1, 1], p[x, y][0, 1] + p[x, y][1, 1]
        r2[x, y] = (p[x, y][1, 1] - first * second) ** 2 / (first * (1 - first) * second * (1 - second))
    best = [0.0, 0.0, 0.0]
    for one, two in product(product((0, 1), repeat=3), repeat=2):
        g = np.add(one, two)
        if (g[0], g[2]) != (left, right):
            continue
        score = 1.0
        for h, (x, y) in product((one, two), PAIRS):
            score *= p[x, y][h[x], h[y]] * r2[x, y] if weights == "factor" else p[x, y][h[x], h[y]] ** r2[x, y]
        weight = [r2[x, y] * max(n[x, y][g[x], g[y]] / len(complete), simpute.FLOOR) for x, y in PAIRS]
        best[g[1]] = max(best[g[1]], score * (sum(weight) if weights == "factor" else float(np.prod(weight))))
    return best


@pytest.mark.parametrize("weights", ["factor", "exponent"])
def test_scores_are_those_of_the_slow_reading(weights: str) -> None:
    complete = small_panel(80, 3, seed=4, missing=0.0).calls
    every = np.array(list(product(range(3), repeat=2)))
    asked = np.column_stack([every[:, 0], np.full(9, -1), every[:, 1]])
    posterior = alone(matrix(np.concatenate([complete, asked])), weights=weights)[-9:, 1]
    for (left, right), found in zip(every, posterior, strict=True):
        scores = np.array(slow_scores(complete, left, right, weights))
        np.testing.assert_allclose(found, scores / scores.sum(), atol=1e-5)


def test_em_stops_after_ten_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = np.array([[3, 6, 2], [6, 60, 6], [2, 6, 2]])
    expected = slow_proportions(counts)
    np.testing.assert_allclose(haplotype_proportions(counts), [[expected[a, b] for b in (0, 1)] for a in (0, 1)])
    monkeypatch.setattr(simpute, "ITERATIONS", 1000)
    assert abs(haplotype_proportions(counts)[0, 0] - expected[0, 0]) > 0.01


def test_linkage_is_whole_none_or_zero() -> None:
    whole = linkage(haplotype_proportions(np.diag([5, 7, 3])))
    none = linkage(haplotype_proportions(np.outer([4, 4, 1], [4, 4, 1])))
    fixed = linkage(haplotype_proportions(np.array([[9, 4, 2], [0, 0, 0], [0, 0, 0]])))
    np.testing.assert_allclose([whole, none, fixed], [1, 0, 0], atol=1e-3)


@pytest.mark.parametrize("run", [[0], [5], [2], [0, 1, 2], [3, 4, 5], [1, 2, 3, 4], [1, 2, 3], [0, 1, 3, 5]])
@pytest.mark.parametrize("weights", ["factor", "exponent"])
def test_runs_are_filled_from_their_complete_sides(run: list[int], weights: str) -> None:
    truth = linked(30, 6)
    hidden = np.zeros((30, 6), dtype=bool)
    hidden[np.ix_([0, 1, 2], run)] = True
    assert len(set(truth.calls[:3, 0])) > 1
    assert (alone(truth.hide(hidden), weights=weights).argmax(axis=2) == truth.calls).all()


def test_a_run_passes_its_own_calls_on() -> None:
    """Sites 0–2 say one thing, 3–5 another: a run of four takes two calls from either side."""
    near, far = np.arange(36) % 3, np.arange(36) // 3 % 3
    calls = np.repeat(np.stack([near, far], axis=1), 4, axis=1)
    truth = matrix(calls)
    hidden = np.zeros(calls.shape, dtype=bool)
    hidden[5, 2:6] = True
    assert near[5] != far[5]
    assert alone(truth.hide(hidden)).argmax(axis=2)[5].tolist() == calls[5].tolist()


@pytest.mark.parametrize("weights", ["factor", "exponent"])
def test_sites_in_reverse_are_imputed_in_reverse(weights: str) -> None:
    """Runs at either end and between; of a run's two neighbours on a side both tell, whichever side that is."""
    target = small_panel(60, 12, missing=0.3)
    turned = alone(matrix(target.calls[:, ::-1]), weights=weights)[:, ::-1]
    np.testing.assert_allclose(alone(matrix(target.calls), weights=weights), turned, atol=1e-5)


def test_one_complete_sample_tells_more_than_frequencies() -> None:
    """Frequencies say 0 at the middle; the only sample that is complete there, like the one asked about, has 2."""
    calls = np.full((12, 3), 0)
    calls[:10, 0] = -1
    calls[10:] = [[2, 2, 2], [2, -1, 2]]
    assert alone(matrix(calls))[11, 1].argmax() == 2


def test_contigs_do_not_touch() -> None:
    """Contigs of many, one, two and three sites give together what each gives by itself."""
    contigs = ["1"] * 12 + ["2"] + ["3"] * 2 + ["4"] * 3 + ["5"] * 12 + ["6"] * 2
    whole = small_panel(60, len(contigs), missing=0.2)
    target = matrix(whole.calls, contigs)
    together = alone(target)
    for name in set(contigs):
        here = np.array(contigs) == name
        np.testing.assert_array_equal(together[:, here], alone(target.take_sites(here)))


def test_regions_in_one_file_are_imputed_as_each_by_itself() -> None:
    """Batching: three sites each, at most two of them missing in a sample."""
    contigs = [f"1.{i // 3:04d}" for i in range(120)]
    truth = matrix(small_panel(60, 120, missing=0.02).calls, contigs)
    missing = truth.calls == -1
    (_, hidden), *_ = call_masks(60, truth, (20.0,), 1, "entries", seed=1, most=2, missing=missing)
    target = truth.hide(hidden)
    for weights in ("factor", "exponent"):
        together = alone(target, weights=weights)
        for start in range(0, 120, 3):
            region = target.take_sites(slice(start, start + 3))
            np.testing.assert_array_equal(together[:, start : start + 3], alone(region, weights=weights))


def test_contig_of_one_site_gets_its_frequencies() -> None:
    target = matrix([[0], [0], [1], [-1]])
    np.testing.assert_allclose(alone(target)[3, 0], np.array([2.5, 1.5, 0.5]) / 4.5, rtol=1e-5)


def test_contig_of_two_sites_tells_by_the_other() -> None:
    truth = linked(30, 4, ["1", "1", "2", "2"])
    hidden = np.zeros((30, 4), dtype=bool)
    hidden[:5, 0] = hidden[5:10, 1] = hidden[3:8, 3] = True
    assert (alone(truth.hide(hidden)).argmax(axis=2) == truth.calls).all()


def test_empty_sample_gets_frequencies_and_changes_nothing() -> None:
    target = small_panel(40, 10, missing=0.1)
    empty = matrix(np.concatenate([target.calls, np.full((1, 10), -1)]))
    posterior = alone(empty)
    np.testing.assert_array_equal(posterior[:-1], alone(target))
    np.testing.assert_allclose(posterior[-1], target.genotype_frequencies(), atol=1e-6)


@pytest.mark.parametrize("genotype", [0, 1, 2])
@pytest.mark.parametrize("weights", ["factor", "exponent"])
def test_site_that_does_not_vary(genotype: int, weights: str) -> None:
    calls = small_panel(40, 5, missing=0.0).calls.copy()
    calls[:, 2] = genotype
    calls[::4, 2] = -1
    assert (alone(matrix(calls), weights=weights)[::4, 2].argmax(axis=1) == genotype).all()


def test_window_without_a_complete_sample_falls_back_on_frequencies() -> None:
    calls = small_panel(40, 5, missing=0.0).calls.copy()
    calls[::2, 1] = -1
    calls[1::2, 2] = -1
    target = matrix(calls)
    np.testing.assert_allclose(alone(target)[0, 1], target.genotype_frequencies()[1], atol=1e-6)


def test_site_without_calls_is_passed_over() -> None:
    truth = linked(30, 5)
    target = truth.hide(np.arange(5) == 2)
    hidden = np.zeros((30, 5), dtype=bool)
    hidden[:4, 1] = True
    posterior = alone(target.hide(hidden))
    np.testing.assert_allclose(posterior[:, 2], 1 / 3, rtol=1e-6)
    assert (posterior[:, 1].argmax(axis=1) == truth.calls[:, 1]).all()
    panel = matrix([[0, 0, 2, 0, 0]] * 8)
    np.testing.assert_allclose(
        Simpute().fit(panel).posterior(target)[:, 2], np.broadcast_to([[0.5, 0.5, 8.5]], (30, 3)) / 9.5, rtol=1e-5
    )


@pytest.mark.parametrize("weights", ["factor", "exponent"])
def test_panel_links_sites_hidden_for_the_whole_target(weights: str) -> None:
    panel, truth = linked(90, 7).hide(np.random.default_rng(1).random((90, 7)) < 0.1), linked(12, 7, seed=2)
    hidden = np.arange(7) % 3 > 0
    model = Simpute(Simpute.parse_params({"weights": weights, "use_panel": True})).fit(panel)
    assert (impute(model, truth.hide(hidden)).calls == truth.calls).all()
    not_counted = Simpute().fit(panel).posterior(truth.hide(hidden))
    np.testing.assert_allclose(
        not_counted[:, hidden], np.broadcast_to(panel.genotype_frequencies()[hidden], (12, 4, 3)), atol=1e-6
    )


def test_positions_and_threads_do_not_matter() -> None:
    target = small_panel(60, missing=0.1)
    doubled = GenotypeMatrix(target.calls, target.samples, target.sites.assign(pos=target.sites.pos // 3000))
    two = Simpute(threads=2).fit(doubled.take_samples([])).posterior(doubled)
    np.testing.assert_array_equal(two, alone(target))


def test_blocks_of_windows_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    target = small_panel(60, missing=0.1)
    whole = alone(target)
    monkeypatch.setattr(simpute, "CALLS_AT_ONCE", 200)
    np.testing.assert_array_equal(alone(target), whole)


@pytest.mark.panels
def test_real_panel() -> None:
    """Error rate at 2,504 × 10,000, one call in a hundred missing (its seconds: benchmarks/simpute_growth.py)."""
    if "SNPIMPUTE_PANELS" not in os.environ:
        pytest.skip("SNPIMPUTE_PANELS is not set: it names the folder of the real panels")
    truth, _ = read_matrix(Path(os.environ["SNPIMPUTE_PANELS"]) / "kg15" / "kg15.vcf.gz")
    hidden = np.random.default_rng(1).random(truth.calls.shape, dtype=np.float32) < 0.01
    target = truth.hide(hidden)
    imputed = impute(Simpute().fit(target.take_samples([])), target)
    assert (imputed.calls != truth.calls)[hidden].mean() == pytest.approx(0.106, abs=0.002)
