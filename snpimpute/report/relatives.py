"""Section on accuracy against the closest relationship of test samples to train."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from snpimpute.metrics.registry import METRICS
from snpimpute.report.charts import N_SHOWN, hide_crowding_lines, lines_of, point_of
from snpimpute.report.rows import Rows
from snpimpute.report.text import capital, count, interval, known, number
from snpimpute.report.tree import Block, Cell, Figure, Panel, Point, Section, Style, Table, Text

METRIC = "f1_macro"
CERTAIN = 2.0  # upper bound of additive relationships


def relatives(rows: Rows, styles: dict[str, Style], key: str, slug: str) -> Section:
    """Return the section: a table by bin of relationship, figures by bin and by sample; empty without a pedigree."""
    closest = {
        name: value
        for name in rows.subsets("sample:", "relationship")
        if known(value := _relationship(rows, f"sample:{name}"))
    }
    bins = {f"relation:{name}": _bin_in_words(name) for name in rows.subsets("relation:", METRIC)}
    blocks: list[Block] = []
    if bins:
        how = (
            "Closest relationship: the largest additive relationship (twice the kinship) of a test sample to any train "
            "sample, by the pedigree: 0.25 is that of half sibs, 0.5 of full sibs or of parent and offspring. Rank "
            "correlation: Spearman's, of closest relationship and concordance over test samples; where its "
            "interval lies above 0, samples with closer relatives in train are imputed better."
        )
        blocks = [_by_bin(rows, bins, closest), Text(how, "how"), *_figures(rows, styles, bins, closest, key, slug)]
    return Section("relatives", f"By closest relationship to train ({rows.missing})", blocks)


def _relationship(rows: Rows, subset: str) -> float:
    """Return a sample's closest relationship, which is the same for every imputer; NaN if it has none."""
    found = (rows.value(label, subset, "relationship") for label in rows.ranked)
    return next((value for value in found if known(value)), np.nan)


def _bin_in_words(name: str) -> str:
    """Return the bounds of a bin in words."""
    low, high = (float(bound) for bound in name.split("-"))
    return f"{low:g} and closer" if high >= CERTAIN else f"{low:g} to {high:g}"


def _by_bin(rows: Rows, bins: dict[str, str], closest: dict[str, float]) -> Table:
    samples = {}
    for subset in bins:
        low, high = (float(bound) for bound in subset.removeprefix("relation:").split("-"))
        samples[subset] = sum(low <= value < high for value in closest.values())
    table = []
    for label in rows.ranked:
        scores = [rows.get(label, subset, METRIC) for subset in [*bins, "all"]]
        cells = [Cell(number(score and score.value), interval(score)) for score in scores]
        rho = rows.get(label, "all", "relationship_rho")
        cells.append(Cell(number(rho and rho.value), interval(rho)))
        table.append([Cell(label, kind="name"), *cells])
    columns = [f"{words} ({count(samples[subset])} samples)" for subset, words in bins.items()]
    return Table(
        f"{capital(METRICS[METRIC].label)} by closest relationship to train, {rows.missing}",
        ["Imputer", *columns, "All", "Rank correlation with concordance"],
        table,
    )


def _figures(
    rows: Rows, styles: dict[str, Style], bins: dict[str, str], closest: dict[str, float], key: str, slug: str
) -> list[Block]:
    name = METRICS[METRIC].label
    title = "Closest additive relationship to a train sample"

    def by_bin(label: str) -> list[Point | None]:
        return [point_of(words, rows.get(label, bin, METRIC), label, words, name) for bin, words in bins.items()]

    def by_sample(label: str) -> list[Point | None]:
        found = ((sample, value, rows.get(label, f"sample:{sample}", "f1_micro")) for sample, value in closest.items())
        return [
            point_of(value, score, label, f"{sample}, relationship {number(value)}", "concordance")
            for sample, value, score in found
        ]

    lines = lines_of(rows, styles, by_bin)
    if not lines:
        return []
    panels, below = hide_crowding_lines([Panel("", title, f"{capital(name)} (0 to 1)", lines, list(bins.values()))])
    dots = [replace(line, shown=i < N_SHOWN) for i, line in enumerate(lines_of(rows, styles, by_sample))]
    return [
        Figure(
            f"{key}-relatives",
            f"relatives-{slug}.png",
            f"{capital(name)} by closest relationship to train",
            "Higher to the right means that relatives in train help. Bars are 95% intervals that resample families if "
            f"they are known.{below}",
            panels,
        ),
        Figure(
            f"{key}-relatives-samples",
            f"relatives-samples-{slug}.png",
            "Concordance of each test sample against its closest relationship to train",
            f"Each point is a test sample. The {N_SHOWN} best imputers are shown at first.",
            [Panel("", title, "Concordance (0 to 1)", dots, joined=False)],
        ),
    ]
