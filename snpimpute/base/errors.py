"""The one exception that every face shows as a single line with exit status 2, and what its words must not hold."""

from __future__ import annotations

import re


class InputError(Exception):
    """What is wrong, where, and how to mend it, in one line written for the user."""


def without_password(url: str) -> str:
    """The URL of a database or server with its password masked."""
    return re.sub(r"//([^/@:]*):[^/@]*@", r"//\1:***@", url)
