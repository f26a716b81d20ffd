"""HTML page of the comparison of an imputed file with the truth, made from a Concordance."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from snpimpute import __version__
from snpimpute.base.files import write_text
from snpimpute.impute.compared import BESIDE
from snpimpute.impute.concordance import GOOD_R2, OF_GROUP, OF_SAMPLE, Concordance
from snpimpute.metrics.registry import METRICS
from snpimpute.report.html import page_as_html
from snpimpute.report.text import capital, count, known, number
from snpimpute.report.tree import COLOURS, Block, Cell, Figure, Line, Page, Panel, Point, Section, Style, Table, Text

TABLES = ("samples", "sites", "bins", "groups", "thresholds")
FILES = ("concordance.html", "concordance.json", *(f"{name}.tsv" for name in TABLES))  # of a report, the page first
MAX_POINTS = 4000  # most points of a figure; of more, a random sample is drawn
MAX_ROWS = 25  # most rows of a table; the files beside the page have all
CONCORDANCES = {"concordance": "Concordance", "non_reference_concordance": "Non-reference concordance"}
SCORES, GROUP_SCORES, SAMPLE_SCORES = (
    CONCORDANCES | {key: capital(METRICS[key].label) for key in keys} for keys in (BESIDE, OF_GROUP, OF_SAMPLE)
)
SITE_SCORES = CONCORDANCES | {"f1_macro": capital(METRICS["f1_macro"].label), "dosage_r2": "Dosage r²", "iqs": "IQS"}
CORRELATION = "Centred correlation, mean of samples"


def write_concordance(found: Concordance, folder: Path) -> Path:
    """Write concordance.html, concordance.json and tables as TSV.

    The tables are samples, sites, bins and, if there are any, groups and thresholds.

    Args:
        found: result of `impute.concordance.compare_files`.
        folder: folder to write to; it is made if it is not there, and other files in it are not changed.

    Returns:
        Path of concordance.html.

    Raises:
        InputError: the folder cannot be written, or the file system is full.
    """
    tables: dict[str, pd.DataFrame] = {name: table for name in TABLES if len(table := getattr(found, name))}
    page = folder / FILES[0]
    write_text(page, page_as_html(_page(found, [f"{name}.tsv" for name in tables])))
    for name, table in tables.items():
        write_text(folder / f"{name}.tsv", table.to_csv(sep="\t", index=False, float_format="%.6g"))
    write_text(folder / "concordance.json", json.dumps(as_dict(found), indent=1) + "\n")
    return page


def as_dict(found: Concordance) -> dict[str, Any]:
    """Return all results but the tables of samples and sites, JSON-able; null for a score that is not known."""
    return {
        "truth": found.truth,
        "imputed": found.imputed,
        "fields": found.fields,
        "counts": found.counts,
        "notes": list(found.notes),
        **_plain({"overall": found.overall, "typed": found.typed}),
        **{name: _plain(getattr(found, name).to_dict(orient="records")) for name in ("bins", "groups", "thresholds")},
        "quality": _plain(found.quality),
        "phase": _plain(found.phase),
        "filters": {str(wanted): at_least for wanted, at_least in found.filters.items()},
    }


def _plain(value: Any) -> Any:
    """Return a value of nested dicts and lists with NaN and infinity replaced by None."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def summary(found: Concordance) -> list[str]:
    """Return the results in sentences, a line each."""
    counts, overall = found.counts, found.overall
    scored = (
        f"{counts['calls']:,} calls of {counts['samples']:,} samples at {counts['sites_scored']:,} sites are scored"
    )
    lines = [
        f"{scored} ({found.fields})",
        f"concordance {number(overall['concordance'])}, non-reference {number(overall['non_reference_concordance'])}, "
        f"macro-F1 {number(overall['f1_macro'])}, dosage r² within sites {number(overall['site_dosage_r2'])} "
        f"(pooled, centred by site {number(overall['centred_dosage_r2'])}), IQS {number(overall['centred_iqs'])}, "
        f"centred correlation {number(overall['correlation'])}",
        f"dosage r² within sites is the mean of {counts['sites_varied']:,} sites (left out, without variation in the truth: "
        f"{counts['sites_constant']:,})",
    ]
    if not counts["sites_scored"]:
        lines = ["no call is scored: none that is known in both files was imputed"]
    if found.typed:
        lines.append(
            f"{counts['calls_typed']:,} typed calls are not scored; concordance of these {number(found.typed['concordance'])}"
        )
    if found.phase:
        lines.append(
            f"phase: {found.phase['switches']:,} switches in {found.phase['pairs']:,} pairs of heterozygous calls that follow each "
            f"other, a switch error rate of {found.phase['switch_error']:.2%}"
        )
    sentences = {
        "samples_only_in_truth": "samples are only in the truth",
        "samples_only_in_imputed": "samples are only in the imputed file",
        "records_only_in_truth": "records are only in the truth",
        "records_only_in_imputed": "records are only in the imputed file",
        "same_position_other_alleles": "of these are at the same position with other alleles",
        "not_scored_no_alt": "records have no ALT in both files and are not scored",
        "repeated": "records repeat a site and are not scored",
        "calls_not_imputed": "known calls are missing in the imputed file",
        "calls_without_hard_call": "known calls have a dosage and no GT in the imputed file: scored by dosage alone",
        "calls_typed_by_half": "calls were typed by half (0/.) and are not scored",
        "calls_truth_missing": "calls are missing in the truth",
    }
    lines += [f"{counts[name]:,} {words}" for name, words in sentences.items() if counts[name]]
    lines += found.notes
    if found.quality:
        lines.append(
            f"DR2 and true r² per site: correlation {number(found.quality['correlation'])}, "
            f"DR2 too {'low' if found.quality['bias'] < 0 else 'high'} by {number(abs(found.quality['bias']))} on average "
            f"({found.quality['sites']:,} sites)"
        )
    for wanted, at_least in found.filters.items():
        reached = (
            "no threshold reaches it"
            if at_least is None
            else f"DR2 of {at_least:g} or more"
            if at_least
            else "all sites"
        )
        lines.append(f"for a mean true r² of {wanted:g}: {reached}")
    return lines


