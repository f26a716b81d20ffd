"""Convolutions, then attention: the hybrid of a convolutional network and a transformer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from snpimpute.imputers.contract import Trial
from snpimpute.traits.predictors._attention import attention_on_sites, encoder_over_patches, mean_places
from snpimpute.traits.predictors._places import waves
from snpimpute.traits.predictors._torch import TorchParams, TorchPredictor, along_sites, suggest_training
from snpimpute.traits.predictors.cohort import Cohort

if TYPE_CHECKING:
    import torch


class CnnTransformerParams(TorchParams):
    """Parameters: sites that a filter sees, sites pooled into a token; width, layers, heads and inner width of the encoder."""

    window: int = Field(9, ge=1)
    pool: int = Field(8, ge=1)
    width: int = Field(128, ge=8)
    layers: int = Field(7, ge=1)
    heads: int = Field(8, ge=1)
    feed_forward: int = Field(512, ge=1)
    learning_rate: float = Field(3e-4, gt=0)


class CnnTransformer(TorchPredictor):
    """Two convolutions with batch normalisation, and pooling, make tokens, placed by distance: 1.5 million parameters at 1,000 sites."""

    description = "convolutions, then attention: CNN and transformer (PyTorch)"
    attends = True
    Params = CnnTransformerParams

    @classmethod
    def search_space(cls, trial: Trial) -> Any:
        return cls.Params(
            window=trial.suggest_int("window", 3, 21, step=2),
            pool=trial.suggest_categorical("pool", (4, 8, 16)),
            width=trial.suggest_categorical("width", (64, 128)),
            layers=trial.suggest_int("layers", 1, 7),
            **suggest_training(trial),
        )

    def _learn_structure(self, x: np.ndarray, panel: Cohort) -> None:
        self._places = mean_places(waves(panel.sites, self.params.width), self.params.pool)

    def _state(self) -> dict[str, Any]:
        return {"places": self._places.tolist()}

    def _set_state(self, about: dict[str, Any]) -> None:
        self._places = np.array(about["places"], dtype=np.float32)

    def attention(self, x: np.ndarray) -> np.ndarray:
        return attention_on_sites(self.network_alone(), x, self.params.pool)

    def network(self, n_sites: int, n_values: int) -> torch.nn.Module:
        from torch import nn

        p = self.params
        stem = nn.Sequential(
            along_sites(),
            nn.Conv1d(n_values, p.width, p.window, padding=p.window // 2),
            nn.BatchNorm1d(p.width),
            nn.ReLU(),
            nn.Conv1d(p.width, p.width, p.window, padding=p.window // 2),
            nn.BatchNorm1d(p.width),
            nn.ReLU(),
            nn.MaxPool1d(p.pool, ceil_mode=True),
            along_sites(),
        )
        return encoder_over_patches(
            stem,
            self._places,
            width=p.width,
            layers=p.layers,
            heads=p.heads,
            feed_forward=p.feed_forward,
            dropout=p.dropout,
        )
