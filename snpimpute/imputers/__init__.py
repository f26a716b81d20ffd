"""Discovery: every file of this folder whose name has no leading underscore is an imputer of that name."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from snpimpute.errors import InputError

if TYPE_CHECKING:
    from snpimpute.imputers._base import Imputer


def names() -> list[str]:
    """Names of all imputers, sorted; none of them is imported."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_"))


def load(name: str) -> type[Imputer]:
    """The imputer class of that name; imports its file only.

    Raises:
        InputError: there is none of that name (lists those there are).
    """
    if name not in names():
        raise InputError(f"unknown imputer {name!r}: give one of {', '.join(names())}")
    from snpimpute.imputers._base import Imputer

    module = importlib.import_module(f"{__name__}.{name}")
    return next(
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Imputer) and value.__module__ == module.__name__
    )
