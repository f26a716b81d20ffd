"""Sections that compare the variants of one imputer: training masks, visible inputs, tuned parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from snpimpute.dataset.mechanisms import label_of
from snpimpute.metrics.registry import METRICS
from snpimpute.report.charts import point_of
from snpimpute.report.published import MARKS
from snpimpute.report.rows import ALIKE, BETTER, WORSE, Rows, Scenario, judge_difference
from snpimpute.report.text import (
    ABSENT,
    Score,
    capital,
    interval,
    known,
    listed,
    number,
    plain,
    signed,
    trials_in_words,
)
from snpimpute.report.tree import COLOURS, Block, Cell, Figure, Folded, Line, Panel, Section, Style, Table, Text

MECHANISMS = ("nested", "independent")
ENOUGH_TRIALS = 10  # of fewer, the first is the defaults and the others hardly a search: they say nothing of tuning
HOW = "▲ better, ▼ worse, ≈ not told apart: by the 95% interval of the paired difference (small figures)."


class Pair(NamedTuple):
    """Two variants of an imputer that are compared."""

    imputer: str
    first: str
    second: str


# ---------------------------------------------------------------------- training masks


def training_masks(rows: Rows, key: str, slug: str) -> Section:
    """Return the section of networks trained on fixed and on random masks, under nested and independent test masks."""
    mechanisms = [name for name in MECHANISMS if name in rows.mechanisms()] or rows.mechanisms()[:1]
    both = len(mechanisms) > 1
    title = "Nested and independent masks" if both else "Fixed and random training masks"
    pairs = _mask_pairs(rows)
    if not pairs:
        return Section("masks", title, [])
    level = rows.headline[1]
    words = _nesting_in_words(rows, pairs)
    blocks: list[Block] = [Text(words)] if words else []
    blocks.append(_masks_figure(rows, pairs, mechanisms, key, slug))
    blocks.append(
        Table(
            "Levels at which fixed training masks are better than random ones, by the paired difference in macro-F1",
            ["Network", *(f"{capital(name)} masks: {word}" for name in mechanisms for word in (BETTER, ALIKE, WORSE))],
            [
                [Cell(pair.imputer, kind="name")]
                + [Cell(text) for name in mechanisms for text in _count_verdicts(rows, pair, name)]
                for pair in pairs
            ],
        )
    )
    if both:
        blocks.append(_ranges(rows, pairs, mechanisms))
        how = f"Lowest to highest macro-F1 of the levels below, at and above {level:g}% missing."
        blocks.append(Text(how, "how"))
    tables: list[Block] = [_mask_levels(rows, pair, mechanisms) for pair in pairs]
    blocks.append(Folded("Every level, with the paired difference fixed − random", [*tables, Text(HOW, "how")]))
    return Section("masks", title, blocks)


def _mask_pairs(rows: Rows) -> list[Pair]:
    """Return for each network the first variant with fixed masks and the first with random masks, inputs hidden."""
    pairs = []
    for imputer, labels in rows.variants().items():
        hidden = [label for label in labels if rows.about(label).get("inputs") != "visible"]
        by_mask = {rows.about(label).get("mask"): label for label in reversed(hidden)}
        if {"fixed", "random"} <= set(by_mask) and rows.are_compared(by_mask["fixed"], by_mask["random"]):
            pairs.append(Pair(imputer, by_mask["fixed"], by_mask["random"]))
    return pairs


def _nesting_in_words(rows: Rows, pairs: list[Pair]) -> str:
    """Return sentences that say whether accuracy below the headline level depends on nested masks.

    Empty without masks of both kinds.
    """
    headline = rows.headline[1]
    levels = [level for _, level in rows.scenarios("nested", "all", "f1_macro") if level < headline]
    levels = [level for level in levels if ("independent", level) in rows.scenarios("independent", "all", "f1_macro")]
    if not levels:
        return ""
    apart = {label: _n_apart(rows, label, levels) for pair in pairs for label in (pair.first, pair.second)}
    n = len(levels)
    groups = {
        "at every one of these levels": [pair.first for pair in pairs if apart[pair.first] == n],
        "at some of them": [f"{p.first} ({apart[p.first]} of {n})" for p in pairs if 0 < apart[p.first] < n],
        "at none of them": [pair.first for pair in pairs if not apart[pair.first]],
    }
    found = "; ".join(f"{where} for {listed(names)}" for where, names in groups.items() if names)
    sentences = [
        f"Below {headline:g}% missing ({n} levels), nested masks hide only sites that fixed training masks hid too. "
        f"Macro-F1 under nested masks lies above that under independent masks, the two intervals apart, {found}."
    ]
    if whole := groups["at every one of these levels"]:
        hold = "holds" if len(whole) == 1 else "hold"
        sentences.append(f"So {listed(whole)} {hold} up below {headline:g}% only if masks are nested.")
    if none := groups["at none of them"]:
        sentences.append(f"For {listed(none)} nesting makes no visible difference.")
    control = listed(f"{apart[pair.second]} for {pair.second}" for pair in pairs)
    sentences.append(f"With random training masks the number of such levels, of {n}, is {control}.")
    return " ".join(sentences)


def _n_apart(rows: Rows, label: str, levels: Iterable[float]) -> int:
    """Return the number of levels at which the interval under nested masks lies above that under independent ones."""
    n = 0
    for level in levels:
        nested, independent = (rows.get(label, "all", "f1_macro", (name, level)) for name in MECHANISMS)
        n += nested is not None and independent is not None and nested.low > independent.high
    return n


def _masks_figure(rows: Rows, pairs: list[Pair], mechanisms: list[str], key: str, slug: str) -> Figure:
    panels = []
    for pair in pairs:
        lines = []
        for place, (label, policy) in enumerate(((pair.first, "fixed"), (pair.second, "random"))):
            for dash, mechanism in enumerate(mechanisms):
                points = [
                    point_of(
                        at[1],
                        rows.get(label, "all", "f1_macro", at),
                        label,
                        f"{at[1]:g}% missing, {mechanism}",
                        "macro-F1",
                    )
                    for at in rows.scenarios(mechanism, "all", "f1_macro")
                ]
                drawn = [point for point in points if point is not None and known(point.y)]
                name = f"{policy} training masks, {mechanism} test masks"
                lines += [Line(name, Style(COLOURS[place], dash), drawn)] if drawn else []
        panels.append(Panel(pair.imputer, "Missing genotype calls (%)", "Macro-F1 (0 to 1)", lines))
    shown = [point for panel in panels for line in panel.lines for point in line.points]
    values = [value for point in shown for value in (point.y, point.low, point.high) if known(value)]
    span = (min(values) - 0.01, max(values) + 0.01)
    return Figure(
        f"{key}-masks",
        f"masks-{slug}.png",
        "Macro-F1 of each network against percent missing, by training masks and test masks",
        "Where the two lines of one colour part, accuracy depends on which sites are hidden, not only on how many. "
        "The same scale in each panel; bands are 95% intervals.",
        [Panel(p.title, p.x_title, p.y_title, p.lines, y_range=span) for p in panels],
    )


def _count_verdicts(rows: Rows, pair: Pair, mechanism: str) -> list[str]:
    """Return the numbers of levels at which the first is better, not told apart, worse."""
    words = [
        judge_difference(rows.difference(pair.first, pair.second, "all", "f1_macro", at))
        for at in rows.scenarios(mechanism, "all", "f1_macro")
    ]
    return [str(words.count(word)) for word in (BETTER, ALIKE, WORSE)]


def _ranges(rows: Rows, pairs: list[Pair], mechanisms: list[str]) -> Table:
    headline = rows.headline[1]
    spans = (
        (f"below {headline:g}%", lambda level: level < headline),
        (f"{headline:g}%", lambda level: level == headline),
        (f"above {headline:g}%", lambda level: level > headline),
    )
    table = []
    for label in (label for pair in pairs for label in (pair.first, pair.second)):
        cells = [Cell(label, kind="name")]
        for mechanism in mechanisms:
            values = {
                at[1]: rows.value(label, "all", "f1_macro", at) for at in rows.scenarios(mechanism, "all", "f1_macro")
            }
            cells += [
                Cell(_span([v for level, v in values.items() if known(v) and chosen(level)])) for _, chosen in spans
            ]
        table.append(cells)
    columns = [f"{capital(mechanism)}: {words}" for mechanism in mechanisms for words, _ in spans]
    return Table("Macro-F1 by training and test masks", ["Network", *columns], table)


def _span(values: list[float]) -> str:
    ends = dict.fromkeys(number(value) for value in (min(values), max(values))) if values else {"–": None}
    return " to ".join(ends)


def _mask_levels(rows: Rows, pair: Pair, mechanisms: list[str]) -> Table:
    table = []
    levels = sorted({level for name in mechanisms for _, level in rows.scenarios(name, "all", "f1_macro")})
    for level in levels:
        cells = [Cell(f"{level:g}%", kind="name")]
        for mechanism in mechanisms:
            at = (mechanism, level)
            cells += [_score_cell(rows.get(label, "all", "f1_macro", at)) for label in (pair.first, pair.second)]
            cells.append(_difference_cell(rows.difference(pair.first, pair.second, "all", "f1_macro", at)))
        table.append(cells)
    columns = [f"{capital(name)}: {what}" for name in mechanisms for what in ("fixed", "random", "fixed − random")]
    return Table(f"{pair.imputer}: macro-F1 at each level", ["Missing", *columns], table)


# ---------------------------------------------------------------------- visible inputs


def visible_inputs(rows: Rows) -> Section:
    """Return the section that compares networks trained with the hidden genotypes visible and hidden in their input."""
    title = "Hidden genotypes visible while learning"
    pairs = _input_pairs(rows)
    if not pairs:
        return Section("inputs", title, [])
    table = [
        [
            Cell(pair.second, kind="name"),
            *(_score_cell(rows.get(label, "all", "f1_macro")) for label in (pair.first, pair.second)),
            _difference_cell(rows.difference(pair.second, pair.first, "all", "f1_macro")),
            _difference_cell(rows.difference(pair.second, pair.first, "rare_minor", "f1_1")),
        ]
        for pair in pairs
    ]
    columns = ["Network", "Macro-F1: inputs hidden", "Macro-F1: inputs visible", "Visible − hidden"]
    columns += ["Rare sites, F1 of heterozygotes: visible − hidden"]
    swapped = [Pair(pair.imputer, pair.second, pair.first) for pair in pairs]
    blocks: list[Block] = [
        Text(
            _gains_in_words(
                rows, swapped, f"At {rows.missing}, learning with the hidden genotypes visible in the input"
            )
        ),
        Table(f"Inputs hidden and visible while learning, {rows.missing}", columns, table),
        Text(HOW, "how"),
        Folded("Every level", _by_mechanism(rows, swapped, "visible − hidden")),
    ]
    return Section("inputs", title, blocks)


def _input_pairs(rows: Rows) -> list[Pair]:
    """Return pairs of variants with hidden (first) and visible (second) inputs and the same training masks."""
    pairs = []
    for imputer, labels in rows.variants().items():
        for visible in (label for label in labels if rows.about(label).get("inputs") == "visible"):
            for label in labels:
                meta = rows.about(label)
                same_masks = meta.get("mask") == rows.about(visible).get("mask")
                if meta.get("inputs") == "hidden" and same_masks and rows.are_compared(label, visible):
                    pairs.append(Pair(imputer, label, visible))
                    break
    return pairs


def _gains_in_words(rows: Rows, pairs: list[Pair], what: str) -> str:
    """Return a sentence with the gain or loss of the first of each pair against the second, at the headline."""
    words: dict[str, list[str]] = {WORSE: [], BETTER: [], ALIKE: []}
    for pair in pairs:
        found = rows.difference(pair.first, pair.second, "all", "f1_macro")
        if judge_difference(found) in words:
            words[judge_difference(found)].append(f"{pair.imputer} ({signed(found)}, {interval(found, signed=True)})")
    parts = [
        f"{verb} {listed(names)}"
        for verb, names in (
            ("lowers macro-F1 of", words[WORSE]),
            ("raises that of", words[BETTER]),
            ("makes no detectable difference for", words[ALIKE]),
        )
        if names
    ]
    return f"{what} {'; '.join(parts)}." if parts else ""


# ---------------------------------------------------------------------- tuned parameters


def tuned_parameters(rows: Rows) -> Section:
    """Return the section that compares variants of an imputer that is not a network with the variant listed first.

    A variant whose study had fewer than ENOUGH_TRIALS is named, and not compared.
    """
    found = [
        Pair(imputer, other, first)
        for imputer, (first, *others) in rows.variants().items()
        for other in others
        if plain(rows.about(first).get("mask")) == ABSENT and rows.are_compared(first, other)
    ]
    title = f"Gain by tuned parameters ({', '.join(dict.fromkeys(pair.imputer for pair in found))})"
    trials = {pair.first: rows.about(pair.first).get("trials") for pair in found}
    few = [label for label, n in trials.items() if known(n) and n < ENOUGH_TRIALS]
    pairs = [pair for pair in found if pair.first not in few]
    left_out: list[Block] = []
    if few:
        left_out = [
            Text(
                f"Not compared with the default: {listed(f'{label} ({trials_in_words(trials[label])})' for label in few)}. The first "
                f"trial of a study is the defaults, and fewer than {ENOUGH_TRIALS} say nothing of what tuning is worth: give the "
                "study more (--trials, --budget).",
                "caution",
            )
        ]
    if not pairs:
        return Section("tuned", title, left_out)
    table = []
    for pair in pairs:
        scores = (("all", "f1_macro"), ("rare_minor", "f1_1"), ("rare_minor", rows.dosage_r2))
        table.append(
            [
                Cell(pair.first, trials_in_words(trials[pair.first]), kind="name"),
                _score_cell(rows.get(pair.first, "all", "f1_macro")),
                *(_difference_cell(rows.difference(pair.first, pair.second, *which)) for which in scores),
                Cell(plain(rows.about(pair.first).get("changed")), kind="params"),
            ]
        )
    columns = [
        "Variant",
        "Macro-F1",
        "Macro-F1: minus the default",
        "Rare sites, F1 of heterozygotes: minus the default",
    ]
    columns += [
        f"Rare sites, {METRICS[rows.dosage_r2].label}: minus the default",
        "Parameters that differ from the program's defaults",
    ]
    blocks: list[Block] = [
        *left_out,
        Table(
            f"Tuned variants against {listed(dict.fromkeys(p.second for p in pairs))}, {rows.missing}", columns, table
        ),
        *_by_mechanism(rows, pairs, "minus the default", first_only=True),
        Text(HOW, "how"),
    ]
    if others := _by_mechanism(rows, pairs, "minus the default")[1:]:
        blocks.append(Folded("Under the other masks", others))
    return Section("tuned", title, blocks)


# ---------------------------------------------------------------------- shared


def _by_mechanism(rows: Rows, pairs: list[Pair], what: str, first_only: bool = False) -> list[Block]:
    """Return a table per mechanism, the primary one first, of the difference of each pair at each level."""
    tables: list[Block] = []
    for mechanism in rows.mechanisms()[: 1 if first_only else None]:
        scenarios: list[Scenario] = rows.scenarios(mechanism, "all", "f1_macro")
        table = [
            [Cell(pair.first, kind="name")]
            + [_difference_cell(rows.difference(pair.first, pair.second, "all", "f1_macro", at)) for at in scenarios]
            for pair in pairs
        ]
        caption = f"Macro-F1 at each level, {what}: {label_of(mechanism)}"
        tables.append(Table(caption, ["Variant", *(f"{level:g}%" for _, level in scenarios)], table))
    return tables


def _score_cell(score: Score | None) -> Cell:
    return Cell(number(score and score.value), interval(score))


def _difference_cell(difference: Score | None) -> Cell:
    return Cell(signed(difference) + MARKS.get(judge_difference(difference), ""), interval(difference, signed=True))
