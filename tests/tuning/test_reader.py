"""Studies as somebody sees them who only looks: finished, running, killed."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest

from snpimpute.base.errors import InputError
from snpimpute.tuning.reader import SILENT_SECONDS, importances, journals, names_in, read_study
from snpimpute.tuning.storage import _JournalLock
from tests.tuning import objectives as objectives
from tests.tuning.test_study import make_settings, run

NAME = "my-calves-0123456789ab-dense-inputs-visible-0a1b2c3d"


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of a study of 12 trials, some of them pruned."""
    folder = tmp_path_factory.mktemp("kept")
    path = folder / "studies" / f"{NAME}.journal"
    run(objectives.stepwise, make_settings(folder, storage=str(path), n_trials=16, seconds=900.0, seed=8), NAME)
    return path


def test_what_a_study_says_of_itself(journal: Path) -> None:
    before = journal.read_bytes()
    seen = read_study(str(journal), NAME)
    assert journals(journal.parents[1]) == [journal]
    assert (seen.dataset, seen.digest) == ("my-calves", "0123456789ab")
    assert (seen.imputer, seen.variant) == ("dense", "inputs-visible")
    assert (seen.counted, seen.n_trials, seen.seconds_allowed, seen.alive) == (16, 16, 900.0, False)
    states = {trial.state for trial in seen.trials}
    assert states == {"complete", "pruned"}
    assert seen.best is not None
    assert seen.best.score == max(t.suggested["x"] for t in seen.trials if t.state == "complete")
    assert set(seen.best.suggested) == {"x", "depth", "kind"}, "only what the study looks for"
    assert [len(t.intermediate) for t in seen.trials if t.state == "complete"] == [12] * sum(
        t.state == "complete" for t in seen.trials
    )
    assert {len(t.intermediate) for t in seen.trials if t.state == "pruned"} == {6}, "the first five decide nothing"
    spent = [trial.spent for trial in seen.trials]
    assert spent == sorted(spent) and spent[0] > 0 and spent[-1] <= seen.seconds + 1
    assert journal.read_bytes() == before, "looking changes nothing"


def test_optuna_remarks_nothing_while_somebody_looks(journal: Path) -> None:
    """As it does of a database that takes its questions in parts only."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.INFO)
    read_study(str(journal), NAME)
    assert optuna.logging.get_verbosity() == optuna.logging.ERROR


def test_importance_names_the_parameter_that_decides(journal: Path) -> None:
    shares = importances(str(journal), NAME)
    assert next(iter(shares)) == "x" and shares["x"] > 0.5
    assert sum(shares.values()) == pytest.approx(1)


def test_a_study_that_runs_and_one_that_was_killed(tmp_path: Path) -> None:
    import optuna

    path = tmp_path / "studies" / "toy.journal"
    settings = make_settings(tmp_path, storage=str(path), n_trials=3)
    run(objectives.quick, settings)
    assert importances(str(path), "toy") == {}, "three trials tell nothing of importance"
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    study = optuna.load_study(study_name="toy", storage=optuna.storages.JournalStorage(backend))
    study.set_user_attr("budget", {"trials": 6, "seconds": None})
    trial = study.ask()
    objectives.suggest(trial)
    trial.report(0.4, 0)
    seen = read_study(str(path), "toy")
    assert seen.alive and seen.trials[-1].state == "running"
    assert seen.trials[-1].intermediate == {0: 0.4} and set(seen.trials[-1].suggested) == {"x", "depth", "kind"}
    assert seen.seconds_left == pytest.approx(seen.seconds / 3 * 3)
    study.tell(trial, 0.5)
    between = read_study(str(path), "toy")
    assert between.alive and {trial.state for trial in between.trials} == {"complete"}, "between two trials none runs"
    assert set(importances(str(path), "toy")) == {"x", "depth", "kind"}, "four trials tell something"
    long_ago = time.time() - SILENT_SECONDS - 5
    os.utime(path, (long_ago, long_ago))
    assert not read_study(str(path), "toy").alive


def test_whether_a_study_in_a_database_is_at_work(tmp_path: Path) -> None:
    import optuna

    url = f"sqlite:///{tmp_path}/studies.db"
    study = optuna.create_study(study_name="toy", storage=url, direction="maximize")
    study.set_user_attr("budget", {"trials": 2, "seconds": None})
    assert not read_study(url, "toy").alive, "nobody has begun"
    trial = study.ask()
    assert read_study(url, "toy").alive
    study.tell(trial, 0.5)
    assert read_study(url, "toy").alive, "between two trials none runs"
    study.tell(study.ask(), 0.6)
    seen = read_study(url, "toy")
    assert (seen.counted, seen.alive) == (2, False)


def test_a_journal_whose_last_line_is_being_written_is_read(journal: Path, tmp_path: Path) -> None:
    torn = tmp_path / journal.name
    torn.write_bytes(journal.read_bytes() + b'{"op_code":6,"wor')
    assert read_study(str(torn), NAME).counted == 16


def test_databases_are_read_and_never_made(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/optuna.db"
    run(objectives.quick, make_settings(tmp_path, storage=url, n_trials=2))
    assert names_in(url) == ["toy"]
    assert read_study(url, "toy").counted == 2
    none = tmp_path / "none.db"
    with pytest.raises(InputError, match="cannot be used"):
        names_in(f"sqlite:///{none}")


@pytest.mark.parametrize("name", ["none", "other"])
def test_a_study_that_is_not_there_is_one_line(journal: Path, name: str) -> None:
    storage = journal if name == "other" else journal.with_name("none.journal")
    with pytest.raises(InputError) as told:
        read_study(str(storage), name)
    assert "\n" not in str(told.value)
    assert not journal.with_name("none.journal").exists()


def test_a_journal_is_written_to_by_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "toy.journal"
    path.touch()
    lock = _JournalLock(path)
    lock.acquire()
    with path.open("rb+") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    lock.release()
    with path.open("rb+") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
