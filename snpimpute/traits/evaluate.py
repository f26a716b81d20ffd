"""Comparison of predictors of a trait by cross-validation: measures, and paired differences to GBLUP and boosted trees."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute import __version__
from snpimpute.base.errors import InputError
from snpimpute.base.progress import Watch
from snpimpute.base.words import numbered
from snpimpute.metrics.prediction import MEASURES, fold_interval
from snpimpute.report.text import Score, interval, number, signed
from snpimpute.traits.cohorts import read_genotypes
from snpimpute.traits.folds import Fold, folds_of
from snpimpute.traits.phenotypes import read_traits, trait_of
from snpimpute.traits.predictors import load, names
from snpimpute.traits.predictors.cohort import Cohort
from snpimpute.traits.predictors.contract import Predictor

OPPONENTS = ("gblup", "lightgbm")  # that every other predictor is compared with
COLUMNS = ("predictor", "measure", "versus", "value", "low", "high", "n")


@dataclass(frozen=True)
class EvaluationSettings:
    """What is compared, and how.

    Attributes:
        genotypes: genotype file or table of markers, see `cohorts.read_genotypes`.
        traits: table of traits.
        trait: its column.
        predictors: names; those that learn without epochs if empty. OPPONENTS are always among them.
        params: predictor → parameters that are not its defaults.
        covariates: columns of the table.
        scheme, folds, repeats: see `folds.folds_of`.
        region: sites used; None = all.
        sample_column: column of the table with the samples' names.
        seed, threads: of folds and predictors.
    """

    genotypes: Path
    traits: Path
    trait: str
    predictors: tuple[str, ...] = ()
    params: tuple[tuple[str, dict[str, Any]], ...] = ()
    covariates: tuple[str, ...] = ()
    scheme: str = "random"
    folds: int = 5
    repeats: int = 1
    region: str | None = None
    sample_column: str | None = None
    seed: int = 1
    threads: int = 1


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Result of the comparison.

    Attributes:
        settings: what was asked for.
        n_samples, n_sites, binary: of the trait and the genotypes.
        table: a row per predictor, measure and `versus` ("" = the measure itself, else its paired difference to that predictor);
            columns COLUMNS, n the number of folds.
        seconds: predictor → mean time of learning on a fold.
        parameters: predictor → number of fitted numbers of the last fold; None of those that keep their samples.
        notes: what was noticed.
    """

    settings: EvaluationSettings
    n_samples: int
    n_sites: int
    binary: bool
    table: pd.DataFrame
    seconds: dict[str, float]
    parameters: dict[str, int | None]
    notes: tuple[str, ...]

    def score(self, predictor: str, measure: str, versus: str = "") -> Score:
        """Return one result with its interval."""
        t = self.table
        row = t[(t.predictor == predictor) & (t.measure == measure) & (t.versus == versus)].iloc[0]
        return Score(row["value"], row.low, row.high, row.n)

    def verdict(self, predictor: str, versus: str) -> str:
        """Return "better" or "worse" by correlation where the interval leaves out zero, else "not told apart"."""
        if predictor == versus:
            return ""
        difference = self.score(predictor, "pcc", versus)
        if difference.low > 0:
            return "better"
        return "worse" if difference.high < 0 else "not told apart"


def evaluate_predictors(settings: EvaluationSettings, watch: Watch) -> Evaluation:
    """Compare predictors on the same folds. All that looks at the trait or at frequencies is done within a fold's samples.

    Raises:
        InputError: a file cannot be read, see `cohorts.read_genotypes` and `phenotypes.trait_of`; an unknown predictor or
            scheme; fewer than two folds.
    """
    if settings.folds < 2:
        raise InputError(f"--folds {settings.folds} is too few: at least 2 are needed")
    classes = _classes(settings.predictors)
    watch.stage("reading genotypes")
    genotypes = read_genotypes(settings.genotypes, settings.region)
    table = read_traits(settings.traits, settings.sample_column)
    trait = trait_of(
        table,
        settings.trait,
        genotypes.samples,
        covariates=settings.covariates,
        source=settings.traits.name,
        genotypes=genotypes.name,
    )
    rows = table.set_index("sample", drop=False).loc[trait.samples].reset_index(drop=True)
    folds = folds_of(rows, settings.scheme, settings.folds, settings.repeats, settings.seed)
    cohort = genotypes.with_trait(trait)
    measured, seconds, parameters = over_folds(classes, cohort, folds, settings, watch)
    return Evaluation(
        settings,
        cohort.n_samples,
        cohort.n_sites,
        cohort.binary,
        table_of(measured, test_to_train(folds)),
        seconds,
        parameters,
        (*genotypes.notes, *trait.notes),
    )


def plain_predictors() -> list[str]:
    """Return the names of the predictors that learn without epochs: all but the networks."""
    return [name for name in names() if not load(name).learns_in_epochs]


