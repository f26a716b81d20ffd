"""HTML page of a check of a target against a panel, made from a TargetCheck."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute import __version__
from snpimpute.base.files import write_text
from snpimpute.impute.findings import MIN_CALL_RATE, TargetCheck
from snpimpute.impute.matching import KINDS, SHARED, SWAPPED, USABLE
from snpimpute.report.html import page_as_html
from snpimpute.report.text import capital, count, known, number
from snpimpute.report.tree import COLOURS, Block, Cell, Figure, Line, Page, Panel, Point, Section, Style, Table, Text

FILES = ("qc.html", "excluded.tsv", "samples.tsv", "trios.tsv")  # of a report, the page first
MAX_POINTS = 4000  # most points of a figure; of more, a random sample is drawn
MAX_ROWS = 25  # most rows of a table; the files beside the page have all
CALL_RATES = (
    (1.0, "all calls"),
    (0.99, "99% or more"),
    (0.95, "95% to 99%"),
    (MIN_CALL_RATE, "90% to 95%"),
    (0.0, "less"),
)


def write_check(check: TargetCheck, folder: Path) -> Path:
    """Write qc.html, excluded.tsv (the records left out, with reasons), samples.tsv and, with parents, trios.tsv.

    Args:
        check: result of `impute.check.check_target`.
        folder: folder to write to; it is made if it is not there, and other files in it are not changed.

    Returns:
        Path of qc.html.

    Raises:
        InputError: the folder cannot be written, or the file system is full.
    """
    tables = {"excluded.tsv": check.excluded, "samples.tsv": check.samples}
    if len(check.trios):
        tables["trios.tsv"] = check.trios
    page = folder / FILES[0]
    write_text(page, page_as_html(_page(check, list(tables))))
    for name, table in tables.items():
        write_text(folder / name, table.to_csv(sep="\t", index=False, float_format="%.6g"))
    return page


def verdict(check: TargetCheck) -> str:
    """Return a sentence that says whether the target can be imputed."""
    counts = check.counts
    if check.problems:
        return f"{check.target} cannot be imputed with {check.panel} in its present state."
    return (
        f"{check.target} can be imputed with {check.panel}: {counts['usable']:,} of its {counts['records']:,} records are "
        f"sites of the panel, which has {counts['panel_sites']:,}."
    )


def as_dict(check: TargetCheck) -> dict[str, Any]:
    """Return all findings but the tables of sites and samples, JSON-able; null for a correlation that is not known."""
    correlation = check.frequency_correlation
    return {
        "target": check.target,
        "panel": check.panel,
        "problems": list(check.problems),
        "warnings": list(check.warnings),
        "counts": check.counts,
        "contigs": check.contigs,
        "builds": {"target": check.builds[0], "panel": check.builds[1]},
        "frequency_correlation": correlation if known(correlation) else None,
    }


def _page(check: TargetCheck, files: list[str]) -> Page:
    counts = check.counts
    facts = {
        "Samples": count(counts["samples"]),
        "Records": count(counts["records"]),
        "Usable sites": count(counts["usable"]),
        "Sites of the panel": count(counts["panel_sites"]),
        "Panel sites typed": f"{counts['usable'] / counts['panel_sites']:.1%}",
        "Frequency correlation": number(check.frequency_correlation),
    }
    if any(check.builds):
        facts["Build: target, panel"] = ", ".join(build or "not known" for build in check.builds)
    sections = [
        Section("records", "Records", [_kinds(check), *_contigs(check)]),
        Section("frequencies", "Allele frequencies", _frequencies(check)),
        Section("calls", "Calls", [_call_kinds(check), _call_rates(check), *_heterozygosity(check)]),
        Section("parents", "Parents", _parents(check)),
        Section("samples", "Samples", [_samples(check)]),
    ]
    return Page(
        title=f"{check.target} against {check.panel}",
        lead=verdict(check),
        notes=[capital(line) + "." for line in check.problems],
        findings=[capital(line) + "." for line in check.warnings] or ["There is nothing else to note."],
        facts=facts,
        sections=[section for section in sections if section.blocks],
        footer=f"snpimpute {__version__}. Beside this file: {', '.join(files)}.",
    )


def _kinds(check: TargetCheck) -> Table:
    rows = []
    for kind, meaning in KINDS.items():
        n = int((check.sites.kind == kind).sum())
        done = "used" if kind in USABLE else "left out"
        rows.append(
            [Cell(kind), Cell(count(n)), Cell(f"{n / len(check.sites):.1%}"), Cell(done), Cell(meaning, kind="prose")]
        )
    return Table("The target's records by their match to the panel", ["Kind", "Records", "Share", "", "Meaning"], rows)


def _contigs(check: TargetCheck) -> list[Block]:
    usable = check.usable
    rows = []
    for contig, of_contig in check.sites.groupby("contig", sort=False):
        used = int(usable[of_contig.index].sum())
        there = check.contigs.get(str(contig), "")
        rows.append([Cell(str(contig)), Cell(there or "absent"), Cell(count(len(of_contig))), Cell(count(used))])
    shown = rows[: 3 * MAX_ROWS]
    more = [Text(f"{len(rows) - len(shown):,} more contigs are not shown.")] if len(rows) > len(shown) else []
    return [Table("Contigs", ["Target", "Panel", "Records", "Usable"], shown), *more]


def _frequencies(check: TargetCheck) -> list[Block]:
    sites = check.sites[check.usable & check.sites.alt_frequency.notna() & check.sites.panel_frequency.notna()]
    if sites.empty:
        return []
    apart = (sites.alt_frequency - sites.panel_frequency).abs().sort_values(ascending=False)
    drawn = sites
    if len(sites) > MAX_POINTS:
        far = apart.index[: MAX_POINTS // 4]
        others = np.random.default_rng(1).choice(sites.index.difference(far), MAX_POINTS - len(far), replace=False)
        drawn = sites.loc[np.sort(np.concatenate([far, others]))]
    groups = {
        "REF and ALT alike": (drawn.kind == SHARED) & ~drawn.palindromic,
        "REF and ALT exchanged": (drawn.kind == SWAPPED) & ~drawn.palindromic,
        "A/T and C/G": drawn.palindromic,
    }
    lines = [
        Line(label, Style(COLOURS[i], i), [_frequency_point(site) for site in drawn[which].itertuples()])
        for i, (label, which) in enumerate(groups.items())
        if which.any()
    ]
    how = "One point per usable site, after exchanged alleles are corrected. Look for the cause of points far from the "
    how += "dotted line; points along the other diagonal have their alleles mixed up."
    if len(drawn) < len(sites):
        how += f" Shown are {len(drawn):,} of {len(sites):,} sites: those farthest from the line, the others at random."
    figure = Figure(
        "frequencies-figure", "", "Frequency of the alternate allele in target and panel", how,
        [Panel("", "Frequency in the panel", "Frequency in the target", lines, joined=False, diagonal=True, y_range=(-0.02, 1.02))],
    )  # fmt: skip
    rows = [
        [
            Cell(f"{site.contig}:{site.pos}"), Cell(f"{site.ref}/{site.alt or '.'}"), Cell(site.kind),
            Cell(number(site.alt_frequency)), Cell(number(site.panel_frequency)), Cell(f"{site.call_rate:.1%}"),
        ]
        for site in sites.loc[apart.index[:MAX_ROWS]].itertuples()
    ]  # fmt: skip
    columns = ["Site", "REF/ALT", "Kind", "In the target", "In the panel", "Call rate"]
    return [figure, Table("Farthest from the panel's frequency", columns, rows)]


def _frequency_point(site: Any) -> Point:
    x, y = site.panel_frequency, site.alt_frequency
    name = f"{site.contig}:{site.pos} {site.ref}/{site.alt or '.'}"
    return Point(x, y, np.nan, np.nan, f"{name}\ntarget {number(y)}, panel {number(x)}")


def _call_kinds(check: TargetCheck) -> Table:
    counts = check.counts
    total = counts["records"] * counts["samples"]
    odd = counts["half_calls"] + counts["polyploid_calls"]
    found = {
        "phased": counts["phased_calls"],
        "unphased": counts["calls"] - counts["phased_calls"] - counts["haploid_calls"],
        "half (0/.), taken as missing": counts["half_calls"],
        "haploid": counts["haploid_calls"],
        "of more than two alleles": counts["polyploid_calls"],
        "missing": total - counts["calls"] - odd,
    }
    rows = [[Cell(name), Cell(count(n)), Cell(f"{n / total:.2%}")] for name, n in found.items()]
    return Table("Calls of all records", ["Call", "Calls", "Share"], rows)


def _call_rates(check: TargetCheck) -> Table:
    sites, samples = check.sites.call_rate[check.usable], check.samples.call_rate.dropna()
    rows, above = [], np.inf
    for least, name in CALL_RATES:
        within = [int(((rates >= least) & (rates < above)).sum()) for rates in (sites, samples)]
        rows.append([Cell(name), *(Cell(count(n)) for n in within)])
        above = least
    return Table("Call rates", ["Call rate", "Usable sites", "Samples"], rows)


def _heterozygosity(check: TargetCheck) -> list[Block]:
    samples = check.samples[check.samples.heterozygosity.notna()]
    if len(samples) < 2:
        return []
    if len(samples) > MAX_POINTS:
        samples = samples.sample(MAX_POINTS, random_state=1).sort_index()
    groups = samples.group.replace("", "no group") if "group" in samples else pd.Series("samples", index=samples.index)
    most = list(groups.value_counts().index[: len(COLOURS)])
    lines = [
        Line(
            str(group),
            Style(COLOURS[i], 0),
            [
                Point(s.call_rate, s.heterozygosity, np.nan, np.nan, f"{s.sample}\ncall rate {s.call_rate:.1%}, heterozygous {s.heterozygosity:.1%}")
                for s in samples[groups == group].itertuples()
            ],
        )
        for i, group in enumerate(most)
    ]  # fmt: skip
    how = "One point per sample. Too many heterozygous calls indicate mixed DNA, too few inbreeding or a bad sample."
    panel = Panel("", "Call rate", "Heterozygous calls (share)", lines, joined=False)
    return [Figure("heterozygosity-figure", "", "Heterozygosity against call rate of the samples", how, [panel])]


def _parents(check: TargetCheck) -> list[Block]:
    if check.trios.empty:
        return []
    trios = check.trios.assign(share=check.trios.conflicts / check.trios.sites.clip(lower=1))
    trios = trios[trios.conflicts > 0].sort_values(["share", "conflicts"], ascending=False)
    if trios.empty:
        return [
            Text(f"No call contradicts inheritance in the {len(check.trios):,} samples with a parent in the target.")
        ]
    rows = [
        [
            Cell(trio.sample), Cell(trio.sire or "absent"), Cell(trio.dam or "absent"), Cell(count(trio.sites)),
            Cell(count(trio.conflicts)), Cell(f"{trio.share:.2%}"), Cell(count(trio.sire_conflicts)), Cell(count(trio.dam_conflicts)),
        ]
        for trio in trios.head(MAX_ROWS).itertuples()
    ]  # fmt: skip
    columns = ["Sample", "Sire", "Dam", "Sites compared", "Conflicts", "Share", "With the sire", "With the dam"]
    how = "A wrong parent causes conflicts at many sites (opposite homozygotes of parent and offspring), a bad site in many families."
    blocks: list[Block] = [
        Table(f"Calls that contradict the parents: {len(trios):,} of {len(check.trios):,} samples", columns, rows),
        Text(how, "how"),
    ]
    sites = check.sites[check.sites.conflicts > 0].sort_values("conflicts", ascending=False).head(MAX_ROWS)
    if len(sites):
        of_sites = [
            [Cell(f"{site.contig}:{site.pos}"), Cell(count(site.conflicts)), Cell(count(site.trios))]
            for site in sites.itertuples()
        ]
        blocks.append(Table("Sites with most conflicts", ["Site", "Conflicts", "Families compared"], of_sites))
    return blocks


def _samples(check: TargetCheck) -> Table:
    lowest = check.samples.sort_values("call_rate").head(MAX_ROWS)
    rows = [
        [
            Cell(sample.sample), Cell(f"{sample.call_rate:.1%}" if known(sample.call_rate) else "none"),
            Cell(number(sample.heterozygosity)), Cell(f"{sample.phased:.0%}" if known(sample.phased) else "none"),
            Cell(count(sample.haploid)), Cell(count(sample.half)),
        ]
        for sample in lowest.itertuples()
    ]  # fmt: skip
    columns = ["Sample", "Call rate", "Heterozygous", "Phased", "Haploid calls", "Half calls"]
    return Table(f"Lowest call rates, {len(check.samples):,} samples", columns, rows)
