"""A predictor learned for a trait, as a folder: learn and save it, read it, predict samples of other files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute import __version__
from snpimpute.base.checksums import require_checksums, write_checksums
from snpimpute.base.errors import InputError
from snpimpute.base.files import written_beside
from snpimpute.base.words import numbered
from snpimpute.io.filters import shortened
from snpimpute.traits.cohorts import read_genotypes
from snpimpute.traits.measured import Measured, write_measured
from snpimpute.traits.phenotypes import Coding, coded, coding_of, read_traits, trait_of
from snpimpute.traits.predictors import load
from snpimpute.traits.predictors.cohort import Cohort
from snpimpute.traits.predictors.contract import Predictor

ABOUT = "trait.json"  # beside the predictor's own folder
PREDICTOR = "predictor"


@dataclass(frozen=True, eq=False)
class Training:
    """Samples to learn a trait from.

    Attributes:
        cohort: their genotypes, trait and covariates.
        trait: name of the trait.
        coding: of its covariates.
        notes: what was noticed.
        rows: of the trait table, as strings, a row per sample of the cohort; column `sample` and all others.
        fields: of the genotype file, that were read, as "GP" or "DS, GT".
    """

    cohort: Cohort
    trait: str
    coding: Coding
    notes: tuple[str, ...]
    rows: pd.DataFrame
    fields: str


@dataclass(frozen=True, eq=False)
class Learned:
    """A learned predictor, with the trait and the covariates that it is of.

    Attributes:
        predictor: the fitted predictor.
        trait: name of the trait.
        coding: of the covariates that it needs.
    """

    predictor: Predictor
    trait: str
    coding: Coding


def read_training(
    genotypes: Path,
    traits: Path,
    trait: str,
    covariates: tuple[str, ...] = (),
    region: str | None = None,
    sample_column: str | None = None,
) -> Training:
    """Read the samples to learn a trait from; InputError as `cohorts.read_genotypes` and `phenotypes.trait_of` have it."""
    read = read_genotypes(genotypes, region)
    table = read_traits(traits, sample_column)
    known = trait_of(table, trait, read.samples, covariates=covariates, source=traits.name, genotypes=read.name)
    rows = table.set_index("sample", drop=False).loc[known.samples].reset_index(drop=True)
    notes = (*read.notes, *known.notes)
    return Training(read.with_trait(known), trait, coding_of(rows, covariates), notes, rows, read.fields)


def learn(training: Training, name: str, params: dict[str, Any], *, seed: int = 1, threads: int = 1) -> Learned:
    """Fit a predictor of that name to all samples; InputError as `Predictor.fit` has it."""
    cls = load(name)
    predictor = cls(cls.parse_params(params), seed=seed, threads=threads)
    return Learned(predictor.fit(training.cohort), training.trait, training.coding)


def save(learned: Learned, folder: Path, measured: Measured | None = None) -> None:
    """Write a learned predictor, and what it reached by fold if it was measured, into a folder that is complete or absent."""
    with written_beside(folder) as beside:
        learned.predictor.save(beside / PREDICTOR)
        about = {
            "trait": learned.trait,
            "predictor": learned.predictor.name,
            "covariates": learned.coding,
            "snpimpute": __version__,
        }
        (beside / ABOUT).write_text(json.dumps(about, indent=1) + "\n")
        if measured is not None:
            write_measured(beside, measured)
        write_checksums(beside)


def read_learned(folder: Path) -> Learned:
    """Read a predictor that `save` wrote.

    Raises:
        InputError: the folder is none, or its files are not those that were saved.
    """
    folder = Path(folder)
    if not (folder / ABOUT).is_file():
        raise InputError(f"{folder} holds no predictor of a trait: give a folder that snpimpute traits fit made")
    require_checksums(folder)
    about = json.loads((folder / ABOUT).read_text())
    return Learned(load(about["predictor"]).load(folder / PREDICTOR), about["trait"], about["covariates"])


def read_target(
    learned: Learned, genotypes: Path, traits: Path | None = None, sample_column: str | None = None
) -> tuple[Cohort, list[str], tuple[str, ...]]:
    """Read samples to be predicted, at the predictor's sites.

    Args:
        learned: the predictor.
        genotypes: file of the samples.
        traits: table of their covariates, if the predictor needs any; the trait is not looked at.
        sample_column: column of the table with the samples' names.

    Returns:
        The samples, their names, and notes.

    Raises:
        InputError: no site in common; covariates that are missing or unknown.
    """
    read = read_genotypes(genotypes).at_sites(learned.predictor.sites)
    covariates, chosen = np.empty((len(read.samples), 0)), np.arange(len(read.samples))
    notes = list(read.notes)
    if learned.coding:
        if traits is None:
            raise InputError(
                f"the predictor of {learned.trait} has covariates, {shortened(list(learned.coding))}: give a table of them by --traits"
            )
        table = read_traits(traits, sample_column).set_index("sample")
        if absent := [name for name in learned.coding if name not in table]:
            raise InputError(
                f"{traits.name} has no column {absent[0]!r}, a covariate of the predictor of {learned.trait}"
            )
        known = set(table.index[(table[list(learned.coding)] != "").all(axis=1)])
        chosen = np.array([i for i, name in enumerate(read.samples) if name in known], dtype=int)
        if not len(chosen):
            raise InputError(f"{traits.name} has the covariates of no sample of {read.name}")
        if left := len(read.samples) - len(chosen):
            notes.append(f"{numbered(left, 'sample')} of {read.name} left out, of unknown covariates")
        covariates, _ = coded(table.loc[[read.samples[i] for i in chosen]], learned.coding, traits.name)
    cohort = Cohort(read.posterior[chosen], read.sites, np.empty(0), covariates, learned.predictor.binary)
    return cohort, [read.samples[i] for i in chosen], tuple(notes)


def predict(
    learned: Learned,
    genotypes: Path,
    traits: Path | None = None,
    sample_column: str | None = None,
    engine: Callable[[Cohort], np.ndarray] | None = None,
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Predict the trait of a file's samples.

    Args:
        learned, genotypes, traits, sample_column: see `read_target`.
        engine: what predicts in the predictor's place, as an exported network does.

    Returns:
        Columns `sample` and the trait's name (of a binary one the probability of a case), and notes; see `read_target`.
    """
    cohort, names, notes = read_target(learned, genotypes, traits, sample_column)
    return pd.DataFrame({"sample": names, learned.trait: (engine or learned.predictor.predict)(cohort)}), notes
