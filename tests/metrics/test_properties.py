"""Properties of the scores, on drawn calls and posteriors: what may not change them, and what a perfect posterior has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snpimpute.imputers.testing import small_panel
from snpimpute.metrics.scores import scores
from snpimpute.metrics.sums import minor_coding, site_sums

OF_SITES = ("site_dosage_r2", "centred_dosage_r2", "centred_iqs")
PERFECT = {"f1_macro": 1.0, "f1_micro": 1.0, **dict.fromkeys(OF_SITES, 1.0), "log_loss": 0.0, "ece": 0.0}


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Truth, int8 (n_samples, n_sites), some of it missing, with all genotypes; posteriors without ties."""
    shape = draw(st.integers(6, 12)), draw(st.integers(4, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    truth = rng.choice(4, shape, p=[0.15, 0.4, 0.25, 0.2]).astype(np.int8) - np.int8(1)
    truth.flat[:3] = (0, 1, 2)
    return truth, rng.dirichlet(np.full(3, draw(st.sampled_from([0.3, 1.0, 5.0]))), shape)


def total(truth: np.ndarray, posterior: np.ndarray) -> dict[str, np.ndarray]:
    return scores(site_sums(truth, posterior).astype(np.float64).sum(axis=(0, 1)))


@given(scored(), st.randoms(use_true_random=False))
def test_the_order_of_samples_changes_nothing(pair: tuple[np.ndarray, np.ndarray], random) -> None:
    truth, posterior = pair
    order = random.sample(range(len(truth)), len(truth))
    straight, turned = total(truth, posterior), total(truth[order], posterior[order])
    for metric, value in straight.items():
        np.testing.assert_allclose(turned[metric], value, rtol=1e-9, err_msg=metric)


@given(scored())
def test_a_perfect_posterior_scores_one_and_another_less(pair: tuple[np.ndarray, np.ndarray]) -> None:
    truth, posterior = pair
    perfect = total(truth, np.eye(3)[np.maximum(truth, 0)])
    found = total(truth, posterior)
    for metric, value in PERFECT.items():
        assert perfect[metric] == pytest.approx(value, abs=1e-6), metric  # sums are float32
        assert (found[metric] - value) * (1 if value == 0 else -1) > 0 or found["wrong"] == 0, metric
    assert perfect["wrong"] == 0


@given(scored())
def test_which_allele_is_counted_changes_neither_dosage_r2_nor_the_rarer_coding(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    truth, posterior = pair
    other = np.where(truth < 0, truth, 2 - truth).astype(np.int8)
    turned = posterior[:, :, ::-1]
    for metric in (*OF_SITES, "f1_macro", "f1_micro", "log_loss"):
        np.testing.assert_allclose(
            total(other, turned)[metric], total(truth, posterior)[metric], atol=1e-4
        )  # sums are float32
    matrix, swapped = (replace(small_panel(*truth.shape), calls=calls) for calls in (truth, other))
    np.testing.assert_allclose(swapped.maf(), matrix.maf())
    frequency = matrix.alt_frequency()
    untied = np.abs(frequency - 0.5) > 1e-9
    one, _ = minor_coding(truth[:, untied], posterior[:, untied], frequency[untied] > 0.5)
    same, _ = minor_coding(other[:, untied], turned[:, untied], 1 - frequency[untied] > 0.5)
    np.testing.assert_array_equal(one, same)
    assert (replace(matrix.take_sites(untied), calls=one).alt_frequency() < 0.5).all()
