"""Files and folders in an object store: fetched before they are read, and sent once they are written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from snpimpute.base.alone import work_folder
from snpimpute.base.digests import digest
from snpimpute.base.errors import InputError
from snpimpute.base.files import require_report_folder, require_writable, written_beside
from snpimpute.base.stores import file_system, store_errors
from snpimpute.io.stream import files_of
from snpimpute.io.vcz import is_vcz

STORES = re.compile(r"(s3|gs|az|abfs):/+(.+)")  # a Path of a URL has one slash only
INDEXES = (".tbi", ".csi")  # what the names of indexes add to a file's
CONTENT = ("ETag", "etag", "md5Hash", "generation")  # what stores say of an object's content or version
TIMES = ("mtime", "created", "LastModified", "last_modified")  # where they say nothing of its content


def url_of(path: Path | str) -> str | None:
    """Return the URL of what lies in an object store; None for a path."""
    found = STORES.fullmatch(str(path))
    return f"{found[1]}://{found[2]}" if found else None


def fetched(path: Path, runs: Path) -> Path:
    """Return the path of a file or folder here; what lies in an object store is fetched, once for each content of it.

    Args:
        path: path or URL. Of a genotype file its index and the other files of its set are fetched too.
        runs: folder of all results, in which it is kept.

    Raises:
        InputError: it is not there, the store does not let us read it, or it is written while it is fetched.
    """
    url = url_of(path)
    if url is None:
        return path
    system, at = file_system(url, f"reading {url}")
    name = at.rstrip("/").rpartition("/")[2]
    with store_errors(f"cannot read {url}"):
        wanted = _objects(system, at, name)
        if not wanted:
            raise InputError(f"{url} is not there: look at its name, and at the store's address and keys")
        before = {each: _mark(system, each) for each in wanted}
        folder = runs / "fetched" / digest(list(before.items()))[:16]
        if not folder.exists():
            with written_beside(folder) as beside:
                for each, to in wanted.items():
                    (beside / to).parent.mkdir(parents=True, exist_ok=True)
                    system.get_file(each, str(beside / to))
                for each, to in wanted.items():
                    _require_same(url, before[each], _mark(system, each), (beside / to).stat().st_size)
    return folder / name


def _objects(system: Any, at: str, name: str) -> dict[str, str]:
    """Return the objects of a file or folder, each with its name here; none if there is nothing."""
    try:
        is_file = system.info(at)["type"] == "file"
    except FileNotFoundError:
        return {}
    if is_file:
        return {at: name} | {each: each.rpartition("/")[2] for each in _others(at) if system.isfile(each)}
    return {each: f"{name}/{each[len(at.rstrip('/')) + 1 :]}" for each in system.find(at)}


def _mark(system: Any, at: str) -> list[str]:
    """Return what tells an object's content from another: its size first, then what the store says of it."""
    about = system.info(at)
    said = [str(about[key]) for key in CONTENT if about.get(key)]
    return [str(about.get("size")), *(said or [str(about[key]) for key in TIMES if about.get(key)])]


def _require_same(url: str, before: list[str], after: list[str], size: int) -> None:
    if before != after:
        raise InputError(f"{url} was changed while it was fetched: run the command again once it is written")
    if before[0] not in (str(size), "None"):
        raise InputError(f"{url} came incomplete ({size:,} of {int(before[0]):,} bytes): run the command again")


@contextmanager
def sent(path: Path | None, force: bool) -> Iterator[Path | None]:
    """Give the path to write a file at; what is to lie in an object store is sent there on success, with what is beside it.

    Args:
        path: path or URL; None = standard output.
        force: whether an object that is there already is overwritten.

    Raises:
        InputError: it is there already, or the store does not let us write it, which is tried before.
    """
    url = None if path is None else url_of(path)
    if url is None:
        yield path
        return
    system, at = file_system(url, f"writing {url}")
    prefix, _, name = at.rpartition("/")
    with store_errors(f"cannot write {url}"):
        if not force and system.exists(at):
            raise InputError(f"{url} is there already, and is not overwritten: give another name with -o, or --force")
        _try_to_write(system, prefix, name)
    with work_folder("sent") as folder:
        yield folder / name
        with store_errors(f"cannot write {url}"):
            if is_vcz(folder / name) and system.isdir(at):  # chunks of the store there would be taken for this one's
                system.rm(at, recursive=True)
            _send(system, folder, prefix, last=name)


@contextmanager
def sent_report(folder: Path, names: Sequence[str], force: bool) -> Iterator[Path]:
    """Give the folder to write a report into; one that is to lie in an object store is sent there on success.

    Args:
        folder: path or URL.
        names: names of the report's files, its page first; an earlier report is replaced.
        force: whether other files of these names are overwritten.

    Raises:
        InputError: other files are there, or the folder or store cannot be written, which is tried before.
    """
    url = url_of(folder)
    if url is None:
        require_writable(folder)
        require_report_folder(folder, names, force)
        yield folder
        return
    system, at = file_system(url, f"writing {url}")
    at = at.rstrip("/")
    with store_errors(f"cannot write {url}"):
        there = [] if force or system.exists(f"{at}/{names[0]}") else [n for n in names if system.exists(f"{at}/{n}")]
        if there:
            raise InputError(
                f"{url}/{there[0]} is there already, and is not overwritten: give another name with -o, or --force"
            )
        _try_to_write(system, at, names[0])
    with work_folder("sent") as here:
        yield here
        with store_errors(f"cannot write {url}"):
            _send(system, here, at, last=names[0])


def _try_to_write(system: Any, prefix: str, name: str) -> None:
    """Write an empty object beside a name and remove it: keys that may not write are told of before hours of work."""
    beside = f"{prefix}/.{name}.part"
    system.pipe_file(beside, b"")
    with suppress(Exception):  # keys that may write, and not remove, are enough
        system.rm_file(beside)


def _send(system: Any, folder: Path, prefix: str, last: str) -> None:
    """Put the files of a folder under a prefix; the file or folder `last` in the end, as whoever sees it expects the others."""
    files = [(file.relative_to(folder).as_posix(), file) for file in folder.rglob("*") if file.is_file()]
    for within, file in sorted(files, key=lambda each: (each[0].partition("/")[0] == last, each[0])):
        system.put_file(str(file), f"{prefix}/{within}")


def _others(at: str) -> list[str]:
    """Return what may lie beside a file and belongs to it."""
    return [*(at + suffix for suffix in INDEXES), *(str(file) for file in files_of(Path(at))[1:])]
