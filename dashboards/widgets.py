"""Shared elements of the pages: text, controls with values kept in the address, figures and tables with downloads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dashboards.places import places
from dashboards.reading import WHAT_TO_RUN
from snpimpute import __version__
from snpimpute.base.errors import InputError, without_password
from snpimpute.report.html import as_plotly
from snpimpute.report.text import capital, plotly_text
from snpimpute.report.tree import Panel
from snpimpute.tracking.reader import EmptyStoreError

GREY = "#808080"  # visible on white and on black
LEGEND = {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "xanchor": "left"}
FADED = 0.45  # opacity of lines in the background
MODE_BAR = {
    "displayModeBar": True,
    "displaylogo": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
}


def plain(text: object) -> str:
    """Return a text with Streamlit's Markdown markup escaped."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|<>$~:^&@])", r"\\\1", str(text))


@contextmanager
def page(title: str, lead: str) -> Iterator[None]:
    """Draw a page's title, and run its body; an error that the user can correct is one line on the page."""
    st.header(title, anchor=False)
    st.caption(plain(lead))
    try:
        yield
    except EmptyStoreError as error:
        st.info(f"{capital(plain(error))}: {WHAT_TO_RUN}.")
    except InputError as error:
        st.error(plain(error))


def sidebar() -> None:
    """Draw the sidebar: the format of pictures, and the places of the results."""
    with st.sidebar:
        st.segmented_control(
            "Pictures are saved as", ["PNG", "SVG"], default="PNG", required=True, key="pictures", bind="query-params"
        )
        st.caption("The camera above a figure saves it. The address of a page contains the choices made on it.")
        uri = without_password(places().store)
        st.caption(f"Results: {plain(places().runs)}  \nStore: {plain(uri)}  \nsnpimpute {plain(__version__)}")


def mask_kind(mechanism: str) -> str:
    """Return the short name of a mechanism of hiding calls."""
    return {"independent": "independent", "nested": "nested", "file": "from a file"}.get(mechanism, mechanism)


# ---------------------------------------------------------------------- controls

# On a narrow screen choices are folded away until they are asked for; on a wide one they are always seen.
FOLD = """<style>
@media (min-width: 641px) {{ .st-key-fold-{key} {{ display: none; }} }}
@media (max-width: 640px) {{ body:not(:has(.st-key-fold-{key} input:checked)) .st-key-controls-{key} {{ display: none; }} }}
</style>"""


@contextmanager
def controls(key: str = "page") -> Iterator[None]:
    """Draw the controls of a page, or of the part of it that `key` names; on a phone they fold away."""
    st.html(FOLD.format(key=key))
    with st.container(key=f"fold-{key}"):
        st.toggle("Show the choices", key=f"choices-{key}")
    with st.container(key=f"controls-{key}"):
        yield


def select_one(label: str, options: Sequence[Any], key: str, index: int = 0, **more: Any) -> Any:
    """Draw a control to choose one option, kept in the address, and return the choice."""
    return st.selectbox(label, options, index=min(index, len(options) - 1), key=key, bind="query-params", **more)


def select_several(label: str, options: Sequence[Any], key: str, default: Sequence[Any], **more: Any) -> list[Any]:
    """Draw a control to choose several options, kept in the address, and return the choices."""
    return st.multiselect(label, options, default=list(default), key=key, bind="query-params", **more)


# ---------------------------------------------------------------------- figures


def panel(key: str, drawn: Panel, *, how: str, table: pd.DataFrame, faded: Sequence[str] = ()) -> None:
    """Draw a panel in the style of the report.

    Args:
        key: name of the figure and its downloads.
        drawn: the panel; only lines with `shown` are drawn.
        how: sentence that explains the figure.
        table: numbers that the figure shows.
        faded: labels of the lines in the background.
    """
    plot = as_plotly(drawn)
    traces = [trace for trace in plot["data"] if trace.get("visible", True)]
    for trace in traces:
        label = trace.pop("meta", None)
        if label is None:
            trace["showlegend"] = False
            continue
        trace |= {"name": plotly_text(label), "legendgroup": label, "showlegend": trace.get("fill") is None}
        trace["opacity"] = FADED if label in faded else 1.0
    layout = plot["layout"] | {"showlegend": True, "height": plot["layout"]["height"] + 80}
    if drawn.log_x:
        layout["xaxis"]["tickformat"] = ",~r"  # 0.0001, not 100µ
    figure(key, traces, layout, how=how, table=table, alt=f"{drawn.y_title} against {drawn.x_title}")


def figure(key: str, traces: Sequence[Any], layout: dict[str, Any], *, how: str, table: pd.DataFrame, alt: str) -> None:
    """Draw a figure of plotly with an explanation, and its numbers as CSV to download."""
    common = {"legend": LEGEND, "margin": {"l": 8, "r": 12, "t": 36, "b": 8}, "height": 460}
    drawn = go.Figure(list(traces), {**common, **layout})
    picture = {"format": st.session_state.get("pictures", "PNG").lower(), "filename": key, "scale": 2}
    st.plotly_chart(drawn, key=f"figure-{key}", config={**MODE_BAR, "toImageButtonOptions": picture}, alt=alt)
    _caption_and_download(key, how, table)


def table(key: str, shown: pd.DataFrame, *, how: str, whole: pd.DataFrame | None = None, **more: Any) -> None:
    """Draw a table with an explanation, and the table (or `whole`, which has more rows) as CSV to download."""
    st.dataframe(shown, key=f"table-{key}", hide_index=True, placeholder="–", **more)
    _caption_and_download(key, how, shown if whole is None else whole)


def _caption_and_download(key: str, how: str, numbers: pd.DataFrame) -> None:
    words, button = st.columns([5, 1], vertical_alignment="top")
    words.caption(plain(how))
    button.download_button(
        "CSV",
        numbers.to_csv(index=False).encode(),
        file_name=f"{key}.csv",
        mime="text/csv",
        key=f"csv-{key}",
        on_click="ignore",
        width="stretch",
    )


def axis(title: str, **more: Any) -> dict[str, Any]:
    """Return plotly's settings of an axis with a title."""
    return {"title": {"text": plotly_text(title)}, "automargin": True, "zeroline": False, **more}
