"""Page on predictors of traits: registered versions with what they reached by fold, and predictors that were compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from dashboards import reading
from dashboards.widgets import page, panel, plain, select_one, table
from snpimpute.metrics.prediction import MEASURES
from snpimpute.report.text import Score, capital, interval, known, number, signed
from snpimpute.report.tree import COLOURS, Line, Panel, Point, Style
from snpimpute.tracking.reader import EmptyStoreError
from snpimpute.tracking.runs import MEASURED_TAG, Comparison, PredictorRun, TraitModel, TraitVersion
from snpimpute.traits.evaluate import COLUMNS, DECIDING, OPPONENTS, ranked_in, score_in, verdict_in
from snpimpute.traits.evaluation_page import forest_plot
from snpimpute.traits.measured import Measured

COMPARE = "snpimpute traits compare GENOTYPES --traits TABLE --trait COLUMN"
FIT = "snpimpute traits fit GENOTYPES --traits TABLE --trait COLUMN"
SAME = (MEASURED_TAG, "genotypes", "covariates", "components")  # tags of runs that differ by their predictor alone
GONE = "the run was deleted"
LABEL = MEASURES[DECIDING].label


def main() -> None:
    try:
        models, comparisons = reading.trait_models(), reading.comparisons()
    except EmptyStoreError as error:
        raise EmptyStoreError(f"{error}, and predictors of traits are logged where there is one alone") from None
    if not models and not comparisons:
        st.info(
            f"No predictor of a trait was compared or fitted in this store yet: `{COMPARE}`, or `{FIT}`, both with --runs as "
            "below at the left; then load this page again."
        )
        return
    by_trait = {model.trait: model for model in models}
    traits = list(dict.fromkeys([*by_trait, *(found.trait for found in comparisons)]))
    trait = select_one("Trait", traits, "trait")
    mine = [found for found in comparisons if found.trait == trait]
    st.subheader("Registered versions", anchor=False)
    if trait in by_trait:
        versions(by_trait[trait], mine)
    else:
        st.info(f"No predictor of this trait is registered yet: `{FIT}`.")
    st.subheader("Compared predictors", anchor=False)
    if mine:
        compared(mine)
    else:
        st.info(f"No predictors of this trait were compared in this store yet: `{COMPARE}`.")


# ---------------------------------------------------------------------- versions


def versions(model: TraitModel, comparisons: Sequence[Comparison]) -> None:
    """Draw what each version of a trait's model reached, and the moves of its champion."""
    rows = [version_row(version, comparisons) for version in model.versions]
    reached(model.versions)
    columns = ["Version", "Aliases", "Predictor", capital(LABEL), "95% interval", "By fold"]
    columns += [f"Difference to {other}" for other in OPPONENTS]
    columns += ["Samples", "Sites", "Genotypes", "Covariates", "Folds", "Made (UTC)"]
    table(
        "versions",
        pd.DataFrame(rows[::-1], columns=columns),
        how="Means over folds of the samples that the version was then fitted to. snpimpute traits predict "
        f"'{model.trait}/VERSION' predicts by it. Differences are paired by fold, with 95% intervals, and are to that predictor as it was "
        "compared on the same genotypes, samples and folds; – where it was not.",
    )
    if model.moves:
        moves = [
            (f"{move.when:%Y-%m-%d %H:%M:%S}", move.who, move.alias, move.before or "–", move.to, move.why)
            for move in reversed(model.moves)
        ]
        columns = ["When (UTC)", "Who", "Alias", "From", "To", "Why"]
        table(
            "moves",
            pd.DataFrame(moves, columns=columns),
            how="Moves of the aliases, newest first, as they were recorded.",
        )


