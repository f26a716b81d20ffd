"""Digest of the source that decides a result: modules with all that they import, without comments and docstrings."""

from __future__ import annotations

import ast
import functools
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
        "scipy",
        "sklearn",
        "tensorflow",
        "torch",
        "transformers",
    }
)


def source_digest(*modules: str, without: frozenset[str] = frozenset()) -> str:
    """SHA-256 (hex) of modules and all that they import within their own packages, and of numerical libraries' versions.

    What only types are imported for (`if TYPE_CHECKING`) is not looked at, nor is a package's top `__init__`, which holds
    its version.

    Args:
        modules: full names, as in `snpimpute.imputers.beagle`.
        without: modules that are left out with whatever only they import: those that load others by name, which are
            keyed by themselves.
    """
    behind = modules_behind(*modules, without=without)
    code = {name: _code(path) for name, path in behind.items()}
    return digest([code, library_versions(*modules, without=without)])


def modules_behind(*modules: str, without: frozenset[str] = frozenset()) -> dict[str, Path]:
    """Module → its file: the modules themselves and all that they import within their own packages, sorted by name."""
    own = {module.partition(".")[0] for module in modules}
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module in found or module in without or module.partition(".")[0] not in own or module in own:
            continue
        if (path := _file(module)) is not None:
            found[module] = path
            waiting += imported(module, path)
    return dict(sorted(found.items()))


def library_versions(*modules: str, without: frozenset[str] = frozenset()) -> dict[str, str]:
    """Distribution → version: the libraries in NUMERICAL that the modules, or what they import, import anywhere."""
    return versions_of(imported_packages(*modules, without=without) & NUMERICAL)


def imported_packages(*modules: str, without: frozenset[str] = frozenset()) -> set[str]:
    """Top-level packages that the modules, or what they import within their own packages, import anywhere."""
    behind = modules_behind(*modules, without=without)
    return {name.partition(".")[0] for module, path in behind.items() for name in imported(module, path)}


def versions_of(names: set[str]) -> dict[str, str]:
    """Distribution → version of the imported packages of these names, without what a build adds (`+cpu`)."""
    installed = _distributions()
    found = {name if name in installed[name] else installed[name][0] for name in names if name in installed}
    return {name: metadata.version(name).partition("+")[0] for name in sorted(found)}


@functools.cache
def imported(module: str, path: Path) -> tuple[str, ...]:
    """Names of the modules that a module's file imports anywhere, sorted; those imported for types alone left out."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return tuple(sorted(set(_imports(ast.parse(path.read_text()), package))))


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
            for alias in node.names:
                inner = f"{source}.{alias.name}"  # a module, or something in one; others' packages are not looked into
                ours = source.partition(".")[0] == package.partition(".")[0]
                yield inner if ours and _file(inner) is not None else source
        else:
            yield from _imports(node, package)


@functools.cache
def _file(module: str) -> Path | None:
    """The .py file of a module; None if there is no such module, or it has no source."""
    try:
        spec = find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return None
    return Path(spec.origin) if spec is not None and spec.origin and spec.origin.endswith(".py") else None


@functools.cache
def _code(path: Path) -> str:
    """What a file does, as text: its syntax tree, in which comments and layout are not, without docstrings."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            del node.body[0]
    return ast.dump(tree)


@functools.cache
def _distributions() -> dict[str, list[str]]:
    return {name: list(found) for name, found in metadata.packages_distributions().items()}
