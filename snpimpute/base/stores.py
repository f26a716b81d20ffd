"""Object stores through fsspec: their file systems, and in one line what each of them raises in its own way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from snpimpute.base.errors import InputError
from snpimpute.base.extras import require_package

# scheme → package, and what to install for it
PACKAGES = {
    "s3": ("s3fs", "'snpimpute[cluster]'"),
    "gs": ("gcsfs", "gcsfs"),
    "az": ("adlfs", "adlfs"),
    "abfs": ("adlfs", "adlfs"),
}


def file_system(place: str, needed_by: str) -> tuple[Any, str]:
    """Return fsspec's file system of a URL or path, and the path in it.

    Args:
        place: URL or path.
        needed_by: what needs it, for the message.

    Raises:
        InputError: a package is not installed (names it), or the store is not set up here.
    """
    require_package("fsspec", needed_by)
    import fsspec

    try:
        # listings that are kept would hide what others write
        return fsspec.core.url_to_fs(place, use_listings_cache=False)
    except ImportError as error:
        package, install = PACKAGES.get(place.partition(":")[0], ("", ""))
        lacking = f"{package} is not installed: pip install {install}" if package else reason_of(error)
        raise InputError(f"{place} cannot be used: {lacking}") from None
    except Exception as error:  # each store has its own for what it lacks, as a key or the name of an account
        raise InputError(f"{place} cannot be used: {reason_of(error)}") from None


@contextmanager
def store_errors(doing: str) -> Iterator[None]:
    """Turn whatever a store raises into an InputError: `doing` and the reason, as in "cannot read s3://lab/x: Forbidden"."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # each store has its own
        raise InputError(f"{doing}: {reason_of(error)}") from None


def reason_of(error: Exception) -> str:
    """Return the last line of an error's text; its kind where it has none."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"{lines[-1]}, by the keys that are set here" if isinstance(error, PermissionError) else lines[-1]
