"""The smoke experiment from end to end: every imputer, the store, the report, and what a second start takes up."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from snpimpute import imputers
from snpimpute.base.errors import InputError
from snpimpute.base.progress import Watch
from snpimpute.base.steps import StepFailed, run_step
from snpimpute.dataset.prepare import build_dataset
from snpimpute.dataset.prepared import dataset_in, load_dataset
from snpimpute.dataset.settings import DataSettings, ScenarioSettings
from snpimpute.experiment.pipeline import prepare, run
from snpimpute.experiment.rows import Row, Tuned, plan, wanted_on
from snpimpute.experiment.score import read_scores
from snpimpute.experiment.settings import (
    ExperimentSettings,
    ScoringSettings,
    TuningSettings,
    VariantSettings,
    changed,
    read,
)
from snpimpute.experiment.steps import fit_row
from snpimpute.experiment.tune import _write_tuned, study_name, tune
from snpimpute.experiment.workspace import Workspace
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.imputers.contract import impute
from snpimpute.scoring.fits import fit_on, offsets_by_level
from snpimpute.tuning.parameters import read_params
from tests.tracking.test_writer import load_in_clean_process

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "experiments" / "smoke.toml"


@pytest.fixture(scope="session")
def smoke(smoke_project, tmp_path_factory):
    """The smoke experiment, taken up by the command that the README gives; folder of runs and what it printed."""
    runs = tmp_path_factory.mktemp("smoke") / "runs"
    shutil.copytree(smoke_project / "my runs", runs)
    command = [sys.executable, "-m", "snpimpute", "experiment", str(SMOKE), "--json", "--runs", str(runs)]
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=runs.parent)
    assert done.returncode == 0, done.stderr
    return runs, json.loads(done.stdout)


def labels(settings: ExperimentSettings) -> list[str]:
    return [row.label for row in plan(settings)]


def test_every_row_of_the_plan_is_in_the_table(smoke):
    _, told = smoke
    assert {row["imputer"] for row in told["tables"]["calves"]} == set(labels(read(SMOKE)))
    assert told["failures"] == []


def test_nothing_is_left_in_the_working_directory(smoke):
    runs, _ = smoke
    assert [path.name for path in runs.parent.iterdir()] == ["runs"]


def test_the_report_and_its_tables_are_there(smoke):
    runs, told = smoke
    report = Path(told["report"])
    assert report.parent == runs / "reports" / "smoke"
    assert {"report.html", "report.md", "scores.csv", "imputers.csv"} <= {p.name for p in report.parent.iterdir()}
    html = report.read_text()
    assert "Small-budget results" in html and "beagle/tuned" in html


def test_scores_cover_levels_and_mechanisms(smoke):
    _, told = smoke
    table = read_scores(Path(told["scores"]["calves"]))
    headline = table[
        (table.metric == "f1_macro") & (table.subset == "all") & (table.versus == "") & (table["repeat"] == "all")
    ]
    assert set(zip(headline.mechanism, headline.level, strict=True)) == {
        (mechanism, level) for mechanism in ("independent", "nested") for level in (20.0, 60.0, 90.0)
    }
    assert headline.value.between(0, 1).all()
    beside = json.loads(Path(told["scores"]["calves"]).with_suffix(".json").read_text())
    assert {f"calves-{label.replace('/', '-')}" for label in labels(read(SMOKE))} == {
        name.rsplit("-", 1)[0] for name in beside["models"]
    }
    assert beside["dataset_digest"] == load_dataset(Path(told["datasets"]["calves"])).digest


def test_the_store_holds_runs_trials_models_and_curves(smoke):
    from mlflow import MlflowClient

    _, told = smoke
    client = MlflowClient(told["mlflow_uri"])
    by_name = {e.name: e for e in client.search_experiments()}
    train = client.search_runs([by_name["snpimpute/calves/train"].experiment_id])
    assert len(train) == len(labels(read(SMOKE)))
    for logged in train:
        assert {"f1_macro", "rare_f1_macro", "nested_f1_macro", "seconds_fit", "memory_mb"} <= set(logged.data.metrics)
        steps = [m.step for m in client.get_metric_history(logged.info.run_id, "f1_macro")]
        assert sorted(steps) == [20, 60, 90]
        assert logged.inputs.dataset_inputs
    tuned = {r.info.run_name: r for r in train if "study_ended_by" in r.data.tags}
    assert set(tuned) == {"beagle tuned", "dense fixed"}
    assert {(r.data.metrics["trials"], r.data.tags["study_ended_by"]) for r in tuned.values()} == {(2, "trials")}
    trials = client.search_runs([by_name["snpimpute/calves/tune"].experiment_id], "tags.`mlflow.parentRunId` != ''")
    assert len(trials) == 4
    model = client.get_registered_model("snpimpute-calves")
    assert {"champion", *imputers.names()} <= set(model.aliases)
    best = max(train, key=lambda r: r.data.metrics["val_f1_macro"])
    assert client.get_model_version_by_alias("snpimpute-calves", "champion").run_id == best.info.run_id


FRAMEWORKS = [pytest.param(name, marks=pytest.mark.panels) for name in ("bert", "cae")]  # half a minute each


@pytest.mark.parametrize("name", ["beagle", "softmax_regression", *FRAMEWORKS])
def test_registered_models_work_in_a_clean_process(smoke, tmp_path, name):
    from mlflow import MlflowClient

    _, told = smoke
    logged = MlflowClient(told["mlflow_uri"]).get_model_version_by_alias("snpimpute-calves", name)
    dataset = load_dataset(Path(told["datasets"]["calves"]))
    masked = dataset.test.take_samples(slice(0, 3)).hide(dataset.test_scenarios()[1].hidden)
    table = pd.DataFrame(masked.calls, index=masked.names, columns=masked.site_keys())
    model = f"models:/snpimpute-calves@{name}"
    loaded = load_in_clean_process(told["mlflow_uri"], model, table, tmp_path / "clean")
    assert "mlartifacts" in loaded["package"]
    served = np.load(tmp_path / "clean" / "imputed.npz", allow_pickle=True)
    home = next(p for p in told_homes(smoke) if logged.tags["variant"] in p.name and name in p.name)
    direct = impute(imputers.load(name).load(home / "model"), masked)
    assert served["site"].tolist() == masked.site_keys()
    np.testing.assert_allclose(served["dosage"], direct.dosages, atol=1e-3)


def told_homes(smoke) -> list[Path]:
    """Folders of the smoke experiment's models."""
    return sorted((smoke[0] / "models").iterdir())


