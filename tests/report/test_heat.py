"""Heat maps: sites gathered in columns keep their largest score, and both drawings have every row and stretch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from snpimpute.report.figures import draw_png
from snpimpute.report.heat import binned
from snpimpute.report.html import page_as_html
from snpimpute.report.tree import Figure, HeatPanel, Page, Section, Stretch


def test_a_column_has_the_largest_score_of_its_sites():
    rng = np.random.default_rng(1)
    places, scores = np.sort(rng.uniform(1, 2, 300)), rng.random((2, 300))
    edges, values, texts = binned(places, scores, [f"s{j}" for j in range(300)], most=40)
    assert values.shape == (2, 40) and len(edges) == 41
    for k in range(40):
        inside = (places >= edges[k]) & (places < edges[k + 1])
        if inside.any():
            np.testing.assert_array_equal(values[:, k], scores[:, inside].max(axis=1))
            assert texts[k].split("\n")[0] == f"s{np.flatnonzero(inside)[scores[0, inside].argmax()]}"
        else:
            assert np.isnan(values[:, k]).all() and texts[k] == ""


def test_one_site_is_a_column():
    edges, values, texts = binned(np.array([3.0]), np.array([[0.5]]), ["s"])
    assert edges[0] < 3 < edges[1] and values.tolist() == [[0.5]] and texts == ["s"]


def test_page_and_picture_have_rows_and_stretches(tmp_path: Path):
    edges, values, texts = binned(np.array([1.0, 2.0, 4.0]), np.array([[1.0, 0.2, np.nan]]), ["a", "b<c", "d"])
    tracks = {"genes": [Stretch(1.0, 2.5, "G<1>", "G<1>\n1:1-2")], "blocks": []}
    heat = HeatPanel("Position", "Importance", edges, ["shap"], values, texts, tracks)
    assert heat.names() == ["genes", "shap"]
    (short,) = replace(heat, tracks={"genes": [Stretch(2.0, 2.0, "G", "G")]}).drawn_tracks()["genes"]
    assert short.start < 2.0 < short.end and short.end - short.start < 0.01, "a point is seen, and stays where it is"
    figure = Figure("h", "h.png", "a heat map", "how", [], heat)
    page = page_as_html(Page("t", "", [], [], {}, [Section("s", "S", [figure])], ""))
    assert 'id="h-heat"' in page and '"h-heat": {' in page
    draw_png(figure, tmp_path / "h.png")
    from matplotlib.image import imread

    picture = imread(tmp_path / "h.png")
    assert picture.shape[0] < picture.shape[1] and (picture[..., :3] < 0.9).any()
