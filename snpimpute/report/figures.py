"""Figures of the Markdown report as PNG, drawn by matplotlib."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from snpimpute.report.heat import draw_heat_png
from snpimpute.report.tree import Figure, Line, Panel, Style, diagonal_ends

INCHES_PER_LETTER, INCHES_PER_ENTRY = 0.09, 0.7  # widths in the legend
DOTS_PER_INCH = 130
MAX_COLUMNS = 3  # most panels in one row; more panels are set in rows of two


def draw_png(figure: Figure, path: Path) -> None:
    """Draw a figure on white, with its panels side by side and the legend below, or its heat map, as a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.ticker import LogLocator, NullFormatter

    if figure.heat is not None:
        draw_heat_png(figure.heat, path)
        return
    panels = figure.panels
    stacked = bool(panels[0].lower_title)
    columns = len(panels) if len(panels) <= MAX_COLUMNS else 2
    n_rows = math.ceil(len(panels) / columns)
    widths = [max(5.0, _inches_per_category(panel) * len(panel.categories)) for panel in panels[:columns]]
    size = (9.0, 5.4) if stacked else (max(sum(widths), 6.5), 1.4 + 4.0 * n_rows)
    layout = ConstrainedLayoutEngine()
    canvas = Canvas(figsize=size, dpi=DOTS_PER_INCH, layout=layout)
    FigureCanvasAgg(canvas)
    if stacked:
        axes = list(canvas.subplots(2, 1, sharex=True, height_ratios=[2, 1]))
        axes[1].set_ylabel(_png_text(panels[0].lower_title))
    else:
        axes = list(canvas.subplots(n_rows, columns, squeeze=False, width_ratios=widths).flat)
        for unused in axes[len(panels) :]:
            unused.remove()
        axes = axes[: len(panels)]
    handles: dict[str, Any] = {}
    for panel, ax in zip(panels, axes[: len(panels)], strict=True):
        for line in (line for line in panel.lines if line.shown):
            handle = _png_line(panel, line, axes[1] if line.lower else ax)
            handles.setdefault(_png_text(line.label), handle)
        if panel.diagonal:
            ends = diagonal_ends(panel)
            ax.plot(ends, ends, color="#808080", linestyle=":", linewidth=1)
        if panel.level is not None:
            ax.axhline(panel.level, color="#808080", linestyle=":", linewidth=1)
        if panel.categories:
            ax.set_xticks(range(len(panel.categories)), [_png_text(c) for c in panel.categories], fontsize=8)
            ax.set_xlim(-0.5, len(panel.categories) - 0.5)
        if panel.ticks:
            (axes[1] if stacked else ax).set_xticks(
                list(panel.ticks.values()), [_png_text(tick) for tick in panel.ticks], fontsize=8
            )
        if panel.log_x:
            ax.set_xscale("log")
            ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.xaxis.set_major_formatter("{x:g}")
            ax.xaxis.set_minor_formatter(NullFormatter())
        if panel.log_y:
            ax.set_yscale("log")
        if panel.y_range:
            ax.set_ylim(panel.y_range)
        ax.set_title(_png_text(panel.title), fontsize=11)
        ax.set_ylabel(_png_text(panel.y_title))
        (axes[1] if stacked else ax).set_xlabel(_png_text(panel.x_title))
    for ax in axes:
        ax.grid(axis="y", color="#e5e5e5", linewidth=0.6)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
    entry = INCHES_PER_LETTER * max(map(len, handles)) + INCHES_PER_ENTRY
    canvas.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower center",
        ncols=min(max(1, int(size[0] / entry)), len(handles)),
        frameon=False,
    )
    layout.execute(canvas)
    canvas.set_layout_engine("none")  # else the figure is drawn once for the layout and once again for the file
    canvas.savefig(path, format="png", dpi=DOTS_PER_INCH)


def _inches_per_category(panel: Panel) -> float:
    """Return the width that a category needs for its name."""
    letters = max((len(line) for category in panel.categories for line in category.split("\n")), default=0)
    return min(1.3, 0.3 + 0.1 * letters)


def _png_line(panel: Panel, line: Line, ax: Any) -> Any:
    """Draw a line and return its handle for the legend."""
    style = line.style
    look = {"color": style.colour, "marker": Style.PNG_SYMBOL[style.dash], "markersize": 5, "linestyle": "none"}
    x = panel.places(line)
    y, low, high = ([getattr(point, name) for point in line.points] for name in ("y", "low", "high"))
    if panel.categories or panel.log_x:
        ax.vlines(x, low, high, color=style.colour, linewidth=1.2)
        look["markersize"] = 5 if panel.categories or panel.joined else 7
        look["linestyle"] = Style.PNG_DASH[style.dash] if panel.joined and not panel.categories else "none"
    elif panel.joined:
        ax.fill_between(x, low, high, color=style.colour, alpha=0.15, linewidth=0)
        look["linestyle"] = Style.PNG_DASH[style.dash]
    else:
        look |= {"markersize": 3, "alpha": 0.75}
    if panel.sized:
        look["markersize"] = 0
        ax.scatter(x, y, s=[size**2 / 2 for size in panel.sizes(line)], color=style.colour, marker=look["marker"])
    return ax.plot(x, y, **look)[0]


def _png_text(text: str) -> str:
    return text.replace("$", r"\$")
