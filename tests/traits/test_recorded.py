"""Predictors in a real MLflow store: runs, versions, a champion by paired intervals, and models that MLflow loads."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from snpimpute.base.errors import InputError
from snpimpute.base.progress import Watch
from snpimpute.cli.app import app
from snpimpute.cli.models import is_of_trait
from snpimpute.io.write_vcf import write_vcf
from snpimpute.tracking.predictors import trait_model_name
from snpimpute.tracking.reader import Store
from snpimpute.tracking.writer import Tracker
from snpimpute.traits import champions
from snpimpute.traits.evaluate import EvaluationSettings
from snpimpute.traits.measured import Measured, read_measured
from snpimpute.traits.recorded import compare_predictors, fit_predictor, fit_recommended
from tests.conftest import link_project, project_environment
from tests.traits.data import ld_calls, matrix_of, write_traits


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Genotypes of 80 samples and a trait of one site that `rough`, a file of half of the calls drawn anew, knows little of."""
    folder = tmp_path_factory.mktemp("recorded")
    calls = ld_calls(80, 30, seed=1)
    rng = np.random.default_rng(2)
    write_vcf(folder / "panel.vcf.gz", matrix_of(calls))
    write_vcf(
        folder / "rough.vcf.gz", matrix_of(np.where(rng.random(calls.shape) < 0.9, rng.permutation(calls), calls))
    )
    sex = np.array(["f", "m"])[rng.integers(0, 2, 80)]
    write_traits(folder / "traits.tsv", milk=2.0 * calls[:, 10] + (sex == "m") + rng.normal(0, 0.5, 80), sex=sex)
    return folder


@pytest.fixture
def tracker(tmp_path: Path, with_store: Callable[[Path], Path]) -> Tracker:
    runs = with_store(tmp_path / "runs")
    return Tracker(f"sqlite:///{runs / 'mlflow.db'}", runs)


def settings_of(data: Path, genotypes: str = "panel", **changes: object) -> EvaluationSettings:
    plain = {"predictors": ("gblup",), "covariates": ("sex",), "folds": 4, "params": (("lightgbm", {"trees": 5}),)}
    return EvaluationSettings(data / f"{genotypes}.vcf.gz", data / "traits.tsv", "milk", **{**plain, **changes})  # type: ignore[arg-type]


