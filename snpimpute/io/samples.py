"""The sample table: what is known of the samples beside their genotypes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.errors import InputError
from snpimpute.genotypes import SAMPLE_COLUMNS, GenotypeMatrix
from snpimpute.io.filters import require_unique, shortened


def read_samples(path: Path) -> pd.DataFrame:
    """Read a sample table: tab-separated, a header line, a row per sample.

    Columns: `sample` (required), `group`, `family`, `sex` (any text), `birth_order` (a number, larger = younger); all
    but `sample` may be left out, or their cells be empty. Other columns are refused, so that a misspelled one is seen.

    Returns:
        The columns that are there, in the order of genotypes.SAMPLE_COLUMNS: strings, an empty string where unknown;
        birth_order float, NaN where unknown.
    """
    path = Path(path)
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, index_col=False, encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except pd.errors.ParserError as error:
        raise InputError(
            f"{path.name} is not a tab-separated table: {str(error).split('C error:')[-1].strip()}"
        ) from None
    except ValueError:
        raise InputError(f"{path.name} is not a tab-separated table with a header line") from None
    table.columns = table.columns.str.strip()
    if "sample" not in table.columns:
        raise InputError(
            f"{path.name} has no column 'sample': its tab-separated header reads {shortened(list(table.columns))}"
        )
    if unknown := [column for column in table.columns if column not in SAMPLE_COLUMNS]:
        raise InputError(
            f"{path.name} has columns nobody knows: {shortened(unknown)}; known are {', '.join(SAMPLE_COLUMNS)}"
        )
    table = table[[column for column in SAMPLE_COLUMNS if column in table.columns]]
    table = table.fillna("").apply(lambda cells: cells.str.strip())
    if (table["sample"] == "").any():
        raise InputError(
            f"{path.name} has a row without a sample name: row {(table['sample'] == '').to_numpy().argmax() + 1}"
        )
    require_unique(table["sample"].tolist(), path.name)
    if "birth_order" in table:
        order = pd.to_numeric(table.birth_order.replace("", np.nan), errors="coerce")
        wrong = np.flatnonzero(~np.isfinite(order) & (table.birth_order != ""))
        if len(wrong):
            row = table.iloc[wrong[0]]
            raise InputError(
                f"{path.name}: birth_order of sample {row['sample']} is {row.birth_order!r}, which is not a number"
            )
        table["birth_order"] = order.astype(float)
    return table


def attach_samples(matrix: GenotypeMatrix, table: pd.DataFrame, source: str = "the sample table") -> GenotypeMatrix:
    """The matrix with the labels of a sample table, which win over labels it had; samples not in the table keep theirs.

    Args:
        matrix: genotypes.
        table: as read_samples gives it.
        source: what the table is called in an error.

    Raises:
        InputError: the table names samples that the matrix has not.
    """
    known = set(matrix.names)
    if unknown := [name for name in table["sample"] if name not in known]:
        raise InputError(
            f"{source} names samples that have no genotypes: {shortened(unknown)}; the genotypes have {shortened(matrix.names)}"
        )
    samples = matrix.samples.copy()
    labels = table.set_index("sample")
    for column in labels.columns:
        before = samples.get(column, np.nan if column == "birth_order" else "")
        found = samples["sample"].map(labels[column])
        samples[column] = found.where(samples["sample"].isin(labels.index), before)
    return replace(matrix, samples=samples[[column for column in SAMPLE_COLUMNS if column in samples]])
