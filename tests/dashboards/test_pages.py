"""Every page in a real browser, over the smoke experiment's store: its controls, the data of its figures, its downloads."""

from __future__ import annotations

import getpass
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import psutil
import pytest

from snpimpute.base.errors import InputError
from snpimpute.dataset.prepared import PreparedDataset, load_dataset
from snpimpute.experiment.rows import plan
from snpimpute.experiment.score import read_scores
from snpimpute.experiment.settings import read
from snpimpute.scoring.calls import (
    by_sample,
    by_site,
    calibration_of,
    confusion_of,
    cutout,
    hidden_calls,
    right_and_wrong,
)
from snpimpute.scoring.posteriors import load_posteriors
from snpimpute.tracking.connect import tracking_uri
from snpimpute.tracking.reader import Store
from snpimpute.tracking.writer import Tracker
from snpimpute.tuning.reader import importances, read_study
from tests.dashboards.conftest import SMOKE, STUDY, Visit
from tests.tuning import objectives as objectives
from tests.tuning.test_study import make_settings, run

pytestmark = pytest.mark.timeout(1800)  # the first test waits for the smoke experiment
Go = Callable[..., Visit]
Serve = Callable[..., str]
PAGES = ("race", "studies", "wrong", "models", "compare")
LEVELS = [20.0, 60.0, 90.0]
LABELS = {row.label for row in plan(read(SMOKE))}


@pytest.fixture(scope="module")
def table(runs: Path) -> pd.DataFrame:
    """The tidy table of scores, pooled over masks."""
    (path,) = (runs / "scores").glob("*.csv")
    scores = read_scores(path)
    return scores[scores["repeat"] == "all"]


@pytest.fixture(scope="module")
def prepared(runs: Path) -> PreparedDataset:
    (folder,) = (runs / "datasets").iterdir()
    return load_dataset(folder)


def curve(
    table: pd.DataFrame, label: str, metric: str, subset: str = "all", mechanism: str = "independent"
) -> list[float]:
    rows = table[(table["imputer"] + "/" + table["variant"] == label) & (table["versus"] == "")]
    rows = rows[(rows["metric"] == metric) & (rows["subset"] == subset) & (rows["mechanism"] == mechanism)]
    return rows.sort_values("level")["value"].tolist()


def calls_of(runs: Path, prepared: PreparedDataset, label: str, key: str) -> Any:
    (path,) = (runs / "models").glob(f"calves-{label.replace('/', '-')}-*/posteriors.npz")
    return hidden_calls(prepared, load_posteriors(path, [key]))


def close(found: list[Any], expected: Any) -> None:
    """Equal where there is a number, None where there is none."""
    assert len(found) == len(expected)
    assert np.allclose([np.nan if v is None else v for v in found], np.asarray(expected, dtype=float), equal_nan=True)


# ---------------------------------------------------------------------- race


def test_race_draws_the_scores_of_the_table(visit: Go, dashboard: str, table: pd.DataFrame) -> None:
    seen = visit(dashboard).open()
    line = seen.figure("robustness")["beagle/default"]
    assert line["x"] == LEVELS
    close(line["y"], curve(table, "beagle/default", "f1_macro"))
    assert seen.axes("robustness") == ["Missing genotype calls (%)", "Macro-F1 (0 to 1)"]
    assert seen.axes("cost") == ["Seconds to impute one mask, logarithmic", "Macro-F1 (0 to 1)"]
    assert seen.axes("cost-fit") == ["Seconds to fit, logarithmic", "Macro-F1 (0 to 1)"]
    league = seen.csv("league").set_index("Imputer")
    assert league["Score"].is_monotonic_decreasing and set(league.index) == LABELS
    at_60 = table[(table["level"] == 60) & (table["mechanism"] == "independent") & (table["subset"] == "all")]
    at_60 = at_60[(at_60["metric"] == "f1_macro") & (at_60["versus"] == league.index[0])]
    for row in at_60.itertuples():
        label = f"{row.imputer}/{row.variant}"
        assert league.loc[label, ["To the best", "From", "To"]].tolist() == pytest.approx(
            [row.value, row.low, row.high]
        )
        assert league.loc[label, "Verdict"] == ("worse" if row.high < 0 else "not told apart from the best")
    numbers = seen.csv("robustness")
    assert set(numbers.columns) == {"imputer", "missing_percent", "value", "low", "high", "metric", "calls", "masks"}
    seen.keep()


