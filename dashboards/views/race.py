"""Page that compares imputers: accuracy by level and subset, and cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from dashboards import reading
from dashboards.widgets import controls, mask_kind, page, panel, select_one, select_several, table
from snpimpute.experiment.kept import KeptDataset, KeptScores
from snpimpute.metrics.maf import RARE_MAF
from snpimpute.metrics.registry import METRICS
from snpimpute.report.charts import hide_crowding_lines, lines_of, point_of
from snpimpute.report.rows import Rows
from snpimpute.report.text import capital, known, listed, plain
from snpimpute.report.tree import Line, Panel, Point, Style
from snpimpute.tracking.reader import EmptyStoreError
from snpimpute.tracking.runs import TrainingRun, training_tag

SUBSETS = {
    "all": "all sites",
    "rare": "rare sites (MAF < 0.05), as published",
    "rare_minor": "rare sites, minor-allele coding",
    "true:all": "all sites, against the simulated truth",
    "true:rare": "rare sites, against the simulated truth",
}
KINDS = {"maf:": "MAF", "group:": "group", "relation:": "closest relationship to train", "contig:": "contig"}
BY_RARE = ("rare", "rare_minor")  # subsets that are scored by MAF, group and relationship too, as all calls are
COSTS = {
    "seconds_impute": "Seconds to impute one mask",
    "seconds_fit": "Seconds to fit",
    "seconds_tune": "Seconds of the study",
    "parameters": "Parameters (number)",
    "memory_mb": "Peak memory (MB)",
}


@dataclass(frozen=True, eq=False)
class Results:
    """One chosen table of scores: the first one, or one drawn in the background."""

    rows: Rows
    runs: dict[str, TrainingRun | None]
    suffix: str

    def name(self, label: str) -> str:
        """Return the name of a row in the figures."""
        return label + self.suffix


def main() -> None:
    with controls():
        kept = reading.datasets()
        dataset = select_one("Prepared dataset", kept, "dataset", format_func=lambda d: d.label)
        tables = reading.scores_of(dataset)
        if not tables:
            raise EmptyStoreError(f"nothing is scored on {dataset.label} yet")
        runs = [run for run in reading.training_runs() if run.dataset_digest == dataset.digest]
        names = {table_name(t): t for t in tables}
        fullest = max(range(len(tables)), key=lambda i: (n_imputers(tables[i]), -i))
        chosen = select_several(
            "Results, by date and revision",
            list(names),
            "results",
            [list(names)[fullest]],
            help="Several tables are drawn together, those after the first in pale colours. Times are UTC.",
        )
        styles: dict[str, Style] = {}
        results = [results_of(dataset, names[name], runs, i, styles) for i, name in enumerate(chosen)]
        shown = what_is_shown(results, styles, dataset) if results else None
    if shown is None:
        st.info("Choose at least one table of results.")
        return
    metric, subset, (mechanism, level), drawn = shown
    curves(results, styles, drawn, metric, subset, mechanism)
    league(results, metric, subset, (mechanism, level))
    bins(results, styles, drawn, metric, subset, (mechanism, level))
    cost(results, styles, drawn, metric, subset, (mechanism, level))


def what_is_shown(
    results: list[Results], styles: dict[str, Style], dataset: KeptDataset
) -> tuple[str, str, tuple[str, float], list[str]]:
    """Draw the controls for what is shown of the tables; return metric, subset, scenario and names of the rows."""
    rows = results[0].rows
    columns = st.columns(4)
    with columns[0]:
        metric = select_one("Metric", list(METRICS), "metric", format_func=lambda m: capital(METRICS[m].label))
    with columns[1]:
        subset = select_one("Calls", subsets_of(rows), "calls", format_func=subset_name)
    with columns[2]:
        mechanism = select_one("Masks", rows.mechanisms(), "masks", format_func=mask_kind)
    levels = [level for _, level in rows.scenarios(mechanism, "all", "f1_macro")]
    near = min(range(len(levels)), key=lambda i: abs(levels[i] - dataset.level))
    with columns[3]:
        level = select_one("Level of the tables", levels, "level", near, format_func=lambda v: f"{v:g}% missing")
    labels = list(dict.fromkeys(label for r in results for label in r.rows.ranked))
    wanted = select_several(
        "Imputers", labels, "imputers", default_imputers(results[0], styles, mechanism), placeholder="All"
    )
    return metric, subset, (mechanism, level), [r.name(label) for r in results for label in wanted or labels]


def table_name(kept: KeptScores) -> str:
    """Return the name of a table of scores in the control: date, revision and number of rows."""
    revision = f", {kept.revision[:7]}" if kept.revision else ""
    n = n_imputers(kept)
    return f"{kept.made:%Y-%m-%d %H:%M:%S}{revision}, {n} row{'s' * (n != 1)}"


def n_imputers(kept: KeptScores) -> int:
    return len(kept.models) or len(reading.score_rows(kept)[["imputer", "variant"]].drop_duplicates())


def results_of(
    dataset: KeptDataset, kept: KeptScores, runs: list[TrainingRun], place: int, styles: dict[str, Style]
) -> Results:
    """Return the rows of a table of scores, and for each its training run, or None if that was deleted."""
    rows, own = reading.pooled_rows(kept, dataset)
    scored = {training_tag(model) for model in kept.models}
    found: dict[str, TrainingRun | None] = {}
    for label in rows.listed:
        mine = [run for run in runs if run.label == label and run.started <= kept.made]
        exact = [run for run in mine if run.key_tag in scored]
        found[label] = next(iter(exact or mine), None)
    suffix = "" if place == 0 else f" · {kept.made:%d %b %H:%M}"
    for label, look in own.items():
        style = styles.get(label, look)  # a row has the same colour in the background
        styles[label + suffix] = replace(style, dash=(style.dash + place) % len(Style.PLOTLY_DASH))
    return Results(rows, found, suffix)


def subsets_of(rows: Rows) -> list[str]:
    """Return the subsets that have macro-F1 at the headline: all, rare, MAF bins, groups."""
    plain_ones = [subset for subset in SUBSETS if rows.best(subset, "f1_macro")]
    return plain_ones + [kind + name for kind in KINDS for name in parts_of(rows, kind)]


def parts_of(rows: Rows, kind: str) -> list[str]:
    """Return the parts of a kind that are scored; contigs in the order of the table, others sorted."""
    found = rows.subsets(kind, "f1_macro")
    return found if kind == "contig:" else sorted(found)


def subset_name(subset: str) -> str:
    """Return the name of a subset in the control."""
    if subset in SUBSETS:
        return capital(SUBSETS[subset])
    kind = next(kind for kind in KINDS if subset.startswith(kind))
    return f"{capital(KINDS[kind])} {subset.removeprefix(kind)}"


def default_imputers(result: Results, styles: dict[str, Style], mechanism: str) -> list[str]:
    """Return the imputers that the report shows at first."""
    lines = curve_lines([result], styles, "f1_macro", "all", mechanism)
    if not lines:
        return []
    (thinned,), _ = hide_crowding_lines([Panel("", "", "", lines)])
    return [line.label for line in thinned.lines if line.shown]


# ---------------------------------------------------------------------- figures


def lines_for(
    results: list[Results], styles: dict[str, Style], points: Callable[[Results, str], list[Point | None]]
) -> list[Line]:
    """Return a line for every row of every table that has a point."""
    lines = []
    for result in results:
        own = {label: styles[result.name(label)] for label in result.rows.ranked}
        found = lines_of(result.rows, own, partial(points, result))
        lines += [replace(line, label=result.name(line.label)) for line in found]
    return lines


def curve_lines(
    results: list[Results], styles: dict[str, Style], metric: str, subset: str, mechanism: str
) -> list[Line]:
    """Return the lines of a metric over percent missing."""

    def points(result: Results, label: str) -> list[Point | None]:
        return [
            point_of(
                at[1],
                result.rows.get(label, subset, metric, at),
                result.name(label),
                f"{at[1]:g}% missing",
                METRICS[metric].label,
            )
            for at in result.rows.scenarios(mechanism, subset, metric)
        ]

    return lines_for(results, styles, points)


def background_labels(results: list[Results]) -> list[str]:
    """Return the names of the rows that are drawn in pale colours: those of all tables but the first."""
    return [result.name(label) for result in results[1:] for label in result.rows.ranked]


def x_title(kind: str) -> str:
    return capital(KINDS[kind]) + ("" if kind == "contig:" else " of the test samples")


def y_title(metric: str) -> str:
    return capital(METRICS[metric].label) + (" (0 to 1)" if METRICS[metric].range == (0, 1) else "")


def curves(
    results: list[Results], styles: dict[str, Style], drawn: list[str], metric: str, subset: str, mechanism: str
) -> None:
    """Draw a metric against percent missing."""
    st.subheader("Robustness to missing calls", anchor=False)
    lines = [line for line in curve_lines(results, styles, metric, subset, mechanism) if line.label in drawn]
    if not lines:
        st.info("None of the chosen imputers has this score.")
        return
    panel(
        "robustness",
        Panel("", "Missing genotype calls (%)", y_title(metric), lines),
        how="A line that stays high to the right withstands missing calls; bands are 95% intervals. "
        "Levels without a band have no interval.",
        table=points_table(lines, "missing_percent").assign(metric=metric, calls=subset, masks=mechanism),
        faded=background_labels(results),
    )


def points_table(lines: list[Line], x: str) -> pd.DataFrame:
    return pd.DataFrame(
        [(line.label, p.x, p.y, p.low, p.high) for line in lines for p in line.points],
        columns=["imputer", x, "value", "low", "high"],
    )


def league(results: list[Results], metric: str, subset: str, at: tuple[str, float]) -> None:
    """Draw the table of all imputers at one level, the best first."""
    st.subheader(f"League table at {at[1]:g}% missing", anchor=False)
    lower_is_better = not METRICS[metric].higher_is_better
    entries: list[dict[str, Any]] = []
    for result in results:
        rows = result.rows
        for label in rows.ranked:
            if (score := rows.get(label, subset, metric, at)) is None or not known(score.value):
                continue
            verdict, found = rows.verdict(label, subset, metric, at)
            run = result.runs[label]
            entries.append(
                {
                    "Imputer": result.name(label),
                    "Score": score.value,
                    "Low": score.low,
                    "High": score.high,
                    "To the best": found and found.value,
                    "From": found and found.low,
                    "To": found and found.high,
                    "Trials": run and run.metrics.get("trials"),
                    "Verdict": plain(verdict) if METRICS[metric].compared else "–",
                    "Calls": score.n,
                    **{name: run and run.metrics.get(key) for key, name in COSTS.items()},
                    "Revision": run.revision[:7] if run else "–",
                }
            )
    if not entries:
        st.info("No imputer has this score.")
        return
    ranked = pd.DataFrame(entries).sort_values("Score", ascending=lower_is_better, ignore_index=True)
    three = st.column_config.NumberColumn(format="%.3f")
    signed = st.column_config.NumberColumn(format="%+.3f")
    whole = st.column_config.NumberColumn(format="localized")
    tenth = st.column_config.NumberColumn(format="%.1f")
    table(
        "league",
        ranked,
        how=f"{capital(METRICS[metric].label)}, {subset_name(subset).lower() if subset in SUBSETS else subset_name(subset)}, with its 95% "
        "interval (low, high). To the best: the paired difference to the best of the same table, with its interval "
        "(from, to); the verdict is “worse” only if the interval lies below zero. Paired differences exist for "
        f"{listed(m.label for m in METRICS.values() if m.compared)}. A dash in other columns: the training run is no longer in the store.",
        column_config={
            **dict.fromkeys(("Score", "Low", "High"), three),
            **dict.fromkeys(("To the best", "From", "To"), signed),
            "Verdict": st.column_config.TextColumn(width="medium"),
            "Calls": whole,
            "Trials": whole,
            "Parameters (number)": whole,
            **dict.fromkeys([name for key, name in COSTS.items() if key != "parameters"], tenth),
        },
    )


def prefix_of(subset: str, kind: str) -> str | None:
    """Return what the names of a subset's parts by MAF, group or relationship begin with; None if it has no parts."""
    if subset == "rare" and kind == "maf:":  # a bin is of rare sites or of others as a whole
        return kind
    if kind == "contig:":
        return kind if subset == "all" else None
    return {"all": kind, **{rare: f"{rare}/{kind}" for rare in BY_RARE}}.get(subset)