def test_a_second_start_takes_up_what_is_done(smoke):
    runs, told = smoke
    before = {p: p.stat().st_mtime_ns for p in runs.rglob("*") if p.is_file() and p.parts[-2] != "reports"}
    again = run(read(SMOKE), runs)
    after = {p: p.stat().st_mtime_ns for p in before if p.exists()}
    redone = [p.relative_to(runs) for p in before if before[p] != after.get(p)]
    assert not [p for p in redone if p.parts[0] in ("datasets", "models", "studies", "scores")], redone
    assert again.tables["calves"].to_dict("records") == [dict(row) for row in told["tables"]["calves"]]


def test_a_model_refuses_other_sites(smoke):
    runs, told = smoke
    folder = next(runs.glob("models/calves-mode-*")) / "model"
    model = imputers.load("mode").load(folder)
    test = load_dataset(Path(told["datasets"]["calves"])).test
    with pytest.raises(InputError, match="expects 50 sites, the target has 49"):
        model.posterior(test.take_sites(slice(0, 49)))


def little(**changes) -> ExperimentSettings:
    """An experiment of the panel's frequencies alone."""
    data = DataSettings(
        simulation={"n_samples": 60, "n_sites": 30}, scenarios=ScenarioSettings(levels=(60,), repeats=1)
    )
    return ExperimentSettings(**{"name": "little", "data": {"calves": data}, "imputers": ("mode",), **changes})


