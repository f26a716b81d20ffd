"""Page on the studies of parameters, finished and running."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from dashboards import reading
from dashboards.widgets import GREY, axis, figure, page, plain, select_one, table
from snpimpute.report.text import duration, number, plotly_text
from snpimpute.report.tree import COLOURS
from snpimpute.tracking.reader import EmptyStoreError
from snpimpute.tuning.reader import SeenStudy, SeenTrial

REFRESH = 5.0  # seconds between updates of a running study
SCORE = "Validation macro-F1 (0 to 1)"
# state → colour, symbol
STATES = {
    "complete": (COLOURS[0], "circle"),
    "pruned": (COLOURS[1], "x"),
    "stopped": (COLOURS[5], "square"),
    "failed": (COLOURS[5], "triangle-down"),
    "running": (COLOURS[2], "diamond"),
}
SCALE = [[0, COLOURS[3]], [1, COLOURS[0]]]  # visible on white and on black
MOST_AXES = 8  # most parameters in the parallel coordinates


def main() -> None:
    storages = reading.studies()
    if not storages:
        reading.datasets()  # raises the more general error if there are no results at all
        raise EmptyStoreError("there is no study yet")
    seen = {name: reading.study(name, storage) for name, storage in storages.items()}
    alive = any(study.alive for study in seen.values())
    above = st.container()
    chosen = select_one("Study", list(seen), "study", format_func=lambda name: label_of(seen[name]))
    with above:
        st.fragment(overview, run_every=REFRESH if alive else None)(storages)
    st.fragment(study_details, run_every=REFRESH if seen[chosen].alive else None)(chosen, storages[chosen])


def label_of(study: SeenStudy) -> str:
    """Return imputer, variant and dataset, with the rest of the study's name, which makes the label unique."""
    if not study.imputer:
        return study.name
    return f"{study.imputer}/{study.variant} on {study.dataset} ({study.digest[:8]}, {study.name[-8:]})"


def state_of(study: SeenStudy) -> str:
    if study.alive:
        return "running"
    if any(trial.state == "running" for trial in study.trials):
        return "killed; the same command resumes it"
    return "ended"


def overview(storages: dict[str, str]) -> None:
    """Draw the table of all studies."""
    seen = [reading.study(name, storage) for name, storage in storages.items()]
    rows = pd.DataFrame(
        {
            "Imputer": [f"{s.imputer}/{s.variant}" if s.imputer else s.name for s in seen],
            "Dataset": [s.dataset for s in seen],
            "State": [state_of(s) for s in seen],
            "Trials": [s.counted for s in seen],
            "Wanted": [s.n_trials for s in seen],
            "Pruned": [count(s, "pruned") for s in seen],
            "Failed or stopped": [count(s, "failed") + count(s, "stopped") for s in seen],
            "Best": [s.best.score if s.best else None for s in seen],
            "Minutes": [s.seconds / 60 for s in seen],
            "Study": [s.name for s in seen],
        }
    )
    table(
        "studies",
        rows,
        how="A row per study, the last written first. Trials: those that count, complete or pruned; wanted: the number that "
        "ends the study (empty for studies of older versions); Best: validation macro-F1, 0 to 1.",
        height=min(300, 38 + 35 * len(rows)),
        column_config={
            "State": st.column_config.TextColumn(width="medium"),
            "Best": st.column_config.NumberColumn(format="%.4f"),
            "Minutes": st.column_config.NumberColumn(format="%.1f"),
        },
    )


def count(study: SeenStudy, state: str) -> int:
    return sum(trial.state == state for trial in study.trials)


def study_details(name: str, storage: str) -> None:
    """Draw the figures of one study."""
    study = reading.study(name, storage)
    progress(study)
    ended = [trial for trial in study.trials if trial.score is not None]
    if not study.trials:
        st.info("No trial has begun yet.")
        return
    history(study)
    learning_curves(study)
    if len(ended) < 2:
        st.info("Importance, slices and parallel coordinates need two complete trials.")
        return
    importance(study, storage)
    slices(study)
    parallel(study)


def progress(study: SeenStudy) -> None:
    """Draw the number of trials, the best score, and the time spent and left."""
    best = study.best
    columns = st.columns(4)
    wanted = f" of {study.n_trials}" if study.n_trials else ""
    columns[0].metric("Trials that count", f"{study.counted}{wanted}")
    columns[1].metric("Best score", number(best.score) if best else "–", help="Validation macro-F1, 0 to 1")
    columns[2].metric("Time spent", duration(study.seconds))
    left = study.seconds_left
    columns[3].metric(
        "Time left, about",
        duration(left) if study.alive else "–",
        help="Assumes that further trials take as long as those so far; – if the study does not run",
    )
    if study.alive and study.n_trials:
        st.progress(min(study.counted / study.n_trials, 1.0), text=plain(f"{study.counted} of {study.n_trials} trials"))
    if best is not None:
        values = ", ".join(f"{name} = {short_value(value)}" for name, value in best.suggested.items())
        st.caption(plain(f"Best: trial {best.number}. {values}"))


