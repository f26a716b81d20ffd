"""Page on what imputers change in the conclusion: association, fine-mapping and prediction of simulated traits."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboards import reading
from dashboards.widgets import page, panel, select_one, table
from snpimpute.experiment.conclude import at_level
from snpimpute.metrics.conclusions import ALL, MEASURES, TRUTH
from snpimpute.report.conclusions import forest_plot
from snpimpute.report.text import capital, known, number
from snpimpute.report.tree import COLOURS, Line, Panel, Point, Style
from snpimpute.tracking.reader import EmptyStoreError

CODE = "snpimpute compare my.toml --consequence"


def main() -> None:
    dataset = select_one("Prepared dataset", reading.datasets(), "dataset", format_func=lambda d: d.label)
    tables = reading.conclusions_of(dataset)
    if not tables:
        raise EmptyStoreError(f"no conclusion was compared on {dataset.label} yet ({CODE})")
    names = {f"{t.made:%Y-%m-%d %H:%M:%S}, {len(t.models)} rows": t for t in tables}
    found = reading.conclusion_rows(names[select_one("Results, by date", list(names), "results")])
    columns = st.columns(3)
    levels = sorted(found.level.unique())
    near = min(range(len(levels)), key=lambda i: abs(levels[i] - dataset.level))
    with columns[0]:
        level = select_one("Level", levels, "level", near, format_func=lambda v: f"{v:g}% missing")
    with columns[1]:
        measure = select_one("Measure", list(MEASURES), "measure", 1, format_func=lambda m: capital(MEASURES[m].label))
    with columns[2]:
        subset = select_one("Traits", list(dict.fromkeys(found.subset)), "traits", format_func=subset_name)
    files = list(dict.fromkeys(found.file))
    styles = {label: Style(COLOURS[-1 - i % len(COLOURS)], i // len(COLOURS)) for i, label in enumerate(files)}
    forest(at_level(found, level), files, styles)
    by_level(found, files, styles, measure, subset)
    measures(at_level(found, level), subset)


def subset_name(subset: str) -> str:
    """Return the name of a subset of traits in the control."""
    return "All" if subset == ALL else f"Causal site of MAF {subset.removeprefix('maf:').replace('-', '–')}"


def forest(found: pd.DataFrame, files: list[str], styles: dict[str, Style]) -> None:
    """Draw the forest plot of one level."""
    figure = forest_plot(found, files, "conclusions", "", styles)
    plain = found[(found.subset == ALL) & (found.versus == "")]
    panel("forest", figure.panels[0], how=figure.how, table=plain)


def by_level(found: pd.DataFrame, files: list[str], styles: dict[str, Style], measure: str, subset: str) -> None:
    """Draw a measure by the share of sites that are missing."""
    own = found[(found.subset == subset) & (found.versus == "") & (found.measure == measure)].sort_values("level")
    lines = []
    for label in files:
        points = [
            Point(row.level, row.value, row.low, row.high, f"{label}\n{row.level:g}% missing: {number(row.value)}")
            for row in own[own.file == label].itertuples()
            if known(row.value)
        ]
        if points:
            lines.append(Line(label, styles[label], points))
    if not lines:
        st.info("This measure was not taken of these traits.")
        return
    name = capital(MEASURES[measure].label)
    how = f"{capital(MEASURES[measure].meaning)}. Bands are 95% intervals."
    panel("levels", Panel("", "Sites missing (%)", name, lines), how=how, table=own)


def measures(found: pd.DataFrame, subset: str) -> None:
    """Draw the table of all measures, and of differences to true genotypes."""
    st.subheader("All measures", anchor=False)
    own = found[found.subset == subset]
    shown = own[own.versus == ""].pivot_table("value", "file", "measure", sort=False).reset_index()
    shown = shown.rename(columns={"file": "Imputer", **{key: capital(m.label) for key, m in MEASURES.items()}})
    table("measures", shown.round(3), how="Values at the chosen level.", whole=own[own.versus == ""])
    differences = own[own.versus == TRUTH].assign(measure=lambda t: t.measure.map(lambda m: MEASURES[m].label))
    columns = ["file", "measure", "value", "low", "high", "n"]
    table(
        "differences",
        differences[columns].round(3),
        how="Paired differences to true genotypes, with 95% intervals over traits and, for association, samples.",
    )


with page("Consequence", "What imputing changes in the answer: which site, which block, which animal."):
    main()