def test_race_every_control_and_a_link_that_keeps_them(visit: Go, dashboard: str, table: pd.DataFrame) -> None:
    seen = visit(dashboard).open()
    seen.choose("Metric", "Dosage r² within sites").choose("Calls", "Rare sites (MAF < 0.05), as published").choose(
        "Masks", "nested"
    )
    seen.choose("Level of the tables", "90% missing").choose("By", "Group").choose("Cost", "Peak memory (MB)")
    chosen = [name for name, line in seen.figure("robustness").items() if line["mode"] == "lines+markers"]
    seen.drop_last("Imputers")
    seen.page.get_by_role("button", name="SVG").or_(seen.page.get_by_role("radio", name="SVG")).first.click()
    seen.settle()
    again = visit(dashboard)
    again.page.goto(seen.page.url)
    again.page.get_by_test_id("stMain").locator("h2").first.wait_for()
    for page in (seen, again.settle()):
        lines = page.figure("robustness")
        assert [name for name, line in lines.items() if line["mode"] == "lines+markers"] == chosen[:-1]
        close(lines[chosen[0]]["y"], curve(table, chosen[0], "site_dosage_r2", "rare", "nested"))
        assert page.chosen("Level of the tables") == "90% missing"
        assert page.page.get_by_role("heading", name="League table at 90% missing").count() == 1
        assert page.axes("cost")[0] == "Peak memory (MB), logarithmic"
        groups = table.loc[table["subset"].str.startswith("group:"), "subset"].str.removeprefix("group:")
        shown = page.csv("bins")
        assert set() < set(shown["group"]) <= set(groups) and set(shown["calls"]) == {"rare"}  # rare sites vary in some
        at_90 = table[(table["metric"] == "site_dosage_r2") & (table["mechanism"] == "nested") & (table["level"] == 90)]
        at_90 = at_90[(at_90["versus"] == "") & (at_90["imputer"] + "/" + at_90["variant"] == chosen[0])]
        values = at_90.set_index("subset")["value"]
        mine = shown[shown["imputer"] == chosen[0]]
        close(mine["value"].tolist(), [values[f"rare/group:{group}"] for group in mine["group"]])
    assert again.picture("robustness").lstrip().startswith(b"<svg")
    assert visit(dashboard).open().picture("robustness").startswith(b"\x89PNG")


def test_calls_that_have_no_parts_are_said_to_have_none(visit: Go, dashboard: str) -> None:
    seen = visit(dashboard).open().choose("Calls", "Rare sites, minor-allele coding")
    names = seen.csv("bins")["maf"]
    assert len(names) and all(float(name.split("-")[0]) < 0.05 for name in names)
    group = next(option for option in seen.options("Calls") if option.startswith("Group "))
    assert any("not scored by MAF" in said for said in seen.choose("Calls", group).said())


@pytest.mark.panels  # a server of its own, and the figures drawn many times
def test_race_lays_results_of_other_dates_under_each_other(
    serve: Serve, visit: Go, copied: Path, table: pd.DataFrame
) -> None:
    (scores,) = (copied / "scores").glob("*.csv")
    older = read_scores(scores)
    older["value"] -= 0.1
    other = scores.with_name("calves-0123456789ab.csv")
    older[older["imputer"] != "bert"].to_csv(other, index=False)
    beside = json.loads(scores.with_suffix(".json").read_text())
    beside["models"] = [model for model in beside["models"] if "-bert-" not in model]
    other.with_suffix(".json").write_text(json.dumps(beside))
    url = serve(copied)
    seen = visit(url).open()
    box = seen.page.get_by_test_id("stMultiSelect").filter(has_text="Results, by date")
    assert f"{len(LABELS)} rows" in box.inner_text(), "the fullest table comes first"
    seen.add("Results, by date and revision", re.compile(f"{len(LABELS) - 1} rows"))
    lines = seen.figure("robustness")
    (under,) = [name for name in lines if name.startswith("beagle/default ·")]
    close(lines[under]["y"], [value - 0.1 for value in curve(table, "beagle/default", "f1_macro")])
    close(lines["beagle/default"]["y"], curve(table, "beagle/default", "f1_macro"))
    assert lines[under]["line"]["color"] == lines["beagle/default"]["line"]["color"]
    seen.keep()


