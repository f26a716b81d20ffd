"""Sections of a dataset that consist of figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from snpimpute.dataset.mechanisms import label_of
from snpimpute.metrics.registry import METRICS
from snpimpute.report.about import DatasetAbout
from snpimpute.report.rows import BINNED, Rows, imputer_of
from snpimpute.report.tables import by_level
from snpimpute.report.text import Score, capital, count, interval, known, number, slug_of
from snpimpute.report.tree import (
    COLOURS,
    Block,
    Cell,
    Figure,
    Folded,
    Line,
    Panel,
    Point,
    Section,
    Style,
    Switch,
    Table,
    Text,
)

FAR_BELOW = 0.75  # an imputer that stays below this share of the best one's lowest score is hidden at first
MANY_LINES = 8  # with more lines, only the best variant of each imputer is shown at first
BY_GROUP = ("f1_macro", "f1_1")  # metrics that are drawn by allele frequency and group, beside dosage r²
MANY_CONTIGS = 60  # more are not named along the chromosome
N_SHOWN = 2  # number of imputers shown at first if each has hundreds of points


def robustness(rows: Rows, styles: dict[str, Style], key: str, slug: str) -> Section:
    """Return the section of accuracy against percent missing, a figure per mechanism."""
    options: dict[str, list[Block]] = {}
    for mechanism in rows.mechanisms():
        panels = []
        for subset, metric, title in (
            ("all", "f1_macro", "All sites"),
            ("rare", "f1_macro", "Rare sites, as published"),
            ("rare_minor", "f1_1", "Rare sites, minor-allele coding"),
        ):
            name = METRICS[metric].label

            def points(label: str, subset: str = subset, metric: str = metric, name: str = name) -> list[Point | None]:
                return [
                    point_of(at[1], rows.get(label, subset, metric, at), label, f"{at[1]:g}% missing", name)
                    for at in rows.scenarios(mechanism, subset, metric)  # noqa: B023 (called within this turn)
                ]

            if lines := lines_of(rows, styles, points):
                panels.append(Panel(title, "Missing genotype calls (%)", f"{capital(name)} (0 to 1)", lines))
        if not panels:
            continue
        panels, below = hide_crowding_lines(panels)
        name = label_of(mechanism)
        figure = Figure(
            f"{key}-robustness-{len(options)}",
            f"robustness-{slug}-{slug_of(mechanism)}.png",
            f"Accuracy against percent missing: {name}",
            f"A line that stays high to the right withstands missing calls; bands are 95% intervals.{below}",
            panels,
        )
        tables = [by_level(rows, mechanism, "all", "all sites"), by_level(rows, mechanism, "rare", "rare sites")]
        marks = Text("≈ not told apart from the best (the interval holds zero); ▼ worse than the best.", "how")
        tables_shown: list[Block] = [table for table in tables if len(table.columns) > 1]
        options[capital(name)] = [figure, Folded("Differences at each level", [*tables_shown, marks])]
    blocks: list[Block] = [Switch(f"{key}-mechanism", "How calls are hidden", options)] if options else []
    return Section("robustness", "Robustness to missing calls", blocks)


def by_group(rows: Rows, styles: dict[str, Style], key: str, slug: str) -> Section:
    """Return the section of scores by minor allele frequency and by group of samples."""
    options: dict[str, list[Block]] = {}
    for metric in (*BY_GROUP, rows.dosage_r2):
        name = METRICS[metric].label
        panels = []
        for prefix, title, x_title in (
            ("maf:", "By minor allele frequency", "Minor allele frequency in the test samples"),
            ("group:", "By group of samples", "Group of the test samples"),
        ):
            ticks = {}
            for subset in rows.subsets(prefix, metric):
                calls = next(s.n for label in rows.ranked if (s := rows.get(label, prefix + subset, metric)))
                words = subset.replace("-", "–") if prefix in BINNED else subset
                ticks[subset] = f"{words}\n{count(calls)} calls"

            def points(
                label: str, prefix: str = prefix, metric: str = metric, name: str = name, ticks: dict[str, str] = ticks
            ) -> list[Point | None]:
                return [
                    point_of(tick, rows.get(label, prefix + subset, metric), label, tick.split("\n")[0], name)
                    for subset, tick in ticks.items()
                ]

            if lines := lines_of(rows, styles, points):
                panels.append(Panel(title, x_title, f"{capital(name)} (0 to 1)", lines, list(ticks.values())))
        if panels:
            panels, below = hide_crowding_lines(panels)
            figure = Figure(
                f"{key}-groups-{metric}",
                f"groups-{slug}-{slug_of(metric)}.png",
                f"{capital(name)} by minor allele frequency and group",
                f"In each bin a point per imputer; bars are 95% intervals, long where calls are few.{below}",
                panels,
            )
            options[capital(name)] = [figure]
    blocks: list[Block] = [Switch(f"{key}-group-metric", "Score", options)] if options else []
    return Section("groups", f"By allele frequency and group ({rows.missing})", blocks)


def along_chromosome(rows: Rows, about: DatasetAbout, styles: dict[str, Style], key: str, slug: str) -> Section:
    """Return the section of the concordance at each site, with its minor allele frequency."""
    title = f"Along the chromosome ({rows.missing})"
    sites = about.sites
    contigs = sites["contig"].astype(str).unique()
    one = len(contigs) == 1
    begins = {} if one or len(contigs) > MANY_CONTIGS else _begins(about)
    place = dict(zip(sites["site"], sites["pos"] / 1e6 if one else range(1, len(sites) + 1), strict=True))

    def points(label: str) -> list[Point | None]:
        found = ((x, site, rows.get(label, f"site:{site}", "f1_micro")) for site, x in place.items())
        return [point_of(x, score, label, site, "concordance") for x, site, score in found]

    lines = lines_of(rows, styles, points)
    if not lines:
        return Section("chromosome", title, [])
    lines = [replace(line, shown=i < N_SHOWN) for i, line in enumerate(lines)]
    for column, words, dash in (("maf_test", "MAF of the test samples", 0), ("maf_panel", "MAF of the panel", 1)):
        mafs = zip(place.items(), sites[column].astype(float), strict=True)
        dots = [
            Point(x, maf, np.nan, np.nan, f"{site}\n{words} {number(maf)}") for (site, x), maf in mafs if known(maf)
        ]
        lines.append(Line(words, Style(COLOURS[-1], dash), dots, shown=column == "maf_test", lower=True))
    figure = Figure(
        f"{key}-chromosome",
        f"chromosome-{slug}.png",
        "Concordance at each site along the chromosome, with its minor allele frequency",
        "Each point is a site; runs of low points are stretches that are hard to impute. "
        f"The {N_SHOWN} best imputers are shown at first.",
        [
            Panel(
                "",
                f"Position on contig {contigs[0]} (Mb)" if one else _x_of_contigs(begins),
                "Concordance (0 to 1)",
                lines,
                joined=False,
                lower_title="MAF (share)",
                ticks=begins,
            )
        ],
    )
    return Section("chromosome", title, [figure])


def _begins(about: DatasetAbout) -> dict[str, float]:
    """Return the number, from 1, of the first site of each contig."""
    contigs = about.sites["contig"].astype(str).reset_index(drop=True)
    first = ~contigs.duplicated()
    return dict(zip(contigs[first], (contigs.index[first] + 1).astype(float).tolist(), strict=True))


def _x_of_contigs(begins: dict[str, float]) -> str:
    """Return the title of an axis along which the sites of several contigs are laid side by side."""
    return "Sites in file order, named where a contig begins" if begins else "Site (number in file order)"


def calibration(rows: Rows, styles: dict[str, Style], key: str, slug: str) -> Section:
    """Return the section of the concordance against the stated confidence, with the number of calls of each point."""
    title = f"Calibration ({rows.missing})"
    bins = [f"confidence:{name}" for name in rows.subsets("confidence:", "confidence")]

    def points(label: str) -> list[Point | None]:
        stated = {subset: rows.value(label, subset, "confidence") for subset in bins}
        return [
            point_of(x, rows.get(label, subset, "accuracy"), label, f"stated confidence {number(x)}", "concordance")
            for subset, x in stated.items()
            if known(x)
        ]

    lines = lines_of(rows, styles, points)
    if not lines:
        return Section("calibration", title, [])
    panel = Panel(
        "",
        "Stated confidence (mean posterior of the call)",
        "Concordance (0 to 1)",
        lines,
        diagonal=True,
        sized=True,
    )
    panels, below = hide_crowding_lines([panel])
    figure = Figure(
        f"{key}-calibration",
        f"calibration-{slug}.png",
        "Concordance against the stated confidence",
        "On the dotted line an imputer is right as often as it states; below it, it is too confident. The area of a point "
        f"grows with its calls: a small one says little.{below}",
        panels,
    )
    table = [
        [Cell(line.label, kind="name"), *(Cell(count(score and score.n)) for score in scores)]
        for line in lines
        if (scores := [rows.get(line.label, subset, "accuracy") for subset in bins])
    ]
    names = [subset.removeprefix("confidence:").replace("-", "–") for subset in bins]
    behind = Folded(
        "The number of calls behind each point",
        [Table(f"Calls by stated confidence, {rows.missing}", ["Imputer", *names], table)],
    )
    drawn = {line.label for line in lines}
    silent = [label for label in rows.ranked if label not in drawn and not rows.failure(label)]
    without = f"Not shown, because they give hard calls without a posterior of their own: {', '.join(silent)}."
    return Section("calibration", title, [figure, behind, *([Text(without)] if silent else [])])


def lines_of(rows: Rows, styles: dict[str, Style], points: Callable[[str], Iterable[Point | None]]) -> list[Line]:
    """Return a line for every imputer that has a point with a value."""
    found = {label: [p for p in points(label) if p is not None and known(p.y)] for label in rows.ranked}
    return [Line(label, styles[label], drawn) for label, drawn in found.items() if drawn]


def point_of(x: Any, score: Score | None, label: str, where: str, name: str) -> Point | None:
    """Return the point of a score at `x`, with its text under the pointer; None without a score."""
    if score is None:
        return None
    spread = f" ({interval(score)})" if interval(score) else ""
    hover = f"{label}\n{where}\n{name} {number(score.value)}{spread}\n{count(score.n)} calls"
    return Point(x, score.value, score.low, score.high, hover, score.n)


def hide_crowding_lines(panels: list[Panel], all_variants: bool = False) -> tuple[list[Panel], str]:
    """Return the panels with crowding lines hidden at first, and a sentence that names them.

    Hidden are lines that lie far below the best in the first panel, because they would compress the others. If there are
    many lines, all but the best variant of each imputer are hidden too, unless `all_variants` are wanted.
    """
    best, *others = panels[0].lines
    floor = FAR_BELOW * min(point.y for point in best.points)
    below = [line.label for line in others if max(point.y for point in line.points) < floor]
    hidden, words = set(below), f" Far below, and hidden at first: {', '.join(below)}." if below else ""
    if len(panels[0].lines) > MANY_LINES and not all_variants:
        first = {imputer_of(line.label): line.label for line in reversed(panels[0].lines)}
        hidden |= {line.label for panel in panels for line in panel.lines} - set(first.values())
        words += " Only the best variant of each imputer is shown at first."
    drawn = [
        replace(panel, lines=[replace(line, shown=line.label not in hidden) for line in panel.lines])
        for panel in panels
    ]
    return drawn, words
