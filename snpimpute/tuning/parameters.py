"""Tables of parameters as TOML files: what studies find, and what users give."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from snpimpute.base.errors import InputError
from snpimpute.base.files import write_text


def write_params(path: Path, params: Mapping[str, Any], about: Mapping[str, str]) -> None:
    """Write a table of parameters as TOML, with lines of comment above it.

    Args:
        path: of the file; it is whole or not there.
        params: names with values that TOML has, or tables of them; None is left out.
        about: what to say of them, a comment line each.
    """
    comments = [f"# {' '.join(f'{key}: {value}'.split())}" for key, value in about.items()]
    write_text(path, "\n".join([*comments, tomli_w.dumps(_without_none(params))]))


def _without_none(table: Mapping[str, Any]) -> dict[str, Any]:
    known = {key: value for key, value in table.items() if value is not None}
    return {key: _without_none(value) if isinstance(value, Mapping) else value for key, value in known.items()}


def read_params(path: Path) -> dict[str, Any]:
    """Read a table that `write_params` wrote (or any TOML); InputError if there is none or it is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the parameters {path}: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"the parameters {path} are not TOML: {error}") from None


def given_params(path: Path) -> dict[str, Any]:
    """An imputer's parameters from a TOML of them, or from what a study found, which keeps them as its table `params`.

    Raises:
        InputError: as `read_params`.
    """
    table = read_params(path)
    return table["params"] if {"params", "refit_params"} <= table.keys() else table
