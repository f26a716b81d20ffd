"""Page, figures and files of an association."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute import __version__
from snpimpute.base.files import write_text, written_beside
from snpimpute.io.maps import GeneticMap
from snpimpute.report.figures import draw_png
from snpimpute.report.html import page_as_html
from snpimpute.report.text import count, known, number
from snpimpute.report.tree import COLOURS, Block, Cell, Figure, Line, Page, Panel, Point, Section, Style, Table
from snpimpute.traits.associate import GENOME_WIDE, Association
from snpimpute.traits.gwas import as_text, spelled_p

FILES = ("association.html", "association.tsv", "association.json", "manhattan.png", "qq.png", "region.png")
WORTH_A_POINT = 2.0  # −log₁₀ p from which on every site is drawn; of the others a sample
MAX_POINTS = 6_000  # most points of a figure that are below that
MAX_ROWS = 25  # most rows of a table
REGION = 500_000  # bases to either side of the lead site that the regional figure shows
R2_BINS = ((0.8, "r² 0.8 to 1"), (0.5, "0.5 to 0.8"), (0.2, "0.2 to 0.5"), (-1.0, "below 0.2"))


def write_association(found: Association, folder: Path, genetic_map: GeneticMap | None = None) -> Path:
    """Write the results as GWAS-SSF (association.tsv), JSON and a page, its figures also as PNG.

    Args:
        found: result of `associate.associate`.
        folder: folder to write to; it is made if it is not there, and other files in it are not changed.
        genetic_map: recombination is drawn from it below the region; None = it is not drawn.

    Returns:
        Path of association.html.

    Raises:
        InputError: the map has not the lead site's contig; or the folder cannot be written, or the file system is full.
    """
    figures = [_manhattan(found), _quantiles(found), *_region(found, genetic_map)]
    page = folder / FILES[0]
    write_text(page, page_as_html(_page(found, figures)))
    write_text(folder / FILES[1], as_text(found.table))
    write_text(folder / FILES[2], json.dumps(as_dict(found), indent=1) + "\n")
    for figure in figures:
        if figure.png:
            with written_beside(folder / figure.png) as beside:
                draw_png(figure, beside)
    return page


def as_dict(found: Association) -> dict[str, Any]:
    """Return the results but the table, JSON-able."""
    lead = found.table.iloc[found.lead]
    return {
        "genotypes": found.dosages.name,
        "traits": found.settings.traits.name,
        "trait": found.trait.name,
        "binary": found.trait.binary,
        "model": found.model,
        "why": found.why,
        "covariates": list(found.trait.covariate_names),
        "fields": found.dosages.fields,
        "samples": found.trait.n_samples,
        "sites": len(found.table),
        "not_tested": found.not_tested,
        "genomic_inflation": found.inflation,
        "significant": found.significant,
        "lead": {
            "chromosome": str(lead.chromosome),
            "position": int(lead.base_pair_location),
            "rsid": lead.rsid,
            "effect_allele": lead.effect_allele,
            "other_allele": lead.other_allele,
            "beta": float(lead.beta),
            "standard_error": float(lead.standard_error),
            "p_value": spelled_p(lead.p_value, lead.neg_log_10_p_value),
            "dr2": float(lead["info"]) if known(lead["info"]) else None,
        },
        "notes": list(found.notes),
        "snpimpute": __version__,
    }


def summary(found: Association) -> list[str]:
    """Return the results in sentences, a line each."""
    lead = found.table.iloc[found.lead]
    kind = {"linear": "linear regression", "logistic": "logistic regression", "mixed": "mixed model"}[found.model]
    lines = [
        f"{found.trait.name}: {len(found.table):,} sites tested in {found.trait.n_samples:,} samples by {kind} ({found.dosages.fields})",
        f"model: {found.model}, because {found.why}"
        if found.why != "asked for"
        else f"model: {found.model}, as asked for",
        f"lead site {lead.chromosome}:{lead.base_pair_location} {lead.other_allele}/{lead.effect_allele}"
        f"{f' ({lead.rsid})' if lead.rsid else ''}: effect {lead.beta:.4g} (standard error {lead.standard_error:.3g}), "
        f"p {spelled_p(lead.p_value, lead.neg_log_10_p_value)}"
        + (f", DR2 {number(lead['info'])}" if known(lead["info"]) else ""),
        f"{count(found.significant)} sites with p < {GENOME_WIDE:g}; genomic inflation {number(found.inflation)}",
    ]
    if found.trait.covariate_names:
        lines.append(f"covariates: {', '.join(found.trait.covariate_names)}")
    if found.not_tested:
        lines.append(f"{found.not_tested:,} sites not tested: they do not vary, or follow from the covariates")
    return lines + list(found.notes)


def _page(found: Association, figures: list[Figure]) -> Page:
    facts = {
        "Samples": count(found.trait.n_samples),
        "Sites": count(len(found.table)),
        "Model": found.model,
        "Genomic inflation": number(found.inflation),
        f"Sites with p < {GENOME_WIDE:g}": count(found.significant),
    }
    titles = ("Along the genome", "Observed against expected", "Around the lead site", "Recombination")
    keys = ("manhattan", "quantiles", "region", "recombination")
    sections: list[Section] = []
    for key, title, figure in zip(keys, titles, figures, strict=False):
        blocks: list[Block] = [figure]
        sections.append(Section(key, title, blocks))
    sections.append(Section("sites", "Sites", [_sites(found)]))
    return Page(
        title=f"{found.trait.name} in {found.dosages.name}",
        lead="Effects are those of one copy of the effect allele (ALT).",
        notes=[],
        findings=[f"{line}." for line in summary(found)],
        facts=facts,
        sections=sections,
        footer=f"snpimpute {__version__}. Beside this file: {', '.join(FILES[1:])}.",
    )


def _drawn(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that a figure shows: all with a small p-value, of the others at most MAX_POINTS."""
    others = table[table.neg_log_10_p_value < WORTH_A_POINT]
    if len(others) <= MAX_POINTS:
        return table
    left = others.sample(MAX_POINTS, random_state=1)
    return table[(table.neg_log_10_p_value >= WORTH_A_POINT) | table.index.isin(left.index)]


