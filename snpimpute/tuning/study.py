"""Search for the best parameters with Optuna: the main process runs the study, worker processes evaluate trials."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Literal

from snpimpute.base.digests import digest
from snpimpute.base.errors import WorkEnds
from snpimpute.base.processes import HERE, Able, Engine, end_workers
from snpimpute.tuning.report import TrialReport
from snpimpute.tuning.storage import held_alone, open_storage, storage_error

if TYPE_CHECKING:  # so that a worker loads pandas only if its evaluation needs it
    import optuna

    from snpimpute.imputers.contract import Report, Trial

LEAST_OVERTIME = 60.0  # seconds that a trial gets to hand in what it has, or half of the study's time if that is more
TICK = 0.2  # longest wait, in seconds, before the time budget is checked again
KEEP_SECONDS_EVERY = 10.0  # seconds between records of the time spent: a kill loses at most this much
WARMUP_STEPS = 5  # reports before a trial can be pruned
LEAST_SHARE = 0.2  # of its epochs that a trial runs before it can be pruned
TRIALS_BEFORE_PRUNING = 5
FAILURES_IN_A_ROW = 3
TIME_BUDGET = "time budget"
KILLED = "the study was killed"
NO_TRIAL = "no trial ended within the time of the study: the defaults are used; give it more (--budget)"

State = Literal["complete", "pruned", "failed", "stopped"]


@dataclass(frozen=True)
class StudySettings:
    """Budget and storage of a study; none of these settings changes the score of a set of parameters.

    Attributes:
        n_trials: number of trials that count (complete or pruned); met exactly, however often the study is stopped and
            resumed.
        seconds: wall time over all starts of the study; None for no limit. See `run_study` for what happens then.
        workers: number of processes that evaluate trials at the same time.
        threads: processor threads of each worker.
        seed: seed of the sampler.
        storage: path of a journal file, or a database URL as Optuna takes it (sqlite:///..., postgresql://...).
        trials_per_process: number of trials after which a fresh process replaces a worker.
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
    """Result of an evaluation: the score (higher is better) and further attributes to keep (JSON-able)."""

    score: float
    attributes: dict[str, Any]


@dataclass(frozen=True)
class TrialRecord:
    """A trial that has ended.

    Attributes:
        number: counted from 0 within the study, never used twice.
        state: "complete"; "pruned"; "failed" (raised, or its process died); "stopped" (by the time budget, a kill or a
            full disk). Only the first two count.
        score: score of a complete trial, else None.
        params: the full table of parameters that was evaluated.
        intermediate: step → reported score.
        attributes: further attributes of a complete trial, else empty.
        seconds: wall time, a fresh worker's imports included; 0 if the study was killed meanwhile.
        reason: why the trial failed or was stopped, in one line, else empty.
        first: true for the trial with the parameters `first` of `run_study` (the published ones).
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
        """True if the trial counts towards `n_trials`: complete or pruned."""
        return self.state in ("complete", "pruned")


@dataclass(frozen=True)
class StudyResult:
    """Result of a study: the best complete trial, all trials by number, and the limit that ended it.

    `best` is None if no trial was complete within the time.
    """

    best: TrialRecord | None
    trials: list[TrialRecord]
    ended_by: Literal["trials", "time"]

    @property
    def params(self) -> dict[str, Any]:
        """Parameters of the best trial; of the first one (the published ones) if no trial was complete."""
        return (self.best or self.trials[0]).params


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
    on_progress: Callable[[float, float], None] | None = None,
    engine: Engine = HERE,
    able: Able | None = None,
) -> StudyResult:
    """Run a study, or resume it, until its trials or its time are used up.

    Parameters are proposed by the tree-structured Parzen estimator (Bergstra et al. 2011, "Algorithms for
    hyper-parameter optimization"; multivariate after Falkner et al. 2018) and poor trials are pruned by the median
    rule (Golovin et al. 2017, "Google Vizier"). With one worker, the same seed gives the same parameters in the same order,
    however often the study is stopped and resumed.

    One process at a time runs a study: a trial that the storage calls running is taken for one of a killed start.
    PostgreSQL ensures this for all machines that share the database; other storages ensure it on this machine only.

    Args:
        name: name of the study in its storage.
        suggest: makes a full table of parameters (JSON-able) from the values that it asks of a trial.
        first: parameters of the first trial, by the names that `suggest` asks for; other names are ignored. This trial
            is never pruned, and is evaluated again if it was stopped.
        evaluate: maps parameters to an outcome. It runs in a worker, a fresh process without this one's memory, so it
            must be importable by name (a module's function, or functools.partial of one). It may call
            report(step, score), with steps from 0; report raises if the trial is to end there. `report.late` becomes
            True when the study's time is used up.
        starts: parameters of the next trials, tried in this order after the first.
        settings: see StudySettings. When the time is used up, running trials are stopped and do not count; but as long
            as no trial is complete, one of them is waited for (it ought to end by itself, see `report.late`), for half as
            long again as the study's time, or LEAST_OVERTIME.
        on_trial: called once with every trial that ends, and at the start with those that ended before.
        on_progress: called at the start, after each trial, and as the time goes by, with the percentage of trials or time
            that is used up (of that which is nearer to its end) and the best score so far (NaN if there is none).
        engine, able: where trials are evaluated, and what they need there; see base.processes.Engine.

    Raises:
        InputError: the storage cannot be used, or another process runs the study; or three trials in a row failed, the
            last one with InputError.
        WorkEnds: a disk is full.
        RuntimeError: three trials in a row failed, the last one with another error.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.CRITICAL)  # it logs an error with its traceback before it raises it
    with held_alone(settings.storage, name):
        study = _open_study(name, settings)
        try:
            start = partial(_TrialWorker, engine, able, evaluate, settings.threads)
            return _StudyStart(study, suggest, first, starts, start, settings, on_trial, on_progress).result()
        except optuna.exceptions.StorageInternalError as error:
            raise storage_error(settings.storage, error.__cause__ or error) from None


class _TrialWorker:
    """Worker process and the trial that it evaluates."""

    def __init__(self, engine: Engine, able: Able | None, evaluate: Evaluate, threads: int) -> None:
        self.carrier = engine.worker("trial", threads, able=able)
        self.evaluate = evaluate
        self.trial: optuna.Trial | None = None
        self.number = -1
        self.is_first = False
        self.pruned = False
        self.spared: float = 0  # reports after which it is not pruned yet
        self.since = 0.0
        self.n_trials = 0

    def start(self, trial: optuna.Trial, params: dict[str, Any], seconds_left: float) -> None:
        """Let the worker evaluate a trial, which knows the time that the study has left."""
        self.trial = trial
        self.number = trial.number
        self.is_first = trial.user_attrs.get("first", False)
        self.pruned = False
        self.spared = math.inf if self.is_first else math.ceil(LEAST_SHARE * params.get("epochs", 0))
        self.since = time.monotonic()
        self.carrier.call(self.evaluate, params, TrialReport(seconds_left))


class _StudyStart:
    """One start of a study, in the main process."""

    def __init__(
        self,
        study: optuna.Study,
        suggest: Callable[[Trial], dict[str, Any]],
        first: dict[str, Any],
        starts: Sequence[dict[str, Any]],
        start_worker: Callable[[], _TrialWorker],
        settings: StudySettings,
        on_trial: Callable[[TrialRecord], None] | None,
        on_progress: Callable[[float, float], None] | None,
    ) -> None:
        self.study = study
        self.suggest = suggest
        self.first = first
        self.starts = starts
        self.start_worker = start_worker
        self.settings = settings
        self.on_trial = on_trial
        self.on_progress = on_progress
        self.workers: list[_TrialWorker] = []
        self.records: dict[int, TrialRecord] = {}
        self.failures = 0
        self.due: list[tuple[dict[str, Any], dict[str, Any]]] = []  # first trials still to be tried, with their marks
        self.spent_before = float(study.user_attrs.get("seconds", 0.0))
        self.started = self.kept = time.monotonic()
        self.told = -1.0  # percentage that on_progress was called with last

    def result(self) -> StudyResult:
        """Run the study to its end and return its result."""
        self.study.set_user_attr("budget", {"trials": self.settings.n_trials, "seconds": self.settings.seconds})
        self._resume()
        try:
            while self._start_trials():
                self._handle_worker_messages()
                self._stop_late_trials()
                if math.floor(self._percent_used()) > math.floor(self.told):
                    self._report_progress()
                if time.monotonic() - self.kept > KEEP_SECONDS_EVERY:
                    self._record_seconds()
        finally:
            _end(self.workers)
        self._record_seconds()
        trials = [self.records[number] for number in sorted(self.records)]
        best = max((t for t in trials if t.score is not None), key=lambda t: (t.score, -t.number), default=None)
        return StudyResult(best, trials, "trials" if self._counted() >= self.settings.n_trials else "time")

    # ------------------------------------------------------------------ earlier starts

    def _resume(self) -> None:
        """Close the trials of a killed start, report those that ended, and find the first trials that are still due."""
        from optuna.trial import TrialState

        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self.study.tell(trial.number, state=TrialState.FAIL)
        for trial in self.study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)):
            self._add_record(record_of(trial))
        stopped = {number for number, record in self.records.items() if record.state == "stopped"}
        tried = [t for t in self.study.get_trials(deepcopy=False) if t.number not in stopped]
        firsts: list[tuple[dict[str, Any], dict[str, Any]]] = [(self.first, {"first": True})]
        firsts += [(params, {"start": number}) for number, params in enumerate(self.starts)]
        there = [{key: t.user_attrs[key] for key in ("first", "start") if key in t.user_attrs} for t in tried]
        self.due = [(params, marks) for params, marks in firsts if marks not in there]
        self._report_progress()

    # ------------------------------------------------------------------ steps of the loop

    def _start_trials(self) -> bool:
        """Give idle workers trials as long as more are wanted; return False if none runs then."""
        while len(self._busy()) < self.settings.workers and self._more_wanted():
            idle = next((w for w in self.workers if w.trial is None), None)
            if idle is None:
                idle = self.start_worker()
                self.workers.append(idle)
            trial = self._next_trial()
            params = self.suggest(trial)
            trial.set_user_attr("params", params)
            idle.start(trial, params, self._seconds_left())
        return bool(self._busy())

    def _next_trial(self) -> optuna.Trial:
        """Return the next trial of the study: one of the first that are due, or one that the sampler proposes.

        What the sampler draws depends on the seed and on how many trials went before, without those that were stopped:
        a study that was killed goes on with the parameters that it would have tried undisturbed.
        """
        import optuna

        waiting = self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.WAITING,))  # left by a kill
        if self.due and not waiting:
            params, marks = self.due.pop(0)
            self.study.enqueue_trial(params, user_attrs=marks)
        before = sum(record.state != "stopped" for record in self.records.values()) + len(self._busy())
        draw = int(digest([self.settings.seed, before])[:8], 16)
        beside = self.settings.workers > 1  # keep away from what the trials that run are trying
        self.study.sampler = optuna.samplers.TPESampler(seed=draw, constant_liar=beside)
        return self.study.ask()

    def _more_wanted(self) -> bool:
        running = len(self._busy())
        if self._counted() + running >= self.settings.n_trials:
            return False
        if self._seconds_left() > 0:
            return True
        waited = any(record.reason == TIME_BUDGET for record in self.records.values())
        return running == 0 and not self._any_complete() and not waited

    def _handle_worker_messages(self) -> None:
        """Handle the messages that workers sent: reported scores, results, errors, deaths."""
        busy = {worker.carrier.pipe: worker for worker in self._busy()}
        for pipe in wait(list(busy), TICK):
            worker = busy[pipe]  # type: ignore[index]
            try:
                kind, *content = worker.carrier.receive()
            except (EOFError, OSError):
                self._finish(worker, "failed", reason=worker.carrier.last_words())
                continue
            if kind == "progress":
                continue
            if kind == "report":
                self._handle_report(worker, *content)
            elif worker.pruned:
                self._finish(worker, "pruned")
            elif kind == "done":
                self._finish_done(worker, *content)
            elif content[1] is WorkEnds:  # it says nothing of these parameters: they are tried again
                self._finish(worker, "stopped", reason=content[0])
                raise WorkEnds(content[0])
            else:
                self._finish(worker, "failed", reason=content[0], error=content[1])

    def _handle_report(self, worker: _TrialWorker, step: int, score: float) -> None:
        """Store a reported score, and answer the worker whether the trial goes on."""
        trial = worker.trial
        assert trial is not None
        trial.report(score, step)
        worker.pruned = step + 1 >= worker.spared and trial.should_prune()
        worker.carrier.send(not worker.pruned)

    def _stop_late_trials(self) -> None:
        """Stop running trials when the time is used up; as long as no trial is complete, wait a while for one of them."""
        late = self._busy()
        if not late or self._seconds_left() > 0:
            return
        overtime = max(LEAST_OVERTIME, (self.settings.seconds or 0.0) / 2)
        if not self._any_complete() and -self._seconds_left() < overtime:
            late.remove(min(late, key=lambda worker: (not worker.is_first, worker.number)))
        _end(late)
        for worker in late:
            self._finish(worker, "stopped", reason=TIME_BUDGET)

    # ------------------------------------------------------------------ the end of a trial

    def _finish_done(self, worker: _TrialWorker, outcome: TrialOutcome) -> None:
        if math.isfinite(outcome.score):
            self._finish(worker, "complete", outcome=outcome)
        else:
            self._finish(worker, "failed", reason=f"the score is {outcome.score}, not a finite number")

    def _finish(
        self,
        worker: _TrialWorker,
        state: State,
        *,
        outcome: TrialOutcome | None = None,
        reason: str = "",
        error: type[Exception] = RuntimeError,
    ) -> None:
        """Record in the storage how a trial ended, and call the callbacks."""
        from optuna.trial import TrialState

        trial = worker.trial
        assert trial is not None
        end = {
            "attributes": outcome.attributes if outcome else {},
            "seconds": round(time.monotonic() - worker.since, 3),
            "reason": reason,
            "stopped": state == "stopped",
        }
        trial.set_user_attr("end", end)
        final_state = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}.get(state, TrialState.FAIL)
        frozen = self.study.tell(trial, outcome.score if outcome else None, state=final_state)
        self._record_seconds()
        worker.trial = None
        worker.n_trials += 1
        if worker.carrier.is_dead() or worker.n_trials >= self.settings.trials_per_process:
            _end([worker])
            self.workers.remove(worker)
        self._add_record(record_of(frozen))
        self._report_progress()
        self.failures = self.failures + 1 if state == "failed" else 0
        if self.failures >= FAILURES_IN_A_ROW:
            raise error(f"study {self.study.study_name}: {self.failures} trials in a row failed; the last: {reason}")

    def _add_record(self, record: TrialRecord) -> None:
        self.records[record.number] = record
        if self.on_trial is not None:
            self.on_trial(record)

    def _report_progress(self) -> None:
        if self.on_progress is not None:
            scores = [record.score for record in self.records.values() if record.score is not None]
            self.told = self._percent_used()
            self.on_progress(self.told, max(scores, default=math.nan))

    # ------------------------------------------------------------------ present state

    def _busy(self) -> list[_TrialWorker]:
        return [worker for worker in self.workers if worker.trial is not None]

    def _counted(self) -> int:
        return sum(record.counts for record in self.records.values())

    def _any_complete(self) -> bool:
        return any(record.state == "complete" for record in self.records.values())

    def _seconds_left(self) -> float:
        if self.settings.seconds is None:
            return math.inf
        return self.settings.seconds - self.spent_before - (time.monotonic() - self.started)

    def _percent_used(self) -> float:
        """Return the percentage of the trials or of the time that is used up, whichever is more."""
        of_time = 0.0 if self.settings.seconds is None else 1 - self._seconds_left() / self.settings.seconds
        return min(100.0, 100 * max(self._counted() / self.settings.n_trials, of_time))

    def _record_seconds(self) -> None:
        self.kept = time.monotonic()
        self.study.set_user_attr("seconds", round(self.spent_before + self.kept - self.started, 3))


def _end(workers: Sequence[_TrialWorker]) -> None:
    end_workers([worker.carrier for worker in workers])


def record_of(trial: optuna.trial.FrozenTrial) -> TrialRecord:
    """Return the record of a trial in the storage; one that failed without a reason was running during a kill."""
    from optuna.trial import TrialState

    states: dict[TrialState, State] = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}
    state = states.get(trial.state, "failed")
    end = trial.user_attrs.get("end", {})
    reason = end.get("reason", "")
    if state == "failed":
        reason = reason or KILLED
        state = "stopped" if end.get("stopped") or reason in (KILLED, TIME_BUDGET) else "failed"
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


def _open_study(name: str, settings: StudySettings) -> optuna.Study:
    """Create or load a study that maximises the score; InputError if its storage cannot be used."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    try:
        storage = open_storage(settings.storage)
        return optuna.create_study(
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
