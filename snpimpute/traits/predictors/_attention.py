"""Attention over patches of sites: what the transformer and the hybrid share; they differ in how patches become tokens."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from snpimpute.traits.predictors._places import waves
from snpimpute.traits.predictors._torch import TorchParams, TorchPredictor
from snpimpute.traits.predictors.cohort import Cohort

if TYPE_CHECKING:
    import torch


class AttentionParams(TorchParams):
    """Parameters of networks with attention: width, layers, heads (they divide the width) and inner width of the encoder."""

    width: int = Field(128, ge=8)
    layers: int = Field(7, ge=1)
    heads: int = Field(8, ge=1)
    feed_forward: int = Field(512, ge=1)
    learning_rate: float = Field(3e-4, gt=0)


class AttentionPredictor(TorchPredictor):
    """Transformer encoder over patches of sites, placed by distance: a subclass defines `patch` and `stem`."""

    attends = True
    Params = AttentionParams

    @property
    @abstractmethod
    def patch(self) -> int:
        """Number of sites of a patch."""

    @abstractmethod
    def stem(self, n_sites: int, n_values: int) -> torch.nn.Module:
        """Return what makes tokens: (batch, n_sites, n_values) in, (batch, n_patches, width) out."""

    def _learn_structure(self, x: np.ndarray, panel: Cohort) -> None:
        self._places = mean_places(waves(panel.sites, self.params.width), self.patch)

    def _state(self) -> dict[str, Any]:
        return {"places": self._places.tolist()}

    def _set_state(self, about: dict[str, Any]) -> None:
        self._places = np.array(about["places"], dtype=np.float32)

    def attention(self, x: np.ndarray) -> np.ndarray:
        return attention_on_sites(self.network_alone(), x, self.patch)

    def network(self, n_sites: int, n_values: int) -> torch.nn.Module:
        p = self.params
        return encoder_over_patches(
            self.stem(n_sites, n_values),
            self._places,
            width=p.width,
            layers=p.layers,
            heads=p.heads,
            feed_forward=p.feed_forward,
            dropout=p.dropout,
        )


def encoder_over_patches(
    stem: torch.nn.Module, places: np.ndarray, *, width: int, layers: int, heads: int, feed_forward: int, dropout: float
) -> torch.nn.Module:
    """Return a network: stem, places, transformer encoder, attention pooling, one output.

    Args:
        stem: (batch, n_sites, n_values) in, (batch, n_patches, width) out.
        places: float32 (n_patches, width), added to what the stem gives.
        width, layers, heads, feed_forward, dropout: of the encoder (Vaswani et al. 2017; normalisation before each part).

    The network's method `rollout` gives the attention on each patch.
    """
    import torch
    from torch import nn

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = stem
            self.register_buffer("places", torch.from_numpy(places))
            layer = nn.TransformerEncoderLayer(
                width, heads, feed_forward, dropout, activation="gelu", batch_first=True, norm_first=True
            )
            self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
            self.norm = nn.LayerNorm(width)
            self.pool = nn.Linear(width, 1)
            self.out = nn.Linear(width, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.norm(self.encoder(self.stem(x) + self.places))
            return self.out((self.pool(h).softmax(dim=1) * h).sum(dim=1))[:, 0]

        def rollout(self, x: torch.Tensor) -> torch.Tensor:
            """Return attention rolled out over layers (Abnar and Zuidema 2020), (batch, n_patches), each row of sum 1."""
            h = self.stem(x) + self.places
            rolled = torch.eye(h.shape[1], device=h.device)
            for part in self.encoder.layers:
                beside = part.norm1(h)
                _, seen = part.self_attn(beside, beside, beside)  # the mean of the heads
                rolled = (seen / 2 + torch.eye(h.shape[1], device=h.device) / 2) @ rolled
                h = part(h)
            return (self.pool(self.norm(h)).transpose(1, 2).softmax(dim=2) @ rolled)[:, 0]

    return Encoder()


def mean_places(places: np.ndarray, patch: int) -> np.ndarray:
    """Return the mean of every `patch` rows, (n_patches, n_values); the last patch may be shorter."""
    return np.stack([places[i : i + patch].mean(axis=0) for i in range(0, len(places), patch)])


def attention_on_sites(network: Any, x: np.ndarray, patch: int) -> np.ndarray:
    """Return the attention on each site, float32 (n_samples, n_sites): that on its patch, in equal shares.

    Args:
        network: as `encoder_over_patches` makes it, in evaluation mode.
        x: float32 (n_samples, n_sites, n_values).
        patch: sites of a patch.
    """
    import torch

    n_sites = x.shape[1]
    sizes = np.bincount(np.arange(n_sites) // patch)
    with torch.no_grad():
        on_patches = network.rollout(torch.from_numpy(x)).numpy()
    return np.repeat(on_patches / sizes, sizes, axis=1)
