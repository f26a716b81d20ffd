"""The report puts each number in its place, says "worse" only where the interval does, and opens in a real browser offline."""

import functools
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from snpimpute.metrics.maf import MAF_BINS
from snpimpute.report import DatasetAbout, ReportContext, comparison_table, write_report
from snpimpute.report.published import beside_published, rank_change
from snpimpute.report.rows import Rows
from snpimpute.report.tables import all_sites, rare_sites
from snpimpute.report.tree import Cell, Folded, Table, Text
from snpimpute.report.variants import tuned_parameters
from tests.conftest import CHROMIUM, CHROMIUM_ARGS

LEVELS = (10.0, 30.0, 60.0, 80.0, 95.0)
MARKUP = "odd <b>bold</b> & $x$ | name"
BEST, TIED, WORSE, FAILED = ("bert", "random"), ("beagle", "tuned"), (MARKUP, "default"), ("dense", "fixed")
MODE = ("mode", "default")
# macro-F1 at 0% missing, and what is lost at 100%
QUALITY = {
    MODE: (0.29, 0.01),
    BEST: (0.975, 0.15),
    TIED: (0.970, 0.16),
    ("beagle", "default"): (0.96, 0.25),
    WORSE: (0.94, 0.35),
}
OFFSET_GAIN = dict.fromkeys(QUALITY, 0.002) | {TIED: 0.015}
WHY_FAILED = "Beagle <script>alert(1)</script> ran out of memory at line 3"


def quality(imputer: tuple[str, str], level: float) -> float:
    start, loss = QUALITY[imputer]
    return round(start - loss * (level / 100) ** 2, 6)


def rows_of(imputer: tuple[str, str], dataset: str, mechanism: str, level: float) -> Iterator[dict[str, Any]]:
    """The rows of the tidy table for one imputer in one scenario."""
    base = {
        "imputer": imputer[0], "variant": imputer[1], "dataset": dataset, "split": "test", "mechanism": mechanism, "level": level,
        "repeat": "all", "seed": 1, "decision": "argmax", "versus": "", "low": np.nan, "high": np.nan, "n": 1000,
    }  # fmt: skip
    best, here = quality(BEST, level), quality(imputer, level)
    for subset, shift in (("all", 0.0), ("rare", -0.3), ("rare_minor", -0.3), ("true:all", 0.02), ("true:rare", -0.2)):
        if subset.startswith("true") and dataset != "bulls":
            continue
        values = {
            "f1_macro": here,
            "f1_micro": here + 0.01,
            "f1_0": here + 0.02,
            "f1_1": here - 0.05,
            "f1_2": here - 0.03,
        }
        values |= {
            "site_dosage_r2": here - 0.07,
            "centred_dosage_r2": here - 0.06,
            "centred_iqs": here - 0.09,
            "log_loss": 1 - here,
            "ece": 0.01,
        }
        for metric, value in values.items():
            if imputer == TIED and metric in ("log_loss", "ece"):
                continue
            value += shift if metric not in ("log_loss", "ece") else 0
            yield base | {"subset": subset, "metric": metric, "value": value, "low": value - 0.01, "high": value + 0.01}
            if metric in ("f1_macro", "f1_1", "site_dosage_r2") and imputer != BEST:
                low, high = (-0.012, 0.004) if imputer == TIED else (here - best - 0.01, here - best + 0.01)
                versus = {"versus": "bert/random", "value": here - best, "low": low, "high": high}
                yield base | {"subset": subset, "metric": metric} | versus
        minor = (20_000, 1_500, 23 if dataset == "bulls" else 60)
        for genotype, count in enumerate(minor if subset == "rare_minor" else (19_000, 1_500, 1_023)):
            yield base | {"subset": subset, "metric": f"truth_{genotype}", "value": count}
        yield base | {"subset": subset, "metric": "wrong", "value": 123}
        yield base | {"subset": subset, "metric": "sites_varied", "value": 280}
        yield base | {"subset": subset, "metric": "sites_constant", "value": 20}
    if dataset == "bulls":
        gain = {"decision": "offsets", "subset": "all", "metric": "f1_macro"}
        moved = here + OFFSET_GAIN[imputer]
        yield base | gain | {"value": moved, "low": moved - 0.01, "high": moved + 0.01}
        yield base | gain | {"versus": "argmax", "value": OFFSET_GAIN[imputer], "low": -0.001, "high": 0.02}
        if imputer != TIED:
            to_best = moved - quality(TIED, level) - OFFSET_GAIN[TIED]
            yield base | gain | {"versus": "beagle/tuned", "value": to_best, "low": to_best - 0.01, "high": -0.001}
    yield base | {"subset": "all", "metric": "f1_macro", "value": 0.111, "repeat": "0"}
    yield base | {"subset": "all", "metric": "f1_macro", "value": 0.222, "split": "validation"}


