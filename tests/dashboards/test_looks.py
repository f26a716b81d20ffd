"""How the pages look at a desk and on a phone: controls that fold away, icons on no title, titles that are whole, two runs that differ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.dashboards.conftest import Visit

pytestmark = pytest.mark.timeout(1800)  # the first test waits for the smoke experiment
Go = Callable[..., Visit]
PAGES = ("race", "studies", "wrong", "models", "compare")
FOLD = ".st-key-fold-page"  # what opens and folds the choices on a phone
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


def icons_and_titles_are_apart(plots: list[dict[str, Any]]) -> None:
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


def choice_of(seen: Visit, page: str) -> Any:
    """The first choice among the controls of a page."""
    return seen.page.get_by_role("combobox", name=WITH_CONTROLS[page], exact=True)


@pytest.mark.parametrize("page", PAGES)
def test_at_a_desk_icons_are_on_no_title_and_choices_are_open(visit: Go, dashboard: str, page: str) -> None:
    seen = visit(dashboard).open("" if page == "race" else page)
    icons_and_titles_are_apart(drawn(seen))
    if page in WITH_CONTROLS:
        assert choice_of(seen, page).is_visible() and not seen.page.locator(FOLD).is_visible()


@pytest.mark.parametrize("page", PAGES)
def test_on_a_phone_in_the_dark_nothing_is_cut_and_choices_fold_away(visit: Go, dashboard: str, page: str) -> None:
    """One visit for all that is asked of a page there, as each visit draws every figure."""
    seen = visit(dashboard, width=390, scheme="dark").open("" if page == "race" else page)
    icons_and_titles_are_apart(drawn(seen))
    text_is_light_and_axes_have_titles(seen)
    seen.keep()
    if page in WITH_CONTROLS:
        choice = choice_of(seen, page)
        assert not choice.is_visible() and seen.page.locator(FOLD).is_visible()
        top = seen.page.locator(".stHeading h3").first.bounding_box()
        assert top is not None
        assert top["y"] < 450, "the first result is on the first screen"
        seen.page.locator(FOLD).get_by_text("Show the choices").click()
        choice.wait_for(state="visible")
        seen.page.locator(FOLD).get_by_text("Show the choices").click()
        choice.wait_for(state="hidden")


def text_is_light_and_axes_have_titles(seen: Visit) -> None:
    seen.page.wait_for_function(
        "Array.from(document.querySelectorAll('.js-plotly-plot')).every(plot => plot._fullLayout)"
    )
    assert seen.page.get_by_test_id("stMain").evaluate("main => main.scrollWidth") <= 390
    colour = seen.page.get_by_test_id("stApp").evaluate("app => getComputedStyle(app).backgroundColor")
    assert max(int(part) for part in colour.removeprefix("rgb(").rstrip(")").split(", ")) < 60
    for plot in seen.page.locator(".js-plotly-plot").all():
        colour = plot.evaluate("plot => plot._fullLayout.font.color")
        assert sum(int(colour.lstrip("#")[i : i + 2], 16) for i in (0, 2, 4)) > 3 * 120, "text is light"
    titles = seen.page.evaluate(
        """Array.from(document.querySelectorAll('.js-plotly-plot')).flatMap(plot => Object.entries(plot._fullLayout)
            .filter(([k, a]) => /^[xy]axis\\d*$/.test(k) && a.showticklabels && !a.matches).map(([k, a]) => a.title.text))"""
    )
    assert len(titles) >= 2 and all(titles) and "Click to enter" not in "".join(titles)


def test_a_choice_is_kept_while_the_controls_are_folded(visit: Go, dashboard: str) -> None:
    seen = visit(dashboard, width=390).open()
    fold = seen.page.locator(FOLD).get_by_text("Show the choices")
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
