"""Studies: exact numbers of trials, whatever is pruned, killed, resumed or out of time."""

from __future__ import annotations

import json
import math
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from filelock import FileLock

from snpimpute.base.errors import InputError, WorkEnds
from snpimpute.tuning.parameters import read_params, write_params
from snpimpute.tuning.report import TrialReport
from snpimpute.tuning.storage import held_alone, open_storage
from snpimpute.tuning.study import StudyResult, StudySettings, TrialRecord, run_study
from tests.tuning import objectives as objectives
from tests.waiting import alive, wait_until

ROOT = Path(__file__).parents[2]


def make_settings(folder: Path, **changes: Any) -> StudySettings:
    table: dict[str, Any] = {
        "n_trials": 12,
        "seconds": None,
        "workers": 1,
        "threads": 1,
        "seed": 7,
        "storage": str(folder / "studies" / "journal.log"),
        "trials_per_process": 50,
    }
    return StudySettings(**{**table, **changes})


def run(evaluate: Any, settings: StudySettings, name: str = "toy", **more: Any) -> StudyResult:
    return run_study(
        name, suggest=objectives.suggest, first=objectives.PUBLISHED, evaluate=evaluate, settings=settings, **more
    )


def counted(result: StudyResult) -> int:
    return sum(trial.state in ("complete", "pruned") for trial in result.trials)


def stored(settings: StudySettings, name: str) -> optuna.Study:
    """The study as Optuna itself reads it."""
    backend = optuna.storages.journal.JournalFileBackend(settings.storage)
    return optuna.load_study(study_name=name, storage=optuna.storages.JournalStorage(backend))


class Clock:
    """The clock of a study: it stands until something has happened, and goes a minute on then."""

    def __init__(self, happened: Callable[[], bool]) -> None:
        self._happened = happened

    def monotonic(self) -> float:
        return 1060.0 if self._happened() else 1000.0


# ---------------------------------------------------------------------- numbers of trials


def test_serial_study(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, threads=3, trials_per_process=5)
    seen: list[TrialRecord] = []
    progress: list[tuple[float, float]] = []
    begun = time.monotonic()
    result = run(objectives.quick, settings, on_trial=seen.append, on_progress=lambda *p: progress.append(p))
    took = time.monotonic() - begun

    assert [trial.number for trial in result.trials] == list(range(12))
    assert result.ended_by == "trials" and seen == result.trials
    first, *others = result.trials
    assert first.first and not any(trial.first for trial in others)
    assert first.params == {**objectives.PUBLISHED, "sizes": [16, 8], "nothing": None}
    assert first.score == pytest.approx(1 - 0.45**2) and first.seconds > 0 and first.reason == ""
    assert sum(trial.seconds for trial in result.trials) < took + 0.01  # to the millisecond, one after the other
    assert result.best.score == max(trial.score for trial in result.trials if trial.score is not None)

    assert math.isnan(progress[0][1]) and result.best is not None
    assert [percent for percent, _ in progress] == pytest.approx([100 * n / 12 for n in range(13)])
    assert progress[-1][1] == result.best.score

    pids = [trial.attributes["pid"] for trial in result.trials]
    assert [len({*pids[:5]}), len({*pids[5:10]}), len({*pids[10:]}), len({*pids})] == [1, 1, 1, 3]
    assert os.getpid() not in pids and not any(psutil.pid_exists(pid) for pid in pids)
    assert {trial.attributes["threads"] for trial in result.trials} == {"3"}
    assert not any(trial.attributes["optuna"] for trial in result.trials)  # workers only compute

    in_storage = stored(settings, "toy")
    assert [trial.value for trial in in_storage.trials] == [trial.score for trial in result.trials]


def test_same_seed_same_parameters(tmp_path: Path) -> None:
    tables = [
        [trial.params for trial in run(objectives.quick, make_settings(tmp_path, n_trials=14, seed=seed), name).trials]
        for seed, name in ((3, "one"), (3, "two"), (4, "three"))
    ]
    assert tables[0] == tables[1]
    assert tables[0][0] == tables[2][0] and tables[0][1] != tables[2][1]