def bins_as_text(found: Concordance) -> str:
    """Return the table of MAF bins as text for the terminal."""
    table = found.bins.assign(**{name: found.bins[name].map(number) for name in SCORES})
    return table.to_string(index=False)


def _page(found: Concordance, files: list[str]) -> Page:
    facts = {name: number(found.overall[score]) for score, name in SCORES.items()}
    facts[CORRELATION] = number(found.overall["correlation"])
    sections = [
        Section("maf", "By minor allele frequency", _by_maf(found)),
        Section("groups", "By group", _by_group(found)),
        Section("quality", "DR2 against the true r²", _quality(found)),
        Section("samples", "Samples", [_samples(found)]),
        Section("sites", "Sites", [_sites(found)]),
    ]
    return Page(
        title=f"{found.imputed} against {found.truth}",
        lead="All scores are for calls that are known in both files and were not typed.",
        notes=[],
        findings=[capital(line) + "." for line in summary(found)],
        facts=facts,
        sections=[section for section in sections if section.blocks],
        footer=f"snpimpute {__version__}. Beside this file: {', '.join([*files, 'concordance.json'])}.",
    )


def _by_maf(found: Concordance) -> list[Block]:
    names = [name.replace("-", "–") for name in found.bins.maf]
    ticks = [f"{name}\n{count(n)} sites" for name, n in zip(names, found.bins.sites, strict=True)]
    lines = []
    for i, (score, label) in enumerate(SCORES.items()):
        points = [
            Point(tick, value, np.nan, np.nan, f"{label}\nMAF {name}: {number(value)}")
            for tick, name, value in zip(ticks, names, found.bins[score], strict=True)
            if known(value)
        ]
        if points:
            lines.append(Line(label, Style(COLOURS[i], i % len(Style.PLOTLY_DASH)), points))
    how = "At low frequency nearly all calls are 0, so concordance is high with any imputer: look at the other scores."
    panel = Panel("", "Minor allele frequency in the truth", "Score", lines, ticks)
    figure = Figure("maf-figure", "", "Scores by minor allele frequency", how, [panel])
    columns = ["MAF", "Sites", "Calls", *SCORES.values()]
    rows = [
        [Cell(name), Cell(count(row["sites"])), Cell(count(row["calls"])), *_cells(row, [*SCORES])]
        for name, row in zip(names, found.bins.to_dict(orient="records"), strict=True)
    ]
    return [figure, Table("Scores by minor allele frequency", columns, rows)]


