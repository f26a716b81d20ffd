"""Write docs/results/network-training.csv and .md: what masks, weights of the loss and visible inputs do to a network.

    snpimpute experiment experiments/network-training.toml      runs it; in pieces (`--imputer`), if need be
    python scripts/network_training.py [--runs runs]            writes table and page

Reads the scores and posteriors of the experiment in the folder of runs. Differences are to the row `random` of the same network,
paired: the same samples and masks are drawn for both.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.base.files import write_text
from snpimpute.dataset.prepared import dataset_in
from snpimpute.dataset.splits import unit_names
from snpimpute.experiment.kept import kept_datasets, kept_scores, model_folders
from snpimpute.experiment.rows import plan
from snpimpute.experiment.score import read_whole_scores
from snpimpute.experiment.settings import read
from snpimpute.report.markdown import table_of
from snpimpute.report.text import difference
from snpimpute.scoring.pooling import Counted, confusions, pooled_difference
from snpimpute.scoring.posteriors import load_posteriors

ROOT = Path(__file__).parents[1]
EXPERIMENT = ROOT / "experiments" / "network-training.toml"
RESULTS = ROOT / "docs" / "results"
USUAL = "random"  # the variant that all others are compared with
COLUMNS = ["dataset", "row", "mechanism", "level", "metric", "value", "low", "high"]
ABOVE = """# What the training does to a network

What `python scripts/network_training.py` reads from the scores of `experiments/network-training.toml` ([as a table](network-training.csv)): 742 / 186 people, 500 sites
of chromosome 15, ten masks a level. Each row has the parameters that the network's study of random masks found ([trials](networks.md)), but `fixed`, which has
15 trials of its own; `fixed` and `fixed-alike` learn on the masks that the nested test masks run through; `inverse-weights` weighs the loss by the inverse frequencies
of the genotypes alone; `inputs-visible` sees the masked genotypes in its input while it learns, but for those that the random dropout of inputs leaves out, which the study
of `random` found; `inputs-visible-no-dropout` sees all of them. These two and `long`, which is `random` otherwise, were tried for 300 epochs with 594 of the people, and
learned from all of them as many as were best on validation (masked there).

- Macro-F1 on the test samples. “To `random`”: the mean over all levels minus that of `random`; its 95% interval resamples samples and masks, the same
  for both. One fit each, one region of one species.
- Epochs: as many as were learned, of how many at most.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs")
    runs = parser.parse_args().runs
    parts = [part for name in read(EXPERIMENT).data for part in measured(runs, name)]
    if not parts:
        sys.exit(f"{runs} has no scores of two ways of training: run snpimpute experiment {EXPERIMENT} first")
    pd.concat(parts, ignore_index=True).round(5).to_csv(RESULTS / "network-training.csv", index=False)
    write_text(RESULTS / "network-training.md", page(pd.read_csv(RESULTS / "network-training.csv")))


def networks() -> list[str]:
    """Return the imputers that the experiment trains in more than one way."""
    variants = tomllib.loads(EXPERIMENT.read_text())["variants"]
    return [imputer for imputer, rows in variants.items() if USUAL in rows]


# ---------------------------------------------------------------------- the table


def measured(runs: Path, name: str) -> Iterator[pd.DataFrame]:
    """Yield the parts of the table that are of a dataset: scores, differences to `random`, epochs."""
    wanted = {row.label for row in plan(read(EXPERIMENT)) if row.imputer in networks()}
    homes: dict[str, Path] = {}
    tables = kept_scores(runs, kept_datasets(runs), name)  # the newest first
    for scored in (table for table in tables if table.dataset_digest == tables[0].dataset_digest):
        models = model_folders(runs, name, scored.models)
        new = {row: home for row, home in models.items() if row in wanted - set(homes)}
        scores = read_whole_scores(scored.path)
        scores = scores[scores["row"].isin(new) & (scores["subset"] == "all") & (scores["metric"] == "f1_macro")]
        homes |= new
        yield scores[COLUMNS]
    for row, home in homes.items():
        usual = f"{row.split('/')[0]}/{USUAL}"
        if row != usual and usual in homes:
            folder = runs / "datasets" / f"{name}-{tables[0].dataset_digest[:12]}"
            yield differences(folder, name, row, home, homes[usual])
        params = json.loads((home / "fit.json").read_text())["params"]
        found = [("epochs", params["stop_after"]), ("most_epochs", params["epochs"])]
        yield pd.DataFrame([(name, row, "", float("nan"), *one) for one in found], columns=COLUMNS[:6])


