"""Transformer over patches of sites."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from snpimpute.imputers.contract import Trial
from snpimpute.traits.predictors._attention import AttentionParams, AttentionPredictor
from snpimpute.traits.predictors._torch import suggest_training

if TYPE_CHECKING:
    import torch


class TransformerParams(AttentionParams):
    """Parameters: sites of a patch; width, layers, heads (they divide the width) and inner width of the encoder."""

    patch: int = Field(8, ge=1)
    width: int = Field(192, ge=8)
    feed_forward: int = Field(768, ge=1)


class Transformer(AttentionPredictor):
    """Patches of neighbouring sites as tokens, placed by distance: 3.1 million parameters at 1,000 sites."""

    description = "transformer over patches of sites (PyTorch)"
    Params = TransformerParams

    @classmethod
    def search_space(cls, trial: Trial) -> Any:
        return cls.Params(
            patch=trial.suggest_categorical("patch", (4, 8, 16, 32)),
            width=trial.suggest_categorical("width", (64, 128, 192)),
            layers=trial.suggest_int("layers", 1, 7),
            **suggest_training(trial),
        )

    @property
    def patch(self) -> int:
        return int(self.params.patch)

    def stem(self, n_sites: int, n_values: int) -> torch.nn.Module:
        from torch import nn

        p = self.params
        n_patches = -(-n_sites // p.patch)
        return nn.Sequential(
            nn.ZeroPad2d((0, 0, 0, n_patches * p.patch - n_sites)),  # the last patch is filled up
            nn.Unflatten(1, (n_patches, p.patch)),
            nn.Flatten(2),
            nn.Linear(p.patch * n_values, p.width),
        )
