"""Page, figure and files of a comparison of predictors."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import pandas as pd

from snpimpute import __version__
from snpimpute.base.files import write_text, written_beside
from snpimpute.base.sources import imported_packages, versions_of
from snpimpute.base.words import numbered
from snpimpute.metrics.prediction import MEASURES
from snpimpute.report.figures import draw_png
from snpimpute.report.html import page_as_html
from snpimpute.report.text import Score, capital, count, duration, interval, known, listed, number, signed
from snpimpute.report.tree import COLOURS, Block, Cell, Figure, Line, Page, Panel, Point, Section, Style, Table, Text
from snpimpute.traits.evaluate import DECIDING, OPPONENTS, Evaluation, as_dict, ranked_in, score_in
from snpimpute.traits.exchange import tool_version
from snpimpute.traits.predictors import load

FILES = ("predictors.html", "predictors.tsv", "predictors.json", "predictors.png")
KINDS = {"better": "best", "worse": "worse", "not told apart": "tie"}  # verdict → style of its cell
SCHEMES = {
    "random": "random",
    "family": "whole families",
    "group": "whole groups",
    "environment": "each environment left out in turn",
    "youngest": "the youngest last: each part by birth order predicted from those before it",
}
WITHIN = (
    "choice of sites by MAF, LD and association, genotype frequencies for missing calls, encoding and scaling, heritability and "
    "penalties, principal components, networks' validation samples: all from the samples that a fold learns from. Words of covariates are coded over all samples."
)


def write_evaluation(found: Evaluation, folder: Path) -> Path:
    """Write predictors.html, its table as TSV and JSON, and the figure as PNG; return the page's path.

    Raises:
        InputError: the folder cannot be written, or the file system is full.
    """
    figure = forest_plot(found.table)
    page = folder / FILES[0]
    write_text(page, page_as_html(_page(found, figure)))
    write_text(folder / FILES[1], as_tsv(found))
    write_text(folder / FILES[2], json.dumps(as_dict(found), indent=1) + "\n")
    with written_beside(folder / FILES[3]) as beside:
        draw_png(figure, beside)
    return page


def as_tsv(found: Evaluation) -> str:
    """Return the table of all measures as tab-separated text."""
    return found.table.to_csv(sep="\t", index=False, float_format="%.6g", na_rep="NA")


def verdict(found: Evaluation) -> str:
    """Return in a sentence which predictor to take, and whether it is better than the opponents."""
    chosen, trait, first = found.recommended(), found.settings.trait, OPPONENTS[0]
    score = found.score(chosen, DECIDING)
    taken = f"Take {chosen} for {trait} (correlation {number(score.value)}, {interval(score)})"
    if chosen != first:
        beside = []
        for other in (other for other in OPPONENTS if other != chosen):
            word = found.verdict(chosen, other)
            joined = f"{word} {'from' if word == 'not told apart' else 'than'} {other}"
            beside.append(f"{joined} ({_difference(found, chosen, other)})")
        return f"{taken}: it is {listed(beside)}."
    best = found.ranked()[0]
    if best == first:
        return f"{taken}: no other has a higher one."
    return (
        f"{taken}: no other is shown to be better; {best} has the highest correlation, "
        f"{number(found.score(best, DECIDING).value)}, not told apart from that of {first} ({_difference(found, best, first)})."
    )


def _difference(found: Evaluation, name: str, other: str) -> str:
    score = found.score(name, DECIDING, other)
    return f"{signed(score)}, {interval(score, signed=True)}"


def _page(found: Evaluation, figure: Figure) -> Page:
    s = found.settings
    n_folds = int(found.table.n.max())
    return Page(
        title=f"Predictors of {s.trait} in {s.genotypes.name}",
        lead=verdict(found),
        notes=[],
        findings=[*_findings(found), *(f"{note}." for note in found.notes)],
        facts={
            "Samples": count(found.n_samples),
            "Sites": count(found.n_sites),
            "Trait": "binary" if found.binary else "quantitative",
            "Folds": count(n_folds),
            "Predictors": count(len(found.seconds)),
        },
        sections=[
            Section("measures", "What each predictor reaches", [figure, _measures(found), *_meanings(found)]),
            Section("differences", "Paired differences", _differences(found)),
            Section("how", "How it was run", [_how(found, n_folds), _predictors(found)]),
        ],
        footer=f"snpimpute {__version__}. Beside this file: {', '.join(FILES[1:])}.",
    )


def _findings(found: Evaluation) -> list[str]:
    """Return a sentence per opponent: which predictors are better, worse, and not told apart from it."""
    lines = []
    for other in OPPONENTS:
        groups: dict[str, list[str]] = {word: [] for word in KINDS}
        for name in found.ranked():
            if name != other:
                groups[found.verdict(name, other)].append(name)
        said = [f"{word}: {', '.join(names)}" for word, names in groups.items() if names]
        lines.append(f"Beside {other} by correlation: {'; '.join(said)}.")
    return lines


def _shown(score: Score, measure: str, sign: bool = False) -> Cell:
    """Return a cell of a score; squared errors are in the trait's units, and have four digits wherever these begin."""
    if measure != "mse":
        return Cell(signed(score) if sign else number(score.value), interval(score, signed=sign))
    form = "+#.4g" if sign else "#.4g"
    value, low, high = (
        f"{x:{form}}".replace("-", "−") if known(x) else "–" for x in (score.value, score.low, score.high)
    )
    return Cell(value, f"{low} to {high}" if known(score.low) else "")


