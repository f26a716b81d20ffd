"""Discovery of imputers: files of this folder, modules of other packages, and descriptions of programs.

A .py or .toml of this folder is the imputer of its name, except `contract`, `testing` and names that begin with an
underscore. A .toml describes a program (docs/external.md). Descriptions are also looked for in the folders of the
environment variable SNPIMPUTE_IMPUTERS, which lists them as PATH does, and in those that an experiment's settings name.
An installed package adds an imputer by an entry point of the group `snpimpute.imputers`, with the name of the module
that it points to (docs/write-an-imputer.md).
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import re
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from snpimpute.base.digests import file_digest
from snpimpute.base.errors import InputError
from snpimpute.base.plugins import entry_points_of
from snpimpute.base.sources import source_digest
from snpimpute.base.words import meant

if TYPE_CHECKING:
    from snpimpute.imputers._external import External
    from snpimpute.imputers.contract import Imputer

HERE = Path(__file__).parent
NO_IMPUTERS = {"contract", "testing"}  # modules of this folder that are no imputers, though without an underscore
ENTRY_POINTS = "snpimpute.imputers"
NAME = re.compile(r"[a-z][a-z0-9_]*")
NAME_RULE = "small letters, digits and underscores only"
# This file loads imputers by name. `decided_by` is the key of each of them, so that modules which import this file do
# not depend on all imputers.
DISCOVERY = frozenset({__name__})
EXPORTED = "_exported"  # name, in a saved imputer, of a network that was exported
OF_THE_USER = "SNPIMPUTE_IMPUTERS"
OF_THE_SETTINGS = (
    "SNPIMPUTE_IMPUTERS_OF_SETTINGS"  # an environment variable, so that the steps' processes look there too
)


def look_in(folders: Iterable[Path]) -> None:
    """Look for descriptions in these folders too, here and in processes started from here, in place of earlier ones."""
    os.environ[OF_THE_SETTINGS] = os.pathsep.join(str(Path(folder).absolute()) for folder in folders)


def names() -> list[str]:
    """Return the names of all imputers, sorted; none is imported, and no description is read.

    Raises:
        InputError: a folder to look in is missing, or two imputers have the same name.
    """
    return sorted(_sources())


def load(name: str) -> type[Imputer]:
    """Import the imputer class of that name, and no other.

    Raises:
        InputError: there is none of that name (lists those there are), its module holds no imputer or one without a
            `description`, or its description of a program is wrong.
    """
    sources = _sources()
    if name not in sources:
        raise InputError(
            f"unknown imputer {name!r}{meant(name, sorted(sources))}: give one of {', '.join(sorted(sources))}"
        )
    source = sources[name]
    if isinstance(source, EntryPoint):
        return _class_of(importlib.import_module(source.module), source.module)
    if source.suffix == ".py":
        return _class_of(importlib.import_module(f"{__name__}.{name}"), str(source))
    from snpimpute.imputers._external import described

    try:
        return described(name, source.read_text(), str(source))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {source}: {error}") from None


def _class_of(module: ModuleType, where: str) -> type[Imputer]:
    """Return the subclass of Imputer that a module defines; InputError if there is none or it has no `description`."""
    from snpimpute.imputers.contract import Imputer

    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Imputer) and value.__module__ == module.__name__:
            if not isinstance(vars(value).get("description"), str):
                raise InputError(
                    f"{where}: the imputer {value.__name__} does not describe itself: give it a `description`"
                )
            return value
    raise InputError(f"{where} defines no imputer: write a subclass of snpimpute.imputers.contract.Imputer there")


def require_programs(name: str) -> None:
    """Raise InputError that names what the imputer of that name needs and this machine lacks."""
    load(name).require_programs()


def needs_of(cls: type[Imputer]) -> Callable[[], None] | None:
    """Return `require_programs` for an imputer, to be called on any machine; None if it is not found by its name."""
    return functools.partial(require_programs, cls.name) if cls.name in names() else None


def class_in(folder: Path, trust: bool = False) -> type[Imputer]:
    """Return the class of the imputer that `Imputer.save` wrote into a folder, by the description saved with it.

    A description is commands to run. Without `trust` it must say the same as the one of its name that is found on this
    machine; what stands in the folder alone is of whoever made the folder.

    Raises:
        InputError: the folder holds no saved imputer, one that is not known here, or commands that are not trusted.
    """
    description = Path(folder) / "state" / "description.toml"
    try:
        name = json.loads((Path(folder) / "imputer.json").read_text())["imputer"]
        text = description.read_text() if description.exists() else None
    except (OSError, LookupError, TypeError, ValueError):
        raise InputError(f"{folder} holds no saved imputer: fit it again, or fetch it anew") from None
    if name == EXPORTED:  # loaded by name, as all are: else every model would be said to need ONNX Runtime
        return _class_of(importlib.import_module(f"{__name__}.{EXPORTED}"), EXPORTED)
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        raise InputError(f"{folder} holds an imputer named {name!r}: a name has {NAME_RULE}")
    if text is None:
        return load(name)
    from snpimpute.imputers._external import described

    cls = described(name, text, str(description))
    if not trust and not _says_the_same(cls):
        raise InputError(
            f"{folder} would run commands of its own (of {cls.about.program.name}, in {description}), which are not those "
            f"of an imputer {name} on this machine: read them, then give --trust, or name the folder of the same "
            f"description (--imputers-from, or the variable {OF_THE_USER})"
        )
    return cls


def _says_the_same(cls: type[External]) -> bool:
    """Tell whether a description of this name is found on this machine, and says the same apart from comments."""
    source = _sources().get(cls.name)
    if not isinstance(source, Path) or source.suffix != ".toml":
        return False
    return cast("type[External]", load(cls.name)).about == cls.about


def decided_by(cls: type[Imputer]) -> list[Any]:
    """Return the key of the code behind an imputer's results (JSON-able).

    The key holds the digest of its source with all imports and library versions, digests of its programs, and its
    description. Whatever is kept of an imputer's results is kept under this key beside the data, the parameters, the
    seed and the threads.
    """
    source = source_digest(cls.__module__, without=DISCOVERY)
    return [source, [_digest_of(path, path.stat().st_mtime_ns) for path in cls.program_files()], cls.recipe]


@functools.cache
def _digest_of(path: Path, changed: int) -> str:
    """Return a file's digest, computed again only if the file has changed (`changed`: its time of change in ns)."""
    return file_digest(path)


