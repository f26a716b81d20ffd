"""Write the results of mosaic's experiment, docs/results/mosaic.md, and their figure.

    python scripts/mosaic_results.py [--runs runs] [--to docs/results]

Reads the scores and posteriors that `snpimpute experiment experiments/mosaic.toml` wrote to the folder of runs. The page
names the datasets that were not run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import NullFormatter

from snpimpute.base.errors import InputError
from snpimpute.base.files import write_text
from snpimpute.dataset.prepared import PreparedDataset, dataset_in
from snpimpute.dataset.splits import unit_names
from snpimpute.experiment.score import read_scores
from snpimpute.experiment.settings import read
from snpimpute.report.calls import brief
from snpimpute.report.markdown import table_of
from snpimpute.report.tree import COLOURS
from snpimpute.scoring.pooling import Counted, Difference, confusions, pooled_difference
from snpimpute.scoring.posteriors import Posteriors, load_posteriors

ROOT = Path(__file__).parents[1]
EXPERIMENT = ROOT / "experiments" / "mosaic.toml"
OWN = "mosaic/default"
FLOOR = "mode/default"  # far below all others, so not drawn
TUNED = {"human": "beagle/human", "kg15": "beagle/human", "cattle": "beagle/breed"}  # start of a dataset's name → row
MARGIN = 0.005  # largest loss of macro-F1 that counts as no worse
BETTER, NO_WORSE, BEHIND = "better", "no worse", f"behind by less than {MARGIN}"
OF_THE_FIRST = "> **This page is of the first mosaic.** That of 2026-11-27 is measured on data that nothing was designed on: [arrays](arrays.md)."
WITHDRAWN = (
    '> **Withdrawn on 2026-11-26: every comparison with Beagle on human genotypes on this page, and the words "best at every level"\n'
    '> and "32% fewer wrong calls".** Beagle had no genetic map here. Its clusters and imputation steps are in cM: with a map of ten\n'
    "> times the length (`ne=80000 cluster=0.001`) it makes 293 / 985 / 4,464 wrong calls on `human-1` at 30 / 60 / 90% missing (first\n"
    "> mask of each level), `mosaic` 307 / 1,000 / 4,483, the Beagle of this page 541 / 1,417 / 5,120. On an unseen human panel with 5%\n"
    "> of its sites typed, mosaic at its defaults makes twice Beagle's wrong calls: its window counts the panel's sites. BERT's studies\n"
    "> had one trial each. What is said of cattle from 80% missing on stands."
)
NOT_RUN = "IMPUTE5, GLIMPSE2, Selphi, FImpute and AlphaImpute2 could not be had here and were not run"


@dataclass(frozen=True)
class Group:
    """Datasets of one kind, whose results are averaged."""

    title: str
    names: tuple[str, ...]
    about: str

    @property
    def of_calls(self) -> bool:
        """True if single calls are hidden instead of whole sites."""
        return self.names[0].endswith("calls")


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
        ("cattle-families", *(f"cattle-families-{i}" for i in (2, 3, 4, 5))),
        "sires' families are wholly in train or in test, four masks a level; the first alone left much untold, so four more "
        "were added",
    ),
    Group("Human, sites set aside", tuple(f"human-aside-{i}" for i in (1, 2, 3)), "500 sites each, two masks a level"),
    Group(
        "Cattle, chromosomes set aside", tuple(f"cattle-aside-{c}" for c in (3, 8, 13, 18, 23, 28)), "two masks a level"
    ),
    Group("Human, single calls", ("human-calls",), "calls missing at random, two masks a level"),
    Group("Cattle, single calls", ("cattle-calls",), "calls missing at random, two masks a level"),
    Group("Human, development data", ("kg15-500",), "the panel's own split and masks: mosaic was designed on them"),
    Group("Cattle, development data", ("cattle-chr1",), "the panel's own split and masks: mosaic was designed on them"),
)


class Scores:
    """Scores of the experiment's datasets: of each the table with most rows (the newest of equals) and posteriors."""

    def __init__(self, runs: Path, names: Sequence[str]) -> None:
        self.runs = runs
        self.labels: dict[str, list[str]] = {}
        self.homes: dict[tuple[str, str], Path] = {}
        self.folders: dict[str, Path] = {}
        self.levels: dict[str, list[float]] = {}
        self.mechanism: dict[str, str] = {}
        self.subsets: dict[str, list[str]] = {}
        self.offsets: dict[str, pd.DataFrame] = {}
        self._rows: dict[tuple, float] = {}
        self._counted: dict[tuple, np.ndarray] = {}
        for name in names:
            tables = [p for p in (runs / "scores").glob(f"{name}-*.csv") if len(p.stem) == len(name) + 13]
            tables = [p for p in tables if len(models_of(p)) > 2]  # without tables of a run with `--imputer`
            if tables:
                self._add_table(name, max(tables, key=lambda path: (len(models_of(path)), path.stat().st_mtime)))

    def _add_table(self, name: str, path: Path) -> None:
        table = read_scores(path)
        table = table[table["repeat"] == "all"].assign(label=table["imputer"] + "/" + table["variant"])
        self.offsets[name] = table[
            (table["decision"] == "offsets") & (table["subset"] == "all") & (table["metric"] == "f1_macro")
        ]
        table = table[(table["versus"] == "") & (table["decision"] == "argmax")]
        self.labels[name] = list(dict.fromkeys(table["label"]))
        self.levels[name] = sorted(table["level"].unique())
        self.subsets[name] = list(table["subset"].unique())
        self.mechanism[name] = table["mechanism"].iloc[0]
        for row in table[["level", "label", "subset", "metric", "value"]].itertuples(index=False, name=None):
            self._rows[name, *row[:4]] = row[4]
        about = json.loads(path.with_suffix(".json").read_text())
        self.folders[name] = self.runs / "datasets" / f"{name}-{about['dataset_digest'][:12]}"
        for home in about["models"]:
            imputer, variant = home.removeprefix(f"{name}-").rsplit("-", 1)[0].split("-", 1)
            self.homes[name, f"{imputer}/{variant}"] = self.runs / "models" / home

    def get(self, name: str, level: float, label: str, metric: str, subset: str = "all") -> float:
        return self._rows.get((name, level, label, subset, metric), np.nan)

    def cost(self, name: str, label: str, step: str, key: str) -> float:
        """Return a cost of a model from its file `step`.json."""
        return json.loads((self.homes[name, label] / f"{step}.json").read_text())[key]

    def mean(
        self, names: Sequence[str], levels: Sequence[float], label: str, metric: str, subset: str = "all"
    ) -> float:
        values = [self.get(name, level, label, metric, subset) for name in names for level in levels]
        return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan

    def total_wrong(self, names: Sequence[str], level: float, label: str) -> float:
        return sum(self.get(name, level, label, "wrong") for name in names)

    def shared(self, names: Sequence[str]) -> list[str]:
        """Return the rows that were run on all of these datasets."""
        return [label for label in self.labels[names[0]] if all(label in self.labels[name] for name in names)]

    def best(self, names: Sequence[str], levels: Sequence[float], begins: str = "", **metric: str) -> str:
        """Return the imputer other than mosaic with the highest mean score (default macro-F1) over the datasets."""
        others = [label for label in self.shared(names) if label != OWN and label.startswith(begins)]
        return max(others, key=lambda label: self.mean(names, levels, label, **({"metric": "f1_macro"} | metric)))

    def ahead(
        self, names: Sequence[str], levels: Sequence[float], other: str, heterozygotes_at_rare_sites: bool = False
    ) -> Difference:
        """Return the score of mosaic minus that of another imputer, as the mean of datasets and levels.

        The score is macro-F1, or F1 of heterozygotes at rare sites.
        """
        rare = heterozygotes_at_rare_sites
        counted = [
            Counted(self._units(name), *(self._confusions(name, label, level, rare) for label in (OWN, other)))
            for name in names
            for level in levels
        ]
        return pooled_difference(counted, genotype=1 if rare else None)

    def _units(self, name: str) -> np.ndarray:
        return unit_names(dataset_in(self.folders[name]).test.samples, "family")

    def _confusions(self, name: str, label: str, level: float, rare: bool) -> np.ndarray:
        key = (name, label, level, rare)
        if key not in self._counted:
            dataset = dataset_in(self.folders[name])
            posteriors = self._posteriors(name, label, level, dataset)
            self._counted[key] = confusions(dataset, posteriors, self.mechanism[name], level, rare)
        return self._counted[key]

    def _posteriors(self, name: str, label: str, level: float, dataset: PreparedDataset) -> Posteriors:
        keys = [s.key for s in dataset.test_scenarios() if s.level == level]
        return load_posteriors(self.homes[name, label] / "posteriors.npz", keys)


