"""Networks on traits: the contract, their sizes, what their structure is learned from, and the focal loss."""

from __future__ import annotations

import numpy as np
import pytest

from snpimpute.traits.predictors import load
from snpimpute.traits.predictors._torch import focal_loss
from snpimpute.traits.predictors.cnn import Cnn
from snpimpute.traits.predictors.cnn_transformer import CnnTransformer
from snpimpute.traits.predictors.hierarchical import Hierarchical, blocks_by_linkage
from snpimpute.traits.predictors.ld_gnn import LdGnn, ld_edges
from snpimpute.traits.predictors.mlp import Mlp
from snpimpute.traits.predictors.testing import PredictorContract, small_cohort
from snpimpute.traits.predictors.transformer import Transformer

SMALL = {"epochs": 25, "patience": 25, "batch_size": 16, "dropout": 0.1, "learning_rate": 3e-3}


class TestMlp(PredictorContract):
    Predictor = Mlp
    quick = {**SMALL, "hidden_1": 128, "hidden_2": 64}


class TestCnn(PredictorContract):
    Predictor = Cnn
    quick = {**SMALL, "filters_1": 8, "filters_2": 8, "window": 5, "pool": 2, "hidden": 16}


class TestCnnTransformer(PredictorContract):
    Predictor = CnnTransformer
    quick = {
        **SMALL,
        "epochs": 15,
        "patience": 15,
        "learning_rate": 1e-2,
        "window": 1,
        "pool": 1,
        "width": 16,
        "layers": 1,
        "feed_forward": 32,
    }


class TestTransformer(PredictorContract):
    Predictor = Transformer
    quick = {
        **SMALL,
        "epochs": 12,
        "patience": 12,
        "learning_rate": 6e-3,
        "patch": 2,
        "width": 16,
        "layers": 1,
        "feed_forward": 32,
    }


class TestLdGnn(PredictorContract):
    Predictor = LdGnn
    quick = {**SMALL, "width": 8, "layers": 2, "kept": 4, "hidden": 16}

    def test_edges_join_linked_sites_of_one_contig(self) -> None:
        cohort = small_cohort(400)
        edges, r2 = ld_edges(cohort, 0.1, 10)
        assert (r2 > 0.1).all() and {tuple(e) for e in edges.T} == {tuple(e[::-1]) for e in edges.T}
        assert {(1, 2), (2, 3)} <= {tuple(e) for e in edges.T}
        assert not any((a < 20) != (b < 20) for a, b in edges.T)


class TestHierarchical(PredictorContract):
    Predictor = Hierarchical
    quick = {**SMALL, "width": 8}

    def test_blocks_end_where_linkage_does(self) -> None:
        block = blocks_by_linkage(small_cohort(400), 0.05, 50)
        starts = np.flatnonzero(np.diff(block, prepend=-1)).tolist()
        assert starts == [0, 10, 20, 30], "sites are drawn in runs of ten"


@pytest.mark.parametrize(
    ("name", "millions", "tolerance"),
    [("cnn", 0.5, 0.02), ("cnn_transformer", 1.5, 0.1), ("transformer", 3.0, 0.2), ("ld_gnn", 0.8, 0.05)],
)
def test_sizes_at_a_thousand_sites(name: str, millions: float, tolerance: float) -> None:
    """As many parameters as the designs that they follow have."""
    predictor = load(name)()
    cohort = small_cohort(40, 1000)
    predictor._learn_structure(np.empty(0), cohort)
    size = sum(weight.numel() for weight in predictor.network(1000, 1).parameters())
    assert size / 1e6 == pytest.approx(millions, abs=tolerance)


def test_focal_loss() -> None:
    import torch

    score, target = torch.tensor([0.3, -1.2, 2.0]), torch.tensor([1.0, 0.0, 0.0])
    plain = torch.nn.functional.binary_cross_entropy_with_logits(score, target)
    assert focal_loss(score, target, 0.0, 0.5).item() == pytest.approx(plain.item(), rel=1e-6)
    p = torch.sigmoid(score)
    by_hand = -(2 * 0.25 * (1 - p[0]) ** 2 * p[0].log() + 1.5 * sum(p[i] ** 2 * (1 - p[i]).log() for i in (1, 2))) / 3
    assert focal_loss(score, target, 2.0, 0.25).item() == pytest.approx(by_hand.item(), rel=1e-5)
