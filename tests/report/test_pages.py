"""The pages of a check and of a comparison: the numbers stand in their cells and figures, and a browser opens them offline."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from snpimpute.base.errors import InputError
from snpimpute.genotypes.matrix import GenotypeMatrix
from snpimpute.impute.check import check_target
from snpimpute.impute.concordance import Concordance, compare_files
from snpimpute.impute.findings import TargetCheck
from snpimpute.impute.matching import PanelSites
from snpimpute.io.write_vcf import write_vcf
from snpimpute.report.check import MAX_POINTS, as_dict, write_check
from snpimpute.report.concordance import write_concordance
from tests.impute.test_check import PANEL, exchanged, family, on_other_strand, population
from tests.impute.test_concordance import TRUTH, soft_file, soft_posterior, stored
from tests.report.test_report import Tables, browser  # noqa: F401


def planted() -> GenotypeMatrix:
    """A family with swaps, flips, holes and an odd name."""
    matrix = on_other_strand(exchanged(family(8), np.arange(30)), np.arange(40, 47))
    names = [*matrix.names[:-1], "<b>x</b>"]
    hidden = np.zeros(matrix.calls.shape, dtype=bool)
    hidden[4, :200] = True
    return replace(matrix, samples=pd.DataFrame({"sample": names})).hide(hidden)


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> TargetCheck:
    path = tmp_path_factory.mktemp("target") / "target.vcf.gz"
    write_vcf(path, planted())
    names = [f"c{i}" for i in range(7)] + ["<b>x</b>"]
    table = pd.DataFrame({"sample": names, "sire": "sire", "dam": "dam", "group": ["A", "B"] * 4})
    return check_target(path, PanelSites.of_matrix(PANEL), samples=table)


@pytest.fixture(scope="module")
def qc_page(check: TargetCheck, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_check(check, tmp_path_factory.mktemp("check") / "new")


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Concordance:
    folder = tmp_path_factory.mktemp("files")
    quality = np.random.default_rng(1).uniform(0, 1, 250)
    truth = stored(folder / "truth.vcf.gz", TRUTH)
    imputed = soft_file(folder / "imputed.vcf", TRUTH, soft_posterior(), "GT:DS:GP", quality)
    table = pd.DataFrame({"sample": TRUTH.names, "group": ["A", "B"] * 15})
    return compare_files(truth, imputed, samples=table)


@pytest.fixture(scope="module")
def concordance_page(compared: Concordance, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_concordance(compared, tmp_path_factory.mktemp("concordance") / "new")


def test_the_check_stands_in_its_tables_and_files(check: TargetCheck, qc_page: Path) -> None:
    page = qc_page.read_text(encoding="utf-8")
    tables = Tables(page)
    kinds = tables.table("The target's records by their match to the panel")
    assert [kinds[kind]["Records"][0] for kind in ("shared", "swapped", "flipped", "outside")] == [
        "363",
        "30",
        "7",
        "0",
    ]
    parents = tables.table("Calls that contradict the parents: 1 of 8 samples")
    wrong = check.trios.iloc[-1]
    assert parents["<b>x</b>"]["Conflicts"][0] == str(wrong.conflicts) and wrong.conflicts > 30
    rates = tables.table("Call rates")
    assert rates["less"]["Samples"][0] == "1" and rates["all calls"]["Samples"][0] == "9"
    assert tables.table("Lowest call rates, 10 samples")["c2"]["Call rate"][0] == "50.0%"
    assert "REF and ALT exchanged, the calls turned round: 30 sites" in page and "<b>x" not in page
    excluded = pd.read_csv(qc_page.with_name("excluded.tsv"), sep="\t")
    assert excluded.reason.tolist() == ["flipped"] * 7 and list(excluded.columns)[:5] == list(PANEL.sites.columns)
    samples = pd.read_csv(qc_page.with_name("samples.tsv"), sep="\t")
    np.testing.assert_allclose(samples.call_rate, check.samples.call_rate)
    trios = pd.read_csv(qc_page.with_name("trios.tsv"), sep="\t")
    assert trios.conflicts.tolist() == check.trios.conflicts.tolist()
    assert json.loads(json.dumps(as_dict(check)))["counts"]["swapped"] == 30


def test_a_check_of_nothing_usable_has_a_page_that_says_why(tmp_path: Path) -> None:
    target = population(5, 30, 3)
    write_vcf(tmp_path / "t.vcf.gz", replace(target, sites=target.sites.assign(contig="9")))
    check = check_target(tmp_path / "t.vcf.gz", PanelSites.of_matrix(PANEL))
    page = write_check(check, tmp_path / "out").read_text(encoding="utf-8")
    assert "cannot be imputed with the panel in its present state" in page
    assert '<p class="note">No contig in common: the target has 9, the panel 1.</p>' in page
    assert "nan" not in page.split("<script>")[0].split("</style>")[1].lower()


def test_a_large_figure_keeps_the_sites_farthest_off(tmp_path: Path) -> None:
    n = MAX_POINTS + 1500
    panel, target = population(40, n, 1), population(40, n, 2)
    calls = target.calls.copy()
    calls[:, 77] = 2 if panel.alt_frequency()[77] < 0.5 else 0
    write_vcf(tmp_path / "t.vcf.gz", replace(target, calls=calls))
    page = write_check(check_target(tmp_path / "t.vcf.gz", PanelSites.of_matrix(panel)), tmp_path / "out").read_text()
    plots = json.loads(page.split('id="plots">')[1].split("</script>")[0])
    points = [text for trace in plots["frequencies-figure-0"]["data"][1:] for text in trace["text"]]
    assert len(points) == MAX_POINTS and any(text.startswith("1:78000 ") for text in points)
    assert f"Shown are {MAX_POINTS:,} of {n:,} sites" in page


def test_the_comparison_stands_in_its_tables_and_files(compared: Concordance, concordance_page: Path) -> None:
    tables = Tables(concordance_page.read_text(encoding="utf-8"))
    row = compared.bins.set_index("maf").loc["0.20-0.30"]
    shown = tables.table("Scores by minor allele frequency")["0.20–0.30"]
    assert shown["Concordance"][0] == f"{row.concordance:.3f}" and shown["IQS"][0] == f"{row.centred_iqs:.3f}"
    groups = tables.table("Scores by group")
    assert groups["A"]["Macro-F1"][0] == f"{compared.groups.f1_macro[0]:.3f}" and groups["B"]["Samples"][0] == "15"
    kept = tables.table("Effect of a filter on DR2")["0.5"]
    assert kept["Sites kept"][0] == str(int(compared.thresholds.set_index("at_least").sites[0.5]))
    for name in ("samples", "sites", "bins", "groups", "thresholds"):
        table = pd.read_csv(concordance_page.with_name(f"{name}.tsv"), sep="\t", dtype={"contig": str})
        assert len(table) == len(getattr(compared, name)), name
    about = json.loads(concordance_page.with_name("concordance.json").read_text())
    assert about["overall"]["centred_iqs"] == compared.overall["centred_iqs"] and about["counts"]["sites"] == 250


def test_a_folder_that_cannot_be_written(check: TargetCheck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(InputError, match="No space left"):
        write_check(check, tmp_path / "out")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_opens_them_offline(
    browser: Any,  # noqa: F811
    qc_page: Path,
    concordance_page: Path,
    width: int,
    scheme: str,
) -> None:
    for path, figures in (
        (qc_page, ("frequencies-figure-0", "heterozygosity-figure-0")),
        (concordance_page, ("maf-figure-0", "quality-figure-0")),
    ):
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        complaints: list[str] = []
        requests: list[str] = []
        page.on("console", lambda message, to=complaints: to.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error, to=complaints: to.append(str(error)))
        page.on("request", lambda request, to=requests: to.append(request.url))
        page.goto(path.as_uri())
        for figure in figures:
            page.locator(f"#{figure}").scroll_into_view_if_needed()
            page.locator(f"#{figure} .xtitle").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
        assert dark is (scheme == "dark")
        assert not complaints and requests == [path.as_uri()]
        page.close()
