"""LD-kNNi: contract, linkage and distances against their definitions, who votes, and where nobody can."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.imputers import ld_knn
from snpimpute.imputers.contract import impute
from snpimpute.imputers.ld_knn import FREQUENCIES, LdKnn, distances, linkage, share
from snpimpute.imputers.mode import Mode
from snpimpute.imputers.testing import ImputerContract, small_panel


class TestLdKnn(ImputerContract):
    imputer = LdKnn


class TestLdKnnWithoutPanel(ImputerContract):
    imputer = LdKnn
    params = {"use_panel": False}


def test_linkage_is_the_squared_correlation_of_complete_pairs() -> None:
    calls = small_panel(50, 6, missing=0.2).calls
    calls[:, 5] = 1
    found = linkage(calls[:, :4], calls[:, 3:])
    for i, j in np.ndindex(4, 2):
        both = (calls[:, i] >= 0) & (calls[:, 3 + j] >= 0)
        expected = np.corrcoef(calls[both, i], calls[both, 3 + j])[0, 1] ** 2
        assert found[i, j] == pytest.approx(expected)
    assert (found[:, 2] == 0).all()


def test_distances_are_scaled_to_all_linked_sites() -> None:
    receivers = np.array([[0, 1, 2, -1], [-1, -1, -1, 0]], dtype=np.int8)
    donors = np.array([[2, 1, 1, 0], [0, -1, 2, 2], [1, 1, 1, -1]], dtype=np.int8)
    np.testing.assert_allclose(
        distances(receivers, donors), [[1 + 3 * 4 / 3, 1, 1 + 2 * 4 / 3], [1, 1 + 2 * 4, np.inf]]
    )


def test_share_counts_samples_with_a_hole() -> None:
    seen = np.array([[True, False], [True, True], [False, True]])
    holes = np.array([[True, False], [True, True], [False, True]])
    np.testing.assert_allclose(share(seen, holes), [[1.0, 0.5], [0.5, 1.0]])


def voters(k: int) -> np.ndarray:
    """The posterior of the last sample's first call: its nearest are at 0 (one, genotype 2), 1 (two, 0 and 1), 2 (one, 0)."""
    matrix = small_panel(5, 4, missing=0.0)
    matrix.calls[:] = [[2, 1, 1, 1], [0, 1, 1, 2], [1, 1, 2, 1], [0, 0, 0, 1], [-1, 1, 1, 1]]
    return LdKnn(LdKnn.Params(k=k, use_panel=False)).fit(matrix).posterior(matrix)[4, 0]


@pytest.mark.parametrize("use_panel", [True, False])
def test_contigs_in_one_file_are_imputed_as_each_by_itself(use_panel: bool) -> None:
    whole = small_panel(60, missing=0.1)
    whole = replace(whole, sites=whole.sites.assign(contig=[f"1.{i // 4}" for i in range(40)]))
    panel, target = whole.take_samples(np.arange(30)), whole.take_samples(np.arange(30, 60))
    together = LdKnn(LdKnn.Params(use_panel=use_panel)).fit(panel).posterior(target)
    for start in range(0, 40, 4):
        here = slice(start, start + 4)
        alone = LdKnn(LdKnn.Params(use_panel=use_panel)).fit(panel.take_sites(here)).posterior(target.take_sites(here))
        np.testing.assert_array_equal(together[:, here], alone)


def test_votes_weigh_the_inverse_of_the_distance() -> None:
    linked = 3 * np.array([0, 1, 1, 2]) / 3 + 1
    frequencies = np.array([2.5, 1.5, 1.5]) / 5.5

    def expected(votes: list[float]) -> np.ndarray:
        return (np.array(votes) / sum(votes) + FREQUENCIES * frequencies) / (1 + FREQUENCIES)

    np.testing.assert_allclose(voters(1), expected([0, 0, 1]), atol=1e-6)
    for k in (2, 3):  # as near as the last of them
        np.testing.assert_allclose(voters(k), expected([1 / linked[1], 1 / linked[2], 1]), atol=1e-6)
    for k in (4, 50):
        np.testing.assert_allclose(voters(k), expected([1 / linked[1] + 1 / linked[3], 1 / linked[2], 1]), atol=1e-6)


@pytest.mark.parametrize("whole_sites", [True, False])
def test_it_beats_the_frequencies(whole_sites: bool) -> None:
    everyone = small_panel(300, missing=0.0)
    panel, target = everyone.take_samples(np.arange(240)), everyone.take_samples(np.arange(240, 300))
    hidden = np.random.default_rng(2).random((1 if whole_sites else 60, 40)) < 0.3
    hidden = np.broadcast_to(hidden, target.calls.shape)
    right, blind = (
        (impute(m.fit(panel), target.hide(hidden)).calls == target.calls)[hidden] for m in (LdKnn(), Mode())
    )
    assert right.mean() > blind.mean() + 0.1


def test_contigs_reach_and_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing beyond a border or out of reach counts, and blocks of sites and of pairs change nothing."""
    target = small_panel(60, missing=0.1)
    contigs = np.repeat(["1", "2"], 20)
    target = GenotypeMatrix(target.calls, target.samples, target.sites.assign(contig=contigs))

    def alone(matrix: GenotypeMatrix, **params: int) -> np.ndarray:
        return LdKnn(LdKnn.parse_params(params)).fit(matrix.take_samples([])).posterior(matrix)

    whole, near = alone(target), alone(target, reach=3)
    np.testing.assert_array_equal(whole[:, :20], alone(target.take_sites(np.arange(20))))
    np.testing.assert_array_equal(near[:, :5], alone(target.take_sites(np.arange(8)), reach=3)[:, :5])
    assert np.abs(near - whole).max() > 0.1
    monkeypatch.setattr(ld_knn, "BLOCK", 7)
    monkeypatch.setattr(ld_knn, "PAIRS_AT_ONCE", 100)
    np.testing.assert_array_equal(alone(target), whole)


def test_nobody_to_compare_with() -> None:
    """A lonely contig, a site that nobody has, an empty sample, a site that does not vary: frequencies."""
    target = small_panel(30, 6, missing=0.0)
    target = GenotypeMatrix(target.calls, target.samples, target.sites.assign(contig=["1"] * 5 + ["2"]))
    target.calls[:, 4] = 2
    hidden = np.zeros((30, 6), dtype=bool)
    hidden[:3, 5] = hidden[:, 1] = hidden[7] = hidden[2, 4] = True
    masked = target.hide(hidden)
    posterior = LdKnn().fit(masked.take_samples([])).posterior(masked)
    frequencies = masked.genotype_frequencies()
    np.testing.assert_allclose(posterior[:3, 5], np.broadcast_to(frequencies[5], (3, 3)), atol=1e-6)
    np.testing.assert_allclose(posterior[:, 1], 1 / 3, atol=1e-6)
    np.testing.assert_allclose(posterior[7], frequencies, atol=1e-6)
    assert posterior[2, 4].argmax() == 2
