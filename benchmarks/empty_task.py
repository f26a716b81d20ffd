"""Empty task of the benchmark of a cluster, in a file of its own that its process imports at no cost."""

from __future__ import annotations

from pathlib import Path

from snpimpute.base.processes import say_progress


def nothing(home: Path, numbers: list[int]) -> None:
    """Make an empty file for each number."""
    (home / "made").mkdir(exist_ok=True)
    for number in numbers:
        (home / "made" / str(number)).write_text("")
        say_progress(1, 1)
