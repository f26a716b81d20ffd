"""What imputers change in the conclusion: the forest plot, and the section of an experiment's report."""

from __future__ import annotations

import textwrap

import pandas as pd

from snpimpute.metrics.conclusions import ALL, MEASURES, TRUTH, TYPED
from snpimpute.report.rows import Rows
from snpimpute.report.text import Score, interval, known, number
from snpimpute.report.tree import COLOURS, Cell, Figure, Line, Panel, Point, Section, Style, Table, Text

FOREST = ("power", "lead", "recall", "coverage", "correlation", "top")  # shares that the forest plot shows
ORDERS = ("chi2", "power", "lead_r2", "recall", "correlation")  # measures whose order is compared with that by macro-F1
LETTERS = 16  # of a line below the axis
LEAST_ROWS = 3  # of an order that can be compared


def forest_plot(
    table: pd.DataFrame, files: list[str], key: str, png: str, styles: dict[str, Style] | None = None
) -> Figure:
    """Return the forest plot: measures that are shares, by file, without a filter.

    Args:
        table: columns file, filter, subset, measure, versus, value, low, high; see traits.consequence.
        files: labels, in the order drawn.
        key, png: of the figure.
        styles: label → style; None = a colour for each.
    """
    names = ["\n".join(textwrap.wrap(MEASURES[measure].label, LETTERS)) for measure in FOREST]
    plain = table[(table["filter"] == 0.0) & (table.subset == ALL) & (table.versus == "")]
    lines = []
    for i, label in enumerate(files):
        own = plain[plain.file == label].set_index("measure")
        points = [
            Point(
                name,
                float(own.value[measure]),
                float(own.low[measure]),
                float(own.high[measure]),
                f"{label}\n{MEASURES[measure].label} {number(own.value[measure])}",
            )
            for measure, name in zip(FOREST, names, strict=True)
            if measure in own.index and known(own.value[measure])
        ]
        if points:
            style = (styles or {}).get(label) or Style(COLOURS[-1 - i % len(COLOURS)], i // len(COLOURS))
            lines.append(Line(label, style, points))
    how = "Bars are 95% intervals. Credible sets claim a coverage of 0.95."
    panel = Panel("", "", "Share, or correlation", lines, names)
    return Figure(key, png, "What each file says of the traits", how, [panel])


def what_changes(rows: Rows, table: pd.DataFrame | None, styles: dict[str, Style], key: str, slug: str) -> Section:
    """Return the section of what imputers change in association, fine-mapping and prediction; empty without a table.

    Args:
        rows: scores of the dataset.
        table: results at the headline's level, files are the imputers' labels.
        styles, key, slug: see `sections.make_chapter`.
    """
    title = f"What imputing changes in the conclusion ({rows.missing})"
    if table is None or table.empty:
        return Section("conclusions", title, [])
    files = list(dict.fromkeys(table.file))
    plain = table[(table.subset == ALL) & (table.versus == "") & (table["filter"] == 0.0)].set_index(
        ["file", "measure"]
    )
    first = {TRUTH: Style(COLOURS[-1], 0), TYPED: Style(COLOURS[-1], 1)}
    figure = forest_plot(table, files, f"{key}-conclusions", f"conclusions-{slug}.png", {**first, **styles})
    cells = [
        [Cell(label), Cell(number(rows.value(label, "all", "f1_macro"))), *(_cell(plain, label, m) for m in MEASURES)]
        for label in files
    ]
    columns = ["Imputer", "Macro-F1", *(measure.label for measure in MEASURES.values())]
    how = Text(
        "The same simulated traits are looked for in true and in imputed genotypes of the test samples; causal sites are hidden ones.",
        "how",
    )
    return Section(
        "conclusions",
        title,
        [Text(orders(rows, table)), figure, Table("Measures (95% intervals)", columns, cells), how],
    )


def _cell(plain: pd.DataFrame, label: str, measure: str) -> Cell:
    if (label, measure) not in plain.index:
        return Cell("–")
    row = plain.loc[(label, measure)]
    return Cell(number(row.value), interval(Score(row.value, row.low, row.high, row.n)))


def orders(rows: Rows, table: pd.DataFrame) -> str:
    """Say how the order of the imputers by macro-F1 agrees with that by what they do to the answer: Spearman's correlation."""
    from scipy.stats import spearmanr

    plain = table[(table.subset == ALL) & (table.versus == "") & (table["filter"] == 0.0)]
    parts = []
    for measure in ORDERS:
        values = plain[plain.measure == measure].set_index("file").value.drop([TRUTH, TYPED], errors="ignore").dropna()
        scored = [label for label in values.index if known(rows.value(label, "all", "f1_macro"))]
        f1 = [rows.value(label, "all", "f1_macro") for label in scored]
        if len(scored) >= LEAST_ROWS and len(set(f1)) > 1 and values[scored].nunique() > 1:
            r = float(spearmanr(f1, values[scored]).statistic)
            parts.append(f"{MEASURES[measure].label} {number(r)}")
    if not parts:
        return "Too few imputers to compare the order by macro-F1 with that by the conclusion."
    return f"Rank correlation of the order by macro-F1 with that by: {', '.join(parts)}."
