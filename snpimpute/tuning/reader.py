"""Read-only access to Optuna studies, finished or running."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snpimpute.base.errors import InputError
from snpimpute.tuning.names import StudyName
from snpimpute.tuning.storage import storage_error
from snpimpute.tuning.study import KEEP_SECONDS_EVERY, record_of

if TYPE_CHECKING:
    import optuna

SILENT_SECONDS = 6 * KEEP_SECONDS_EVERY  # seconds without an update after which a study in a journal counts as dead


@dataclass(frozen=True)
class SeenTrial:
    """A trial as the storage has it.

    Attributes:
        number: counted from 0 within the study.
        state: "complete", "pruned", "failed", "stopped" (by the time budget or a kill) or "running".
        score: validation macro-F1 of a complete trial, else None.
        suggested: values of the tuned parameters in this trial.
        intermediate: step (epoch) → reported validation macro-F1.
        seconds: wall time of the trial; so far, if it runs.
        spent: seconds that the study had computed when the trial ended (until now, if it runs), without pauses.
        reason: why the trial failed or was stopped, in one line, else empty.
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
        name: name of the study.
        dataset, digest, imputer, variant: parts of the name; `digest` has 12 digits. Empty if the name has no such parts.
        trials: trials that ended or run, by number.
        n_trials: wanted number of trials that count, or None if the study does not record it.
        seconds_allowed: time budget in seconds, or None for no limit or if the study does not record it.
        seconds: seconds spent so far.
        last_word: time of the last update (seconds since 1970); inf while a trial runs in a database, which does not
            record it; -inf if there was none.
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
        """Number of trials that count: complete or pruned."""
        return sum(trial.state in ("complete", "pruned") for trial in self.trials)

    @property
    def best(self) -> SeenTrial | None:
        """Complete trial with the highest score, the earliest of equals; None if none is complete."""
        complete = [trial for trial in self.trials if trial.score is not None]
        return max(complete, key=lambda trial: (trial.score, -trial.number), default=None)

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds until the trials or the time are used up.

        Assumes that further trials take as long as those so far. None if there is no limit, or nothing to estimate from.
        """
        limits = []
        if self.n_trials is not None and self.counted:
            limits.append(self.seconds / self.counted * max(self.n_trials - self.counted, 0))
        if self.seconds_allowed is not None:
            limits.append(max(self.seconds_allowed - self.seconds, 0.0))
        return min(limits, default=None)

    @property
    def alive(self) -> bool:
        """True if a process seems to work on the study.

        The study was updated within the last minute, and a trial runs or is still wanted (between two trials none runs).
        """
        runs = any(trial.state == "running" for trial in self.trials)
        return (runs or self._wants_more) and time.time() - self.last_word < SILENT_SECONDS

    @property
    def _wants_more(self) -> bool:
        """True if the study records a budget and has not used it up."""
        has_budget = self.n_trials is not None or self.seconds_allowed is not None
        trials_done = self.n_trials is not None and self.counted >= self.n_trials
        time_used = self.seconds_allowed is not None and self.seconds >= self.seconds_allowed
        return has_budget and not trials_done and not time_used


def journals(runs: Path) -> list[Path]:
    """Return the journal files in a folder of runs, the last written first."""
    return sorted((runs / "studies").glob("*.journal"), key=lambda path: -path.stat().st_mtime)


def names_in(database: str) -> list[str]:
    """Return the names of the studies in a database, sorted.

    Args:
        database: a URL as Optuna takes it.

    Raises:
        InputError: the database cannot be read.
    """
    import optuna

    return sorted(_with_storage_errors(database, lambda: optuna.get_all_study_names(_open_existing_storage(database))))


def read_study(storage: str, name: str) -> SeenStudy:
    """Read a study in its present state.

    Args:
        storage: path of a journal file, or a database URL as Optuna takes it.
        name: name of the study.

    Raises:
        InputError: there is no such study, or the storage cannot be read.
    """
    study = _load_study(storage, name)
    trials = _with_storage_errors(storage, lambda: study.get_trials(deepcopy=False))
    attributes = study.user_attrs
    parts = StudyName.parse(name)
    budget = attributes.get("budget", {})
    return SeenStudy(
        name=name,
        dataset=parts.dataset,
        digest=parts.digest,
        imputer=parts.imputer,
        variant=parts.variant,
        trials=_seen_trials(trials),
        n_trials=budget.get("trials"),
        seconds_allowed=budget.get("seconds"),
        seconds=float(attributes.get("seconds", 0.0)),
        last_word=_last_word(storage, trials),
    )


def warm_up() -> None:
    """Load the packages that `importances` needs: this takes seconds, and a page should not wait for it."""
    from optuna.importance import FanovaImportanceEvaluator

    FanovaImportanceEvaluator(seed=1)


def importances(storage: str, name: str) -> dict[str, float]:
    """Return the share of the score's variance that each parameter explains, largest first.

    By functional ANOVA (Hutter et al. 2014). The shares sum to 1. Empty if fewer than four trials are complete, or all
    of them have the same score.

    Args:
        storage, name: as in `read_study`.
    """
    import optuna
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    study = _load_study(storage, name)
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(complete) < 4 or len({trial.value for trial in complete}) == 1:
        return {}
    return dict(get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=1)))


def _last_word(storage: str, trials: list[optuna.trial.FrozenTrial]) -> float:
    """Return the time of a study's last update; inf if a trial runs in a database, which does not record it."""
    if "://" not in storage:
        return Path(storage).stat().st_mtime
    if any(trial.state.name == "RUNNING" for trial in trials):
        return math.inf
    return max((t.datetime_complete.timestamp() for t in trials if t.datetime_complete), default=-math.inf)


def _seen_trials(trials: list[optuna.trial.FrozenTrial]) -> list[SeenTrial]:
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
    """Return the seconds that lie in at least one of the spans."""
    total, reached = 0.0, datetime.min
    for start, end in sorted(spans):
        total += max((end - max(start, reached)).total_seconds(), 0.0)
        reached = max(reached, end)
    return total


def _load_study(storage: str, name: str) -> optuna.Study:
    """Load a study without creating anything; InputError if it is not there or the storage cannot be read."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        return _with_storage_errors(
            storage, lambda: optuna.load_study(study_name=name, storage=_open_existing_storage(storage))
        )
    except KeyError:
        raise InputError(f"there is no study {name} in {storage}") from None


def _open_existing_storage(storage: str) -> Any:
    """Open Optuna's storage; create neither a file nor tables."""
    if "://" in storage:
        from optuna.storages import RDBStorage

        return RDBStorage(storage, skip_table_creation=True)
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    if not Path(storage).exists():
        raise FileNotFoundError(2, "there is no such file", storage)
    return JournalStorage(JournalFileBackend(storage))


def _with_storage_errors(storage: str, read: Any) -> Any:
    """Call `read`; turn the errors of a storage into InputError."""
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return read()
    except (SQLAlchemyError, OptunaError, ImportError, OSError, ValueError, TypeError) as error:
        raise storage_error(storage, error) from None