def test_workers_and_pruning(tmp_path: Path) -> None:
    result = run(partial(objectives.stepwise, pause=0.002), make_settings(tmp_path, n_trials=25, workers=3))
    assert counted(result) == len(result.trials) == 25
    pruned = [trial for trial in result.trials if trial.state == "pruned"]
    assert pruned and result.trials[0].state != "pruned"
    for trial in pruned:
        assert trial.score is None and not trial.attributes
        assert list(trial.intermediate) == list(range(len(trial.intermediate))) and len(trial.intermediate) >= 6
    assert min(len(trial.intermediate) for trial in pruned) < 12
    for trial in result.trials:
        assert trial.intermediate[2] == pytest.approx(trial.params["x"] * 3 / 12)
    assert result.best.state == "complete" and result.best.score == result.best.params["x"]


def test_no_trial_is_pruned_before_a_fifth_of_its_epochs(tmp_path: Path) -> None:
    result = run_study(
        "toy",
        suggest=lambda trial: {**objectives.suggest(trial), "epochs": 45},
        first=objectives.PUBLISHED,
        evaluate=objectives.stepwise,
        settings=make_settings(tmp_path, n_trials=25),
    )
    pruned = [len(trial.intermediate) for trial in result.trials if trial.state == "pruned"]
    assert pruned and min(pruned) == 9


def test_resumed_study_adds_the_rest(tmp_path: Path) -> None:
    half = run(objectives.quick, make_settings(tmp_path, n_trials=5))
    seen: list[TrialRecord] = []
    whole = run(objectives.quick, make_settings(tmp_path, workers=2), on_trial=seen.append)
    assert counted(whole) == len(whole.trials) == 12
    assert whole.trials[:5] == half.trials == seen[:5] and len(seen) == 12
    assert len({trial.params["x"] for trial in whole.trials}) == 12  # no draw of the first start comes again
    assert sum(trial.first for trial in whole.trials) == 1
    again = run(objectives.raising, make_settings(tmp_path))  # nothing left to evaluate
    assert again == whole


def test_a_study_that_was_killed_tries_what_it_would_have_tried_undisturbed(tmp_path: Path) -> None:
    """kill -9 in the first trial, in a start, and in two later ones: the trials that count are the same, in their order."""
    starts = [{**objectives.PUBLISHED, "x": 0.5}]
    undisturbed = run(objectives.quick, make_settings(tmp_path, n_trials=14), starts=starts)
    settings = make_settings(tmp_path, n_trials=14, storage=str(tmp_path / "killed.journal"))
    stop = tmp_path / "stop"
    for done in (0, 1, 5, 12):
        assert done == 0 or counted(run(objectives.quick, replace(settings, n_trials=done), starts=starts)) == done
        process = subprocess.Popen(
            [sys.executable, "-c", HALTING.format(settings=settings, starts=starts, stop=stop)], cwd=ROOT
        )
        wait_until(stop.exists)
        process.kill()
        process.wait()
        stop.unlink()
    disturbed = run(objectives.quick, settings, starts=starts)
    assert len(disturbed.trials) == 14 + 4 and [t.state for t in disturbed.trials].count("stopped") == 4
    tried = [[(t.params, t.score) for t in result.trials if t.counts] for result in (undisturbed, disturbed)]
    assert tried[0] == tried[1]


HALTING = """
from functools import partial
from tests.tuning import objectives as o
from tests.tuning.test_study import StudySettings, run
run(partial(o.halting, begun='{stop}'), {settings!r}, starts={starts!r})
"""


def test_studies_share_a_journal(tmp_path: Path) -> None:
    one, two = (run(objectives.quick, make_settings(tmp_path, n_trials=2, seed=seed), f"s{seed}") for seed in (1, 2))
    assert [t.number for t in one.trials] == [t.number for t in two.trials] == [0, 1]


def test_sqlite(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, storage=f"sqlite:///{tmp_path}/studies.db", n_trials=4)
    run(partial(objectives.stepwise), settings)
    result = run(objectives.quick, make_settings(tmp_path, storage=settings.storage, n_trials=6, workers=2))
    assert counted(result) == len(result.trials) == 6
    assert list(result.trials[0].intermediate) == list(range(12)) and result.trials[5].attributes["threads"] == "1"


