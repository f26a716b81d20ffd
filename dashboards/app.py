"""Script that Streamlit runs for every visitor: menu and chosen page."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboards.widgets import sidebar

PAGES = Path(__file__).parent / "views"  # not "pages": Streamlit would serve that folder itself, without this file

st.set_page_config(page_title="snpimpute", layout="wide")
page = st.navigation(
    [
        st.Page(PAGES / "race.py", title="Race", url_path="race", default=True),
        st.Page(PAGES / "studies.py", title="Studies", url_path="studies"),
        st.Page(PAGES / "wrong.py", title="Where it goes wrong", url_path="wrong"),
        st.Page(PAGES / "consequence.py", title="Consequence", url_path="consequence"),
        st.Page(PAGES / "traits.py", title="Traits", url_path="traits"),
        st.Page(PAGES / "models.py", title="Models", url_path="models"),
        st.Page(PAGES / "drift.py", title="Drift", url_path="drift"),
        st.Page(PAGES / "compare.py", title="Compare two", url_path="compare"),
    ]
)
sidebar()
page.run()
