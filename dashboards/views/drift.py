"""Page on drift: figures of the batches that a model was watched on, beside what its panel lets expect."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboards import reading
from dashboards.widgets import page, panel, select_one, table
from snpimpute.impute.drift import ACCURACY, FIGURES, Figure
from snpimpute.report.text import capital, known, number
from snpimpute.report.tree import COLOURS, Line, Panel, Point, Style

CODE = "snpimpute models watch NAME target.vcf.gz"
SERVER = "snpimpute models serve NAME"
OBSERVED, EXPECTED = "batches", "expected"


def main() -> None:
    tables = reading.watched()
    if not tables:
        st.info(f"No batch of a model was judged yet: `{CODE}`, or requests to `{SERVER}`; then load this page again.")
        return
    names = {figure.name: figure for figure in FIGURES}
    columns = st.columns(2)
    with columns[0]:
        name = select_one("Model, version and run", list(tables), "model")
    with columns[1]:
        chosen = select_one(
            "Figure",
            list(names),
            "figure",
            list(names).index(ACCURACY),
            format_func=lambda key: capital(names[key].title),
        )
    found = reading.batches(tables[name])
    by_batch(found, names[chosen])
    all_batches(found)


def by_batch(found: pd.DataFrame, figure: Figure) -> None:
    """Draw a figure over the batches."""
    own = found[(found["figure"] == figure.name) & found["value"].map(known)]
    if own.empty:
        st.info("No batch had calls by which this figure could be told.")
        return
    observed = [
        Point(
            row.batch,
            row.value,
            row.value,
            row.value,
            f"{row.file}, {row.samples} samples\n{number(row.value)}, corrected p {row.p_corrected:.2g}"
            + ("\nbeyond its threshold" if row.breach else ""),
        )
        for row in own.itertuples()
    ]
    expected = [
        Point(row.batch, row.expected, row.expected, row.expected, f"expected {number(row.expected)}")
        for row in own.itertuples()
    ]
    lines = [Line(OBSERVED, Style(COLOURS[0], 0), observed), Line(EXPECTED, Style(COLOURS[1], 1), expected)]
    how = f"{capital(figure.title)}: means over a batch's samples. Test: {figure.test}, {figure.worse}."
    panel("drift", Panel("", "Batch", capital(figure.name.replace("_", " ")), lines), how=how, table=own)


def all_batches(found: pd.DataFrame) -> None:
    """Draw the table of all batches, the last one first."""
    st.subheader("All batches", anchor=False)
    about = found.groupby("batch")[["when", "file", "samples"]].first()
    beyond = found[found["breach"]].groupby("batch")["figure"].agg(", ".join)
    values = found.pivot_table("value", "batch", "figure", sort=False).round(4)
    shown = about.assign(beyond=beyond).fillna({"beyond": ""}).join(values).iloc[::-1].reset_index()
    shown = shown.rename(columns={key: capital(str(key).replace("_", " ")) for key in shown})
    how = "Beyond: figures whose corrected p-value is below alpha, with a difference beyond the tolerance."
    table("batches", shown, how=how, whole=found)


with page("Drift", "Whether the animals that come are still those that the model knows."):
    main()
