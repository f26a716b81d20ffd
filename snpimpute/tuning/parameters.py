"""Tables of parameters as TOML files, found by studies or given by users."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from snpimpute.base.errors import InputError
from snpimpute.base.files import write_text


def write_params(path: Path, params: Mapping[str, Any], about: Mapping[str, str]) -> None:
    """Write a table of parameters as TOML, with comment lines above it.

    Args:
        path: file to write; it is complete or absent, never half written.
        params: names with values of a TOML type, or tables of them; None is left out.
        about: facts about the parameters; each key and value make one comment line.
    """
    comments = [f"# {' '.join(f'{key}: {value}'.split())}" for key, value in about.items()]
    write_text(path, "\n".join([*comments, tomli_w.dumps(_without_none(params))]))


def _without_none(table: Mapping[str, Any]) -> dict[str, Any]:
    known = {key: value for key, value in table.items() if value is not None}
    return {key: _without_none(value) if isinstance(value, Mapping) else value for key, value in known.items()}


def read_params(path: Path) -> dict[str, Any]:
    """Read a table that `write_params` wrote (or any TOML file).

    Raises:
        InputError: the file cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the parameters {path}: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"the parameters {path} are not TOML: {error}") from None


def given_params(path: Path) -> dict[str, Any]:
    """Read an imputer's parameters from a TOML file of them, or from the result of a study.

    The result of a study keeps the parameters in its table `params`.

    Raises:
        InputError: as `read_params`.
    """
    table = read_params(path)
    return table["params"] if {"params", "refit_params"} <= table.keys() else table