# ---------------------------------------------------------------------- killed


def start_script(evaluate: str, settings: StudySettings, records: Path) -> subprocess.Popen[bytes]:
    code = (
        "from functools import partial\nfrom tests.tuning import objectives as o\nfrom snpimpute.tuning.study import *\n"
        f"o.run_script({evaluate}, {settings!r}, {str(records)!r})"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        start_new_session=True,
        # what a background job of a script starts would ignore the signal
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """kill -9 after a random number of bytes written, six times; then to the end."""
    settings = make_settings(tmp_path, n_trials=14, workers=2)
    journal, log, records = Path(settings.storage), tmp_path / "evaluated", tmp_path / "records"
    evaluate = f"partial(o.stepwise, pause=0.004, log={str(log)!r})"
    chance = random.Random(5)
    for kill in range(6):
        process = start_script(evaluate, settings, records)
        before = journal.stat().st_size if journal.exists() else 0
        enough = before + chance.randint(1, 3000 if kill else 600)  # the first one within trial 0
        wait_until(lambda n=enough: journal.exists() and journal.stat().st_size >= n)  # type: ignore[misc]
        process.kill()
        process.wait()
    assert start_script(evaluate, settings, records).wait(60) == 0

    study = stored(settings, "killed")
    states = [trial.state.name for trial in study.trials]
    assert states.count("COMPLETE") + states.count("PRUNED") == 14
    assert states.count("FAIL") >= 3 and set(states) <= {"COMPLETE", "PRUNED", "FAIL"}
    published = [trial for trial in study.trials if trial.user_attrs.get("first")]
    assert published[0].number == 0
    assert all(trial.params.items() <= objectives.PUBLISHED.items() for trial in published)
    assert [trial.state.name for trial in published].count("COMPLETE") == 1

    last = {line["number"]: line for line in map(json.loads, records.read_text().splitlines())}
    assert sorted(last) == [trial.number for trial in study.trials]
    assert sum(line["state"] in ("complete", "pruned") for line in last.values()) == 14
    killed = [line for line in last.values() if line["state"] == "stopped"]
    assert {line["reason"] for line in killed} == {"the study was killed"}
    pids = {json.loads(line)["pid"] for line in log.read_text().splitlines()}
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids))


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_programs_end_with_the_parent(tmp_path: Path, sign: signal.Signals) -> None:
    folder = tmp_path / "running"
    folder.mkdir()
    settings = make_settings(tmp_path, workers=2)
    process = start_script(f"partial(o.with_programs, folder={str(folder)!r})", settings, tmp_path / "records")

    def numbers() -> list[int]:
        return [int(n) for file in folder.iterdir() for n in (file.name, *file.read_text().split())]

    wait_until(lambda: len(numbers()) == 6)
    assert all(psutil.pid_exists(pid) for pid in numbers())
    process.send_signal(sign)
    process.wait(120)
    wait_until(lambda: not any(alive(pid) for pid in numbers()))


def test_torn_line_and_stale_lock(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, n_trials=4)
    run(objectives.quick, settings)
    journal = Path(settings.storage)
    whole = journal.read_bytes()
    lines = whole.splitlines(keepends=True)
    lock = journal.with_name(journal.name + ".lock")
    lock.symlink_to(journal)  # as Optuna's own lock leaves it
    for n_bytes in (1, 5, len(lines[-1]) - 1):
        journal.write_bytes(whole + lines[-1][:n_bytes])
        result = run(objectives.quick, make_settings(tmp_path, n_trials=5))
        assert counted(result) == 5 and lock.is_symlink()  # Optuna's own lock would wait for it, and take it away
        assert all(json.loads(line) for line in journal.read_text().splitlines())


