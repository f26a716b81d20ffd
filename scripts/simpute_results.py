"""Write the results of the Simpute experiment beside the published ones, docs/results/simpute.md.

    python scripts/simpute_results.py [--runs runs] [--to docs/results]

Reads the scores that `snpimpute experiment experiments/simpute.toml` wrote to runs/reports/simpute, and copies its report
with the figures to docs/results/simpute. Datasets that were not run are left out and named.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from snpimpute.base.errors import InputError
from snpimpute.base.files import write_text
from snpimpute.experiment.score import read_scores
from snpimpute.experiment.settings import read
from snpimpute.report.calls import brief, percent_wrong
from snpimpute.report.markdown import table_of
from snpimpute.report.text import Score, difference

ROOT = Path(__file__).parents[1]
EXPERIMENT = ROOT / "experiments" / "simpute.toml"
SIMPUTE, BEAGLE = "simpute/default", "beagle/alone"
OTHERS = ("mode/default", "random_draw/default", "simpute/panel", "ld_knn/default", "beagle/default")


@dataclass(frozen=True)
class Regime:
    """A regime of the paper: the end of its datasets' names, and the published result."""

    name: str
    suffix: str
    published: str


REGIMES = (
    Regime("Complete set (calls anywhere)", "complete", "Beagle best overall, Simpute behind"),
    Regime("The whole panel", "whole", "as the complete set"),
    Regime("High LD", "high-ld", "Beagle ahead by a hair, negligibly at low rates, and far slower"),
    Regime("Short input (three sites)", "short", "Simpute equal to Beagle"),
    Regime("Dense region (six sites)", "dense", "Simpute ahead of Beagle, most at low rates"),
)


class Scores:
    """The tidy table of the experiment's report."""

    def __init__(self, path: Path) -> None:
        table = read_scores(path)
        table = table[(table["repeat"] == "all") & (table["subset"] == "all") & (table["decision"] == "argmax")]
        self.table = table.assign(label=table["imputer"] + "/" + table["variant"])
        self.datasets = set(table["dataset"])

    def levels(self, dataset: str) -> list[float]:
        return sorted(self.table.loc[self.table["dataset"] == dataset, "level"].unique())

    def get(self, dataset: str, level: float, label: str, metric: str, versus: str = "") -> Score | None:
        found = self.table[
            (self.table["dataset"] == dataset)
            & (self.table["level"] == level)
            & (self.table["label"] == label)
            & (self.table["metric"] == metric)
            & (self.table["versus"] == versus)
        ]
        if found.empty:
            return None
        row = found.iloc[0]
        return Score(row["value"], row["low"], row["high"], row["n"])

    def behind(self, dataset: str, level: float, metric: str = "f1_micro") -> Score | None:
        """Return the difference of Simpute minus Beagle alone, or None."""
        found = self.get(dataset, level, SIMPUTE, metric, BEAGLE)
        back = self.get(dataset, level, BEAGLE, metric, SIMPUTE)
        return found or (None if back is None else -back)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs")
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "results")
    arguments = parser.parse_args()
    report = arguments.runs / "reports" / "simpute"
    if not (report / "scores.csv").exists():
        sys.exit(f"{report} has no scores: run snpimpute experiment {EXPERIMENT} first")
    beside = arguments.to / "simpute"
    beside.mkdir(parents=True, exist_ok=True)
    for path in [report / "report.md", *report.glob("*.png")]:
        shutil.copyfile(path, beside / path.name)
    write_text(arguments.to / "simpute.md", page(Scores(report / "scores.csv"), beside))


