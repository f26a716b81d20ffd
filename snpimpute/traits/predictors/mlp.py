"""Multilayer perceptron on all sites: the plainest network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from snpimpute.imputers.contract import Trial
from snpimpute.traits.predictors._torch import TorchParams, TorchPredictor, suggest_training

if TYPE_CHECKING:
    import torch


class MlpParams(TorchParams):
    """Parameters; `hidden_1` and `hidden_2` are the widths of the two layers."""

    hidden_1: int = Field(256, ge=1)
    hidden_2: int = Field(64, ge=1)


class Mlp(TorchPredictor):
    """Two dense layers with batch normalisation and dropout."""

    description = "multilayer perceptron (PyTorch)"
    Params = MlpParams

    @classmethod
    def search_space(cls, trial: Trial) -> Any:
        return cls.Params(
            hidden_1=trial.suggest_int("hidden_1", 16, 512, log=True),
            hidden_2=trial.suggest_int("hidden_2", 8, 128, log=True),
            **suggest_training(trial),
        )

    def network(self, n_sites: int, n_values: int) -> torch.nn.Module:
        from torch import nn

        p = self.params
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(n_sites * n_values, p.hidden_1),
            nn.BatchNorm1d(p.hidden_1),
            nn.ReLU(),
            nn.Dropout(p.dropout),
            nn.Linear(p.hidden_1, p.hidden_2),
            nn.BatchNorm1d(p.hidden_2),
            nn.ReLU(),
            nn.Dropout(p.dropout),
            nn.Linear(p.hidden_2, 1),
            nn.Flatten(0),
        )
