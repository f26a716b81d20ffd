"""Draws the tidy table of scores: one self-contained HTML page, with Markdown, figures and CSV beside it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from snpimpute.runtime import written_beside

ABSENT = "–"
FEW_HOMOZYGOTES = 50  # below this many minor homozygotes macro-F1 at rare sites hangs on single calls
N_WORST = 10
FAR_BELOW = 0.75  # an imputer never above this share of the best one's lowest score is not drawn at first
N_SHOWN = 2  # imputers drawn at first where each has hundreds of points
BEST, TIED, WORSE = "best", "not told apart from the best", "worse"
KINDS = {BEST: "best", TIED: "tie", WORSE: "worse"}
BINNED = ("maf:", "confidence:")  # subsets that are named by the bounds of a bin
PUBLISHED = "published (Zawadzka, Szyda, Frąszczak), other data"
# F1 micro, macro, 0, 1, 2 and parameters at 60% of the sites hidden
PUBLISHED_ALL: dict[str, tuple[float | None, ...]] = {
    "BERT": (0.917, 0.868, 0.953, 0.811, 0.840, 1_779_976),
    "DenseEmb": (0.906, 0.853, 0.946, 0.777, 0.835, 3_166_748),
    "Dense": (0.909, 0.847, 0.950, 0.782, 0.810, 3_133_948),
    "CAE": (0.906, 0.838, 0.949, 0.757, 0.809, 73_035_868),
    "Beagle": (0.897, 0.807, 0.948, 0.676, 0.797, None),
}
PUBLISHED_RARE: dict[str, tuple[float | None, ...]] = {
    "BERT": (0.954, 0.563, 0.976, 0.541, 0.173),
    "Beagle": (0.971, 0.556, 0.986, 0.533, 0.148),
    "Dense": (0.966, 0.490, 0.983, 0.421, 0.066),
    "DenseEmb": (0.965, 0.450, 0.982, 0.369, 0.0),
    "CAE": (0.961, 0.356, 0.980, 0.088, 0.0),
}
PUBLISHED_LEVEL = 60.0
F1_METRICS = ("f1_micro", "f1_macro", "f1_0", "f1_1", "f1_2")
METRIC_NAMES = {"f1_macro": "macro-F1", "f1_1": "F1 of heterozygotes", "dosage_r2": "dosage r²"}
MECHANISM_NAMES = {
    "independent": "whole sites, masks drawn independently",
    "nested": "whole sites, masks nested in each other",
    "file": "sites listed in a file",
}
# Okabe–Ito without yellow (not seen on white) and with grey for black (not seen on a dark page)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#808080")


# ---------------------------------------------------------------------- what the caller gives


@dataclass(frozen=True, eq=False)
class DatasetAbout:
    """What the report says of a dataset beside its scores.

    Attributes:
        name: as in the column `dataset` of the scores.
        digest: of the prepared dataset's content.
        description: where the genotypes come from, in a sentence.
        n_train: samples to learn from; n_validation: those of them held out in studies; n_test: samples scored.
        n_sites: sites kept.
        published_shape: whether the published numbers may stand beside these.
        left_out: columns `reason`, `n`: sites read, removed by each filter, kept.
        sites: columns `site` (as in the subsets `site:…`), `contig`, `pos` (1-based), `maf_test`, `maf_panel`.
        genotype_shares: shares of genotypes 0, 1, 2, as text.
    """

    name: str
    digest: str
    description: str
    n_train: int
    n_validation: int
    n_test: int
    n_sites: int
    published_shape: bool
    left_out: pd.DataFrame
    sites: pd.DataFrame
    genotype_shares: str


@dataclass(frozen=True, eq=False)
class ReportContext:
    """What the report says beside the scores.

    Attributes:
        title: of the page.
        notes: shown first, prominently (small budgets belong here).
        datasets: one section each, in this order.
        imputers: a row per dataset, imputer and variant: `dataset, imputer, variant, mask, framework, parameters,
            seconds_fit, seconds_impute, memory_mb, trials, trials_failed, study_ended_by, samples_fit, val_f1_macro,
            status` ("ok" or why it failed) and `params` (text).
        primary_mechanism: how the calls of the headline tables were hidden.
        headline_level: percent missing in the headline tables.
        versions: program → version.
        mlflow_links: dataset → address of the page of the MLflow UI that compares its runs (http or https).
    """

    title: str
    notes: list[str]
    datasets: list[DatasetAbout]
    imputers: pd.DataFrame
    primary_mechanism: str
    headline_level: float
    versions: dict[str, str]
    mlflow_links: dict[str, str]


def write_report(scores: pd.DataFrame, context: ReportContext, folder: Path) -> Path:
    """Write report.html, report.md, scores.csv, imputers.csv and the figures of the Markdown as PNG into `folder`.

    Each file is written beside its place and renamed, report.html last; other files in `folder` are left alone.

    Args:
        scores: the tidy table; see `snpimpute.evaluation`.
        context: what is said beside the scores.
        folder: made if it is not there.

    Returns:
        Path of report.html.

    Raises:
        InputError: `folder` is full.
        ValueError: two rows of `scores` have the same key.
    """
    folder = Path(folder)
    styles = _styles(scores, context)
    chapters = [_chapter(scores, context, about, styles, number) for number, about in enumerate(context.datasets, 1)]
    _write(folder / "scores.csv", scores.to_csv(index=False))
    _write(folder / "imputers.csv", context.imputers.to_csv(index=False))
    for chapter in chapters:
        for figure in chapter.figures():
            with written_beside(folder / figure.png) as beside:
                _draw_png(figure, beside)
    _write(folder / "report.md", _markdown(context, chapters))
    page = folder / "report.html"
    _write(page, _html(context, chapters))
    return page


def comparison_table(scores: pd.DataFrame, context: ReportContext, dataset: str) -> pd.DataFrame:
    """The headline table of one dataset as text, best first: a row per imputer and variant, "–" where nothing is known."""
    rows = _Rows(scores, context, dataset)
    table = []
    for label in rows.ranked:
        verdict, _ = rows.verdict(label, "all", "f1_macro")
        about = rows.about(label)
        table.append(
            {
                "imputer": label,
                **{metric: _number(rows.value(label, "all", metric)) for metric in F1_METRICS},
                "95% interval (macro)": _interval(rows.get(label, "all", "f1_macro")) or ABSENT,
                "verdict": _verdict_or_failure(rows, label, verdict),
                "rare f1_1": _number(rows.value(label, "rare_minor", "f1_1")),
                "parameters": _count(about.get("parameters")),
                "fit": _duration(about.get("seconds_fit")),
                "impute": _duration(about.get("seconds_impute")),
            }
        )
    return pd.DataFrame(table)


def _write(path: Path, text: str) -> None:
    with written_beside(path) as beside:
        beside.write_text(text, encoding="utf-8")


# ---------------------------------------------------------------------- rows of the tidy table

Scenario = tuple[str, float]  # mechanism, percent missing
_Key = tuple[Scenario, str, str]  # scenario, subset, metric


@dataclass(frozen=True)
class _Score:
    value: float
    low: float
    high: float
    n: float


class _Rows:
    """The test scores of one dataset, pooled over masks, found by key; at the headline scenario unless told another."""

    def __init__(self, scores: pd.DataFrame, context: ReportContext, dataset: str) -> None:
        self.headline: Scenario = (context.primary_mechanism, float(context.headline_level))
        self.missing = f"{context.headline_level:g}% missing"
        self._values: dict[_Key, dict[str, _Score]] = {}
        self._differences: dict[_Key, dict[str, _Score]] = {}
        self._reference: dict[_Key, str] = {}
        kept = (scores["dataset"] == dataset) & (scores["split"] == "test") & (scores["decision"] == "argmax")
        table = scores[kept & (scores["repeat"].astype(str) == "all")]
        columns = (
            "imputer",
            "variant",
            "mechanism",
            "level",
            "subset",
            "metric",
            "versus",
            "value",
            "low",
            "high",
            "n",
        )
        for row in zip(*(table[column] for column in columns), strict=True):
            imputer, variant, mechanism, level, subset, metric, versus, *numbers = row
            key, label = ((mechanism, float(level)), subset, metric), _label(imputer, variant)
            compared = not pd.isna(versus) and versus != ""
            if compared:
                self._reference[key] = versus
            place = (self._differences if compared else self._values).setdefault(key, {})
            if label in place:
                raise ValueError(f"scores hold two rows for {label} on {dataset}: {key}")
            place[label] = _Score(*(float(number) for number in numbers))
        chosen = context.imputers[context.imputers["dataset"] == dataset]
        self._about = {_label(row["imputer"], row["variant"]): row for _, row in chosen.iterrows()}
        known = dict.fromkeys([*self._about, *(label for found in self._values.values() for label in found)])
        self.ranked = sorted(known, key=lambda label: -np.nan_to_num(self.value(label, "all", "f1_macro"), nan=-1.0))

    def about(self, label: str) -> pd.Series:
        """The imputer's row of the context; empty if it has none."""
        return self._about.get(label, pd.Series(dtype=object))

    def failure(self, label: str) -> str:
        """Why an imputer has no scores; empty if it has."""
        status = self.about(label).get("status", "ok")
        return "" if status == "ok" else str(status)

    def get(self, label: str, subset: str, metric: str, scenario: Scenario | None = None) -> _Score | None:
        return self._values.get((scenario or self.headline, subset, metric), {}).get(label)

    def value(self, label: str, subset: str, metric: str, scenario: Scenario | None = None) -> float:
        found = self.get(label, subset, metric, scenario)
        return np.nan if found is None else found.value

    def best(self, subset: str, metric: str, scenario: Scenario | None = None) -> str | None:
        """The imputer that the others are compared to; without differences the one with the highest value."""
        key = (scenario or self.headline, subset, metric)
        values = {label: score.value for label, score in self._values.get(key, {}).items() if _known(score.value)}
        return self._reference.get(key) or max(values, key=lambda label: values[label], default=None)

    def verdict(
        self, label: str, subset: str, metric: str, scenario: Scenario | None = None
    ) -> tuple[str, _Score | None]:
        """What the interval of the difference to the best allows to say, and the difference itself."""
        if label == self.best(subset, metric, scenario):
            return BEST, None
        found = self._differences.get((scenario or self.headline, subset, metric), {}).get(label)
        if found is None or not _known(found.value):
            return ABSENT, None
        if not _interval(found):
            return "no interval", found
        return WORSE if found.high < 0 else TIED, found

    def mechanisms(self) -> list[str]:
        """Mechanisms scored over all sites, the primary one first."""
        found = dict.fromkeys(scenario[0] for scenario, *rest in self._values if rest == ["all", "f1_macro"])
        return sorted(found, key=lambda mechanism: mechanism != self.headline[0])

    def scenarios(self, mechanism: str, subset: str, metric: str) -> list[Scenario]:
        """Scenarios of a mechanism in which a metric was scored, by level."""
        return sorted(key[0] for key in self._values if (key[0][0], *key[1:]) == (mechanism, subset, metric))

    def subsets(self, prefix: str, metric: str) -> list[str]:
        """Names, without the prefix, of the headline's subsets that begin with it; bins by their lower bound."""
        found = [key[1] for key in self._values if key[0] == self.headline and key[2] == metric]
        names = [subset.removeprefix(prefix) for subset in found if subset.startswith(prefix)]
        return sorted(names, key=lambda name: float(name.split("-")[0])) if prefix in BINNED else names


