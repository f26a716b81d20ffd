"""How the pages look at a desk and on a phone: controls that fold away, icons on no title, titles that are whole, two runs that differ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.dashboards.conftest import Visit

pytestmark = pytest.mark.timeout(1800)  # the first test waits for the smoke experiment
Go = Callable[..., Visit]
PAGES = ("race", "studies", "wrong", "models", "compare")
WITH_CONTROLS = {"race": "Metric", "wrong": "Run", "compare": "First run"}
BOXES = """() => [...document.querySelectorAll('.js-plotly-plot')].filter(plot => plot._fullLayout).map(plot => {
    const box = one => { const b = one.getBoundingClientRect(); return {left: b.left, right: b.right, top: b.top, bottom: b.bottom}; };
    const of = names => [...plot.querySelectorAll(names)].filter(one => one.textContent).map(one => ({text: one.textContent, ...box(one)}));
    return {box: box(plot), titles: of('[class*=xtitle], [class*=ytitle], [class*=x2title], [class*=y2title], .gtitle, .annotation-text'),
            icons: box(plot.querySelector('.modebar')), inside: [...plot.querySelectorAll('.bglayer rect')].map(box)};
})"""


def drawn(seen: Visit) -> list[dict[str, Any]]:
    """Where the icons, the titles and the areas of the data of each figure are, once all are drawn."""
    seen.page.locator(".js-plotly-plot .main-svg").first.wait_for()
    seen.settle()
    return seen.page.evaluate(BOXES)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("page", PAGES)
def test_icons_are_on_no_title_and_titles_are_whole(visit: Go, dashboard: str, page: str, width: int) -> None:
    seen = visit(dashboard, width=width).open("" if page == "race" else page)
    plots = drawn(seen)
    assert plots
    for plot in plots:
        icons = plot["icons"]
        assert icons["bottom"] > icons["top"]
        for what in [*plot["titles"], *plot["inside"]]:
            apart = what["top"] >= icons["bottom"] - 1 or what["bottom"] <= icons["top"] + 1
            assert apart or what["left"] >= icons["right"] or what["right"] <= icons["left"], what
        for title in plot["titles"]:
            assert title["left"] >= plot["box"]["left"] - 1 and title["right"] <= plot["box"]["right"] + 1, title
            assert title["top"] >= plot["box"]["top"] - 1 and title["bottom"] <= plot["box"]["bottom"] + 1, title


@pytest.mark.parametrize("page", WITH_CONTROLS)
def test_controls_fold_away_on_a_phone_alone(visit: Go, dashboard: str, page: str) -> None:
    path = "" if page == "race" else page
    at_desk, on_phone = visit(dashboard).open(path), visit(dashboard, width=390).open(path)
    box = {
        seen: seen.page.get_by_role("combobox", name=WITH_CONTROLS[page], exact=True) for seen in (at_desk, on_phone)
    }
    fold = ".st-key-fold-page"
    assert box[at_desk].is_visible() and not at_desk.page.locator(fold).is_visible()
    assert not box[on_phone].is_visible() and on_phone.page.locator(fold).is_visible()
    top = on_phone.page.locator(".stHeading h3").first.bounding_box()
    assert top is not None
    assert top["y"] < 450, "the first result is on the first screen"
    on_phone.page.locator(fold).get_by_text("Show the choices").click()
    box[on_phone].wait_for(state="visible")
    on_phone.page.locator(fold).get_by_text("Show the choices").click()
    box[on_phone].wait_for(state="hidden")


def test_a_choice_is_kept_while_the_controls_are_folded(visit: Go, dashboard: str) -> None:
    seen = visit(dashboard, width=390).open()
    fold = seen.page.locator(".st-key-fold-page").get_by_text("Show the choices")
    fold.click()
    seen.settle().choose("Level of the tables", "90% missing")
    fold.click()
    seen.settle()
    assert seen.page.get_by_role("heading", name="League table at 90% missing").is_visible()


def test_compare_two_opens_on_two_imputers_and_never_shows_one_twice(visit: Go, dashboard: str) -> None:
    seen = visit(dashboard).open("compare")
    first, second = seen.chosen("First run"), seen.chosen("Second run")
    assert first.split("/")[0] != second.split("/")[0]
    assert seen.figure("sites").keys() >= {f"only {first} is right", f"only {second} is right"}
    assert first not in seen.options("Second run") and second in seen.options("First run")
    seen.choose("First run", second)
    assert seen.chosen("First run") == second != seen.chosen("Second run")
    asked = visit(dashboard).open("compare?first=dense%2Ffixed&second=dense%2Ffixed")
    assert asked.chosen("First run") == "dense/fixed" != asked.chosen("Second run")
    asked.figure("sites")
