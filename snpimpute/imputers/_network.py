"""Base of all networks, whatever the framework: masks in training, choice of the epoch, calibration."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from pydantic import Field

from snpimpute.dataset.scenarios import at_hidden
from snpimpute.dataset.training_masks import TrainingMask
from snpimpute.genotypes.matrix import MISSING, GenotypeMatrix
from snpimpute.imputers.contract import Imputer, Params, Report, Trial, Validation, Variant, is_late

ClassWeights = Literal["none", "sqrt", "inverse"]
Calibration = tuple[float, float, float, float]  # temperature, then the numbers added to the log-posterior of 0, 1, 2


class NetworkParams(Params):
    """Parameters of every network.

    `epochs` is the length of the learning-rate schedule; `stop_after` ends training within it. The fit with validation
    finds `stop_after` and `calibration`, and the fit on all samples uses them.
    """

    epochs: int = Field(100, ge=1)
    stop_after: int | None = Field(None, ge=1)
    patience: int = Field(15, ge=1)
    batch_size: int = Field(32, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    class_weights: ClassWeights = "inverse"
    multiplier_1: float = Field(1.0, ge=1)
    multiplier_2: float = Field(1.0, ge=1)
    calibration: Calibration | None = None


class NetworkImputer(Imputer):
    """Imputer that learns in epochs: a subclass builds the network, trains it for one epoch and predicts."""

    params: Any
    learns_in_epochs = True
    variants: ClassVar = {"fixed": Variant(tune=True, mask="fixed"), "random": Variant(tune=True, mask="random")}

    # ------------------------------------------------------------------ what a framework's base class defines

    @abstractmethod
    def _build(self, panel: GenotypeMatrix, class_weights: np.ndarray, steps_per_epoch: int) -> None:
        """Make the network and its optimizer, all seeded.

        Args:
            panel: the samples to learn from.
            class_weights: float32 (3,), for the loss.
            steps_per_epoch: number of batches of an epoch.
        """

    @abstractmethod
    def _train_epoch(self, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        """Train for one epoch; the loss is taken at calls that are hidden and known.

        Args:
            batches: calls int8 (batch, n_sites), -1 = missing, and hidden bool (batch, n_sites), of each batch.

        """

    @abstractmethod
    def _log_posterior(self, calls: np.ndarray) -> np.ndarray:
        """Return log-probabilities before calibration, float32 (n_samples, n_sites, 3), of calls int8, -1 = missing."""

    @abstractmethod
    def _get_weights(self) -> Any:
        """Return a copy of all weights."""

    @abstractmethod
    def _set_weights(self, weights: Any) -> None:
        """Restore the weights that `_get_weights` returned."""

    # ------------------------------------------------------------------ the fit

    def _fit(
        self, panel: GenotypeMatrix, validation: Validation | None, mask: TrainingMask, report: Report | None
    ) -> None:
        p = self.params
        fixed = None
        if mask.policy == "fixed":
            fixed = mask.draw_fixed(panel.calls, (p.multiplier_1, p.multiplier_2), self.seed)
        weights = class_weights(panel.calls if fixed is None else panel.calls[fixed], p.class_weights)
        n_batches = -(-panel.n_samples // p.batch_size)
        self._build(panel, weights, n_batches)
        rng = np.random.default_rng(self.seed)
        best_score, best_epoch, best_weights = -np.inf, -1, None
        for epoch in range(min(p.stop_after or p.epochs, p.epochs)):
            order = rng.permutation(panel.n_samples)
            batches = []
            for rows in np.array_split(order, n_batches):
                hidden = mask.draw_random(len(rows), panel.n_sites, rng) if fixed is None else fixed[rows]
                batches.append((panel.calls[rows], hidden))
            self._train_epoch(itertools.takewhile(lambda _: not is_late(report), batches))
            if validation is None:
                continue
            late = is_late(report)
            if late and best_weights is not None:  # scoring takes time too, and no more of it is left than is needed
                break
            score = validation.score(lambda target: self._log_posterior(target.calls))
            if score > best_score:
                best_score, best_epoch, best_weights = score, epoch, self._get_weights()
            if report is not None:
                report(epoch, score)
            if late or epoch - best_epoch >= p.patience:
                break
        self._stop_after, self._calibration = p.stop_after, p.calibration
        if validation is not None:
            self._set_weights(best_weights)
            self._stop_after = best_epoch + 1
            self._calibration = fit_calibration(*self._hidden_log_posteriors(validation))

    def _hidden_log_posteriors(self, validation: Validation) -> tuple[np.ndarray, np.ndarray]:
        """Return log-posteriors (n, 3) and true genotypes (n,) at the hidden known calls of all masks."""
        logs, truths = [], []
        for mask in validation.masks:
            log_posterior = at_hidden(self._log_posterior(validation.matrix.hide(mask).calls), mask).reshape(-1, 3)
            truth = at_hidden(validation.matrix.calls, mask).ravel()
            logs.append(log_posterior[truth != MISSING])
            truths.append(truth[truth != MISSING])
        return np.concatenate(logs), np.concatenate(truths)

    @classmethod
    def agreed(cls, found: Sequence[Any]) -> Any:
        """Return common parameters as any imputer; the calibration is the mean of those found, number by number."""
        calibrations = [params.calibration for params in found if params.calibration is not None]
        mean = tuple(np.mean(calibrations, axis=0).tolist()) if calibrations else None
        return super().agreed([params.model_copy(update={"calibration": mean}) for params in found])

    def refit_params(self) -> Any:
        return self.params.model_copy(update={"stop_after": self._stop_after, "calibration": self._calibration})

    def _posterior(self, target: GenotypeMatrix) -> np.ndarray:
        return apply_calibration(self._log_posterior(target.calls), self._calibration)


def suggest_training(trial: Trial, epochs: tuple[int, int, int], batch_sizes: Sequence[int]) -> dict[str, Any]:
    """Return a trial's parameters of training for any network.

    Args:
        trial: the study's trial.
        epochs: lowest, highest and step of the schedule's length.
        batch_sizes: sizes to choose from.
    """
    lowest, highest, step = epochs
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 3e-3, log=True),
        "epochs": trial.suggest_int("epochs", lowest, highest, step=step),
        "batch_size": trial.suggest_categorical("batch_size", batch_sizes),
        "class_weights": trial.suggest_categorical("class_weights", get_args(ClassWeights)),
        "multiplier_1": trial.suggest_float("multiplier_1", 1.0, 3.0),
        "multiplier_2": trial.suggest_float("multiplier_2", 1.0, 3.0),
    }


def class_weights(calls: np.ndarray, kind: str) -> np.ndarray:
    """Return the weights of the genotypes in the loss, float32 (3,), mean 1.

    Args:
        calls: int8, -1 = missing, not counted; the weights follow from the counts of genotypes.
        kind: "inverse" = inverse frequency (published), "sqrt" = its square root, "none" = all 1.
    """
    counts = np.maximum([(calls == g).sum() for g in (0, 1, 2)], 1).astype(float)
    weights = counts ** {"none": 0.0, "sqrt": -0.5, "inverse": -1.0}[kind]
    return (weights / weights.mean()).astype(np.float32)


def fit_calibration(log_posterior: np.ndarray, truth: np.ndarray) -> Calibration:
    """Fit vector scaling with one temperature, softmax(log p / T + b), by cross-entropy.

    After Guo et al. 2017, "On calibration of modern neural networks". A weak pull towards T = 1, b = 0 keeps the fit
    defined where a genotype never occurs.

    Args:
        log_posterior: float (n, 3).
        truth: int (n,), genotypes 0, 1, 2.
    """
    from scipy.optimize import minimize

    log_posterior = np.asarray(log_posterior, dtype=np.float64)
    onehot = np.eye(3)[truth]

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        z = log_posterior * np.exp(-x[0]) + x[1:]
        z -= z.max(axis=1, keepdims=True)
        p = np.exp(z)
        p /= p.sum(axis=1, keepdims=True)
        value = -np.log(np.clip((p * onehot).sum(axis=1), 1e-12, None)).mean() + 1e-4 * (x**2).sum()
        slope = (p - onehot) / len(truth)
        gradient = np.concatenate([[-(slope * log_posterior).sum() * np.exp(-x[0])], slope.sum(axis=0)]) + 2e-4 * x
        return value, gradient

    x = minimize(loss, np.zeros(4), jac=True, method="L-BFGS-B").x
    return (float(np.exp(x[0])), *(float(b) for b in x[1:] - x[1:].mean()))  # type: ignore[return-value]


def apply_calibration(log_posterior: np.ndarray, calibration: Calibration | None) -> np.ndarray:
    """Return calibrated probabilities, float32 (n_samples, n_sites, 3).

    Args:
        log_posterior: log-probabilities of the same shape.
        calibration: None = unchanged.
    """
    temperature, *bias = calibration or (1.0, 0.0, 0.0, 0.0)
    z = np.asarray(log_posterior, dtype=np.float32) / np.float32(temperature) + np.array(bias, dtype=np.float32)
    # by genotype: reductions over an axis of length 3 are ten times slower
    z -= np.maximum(np.maximum(z[:, :, 0], z[:, :, 1]), z[:, :, 2])[:, :, None]
    np.exp(z, out=z)
    z /= (z[:, :, 0] + z[:, :, 1] + z[:, :, 2])[:, :, None]
    return z