def headline_rows(imputer: tuple[str, str], dataset: str, about: DatasetAbout) -> Iterator[dict[str, Any]]:
    """The rows that exist at the headline level only."""
    rng = np.random.default_rng(len(imputer[0]))
    base = {
        "imputer": imputer[0], "variant": imputer[1], "dataset": dataset, "split": "test", "mechanism": "independent", "level": 60.0,
        "repeat": "all", "seed": 1, "decision": "argmax", "versus": "", "low": np.nan, "high": np.nan, "n": 186,
    }  # fmt: skip
    here = quality(imputer, 60.0)
    for true, called in itertools.product(range(3), range(3)):
        value = 10_000 * (3 - true) if true == called else 100 * (true + 1) + called + len(imputer[0])
        yield base | {"subset": "all", "metric": f"confusion_{true}{called}", "value": value}
    bins = [f"maf:{low:.2f}-{high:.2f}" for low, high in itertools.pairwise(MAF_BINS)]
    for i, subset in enumerate([*bins, "group:Angus", "group:<i>Jersey</i>"]):
        for metric in ("f1_macro", "f1_1", "site_dosage_r2"):
            value = here - 0.2 / (i + 1)
            yield base | {
                "subset": subset,
                "metric": metric,
                "value": value,
                "low": value - 0.02,
                "high": value + 0.02,
                "n": 5000 + i,
            }
    for site in about.sites["site"]:
        value = np.clip(here + rng.normal(0, 0.04), 0, 1)
        yield base | {"subset": f"site:{site}", "metric": "f1_micro", "value": value}
    for i in range(30):
        for metric in ("f1_micro", "f1_macro"):
            value = here - 0.2 / (i + 1) - (0.1 if metric == "f1_macro" else 0)
            yield base | {"subset": f"sample:S{i:02d}", "metric": metric, "value": value, "n": 300}
    if imputer != TIED:
        for i in range(3, 10):
            subset = f"confidence:{i / 10:.1f}-{(i + 1) / 10:.1f}"
            yield base | {"subset": subset, "metric": "confidence", "value": i / 10 + 0.05}
            yield base | {"subset": subset, "metric": "accuracy", "value": i / 10 + 0.05 - 0.1 * (1 - here)}


def about(name: str, published_shape: bool) -> DatasetAbout:
    rng = np.random.default_rng(1)
    pos = np.sort(rng.choice(2_000_000, 120, replace=False)) + 1
    maf = rng.beta(0.5, 2, 120) / 2
    sites = pd.DataFrame({"site": [f"28:{p}:A:G" for p in pos], "contig": "28", "pos": pos, "maf_test": maf})
    return DatasetAbout(
        name=name,
        digest="0123456789abcdef" * 4,
        description="928 simulated bulls of several breeds, genotypes called from simulated reads.",
        n_train=742,
        n_validation=148,
        n_test=186,
        n_sites=500,
        published_shape=published_shape,
        left_out=pd.DataFrame({"reason": ["multi-allelic", "monomorphic"], "n": [12, 1345]}),
        sites=sites.assign(maf_panel=np.clip(maf + rng.normal(0, 0.01, 120), 0, 0.5)),
        genotype_shares="75.6% / 19.5% / 4.9%",
    )


@functools.cache
def made_up() -> tuple[pd.DataFrame, ReportContext]:
    datasets = [about("bulls", published_shape=True), about("kg15 <b>own</b>", published_shape=False)]
    rows: list[dict[str, Any]] = []
    for dataset, imputer in itertools.product(datasets, QUALITY):
        for mechanism, level in itertools.product(("independent", "nested"), LEVELS):
            rows += rows_of(imputer, dataset.name, mechanism, level)
        rows += headline_rows(imputer, dataset.name, dataset)
    known = {
        "mask": "random", "framework": "torch", "parameters": 1_779_976, "seconds_study": 600.0, "seconds_fit": 3_725.0, "seconds_impute": 2.345, "memory_mb": 1_234.0,
        "trials": 50, "trials_failed": 2, "study_ended_by": "trials", "samples_fit": 742, "val_f1_macro": 0.951, "status": "ok",
        "params": "hidden=256, layers=2, learning_rate=0.0005",
    }  # fmt: skip
    unknown = dict.fromkeys(known, np.nan) | {"status": WHY_FAILED, "framework": "tensorflow"}
    imputers = [
        {"dataset": dataset.name, "imputer": imputer, "variant": variant}
        | (unknown if (imputer, variant) == FAILED else known)
        | ({"parameters": np.nan, "memory_mb": 312.0, "seconds_fit": 65.0} if imputer == "beagle" else {})
        for dataset in datasets
        for imputer, variant in (FAILED, *QUALITY)
    ]
    context = ReportContext(
        title="Comparison of imputers: <demo>",
        notes=["Small-budget results: 2 of 3 studies ended with fewer than 50 trials; the ranking may change."],
        datasets=datasets,
        imputers=pd.DataFrame(imputers),
        primary_mechanism="independent",
        headline_level=60.0,
        versions={"snpimpute": "0.1.0", "torch": "2.13.0"},
        mlflow_links={"bulls": "http://127.0.0.1:5000/#/compare"},
    )
    return pd.DataFrame(rows).sample(frac=1.0, random_state=1), context


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the made-up scores."""
    scores, context = made_up()
    page = write_report(scores, context, tmp_path_factory.mktemp("report") / "new")
    assert page.name == "report.html"
    return page.parent


class Tables(HTMLParser):
    """Every table of a page: heading (caption of its figure) → rows of cells, a cell being its text and its small print."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, list[list[tuple[str, str]]]]] = []
        self._caption, self._inside = "", ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.found.append((self._caption, []))
        elif tag == "tr":
            self.found[-1][1].append([])
        elif tag in ("td", "th"):
            self.found[-1][1][-1].append(("", ""))
        if tag in ("figcaption", "td", "th", "small", "style", "script"):
            self._inside = tag
            self._caption = "" if tag == "figcaption" else self._caption

    def handle_endtag(self, tag: str) -> None:
        if tag in ("figcaption", "td", "th", "style", "script"):
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "figcaption":
            self._caption += data
        elif self._inside in ("td", "th", "small"):
            text, small = self.found[-1][1][-1][-1]
            cell = (text, small + data.strip()) if self._inside == "small" else (text + data.strip(), small)
            self.found[-1][1][-1][-1] = cell

    def table(self, caption: str, which: int = 0) -> dict[str, dict[str, tuple[str, str]]]:
        """Name of the row → name of the column → (text, small print), of the `which`th table with this caption."""
        header, *rows = [rows for found, rows in self.found if found == caption][which]
        columns = [text for text, _ in header]
        return {row[0][0]: dict(zip(columns, row, strict=False)) for row in rows}


