"""Discovery of imputers: files of this folder, modules of other packages, and descriptions of programs.

A .py or .toml of this folder is the imputer of its name, but for `contract`, `testing` and names that begin with an
underscore. A .toml describes a program (docs/external.md); such files are looked for in other folders too: those of the
environment variable SNPIMPUTE_IMPUTERS, which has them as PATH has its folders, and those that an experiment's settings
name. An installed package adds an imputer by an entry point of the group `snpimpute.imputers`, whose name is that of the
module which it points to (docs/write-an-imputer.md).
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import re
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from snpimpute.base.digests import file_digest
from snpimpute.base.errors import InputError
from snpimpute.base.sources import source_digest

if TYPE_CHECKING:
    from snpimpute.imputers.contract import Imputer

HERE = Path(__file__).parent
NO_IMPUTERS = {"contract", "testing"}  # modules of this folder without an underscore that are none
ENTRY_POINTS = "snpimpute.imputers"
# This file loads imputers by name: what it loads is keyed by `decided_by`, not with whoever imports this file.
DISCOVERY = frozenset({__name__})
OF_THE_USER = "SNPIMPUTE_IMPUTERS"
OF_THE_SETTINGS = "SNPIMPUTE_IMPUTERS_OF_SETTINGS"  # in the environment, so that the steps' processes look there too


def look_in(folders: Iterable[Path]) -> None:
    """Look for descriptions in these folders too, here and in processes started from here; earlier ones are forgotten."""
    os.environ[OF_THE_SETTINGS] = os.pathsep.join(str(Path(folder).absolute()) for folder in folders)


def names() -> list[str]:
    """Names of all imputers, sorted; none of them is imported, and no description read.

    Raises:
        InputError: a folder that is looked in is not there, or two imputers have the same name.
    """
    return sorted(_places())


def load(name: str) -> type[Imputer]:
    """Import the imputer class of that name, and no other.

    Raises:
        InputError: there is none of that name (lists those there are), its module holds no imputer or one without a
            description of itself, or its description as a program is wrong.
    """
    places = _places()
    if name not in places:
        raise InputError(f"unknown imputer {name!r}: give one of {', '.join(sorted(places))}")
    place = places[name]
    if isinstance(place, EntryPoint):
        return _class_of(importlib.import_module(place.module), place.module)
    if place.suffix == ".py":
        return _class_of(importlib.import_module(f"{__name__}.{name}"), str(place))
    from snpimpute.imputers._external import described

    try:
        return described(name, place.read_text(), str(place))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {place}: {error}") from None


def _class_of(module: ModuleType, where: str) -> type[Imputer]:
    """The subclass of Imputer that a module defines."""
    from snpimpute.imputers.contract import Imputer

    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Imputer) and value.__module__ == module.__name__:
            if not isinstance(vars(value).get("description"), str):
                raise InputError(
                    f"{where}: the imputer {value.__name__} does not describe itself: give it a `description`"
                )
            return value
    raise InputError(f"{where} defines no imputer: write a subclass of snpimpute.imputers.contract.Imputer there")


def class_in(folder: Path) -> type[Imputer]:
    """The class of the imputer that `Imputer.save` wrote into a folder; a description is the one saved with it."""
    name = json.loads((Path(folder) / "imputer.json").read_text())["imputer"]
    description = Path(folder) / "state" / "description.toml"
    if not description.exists():
        return load(name)
    from snpimpute.imputers._external import described

    return described(name, description.read_text(), str(description))


def decided_by(cls: type[Imputer]) -> list[Any]:
    """Key of the code behind an imputer's results: its source with what that imports, library versions, programs, description.

    JSON-able; whatever is kept of an imputer's results is kept under this beside the data, the parameters, the seed and
    the threads.
    """
    source = source_digest(cls.__module__, without=DISCOVERY)
    return [source, [_digest_of(path, path.stat().st_mtime_ns) for path in cls.program_files()], cls.recipe]


@functools.cache
def _digest_of(path: Path, changed: int) -> str:
    return file_digest(path)


def _places() -> dict[str, Path | EntryPoint]:
    """Imputer → its file, or the entry point of another package that names its module."""
    own = HERE.glob("*.py")
    found: dict[str, Path | EntryPoint] = {
        path.stem: path for path in own if not path.stem.startswith("_") and path.stem not in NO_IMPUTERS
    }
    named = os.pathsep.join(os.environ.get(variable, "") for variable in (OF_THE_USER, OF_THE_SETTINGS))
    folders = dict.fromkeys([HERE, *(Path(folder).absolute() for folder in named.split(os.pathsep) if folder)])
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder} is not there: imputers' descriptions were to be looked for in that folder")
        for path in sorted(folder.glob("*.toml")):
            if path.stem.startswith("_"):
                continue
            if path.stem in found:
                raise InputError(f"{path} and {found[path.stem]} are imputers of the same name: rename one")
            if not re.fullmatch(r"[a-z][a-z0-9_]*", path.stem):
                raise InputError(f"{path}: an imputer's name has small letters, digits and underscores only: rename it")
            found[path.stem] = path
    for point in entry_points(group=ENTRY_POINTS):
        if point.name in found:
            raise InputError(f"{point.value} and {found[point.name]} are imputers of the same name: rename one")
        if point.name != point.module.rpartition(".")[2]:
            raise InputError(f"entry point {point.name} names the module {point.module}: call both the same")
        found[point.name] = point
    return found