def _hover(site: Any) -> str:
    quality = f"\nDR2 {number(site.info)}" if known(site.info) else ""
    return f"{site.chromosome}:{site.base_pair_location} {site.rsid}\np {spelled_p(site.p_value, site.neg_log_10_p_value)}{quality}"


def _points(table: pd.DataFrame, x: np.ndarray) -> list[Point]:
    return [
        Point(float(at), float(site.neg_log_10_p_value), np.nan, np.nan, _hover(site))
        for at, site in zip(x, table.itertuples(), strict=True)
    ]


def _manhattan(found: Association) -> Figure:
    table = found.table
    contigs = list(dict.fromkeys(table.chromosome))
    starts, at = {}, 0.0
    for contig in contigs:
        pos = table.base_pair_location[table.chromosome == contig]
        starts[contig] = at - (float(pos.min()) if len(contigs) > 1 else 0.0)
        at += float(pos.max() - pos.min()) * 1.02 + 1.0
    drawn = _drawn(table)
    x = (drawn.base_pair_location + drawn.chromosome.map(starts)).to_numpy() / 1e6
    odd = drawn.chromosome.map({contig: i % 2 for i, contig in enumerate(contigs)}).to_numpy()
    labels = ("contigs 1, 3, 5 … of the file", "contigs 2, 4, 6 …") if len(contigs) > 1 else (f"contig {contigs[0]}",)
    lines = [Line(label, Style(COLOURS[i], i), _points(drawn[odd == i], x[odd == i])) for i, label in enumerate(labels)]
    how = f"One point per site; the dotted line is p = {GENOME_WIDE:g}."
    if len(drawn) < len(table):
        how += f" Of the sites with p above {10**-WORTH_A_POINT:g}, {MAX_POINTS:,} are shown, chosen at random."
    x_title = f"Position on contig {contigs[0]} (Mb)" if len(contigs) == 1 else "Position (Mb), contig after contig"
    panel = Panel("", x_title, "−log₁₀ p", lines, joined=False, level=float(-np.log10(GENOME_WIDE)))
    return Figure("manhattan-figure", "manhattan.png", "p-values along the genome", how, [panel])


