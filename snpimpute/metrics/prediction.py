"""Measures of predicted traits, and their intervals over folds that share samples to learn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

TOP = 0.1  # share of the samples that is called the best


@dataclass(frozen=True)
class Measure:
    """A measure of predictions.

    Attributes:
        label, meaning: what it is called, and says.
        of: values and predictions, float (n_samples,) each, to a number; NaN where it is not defined.
        better: 1 if more is better, -1 if less is, 0 if neither.
        kinds: of traits that it is of: True is a binary one.
        bounds: least and largest value that it can have; intervals end there.
    """

    label: str
    meaning: str
    of: Callable[[np.ndarray, np.ndarray], float]
    better: int = 1
    kinds: tuple[bool, ...] = (False, True)
    bounds: tuple[float, float] = (-np.inf, np.inf)


def correlation(values: np.ndarray, predicted: np.ndarray) -> float:
    """Return Pearson's correlation; 0 of predictions that are all alike, NaN of values that are."""
    if np.ptp(values) == 0:
        return float("nan")
    return float(np.corrcoef(values, predicted)[0, 1]) if _varies(predicted) else 0.0


def squared_error(values: np.ndarray, predicted: np.ndarray) -> float:
    """Return the mean squared error, of a binary trait Brier's score."""
    return float(((values - predicted) ** 2).mean())


def slope(values: np.ndarray, predicted: np.ndarray) -> float:
    """Return the slope of values on predictions; NaN of predictions that are all alike."""
    if not _varies(predicted):
        return float("nan")
    centred = predicted - predicted.mean()
    return float(centred @ values / (centred @ centred))


def area(values: np.ndarray, predicted: np.ndarray) -> float:
    """Return the area under the ROC curve of values 0 and 1; NaN unless there are both."""
    from scipy.stats import rankdata

    n_cases = int(values.sum())
    if not 0 < n_cases < len(values):
        return float("nan")
    ranks = rankdata(predicted)[values == 1].sum()
    return float((ranks - n_cases * (n_cases + 1) / 2) / (n_cases * (len(values) - n_cases)))


def top_overlap(values: np.ndarray, predicted: np.ndarray) -> float:
    """Return the share of the best tenth by value that is in the best tenth by prediction.

    Samples that are tied at its end are each in it with the same chance: it is the expected share.
    """
    n = max(1, round(TOP * len(values)))
    return float(_chances(values, n) @ _chances(predicted, n) / n)


def _chances(column: np.ndarray, n: int) -> np.ndarray:
    """Return the chance of each sample to be among the n largest, ties broken at random, float64 (n_samples,)."""
    last = np.sort(column)[-n]
    above, tied = column > last, column == last
    return above + tied * (n - above.sum()) / tied.sum()


MEASURES = {
    "pcc": Measure("correlation", "Pearson's correlation of prediction and trait", correlation, bounds=(-1.0, 1.0)),
    "mse": Measure("MSE", "mean squared error (binary: Brier's score)", squared_error, -1, bounds=(0.0, np.inf)),
    "slope": Measure("slope", "regression of the trait on its prediction: 1 = neither inflated nor shrunk", slope, 0),
    "auc": Measure("AUC", "area under the ROC curve", area, 1, (True,), (0.0, 1.0)),
    "top": Measure(
        "top 10%",
        "share of the best 10% that is among the best 10% by prediction",
        top_overlap,
        kinds=(False,),  # all cases of a binary trait are tied: chosen at random, they bound the overlap far below 1
        bounds=(0.0, 1.0),
    ),
}


def fold_interval(values: np.ndarray, test_to_train: float, level: float = 0.95) -> tuple[float, float, float]:
    """Return mean and interval of a measure, or of a paired difference, over folds.

    Folds share samples that are learned from, so the variance of their mean is larger than s²/k: it is s²(1/k + n_test/n_train)
    (Nadeau and Bengio 2003), with k − 1 degrees of freedom, also where folds are drawn several times (Bouckaert and Frank 2004).

    Args:
        values: float (k,), a value per fold; NaN where it is not defined, which is left out.
        test_to_train: mean over folds of samples predicted by samples learned from.
        level: of the interval; low and high are NaN with fewer than two folds.
    """
    from scipy.stats import t

    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan"), float("nan")
    mean = float(values.mean())
    if len(values) < 2:
        return mean, float("nan"), float("nan")
    error = values.std(ddof=1) * np.sqrt(1 / len(values) + test_to_train)
    half = float(t.ppf((1 + level) / 2, len(values) - 1) * error)
    return mean, mean - half, mean + half


def measure_interval(measure: str, values: np.ndarray, test_to_train: float) -> tuple[float, float, float]:
    """Return mean and interval of a measure of MEASURES over folds, as `fold_interval` does; it ends at the measure's bounds."""
    value, low, high = fold_interval(values, test_to_train)
    least, most = MEASURES[measure].bounds
    return value, float(np.clip(low, least, most)), float(np.clip(high, least, most))


def _varies(predicted: np.ndarray) -> bool:
    return bool(np.ptp(predicted) > 1e-9 * max(1.0, float(np.abs(predicted).max())))
