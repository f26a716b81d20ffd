"""Measure the cost of MLflow and Prefect: run an experiment with neither, with MLflow, and with both.

    python benchmarks/orchestration.py [--config experiments/smoke.toml] [--rounds 1] [--of SECONDS --rows N --trials N]

Each way runs in a process of its own and a fresh folder, with the same steps in the same order; a Prefect server runs all
the time. Printed are elapsed seconds and seconds of processor time, which are valid on a busy machine too, of each way, of
each call of MLflow, and of Prefect's work around each step. With --of, they are summed for a run of the given seconds, rows
and trials, as a share of it. The cost is per row and per trial, whatever these compute, so it is small in long experiments
and large in the smoke experiment.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, median
from typing import Any

WAYS = ("bare", "mlflow", "prefect")
TASK = "prefect task around a step"
PER_TRIAL = ("log_trial",)
PER_ROW = {TASK: 3, "finish_study": 1, "log_training": 1, "run_link": 1, "log_scores": 1}  # calls per row
SECONDS_TO_START = 600.0  # longest wait for the Prefect server

Spent = tuple[float, float]  # elapsed seconds, seconds of processor time
Calls = dict[str, list[Spent]]  # name of the call → its times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("experiments/smoke.toml"))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--of", type=float, metavar="SECONDS", help="seconds of the run whose share is wanted")
    parser.add_argument("--rows", type=int, default=1, help="rows of that run")
    parser.add_argument("--trials", type=int, default=50, help="trials of that run, all studies together")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--runs", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(go(arguments.way, arguments.config, arguments.runs)))
        return
    totals: Calls = defaultdict(list)
    calls: Calls = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, prefect_server(Path(folder)) as environment:
        for number in range(arguments.rounds):
            for way in WAYS:
                passed, processor, inside = timed(way, arguments.config, Path(folder) / f"{way}{number}", environment)
                totals[way].append((passed, processor))
                for name, seconds in inside.items():
                    calls[name] += seconds
    show(totals, calls)
    if arguments.of:
        for number, kind in enumerate(("seconds", "processor")):
            each = {name: mean(spent[number] for spent in all_spent) for name, all_spent in calls.items()}
            once = sum(each[name] for name in each if name not in PER_ROW and name not in PER_TRIAL)
            per_row = sum(times * each[name] for name, times in PER_ROW.items())
            in_all = once + arguments.rows * per_row + arguments.trials * sum(each[name] for name in PER_TRIAL)
            print(f"{kind:28} {in_all:8.1f} {in_all / arguments.of:10.2%} of {arguments.of:g} s")


def show(totals: Calls, calls: Calls) -> None:
    """Print the medians of the ways, and the means of the calls."""
    print(f"{'':28} {'seconds':>8} {'processor':>10}")
    for way, measured in totals.items():
        print(f"{way:28} {median(p for p, _ in measured):8.1f} {median(c for _, c in measured):10.1f}")
    print(f"\n{'each':28} {'seconds':>8} {'processor':>10} {'calls':>6}")
    for name, measured in calls.items():
        print(f"{name:28} {mean(p for p, _ in measured):8.3f} {mean(c for _, c in measured):10.3f} {len(measured):6}")
    print()


# ---------------------------------------------------------------------- one way, in a process of its own


def timed(way: str, config: Path, runs: Path, environment: dict[str, str]) -> tuple[float, float, Calls]:
    """Return elapsed seconds and processor seconds of an experiment, and the times measured inside it."""
    command = [sys.executable, __file__, "--way", way, "--config", str(config), "--runs", str(runs)]
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    passed = time.perf_counter() - started
    spent_then = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = spent_then.ru_utime + spent_then.ru_stime - spent.ru_utime - spent.ru_stime
    return passed, processor, json.loads(done.stdout.splitlines()[-1])


def go(way: str, config: Path, runs: Path) -> Calls:
    """Run an experiment one way; return the times of each call of MLflow, and of Prefect around each step."""
    from snpimpute.experiment import pipeline
    from snpimpute.experiment.settings import read
    from snpimpute.experiment.workspace import Workspace
    from snpimpute.tracking.writer import Tracker

    calls: Calls = defaultdict(list)
    if way == "bare":
        Workspace.with_store = lambda *_: NoTracker()
    if way == "mlflow":
        for name in (
            "__init__",
            "log_trial",
            "finish_study",
            "log_training",
            "run_link",
            "log_scores",
            "log_comparison",
        ):
            setattr(Tracker, name, with_seconds(getattr(Tracker, name), calls[name]))
    if way == "prefect":
        from flows import _steps
        from flows.experiment import experiment

        _steps.as_task = functools.partial(task_with_seconds, _steps.as_task, calls[TASK])
        experiment(str(config), str(runs))
    else:
        pipeline.run(read(config), runs)
    return calls


class NoTracker:
    """Replacement of the tracker that writes nothing."""

    uri = ""

    def __getattr__(self, name: str) -> Callable[..., str]:
        return lambda *_, **__: ""


def with_seconds(method: Callable[..., Any], spent: list[Spent]) -> Callable[..., Any]:
    """Return a method that records its time."""

    @functools.wraps(method)
    def recorded(*args: Any, **kwargs: Any) -> Any:
        started = now()
        try:
            return method(*args, **kwargs)
        finally:
            spent.append(since(started))

    return recorded


def task_with_seconds(
    as_task: Callable[..., Any], spent: list[Spent], step: str, function: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """Run a step as a task, and record the time that the task takes beyond the step."""
    of_step: list[Spent] = []
    started = now()
    try:
        return as_task(step, with_seconds(function, of_step), *args, **kwargs)
    finally:
        passed, processor = since(started)
        spent.append((passed - sum(p for p, _ in of_step), processor - sum(c for _, c in of_step)))


def now() -> Spent:
    return time.perf_counter(), time.process_time()


def since(started: Spent) -> Spent:
    return time.perf_counter() - started[0], time.process_time() - started[1]


# ---------------------------------------------------------------------- the Prefect server


@contextmanager
def prefect_server(home: Path) -> Iterator[dict[str, str]]:
    """Run a Prefect server with a database of its own, and yield the environment for its clients."""
    import requests

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    environment = {
        **{name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"},
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + SECONDS_TO_START
        while True:
            try:
                requests.get(f"{environment['PREFECT_API_URL']}/health", timeout=5).raise_for_status()
                break
            except requests.RequestException:
                if time.monotonic() > end:
                    raise
                time.sleep(0.5)
        yield environment
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
