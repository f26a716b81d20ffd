"""The flows as they are used: deployed to a real server, run by a process worker, watched, failed and cancelled."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import psutil
import pytest
import requests
import tomli_w

from snpimpute.impute.baseline import BaselineSettings
from snpimpute.impute.fit import FitSettings, fit
from snpimpute.impute.watching import keep_baseline
from snpimpute.imputers.testing import small_panel
from snpimpute.io.write_vcf import write_vcf
from snpimpute.tracking.writer import Tracker

pytestmark = pytest.mark.timeout(1800)  # a server, a worker and flows take a minute, many on a machine that is busy

ROOT = Path(__file__).parents[2]
PATIENCE = 600.0  # seconds to wait for whatever a busy machine is slow with
RUN_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
LITTLE = """
only_listed_variants = true
[data.calves]
simulation = { n_samples = 60, n_sites = 30 }
scenarios = { levels = [60], repeats = 1 }
"""
# Carries out `prefect` commands, one JSON list of words and a file for what is printed a line, each in a process of its own:
# Prefect is imported once for all of them, which takes most of a command's time.
COMMANDS = """
import json, os, sys
from prefect.cli import app
for line in sys.stdin:
    words, printed = json.loads(line)
    if (child := os.fork()) == 0:
        file = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.argv = ["prefect", *words]
        app()
    os.waitpid(child, 0)
    print("done", flush=True)
"""
T = TypeVar("T")


def wait_for(look: Callable[[], T], seconds: float = PATIENCE) -> T:
    """What `look` sees as soon as it is true."""
    end = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < end, f"waited {seconds:g} s in vain"
        time.sleep(0.2)
    return seen


@dataclass
class Prefect:
    """A server with the deployments of `prefect.yaml`, and a process worker beside it."""

    address: str
    environment: dict[str, str]
    home: Path
    commands: subprocess.Popen[str]
    worker: psutil.Process | None = None

    def command(self, *words: str) -> str:
        """What a `prefect` command prints, whatever its exit status."""
        print(json.dumps([words, str(self.home / "printed.txt")]), file=self.commands.stdin, flush=True)
        assert self.commands.stdout.readline() == "done\n"
        return (self.home / "printed.txt").read_text()

    def start(self, deployment: str, **parameters: object) -> str:
        """Id of the run that `prefect deployment run DEPLOYMENT -p NAME=VALUE` started."""
        given = [word for name, value in parameters.items() for word in ("-p", f"{name}={value}")]
        return RUN_ID.search(self.command("deployment", "run", deployment, *given))[0]

    def ask(self, what: str, flow_run: str) -> list[dict[str, Any]]:
        """The server's logs, task_runs or artifacts of a flow run."""
        key = {"logs": ("logs", "flow_run_id"), "artifacts": ("artifacts", "flow_run_id")}.get(
            what, ("flow_runs", "id")
        )
        asked = requests.post(f"{self.address}/{what}/filter", json={key[0]: {key[1]: {"any_": [flow_run]}}})
        asked.raise_for_status()
        return asked.json()

    def state(self, flow_run: str) -> dict[str, Any]:
        return requests.get(f"{self.address}/flow_runs/{flow_run}").json()["state"]

    def ended(self, flow_run: str) -> dict[str, Any]:
        """The state that a flow run ends in."""
        final = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
        return wait_for(lambda: state if (state := self.state(flow_run))["type"] in final else None)

    def tasks(self, flow_run: str) -> dict[str, str]:
        """State of each task of a flow run, by name."""
        return {task["name"]: task["state"]["type"] for task in self.ask("task_runs", flow_run)}

    def log(self, flow_run: str) -> str:
        return "\n".join(line["message"] for line in self.ask("logs", flow_run))


@pytest.fixture(scope="module")
def prefect(tmp_path_factory) -> Iterator[Prefect]:
    home = tmp_path_factory.mktemp("prefect")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    address = f"http://127.0.0.1:{port}/api"
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith("PREFECT") and k != "MLFLOW_TRACKING_URI"
    } | {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREFECT_CLI_PROMPT": "false",
    }
    started = []

    def start(*words: str, **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            words,
            env=environment,
            cwd=ROOT,
            start_new_session=True,
            text=True,
            **{"stdout": log, "stderr": log, **options},
        )
        started.append(process)
        return process

    def answers() -> bool:
        try:
            return requests.get(f"{address}/health").ok
        except requests.ConnectionError:
            return False

    program = str(Path(sys.executable).with_name("prefect"))
    try:
        with (home / "log.txt").open("w") as log:
            start(program, "server", "start", "--host", "127.0.0.1", "--port", port)
            wait_for(answers)
            # once, as the page says; the port is another one here
            subprocess.run([program, "profile", "use", "local"], env=environment, stdout=log)
            shown = subprocess.run([program, "config", "view"], env=environment, capture_output=True, text=True)
            assert "127.0.0.1:4200/api" in shown.stdout
            environment["PREFECT_API_URL"] = address
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            prefect = Prefect(address, environment, home, start(sys.executable, "-c", COMMANDS, **pipes))
            prefect.command("work-pool", "create", "local", "--type", "process")
            assert prefect.command("deploy", "--all").count("successfully created") == 8
            prefect.worker = psutil.Process(start(program, "worker", "start", "--pool", "local").pid)
            yield prefect
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGINT)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture(scope="module")
def runs(prefect, tmp_path_factory, with_store) -> dict[str, tuple[str, Path]]:
    """Two experiments side by side, good and bad: the id of the run and its folder."""
    good, bad = (with_store(tmp_path_factory.mktemp(name)) for name in ("good", "bad"))
    config = bad / "bad.toml"
    config.write_text(f'imputers = ["mode", "beagle"]{LITTLE}[variants.beagle.default]\nparams = {{ map = "no.map" }}')
    smoke = {
        "config": "experiments/smoke.toml",
        "imputers": '["mode", "softmax_regression"]',
        "trials": 1,
        "budget": "1m",
        "cluster": "local:1",
    }
    return {
        "good": (prefect.start("experiment/local", runs=good, **smoke), good),
        "bad": (prefect.start("experiment/local", runs=bad, config=config), bad),
    }


