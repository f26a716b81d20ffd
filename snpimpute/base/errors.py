"""InputError, which every interface shows as one line with exit status 2, and masking of passwords in messages."""

from __future__ import annotations

import re


class InputError(Exception):
    """Error that the user can mend: its one-line message says what is wrong, where, and how to mend it."""


class WorkEnds(InputError):
    """Error of what all work stands on (a full disk, a store that is gone): no other step is tried after it.

    What is done is kept, and the same command goes on once that is mended.
    """


def without_password(url: str) -> str:
    """Return the URL of a database or server with its password masked."""
    return re.sub(r"//([^/@:]*):[^/@]*@", r"//\1:***@", url)
