"""Write docs/results/race.csv and race.md: the networks' race on the published protocol, beside opponents that were tuned too.

    snpimpute experiment experiments/networks.toml                                runs it; in pieces (`--data`, `--imputer`), if need be
    snpimpute experiment experiments/networks.toml --seed 2 --runs runs/seeds/2   the same fits with another seed, on the same samples and masks
    python scripts/race.py [--runs runs] [--seed 2=runs/seeds/2]                  writes table and page

Reads the scores and posteriors of the experiment in the folder of runs. A dataset whose opponents have no scores there is left in the
table as it is. Differences are paired: the same samples and masks are drawn for both imputers.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from pathlib import Path

import pandas as pd

from snpimpute.base.errors import InputError
from snpimpute.base.files import write_text
from snpimpute.dataset.prepared import PreparedDataset, dataset_in
from snpimpute.dataset.splits import unit_names
from snpimpute.experiment.kept import KeptScores, kept_datasets, kept_scores, model_folders
from snpimpute.experiment.score import read_whole_scores
from snpimpute.experiment.settings import read
from snpimpute.report.calls import brief
from snpimpute.report.markdown import table_of
from snpimpute.report.text import difference
from snpimpute.scoring.pooling import Counted, confusions, pooled_difference
from snpimpute.scoring.posteriors import load_posteriors

ROOT = Path(__file__).parents[1]
EXPERIMENT = ROOT / "experiments" / "networks.toml"
FOUND = ROOT / "experiments" / "networks"
RESULTS = ROOT / "docs" / "results"
HEADLINE = 60.0
OPPONENTS = ("beagle/tuned", "beagle/default", "bert/random")  # every row is compared with each of these
WHOLE = ["f1_macro", "wrong", "log_loss", "ece", "centred_iqs", "site_dosage_r2"]
COLUMNS = ["dataset", "mechanism", "level", "subset", "row", "metric", "versus", "value", "low", "high"]
ABOVE = """# The networks' race, run with what up to fifty trials found

What `python scripts/race.py` reads from the scores of `experiments/networks.toml` ([as a table](race.csv)): the published protocol (one model for all
levels, whole sites missing, ten masks a level, nested and independent ones) on 742 / 186 people and 500 sites of chromosome 15, 400 / 100 bulls and
250 sites of chromosome 1, and simulated bulls of the published shape. Networks learn random masks, and have the parameters that
[their studies](networks.md) found on validation; Beagle and Minimac4 have studies of their own over their whole search spaces, for Beagle the scale of the
map and the number of phasings among it; softmax regression and mosaic are at their defaults. One region of each species.

- Intervals (95%) and differences resample samples and masks, the same for both imputers. With one region they tell of these samples and sites, not of
  other regions.
