"""Association results as tables: written and read in the GWAS Catalog's format, GWAS-SSF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.io.filters import shortened
from snpimpute.io.samples import read_table
from snpimpute.traits.dosages import Dosages

# The mandatory columns in their order, then encouraged ones, by these names in the standard (GWAS-SSF 1.0); info is DR2.
MANDATORY = (
    "chromosome",
    "base_pair_location",
    "effect_allele",
    "other_allele",
    "beta",
    "standard_error",
    "effect_allele_frequency",
    "p_value",
)
FURTHER = ("rsid", "variant_id", "ref_allele", "info", "n", "neg_log_10_p_value")
COLUMNS = (*MANDATORY, *FURTHER)
ABSENT = "#NA"  # the standard's word for a value that is not there
MEDIAN_CHI2 = 0.45493642311957  # of χ² with one degree of freedom
UNDERFLOW = 300.0  # −log₁₀ of p-values from which on they are spelled from their logarithm


def gwas_table(dosages: Dosages, results: pd.DataFrame) -> pd.DataFrame:
    """Return the tested sites as a table with COLUMNS, in the file's order.

    The effect allele is ALT, the other REF.

    Args:
        dosages: the samples that were used.
        results: a row per site, as `models.regression` gives them.
    """
    sites = dosages.sites
    name = [f"{c}_{p}_{r}_{a}" for c, p, r, a in zip(sites.contig, sites.pos, sites.ref, sites.alt, strict=True)]
    table = pd.DataFrame(
        {
            "chromosome": sites.contig,
            "base_pair_location": sites.pos,
            "effect_allele": sites.alt,
            "other_allele": sites.ref,
            "beta": results.beta,
            "standard_error": results.standard_error,
            "effect_allele_frequency": dosages.frequency(),
            "p_value": results.p_value,
            "rsid": sites.id,
            "variant_id": name,
            "ref_allele": "OA",
            "info": dosages.quality,
            "n": results.n,
            "neg_log_10_p_value": results.neg_log_10_p_value,
        }
    )
    return table[results.beta.notna().to_numpy()].reset_index(drop=True)


def as_text(table: pd.DataFrame) -> str:
    """Return a table of `gwas_table` as GWAS-SSF text."""
    written = table.assign(
        p_value=[spelled_p(p, log) for p, log in zip(table.p_value, table.neg_log_10_p_value, strict=True)],
        rsid=table.rsid.replace("", ABSENT),
        n=table.n.astype(int),
    )
    return written.to_csv(sep="\t", index=False, na_rep=ABSENT, float_format="%.7g")


def spelled_p(p: float, negative_log: float) -> str:
    """Return a p-value as text, from −log₁₀ of it where a float does not hold it."""
    if negative_log < UNDERFLOW:
        return f"{p:.6g}"
    exponent = int(np.ceil(negative_log))
    return f"{10 ** (exponent - negative_log):.6f}e-{exponent}"


def read_gwas(path: Path) -> pd.DataFrame:
    """Read association results in GWAS-SSF, of whichever program: plain or compressed (.gz).

    Returns:
        The columns of COLUMNS (rsid, variant_id and ref_allele as strings, the rest numbers, NaN where unknown), in the
        file's order; rows without effect or standard error are left out. `p_value` may be given by neg_log_10_p_value.

    Raises:
        InputError: no such file, a mandatory column that is not there, a value that is not a number, no row.
    """
    path = Path(path)
    table = read_table(path)
    if "beta" not in table and "odds_ratio" in table:
        table["beta"] = np.log(_numbers(table, "odds_ratio", path))
    if "p_value" not in table and "neg_log_10_p_value" in table:
        table["p_value"] = 10.0 ** -_numbers(table, "neg_log_10_p_value", path)
    if missing := [column for column in MANDATORY if column not in table.columns]:
        raise InputError(
            f"{path.name} has no column {missing[0]!r}: association results are a TSV of the GWAS Catalog's columns "
            f"({', '.join(MANDATORY)}), it has {shortened(list(table.columns))}"
        )
    found = pd.DataFrame(index=table.index)
    for column in COLUMNS:
        if column in ("chromosome", "effect_allele", "other_allele", "rsid", "variant_id", "ref_allele"):
            found[column] = table[column].replace(ABSENT, "") if column in table else ""
        else:
            found[column] = _numbers(table, column, path) if column in table else np.nan
    own = -np.log10(found.p_value.where(found.p_value > 0))
    found["neg_log_10_p_value"] = found.neg_log_10_p_value.fillna(own)
    found = found[found.beta.notna() & (found.standard_error > 0) & found.base_pair_location.notna()]
    if found.empty:
        raise InputError(f"{path.name} has no row with an effect and its standard error")
    return found.astype({"base_pair_location": np.int64}).reset_index(drop=True)


def _numbers(table: pd.DataFrame, column: str, path: Path) -> pd.Series:
    """Return a column as float64, NaN where it is empty, NA or #NA; InputError at the first that is no number."""
    cells = table[column].map(str)
    values = pd.to_numeric(cells, errors="coerce")
    wrong = np.flatnonzero(values.isna() & ~cells.isin(["", "NA", "nan", ABSENT]))
    if len(wrong):
        raise InputError(
            f"{path.name}: {column} in row {wrong[0] + 1} is {cells.iloc[wrong[0]]!r}, which is not a number"
        )
    return values


def genomic_inflation(negative_logs: np.ndarray) -> float:
    """Return the median χ² of the tests over that of no effect anywhere; NaN without tests.

    Args:
        negative_logs: float (n,), −log₁₀ of the p-values.
    """
    from scipy.stats import chi2

    known = negative_logs[np.isfinite(negative_logs)]
    if not len(known):
        return np.nan
    return float(chi2.isf(10.0 ** -np.median(known), 1) / MEDIAN_CHI2)