# ---------------------------------------------------------------------- studies


def test_studies_draw_the_trials(visit: Go, dashboard: str, runs: Path) -> None:
    (path,) = (runs / "studies").glob("*-long-*.journal")
    study = read_study(str(path), path.stem)
    seen = visit(dashboard).open("studies")
    label = next(option for option in seen.options("Study") if option.startswith("dense/long"))
    seen.choose("Study", label)
    complete = [t for t in study.trials if t.state == "complete"]
    history = seen.figure("history")
    assert history["complete"]["x"] == [t.number for t in complete]
    close(history["complete"]["y"], [t.score for t in complete])
    pruned = [t for t in study.trials if t.state == "pruned"]
    assert pruned and history["pruned"]["x"] == [t.number for t in pruned]
    close(history["best so far"]["y"], np.maximum.accumulate([t.score for t in complete]))
    curves = seen.figure("learning")
    assert len(curves) == len(study.trials)
    close(curves[f"trial {pruned[0].number}: pruned"]["y"], list(pruned[0].intermediate.values()))
    shares = importances(str(path), path.stem)
    close(seen.figure("importance")["0"]["x"], list(shares.values())[::-1])
    slices = seen.choose("Parameter", "depth").figure("slice")["0"]
    assert slices["x"] == [t.suggested["depth"] for t in complete]
    assert seen.page.locator(".st-key-figure-parallel").count() == 0
    seen.page.get_by_text("Draw them").click()
    coordinates = seen.settle().figure("parallel")["0"]["dimensions"]
    assert [d["label"] for d in coordinates] == [*complete[0].suggested, "score"]
    close(coordinates[-1]["values"], [t.score for t in complete])
    seen.choose("Against", "Time spent")
    close(seen.figure("history")["complete"]["x"], [t.spent / 60 for t in sorted(complete, key=lambda t: t.number)])
    assert seen.axes("history")[0] == "Time spent (minutes)"
    assert len(seen.csv("history")) == len(study.trials)
    assert seen.csv("studies")["Trials"].tolist().count(2) == 2, "the studies of the experiment itself"
    seen.keep()


@pytest.mark.panels  # a server of its own, and the figures drawn many times
def test_a_study_that_runs_is_seen_to_go_on(serve: Serve, visit: Go, copied: Path) -> None:
    name = STUDY.format(digest="f" * 12)
    storage = str(copied / "studies" / f"{name}.journal")
    settings = make_settings(copied, storage=storage, n_trials=4000)
    enough = copied / "enough"
    evaluate = partial(objectives.slow, seconds=0.5, stop=str(enough))

    def until_enough() -> None:
        with pytest.raises(InputError, match="enough was seen"):
            run(evaluate, settings, name)

    running = threading.Thread(target=until_enough, daemon=True)
    url = serve(copied)
    running.start()
    try:
        while not Path(storage).exists() or read_study(storage, name).counted < 3:
            running.join(0.5)
        seen = visit(url).open("studies")
        number = seen.page.get_by_test_id("stMetricValue").first
        before = int(number.inner_text().split()[0])
        assert number.inner_text().endswith("of 4000")
        assert "running" in seen.csv("studies")["State"].tolist()
        assert seen.page.get_by_test_id("stMetricValue").nth(3).inner_text() not in ("–", "")
        seen.page.wait_for_function(
            f"parseInt(document.querySelector('[data-testid=stMetricValue]').innerText) > {before + 2}"
        )
        assert len(seen.figure("history")["complete"]["x"]) >= before
    finally:
        enough.touch()
        running.join()
    assert read_study(storage, name).counted <= 4000


# ---------------------------------------------------------------------- where it goes wrong