def models_of(scores: Path) -> list[str]:
    """Return the folders of the models in a table of scores."""
    return json.loads(scores.with_suffix(".json").read_text())["models"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs")
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "results")
    arguments = parser.parse_args()
    names = list(read(EXPERIMENT).data)
    scores = Scores(arguments.runs, names)
    if not scores.labels:
        sys.exit(f"{arguments.runs} has no scores: run snpimpute experiment {EXPERIMENT} first")
    draw(scores, arguments.to / "mosaic.png")
    text = page(scores, [name for name in names if name not in scores.labels], (arguments.to / "mosaic-cost.csv"))
    write_text(arguments.to / "mosaic.md", text)


def page(scores: Scores, absent: list[str], cost: Path) -> str:
    """Return the whole page as Markdown."""
    parts = [
        "# Mosaic against the others",
        OF_THE_FIRST,
        WITHDRAWN,
        "Made by `make mosaic` from the scores of `experiments/mosaic.toml`, which was fixed, with "
        "[mosaic's design](../decisions/0017-mosaic.md), before anything but the development data was scored; four of the "
        "splits by family, networks, offsets and `mosaic/alone` were added later. Beagle's "
        "settings are those that its studies found on the development data, three phasings averaged; `joint` phases panel "
        f"and target together. {NOT_RUN}.",
        *([f"**Not run yet, and so not here: {', '.join(absent)}.**"] if absent else []),
        "![what macro-F1 lacks to 1, against percent missing](mosaic.png)",
        "## In short",
        aims(scores),
        "Differences are means over the datasets of a group. Their 95% intervals resample samples (families, in cattle), each "
        "once for all splits that it is in, and masks; of one mask a level (development data) samples alone. *Better*: the interval is above zero; *no worse*: above "
        f"−{MARGIN}; *{BEHIND}*: the same, but below zero; *worse*: below zero. The best other imputer is that of the highest mean macro-F1 at that level. – stands where Beagle gives hard calls alone: where single calls are missing, and without a reference.",
    ]
    for group, names in groups_in(scores):
        parts += [f"## {group.title}", f"{dataset_list(names)}: {group.about}."]
        parts += [differences(scores, names), accuracies(scores, names), further(scores, names), by_maf(scores, names)]
    parts += networks(scores)
    parts += with_offsets(scores)
    if cost.exists():
        parts += costs(pd.read_csv(cost))
    return "\n\n".join(parts) + "\n"


