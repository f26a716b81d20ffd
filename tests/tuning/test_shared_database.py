"""Studies on a PostgreSQL database that several people share: exact numbers of trials, nothing mixed, nothing counted twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import optuna
import pytest
from mlflow import MlflowClient

from snpimpute.base.errors import InputError
from snpimpute.base.processes import QUIET
from snpimpute.tuning.storage import held_alone
from tests.tracking.test_writer import free_port
from tests.tuning import objectives as objectives
from tests.tuning.test_study import counted, make_settings, run, start_script
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))  # Debian keeps the server's programs off the search path


def program(name: str) -> str | None:
    return shutil.which(name) or next(
        (str(folder / name) for folder in PROGRAMS[::-1] if (folder / name).exists()), None
    )


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Folder of the socket of a PostgreSQL server of its own, which root may not run: then user nobody does."""
    initdb, postgres = program("initdb"), program("postgres")
    if initdb is None or postgres is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # short: a socket's path has at most 107 characters
    who: dict[str, Any] = {"cwd": folder}
    if os.getuid() == 0:
        shutil.chown(folder, "nobody")
        who |= {"user": "nobody", "group": "nogroup", "extra_groups": []}
    data, log = folder / "data", folder / "log"
    made = [
        initdb,
        "--pgdata",
        str(data),
        "--username",
        "snpimpute",
        "--auth",
        "trust",
        "--no-sync",
        "--encoding",
        "UTF8",
    ]
    subprocess.run(made, check=True, capture_output=True, env={**os.environ, "LC_ALL": "C"}, **who)
    command = [postgres, "-D", str(data), "-k", str(folder), "-c", "listen_addresses=", "-c", "fsync=off"]
    with log.open("wb") as printed:
        process = subprocess.Popen(command, stdout=printed, stderr=printed, **who)
    try:
        wait_until(lambda: b"ready to accept connections" in log.read_bytes(), 120)
        yield str(folder)
    finally:
        process.send_signal(signal.SIGINT)  # ends connections and itself
        process.wait(60)
        shutil.rmtree(folder)


@pytest.fixture
def mlflow_server(tmp_path: Path, with_store: Callable[[Path], Path]) -> Iterator[str]:
    """Address of an MLflow server of its own."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    store = [
        "--backend-store-uri",
        f"sqlite:///{with_store(tmp_path)}/mlflow.db",
        "--artifacts-destination",
        str(tmp_path / "kept"),
    ]
    command = [sys.executable, "-m", "mlflow", "server", *store, "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, **QUIET, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # else seven more processes
    process = subprocess.Popen([*command, "--workers", "1"], env=environment, start_new_session=True)

    def answers() -> bool:
        with suppress(OSError), urlopen(f"{url}/health", timeout=2):
            return True
        return False

    try:
        wait_until(answers, 120)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)


@pytest.fixture
def database(server: str) -> str:
    """URL of a database that nobody has used."""
    from sqlalchemy import create_engine, text

    name = f"d{time.monotonic_ns()}"
    engine = create_engine(f"postgresql://snpimpute@/postgres?host={server}", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return f"postgresql+psycopg://snpimpute@/{name}?host={server}"


def trials(database: str, study: str) -> list[optuna.trial.FrozenTrial]:
    """Trials of a study as Optuna itself reads them."""
    return optuna.load_study(study_name=study, storage=database).get_trials()


def count(found: list[optuna.trial.FrozenTrial]) -> int:
    return sum(trial.state.name in ("COMPLETE", "PRUNED") for trial in found)


def test_two_workers_make_exactly_fifty_trials(tmp_path: Path, database: str) -> None:
    settings = make_settings(tmp_path, n_trials=50, workers=2, storage=database)
    log = tmp_path / "evaluated"
    result = run(partial(objectives.stepwise, log=str(log)), settings)
    assert counted(result) == 50 and [trial.number for trial in result.trials] == list(range(50))
    stored = trials(database, "toy")
    assert [trial.number for trial in stored] == list(range(50)) and count(stored) == 50
    assert [trial.user_attrs["params"] for trial in stored] == [trial.params for trial in result.trials]
    evaluated = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(evaluated) == 50 and len({line["pid"] for line in evaluated}) == 2
    assert sorted(line["x"] for line in evaluated) == sorted(trial.params["x"] for trial in result.trials)


def test_killed_and_taken_up_again(tmp_path: Path, database: str) -> None:
    settings = make_settings(tmp_path, n_trials=20, workers=2, storage=database)
    log, records = tmp_path / "evaluated", tmp_path / "records"
    for begun in (4, 10):
        process = start_script(f"partial(o.stepwise, pause=0.01, log={str(log)!r})", settings, records)
        wait_until(lambda n=begun: log.exists() and len(log.read_text().splitlines()) >= n, 60)  # type: ignore[misc]
        process.kill()
        process.wait()
    result = run(objectives.quick, settings, "killed")  # at once: the database has let go of the dead one's study
    assert counted(result) == 20 and {t.state for t in result.trials} <= {"complete", "pruned", "stopped"}
    stored = trials(database, "killed")
    assert count(stored) == 20 and [trial.number for trial in stored] == list(range(len(stored)))
    assert 2 <= len(stored) - 20 <= 4  # what ran when it was killed


@pytest.mark.panels  # a quarter of a minute
def test_the_same_study_twice_is_refused_whoever_asks(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(tmp_path, n_trials=6, storage=database)
    go_on = tmp_path / "evaluated"
    process = start_script(f"partial(o.stepwise, pause=0.1, log={str(go_on)!r})", settings, tmp_path / "records")
    try:
        wait_until(go_on.exists, 60)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # as on another machine
        with pytest.raises(
            InputError, match="study killed is running in another process: wait for it, or end that one"
        ):
            run(objectives.quick, settings, "killed")
        assert counted(run(objectives.quick, settings, "another one")) == 6
        assert process.wait(60) == 0
    finally:
        process.kill()
    assert count(trials(database, "killed")) == 6 == len(trials(database, "killed"))
    assert counted(run(objectives.raising, settings, "killed")) == 6  # now it is free, and there is nothing left to do


def test_unreachable_database_is_one_line(tmp_path: Path, server: str) -> None:
    for host, said in ((server, 'database "none" does not exist'), (str(tmp_path), "No such file or directory")):
        settings = make_settings(tmp_path, storage=f"postgresql://u:secret@/none?host={host}")
        with pytest.raises(InputError, match=said if host != server else "does not exist") as raised:
            run(objectives.quick, settings)
        assert "secret" not in str(raised.value) and "\n" not in str(raised.value)


def test_the_lock_of_a_study_stands_beside_its_journal_and_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "temporary files"
    elsewhere.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    settings = make_settings(tmp_path, n_trials=2)
    held: list[bool] = []

    def try_to_hold(_: object) -> None:
        with pytest.raises(InputError, match="is running in another process"), held_alone(settings.storage, "toy"):
            pass
        held.append(True)

    run(objectives.quick, settings, "toy", on_trial=try_to_hold)
    with held_alone(settings.storage, "toy"):
        assert held == [True, True]
    assert list(elsewhere.iterdir()) == []


EXPERIMENT = """
name = "shared"
seed = {seed}
threads = 1
imputers = ["softmax_regression"]
only_listed_variants = true
tuning = {{ trials = 4, storage = "{database}" }}

