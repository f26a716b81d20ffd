"""Report of a trial, which goes to its worker."""

from __future__ import annotations

import time

from snpimpute.base.processes import report_score


class TrialReport:
    """Report of a trial, which its worker calls: it passes scores to the study, and knows when the study's time is used up.

    Its clock starts where it is received, in the worker: clocks of two processes need not agree.

    Args:
        seconds: time that the study had left when the trial was sent.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends = time.monotonic() + seconds

    def __reduce__(self) -> tuple[type[TrialReport], tuple[float]]:
        return TrialReport, (self.seconds,)

    def __call__(self, step: int, score: float) -> None:
        """Pass on a score; see `base.processes.report_score`."""
        report_score(step, score)

    @property
    def late(self) -> bool:
        """True once the study's time is used up."""
        return time.monotonic() >= self._ends
