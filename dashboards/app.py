"""What Streamlit runs for every visitor: the menu, and the page that was asked for."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboards.shown import sidebar

PAGES = Path(__file__).parent / "views"  # a folder "pages" Streamlit would serve by itself, past this file

st.set_page_config(page_title="snpimpute", layout="wide")
page = st.navigation(
    [
        st.Page(PAGES / "race.py", title="Race", url_path="race", default=True),
        st.Page(PAGES / "studies.py", title="Studies", url_path="studies"),
        st.Page(PAGES / "wrong.py", title="Where it goes wrong", url_path="wrong"),
        st.Page(PAGES / "models.py", title="Models", url_path="models"),
        st.Page(PAGES / "compare.py", title="Compare two", url_path="compare"),
    ]
)
sidebar()
page.run()
