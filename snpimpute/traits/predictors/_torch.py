"""Base of the networks on traits: inputs, loss, training with early stopping, prediction, saving."""

from __future__ import annotations

import json
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from snpimpute.imputers._torch import torch_device
from snpimpute.imputers.contract import Report, Trial, is_late
from snpimpute.traits.predictors.cohort import Cohort
from snpimpute.traits.predictors.contract import Predictor, PredictorParams

if TYPE_CHECKING:
    import torch

PREDICT_BATCH = 256


class TorchParams(PredictorParams):
    """Parameters of every network.

    Attributes:
        epochs: most passes over the samples; of the one-cycle schedule (Smith and Topin 2018) if they are not stopped.
        patience: epochs without a better validation score after which it is stopped.
        batch_size, learning_rate, weight_decay: of AdamW (Loshchilov and Hutter 2019).
        dropout: share of units dropped while learning.
        gamma, alpha: focusing and weight of cases of the focal loss (Lin et al. 2017), for binary traits; gamma 0 and alpha .5
            are the cross-entropy.
    """

    epochs: int = Field(60, ge=1)
    patience: int = Field(12, ge=1)
    batch_size: int = Field(32, ge=2)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    dropout: float = Field(0.25, ge=0, lt=1)
    gamma: float = Field(2.0, ge=0)
    alpha: float = Field(0.25, gt=0, lt=1)


class TorchPredictor(Predictor):
    """Network in PyTorch: a subclass defines `network`.

    The trait is standardised, covariates have a linear layer beside the network. A share of the panel is held out to stop by
    where no validation samples are given: without stopping, networks of this size learn their samples by heart.
    """

    framework = "torch"
    learns_in_epochs = True
    attends: ClassVar[bool] = False  # whether `attention` tells what it attends to
    Params = TorchParams

    # ------------------------------------------------------------------ what a subclass defines

    @abstractmethod
    def network(self, n_sites: int, n_values: int) -> torch.nn.Module:
        """Return the untrained network: float32 (batch, n_sites, n_values) in, (batch,) out.

        It may use what `_learn_structure` found.
        """

    # ------------------------------------------------------------------ what Predictor asks for

    @classmethod
    def search_space(cls, trial: Trial) -> Any:
        return cls.Params(**suggest_training(trial))

    def _fit(
        self, x: np.ndarray, panel: Cohort, validation: tuple[np.ndarray, Cohort] | None, report: Report | None
    ) -> None:
        import torch

        torch.manual_seed(self.seed)
        torch.set_num_threads(self.threads)
        rng = np.random.default_rng(self.seed)
        if validation is None:
            x, panel, validation = _held_out(x, panel, rng)
        self._center: float = 0.0 if panel.binary else panel.values.mean()
        self._scale: float = 1.0 if panel.binary else panel.values.std() or 1.0
        self._covariates = _spread(panel.covariates)
        self._build(x, panel)
        device = torch.device(torch_device())
        self._model.to(device)
        optimizer = torch.optim.AdamW(
            self._model.parameters(), lr=self.params.learning_rate, weight_decay=self.params.weight_decay
        )
        n_batches = max(len(x) // self.params.batch_size, 1)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.params.learning_rate, total_steps=n_batches * self.params.epochs
        )
        inputs = self._inputs(x, panel)
        target = torch.from_numpy(((panel.values - self._center) / self._scale).astype(np.float32))
        best, best_epoch, weights = -np.inf, -1, self._weights()
        for epoch in range(self.params.epochs):
            self._model.train()
            for rows in np.array_split(rng.permutation(len(x)), n_batches):
                loss = self._loss(self._model(*(part[rows].to(device) for part in inputs)), target[rows].to(device))
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
            score = -self._error(*validation)
            if score > best:
                best, best_epoch, weights = score, epoch, self._weights()
            if report is not None:
                report(epoch, score)
            if is_late(report) or epoch - best_epoch >= self.params.patience:
                break
        self._model.load_state_dict(weights)
        self._model.eval()
        if panel.binary:  # the focal loss says nothing of how probable a case is
            self._center, self._scale = calibration(self._scores(*validation), validation[1].values)

    def _predict(self, x: np.ndarray, target: Cohort) -> np.ndarray:
        scores = self._scores(x, target) * self._scale + self._center
        return 1 / (1 + np.exp(-scores)) if self.binary else scores

    def _save(self, folder: Path) -> None:
        from safetensors.torch import save_model

        save_model(self._model, str(folder / "model.safetensors"))
        about = {
            "center": float(self._center),
            "scale": float(self._scale),
            "covariates": [part.tolist() for part in self._covariates],
            "n_values": int(self.encoding.center.shape[1]),
            **self._state(),
        }
        (folder / "network.json").write_text(json.dumps(about) + "\n")

    def _load(self, folder: Path) -> None:
        from safetensors.torch import load_model

        about = json.loads((folder / "network.json").read_text())
        self._center, self._scale = about["center"], about["scale"]
        self._covariates = (np.array(about["covariates"][0]), np.array(about["covariates"][1]))
        self._set_state(about)
        self._model = with_covariates(self.network(len(self.chosen), about["n_values"]), len(self._covariates[0]))
        load_model(self._model, str(folder / "model.safetensors"))
        self._model.eval()

    def n_parameters(self) -> int:
        return sum(weight.numel() for weight in self._model.parameters())

    # ------------------------------------------------------------------ for explanations

    def network_alone(self) -> Any:
        """Return the fitted network without its covariates, which add to what it gives: its output is the standardised score."""
        self._model.eval()
        return self._model.network

    def attention(self, x: np.ndarray) -> np.ndarray:
        """Return attention on each site, float32 (n_samples, n_sites), of encoded genotypes; of a network that `attends` alone."""
        raise NotImplementedError

    # ------------------------------------------------------------------ what subclasses may add to

    def _learn_structure(self, x: np.ndarray, panel: Cohort) -> None:
        """Take from the panel what the network's structure needs, as a graph of sites; nothing by default."""

    def _state(self) -> dict[str, Any]:
        """Return what `_learn_structure` found (JSON-able)."""
        return {}

    def _set_state(self, about: dict[str, Any]) -> None:
        """Take up what `_state` returned."""

    # ------------------------------------------------------------------ inside

    def _build(self, x: np.ndarray, panel: Cohort) -> None:
        self._learn_structure(x, panel)
        self._model = with_covariates(self.network(x.shape[1], x.shape[2]), panel.covariates.shape[1])

    def _inputs(self, x: np.ndarray, cohort: Cohort) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        mean, spread = self._covariates
        covariates = ((cohort.covariates - mean) / spread).astype(np.float32)
        return torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(covariates)

    def _scores(self, x: np.ndarray, cohort: Cohort) -> np.ndarray:
        """Return the network's output, float64 (n_samples,): standardised trait, or log-odds."""
        import torch

        self._model.eval()
        device = next(self._model.parameters()).device
        inputs = self._inputs(x, cohort)
        with torch.inference_mode():
            parts = [
                self._model(*(part[i : i + PREDICT_BATCH].to(device) for part in inputs)).cpu().numpy()
                for i in range(0, len(x), PREDICT_BATCH)
            ]
        return np.concatenate(parts).astype(np.float64) if parts else np.empty(0)

    def _loss(self, score: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if not self.binary:
            return ((score - target) ** 2).mean()
        return focal_loss(score, target, self.params.gamma, self.params.alpha)

    def _error(self, x: np.ndarray, cohort: Cohort) -> float:
        """Return the loss on validation samples: mean squared error of the standardised trait, or focal loss."""
        import torch

        target = ((cohort.values - self._center) / self._scale).astype(np.float32)
        scores = self._scores(x, cohort).astype(np.float32)
        return float(self._loss(torch.from_numpy(scores), torch.from_numpy(target)))

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: weight.detach().clone() for name, weight in self._model.state_dict().items()}