def bins(
    results: list[Results],
    styles: dict[str, Style],
    drawn: list[str],
    metric: str,
    subset: str,
    at: tuple[str, float],
) -> None:
    """Draw a metric by MAF, group or relationship at one level."""
    kinds = [kind for kind in KINDS if results[0].rows.subsets(kind, "f1_macro")]
    if not kinds:
        return
    st.subheader(f"By MAF and group at {at[1]:g}% missing", anchor=False)
    kind = select_one("By", kinds, "by", format_func=lambda k: capital(KINDS[k]))
    prefix = prefix_of(subset, kind)
    if prefix is None:
        st.info(
            f"{subset_name(subset)}: not scored by {KINDS[kind]}. All sites and rare sites are: choose them under Calls."
        )
        return
    names = results[0].rows.subsets(prefix, "f1_macro")
    if subset == "rare" and kind == "maf:":
        names = [name for name in names if float(name.split("-")[0]) < RARE_MAF]

    def points(result: Results, label: str) -> list[Point | None]:
        return [
            point_of(
                name, result.rows.get(label, prefix + name, metric, at), result.name(label), name, METRICS[metric].label
            )
            for name in names
        ]

    lines = [line for line in lines_for(results, styles, points) if line.label in drawn]
    if not lines:
        st.info("None of the chosen imputers has this score.")
        return
    panel(
        "bins",
        Panel("", x_title(kind), y_title(metric), lines, names),
        how=f"{subset_name(subset)}: one point per imputer in each bin; bars are 95% intervals (only at the level of the headline), long if calls are few.",
        table=points_table(lines, kind.rstrip(":")).assign(
            metric=metric, calls=subset, masks=at[0], missing_percent=at[1]
        ),
        faded=background_labels(results),
    )


