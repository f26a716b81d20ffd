"""Attention at each level: sites within a block, blocks within a chromosome, chromosomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import Field

from snpimpute.imputers.contract import Trial
from snpimpute.traits.predictors._torch import TorchParams, TorchPredictor, suggest_training
from snpimpute.traits.predictors.cohort import Cohort
from snpimpute.traits.predictors.selection import expected_alleles, standardised

if TYPE_CHECKING:
    import torch


class HierarchicalParams(TorchParams):
    """Parameters.

    Attributes:
        block_r2: neighbouring sites are in one block if the r² between them is above it.
        longest: most sites of a block.
        width: of a site's, a block's and a chromosome's state.
    """

    block_r2: float = Field(0.2, ge=0, lt=1)
    longest: int = Field(50, ge=1)
    width: int = Field(32, ge=1)


class Hierarchical(TorchPredictor):
    """Sites, haplotype blocks, chromosomes: each level weighs those below by attention (as G2PT does, without its ontology).

    Blocks are runs of linked sites among the samples learned from.
    """

    description = "attention over sites, blocks and chromosomes (PyTorch)"
    attends = True
    Params = HierarchicalParams

    @classmethod
    def search_space(cls, trial: Trial) -> Any:
        return cls.Params(
            block_r2=trial.suggest_float("block_r2", 0.05, 0.6, log=True),
            width=trial.suggest_categorical("width", (16, 32, 64)),
            **suggest_training(trial),
        )

    def _learn_structure(self, x: np.ndarray, panel: Cohort) -> None:
        self._block = blocks_by_linkage(panel, self.params.block_r2, self.params.longest)
        first = np.flatnonzero(np.diff(self._block, prepend=-1))
        self._chromosome = pd.factorize(panel.sites["contig"])[0][first]

    def _state(self) -> dict[str, Any]:
        return {"block": self._block.tolist(), "chromosome": self._chromosome.tolist()}

    def _set_state(self, about: dict[str, Any]) -> None:
        self._block = np.array(about["block"], dtype=np.int64)
        self._chromosome = np.array(about["chromosome"], dtype=np.int64)

    def attention(self, x: np.ndarray) -> np.ndarray:
        """Return the product of a site's weight in its block, its block's in the chromosome and the chromosome's."""
        import torch

        network = self.network_alone()
        with torch.no_grad():
            network(torch.from_numpy(x))
        on_sites, on_blocks, on_chromosomes = (
            level.weights.numpy() for level in (network.sites, network.blocks, network.chromosomes)
        )
        return on_sites * on_blocks[:, self._block] * on_chromosomes[:, self._chromosome[self._block]]

    def network(self, n_sites: int, n_values: int) -> torch.nn.Module:
        import torch
        from torch import nn

        p = self.params
        block, chromosome = torch.from_numpy(self._block), torch.from_numpy(self._chromosome)

        class Level(nn.Module):
            """States of members in, states of their groups out, weighed by attention within each group."""

            group: torch.Tensor

            def __init__(self, group: torch.Tensor) -> None:
                super().__init__()
                self.register_buffer("group", group, persistent=False)
                self.n_groups = int(group.max()) + 1
                self.score = nn.Linear(p.width, 1)
                self.mix = nn.Sequential(
                    nn.LayerNorm(p.width), nn.Linear(p.width, p.width), nn.GELU(), nn.Dropout(p.dropout)
                )
                self.weights: torch.Tensor | None = None

            def forward(self, h: torch.Tensor) -> torch.Tensor:
                score = self.score(h)[:, :, 0].clamp(-10, 10).exp()  # a softmax within each group
                total = score.new_zeros(h.shape[0], self.n_groups).index_add_(1, self.group, score)
                weights = score / total[:, self.group]
                self.weights = weights.detach()
                pooled = h.new_zeros(h.shape[0], self.n_groups, p.width).index_add_(
                    1, self.group, weights[:, :, None] * h
                )
                return pooled + self.mix(pooled)

        class Hierarchy(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.effect = nn.Parameter(torch.randn(n_sites, n_values, p.width) / (n_values * p.width) ** 0.5)
                self.site = nn.Parameter(0.1 * torch.randn(n_sites, p.width))
                self.sites = Level(block)
                self.blocks = Level(chromosome)
                self.chromosomes = Level(torch.zeros(int(chromosome.max()) + 1, dtype=torch.long))
                self.out = nn.Linear(p.width, 1)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                h = torch.einsum("bsv,svw->bsw", x, self.effect) + self.site
                return self.out(self.chromosomes(self.blocks(self.sites(h)))[:, 0])[:, 0]

        return Hierarchy()


def blocks_by_linkage(panel: Cohort, min_r2: float, longest: int) -> np.ndarray:
    """Return the number of each site's block, int64 (n_sites,), ascending: runs of sites linked with the one before."""
    z = standardised(expected_alleles(panel.posterior))
    r2 = (z[:, 1:] * z[:, :-1]).mean(axis=0) ** 2
    contig = panel.sites["contig"].to_numpy()
    block, number, length = np.zeros(panel.n_sites, dtype=np.int64), 0, 1
    for site in range(1, panel.n_sites):
        if r2[site - 1] <= min_r2 or contig[site] != contig[site - 1] or length >= longest:
            number, length = number + 1, 0
        length += 1
        block[site] = number
    return block