def page(scores: Scores, beside: Path) -> str:
    """Return the whole page as Markdown."""
    regimes = [(regime, wanted_of(regime, scores)) for regime in REGIMES]
    all_wanted = list(read(EXPERIMENT).data)
    absent = [name for name in all_wanted if name not in scores.datasets]
    parts = [
        "# Simpute against the classical methods",
        "> **Withdrawn on 2026-11-26: every comparison with Beagle on human genotypes on this page (kg15).** Beagle had no genetic map here.\n"
        "> [What is left, until it is measured anew](../evidence.md).",
        "Made by `make simpute` from the scores of `experiments/simpute.toml`; [the whole report](simpute/report.md). The paper "
        "(Lin, Chang, Tang & Hsieh 2013, doi 10.1155/2013/813912) compared with Beagle 3.0.3 on HapMap III; what is said of "
        "Beagle here holds for 5.4 at its defaults, without a reference (`beagle/alone`). Error rates are percent of the "
        "hidden calls that are wrong, with 95% intervals over samples, and over masks or contigs; `n` is the number of hidden "
        "calls scored. Times are wall time of one thread: too long where the machine did other work. Simpute's reading of the weights was chosen on a part of kg15 "
        "([decision 9](../decisions/0009-simpute.md)): what is measured on kg15 is not wholly new data to it.",
        *([f"Not run, and so not here: {', '.join(absent)}."] if absent else []),
        "## Does it hold?",
        table_of(
            ["Regime", "Published", "Dataset", "Here: Simpute minus Beagle, points of error rate", "So"],
            [verdict(regime, name, scores) for regime, names in regimes for name in names],
            numbers=False,
        ),
        "A minus sign means fewer wrong calls by Simpute. *Ahead* and *behind* are said only where the 95% interval of the "
        "paired difference leaves out zero.",
    ]
    for regime, names in regimes:
        if names:
            parts.append(f"## {regime.name}")
        for name in names:
            parts += [f"**{name}**", by_method(name, scores)]
            parts += [
                f"![{name}: error rate and seconds]({p.relative_to(beside.parent)})" for p in figures(name, beside)
            ]
    return "\n\n".join(parts) + "\n"


def wanted_of(regime: Regime, scores: Scores) -> list[str]:
    return [n for n in read(EXPERIMENT).data if n.endswith(f"-{regime.suffix}") and n in scores.datasets]


def figures(name: str, beside: Path) -> list[Path]:
    return sorted(beside.glob(f"calls-{name}-*.png"))


def verdict(regime: Regime, name: str, scores: Scores) -> list[str]:
    """Return a row of the first table."""
    found, words = [], []
    for level in scores.levels(name):
        score = scores.behind(name, level)
        if score is None:
            continue
        points = Score(*(-100 * v for v in (score.value, score.high, score.low)), score.n)
        found.append(f"{level:g}%: {difference(points.value, points.low, points.high, digits=2)}")
        words.append("behind" if points.low > 0 else "ahead" if points.high < 0 else "not told apart")
    counted = [f"{word} at {words.count(word)} of {len(words)} levels" for word in dict.fromkeys(words)]
    return [regime.name, regime.published, name, "<br>".join(found), "; ".join(counted)]


def by_method(name: str, scores: Scores) -> str:
    """Return a table of error rate, macro-F1 and seconds of each method at each level."""
    levels = scores.levels(name)
    labels = [x for x in (SIMPUTE, BEAGLE, *OTHERS) if scores.get(name, levels[0], x, "f1_micro")]
    rows = []
    for label in labels:
        cells = [f"`{label}`"]
        for level in levels:
            error = percent_wrong(scores.get(name, level, label, "f1_micro"))
            macro, seconds = (scores.get(name, level, label, metric) for metric in ("f1_macro", "seconds"))
            cells.append(
                f"{error.value:.2f} ({error.low:.2f} to {error.high:.2f})<br>{macro.value:.3f}<br>{brief(seconds.value)}"
                if error and macro and seconds
                else "–"
            )
        rows.append(cells)
    n = [scores.get(name, level, labels[0], "f1_micro") for level in levels]
    columns = [f"{level:g}% (n = {score.n:,.0f})" for level, score in zip(levels, n, strict=True) if score]
    return table_of(["error rate, %<br>macro-F1<br>time of a mask", *columns], rows)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
