"""Write the tables of mosaic in the 500-site protocol, docs/results/mosaic.csv and mosaic-rows.csv.

    snpimpute experiment experiments/mosaic.toml --data kg15-500      runs the experiment, in pieces if need be
    python scripts/mosaic_tables.py [--runs runs] [--to docs/results]

Reads scores and posteriors in the folder of runs, a group of datasets at a time. A group of which the folder has fewer datasets than the
tables is left in them as it is. mosaic.csv has mosaic beside the best other imputer at each level, mosaic-rows.csv the scores
of all rows; `scripts/mosaic_results.py` makes the page of them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.base.files import write_text
from snpimpute.dataset.prepared import PreparedDataset, dataset_in
from snpimpute.dataset.splits import unit_names
from snpimpute.experiment.kept import model_folders
from snpimpute.experiment.score import read_whole_scores
from snpimpute.experiment.settings import read
from snpimpute.scoring.pooling import Counted, Difference, confusions, pooled_difference
from snpimpute.scoring.posteriors import Posteriors, load_posteriors

ROOT = Path(__file__).parents[1]
EXPERIMENT = ROOT / "experiments" / "mosaic.toml"
RESULTS = ROOT / "docs" / "results"
OWN = "mosaic/default"
TUNED = {"human": "human", "kg15": "human", "cattle": "breed"}  # start of a dataset's name → variant of tuned programs
# Datasets of one kind, whose results are averaged.
GROUPS = {
    "Human, new splits": [f"human-{i}" for i in range(1, 6)],
    "Cattle, new splits": [f"cattle-{i}" for i in range(1, 6)],
    "Cattle, families apart": ["cattle-families", *(f"cattle-families-{i}" for i in (2, 3, 4, 5))],
    "Human, sites set aside": [f"human-aside-{i}" for i in (1, 2, 3)],
    "Cattle, chromosomes set aside": [f"cattle-aside-{c}" for c in (3, 8, 13, 18, 23, 28)],
    "Human, single calls": ["human-calls"],
    "Cattle, single calls": ["cattle-calls"],
    "Human, development data": ["kg15-500"],
    "Cattle, development data": ["cattle-chr1"],
}
# Metrics and subsets of sites whose means over the levels are kept beside macro-F1 at each level.
MEANS = [("f1_0", "all"), ("f1_1", "all"), ("f1_2", "all"), ("f1_1", "rare_minor"), ("site_dosage_r2", "rare_minor")]
MEANS += [("site_dosage_r2", "all"), ("centred_iqs", "all"), ("log_loss", "all"), ("ece", "all")]
COLUMNS = ["group", "datasets", "row", "level", "subset", "metric", "versus", "value", "low", "high"]


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
        table = read_whole_scores(path)
        self.labels[name] = list(dict.fromkeys(table["row"]))
        self.levels[name] = sorted(table["level"].unique())
        self.subsets[name] = list(table["subset"].unique())
        self.mechanism[name] = table["mechanism"].iloc[0]
        for row in table[["level", "row", "subset", "metric", "value"]].itertuples(index=False, name=None):
            self._rows[name, *row[:4]] = row[4]
        about = json.loads(path.with_suffix(".json").read_text())
        self.folders[name] = self.runs / "datasets" / f"{name}-{about['dataset_digest'][:12]}"
        for label, home in model_folders(self.runs, name, about["models"]).items():
            self.homes[name, label] = home

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
    parser.add_argument("--to", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    scores = Scores(arguments.runs, list(read(EXPERIMENT).data))
    if not scores.labels:
        sys.exit(f"{arguments.runs} has no scores: run snpimpute experiment {EXPERIMENT} first")
    first = pd.read_csv(RESULTS / "mosaic-first.csv")
    levels, rows = (read_table(arguments.to / name) for name in ("mosaic.csv", "mosaic-rows.csv"))
    for group, all_names in GROUPS.items():
        names = [name for name in all_names if name in scores.labels]
        kept = 0 if levels.empty else levels.loc[levels.group == group, "datasets"].max()
        if not names or len(names) < kept:
            continue
        print(f"{group}: {', '.join(names)}")
        levels = pd.concat([levels[levels.group != group], compared_by_level(scores, group, names, first)])
        rows = pd.concat([rows[rows.group != group], rows_of(scores, group, names)])
    for name, table in (("mosaic.csv", levels), ("mosaic-rows.csv", rows)):
        ordered = table.sort_values("group", key=lambda titles: titles.map(list(GROUPS).index), kind="stable")
        write_text(arguments.to / name, ordered.round(6).to_csv(index=False))


def read_table(path: Path) -> pd.DataFrame:
    """Return a table that was written before; without a row if there is none."""
    return pd.read_csv(path) if path.exists() else pd.DataFrame({"group": []})


def tuned_for(names: Sequence[str], program: str = "beagle") -> str:
    return f"{program}/{TUNED[names[0].split('-')[0]]}"


def compared_by_level(scores: Scores, group: str, names: list[str], first: pd.DataFrame) -> pd.DataFrame:
    """Return mosaic beside the best other imputer, the best Beagle and tuned Beagle, a row a level.

    `first` has the wrong calls of the first version by group and level; they are taken if all datasets of the group were run.
    """
    before = first[first.group == group].set_index("level").wrong if names == GROUPS[group] else {}
    rows = []
    for level in scores.levels[names[0]]:
        best, beagle = scores.best(names, [level]), scores.best(names, [level], begins="beagle/")
        found, to_beagle = scores.ahead(names, [level], best), scores.ahead(names, [level], beagle)
        row = {"group": group, "datasets": len(names), "level": level, "best": best}
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


def rows_of(scores: Scores, group: str, names: list[str]) -> pd.DataFrame:
    """Return the scores of the rows that all datasets of a group have, then those of mosaic without Beagle, as COLUMNS.

    They are means over the datasets, at a level or (level missing) over the levels; `versus` is whom a difference is to.
    """
    levels = scores.levels[names[0]]
    found = [scores_of(scores, names, label) for label in sorted(scores.shared(names), key=lambda label: label != OWN)]
    if group.startswith("Human") and not names[0].endswith("calls"):
        other = scores.best(names, levels, metric="f1_1", subset="rare_minor")
        lead = scores.ahead(names, levels, other, heterozygotes_at_rare_sites=True)
        found.append([(OWN, np.nan, "rare_minor", "f1_1", other, lead.value, lead.low, lead.high)])
    tables = [
        pd.DataFrame([row for part in found for row in part], columns=COLUMNS[2:]).assign(datasets=" ".join(names))
    ]
    for name in names:
        for label in scores.labels[name]:
            if label.startswith("mosaic/") and label not in scores.shared(names):
                own = pd.DataFrame(list(beside_default(scores, name, label)), columns=COLUMNS[2:])
                tables.append(own.assign(datasets=name))
    return pd.concat(tables).assign(group=group)[COLUMNS]


def scores_of(scores: Scores, names: list[str], label: str) -> Iterator[tuple]:
    """Yield the scores of a row on datasets, without the first two of COLUMNS."""
    levels = scores.levels[names[0]]

    def row(metric: str, value: float, level: float = np.nan, subset: str = "all") -> tuple:
        return (label, level, subset, metric, "", value, np.nan, np.nan)

    for level in levels:
        yield row("f1_macro", scores.mean(names, [level], label, "f1_macro"), level)
    yield row("seconds", scores.mean(names, levels, label, "seconds"))
    yield row("memory_mb", float(np.mean([scores.cost(name, label, "impute", "memory_mb") for name in names])))
    for metric, subset in MEANS:
        yield row(metric, scores.mean(names, levels, label, metric, subset), subset=subset)
    for subset in sorted({subset for name in names for subset in scores.subsets[name] if subset.startswith("maf:")}):
        counts = [
            np.nansum([scores.get(name, level, label, metric, subset) for name in names for level in levels])
            for metric in ("wrong", "truth_0", "truth_1", "truth_2")
        ]
        yield row("f1_macro", scores.mean(names, levels, label, "f1_macro", subset), subset=subset)
        yield row("wrong_share", counts[0] / sum(counts[1:]), subset=subset)


def beside_default(scores: Scores, name: str, label: str) -> Iterator[tuple]:
    """Yield the macro-F1 of another variant of mosaic on a dataset, how far the default is ahead of it, and its times."""
    for level in scores.levels[name]:
        lead = scores.ahead([name], [level], label)
        value = scores.get(name, level, label, "f1_macro")
        yield (label, level, "all", "f1_macro", "", value, np.nan, np.nan)
        yield (OWN, level, "all", "f1_macro", label, lead.value, lead.low, lead.high)
    seconds = {"seconds_fit": scores.cost(name, label, "fit", "seconds_fit")}
    seconds["seconds"] = scores.mean([name], scores.levels[name], label, "seconds")
    for metric, value in seconds.items():
        yield (label, np.nan, "all", metric, "", value, np.nan, np.nan)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