def history(study: SeenStudy) -> None:
    """Draw the score of each trial, and the best score so far."""
    st.subheader("Optimisation history", anchor=False)
    against = select_one(
        "Against", ["trial", "time"], "against", format_func={"trial": "Trial number", "time": "Time spent"}.get
    )
    by_time = against == "time"
    traces: list[dict[str, Any]] = []
    for state, (colour, symbol) in STATES.items():
        trials = [t for t in study.trials if t.state == state and last_score(t) is not None]
        if trials:
            traces.append(
                {
                    "x": [t.spent / 60 if by_time else t.number for t in trials],
                    "y": [last_score(t) for t in trials],
                    "mode": "markers",
                    "name": state,
                    "marker": {"color": colour, "symbol": symbol, "size": 8},
                    "text": [hover_text(t) for t in trials],
                    "hovertemplate": "%{text}<extra></extra>",
                }
            )
    complete = [t for t in study.trials if t.score is not None]
    if by_time:
        complete.sort(key=lambda t: t.spent)
    traces.append(
        {
            "x": [t.spent / 60 if by_time else t.number for t in complete],
            "y": list(accumulate((t.score for t in complete if t.score is not None), max)),
            "mode": "lines",
            "line": {"shape": "hv", "color": GREY, "width": 2},
            "name": "best so far",
        }
    )
    figure(
        "history",
        traces,
        {"xaxis": axis("Time spent (minutes)" if by_time else "Trial (number)"), "yaxis": axis(SCORE)},
        how="Each point is a trial; a pruned, stopped or running trial is drawn at the last score that it reported. If the line has "
        "long been flat, more trials will hardly help. Pauses of the study are left out of its time.",
        table=trials_table(study),
        alt="Score of each trial",
    )


def last_score(trial: SeenTrial) -> float | None:
    """Return the score of a trial, or the last one that it reported; None if there is none."""
    if trial.score is not None:
        return trial.score
    return trial.intermediate[max(trial.intermediate)] if trial.intermediate else None


def hover_text(trial: SeenTrial) -> str:
    """Return the text shown when the pointer is on a trial."""
    lines = [f"trial {trial.number}: {trial.state}", f"score {number(last_score(trial))}", duration(trial.seconds)]
    lines += [f"{name} = {short_value(value)}" for name, value in trial.suggested.items()]
    return plotly_text("\n".join([*lines, *([trial.reason] if trial.reason else [])]))