def _label(imputer: str, variant: str) -> str:
    return f"{imputer}/{variant}" if variant else imputer


# ---------------------------------------------------------------------- the report as a tree, drawn twice


@dataclass(frozen=True)
class Cell:
    """A cell of a table: `detail` stands small below `text`; `kind` is its look."""

    text: str
    detail: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Text:
    """A paragraph; kind "caution" or "how" (how to read the figure above) or ""."""

    text: str
    kind: str = ""
    type: ClassVar[str] = "text"


@dataclass(frozen=True)
class Table:
    """A table; its first column names the row. A row of one cell is a heading."""

    caption: str
    columns: list[str]
    rows: list[list[Cell]]
    type: ClassVar[str] = "table"


@dataclass(frozen=True)
class Confusion:
    """Calls by true (row) and called (column) genotype, a square per imputer: label → 3 × 3 counts."""

    counts: dict[str, list[list[float]]]
    type: ClassVar[str] = "confusion"


@dataclass(frozen=True)
class Style:
    """How an imputer's variant looks in every figure: colour by imputer, dash and symbol by variant."""

    colour: str
    dash: int

    PLOTLY_DASH: ClassVar[tuple[str, ...]] = ("solid", "dash", "dot", "dashdot", "longdash")
    PLOTLY_SYMBOL: ClassVar[tuple[str, ...]] = ("circle", "square", "diamond", "triangle-up", "x")
    PNG_DASH: ClassVar[tuple[Any, ...]] = ("-", "--", ":", "-.", (0, (9, 3)))
    PNG_SYMBOL: ClassVar[tuple[str, ...]] = ("o", "s", "D", "^", "X")
    SVG_DASH: ClassVar[tuple[str, ...]] = ("none", "6 3", "2 2", "6 2 2 2", "9 3")
    SVG_SYMBOL: ClassVar[tuple[str, ...]] = (
        "M14 2.5a3.5 3.5 0 1 0 .01 0z",
        "M11 3h6v6h-6z",
        "M14 1.5l4.5 4.5-4.5 4.5-4.5-4.5z",
        "M14 1.5l4.2 8h-8.4z",
        "M10.5 4l1.5-1.5 2 2 2-2 1.5 1.5-2 2 2 2-1.5 1.5-2-2-2 2-1.5-1.5 2-2z",
    )


