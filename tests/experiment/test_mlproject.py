"""The MLflow project, run for real: its entry points, its environment, its store; and usage reports, which are off."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil
import pytest
import yaml
from typer.main import get_command

from snpimpute.base.processes import QUIET
from snpimpute.cli import app as cli
from snpimpute.experiment.rows import plan
from snpimpute.experiment.settings import read
from snpimpute.tracking.writer import Tracker
from tests.cli.test_app import said
from tests.conftest import project_environment

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "experiments" / "smoke.toml"
WithStore = Callable[[Path], Path]
LITTLE = """
name = "little"
threads = 1
imputers = ["mode", "softmax_regression"]
only_listed_variants = true
tuning = { trials = 2 }
[data.calves]
simulation = { n_samples = 60, n_sites = 30 }
scenarios = { levels = [60], repeats = 1 }
[variants.softmax_regression.tuned]
"""


@pytest.fixture(scope="module")
def project(smoke_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project in a folder of its own, after the entry point `main` has done the smoke experiment in it."""
    folder = Path(shutil.copytree(smoke_project, tmp_path_factory.mktemp("project") / "snp impute", symlinks=True))
    (folder / "little.toml").write_text(LITTLE)
    return folder


def mlflow_run(
    project: Path, entry_point: str, cwd: Path | None = None, env: dict[str, str] | None = None, **parameters: object
) -> subprocess.CompletedProcess[str]:
    """`mlflow run` as the README gives it."""
    command = ["mlflow", "run", "." if cwd is None else str(project), "-e", entry_point, "--env-manager", "local"]
    for name, value in parameters.items():
        command += ["-P", f"{name}={value}"]
    return subprocess.run(command, cwd=cwd or project, env=env or project_environment(), capture_output=True, text=True)


@pytest.fixture(scope="module")
def smoke(project: Path) -> tuple[Path, str]:
    """The smoke experiment's folder of runs, and what the command printed."""
    return project / "my runs", (project / "printed.txt").read_text()


def project_runs(project: Path) -> list:
    """The project's own runs in MLflow's default store."""
    client = Tracker(f"sqlite:///{project / 'mlflow.db'}", project / "of-mlflow").client
    assert [found.name for found in client.search_experiments()] == ["Default"]
    return client.search_runs(["0"])


# ---------------------------------------------------------------------- entry points


def test_main_does_the_experiment_in_the_store_of_its_folder(project: Path, smoke: tuple[Path, str]) -> None:
    runs, printed = smoke
    assert f"report: {Path('my runs/reports/smoke/report.html')}" in printed
    client = Tracker(f"sqlite:///{runs / 'mlflow.db'}", runs).client
    names = {found.name: found.experiment_id for found in client.search_experiments()}
    assert {"snpimpute/calves/train", "snpimpute/calves/tune", "snpimpute/calves/compare"} <= set(names)
    trained = client.search_runs([names["snpimpute/calves/train"]])
    assert {run.info.run_name for run in trained} == {row.label.replace("/", " ") for row in plan(read(SMOKE))}
    assert all(run.info.status == "FINISHED" for run in trained)
    assert client.search_runs(["0"]) == []


def test_the_projects_own_run_stays_apart(project: Path, smoke: tuple[Path, str]) -> None:
    run = next(r for r in project_runs(project) if r.data.params.get("config") == "experiments/smoke.toml")
    assert run.info.status == "FINISHED" and run.data.metrics == {}
    assert set(run.data.params) == {"config", "runs"}


def test_evaluate_scores_the_registered_models(project: Path, smoke: tuple[Path, str]) -> None:
    runs, before = smoke
    done = mlflow_run(project, "evaluate", config="experiments/smoke.toml", runs="my runs")
    assert done.returncode == 0, done.stderr
    report = runs / "reports" / "smoke-registered"
    assert (report / "report.html").is_file()
    shown = pd.read_csv(report / "imputers.csv")
    assert (shown["status"] == "ok").all() and len(shown) == len(plan(read(SMOKE)))
    said = re.search(
        r"^scored (\d+) registered models of calves, nothing was trained: (.+)$", done.stdout, re.MULTILINE
    )
    labels = shown["imputer"] + "/" + shown["variant"]
    assert said and int(said[1]) == len(shown) and set(said[2].split(", ")) == set(labels)
    table = r"^ *\S+/\S+ .*$"
    assert re.findall(table, done.stdout, re.MULTILINE) == re.findall(table, before, re.MULTILINE)


def test_evaluate_with_none_registered_says_what_to_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, project: Path, with_store: WithStore
) -> None:
    with_store(project / "empty")
    monkeypatch.chdir(project)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    status, out, err = said(capsys, monkeypatch, "evaluate", "little.toml", "--registered", "--runs", "empty")
    (line,) = err.splitlines()
    assert (status, out) == (2, "") and line.startswith("snpimpute: ")
    assert "no registered model was fitted on calves" in line and "mlflow run . -e train" in line