def test_wrong_draws_what_the_package_computes(
    visit: Go, dashboard: str, runs: Path, prepared: PreparedDataset
) -> None:
    seen = visit(dashboard).open("wrong")
    seen.choose("Run", "beagle/default").choose("Masks", "nested").choose("Level", "20% missing")
    (mask,) = calls_of(runs, prepared, "beagle/default", "test-nested-20-0")
    sites = by_site(prepared, [mask])
    lines = seen.figure("chromosome")
    close(lines["right calls"]["y"], sites["right"])
    close(lines["MAF"]["y"], sites["maf_test"])
    close(lines["r² to the nearest observed site"]["y"], sites["r2"])
    close(lines["hidden"]["x"], sites.loc[sites["masks"] > 0, "pos"] / 1e6)
    assert seen.csv("chromosome")["nearest"].fillna("").tolist() == sites["nearest"].tolist()
    assert len(seen.axes("chromosome")) == 5
    counts = confusion_of([mask])
    close(np.ravel(seen.figure("confusion")["0"]["z"]).tolist(), (counts / counts.sum(axis=1, keepdims=True)).ravel())
    assert seen.csv("confusion")["calls"].tolist() == counts.ravel().tolist()
    bins = calibration_of([mask])
    close(seen.figure("calibration")["by bin of confidence"]["y"], bins["right"])
    samples = by_sample(prepared, [mask])
    assert seen.csv("samples")["sample"].tolist() == samples["sample"].tolist()
    seen.choose("Sites in the window", "20").choose("Samples", "in file order").choose("Number of samples", "15")
    slider = seen.page.get_by_role("slider")
    slider.focus()
    for _ in range(3):
        slider.press("ArrowRight")
    seen.page.wait_for_url(lambda url: "start=3" in url)  # the slider waits for the last key before it says so
    seen.settle()
    here = cutout(prepared, mask, range(15), range(3, 23))
    calls = seen.figure("calls")
    for what, values in (("truth", here.truth), ("call", here.calls), ("confidence", here.confidence)):
        close(np.ravel(np.array(calls[what]["z"], dtype=float)).tolist(), values.ravel())
    again = visit(dashboard)
    again.page.goto(seen.page.url)
    close(np.ravel(np.array(again.figure("calls")["truth"]["z"], dtype=float)).tolist(), here.truth.ravel())
    again.settle().choose("Panels", "one below the other")
    assert sorted(again.axes("calls")) == ["Site (number)"] * 3 + ["Test sample"] * 3
    seen.keep()


def test_wrong_says_where_there_is_no_confidence(visit: Go, dashboard: str) -> None:
    seen = visit(dashboard).open("wrong")
    assert set(seen.options("Run")) == LABELS
    for label in ("dense/fixed", "bert/random"):
        seen.choose("Run", label)
        assert seen.page.get_by_text(f"{label}: each point is a site").count() == 1


# ---------------------------------------------------------------------- models, compare


def test_models_show_aliases_and_the_moves_that_were_noted(
    visit: Go, dashboard: str, runs: Path, prepared: PreparedDataset
) -> None:
    (model,) = Store(tracking_uri(None, runs)).registered()
    seen = visit(dashboard).open("models")
    found = seen.csv("aliases").set_index("Alias")
    assert found["Version"].to_dict() == {alias: v.number for v in model.versions for alias in v.aliases}
    traces = seen.figure("versions")
    ring = traces.pop("champion now")
    assert ring["x"] == [found.loc["champion", "Version"]]
    drawn = {x: y for trace in traces.values() for x, y in zip(trace["x"], trace["y"], strict=True)}
    assert drawn == pytest.approx({v.number: v.score for v in model.versions})
    champions = [move for move in model.moves if move.alias == "champion"][::-1]
    assert champions[-1].why == "the first"
    shown = seen.csv("promotions")
    assert shown["To"].str.split(":").str[0].tolist() == [move.to for move in champions]
    assert shown["Why"].tolist() == [move.why for move in champions]
    assert shown["Who"].tolist() == [move.who for move in champions]
    if len(champions) > 1:
        assert "imputer " in shown["Changed"][0]
    seen.choose("Alias", "beagle")
    assert seen.csv("promotions")["To"].str.contains(": beagle/").all()
    data = seen.csv("data")
    assert set(data["Digest"]) == {prepared.digest} and set(data["Samples learned from"]) == {prepared.train.n_samples}
    seen.keep()


