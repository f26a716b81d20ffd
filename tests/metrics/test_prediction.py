"""Measures of predictions against hand counts and scikit-learn, and how often their interval over folds holds the truth."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from snpimpute.metrics.prediction import area, correlation, fold_interval, slope, squared_error, top_overlap


def test_measures_of_a_small_example():
    values = np.array([1.0, 2.0, 3.0, 6.0])
    predicted = np.array([1.0, 1.0, 2.0, 2.0])
    assert correlation(values, predicted) == pytest.approx(np.corrcoef(values, predicted)[0, 1])
    assert squared_error(values, predicted) == pytest.approx((0 + 1 + 1 + 16) / 4)
    assert slope(values, predicted) == pytest.approx(3.0)  # 4.5 at 2, 1.5 at 1


def test_predictions_that_are_all_alike_correlate_with_nothing():
    values = np.arange(5.0)
    assert correlation(values, np.full(5, 3.0)) == 0
    assert np.isnan(slope(values, np.full(5, 3.0)))
    assert np.isnan(correlation(np.ones(5), values))


def test_area_is_that_of_scikit_learn_with_ties():
    rng = np.random.default_rng(1)
    values, predicted = rng.integers(0, 2, 60).astype(float), rng.integers(0, 5, 60).astype(float)
    assert area(values, predicted) == pytest.approx(roc_auc_score(values, predicted), abs=1e-12)
    assert np.isnan(area(np.ones(4), np.arange(4.0)))


def test_top_overlap_counts_the_best_tenth():
    values = np.arange(20.0)
    predicted = values.copy()
    predicted[19] = -1
    assert top_overlap(values, values) == 1
    assert top_overlap(values, predicted) == 0.5


def test_top_overlap_is_that_expected_of_ties_whatever_their_order():
    values = np.repeat([3.0, 2.0, 1.0], [1, 3, 16])  # of two best, one is certain and one of three
    assert top_overlap(values, values) == pytest.approx((1 + 3 * (1 / 3) ** 2) / 2)
    assert top_overlap(np.arange(20.0), np.zeros(20)) == pytest.approx(0.1)
    order = np.random.default_rng(1).permutation(20)
    predicted = np.arange(20.0) % 4
    assert top_overlap(values[order], predicted[order]) == pytest.approx(top_overlap(values, predicted))


def test_the_interval_is_wider_than_that_of_independent_folds():
    values = np.array([0.4, 0.5, 0.6, 0.5, np.nan])
    mean, low, high = fold_interval(values, 0.25)
    assert mean == pytest.approx(0.5)
    spread = values[:4].std(ddof=1)
    assert high - mean == pytest.approx(3.18244630528 * spread * np.sqrt(1 / 4 + 0.25), rel=1e-9)
    assert low == pytest.approx(2 * mean - high)
    assert np.isnan(fold_interval(np.array([0.4]), 0.25)[1])