@pytest.fixture(scope="module")
def tables(folder: Path) -> Tables:
    return Tables((folder / "report.html").read_text(encoding="utf-8"))


ALL = "F1 at the hidden calls of all sites, 60% missing"
RARE = "F1 at the hidden calls of rare sites (test MAF < 0.05), 60% missing"
DIFFERENCE = "F1 macro: difference to the best"


def markdown_table(folder: Path, caption: str, which: int = 0) -> dict[str, dict[str, str]]:
    """The same of the Markdown, cells as they stand."""
    parts = (folder / "report.md").read_text(encoding="utf-8").split(f"*{caption}*\n\n")
    lines = parts[1 + which].split("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return {re.sub(r" \(\d+ trials?\)$", "", row[0]): dict(zip(cells[0], row, strict=True)) for row in cells[2:]}


def test_headline_numbers_stand_in_their_cells(tables: Tables) -> None:
    bert = tables.table(ALL)["bert/random"]
    assert bert["F1 macro"] == ("0.921", "0.911 to 0.931")  # .975 - .15 · .36
    assert [bert[name][0] for name in ("Concordance", "F1 0", "F1 1", "F1 2")] == ["0.931", "0.941", "0.871", "0.891"]
    named = ("Parameters", "Time of the study", "Time to fit", "Time to impute", "Peak memory", "Trials")
    cost = tables.table("Cost, and accuracy at 60% missing")
    found = [cost["bert/random"][name][0] for name in (*named, "Samples learned from")]
    assert found == ["1,779,976", "10 min 00 s", "1 h 02 min", "2.3 s", "1.2 GB", "50", "742"]
    assert [cost["beagle/tuned"][name][0] for name in named[:3]] == ["–", "10 min 00 s", "1 min 05 s"]
    further = tables.table("Further measures at all sites, 60% missing")
    assert further["bert/random"]["Log-loss (nats)"][0] == "0.079"
    assert further["beagle/tuned"]["Log-loss (nats)"][0] == "–"
    assert further["beagle/tuned"]["Dosage r² within sites"] == ("0.842", "0.832 to 0.852")


def test_rows_stand_best_first_and_the_verdict_follows_the_interval(tables: Tables) -> None:
    rows = tables.table(ALL, which=1)
    names = ["bert/random", "beagle/tuned", "beagle/default", f"{MARKUP}/default", "mode/default", "dense/fixed"]
    assert list(rows) == names
    verdicts = {name: row["Verdict"][0] for name, row in rows.items()}
    assert verdicts["bert/random"] == "best"
    assert verdicts["beagle/tuned"] == "not told apart from the best"
    assert verdicts["beagle/default"] == verdicts["mode/default"] == "worse"
    assert rows["beagle/tuned"][DIFFERENCE] == ("−0.009", "−0.012 to +0.004")
    assert rows["bert/random"][DIFFERENCE] == ("–", "")


def test_a_failed_imputer_keeps_its_row_with_the_reason(tables: Tables, folder: Path) -> None:
    dense = tables.table(ALL)["dense/fixed"]
    assert dense["Verdict"][0] == f"failed: {WHY_FAILED}"
    assert {cell[0] for name, cell in dense.items() if name not in ("Imputer", "Verdict")} == {"–"}
    assert tables.table("Imputers")["dense/fixed"]["Status"][0] == f"failed: {WHY_FAILED}"
    assert "nan" not in (folder / "report.md").read_text().lower()
    assert not [cell for _, rows in tables.found for row in rows for cell in row if "nan" in f"{cell}".lower().split()]


def test_published_numbers_stand_only_beside_data_of_the_published_shape(tables: Tables) -> None:
    caption = "Macro-F1 at the hidden calls of all sites: published, and each variant here"
    compact = tables.table(caption)
    assert compact["BERT"] | {"Model": ""} == {
        "Model": "", "Published": ("0.868", ""), "random": ("0.921", "0.911 to 0.931"), "tuned": ("", ""), "default": ("", ""),
    }  # fmt: skip
    assert sum(found == caption for found, _ in tables.found) == 1
    layout = tables.table("F1 at the hidden calls of all sites, 60% missing: published and here")
    assert list(layout)[:2] == ["BERT (published)", "bert/random"]
    assert layout["CAE (published)"]["Parameters"][0] == "73,035,868"
    assert layout["Beagle (published)"]["Parameters"][0] == "–"
    assert layout["bert/random"]["F1 0"][0] == "0.941"
    rare = tables.table("F1 at the hidden calls of rare sites (test MAF < 0.05), 60% missing: published and here")
    assert rare["Dense (published)"]["F1 2"][0] == "0.066"
    assert rare["beagle/tuned"]["F1 macro"][0] == "0.612"


def test_rare_sites_show_minor_coding_counts_and_a_caution_when_homozygotes_are_few(
    tables: Tables, folder: Path
) -> None:
    bert = tables.table(RARE)["bert/random"]
    assert bert["F1 macro"][0] == "0.621"
    assert bert["Minor coding: F1 of heterozygotes"] == ("0.571", "0.561 to 0.581")
    assert bert["Dosage r² within sites"][0] == "0.551"
    counts = tables.table("True genotypes scored at rare sites")["minor allele counted"]
    assert [counts[genotype][0] for genotype in "012"] == ["20,000", "1,500", "23"]
    assert tables.table("True genotypes scored at rare sites", which=1)["minor allele counted"]["2"][0] == "60"
    assert (folder / "report.html").read_text().count("do not rely on macro-F1 of rare sites") == 1


def test_hard_calls_with_offsets_stand_beside_those_without(tables: Tables, folder: Path) -> None:
    caption = "Macro-F1 at the hidden calls of all sites, 60% missing"
    rows = tables.table(caption)
    assert list(rows)[:2] == ["bert/random", "beagle/tuned"]
    bert, beagle = rows["bert/random"], rows["beagle/tuned"]
    assert (bert["F1 macro"], bert["Rank"][0]) == (("0.921", "0.911 to 0.931"), "1")
    assert (bert["With offsets: F1 macro"], bert["With offsets: rank"][0]) == (("0.923", "0.913 to 0.933"), "2")
    assert bert["Difference by offsets"] == ("+0.002", "−0.001 to +0.020")
    assert bert["With offsets: difference to the best"] == ("−0.004", "−0.014 to −0.001")
    assert (bert["With offsets: verdict"][0], beagle["With offsets: verdict"][0]) == ("worse", "best")
    assert rows["dense/fixed"]["With offsets: rank"][0] == "–"
    assert markdown_table(folder, caption)["beagle/tuned"]["Difference by offsets"] == "+0.015 (−0.001 to +0.020)"
    assert sum(found == caption for found, _ in tables.found) == 1  # the other dataset has no offsets


def test_difference_to_the_best_at_each_level(tables: Tables) -> None:
    rows = tables.table("Macro-F1: difference to the best at each level, all sites")
    assert list(rows["bert/random"]) == ["Imputer", "10%", "30%", "60%", "80%", "95%"]
    assert rows["bert/random"]["95%"] == ("best", f"{quality(BEST, 95.0):.3f}")
    assert rows["beagle/tuned"]["95%"] == ("−0.014 ≈", "−0.012 to +0.004")
    assert rows["beagle/default"]["60%"] == ("−0.051 ▼", "−0.061 to −0.041")
    assert rows["dense/fixed"]["60%"] == ("–", "")


def test_confusion_squares_worst_samples_and_true_genotypes(tables: Tables) -> None:
    square = next(rows for _, rows in tables.found if rows[0][0] == ("", "true ↓called →"))
    assert [cell[0] for cell in square[1]] == ["0", "30,000", "105", "106"]
    assert square[2][1] == ("204", "1.0%")
    worst = tables.table("The 10 samples that bert/random imputes worst")
    assert list(worst) == [f"S{i:02d}" for i in range(10)]
    assert worst["S01"]["bert/random: F1 macro"][0] == "0.721"
    assert worst["S01"]["beagle/tuned: concordance"][0] == "0.812"
    truth = tables.table("Scored against the true genotypes, 60% missing")
    assert truth["bert/random"]["True: F1 macro"][0] == "0.941"
    assert sum(caption.startswith("Scored against the true") for caption, _ in tables.found) == 1


def test_markdown_has_the_same_tables_and_its_figures(folder: Path) -> None:
    bert = markdown_table(folder, ALL)["bert/random"]
    assert (bert["F1 macro"], bert["Verdict"]) == ("0.921 (0.911 to 0.931)", "best")
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "<b>" not in text and "<script>" not in text
    assert text.count("<details><summary>") == text.count("</details>") > 0
    assert "**Small-budget results" in text
    figures = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert "robustness-bulls-independent.png" in figures and "robustness-bulls-nested.png" in figures
    assert len(set(figures)) == len(figures) == len(list(folder.glob("*.png")))
    assert all((folder / name).read_bytes().startswith(b"\x89PNG") for name in figures)


def test_csv_hold_what_was_given(folder: Path) -> None:
    scores, context = made_up()
    read = pd.read_csv(folder / "scores.csv", keep_default_na=False, na_values={"value": "", "low": "", "high": ""})
    assert len(read) == len(scores)
    np.testing.assert_allclose(read["value"], scores["value"])
    assert pd.read_csv(folder / "imputers.csv")["status"].tolist() == context.imputers["status"].tolist()


def test_the_page_is_whole_and_loads_nothing(folder: Path) -> None:
    from plotly.offline import get_plotlyjs

    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count(get_plotlyjs()) == 1
    page = page.replace(get_plotlyjs(), "")
    loaded = re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)\s*=|@import|url\(", page)
    assert not loaded
    assert "<script>alert(1)" not in page and "<b>own</b>" not in page and "<i>Jersey" not in page
    assert page.count("default-src 'none'") == 1
    assert page.count('<a href="http://127.0.0.1:5000/#/compare">') == 1
    assert not list(folder.glob(".*.part"))


def test_a_second_report_takes_the_place_of_the_first_and_leaves_other_files(tmp_path: Path) -> None:
    scores, context = made_up()
    few = scores[(scores.dataset == "bulls") & (scores.level == 60) & scores.subset.isin(["all", "rare"])]
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "report.html").write_text("old")
    small = ReportContext(**{**vars(context), "datasets": context.datasets[:1], "mlflow_links": {}})
    page = Tables(write_report(few, small, tmp_path).read_text(encoding="utf-8"))
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert page.table(ALL)["bert/random"]["F1 macro"][0] == "0.921"


