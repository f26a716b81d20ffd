"""Comparison and fit of predictors with what is kept of them: report, model folder, MLflow runs, registered model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snpimpute import __version__
from snpimpute.base.alone import work_folder
from snpimpute.base.checksums import TABLE
from snpimpute.base.digests import digest, file_digest
from snpimpute.base.errors import InputError
from snpimpute.base.progress import Watch
from snpimpute.base.sources import imported_packages, versions_of
from snpimpute.metrics.prediction import MEASURES
from snpimpute.report.text import interval, number
from snpimpute.tracking.curves import Point
from snpimpute.tracking.predictors import FittedPredictor
from snpimpute.tracking.runs import MEASURED_TAG, RegisteredPredictor
from snpimpute.tracking.writer import Tracker
from snpimpute.traits.champions import promote
from snpimpute.traits.evaluate import (
    DECIDING,
    OPPONENTS,
    Evaluation,
    EvaluationSettings,
    evaluate_predictors,
    folds_in,
    measured_of,
    over_folds,
    training_of,
)
from snpimpute.traits.evaluation_page import verdict, write_evaluation
from snpimpute.traits.learned import Learned, Training, learn, save
from snpimpute.traits.measured import Measured
from snpimpute.traits.predictors import load
from snpimpute.traits.predictors.cohort import Cohort

if TYPE_CHECKING:
    from snpimpute.tuning.study import StudyResult

SERVING = "snpimpute.traits.serving"  # the script that MLflow runs to predict by a registered model


def compare_predictors(settings: EvaluationSettings, folder: Path, tracker: Tracker | None, watch: Watch) -> Evaluation:
    """Compare predictors, write the report into a folder, and log both to the store if there is one.

    Raises:
        InputError: see `evaluate.evaluate_predictors` and `evaluation_page.write_evaluation`.
    """
    found = evaluate_predictors(settings, watch)
    watch.stage("writing")
    write_evaluation(found, folder)
    if tracker is not None:
        on = found.measured[OPPONENTS[0]].on
        size: list[Point] = [("samples", found.n_samples, 0), ("sites", found.n_sites, 0)]
        tracker.log_evaluation(
            trait=settings.trait,
            key=digest([on, *map(str, vars(settings).values())]),
            note=verdict(found),
            tags=_tags(settings) | {MEASURED_TAG: on},
            predictors={
                name: (
                    load(name).parse_params(settings.params_of(name)).model_dump(mode="json"),
                    [*size, *_points(found.measured[name]), *_differences(found, name)],
                )
                for name in found.seconds
            },
            report_folder=folder,
        )
    return found


@dataclass(frozen=True, eq=False)
class Fitted:
    """A predictor that was fitted to all samples.

    Attributes:
        training: the samples.
        learned: the predictor.
        measured: what it reached by fold; None = it was not measured.
        study_score: of the best trial; None without a search.
        registered: the version; None without a store.
    """

    training: Training
    learned: Learned
    measured: Measured | None
    study_score: float | None
    registered: RegisteredPredictor | None


def fit_predictor(
    settings: EvaluationSettings,
    folder: Path,
    runs: Path,
    watch: Watch,
    *,
    trials: int = 0,
    measure: bool = True,
    open_tracker: Callable[[], Tracker] | None = None,
) -> Fitted:
    """Fit the one predictor of the settings to all samples and save it; where there is a store, measure and register it.

    It is measured by the folds of the settings. With a search, each fold has one of its own on the samples that it learns from, so
    that what is measured is the whole way to a predictor.

    Args:
        settings: predictors has one name.
        folder: of the model.
        runs: folder of all results; studies are kept in its `traits`.
        watch: receives the progress.
        trials: of the search for parameters, in which those of the settings stay; 0 = those of the settings, or the defaults.
        measure: whether to measure a model that is registered.
        open_tracker: opens the store; None = there is none.

    Raises:
        InputError: see `learned.read_training`, `folds.folds_of`, `Predictor.fit` and `tuned.tune_predictor`.
    """
    (name,) = settings.predictors
    load(name).require_program()
    watch.stage("reading genotypes")
    training = training_of(settings)
    folds = folds_in(training, settings) if measure and open_tracker is not None else []
    params: dict[str, Any] = settings.params_of(name)
    score: float | None = None

    def searched(_: str, cohort: Cohort) -> dict[str, Any]:
        return search(cohort).params if trials else params

    def search(cohort: Cohort) -> StudyResult:
        from snpimpute.traits.tuned import tune_predictor

        return tune_predictor(
            name,
            cohort,
            runs / "traits",
            trials,
            fixed=settings.params_of(name),
            seed=settings.seed,
            threads=settings.threads,
            on_progress=lambda percent, _: watch.progress(percent, 100),
        )

    measured: Measured | None = None
    if folds:
        watch.stage("measuring")
        found, _, _ = over_folds({name: load(name)}, training.cohort, folds, settings, watch, searched)
        measured = measured_of(name, found, training, folds, settings.scheme)
    if trials:
        watch.stage("searching for parameters")
        study = search(training.cohort)
        params, score = study.params, None if study.best is None else study.best.score
    watch.stage("learning")
    learned = learn(training, name, params, seed=settings.seed, threads=settings.threads)
    save(learned, folder, measured)
    fitted = Fitted(training, learned, measured, score, None)
    if open_tracker is None:
        return fitted
    watch.stage("registering")
    return replace(fitted, registered=open_tracker().log_predictor(_record(settings, fitted, folder)))


def fit_recommended(found: Evaluation, runs: Path, tracker: Tracker, watch: Watch) -> str:
    """Fit and register the predictor that a comparison recommends, and make it the champion of its trait if it is better.

    The same samples and settings give the version that is there already.

    Returns:
        A line that reports the version, and the move or why there was none.

    Raises:
        InputError: see `fit_predictor`.
    """
    settings = replace(found.settings, predictors=(found.recommended(),))
    with work_folder("traits") as folder:
        fitted = fit_predictor(settings, folder / settings.predictors[0], runs, watch, open_tracker=lambda: tracker)
    assert fitted.registered is not None  # as there is a store
    version = f"{fitted.registered.name}/{fitted.registered.version}"
    try:
        moved = promote(tracker, version, runs)
    except InputError as error:
        moved = f"not promoted: {error}"
    return f"registered: {version.replace('/', ' version ')} ({settings.predictors[0]}); {moved}"


def _record(settings: EvaluationSettings, fitted: Fitted, folder: Path) -> FittedPredictor:
    """Return what is logged and registered of a fitted predictor."""
    learned, measured = fitted.learned, fitted.measured
    predictor = learned.predictor
    points: list[Point] = [("samples", fitted.training.cohort.n_samples, 0), ("sites", len(predictor.chosen), 0)]
    if fitted.study_score is not None:
        points.append(("study_score", fitted.study_score, 0))
    if measured is not None:
        points += _points(measured)
    packages = imported_packages(SERVING, type(predictor).__module__)
    wanted = packages | ({predictor.framework} if predictor.framework else set())
    return FittedPredictor(
        trait=learned.trait,
        predictor=predictor.name,
        key=file_digest(folder / TABLE),
        params=predictor.params.model_dump(mode="json"),
        points=points,
        tags=_tags(settings) | ({} if measured is None else {MEASURED_TAG: measured.on}),
        model_folder=folder,
        requirements=[f"{name}=={version}" for name, version in versions_of(wanted).items() if name != "snpimpute"],
        card=_card(settings, fitted),
    )


def _tags(settings: EvaluationSettings) -> dict[str, str]:
    """Return what tells runs of a trait apart."""
    return {
        "genotypes": settings.genotypes.name,
        "traits": settings.traits.name,
        "covariates": ", ".join(settings.covariates),
        "components": str(settings.components),
        "scheme": settings.scheme,
        "seed": str(settings.seed),
        "snpimpute": __version__,
    }


def _points(measured: Measured) -> list[Point]:
    """Return measures as metrics: number and sizes of folds; mean, ends of the interval, and the value of each fold, whose step is its number from 1."""
    points: list[Point] = [("folds", measured.n_folds, 0), ("test_to_train", measured.test_to_train, 0)]
    for key, values in measured.values.items():
        score = measured.score(key)
        points += [(key, score.value, 0), (f"{key}_low", score.low, 0), (f"{key}_high", score.high, 0)]
        points += [(f"{key}_by_fold", float(value), k) for k, value in enumerate(values, 1)]
    return points


def _differences(found: Evaluation, name: str) -> list[Point]:
    """Return the paired differences of a predictor to its opponents, as metrics, and its time per fold."""
    points: list[Point] = [("seconds_per_fold", found.seconds[name], 0)]
    for other in (other for other in OPPONENTS if other != name):
        apart = found.score(name, DECIDING, other)
        ends = (("", apart.value), ("_low", apart.low), ("_high", apart.high))
        points += [(f"{DECIDING}_to_{other}{end}", float(value), 0) for end, value in ends]
    return points


def _card(settings: EvaluationSettings, fitted: Fitted) -> str:
    """Return the model card as Markdown: what the model was fitted to, what it reached, and whose genotypes it may contain."""
    learned, measured = fitted.learned, fitted.measured
    cls = type(learned.predictor)
    rows = {
        "predictor": f"{cls.name}: {cls.description}",
        "trait": learned.trait,
        "covariates": ", ".join(settings.covariates) or "none",
        "principal components": str(settings.components),
        "learned from": f"{fitted.training.cohort.n_samples:,} samples of {settings.genotypes.name}",
        "sites": f"{len(learned.predictor.chosen):,}",
    }
    if measured is None:
        rows["measured"] = "no"
    else:
        score = measured.score(DECIDING)
        how = f"{measured.n_folds} folds, {settings.scheme}, seed {settings.seed}"
        rows[MEASURES[DECIDING].label] = f"{number(score.value)} ({interval(score)}), {how}"
    table = "".join(f"| {name} | {value} |\n" for name, value in rows.items())
    return (
        f"# {learned.trait}: {cls.name}\n\n| | |\n| --- | --- |\n{table}\n"
        "**This model may contain the genotypes of the samples that it learned from** (kernels keep them). Treat it like the data. It "
        "predicts, and tells no causes; the correlation is that within these samples, and less is to be expected in others.\n"
    )
