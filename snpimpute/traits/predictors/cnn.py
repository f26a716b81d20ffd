"""Convolutional network along the sites."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pydantic import Field

from snpimpute.imputers.contract import Trial
from snpimpute.traits.predictors._torch import TorchParams, TorchPredictor, along_sites, suggest_training

if TYPE_CHECKING:
    import torch


class CnnParams(TorchParams):
    """Parameters: filters of the two convolutions, sites that a filter sees, sites pooled after each, width of the dense layer."""

    filters_1: int = Field(32, ge=1)
    filters_2: int = Field(64, ge=1)
    window: int = Field(9, ge=1)
    pool: int = Field(4, ge=1)
    hidden: int = Field(120, ge=1)


class Cnn(TorchPredictor):
    """Two convolutions with batch normalisation and pooling, then a dense layer: 499 thousand parameters at 1,000 sites."""

    description = "convolutional network along the sites (PyTorch)"
    Params = CnnParams

    @classmethod
    def search_space(cls, trial: Trial) -> Any:
        return cls.Params(
            filters_1=trial.suggest_categorical("filters_1", (8, 16, 32)),
            filters_2=trial.suggest_categorical("filters_2", (16, 32, 64)),
            window=trial.suggest_int("window", 3, 21, step=2),
            hidden=trial.suggest_int("hidden", 16, 128, log=True),
            **suggest_training(trial),
        )

    def network(self, n_sites: int, n_values: int) -> torch.nn.Module:
        from torch import nn

        p = self.params
        half = p.window // 2
        left = math.ceil(n_sites / p.pool**2)  # positions after two poolings
        return nn.Sequential(
            along_sites(),
            nn.Conv1d(n_values, p.filters_1, p.window, padding=half),
            nn.BatchNorm1d(p.filters_1),
            nn.ReLU(),
            nn.MaxPool1d(p.pool, ceil_mode=True),
            nn.Conv1d(p.filters_1, p.filters_2, p.window, padding=half),
            nn.BatchNorm1d(p.filters_2),
            nn.ReLU(),
            nn.MaxPool1d(p.pool, ceil_mode=True),
            nn.Flatten(),
            nn.Linear(p.filters_2 * left, p.hidden),
            nn.ReLU(),
            nn.Dropout(p.dropout),
            nn.Linear(p.hidden, 1),
            nn.Flatten(0),
        )
