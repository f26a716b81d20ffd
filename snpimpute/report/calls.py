"""Section on scenarios that hide single calls: error rate, macro-F1 and seconds by percent missing and by group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from snpimpute.dataset.mechanisms import hides_calls, label_of
from snpimpute.report.charts import lines_of
from snpimpute.report.rows import BEST, TIED, WORSE, Rows, Scenario
from snpimpute.report.text import ABSENT, Score, capital, duration, interval, known, number, slug_of
from snpimpute.report.tree import Block, Cell, Figure, Panel, Point, Section, Style, Table, Text

SHORTEST = 0.001  # seconds; shorter times are drawn here, because the axis is logarithmic
MARKS = {BEST: " ★", TIED: " ≈", WORSE: ""}
HOW = (
    "Error rate: percent of the hidden calls that are wrong. Small figures are 95% intervals, over samples and over masks or, "
    "where there is one mask, over blocks of sites or of contigs. ★ lowest error rate (highest macro-F1), ≈ not told apart "
    "from it. Seconds: to impute one mask, the mean over masks; small figures are the range."
)


@dataclass(frozen=True)
class _Measure:
    """Measure that a table shows: its name, and a function that gives the cell of an imputer."""

    name: str
    cell: Callable[[Rows, str, str, Scenario], Cell]


def percent_wrong(right: Score | None) -> Score | None:
    """Return the percentage of wrong calls, with its interval, from a share of right calls."""
    if right is None:
        return None
    return Score(100 * (1 - right.value), 100 * (1 - right.high), 100 * (1 - right.low), right.n)


def single_calls(rows: Rows, styles: dict[str, Style], key: str, slug: str) -> Section:
    """Return the section of error rate and seconds by percent missing; empty if no single calls are hidden."""
    blocks: list[Block] = []
    for mechanism in filter(hides_calls, rows.mechanisms()):
        name = label_of(mechanism)
        scenarios = rows.scenarios(mechanism, "all", "f1_micro")
        blocks.append(
            _figure(rows, styles, scenarios, f"{key}-calls-{mechanism}", f"calls-{slug}-{slug_of(mechanism)}.png")
        )
        for measure in MEASURES:
            table = [
                [Cell(label, kind="name"), *(measure.cell(rows, label, "all", at) for at in scenarios)]
                for label in rows.ranked
                if not rows.failure(label)
            ]
            columns = ["Imputer", *(f"{level:g}%" for _, level in scenarios)]
            blocks.append(Table(f"{capital(measure.name)} by percent missing: {name}", columns, table))
    if blocks:
        blocks += [Text(HOW, "how"), *_by_group(rows)]
    return Section("calls", "Error rate and seconds by percent missing", blocks)


def regimes(by_dataset: dict[str, Rows]) -> list[Block]:
    """Return a table per measure, with every imputer on every dataset at its headline scenario.

    Args:
        by_dataset: dataset → its rows.
    """
    labels = list(dict.fromkeys(label for rows in by_dataset.values() for label in rows.listed))
    blocks: list[Block] = []
    for measure in MEASURES:
        table = [
            [
                Cell(f"{name}, {rows.missing}", kind="name"),
                *(measure.cell(rows, label, "all", rows.headline) for label in labels),
            ]
            for name, rows in by_dataset.items()
        ]
        blocks.append(Table(f"{capital(measure.name)} by dataset and imputer", ["Dataset", *labels], table))
    return [*blocks, Text(HOW, "how")]


def _figure(rows: Rows, styles: dict[str, Style], scenarios: list[Scenario], key: str, png: str) -> Figure:
    def points(label: str, metric: str) -> list[Point | None]:
        found: list[Point | None] = []
        for at in scenarios:
            score, words = rows.get(label, "all", metric, at), " s"
            if metric == "f1_micro":
                score, words = percent_wrong(score), "% wrong"
            if score is not None:
                hover = f"{label}\n{at[1]:g}% missing\n{score.value:.3g}{words}"
                y, low, high = (
                    max(v, SHORTEST) if metric == "seconds" else v for v in (score.value, score.low, score.high)
                )
                found.append(Point(at[1], y, low, high, hover))
        return found

    x_title = "Missing genotype calls (%)"
    errors = lines_of(rows, styles, lambda label: points(label, "f1_micro"))
    seconds = lines_of(rows, styles, lambda label: points(label, "seconds"))
    panels = [
        Panel("Error rate", x_title, "Wrong calls (% of those hidden)", errors, log_x=True),
        Panel("Time", x_title, "Seconds to impute a mask (logarithmic)", seconds, log_x=True, log_y=True),
    ]
    how = "Lower is better in both; the axis of percent missing is logarithmic, that of seconds too."
    return Figure(key, png, "Error rate and seconds against percent missing", how, [p for p in panels if p.lines])


def _by_group(rows: Rows) -> list[Block]:
    """Return the error rate by group of samples at the headline scenario; empty if samples have no groups."""
    groups = rows.subsets("group:", "f1_micro")
    if not groups:
        return []
    table = [
        [Cell(label, kind="name"), *(_error(rows, label, f"group:{group}", rows.headline) for group in groups)]
        for label in rows.ranked
        if not rows.failure(label)
    ]
    return [Table(f"Error rate (%) by group of samples, {rows.missing}", ["Imputer", *groups], table)]


def _error(rows: Rows, label: str, subset: str, at: Scenario) -> Cell:
    score = percent_wrong(rows.get(label, subset, "f1_micro", at))
    if score is None or not known(score.value):
        return Cell(ABSENT)
    verdict, _ = rows.verdict(label, subset, "f1_micro", at)
    spread = f"{score.low:.2f} to {score.high:.2f}" if known(score.low) and known(score.high) else ""
    return Cell(f"{score.value:.2f}{MARKS.get(verdict, '')}", spread)


def _macro(rows: Rows, label: str, subset: str, at: Scenario) -> Cell:
    score = rows.get(label, subset, "f1_macro", at)
    verdict, _ = rows.verdict(label, subset, "f1_macro", at)
    mark = MARKS.get(verdict, "") if score else ""
    return Cell(number(score and score.value) + mark, interval(score))


def _seconds(rows: Rows, label: str, subset: str, at: Scenario) -> Cell:
    score = rows.get(label, subset, "seconds", at)
    if score is None or not known(score.value):
        return Cell(ABSENT)
    spread = f"{brief(score.low)} to {brief(score.high)}" if score.n > 1 else ""
    return Cell(brief(score.value), spread)


def brief(seconds: float) -> str:
    """Return a time as text; below ten seconds with two significant digits."""
    return duration(seconds) if seconds >= 10 else f"{seconds:.2g} s"


MEASURES = (
    _Measure("error rate (%)", _error),
    _Measure("macro-F1", _macro),
    _Measure("time to impute a mask", _seconds),
)
