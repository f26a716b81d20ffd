"""Folders among the arguments of a call: what the call reads there and makes there, so that it can run on a copy elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EVERYTHING = "."  # name of the part that is a whole folder
_copies: dict[Path, Path] = {}  # in a process that works on copies: file → its copy


@dataclass(frozen=True)
class Part:
    """File of a folder, or folder in it with all that it holds; of a file perhaps the bytes from `start` to `stop` alone."""

    name: str
    start: int = 0
    stop: int | None = None


@dataclass(frozen=True)
class Folder:
    """Folder that a call is given as an argument.

    In a process of this machine the call gets the folder itself. Elsewhere it gets a copy, and what it makes comes back.

    Attributes:
        path: the folder.
        reads: what the call reads there; what is not there is left out. Of a part with `start` and `stop` the copy has the file at
            its full length, with holes around the part.
        makes: names of the files and folders that the call makes there; those that it does not make are left out.
        files: files that the call finds by their own path, see `copy_of`.
    """

    path: Path
    reads: tuple[Part, ...] = ()
    makes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


def whole(path: Path) -> Folder:
    """Return a folder of which a call reads everything."""
    return Folder(path, (Part(EVERYTHING),))


def with_folders(
    place: Callable[[Any], Any],
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    kind: type = Folder,
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """Return a call with `place(folder)` for each folder among its arguments, those of a partial included.

    Args:
        place: returns what stands in the place of a folder.
        function, args, kwargs: the call.
        kind: class of the folders.
    """

    def placed(value: Any) -> Any:
        return place(value) if isinstance(value, kind) else value

    if isinstance(function, functools.partial):
        own = {name: placed(value) for name, value in function.keywords.items()}
        function = functools.partial(function.func, *map(placed, function.args), **own)
    return function, tuple(map(placed, args)), {name: placed(value) for name, value in kwargs.items()}


def use_copies(copies: dict[Path, Path]) -> None:
    """Let `copy_of` give these copies in this process."""
    _copies.update(copies)


def copy_of(path: Path) -> Path:
    """Return the copy of a file that this process works on; the file itself where there is none."""
    return _copies.get(path, path)