def groups_in(scores: Scores) -> list[tuple[Group, list[str]]]:
    """Return the groups with the datasets that were run, without empty groups."""
    present = [(group, [name for name in group.names if name in scores.labels]) for group in GROUPS]
    return [(group, names) for group, names in present if names]


def development(group: Group) -> bool:
    return "development" in group.title


def dataset_list(names: Sequence[str]) -> str:
    return f"{len(names)} dataset{'s' if len(names) > 1 else ''} (`{'`, `'.join(names)}`)"


def tuned_for(names: Sequence[str]) -> str:
    return TUNED[names[0].split("-")[0]]


def verdict(found: Difference) -> str:
    if found.low > 0:
        return BETTER
    if found.low > -MARGIN:
        return BEHIND if found.high < 0 else NO_WORSE
    return "worse" if found.high < 0 else "not told"


def with_interval(found: Difference) -> str:
    return f"{found.value:+.4f} ({found.low:+.4f} to {found.high:+.4f})".replace("-", "−")


def aims(scores: Scores) -> str:
    """Return a table of the aims, set before the final data was scored, and the results on each group of new data."""
    rows: list[list[str]] = []
    for group, names in groups_in(scores):
        if development(group):
            continue
        levels = scores.levels[names[0]]
        human = names[0].startswith("human")
        found = {level: scores.ahead(names, [level], scores.best(names, [level])) for level in levels}
        verdicts = {level: verdict(difference) for level, difference in found.items()}
        rows.append(
            [
                group.title,
                f"no worse than the best other at every level, by {MARGIN}",
                *outcome(verdicts, (BETTER, NO_WORSE, BEHIND)),
            ]
        )
        if group.of_calls:  # the other aims were set for whole sites
            continue
        if human:
            low = {level: verdicts[level] for level in levels if 10 <= level <= 60}
            rows.append([group.title, "better than the best other at 10 to 60%", *outcome(low, (BETTER,))])
            fewer = {
                level: scores.total_wrong(names, level, OWN) / scores.total_wrong(names, level, tuned_for(names)) - 1
                for level in levels
                if 30 <= level <= 60
            }
            changes_by_level = ", ".join(
                f"{100 * share:+.0f}% at {level:g}%".replace("-", "−") for level, share in fewer.items()
            )
            met = "yes" if max(fewer.values()) <= -0.25 else "no"
            rows.append(
                [group.title, "a quarter fewer wrong calls than tuned Beagle at 30 to 60%", met, changes_by_level]
            )
            of = {"metric": "f1_1", "subset": "rare_minor"}
            other = scores.best(names, levels, **of)
            rare = scores.ahead(names, levels, other, heterozygotes_at_rare_sites=True)
            met = "yes" if rare.low > -MARGIN else "no"
            aim = "no worse in F1 of heterozygotes at rare sites, over all levels"
            rows.append([group.title, aim, met, f"{with_interval(rare)} to `{other}`"])
        else:
            high = {
                level: verdict(scores.ahead(names, [level], scores.best(names, [level], begins="beagle/")))
                for level in levels
                if level >= 80
            }
            rows.append([group.title, "better than the best Beagle at 80 to 95%", *outcome(high, (BETTER,))])
    return (
        table_of(["data", "aim", "met", "found"], rows, numbers=False) if rows else "No new data has been scored yet."
    )