def suggest_training(trial: Trial) -> dict[str, Any]:
    """Return a trial's parameters of training for any network."""
    return {
        "encoding": trial.suggest_categorical("encoding", ("standardised", "onehot")),
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-5, 1e-1, log=True),
        "dropout": trial.suggest_float("dropout", 0.1, 0.5),
        "batch_size": trial.suggest_categorical("batch_size", (16, 32, 64)),
    }


def focal_loss(score: torch.Tensor, target: torch.Tensor, gamma: float, alpha: float) -> torch.Tensor:
    """Return the mean focal loss of log-odds (n,) for cases 1 and controls 0 (n,); cases weigh 2·alpha, controls 2·(1 − alpha)."""
    import torch

    log_p = -torch.nn.functional.softplus(torch.where(target > 0.5, -score, score))
    weight = 2 * torch.where(target > 0.5, alpha, 1 - alpha)
    return -(weight * (1 - log_p.exp()) ** gamma * log_p).mean()


def calibration(score: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Return intercept and slope that turn a score into the log-odds of a case (Platt 1999), from samples with both.

    The slope is not negative; without both cases and controls among the samples it is 1, and the intercept 0.
    """
    from sklearn.linear_model import LogisticRegression

    if len(set(values)) < 2:
        return 0.0, 1.0
    fitted = LogisticRegression().fit(score[:, None], values)
    slope = float(fitted.coef_[0, 0])
    if slope > 0:
        return float(fitted.intercept_[0]), slope
    share = values.mean()
    return float(np.log(share / (1 - share))), 0.0


def _held_out(
    x: np.ndarray, panel: Cohort, rng: np.random.Generator
) -> tuple[np.ndarray, Cohort, tuple[np.ndarray, Cohort]]:
    """Hold a sixth of the samples out to stop by; return the others' inputs and cohort, and those of the held out."""
    out = np.zeros(len(x), dtype=bool)
    out[rng.permutation(len(x))[: max(len(x) // 6, 2)]] = True
    return x[~out], panel.take_samples(~out), (x[out], panel.take_samples(out))


def _spread(covariates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of covariates; 1 where they do not vary."""
    spread = covariates.std(axis=0)
    return covariates.mean(axis=0), np.where(spread > 0, spread, 1.0)


def with_covariates(network: torch.nn.Module, n_covariates: int) -> torch.nn.Module:
    """Return a network beside a linear layer for covariates: (batch, n_sites, n_values) and (batch, n_covariates) in."""
    import torch

    class WithCovariates(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.covariates = torch.nn.Linear(n_covariates, 1, bias=False) if n_covariates else None

        def forward(self, x: torch.Tensor, covariates: torch.Tensor) -> torch.Tensor:
            score = self.network(x)
            return score if self.covariates is None else score + self.covariates(covariates)[:, 0]

    return WithCovariates()


def along_sites() -> torch.nn.Module:
    """Return a layer that lays values along sites as convolutions take them: (batch, n_sites, n_values) to (batch, n_values, n_sites)."""
    import torch

    class AlongSites(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.transpose(1, 2)

    return AlongSites()