def _wanted(found: Evaluation) -> list[str]:
    return [measure for measure in MEASURES if measure in set(found.table.measure)]


def _measures(found: Evaluation) -> Table:
    wanted = _wanted(found)
    rows = [[Cell(name), *(_shown(found.score(name, key), key) for key in wanted)] for name in found.ranked()]
    return Table("Measures, mean over folds (95% intervals)", ["Predictor", *_labels(wanted)], rows)


def _labels(wanted: list[str]) -> list[str]:
    return [capital(MEASURES[key].label) for key in wanted]


def _meanings(found: Evaluation) -> list[Block]:
    said = ". ".join(f"{capital(MEASURES[key].label)}: {MEASURES[key].meaning}" for key in _wanted(found))
    if found.binary:
        said += ". Of a binary trait there is no best 10%: all cases are equally good"
    how = "Intervals are over folds, wider than those of independent folds because folds share samples (Nadeau and Bengio 2003)."
    return [Text(f"{said}. {how}", "how")]


def _differences(found: Evaluation) -> list[Block]:
    wanted = [key for key in _wanted(found) if MEASURES[key].better]
    rows: list[list[Cell]] = []
    for other in OPPONENTS:
        rows.append([Cell(f"Difference to {other}")])
        for name in (name for name in found.ranked() if name != other):
            word = found.verdict(name, other)
            cells = (_shown(found.score(name, key, other), key, True) for key in wanted)
            rows.append([Cell(name), Cell(word, kind=KINDS[word]), *cells])
    table = Table(
        "Paired differences, by fold (95% intervals)", ["Predictor", "By correlation", *_labels(wanted)], rows
    )
    n = len(rows) - len(OPPONENTS)
    how = (
        "Better and worse are said where the interval of the difference in correlation leaves out zero. "
        f"{n} comparisons are made here, and one in twenty of those between equals is called a difference. Of MSE less is better."
    )
    return [table, Text(how, "how")]


def forest_plot(table: pd.DataFrame) -> Figure:
    """Return the forest plot of a table as `Evaluation.table` is: correlations, and their paired differences to the opponents."""
    names = ranked_in(table)
    label = MEASURES[DECIDING].label

    def line(what: str, versus: str, at: int) -> Line:
        points = []
        for name in names:
            if name == versus or not known((score := score_in(table, name, DECIDING, versus)).value):
                continue
            value = signed(score) if versus else number(score.value)
            hover = f"{name}\n{what} {value} ({interval(score, signed=bool(versus))})"
            points.append(Point(name, score.value, score.low, score.high, hover))
        return Line(what, Style(COLOURS[at], at), points)

    reached = Panel("", "", capital(label), [line(label, "", 0)], names)
    lines = [line(f"difference to {other}", other, at) for at, other in enumerate(OPPONENTS, 1)]
    beside = Panel("", "", f"Difference in {label}", lines, names, level=0.0)
    how = "Bars are 95% intervals. A difference whose bar crosses the dotted line is not told apart from none."
    return Figure(
        "forest", FILES[3], "Correlation of each predictor, and its paired differences", how, [reached, beside]
    )


def _how(found: Evaluation, n_folds: int) -> Table:
    s = found.settings
    repeats = f" ({s.folds}, drawn {s.repeats} times)" if s.repeats > 1 else ""
    components = [numbered(s.components, "principal component")] if s.components else []
    modules = [load(name).__module__ for name in found.seconds]
    versions = versions_of(imported_packages(*modules))
    programs = {program for name in found.seconds if (program := load(name).program) is not None}
    facts = {
        "Genotypes": f"{s.genotypes.name} ({found.fields})" + (f", region {s.region}" if s.region else ""),
        "Trait table": f"{s.traits.name}, column {s.trait}",
        "Covariates": ", ".join([*s.covariates, *components]) or "none",
        "Folds": f"{numbered(n_folds, 'fold')}{repeats}, {SCHEMES[s.scheme]}, seed {s.seed}",
        "Within the folds": WITHIN,
        "Threads": str(s.threads),
        "Versions": ", ".join(
            [
                f"Python {platform.python_version()}",
                *(f"{name} {version}" for name, version in versions.items()),
                *map(tool_version, programs),
            ]
        ),
    }
    return Table("Run", ["", "Value"], [[Cell(name), Cell(fact, kind="prose")] for name, fact in facts.items()])


def _predictors(found: Evaluation) -> Table:
    rows = []
    for name in found.ranked():
        cls = load(name)
        given = cls.parse_params(found.settings.params_of(name)).model_dump(mode="json")
        size = found.parameters[name]
        said = ", ".join(f"{key}={value}" for key, value in given.items())
        rows.append(
            [
                Cell(name),
                Cell("keeps its samples" if size is None else count(size)),
                Cell(duration(found.seconds[name])),
                Cell(cls.description, kind="prose"),
                Cell(said, kind="params"),
            ]
        )
    return Table("Predictors", ["Predictor", "Fitted numbers", "Time per fold", "Method", "Parameters"], rows)
