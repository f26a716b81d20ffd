"""Comparison of predictors of a trait by cross-validation: measures, and paired differences to GBLUP and boosted trees."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute import __version__
from snpimpute.base.errors import InputError
from snpimpute.base.progress import Watch
from snpimpute.base.words import numbered
from snpimpute.metrics.prediction import MEASURES, fold_interval, measure_interval
from snpimpute.report.text import Score, interval, known, number, signed
from snpimpute.traits.folds import Fold, folds_of
from snpimpute.traits.given import require_used
from snpimpute.traits.learned import Training, read_training
from snpimpute.traits.measured import Measured, digest_of
from snpimpute.traits.predictors import load, names
from snpimpute.traits.predictors.cohort import Cohort
from snpimpute.traits.predictors.contract import Predictor

OPPONENTS = ("gblup", "lightgbm")  # that every other predictor is compared with
DECIDING = "pcc"  # the measure by which a predictor is better or worse
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
        components: number of principal components of the genotypes that are covariates, too, found within each fold.
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
    components: int = 0
    scheme: str = "random"
    folds: int = 5
    repeats: int = 1
    region: str | None = None
    sample_column: str | None = None
    seed: int = 1
    threads: int = 1

    def __post_init__(self) -> None:
        """Raise InputError of fewer than two folds, before anything is read."""
        if self.folds < 2:
            raise InputError(f"--folds {self.folds} is too few: at least 2 are needed")

    def params_of(self, name: str) -> dict[str, Any]:
        """Return the parameters of a predictor that are not its defaults."""
        return {**dict(self.params).get(name, {}), **self.common()}

    def common(self) -> dict[str, Any]:
        """Return the parameters that all predictors have, and no search changes."""
        return {"components": self.components} if self.components else {}


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
        measured: predictor → its measures by fold.
        fields: of the genotype file, that were read.
    """

    settings: EvaluationSettings
    n_samples: int
    n_sites: int
    binary: bool
    table: pd.DataFrame
    seconds: dict[str, float]
    parameters: dict[str, int | None]
    notes: tuple[str, ...]
    measured: Mapping[str, Measured] = field(default_factory=dict)
    fields: str = ""

    def __str__(self) -> str:
        """Return what was found, in lines, as a log has it."""
        return "\n".join(summary(self))

    def ranked(self) -> list[str]:
        """Return the predictors, the highest correlation first."""
        return ranked_in(self.table)

    def recommended(self) -> str:
        """Return the predictor with the highest correlation of those that are better than the first of OPPONENTS, or that one."""
        first = OPPONENTS[0]
        return next((name for name in self.ranked() if self.verdict(name, first) == "better"), first)

    def score(self, predictor: str, measure: str, versus: str = "") -> Score:
        """Return one result with its interval."""
        return score_in(self.table, predictor, measure, versus)

    def verdict(self, predictor: str, versus: str) -> str:
        """Return "better" or "worse" by correlation where the interval leaves out zero, else "not told apart"."""
        return verdict_in(self.table, predictor, versus)


def score_in(table: pd.DataFrame, predictor: str, measure: str, versus: str = "") -> Score:
    """Return one result of a table as `Evaluation.table` is, with its interval; NaN of what is not in it."""
    rows = table[(table.predictor == predictor) & (table.measure == measure) & (table.versus == versus)]
    if rows.empty:
        return Score(np.nan, np.nan, np.nan, 0)
    row = rows.iloc[0]
    return Score(row["value"], row.low, row.high, row.n)


def ranked_in(table: pd.DataFrame) -> list[str]:
    """Return the predictors of a table as `Evaluation.table` is, the highest correlation first."""
    found = {name: score_in(table, name, DECIDING).value for name in dict.fromkeys(table.predictor)}
    return sorted(found, key=lambda name: -found[name] if known(found[name]) else np.inf)


def verdict_in(table: pd.DataFrame, predictor: str, versus: str) -> str:
    """Return what `Evaluation.verdict` does, of a table as `Evaluation.table` is."""
    if predictor == versus:
        return ""
    return verdict_of(score_in(table, predictor, DECIDING, versus))


def verdict_of(difference: Score) -> str:
    """Return "better" or "worse" where the interval of a difference leaves out zero, else "not told apart"."""
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else "not told apart"


