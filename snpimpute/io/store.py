"""Files and folders in an object store: fetched before they are read, and sent once they are written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from snpimpute.base.alone import work_folder
from snpimpute.base.digests import digest
from snpimpute.base.errors import InputError
from snpimpute.base.extras import require_package
from snpimpute.base.files import written_beside
from snpimpute.io.stream import files_of
from snpimpute.io.vcz import is_vcz

STORES = re.compile(r"(s3|gs|az|abfs):/+(.+)")  # a Path of a URL has one slash only
INDEXES = (".tbi", ".csi")  # what the names of indexes add to a file's


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
        InputError: it is not there, or the store does not let us read it.
    """
    url = url_of(path)
    if url is None:
        return path
    system, at = _system(url)
    name = at.rstrip("/").rpartition("/")[2]
    try:
        wanted = {at: name} if system.isfile(at) else {}
        wanted |= {each: each.rpartition("/")[2] for each in _others(at) if wanted and system.isfile(each)}
        if not wanted:
            wanted = {each: f"{name}/{each[len(at.rstrip('/')) + 1 :]}" for each in system.find(at)}
        if not wanted:
            raise InputError(f"{url} is not there: look at its name, and at the store's address and keys")
        about = {each: system.info(each) for each in wanted}
        marks = [[each, *(str(about[each].get(key)) for key in ("ETag", "md5Hash", "etag", "size"))] for each in wanted]
        folder = runs / "fetched" / digest(marks)[:16]
        if not folder.exists():
            with written_beside(folder) as beside:
                for each, to in wanted.items():
                    (beside / to).parent.mkdir(parents=True, exist_ok=True)
                    system.get_file(each, str(beside / to))
    except InputError:
        raise
    except Exception as error:  # each store has its own
        raise InputError(f"cannot read {url}: {_line(error)}") from None
    return folder / name


@contextmanager
def sent(path: Path | None, force: bool) -> Iterator[Path | None]:
    """Give the path to write a file at; what is to lie in an object store is sent there on success, with what is beside it.

    Args:
        path: path or URL; None = standard output.
        force: whether an object that is there already is overwritten.

    Raises:
        InputError: it is there already, or the store does not let us write it.
    """
    url = None if path is None else url_of(path)
    if url is None:
        yield path
        return
    system, at = _system(url)
    prefix, _, name = at.rpartition("/")
    try:
        if not force and system.exists(at):
            raise InputError(f"{url} is there already, and is not overwritten: give another name with -o, or --force")
        with work_folder("sent") as folder:
            yield folder / name
            if is_vcz(folder / name) and system.isdir(
                at
            ):  # a store that is there already, whose chunks would be taken for this one's
                system.rm(at, recursive=True)
            files = [(file.relative_to(folder).as_posix(), file) for file in folder.rglob("*") if file.is_file()]
            for within, file in sorted(files, key=lambda each: (each[0].partition("/")[0] == name, each[0])):
                system.put_file(str(file), f"{prefix}/{within}")  # the file itself comes last
    except InputError:
        raise
    except Exception as error:
        if _is_of_a_store(error):
            raise InputError(f"cannot write {url}: {_line(error)}") from None
        raise


def _others(at: str) -> list[str]:
    """Return what may lie beside a file and belongs to it."""
    return [*(at + suffix for suffix in INDEXES), *(str(file) for file in files_of(Path(at))[1:])]


def _system(url: str) -> tuple[Any, str]:
    """Return fsspec's file system of a URL, and the path in it."""
    require_package("fsspec", f"reading {url}")
    import fsspec

    try:
        return fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        raise InputError(f"{url} cannot be used: {_line(error)}") from None


def _is_of_a_store(error: Exception) -> bool:
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in (
        "botocore",
        "aiobotocore",
        "aiohttp",
    )


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1]
