"""Comparison with the published scores: the two published tables, and the order of the five published models."""

from __future__ import annotations

from itertools import pairwise

from snpimpute.metrics.registry import METRICS
from snpimpute.report.about import DatasetAbout
from snpimpute.report.rows import ALIKE, BETTER, F1_METRICS, WORSE, Rows, judge_difference
from snpimpute.report.text import ABSENT, capital, count, interval, listed, number, signed
from snpimpute.report.tree import Block, Cell, Folded, Section, Table, Text

SOURCE = "Zawadzka, Szyda, Frąszczak"
PUBLISHED_LEVEL = 60.0
BASELINE = "Beagle"
MODELS = {"BERT": "bert", "DenseEmb": "dense_emb", "Dense": "dense", "CAE": "cae", "Beagle": "beagle"}
# F1 micro, macro, 0, 1, 2 and parameters at 60% of the sites hidden
PUBLISHED_ALL: dict[str, tuple[float | None, ...]] = {
    "BERT": (0.917, 0.868, 0.953, 0.811, 0.840, 1_779_976),
    "DenseEmb": (0.906, 0.853, 0.946, 0.777, 0.835, 3_166_748),
    "Dense": (0.909, 0.847, 0.950, 0.782, 0.810, 3_133_948),
    "CAE": (0.906, 0.838, 0.949, 0.757, 0.809, 73_035_868),
    "Beagle": (0.897, 0.807, 0.948, 0.676, 0.797, None),
}
PUBLISHED_RARE: dict[str, tuple[float | None, ...]] = {
    "BERT": (0.954, 0.563, 0.976, 0.541, 0.173),
    "Beagle": (0.971, 0.556, 0.986, 0.533, 0.148),
    "Dense": (0.966, 0.490, 0.983, 0.421, 0.066),
    "DenseEmb": (0.965, 0.450, 0.982, 0.369, 0.0),
    "CAE": (0.961, 0.356, 0.980, 0.088, 0.0),
}
PUBLISHED = {"all": PUBLISHED_ALL, "rare": PUBLISHED_RARE}
WHERE = {"all": "all sites", "rare": "rare sites (test MAF < 0.05)"}
MARKS = {BETTER: " ▲", WORSE: " ▼", ALIKE: " ≈"}
MACRO = F1_METRICS.index("f1_macro")


def beside_published(rows: Rows, about: DatasetAbout) -> Section:
    """Return the section with published and own scores; empty if they may not be shown side by side."""
    blocks: list[Block] = []
    section = Section("published", f"Beside the published tables ({rows.missing})", blocks)
    ours = _own_variants(rows)
    if not ours or not shows_published(rows, about):
        return section
    variants = dict.fromkeys(variant for labels in ours.values() for variant in labels)
    for subset, published in PUBLISHED.items():
        table = [
            [Cell(model, kind="name"), Cell(number(published[model][MACRO]), kind="published")]
            + [_macro(rows, labels[variant], subset) if variant in labels else Cell("") for variant in variants]
            for model in published
            if (labels := ours.get(model))
        ]
        caption = f"Macro-F1 at the hidden calls of {WHERE[subset]}: published, and each variant here"
        blocks.append(Table(caption, ["Model", "Published", *variants], table))
    layout = [_layout(rows, subset, ours) for subset in PUBLISHED]
    blocks += [
        Text(
            f"Published: {SOURCE}, other data of this shape, fixed training masks, Beagle's settings not given. "
            "Small figures are 95% intervals; the published numbers have none.",
            "how",
        ),
        Folded("All scores and parameter counts, in the published layout", list(layout)),
        *_against_baseline(rows, "all", "f1_macro"),
    ]
    return section


def rank_change(rows: Rows, about: DatasetAbout) -> list[Block]:
    """Return the order of the published models on all and on rare sites.

    Empty without Beagle and a network, and for data that the published numbers are not shown beside.
    """
    if not shows_published(rows, about):
        return []
    first = {model: next(iter(labels.values())) for model, labels in _own_variants(rows).items()}
    if not any(rows.are_compared(label, first[BASELINE]) for label in first.values() if BASELINE in first):
        return []
    table, sentences = [], []
    for subset, metric, name in (
        ("all", "f1_macro", "all sites, macro-F1"),
        ("rare", "f1_macro", "rare sites, macro-F1 as published"),
        ("rare_minor", "f1_1", "rare sites, F1 of heterozygotes in minor-allele coding"),
    ):
        cells = [
            Cell(capital(name), kind="name"),
            Cell(_published_order(subset, first), kind="prose"),
            Cell(_order(rows, list(first.values()), subset, metric), kind="prose"),
        ]
        table.append(cells)
        sentences.append(_against_baseline_in_words(rows, first, subset, metric, name))
    differences = [
        *_against_baseline(rows, "rare", "f1_macro"),
        *_against_baseline(rows, "rare_minor", "f1_1"),
    ]
    columns = ["Scored on", "Published", "Here"]
    return [
        Table(f"Order of the published models on all and on rare sites, {rows.missing}", columns, table),
        Text(
            "Here: the variant listed first of each (fixed training masks; Beagle's defaults). > where the interval of "
            "the paired difference of two neighbours lies above zero, ≈ where it holds zero.",
            "how",
        ),
        *(Text(sentence) for sentence in sentences if sentence),
        Folded("Each network minus each variant of Beagle", differences),
    ]


