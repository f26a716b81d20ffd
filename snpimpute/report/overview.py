"""Overview at the top of the report: one table of all datasets."""

from __future__ import annotations

import numpy as np

from snpimpute.dataset.mechanisms import hides_calls
from snpimpute.report.calls import regimes
from snpimpute.report.rows import BEST, TIED, WORSE, Rows
from snpimpute.report.text import ABSENT, number
from snpimpute.report.tree import Block, Cell, Table, Text

MARKS = {WORSE: " ▼", TIED: " ≈"}


def dataset_overview(by_dataset: dict[str, Rows]) -> list[Block]:
    """Return a table of macro-F1 and rank of each imputer on each dataset at its headline scenario.

    Empty for a single dataset. For datasets that hide single calls, it returns tables of error rate, macro-F1 and
    seconds with a row per dataset instead.

    Args:
        by_dataset: dataset → its rows.
    """
    if len(by_dataset) < 2:
        return []
    if all(hides_calls(rows.headline[0]) for rows in by_dataset.values()):
        return regimes(by_dataset)
    ranks = {name: rows.ranks("all", "f1_macro") for name, rows in by_dataset.items()}
    labels = dict.fromkeys(label for rows in by_dataset.values() for label in rows.ranked)
    places = {label: [found[label] for found in ranks.values() if label in found] for label in labels}
    mean = {label: float(np.mean(found)) if found else np.inf for label, found in places.items()}
    table = []
    for label in sorted(labels, key=lambda label: mean[label]):
        cells = [Cell(label, kind="name"), Cell(f"{mean[label]:.1f}" if np.isfinite(mean[label]) else ABSENT)]
        for name, rows in by_dataset.items():
            verdict, _ = rows.verdict(label, "all", "f1_macro")
            value = rows.value(label, "all", "f1_macro")
            text = "failed" if rows.failure(label) else number(value) + MARKS.get(verdict, "")
            cells.append(Cell(text, kind=BEST if verdict == BEST else ""))
            cells.append(Cell(str(ranks[name].get(label, ABSENT))))
        table.append(cells)
    missing = next(iter(by_dataset.values())).missing
    columns = ["Imputer", "Mean rank", *(f"{name}{what}" for name in by_dataset for what in ("", ": rank"))]
    return [
        Table(f"All datasets: macro-F1 over all sites, {missing}", columns, table),
        Text("≈ not told apart from the best of the dataset, ▼ worse.", "how"),
    ]
