"""Report as a tree of blocks, which is written as HTML and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import nan
from typing import Any, ClassVar

import numpy as np

from snpimpute.report.about import DatasetAbout


@dataclass(frozen=True)
class Cell:
    """A cell of a table: `detail` is shown small below `text`; `kind` selects the style."""

    text: str
    detail: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Text:
    """A paragraph; its kind is "caution", "how" (explains the figure or table above) or ""."""

    text: str
    kind: str = ""
    type: ClassVar[str] = "text"


@dataclass(frozen=True)
class Table:
    """A table; its first column names the row, and a row of one cell is a heading."""

    caption: str
    columns: list[str]
    rows: list[list[Cell]]
    type: ClassVar[str] = "table"


@dataclass(frozen=True)
class Confusion:
    """Confusion matrices, one per imputer: label → 3 × 3 counts by true (row) and called (column) genotype."""

    counts: dict[str, list[list[float]]]
    type: ClassVar[str] = "confusion"


# Okabe–Ito without yellow (invisible on white), and with grey instead of black (invisible on a dark page)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#808080")


@dataclass(frozen=True)
class Style:
    """Style of an imputer's variant in every figure: a colour, and a mark (dash and symbol) by its number.

    No two have the same colour and mark, as long as there are enough of them (see `sections.styles_of`).
    """

    colour: str
    dash: int

    PLOTLY_DASH: ClassVar[tuple[str, ...]] = (
        "solid",
        "dash",
        "dot",
        "dashdot",
        "longdash",
        "longdashdot",
        "12px,3px,2px,3px,2px,3px",
        "3px,6px",
    )
    PLOTLY_SYMBOL: ClassVar[tuple[str, ...]] = (
        "circle",
        "square",
        "diamond",
        "triangle-up",
        "x",
        "triangle-down",
        "star",
        "cross",
    )
    PNG_DASH: ClassVar[tuple[Any, ...]] = (
        "-",
        "--",
        ":",
        "-.",
        (0, (9, 3)),
        (0, (9, 3, 2, 3)),
        (0, (9, 2, 1, 2, 1, 2)),
        (0, (2, 5)),
    )
    PNG_SYMBOL: ClassVar[tuple[str, ...]] = ("o", "s", "D", "^", "X", "v", "*", "P")
    SVG_DASH: ClassVar[tuple[str, ...]] = (
        "none",
        "6 3",
        "2 2",
        "6 2 2 2",
        "9 3",
        "9 3 2 3",
        "9 2 1 2 1 2",
        "2 5",
    )
    SVG_SYMBOL: ClassVar[tuple[str, ...]] = (
        "M14 2.5a3.5 3.5 0 1 0 .01 0z",
        "M11 3h6v6h-6z",
        "M14 1.5l4.5 4.5-4.5 4.5-4.5-4.5z",
        "M14 1.5l4.2 8h-8.4z",
        "M10.5 4l1.5-1.5 2 2 2-2 1.5 1.5-2 2 2 2-1.5 1.5-2-2-2 2-1.5-1.5 2-2z",
        "M14 10.5l4.2-8h-8.4z",
        "M14 1.5l1.1 3 3.2.1-2.5 2 .9 3-2.7-1.7-2.7 1.7.9-3-2.5-2 3.2-.1z",
        "M12.6 2h2.8v2.6H18v2.8h-2.6V10h-2.8V7.4H10V4.6h2.6z",
    )


@dataclass(frozen=True)
class Point:
    """A score of `n` calls at `x`, with its interval and the text shown when the pointer is on it; NaN if not known."""

    x: Any
    y: float
    low: float
    high: float
    hover: str
    n: float = nan


@dataclass(frozen=True)
class Line:
    """Line of one imputer in a panel; it is visible at first if `shown`, and in the lower axes if `lower`."""

    label: str
    style: Style
    points: list[Point]
    shown: bool = True
    lower: bool = False


SMALLEST, LARGEST = 5, 20  # pixels across of a point whose area grows with its calls


@dataclass(frozen=True)
class Panel:
    """One pair of axes: a curve with a band if x is a number, points with bars if x is one of `categories`.

    `log_x` and `log_y` make an axis logarithmic; `y_range` makes panels comparable. With `lower_title`, lines marked
    `lower` are drawn in axes of their own below, on the same x. If `sized`, the area of a point grows with its calls.
    `ticks` names places of the x axis, in place of numbers.
    `level` is a value of y that a dotted line marks, and `diagonal` marks where y is x.
    """

    title: str
    x_title: str
    y_title: str
    lines: list[Line]
    categories: list[str] = field(default_factory=list)
    diagonal: bool = False
    joined: bool = True
    lower_title: str = ""
    log_x: bool = False
    log_y: bool = False
    y_range: tuple[float, float] | None = None
    sized: bool = False
    ticks: dict[str, float] = field(default_factory=dict)
    level: float | None = None

    @property
    def symbol_size(self) -> int:
        """Size of a point on the page: large if a line is one point, small if a line has hundreds."""
        return 10 if self.log_x else 7 if self.joined else 5

    def sizes(self, line: Line) -> list[float]:
        """Return the size of each of a line's points on the page, in pixels across."""
        if not self.sized:
            return [self.symbol_size] * len(line.points)
        most = max(point.n for line in self.lines for point in line.points)
        return [SMALLEST + (LARGEST - SMALLEST) * (point.n / most) ** 0.5 for point in line.points]

    def places(self, line: Line) -> list[float]:
        """Return the positions of a line's points on the x axis; within a category each line has its own place."""
        if not self.categories:
            return [point.x for point in line.points]
        aside = 0.65 * ((self.lines.index(line) + 0.5) / len(self.lines) - 0.5)
        return [self.categories.index(point.x) + aside for point in line.points]


