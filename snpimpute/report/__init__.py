"""Report of the tidy table of scores: one self-contained HTML page, with Markdown, figures and CSV beside it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from snpimpute.base.files import written_beside
from snpimpute.report.about import DatasetAbout, ReportContext
from snpimpute.report.figures import draw_png
from snpimpute.report.html import as_html
from snpimpute.report.markdown import as_markdown
from snpimpute.report.overview import dataset_overview
from snpimpute.report.rows import F1_METRICS, Rows, verdict_or_failure
from snpimpute.report.sections import make_chapter, styles_of
from snpimpute.report.text import ABSENT, count, duration, interval, number

__all__ = ["DatasetAbout", "ReportContext", "comparison_table", "write_report"]


def write_report(scores: pd.DataFrame, context: ReportContext, folder: Path) -> Path:
    """Write report.html, report.md, scores.csv, imputers.csv and the figures of the Markdown as PNG into `folder`.

    Each file is written under another name and then renamed, report.html last. Other files in `folder` are not changed.

    Args:
        scores: the tidy table; see `snpimpute.scoring.table`.
        context: facts that the report shows beside the scores.
        folder: folder to write to; it is made if it is not there.

    Returns:
        Path of report.html.

    Raises:
        InputError: `folder` is full.
        ValueError: two rows of `scores` have the same key.
    """
    folder = Path(folder)
    styles = styles_of(scores, context)
    rows = {about.name: Rows(scores, context, about.name) for about in context.datasets}
    by_offsets = {about.name: Rows(scores, context, about.name, "offsets") for about in context.datasets}
    overview = dataset_overview(rows)
    chapters = [
        make_chapter(rows[about.name], by_offsets[about.name], context, about, styles, place)
        for place, about in enumerate(context.datasets, 1)
    ]
    _write(folder / "scores.csv", scores.to_csv(index=False))
    _write(folder / "imputers.csv", context.imputers.to_csv(index=False))
    for chapter in chapters:
        for figure in chapter.figures():
            with written_beside(folder / figure.png) as beside:
                draw_png(figure, beside)
    _write(folder / "report.md", as_markdown(context, overview, chapters))
    page = folder / "report.html"
    _write(page, as_html(context, overview, chapters))
    return page


def comparison_table(scores: pd.DataFrame, context: ReportContext, dataset: str) -> pd.DataFrame:
    """Return the headline table of one dataset as text: a row per imputer and variant, best first, "–" if not known."""
    rows = Rows(scores, context, dataset)
    table = []
    for label in rows.ranked:
        verdict, _ = rows.verdict(label, "all", "f1_macro")
        about = rows.about(label)
        table.append(
            {
                "imputer": label,
                **{metric: number(rows.value(label, "all", metric)) for metric in F1_METRICS},
                "95% interval (macro)": interval(rows.get(label, "all", "f1_macro")) or ABSENT,
                "trials": count(about.get("trials")),
                "verdict": verdict_or_failure(rows, label, verdict),
                "rare f1_1": number(rows.value(label, "rare_minor", "f1_1")),
                "parameters": count(about.get("parameters")),
                "fit": duration(about.get("seconds_fit")),
                "impute": duration(about.get("seconds_impute")),
            }
        )
    return pd.DataFrame(table)


def _write(path: Path, text: str) -> None:
    with written_beside(path) as beside:
        beside.write_text(text, encoding="utf-8")
