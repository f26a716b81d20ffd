"""Files that are complete or absent: written beside their final path, then renamed."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from snpimpute.base.errors import InputError

NO_ROOM = (errno.EFBIG, errno.ENOSPC, errno.EDQUOT)


def no_room(error: OSError) -> str:
    """Return the system's message for a full disk, a full quota or a file too large; empty for any other error."""
    if error.errno is None and re.fullmatch(r"\d+ requested and \d+ written", str(error)):  # numpy sets no errno
        return os.strerror(errno.ENOSPC)
    return os.strerror(error.errno) if error.errno in NO_ROOM else ""


def write_text(path: Path, text: str) -> None:
    """Write a text file that is complete or absent: beside its path first, then renamed."""
    with written_beside(path) as beside:
        beside.write_text(text)


def require_writable(folder: Path) -> None:
    """Raise InputError if a folder cannot be made or written.

    Call it before long work, so that hours are not lost at the end.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise InputError(f"cannot write into {folder}: {nearest} is not a folder that can be written")


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Give a path beside `path` for a file or folder; rename it to `path` on success, remove it on failure.

    Raises:
        InputError: no room (full disk, full quota, file too large).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield beside
        if path.is_dir():
            shutil.rmtree(path)
        beside.rename(path)
    except OSError as error:
        if why := no_room(error):
            raise InputError(f"cannot write {path}: {why}; make room, or choose another folder") from None
        raise
    finally:
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
        else:
            beside.unlink(missing_ok=True)
