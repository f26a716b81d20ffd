"""Studies that look for an imputer's best parameters: this process asks and tells Optuna, workers only compute."""

from __future__ import annotations

import fcntl
import json
import math
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from snpimpute.base.digests import digest
from snpimpute.base.errors import InputError
from snpimpute.base.programs import end_this_process, kill_descendants, worker_environment, write_text

if TYPE_CHECKING:  # a worker starts without pandas if its evaluation needs none
    import optuna

    from snpimpute.imputers.contract import Report, Trial

GRACE = 5.0  # seconds that a worker has to end what it started (runtime.end_group takes 3) before it is killed
TICK = 0.2  # seconds between looks at the clock
KEEP_SECONDS_EVERY = 10.0  # how much of the time spent a kill can make a study forget
WARMUP_STEPS = 5  # reports before a trial can be pruned
TRIALS_BEFORE_PRUNING = 5
FAILURES_IN_A_ROW = 3
SECONDS_TO_FORGET = 5.0  # that a database may take to see that the process which held a study is dead
SECONDS_TO_MAKE_TABLES = 60.0
TIME_BUDGET = "time budget"
KILLED = "the study was killed"

State = Literal["complete", "pruned", "failed", "stopped"]


@dataclass(frozen=True)
class StudySettings:
    """How much a study may spend, and where it is kept. None of it changes a score.

    Attributes:
        n_trials: trials that count, complete or pruned; exactly so many, whatever is stopped and resumed.
        seconds: wall time over all starts of the study; None for no limit.
        workers: processes that compute at the same time.
        threads: processor threads of each of them.
        seed: of the sampler.
        storage: path of a journal file, or a database URL as Optuna takes it (sqlite:///..., postgresql://...).
        trials_per_process: a worker is replaced by a fresh process after so many trials.
    """

    n_trials: int
    seconds: float | None
    workers: int
    threads: int
    seed: int
    storage: str
    trials_per_process: int


@dataclass(frozen=True)
class TrialOutcome:
    """What an evaluation gives back: the score (higher is better) and whatever else is worth keeping, JSON-able."""

    score: float
    attributes: dict[str, Any]


@dataclass(frozen=True)
class TrialRecord:
    """A trial that has ended.

    Attributes:
        number: counted from 0 within the study, never used twice.
        state: "complete"; "pruned"; "failed" (raised, or its process died); "stopped" (by the time budget or a kill).
            Only the first two count.
        score: of a complete trial, else None.
        params: the full table that was evaluated.
        intermediate: step → score as reported.
        attributes: of a complete trial's outcome, else empty.
        seconds: wall time, a fresh worker's imports included; 0 if the study was killed meanwhile.
        reason: why it failed or was stopped, in one line, else empty.
        first: whether its parameters are those the study was given to begin with (the published ones).
    """

    number: int
    state: State
    score: float | None
    params: dict[str, Any]
    intermediate: dict[int, float]
    attributes: dict[str, Any]
    seconds: float
    reason: str
    first: bool

    @property
    def counts(self) -> bool:
        return self.state in ("complete", "pruned")


@dataclass(frozen=True)
class StudyResult:
    """The best complete trial, every trial by number, and what ended the study."""

    best: TrialRecord
    trials: list[TrialRecord]
    ended_by: Literal["trials", "time"]


Evaluate = Callable[[dict[str, Any], "Report"], TrialOutcome]


