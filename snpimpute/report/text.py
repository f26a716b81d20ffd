"""Numbers, scores with intervals, and names as text."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

ABSENT = "–"


@dataclass(frozen=True)
class Score:
    """A score or a difference of two, with its 95% interval and the number of calls; NaN if not known."""

    value: float
    low: float
    high: float
    n: float

    def __neg__(self) -> Score:
        return Score(-self.value, -self.high, -self.low, self.n)


def known(value: Any) -> bool:
    """Return whether a value is neither None nor NaN."""
    return value is not None and not pd.isna(value)


def number(value: Any) -> str:
    """Return a number with three decimals, "–" if not known."""
    return f"{value:.3f}".replace("-", "−") if known(value) else ABSENT


def signed(score: Score | None) -> str:
    """Return a score's value with its sign and three decimals, "–" if not known."""
    return _with_sign(score.value) if score and known(score.value) else ABSENT


def interval(score: Score | None, signed: bool = False) -> str:
    """Return the interval of a score as "low to high"; empty if there is none."""
    if score is None or not (known(score.low) and known(score.high)):
        return ""
    return " to ".join(map(_with_sign if signed else number, (score.low, score.high)))


def difference(value: float, low: float, high: float, digits: int = 3) -> str:
    """Return a difference with its interval, each with its sign: "+0.012 (−0.003 to +0.027)"."""
    return "{} ({} to {})".format(*(_with_sign(number, digits) for number in (value, low, high)))


def _with_sign(value: float, digits: int = 3) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def count(value: Any) -> str:
    """Return a whole number with separators of thousands, "–" if not known."""
    return f"{round(value):,}" if known(value) else ABSENT


def trials_in_words(trials: Any) -> str:
    """Return the number of a study's trials that counted as "12 trials"; empty if there was no study."""
    if not known(trials):
        return ""
    return f"{count(trials)} trial{'s' * (trials != 1)}"


def duration(seconds: Any) -> str:
    """Return a time in seconds, minutes or hours, "–" if not known."""
    if not known(seconds):
        return ABSENT
    if seconds < 59.95:
        return f"{seconds:.1f} s" if seconds >= 0.05 else "< 0.1 s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def memory(megabytes: Any) -> str:
    """Return an amount of memory in MB or GB, "–" if not known."""
    if not known(megabytes):
        return ABSENT
    return f"{megabytes:.0f} MB" if megabytes < 999.5 else f"{megabytes / 1000:.1f} GB"


def listed(names: Iterable[str]) -> str:
    """Return names as "a, b and c"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def plain(value: Any) -> str:
    """Return a value as text, "–" if it is not known or empty."""
    return str(value) if known(value) and str(value) else ABSENT


def capital(text: str) -> str:
    """Return a text with its first letter as a capital."""
    return text[:1].upper() + text[1:]


def slug_of(name: str) -> str:
    """Return a name in a form that can be part of a file's name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower() or "unnamed"


def plotly_text(text: str) -> str:
    """Return a text with markup escaped, because plotly interprets some markup in its texts."""
    return html.escape(text, quote=False).replace("\n", "<br>")
