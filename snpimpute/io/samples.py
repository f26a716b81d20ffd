"""The sample table and the pedigree: labels and parents of samples."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.base.words import numbered
from snpimpute.genotypes.matrix import SAMPLE_COLUMNS, GenotypeMatrix
from snpimpute.io.filters import require_unique, shortened

PARENTS = ("sire", "dam")
COLUMNS = (*SAMPLE_COLUMNS, *PARENTS)
UNKNOWN_PARENT = ("0", ".", "NA")


def read_samples(path: Path) -> pd.DataFrame:
    """Read a sample table: tab-separated, a header line, one row per sample.

    Columns: `sample` (or `id`, required), `group`, `family`, `sex` (any text), `birth_order` (a number, larger = younger),
    `sire`, `dam` (names). All but `sample` may be left out or have empty cells. Other columns are refused, so that a
    misspelled one is noticed.

    Returns:
        The columns that are there, in the order of COLUMNS: strings, an empty string where unknown; birth_order float,
        NaN where unknown.

    Raises:
        InputError: no such file, not such a table, a sample with two rows, a birth_order that is not a number.
    """
    path = Path(path)
    table = with_sample_column(read_table(path))
    if "sample" not in table.columns:
        raise InputError(
            f"{path.name} has no column 'sample' (or 'id'): its tab-separated header reads {shortened(list(table.columns))}"
        )
    if unknown := [column for column in table.columns if column not in COLUMNS]:
        raise InputError(f"{path.name} has unknown columns: {shortened(unknown)}; known are {', '.join(COLUMNS)}")
    table = table[[column for column in COLUMNS if column in table.columns]]
    table = named_once(table, path)
    if "birth_order" in table:
        order = pd.to_numeric(table.birth_order.replace("", np.nan), errors="coerce")
        wrong = np.flatnonzero(~np.isfinite(order) & (table.birth_order != ""))
        if len(wrong):
            row = table.iloc[wrong[0]]
            raise InputError(
                f"{path.name}: birth_order of sample {row['sample']} is {row.birth_order!r}, which is not a number"
            )
        table["birth_order"] = order.astype(float)
    return _with_parents(table)


def read_pedigree(path: Path) -> pd.DataFrame:
    """Read a pedigree: tab-separated, a header line, one row per animal in any order, genotyped or not.

    Columns: `sample` (or `id`), `sire`, `dam`; an unknown parent is 0, NA, a point or empty. Others are ignored.

    Returns:
        The columns sample, sire, dam: strings, an empty string for an unknown parent.

    Raises:
        InputError: no such file, not such a table, an animal with two rows.
    """
    path = Path(path)
    table = with_sample_column(read_table(path))
    if missing := [column for column in ("sample", *PARENTS) if column not in table.columns]:
        raise InputError(
            f"{path.name} has no column {missing[0]!r}: a pedigree has the tab-separated columns sample (or id), sire, dam"
        )
    return _with_parents(named_once(table[["sample", *PARENTS]], path))


def read_table(path: Path, separator: str = "\t") -> pd.DataFrame:
    """Read a table with a header line, as strings; InputError if there is no such file, or it is no such table."""
    kind = "tab-separated" if separator == "\t" else "comma-separated"
    try:
        with warnings.catch_warnings():
            # pandas would cut a row with more cells than the header
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                path, sep=separator, dtype=str, keep_default_na=False, index_col=False, encoding="utf-8-sig"
            )
    except pd.errors.ParserWarning:
        raise InputError(
            f"{path.name} is not a {kind} table: rows have more cells than the header line has names"
        ) from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except pd.errors.ParserError as error:
        raise InputError(f"{path.name} is not a {kind} table: {str(error).split('C error:')[-1].strip()}") from None
    except ValueError:
        raise InputError(f"{path.name} is not a {kind} table with a header line") from None
    table.columns = table.columns.str.strip()
    for name in table:
        if (broken := table[name].str.contains("\n", regex=False)).any():
            raise InputError(
                f"{path.name} has a quotation mark that nothing closes: column {name!r} of row {int(broken.argmax()) + 1}"
            )
    return table


def with_sample_column(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with its column `id`, as pedigrees have it, called `sample`, unless there is one of that name."""
    return table if "sample" in table.columns else table.rename(columns={"id": "sample"})


def named_once(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return the table with its cells stripped; InputError unless every row has a name of its own."""
    table = table.fillna("").apply(lambda cells: cells.str.strip())
    if (table["sample"] == "").any():
        raise InputError(
            f"{path.name} has a row without a sample name: row {(table['sample'] == '').to_numpy().argmax() + 1}"
        )
    require_unique(table["sample"].tolist(), path.name)
    return table


def _with_parents(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with an empty string for every unknown parent."""
    return table.assign(**{p: table[p].mask(table[p].isin(UNKNOWN_PARENT), "") for p in PARENTS if p in table})


def left_out_of(table: pd.DataFrame, names: Sequence[str], genotypes: str) -> str:
    """Return what is said of rows of a sample table whose samples a file does not have; empty if it has all of them.

    Args:
        table: as read_samples gives it, of a whole herd perhaps.
        names: samples of the file.
        genotypes: what has the names, for messages.

    Raises:
        InputError: the table names none of the samples.
    """
    others = table["sample"][~table["sample"].isin(names)].tolist()
    if len(others) == len(table):
        raise InputError(
            f"the sample table names none of the samples of {genotypes}: it has {shortened(table['sample'].tolist())}, "
            f"{genotypes} {shortened(names)}"
        )
    if not others:
        return ""
    return (
        f"the sample table has {numbered(len(others), 'sample')} without genotypes in {genotypes}, left out: "
        f"{shortened(others)}"
    )


def attach_samples(matrix: GenotypeMatrix, table: pd.DataFrame) -> GenotypeMatrix:
    """Return the matrix with the labels of a sample table, which replace its own.

    Samples that are not in the table keep theirs; rows of samples that the matrix does not have are left out.

    Args:
        matrix: genotypes.
        table: as read_samples gives it.
    """
    samples = matrix.samples.copy()
    labels = table.set_index("sample")
    for column in labels.columns:
        old = samples.get(column, np.nan if column == "birth_order" else "")
        new = samples["sample"].map(labels[column])
        samples[column] = new.where(samples["sample"].isin(labels.index), old)
    return replace(matrix, samples=samples[[column for column in COLUMNS if column in samples]])