@dataclass(frozen=True)
class Point:
    """A score at `x`, with its interval (NaN where there is none) and what is said when it is pointed at."""

    x: Any
    y: float
    low: float
    high: float
    hover: str


@dataclass(frozen=True)
class Line:
    """One imputer in a panel."""

    label: str
    style: Style
    points: list[Point]
    shown: bool = True
    lower: bool = False


@dataclass(frozen=True)
class Panel:
    """One pair of axes: a curve with a band if x is a number, points with bars if it is one of `categories`.

    With `lower_title`, lines marked `lower` are drawn in axes of their own below, on the same x.
    """

    title: str
    x_title: str
    y_title: str
    lines: list[Line]
    categories: list[str] = field(default_factory=list)
    diagonal: bool = False
    joined: bool = True
    lower_title: str = ""

    def places(self, line: Line) -> list[float]:
        """Where on the x axis the points of a line lie: within a category each line has a place of its own."""
        if not self.categories:
            return [point.x for point in line.points]
        aside = 0.65 * ((self.lines.index(line) + 0.5) / len(self.lines) - 0.5)
        return [self.categories.index(point.x) + aside for point in line.points]


@dataclass(frozen=True)
class Figure:
    """Panels that share one legend; `key` is unique in the report."""

    key: str
    png: str
    alt: str
    how: str
    panels: list[Panel]
    type: ClassVar[str] = "figure"

    @property
    def legend(self) -> dict[str, Line]:
        """The first line of each label, in the order drawn."""
        found: dict[str, Line] = {}
        for panel in self.panels:
            for line in panel.lines:
                found.setdefault(line.label, line)
        return found


@dataclass(frozen=True)
class Switch:
    """Alternatives of which the page shows one at a time: name → blocks."""

    key: str
    name: str
    options: dict[str, list[Block]]
    type: ClassVar[str] = "switch"


Block = Text | Table | Confusion | Figure | Switch


@dataclass(frozen=True)
class Section:
    key: str
    title: str
    blocks: list[Block]


@dataclass(frozen=True, eq=False)
class Chapter:
    """All that is said of one dataset."""

    key: str
    about: DatasetAbout
    summary: list[str]
    best: str
    sections: list[Section]

    def figures(self) -> list[Figure]:
        return [figure for section in self.sections for figure in _figures(section.blocks)]


def _figures(blocks: Iterable[Block]) -> list[Figure]:
    found: list[Figure] = []
    for block in blocks:
        if isinstance(block, Figure):
            found.append(block)
        elif isinstance(block, Switch):
            for inner in block.options.values():
                found.extend(_figures(inner))
    return found


