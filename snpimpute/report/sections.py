"""Chapter of a dataset in the report: its summary, and its sections in their order."""

from __future__ import annotations

import pandas as pd

from snpimpute.metrics.registry import METRICS
from snpimpute.report.about import DatasetAbout, ReportContext
from snpimpute.report.calls import single_calls
from snpimpute.report.charts import along_chromosome, by_group, calibration, robustness
from snpimpute.report.conclusions import what_changes
from snpimpute.report.cost import cost
from snpimpute.report.published import beside_published
from snpimpute.report.relatives import relatives
from snpimpute.report.rows import BEST, TIED, WORSE, Rows, label_of
from snpimpute.report.tables import (
    all_sites,
    confusions,
    hard_calls,
    imputers,
    rare_sites,
    true_genotypes,
    worst_samples,
)
from snpimpute.report.text import ABSENT, interval, number, slug_of
from snpimpute.report.tree import COLOURS, Chapter, Style
from snpimpute.report.variants import training_masks, tuned_parameters, visible_inputs


def make_chapter(
    rows: Rows,
    by_offsets: Rows,
    context: ReportContext,
    about: DatasetAbout,
    styles: dict[str, Style],
    place: int,
) -> Chapter:
    """Return the chapter of one dataset.

    Args:
        rows: scores of the dataset by argmax calls.
        by_offsets: its scores by hard calls with offsets.
        context: facts that the report shows beside the scores.
        about: facts about the dataset.
        styles: label → style in figures.
        place: number of the dataset in the report, from 1.
    """
    key = f"d{place}"
    slug = slug_of(about.name)
    if sum(slug_of(other.name) == slug for other in context.datasets) > 1:
        slug = f"{slug}-{place}"
    sections = [
        all_sites(rows),
        single_calls(rows, styles, key, slug),
        beside_published(rows, about),
        robustness(rows, styles, key, slug),
        training_masks(rows, key, slug),
        visible_inputs(rows),
        tuned_parameters(rows),
        hard_calls(rows, by_offsets),
        rare_sites(rows, about),
        what_changes(rows, context.conclusions.get(about.name), styles, key, slug),
        cost(rows, styles, key, slug),
        confusions(rows),
        by_group(rows, styles, key, slug),
        relatives(rows, styles, key, slug),
        along_chromosome(rows, about, styles, key, slug),
        calibration(rows, styles, key, slug),
        worst_samples(rows),
        true_genotypes(rows),
        imputers(rows),
    ]
    return Chapter(
        key,
        about,
        rows.missing,
        _summary(rows),
        rows.best("all", "f1_macro") or ABSENT,
        [s for s in sections if s.blocks],
    )


def _summary(rows: Rows) -> list[str]:
    """Return the result of each headline table in a sentence."""
    sentences = []
    for subset, metric, where in (
        ("all", "f1_macro", "All sites"),
        ("rare_minor", "f1_1", "Rare sites, minor-allele coding"),
    ):
        best = rows.best(subset, metric)
        if best is None:
            continue
        score = rows.get(best, subset, metric)
        verdicts = {label: rows.verdict(label, subset, metric)[0] for label in rows.ranked if not rows.failure(label)}
        tied = [label for label, verdict in verdicts.items() if verdict == TIED]
        text = f"{where}, {rows.missing}: {best} reaches {METRICS[metric].label} {number(score and score.value)}"
        text += f" (95% interval {spread})" if (spread := interval(score)) else ""
        if tied:
            text += f"; not told apart from it: {', '.join(tied)}"
        elif WORSE in verdicts.values():
            text += "; all others are worse" if set(verdicts.values()) == {BEST, WORSE} else ""
        sentences.append(text + ".")
    return sentences


def styles_of(scores: pd.DataFrame, context: ReportContext) -> dict[str, Style]:
    """Return a style for every imputer and variant, the same in all datasets."""
    both = pd.concat([context.imputers[["imputer", "variant"]], scores[["imputer", "variant"]]]).drop_duplicates()
    styles: dict[str, Style] = {}
    for i, (imputer, variants) in enumerate(both.groupby("imputer", sort=False)["variant"]):
        for j, variant in enumerate(variants):
            dash = (j + i // len(COLOURS)) % len(Style.PLOTLY_DASH)
            styles[label_of(str(imputer), variant)] = Style(COLOURS[i % len(COLOURS)], dash)
    return styles
