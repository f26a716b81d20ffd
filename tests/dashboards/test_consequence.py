"""The page Consequence over a folder of runs: what is drawn is in the table, and without a table it says what to run."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from snpimpute.dataset.prepared import load_dataset
from snpimpute.experiment import pipeline
from snpimpute.experiment.settings import parse
from snpimpute.metrics.conclusions import MEASURES, TRUTH

PAGE = str(Path(__file__).parents[2] / "dashboards" / "views" / "consequence.py")
DATA = {"calves": {"simulation": {"n_samples": 60, "n_sites": 30}, "scenarios": {"levels": [60], "repeats": 1}}}


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_store) -> Path:
    runs = with_store(tmp_path / "runs")
    pipeline.run(parse({"name": "calves", "data": DATA}, "test"), runs, "prepare")
    monkeypatch.setenv("SNPIMPUTE_RUNS", str(runs))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return runs


def conclusions(runs: Path) -> pd.DataFrame:
    rows = [
        (file, 0.0, "all", measure, versus, value, value - 0.1, value + 0.1, 200, level)
        for level in (30.0, 60.0)
        for file, value in ((TRUTH, 0.9), ("beagle/default", 0.6))
        for measure in MEASURES
        for versus in ("", TRUTH)
    ]
    columns = ["file", "filter", "subset", "measure", "versus", "value", "low", "high", "n", "level"]
    table = pd.DataFrame(rows, columns=columns)
    (folder,) = (runs / "datasets").glob("calves-*")
    kept = runs / "conclusions" / "calves-0123456789ab.csv"
    kept.parent.mkdir()
    table.to_csv(kept, index=False)
    origin = {"dataset_digest": load_dataset(folder).digest, "models": ["m"], "revision": "abc"}
    kept.with_suffix(".json").write_text(json.dumps(origin))
    return table


def test_it_draws_what_is_in_the_table(runs: Path) -> None:
    conclusions(runs)
    seen = AppTest.from_file(PAGE, default_timeout=120).run()
    assert not seen.exception and not seen.error
    assert [box.label for box in seen.selectbox] == [
        "Prepared dataset",
        "Results, by date",
        "Level",
        "Measure",
        "Traits",
    ]
    measures, differences = seen.dataframe
    assert measures.value["Power at 5e-8"].tolist() == [0.9, 0.6]
    assert set(differences.value.file) == {TRUTH, "beagle/default"}
    charts = [json.loads(chart.proto.spec) for chart in seen.get("plotly_chart")]
    assert len(charts) == 2 and {trace.get("name") for trace in charts[0]["data"]} == {TRUTH, "beagle/default"}


def test_without_a_table_it_says_what_to_run(runs: Path) -> None:
    seen = AppTest.from_file(PAGE, default_timeout=120).run()
    assert not seen.exception and "consequence" in seen.info[0].value