@pytest.mark.panels
def test_a_store_that_the_user_names_is_kept_to(project: Path, tmp_path: Path) -> None:
    """Started from another folder, with an option of the verb, and a store that looks like MLflow's default."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    runs = tmp_path / "runs"
    done = mlflow_run(
        project,
        "train",
        cwd=tmp_path,
        env=project_environment(MLFLOW_TRACKING_URI=uri),
        config="little.toml",
        runs=runs,
        imputer="mode",
    )
    assert done.returncode == 0, done.stderr
    assert not (runs / "mlflow.db").exists()
    client = Tracker(uri, runs).client
    assert [model.name for model in client.search_registered_models()] == ["snpimpute-calves"]
    (own,) = client.search_runs(["0"])
    assert own.info.status == "FINISHED" and own.data.params["imputer"] == "mode"
    assert not (own.data.tags.keys() & {"imputer", "snpimpute.key"}) and own.data.metrics == {}


@pytest.mark.panels
def test_a_default_store_elsewhere_is_nobodys_choice(project: Path, tmp_path: Path, with_store: WithStore) -> None:
    runs = with_store(tmp_path / "runs")
    done = mlflow_run(project, "train", cwd=tmp_path, config="little.toml", runs=runs, imputer="mode")
    assert done.returncode == 0, done.stderr
    here, elsewhere = (Tracker(f"sqlite:///{folder / 'mlflow.db'}", runs).client for folder in (runs, tmp_path))
    assert [model.name for model in here.search_registered_models()] == ["snpimpute-calves"]
    assert elsewhere.search_registered_models() == []


def test_entry_points_are_verbs_with_their_options() -> None:
    entry_points = yaml.safe_load((ROOT / "MLproject").read_text())["entry_points"]
    assert set(entry_points) == {"main", "prepare", "tune", "train", "evaluate", "compare", "consequence", "traits"}
    verbs = get_command(cli.app).commands  # type: ignore[attr-defined]
    of_traits = entry_points.pop("traits")
    options = {option for p in verbs["traits"].commands["compare"].params for option in p.opts}
    assert of_traits["command"].startswith("python -m snpimpute traits compare {genotypes} ")
    assert set(re.findall(r"--\S+", of_traits["command"])) <= options
    for name, entry_point in entry_points.items():
        program, verb, *rest = entry_point["command"].split(" ", 4)[2:]
        assert (program, verb) == ("snpimpute", "experiment" if name == "main" else name)
        options = {option for parameter in verbs[verb].params for option in parameter.opts}
        assert set(re.findall(r"--\S+", " ".join(rest))) <= options
        assert entry_point["parameters"] == {
            "config": {"type": "string", "default": "experiments/demo.toml"},
            "runs": {"type": "string", "default": "runs"},
        }
        assert (ROOT / entry_point["parameters"]["config"]["default"]).is_file()


# ---------------------------------------------------------------------- the conda environment


def test_the_conda_environment_has_the_programs_and_pins() -> None:
    """That the pins are those of the lock, test_project.py says."""
    conda = yaml.safe_load((ROOT / "conda.yaml").read_text())
    *programs, python = conda["dependencies"]
    option, *pins = python["pip"]
    assert pins and all("==" in pin for pin in pins)
    assert option == "--extra-index-url https://download.pytorch.org/whl/cpu"
    assert conda["channels"] == ["conda-forge", "bioconda"]
    assert {re.split("[=<>]", program)[0] for program in programs} == {
        "python",
        "pip",
        "beagle",
        "minimac4",
        "gemma",
        "plink2",
        "bcftools",
        "htslib",
    }


# ---------------------------------------------------------------------- usage reports


@pytest.mark.panels  # half a minute; that of the command line stays in the ordinary suite
def test_steps_and_workers_start_with_usage_reports_off(tmp_path: Path, with_store: WithStore) -> None:
    """Every process that an experiment starts, looked at while it runs."""
    (tmp_path / "little.toml").write_text(LITTLE)
    with_store(tmp_path / "runs")
    command = [sys.executable, "-m", "snpimpute", "train", "little.toml", "--runs", "runs"]
    without = project_environment()
    del without["MLFLOW_DISABLE_TELEMETRY"]
    process = subprocess.Popen(command, cwd=tmp_path, env={**without, "PYTHONPATH": str(ROOT)})
    seen: dict[str, dict[str, str]] = {}
    while process.poll() is None:
        time.sleep(0.05)
        for child in psutil.Process(process.pid).children(recursive=True):
            try:
                name = child.name()
                seen[f"{name} {' '.join(child.cmdline())}"] = child.environ()
            except psutil.Error:
                continue
    assert process.returncode == 0
    started = {
        kind: [e for line, e in seen.items() if line.startswith(f"{kind} ") or f"snpimpute {kind}" in line]
        for kind in ("fit_row", "trial")
    }
    assert all(started.values()), list(seen)
    for found in (e for environments in started.values() for e in environments):
        assert {name: found.get(name) for name in QUIET} == QUIET


def test_the_command_line_itself_reports_nothing() -> None:
    code = (
        "import json, os, sys; sys.argv = ['snpimpute', 'imputers']\n"
        "from snpimpute.cli import app as cli\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "from mlflow.telemetry.utils import is_telemetry_disabled\n"
        "from huggingface_hub.constants import HF_HUB_DISABLE_TELEMETRY\n"
        "print(json.dumps([is_telemetry_disabled(), HF_HUB_DISABLE_TELEMETRY, dict(os.environ)]))"
    )
    without = project_environment()
    del without["MLFLOW_DISABLE_TELEMETRY"]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=without, cwd=ROOT)
    mlflow_is_silent, hugging_face_is_silent, found = json.loads(done.stdout.splitlines()[-1])
    assert mlflow_is_silent and hugging_face_is_silent
    assert {name: found.get(name) for name in QUIET} == QUIET


def test_make_says_the_same() -> None:
    exported = dict(re.findall(r"^export (\w+) := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    reports = {name for name in QUIET if re.search("TELEMETRY|ANALYTICS|TRACK", name)}
    assert {name: exported.get(name) for name in reports} == {name: QUIET[name] for name in reports}