def _classes(wanted: tuple[str, ...]) -> dict[str, type[Predictor]]:
    """Return the predictors by name, OPPONENTS first; "all" means every one there is."""
    chosen = names() if "all" in wanted else list(wanted) or plain_predictors()
    classes = {name: load(name) for name in dict.fromkeys((*OPPONENTS, *chosen))}
    for cls in classes.values():
        cls()  # says what is not installed before anything is read
    return classes


def over_folds(
    classes: dict[str, type[Predictor]],
    cohort: Cohort,
    folds: list[Fold],
    settings: EvaluationSettings,
    watch: Watch,
) -> tuple[dict[tuple[str, str], np.ndarray], dict[str, float], dict[str, int | None]]:
    """Return measures, (predictor, measure) → float (n_folds,), and of each predictor seconds per fold and number of parameters.

    Args:
        classes: the predictors by name.
        cohort: samples with their trait.
        folds: of the samples.
        settings: parameters, seed and threads.
        watch: receives the progress.
    """
    params = dict(settings.params)
    wanted = [name for name, measure in MEASURES.items() if cohort.binary or not measure.binary_alone]
    measured = {(name, measure): np.full(len(folds), np.nan) for name in classes for measure in wanted}
    seconds: dict[str, float] = {}
    parameters: dict[str, int | None] = {}
    watch.stage("predicting")
    for at, (name, cls) in enumerate(classes.items()):
        spent = 0.0
        for k, fold in enumerate(folds):
            watch.progress(at * len(folds) + k, len(classes) * len(folds))
            predictor = cls(cls.parse_params(params.get(name, {})), seed=settings.seed, threads=settings.threads)
            start = time.monotonic()
            predictor.fit(cohort.take_samples(fold.train))
            spent += time.monotonic() - start
            predicted = predictor.predict(cohort.take_samples(fold.test).without_trait()).astype(np.float64)
            for measure in wanted:
                measured[name, measure][k] = MEASURES[measure].of(cohort.values[fold.test], predicted)
        seconds[name], parameters[name] = spent / len(folds), predictor.n_parameters()
    return measured, seconds, parameters


def test_to_train(folds: list[Fold]) -> float:
    """Return the mean over folds of samples predicted by samples learned from."""
    return float(np.mean([len(fold.test) / len(fold.train) for fold in folds]))


def table_of(measured: dict[tuple[str, str], np.ndarray], share: float) -> pd.DataFrame:
    """Return measures as `over_folds` has them, OPPONENTS among them, as `Evaluation.table`.

    Args:
        measured: (predictor, measure) → float (n_folds,).
        share: see `test_to_train`.
    """
    rows = []
    for (name, measure), values in measured.items():
        rows.append((name, measure, "", *fold_interval(values, share), int(np.isfinite(values).sum())))
        for other in OPPONENTS:
            if other != name and MEASURES[measure].better:
                difference = values - measured[other, measure]
                n = int(np.isfinite(difference).sum())
                rows.append((name, measure, other, *fold_interval(difference, share), n))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def summary(found: Evaluation) -> list[str]:
    """Return what was found, in lines: a predictor each, the highest correlation first."""
    s = found.settings
    scheme = "random" if s.scheme == "random" else f"by {s.scheme}"
    lines = [
        f"{s.trait}: {numbered(found.n_samples, 'sample')}, {numbered(found.n_sites, 'site')}, "
        f"{numbered(int(found.table.n.max()), 'fold')} ({scheme}); correlation with its 95% interval over folds"
    ]
    order = sorted(found.seconds, key=lambda name: -found.score(name, "pcc").value)
    width = max(map(len, order))
    for name in order:
        said = [
            f"{signed(found.score(name, 'pcc', other))} ({interval(found.score(name, 'pcc', other), signed=True)}) to {other}: "
            f"{found.verdict(name, other)}"
            for other in OPPONENTS
            if other != name
        ]
        score = found.score(name, "pcc")
        lines.append(f"{name:<{width}}  {number(score.value)} ({interval(score)})  {'; '.join(said)}")
    return [*lines, *(f"note: {note}" for note in found.notes)]


def as_dict(found: Evaluation) -> dict[str, Any]:
    """Return the results, JSON-able; null for what is not known."""
    s = found.settings
    rows = found.table.astype(object).where(found.table.notna(), None).to_dict(orient="records")
    return {
        "genotypes": s.genotypes.name,
        "trait": s.trait,
        "binary": found.binary,
        "samples": found.n_samples,
        "sites": found.n_sites,
        "scheme": s.scheme,
        "seed": s.seed,
        "scores": rows,
        "seconds": found.seconds,
        "parameters": found.parameters,
        "verdicts": {name: {other: found.verdict(name, other) for other in OPPONENTS} for name in found.seconds},
        "notes": list(found.notes),
        "snpimpute": __version__,
    }