class Stepping(Watch):
    """Keeps what it is told; each look at its clock is five seconds after the one before."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.now = 0.0

    def clock(self) -> float:
        self.now += 5.0
        return self.now

    def stage(self, text: str, at_most: float | None = None) -> None:
        self.told.append(f"{text}, at most {at_most:g} s" if at_most else text)

    def note(self, text: str) -> None:
        self.told.append(text)


def test_the_time_of_the_studies_is_told_before_they_run_and_rows_without_one_have_no_such_step(tmp_path):
    rows = {"default": VariantSettings(), "tuned": VariantSettings(tune=True)}
    wanted = little(
        imputers=("mode", "softmax_regression"),
        variants={"softmax_regression": rows},
        tuning=TuningSettings(trials=2, seconds=60),
    )
    steps: list[str] = []

    def noted(step, function, /, *args, **kwargs):
        steps.append(step)
        return function(*args, **kwargs)

    first = Stepping()
    outcome = run(wanted, tmp_path, "tune", watch=first, perform=noted)
    assert outcome.failures == []
    assert steps == ["prepare calves", "tune softmax_regression/tuned on calves"]
    ahead = (
        "studies to run: softmax_regression/tuned (2 trials or 60 s), 60 s at most in all; fits and scoring come on top"
    )
    told = [
        text for text in first.told if not text.startswith("softmax_regression/tuned on calves: a whole trial took ")
    ]
    assert len(told) == len(first.told) - 1
    assert told == [
        "prepare calves",
        f"3 rows on calves; {ahead}",
        f"mode/default on calves took 5 s; 2 rows left, {ahead}",
        f"softmax_regression/default on calves took 5 s; 1 row left, {ahead}",
        "tune softmax_regression/tuned on calves, % of its budget, at most 60 s",
    ]
    again = Stepping()
    run(wanted, tmp_path, "tune", watch=again)
    assert again.told[0] == "3 rows on calves; no study to run"
    longer = Stepping()
    run(wanted.model_copy(update={"tuning": TuningSettings(trials=3, seconds=None)}), tmp_path, "tune", watch=longer)
    assert longer.told[0].endswith("softmax_regression/tuned (3 trials); fits and scoring come on top")


@pytest.mark.panels  # half a minute
def test_offsets_are_chosen_once_and_scored_beside_the_largest_posterior(tmp_path):
    """For a model that is there already; the table made without them stays as it is; a step that fails fails the row."""
    plain = little(scoring=ScoringSettings(resamples=100))
    without = run(plain, tmp_path).scores["calves"]
    wanted = little(scoring=ScoringSettings(resamples=100, offsets=True))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    steps: list[str] = []

    def noted(step, function, /, *args, **kwargs):
        steps.append(step)
        return function(*args, **kwargs)

    outcome = run(wanted, tmp_path, perform=noted)
    assert outcome.failures == [] and "offsets mode/default on calves" in steps
    for kind in ("models/*/fit.json", "models/*/model/*", "models/*/posteriors.npz", "scores/*-*.csv"):
        assert all(path.stat().st_mtime_ns == before.get(path) for path in tmp_path.glob(kind) if path in before), kind
    (offsets,) = tmp_path.glob("models/*/offsets.json")
    found = json.loads(offsets.read_text())
    assert [entry["level"] for entry in found] == [10, 30, 60, 80, 90]
    assert all(entry["f1_macro"] >= entry["f1_macro_argmax"] for entry in found)
    table, plain_table = read_scores(outcome.scores["calves"]), read_scores(without)
    pd.testing.assert_frame_equal(table[table.decision == "argmax"].reset_index(drop=True), plain_table)
    rows = table[(table.decision == "offsets") & (table.metric == "f1_macro") & (table.subset == "all")]
    assert sorted(rows.versus) == ["", "", "argmax", "argmax"]  # for two mechanisms
    assert "Hard calls with offsets" in outcome.report.read_text()

    made = {path: path.stat().st_mtime_ns for path in (offsets, outcome.scores["calves"], without)}
    again = run(wanted, tmp_path)
    here = DataSettings(**{**plain.data["calves"].model_dump(), "offsets": True})
    assert run(little(scoring=plain.scoring, data={"calves": here}), tmp_path).scores == outcome.scores
    assert again.scores == outcome.scores and run(plain, tmp_path).scores["calves"] == without
    assert {path: path.stat().st_mtime_ns for path in made} == made

    offsets.unlink()
    fit = offsets.with_name("fit.json")
    fit.write_text(json.dumps(json.loads(fit.read_text()) | {"params": {"depth": 3}}))
    with pytest.raises(InputError, match=r"mode/default on calves: imputer mode: parameter 'depth'"):
        run(wanted, tmp_path)


def test_the_test_samples_do_not_decide_about_offsets(tmp_path):
    """With other test genotypes the offsets are the same; with other validation genotypes they are not."""
    dataset = build_dataset("calves", little().data["calves"], 1, 60)

    def chosen(of) -> list[dict]:
        fitted, _ = fit_on(of, of.fit_panel, "mode", {}, "random", 1, 1)
        return offsets_by_level(of, fitted, progress=lambda done, total: None)

    found = chosen(dataset)
    assert any(any(entry["offsets"]) for entry in found)
    other_test = GenotypeMatrix(2 - np.abs(dataset.test.calls), dataset.test.samples, dataset.test.sites)
    assert chosen(replace(dataset, test=other_test, true_test=other_test)) == found
    calls = dataset.train.calls.copy()
    calls[dataset.held_out] = np.roll(calls[dataset.held_out], 1, axis=1)
    other_train = GenotypeMatrix(calls, dataset.train.samples, dataset.train.sites)
    assert chosen(replace(dataset, train=other_train)) != found


def test_an_imputer_that_fails_does_not_take_the_others_down(tmp_path):
    settings = little(
        imputers=("mode", "beagle"),
        only_listed_variants=True,
        variants={"beagle": {"default": VariantSettings(params={"map": "no-such.map"})}},
    )
    outcome = run(settings, tmp_path)
    assert len(outcome.failures) == 1 and "no-such.map" in outcome.failures[0]
    rows = outcome.tables["calves"].set_index("imputer")
    assert rows.loc["mode/default", "f1_macro"] != "–"
    assert "no-such.map" in rows.loc["beagle/default", "verdict"]


def test_parameters_from_a_file_need_no_study(tmp_path):
    (tmp_path / "best.toml").write_text("l2 = 3.0\n")
    settings = little(
        imputers=("softmax_regression",),
        only_listed_variants=True,
        variants={"softmax_regression": {"tuned": VariantSettings(params_file=tmp_path / "best.toml")}},
    )
    (row,) = plan(settings)
    assert not row.tune
    outcome = run(settings, tmp_path / "runs")
    about = json.loads(next((tmp_path / "runs").glob("models/*/fit.json")).read_text())
    assert about["params"]["l2"] == 3.0
    assert not list((tmp_path / "runs").glob("studies/*"))
    assert outcome.failures == []


def test_what_a_study_found_is_kept_and_used_without_it(tmp_path):
    """A folder of parameters: written by the study, taken instead of it, refused for other data, made anew on demand."""
    found = TuningSettings(trials=2, parameters=tmp_path / "found")
    settings = little(imputers=("softmax_regression",), tuning=found)
    row = next(row for row in plan(settings) if row.tune)
    folder = prepare(settings, "calves", Workspace(tmp_path / "runs"))
    first = tune(settings, folder, row, Workspace(tmp_path / "runs"))
    kept = tmp_path / "found" / "calves-softmax_regression-tuned.toml"
    assert kept.exists() and first.trials == 2

    again = tune(settings, folder, row, Workspace(tmp_path / "elsewhere"))
    assert again == first
    beagle = Row("beagle", "tuned", True, "random", {})  # with parameters that are None, which TOML has not
    params = imputers.load("beagle").Params(ne=1000).model_dump(mode="json")
    found_before = Tuned(params=params, refit_params=params, trials=1, study="s")
    _write_tuned(tmp_path / "found" / "calves-beagle-tuned.toml", found_before, dataset_in(folder), beagle)
    assert tune(settings, folder, beagle, Workspace(tmp_path / "elsewhere")) == found_before
    from_file = replace(beagle, tune=False, params_file=tmp_path / "found" / "calves-beagle-tuned.toml")
    assert tune(settings, folder, from_file, Workspace(tmp_path / "elsewhere")).params["ne"] == 1000
    assert not (tmp_path / "elsewhere").exists()

    other = little(imputers=("softmax_regression",), tuning=found, seed=2)
    with pytest.raises(InputError, match=r"calves-softmax_regression-tuned\.toml were not found on this .*--retune"):
        tune(other, prepare(other, "calves", Workspace(tmp_path / "runs")), row, Workspace(tmp_path / "runs"))

    retuned = changed(settings, trials=3, retune=True)
    assert tune(retuned, folder, row, Workspace(tmp_path / "elsewhere")).trials == 3
    assert read_params(kept)["trials"] == 3


def test_a_row_takes_the_parameters_of_another(tmp_path):
    """A study's findings serve a row that differs in one parameter; nothing is tuned twice, and nothing of its fit is kept."""
    rows = {"inputs-visible": VariantSettings(mask="fixed", params_from="fixed", params={"mask_inputs": False})}
    rows["fixed"] = VariantSettings(params={"epochs": 1, "hidden_1": 8, "hidden_2": 8, "z": 8})
    settings = little(imputers=("dense",), variants={"dense": rows}, tuning=TuningSettings(trials=1))
    by_label = {row.label: row for row in plan(settings)}
    visible = by_label["dense/inputs-visible"]
    assert not visible.tune and visible.params_from == by_label["dense/fixed"]
    folder = prepare(settings, "calves", Workspace(tmp_path))
    tuned = tune(settings, folder, visible, Workspace(tmp_path))
    assert tuned.study == "" and tuned.refit_params is None
    own = tune(settings, folder, by_label["dense/fixed"], Workspace(tmp_path))
    assert tuned.params == {**own.params_of(by_label["dense/fixed"]), "mask_inputs": False}
    assert len(list(tmp_path.glob("studies/*.json"))) == 1
    with pytest.raises(InputError, match=r"variants\.dense\.x: params_from names no other variant of dense: fixed, "):
        plan(little(imputers=("dense",), variants={"dense": {"x": VariantSettings(params_from="none")}}))


