"""The Simpute experiment in little: every regime, from its own file, on made-up panels; and the page made of its scores."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from snpimpute.experiment.score import read_scores
from snpimpute.imputers.testing import small_panel
from snpimpute.io.write_vcf import write_vcf

ROOT = Path(__file__).parents[2]
WANTED = ("kg15-short", "kg15-dense", "cattle-high-ld")

pytestmark = [pytest.mark.panels, pytest.mark.timeout(1800)]  # on a busy machine


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, with_store: Callable[[Path], Path]) -> Path:
    """The folder of runs, after the smaller experiment was run by its command."""
    folder = tmp_path_factory.mktemp("simpute")
    matrix = small_panel(160, 240, missing=0.0)
    rng = np.random.default_rng(1)
    for site in range(1, 240):
        if site % 8:
            matrix.calls[:, site] = np.where(rng.random(160) < 0.03, matrix.calls[:, site], matrix.calls[:, site - 1])
    for name, contigs in (("kg15", ["15"] * 240), ("cattle", ["1"] * 120 + ["2"] * 120)):
        (folder / name).mkdir()
        write_vcf(folder / name / f"{name}.vcf.gz", replace(matrix, sites=matrix.sites.assign(contig=contigs)))
    text = (ROOT / "experiments" / "simpute.toml").read_text()
    for find, put in (
        (r"max_samples = \d+", "max_samples = 140"),
        (r"count = \d+", "count = 8"),
        (r"test = \d+", "test = 70"),
        (r"validation = [\d.]+", "validation = 0.4"),  # Beagle fails on regions with three samples
        (r"levels = \[.*?\]", "levels = [5, 20]"),
        (r'mode = "alone" }', 'mode = "alone", iterations = 2, burnin = 1 }'),
        (r"headline_level = 5", "headline_level = 5, resamples = 200"),
    ):
        text, n = re.subn(find, put, text)
        assert n, find
    assert set(WANTED) <= set(tomllib.loads(text)["data"])
    (folder / "simpute.toml").write_text(text)
    command = [
        sys.executable,
        "-m",
        "snpimpute",
        "experiment",
        str(folder / "simpute.toml"),
        "--runs",
        str(with_store(folder / "runs")),
    ]
    for option, names in (("--data", WANTED), ("--imputer", ("simpute", "beagle"))):
        command += [word for name in names for word in (option, name)]
    environment = {**os.environ, "SNPIMPUTE_PANELS": str(folder)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return folder / "runs"


def test_every_regime_is_scored_with_its_rows(runs: Path) -> None:
    scores = read_scores(runs / "reports" / "simpute" / "scores.csv")
    label = scores["imputer"] + "/" + scores["variant"]
    usual = {"simpute/default", "simpute/panel", "beagle/alone"}
    for name in WANTED:
        here = scores["dataset"] == name
        regions = {"beagle/default"} if name in ("kg15-short", "kg15-dense") else set()
        assert set(label[here]) == usual | regions, name
        assert set(scores["mechanism"][here]) == {"high_ld" if "high-ld" in name else "entries"}
        for metric in ("f1_micro", "f1_macro"):
            pair = scores[
                here
                & (label == "beagle/alone")
                & (scores["metric"] == metric)
                & (scores["versus"] == "simpute/default")
            ]
            back = scores[
                here
                & (label == "simpute/default")
                & (scores["metric"] == metric)
                & (scores["versus"] == "beagle/alone")
            ]
            found = set(pair["level"]) | set(back["level"])
            assert found == {5.0, 20.0}, (name, metric)
        times = scores[here & (scores["metric"] == "seconds")].assign(label=label)
        assert set(times["label"]) == usual | regions and (times["value"] > 0).all()


def test_the_report_has_a_row_for_each_regime_at_its_own_headline(runs: Path) -> None:
    report = (runs / "reports" / "simpute" / "report.md").read_text()
    start = report.index("*Error rate (%) by dataset and imputer*")
    overview = report[start : report.index("*Macro-F1 by dataset", start)]
    for name in WANTED:
        assert re.search(rf"^\| {name}, 5% missing \| [\d.]+", overview, re.MULTILINE), name
    for figure in re.findall(r"\((calls-.*?\.png)\)", report):
        assert (runs / "reports" / "simpute" / figure).stat().st_size > 10_000
    assert "*Error rate (%) by percent missing: single calls at sites in strong LD with a neighbour*" in report
    assert "outside the regions" in report


def test_an_error_rate_is_the_share_of_wrong_calls_with_its_interval(runs: Path) -> None:
    folder = runs / "reports" / "simpute"
    scores = read_scores(folder / "scores.csv")
    (row,) = scores[
        (scores["dataset"] == "kg15-short")
        & (scores["imputer"] == "simpute")
        & (scores["variant"] == "panel")
        & (scores["level"] == 20)
        & (scores["metric"] == "f1_micro")
        & (scores["subset"] == "all")
        & (scores["repeat"] == "all")
        & (scores["versus"] == "")
    ].itertuples()
    wrong = [f"{100 * (1 - share):.2f}" for share in (row.value, row.high, row.low)]
    report = (folder / "report.md").read_text()
    chapter = report[report.index("## kg15-short") :]
    table = chapter[chapter.index("*Error rate (%) by percent missing: single calls at random*") :]
    (line,) = re.findall(r"^\| simpute/panel \|.*$", table.split("\n\n*")[0], re.MULTILINE)
    assert re.sub(" [★≈]", "", line.split("|")[3]).strip() == "{} ({} to {})".format(*wrong)


def test_the_page_says_for_each_regime_what_was_measured(runs: Path, tmp_path: Path) -> None:
    script = ROOT / "scripts" / "simpute_results.py"
    command = [sys.executable, str(script), "--runs", str(runs), "--to", str(tmp_path)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SNPIMPUTE_PANELS": "/panels"},
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "simpute.md").read_text()
    for name in WANTED:
        (row,) = re.findall(rf"^\|.*\| {name} \|.*$", page, re.MULTILINE)
        assert re.search(r"5%: [+−][\d.]+ \([+−][\d.]+ to [+−][\d.]+\).*(ahead|behind|not told apart) at", row), row
    assert re.search(r"Not run, and so not here: .*kg15-whole", page)
    for figure in re.findall(r"\((simpute/.*?)\)", page):
        assert (tmp_path / figure).exists(), figure