- The study of `dense_emb` on cattle is that of [the reference run](README.md#the-reference-run): ten minutes, with earlier code. Minimac4 takes Beagle's phases on cattle with `ne = 1000`.
- On the bulls mosaic chooses how often alleles are wrong ([decision 54](../decisions/0054-error-chosen-by-the-panel.md)), which was designed on other simulations of
  the bulls after its row here had shown it behind Beagle: .917 at 60% under nested masks, .911 under independent ones, .859 at 90%.
- Before 2026-11-29 Beagle's study on the bulls had 7 trials, without the scale of the map (.896 at 60% under nested masks, .885 under independent ones).
- Seconds are of one thread on a machine that did other work: upper bounds.
- kg15-500 and cattle-chr1 are development data: mosaic was designed on them, and its row is no claim. kg15's phases, which Beagle, Minimac4 and mosaic
  take as they are, were estimated by its makers with all people present, the tested ones too: that helps these three, by how much is not known.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs")
    parser.add_argument("--seed", action="append", default=[], metavar="N=RUNS", help="folder of runs of another seed")
    arguments = parser.parse_args()
    runs = arguments.runs
    others = {int(seed): Path(folder) for seed, folder in (given.split("=", 1) for given in arguments.seed)}
    found = {}
    for name in read(EXPERIMENT).data:
        scored = widest(runs, name)
        if scored and not set(OPPONENTS) - set(homes := model_folders(runs, name, scored.models)):
            seeds = [of_seed(seed, folder, name) for seed, folder in others.items()]
            found[name] = pd.concat([measured(runs, name, scored, homes), *seeds], ignore_index=True).round(5)
    if not found:
        sys.exit(f"{runs} has no scores of {', '.join(OPPONENTS)}: run snpimpute experiment {EXPERIMENT} first")
    renewed(read_table(RESULTS / "race.csv"), found).to_csv(RESULTS / "race.csv", index=False)
    print(f"renewed: {', '.join(found)}")
    write_text(RESULTS / "race.md", page(read_table(RESULTS / "race.csv")))


# ---------------------------------------------------------------------- the table


def read_table(path: Path) -> pd.DataFrame:
    """Return the table as it was written; `versus` is empty where a value is no difference."""
    return pd.read_csv(path).fillna({"versus": "", "mechanism": "", "subset": ""})


def renewed(table: pd.DataFrame, found: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the table with the rows of the datasets that were found in place of theirs; those of other datasets stay."""
    names = dict.fromkeys([*table["dataset"], *found])
    return pd.concat([found.get(name, table[table["dataset"] == name]) for name in names], ignore_index=True)


def widest(runs: Path, name: str) -> KeptScores | None:
    """Return the table of a dataset's scores with most rows, the newest of equals; None if there is none."""
    return max(kept_scores(runs, kept_datasets(runs), name), key=lambda table: len(table.models), default=None)


def measured(runs: Path, name: str, scored: KeptScores, homes: dict[str, Path]) -> pd.DataFrame:
    """Return a dataset's part of the table: scores as the experiment has them, paired differences to the opponents, costs."""
    scores = read_whole_scores(scored.path)
    whole = (scores["subset"] == "all") & scores["metric"].isin(WHOLE)
    rare = (scores["subset"] == "rare_minor") & (scores["metric"] == "f1_1")
    dataset = dataset_in(runs / "datasets" / f"{name}-{scored.dataset_digest[:12]}")
    parts = [scores[whole | rare][COLUMNS], differences(dataset, name, homes), costs(name, homes)]
    return pd.concat(parts, ignore_index=True)


def of_seed(seed: int, runs: Path, name: str) -> pd.DataFrame:
    """Return macro-F1 of the rows that were fitted with another seed, at the headline level, in tables of whatever rows."""
    parts = [pd.DataFrame(columns=COLUMNS)]
    for scored in kept_scores(runs, kept_datasets(runs), name):
        scores = read_whole_scores(scored.path)
        wanted = (scores["subset"] == "all") & (scores["metric"] == "f1_macro") & (scores["level"] == HEADLINE)
        parts.append(scores[wanted].assign(metric=f"f1_macro, seed {seed}")[COLUMNS])
    return pd.concat(parts, ignore_index=True).drop_duplicates(["mechanism", "row"])


def costs(name: str, homes: dict[str, Path]) -> pd.DataFrame:
    """Return the seconds of each row's fit and of a mask, and its number of parameters."""
    rows = []
    for row, home in homes.items():
        kept = json.loads((home / "fit.json").read_text()) | json.loads((home / "impute.json").read_text())
        for metric in ("seconds_fit", "seconds_impute", "parameters"):
            if kept[metric] is not None:
                rows.append((name, "", float("nan"), "", row, metric, "", kept[metric], float("nan"), float("nan")))
    return pd.DataFrame(rows, columns=COLUMNS)


def differences(dataset: PreparedDataset, name: str, homes: dict[str, Path]) -> pd.DataFrame:
    """Return macro-F1, and F1 of heterozygotes at rare sites, of each row minus those of each opponent."""
    units = unit_names(dataset.test.samples, "family")
    rows = []
    for mechanism, level in dict.fromkeys((s.mechanism, s.level) for s in dataset.test_scenarios()):
        keys = [s.key for s in dataset.test_scenarios() if (s.mechanism, s.level) == (mechanism, level)]
        posteriors = {row: load_posteriors(home / "posteriors.npz", keys) for row, home in homes.items()}
        for subset, metric, genotype in (("all", "f1_macro", None), ("rare_minor", "f1_1", 1)):
            counts = {
                row: confusions(dataset, found, mechanism, level, subset == "rare_minor")
                for row, found in posteriors.items()
            }
            for versus in OPPONENTS:
                for row in counts:
                    if versus in counts and row != versus:
                        ahead = pooled_difference([Counted(units, counts[row], counts[versus])], genotype)
                        rows.append((name, mechanism, level, subset, row, metric, versus, *ahead))
    return pd.DataFrame(rows, columns=COLUMNS)


# ---------------------------------------------------------------------- the page


def page(table: pd.DataFrame) -> str:
    """Return the page as Markdown."""
    parts = [ABOVE]
    for dataset in table["dataset"].unique():
        here = table[table["dataset"] == dataset]
        parts += [f"## {dataset}", trials_of(dataset, list(here["row"].unique()))]
        parts += ["*Macro-F1, independent masks*", by_level(here, "independent")]
        parts += ["*Macro-F1, nested masks*", by_level(here, "nested")]
        parts += [f"*Independent masks, {HEADLINE:g}% missing*", headline(here)]
        if seeds := by_seed(here):
            parts += [f"*Macro-F1 of fits with other seeds, independent masks, {HEADLINE:g}% missing*", seeds]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def trials_of(dataset: str, rows: list[str]) -> str:
    """Return a sentence that tells how many trials each row's study had."""
    told = []
    for row in rows:
        kept = FOUND / f"{dataset}-{row.replace('/', '-')}.toml"
        if kept.exists():
            told.append(f"{row.split('/')[0]} {tomllib.loads(kept.read_text())['trials']}")
    return f"Trials: {', '.join(told)}."


def by_level(here: pd.DataFrame, mechanism: str) -> str:
    """Return macro-F1 of every row at every level, best rows first."""
    own = here[(here["mechanism"] == mechanism) & (here["metric"] == "f1_macro") & (here["versus"] == "")]
    values = own.pivot_table(index="row", columns="level", values="value")
    values = values.loc[values.mean(axis=1).sort_values(ascending=False).index]
    rows = []
    for row in values.index:
        cells = [f"{values.loc[row, level]:.3f}".removeprefix("0") for level in values.columns]
        rows.append([f"`{row}`", *cells])
    return table_of(["", *(f"{level:g}%" for level in values.columns)], rows)


def by_seed(here: pd.DataFrame) -> str:
    """Return macro-F1 by the seed of the fit, of the rows that were fitted with more than one; empty if there are none."""
    here = here[(here["mechanism"] == "independent") & (here["level"] == HEADLINE) & (here["subset"] == "all")]
    here = here[here["metric"].str.startswith("f1_macro") & (here["versus"] == "")]
    values = here.pivot_table(index="row", columns="metric", values="value").dropna(thresh=2)
    if values.shape[1] < 2 or values.empty:
        return ""
    titles = [metric.removeprefix("f1_macro, ").replace("f1_macro", "seed 1") for metric in values.columns]
    rows = [
        [f"`{row}`", *("–" if pd.isna(value) else f"{value:.3f}".removeprefix("0") for value in values.loc[row])]
        for row in values.index
    ]
    return table_of(["", *titles], rows)


def headline(here: pd.DataFrame) -> str:
    """Return the further scores of every row at the headline level, and its differences to tuned Beagle."""
    spent = here.pivot_table(index="row", columns="metric", values="value")
    here = here[(here["mechanism"] == "independent") & (here["level"] == HEADLINE)].set_index(
        ["row", "subset", "metric", "versus"]
    )
    rows = []
    order = here["value"].xs(("all", "f1_macro", ""), level=("subset", "metric", "versus")).sort_values(ascending=False)
    for row in order.index:
        cells = []
        for subset, metric, form in (
            ("all", "wrong", "{:,.0f}"), ("rare_minor", "f1_1", "{:.3f}"), ("all", "site_dosage_r2", "{:.3f}"),
            ("all", "centred_iqs", "{:.3f}"), ("all", "log_loss", "{:.3f}"), ("all", "ece", "{:.3f}"),
        ):  # fmt: skip
            value = here["value"].get((row, subset, metric, ""), float("nan"))
            cells.append("–" if pd.isna(value) else form.format(round(value, 3) + 0.0).replace("-", "−"))
        cells += [brief(spent[metric][row]) for metric in ("seconds_fit", "seconds_impute")]
        ahead = [signed(here, row, versus) for versus in OPPONENTS[:2]]
        rows.append([f"`{row}`", *ahead, *cells])
    columns = ["ahead of tuned Beagle, macro-F1", "of Beagle's defaults", "wrong calls", "F1 of rare heterozygotes"]
    return table_of(
        ["", *columns, "r² within sites", "IQS within sites", "log-loss", "calibration error", "fit", "a mask"], rows
    )


def signed(here: pd.DataFrame, row: str, versus: str) -> str:
    """Return a row's difference to an opponent with its interval."""
    if (row, "all", "f1_macro", versus) not in here.index:
        return "–"
    found = here.loc[(row, "all", "f1_macro", versus)]
    return difference(found["value"], found["low"], found["high"])


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"race: {error}")
