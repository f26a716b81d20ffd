"""Section on the cost of each imputer, and its accuracy against the cost."""

from __future__ import annotations

from snpimpute.report.charts import hide_crowding_lines
from snpimpute.report.rows import Rows
from snpimpute.report.text import count, duration, known, memory, number
from snpimpute.report.tree import Block, Cell, Figure, Line, Panel, Point, Section, Style, Table, Text

SHORTEST = 0.01  # seconds; shorter times are drawn here, because the axis is logarithmic


def cost(rows: Rows, styles: dict[str, Style], key: str, slug: str) -> Section:
    """Return the section of parameters, seconds, memory and trials of each imputer, and macro-F1 against seconds."""
    table = []
    for label in rows.ranked:
        meta = rows.about(label)
        table.append(
            [
                Cell(label, kind="name"),
                Cell(number(rows.value(label, "all", "f1_macro"))),
                Cell(count(meta.get("parameters"))),
                *(Cell(duration(meta.get(f"seconds_{step}"))) for step in ("study", "fit", "impute")),
                Cell(memory(meta.get("memory_mb"))),
                *(Cell(count(meta.get(number_of))) for number_of in ("trials", "trials_failed", "samples_fit")),
            ]
        )
    columns = ["Imputer", "Macro-F1", "Parameters", "Time of the study", "Time to fit", "Time to impute"]
    columns += ["Peak memory", "Trials", "Trials failed", "Samples learned from"]
    panels = [
        Panel("", f"Seconds {what} (logarithmic)", "Macro-F1 (0 to 1)", lines, joined=False, log_x=True)
        for what, steps in (
            ("to impute a mask", ("impute",)),
            ("to fit", ("fit",)),
            ("of study, fit, mask", ("study", "fit", "impute")),
        )
        if (lines := _lines(rows, styles, steps))
    ]
    blocks: list[Block] = [
        Table(f"Cost, and accuracy at {rows.missing}", columns, table),
        Text("Time to impute: the mean over the masks scored. Time of a study: all its trials together.", "how"),
    ]
    if panels:
        panels, below = hide_crowding_lines(panels, all_variants=True)
        figure = Figure(
            f"{key}-cost",
            f"cost-{slug}.png",
            "Macro-F1 against the time in seconds",
            f"Up and to the left is better: more accurate and faster. Bars are 95% intervals.{below}",
            panels,
        )
        blocks.insert(0, figure)
    return Section("cost", f"Cost ({rows.missing})", blocks)


def _lines(rows: Rows, styles: dict[str, Style], steps: tuple[str, ...]) -> list[Line]:
    """Return a point for each imputer at the sum of its seconds in the given steps.

    Steps that an imputer did not take are left out; the result is empty if no imputer took the first step.
    """
    found = {}
    for label in rows.ranked:
        seconds = [rows.about(label).get(f"seconds_{step}") for step in steps]
        score = rows.get(label, "all", "f1_macro")
        if score is None or not known(score.value) or not all(known(value) for value in seconds[-2:]):
            continue
        total = max(sum(value for value in seconds if known(value)), SHORTEST)
        hover = f"{label}\n{duration(total)}\nmacro-F1 {number(score.value)}"
        found[label] = Line(label, styles[label], [Point(total, score.value, score.low, score.high, hover)])
    begun = any(known(rows.about(label).get(f"seconds_{steps[0]}")) for label in found)
    return list(found.values()) if begun else []
