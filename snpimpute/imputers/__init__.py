"""Discovery: a file of this folder, .py or .toml, whose name has no leading underscore is an imputer of that name.

A .toml describes a program (docs/external.md). Such files are looked for in other folders too: those of the environment
variable SNPIMPUTE_IMPUTERS, which has them as PATH has its folders, and those that an experiment's settings name.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snpimpute.base.digests import file_digest
from snpimpute.base.errors import InputError
from snpimpute.base.sources import source_digest

if TYPE_CHECKING:
    from snpimpute.imputers.contract import Imputer

HERE = Path(__file__).parent
DISCOVERY = frozenset(
    {__name__}
)  # loads imputers by name: what it loads is keyed by `decided_by`, not by who imports this file
OF_THE_USER = "SNPIMPUTE_IMPUTERS"
OF_THE_SETTINGS = "SNPIMPUTE_IMPUTERS_OF_SETTINGS"  # in the environment, so that the steps' processes look there too


def look_in(folders: Iterable[Path]) -> None:
    """Look for descriptions in these folders too, here and in processes started from here; earlier ones are forgotten."""
    os.environ[OF_THE_SETTINGS] = os.pathsep.join(str(Path(folder).absolute()) for folder in folders)


def names() -> list[str]:
    """Names of all imputers, sorted; none of them is imported, and no description read.

    Raises:
        InputError: a folder that is looked in is not there, or two files have the same name.
    """
    return sorted(_files())


def load(name: str) -> type[Imputer]:
    """The imputer class of that name; imports its file only.

    Raises:
        InputError: there is none of that name (lists those there are), or its description is wrong.
    """
    files = _files()
    if name not in files:
        raise InputError(f"unknown imputer {name!r}: give one of {', '.join(sorted(files))}")
    if files[name].suffix == ".toml":
        from snpimpute.imputers._external import described

        try:
            return described(name, files[name].read_text(), str(files[name]))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read {files[name]}: {error}") from None
    from snpimpute.imputers.contract import Imputer

    module = importlib.import_module(f"{__name__}.{name}")
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Imputer) and value.__module__ == module.__name__:
            if not isinstance(vars(value).get("description"), str):
                raise InputError(
                    f"{files[name]}: the imputer {value.__name__} says nothing of itself: give it a `description`"
                )
            return value
    raise InputError(
        f"{files[name]} has no imputer: write a subclass of Imputer there, or begin the file's name with _"
    )


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


def _files() -> dict[str, Path]:
    """Imputer → its file."""
    found = {path.stem: path for path in HERE.glob("*.py") if not path.stem.startswith("_")}
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
    return found
