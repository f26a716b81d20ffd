"""Evaluations that worker processes of the tuning tests import: quick, stepwise, slow, raising, dying."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snpimpute.base.errors import InputError, WorkEnds
from snpimpute.base.programs import run_program
from snpimpute.tuning.study import StudySettings, TrialOutcome, TrialRecord, run_study

if TYPE_CHECKING:
    from snpimpute.imputers.contract import Report, Trial

PUBLISHED = {"x": 0.25, "depth": 4, "kind": "b"}


def suggest(trial: Trial) -> dict[str, Any]:
    return {
        "x": trial.suggest_float("x", 0.0, 1.0),
        "depth": trial.suggest_int("depth", 1, 8),
        "kind": trial.suggest_categorical("kind", ["a", "b"]),
        "sizes": [16, 8],
        "nothing": None,
    }


def quick(params: dict[str, Any], report: Report) -> TrialOutcome:
    print("a line on standard output")
    return TrialOutcome(
        1 - (params["x"] - 0.7) ** 2,
        {"pid": os.getpid(), "threads": os.environ["OMP_NUM_THREADS"], "optuna": "optuna" in sys.modules},
    )


def stepwise(params: dict[str, Any], report: Report, *, pause: float = 0.0, log: str = "") -> TrialOutcome:
    """Twelve reports that rise towards x; every evaluation begun leaves a line in `log`."""
    if log:
        with Path(log).open("a") as handle:
            handle.write(json.dumps({"pid": os.getpid(), **params}) + "\n")
    for step in range(12):
        time.sleep(pause)
        try:
            report(step, params["x"] * (step + 1) / 12)
        except Exception:
            raise AssertionError("a report must not be stopped by what `except Exception` catches") from None
    return TrialOutcome(params["x"], {})


def slow(params: dict[str, Any], report: Report, *, seconds: float, stop: str = "") -> TrialOutcome:
    """Takes its time; ends the study once there is a file `stop`."""
    time.sleep(seconds)
    if stop and Path(stop).exists():
        raise InputError("enough was seen")
    return TrialOutcome(params["x"], {})


def halting(params: dict[str, Any], report: Report, *, begun: str) -> TrialOutcome:
    """Leaves a file `begun` and never ends."""
    Path(begun).touch()
    time.sleep(300)
    return TrialOutcome(0.0, {})


def until_late(params: dict[str, Any], report: Report, *, begun: str) -> TrialOutcome:
    """Goes on until its clock says that the study's time is used up, which a file `begun` makes it say."""
    Path(begun).touch()
    report._ends = time.monotonic()  # type: ignore[attr-defined]
    while not report.late:  # type: ignore[attr-defined]
        time.sleep(0.01)
    return TrialOutcome(params["x"], {})


def raising(params: dict[str, Any], report: Report) -> TrialOutcome:
    raise ValueError("a long story\nnot so many sites")


def refusing(params: dict[str, Any], report: Report) -> TrialOutcome:
    raise InputError("Beagle is missing")


def without_room(params: dict[str, Any], report: Report) -> TrialOutcome:
    raise WorkEnds("no room for the weights")


def raise_import_error() -> None:
    raise ImportError("no such framework")


class Unloadable:
    """An evaluation that a worker cannot load."""

    def __call__(self, params: dict[str, Any], report: Report) -> TrialOutcome:
        return TrialOutcome(0.0, {})

    def __reduce__(self) -> tuple[Any, ...]:
        return raise_import_error, ()


def sometimes(params: dict[str, Any], report: Report, *, how: str) -> TrialOutcome:
    """Fails for one of the two kinds."""
    if params["kind"] == "a":
        if how == "exit":
            print("terminate called after throwing an instance of 'std::bad_alloc'", file=sys.stderr, flush=True)
            os._exit(3)
        return TrialOutcome(float("nan"), {})
    return TrialOutcome(params["x"], {"pid": os.getpid()})


def stubborn(params: dict[str, Any], report: Report, *, numbers: str) -> TrialOutcome:
    """Ends at once for the published values; else it and a program of its own ignore all polite requests."""
    if params["x"] != PUBLISHED["x"]:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        program = subprocess.Popen(["sleep", "300"], start_new_session=True)
        Path(numbers).write_text(f"{os.getpid()} {program.pid}")
        time.sleep(300)
    return TrialOutcome(params["x"], {})


def stopped_once(params: dict[str, Any], report: Report, *, begun: str) -> TrialOutcome:
    """Ends at once for the published values, and where a file `begun` is there; else it makes that and waits to be stopped."""
    if params["x"] != PUBLISHED["x"] and not Path(begun).exists():
        Path(begun).touch()
        time.sleep(300)
    return TrialOutcome(params["x"], {})


def with_programs(params: dict[str, Any], report: Report, *, folder: str) -> TrialOutcome:
    """Starts one program in this session and waits for one in a session of its own; leaves the numbers of all three."""
    beside = subprocess.Popen(["sleep", "300"])
    here = Path(folder) / str(os.getpid())
    here.write_text(str(beside.pid))
    run_program(["sh", "-c", f"echo ' '$$ >> {here}; sleep 300"])
    return TrialOutcome(0.0, {})


def keep(record: TrialRecord, path: str) -> None:
    """Append a record to a file of JSON lines."""
    with Path(path).open("a") as handle:
        handle.write(json.dumps(asdict(record)) + "\n")


def run_script(evaluate: Any, settings: StudySettings, records: str) -> None:
    """A whole study, for a process that a test kills."""
    run_study(
        "killed",
        suggest=suggest,
        first=PUBLISHED,
        evaluate=evaluate,
        settings=settings,
        on_trial=lambda record: keep(record, records),
    )