@pytest.mark.panels  # a server of its own, and the figures drawn many times
def test_models_show_only_what_was_noted(serve: Serve, visit: Go, copied: Path) -> None:
    tracker = Tracker(tracking_uri(None, copied), copied)
    name = "snpimpute-calves"
    client = tracker.client
    for key in client.get_registered_model(name).tags:
        client.delete_registered_model_tag(name, key)
    present = client.get_model_version_by_alias(name, "champion").version
    other = str(next(v.version for v in client.search_model_versions(f"name = '{name}'") if v.version != present))
    url = serve(copied)
    seen = visit(url).open("models")
    assert any(f"Nothing was recorded of how this alias came to version {present}" in said for said in seen.said())
    tracker.move_champion(name, other, "macro-F1 typed: <b>better</b>")
    client.set_registered_model_alias(name, "champion", present)
    seen.until_it_is_read_anew()
    seen = visit(url).open("models")
    (move,) = seen.csv("promotions").to_dict("records")
    assert move["From"].startswith(f"{present}: ") and move["To"].startswith(f"{other}: ")
    assert (move["Who"], move["Why"]) == (getpass.getuser(), "macro-F1 typed: <b>better</b>")
    assert any(f"is to version {other}; the alias is at version {present}" in said for said in seen.said())


def test_compare_two_runs(
    visit: Go, dashboard: str, runs: Path, prepared: PreparedDataset, table: pd.DataFrame
) -> None:
    trained = {run.label: run for run in Store(tracking_uri(None, runs)).training_runs()}
    seen = visit(dashboard).open("compare")
    seen.choose("First run", "beagle/default").choose("Second run", "dense/fixed")
    a, b = trained["beagle/default"], trained["dense/fixed"]
    parameters = seen.csv("parameters").set_index("Parameter")
    assert set(parameters.index) == set(a.params) | set(b.params)
    assert parameters.loc["iterations"].tolist() == ["1", "–"]
    metrics = seen.csv("metrics").set_index("Metric")
    difference = b.metrics["f1_macro_60"] - a.metrics["f1_macro_60"]
    assert metrics.loc["f1_macro_60", "Difference"] == pytest.approx(difference)
    assert {"seconds_fit", "memory_mb", "val_f1_macro"} <= set(metrics.index) and "f1_macro" not in metrics.index
    scores = seen.csv("scores").set_index(["Calls", "Metric"])
    assert scores.loc[("all", "f1_macro"), "Difference"] == pytest.approx(difference)
    kept = table[(table["versus"] == "beagle/default") & (table["imputer"] == "dense") & (table["subset"] == "all")]
    kept = kept[(kept["metric"] == "f1_macro") & (kept["level"] == 60) & (kept["mechanism"] == "independent")]
    sign, bounds = 1, kept[["low", "high"]].to_numpy()
    if not len(bounds):
        sign, turned = -1, table[(table["versus"] == "dense/fixed") & (table["imputer"] == "beagle")]
        turned = turned[
            (turned["variant"] == "default") & (turned["subset"] == "all") & (turned["metric"] == "f1_macro")
        ]
        turned = turned[(turned["level"] == 60) & (turned["mechanism"] == "independent")]
        bounds = turned[["high", "low"]].to_numpy()
    assert scores.loc[("all", "f1_macro"), ["Low", "High"]].tolist() == pytest.approx((sign * bounds[0]).tolist())
    key = "test-independent-60-0"
    sites = right_and_wrong(
        prepared, calls_of(runs, prepared, "beagle/default", key), calls_of(runs, prepared, "dense/fixed", key)
    )
    lines = seen.figure("sites")
    assert lines["only beagle/default is right"]["y"] == sites["only_first"].tolist()
    assert lines["only dense/fixed is right"]["y"] == (-sites["only_second"]).tolist()
    assert seen.csv("sites")["both_wrong"].tolist() == sites["both_wrong"].tolist()
    seen.choose("Masks", "nested").choose("Level", "90% missing")
    key = "test-nested-90-0"
    sites = right_and_wrong(
        prepared, calls_of(runs, prepared, "beagle/default", key), calls_of(runs, prepared, "dense/fixed", key)
    )
    assert seen.figure("sites")["only beagle/default is right"]["y"] == sites["only_first"].tolist()
    seen.page.get_by_text("Only those that differ").click()
    seen.settle().keep()


# ---------------------------------------------------------------------- how it behaves


