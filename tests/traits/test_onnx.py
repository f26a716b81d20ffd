"""Networks on traits as ONNX: the same predictions, for any number of samples, and refusals in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from snpimpute.base.errors import InputError
from snpimpute.cli.app import app
from snpimpute.io.write_vcf import write_vcf
from snpimpute.traits.learned import Learned
from snpimpute.traits.onnx import PARITY, export_onnx, made_up, predict_onnx
from snpimpute.traits.predictors.cohort import Cohort
from snpimpute.traits.predictors.testing import small_cohort
from tests.traits.data import ld_calls, matrix_of, write_traits
from tests.traits.test_explain import fitted

pytest.importorskip("onnxruntime")
# an export takes ten seconds and more: the one whose layers are others when it is exported stays in the ordinary suite
SLOW = ("cnn", "cnn_transformer", "hierarchical", "mlp", "transformer")
EACH = ["ld_gnn", *(pytest.param(name, marks=pytest.mark.panels) for name in SLOW)]


@pytest.mark.parametrize("name", EACH)
def test_every_network_predicts_the_same(name: str, tmp_path: Path) -> None:
    cohort = small_cohort(90)
    predictor = fitted(name, cohort, epochs=2, encoding="onehot", n_best=30)
    file = tmp_path / "network.onnx"
    assert export_onnx(Learned(predictor, "milk", {}), file, "a1") <= PARITY
    for n in (1, 7, 90):  # missing genotypes and uncertain ones among them
        some = made_up(predictor, n, seed=n)
        found = predict_onnx(predictor, file, some, "a1")
        assert found.shape == (n,) and found.dtype == np.float32
        np.testing.assert_allclose(found, predictor.predict(some), atol=PARITY * cohort.values.std())
    assert found.std() > 0
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(InputError, match="is not exported from this model"):
        predict_onnx(predictor, file, some, "b2")


def test_a_binary_trait_comes_as_a_probability(tmp_path: Path) -> None:
    plain = small_cohort(200, heritability=0.8)
    values = (plain.values > np.median(plain.values)).astype(float)
    cohort = Cohort(plain.posterior, plain.sites, values, plain.covariates, binary=True)
    predictor = fitted("mlp", cohort)
    export_onnx(Learned(predictor, "case", {}), tmp_path / "n.onnx", "a1")
    found = predict_onnx(predictor, tmp_path / "n.onnx", cohort, "a1")
    assert 0 <= found.min() < found.max() <= 1
    np.testing.assert_allclose(found, predictor.predict(cohort), atol=PARITY)


def test_export_and_predict_by_the_command_line(tmp_path: Path) -> None:
    calls = ld_calls(60, 30, seed=5)
    genotypes = tmp_path / "g.vcf.gz"
    matrix = matrix_of(calls)
    write_vcf(genotypes, matrix)
    rng = np.random.default_rng(2)
    traits = write_traits(tmp_path / "t.tsv", milk=calls[:, 3] + rng.standard_normal(60))

    def run(*words: object) -> str:
        done = CliRunner().invoke(app, ["traits", *map(str, words)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    for predictor in ("mlp", "ridge"):
        run(
            "fit",
            genotypes,
            "--traits",
            traits,
            "--trait",
            "milk",
            "--predictor",
            predictor,
            "-o",
            tmp_path / predictor,
        )
    told = json.loads(run("export", tmp_path / "mlp", "--json"))
    assert told["onnx"] == f"{tmp_path}/mlp.onnx" and told["largest_difference"] <= PARITY
    tables = []
    for more in ([], ["--onnx", tmp_path / "mlp.onnx"]):
        tables.append(tmp_path / f"predicted{len(more)}.tsv")
        run("predict", tmp_path / "mlp", genotypes, "-o", tables[-1], *more)
    plain, by_onnx = (np.loadtxt(table, skiprows=1, usecols=1) for table in tables)
    np.testing.assert_allclose(by_onnx, plain, atol=1e-4)
    for words, told in (
        (["export", tmp_path / "ridge"], "ridge is no network"),
        (["export", tmp_path / "mlp"], "is there already"),
        (
            ["predict", tmp_path / "ridge", genotypes, "-o", tmp_path / "x", "--onnx", tmp_path / "mlp.onnx"],
            "not exported from",
        ),
        (
            ["predict", tmp_path / "mlp", genotypes, "-o", tmp_path / "x", "--onnx", traits],
            "cannot be read as an exported",
        ),
    ):
        done = CliRunner().invoke(app, ["traits", *map(str, words)])
        assert isinstance(done.exception, InputError) and told in str(done.exception), done.exception
        assert "\n" not in str(done.exception)
    assert not (tmp_path / "x").exists() and not (tmp_path / "ridge.onnx").exists()
