"""Watches: receivers of the stages, progress and warnings of long work."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from snpimpute.base.words import lasting

WORTH_SAYING = 60.0  # seconds that a stage must take for the time left to be said


class Watch:
    """Watch that prints warnings only.

    Attributes:
        clock: gives the present time, in seconds since 1970; of whatever measures how long a stage takes.
    """

    clock: Callable[[], float] = staticmethod(time.time)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release nothing: this watch holds no display."""

    def stage(self, text: str, at_most: float | None = None) -> None:
        """Note that a new stage of the work begins, which ends after `at_most` seconds; None = when all is done."""

    def note(self, text: str) -> None:
        """Tell what was found or chosen, or how long something takes."""

    def progress(self, done: float, total: float) -> None:
        """Note how much of the current stage is done."""

    def warn(self, text: str) -> None:
        """Report a problem that does not end the work, on standard error."""
        print(f"snpimpute: {text}", file=sys.stderr, flush=True)


class NotingWatch(Watch):
    """Watch of one of several pieces of work that go on at the same time: it notes stages, and shows no progress.

    Args:
        watch: receives notes and warnings.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def stage(self, text: str, at_most: float | None = None) -> None:
        self._watch.note(text)

    def note(self, text: str) -> None:
        self._watch.note(text)

    def warn(self, text: str) -> None:
        self._watch.warn(text)


class LineWatch(Watch):
    """Watch for output that goes to a file: a line on standard error, with the time of day, for each stage.

    A stage that takes long has further lines, with the time that is left if it goes on as it did so far. The first comes as
    soon as a piece of it is done, another when half of that time has passed, and so on.

    The line of the first stage, with the time when it began, is written once something follows: the work begins by looking at
    what it was given, and bad input is one line.
    """

    def __init__(self) -> None:
        self._unsaid: str | None = None
        self._first = True
        self._stage = ""
        self._at_most: float | None = None
        self._started = self._due = 0.0
        self._done_before: float | None = None  # of the stage, when its pieces began to be counted
        self._counted_from = 0.0  # when that was

    def stage(self, text: str, at_most: float | None = None) -> None:
        self._stage, self._at_most, self._done_before = text, at_most, None
        self._started = self._due = self.clock()
        line = self._line(text if at_most is None else f"{text}: {lasting(at_most)} at most")
        if self._first:
            self._unsaid, self._first = line, False
        else:
            self._say(line)

    def progress(self, done: float, total: float) -> None:
        now = self.clock()
        if self._done_before is None or done < self._done_before:
            self._done_before, self._counted_from = done, now
        if done <= self._done_before or done >= total or now < self._due:
            return
        passed = now - self._started
        # what comes before the first piece, such as the fit before scenarios are imputed, is no measure of a piece
        left = (now - self._counted_from) / (done - self._done_before) * (total - done)
        if self._at_most is not None:
            left = min(left, max(0.0, self._at_most - passed))
        if passed + left >= WORTH_SAYING:
            self.note(f"{self._stage}: {done:g} of {total:g}, about {lasting(left)} left")
        self._due = now + max(left / 2, WORTH_SAYING / 2)

    def note(self, text: str) -> None:
        self._say(self._line(text))

    def warn(self, text: str) -> None:
        self._say(f"snpimpute: {text}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._say()

    def _line(self, text: str) -> str:
        return f"{time.strftime('%H:%M:%S', time.localtime(self.clock()))} {text}"

    def _say(self, *lines: str) -> None:
        """Write lines, after that of the first stage if it was not written yet."""
        for line in ([] if self._unsaid is None else [self._unsaid]) + list(lines):
            print(line, file=sys.stderr, flush=True)
        self._unsaid = None


class TerminalWatch(Watch):
    """Watch that shows the current stage on standard error: a line, a progress bar and the time left."""

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self._bar: Any = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed:g}/{task.total:g}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task: Any = None
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        self._bar.stop()

    def _close(self) -> None:
        """Fill the bar of the current stage and stop its clock."""
        if self._task is not None:
            total = self._bar.tasks[-1].total
            self._bar.update(self._task, completed=total, total=total or 1)
            self._bar.stop_task(self._task)

    def stage(self, text: str, at_most: float | None = None) -> None:
        self._close()
        self._task = self._bar.add_task(text, total=1)

    def progress(self, done: float, total: float) -> None:
        if self._task is not None:
            self._bar.update(self._task, completed=done, total=total)

    def note(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False)

    def warn(self, text: str) -> None:
        self._bar.console.print(f"snpimpute: {text}", markup=False)


def watch() -> Watch:
    """Return the watch that suits standard error: with bars on a terminal, else with lines."""
    return TerminalWatch() if sys.stderr.isatty() else LineWatch()
