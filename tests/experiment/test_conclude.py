"""`consequence = true`: the report has its section, the store the metrics, and a better imputer costs less."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import tomli_w
from typer.testing import CliRunner

from snpimpute.cli.app import app
from snpimpute.experiment import conclude, pipeline
from snpimpute.experiment.conclude import at_level, read_conclusions
from snpimpute.experiment.rows import Outcome
from snpimpute.experiment.settings import parse
from snpimpute.metrics.conclusions import ALL, TRUTH, TYPED
from snpimpute.tracking.reader import Store
from snpimpute.traits import parts
from tests.traits.killed import die_at_part

pytestmark = pytest.mark.panels  # half a minute

SETTINGS = {
    "name": "calves",
    "consequence": True,
    "only_listed_variants": True,
    "imputers": ["mode", "simpute", "softmax_regression"],
    "variants": {
        "mode": {"default": {}},
        "simpute": {"panel": {"tune": False}},
        "softmax_regression": {"default": {"tune": False}},
    },
    "data": {
        "calves": {
            "simulation": {"n_samples": 200, "n_sites": 60},
            "scenarios": {"levels": [30, 60], "repeats": 1, "mechanisms": ["independent"]},
        }
    },
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, with_store) -> tuple[Path, Outcome]:
    runs = with_store(tmp_path_factory.mktemp("conclude") / "runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conclude, "N_FINEMAPPED", 2)
        return runs, pipeline.run(parse(SETTINGS, "test"), runs)


def test_the_table_has_every_row_and_level(run):
    _, outcome = run
    table = read_conclusions(outcome.conclusions["calves"])
    labels = {done.row.label for done in outcome.rows["calves"]}
    assert set(table.file) == {TRUTH, TYPED, *labels} and sorted(table.level.unique()) == [30, 60]
    headline = at_level(table, 60)
    plain = headline[(headline.subset == ALL) & (headline.versus == "")].set_index(["file", "measure"]).value
    assert plain[TRUTH, "chi2"] == 1.0 and plain[TRUTH, "power"] > plain["mode/default", "power"]
    assert plain["softmax_regression/default", "chi2"] > plain["mode/default", "chi2"]
    assert "recall" in plain[TRUTH].dropna().index
    assert at_level(table, 30).query("measure == 'recall'").value.isna().all()


def test_the_report_and_the_store_have_it(run):
    runs, outcome = run
    page = outcome.report.read_text()
    assert "What imputing changes in the conclusion" in page and "Rank correlation of the order by macro-F1" in page
    assert (outcome.report.parent / "conclusions-calves.png").read_bytes().startswith(b"\x89PNG")
    done = next(done for done in outcome.rows["calves"] if done.row.imputer == "softmax_regression")
    client = Store(outcome.mlflow_uri).client
    history = client.get_metric_history(done.run_id, "consequence_power")
    assert sorted(point.step for point in history) == [30, 60]
    again = pipeline.run(parse(SETTINGS, "test"), runs)
    assert again.conclusions == outcome.conclusions
    assert len(client.get_metric_history(done.run_id, "consequence_power")) == 2


def conclude_until_killed(runs: Path, n_parts: int) -> None:
    """End this process by SIGKILL once n_parts parts of the experiment's comparison are kept, as the next one is written."""
    die_at_part(n_parts)
    conclude.N_FINEMAPPED = 2
    pipeline.run(parse(SETTINGS, "test"), runs)


def test_a_killed_consequence_of_an_experiment_goes_on_where_it_was(run, monkeypatch: pytest.MonkeyPatch):
    runs, outcome = run
    table = outcome.conclusions["calves"]
    whole = read_conclusions(table)
    table.unlink()
    killed = f"from tests.experiment.test_conclude import *; conclude_until_killed(Path({str(runs)!r}), 5)"
    done = subprocess.run(
        [sys.executable, "-c", killed], cwd=Path(__file__).parents[2], capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    before = {path.name for path in table.with_suffix(".parts").glob("*.npz")}
    made: list[str] = []
    saved = parts._save
    monkeypatch.setattr(parts, "_save", lambda path, part: (made.append(path.name), saved(path, part)))
    monkeypatch.setattr(conclude, "N_FINEMAPPED", 2)
    again = pipeline.run(parse(SETTINGS, "test"), runs)
    assert len(before) == 5 and made and not before & set(made)
    assert again.conclusions["calves"] == table and not table.with_suffix(".parts").exists()
    # sums by other numbers of threads differ in their last digits
    pd.testing.assert_frame_equal(read_conclusions(table), whole, rtol=1e-9)


def test_without_the_key_nothing_is_made(run):
    runs, _ = run
    outcome = pipeline.run(parse({**SETTINGS, "consequence": False}, "test"), runs)
    assert not outcome.conclusions and "What imputing changes" not in outcome.report.read_text()


def test_the_verb_asks_an_experiment_for_it(run, tmp_path: Path):
    runs, outcome = run
    experiment = tmp_path / "calves.toml"
    experiment.write_text(tomli_w.dumps({**SETTINGS, "consequence": False}))
    command = ["consequence", str(experiment), "--runs", str(runs), "--json"]
    told = json.loads(CliRunner().invoke(app, command, catch_exceptions=False).stdout)
    assert told["conclusions"] == {"calves": str(outcome.conclusions["calves"])}
    refused = CliRunner().invoke(app, [*command, "imputed.vcf.gz"])
    assert "is an experiment, whose imputers are compared: leave out imputed.vcf.gz" in str(refused.exception)
