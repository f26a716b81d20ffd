"""Section on single sites and single samples: how concordance and accuracy spread over them."""

from __future__ import annotations

import numpy as np

from snpimpute.report.rows import Rows
from snpimpute.report.text import count, number
from snpimpute.report.tree import Block, Cell, Section, Table, Text

# prefix of the subsets → what they are, in a caption
EACH = {"site:": "site", "sample:": "sample (animal)"}
MEASURES = {"f1_micro": "Concordance", "correlation": "Accuracy"}
LOW = 5  # percentile that stands for the worst


def by_site_and_sample(rows: Rows) -> Section:
    """Return the section: a table over sites and one over samples; empty if neither was scored."""
    blocks: list[Block] = []
    for prefix, each in EACH.items():
        names = {metric: rows.subsets(prefix, metric) for metric in MEASURES}
        if not names["f1_micro"]:
            continue
        table = [
            [Cell(label, kind="name"), *(cell for metric in MEASURES for cell in _spread(rows, label, prefix, metric, names[metric]))]
            for label in rows.ranked
            if not rows.failure(label)
        ]  # fmt: skip
        columns = [f"{name}: {what}" for name in MEASURES.values() for what in ("mean", "median", f"{LOW}th percentile", "number")]  # fmt: skip
        blocks.append(Table(f"Concordance and accuracy of each {each}, {rows.missing}", ["Imputer", *columns], table))
    if blocks:
        blocks.append(
            Text(
                "Each site, or sample, counts once, however many of its calls were hidden. Concordance: share of its calls that are "
                "correct. Accuracy: correlation of true genotype and imputed dosage, both less the mean of the truth at the site, "
                "over the samples at a site or over the sites of a sample. Where the truth does not vary there is none.",
                "how",
            )
        )
    return Section("each", f"Per site and per sample ({rows.missing})", blocks)


def _spread(rows: Rows, label: str, prefix: str, metric: str, names: list[str]) -> list[Cell]:
    """Return the cells of mean, median, low percentile and number of an imputer's values of a metric."""
    values = np.array([rows.value(label, prefix + name, metric) for name in names])
    values = values[np.isfinite(values)]
    if not len(values):
        return [Cell(number(None))] * 3 + [Cell(count(None))]
    shown = (values.mean(), np.median(values), np.percentile(values, LOW))
    return [*(Cell(number(value)) for value in shown), Cell(count(len(values)))]
