"""Files that are complete or absent: written beside their final path, then renamed; what stops them is a full disk."""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from snpimpute.base.digests import digest
from snpimpute.base.errors import InputError, WorkEnds

if TYPE_CHECKING:
    import numpy as np

NO_ROOM = (errno.EFBIG, errno.ENOSPC, errno.EDQUOT)
GO_ON = "make room, and run the same command again to go on"


def no_room(error: BaseException) -> str:
    """Return the system's message for a full disk, a full quota or a file too large; empty for any other error.

    Libraries and programs that wrap the system's error, or print it, keep its words: an error is looked at with what
    it came from.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in NO_ROOM:
            return os.strerror(seen.errno)
        text = str(seen)
        if re.fullmatch(r"\d+ requested and \d+ written", text) or "database or disk is full" in text:  # numpy, SQLite
            return os.strerror(errno.ENOSPC)
        if "No usable temporary directory" in text:
            return "no folder for temporary files can be written (TMPDIR names one)"
        if said := next((words for words in map(os.strerror, NO_ROOM) if words in text), ""):
            return said
        seen = seen.__cause__ or seen.__context__
    return ""


def out_of_room(error: BaseException) -> WorkEnds | None:
    """Return the WorkEnds that reports a full disk, a full quota or a file too large; None for any other error."""
    if isinstance(error, WorkEnds):
        return error
    if not (why := no_room(error)):
        return None
    if isinstance(error, InputError):
        return WorkEnds(f"{error}; {GO_ON}" if GO_ON not in str(error) else str(error))
    where = getattr(error, "filename", None)
    return WorkEnds(f"{f'cannot write {where}: ' if where else ''}{why}; {GO_ON}")


def write_text(path: Path, text: str) -> None:
    """Write a text file that is complete or absent: beside its path first, then renamed."""
    with written_beside(path) as beside:
        beside.write_text(text)


def save_array(file: Path | BinaryIO, array: np.ndarray) -> None:
    """Save an array as a .npy file, without pickle; an error of the last write is raised, which `np.save` keeps to itself.

    Args:
        file: path, or a file opened for writing bytes.
        array: the array, of numbers or text.
    """
    from numpy.lib import format as npy

    if isinstance(file, Path):
        with file.open("wb") as opened:
            save_array(opened, array)
        return
    npy.write_array(_Written(file), array, allow_pickle=False)


class _Written:
    """File of which numpy knows `write` alone, so that it does not write past Python, by the C library."""

    def __init__(self, file: BinaryIO) -> None:
        self.write = file.write


def require_writable(folder: Path) -> None:
    """Raise InputError if a folder cannot be made or written.

    Call it before long work, so that hours are not lost at the end.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise InputError(f"cannot write into {folder}: {nearest} is not a folder that can be written")


def require_new(paths: Iterable[Path], force: bool, option: str = "-o") -> None:
    """Raise InputError if one of these files is there already, unless it may be overwritten.

    What an interrupted run leaves stands beside the path, not at it, so that such a run goes on.

    Args:
        paths: of the files.
        force: whether they may be overwritten.
        option: that gives another name, for the message.
    """
    for path in paths:
        if not force and path.exists():
            raise InputError(
                f"{path} is there already, and is not overwritten: give another name with {option}, or --force"
            )


def require_report_folder(folder: Path, names: Sequence[str], force: bool) -> None:
    """Raise InputError if writing a report into a folder would overwrite files that are not of such a report.

    An earlier report is replaced: it is made again from the same files in no time.

    Args:
        folder: the folder, whether it is there or not.
        names: names of the report's files, its page first.
        force: whether any file may be overwritten.
    """
    if not (folder / names[0]).exists():
        require_new([folder / name for name in names], force)


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Give a path beside `path` for a file or folder; rename it to `path` on success, remove it on failure.

    What killed processes of this machine left beside `path` is removed.

    Raises:
        WorkEnds: no room (full disk, full quota, file too large).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_parts(path)
        beside = part_of(path)
        try:
            yield beside
            if path.is_dir():
                shutil.rmtree(path)
            beside.rename(path)
        finally:
            remove(beside)
    except OSError as error:
        if why := no_room(error):
            raise WorkEnds(f"cannot write {path}: {why}; {GO_ON}") from None
        raise


def part_of(path: Path) -> Path:
    """Return the path beside `path` at which this process makes it."""
    return path.with_name(f".{path.name}.{os.getpid()}-{_machine()}.part")


def clear_parts(path: Path) -> None:
    """Remove what processes of this machine that are dead by now left beside `path`; other machines' are not judged."""
    ours = re.compile(rf"\.{re.escape(path.name)}\.(\d+)-{_machine()}\.part(-\w+)?")
    for beside in path.parent.iterdir():
        if (found := ours.fullmatch(beside.name)) and not is_alive(int(found[1])):
            remove(beside)


def remove(path: Path) -> None:
    """Remove a file or folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def is_alive(pid: int) -> bool:
    """Return whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _machine() -> str:
    """Return a few characters that tell this machine from others that share a folder with it."""
    return digest(platform.node())[:6]
