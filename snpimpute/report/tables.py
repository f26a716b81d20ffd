"""Sections of a dataset that consist of tables."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from snpimpute.metrics.registry import METRICS, Metric
from snpimpute.report.about import DatasetAbout
from snpimpute.report.published import rank_change
from snpimpute.report.rows import BEST, F1_METRICS, TIED, WORSE, Rows, verdict_or_failure
from snpimpute.report.text import ABSENT, Score, capital, count, interval, number, plain, signed, trials_in_words
from snpimpute.report.tree import Block, Cell, Confusion, Folded, Section, Table, Text

FEW_HOMOZYGOTES = 50  # with fewer minor homozygotes, macro-F1 at rare sites depends on single calls
F1_COLUMNS = ("Concordance", "F1 macro", "F1 0", "F1 1", "F1 2")
N_WORST = 10  # number of samples in the table of the worst
N_SQUARES = 4  # number of confusion matrices that are not folded
ARGMAX = "argmax"  # a score by offsets is compared with that of the same imputer without offsets
KINDS = {BEST: "best", TIED: "tie", WORSE: "worse"}

FURTHER = tuple(metric for metric in METRICS.values() if metric.key not in F1_METRICS)  # metrics other than F1


def all_sites(rows: Rows) -> Section:
    """Return the section with the headline scores at all sites."""
    table = []
    further = []
    for label in rows.ranked:
        table.append([_name(rows, label), *_f1_cells(rows, label, "all"), *_difference(rows, label, "all", "f1_macro")])
        scored = rows.get(label, "all", "wrong")
        further.append(
            [
                _name(rows, label),
                Cell(count(scored and scored.value)),
                Cell(count(scored and scored.n)),
                *(_further(rows, label, metric) for metric in FURTHER),
            ]
        )
    columns = ["Imputer", *F1_COLUMNS, "F1 macro: difference to the best", "Verdict"]
    return Section(
        "all",
        "All sites",
        [
            Table(f"F1 at the hidden calls of all sites, {rows.missing}", columns, table),
            Text(
                "Concordance: share of correct calls (the same as F1 micro). F1 0, 1, 2: F1 of genotypes with no, one and two "
                "alternate alleles; macro: their mean. Small figures are 95% intervals. The verdict is “worse” only if the interval of the paired "
                "difference lies wholly below zero.",
                "how",
            ),
            Folded(
                "Further measures",
                [
                    Table(
                        f"Further measures at all sites, {rows.missing}",
                        [
                            "Imputer",
                            "Wrong calls",
                            "Calls scored",
                            *(capital(metric.label) for metric in FURTHER),
                        ],
                        further,
                    ),
                    Text(_sites_averaged(rows, "all", METRICS), "how"),
                ],
            ),
        ],
    )


def _further(rows: Rows, label: str, metric: Metric) -> Cell:
    """Return the cell of a metric that is not an F1, with an interval if imputers are compared in it."""
    if metric.compared:
        return _with_interval(rows.get(label, "all", metric.key))
    return Cell(number(rows.value(label, "all", metric.key)))


def _sites_averaged(rows: Rows, subset: str, metrics: Collection[str]) -> str:
    """Return sentences that say what dosage r² is taken over, for those of its metrics that are shown; may be empty."""
    varied, constant = (_first(rows, subset, f"sites_{which}") for which in ("varied", "constant"))
    sentences = []
    if varied and "site_dosage_r2" in metrics:
        sentences.append(
            f"Dosage r² within sites: the mean over the {count(varied)} hidden sites of all masks that vary in the truth (left "
            f"out, without variation: {count(constant)}). A site where an imputer says the same of all samples has 0."
        )
    if "centred_dosage_r2" in metrics:
        sentences.append("Centred dosage r²: pooled over calls, after each site's mean was taken off.")
    return " ".join(sentences)


def rare_sites(rows: Rows, about: DatasetAbout) -> Section:
    """Return the section with the headline scores at rare sites."""
    counts = {
        subset: [_first(rows, subset, f"truth_{genotype}") for genotype in (0, 1, 2)]
        for subset in ("rare", "rare_minor")
    }
    if all(value is None for values in counts.values() for value in values):
        return Section("rare", "Rare sites", [])
    table = []
    by_genotype = []
    for label in rows.ranked:
        table.append(
            [
                _name(rows, label),
                _with_interval(rows.get(label, "rare", "f1_macro")),
                *_difference(rows, label, "rare", "f1_macro"),
                _with_interval(rows.get(label, "rare_minor", "f1_1")),
                *_difference(rows, label, "rare_minor", "f1_1"),
                _with_interval(rows.get(label, "rare_minor", rows.dosage_r2)),
            ]
        )
        by_genotype.append([_name(rows, label), *_f1_cells(rows, label, "rare")])
    columns = ["Imputer", "F1 macro", "F1 macro: difference to the best", "Verdict"]
    columns += ["Minor coding: F1 of heterozygotes", "Heterozygotes: difference to the best", "Heterozygotes: verdict"]
    columns += [capital(METRICS[rows.dosage_r2].label)]
    blocks: list[Block] = []
    minor_homozygotes = counts["rare_minor"][2]
    if minor_homozygotes is not None and minor_homozygotes < FEW_HOMOZYGOTES:
        blocks.append(
            Text(
                f"Minor homozygotes scored here: {count(minor_homozygotes)}, fewer than {FEW_HOMOZYGOTES}: "
                "do not rely on macro-F1 of rare sites. Use the F1 of heterozygotes in minor-allele coding, and "
                f"{METRICS[rows.dosage_r2].label}.",
                "caution",
            )
        )
    blocks += [
        Table(f"F1 at the hidden calls of rare sites (test MAF < 0.05), {rows.missing}", columns, table),
        Table(
            "True genotypes scored at rare sites",
            ["Coding", "0", "1", "2"],
            [
                [Cell("alternate allele counted"), *(Cell(count(value)) for value in counts["rare"])],
                [Cell("minor allele counted"), *(Cell(count(value)) for value in counts["rare_minor"])],
            ],
        ),
        Text(
            "F1 0, 1, 2 count the alternate allele, as published: at a site where it is the common one, 2 is the common "
            "genotype. Minor coding counts the rarer allele at every site, which dosage r² does not depend on. "
            + _sites_averaged(rows, "rare", [rows.dosage_r2]),
            "how",
        ),
        Folded(
            "F1 of each genotype",
            [Table(f"F1 of each genotype at rare sites, {rows.missing}", ["Imputer", *F1_COLUMNS], by_genotype)],
        ),
        *rank_change(rows, about),
    ]
    return Section("rare", "Rare sites", blocks)


def hard_calls(rows: Rows, by_offsets: Rows) -> Section:
    """Return the section of macro-F1 and rank by the largest posterior and by offsets; empty without offsets."""
    ranks, offset_ranks = rows.ranks("all", "f1_macro"), by_offsets.ranks("all", "f1_macro")
    table = []
    for label in rows.ranked if offset_ranks else []:
        change = by_offsets.difference(label, ARGMAX, "all", "f1_macro")
        table.append(
            [
                _name(rows, label),
                _with_interval(rows.get(label, "all", "f1_macro")),
                Cell(str(ranks.get(label, ABSENT))),
                _with_interval(by_offsets.get(label, "all", "f1_macro")),
                Cell(str(offset_ranks.get(label, ABSENT))),
                Cell(signed(change), interval(change, signed=True)),
                *_difference(by_offsets, label, "all", "f1_macro"),
            ]
        )
    columns = ["Imputer", "F1 macro", "Rank", "With offsets: F1 macro", "With offsets: rank", "Difference by offsets"]
    columns += ["With offsets: difference to the best", "With offsets: verdict"]
    how = (
        "Everywhere else a hard call is the genotype of the largest posterior. Here each imputer's log-posterior is given an "
        "offset for each genotype first, chosen for each level on validation samples, with a fit that had not seen them, to "
        "maximise macro-F1. The posterior itself does not change."
    )
    blocks: list[Block] = [Table(f"Macro-F1 at the hidden calls of all sites, {rows.missing}", columns, table)]
    return Section("offsets", "Hard calls with offsets", [*blocks, Text(how, "how")] if table else [])


def by_level(rows: Rows, mechanism: str, subset: str, where: str) -> Table:
    """Return a table of each imputer's difference to the best at each level of a mechanism."""
    marks = {WORSE: " ▼", TIED: " ≈"}
    scenarios = rows.scenarios(mechanism, subset, "f1_macro")
    table = []
    for label in rows.ranked:
        cells = [_name(rows, label)]
        for scenario in scenarios:
            verdict, found = rows.verdict(label, subset, "f1_macro", scenario)
            if verdict == BEST:
                cells.append(Cell(BEST, number(rows.value(label, subset, "f1_macro", scenario)), KINDS[BEST]))
            else:
                text = signed(found) + marks.get(verdict, "")
                cells.append(Cell(text, interval(found, signed=True), "mark-" + KINDS.get(verdict, "none")))
        table.append(cells)
    levels = [f"{level:g}%" for _, level in scenarios]
    return Table(f"Macro-F1: difference to the best at each level, {where}", ["Imputer", *levels], table)