def cost(
    results: list[Results], styles: dict[str, Style], drawn: list[str], metric: str, subset: str, at: tuple[str, float]
) -> None:
    """Draw a metric against a cost of the training run, and beside it against the seconds to fit."""
    st.subheader("Cost against accuracy", anchor=False)
    against = select_one("Cost", list(COSTS), "cost", format_func=lambda c: COSTS[c])
    beside = dict.fromkeys((against, "seconds_fit"))
    for column, shown in zip(st.columns(len(beside)), beside, strict=True):
        with column:
            cost_figure(results, styles, drawn, metric, subset, at, shown, "cost" if shown == against else "cost-fit")


def cost_figure(
    results: list[Results],
    styles: dict[str, Style],
    drawn: list[str],
    metric: str,
    subset: str,
    at: tuple[str, float],
    against: str,
    key: str,
) -> None:
    """Draw a metric against one cost."""

    def points(result: Results, label: str) -> list[Point | None]:
        run, score = result.runs[label], result.rows.get(label, subset, metric, at)
        x = run.metrics.get(against) if run else None
        if not x or score is None:
            return []
        return [point_of(x, score, result.name(label), f"{COSTS[against]}: {x:,.4g}", METRICS[metric].label)]

    lines = [line for line in lines_for(results, styles, points) if line.label in drawn]
    if not lines:
        st.info("The store has no such cost of the chosen imputers.")
        return
    panel(
        key,
        Panel("", f"{COSTS[against]}, logarithmic", y_title(metric), lines, joined=False, log_x=True),
        how="Up and to the left is better: more accurate for less. Bars are 95% intervals.",
        table=points_table(lines, against).assign(metric=metric, calls=subset, masks=at[0], missing_percent=at[1]),
        faded=background_labels(results),
    )


with page("Race", "Imputers on the same hidden calls: who is ahead, where, and at what cost."):
    main()