[data.calves]
simulation = {{ n_samples = 60, n_sites = 30 }}
scenarios = {{ levels = [60], repeats = 1 }}

[variants.softmax_regression.tuned]
"""


def start_person(folder: Path, seed: int, database: str, mlflow: str) -> subprocess.Popen[str]:
    """Somebody's `snpimpute tune` in a folder of their own; all name their dataset alike."""
    folder.mkdir(exist_ok=True)
    (folder / "shared.toml").write_text(EXPERIMENT.format(seed=seed, database=database))
    command = [sys.executable, "-m", "snpimpute", "tune", "shared.toml", "--json"]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": mlflow, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.panels
def test_people_share_a_database_and_an_mlflow_server(tmp_path: Path, database: str, mlflow_server: str) -> None:
    """Three start at once: two the same experiment, one another dataset of the same name."""
    people = {"ann": 1, "bob": 2, "cem": 1}
    started = {name: start_person(tmp_path / name, seed, database, mlflow_server) for name, seed in people.items()}
    ended = {name: (*process.communicate(timeout=120), process.returncode) for name, process in started.items()}
    assert ended["bob"][2] == 0, ended["bob"]
    refused = [name for name in ("ann", "cem") if ended[name][2] == 1]
    assert len(refused) <= 1 and all(end[2] in (0, 1) for end in ended.values()), ended
    for name in refused:
        (failure,) = json.loads(ended[name][0])["failures"]
        assert "is running in another process: wait for it, or end that one" in failure
        later = start_person(tmp_path / name, 1, database, mlflow_server)
        assert later.communicate(timeout=120)[0] and later.returncode == 0

    studies = optuna.get_all_study_names(database)
    assert len(studies) == 2
    client = MlflowClient(mlflow_server)
    (experiment,) = [e for e in client.search_experiments() if e.name == "snpimpute/calves/tune"]
    logged = client.search_runs([experiment.experiment_id])
    for study in studies:
        found = trials(database, study)
        assert [trial.number for trial in found] == list(range(4)) and count(found) == 4
        mine = [r for r in logged if r.data.tags["study"] == study and "mlflow.parentRunId" in r.data.tags]
        assert sorted(int(r.data.params["trial"]) for r in mine) == list(range(4))
        by_number = {int(r.data.params["trial"]): r.data.metrics["score"] for r in mine}
        assert by_number == pytest.approx({trial.number: trial.value for trial in found})
    assert len(logged) == 2 * (4 + 1)
