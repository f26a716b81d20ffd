"""Numbers, times and mistyped names in sentences."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def numbered(n: int, noun: str) -> str:
    """Return a number with its noun: "1 site", "2,000 sites"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def lasting(seconds: float) -> str:
    """Return a time as it is said: "0.4 s", "12 s", "3 min", "2 h 20 min"."""
    if seconds < 0.05:
        return "under 0.1 s"
    if seconds < 119.5:
        return f"{seconds:.1f} s" if seconds < 0.95 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h" + (f" {minutes} min" if minutes and hours < 10 else "")


def meant(word: str, words: Sequence[str]) -> str:
    """Return ", did you mean 'X'?" with the word that is nearest to a mistyped one; empty if none is near."""
    near = difflib.get_close_matches(word, words, 1)
    return f", did you mean {near[0]!r}?" if near else ""