def run_study(
    name: str,
    *,
    suggest: Callable[[Trial], dict[str, Any]],
    first: dict[str, Any],
    evaluate: Evaluate,
    settings: StudySettings,
    starts: Sequence[dict[str, Any]] = (),
    on_trial: Callable[[TrialRecord], None] | None = None,
    on_progress: Callable[[int, int, float], None] | None = None,
) -> StudyResult:
    """Run a study, or go on with it, until its trials or its time are used up.

    Parameters are proposed by the tree-structured Parzen estimator (Bergstra et al. 2011, "Algorithms for
    hyper-parameter optimization"; multivariate after Falkner et al. 2018) and poor trials are pruned by the median
    rule (Golovin et al. 2017, "Google Vizier"). With one worker, same seed, same parameters in the same order.

    A study belongs to one process at a time: trials that the storage calls running are taken for those of a killed
    start. PostgreSQL sees to that for all who share the database; for other storages it is checked on this machine.

    Args:
        name: of the study in its storage.
        suggest: makes a full table of parameters (JSON-able) from what it asks of a trial.
        first: parameters of the first trial, by the names that `suggest` asks for; other names are ignored. That trial
            is never pruned, and is evaluated again if it was stopped.
        evaluate: maps parameters to an outcome, in a worker: a fresh process without this one's memory, so it must be
            importable by name (a module's function, or functools.partial of one). It may call report(step, score),
            steps from 0, which raises if the trial is to end there.
        starts: further parameters to begin with, tried in this order after the first.
        settings: see StudySettings. When the time is used up, trials that run are stopped and do not count; as long as
            none is complete, one of them goes on.
        on_trial: called once with every trial that ends, and at the start with those that ended before.
        on_progress: called at the start and after each trial with the number of trials that count, the number wanted
            and the best score so far (nan if there is none).

    Raises:
        InputError: the storage cannot be used, or the study runs elsewhere; or, three times in a row, a trial failed
            and the last one with InputError.
        RuntimeError: three trials in a row failed otherwise.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with _alone(settings.storage, name):
        study = _open_study(name, settings)
        try:
            return _Run(study, suggest, first, starts, evaluate, settings, on_trial, on_progress).result()
        except optuna.exceptions.StorageInternalError as error:
            raise storage_error(settings.storage, error.__cause__ or error) from None


class _Run:
    """One start of a study: the parent's side."""

    def __init__(
        self,
        study: optuna.Study,
        suggest: Callable[[Trial], dict[str, Any]],
        first: dict[str, Any],
        starts: Sequence[dict[str, Any]],
        evaluate: Evaluate,
        settings: StudySettings,
        on_trial: Callable[[TrialRecord], None] | None,
        on_progress: Callable[[int, int, float], None] | None,
    ) -> None:
        self.study = study
        self.suggest = suggest
        self.first = first
        self.starts = starts
        self.evaluate = evaluate
        self.settings = settings
        self.on_trial = on_trial
        self.on_progress = on_progress
        self.workers: list[_Worker] = []
        self.records: dict[int, TrialRecord] = {}
        self.failures = 0
        self.spent_before = float(study.user_attrs.get("seconds", 0.0))
        self.started = self.kept = time.monotonic()

    def result(self) -> StudyResult:
        self.study.set_user_attr("budget", {"trials": self.settings.n_trials, "seconds": self.settings.seconds})
        self._take_up()
        try:
            while self._start_trials():
                self._listen()
                self._stop_late_trials()
                if time.monotonic() - self.kept > KEEP_SECONDS_EVERY:
                    self._keep_seconds()
        finally:
            _end_workers(self.workers)
        self._keep_seconds()
        trials = [self.records[number] for number in sorted(self.records)]
        best = max((t for t in trials if t.score is not None), key=lambda t: (t.score, -t.number))
        return StudyResult(best, trials, "trials" if self._counted() >= self.settings.n_trials else "time")

    # ------------------------------------------------------------------ what was there before

    def _take_up(self) -> None:
        """Close the trials of a killed start, pass on those that ended, and queue the first one if it is still due."""
        from optuna.trial import TrialState

        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self.study.tell(trial.number, state=TrialState.FAIL)
        waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        for trial in self.study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)):
            self._add(record_of(trial))
        if not waiting and not any(record.first and record.state != "stopped" for record in self.records.values()):
            self.study.enqueue_trial(self.first, user_attrs={"first": True})
        stopped = {number for number, record in self.records.items() if record.state == "stopped"}
        tried = {t.user_attrs.get("start") for t in self.study.get_trials(deepcopy=False) if t.number not in stopped}
        for number, start in enumerate(self.starts):
            if number not in tried:
                self.study.enqueue_trial(start, user_attrs={"start": number})
        self._show_progress()

    # ------------------------------------------------------------------ the loop's steps

    def _start_trials(self) -> bool:
        """Give idle workers trials as long as more are wanted; False if none runs then."""
        while len(self._busy()) < self.settings.workers and self._more_wanted():
            idle = next((w for w in self.workers if w.trial is None), None)
            if idle is None:
                idle = _Worker(self.evaluate, self.settings.threads)
                self.workers.append(idle)
            trial = self.study.ask()
            params = self.suggest(trial)
            trial.set_user_attr("params", params)
            idle.start(trial, params)
        return bool(self._busy())

    def _more_wanted(self) -> bool:
        running = len(self._busy())
        if self._counted() + running >= self.settings.n_trials:
            return False
        return self._seconds_left() > 0 or (running == 0 and not self._any_complete())

    def _listen(self) -> None:
        """Take what the workers say."""
        busy = {worker.pipe: worker for worker in self._busy()}
        for pipe in wait(list(busy), TICK):
            worker = busy[pipe]  # type: ignore[index]
            try:
                kind, *content = worker.pipe.recv()
            except (EOFError, OSError):
                self._finish(worker, "failed", reason=worker.last_words())
                continue
            if kind == "report":
                self._answer(worker, *content)
            elif worker.pruned:
                self._finish(worker, "pruned")
            elif kind == "done":
                self._finish_done(worker, *content)
            else:
                self._finish(worker, "failed", reason=content[0], error=InputError if content[1] else RuntimeError)

    def _answer(self, worker: _Worker, step: int, score: float) -> None:
        """Keep a reported score, and say whether the trial goes on."""
        trial = worker.trial
        assert trial is not None
        trial.report(score, step)
        worker.pruned = not worker.is_first and trial.should_prune()
        worker.send(not worker.pruned)

    def _stop_late_trials(self) -> None:
        """When the time is used up, end what runs; as long as no trial is complete, one goes on."""
        late = self._busy()
        if not late or self._seconds_left() > 0:
            return
        if not self._any_complete():
            late.remove(min(late, key=lambda worker: (not worker.is_first, worker.number)))
        _end_workers(late)
        for worker in late:
            self._finish(worker, "stopped", reason=TIME_BUDGET)

    # ------------------------------------------------------------------ the end of a trial

    def _finish_done(self, worker: _Worker, outcome: TrialOutcome) -> None:
        if math.isfinite(outcome.score):
            self._finish(worker, "complete", outcome=outcome)
        else:
            self._finish(worker, "failed", reason=f"the score is {outcome.score}, not a finite number")

    def _finish(
        self,
        worker: _Worker,
        state: State,
        *,
        outcome: TrialOutcome | None = None,
        reason: str = "",
        error: type[Exception] = RuntimeError,
    ) -> None:
        """Tell the storage and whoever listens how a trial ended."""
        from optuna.trial import TrialState

        trial = worker.trial
        assert trial is not None
        end = {
            "attributes": outcome.attributes if outcome else {},
            "seconds": round(time.monotonic() - worker.since, 3),
            "reason": reason,
        }
        trial.set_user_attr("end", end)
        told = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}.get(state, TrialState.FAIL)
        frozen = self.study.tell(trial, outcome.score if outcome else None, state=told)
        self._keep_seconds()
        worker.trial = None
        worker.n_trials += 1
        if worker.process.poll() is not None or worker.n_trials >= self.settings.trials_per_process:
            _end_workers([worker])
            self.workers.remove(worker)
        self._add(record_of(frozen))
        self._show_progress()
        self.failures = self.failures + 1 if state == "failed" else 0
        if self.failures >= FAILURES_IN_A_ROW:
            raise error(f"study {self.study.study_name}: {self.failures} trials in a row failed; the last: {reason}")

    def _add(self, record: TrialRecord) -> None:
        self.records[record.number] = record
        if self.on_trial is not None:
            self.on_trial(record)

    def _show_progress(self) -> None:
        if self.on_progress is not None:
            scores = [record.score for record in self.records.values() if record.score is not None]
            self.on_progress(self._counted(), self.settings.n_trials, max(scores, default=math.nan))

    # ------------------------------------------------------------------ where the study stands

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self.workers if worker.trial is not None]

    def _counted(self) -> int:
        return sum(record.counts for record in self.records.values())

    def _any_complete(self) -> bool:
        return any(record.state == "complete" for record in self.records.values())

    def _seconds_left(self) -> float:
        if self.settings.seconds is None:
            return math.inf
        return self.settings.seconds - self.spent_before - (time.monotonic() - self.started)

    def _keep_seconds(self) -> None:
        self.kept = time.monotonic()
        self.study.set_user_attr("seconds", round(self.spent_before + self.kept - self.started, 3))


