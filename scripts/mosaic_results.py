"""Write the results of mosaic, docs/results/mosaic.md, and their figure.

    python scripts/mosaic_results.py [--runs runs] [--to docs/results]

Reads the scores and posteriors that `snpimpute experiment experiments/mosaic.toml` wrote to the folder of runs, and of docs/results
what the first version made on the same data (mosaic-first.csv), what arrays tell (arrays.csv, arrays-rates.csv) and what commands
cost (mosaic-commands.csv, of benchmarks/mosaic_cost.py). The page names the datasets that were not run; mosaic.csv has its differences.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
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
TUNED = {"human": "human", "kg15": "human", "cattle": "breed"}  # start of a dataset's name → variant of tuned programs
MARGIN = 0.005  # largest loss of macro-F1 that counts as no worse
BETTER, NO_WORSE, BEHIND = "better", "no worse", f"behind by less than {MARGIN}"
NOT_RUN = "IMPUTE5, GLIMPSE2, Selphi and FImpute could not be had here and were not run"
RESULTS = ROOT / "docs" / "results"
VERSIONS = {"arrays": "before rates", "arrays-rates": "today's"}  # of mosaic, by the table of arrays


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
    first = pd.read_csv(RESULTS / "mosaic-first.csv")
    compared = [compared_by_level(scores, group, here, first) for group, here in groups_in(scores)]
    write_text(arguments.to / "mosaic.csv", pd.concat(compared).round(6).to_csv(index=False))
    draw(scores, arguments.to / "mosaic.png")
    text = page(scores, compared, [name for name in names if name not in scores.labels])
    write_text(arguments.to / "mosaic.md", text)


def page(scores: Scores, compared: list[pd.DataFrame], absent: list[str]) -> str:
    """Return the whole page as Markdown.

    Args:
        scores: scores of the experiment.
        compared: `compared_by_level` of each group.
        absent: datasets that were not run.
    """
    parts = [
        "# Mosaic against the others",
        "Arrays over final data, with mosaic before and after it learned rates; the 500-site protocol, on splits that the first version was scored on too; what a command costs. "
        "[The page of the first version](mosaic-first.md) stays as it was, with what is withdrawn of it.",
        "## Arrays over new data",
        "Final data: each design was frozen by a tag and a record before its data were read. “Before rates” is mosaic as it was before "
        "it [learned how often haplotypes switch](../decisions/0052-rates-learned-from-the-panel.md). The best other is the one with "
        "fewest wrong calls of Beagle at its defaults, Beagle tuned, Minimac4, SHAPEIT4 with Minimac4. Aims: no worse than the best other by .002 in macro-F1 "
        "everywhere; on human arrays a tenth fewer wrong calls, on cattle with 80 to 95% missing a fifth fewer, intervals without zero. "
        "All rows, with what was not run: [before rates](arrays.md), [today](arrays-rates.md).",
        arrays(
            {version: (pd.read_csv(RESULTS / f"{name}.csv"), groups_of(name)) for name, version in VERSIONS.items()}
        ),
        "Missed: a tenth fewer wrong calls than the best other on human arrays, and a fifth fewer on cattle, are reached nowhere.",
        "## The 500-site protocol",
        "Made by `make mosaic` from the scores of `experiments/mosaic.toml`. **These data are spent**: the first version was scored on all of "
        "them, and choices were made since. Beagle's and Minimac4's settings are those that their studies of 50 trials found on the development data, the map's "
        "scale among them; Beagle `longer-map` was chosen there by hand (a map of ten times the length, three phasings averaged). “First version”: "
        f"mosaic of 2026-11-26 on the same masks, from [its page](mosaic-first.md) ([as a table](mosaic-first.csv)). {NOT_RUN}. The differences [as a table](mosaic.csv).",
        *([f"**Not run with today's code, and so not here: {', '.join(absent)}.**"] if absent else []),
        "![what macro-F1 lacks to 1, against percent missing](mosaic.png)",
        aims(scores),
        "Differences are means over the datasets of a group. Their 95% intervals resample samples (families, in cattle), each "
        "once for all splits that it is in, and masks; of one mask a level (development data) samples alone. *Better*: the interval is above zero; *no worse*: above "
        f"−{MARGIN}; *{BEHIND}*: the same, but below zero; *worse*: below zero. The best other imputer is that of the highest mean macro-F1 at that level. – stands where Beagle gives hard calls alone: where single calls are missing, and without a reference.",
    ]
    for (group, names), table in zip(groups_in(scores), compared, strict=True):
        parts += [f"### {group.title}", f"{dataset_list(names)}: {group.about}."]
        parts += [differences(table), accuracies(scores, names), further(scores, names), by_maf(scores, names)]
    parts += [*without_beagle(scores), *costs(pd.read_csv(RESULTS / "mosaic-commands.csv"))]
    return "\n\n".join(parts) + "\n"


def groups_of(design: str) -> dict[str, str]:
    """Return the groups of datasets of a design of arrays, and what they are called."""
    return tomllib.loads((RESULTS / f"{design}.toml").read_text())["about"]["groups"]


def arrays(tables: dict[str, tuple[pd.DataFrame, dict[str, str]]]) -> str:
    """Return a table of mosaic beside the best other on each array, by version of mosaic; the groups have their names beside."""
    rows = []
    for version, (table, titles) in tables.items():
        for (group, target), part in table.groupby(["group", "target"], sort=False):
            own = part[part["row"] == "mosaic"].iloc[0]
            others = part[~part["row"].str.startswith("mosaic")]
            best = others.loc[others["wrong"].idxmin()]
            lead = Difference(own.f1_macro - best.f1_macro, best.ahead_low, best.ahead_high)
            share = f"{more(own.wrong / best.wrong)}% ({more(best.ratio_low)} to {more(best.ratio_high)})"
            kind, percent = str(target).split("-")
            rows.append(
                [
                    f"{titles[group]}: {percent}% {'typed' if kind == 'array' else 'of the calls missing'}",
                    version,
                    f"{own.wrong:,}",
                    f"{best.wrong:,} `{best.row}`",
                    share,
                    with_interval(lead),
                    "yes" if lead.low > -0.002 else "not told" if lead.high > -0.002 else "no",
                ]
            )
    columns = ["data", "mosaic", "wrong calls", "of the best other", "fewer or more", "ahead, macro-F1"]
    return table_of([*columns, "no worse by .002"], rows)


def groups_in(scores: Scores) -> list[tuple[Group, list[str]]]:
    """Return the groups with the datasets that were run, without empty groups."""
    present = [(group, [name for name in group.names if name in scores.labels]) for group in GROUPS]
    return [(group, names) for group, names in present if names]


def development(group: Group) -> bool:
    return "development" in group.title


def dataset_list(names: Sequence[str]) -> str:
    return f"{len(names)} dataset{'s' if len(names) > 1 else ''} (`{'`, `'.join(names)}`)"


def tuned_for(names: Sequence[str], program: str = "beagle") -> str:
    return f"{program}/{TUNED[names[0].split('-')[0]]}"


def verdict(found: Difference) -> str:
    if found.low > 0:
        return BETTER
    if found.low > -MARGIN:
        return BEHIND if found.high < 0 else NO_WORSE
    return "worse" if found.high < 0 else "not told"


def more(ratio: float) -> str:
    """Return by how many percent more a ratio is, as `+3`, `−12` or `0`."""
    percent = round(100 * (ratio - 1))
    return f"{percent:+}".replace("-", "−") if percent else "0"


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
            changes_by_level = ", ".join(f"{more(1 + share)}% at {level:g}%" for level, share in fewer.items())
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


def compared_by_level(scores: Scores, group: Group, names: list[str], first: pd.DataFrame) -> pd.DataFrame:
    """Return mosaic beside the best other imputer, the best Beagle and tuned Beagle, a row a level.

    `first` has the wrong calls of the first version by group and level; they are taken if all datasets of the group were run.
    """
    before = first[first.group == group.title].set_index("level").wrong if list(names) == list(group.names) else {}
    rows = []
    for level in scores.levels[names[0]]:
        best, beagle = scores.best(names, [level]), scores.best(names, [level], begins="beagle/")
        found, to_beagle = scores.ahead(names, [level], best), scores.ahead(names, [level], beagle)
        row = {"group": group.title, "datasets": len(names), "level": level, "best": best}
        row |= {
            "ahead": found.value,
            "low": found.low,
            "high": found.high,
            "beagle": beagle,
            "ahead_of_beagle": to_beagle.value,
        }
        row |= {"low_to_beagle": to_beagle.low, "high_to_beagle": to_beagle.high}
        row |= {"wrong": scores.total_wrong(names, level, OWN), "tuned": tuned_for(names)}
        rows.append(
            row
            | {"wrong_of_tuned": scores.total_wrong(names, level, row["tuned"]), "wrong_of_first": before.get(level)}
        )
    return pd.DataFrame(rows)


def differences(table: pd.DataFrame) -> str:
    """Return the rows of `compared_by_level` as a table of the page."""
    rows = []
    for row in table.itertuples():
        found = Difference(row.ahead, row.low, row.high)
        to_beagle = Difference(row.ahead_of_beagle, row.low_to_beagle, row.high_to_beagle)
        rows.append(
            [
                f"{row.level:g}%",
                with_interval(found),
                verdict(found),
                f"`{row.best}`",
                "same" if row.beagle == row.best else f"{with_interval(to_beagle)} to `{row.beagle}`",
                f"{row.wrong:,.0f}",
                f"{row.wrong_of_tuned:,.0f}",
                f"{more(row.wrong / row.wrong_of_tuned)}%",
                "–" if pd.isna(row.wrong_of_first) else f"{row.wrong_of_first:,.0f}",
            ]
        )
    columns = ["missing", "ahead, macro-F1", "so", "best other", "ahead of the best Beagle", "wrong calls"]
    return table_of([*columns, f"of `{table.tuned.iloc[0]}`", "fewer or more", "of the first version"], rows)


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


def shown_further(scores: Scores, names: Sequence[str]) -> list[str]:
    """Return the imputers whose further metrics are shown."""
    wanted = (OWN, tuned_for(names), tuned_for(names, "minimac4"), "softmax_regression/default")
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
    for label in shown_further(scores, names):
        values = [scores.mean(names, scores.levels[names[0]], label, *of) for of in wanted.values()]
        rows.append([f"`{label}`", *("–" if np.isnan(value) else f"{value:.3f}" for value in values)])
    return table_of(["mean over levels", *wanted], rows)


def by_maf(scores: Scores, names: list[str]) -> str:
    """Return a table of macro-F1 and share of wrong calls by MAF bin, over the levels."""
    levels = scores.levels[names[0]]
    bins = sorted({subset for name in names for subset in scores.subsets[name] if subset.startswith("maf:")})
    rows = []
    for label in shown_further(scores, names):
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


def without_beagle(scores: Scores) -> list[str]:
    """Return the section of mosaic that phases the panel itself, which was run on some datasets of a group."""
    parts = []
    for group, names in groups_in(scores):
        shared = scores.shared(names)
        for name in names:
            own = [label for label in scores.labels[name] if label not in shared and label.startswith("mosaic/")]
            if own:
                parts += [f"On `{name}` ({group.title.lower()}):", behind(scores, name, own)]
    if not parts:
        return []
    return [
        "### Without Beagle",
        "`mosaic/alone` phases a panel without phase itself. Macro-F1, and in brackets how far mosaic as it is by default is ahead and the lower end of the interval.",
        *parts,
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


def costs(table: pd.DataFrame) -> list[str]:
    """Return the section with the table of benchmarks/mosaic_cost.py."""
    cases = {
        "human": "500 people over 2,004, 10,000 sites",
        "cattle": "100 bulls over 400, 7,250 sites",
        "small": "100 simulated people over 1,000, 5,000 sites",
        "large": "100 simulated people over 10,000, 5,000 sites",
    }
    rows, of_beagle = [], np.nan
    for row in table.itertuples():
        of_beagle = row.processor_s if row.program == "Beagle" else of_beagle
        times = "" if np.isnan(row.of_beagle) or row.program == "Beagle" else f"{row.processor_s / of_beagle:.2f}"
        rows.append(
            [
                cases[row.panel],
                row.program,
                row.task,
                f"{row.processor_s:,.1f}",
                times,
                f"{row.elapsed_s:,.1f}",
                f"{row.memory_mb:,.0f}",
            ]
        )
    return [
        "## What a command costs",
        "Arrays with a tenth of the sites, one thread, whole commands, all of one run of `python benchmarks/mosaic_cost.py`. Aims: `impute` at most 1.0 × "
        "Beagle, ten times the panel at most twice the cost, memory below 1.5 GB with 20,000 haplotypes, `fit` at most 3 × Beagle's phasing of the panel. "
        "Missed: `impute` on the human array.",
        table_of(
            ["data", "program", "task", "processor seconds", "times Beagle", "seconds", "MB"],
            rows,
        ),
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