def _styles(scores: pd.DataFrame, context: ReportContext) -> dict[str, Style]:
    """A look for every imputer and variant, the same in all datasets."""
    both = pd.concat([context.imputers[["imputer", "variant"]], scores[["imputer", "variant"]]]).drop_duplicates()
    styles: dict[str, Style] = {}
    for i, (imputer, variants) in enumerate(both.groupby("imputer", sort=False)["variant"]):
        for j, variant in enumerate(variants):
            dash = (j + i // len(COLOURS)) % len(Style.PLOTLY_DASH)
            styles[_label(str(imputer), variant)] = Style(COLOURS[i % len(COLOURS)], dash)
    return styles


# ---------------------------------------------------------------------- the sections of a dataset


def _chapter(
    scores: pd.DataFrame, context: ReportContext, about: DatasetAbout, styles: dict[str, Style], number: int
) -> Chapter:
    rows = _Rows(scores, context, about.name)
    key = f"d{number}"
    slug = _slug(about.name)
    if sum(_slug(other.name) == slug for other in context.datasets) > 1:
        slug = f"{slug}-{number}"
    sections = [
        _all_sites(rows, about),
        _rare_sites(rows, about),
        _robustness(rows, styles, key, slug),
        _confusions(rows),
        _by_group(rows, styles, key, slug),
        _along_chromosome(rows, about, styles, key, slug),
        _calibration(rows, styles, key, slug),
        _worst_samples(rows),
        _true_genotypes(rows),
        _imputers(rows),
    ]
    return Chapter(
        key, about, _summary(rows), rows.best("all", "f1_macro") or ABSENT, [s for s in sections if s.blocks]
    )


def _summary(rows: _Rows) -> list[str]:
    """What the headline tables come to, in a sentence each."""
    sentences = []
    for subset, metric, where in (
        ("all", "f1_macro", "All sites"),
        ("rare_minor", "f1_1", "Rare sites, minor-allele coding"),
    ):
        best = rows.best(subset, metric)
        if best is None:
            continue
        score = rows.get(best, subset, metric)
        verdicts = {label: rows.verdict(label, subset, metric)[0] for label in rows.ranked if not rows.failure(label)}
        tied = [label for label, verdict in verdicts.items() if verdict == TIED]
        text = f"{where}, {rows.missing}: {best} reaches {METRIC_NAMES[metric]} {_number(score and score.value)}"
        text += f" (95% interval {spread})" if (spread := _interval(score)) else ""
        if tied:
            text += f"; not told apart from it: {', '.join(tied)}"
        elif WORSE in verdicts.values():
            text += "; all others are worse" if set(verdicts.values()) == {BEST, WORSE} else ""
        sentences.append(text + ".")
    return sentences


def _slug(name: str) -> str:
    """A name as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower() or "unnamed"


def _name(label: str) -> Cell:
    return Cell(label, kind="name")


def _difference(rows: _Rows, label: str, subset: str, metric: str) -> list[Cell]:
    """Two cells: the difference to the best with its interval, and the verdict."""
    verdict, found = rows.verdict(label, subset, metric)
    word = _verdict_or_failure(rows, label, verdict)
    kind = "failed" if rows.failure(label) else KINDS.get(verdict, "")
    return [Cell(_signed(found), _interval(found, signed=True)), Cell(word, kind=kind)]


def _verdict_or_failure(rows: _Rows, label: str, verdict: str) -> str:
    reason = rows.failure(label)
    return f"failed: {reason}" if reason else verdict


def _with_interval(score: _Score | None) -> Cell:
    return Cell(_number(score and score.value), _interval(score))


def _f1_cells(rows: _Rows, label: str, subset: str) -> list[Cell]:
    return [
        _with_interval(rows.get(label, subset, metric))
        if metric == "f1_macro"
        else Cell(_number(rows.value(label, subset, metric)))
        for metric in F1_METRICS
    ]


def _published_rows(table: dict[str, tuple[float | None, ...]], width: int) -> list[list[Cell]]:
    """A heading and the published rows for a table of `width` columns; parameters stand in its ninth."""
    rows = [[Cell(PUBLISHED, kind="heading")]]
    for model, values in table.items():
        cells = [Cell(f"{model} (published)", kind="published"), *(Cell(_number(value)) for value in values[:5])]
        cells += [Cell(ABSENT)] * (width - len(cells))
        if len(values) > 5:
            cells[8] = Cell(_count(values[5]))
        rows.append(cells)
    return rows


def _shows_published(rows: _Rows, about: DatasetAbout) -> bool:
    return about.published_shape and rows.headline[1] == PUBLISHED_LEVEL


def _all_sites(rows: _Rows, about: DatasetAbout) -> Section:
    table = []
    further = []
    for label in rows.ranked:
        meta = rows.about(label)
        table.append(
            [
                _name(label),
                *_f1_cells(rows, label, "all"),
                *_difference(rows, label, "all", "f1_macro"),
                Cell(_count(meta.get("parameters"))),
                Cell(_duration(meta.get("seconds_fit"))),
                Cell(_duration(meta.get("seconds_impute"))),
                Cell(_memory(meta.get("memory_mb"))),
                Cell(_count(meta.get("trials"))),
                Cell(_count(meta.get("samples_fit"))),
            ]
        )
        scored = rows.get(label, "all", "wrong")
        further.append(
            [
                _name(label),
                Cell(_count(scored and scored.value)),
                Cell(_count(scored and scored.n)),
                _with_interval(rows.get(label, "all", "dosage_r2")),
                *(Cell(_number(rows.value(label, "all", metric))) for metric in ("iqs", "log_loss", "ece")),
            ]
        )
    columns = ["Imputer", "F1 micro", "F1 macro", "F1 0", "F1 1", "F1 2", "F1 macro: difference to the best", "Verdict"]
    columns += ["Parameters", "Time to fit", "Time to impute", "Peak memory", "Trials", "Samples learned from"]
    if _shows_published(rows, about):
        table += _published_rows(PUBLISHED_ALL, len(columns))
    return Section(
        "all",
        "All sites",
        [
            Table(f"F1 at the hidden calls of all sites, {rows.missing}", columns, table),
            Text(
                "F1 0, 1, 2: F1 of genotypes with no, one and two alternate alleles; macro: their mean; micro: share of "
                "correct calls. Small figures are 95% intervals. “Worse” is said only where the interval of the paired "
                "difference lies wholly below zero.",
                "how",
            ),
            Table(
                f"Further measures at all sites, {rows.missing}",
                ["Imputer", "Wrong calls", "Calls scored", "Dosage r²", "IQS", "Log-loss (nats)", "Calibration error"],
                further,
            ),
        ],
    )


def _rare_sites(rows: _Rows, about: DatasetAbout) -> Section:
    counts = {
        subset: [_first(rows, subset, f"truth_{genotype}") for genotype in (0, 1, 2)]
        for subset in ("rare", "rare_minor")
    }
    if all(value is None for values in counts.values() for value in values):
        return Section("rare", "Rare sites", [])
    table = []
    for label in rows.ranked:
        table.append(
            [
                _name(label),
                *_f1_cells(rows, label, "rare"),
                *_difference(rows, label, "rare", "f1_macro"),
                _with_interval(rows.get(label, "rare_minor", "f1_1")),
                _with_interval(rows.get(label, "rare_minor", "dosage_r2")),
                *_difference(rows, label, "rare_minor", "f1_1"),
            ]
        )
    columns = ["Imputer", "F1 micro", "F1 macro", "F1 0", "F1 1", "F1 2", "F1 macro: difference to the best", "Verdict"]
    columns += ["Minor coding: F1 of heterozygotes", "Minor coding: dosage r²"]
    columns += ["Heterozygotes: difference to the best", "Heterozygotes: verdict"]
    if _shows_published(rows, about):
        table += _published_rows(PUBLISHED_RARE, len(columns))
    blocks: list[Block] = []
    minor_homozygotes = counts["rare_minor"][2]
    if minor_homozygotes is not None and minor_homozygotes < FEW_HOMOZYGOTES:
        blocks.append(
            Text(
                f"Minor homozygotes scored here: {_count(minor_homozygotes)}, fewer than {FEW_HOMOZYGOTES}: "
                "macro-F1 of rare sites is not to be relied on. Go by the F1 of heterozygotes and dosage r² in "
                "minor-allele coding.",
                "caution",
            )
        )
    blocks += [
        Table(f"F1 at the hidden calls of rare sites (test MAF < 0.05), {rows.missing}", columns, table),
        Table(
            "True genotypes scored at rare sites",
            ["Coding", "0", "1", "2"],
            [
                [Cell("alternate allele counted"), *(Cell(_count(value)) for value in counts["rare"])],
                [Cell("minor allele counted"), *(Cell(_count(value)) for value in counts["rare_minor"])],
            ],
        ),
        Text(
            "F1 0, 1, 2 count the alternate allele, as published: at a site where it is the common one, 2 is the common "
            "genotype. Minor coding counts the rarer allele at every site; dosage r² is pooled over sites.",
            "how",
        ),
    ]
    return Section("rare", "Rare sites", blocks)


def _first(rows: _Rows, subset: str, metric: str) -> float | None:
    """The value of a count that is the same for every imputer (those of the truth)."""
    found = (rows.value(label, subset, metric) for label in rows.ranked)
    return next((value for value in found if value == value), None)


def _lines(rows: _Rows, styles: dict[str, Style], points: Callable[[str], Iterable[Point | None]]) -> list[Line]:
    """A line for every imputer that has a point with a value."""
    found = {label: [p for p in points(label) if p is not None and _known(p.y)] for label in rows.ranked}
    return [Line(label, styles[label], drawn) for label, drawn in found.items() if drawn]


def _point(x: Any, score: _Score | None, label: str, where: str, name: str) -> Point | None:
    if score is None:
        return None
    spread = f" ({_interval(score)})" if _interval(score) else ""
    hover = f"{label}\n{where}\n{name} {_number(score.value)}{spread}\n{_count(score.n)} calls"
    return Point(x, score.value, score.low, score.high, hover)


def _robustness(rows: _Rows, styles: dict[str, Style], key: str, slug: str) -> Section:
    options: dict[str, list[Block]] = {}
    for mechanism in rows.mechanisms():
        panels = []
        for subset, metric, title in (
            ("all", "f1_macro", "All sites"),
            ("rare", "f1_macro", "Rare sites, as published"),
            ("rare_minor", "f1_1", "Rare sites, minor-allele coding"),
        ):
            name = METRIC_NAMES[metric]

            def points(label: str, subset: str = subset, metric: str = metric, name: str = name) -> list[Point | None]:
                return [
                    _point(at[1], rows.get(label, subset, metric, at), label, f"{at[1]:g}% missing", name)
                    for at in rows.scenarios(mechanism, subset, metric)  # noqa: B023 (called within this turn)
                ]

            if lines := _lines(rows, styles, points):
                panels.append(Panel(title, "Missing genotype calls (%)", f"{_capital(name)} (0 to 1)", lines))
        if not panels:
            continue
        panels, below = _without_far_below(panels)
        name = MECHANISM_NAMES.get(mechanism, mechanism)
        figure = Figure(
            f"{key}-robustness-{len(options)}",
            f"robustness-{slug}-{_slug(mechanism)}.png",
            f"Accuracy against percent missing: {name}",
            f"A line that stays high to the right withstands missing calls; bands are 95% intervals.{below}",
            panels,
        )
        tables = [_by_level(rows, mechanism, "all", "all sites"), _by_level(rows, mechanism, "rare", "rare sites")]
        marks = Text("≈ not told apart from the best (the interval holds zero); ▼ worse than the best.", "how")
        options[_capital(name)] = [figure, *(table for table in tables if len(table.columns) > 1), marks]
    blocks: list[Block] = [Switch(f"{key}-mechanism", "How calls are hidden", options)] if options else []
    return Section("robustness", "Robustness to missing calls", blocks)


def _without_far_below(panels: list[Panel]) -> tuple[list[Panel], str]:
    """The panels with those lines hidden that would press the others together (by the first panel), and a word on it."""
    best, *others = panels[0].lines
    floor = FAR_BELOW * min(point.y for point in best.points)
    below = [line.label for line in others if max(point.y for point in line.points) < floor]
    drawn = [
        replace(panel, lines=[replace(line, shown=line.label not in below) for line in panel.lines]) for panel in panels
    ]
    return drawn, f" Far below, and not drawn at first: {', '.join(below)}." if below else ""


def _by_level(rows: _Rows, mechanism: str, subset: str, where: str) -> Table:
    marks = {WORSE: " ▼", TIED: " ≈"}
    scenarios = rows.scenarios(mechanism, subset, "f1_macro")
    table = []
    for label in rows.ranked:
        cells = [_name(label)]
        for scenario in scenarios:
            verdict, found = rows.verdict(label, subset, "f1_macro", scenario)
            if verdict == BEST:
                cells.append(Cell(BEST, _number(rows.value(label, subset, "f1_macro", scenario)), KINDS[BEST]))
            else:
                text = _signed(found) + marks.get(verdict, "")
                cells.append(Cell(text, _interval(found, signed=True), "mark-" + KINDS.get(verdict, "none")))
        table.append(cells)
    levels = [f"{level:g}%" for _, level in scenarios]
    return Table(f"Macro-F1: difference to the best at each level, {where}", ["Imputer", *levels], table)


def _confusions(rows: _Rows) -> Section:
    counts = {}
    for label in rows.ranked:
        square = [[rows.value(label, "all", f"confusion_{true}{called}") for called in range(3)] for true in range(3)]
        if not np.isnan(square).any():
            counts[label] = square
    how = "Rows: true genotype; columns: genotype called; percentages are of the row. Wrong calls lie off the diagonal."
    blocks: list[Block] = [Confusion(counts), Text(how, "how")] if counts else []
    return Section("confusion", f"Which genotypes are confused ({rows.missing})", blocks)


def _by_group(rows: _Rows, styles: dict[str, Style], key: str, slug: str) -> Section:
    options: dict[str, list[Block]] = {}
    for metric, name in METRIC_NAMES.items():
        panels = []
        for prefix, title, x_title in (
            ("maf:", "By minor allele frequency", "Minor allele frequency in the test samples"),
            ("group:", "By group of samples", "Group of the test samples"),
        ):
            ticks = {}
            for subset in rows.subsets(prefix, metric):
                calls = next(s.n for label in rows.ranked if (s := rows.get(label, prefix + subset, metric)))
                words = subset.replace("-", "–") if prefix in BINNED else subset
                ticks[subset] = f"{words}\n{_count(calls)} calls"

            def points(
                label: str, prefix: str = prefix, metric: str = metric, name: str = name, ticks: dict[str, str] = ticks
            ) -> list[Point | None]:
                return [
                    _point(tick, rows.get(label, prefix + subset, metric), label, tick.split("\n")[0], name)
                    for subset, tick in ticks.items()
                ]

            if lines := _lines(rows, styles, points):
                panels.append(Panel(title, x_title, f"{_capital(name)} (0 to 1)", lines, list(ticks.values())))
        if panels:
            panels, below = _without_far_below(panels)
            figure = Figure(
                f"{key}-groups-{metric}",
                f"groups-{slug}-{_slug(metric)}.png",
                f"{_capital(name)} by minor allele frequency and group",
                f"In each bin a point per imputer; bars are 95% intervals, long where calls are few.{below}",
                panels,
            )
            options[_capital(name)] = [figure]
    blocks: list[Block] = [Switch(f"{key}-group-metric", "Score", options)] if options else []
    return Section("groups", f"By allele frequency and group ({rows.missing})", blocks)


def _along_chromosome(rows: _Rows, about: DatasetAbout, styles: dict[str, Style], key: str, slug: str) -> Section:
    title = f"Along the chromosome ({rows.missing})"
    sites = about.sites
    contigs = sites["contig"].astype(str).unique()
    one = len(contigs) == 1
    place = dict(zip(sites["site"], sites["pos"] / 1e6 if one else range(1, len(sites) + 1), strict=True))

    def points(label: str) -> list[Point | None]:
        found = ((x, site, rows.get(label, f"site:{site}", "f1_micro")) for site, x in place.items())
        return [_point(x, score, label, site, "share of correct calls") for x, site, score in found]

    lines = _lines(rows, styles, points)
    if not lines:
        return Section("chromosome", title, [])
    lines = [replace(line, shown=i < N_SHOWN) for i, line in enumerate(lines)]
    for column, words, dash in (("maf_test", "MAF of the test samples", 0), ("maf_panel", "MAF of the panel", 1)):
        mafs = zip(place.items(), sites[column].astype(float), strict=True)
        dots = [
            Point(x, maf, np.nan, np.nan, f"{site}\n{words} {_number(maf)}") for (site, x), maf in mafs if _known(maf)
        ]
        lines.append(Line(words, Style(COLOURS[-1], dash), dots, shown=column == "maf_test", lower=True))
    figure = Figure(
        f"{key}-chromosome",
        f"chromosome-{slug}.png",
        "Share of correct calls at each site along the chromosome, with its minor allele frequency",
        "Each point is a site; runs of low points are stretches that are hard to impute. "
        f"The {N_SHOWN} best imputers are shown at first.",
        [
            Panel(
                "",
                f"Position on contig {contigs[0]} (Mb)" if one else "Site (number in file order)",
                "Correct calls (share)",
                lines,
                joined=False,
                lower_title="MAF (share)",
            )
        ],
    )
    return Section("chromosome", title, [figure])


def _calibration(rows: _Rows, styles: dict[str, Style], key: str, slug: str) -> Section:
    title = f"Calibration ({rows.missing})"
    bins = [f"confidence:{name}" for name in rows.subsets("confidence:", "confidence")]

    def points(label: str) -> list[Point | None]:
        stated = {subset: rows.value(label, subset, "confidence") for subset in bins}
        return [
            _point(x, rows.get(label, subset, "accuracy"), label, f"stated confidence {_number(x)}", "share correct")
            for subset, x in stated.items()
            if _known(x)
        ]

    lines = _lines(rows, styles, points)
    if not lines:
        return Section("calibration", title, [])
    figure = Figure(
        f"{key}-calibration",
        f"calibration-{slug}.png",
        "Share of correct calls against the stated confidence",
        "On the dotted line an imputer is right as often as it says; below it, it is too sure of itself.",
        [Panel("", "Stated confidence (mean posterior of the call)", "Correct calls (share)", lines, diagonal=True)],
    )
    drawn = {line.label for line in lines}
    silent = [label for label in rows.ranked if label not in drawn and not rows.failure(label)]
    without = f"Not shown, because they give hard calls without a posterior of their own: {', '.join(silent)}."
    return Section("calibration", title, [figure, *([Text(without)] if silent else [])])


def _worst_samples(rows: _Rows) -> Section:
    best = rows.best("all", "f1_macro")
    title = f"The worst samples ({rows.missing})"
    if best is None:
        return Section("samples", title, [])
    subsets = [f"sample:{name}" for name in rows.subsets("sample:", "f1_micro")]
    scored = [subset for subset in subsets if rows.get(best, subset, "f1_micro")]
    worst = sorted(scored, key=lambda subset: rows.value(best, subset, "f1_micro"))[:N_WORST]
    if not worst:
        return Section("samples", title, [])
    others = [label for label in rows.ranked if label != best and not rows.failure(label)]
    table = []
    for subset in worst:
        calls = rows.get(best, subset, "f1_micro")
        table.append(
            [
                Cell(subset.removeprefix("sample:")),
                Cell(_count(calls and calls.n)),
                Cell(_number(rows.value(best, subset, "f1_micro"))),
                Cell(_number(rows.value(best, subset, "f1_macro"))),
                *(Cell(_number(rows.value(label, subset, "f1_micro"))) for label in others),
            ]
        )
    columns = [
        "Sample",
        "Calls scored",
        f"{best}: F1 micro",
        f"{best}: F1 macro",
        *(f"{label}: F1 micro" for label in others),
    ]
    how = "A sample that every imputer finds hard may be mislabelled, of another population, or poorly genotyped."
    return Section(
        "samples",
        title,
        [Table(f"The {len(worst)} samples that {best} imputes worst", columns, table), Text(how, "how")],
    )


def _true_genotypes(rows: _Rows) -> Section:
    table = []
    for label in rows.ranked:
        if all(rows.get(label, subset, "f1_macro") is None for subset in ("true:all", "true:rare")):
            continue
        cells = [_name(label), Cell(_number(rows.value(label, "all", "f1_macro")))]
        cells += _f1_cells(rows, label, "true:all")
        cells += [
            Cell(_number(rows.value(label, "rare", "f1_macro"))),
            _with_interval(rows.get(label, "true:rare", "f1_macro")),
        ]
        table.append([*cells, _with_interval(rows.get(label, "true:rare", "f1_1"))])
    columns = [
        "Imputer",
        "Called genotypes: F1 macro",
        *(f"True: F1 {name}" for name in ("micro", "macro", "0", "1", "2")),
    ]
    columns += ["Rare, called: F1 macro", "Rare, true: F1 macro", "Rare, true: F1 1"]
    how = "The headline scores compare with called genotypes, errors included, as real data would; these compare with the simulated truth."
    blocks: list[Block] = [
        Table(f"Scored against the true genotypes, {rows.missing}", columns, table),
        Text(how, "how"),
    ]
    return Section("truth", "Against the true genotypes (simulated data)", blocks if table else [])


def _imputers(rows: _Rows) -> Section:
    table = []
    for label in rows.ranked:
        meta = rows.about(label)
        reason = rows.failure(label)
        table.append(
            [
                _name(label),
                Cell(f"failed: {reason}" if reason else "ok", kind="failed" if reason else ""),
                Cell(_text(meta.get("framework"))),
                Cell(_text(meta.get("mask"))),
                Cell(_number(meta.get("val_f1_macro"))),
                Cell(_count(meta.get("trials"))),
                Cell(_count(meta.get("trials_failed"))),
                Cell(_text(meta.get("study_ended_by"))),
                Cell(_text(meta.get("params")), kind="params"),
            ]
        )
    columns = ["Imputer", "Status", "Framework", "Training masks", "Validation macro-F1", "Trials that count"]
    columns += ["Trials failed", "Study ended by", "Parameters used"]
    return Section("imputers", "The imputers, and what they ran with", [Table("Imputers", columns, table)])


# ---------------------------------------------------------------------- numbers as text


def _known(value: Any) -> bool:
    return value is not None and not pd.isna(value)


def _number(value: Any) -> str:
    return f"{value:.3f}".replace("-", "−") if _known(value) else ABSENT


def _signed(score: _Score | None) -> str:
    return f"{score.value:+.3f}".replace("-", "−") if score and _known(score.value) else ABSENT


def _interval(score: _Score | None, signed: bool = False) -> str:
    """ "low to high"; empty if there is no interval."""
    if score is None or not (_known(score.low) and _known(score.high)):
        return ""
    return " to ".join(f"{bound:{'+' if signed else ''}.3f}".replace("-", "−") for bound in (score.low, score.high))


def _count(value: Any) -> str:
    return f"{round(value):,}" if _known(value) else ABSENT


def _duration(seconds: Any) -> str:
    if not _known(seconds):
        return ABSENT
    if seconds < 59.95:
        return f"{seconds:.1f} s" if seconds >= 0.05 else "< 0.1 s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _memory(megabytes: Any) -> str:
    if not _known(megabytes):
        return ABSENT
    return f"{megabytes:.0f} MB" if megabytes < 999.5 else f"{megabytes / 1000:.1f} GB"


def _text(value: Any) -> str:
    return str(value) if _known(value) and str(value) else ABSENT


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


# ---------------------------------------------------------------------- HTML


def _html(context: ReportContext, chapters: list[Chapter]) -> str:
    from jinja2 import Environment, StrictUndefined
    from plotly.offline import get_plotlyjs

    plots = {
        f"{figure.key}-{i}": _plotly(panel)
        for chapter in chapters
        for figure in chapter.figures()
        for i, panel in enumerate(figure.panels)
    }
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["count"] = _count
    template = environment.from_string(Path(__file__).with_name("report_template.html.j2").read_text(encoding="utf-8"))
    return template.render(
        context=context,
        chapters=chapters,
        plots=json.dumps(plots, allow_nan=False).replace("<", "\\u003c"),
        plotlyjs=get_plotlyjs(),
        absent=ABSENT,
    )


def _plotly(panel: Panel) -> dict[str, Any]:
    """The panel as plotly's data and layout, without colours of the page: the page sets those."""
    data: list[dict[str, Any]] = []
    if panel.diagonal:
        start = _lowest(panel)
        ends = [start, 1.0]
        data.append({"x": ends, "y": ends, "mode": "lines", "line": {"color": "#808080", "dash": "dot", "width": 1}})
        data[0] |= {"hoverinfo": "skip"}
    for line in panel.lines:
        data.extend(_plotly_traces(panel, line))
    axis: dict[str, Any] = {"automargin": True, "zeroline": False}
    layout: dict[str, Any] = {
        "showlegend": False,
        "hovermode": "closest",
        "margin": {"l": 8, "r": 12, "t": 36 if panel.title else 12, "b": 8},
        "title": {"text": _plotly_text(panel.title), "x": 0.5, "xanchor": "center", "font": {"size": 15}},
        "xaxis": axis | {"title": {"text": _plotly_text(panel.x_title)}},
        "yaxis": axis | {"title": {"text": _plotly_text(panel.y_title)}},
        "height": 380,
    }
    if panel.categories:
        ticks = [_plotly_text(category) for category in panel.categories]
        layout["xaxis"] |= {"tickvals": list(range(len(ticks))), "ticktext": ticks, "showgrid": False}
    if panel.lower_title:
        layout["yaxis"]["domain"] = [0.36, 1.0]
        layout["yaxis2"] = axis | {"title": {"text": panel.lower_title}, "domain": [0.0, 0.27], "rangemode": "tozero"}
        layout["xaxis"]["anchor"] = "y2"
        layout["height"] = 480
    return {"data": data, "layout": layout}


def _lowest(panel: Panel) -> float:
    """The smallest x or y of a panel."""
    return min(value for line in panel.lines for point in line.points for value in (point.x, point.y))


def _plotly_traces(panel: Panel, line: Line) -> list[dict[str, Any]]:
    """The line itself and, where x is a number and there are intervals, its band."""
    style = line.style
    common = {"meta": line.label, "visible": line.shown}
    marks = common | {
        "x": panel.places(line),
        "y": [point.y for point in line.points],
        "mode": "lines+markers" if panel.joined and not panel.categories else "markers",
        "line": {"color": style.colour, "dash": Style.PLOTLY_DASH[style.dash], "width": 2},
        "marker": {"color": style.colour, "symbol": Style.PLOTLY_SYMBOL[style.dash], "size": 7 if panel.joined else 5},
        "text": [_plotly_text(point.hover) for point in line.points],
        "hovertemplate": "%{text}<extra></extra>",
        "yaxis": "y2" if line.lower else "y",
    }
    bounded = [point for point in line.points if _known(point.low) and _known(point.high)]
    if panel.categories:
        bars: dict[str, Any] = {"type": "data", "symmetric": False, "width": 0, "thickness": 1.5}
        bars["array"] = [point.high - point.y if point in bounded else 0 for point in line.points]
        bars["arrayminus"] = [point.y - point.low if point in bounded else 0 for point in line.points]
        return [marks | {"error_y": bars}]
    if len(bounded) < 2:
        return [marks]
    band = common | {
        "x": [point.x for point in bounded] + [point.x for point in reversed(bounded)],
        "y": [point.high for point in bounded] + [point.low for point in reversed(bounded)],
        "mode": "lines",
        "fill": "toself",
        "fillcolor": "rgba({},{},{},0.15)".format(*(int(style.colour[i : i + 2], 16) for i in (1, 3, 5))),
        "line": {"width": 0},
        "hoverinfo": "skip",
    }
    return [band, marks]


def _plotly_text(text: str) -> str:
    """Plotly reads a little markup in its texts: names must not become markup."""
    return html.escape(text, quote=False).replace("\n", "<br>")


# ---------------------------------------------------------------------- Markdown and its figures


def _markdown(context: ReportContext, chapters: list[Chapter]) -> str:
    parts = [f"# {_md(context.title)}", *(f"> **{_md(note)}**" for note in context.notes)]
    if len(chapters) > 1:
        lines = [
            f"- [{_md(c.about.name)}](#{c.key}): {_md(c.best)} has the highest macro-F1 at {context.headline_level:g}% missing"
            for c in chapters
        ]
        parts.append("\n".join(lines))
    for chapter in chapters:
        about = chapter.about
        parts.append(f'<a id="{chapter.key}"></a>\n\n## {_md(about.name)}')
        parts.append(_md(about.description))
        parts.append(
            f"{about.n_train:,} samples to train ({about.n_validation:,} of them held out in studies), {about.n_test:,} to test; "
            f"{about.n_sites:,} sites. Genotype shares: {_md(about.genotype_shares)}. Digest `{about.digest}`."
        )
        parts.append("\n".join(f"- {_md(sentence)}" for sentence in chapter.summary))
        if len(about.left_out):
            rows = [[Cell(str(reason)), Cell(_count(n))] for reason, n in about.left_out[["reason", "n"]].to_numpy()]
            parts.append(_md_table(Table("Sites read, left out and kept", ["Reason", "Sites"], rows)))
        for section in chapter.sections:
            parts.append(f"### {_md(section.title)}")
            parts += _md_blocks(section.blocks)
    versions = ", ".join(f"{_md(name)} {_md(version)}" for name, version in context.versions.items())
    parts.append(f"Versions: {versions}." if versions else "")
    return "\n\n".join(part for part in parts if part) + "\n"


def _md_blocks(blocks: Iterable[Block]) -> list[str]:
    parts = []
    for block in blocks:
        if isinstance(block, Table):
            parts.append(_md_table(block))
        elif isinstance(block, Text):
            parts.append(f"> **Caution.** {_md(block.text)}" if block.kind == "caution" else _md(block.text))
        elif isinstance(block, Figure):
            parts.append(f"![{_md(block.alt)}]({block.png})\n\n{_md(block.how)}")
        elif isinstance(block, Confusion):
            parts.append(_md_table(_confusion_table(block)))
        else:
            for name, inner in block.options.items():
                parts += [f"**{_md(name)}**"] if len(block.options) > 1 else []
                parts += _md_blocks(inner)
    return parts


def _confusion_table(block: Confusion) -> Table:
    columns = ["Imputer", *(f"{true} called {called}" for true in (0, 1, 2) for called in (0, 1, 2))]
    rows = [[Cell(label), *(Cell(_count(n)) for row in square for n in row)] for label, square in block.counts.items()]
    return Table("Calls by true and called genotype", columns, rows)


def _md_table(table: Table) -> str:
    lines = [
        f"*{_md(table.caption)}*\n",
        "| " + " | ".join(_md(column) for column in table.columns) + " |",
        "| --- |" + " ---: |" * (len(table.columns) - 1),
    ]
    for row in table.rows:
        cells = (_md(f"{cell.text} ({cell.detail})" if cell.detail else cell.text) for cell in row)
        lines.append("| " + " | ".join(cells) + " |" * (1 + len(table.columns) - len(row)))
    return "\n".join(lines)


def _md(text: str) -> str:
    """Plain text for Markdown: nothing in it is taken for markup."""
    text = re.sub(r"\s+", " ", text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*|$\[\]])", r"\\\1", text)