def outcome(verdicts: dict[float, str], wanted: tuple[str, ...]) -> list[str]:
    """Return whether the verdicts at all levels are as wanted, and the levels of each verdict."""
    met = "yes" if all(word in wanted for word in verdicts.values()) else "no"
    words = dict.fromkeys(verdicts.values())
    return [
        met,
        "; ".join(f"{word}: {', '.join(f'{v:g}%' for v in verdicts if verdicts[v] == word)}" for word in words),
    ]


def differences(scores: Scores, names: list[str]) -> str:
    """Return a table of mosaic against the best other imputer, the best Beagle and tuned Beagle, at each level."""
    rows = []
    tuned = tuned_for(names)
    for level in scores.levels[names[0]]:
        best, beagle = scores.best(names, [level]), scores.best(names, [level], begins="beagle/")
        found = scores.ahead(names, [level], best)
        counted = {label: scores.total_wrong(names, level, label) for label in (OWN, tuned)}
        rows.append(
            [
                f"{level:g}%",
                with_interval(found),
                verdict(found),
                f"`{best}`",
                "same" if beagle == best else f"{with_interval(scores.ahead(names, [level], beagle))} to `{beagle}`",
                f"{counted[OWN]:,.0f}",
                f"{counted[tuned]:,.0f}",
                f"{100 * (counted[OWN] / counted[tuned] - 1):+.0f}%".replace("-", "−"),
            ]
        )
    columns = ["missing", "ahead, macro-F1", "so", "best other", "ahead of the best Beagle", "wrong calls"]
    return table_of([*columns, f"of `{tuned}`", "fewer or more"], rows)


def accuracies(scores: Scores, names: list[str]) -> str:
    """Return a table of every imputer's mean macro-F1 over the datasets at every level, with time and memory."""
    rows = []
    levels = scores.levels[names[0]]
    for label in sorted(scores.shared(names), key=lambda label: label != OWN):
        cells = [f"{scores.mean(names, [level], label, 'f1_macro'):.3f}" for level in levels]
        seconds = scores.mean(names, levels, label, "seconds")
        memory = np.mean([scores.cost(name, label, "impute", "memory_mb") for name in names])
        rows.append([f"`{label}`", *cells, brief(seconds), f"{memory:,.0f} MB"])
    return table_of(["macro-F1", *(f"{level:g}%" for level in levels), "a mask, one thread", "memory"], rows)


def compared(scores: Scores, names: Sequence[str]) -> list[str]:
    """Return the imputers whose further metrics are shown."""
    wanted = (OWN, tuned_for(names), "minimac4/default", "softmax_regression/default")
    return [label for label in wanted if label in scores.shared(names)]


