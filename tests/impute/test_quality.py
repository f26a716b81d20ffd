"""Quality of samples: what posteriors state is what comes out, for calibrated ones, and observed calls do not count."""

from __future__ import annotations

import numpy as np
import pytest

from snpimpute.impute.quality import SampleQuality, quality_lines


def test_the_expected_r2_is_the_one_that_comes_out():
    """Genotypes drawn from posteriors of three accuracies: the squared centred correlation is near what was expected."""
    rng = np.random.default_rng(1)
    n_sites, n_samples = 6000, 30
    sharp = np.repeat([0.3, 2.0, 8.0], 10)[None, :, None]
    posterior = np.exp(sharp * rng.normal(size=(n_sites, n_samples, 3)))
    posterior /= posterior.sum(axis=2, keepdims=True)
    truth = (rng.random((n_sites, n_samples, 1)) > posterior.cumsum(axis=2)).sum(axis=2).clip(0, 2)
    quality = SampleQuality([f"s{i}" for i in range(n_samples)])
    for part in np.array_split(np.arange(n_sites), 3):
        quality.add(posterior[part, :, 1:].transpose(2, 0, 1), np.full((len(part), n_samples), -1, dtype=np.int8))
    stated = np.array(list(quality.by_sample().values()))
    dosage = posterior @ np.arange(3)
    mean = dosage.mean(axis=1, keepdims=True)
    true = [np.corrcoef((dosage - mean)[:, i], (truth - mean)[:, i])[0, 1] ** 2 for i in range(n_samples)]
    np.testing.assert_allclose(stated, true, atol=0.05)
    assert stated[:10].max() < stated[10:20].min() < stated[20:].min()


def test_observed_calls_do_not_count_and_a_sample_without_imputed_ones_has_none():
    calls = np.array([[0, -1], [2, -1], [1, 0]], dtype=np.int8)
    posterior = np.array([[[0.2, 0.2], [0.1, 0.1], [0.9, 0.9]], [[0.1, 0.0], [0.8, 0.8], [0.0, 0.0]]], dtype=np.float32)
    quality = SampleQuality(["seen", "imputed"])
    quality.add(posterior, calls)
    found = quality.by_sample()
    explained = 0.1**2 + 0.15**2  # dosages .2 and 1.7, means of their sites .1 and 1.85
    unknown = 0.2 - 0.2**2 + 0.1 + 4 * 0.8 - 1.7**2
    assert found["seen"] is None
    assert found["imputed"] == pytest.approx(explained / (explained + unknown), abs=1e-4)
    assert quality_lines(found)[0].endswith(f"lowest: imputed {found['imputed']:.3f}")
    assert quality_lines({"seen": None}) == []
