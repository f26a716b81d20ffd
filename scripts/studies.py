"""Run all studies of an experiment at once, each in a process of its own, within a given time; or resume them.

For a machine with a GPU or many cores, on which MLflow need not be installed: nothing is logged, the journals are the
result. `snpimpute tune --adopt JOURNAL` takes them up where the experiment lives.

Example:

  python scripts/studies.py experiments/networks.toml --minutes 10 --workers bert=4 --workers cae=2
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from snpimpute.base.errors import InputError
from snpimpute.base.progress import Watch
from snpimpute.dataset.prepared import dataset_in
from snpimpute.experiment import settings as config
from snpimpute.experiment.pipeline import prepare
from snpimpute.experiment.rows import on_data, plan, wanted_on
from snpimpute.experiment.tune import has_study, tune
from snpimpute.experiment.workspace import Workspace
from snpimpute.tuning.adopt import studies_in

SECONDS_TO_END = 15.0  # that the processes get to write down what they have when the time is over


def main() -> int:
    """Run what the command line asks for; return the exit status."""
    asked = _arguments()
    try:
        if asked.one:
            _run_one(asked)
        else:
            _run_all(asked)
    except InputError as error:
        print(f"studies: {error}", file=sys.stderr)
        return 2
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", type=Path, help="experiment (.toml)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all results (default: runs)")
    parser.add_argument("--minutes", type=float, required=True, help="time for all studies together")
    parser.add_argument("--data", action="append", help="only this dataset; may be given several times")
    parser.add_argument("--imputer", action="append", help="only this imputer; may be given several times")
    parser.add_argument(
        "--workers",
        action="append",
        default=[],
        metavar="ROW=N",
        help="trials at once in a study, by imputer or dataset:imputer (1)",
    )
    parser.add_argument("--on-cpu", action="append", default=[], metavar="IMPUTER", help="leave the GPU to the others")
    parser.add_argument(
        "--prepared",
        type=Path,
        help="folder of prepared datasets, taken as they are (runs/datasets of another machine)",
    )
    parser.add_argument("--pack", type=Path, help="folder for a gzipped copy of each journal")
    parser.add_argument("--one", nargs=2, metavar=("DATASET", "LABEL"), help=argparse.SUPPRESS)
    return parser.parse_args()


def _settings(asked: argparse.Namespace) -> config.ExperimentSettings:
    return config.changed(config.read(asked.experiment), seconds=60 * asked.minutes, retune=True, only_data=asked.data)


def _folder_of(asked: argparse.Namespace, settings: config.ExperimentSettings, name: str, work: Workspace) -> Path:
    """Return the folder of a dataset: prepared here, or the one of its name in `--prepared`."""
    if asked.prepared is None:
        return prepare(settings, name, work)
    found = sorted(asked.prepared.glob(f"{name}-*"))
    if len(found) != 1:
        raise InputError(f"{asked.prepared} has {len(found)} datasets {name}-*: give a folder with one of each")
    return found[0]


def _run_all(asked: argparse.Namespace) -> None:
    """Prepare the data, run every study in a process, and print how each ended."""
    started = time.monotonic()
    settings = _settings(asked)
    work = Workspace(asked.runs)
    processes = {}
    for name, data in settings.data.items():
        dataset = dataset_in(_folder_of(asked, settings, name, work))
        for row in wanted_on(plan(settings), data):
            if has_study(settings, dataset, row) and (not asked.imputer or row.imputer in asked.imputer):
                processes[name, row.label] = row.imputer
    running = {}
    for (name, label), imputer in processes.items():
        command = [sys.executable, __file__, str(asked.experiment), "--runs", str(asked.runs), "--one", name, label]
        left = asked.minutes - (time.monotonic() - started + SECONDS_TO_END) / 60
        command += [] if asked.prepared is None else ["--prepared", str(asked.prepared)]
        command += ["--minutes", f"{left:.3f}", *(f"--workers={each}" for each in asked.workers)]
        log = asked.runs / "studies" / f"{name}-{label.replace('/', '-')}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        device = {"SNPIMPUTE_DEVICE": "cpu", "KERAS_TORCH_DEVICE": "cpu", "CUDA_VISIBLE_DEVICES": ""}
        environment = os.environ | (device if imputer in asked.on_cpu else {})
        with log.open("w") as output:
            running[name, label] = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        for process in running.values():
            process.wait(max(1.0, 60 * asked.minutes - (time.monotonic() - started)))
    except subprocess.TimeoutExpired:
        print("studies: the time is over; the same command goes on")
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()
    _summarise(asked)


def _run_one(asked: argparse.Namespace) -> None:
    """Run one study in this process."""
    name, label = asked.one
    settings = _settings(asked)
    row = next(row for row in plan(settings) if row.label == label)
    workers = dict(each.rsplit("=", 1) for each in asked.workers)
    tuning = settings.tuning.model_copy(
        update={"workers": int(workers.get(f"{name}:{row.imputer}", workers.get(row.imputer, 1)))}
    )
    work = Workspace(asked.runs, Watch())
    folder = _folder_of(asked, settings, name, work)
    row = on_data(row, settings.data[name])
    found = tune(settings.model_copy(update={"tuning": tuning}), folder, row, work)
    print(f"{label} on {name}: {found.trials} trials, ended by {found.ended_by}, {found.levels_score:.4f}")


def _summarise(asked: argparse.Namespace) -> None:
    """Print the number of counted trials of every study, and copy the journals."""
    for journal in sorted((asked.runs / "studies").glob("*.journal")):
        for study, counted in studies_in(journal).items():
            print(f"{counted:4d} trials  {study}")
        if asked.pack:
            asked.pack.mkdir(parents=True, exist_ok=True)
            with journal.open("rb") as source, gzip.open(asked.pack / f"{journal.name}.gz", "wb") as packed:
                shutil.copyfileobj(source, packed)


if __name__ == "__main__":
    sys.exit(main())
