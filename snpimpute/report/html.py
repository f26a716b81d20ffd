"""Pages as HTML: the tree is rendered by the templates beside this file, figures are drawn by plotly in the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from snpimpute.report.about import ReportContext
from snpimpute.report.heat import heat_as_plotly
from snpimpute.report.text import ABSENT, count, known, plotly_text
from snpimpute.report.tree import Block, Chapter, Figure, Line, Page, Panel, Style, diagonal_ends

ICONS = 32  # pixels above a figure that plotly's icons take: neither title nor data stand there
TITLE = 30  # pixels of a panel's title, below the icons
HEIGHT, TALL = 400, 500  # pixels of a figure, and of one with lower axes


def as_html(context: ReportContext, overview: list[Block], chapters: list[Chapter]) -> str:
    """Return the report of an experiment as HTML."""
    figures = [figure for chapter in chapters for figure in chapter.figures()]
    return _render(
        "report.html.j2", figures, title=context.title, context=context, overview=overview, chapters=chapters
    )


def page_as_html(page: Page) -> str:
    """Return a page on one subject as HTML."""
    return _render("sections.html.j2", page.figures(), title=page.title, page=page)


def _render(template: str, figures: list[Figure], **content: Any) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    plots = {f"{figure.key}-{i}": as_plotly(panel) for figure in figures for i, panel in enumerate(figure.panels)}
    plots |= {f"{figure.key}-heat": heat_as_plotly(figure.heat) for figure in figures if figure.heat is not None}
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = count
    environment.globals["absent"] = ABSENT
    return environment.get_template(template).render(
        plots=json.dumps(plots, allow_nan=False).replace("<", "\\u003c"), plotlyjs=get_plotlyjs(), **content
    )


def as_plotly(panel: Panel) -> dict[str, Any]:
    """Return the panel as plotly's data and layout, without the colours that the page sets itself."""
    data: list[dict[str, Any]] = []
    if panel.diagonal:
        ends = list(diagonal_ends(panel))
        data.append({"x": ends, "y": ends, "mode": "lines", "line": {"color": "#808080", "dash": "dot", "width": 1}})
        data[0] |= {"hoverinfo": "skip"}
    if panel.level is not None:
        places = [x for line in panel.lines for x in panel.places(line)]
        ends = [-0.5, len(panel.categories) - 0.5] if panel.categories else [min(places), max(places)]
        marked = {"color": "#808080", "dash": "dot", "width": 1}
        data.append({"x": ends, "y": [panel.level] * 2, "mode": "lines", "line": marked, "hoverinfo": "skip"})
    for line in panel.lines:
        data.extend(_plotly_traces(panel, line))
    axis: dict[str, Any] = {"automargin": True, "zeroline": False}
    layout: dict[str, Any] = {
        "showlegend": False,
        "hovermode": "closest",
        "margin": {"l": 8, "r": 12, "t": ICONS + TITLE * bool(panel.title), "b": 8},
        "title": {"text": plotly_text(panel.title), "x": 0.5, "xanchor": "center", "font": {"size": 15}}
        | {"yref": "container", "y": 1.0, "yanchor": "top", "pad": {"t": ICONS}},
        "xaxis": axis | {"title": {"text": plotly_text(panel.x_title)}},
        "yaxis": axis | {"title": {"text": plotly_text(panel.y_title)}},
        "height": HEIGHT,
    }
    if panel.categories:
        ticks = [plotly_text(category) for category in panel.categories]
        layout["xaxis"] |= {"tickvals": list(range(len(ticks))), "ticktext": ticks, "showgrid": False}
    if panel.ticks:
        layout["xaxis"] |= {"tickvals": list(panel.ticks.values()), "ticktext": [*map(plotly_text, panel.ticks)]}
    if panel.log_x:
        layout["xaxis"] |= {"type": "log", "dtick": 1}
    if panel.log_y:
        layout["yaxis"] |= {"type": "log", "dtick": 1}
    if panel.y_range:
        layout["yaxis"]["range"] = list(panel.y_range)
    if panel.lower_title:
        layout["yaxis"]["domain"] = [0.36, 1.0]
        layout["yaxis2"] = axis | {"title": {"text": panel.lower_title}, "domain": [0.0, 0.27], "rangemode": "tozero"}
        layout["xaxis"]["anchor"] = "y2"
        layout["height"] = TALL
    return {"data": data, "layout": layout}


def _plotly_traces(panel: Panel, line: Line) -> list[dict[str, Any]]:
    """Return the traces of a line: the line itself and, if x is a number and there are intervals, its band."""
    style = line.style
    size = panel.sizes(line) if panel.sized else panel.symbol_size
    common = {"meta": line.label, "visible": line.shown}
    marks = common | {
        "x": panel.places(line),
        "y": [point.y for point in line.points],
        "mode": "lines+markers" if panel.joined and not panel.categories else "markers",
        "line": {"color": style.colour, "dash": Style.PLOTLY_DASH[style.dash], "width": 2},
        "marker": {"color": style.colour, "symbol": Style.PLOTLY_SYMBOL[style.dash], "size": size},
        "text": [plotly_text(point.hover) for point in line.points],
        "hovertemplate": "%{text}<extra></extra>",
        "yaxis": "y2" if line.lower else "y",
    }
    bounded = [point for point in line.points if known(point.low) and known(point.high)]
    if panel.categories or panel.log_x:
        bars: dict[str, Any] = {"type": "data", "symmetric": False, "width": 0, "thickness": 1.5}
        bars["array"] = [point.high - point.y if point in bounded else 0 for point in line.points]
        bars["arrayminus"] = [point.y - point.low if point in bounded else 0 for point in line.points]
        return [marks | {"error_y": bars}]
    if len(bounded) < 2:
        return [marks]
    band = common | {
        "x": [point.x for point in bounded] + [point.x for point in reversed(bounded)],
        "y": [point.high for point in bounded] + [point.low for point in reversed(bounded)],
        "mode": "lines",
        "fill": "toself",
        "fillcolor": "rgba({},{},{},0.15)".format(*(int(style.colour[i : i + 2], 16) for i in (1, 3, 5))),
        "line": {"width": 0},
        "hoverinfo": "skip",
    }
    return [band, marks]