def further(scores: Scores, names: list[str]) -> str:
    """Return a table of further metrics (F1 of genotypes, rare sites, posterior), as means over the levels."""
    wanted = {
        "F1 of 0": ("f1_0", "all"),
        "of 1": ("f1_1", "all"),
        "of 2": ("f1_2", "all"),
        "of heterozygotes, rare sites": ("f1_1", "rare_minor"),
        "dosage r² within sites, rare": ("site_dosage_r2", "rare_minor"),
        "dosage r² within sites": ("site_dosage_r2", "all"),
        "IQS": ("centred_iqs", "all"),
        "log-loss": ("log_loss", "all"),
        "calibration error": ("ece", "all"),
    }
    rows = []
    for label in compared(scores, names):
        values = [scores.mean(names, scores.levels[names[0]], label, *of) for of in wanted.values()]
        rows.append([f"`{label}`", *("–" if np.isnan(value) else f"{value:.3f}" for value in values)])
    return table_of(["mean over levels", *wanted], rows)


def by_maf(scores: Scores, names: list[str]) -> str:
    """Return a table of macro-F1 and share of wrong calls by MAF bin, over the levels."""
    levels = scores.levels[names[0]]
    bins = sorted({subset for name in names for subset in scores.subsets[name] if subset.startswith("maf:")})
    rows = []
    for label in compared(scores, names):
        cells = []
        for subset in bins:
            counts = {
                metric: np.nansum(
                    [scores.get(name, level, label, metric, subset) for name in names for level in levels]
                )
                for metric in ("wrong", "truth_0", "truth_1", "truth_2")
            }
            wrong = counts.pop("wrong") / sum(counts.values())
            cells.append(f"{scores.mean(names, levels, label, 'f1_macro', subset):.3f}, {100 * wrong:.1f}%")
        rows.append([f"`{label}`", *cells])
    titles = [subset.removeprefix("maf:").replace("-", "–") for subset in bins]
    return table_of(["macro-F1, wrong calls by MAF", *titles], rows)


def networks(scores: Scores) -> list[str]:
    """Return the section of rows that were run on some datasets of a group: networks, and mosaic without Beagle."""
    parts = []
    for group, names in groups_in(scores):
        shared = scores.shared(names)
        for name in names:
            own = [label for label in scores.labels[name] if label not in shared]
            if own:
                parts += [f"On `{name}` ({group.title.lower()}):", behind(scores, name, own)]
    if not parts:
        return []
    return [
        "## Networks, and mosaic without Beagle",
        "Run on one new split of each panel, since networks take long to fit. Each is one network for all levels, with the "
        "parameters that its study found on the development data; the studies and fits were short, BERT's most of all "
        "([the reference run](README.md#the-reference-run)). `mosaic/alone` phases the panel itself. Macro-F1, and in "
        "brackets how far mosaic is ahead and the lower end of the interval.",
        *parts,
        "What it costs to be one model for all levels: for a network, at 60%, what lies between its `fixed` and its `random` "
        "row in the [reference](reference/report.md) (BERT on kg15-500: .945 and .925). Mosaic has no such cost: nothing in "
        "it is learned for a level. And without Beagle: on human nothing of mosaic is Beagle's, since the panel is phased; "
        "on cattle, whose panel is not, `mosaic/alone` is the row to look at, and the networks themselves.",
    ]


def behind(scores: Scores, name: str, labels: list[str]) -> str:
    """Return a table of some imputers' macro-F1 at every level of a dataset, and mosaic's lead over each."""
    rows = []
    for label in labels:
        cells = []
        for level in scores.levels[name]:
            found = scores.ahead([name], [level], label)
            value = scores.get(name, level, label, "f1_macro")
            cells.append(f"{value:.3f} ({found.value:+.3f}, {found.low:+.3f})".replace("-", "−"))
        fit = brief(scores.cost(name, label, "fit", "seconds_fit"))
        rows.append([f"`{label}`", *cells, fit, brief(scores.mean([name], scores.levels[name], label, "seconds"))])
    return table_of(
        ["macro-F1 (mosaic ahead by, at least)", *(f"{v:g}%" for v in scores.levels[name]), "to fit", "a mask"], rows
    )