def test_one_parent_at_a_time(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    records = tmp_path / "records"
    process = start_script("partial(o.slow, seconds=60)", settings, records)
    try:
        wait_until(lambda: Path(settings.storage).exists())
        with pytest.raises(InputError, match="study killed is running in another process"):
            run(objectives.quick, settings, "killed")
        assert counted(run(objectives.quick, settings, "another one")) == 12
    finally:
        process.kill()
        process.wait()


# ---------------------------------------------------------------------- time


def test_time_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[TrialRecord] = []
    monkeypatch.setattr("snpimpute.tuning.study.time", Clock(lambda: len(seen) >= 3))
    settings = make_settings(tmp_path, n_trials=1000, seconds=30, workers=2)
    result = run(partial(objectives.slow, seconds=0.1), settings, on_trial=seen.append)
    assert result.ended_by == "time"
    assert 3 <= counted(result) <= 4  # two may end at the same moment
    stopped = [trial for trial in result.trials if trial.state == "stopped"]
    assert len(stopped) <= 2 and {trial.reason for trial in stopped} <= {"time budget"}
    assert len(result.trials) == counted(result) + len(stopped)
    assert float(stored(settings, "toy").user_attrs["seconds"]) == 60

    assert run(objectives.raising, settings) == result  # at once, without an evaluation
    before = len(seen)  # these are told again at the start
    monkeypatch.setattr("snpimpute.tuning.study.time", Clock(lambda: len(seen) > 2 * before))
    longer = make_settings(tmp_path, n_trials=1000, seconds=90, workers=2)
    more = run(objectives.quick, longer, on_trial=seen.append)
    assert counted(more) > counted(result) and more.ended_by == "time"


class Steps:
    """A clock that goes on whenever it is looked at while something is so: no test waits, however busy the machine."""

    def __init__(self, condition: Callable[[], bool], step: float) -> None:
        self._condition, self._step, self._now = condition, step, 1000.0

    def monotonic(self) -> float:
        self._now += self._step if self._condition() else 0.0
        return self._now


def test_a_first_trial_that_does_not_fit_hands_in_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its worker's clock says that it is late; the study, whose clock has gone a little beyond the budget, waits for it."""
    begun = tmp_path / "begun"
    monkeypatch.setattr("snpimpute.tuning.study.time", Clock(begun.exists))
    progress: list[float] = []
    result = run(
        partial(objectives.until_late, begun=str(begun)),
        make_settings(tmp_path, seconds=30),
        on_progress=lambda percent, best: progress.append(percent),
    )
    assert result.ended_by == "time" and result.best is not None
    assert result.best.first and result.best.score == 0.25 and result.trials == [result.best]
    assert progress == sorted(progress) and progress[-1] == 100.0


def test_a_trial_that_never_ends_is_not_waited_for_beyond_the_overtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snpimpute.base.processes.GRACE", 0.0)
    begun = tmp_path / "begun"
    clock = Steps(begun.exists, step=10.0)
    monkeypatch.setattr("snpimpute.tuning.study.time", clock)
    settings = make_settings(tmp_path, seconds=200)
    result = run(partial(objectives.halting, begun=str(begun)), settings)
    assert result.best is None and result.ended_by == "time"
    (only,) = result.trials
    assert (only.state, only.reason) == ("stopped", "time budget")
    assert result.params == only.params and result.params["x"] == objectives.PUBLISHED["x"]
    assert 300 <= clock.monotonic() - 1000 < 450  # the budget, half of it again, and some looks at the clock
    assert run(objectives.raising, settings) == result  # at once, without an evaluation


def test_a_report_is_late_where_it_is_received() -> None:
    assert not TrialReport(1e6).late and not TrialReport(math.inf).late
    received = pickle.loads(pickle.dumps(TrialReport(-1.0)))
    assert received.late and received.seconds == -1.0


def test_a_worker_that_will_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snpimpute.base.processes.GRACE", 0.0)
    numbers = tmp_path / "numbers"
    begun = Clock(lambda: numbers.exists() and len(numbers.read_text().split()) == 2)
    monkeypatch.setattr("snpimpute.tuning.study.time", begun)
    at_work: list[bool] = []

    def look(record: TrialRecord) -> None:
        if record.state == "stopped":
            at_work.append(alive(int(numbers.read_text().split()[0])))

    evaluate = partial(objectives.stubborn, numbers=str(numbers))
    result = run(evaluate, make_settings(tmp_path, seconds=30), on_trial=look)
    assert [trial.state for trial in result.trials] == ["complete", "stopped"] and result.ended_by == "time"
    assert at_work == [False], "it is killed before it is told of as stopped"
    worker, program = map(int, numbers.read_text().split())
    wait_until(lambda: not alive(worker) and not alive(program))


# ---------------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (
            "exit",
            "its process ended with exit status 3: terminate called after throwing an instance of 'std::bad_alloc'",
        ),
        ("nan", "the score is nan, not a finite number"),
    ],
)
def test_failed_trials_do_not_count(tmp_path: Path, how: str, reason: str) -> None:
    seen: list[TrialRecord] = []
    result = run(
        partial(objectives.sometimes, how=how), make_settings(tmp_path, n_trials=6, seed=14), on_trial=seen.append
    )
    assert counted(result) == 6
    failed = [trial for trial in result.trials if trial.state == "failed"]
    assert len(failed) == 4 and len(result.trials) == 10 and seen == result.trials  # but never three in a row
    assert {trial.reason for trial in failed} == {reason}
    assert {trial.params["kind"] for trial in failed} == {"a"} and {trial.score for trial in failed} == {None}


