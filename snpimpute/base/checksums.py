"""Table of the checksums of all files in a folder: written when they are complete, compared before they are used."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

from snpimpute.base.digests import file_digest
from snpimpute.base.errors import InputError
from snpimpute.base.files import write_text

TABLE = "SHA256SUMS"  # in the form of `sha256sum`, which can check it too
MEND = "fit it again, or remove the folder and fetch it anew"


def write_checksums(folder: Path) -> None:
    """Write the table of all files in a folder, in place of an earlier one."""
    lines = [f"{file_digest(folder / name)}  {name}\n" for name in sorted(_files(folder))]
    write_text(folder / TABLE, "".join(lines))


def require_checksums(folder: Path) -> None:
    """Refuse a folder whose files are not those of its table.

    Raises:
        InputError: there is no table or it is empty or damaged, or a file was changed, removed or added, or is a link
            (names the first).
    """
    listed = _listed(folder)
    there = _files(folder)
    for name, checksum in listed.items():
        if name not in there:
            raise InputError(f"{folder / name} is missing: {MEND}")
        if file_digest(folder / name) != checksum:
            raise InputError(f"{folder / name} is not as it was when the model was fitted: {MEND}")
    if added := sorted(there - set(listed)):
        raise InputError(f"{_shown(folder / added[0])} was added after the model was fitted: remove it, or {MEND}")


def _listed(folder: Path) -> dict[str, str]:
    """Return the table as a mapping of file → checksum; InputError if it is missing, empty or damaged."""
    table = folder / TABLE
    try:
        lines = table.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        raise InputError(
            f"{folder} has no table of checksums ({TABLE}), or none that can be read: it is not a complete model of this "
            f"version; {MEND}"
        ) from None
    listed = {}
    for line in lines:
        entry = re.fullmatch(r"([0-9a-f]{64})  (.+)", line)
        if entry is None:
            raise InputError(f"{table}: {_shown(line[:80])} is not a line of checksums: {MEND}")
        name = PurePosixPath(entry[2])
        if name.is_absolute() or ".." in name.parts:
            raise InputError(f"{table} names {_shown(entry[2])}, which is not in the folder: do not use this model")
        listed[entry[2]] = entry[1]
    if not listed:
        raise InputError(f"{table} is empty: {MEND}")
    return listed


def _files(folder: Path) -> set[str]:
    """Return the names of all files in a folder and the folders within, without the table; InputError for a link."""
    found = set()
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place) / name
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise InputError(f"{_shown(path)} is a link or no file: a model's folder has files and folders only")
        found |= {(Path(place) / name).relative_to(folder).as_posix() for name in files}
    return found - {TABLE}


def _shown(name: object) -> str:
    """Return a name for a message of one line; characters that cannot be printed are escaped."""
    text = str(name)
    return text if text.isprintable() else ascii(text)
