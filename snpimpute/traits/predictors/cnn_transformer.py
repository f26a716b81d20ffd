"""Convolutions, then attention: the hybrid of a convolutional network and a transformer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from snpimpute.imputers.contract import Trial
from snpimpute.traits.predictors._attention import AttentionParams, AttentionPredictor
from snpimpute.traits.predictors._torch import along_sites, suggest_training

if TYPE_CHECKING:
    import torch


class CnnTransformerParams(AttentionParams):
    """Parameters: sites that a filter sees, sites pooled into a token; width, layers, heads and inner width of the encoder."""

    window: int = Field(9, ge=1)
    pool: int = Field(8, ge=1)


class CnnTransformer(AttentionPredictor):
    """Two convolutions with batch normalisation, and pooling, make tokens, placed by distance: 1.5 million parameters at 1,000 sites."""

    description = "convolutions, then attention: CNN and transformer (PyTorch)"
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

    @property
    def patch(self) -> int:
        return int(self.params.pool)

    def stem(self, n_sites: int, n_values: int) -> torch.nn.Module:
        from torch import nn

        p = self.params
        return nn.Sequential(
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
