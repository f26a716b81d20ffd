"""A student predictor, which learns what another one, its teacher, predicts for samples whose trait need not be known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.base.progress import Watch
from snpimpute.base.words import numbered
from snpimpute.metrics.prediction import correlation, measure_interval
from snpimpute.report.text import Score
from snpimpute.traits.folds import folds_of
from snpimpute.traits.learned import Learned, read_target
from snpimpute.traits.predictors import load
from snpimpute.traits.predictors.cohort import Cohort

FOLDS = 5


@dataclass(frozen=True, eq=False)
class Distilled:
    """A student and how well it stands in for its teacher.

    Attributes:
        student: learned from all samples.
        agreement: correlation of student and teacher over FOLDS random folds, each predicted by a student that did not learn from it.
        n_samples: number of samples learned from.
        sizes: numbers of fitted numbers of student and teacher; None of a predictor that keeps its samples.
        notes: what was noticed.
    """

    student: Learned
    agreement: Score
    n_samples: int
    sizes: tuple[int | None, int | None]
    notes: tuple[str, ...]


def distil(
    teacher: Learned,
    genotypes: Path,
    name: str,
    watch: Watch,
    *,
    params: Mapping[str, Any] | None = None,
    traits: Path | None = None,
    sample_column: str | None = None,
    seed: int = 1,
    threads: int = 1,
) -> Distilled:
    """Fit a student to what a teacher predicts for a file's samples.

    Of a binary trait the student learns the teacher's probabilities as numbers.

    Args:
        teacher: the fitted predictor; the student has its sites and covariates.
        genotypes: file of the samples.
        name: of the student's predictor.
        watch: receives the progress.
        params: of the student, which are not its defaults.
        traits, sample_column: see `learned.read_target`.
        seed, threads: of the folds and the student.

    Raises:
        InputError: see `learned.read_target` and `Predictor.fit`; an unknown predictor; the teacher predicts the same for all.
    """
    load(name).require_program()
    watch.stage("reading genotypes")
    cohort, names, notes = read_target(teacher, genotypes, traits, sample_column)
    watch.stage("the teacher predicts")
    taught = taught_by(teacher, cohort)
    if np.ptp(taught.values) == 0:
        raise InputError(
            f"{genotypes.name}: the teacher predicts the same for all samples, there is nothing to learn from it"
        )
    if cohort.binary:
        notes = (
            *notes,
            "the student gives the probability of a case as a number, which may be a little below 0 or above 1",
        )
    cls = load(name)
    given = cls.parse_params(params or {})
    watch.stage("measuring")
    folds = folds_of(pd.DataFrame({"sample": names}), "random", FOLDS, 1, seed)
    reached = np.empty(len(folds))
    for k, fold in enumerate(folds):
        watch.progress(k, len(folds))
        fitted = cls(given, seed=seed, threads=threads).fit(taught.take_samples(fold.train))
        predicted = fitted.predict(taught.take_samples(fold.test).without_trait())
        reached[k] = correlation(taught.values[fold.test], predicted.astype(np.float64))
    share = float(np.mean([len(fold.test) / len(fold.train) for fold in folds]))
    agreement = Score(*measure_interval("pcc", reached, share), len(folds))
    watch.stage("learning")
    student = cls(given, seed=seed, threads=threads).fit(taught)
    sizes = (student.n_parameters(), teacher.predictor.n_parameters())
    return Distilled(Learned(student, teacher.trait, teacher.coding), agreement, cohort.n_samples, sizes, tuple(notes))


def taught_by(teacher: Learned, cohort: Cohort) -> Cohort:
    """Return samples with what the teacher predicts for them in the trait's place."""
    predicted = teacher.predictor.predict(cohort.without_trait()).astype(np.float64)
    return replace(cohort, values=predicted, binary=False)


def size_of(n: int | None) -> str:
    """Return a number of fitted numbers in words."""
    return "the samples that it keeps" if n is None else numbered(n, "parameter")
