"""Request to a served model: its body read into a matrix of calls, or refused in one line."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError

EXAMPLE = '{"inputs": [[0, null, 2]], "params": {"sites": ["1:1000:A:C", "1:2000:A:G", "1:3000:T:C"]}}'
CALLS = "give 0, 1 or 2 alternate alleles, -1 or null for missing"


def read_request(body: bytes, content_type: str | None) -> tuple[np.ndarray, list[str]]:
    """Return the calls of a request, float64 (n_samples, n_columns), NaN missing, and the names of the columns' sites.

    Whether the numbers are calls, and the names the model's, is for the model to say.

    Raises:
        InputError: another type of content, no JSON, another form than EXAMPLE's, or a value that is no number.
    """
    _require_json(content_type)
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InputError(f"the body is not JSON ({why}): send {EXAMPLE}") from None
    if not isinstance(asked, dict) or len(found := {"inputs", "instances"} & set(asked)) != 1:
        raise InputError(f"the body has no `inputs` (or has `instances` as well): send {EXAMPLE}")
    if unknown := set(asked) - found - {"params"}:
        raise InputError(f"the body has {min(unknown)!r}, which is not known: send {EXAMPLE}")
    sites = _sites(asked.get("params"))
    rows = asked[found.pop()]
    _require_rows(rows)
    for number, row in enumerate(rows):
        if not set(map(type, row)) <= {int, float, type(None)}:
            column = next(j for j, value in enumerate(row) if type(value) not in (int, float, type(None)))
            raise InputError(f"{_place(number, column, sites)}: {_shown(row[column])} is not a call; {CALLS}")
        if len(row) != len(rows[0]):
            raise InputError(
                f"row {number + 1} has {len(row)} values, row 1 has {len(rows[0])}: rows have the same sites"
            )
    try:
        return np.array(rows, dtype=float), sites
    except OverflowError:
        raise InputError(f"a number is far too large to be a call; {CALLS}") from None


def calls_of(given: Any, sites: list[str]) -> tuple[np.ndarray, list[str]]:
    """Return the calls that a caller in Python gives, float64 (n_samples, n_columns), NaN missing, and the names of the columns.

    Args:
        given: a data frame, or a matrix of numbers (n_samples, n_columns).
        sites: the site of each column; if empty, a data frame's columns are named by their sites.

    Raises:
        InputError: no table of numbers, or a matrix without the names of its columns.
    """
    if isinstance(given, pd.DataFrame):
        sites = sites or [str(name) for name in given.columns]
        kinds = {kind.kind for kind in given.dtypes}
    else:
        given = np.asarray(given)
        kinds = {given.dtype.kind}
        if given.ndim != 2:
            raise InputError(f"calls of shape {given.shape}: give a row per sample and a column per site")
        if not sites:
            raise InputError(
                f"{given.shape[1]} columns without names: give a data frame whose columns are contig:pos:ref:alt, or a matrix "
                'with params={"sites": [...]}'
            )
    if not kinds <= set("iuf"):
        raise InputError(f"the calls are not numbers; {CALLS.replace('null', 'NaN')}")
    if isinstance(given, pd.DataFrame):
        return given.to_numpy(dtype=float, na_value=np.nan), sites
    return given.astype(float), sites


def _require_json(content_type: str | None) -> None:
    """Raise InputError unless the content is JSON in UTF-8."""
    kind, *parameters = [part.strip().lower() for part in (content_type or "").split(";")]
    if kind != "application/json" or set(parameters) - {"", "charset=utf-8", 'charset="utf-8"'}:
        raise InputError(f"the content type is {content_type or 'not given'}: send application/json in UTF-8")


def _sites(params: Any) -> list[str]:
    """Return the names of the columns' sites."""
    sites = params.get("sites") if isinstance(params, dict) else None
    if not isinstance(sites, list) or not all(isinstance(name, str) for name in sites):
        raise InputError(f"`params` has no list of names `sites`, contig:pos:ref:alt for each column: send {EXAMPLE}")
    if set(params) != {"sites"}:
        raise InputError(f"`params` has {min(set(params) - {'sites'})!r}, which is not known: give `sites` alone")
    return sites


def _require_rows(rows: Any) -> None:
    """Raise InputError unless these are lists, one at least."""
    if not isinstance(rows, list) or not rows:
        raise InputError(f"`inputs` has no rows, one per sample: send {EXAMPLE}")
    for number, row in enumerate(rows):
        if not isinstance(row, list):
            raise InputError(f"row {number + 1} is {_shown(row)}, not a list of calls, one per site: send {EXAMPLE}")


def _place(row: int, column: int, sites: list[str]) -> str:
    return f"row {row + 1}, " + (f"site {sites[column]}" if column < len(sites) else f"column {column + 1}")


def _shown(value: Any) -> str:
    """Return a value as JSON writes it, cut if it is long."""
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