def _by_group(found: Concordance) -> list[Block]:
    if found.groups.empty:
        return []
    rows = [
        [
            Cell(row["group"] or "no group"),
            Cell(count(row["samples"])),
            Cell(count(row["calls"])),
            *_cells(row, [*GROUP_SCORES, "correlation"]),
        ]
        for row in found.groups.to_dict(orient="records")
    ]
    return [Table("Scores by group", ["Group", "Samples", "Calls", *GROUP_SCORES.values(), CORRELATION], rows)]


def _quality(found: Concordance) -> list[Block]:
    both = found.sites[found.sites.quality.notna() & found.sites.dosage_r2.notna()]
    if both.empty:
        return []
    drawn = both if len(both) <= MAX_POINTS else both.sample(MAX_POINTS, random_state=1).sort_index()
    lines = []
    for i, (label, which) in enumerate(
        {"MAF 0.05 or more": drawn.maf >= 0.05, "MAF below 0.05": drawn.maf < 0.05}.items()
    ):
        points = [
            Point(site.quality, site.dosage_r2, np.nan, np.nan, f"{site.contig}:{site.pos}\nDR2 {number(site.quality)}, true {number(site.dosage_r2)}, MAF {number(site.maf)}")
            for site in drawn[which].itertuples()
        ]  # fmt: skip
        if points:
            lines.append(Line(label, Style(COLOURS[i], i), points))
    how = "One point per site. On the dotted line DR2 equals the true r²; below it, DR2 is too high."
    if len(drawn) < len(both):
        how += f" Shown are {len(drawn):,} of {len(both):,} sites, chosen at random."
    panel = Panel("", "DR2 in the file", "True dosage r²", lines, joined=False, diagonal=True)
    figure = Figure("quality-figure", "", "True dosage r² against DR2", how, [panel])
    columns = [
        "DR2 at least",
        "Sites kept",
        "Share",
        "Mean true r²",
        "Concordance",
        f"Sites of r² ≥ {GOOD_R2} lost",
        f"Kept with r² < {GOOD_R2}",
    ]
    rows = [
        [
            Cell(f"{row['at_least']:g}"), Cell(count(row["sites"])), Cell(_percent(row["share"])),
            *_cells(row, ["site_dosage_r2", "concordance"]), Cell(_percent(row["good_lost"])), Cell(_percent(row["poor_kept"])),
        ]
        for row in found.thresholds.to_dict(orient="records")
    ]  # fmt: skip
    caution = Text("With few samples the true r² of a rare site depends on a handful of calls.", "how")
    return [figure, Table("Effect of a filter on DR2", columns, rows), caution]


def _samples(found: Concordance) -> Table:
    lowest = found.samples.sort_values("correlation").head(MAX_ROWS)
    rows = [
        [Cell(row["sample"]), Cell(count(row["calls"])), *_cells(row, [*SAMPLE_SCORES, "correlation"])]
        for row in lowest.to_dict(orient="records")
    ]
    columns = ["Sample", "Calls", *SAMPLE_SCORES.values(), "Centred correlation"]
    return Table(f"Lowest centred correlations, {len(found.samples):,} samples", columns, rows)


def _sites(found: Concordance) -> Table:
    lowest = found.sites[found.sites.calls > 0].sort_values("dosage_r2").head(MAX_ROWS)
    rows = [
        [Cell(f"{row['contig']}:{row['pos']}"), Cell(f"{row['ref']}/{row['alt']}"), *_cells(row, ["maf"]), Cell(count(row["calls"])), *_cells(row, [*SITE_SCORES, "quality"])]
        for row in lowest.to_dict(orient="records")
    ]  # fmt: skip
    return Table(
        f"Lowest dosage r², {len(found.sites):,} sites",
        ["Site", "REF/ALT", "MAF", "Calls", *SITE_SCORES.values(), "DR2"],
        rows,
    )


def _cells(row: dict[Any, Any], names: list[str]) -> list[Cell]:
    return [Cell(number(row[name])) for name in names]


def _percent(share: float) -> str:
    return f"{share:.1%}" if known(share) else "–"
