"""Principal components as covariates: what they are, whose samples they are of, and what is refused with them."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import optuna
import pytest
from typer.testing import CliRunner

from snpimpute.base.errors import InputError
from snpimpute.cli.app import app
from snpimpute.io.write_vcf import write_vcf
from snpimpute.traits.attributions import attributions
from snpimpute.traits.learned import Learned
from snpimpute.traits.onnx import export_onnx
from snpimpute.traits.predictors import load
from snpimpute.traits.predictors._components import FittedComponents
from snpimpute.traits.predictors.cohort import Cohort, posterior_of_calls
from snpimpute.traits.predictors.contract import Predictor
from snpimpute.traits.predictors.gblup import Gblup
from snpimpute.traits.predictors.selection import expected_alleles
from snpimpute.traits.predictors.testing import small_cohort
from snpimpute.traits.tuned import _suggest, tune_predictor
from tests.traits.data import ld_calls, matrix_of, write_traits
from tests.traits.predictors.test_leaks import over_permutations, within_folds


def two_groups(n_samples: int = 120, n_sites: int = 200) -> Cohort:
    """Two groups whose frequencies differ at every site by a little, and whose trait differs by two standard deviations."""
    rng = np.random.default_rng(3)
    group = np.arange(n_samples) % 2
    frequency = np.clip(0.4 + np.outer(group - 0.5, rng.normal(0, 0.12, n_sites)), 0.05, 0.95)
    calls = rng.binomial(2, frequency).astype(np.int8)
    like = small_cohort(n_samples, n_sites)
    values = 2.0 * group + rng.normal(size=n_samples)
    return Cohort(posterior_of_calls(calls), like.sites, values, np.empty((n_samples, 0)))


def fit(name: str, panel: Cohort, **params: object) -> Predictor:
    cls = load(name)
    return cls(cls.parse_params(params), seed=1).fit(panel)


def test_they_are_those_of_a_singular_value_decomposition_and_others_are_projected() -> None:
    cohort = small_cohort(100)
    panel, rest = cohort.take_samples(np.arange(70)), cohort.take_samples(np.arange(70, 100))
    found = FittedComponents.of(panel, 4)
    dosages = expected_alleles(panel.posterior)
    assert (found.sites == np.arange(40)).all()
    z = (dosages - dosages.mean(axis=0)) / dosages.std(axis=0)
    u, singular, v = np.linalg.svd(z, full_matrices=False)
    complete = replace(panel, posterior=posterior_of_calls(np.rint(dosages).astype(np.int8)))
    exact = FittedComponents.of(complete, 4).beside(complete).covariates[:, 1:]
    np.testing.assert_allclose(exact.var(axis=0), 1, rtol=1e-6)
    own = found.beside(panel).covariates
    np.testing.assert_array_equal(own[:, :1], panel.covariates)
    for k in range(4):
        assert abs(np.corrcoef(own[:, 1 + k], u[:, k])[0, 1]) > 0.9999
        known = np.isfinite(rest.posterior).all(axis=2)
        away = np.where(known, (rest.posterior @ np.arange(3) - dosages.mean(axis=0)) / dosages.std(axis=0), 0)
        projected = away @ v[k] / singular[k] * np.sqrt(70)
        theirs = found.beside(rest).covariates[:, 1 + k]
        np.testing.assert_allclose(theirs, projected * np.sign(projected @ theirs), atol=1e-6)


def test_a_difference_of_groups_is_predicted_by_them_alone() -> None:
    """A predictor of one site has them from all sites."""
    cohort = two_groups()
    order = np.random.default_rng(1).permutation(120)
    assert within_folds(Gblup, {"n_best": 1}, cohort, order) < 0.5
    assert within_folds(Gblup, {"n_best": 1, "components": 1}, cohort, order) > 0.6


@pytest.mark.parametrize("name", ["gblup", "lightgbm", "mlp"])
def test_a_saved_predictor_projects_each_sample_by_itself(name: str, tmp_path: Path) -> None:
    cohort = small_cohort(90)
    quick = {"lightgbm": {"trees": 10}, "mlp": {"epochs": 2, "hidden_1": 8, "hidden_2": 4}}.get(name, {})
    predictor = fit(name, cohort.take_samples(np.arange(70)), components=3, **quick)
    predictor.save(tmp_path / "saved")
    loaded = load(name).load(tmp_path / "saved")
    rest = cohort.take_samples(np.arange(70, 90)).without_trait()
    np.testing.assert_allclose(loaded.predict(rest), predictor.predict(rest), atol=1e-6)
    alone = [loaded.predict(rest.take_samples([i]))[0] for i in range(5)]
    np.testing.assert_allclose(alone, loaded.predict(rest)[:5], atol=1e-5)


def test_noise_is_not_predicted_by_them() -> None:
    found = over_permutations(60, 10, partial(within_folds, Gblup, {"n_best": 10, "components": 5}))
    assert abs(np.mean(found)) < 2 * np.std(found, ddof=1) / np.sqrt(len(found))


def test_components_of_sites_chosen_with_the_whole_trait_are_caught() -> None:
    """The control: components of sites that were chosen before the split, by all values, do predict noise."""

    def leak(permuted: Cohort, order: np.ndarray) -> float:
        chosen = Gblup(Gblup.parse_params({"n_best": 20})).fit(permuted).chosen
        leaked = FittedComponents.of(permuted.take_sites(chosen), 5).beside(permuted.take_sites(chosen))
        one_site = replace(permuted.take_sites([0]), covariates=leaked.covariates)
        return within_folds(Gblup, {}, one_site, order)

    found = over_permutations(400, 10, leak)
    assert np.mean(found) > 0.15 and np.mean(found) > 4 * np.std(found, ddof=1) / np.sqrt(len(found))


def test_too_many_are_refused() -> None:
    cohort = small_cohort(60)
    with pytest.raises(InputError, match="--pcs 57 is too many for the 60 samples that are learned from: at most 56"):
        fit("ridge", cohort, components=57)
    with pytest.raises(InputError, match="--pcs 6 is too many for 5 sites"):
        fit("ridge", cohort.take_sites(np.arange(5)), components=6)


def test_a_trial_keeps_them() -> None:
    assert _suggest("gblup", {"components": 2}, optuna.create_study().ask())["components"] == 2


@pytest.mark.panels
def test_a_search_keeps_them(tmp_path: Path) -> None:
    study = tune_predictor("ridge", small_cohort(60), tmp_path, 2, fixed={"components": 2})
    assert [trial.params["components"] for trial in study.trials] == [2, 2] and study.params["components"] == 2


def test_effects_are_those_beside_them_and_a_network_with_them_is_not_exported(tmp_path: Path) -> None:
    cohort = replace(small_cohort(90), covariates=np.empty((90, 0)))
    predictor = fit("ridge", cohort, components=2)
    held = predictor.components.beside(cohort).covariates @ predictor._fixed[1:]  # type: ignore[union-attr,attr-defined]
    left = predictor.predict(cohort) - held - attributions(predictor, cohort, "effects").sum(axis=1)
    np.testing.assert_allclose(left, left[0], atol=1e-4)
    trees = fit("lightgbm", cohort, components=2, trees=5)
    assert attributions(trees, cohort, "shap").shape == (90, len(trees.chosen))
    network = fit("mlp", cohort, components=2, epochs=1, hidden_1=8, hidden_2=4)
    with pytest.raises(InputError, match="is not exported: fit it without --pcs"):
        export_onnx(Learned(network, "milk", {}), tmp_path / "n.onnx", "a1")
    assert not list(tmp_path.iterdir())


def test_compare_fit_predict_and_explain_by_the_command_line(tmp_path: Path) -> None:
    matrix = matrix_of(ld_calls(80, 40, seed=1))
    write_vcf(tmp_path / "panel.vcf.gz", matrix)
    write_traits(tmp_path / "t.tsv", y=matrix.calls[:, 20] * 2.0 + np.random.default_rng(1).normal(0, 0.3, 80))

    def run(*arguments: object) -> str:
        done = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
        assert done.exit_code == 0
        return done.output

    panel, model = tmp_path / "panel.vcf.gz", tmp_path / "model"
    common = ("--traits", tmp_path / "t.tsv", "--trait", "y", "--pcs", 3, "--threads", 1, "--runs", tmp_path / "runs")
    run("traits", "compare", panel, *common, "--predictor", "gblup", "--folds", 2, "--report", tmp_path / "report")
    page = (tmp_path / "report" / "predictors.html").read_text()
    assert "3 principal components" in page and "components=3" in page
    run("traits", "fit", panel, *common, "-o", model)
    assert json.loads((model / "predictor" / "predictor.json").read_text())["params"]["components"] == 3
    run("traits", "predict", model, panel, "-o", tmp_path / "predicted.tsv")
    assert len((tmp_path / "predicted.tsv").read_text().splitlines()) == 81
    said = run("traits", "explain", model, panel, "-o", tmp_path / "explained")
    assert "3 principal components among the covariates held as they are" in said