def record_of(trial: optuna.trial.FrozenTrial) -> TrialRecord:
    """A trial as the storage has it; one that failed without a reason was running when the study was killed."""
    from optuna.trial import TrialState

    states: dict[TrialState, State] = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}
    state = states.get(trial.state, "failed")
    end = trial.user_attrs.get("end", {})
    reason = end.get("reason", "")
    if state == "failed":
        reason = reason or KILLED
        state = "stopped" if reason in (KILLED, TIME_BUDGET) else "failed"
    return TrialRecord(
        number=trial.number,
        state=state,
        score=trial.value if state == "complete" else None,
        params=trial.user_attrs.get("params", trial.params),
        intermediate=dict(trial.intermediate_values),
        attributes=end.get("attributes", {}),
        seconds=end.get("seconds", 0.0),
        reason=reason,
        first=trial.user_attrs.get("first", False),
    )


# ---------------------------------------------------------------------- workers, as the parent sees them


class _Worker:
    """A process that computes one trial after another, in a session of its own, its output kept for its last words."""

    def __init__(self, evaluate: Evaluate, threads: int) -> None:
        self.pipe, theirs = Pipe()
        self.output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the worker)
        code = f"import sys; sys.path[:] = {sys.path!r}; from snpimpute.tuning.study import _work; _work({theirs.fileno()})"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            env=worker_environment(threads),
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=self.output,
            start_new_session=True,
            pass_fds=(theirs.fileno(),),
        )
        theirs.close()
        self.trial: optuna.Trial | None = None
        self.number = -1
        self.is_first = False
        self.pruned = False
        self.since = 0.0
        self.n_trials = 0
        self.send(evaluate)

    def start(self, trial: optuna.Trial, params: dict[str, Any]) -> None:
        self.trial = trial
        self.number = trial.number
        self.is_first = trial.user_attrs.get("first", False)
        self.pruned = False
        self.since = time.monotonic()
        self.send(params)

    def send(self, message: Any) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # a dead worker is noticed where it is listened to
            self.pipe.send(message)

    def last_words(self) -> str:
        """How the process ended, with the last line it wrote."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE)
        status = self.process.poll()
        how = f"by {signal.Signals(-status).name}" if status and status < 0 else f"with exit status {status}"
        self.output.seek(0)
        lines = self.output.read().decode(errors="replace").strip().splitlines()
        return f"its process ended {how}" + (f": {lines[-1].strip()}" if lines else "")


def _end_workers(workers: list[_Worker]) -> None:
    """End processes with all that they started: a closed pipe tells them to, what still runs later is killed."""
    for worker in workers:
        worker.pipe.close()
    for worker in workers:
        try:
            worker.process.wait(GRACE + 2)
        except subprocess.TimeoutExpired:
            kill_descendants(worker.process.pid)
            worker.process.kill()
            worker.process.wait()
        worker.output.close()


# ---------------------------------------------------------------------- the worker's side


class _TrialEnds(BaseException):
    """Leaves an evaluation that the parent has ended; no `except Exception` on the way holds it up."""


def _work(descriptor: int) -> None:
    """Life of a worker: evaluate what comes through the pipe until it closes."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    pipe = Connection(descriptor)
    evaluate = pipe.recv()
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_follow_parent, args=(pipe, inbox), daemon=True).start()

    def report(step: int, score: float) -> None:
        pipe.send(("report", int(step), float(score)))
        if not inbox.get():
            raise _TrialEnds

    try:
        while True:
            params = inbox.get()
            try:
                message: tuple[Any, ...] = ("done", evaluate(params, report))
            except _TrialEnds:
                message = ("ended",)
            except Exception as error:
                message = ("failed", _one_line(error), isinstance(error, InputError))
            pipe.send(message)
    finally:
        kill_descendants(os.getpid())


