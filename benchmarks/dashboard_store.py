"""Measure the time to open the dashboard on a large store: 20 studies of 50 trials, and a small experiment.

    python benchmarks/dashboard_store.py [--runs FOLDER] [--studies 20] [--trials 50] [--opens 5]

Makes the store in FOLDER (by default a temporary one; an existing store is used unchanged): a small dataset is prepared,
trained and scored, then studies with instant trials are run in journals and logged to MLflow. The dashboard is started by
its command. Each page is opened in a browser that has been running for some seconds, with an empty cache, and then again.

Printed for each page: seconds from the start of the navigation until the first control, and until the first figure with
its axes, is drawn; the share of the processors that other programs used meanwhile, on which the seconds depend; and
seconds of processor time of server and browser together, which are valid on a busy machine too. With two processors of its
own, a page takes between half of the processor time and all of it.
"""

from __future__ import annotations

import argparse
import math
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

import psutil

from snpimpute.base.processes import QUIET
from snpimpute.experiment.rows import plan
from snpimpute.experiment.settings import parse

ROOT = Path(__file__).parents[1]
CHROMIUM = "/usr/bin/chromium"
# records the time, in milliseconds of the navigation, at which the frame with the first of each is drawn
WATCH = """
window.seen = {};
const wanted = {control: '[data-testid=stMain] [data-testid=stSelectbox]', figure: '.js-plotly-plot .xtick'};
new MutationObserver(() => {
    for (const [what, where] of Object.entries(wanted)) {
        if (what in seen || !document.querySelector(where)) continue;
        seen[what] = 0;
        requestAnimationFrame(() => setTimeout(() => { seen[what] = performance.now(); }));
    }
}).observe(document, {childList: true, subtree: true});
"""
PAGES = ("", "studies", "wrong", "models", "compare")
EXPERIMENT = {
    "name": "many",
    "threads": 1,
    "imputers": ["mode", "softmax_regression"],
    "scoring": {"resamples": 100},
    "data": {"calves": {"simulation": {"n_samples": 200, "n_sites": 100}}},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--studies", type=int, default=20)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--opens", type=int, default=5)
    arguments = parser.parse_args()
    os.environ.update(QUIET)
    with tempfile.TemporaryDirectory() as folder:
        runs = arguments.runs or Path(folder) / "runs"
        if not (runs / "mlflow.db").exists():
            make_store(runs, arguments.studies, arguments.trials)
        started = time.monotonic()
        with dashboard(runs) as url:
            print(f"the server was ready after {time.monotonic() - started:.1f} s", flush=True)
            measure(url, arguments.opens)


def make_store(runs: Path, n_studies: int, n_trials: int) -> None:
    """Make the results of an experiment, and studies beside them."""
    from snpimpute.experiment import pipeline
    from snpimpute.tracking.connect import tracking_uri
    from snpimpute.tracking.writer import Tracker

    settings = parse(EXPERIMENT, "benchmark")
    outcome = pipeline.run(settings, runs)
    dataset = outcome.datasets["calves"].name
    tracker = Tracker(tracking_uri(None, runs), runs)
    row = plan(settings)[0]
    for number in range(n_studies):
        name = f"{dataset}-dense-random{number:02d}-{number:08x}"
        make_study(runs, name, number, n_trials, tracker, row)
        print(f"study {number + 1} of {n_studies}", end="\r", flush=True)
    print()


def make_study(runs: Path, name: str, seed: int, n_trials: int, tracker: Any, row: Any) -> None:
    """Make a study in the form of `tuning.run_study`, with trials that take no time."""
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    from snpimpute.tuning.study import record_of

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = runs / "studies" / f"{name}.journal"
    path.parent.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name=name,
        storage=JournalStorage(JournalFileBackend(str(path))),
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed),
    )
    study.set_user_attr("budget", {"trials": n_trials, "seconds": 600.0})
    for number in range(n_trials):
        trial = study.ask()
        rate = trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
        width = trial.suggest_int("hidden_1", 128, 1024, step=128)
        kind = trial.suggest_categorical("activation", ["relu", "elu", "linear"])
        score = 0.9 - 0.05 * abs(math.log10(rate) + 3) + width / 20_000 - 0.02 * (kind == "linear")
        pruned = number % 4 == 3
        for step in range(5 if pruned else 20):
            trial.report(score * (1 - math.exp(-(step + 1) / 4)), step)
        trial.set_user_attr("end", {"attributes": {}, "seconds": 3.0, "reason": ""})
        state = optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.COMPLETE
        frozen = study.tell(trial, None if pruned else score, state=state)
        tracker.log_trial(
            dataset="calves", study=name, imputer=row.imputer, variant=row.variant, record=vars(record_of(frozen))
        )
    study.set_user_attr("seconds", 3.0 * n_trials)


@contextmanager
def dashboard(runs: Path) -> Iterator[str]:
    """Run the dashboard and yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "snpimpute", "dashboard", "--runs", str(runs), "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            assert process.poll() is None, "the dashboard ended"
            try:
                urlopen(f"{url}/_stcore/health", timeout=5)
                break
            except (URLError, OSError):
                time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait()


def measure(url: str, opens: int) -> None:
    """Open each page several times and print the times."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        for page in PAGES:
            taken: list[Opening] = []
            browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            context.add_init_script(WATCH)
            context.new_page().wait_for_timeout(3000)  # the browser's own start
            for _ in range(opens):
                taken.append(opened(context, f"{url}/{page}"))
            browser.close()
            first, *again = taken
            print(f"{page or 'race':8} first opened       {first}", flush=True)
            if again:
                middle = Opening(*(median(values) for values in zip(*again, strict=True)))
                print(f"{page or 'race':8} again (median of {len(again)}) {middle}", flush=True)


class Opening(NamedTuple):
    """Times of one page: seconds to first control and first figure, processor seconds, share used by other programs."""

    control: float
    figure: float
    spent: float
    others: float

    def __str__(self) -> str:
        return (
            f"first control {self.control:5.2f} s, first figure {self.figure:5.2f} s, processor time {self.spent:5.2f} s; "
            f"others took {self.others:.0%} of {os.cpu_count()} processors"
        )


def opened(context: Any, address: str) -> Opening:
    """Open a page and return its times."""
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.wait_for_timeout(1500)  # until the processes of the earlier page are gone, which would lower the sum
    before, busy_before, started = processor_seconds(), busy_seconds(), time.monotonic()
    page.goto(address, wait_until="commit")
    page.wait_for_function("window.seen && seen.control && seen.figure", polling=50)
    spent, busy, passed = processor_seconds() - before, busy_seconds() - busy_before, time.monotonic() - started
    seen = page.evaluate("seen")
    page.close()
    others = max(busy - spent, 0.0) / (passed * (os.cpu_count() or 1))
    return Opening(seen["control"] / 1000, seen["figure"] / 1000, spent, others)


def busy_seconds() -> float:
    """Return the busy seconds of all processors, for all programs."""
    times = psutil.cpu_times()
    return times.user + times.nice + times.system


def processor_seconds() -> float:
    """Return the processor seconds of all processes that this one has started."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


if __name__ == "__main__":
    main()