def diagonal_ends(panel: Panel) -> tuple[float, float]:
    """Return the ends of a panel's diagonal: its smallest x or y, and 1 or its largest x, if that is more."""
    points = [point for line in panel.lines for point in line.points]
    return min(value for point in points for value in (point.x, point.y)), max(1.0, *(point.x for point in points))


@dataclass(frozen=True)
class Stretch:
    """A stretch of the x axis with the name that it is called by, and the text shown when the pointer is on it."""

    start: float
    end: float
    name: str
    hover: str


@dataclass(frozen=True, eq=False)
class HeatPanel:
    """Values along positions, a row for each name.

    Attributes:
        x_title, value_title: of the x axis, and of what the colours are.
        edges: float64 (n_columns + 1,), ascending, where columns begin and end.
        rows: names of the rows, the first one at the top.
        values: float64 (n_rows, n_columns), 0 to 1; NaN = nothing is there.
        hover: text of each column, without its value.
        tracks: name → stretches, drawn above the rows; empty ones are not.
        ticks: names of places of the x axis, in place of numbers.
    """

    x_title: str
    value_title: str
    edges: np.ndarray
    rows: list[str]
    values: np.ndarray
    hover: list[str]
    tracks: dict[str, list[Stretch]] = field(default_factory=dict)
    ticks: dict[str, float] = field(default_factory=dict)

    def drawn_tracks(self) -> dict[str, list[Stretch]]:
        """Return the tracks that have a stretch; a stretch too short to be seen is drawn wider, from its middle."""
        least = float(self.edges[-1] - self.edges[0]) / 500
        found: dict[str, list[Stretch]] = {}
        for name, stretches in self.tracks.items():
            wider = [max(least - (s.end - s.start), 0) / 2 for s in stretches]
            drawn = [replace(s, start=s.start - w, end=s.end + w) for s, w in zip(stretches, wider, strict=True)]
            found |= {name: drawn} if drawn else {}
        return found

    def names(self) -> list[str]:
        """Return the names of tracks and rows from the top."""
        return [*self.drawn_tracks(), *self.rows]

    @property
    def height(self) -> int:
        """Height on the page, in pixels."""
        return 160 + 42 * len(self.names())


@dataclass(frozen=True)
class Figure:
    """Panels with one legend, or a heat map in their place; `key` is unique in the report."""

    key: str
    png: str
    alt: str
    how: str
    panels: list[Panel]
    heat: HeatPanel | None = None
    type: ClassVar[str] = "figure"

    @property
    def legend(self) -> dict[str, Line]:
        """First line of each label, in the order drawn."""
        found: dict[str, Line] = {}
        for panel in self.panels:
            for line in panel.lines:
                found.setdefault(line.label, line)
        return found


@dataclass(frozen=True)
class Switch:
    """Alternatives, of which the page shows one at a time: name → blocks."""

    key: str
    name: str
    options: dict[str, list[Block]]
    type: ClassVar[str] = "switch"


@dataclass(frozen=True)
class Folded:
    """Blocks that the page shows when its `summary` is clicked."""

    summary: str
    blocks: list[Block]
    type: ClassVar[str] = "folded"


Block = Text | Table | Confusion | Figure | Switch | Folded


@dataclass(frozen=True)
class Section:
    """A section of a chapter or page: blocks under a title."""

    key: str
    title: str
    blocks: list[Block]


@dataclass(frozen=True)
class Advice:
    """What to do, in a sentence, and the command that does it (empty if it is not known)."""

    sentence: str
    command: str


@dataclass(frozen=True, eq=False)
class Chapter:
    """Chapter of one dataset; `missing` names the level of its headline tables, `advice` is None without scores."""

    key: str
    about: DatasetAbout
    missing: str
    advice: Advice | None
    summary: list[str]
    best: str
    sections: list[Section]

    def figures(self) -> list[Figure]:
        return [figure for section in self.sections for figure in _figures(section.blocks)]


@dataclass(frozen=True)
class Page:
    """A page on one subject: `notes` are prominent, `findings` are a list, `facts` map name → value."""

    title: str
    lead: str
    notes: list[str]
    findings: list[str]
    facts: dict[str, str]
    sections: list[Section]
    footer: str

    def figures(self) -> list[Figure]:
        return [figure for section in self.sections for figure in _figures(section.blocks)]


def _figures(blocks: Iterable[Block]) -> list[Figure]:
    found: list[Figure] = []
    for block in blocks:
        if isinstance(block, Figure):
            found.append(block)
        elif isinstance(block, Switch):
            for inner in block.options.values():
                found.extend(_figures(inner))
        elif isinstance(block, Folded):
            found.extend(_figures(block.blocks))
    return found