def shows_published(rows: Rows, about: DatasetAbout) -> bool:
    """Return whether the published numbers may be shown beside those of a dataset."""
    return about.published_shape and rows.headline[1] == PUBLISHED_LEVEL


def _own_variants(rows: Rows) -> dict[str, dict[str, str]]:
    """Return a mapping of published model → names of its scored variants → labels."""
    variants = rows.variants()
    return {
        model: {str(rows.about(label).get("variant", label)): label for label in variants[imputer]}
        for model, imputer in MODELS.items()
        if imputer in variants
    }


def _macro(rows: Rows, label: str, subset: str) -> Cell:
    score = rows.get(label, subset, "f1_macro")
    return Cell(number(score and score.value), interval(score))


def _layout(rows: Rows, subset: str, ours: dict[str, dict[str, str]]) -> Table:
    """Return the published table with our rows below each published row."""
    table = []
    for model, values in PUBLISHED[subset].items():
        scores, parameters = values[: len(F1_METRICS)], (*values, None)[len(F1_METRICS)]
        cells = [Cell(number(value)) for value in scores]
        table.append([Cell(f"{model} (published)", kind="published"), *cells, Cell(count(parameters))])
        for label in ours.get(model, {}).values():
            cells = [Cell(number(rows.value(label, subset, metric))) for metric in F1_METRICS]
            table.append([Cell(label, kind="name"), *cells, Cell(count(rows.about(label).get("parameters")))])
    columns = ["Model", "F1 micro", "F1 macro", "F1 0", "F1 1", "F1 2", "Parameters"]
    return Table(f"F1 at the hidden calls of {WHERE[subset]}, {rows.missing}: published and here", columns, table)


def _published_order(subset: str, first: dict[str, str]) -> str:
    if subset not in PUBLISHED:
        return ABSENT
    return " > ".join(model for model in PUBLISHED[subset] if model in first)


def _order(rows: Rows, labels: list[str], subset: str, metric: str) -> str:
    """Return the labels from best to worst, with a sign for the difference between neighbours."""
    ranked = [label for label in rows.ranks(subset, metric) if label in labels]
    signs = {BETTER: ">", ALIKE: "≈"}
    text = ranked[0] if ranked else ABSENT
    for above, below in pairwise(ranked):
        text += f" {signs.get(judge_difference(rows.difference(above, below, subset, metric)), ',')} {below}"
    return text


def _against_baseline_in_words(rows: Rows, first: dict[str, str], subset: str, metric: str, name: str) -> str:
    """Return a sentence that names the models better than, worse than and not told apart from Beagle."""
    baseline = first[BASELINE]
    words: dict[str, list[str]] = {BETTER: [], WORSE: [], ALIKE: []}
    for label in first.values():
        found = rows.difference(label, baseline, subset, metric)
        if label != baseline and judge_difference(found) in words:
            words[judge_difference(found)].append(f"{label} ({signed(found)}, {interval(found, signed=True)})")
    parts = [
        f"{listed(labels)} {verb} {baseline}"
        for (verb, labels) in (
            ("better than", words[BETTER]),
            ("worse than", words[WORSE]),
            ("not told apart from", words[ALIKE]),
        )
        if labels
    ]
    return f"{capital(name)}: {'; '.join(parts)}." if parts else ""


def _against_baseline(rows: Rows, subset: str, metric: str) -> list[Block]:
    """Return a table of each network minus each variant of Beagle; empty if no such difference was computed."""
    ours = _own_variants(rows)
    baselines = list(ours.get(BASELINE, {}).values())
    published = PUBLISHED.get(subset)
    table = []
    for model, labels in ours.items():
        if model == BASELINE:
            continue
        for label in labels.values():
            if rows.about(label).get("inputs") == "visible":
                continue
            found = [rows.difference(label, baseline, subset, metric) for baseline in baselines]
            if not any(found):
                continue
            cells = [Cell(signed(d) + MARKS.get(judge_difference(d), ""), interval(d, signed=True)) for d in found]
            if published:
                gap = (published[model][MACRO] or 0.0) - (published[BASELINE][MACRO] or 0.0)
                cells.insert(0, Cell(f"{gap:+.3f}".replace("-", "−"), kind="published"))
            table.append([Cell(label, kind="name"), *cells])
    if not table:
        return []
    where = {"all": "all sites", "rare": "rare sites, as published", "rare_minor": "rare sites, minor-allele coding"}
    columns = ["Network", *(["Published"] if published else []), *(f"minus {baseline}" for baseline in baselines)]
    caption = f"Networks minus Beagle: {METRICS[metric].label}, {where[subset]}, {rows.missing}"
    return [
        Table(caption, columns, table),
        Text("▲ better, ▼ worse, ≈ not told apart: by the 95% interval of the paired difference.", "how"),
    ]