def _follow_parent(pipe: Connection, inbox: queue.SimpleQueue[Any]) -> None:
    """Pass on what the parent sends; when it has closed the pipe or died, end this process and all that it started."""
    try:
        while True:
            inbox.put(pipe.recv())
    except (EOFError, OSError):
        end_this_process()


def _one_line(error: BaseException) -> str:
    """What went wrong, in one line: an InputError's own words, else the kind and the last line."""
    lines = str(error).strip().splitlines()
    if isinstance(error, InputError):
        return " ".join(lines)
    return f"{type(error).__name__}: {lines[-1]}" if lines else type(error).__name__


# ---------------------------------------------------------------------- the storage


def _open_study(name: str, settings: StudySettings) -> optuna.Study:
    """Create or load a study that maximises; InputError if its storage cannot be used."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    try:
        storage = (
            _database_storage(settings.storage)
            if "://" in settings.storage
            else _journal_storage(Path(settings.storage).resolve())
        )
        study = optuna.create_study(
            study_name=name,
            storage=storage,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=TRIALS_BEFORE_PRUNING,
                n_warmup_steps=WARMUP_STEPS,
                n_min_trials=TRIALS_BEFORE_PRUNING,
            ),
        )
    except (
        SQLAlchemyError,
        optuna.exceptions.OptunaError,
        ImportError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
    ) as error:
        raise storage_error(settings.storage, error) from None
    # The sampler's draws are not stored: a resumed study would draw again what it drew at its start.
    study.sampler = optuna.samplers.TPESampler(seed=settings.seed + len(study.get_trials(deepcopy=False)))
    return study


def _database_storage(url: str) -> optuna.storages.BaseStorage:
    from optuna.storages import RDBStorage

    if not _is_postgresql(url):
        return RDBStorage(url)
    with _held_in_database(url, "tables", SECONDS_TO_MAKE_TABLES) as held:
        if not held:
            raise OSError("its tables are being made by somebody else")
        return RDBStorage(url, engine_kwargs={"pool_pre_ping": True})  # a trial may outlast an idle connection


def _journal_storage(path: Path) -> optuna.storages.BaseStorage:
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    path.parent.mkdir(parents=True, exist_ok=True)

    class Journal(JournalFileBackend):
        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            try:
                super().append_logs(logs)
            except OSError as error:
                raise storage_error(str(path), error) from None

    return JournalStorage(Journal(str(path), lock_obj=_JournalLock(path)))  # type: ignore[arg-type]


class _JournalLock:
    """Lets one process at a time write to a journal: a lock that ends with its process, unlike Optuna's lock files.

    Whoever gets it cuts off the line that a process killed while it wrote has left unfinished; the next line would be
    appended to it, and the journal could not be read any more.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def acquire(self) -> bool:
        self.file = self.path.open("rb+")
        fcntl.flock(self.file, fcntl.LOCK_EX)
        size = self.file.seek(0, os.SEEK_END)
        if size > 0:
            self.file.seek(size - 1)
            if self.file.read() != b"\n":
                self._cut_last_line()
        return True

    def _cut_last_line(self) -> None:
        self.file.seek(0)
        content = self.file.read()
        whole = content.rfind(b"\n") + 1
        start = b'{"op_code":'
        if content[whole : whole + len(start)] != start[: len(content) - whole]:
            raise ValueError("it is a file of another kind, not a journal of Optuna")
        self.file.truncate(whole)

    def release(self) -> None:
        self.file.close()