def test_a_deployed_experiment_shows_its_steps_and_what_came_of_it(prefect, runs):
    run, folder = runs["good"]
    state = prefect.ended(run)
    assert state["type"] == "COMPLETED", prefect.log(run)
    report = folder / "reports" / "smoke" / "report.html"
    assert state["message"] == f"report: {report}"
    assert report.exists()
    rows = ["mode/default", "softmax_regression/default"]
    steps = [f"{verb} {row} on calves" for row in rows for verb in ("train", "evaluate")]  # no study, no task "tune"
    assert prefect.tasks(run) == dict.fromkeys(["prepare calves", *steps, "score calves", "compare"], "COMPLETED")
    artifacts = {artifact["key"]: artifact for artifact in prefect.ask("artifacts", run)}
    assert set(artifacts) == {"comparison-smoke-calves", "report-smoke"}
    table = artifacts["comparison-smoke-calves"]["data"]
    assert all(f'"imputer": "{row}"' in table for row in rows)
    told = artifacts["report-smoke"]["data"]
    assert str(report) in told and "/#/compare-runs?" in told
    assert (
        len(
            re.findall(
                r"\| ok \| \[\w{32}\]\(http://127.0.0.1:5000/#/experiments/\d+/runs/\w{32}\?workflowType=machine_learning\)",
                told,
            )
        )
        == 2
    )
    log = prefect.log(run)
    assert f"folder: {folder}/datasets/calves-" in log
    assert "mask='random'" in log and "1 worker of local:1" in log


def test_a_row_that_fails_is_told_and_the_others_are_reported(prefect, runs):
    run, folder = runs["bad"]
    state = prefect.ended(run)
    assert state["type"] == "FAILED"
    assert "1 of 2 rows failed: beagle/default on calves: cannot read the genetic map no.map" in state["message"]
    tasks = prefect.tasks(run)
    assert tasks.pop("train beagle/default on calves") == "FAILED"
    assert set(tasks.values()) == {"COMPLETED"} and "compare" in tasks
    report = (folder / "reports" / "bad" / "report.md").read_text()
    assert "cannot read the genetic map no.map" in report and "mode/default" in report
    assert re.search(r"the last lines of \S+/log.txt", prefect.log(run))


def test_what_the_user_can_mend_is_the_message_of_a_failed_flow():
    from flows._steps import carry_out

    state = carry_out("prepare", "no.toml", "runs")
    assert (state.type, state.message) == ("FAILED", "cannot read no.toml: No such file or directory")


def test_a_failed_flow_leaves_no_traceback_in_the_workers_log():
    """Prefect itself raises the message of the final state, and logs that with forty lines."""
    from prefect.exceptions import FailedRun

    from flows import _steps

    logger, lines = logging.getLogger("prefect.flow_runs"), io.StringIO()
    shown = logging.StreamHandler(lines)
    logger.addHandler(shown)
    try:
        for error in (FailedRun("cannot read no.toml"), ValueError("a fault of ours")):
            try:
                raise error
            except Exception:
                logger.exception("Engine execution exited with unexpected exception")
    finally:
        logger.removeHandler(shown)
    first, rest = lines.getvalue().split("\n", 1)
    assert first == "Engine execution exited with unexpected exception: cannot read no.toml"
    assert rest.startswith("Engine execution exited with unexpected exception\nTraceback") and "a fault of ours" in rest
    assert _steps.without_traceback in logger.filters