def test_a_dataset_may_want_some_rows_only():
    data = {"all": DataSettings(), "some": DataSettings(imputers=("mode", "simpute/panel"))}
    settings = little(imputers=("mode", "simpute", "ld_knn"), data=data)
    rows = plan(settings)
    assert wanted_on(rows, data["all"]) == rows
    assert [row.label for row in wanted_on(rows, data["some"])] == ["mode/default", "simpute/panel"]
    with pytest.raises(InputError, match=r"data\.x\.imputers names no row of this experiment: simpute/none"):
        plan(little(imputers=("simpute",), data={"x": DataSettings(imputers=("simpute/none",))}))


def test_a_dataset_has_parameters_of_its_own(tmp_path):
    rows = {"fixed": VariantSettings(tune=False, params={"epochs": 2}), "seen": VariantSettings(params_from="fixed")}
    calves = little().data["calves"]
    data = {"calves": calves, "more": calves.model_copy(update={"params": {"dense": {"epochs": 7}}})}
    settings = little(imputers=("dense",), variants={"dense": rows}, only_listed_variants=True, data=data)
    done = run(settings, tmp_path, until="tune").rows
    assert [d.row.params for d in done["calves"]] == [{"epochs": 2}, {}]
    assert [d.row.params for d in done["more"]] == [{"epochs": 7}, {"epochs": 7}]
    assert [d.row.params_from and d.row.params_from.params for d in done["more"]] == [None, {"epochs": 7}]
    assert len(list(tmp_path.glob("datasets/calves-*"))) == 1
    wrong = {"calves": calves.model_copy(update={"params": {"dense": {"epoch": 7}}})}
    with pytest.raises(InputError, match="imputer dense: parameter 'epoch'"):
        plan(little(imputers=("dense",), data=wrong))