def _quantiles(found: Association) -> Figure:
    observed = found.table.sort_values("neg_log_10_p_value", ascending=False)
    expected = pd.Series(-np.log10((np.arange(len(observed)) + 0.5) / len(observed)), index=observed.index)
    drawn = _drawn(observed)
    line = Line("sites", Style(COLOURS[0], 0), _points(drawn, expected[drawn.index].to_numpy()))
    how = (
        "Where no site has an effect and the model fits, points lie on the dotted line; its genomic inflation is "
        f"{number(found.inflation)}."
    )
    panel = Panel("", "Expected −log₁₀ p", "Observed −log₁₀ p", [line], joined=False, diagonal=True)
    return Figure("quantiles-figure", "qq.png", "Observed against expected p-values", how, [panel])


def _region(found: Association, genetic_map: GeneticMap | None) -> list[Figure]:
    """Return the figure of the sites around the lead, and of recombination there if there is a map."""
    lead = found.table.iloc[found.lead]
    pos = found.table.base_pair_location.to_numpy()
    near = (found.table.chromosome == lead.chromosome).to_numpy() & (abs(pos - lead.base_pair_location) <= REGION)
    table, centred = found.table[near], found.dosages.take_sites(near).standardised()
    own = centred[:, int(np.flatnonzero(near).searchsorted(found.lead))]
    r2 = (own @ centred / len(own)) ** 2
    x = table.base_pair_location.to_numpy() / 1e6
    lines, left = [], np.ones(len(table), dtype=bool)
    for i, (least, label) in enumerate(R2_BINS):
        chosen = left & (r2 >= least)
        left &= ~chosen
        if chosen.any():
            colour = (COLOURS[1], COLOURS[3], COLOURS[2], COLOURS[4])[i]
            lines.append(Line(label, Style(colour, i), _points(table[chosen], x[chosen])))
    quality = table["info"].to_numpy()
    stated = [
        Point(float(at), float(q), np.nan, np.nan, f"DR2 {number(q)}")
        for at, q in zip(x, quality, strict=True)
        if known(q)
    ]
    if stated:
        lines.append(Line("DR2", Style(COLOURS[-1], 0), stated, lower=True))
    where = f"Position on contig {lead.chromosome} (Mb)"
    panel = Panel(
        "",
        where,
        "−log₁₀ p",
        lines,
        joined=False,
        lower_title="DR2" if stated else "",
        level=float(-np.log10(GENOME_WIDE)),
    )
    how = f"Colours: r² with the lead site {lead.chromosome}:{lead.base_pair_location}, in the samples tested."
    figures = [Figure("region-figure", "region.png", "p-values around the lead site, with r² to it", how, [panel])]
    if genetic_map is not None and len(x) > 1:
        figures.append(_recombination(genetic_map, str(lead.chromosome), x * 1e6, where))
    return figures


def _recombination(genetic_map: GeneticMap, contig: str, pos: np.ndarray, where: str) -> Figure:
    """Return the figure of the recombination rate over the region of the sites at `pos`."""
    edges = np.linspace(pos.min(), pos.max(), 101)
    rate = np.diff(genetic_map.centimorgans(contig, edges)) / (np.diff(edges) / 1e6)
    middle = (edges[1:] + edges[:-1]) / 2e6
    points = [
        Point(float(x), float(y), np.nan, np.nan, f"{number(y)} cM/Mb") for x, y in zip(middle, rate, strict=True)
    ]
    panel = Panel("", where, "Recombination (cM/Mb)", [Line("genetic map", Style(COLOURS[-1], 0), points)])
    return Figure(
        "recombination-figure", "", "Recombination rate around the lead site", "From the genetic map given.", [panel]
    )


def _sites(found: Association) -> Table:
    best = found.table.sort_values("neg_log_10_p_value", ascending=False).head(MAX_ROWS)
    rows = [
        [
            Cell(f"{site.chromosome}:{site.base_pair_location}"),
            Cell(site.rsid or "–"),
            Cell(f"{site.other_allele}/{site.effect_allele}"),
            Cell(f"{site.beta:.4g}"),
            Cell(f"{site.standard_error:.3g}"),
            Cell(spelled_p(site.p_value, site.neg_log_10_p_value)),
            Cell(number(site.effect_allele_frequency)),
            Cell(number(site.info)),
        ]
        for site in best.itertuples()
    ]
    columns = ["Site", "Name", "Other/effect allele", "Effect", "Standard error", "p", "Frequency", "DR2"]
    return Table(f"Smallest p-values of {len(found.table):,} sites", columns, rows)