def test_two_rows_with_one_key_are_refused(tmp_path: Path) -> None:
    scores, context = made_up()
    with pytest.raises(ValueError, match="two rows for bert/random on bulls"):
        write_report(pd.concat([scores, scores[scores.imputer == "bert"]]), context, tmp_path)


def test_all_datasets_stand_in_one_table(tables: Tables) -> None:
    overview = tables.table("All datasets: macro-F1 over all sites, 60% missing")
    assert list(overview)[:2] == ["bert/random", "beagle/tuned"]
    assert [cell[0] for cell in overview["bert/random"].values()] == ["bert/random", "1.0", "0.921", "1", "0.921", "1"]
    assert overview["beagle/tuned"]["kg15 <b>own</b>"][0] == "0.912 ≈"
    assert overview["mode/default"]["bulls"][0] == "0.286 ▼" and overview["mode/default"]["bulls: rank"][0] == "5"
    assert [cell[0] for cell in overview["dense/fixed"].values()][1:] == ["–", "failed", "–", "failed", "–"]


def test_sections_without_their_rows_are_left_out(tables: Tables, folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    for key in ("d1-masks", "d1-inputs", "d1-tuned", "d2-offsets"):
        assert f'id="{key}"' not in page, key
    assert 'id="d1-offsets"' in page
    assert 'id="d1-cost"' in page and 'id="d1-published"' in page and 'id="d2-published"' not in page


# ---------------------------------------------------------------------- the variants of an imputer

HERE = ("nested", 60.0)
NETWORKS = ("dense", "bert")
FIRST = {"beagle": "default", "dense": "fixed", "bert": "fixed"}


def macro(imputer: str, variant: str, mechanism: str, level: float) -> float:
    """Made so that nesting is what holds dense up and nothing to bert, and that beagle's tuning pays at low levels."""
    value = {"beagle": 0.8, "dense": 0.9, "bert": 0.95}[imputer] - 0.1 * (level > 60)
    if imputer == "dense":
        value -= {"fixed": 0.3 * (mechanism == "independent"), "random": 0.05, "inputs-visible": 0.15}[variant]
    elif imputer == "beagle":
        value += {"default": 0.0, "tuned": 0.08 * (level <= 60) + 0.001}[variant]
    elif variant == "random":
        value -= 0.002
    return round(value, 6)


def reference_run() -> tuple[pd.DataFrame, ReportContext]:
    """One dataset of the published shape with networks in three variants and Beagle in two."""
    listed = [("beagle", "default"), ("beagle", "tuned"), ("dense", "fixed"), ("dense", "random")]
    listed += [("dense", "inputs-visible"), ("bert", "fixed"), ("bert", "random")]
    shift = {"all": 0.0, "rare": -0.3, "rare_minor": -0.3}
    # at rare sites Beagle is as good as BERT, and better than the dense network
    rare = {"beagle": 0.949, "dense": 0.7, "bert": 0.95}

    def score(label: tuple[str, str], subset: str, at: tuple[str, float]) -> float:
        return rare[label[0]] + shift[subset] if subset != "all" else macro(*label, *at)

    rows: list[dict[str, Any]] = []
    for at, subset in itertools.product(itertools.product(("nested", "independent"), (10.0, 30.0, 60.0, 80.0)), shift):
        base = {"dataset": "bulls", "split": "test", "mechanism": at[0], "level": at[1], "repeat": "all", "seed": 1}
        base |= {"subset": subset, "decision": "argmax", "n": 1000}
        values = {label: score(label, subset, at) for label in listed}
        best = max(listed, key=lambda label: values[label])
        for i, label in enumerate(listed):
            others = {best, (label[0], FIRST[label[0]])} | (set(listed[:i]) if at == HERE else set())
            for metric in ("f1_macro", "f1_1") if subset == "rare_minor" else ("f1_macro",):
                row = base | {"imputer": label[0], "variant": label[1], "metric": metric}
                value = values[label]
                rows.append(row | {"versus": "", "value": value, "low": value - 0.02, "high": value + 0.02})
                for other in sorted(others - {label}):
                    value = values[label] - values[other]
                    versus = {"versus": "/".join(other), "value": value, "low": value - 0.01, "high": value + 0.01}
                    rows.append(row | versus)
            for genotype, count in enumerate((900, 90, 10)):
                truth = {"imputer": label[0], "variant": label[1], "metric": f"truth_{genotype}", "versus": ""}
                rows.append(base | truth | {"value": count, "low": np.nan, "high": np.nan})
    imputers = [
        {
            "dataset": "bulls", "imputer": imputer, "variant": variant, "status": "ok", "seconds_fit": 2.0, "seconds_impute": 0.5,
            "mask": ("random" if variant == "random" else "fixed") if imputer in NETWORKS else "",
            "inputs": ("visible" if variant == "inputs-visible" else "hidden") if imputer in NETWORKS else np.nan,
            "changed": "cluster=0.0001, phasings=3" if variant == "tuned" else "none",
            "seconds_study": 97.5 if variant in ("tuned", "fixed") else np.nan,
        }
        for imputer, variant in listed
    ]  # fmt: skip
    context = ReportContext(
        title="Reference",
        notes=[],
        datasets=[about("bulls", published_shape=True)],
        imputers=pd.DataFrame(imputers),
        primary_mechanism="nested",
        headline_level=60.0,
        versions={},
        mlflow_links={},
    )
    return pd.DataFrame(rows).sample(frac=1.0, random_state=1), context


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(*reference_run(), tmp_path_factory.mktemp("reference"))


@pytest.fixture(scope="module")
def sections(reference: Path) -> Tables:
    return Tables(reference.read_text(encoding="utf-8"))


def test_the_best_is_told_from_the_others_that_are_compared_with(sections: Tables) -> None:
    rows = sections.table(ALL)
    assert list(rows)[:3] == ["bert/fixed", "bert/random", "dense/fixed"]
    assert [rows[name]["Verdict"][0] for name in rows][:3] == ["best", "not told apart from the best", "worse"]
    assert rows["dense/random"][DIFFERENCE] == ("−0.100", "−0.110 to −0.090")


def test_nested_and_independent_masks(sections: Tables, reference: Path) -> None:
    levels = sections.table("dense: macro-F1 at each level")
    assert levels["10%"]["Nested: fixed − random"] == ("+0.050 ▲", "+0.040 to +0.060")
    assert levels["10%"]["Independent: fixed − random"] == ("−0.250 ▼", "−0.260 to −0.240")
    assert levels["80%"]["Independent: random"] == ("0.750", "0.730 to 0.770")
    assert sections.table("bert: macro-F1 at each level")["30%"]["Nested: fixed − random"][0] == "+0.002 ≈"
    caption = "Levels at which fixed training masks are better than random ones, by the paired difference in macro-F1"
    counts = {name: [cell[0] for cell in row.values()][1:] for name, row in sections.table(caption).items()}
    assert counts == {"dense": ["4", "0", "0", "0", "0", "4"], "bert": ["0", "4", "0", "0", "4", "0"]}
    ranges = sections.table("Macro-F1 by training and test masks")["dense/fixed"]
    assert [ranges[f"{mask}: below 60%"][0] for mask in ("Nested", "Independent")] == ["0.900", "0.600"]
    assert ranges["Nested: above 60%"][0] == "0.800"
    page = reference.read_text(encoding="utf-8")
    assert "at every one of these levels for dense/fixed; at none of them for bert/fixed." in page
    assert "So dense/fixed holds up below 60% only if masks are nested." in page
    assert "For bert/fixed nesting makes no visible difference." in page
    assert "the number of such levels, of 2, is 0 for dense/random and 0 for bert/random." in page


def test_visible_inputs(sections: Tables, reference: Path) -> None:
    row = sections.table("Inputs hidden and visible while learning, 60% missing")["dense/inputs-visible"]
    assert [row[f"Macro-F1: inputs {word}"][0] for word in ("hidden", "visible")] == ["0.900", "0.750"]
    assert row["Visible − hidden"] == ("−0.150 ▼", "−0.160 to −0.140")
    words = (
        "learning with the hidden genotypes visible in the input lowers macro-F1 of dense (−0.150, −0.160 to −0.140)."
    )
    assert words in reference.read_text(encoding="utf-8")
    levels = "Macro-F1 at each level, visible − hidden: whole sites, masks drawn independently"
    assert sections.table(levels)["dense/inputs-visible"]["10%"][0] == "+0.150 ▲"


def test_tuned_parameters(sections: Tables) -> None:
    row = sections.table("Tuned variants against beagle/default, 60% missing")["beagle/tuned"]
    assert row["Macro-F1: minus the default"] == ("+0.081 ▲", "+0.071 to +0.091")
    assert row["Parameters that differ from the program's defaults"][0] == "cluster=0.0001, phasings=3"
    levels = sections.table("Macro-F1 at each level, minus the default: whole sites, masks nested in each other")
    assert [levels["beagle/tuned"][level][0] for level in ("10%", "80%")] == ["+0.081 ▲", "+0.001 ≈"]


def cells_of(blocks: list[Any], caption: str) -> dict[str, dict[str, Cell]]:
    """Name of the row → name of the column → cell, of the table with this caption, folded or not."""
    for block in blocks:
        if isinstance(block, Table) and block.caption == caption:
            return {row[0].text: dict(zip(block.columns, row, strict=True)) for row in block.rows}
        if isinstance(block, Folded) and (found := cells_of(block.blocks, caption)):
            return found
    return {}


def test_rows_say_their_trials_and_few_trials_are_not_called_tuning() -> None:
    scores, context = reference_run()

    def with_trials(trials: float) -> Rows:
        column = [trials if variant == "tuned" else np.nan for variant in context.imputers["variant"]]
        return Rows(scores, replace(context, imputers=context.imputers.assign(trials=column)), "bulls")

    few = tuned_parameters(with_trials(9)).blocks
    assert [type(block) for block in few] == [Text] and few[0].kind == "caution"
    assert (
        few[0].text.startswith("Not compared with the default: beagle/tuned (9 trials).")
        and "fewer than 10" in few[0].text
    )
    caption = "Tuned variants against beagle/default, 60% missing"
    enough = tuned_parameters(with_trials(10)).blocks
    assert cells_of(enough, caption)["beagle/tuned"]["Variant"].detail == "10 trials"
    assert not any(isinstance(block, Text) and block.kind == "caution" for block in enough)
    names = {name: row["Imputer"].detail for name, row in cells_of(all_sites(with_trials(1)).blocks, ALL).items()}
    assert names["beagle/tuned"] == "1 trial" and names["beagle/default"] == ""


def test_own_data_has_no_published_ranking() -> None:
    scores, context = reference_run()
    rows = Rows(scores, context, "bulls")
    for shape, shown in ((True, True), (False, False)):
        own = about("bulls", published_shape=shape)
        assert bool(rank_change(rows, own)) == bool(beside_published(rows, own).blocks) == shown


def test_what_dosage_r2_is_taken_over_is_said(tables: Tables, folder: Path) -> None:
    page = (folder / "report.html").read_text()
    assert (
        page.count(
            "the mean over the 280 hidden sites of all masks that vary in the truth (left out, without variation: 20)"
        )
        == 4
    )
    assert "Centred dosage r²" in tables.table("Further measures at all sites, 60% missing")["bert/random"]


def test_an_older_table_s_pooled_r2_is_not_shown_as_r2_within_sites() -> None:
    """`dosage_r2` and `iqs` of tables made before were pooled over sites: other keys, so that no reader takes them for these."""
    scores, context = made_up()
    older = scores.assign(metric=scores["metric"].replace({"site_dosage_r2": "dosage_r2", "centred_iqs": "iqs"}))
    rows = Rows(older, context, "bulls")
    further = cells_of(all_sites(rows).blocks, "Further measures at all sites, 60% missing")["bert/random"]
    assert (
        further["Dosage r² within sites"].text == further["IQS"].text == "–"
        and further["Log-loss (nats)"].text == "0.079"
    )
    assert (
        cells_of(rare_sites(rows, context.datasets[0]).blocks, RARE)["bert/random"]["Dosage r² within sites"].text
        == "–"
    )


def test_order_of_the_published_models_on_all_and_on_rare_sites(sections: Tables, reference: Path) -> None:
    order = sections.table("Order of the published models on all and on rare sites, 60% missing")
    assert order["All sites, macro-F1"]["Published"][0] == "BERT > Dense > Beagle"
    assert order["All sites, macro-F1"]["Here"][0] == "bert/fixed > dense/fixed > beagle/default"
    rare = order["Rare sites, macro-F1 as published"]
    assert rare["Published"][0] == "BERT > Beagle > Dense"
    assert rare["Here"][0] == "bert/fixed ≈ beagle/default > dense/fixed"
    words = "dense/fixed (−0.249, −0.259 to −0.239) worse than beagle/default; "
    words += "bert/fixed (+0.001, −0.009 to +0.011) not told apart from beagle/default."
    page = reference.read_text(encoding="utf-8")
    assert f"Rare sites, macro-F1 as published: {words}" in page
    minus = sections.table("Networks minus Beagle: macro-F1, all sites, 60% missing")
    assert list(minus) == ["bert/fixed", "bert/random", "dense/fixed", "dense/random"]
    assert minus["dense/fixed"]["Published"][0] == "+0.040"
    assert minus["dense/fixed"]["minus beagle/default"] == ("+0.100 ▲", "+0.090 to +0.110")
    assert minus["dense/random"]["minus beagle/tuned"][0] == "−0.031 ▼"
    heterozygotes = "Networks minus Beagle: F1 of heterozygotes, rare sites, minor-allele coding, 60% missing"
    assert "Published" not in sections.table(heterozygotes)["dense/fixed"]


def test_accuracy_against_seconds(reference: Path) -> None:
    page = reference.read_text(encoding="utf-8")
    plots = json.loads(page.split('<script type="application/json" id="plots">')[1].split("</script>")[0])
    impute, fit, study = ({trace["meta"]: trace["x"] for trace in plots[f"d1-cost-{i}"]["data"]} for i in range(3))
    assert impute["dense/fixed"] == impute["dense/random"] == [0.5]
    assert fit["dense/fixed"] == fit["dense/random"] == [2.0]
    assert study["dense/fixed"] == [100.0] and study["dense/random"] == [2.5]
    assert plots["d1-cost-0"]["layout"]["xaxis"]["type"] == "log"


def test_the_figure_of_masks_has_a_panel_for_each_network(reference: Path) -> None:
    page = reference.read_text(encoding="utf-8")
    plots = json.loads(page.split('<script type="application/json" id="plots">')[1].split("</script>")[0])
    panels = [plots[f"d1-masks-{i}"] for i in (0, 1)]
    assert [panel["layout"]["title"]["text"] for panel in panels] == list(NETWORKS)
    assert panels[0]["layout"]["yaxis"]["range"] == panels[1]["layout"]["yaxis"]["range"]
    lines = {trace["meta"]: trace["y"] for trace in panels[0]["data"] if trace["mode"] == "lines+markers"}
    assert lines["fixed training masks, nested test masks"] == [0.9, 0.9, 0.9, 0.8]
    assert lines["fixed training masks, independent test masks"] == [0.6, 0.6, 0.6, 0.5]
    assert len(lines) == 4
    assert (reference.parent / "masks-bulls.png").read_bytes().startswith(b"\x89PNG")


def test_comparison_table_for_the_terminal() -> None:
    scores, context = made_up()
    table = comparison_table(scores, context, "bulls").set_index("imputer")
    assert table.loc["bert/random", ["f1_macro", "verdict", "rare f1_1", "fit"]].tolist() == [
        "0.921", "best", "0.571", "1 h 02 min",
    ]  # fmt: skip
    assert table.loc["dense/fixed", "verdict"] == f"failed: {WHY_FAILED}"
    assert "nan" not in table.to_string().lower()


# ---------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=str(CHROMIUM), args=CHROMIUM_ARGS)
        yield chromium
        chromium.close()


def test_a_browser_opens_it_offline_and_draws_the_scores_of_the_table(browser: Any, folder: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto((folder / "report.html").as_uri())
    for mechanism, name in enumerate(
        ("Whole sites, masks drawn independently", "Whole sites, masks nested in each other")
    ):
        page.select_option("#d1-mechanism > label > select", label=name)
        plot = page.locator(f"#d1-robustness-{mechanism}-0")
        plot.scroll_into_view_if_needed()
        plot.locator(".xtitle").wait_for()
        traces = plot.evaluate("plot => plot.data.map(({meta, mode, x, y, visible}) => ({meta, mode, x, y, visible}))")
        lines = {trace["meta"]: trace for trace in traces if trace["mode"] == "lines+markers"}
        assert set(lines) == {"/".join(imputer) for imputer in QUALITY}
        for imputer in QUALITY:
            line = lines["/".join(imputer)]
            assert line["x"] == list(LEVELS)
            assert line["y"] == [quality(imputer, level) for level in LEVELS]
            assert line["visible"] is (imputer != MODE)
    band = next(trace for trace in traces if trace["mode"] == "lines" and trace["meta"] == "bert/random")
    low, high = quality(BEST, 10.0) - 0.01, quality(BEST, 10.0) + 0.01
    assert (min(band["y"][0], band["y"][-1]), max(band["y"][0], band["y"][-1])) == pytest.approx((low, high))
    assert plot.locator(".xtitle").text_content() == "Missing genotype calls (%)"
    page.locator(".plots:visible .legend button", has_text="mode/default").first.click()
    shown = plot.evaluate(
        "plot => plot.data.filter(trace => trace.meta === 'mode/default').map(trace => trace.visible)"
    )
    assert shown and all(shown)
    assert not complaints
    assert requests == [(folder / "report.html").as_uri()]


@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_scrolls_sideways_and_dark_pages_are_dark(browser: Any, folder: Path, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme="dark")
    page.goto((folder / "report.html").as_uri())
    for key in ("d1-robustness-0-0", "d1-groups-f1_macro-0", "d1-chromosome-0", "d1-calibration-0"):
        page.locator(f"#{key}").scroll_into_view_if_needed()
        page.locator(f"#{key} .xtitle").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    # the text of the figures is light too
    assert (
        json.loads(page.evaluate("JSON.stringify(document.querySelector('#d1-calibration-0').layout.font.color)"))
        == "#e6e9ed"
    )
