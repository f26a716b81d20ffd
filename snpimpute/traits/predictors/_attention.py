"""Attention over patches of sites: the encoder that the transformer and the hybrid share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
