"""A store that goes away in the middle: said, waited for, gone on with; else one line, and what is done is kept."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from snpimpute.base.errors import InputError, WorkEnds
from snpimpute.base.progress import Watch
from snpimpute.tracking import connect
from snpimpute.tracking.connect import tracking_uri
from snpimpute.tracking.writer import Tracker
from tests.tracking.test_writer import free_port, serving


class Notes(Watch):
    """Watch that keeps the warnings with the times of their arrival."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.when: list[float] = []

    def warn(self, text: str) -> None:
        self.said.append(text)
        self.when.append(time.monotonic())


def log(tracker: Tracker, number: int) -> None:
    record = {"number": number, "state": "complete", "score": 0.5, "params": {}}
    tracker.log_trial(dataset="x", study="s", imputer="mode", variant="tuned", record=record)


def test_a_server_that_is_killed_is_waited_for(
    tmp_path: Path, with_store: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed and started again in the middle of the work; then killed for good."""
    monkeypatch.setattr(connect, "TICK", 0.2)
    port, notes = free_port(), Notes()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        f"sqlite:///{with_store(tmp_path)}/mlflow.db",
    ]
    command += ["--artifacts-destination", str(tmp_path / "kept"), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1"]
    with serving(command, port, tmp_path) as url:
        tracker = Tracker(url, tmp_path / "runs", notes, 120.0)
        log(tracker, 0)
    gone = time.monotonic()
    working = threading.Thread(target=log, args=(tracker, 1))
    working.start()
    while not notes.said:
        assert time.monotonic() - gone < 100
        time.sleep(0.05)
    with serving(command, port, tmp_path):
        working.join(120)
        log(tracker, 2)
        experiment = tracker.client.get_experiment_by_name("snpimpute/x/tune")
        found = tracker.client.search_runs([experiment.experiment_id])
        assert sorted(run.info.run_name for run in found) == ["mode tuned", "trial 0", "trial 1", "trial 2"]
    assert notes.said == [
        f"MLflow store {url} does not answer: waiting for it, 120 s at most",
        f"MLflow store {url} answers again",
    ]
    tracker.wait = 0.5
    with pytest.raises(
        WorkEnds, match=r"has not answered for 0 s; what is done is kept: start the store, and run"
    ) as told:
        log(tracker, 3)
    assert "\n" not in str(told.value)


def test_a_server_that_hangs_is_told_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that takes requests and never answers, as of a server that is stopped."""
    monkeypatch.setattr(connect, "SECONDS_OF_SILENCE", 0.3)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    port, notes = free_port(), Notes()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    server = serving(command, port, tmp_path, "/")
    with server as url:
        tracker = Tracker.__new__(Tracker)
        tracker.uri, tracker.runs, tracker.watch, tracker.wait = url, tmp_path, notes, 0.0
        tracker.client = connect.open_client(url)
        os.killpg(server.process.pid, signal.SIGSTOP)
        with pytest.raises(WorkEnds, match="has not answered for 0 s"):
            tracker.run_link("0")
    assert notes.said[0] == f"MLflow store {url} takes more than 0 s to answer"
    assert notes.said[1].startswith(f"MLflow store {url} does not answer: waiting for it")


def test_a_database_that_another_process_holds_is_waited_for_and_another_failure_is_not(
    tmp_path: Path, fresh_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mlflow.db").write_bytes(fresh_database.read_bytes())
    monkeypatch.setattr(connect, "TICK", 0.01)
    notes = Notes()
    tracker = Tracker(tracking_uri(None, tmp_path), tmp_path, notes, 60.0)
    failures = iter(
        [OSError("(sqlite3.OperationalError) database is locked")] * 3 + [OSError("no such table: metrics")]
    )
    monkeypatch.setattr(tracker.client, "get_run", lambda _: (_ for _ in ()).throw(next(failures)))
    with pytest.raises(InputError, match="cannot be used: no such table: metrics") as told:
        tracker.run_link("0")
    assert not isinstance(told.value, WorkEnds) and len(notes.said) == 1
    failures = iter([OSError(28, "No space left on device")])
    with pytest.raises(
        WorkEnds, match="cannot be written: No space left on device; make room, and run the same command"
    ):
        tracker.run_link("0")
