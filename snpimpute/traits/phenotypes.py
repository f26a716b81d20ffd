"""Trait tables: a trait and its covariates, matched with the samples of a genotype file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.base.words import numbered
from snpimpute.io.filters import shortened
from snpimpute.io.samples import named_once, read_table, with_sample_column

UNKNOWN = ("", "NA", "NaN", "nan", "N/A", ".")
SAMPLE_NAMES = ("IID", "#IID")  # what PLINK's tables call the column of samples
FAMILY_NAMES = ("FID", "#FID")  # a column of PLINK's tables that is never a trait
PLINK_UNKNOWN = "-9"  # in tables with PLINK's column of samples
CODINGS = ((0.0, 1.0), (1.0, 2.0))  # of a binary trait: control, case
SMALLEST = 1e-9  # share of a covariate's spread that the others must leave
Coding = dict[str, list[str] | None]  # covariate → its words, the first of which has no column; None = it is a number


@dataclass(frozen=True, eq=False)
class Trait:
    """A trait of samples that have genotypes, with their covariates; a row per sample, none missing.

    Attributes:
        name: the trait's column.
        samples: names, in the order of the genotypes.
        rows: int (n_samples,), the samples' rows in the genotypes.
        values: float64 (n_samples,); a binary trait has 0 (control) and 1 (case).
        binary: whether the trait is binary: coded 0/1 or 1/2 in the table.
        covariates: float64 (n_samples, n_covariates), without a constant; of a covariate in words, a column per word but the
            first in the alphabet.
        covariate_names: their names, (n_covariates,).
        notes: what was noticed: coding, samples left out.
    """

    name: str
    samples: list[str]
    rows: np.ndarray
    values: np.ndarray
    binary: bool
    covariates: np.ndarray
    covariate_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return len(self.values)

    def with_covariates(self, values: np.ndarray, names: Sequence[str], what: str) -> Trait:
        """Return the trait with further covariates, as principal components.

        Args:
            values: float (n_samples, n), a row per sample of the trait.
            names: of the n covariates.
            what: they are, for the message where the trait has too few samples for them or they repeat others.
        """
        both = np.concatenate([self.covariates, np.asarray(values, dtype=np.float64)], axis=1)
        _require_independent(both, (*self.covariate_names, *names), f"trait {self.name} with {what}")
        return replace(self, covariates=both, covariate_names=(*self.covariate_names, *names))

    def residuals(self) -> np.ndarray:
        """Return the values without what a constant and the covariates explain, float64 (n_samples,)."""
        return without_covariates(self.values, self.covariates)


def without_covariates(values: np.ndarray, covariates: np.ndarray) -> np.ndarray:
    """Return what a constant and covariates, float64 (n_samples, n_covariates), leave of values, float64 (n_samples,)."""
    design = np.column_stack([np.ones(len(values)), covariates])
    return values - design @ np.linalg.lstsq(design, values, rcond=None)[0]


def read_traits(path: Path, sample_column: str | None = None) -> pd.DataFrame:
    """Read a table of traits and covariates: a header line, a row per sample; comma-separated in a .csv, else tab-separated.

    Args:
        path: the table.
        sample_column: column of the samples' names; None = `sample`, `id` or, as PLINK has it, `IID`.

    Returns:
        The column `sample` and all others, as strings; an empty string where a value is unknown (empty, NA, NaN or a point; -9
        too, where the samples stand under IID).

    Raises:
        InputError: no such file, not such a table, no column of samples, a sample with two rows.
    """
    path = Path(path)
    table = read_table(path, "," if path.suffix.lower() == ".csv" else "\t")
    of_plink = False
    if sample_column is None:
        named = next((name for name in SAMPLE_NAMES if name in table.columns), None)
        of_plink = named is not None and not {"sample", "id"} & set(table.columns)
        table = table.rename(columns={named: "sample"}) if of_plink else with_sample_column(table)
    elif sample_column in table.columns:
        table = table.drop(columns="sample", errors="ignore") if sample_column != "sample" else table
        table = table.rename(columns={sample_column: "sample"})
    wanted = sample_column or "sample"
    if "sample" not in table.columns:
        raise InputError(
            f"{path.name} has no column {wanted!r} of sample names (--sample-column names another): "
            f"its header reads {shortened(list(table.columns))}"
        )
    if repeated := table.columns[table.columns.duplicated()].tolist():
        raise InputError(f"{path.name} has columns more than once: {shortened(repeated)}; give each a name of its own")
    table = named_once(table.drop(columns=list(FAMILY_NAMES), errors="ignore"), path)
    others = table.columns.drop("sample")
    unknown = [*UNKNOWN, PLINK_UNKNOWN] if of_plink else UNKNOWN
    return table.assign(**{column: table[column].mask(table[column].isin(unknown), "") for column in others})


def trait_of(
    table: pd.DataFrame,
    name: str,
    genotyped: Sequence[str],
    *,
    covariates: Sequence[str] = (),
    source: str = "the trait table",
    genotypes: str = "the genotypes",
) -> Trait:
    """Return a trait with its covariates, of the samples that have genotypes and all values.

    Args:
        table: as read_traits gives it.
        name: the trait's column.
        genotyped: samples of the genotype file, in its order.
        covariates: their columns; one that holds words becomes a column per word but the first.
        source, genotypes: names of the two files, for messages.

    Raises:
        InputError: a column that is not there, a value that is not a number, no sample in common, a trait that does not vary
            or has too few samples for its covariates, covariates that do not vary or follow from others.
    """
    for column in (name, *covariates):
        if column == "sample" or column not in table.columns:
            raise InputError(
                f"{source} has no column {column!r}: it has {shortened(list(table.columns.drop('sample')))}"
            )
    if name in covariates:
        raise InputError(f"{name} is the trait, and cannot be a covariate too")
    if len(set(covariates)) < len(covariates):
        raise InputError(f"a covariate is given twice: {shortened(list(covariates))}")
    there = table["sample"].isin(genotyped).to_numpy()
    if not there.any():
        raise InputError(
            f"{source} and {genotypes} have no sample in common: they have {shortened(table['sample'].tolist(), 4)} and "
            f"{shortened(list(genotyped), 4)}"
        )
    of_sample = table.set_index("sample")
    known = of_sample.index[there & (table[[name, *covariates]] != "").all(axis=1).to_numpy()]
    chosen = set(known)
    rows = np.array([i for i, sample in enumerate(genotyped) if sample in chosen], dtype=np.intp)
    samples = [genotyped[i] for i in rows]
    values = _numbers(of_sample.loc[samples, name], name, source)
    notes = _left_out(table, there, len(samples), len(genotyped), name, (source, genotypes))
    if not len(samples) or np.ptp(values) == 0:
        said = (
            f"is {values[0]:g} in all {numbered(len(samples), 'sample')}"
            if len(samples)
            else "is unknown in all samples"
        )
        raise InputError(f"{source}: {name} {said} that have genotypes in {genotypes}: a trait must vary")
    coding = next((pair for pair in CODINGS if set(values) == set(pair)), None)
    if coding is not None:
        values = (values == coding[1]).astype(np.float64)
        cases = int(values.sum())
        notes.append(
            f"{name} is binary, coded {coding[0]:g}/{coding[1]:g}: {coding[1]:g} is taken for a case "
            f"({numbered(cases, 'case')}, {numbered(len(values) - cases, 'control')})"
        )
    cells = of_sample.loc[samples]
    columns, names = coded(cells, coding_of(cells, covariates), source)
    _require_independent(columns, names, f"trait {name}")
    return Trait(name, samples, rows, values, coding is not None, columns, tuple(names), tuple(notes))


def _numbers(cells: pd.Series, name: str, source: str) -> np.ndarray:
    """Return cells as float64; InputError that names the first that is not a finite number."""
    values = pd.to_numeric(cells, errors="coerce").to_numpy(np.float64)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise InputError(
            f"{source}: {name} of sample {cells.index[wrong[0]]} is {cells.iloc[wrong[0]]!r}, which is not a number; "
            "an unknown value is empty or NA"
        )
    return values


def _left_out(
    table: pd.DataFrame, there: np.ndarray, n_used: int, n_genotyped: int, name: str, files: tuple[str, str]
) -> list[str]:
    """Return what is said of the samples that are not used."""
    source, genotypes = files
    notes = []
    if not there.all():
        gone = table["sample"][~there].tolist()
        notes.append(
            f"{source} has {numbered(len(gone), 'sample')} without genotypes in {genotypes}, left out: {shortened(gone, 4)}"
        )
    if (absent := n_genotyped - int(there.sum())) > 0:
        notes.append(f"{genotypes} has {numbered(absent, 'sample')} that {source} does not name, left out")
    if (unknown := int(there.sum()) - n_used) > 0:
        notes.append(f"{numbered(unknown, 'sample')} left out, of unknown {name} or covariates")
    return notes


def coding_of(table: pd.DataFrame, names: Sequence[str]) -> Coding:
    """Return how covariates become numbers: the sorted words of one that holds words, None of one that holds numbers."""
    coding: Coding = {}
    for name in names:
        numbers = np.isfinite(pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64)).all()
        coding[name] = None if numbers else sorted(set(table[name]))
    return coding


def coded(table: pd.DataFrame, coding: Coding, source: str) -> tuple[np.ndarray, list[str]]:
    """Return covariates as float64 (n_samples, n) and the names of the n columns.

    Args:
        table: cells as strings, an index of samples.
        coding: see `coding_of`; of the samples that were learned from, where these are others.
        source: name of the table, for messages.

    Raises:
        InputError: a covariate that is not there, a value that is not a number, a word that is not in the coding.
    """
    columns: list[np.ndarray] = []
    found: list[str] = []
    for name, words in coding.items():
        if name not in table:
            raise InputError(f"{source} has no column {name!r}: the covariates are {shortened(list(coding))}")
        if words is None:
            columns.append(_numbers(table[name], name, source))
            found.append(name)
            continue
        strange = (~table[name].isin(words)).to_numpy()
        if strange.any():
            at = int(strange.argmax())
            raise InputError(
                f"{source}: {name} of sample {table.index[at]} is {table[name].iloc[at]!r}, and is known as {shortened(words)}"
            )
        for word in words[1:]:
            columns.append((table[name] == word).to_numpy(np.float64))
            found.append(f"{name}={word}")
    return np.column_stack(columns) if columns else np.empty((len(table), 0)), found


def _require_independent(columns: np.ndarray, names: Sequence[str], what: str) -> None:
    """Raise InputError that names the first covariate that a constant and those before it explain.

    Args:
        columns: float64 (n_samples, n).
        names: of the n covariates.
        what: has them, for messages.
    """
    n_samples, n = columns.shape
    if n_samples < n + 3:  # a constant, the site, and one degree of freedom
        raise InputError(
            f"{what} has {numbered(n_samples, 'sample')} and {numbered(n, 'covariate')}: too few samples, at least {n + 3} are needed"
        )
    basis = [np.full(n_samples, n_samples**-0.5)]
    for column, name in zip(columns.T, names, strict=True):
        spread = np.linalg.norm(column - column.mean())
        if spread == 0:
            raise InputError(f"{what}: covariate {name} is the same in all samples: leave it out")
        rest = column - column.mean()
        for _ in range(2):  # twice, since rounding leaves a little of what was taken off
            rest = rest - np.column_stack(basis) @ (np.column_stack(basis).T @ rest)
        if np.linalg.norm(rest) < SMALLEST * spread:
            raise InputError(f"{what}: covariate {name} follows from the others: leave it out")
        basis.append(rest / np.linalg.norm(rest))
