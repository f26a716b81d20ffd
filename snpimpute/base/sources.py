"""Digest of the source that decides a result: modules and all they import, without comments and docstrings."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec, resolve_name
from pathlib import Path

from snpimpute.base.digests import digest

# Libraries whose version can change a number, by the name under which they are imported.
NUMERICAL = frozenset(
    {
        "accelerate",
        "keras",
        "msprime",
        "numba",
        "numpy",
        "pandas",
        "pysusie",
        "scipy",
        "sklearn",
        "tensorflow",
        "torch",
        "transformers",
        "tstrait",
    }
)


def source_digest(*modules: str, without: frozenset[str] = frozenset()) -> str:
    """Return the SHA-256 (hex) of modules, all that they import within their own packages, and library versions.

    The versions are those of numerical libraries (NUMERICAL). Imports for types only (`if TYPE_CHECKING`) are left out,
    as is a package's top `__init__`, which holds its version.

    Args:
        modules: full names, as in `snpimpute.imputers.beagle`.
        without: modules to leave out, with whatever only they import. These load other modules by name, which get
            digests of their own.
    """
    files = modules_behind(*modules, without=without)
    code = {name: _normalised_code(path) for name, path in files.items()}
    return digest([code, library_versions(*modules, without=without)])


def modules_behind(*modules: str, without: frozenset[str] = frozenset()) -> dict[str, Path]:
    """Map each module, and all that they import within their own packages, to its file, sorted by name."""
    own = {module.partition(".")[0] for module in modules}
    files: dict[str, Path] = {}
    to_visit = list(modules)
    while to_visit:
        module = to_visit.pop()
        if module in files or module in without or module.partition(".")[0] not in own or module in own:
            continue
        if (path := _source_file(module)) is not None:
            files[module] = path
            to_visit += imported(module, path)
    return dict(sorted(files.items()))


def library_versions(*modules: str, without: frozenset[str] = frozenset()) -> dict[str, str]:
    """Map each distribution in NUMERICAL that the modules, or what they import, import anywhere to its version."""
    return versions_of(imported_packages(*modules, without=without) & NUMERICAL)


def imported_packages(*modules: str, without: frozenset[str] = frozenset()) -> set[str]:
    """Return the top-level packages that modules, or what they import within their own packages, import anywhere."""
    files = modules_behind(*modules, without=without)
    return {name.partition(".")[0] for module, path in files.items() for name in imported(module, path)}


def versions_of(names: set[str]) -> dict[str, str]:
    """Map the distributions of these imported packages to their versions, without a build's suffix (`+cpu`)."""
    distributions = {found for name in names if (found := _distribution(name)) is not None}
    return {name: _version(name) for name in sorted(distributions)}


@functools.cache
def imported(module: str, path: Path) -> tuple[str, ...]:
    """Return the names of the modules that a module's file imports anywhere, sorted, without imports for types only."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return tuple(sorted(set(_imports(ast.parse(path.read_text()), package))))


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Yield the modules that a syntax tree imports, without those under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
            for alias in node.names:
                inner = f"{source}.{alias.name}"  # a module, or a name in one; only own packages are looked into
                is_own = source.partition(".")[0] == package.partition(".")[0]
                yield inner if is_own and _is_package(source) and _source_file(inner) is not None else source
        else:
            yield from _imports(node, package)


@functools.cache
def _source_file(module: str) -> Path | None:
    """Return the .py file of a module; None if there is no such module, or it has no source."""
    try:
        spec = find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return None
    return Path(spec.origin) if spec is not None and spec.origin and spec.origin.endswith(".py") else None


def _is_package(module: str) -> bool:
    """Tell whether a module can hold others: to look for one in a module that cannot would import that, and its libraries."""
    path = _source_file(module)
    return path is None or path.name == "__init__.py"


@functools.cache
def _normalised_code(path: Path) -> str:
    """Return a file's syntax tree as text, without docstrings, comments and layout."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            del node.body[0]
    return ast.dump(tree)


@functools.cache
def _version(distribution: str) -> str:
    """Return the version of an installed distribution, without a build's suffix."""
    return metadata.version(distribution).partition("+")[0]


@functools.cache
def _distribution(package: str) -> str | None:
    """Return the distribution of an importable package, by preference that of its own name; None if there is none."""
    if package in sys.stdlib_module_names:
        return None
    try:
        return metadata.distribution(package).name
    except metadata.PackageNotFoundError:
        return next(iter(_distributions().get(package, [])), None)


@functools.cache
def _distributions() -> dict[str, list[str]]:
    """Map each importable package to its distributions: this reads the list of files of each that is installed."""
    return {name: list(providers) for name, providers in metadata.packages_distributions().items()}
