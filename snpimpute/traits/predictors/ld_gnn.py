"""Graph network: sites are nodes, edges join those in linkage disequilibrium."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from snpimpute.imputers.contract import Trial
from snpimpute.traits.predictors._torch import TorchParams, TorchPredictor, suggest_training
from snpimpute.traits.predictors.cohort import Cohort
from snpimpute.traits.predictors.selection import expected_alleles, standardised

if TYPE_CHECKING:
    import torch


class LdGnnParams(TorchParams):
    """Parameters.

    Attributes:
        min_r2, window: sites are joined whose r² is above, at most so many sites apart.
        width, layers: of a node's state, and rounds of passing it on.
        kept: values of each node that are read out.
        hidden: width of the layer that reads all nodes.
    """

    min_r2: float = Field(0.2, gt=0, lt=1)
    window: int = Field(50, ge=1)
    width: int = Field(32, ge=1)
    layers: int = Field(3, ge=1)
    kept: int = Field(8, ge=1)
    hidden: int = Field(96, ge=1)


class LdGnn(TorchPredictor):
    """Graph convolutions (Kipf and Welling 2017, with a separate weight for the node itself) over an LD graph.

    r² is that of the samples learned from, and of no others. 809 thousand parameters at 1,000 sites.
    """

    description = "graph network over linkage disequilibrium (PyTorch)"
    Params = LdGnnParams

    @classmethod
    def search_space(cls, trial: Trial) -> Any:
        return cls.Params(
            min_r2=trial.suggest_float("min_r2", 0.05, 0.6, log=True),
            width=trial.suggest_categorical("width", (16, 32, 64)),
            layers=trial.suggest_int("layers", 1, 4),
            kept=trial.suggest_categorical("kept", (1, 4, 8)),
            **suggest_training(trial),
        )

    def _learn_structure(self, x: np.ndarray, panel: Cohort) -> None:
        self._edges, self._r2 = ld_edges(panel, self.params.min_r2, self.params.window)

    def _state(self) -> dict[str, Any]:
        return {"edges": self._edges.tolist(), "r2": self._r2.tolist()}

    def _set_state(self, about: dict[str, Any]) -> None:
        self._edges = np.array(about["edges"], dtype=np.int64).reshape(2, -1)
        self._r2 = np.array(about["r2"], dtype=np.float32)

    def network(self, n_sites: int, n_values: int) -> torch.nn.Module:
        import torch
        from torch import nn

        p = self.params
        edges, r2 = torch.from_numpy(self._edges), torch.from_numpy(self._r2)
        total = torch.zeros(n_sites).index_add_(0, edges[0], r2)

        class Graph(nn.Module):
            edges: torch.Tensor
            r2: torch.Tensor
            share: torch.Tensor

            def __init__(self) -> None:
                super().__init__()
                self.register_buffer("edges", edges, persistent=False)
                self.register_buffer("r2", r2, persistent=False)
                self._neighbours: torch.Tensor | None = None
                self.register_buffer("share", 1 / total.clamp(min=1e-6)[:, None], persistent=False)
                self.site = nn.Parameter(0.1 * torch.randn(n_sites, p.width))
                self.enter = nn.Linear(n_values, p.width)
                self.own = nn.ModuleList(nn.Linear(p.width, p.width) for _ in range(p.layers))
                self.passed = nn.ModuleList(nn.Linear(p.width, p.width, bias=False) for _ in range(p.layers))
                self.norms = nn.ModuleList(nn.BatchNorm1d(p.width) for _ in range(p.layers))
                self.read = nn.Linear(p.width, p.kept)
                self.head = nn.Sequential(
                    nn.Flatten(),
                    nn.Linear(n_sites * p.kept, p.hidden),
                    nn.ReLU(),
                    nn.Dropout(p.dropout),
                    nn.Linear(p.hidden, 1),
                    nn.Flatten(0),
                )

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                h = self.enter(x) + self.site  # (batch, n_sites, width)
                for own, passed, norm in zip(self.own, self.passed, self.norms, strict=True):
                    mean = self.sums(h) * self.share
                    h = h + norm((own(h) + passed(mean)).transpose(1, 2)).transpose(1, 2).relu()
                return self.head(self.read(h))

            def sums(self, h: torch.Tensor) -> torch.Tensor:
                """Return the sum of each node's neighbours, weighed by r²."""
                if torch.compiler.is_exporting():  # other formats have no sparse products
                    return torch.zeros_like(h).index_add(1, self.edges[0], h[:, self.edges[1]] * self.r2[:, None])
                if self._neighbours is None or self._neighbours.device != h.device:
                    size = (n_sites, n_sites)
                    self._neighbours = torch.sparse_coo_tensor(
                        self.edges, self.r2, size, check_invariants=True
                    ).coalesce()
                flat = h.transpose(0, 1).reshape(n_sites, -1)  # one sparse product for the whole batch
                return torch.sparse.mm(self._neighbours, flat).view(n_sites, len(h), -1).transpose(0, 1)

        return Graph()


def ld_edges(panel: Cohort, min_r2: float, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Return edges, int64 (2, n_edges), in both directions, and their r², float32 (n_edges,).

    Args:
        panel: samples learned from.
        min_r2: least r² of an edge.
        window: largest number of sites between its ends, on one contig.
    """
    z = standardised(expected_alleles(panel.posterior))
    contig = panel.sites["contig"].to_numpy()
    ends: list[np.ndarray] = []
    strengths: list[np.ndarray] = []
    for apart in range(1, min(window, panel.n_sites - 1) + 1):
        r2 = ((z[:, apart:] * z[:, :-apart]).mean(axis=0)) ** 2
        left = np.flatnonzero((r2 > min_r2) & (contig[apart:] == contig[:-apart]))
        ends += [np.stack([left, left + apart]), np.stack([left + apart, left])]
        strengths += [r2[left], r2[left]]
    if not ends:
        return np.empty((2, 0), dtype=np.int64), np.empty(0, dtype=np.float32)
    return np.concatenate(ends, axis=1).astype(np.int64), np.concatenate(strengths).astype(np.float32)
