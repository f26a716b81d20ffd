"""Write docs/evidence.md from its template and the committed tables of results.

Example:

  python scripts/evidence.py

The text stands in scripts/evidence.md.jinja; every number of it that a committed table holds is looked up there: those of the
networks' race (docs/results/race.csv), their studies (networks.csv and experiments/networks/), their training (network-training.csv), the arrays (arrays.csv, arrays-rates.csv),
mosaic in the 500-site protocol (mosaic.csv) and on five simulations of the bulls (bulls-seeds.csv).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from snpimpute.base.files import write_text

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
FOUND = ROOT / "experiments" / "networks"
PAGE = ROOT / "docs" / "evidence.md"


@dataclass(frozen=True)
class Found:
    """A value with its 95% interval, as the text shows it."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return bare(self.value)

    @property
    def interval(self) -> str:
        """Value and interval: `.945 (.925 to .963)`."""
        return f"{self} ({bare(self.low)} to {bare(self.high)})"

    @property
    def signed(self) -> str:
        """Difference and its interval: `+.039 (+.023 to +.063)`."""
        return f"{bare(self.value, '+')} ({bare(self.low, '+')} to {bare(self.high, '+')})"


def bare(value: float, sign: str = "") -> str:
    """Return a score with three decimals, without the zero before the point, with a real minus."""
    return f"{value:{sign}.3f}".replace("0.", ".", 1).replace("-", "−")


@cache
def table(name: str) -> pd.DataFrame:
    """Return a table of docs/results; empty texts stay empty."""
    return pd.read_csv(RESULTS / f"{name}.csv").fillna({"versus": ""})


def race(
    dataset: str,
    row: str,
    versus: str = "",
    level: float = 60.0,
    mechanism: str = "independent",
    metric: str = "f1_macro",
    subset: str = "all",
) -> Found:
    """Return a row's score in the networks' race, or its difference to another row."""
    rows = table("race")
    wanted = {"dataset": dataset, "row": row, "versus": versus, "level": level, "mechanism": mechanism}
    return Found(*one_of(rows, **wanted, metric=metric, subset=subset)[["value", "low", "high"]])


def trials(dataset: str, row: str) -> int:
    """Return the trials of the study whose parameters a row of the race has."""
    return tomllib.loads((FOUND / f"{dataset}-{row.replace('/', '-')}.toml").read_text())["trials"]


def study(dataset: str, imputer: str, column: str) -> str:
    """Return a score of a network's study on validation: `default` or `best`."""
    return bare(one_of(table("networks"), dataset=dataset, imputer=imputer)[column])


def training(row: str, mechanism: str, level: float, to_random: bool = False) -> Found:
    """Return a network's score under other training, or its difference to the same network's under random masks."""
    rows = table("network-training")
    metric = "f1_macro to random" if to_random else "f1_macro"
    return Found(*one_of(rows, row=row, mechanism=mechanism, level=level, metric=metric)[["value", "low", "high"]])


def epochs(row: str) -> int:
    """Return the epoch at which a network's training ended."""
    return int(one_of(table("network-training"), row=row, metric="epochs")["value"])


def wrong(group: str, target: str, row: str, design: str = "arrays") -> str:
    """Return the number of wrong calls of a row on an array, in the table of a design."""
    return f"{one_of(table(design), group=group, target=target, row=row)['wrong']:,.0f}"


def fewer(group: str, target: str, row: str, design: str = "arrays") -> str:
    """Return how many percent fewer wrong calls mosaic makes than a row on an array, with the interval."""
    rows = table(design)
    other = one_of(rows, group=group, target=target, row=row)
    own = one_of(rows, group=group, target=target, row="mosaic")
    less = [100 * (1 - ratio) for ratio in (own["wrong"] / other["wrong"], other["ratio_high"], other["ratio_low"])]
    return f"{round(less[0])}% ({round(less[1])} to {round(less[2])}%)".replace("-", "−")


def rare(group: str, target: str, row: str, design: str = "arrays") -> str:
    """Return the F1 of rare heterozygotes of a row on an array, in the table of a design."""
    return bare(one_of(table(design), group=group, target=target, row=row)["f1_1_rare"])


def mosaic(group: str, level: float) -> Found:
    """Return how far mosaic is ahead of the best Beagle in the 500-site protocol, on a group of datasets at a level."""
    row = one_of(table("mosaic"), group=group, level=level)
    return Found(row["ahead_of_beagle"], row["low_to_beagle"], row["high_to_beagle"])


def five_bulls(versus: str, level: float) -> Found:
    """Return how far mosaic is ahead of a row on the five simulations of the bulls that nothing was chosen on."""
    wanted = {"dataset": "all", "versus": versus, "level": level, "metric": "f1_macro"}
    return Found(*one_of(table("bulls-seeds"), **wanted)[["value", "low", "high"]])


def one_of(rows: pd.DataFrame, **wanted: object) -> pd.Series:
    """Return the row of a table that has the wanted values."""
    for column, value in wanted.items():
        rows = rows[rows[column] == value]
    if len(rows) != 1:
        raise LookupError(f"{len(rows)} rows of a table have {wanted}")
    return rows.iloc[0]


def page() -> str:
    """Return the page as Markdown."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, keep_trailing_newline=True
    )
    known = {
        "race": race,
        "trials": trials,
        "study": study,
        "training": training,
        "epochs": epochs,
        "wrong": wrong,
        "fewer": fewer,
        "rare": rare,
        "mosaic": mosaic,
        "five_bulls": five_bulls,
    }
    return environment.get_template("evidence.md.jinja").render(known)


if __name__ == "__main__":
    write_text(PAGE, page())
