"""Numbers in sentences."""

from __future__ import annotations


def numbered(n: int, noun: str) -> str:
    """Return a number with its noun: "1 site", "2,000 sites"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