@pytest.mark.parametrize(
    ("evaluate", "error", "message"),
    [
        (objectives.raising, RuntimeError, "3 trials in a row failed; the last: ValueError: not so many sites$"),
        (objectives.refusing, InputError, "3 trials in a row failed; the last: Beagle is missing$"),
        (
            objectives.Unloadable(),
            RuntimeError,
            "ImportError: no such framework$",
        ),
    ],
)
def test_three_failures_end_the_study(tmp_path: Path, evaluate: Any, error: type[Exception], message: str) -> None:
    seen: list[TrialRecord] = []
    with pytest.raises(error, match=message):
        run(evaluate, make_settings(tmp_path, workers=2), on_trial=seen.append)
    assert [trial.state for trial in seen] == ["failed"] * 3
    assert not [p for p in psutil.Process().children() if "snpimpute.tuning.study" in " ".join(p.cmdline())]


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("sqlite:////no/such/folder/studies.db", "unable to open database file"),
        ("nosuchbase://host/name", "nosuchbase"),
        ("{folder}/calls.txt", "not a journal|Expecting value"),
        ("{folder}", "directory"),
    ],
)
def test_unusable_storage(tmp_path: Path, storage: str, message: str) -> None:
    (tmp_path / "calls.txt").write_text("sample\tgroup")
    with pytest.raises(InputError, match=message) as caught:
        run(objectives.quick, make_settings(tmp_path, storage=storage.format(folder=tmp_path)))
    assert "\n" not in str(caught.value)
    assert (tmp_path / "calls.txt").read_text() == "sample\tgroup"


def test_password_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nosuchbase://me:\*\*\*@host/name cannot be used") as caught:
        run(objectives.quick, make_settings(tmp_path, storage="nosuchbase://me:secret@host/name"))
    assert "secret" not in str(caught.value)


