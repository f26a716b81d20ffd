"""Runs, models and reports in a real MLflow store, read back, served and looked at."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pandas as pd
import pytest

from snpimpute.base.errors import InputError
from snpimpute.imputers.contract import impute
from snpimpute.imputers.mode import Mode
from snpimpute.imputers.testing import small_panel
from snpimpute.tracking.connect import tracking_uri
from snpimpute.tracking.models import safe_name
from snpimpute.tracking.runs import Training
from snpimpute.tracking.store import WORKFLOW
from snpimpute.tracking.writer import Tracker
from tests.conftest import CHROMIUM, CHROMIUM_ARGS

LEVELS = (30.0, 60.0, 90.0)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "a model"
    Mode(seed=1).fit(small_panel()).save(folder)
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in an empty folder without MLflow's variables, and leave it empty."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    yield
    assert list(here.iterdir()) == []


@pytest.fixture
def runs(tmp_path: Path, fresh_database: Path) -> Path:
    folder = tmp_path / "my runs"
    folder.mkdir()
    shutil.copy(fresh_database, folder)
    return folder


@pytest.fixture
def tracker(runs: Path) -> Tracker:
    return Tracker(tracking_uri(None, runs), runs)


def target() -> pd.DataFrame:
    """Three samples with every second site hidden, as a served model takes them."""
    panel = small_panel().take_samples(np.arange(3))
    return pd.DataFrame(panel.hide(np.arange(panel.n_sites) % 2 == 0).calls, panel.names, panel.site_keys())


def train(tracker: Tracker, model_folder: Path, key: str = "k", **changed: object) -> str:
    """Log a trained imputer; validation macro-F1 .8 unless `score` says otherwise."""
    score = changed.pop("score", 0.8)
    arguments = {
        "dataset": "x",
        "dataset_folder": Path("prepared"),
        "dataset_digest": "d" * 64,
        "imputer": "mode",
        "variant": "default",
        "params": {"alpha": 0.10},
        "metrics": {"val_f1_macro": score, "seconds_fit": 1.5},
        "tags": {"seed": "1"},
        "artifacts": [model_folder / "imputer.json"],
        "model_folder": model_folder,
        "example_target": target(),
    }
    return tracker.log_training(Training(key=key, **{**arguments, **changed}))


def aliases(tracker: Tracker) -> dict[str, str]:
    """Alias → version of the model of dataset x."""
    found = tracker.client.get_registered_model("snpimpute-x").aliases
    return {alias: str(version) for alias, version in found.items()}


def score_table(variant: str = "default", shift: float = 0.0) -> pd.DataFrame:
    """A tidy table as an evaluation leaves it, with rows that must not be logged among it."""
    rows = []

    def add(value: float, **key: object) -> None:
        base = {"imputer": "mode", "variant": variant, "dataset": "x", "split": "test", "mechanism": "independent"}
        base |= {"level": 60.0, "repeat": "all", "seed": 1, "subset": "all", "decision": "argmax", "metric": "f1_macro"}
        rows.append({**base, "versus": "", **key, "value": value, "low": value - 0.01, "high": value + 0.01, "n": 100})

    for mechanism, drop in (("nested", 0.1), ("independent", 0.0), ("blocks", 0.2)):
        for level in (0.5, 1.0) if mechanism == "blocks" else LEVELS:
            for subset in ("all", "rare", "maf:0.05-0.10"):
                for metric in ("f1_macro", "f1_micro", "f1_0", "f1_1", "f1_2", "truth_0", "wrong"):
                    value = 1 - level / 200 - drop + shift - (subset == "rare") * 0.05
                    add(value, mechanism=mechanism, level=level, subset=subset, metric=metric)
    add(0.123, repeat="0")
    add(0.123, split="validation")
    add(-0.3, versus="beagle/tuned")
    add(0.123, imputer="beagle")
    add(0.123, decision="offsets")
    for true in range(3):
        for called in range(3):
            add(10.0 * true + called, metric=f"confusion_{true}{called}")
    return pd.DataFrame(rows)


# ---------------------------------------------------------------------- names and places


def test_uri_from_the_environment_then_settings_then_the_run_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert tracking_uri(None, tmp_path / "runs") == f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert tracking_uri("http://host:5000", tmp_path) == "http://host:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://host/db")
    assert tracking_uri("http://host:5000", tmp_path) == "postgresql://host/db"


def test_safe_names_are_plain_and_stay_different() -> None:
    assert safe_name("kg15-500") == "kg15-500"
    odd = ["a b", "a/b", "<b>a", "été", "", "..", "a" * 300, "a" * 301]
    assert len({safe_name(name) for name in odd}) == len(odd)
    for name in odd:
        assert set(safe_name(name)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-."), name
        assert 0 < len(safe_name(name)) <= 100


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:////no/such/folder/mlflow.db",
        "sqlite:////proc/mlflow.db",
        "http://127.0.0.1:9",
        "postgresql://me:secret@127.0.0.1:9/db",
        "mysql+nodriver://127.0.0.1:9/db",
        "runs/mlruns",
        "sqlite://",
    ],
)
def test_unreachable_store_is_one_line(uri: str, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(InputError, match="MLflow store") as caught:
        Tracker(uri, tmp_path / "runs")
    assert time.monotonic() - started < 60  # MLflow itself would try for minutes
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database, whatever its name says " * 20)
    with pytest.raises(InputError, match="not a database"):
        Tracker(tracking_uri(None, tmp_path), tmp_path)


def test_a_server_that_is_not_mlflow_is_one_line(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with serving(command, port, tmp_path, "/"), pytest.raises(InputError, match="MLflow store"):
        Tracker(f"http://127.0.0.1:{port}", tmp_path / "runs")


def test_a_store_that_fails_later_is_one_line(tracker: Tracker, runs: Path) -> None:
    with sqlite3.connect(runs / "mlflow.db") as connection:
        connection.execute("DROP TABLE metrics")
    with pytest.raises(InputError, match=r"MLflow store .* no such table: metrics") as caught:
        record = {"number": 0, "state": "complete", "score": 0.5, "params": {}}
        tracker.log_trial(dataset="x", study="s", imputer="mode", variant="tuned", record=record)
    assert "\n" not in str(caught.value)


@pytest.mark.panels  # half a minute
def test_processes_that_start_at_once_share_a_fresh_store(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from snpimpute.tracking.connect import tracking_uri; from snpimpute.tracking.writer import Tracker\n"
        "runs = Path(sys.argv[1]); t = Tracker(tracking_uri(None, runs), runs)\n"
        "t.log_trial(dataset='x', study='s', imputer='mode', variant='tuned',"
        " record={'number': int(sys.argv[2]), 'state': 'complete', 'score': .5, 'params': {}})"
    )
    here = Path(__file__).parents[2]
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "runs"), str(i)], cwd=here) for i in range(2)
    ]
    assert [process.wait(120) for process in started] == [0, 0]
    tracker = Tracker(tracking_uri(None, tmp_path / "runs"), tmp_path / "runs")
    found = tracker.client.get_experiment_by_name("snpimpute/x/tune")
    names = sorted(run.info.run_name for run in tracker.client.search_runs([found.experiment_id]))
    assert names == ["mode tuned", "trial 0", "trial 1"]


# ---------------------------------------------------------------------- studies


def test_trials_logged_twice_are_one_run_each(tracker: Tracker, runs: Path) -> None:
    records = [
        {
            "number": 0,
            "state": "complete",
            "score": 0.9,
            "params": {"rate": 0.1, "kind": "a"},
            "intermediate": {0: 0.5, 1: 0.9},
            "attributes": {"n_parameters": 12, "calibration": [1, 0]},
            "seconds": 60.0,
            "reason": "",
        },
        {"number": 1, "state": "pruned", "score": 0.4, "params": {"rate": 0.2, "kind": "b"}, "intermediate": {0: 0.4}},
        {"number": 2, "state": "failed", "score": None, "params": {"rate": 9}, "seconds": 1.0, "reason": "it's <odd>"},
        {"number": 3, "state": "running", "score": None, "params": {"rate": 0.3}, "intermediate": {}},
    ]
    again = Tracker(tracker.uri, runs)
    for each in (tracker, again):
        for record in records:
            each.log_trial(dataset="my bulls/1", study="abc-dense", imputer="dense", variant="tuned", record=record)
    again.log_trial(
        dataset="my bulls/1",
        study="abc-dense",
        imputer="dense",
        variant="tuned",
        record={**records[3], "state": "complete", "score": 0.7, "intermediate": {0: 0.7}},
    )
    parent_id = again.finish_study(
        dataset="my bulls/1", study="abc-dense", best=records[0], n_trials=4, ended_by="trials", n_counted=3
    )
    name = f"snpimpute/{safe_name('my bulls/1')}/tune"
    found = tracker.client.search_runs([tracker.client.get_experiment_by_name(name).experiment_id])
    by_name = {run.info.run_name: run for run in found}
    assert sorted(by_name) == ["dense tuned", "trial 0", "trial 1", "trial 2", "trial 3"] and len(found) == 5
    assert {by_name[f"trial {i}"].data.tags["mlflow.parentRunId"] for i in range(4)} == {parent_id}
    assert [by_name[f"trial {i}"].info.status for i in range(4)] == ["FINISHED", "FINISHED", "FAILED", "FINISHED"]
    assert [by_name[f"trial {i}"].data.tags["state"] for i in range(4)] == ["complete", "pruned", "failed", "complete"]
    first = by_name["trial 0"]
    history = tracker.client.get_metric_history(first.info.run_id, "val_f1_macro")
    assert [(point.step, point.value) for point in history] == [(0, 0.5), (1, 0.9)]
    assert first.data.params == {"rate": "0.1", "kind": "a", "trial": "0"}
    assert first.data.metrics["score"] == 0.9 and first.data.metrics["n_parameters"] == 12
    assert first.info.end_time - first.info.start_time == 60_000
    assert by_name["trial 2"].data.tags["reason"] == "it's <odd>"
    parent = by_name["dense tuned"]
    assert parent.data.metrics == {"score": 0.9, "n_trials": 4, "n_counted": 3}
    assert parent.data.tags["best.rate"] == "0.1" and parent.data.tags["ended_by"] == "trials"
    assert parent.info.status == "FINISHED"


# ---------------------------------------------------------------------- trained imputers


def test_training_is_logged_once_with_its_dataset(tracker: Tracker, model_folder: Path) -> None:
    run_id = train(tracker, model_folder)
    assert train(tracker, model_folder) == run_id
    run = tracker.client.get_run(run_id)
    assert run.info.status == "FINISHED" and run.info.run_name == "mode default"
    assert run.data.params == {"alpha": "0.1"} and run.data.metrics["val_f1_macro"] == 0.8
    assert run.data.tags["seed"] == "1" and run.data.tags["dataset_digest"] == "d" * 64
    (given,) = run.inputs.dataset_inputs
    assert given.dataset.name == "x" and ("d" * 64).startswith(given.dataset.digest) and len(given.dataset.digest) == 36
    assert [a.path for a in tracker.client.list_artifacts(run_id)] == ["imputer.json"]
    (version,) = tracker.client.search_model_versions("name = 'snpimpute-x'")
    assert version.run_id == run_id and version.tags["imputer"] == "mode" and version.tags["run_id"] == run_id
    assert aliases(tracker) == {"mode": "1", "champion": "1"}


def test_a_training_cut_off_is_taken_up(tracker: Tracker, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Tracker, "_promote", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(tracker, model_folder)
    run_id = train(tracker, model_folder)
    (version,) = tracker.client.search_model_versions("name = 'snpimpute-x'")
    assert version.run_id == run_id and aliases(tracker) == {"mode": "1", "champion": "1"}
    assert len(tracker.client.get_metric_history(run_id, "val_f1_macro")) == 1


def test_aliases_move_on_improvement_on_the_same_dataset_only(
    tracker: Tracker, model_folder: Path, capsys: pytest.CaptureFixture
) -> None:
    train(tracker, model_folder, "1", score=0.8)
    assert aliases(tracker) == {"mode": "1", "champion": "1"}
    train(tracker, model_folder, "2", score=0.8, variant="other")
    assert aliases(tracker) == {"mode": "1", "champion": "1"}
    train(tracker, model_folder, "3", score=0.7, imputer="dense")
    assert aliases(tracker) == {"mode": "1", "dense": "3", "champion": "1"}
    train(tracker, model_folder, "4", score=0.9, imputer="dense")
    assert aliases(tracker) == {"mode": "1", "dense": "4", "champion": "4"}
    train(tracker, model_folder, "5", score=0.85, variant="third")
    assert aliases(tracker) == {"mode": "5", "dense": "4", "champion": "4"}
    train(tracker, model_folder, "6", score=0.5, dataset_digest="e" * 64)
    assert aliases(tracker) == {"mode": "6", "dense": "4", "champion": "4"}, "a champion stays on other data"
    train(tracker, model_folder, "7", score=0.95, dataset_digest="e" * 64, imputer="dense")
    assert aliases(tracker) == {"mode": "6", "dense": "7", "champion": "4"}, "however good the score on these is"
    train(tracker, model_folder, "8", score=0.99, dataset="y")
    assert aliases(tracker) == {"mode": "6", "dense": "7", "champion": "4"}, "another dataset has a model of its own"
    assert capsys.readouterr().err.count("the champion of snpimpute-x was fitted on other data, and stays: give") == 1
    train(tracker, model_folder, "9", score=0.91)
    assert aliases(tracker)["champion"] == "8"


CLEAN = """
import json, sys
sys.path[:] = [p for p in sys.path if p not in ("", {repository!r})]
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in repr(f).lower()]
try:
    import snpimpute
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("the package is importable without the model")
import mlflow, numpy as np, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[3])
import snpimpute
table = pd.read_csv(sys.argv[1], index_col=0)
np.savez(sys.argv[2], **model.predict(table.to_numpy(float), params={{"sites": list(table.columns)}}))
print(json.dumps({{"package": snpimpute.__file__, "heavy": sorted({{"tensorflow", "torch"}} & set(sys.modules))}}))
"""


def load_in_clean_process(uri: str, model: str, table: pd.DataFrame, folder: Path) -> dict:
    """Load a registered model with neither the repository nor pickle, and impute a target with it (imputed.npz)."""
    folder.mkdir()
    table.to_csv(folder / "target.csv")
    code = CLEAN.format(repository=str(Path(__file__).parents[2]))
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"MLFLOW_TRACKING_URI": uri, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, "target.csv", "imputed.npz", model],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_model_loads_by_alias_in_a_clean_process_after_a_move(
    tracker: Tracker, model_folder: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Mode, "load", lambda *_: pytest.fail("logging a model must not load it"))
    run_id = train(tracker, model_folder)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path / "here")
    moved = tmp_path / "moved"
    runs.rename(moved)
    tracker = Tracker(tracking_uri(None, moved), moved)
    loaded = load_in_clean_process(tracker.uri, "models:/snpimpute-x@mode", target(), tmp_path / "clean")
    assert Path(loaded["package"]).is_relative_to(moved / "mlartifacts") and loaded["heavy"] == []
    assert [a.path for a in tracker.client.list_artifacts(run_id)] == ["imputer.json"]

    served = np.load(tmp_path / "clean" / "imputed.npz", allow_pickle=True)
    panel = small_panel().take_samples(np.arange(3))
    expected = impute(Mode.load(model_folder), panel.hide(np.arange(panel.n_sites) % 2 == 0))
    assert served["site"].tolist() == panel.site_keys()
    assert (served["call"] == expected.calls).all()
    np.testing.assert_allclose(served["dosage"], expected.dosages, atol=1e-6)
    np.testing.assert_allclose(served["posterior"], expected.posterior, atol=1e-6)


def test_registered_model_says_what_it_takes_and_needs(
    tracker: Tracker, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow
    from fastapi.testclient import TestClient
    from mlflow.pyfunc import scoring_server

    run_id = train(tracker, model_folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracker.uri)
    info = mlflow.models.get_model_info("models:/snpimpute-x@champion")
    assert info.run_id == run_id
    assert info.signature.inputs is None and info.signature.params.params[0].name == "sites"
    assert info.signature.outputs.input_names() == ["site", "call", "dosage", "posterior"]
    folder = Path(mlflow.artifacts.download_artifacts("models:/snpimpute-x@champion"))
    # before it is loaded, as Python may then write caches beside its code
    assert not [p for p in folder.rglob("*") if p.suffix in {".pkl", ".pickle", ".joblib"} or p.name == "__pycache__"]
    model = mlflow.pyfunc.load_model("models:/snpimpute-x@champion")
    matrix, sites = target().to_numpy(float), list(target().columns)
    assert model.input_example.tolist() == matrix.tolist()
    needed = {line.split("==")[0] for line in (folder / "requirements.txt").read_text().split()}
    assert {"mlflow", "numpy", "pandas", "pydantic"} <= needed and not {"tensorflow", "torch", "optuna"} & needed
    example = json.loads((folder / "serving_input_example.json").read_text())
    answer = TestClient(scoring_server.init(model)).post("/invocations", json=example)
    by_json, here = answer.json()["predictions"], model.predict(matrix, params={"sites": sites})
    assert by_json["site"] == here["site"].tolist() and by_json["call"] == here["call"].tolist()
    np.testing.assert_allclose(by_json["posterior"], here["posterior"], atol=6e-8)  # seven decimals are written
    whole = target().iloc[:, ::-1].astype("Int64").mask(target().iloc[:, ::-1] < 0)
    in_other_forms = [
        model.predict(target()),
        model.predict(whole),
        model.predict(matrix.astype(np.int8), params={"sites": sites}),
    ]
    for found in in_other_forms:
        np.testing.assert_array_equal(found["posterior"], here["posterior"])
    for given, said in (
        (matrix, "columns without names: give a data frame whose columns are contig:pos:ref:alt"),
        (target().astype(str), "the calls are not numbers; give 0, 1 or 2 alternate alleles, -1 or NaN for missing"),
        (target() > 0, "the calls are not numbers"),
        (matrix[0], "give a row per sample and a column per site"),
        (target().rename(columns={sites[0]: "animal"}), "site animal is not in the model"),
    ):
        with pytest.raises(mlflow.MlflowException, match=said):
            model.predict(given)


def test_requirements_follow_what_an_imputer_imports(tmp_path: Path) -> None:
    from snpimpute.tracking.models import requirements

    (tmp_path / "imputer.json").write_text('{"imputer": "dense"}')
    assert any(line.startswith("tensorflow==") for line in requirements(tmp_path))
    assert not any("+" in line for line in requirements(tmp_path))


# ---------------------------------------------------------------------- scores


def test_scores_become_curves_headlines_and_figures(tracker: Tracker, model_folder: Path) -> None:
    run_id = train(tracker, model_folder)

    def curve(key: str) -> dict[int, float]:
        latest = sorted(tracker.client.get_metric_history(run_id, key), key=lambda point: point.timestamp)
        return {point.step: round(point.value, 6) for point in latest}

    tracker.log_scores(run_id, score_table())
    tracker.log_scores(run_id, score_table())
    assert len(tracker.client.get_metric_history(run_id, "f1_macro")) == 3, "the same scores twice are there once"
    assert curve("f1_macro") == {30: 0.85, 60: 0.7, 90: 0.55}
    assert curve("rare_f1_2") == {30: 0.8, 60: 0.65, 90: 0.5}
    assert curve("nested_f1_macro") == {30: 0.75, 60: 0.6, 90: 0.45}
    assert curve("blocks_rare_f1_micro_permille") == {5: 0.7475, 10: 0.745}
    metrics = tracker.client.get_run(run_id).data.metrics
    assert metrics["f1_macro_60"] == pytest.approx(0.7) and metrics["rare_f1_macro_60"] == pytest.approx(0.65)
    assert not [key for key in metrics if "truth" in key or "wrong" in key or "confusion" in key or "maf" in key]
    figures = {a.path: a.file_size for a in tracker.client.list_artifacts(run_id, "figures")}
    assert sorted(figures) == ["figures/confusion.png", "figures/robustness.png"] and min(figures.values()) > 5000
    tracker.log_scores(run_id, score_table(shift=-0.1))
    assert curve("f1_macro") == {30: 0.75, 60: 0.6, 90: 0.45}
    assert tracker.client.get_run(run_id).data.metrics["f1_macro_60"] == pytest.approx(0.6)


def test_headline_without_a_confusion_matrix_is_the_level_nearest_to_60(tracker: Tracker, model_folder: Path) -> None:
    table = score_table()
    table = table[~table["metric"].str.startswith("confusion") & (table["level"] != 60)]
    table = table[table["mechanism"] == "nested"]
    run_id = train(tracker, model_folder)
    tracker.log_scores(run_id, table)
    metrics = tracker.client.get_run(run_id).data.metrics
    assert "f1_macro_30" in metrics and "f1_macro_90" not in metrics and "nested_f1_macro" not in metrics
    assert [a.path for a in tracker.client.list_artifacts(run_id, "figures")] == ["figures/robustness.png"]


# ---------------------------------------------------------------------- comparisons


def test_comparison_is_renewed(tracker: Tracker, tmp_path: Path) -> None:
    report = tmp_path / "report"
    report.mkdir()
    (report / "report.html").write_text("<p>first</p>")
    table = pd.DataFrame({"imputer": ["mode"], "f1_macro": [0.5]})
    asked = {"key": "c", "dataset_names": ["x", "a b"], "report_folder": report, "tags": {"revision": "abc"}}
    run_id = tracker.log_comparison(table=table, **asked)
    (report / "report.html").write_text("<p>second</p>")
    assert tracker.log_comparison(table=table.assign(f1_macro=0.6), **asked) == run_id
    kept = Path(tracker.client.download_artifacts(run_id, ""))
    assert (kept / "report" / "report.html").read_text() == "<p>second</p>"
    assert pd.read_csv(kept / "comparison.csv")["f1_macro"].tolist() == [0.6]
    experiment = tracker.client.get_experiment(tracker.client.get_run(run_id).info.experiment_id)
    assert experiment.name == f"snpimpute/x+{safe_name('a b')}/compare"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class serving:
    """A server process on a port of this machine, up when entered and ended with its children when left."""

    def __init__(self, command: list[str], port: int, cwd: Path, path: str = "/health") -> None:
        self.command, self.cwd, self.url, self.path = command, cwd, f"http://127.0.0.1:{port}", path

    def __enter__(self) -> str:
        self.process = subprocess.Popen(
            self.command,
            cwd=self.cwd,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={
                **os.environ,
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "DO_NOT_TRACK": "true",
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # seven processes less
            },
        )
        for _ in range(1800):
            try:
                urlopen(self.url + self.path, timeout=2).close()
                return self.url
            except (URLError, OSError):
                assert self.process.poll() is None, "the server ended"
                time.sleep(0.1)
        self.__exit__()
        raise TimeoutError(self.command)

    def __exit__(self, *_: object) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(60)


@pytest.mark.panels  # MLflow's own page takes half a minute
def test_two_runs_side_by_side_in_the_ui(tracker: Tracker, model_folder: Path, tmp_path: Path) -> None:
    """The page behind the link opens with the headline's metric of both runs, and the server's API finds their metrics."""
    run_ids = []
    for variant, shift in (("default", 0.0), ("tuned", 0.1)):
        run_ids.append(
            train(tracker, model_folder, variant, variant=variant, score=0.8 + shift, headline="f1_macro_60")
        )
        assert np.isnan(tracker.client.get_run(run_ids[-1]).data.metrics["f1_macro_60"]), "not scored yet"
        table = score_table(variant, shift)
        tracker.log_scores(run_ids[-1], table[table["mechanism"] != "blocks"])
    link = tracker.comparison_link("x", run_ids)
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", tracker.uri, "--port", str(port)]
    with serving([*command, "--host", "127.0.0.1", "--workers", "1"], port, tmp_path) as url:
        remote = Tracker(url, tmp_path / "other")
        assert remote.comparison_link("x", run_ids) == link.replace(tracker.ui, f"{url}/")
        experiment = remote.client.get_run(run_ids[0]).info.experiment_id
        (better,) = remote.client.search_runs([experiment], "metrics.f1_macro_60 > 0.75")
        assert better.info.run_id == run_ids[1]
        kind = remote.client.get_experiment(experiment).tags["mlflow.experimentKind"]
        assert kind == "custom_model_development"
        with urlopen(f"{url}/", timeout=10) as page:
            assert page.status == 200 and b"<html" in page.read().lower()
        if not CHROMIUM.exists():
            pytest.skip(f"no {CHROMIUM}: the page was not looked at")
        opened = look_at(f"{url}/#/experiments/{experiment}?{WORKFLOW}", ["mode default", "mode tuned"])
        assert "Traces" in opened and "No data available" not in opened
        text = look_at(link.replace(tracker.ui, f"{url}/"), ["mode default", "mode tuned", "f1_macro_60"])
    for wanted in ("Comparing 2 Runs", "mode default", "mode tuned", "f1_macro", "0.7", "0.8"):
        assert wanted in text, wanted
    assert re.search(r"Metrics:\s+f1_macro_60\s", text), "the picture opens with the headline"


def look_at(url: str, until: list[str]) -> str:
    """The text of a page in a real browser, once all of `until` is on it; a picture of it where SNPIMPUTE_PICTURE says."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=str(CHROMIUM), args=CHROMIUM_ARGS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(url)
        for text in until:
            page.get_by_text(text).first.wait_for(timeout=60_000)
        if picture := os.environ.get("SNPIMPUTE_PICTURE"):
            page.screenshot(path=picture)
        found = page.inner_text("body")
        browser.close()
    return found