@contextmanager
def _alone(storage: str, name: str) -> Iterator[None]:
    """Hold the study for this process; InputError if another one runs it.

    PostgreSQL holds it for whoever shares the database; for other storages a file holds it on this machine.
    """
    if _is_postgresql(storage):
        holding = _held_in_database(storage, f"study {name}", SECONDS_TO_FORGET)
    else:
        where = storage if "://" in storage else str(Path(storage).resolve())
        file = f"snpimpute-study-{digest([os.getuid(), where, name])[:16]}.lock"
        holding = _held_by_file(Path(tempfile.gettempdir()) / file)
    with holding as held:
        if not held:
            raise InputError(f"study {name} is running in another process: wait for it, or end that one")
        yield


@contextmanager
def _held_by_file(path: Path) -> Iterator[bool]:
    """Whether this process now holds a lock file, which is removed at the end."""
    while True:
        with path.open("a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            try:
                there = os.path.samestat(os.fstat(handle.fileno()), path.stat())
            except FileNotFoundError:
                there = False
            if there:  # else its last holder has removed it since it was opened here
                try:
                    yield True
                finally:
                    path.unlink(missing_ok=True)
                return


def _is_postgresql(storage: str) -> bool:
    return re.match(r"postgres(ql)?(\+\w+)?://", storage) is not None


@contextmanager
def _held_in_database(url: str, key: str, patience: float) -> Iterator[bool]:
    """Whether this process now holds an advisory lock of a PostgreSQL database, which ends with its connection.

    Args:
        url: of the database.
        key: what is held.
        patience: seconds to wait for another holder.
    """
    from sqlalchemy import create_engine, func, select
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    number = int(digest(["snpimpute", key])[:15], 16)  # the database takes 63 bits
    deadline = time.monotonic() + patience
    try:
        connection = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect()
    except (SQLAlchemyError, ImportError) as error:
        raise storage_error(url, error) from None
    with connection:
        while not (held := bool(connection.scalar(select(func.pg_try_advisory_lock(number))))):
            if time.monotonic() > deadline:
                break
            time.sleep(TICK)
        yield held


def storage_error(storage: str, error: BaseException) -> InputError:
    shown = re.sub(r"://([^:/@]*):[^@]*@", r"://\1:***@", storage)
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return InputError(f"study storage {shown} cannot be used: {first}")


# ---------------------------------------------------------------------- parameters as a file


def write_params(path: Path, params: Mapping[str, Any], about: Mapping[str, str]) -> None:
    """Write a table of parameters as TOML, with lines of comment above it.

    Args:
        path: of the file; it is whole or not there.
        params: names with strings, bools, ints, floats, lists of them, or flat tables of them; None is left out.
        about: what to say of them, a comment line each.
    """
    lines = [f"# {' '.join(f'{key}: {value}'.split())}" for key, value in about.items()]
    lines += _toml_lines({key: value for key, value in params.items() if not isinstance(value, Mapping)})
    for key, table in params.items():
        if isinstance(table, Mapping):
            lines += ["", f"[{_toml_key(key)}]", *_toml_lines(table)]
    write_text(path, "\n".join(lines) + "\n")


def read_params(path: Path) -> dict[str, Any]:
    """Read a table that `write_params` wrote (or any TOML); InputError if there is none or it is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the parameters {path}: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"the parameters {path} are not TOML: {error}") from None


def given_params(path: Path) -> dict[str, Any]:
    """An imputer's parameters from a TOML of them, or from what a study found, which keeps them as its table `params`.

    Raises:
        InputError: as `read_params`.
    """
    table = read_params(path)
    return table["params"] if {"params", "refit_params"} <= table.keys() else table


def _toml_lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{_toml_key(key)} = {_toml_value(value)}" for key, value in table.items() if value is not None]


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml_value(key)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml_value(item) for item in value)}]"
    raise TypeError(f"cannot write {value!r} as a value of a table")
