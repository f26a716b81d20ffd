"""Parameters of predictors as users give them: in TOML files, or one by one; checked before anything is read."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from snpimpute.base.errors import InputError
from snpimpute.base.words import meant
from snpimpute.traits.predictors import load, names
from snpimpute.tuning.parameters import read_params

OPTION = "--params"
FORM = "give PREDICTOR.NAME=VALUE, as lightgbm.trees=100, or a TOML file"
COMMON = "components"  # the same for all predictors


def read_given(given: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the parameters that texts name, predictor → name → value; a later one replaces an earlier one.

    Args:
        given: each a TOML file with a table for each predictor, or `PREDICTOR.NAME=VALUE` with a value of TOML; quotes around
            a word may be missing.

    Raises:
        InputError: a file cannot be read or is not of this form, or a text is neither.
    """
    found: dict[str, dict[str, Any]] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals and not Path(text).exists():
            raise InputError(f"{OPTION} {text} is no file, and has no value: {FORM}")
        if not equals or Path(text).is_file():
            for predictor, table in read_params(Path(text)).items():
                if not isinstance(table, dict):
                    raise InputError(f"{text}: {predictor} is in no predictor's table: write it below [PREDICTOR]")
                found.setdefault(predictor, {}).update(table)
            continue
        predictor, dot, key = (part.strip() for part in name.partition("."))
        if not (predictor and dot and key and value.strip()):
            raise InputError(f"{OPTION} {text} names no parameter of a predictor: {FORM}")
        found.setdefault(predictor, {})[key] = _value(value.strip())
    return found


def checked(params: Mapping[str, Mapping[str, Any]]) -> tuple[tuple[str, dict[str, Any]], ...]:
    """Return parameters, predictor → name → value, as `EvaluationSettings.params`.

    Raises:
        InputError: an unknown predictor or parameter (names the nearest), a value that is not possible, or one that all
            predictors share.
    """
    known, found = names(), []
    for predictor, table in params.items():
        if predictor not in known:
            raise InputError(
                f"{OPTION}: unknown predictor {predictor!r}{meant(predictor, known)}: give one of {', '.join(known)}"
            )
        cls = load(predictor)
        for key in table:
            if key == COMMON:
                raise InputError(f"predictor {predictor}: {COMMON} are the same for all predictors: give --pcs")
            if key not in cls.Params.model_fields:
                valid = [field for field in cls.Params.model_fields if field != COMMON]
                raise InputError(
                    f"predictor {predictor}: unknown parameter {key!r}{meant(key, valid)} (parameters: {', '.join(valid)})"
                )
        valid_values = cls.parse_params(table).model_dump(mode="json")
        found.append((predictor, {key: valid_values[key] for key in table}))
    return tuple(found)


def require_used(params: Iterable[tuple[str, Any]], used: Iterable[str], what: str) -> None:
    """Raise InputError if parameters are given of a predictor that is not used.

    Args:
        params: see `EvaluationSettings.params`.
        used: names of the predictors that are used.
        what: is done with them, for the message.
    """
    there = list(used)
    for predictor, _ in params:
        if predictor not in there:
            raise InputError(
                f"{OPTION}: {predictor} is not {what} ({', '.join(there)} {'is' if len(there) == 1 else 'are'}): "
                f"give --predictor {predictor}, or leave its parameters out"
            )


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
