"""Search for a predictor's parameters: exact numbers of trials over starts, and never on other data's study."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from snpimpute.cli.app import app
from snpimpute.io.write_vcf import write_vcf
from snpimpute.tracking.connect import open_client
from snpimpute.traits.predictors.testing import small_cohort
from snpimpute.traits.tuned import tune_predictor
from tests.traits.data import ld_calls, matrix_of, write_traits


def test_a_study_goes_on_and_is_of_its_data_alone(tmp_path: Path):
    cohort = small_cohort(60)
    first = tune_predictor("ridge", cohort, tmp_path, 2)
    assert [trial.state for trial in first.trials] == ["complete", "complete"] and first.trials[0].first
    again = tune_predictor("ridge", cohort, tmp_path, 3)
    assert [trial.number for trial in again.trials] == [0, 1, 2]
    assert [trial.score for trial in again.trials[:2]] == [trial.score for trial in first.trials]
    assert again.best is not None and again.best.score == max(trial.score or 0 for trial in again.trials)
    other = tune_predictor("ridge", replace(cohort, values=cohort.values[::-1].copy()), tmp_path, 1)
    assert len(other.trials) == 1 and other.trials[0].score != first.trials[0].score


def test_fit_takes_the_best_trial_and_is_a_run_of_the_store(tmp_path: Path, with_store: Callable[[Path], Path]):
    runs = with_store(tmp_path / "runs")
    matrix = matrix_of(ld_calls(60, 40, seed=1))
    write_vcf(tmp_path / "panel.vcf.gz", matrix)
    y = matrix.calls[:, 20] * 2.0 + np.random.default_rng(1).normal(0, 0.3, 60)
    write_traits(tmp_path / "traits.tsv", y=y)
    command = ["traits", "fit", tmp_path / "panel.vcf.gz", "--traits", tmp_path / "traits.tsv", "--trait", "y"]
    command += ["--predictor", "rkhs", "--trials", 2, "--runs", runs, "--threads", 1, "--json", "--folds", 0]
    done = CliRunner().invoke(app, [*map(str, command), "-o", str(tmp_path / "m")], catch_exceptions=False)
    said = json.loads(done.stdout)
    assert said["study_score"] > 0.5
    kept = json.loads((tmp_path / "m" / "predictor" / "predictor.json").read_text())
    assert kept["params"] == said["params"]
    client = open_client(f"sqlite:///{runs / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("snpimpute/traits/y")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.tags["predictor"] == "rkhs" and run.data.metrics["study_score"] == said["study_score"]
    assert run.data.params["bandwidth"] == str(said["params"]["bandwidth"])
    assert [item.path for item in client.list_artifacts(run.info.run_id)] == ["m"]
