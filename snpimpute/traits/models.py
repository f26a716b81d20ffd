"""Tests of each site: linear and logistic regression by plink2, the mixed model for relatives by GEMMA."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.alone import work_folder
from snpimpute.base.errors import InputError
from snpimpute.traits.dosages import Dosages
from snpimpute.traits.exchange import import_dosages, run_plink2, run_tool, site_numbers, write_dosages
from snpimpute.traits.phenotypes import Trait
from snpimpute.traits.relatedness import parts_to_test

RESULTS = ("beta", "standard_error", "p_value", "neg_log_10_p_value", "n")


def regression(dosages: Dosages, trait: Trait, threads: int = 1, *, logistic: bool | None = None) -> pd.DataFrame:
    """Test each site by plink2 --glm: linear regression, or logistic (Firth's, where that has no end).

    A sample counts at a site where its dosage is known.

    Args:
        dosages: of the trait's samples, in their order.
        trait: values and covariates.
        threads: of plink2.
        logistic: whether the regression of a binary trait is logistic; None = it is.

    Returns:
        A row per site: `beta` of one ALT (of a binary trait the logarithm of the odds ratio), `standard_error`, `p_value`,
        `neg_log_10_p_value`, `n` samples; NaN where it cannot be tested, as a site that does not vary.

    Raises:
        InputError: plink2 is missing, or fails.
    """
    logistic = trait.binary if logistic is None else logistic
    with work_folder("associate") as folder:
        write_dosages(folder, dosages)
        import_dosages(folder)
        names = [f"i{i}" for i in range(trait.n_samples)]
        # plink2 takes 1/2 for a binary trait, and any other numbers for what they are
        values = trait.values + 1 if logistic else _unit(trait.values) if trait.binary else trait.values
        _table(folder / "trait.txt", names, {"trait": values})
        command = ["--pfile", "data", "--pheno", "trait.txt", "--out", "found"]
        covariates = {f"c{k}": _unit(column) for k, column in enumerate(trait.covariates.T)}
        if covariates:
            _table(folder / "covariates.txt", names, covariates)
            command += ["--covar", "covariates.txt"]
        # what the covariates must not be is known before: plink2's own limits would silence sites in their LD
        command += ["--vif", "1e9", "--max-corr", "1"]
        command += ["--glm", "omit-ref", "hide-covar", "cols=chrom,pos,nobs,beta,se,p"]
        command += [] if covariates else ["allow-no-covars"]
        run_plink2(command, folder, threads)
        written = [path for path in folder.glob("found.trait.glm.*") if path.suffix != ".id"]
        found = _results(written[0], dosages, "ID", ("BETA", "SE", "P", "OBS_CT"))
    if trait.binary and not logistic:
        found[["beta", "standard_error"]] *= trait.values.std()
    return found


def mixed_model(
    dosages: Dosages,
    trait: Trait,
    tested: np.ndarray | None = None,
    progress: Callable[[float, float], None] | None = None,
) -> tuple[pd.DataFrame, list[str]]:
    """Test each site by GEMMA's linear mixed model (Wald test, REML), with the relationship that leaves the site's part out.

    A missing dosage counts as the site's mean. A binary trait is tested as 0 and 1.

    Args:
        dosages: all sites, of the trait's samples in their order.
        trait: values and covariates.
        tested: bool (n_sites,), the sites to test; None = all. The others tell relationship.
        progress: is told how many sites are done, and of how many.

    Returns:
        The results as those of `regression`, and what was left out of the relationship for each part.

    Raises:
        InputError: GEMMA is missing, or fails.
    """
    tested = np.ones(dosages.n_sites, dtype=bool) if tested is None else tested
    found = pd.DataFrame(np.nan, index=range(dosages.n_sites), columns=list(RESULTS))
    parts, done = [], 0
    for what, part, relationship in parts_to_test(dosages, tested):
        parts.append(what)
        found.loc[part] = _gemma(dosages.take_sites(part), trait, relationship).to_numpy()
        done += int(part.sum())
        if progress is not None:
            progress(done, int(tested.sum()))
    return found, parts


def _gemma(dosages: Dosages, trait: Trait, relationship: np.ndarray) -> pd.DataFrame:
    """Run GEMMA over sites with one relationship."""
    with work_folder("associate") as folder:
        write_dosages(folder, dosages)
        np.savetxt(folder / "trait.txt", trait.values, fmt="%.12g")
        scaled = [_unit(column) for column in trait.covariates.T]
        np.savetxt(folder / "covariates.txt", np.column_stack([np.ones(trait.n_samples), *scaled]), fmt="%.12g")
        np.savetxt(folder / "relationship.txt", relationship, fmt="%.12g", delimiter="\t")
        command = [
            "-g",
            "genotypes.txt",
            "-p",
            "trait.txt",
            "-c",
            "covariates.txt",
            "-k",
            "relationship.txt",
            "-lmm",
            "1",
        ]
        command += ["-miss", "1", "-maf", "0", "-r2", "1", "-notsnp", "-outdir", ".", "-o", "found"]
        run_tool("gemma", command, folder)
        if not (folder / "found.assoc.txt").exists():
            raise InputError("gemma failed: it wrote no results")
        found = _results(folder / "found.assoc.txt", dosages, "rs", ("beta", "se", "p_wald", ""))
        return found.assign(n=np.where(found.beta.notna(), float(trait.n_samples), np.nan))


def _unit(column: np.ndarray) -> np.ndarray:
    """Return a covariate with mean 0 and variance 1: large ones (years) spoil the programs' digits, and no effect changes."""
    return (column - column.mean()) / column.std()


def _table(path: Path, names: list[str], columns: dict[str, np.ndarray]) -> None:
    """Write a table of samples as plink2 reads it."""
    table = pd.DataFrame({"#IID": names, **columns})
    table.to_csv(path, sep="\t", index=False, float_format="%.12g")


def _results(path: Path, dosages: Dosages, key: str, columns: tuple[str, str, str, str]) -> pd.DataFrame:
    """Read a program's results as a row per site.

    Args:
        path: the table.
        dosages: the sites.
        key: column of the sites' names.
        columns: names of effect, standard error, p-value and number of samples; empty = not there.
    """
    table = pd.read_csv(path, sep="\t", dtype=str)
    at = site_numbers(table[key].tolist())
    found = pd.DataFrame(np.nan, index=range(dosages.n_sites), columns=list(RESULTS))
    beta, error, p, n = columns
    for ours, theirs in (("beta", beta), ("standard_error", error), ("p_value", p), ("n", n)):
        if theirs:
            found.loc[at, ours] = pd.to_numeric(table[theirs], errors="coerce").to_numpy()
    found.loc[at, "neg_log_10_p_value"] = [negative_log10(text) for text in table[p].fillna("")]
    return found.where(found.beta.notna() & found.standard_error.notna() & found.neg_log_10_p_value.notna())


def negative_log10(text: str) -> float:
    """Return −log₁₀ of a p-value as text, which may be smaller than a float holds; NaN if it is no p-value above 0."""
    mantissa, _, exponent = text.lower().partition("e")
    try:
        value = float(mantissa)
        return -(np.log10(value) + int(exponent or 0)) if value > 0 else np.nan
    except ValueError:
        return np.nan