def short_value(value: Any) -> str:
    """Return a parameter's value as text, numbers with four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def trials_table(study: SeenStudy) -> pd.DataFrame:
    """Return a row per trial, with its parameters."""
    return pd.DataFrame(
        {
            "trial": t.number,
            "state": t.state,
            "score": t.score,
            "last_reported": last_score(t),
            "epochs_reported": len(t.intermediate),
            "seconds": t.seconds,
            "spent": t.spent,
            "reason": t.reason,
            **{f"param:{name}": value for name, value in t.suggested.items()},
        }
        for t in study.trials
    )


def learning_curves(study: SeenStudy) -> None:
    """Draw the score of each trial by epoch."""
    trials = [t for t in study.trials if t.intermediate]
    if not trials:
        return
    st.subheader("Learning curves of the trials", anchor=False)
    best = study.best
    traces = []
    for trial in sorted(trials, key=lambda t: best is not None and t.number == best.number):
        is_best = best is not None and trial.number == best.number
        colour, _ = STATES[trial.state]
        traces.append(
            {
                "x": list(trial.intermediate),
                "y": list(trial.intermediate.values()),
                "mode": "lines+markers" if len(trial.intermediate) == 1 else "lines",
                "name": f"trial {trial.number}: {'best' if is_best else trial.state}",
                "showlegend": False,
                "opacity": 1.0 if is_best else 0.55,
                "line": {
                    "color": colour,
                    "width": 3.5 if is_best else 1.2,
                    "dash": "dot" if trial.state == "pruned" else "solid",
                },
            }
        )
    numbers = [(t.number, t.state, step, value) for t in trials for step, value in t.intermediate.items()]
    figure(
        "learning",
        traces,
        {"xaxis": axis("Epoch (number)"), "yaxis": axis(SCORE)},
        how="Each line is a trial; the thick line is the best. Dotted trials were pruned, because at the same epoch they were below "
        "the median of the earlier trials.",
        table=pd.DataFrame(numbers, columns=["trial", "state", "epoch", "score"]),
        alt="Score of each trial by epoch",
    )


def importance(study: SeenStudy, storage: str) -> None:
    """Draw the importance of each parameter."""
    st.subheader("Importance of the parameters", anchor=False)
    shares = reading.importance_of(study.name, storage, study.counted)
    if not shares:
        st.info("Importance needs four complete trials with different scores.")
        return
    names = list(shares)[::-1]
    figure(
        "importance",
        [
            {
                "type": "bar",
                "orientation": "h",
                "x": [shares[name] for name in names],
                "y": [plotly_text(name) for name in names],
                "marker": {"color": COLOURS[0]},
                "showlegend": False,
            }
        ],
        {
            "xaxis": axis("Share of the score's variance (0 to 1)"),
            "yaxis": axis("Parameter"),
            "height": 160 + 26 * len(names),
        },
        how="Share of the differences between the trials' scores that a parameter explains (functional ANOVA). It is unreliable with "
        "fewer than about twenty complete trials.",
        table=pd.DataFrame({"parameter": list(shares), "importance": list(shares.values())}),
        alt="Importance of each parameter",
    )


def slices(study: SeenStudy) -> None:
    """Draw the score against one parameter."""
    st.subheader("Slice", anchor=False)
    complete = [t for t in study.trials if t.score is not None]
    names = list(dict.fromkeys(name for t in complete for name in t.suggested))
    if not names:
        return
    chosen = select_one("Parameter", names, "parameter")
    trials = [t for t in complete if chosen in t.suggested]
    values = [t.suggested[chosen] for t in trials]
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    x = axis(f"{chosen} (as the study sets it)")
    if numeric and spans_decades(values):
        x |= {"type": "log"}
    figure(
        "slice",
        [
            {
                "x": values if numeric else [plotly_text(str(v)) for v in values],
                "y": [t.score for t in trials],
                "mode": "markers",
                "showlegend": False,
                "marker": {
                    "size": 9,
                    "color": [t.number for t in trials],
                    "colorscale": SCALE,
                    "colorbar": {"title": {"text": "Trial<br>(number)"}, "thickness": 12},
                },
                "text": [hover_text(t) for t in trials],
                "hovertemplate": "%{text}<extra></extra>",
            }
        ],
        {"xaxis": x if numeric else x | {"type": "category"}, "yaxis": axis(SCORE)},
        how="Each point is a complete trial; later trials (bluer) cluster at values where the study expects high scores.",
        table=pd.DataFrame({"trial": [t.number for t in trials], chosen: values, "score": [t.score for t in trials]}),
        alt=f"Score against {chosen}",
    )


def spans_decades(values: list[Any]) -> bool:
    """Return whether values are positive and span more than a factor of 50."""
    return min(values) > 0 and max(values) / min(values) > 50


def parallel(study: SeenStudy) -> None:
    """Draw all parameters of all complete trials in parallel coordinates."""
    st.subheader("Parallel coordinates", anchor=False)
    # off by default: without a graphics card this is by far the slowest figure, and drawing it again loses marked ranges
    if not st.toggle("Draw them", key="parallel", bind="query-params"):
        st.caption("All parameters of all complete trials in one figure, in which ranges can be marked.")
        return
    complete = [t for t in study.trials if t.score is not None]
    shared = [name for name in complete[0].suggested if all(name in t.suggested for t in complete)]
    varied = [name for name in shared if len({str(t.suggested[name]) for t in complete}) > 1][:MOST_AXES]
    scores = [t.score for t in complete]
    dimensions = [dimension(name, [t.suggested[name] for t in complete]) for name in varied]
    dimensions.append({"label": "score", "values": scores})
    figure(
        "parallel",
        [
            {
                "type": "parcoords",
                "dimensions": dimensions,
                "line": {
                    "color": scores,
                    "colorscale": SCALE,
                    "colorbar": {"title": {"text": "Score"}, "thickness": 12},
                },
                "labelangle": -15,
            }
        ],
        {"margin": {"l": 60, "r": 20, "t": 90, "b": 30}, "height": 480},
        how="Each line is a complete trial; a better trial is bluer. Drag along an axis to keep only the trials that pass there. Shown are "
        f"the first {MOST_AXES} parameters that differ between trials; values that span decades are on a logarithmic axis.",
        table=trials_table(study),
        alt="Parameters and score of each trial",
    )


def dimension(name: str, values: list[Any]) -> dict[str, Any]:
    """Return an axis of the parallel coordinates.

    Values that are not numbers have a place each; values that span decades have a logarithmic axis.
    """
    label = plotly_text(name)
    if any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
        kinds = sorted({str(v) for v in values})
        places = [kinds.index(str(v)) for v in values]
        return {
            "label": label,
            "values": places,
            "tickvals": list(range(len(kinds))),
            "ticktext": [plotly_text(k) for k in kinds],
        }
    if spans_decades(values):
        decades = range(int(np.floor(np.log10(min(values)))), int(np.ceil(np.log10(max(values)))) + 1)
        return {
            "label": label,
            "values": np.log10(values).tolist(),
            "range": [decades[0], decades[-1]],
            "tickvals": list(decades),
            "ticktext": [f"{10.0**d:g}" for d in decades],
        }
    return {"label": label, "values": values}


with page("Studies", "The search for each imputer's parameters. A running study is updated every few seconds."):
    main()
