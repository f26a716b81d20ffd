"""Parts of a comparison, kept as soon as they are made, so that one that was stopped goes on where it was."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from snpimpute.base.alone import made_alone
from snpimpute.base.digests import digest
from snpimpute.base.files import remove, written_beside
from snpimpute.base.progress import Watch
from snpimpute.traits.measures import PerTrait


class Keep(Protocol):
    """Function that returns the part of a name, and makes it where there is none."""

    def __call__(self, *name: object, make: Callable[[], list[PerTrait]]) -> list[PerTrait]:
        """Return the part `name`, numbers and words that tell it from the others."""
        ...


def unkept(*_name: object, make: Callable[[], list[PerTrait]]) -> list[PerTrait]:
    """Make a part, and keep nothing."""
    return make()


class Parts:
    """Folder of parts, made with the first of them; one process at a time has it.

    As a context it is removed at the end, and stays where an error or a signal ends it.

    Args:
        folder: its name is a digest of all that decides the parts: data, settings and code.
        watch: receives the notices that parts are taken up, or that another process is waited for.
    """

    def __init__(self, folder: Path, watch: Watch) -> None:
        self._folder, self._watch = folder, watch
        self._held = ExitStack()
        self._is_held = False
        self._threads = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the folder, if all went well; let other processes have it."""
        if kind is None and self._is_held:
            remove(self._folder)
        self._held.close()

    def keep(self, *name: object, make: Callable[[], list[PerTrait]]) -> list[PerTrait]:
        """Return the part `name` as it was made, in this process or an earlier one; see Keep."""
        if not self._is_held:
            self._hold()
        path = self._folder / f"{digest([name, self._threads])[:24]}.npz"
        if not path.exists():
            _save(path, make())
        return _load(path)

    def _hold(self) -> None:
        from threadpoolctl import threadpool_info

        self._held.enter_context(made_alone(self._folder, self._watch))
        self._is_held = True
        # sums by another number of threads differ in the last digits
        self._threads = max(
            (found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"), default=1
        )
        if self._folder.is_dir():
            self._watch.note("what is done of this comparison is taken up")


def _save(path: Path, part: list[PerTrait]) -> None:
    """Write a part, complete or not at all."""
    arrays = {
        f"{number}/{measure}": np.stack(pair)
        for number, measures in enumerate(part)
        for measure, pair in measures.items()
    }
    with written_beside(path) as beside, beside.open("wb") as handle:
        np.savez(handle, allow_pickle=False, n=np.array(len(part)), **arrays)


def _load(path: Path) -> list[PerTrait]:
    """Read what `_save` wrote."""
    with np.load(path, allow_pickle=False) as archive:
        part: list[PerTrait] = [{} for _ in range(int(archive["n"]))]
        for key in archive.files:
            number, _, measure = key.partition("/")
            if measure:
                top, bottom = archive[key]
                part[int(number)][measure] = (top, bottom)
    return part
