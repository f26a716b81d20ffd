"""What a reader sees first: what to use and how, the figure before the tables, marks that differ, titles that are whole."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from snpimpute import imputers, report
from snpimpute.report import ReportContext, write_report
from snpimpute.report.charts import hide_crowding_lines
from snpimpute.report.sections import styles_of
from snpimpute.report.tree import Line, Panel, Point, Style
from tests.report.test_report import BEST, QUALITY, TIED, Tables, about, browser, made_up  # noqa: F401

COMMAND = "snpimpute fit my.vcf.gz --imputer bert --params 'my runs/bert.toml'"
CHANGED = "hidden=64, learning_rate=0.002"
CONTIGS = {"1": 50, "2": 40, "<X>": 30}


def on_contigs() -> tuple[pd.DataFrame, ReportContext]:
    """One dataset of the made-up report, on three contigs, with a command for each row."""
    scores, context = made_up()
    scores = scores[scores.dataset == "bulls"]
    names = [name for name, n in CONTIGS.items() for _ in range(n)]
    about_bulls = replace(context.datasets[0], sites=context.datasets[0].sites.assign(contig=names))
    rows: list[dict[str, Any]] = []
    at = (
        (scores.level == 60)
        & (scores.mechanism == "independent")
        & (scores["repeat"] == "all")
        & (scores.split == "test")
    )
    whole = scores[at & (scores.decision == "argmax") & (scores.subset == "all")]
    for row in whole.to_dict("records"):
        for place, name in enumerate(CONTIGS):
            value = {"wrong": 41, "truth_0": 1}.get(row["metric"], row["value"] - 0.01 * place)
            rows.append(row | {"subset": f"contig:{name}", "value": value})
    for imputer in QUALITY:
        for kind, i in itertools.product(("site", "sample"), range(30)):
            name = about_bulls.sites["site"][i] if kind == "site" else f"S{i:02d}"
            like = {"imputer": imputer[0], "variant": imputer[1], "metric": "correlation", "value": 0.5 + i / 100}
            rows.append(whole.iloc[0].to_dict() | like | {"versus": "", "subset": f"{kind}:{name}"})
    table = context.imputers[context.imputers.dataset == "bulls"]
    mine = (table.imputer == "bert") & (table.variant == "random")
    table = table.assign(command=np.where(mine, COMMAND, ""), changed=np.where(mine, CHANGED, "none"))
    context = replace(context, datasets=[about_bulls], imputers=table, notes=[])
    return pd.concat([scores, pd.DataFrame(rows)], ignore_index=True), context


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(*on_contigs(), tmp_path_factory.mktemp("first look"))


@pytest.fixture(scope="module")
def tables(page: Path) -> Tables:
    return Tables(page.read_text(encoding="utf-8"))


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the figures of the Markdown from being drawn, which takes nine tenths of the time of a report."""
    monkeypatch.setattr(report, "draw_png", lambda figure, path: path.touch())


# ---------------------------------------------------------------------- on top


