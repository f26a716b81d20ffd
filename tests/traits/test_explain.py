"""Attributions as they must be: they add up, find what makes the trait, and rank copies that do not matter below it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cyvcf2 import VCF
from typer.testing import CliRunner

from snpimpute.base.errors import InputError
from snpimpute.cli.app import app
from snpimpute.io.write_vcf import write_vcf
from snpimpute.traits.attributions import COMPLETE, attributions, completeness_gap, ensemble, methods_of
from snpimpute.traits.finemap import STANDARD
from snpimpute.traits.predictors import load
from snpimpute.traits.predictors.cohort import Cohort
from snpimpute.traits.predictors.contract import Predictor
from snpimpute.traits.predictors.testing import small_cohort
from tests.traits.data import ld_calls, matrix_of, write_traits

TRAINING = {"epochs": 20, "patience": 20, "batch_size": 16, "learning_rate": 3e-3, "dropout": 0.1}
SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"hidden_1": 32, "hidden_2": 16},
    "cnn": {"filters_1": 8, "filters_2": 8, "window": 5, "pool": 2, "hidden": 16},
    "cnn_transformer": {"pool": 2, "width": 16, "layers": 1, "feed_forward": 32},
    "transformer": {"patch": 3, "width": 16, "layers": 2, "feed_forward": 32},
    "ld_gnn": {"width": 8, "layers": 2, "kept": 4, "hidden": 16},
    "hierarchical": {"width": 8},
}
CAUSAL = np.linspace(2, 37, 5).astype(int)  # of small_cohort(n, 40)


def fitted(name: str, cohort: Cohort, **more: Any) -> Predictor:
    cls = load(name)
    params = {**TRAINING, **SMALL[name]} if name in SMALL else {}
    return cls(cls.parse_params({**params, **more}), seed=3).fit(cohort)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_integrated_gradients_of_every_network_add_up(name: str):
    cohort = small_cohort(150)
    predictor = fitted(name, cohort)
    found = attributions(predictor, cohort.take_samples(np.arange(10)), "integrated_gradients")
    assert completeness_gap(predictor, cohort.take_samples(np.arange(10)), found) <= 2 * COMPLETE
    assert np.abs(found).sum() > 1, "they are not all zero"


@pytest.mark.parametrize("name", ["gblup", "ridge", "elastic_net"])
def test_effects_add_up_to_what_is_predicted(name: str):
    cohort = replace(small_cohort(150), covariates=np.empty((150, 0)))
    predictor = fitted(name, cohort)
    offset = predictor.predict(cohort) - attributions(predictor, cohort, "effects").sum(axis=1)
    np.testing.assert_allclose(offset, offset[0], atol=1e-4)


@pytest.mark.parametrize("name", ["ridge", "lightgbm", "mlp"])
def test_decoys_are_ranked_below_what_makes_the_trait(name: str):
    """A copy of each site with its samples permuted has its frequency and no effect."""
    cohort = small_cohort(400, heritability=0.8)
    rng = np.random.default_rng(4)
    decoys = np.stack([cohort.posterior[rng.permutation(400), j] for j in range(40)], axis=1)
    sites = pd.concat([cohort.sites, cohort.sites.assign(contig="3", pos=cohort.sites.pos + np.arange(40))])
    both = replace(
        cohort, posterior=np.concatenate([cohort.posterior, decoys], axis=1), sites=sites.reset_index(drop=True)
    )
    predictor = fitted(name, both, min_maf=0.0)
    target = both.take_samples(np.arange(50))
    scores = ensemble({m: np.abs(attributions(predictor, target, m)).mean(axis=0) for m in methods_of(predictor)})
    assert len(scores) == 80
    best = np.argsort(-scores)[:5]
    assert (best < 40).all(), "no decoy is among the five best"
    assert len(set(best) & set(CAUSAL)) >= 4


@pytest.mark.parametrize("name", ["cnn_transformer", "transformer", "hierarchical"])
def test_attention_on_sites_sums_to_one(name: str):
    cohort = small_cohort(60)
    found = attributions(fitted(name, cohort, epochs=2), cohort, "attention")
    assert found.shape == (60, 40) and (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_rollout_of_one_head_by_hand():
    """Two layers of the encoder, written out with their softmaxes."""
    import torch

    predictor: Any = fitted("transformer", small_cohort(60), epochs=1, heads=1)
    network = predictor.network_alone()
    x = torch.from_numpy(predictor.encoding.encode(small_cohort(5).posterior))
    with torch.no_grad():
        h = network.stem(x) + network.places
        rolled = torch.eye(h.shape[1])
        for layer in network.encoder.layers:
            attention = layer.self_attn
            q, k, _ = (layer.norm1(h) @ attention.in_proj_weight.T + attention.in_proj_bias).chunk(3, dim=2)
            seen = (q @ k.transpose(1, 2) / q.shape[2] ** 0.5).softmax(dim=2)
            rolled = (0.5 * seen + 0.5 * torch.eye(h.shape[1])) @ rolled
            h = layer(h)
        pooled = network.pool(network.norm(h))[:, :, 0].softmax(dim=1)
        expected = (pooled[:, :, None] * rolled).sum(dim=1)
        np.testing.assert_allclose(network.rollout(x).numpy(), expected.numpy(), atol=1e-6)


def test_same_seed_same_attributions_and_other_seeds_agree():
    cohort = small_cohort(150)
    predictor = fitted("mlp", cohort)
    for method in ("smoothgrad", "gradient_shap"):
        first, again, other = (np.abs(attributions(predictor, cohort, method, seed)).mean(axis=0) for seed in (1, 1, 2))
        np.testing.assert_array_equal(first, again)
        assert np.corrcoef(first, other)[0, 1] > 0.95


def test_what_has_no_effects_of_sites_is_refused():
    cohort = small_cohort(60)
    with pytest.raises(InputError, match="rkhs has no effects of sites"):
        methods_of(fitted("rkhs", cohort))
    with pytest.raises(InputError, match="method 'shap' does not explain predictor ridge"):
        attributions(fitted("ridge", cohort), cohort, "shap")


def test_explain_by_the_command_line(tmp_path: Path):
    matrix = matrix_of(ld_calls(120, 60, seed=1))
    write_vcf(tmp_path / "panel.vcf.gz", matrix)
    y = matrix.calls[:, 30] * 2.0 + np.random.default_rng(1).normal(0, 0.3, 120)
    write_traits(tmp_path / "traits.tsv", y=y)
    model, panel = str(tmp_path / "model"), str(tmp_path / "panel.vcf.gz")
    fit = ["traits", "fit", panel, "--traits", str(tmp_path / "traits.tsv"), "--trait", "y", "--threads", "1"]
    (tmp_path / "genes.gff3").write_text("##gff-version 3\n1\tt\tgene\t30500\t32000\t.\t+\t.\tID=g1;Name=MILK\n")
    (tmp_path / "blocks.bed").write_text("1\t29999\t33000\n")
    for predictor in ("elastic_net", "lightgbm"):
        CliRunner().invoke(app, [*fit, "--predictor", predictor, "-o", model, "--force"], catch_exceptions=False)
        command = ["traits", "explain", model, panel, "-o", str(tmp_path / "found"), "--top", "5"]
        command += ["--genes", str(tmp_path / "genes.gff3"), "--blocks", str(tmp_path / "blocks.bed"), "--force"]
        done = CliRunner().invoke(app, command, catch_exceptions=False)
        assert "not causality" in done.output
        table = pd.read_csv(tmp_path / "found" / "explain.tsv", sep="\t")
        assert list(table)[:8] == list(STANDARD)
        assert table.importance_score.idxmax() == 30 and table.importance_score.max() == 1
        assert len(table) == 60
        assert table.gene[30] == "MILK" and table.gene_distance[30] == 0 and table.gene_distance[32] == 1000
        assert table.block[table.block.notna()].index.tolist() == [29, 30, 31, 32]
        page = (tmp_path / "found" / "explain.html").read_text()
        assert 'id="importance-heat"' in page and "MILK" in page and (tmp_path / "found" / "explain.png").exists()
        said = json.loads((tmp_path / "found" / "explain.json").read_text())
        assert said["sites"][0]["position"] == 31000 and len(said["sites"]) <= 5
        records = {v.POS: v.INFO["IMPORTANCE"] for v in VCF(str(tmp_path / "found" / "explain.vcf.gz"))}
        assert records[31000] == 1 and len(records) == len(said["sites"])
        bed = (tmp_path / "found" / "explain.bed").read_text().splitlines()
        assert "1\t30999\t31000\trs0_30\t1000\t." in bed
        assert (tmp_path / "found" / "explain.gff3").read_text().startswith("##gff-version 3\n1\t")