def _draw_png(figure: Figure, path: Path) -> None:
    """The figure in print: white, its panels side by side, the legend below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    panels = figure.panels
    stacked = bool(panels[0].lower_title)
    widths = [max(5.0, 1.3 * len(panel.categories)) for panel in panels]
    canvas = Canvas(figsize=(9.0 if stacked else max(sum(widths), 6.5), 5.4), layout="constrained")
    FigureCanvasAgg(canvas)
    if stacked:
        axes = list(canvas.subplots(2, 1, sharex=True, height_ratios=[2, 1]))
        axes[1].set_ylabel(_png_text(panels[0].lower_title))
    else:
        axes = list(canvas.subplots(1, len(panels), squeeze=False, width_ratios=widths)[0])
    handles: dict[str, Any] = {}
    for panel, ax in zip(panels, axes[: len(panels)], strict=True):
        for line in (line for line in panel.lines if line.shown):
            handle = _png_line(panel, line, axes[1] if line.lower else ax)
            handles.setdefault(_png_text(line.label), handle)
        if panel.diagonal:
            start = _lowest(panel)
            ax.plot([start, 1], [start, 1], color="#808080", linestyle=":", linewidth=1)
        if panel.categories:
            ax.set_xticks(range(len(panel.categories)), [_png_text(c) for c in panel.categories], fontsize=8)
            ax.set_xlim(-0.5, len(panel.categories) - 0.5)
        ax.set_title(_png_text(panel.title), fontsize=11)
        ax.set_ylabel(_png_text(panel.y_title))
        (axes[1] if stacked else ax).set_xlabel(_png_text(panel.x_title))
    for ax in axes:
        ax.grid(axis="y", color="#e5e5e5", linewidth=0.6)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
    canvas.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=min(4, len(handles)), frameon=False
    )
    canvas.savefig(path, format="png", dpi=130)


def _png_line(panel: Panel, line: Line, ax: Any) -> Any:
    """Draw a line and return what stands for it in the legend."""
    style = line.style
    look = {"color": style.colour, "marker": Style.PNG_SYMBOL[style.dash], "markersize": 5, "linestyle": "none"}
    x = panel.places(line)
    y, low, high = ([getattr(point, name) for point in line.points] for name in ("y", "low", "high"))
    if panel.categories:
        ax.vlines(x, low, high, color=style.colour, linewidth=1.2)
    elif panel.joined:
        ax.fill_between(x, low, high, color=style.colour, alpha=0.15, linewidth=0)
        look["linestyle"] = Style.PNG_DASH[style.dash]
    else:
        look |= {"markersize": 3, "alpha": 0.75}
    return ax.plot(x, y, **look)[0]


def _png_text(text: str) -> str:
    return text.replace("$", r"\$")