def with_offsets(scores: Scores) -> list[str]:
    """Return the section of hard calls with offsets; empty if they were not scored."""
    parts = []
    for name, table in scores.offsets.items():
        if table.empty:
            continue
        levels = scores.levels[name]
        at = {(row.label, row.level, row.versus): row for row in table.itertuples()}
        rows = []
        for label in scores.labels[name]:
            cells = []
            for level in levels:
                value, gain = at[label, level, ""], at[label, level, "argmax"]
                mark = "▲" if gain.low > 0 else "▼" if gain.high < 0 else ""
                cells.append(f"{value.value:.3f} ({gain.value:+.3f}{mark})".replace("-", "−"))
            rows.append([f"`{label}`", *cells])
        parts += [f"On `{name}`:", table_of(["macro-F1 with offsets", *(f"{v:g}%" for v in levels)], rows)]
    if not parts:
        return []
    return [
        "## Hard calls with offsets",
        "So that nobody wins by thresholds alone: the same posteriors, called with offsets for each genotype that were chosen "
        "for macro-F1 on validation samples ([decision 18](../decisions/0018-offsets.md)). In brackets what that changes; ▲ "
        "and ▼ where the 95% interval of the change excludes zero. All other figures of this page are without them.",
        *parts,
    ]


def costs(table: pd.DataFrame) -> list[str]:
    """Return the section with the table of benchmarks/mosaic_curve.py."""
    rows = []
    for (dataset, curve, at), part in table.groupby(["dataset", "curve", "at"], sort=False):
        cells = [f"{row.f1_macro:.3f}, {brief(row.seconds)}" for row in part.itertuples()]
        rows.append([dataset, curve, at, *cells, f"{part['memory_mb'].max():,.0f} MB"])
    levels = [f"{level:g}%" for level in sorted(table["level"].unique())]
    return [
        "## What accuracy costs",
        "Macro-F1 and processor seconds to impute a mask on the development data, one thread (`python "
        "benchmarks/mosaic_curve.py`); mosaic with fewer and more states, Beagle with one, three and ten phasings averaged.",
        "![macro-F1 against processor time in runs of Beagle](mosaic-cost.png)",
        table_of(["data", "imputer", "with", *levels, "memory"], rows),
    ]


def draw(scores: Scores, path: Path) -> None:
    """Draw 1 − macro-F1 against percent missing, a panel for each group of new data, or of all data if none is new."""
    groups = groups_in(scores)
    groups = [(group, names) for group, names in groups if not development(group)] or groups
    labels = list(dict.fromkeys(label for _, names in groups for label in scores.shared(names)))
    labels = sorted((label for label in labels if label != FLOOR), key=lambda label: label != OWN)
    short = {label: label.replace("/human", "/tuned").replace("/breed", "/tuned") for label in labels}
    styles = dict.fromkeys(short.values())
    styles = {name: (colour, marker) for name, colour, marker in zip(styles, COLOURS, "osD^vPX*", strict=False)}
    n_columns = min(len(groups), 2 if len(groups) < 5 else 3)
    n_rows = -(-len(groups) // n_columns)
    figure, axes = plt.subplots(
        n_rows, n_columns, figsize=(5 * n_columns, 3.6 * n_rows), layout="constrained", squeeze=False
    )
    for ax, (group, names) in zip(axes.flat, groups, strict=False):
        for label in labels:
            if label in scores.shared(names):
                levels = scores.levels[names[0]]
                values = [1 - scores.mean(names, [level], label, "f1_macro") for level in levels]
                colour, marker = styles[short[label]]
                ax.plot(
                    levels, values, color=colour, marker=marker, markersize=4, linewidth=2.2 if label == OWN else 1.2,
                    label=short[label],
                )  # fmt: skip
        what = "calls" if group.of_calls else "sites"
        ax.set(title=group.title, xlabel=f"{what} missing (%)", ylabel="1 − macro-F1 (lower is better)", yscale="log")
        ax.grid(alpha=0.3, which="both")
        low, high = ax.get_ylim()
        ax.set_yticks(
            ticks := [t for t in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if low < t < high], [f"{t:g}" for t in ticks]
        )
        ax.yaxis.set_minor_formatter(NullFormatter())
    for ax in axes.flat[len(groups) :]:
        ax.set_visible(False)
    handles = {text: line for ax in axes.flat for line, text in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
