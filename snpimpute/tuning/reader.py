"""Reads Optuna studies, finished or running, and changes nothing in them."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snpimpute.base.errors import InputError
from snpimpute.tuning.storage import storage_error
from snpimpute.tuning.study import KEEP_SECONDS_EVERY, record_of

if TYPE_CHECKING:
    import optuna

SILENT = 6 * KEEP_SECONDS_EVERY  # seconds without a word after which a journal's study is taken to be dead
NAME = re.compile(r"(?P<dataset>.+)-(?P<digest>[0-9a-f]{12})-(?P<imputer>[^-]+)-(?P<variant>.+)-[0-9a-f]{8}")


@dataclass(frozen=True)
class SeenTrial:
    """A trial as the storage has it.

    Attributes:
        number: counted from 0 within the study.
        state: "complete", "pruned", "failed", "stopped" (by the time budget or a kill) or "running".
        score: validation macro-F1 of a complete trial, else None.
        suggested: the parameters that the study looks for, as they were in this trial.
        intermediate: step (epoch) → validation macro-F1 as reported.
        seconds: wall time that it took, or has taken so far.
        spent: seconds that the study had spent computing when it ended, pauses left out; now, if it runs.
        reason: why it failed or was stopped, in one line, else empty.
    """

    number: int
    state: str
    score: float | None
    suggested: dict[str, Any]
    intermediate: dict[int, float]
    seconds: float
    spent: float
    reason: str


@dataclass(frozen=True)
class SeenStudy:
    """A study as the storage has it.

    Attributes:
        name: of the study.
        dataset, digest, imputer, variant: what is studied, as the name says; `digest` has 12 digits. Empty if it does not.
        trials: those that ended or run, by number.
        n_trials: trials that count wanted, or None if the study does not say.
        seconds_allowed: time that it may spend, or None for no limit or if it does not say.
        seconds: time spent so far.
        last_word: when it last said something (seconds since 1970); inf while a trial runs in a database, which does not tell;
            -inf if it never did.
    """

    name: str
    dataset: str
    digest: str
    imputer: str
    variant: str
    trials: list[SeenTrial]
    n_trials: int | None
    seconds_allowed: float | None
    seconds: float
    last_word: float

    @property
    def counted(self) -> int:
        return sum(trial.state in ("complete", "pruned") for trial in self.trials)

    @property
    def best(self) -> SeenTrial | None:
        complete = [trial for trial in self.trials if trial.score is not None]
        return max(complete, key=lambda trial: (trial.score, -trial.number), default=None)

    @property
    def seconds_left(self) -> float | None:
        """Until its trials or its time are used up, if trials go on to take as long as they took; None if nobody can say."""
        limits = []
        if self.n_trials is not None and self.counted:
            limits.append(self.seconds / self.counted * max(self.n_trials - self.counted, 0))
        if self.seconds_allowed is not None:
            limits.append(max(self.seconds_allowed - self.seconds, 0.0))
        return min(limits, default=None)

    @property
    def alive(self) -> bool:
        """Whether a process is at work on it, as far as can be seen: it spoke within the last minute, and a trial runs or is
        still wanted (between two trials none runs)."""
        runs = any(trial.state == "running" for trial in self.trials)
        return (runs or self._wants_more) and time.time() - self.last_word < SILENT

    @property
    def _wants_more(self) -> bool:
        """Whether it says how far it goes, and is not there yet."""
        says = self.n_trials is not None or self.seconds_allowed is not None
        has_trials = self.n_trials is not None and self.counted >= self.n_trials
        has_time = self.seconds_allowed is not None and self.seconds >= self.seconds_allowed
        return says and not has_trials and not has_time


def journals(runs: Path) -> list[Path]:
    """The journals that are kept in a folder of runs, the one written last first."""
    return sorted((runs / "studies").glob("*.journal"), key=lambda path: -path.stat().st_mtime)


def names_in(database: str) -> list[str]:
    """Names of the studies in a database (a URL as Optuna takes it); InputError if it cannot be read."""
    import optuna

    return sorted(_reading(database, lambda: optuna.get_all_study_names(_storage(database))))


def read_study(storage: str, name: str) -> SeenStudy:
    """A study as it stands.

    Args:
        storage: path of a journal file, or a database URL as Optuna takes it.
        name: of the study.

    Raises:
        InputError: there is no such study, or the storage cannot be read.
    """
    study = _load(storage, name)
    trials = _reading(storage, lambda: study.get_trials(deepcopy=False))
    attributes = study.user_attrs
    parts = NAME.fullmatch(name)
    budget = attributes.get("budget", {})
    return SeenStudy(
        name=name,
        **(parts.groupdict() if parts else dict.fromkeys(("dataset", "digest", "imputer", "variant"), "")),
        trials=_seen(trials),
        n_trials=budget.get("trials"),
        seconds_allowed=budget.get("seconds"),
        seconds=float(attributes.get("seconds", 0.0)),
        last_word=_last_word(storage, trials),
    )


def warm_up() -> None:
    """Load what importances need: that takes seconds, which a page should not wait for."""
    from optuna.importance import FanovaImportanceEvaluator

    FanovaImportanceEvaluator(seed=1)


def importances(storage: str, name: str) -> dict[str, float]:
    """How much of the variance of the score each parameter explains, largest first, by functional ANOVA (Hutter et al. 2014).

    The shares sum to 1. Empty where fewer than four trials are complete, or all of them have the same score.

    Args:
        storage, name: as in `read_study`.
    """
    import optuna
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    study = _load(storage, name)
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(complete) < 4 or len({trial.value for trial in complete}) == 1:
        return {}
    return dict(get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=1)))


def _last_word(storage: str, trials: list[optuna.trial.FrozenTrial]) -> float:
    """When a study last said something; a database does not tell what a trial that runs said."""
    if "://" not in storage:
        return Path(storage).stat().st_mtime
    if any(trial.state.name == "RUNNING" for trial in trials):
        return math.inf
    return max((t.datetime_complete.timestamp() for t in trials if t.datetime_complete), default=-math.inf)


def _seen(trials: list[optuna.trial.FrozenTrial]) -> list[SeenTrial]:
    now = datetime.now()
    spans = {t.number: (t.datetime_start, t.datetime_complete or now) for t in trials if t.datetime_start}
    seen = []
    for trial in trials:
        if trial.number not in spans:  # queued
            continue
        start, end = spans[trial.number]
        running = trial.state.name == "RUNNING"
        record = None if running else record_of(trial)
        seen.append(
            SeenTrial(
                number=trial.number,
                state="running" if record is None else record.state,
                score=None if record is None else record.score,
                suggested=dict(trial.params),
                intermediate=dict(trial.intermediate_values),
                seconds=(end - start).total_seconds() if record is None else record.seconds,
                spent=_covered([(a, min(b, end)) for a, b in spans.values() if a < end]),
                reason="" if record is None else record.reason,
            )
        )
    return seen


def _covered(spans: list[tuple[datetime, datetime]]) -> float:
    """Seconds that lie in at least one of the spans."""
    total, reached = 0.0, datetime.min
    for start, end in sorted(spans):
        total += max((end - max(start, reached)).total_seconds(), 0.0)
        reached = max(reached, end)
    return total


def _load(storage: str, name: str) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        return _reading(storage, lambda: optuna.load_study(study_name=name, storage=_storage(storage)))
    except KeyError:
        raise InputError(f"there is no study {name} in {storage}") from None


def _storage(storage: str) -> Any:
    """Optuna's storage, of which nothing is made that is not there."""
    if "://" in storage:
        from optuna.storages import RDBStorage

        return RDBStorage(storage, skip_table_creation=True)
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    if not Path(storage).exists():
        raise FileNotFoundError(2, "there is no such file", storage)
    return JournalStorage(JournalFileBackend(storage))


def _reading(storage: str, read: Any) -> Any:
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return read()
    except (SQLAlchemyError, OptunaError, ImportError, OSError, ValueError, TypeError) as error:
        raise storage_error(storage, error) from None
