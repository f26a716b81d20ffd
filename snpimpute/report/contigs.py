"""Section on the contigs of a dataset that has several: one model for all, scored on each."""

from __future__ import annotations

from snpimpute.metrics.registry import METRICS
from snpimpute.report.about import DatasetAbout
from snpimpute.report.charts import hide_crowding_lines, lines_of, point_of
from snpimpute.report.rows import BEST, TIED, WORSE, Rows
from snpimpute.report.text import capital, count, interval, number
from snpimpute.report.tree import Block, Cell, Figure, Folded, Panel, Point, Section, Style, Switch, Table, Text

PREFIX = "contig:"
MARKS = {BEST: " ★", TIED: " ≈", WORSE: ""}


def by_contig(rows: Rows, about: DatasetAbout, styles: dict[str, Style], key: str, slug: str) -> Section:
    """Return the section: a figure by contig, the score on each, and the wrong calls that add up to all; else empty."""
    scored = set(rows.subsets(PREFIX, "f1_macro"))
    contigs = [name for name in dict.fromkeys(about.sites["contig"].astype(str)) if name in scored]
    blocks: list[Block] = []
    if len(contigs) > 1:
        how = (
            "One model for all contigs: each was fitted once, on the sites of all of them. ★ highest on the contig, ≈ not told "
            "apart from it by the 95% interval of the paired difference; small figures are 95% intervals. All: the calls of all "
            "contigs together, which is not the mean of the contigs."
        )
        blocks = [
            _figure(rows, contigs, styles, key, slug),
            _scores(rows, contigs),
            Text(how, "how"),
            Folded("Wrong calls on each contig", [_wrong(rows, contigs)]),
        ]
    return Section("contigs", f"By contig ({rows.missing})", blocks)


def _figure(rows: Rows, contigs: list[str], styles: dict[str, Style], key: str, slug: str) -> Switch:
    options: dict[str, list[Block]] = {}
    for metric in ("f1_macro", "f1_micro", rows.dosage_r2):
        name = METRICS[metric].label

        def points(label: str, metric: str = metric, name: str = name) -> list[Point | None]:
            return [
                point_of(contig, rows.get(label, PREFIX + contig, metric), label, f"contig {contig}", name)
                for contig in contigs
            ]

        if not (lines := lines_of(rows, styles, points)):
            continue
        panels, below = hide_crowding_lines([Panel("", "Contig", f"{capital(name)} (0 to 1)", lines, contigs)])
        options[capital(name)] = [
            Figure(
                f"{key}-contigs-{metric}",
                f"contigs-{slug}-{metric.replace('_', '-')}.png",
                f"{capital(name)} on each contig",
                f"On each contig a point per imputer; bars are 95% intervals.{below}",
                panels,
            )
        ]
    return Switch(f"{key}-contig-metric", "Score", options)


def _scores(rows: Rows, contigs: list[str]) -> Table:
    """Return the macro-F1 of each imputer on each contig, a row per contig, and on all together."""
    labels = [label for label in rows.ranked if not rows.failure(label)]
    table = []
    for contig in [*contigs, ""]:
        subset = PREFIX + contig if contig else "all"
        calls = (rows.get(label, subset, "f1_macro") for label in labels)
        n = next((score.n for score in calls if score), None)
        cells = [Cell(contig or "All", kind="name"), Cell(count(n))]
        for label in labels:
            score, (verdict, _) = rows.get(label, subset, "f1_macro"), rows.verdict(label, subset, "f1_macro")
            cells.append(Cell(number(score and score.value) + MARKS.get(verdict, ""), interval(score)))
        table.append(cells)
    return Table(f"Macro-F1 on each contig, {rows.missing}", ["Contig", "Calls scored", *labels], table)


def _wrong(rows: Rows, contigs: list[str]) -> Table:
    """Return the number of wrong calls of each imputer on each contig, which add up to those on all."""
    labels = [label for label in rows.ranked if not rows.failure(label)]
    table = [
        [Cell(name, kind="name"), *(Cell(count(rows.value(label, subset, "wrong"))) for label in labels)]
        for name, subset in [*((contig, PREFIX + contig) for contig in contigs), ("All", "all")]
    ]
    return Table(f"Wrong calls on each contig, {rows.missing}", ["Contig", *labels], table)
