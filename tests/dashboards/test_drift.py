"""The page Drift over a folder of runs: what is drawn is in the tables of batches, and without one it says what to run."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from snpimpute.impute.drift import ACCURACY, FIGURES, FREQUENCY
from snpimpute.impute.watching import BATCHES, COLUMNS, read_batches

PAGE = str(Path(__file__).parents[2] / "dashboards" / "views" / "drift.py")


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_store) -> Path:
    runs = with_store(tmp_path / "runs")
    monkeypatch.setenv("SNPIMPUTE_RUNS", str(runs))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return runs


def judged(runs: Path) -> pd.DataFrame:
    """Two batches: the second one is right less often, and its entropy could not be told."""
    rows = [
        (batch, "2026-01-01T00:00:00+00:00", f"day{batch}.vcf.gz", "0", 30, figure.name,
         float("nan") if (batch, figure.name) == (2, "entropy") else 0.9 - 0.2 * (batch == 2), 0.9, 0.0, 0.5, 1.0,
         batch == 2 and figure.name in (ACCURACY, FREQUENCY))
        for batch in (1, 2)
        for figure in FIGURES
    ]  # fmt: skip
    path = runs / "watch" / "snpimpute-calves-panel-1-0123abcd" / BATCHES
    path.parent.mkdir(parents=True)
    pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(path, sep="\t", index=False)
    return read_batches(path)


def test_it_draws_what_is_in_the_table(runs: Path) -> None:
    found = judged(runs)
    seen = AppTest.from_file(PAGE, default_timeout=120).run()
    assert not seen.exception and not seen.error
    assert [box.value for box in seen.selectbox] == ["snpimpute-calves-panel-1-0123abcd", ACCURACY]
    (batches,) = seen.dataframe
    assert batches.value["Batch"].tolist() == [2, 1]
    assert batches.value["Beyond"].tolist() == [f"{FREQUENCY}, {ACCURACY}", ""]
    assert batches.value["Accuracy"].tolist() == found[found.figure == ACCURACY]["value"].tolist()[::-1]
    (chart,) = (json.loads(chart.proto.spec) for chart in seen.get("plotly_chart"))
    drawn = {trace.get("name"): trace for trace in chart["data"] if trace.get("showlegend")}
    assert set(drawn) == {"batches", "expected"}
    seen.selectbox[1].set_value("entropy").run()
    assert not seen.exception and not seen.error


def test_without_a_batch_it_says_what_to_run(runs: Path) -> None:
    seen = AppTest.from_file(PAGE, default_timeout=120).run()
    assert not seen.exception and "snpimpute models watch NAME target.vcf.gz" in seen.info[0].value
