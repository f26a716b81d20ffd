"""Exchange of contents between this machine and workers: a folder or an object store, in which a content is named by its digest."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from snpimpute.base.digests import file_digest
from snpimpute.base.errors import InputError, WorkEnds
from snpimpute.base.files import no_room
from snpimpute.base.stores import file_system, reason_of

CACHE_BYTES = 10_000_000_000  # that a worker keeps; beyond it what was not used for longest goes


@dataclass(frozen=True)
class Content:
    """Content that lies in an exchange.

    Attributes:
        key: where it lies in the exchange.
        digest: its SHA-256.
        size: its length in bytes.
        of: name of the file that it was read from.
    """

    key: str
    digest: str
    size: int
    of: str = ""


class Exchange:
    """Folder, or object store as `s3://bucket/prefix`, that this machine and the workers reach.

    Args:
        place: path or URL; of anything that fsspec knows.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self._system, self._root = file_system(place, "a cluster")
        self._is_local = "file" in self._system.protocol

    def put(self, path: Path, start: int = 0, stop: int | None = None, under: str = "", keep: bool = True) -> Content:
        """Put a file, or the bytes of it from `start` to `stop`, unless they are there.

        Args:
            path: the file.
            start, stop: the bytes; None = to the end.
            under: name of the folder in the exchange.
            keep: whether the file is to stay where it is; else it may be moved instead of copied.

        Raises:
            InputError: it cannot be written.
        """
        part = None
        if start or stop is not None:
            with path.open("rb") as file:
                file.seek(start)
                part = file.read() if stop is None else file.read(stop - start)
        found = file_digest(path) if part is None else hashlib.sha256(part).hexdigest()
        content = Content(f"{under}/{found}", found, path.stat().st_size if part is None else len(part), path.name)
        with self._told("write"):
            if not self._system.exists(self._at(content.key)):
                self._write(content.key, path if part is None else part, keep)
        return content

    def get(self, content: Content, to: Path) -> None:
        """Copy a content to a path, at which it is complete or absent.

        Raises:
            InputError: it cannot be read, or is not what its digest says.
        """
        beside = to.with_name(f"{to.name}.{uuid.uuid4().hex}.part")
        try:
            with self._told("read"):
                self._system.get_file(self._at(content.key), str(beside))
            if file_digest(beside) != content.digest:
                raise InputError(
                    f"what was put into the exchange {self.place} of {content.of} is not there as it was put ({content.key}): run the "
                    "command again, and look at what else writes there"
                )
            beside.replace(to)
        finally:
            beside.unlink(missing_ok=True)

    def folders(self) -> list[str]:
        """Return the names of the folders in the exchange; none where it cannot be read yet."""
        try:
            return [str(each).rstrip("/").rpartition("/")[2] for each in self._system.ls(self._root, detail=False)]
        except Exception:  # it is not there, or each store's own reason, which the first use will tell
            return []

    def remove(self, under: str) -> None:
        """Remove a folder of the exchange with all that is in it, if it can be."""
        with suppress(Exception):
            self._system.rm(self._at(under), recursive=True)
        if self._is_local:
            with suppress(OSError):  # others exchange contents there too
                Path(self._root).rmdir()

    def _write(self, key: str, content: Path | bytes, keep: bool) -> None:
        at = self._at(key)
        beside = f"{at}.{uuid.uuid4().hex}.part" if self._is_local else at  # an object appears when it is complete
        if self._is_local:
            Path(at).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            self._system.pipe_file(beside, content)
        elif keep or not self._is_local:
            self._system.put_file(str(content), beside)
        else:
            shutil.move(content, beside)
        if self._is_local:
            Path(beside).replace(at)

    def _at(self, key: str) -> str:
        return f"{self._root.rstrip('/')}/{key}"

    @contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        """Turn what the store raises into one line."""
        try:
            yield
        except InputError:
            raise
        except FileNotFoundError:
            reached = "no such folder" if self._is_local else "no such object or bucket"
            raise InputError(
                f"cannot {doing} the exchange {self.place}: {reached} as seen from here; name a folder or a store that all "
                "workers reach (--exchange)"
            ) from None
        except Exception as error:
            if why := no_room(error):
                raise WorkEnds(f"cannot {doing} the exchange {self.place}: {why}") from None
            raise InputError(f"cannot {doing} the exchange {self.place}: {reason_of(error)}") from None


class Cache:
    """Contents that a worker has fetched, in a folder of its own.

    Args:
        folder: the folder.
        most: bytes to keep.
    """

    def __init__(self, folder: Path, most: int = CACHE_BYTES) -> None:
        self._folder = folder
        self._most = most

    def file(self, content: Content, exchange: Exchange) -> Path:
        """Return the file with a content; it is fetched unless it is there, whole and as it was. InputError: see Exchange.get."""
        path = self._folder / content.digest
        if not (path.is_file() and path.stat().st_size == content.size and file_digest(path) == content.digest):
            self._folder.mkdir(parents=True, exist_ok=True)
            exchange.get(content, path)
            path.chmod(0o444)
        os.utime(path)
        return path

    def make_room(self) -> None:
        """Remove what was not used for longest, as far as there is too much."""
        if not self._folder.is_dir():
            return
        entries: list[tuple[float, int, Path]] = []
        for path in self._folder.iterdir():
            with suppress(OSError):  # another thread has removed it
                about = path.stat()
                entries.append((about.st_mtime, about.st_size, path))
        kept = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries)[:-1]:
            if kept <= self._most:
                return
            path.unlink(missing_ok=True)
            kept -= size


def put_copy(source: Path, to: Path, start: int, total: int) -> None:
    """Make a file that has another one's content from byte `start`, and is `total` bytes long; what is around it are holes.

    A file that is there already, of the same length, gets the content in addition.
    """
    to.parent.mkdir(parents=True, exist_ok=True)
    if start == 0 and total == source.stat().st_size and not to.exists():
        _link_or_copy(source, to)
        return
    with to.open("r+b" if to.exists() else "wb") as file, source.open("rb") as content:
        file.truncate(total)
        file.seek(start)
        shutil.copyfileobj(content, file, 1 << 20)


def _link_or_copy(source: Path, to: Path) -> None:
    try:
        os.link(source, to)
    except OSError:
        shutil.copyfile(source, to)


def files_below(path: Path) -> list[tuple[str, Path]]:
    """Return the files of a folder, by their names within it; of a file itself the name is empty."""
    if path.is_file():
        return [("", path)]
    return sorted((each.relative_to(path).as_posix(), each) for each in path.rglob("*") if each.is_file())