def version_row(version: TraitVersion, comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Return the cells of a version in the table."""
    row: dict[str, Any] = {
        "Version": version.number,
        "Aliases": ", ".join(version.aliases),
        "Predictor": version.predictor,
        "Made (UTC)": f"{version.created:%Y-%m-%d %H:%M}",
    }
    if (run := version.run) is None:
        return row | {"95% interval": GONE}
    score = score_of(run)
    row |= {
        capital(LABEL): round(score.value, 3) if known(score.value) else None,
        "95% interval": interval(score) if known(score.value) else "it was not measured",
        "By fold": ", ".join(map(number, reading.by_fold(run, DECIDING))) if known(score.value) else "",
        "Samples": run.metrics.get("samples"),
        "Sites": run.metrics.get("sites"),
        "Genotypes": run.tags.get("genotypes"),
        "Covariates": covariates_of(run.tags),
        "Folds": folds_of(run) if known(score.value) else "",
    }
    for other in OPPONENTS:
        apart = difference(run, opponent(run, other, comparisons))
        row[f"Difference to {other}"] = f"{signed(apart)} ({interval(apart, signed=True)})" if apart else None
    return row


def score_of(run: PredictorRun) -> Score:
    """Return the correlation that a run reached, with its interval; NaN if it was not measured."""
    value, low, high = (run.metrics.get(f"{DECIDING}{end}", np.nan) for end in ("", "_low", "_high"))
    return Score(value, low, high, int(run.metrics.get("folds", 0)))


def folds_of(run: PredictorRun) -> str:
    """Return number, scheme and seed of a run's folds."""
    return f"{run.metrics.get('folds', 0):.0f}, {run.tags.get('scheme', '')}, seed {run.tags.get('seed', '')}"


def covariates_of(tags: Any) -> str:
    """Return the covariates of a run, principal components among them."""
    components = int(tags.get("components", "0"))
    return (
        ", ".join(filter(None, [tags.get("covariates", ""), f"{components} components" if components else ""]))
        or "none"
    )


def opponent(run: PredictorRun, name: str, comparisons: Sequence[Comparison]) -> PredictorRun | None:
    """Return the run of a predictor in the newest comparison on the same data and folds; None if there is none, or it is the same."""
    if run.predictor == name or MEASURED_TAG not in run.tags:
        return None
    others = (found.predictors[name] for found in comparisons if name in found.predictors)
    return next((one for one in others if all(one.tags.get(tag) == run.tags.get(tag) for tag in SAME)), None)


def difference(run: PredictorRun, other: PredictorRun | None) -> Score | None:
    """Return the paired difference of a run to another one on the same folds; None without one."""
    return None if other is None else measured(run).minus(measured(other), DECIDING)


def measured(run: PredictorRun) -> Measured:
    """Return what a run reached by fold."""
    values = {DECIDING: np.array(reading.by_fold(run, DECIDING))}
    return Measured(run.tags[MEASURED_TAG], run.tags["scheme"], run.metrics["test_to_train"], values)


def reached(found: Sequence[TraitVersion]) -> None:
    """Draw the correlation of each version that was measured: the mean over folds with its interval, and each fold."""
    means, folds, rows = [], [], []
    for version in found:
        if version.run is None or not known((score := score_of(version.run)).value):
            continue
        name = "\n".join([f"{version.number}: {version.predictor}", *version.aliases])
        hover = f"{name}\n{LABEL} {number(score.value)} ({interval(score)})"
        means.append(Point(name, score.value, score.low, score.high, hover))
        values = reading.by_fold(version.run, DECIDING)
        rows.append((version.number, version.predictor, "mean", score.value, score.low, score.high))
        for fold, value in enumerate(values, 1):
            rows.append((version.number, version.predictor, f"fold {fold}", value, np.nan, np.nan))
            if known(value):
                folds.append(Point(name, value, np.nan, np.nan, f"{name}\nfold {fold}: {number(value)}"))
    if not means:
        st.info("No version was measured: snpimpute traits fit measures by --folds.")
        return
    lines = [
        Line("mean over folds, 95% interval", Style(COLOURS[0], 0), means),
        Line("each fold", Style(COLOURS[-1], 1), folds),
    ]
    panel(
        "reached",
        Panel("", "", capital(LABEL), lines, [str(point.x) for point in means]),
        how="Versions that were measured on other samples or folds (see the table) do not compare by eye.",
        table=pd.DataFrame(rows, columns=["version", "predictor", "fold", DECIDING, "low", "high"]),
    )


# ---------------------------------------------------------------------- comparisons


def compared(comparisons: Sequence[Comparison]) -> None:
    """Draw one of the comparisons of a trait: what it says, its forest plot and its tables."""
    names = {name_of(found): found for found in comparisons}
    chosen = names[select_one("Comparison, by date", list(names), "comparison")]
    results = results_of(chosen)
    first = next(iter(chosen.predictors.values()))
    about = [f"Folds: {folds_of(first)}", f"covariates: {covariates_of(chosen.tags)}", f"run {chosen.run_id}"]
    st.write(plain(chosen.note))
    st.caption(plain("; ".join(about) + "; its artifact report holds the whole page."))
    figure = forest_plot(results)
    beside = results[results.measure == DECIDING]
    panel("correlation", figure.panels[0], how="Bars are 95% intervals over folds.", table=beside[beside.versus == ""])
    panel("differences", figure.panels[1], how=figure.how, table=beside[beside.versus != ""])
    measures(results, chosen)


def name_of(found: Comparison) -> str:
    """Return the name of a comparison in the control: when, of which file, and what tells two of a second apart."""
    return f"{found.started:%Y-%m-%d %H:%M:%S}, {found.tags.get('genotypes', '–')}, {found.run_id[:6]}"


def results_of(found: Comparison) -> pd.DataFrame:
    """Return a comparison's results as `Evaluation.table` has them; of the paired differences those in the deciding measure."""
    rows = []
    for name, run in found.predictors.items():
        n = int(run.metrics.get("folds", 0))
        for key, measure, versus in [
            *((measure, measure, "") for measure in MEASURES),
            *((f"{DECIDING}_to_{other}", DECIDING, other) for other in OPPONENTS),
        ]:
            if key in run.metrics:
                low, high = (run.metrics.get(f"{key}_{end}", np.nan) for end in ("low", "high"))
                rows.append((name, measure, versus, run.metrics[key], low, high, n))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def measures(results: pd.DataFrame, found: Comparison) -> None:
    """Draw the table of all measures, with paired differences in words."""
    wanted = [key for key in MEASURES if key in set(results.measure)]
    rows = []
    for name in ranked_in(results):
        run = found.predictors[name]
        row: dict[str, Any] = {"Predictor": name}
        row |= {capital(MEASURES[key].label): round(score_in(results, name, key).value, 4) for key in wanted}
        for other in OPPONENTS:
            apart = score_in(results, name, DECIDING, other)
            said = f"{signed(apart)} ({interval(apart, signed=True)}): {verdict_in(results, name, other)}"
            row[f"To {other}"] = None if name == other else said
        row |= {"Samples": run.metrics.get("samples"), "Sites": run.metrics.get("sites")}
        rows.append(row | {"Seconds per fold": round(run.metrics.get("seconds_per_fold", np.nan), 2)})
    meanings = "; ".join(f"{MEASURES[key].label}: {MEASURES[key].meaning}" for key in wanted)
    table(
        "predictors",
        pd.DataFrame(rows),
        how=f"{capital(meanings)}. Means over folds; differences in {LABEL} are paired by fold, with 95% intervals, and one in twenty "
        "of those between equals is called a difference.",
        whole=results,
    )


with page("Traits", "Predictors of traits: which version predicts, what each reached, and which differences are real."):
    main()
