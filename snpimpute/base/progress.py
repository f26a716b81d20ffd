"""What long work tells whoever watches: nobody, somebody who reads warnings only, or somebody at a terminal."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self


class Watch:
    """Keeps quiet but for warnings: for output that goes to a file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to put away."""

    def stage(self, text: str) -> None:
        """A new piece of work begins."""

    def progress(self, done: float, total: float) -> None:
        """So much of the present piece of work is done."""

    def warn(self, text: str) -> None:
        """Something went wrong that does not end the work."""
        print(f"snpimpute: {text}", file=sys.stderr, flush=True)


class TerminalWatch(Watch):
    """A line and a bar with the time left for the piece of work at hand, on standard error."""

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
    """The watch that fits where standard error goes."""
    return TerminalWatch() if sys.stderr.isatty() else Watch()