def _sources() -> dict[str, Path | EntryPoint]:
    """Map each imputer to its file, or to the entry point of another package that names its module."""
    own = HERE.glob("*.py")
    sources: dict[str, Path | EntryPoint] = {
        path.stem: path for path in own if not path.stem.startswith("_") and path.stem not in NO_IMPUTERS
    }
    named = os.pathsep.join(os.environ.get(variable, "") for variable in (OF_THE_USER, OF_THE_SETTINGS))
    folders = dict.fromkeys([HERE, *(Path(folder).absolute() for folder in named.split(os.pathsep) if folder)])
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder} is not there: give an existing folder to look for imputers' descriptions in")
        for path in sorted(folder.glob("*.toml")):
            if path.stem.startswith("_"):
                continue
            if path.stem in sources:
                raise InputError(f"{path} and {sources[path.stem]} are imputers of the same name: rename one")
            if not NAME.fullmatch(path.stem):
                raise InputError(f"{path}: an imputer's name has {NAME_RULE}: rename it")
            sources[path.stem] = path
    for point in entry_points_of(ENTRY_POINTS):
        if point.name in sources:
            raise InputError(f"{point.value} and {sources[point.name]} are imputers of the same name: rename one")
        if point.name != point.module.rpartition(".")[2]:
            raise InputError(f"entry point {point.name} names the module {point.module}: call both the same")
        sources[point.name] = point
    return sources
