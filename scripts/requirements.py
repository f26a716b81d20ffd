"""Packages that the project needs, from pyproject.toml and installed distributions, for the lock and the licences."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PLAIN = "plain"


@dataclass
class Needed:
    """An installed distribution that is needed, and the sets of its extras that are required."""

    installed: metadata.Distribution
    extras: set[tuple[str, ...]] = field(default_factory=set)


def declared(pyproject: Path = ROOT / "pyproject.toml") -> dict[str, list[str]]:
    """Return a mapping of extra → its requirements; PLAIN → the requirements without an extra.

    Requirements of the project's own extras that an extra names are included. Requirements of the build belong to the
    extra `dev`.
    """
    read = tomllib.loads(pyproject.read_text())
    project = read["project"]
    extras = {PLAIN: project["dependencies"], **project["optional-dependencies"]}
    extras["dev"] = [*extras["dev"], *read["build-system"]["requires"]]

    def flat(extra: str) -> list[str]:
        found: list[str] = []
        for text in extras[extra]:
            wanted = Requirement(text)
            own = wanted.name == project["name"]
            found += [each for other in sorted(wanted.extras) for each in flat(other)] if own else [text]
        return found

    return {extra: flat(extra) for extra in extras}


def closure(wanted: Iterable[str]) -> dict[str, Needed]:
    """Return a mapping of normalized name → installed package, for requirements and all that they need themselves.

    Raises:
        LookupError: a package is not installed, or not in a required version; names it, and the package that requires it.
    """
    found: dict[str, Needed] = {}
    done: set[str] = set()
    waiting = [(Requirement(text), "this project") for text in wanted]
    while waiting:
        requirement, required_by = waiting.pop()
        if str(requirement) in done:
            continue
        done.add(str(requirement))
        name = canonicalize_name(requirement.name)
        try:
            installed = metadata.distribution(requirement.name)
        except metadata.PackageNotFoundError:
            raise LookupError(f"{required_by} needs {requirement}, which is not installed") from None
        if not requirement.specifier.contains(installed.version, prereleases=True):
            raise LookupError(f"{required_by} needs {requirement}, but {installed.version} is installed")
        needed = found.setdefault(name, Needed(installed))
        if requirement.extras:
            needed.extras.add(tuple(sorted(requirement.extras)))
        for text in installed.requires or []:
            further = Requirement(text)
            extras = ("", *requirement.extras)
            if further.marker is None or any(further.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append((further, name))
    return found
