"""Page and heat map of an explanation: methods by sites along the chromosome, with genes and haplotype blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute import __version__
from snpimpute.base.files import write_text, written_beside
from snpimpute.report.figures import draw_png
from snpimpute.report.heat import binned
from snpimpute.report.html import page_as_html
from snpimpute.report.text import capital, count, number
from snpimpute.report.tree import Block, Cell, Figure, HeatPanel, Page, Section, Stretch, Table, Text
from snpimpute.traits.attributions import MEANING
from snpimpute.traits.cohorts import UNPLACED
from snpimpute.traits.explain import ENSEMBLE, FILES, Explanation, methods_in, most_important, summary

MAX_ROWS = 25  # most rows of the table; explain.tsv has all
MOST_TICKS = 30  # contigs whose names are written on the axis


def write_page(found: Explanation, folder: Path) -> Path:
    """Write explain.html and the heat map as explain.png; return the page's path.

    Raises:
        InputError: the folder cannot be written, or the file system is full.
    """
    figure = Figure(
        "importance",
        "explain.png",
        "Importance of sites along the chromosome",
        "A row per method, each from 0 to 1 = its most important site. A column is a site, or the most important of those too close to "
        "be drawn apart; nothing is drawn where there is no site.",
        [],
        heat_map(found),
    )
    with written_beside(folder / "explain.png") as beside:
        draw_png(figure, beside)
    page = folder / "explain.html"
    write_text(page, page_as_html(_page(found, figure)))
    return page


def heat_map(found: Explanation) -> HeatPanel:
    """Return the importances as a heat map: the score first where it is the ensemble, then each method."""
    table = found.table
    offset = _offsets(table)
    places = offset[table.chromosome].to_numpy() + table.position.to_numpy() / 1e6
    methods = methods_in(table)
    columns = [*(["importance_score"] if found.method == ENSEMBLE else []), *methods]
    scores = np.stack([_scaled(table[column].to_numpy(np.float64)) for column in columns])
    names = [f"{site.rsid}\n{site.chromosome}:{site.position}" for site in table.itertuples()]
    unplaced = bool((table.chromosome == UNPLACED).all())
    if unplaced:
        places = table.position.to_numpy(np.float64)
    edges, values, hover = binned(places, scores, names)
    contigs = list(offset.index)
    ticks: dict[str, float] = {}
    if unplaced:
        title = "Marker (number in file order)"
    elif len(contigs) == 1:
        title = f"Position on contig {contigs[0]} (Mb)"
    else:
        first = table.groupby("chromosome", sort=False).position.min()
        title = "Position (contigs side by side, named where they begin)"
        shown = contigs if len(contigs) <= MOST_TICKS else []
        ticks = {str(contig): float(offset[contig] + first[contig] / 1e6) for contig in shown}
    rows = [ENSEMBLE if column == "importance_score" else column for column in columns]
    tracks = {
        "genes": _stretches(found.genes, "name", offset, table),
        "blocks": _stretches(found.blocks, "block", offset, table),
    }
    return HeatPanel(title, "Importance (1 = most)", edges, rows, values, hover, tracks, ticks)


def _offsets(table: pd.DataFrame) -> pd.Series:
    """Return what is added to positions in Mb of each contig, so that contigs lie side by side; 0 of a single one."""
    ends = table.groupby("chromosome", sort=False).position.agg(["min", "max"]) / 1e6
    if len(ends) == 1:
        return pd.Series(0.0, index=ends.index)
    length = ends["max"] - ends["min"]
    gap = 0.01 * float(length.sum())
    begins = (length + gap).cumsum().shift(fill_value=0.0)
    return begins - ends["min"]


def _stretches(rows: pd.DataFrame, name: str, offset: pd.Series, table: pd.DataFrame) -> list[Stretch]:
    """Return stretches on the x axis, cut where the sites of their contig end."""
    ends = table.groupby("chromosome", sort=False).position.agg(["min", "max"])
    found = []
    for row in rows.itertuples():
        start, end = max(row.start, ends["min"][row.contig]), min(row.end, ends["max"][row.contig])
        label = str(getattr(row, name))
        where = f"{label}\n{row.contig}:{row.start:,}–{row.end:,}"
        found.append(Stretch(offset[row.contig] + start / 1e6, offset[row.contig] + end / 1e6, label, where))
    return found


def _scaled(values: np.ndarray) -> np.ndarray:
    most = values.max(initial=0.0)
    return values / most if most > 0 else values


def _page(found: Explanation, figure: Figure) -> Page:
    table = found.table
    meanings = [f"{capital(m)}: {MEANING[m]}." for m in methods_in(table)]
    blocks: list[Block] = [figure, *(Text(line, "how") for line in meanings)]
    return Page(
        title=f"What {found.predictor} of {found.trait} rests on",
        lead="Importance to the predictor, not causality: linked sites share it.",
        notes=[],
        findings=[f"{capital(line)}." for line in summary(found)],
        facts={
            "Samples": count(found.n_samples),
            "Sites": count(len(table)),
            "Of importance": count(int((table.importance_score > 0).sum())),
            "Blocks": count(len(found.blocks)),
        },
        sections=[
            Section("chromosome", "Along the chromosome", blocks),
            Section("sites", "Sites", [_sites(found)]),
        ],
        footer=f"snpimpute {__version__}. Beside this file: {', '.join(name for name in FILES if name != 'explain.html')}.",
    )


def _sites(found: Explanation) -> Table:
    methods = methods_in(found.table)
    best = most_important(found, MAX_ROWS).sort_values("importance_score", ascending=False, kind="stable")
    rows = [
        [
            Cell(site["rsid"]),
            Cell(f"{site['chromosome']}:{site['position']}"),
            Cell(f"{site['ref']}/{site['alt']}"),
            Cell(number(site["maf"])),
            Cell(number(site["importance_score"])),
            *(Cell(number(site[method])) for method in methods),
            Cell(site.get("block") or "–"),
            Cell(site.get("gene") or "–", f"{site['gene_distance']:,} b" if site.get("gene_distance", 0) > 0 else ""),
        ]
        for site in best.to_dict("records")
    ]
    columns = ["Site", "Where", "REF/ALT", "MAF", "Importance", *methods, "Block", "Gene"]
    return Table(f"Most important of {len(found.table):,} sites", columns, rows)