def test_full_file_system(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, n_trials=15)
    code = (
        "import resource\nfrom tests.tuning import objectives as o\nfrom snpimpute.tuning.study import *\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
        f"try:\n o.run_script(o.quick, {settings!r}, {str(tmp_path / 'records')!r})\n"
        "except WorkEnds as error:\n print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    told = f"study storage {settings.storage} cannot be written: File too large; make room, and run the same command again to go on"
    assert (done.stdout.strip(), done.stderr) == (told, "")
    assert counted(run(objectives.quick, settings, "killed")) == 15


def test_a_trial_that_finds_no_room_is_told_of_and_tried_again(tmp_path: Path) -> None:
    seen: list[TrialRecord] = []
    settings = make_settings(tmp_path, n_trials=1)
    with pytest.raises(WorkEnds, match="no room for the weights"):
        run(objectives.without_room, settings, on_trial=seen.append)
    assert [(trial.state, trial.reason) for trial in seen] == [("stopped", "no room for the weights")]
    again = run(objectives.quick, settings)
    assert [(trial.state, trial.first) for trial in again.trials] == [("stopped", True), ("complete", True)]


def test_a_journal_is_made_with_its_folder(tmp_path: Path) -> None:
    open_storage(str(tmp_path / "new" / "toy.journal"))
    assert (tmp_path / "new" / "toy.journal").exists()


def test_a_study_is_free_when_its_block_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever still has the lock object at hand, as a debugger or a traceback may."""
    kept: list[FileLock] = []

    def lock(*args: Any, **options: Any) -> FileLock:
        kept.append(FileLock(*args, **options))
        return kept[-1]

    monkeypatch.setattr("snpimpute.tuning.storage.FileLock", lock)
    for _ in range(2):
        with held_alone(str(tmp_path / "toy.journal"), "toy"), pytest.raises(InputError, match="in another process"):
            held_alone(str(tmp_path / "toy.journal"), "toy").__enter__()
    assert len(kept) == 4


# ---------------------------------------------------------------------- parameters as a file


def test_parameters_round_trip(tmp_path: Path) -> None:
    params = {
        "learning_rate": 1e-05,
        "whole": 3.0,
        "most": math.inf,
        "epochs": 30,
        "em": True,
        "map": 'a "quoted"\\path\n\twith ünïcode 🧬 \x7f',
        "sizes": [1024, 512],
        "weights": (0.5, 1e300),
        "names": ["a", "b"],
        "phase-states": 280,
        "two words": "yes",
    }
    path = tmp_path / "params" / "bert.toml"
    write_params(path, {**params, "stop_after": None}, {"study": "kg15-500 bert", "note": "two\nlines = 1"})
    assert read_params(path) == {**params, "weights": [0.5, 1e300]}
    assert path.read_text().splitlines()[:2] == ["# study: kg15-500 bert", "# note: two lines = 1"]
    assert read_params(path)["em"] is True and isinstance(read_params(path)["whole"], float)
    nested = {"refit": {"a": 1, "b": [0.5, -1.0], "none": None}, "trials": 3}
    write_params(path, nested, {})
    assert read_params(path) == {"trials": 3, "refit": {"a": 1, "b": [0.5, -1.0]}}
    deep = {"refit": {"phasing": {"iterations": 3}}}  # as Beagle's parameters within another imputer's
    write_params(path, deep, {})
    assert read_params(path) == deep
    with pytest.raises(TypeError, match="not TOML serializable"):
        write_params(path, {"refit": {"a": object()}}, {})
    assert read_params(path) == deep


def test_bad_parameter_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read the parameters .*No such file"):
        read_params(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("epochs == 3\n")
    with pytest.raises(InputError, match=r"bad\.toml are not TOML: .*line 1"):
        read_params(tmp_path / "bad.toml")


def test_further_starts_come_after_the_published_values(tmp_path: Path) -> None:
    starts = [{**objectives.PUBLISHED, "x": 0.5}, {**objectives.PUBLISHED, "x": 0.75}]
    result = run(objectives.quick, make_settings(tmp_path, n_trials=4), starts=starts)
    assert [t.params["x"] for t in result.trials[:3]] == [objectives.PUBLISHED["x"], 0.5, 0.75]
    again = run(objectives.quick, make_settings(tmp_path, n_trials=5), starts=starts)
    assert [t.params["x"] for t in again.trials].count(0.5) == 1 and len(again.trials) == 5


def test_a_start_that_was_stopped_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = [{**objectives.PUBLISHED, "x": 0.5}]
    begun = tmp_path / "begun"
    evaluate = partial(objectives.stopped_once, begun=str(begun))
    monkeypatch.setattr("snpimpute.tuning.study.time", Clock(begun.exists))
    cut = run(evaluate, make_settings(tmp_path, seconds=30), starts=starts)
    assert counted(cut) == 1 and cut.trials[-1].state == "stopped" and cut.trials[-1].params["x"] == 0.5
    monkeypatch.undo()
    again = run(evaluate, make_settings(tmp_path, n_trials=2), starts=starts)
    assert counted(again) == 2 and again.trials[-1].state == "complete" and again.trials[-1].params["x"] == 0.5
