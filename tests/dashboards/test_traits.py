"""The page Traits over a store: versions and comparisons as they were logged, and what to run where there are none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from snpimpute.base.progress import Watch
from snpimpute.io.write_vcf import write_vcf
from snpimpute.report.text import interval, number, signed
from snpimpute.tracking.writer import Tracker
from snpimpute.traits.evaluate import Evaluation, EvaluationSettings
from snpimpute.traits.measured import read_measured
from snpimpute.traits.recorded import compare_predictors, fit_predictor
from tests.traits.data import ld_calls, matrix_of, write_traits

PAGE = str(Path(__file__).parents[2] / "dashboards" / "views" / "traits.py")


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SNPIMPUTE_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path / "runs"


def opened() -> AppTest:
    seen = AppTest.from_file(PAGE, default_timeout=120).run()
    assert not seen.exception and not seen.error
    return seen


def compared_and_fitted(folder: Path, runs: Path) -> tuple[Evaluation, Path]:
    """Log a comparison, and a version of its trait that was measured on the same folds."""
    calls = ld_calls(60, 20, seed=1)
    write_vcf(folder / "panel.vcf.gz", matrix_of(calls))
    noise = np.random.default_rng(2).normal(0, 0.5, 60)
    write_traits(folder / "traits.tsv", **{"fat yield": 2.0 * calls[:, 10] + noise})
    settings = EvaluationSettings(
        folder / "panel.vcf.gz", folder / "traits.tsv", "fat yield", ("gblup",), (("lightgbm", {"trees": 3}),), folds=3
    )
    tracker = Tracker(f"sqlite:///{runs / 'mlflow.db'}", runs)
    found = compare_predictors(settings, folder / "report", tracker, Watch())
    mine = EvaluationSettings(settings.genotypes, settings.traits, "fat yield", ("ridge",), folds=3)
    fit_predictor(mine, folder / "ridge", runs, Watch(), open_tracker=lambda: tracker)
    return found, folder / "ridge"


def test_it_shows_what_was_logged(tmp_path: Path, runs: Path, with_store: Callable[[Path], Path]) -> None:
    found, model = compared_and_fitted(tmp_path, with_store(runs))
    reached = read_measured(model)
    assert reached is not None
    seen = opened()
    assert seen.selectbox[0].value == "fat yield" and "for fat yield" in seen.markdown[-1].value
    versions, moves, predictors = (table.value for table in seen.dataframe)
    assert versions["Version"].tolist() == [1] and versions["Aliases"].tolist() == ["champion"]
    measured = versions.iloc[0]
    score = reached.score("pcc")
    assert measured["Correlation"] == round(score.value, 3) and measured["95% interval"] == interval(score)
    assert measured["By fold"] == ", ".join(map(number, reached.values["pcc"]))
    for other in ("gblup", "lightgbm"):
        apart = reached.minus(found.measured[other], "pcc")
        assert measured[f"Difference to {other}"] == f"{signed(apart)} ({interval(apart, signed=True)})"
    assert (measured["Samples"], measured["Sites"], measured["Folds"]) == (60, 20, "3, random, seed 1")
    assert moves["Why"].tolist() == ["the first"]
    assert predictors["Predictor"].tolist() == found.ranked()
    by_name = predictors.set_index("Predictor")
    assert by_name["MSE"]["lightgbm"] == round(found.score("lightgbm", "mse").value, 4)
    assert by_name["To gblup"]["lightgbm"].endswith(f": {found.verdict('lightgbm', 'gblup')}")
    charts = [json.loads(chart.proto.spec) for chart in seen.get("plotly_chart")]
    (folds,) = (trace for trace in charts[0]["data"] if trace.get("name") == "each fold")
    assert folds["y"] == pytest.approx(list(reached.values["pcc"]))
    assert charts[1]["data"][0]["y"] == pytest.approx([found.score(name, "pcc").value for name in found.ranked()])


def test_where_nothing_was_logged_it_says_what_to_run(runs: Path, with_store: Callable[[Path], Path]) -> None:
    with_store(runs)
    assert "snpimpute traits compare GENOTYPES --traits TABLE --trait COLUMN" in opened().info[0].value
    shutil.rmtree(runs)
    said = opened().info[0].value.replace("\\", "")
    assert "There is no MLflow store" in said and "predictors of traits are logged where there is one alone" in said
    assert not runs.exists()