def said(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def fit(data: Path, tracker: Tracker, folder: Path, settings: EvaluationSettings, measure: bool = True) -> str:
    fitted = fit_predictor(settings, folder, tracker.runs, Watch(), measure=measure, open_tracker=lambda: tracker)
    assert fitted.registered is not None
    return f"{fitted.registered.name}/{fitted.registered.version}"


def test_versions_and_a_champion_by_paired_intervals(data: Path, tmp_path: Path, tracker: Tracker):
    assert fit(data, tracker, tmp_path / "rough", settings_of(data, "rough")) == "snpimpute-milk-trait/1"
    assert fit(data, tracker, tmp_path / "good", settings_of(data)) == "snpimpute-milk-trait/2"
    assert tracker.aliases("snpimpute-milk-trait") == {"champion": "1"}
    assert [model.versions for model in Store(tracker.uri).registered()] == [[]], "not among the imputers"
    runs = tracker.runs
    rows = json.loads(said("models", "compare", "milk-trait", "milk-trait/2", "--runs", runs, "--json"))
    (pcc,) = (row for row in rows if row["measure"] == "correlation")
    assert pcc["low"] > 0 and pcc["difference"] == pytest.approx(pcc["second"] - pcc["first"])
    assert "champion is version 2 (gblup), correlation +0." in said("models", "promote", "milk/2", "--runs", runs)
    with pytest.raises(InputError, match=r"is not better than the champion, version 2 \(gblup\): correlation −0\."):
        champions.promote(tracker, "milk/1", runs)
    assert (
        said("models", "rollback", "milk-trait", "--runs", runs)
        == "snpimpute-milk-trait: champion is version 1 again\n"
    )
    table = {row["version"]: row for row in json.loads(said("models", "list", "--runs", runs, "--json"))}
    assert table["1"]["aliases"] == "champion" and table["2"]["samples"] == 80 and table["2"]["folds"] == 4
    assert table["2"]["correlation"] == pytest.approx(pcc["second"])

    common = [data / "panel.vcf.gz", "--traits", data / "traits.tsv", "-o"]
    said("traits", "predict", "milk/2", *common, tmp_path / "registered.tsv", "--runs", runs)
    said("traits", "predict", tmp_path / "good", *common, tmp_path / "folder.tsv")
    assert (tmp_path / "registered.tsv").read_text() == (tmp_path / "folder.tsv").read_text()


def test_a_trait_is_named_as_its_user_knows_it():
    store = SimpleNamespace(
        panel_models=lambda: [SimpleNamespace(name=name) for name in ("snpimpute-bulls-panel", "snpimpute-lean-trait-panel")],
        predictor_models=lambda: [SimpleNamespace(name=trait_model_name(trait)) for trait in ("fat yield", "bulls", "lean")],
    )  # fmt: skip
    of_trait = {name: is_of_trait(store, name) for name in (
        "fat yield/1", "fat yield@champion", "bulls", "bulls-trait/2", "snpimpute-lean-trait", "lean", "lean-trait", "no", "no-trait",
    )}  # fmt: skip
    assert [name for name, found in of_trait.items() if found] == [
        "fat yield/1", "fat yield@champion", "bulls-trait/2", "snpimpute-lean-trait", "lean", "no-trait",
    ]  # fmt: skip


@pytest.mark.panels
def test_what_was_not_measured_alike_is_not_promoted(data: Path, tmp_path: Path, tracker: Tracker):
    assert fit(data, tracker, tmp_path / "first", settings_of(data)) == "snpimpute-milk-trait/1"
    assert fit(data, tracker, tmp_path / "again", settings_of(data)) == "snpimpute-milk-trait/1", "the same model"
    assert fit(data, tracker, tmp_path / "other", settings_of(data, seed=2)) == "snpimpute-milk-trait/2"
    assert fit(data, tracker, tmp_path / "un", settings_of(data, seed=3), measure=False) == "snpimpute-milk-trait/3"
    for version, why in ((1, "is the champion already"), (2, "not measured on the same"), (3, "--folds was 0")):
        with pytest.raises(InputError, match=why):
            champions.promote(tracker, f"milk/{version}", tracker.runs)


def test_a_comparison_is_a_run_with_one_below_it_for_each_predictor(data: Path, tmp_path: Path, tracker: Tracker):
    settings = settings_of(data, predictors=("ridge",), folds=3)
    found = compare_predictors(settings, tmp_path / "report", tracker, Watch())
    experiment = tracker.client.get_experiment_by_name("snpimpute/traits/milk/compare")
    runs = {run.info.run_name: run for run in tracker.client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"comparison", "gblup", "lightgbm", "ridge"}
    above = runs["comparison"]
    assert above.data.tags["mlflow.note.content"].startswith("Take ")
    assert {item.path for item in tracker.client.list_artifacts(above.info.run_id)} == {"report"}
    ridge = runs["ridge"].data
    assert ridge.tags["mlflow.parentRunId"] == above.info.run_id and ridge.params["encoding"] == "standardised"
    assert ridge.metrics["pcc"] == pytest.approx(found.score("ridge", "pcc").value)
    assert ridge.metrics["pcc_to_gblup_low"] == pytest.approx(found.score("ridge", "pcc", "gblup").low)
    by_fold = tracker.client.get_metric_history(runs["ridge"].info.run_id, "pcc_by_fold")
    assert {m.step: m.value for m in by_fold} == pytest.approx(
        dict(enumerate(found.measured["ridge"].values["pcc"], 1))
    )

    told = fit_recommended(found, tracker.runs, tracker, Watch())
    assert told.startswith(f"registered: snpimpute-milk-trait version 1 ({found.recommended()}); not promoted: ")
    kept = read_measured(champions.fetch_model(tracker, champions.find_model(tracker, "milk"), tracker.runs))
    assert kept is not None and kept.on == found.measured["gblup"].on
    np.testing.assert_allclose(kept.values["pcc"], found.measured[found.recommended()].values["pcc"])


def test_differences_want_the_same_folds():
    one, other = (Measured(on, "random", 0.25, {"pcc": np.array([0.1, 0.2, 0.3])}) for on in ("a", "b"))
    with pytest.raises(InputError, match="not measured on the same samples"):
        one.minus(other, "pcc")
    assert one.minus(one, "pcc").value == 0


@pytest.mark.panels
def test_a_search_is_repeated_within_each_fold(data: Path, tmp_path: Path, tracker: Tracker):
    settings = settings_of(data, predictors=("rkhs",), folds=2)
    fit_predictor(settings, tmp_path / "m", tracker.runs, Watch(), trials=2, open_tracker=lambda: tracker)
    studies = {path.name for path in (tracker.runs / "traits").glob("rkhs-*")}
    assert len(studies) == 3, "of all samples, and of those that each of two folds learns from"


@pytest.mark.panels
def test_mlflow_loads_the_champion_and_predicts_as_the_command_does(data: Path, tmp_path: Path, tracker: Tracker):
    import mlflow

    fit_predictor(settings_of(data), tmp_path / "m", tracker.runs, Watch(), open_tracker=lambda: tracker)
    said(
        "traits",
        "predict",
        tmp_path / "m",
        data / "panel.vcf.gz",
        "--traits",
        data / "traits.tsv",
        "-o",
        tmp_path / "p.tsv",
    )
    wanted = pd.read_csv(tmp_path / "p.tsv", sep="\t")["milk"]
    mlflow.set_tracking_uri(tracker.uri)
    model = mlflow.pyfunc.load_model("models:/snpimpute-milk-trait@champion")
    matrix = matrix_of(ld_calls(80, 30, seed=1))
    table = pd.DataFrame(matrix.calls, columns=matrix.site_keys())[matrix.site_keys()[::-1]]
    table["sex"] = pd.read_csv(data / "traits.tsv", sep="\t")["sex"]
    np.testing.assert_allclose(model.predict(table), wanted, atol=1e-4)
    with pytest.raises(mlflow.exceptions.MlflowException, match="there is no column 'sex'"):
        model.predict(table.drop(columns="sex"))
    with pytest.raises(mlflow.exceptions.MlflowException, match="5 is not a dosage"):
        model.predict(table.replace({2: 5}))


@pytest.mark.panels
def test_the_entry_point_compares_in_the_store_of_its_folder(data: Path, tmp_path: Path):
    project = tmp_path / "project"
    link_project(project)
    given = {"genotypes": data / "panel.vcf.gz", "traits": data / "traits.tsv", "trait": "milk", "runs": "my runs"}
    given |= {
        "folds": 2,
        "predictor": "ridge",
        "covariates": "sex",
        "report": "report",
        "pcs": 2,
        "params": "lightgbm.trees=7",
    }
    command = [str(Path(sys.executable).with_name("mlflow")), "run", ".", "-e", "traits", "--env-manager", "local"]
    command += [word for name, value in given.items() for word in ("-P", f"{name}={value}")]
    done = subprocess.run(command, cwd=project, env=project_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Take " in done.stdout and "trees=7" in (project / "report" / "predictors.html").read_text()
    client = Tracker(f"sqlite:///{project / 'my runs' / 'mlflow.db'}", project / "my runs").client
    assert client.get_experiment_by_name("snpimpute/traits/milk/compare") is not None
