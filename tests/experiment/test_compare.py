"""What the report says beside the scores: parameters that were changed, what a network saw, what a study cost."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from snpimpute.base.errors import InputError
from snpimpute.dataset.prepared import dataset_in
from snpimpute.experiment.compare import draw_report
from snpimpute.experiment.pipeline import prepare
from snpimpute.experiment.rows import Done, Outcome, Row, Tuned
from snpimpute.experiment.settings import parse
from snpimpute.experiment.workspace import Workspace
from snpimpute.imputers import load
from snpimpute.scoring.posteriors import impute_scenarios
from snpimpute.scoring.table import score_table

SETTINGS = parse(
    {
        "name": "small",
        "data": {
            "calves": {"simulation": {"n_samples": 60, "n_sites": 30}, "scenarios": {"levels": [60], "repeats": 1}}
        },
    },
    "test",
)


def done(home: Path, imputer: str, variant: str, params: dict[str, Any], tuned: Tuned | None = None) -> Done:
    """A row as it stands after its model was fitted and has imputed."""
    home.mkdir()
    full = load(imputer).parse_params(params).model_dump(mode="json")
    fit = {"params": full, "seconds_fit": 3.0, "memory_mb": 700.0, "parameters": 12, "samples_fit": 48}
    (home / "fit.json").write_text(json.dumps(fit | {"val_f1_macro": 0.8}))
    (home / "impute.json").write_text(json.dumps({"seconds_impute": 0.25, "memory_mb": 900.0, "scenarios": 1}))
    return Done(Row(imputer, variant, tuned is not None, "fixed", params), tuned, home)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """imputers.csv of a report of five rows, one of them failed; index imputer/variant."""
    runs = tmp_path_factory.mktemp("runs")
    folder = prepare(SETTINGS, "calves", Workspace(runs))
    dataset = dataset_in(folder)
    fitted = load("mode")().fit(dataset.train)
    table = score_table(dataset, [impute_scenarios(fitted, "default", dataset)], n_resamples=100)
    study = Tuned(trials=7, failed=1, seconds=61.5, ended_by="time", study="s")
    dones = [
        done(runs / "a", "mode", "default", {}),
        done(runs / "b", "beagle", "tuned", {"ne": 1000.0, "phasings": 3}, study),
        done(runs / "c", "dense", "fixed", {"z": 16}),
        done(runs / "d", "dense", "inputs-visible", {"mask_inputs": False}),
        Done(Row("bert", "random", False, "random", {}), failed="out of memory"),
    ]
    outcome = Outcome(datasets={"calves": folder}, rows={"calves": dones}, scores={"calves": runs / "calves.csv"})
    draw_report(SETTINGS, outcome, [table], runs / "report")
    assert outcome.report == runs / "report" / "report.html"
    assert outcome.tables["calves"]["imputer"].tolist()[0] == "mode/default"
    read = pd.read_csv(runs / "report" / "imputers.csv", keep_default_na=False)
    return read.set_index(read["imputer"] + "/" + read["variant"])


def test_only_parameters_that_differ_from_the_defaults_are_called_changed(rows: pd.DataFrame) -> None:
    assert rows.loc["beagle/tuned", "changed"] == "ne=1000.0, phasings=3"
    assert rows.loc["dense/fixed", "changed"] == "z=16"
    assert rows.loc["dense/inputs-visible", "changed"] == "mask_inputs=False"
    assert rows.loc["mode/default", "changed"] == "none"
    assert "cluster=0.005" in rows.loc["beagle/tuned", "params"]


def test_what_a_network_saw_while_it_learned(rows: pd.DataFrame) -> None:
    assert rows["inputs"].tolist() == ["", "", "hidden", "visible", ""]
    assert rows["mask"].tolist() == ["", "", "fixed", "fixed", "random"]


def test_what_a_study_cost(rows: pd.DataFrame) -> None:
    study = ["trials", "trials_failed", "study_ended_by", "seconds_study"]
    assert rows.loc["beagle/tuned", study].tolist() == ["7.0", "1.0", "time", "61.5"]
    assert rows.loc["dense/fixed", study].tolist() == [""] * 4
    assert rows.loc["dense/fixed", ["seconds_fit", "seconds_impute", "memory_mb"]].tolist() == ["3.0", "0.25", "900.0"]


def test_a_failed_row_keeps_its_reason(rows: pd.DataFrame) -> None:
    assert rows["status"].tolist() == ["ok"] * 4 + ["out of memory"]


def test_without_scores_one_line_says_why(tmp_path: Path) -> None:
    failed = {"calves": [Done(Row("bert", "random", False, "random", {}), failed="out of memory")]}
    with pytest.raises(InputError, match=r"no imputer could be scored: bert/random on calves: out of memory"):
        draw_report(SETTINGS, Outcome(rows=failed), [], tmp_path / "report")