def test_an_empty_folder_says_what_to_run_and_stays_empty(serve: Serve, visit: Go, tmp_path: Path) -> None:
    runs = tmp_path / "none"
    url = serve(runs)
    for page in PAGES:
        (said,) = visit(url).open("" if page == "race" else page).said()
        assert "make demo" in said and "snpimpute experiment my.vcf.gz" in said
    assert not runs.exists()


def test_a_store_that_cannot_be_reached_says_so(serve: Serve, visit: Go, runs: Path) -> None:
    url = serve(runs, "--store", "postgresql://me:secret@127.0.0.1:9/db")
    for page in ("race", "wrong", "models", "compare"):
        seen = visit(url).open("" if page == "race" else page)
        (said,) = seen.said()
        assert "cannot be used" in said and "refused" in said
        assert "secret" not in seen.page.content()
        if page == "race":
            seen.keep()


@pytest.mark.panels  # a server of its own, and the figures drawn many times
def test_what_was_removed_meanwhile_is_a_line(serve: Serve, visit: Go, copied: Path) -> None:
    url = serve(copied)
    seen = visit(url).open("compare").choose("First run", "bert/random").choose("Second run", "dense/fixed")
    tracker = Tracker(tracking_uri(None, copied), copied)
    gone = next(r for r in Store(tracker.uri).training_runs() if r.label == "bert/random")
    tracker.client.delete_run(gone.run_id)
    (home,) = (copied / "models").glob("calves-dense-fixed-*")
    shutil.rmtree(home)
    seen.until_it_is_read_anew()
    seen.page.reload()
    seen.page.get_by_test_id("stMain").locator("h2").first.wait_for()
    seen.settle()
    assert "bert/random" not in seen.options("First run")
    assert any("No posteriors are kept of dense/fixed" in said for said in seen.said()), seen.said()
    league = visit(url).open().csv("league").set_index("Imputer")
    assert "bert/random" in league.index and pd.isna(league.loc["bert/random", "Seconds to fit"])
    assert "deleted" in json.dumps(visit(url).open("models").csv("data").to_dict())
    (scores,) = (copied / "scores").glob("*.csv")
    seen.open("studies")
    for path in (copied / "studies").glob("*.journal"):
        path.unlink()
    scores.unlink()
    assert "there is no study yet" in visit(url).open("studies").said()[0].lower()
    assert "nothing is scored" in visit(url).open().said()[0].lower()


@pytest.mark.panels  # a server of its own, and the figures drawn many times
def test_names_with_markup_are_shown_as_text(serve: Serve, visit: Go, copied: Path) -> None:
    odd = "<img src=x onerror=alert(1)> **b** $x^2$ :red[r] _i_ `c`"
    (scores,) = (copied / "scores").glob("*.csv")
    table = read_scores(scores)
    table.loc[table["imputer"] == "softmax_regression", "variant"] = odd
    table.to_csv(scores, index=False)
    tracker = Tracker(tracking_uri(None, copied), copied)
    for trained in Store(tracker.uri).training_runs():
        if trained.imputer == "softmax_regression":
            tracker.client.set_tag(trained.run_id, "variant", odd)
    label = f"softmax_regression/{odd}"
    url = serve(copied)
    seen = visit(url).open(f"?imputers={quote(label, safe='')}")
    seen.figure("robustness")
    legend = seen.page.locator(".st-key-figure-robustness .legendtext").all_text_contents()
    assert label in legend
    assert seen.page.get_by_test_id("stMultiSelect").get_by_text(label, exact=True).count() >= 1
    seen.keep()
    seen = visit(url).open("compare").choose("First run", label).choose("Second run", "dense/fixed")
    assert seen.page.get_by_text(f"First: {label}").count() == 1
    assert seen.page.locator("img[src=x], .katex").count() == 0
    seen.keep("-compare")


def test_it_listens_on_localhost_and_says_when_a_port_is_taken(dashboard: str, runs: Path) -> None:
    port = dashboard.rsplit(":", 1)[1]
    heard = {c.laddr.ip for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == int(port)}
    assert heard == {"127.0.0.1"}
    command = [sys.executable, "-m", "snpimpute", "dashboard", "--runs", str(runs), "--port", port]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"snpimpute: cannot listen at 127.0.0.1:{port}") and done.stderr.count("\n") == 1
