"""What mosaic's experiment found: writes docs/results/mosaic.md from its report, and the figure of it.

    python scripts/mosaic_results.py [--runs runs] [--to docs/results]

Reads the scores that `snpimpute experiment experiments/mosaic.toml` left in runs/reports/mosaic. What was not run is named.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from snpimpute.config import read
from snpimpute.pipeline import read_scores
from snpimpute.report.calls import brief
from snpimpute.report.markdown import table_of
from snpimpute.report.text import Score
from snpimpute.report.tree import COLOURS
from snpimpute.runtime import write_text

ROOT = Path(__file__).parents[1]
EXPERIMENT = ROOT / "experiments" / "mosaic.toml"
OWN = "mosaic/default"
TUNED = {"human": "beagle/human", "kg15": "beagle/human", "cattle": "beagle/breed"}
MARGIN = 0.005  # of macro-F1: what counts as no worse
NOT_RUN = "IMPUTE5, GLIMPSE2, Selphi, FImpute and AlphaImpute2 could not be had here and were not run"


@dataclass(frozen=True)
class Group:
    """Datasets that tell one thing: their names begin with `prefix` and end with a number or nothing."""

    title: str
    names: tuple[str, ...]
    about: str


GROUPS = (
    Group(
        "Human, new splits",
        tuple(f"human-{i}" for i in range(1, 6)),
        "928 of 2,504 people drawn anew, four masks a level",
    ),
    Group(
        "Cattle, new splits",
        tuple(f"cattle-{i}" for i in range(1, 6)),
        "400 and 100 bulls drawn anew, four masks a level",
    ),
    Group(
        "Cattle, families apart",
        ("cattle-families",),
        "sires' families are wholly in train or in test, four masks a level",
    ),
    Group("Human, sites set aside", tuple(f"human-aside-{i}" for i in (1, 2, 3)), "500 sites each, two masks a level"),
    Group(
        "Cattle, chromosomes set aside", tuple(f"cattle-aside-{c}" for c in (3, 8, 13, 18, 23, 28)), "two masks a level"
    ),
    Group("Human, development data", ("kg15-500",), "the panel's own split and masks: mosaic was designed on them"),
    Group("Cattle, development data", ("cattle-chr1",), "the panel's own split and masks: mosaic was designed on them"),
)


class Scores:
    """The tidy table, over all masks of a level."""

    def __init__(self, path: Path) -> None:
        table = read_scores(path)
        table = table[table["repeat"] == "all"]
        table = table.assign(label=table["imputer"] + "/" + table["variant"])
        self.labels = {name: list(dict.fromkeys(part["label"])) for name, part in table.groupby("dataset", sort=False)}
        self.levels = sorted(table["level"].unique())
        keys = ["dataset", "level", "label", "subset", "metric", "versus"]
        self._rows = {
            tuple(row[:6]): Score(*row[6:])
            for row in table[[*keys, "value", "low", "high", "n"]].itertuples(index=False, name=None)
        }

    def get(
        self, name: str, level: float, label: str, metric: str, subset: str = "all", versus: str = ""
    ) -> Score | None:
        return self._rows.get((name, level, label, subset, metric, versus))

    def best_other(self, name: str, level: float) -> str:
        """The imputer, beside mosaic, of the highest macro-F1."""
        others = [label for label in self.labels[name] if label != OWN]
        return max(others, key=lambda label: value(self.get(name, level, label, "f1_macro")))

    def ahead(self, name: str, level: float) -> Score | None:
        """Macro-F1 of mosaic minus that of the best other imputer, paired."""
        other = self.best_other(name, level)
        found = self.get(name, level, OWN, "f1_macro", versus=other)
        back = self.get(name, level, other, "f1_macro", versus=OWN)
        return found or (None if back is None else -back)


def value(score: Score | None) -> float:
    return np.nan if score is None else score.value


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--runs", type=Path, default=ROOT / "runs")
    asked.add_argument("--to", type=Path, default=ROOT / "docs" / "results")
    arguments = asked.parse_args()
    path = arguments.runs / "reports" / "mosaic" / "scores.csv"
    if not path.exists():
        sys.exit(f"{path} is not there: run snpimpute experiment {EXPERIMENT} first")
    scores = Scores(path)
    draw(scores, arguments.to / "mosaic.png")
    write_text(arguments.to / "mosaic.md", page(scores))


def page(scores: Scores) -> str:
    """The whole page as Markdown."""
    absent = [name for name in read(EXPERIMENT).data if name not in scores.labels]
    parts = [
        "# Mosaic against the others",
        "Made by `make mosaic` from the scores of `experiments/mosaic.toml`, which was fixed, with "
        "[mosaic's design](../decisions/0017-mosaic.md), before anything but the development data was scored. Beagle's "
        "settings are those that its studies found on the development data, three phasings averaged; `joint` phases panel "
        f"and target together. {NOT_RUN}; [networks](reference/report.md) stay behind tuned Beagle on the development data.",
        *([f"**Not run yet, and so not here: {', '.join(absent)}.**"] if absent else []),
        "*Ahead* is mosaic's macro-F1 minus that of the best other imputer at that level, with the 95% interval of the paired "
        "difference over samples (families, in cattle) and masks. Over several datasets it is the mean, and the limits are the "
        "means of their limits: as wide as if further splits told nothing new.",
        "![macro-F1 against percent missing](mosaic.png)",
    ]
    for group, names in groups_in(scores):
        parts += [f"## {group.title}", f"{capital_count(names)}: {group.about}."]
        parts += [differences(scores, names), accuracies(scores, names), further(scores, names)]
    return "\n\n".join(parts) + "\n"


def groups_in(scores: Scores) -> list[tuple[Group, list[str]]]:
    """Groups of which something was run, with what was run."""
    present = [(group, [name for name in group.names if name in scores.labels]) for group in GROUPS]
    return [(group, names) for group, names in present if names]


def capital_count(names: Sequence[str]) -> str:
    return f"{len(names)} dataset{'s' if len(names) > 1 else ''} (`{'`, `'.join(names)}`)"


def mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else np.nan


def differences(scores: Scores, names: list[str]) -> str:
    """Mosaic against the best of the others, and against tuned Beagle, at each level."""
    rows = []
    for level in scores.levels:
        found = [s for name in names if (s := scores.ahead(name, level))]
        if not found:
            continue
        low, high = mean([s.low for s in found]), mean([s.high for s in found])
        verdict = "better" if low > 0 else "worse" if high < 0 else "no worse" if low > -MARGIN else "not told"
        others = pd.Series([scores.best_other(name, level) for name in names]).value_counts().index
        tuned = TUNED[names[0].split("-")[0].removesuffix("500")]
        counted = {
            label: sum(value(scores.get(name, level, label, "wrong")) for name in names) for label in (OWN, tuned)
        }
        rows.append(
            [
                f"{level:g}%",
                f"{mean([s.value for s in found]):+.4f} ({low:+.4f} to {high:+.4f})".replace("-", "−"),
                verdict,
                ", ".join(f"`{label}`" for label in others),
                f"{counted[OWN]:,.0f}",
                f"{counted[tuned]:,.0f}",
                f"{100 * (counted[OWN] / counted[tuned] - 1):+.0f}%".replace("-", "−"),
            ]
        )
    columns = ["missing", "ahead, macro-F1", "so", "best other", "wrong calls", f"of `{tuned}`", "fewer or more"]
    return table_of(columns, rows)


def accuracies(scores: Scores, names: list[str]) -> str:
    """Macro-F1 of every imputer at every level, mean of the datasets, with the time of a mask."""
    rows = []
    for label in sorted({label for name in names for label in scores.labels[name]}, key=lambda label: label != OWN):
        cells = [
            f"{mean([value(scores.get(name, level, label, 'f1_macro')) for name in names]):.3f}"
            for level in scores.levels
        ]
        seconds = [value(scores.get(name, level, label, "seconds")) for name in names for level in scores.levels]
        rows.append([f"`{label}`", *cells, brief(mean(seconds))])
    return table_of(["macro-F1", *(f"{level:g}%" for level in scores.levels), "a mask, one thread"], rows)


def further(scores: Scores, names: list[str]) -> str:
    """Rare sites, and what the posterior is worth, of mosaic and the two that matter, pooled over levels."""
    tuned = TUNED[names[0].split("-")[0].removesuffix("500")]
    rows = []
    for label in (OWN, tuned, "minimac4/default", "softmax_regression/default"):

        def over_levels(metric: str, subset: str, label: str = label) -> str:
            found = [value(scores.get(name, level, label, metric, subset)) for name in names for level in scores.levels]
            return f"{np.nanmean(found):.3f}" if np.isfinite(found).any() else "–"

        rows.append(
            [
                f"`{label}`",
                over_levels("f1_1", "rare_minor"),
                over_levels("dosage_r2", "rare_minor"),
                over_levels("dosage_r2", "all"),
                over_levels("iqs", "all"),
                over_levels("log_loss", "all"),
                over_levels("ece", "all"),
            ]
        )
    columns = [
        "mean over levels",
        "F1 of heterozygotes, rare sites",
        "dosage r², rare",
        "dosage r², all",
        "IQS",
        "log-loss",
        "calibration error",
    ]
    return table_of(columns, rows)


def draw(scores: Scores, path: Path) -> None:
    """Macro-F1 against percent missing, a panel for each group."""
    groups = groups_in(scores)
    labels = list(dict.fromkeys(label for _, names in groups for name in names for label in scores.labels[name]))
    labels.sort(key=lambda label: label != OWN)
    short = {
        label: label.removesuffix("/default").replace("human", "tuned").replace("breed", "tuned") for label in labels
    }
    styles = dict.fromkeys(short.values())
    styles = {name: (colour, marker) for name, colour, marker in zip(styles, COLOURS, "osD^vPX*", strict=False)}
    n_columns = min(len(groups), 2)
    n_rows = -(-len(groups) // n_columns)
    figure, axes = plt.subplots(
        n_rows, n_columns, figsize=(5 * n_columns, 3.6 * n_rows), layout="constrained", squeeze=False, sharex=True
    )
    for ax, (group, names) in zip(axes.flat, groups, strict=False):
        for label in labels:
            if label in scores.labels[names[0]]:
                values = [
                    mean([value(scores.get(n, level, label, "f1_macro")) for n in names]) for level in scores.levels
                ]
                colour, marker = styles[short[label]]
                ax.plot(
                    scores.levels, values, color=colour, marker=marker, markersize=4, linewidth=2.2 if label == OWN else 1.2,
                    label=short[label],
                )  # fmt: skip
        ax.set(title=group.title, xlabel="sites missing (%)", ylabel="macro-F1 (0 to 1)")
        ax.grid(alpha=0.3)
    for ax in axes.flat[len(groups) :]:
        ax.set_visible(False)
    handles = {text: line for ax in axes.flat for line, text in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