def confusions(rows: Rows) -> Section:
    """Return the section of confusion matrices."""
    counts = {}
    for label in rows.ranked:
        square = [[rows.value(label, "all", f"confusion_{true}{called}") for called in range(3)] for true in range(3)]
        if not np.isnan(square).any():
            counts[label] = square
    how = "Rows: true genotype; columns: genotype called; percentages are of the row. Wrong calls lie off the diagonal."
    in_sight = dict(list(counts.items())[:N_SQUARES])
    others = {label: square for label, square in counts.items() if label not in in_sight}
    blocks: list[Block] = [Confusion(in_sight), Text(how, "how")] if counts else []
    if others:
        blocks.append(Folded(f"The others ({len(others)})", [Confusion(others)]))
    return Section("confusion", f"Which genotypes are confused ({rows.missing})", blocks)


def worst_samples(rows: Rows) -> Section:
    """Return the section of the samples that the best imputer imputes worst."""
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
                Cell(count(calls and calls.n)),
                Cell(number(rows.value(best, subset, "f1_micro"))),
                Cell(number(rows.value(best, subset, "f1_macro"))),
                *(Cell(number(rows.value(label, subset, "f1_micro"))) for label in others),
            ]
        )
    columns = [
        "Sample",
        "Calls scored",
        f"{best}: concordance",
        f"{best}: F1 macro",
        *(f"{label}: concordance" for label in others),
    ]
    how = "A sample that every imputer finds hard may be mislabelled, of another population, or poorly genotyped."
    return Section(
        "samples",
        title,
        [
            Text(how, "how"),
            Folded(
                f"The {len(worst)} samples, and the scores of each imputer on them",
                [Table(f"The {len(worst)} samples that {best} imputes worst", columns, table)],
            ),
        ],
    )


