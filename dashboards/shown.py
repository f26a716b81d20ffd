"""How the pages show things: names as text, choices that the address keeps, figures and tables with their downloads."""

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
from snpimpute.report.html import as_plotly, plotly_text
from snpimpute.report.text import capital
from snpimpute.report.tree import Panel
from snpimpute.tracking.reader import EmptyStoreError

GREY = "#808080"  # seen on white and on black
LEGEND = {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "xanchor": "left"}
FADED = 0.45  # opacity of what is laid under
MODE_BAR = {
    "displayModeBar": True,
    "displaylogo": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
}


def plain(text: object) -> str:
    """A text that Streamlit's Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|<>$~:^&@])", r"\\\1", str(text))


@contextmanager
def page(title: str, lead: str) -> Iterator[None]:
    """A page; what the user can mend is one line on it."""
    st.header(title, anchor=False)
    st.caption(plain(lead))
    try:
        yield
    except EmptyStoreError as error:
        st.info(f"{capital(plain(error))}: {WHAT_TO_RUN}.")
    except InputError as error:
        st.error(plain(error))


def sidebar() -> None:
    """What is looked at, and what every page shares."""
    with st.sidebar:
        st.segmented_control(
            "Pictures are saved as", ["PNG", "SVG"], default="PNG", required=True, key="pictures", bind="query-params"
        )
        st.caption("The camera above a figure saves it. The address of a page keeps what was chosen on it.")
        shown = without_password(places().store)
        st.caption(f"Results: {plain(places().runs)}  \nStore: {plain(shown)}  \nsnpimpute {plain(__version__)}")


def mask_kind(mechanism: str) -> str:
    """How calls are hidden, in short."""
    return {"independent": "independent", "nested": "nested", "file": "from a file"}.get(mechanism, mechanism)


# ---------------------------------------------------------------------- choices


def one_of(label: str, options: Sequence[Any], key: str, index: int = 0, **more: Any) -> Any:
    """A choice of one, kept in the address."""
    return st.selectbox(label, options, index=min(index, len(options) - 1), key=key, bind="query-params", **more)


def some_of(label: str, options: Sequence[Any], key: str, default: Sequence[Any], **more: Any) -> list[Any]:
    """A choice of several, kept in the address."""
    return st.multiselect(label, options, default=list(default), key=key, bind="query-params", **more)


# ---------------------------------------------------------------------- figures


def panel(key: str, drawn: Panel, *, how: str, table: pd.DataFrame, faded: Sequence[str] = ()) -> None:
    """A panel as the report draws it.

    Args:
        key: names the figure and its downloads.
        drawn: the panel; only its shown lines are drawn.
        how: how to read it, in a sentence.
        table: what it shows.
        faded: labels of the lines that are laid under the others.
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
    """A figure of plotly, how to read it, and its numbers as CSV."""
    common = {"legend": LEGEND, "margin": {"l": 8, "r": 12, "t": 36, "b": 8}, "height": 460}
    drawn = go.Figure(list(traces), {**common, **layout})
    picture = {"format": st.session_state.get("pictures", "PNG").lower(), "filename": key, "scale": 2}
    st.plotly_chart(drawn, key=f"figure-{key}", config={**MODE_BAR, "toImageButtonOptions": picture}, alt=alt)
    _below(key, how, table)


def table(key: str, shown: pd.DataFrame, *, how: str, whole: pd.DataFrame | None = None, **more: Any) -> None:
    """A table, how to read it, and as CSV (`whole`, if that has more than is shown)."""
    st.dataframe(shown, key=f"table-{key}", hide_index=True, placeholder="–", **more)
    _below(key, how, shown if whole is None else whole)


def _below(key: str, how: str, numbers: pd.DataFrame) -> None:
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
    return {"title": {"text": plotly_text(title)}, "automargin": True, "zeroline": False, **more}