def test_a_dataset_has_a_seed_of_its_own(tmp_path):
    calves = little().data["calves"]
    data = {
        "calves": calves,
        "same": calves.model_copy(update={"seed": 1}),
        "other": calves.model_copy(update={"seed": 2}),
    }
    settings = little(data=data)
    drawn = {name: dataset_in(prepare(settings, name, Workspace(tmp_path))) for name in data}
    tests = {name: dataset.test.digest() for name, dataset in drawn.items()}
    assert tests["calves"] == tests["same"] != tests["other"]
    assert settings.seed == 1


def test_a_study_is_named_by_what_changes_a_score_only(tmp_path):
    dataset = build_dataset("calves", little().data["calves"], 1, 60)
    row = Row("dense", "fixed", True, "fixed", {})
    name = study_name(dataset, row, seed=1, threads=1)
    assert name == study_name(dataset, Row("dense", "fixed", True, "fixed", {}), seed=1, threads=1)
    assert name != study_name(dataset, row, seed=2, threads=1)
    assert name != study_name(dataset, row, seed=1, threads=2)
    assert name != study_name(dataset, Row("dense", "fixed", True, "random", {}), seed=1, threads=1)
    assert name != study_name(dataset, Row("dense", "fixed", True, "fixed", {"z": 8}), seed=1, threads=1)