def true_genotypes(rows: Rows) -> Section:
    """Return the section of scores against the simulated true genotypes; empty for real data."""
    table = []
    for label in rows.ranked:
        if all(rows.get(label, subset, "f1_macro") is None for subset in ("true:all", "true:rare")):
            continue
        cells = [_name(rows, label), Cell(number(rows.value(label, "all", "f1_macro")))]
        cells += _f1_cells(rows, label, "true:all")
        cells += [
            Cell(number(rows.value(label, "rare", "f1_macro"))),
            _with_interval(rows.get(label, "true:rare", "f1_macro")),
        ]
        table.append([*cells, _with_interval(rows.get(label, "true:rare", "f1_1"))])
    columns = [
        "Imputer",
        "Called genotypes: F1 macro",
        *(f"True: {name}" for name in ("concordance", *F1_COLUMNS[1:])),
    ]
    columns += ["Rare, called: F1 macro", "Rare, true: F1 macro", "Rare, true: F1 1"]
    how = "The headline scores compare with called genotypes, errors included, as for real data; these compare with the simulated truth."
    blocks: list[Block] = [
        Table(f"Scored against the true genotypes, {rows.missing}", columns, table),
        Text(how, "how"),
    ]
    folded = Folded("Scores of each imputer against the truth", blocks)
    return Section("truth", "Against the true genotypes (simulated data)", [folded] if table else [])


def imputers(rows: Rows) -> Section:
    """Return the section of status, masks and parameters of each imputer."""
    table = []
    for label in rows.ranked:
        meta = rows.about(label)
        reason = rows.failure(label)
        table.append(
            [
                _name(rows, label),
                Cell(f"failed: {reason}" if reason else "ok", kind="failed" if reason else ""),
                Cell(plain(meta.get("framework"))),
                Cell(plain(meta.get("mask"))),
                Cell(number(meta.get("val_f1_macro"))),
                Cell(plain(meta.get("inputs"))),
                Cell(plain(meta.get("study_ended_by"))),
                Cell(plain(meta.get("params")), kind="params"),
            ]
        )
    columns = ["Imputer", "Status", "Framework", "Training masks", "Validation macro-F1", "Inputs while learning"]
    columns += ["Study ended by", "Parameters used"]
    folded = Folded("Status, training masks and parameters of each imputer", [Table("Imputers", columns, table)])
    return Section("imputers", "The imputers and their parameters", [folded])


def _name(rows: Rows, label: str) -> Cell:
    return Cell(label, trials_in_words(rows.about(label).get("trials")), kind="name")


def _difference(rows: Rows, label: str, subset: str, metric: str) -> list[Cell]:
    """Return two cells: the difference to the best with its interval, and the verdict."""
    verdict, found = rows.verdict(label, subset, metric)
    word = verdict_or_failure(rows, label, verdict)
    kind = "failed" if rows.failure(label) else KINDS.get(verdict, "")
    return [Cell(signed(found), interval(found, signed=True)), Cell(word, kind=kind)]


def _with_interval(score: Score | None) -> Cell:
    return Cell(number(score and score.value), interval(score))


def _f1_cells(rows: Rows, label: str, subset: str) -> list[Cell]:
    return [
        _with_interval(rows.get(label, subset, metric))
        if metric == "f1_macro"
        else Cell(number(rows.value(label, subset, metric)))
        for metric in F1_METRICS
    ]


def _first(rows: Rows, subset: str, metric: str) -> float | None:
    """Return a count of the truth, which is the same for every imputer; None if no imputer has it."""
    found = (rows.value(label, subset, metric) for label in rows.ranked)
    return next((value for value in found if value == value), None)
