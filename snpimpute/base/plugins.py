"""Modules that other packages add by entry points."""

from __future__ import annotations

import functools
import sys
from importlib.metadata import EntryPoint, entry_points


def entry_points_of(group: str) -> list[EntryPoint]:
    """Return the entry points of a group that the installed packages have, one for each name."""
    return _found_along(tuple(sys.path), group)


@functools.cache
def _found_along(path: tuple[str, ...], group: str) -> list[EntryPoint]:
    """Return the entry points along a path; looking through some hundred packages takes as long as importing a small one."""
    return list(entry_points(group=group))
