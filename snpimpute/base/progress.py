"""Watches: receivers of the stages, progress and warnings of long work."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self


class Watch:
    """Watch that prints warnings only, for output that goes to a file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release nothing: this watch holds no display."""

    def stage(self, text: str) -> None:
        """Note that a new stage of the work begins."""

    def progress(self, done: float, total: float) -> None:
        """Note how much of the current stage is done."""

    def warn(self, text: str) -> None:
        """Report a problem that does not end the work, on standard error."""
        print(f"snpimpute: {text}", file=sys.stderr, flush=True)


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

    def stage(self, text: str) -> None:
        self._close()
        self._task = self._bar.add_task(text, total=1)

    def progress(self, done: float, total: float) -> None:
        if self._task is not None:
            self._bar.update(self._task, completed=done, total=total)

    def warn(self, text: str) -> None:
        self._bar.console.print(f"snpimpute: {text}", markup=False)


def watch() -> Watch:
    """Return the watch that suits standard error: with bars on a terminal, else with warnings only."""
    return TerminalWatch() if sys.stderr.isatty() else Watch()
