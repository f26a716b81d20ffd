"""Page, figures and files of a comparison of conclusions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from snpimpute import __version__
from snpimpute.base.files import write_text, written_beside
from snpimpute.metrics.conclusions import ALL, ASSOCIATION, FINE_MAPPING, MEASURES, PREDICTION, TRUTH
from snpimpute.report.conclusions import forest_plot
from snpimpute.report.figures import draw_png
from snpimpute.report.html import page_as_html
from snpimpute.report.text import Score, capital, count, interval, known, number
from snpimpute.report.tree import COLOURS, Block, Cell, Figure, Line, Page, Panel, Point, Section, Style, Table, Text
from snpimpute.traits.consequence import Consequence

FILES = ("consequence.html", "consequence.tsv", "consequence.json", "consequence.png")
BY_FILTER = ("power", "recall", "correlation")


def write_consequence(found: Consequence, folder: Path) -> Path:
    """Write consequence.html, its table as TSV and JSON, and the forest plot as PNG; return the page's path.

    Raises:
        InputError: the folder cannot be written, or the file system is full.
    """
    forest = forest_plot(found.table, found.files, "forest", FILES[3])
    page = folder / FILES[0]
    write_text(page, page_as_html(_page(found, forest)))
    write_text(folder / FILES[1], found.table.to_csv(sep="\t", index=False, float_format="%.6g", na_rep="NA"))
    write_text(folder / FILES[2], json.dumps(as_dict(found), indent=1) + "\n")
    with written_beside(folder / FILES[3]) as beside:
        draw_png(forest, beside)
    return page


def as_dict(found: Consequence) -> dict[str, Any]:
    """Return all results, JSON-able; null for what is not known."""
    rows = json.loads(found.table.to_json(orient="records"))
    return {
        "truth": found.settings.truth.name,
        "simulated": found.simulated,
        "samples": found.n_samples,
        "sites": found.n_sites,
        "traits": found.n_traits,
        "files": found.files,
        "results": rows,
        "guidance": list(found.guidance),
        "notes": list(found.notes),
        "snpimpute": __version__,
    }


def summary(found: Consequence) -> list[str]:
    """Return the results in sentences, a line each."""
    model = found.settings.model
    kind = (
        f"simulated traits ({model.n_causal} causal of {found.n_sites:,} sites, {model.variance:.1%} of the variance, seed {model.seed})"
        if found.simulated
        else "traits"
    )
    lines = [f"{found.n_traits:,} {kind} in {found.n_samples:,} samples"]
    for label in found.files:
        parts = []
        for key in (*ASSOCIATION, *FINE_MAPPING[:3], *PREDICTION):
            row = found.row(label, key)
            parts.append(f"{MEASURES[key].label} {number(row.value)}")
        lines.append(f"{label}: {', '.join(parts)}")
    return lines + [f"least costly DR2 threshold of {line}" for line in found.guidance] + list(found.notes)


def _page(found: Consequence, forest: Figure) -> Page:
    sections = [
        Section("files", "What each file says", [forest, _measures(found), *_meanings()]),
        Section("differences", "Differences to true genotypes", [_differences(found)]),
        Section("filters", "Which DR2 threshold costs least", _filters(found)),
        Section("maf", "By the causal site's MAF", _by_maf(found)),
    ]
    return Page(
        title=f"What imputing changes: {found.settings.truth.name}",
        lead="The same traits are looked for in true genotypes and in each imputed file.",
        notes=[],
        findings=[f"{line}." for line in summary(found)],
        facts={"Samples": count(found.n_samples), "Sites": count(found.n_sites), "Traits": count(found.n_traits)},
        sections=[section for section in sections if section.blocks],
        footer=f"snpimpute {__version__}. Beside this file: {', '.join(FILES[1:])}.",
    )


def _cell(row: Any) -> Cell:
    return Cell(number(row.value), interval(Score(row.value, row.low, row.high, row.n)))


def _measures(found: Consequence) -> Table:
    rows = [[Cell(label), *(_cell(found.row(label, key)) for key in MEASURES)] for label in found.files]
    return Table("Measures (95% intervals)", ["File", *(measure.label for measure in MEASURES.values())], rows)


def _meanings() -> list[Block]:
    return [Text(". ".join(f"{capital(m.label)}: {m.meaning}" for m in MEASURES.values()) + ".", "how")]


def _differences(found: Consequence) -> Block:
    files = [label for label in found.files if label != TRUTH]
    rows = [[Cell(label), *(_cell(found.row(label, key, versus=TRUTH)) for key in MEASURES)] for label in files]
    return Table(
        "Difference to true genotypes, paired", ["File", *(measure.label for measure in MEASURES.values())], rows
    )


def _filters(found: Consequence) -> list[Block]:
    plain = found.table[(found.table.subset == ALL) & (found.table.versus == "")]
    lines, rows = [], []
    for i, label in enumerate(found.files):
        own = plain[plain.file == label]
        thresholds = sorted(own["filter"].unique())
        if len(thresholds) < 2:
            continue
        for k, key in enumerate(BY_FILTER):
            of = own[own.measure == key].set_index("filter")
            points = [
                Point(
                    t,
                    float(of.value[t]),
                    float(of.low[t]),
                    float(of.high[t]),
                    f"{label}\nDR2 ≥ {t:g}: {number(of.value[t])}",
                )
                for t in thresholds
                if known(of.value[t])
            ]
            lines.append(Line(f"{label}: {MEASURES[key].label}", Style(COLOURS[i % len(COLOURS)], k), points))
        for t in thresholds:
            of = own[own["filter"] == t].set_index("measure")
            cells = [_cell(of.loc[key]) if key in of.index else Cell("–") for key in MEASURES]
            rows.append([Cell(label, f"DR2 ≥ {t:g}" if t else "no filter"), *cells])
    if not lines:
        return []
    panel = Panel("", "Least DR2 of the sites used", "Share, or correlation", lines)
    figure = Figure(
        "filters-figure", "", "Measures by DR2 threshold", "Sites without a DR2, as typed ones, always stay.", [panel]
    )
    table = Table("Measures by DR2 threshold", ["File", *(measure.label for measure in MEASURES.values())], rows)
    return [*(Text(f"{line}.") for line in found.guidance), figure, table]


def _by_maf(found: Consequence) -> list[Block]:
    subsets = [subset for subset in dict.fromkeys(found.table.subset) if subset != ALL]
    if not subsets:
        return []
    rows: list[list[Cell]] = []
    for subset in subsets:
        rows.append([Cell(f"MAF {subset.removeprefix('maf:').replace('-', '–')}")])
        for label in found.files:
            rows.append([Cell(label), *(_cell(found.row(label, key, subset=subset)) for key in MEASURES)])
    columns = ["File", *(measure.label for measure in MEASURES.values())]
    return [Table("Measures by the MAF of the causal site in true genotypes", columns, rows)]