def test_declared_variants_are_rows_unless_narrowed():
    settings = ExperimentSettings(imputers=("beagle",))
    assert labels(settings) == ["beagle/default", "beagle/tuned", "beagle/tuned-joint"]
    narrowed = settings.model_copy(
        update={"variants": {"beagle": {"tuned": VariantSettings(tune=False)}}, "only_listed_variants": True}
    )
    assert labels(narrowed) == ["beagle/tuned"]


def test_a_step_that_fails_says_why(tmp_path):
    given = {"home": tmp_path / "home", "imputer": "mode", "policy": "random", "params": {}}
    given |= {"folder": tmp_path, "refit_params": None, "levels_score": None, "seed": 1, "threads": 1}
    with pytest.raises(StepFailed, match="not a prepared dataset"):
        run_step(fit_row, {**given, "impute_as": None}, tmp_path / "log", 1, Watch())
    with pytest.raises(StepFailed, match=r"TypeError: .*impute_as"):
        run_step(fit_row, given, tmp_path / "log", 1, Watch())
    assert "Traceback" in (tmp_path / "log").read_text()


@pytest.mark.panels  # half a minute; a fit and a study that are killed stand in the ordinary suite
def test_killed_in_the_middle_it_goes_on(tmp_path):
    """kill -9 while a study runs; started again, the study ends with exactly the trials asked for."""
    settings = (
        'imputers = ["softmax_regression"]\ntuning = { trials = 12, seconds = 300 }\nonly_listed_variants = true\n'
        "[data.calves]\nsimulation = { n_samples = 60, n_sites = 30 }\nscenarios = { levels = [60], repeats = 1 }\n"
        "[variants.softmax_regression.tuned]\n"
    )
    (tmp_path / "k.toml").write_text(settings)
    runs = tmp_path / "runs"
    command = [sys.executable, "-m", "snpimpute", "experiment", str(tmp_path / "k.toml"), "--json", "--runs", str(runs)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(600):
        time.sleep(0.1)
        journal = next(runs.glob("studies/*.journal"), None)
        if journal is not None and journal.stat().st_size > 2500:
            break
    process.kill()
    process.wait()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kept = json.loads(next(runs.glob("studies/*.json")).read_text())
    assert kept["tuned"]["trials"] == 12
    from mlflow import MlflowClient

    client = MlflowClient(json.loads(done.stdout)["mlflow_uri"])
    experiment = client.get_experiment_by_name("snpimpute/calves/tune")
    logged = pd.Series(
        [
            r.data.tags.get("state")
            for r in client.search_runs([experiment.experiment_id], "tags.`mlflow.parentRunId` != ''")
        ]
    )
    assert logged.isin(["complete", "pruned"]).sum() == 12


@pytest.mark.panels  # a quarter of a minute; processes that end with their parents are tested in tests/base
def test_a_step_ends_when_its_parent_is_killed(tmp_path):
    """kill -9 of the command while an imputer is fitted leaves neither the step nor Java behind."""
    (tmp_path / "k.toml").write_text(
        'imputers = ["beagle"]\nonly_listed_variants = true\n[data.calves]\nsimulation = { n_samples = 300, n_sites = 200 }\n'
        "scenarios = { levels = [60], repeats = 1 }\n[variants.beagle.default]\nparams = { phasings = 9, iterations = 60 }\n"
    )
    runs = tmp_path / "runs"
    command = [sys.executable, "-m", "snpimpute", "train", str(tmp_path / "k.toml"), "--runs", str(runs)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    children: list[psutil.Process] = []
    for _ in range(1800):
        time.sleep(0.1)
        children = psutil.Process(process.pid).children(recursive=True)
        if any("java" in child.name() for child in children):
            break
    assert any("java" in child.name() for child in children)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []
