"""Attention over patches of sites: the encoder that the transformer and the hybrid share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def encoder_over_patches(
    stem: torch.nn.Module, places: np.ndarray, *, width: int, layers: int, heads: int, feed_forward: int, dropout: float
) -> torch.nn.Module:
    """Return a network: stem, places, transformer encoder, attention pooling, one output.

    Args:
        stem: (batch, n_sites, n_values) in, (batch, n_patches, width) out.
        places: float32 (n_patches, width), added to what the stem gives.
        width, layers, heads, feed_forward, dropout: of the encoder (Vaswani et al. 2017; normalisation before each part).

    The network's attribute `weights` has the pooling weights (batch, n_patches) of the last batch.
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
            self.weights: torch.Tensor | None = None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.norm(self.encoder(self.stem(x) + self.places))
            weights = self.pool(h).softmax(dim=1)
            self.weights = weights[:, :, 0].detach()
            return self.out((weights * h).sum(dim=1))[:, 0]

    return Encoder()


def mean_places(places: np.ndarray, patch: int) -> np.ndarray:
    """Return the mean of every `patch` rows, (n_patches, n_values); the last patch may be shorter."""
    return np.stack([places[i : i + patch].mean(axis=0) for i in range(0, len(places), patch)])