def evaluate_predictors(settings: EvaluationSettings, watch: Watch) -> Evaluation:
    """Compare predictors on the same folds. All that looks at the trait or at frequencies is done within a fold's samples.

    Raises:
        InputError: a file cannot be read, see `learned.read_training`; an unknown predictor or scheme; parameters of a predictor
            that is not compared.
    """
    classes, missing = _classes(settings.predictors)
    require_used(settings.params, classes, "among the predictors that are compared")
    watch.stage("reading genotypes")
    training = training_of(settings)
    folds = folds_in(training, settings)
    cohort = training.cohort
    measured, seconds, parameters = over_folds(classes, cohort, folds, settings, watch)
    return Evaluation(
        settings,
        cohort.n_samples,
        cohort.n_sites,
        cohort.binary,
        table_of(measured, test_to_train(folds)),
        seconds,
        parameters,
        (*training.notes, *missing),
        {name: measured_of(name, measured, training, folds, settings.scheme) for name in classes},
        training.fields,
    )


def training_of(settings: EvaluationSettings) -> Training:
    """Read the samples that the settings name; InputError as `learned.read_training` has it."""
    s = settings
    return read_training(s.genotypes, s.traits, s.trait, s.covariates, s.region, s.sample_column)


def folds_in(training: Training, settings: EvaluationSettings) -> list[Fold]:
    """Return the folds of samples; InputError as `folds.folds_of` has it."""
    return folds_of(training.rows, settings.scheme, settings.folds, settings.repeats, settings.seed)


def measured_of(
    name: str, measured: Mapping[tuple[str, str], np.ndarray], training: Training, folds: list[Fold], scheme: str
) -> Measured:
    """Return the measures of one predictor, of those that `over_folds` gives, with what they were measured on."""
    on = digest_of(training.rows["sample"].tolist(), training.cohort.values, folds)
    values = {measure: each for (of, measure), each in measured.items() if of == name}
    return Measured(on, scheme, test_to_train(folds), values)


def plain_predictors() -> list[str]:
    """Return the names of the predictors that learn without epochs and programs: all but networks and Markov chains."""
    return [name for name in names() if not load(name).learns_in_epochs and load(name).program is None]


def _classes(wanted: tuple[str, ...]) -> tuple[dict[str, type[Predictor]], list[str]]:
    """Return the predictors by name, OPPONENTS first, and notes; "all" means every one whose program is there."""
    chosen = names() if "all" in wanted else list(wanted) or plain_predictors()
    classes = {name: load(name) for name in dict.fromkeys((*OPPONENTS, *chosen))}
    missing: dict[str, str] = {}
    for name, cls in classes.items():
        cls()  # says what is not installed before anything is read
        try:
            cls.require_program()
        except InputError as error:
            if name in wanted:
                raise
            missing[name] = f"{name} left out: {error}"
    return {name: cls for name, cls in classes.items() if name not in missing}, list(missing.values())


def over_folds(
    classes: dict[str, type[Predictor]],
    cohort: Cohort,
    folds: list[Fold],
    settings: EvaluationSettings,
    watch: Watch,
    searched: Callable[[str, Cohort], dict[str, Any]] | None = None,
) -> tuple[dict[tuple[str, str], np.ndarray], dict[str, float], dict[str, int | None]]:
    """Return measures, (predictor, measure) → float (n_folds,), and of each predictor seconds per fold and number of parameters.

    Args:
        classes: the predictors by name.
        cohort: samples with their trait.
        folds: of the samples.
        settings: parameters, seed and threads.
        watch: receives the progress.
        searched: gives a predictor's parameters from the samples of a fold that are learned from; None = those of the settings.
    """
    wanted = [name for name, measure in MEASURES.items() if cohort.binary in measure.kinds]
    measured = {(name, measure): np.full(len(folds), np.nan) for name in classes for measure in wanted}
    seconds: dict[str, float] = {}
    parameters: dict[str, int | None] = {}
    watch.stage("predicting")
    for at, (name, cls) in enumerate(classes.items()):
        spent = 0.0
        for k, fold in enumerate(folds):
            watch.progress(at * len(folds) + k, len(classes) * len(folds))
            panel = cohort.take_samples(fold.train)
            chosen = settings.params_of(name) if searched is None else searched(name, panel)
            predictor = cls(cls.parse_params(chosen), seed=settings.seed, threads=settings.threads)
            start = time.monotonic()
            predictor.fit(panel)
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
        rows.append((name, measure, "", *measure_interval(measure, values, share), int(np.isfinite(values).sum())))
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
    order = found.ranked()
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