def test_one_sentence_on_top_says_what_to_use_with_a_command_to_copy(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    body = text[text.index("<body>") :]
    advice = re.search(r'<div class="advice">\s*<p>(.*?)</p>.*?<pre>(.*?)</pre>', body, re.DOTALL)
    assert advice is not None
    sentence, command = (found.replace("&#39;", "'") for found in advice.groups())
    assert sentence == (
        f"Use bert/random, the highest macro-F1 over all sites at 60% missing (0.921), with these parameters: {CHANGED}:"
    )
    assert command == COMMAND
    before = body[: advice.start()]
    assert "<h2" not in before and "<table" not in before and before.count("<h1>") == 1
    markdown = page.with_name("report.md").read_text(encoding="utf-8")
    assert f"```bash\n{COMMAND}\n```" in markdown and sentence in markdown


@pytest.mark.parametrize(("changed", "words"), [("none", ", with its default parameters."), ("", ".")])
def test_the_sentence_without_parameters_or_command(
    changed: str, words: str, tmp_path: Path, no_pictures: None
) -> None:
    scores, context = on_contigs()
    plain = replace(context, imputers=context.imputers.assign(changed=changed, command=""))
    text = write_report(scores, plain, tmp_path).read_text(encoding="utf-8")
    assert f"all sites at 60% missing (0.921){words}</p>" in text and "<pre>" not in text[text.index("<body>") :]


def test_each_of_several_datasets_has_its_sentence(tmp_path: Path, no_pictures: None) -> None:
    text = write_report(*made_up(), tmp_path).read_text(encoding="utf-8")
    assert text.count("<p>Use bert/random, the highest macro-F1") == 2


def test_the_robustness_figure_is_before_the_tables(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    body = text[text.index("<main>") : text.index("</main>")]
    assert body.index('id="d1-robustness-0-0"') < body.index('<figure class="table">') < body.index('id="d1-all"')


# ---------------------------------------------------------------------- sites, samples, contigs


def test_concordance_and_accuracy_of_sites_and_samples(tables: Tables) -> None:
    by_site = tables.table("Concordance and accuracy of each site, 60% missing")["bert/random"]
    assert by_site["Accuracy: mean"][0] == "0.645" and by_site["Accuracy: number"][0] == "30"
    assert by_site["Concordance: number"][0] == "120"
    by_sample = tables.table("Concordance and accuracy of each sample (animal), 60% missing")
    assert set(by_sample) == {"/".join(imputer) for imputer in QUALITY}
    expected = [0.921 - 0.2 / (i + 1) for i in range(30)]
    mine = by_sample["bert/random"]
    assert mine["Concordance: median"][0] == f"{np.median(expected):.3f}"
    assert mine["Concordance: 5th percentile"][0] == f"{np.percentile(expected, 5):.3f}"


def test_contigs_have_a_figure_and_tables_in_the_order_of_the_file(page: Path, tables: Tables) -> None:
    rows = tables.table("Macro-F1 on each contig, 60% missing")
    assert list(rows) == [*CONTIGS, "All"]
    assert rows["1"]["bert/random"][0] == "0.921 ★" and rows["<X>"]["bert/random"] == ("0.901 ★", "0.911 to 0.931")
    assert rows["2"]["beagle/tuned"][0] == "0.902 ≈" and rows["All"]["beagle/default"][0] == "0.870"
    wrong = tables.table("Wrong calls on each contig, 60% missing")["All"]
    assert wrong["bert/random"][0] == "123"
    assert (
        sum(int(tables.table("Wrong calls on each contig, 60% missing")[c]["bert/random"][0]) for c in CONTIGS) == 123
    )
    assert (page.parent / "contigs-bulls-f1-macro.png").read_bytes().startswith(b"\x89PNG")
    plots = plots_of(page)
    ticks = plots["d1-contigs-f1_macro-0"]["layout"]["xaxis"]["ticktext"]
    assert ticks == ["1", "2", "&lt;X&gt;"]
    along = plots["d1-chromosome-0"]["layout"]["xaxis"]
    assert (along["tickvals"], along["ticktext"]) == ([1, 51, 91], ticks)
    assert along["title"]["text"] == "Sites in file order, named where a contig begins"
    assert "<dt>Contigs</dt><dd>3</dd>" in page.read_text(encoding="utf-8")
    assert "500 sites on 3 contigs." in page.with_name("report.md").read_text(encoding="utf-8")


def test_one_contig_has_no_such_section(tmp_path: Path, no_pictures: None) -> None:
    scores, context = on_contigs()
    one = scores[~scores.subset.isin(["contig:2", "contig:<X>"])]
    assert 'id="d1-contigs"' not in write_report(one, context, tmp_path).read_text(encoding="utf-8")


def plots_of(page: Path) -> dict[str, Any]:
    text = page.read_text(encoding="utf-8")
    return json.loads(text.split('<script type="application/json" id="plots">')[1].split("</script>")[0])


# ---------------------------------------------------------------------- marks


def test_no_two_rows_have_one_colour_and_mark() -> None:
    """All imputers that there are, with all the rows that each declares and one more."""
    rows = [(name, variant) for name in imputers.names() for variant in (*imputers.load(name).variants, "mine")]
    listed = pd.DataFrame(rows, columns=["imputer", "variant"])
    _, context = made_up()
    styles = styles_of(listed.iloc[:0], replace(context, imputers=listed))
    assert len(imputers.names()) >= 13 and len(styles) == len(rows)
    assert len(set(styles.values())) == len(rows)
    for first, second in itertools.combinations(imputers.names()[:7], 2):
        assert styles[f"{first}/mine"].colour != styles[f"{second}/mine"].colour
    kinds = (Style.PLOTLY_SYMBOL, Style.PLOTLY_DASH, Style.PNG_SYMBOL, Style.PNG_DASH, Style.SVG_SYMBOL, Style.SVG_DASH)
    assert {len(set(kind)) for kind in kinds} == {len(Style.PLOTLY_DASH)}


def test_the_best_variant_of_each_imputer_is_shown_though_two_imputers_share_a_colour() -> None:
    labels = [f"imputer{i}/{variant}" for i in range(8) for variant in ("a", "b")]
    listed = pd.DataFrame([label.split("/") for label in labels], columns=["imputer", "variant"])
    styles = styles_of(listed, replace(made_up()[1], imputers=listed))
    assert styles["imputer0/a"].colour == styles["imputer7/a"].colour
    point = Point(60.0, 0.9, np.nan, np.nan, "")
    (panel,), _ = hide_crowding_lines([Panel("", "", "", [Line(label, styles[label], [point]) for label in labels])])
    assert [line.label for line in panel.lines if line.shown] == [label for label in labels if label.endswith("/a")]


def test_points_of_calibration_say_their_calls(page: Path, tables: Tables) -> None:
    scores, context = on_contigs()
    accuracy = scores[(scores.metric == "accuracy") & (scores.imputer == "bert")]
    few = scores.assign(n=scores.n.where(~scores.index.isin(accuracy.index[:1]), 2))
    fewest = accuracy.subset.iloc[0].removeprefix("confidence:")
    drawn = write_report(few, context, page.parent / "few")
    trace = next(t for t in plots_of(drawn)["d1-calibration-0"]["data"] if t.get("meta") == "bert/random")
    sizes, texts = trace["marker"]["size"], trace["text"]
    small = int(np.argmin(sizes))
    assert texts[small].endswith("2 calls") and sizes[small] < 8 and max(sizes) == 20
    cells = Tables(drawn.read_text(encoding="utf-8")).table("Calls by stated confidence, 60% missing")["bert/random"]
    assert cells[fewest.replace("-", "–")][0] == "2"
    assert (drawn.parent / "calibration-bulls.png").read_bytes().startswith(b"\x89PNG")


# ---------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module", params=[390, 1280])
def opened(browser: Any, page: Path, request: pytest.FixtureRequest) -> Iterator[Any]:  # noqa: F811
    """The page at a phone's and at a desk's width, all figures drawn."""
    tab = browser.new_page(viewport={"width": request.param, "height": 900})
    tab.goto(page.as_uri())
    for plot in tab.locator(".plot:visible").all():
        plot.scroll_into_view_if_needed()
        plot.locator(".xtitle").first.wait_for()
    yield tab
    tab.close()


BOXES = """() => [...document.querySelectorAll('.plot')].filter(plot => plot.data).map(plot => {
    const box = one => { const b = one.getBoundingClientRect(); return {left: b.left, right: b.right, top: b.top, bottom: b.bottom}; };
    const of = names => [...plot.querySelectorAll(names)].filter(one => one.textContent).map(one => ({text: one.textContent, ...box(one)}));
    return {id: plot.id, box: box(plot), axes: of('.xtitle, .ytitle, .y2title'), title: of('.gtitle'), icons: box(plot.querySelector('.modebar')),
            inside: [...plot.querySelectorAll('.bglayer rect, .plot .scatterlayer')].map(box)};
})"""


def test_axis_titles_are_whole(opened: Any) -> None:
    plots = opened.evaluate(BOXES)
    assert len(plots) >= 10
    for plot in plots:
        assert len(plot["axes"]) >= 2, plot["id"]
        for title in [*plot["axes"], *plot["title"]]:
            where = f"{plot['id']}: {title['text']}"
            assert title["left"] >= plot["box"]["left"] - 1 and title["right"] <= plot["box"]["right"] + 1, where
            assert title["top"] >= plot["box"]["top"] - 1 and title["bottom"] <= plot["box"]["bottom"] + 1, where
    assert opened.evaluate("document.documentElement.scrollWidth") <= opened.viewport_size["width"]


def test_icons_are_on_no_title_and_on_no_point(opened: Any) -> None:
    for plot in opened.evaluate(BOXES):
        icons = plot["icons"]
        assert icons["bottom"] > icons["top"]
        for what in [*plot["title"], *plot["axes"], *plot["inside"]]:
            apart = what["top"] >= icons["bottom"] or what["bottom"] <= icons["top"]
            assert apart or what["left"] >= icons["right"] or what["right"] <= icons["left"], (plot["id"], what)


def test_the_command_is_copied(opened: Any) -> None:
    from playwright.sync_api import expect

    button = opened.locator(".advice button")
    button.click()
    expect(button).not_to_have_text("Copy")  # wait_for_function would evaluate text, which the page's policy forbids
    assert opened.evaluate("getSelection().toString()") == COMMAND


@pytest.mark.panels  # a quarter of a minute
def test_names_of_many_contigs_do_not_stand_on_each_other(browser: Any, tmp_path: Path) -> None:  # noqa: F811
    scores, context = on_contigs()
    names = [f"{i // 4 + 1}" for i in range(120)]
    like = scores[scores.subset == "contig:1"]
    many = [like.assign(subset=f"contig:{name}") for name in dict.fromkeys(names)]
    about_bulls = replace(context.datasets[0], sites=context.datasets[0].sites.assign(contig=names))
    genome = pd.concat([scores[~scores.subset.str.startswith("contig:")], *many])
    page = write_report(genome, replace(context, datasets=[about_bulls]), tmp_path)
    shown = {}
    for width in (390, 1280):
        tab = browser.new_page(viewport={"width": width, "height": 900})
        tab.goto(page.as_uri())
        for key in ("d1-contigs-f1_macro-0", "d1-chromosome-0"):
            plot = tab.locator(f"#{key}")
            plot.scroll_into_view_if_needed()
            plot.locator(".xtitle").first.wait_for()
            boxes = plot.evaluate(
                """plot => [...plot.querySelectorAll('.xtick text')].filter(one => one.textContent)
                    .map(one => { const b = one.getBoundingClientRect(); return [b.left, b.right]; })"""
            )
            assert all(right <= left + 1 for (_, right), (left, _) in itertools.pairwise(sorted(boxes))), (key, width)
            shown[key, width] = len(boxes)
        tab.close()
    assert shown["d1-contigs-f1_macro-0", 1280] == 30 > shown["d1-contigs-f1_macro-0", 390] >= 10