def differences(folder: Path, name: str, row: str, home: Path, usual: Path) -> pd.DataFrame:
    """Return macro-F1 of a row minus that of the same network's usual row, at each level and as the mean over a mechanism's levels."""
    dataset = dataset_in(folder)
    units = unit_names(dataset.test.samples, "family")
    rows = []
    for mechanism in dict.fromkeys(s.mechanism for s in dataset.test_scenarios()):
        counted = {}
        for level in dict.fromkeys(s.level for s in dataset.test_scenarios() if s.mechanism == mechanism):
            keys = [s.key for s in dataset.test_scenarios() if (s.mechanism, s.level) == (mechanism, level)]
            both = (load_posteriors(place / "posteriors.npz", keys) for place in (home, usual))
            counted[level] = Counted(units, *(confusions(dataset, found, mechanism, level) for found in both))
        for level, parts in (
            (float("nan"), list(counted.values())),
            *((level, [one]) for level, one in counted.items()),
        ):
            rows.append((name, row, mechanism, level, f"f1_macro to {USUAL}", *pooled_difference(parts)))
    return pd.DataFrame(rows, columns=COLUMNS)


# ---------------------------------------------------------------------- the page


def page(table: pd.DataFrame) -> str:
    """Return the page as Markdown."""
    parts, absent = [ABOVE], []
    for dataset in tomllib.loads(EXPERIMENT.read_text())["data"]:
        for imputer in networks():
            here = table[(table["dataset"] == dataset) & table["row"].str.startswith(f"{imputer}/")]
            if here["row"].nunique() < 2:
                absent.append(f"{imputer} on {dataset}")
                continue
            parts += [f"## {imputer} on {dataset}"]
            parts += [f"*{kind.capitalize()} masks*\n\n{of_masks(here, kind)}" for kind in ("independent", "nested")]
    if absent:
        parts.append(f"Run with random masks alone, and not shown: {', '.join(absent)}.")
    return "\n\n".join(part.strip() for part in parts) + "\n"


def of_masks(here: pd.DataFrame, mechanism: str) -> str:
    """Return macro-F1 of a network's rows at every level, and their differences to the usual row."""
    scores = here[(here["mechanism"] == mechanism) & (here["metric"] == "f1_macro")]
    values = scores.pivot_table(index="row", columns="level", values="value", sort=False)
    ahead = here[(here["mechanism"] == mechanism) & (here["metric"] == f"f1_macro to {USUAL}")]
    ahead = ahead[ahead["level"].isna()].set_index("row")
    epochs = here.pivot_table(index="row", columns="metric", values="value")
    rows = []
    for row in sorted(values.index, key=lambda row: (not row.endswith(f"/{USUAL}"), row)):
        cells = [f"{value:.3f}".removeprefix("0") for value in values.loc[row]]
        lead = "–"
        if row in ahead.index:
            found = ahead.loc[row]
            lead = difference(found["value"], found["low"], found["high"])
        rows.append([f"`{row}`", *cells, lead, "{epochs:.0f} of {most_epochs:.0f}".format(**epochs.loc[row])])
    return table_of(["", *(f"{level:g}%" for level in values.columns), f"to `{USUAL}`", "epochs"], rows)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"network_training: {error}")
