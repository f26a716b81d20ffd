"""Discovery of predictors: a module of this folder, or of another package, is the predictor of its name.

Modules whose names begin with an underscore, and those of NO_PREDICTORS, are none. An installed package adds a predictor by an
entry point of the group `snpimpute.predictors`, with the name of the module that it points to.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from snpimpute.base.errors import InputError
from snpimpute.base.plugins import entry_points_of
from snpimpute.base.sources import source_digest

if TYPE_CHECKING:
    from snpimpute.traits.predictors.contract import Predictor

HERE = Path(__file__).parent
NO_PREDICTORS = frozenset({"cohort", "contract", "encodings", "selection", "testing"})
ENTRY_POINTS = "snpimpute.predictors"
DISCOVERY = frozenset({__name__})  # loads predictors by name: their keys must not depend on all of them


def names() -> list[str]:
    """Return the names of all predictors, sorted; none is imported.

    Raises:
        InputError: two predictors have the same name.
    """
    return sorted(_sources())


def load(name: str) -> type[Predictor]:
    """Import the predictor class of that name, and no other.

    Raises:
        InputError: there is none of that name (lists those there are), or its module holds no predictor.
    """
    sources = _sources()
    if name not in sources:
        raise InputError(f"unknown predictor {name!r}: give one of {', '.join(sorted(sources))}")
    return _class_of(importlib.import_module(sources[name]))


def decided_by(cls: type[Predictor]) -> list[Any]:
    """Return the key of the code behind a predictor's results (JSON-able): its source with all imports, and its program."""
    source = source_digest(cls.__module__, without=DISCOVERY)
    if cls.program is None:
        return [source]
    from snpimpute.traits.exchange import tool_version

    return [source, tool_version(cls.program)]


def _sources() -> dict[str, str]:
    """Map each predictor to its module."""
    own = (path.stem for path in HERE.glob("*.py"))
    sources = {name: f"{__name__}.{name}" for name in own if not name.startswith("_") and name not in NO_PREDICTORS}
    for point in entry_points_of(ENTRY_POINTS):
        if point.name in sources:
            raise InputError(f"{point.value} and {sources[point.name]} are predictors of the same name: rename one")
        if point.name != point.module.rpartition(".")[2]:
            raise InputError(f"entry point {point.name} names the module {point.module}: call both the same")
        sources[point.name] = point.module
    return sources


def _class_of(module: ModuleType) -> type[Predictor]:
    """Return the subclass of Predictor that a module defines; InputError if there is none or it has no `description`."""
    from snpimpute.traits.predictors.contract import Predictor

    for value in vars(module).values():
        own = isinstance(value, type) and issubclass(value, Predictor) and value.__module__ == module.__name__
        if own and isinstance(vars(value).get("description"), str):
            return value
    raise InputError(
        f"{module.__name__} defines no predictor: write a subclass of snpimpute.traits.predictors.contract.Predictor there, "
        "with a `description`"
    )