def test_cancelling_ends_what_the_flow_has_started(prefect, tmp_path):
    config = tmp_path / "endless.toml"
    config.write_text(
        f'threads = 1\nimputers = ["beagle"]{LITTLE}[variants.beagle.default]\nparams = {{ iterations = 1000000 }}'
    )
    run = prefect.start("train/local", config=config, runs=tmp_path)
    children = wait_for(lambda: computing(prefect.worker))
    assert any(child.name() == "fit_row" or "snpimpute fit_row" in command_line(child) for child in children)
    prefect.command("flow-run", "cancel", run)
    _, alive = psutil.wait_procs(children, timeout=60)
    assert [child for child in alive if child.status() != psutil.STATUS_ZOMBIE] == []
    assert prefect.ended(run)["type"] == "CANCELLED"


@pytest.mark.panels
def test_a_breach_of_a_watched_model_starts_the_deployment_that_retrains_it(prefect, tmp_path):
    """The panel of the parameters has more samples: a second version, which is not measured on the champion's samples."""
    runs, calves = tmp_path / "runs", small_panel(120, n_sites=90, missing=0.0)
    for name, n in (("panel", 80), ("grown", 120)):
        write_vcf(tmp_path / f"{name}.vcf.gz", calves.take_samples(slice(0, n)))
    write_vcf(tmp_path / "breed.vcf.gz", small_panel(30, n_sites=90, seed=8, missing=0.0))
    tracker = Tracker(f"sqlite:///{runs / 'mlflow.db'}", runs)
    fit(FitSettings(tmp_path / "panel.vcf.gz", "calves", "mode"), runs, lambda: tracker)
    keep_baseline(tracker, "calves", BaselineSettings(tmp_path / "panel.vcf.gz"), runs)
    parameters = {"panel": str(tmp_path / "grown.vcf.gz"), "name": "calves", "imputer": "mode", "runs": str(runs)}
    (tmp_path / "watch.toml").write_text(tomli_w.dumps({"retrain": {"parameters": parameters}}))

    def watch(*words: str) -> subprocess.CompletedProcess[str]:
        verb = [
            sys.executable,
            "-m",
            "snpimpute",
            "models",
            "watch",
            "calves",
            tmp_path / "breed.vcf.gz",
            "--runs",
            runs,
        ]
        return subprocess.run([*verb, *words], env=prefect.environment, cwd=ROOT, capture_output=True, text=True)

    lost = watch("--retrain", "retrain/elsewhere")
    assert lost.returncode == 3 and "the deployment retrain/elsewhere was not started: " in lost.stderr, lost.stderr
    done = watch("--retrain", "retrain/local", "--settings", str(tmp_path / "watch.toml"))
    assert done.returncode == 3, done.stderr
    run = re.search(rf"started retrain/local: run ({RUN_ID.pattern})", done.stderr)[1]
    state = prefect.ended(run)
    assert state["type"] == "COMPLETED", prefect.log(run)
    assert (
        "registered: snpimpute-calves-panel version 2; not promoted: the models were not measured" in state["message"]
    )
    assert prefect.tasks(run) == {"retrain calves": "COMPLETED"}
    assert sorted(model.version for model in tracker.panel_models()) == ["1", "2"]


@pytest.mark.panels
def test_the_deployment_of_traits_compares_and_registers_what_it_recommends(prefect, tmp_path):
    runs, calves = tmp_path / "runs", small_panel(60, n_sites=40, missing=0.0)
    write_vcf(tmp_path / "panel.vcf.gz", calves)
    values = 2.0 * calves.calls[:, 5] + np.random.default_rng(1).normal(0, 0.5, 60)
    table = pd.DataFrame({"sample": calves.names, "milk": values})
    table.to_csv(tmp_path / "traits.tsv", sep="\t", index=False)
    given = {"genotypes": tmp_path / "panel.vcf.gz", "table": tmp_path / "traits.tsv", "trait": "milk", "folds": 3}
    run = prefect.start(
        "traits/local", **given, predictors='["ridge"]', runs=runs, pcs=2, params='{"lightgbm": {"trees": 7}}'
    )
    state = prefect.ended(run)
    assert state["type"] == "COMPLETED", prefect.log(run)
    taken = re.match(r"Take (\w+) for milk \(correlation 0\.", state["message"])[1]
    assert f"registered: snpimpute-milk-trait version 1 ({taken}); not promoted: " in state["message"]
    page = (runs / "reports" / "traits-milk" / "predictors.html").read_text()
    assert "2 principal components" in page and "trees=7" in page
    assert prefect.tasks(run) == dict.fromkeys(["compare milk", f"fit {taken} to milk"], "COMPLETED")
    assert {artifact["key"] for artifact in prefect.ask("artifacts", run)} == {"predictors-milk"}
    failed = prefect.ended(prefect.start("traits/local", **{**given, "trait": "wool"}, runs=runs))
    assert failed["type"] == "FAILED" and "traits.tsv has no column 'wool'" in failed["message"]


def computing(worker: psutil.Process) -> list[psutil.Process]:
    """What a worker has started but for Prefect's own processes, once Beagle is among it; else nothing."""
    lines = {child: command_line(child) for child in worker.children(recursive=True)}
    there = any(".jar gt=" in line for line in lines.values())
    return [child for child, line in lines.items() if there and not re.search(r"prefect\.(engine|runner)", line)]


def command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""
