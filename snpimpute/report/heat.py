"""Heat maps along positions, with stretches (genes, blocks) above them: sites gathered in columns, drawn on a page and as PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from snpimpute.report.text import plotly_text
from snpimpute.report.tree import COLOURS, HeatPanel

MOST_NAMES = 12  # stretches of a track whose names are written beside them
SCALE = (
    (128, 128, 128, 0.2),
    (230, 159, 0, 1.0),
    (213, 94, 0, 1.0),
)  # of values 0, .5, 1: seen on white and on a dark page
STRETCHES = (COLOURS[2], COLOURS[4])  # colours of neighbours
DOTS_PER_INCH = 130


def binned(
    places: np.ndarray, scores: np.ndarray, names: list[str], most: int = 400
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Gather sites in columns of equal width, each with the largest score in it: single sites would be thinner than a pixel.

    Args:
        places: float64 (n_sites,), of sites on the x axis.
        scores: float64 (n_rows, n_sites).
        names: of the sites.
        most: number of columns; fewer sites have as many columns as there are sites.

    Returns:
        Edges, float64 (n_columns + 1,); values, float64 (n_rows, n_columns), NaN where no site is; texts of the columns, with
        the site of the largest score in the first row.
    """
    low, high = float(places.min()), float(places.max())
    margin = max(high - low, 1e-6) / (2 * max(len(places), 2))
    n = min(most, len(places))
    edges = np.linspace(low - margin, high + margin, n + 1)
    column = np.clip(np.searchsorted(edges, places, side="right") - 1, 0, n - 1)
    values = np.full((len(scores), n), np.nan)
    for row, own in zip(values, scores, strict=True):
        np.fmax.at(row, column, own)
    texts = [""] * n
    for j in np.argsort(scores[0], kind="stable"):  # the largest last
        texts[column[j]] = names[j]
    counts = np.bincount(column, minlength=n)
    return (
        edges,
        values,
        [f"{text}\n{k:,} sites here" if k > 1 else text for text, k in zip(texts, counts, strict=True)],
    )


def heat_as_plotly(panel: HeatPanel) -> dict[str, Any]:
    """Return the panel as plotly's data and layout, as `html.as_plotly` does for others."""
    names = panel.names()
    at = {name: len(names) - 1 - i for i, name in enumerate(names)}  # y grows upwards
    first = len(panel.rows) - 1
    shades = [[i / (len(SCALE) - 1), f"rgba{colour}"] for i, colour in enumerate(SCALE)]
    known = [[None if np.isnan(value) else round(float(value), 4) for value in row] for row in panel.values]
    data: list[dict[str, Any]] = [
        {
            "type": "heatmap",
            "x": [round(float(edge), 6) for edge in panel.edges],
            "y": [first - i for i in range(len(panel.rows))],
            "z": known,
            "zmin": 0,
            "zmax": 1,
            "colorscale": shades,
            "colorbar": {"title": {"text": plotly_text(panel.value_title), "side": "right"}, "thickness": 12},
            "text": [[f"{plotly_text(name)}<br>{plotly_text(text)}" for text in panel.hover] for name in panel.rows],
            "hovertemplate": "%{text}<br>%{z:.3g}<extra></extra>",
            "hoverongaps": False,
            "ygap": 2,
        }
    ]
    for name, stretches in panel.drawn_tracks().items():
        named = len(stretches) <= MOST_NAMES
        for i, stretch in enumerate(stretches):
            middle = (stretch.start + stretch.end) / 2
            line = {"color": STRETCHES[i % 2], "width": 8}
            data.append(
                {
                    "x": [stretch.start, middle, stretch.end],
                    "y": [at[name]] * 3,
                    "mode": "lines",
                    "line": line,
                    "hovertext": plotly_text(stretch.hover),
                    "hovertemplate": "%{hovertext}<extra></extra>",
                }
            )
            if named:
                label = {"x": [middle], "y": [at[name] + 0.3], "mode": "text", "text": [plotly_text(stretch.name)]}
                data.append(label | {"hoverinfo": "skip"})
    axis: dict[str, Any] = {"automargin": True, "zeroline": False, "showgrid": False}
    layout: dict[str, Any] = {
        "showlegend": False,
        "hovermode": "closest",
        "margin": {"l": 8, "r": 12, "t": 36, "b": 8},
        "xaxis": axis
        | {"title": {"text": plotly_text(panel.x_title)}, "range": [float(panel.edges[0]), float(panel.edges[-1])]},
        "yaxis": axis
        | {"title": {"text": ""}, "tickvals": list(at.values()), "ticktext": [plotly_text(name) for name in at]}
        | {"range": [-0.6, len(names) - 0.3]},
        "height": panel.height,
    }
    if panel.ticks:
        layout["xaxis"] |= {
            "tickvals": list(panel.ticks.values()),
            "ticktext": [plotly_text(tick) for tick in panel.ticks],
        }
    return {"data": data, "layout": layout}


def draw_heat_png(panel: HeatPanel, path: Path) -> None:
    """Draw the panel on white as a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure as Canvas

    names = panel.names()
    tracks = panel.drawn_tracks()
    canvas = Canvas(figsize=(9.5, 1.5 + 0.42 * len(names)), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(canvas)
    ax = canvas.subplots()
    bottom = len(panel.rows)
    shades = LinearSegmentedColormap.from_list("importance", [(r / 255, g / 255, b / 255, a) for r, g, b, a in SCALE])
    borders = np.arange(bottom + 1) - 0.5
    mesh = ax.pcolormesh(
        panel.edges, borders, np.ma.masked_invalid(panel.values[::-1]), cmap=shades, vmin=0, vmax=1, rasterized=True
    )
    ax.hlines(borders[1:-1], panel.edges[0], panel.edges[-1], color="white", linewidth=1.5)
    for k, (_, stretches) in enumerate(tracks.items()):
        y = len(names) - 1 - k
        for i, stretch in enumerate(stretches):
            ax.plot([stretch.start, stretch.end], [y, y], color=STRETCHES[i % 2], linewidth=6, solid_capstyle="butt")
            if len(stretches) <= MOST_NAMES:
                middle = (stretch.start + stretch.end) / 2
                ax.text(middle, y + 0.18, stretch.name.replace("$", r"\$"), ha="center", va="bottom", fontsize=7)
    ax.set_yticks([len(names) - 1 - i for i in range(len(names))], [name.replace("$", r"\$") for name in names])
    ax.set_ylim(-0.6, len(names) - 0.3)
    ax.set_xlim(panel.edges[0], panel.edges[-1])
    if panel.ticks:
        ax.set_xticks(list(panel.ticks.values()), list(panel.ticks), fontsize=8)
    ax.set_xlabel(panel.x_title)
    ax.spines[["top", "right"]].set_visible(False)
    canvas.colorbar(mesh, ax=ax, pad=0.01, aspect=25).set_label(panel.value_title)
    canvas.savefig(path, format="png", dpi=DOTS_PER_INCH)
