"""Page and figure of a fine-mapping."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snpimpute import __version__
from snpimpute.base.files import write_text, written_beside
from snpimpute.base.words import numbered
from snpimpute.report.figures import draw_png
from snpimpute.report.html import page_as_html
from snpimpute.report.text import capital, count, known, number
from snpimpute.report.tree import COLOURS, Block, Cell, Figure, Line, Page, Panel, Point, Section, Style, Table, Text
from snpimpute.traits.finemap import FineMap, Locus, loci_in_words
from snpimpute.traits.finemap_files import FILES, write_tables

MAX_ROWS = 25  # most rows of a table; the files beside the page have all


def write_fine_map(found: FineMap, folder: Path) -> Path:
    """Write finemap.html, a PNG of the first locus, and the files of `finemap_files.write_tables`; return the page's path.

    Raises:
        InputError: see `finemap_files.write_tables`.
    """
    figures = [_figure(found, locus, i) for i, locus in enumerate(found.loci)]
    write_tables(found, folder)
    with written_beside(folder / "pip.png") as beside:
        draw_png(figures[0], beside)
    page = folder / FILES[0]
    write_text(page, page_as_html(_page(found, figures)))
    return page


def summary(found: FineMap) -> list[str]:
    """Return the results in sentences, a line each."""
    best = found.table.loc[found.table.pip.idxmax()]
    sets = f"{numbered(found.n_sets, 'credible set')} (95%, purity {found.settings.purity:g} or more)"
    lines = [
        f"{len(found.table):,} sites in {loci_in_words(len(found.loci))} fine-mapped: {sets}",
        f"largest probability {number(best.pip)}: {best.rsid} at {best.chromosome}:{best.position}"
        + (f", in {best.gene}" if best.gene and best.gene_distance == 0 else ""),
    ]
    for locus in found.loci:
        for i, credible in enumerate(locus.sets, start=1):
            names = found.table.rsid.to_numpy()[locus.rows[credible.members]]
            shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
            lines.append(f"set {locus.name}/{i}: {len(names):,} sites, purity {number(credible.purity)}: {shown}")
    if len(found.blocks):
        first = found.blocks.iloc[0]
        lines.append(
            f"first of {len(found.blocks):,} blocks: {first.block} {first.contig}:{first.start}-{first.end}, probabilities sum to "
            f"{number(first.pip)}"
        )
    return lines + list(found.notes)


def _page(found: FineMap, figures: list[Figure]) -> Page:
    blocks: list[Block] = list(figures)
    sections = [
        Section("loci", "Loci", blocks),
        Section("blocks", "Blocks", [_blocks(found)]),
        Section("sites", "Sites", [_sites(found)]),
        Section("clumps", "Clumps", [_clumps(found)]),
    ]
    return Page(
        title=f"Fine-mapping of {found.settings.gwas.name}",
        lead="A credible set holds a causal site with a probability of 95%, where the model holds and z scores and LD fit.",
        notes=[],
        findings=[capital(line) + "." for line in summary(found)],
        facts={
            "Loci": count(len(found.loci)),
            "Sites": count(len(found.table)),
            "Credible sets": count(found.n_sets),
            "Blocks": count(len(found.blocks)),
        },
        sections=sections,
        footer=f"snpimpute {__version__}. Beside this file: {', '.join(FILES[1:])}.",
    )


def _figure(found: FineMap, locus: Locus, i: int) -> Figure:
    table = found.table.iloc[locus.rows]
    lines = []
    groups = {"in no set": table.set == ""}
    groups |= {f"set {n}": table.set == f"{locus.name}/{n}" for n in range(1, len(locus.sets) + 1)}
    for k, (label, chosen) in enumerate(groups.items()):
        points = [
            Point(site.position / 1e6, site.pip, np.nan, np.nan, f"{site.rsid}\nPIP {number(site.pip)}, p {site.p:.3g}")
            for site in table[chosen].itertuples()
        ]
        if points:
            colour = COLOURS[-1] if k == 0 else COLOURS[(k - 1) % (len(COLOURS) - 1)]
            lines.append(Line(label, Style(colour, k % len(Style.PLOTLY_DASH)), points))
    contig = table.chromosome.iloc[0]
    panel = Panel("", f"Position on contig {contig} (Mb)", "Probability to be causal (PIP)", lines, joined=False)
    how = f"One point per site of {locus.name}; z scores and LD: s = {locus.mismatch:.3f} (0: they fit)."
    return Figure(f"locus-{i}", "pip.png" if i == 0 else "", f"Probabilities in {locus.name}", how, [panel])


def _blocks(found: FineMap) -> Block:
    if found.blocks.empty:
        return Text("No haplotype block holds a site of the loci.")
    rows = [
        [
            Cell(row.block),
            Cell(f"{row.contig}:{row.start}-{row.end}"),
            Cell(count(row.sites)),
            Cell(number(row.pip)),
            Cell(row.lead, number(row.lead_pip)),
            Cell(row.genes or "–"),
            Cell(row.known or "–"),
        ]
        for row in found.blocks.head(MAX_ROWS).itertuples()
    ]
    columns = ["Block", "Where", "Sites", "Sum of PIP", "First site", "Genes", "Known"]
    return Table(f"{len(found.blocks):,} blocks, by the probabilities in them", columns, rows)


def _sites(found: FineMap) -> Table:
    best = found.table.sort_values("pip", ascending=False, kind="stable").head(MAX_ROWS)
    rows = [
        [
            Cell(row.rsid),
            Cell(f"{row.chromosome}:{row.position}"),
            Cell(f"{row.ref}/{row.alt}"),
            Cell(number(row.maf)),
            Cell(number(row.pip)),
            Cell(row.set or "–"),
            Cell(number(row.dr2)),
            Cell(row.block or "–"),
            Cell(f"{row.p:.3g}"),
            Cell(f"{row.gene} ({row.gene_distance:,} b)" if row.gene else "–"),
            Cell(row.known or "–"),
        ]
        for row in best.itertuples()
    ]
    columns = ["Site", "Where", "REF/ALT", "MAF", "PIP", "Set", "DR2", "Block", "p", "Gene", "Known"]
    return Table(f"Largest probabilities of {len(found.table):,} sites", columns, rows)


def _clumps(found: FineMap) -> Block:
    if found.clumps.empty:
        return Text(f"No site has p < {found.settings.p:g}.")
    rows = [
        [Cell(row.lead), Cell(f"{row.p:.3g}" if known(row.p) else "–"), Cell(count(row.sites))]
        for row in found.clumps.head(MAX_ROWS).itertuples()
    ]
    return Table("Clumps: sites in LD with one of a smaller p-value", ["Leading site", "p", "Sites"], rows)
