"""Transformer over patches of sites."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from snpimpute.imputers.contract import Trial
from snpimpute.traits.predictors._attention import attention_on_sites, encoder_over_patches, mean_places
from snpimpute.traits.predictors._places import waves
from snpimpute.traits.predictors._torch import TorchParams, TorchPredictor, suggest_training
from snpimpute.traits.predictors.cohort import Cohort

if TYPE_CHECKING:
    import torch


class TransformerParams(TorchParams):
    """Parameters: sites of a patch; width, layers, heads (they divide the width) and inner width of the encoder."""

    patch: int = Field(8, ge=1)
    width: int = Field(192, ge=8)
    layers: int = Field(7, ge=1)
    heads: int = Field(8, ge=1)
    feed_forward: int = Field(768, ge=1)
    learning_rate: float = Field(3e-4, gt=0)


class Transformer(TorchPredictor):
    """Patches of neighbouring sites as tokens, placed by distance: 3.1 million parameters at 1,000 sites."""

    description = "transformer over patches of sites (PyTorch)"
    attends = True
    Params = TransformerParams

    @classmethod
    def search_space(cls, trial: Trial) -> Any:
        return cls.Params(
            patch=trial.suggest_categorical("patch", (4, 8, 16, 32)),
            width=trial.suggest_categorical("width", (64, 128, 192)),
            layers=trial.suggest_int("layers", 1, 7),
            **suggest_training(trial),
        )

    def _learn_structure(self, x: np.ndarray, panel: Cohort) -> None:
        self._places = mean_places(waves(panel.sites, self.params.width), self.params.patch)

    def _state(self) -> dict[str, Any]:
        return {"places": self._places.tolist()}

    def _set_state(self, about: dict[str, Any]) -> None:
        self._places = np.array(about["places"], dtype=np.float32)

    def attention(self, x: np.ndarray) -> np.ndarray:
        return attention_on_sites(self.network_alone(), x, self.params.patch)

    def network(self, n_sites: int, n_values: int) -> torch.nn.Module:
        from torch import nn

        p = self.params
        n_patches = -(-n_sites // p.patch)
        stem = nn.Sequential(
            nn.ZeroPad2d((0, 0, 0, n_patches * p.patch - n_sites)),  # the last patch is filled up
            nn.Unflatten(1, (n_patches, p.patch)),
            nn.Flatten(2),
            nn.Linear(p.patch * n_values, p.width),
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
