"""Names that become folders, files and entries of a registry: plain ones, so that none leads elsewhere."""

from __future__ import annotations

import re

from snpimpute.base.errors import InputError

PLAIN = (
    "letters, digits, dots, hyphens and underscores only, at most 100, a letter or digit first and no two dots together"
)


def is_plain(name: object) -> bool:
    """Tell whether a name is text that can be part of a path and does not lead out of a folder (see PLAIN)."""
    return (
        isinstance(name, str)
        and ".." not in name
        and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) is not None
    )


def require_plain(name: object, what: str) -> None:
    """Raise InputError if a name is not plain; `what` is what it names, for the message."""
    if not is_plain(name):
        raise InputError(f"{what} {name!r} is not a name: it has {PLAIN}")
